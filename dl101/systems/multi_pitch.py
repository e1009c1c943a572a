"""Multi-pitch estimation: which pitches sound in each frame of a recording.

A network maps the harmonic CQT of a track, (harmonic, bin, frame), to one logit per bin and frame;
the target is 1 where a pitch sounds (Bittner et al., ISMIR 2017; U-Net: Doras et al., 2019). The
network is described in YAML (``configs/multi_pitch/*.yaml``), everything else in
:class:`MultiPitchConfig`, so each variant of the chapter is one parameter away from the others.

The functions of this file are the chapter in order: :func:`load_config`, :func:`load_tracks`,
:func:`build`, :func:`train`, :func:`predict`, :func:`tune_threshold`, :func:`evaluate`; those that
every system has are listed in :class:`dl101.training.protocol.SystemModule`.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import lightning as L
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dl101 import config
from dl101.config import Positive, Seed, Settings, YamlFile
from dl101.data import source
from dl101.data.source import DataConfig
from dl101.evaluation import multi_pitch
from dl101.nn import factory, losses
from dl101.signal.cqt import HcqtConfig
from dl101.targets import PitchAxis
from dl101.training import fit, pitch_tracks, protocol
from dl101.training.batches import PatchData, by_side
from dl101.training.fit import FitResult, TrainingConfig
from dl101.training.pitch_tracks import AugmentationConfig, PitchTrack
from dl101.training.protocol import CONFIGS, Evaluation

THRESHOLDS = np.round(np.arange(0.05, 0.96, 0.05), 2)


@dataclass(frozen=True)
class MultiPitchConfig(Settings):
    """Everything a run depends on, except its seed."""

    model: Annotated[str, YamlFile(CONFIGS / "multi_pitch")]
    scale: Literal["lab", "full"] = "lab"
    positive_weight: Positive = 1.0
    data: DataConfig = field(default_factory=DataConfig)
    feature: HcqtConfig = field(default_factory=HcqtConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    augmentation: AugmentationConfig | None = None

    @property
    def variant(self) -> str:
        """Return the name of the run in tables, such as ``conv2d-hcqt``."""
        name = f"{self.model}-{'hcqt' if len(self.feature.harmonics) > 1 else 'cqt'}"
        return name if self.augmentation is None else f"{name}-varied"


Config = MultiPitchConfig


def load_config(
    file: str | Path = "multi_pitch", *, scale: str = "lab", settings: Sequence[str] = ()
) -> MultiPitchConfig:
    """Read a configuration; see :func:`dl101.training.protocol.load_config`."""
    return protocol.load_config(MultiPitchConfig, file, scale=scale, settings=settings)


def load_tracks(
    settings: MultiPitchConfig, *, accept_restricted: bool = False, progress: bool = True
) -> dict[str, list[PitchTrack]]:
    """Return the tracks of each side of the split."""
    files = source.locate(
        settings.data,
        fields=("f0multi", "pitchmidi"),
        accept_restricted=accept_restricted,
        progress=progress,
    )
    tracks = pitch_tracks.load_pitch_tracks(
        files.audio,
        files.annotations,
        settings.feature,
        dataset=settings.data.dataset,
        seed=settings.data.seed,
        n_tracks=settings.data.n_tracks,
        progress=progress,
    )
    return by_side(tracks)


class MultiPitchSystem(fit.System):
    """The network and its loss. Input (batch, harmonic, bin, frame), output logits (…, 1, …)."""

    def __init__(self, settings: MultiPitchConfig) -> None:
        super().__init__(settings.training)
        self.settings = settings
        self.axis = PitchAxis.of(settings.feature)
        image = (settings.feature.n_bins, settings.data.patch_frames)
        self.network = factory.read_model(
            CONFIGS / "multi_pitch" / f"{settings.model}.yaml",
            (len(settings.feature.harmonics), *image),
            size=settings.scale,
            output_shape=(1, *image),
        )
        self.network.to(memory_format=torch.channels_last)
        _start_from_silence(self.network)

    def forward(self, hcqt: Tensor) -> Tensor:
        """Return one logit per bin and frame, (batch, 1, bin, frame)."""
        # channels last in memory: the same numbers, a third faster on CPUs and GPUs
        return self.network(hcqt.contiguous(memory_format=torch.channels_last))

    def loss(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Return the binary cross-entropy over all bins of the real frames."""
        return losses.masked_binary_cross_entropy(
            self(batch["input"]),
            batch["target"],
            batch["mask"],
            positive_weight=self.settings.positive_weight,
        )

    def training_step(self, batch: Mapping[str, Tensor], batch_idx: int) -> Tensor:
        """Return the loss to minimise, of inputs that are varied if the configuration says so."""
        if self.settings.augmentation is not None:
            # of the seed and the step alone, so that a resumed run draws what it would have drawn
            rng = np.random.default_rng([torch.initial_seed(), self.global_step])
            varied = pitch_tracks.augment(batch["input"], self.settings.augmentation, rng)
            batch = {**batch, "input": varied}
        return super().training_step(batch, batch_idx)


def _start_from_silence(network: factory.Network, probability: float = 0.02) -> None:
    """Set the last bias so that training starts from "almost nothing sounds", which is true."""
    _, last = network.layers()[-1]
    nn.init.constant_(last.bias, math.log(probability / (1 - probability)))


