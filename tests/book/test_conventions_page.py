"""What the page of conventions says of axes, times and levels is so."""

from __future__ import annotations

import numpy as np
import pytest

from dl101 import units
from dl101.signal import chroma, cqt, mel, stft

RATE, HOP = 22050, 512
TIME_S = np.arange(RATE) / RATE
TONE = np.sin(2 * np.pi * 440 * TIME_S).astype(np.float32)  # A4, full scale
N_FRAMES = 1 + RATE // HOP


def test_features_have_the_axes_of_the_table() -> None:
    assert mel.log_mel(TONE, RATE).values.shape == (1, 128, N_FRAMES)
    harmonic = cqt.hcqt(TONE, sample_rate=RATE)
    assert harmonic.values.shape == (6, 360, N_FRAMES)
    classes = chroma.chroma(TONE, sample_rate=RATE).values
    assert classes.shape == (1, 12, N_FRAMES)
    assert classes[0, :, 20].argmax() == 9, "row 0 is C, so A is row 9"
    for feature in (mel.log_mel(TONE, RATE), harmonic):
        assert (np.diff(feature.frequencies) > 0).all(), "low frequencies first"
        np.testing.assert_allclose(feature.times, np.arange(N_FRAMES) * HOP / RATE)


def test_frames_are_centred_and_zero_lies_outside() -> None:
    click = np.zeros(RATE, dtype=np.float32)
    click[20 * HOP] = 1
    magnitudes = np.abs(stft.stft(click, window_samples=1024, hop_samples=HOP))
    assert magnitudes.sum(axis=0).argmax() == 20


def test_levels_and_pitches() -> None:
    assert units.hz_to_midi(440) == 69
    assert np.isnan(units.hz_to_midi(0))
    rms = np.sqrt((TONE.astype(float) ** 2).mean())
    assert units.amplitude_to_db(rms) == pytest.approx(-3.01, abs=0.01)
