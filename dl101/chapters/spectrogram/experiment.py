"""Which window for which question: *when* does a note begin, and *which* notes sound.

Conventions: a track of the corpus ``piano`` becomes an array (channels * bands, frames), one frame
every 512 samples. The bands are half a semitone apart and the same for every window, so that all
inputs have one size (a pair of windows has twice that) and only the blur differs. One small network
answers both questions for each frame: one logit for an onset, one for each pitch. Onsets are peaks
of the first, right within 50 ms (``onset_f``, F-measure); pitches are scored by TP / (TP + FP + FN)
over all frames of a track, for all notes and for those below E3 (``low_pitch_accuracy``).
Thresholds are chosen on the validation side.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from dl101.data import pyjama
from dl101.evaluation import onsets
from dl101.evaluation.onsets import THRESHOLDS
from dl101.signal import mel
from dl101.signal.stft import stft, window
from dl101.targets import PitchAxis, from_notes
from dl101.training.comparison import Comparison, Read, load_sides
from dl101.training.examples import Examples, standardise
from dl101.training.loop import minimise
from dl101.units import midi_to_hz

CORPUS, N_TRACKS = "piano", 60
WINDOWS: Mapping[str, tuple[int, ...]] = {
    "23 ms": (512,),
    "46 ms": (1024,),
    "93 ms": (2048,),
    "186 ms": (4096,),
    "372 ms": (8192,),
    "93 ms and 372 ms": (2048, 8192),
}
BASELINE = "without listening"
HOP_SAMPLES = 512
LOWEST_MIDI, BANDS_PER_SEMITONE, N_BANDS = 33.0, 2, 168  # 55 Hz and seven octaves up
PITCHES = PitchAxis(float(midi_to_hz(36.0)), 1, 49)  # C2 to C6: the notes of the corpus
LOW = slice(0, 16)  # of these, the notes below E3 (165 Hz)
ALL = slice(None)
N_HIDDEN, CONTEXT_FRAMES = 96, 3
MAX_EPOCHS, PATIENCE, BATCH_TRACKS, LEARNING_RATE, WEIGHT_DECAY = 40, 6, 4, 3e-3, 1e-2


@dataclass(frozen=True, eq=False)
class PianoTrack:
    """Inputs of a recording, and when and which notes sound in it.

    Attributes
    ----------
    inputs
        By length of the window, (bands, frames).
    onsets_s
        When notes begin; those of one chord count once.
    sounding
        (pitches, frames), on the axis ``PITCHES``.
    times_s
        Of the frames.
    """

    inputs: Mapping[int, NDArray[np.float32]]
    onsets_s: NDArray[np.float64]
    sounding: NDArray[np.bool_]
    times_s: NDArray[np.float64]

    def near_onset(self) -> NDArray[np.bool_]:
        """Return which frames are within one hop of an onset, ``(frames,)``."""
        hop_s = self.times_s[1] - self.times_s[0]
        distance_s = np.abs(self.times_s[:, None] - self.onsets_s[None, :])
        return (distance_s <= hop_s).any(axis=1)


Sides = Mapping[str, list[PianoTrack]]


class Bands:
    """Magnitudes of an STFT read at frequencies that do not depend on the window."""

    def __init__(self, window_samples: int, sample_rate: int) -> None:
        self.window_samples = window_samples
        # short windows are padded with zeros: many bins, so that reading between them is smooth
        self.fft_samples = max(window_samples, 4096)
        self.scale = 2.0 / window("hann", window_samples).sum()
        steps = np.arange(-1, N_BANDS + 1) / BANDS_PER_SEMITONE
        edges = midi_to_hz(LOWEST_MIDI + steps) * self.fft_samples / sample_rate
        bins = np.arange(self.fft_samples // 2 + 1)
        rows = []
        for low, centre, high in zip(edges[:-2], edges[1:-1], edges[2:], strict=True):
            # a triangle, at least as wide as the distance of two bins
            below, above = max(centre - low, 1.0), max(high - centre, 1.0)
            rising, falling = (bins - centre + below) / below, (centre + above - bins) / above
            weights = np.maximum(np.minimum(rising, falling), 0.0)
            rows.append(weights / weights.sum())
        self.weights = scipy.sparse.csr_array(np.array(rows, dtype=np.float32))

    def __call__(self, audio: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return log-compressed magnitudes, ``(N_BANDS, frames)``."""
        spectrum = stft(
            audio,
            window_samples=self.window_samples,
            hop_samples=HOP_SAMPLES,
            fft_samples=self.fft_samples,
        )
        magnitudes = self.weights @ (self.scale * np.abs(spectrum))
        return mel.compress(magnitudes, 1e4).astype(np.float32)


def load(
    *,
    seed: int = 0,
    n_tracks: int = N_TRACKS,
    names: Sequence[str] = tuple(WINDOWS),
    progress: bool = True,
) -> dict[str, list[PianoTrack]]:
    """Return the tracks of each side, with the inputs that some of ``WINDOWS`` need."""
    lengths = sorted({length for name in names for length in WINDOWS[name]})
    bands: dict[int, Bands] = {}

    def to_items(entry: pyjama.Entry, read: Read) -> Iterable[PianoTrack]:
        audio, rate = read()
        if not bands:
            bands.update({length: Bands(length, rate) for length in lengths})
        inputs = {length: bands[length](audio) for length in lengths}
        onsets_s, durations_s, pitches = entry.segments("pitchmidi")
        times_s = np.arange(inputs[lengths[0]].shape[1]) * HOP_SAMPLES / rate
        sounding = from_notes(onsets_s, durations_s, pitches, PITCHES, times_s) > 0
        return [PianoTrack(inputs, onsets.merged(onsets_s), sounding, times_s)]

    return load_sides(CORPUS, to_items, n_tracks=n_tracks, seed=seed, progress=progress)


