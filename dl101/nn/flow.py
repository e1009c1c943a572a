r"""Rectified flow and denoising diffusion: losses, samplers, guidance.

Conventions: data ``x0`` and noise ``z`` ~ N(0, 1) have one shape, (batch, ...). The time ``t`` is
(batch,), 0 at the data and 1 at the noise. Every formula of this file has these signs:

.. math::

    x_t = (1 - t)\,x_0 + t\,z, \qquad v = x_0 - z, \qquad \frac{\mathrm{d}x}{\mathrm{d}t} = -v,

so ``v`` points from the noise to the data, and a step from ``t`` to an earlier ``s`` adds
``(t - s) v``. Many papers name the negative of it the velocity. What a loss trains and a sampler
calls is a function ``network(x, t)`` of the same shape as ``x``; what else it depends on, it holds.

The diffusion that is compared with it mixes as
:math:`x_t = \sqrt{\bar\alpha(t)}\,x_0 + \sqrt{1 - \bar\alpha(t)}\,z` and learns the noise.

References
----------
.. [1] X. Liu, C. Gong, Q. Liu, "Flow straight and fast: learning to generate and transfer data with
   rectified flow", ICLR 2023.
.. [2] P. Esser and others, "Scaling rectified flow transformers for high-resolution image
   synthesis", ICML 2024 (logit-normal times).
.. [3] J. Ho, A. Jain, P. Abbeel, "Denoising diffusion probabilistic models", NeurIPS 2020.
.. [4] J. Song, C. Meng, S. Ermon, "Denoising diffusion implicit models", ICLR 2021.
.. [5] J. Ho, T. Salimans, "Classifier-free diffusion guidance", 2022.
.. [6] O. Bar-Tal and others, "MultiDiffusion: fusing diffusion paths for controlled image
   generation", ICML 2023.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from dl101.errors import ConfigError, ShapeError

Network = Callable[[Tensor, Tensor], Tensor]
BETAS = (0.1, 20.0)  # of a step times the number of steps, at t = 0 and 1: 1e-4 and 0.02 of 1000


def over_batch(t: Tensor, x: Tensor) -> Tensor:
    """Return times (batch,) shaped to multiply (batch, ...), one for each item.

    Raises
    ------
    ShapeError
        If there is not one time for each item.
    """
    if t.shape != x.shape[:1]:
        raise ShapeError(
            "times",
            got=f"shape {tuple(t.shape)} for a batch of shape {tuple(x.shape)}",
            expected=f"shape ({len(x)},), one time for each item",
            hint="use torch.full((len(x),), t)",
        )
    return t.view(-1, *(1,) * (x.ndim - 1))


# ---- rectified flow ----------------------------------------------------------------------------


def uniform_times(n: int, *, generator: torch.Generator | None = None) -> Tensor:
    """Return times (n,), uniform in [0, 1)."""
    return torch.rand(n, generator=generator)


def logit_normal_times(
    n: int,
    *,
    mean: float = 0.0,
    deviation: float = 1.0,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Return times (n,), the sigmoid of normal numbers: most lie in the middle [2]_."""
    return torch.sigmoid(mean + deviation * torch.randn(n, generator=generator))


def mix(x0: Tensor, z: Tensor, t: Tensor) -> Tensor:
    """Return ``x_t``: data at t = 0, noise at t = 1, a straight line between."""
    t = over_batch(t, x0)
    return (1 - t) * x0 + t * z


def flow_loss(network: Network, x0: Tensor, z: Tensor, t: Tensor) -> Tensor:
    """Return the mean squared error of the velocity ``x0 - z`` [1]_, eq. 1.

    The best network gives its mean over all pairs that pass through ``x_t``; the loss of that one
    is above zero, wherever paths cross.
    """
    return (network(mix(x0, z, t), t) - (x0 - z)).square().mean()


def times_of(n_steps: int, start: float, stop: float) -> Tensor:
    """Return the ends of equal steps from ``start`` to ``stop``, (n_steps + 1,)."""
    if n_steps < 1:
        raise ConfigError("n_steps", got=n_steps, expected="at least 1", hint="16 are usual")
    return torch.linspace(start, stop, n_steps + 1, dtype=torch.float64)


