"""Chord estimation: which chord sounds when.

A network (:mod:`dl101.nn.chords`) maps the constant-Q spectrum of a track, (1, bin, frame), to one
logit per class and frame. The sequence is decoded by a hidden Markov model whose only number, the
probability to stay, is chosen on the validation side.

The functions of this file are the chapter in order; those that every system has are listed in
:class:`dl101.training.protocol.SystemModule`.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import lightning as L
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from dl101 import config
from dl101.config import Seed, Settings
from dl101.data import chord_segments, harte, source
from dl101.data.chord_segments import ChordSegments
from dl101.data.harte import Vocabulary
from dl101.data.source import DataConfig
from dl101.errors import ConfigError
from dl101.evaluation import chords
from dl101.nn.chords import ChordNet, ChordNetConfig
from dl101.signal.cqt import HcqtConfig
from dl101.systems import chords_data
from dl101.systems.chords_data import BASS, CLASS, PITCHES, ROOT, ChordTrack
from dl101.training import fit, protocol
from dl101.training.batches import PatchData, by_side
from dl101.training.fit import TrainingConfig
from dl101.training.protocol import Evaluation

STAYS = (0.0, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98)  # probabilities to stay that are tried
SHARPNESS = (5.0, 10.0)
NO_CHORD_LEVELS = (0.3, 0.4, 0.5)
BASELINES = ("majority", "templates", "hmm-stay", "hmm-counted")
UP_AND_DOWN = (-5, 6)  # semitones: every key once


@dataclass(frozen=True)
class ChordConfig(Settings):
    """Everything a run depends on, except its seed.

    ``transpose`` moves each patch of training to another key, drawn anew every time.
    """

    scale: Literal["lab", "full"] = "lab"
    vocabulary: Literal["majmin", "large"] = "majmin"
    transpose: bool = True
    model: ChordNetConfig = field(default_factory=ChordNetConfig)
    data: DataConfig = field(default_factory=DataConfig)
    feature: HcqtConfig = field(
        default_factory=lambda: HcqtConfig(f_min_hz=32.703, harmonics=(1.0,))
    )
    training: TrainingConfig = field(default_factory=TrainingConfig)

    def __post_init__(self) -> None:
        """Check each field, and that the input is one CQT that begins with a C."""
        super().__post_init__()
        if len(self.feature.harmonics) != 1 or round(self.pitch_of_first_bin) % 12:
            raise ConfigError(
                "ChordConfig.feature",
                got=f"harmonics {self.feature.harmonics} from MIDI {self.pitch_of_first_bin:.1f}",
                expected="one CQT that begins with a C",
                hint="write harmonics: [1] and f_min_hz: 32.703",
            )

    @property
    def pitch_of_first_bin(self) -> float:
        """The lowest bin as a MIDI number."""
        lowest_hz = self.feature.f_min_hz * self.feature.harmonics[0]
        return 69 + 12 * float(np.log2(lowest_hz / 440.0))

    @property
    def labels(self) -> Vocabulary:
        """The classes that the network tells apart."""
        return harte.VOCABULARIES[self.vocabulary]

    @property
    def hop_s(self) -> float:
        """Distance of frames in seconds."""
        return self.feature.hop_samples / self.feature.sample_rate

    @property
    def variant(self) -> str:
        """Return the name of the run in tables, such as ``structured-large``."""
        parts = ["published" if self.model.published else "crnn"]
        parts += ["structured"] if self.model.structured else []
        parts += ["large"] if self.vocabulary == "large" else []
        return "-".join(parts if self.transpose else [*parts, "one-key"])


Config = ChordConfig


def load_config(
    file: str | Path = "chords", *, scale: str = "lab", settings: Sequence[str] = ()
) -> ChordConfig:
    """Read a configuration; see :func:`dl101.training.protocol.load_config`."""
    return protocol.load_config(ChordConfig, file, scale=scale, settings=settings)


def load_tracks(
    settings: ChordConfig, *, accept_restricted: bool = False, progress: bool = True
) -> dict[str, list[ChordTrack]]:
    """Return the tracks of each side of the split."""
    files = source.locate(
        settings.data,
        fields=("chord",),
        accept_restricted=accept_restricted,
        progress=progress,
    )
    tracks = chords_data.load_chord_tracks(
        files.audio,
        files.annotations,
        settings.feature,
        settings.labels,
        dataset=settings.data.dataset,
        seed=settings.data.seed,
        n_tracks=settings.data.n_tracks,
        progress=progress,
    )
    return by_side(tracks)


class ChordSystem(fit.System):
    """The network and its loss."""

    def __init__(self, settings: ChordConfig) -> None:
        super().__init__(settings.training)
        self.settings = settings
        self.network = ChordNet(
            settings.model,
            len(settings.labels.classes),
            n_bins=settings.feature.n_bins,
            n_frames=settings.data.patch_frames,
        )

    def forward(self, spectra: Tensor) -> Tensor:
        """Return one logit per frame and class, (batch, frames, classes)."""
        return self.network(spectra)["chord"]

    def loss(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Return the cross-entropy over the frames of which something is known.

        With a structured model, those of root, bass and pitch classes are added.
        """
        said = self.network(batch["input"])
        unknown = batch["mask"].unsqueeze(1) == 0  # the padding after the end of a track
        rows = batch["target"][:, 0].masked_fill(unknown, -1.0)  # (batch, rows, frames)
        answers = {"chord": CLASS, "root": ROOT, "bass": BASS}
        loss = sum(
            _cross_entropy(said[name], rows[:, row].long())
            for name, row in answers.items()
            if name in said
        )
        if "pitches" in said:
            sounds = rows[:, PITCHES:].transpose(1, 2)
            known = (sounds >= 0).float()
            each = functional.binary_cross_entropy_with_logits(
                said["pitches"], sounds.clamp_min(0), weight=known, reduction="sum"
            )
            loss = loss + each / known.sum().clamp_min(1)
        return loss

    def training_step(self, batch: Mapping[str, Tensor], batch_idx: int) -> Tensor:
        """Return the loss to minimise, of patches in other keys if the configuration says so."""
        if self.settings.transpose:
            # of the seed and the step alone, so that a resumed run draws what it would have drawn
            rng = np.random.default_rng([torch.initial_seed(), self.global_step])
            lowest, highest = UP_AND_DOWN
            moved = chords_data.transposed(
                batch["input"],
                batch["target"],
                rng.integers(lowest, highest + 1, len(batch["input"])).tolist(),
                bins_per_semitone=self.settings.feature.bins_per_semitone,
                vocabulary=self.settings.labels,
            )
            batch = {**batch, "input": moved[0], "target": moved[1]}
        return super().training_step(batch, batch_idx)


