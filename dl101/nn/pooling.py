"""Learnt poolings over time: the mean, the maximum and what lies between.

Shapes: (batch, channel, ..., time) in, (batch, channel, ..., 1) out; time is always the last axis.
A pooling is a weighted mean whose weights add up to one over time; they differ in where the
weights come from.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dl101.errors import ShapeError


def autopool_weights(scores: Tensor, alpha: Tensor | float) -> Tensor:
    """Return softmax(alpha * scores) over the last axis (McFee et al. 2018, Eq. 6).

    ``alpha`` = 0 weighs all frames alike (the mean), 1 is the usual softmax, and a large one puts
    all weight on the largest score (the maximum). Same shape as ``scores``.
    """
    return torch.softmax(alpha * scores, dim=-1)


def _split_channels(x: Tensor) -> tuple[Tensor, Tensor]:
    """Split (batch, 2 * channel, ..., time) into its first and its second half of channels."""
    if x.shape[1] % 2:
        raise ShapeError(
            "pooling that splits the channels into values and scores",
            got=f"{x.shape[1]} channels",
            expected="an even number",
            hint="double the output channels of the layer before",
        )
    values, scores = x.chunk(2, dim=1)
    return values, scores


class AutoPool(nn.Module):
    """Mean weighted by softmax(alpha * x): the values weigh themselves (McFee et al. 2018).

    ``alpha`` is learnt and starts at 0, the plain mean.

    Parameters
    ----------
    n_channels
        Give it for one alpha per channel, as in the paper; without it all channels share one, as
        in MOVE (Yesiler et al. 2020).
    """

    def __init__(self, n_channels: int | None = None) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.zeros(1 if n_channels is None else n_channels))

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, channel, ..., time) to (batch, channel, ..., 1)."""
        alpha = self.alpha.view(-1, *(1,) * (x.ndim - 2))
        return (x * autopool_weights(x, alpha)).sum(dim=-1, keepdim=True)


class AutoPoolSplit(nn.Module):
    """AutoPool in which one half of the channels weighs the other (Yesiler et al. 2020, MOVE).

    The first half holds the values, the second the scores: a channel can say "look here" without
    having to be large. One learnt ``alpha``, starting at 0.
    """

    def __init__(self) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, 2 * channel, ..., time) to (batch, channel, ..., 1)."""
        values, scores = _split_channels(x)
        return (values * autopool_weights(scores, self.alpha)).sum(dim=-1, keepdim=True)


class AttentionPool(nn.Module):
    """Mean of one half of the channels weighted by the softmax of the other half.

    The attention of one query over time that Ilse et al. (2018) use for multiple-instance learning,
    one per channel; :class:`AutoPoolSplit` with alpha fixed at 1. Nothing to learn here: the layer
    before makes the scores.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, 2 * channel, ..., time) to (batch, channel, ..., 1)."""
        values, scores = _split_channels(x)
        return (values * torch.softmax(scores, dim=-1)).sum(dim=-1, keepdim=True)
