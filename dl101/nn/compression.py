"""Compression of spectrograms: the logarithm and PCEN, fixed or with constants that are learned.

Shapes: any, for PCEN (..., channel, frame); values are powers or magnitudes, not negative. Natural
logarithms throughout.
"""

from __future__ import annotations

import math
from contextlib import AbstractContextManager, nullcontext

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dl101.errors import ConfigError


def log_compress(x: Tensor, strength: float) -> Tensor:
    """Return ``log(1 + C x)`` with ``C = strength``; ``x`` itself for ``C = 0``."""
    return torch.log1p(strength * x) if strength else x


class LearnedLog(nn.Module):
    """f(x) = log(alpha x + beta) with learned alpha and beta (Pons 2019, Appendix A).

    Both must stay positive, so the optimiser does not see them but the numbers before two gates:
    alpha = exp(pace * a) and beta = softplus(b) = log(1 + exp(b)). The exponential lets a small
    step of ``a`` multiply alpha; the softplus moves beta about as much as ``b``.

    log(alpha x + beta) = log(beta) + log(1 + C x) with C = alpha / beta: when a bias or a
    normalisation follows, the two learned numbers act as one.

    Parameters
    ----------
    alpha, beta
        Where they start. The defaults are those of the thesis, a = 7 and b = 1 before the gates:
        alpha = 1096.63 and beta = 1.31.
    pace
        How fast alpha can move: a step of ``a`` by s multiplies alpha by exp(pace * s). The thesis
        has 1.

    Raises
    ------
    ConfigError
        If a number is not positive.
    """

    def __init__(
        self,
        alpha: float = math.exp(7.0),
        beta: float = math.log1p(math.e),
        *,
        pace: float = 1.0,
    ) -> None:
        super().__init__()
        for name, value in (("alpha", alpha), ("beta", beta), ("pace", pace)):
            if not (value > 0 and math.isfinite(value)):
                raise ConfigError(
                    f"LearnedLog: {name}",
                    got=value,
                    expected="a positive number",
                    hint="the logarithm needs alpha x + beta > 0",
                )
        self.pace = pace
        self.a = nn.Parameter(torch.tensor(math.log(alpha) / pace))
        # The inverse of the softplus, written so that a large beta does not overflow.
        self.b = nn.Parameter(torch.tensor(beta + math.log(-math.expm1(-beta))))

    @property
    def alpha(self) -> Tensor:
        """The factor of x, after its gate; a scalar."""
        return torch.exp(self.pace * self.a)

    @property
    def beta(self) -> Tensor:
        """What is added, after its gate; a scalar."""
        return F.softplus(self.b)

    @property
    def strength(self) -> Tensor:
        """C = alpha / beta, the constant of the equivalent log(1 + C x); a scalar."""
        return self.alpha / self.beta

    def forward(self, x: Tensor) -> Tensor:
        """Return log(alpha x + beta), of the shape of ``x``."""
        return torch.log(self.alpha * x + self.beta)

    def extra_repr(self) -> str:
        """Return what ``print`` shows of this layer."""
        return f"alpha={self.alpha.item():.4g}, beta={self.beta.item():.4g}, pace={self.pace:g}"


class FixedLog(nn.Module):
    """f(x) = log(1 + C x) with a constant C; C = 0 passes x on as it is.

    Parameters
    ----------
    strength
        C, not negative.

    Raises
    ------
    ConfigError
        If C is negative.
    """

    def __init__(self, strength: float) -> None:
        super().__init__()
        if not (strength >= 0 and math.isfinite(strength)):
            raise ConfigError(
                "FixedLog: strength",
                got=strength,
                expected="a number that is not negative",
                hint="0 means no logarithm",
            )
        self.strength = strength

    def forward(self, x: Tensor) -> Tensor:
        """Return the compressed values, of the shape of ``x``."""
        return log_compress(x, self.strength)

    def extra_repr(self) -> str:
        """Return what ``print`` shows of this layer."""
        return f"strength={self.strength:g}"


def hold_between(x: Tensor, least: float, most: float) -> Tensor:
    """Return ``x`` clipped to a range, with the gradient of ``x``.

    With the gradient of the clipped value, which is 0, a number that has run out of its range would
    never come back.
    """
    return x + (x.detach().clamp(least, most) - x.detach())


