"""Causal convolutions: closed forms, no look into the future, and a stream equal to the whole."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from dl101.errors import ConfigError, ShapeError
from dl101.lab.costs import layer_costs
from dl101.nn.convolutional import (
    CausalConv1d,
    DilatedFrontend,
    GatedBlock,
    TemporalBlock,
    TemporalConvNet,
    WaveNetStack,
    stream,
)


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


class GatedSkip(nn.Module):
    """A gated block with one output: both of its outputs as channels."""

    def __init__(self, *, last: bool = False) -> None:
        super().__init__()
        self.block = GatedBlock(3, 2, kernel_size=3, dilation=4, last=last)
        self.past_samples = self.block.past_samples

    def forward(self, x):
        return torch.cat(self.block(x), dim=1)


def causal_networks() -> dict[str, nn.Module]:
    return {
        "kernel 1": CausalConv1d(3, 4, 1, dilation=7),
        "dilated": CausalConv1d(3, 4, 3, dilation=5),
        "block": TemporalBlock(3, 3, 3, dilation=2),
        "wider block": TemporalBlock(3, 4, 2, dilation=2),
        "TCN": TemporalConvNet(3, [4, 8, 3], kernel_size=2),
        "TCN of kernel 1": TemporalConvNet(3, [4, 4], kernel_size=1),
        "gated": GatedSkip(),
        "last gated": GatedSkip(last=True),
        "WaveNet": WaveNetStack(3, 2, channels=4, skip_channels=5, dilations=[1, 2, 4, 1, 2, 4]),
    }


NAMES = list(causal_networks())


def network_named(name: str) -> nn.Module:
    torch.manual_seed(0)
    network = causal_networks()[name].eval()
    with torch.no_grad():  # weights large enough that the far past is visible
        for module in network.modules():
            if isinstance(module, CausalConv1d):
                larger = module.weight.detach().abs() + 0.3
                if hasattr(module, "parametrizations"):
                    module.weight = larger
                else:
                    module.weight.copy_(larger / larger.sum(dim=(1, 2), keepdim=True))
    return network


def reach_by_gradient(network: nn.Module, x: torch.Tensor, time: int) -> list[int]:
    """Return which input steps the output at ``time`` depends on."""
    x = x.double().requires_grad_()
    (gradient,) = torch.autograd.grad(copy.deepcopy(network).double()(x)[..., time].sum(), x)
    return gradient.abs().sum(dim=(0, 1)).nonzero().flatten().tolist()


def test_causal_convolution_equals_its_sum():
    conv = CausalConv1d(1, 1, 3, dilation=2)
    x = torch.randn(1, 1, 20)
    w, b = conv.weight.flatten(), conv.bias
    expected = b + w[2] * x[..., 9] + w[1] * x[..., 7] + w[0] * x[..., 5]
    torch.testing.assert_close(conv(x)[..., 9], expected)
    torch.testing.assert_close(conv(x)[..., 0], b + w[2] * x[..., 0])


@pytest.mark.parametrize(("kernel", "dilation"), [(1, 1), (1, 3), (2, 1), (3, 4)])
def test_cropped_convolution_is_the_same(kernel, dilation):
    """TCN's way: pad both sides, then crop the end, by 0 too."""
    conv, x = CausalConv1d(2, 3, kernel, dilation=dilation), torch.randn(2, 2, 30)
    crop = (kernel - 1) * dilation
    padded = F.conv1d(x, conv.weight, conv.bias, padding=crop, dilation=dilation)
    torch.testing.assert_close(conv(x), padded[..., : padded.shape[-1] - crop])


@pytest.mark.parametrize(("kernel", "dilation", "stride"), [(4, 1, 4), (6, 1, 4), (3, 2, 5)])
def test_strided_causal_convolution_ends_with_its_hop(kernel, dilation, stride):
    conv = CausalConv1d(1, 2, kernel, dilation=dilation, stride=stride)
    every = CausalConv1d(1, 2, kernel, dilation=dilation)
    every.load_state_dict(conv.state_dict())
    x = torch.randn(1, 1, 43)
    assert conv(x).shape[-1] == 43 // stride
    torch.testing.assert_close(conv(x), every(x)[..., stride - 1 :: stride])


