"""Poolings: limits of alpha, weights that add to one, which half weighs which."""

from __future__ import annotations

import pytest
import torch

from dl101.errors import ShapeError
from dl101.nn.pooling import AttentionPool, AutoPool, AutoPoolSplit, autopool_weights


@pytest.fixture
def x() -> torch.Tensor:
    return torch.randn(3, 4, 1, 11, generator=torch.Generator().manual_seed(0))


def set_alpha(module: torch.nn.Module, value: float | list[float]) -> torch.nn.Module:
    with torch.no_grad():
        module.alpha.copy_(torch.tensor(value))
    return module


def test_alpha_zero_is_the_mean_and_the_start(x):
    torch.testing.assert_close(AutoPool()(x), x.mean(dim=-1, keepdim=True))


def test_large_alpha_is_the_maximum_and_negative_the_minimum(x):
    torch.testing.assert_close(set_alpha(AutoPool(), 1e4)(x), x.amax(dim=-1, keepdim=True))
    torch.testing.assert_close(set_alpha(AutoPool(), -1e4)(x), x.amin(dim=-1, keepdim=True))


def test_alpha_one_is_softmax_pooling(x):
    expected = (x * x.exp()).sum(-1, keepdim=True) / x.exp().sum(-1, keepdim=True)
    torch.testing.assert_close(set_alpha(AutoPool(), 1.0)(x), expected)


def test_one_alpha_per_channel(x):
    pool = set_alpha(AutoPool(n_channels=4), [0.0, 0.0, 1e4, 0.0])
    y = pool(x)
    torch.testing.assert_close(y[:, 2], x[:, 2].amax(dim=-1, keepdim=True))
    torch.testing.assert_close(y[:, 1], x[:, 1].mean(dim=-1, keepdim=True))
    assert pool(x[:, :, 0]).shape == (3, 4, 1), "also without the height axis"


def test_weights_add_to_one_and_do_not_overflow(x):
    weights = autopool_weights(1e6 * x, 1e3)
    torch.testing.assert_close(weights.sum(dim=-1), torch.ones(3, 4, 1))


@pytest.mark.parametrize("pool", [AttentionPool(), set_alpha(AutoPoolSplit(), 1.0)])
def test_second_half_of_the_channels_weighs_the_first(pool, x):
    values, scores = x[:, :2], x[:, 2:].exp()
    expected = (values * scores).sum(-1, keepdim=True) / scores.sum(-1, keepdim=True)
    torch.testing.assert_close(pool(x), expected)


def test_attention_can_pick_one_frame(x):
    x[:, 2:] = 0
    x[:, 2:, :, 7] = 100
    torch.testing.assert_close(AttentionPool()(x), x[:, :2, :, 7:8])


def test_split_starts_as_the_mean_and_learns_alpha(x):
    pool = AutoPoolSplit()
    torch.testing.assert_close(pool(x), x[:, :2].mean(dim=-1, keepdim=True))
    pool(x).sum().backward()
    assert pool.alpha.numel() == 1 and pool.alpha.grad.abs() > 0


@pytest.mark.parametrize("pool", [AttentionPool(), AutoPoolSplit()])
def test_odd_number_of_channels(pool, x):
    with pytest.raises(ShapeError, match="3 channels"):
        pool(x[:, :3])
