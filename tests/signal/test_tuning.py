"""Tuning and folding against known detunings, librosa and the plain chroma."""

from __future__ import annotations

from dataclasses import replace

import librosa
import numpy as np
import pytest

from dl101.errors import ConfigError, DataError
from dl101.signal import chroma, cqt, mel, tuning
from dl101.signal.cqt import HcqtConfig
from dl101.units import midi_to_hz

RATE = 22050
CONFIG = HcqtConfig(harmonics=(1,), bins_per_semitone=3, n_octaves=5, f_min_hz=65.406)


def tones(cents: float, *, pitches=(48, 55, 60, 64, 67), noise=0.0, harmonics=1) -> np.ndarray:
    """Return sustained tones, all detuned by the same amount."""
    time_s = np.arange(3 * RATE) / RATE
    audio = sum(
        np.sin(2 * np.pi * h * midi_to_hz(p + cents / 100) * time_s + p) / h
        for p in pitches
        for h in range(1, harmonics + 1)
    )
    audio = 0.1 * audio + noise * np.random.default_rng(0).normal(size=time_s.size)
    return audio.astype(np.float32)


def apart(a: float, b: float) -> float:
    """Return the distance of two tunings on the circle of 100 cents."""
    return abs((a - b + 50) % 100 - 50)


@pytest.mark.parametrize("cents", [-49, -30, -12.5, 0, 7, 25, 41, 49])
def test_a_known_detuning_is_found(cents):
    found = tuning.estimate_tuning(cqt.cqt(tones(cents), CONFIG))
    assert apart(found, cents) < 1.5
    assert -50 <= found < 50


def test_noise_harmonics_and_another_resolution_change_little():
    audio = tones(20, noise=0.05, harmonics=5)
    for bins in (3, 4, 5):
        config = replace(CONFIG, bins_per_semitone=bins)
        assert apart(tuning.estimate_tuning(cqt.cqt(audio, config)), 20) < 4


def test_it_agrees_with_librosa():
    for cents in (-20, 15):
        audio = tones(cents, harmonics=3)
        theirs = 100 * librosa.estimate_tuning(y=audio, sr=RATE)
        assert apart(tuning.estimate_tuning(cqt.cqt(audio, CONFIG)), theirs) < 3


def test_the_angle_by_hand():
    """Two bins of equal strength a third of a semitone apart: the tuning lies between them."""
    spectrum = cqt.cqt(np.zeros(4096, np.float32), CONFIG)
    assert tuning.estimate_tuning(spectrum) == 0.0
    spectrum.values[0, 30:32] = 1.0  # ten semitones above C2, and a third more
    offset = 100 * (tuning.pitches(spectrum)[0] - 36)
    assert tuning.estimate_tuning(spectrum) == pytest.approx(100 / 6 + offset, abs=1e-3)


def test_bins_that_do_not_tell_are_refused():
    coarse = cqt.cqt(tones(0), replace(CONFIG, bins_per_semitone=2))
    for spectrum in (coarse, mel.log_mel(tones(0), RATE)):
        with pytest.raises(DataError, match="tuning"):
            tuning.estimate_tuning(spectrum)


def test_folding_is_the_chroma_of_the_library():
    spectrum = cqt.cqt(tones(10, noise=0.01), CONFIG)
    ours = tuning.fold(spectrum)
    np.testing.assert_allclose(ours.values, chroma.chroma(tones(10, noise=0.01), CONFIG).values)
    assert ours.frequencies is None
    np.testing.assert_array_equal(ours.times, spectrum.times)


def test_a_tone_lands_in_its_row_in_any_octave():
    for pitch, row in ((48, 0), (60, 0), (57, 9), (66, 6)):
        spectrum = cqt.cqt(tones(0, pitches=(pitch,)), CONFIG)
        assert set(tuning.fold(spectrum).values[0, :, 20:-20].argmax(axis=0)) == {row}


def test_compression_comes_before_the_sum():
    spectrum = cqt.cqt(tones(0, noise=0.02), CONFIG)
    row = np.floor(tuning.pitches(spectrum) + 0.5).astype(int) % 12
    wanted = np.stack([np.log1p(50 * spectrum.values[0])[row == k].sum(axis=0) for k in range(12)])
    found = tuning.fold(spectrum, compression=50, peak=False).values[0]
    np.testing.assert_allclose(found, wanted, rtol=1e-5)
    scaled = tuning.fold(spectrum, compression=50).values[0]
    np.testing.assert_allclose(scaled, wanted / wanted.max(axis=0), rtol=1e-5)


def test_silence_stays_zero():
    assert not tuning.fold(cqt.cqt(np.zeros(8192, np.float32), CONFIG)).values.any()


@pytest.mark.parametrize("cents", [-40, 35])
def test_the_grid_goes_to_the_sound(cents):
    """A detuned sound on a moved grid looks like a sound in tune on the usual one."""
    spectrum, found = tuning.tuned_cqt(tones(cents), CONFIG)
    assert apart(found, cents) < 1.5
    assert spectrum.frequencies[0] == pytest.approx(65.406 * 2 ** (found / 1200))
    corrected = tuning.fold(spectrum, tuning_cents=found).values[0, :, 20:-20]
    in_tune = tuning.fold(cqt.cqt(tones(0), CONFIG)).values[0, :, 20:-20]
    naive = tuning.fold(cqt.cqt(tones(cents), CONFIG)).values[0, :, 20:-20]
    means = [x.mean(axis=1) for x in (corrected, in_tune, naive)]
    assert np.abs(means[0] - means[1]).max() < 0.05
    assert np.abs(means[2] - means[1]).max() > 0.2


def test_faults_are_named():
    spectrum = cqt.cqt(tones(0), CONFIG)
    with pytest.raises(ConfigError, match="compression"):
        tuning.fold(spectrum, compression=-1)
    with pytest.raises(DataError, match="cannot be folded"):
        tuning.fold(tuning.fold(spectrum))
    with pytest.raises(DataError, match="cannot be folded"):
        tuning.fold(cqt.hcqt(tones(0), replace(CONFIG, harmonics=(1, 2))))
