"""The network of chord estimation: the published one to the last parameter, and its parts."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest
import torch
from torch import nn

from dl101.nn.chords import N_PARTS, ChordNet, ChordNetConfig
from dl101.nn.factory import build_model
from tests.nn.test_factory import chord_spec

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "parameter_counts.json").read_text())
PUBLISHED = ChordNetConfig(widths=(32, 32, 32, 32), hidden=16, kernel_frames=15, published=True)
SMALL = ChordNetConfig(widths=(2, 3, 4), hidden=6, kernel_frames=3)


def count(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def test_the_published_network_has_its_number_of_parameters():
    with torch.device("meta"):
        network = ChordNet(PUBLISHED, 25, n_bins=72, n_frames=1024)
    assert count(network) == GOLDEN["dl101/Auto_Tagging_D3-I3-Chord"]["count"] == 6_959_721
    norms = [m for m in network.modules() if isinstance(m, nn.LayerNorm)]
    assert sum(count(norm) for norm in norms) > 6_900_000  # nearly all of it


def test_the_published_network_is_that_of_its_yaml():
    """Built by the factory from the published description, it gives the same answers."""
    torch.manual_seed(0)
    from_yaml = build_model(chord_spec(), (1, 72, 40)).eval()
    network = ChordNet(PUBLISHED, 25, n_bins=72, n_frames=40).eval()
    weights = zip(network.state_dict(), from_yaml.state_dict().values(), strict=True)
    network.load_state_dict(dict(weights))
    spectra = torch.rand(2, 1, 72, 40)
    with torch.no_grad():
        assert torch.allclose(
            network(spectra)["chord"].transpose(1, 2), from_yaml(spectra), atol=1e-6
        )


@pytest.mark.parametrize("n_bins", [1, 4, 12, 72, 144, 216, 288])
def test_any_number_of_bins_ends_in_one_row(n_bins):
    network = ChordNet(SMALL, 25, n_bins=n_bins, n_frames=9)
    assert network(torch.rand(2, 1, n_bins, 9))["chord"].shape == (2, 9, 25)
    assert network(torch.rand(2, 1, n_bins, 30))["chord"].shape == (2, 30, 25)  # and any length


@pytest.mark.parametrize(
    ("structured", "published", "n_classes"),
    list(itertools.product([False, True], [False, True], [25, 170])),
)
def test_every_parameter_is_reached(structured, published, n_classes):
    config = ChordNetConfig(
        widths=(2, 3, 4), hidden=6, kernel_frames=3, structured=structured, published=published
    )
    network = ChordNet(config, n_classes, n_bins=24, n_frames=12)
    said = network(torch.rand(2, 1, 24, 12))
    sizes = {"chord": n_classes} | ({"root": 13, "bass": 13, "pitches": 12} if structured else {})
    assert {name: logits.shape[-1] for name, logits in said.items()} == sizes
    said["chord"].square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())
    assert network.chord.in_features == 6 + structured * N_PARTS
