"""Source separation in the short-time spectrum: from a mixture to vocals, drums, bass and the rest.

A network (:mod:`dl101.nn.spectral_separation`) looks at the mixture's spectrum and says of each
stem a mask, or a spectrum; with the mixture's phase that goes back to sound. The loss compares
magnitudes (``l1``), waveforms whatever their level (``si-sdr``), or spectra of several windows
(``stft``).

:class:`SeparationSystem` is a :class:`dl101.signal.streams.Separator`: it separates one window of
audio, and recordings of any length pass through it in windows. The rest of this file is what
:class:`dl101.training.protocol.SystemModule` lists.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import lightning as L
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dl101 import config
from dl101.config import Count, HopSamples, NotEmpty, Range, SampleRate, Seed, Settings
from dl101.data.songs import STEMS, SongTrack, load_songs
from dl101.data.source import DataConfig
from dl101.errors import ConfigError
from dl101.evaluation import separation, stems
from dl101.nn import losses
from dl101.nn.spectral_separation import SpectralConfig, SpectralSeparator
from dl101.signal import streams
from dl101.training import fit, protocol, stem_batches
from dl101.training.batches import by_side
from dl101.training.fit import TrainingConfig
from dl101.training.protocol import Evaluation
from dl101.training.stem_batches import RemixConfig

WINDOW_S = 10.0  # of audio that is separated at once
Stems = NDArray[np.float32]  # (stems, channels, samples)


@dataclass(frozen=True)
class SeparationConfig(Settings):
    """Everything a run depends on, except its seed.

    Attributes
    ----------
    data
        Songs with stems. A piece for training is ``data.patch_frames`` frames long.
    sample_rate, n_channels
        Of the audio that the network works on, in Hz; one channel is the average of two.
    stems
        What is taken out of a mixture; all four stems make the mixture in any case.
    window_samples, hop_samples
        Of the short-time Fourier transform.
    model
        The network, and what it says.
    loss, windows
        ``"l1"``, ``"si-sdr"`` or ``"stft"``, and the windows of the last.
    augmentation
        How pieces are varied; None takes them as they are.
    """

    scale: Literal["lab", "full"] = "lab"
    data: DataConfig = field(default_factory=lambda: DataConfig(dataset="stems", patch_frames=64))
    sample_rate: SampleRate = 16_000
    n_channels: Annotated[int, Range(at_least=1, at_most=2)] = 1
    stems: Annotated[tuple[Literal[STEMS], ...], NotEmpty()] = STEMS
    window_samples: Annotated[int, Range(at_least=16, at_most=65_536)] = 1024
    hop_samples: HopSamples = 512
    model: SpectralConfig = field(default_factory=SpectralConfig)
    loss: Literal["l1", "si-sdr", "stft"] = "l1"
    windows: Annotated[tuple[Count, ...], NotEmpty()] = (2048, 512, 128)
    augmentation: RemixConfig | None = field(default_factory=RemixConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)

    def __post_init__(self) -> None:
        """Check each field, that no stem is named twice, and that windows overlap by half."""
        super().__post_init__()
        if len(set(self.stems)) < len(self.stems):
            raise ConfigError(
                "SeparationConfig.stems",
                got=", ".join(self.stems),
                expected="each stem once",
                hint=f"choose among {', '.join(STEMS)}",
            )
        if self.window_samples % 2 or self.hop_samples > self.window_samples // 2:
            raise ConfigError(
                "SeparationConfig.hop_samples",
                got=f"{self.hop_samples} with windows of {self.window_samples}",
                expected="an even window, and at most half of it",
                hint="a spectrum whose frames don't overlap can't become sound again",
            )

    @property
    def piece_samples(self) -> int:
        """Length of what a step of training sees."""
        return (self.data.patch_frames - 1) * self.hop_samples

    @property
    def variant(self) -> str:
        """Return the name of the run in tables, such as ``unet-mask-l1``."""
        everywhere = self.model.kind == "film" and self.model.film == "all"
        parts = [self.model.kind + ("-all" if everywhere else ""), self.model.output, self.loss]
        parts += [] if self.stems == STEMS else list(self.stems)
        return "-".join(parts if self.augmentation is not None else [*parts, "as-is"])


Config = SeparationConfig


def load_config(
    file: str | Path = "source_separation", *, scale: str = "lab", settings: Sequence[str] = ()
) -> SeparationConfig:
    """Read a configuration; see :func:`dl101.training.protocol.load_config`."""
    return protocol.load_config(SeparationConfig, file, scale=scale, settings=settings)


def load_tracks(
    settings: SeparationConfig, *, accept_restricted: bool = False, progress: bool = True
) -> dict[str, list[SongTrack]]:
    """Return the songs of each side of the split."""
    songs = load_songs(
        settings.data,
        settings.sample_rate,
        settings.n_channels,
        accept_restricted=accept_restricted,
        progress=progress,
    )
    return by_side(songs)


class SeparationSystem(fit.System):
    """The network and its loss."""

    shipped_dtype = torch.float16

    def __init__(self, settings: SeparationConfig) -> None:
        super().__init__(settings.training)
        self.settings = settings
        self.network = SpectralSeparator(
            settings.model,
            len(settings.stems),
            settings.n_channels,
            window_samples=settings.window_samples,
            hop_samples=settings.hop_samples,
        )
        self.spectra = losses.MultiResolutionSTFT(settings.windows)
        self.rows = [STEMS.index(stem) for stem in settings.stems]

    @property
    def sample_rate(self) -> int:
        """Of the audio, in Hz."""
        return self.settings.sample_rate

    @property
    def stems(self) -> tuple[str, ...]:
        """Names of what it gives, in order."""
        return self.settings.stems

    @property
    def window_s(self) -> float:
        """Length of the windows that suit it, in seconds."""
        return WINDOW_S

    @property
    def context_samples(self) -> int:
        """What is left out at each end of a window where windows overlap: half a second or more."""
        hop = self.settings.hop_samples
        return -(-max(self.sample_rate // 2, self.settings.window_samples) // hop) * hop

    @property
    def step_samples(self) -> int:
        """Audio that is moved by a multiple of this has the same frames, moved."""
        return self.settings.hop_samples

    @torch.no_grad()
    def separate(self, audio: NDArray[np.floating]) -> Stems:
        """Return (stems, channels, samples) of a window (channels, samples).

        A network of one channel hears each of two by itself; one of two hears mono twice.
        """
        self.eval()
        heard = torch.from_numpy(np.asarray(audio, dtype=np.float32)).to(self.device)
        n_channels, n_samples = heard.shape
        if self.settings.n_channels == 1:
            return self(heard[:, None])[:, :, 0].transpose(0, 1).cpu().numpy()
        return self(heard.expand(2, n_samples)[None])[0, :, :n_channels].cpu().numpy()

    def forward(self, audio: Tensor) -> Tensor:
        """Return (batch, stems, channels, samples) of mixtures (batch, channels, samples)."""
        found = self.network(self.network.spectrum(audio))
        return self.network.audio(found, audio.shape[-1])

    def loss(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Return how far the stems are from what is said of their sum."""
        return self.distance(batch["stems"])

    def distance(self, sources: Tensor, asked: Tensor | None = None) -> Tensor:
        """Return the loss of stems (batch, stems, channels, samples).

        ``asked`` is the one stem, (batch,), that a conditioned network is asked for; None asks for
        all.
        """
        wanted = sources[:, self.rows]
        if asked is not None:
            wanted = wanted[torch.arange(len(sources), device=sources.device), asked][:, None]
        found = self.network(self.network.spectrum(sources.sum(1)), asked)
        if self.settings.loss == "l1":
            truth = self.network.spectrum(wanted)
            if self.settings.model.output == "parts":
                return torch.view_as_real(found - truth).abs().mean()
            return (found.abs() - truth.abs()).abs().mean()
        heard = self.network.audio(found, sources.shape[-1])
        if self.settings.loss == "si-sdr":
            return losses.si_sdr_loss(heard.flatten(2), wanted.flatten(2))
        return self.spectra(heard.flatten(0, 2), wanted.flatten(0, 2))

    def training_step(self, batch: Mapping[str, Tensor], batch_idx: int) -> Tensor:
        """Return the loss to minimise, of varied pieces."""
        # of the seed and the step alone, so that a resumed run draws what it would have drawn
        rng = np.random.default_rng([torch.initial_seed() % 2**32, self.global_step])
        sources, given = batch["stems"], self.settings.augmentation
        if given is not None:
            sources = stem_batches.vary(sources, self.settings.piece_samples, rng, given)
        asked = None
        if self.settings.model.kind == "film":
            numbers = rng.integers(0, len(self.stems), len(sources))
            asked = torch.from_numpy(numbers).to(sources.device)
        loss = self.distance(sources, asked)
        options = {"on_step": False, "on_epoch": True, "prog_bar": True, "sync_dist": True}
        self.log("train_loss", loss, batch_size=len(sources), **options)
        return loss


