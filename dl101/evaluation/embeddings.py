"""From sounds to the numbers that the metrics of :mod:`dl101.evaluation.generation` compare.

Conventions: an embedding is any function of ``(sounds, sample_rate)`` that returns an array (items,
dimensions); ``sounds`` is a sequence of mono arrays (time,) at one rate. What a metric says of a
generator depends on it: name the embedding beside every score (Gui et al., Adapting Frechet Audio
Distance for generative music evaluation, 2024; Tailleur et al., 2024).

:func:`load` returns one by name. ``spectrum`` needs nothing. The others are published networks that
other packages bring, with weights of their own that they download at first use; while they load
them, PyTorch is told to unpickle nothing but tensors.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dl101.data.audiofile import resample
from dl101.errors import ConfigError, DataError, FetchError, did_you_mean
from dl101.evaluation.generation import embeddings_of
from dl101.signal.cqt import HcqtConfig, cqt
from dl101.signal.feature import check_audio

Embedding = Callable[[Sequence[ArrayLike], int], NDArray[np.float64]]
Network = Callable[[NDArray[np.float32]], ArrayLike]  # of one sound; (..., dimensions)

SHORTEST_S = 1.0  # what the published networks need; shorter sounds are followed by silence
SPECTRUM = HcqtConfig(
    harmonics=(1,), bins_per_semitone=1, n_octaves=7, f_min_hz=32.703, hop_samples=1024
)
COMPRESSION = 1000.0
_ONLY_TENSORS = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"


def spectrum(sounds: Sequence[ArrayLike], sample_rate: int) -> NDArray[np.float64]:
    """Embed sounds without learning: level and variation in each third of an octave.

    The logarithm of a constant-Q spectrum from C1, seven octaves, summed over four semitones each:
    mean and standard deviation over time, 42 dimensions.
    """
    rows = []
    for sound in _checked(sounds, sample_rate):
        values = cqt(resample(sound, sample_rate, SPECTRUM.sample_rate), SPECTRUM).values[0]
        bands = np.log1p(COMPRESSION * values).reshape(-1, 4, values.shape[1]).mean(axis=1)
        rows.append(np.concatenate([bands.mean(axis=1), bands.std(axis=1)]))
    return np.array(rows, dtype=np.float64)


@dataclass(frozen=True)
class Pretrained:
    """A published network that another package brings.

    Attributes
    ----------
    package, install
        What is imported, and what is installed for it.
    sample_rate
        In Hz, of what the network takes; sounds are resampled.
    dimensions
        Of the embedding.
    build
        Called with the imported package; returns a function of one sound (time,), at that rate and
        at least a second long, whose result is averaged over all axes but the last.
    source
        Where it is described.
    """

    package: str
    install: str
    sample_rate: int
    dimensions: int
    build: Callable[[ModuleType], Network]
    source: str


def _clap(package: ModuleType) -> Network:
    name = "laion/larger_clap_music"
    model = package.ClapModel.from_pretrained(name).eval()
    features = package.ClapFeatureExtractor.from_pretrained(name)

    def embed(sound: NDArray[np.float32]) -> ArrayLike:
        inputs = features(sound, sampling_rate=48_000, return_tensors="pt")
        found = model.get_audio_features(**inputs)
        return _numbers(getattr(found, "pooler_output", found))

    return embed


def _vggish(package: ModuleType) -> Network:
    model = package.vggish(postprocess=False).eval()  # before PCA and eight bits, as FAD has it
    return lambda sound: _numbers(model(package.waveform_to_examples(sound, 16_000)))


def _panns(package: ModuleType) -> Network:
    model = package.AudioTagging(checkpoint_path=None, device="cpu")
    return lambda sound: _numbers(model.inference(sound[None, :])[1])


PRETRAINED: Mapping[str, Pretrained] = {
    "clap": Pretrained(
        "transformers", "transformers", 48_000, 512, _clap, "Wu et al., ICASSP 2023"
    ),
    "vggish": Pretrained(
        "torchvggish", "torchvggish", 16_000, 128, _vggish, "Hershey et al., ICASSP 2017"
    ),
    "panns": Pretrained(
        "panns_inference", "panns-inference", 32_000, 2048, _panns, "Kong et al., TASLP 2020"
    ),
}
NAMES = ("spectrum", *PRETRAINED)


def load(name: str) -> Embedding:
    """Return an embedding by its name, one of :data:`NAMES`.

    Raises
    ------
    ConfigError
        If there is no such embedding, or the package that brings it is not installed.
    FetchError
        If its weights cannot be had.
    """
    if name not in NAMES:
        raise ConfigError(
            "embedding",
            got=repr(name),
            expected="one of " + ", ".join(NAMES),
            hint=did_you_mean(name, NAMES, otherwise="or pass a function of your own"),
        )
    if name == "spectrum":
        return spectrum
    found = PRETRAINED[name]
    try:
        package = importlib.import_module(found.package)
    except ImportError as error:
        raise ConfigError(
            f"embedding {name!r}",
            got=f"no package {found.package} ({error})",
            expected=f"{found.package} beside dl101",
            hint=f"pip install {found.install}; 'spectrum' needs no package",
        ) from error
    try:
        with only_tensors():
            network = found.build(package)
    except Exception as error:  # each package fails in its own way
        raise FetchError(
            f"embedding {name!r}: weights",
            got=f"{type(error).__name__}: {str(error).partition('. ')[0]}",
            expected=f"that {found.package} loads them",
            hint="look whether the network allows the download; 'spectrum' needs none",
        ) from error

    def embed(sounds: Sequence[ArrayLike], sample_rate: int) -> NDArray[np.float64]:
        rows = []
        for sound in _checked(sounds, sample_rate):
            at_rate = resample(sound, sample_rate, found.sample_rate)
            missing = max(0, round(SHORTEST_S * found.sample_rate) - at_rate.size)
            values = np.asarray(network(np.pad(at_rate, (0, missing))), dtype=np.float64)
            rows.append(values.reshape(-1, values.shape[-1]).mean(axis=0))
        return _of_dimensions(np.array(rows), found.dimensions, name)

    return embed


def _of_dimensions(rows: NDArray, dimensions: int, name: str) -> NDArray[np.float64]:
    rows = embeddings_of(rows, name)
    if rows.shape[1] != dimensions:
        raise DataError(
            f"embedding {name!r}",
            got=f"{rows.shape[1]} dimensions",
            expected=f"{dimensions}",
            hint="another version of the package may return something else; report it",
        )
    return rows


def _checked(sounds: Sequence[ArrayLike], sample_rate: int) -> list[NDArray[np.float32]]:
    if not len(sounds):
        raise DataError(
            "sounds to embed", got="none", expected="at least one", hint="check what was generated"
        )
    return [check_audio(sound, sample_rate) for sound in sounds]


def _numbers(values: Any) -> NDArray:
    """Return a tensor, which may require a gradient, as an array."""
    return np.asarray(values.detach().cpu() if hasattr(values, "detach") else values)


@contextmanager
def only_tensors() -> Iterator[None]:
    """Let ``torch.load`` unpickle tensors alone, whatever the caller of it says."""
    before = os.environ.get(_ONLY_TENSORS)
    os.environ[_ONLY_TENSORS] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[_ONLY_TENSORS]
        else:
            os.environ[_ONLY_TENSORS] = before
