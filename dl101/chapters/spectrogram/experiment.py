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

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from dl101.data import pair
from dl101.data.embedded import export
from dl101.data.splits import SIDES
from dl101.signal.stft import stft, window
from dl101.targets import PitchAxis, from_notes
from dl101.training.comparison import Outcome
from dl101.training.fit import check_loss
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
MERGED_S = 0.05  # notes of one chord count as one onset
TOLERANCE_S = 0.05
THRESHOLDS = np.arange(0.05, 0.96, 0.05)
N_HIDDEN, CONTEXT_FRAMES = 96, 3
MAX_EPOCHS, PATIENCE, BATCH_TRACKS, LEARNING_RATE, WEIGHT_DECAY = 40, 6, 4, 3e-3, 1e-2


@dataclass(frozen=True, eq=False)
class Track:
    """A recording and its truth.

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
        return np.log1p(1e4 * magnitudes).astype(np.float32)


def load(
    n_tracks: int, seed: int, *, names: Sequence[str] = tuple(WINDOWS), progress: bool = True
) -> dict[str, list[Track]]:
    """Return the tracks of each side, with the inputs that some of ``WINDOWS`` need.

    The corpus is rendered at first use.
    """
    files = export.cached_corpus(CORPUS, n_tracks=n_tracks, seed=seed, progress=progress)
    sides: dict[str, list[Track]] = {side: [] for side in SIDES}
    lengths = sorted({length for name in names for length in WINDOWS[name]})
    bands: dict[int, Bands] = {}
    with pair.opened(files.audio, files.annotations) as (entries, store):
        for entry in entries:
            audio, rate = store.read(entry.filepath)
            if not bands:
                bands = {length: Bands(length, rate) for length in lengths}
            inputs = {length: bands[length](audio) for length in lengths}
            onsets, durations, pitches = entry.segments("pitchmidi")
            times = np.arange(inputs[lengths[0]].shape[1]) * HOP_SAMPLES / rate
            sounding = from_notes(onsets, durations, pitches, PITCHES, times) > 0
            track = Track(inputs, merge(onsets), sounding, times)
            sides[entry.first("split")].append(track)
    return sides


def merge(onsets_s: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return onsets without those that follow one within ``MERGED_S``."""
    kept: list[float] = []
    for onset in np.sort(onsets_s):
        if not kept or onset - kept[-1] > MERGED_S:
            kept.append(float(onset))
    return np.array(kept)


class Listener(nn.Module):
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


@dataclass(frozen=True, eq=False)
class Side:
    """The tracks of a side as one batch.

    ``inputs`` are (tracks, bands, frames); ``targets`` (tracks, 1 + pitches, frames), onset first.
    """

    inputs: Tensor
    targets: Tensor


def batch(sides: Mapping[str, list[Track]], lengths: tuple[int, ...]) -> dict[str, Side]:
    """Return the sides with inputs that have mean 0 and deviation 1 in each training band."""
    stacked = {
        side: np.stack([np.concatenate([t.inputs[n] for n in lengths]) for t in tracks])
        for side, tracks in sides.items()
    }
    mean = stacked["train"].mean(axis=(0, 2), keepdims=True)
    deviation = stacked["train"].std(axis=(0, 2), keepdims=True) + 1e-6
    made = {}
    for side, tracks in sides.items():
        targets = np.stack([np.vstack([t.near_onset()[None], t.sounding]) for t in tracks])
        inputs = torch.from_numpy((stacked[side] - mean) / deviation)
        made[side] = Side(inputs, torch.from_numpy(targets.astype(np.float32)))
    return made


def loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the cross-entropy of the onset plus the mean one of the pitches."""
    onset = functional.binary_cross_entropy_with_logits(logits[:, :1], targets[:, :1])
    pitch = functional.binary_cross_entropy_with_logits(logits[:, 1:], targets[:, 1:])
    return onset + 4.0 * pitch  # most pitches are silent, so their mean is small


def train(made: Mapping[str, Side], seed: int) -> Listener:
    """Return a network trained until the loss on validation no longer falls."""
    torch.manual_seed(seed)
    network = Listener(made["train"].inputs.shape[1])
    optimiser = torch.optim.AdamW(network.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    best, kept, waited = np.inf, {}, 0
    for epoch in range(MAX_EPOCHS):
        network.train()
        for part in torch.randperm(len(made["train"].inputs)).split(BATCH_TRACKS):
            optimiser.zero_grad()
            step = loss(network(made["train"].inputs[part]), made["train"].targets[part])
            check_loss(step, f"training, epoch {epoch + 1}", optimiser)
            step.backward()
            optimiser.step()
        network.eval()
        with torch.inference_mode():
            heard = made["validation"]
            now = float(loss(network(heard.inputs), heard.targets))
        check_loss(now, f"validation, epoch {epoch + 1}", optimiser)
        waited = 0 if now < best else waited + 1
        if now < best:
            best, kept = now, {k: v.clone() for k, v in network.state_dict().items()}
        elif waited >= PATIENCE:
            break
    network.load_state_dict(kept)
    return network


def peaks_s(
    probability: NDArray[np.float32], times_s: NDArray[np.float64], threshold: float
) -> NDArray[np.float64]:
    """Return the times of the local maxima at or above a threshold."""
    padded = np.pad(probability, 1, constant_values=-1.0)
    is_peak = (probability >= padded[:-2]) & (probability > padded[2:])
    return times_s[is_peak & (probability >= threshold)]


def onset_f(tracks: list[Track], found_s: list[NDArray[np.float64]]) -> float:
    """Return the mean F-measure of onsets."""
    import mir_eval

    scores = [
        mir_eval.onset.f_measure(track.onsets_s, found, window=TOLERANCE_S)[0]
        if found.size
        else 0.0
        for track, found in zip(tracks, found_s, strict=True)
    ]
    return float(np.mean(scores))


def pitch_accuracy(
    tracks: list[Track], lit: list[NDArray[np.bool_]], pitches: slice = ALL
) -> float:
    """Return the mean over tracks of TP / (TP + FP + FN), counted over all frames."""
    scores = []
    for track, said in zip(tracks, lit, strict=True):
        truth, said = track.sounding[pitches], said[pitches]
        scores.append((truth & said).sum() / max((truth | said).sum(), 1))
    return float(np.mean(scores))


def score(
    network: Listener, made: Mapping[str, Side], sides: Mapping[str, list[Track]]
) -> dict[str, float]:
    """Return both scores of the test side, with thresholds from the validation side."""
    network.eval()
    with torch.inference_mode():
        said = {s: torch.sigmoid(network(made[s].inputs)).numpy() for s in ("validation", "test")}

    def onsets(side: str, threshold: float) -> float:
        found = [
            peaks_s(p[0], t.times_s, threshold)
            for p, t in zip(said[side], sides[side], strict=True)
        ]
        return onset_f(sides[side], found)

    def pitches(side: str, threshold: float, which: slice = ALL) -> float:
        return pitch_accuracy(sides[side], [p[1:] >= threshold for p in said[side]], which)

    def best(metric: Callable[..., float], *which: slice) -> float:
        threshold = max(THRESHOLDS, key=lambda t: metric("validation", t, *which))
        return metric("test", threshold, *which)

    return {
        "onset_f": best(onsets),
        "pitch_accuracy": best(pitches),
        "low_pitch_accuracy": best(pitches, LOW),
    }


def baseline(sides: Mapping[str, list[Track]]) -> dict[str, float]:
    """Return the scores of answers that do not listen.

    Onsets as often as in training, evenly spaced; and in every frame the pitches that
    are the most frequent in training, as many as do best there.
    """
    gap_s = np.median(np.concatenate([np.diff(t.onsets_s) for t in sides["train"]]))
    found = [np.arange(t.onsets_s[0], t.times_s[-1], gap_s) for t in sides["test"]]
    often = np.mean([t.sounding.mean(axis=1) for t in sides["train"]], axis=0)

    def always(side: str, n: int, pitches: slice) -> float:
        row = (often >= np.sort(often[pitches])[-n])[:, None]
        said = [np.broadcast_to(row, t.sounding.shape) for t in sides[side]]
        return pitch_accuracy(sides[side], said, pitches)

    scores = {"onset_f": onset_f(sides["test"], found)}
    for name, pitches in (("pitch_accuracy", ALL), ("low_pitch_accuracy", LOW)):
        n_best = max(range(1, LOW.stop), key=lambda n: always("train", n, pitches))
        scores[name] = always("test", n_best, pitches)
    return scores


def run(seed: int, n_tracks: int | None = None) -> Iterator[Outcome]:
    """Train and test one network for each choice of windows.

    Parameters
    ----------
    seed
        Of the corpus, the initial weights and the order of training.
    n_tracks
        Tracks of the corpus; fewer than 12 leave a side nearly empty.
    """
    n_tracks = N_TRACKS if n_tracks is None else n_tracks
    sides = load(n_tracks, seed)
    about = {"corpus": CORPUS, "n_tracks": n_tracks, "n_items": len(sides["test"])}
    yield Outcome(BASELINE, baseline(sides), **about)
    for name, lengths in WINDOWS.items():
        start = time.perf_counter()
        made = batch(sides, lengths)
        network = train(made, seed)
        yield Outcome(
            name,
            score(network, made, sides),
            config={"window_samples": list(lengths), "hop_samples": HOP_SAMPLES},
            network=network,
            wall_time_s=time.perf_counter() - start,
            **about,
        )
