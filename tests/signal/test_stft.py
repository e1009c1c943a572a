"""The STFT against librosa, torch and scipy; its inverse; phases found from magnitudes."""

from __future__ import annotations

import librosa
import numpy as np
import pytest
import scipy.signal
import torch

from dl101.errors import ConfigError, DataError
from dl101.signal import stft as transforms
from dl101.signal.stft import griffin_lim, is_cola, istft, overlap_sum, spectral_convergence, stft

RATE = 22050
WINDOWS = tuple(transforms.WINDOWS)


def noise(n_samples: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([seed]).standard_normal(n_samples)


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize(("length", "hop"), [(512, 128), (1024, 512), (600, 200), (255, 100)])
def test_equals_librosa_and_torch(window: str, length: int, hop: int) -> None:
    audio = noise(5003)
    ours = stft(audio, window_samples=length, hop_samples=hop, window=window)
    name = transforms.WINDOWS[window]
    theirs = librosa.stft(audio, n_fft=length, hop_length=hop, window=name, pad_mode="constant")
    assert ours.shape == (length // 2 + 1, 1 + audio.size // hop)
    # librosa centres with the same number of zeros, so an even length agrees sample by sample
    np.testing.assert_allclose(ours, theirs[:, : ours.shape[1]], atol=1e-9)
    if length % 2 == 0:
        torchs = torch.stft(
            torch.from_numpy(audio),
            length,
            hop,
            window=torch.from_numpy(transforms.window(window, length)),
            pad_mode="constant",
            return_complex=True,
        )
        np.testing.assert_allclose(ours, torchs.numpy(), atol=1e-9)


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize(("length", "hop"), [(512, 128), (1024, 256), (1024, 512), (600, 150)])
@pytest.mark.parametrize("n_samples", [4096, 5003, 300])
def test_inverse_is_exact(window: str, length: int, hop: int, n_samples: int) -> None:
    audio = noise(n_samples)
    spectrum = stft(audio, window_samples=length, hop_samples=hop, window=window)
    back = istft(spectrum, hop_samples=hop, n_samples=n_samples, window=window)
    np.testing.assert_allclose(back, audio, atol=1e-10)


def test_single_precision_stays_so_and_returns_within_1e_6() -> None:
    audio = (0.3 * noise(20000)).astype(np.float32)
    spectrum = stft(audio, window_samples=1024, hop_samples=256)
    back = istft(spectrum, hop_samples=256, n_samples=audio.size)
    assert spectrum.dtype == np.complex64
    assert back.dtype == np.float32
    np.testing.assert_allclose(back, audio, atol=1e-6)


def test_inverse_of_a_changed_spectrum_is_scipys_and_librosas() -> None:
    """A spectrum that no signal has: the least-squares signal, not any other."""
    audio = noise(6000)
    spectrum = stft(audio, window_samples=512, hop_samples=128)
    spectrum *= np.random.default_rng([1]).uniform(0, 2, spectrum.shape)
    ours = istft(spectrum, hop_samples=128, n_samples=6000)
    theirs = librosa.istft(spectrum, hop_length=128, length=6000)
    np.testing.assert_allclose(ours[256:-256], theirs[256:-256], atol=1e-9)
    scipys = scipy.signal.ShortTimeFFT(transforms.window("hann", 512), 128, RATE, phase_shift=None)
    # scipy begins with the first frame that touches the signal, ours with the one centred on 0
    whole = np.pad(spectrum, ((0, 0), (-scipys.p_min, 0)))
    np.testing.assert_allclose(ours[512:5000], scipys.istft(whole, k1=5500)[512:5000], atol=1e-9)

    def distance(candidate: np.ndarray) -> float:
        again = stft(candidate, window_samples=512, hop_samples=128)
        # twice the inner bins: a real signal has them a second time, at negative frequencies
        weight = np.r_[1, np.full(again.shape[0] - 2, 2), 1][:, None]
        return float(np.sum(weight * np.abs(again - spectrum) ** 2))

    for seed in range(3):
        assert distance(ours) < distance(ours + 1e-3 * noise(6000, seed + 5))


def test_longer_fft_reads_the_same_spectrum_between_the_bins() -> None:
    audio = noise(3000)
    plain = stft(audio, window_samples=256, hop_samples=64)
    padded = stft(audio, window_samples=256, hop_samples=64, fft_samples=1024)
    np.testing.assert_allclose(padded[::4], plain, atol=1e-10)
    back = istft(padded, hop_samples=64, n_samples=3000, window_samples=256)
    np.testing.assert_allclose(back, audio, atol=1e-10)


def test_a_sine_stands_in_its_bin_with_half_the_sum_of_the_window() -> None:
    length, k, amplitude = 1024, 40, 0.25
    n = np.arange(8 * length)
    for window in WINDOWS:
        spectrum = stft(
            amplitude * np.cos(2 * np.pi * k * n / length),
            window_samples=length,
            window=window,
        )
        middle = np.abs(spectrum[:, spectrum.shape[1] // 2])
        assert middle.argmax() == k
        height = amplitude * transforms.window(window, length).sum() / 2
        assert middle[k] == pytest.approx(height, rel=1e-9)


def test_a_click_stands_in_the_frame_centred_on_it() -> None:
    audio = np.zeros(8000)
    audio[3200] = 1.0
    energy = (np.abs(stft(audio, window_samples=512, hop_samples=100)) ** 2).sum(axis=0)
    assert energy.argmax() == 32
    assert energy[32 - 2] == pytest.approx(energy[32 + 2], rel=0.02)


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize(
    ("length", "hop"), [(512, 128), (512, 256), (512, 384), (600, 200), (64, 48)]
)
def test_cola_agrees_with_scipy(window: str, length: int, hop: int) -> None:
    shape = transforms.window(window, length)
    assert is_cola(length, hop, window=window) == scipy.signal.check_COLA(
        shape, length, length - hop
    )
    total = overlap_sum(length, hop, window=window, power=2)
    assert (total.min() > 1e-10) == scipy.signal.check_NOLA(shape, length, length - hop)


def test_sums_of_a_hann_window_in_closed_form() -> None:
    np.testing.assert_allclose(overlap_sum(1024, 512), 1.0)
    np.testing.assert_allclose(overlap_sum(1024, 256), 2.0)
    np.testing.assert_allclose(overlap_sum(1024, 256, power=2), 1.5)
    assert not is_cola(1024, 512, power=2)
    n = np.arange(512)
    expected = 0.75 + 0.25 * np.cos(4 * np.pi * n / 1024)
    np.testing.assert_allclose(overlap_sum(1024, 512, power=2), expected)


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.99])
def test_griffin_lim_takes_librosas_steps(momentum: float) -> None:
    audio = noise(8000)
    magnitude = np.abs(stft(audio, window_samples=512, hop_samples=128))
    ours = griffin_lim(
        magnitude,
        hop_samples=128,
        n_samples=8000,
        n_iterations=6,
        momentum=momentum,
        initial_phase=np.zeros_like(magnitude),
    )
    theirs = librosa.griffinlim(
        magnitude,
        n_iter=6,
        hop_length=128,
        momentum=momentum,
        init=None,
        pad_mode="constant",
        length=8000,
    )
    np.testing.assert_allclose(ours.audio, theirs, atol=1e-8)
    assert ours.convergence.shape == (7,)


def test_griffin_lim_never_gets_worse_without_momentum_and_keeps_the_true_phase() -> None:
    audio = noise(6000)
    spectrum = stft(audio, window_samples=512, hop_samples=128)
    grid = {"hop_samples": 128, "n_samples": 6000}
    steps = griffin_lim(np.abs(spectrum), momentum=0.0, n_iterations=20, **grid).convergence
    assert np.all(np.diff(steps) <= 1e-12)
    assert steps[-1] < 0.6 * steps[0]
    known = griffin_lim(np.abs(spectrum), initial_phase=np.angle(spectrum), n_iterations=3, **grid)
    np.testing.assert_allclose(known.audio, audio, atol=1e-9)


def test_griffin_lim_random_phases_come_from_the_seed() -> None:
    magnitude = np.abs(stft(noise(3000).astype(np.float32), window_samples=256))
    grid = {"hop_samples": 64, "n_samples": 3000, "n_iterations": 2}
    first, again, other = (griffin_lim(magnitude, seed=s, **grid).audio for s in (1, 1, 2))
    assert first.dtype == np.float32
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0.01


def test_spectral_convergence() -> None:
    magnitude = np.array([[3.0, 0.0], [0.0, 4.0]])
    assert spectral_convergence(magnitude, magnitude) == 0
    assert spectral_convergence(np.zeros((2, 2)), magnitude) == 1
    assert spectral_convergence([[3.0, 0.0], [0.0, 3.0]], magnitude) == pytest.approx(0.2)


@pytest.mark.parametrize(
    "wrong",
    [
        {"window": "han"},
        {"window_samples": 1},
        {"hop_samples": 0},
        {"hop_samples": 1.5},
        {"fft_samples": 100},
    ],
)
def test_lengths_and_names_are_checked(wrong: dict) -> None:
    with pytest.raises(ConfigError):
        stft(noise(1000), **({"window_samples": 256} | wrong))


@pytest.mark.parametrize(
    "audio",
    [np.zeros((2, 100)), np.zeros(0), np.zeros(100, int), np.full(100, np.nan)],
)
def test_audio_is_checked(audio: np.ndarray) -> None:
    with pytest.raises(DataError):
        stft(audio)


def test_gaps_between_windows_are_named() -> None:
    spectrum = stft(noise(4000), window_samples=256, hop_samples=256)
    with pytest.raises(ConfigError, match="overlap"):
        istft(spectrum, hop_samples=256, n_samples=4000)
    with pytest.raises(ConfigError, match="n_samples"):
        istft(spectrum[:, :4], hop_samples=64, n_samples=4000)
    with pytest.raises(DataError):
        istft(spectrum[0], hop_samples=64, n_samples=100)
