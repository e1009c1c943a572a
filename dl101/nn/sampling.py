"""From the logits of a language model to a token: temperature, top-k, nucleus.

Logits are (..., token), tokens (...,). What may not be drawn has the logit minus infinity. The
temperature divides the logits first; then the k most probable tokens are kept, then of these the
nucleus.

References
----------
.. [1] A. Fan, M. Lewis, Y. Dauphin, "Hierarchical neural story generation", ACL 2018: top-k.
.. [2] A. Holtzman and others, "The curious case of neural text degeneration", ICLR 2020: nucleus.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from dl101.config import NotNegative, Range, Settings


@dataclass(frozen=True)
class SamplingConfig(Settings):
    """How tokens are drawn.

    Attributes
    ----------
    temperature
        Below 1, what is probable becomes more so; 0 always takes the most probable.
    top_k
        Keep so many of the most probable tokens; 0 keeps all.
    top_p
        Keep the smallest set of most probable tokens whose probabilities reach this sum; 1 keeps
        all.
    """

    temperature: NotNegative = 1.0
    top_k: Annotated[int, Range(at_least=0, at_most=1_000_000_000)] = 0
    top_p: Annotated[float, Range(above=0, at_most=1)] = 1.0


def keep_top_k(logits: Tensor, k: int) -> Tensor:
    """Return logits with all but the k largest at minus infinity [1]_; of equal ones any."""
    if k == 0 or k >= logits.shape[-1]:
        return logits
    kept = logits.topk(k, dim=-1)
    return torch.full_like(logits, -torch.inf).scatter(-1, kept.indices, kept.values)


def keep_nucleus(logits: Tensor, p: float) -> Tensor:
    """Return logits with all outside the nucleus at minus infinity [2]_.

    The nucleus is the smallest set of most probable tokens whose probabilities add up to at least
    p: the token that crosses the threshold belongs to it, so that it is never empty.
    """
    if p >= 1.0:
        return logits
    ordered, order = logits.sort(dim=-1, descending=True)
    probabilities = ordered.softmax(dim=-1)
    before = probabilities.cumsum(dim=-1) - probabilities  # the sum of those that are more probable
    outside = torch.zeros_like(logits, dtype=torch.bool).scatter(-1, order, before >= p)
    return logits.masked_fill(outside, -torch.inf)


def probabilities_of(logits: Tensor, config: SamplingConfig) -> Tensor:
    """Return with which probability each token is drawn, (..., token)."""
    if config.temperature == 0:
        return torch.zeros_like(logits).scatter(-1, logits.argmax(dim=-1, keepdim=True), 1.0)
    logits = keep_top_k(logits / config.temperature, config.top_k)
    return keep_nucleus(logits, config.top_p).softmax(dim=-1)


def draw(logits: Tensor, config: SamplingConfig, uniform: Tensor) -> Tensor:
    """Return tokens (...,), drawn by uniform numbers (...,) in [0, 1).

    Given the numbers, a token depends on its own logits alone: the same numbers give the same
    sequences whatever else is in the batch, cached or not.
    """
    cumulative = probabilities_of(logits, config).double().cumsum(dim=-1)
    target = uniform.double() * cumulative[..., -1]
    found = torch.searchsorted(cumulative, target[..., None], right=True)[..., 0]
    return found.clamp_max(logits.shape[-1] - 1)
