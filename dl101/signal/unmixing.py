"""Takes a mixture apart without having learned anything: by repetition, by parts, by independence.

Three ideas of what a source is, beside the one of :mod:`dl101.signal.hpss`, that it lasts or is
broad. REPET [1]_: accompaniment comes again every bar, a singer doesn't. Non-negative matrix
factorisation [2]_ [3]_: a spectrogram is a few spectra, each louder and softer over time.
Independent component analysis [4]_: microphones hear other mixtures of the same sources, and
sources know nothing of each other.

Conventions: audio is (samples,), for ICA (channels, samples); spectrograms are (bins, frames).
Parts add up to what was taken apart.

References
----------
.. [1] Z. Rafii, B. Pardo, "REpeating Pattern Extraction Technique (REPET)", IEEE TASLP 21(1), 2013.
.. [2] D. D. Lee, H. S. Seung, "Algorithms for non-negative matrix factorization", NIPS 2000.
.. [3] P. Smaragdis, J. C. Brown, "Non-negative matrix factorization for polyphonic music
   transcription", WASPAA 2003.
.. [4] A. Hyvärinen, E. Oja, "Independent component analysis: algorithms and applications", Neural
   Networks 13, 2000.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dl101.errors import ConfigError, DataError
from dl101.signal.stft import istft, stft

WINDOW_SAMPLES = 2048
PERIOD_S = (0.8, 8.0)  # of a bar or two
HIGH_PASS_HZ = 100.0  # nobody sings below
_TINY = 1e-12

# ---- repetition --------------------------------------------------------------------------------


def beat_spectrum(magnitudes: ArrayLike) -> NDArray[np.float64]:
    """Return how alike a spectrogram is to itself, later: (frames,) lags, 1 at lag 0.

    The autocorrelation of the power in each bin, over the number of frames that overlap, the mean
    over bins (Rafii and Pardo, Eqs. 1-3).

    Parameters
    ----------
    magnitudes
        (bins, frames).
    """
    power = np.square(np.asarray(magnitudes, dtype=np.float64))
    n = power.shape[1]
    spectrum = np.fft.rfft(power, 2 * n, axis=1)
    correlation = np.fft.irfft(np.abs(spectrum) ** 2, 2 * n, axis=1)[:, :n].mean(axis=0)
    correlation = correlation / (n - np.arange(n))
    return correlation / max(correlation[0], _TINY)


def repeating_period(spectrum: NDArray, least: int, most: int) -> int:
    """Return the lag in frames at which a beat spectrum is highest.

    It lies between ``least`` and ``most``, and is at most a third of the piece, so that there are
    three repetitions for a median.
    """
    most = min(most, len(spectrum) // 3)
    if not 1 <= least <= most:
        raise DataError(
            "repeating period",
            got=f"{len(spectrum)} frames, and periods from {least} to {most} frames",
            expected="a piece at least three times as long as the shortest period",
            hint="take a longer piece",
        )
    return least + int(np.argmax(spectrum[least : most + 1]))


def repeating_mask(magnitudes: ArrayLike, period: int) -> NDArray[np.float64]:
    """Return the share of each cell that comes again every ``period`` frames, (bins, frames).

    The model is the median over repetitions; what is louder than it is not of it, what is softer
    is all of it: ``min(model, magnitude) / magnitude``.
    """
    magnitudes = np.asarray(magnitudes, dtype=np.float64)
    n_bins, n_frames = magnitudes.shape
    n_times = -(-n_frames // period)
    padded = np.full((n_bins, n_times * period), np.nan)
    padded[:, :n_frames] = magnitudes
    model = np.nanmedian(padded.reshape(n_bins, n_times, period), axis=1)
    model = np.tile(model, n_times)[:, :n_frames]
    return np.minimum(model, magnitudes) / np.maximum(magnitudes, _TINY)


def repet(
    audio: ArrayLike, sample_rate: int, *, window_samples: int = WINDOW_SAMPLES
) -> tuple[NDArray, NDArray]:
    """Return what repeats and what doesn't, ``(samples,)`` each; they add up to the audio.

    Parameters
    ----------
    audio
        (samples,), floating point, at least 2.4 s.
    sample_rate
        In Hz.
    window_samples
        Of the short-time Fourier transform; frames are a quarter of it apart.
    """
    audio = np.asarray(audio)
    hop = window_samples // 4
    spectrum = stft(audio, window_samples=window_samples, hop_samples=hop)
    magnitudes = np.abs(spectrum)
    least, most = (round(s * sample_rate / hop) for s in PERIOD_S)
    period = repeating_period(beat_spectrum(magnitudes), least, most)
    mask = repeating_mask(magnitudes, period)
    mask[: 1 + int(HIGH_PASS_HZ * window_samples / sample_rate)] = 1.0
    again = istft(mask * spectrum, hop_samples=hop, n_samples=len(audio))
    return again, audio - again


# ---- parts -------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Factors:
    """A spectrogram as ``bases @ activations``.

    Attributes
    ----------
    bases
        (bins, components): spectra that add up to 1.
    activations
        (components, frames): how loud each is.
    divergence
        The generalised Kullback-Leibler divergence before the first iteration and after each.
    """

    bases: NDArray[np.float64]
    activations: NDArray[np.float64]
    divergence: NDArray[np.float64]


def kullback_leibler(found: NDArray, wanted: NDArray) -> float:
    """Return the sum of ``v log(v / f) - v + f`` over the cells, with ``0 log 0 = 0``."""
    ratio = np.maximum(wanted, _TINY) / np.maximum(found, _TINY)
    return float(np.sum(wanted * np.log(ratio) - wanted + found))


def nmf(
    magnitudes: ArrayLike,
    n_components: int,
    *,
    n_iterations: int = 100,
    seed: int = 0,
    bases: NDArray | None = None,
    activations: NDArray | None = None,
) -> Factors:
    """Return the factors of a spectrogram by multiplicative updates (Lee and Seung, Theorem 2).

    Each step multiplies one factor by what the other makes of the ratio of the spectrogram ``V``
    and its approximation::

        W *= (V / (W H)) @ H.T / sum(H, over frames)
        H *= W.T @ (V / (W H)) / sum(W, over bins)

    A factor never becomes negative, and the divergence never larger.

    Parameters
    ----------
    magnitudes
        (bins, frames), not negative.
    n_components
        How many spectra.
    n_iterations
        Of both updates.
    seed
        Of the factors to begin with.
    bases, activations
        Begin with these.

    Raises
    ------
    DataError
        If the magnitudes are not a matrix, or one is negative or not finite.
    ConfigError
        If there is no component, or the first factors don't fit.
    """
    v = np.asarray(magnitudes, dtype=np.float64)
    if v.ndim != 2 or not v.size or not np.isfinite(v).all() or v.min() < 0:
        raise DataError(
            "magnitudes",
            got=f"shape {v.shape}, or values that are negative or not finite",
            expected="(bins, frames) of at least 0",
            hint="take absolute values, and no logarithm before this",
        )
    rng = np.random.default_rng([seed])
    level = np.sqrt(max(v.mean(), _TINY) / max(n_components, 1))
    w = level * rng.uniform(0.5, 1.5, (len(v), n_components)) if bases is None else bases.copy()
    h = level * rng.uniform(0.5, 1.5, (n_components, v.shape[1]))
    h = h if activations is None else activations.copy()
    if n_components < 1 or w.shape != (len(v), n_components) or h.shape[0] != n_components:
        raise ConfigError(
            "nmf",
            got=f"{n_components} components, bases {w.shape}, activations {h.shape}",
            expected=f"bases ({len(v)}, n), activations (n, {v.shape[1]}), n at least 1",
            hint="leave the first factors out",
        )
    divergence = [kullback_leibler(w @ h, v)]
    for _ in range(n_iterations):
        w *= (v / np.maximum(w @ h, _TINY)) @ h.T / np.maximum(h.sum(axis=1), _TINY)
        h *= w.T @ (v / np.maximum(w @ h, _TINY)) / np.maximum(w.sum(axis=0), _TINY)[:, None]
        divergence.append(kullback_leibler(w @ h, v))
    sums = np.maximum(w.sum(axis=0), _TINY)
    return Factors(w / sums, h * sums[:, None], np.array(divergence))


def components(
    audio: ArrayLike,
    n_components: int,
    *,
    n_iterations: int = 100,
    seed: int = 0,
    window_samples: int = WINDOW_SAMPLES,
) -> NDArray[np.float64]:
    """Return the sound of each component of a mixture, (components, samples), loudest first.

    Each cell of the spectrum is shared out in proportion to what the components say of it, so that
    they add up to the audio.

    Parameters
    ----------
    audio
        (samples,), floating point.
    n_components, n_iterations, seed
        Of :func:`nmf`.
    window_samples
        Of the short-time Fourier transform; frames are a quarter of it apart.
    """
    audio = np.asarray(audio)
    hop = window_samples // 4
    spectrum = stft(audio, window_samples=window_samples, hop_samples=hop)
    factors = nmf(np.abs(spectrum), n_components, n_iterations=n_iterations, seed=seed)
    model = np.maximum(factors.bases @ factors.activations, _TINY)
    parts = [
        istft(
            np.outer(base, activation) / model * spectrum,
            hop_samples=hop,
            n_samples=len(audio),
        )
        for base, activation in zip(factors.bases.T, factors.activations, strict=True)
    ]
    return np.stack(sorted(parts, key=lambda part: -float(np.sum(part**2))))


# ---- independence ------------------------------------------------------------------------------


def independent_components(audio: ArrayLike, *, seed: int = 0) -> NDArray[np.float64]:
    """Return what each independent source is in each channel, (components, channels, samples).

    There are as many components as channels, in no particular order. They add up to the audio, so
    that neither their levels nor their signs are left open. The sources must reach all channels at
    once: a delay or a room is more than a matrix can undo.

    Parameters
    ----------
    audio
        (channels, samples) with at least two channels that are not copies of each other.
    seed
        Of the search (FastICA of scikit-learn).

    Raises
    ------
    DataError
        If there is one channel, or channels are copies.
    """
    from sklearn.decomposition import FastICA

    audio = np.asarray(audio, dtype=np.float64)
    if (
        audio.ndim != 2
        or not 2 <= len(audio) < audio.shape[1]
        or np.linalg.cond(np.cov(audio)) > 1e10
    ):
        raise DataError(
            "independent components",
            got=f"shape {np.shape(audio)}, or channels that are copies of each other",
            expected="(channels, samples) with at least two different channels",
            hint="load the recording in stereo; mono has no direction",
        )
    search = FastICA(whiten="unit-variance", max_iter=1000, random_state=seed)
    sources = search.fit_transform(audio.T)  # (samples, components)
    images = search.mixing_.T[:, :, None] * sources.T[:, None]
    return images + search.mean_[:, None] / len(images)
