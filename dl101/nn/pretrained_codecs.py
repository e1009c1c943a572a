"""Published codecs behind the interface of ours: EnCodec [1]_ and Music2Latent [2]_.

Both are optional (``pip install encodec``, ``pip install music2latent``) and heavy; nothing else of
dl101 needs them. The code is the authors' own, the weights are read here, because both packages
unpickle theirs: a pickle may run any program when it is opened. What is published:

* EnCodec at 24 kHz: a file of tensors that ``torch.load(weights_only=True)`` reads, which refuses
  everything else; the name of the file holds the beginning of its SHA-256, which is checked.
* Music2Latent: a file made by ``torch.save`` on Hugging Face, without a published checksum. It is
  not fetched here; a file that you have is read in the same restricted way, or as safetensors.

References
----------
.. [1] A. Défossez and others, "High fidelity neural audio compression", 2022.
.. [2] M. Pasini, S. Lattner, G. Fazekas, "Music2Latent: consistency autoencoders for latent audio
   compression", ISMIR 2024.
"""

from __future__ import annotations

import hashlib
import importlib
import warnings
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, Self

import torch
from torch import Tensor, nn

from dl101.data.cache import cache_dir
from dl101.errors import ConfigError, DataError
from dl101.nn.codec import as_batch

ENCODEC_URL = "https://dl.fbaipublicfiles.com/encodec/v0/encodec_24khz-d7cc33bc.th"
MUSIC2LATENT_PAGE = "https://huggingface.co/SonyCSLParis/music2latent (music2latent.pt)"


class EnCodec:
    """EnCodec at 24 kHz, mono: 75 frames a second, up to 32 stages of 1024 codes.

    Parameters
    ----------
    model
        ``encodec.EncodecModel``; :meth:`load` makes one.
    n_stages
        How many codes a frame gets: 2 are 1.5 kb/s, 8 are 6 kb/s, 32 are 24 kb/s.
    """

    def __init__(self, model: nn.Module, n_stages: int = 8) -> None:
        n_most = len(model.quantizer.vq.layers)
        if not 1 <= n_stages <= n_most:
            raise ConfigError(
                "EnCodec: n_stages",
                got=n_stages,
                expected=f"1 to {n_most}",
                hint="8 are 6 kb/s",
            )
        self.model, self.n_stages = model.eval(), n_stages
        self.sample_rate = int(model.sample_rate)
        self.frame_rate = float(model.frame_rate)
        self.codebooks = (int(model.quantizer.bins),) * n_stages

    @classmethod
    def load(cls, n_stages: int = 8, *, weights: Path | str | None = None) -> Self:
        """Return EnCodec with its published weights, or those of a file.

        Parameters
        ----------
        n_stages
            Codes a frame.
        weights
            The published file or a safetensors file with the same names; None fetches the published
            one (93 MB, once) into the cache.

        Raises
        ------
        ConfigError
            If the package is not installed.
        DataError
            If the weights cannot be fetched, are not what was published, or fit no EnCodec.
        """
        package = _package("encodec")
        model = package.EncodecModel.encodec_model_24khz(pretrained=False)
        path = _published(ENCODEC_URL) if weights is None else Path(weights)
        _fill(model, _tensors(path), path)
        return cls(model, n_stages)

    @torch.no_grad()
    def encode(self, audio: Tensor) -> Tensor:
        """Return codes (batch, stage, frame) of (batch, time)."""
        latents = self.model.encoder(as_batch(audio)[:, None])
        return self.model.quantizer.vq.encode(latents, n_q=self.n_stages).transpose(0, 1)

    @torch.no_grad()
    def decode(self, codes: Tensor) -> Tensor:
        """Return (batch, time) of codes (batch, stage, frame), of all or of the first stages."""
        latents = self.model.quantizer.decode(codes.transpose(0, 1))
        return self.model.decoder(latents)[:, 0]


