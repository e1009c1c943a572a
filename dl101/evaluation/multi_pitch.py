"""Judging multi-pitch estimates: which pitches sound in each frame, compared with the truth.

Representation: a :class:`PitchSeries` holds the times of the frames (seconds) and a matrix of
continuous MIDI pitches, one row a frame, padded with NaN because the number of sounding pitches
changes. Pitches of one frame have no order, and a unison of two voices counts as two pitches, as
in the annotations of Bach10.

Scores follow Bay, Ehmann and Downie (ISMIR 2009) as implemented by ``mir_eval.multipitch``: an
estimate is right if it lies within half a semitone of a reference pitch that no other estimate
has claimed; true positives, false positives and misses are summed over the frames *of one track*;
the estimate is first brought to the time base of the annotation. Scores of a split are means over
tracks. *Chroma* scores compare pitches modulo the octave.

:func:`score_track` asks ``mir_eval`` itself. :func:`count` gives the same numbers without a loop
over frames, fast enough to try fifty thresholds.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dl101 import units
from dl101.errors import DataError
from dl101.targets import PitchAxis

TOLERANCE_SEMITONES = 0.5
# the names under which mir_eval returns what we report
_MIR_EVAL_NAMES = {
    "precision": "Precision",
    "recall": "Recall",
    "accuracy": "Accuracy",
    "chroma_precision": "Chroma Precision",
    "chroma_recall": "Chroma Recall",
    "chroma_accuracy": "Chroma Accuracy",
}


@dataclass(frozen=True)
class PitchSeries:
    """The pitches that sound in each frame.

    Attributes
    ----------
    times_s
        (frames,) increasing times in seconds.
    pitches_midi
        (frames, slots) continuous MIDI pitches; unused slots are NaN.
    """

    times_s: NDArray[np.float64]
    pitches_midi: NDArray[np.float64]

    def __post_init__(self) -> None:
        if self.pitches_midi.ndim != 2 or len(self.pitches_midi) != len(self.times_s):
            raise DataError(
                "pitch series",
                got=f"pitches of shape {self.pitches_midi.shape} for {len(self.times_s)} times",
                expected="one row of pitches per time",
                hint="transpose a (voices, frames) matrix, or use from_f0",
            )
        if np.any(np.diff(self.times_s) <= 0):
            raise DataError(
                "pitch series",
                got="times that do not increase",
                expected="strictly increasing times in seconds",
                hint="sort the frames and drop repeated times",
            )

    def ragged_hz(self) -> list[NDArray[np.float64]]:
        """Return one array of frequencies in Hz per frame, the form that mir_eval reads."""
        return [units.midi_to_hz(row[~np.isnan(row)]) for row in self.pitches_midi]


@dataclass(frozen=True)
class Counts:
    """Per-frame counts, each (frames,): pitches in the reference, in the estimate, and matched."""

    n_reference: NDArray[np.int64]
    n_estimate: NDArray[np.int64]
    n_matched: NDArray[np.int64]
    n_matched_chroma: NDArray[np.int64]

    def scores(self) -> dict[str, float]:
        """Return precision, recall and accuracy (and chroma versions) of the summed counts."""
        result = {}
        for prefix, matched in (("", self.n_matched), ("chroma_", self.n_matched_chroma)):
            tp = int(matched.sum())
            fp = int(self.n_estimate.sum()) - tp
            fn = int(self.n_reference.sum()) - tp
            # 0/0 is 0, as in mir_eval: silence against silence earns nothing
            result[prefix + "precision"] = tp / max(tp + fp, 1)
            result[prefix + "recall"] = tp / max(tp + fn, 1)
            result[prefix + "accuracy"] = tp / max(tp + fp + fn, 1)
        return result


def from_f0(f0_midi: ArrayLike, times_s: ArrayLike) -> PitchSeries:
    """Return the series of pitch curves (voices, frames) in MIDI; 0 and NaN mean unvoiced."""
    pitches = np.atleast_2d(np.asarray(f0_midi, dtype=np.float64)).T.copy()
    pitches[~(pitches > 0)] = np.nan
    return PitchSeries(np.asarray(times_s, dtype=np.float64), pitches)


def from_notes(
    onsets_s: ArrayLike, durations_s: ArrayLike, pitches_midi: ArrayLike, times_s: ArrayLike
) -> PitchSeries:
    """Return the notes that sound at each time: onset <= time < onset + duration."""
    # a nanosecond early, so that the rounding of decimal times does not move a border
    onsets = np.asarray(onsets_s, dtype=np.float64) - 1e-9
    ends = onsets + np.asarray(durations_s, dtype=np.float64)
    times = np.asarray(times_s, dtype=np.float64)
    sounding = (onsets[None, :] <= times[:, None]) & (times[:, None] < ends[None, :])
    return PitchSeries(times, _compact(sounding, np.asarray(pitches_midi, dtype=np.float64)))


def from_matrix(active: ArrayLike, axis: PitchAxis, times_s: ArrayLike) -> PitchSeries:
    """Return the pitches of the lit bins of a binary matrix (bins, frames)."""
    lit = np.asarray(active).astype(bool).T
    return PitchSeries(np.asarray(times_s, dtype=np.float64), _compact(lit, axis.midi))


def from_probabilities(
    probabilities: ArrayLike, axis: PitchAxis, times_s: ArrayLike, threshold: float
) -> PitchSeries:
    """Return the local maxima along the pitch axis that reach ``threshold``.

    Parameters
    ----------
    probabilities
        (bins, frames) probability, or any salience, of each pitch.
    axis
        What the bins are.
    times_s
        (frames,) times in seconds.
    threshold
        Lowest value that counts as a pitch.
    """
    values = np.asarray(probabilities)
    return from_matrix(_peaks(values) & (values >= threshold), axis, times_s)


def _peaks(values: NDArray) -> NDArray[np.bool_]:
    """Mark local maxima along axis 0; of a plateau, the first bin."""
    edge = np.full((1, values.shape[1]), -np.inf, dtype=values.dtype)
    below = np.concatenate([edge, values[:-1]])
    above = np.concatenate([values[1:], edge])
    return (values > below) & (values >= above)


def _compact(selected: NDArray[np.bool_], pitches: NDArray[np.float64]) -> NDArray[np.float64]:
    """Gather the selected pitches of each frame in the first slots; the rest is NaN."""
    frames, columns = np.nonzero(selected)
    n_per_frame = selected.sum(axis=1)
    result = np.full((len(selected), int(n_per_frame.max(initial=0))), np.nan)
    slot = np.arange(len(frames)) - np.repeat(np.cumsum(n_per_frame) - n_per_frame, n_per_frame)
    result[frames, slot] = pitches[columns]
    return result


def resample(series: PitchSeries, times_s: ArrayLike) -> PitchSeries:
    """Return the series at other times: nearest frame, nothing outside the series' own span."""
    target = np.asarray(times_s, dtype=np.float64)
    own = series.times_s
    if own.size == target.size and np.allclose(own, target):
        return PitchSeries(target, series.pitches_midi)
    pitches = np.full((len(target), series.pitches_midi.shape[1]), np.nan)
    if own.size:
        inside = (target >= own[0]) & (target <= own[-1])
        # ties go to the earlier frame, like scipy's nearest interpolation that mir_eval uses
        index = np.searchsorted(own[1:] / 2 + own[:-1] / 2, target[inside], side="left")
        pitches[inside] = series.pitches_midi[index]
    return PitchSeries(target, pitches)


