"""What happens to a waveform before a network sees it: sampling, number of bits, level.

Conventions. Full scale is the interval from -1 to 1. Levels in dBFS (decibels relative to full
scale) are ``20 log10`` of an amplitude: a square wave of full scale has an RMS level of 0 dBFS, a
sine of full scale of -3.01 dBFS. (AES17 adds 3.01 dB, so that the sine reads 0.) Functions take
NumPy arrays and compute in float64. Quantisers give floats again, on the grid of their codes.

References
----------
.. [1] ITU-T Recommendation G.711, "Pulse code modulation (PCM) of voice frequencies", 1988.
.. [2] A. van den Oord and others, "WaveNet: a generative model for raw audio", 2016.
.. [3] S. P. Lipshitz, R. A. Wannamaker, J. Vanderkooy, "Quantization and dither: a theoretical
   survey", JAES 40(5), 1992.
.. [4] ITU-R Recommendation BS.1770-5, "Algorithms to measure audio programme loudness and
   true-peak audio level", 2023.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dl101.errors import DataError
from dl101.units import amplitude_to_db, db_to_amplitude

# Of the two filters of BS.1770, as the analogue prototypes whose bilinear transform at 48 kHz gives
# the coefficients printed in its tables 1 and 2; thus they can be made for any sample rate.
_SHELF_HZ, _SHELF_GAIN_DB, _SHELF_Q = 1681.974450955533, 3.999843853973347, 0.7071752369554196
_SHELF_BAND_EXPONENT = 0.4996667741545416
_HIGH_PASS_HZ, _HIGH_PASS_Q = 38.13547087602444, 0.5003270373238773
_LOUDNESS_OFFSET = -0.691  # cancels the gain of the filters at 997 Hz
BLOCK_S = 0.4
STEP_S = 0.1
ABSOLUTE_GATE_LUFS = -70.0
RELATIVE_GATE_LU = -10.0


def alias_hz(frequency_hz: ArrayLike, sample_rate: float) -> NDArray[np.float64]:
    """Return the frequency at which a sampled sine is heard, between 0 and ``sample_rate / 2``.

    The distance to the nearest multiple of the sample rate: ``|f - r round(f / r)|``.
    """
    frequency_hz = np.asarray(frequency_hz, dtype=np.float64)
    return np.abs(frequency_hz - sample_rate * np.round(frequency_hz / sample_rate))


def quantise(
    audio: ArrayLike,
    n_bits: int,
    *,
    dither: Literal["none", "triangular"] = "none",
    rng: np.random.Generator | None = None,
) -> NDArray[np.float64]:
    """Round to ``2**n_bits`` equally spaced values, the multiples of ``2**(1 - n_bits)``.

    Parameters
    ----------
    audio
        Any shape; what lies beyond full scale is clipped. The highest value is one step below 1,
        as in a WAV file.
    n_bits
        From 1 to 24.
    dither
        ``"triangular"`` adds, before rounding, the sum of two uniform noises of one step each:
        mean and power of the error then no longer depend on the signal [3]_.
    rng
        Draws the dither; required with it.

    Raises
    ------
    DataError
        If the number of bits is out of range, or a generator is missing.
    """
    if not 1 <= n_bits <= 24:
        raise DataError(
            "quantise: n_bits", got=n_bits, expected="1 to 24", hint="16 is a compact disc's"
        )
    step = 2.0 ** (1 - n_bits)
    scaled = np.asarray(audio, dtype=np.float64) / step
    if dither == "triangular":
        if rng is None:
            raise DataError(
                "quantise: dither",
                got="no generator",
                expected="a NumPy generator, so that the result can be repeated",
                hint="pass rng=np.random.default_rng([seed])",
            )
        scaled = scaled + rng.uniform(-0.5, 0.5, (2, *scaled.shape)).sum(axis=0)
    elif dither != "none":
        raise DataError(
            "quantise: dither",
            got=repr(dither),
            expected="'none' or 'triangular'",
            hint="choose one of the two",
        )
    highest = 2 ** (n_bits - 1)
    return step * np.clip(np.floor(scaled + 0.5), -highest, highest - 1)


def mu_law_encode(audio: ArrayLike, n_codes: int = 256) -> NDArray[np.int64]:
    """Return the mu-law code of each sample, from 0 to ``n_codes - 1``; silence is ``n_codes / 2``.

    ``f(x) = sign(x) ln(1 + mu |x|) / ln(1 + mu)`` with ``mu = n_codes - 1`` squeezes the range;
    its result, from -1 to 1, is rounded to codes [1]_ [2]_. What lies beyond full scale is clipped.
    """
    mu = n_codes - 1
    x = np.clip(np.asarray(audio, dtype=np.float64), -1.0, 1.0)
    squeezed = np.sign(x) * np.log1p(mu * np.abs(x)) / np.log1p(mu)
    return np.floor((squeezed + 1) / 2 * mu + 0.5).astype(np.int64)


def mu_law_decode(codes: ArrayLike, n_codes: int = 256) -> NDArray[np.float64]:
    """Return the samples that mu-law codes stand for: the inverse of :func:`mu_law_encode`.

    Raises
    ------
    DataError
        If a code is not between 0 and ``n_codes - 1``.
    """
    mu = n_codes - 1
    codes = np.asarray(codes)
    if codes.size and (codes.min() < 0 or codes.max() > mu):
        raise DataError(
            "mu_law_decode",
            got=f"codes from {codes.min()} to {codes.max()}",
            expected=f"0 to {mu}",
            hint="decode with the number of codes that was used to encode",
        )
    squeezed = 2 * codes.astype(np.float64) / mu - 1
    return np.sign(squeezed) * np.expm1(np.abs(squeezed) * np.log1p(mu)) / mu


def snr_db(reference: ArrayLike, estimate: ArrayLike) -> float:
    """Return the signal-to-noise ratio: the power of ``reference`` over that of the difference."""
    reference = np.asarray(reference, dtype=np.float64)
    error = np.asarray(estimate, dtype=np.float64) - reference
    power, lost = np.mean(reference**2), np.mean(error**2)
    return float(10 * np.log10(power / lost)) if lost > 0 else float("inf")


def rms(audio: ArrayLike) -> float:
    """Return the root of the mean square, the effective amplitude."""
    return float(np.sqrt(np.mean(np.asarray(audio, dtype=np.float64) ** 2)))


def level_dbfs(audio: ArrayLike) -> float:
    """Return the RMS level in dBFS, no lower than -120."""
    return float(amplitude_to_db(rms(audio)))


def crest_factor_db(audio: ArrayLike) -> float:
    """Return how far the highest sample stands above the RMS, in decibels; 3.01 for a sine."""
    peak = np.max(np.abs(np.asarray(audio, dtype=np.float64)))
    return float(amplitude_to_db(peak) - amplitude_to_db(rms(audio)))


def to_level(audio: ArrayLike, level_db: float) -> NDArray[np.float64]:
    """Return audio at an RMS level in dBFS; silence (below -120 dBFS) stays as it is."""
    audio = np.asarray(audio, dtype=np.float64)
    effective = rms(audio)
    if effective < db_to_amplitude(-120.0):
        return audio.copy()
    return audio * (db_to_amplitude(level_db) / effective)


def k_weighting(sample_rate: float) -> NDArray[np.float64]:
    """Return the K-weighting of BS.1770 [4]_ as two second-order sections, shape (2, 6).

    A shelf lifts what is above about 1.5 kHz by 4 dB, as a head does; a high-pass takes away what
    is below about 40 Hz. At 48 kHz the coefficients are the recommendation's; at lower rates the
    bilinear transform bends the shelf a little (at 22 050 Hz a sine of 997 Hz reads 0.03 dB more).
    """
    k = np.tan(np.pi * _SHELF_HZ / sample_rate)
    high = db_to_amplitude(_SHELF_GAIN_DB)
    band = high**_SHELF_BAND_EXPONENT
    norm = 1 + k / _SHELF_Q + k * k
    shelf = [
        (high + band * k / _SHELF_Q + k * k) / norm,
        2 * (k * k - high) / norm,
        (high - band * k / _SHELF_Q + k * k) / norm,
        1.0,
        2 * (k * k - 1) / norm,
        (1 - k / _SHELF_Q + k * k) / norm,
    ]
    k = np.tan(np.pi * _HIGH_PASS_HZ / sample_rate)
    norm = 1 + k / _HIGH_PASS_Q + k * k
    high_pass = [
        1.0,
        -2.0,
        1.0,
        1.0,
        2 * (k * k - 1) / norm,
        (1 - k / _HIGH_PASS_Q + k * k) / norm,
    ]
    return np.array([shelf, high_pass], dtype=np.float64)


def loudness_lufs(audio: ArrayLike, sample_rate: float) -> float:
    """Return the integrated loudness of BS.1770 [4]_ in LUFS (the same as LKFS).

    The power of the K-weighted signal in blocks of 400 ms, a new one every 100 ms, summed over the
    channels. Blocks below -70 LUFS, and then those more than 10 LU below the mean of the others,
    do not count: rests do not make a piece softer.

    Parameters
    ----------
    audio
        ``(time,)`` or ``(channels, time)`` with one or two channels, at least 400 ms.
    sample_rate
        In Hz.

    Returns
    -------
    float
        ``-inf`` when every block is below -70 LUFS.

    Raises
    ------
    DataError
        If the shape does not fit or the sound is too short.
    """
    from scipy.signal import sosfilt

    channels = np.atleast_2d(np.asarray(audio, dtype=np.float64))
    if channels.ndim != 2 or channels.shape[0] > 2:
        raise DataError(
            "loudness_lufs",
            got=f"shape {np.shape(audio)}",
            expected="(time,) or (channels, time) with one or two channels",
            hint="put the channels first",
        )
    block, step = round(BLOCK_S * sample_rate), round(STEP_S * sample_rate)
    if channels.shape[1] < block:
        raise DataError(
            "loudness_lufs",
            got=f"{channels.shape[1] / sample_rate:.3f} s",
            expected=f"at least {BLOCK_S} s, one block",
            hint="measure a longer stretch",
        )
    weighted = sosfilt(k_weighting(sample_rate), channels, axis=-1)
    energy = np.concatenate([[0.0], np.cumsum(np.sum(weighted**2, axis=0))])
    starts = np.arange(0, channels.shape[1] - block + 1, step)
    power = np.maximum(energy[starts + block] - energy[starts], 0.0) / block
    heard = power > _power(ABSOLUTE_GATE_LUFS)
    if not heard.any():
        return float("-inf")
    gate = power[heard].mean() * 10 ** (RELATIVE_GATE_LU / 10)
    return float(_LOUDNESS_OFFSET + 10 * np.log10(power[heard & (power > gate)].mean()))


def _power(lufs: float) -> float:
    return 10 ** ((lufs - _LOUDNESS_OFFSET) / 10)