class Music2Latent:
    """Music2Latent at 44.1 kHz, mono: 64 real numbers, nearly eleven times a second.

    Decoding begins from noise, so that it differs from call to call; seed PyTorch to repeat it.

    Parameters
    ----------
    model
        ``music2latent.models.UNet``; :meth:`load` makes one.
    """

    sample_rate = 44_100
    frame_rate = 44_100 / 4096  # a hop of 512 samples, halved three times
    codebooks: tuple[int, ...] = ()

    def __init__(self, model: nn.Module) -> None:
        self.model = model.eval()

    @classmethod
    def load(cls, *, weights: Path | str | None = None) -> Self:
        """Return Music2Latent with the weights of a file.

        Parameters
        ----------
        weights
            The published ``music2latent.pt`` or a safetensors file with the same names.

        Raises
        ------
        ConfigError
            If the package is not installed.
        DataError
            If there is no such file, or its weights fit no Music2Latent.
        """
        models = _package("music2latent", "models")
        if weights is None:
            raise DataError(
                "Music2Latent's weights",
                got="no file",
                expected="the published file, which has no checksum and is therefore not fetched",
                hint=f"download it from {MUSIC2LATENT_PAGE} and pass weights=PATH",
            )
        path, model = Path(weights), models.UNet()
        tensors = _tensors(path)
        _fill(model, tensors.get("gen_state_dict", tensors), path)
        return cls(model)

    def encode(self, audio: Tensor) -> Tensor:
        """Return latents (batch, 64, frame) of (batch, time)."""
        return self._call("encode_audio_inference", as_batch(audio))

    def decode(self, codes: Tensor) -> Tensor:
        """Return (batch, time) of latents (batch, 64, frame)."""
        return self._call("decode_latent_inference", codes)

    def _call(self, function: str, values: Tensor) -> Tensor:
        inference = _package("music2latent", "inference")
        longest, one = inference.max_waveform_length_encode, 1
        device = next(self.model.parameters()).device
        with warnings.catch_warnings():  # it asks for mixed precision on CUDA wherever it runs
            warnings.filterwarnings("ignore", message=".*CUDA is not available.*")
            return getattr(inference, function)(
                values, SimpleNamespace(gen=self.model), longest, one, device=device
            )


def _package(name: str, module: str = "") -> ModuleType:
    """Return an optional package or a module of it."""
    try:
        # torchaudio, which EnCodec imports, may need help beside this torch
        importlib.import_module("dl101.nn.torchaudio_compat")
        return importlib.import_module(f"{name}.{module}" if module else name)
    except ImportError as error:
        raise ConfigError(
            f"codec {name}",
            got=str(error),
            expected=f"the package {name}",
            hint=f"pip install {name}, or use the codec that ships: shipped.load('codec').system",
        ) from error


def _published(url: str) -> Path:
    """Return the path of a published file in the cache, fetched at first use."""
    path = cache_dir("models") / url.rpartition("/")[2]
    beginning = path.stem.rpartition("-")[2]  # of its SHA-256
    if not path.exists():
        try:
            torch.hub.download_url_to_file(url, str(path), hash_prefix=beginning, progress=False)
        except (OSError, RuntimeError) as error:  # no connection; another checksum
            raise DataError(
                f"published weights {path.name}",
                got=f"{type(error).__name__}: {error}",
                expected=f"the file at {url}",
                hint="download it where there is a network and pass weights=PATH, or use the codec "
                "that ships: shipped.load('codec').system",
            ) from error
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if not digest.startswith(beginning):
        raise DataError(
            f"published weights {path}",
            got=f"a file with the SHA-256 {digest[:16]}…",
            expected=f"one that begins with {beginning}",
            hint="delete the file, and it is fetched again",
        )
    return path


def _tensors(path: Path) -> Mapping[str, Any]:
    """Return the tensors of a file; nothing in it is run."""
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # each format raises types of its own
        raise DataError(
            f"weights {path.name}",
            got=f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}",
            expected="a file of tensors and nothing else",
            hint="download it again; a file that needs more than tensors is not opened",
        ) from error


def _fill(model: nn.Module, tensors: Mapping[str, Tensor], path: Path) -> None:
    try:
        model.load_state_dict(dict(tensors))
    except (RuntimeError, ValueError, TypeError, AttributeError) as error:
        raise DataError(
            f"weights {path.name}",
            got=" ".join(str(error).split())[:300],
            expected=f"the weights of a {type(model).__name__}",
            hint="pass the file that its authors published",
        ) from error
