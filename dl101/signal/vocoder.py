"""Longer or higher: time stretching with a phase vocoder [1]_, and what it makes possible.

Conventions: audio is mono ``(time,)`` and comes back as float32; ``stretch`` is the new duration
over the old, so 2 is twice as long and half as fast; semitones are positive upwards.

References
----------
.. [1] J. L. Flanagan, R. M. Golden, "Phase vocoder", Bell System Technical Journal 45(9), 1966.
.. [2] J. Laroche, M. Dolson, "Improved phase vocoder time-scale modification of audio", IEEE
   Transactions on Speech and Audio Processing 7(3), 1999.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import scipy.fft
import scipy.signal
from numpy.typing import ArrayLike, NDArray

from dl101.errors import ConfigError, DataError
from dl101.signal.stft import istft, stft
from dl101.units import cents_to_ratio

WINDOW_SAMPLES = 2048  # 93 ms at 22 050 Hz
Audio = NDArray[np.float32]
_LARGEST_TERM = 1000  # of the fraction that stands for a ratio of frequencies: half a cent off


def time_stretch(
    audio: ArrayLike, stretch: float, *, window_samples: int = WINDOW_SAMPLES, locked: bool = True
) -> Audio:
    """Return audio that lasts ``stretch`` times as long, at the same pitch: a phase vocoder [1]_.

    Frame ``u`` of the result stands for the place ``u / stretch`` of the STFT of the audio; see
    :func:`vocode`.

    Parameters
    ----------
    audio
        Mono, ``(time,)``.
    stretch
        New duration over old.
    window_samples
        Of the STFT; the hop is a quarter. Long windows suit tones, short ones drums.
    locked
        Whether the phases around a peak of the spectrum stay together.

    Returns
    -------
    Audio
        ``(round(time * stretch),)``.
    """
    samples = checked_audio(audio)
    require_positive("stretch", stretch)
    if stretch == 1:
        return samples.copy()
    hop = window_samples // 4
    # two frames of silence at the end: every place has a frame after it
    spectrum = stft(np.pad(samples, (0, 2 * hop)), window_samples=window_samples, hop_samples=hop)
    n_samples = max(1, round(samples.size * stretch))
    places = np.arange(1 + n_samples // hop) / stretch
    stretched = vocode(spectrum, places, locked=locked)
    return istft(stretched, hop_samples=hop, n_samples=n_samples).astype(np.float32)


def vocode(
    spectrum: ArrayLike, places: ArrayLike, *, locked: bool = True
) -> NDArray[np.complexfloating]:
    """Return the frames of an STFT at fractional places, with phases that go on smoothly.

    With ``t + a`` the place of frame ``u``, ``t`` whole: ``|Y[k, u]| = (1 - a) |X[k, t]| +
    a |X[k, t + 1]|`` and ``arg Y[k, u + 1] = arg Y[k, u] + arg X[k, t + 1] - arg X[k, t]``. So
    every sinusoid goes on at its own frequency. Both spectra have one hop: no phase has to be
    unwrapped.

    Bins that belong to one sinusoid can come apart, and the sound gets hollow ("phasiness"). With
    ``locked`` (identity phase locking [2]_) the rule holds for the peaks of ``|Y[:, u]|`` alone,
    bins larger than two neighbours on both sides; a bin nearest to the peak ``p`` gets
    ``arg Y[p, u] + arg X[k, t] - arg X[p, t]``.
    """
    X = np.asarray(spectrum)
    places = np.asarray(places, dtype=np.float64)
    t = np.clip(np.floor(places).astype(int), 0, X.shape[1] - 2)
    a = np.clip(places - t, 0.0, 1.0).astype(X.real.dtype)
    magnitude, angle = np.abs(X), np.angle(X).astype(np.float64)
    advance = np.diff(angle, axis=1)[:, t]
    magnitude = (1 - a) * magnitude[:, t] + a * magnitude[:, t + 1]
    if locked:
        peak, found = _nearest_peak(magnitude), angle[:, t]
        phase = np.empty_like(advance)
        phase[:, 0] = found[:, 0]
        for u in range(1, len(places)):
            p = peak[:, u]
            turned = phase[:, u - 1] + advance[:, u - 1] - found[:, u]
            phase[:, u] = found[:, u] + turned[p]
    else:
        phase = angle[:, t[:1]] + np.cumsum(advance, axis=1) - advance
    return (magnitude * np.exp(1j * phase)).astype(X.dtype)


def _nearest_peak(magnitude: NDArray) -> NDArray[np.int64]:
    """Return for each bin ``(bins, frames)`` the nearest local maximum of its frame."""
    n_bins = len(magnitude)
    padded = np.pad(magnitude, ((2, 2), (0, 0)), constant_values=-1.0)
    around = [padded[2 + step : 2 + step + n_bins] for step in (-2, -1, 1, 2)]
    is_peak = np.all([magnitude > other for other in around], axis=0)
    is_peak[0] |= ~is_peak.any(axis=0)  # a silent frame has none
    bins = np.arange(n_bins)[:, None]
    below = np.maximum.accumulate(np.where(is_peak, bins, -n_bins), axis=0)
    above = np.minimum.accumulate(np.where(is_peak, bins, 2 * n_bins)[::-1], axis=0)[::-1]
    return np.where(bins - below <= above - bins, below, above)


def change_speed(audio: ArrayLike, stretch: float) -> Audio:
    """Return audio as from a tape at another speed: time by ``stretch``, pitch with it.

    Pitch moves by ``-12 log2(stretch)`` semitones. This is resampling alone, by a fraction near
    ``stretch``.
    """
    samples = checked_audio(audio)
    ratio = Fraction(require_positive("stretch", stretch)).limit_denominator(_LARGEST_TERM)
    return _resampled(samples, ratio)[: max(1, round(samples.size * stretch))]


def pitch_shift(
    audio: ArrayLike, semitones: float, *, window_samples: int = WINDOW_SAMPLES
) -> Audio:
    """Return audio moved in pitch, as long as before: stretched in time, then resampled [2]_.

    With ``r = 2 ** (semitones / 12)``: the vocoder makes it ``r`` times as long, and playing that
    ``r`` times as fast restores the length and multiplies all frequencies by ``r``. The *formants*,
    resonances of a body or a mouth, move along, which real instruments' do not.
    """
    samples = checked_audio(audio)
    if semitones == 0:
        return samples.copy()
    ratio = Fraction(float(cents_to_ratio(100.0 * semitones))).limit_denominator(_LARGEST_TERM)
    longer = time_stretch(samples, float(ratio), window_samples=window_samples)
    shifted = _resampled(longer, 1 / ratio)[: samples.size]
    return np.pad(shifted, (0, samples.size - shifted.size))


def _resampled(samples: Audio, ratio: Fraction) -> Audio:
    """Return audio with ``ratio`` times as many samples."""
    return scipy.signal.resample_poly(samples, ratio.numerator, ratio.denominator).astype(
        np.float32
    )


def checked_audio(audio: ArrayLike) -> Audio:
    """Return mono audio as float32, or raise a DataError."""
    samples = np.asarray(audio)
    if samples.ndim != 1 or samples.size == 0 or samples.dtype.kind != "f":
        raise DataError(
            "audio",
            got=f"{samples.dtype} of shape {samples.shape}",
            expected="floating-point samples in one dimension, at least one",
            hint="average the channels or pass audio[0]; divide 16-bit integers by 32768",
        )
    return samples.astype(np.float32, copy=False)


def require_positive(name: str, value: float) -> float:
    """Return a value that is positive and finite, or raise a ConfigError."""
    if not (np.isfinite(value) and value > 0):
        raise ConfigError(
            name, got=value, expected="a positive number", hint="1 leaves a length as it is"
        )
    return value
