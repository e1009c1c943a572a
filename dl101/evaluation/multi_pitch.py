"""Judging multi-pitch estimates: which pitches sound in each frame, compared with the truth.

Representation: a :class:`PitchSeries` holds the times of the frames (seconds) and a matrix of
continuous MIDI pitches, one row a frame, padded with NaN because the number of sounding pitches
changes. Pitches of one frame have no order, and a unison of two voices counts as two pitches, as
in the annotations of Bach10. What counts as a pitch, a time or a note is decided in
:mod:`dl101.targets`, the same for training targets and for scores: every MIDI number above 0 and up
to 150 is a pitch, also where ``mir_eval`` would refuse it (below 20 or above 5000 Hz).

Scores follow Bay, Ehmann and Downie (ISMIR 2009) as implemented by ``mir_eval.multipitch``: an
estimate is right if it lies within half a semitone of a reference pitch that no other estimate
has claimed; true positives, false positives and misses are summed over the frames *of one track*;
the estimate is first brought to the time base of the annotation. Scores of a split are means over
tracks. *Chroma* scores compare pitches modulo the octave.

:func:`score_track` lets ``mir_eval`` count. :func:`count` gives the same numbers without a loop
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
from dl101.evaluation.results import mean_over_tracks
from dl101.targets import (
    PitchAxis,
    checked_notes,
    checked_pitches,
    checked_times,
    note_frames,
    note_pairs,
)

TOLERANCE_SEMITONES = 0.5


@dataclass(frozen=True)
class PitchSeries:
    """The pitches that sound in each frame.

    Attributes
    ----------
    times_s
        (frames,) increasing times in seconds.
    pitches_midi
        (frames, slots) continuous MIDI pitches; unused slots are NaN (0, negative or None become
        NaN).

    Raises
    ------
    DataError
        If there is not one row of pitches per time, or :mod:`dl101.targets` refuses the times or
        the pitches (frequencies in Hz, for instance).
    """

    times_s: NDArray[np.float64]
    pitches_midi: NDArray[np.float64]

    def __post_init__(self) -> None:
        times = checked_times(self.times_s, "pitch series: times_s")
        pitches = checked_pitches(self.pitches_midi, "pitch series: pitches_midi")
        if pitches.ndim != 2 or len(pitches) != times.size:
            raise DataError(
                "pitch series",
                got=f"pitches of shape {pitches.shape} for {times.size} times",
                expected="one row of pitches per time",
                hint="transpose a (voices, frames) matrix, or use from_f0",
            )
        object.__setattr__(self, "times_s", times)
        object.__setattr__(self, "pitches_midi", pitches)

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
    """Return the series of pitch curves (voices, frames) in MIDI; 0, NaN and None are unvoiced."""
    return PitchSeries(times_s, np.atleast_2d(checked_pitches(f0_midi, "f0_midi")).T)


def from_notes(
    onsets_s: ArrayLike, durations_s: ArrayLike, pitches_midi: ArrayLike, times_s: ArrayLike
) -> PitchSeries:
    """Return the notes that sound at each time, by the rule of :func:`dl101.targets.note_frames`.

    Parameters
    ----------
    onsets_s, durations_s
        Beginning and length of each note in seconds, shape ``(n,)``.
    pitches_midi
        Pitch of each note, shape ``(n,)``.
    times_s
        (frames,) increasing times in seconds.

    Raises
    ------
    DataError
        If :func:`dl101.targets.checked_notes` refuses the notes, or times do not increase.
    """
    onsets, durations, pitches = checked_notes(onsets_s, durations_s, pitches_midi)
    times = checked_times(times_s)
    notes, frames = note_pairs(*note_frames(onsets, durations, times))
    in_time = np.argsort(frames, kind="stable")
    notes, frames = notes[in_time], frames[in_time]
    return PitchSeries(times, _in_slots(frames, pitches[notes], times.size))


def from_matrix(active: ArrayLike, axis: PitchAxis, times_s: ArrayLike) -> PitchSeries:
    """Return the pitches of the lit bins of a binary matrix (bins, frames)."""
    lit = np.asarray(active).astype(bool)
    if lit.ndim != 2 or len(lit) != axis.n_bins:
        raise DataError(
            "pitches by bin",
            got=f"shape {lit.shape}",
            expected=f"({axis.n_bins}, frames), one row per bin of the axis",
            hint="transpose a (frames, bins) matrix, or use the axis it was made with",
        )
    frames, bins = np.nonzero(lit.T)
    return PitchSeries(times_s, _in_slots(frames, axis.midi[bins], lit.shape[1]))


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

    Raises
    ------
    DataError
        If a value is NaN, or there is not one row per bin and one column per time.
    """
    values = np.asarray(probabilities)
    if values.ndim != 2 or values.dtype.kind not in "fiu" or np.isnan(values).any():
        raise DataError(
            "probabilities",
            got=f"shape {values.shape}, {values.dtype}, or NaN among them",
            expected="(bins, frames) numbers, none NaN",
            hint="look at the network's outputs: a training that diverged gives NaN",
        )
    return from_matrix(_peaks(values) & (values >= threshold), axis, times_s)