def test_stride_that_would_skip_samples_is_refused():
    with pytest.raises(ConfigError, match="stride 4 with taps that span 3"):
        CausalConv1d(1, 1, 3, stride=4)


@pytest.mark.parametrize("name", NAMES)
def test_reach_is_the_closed_form_and_the_future_is_unseen(name):
    network = network_named(name)
    time, past = 50, network.past_samples
    seen = set()
    for _ in range(8):  # a ReLU may shut a way for one input
        seen.update(reach_by_gradient(network, torch.randn(1, 3, 70), time))
    assert max(seen) == time, "the present is seen, and nothing after it"
    assert min(seen) == time - past


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("sizes", [[1] * 40, [7] * 5 + [5], [13, 1, 26], [40]])
def test_stream_equals_the_whole(name, sizes):
    network, x = network_named(name), torch.randn(2, 3, 40)
    whole = network(x)
    state, parts = None, []
    for chunk in x.split(sizes, dim=-1):
        y, state = stream(network, chunk, state)
        parts.append(y)
    torch.testing.assert_close(torch.cat(parts, dim=-1), whole)
    torch.testing.assert_close(network(x), whole, msg="the network remembers nothing itself")


def test_state_is_as_long_as_the_past_and_no_longer():
    network = WaveNetStack(1, 2, channels=4, skip_channels=5, dilations=[1, 2, 4])
    _, state = stream(network, torch.randn(3, 1, 100))
    assert [tuple(part.shape) for part in state] == [(3, 1, 1), (3, 4, 1), (3, 4, 2), (3, 4, 4)]
    assert sum(part.shape[-1] for part in state) == network.past_samples


def test_two_streams_do_not_mix():
    network, x, z = network_named("WaveNet"), torch.randn(1, 3, 20), torch.randn(1, 3, 20)
    _, of_x = stream(network, x[..., :9])
    _, of_z = stream(network, z[..., :9])
    torch.testing.assert_close(stream(network, x[..., 9:], of_x)[0], network(x)[..., 9:])
    torch.testing.assert_close(stream(network, z[..., 9:], of_z)[0], network(z)[..., 9:])


def test_stream_refuses_what_it_cannot_do():
    conv = CausalConv1d(2, 2, 3)
    with pytest.raises(ShapeError, match="second call"):
        stream(nn.Sequential(conv, nn.ReLU(), conv), torch.randn(1, 2, 5))
    with pytest.raises(ShapeError, match="got 1 memories; expected 2"):
        stream(
            nn.Sequential(CausalConv1d(2, 2, 3), CausalConv1d(2, 2, 3)),
            torch.randn(1, 2, 5),
            stream(conv, torch.randn(1, 2, 5))[1],
        )
    with pytest.raises(ShapeError, match="chunk of 6 steps"):
        stream(CausalConv1d(2, 2, 4, stride=4), torch.randn(1, 2, 6))
    assert conv.past is conv.next_past is None, "left as it was after an error too"


# ---- TCN ----------------------------------------------------------------------------------------


def test_temporal_block_keeps_its_initialisation():
    """Weight normalisation must not undo it (as setting .weight.data on a hooked layer does)."""
    block = TemporalBlock(64, 64, 3)
    convolutions = [m for m in block.modules() if isinstance(m, CausalConv1d)]
    for conv in convolutions:
        conv(torch.zeros(1, 64, 5))
        assert conv.weight.std().item() == pytest.approx(0.01, rel=0.05)
    assert len(convolutions) == 2
    assert isinstance(block.shortcut, nn.Identity)


def test_temporal_block_is_its_formula():
    block, x = TemporalBlock(3, 5, 2, dilation=3).eval(), torch.randn(2, 3, 20)
    first, second = (m for m in block.modules() if isinstance(m, CausalConv1d))
    y = x
    for conv in (first, second):
        y = F.conv1d(F.pad(y, (3, 0)), conv.weight, conv.bias, dilation=3).relu()
    shortcut = F.conv1d(x, block.shortcut.weight, block.shortcut.bias)
    torch.testing.assert_close(block(x), (shortcut + y).relu())