def build(settings: MultiPitchConfig, *, seed: int = 0) -> MultiPitchSystem:
    """Return an untrained system whose initial weights depend on ``seed`` alone."""
    L.seed_everything(config.checked(Seed, seed, "seed"), workers=True, verbose=False)
    return MultiPitchSystem(settings)


def batches(
    settings: MultiPitchConfig, tracks: Mapping[str, Sequence[PitchTrack]], *, seed: int = 0
) -> PatchData:
    """Return patches of the training side, shuffled, and of the validation side, in order."""
    return PatchData(
        tracks,
        patch_frames=settings.data.patch_frames,
        batch_size=settings.training.batch_size,
        seed=seed,
        num_workers=settings.training.num_workers,
    )


def train(
    system: MultiPitchSystem,
    tracks: Mapping[str, Sequence[PitchTrack]],
    run_dir: Path | str,
    *,
    seed: int = 0,
    resume: bool = False,
    progress: bool = True,
) -> FitResult:
    """Train on the training side, watch the validation side, keep the best weights."""
    return protocol.train(
        sys.modules[__name__],
        system,
        system.settings,
        tracks,
        run_dir,
        seed=seed,
        resume=resume,
        progress=progress,
    )


@torch.no_grad()
def predict(
    system: MultiPitchSystem, hcqt: NDArray[np.float32], *, chunk_frames: int = 1024
) -> NDArray[np.float32]:
    """Return the probability of each pitch in each frame of a whole track.

    The track is cut into chunks with 64 frames of context on both sides, more than the networks
    see, so that memory is bounded and a cut leaves no seam.

    Parameters
    ----------
    hcqt
        (harmonics, bins, frames) compressed input of any length.
    chunk_frames
        Frames per forward pass, a multiple of 64.

    Returns
    -------
    NDArray
        (bins, frames) probabilities.
    """
    system.eval()
    margin, n_frames = 64, hcqt.shape[2]
    n_padded = math.ceil(n_frames / margin) * margin
    padded = np.pad(hcqt, [(0, 0), (0, 0), (margin, n_padded - n_frames + margin)])
    pieces = []
    for start in range(0, n_padded, chunk_frames):
        stop = min(start + chunk_frames, n_padded)
        piece = torch.from_numpy(padded[None, :, :, start : stop + 2 * margin])
        logits = system(piece.to(system.device))[0, 0, :, margin:-margin]
        pieces.append(torch.sigmoid(logits.float()).cpu().numpy())
    return np.concatenate(pieces, axis=1)[:, :n_frames]


def tune_threshold(
    saliences: Sequence[NDArray], tracks: Sequence[PitchTrack], axis: PitchAxis
) -> tuple[float, list[dict[str, float]]]:
    """Return the threshold with the best mean accuracy on these (validation) tracks, and the curve.

    ``saliences`` holds a (bins, frames) array per track: a network's probabilities or a baseline.
    """
    pairs = [(track.reference, values) for track, values in zip(tracks, saliences, strict=True)]
    times = [track.times_s for track in tracks]
    curve = multi_pitch.threshold_curve(pairs, axis, times, THRESHOLDS)
    return multi_pitch.best_threshold(curve), curve


def score(
    saliences: Sequence[NDArray],
    tracks: Sequence[PitchTrack],
    axis: PitchAxis,
    threshold: float,
) -> Evaluation:
    """Return the scores of each track, by ``mir_eval`` on the annotation's time base."""
    scores = {
        track.key: multi_pitch.score_track(
            track.reference,
            multi_pitch.from_probabilities(values, axis, track.times_s, threshold),
        )
        for track, values in zip(tracks, saliences, strict=True)
    }
    return Evaluation(scores, {"threshold": threshold})


def evaluate(system: MultiPitchSystem, tracks: Mapping[str, Sequence[PitchTrack]]) -> Evaluation:
    """Choose the threshold on the validation side and score the test side."""
    said = {
        side: [predict(system, track.input) for track in tracks[side]]
        for side in ("validation", "test")
    }
    threshold, _ = tune_threshold(said["validation"], tracks["validation"], system.axis)
    return score(said["test"], tracks["test"], system.axis, threshold)


def salience_baseline(
    tracks: Sequence[PitchTrack], harmonics: Sequence[float]
) -> list[NDArray[np.float64]]:
    """Return the harmonic-sum salience of each track: what one gets without learning."""
    return [multi_pitch.harmonic_sum(track.input, harmonics) for track in tracks]


def baselines(
    settings: MultiPitchConfig, tracks: Mapping[str, Sequence[PitchTrack]]
) -> dict[str, Evaluation]:
    """Return the scores of salience and of silence; none where one channel leaves nothing to add.

    Salience is treated as fairly as a network: its threshold is chosen on the validation side.
    """
    harmonics, axis = settings.feature.harmonics, PitchAxis.of(settings.feature)
    if len(harmonics) == 1:
        return {}
    salience = {side: salience_baseline(tracks[side], harmonics) for side in ("validation", "test")}
    level, _ = tune_threshold(salience["validation"], tracks["validation"], axis)
    return {
        name: score(salience["test"], tracks["test"], axis, threshold)
        for name, threshold in (("salience", level), ("silence", math.inf))
    }