def count(reference: PitchSeries, estimate: PitchSeries) -> Counts:
    """Match an estimate to its reference in all frames at once.

    The estimate is resampled to the reference's times. Within a frame, as many pairs as possible
    are formed of a reference and an estimate within half a semitone, each used once (a maximum
    bipartite matching). Where nobody has two candidates this is a plain count; the few frames
    that are ambiguous are solved together.

    Returns
    -------
    Counts
        Identical to what ``mir_eval.multipitch`` counts.
    """
    estimate = resample(estimate, reference.times_s)
    ref = reference.pitches_midi[:, :, None]
    est = estimate.pitches_midi[:, None, :]
    tolerance = TOLERANCE_SEMITONES
    # written as mir_eval writes it, so that ties at exactly half a semitone fall the same way
    near = (ref >= est - tolerance) & (ref <= est + tolerance)
    gap = np.abs(np.mod(ref, 12) - np.mod(est, 12))
    near_chroma = np.minimum(gap, 12 - gap) <= tolerance  # NaN compares false
    return Counts(
        n_reference=np.count_nonzero(~np.isnan(reference.pitches_midi), axis=1),
        n_estimate=np.count_nonzero(~np.isnan(estimate.pitches_midi), axis=1),
        n_matched=_matching_sizes(near),
        n_matched_chroma=_matching_sizes(near_chroma),
    )


