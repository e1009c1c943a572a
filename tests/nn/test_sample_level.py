"""Sample-level networks against plain functions, published counts and closed forms."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dl101.errors import ConfigError, ShapeError
from dl101.lab.costs import layer_costs
from dl101.nn.sample_level import (
    BLOCKS,
    TAGGING_A_MILLION,
    TAGGING_AT_SCALE,
    Gates,
    SampleBlock,
    SampleCNN,
    SampleLevelFrontend,
    SqueezeExcitation,
)
from dl101.nn.shapes import MusicnnBackend

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "parameter_counts.json").read_text())


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def golden(name: str) -> int:
    return GOLDEN[name]["count"]


def used(network: nn.Module, x: Tensor) -> nn.Module:
    """Give every batch normalisation statistics of its own, then evaluate."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d):
            nn.init.uniform_(module.weight, 0.5, 2)
            nn.init.normal_(module.bias)
    network.train()
    with torch.no_grad():
        network(x)
    return network.eval()


# ------------------------------------------------------------------------------ published counts
def test_sample_cnn_has_the_published_number_of_parameters():
    network = SampleCNN()
    assert network.input_samples == 59049
    assert (
        count(network) == golden("clmr/SampleCNN") == golden("thesis/SampleCNN last conv kernel 3")
    )
    assert count(network) - count(network.head) == 2368512  # the encoder of CLMR
    one = SampleCNN(last_kernel=1)
    assert count(one) == golden("thesis/SampleCNN last conv kernel 1") == 1869874


def whole(widths: Sequence[int], n_tags: int = 50, **back_end: int) -> int:
    """Return the parameters of the thesis' network: this front-end and its back-end."""
    front = SampleLevelFrontend(widths=widths, same=False)
    return count(front) + count(MusicnnBackend(widths[-1], n_tags, **back_end))


@pytest.mark.parametrize("times", [4, 2, 1, 0.5, 0.25])
def test_front_end_of_tagging_at_scale_in_five_widths(times):
    widths = [int(times * width) for width in TAGGING_AT_SCALE]
    assert whole(widths) == golden(f"thesis/T5.2 wave front x{times:g}")


@pytest.mark.parametrize("hidden", [200, 500])
@pytest.mark.parametrize("channels", [64, 128, 256, 512])
def test_front_end_of_tagging_at_scale_before_other_back_ends(channels, hidden):
    widths = [2 * width for width in TAGGING_AT_SCALE]
    published = golden(f"thesis/T5.2 wave back {channels}-{hidden}")
    assert whole(widths, channels=channels, hidden=hidden) == published


def test_front_end_of_a_million_songs():
    assert whole(TAGGING_A_MILLION, 139) == golden("thesis/1.2M-songs waveform")


# ------------------------------------------------------------- the same network in plain functions
def normalised(x: Tensor, norm: nn.BatchNorm1d) -> Tensor:
    mean, variance = (s[:, None] for s in (norm.running_mean, norm.running_var))
    return (x - mean) / (variance + norm.eps).sqrt() * norm.weight[:, None] + norm.bias[:, None]


