"""Source separation end to end: a waveform goes in, the waveform of each stem comes out.

A network (:mod:`dl101.nn.waveform_separation`, :mod:`dl101.nn.wave_unet`) maps the samples of a
mixture to those of vocals, drums, bass and the rest; no spectrum, no mask, no phase to borrow. The
loss is the mean absolute error of the samples, or a ratio of signal to distortion, which gives a
soft stem the weight of a loud one, or a distance of spectra, which leaves phases open.

:class:`SeparationWaveformSystem` is a :class:`dl101.signal.streams.Separator`: recordings of any
length pass through it in windows. The rest of this file is what
:class:`dl101.training.protocol.SystemModule` lists.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import lightning as L
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from dl101 import config
from dl101.config import Count, NotEmpty, Positive, SampleRate, Seed, Settings
from dl101.data.songs import STEMS, SongTrack, load_songs
from dl101.data.source import DataConfig
from dl101.errors import ShapeError
from dl101.evaluation import stems
from dl101.nn import losses
from dl101.nn.wave_unet import Demucs, DemucsConfig, WaveUNet, WaveUNetConfig
from dl101.nn.waveform_separation import (
    ConvTasNet,
    ConvTasNetConfig,
    MultiResolution,
    MultiResolutionConfig,
    WaveformSeparator,
    WaveNet,
    WaveNetConfig,
    middle,
)
from dl101.signal import streams
from dl101.training import fit, protocol, stem_batches
from dl101.training.batches import by_side
from dl101.training.fit import TrainingConfig
from dl101.training.protocol import Evaluation
from dl101.training.stem_batches import RemixConfig

NETWORKS: Mapping[str, tuple[type[Settings], type[WaveformSeparator]]] = {
    "wavenet": (WaveNetConfig, WaveNet),
    "multi_resolution": (MultiResolutionConfig, MultiResolution),
    "wave_unet": (WaveUNetConfig, WaveUNet),
    "demucs": (DemucsConfig, Demucs),
    "conv_tasnet": (ConvTasNetConfig, ConvTasNet),
}
# Sizes for a laptop; those of `full` are the published ones, the defaults of the configurations. A
# WaveNet works at the full rate from end to end, so it has to be narrower than the others.
LAB_SIZES: Mapping[str, Mapping[str, Any]] = {
    "wavenet": {
        "n_stacks": 2, "n_layers": 8, "channels": 24, "skip_channels": 24,
        "final_channels": [96, 48],
    },
    "multi_resolution": {
        "kernels": [[16, 64, 256], [3, 9, 27]], "n_filters": 24, "strides": [16, 1],
    },
    "wave_unet": {"n_layers": 8, "channels": 8},
    "demucs": {"n_layers": 4, "channels": 24, "growth": 1.5, "lstm_layers": 1},
    "conv_tasnet": {
        "kernel": 32, "n_features": 128, "channels": 48, "hidden": 96, "n_layers": 6, "n_stacks": 2,
    },
}  # fmt: skip
FRAME_SAMPLES = 256  # what a frame of `data.patch_frames` stands for


@dataclass(frozen=True)
class SeparationWaveformConfig(Settings):
    """Everything a run depends on, except its seed.

    Attributes
    ----------
    model
        Which network.
    network
        Its sizes, where they differ from those of the scale; see the configuration of the network.
    data
        ``data.patch_frames``, of 256 samples each, are what a network says of a piece, at least.
    sample_rate
        In Hz.
    n_channels
        1: mono, 2: stereo.
    loss
        ``"l1"``: mean absolute error. ``"sdr"``, ``"si-sdr"``: its negative, in dB. ``"stft"``:
        distance of spectra. ``"si-sdr"`` leaves the level of a stem open, and its sign; see
        :attr:`SeparationWaveformSystem.gains`.
    windows
        Of these spectra, in samples.
    augmentation
        How pieces are varied, or None.
    window_s
        Windows in which a recording is separated, in seconds.
    """

    model: Literal["wavenet", "multi_resolution", "wave_unet", "demucs", "conv_tasnet"] = "demucs"
    scale: Literal["lab", "full"] = "lab"
    network: Mapping[str, Any] = field(default_factory=dict)
    data: DataConfig = field(default_factory=lambda: DataConfig("stems"))
    sample_rate: SampleRate = 16_000
    n_channels: Literal[1, 2] = 2
    loss: Literal["l1", "sdr", "si-sdr", "stft"] = "l1"
    windows: Annotated[tuple[Count, ...], NotEmpty()] = (2048, 512, 128)
    augmentation: RemixConfig | None = field(default_factory=RemixConfig)
    window_s: Positive = 10.0
    training: TrainingConfig = field(default_factory=TrainingConfig)

    def __post_init__(self) -> None:
        """Check the network's sizes, and write down all of them."""
        super().__post_init__()
        object.__setattr__(self, "network", config.to_dict(self.sizes))

    @property
    def sizes(self) -> Settings:
        """Return the configuration of the network."""
        begin = LAB_SIZES[self.model] if self.scale == "lab" else {}
        kind = NETWORKS[self.model][0]
        return config.build(kind, {**begin, **self.network}, "SeparationWaveformConfig.network")

    @property
    def variant(self) -> str:
        """Return the name of the run in tables, such as ``wave_unet-transposed-si-sdr``."""
        parts = [self.model]
        upsampling = self.network.get("upsampling", "linear")
        parts += [] if upsampling == "linear" else [upsampling]
        parts += ["padded"] if self.network.get("context") is False else []
        parts += [] if self.loss == "l1" else [self.loss]
        parts += ["plain"] if self.augmentation is None else []
        return "-".join(parts)


