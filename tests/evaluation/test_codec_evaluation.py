"""Bitrates and distances in closed form; the simple codecs do what they say."""

from __future__ import annotations

import math

import librosa
import numpy as np
import pytest

from dl101.evaluation import codec

RATE = 16_000


def noise(n_samples: int = RATE, seed: int = 0) -> np.ndarray:
    return (0.1 * np.random.default_rng(seed).standard_normal(n_samples)).astype(np.float32)


def test_bits_per_second_are_frames_times_bits():
    assert codec.bits_per_second(50, (256,) * 8) == 3200
    assert codec.bits_per_second(75, (1024,) * 2) == 1500  # EnCodec at 1.5 kb/s
    assert codec.bits_per_second(10, ()) == 0


def test_a_gain_is_as_many_decibels_of_spectral_distance():
    x = noise().astype(np.float64)
    assert codec.spectral_distance(x, x) == 0
    assert codec.spectral_distance(2 * x, x, floor=1e-12) == pytest.approx(20 * math.log10(2))
    assert codec.spectral_distance(-x, x) == pytest.approx(0, abs=1e-9)


def test_spectral_distance_equals_librosa():
    x, y = noise(5000, 1).astype(np.float64), noise(5000, 2).astype(np.float64)
    each = []
    for size in codec.WINDOWS:
        options = {"n_fft": size, "hop_length": size // 4, "pad_mode": "constant"}
        found, wanted = (
            np.abs(librosa.stft(s, dtype=np.complex128, **options)) / (size / 4) for s in (x, y)
        )
        each.append(np.abs(20 * np.log10((found + 1e-3) / (wanted + 1e-3))).mean())
    assert codec.spectral_distance(x, y) == pytest.approx(np.mean(each), rel=1e-9)


def test_what_is_below_the_floor_decides_nothing():
    assert codec.spectral_distance(1e-7 * noise(), np.zeros(RATE)) < 0.01


def test_score_takes_whole_frames_and_a_decoder_that_is_silent():
    x = noise()
    longer = np.pad(x, (0, 320))
    assert codec.score(longer, x)["si_sdr_db"] > 100
    silent = codec.score(np.zeros(100, np.float32), x)
    assert silent["si_sdr_db"] == -30 and silent["spectral_db"] > 5
    assert silent["convergence"] == pytest.approx(1.0)


def test_score_says_the_same_as_its_parts():
    x, y = noise(4000, 1), noise(4000, 2)
    found = codec.score(y, x)
    assert found["spectral_db"] == pytest.approx(codec.spectral_distance(y, x), rel=1e-12)
    assert codec.score(1.5 * x, x)["convergence"] == pytest.approx(0.5, rel=1e-6)
    assert codec.score(x, x)["convergence"] == 0


def test_resampled_keeps_what_is_low_and_loses_what_is_high():
    t = np.arange(RATE) / RATE
    low, high = np.sin(2 * np.pi * 100 * t), np.sin(2 * np.pi * 3000 * t)
    back = codec.resampled(
        (0.2 * low + 0.2 * high).astype(np.float32), RATE, low_rate=800, n_bits=8
    )
    assert back.shape == (RATE,)
    middle = slice(1000, -1000)
    kept = np.dot(back[middle], low[middle]) / np.dot(low[middle], low[middle])
    lost = np.dot(back[middle], high[middle]) / np.dot(high[middle], high[middle])
    assert kept == pytest.approx(0.2, rel=0.05) and abs(lost) < 0.005
    coarse = codec.resampled((0.2 * low).astype(np.float32), RATE, low_rate=16000, n_bits=2)
    assert len(np.unique(np.round(coarse, 4))) <= 4


@pytest.mark.parametrize(
    ("subtype", "low_rate"), [("VORBIS", None), ("VORBIS", 4000), ("OPUS", None)]
)
def test_ogg_gives_each_sound_back_and_counts_no_header(subtype, low_rate):
    t = np.arange(RATE) / RATE
    sounds = [(0.2 * np.sin(2 * np.pi * f * t[:n])).astype(np.float32) for f, n in
              ((200, RATE), (500, RATE // 2), (300, 7001))]  # fmt: skip
    decoded, rate = codec.ogg(sounds, RATE, low_rate=low_rate, subtype=subtype)
    assert [len(d) for d in decoded] == [len(s) for s in sounds]
    for d, s in zip(decoded, sounds, strict=True):
        assert codec.score(d, s)["si_sdr_db"] > 5
    assert 1_000 < rate < 40_000
    twice = codec.ogg(sounds * 4, RATE, low_rate=low_rate, subtype=subtype)[1]
    assert twice == pytest.approx(rate, rel=0.35)  # a header of 3 kB would be 12 kb/s of the first


def test_ogg_takes_more_than_vorbis_can_put_on_the_stack():
    """Given at once, four minutes end the process in the encoder."""
    sound = np.zeros(240 * RATE, np.float32)
    (decoded,), rate = codec.ogg([sound], RATE)
    assert len(decoded) == len(sound) and rate < 10_000