def test_temporal_network_does_not_silence_its_input():
    """Projections drawn from N(0, 0.01) would shrink the signal a hundredfold at each level."""
    y = TemporalConvNet(1, [4, 8, 16, 32]).eval()(torch.randn(8, 1, 500))
    assert y.std() > 0.01


# ---- WaveNet ------------------------------------------------------------------------------------


def test_gated_block_is_its_formula():
    block, x = GatedBlock(3, 2, kernel_size=2, dilation=4), torch.randn(2, 3, 20)
    weight, bias = block.filter_and_gate.weight, block.filter_and_gate.bias
    past = F.pad(x, (4, 0))
    f = F.conv1d(past, weight[:3], bias[:3], dilation=4)
    g = F.conv1d(past, weight[3:], bias[3:], dilation=4)
    z = f.tanh() / (1 + (-g).exp())
    on, skip = block(x)
    torch.testing.assert_close(on, x + F.conv1d(z, block.residual.weight, block.residual.bias))
    torch.testing.assert_close(skip, F.conv1d(z, block.skip.weight, block.skip.bias))


def test_gated_stack_adds_its_skips():
    stack, x = (
        WaveNetStack(1, 7, channels=4, skip_channels=3, dilations=[1, 4]),
        torch.randn(2, 1, 9),
    )
    y, first = stack.blocks[0](stack.start(x))
    _, second = stack.blocks[1](y)
    torch.testing.assert_close(stack(x), stack.end(first + second))
    assert stack.blocks[1].residual is None
    with pytest.raises(ConfigError, match="no dilations"):
        WaveNetStack(1, 1, dilations=[])


# ---- all ----------------------------------------------------------------------------------------


ALL: dict[str, Callable[[], nn.Module]] = {
    "TCN": lambda: TemporalConvNet(1, [4, 8], dropout=0.0),
    "WaveNet": lambda: WaveNetStack(1, 2, channels=4, skip_channels=16, dilations=[1, 2, 4]),
    "front-end": lambda: DilatedFrontend(6, 64, channels=16),
}


@pytest.mark.parametrize("name", list(ALL))
def test_gradients_reach_every_weight(name):
    network = ALL[name]()
    network(torch.randn(4, 1, 512)).square().sum().backward()
    missed = [n for n, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert missed == []


def test_half_precision_and_compilation_keep_the_values():
    network, x = WaveNetStack(1, 2, channels=4, dilations=[1, 2]), torch.randn(1, 1, 50)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half, (streamed, _) = network(x), stream(network, x)
    torch.testing.assert_close(half.float(), network(x), atol=0.02, rtol=0.02)
    torch.testing.assert_close(streamed, half)
    compiled = torch.compile(network, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(x), network(x))


def test_front_end_ends_each_frame_with_its_hop():
    frontend = DilatedFrontend(6, 64, channels=4, dilations=[1, 2]).eval()
    x, frame, hop = torch.randn(1, 1, 700), 8, 64
    assert frontend(x).shape == (1, 6, 700 // hop)
    seen = set()
    for _ in range(8):
        seen.update(reach_by_gradient(frontend, torch.randn(1, 1, 700), frame))
    assert max(seen) == hop * (frame + 1) - 1
    assert min(seen) == hop * frame - frontend.past_samples
    assert frontend.past_samples == 48 + 16 * (1 + 3)


def test_front_end_as_a_stream():
    frontend, x = DilatedFrontend(6, 64, channels=4).eval(), torch.randn(2, 1, 640)
    state, parts = None, []
    for chunk in x.split([64, 192, 384], dim=-1):
        y, state = stream(frontend, chunk, state)
        parts.append(y)
    torch.testing.assert_close(torch.cat(parts, dim=-1), frontend(x))
    with pytest.raises(ShapeError, match="multiple of the hop, 64"):
        stream(frontend, x[..., :80])


def test_front_end_costs_what_it_says():
    frontend = DilatedFrontend(64, 256)
    work = sum(row.multiply_adds for row in layer_costs(frontend, (1, 256 * 43)))
    per_second = work * 11025 / (256 * 43)
    assert per_second == pytest.approx(29.6e6, rel=0.01)
    with pytest.raises(ConfigError, match="use 96"):
        DilatedFrontend(8, 100)
