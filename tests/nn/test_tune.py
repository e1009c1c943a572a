"""TUNe against published counts, SampleCNN, a U-Net in plain functions, and gradients."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dl101.errors import ConfigError, ShapeError
from dl101.nn.inspection import receptive_field
from dl101.nn.sample_level import SAMPLE_CNN, SampleCNN
from dl101.nn.tune import PATHS, TABLE_1, Sizes, TailedByCLMR, Tap, TUNe, UShape, receptive_span

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "parameter_counts.json").read_text())
SMALL = {
    "vanilla": Sizes(2, 2, 2, 2, 8),
    "contractive+": Sizes(3, 3, 2, 2, 8),
    "expansive-": Sizes(3, 1, 1, 2, 8),
    "tail+": Sizes(2, 2, 4, 2, 8),
    "plus": Sizes(2, 2, 4, 2, 8, plus=True),
    "plus, expansive-": Sizes(3, 2, 3, 2, 8, plus=True),
    "plus, short tail": Sizes(3, 3, 2, 2, 8, plus=True),
    "one way": Sizes(2, 0, 2, 2, 8),
    "no tail": Sizes(2, 2, 0, 2, 2),
}


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def used(network: nn.Module, x: Tensor) -> nn.Module:
    """Give every batch normalisation statistics of its own, then evaluate."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d):
            nn.init.uniform_(module.weight, 0.5, 2)
            nn.init.normal_(module.bias)
    network.train()
    with torch.no_grad():
        network(x)
    return network.double().eval()


# ------------------------------------------------------------------------------ published counts
@pytest.mark.parametrize("name", TABLE_1)
def test_counts_of_table_1(name):
    network = TUNe.of(TABLE_1[name])
    head = (network.representation + 1) * 50
    assert count(network) + head == GOLDEN[f"tune/{name}"]["count"]


def test_count_with_the_tail_of_clmr():
    network = TailedByCLMR()
    assert count(network) + 513 * 50 == GOLDEN["tune/CLMR-tail"]["count"]
    assert count(network.tail) == GOLDEN["clmr/SampleCNN"]["count"] - 513 * 50


def test_every_model_of_the_table_is_there():
    published = {name.removeprefix("tune/") for name in GOLDEN if name.startswith("tune/")}
    assert published == {*TABLE_1, "CLMR-tail"}


@pytest.mark.parametrize(
    ("name", "n_frames"), [("Vanilla", 729), ("Tail+2", 81), ("Tail+5", 3), ("TUNe+", 3)]
)
def test_frames_that_are_averaged(name, n_frames):
    with torch.device("meta"):
        maps = TUNe.of(TABLE_1[name]).maps(torch.empty(2, 1, 3**10))
    assert maps.tail[-1].shape == (2, 512, n_frames)
    levels = [round(math.log(3**10 / each.shape[-1], 3)) for path in maps for each in path]
    assert levels == [0, 1, 2, 3, 4, 3, 2, 1, 0, *range(1, 11 - round(math.log(n_frames, 3)))]


def test_the_way_up_has_the_channels_of_the_way_down():
    with torch.device("meta"):
        maps = TUNe.of(TABLE_1["Contractive+1"]).maps(torch.empty(2, 1, 3**9))
    assert [each.shape[1] for each in maps.contractive] == [18, 36, 72, 144, 288, 576]
    assert [each.shape[1] for each in maps.expansive] == [288, 144, 72, 36, 18]
    assert [each.shape[1] for each in maps.tail] == [36, 72, 144, 512]


# ------------------------------------------------------------------------------ the two identities
class Middle(nn.Module):
    """Keep the second of every three frames."""

    def forward(self, x: Tensor) -> Tensor:
        return x[..., 1::3]


def test_without_an_expansive_path_it_is_sample_cnn():
    """But for the first pooling: there SampleCNN has a stride, that is, keeps one of three."""
    ours = TUNe(0, 0, 10, 128, tail_widths=(*SAMPLE_CNN[1:], 512))
    theirs = SampleCNN()
    assert count(ours) == count(theirs) - count(theirs.head) == 2368512
    ours.load_state_dict(dict(zip(ours.state_dict(), theirs.state_dict().values(), strict=False)))
    for network in (ours, theirs):
        network.eval()
    x = torch.randn(2, 1, 3**10)
    # the two see the same after the first convolution, but at every sample or at every third
    torch.testing.assert_close(Middle()(ours.u.contractive[0](x)), theirs.stem(x))
    pool, first = ours.u.pool, [True]

    def stride_then_pool(y: Tensor) -> Tensor:
        chosen = Middle() if first.pop() else pool
        first.append(False)
        return chosen(y)

    ours.u.pool = _Called(stride_then_pool)
    with torch.no_grad():
        torch.testing.assert_close(ours(x), theirs.encode(x))


