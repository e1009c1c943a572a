"""The CQT and the harmonic CQT against librosa, and against what synthetic signals must give."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest

from dl101.errors import ConfigError, DataError
from dl101.signal.cqt import HcqtConfig, cqt, hcqt, hcqt_plan
from dl101.signal.feature import waveform
from tests.signal.sounds import RATE, music, tone


def librosa_hcqt(audio: np.ndarray, config: HcqtConfig) -> np.ndarray:
    import librosa

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # windows longer than a short signal
        return np.stack(
            [
                np.abs(
                    librosa.cqt(
                        audio,
                        sr=config.sample_rate,
                        hop_length=config.hop_samples,
                        fmin=h * config.f_min_hz,
                        n_bins=config.n_bins,
                        bins_per_octave=config.bins_per_octave,
                    )
                )
                for h in config.harmonics
            ]
        )


def relative_error(got: np.ndarray, expected: np.ndarray) -> float:
    return float(np.linalg.norm(got - expected) / np.linalg.norm(expected))


SIGNALS = {
    "music": lambda: music(12.0),
    "noise": lambda: np.random.default_rng(1).standard_normal(6 * RATE).astype(np.float32),
    "clicks": lambda: (np.arange(6 * RATE) % 9000 == 5000).astype(np.float32),
    "chord": lambda: tone(261.63, 6) + tone(329.63, 6) + tone(392.0, 6),
    "shorter than the windows": lambda: music(1.3),
}


@pytest.mark.parametrize("name", SIGNALS)
def test_hcqt_equals_librosa_per_harmonic(name: str) -> None:
    audio, config = SIGNALS[name](), HcqtConfig()
    got, expected = hcqt(audio, config).values, librosa_hcqt(audio, config)
    assert got.shape == expected.shape and got.dtype == np.float32
    for h, ours, theirs in zip(config.harmonics, got, expected, strict=True):
        assert relative_error(ours, theirs) < 0.025, f"harmonic {h}"


@pytest.mark.parametrize(
    "config",
    [
        HcqtConfig((1, 2.5), bins_per_semitone=1, n_octaves=5, f_min_hz=55.0, hop_samples=256),
        HcqtConfig((1, 3), bins_per_semitone=3, n_octaves=4, f_min_hz=65.4, sample_rate=16000),
        HcqtConfig((1, 2), bins_per_semitone=2, n_octaves=3, f_min_hz=110, hop_samples=441),
    ],
    ids=lambda c: f"{c.bins_per_semitone}-{c.hop_samples}-{c.sample_rate}",
)
def test_other_configurations_equal_librosa(config: HcqtConfig) -> None:
    audio = music(4.0, seed=3)
    got, expected = hcqt(audio, config).values, librosa_hcqt(audio, config)
    assert got.shape == expected.shape
    for ours, theirs in zip(got, expected, strict=True):
        assert relative_error(ours, theirs) < 0.03


@pytest.mark.parametrize("harmonic", HcqtConfig().harmonics)
def test_every_tone_lands_in_its_bin_at_its_level(harmonic: float) -> None:
    config = HcqtConfig((harmonic,))
    for k in [0, 1, *range(5, config.n_bins, 17), config.n_bins - 1]:
        frequency_hz = harmonic * config.frequencies_hz[k]
        window_s = config.quality / frequency_hz
        values = hcqt(tone(frequency_hz, window_s + 0.5), config).values[0]
        middle = values[:, values.shape[1] // 2]
        assert middle.argmax() == k
        # Half the amplitude, times the root of the window's length in samples.
        assert middle[k] == pytest.approx(0.5 * np.sqrt(window_s * RATE), rel=0.01)


def test_a_tone_stands_in_the_same_bin_of_its_harmonics() -> None:
    """Partials h * f0 line up in bin k of harmonic h: this is what the HCQT is for."""
    config = HcqtConfig((1, 2, 3, 4, 5))
    k = 140
    partials = [tone(h * config.frequencies_hz[k], 3.0) / h for h in config.harmonics]
    middle = hcqt(np.sum(partials, axis=0), config).values[:, :, 60]
    near = middle[:, k - 15 : k + 16]  # less than a major third: no neighbouring partial
    assert np.all(near.argmax(axis=1) == 15)


def test_the_grid_is_librosas() -> None:
    config = HcqtConfig((1,), bins_per_semitone=1, n_octaves=4, f_min_hz=200.0)
    for n_samples in (1, 511, 512, 513, 5120):
        feature = hcqt(np.ones(n_samples, dtype=np.float32), config)
        n_frames = 1 + n_samples // 512
        assert feature.values.shape == (1, 48, n_frames)
        np.testing.assert_allclose(feature.times, np.arange(n_frames) * 512 / RATE)
    assert feature.frequencies.shape == (48,) and feature.frequencies[12] == pytest.approx(400)
    assert (feature.sample_rate, feature.hop_samples) == (RATE, 512)


def test_a_frame_is_centred_on_its_sample() -> None:
    config = HcqtConfig((1,), bins_per_semitone=1, n_octaves=2, f_min_hz=1000.0)
    audio = np.zeros(40 * 512, dtype=np.float32)
    audio[17 * 512] = 1.0
    values = hcqt(audio, config).values[0]
    assert np.all(values.argmax(axis=1) == 17)
    np.testing.assert_allclose(values[:, 16], values[:, 18], rtol=1e-3, atol=1e-6)


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    audio, config = music(40.0, seed=2), HcqtConfig()
    whole = hcqt(audio, config).values
    assert len(list(hcqt_plan(config, audio.size).blocks(audio.size))) == 1
    monkeypatch.setattr("dl101.signal.cqt._MAX_BLOCK_SAMPLES", 2**18)
    assert len(list(hcqt_plan(config, audio.size).blocks(audio.size))) > 3
    in_blocks = hcqt(audio, config).values
    assert np.abs(in_blocks - whole).max() < 1e-5 * whole.max()


def test_memory_of_a_plan_is_bounded() -> None:
    config = HcqtConfig()
    assert hcqt_plan(config, 3600 * RATE) is hcqt_plan(config, 7200 * RATE)
    assert sum(g.weights.nbytes for g in hcqt_plan(config).groups) < 40e6


def test_harmonics_share_their_common_frequencies() -> None:
    plan = hcqt_plan(HcqtConfig(), RATE)
    assert plan.frequencies_hz.size == (6 + 3) * 60 + 2 * 360
    for offset, h in zip(plan.offsets, HcqtConfig().harmonics, strict=True):
        np.testing.assert_allclose(
            plan.frequencies_hz[offset : offset + 360], h * HcqtConfig().frequencies_hz
        )


def test_bins_above_half_the_rate_are_zero_and_the_others_unchanged() -> None:
    audio = np.random.default_rng(0).standard_normal(RATE).astype(np.float32)
    low = hcqt(audio, HcqtConfig((5,))).values[0]
    high = hcqt(audio, HcqtConfig((10,))).values[0]
    np.testing.assert_allclose(high[:300], low[60:], atol=1e-5)
    assert high[300:304].max() > 0 and np.all(high[310:] == 0)


def test_cqt_is_harmonic_one() -> None:
    audio, config = music(2.0), HcqtConfig()
    assert cqt(audio, config).values.shape == (1, 360, 87)
    np.testing.assert_allclose(
        cqt(audio, config).values[0], hcqt(audio, config).values[1], atol=1e-5
    )


def test_a_wrong_rate_is_found_at_the_door() -> None:
    with pytest.raises(DataError, match="44100"):
        hcqt(np.zeros(100), sample_rate=44100)
    for rate in (0, -1, np.nan, None):
        with pytest.raises(DataError, match="sample rate"):
            waveform(np.zeros(3), rate)


@pytest.mark.parametrize(
    "change",
    [{"harmonics": ()}, {"harmonics": (0.0,)}, {"bins_per_semitone": 0}, {"hop_samples": 1.5}],
)
def test_an_impossible_configuration_is_refused(change: dict) -> None:
    with pytest.raises(ConfigError, match=next(iter(change))):
        replace(HcqtConfig(), **change)
