"""What is done to a waveform before a network hears it, and what that costs or saves.

Conventions: an item is 100 ms of one note of the corpus ``notes``, 50 ms after its start; the test
side is played by instruments that are heard nowhere else. Two questions are asked of it: the
*register*, the octave in which the note lies (five classes), which does not depend on level; and
the *velocity*, how hard the note was played (five classes), which does. The network, its training
and the items are the same for all variants; only the waveform changes. Baseline: the most frequent
class of the training side. ``accuracy`` counts notes, ``mean_recall`` is the mean over classes of
the share of their notes that is found, ``recall_last_class`` that of the highest register (or of
the hardest velocity).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.signal import resample_poly
from torch import Tensor, nn

from dl101.data import pyjama
from dl101.data.embedded.corpora.notes import VELOCITIES
from dl101.signal import waveforms
from dl101.training.comparison import Comparison, Read, load_sides
from dl101.training.examples import Examples, majority_accuracy, predict, train_network
from dl101.training.fit import TrainingConfig
from dl101.units import db_to_amplitude

CORPUS, N_TRACKS = "notes", 960
SAMPLE_RATE = 22_050
START_S, DURATION_S = 0.05, 0.1
LOWEST_MIDI, N_REGISTERS = 36, 5  # octaves from C2; what lies beyond counts to the outer ones
LEVEL_DB = -20.0  # RMS that level normalisation aims at
GAINS_DB = (-30, -20, -10, 0, 10, 20, 30)  # of the test recordings
KERNEL_S, HOP_S = 0.006, 0.0015
TRAINING = TrainingConfig(max_epochs=30, patience=10, batch_size=32, learning_rate=3e-3)

Prepare = Callable[[NDArray], NDArray]  # of waveforms (notes, samples)
Tasks = Mapping[str, Mapping[str, Examples]]  # by task and side: waveforms (notes, samples), labels


class FilterBank(nn.Module):
    """Learnt filters, the logarithm of their power, two dense layers: (batch, 1, time) to logits.

    The filters last 6 ms and move by 1.5 ms whatever the sample rate.
    """

    def __init__(self, sample_rate: float, n_classes: int, *, n_filters: int = 64) -> None:
        super().__init__()
        kernel, hop = round(KERNEL_S * sample_rate), round(HOP_S * sample_rate)
        self.filters = nn.Conv1d(1, n_filters, max(kernel, 2), stride=max(hop, 1))
        self.norm = nn.BatchNorm1d(n_filters)
        self.head = nn.Sequential(
            nn.Linear(n_filters, 64), nn.ReLU(), nn.Dropout(0.3), nn.Linear(64, n_classes)
        )

    def forward(self, audio: Tensor) -> Tensor:
        """Return (batch, classes) logits."""
        power = self.filters(audio).square().mean(dim=-1)
        return self.head(self.norm(torch.log(power + 1e-6)))


@dataclass(frozen=True, eq=False)
class Recogniser:
    """A trained network with the preparation that its waveforms get."""

    network: nn.Module
    prepare: Prepare

    def right(self, notes: Examples, gain_db: float = 0.0) -> NDArray[np.bool_]:
        """Return which notes are named rightly, recorded louder than in training."""
        prepared = self.prepare(notes.inputs * db_to_amplitude(gain_db))
        return predict(self.network, prepared[:, None].astype(np.float32)) == notes.labels

    def accuracy(self, notes: Examples, gain_db: float = 0.0) -> float:
        """Return the share of notes named rightly; see :meth:`right`."""
        return float(np.mean(self.right(notes, gain_db)))

    def recalls(self, notes: Examples) -> NDArray[np.float64]:
        """Return that share for each class by itself, (classes,)."""
        right = self.right(notes)
        return np.array([right[notes.labels == label].mean() for label in np.unique(notes.labels)])


def load(*, seed: int = 0, n_tracks: int = N_TRACKS, progress: bool = True) -> Tasks:
    """Return 100 ms of each note of the corpus, with the labels of both tasks."""

    def to_items(entry: pyjama.Entry, read: Read) -> Iterable[tuple[NDArray, int, int]]:
        audio, _ = read(start_s=START_S, duration_s=DURATION_S)
        octave = int((entry.first("pitchmidi") - LOWEST_MIDI) // 12)
        velocity = VELOCITIES.index(int(entry.first("velocity")))
        return [(audio, min(max(octave, 0), N_REGISTERS - 1), velocity)]

    notes = load_sides(CORPUS, to_items, n_tracks=n_tracks, seed=seed, progress=progress)
    sounds = {side: np.stack([n[0] for n in each]).astype(float) for side, each in notes.items()}
    return {
        task: {
            side: Examples(sounds[side], np.array([n[i] for n in notes[side]])) for side in notes
        }
        for i, task in ((1, "register"), (2, "velocity"))
    }


def as_it_is(audio: NDArray) -> NDArray:
    """Leave waveforms (notes, samples) as they are."""
    return audio


def one_by_one(audio: NDArray) -> NDArray:
    """Bring each waveform of (notes, samples) to one RMS level."""
    return np.stack([waveforms.to_level(each, LEVEL_DB) for each in audio])


def by_training(train: NDArray) -> Prepare:
    """Return the one gain that brings the whole training side to the level, for all sides."""
    gain = db_to_amplitude(LEVEL_DB) / waveforms.rms(train)
    return lambda audio: gain * audio


def resampled(factor: int, *, antialias: bool) -> Prepare:
    """Return a function that keeps every ``factor``-th sample, with or without a filter before."""
    if antialias:
        return lambda audio: resample_poly(audio, 1, factor, axis=-1)
    return lambda audio: audio[..., ::factor]


def linear(n_bits: int) -> Prepare:
    """Return a linear quantiser."""
    return lambda audio: waveforms.quantise(audio, n_bits)


def mu_law(n_bits: int) -> Prepare:
    """Return a mu-law quantiser."""
    n_codes = 2**n_bits
    return lambda audio: waveforms.mu_law_decode(waveforms.mu_law_encode(audio, n_codes), n_codes)


# what the recorder does, and the factor of the sample rate
RECORDERS: Mapping[str, tuple[Prepare, int]] = {
    "rate/4 filtered": (resampled(4, antialias=True), 4),
    "rate/4 unfiltered": (resampled(4, antialias=False), 4),
    "rate/16 filtered": (resampled(16, antialias=True), 16),
    "rate/16 unfiltered": (resampled(16, antialias=False), 16),
    "linear 8 bit": (linear(8), 1),
    "mu-law 8 bit": (mu_law(8), 1),
    "linear 4 bit": (linear(4), 1),
    "mu-law 4 bit": (mu_law(4), 1),
}


@dataclass(frozen=True)
class Variant:
    """What is asked, and what is done to the waveforms.

    Attributes
    ----------
    task
        ``"register"`` or ``"velocity"``.
    level
        ``"as it is"``; ``"one gain"`` for all; ``"each by itself"``: to one level; ``"random
        gain"``: as it is, but the training side is louder and softer at random.
    recorder
        One of :data:`RECORDERS`, or none; it comes before the level.
    """

    task: str = "register"
    level: str = "each by itself"
    recorder: str | None = None

    @property
    def factor(self) -> int:
        """By which the recorder divides the sample rate."""
        return RECORDERS[self.recorder][1] if self.recorder else 1

    def describe(self) -> dict[str, object]:
        """Return what tells the variants of a task apart."""
        if self.recorder is None:
            return {"level": self.level}
        return {"recorder": self.recorder, "sample_rate": SAMPLE_RATE / self.factor}


VARIANTS: Mapping[str, Variant] = {
    **{
        f"{task}: {level}": Variant(task, level)
        for task in ("register", "velocity")
        for level in ("as it is", "one gain", "each by itself")
    },
    "register: random gain": Variant(level="random gain"),
    **{f"register: {name}": Variant(recorder=name) for name in RECORDERS},
}


def train(variant: Variant, tasks: Tasks, *, seed: int = 0, progress: bool = True) -> Recogniser:
    """Train the network on waveforms that are prepared in one way."""
    sides = tasks[variant.task]
    sounds = {side: sides[side].inputs for side in ("train", "validation")}
    prepare: Prepare = as_it_is
    if variant.level == "one gain":
        prepare = by_training(sounds["train"])
    elif variant.level == "each by itself":
        prepare = one_by_one
    elif variant.level == "random gain":
        rng = np.random.default_rng([seed, 1])
        low, high = min(GAINS_DB), max(GAINS_DB)
        sounds = {
            side: audio * db_to_amplitude(rng.uniform(low, high, (len(audio), 1)))
            for side, audio in sounds.items()
        }
    if variant.recorder is not None:
        record, level = RECORDERS[variant.recorder][0], prepare
        prepare = lambda audio: level(record(audio))  # noqa: E731
    n_classes = 1 + max(int(side.labels.max()) for side in sides.values())
    network, _ = train_network(
        lambda: FilterBank(SAMPLE_RATE / variant.factor, n_classes),
        {
            side: Examples(prepare(audio)[:, None].astype(np.float32), sides[side].labels)
            for side, audio in sounds.items()
        },
        seed=seed,
        training=TRAINING,
        progress=progress,
    )
    return Recogniser(network, prepare)


def score(trained: Recogniser, variant: Variant, tasks: Tasks) -> dict[str, float]:
    """Return recalls and accuracy on the test side; without a recorder for every gain."""
    test = tasks[variant.task]["test"]
    recalls = trained.recalls(test)
    return {
        "recall_last_class": float(recalls[-1]),
        "mean_recall": float(recalls.mean()),
        **{
            "accuracy" if not gain else f"accuracy_{gain:+d}db": trained.accuracy(test, gain)
            for gain in (GAINS_DB if variant.recorder is None else (0,))
        },
    }


def _most_frequent(task: str) -> Callable[[Tasks], dict[str, float]]:
    return lambda tasks: {"accuracy": majority_accuracy(tasks[task])}


COMPARISON = Comparison(
    corpus=CORPUS,
    n_tracks=N_TRACKS,
    load=load,
    n_items=lambda tasks: len(tasks["register"]["test"]),
    baselines={f"{task}: most frequent": _most_frequent(task) for task in ("register", "velocity")},
    variants=VARIANTS,
    train=train,
    score=score,
    describe=Variant.describe,
)
run = COMPARISON.run
