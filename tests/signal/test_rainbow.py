"""Instantaneous frequency: NumPy's unwrapping, known tones, and the way back."""

import numpy as np
import pytest

from dl101.errors import ShapeError
from dl101.signal import rainbow
from dl101.signal.stft import stft


def test_unwrapping_is_numpys() -> None:
    phase = np.random.default_rng(0).uniform(-np.pi, np.pi, (7, 40))
    assert np.allclose(rainbow.unwrapped(phase), np.unwrap(phase, axis=1))


def test_a_tone_moves_on_at_its_frequency() -> None:
    rate, hop, bins = 4000, 64, 256
    for hz in (203.0, 440.0, 987.0):
        tone = np.sin(2 * np.pi * hz * np.arange(4096) / rate)
        spectrum = stft(tone, window_samples=bins, hop_samples=hop)
        found = rainbow.instantaneous_frequency(np.angle(spectrum))
        turns = hz * hop / rate  # per frame
        wanted = 2 * (turns - np.round(turns))
        assert np.allclose(found[round(hz * bins / rate), 5:-5], wanted, atol=1e-6)


def test_the_way_back_is_exact_and_the_range_is_kept() -> None:
    phase = np.random.default_rng(1).uniform(-20, 20, (5, 30))
    given = phase.copy()
    frequency = rainbow.instantaneous_frequency(phase)
    assert np.abs(frequency).max() <= 1 + 1e-12
    assert np.allclose(np.exp(1j * rainbow.phase_of(frequency)), np.exp(1j * phase))
    assert np.array_equal(phase, given)  # what is given stays as it is


def test_colours_say_angles_and_light_says_level() -> None:
    loud = np.array([[-1.0, 1.0, 1.0, 0.0]])
    turn = np.array([[0.3, -1.0, 1.0, 0.0]])
    picture = rainbow.rainbowgram(loud, turn)
    assert picture.shape == (1, 4, 3)
    assert np.allclose(picture[0, 0], 0)
    assert np.allclose(picture[0, 1], picture[0, 2])  # half a turn back or on is one angle
    assert picture[0, 3].max() == pytest.approx(0.5)


def test_what_is_no_picture_is_refused() -> None:
    with pytest.raises(ShapeError, match=r"\(bin, frame\)"):
        rainbow.unwrapped(np.zeros(5))
