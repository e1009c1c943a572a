"""Generators, critics, phase shuffle and the losses of both."""

import pytest
import torch

from dl101.errors import ShapeError
from dl101.nn import sound_gan

SHAPE = (2, 32, 16)


@pytest.mark.parametrize("steps", range(-4, 5))
def test_a_shift_is_that_of_a_mirrored_signal(steps: int) -> None:
    x = torch.randn(1, 3, 9)
    padded = torch.nn.functional.pad(x, (4, 4), mode="reflect")
    wanted = padded[..., 4 - steps : 13 - steps]
    assert torch.equal(sound_gan.shifted(x, torch.tensor([steps])), wanted)


def test_every_item_has_a_shift_of_its_own() -> None:
    x = torch.arange(6.0).expand(3, 1, 6)
    found = sound_gan.shifted(x, torch.tensor([0, 2, -1]))[:, 0]
    assert found.tolist() == [[0, 1, 2, 3, 4, 5], [2, 1, 0, 1, 2, 3], [1, 2, 3, 4, 5, 4]]
    with pytest.raises(ShapeError, match="less than 6"):
        sound_gan.shifted(x, torch.tensor([0, 6, 0]))
    with pytest.raises(ShapeError, match="one shift for each"):
        sound_gan.shifted(x, torch.tensor([0]))


def test_shuffling_draws_all_shifts_evenly() -> None:
    torch.manual_seed(0)
    x = torch.arange(20.0).expand(3000, 1, 20)
    moved = x[:, 0, 10] - sound_gan.PhaseShuffle(2)(x)[:, 0, 10]
    values, counts = moved.unique(return_counts=True)
    assert values.tolist() == [-2, -1, 0, 1, 2]
    assert counts.min() > 500
    assert sound_gan.PhaseShuffle(0)(x) is x


def test_sizes_of_wavegan() -> None:
    sizes = {"n_layers": 5, "first_steps": 16}
    with torch.device("meta"):
        noise = torch.empty(2, 100)
        made = sound_gan.WaveGenerator(100, 64, **sizes)(noise)
        critic = sound_gan.WaveCritic(16_384, 64, n_layers=5, shuffle=0)
        scores, named = critic(made)
    assert made.shape == (2, 16_384)  # the published sizes
    assert scores.shape == (2,)
    assert named is None


@pytest.mark.parametrize("n_pitches", [0, 5])
def test_pictures_and_their_critic(n_pitches: int) -> None:
    torch.manual_seed(0)
    maker = sound_gan.PictureGenerator(SHAPE, 8, 4, n_pitches)
    critic = sound_gan.PictureCritic(SHAPE, 4, n_pitches)
    noise, asked = torch.randn(2, 8), torch.tensor([1, 3])
    made = maker(noise, asked)
    scores, named = critic(made)
    assert made.shape == (2, *SHAPE)
    assert made.abs().max() <= 1
    assert scores.shape == (2,)
    assert (named is None) == (n_pitches == 0)
    other = maker(noise, torch.tensor([1, 4]))
    assert torch.equal(made[0], other[0])
    assert torch.equal(made[1], other[1]) == (n_pitches == 0)
    (scores.sum() + (0 if named is None else named.square().sum())).backward()
    for network in (maker, critic):
        assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())


def test_who_loses_what() -> None:
    real, made = torch.tensor([2.0, 4.0]), torch.tensor([-1.0, 0.0, 4.0])
    assert float(sound_gan.wasserstein_critic(real, made)) == pytest.approx(1.0 - 3.0)
    assert float(sound_gan.wasserstein_generator(made)) == pytest.approx(-1.0)


def test_the_penalty_of_a_linear_critic_is_known() -> None:
    weight = torch.tensor([[3.0, 4.0]], requires_grad=True)  # a slope of 5

    def critic(x: torch.Tensor) -> sound_gan.Judged:
        return (x @ weight.T)[:, 0], None

    penalty = sound_gan.gradient_penalty(critic, torch.randn(7, 2), torch.randn(7, 2))
    assert float(penalty.detach()) == pytest.approx(16.0)
    penalty.backward()
    assert torch.allclose(weight.grad, 2 * 4 * weight.detach() / 5)


def test_the_penalty_looks_between_real_and_made() -> None:
    torch.manual_seed(0)
    seen = []

    def critic(x: torch.Tensor) -> sound_gan.Judged:
        seen.append(x.detach())
        return x.square().sum(dim=1), None

    sound_gan.gradient_penalty(critic, torch.zeros(500, 3), torch.ones(500, 3))
    (points,) = seen
    assert torch.allclose(points, points[:, :1].expand(-1, 3))  # on the line
    assert points.min() >= 0
    assert points.max() <= 1
    assert abs(float(points.mean()) - 0.5) < 0.05
