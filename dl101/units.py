"""The only conversions between hertz, MIDI numbers, mel, cents, frames, samples and seconds.

Conventions: MIDI note 69 is A4 at 440 Hz; pitch is continuous, so 69.5 is a quarter tone above.
A frequency of zero (or below, or NaN) means *unvoiced* and becomes NaN in MIDI. Frame ``t`` is
centred on sample ``t * hop_samples``. All functions accept scalars or arrays and work in float64.
"""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dl101.errors import ConfigError, did_you_mean

A4_HZ = 440.0
A4_MIDI = 69.0
NOTE_NAMES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
MEL_FORMULAS = ("slaney", "htk")
# Slaney: 15 mel to 1 kHz, and from there 27 mel for each factor of 6.4.
_CORNER_HZ = 1000.0
_HZ_PER_MEL = 200.0 / 3.0
_LOG_STEP = np.log(6.4) / 27.0
_SEMITONES = {"C": 12, "D": 14, "E": 16, "F": 17, "G": 19, "A": 21, "B": 23}  # of octave 0
_STEPS = {"": 0, "#": 1, "b": -1}
_NOTES = [
    f"{letter}{step}{octave}" for letter in "CDEFGAB" for step in _STEPS for octave in range(9)
]


def hz_to_midi(frequency_hz: ArrayLike) -> NDArray[np.float64]:
    """Return continuous MIDI numbers of frequencies in Hz; unvoiced (<= 0, NaN) gives NaN."""
    hz = np.asarray(frequency_hz, dtype=np.float64)
    voiced = hz > 0
    return A4_MIDI + 12.0 * np.log2(np.where(voiced, hz, np.nan) / A4_HZ)


def midi_to_hz(pitch_midi: ArrayLike) -> NDArray[np.float64]:
    """Return frequencies in Hz of continuous MIDI numbers; NaN stays NaN."""
    return A4_HZ * 2.0 ** ((np.asarray(pitch_midi, dtype=np.float64) - A4_MIDI) / 12.0)


def note_name(pitch_midi: float) -> str:
    """Return the name of the nearest note: 60 is C4, 69 is A4."""
    octave, step = divmod(round(pitch_midi), 12)
    return f"{NOTE_NAMES[step]}{octave - 1}"


def note_to_midi(name: str) -> int:
    """Return the MIDI number of a note: a letter, perhaps ``#`` or ``b``, the octave; C4 is 60.

    Raises
    ------
    ConfigError
        If it is no such name.
    """
    found = re.fullmatch(r"([A-Ga-g])(#|b)?(-1|\d)", str(name).strip())
    if not found:
        near = _NOTES if re.match("[A-Ga-g]", str(name).strip()) else ()
        raise ConfigError(
            "note",
            got=repr(name),
            expected="a letter from A to G, perhaps # or b, and the number of the octave",
            hint=did_you_mean(name, near, otherwise="write A3, C#4 or Bb2"),
        )
    letter, accidental, octave = found.groups()
    return 12 * int(octave) + _SEMITONES[letter.upper()] + _STEPS[accidental or ""]


def cents_to_ratio(cents: ArrayLike) -> NDArray[np.float64]:
    """Return the frequency ratio of an interval in cents (100 per semitone)."""
    return 2.0 ** (np.asarray(cents, dtype=np.float64) / 1200.0)


def ratio_to_cents(ratio: ArrayLike) -> NDArray[np.float64]:
    """Return the interval in cents of a positive frequency ratio."""
    return 1200.0 * np.log2(np.asarray(ratio, dtype=np.float64))


def hz_to_mel(frequencies_hz: ArrayLike, *, formula: str = "slaney") -> NDArray[np.float64]:
    """Return frequencies on the mel scale, on which equal steps sound about equal; any shape.

    Two formulas are in use: ``slaney`` [1]_ (linear below 1 kHz, logarithmic above; librosa's
    default, and that of :func:`dl101.signal.mel.log_mel`) and ``htk`` [2]_ (one logarithm
    throughout).

    Parameters
    ----------
    frequencies_hz
        In Hz, not negative.
    formula
        ``slaney`` or ``htk``. Their units differ: 1 kHz is 15 in one and 1000 in the other.

    Raises
    ------
    ConfigError
        If there is no such formula.

    References
    ----------
    .. [1] M. Slaney, "Auditory toolbox: version 2", Interval Research Corporation, 1998.
    .. [2] S. Young et al., "The HTK book", Cambridge University, 2006, Eq. 5.13.
    """
    frequencies_hz = np.asarray(frequencies_hz, dtype=np.float64)
    if _known_mel(formula) == "htk":
        return 2595.0 * np.log10(1.0 + frequencies_hz / 700.0)
    above = np.log(np.maximum(frequencies_hz, _CORNER_HZ) / _CORNER_HZ) / _LOG_STEP
    return np.minimum(frequencies_hz, _CORNER_HZ) / _HZ_PER_MEL + above


def mel_to_hz(mels: ArrayLike, *, formula: str = "slaney") -> NDArray[np.float64]:
    """Return the frequencies in Hz of points on the mel scale: the inverse of :func:`hz_to_mel`."""
    mels = np.asarray(mels, dtype=np.float64)
    if _known_mel(formula) == "htk":
        return 700.0 * (10.0 ** (mels / 2595.0) - 1.0)
    corner = _CORNER_HZ / _HZ_PER_MEL
    below = np.minimum(mels, corner) * _HZ_PER_MEL
    return below * np.exp(np.maximum(mels - corner, 0.0) * _LOG_STEP)


def frames_to_seconds(
    frame: ArrayLike, *, hop_samples: int, sample_rate: float
) -> NDArray[np.float64]:
    """Return the time in seconds of the centre of each frame."""
    return np.asarray(frame, dtype=np.float64) * hop_samples / sample_rate


def seconds_to_frames(
    time_s: ArrayLike, *, hop_samples: int, sample_rate: float
) -> NDArray[np.int64]:
    """Return the index of the frame whose centre is nearest to each time (halves go up)."""
    position = np.asarray(time_s, dtype=np.float64) * sample_rate / hop_samples
    return np.floor(position + 0.5).astype(np.int64)


def seconds_to_samples(time_s: ArrayLike, *, sample_rate: float) -> NDArray[np.int64]:
    """Return the index of the sample nearest to each time in seconds (halves go up)."""
    return np.floor(np.asarray(time_s, dtype=np.float64) * sample_rate + 0.5).astype(np.int64)


def db_to_amplitude(level_db: ArrayLike) -> NDArray[np.float64]:
    """Return the amplitude factor of a level in decibels (20 dB is a factor of ten)."""
    return 10.0 ** (np.asarray(level_db, dtype=np.float64) / 20.0)


def amplitude_to_db(amplitude: ArrayLike, *, floor_db: float = -120.0) -> NDArray[np.float64]:
    """Return the level in decibels of a non-negative amplitude, no lower than ``floor_db``."""
    floor = 10.0 ** (floor_db / 20.0)
    return 20.0 * np.log10(np.maximum(np.asarray(amplitude, dtype=np.float64), floor))


def _known_mel(formula: str) -> str:
    if formula not in MEL_FORMULAS:
        raise ConfigError(
            "mel scale: formula",
            got=repr(formula),
            expected="slaney or htk",
            hint=did_you_mean(formula, MEL_FORMULAS),
        )
    return formula
