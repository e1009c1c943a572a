"""The three corpora as inputs: waveforms, log-mel spectrograms, and the vector of MFCCs.

Conventions: sounds are at 11,025 Hz, of one length for a corpus (cut, or filled with zeros), and of
one level. A spectrogram has 96 mel bands, a window of 1024 and a hop of 256 samples (23 ms).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dl101.chapters.untrained.networks import N_BANDS, RHYTHM, SHORT_SOUNDS
from dl101.data import pyjama
from dl101.data.audiofile import resample
from dl101.data.sounds import at_level
from dl101.signal import mel
from dl101.training.comparison import Read, load_sides

RATE, WINDOW, HOP = 11_025, 1024, 256
N_MFCC = 20


@dataclass(frozen=True)
class Task:
    """What is asked of a corpus.

    Attributes
    ----------
    label
        The field that holds the class.
    n_tracks
        The usual number of tracks, over all sides.
    duration_s
        How much of each track is used, from its beginning.
    crop_s
        How much a network that is trained hears at a time, unless its filters last for seconds.
    lengths
        Of the temporal filters, in frames.
    """

    label: str
    n_tracks: int
    duration_s: float
    crop_s: float
    lengths: Sequence[int] = RHYTHM


TASKS: Mapping[str, Task] = {
    "genres": Task("genre", 240, 3.0, 1.2),
    "dances": Task("rhythm", 168, 4.0, 2.0),
    "notes": Task("family", 360, 1.2, 0.8, SHORT_SOUNDS),
}


@dataclass(frozen=True, eq=False)
class Sounds:
    """A corpus: inputs and classes by side, and what is asked of it."""

    corpus: str
    task: Task
    waveform: Mapping[str, Tensor]
    spectrogram: Mapping[str, Tensor]
    mfcc: Mapping[str, NDArray[np.float64]]
    y: Mapping[str, NDArray[np.int64]]
    classes: tuple[str, ...]

    def inputs(self, kind: str) -> Mapping[str, Tensor]:
        """Return what a network with this ``input`` is fed."""
        return self.waveform if kind == "waveform" else self.spectrogram


def log_mel(audio: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the log-mel spectrogram of samples at ``RATE``, (1, 96, frame)."""
    return mel.log_mel(audio, RATE, n_bands=N_BANDS, window_samples=WINDOW, hop_samples=HOP).values


def mfcc_vector(spectrogram: NDArray) -> NDArray[np.float64]:
    """Return 120 numbers: mean and deviation over time of 20 MFCCs and of two differences.

    Parameters
    ----------
    spectrogram
        Log-mel, (1, band, frame).
    """
    found = mel.mfcc(np.asarray(spectrogram, dtype=np.float64)[0], N_MFCC)
    changes = [found, np.diff(found, axis=1), np.diff(found, n=2, axis=1)]
    return np.concatenate([part for x in changes for part in (x.mean(axis=1), x.std(axis=1))])


def load(
    corpus: str, *, n_tracks: int | None = None, seed: int = 0, progress: bool = True
) -> Sounds:
    """Return a corpus of ``TASKS``, rendered at first use."""
    task = TASKS[corpus]
    n_samples = round(task.duration_s * RATE)

    def to_items(entry: pyjama.Entry, read: Read) -> list[tuple[NDArray, str]]:
        samples, rate = read()
        audio = at_level(resample(samples, rate, RATE)[:n_samples])
        return [(np.pad(audio, (0, n_samples - audio.size)), entry.first(task.label))]

    sides = load_sides(
        corpus, to_items, n_tracks=n_tracks or task.n_tracks, seed=seed, progress=progress
    )
    classes = tuple(sorted({label for items in sides.values() for _, label in items}))
    waveform, spectrogram, mfcc, y = {}, {}, {}, {}
    for side, items in sides.items():
        pictures = [log_mel(audio) for audio, _ in items]
        waveform[side] = torch.from_numpy(np.stack([audio for audio, _ in items])[:, None])
        spectrogram[side] = torch.from_numpy(np.stack(pictures))
        mfcc[side] = np.stack([mfcc_vector(each) for each in pictures])
        y[side] = np.array([classes.index(label) for _, label in items])
    return Sounds(corpus, task, waveform, spectrogram, mfcc, y, classes)
