"""A plane of sounds, and six ways of training a small network on it.

Conventions. A sound is a point (brightness, attack), both about 0 on average and of size 1:
brighter to the right, slower upwards. Three instruments have a region each. Networks are
perceptrons with two hidden layers; every way of training returns a :class:`Course` with what it
minimised and what the network did at some steps on the way.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from dl101.nn import flow, losses, metric_learning, self_supervised

INSTRUMENTS = ("low arc", "high arc", "corner")
SAMPLE_RATE = 8_000
SNAPSHOTS = (0, 30, 100, 300, 1000)
NEAR = 0.2  # two sounds less than this apart count as alike
WIDTH = 48


# ---- the sounds ----------------------------------------------------------------------------------


def sounds(n: int, *, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Return points (n, 2) and their instruments (n,), a third of them each.

    Two instruments are arcs that reach into each other, the third is a spot in a corner.
    """
    rng = np.random.default_rng(seed)
    instruments = np.arange(n) % 3
    angle = np.pi * rng.random(n)
    low = np.stack([np.cos(angle) - 0.5, np.sin(angle) - 0.5], axis=1)
    high = np.stack([0.5 - np.cos(angle), 0.25 - np.sin(angle)], axis=1)
    corner = np.array([1.5, 1.3]) + 0.1 * rng.standard_normal((n, 2))
    points = np.choose(instruments[:, None], [low, high, corner])
    points = 1.1 * (points + 0.08 * rng.standard_normal((n, 2)) - [0.4, 0.3])
    return torch.from_numpy(points).float(), torch.from_numpy(instruments)


def tone(point: ArrayLike, *, duration_s: float = 0.3, hz: float = 196.0) -> NDArray[np.float32]:
    """Return the sound of a point, (time,): a tone as bright and with such an attack."""
    brightness, attack = np.clip(np.asarray(point, dtype=np.float64), -2.5, 2.5)
    t = np.arange(round(duration_s * SAMPLE_RATE)) / SAMPLE_RATE
    k = np.arange(1, 16)
    strength = k ** -(2.2 - 0.8 * brightness)
    wave = strength @ np.sin(2 * np.pi * hz * k[:, None] * t) / np.linalg.norm(strength)
    attack_s = 0.02 * 4.0**attack  # from 1 to 300 ms, over the range of the instruments
    envelope = np.minimum(1, t / attack_s) * np.minimum(1, (t[-1] - t) / 0.03)
    return (wave * envelope).astype(np.float32)


def phrase(points: ArrayLike, **options: float) -> NDArray[np.float32]:
    """Return the sounds of some points (sound, 2) one after the other, (time,)."""
    return np.concatenate([tone(point, **options) for point in np.asarray(points)])


# ---- training ------------------------------------------------------------------------------------


@dataclass
class Course:
    """How a training went.

    Attributes
    ----------
    losses
        By name: one value for each step.
    seen
        By step, of :data:`SNAPSHOTS` and the last: what the network did then.
    network
        As it ended.
    """

    network: nn.Module
    losses: dict[str, list[float]] = field(default_factory=dict)
    seen: dict[int, Tensor] = field(default_factory=dict)

    def step(self, number: int, n_steps: int, look: Callable[[], Tensor], **values: Tensor) -> None:
        """Write down the losses of a step, and look at the network if it is time to."""
        for name, value in values.items():
            self.losses.setdefault(name, []).append(float(value.detach()))
        if number in SNAPSHOTS or number == n_steps:
            with torch.no_grad():
                self.seen[number] = look()


def perceptron(n_inputs: int, n_outputs: int, width: int = WIDTH) -> nn.Sequential:
    """Return two hidden layers and a linear one."""
    return nn.Sequential(
        nn.Linear(n_inputs, width),
        nn.SiLU(),
        nn.Linear(width, width),
        nn.SiLU(),
        nn.Linear(width, n_outputs),
    )


def minimise(
    network: nn.Module,
    loss_of: Callable[[], Tensor],
    look: Callable[[], Tensor],
    *,
    n_steps: int,
    learning_rate: float = 5e-3,
) -> Course:
    """Train a network with Adam, and return how it went."""
    course = Course(network)
    optimiser = torch.optim.Adam(network.parameters(), lr=learning_rate)
    for number in range(n_steps + 1):
        loss = loss_of()
        course.step(number, n_steps, look, loss=loss)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return course


def draws(n: int, size: int, seed: int) -> Callable[[], Tensor]:
    """Return what gives a batch of numbers below ``n`` at each call."""
    generator = torch.Generator().manual_seed(seed)
    return lambda: torch.randint(0, n, (size,), generator=generator)


def classify(
    points: Tensor, instruments: Tensor, look_at: Tensor, *, seed: int = 0, n_steps: int = 300
) -> Course:
    """Supervised: say the instrument. Seen are probabilities (point, instrument)."""
    torch.manual_seed(seed)
    network, draw = perceptron(2, len(INSTRUMENTS)), draws(len(points), 64, seed)

    def loss_of() -> Tensor:
        batch = draw()
        return F.cross_entropy(network(points[batch]), instruments[batch])

    return minimise(network, loss_of, lambda: network(look_at).softmax(-1), n_steps=n_steps)


class Squeezed(nn.Module):
    """Encoder and decoder, with ``n_numbers`` between them."""

    def __init__(self, n_numbers: int = 1) -> None:
        super().__init__()
        self.encoder, self.decoder = perceptron(2, n_numbers), perceptron(n_numbers, 2)

    def forward(self, points: Tensor) -> Tensor:
        """Map (point, 2) to the same."""
        return self.decoder(self.encoder(points))