def euler(network: Network, x: Tensor, t: Tensor, s: Tensor) -> Tensor:
    """Return the state at ``s`` of that at ``t``: along the velocity at ``t``, order 1."""
    return x + over_batch(t - s, x) * network(x, t)


def heun(network: Network, x: Tensor, t: Tensor, s: Tensor) -> Tensor:
    """Return the state at ``s`` of that at ``t``: along the mean of two velocities, order 2.

    The second is that where a step of :func:`euler` ends: twice the work.
    """
    first = network(x, t)
    second = network(x + over_batch(t - s, x) * first, s)
    return x + over_batch(t - s, x) * (first + second) / 2


SOLVERS = {"euler": euler, "heun": heun}


def path(
    network: Network,
    x: Tensor,
    n_steps: int,
    *,
    method: str = "euler",
    start: float = 1.0,
    stop: float = 0.0,
) -> Iterator[tuple[float, Tensor]]:
    """Yield the time and the state of a flow, ``n_steps + 1`` of them, from ``x`` on.

    Parameters
    ----------
    network
        The velocity.
    x
        State at ``start``, (batch, ...).
    n_steps
        Equal steps.
    method
        ``"euler"`` or ``"heun"``.
    start, stop
        1 and 0: from noise to data; 0 and 1: from data to the noise that it comes from.

    Raises
    ------
    ConfigError
        For an unknown method or no step.
    """
    if method not in SOLVERS:
        raise ConfigError(
            "method", got=repr(method), expected="one of euler, heun", hint="use heun"
        )
    ends = times_of(n_steps, start, stop)
    yield start, x
    for t, s in itertools.pairwise(ends):
        at = [torch.full((len(x),), float(end), dtype=x.dtype, device=x.device) for end in (t, s)]
        x = SOLVERS[method](network, x, *at)
        yield float(s), x


def solve(network: Network, x: Tensor, n_steps: int, **options: str | float) -> Tensor:
    """Return the end of :func:`path`, which takes the same arguments."""
    for _, state in path(network, x, n_steps, **options):
        x = state
    return x


def bend(states: Tensor) -> Tensor:
    """Return how far paths are from straight lines, (batch,): 0 for straight ones, no unit.

    The straightness of [1]_, eq. 4, over the squared distance of the ends: the mean over steps of
    the squared difference between n times a step and the way from start to end.

    Parameters
    ----------
    states
        (steps + 1, batch, ...), at equal steps.
    """
    steps = states.diff(dim=0).flatten(2) * (len(states) - 1)
    way = (states[-1] - states[0]).flatten(1)
    return (steps - way).square().sum(dim=2).mean(dim=0) / way.square().sum(dim=1)


# ---- diffusion ---------------------------------------------------------------------------------


def kept(t: Tensor) -> Tensor:
    r"""Return :math:`\bar\alpha(t)`, the share of the data in the variance at times ``t``.

    The linear schedule of [3]_ for ever more and smaller steps: the exponential of minus the
    integral of a rate that rises linearly from 0.1 to 20.
    """
    low, high = BETAS
    return torch.exp(-(low * t + 0.5 * (high - low) * t**2))


def diffuse(x0: Tensor, z: Tensor, t: Tensor) -> Tensor:
    """Return ``x_t`` of the diffusion; its variance stays 1 for data of variance 1."""
    share = over_batch(kept(t), x0)
    return share.sqrt() * x0 + (1 - share).sqrt() * z


def ddpm_loss(network: Network, x0: Tensor, z: Tensor, t: Tensor) -> Tensor:
    """Return the mean squared error of the noise [3]_, eq. 14."""
    return (network(diffuse(x0, z, t), t) - z).square().mean()


