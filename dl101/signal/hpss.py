"""Parts steady tones from clicks in a spectrogram by running medians.

A steady tone is a horizontal line in a spectrogram (it lasts), a drum stroke a vertical one (it has
all frequencies at once). A running median along time keeps what lasts and drops what is short; one
along frequency keeps what is broad and drops lines [1]_. The two smoothed pictures become soft
masks that share out each cell of the spectrogram [2]_.

Conventions: magnitudes are ``(frequency, time)``; running medians have odd lengths, in frames and
in bins, and mirror the picture at its edges. Masks lie between 0 and 1, and with a margin of 1
they add up to 1.

References
----------
.. [1] D. Fitzgerald, "Harmonic/percussive separation using median filtering", DAFx 2010.
.. [2] J. Driedger, M. Müller, S. Disch, "Extending harmonic-percussive separation of audio
   signals", ISMIR 2014 (the margin).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dl101.errors import ConfigError, DataError

LENGTH_FRAMES = 31
LENGTH_BINS = 31
WINDOW_SAMPLES = 2048
HOP_SAMPLES = 512


def running_median(values: ArrayLike, length: int, *, axis: int) -> NDArray:
    """Return the median of ``length`` neighbours around each cell, along one axis.

    Parameters
    ----------
    values
        Array of any shape; it is mirrored at the edges (``abc`` continues as ``cba``).
    length
        Odd number of cells.
    axis
        Along which axis the window runs.

    Raises
    ------
    ConfigError
        If the length is not a positive odd number.
    """
    import scipy.ndimage

    if length < 1 or length % 2 == 0:
        raise ConfigError(
            "length of a running median",
            got=length,
            expected="a positive odd number",
            hint="an odd window has a middle: take one more or one less",
        )
    rows = np.moveaxis(np.asarray(values), axis, -1)
    margin = length // 2
    padding = [(0, 0)] * (rows.ndim - 1) + [(margin, margin)]
    padded = np.pad(rows, padding, mode="symmetric")
    # All rows in one line: SciPy has a quick filter for one dimension, and the margins keep the
    # rows apart.
    line = scipy.ndimage.median_filter(padded.ravel(), size=length).reshape(padded.shape)
    return np.moveaxis(line[..., margin : margin + rows.shape[-1]], -1, axis)


def masks(
    magnitudes: ArrayLike,
    *,
    length_frames: int = LENGTH_FRAMES,
    length_bins: int = LENGTH_BINS,
    margin: float = 1.0,
) -> tuple[NDArray, NDArray]:
    """Return the masks of what lasts and of what is broad.

    With ``H`` the median along time and ``P`` along frequency, the first mask is
    ``H² / (H² + (margin P)²)`` and the second ``P² / (P² + (margin H)²)``.

    Parameters
    ----------
    magnitudes
        Spectrogram ``(frequency, time)``, not negative.
    length_frames, length_bins
        Odd lengths of the medians along time and along frequency.
    margin
        How many times stronger one must be than the other; beyond 1 a rest remains that is in
        neither.

    Raises
    ------
    ConfigError
        If a length is not odd or the margin is below 1.
    DataError
        If the magnitudes are not a matrix, or are negative or not finite.
    """
    spectrum = np.asarray(magnitudes)
    if spectrum.ndim != 2 or spectrum.dtype.kind != "f":
        raise DataError(
            "magnitudes",
            got=f"shape {spectrum.shape} of {spectrum.dtype}",
            expected="floating-point values (frequency, time)",
            hint="take the absolute values of one channel's spectrogram",
        )
    if not (np.isfinite(spectrum).all() and (spectrum >= 0).all()):
        raise DataError(
            "magnitudes",
            got="a value that is negative or not finite",
            expected="finite values of at least 0",
            hint="take absolute values, and no logarithm before this",
        )
    if not margin >= 1:
        raise ConfigError(
            "margin", got=margin, expected="at least 1", hint="1 shares everything out"
        )
    lasting = running_median(spectrum, length_frames, axis=1)
    broad = running_median(spectrum, length_bins, axis=0)
    return _soft_mask(lasting, margin * broad), _soft_mask(broad, margin * lasting)


def _soft_mask(wanted: NDArray, other: NDArray) -> NDArray:
    """Return ``wanted² / (wanted² + other²)``, and a half where both are zero."""
    larger = np.maximum(wanted, other)
    half = np.full_like(larger, 0.5)
    # divided by the larger first: the squares of small numbers would vanish
    a = np.divide(wanted, larger, out=half.copy(), where=larger > 0) ** 2
    b = np.divide(other, larger, out=half, where=larger > 0) ** 2
    return a / (a + b)


def separate(
    audio: ArrayLike,
    sample_rate: int,
    *,
    length_frames: int = LENGTH_FRAMES,
    length_bins: int = LENGTH_BINS,
    margin: float = 1.0,
    window_samples: int = WINDOW_SAMPLES,
    hop_samples: int = HOP_SAMPLES,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the harmonic and the percussive part of audio, ``(samples,)`` each.

    With a margin of 1 they add up to the audio. At 22 050 Hz the usual lengths stand for 0.7 s and
    for 330 Hz.

    Parameters
    ----------
    audio
        Mono samples, ``(samples,)``.
    sample_rate
        In Hz.
    length_frames, length_bins, margin
        See :func:`masks`.
    window_samples, hop_samples
        Of the Hann window of the short-time Fourier transform.

    Raises
    ------
    DataError
        If the audio is not one-dimensional, not finite or empty.
    """
    from scipy.signal import ShortTimeFFT
    from scipy.signal.windows import hann

    samples = np.asarray(audio, dtype=np.float32)
    if samples.ndim != 1 or samples.size == 0 or not np.isfinite(samples).all():
        raise DataError(
            "audio",
            got=f"shape {samples.shape}, or values that are not finite",
            expected="one dimension of finite samples (mono)",
            hint="average the channels, and check what was read",
        )
    # a Hann window needs one hop more than it is long to have a picture at all
    padded = np.pad(samples, (0, max(0, window_samples - samples.size)))
    transform = ShortTimeFFT(hann(window_samples, sym=False), hop_samples, sample_rate)
    spectrum = transform.stft(padded)
    found = masks(
        np.abs(spectrum).astype(np.float32),
        length_frames=length_frames,
        length_bins=length_bins,
        margin=margin,
    )
    parts = (transform.istft(mask * spectrum, k1=padded.size) for mask in found)
    harmonic, percussive = (part[: samples.size].astype(np.float32) for part in parts)
    return harmonic, percussive
