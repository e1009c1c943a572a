"""The logarithm with learned constants: closed form, gates, gradients."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from dl101.errors import ConfigError
from dl101.nn.compression import FixedLog, LearnedLog

X = torch.tensor([0.0, 1e-6, 1e-3, 0.5, 30.0, 900.0], dtype=torch.float64)


def test_it_starts_where_the_thesis_does() -> None:
    layer = LearnedLog()
    assert layer.a.item() == pytest.approx(7.0)
    assert layer.b.item() == pytest.approx(1.0)
    assert layer.alpha.item() == pytest.approx(1096.63, abs=0.01)
    assert layer.beta.item() == pytest.approx(1.31, abs=0.005)


@pytest.mark.parametrize(("alpha", "beta"), [(1.0, 1.0), (1e4, 1.0), (1.0, 1e-6), (3.0, 200.0)])
@pytest.mark.parametrize("pace", [1.0, 10.0])
def test_it_equals_the_closed_form(alpha: float, beta: float, pace: float) -> None:
    layer = LearnedLog(alpha, beta, pace=pace).double()
    expected = torch.log(alpha * X + beta)
    torch.testing.assert_close(layer(X), expected, rtol=1e-5, atol=1e-5)
    assert layer.strength.item() == pytest.approx(alpha / beta, rel=1e-4)
    # the same curve as log(1 + C x), but for a constant
    shifted = layer(X) - torch.log(layer.beta)
    torch.testing.assert_close(shifted, FixedLog(alpha / beta)(X), rtol=1e-4, atol=1e-4)


def test_gradients_reach_both_constants_and_are_the_derivatives() -> None:
    layer = LearnedLog(100.0, 0.5, pace=2.0).double()
    layer(X).sum().backward()
    alpha, beta, b = layer.alpha.item(), layer.beta.item(), layer.b.item()
    by_alpha = (X / (alpha * X + beta)).sum()
    by_beta = (1 / (alpha * X + beta)).sum()
    assert layer.a.grad.item() == pytest.approx(by_alpha.item() * 2.0 * alpha, rel=1e-6)
    slope = 1 / (1 + math.exp(-b))  # of the softplus
    assert layer.b.grad.item() == pytest.approx(by_beta.item() * slope, rel=1e-6)
    assert torch.autograd.gradcheck(layer, (X[1:].clone().requires_grad_(),))


def test_training_finds_the_constant_that_made_the_data() -> None:
    torch.manual_seed(0)
    x = torch.rand(512) ** 4
    y = torch.log1p(50.0 * x)
    layer = LearnedLog(1000.0, 1.0, pace=5.0)
    network = nn.Sequential(layer, nn.Identity())
    optimizer = torch.optim.Adam(network.parameters(), lr=0.02)
    for _ in range(400):
        optimizer.zero_grad()
        loss = ((network(x) - y) ** 2).mean()
        loss.backward()
        optimizer.step()
    assert layer.strength.item() == pytest.approx(50.0, rel=0.05)
    assert layer.beta.item() == pytest.approx(1.0, rel=0.05)


def test_the_constants_stay_positive_whatever_the_optimiser_does() -> None:
    layer = LearnedLog()
    with torch.no_grad():
        layer.a.fill_(-20.0)
        layer.b.fill_(-20.0)
    assert layer.alpha.item() > 0
    assert layer.beta.item() > 0
    assert torch.isfinite(layer(X)).all()


def test_pace_multiplies_the_step_of_the_exponent() -> None:
    slow, fast = LearnedLog(pace=1.0), LearnedLog(pace=10.0)
    with torch.no_grad():
        slow.a += 0.1
        fast.a += 0.1
    start = math.exp(7.0)
    assert slow.alpha.item() / start == pytest.approx(math.exp(0.1), rel=1e-4)
    assert fast.alpha.item() / start == pytest.approx(math.exp(1.0), rel=1e-4)


def test_fixed_log_is_the_feature_and_zero_passes() -> None:
    torch.testing.assert_close(FixedLog(1e4)(X), torch.log(1 + 1e4 * X))
    assert FixedLog(0)(X) is X
    assert not list(FixedLog(1.0).parameters())


def test_what_is_printed_says_the_constants() -> None:
    assert "alpha=1097, beta=1.313" in repr(LearnedLog())
    assert "strength=100" in repr(FixedLog(100.0))


@pytest.mark.parametrize(
    "make",
    [lambda: LearnedLog(0.0), lambda: LearnedLog(1.0, -1.0), lambda: LearnedLog(pace=0.0)],
)
def test_constants_that_are_not_positive_are_refused(make) -> None:
    with pytest.raises(ConfigError, match="positive"):
        make()


def test_a_negative_strength_is_refused() -> None:
    with pytest.raises(ConfigError, match="not negative"):
        FixedLog(-1.0)
