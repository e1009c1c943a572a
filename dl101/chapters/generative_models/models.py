r"""Seven ways to a distribution, behind one interface, for rows of any number of numbers.

Conventions. Data are rows (row, number), about standardised. Every model has ``loss(x)``, which
training minimises; ``way(n)``, the states (row, number) that ``n`` rows pass while they are made,
the last of which are the rows; and ``log_density(x)``, natural logarithms (row,), or None where the
model has none. ``passes`` says how often its network runs to make a row.

References
----------
.. [1] M. Germain and others, "MADE: masked autoencoder for distribution estimation", ICML 2015.
.. [2] L. Dinh, J. Sohl-Dickstein, S. Bengio, "Density estimation using Real NVP", ICLR 2017.
.. [3] Y. Song and others, "Score-based generative modeling through stochastic differential
   equations", ICLR 2021.
.. [4] Y. Burda, R. Grosse, R. Salakhutdinov, "Importance weighted autoencoders", ICLR 2016.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dl101.nn import autoencoder, flow, losses

Draw = Callable[[], Tensor]
LOG_2_PI = float(np.log(2 * np.pi))
START = 0.005  # time at which a diffusion's density is taken: noise of deviation 0.03


def perceptron(n_inputs: int, n_outputs: int, width: int) -> nn.Sequential:
    """Return three hidden layers and a linear one."""
    sizes = (n_inputs, width, width, width)
    hidden = [part for a, b in itertools.pairwise(sizes) for part in (nn.Linear(a, b), nn.SiLU())]
    return nn.Sequential(*hidden, nn.Linear(width, n_outputs))


def log_normal(x: Tensor, mean: Tensor | float = 0.0, log_scale: Tensor | float = 0.0) -> Tensor:
    """Return the logarithm of the density of a normal distribution, for each number."""
    log_scale = torch.as_tensor(log_scale)
    return -0.5 * (((x - mean) * torch.exp(-log_scale)) ** 2 + LOG_2_PI) - log_scale


class Model(nn.Module):
    """What all of them have; see the module."""

    passes, momentum = 1, 0.9

    def __init__(self, n_numbers: int, width: int = 64) -> None:
        super().__init__()
        self.n_numbers, self.width = n_numbers, width

    def loss(self, x: Tensor) -> Tensor:
        """Return what training minimises: minus the mean log-density, if nothing else is said."""
        return -self.log_density(x).mean()

    def steps(self) -> Iterable[tuple[Iterable[nn.Parameter], Callable[[Tensor], Tensor]]]:
        """Return what takes turns in training: parameters, and the loss that they lower."""
        return [(self.parameters(), self.loss)]

    def noise(self, n: int, generator: torch.Generator) -> Tensor:
        """Return standard normal rows."""
        return torch.randn(n, self.n_numbers, generator=generator)

    def way(self, n: int, generator: torch.Generator) -> list[Tensor]:
        """Return the states that rows pass while they are made."""
        raise NotImplementedError

    def log_density(self, x: Tensor) -> Tensor | None:
        """Return log p(x), or None."""
        return None

    def sample(self, n: int, *, seed: int = 0) -> Tensor:
        """Return new rows."""
        with torch.no_grad():
            return self.way(n, torch.Generator().manual_seed(seed))[-1]


class Gaussian(Model):
    """The baseline: a mean and a covariance, which need no training but sums."""

    passes = 0

    def __init__(self, n_numbers: int, width: int = 0) -> None:
        super().__init__(n_numbers, width)
        self.mean = nn.Parameter(torch.zeros(n_numbers))
        self.root = nn.Parameter(torch.eye(n_numbers))  # covariance = root root^T

    def fit(self, x: Tensor) -> Gaussian:
        """Take mean and covariance of rows."""
        with torch.no_grad():
            self.mean.copy_(x.mean(0))
            self.root.copy_(torch.linalg.cholesky(torch.cov(x.T)))
        return self

    def way(self, n: int, generator: torch.Generator) -> list[Tensor]:
        """Return noise, and what the root of the covariance makes of it."""
        z = self.noise(n, generator)
        return [z, self.mean + z @ self.root.T]

    def log_density(self, x: Tensor) -> Tensor:
        """Return the density of the noise, less the determinant."""
        z = torch.linalg.solve_triangular(self.root, (x - self.mean).T, upper=False).T
        return log_normal(z).sum(1) - self.root.diagonal().abs().log().sum()


class Autoregression(Model):
    """Number by number: each is a mixture of bells, told by those before it [1]_.

    One network says all of them at once: masks keep from a number all that comes from itself and
    from later ones.
    """

    def __init__(self, n_numbers: int, width: int = 64, *, n_bells: int = 8) -> None:
        super().__init__(n_numbers, width)
        self.passes, self.n_bells = n_numbers, n_bells
        place = torch.arange(n_numbers)
        sees = torch.arange(width) % max(n_numbers - 1, 1)  # the last number that a unit may see
        outputs = place.repeat_interleave(3 * n_bells)
        first, middle, last = place <= sees[:, None], sees <= sees[:, None], sees < outputs[:, None]
        for number, mask in enumerate((first, middle, middle, last)):
            self.register_buffer(f"mask_{number}", mask.float())
        self.layers = nn.ModuleList(
            nn.Linear(*mask.T.shape) for mask in (first, middle, middle, last)
        )
        with torch.no_grad():  # spread the bells, so that they don't learn the same
            bias = self.layers[-1].bias.view(n_numbers, 3, n_bells)
            bias[:, 1] = torch.linspace(-1.5, 1.5, n_bells)
            bias[:, 2] = -0.7

    def bells(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return log-shares, means and log-scales of every number, (row, number, bell) each."""
        y = x
        for number, layer in enumerate(self.layers):
            y = F.linear(
                F.silu(y) if number else y,
                layer.weight * getattr(self, f"mask_{number}"),
                layer.bias,
            )
        share, mean, log_scale = y.view(len(x), self.n_numbers, 3, self.n_bells).unbind(2)
        return share.log_softmax(-1), mean, log_scale.clamp(-3.5, 2.0)

    def log_density(self, x: Tensor) -> Tensor:
        """Return the sum over numbers of the log-density of each."""
        share, mean, log_scale = self.bells(x)
        return (share + log_normal(x[..., None], mean, log_scale)).logsumexp(-1).sum(1)

    def way(self, n: int, generator: torch.Generator, *, temperature: float = 1.0) -> list[Tensor]:
        """Return what is known after each number; those to come are 0."""
        x = torch.zeros(n, self.n_numbers)
        states = [x]
        for i in range(self.n_numbers):
            share, mean, log_scale = (part[:, i] for part in self.bells(x))
            odds = (share / temperature).softmax(-1)
            bell = torch.multinomial(odds, 1, generator=generator)
            mean, log_scale = mean.gather(1, bell)[:, 0], log_scale.gather(1, bell)[:, 0]
            z = torch.randn(n, generator=generator) * temperature**0.5
            x = x.clone()
            x[:, i] = mean + log_scale.exp() * z
            states.append(x)
        return states


