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

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.signal import resample_poly
from torch import Tensor, nn

from dl101.data import pair
from dl101.data.embedded import export
from dl101.data.embedded.corpora.notes import VELOCITIES
from dl101.data.splits import SIDES
from dl101.signal import waveforms
from dl101.training.classifier import Examples, predict, train_classifier
from dl101.training.comparison import Outcome
from dl101.training.fit import TrainingConfig
from dl101.units import db_to_amplitude

CORPUS = "notes"
START_S, DURATION_S = 0.05, 0.1
LOWEST_MIDI, N_REGISTERS = 36, 5  # octaves from C2; what lies beyond counts to the outer ones
LEVEL_DB = -20.0  # RMS that level normalisation aims at
GAINS_DB = (-30, -20, -10, 0, 10, 20, 30)  # of the test recordings
KERNEL_S, HOP_S = 0.006, 0.0015
TRAINING = TrainingConfig(max_epochs=30, patience=10, batch_size=32, learning_rate=3e-3)

Waveforms = Mapping[str, NDArray[np.float64]]  # side to (notes, samples)


@dataclass(frozen=True, eq=False)
class Notes:
    """What is heard and asked: for each side waveforms (notes, samples) and labels (notes,)."""

    waveforms: Waveforms
    register: Mapping[str, NDArray[np.int64]]
    velocity: Mapping[str, NDArray[np.int64]]
    sample_rate: int


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
class Heard:
    """A trained network with the preparation that its waveforms get."""

    network: nn.Module
    prepare: Callable[[NDArray], NDArray]
    labels: NDArray[np.int64]
    waveforms: NDArray[np.float64]
    wall_time_s: float

    def right(self, gain_db: float = 0.0) -> NDArray[np.bool_]:
        """Return which test notes are named rightly, recorded louder than in training."""
        prepared = self.prepare(self.waveforms * db_to_amplitude(gain_db))
        return predict(self.network, prepared[:, None].astype(np.float32)) == self.labels

    def accuracy(self, gain_db: float = 0.0) -> float:
        """Return the share of test notes named rightly; see :meth:`right`."""
        return float(np.mean(self.right(gain_db)))

    def recalls(self) -> NDArray[np.float64]:
        """Return that share for each class by itself, (classes,)."""
        right = self.right()
        return np.array([right[self.labels == label].mean() for label in np.unique(self.labels)])


