"""Harmonic-percussive separation against librosa and on signals whose answer is known."""

from __future__ import annotations

import librosa
import numpy as np
import pytest

from dl101.errors import ConfigError, DataError
from dl101.signal import hpss

RATE = 22050


@pytest.fixture(scope="module")
def spectrogram() -> np.ndarray:
    return np.random.default_rng(0).gamma(0.5, size=(70, 90)).astype(np.float32)


@pytest.fixture(scope="module")
def parts() -> tuple[np.ndarray, np.ndarray]:
    """Two steady tones, and clicks every half second."""
    time_s = np.arange(3 * RATE) / RATE
    tones = 0.2 * np.sin(2 * np.pi * 330 * time_s) + 0.1 * np.sin(2 * np.pi * 550 * time_s)
    clicks = np.zeros_like(tones)
    clicks[RATE // 4 :: RATE // 2] = 0.9
    return tones.astype(np.float32), clicks.astype(np.float32)


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("length", [1, 5, 31])
def test_running_median_by_its_definition(spectrogram, length, axis):
    small = spectrogram[:40, :35]
    padding = [(0, 0), (0, 0)]
    padding[axis] = (length // 2, length // 2)
    padded = np.pad(small, padding, mode="symmetric")
    windows = np.lib.stride_tricks.sliding_window_view(padded, length, axis=axis)
    np.testing.assert_array_equal(
        hpss.running_median(small, length, axis=axis), np.median(windows, axis=-1)
    )


def test_an_even_length_has_no_middle(spectrogram):
    with pytest.raises(ConfigError, match="odd"):
        hpss.running_median(spectrogram, 30, axis=0)


@pytest.mark.parametrize("margin", [1.0, 2.5])
@pytest.mark.parametrize(("length_frames", "length_bins"), [(31, 31), (9, 21)])
def test_masks_are_librosas(spectrogram, margin, length_frames, length_bins):
    ours = hpss.masks(
        spectrogram, length_frames=length_frames, length_bins=length_bins, margin=margin
    )
    theirs = librosa.decompose.hpss(
        spectrogram, kernel_size=(length_frames, length_bins), margin=margin, mask=True
    )
    for mine, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(mine, other, atol=1e-6)


def test_masks_share_everything_out_also_silence(spectrogram):
    silent = spectrogram * (np.arange(90) < 10)
    lasting, broad = hpss.masks(silent)
    np.testing.assert_allclose(lasting + broad, 1.0, atol=1e-6)
    with_rest = np.add(*hpss.masks(spectrogram, margin=3.0))
    assert with_rest.max() < 1.0


def test_parts_are_librosas_and_add_up(parts):
    audio = parts[0] + parts[1]
    ours = hpss.separate(audio, RATE)
    np.testing.assert_allclose(ours[0] + ours[1], audio, atol=1e-6)
    inside = slice(RATE // 2, -RATE // 2)  # the two pad the ends differently
    for mine, other in zip(ours, librosa.effects.hpss(audio), strict=True):
        assert mine.dtype == np.float32
        np.testing.assert_allclose(mine[inside], other[inside], atol=1e-5)


@pytest.mark.parametrize("options", [{}, {"hop_samples": 1024, "length_frames": 15}])
def test_tones_go_one_way_and_clicks_the_other(parts, options):
    tones, clicks = parts
    harmonic, percussive = hpss.separate(tones + clicks, RATE, **options)
    inside = slice(RATE // 2, -RATE // 2)
    for part, wanted in ((harmonic, tones), (percussive, clicks)):
        error = np.sum((part - wanted)[inside] ** 2) / np.sum(wanted[inside] ** 2)
        assert error < 0.05


def test_short_audio_keeps_its_length():
    audio = np.ones(100, dtype=np.float32)
    assert [part.shape for part in hpss.separate(audio, RATE)] == [(100,), (100,)]


@pytest.mark.parametrize(
    ("call", "error", "word"),
    [
        (lambda: hpss.masks(np.ones((2, 3, 4))), DataError, "shape"),
        (lambda: hpss.masks(-np.ones((4, 4))), DataError, "negative"),
        (lambda: hpss.masks(np.full((4, 4), np.nan)), DataError, "finite"),
        (lambda: hpss.masks(np.ones((4, 4)), margin=0.5), ConfigError, "margin"),
        (lambda: hpss.separate(np.ones((2, 100)), RATE), DataError, "mono"),
        (lambda: hpss.separate(np.array([]), RATE), DataError, "audio"),
    ],
)
def test_faults_are_named(call, error, word):
    with pytest.raises(error, match=word):
        call()
