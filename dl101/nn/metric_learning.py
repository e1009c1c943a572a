"""Metric learning: distances in a batch, the triplets to learn from, and losses on them.

Shapes: embeddings are (items, numbers), works are (items,) integers that say what belongs together,
distances are (items, items), lower for more alike. An *anchor* is compared with a *positive*,
another item of its work, and with a *negative*, an item of another work. Items without a positive
or without a negative in the batch are no anchors.

A distance is the mean, over the numbers of an embedding, of the squared difference (Yesiler, Serrà
and Gómez 2020): for embeddings that are batch-normalised it is 2 on average, whatever their length,
so that a margin of 1 means the same for all.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

Mining = Literal["random", "easy", "semi-hard", "hard"]
NEVER = float("inf")


class Triplets(NamedTuple):
    """Numbers of items, (triplets,) each; ``fell_back`` where semi-hard mining found none."""

    anchor: Tensor
    positive: Tensor
    negative: Tensor
    fell_back: Tensor


def squared_distances(embeddings: Tensor) -> Tensor:
    """Return the mean squared difference of each two embeddings, (items, items), exactly 0 apart.

    Differences are taken before they are squared: what is nearly the same does not cancel.
    """
    return (embeddings[:, None] - embeddings[None, :]).square().mean(dim=-1)


def masks(works: Tensor) -> tuple[Tensor, Tensor]:
    """Return which pairs are positives and which negatives, (items, items) each.

    No item is its own positive.
    """
    same = works[:, None] == works[None, :]
    itself = torch.eye(len(works), dtype=torch.bool, device=works.device)
    return same & ~itself, ~same


def _any_of(allowed: Tensor, generator: torch.Generator | None) -> Tensor:
    """Return, row by row, the number of an allowed column, all equally likely."""
    draws = torch.rand(allowed.shape, generator=generator).to(allowed.device)
    return torch.where(allowed, draws, -1.0).argmax(dim=1)


def _farthest(distances: Tensor, allowed: Tensor) -> Tensor:
    return torch.where(allowed, distances, -NEVER).argmax(dim=1)


def _nearest(distances: Tensor, allowed: Tensor) -> Tensor:
    return torch.where(allowed, distances, NEVER).argmin(dim=1)


def mine(
    distances: Tensor,
    works: Tensor,
    mining: Mining,
    *,
    margin: float = 1.0,
    generator: torch.Generator | None = None,
) -> Triplets:
    """Choose one triplet for each anchor of a batch.

    Parameters
    ----------
    distances, works
        Of the batch. Choices have no gradient.
    mining
        With P and N the distances of anchor and positive, and of anchor and negative:

        - ``"random"``: any positive, any negative;
        - ``"easy"``: the nearest positive, the farthest negative;
        - ``"semi-hard"``: any positive, and any negative with P < N < P + margin (Schroff,
          Kalenichenko and Philbin, "FaceNet", CVPR 2015). Where there is none, the nearest of
          those with N > P, which already lie a margin away and cost nothing; where all negatives
          are nearer than P, the farthest: the one that is least wrong;
        - ``"hard"``: the farthest positive, the nearest negative.
    margin
        Of semi-hard mining.
    generator
        Of random choices, on the CPU; None: PyTorch's own.
    """
    positives, negatives = masks(works)
    with torch.no_grad():
        anchor = torch.nonzero(positives.any(dim=1) & negatives.any(dim=1)).flatten()
        distances, positives, negatives = (
            rows[anchor] for rows in (distances.detach(), positives, negatives)
        )
        fell_back = torch.zeros_like(anchor, dtype=torch.bool)
        if mining == "easy":
            positive, negative = _nearest(distances, positives), _farthest(distances, negatives)
        elif mining == "hard":
            positive, negative = _farthest(distances, positives), _nearest(distances, negatives)
        else:
            positive = _any_of(positives, generator)
            negative = _any_of(negatives, generator)
            if mining == "semi-hard":
                p = distances.gather(1, positive[:, None])
                beyond = negatives & (distances > p)
                band = beyond & (distances < p + margin)
                fell_back = ~band.any(dim=1)
                otherwise = torch.where(
                    beyond.any(dim=1),
                    _nearest(distances, beyond),
                    _farthest(distances, negatives),
                )
                negative = torch.where(fell_back, otherwise, _any_of(band, generator))
    return Triplets(anchor, positive, negative, fell_back)


def triplet_loss(distances: Tensor, triplets: Triplets, *, margin: float = 1.0) -> Tensor:
    """Return the mean of max(0, P - N + margin) over the triplets; 0 without one."""
    p, n = _pairs(distances, triplets)
    return F.relu(p - n + margin).sum() / max(len(p), 1)


def contrastive_loss(distances: Tensor, triplets: Triplets, *, margin: float = 1.0) -> Tensor:
    """Return the mean of P + max(0, margin - N) over the triplets; 0 without one.

    Positives are pulled together and negatives pushed to a fixed distance, each pair by itself
    (Hadsell, Chopra and LeCun, CVPR 2006, with the distance of this module in place of the squared
    one).
    """
    p, n = _pairs(distances, triplets)
    return (p + F.relu(margin - n)).sum() / max(len(p), 1)


def _pairs(distances: Tensor, triplets: Triplets) -> tuple[Tensor, Tensor]:
    return (
        distances[triplets.anchor, triplets.positive],
        distances[triplets.anchor, triplets.negative],
    )


def nt_xent_loss(embeddings: Tensor, works: Tensor, *, temperature: float = 0.1) -> Tensor:
    r"""Return the normalised temperature-scaled cross-entropy of a batch, all pairs in it.

    With :math:`s` the cosine similarity divided by the temperature, the mean over all pairs of an
    anchor :math:`a` and a positive :math:`p` of

    .. math:: -\log \frac{\exp s_{ap}}{\exp s_{ap} + \sum_n \exp s_{an}}

    where :math:`n` runs over the negatives of the anchor: the positive has to be told from all of
    them (Chen, Kornblith, Norouzi and Hinton, "SimCLR", ICML 2020; there an anchor has one
    positive, here its others are in neither sum). 0 without a pair.
    """
    unit = F.normalize(embeddings, dim=1)
    scores = unit @ unit.T / temperature
    positives, negatives = masks(works)
    # not minus infinity: its gradient is no number in a row without a negative
    of_negatives = torch.where(negatives, scores, -1e4).logsumexp(dim=1, keepdim=True)
    each = torch.logaddexp(scores, of_negatives) - scores
    counted = positives & negatives.any(dim=1, keepdim=True)
    return torch.where(counted, each, 0.0).sum() / counted.sum().clamp(min=1)
