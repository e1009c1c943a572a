"""Turns pitches back into sound, to listen to an annotation or an estimate.

Conventions. Pitches come as in ``mir_eval.multipitch``: ``times_s (frames,)`` and, per frame, an
array of frequencies in Hz (empty: silence). A matrix ``(bins, frames)`` of a piano roll is first
reduced to that form. Frame ``t`` sounds from half a frame before ``times_s[t]`` to half a frame
after. Frequencies of neighbouring frames less than a semitone apart are one tone, sounded by one
oscillator whose phase goes on without a jump.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dl101.errors import DataError
from dl101.targets import PitchAxis
from dl101.units import hz_to_midi, midi_to_hz

RAMP_S = 0.015
AMPLITUDE = 0.1  # of the first harmonic of one tone: four voices with five harmonics stay below 1
MAX_STEP_SEMITONES = 1.0


def resynthesise(
    times_s: ArrayLike,
    f0s_hz: Sequence[ArrayLike],
    *,
    sample_rate: int = 22050,
    n_harmonics: int = 5,
    duration_s: float | None = None,
) -> NDArray[np.float32]:
    """Return the sum of one harmonic tone (amplitudes 1, 1/2, 1/3, …) per pitch.

    Parameters
    ----------
    times_s
        ``(frames,)`` increasing times in seconds.
    f0s_hz
        Per frame the frequencies in Hz that sound; zero and NaN are left out.
    sample_rate
        Of the result, in Hz. Harmonics above 0.45 times this rate are left out.
    n_harmonics
        Harmonics per tone.
    duration_s
        Length of the result in seconds; by default half a frame after the last time.

    Returns
    -------
    NDArray[np.float32]
        ``(time,)``; the same amplitude per tone whatever sounds beside it.

    Raises
    ------
    DataError
        If times and pitches differ in number, or times do not increase.
    """
    times = np.asarray(times_s, dtype=np.float64)
    if times.ndim != 1 or times.size != len(f0s_hz) or times.size == 0:
        raise DataError(
            "resynthesise",
            got=f"times of shape {times.shape} and {len(f0s_hz)} frames of pitches",
            expected="one time per frame and at least one frame",
            hint="pass the times on which the pitches were estimated",
        )
    if not np.all(np.diff(times) > 0):
        raise DataError(
            "resynthesise: times_s",
            got="times that repeat or go back",
            expected="increasing times in seconds",
            hint="sort the frames by time",
        )
    half_frame_s = 0.5 * float(np.median(np.diff(times))) if times.size > 1 else 0.01
    length_s = times[-1] + half_frame_s if duration_s is None else duration_s
    audio = np.zeros(max(1, round(length_s * sample_rate)))
    for first, f0_hz in _tones(f0s_hz):
        _add_tone(
            audio,
            times[first : first + len(f0_hz)],
            f0_hz,
            half_frame_s=half_frame_s,
            sample_rate=sample_rate,
            n_harmonics=n_harmonics,
        )
    return audio.astype(np.float32)


def resynthesise_matrix(
    matrix: ArrayLike,
    axis: PitchAxis,
    times_s: ArrayLike,
    *,
    sample_rate: int = 22050,
    n_harmonics: int = 5,
    duration_s: float | None = None,
) -> NDArray[np.float32]:
    """Return the sound of a binary piano roll ``(bins, frames)``; see :func:`resynthesise`."""
    f0s_hz = matrix_to_f0s(matrix, axis)
    return resynthesise(
        times_s, f0s_hz, sample_rate=sample_rate, n_harmonics=n_harmonics, duration_s=duration_s
    )


def matrix_to_f0s(matrix: ArrayLike, axis: PitchAxis) -> list[NDArray[np.float64]]:
    """Return per frame the frequencies in Hz that a binary ``(bins, frames)`` matrix lights.

    A run of neighbouring lit bins narrower than a semitone is one pitch, in the middle of the run:
    a pitch that is blurred over three bins of 20 cents does not beat against itself. Bins that are
    a semitone or more apart stay separate, so two adjacent keys of a piano roll are two pitches.
    """
    lit = np.asarray(matrix).astype(bool)
    if lit.ndim != 2 or lit.shape[0] != axis.n_bins:
        raise DataError(
            "piano roll",
            got=f"shape {lit.shape}",
            expected=f"({axis.n_bins} bins, frames)",
            hint="transpose the matrix, or pass the axis that it was made with",
        )
    midi = np.asarray(axis.midi, dtype=np.float64)
    frames = []
    for frame in lit.T:
        bins = np.flatnonzero(frame)
        pitches, run = [], []
        for index in bins:
            is_near = run and index == run[-1] + 1 and midi[index] - midi[run[0]] < 1 - 1e-6
            if run and not is_near:
                pitches.append(midi[run].mean())
                run = []
            run.append(index)
        if run:
            pitches.append(midi[run].mean())
        frames.append(midi_to_hz(np.array(pitches)))
    return frames


def _tones(f0s_hz: Sequence[ArrayLike]) -> list[tuple[int, NDArray[np.float64]]]:
    """Link the pitches of neighbouring frames into tones: (first frame, frequencies in Hz)."""
    finished: list[tuple[int, list[float]]] = []
    sounding: list[tuple[int, list[float]]] = []
    for index, frame in enumerate(f0s_hz):
        midi = hz_to_midi(np.atleast_1d(np.asarray(frame, dtype=np.float64)))
        free = list(midi[np.isfinite(midi)])
        steps = sorted(
            (abs(pitch - tone[1][-1]), i, j)
            for i, tone in enumerate(sounding)
            for j, pitch in enumerate(free)
            if abs(pitch - tone[1][-1]) < MAX_STEP_SEMITONES
        )
        linked: dict[int, int] = {}
        for _, i, j in steps:  # the smallest step is taken first
            if i not in linked and j not in linked.values():
                linked[i] = j
        finished += [tone for i, tone in enumerate(sounding) if i not in linked]
        for i, j in linked.items():
            sounding[i][1].append(free[j])
        new = [(index, [free[j]]) for j in range(len(free)) if j not in linked.values()]
        sounding = [sounding[i] for i in linked] + new
    return [(first, midi_to_hz(pitches)) for first, pitches in finished + sounding]


def _add_tone(
    audio: NDArray[np.float64],
    times_s: NDArray[np.float64],
    f0_hz: NDArray[np.float64],
    *,
    half_frame_s: float,
    sample_rate: int,
    n_harmonics: int,
) -> None:
    """Add one tone in place, with raised-cosine ramps at its ends."""
    start = max(0, round((times_s[0] - half_frame_s) * sample_rate))
    stop = min(audio.size, round((times_s[-1] + half_frame_s) * sample_rate))
    if stop <= start:
        return
    f0 = np.interp(np.arange(start, stop) / sample_rate, times_s, f0_hz)
    phase = 2 * np.pi * np.cumsum(f0) / sample_rate
    n_ramp = min(round(RAMP_S * sample_rate), (stop - start) // 2)
    ramp = 0.5 - 0.5 * np.cos(np.pi * (np.arange(n_ramp) + 0.5) / max(n_ramp, 1))
    amplitude = np.full(stop - start, AMPLITUDE)
    amplitude[:n_ramp] *= ramp
    amplitude[amplitude.size - n_ramp :] *= ramp[::-1]
    n_below = int(0.45 * sample_rate / f0.max())  # the others would alias
    for harmonic in range(1, min(n_harmonics, n_below) + 1):
        audio[start:stop] += amplitude / harmonic * np.sin(harmonic * phase)