class Vae(Model):
    """Latent variable: a few numbers are drawn, a decoder makes a row of them."""

    def __init__(self, n_numbers: int, width: int = 64, *, n_latents: int | None = None) -> None:
        super().__init__(n_numbers, width)
        self.n_latents = n_latents or min(n_numbers, 8)
        self.encoder = perceptron(n_numbers, 2 * self.n_latents, width)
        self.decoder = perceptron(self.n_latents, n_numbers, width)
        self.log_scale = nn.Parameter(torch.full((n_numbers,), -1.0))

    def bound(self, x: Tensor) -> Tensor:
        """Return the evidence lower bound of log p(x), (row,), by one draw."""
        mean, log_variance = self.encoder(x).chunk(2, dim=1)
        z = mean + (0.5 * log_variance).exp() * torch.randn_like(mean)
        kl = autoencoder.kl_to_standard_normal(mean, log_variance)
        return log_normal(x, self.decoder(z), self.log_scale).sum(1) - kl.sum(1)

    def loss(self, x: Tensor) -> Tensor:
        """Return minus the mean bound."""
        return -self.bound(x).mean()

    def log_density(self, x: Tensor, *, n_draws: int = 256) -> Tensor:
        """Return log p(x) by importance sampling [4]_: a bound that many draws make tight."""
        mean, log_variance = self.encoder(x).chunk(2, dim=1)
        log_scale = 0.5 * log_variance
        generator = torch.Generator().manual_seed(0)
        weights = []
        for _ in range(n_draws):
            z = mean + log_scale.exp() * torch.randn(mean.shape, generator=generator)
            both = log_normal(x, self.decoder(z), self.log_scale).sum(1) + log_normal(z).sum(1)
            weights.append(both - log_normal(z, mean, log_scale).sum(1))
        return torch.stack(weights).logsumexp(0) - float(np.log(n_draws))

    def way(self, n: int, generator: torch.Generator) -> list[Tensor]:
        """Return latents, and rows with the decoder's noise."""
        z = torch.randn(n, self.n_latents, generator=generator)
        mean = self.decoder(z)
        return [z, mean + self.log_scale.exp() * self.noise(n, generator)]


