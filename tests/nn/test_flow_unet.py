"""The U-Net of the flow: published counts, any length, gradients, what it is told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from dl101.errors import ConfigError
from dl101.nn.flow_unet import FlowUNet, NoteCondition, UNetConfig

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "parameter_counts.json").read_text())
SMALL = UNetConfig(channels=(8, 12, 16), hidden=10, time_features=4)


@pytest.mark.parametrize(
    ("depth", "entry"),
    [(5, "dl101/Diffusion U-Net L5"), (3, "dl101/Diffusion U-Net L3 (class default)")],
)
def test_the_network_of_2024_has_its_count(depth, entry):
    channels = (64, *(128 * 2**level for level in range(depth)))
    config = UNetConfig(channels=channels, units=0, time_features=0, stem=0)
    with torch.device("meta"):
        network = FlowUNet(64, config)
        out = network(torch.empty(2, 64, 32), torch.empty(2))
    assert sum(p.numel() for p in network.parameters()) == GOLDEN[entry]["count"]
    assert out.shape == (2, 64, 32)


def told_network():
    torch.manual_seed(0)
    network, asked = FlowUNet(5, SMALL, vector=6, frames=6), NoteCondition(11, 6)
    for parameter in network.parameters():  # the last convolutions of units start at zero
        torch.nn.init.normal_(parameter, std=0.2)
    return network, asked


@pytest.mark.parametrize("n_frames", [1, 7, 8, 13])
def test_any_number_of_frames(n_frames):
    network, asked = told_network()
    told = asked(torch.tensor([60.0, 61]), torch.tensor([0, 1]), torch.linspace(0, 1, n_frames))
    assert network(torch.randn(2, 5, n_frames), torch.rand(2), *told).shape == (2, 5, n_frames)


def test_time_condition_and_clock_all_matter_and_items_are_apart():
    network, asked = told_network()
    x, t, place = torch.randn(2, 5, 8), torch.tensor([0.2, 0.7]), torch.linspace(0, 1, 8)
    told = asked(torch.tensor([60.0, 61]), torch.tensor([0, 1]), place)
    out = network(x, t, *told)
    changes = (
        (x, torch.tensor([0.2, 0.8]), told),
        (x, t, asked(torch.tensor([60.0, 62]), torch.tensor([0, 1]), place)),
        (x, t, asked(torch.tensor([60.0, 61]), torch.tensor([0, 2]), place)),
        (torch.cat([x[:1], x[1:] + 1]), t, told),
    )
    for changed_x, changed_t, changed_told in changes:
        other = network(changed_x, changed_t, *changed_told)
        torch.testing.assert_close(other[0], out[0])
        assert not torch.allclose(other[1], out[1], atol=1e-5)
    later = asked(torch.tensor([60.0, 61]), torch.tensor([0, 1]), place + 0.1)
    assert not torch.allclose(network(x, t, *later), out, atol=1e-5)


@pytest.mark.parametrize("units", [0, 1])
def test_skips_carry_what_the_deep_levels_lose(units):
    config = UNetConfig(channels=(5, 8, 12), units=units, hidden=10, time_features=0, stem=0)
    network = FlowUNet(5, config)
    for up in network.up:
        torch.nn.init.zeros_(up.weight)
    t = torch.rand(2)
    one, two = (network(torch.randn(2, 5, 8), t) for _ in range(2))
    assert (one - two).abs().min() > 0


def test_every_parameter_has_a_gradient():
    network, asked = told_network()
    told = asked(torch.tensor([60.5, 128]), torch.tensor([0, 11]), torch.linspace(0, 1, 8))
    network(torch.randn(2, 5, 8), torch.rand(2), *told).square().sum().backward()
    assert all(p.grad.abs().max() > 0 for p in network.parameters())
    rows = asked.pitch.weight.grad.abs().sum(dim=1).nonzero()[:, 0]
    assert rows.tolist() == [60, 61, 128]


def test_a_pitch_between_two_semitones_lies_between_and_nothing_asked_is_one_thing():
    asked = NoteCondition(11, 6)
    family, place = torch.zeros(3, dtype=torch.long), torch.zeros(4)
    low, between, high = asked(torch.tensor([60.0, 60.25, 61.0]), family, place).vector
    torch.testing.assert_close(between, 0.75 * low + 0.25 * high)
    told = asked(torch.tensor([60.0, 70]), torch.tensor([1, 2]), place)
    expected = asked(torch.full((2,), 128.0), torch.full((2,), 11), place)
    torch.testing.assert_close(asked.hidden(told).vector, expected.vector)
    assert torch.equal(asked.hidden(told).clock, told.clock)
    assert NoteCondition(11, 0)(torch.tensor([60.0]), torch.tensor([0]), place) == (None, None)


def test_unfit_sizes_are_named():
    with pytest.raises(ConfigError, match="even number"):
        UNetConfig(kernel=5)
    with pytest.raises(ConfigError, match="odd number"):
        UNetConfig(stem=4)
    with pytest.raises(ConfigError, match="use stem=3"):
        FlowUNet(5, UNetConfig(channels=(8, 12), stem=0))
