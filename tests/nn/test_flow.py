"""Rectified flow and diffusion against closed forms: Gaussians, whose velocity is known."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from scipy import stats

from dl101.errors import ConfigError, ShapeError
from dl101.nn import flow

MEAN, DEVIATION = 1.7, 0.4


@pytest.fixture(autouse=True)
def _double():
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    yield
    torch.set_default_dtype(torch.float32)


def exact_velocity(x, t):
    """E[x0 - z | x_t] for x0 ~ N(MEAN, DEVIATION^2): Gaussian conditioning."""
    t = t.view(-1, *(1,) * (x.ndim - 1))
    variance = ((1 - t) * DEVIATION) ** 2 + t**2
    slope = ((1 - t) * DEVIATION**2 - t) / variance
    return MEAN + slope * (x - (1 - t) * MEAN)


def exact_noise(x, t):
    """E[z | x_t] of the diffusion, of the same data."""
    share = flow.kept(t).view(-1, *(1,) * (x.ndim - 1))
    variance = share * DEVIATION**2 + 1 - share
    return (1 - share).sqrt() / variance * (x - share.sqrt() * MEAN)


def data(*shape):
    return MEAN + DEVIATION * torch.randn(*shape)


# ---- signs and losses --------------------------------------------------------------------------


def test_the_ends_of_a_path_are_data_and_noise():
    x0, z = data(5, 2, 3), torch.randn(5, 2, 3)
    assert torch.equal(flow.mix(x0, z, torch.zeros(5)), x0)
    assert torch.equal(flow.mix(x0, z, torch.ones(5)), z)
    t = torch.tensor([0.0, 0.25, 0.5, 0.75, 1.0])
    by_hand = torch.stack([(1 - t[i]) * x0[i] + t[i] * z[i] for i in range(5)])
    torch.testing.assert_close(flow.mix(x0, z, t), by_hand)  # one time for each item


def test_the_state_moves_against_the_velocity_as_time_grows():
    x0, z, t = data(4, 3), torch.randn(4, 3), torch.rand(4)
    h = 1e-6
    slope = (flow.mix(x0, z, t + h) - flow.mix(x0, z, t - h)) / (2 * h)
    torch.testing.assert_close(slope, -(x0 - z), rtol=1e-6, atol=1e-6)


def test_the_exact_velocity_has_the_smallest_loss_and_it_is_the_conditional_variance():
    n, t = 400_000, 0.3
    x0, z, times = data(n, 1), torch.randn(n, 1), torch.full((n,), t)
    best = float(flow.flow_loss(exact_velocity, x0, z, times))
    variance = ((1 - t) * DEVIATION) ** 2 + t**2
    covariance = (1 - t) * DEVIATION**2 - t
    assert best == pytest.approx(DEVIATION**2 + 1 - covariance**2 / variance, rel=0.01)
    for worse in (
        lambda x, t: -exact_velocity(x, t),
        lambda x, t: exact_velocity(x, t) + 0.1,
        lambda x, t: exact_velocity(x, 1 - t),
    ):
        assert flow.flow_loss(worse, x0, z, times) > best + 0.005


def test_the_exact_noise_has_the_smallest_loss():
    n = 100_000
    x0, z, times = data(n, 1), torch.randn(n, 1), torch.full((n,), 0.4)
    best = flow.ddpm_loss(exact_noise, x0, z, times)
    assert flow.ddpm_loss(lambda x, t: exact_noise(x, t) + 0.1, x0, z, times) > best + 0.005


def test_one_time_for_the_whole_batch_is_refused():
    with pytest.raises(ShapeError, match="one time for each item"):
        flow.mix(data(4, 3), torch.randn(4, 3), torch.rand(3))
    with pytest.raises(ShapeError):
        flow.mix(data(4, 3), torch.randn(4, 3), torch.tensor(0.5))


def test_times_have_their_distributions():
    draw = torch.Generator().manual_seed(1)
    t = flow.logit_normal_times(20_000, mean=0.5, deviation=0.8, generator=draw)
    assert stats.kstest(torch.logit(t).numpy(), stats.norm(0.5, 0.8).cdf).pvalue > 0.01
    assert stats.kstest(flow.uniform_times(20_000, generator=draw).numpy(), "uniform").pvalue > 0.01


# ---- solvers -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("method", "order"), [("euler", 1), ("heun", 2)])
def test_the_error_falls_with_the_order_of_the_method(method, order):
    z = torch.randn(50, 2)
    exact = MEAN + DEVIATION * z  # the flow of Gaussians is linear in the noise
    errors = [
        float((flow.solve(exact_velocity, z, n, method=method) - exact).abs().max())
        for n in (64, 128, 256)
    ]
    for coarse, fine in itertools.pairwise(errors):
        assert math.log2(coarse / fine) == pytest.approx(order, abs=0.12)


def test_a_flow_goes_back_to_its_noise():
    z = torch.randn(7, 2, 3)
    x0 = flow.solve(exact_velocity, z, 200, method="heun")
    back = flow.solve(exact_velocity, x0, 200, method="heun", start=0.0, stop=1.0)
    torch.testing.assert_close(back, z, rtol=0, atol=2e-3)


def test_a_path_has_all_times_and_starts_where_it_is_told():
    z = torch.randn(3, 2)
    states = list(flow.path(exact_velocity, z, 4))
    assert [t for t, _ in states] == [1.0, 0.75, 0.5, 0.25, 0.0]
    assert torch.equal(states[0][1], z)
    half = list(flow.path(exact_velocity, states[2][1], 2, start=0.5))
    torch.testing.assert_close(half[-1][1], states[-1][1])
    with pytest.raises(ConfigError, match="euler, heun"):
        flow.solve(exact_velocity, z, 4, method="rk4")
    with pytest.raises(ConfigError, match="at least 1"):
        flow.solve(exact_velocity, z, 0)


def test_one_step_is_enough_where_the_velocity_does_not_change():
    z = torch.randn(4, 3)
    for method in flow.SOLVERS:
        assert torch.allclose(flow.solve(lambda x, t: 0 * x + 2, z, 1, method=method), z + 2)


def test_bend_is_zero_on_a_line_and_known_on_a_corner():
    line = torch.linspace(0, 1, 5)[:, None, None] * torch.tensor([[[3.0, 4.0]], [[1.0, 0.0]]])[:, 0]
    torch.testing.assert_close(flow.bend(line), torch.zeros(2))
    corner = torch.tensor([[[0.0, 0.0]], [[1.0, 0.0]], [[1.0, 1.0]]])
    # steps (1, 0) and (0, 1), doubled, against the way (1, 1): each off by 2, the way squared is 2
    torch.testing.assert_close(flow.bend(corner), torch.tensor([1.0]))


# ---- diffusion ---------------------------------------------------------------------------------


def test_the_schedule_is_the_limit_of_the_linear_one():
    betas = torch.linspace(1e-4, 0.02, 1000)
    product = torch.cumprod(1 - betas, dim=0)
    times = torch.arange(1, 1001) / 1000
    assert (flow.kept(times) - product).abs().max() < 2e-3
    assert flow.kept(torch.zeros(1)) == 1.0


def test_diffusion_keeps_the_variance():
    x0, z = torch.randn(200_000, 1), torch.randn(200_000, 1)
    for t in (0.1, 0.5, 0.9):
        assert flow.diffuse(x0, z, torch.full((200_000,), t)).var() == pytest.approx(1, abs=0.01)


def test_ddim_is_the_flow_of_the_diffusion():
    """With the exact noise it maps quantiles to quantiles; ever better with more steps."""
    z = torch.linspace(-2, 2, 9)[:, None]
    errors = [
        float((flow.ddpm_solve(exact_noise, z, n) - (MEAN + DEVIATION * z)).abs().max())
        for n in (50, 100, 200, 400)
    ]
    assert errors == sorted(errors, reverse=True) and errors[-1] < 0.03


def test_the_ancestral_sampler_has_the_right_distribution_and_its_own_noise():
    z = torch.randn(20_000, 1)
    draw = torch.Generator().manual_seed(2)
    x = flow.ddpm_solve(exact_noise, z, 300, noise=1.0, generator=draw)
    assert x.mean() == pytest.approx(MEAN, abs=0.02) and x.std() == pytest.approx(
        DEVIATION, abs=0.02
    )
    correlation = torch.corrcoef(torch.stack([x[:, 0], z[:, 0]]))[0, 1]
    assert abs(correlation) < 0.05  # it has forgotten where it came from; DDIM never does
    again = flow.ddpm_solve(exact_noise, z, 3, noise=1.0, generator=draw)
    assert not torch.equal(again, flow.ddpm_solve(exact_noise, z, 3, noise=0.0))


# ---- guidance, interpolation, windows ----------------------------------------------------------


def test_guidance_extrapolates_from_the_unconditional():
    x, t = torch.randn(3, 2), torch.rand(3)
    one, two = (lambda x, t: x + 1), (lambda x, t: x - 1)
    for weight, expected in ((0.0, -1.0), (1.0, 1.0), (2.0, 3.0), (3.5, 6.0)):
        torch.testing.assert_close(flow.guided(one, two, weight)(x, t), x + expected)


def test_slerp_keeps_the_length_and_meets_its_ends():
    a, b = torch.randn(1, 8, 20), torch.randn(1, 8, 20)
    between = flow.slerp(a, b, torch.tensor([0.0, 0.3, 1.0]))
    torch.testing.assert_close(between[0], a[0])
    torch.testing.assert_close(between[2], b[0])
    lengths = between.flatten(1).norm(dim=1)
    assert lengths.min() > 0.95 * min(a.norm(), b.norm())
    torch.testing.assert_close(flow.slerp(a, a, torch.tensor([0.5])), a)


@pytest.mark.parametrize("n_frames", [3, 10, 11, 24, 37])
def test_windows_cover_every_frame_and_agree_where_the_network_is_local(n_frames):
    starts = []

    def local(x, t, start):
        starts.append(start)
        return 2 * x + t[:, None, None]

    x, t = torch.randn(2, 3, n_frames), torch.rand(2)
    long = flow.by_windows(local, window=10, hop=5)
    torch.testing.assert_close(long(x, t), 2 * x + t[:, None, None])
    assert starts[0] == 0 and starts[-1] == max(0, n_frames - 10)
    assert all(b - a <= 5 for a, b in itertools.pairwise(starts))


def test_windows_weigh_more_in_their_middle():
    said = flow.by_windows(lambda x, t, start: 0 * x + start, window=4, hop=2)
    out = said(torch.zeros(1, 1, 6), torch.zeros(1))[0, 0]
    # windows at 0 and 2, weights 1 2 2 1: frame 2 has 2 of the first and 1 of the second
    torch.testing.assert_close(out, torch.tensor([0, 0, 2 / 3, 4 / 3, 2, 2]))
