"""The flow: undone to rounding, its determinants by brute force, its density a density."""

import math

import pytest
import torch
from torch.distributions import Normal

from dl101.errors import ShapeError
from dl101.nn.normalizing_flow import (
    AffineCoupling,
    InvertibleConv,
    SoundFlow,
    bits_per_sample,
    squeeze,
    unsqueeze,
)


def stirred(network):
    """Return a network whose last layers are no longer zero."""
    torch.manual_seed(1)
    for name, parameter in network.named_parameters():
        if "last" in name:
            torch.nn.init.normal_(parameter, std=0.1)
        elif name.endswith("weight") and parameter.ndim == 2:
            parameter.data += 0.1 * torch.randn_like(parameter)
    return network.double()


def log_det(function, x):
    """Return log abs det of a function's Jacobian at x, of one item, by differentiation."""
    jacobian = torch.autograd.functional.jacobian(
        lambda flat: function(flat.view_as(x)), x.flatten()
    )
    return torch.linalg.slogdet(jacobian.reshape(x.numel(), x.numel()))[1]


def test_squeezing_keeps_samples_that_follow_each_other_together() -> None:
    audio = torch.arange(24.0).view(2, 12)
    x = squeeze(audio, 4)
    assert x.shape == (2, 4, 3)
    assert x[0, :, 1].tolist() == [4, 5, 6, 7]
    assert torch.equal(unsqueeze(x), audio)
    with pytest.raises(ShapeError, match="multiple of 5"):
        squeeze(audio, 5)


@pytest.mark.parametrize("conditions", [0, 3])
@pytest.mark.parametrize("channels", [2, 5])
def test_determinants_are_those_of_the_jacobian(channels: int, conditions: int) -> None:
    torch.manual_seed(0)
    x = torch.randn(1, channels, 6, dtype=torch.double)
    given = torch.randn(1, conditions, 6, dtype=torch.double) if conditions else None
    coupling = stirred(AffineCoupling(channels, 8, 2, conditions))
    mixer = stirred(InvertibleConv(channels))
    for part, extra in ((coupling, (given,)), (mixer, ())):
        z, said = part(x, *extra)
        brute = log_det(lambda v: part(v, *extra)[0].flatten(), x)  # noqa: B023
        assert abs(float(brute.detach())) > 1e-3
        assert float(said.detach()) == pytest.approx(float(brute.detach()), abs=1e-9)
        assert torch.allclose(part.inverse(z, *extra), x, atol=1e-9)


@pytest.mark.parametrize("conditions", [0, 4])
def test_the_flow_is_exact_and_undone(conditions: int) -> None:
    torch.manual_seed(0)
    flow = SoundFlow(n_steps=3, hidden=8, n_layers=2, n_conditions=conditions)
    stirred(flow)
    audio = 0.1 * torch.randn(1, 24, dtype=torch.double)
    given = torch.randn(1, 4, 3, dtype=torch.double) if conditions else None
    z, said = flow(audio, given)
    brute = log_det(lambda v: flow(v, given)[0].flatten(), audio)
    assert float(said.detach()) == pytest.approx(float(brute.detach()), abs=1e-8)
    by_hand = Normal(0, 1).log_prob(z).sum() + brute
    assert float(flow.log_likelihood(audio, given).detach()) == pytest.approx(
        float(by_hand.detach()), abs=1e-8
    )
    assert torch.allclose(flow.inverse(z, given), audio, atol=1e-10)


def test_single_precision_is_undone_to_a_ten_thousandth() -> None:
    flow = stirred(SoundFlow(n_conditions=4)).float()
    audio = 0.3 * torch.randn(3, 2048)
    given = torch.randn(3, 4, 256)
    with torch.no_grad():
        assert torch.allclose(flow.inverse(flow(audio, given)[0], given), audio, atol=1e-4)


def test_the_density_integrates_to_one() -> None:
    flow = stirred(SoundFlow(group=2, n_steps=2, hidden=8, n_layers=1, level=1.0))
    side = torch.linspace(-12, 12, 481, dtype=torch.double)
    grid = torch.cartesian_prod(side, side)
    with torch.no_grad():
        density = flow.log_likelihood(grid).exp()
    assert float(density.sum() * (side[1] - side[0]) ** 2) == pytest.approx(1.0, abs=1e-3)


def test_an_untrained_flow_is_white_noise_of_its_level() -> None:
    flow = SoundFlow(level=0.2)
    audio = 0.2 * torch.randn(2, 64)
    expected = Normal(0, 0.2).log_prob(audio).sum(dim=1)
    assert torch.allclose(flow.log_likelihood(audio), expected, atol=1e-3)


def test_bits_of_a_gaussian() -> None:
    deviation, n = 0.1, 200_000
    audio = deviation * torch.randn(1, n, dtype=torch.double)
    bits = bits_per_sample(Normal(0, deviation).log_prob(audio).sum(1), n, 12)
    steps = deviation * 2**11
    assert float(bits) == pytest.approx(
        math.log2(steps * math.sqrt(2 * math.pi * math.e)), abs=0.01
    )


def test_every_parameter_learns() -> None:
    flow = stirred(SoundFlow(n_steps=2, hidden=8, n_layers=2, n_conditions=4)).float()
    flow.log_likelihood(0.1 * torch.randn(2, 64), torch.randn(2, 4, 8)).sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in flow.parameters())