def read_notes(seed: int = 0, n_tracks: int | None = None, *, progress: bool = False) -> Notes:
    """Return 100 ms of each note of the corpus by side; it is rendered at first use."""
    files = export.cached_corpus(CORPUS, n_tracks=n_tracks, seed=seed, progress=progress)
    sounds: dict[str, list] = {side: [] for side in SIDES}
    register: dict[str, list] = {side: [] for side in SIDES}
    velocity: dict[str, list] = {side: [] for side in SIDES}
    sample_rate = 0
    with pair.opened(files.audio, files.annotations) as (entries, store):
        for entry in entries:
            side = entry.first("split")
            audio, sample_rate = store.read(entry.filepath, start_s=START_S, duration_s=DURATION_S)
            sounds[side].append(audio)
            octave = int((entry.first("pitchmidi") - LOWEST_MIDI) // 12)
            register[side].append(min(max(octave, 0), N_REGISTERS - 1))
            velocity[side].append(VELOCITIES.index(int(entry.first("velocity"))))
    return Notes(
        {side: np.stack(sounds[side]).astype(np.float64) for side in SIDES},
        {side: np.array(register[side]) for side in SIDES},
        {side: np.array(velocity[side]) for side in SIDES},
        sample_rate,
    )


def as_it_is(audio: NDArray) -> NDArray:
    """Leave waveforms (notes, samples) as they are."""
    return audio


def one_by_one(audio: NDArray) -> NDArray:
    """Bring each waveform of (notes, samples) to one RMS level."""
    return np.stack([waveforms.to_level(each, LEVEL_DB) for each in audio])


def by_training(train: NDArray) -> Callable[[NDArray], NDArray]:
    """Return the one gain that brings the whole training side to the level, for all sides."""
    gain = db_to_amplitude(LEVEL_DB) / waveforms.rms(train)
    return lambda audio: gain * audio


def listen(
    sounds: Waveforms,
    labels: Mapping[str, NDArray[np.int64]],
    sample_rate: float,
    *,
    prepare: Callable[[NDArray], NDArray] = one_by_one,
    seed: int = 0,
    progress: bool = False,
) -> Heard:
    """Train a network on prepared waveforms of the training side.

    Parameters
    ----------
    sounds, labels
        By side: (notes, samples) and (notes,).
    sample_rate
        Of the waveforms, in Hz.
    prepare
        Applied to the waveforms of each side.
    seed
        Of the initial weights and of the order of training.
    progress
        Whether to show a progress bar.
    """
    start = time.perf_counter()
    n_classes = 1 + max(int(each.max()) for each in labels.values())
    sides = {
        side: Examples(prepare(sounds[side])[:, None].astype(np.float32), labels[side])
        for side in SIDES
    }
    trained = train_classifier(
        lambda: FilterBank(sample_rate, n_classes),
        sides,
        seed=seed,
        training=TRAINING,
        progress=progress,
    )
    duration_s = time.perf_counter() - start
    return Heard(trained.network, prepare, labels["test"], sounds["test"], duration_s)


def resampled(factor: int, *, antialias: bool) -> Callable[[NDArray], NDArray]:
    """Return a function that keeps every ``factor``-th sample, with or without a filter before."""
    if antialias:
        return lambda audio: resample_poly(audio, 1, factor, axis=-1)
    return lambda audio: audio[..., ::factor]


def linear(n_bits: int) -> Callable[[NDArray], NDArray]:
    """Return a linear quantiser."""
    return lambda audio: waveforms.quantise(audio, n_bits)


def mu_law(n_bits: int) -> Callable[[NDArray], NDArray]:
    """Return a mu-law quantiser."""
    n_codes = 2**n_bits
    return lambda audio: waveforms.mu_law_decode(waveforms.mu_law_encode(audio, n_codes), n_codes)


# variant: (what the recorder does, factor of the sample rate)
RECORDERS: Mapping[str, tuple[Callable[[NDArray], NDArray], int]] = {
    "rate/4 filtered": (resampled(4, antialias=True), 4),
    "rate/4 unfiltered": (resampled(4, antialias=False), 4),
    "rate/16 filtered": (resampled(16, antialias=True), 16),
    "rate/16 unfiltered": (resampled(16, antialias=False), 16),
    "linear 8 bit": (linear(8), 1),
    "mu-law 8 bit": (mu_law(8), 1),
    "linear 4 bit": (linear(4), 1),
    "mu-law 4 bit": (mu_law(4), 1),
}


def run(seed: int, n_tracks: int | None = None) -> Iterator[Outcome]:
    """Yield register and velocity by what is done to the waveform."""
    notes = read_notes(seed, n_tracks)
    rate = notes.sample_rate
    n_notes = sum(len(each) for each in notes.register.values())
    n_items = len(notes.register["test"])
    tasks = {"register": notes.register, "velocity": notes.velocity}

    def outcome(
        variant: str, heard: Heard, *, gains: tuple[int, ...] = (0,), **config: object
    ) -> Outcome:
        return Outcome(
            variant,
            {
                "recall_last_class": float(heard.recalls()[-1]),
                "mean_recall": float(heard.recalls().mean()),
                **{
                    "accuracy" if not gain else f"accuracy_{gain:+d}db": heard.accuracy(gain)
                    for gain in gains
                },
            },
            n_items,
            CORPUS,
            n_notes,
            config,
            heard.network,
            heard.wall_time_s,
        )

    for task, labels in tasks.items():
        frequent = np.bincount(labels["train"]).argmax()
        accuracy = float(np.mean(labels["test"] == frequent))
        yield Outcome(f"{task}: most frequent", {"accuracy": accuracy}, n_items, CORPUS, n_notes)
    sounds = notes.waveforms
    levels = {
        "as it is": as_it_is,
        "one gain": by_training(sounds["train"]),
        "each by itself": one_by_one,
    }
    for task, labels in tasks.items():
        for name, prepare in levels.items():
            heard = listen(sounds, labels, rate, prepare=prepare, seed=seed)
            yield outcome(f"{task}: {name}", heard, gains=GAINS_DB, level=name)
    rng = np.random.default_rng([seed, 1])
    spread = {
        side: x * db_to_amplitude(rng.uniform(min(GAINS_DB), max(GAINS_DB), (len(x), 1)))
        for side, x in sounds.items()
    }
    spread["test"] = sounds["test"]
    heard = listen(spread, notes.register, rate, prepare=as_it_is, seed=seed)
    yield outcome("register: random gain", heard, gains=GAINS_DB, level="random gain")
    for name, (record, factor) in RECORDERS.items():
        recorded = {side: record(x) for side, x in sounds.items()}
        heard = listen(recorded, notes.register, rate / factor, seed=seed)
        yield outcome(f"register: {name}", heard, recorder=name, sample_rate=rate / factor)
