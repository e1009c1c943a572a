"""Chroma puts each pitch class into its row."""

from __future__ import annotations

import numpy as np

from dl101.signal.chroma import chroma

RATE = 22050


def tone(frequency_hz: float, duration_s: float, amplitude: float = 1.0) -> np.ndarray:
    t = np.arange(int(duration_s * RATE)) / RATE
    return (amplitude * np.sin(2 * np.pi * frequency_hz * t)).astype(np.float32)


def test_chroma_names_the_pitch_class_in_every_octave() -> None:
    for midi in (45, 57, 69, 81):
        feature = chroma(tone(440 * 2 ** ((midi - 69) / 12), 2.0))
        assert feature.values.shape == (1, 12, 87) and feature.frequencies is None
        middle = feature.values[0, :, 43]
        assert middle[9] == 1.0 and np.delete(middle, 9).max() < 0.2
    triad = chroma(tone(261.63, 3) + tone(329.63, 3) + tone(392.0, 3)).values[0, :, 64]
    assert set(np.argsort(triad)[-3:]) == {0, 4, 7}
    assert np.all(chroma(np.zeros(RATE)).values == 0)