def ddpm_solve(
    network: Network,
    x: Tensor,
    n_steps: int,
    *,
    noise: float = 0.0,
    start: float = 1.0,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Return data from noise by a network that predicts the noise [4]_, eq. 12 and 16.

    Parameters
    ----------
    network
        Trained with :func:`ddpm_loss`.
    x
        State at ``start``, (batch, ...).
    n_steps
        Equal steps to t = 0.
    noise
        0 adds none: DDIM, the same result for the same ``x``. 1 adds as much as the diffusion would
        have taken away: the ancestral sampler of [3]_.
    start
        Time of ``x``.
    generator
        Draws the added noise.
    """
    shares = kept(times_of(n_steps, start, 0.0)).to(x.dtype)
    for i, t in enumerate(times_of(n_steps, start, 0.0)[:-1]):
        now, then = shares[i], shares[i + 1]
        z = network(x, torch.full((len(x),), float(t), dtype=x.dtype, device=x.device))
        x0 = (x - (1 - now).sqrt() * z) / now.sqrt()
        added = noise * ((1 - then) / (1 - now) * (1 - now / then)).sqrt()
        x = then.sqrt() * x0 + (1 - then - added**2).clamp(min=0).sqrt() * z
        if noise > 0:
            drawn = torch.randn(x.shape, generator=generator, dtype=x.dtype, device="cpu")
            x = x + added * drawn.to(x.device)
    return x


# ---- what is asked for -------------------------------------------------------------------------


def guided(conditional: Network, unconditional: Network, weight: float) -> Network:
    """Return a network that goes ``weight`` times as far as the condition asks for [5]_.

    ``unconditional + weight * (conditional - unconditional)``: 0 ignores the condition, 1 obeys as
    trained, more exaggerates. (The paper counts from 0 what counts from 1 here.)
    """
    if weight == 1.0:
        return conditional

    def network(x: Tensor, t: Tensor) -> Tensor:
        plain = unconditional(x, t)
        return plain + weight * (conditional(x, t) - plain)

    return network


def slerp(a: Tensor, b: Tensor, share: Tensor) -> Tensor:
    """Return what lies between two noises, (shares, ...), as long as they are.

    Noise of many numbers lies near a sphere, and the mean of two lies well inside it: a latent that
    is quieter than any noise that the network has seen. So the way follows the sphere.

    Parameters
    ----------
    a, b
        (1, ...), of one shape.
    share
        Of ``b``, (shares,), 0 to 1.
    """
    cosine = (a * b).sum() / (a.norm() * b.norm()).clamp(min=1e-12)
    angle = torch.acos(cosine.clamp(-1.0, 1.0))
    share = share.view(-1, *(1,) * (a.ndim - 1))
    if float(angle) < 1e-4:
        return torch.lerp(a, b, share)
    return (torch.sin((1 - share) * angle) * a + torch.sin(share * angle) * b) / torch.sin(angle)


# ---- long sequences ----------------------------------------------------------------------------


def window_starts(n_frames: int, window: int, hop: int) -> list[int]:
    """Return where windows start that cover ``n_frames``; the last one ends with them.

    A sequence that is shorter than a window has one, at 0.
    """
    last = max(n_frames - window, 0)
    return sorted({*range(0, last, hop), last})


def by_windows(
    network: Callable[[Tensor, Tensor, int], Tensor], *, window: int, hop: int
) -> Network:
    """Return a network for long sequences: the mean of what it says of overlapping windows [6]_.

    All windows take each step together, so that there is one sequence throughout. A window counts
    more in its middle than at its ends.

    Parameters
    ----------
    network
        Called with a window (batch, channel, window), the times (batch,), and its first frame.
    window, hop
        Frames in a window, and from one to the next.
    """

    def long(x: Tensor, t: Tensor) -> Tensor:
        total, counted = torch.zeros_like(x), torch.zeros_like(x[:1, :1])
        for start in window_starts(x.shape[-1], window, hop):
            part = x[..., start : start + window]
            n = part.shape[-1]
            weight = torch.arange(1, n + 1, device=x.device).minimum(
                torch.arange(n, 0, -1, device=x.device)
            )
            total[..., start : start + n] += weight * network(part, t, start)
            counted[..., start : start + n] += weight
        return total / counted

    return long
