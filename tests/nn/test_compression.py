"""The logarithm with learned constants: closed form, gates, gradients."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from dl101.errors import ConfigError
from dl101.nn.compression import PCEN, FixedLog, LearnedLog, smooth

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


# ---- PCEN ---------------------------------------------------------------------------------------


def powers(*shape: int) -> torch.Tensor:
    return torch.rand(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) ** 8


@pytest.mark.parametrize("n_frames", [1, 2, 3, 64, 65, 1000])
def test_running_mean_is_the_recursion(n_frames: int) -> None:
    x, s = powers(2, 3, n_frames), torch.tensor([0.04, 0.5, 1.0], dtype=torch.float64)
    mean = [x[..., 0]]
    for t in range(1, n_frames):
        mean.append((1 - s) * mean[-1] + s * x[..., t])
    torch.testing.assert_close(smooth(x, s), torch.stack(mean, dim=-1), rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize(
    ("alpha", "delta", "root", "s"), [(0.96, 2.0, 2.0, 0.04), (0.8, 10.0, 4.0, 0.2)]
)
def test_pcen_equals_librosas(alpha: float, delta: float, root: float, s: float) -> None:
    librosa = pytest.importorskip("librosa")
    x = powers(5, 300)
    layer = PCEN(5, alpha=alpha, delta=delta, root=root, smoothing=s, floor=1e-6).double()
    constants = {"gain": alpha, "bias": delta, "power": 1 / root, "b": s, "eps": 1e-6}
    # librosa starts from a mean of 1 unless it is told: as if x[0] had lasted for ever
    expected = librosa.pcen(x.numpy(), zi=(1 - s) * x[:, :1].numpy(), **constants)
    torch.testing.assert_close(layer(x).detach(), torch.from_numpy(expected), rtol=1e-5, atol=1e-7)


def test_pcen_forgets_a_gain() -> None:
    x = powers(4, 200)
    layer = PCEN(4, alpha=1.0, floor=1e-12).double()
    torch.testing.assert_close(layer(1000 * x), layer(x), rtol=1e-6, atol=1e-6)
    kept = PCEN(4, alpha=0.0).double()
    assert (kept(1000 * x) - kept(x)).mean() > 1


def test_pcen_keeps_its_constants_in_range_and_learns_them() -> None:
    layer = PCEN(2).double()
    with torch.no_grad():
        layer.alpha.copy_(torch.tensor([2.0, 0.5]))
        layer.delta.copy_(torch.tensor([-3.0, 0.5]))
        layer.root.copy_(torch.tensor([0.1, 3.0]))
        layer.smoothing.copy_(torch.tensor([7.0, -1.0]))
    held = layer.constants()
    assert held["alpha"].tolist() == [1.0, 0.5]
    assert held["delta"].tolist() == pytest.approx([1e-3, 0.5])
    assert held["root"].tolist() == [1.0, 3.0]
    assert held["smoothing"].tolist() == pytest.approx([1.0, 1e-3])
    y = layer(powers(3, 2, 50))
    assert y.isfinite().all()
    y.sum().backward()
    assert layer.delta.grad[1] != 0  # with a root of 1 delta is added and taken off again
    assert all((p.grad != 0).all() for p in (layer.alpha, layer.root, layer.smoothing))
    assert layer(torch.zeros(1, 2, 50, dtype=torch.float64)).abs().max() == 0


def test_pcen_in_half_precision() -> None:
    x = powers(3, 4, 60).float()
    layer = PCEN(4)
    assert layer(x.half()).dtype == torch.float32
    torch.testing.assert_close(layer(x.half()), layer(x.half().float()))