class Gan(Model):
    """Implicit: a maker that turns noise into rows, and a judge that tells them from real ones."""

    momentum = 0.5  # rivals that remember long overshoot

    def __init__(self, n_numbers: int, width: int = 64) -> None:
        super().__init__(n_numbers, width)
        self.maker = perceptron(n_numbers, n_numbers, width)
        self.judge = perceptron(n_numbers, 1, width)

    def steps(self) -> Iterable[tuple[Iterable[nn.Parameter], Callable[[Tensor], Tensor]]]:
        """Return the judge and the maker, in this order."""
        return [(self.judge.parameters(), self.of_judge), (self.maker.parameters(), self.loss)]

    def of_judge(self, x: Tensor) -> Tensor:
        """Return the judge's hinge loss."""
        made = self.maker(torch.randn_like(x)).detach()
        return losses.hinge_discriminator([self.judge(x)], [self.judge(made)])

    def loss(self, x: Tensor) -> Tensor:
        """Return the maker's hinge loss."""
        return losses.hinge_generator([self.judge(self.maker(torch.randn_like(x)))])

    def way(self, n: int, generator: torch.Generator) -> list[Tensor]:
        """Return noise and what the maker makes of it."""
        z = self.noise(n, generator)
        return [z, self.maker(z)]


class Coupling(nn.Module):
    """Part of the numbers stays; it says how the others are shifted and scaled [2]_."""

    def __init__(self, stays: Tensor, width: int) -> None:
        super().__init__()
        self.register_buffer("stays", stays.float())
        self.says = perceptron(len(stays), 2 * len(stays), width)
        nn.init.zeros_(self.says[-1].weight)
        nn.init.zeros_(self.says[-1].bias)

    def told(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return shift and log-scale of the numbers that don't stay; 0 for the others."""
        shift, log_scale = self.says(x * self.stays).chunk(2, dim=1)
        return shift * (1 - self.stays), 2.0 * torch.tanh(log_scale / 2.0) * (1 - self.stays)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the way to the noise, and the logarithm of its determinant, (row,)."""
        shift, log_scale = self.told(x)
        return (x - shift) * torch.exp(-log_scale), -log_scale.sum(1)

    def inverse(self, z: Tensor) -> Tensor:
        """Return the way back."""
        shift, log_scale = self.told(z)
        return z * torch.exp(log_scale) + shift


class NormalisingFlow(Model):
    """Change of variables: couplings, each of which can be undone [2]_."""

    def __init__(self, n_numbers: int, width: int = 64, *, n_layers: int = 6) -> None:
        super().__init__(n_numbers, width)
        rng = np.random.default_rng(n_numbers)
        stays = []
        for _ in range(n_layers // 2):  # every number stays in one of two
            half = torch.zeros(n_numbers)
            half[torch.from_numpy(rng.permutation(n_numbers)[: n_numbers // 2])] = 1
            stays += [half, 1 - half]
        self.layers = nn.ModuleList(Coupling(half, width) for half in stays)

    def log_density(self, x: Tensor) -> Tensor:
        """Return the density of the noise, plus all log-determinants."""
        total = torch.zeros(len(x))
        for layer in self.layers:
            x, log_determinant = layer(x)
            total = total + log_determinant
        return log_normal(x).sum(1) + total

    def way(self, n: int, generator: torch.Generator) -> list[Tensor]:
        """Return noise, and what it becomes coupling by coupling."""
        states = [self.noise(n, generator)]
        for layer in reversed(self.layers):
            states.append(layer.inverse(states[-1]))
        return states


class Timed(nn.Module):
    """A perceptron that is told a time (row,), and perhaps what is asked for."""

    def __init__(self, n_numbers: int, width: int, n_told: int = 0) -> None:
        super().__init__()
        self.network = perceptron(n_numbers + 6 + n_told, n_numbers, width)

    def forward(self, x: Tensor, t: Tensor, told: Tensor | None = None) -> Tensor:
        """Return a row for each row."""
        angles = 2 * torch.pi * t.to(x.dtype)[:, None] * torch.tensor([0.25, 0.5, 1.0])
        parts = [x, angles.sin(), angles.cos(), *([] if told is None else [told])]
        return self.network(torch.cat(parts, dim=1))


def density_along(field: Callable[[Tensor, Tensor], Tensor], x: Tensor, times: Tensor) -> Tensor:
    r"""Return log p(x) of what a field carries from noise to data, (row,) [3]_, eq. 39.

    Rows go along :math:`\mathrm{d}x/\mathrm{d}t = f(x, t)` from the data (the first time) to the
    noise (the last), in Heun's steps; on the way the divergence of the field is added up:
    :math:`\log p_0(x_0) = \log p_1(x_1) + \int \nabla\cdot f\,\mathrm{d}t`.
    """

    def both(x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            f = field(x, t.expand(len(x)))
            parts = [
                torch.autograd.grad(f[:, i].sum(), x, retain_graph=True)[0][:, i]
                for i in range(x.shape[1])
            ]
        return f.detach(), torch.stack(parts).sum(0)

    total = torch.zeros(len(x))
    for now, then in itertools.pairwise(times):
        first, spread = both(x, now)
        second, later = both(x + (then - now) * first, then)
        x = x + (then - now) * (first + second) / 2
        total = total + (then - now) * (spread + later) / 2
    return log_normal(x).sum(1) + total


class Diffusion(Model):
    """Score: the noise in a row is learned, and taken away in small steps."""

    passes = 64

    def __init__(self, n_numbers: int, width: int = 64) -> None:
        super().__init__(n_numbers, width)
        self.network = Timed(n_numbers, width)

    def says(self, x: Tensor, t: Tensor) -> Tensor:
        """Return the noise: what it would be for Gaussian data, and what the network adds.

        The network sees no number beyond 4, so that far outside the Gaussian answer remains.
        """
        return (1 - flow.kept(t)).sqrt()[:, None] * x + self.network(4 * torch.tanh(x / 4), t)

    def loss(self, x: Tensor) -> Tensor:
        """Return the squared error of the noise."""
        return flow.ddpm_loss(self.says, x, torch.randn_like(x), torch.rand(len(x)))

    def score(self, x: Tensor, t: Tensor) -> Tensor:
        """Return the gradient of log p at times (row,): minus the noise over its deviation."""
        return -self.says(x, t) / (1 - flow.kept(t)).sqrt()[:, None]

    def way(self, n: int, generator: torch.Generator) -> list[Tensor]:
        """Return the states of DDIM, which adds no noise."""
        states = [self.noise(n, generator)]
        ends = flow.times_of(self.passes, 1.0, 0.0)
        shares = flow.kept(ends).float()
        for i, t in enumerate(ends[:-1]):
            x, now, then = states[-1], shares[i], shares[i + 1]
            z = self.says(x, t.float().expand(n))
            x0 = (x - (1 - now).sqrt() * z) / now.sqrt()
            states.append(then.sqrt() * x0 + (1 - then).sqrt() * z)
        return states

    def log_density(self, x: Tensor, *, n_steps: int = 100) -> Tensor:
        """Return the density along the flow that has the same marginals [3]_."""
        low, high = flow.BETAS

        def field(x: Tensor, t: Tensor) -> Tensor:
            rate = (low + (high - low) * t)[:, None]
            return -0.5 * rate * (x + self.score(x, t))

        # small steps near the data; from t = 0, the score of a sharp edge would be infinite
        times = START + (1 - START) * torch.linspace(0, 1, n_steps + 1) ** 2
        return density_along(field, x, times)


class RectifiedFlow(Model):
    """Flow: the velocity from noise to data along straight lines; see :mod:`dl101.nn.flow`."""

    passes = 32

    def __init__(self, n_numbers: int, width: int = 64, *, n_told: int = 0) -> None:
        super().__init__(n_numbers, width)
        self.says = Timed(n_numbers, width, n_told)

    def loss(self, x: Tensor) -> Tensor:
        """Return the squared error of the velocity."""
        return flow.flow_loss(self.says, x, torch.randn_like(x), torch.rand(len(x)))

    def way(self, n: int, generator: torch.Generator) -> list[Tensor]:
        """Return the states of Heun's method."""
        z = self.noise(n, generator)
        return [x for _, x in flow.path(self.says, z, self.passes // 2, method="heun")]

    def log_density(self, x: Tensor, *, n_steps: int = 50) -> Tensor:
        """Return the density along the flow."""
        return density_along(lambda x, t: -self.says(x, t), x, torch.linspace(0, 1, n_steps + 1))


MODELS: dict[str, type[Model]] = {
    "autoregression": Autoregression,
    "VAE": Vae,
    "GAN": Gan,
    "normalising flow": NormalisingFlow,
    "diffusion": Diffusion,
    "rectified flow": RectifiedFlow,
}


def train(
    model: Model,
    draw: Draw,
    *,
    n_steps: int,
    rates: Sequence[float] = (4e-3,),
    weight_decay: float = 0.0,
    seed: int = 0,
    look: Callable[[int], None] = lambda step: None,
) -> Model:
    """Train a model on batches that ``draw`` gives; ``look`` is called after each step.

    ``rates`` are of learning, one for each of :meth:`Model.steps`: they rise for a twentieth of the
    steps, and fall to nothing in the second half.
    """
    torch.manual_seed(seed)
    turns = [
        (
            loss_of,
            torch.optim.AdamW(
                list(parameters), rate, (model.momentum, 0.99), weight_decay=weight_decay
            ),
        )
        for (parameters, loss_of), rate in zip(model.steps(), rates, strict=True)
    ]
    for step in range(1, n_steps + 1):
        x, done = draw(), step / n_steps
        for (loss_of, optimiser), rate in zip(turns, rates, strict=True):
            optimiser.param_groups[0]["lr"] = rate * min(1.0, 20 * done, 2.01 - 2 * done)
            optimiser.zero_grad()
            loss_of(x).backward()
            nn.utils.clip_grad_norm_(optimiser.param_groups[0]["params"], 5.0)
            optimiser.step()
        look(step)
    return model


def energy_distance(x: Tensor, y: Tensor) -> float:
    r"""Return how far apart two sets of rows are (Székely and Rizzo, 2013), 0 for one distribution.

    :math:`2\,\mathbb{E}|X - Y| - \mathbb{E}|X - X'| - \mathbb{E}|Y - Y'|`, each mean without the
    distance of a row to itself: values of two sets of one distribution lie around 0.
    """
    n, m = len(x), len(y)
    own = torch.cdist(x, x).sum() / (n * (n - 1)) + torch.cdist(y, y).sum() / (m * (m - 1))
    return float(2 * torch.cdist(x, y).mean() - own)