def smooth(x: Tensor, smoothing: Tensor) -> Tensor:
    """Return the running mean M[t] = (1 - s) M[t - 1] + s x[t], with M[0] = x[0].

    The recursion is 1 / (1 - a z^-1) with a = 1 - s, which is the product of the filters
    1 + a^(2^k) z^-(2^k) over all k (write out the first two and multiply them): after k of them the
    sum reaches back 2^k frames, so that log2(frames) additions do what a loop over frames would,
    with the same result.

    Parameters
    ----------
    x
        (..., channel, frame).
    smoothing
        s of each channel, (channel,), between 0 and 1.
    """
    s = smoothing[:, None]
    decay = 1 - s
    n_frames, step = x.shape[-1], 1
    is_first = F.pad(torch.ones(1, dtype=x.dtype, device=x.device), (0, n_frames - 1))
    mean = (s + decay * is_first) * x
    while step < n_frames:
        mean = mean + decay * F.pad(mean[..., :-step], (step, 0))
        decay, step = decay * decay, 2 * step
    return mean


class PCEN(nn.Module):
    """Per-channel energy normalisation: each channel divided by its own recent level.

    Wang and others (2017), Eqs. 1-2, with learned constants as in Zeghidour and others (2021),
    four for each channel: y = (x / (floor + M)^alpha + delta)^(1 / root) - delta^(1 / root), where
    M is the running mean of x, see :func:`smooth`. With alpha = 1 a gain of the input is gone as
    soon as the mean has followed; the root compresses what is left.

    alpha is held between 0 and 1, delta above 0.001, root above 1, the smoothing between 0.001 and
    1. (The published code leaves delta free, and a negative one gives NaN.) Computed in float32 or
    better whatever comes in.

    Parameters
    ----------
    n_channels
        Bands or filters.
    alpha, delta, root
        Where the constants start.
    smoothing
        s of the running mean, for each frame: it forgets with a time constant of about 1 / s
        frames.
    floor
        What is added to the mean, so that silence is not divided by 0. What is softer than this
        stays soft.

    Raises
    ------
    ConfigError
        If a constant starts outside its range.
    """

    RANGES = {  # noqa: RUF012
        "alpha": (0.0, 1.0),
        "delta": (1e-3, math.inf),
        "root": (1.0, math.inf),
        "smoothing": (1e-3, 1.0),
    }

    def __init__(
        self,
        n_channels: int,
        *,
        alpha: float = 0.96,
        delta: float = 2.0,
        root: float = 2.0,
        smoothing: float = 0.04,
        floor: float = 1e-6,
    ) -> None:
        super().__init__()
        starts = {"alpha": alpha, "delta": delta, "root": root, "smoothing": smoothing}
        for name, (least, most) in self.RANGES.items():
            if not (least <= starts[name] <= most and math.isfinite(starts[name])):
                raise ConfigError(
                    f"PCEN: {name}",
                    got=starts[name],
                    expected=f"a number from {least:g} to {most:g}",
                    hint="the defaults are alpha=0.96, delta=2, root=2, smoothing=0.04",
                )
        if not (floor > 0 and math.isfinite(floor)):
            raise ConfigError(
                "PCEN: floor",
                got=floor,
                expected="a positive number",
                hint="silence would be divided by 0",
            )
        self.floor = floor
        for name, value in starts.items():
            setattr(self, name, nn.Parameter(torch.full((n_channels,), float(value))))

    def constants(self) -> dict[str, Tensor]:
        """Return alpha, delta, root and smoothing, held in their ranges, (channel,) each."""
        return {
            name: hold_between(getattr(self, name), *limits) for name, limits in self.RANGES.items()
        }

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalised values, of the shape of ``x``, (..., channel, frame)."""
        x = full_precision(x)
        now = {name: full_precision(value) for name, value in self.constants().items()}
        alpha, delta, power = now["alpha"][:, None], now["delta"][:, None], 1 / now["root"][:, None]
        level = self.floor + smooth(x, now["smoothing"])
        return (x / level**alpha + delta) ** power - delta**power

    def extra_repr(self) -> str:
        """Return what ``print`` shows of this layer."""
        return f"{len(self.alpha)} channels, floor={self.floor:g}"


def full_precision(x: Tensor) -> Tensor:
    """Return ``x`` in float32, or in float64 if it is that already: powers overflow halves."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def without_autocast(x: Tensor) -> AbstractContextManager:
    """Return a context in which autocast does not lower the precision on the device of ``x``."""
    device = x.device.type
    if torch.amp.is_autocast_available(device):
        return torch.autocast(device, enabled=False)
    return nullcontext()
