"""Auto-encoders: the KL against torch.distributions, draws, floors, what stays and what moves."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.distributions import Independent, Normal, kl_divergence

from dl101.errors import ConfigError, ShapeError
from dl101.nn.autoencoder import (
    AutoEncoder,
    GaussianBottleneck,
    active_latents,
    free_bits,
    kl_to_standard_normal,
    reparameterise,
    warm_up,
)
from dl101.nn.quantize import FSQ, ResidualVQ, VectorQuantizer


def gaussians(*shape: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    mean = 3 * torch.randn(*shape, generator=generator, dtype=torch.float64)
    return mean, 2 * torch.randn(*shape, generator=generator, dtype=torch.float64)


def test_kl_is_that_of_torch_distributions() -> None:
    mean, log_variance = gaussians(5, 4, 3)
    q = Normal(mean, torch.exp(log_variance / 2))
    standard = Normal(torch.zeros_like(mean), torch.ones_like(mean))
    kl = kl_to_standard_normal(mean, log_variance)
    torch.testing.assert_close(kl, kl_divergence(q, standard), rtol=1e-12, atol=1e-12)
    whole = kl_divergence(Independent(q, 2), Independent(standard, 2))
    torch.testing.assert_close(kl.sum(dim=(1, 2)), whole, rtol=1e-12, atol=1e-12)


def test_kl_is_zero_for_the_prior_and_exact_beside_it() -> None:
    small = torch.tensor([0.0, 1e-5, -1e-5], dtype=torch.float32)
    kl = kl_to_standard_normal(torch.zeros(3), small)
    assert kl[0] == 0
    # half of (x + x^2/2 + ... - x): with exp(x) - 1 the digits would be gone
    torch.testing.assert_close(kl[1:], torch.full((2,), 0.25e-10), rtol=1e-3, atol=0.0)


def test_kl_is_the_mean_of_the_log_ratio() -> None:
    """Monte Carlo knows nothing of the formula."""
    mean, log_variance = torch.tensor([0.7]), torch.tensor([-0.5])
    q, prior = Normal(mean, torch.exp(log_variance / 2)), Normal(0.0, 1.0)
    generator = torch.Generator().manual_seed(0)
    z = mean + torch.exp(log_variance / 2) * torch.randn(400_000, generator=generator)
    estimate = (q.log_prob(z) - prior.log_prob(z)).mean().item()
    assert kl_to_standard_normal(mean, log_variance).item() == pytest.approx(estimate, abs=0.005)


def test_draws_have_the_mean_and_the_deviation_and_gradients_to_both() -> None:
    mean = torch.tensor([2.0, -1.0]).requires_grad_()
    log_variance = torch.tensor([-2.0, 1.0]).requires_grad_()
    many = (100_000, 2)
    generator = torch.Generator().manual_seed(0)
    z = reparameterise(mean.expand(many), log_variance.expand(many), generator=generator)
    torch.testing.assert_close(z.mean(dim=0), mean, atol=0.02, rtol=0.0)
    torch.testing.assert_close(z.std(dim=0), torch.exp(log_variance / 2), atol=0.02, rtol=0.0)
    # d/dmean E[z^2] = 2 mean, d/dlogvar E[z^2] = variance
    z.square().mean(dim=0).sum().backward()
    torch.testing.assert_close(mean.grad, 2 * mean.detach(), atol=0.05, rtol=0.0)
    torch.testing.assert_close(log_variance.grad, log_variance.detach().exp(), atol=0.05, rtol=0.0)


@pytest.mark.parametrize("shape", [(6, 4), (6, 4, 5)])
def test_free_bits_hold_each_latent_at_its_floor(shape: tuple[int, ...]) -> None:
    kl = torch.rand(*shape, generator=torch.Generator().manual_seed(0)).requires_grad_()
    over = tuple(i for i in range(len(shape)) if i != 1)
    means = kl.detach().mean(dim=over)
    floor = float(means.sort().values[1:3].mean())  # two are below, two above
    loss = free_bits(kl, floor)
    torch.testing.assert_close(loss, means.clamp(min=floor).sum())
    loss.backward()
    moved = kl.grad.abs().sum(dim=over) > 0
    assert moved.tolist() == (means > floor).tolist()
    torch.testing.assert_close(free_bits(kl, 0.0), means.sum())
    with pytest.raises(ConfigError, match="not negative"):
        free_bits(kl, -0.1)
    with pytest.raises(ConfigError):
        free_bits(kl, math.nan)


def test_warm_up_is_a_line_to_one() -> None:
    assert [warm_up(step, 4) for step in range(7)] == [0, 0.25, 0.5, 0.75, 1, 1, 1]
    assert warm_up(0, 0) == 1.0


def test_active_latents_tell_inputs_apart() -> None:
    mean = torch.zeros(50, 3, 4)
    mean[:, 0] = torch.linspace(-1, 1, 50)[:, None]
    mean[:, 2] = 5.0  # always the same: tells nothing, though it is large
    assert active_latents(mean).tolist() == [True, False, False]
    assert active_latents(mean[..., 0]).tolist() == [True, False, False]


def test_gaussian_bottleneck_draws_in_training_only() -> None:
    x = torch.randn(8, 6, 5)
    layer = GaussianBottleneck()
    torch.manual_seed(3)
    first = layer(x)
    assert not torch.equal(first.latent, first.mean)
    torch.manual_seed(3)
    expected = reparameterise(x[:, :3], x[:, 3:])
    torch.testing.assert_close(first.latent, expected)
    torch.testing.assert_close(first.kl, kl_to_standard_normal(x[:, :3], x[:, 3:]))
    layer.eval()
    assert torch.equal(layer(x).latent, x[:, :3])
    with pytest.raises(ShapeError, match="means, then log variances"):
        layer(torch.randn(2, 5, 4))


def test_wild_variances_stay_finite_and_can_come_back() -> None:
    x = torch.tensor([[0.0, 500.0], [0.0, -500.0]]).requires_grad_()
    kl = GaussianBottleneck()(x).kl
    kl.sum().backward()
    assert torch.isfinite(kl).all() and torch.isfinite(x.grad).all()
    assert x.grad[0, 1] > 0 > x.grad[1, 1]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(dtype: torch.dtype) -> None:
    x = 3 * torch.randn(8, 4)
    layer = GaussianBottleneck().eval()
    with torch.autocast("cpu", dtype=dtype):
        inside = layer(x)
    torch.testing.assert_close(inside.kl, layer(x).kl)
    given = layer(x.to(dtype))
    assert given.latent.dtype == dtype and given.kl.dtype == torch.float32
    assert layer(x.double()).kl.dtype == torch.float64


def bottlenecks() -> dict[str, tuple[nn.Module | None, int, int]]:
    return {
        "plain": (None, 4, 4),
        "gaussian": (GaussianBottleneck(), 8, 4),
        "vq": (VectorQuantizer(4, 8), 4, 4),
        "rvq": (ResidualVQ(4, 8, 3, dropout=0.5), 4, 4),
        "fsq": (FSQ((5, 4, 3, 3)), 4, 4),
    }


@pytest.mark.parametrize("name", list(bottlenecks()))
def test_any_bottleneck_fits_and_gradients_reach_every_parameter(name: str) -> None:
    torch.manual_seed(0)
    bottleneck, made, taken = bottlenecks()[name]
    network = AutoEncoder(nn.Conv1d(6, made, 1), nn.Conv1d(taken, 6, 1), bottleneck)
    x = torch.randn(3, 6, 10)
    coded = network(x)
    assert coded.output.shape == x.shape
    torch.testing.assert_close(coded.output, network.decoder(coded.bottleneck[0]))
    coded.output.square().mean().backward()
    for parameter in network.parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0
    network.eval()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    assert torch.equal(network(x).output, network(x).output)
    after = network.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)


@pytest.mark.parametrize("name", list(bottlenecks()))
def test_compiles(name: str) -> None:
    bottleneck, made, taken = bottlenecks()[name]
    network = AutoEncoder(nn.Conv1d(6, made, 1), nn.Conv1d(taken, 6, 1), bottleneck)
    x = torch.randn(3, 6, 10)
    network(x)  # starts the codebooks
    compiled = torch.compile(network, backend="eager")
    for training in (False, True):
        network.train(training)
        state = {key: value.clone() for key, value in network.state_dict().items()}
        torch.manual_seed(0)
        expected = network(x).output
        moved = {key: value.clone() for key, value in network.state_dict().items()}
        network.load_state_dict(state)
        torch.manual_seed(0)
        torch.testing.assert_close(compiled(x).output, expected)
        for key, value in network.state_dict().items():
            torch.testing.assert_close(value, moved[key])
