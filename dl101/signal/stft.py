"""The short-time Fourier transform, its inverse, and signals from magnitudes alone.

Conventions: audio is mono, ``(n_samples,)``, floating point; a spectrum is complex, ``(bins,
frames)``. As in ``features``, frame ``t`` is centred on sample ``t * hop_samples``, the signal
counts as zero outside its ends, and ``N`` samples give ``T = 1 + N // hop_samples`` frames. Bin
``k`` stands for ``k * sample_rate / fft_samples`` Hz. Phases count from the first sample of a
frame. Windows are *periodic*: the first ``L`` samples of a symmetric one of ``L + 1``, so that
shifted copies of a cosine window add up to a constant. Nothing is divided by the length of the
window or its sum: that is librosa's and torch's scale. float32 audio gives complex64.

References
----------
.. [1] D. Griffin, J. Lim, "Signal estimation from modified short-time Fourier transform", IEEE
   TASSP 32(2), 1984.
.. [2] N. Perraudin, P. Balazs, P. Søndergaard, "A fast Griffin-Lim algorithm", WASPAA 2013.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.fft
import scipy.signal
from numpy.typing import ArrayLike, NDArray

from dl101.errors import ConfigError, DataError, did_you_mean

# our name of a window to SciPy's
WINDOWS = {"rectangular": "boxcar", "hann": "hann", "hamming": "hamming", "blackman": "blackman"}


def window(name: str, n_samples: int) -> NDArray[np.float64]:
    """Return a periodic window, ``(n_samples,)``.

    Raises
    ------
    ConfigError
        If the name is not one of ``WINDOWS`` or there are fewer than two samples.
    """
    if name not in WINDOWS:
        raise ConfigError(
            "window",
            got=repr(name),
            expected="one of " + ", ".join(WINDOWS),
            hint=did_you_mean(name, WINDOWS),
        )
    if n_samples < 2:
        raise ConfigError(
            "window",
            got=f"a length of {n_samples} samples",
            expected="at least 2",
            hint="give the length in samples, for example 1024",
        )
    return scipy.signal.get_window(WINDOWS[name], n_samples, fftbins=True)


def stft(
    audio: ArrayLike,
    *,
    window_samples: int = 1024,
    hop_samples: int | None = None,
    window: str = "hann",
    fft_samples: int | None = None,
) -> NDArray[np.complexfloating]:
    """Return the short-time Fourier transform, ``(1 + fft_samples // 2, T)``.

    ``X[k, t] = sum_n w[n] x[n + t H - L // 2] exp(-2 pi i k n / N)``, for ``n`` from 0 to ``L - 1``
    with window length ``L``, hop ``H`` and FFT length ``N``.

    Parameters
    ----------
    audio
        Samples, ``(n_samples,)``.
    window_samples
        Length ``L`` of the window.
    hop_samples
        Distance ``H`` between frames; by default a quarter of the window.
    window
        Its shape, one of ``WINDOWS``.
    fft_samples
        Length ``N`` of the FFT, by default ``L``. A longer one appends zeros to each frame: more
        bins along the same curve, not a finer resolution.

    Raises
    ------
    ConfigError
        If a length or the window cannot be used.
    DataError
        If the audio is not one-dimensional and floating point, is empty or not finite.
    """
    array = np.asarray(audio)
    if array.ndim != 1 or array.size == 0 or array.dtype.kind != "f":
        raise DataError(
            "audio",
            got=f"{array.dtype} of shape {array.shape}",
            expected="floating-point samples in one dimension, at least one",
            hint="average the channels or pass audio[0]",
        )
    if not np.isfinite(array).all():
        raise DataError(
            "audio",
            got="values that are not finite",
            expected="numbers",
            hint="drop the track or repair the file",
        )
    hop = _hop(window_samples, hop_samples)
    n_fft = _fft_samples(window_samples, fft_samples)
    dtype = np.float32 if array.dtype.itemsize <= 4 else np.float64
    shape = _window(window, window_samples).astype(dtype)
    before = window_samples // 2
    n_frames = 1 + array.size // hop
    after = max(0, (n_frames - 1) * hop + window_samples - before - array.size)
    padded = np.pad(array.astype(dtype, copy=False), (before, after))
    frames = np.lib.stride_tricks.sliding_window_view(padded, window_samples)[::hop][:n_frames]
    return scipy.fft.rfft(frames * shape, n_fft, axis=1).T


def istft(
    spectrum: ArrayLike,
    *,
    hop_samples: int,
    n_samples: int,
    window: str = "hann",
    window_samples: int | None = None,
) -> NDArray[np.floating]:
    """Return the signal whose STFT is nearest to a spectrum, ``(n_samples,)``.

    Each frame goes back to time, is multiplied by the window once more, and is added in its place;
    the sum is divided by the sum of the squared windows. Of all signals this one has the STFT with
    the smallest squared distance to ``spectrum`` [1]_ (equation 6). If ``spectrum`` is the STFT of
    a signal, it is that signal.

    Parameters
    ----------
    spectrum
        Complex, ``(bins, frames)``; its FFT length is ``2 * (bins - 1)``, which must be even.
    hop_samples
        Distance between frames.
    n_samples
        Length of the result.
    window, window_samples
        As for the STFT; the length is by default that of the FFT.

    Raises
    ------
    ConfigError
        If the windows leave gaps, or a length cannot be used.
    DataError
        If the spectrum is not ``(bins, frames)``.
    """
    array = np.asarray(spectrum)
    if array.ndim != 2 or array.shape[0] < 2 or array.shape[1] == 0:
        raise DataError(
            "spectrum",
            got=f"shape {array.shape}",
            expected="(bins, frames)",
            hint="pass the complex spectrum of one track, as stft returns it",
        )
    n_fft = 2 * (array.shape[0] - 1)
    length = n_fft if window_samples is None else window_samples
    _hop(length, hop_samples)
    _fft_samples(length, n_fft)
    frames = scipy.fft.irfft(array.T, n_fft, axis=1)[:, :length]
    shape = _window(window, length).astype(frames.dtype)
    before = length // 2
    total = _overlap_add(frames * shape, hop_samples)
    weight = _overlap_add(np.broadcast_to(shape**2, frames.shape), hop_samples)
    inside = slice(before, before + n_samples)
    total, weight = total[inside], weight[inside]
    if weight.size < n_samples or weight.min() < 1e-8 * weight.max():
        raise ConfigError(
            "istft",
            got=f"{array.shape[1]} frames of {length} samples, {hop_samples} samples apart, that "
            f"leave a part of {n_samples} samples without weight",
            expected="windows that overlap everywhere",
            hint="use a hop of at most half the window, and the n_samples of the audio",
        )
    return total / weight


def overlap_sum(
    window_samples: int, hop_samples: int, *, window: str = "hann", power: float = 1
) -> NDArray[np.float64]:
    """Return what endless copies of a window, one every hop, add up to: one period, ``(hop,)``.

    ``s[n] = sum_t w[n - t H] ** power``. Power 1 is the sum of analysis windows, power 2 that of
    windows used twice, before the transform and after its inverse.
    """
    hop = _hop(window_samples, hop_samples)
    shape = _window(window, window_samples) ** power
    return np.pad(shape, (0, -window_samples % hop)).reshape(-1, hop).sum(axis=0)


def is_cola(
    window_samples: int,
    hop_samples: int,
    *,
    window: str = "hann",
    power: float = 1,
    tolerance: float = 1e-9,
) -> bool:
    """Return whether windows add up to a constant (COLA, constant overlap-add).

    Where they do, overlap-add needs no division but by one number.
    """
    total = overlap_sum(window_samples, hop_samples, window=window, power=power)
    return bool(np.ptp(total) <= tolerance * total.max())


def spectral_convergence(estimate: ArrayLike, magnitude: ArrayLike) -> float:
    """Return how far a spectrogram is from the one asked for: ``||E - M|| / ||M||``, 0 is best.

    Both are magnitudes of one shape; the norm is the root of the sum of squares. A silent
    estimate has 1.
    """
    wanted = np.asarray(magnitude, dtype=np.float64)
    return float(np.linalg.norm(estimate - wanted) / max(np.linalg.norm(wanted), 1e-300))


@dataclass(frozen=True, eq=False)
class PhaseSearch:
    """What :func:`griffin_lim` found.

    Attributes
    ----------
    audio
        The signal, ``(n_samples,)``.
    convergence
        Spectral convergence of the signal before each iteration and after the last,
        ``(n_iterations + 1,)``.
    """

    audio: NDArray[np.floating]
    convergence: NDArray[np.float64]


def griffin_lim(
    magnitude: ArrayLike,
    *,
    hop_samples: int,
    n_samples: int,
    window: str = "hann",
    n_iterations: int = 32,
    momentum: float = 0.99,
    initial_phase: ArrayLike | None = None,
    seed: int = 0,
) -> PhaseSearch:
    """Return a signal whose STFT has nearly the given magnitudes.

    From a first guess of the phases: go to the signal that fits best (``istft``), take its STFT,
    keep the phases and put the given magnitudes back [1]_. The fit never gets worse. With momentum
    each step goes on beyond its end, in the direction of the last change; it is faster, and comes
    nearer [2]_, but may get worse for a step.

    Parameters
    ----------
    magnitude
        ``(bins, frames)``, non-negative, of an STFT whose FFT is as long as its window.
    hop_samples, n_samples, window
        As for :func:`istft`.
    n_iterations
        How often.
    momentum
        0 is the original method of 1984.
    initial_phase
        In radians, ``(bins, frames)``; by default random, from ``seed``.
    seed
        Of the random phases.
    """
    wanted = np.asarray(magnitude)
    if initial_phase is None:
        initial_phase = np.random.default_rng([seed]).uniform(-np.pi, np.pi, wanted.shape)
    grid = {"hop_samples": hop_samples, "window": window}
    guess = wanted * np.exp(1j * np.asarray(initial_phase)).astype(
        np.complex64 if wanted.dtype == np.float32 else np.complex128
    )
    length, previous, convergence = 2 * (wanted.shape[0] - 1), 0.0, []
    for _ in range(n_iterations):
        audio = istft(guess, n_samples=n_samples, **grid)
        consistent = stft(audio, window_samples=length, **grid)
        convergence.append(spectral_convergence(np.abs(consistent), wanted))
        # librosa's form of the accelerated step
        ahead = consistent - momentum / (1 + momentum) * previous
        guess = wanted * (ahead / np.maximum(np.abs(ahead), np.finfo(ahead.real.dtype).tiny))
        previous = consistent
    audio = istft(guess, n_samples=n_samples, **grid)
    last = np.abs(stft(audio, window_samples=length, **grid))
    return PhaseSearch(audio, np.array([*convergence, spectral_convergence(last, wanted)]))


_window = window  # the function, where a parameter has its name


def _overlap_add(frames: NDArray, hop_samples: int) -> NDArray:
    """Return the sum of ``(frames, length)``, each ``hop_samples`` after the one before."""
    n_frames, length = frames.shape
    n_hops = -(-length // hop_samples)  # pieces of one hop that a frame spans
    pieces = np.pad(frames, ((0, 0), (0, n_hops * hop_samples - length)))
    pieces = pieces.reshape(n_frames, n_hops, hop_samples)
    total = np.zeros((n_frames + n_hops - 1, hop_samples), frames.dtype)
    for piece in range(n_hops):
        total[piece : piece + n_frames] += pieces[:, piece]
    return total.ravel()[: (n_frames - 1) * hop_samples + length]


def _hop(window_samples: int, hop_samples: int | None) -> int:
    hop = max(1, window_samples // 4) if hop_samples is None else hop_samples
    if hop != int(hop) or hop < 1:
        raise ConfigError(
            "hop_samples",
            got=hop,
            expected="a positive whole number of samples",
            hint="use a quarter of the window, for example 256 for 1024",
        )
    return int(hop)


def _fft_samples(window_samples: int, fft_samples: int | None) -> int:
    n_fft = window_samples if fft_samples is None else fft_samples
    if n_fft < window_samples:
        raise ConfigError(
            "fft_samples",
            got=f"{n_fft}, with a window of {window_samples}",
            expected="at least the length of the window",
            hint="leave fft_samples out",
        )
    return int(n_fft)
