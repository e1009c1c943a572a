"""Shallow networks of one shape or many: published counts, what each shape is deaf to."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from dl101.errors import ConfigError, ShapeError
from dl101.nn import filter_shapes as nets
from dl101.nn.shapes import Shape

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "parameter_counts.json").read_text())
ONSETS, PATTERNS = nets.onset_shapes, nets.pattern_shapes


def count(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def golden(name: str) -> int:
    return GOLDEN[f"thesis/{name}"]["count"]


# --------------------------------------------------------------------------------- published counts
LONG = (40, 250)
TABLES = {
    "T3.1 Black-box (12,8) in(40,80)": lambda: nets.black_box(8),
    "T3.1 Black-box (12,200) in(40,250)": lambda: nets.black_box(
        8, input_shape=LONG, shape=Shape(32, 12, 200)
    ),
    "T3.1 Time (1,60) in(40,80)": lambda: nets.time_net(8),
    "T3.1 Time (1,200) in(40,250)": lambda: nets.time_net(
        8, input_shape=LONG, shape=Shape(32, 1, 200)
    ),
    **{
        f"T3.1 Frequency ({m},1)": lambda m=m: nets.frequency_net(8, shape=Shape(32, m, 1))
        for m in range(30, 41, 2)
    },
    "T3.1 Time-Frequency": lambda: nets.time_frequency(8),
    "T3.2 O-net": lambda: nets.temporal_net(ONSETS(), 8),
    "T3.2 P-net": lambda: nets.temporal_net(PATTERNS(), 8),
    "T3.2 2x O-net": lambda: nets.temporal_net(ONSETS(2), 8),
    "T3.2 2x P-net": lambda: nets.temporal_net(PATTERNS(2), 8),
    "T3.2 O-net + P-net": lambda: nets.temporal_net(ONSETS() + PATTERNS(), 8),
    **{
        f"T3.2 {k}x O-net + {k}x P-net": lambda k=k: nets.temporal_net(ONSETS(k) + PATTERNS(k), 8)
        for k in (2, 4, 8)
    },
}


def test_every_count_of_the_two_tables_is_tried():
    stated = {name for name in GOLDEN if name.startswith(("thesis/T3.1", "thesis/T3.2"))}
    assert stated == {f"thesis/{name}" for name in TABLES}


@pytest.mark.parametrize("name", TABLES)
def test_counts_are_those_of_the_thesis(name):
    network = TABLES[name]()
    assert count(network) == golden(name)
    assert network.eval()(torch.zeros(2, 1, *network.input_shape)).shape == (2, 8)


# ----------------------------------------------------------------------------- what a shape sees
@pytest.fixture
def x() -> torch.Tensor:
    return torch.randn(3, 1, 40, 80, generator=torch.Generator().manual_seed(0))


def test_time_is_deaf_to_the_order_of_bands_and_frequency_to_that_of_frames(x):
    torch.manual_seed(1)
    bands, frames = torch.randperm(40), torch.randperm(80)
    in_time, in_frequency = nets.time_net(7).eval(), nets.frequency_net(7).eval()
    torch.testing.assert_close(in_time(x[:, :, bands]), in_time(x))
    torch.testing.assert_close(in_frequency(x[..., frames]), in_frequency(x))
    assert (in_time(x[..., frames]) - in_time(x)).abs().max() > 1e-2
    assert (in_frequency(x[:, :, bands]) - in_frequency(x)).abs().max() > 1e-2


def test_the_bank_is_a_branch_for_every_shape(x):
    torch.manual_seed(2)
    shapes = [(3, 1, 5), (2, 1, 40), (4, 1, 6), (1, 1, 80), (2, 1, 33)]
    bank = nets.TemporalBank(shapes, at_once=4)
    assert [sum(bank.convs[k].out_channels for k in g) for g in bank.groups] == [3, 4, 4, 1]
    expected = []
    for conv in bank.convs:
        branch = nets.Branch(Shape(conv.out_channels, 1, conv.kernel_size[1]), (4, 0))
        branch.conv = conv
        expected.append(branch(x))
    torch.testing.assert_close(bank(x), torch.cat(expected, dim=1))


def test_gradients_reach_every_filter(x):
    torch.manual_seed(3)
    for network in (
        nets.temporal_net(ONSETS(pace=0.3) + PATTERNS(pace=0.3), 5, input_shape=(40, 80)),
        nets.time_frequency(5),
        nets.black_box(5),
    ):
        network(x).square().sum().backward()
        still = [k for k, p in network.named_parameters() if not p.grad.abs().sum() > 0]
        assert still == []


def test_shapes_keep_their_duration_at_another_pace():
    assert [s.n_frames for s in ONSETS()] == [6, 11, 16, 21, 26, 31, 36, 41]
    assert sum(s.n_filters for s in ONSETS(2)) == 80
    slow = PATTERNS(pace=0.5)
    assert (len(slow), slow[0].n_frames, slow[-1].n_frames) == (35, 23, 108)


def test_paddings_keep_sizes(x):
    for height, width in ((4, 7), (5, 2)):
        sizes = {
            padding: tuple(
                nets.Branch(Shape(2, height, width), padding=padding).answers(x).shape[2:]
            )
            for padding in ("none", "time", "same")
        }
        inside = 40 - height + 1, 80 - width + 1
        assert sizes == {"none": inside, "time": (inside[0], 80), "same": (40, 80)}


def test_what_does_not_fit_is_said():
    with pytest.raises(ConfigError, match="one band high"):
        nets.TemporalBank([(3, 2, 5)])
    with pytest.raises(ShapeError, match="40, 80"):
        nets.time_net(7)(torch.zeros(1, 1, 40, 81))
