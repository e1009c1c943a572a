"""Mel scale, filters and MFCC against librosa, and the ways back."""

from __future__ import annotations

import librosa
import numpy as np
import pytest
import scipy.fft

from dl101 import units
from dl101.errors import ConfigError, DataError
from dl101.signal import mel
from dl101.signal.mel import log_mel
from tests.signal.sounds import RATE, music, tone

FORMULAS = ("slaney", "htk")


@pytest.fixture(scope="module")
def audio() -> np.ndarray:
    """A second of a rising chord in noise."""
    rng = np.random.default_rng(3)
    t = np.arange(RATE) / RATE
    chord = sum(np.sin(2 * np.pi * f * (t + 0.2 * t**2)) for f in (220, 550, 1870, 4100))
    return (0.1 * chord + 0.01 * rng.standard_normal(t.size)).astype(np.float32)


@pytest.mark.parametrize("formula", FORMULAS)
def test_mel_scale_equals_librosa_and_inverts(formula: str) -> None:
    hz = np.concatenate([[0.0, 999.9, 1000.0, 1000.1], np.geomspace(20, 16000, 50)])
    mels = units.hz_to_mel(hz, formula=formula)
    np.testing.assert_allclose(mels, librosa.hz_to_mel(hz, htk=formula == "htk"), rtol=1e-12)
    np.testing.assert_allclose(units.mel_to_hz(mels, formula=formula), hz, rtol=1e-12, atol=1e-9)


def test_mel_scale_has_its_known_points() -> None:
    assert units.hz_to_mel(1000.0) == pytest.approx(15.0)
    assert units.hz_to_mel(6400.0) == pytest.approx(42.0)
    assert units.hz_to_mel(1000.0, formula="htk") == pytest.approx(1000.0, abs=0.1)


