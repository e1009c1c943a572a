"""What every feature is: an array with its axes; and the checks at the door of all of them.

Conventions: audio is mono, one-dimensional, floating point. Values come as ``(1, time)`` for the
waveform, ``(1, band, time)`` for log-mel and chroma, ``(harmonic, bin, time)`` for CQT and HCQT,
always float32. Frame ``t`` is centred on sample ``t * hop_samples``, and ``N`` samples give
``T = 1 + N // hop_samples`` frames; outside its ends the signal counts as zero. This is librosa's
grid, and magnitudes follow librosa's scale.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dl101.errors import DataError


@dataclass(frozen=True, eq=False)
class Feature:
    """An array computed from audio, with its axes.

    Parameters
    ----------
    values
        Array whose last axis is time; see the module's conventions.
    times
        Centre of each frame in seconds, shape ``(T,)``.
    frequencies
        Centre of each band in Hz, shape ``(F,)``; for an HCQT those of harmonic 1. None where
        there is no frequency axis (waveform) or it is cyclic (chroma).
    sample_rate
        Rate of the audio in Hz.
    hop_samples
        Distance between frames in samples.
    """

    values: NDArray[np.float32]
    times: NDArray[np.float64]
    frequencies: NDArray[np.float64] | None
    sample_rate: int
    hop_samples: int


def check_audio(audio: ArrayLike, sample_rate: float) -> NDArray[np.float32]:
    """Return audio as contiguous float32, or raise a :class:`DataError` that says what is wrong."""
    array = np.asarray(audio)
    if not (np.isscalar(sample_rate) and np.isfinite(sample_rate) and sample_rate > 0):
        raise DataError(
            "sample rate",
            got=sample_rate,
            expected="a positive number of samples per second",
            hint="pass the rate that the audio was read with",
        )
    if array.ndim != 1:
        raise DataError(
            "audio",
            got=f"an array of shape {array.shape}",
            expected="one dimension (mono)",
            hint="average the channels, or pass audio[0]",
        )
    if array.size == 0:
        raise DataError(
            "audio", got="no samples", expected="at least one", hint="check the time span read"
        )
    if array.dtype.kind != "f":
        raise DataError(
            "audio",
            got=f"values of type {array.dtype}",
            expected="floating-point values, usually within [-1, 1]",
            hint="divide 16-bit integers by 32768",
        )
    array = np.ascontiguousarray(array, dtype=np.float32)
    # A finite sum of squares proves that all are finite, without a temporary array.
    with np.errstate(over="ignore", invalid="ignore"):
        proved = np.isfinite(np.dot(array, array))
    if not proved and not np.isfinite(array).all():
        bad = int(np.argmin(np.isfinite(array)))
        raise DataError(
            "audio",
            got=f"{array[bad]} at sample {bad}",
            expected="finite values",
            hint="drop the track or repair the file",
        )
    return array


def frame_times(n_frames: int, hop_samples: int, sample_rate: float) -> NDArray[np.float64]:
    """Return the times of the centres of frames in seconds, ``(n_frames,)``."""
    return np.arange(n_frames) * (hop_samples / sample_rate)


def waveform(audio: ArrayLike, sample_rate: int) -> Feature:
    """Return the samples themselves, ``(1, time)``, with the time of each sample in seconds."""
    array = check_audio(audio, sample_rate)
    times = np.arange(array.size) / sample_rate
    return Feature(array[np.newaxis], times, None, sample_rate, 1)
