"""Blocks against closed forms."""

from __future__ import annotations

import warnings

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from dl101.errors import ConfigError
from dl101.nn.blocks import (
    ConvNeXtBlock,
    DepthwiseSeparableConv2d,
    ResidualBlock2d,
    ResidualBottleneck2d,
    SameConv2d,
    StochasticDepth,
    conv2d,
)


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize("kernel", [1, 3, (4, 3), (3, 4), (70, 3), (6, 6)])
@pytest.mark.parametrize("dilation", [1, (2, 3)])
@pytest.mark.filterwarnings("ignore:Using padding='same'")
def test_same_convolution_equals_pytorchs(kernel, dilation):
    ours = SameConv2d(2, 3, kernel, dilation=dilation)
    theirs = nn.Conv2d(2, 3, kernel, padding="same", dilation=dilation)
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(2, 2, 12, 9)
    torch.testing.assert_close(ours(x), theirs(x))


def test_same_convolution_is_quiet_with_even_kernels():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert SameConv2d(2, 3, (42, 3))(torch.randn(1, 2, 50, 7)).shape == (1, 3, 50, 7)


@pytest.mark.parametrize("rows", [1, 11, 12, 13])
def test_kernel_taller_than_the_input_trains(rows):
    """oneDNN's own backward pass ends the process here, see SameConv2d.forward."""
    conv, x = SameConv2d(16, 4, (23, 3)), torch.randn(2, 16, rows, 8, requires_grad=True)
    y = conv(x)
    (y * torch.randn_like(y)).sum().backward()
    seen = conv.weight.grad.abs().amax(dim=(0, 1, 3)) > 0
    assert seen.sum() == min(23, 2 * rows - 1), "taps that never meet the input get no gradient"


def test_convolution_with_other_padding():
    x = torch.randn(1, 2, 12, 9)
    assert conv2d(2, 3, (4, 3))(x).shape == (1, 3, 9, 7)
    assert conv2d(2, 3, 3, stride=[2, 1], padding=[1, 0])(x).shape == (1, 3, 6, 7)
    with pytest.raises(ConfigError, match="stride"):
        conv2d(2, 3, 3, stride=(1, 2), padding="same")


def test_depthwise_separable_equals_the_convolution_whose_kernel_is_the_product():
    """A grouped convolution, then 1x1, is one convolution with kernel w_point[d,c] w_depth[c]."""
    block = DepthwiseSeparableConv2d(3, 5, (3, 5))
    depth, point = block.depthwise, block.pointwise
    kernel = point.weight * depth.weight.transpose(0, 1)  # (5, 3, 1, 1) x (1, 3, 3, 5)
    bias = point.bias + point.weight[:, :, 0, 0] @ depth.bias
    x = torch.randn(2, 3, 8, 9)
    torch.testing.assert_close(block(x), F.conv2d(x, kernel, bias, padding="same"))
    assert count(block) == 3 * 3 * 5 + 3 + 3 * 5 + 5


def test_depthwise_convolution_keeps_the_channels_apart():
    block = DepthwiseSeparableConv2d(3, 5, 3, padding="valid")
    x = torch.randn(1, 3, 8, 9)
    changed = x.clone()
    changed[:, 1] += 1
    difference = (block.depthwise(changed) - block.depthwise(x)).abs().amax(dim=(0, 2, 3))
    assert difference[1] > 0 and difference[0] == difference[2] == 0


def test_residual_block_with_silent_branch_is_the_rectified_input():
    block = ResidualBlock2d(4, 4, 3).eval()
    nn.init.zeros_(block.residual[-1].weight)
    x = torch.randn(2, 4, 6, 7)
    torch.testing.assert_close(block(x), x.relu())


