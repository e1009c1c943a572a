"""Inspection: closed forms of what a frame sees, what a kernel passes and what a unit likes."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from dl101.errors import ShapeError
from dl101.lab.costs import layer_costs
from dl101.nn import inspection

RATE_HZ = 8000.0


def tones(*frequencies_hz: float, n: int = 400) -> torch.Tensor:
    """Return windowed cosines, (frequency, n)."""
    time_s = torch.arange(n) / RATE_HZ
    phases = 2 * math.pi * torch.tensor(frequencies_hz)[:, None] * time_s
    return torch.cos(phases) * torch.hann_window(n)


@pytest.mark.parametrize("shape", [(3, 400), (3, 1, 400)])
def test_centre_frequencies_are_those_of_the_tones(shape):
    kernels = tones(300.0, 1000.0, 2500.0).reshape(shape)
    found = inspection.centre_frequencies_hz(kernels, RATE_HZ)
    np.testing.assert_allclose(found, [300, 1000, 2500], atol=RATE_HZ / 4096)


def test_responses_are_the_gain_of_the_convolution():
    kernel = torch.randn(2, 31)
    frequencies_hz, gains = inspection.frequency_responses(kernel, RATE_HZ, n_fft=80)
    assert frequencies_hz[-1] == RATE_HZ / 2
    tone_hz = float(frequencies_hz[7])
    time_s = torch.arange(800) / RATE_HZ
    tone = torch.cos(2 * math.pi * tone_hz * time_s)
    heard = nn.functional.conv1d(tone[None, None], kernel[:, None])[0]
    # whole periods: 80 samples hold 7 of them
    rms = heard[:, :720].square().mean(-1).sqrt() * math.sqrt(2)
    torch.testing.assert_close(rms, gains[:, 7], rtol=1e-3, atol=1e-3)


def test_kernels_longer_than_the_transform_and_of_another_shape():
    frequencies_hz, gains = inspection.frequency_responses(torch.ones(1, 101), RATE_HZ, n_fft=8)
    assert gains.shape == (1, 51) and gains[0, 0] == pytest.approx(101)
    assert len(frequencies_hz) == 51
    with pytest.raises(ShapeError, match=r"\(4, 2, 5\)"):
        inspection.frequency_responses(torch.ones(4, 2, 5), RATE_HZ)


def stack() -> nn.Module:
    return nn.Sequential(
        nn.Conv1d(1, 4, 5, stride=3),
        nn.ReLU(),
        nn.MaxPool1d(2),
        nn.Conv1d(4, 6, 3, dilation=2),
    )


def test_receptive_field_is_the_one_that_the_code_implies():
    reach = inspection.receptive_field(stack(), (1, 200), frame=3, n_draws=64)
    n_samples = 5 + (2 - 1) * 3 + (3 - 1) * 2 * 6
    assert reach.size == n_samples == layer_costs(stack(), (1, 200))[-1].field
    assert reach.first == 3 * 6


def test_receptive_field_along_the_bands():
    network = nn.Sequential(nn.Conv2d(1, 2, (7, 3)), nn.Conv2d(2, 2, (4, 1)))
    assert inspection.receptive_field(network, (1, 40, 20), axis=-2).size == 10
    assert inspection.receptive_field(network, (1, 40, 20), axis=-1).size == 3


def test_influence_of_a_linear_filter_is_its_kernel():
    layer = nn.Conv1d(1, 1, 5, bias=False)
    found = inspection.influence(layer, torch.randn(3, 1, 30), frame=10)
    kernel = layer.weight[0, 0].detach().abs().double()
    torch.testing.assert_close(found[10:15] / found.sum(), kernel / kernel.sum())
    assert found[:10].sum() == 0 and found[15:].sum() == 0


def test_looking_leaves_the_network_as_it_was():
    network = nn.Sequential(nn.Conv1d(1, 4, 3), nn.BatchNorm1d(4), nn.Dropout(0.5))
    network[1].eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    inspection.receptive_field(network, (1, 20))
    inspection.outputs_of(network, nn.Conv1d, torch.randn(2, 1, 20))
    inspection.maximise_activation(
        network, lambda x: network(x).mean((1, 2)), torch.randn(2, 1, 20), n_steps=2
    )
    assert [module.training for module in network.modules()] == [True, True, False, True]
    assert all(parameter.grad is None for parameter in network.parameters())
    for name, value in network.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)
    assert next(network.parameters()).dtype == torch.float32


def test_faults_say_what_to_try():
    with pytest.raises(ShapeError, match="counted from the end"):
        inspection.influence(nn.Conv1d(1, 2, 3), torch.randn(1, 1, 9), axis=2)
    with pytest.raises(ShapeError, match="not the batch"):
        inspection.influence(nn.Conv1d(1, 2, 3), torch.randn(1, 1, 9), axis=-3)
    shut = nn.Sequential(nn.Conv1d(1, 2, 3), nn.ReLU())
    with torch.no_grad():
        shut[0].bias.fill_(-1e6)
    with pytest.raises(ShapeError, match="depends on the input"):
        inspection.receptive_field(shut, (1, 9))
    with pytest.raises(ShapeError, match="begin with noise"):
        inspection.maximise_activation(shut, lambda x: shut(x).mean((1, 2)), torch.zeros(1, 1, 9))


def test_outputs_are_found_by_kind_with_their_gradients():
    network = stack()
    x = torch.randn(2, 1, 60, requires_grad=True)
    found = inspection.outputs_of(network, (nn.Conv1d, nn.MaxPool1d), x)
    assert list(found) == ["0", "2", "3"]
    torch.testing.assert_close(found["3"], network(x))
    found["0"].sum().backward()
    assert x.grad.abs().sum() > 0
    assert not any(module._forward_hooks for module in network.modules())


def test_what_excites_a_filter_most_is_its_own_frequency():
    network = nn.Sequential(nn.Conv1d(1, 2, 400, bias=False), nn.ReLU())
    with torch.no_grad():
        network[0].weight.copy_(tones(700.0, 1900.0)[:, None])
    start = 0.1 * torch.randn(1, 1, 2000, generator=torch.Generator().manual_seed(0))
    for unit, wanted_hz in ((0, 700), (1, 1900)):
        best = inspection.maximise_activation(
            network,
            lambda x, unit=unit: inspection.outputs_of(network, nn.ReLU, x)["1"][:, unit].mean(-1),
            start,
        )
        torch.testing.assert_close(best.inputs.square().mean(), start.square().mean())
        assert best.activations.shape == (101, 1)
        assert best.activations[-1] > 3 * best.activations[0]
        found_hz = inspection.centre_frequencies_hz(best.inputs, RATE_HZ)
        assert float(found_hz) == pytest.approx(wanted_hz, abs=20)
