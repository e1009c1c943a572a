"""Annotations to arrays: which pitches sound in which frames.

Conventions: a target is a binary matrix (uint8) of shape ``(n_bins, T)`` on the pitch axis and the
time grid of the input it belongs to; frame ``t`` stands for the instant ``times_s[t]``. Pitches
are continuous MIDI numbers. A pitch lights the bin whose centre is nearest in log-frequency
(exactly between two, the upper one). Pitches more than half a bin outside the axis light nothing,
and neither do unvoiced frames: 0, negative, NaN.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dl101.config import Count, Positive, Settings
from dl101.errors import DataError
from dl101.features import HcqtConfig
from dl101.units import hz_to_midi, midi_to_hz

# Times are decimal numbers of seconds; a microsecond forgives their rounding.
_TIME_TOLERANCE_S = 1e-6
# Above this a "MIDI pitch" is surely a frequency in Hz (150 would be 47 kHz).
_HIGHEST_MIDI = 150.0


@dataclass(frozen=True)
class PitchAxis(Settings):
    """Bins that are evenly spaced in pitch.

    Parameters
    ----------
    f_min_hz
        Centre of bin 0 in Hz.
    bins_per_semitone
        Resolution.
    n_bins
        Number of bins.
    """

    f_min_hz: Positive
    bins_per_semitone: Count
    n_bins: Count

    @classmethod
    def of(cls, config: HcqtConfig) -> PitchAxis:
        """Return the axis of harmonic 1 of an HCQT, on which its targets are drawn."""
        return cls(config.f_min_hz, config.bins_per_semitone, config.n_bins)

    @property
    def midi(self) -> NDArray[np.float64]:
        """Centre of each bin as a continuous MIDI number, shape ``(n_bins,)``."""
        return hz_to_midi(self.f_min_hz) + np.arange(self.n_bins) / self.bins_per_semitone

    @property
    def frequencies_hz(self) -> NDArray[np.float64]:
        """Centre of each bin in Hz, shape ``(n_bins,)``."""
        return midi_to_hz(self.midi)

    def bins(self, pitch_midi: ArrayLike) -> NDArray[np.int64]:
        """Return the nearest bin of each pitch, or -1 where it is unvoiced or off the axis."""
        pitch = np.asarray(pitch_midi, dtype=np.float64)
        position = (pitch - hz_to_midi(self.f_min_hz)) * self.bins_per_semitone
        nearest = np.floor(position + 0.5)
        on_axis = (pitch > 0) & (nearest >= 0) & (nearest < self.n_bins)  # NaN compares false
        return np.where(on_axis, nearest, -1).astype(np.int64)


def from_f0(
    f0_midi: ArrayLike, f0_times_s: ArrayLike, axis: PitchAxis, times_s: ArrayLike
) -> NDArray[np.uint8]:
    """Return the target of f0 curves, one per voice, sampled at known times.

    A frame takes the annotation nearest in time (exactly between two, the earlier one), if it
    is at most half an annotation step away; the step is the median distance of annotations (with
    a single annotation, that of the frames). Outside the annotated time, and in gaps where
    annotations are missing, frames stay dark.

    Parameters
    ----------
    f0_midi
        Pitches, shape ``(voices, n)`` or ``(n,)``; 0, negative or NaN where a voice is silent.
    f0_times_s
        Time of each annotation in seconds, increasing, shape ``(n,)``.
    axis
        Pitch axis of the target.
    times_s
        Centre of each frame in seconds, increasing, shape ``(T,)``.

    Raises
    ------
    DataError
        If shapes disagree, times do not increase, or pitches look like Hz.
    """
    pitch = np.atleast_2d(np.asarray(f0_midi, dtype=np.float64))
    annotated = _check_times(f0_times_s, "f0_times_s")
    times = _check_times(times_s, "times_s")
    if pitch.ndim != 2 or pitch.shape[1] != annotated.size:
        raise DataError(
            "f0_midi",
            got=f"shape {pitch.shape} with {annotated.size} times",
            expected="(voices, frames) with one time a frame",
            hint="transpose the matrix, or check that values and times belong together",
        )
    _check_midi(pitch, "f0_midi")
    target = np.zeros((axis.n_bins, times.size), dtype=np.uint8)
    if annotated.size == 0 or times.size == 0:
        return target
    after = np.clip(np.searchsorted(annotated, times), 1, max(annotated.size - 1, 1))
    before = after - 1
    after = np.minimum(after, annotated.size - 1)
    is_after = annotated[after] - times < times - annotated[before] - _TIME_TOLERANCE_S
    nearest = np.where(is_after, after, before)
    reach_s = _half_step(annotated if annotated.size > 1 else times) + _TIME_TOLERANCE_S
    frames = np.flatnonzero(np.abs(times - annotated[nearest]) <= reach_s)
    bins = axis.bins(pitch[:, nearest[frames]])
    voice, column = np.nonzero(bins >= 0)
    target[bins[voice, column], frames[column]] = 1
    return target


def from_notes(
    onsets_s: ArrayLike,
    durations_s: ArrayLike,
    pitches_midi: ArrayLike,
    axis: PitchAxis,
    times_s: ArrayLike,
) -> NDArray[np.uint8]:
    """Return the target of notes given as segments.

    A note lights the frames whose centre lies in ``[onset, onset + duration)``. One so short that
    it falls between two centres lights the frame nearest to its middle, if the note lies within
    the grid (at most half a frame step from the first or last centre).

    Parameters
    ----------
    onsets_s, durations_s
        Beginning and length of each note in seconds, shape ``(n,)``.
    pitches_midi
        Pitch of each note, shape ``(n,)``.
    axis
        Pitch axis of the target.
    times_s
        Centre of each frame in seconds, increasing, shape ``(T,)``.

    Raises
    ------
    DataError
        If shapes disagree, a time is not finite or negative, or pitches look like Hz.
    """
    onsets = np.atleast_1d(np.asarray(onsets_s, dtype=np.float64))
    durations = np.atleast_1d(np.asarray(durations_s, dtype=np.float64))
    pitches = np.atleast_1d(np.asarray(pitches_midi, dtype=np.float64))
    times = _check_times(times_s, "times_s")
    if not (onsets.ndim == 1 and onsets.shape == durations.shape == pitches.shape):
        raise DataError(
            "notes",
            got=f"{onsets.shape} onsets, {durations.shape} durations, {pitches.shape} pitches",
            expected="one onset, duration and pitch a note",
            hint="check that the three lists come from the same notes",
        )
    if not (np.isfinite(onsets).all() and np.isfinite(durations).all() and (durations >= 0).all()):
        raise DataError(
            "notes",
            got="an onset or duration that is negative or not finite",
            expected="finite onsets and durations of at least 0 s",
            hint="check that the third column is a duration, not an end",
        )
    _check_midi(pitches, "pitches_midi")
    target = np.zeros((axis.n_bins, times.size), dtype=np.uint8)
    bins = axis.bins(pitches)
    keep = bins >= 0
    if times.size == 0 or not keep.any():
        return target
    onsets, ends, bins = onsets[keep], (onsets + durations)[keep], bins[keep]
    start = np.searchsorted(times, onsets - _TIME_TOLERANCE_S)
    stop = np.searchsorted(times, ends - _TIME_TOLERANCE_S)

    middle = (onsets + ends) / 2
    upper = np.clip(np.searchsorted(times, middle), 1, max(times.size - 1, 1))
    lower, upper = upper - 1, np.minimum(upper, times.size - 1)
    nearest = np.where(times[upper] - middle < middle - times[lower], upper, lower)
    missed = stop <= start
    start = np.where(missed, nearest, start)
    inside = np.abs(times[nearest] - middle) <= _half_step(times) + _TIME_TOLERANCE_S
    stop = np.where(missed, np.where(inside, nearest + 1, start), stop)

    # One (bin, frame) pair for each lit cell, without a loop over notes.
    lengths = stop - start
    first = np.cumsum(lengths) - lengths
    frames = np.arange(lengths.sum()) + np.repeat(start - first, lengths)
    target[np.repeat(bins, lengths), frames] = 1
    return target


def _half_step(times_s: NDArray[np.float64]) -> float:
    """Return half the median step of a grid; a grid of one time has no step and no reach."""
    return float(np.median(np.diff(times_s))) / 2 if times_s.size > 1 else 0.0


def _check_times(times_s: ArrayLike, name: str) -> NDArray[np.float64]:
    times = np.asarray(times_s, dtype=np.float64)
    if times.ndim != 1 or not np.isfinite(times).all() or (np.diff(times) <= 0).any():
        raise DataError(
            name,
            got=f"shape {times.shape}, not all finite and increasing",
            expected="one dimension of finite, strictly increasing seconds",
            hint="sort the annotation by time and drop duplicates",
        )
    return times


def _check_midi(pitch: NDArray[np.float64], name: str) -> None:
    highest = np.max(pitch, initial=0.0, where=np.isfinite(pitch))
    if highest > _HIGHEST_MIDI:
        raise DataError(
            name,
            got=f"a value of {highest:g}",
            expected="MIDI numbers (A4 is 69)",
            hint="convert frequencies in Hz with dl101.units.hz_to_midi",
        )