def squeeze(
    points: Tensor, look_at: Tensor, *, n_numbers: int = 1, seed: int = 0, n_steps: int = 300
) -> Course:
    """Train an encoder and a decoder to give back the input. Seen are points made anew."""
    torch.manual_seed(seed)
    network, draw = Squeezed(n_numbers), draws(len(points), 64, seed)

    def loss_of() -> Tensor:
        batch = points[draw()]
        return F.mse_loss(network(batch), batch)

    return minimise(network, loss_of, lambda: network(look_at), n_steps=n_steps)


def arrange(
    points: Tensor,
    instruments: Tensor,
    look_at: Tensor,
    *,
    mining: metric_learning.Mining = "semi-hard",
    margin: float = 1.0,
    seed: int = 0,
    n_steps: int = 300,
) -> Course:
    """Metric learning: triplets, mined in each batch. Seen are places (point, 2)."""
    torch.manual_seed(seed)
    network, draw = perceptron(2, 2), draws(len(points), 64, seed)
    generator = torch.Generator().manual_seed(seed)

    def loss_of() -> Tensor:
        batch = draw()
        distances = metric_learning.squared_distances(network(points[batch]))
        triplets = metric_learning.mine(
            distances, instruments[batch], mining, margin=margin, generator=generator
        )
        return metric_learning.triplet_loss(distances, triplets, margin=margin)

    return minimise(network, loss_of, lambda: network(look_at), n_steps=n_steps)


def compare_views(
    points: Tensor,
    look_at: Tensor,
    *,
    blur: tuple[float, float] = (0.15, 0.15),
    repel: bool = True,
    seed: int = 0,
    n_steps: int = 300,
) -> Course:
    """Self-supervised: two views of one sound go together. Seen are places (point, 2).

    A view is the sound with its brightness and attack changed at random by about ``blur``. With
    ``repel`` the loss is VICReg's; without, views only attract.
    """
    torch.manual_seed(seed)
    network, draw = perceptron(2, 2), draws(len(points), 128, seed)
    sizes = torch.tensor(blur)

    def loss_of() -> Tensor:
        batch = points[draw()]
        views = [network(batch + sizes * torch.randn(batch.shape)) for _ in range(2)]
        return self_supervised.vicreg(*views) if repel else F.mse_loss(*views)

    return minimise(network, loss_of, lambda: network(look_at), n_steps=n_steps)


def forge(
    points: Tensor,
    look_at: Tensor,
    *,
    maker_rate: float = 2e-3,
    judge_rate: float = 4e-3,
    seed: int = 0,
    n_steps: int = 1000,
) -> Course:
    """Adversarial: a maker of sounds against a judge. Seen is what ``look_at``, noise, becomes."""
    torch.manual_seed(seed)
    maker, judge = perceptron(2, 2), perceptron(2, 1)
    draw, course = draws(len(points), 128, seed), Course(maker)
    makes = torch.optim.Adam(maker.parameters(), lr=maker_rate, betas=(0.5, 0.99))
    judges = torch.optim.Adam(judge.parameters(), lr=judge_rate, betas=(0.5, 0.99))
    for number in range(n_steps + 1):
        real, made = points[draw()], maker(torch.randn(128, 2))
        of_judge = losses.hinge_discriminator([judge(real)], [judge(made.detach())])
        judges.zero_grad()
        of_judge.backward()
        judges.step()
        of_maker = losses.hinge_generator([judge(made)])
        makes.zero_grad()
        of_maker.backward()
        makes.step()
        course.step(number, n_steps, lambda: maker(look_at), judge=of_judge, maker=of_maker)
    return course


class Denoiser(nn.Module):
    """Says the noise in points (point, 2) at times (point,)."""

    def __init__(self) -> None:
        super().__init__()
        self.network = perceptron(2 + 6, 2, 64)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """Return the noise, (point, 2)."""
        angles = 2 * torch.pi * t.to(x.dtype)[:, None] * torch.tensor([0.25, 0.5, 1.0])
        return self.network(torch.cat([x, angles.sin(), angles.cos()], dim=1))


def denoise(
    points: Tensor, look_at: Tensor, *, seed: int = 0, n_steps: int = 1000, n_solve: int = 32
) -> Course:
    """Diffusion: say the noise. Seen is what ``look_at``, noise, becomes in ``n_solve`` steps."""
    torch.manual_seed(seed)
    network, draw = Denoiser(), draws(len(points), 256, seed)

    def loss_of() -> Tensor:
        batch = points[draw()]
        return flow.ddpm_loss(network, batch, torch.randn(batch.shape), torch.rand(len(batch)))

    return minimise(
        network, loss_of, lambda: flow.ddpm_solve(network, look_at, n_solve), n_steps=n_steps
    )


# ---- measures ------------------------------------------------------------------------------------


def mean_average_precision(places: Tensor, instruments: Tensor) -> float:
    """Return how well each sound finds its instrument by distance, from 0 to 1."""
    distances = metric_learning.squared_distances(places)
    distances.fill_diagonal_(float("inf"))
    order = distances.argsort(dim=1)[:, :-1]
    found = (instruments[order] == instruments[:, None]).float()
    precision = found.cumsum(1) / torch.arange(1, found.shape[1] + 1)
    return float(((precision * found).sum(1) / found.sum(1)).mean())


def quality_and_coverage(made: Tensor, real: Tensor, *, near: float = NEAR) -> tuple[float, float]:
    """Return which share of what is made is near something real, and the other way round."""
    distances = torch.cdist(made, real)
    return (
        float((distances.amin(dim=1) < near).float().mean()),
        float((distances.amin(dim=0) < near).float().mean()),
    )