def _cross_entropy(logits: Tensor, classes: Tensor) -> Tensor:
    """Return the mean over the frames that have a class, (batch, frames); 0 if none has."""
    total = functional.cross_entropy(
        logits.flatten(0, 1), classes.flatten(), ignore_index=-1, reduction="sum"
    )
    return total / (classes >= 0).sum().clamp_min(1)


def build(settings: ChordConfig, *, seed: int = 0) -> ChordSystem:
    """Return an untrained system whose initial weights depend on ``seed`` alone."""
    L.seed_everything(config.checked(Seed, seed, "seed"), workers=True, verbose=False)
    return ChordSystem(settings)


def batches(
    settings: ChordConfig, tracks: Mapping[str, Sequence[ChordTrack]], *, seed: int = 0
) -> PatchData:
    """Return patches of the training side, shuffled, and of the validation side, in order."""
    return PatchData(
        tracks,
        patch_frames=settings.data.patch_frames,
        batch_size=settings.training.batch_size,
        seed=seed,
        num_workers=settings.training.num_workers,
    )


# ---- estimates and scores ----------------------------------------------------------------------


@torch.no_grad()
def predict(system: ChordSystem, spectrum: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the log-probability of each class in each frame of a whole track, (classes, frames).

    The track is read in windows as long as a patch of training, half of one apart; of each the
    middle counts. A track that is shorter than a patch is read at once.

    Parameters
    ----------
    system
        The trained system.
    spectrum
        (1, bins, frames) input of any length.
    """
    system.eval()
    n_frames, length = spectrum.shape[-1], system.settings.data.patch_frames
    starts = [0]
    while starts[-1] + length < n_frames:  # the last window ends with the track
        starts.append(min(starts[-1] + max(length // 2, 1), n_frames - length))
    found = np.zeros((len(system.settings.labels.classes), n_frames), dtype=np.float32)
    for i, start in enumerate(starts):
        part = np.array(spectrum[..., start : start + length])
        n = part.shape[-1]
        if system.network.published:  # its normalisation knows patches of one length alone
            part = np.pad(part, [(0, 0), (0, 0), (0, length - n)])
        logits = system(torch.from_numpy(part)[None].to(system.device))[0, :n]
        begin = 0 if i == 0 else (starts[i - 1] + length - start) // 2
        said = logits.float().log_softmax(-1).cpu().numpy()
        found[:, start + begin : start + n] = said[begin:].T
    return found


def decode(log_probabilities: NDArray, stay: float) -> NDArray[np.int64]:
    """Return the class of each frame: the best sequence if chords stay with this probability.

    With a probability of 0, each frame is on its own.
    """
    if stay == 0:
        return log_probabilities.argmax(axis=0)
    return chords.viterbi(log_probabilities, chords.self_transitions(len(log_probabilities), stay))


def segments_of(
    classes: NDArray[np.int64],
    settings: ChordConfig,
    duration_s: float,
    vocabulary: Vocabulary | None = None,
) -> ChordSegments:
    """Return the classes of frames as labelled segments; by default they are the network's."""
    names = (vocabulary or settings.labels).classes
    return chord_segments.from_frames(classes, names, hop_s=settings.hop_s, duration_s=duration_s)


def recognise(system: ChordSystem, audio: NDArray[np.float32], *, stay: float) -> ChordSegments:
    """Return the chords of a recording at the network's sample rate, (samples,)."""
    settings = system.settings
    rate = settings.feature.sample_rate
    spectrum = chords_data.network_input(audio, settings.feature, sample_rate=rate)
    classes = decode(predict(system, spectrum.values), stay)
    return segments_of(classes, settings, len(audio) / rate)


def score(
    tracks: Sequence[ChordTrack],
    classes: Sequence[NDArray[np.int64]],
    settings: ChordConfig,
    *,
    chosen: Mapping[str, float] | None = None,
    vocabulary: Vocabulary | None = None,
) -> Evaluation:
    """Return the scores of the classes of each track's frames.

    Beside the means over tracks stand the totals, in which each second weighs alike; a score of
    which a track has not a second is left out of its mean.
    """
    found = {
        track.key: chords.score_track(
            track.reference, segments_of(each, settings, track.duration_s, vocabulary)
        )
        for track, each in zip(tracks, classes, strict=True)
    }
    by_track = {key: each.scores for key, each in found.items()}
    return Evaluation(by_track, chosen or {}, chords.mean_scores(list(found.values())))


def tune_stay(log_probabilities: Sequence[NDArray], tracks: Sequence[ChordTrack]) -> float:
    """Return the probability to stay with which most frames of these tracks are right."""
    truth = [track.target[CLASS] for track in tracks]
    return max(
        STAYS,
        key=lambda stay: chords.frame_accuracy(
            [decode(each, stay) for each in log_probabilities], truth
        ),
    )


def evaluate(system: ChordSystem, tracks: Mapping[str, Sequence[ChordTrack]]) -> Evaluation:
    """Choose the probability to stay on the validation side and score the test side."""
    said = {
        side: [predict(system, track.input) for track in tracks[side]]
        for side in ("validation", "test")
    }
    stay = tune_stay(said["validation"], tracks["validation"])
    decoded = [decode(each, stay) for each in said["test"]]
    return score(tracks["test"], decoded, system.settings, chosen={"stay": stay})


def baselines(
    settings: ChordConfig, tracks: Mapping[str, Sequence[ChordTrack]]
) -> dict[str, Evaluation]:
    """Return the scores of the answers without training, ``BASELINES``; see :func:`baseline`."""
    return {name: baseline(name, settings, tracks) for name in BASELINES}


def baseline(
    name: str, settings: ChordConfig, tracks: Mapping[str, Sequence[ChordTrack]]
) -> Evaluation:
    """Return the scores of one answer without training, on 25 classes.

    ``majority`` always says what is most frequent in the training side; ``templates`` takes each
    frame by itself; ``hmm-stay`` knows that chords last, ``hmm-counted`` which chord follows which
    on the training side. What there is to choose is chosen on the validation side, as for a
    network.
    """

    def truth(side: str) -> list[NDArray[np.int64]]:
        return [
            chord_segments.to_frames(track.reference, track.times_s, harte.to_class)
            for track in tracks[side]
        ]

    def chroma(side: str) -> list[NDArray[np.float64]]:
        bins = settings.feature.bins_per_semitone
        return [chords_data.chroma_of(track.input, bins) for track in tracks[side]]

    def scored(classes: Sequence[NDArray], chosen: Mapping[str, float] | None = None) -> Evaluation:
        return score(tracks["test"], classes, settings, chosen=chosen, vocabulary=harte.MAJMIN)

    if name == "majority":
        known = np.concatenate([classes[classes >= 0] for classes in truth("train")])
        common = int(np.bincount(known).argmax())
        return scored([np.full(len(track.times_s), common) for track in tracks["test"]])
    if name == "templates":
        return scored([chords.match_chords(each) for each in chroma("test")])
    matrices = {
        "hmm-stay": {stay: chords.self_transitions(25, stay) for stay in (0.9, 0.95)},
        "hmm-counted": {0.0: chords.count_transitions(truth("train"))},
    }[name]

    def decoded(side: str, stay: float, sharpness: float, level: float) -> list[NDArray]:
        fits = (
            chords.template_scores(each, sharpness=sharpness, no_chord=level)
            for each in chroma(side)
        )
        return [chords.viterbi(fit, matrices[stay]) for fit in fits]

    best = max(
        itertools.product(matrices, SHARPNESS, NO_CHORD_LEVELS),
        key=lambda way: chords.frame_accuracy(decoded("validation", *way), truth("validation")),
    )
    return scored(
        decoded("test", *best), dict(zip(("stay", "sharpness", "no_chord"), best, strict=True))
    )
