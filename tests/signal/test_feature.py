"""What all features share: their axes, and the checks at the door."""

from __future__ import annotations

import numpy as np
import pytest

from dl101.errors import DataError
from dl101.signal.chroma import chroma
from dl101.signal.cqt import cqt, hcqt
from dl101.signal.feature import waveform
from dl101.signal.mel import log_mel

RATE = 22050


def test_waveform_has_a_time_per_sample() -> None:
    feature = waveform([0.0, 0.5, -0.5], 2)
    np.testing.assert_array_equal(feature.values, np.float32([[0.0, 0.5, -0.5]]))
    np.testing.assert_array_equal(feature.times, [0.0, 0.5, 1.0])


@pytest.mark.parametrize("function", [hcqt, cqt, chroma, lambda x: log_mel(x, RATE)])
@pytest.mark.parametrize(
    ("audio", "message"),
    [
        (np.array([0.0, np.nan, 0.0]), "nan at sample 1"),
        (np.array([0.0, 0.0, np.inf]), "inf at sample 2"),
        (np.zeros(0), "no samples"),
        (np.zeros((2, 100)), r"\(2, 100\)"),
        (np.zeros(100, dtype=np.int16), "int16"),
    ],
)
def test_bad_audio_is_found_at_the_door(function, audio: np.ndarray, message: str) -> None:
    with pytest.raises(DataError, match=message):
        function(audio)


def test_large_finite_audio_is_no_error() -> None:
    assert np.isfinite(waveform(np.full(4, 3e38), RATE).values).all()
