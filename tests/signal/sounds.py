"""Sounds whose answer is known, for the tests of ``dl101.signal``: 22 050 Hz, mono, float32."""

from __future__ import annotations

import numpy as np

from dl101.units import hz_to_midi

RATE = 22050


def tone(frequency_hz: float, duration_s: float, amplitude: float = 1.0) -> np.ndarray:
    t = np.arange(int(duration_s * RATE)) / RATE
    return (amplitude * np.sin(2 * np.pi * frequency_hz * t)).astype(np.float32)


def music(duration_s: float, seed: int = 0) -> np.ndarray:
    """Four voices of decaying notes with harmonics and vibrato, over a little noise."""
    rng = np.random.default_rng(seed)
    n = int(duration_s * RATE)
    mix = 0.003 * rng.standard_normal(n)
    for _ in range(4):
        start = 0
        while start < n:
            stop = min(n, start + int(rng.uniform(0.2, 1.2) * RATE))
            t = np.arange(stop - start) / RATE
            midi = rng.integers(36, 84) + 0.1 * rng.normal() + 0.2 * np.sin(2 * np.pi * 5.5 * t)
            f0_hz = 440 * 2 ** ((midi - 69) / 12)
            phase = 2 * np.pi * np.cumsum(f0_hz) / RATE
            envelope = np.minimum(1, t / 0.01) * np.exp(-t * rng.uniform(1, 4))
            for h in range(1, 12):
                if f0_hz.max() * h < 10000:
                    mix[start:stop] += envelope * np.sin(h * phase + rng.uniform(0, 6)) / h
            start = stop
    return (mix / np.abs(mix).max()).astype(np.float32)


def pitch_of(audio: np.ndarray) -> float:
    """Return the MIDI number of the strongest frequency, from the middle of a sound."""
    middle = audio[audio.size // 5 : -audio.size // 4]
    size = 1 << 21
    spectrum = np.abs(np.fft.rfft(middle * np.hanning(middle.size), size))
    return float(hz_to_midi(spectrum.argmax() * RATE / size))


def rising_noise() -> np.ndarray:
    """One second of noise that gets louder by 20 dB."""
    rng = np.random.default_rng(0)
    return (rng.standard_normal(RATE) * np.linspace(0.01, 0.1, RATE)).astype(np.float32)