def _matching_sizes(near: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return the size of the maximum matching of each (references, estimates) matrix."""
    sizes = near.sum(axis=(1, 2))
    ambiguous = (near.sum(axis=1).max(axis=1, initial=0) > 1) | (
        near.sum(axis=2).max(axis=1, initial=0) > 1
    )
    if ambiguous.any():
        from scipy.sparse import csr_array
        from scipy.sparse.csgraph import maximum_bipartite_matching

        # all ambiguous frames as one graph of unconnected blocks: a single call solves them
        blocks = near[ambiguous]
        n, n_ref, n_est = blocks.shape
        frame, ref, est = np.nonzero(blocks)
        edges = (np.ones(len(frame), np.int8), (frame * n_ref + ref, frame * n_est + est))
        graph = csr_array(edges, shape=(n * n_ref, n * n_est))
        partner = maximum_bipartite_matching(graph, perm_type="column")
        sizes[ambiguous] = (partner >= 0).reshape(n, n_ref).sum(axis=1)
    return sizes


def score_track(reference: PitchSeries, estimate: PitchSeries) -> dict[str, float]:
    """Return precision, recall, accuracy and their chroma versions of one track, by ``mir_eval``.

    The estimate is evaluated on the reference's time base (nearest frame).
    """
    import mir_eval

    estimate = resample(estimate, reference.times_s)
    with warnings.catch_warnings():
        # silence is a legitimate estimate: it scores 0 and needs no warning
        warnings.filterwarnings("ignore", message=".*frequencies are all empty.*")
        scores = mir_eval.multipitch.evaluate(
            reference.times_s, reference.ragged_hz(), estimate.times_s, estimate.ragged_hz()
        )
    return {ours: float(scores[theirs]) for ours, theirs in _MIR_EVAL_NAMES.items()}


def mean_over_tracks(scores: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the mean of each score over tracks: a long track weighs no more than a short one."""
    if not scores:
        raise DataError(
            "mean over tracks", got="no track", expected="at least one", hint="check the split"
        )
    return {name: float(np.mean([track[name] for track in scores])) for name in scores[0]}


def threshold_curve(
    tracks: Sequence[tuple[PitchSeries, NDArray]],
    axis: PitchAxis,
    frame_times_s: Sequence[NDArray],
    thresholds: ArrayLike,
) -> list[dict[str, float]]:
    """Return the mean scores over tracks at each threshold.

    Parameters
    ----------
    tracks
        Pairs of reference and (bins, frames) probabilities or salience.
    axis
        What the bins are.
    frame_times_s
        The frame times of each track's probabilities, in seconds.
    thresholds
        The values to try.
    """
    curve = []
    for threshold in np.asarray(thresholds, dtype=float):
        scores = [
            count(reference, from_probabilities(values, axis, times, threshold)).scores()
            for (reference, values), times in zip(tracks, frame_times_s, strict=True)
        ]
        curve.append({"threshold": float(threshold), **mean_over_tracks(scores)})
    return curve


def best_threshold(curve: Sequence[Mapping[str, float]], score: str = "accuracy") -> float:
    """Return the threshold whose mean ``score`` is highest (the lowest of equals, never a NaN).

    Give it a curve measured on *validation* tracks: a threshold chosen on the test split makes
    the test score too good to be true.
    """

    def goodness(point: Mapping[str, float]) -> tuple[float, float]:
        value = point[score]
        return (-math.inf if math.isnan(value) else value), -point["threshold"]

    return max(curve, key=goodness)["threshold"]


def harmonic_sum(compressed: NDArray, harmonics: Sequence[float]) -> NDArray[np.float64]:
    """Return the salience of each pitch as a weighted sum of its harmonics, a trivial baseline.

    The h-th harmonic weighs 1/h; channels below the fundamental (h < 1) are left out. No
    training, one threshold.

    Parameters
    ----------
    compressed
        (harmonics, bins, frames) log-compressed magnitudes, zero for silence.
    harmonics
        The harmonic number of each channel.

    Returns
    -------
    NDArray
        (bins, frames) salience, scaled so that the largest of the track is 1.
    """
    weights = np.array([1.0 / h if h >= 1 else 0.0 for h in harmonics])
    salience = np.tensordot(weights, np.asarray(compressed, dtype=np.float64), axes=1)
    return salience / max(salience.max(initial=0.0), 1e-12)
