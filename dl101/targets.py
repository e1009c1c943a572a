"""Annotations to arrays: which pitches sound in which frames.

Conventions: a target is a binary matrix (uint8) of shape ``(n_bins, T)`` on the pitch axis and the
time grid of the input it belongs to; frame ``t`` stands for the instant ``times_s[t]``. Pitches
are continuous MIDI numbers. A pitch lights the bin whose centre is nearest in log-frequency
(exactly between two, the upper one). Pitches more than half a bin outside the axis light nothing,
and neither do unvoiced frames: 0, negative, NaN, None.

What counts as a pitch, a time and a note, and which frames a note sounds in, is decided here
(:func:`checked_pitches`, :func:`checked_times`, :func:`checked_notes`, :func:`note_frames`), for
targets and for the references of :mod:`dl101.evaluation.multi_pitch` alike.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dl101.config import Count, Positive, Settings
from dl101.errors import DataError
from dl101.signal.cqt import HcqtConfig
from dl101.units import hz_to_midi, midi_to_hz

# Times are decimal numbers of seconds; a microsecond forgives their rounding.
_TIME_TOLERANCE_S = 1e-6
# Above this a "MIDI pitch" is surely a frequency in Hz (150 would be 47 kHz).
_HIGHEST_MIDI = 150.0
# Above this a "time in seconds" is surely in milliseconds or samples; mir_eval draws the same line.
_LATEST_S = 30_000.0


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


def checked_pitches(pitch_midi: ArrayLike, name: str = "pitch_midi") -> NDArray[np.float64]:
    """Return pitches as a new float64 array of the same shape, NaN where unvoiced.

    Unvoiced is 0, negative, NaN or None. Every MIDI number from there to 150 is a pitch, whether an
    axis or an instrument reaches it or not.

    Parameters
    ----------
    pitch_midi
        Continuous MIDI numbers, any shape.
    name
        What the error calls them.

    Raises
    ------
    DataError
        If a value is no number, infinite, or looks like Hz.
    """
    pitch = _floats(pitch_midi, name, "MIDI numbers (A4 is 69)")
    highest = np.max(pitch, initial=0.0, where=~np.isnan(pitch))
    if highest > _HIGHEST_MIDI:
        raise DataError(
            name,
            got=f"a value of {highest:g}",
            expected="MIDI numbers (A4 is 69)",
            hint="convert frequencies in Hz with dl101.units.hz_to_midi",
        )
    pitch[~(pitch > 0)] = np.nan
    return pitch


def checked_times(times_s: ArrayLike, name: str = "times_s") -> NDArray[np.float64]:
    """Return a time grid in seconds as float64, shape ``(T,)``, T may be 0.

    Raises
    ------
    DataError
        If it has another shape, a time is not finite or beyond 30,000 s, or times do not increase.
    """
    times = _floats(times_s, name, "times in seconds")
    if times.ndim != 1 or not np.isfinite(times).all() or (np.diff(times) <= 0).any():
        raise DataError(
            name,
            got=f"shape {times.shape}, not all finite and increasing",
            expected="one dimension of finite, strictly increasing seconds",
            hint="sort the annotation by time and drop duplicates",
        )
    _check_seconds(times, name)
    return times


def checked_notes(
    onsets_s: ArrayLike, durations_s: ArrayLike, pitches_midi: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return onsets and durations in seconds, and pitches, of notes: three float64 arrays ``(n,)``.

    Raises
    ------
    DataError
        If shapes disagree, a time is not finite or beyond 30,000 s, a duration is negative, or
        :func:`checked_pitches` refuses the pitches.
    """
    onsets = np.atleast_1d(_floats(onsets_s, "onsets_s", "times in seconds"))
    durations = np.atleast_1d(_floats(durations_s, "durations_s", "times in seconds"))
    pitches = np.atleast_1d(checked_pitches(pitches_midi, "pitches_midi"))
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
    _check_seconds(onsets, "onsets_s")
    _check_seconds(durations, "durations_s")
    return onsets, durations, pitches


