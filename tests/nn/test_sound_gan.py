"""Generators, critics, phase shuffle and the losses of both."""

import math

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


def test_lines_lie_where_partials_lie() -> None:
    sizes = {"sample_rate": 4000, "window_samples": 256, "hop_samples": 64}
    (lines,) = sound_gan.lines_of([250.0], 128, **sizes)  # 16 bins apart
    assert torch.allclose(lines[0, ::16], torch.ones(8), atol=1e-4)
    assert torch.allclose(lines[0, 8::16], -torch.ones(8), atol=1e-4)
    assert torch.allclose(lines[1, 4::16], torch.ones(8), atol=1e-4)
    # 250 Hz turn by 4 times 2 pi in 64 samples of 4,000 Hz, or not at all; 260 Hz a little more
    assert torch.allclose(lines[2].abs() % 2, torch.zeros(128), atol=1e-4)
    (lines,) = sound_gan.lines_of([260.0], 128, **sizes)
    assert float(lines[2, 17]) == pytest.approx(2 * 260 * 64 / 4000 - 8, abs=1e-4)
    assert float(lines[2, 33]) == pytest.approx(2 * 520 * 64 / 4000 - 16, abs=1e-4)


def test_a_generator_is_shown_the_lines() -> None:
    torch.manual_seed(0)
    lines = torch.randn(5, 3, SHAPE[1])
    maker = sound_gan.LineGenerator(SHAPE, lines, 8, 4)
    noise, asked = torch.randn(2, 8), torch.tensor([1, 3])
    made = maker(noise, asked)
    assert made.shape == (2, *SHAPE)
    assert made.abs().max() <= 1
    maker.lines[1] = 0
    other = maker(noise, asked)
    assert not torch.allclose(made[0], other[0])
    assert torch.equal(made[1], other[1])
    other.square().sum().backward()
    assert all(p.grad.abs().sum() > 0 for p in maker.parameters())


def test_phases_fade_where_nothing_sounds() -> None:
    pictures = torch.full((1, 2, 1, 3), 0.8)
    pictures[0, 0, 0] = torch.tensor([-1.0, 0.0, 1.0])
    found = sound_gan.lit(pictures)
    assert torch.equal(found[:, 0], pictures[:, 0])
    assert torch.allclose(found[0, 1, 0], torch.tensor([0.0, 0.4, 0.8]))


def test_a_critic_of_the_spread_knows_copies() -> None:
    torch.manual_seed(0)
    critic = sound_gan.PictureCritic(SHAPE, 4, spread=True)
    pictures = torch.rand(4, *SHAPE)
    alone, _ = critic(pictures[:1].expand(4, -1, -1, -1))
    among, _ = critic(pictures)
    last = critic.last.weight[0, -1]
    assert not torch.isclose(alone[0], among[0])
    with torch.no_grad():
        critic.last.weight[0, -1] -= last
    alone, _ = critic(pictures[:1].expand(4, -1, -1, -1))
    among, _ = critic(pictures)
    assert torch.isclose(alone[0], among[0], atol=1e-5)


def test_who_loses_what() -> None:
    real, made = torch.tensor([2.0, 4.0]), torch.tensor([-1.0, 0.0, 4.0])
    assert float(sound_gan.wasserstein_critic(real, made)) == pytest.approx(1.0 - 3.0)
    assert float(sound_gan.wasserstein_generator(made)) == pytest.approx(-1.0)
    zero = torch.zeros(3)
    assert float(sound_gan.logistic_critic(zero, zero)) == pytest.approx(2 * math.log(2))
    assert float(sound_gan.logistic_generator(zero)) == pytest.approx(math.log(2))
    assert sound_gan.logistic_critic(real, made) < sound_gan.logistic_critic(made, real)
    assert sound_gan.logistic_generator(real) < sound_gan.logistic_generator(made)


def test_the_penalty_at_real_items_is_a_squared_slope() -> None:
    weight = torch.tensor([[3.0, 4.0]], requires_grad=True)
    penalty = sound_gan.real_penalty(lambda x: ((x @ weight.T)[:, 0], None), torch.randn(7, 2))
    assert float(penalty.detach()) == pytest.approx(25.0)
    penalty.backward()
    assert torch.allclose(weight.grad, 2 * weight.detach())
    at = torch.tensor([[1.0, 0.0], [0.0, 2.0]])  # of the real items, not elsewhere
    found = sound_gan.real_penalty(lambda x: (x.square().sum(dim=1), None), at)
    assert float(found.detach()) == pytest.approx((4 + 16) / 2)


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