def _peaks(values: NDArray) -> NDArray[np.bool_]:
    """Mark local maxima along axis 0; of a plateau, the first bin."""
    edge = np.full((1, values.shape[1]), -np.inf, dtype=values.dtype)
    below = np.concatenate([edge, values[:-1]])
    above = np.concatenate([values[1:], edge])
    return (values > below) & (values >= above)


def _in_slots(
    frames: NDArray[np.int64], pitches: NDArray[np.float64], n_frames: int
) -> NDArray[np.float64]:
    """Return (frames, slots): the pitches of each frame in the first slots, the rest NaN.

    ``frames`` holds the frame of each of ``pitches``, in rising order.
    """
    n_per_frame = np.bincount(frames, minlength=n_frames)
    result = np.full((n_frames, int(n_per_frame.max(initial=0))), np.nan)
    slot = np.arange(frames.size) - np.repeat(np.cumsum(n_per_frame) - n_per_frame, n_per_frame)
    result[frames, slot] = pitches
    return result


def resample(series: PitchSeries, times_s: ArrayLike) -> PitchSeries:
    """Return the series at other times: nearest frame, nothing outside the series' own span."""
    target = checked_times(times_s)
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
    ref = _through_hz(reference)[:, :, None]
    est = _through_hz(estimate)[:, None, :]
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

    The estimate is evaluated on the reference's time base (nearest frame). The counting is that of
    ``mir_eval.multipitch``; its check of the input is not: that is ours, the same for all of dl101.
    """
    from mir_eval import multipitch

    estimate = resample(estimate, reference.times_s)
    ref, est = (
        [row[~np.isnan(row)] for row in _through_hz(series)] for series in (reference, estimate)
    )
    n_ref, n_est = multipitch.compute_num_freqs(ref), multipitch.compute_num_freqs(est)
    scores = {}
    with warnings.catch_warnings():
        # silence is a legitimate estimate: it scores 0 and needs no warning
        warnings.filterwarnings("ignore", message=".*frequencies are all empty.*")
        for prefix, chroma in (("", False), ("chroma_", True)):
            if chroma:
                ref, est = multipitch.midi_to_chroma(ref), multipitch.midi_to_chroma(est)
            matched = multipitch.compute_num_true_positives(ref, est, chroma=chroma)
            values = multipitch.compute_accuracy(matched, n_ref, n_est)
            for name, value in zip(("precision", "recall", "accuracy"), values, strict=True):
                scores[prefix + name] = float(value)
    return scores


def _through_hz(series: PitchSeries) -> NDArray[np.float64]:
    """Return the pitches as ``mir_eval`` computes them from hertz.

    A pitch comes back changed by some 1e-14: enough to decide at exactly half a semitone.
    """
    return units.hz_to_midi(units.midi_to_hz(series.pitches_midi))


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