def note_frames(
    onsets_s: NDArray[np.float64], durations_s: NDArray[np.float64], times_s: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the first frame of each note and the one after its last, both ``(n,)``.

    A note sounds in the frames whose centre lies in ``[onset, onset + duration)``. One so short
    that it falls between two centres sounds in the frame nearest to its middle, if the note lies
    within the grid (at most half a frame step from the first or last centre). Where a note sounds
    in no frame, both numbers are equal. The arguments have been checked.
    """
    if times_s.size == 0:
        nowhere = np.zeros(onsets_s.size, dtype=np.int64)
        return nowhere, nowhere
    ends = onsets_s + durations_s
    start = np.searchsorted(times_s, onsets_s - _TIME_TOLERANCE_S)
    stop = np.searchsorted(times_s, ends - _TIME_TOLERANCE_S)

    middle = (onsets_s + ends) / 2
    upper = np.clip(np.searchsorted(times_s, middle), 1, max(times_s.size - 1, 1))
    lower, upper = upper - 1, np.minimum(upper, times_s.size - 1)
    nearest = np.where(times_s[upper] - middle < middle - times_s[lower], upper, lower)
    missed = stop <= start
    start = np.where(missed, nearest, start)
    inside = np.abs(times_s[nearest] - middle) <= _half_step(times_s) + _TIME_TOLERANCE_S
    return start, np.where(missed, np.where(inside, nearest + 1, start), stop)


def note_pairs(
    start: NDArray[np.int64], stop: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return a (note, frame) pair for each frame that a note sounds in, note by note."""
    lengths = stop - start
    first = np.cumsum(lengths) - lengths
    notes = np.repeat(np.arange(lengths.size), lengths)
    return notes, np.arange(notes.size) + (start - first)[notes]


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
    pitch = np.atleast_2d(checked_pitches(f0_midi, "f0_midi"))
    annotated = checked_times(f0_times_s, "f0_times_s")
    times = checked_times(times_s)
    if pitch.ndim != 2 or pitch.shape[1] != annotated.size:
        raise DataError(
            "f0_midi",
            got=f"shape {pitch.shape} with {annotated.size} times",
            expected="(voices, frames) with one time a frame",
            hint="transpose the matrix, or check that values and times belong together",
        )
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
        If :func:`checked_notes` refuses the notes, or :func:`checked_times` the frames.
    """
    onsets, durations, pitches = checked_notes(onsets_s, durations_s, pitches_midi)
    times = checked_times(times_s)
    target = np.zeros((axis.n_bins, times.size), dtype=np.uint8)
    bins = axis.bins(pitches)
    on_axis = bins >= 0
    start, stop = note_frames(onsets[on_axis], durations[on_axis], times)
    notes, frames = note_pairs(start, stop)
    target[bins[on_axis][notes], frames] = 1
    return target


def _half_step(times_s: NDArray[np.float64]) -> float:
    """Return half the median step of a grid; a grid of one time has no step and no reach."""
    return float(np.median(np.diff(times_s))) / 2 if times_s.size > 1 else 0.0


def _floats(values: ArrayLike, name: str, expected: str) -> NDArray[np.float64]:
    """Return numbers as a new float64 array; None becomes NaN."""
    try:
        array = np.asarray(values)
        if array.dtype.kind not in "fiuO":
            raise TypeError(f"values of type {array.dtype}")
        return array.astype(np.float64)
    except (TypeError, ValueError, OverflowError) as error:  # rows of unequal length, text
        raise DataError(
            name, got=str(error), expected=expected, hint="give an array of numbers"
        ) from error


def _check_seconds(times_s: NDArray[np.float64], name: str) -> None:
    latest = np.max(times_s, initial=0.0)
    if latest > _LATEST_S:
        raise DataError(
            name,
            got=f"a time of {latest:g} s",
            expected=f"seconds, at most {_LATEST_S:g}",
            hint="divide milliseconds by 1000, samples by the sample rate",
        )