def test_residual_block_projects_only_when_channels_change():
    assert count(ResidualBlock2d(4, 4, 5)) == 2 * (4 * 4 * 25 + 4) + 2 * 8
    block = ResidualBlock2d(4, 6, 5).eval()
    assert count(block) == (4 * 6 * 25 + 6) + (6 * 6 * 25 + 6) + 2 * 12 + (4 * 6 + 6)
    nn.init.zeros_(block.residual[-1].weight)
    x = torch.randn(2, 4, 6, 7)
    torch.testing.assert_close(block(x), F.conv2d(x, *block.shortcut.parameters()).relu())


def test_residual_block_adds_before_it_rectifies():
    block = ResidualBlock2d(1, 1, 1).eval()
    for module in block.residual:
        for parameter in module.parameters():
            nn.init.ones_(parameter)
    nn.init.constant_(block.residual[-1].bias, -3.0)
    # conv: 2+1=3, BN: ~3+1=4, ReLU, conv: 4+1=5, BN: ~5-3=2, plus the input 2
    torch.testing.assert_close(
        block(torch.full((1, 1, 1, 1), 2.0)), torch.tensor([[[[4.0]]]]), rtol=1e-4, atol=1e-4
    )
    assert block(torch.full((1, 1, 1, 1), -9.0)).item() == 0  # 0 + BN(...) - 9 < 0


def test_convnext_is_identity_when_its_last_layer_is_zero():
    block = ConvNeXtBlock(4)
    nn.init.zeros_(block.contract.weight)
    nn.init.zeros_(block.contract.bias)
    x = torch.randn(2, 4, 9, 8)
    assert torch.equal(block(x), x)


def test_convnext_equals_its_convolutional_form():
    """Liu et al. (2022) name two equal forms: linear layers or 1x1 convolutions."""
    block, x = ConvNeXtBlock(4), torch.randn(2, 4, 9, 8)
    y = F.conv2d(x, block.depthwise.weight, block.depthwise.bias, padding=3, groups=4)
    centred = y - y.mean(dim=1, keepdim=True)
    y = centred / (centred.square().mean(dim=1, keepdim=True) + 1e-6).sqrt()
    y = F.gelu(F.conv2d(y, block.expand.weight[:, :, None, None], block.expand.bias))
    y = F.conv2d(y, block.contract.weight[:, :, None, None], block.contract.bias)
    torch.testing.assert_close(block(x), x + y, rtol=1e-4, atol=1e-5)
    assert count(block) == (49 * 4 + 4) + 8 + (16 * 4 + 16) + (16 * 4 + 4)


def test_stochastic_depth_drops_whole_examples_and_keeps_the_mean():
    drop, x = StochasticDepth(0.25), torch.ones(4000, 2, 3)
    y = drop(x)
    assert (y == y[:, :1, :1]).all(), "one decision per example"
    assert y.unique().tolist() == pytest.approx([0, 1 / 0.75])
    assert y.mean() == pytest.approx(1, abs=0.04)
    assert torch.equal(drop.eval()(x), x)
    with pytest.raises(ConfigError):
        StochasticDepth(1.0)


def test_a_residual_bottleneck_is_its_three_convolutions_and_its_input():
    block, x = ResidualBottleneck2d(12, kernel_size=(5, 3)).eval(), torch.randn(2, 12, 9, 7)
    narrow, norm1, _, middle, norm2, _, widen, norm3 = block.residual
    h = F.relu(
        norm1(
            torch.einsum("dc,bcft->bdft", narrow.weight[:, :, 0, 0], x) + narrow.bias.view(-1, 1, 1)
        )
    )
    h = F.relu(norm2(F.conv2d(h, middle.weight, middle.bias, padding=(2, 1))))
    f = norm3(F.conv2d(h, widen.weight, widen.bias))
    torch.testing.assert_close(block(x), F.relu(x + f))
    norms = 2 * (3 + 3 + 12)
    assert count(block) == (12 * 3 + 3) + (15 * 3 * 3 + 3) + (3 * 12 + 12) + norms
    assert ResidualBottleneck2d(2).residual[0].out_channels == 1, "never no channel"
    assert ResidualBottleneck2d(8, 5).residual[0].out_channels == 5
