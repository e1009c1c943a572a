"""Networks for timbre: published counts, by the reading that gives them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from dl101.nn import timbre
from dl101.nn.filter_shapes import dense_layers
from dl101.nn.shapes import Shape

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "parameter_counts.json").read_text())


def count(network: nn.Module, *, with_statistics: bool = False) -> int:
    statistics = [b for name, b in network.named_buffers() if "running" in name]
    return sum(t.numel() for t in [*network.parameters(), *(statistics if with_statistics else [])])


# Counts with the running means and variances of batch normalisation, where there is one.
NETWORKS = {
    "T3.3 jingju proposed (32 classes)": (lambda: timbre.phoneme_net(32), (80, 21)),
    "T3.3 jingju proposed (29 classes)": (lambda: timbre.phoneme_net(29), (80, 21)),
    "T3.3 jingju small-rectangular": (timbre.square_phoneme_net, (80, 21)),
    "T3.4 IRMAS single pool as text": (timbre.instrument_net, (96, 128)),
    "T3.4 IRMAS single pool as code": (lambda: timbre.instrument_net(pool_frames=32), (96, 128)),
    "T3.4 IRMAS multi pool as text": (timbre.DeepInstrumentNet, (96, 128)),
    "T3.4 IRMAS multi pool as code": (
        lambda: timbre.DeepInstrumentNet(last_pool=(4, 4)),
        (96, 128),
    ),
    "T3.4 Han et al.": (timbre.square_instrument_net, (128, 43)),
    **{
        f"T3.5 MTT proposed x{k} (2nd conv also x{k})": (lambda k=k: timbre.TagNet(k), (128, 187))
        for k in (1, 2, 4)
    },
    "T3.5 Dieleman et al.": (
        lambda: timbre.TagNet(shapes=[Shape(32, 128, 8)], padding="none"),
        (128, 187),
    ),
    "T3.5 Small-rectangular": (timbre.square_tag_net, (128, 187)),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_counts_are_those_of_the_thesis(name):
    build, size = NETWORKS[name]
    network = build()
    assert count(network, with_statistics=True) == GOLDEN[f"thesis/{name}"]["count"]
    assert network.eval()(torch.zeros(2, 1, *size)).shape[0] == 2


def test_counts_that_can_be_learned():
    assert count(timbre.square_phoneme_net()) == 221153
    assert count(timbre.instrument_net(pool_frames=32)) == 61867
    assert count(timbre.DeepInstrumentNet(last_pool=(4, 4))) == 742315
    assert count(timbre.square_tag_net()) == 73778


def test_dense_counts_are_those_of_the_thesis():
    for name, hidden in (("dan", 511), ("laosheng", 475)):
        network = dense_layers([400, hidden, hidden, 29])
        assert count(network) == GOLDEN[f"thesis/T3.3 MLP {name}"]["count"]


def test_gradients_reach_every_parameter():
    torch.manual_seed(0)
    networks = [
        (timbre.TagNet(), (128, 187)),
        (timbre.DeepInstrumentNet(), (96, 128)),
        (timbre.square_tag_net(), (128, 187)),
        (timbre.phoneme_net(), (80, 21)),
    ]
    for network, size in networks:
        network(torch.randn(4, 1, *size)).square().sum().backward()
        still = [k for k, p in network.named_parameters() if not p.grad.abs().sum() > 0]
        assert still == []