Config = SeparationWaveformConfig


def load_config(
    file: str | Path = "separation_waveform", *, scale: str = "lab", settings: Sequence[str] = ()
) -> SeparationWaveformConfig:
    """Read a configuration; see :func:`dl101.training.protocol.load_config`."""
    return protocol.load_config(SeparationWaveformConfig, file, scale=scale, settings=settings)


def load_tracks(
    settings: SeparationWaveformConfig, *, accept_restricted: bool = False, progress: bool = True
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


class SeparationWaveformSystem(fit.System):
    """A network and its loss.

    Attributes
    ----------
    gains
        What each stem is multiplied by when a recording is separated: the numbers that bring the
        stems of the validation side nearest to the true ones, found anew after each epoch. They
        are 1 if the loss knows levels, or the difference of the mixture and the others does.
    """

    shipped_dtype = torch.float16
    stems = STEMS

    def __init__(self, settings: SeparationWaveformConfig) -> None:
        super().__init__(settings.training)
        self.settings = settings
        build_network = NETWORKS[settings.model][1]
        self.network = build_network(settings.sizes, len(STEMS), settings.n_channels)
        self.lengths = self.network.lengths(settings.data.patch_frames * FRAME_SAMPLES)
        self.spectra = losses.MultiResolutionSTFT(settings.windows)
        self.register_buffer("gains", torch.ones(len(STEMS)))
        self.products: list[Tensor] = []  # of validation: <made, wanted>, <made, made> by stem

    # ---- what separates ----

    @property
    def sample_rate(self) -> int:
        """Of the audio, in Hz."""
        return self.settings.sample_rate

    @property
    def window_s(self) -> float:
        """Length of the windows of a recording, in seconds."""
        return self.settings.window_s

    @property
    def step_samples(self) -> int:
        """By what windows may be moved without a difference."""
        return self.network.step_samples

    @property
    def context_samples(self) -> int:
        """How far the convolutions see; what an LSTM remembers from farther off is not counted."""
        return max(self.network.sides)

    @torch.no_grad()
    def separate(self, audio: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return (stems, channels, samples) of a window, (channels, samples).

        A network of two channels hears mono as two equal ones; one of one channel hears those of
        a stereo recording one by one.
        """
        n_given, n_samples = audio.shape
        if n_given not in (1, 2):
            raise ShapeError(
                "audio to separate",
                got=audio.shape,
                expected="(1 or 2 channels, samples)",
                hint="choose two of its channels, or their mean",
            )
        self.eval()
        n_in = self.network.lengths(n_samples).input
        before = self.network.margins[0]
        mixture = torch.from_numpy(np.array(audio, dtype=np.float32)).to(self.device)
        mixture = F.pad(mixture, (before, n_in - n_samples - before))
        if self.settings.n_channels == 1:
            made = self.network(mixture[:, None])[:, :, 0].transpose(0, 1)
        else:
            made = self.network(mixture.expand(2, -1)[None])[0]
            made = made.mean(dim=1, keepdim=True) if n_given == 1 else made
        made = made[..., :n_samples] * self.gains[:, None, None]
        return made.float().cpu().numpy()

    # ---- training ----

    def forward(self, mixture: Tensor) -> Tensor:
        """Return (batch, stems, channels, time) of (batch, channels, time)."""
        return self.network(mixture)

    def loss(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Return the distance of what is said from the stems, in the middle of a piece."""
        return self.distance(*self.made_and_wanted(batch))

    def made_and_wanted(self, batch: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Return (batch, stems, channels, time) twice: what is said of mixtures, and the truth."""
        sources = batch["stems"]
        made = self(sources.sum(dim=1)).float()
        return made, middle(sources, made.shape[-1])

    def distance(self, made: Tensor, wanted: Tensor) -> Tensor:
        """Return the loss of what is said beside what is wanted."""
        if self.settings.loss == "l1":
            return (made - wanted).abs().mean()
        if self.settings.loss == "stft":
            return self.spectra(made.flatten(0, 2), wanted.flatten(0, 2))
        any_level = self.settings.loss == "si-sdr"
        return losses.si_sdr_loss(made.flatten(2), wanted.flatten(2), any_level=any_level)

    def training_step(self, batch: Mapping[str, Tensor], batch_idx: int) -> Tensor:
        """Return the loss of varied pieces."""
        given = self.settings.augmentation
        if given is not None:
            # of the seed and the step alone, so that a resumed run draws what it would have drawn
            rng = np.random.default_rng([torch.initial_seed() % 2**32, self.global_step])
            batch = {"stems": stem_batches.vary(batch["stems"], self.lengths.input, rng, given)}
        return super().training_step(batch, batch_idx)

    def validation_step(self, batch: Mapping[str, Tensor], batch_idx: int) -> None:
        """Log the loss, and keep what the gains are made of."""
        made, wanted = self.made_and_wanted(batch)
        loss = self.distance(made, wanted)
        self.log("val_loss", loss, prog_bar=True, batch_size=len(made), sync_dist=True)
        self.products.append(torch.stack([(made * x).sum(dim=(0, 2, 3)) for x in (wanted, made)]))

    def on_validation_epoch_end(self) -> None:
        """Find the gains, where they are open: by least squares."""
        together, own = torch.stack(self.products).sum(dim=0)
        self.products.clear()
        if self.settings.loss == "si-sdr" and not self.network.difference:
            self.gains.copy_(together / own.clamp_min(1e-12))


def build(settings: SeparationWaveformConfig, *, seed: int = 0) -> SeparationWaveformSystem:
    """Return an untrained system whose initial weights depend on ``seed`` alone."""
    L.seed_everything(config.checked(Seed, seed, "seed"), workers=True, verbose=False)
    return SeparationWaveformSystem(settings)


def batches(
    settings: SeparationWaveformConfig,
    tracks: Mapping[str, Sequence[SongTrack]],
    *,
    seed: int = 0,
) -> stem_batches.SongData:
    """Return pieces of the training side, shuffled, and some of the validation side, in order."""
    with torch.device("meta"):  # for its lengths
        network = NETWORKS[settings.model][1](settings.sizes, len(STEMS), settings.n_channels)
    n_input, n_output = network.lengths(settings.data.patch_frames * FRAME_SAMPLES)
    given = settings.augmentation
    return stem_batches.SongData(
        tracks,
        n_input,
        n_output,
        spare=0 if given is None else given.spare(n_input, n_output),
        batch_size=settings.training.batch_size,
        seed=seed,
        num_workers=settings.training.num_workers,
    )


predict = streams.separate_whole


def evaluate(
    system: SeparationWaveformSystem, tracks: Mapping[str, Sequence[SongTrack]]
) -> Evaluation:
    """Return the scores of the test side; see :func:`dl101.evaluation.stems.score`."""
    found = stems.score(
        tracks["test"], lambda track: predict(system, track.mixture), system.sample_rate
    )
    return Evaluation(found.by_song, overall=found.overall)


def baselines(
    settings: SeparationWaveformConfig, tracks: Mapping[str, Sequence[SongTrack]]
) -> dict[str, Evaluation]:
    """Return the scores of the mixture itself as the answer for every stem.

    Methods that learn nothing, and bounds, are with :mod:`dl101.systems.source_separation`.
    """
    rate = settings.sample_rate
    found = stems.score(tracks["test"], lambda track: stems.unchanged(track, rate), rate)
    return {"mixture": Evaluation(found.by_song, overall=found.overall)}