class OnsetPitchNet(nn.Module):
    """(batch, bands, frames) to (batch, 1 + pitches, frames): an onset, and what sounds."""

    def __init__(self, n_bands: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv1d(n_bands, N_HIDDEN, CONTEXT_FRAMES, padding="same"),
            nn.ReLU(),
            nn.Dropout(0.2),
            nn.Conv1d(N_HIDDEN, 1 + PITCHES.n_bins, 1),
        )

    def forward(self, bands: Tensor) -> Tensor:
        """Return logits."""
        return self.layers(bands)


def examples(sides: Sides, lengths: tuple[int, ...]) -> dict[str, Examples]:
    """Return the tracks of each side as one batch.

    Inputs (tracks, bands, frames) have mean 0 and deviation 1 in each training band; labels are
    (tracks, 1 + pitches, frames), onset first.
    """
    made = {
        side: Examples(
            np.stack([np.concatenate([t.inputs[n] for n in lengths]) for t in tracks]),
            np.stack([np.vstack([t.near_onset()[None], t.sounding]) for t in tracks]).astype(
                np.float32
            ),
        )
        for side, tracks in sides.items()
    }
    return standardise(made, axis=(0, 2))


def loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the cross-entropy of the onset plus the mean one of the pitches."""
    onset = functional.binary_cross_entropy_with_logits(logits[:, :1], targets[:, :1])
    pitch = functional.binary_cross_entropy_with_logits(logits[:, 1:], targets[:, 1:])
    return onset + 4.0 * pitch  # most pitches are silent, so their mean is small


def train(lengths: tuple[int, ...], sides: Sides, *, seed: int = 0) -> OnsetPitchNet:
    """Return a network trained until the loss on validation no longer falls."""
    made = examples({side: sides[side] for side in ("train", "validation")}, lengths)
    (x, y), (x_known, y_known) = (
        (torch.from_numpy(each.inputs), torch.from_numpy(each.labels)) for each in made.values()
    )
    torch.manual_seed(seed)
    network = OnsetPitchNet(x.shape[1])
    minimise(
        network,
        lambda part: loss(network(x[part]), y[part]),
        lambda: torch.randperm(len(x)).split(BATCH_TRACKS),
        torch.optim.AdamW(network.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY),
        epochs=MAX_EPOCHS,
        validation_loss=lambda: loss(network(x_known), y_known),
        patience=PATIENCE,
    )
    return network


def pitch_accuracy(
    tracks: list[PianoTrack], lit: list[NDArray[np.bool_]], pitches: slice = ALL
) -> float:
    """Return the mean over tracks of TP / (TP + FP + FN), counted over all frames."""
    scores = []
    for track, said in zip(tracks, lit, strict=True):
        truth, said = track.sounding[pitches], said[pitches]
        scores.append((truth & said).sum() / max((truth | said).sum(), 1))
    return float(np.mean(scores))


def score(network: OnsetPitchNet, lengths: tuple[int, ...], sides: Sides) -> dict[str, float]:
    """Return all scores of the test side, with thresholds from the validation side."""
    made = examples(sides, lengths)
    with torch.inference_mode():
        said = {
            side: torch.sigmoid(network(torch.from_numpy(made[side].inputs))).numpy()
            for side in ("validation", "test")
        }

    def onset_f(side: str, threshold: float) -> float:
        found = [
            onsets.peaks_s(p[0], t.times_s, threshold)
            for p, t in zip(said[side], sides[side], strict=True)
        ]
        return onsets.mean_f_measure([t.onsets_s for t in sides[side]], found)

    def pitches(side: str, threshold: float, which: slice = ALL) -> float:
        return pitch_accuracy(sides[side], [p[1:] >= threshold for p in said[side]], which)

    def best(metric: Callable[..., float], *which: slice) -> float:
        threshold = max(THRESHOLDS, key=lambda t: metric("validation", t, *which))
        return metric("test", threshold, *which)

    return {
        "onset_f": best(onset_f),
        "pitch_accuracy": best(pitches),
        "low_pitch_accuracy": best(pitches, LOW),
    }


def baseline(sides: Sides) -> dict[str, float]:
    """Return the scores of answers that do not listen.

    Onsets as often as in training, evenly spaced; and in every frame the pitches that
    are the most frequent in training, as many as do best there.
    """
    often = np.mean([t.sounding.mean(axis=1) for t in sides["train"]], axis=0)

    def always(side: str, n: int, pitches: slice) -> float:
        row = (often >= np.sort(often[pitches])[-n])[:, None]
        said = [np.broadcast_to(row, t.sounding.shape) for t in sides[side]]
        return pitch_accuracy(sides[side], said, pitches)

    scores = {
        "onset_f": onsets.evenly_spaced(
            [t.onsets_s for t in sides["train"]],
            [t.onsets_s for t in sides["test"]],
            [t.times_s[-1] for t in sides["test"]],
        )
    }
    for name, pitches in (("pitch_accuracy", ALL), ("low_pitch_accuracy", LOW)):
        n_best = max(range(1, LOW.stop), key=lambda n: always("train", n, pitches))
        scores[name] = always("test", n_best, pitches)
    return scores


COMPARISON = Comparison(
    corpus=CORPUS,
    n_tracks=N_TRACKS,
    load=load,
    n_items=lambda sides: len(sides["test"]),
    baselines={BASELINE: baseline},
    variants=WINDOWS,
    train=train,
    score=score,
    describe=lambda lengths: {"window_samples": list(lengths), "hop_samples": HOP_SAMPLES},
)
run = COMPARISON.run