def convolved(x: Tensor, conv: nn.Conv1d, stride: int = 1, same: bool = True) -> Tensor:
    """Sum over the taps, each a matrix product with a shifted input."""
    kernel = conv.weight.shape[-1]
    if same:
        x = F.pad(x, ((kernel - 1) // 2, kernel // 2))
    n = (x.shape[-1] - kernel) // stride + 1
    taps = (x[..., k : k + stride * (n - 1) + 1 : stride] for k in range(kernel))
    return (
        sum(torch.einsum("oi,bit->bot", conv.weight[..., k], tap) for k, tap in enumerate(taps))
        + conv.bias[:, None]
    )


def pooled(x: Tensor, factor: int) -> Tensor:
    n = x.shape[-1] // factor
    return x[..., : n * factor].reshape(*x.shape[:-1], n, factor).amax(dim=-1)


def gated(x: Tensor, excitation: SqueezeExcitation) -> Tensor:
    w1, b1, w2, b2 = excitation.gates.parameters()
    z = x.mean(dim=2)
    s = 1 / (1 + torch.exp(-((z @ w1.T + b1).clamp(min=0) @ w2.T + b2)))
    return x * s[:, :, None]


def by_hand(block: SampleBlock, x: Tensor, kind: str, factor: int, n_convs: int) -> Tensor:
    y = normalised(convolved(x, block.layers[0]), block.layers[1])
    if n_convs == 2:
        y = normalised(convolved(y.clamp(min=0), block.layers[4]), block.layers[5])
    if kind == "basic":
        return pooled(y.clamp(min=0), factor)
    if kind == "se":
        return gated(pooled(y.clamp(min=0), factor), block.excitation)
    if kind == "rese":
        y = gated(y, block.excitation)
    if x.shape[1] != y.shape[1]:
        x = normalised(convolved(x, block.shortcut[0]), block.shortcut[1])
    return pooled((x + y).clamp(min=0), factor)


@pytest.mark.parametrize("factor", [2, 3])
@pytest.mark.parametrize("out_channels", [4, 6])
@pytest.mark.parametrize(
    ("kind", "n_convs"),
    [("basic", 1), ("se", 1), ("res", 1), ("res", 2), ("rese", 1), ("rese", 2)],
)
def test_blocks_are_the_plain_functions(kind, n_convs, out_channels, factor):
    block = SampleBlock(4, out_channels, factor=factor, kind=kind, n_convs=n_convs)
    block = used(block, torch.randn(8, 4, 36))
    x = torch.randn(2, 4, 20)  # no multiple of 3: what is left over at the end is dropped
    expected = by_hand(block, x, kind, factor, n_convs)
    assert expected.shape == (2, out_channels, 20 // factor)
    torch.testing.assert_close(block(x), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("factor", "first_kernel"), [(3, None), (2, None), (2, 5), (4, 16)])
def test_sample_cnn_is_the_plain_functions(factor, first_kernel):
    network = SampleCNN(
        3, widths=(4, 5, 6, 6), factor=factor, first_kernel=first_kernel, last_width=7
    )
    stride = first_kernel or factor
    assert network.input_samples == stride * factor**3
    network = used(network, torch.randn(6, 1, network.input_samples))
    x = torch.randn(2, 1, network.input_samples)
    y = normalised(convolved(x, network.stem[0], stride, same=False), network.stem[1])
    y = y.clamp(min=0)
    for block in network.blocks:
        y = by_hand(block, y, "basic", factor, 1)
    y = normalised(convolved(y, network.last[0]), network.last[1]).clamp(min=0)[..., 0]
    torch.testing.assert_close(network.encode(x), y, rtol=1e-4, atol=1e-5)
    expected = y @ network.head.weight.T + network.head.bias
    torch.testing.assert_close(network(x), expected, rtol=1e-4, atol=1e-5)


def test_front_end_without_padding_is_the_plain_functions():
    front = SampleLevelFrontend(widths=(3, 4, 5), same=False)
    front = used(front, torch.randn(4, 1, 200))
    x = torch.randn(2, 1, 100)
    y = normalised(convolved(x, front.stem[0], 3, same=False), front.stem[1]).clamp(min=0)
    for block in front.blocks:
        y = normalised(convolved(y, block.layers[0], same=False), block.layers[1])
        y = pooled(y.clamp(min=0), 3)
    torch.testing.assert_close(front(x), y, rtol=1e-4, atol=1e-5)


# ----------------------------------------------------------------------------------------- gates
def test_gates_by_hand():
    """Two channels with means 1 and 3; one hidden unit: 2 * 1 - 3 + 2 = 1; gates of 1 and -1."""
    excitation = SqueezeExcitation(2, ratio=1 / 2)
    values = ([[2.0, -1.0]], [2.0], [[1.0], [-2.0]], [0.0, 1.0])
    for parameter, value in zip(excitation.gates.parameters(), values, strict=True):
        parameter.data = torch.tensor(value)
    x = torch.tensor([[[0.0, 2.0], [2.0, 4.0]]])
    gates = 1 / (1 + torch.exp(torch.tensor([[-1.0, 1.0]])))
    torch.testing.assert_close(excitation.gates(x), gates)
    torch.testing.assert_close(excitation(x), x * gates[..., None])
    image = x.unsqueeze(-1).expand(1, 2, 2, 5)
    torch.testing.assert_close(excitation(image), image * gates[..., None, None])


def test_gates_are_closed_where_the_hidden_layer_is_silent_and_the_bias_says_so():
    excitation = SqueezeExcitation(16, ratio=1 / 16)
    nn.init.constant_(excitation.gates[0].bias, -100.0)
    nn.init.constant_(excitation.gates[2].bias, -100.0)
    assert excitation(torch.rand(2, 16, 9)).abs().max() < 1e-20


def test_every_excited_block_has_one_module_of_gates():
    for kind, n in (("basic", 0), ("res", 0), ("se", 4), ("rese", 4)):
        front = SampleLevelFrontend(8, block=kind)
        found = [module for module in front.modules() if isinstance(module, Gates)]
        assert len(found) == n
        assert all(gates(torch.rand(2, 8 if i else 4, 7)).shape == (2, 8 if i else 4)
                   for i, gates in enumerate(found))  # fmt: skip


def test_hidden_units_of_the_gates():
    assert SqueezeExcitation(64).gates[0].out_features == 4
    assert SqueezeExcitation(8).gates[0].out_features == 1
    assert SampleBlock(4, 4, kind="se").excitation.gates[0].out_features == 64


# ------------------------------------------------------------------------- shapes, reach, gradient
@pytest.mark.parametrize("block", BLOCKS)
def test_gradients_reach_every_parameter(block):
    network = SampleCNN(2, widths=(4, 4, 6), last_width=5, block=block)
    network(torch.randn(5, 1, 27)).square().sum().backward()
    # what comes before a batch normalisation has a bias that it takes away again
    idle = {n for n, p in network.named_parameters() if p.grad is None}
    assert not idle
    front = SampleLevelFrontend(8, block=block, n_stages=3)
    front(torch.randn(5, 1, 100)).square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in front.parameters())
    moved = [n for n, p in front.named_parameters() if p.grad.abs().max() > 1e-6]
    weights = [n for n, p in front.named_parameters() if not n.endswith("0.bias")]
    assert set(weights) <= set(moved)


@pytest.mark.parametrize("block", BLOCKS)
def test_front_end_has_a_frame_every_243_samples(block):
    front = SampleLevelFrontend(8, block=block).eval()
    assert front.hop_samples == front.shortest_samples == 243
    assert front(torch.randn(2, 1, 2678)).shape == (2, 8, 2678 // 243)
    assert front(torch.randn(1, 1, 243)).shape == (1, 8, 1)


def test_shortest_input_without_padding():
    front = SampleLevelFrontend(widths=TAGGING_AT_SCALE[:4], same=False).eval()
    n = front.shortest_samples
    assert front(torch.randn(1, 1, n)).shape == (1, 128, 1)
    with pytest.raises(ShapeError, match=f"at least {n}"):
        front(torch.randn(1, 1, n - 1))
    assert front.stem(torch.randn(1, 1, n - 1)).shape[-1] < n // 3


def test_reach_is_that_of_the_kernels_and_poolings():
    """r + (m - 1) hop at each convolution, then the same at the pooling; m for the stem."""
    rows = layer_costs(SampleLevelFrontend(8).eval(), (1, 2187))
    reach, hop = 3, 3
    for _ in range(4):
        reach, hop = reach + 4 * hop, 3 * hop
    assert (rows[-1].field, hop) == (reach, 243) == (483, 243)
    excited = layer_costs(SampleLevelFrontend(8, block="se").eval(), (1, 2187))
    assert excited[-1].field == 2187  # the gates have heard everything


def test_work_of_the_front_end_is_as_stated():
    second = 11025 // 243 * 243
    for block, most in (("basic", 27e6), ("rese", 30e6)):
        rows = layer_costs(SampleLevelFrontend(block=block).eval(), (1, second))
        assert 0.85 * most < sum(row.multiply_adds for row in rows) < most


def test_basic_front_end_is_local_and_excitation_is_not():
    x = torch.randn(1, 1, 2430)
    for block, is_local in (("basic", True), ("res", True), ("se", False), ("rese", False)):
        front = used(SampleLevelFrontend(8, block=block), torch.randn(4, 1, 2430))
        changed = x.clone()
        changed[..., 1500:] *= 0.5
        difference = (front(changed) - front(x)).abs().amax(dim=(0, 1))
        assert (difference[0] == 0) == is_local
        assert difference[7] > 0


def test_half_precision():
    network = SampleCNN(3, widths=(8, 8, 8), last_width=8, block="rese").eval()
    x = torch.randn(2, 1, 27)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = network(x)
    torch.testing.assert_close(y.float(), network(x), rtol=0.1, atol=0.05)
    front = SampleLevelFrontend(8, block="rese").eval().to(torch.bfloat16)
    assert front(torch.randn(1, 1, 486).to(torch.bfloat16)).dtype == torch.bfloat16


# ---------------------------------------------------------------------------------------- refusals
def test_other_lengths_are_refused_with_the_near_ones():
    network = SampleCNN(2, widths=(4, 4, 4), last_width=4)
    with pytest.raises(ShapeError, match=r"28 samples.*27 = 3.*1 blocks would take 9.*3 blocks 81"):
        network(torch.randn(1, 1, 28))
    with pytest.raises(ShapeError, match=r"59048 samples.*59049.*19683.*177147"):
        SampleCNN()(torch.randn(1, 1, 59048))


def test_waveforms_have_three_axes_and_one_channel():
    for module in (SampleLevelFrontend(4), SampleCNN(2, widths=(4, 4), last_width=4)):
        for shape in ((243,), (2, 243), (1, 2, 243)):
            with pytest.raises(ShapeError, match=r"expected \(batch, 1, samples\)"):
                module(torch.randn(shape))


def test_impossible_settings_are_refused():
    with pytest.raises(ConfigError, match="did you mean 'rese'"):
        SampleBlock(4, 4, kind="re-se")
    with pytest.raises(ConfigError, match="2 convolutions"):
        SampleBlock(4, 4, kind="se", n_convs=2)
    with pytest.raises(ConfigError, match="1 or 2"):
        SampleBlock(4, 4, kind="res", n_convs=3)
    with pytest.raises(ConfigError, match="same=True"):
        SampleBlock(4, 4, kind="rese", same=False)
    with pytest.raises(ConfigError, match="ratio 0"):
        SqueezeExcitation(4, 0)
    with pytest.raises(ConfigError, match="a factor of 2 or more"):
        SampleLevelFrontend(8, factor=1)
    with pytest.raises(ConfigError, match="at least one stage"):
        SampleLevelFrontend(widths=())


def test_compiles_into_one_graph():
    front = SampleLevelFrontend(8, block="rese").eval()
    x = torch.randn(1, 1, 729)
    compiled = torch.compile(front, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(x), front(x))
