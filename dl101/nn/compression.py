"""Compression of spectrograms: the logarithm, fixed or with constants that are learned.

Shapes: any; values are powers or magnitudes, not negative. Natural logarithms throughout.
"""

from __future__ import annotations

import math

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
