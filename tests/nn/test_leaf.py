"""LEAF's parts: closed forms, ranges, gradients, devices and types; SincNet's filters as power."""

from __future__ import annotations

import cmath
import math

import numpy as np
import pytest
import torch

from dl101.errors import ConfigError
from dl101.nn.compression import PCEN
from dl101.nn.leaf import GaborConv, GaussianPool, Leaf, SincSpectrogram

RATE = 16000


def gabor_by_formula(centre: float, bandwidth: float, window: int) -> np.ndarray:
    """exp(2 pi i eta n) exp(-n^2 / 2 sigma^2) / (sqrt(2 pi) sigma), sample by sample."""
    sigma = math.sqrt(2 * math.log(2)) / (math.pi * bandwidth)
    values = []
    for n in range(-(window // 2), window // 2 + 1):
        height = math.exp(-(n**2) / (2 * sigma**2)) / (math.sqrt(2 * math.pi) * sigma)
        values.append(height * cmath.exp(2j * math.pi * centre * n))
    return np.array(values)


def test_gabor_filters_are_the_formula() -> None:
    layer = GaborConv(7, 401, sample_rate=RATE).double()
    centres, bandwidths = layer.centres_and_bandwidths()
    both = layer.filters()[:, 0].detach().numpy()
    for k in range(7):
        expected = gabor_by_formula(centres[k].item(), bandwidths[k].item(), 401)
        np.testing.assert_allclose(both[k], expected.real, atol=1e-9)
        np.testing.assert_allclose(both[7 + k], expected.imag, atol=1e-9)


def test_gabor_response_is_one_at_the_centre_and_half_at_half_the_bandwidth() -> None:
    layer = GaborConv(12, 801, sample_rate=RATE).double()
    both = layer.filters()[:, 0].detach().numpy()
    filters = both[:12] + 1j * both[12:]
    hz = layer.centres_and_bandwidths_hz().detach().numpy()
    taps = np.arange(801) - 400
    for (centre, bandwidth), h in zip(hz, filters, strict=True):
        for offset, gain in ((0, 1.0), (-0.5, 0.5), (0.5, 0.5)):
            wave = np.exp(-2j * np.pi * (centre + offset * bandwidth) / RATE * taps)
            assert abs(h @ wave) == pytest.approx(gain, abs=2e-3)


@pytest.mark.parametrize("stride", [1, 4, 7])
def test_gabor_layer_is_the_squared_modulus_at_every_strideth_sample(stride: int) -> None:
    layer = GaborConv(5, 101, sample_rate=RATE, stride=stride).double()
    x = torch.randn(2, 1, 700, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    both = layer.filters()[:, 0].detach().numpy()
    y = layer(x)
    assert y.shape == (2, 5, 1 + 700 // stride)
    for item in range(2):
        padded = np.pad(x[item, 0].numpy(), (50, 51))
        for k in range(5):
            h = both[k] + 1j * both[5 + k]
            full = np.convolve(padded, h[::-1], mode="valid")
            np.testing.assert_allclose(y[item, k].detach(), np.abs(full[::stride]) ** 2, atol=1e-9)


def test_power_of_a_tone_is_steady_and_a_quarter_of_its_squared_amplitude() -> None:
    layer = GaborConv(20, 401, sample_rate=RATE, stride=4)
    centre = layer.centres_and_bandwidths()[0][11].item()
    for phase in (0.0, 0.7, 2.0):
        tone = 0.5 * torch.cos(2 * math.pi * centre * torch.arange(4000) + phase)
        power = layer(tone[None, None])[0, 11, 100:-100]
        torch.testing.assert_close(power, torch.full_like(power, 0.25 / 4), rtol=2e-3, atol=0)


def test_filters_start_on_the_mel_scale_with_mel_widths() -> None:
    layer = GaborConv(40, 401, sample_rate=RATE, highest_hz=7800.0)
    hz = layer.centres_and_bandwidths_hz().detach().double()
    mel = 2595 * torch.log10(1 + hz[:, 0] / 700)
    torch.testing.assert_close(mel.diff(), mel.diff()[:1].expand(39), rtol=1e-3, atol=1e-2)
    # a width at half the height of the root of a triangle: 3/8 of each neighbour's distance
    inner = 0.75 * (hz[2:, 0] - hz[:-2, 0])
    wide = inner > RATE / 401
    assert wide.sum() > 25
    torch.testing.assert_close(hz[1:-1, 1][wide], inner[wide], rtol=1e-3, atol=0.1)
    assert (hz[:, 1] >= RATE / 401 - 1e-3).all()


def test_gabor_numbers_stay_in_their_ranges_and_can_come_back() -> None:
    layer = GaborConv(3, 101, sample_rate=RATE)
    with torch.no_grad():
        layer.centre.copy_(torch.tensor([-0.2, 0.7, 0.1]))
        layer.bandwidth.copy_(torch.tensor([-1.0, 3.0, 0.1]))
    centres, bandwidths = layer.centres_and_bandwidths()
    torch.testing.assert_close(centres, torch.tensor([0.0, 0.5, 0.1]))
    torch.testing.assert_close(bandwidths, torch.tensor([1 / 101, 0.25, 0.1]))
    layer.filters().square().sum().backward()
    assert (layer.bandwidth.grad != 0).all()


def test_pool_is_the_formula() -> None:
    pool = GaussianPool(3, 41, stride=10).double()
    with torch.no_grad():
        pool.width.copy_(torch.tensor([0.125, 0.375, 9.0]))  # the last is held at 1/2
    x = torch.randn(2, 3, 95, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    y = pool(x)
    assert y.shape == (2, 3, 1 + 94 // 10)
    for channel, width in enumerate((0.125, 0.375, 0.5)):
        weights = [math.exp(-0.5 * ((n - 20) / (width * 20)) ** 2) for n in range(41)]
        weights = np.array(weights) / sum(weights)
        for frame in range(10):
            total = 0.0
            for n, weight in enumerate(weights):
                place = 10 * frame + n - 20
                total += weight * x[0, channel, place].item() if 0 <= place < 95 else 0.0
            assert y[0, channel, frame].item() == pytest.approx(total, abs=1e-9)


def test_frames_are_those_of_the_librarys_spectrograms() -> None:
    for samples in (1023, 1024, 1025, 2500):
        x = torch.zeros(1, 1, samples)
        for stride in (1, 4):
            leaf = Leaf(11025, n_filters=3, hop_samples=256, stride=stride)
            assert leaf(x).shape == (1, 3, 1 + samples // 256)
            sinc = SincSpectrogram(3, 251, sample_rate=11025, hop_samples=256, stride=stride)
            assert sinc(x).shape == (1, 3, 1 + samples // 256)


def test_a_click_is_loudest_in_its_own_frame() -> None:
    leaf = Leaf(11025, n_filters=4, hop_samples=256, stride=4)
    sinc = SincSpectrogram(4, 251, sample_rate=11025, hop_samples=256, stride=4)
    x = torch.zeros(1, 1, 4096)
    x[..., 256 * 7] = 1.0
    # PCEN would lift what the windows let through before the click out of the silence
    assert leaf.pool(leaf.filterbank(x)).sum(dim=1).argmax().item() == 7
    assert sinc(x).sum(dim=1).argmax().item() == 7


def test_numbers_to_learn() -> None:
    leaf = Leaf(RATE)
    counts = [sum(p.numel() for p in part.parameters()) for part in leaf.children()]
    assert counts == [80, 40, 160]
    assert leaf.filterbank.window_samples == leaf.pool.window == 401
    assert leaf.pool.stride == 160
    assert leaf.compression.smoothing[0].item() == pytest.approx(0.04, abs=1e-3)
    assert sum(p.numel() for p in Leaf(RATE, n_filters=64).parameters()) == 448
    sinc = SincSpectrogram(64, 251, sample_rate=RATE, hop_samples=160)
    assert sum(p.numel() for p in sinc.parameters()) == 128


def test_gradients_reach_every_number_and_are_right() -> None:
    torch.manual_seed(3)
    leaf = Leaf(2000, n_filters=4, hop_samples=32, stride=2, lowest_hz=50.0).double()
    x = 0.3 * torch.randn(1, 1, 300, dtype=torch.float64)
    leaf(x).square().sum().backward()
    assert all((p.grad != 0).all() for p in leaf.parameters())
    for name in ("filterbank.centre", "pool.width", "compression.smoothing"):
        parameter = leaf.get_parameter(name)
        index, step = 1, 1e-6
        losses = []
        for sign in (1, -1):
            with torch.no_grad():
                parameter[index] += sign * step
                losses.append(leaf(x).square().sum().item())
                parameter[index] -= sign * step
        slope = (losses[0] - losses[1]) / (2 * step)
        assert parameter.grad[index].item() == pytest.approx(slope, rel=1e-4, abs=1e-8)


FRONTS = {
    "leaf": lambda: Leaf(11025, n_filters=6, hop_samples=256, stride=4),
    "sinc": lambda: SincSpectrogram(6, 251, sample_rate=11025, hop_samples=256, stride=4),
}


@pytest.mark.parametrize("name", FRONTS)
def test_nothing_stays_behind(name: str) -> None:
    x = 0.1 * torch.randn(2, 1, 3000, generator=torch.Generator().manual_seed(4))
    layer = FRONTS[name]()
    y = layer(x)
    assert layer.double()(x.double()).dtype == torch.float64
    torch.testing.assert_close(layer(x.double()), y.double(), rtol=1e-3, atol=1e-4)
    assert layer.to("meta")(x.to("meta")).shape == y.shape
    assert set(layer.state_dict()) == {key for key, _ in layer.named_parameters()}
    with torch.device("meta"):
        assert all(t.is_meta for t in (*FRONTS[name]().parameters(), *FRONTS[name]().buffers()))


@pytest.mark.parametrize("name", FRONTS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_keeps_soft_sounds(name: str, dtype: torch.dtype) -> None:
    x = 0.01 * torch.randn(2, 1, 3000, generator=torch.Generator().manual_seed(5))
    layer = FRONTS[name]()
    y = layer(x)
    with torch.autocast("cpu", dtype=dtype):
        low = layer(x)
    assert low.isfinite().all()
    assert (low - y).abs().max() < 0.05 * y.abs().max()
    low.float().square().sum().backward()
    assert all(p.grad.isfinite().all() and p.grad.any() for p in layer.parameters())


def test_sinc_spectrogram_is_log_power_in_the_band() -> None:
    layer = SincSpectrogram(6, 801, sample_rate=RATE, hop_samples=400, strength=100.0)
    cutoffs = layer.filterbank.cutoffs_hz().detach()
    middle = cutoffs[4].mean().item()
    tone = 0.4 * torch.sin(2 * math.pi * middle / RATE * torch.arange(8000))
    y = layer(tone[None, None])[0, :, 3:-3]
    expected = torch.full_like(y[4], math.log1p(100 * 0.4**2 / 2))
    torch.testing.assert_close(y[4], expected, rtol=0, atol=0.03)
    assert y[[1, 2]].max() < 0.01


def test_faults() -> None:
    with pytest.raises(ConfigError, match="400 samples"):
        GaborConv(4, 400, sample_rate=RATE)
    with pytest.raises(ConfigError, match=r"60 to 11\.025 Hz"):
        GaborConv(4, 401, sample_rate=22.05)
    with pytest.raises(ConfigError, match="GaussianPool"):
        GaussianPool(4, 3, stride=2)
    with pytest.raises(ConfigError, match="divisor"):
        Leaf(RATE, hop_samples=160, stride=3)
    with pytest.raises(ConfigError, match="divisor"):
        SincSpectrogram(4, 51, sample_rate=RATE, hop_samples=100, stride=3)
    with pytest.raises(ConfigError, match="alpha"):
        PCEN(4, alpha=1.5)
