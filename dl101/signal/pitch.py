"""Pitch trackers that learn nothing: YIN, pYIN, a sawtooth's spectrum, and peaks of a spectrum.

Conventions: frames are centred, ``hop_samples`` apart, the first at the first sample; pitches are
in Hz, one a frame, whether or not anything sounds: who asks for silence looks elsewhere (pYIN's NaN
is filled with its guess). Range by default 32.7 to 1046.5 Hz, MIDI 24 to 84.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dl101.signal.stft import stft

LOW_HZ, HIGH_HZ = 32.703, 1046.502
_PRIMES = (1, 2, 3, 5, 7, 11, 13, 17, 19, 23)


def yin(
    audio: NDArray[np.floating],
    sample_rate: int,
    *,
    hop_samples: int,
    window_samples: int = 2048,
    low_hz: float = LOW_HZ,
    high_hz: float = HIGH_HZ,
) -> NDArray[np.float64]:
    """Return the pitch by YIN (de Cheveigné and Kawahara, 2002), of librosa."""
    import librosa

    return librosa.yin(
        audio,
        fmin=low_hz,
        fmax=high_hz,
        sr=sample_rate,
        frame_length=window_samples,
        hop_length=hop_samples,
    )


def pyin(
    audio: NDArray[np.floating],
    sample_rate: int,
    *,
    hop_samples: int,
    window_samples: int = 2048,
    low_hz: float = LOW_HZ,
    high_hz: float = HIGH_HZ,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the pitch and the probability that something sounds (Mauch and Dixon, 2014)."""
    import librosa

    pitch, _, probability = librosa.pyin(
        audio,
        fmin=low_hz,
        fmax=high_hz,
        sr=sample_rate,
        frame_length=window_samples,
        hop_length=hop_samples,
        fill_na=None,
    )
    return pitch, probability


def sawtooth_match(
    audio: NDArray[np.floating],
    sample_rate: int,
    *,
    hop_samples: int,
    window_samples: int = 2048,
    low_hz: float = LOW_HZ,
    high_hz: float = HIGH_HZ,
    steps_per_semitone: int = 10,
) -> NDArray[np.float64]:
    """Return the pitch whose sawtooth fits best: SWIPE' with one window for all pitches.

    The square root of the spectrum is multiplied by cosines that stand on the first and the prime
    harmonics and fall as ``1 / sqrt(k)``, with valleys between (Camacho and Harris, "A sawtooth
    waveform inspired pitch estimator for speech and music", 2008). The original takes a window of
    eight periods for each pitch and a scale like the ear's; here both are left out.
    """
    n_fft = 2 * window_samples
    spectrum = np.abs(
        stft(audio, window_samples=window_samples, fft_samples=n_fft, hop_samples=hop_samples)
    )
    frequencies = np.arange(len(spectrum)) * sample_rate / n_fft
    loudness = np.sqrt(spectrum)
    loudness /= np.linalg.norm(loudness, axis=0, keepdims=True) + 1e-9
    semitones = 12 * np.log2(high_hz / low_hz)
    candidates = low_hz * 2 ** (
        np.arange(int(semitones * steps_per_semitone) + 1) / 12 / steps_per_semitone
    )
    strength = np.stack([_kernel(frequencies, f0) for f0 in candidates]) @ loudness
    return candidates[strength.argmax(axis=0)]


def _kernel(frequencies: NDArray[np.float64], f0_hz: float) -> NDArray[np.float64]:
    """Return the weights of one candidate, (bins,), of norm 1 in their positive part."""
    ratio = frequencies / f0_hz
    weights = np.zeros_like(ratio)
    for k in _PRIMES:
        distance = np.abs(ratio - k)
        peak = distance < 0.25
        weights[peak] = np.cos(2 * np.pi * ratio[peak])
        valley = (distance >= 0.25) & (distance < 0.75)
        weights[valley] += np.cos(2 * np.pi * ratio[valley]) / 2
    weights *= 1 / np.sqrt(np.maximum(frequencies, f0_hz / 4))
    return weights / np.linalg.norm(np.maximum(weights, 0))


def spectral_peaks(
    audio: NDArray[np.floating],
    sample_rate: int,
    *,
    hop_samples: int,
    window_samples: int = 2048,
    n_peaks: int = 30,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the strongest peaks of each frame: frequencies in Hz and amplitudes, (frames, peaks).

    A parabola through the logarithms of a peak and its neighbours says where between the bins it
    stands. Where there are fewer peaks, the rest has amplitude 0 and the first bin's frequency.
    """
    magnitude = np.abs(stft(audio, window_samples=window_samples, hop_samples=hop_samples)).T
    decibels = np.log(magnitude + 1e-9)
    left, centre, right = decibels[:, :-2], decibels[:, 1:-1], decibels[:, 2:]
    is_peak = (centre > left) & (centre >= right)
    heights = np.where(is_peak, magnitude[:, 1:-1], 0.0)
    order = np.argsort(-heights, axis=1, kind="stable")[:, :n_peaks]

    def of(values: NDArray) -> NDArray:
        return np.take_along_axis(values, order, axis=1)

    low, top, high = of(left), of(centre), of(right)
    curve = low - 2 * top + high
    shift = np.where(curve < -1e-9, 0.5 * (low - high) / np.minimum(curve, -1e-9), 0.0)
    amplitudes = of(heights)
    bins = np.where(amplitudes > 0, order + 1 + shift, 1.0)
    return bins * sample_rate / window_samples, amplitudes * 4 / window_samples
