"""Auto-tagging: which genre, or which tags, a recording has.

A network maps a patch of a few seconds, a log-mel spectrogram (1, band, frame) or a waveform
(1, sample), to one logit for each class. Where one class holds (genres) the softmax of the logits
is compared with it, where several can (tags) each has a sigmoid of its own. What is said of a
track is the mean of what is said of its patches. Networks are described in YAML
(``configs/auto_tagging/*.yaml``), but for ``musicnn``, whose branches of many shapes need code.

The functions of this file are the chapter in order: :func:`load_config`, :func:`load_tracks`,
:func:`build`, :func:`train`, :func:`predict`, :func:`evaluate`; those that every system has are
listed in :class:`dl101.training.protocol.SystemModule`. One file because genres and tags share all
of it but the loss and the scores.

Sources: Peeters et al. (2024) for the convolutions with learnt pooling; Choi et al. (2016) and Pons
(2019) for VGG; Pons et al. (2018), arXiv:1711.02520, for musicnn.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import lightning as L
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from dl101 import config
from dl101.config import PatchFrames, Range, Seed, Settings, YamlFile
from dl101.data import audiofile
from dl101.data.source import DataConfig
from dl101.errors import ConfigError
from dl101.evaluation import probe_models, tagging
from dl101.nn import factory
from dl101.nn.shapes import musicnn
from dl101.systems import auto_tagging_data
from dl101.systems.auto_tagging_data import FeatureConfig, TagData, TagTrack, Task
from dl101.training import fit, protocol
from dl101.training.batches import by_side
from dl101.training.fit import FitResult, TrainingConfig
from dl101.training.protocol import CONFIGS, Evaluation

Masked = Annotated[int, Range(at_least=0, at_most=1000)]
THRESHOLDS = np.round(np.arange(0.05, 0.96, 0.05), 2)
MUSICNN = "musicnn"
INPUT_OF = {
    **dict.fromkeys(("conv2d", "vgg", MUSICNN), "log-mel"),
    **dict.fromkeys(("conv1d", "tcn", "sincnet"), "waveform"),
}
MUSICNN_SIZES = {
    "lab": {"width": 0.125, "channels": 32, "hidden": 64, "dropout": 0.3},
    "full": {"width": 0.5, "channels": 64, "hidden": 200, "dropout": 0.5},
}


def config_for(dataset: str, model: str) -> str:
    """Return the name of the configuration that suits a network on a dataset."""
    if INPUT_OF.get(model) == "waveform":
        return "auto_tagging_waveform"
    task = auto_tagging_data.TASKS.get(dataset)
    return "auto_tagging" if task is None or task.several else "auto_tagging_genres"


@dataclass(frozen=True)
class Model(YamlFile):
    """A model file, or the one network that is no file."""

    def allows(self, value: str) -> bool:
        """Return whether there is such a network."""
        return value == MUSICNN or super().allows(value)

    def known(self) -> list[str]:
        """Return the names of the networks."""
        return sorted([*super().known(), MUSICNN])


@dataclass(frozen=True)
class AutoTaggingConfig(Settings):
    """Everything a run depends on, except its seed.

    Attributes
    ----------
    model
        The network: ``conv2d``, ``vgg`` and ``musicnn`` take a log-mel spectrogram; ``conv1d``,
        ``tcn`` and ``sincnet`` a waveform.
    input
        What it is fed.
    hop_frames
        Distance between the patches of a track, in frames; ``data.patch_frames`` is their length.
    mask_bands, mask_frames
        Most bands and frames that are blanked in a training patch of a spectrogram.
    """

    model: Annotated[str, Model(CONFIGS / "auto_tagging")]
    scale: Literal["lab", "full"] = "lab"
    input: auto_tagging_data.Input = "log-mel"
    hop_frames: PatchFrames = 32
    mask_bands: Masked = 0
    mask_frames: Masked = 0
    data: DataConfig = field(default_factory=lambda: DataConfig("tags"))
    feature: FeatureConfig = field(default_factory=FeatureConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)

    def __post_init__(self) -> None:
        """Check the fields against each other."""
        super().__post_init__()
        if self.data.dataset not in auto_tagging_data.TASKS:
            raise ConfigError(
                "AutoTaggingConfig.data.dataset",
                got=repr(self.data.dataset),
                expected=f"one of {', '.join(auto_tagging_data.TASKS)}",
                hint="these have genres or tags",
            )
        if self.hop_frames > self.data.patch_frames:
            raise ConfigError(
                "AutoTaggingConfig.hop_frames",
                got=f"{self.hop_frames}, with patches of {self.data.patch_frames} frames",
                expected="at most the length of a patch",
                hint="half a patch is usual",
            )

    @property
    def task(self) -> Task:
        """Return what is asked of the dataset."""
        return auto_tagging_data.TASKS[self.data.dataset]

    @property
    def frame_samples(self) -> int:
        """Return how many values of the input a frame has."""
        return self.feature.hop_samples if self.input == "waveform" else 1

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Return the shape of a patch, without the batch."""
        n_frames = self.data.patch_frames * self.frame_samples
        return (1, self.feature.n_bands, n_frames) if self.input == "log-mel" else (1, n_frames)

    @property
    def variant(self) -> str:
        """Return the name of the run in tables, such as ``tags-vgg``."""
        return f"{self.data.dataset}-{self.model}"


