"""SincConv: its filters are the band-passes that their cut-offs say."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dl101.errors import ConfigError
from dl101.nn.frontends import SincConv

SAMPLE_RATE = 16000


def gains(layer: SincConv, n_fft: int = 8192) -> tuple[np.ndarray, np.ndarray]:
    """Return frequencies in Hz and |frequency response|, (filter, frequency)."""
    filters = layer.filters()[:, 0].detach().numpy()
    return np.fft.rfftfreq(n_fft, 1 / layer.sample_rate), np.abs(np.fft.rfft(filters, n_fft))


@pytest.mark.parametrize("kernel_size", [801, 800])
def test_impulse_response_is_a_band_pass_with_gain_one(kernel_size):
    layer = SincConv(12, kernel_size, sample_rate=SAMPLE_RATE)
    hz, gain = gains(layer)
    transition_hz = 3.3 * SAMPLE_RATE / kernel_size / 2  # half the Hamming window's transition
    checked = 0
    for (low, high), response in zip(layer.cutoffs_hz().tolist(), gain, strict=True):
        inside = (hz > low + transition_hz) & (hz < high - transition_hz)
        outside = (hz < low - transition_hz) | (hz > high + transition_hz)
        assert response[outside].max() < 0.01
        if inside.any():
            np.testing.assert_allclose(response[inside], 1, atol=0.01)
            edges = [edge for edge in (low, high) if edge < SAMPLE_RATE / 2]
            np.testing.assert_allclose(np.interp(edges, hz, response), 0.5, atol=0.02)
            checked += 1
    assert checked >= 6


def test_moving_a_cutoff_moves_the_band():
    layer = SincConv(1, 1001, sample_rate=SAMPLE_RATE, min_low_hz=0, min_band_hz=0)
    with torch.no_grad():
        layer.low.fill_(-1000 / SAMPLE_RATE)  # the sign does not matter
        layer.band.fill_(500 / SAMPLE_RATE)
    np.testing.assert_allclose(layer.cutoffs_hz().detach(), [[1000, 1500]], rtol=1e-5)
    hz, gain = gains(layer)
    assert gain[0, np.searchsorted(hz, 1250)] == pytest.approx(1, abs=0.01)
    assert gain[0, hz < 900].max() < 0.01 and gain[0, hz > 1600].max() < 0.01


def test_filters_start_as_neighbours_on_the_mel_scale():
    layer = SincConv(20, 251, sample_rate=22050)
    low = layer.cutoffs_hz()[:, 0].detach() - 50.0
    assert low[0].item() == pytest.approx(30, rel=1e-3)
    mel = 2595 * torch.log10(1 + low / 700)
    torch.testing.assert_close(mel.diff(), mel.diff()[:1].expand(19), rtol=1e-3, atol=1e-2)
    assert (layer.cutoffs_hz() <= 22050 / 2).all()


@pytest.mark.parametrize("kernel_size", [251, 250])
@pytest.mark.parametrize("stride", [1, 16])
def test_output_length_counts_the_kernel_as_given(kernel_size, stride):
    layer = SincConv(4, kernel_size, sample_rate=SAMPLE_RATE, stride=stride)
    y = layer(torch.randn(2, 1, 3200))
    assert y.shape == (2, 4, 1 + (3200 - kernel_size) // stride)
    filters = layer.filters()
    assert filters.shape == (4, 1, kernel_size)
    torch.testing.assert_close(filters, filters.flip(-1))  # linear phase


def test_only_the_cutoffs_are_learnt_and_constants_move_with_the_module():
    layer = SincConv(7, 51, sample_rate=SAMPLE_RATE)
    assert sorted(name for name, _ in layer.named_parameters()) == ["band", "low"]
    assert sum(p.numel() for p in layer.parameters()) == 14
    assert {name for name, _ in layer.named_buffers()} == {"taps", "window"}
    assert layer.double()(torch.randn(1, 1, 100, dtype=torch.float64)).dtype == torch.float64
    meta = layer.to("meta")
    assert meta(torch.empty(1, 1, 100, device="meta")).shape == (1, 7, 50)


def test_gradients_reach_the_cutoffs():
    layer = SincConv(7, 51, sample_rate=SAMPLE_RATE)
    layer(torch.randn(2, 1, 400)).square().sum().backward()
    assert (layer.low.grad != 0).all() and (layer.band.grad != 0).sum() >= 6


def test_faults():
    with pytest.raises(ConfigError, match="2 input channels"):
        SincConv(4, 51, sample_rate=SAMPLE_RATE, in_channels=2)
    with pytest.raises(ConfigError, match=r"sample rate 22\.05 Hz"):
        SincConv(4, 51, sample_rate=22.05)