def build(settings: SeparationConfig, *, seed: int = 0) -> SeparationSystem:
    """Return an untrained system whose initial weights depend on ``seed`` alone."""
    L.seed_everything(config.checked(Seed, seed, "seed"), workers=True, verbose=False)
    return SeparationSystem(settings)


def batches(
    settings: SeparationConfig, tracks: Mapping[str, Sequence[SongTrack]], *, seed: int = 0
) -> stem_batches.SongData:
    """Return pieces of the training side, shuffled, and of the validation side, in order."""
    n, given = settings.piece_samples, settings.augmentation
    return stem_batches.SongData(
        tracks,
        n,
        n,
        spare=0 if given is None else given.spare(n, n),
        batch_size=settings.training.batch_size,
        seed=seed,
        num_workers=settings.training.num_workers,
    )


predict = streams.separate_whole


# ---- scores ------------------------------------------------------------------------------------


def evaluate(system: SeparationSystem, tracks: Mapping[str, Sequence[SongTrack]]) -> Evaluation:
    """Return the scores of the test side; see :func:`dl101.evaluation.stems.score`."""
    found = stems.score(
        tracks["test"],
        lambda track: predict(system, track.mixture),
        system.sample_rate,
        system.stems,
    )
    return Evaluation(found.by_song, overall=found.overall)


def answers(settings: SeparationConfig) -> dict[str, Callable[[SongTrack], Stems]]:
    """Return answers without learning, and bounds that know the truth: the stems of a song.

    They are :data:`dl101.evaluation.stems.ANSWERS`, and :data:`dl101.evaluation.separation.BOUNDS`
    with the system's window.
    """
    rate, rows = settings.sample_rate, [STEMS.index(stem) for stem in settings.stems]
    ways: dict[str, Callable[[SongTrack], NDArray]] = {
        name: partial(make, sample_rate=rate) for name, make in stems.ANSWERS.items()
    } | {
        name: lambda t, make=make: make(t.stems, frame_samples=settings.window_samples)
        for name, make in separation.BOUNDS.items()
    }
    return {name: lambda t, way=way: way(t)[rows] for name, way in ways.items()}


def baselines(
    settings: SeparationConfig, tracks: Mapping[str, Sequence[SongTrack]]
) -> dict[str, Evaluation]:
    """Return the scores of :func:`answers`."""
    scores = {
        name: stems.score(tracks["test"], answer, settings.sample_rate, settings.stems)
        for name, answer in answers(settings).items()
    }
    return {name: Evaluation(s.by_song, overall=s.overall) for name, s in scores.items()}
