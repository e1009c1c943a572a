"""How far a recording is from standard tuning, and chroma that takes it into account.

Conventions: tuning is in cents (hundredths of a semitone) above A4 = 440 Hz, from -50 up to but not
including 50: a recording 60 cents sharp is called 40 cents flat, because without knowing its key
nobody can tell. Spectra are constant-Q :class:`dl101.signal.feature.Feature` records, values
``(1, bins, T)``. Chroma is ``(1, 12, T)``, row 0 is C and row 9 is A.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dl101.errors import DataError
from dl101.signal import cqt, mel
from dl101.signal.cqt import HcqtConfig
from dl101.signal.feature import Feature
from dl101.units import cents_to_ratio, hz_to_midi


def estimate_tuning(spectrum: Feature) -> float:
    """Return the tuning of a recording in cents, in [-50, 50).

    Each bin of the CQT has a pitch ``p`` in semitones; its fraction ``p mod 1`` is an angle, and
    the bin's mean magnitude ``x`` the length of an arrow with this angle. The tuning is the angle
    of the sum of all arrows, ``100 / (2 pi) * arg(sum x exp(2 pi i p))``: what stands on the grid
    of semitones adds up, what is spread evenly (noise) cancels.

    Parameters
    ----------
    spectrum
        A CQT with at least three bins to a semitone; silence has tuning 0.

    Raises
    ------
    DataError
        If the bins are too coarse, or not evenly spaced in pitch.
    """
    values, pitch = _checked(spectrum)
    spacing = np.diff(pitch)
    if not np.allclose(spacing, spacing[0], rtol=1e-3) or not 0 < spacing[0] < 0.4:
        raise DataError(
            "spectrum for tuning",
            got=f"bins {spacing.min():.2f} to {spacing.max():.2f} semitones apart",
            expected="a CQT with at least 3 bins to a semitone",
            hint="set bins_per_semitone=3 in the HcqtConfig",
        )
    whole = pitch.size - pitch.size % round(1 / spacing[0])  # whole semitones: even noise cancels
    arrows = values.mean(axis=1)[:whole] * np.exp(2j * np.pi * pitch[:whole])
    cents = 100.0 / (2.0 * np.pi) * float(np.angle(arrows.sum()))
    return cents if cents < 50.0 else -50.0


def retuned(config: HcqtConfig, tuning_cents: float) -> HcqtConfig:
    """Return a configuration whose bins lie ``tuning_cents`` higher: the grid goes to the sound."""
    return replace(config, f_min_hz=config.f_min_hz * float(cents_to_ratio(tuning_cents)))


def fold(
    spectrum: Feature, *, tuning_cents: float = 0.0, compression: float = 0.0, peak: bool = True
) -> Feature:
    """Return the chroma of a CQT, ``(1, 12, T)``.

    Parameters
    ----------
    spectrum
        A CQT, values ``(1, bins, T)``.
    tuning_cents
        The tuning that the bins of the CQT stand for: 0 for a plain one, and the cents given to
        :func:`retuned` for one that was moved.
    compression
        ``C`` of ``log(1 + C x)``, applied to each bin *before* octaves are added; 0 leaves the bins
        as they are.
    peak
        Divide each frame by its largest value, as :func:`dl101.signal.chroma.chroma` does; silent
        frames stay zero.

    Raises
    ------
    ConfigError
        If the compression is negative.
    DataError
        If the spectrum has no frequencies.
    """
    values, pitch = _checked(spectrum)
    values = mel.compress(values, compression)
    pitch_class = np.floor(pitch - tuning_cents / 100.0 + 0.5).astype(np.int64) % 12
    matrix = (np.arange(12)[:, np.newaxis] == pitch_class).astype(np.float32)
    folded = matrix @ values.astype(np.float32)
    if peak:
        largest = folded.max(axis=0, keepdims=True)
        folded = np.divide(folded, largest, out=np.zeros_like(folded), where=largest > 0)
    return replace(spectrum, values=folded[np.newaxis], frequencies=None)


def tuned_cqt(
    audio: ArrayLike, config: HcqtConfig, *, sample_rate: float | None = None
) -> tuple[Feature, float]:
    """Return a CQT whose grid is moved to the recording's tuning, and that tuning in cents."""
    cents = estimate_tuning(cqt.cqt(audio, config, sample_rate=sample_rate))
    return cqt.cqt(audio, retuned(config, cents), sample_rate=sample_rate), cents


def pitches(spectrum: Feature) -> NDArray[np.float64]:
    """Return the pitch of each bin of a CQT, as continuous MIDI numbers."""
    return _checked(spectrum)[1]


def _checked(spectrum: Feature) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Return values (bins, T) and the pitch of each bin, MIDI."""
    values, frequencies = np.asarray(spectrum.values), spectrum.frequencies
    if frequencies is None or values.ndim != 3 or values.shape[:2] != (1, len(frequencies)):
        raise DataError(
            "spectrum",
            got=f"values of shape {values.shape}",
            expected="a CQT, values (1, bins, T) with their frequencies",
            hint="use dl101.signal.cqt.cqt; an HCQT or a chroma cannot be folded",
        )
    return values[0], hz_to_midi(frequencies)
