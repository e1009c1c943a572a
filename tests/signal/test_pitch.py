"""Trackers that learn nothing, on tones whose pitch is known."""

from __future__ import annotations

import numpy as np
import pytest

from dl101.signal import pitch

RATE = 16000
TRACKERS = {
    "yin": pitch.yin,
    "pyin": lambda *args, **options: pitch.pyin(*args, **options)[0],
    "sawtooth": pitch.sawtooth_match,
}


def harmonic(f0_hz, n=12, seconds=0.6, decay=1.0):
    t = np.arange(round(seconds * RATE)) / RATE
    k = np.arange(1, n + 1)
    k = k[k * f0_hz < RATE / 2]
    return (0.1 * np.sin(2 * np.pi * f0_hz * np.outer(k, t)).T @ k**-decay).astype(np.float32)


@pytest.mark.parametrize("name", TRACKERS)
@pytest.mark.parametrize("f0_hz", [82.0, 196.0, 523.0, 880.0])
def test_a_tone_is_found_within_a_quarter_tone(name, f0_hz):
    found = TRACKERS[name](harmonic(f0_hz), RATE, hop_samples=512)
    assert len(found) == 1 + 9600 // 512
    middle = 12 * np.log2(found[4:-4] / f0_hz)
    assert np.abs(middle).max() < 0.5


def test_the_sawtooth_hears_a_fundamental_that_is_missing():
    t = np.arange(9600) / RATE
    audio = sum(np.sin(2 * np.pi * 150 * k * t) / k for k in range(2, 9)).astype(np.float32)
    found = pitch.sawtooth_match(audio, RATE, hop_samples=512)
    np.testing.assert_allclose(found[4:-4], 150, rtol=0.02)


def test_peaks_stand_between_the_bins_in_order_of_their_height():
    t = np.arange(8000) / RATE
    wanted = {441.3: 0.5, 1203.7: 0.25, 3000.2: 0.1}
    audio = sum(a * np.sin(2 * np.pi * f * t) for f, a in wanted.items()).astype(np.float32)
    f, a = pitch.spectral_peaks(audio, RATE, hop_samples=512, n_peaks=5)
    assert f.shape == a.shape == (1 + 8000 // 512, 5)
    np.testing.assert_allclose(f[6, :3], list(wanted), atol=0.5)
    np.testing.assert_allclose(a[6, :3], list(wanted.values()), rtol=0.15)
    assert (np.diff(a, axis=1) <= 0).all()


def test_silence_is_no_trouble():
    silent = np.zeros(4000, np.float32)
    assert np.isfinite(pitch.sawtooth_match(silent, RATE, hop_samples=512)).all()
    frequencies, amplitudes = pitch.spectral_peaks(silent, RATE, hop_samples=512)
    assert not amplitudes.any() and np.isfinite(frequencies).all()