@pytest.mark.parametrize("formula", FORMULAS)
@pytest.mark.parametrize("equal_area", [True, False])
@pytest.mark.parametrize(("n_bands", "window"), [(128, 2048), (40, 1024), (20, 511)])
def test_filters_equal_librosa(formula: str, equal_area: bool, n_bands: int, window: int) -> None:
    filters = mel.mel_filters(
        RATE, n_bands=n_bands, window_samples=window, formula=formula, equal_area=equal_area
    )
    expected = librosa.filters.mel(
        sr=RATE,
        n_fft=window,
        n_mels=n_bands,
        htk=formula == "htk",
        norm="slaney" if equal_area else None,
        dtype=np.float64,
    )
    assert filters.shape == (n_bands, 1 + window // 2)
    np.testing.assert_allclose(filters, expected, atol=1e-12)


def test_filters_have_the_stated_height_and_area() -> None:
    n_fft = 2**16  # fine bins: sums are integrals
    area = mel.mel_filters(RATE, n_bands=64, window_samples=n_fft).sum(axis=1) * RATE / n_fft
    np.testing.assert_allclose(area, 1.0, rtol=1e-3)
    peaks = mel.mel_filters(RATE, n_bands=64, window_samples=n_fft, equal_area=False).max(axis=1)
    np.testing.assert_allclose(peaks, 1.0, atol=0.02)


def test_edges_are_even_on_the_scale_and_hold_the_centres_of_log_mel(audio: np.ndarray) -> None:
    edges = mel.mel_edges_hz(RATE, n_bands=64)
    assert edges.shape == (66,)
    assert edges[0] == 0 and edges[-1] == pytest.approx(RATE / 2)
    steps = np.diff(units.hz_to_mel(edges))
    np.testing.assert_allclose(steps, steps[0])
    feature = mel.log_mel(audio, RATE, n_bands=64)
    np.testing.assert_allclose(feature.frequencies, edges[1:-1])


def test_steps_one_by_one_give_the_feature(audio: np.ndarray) -> None:
    spectrum = librosa.stft(audio, n_fft=2048, hop_length=512)
    power = mel.mel_filters(RATE, n_bands=80) @ np.abs(spectrum) ** 2
    feature = mel.log_mel(audio, RATE, n_bands=80)
    np.testing.assert_allclose(mel.compress(power, 1e4), feature.values[0], rtol=1e-3, atol=1e-4)


def test_mfcc_equals_librosa(audio: np.ndarray) -> None:
    log_mel = mel.log_mel(audio, RATE, n_bands=64).values
    ours = mel.mfcc(log_mel, 20)
    assert ours.shape == (1, 20, log_mel.shape[-1])
    np.testing.assert_allclose(ours[0], librosa.feature.mfcc(S=log_mel[0], n_mfcc=20), atol=1e-4)


def test_mfcc_is_the_stated_sum() -> None:
    n_bands = 7
    y = np.random.default_rng(0).normal(size=(n_bands, 3))
    b = np.arange(n_bands)
    for n, row in enumerate(mel.mfcc(y, n_bands)):
        scale = np.sqrt((1 if n == 0 else 2) / n_bands)
        np.testing.assert_allclose(row, scale * np.cos(np.pi * n * (b + 0.5) / n_bands) @ y)


def test_all_coefficients_are_the_spectrum_again_and_few_are_its_smooth_part() -> None:
    y = np.random.default_rng(1).normal(size=(2, 40, 9))
    np.testing.assert_allclose(mel.log_mel_from_mfcc(mel.mfcc(y, 40), 40), y, atol=1e-12)
    smooth = mel.log_mel_from_mfcc(mel.mfcc(y, 5), 40)
    kept = scipy.fft.dct(smooth, axis=-2, norm="ortho")
    np.testing.assert_allclose(kept[:, :5], mel.mfcc(y, 5), atol=1e-12)
    np.testing.assert_allclose(kept[:, 5:], 0.0, atol=1e-12)
    flat = mel.log_mel_from_mfcc(mel.mfcc(y, 1), 40)
    np.testing.assert_allclose(flat, np.broadcast_to(y.mean(1, keepdims=True), y.shape))


@pytest.mark.parametrize("strength", [0, 1, 100.0, 1e4])
def test_compression_is_undone(strength: float) -> None:
    x = np.concatenate([[0.0], np.geomspace(1e-8, 1e3, 40)])
    y = mel.compress(x, strength)
    assert y[0] == 0 and np.all(np.diff(y) > 0)
    np.testing.assert_allclose(mel.expand(y, strength), x, rtol=1e-7)
    if strength:
        np.testing.assert_allclose(y, np.log(1 + strength * x), atol=1e-9)


def test_compression_keeps_float32() -> None:
    assert mel.compress(np.ones(3, np.float32), 1e4).dtype == np.float32


def test_power_comes_back_through_the_filters() -> None:
    filters = mel.mel_filters(RATE, n_bands=64)
    power = np.random.default_rng(2).exponential(size=(filters.shape[1], 4))
    back = mel.power_from_mel(filters @ power, filters)
    assert back.shape == power.shape and back.min() >= 0
    # the pseudo-inverse alone fits exactly; what it gives below zero is little for a flat spectrum
    flat = np.ones((filters.shape[1], 2))
    again = filters @ mel.power_from_mel(filters @ flat, filters)
    np.testing.assert_allclose(again, filters @ flat, rtol=0.02)
    inside = filters.T @ np.ones((64, 2))  # in the span of the filters: recovered exactly
    np.testing.assert_allclose(
        mel.power_from_mel(filters @ inside, filters), inside, atol=1e-9 * inside.max()
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: units.hz_to_mel(440.0, formula="slany"), "did you mean 'slaney'"),
        (
            lambda: mel.mel_filters(RATE, n_bands=128, window_samples=256),
            "have no bin in a window of 256",
        ),
        (lambda: mel.compress(1.0, -1.0), "not negative"),
        (lambda: mel.expand(1.0, float("nan")), "not negative"),
        (lambda: mel.mfcc(np.ones((4, 3)), 5), "5 coefficients for 4 bands"),
        (lambda: mel.mfcc(np.ones(4), 2), "0 bands"),
        (lambda: mel.log_mel_from_mfcc(np.ones((5, 3)), 4), "5 coefficients for 4 bands"),
    ],
)
def test_mistakes_are_named(call, message: str) -> None:
    with pytest.raises((ConfigError, DataError), match=message):
        call()


def test_log_mel_equals_librosa() -> None:
    import librosa

    audio = music(2.0)
    for options in ({}, {"n_bands": 64, "window_samples": 1024, "hop_samples": 256}):
        feature = log_mel(audio, RATE, **options)
        power = librosa.feature.melspectrogram(
            y=audio,
            sr=RATE,
            n_mels=options.get("n_bands", 128),
            n_fft=options.get("window_samples", 2048),
            hop_length=options.get("hop_samples", 512),
        )
        np.testing.assert_allclose(feature.values[0], np.log(1 + 10000 * power), rtol=1e-5)
        assert feature.times.size == feature.values.shape[-1]
    assert log_mel(audio[:100], RATE).values.shape == (1, 128, 1)
    assert np.all(log_mel(np.zeros(4000), RATE).values == 0)
    nearest = np.abs(log_mel(audio, RATE).frequencies - 1000).argmin()
    assert log_mel(tone(1000, 1.0), RATE).values[0, :, 20].argmax() == nearest


@pytest.mark.parametrize(
    "change", [{"n_bands": 0}, {"n_bands": 2.5}, {"window_samples": -1}, {"hop_samples": 0}]
)
def test_a_log_mel_of_nothing_is_refused(change: dict) -> None:
    with pytest.raises(ConfigError, match=next(iter(change))):
        log_mel(np.zeros(1000), 22050, **change)