class _Called(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


@pytest.mark.parametrize("n_contractive", range(5))
def test_without_an_expansive_path_nobody_can_tell_contractive_from_tail(n_contractive):
    """Where the widths are the same: the paths are one chain of the same layers."""
    widths = [2 * 2**level for level in range(1, 5)]
    one = TUNe(0, 0, 4, 2, widths[-1], tail_widths=widths)
    other = TUNe(n_contractive, 0, 4 - n_contractive, 2, 32, tail_widths=widths[n_contractive:])
    other.load_state_dict(dict(zip(other.state_dict(), one.state_dict().values(), strict=True)))
    x = torch.randn(3, 1, 200)
    torch.testing.assert_close(one(x), other(x), rtol=0, atol=0)


def plain_block(x: Tensor, state: dict[str, Tensor], name: str) -> Tensor:
    x = F.conv1d(x, state[f"{name}.0.weight"], state[f"{name}.0.bias"], padding=1)
    normalised = F.batch_norm(
        x,
        state[f"{name}.1.running_mean"],
        state[f"{name}.1.running_var"],
        state[f"{name}.1.weight"],
        state[f"{name}.1.bias"],
    )
    return normalised.clamp_min(0)


def plain_u_net(x: Tensor, state: dict[str, Tensor], depth: int, height: int) -> list[Tensor]:
    """A U-Net by the book [Ronneberger 2015]: what each level has, and what comes out last."""
    kept = []
    for level in range(depth):
        x = plain_block(x, state, f"u.contractive.{level}")
        kept.append(x)
        x = x.unfold(-1, 3, 3).amax(dim=-1)
    x = plain_block(x, state, f"u.contractive.{depth}")
    found = [x]
    for i in range(height):
        weight, bias = state[f"u.expansive.{i}.up.weight"], state[f"u.expansive.{i}.up.bias"]
        raised = torch.einsum("bcf,cok->bofk", x, weight).flatten(2) + bias[:, None]
        x = torch.cat([kept.pop(), raised], dim=1)
        x = plain_block(x, state, f"u.expansive.{i}.mix")
        found.append(x)
    return found


@pytest.mark.parametrize(("depth", "height"), [(1, 1), (3, 3), (3, 2), (3, 1)])
def test_without_a_tail_it_is_a_u_net(depth, height):
    width = 2 * 2 ** (depth - height)
    x = torch.randn(2, 1, 81)
    network = used(TUNe(depth, height, 0, 2, width), x)
    expected = plain_u_net(x.double(), network.state_dict(), depth, height)
    torch.testing.assert_close(network.u(x.double()), expected[-1])
    torch.testing.assert_close(network(x.double()), expected[-1].mean(dim=-1))
    assert network.u(x.double()).shape == (2, width, 81 // 3 ** (depth - height))


@pytest.mark.parametrize("plus", [False, True])
def test_tail_in_plain_functions(plus):
    x = torch.randn(2, 1, 3**5)
    network = used(TUNe(3, 2, 4, 2, 12, plus=plus), x)
    state = network.state_dict()
    bottom, middle, y = plain_u_net(x.double(), state, 3, 2)
    for t, beside in enumerate([middle, bottom, None, None]):
        y = y.unfold(-1, 3, 3).amax(dim=-1)
        y = torch.cat([y, beside], dim=1) if plus and beside is not None else y
        y = plain_block(y, state, f"tail.{t}")
    torch.testing.assert_close(network(x.double()), y.mean(dim=-1))


def test_in_tune_plus_the_ratio_of_channels_is_three_to_two():
    network = TUNe.of(TABLE_1["TUNe+"])
    sizes = [(layer[0].in_channels, layer[0].out_channels) for layer in network.tail]
    assert sizes[:5] == [(33, 22), (66, 44), (132, 88), (264, 176), (176, 352)]


# ------------------------------------------------------------------------------ what a frame sees
def open_everywhere(network: TUNe) -> TUNe:
    """Let every path pass something: no maximum, no ReLU, no weight below zero."""
    for module in list(network.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.MaxPool1d):
                setattr(module, name, nn.AvgPool1d(3))
            elif isinstance(child, nn.ReLU):
                setattr(module, name, nn.Identity())
    for p in network.parameters():
        nn.init.uniform_(p, 0.5, 1)
    return network


@pytest.mark.parametrize("name", SMALL)
def test_receptive_field_by_arithmetic_is_that_by_gradient(name):
    sizes = SMALL[name]
    network = open_everywhere(TUNe.of(sizes))
    n = 3**7
    maps = network.maps(torch.zeros(1, 1, n))
    for path in PATHS:
        for i, each in enumerate(getattr(maps, path)):
            middle = each.shape[-1] // 2
            for frame in (middle, middle + 1):
                span = receptive_span(sizes, path, i, frame)
                found = receptive_field(Tap(network, path, i), (1, n), frame, n_draws=1)
                assert (span.first, span.last) == (found.first, found.last), (path, i, frame)
                assert receptive_span(sizes, path, i - len(getattr(maps, path)), frame) == span


def test_receptive_fields_of_a_chain_in_closed_form():
    """A frame of level l sees its own 3**l samples, and as many as (3**l - 1) / 2 + 3**l more."""
    for level in range(8):
        found = receptive_span(TABLE_1["Contractive+3"], "contractive", level, 10)
        assert found.size == 3**level + 2 * sum(3**k for k in range(level + 1))


def test_unknown_blocks_have_no_field():
    with pytest.raises(ShapeError, match="5 blocks of contractive"):
        receptive_span(Sizes(), "contractive", 5, 0)
    with pytest.raises(ShapeError, match="'neck'"):
        receptive_span(Sizes(), "neck", 0, 0)


# ------------------------------------------------------------------------------ behaviour
@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("n_samples", [81, 243, 244, 333])
def test_any_length_and_a_gradient_everywhere(name, n_samples):
    network = TUNe.of(SMALL[name])
    y = network(torch.randn(3, 1, n_samples))
    assert y.shape == (3, SMALL[name].representation)
    (y * torch.randn(y.shape)).sum().backward()
    for key, p in network.named_parameters():
        normalised = key.endswith("0.bias")  # the normalisation takes it away again
        assert normalised or p.grad.abs().sum() > 0, key


def test_weights_begin_as_he_et_al_say():
    network = TUNe(2, 2, 2, 32, 64)
    for layer in network.modules():
        if isinstance(layer, nn.Conv1d):
            bound = math.sqrt(6 / (layer.in_channels * 3))
            assert 0.9 * bound < layer.weight.abs().max() <= bound


def test_tail_of_clmr_takes_the_waveform_that_the_u_net_makes():
    network = TailedByCLMR(2, 3, widths=(8, 8, 8, 8))
    x = torch.randn(2, 1, 81)
    assert network.u(x).shape == (2, 1, 81)
    assert network(x).shape == (2, 512)
    network.eval()
    torch.testing.assert_close(network(x), network.tail.encode(network.u(x)))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: UShape(2, 3, 4), "n_expansive=3"),
        (lambda: TUNe(-1, -1, 2, 4), "n_contractive=-1"),
        (lambda: TUNe(2, 2, 2, 0), "filters=0"),
        (lambda: TUNe(2, 2, 0, 4), "representation=4"),
        (lambda: TUNe(2, 2, -1, 4), "-1 blocks"),
        (lambda: TUNe(2, 2, 2, 4, 16, tail_widths=(8,)), "a width for each block"),
        (lambda: TUNe(2, 2, 2, 4, 16, tail_widths=(8, 8)), "as wide as the representation"),
    ],
)
def test_paths_that_do_not_fit(build, message):
    with pytest.raises(ConfigError, match=message):
        build()


def test_waveforms_that_do_not_fit():
    network = TUNe.of(replace(SMALL["tail+"], plus=True))
    with pytest.raises(ShapeError, match="at least 81"):
        network(torch.randn(1, 1, 80))
    with pytest.raises(ShapeError, match="batch, 1, samples"):
        network(torch.randn(1, 2, 81))
    assert network.eval()(torch.randn(1, 1, 81)).shape == (1, 8)
