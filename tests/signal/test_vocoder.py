"""Longer or higher, and nothing else: librosa, and what tones and clicks must give."""

from __future__ import annotations

import librosa
import numpy as np
import pytest

from dl101.errors import ConfigError
from dl101.signal import vocoder
from dl101.signal.stft import stft
from dl101.signal.waveforms import level_dbfs
from dl101.units import hz_to_midi
from tests.signal.sounds import RATE, pitch_of, rising_noise, tone


def soft(frequency_hz: float, duration_s: float = 2.0) -> np.ndarray:
    return tone(frequency_hz, duration_s, 0.3)


@pytest.fixture(scope="module")
def music() -> np.ndarray:
    return rising_noise()


@pytest.mark.parametrize("semitones", [-12.0, -5.0, -0.3, 0.0, 1.0, 7.0])
@pytest.mark.parametrize("frequency_hz", [110.0, 1000.0])
def test_a_tone_moves_by_the_right_number_of_cents(semitones, frequency_hz):
    sound = soft(frequency_hz)
    shifted = vocoder.pitch_shift(sound, semitones)
    assert shifted.shape == sound.shape
    cents = 100 * (pitch_of(shifted) - hz_to_midi(frequency_hz))
    assert cents == pytest.approx(100 * semitones, abs=1.0)
    loss = level_dbfs(shifted[8000:-12000]) - level_dbfs(sound[8000:-12000])
    assert loss == pytest.approx(0.0, abs=0.1)


@pytest.mark.parametrize("stretch", [0.5, 0.9, 1.0, 1.3, 2.0])
def test_stretching_changes_length_and_not_pitch(stretch):
    sound = soft(330.0)
    stretched = vocoder.time_stretch(sound, stretch)
    assert stretched.size == round(sound.size * stretch)
    assert 100 * (pitch_of(stretched) - hz_to_midi(330.0)) == pytest.approx(0.0, abs=1.0)
    loss = level_dbfs(stretched[6000:-8000]) - level_dbfs(sound[6000:-8000])
    assert loss == pytest.approx(0.0, abs=0.1)


@pytest.mark.parametrize("stretch", [0.7, 1.0, 1.6])
def test_events_move_to_their_new_times(stretch):
    bursts = np.zeros(3 * RATE)
    rng = np.random.default_rng(0)
    for time_s in (0.5, 1.0, 2.0):
        bursts[round(time_s * RATE) + np.arange(-400, 400)] = rng.standard_normal(800)
    stretched = vocoder.time_stretch(bursts, stretch, window_samples=512)
    for time_s in (0.5, 1.0, 2.0):
        near = round(stretch * time_s * RATE) + np.arange(-2000, 2000)
        power = stretched[near] ** 2
        centre_s = np.average(near, weights=power) / RATE
        assert centre_s == pytest.approx(stretch * time_s, abs=0.01)
        assert power.sum() > 0.2 * np.sum(stretched**2)


@pytest.mark.parametrize("rate", [0.8, 1.3])
def test_the_unlocked_vocoder_is_librosas(rate):
    spectrum = stft(np.random.default_rng(0).standard_normal(RATE), window_samples=2048)
    padded = np.pad(spectrum, ((0, 0), (0, 2)))
    ours = vocoder.vocode(padded, np.arange(0, spectrum.shape[1], rate), locked=False)
    theirs = librosa.phase_vocoder(spectrum, rate=rate, hop_length=512)
    np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_the_vocoder_at_its_own_places_changes_nothing(music):
    spectrum = stft(music.astype(np.float64), window_samples=1024)
    same = vocoder.vocode(spectrum, np.arange(spectrum.shape[1] - 1))
    np.testing.assert_allclose(same, spectrum[:, :-1], atol=1e-9)


def test_locked_phases_keep_a_sum_of_tones_together():
    """The spectrum of what comes out is nearer to the magnitudes that were asked for."""
    chord = soft(220.0) + soft(277.2) + soft(331.7)
    chord *= np.linspace(1, 0.2, chord.size, dtype=np.float32)
    error = {}
    for locked in (False, True):
        stretched = vocoder.time_stretch(chord, 1.37, locked=locked)
        places = np.arange(1 + stretched.size // 512) / 1.37
        wanted = np.abs(stft(np.pad(chord, (0, 1024)), window_samples=2048))
        wanted = np.stack([np.interp(places, np.arange(wanted.shape[1]), row) for row in wanted])
        got = np.abs(stft(stretched, window_samples=2048))
        error[locked] = np.linalg.norm(got - wanted) / np.linalg.norm(wanted)
    assert error[True] < 0.6 * error[False]


@pytest.mark.parametrize("stretch", [0.8, 1.25])
def test_another_speed_moves_pitch_and_time(stretch):
    sound = vocoder.change_speed(soft(440.0), stretch)
    assert sound.size == round(2 * RATE * stretch)
    assert pitch_of(sound) - 69 == pytest.approx(-12 * np.log2(stretch), abs=0.01)


@pytest.mark.parametrize("stretch", [0.0, -1.0, np.nan, np.inf])
def test_impossible_lengths_are_refused(stretch, music):
    with pytest.raises(ConfigError, match="stretch"):
        vocoder.time_stretch(music, stretch)
