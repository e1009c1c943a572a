"""Mel filters, MFCC, and the way back from each of them.

Conventions: a power spectrogram is ``(..., bin, frame)`` with ``1 + window_samples // 2`` bins from
0 Hz to half the sample rate, a mel spectrogram ``(..., band, frame)``, coefficients ``(...,
coefficient, frame)``; all float64 unless the input is float32. Logarithms are natural. The mel
scale is that of :func:`dl101.units.hz_to_mel`: Slaney's formula unless another is asked for.

Mel-frequency cepstral coefficients [1]_ (MFCC) are the discrete cosine transform of the compressed
mel spectrum, along frequency: coefficient 0 is its mean (times a constant), the first ones its
coarse shape, the later ones ever finer detail.

References
----------
.. [1] S. Davis, P. Mermelstein, "Comparison of parametric representations for monosyllabic word
   recognition in continuously spoken sentences", IEEE Trans. ASSP 28(4), 1980.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dl101.config import (
    Count,
    HopSamples,
    checked,
)
from dl101.errors import ConfigError, DataError
from dl101.signal.feature import Feature, check_audio, frame_times
from dl101.units import hz_to_mel, mel_to_hz


def mel_filters(
    sample_rate: float,
    *,
    n_bands: int = 128,
    window_samples: int = 2048,
    formula: str = "slaney",
    equal_area: bool = True,
) -> NDArray[np.float64]:
    """Return the triangular filters, ``(n_bands, 1 + window_samples // 2)``.

    ``n_bands + 2`` points stand evenly on the mel scale from 0 Hz to half the sample rate. Filter
    ``b`` rises from point ``b`` to its peak at point ``b + 1`` and falls to zero at point
    ``b + 2``. Its height is 1 or, with ``equal_area``, ``2 / (width in Hz)``, so that white noise
    gives the same value in every band.

    Parameters
    ----------
    sample_rate
        In Hz.
    n_bands
        Number of filters.
    window_samples
        Length of the FFT.
    formula
        Of the mel scale, ``slaney`` or ``htk``.
    equal_area
        Whether every triangle has area 1 (over Hz).

    Raises
    ------
    ConfigError
        If there is no such formula, or a filter is so narrow that no bin of the FFT falls into it.
    """
    edges_hz = mel_edges_hz(sample_rate, n_bands=n_bands, formula=formula)[:, np.newaxis]
    bins_hz = np.arange(1 + window_samples // 2) * (sample_rate / window_samples)
    low, centre, high = edges_hz[:-2], edges_hz[1:-1], edges_hz[2:]
    rising = (bins_hz - low) / (centre - low)
    falling = (high - bins_hz) / (high - centre)
    filters = np.maximum(0.0, np.minimum(rising, falling))
    empty = np.flatnonzero(~filters.any(axis=1))
    if empty.size:
        raise ConfigError(
            "mel_filters",
            got=f"{n_bands} bands, of which {empty.size} (the first at "
            f"{edges_hz[empty[0] + 1, 0]:.0f} Hz) have no bin in a window of {window_samples}",
            expected="bands at least as wide as the distance between bins",
            hint="use fewer bands or a longer window",
        )
    return filters * (2.0 / (high - low)) if equal_area else filters


def mel_edges_hz(
    sample_rate: float, *, n_bands: int = 128, formula: str = "slaney"
) -> NDArray[np.float64]:
    """Return the ``n_bands + 2`` points between which the filters rise and fall, in Hz.

    The points ``[1:-1]`` are the centres of the bands.
    """
    highest = hz_to_mel(sample_rate / 2, formula=formula)
    return mel_to_hz(np.linspace(0.0, highest, n_bands + 2), formula=formula)


def power_from_mel(mel_power: ArrayLike, filters: ArrayLike) -> NDArray[np.float64]:
    """Return an estimate of the power spectrogram behind a mel spectrogram, ``(..., bin, frame)``.

    Bands are fewer than bins, so the inverse is not unique. This is the smallest answer (in the
    sense of least squares, by the pseudo-inverse), with its negative values set to zero.

    Parameters
    ----------
    mel_power
        Powers, not compressed, ``(..., band, frame)``.
    filters
        ``(band, bin)``, as from :func:`mel_filters`.
    """
    inverse = np.linalg.pinv(np.asarray(filters, dtype=np.float64))
    return np.maximum(0.0, inverse @ np.asarray(mel_power, dtype=np.float64))


def compress(x: ArrayLike, strength: float) -> NDArray:
    """Return ``log(1 + C x)`` with ``C = strength``; ``x`` itself for ``C = 0``."""
    _require_strength(strength)
    return np.log1p(strength * np.asarray(x)) if strength else np.asarray(x)


def expand(y: ArrayLike, strength: float) -> NDArray:
    """Return ``(exp(y) - 1) / C``: the inverse of :func:`compress`."""
    _require_strength(strength)
    return np.expm1(np.asarray(y)) / strength if strength else np.asarray(y)


def mfcc(log_mel: ArrayLike, n_coefficients: int = 20) -> NDArray:
    """Return the first coefficients of the cosine transform along bands.

    The transform is DCT-II with orthonormal rows: for ``B`` bands, coefficient ``n`` is
    ``s_n sum_b y[b] cos(pi n (b + 1/2) / B)`` with ``s_0 = sqrt(1 / B)`` and ``s_n = sqrt(2 / B)``.
    librosa does the same, to a spectrogram in decibels.

    Parameters
    ----------
    log_mel
        Compressed mel spectrogram, ``(..., band, frame)``.
    n_coefficients
        How many to keep, from coefficient 0 on.

    Raises
    ------
    DataError
        If there are fewer bands than coefficients, or no frame axis.
    """
    import scipy.fft

    log_mel = np.asarray(log_mel)
    n_bands = log_mel.shape[-2] if log_mel.ndim >= 2 else 0
    _require_coefficients(n_coefficients, n_bands)
    return scipy.fft.dct(log_mel, type=2, axis=-2, norm="ortho")[..., :n_coefficients, :]


def log_mel_from_mfcc(coefficients: ArrayLike, n_bands: int) -> NDArray:
    """Return the mel spectrogram ``(..., n_bands, frame)`` whose other coefficients are zero.

    With all ``n_bands`` coefficients this is the inverse of :func:`mfcc`; with fewer the result is
    a smooth version, without the detail that the missing ones describe.
    """
    import scipy.fft

    coefficients = np.asarray(coefficients)
    _require_coefficients(coefficients.shape[-2] if coefficients.ndim >= 2 else 0, n_bands)
    return scipy.fft.idct(coefficients, type=2, n=n_bands, axis=-2, norm="ortho")


def _require_strength(strength: float) -> None:
    if not (strength >= 0 and np.isfinite(strength)):
        raise ConfigError(
            "compression strength C",
            got=strength,
            expected="a number that is not negative",
            hint="0 means no logarithm; the usual value is 10000",
        )


def _require_coefficients(n_coefficients: int, n_bands: int) -> None:
    if not 1 <= n_coefficients <= n_bands:
        raise DataError(
            "mfcc",
            got=f"{n_coefficients} coefficients for {n_bands} bands",
            expected="an array (..., band, frame), and at most as many coefficients as bands",
            hint="the axis before the last is frequency",
        )


def log_mel(
    audio: ArrayLike,
    sample_rate: int,
    *,
    n_bands: int = 128,
    window_samples: int = 2048,
    hop_samples: int = 512,
) -> Feature:
    """Return the log-mel spectrogram ``log(1 + 10000 x)``, ``(1, n_bands, T)``.

    ``x`` is the power spectrogram (Hann window) summed in bands that are evenly spaced on the mel
    scale, as ``librosa.feature.melspectrogram`` gives it. The logarithm compresses loudness, and
    its constants keep silence at zero.

    Parameters
    ----------
    audio
        Samples, shape ``(n_samples,)``.
    sample_rate
        Rate in Hz.
    n_bands
        Number of mel bands between 0 Hz and half the sample rate.
    window_samples
        Length of the analysis window, and of its FFT.
    hop_samples
        Distance between frames.

    Raises
    ------
    DataError
        If the audio or its rate cannot be used.
    ConfigError
        If a number of bands or samples is none.
    """
    import librosa

    array = check_audio(audio, sample_rate)
    n_bands = checked(Count, n_bands, "log_mel: n_bands")
    window_samples = checked(Count, window_samples, "log_mel: window_samples")
    hop_samples = checked(HopSamples, hop_samples, "log_mel: hop_samples")
    # librosa warns when a window is longer than the signal; zeros change nothing but that.
    padded = np.pad(array, (0, max(0, window_samples - array.size)))
    power = librosa.feature.melspectrogram(
        y=padded, sr=sample_rate, n_fft=window_samples, hop_length=hop_samples, n_mels=n_bands
    )[:, : 1 + array.size // hop_samples]
    values = compress(power, 10_000.0).astype(np.float32)[np.newaxis]
    frequencies = librosa.mel_frequencies(n_bands + 2, fmin=0.0, fmax=sample_rate / 2)[1:-1]
    times = frame_times(values.shape[-1], hop_samples, sample_rate)
    return Feature(values, times, frequencies, sample_rate, hop_samples)