Config = AutoTaggingConfig


def load_config(
    file: str | Path = "auto_tagging", *, scale: str = "lab", settings: Sequence[str] = ()
) -> AutoTaggingConfig:
    """Read a configuration; see :func:`dl101.training.protocol.load_config`."""
    return protocol.load_config(AutoTaggingConfig, file, scale=scale, settings=settings)


def load_tracks(
    settings: AutoTaggingConfig, *, accept_restricted: bool = False, progress: bool = True
) -> dict[str, list[TagTrack]]:
    """Return the tracks of each side of the split."""
    tracks = auto_tagging_data.load_tag_tracks(
        settings.data,
        settings.feature,
        kind=settings.input,
        accept_restricted=accept_restricted,
        progress=progress,
    )
    return by_side(tracks)


class AutoTaggingSystem(fit.System):
    """The network and its loss. Input (batch, 1, ...), output logits (batch, classes)."""

    def __init__(self, settings: AutoTaggingConfig) -> None:
        super().__init__(settings.training)
        self.settings = settings
        self.network = make_network(settings)
        if len(settings.input_shape) == 3:
            self.network.to(memory_format=torch.channels_last)

    def forward(self, patches: Tensor) -> Tensor:
        """Return one logit for each class, (batch, classes)."""
        return self.network(patches)

    def loss(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Return the cross-entropy: of one choice among the classes, or of a choice for each."""
        logits, target = self(batch["input"]), batch["target"]
        if self.settings.task.several:
            return F.binary_cross_entropy_with_logits(logits, target)
        return F.cross_entropy(logits, target)

    def training_step(self, batch: Mapping[str, Tensor], batch_idx: int) -> Tensor:
        """Return the loss to minimise, of spectrograms with something blanked if asked."""
        bands, frames = self.settings.mask_bands, self.settings.mask_frames
        if self.settings.input == "log-mel" and (bands or frames):
            batch = {**batch, "input": auto_tagging_data.masked(batch["input"], bands, frames)}
        return super().training_step(batch, batch_idx)

    def probabilities(self, logits: Tensor) -> Tensor:
        """Return what the logits mean: for one of several classes they add up to 1."""
        several = self.settings.task.several
        return torch.sigmoid(logits) if several else torch.softmax(logits, dim=-1)


def make_network(settings: AutoTaggingConfig) -> nn.Module:
    """Return the network of a configuration, with fresh weights.

    Raises
    ------
    ConfigError
        If the network takes another input than the configuration gives it.
    """
    n_outputs = len(settings.task.classes)
    wanted = INPUT_OF.get(settings.model, settings.input)  # a model of the user's own takes either
    if settings.input != wanted:
        raise ConfigError(
            "input",
            got=f"{settings.input!r} for the model {settings.model!r}",
            expected=repr(wanted),
            hint=f"use the configuration {config_for(settings.data.dataset, settings.model)}",
        )
    if settings.model != MUSICNN:
        return factory.read_model(
            CONFIGS / "auto_tagging" / f"{settings.model}.yaml",
            settings.input_shape,
            size=settings.scale,
            output_shape=(n_outputs,),
            given={"n_outputs": n_outputs},
        )
    return musicnn(
        settings.feature.n_bands,
        n_outputs,
        frames_per_second=settings.feature.sample_rate / settings.feature.hop_samples,
        **MUSICNN_SIZES[settings.scale],
    )


def build(settings: AutoTaggingConfig, *, seed: int = 0) -> AutoTaggingSystem:
    """Return an untrained system whose initial weights depend on ``seed`` alone."""
    L.seed_everything(config.checked(Seed, seed, "seed"), workers=True, verbose=False)
    return AutoTaggingSystem(settings)


def batches(
    settings: AutoTaggingConfig, tracks: Mapping[str, Sequence[TagTrack]], *, seed: int = 0
) -> TagData:
    """Return patches from anywhere in the training tracks, and those of validation in order."""
    return TagData(
        tracks,
        patch_frames=settings.data.patch_frames,
        hop_frames=settings.hop_frames,
        frame_samples=settings.frame_samples,
        batch_size=settings.training.batch_size,
        seed=seed,
        num_workers=settings.training.num_workers,
    )


def train(
    system: AutoTaggingSystem,
    tracks: Mapping[str, Sequence[TagTrack]],
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
def predict_patches(
    system: AutoTaggingSystem,
    values: NDArray[np.float32],
    *,
    hop_frames: int | None = None,
    batch_size: int = 32,
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Return what the network says of each patch of a track: the tag-o-gram.

    Parameters
    ----------
    values
        (1, bands, frames) or (1, samples), of any length.
    hop_frames
        Distance between patches; None: that of the configuration.
    batch_size
        Patches per forward pass.

    Returns
    -------
    probabilities, times_s
        (patches, classes), and the middle of each patch in seconds.
    """
    settings, n = system.settings, system.settings.frame_samples
    system.eval()
    begins = auto_tagging_data.starts(
        max(1, values.shape[-1] // n),
        patch_frames=settings.data.patch_frames,
        hop_frames=hop_frames or settings.hop_frames,
    )
    length = settings.data.patch_frames * n
    said = []
    for some in np.array_split(begins, -(-len(begins) // batch_size)):
        patches = np.stack([auto_tagging_data.cut(values, start * n, length) for start in some])
        logits = system(torch.from_numpy(patches).to(system.device))
        said.append(system.probabilities(logits.float()).cpu().numpy())
    frame_s = settings.feature.hop_samples / settings.feature.sample_rate
    return np.concatenate(said), (begins + settings.data.patch_frames / 2) * frame_s


def predict(system: AutoTaggingSystem, values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the probability of each class for a whole track: the mean over its patches.

    See :func:`predict_patches` for the argument.
    """
    return predict_patches(system, values)[0].mean(axis=0)


@dataclass(frozen=True, eq=False)
class Heard:
    """What a network says of a recording.

    ``classes`` are the names; ``mean`` (classes,) the probabilities for the whole;
    ``probabilities`` (moments, classes) those around each of ``times_s``.
    """

    classes: tuple[str, ...]
    mean: NDArray[np.float32]
    probabilities: NDArray[np.float32]
    times_s: NDArray[np.float64]


def listen(system: AutoTaggingSystem, path: Path | str, *, hop_s: float = 1.0) -> Heard:
    """Return what a network says of an audio file, whatever its format, rate and channels.

    Raises
    ------
    DataError
        If the file cannot be read, is silent, or is shorter than half a second.
    """
    if not isinstance(system, AutoTaggingSystem):
        raise ConfigError(
            "network",
            got=type(system).__name__,
            expected="a network for auto-tagging",
            hint="leave the option out, or train one with dl101 train auto_tagging",
        )
    feature = system.settings.feature
    audio = audiofile.read_recording(path, feature.sample_rate, shortest_s=0.5)
    values = auto_tagging_data.network_input(audio, feature, system.settings.input).values
    n_frames = max(1, round(hop_s * feature.sample_rate / feature.hop_samples))
    said, times_s = predict_patches(
        system, values, hop_frames=min(n_frames, system.settings.data.patch_frames)
    )
    return Heard(system.settings.task.classes, predict(system, values), said, times_s)


def truth_of(tracks: Sequence[TagTrack]) -> NDArray[np.float32]:
    """Return the classes of tracks, (tracks, classes) of zeros and ones."""
    return np.stack([track.target for track in tracks])


def score(
    settings: AutoTaggingConfig,
    tracks: Mapping[str, Sequence[TagTrack]],
    said: Mapping[str, NDArray],
) -> Evaluation:
    """Return the scores of probabilities (tracks, classes) of the validation and the test side.

    For one class a track: whether it is recognised, track by track, and as the means over classes
    that imbalance does not touch, recall and F. For tags: areas under the curves, and F at the one
    threshold for all tags that is best on the validation side.
    """
    truth, values = truth_of(tracks["test"]), said["test"]
    keys = [track.key for track in tracks["test"]]
    if not settings.task.several:
        right = values.argmax(axis=1) == truth.argmax(axis=1)
        found = tagging.class_report(truth, tagging.one_hot_of_highest(values))
        overall = {
            "macro_recall": tagging.macro_recall(truth, values),
            "macro_f": tagging.macro(found["f"][truth.any(axis=0)]),
        }
        return Evaluation(
            {key: {"accuracy": float(hit)} for key, hit in zip(keys, right, strict=True)},
            overall=overall,
        )
    validation = truth_of(tracks["validation"])
    threshold = tagging.best_threshold(validation, said["validation"], THRESHOLDS)
    overall = {
        "macro_auc": tagging.macro_auc(truth, values),
        "macro_ap": tagging.macro_ap(truth, values),
        "micro_auc": tagging.roc_auc(truth.ravel(), values.ravel()),
        "micro_ap": tagging.average_precision(truth.ravel(), values.ravel()),
        "micro_f": tagging.micro_f(truth, values >= threshold),
    }
    return Evaluation({key: {} for key in keys}, {"threshold": threshold}, overall)


def evaluate(system: AutoTaggingSystem, tracks: Mapping[str, Sequence[TagTrack]]) -> Evaluation:
    """Score the test side; what has to be chosen is chosen on the validation side."""
    said = {
        side: np.stack([predict(system, track.input) for track in tracks[side]])
        for side in ("validation", "test")
    }
    return score(system.settings, tracks, said)


def baseline_answers(
    settings: AutoTaggingConfig, tracks: Mapping[str, Sequence[TagTrack]]
) -> dict[str, dict[str, NDArray]]:
    """Return what two answers without a network say of the validation and the test side.

    ``prior`` is how frequent each class is in training; ``mfcc-svm`` are the decisions of support
    vector machines on the statistics of MFCC, squeezed into 0 to 1: 0.5 is their border, but they
    are no probabilities.
    """
    x = {side: np.stack([track.timbre for track in each]) for side, each in tracks.items()}
    y = {side: truth_of(each) for side, each in tracks.items()}
    judge = tagging.macro_auc if settings.task.several else tagging.macro_recall
    decisions = probe_models.svm(x, y, judge)
    prior = y["train"].mean(axis=0)
    return {
        "prior": {side: np.tile(prior, (len(y[side]), 1)) for side in decisions},
        "mfcc-svm": {
            side: 1 / (1 + np.exp(-np.clip(values, -50, 50))) for side, values in decisions.items()
        },
    }


def baselines(
    settings: AutoTaggingConfig, tracks: Mapping[str, Sequence[TagTrack]]
) -> dict[str, Evaluation]:
    """Return the scores of :func:`baseline_answers`."""
    return {
        f"{settings.data.dataset}-{name}": score(settings, tracks, said)
        for name, said in baseline_answers(settings, tracks).items()
    }
