"""Losses that need no labels, and what tells whether they have collapsed.

Conventions: two views of the same recordings are mapped to two matrices (items, numbers) whose rows
with the same number belong together. Losses are means over the items, so that the size of a batch
does not change them, but for what it offers as negatives.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dl101.nn.metric_learning import nt_xent_loss

COLLAPSED = 0.1  # of the deviation that unit vectors in all directions have


def nt_xent(first: Tensor, second: Tensor, *, temperature: float = 0.5) -> Tensor:
    """Return the contrastive loss: each view finds its partner among all others of the batch.

    Each of the 2 n rows has one positive and 2 n - 2 negatives; it is none of them itself (Chen,
    Kornblith, Norouzi and Hinton, "SimCLR", ICML 2020). See
    :func:`dl101.nn.metric_learning.nt_xent_loss`.
    """
    items = torch.arange(len(first), device=first.device)
    both = torch.cat([first, second])
    return nt_xent_loss(both, items.repeat(2), temperature=temperature)


def barlow_twins(first: Tensor, second: Tensor, *, weight: float = 5e-3) -> Tensor:
    """Return how far the correlations between the numbers of two views are from the identity.

    Numbers are standardised over the batch; ``C`` is their correlation across views. The loss is
    the sum of ``(1 - C_ii)^2`` and ``weight`` times the sum of ``C_ij^2``, ``j`` other than ``i``
    (Zbontar, Jing, Misra, LeCun and Deny, ICML 2021, Eq. 1).
    """
    n = len(first)
    a, b = (_standardised(x) for x in (first, second))
    correlation = a.T @ b / n
    diagonal = torch.eye(len(correlation), dtype=torch.bool, device=first.device)
    squares = torch.where(diagonal, correlation - 1, correlation).square()
    return squares[diagonal].sum() + weight * squares[~diagonal].sum()


def vicreg(
    first: Tensor,
    second: Tensor,
    *,
    invariance: float = 25.0,
    variance: float = 25.0,
    covariance: float = 1.0,
) -> Tensor:
    """Return invariance, variance and covariance, weighted (Bardes, Ponce and LeCun, ICLR 2022).

    Invariance: the mean squared difference of the views. Variance: the mean over numbers of
    ``max(0, 1 - sqrt(var + 1e-4))``, and of both views. Covariance: the squares of the covariances
    of different numbers, summed and divided by how many numbers there are, of both views.
    Variances have n - 1 in the denominator. (The published code halves the term of variance, the
    paper, Eq. 6, does not; ours is the paper's.)
    """
    total = invariance * F.mse_loss(first, second)
    for view in (first, second):
        centred = view - view.mean(dim=0)
        matrix = centred.T @ centred / (len(view) - 1)
        spread = (matrix.diagonal() + 1e-4).sqrt()
        off = ~torch.eye(len(matrix), dtype=torch.bool, device=view.device)
        total = total + variance * F.relu(1 - spread).mean()
        total = total + covariance * matrix[off].square().sum() / len(matrix)
    return total


def simsiam(
    predictions: tuple[Tensor, Tensor], targets: tuple[Tensor, Tensor], *, stop: bool = True
) -> Tensor:
    """Return minus the mean cosine of each view's prediction with the other view's target.

    With ``stop`` no gradient flows into the targets (Chen and He, "Exploring simple Siamese
    representation learning", CVPR 2021, Eqs. 1 to 4); without it everything may become one point.
    """
    other = [target.detach() if stop else target for target in targets]
    alike = [
        F.cosine_similarity(p, z, dim=1).mean()
        for p, z in zip(predictions, other[::-1], strict=True)
    ]
    return -0.5 * (alike[0] + alike[1])


def _standardised(x: Tensor) -> Tensor:
    """Return columns with mean 0 and deviation 1 (n in the denominator)."""
    centred = x - x.mean(dim=0)
    return centred / (centred.square().mean(dim=0) + 1e-12).sqrt()


# ---- has it collapsed? -------------------------------------------------------------------------


def alignment(first: Tensor, second: Tensor) -> Tensor:
    """Return the mean squared distance of partners of length 1: 0 where they are the same.

    Wang and Isola, "Understanding contrastive representation learning through alignment and
    uniformity on the hypersphere", ICML 2020, with exponent 2.
    """
    a, b = (F.normalize(x, dim=1) for x in (first, second))
    return (a - b).square().sum(dim=1).mean()


def uniformity(embeddings: Tensor) -> Tensor:
    """Return log of the mean over pairs of ``exp(-2 d^2)``, d the distance of unit vectors.

    0 where all are one point; about -4 at best, in many dimensions (Wang and Isola, 2020).
    """
    squares = torch.pdist(F.normalize(embeddings, dim=1)).square()
    return (-2 * squares).exp().mean().log()


def spread(embeddings: Tensor) -> Tensor:
    """Return the mean deviation of the numbers of unit vectors, times the root of how many.

    1 where they point everywhere alike, 0 where all are one point (Chen and He, 2021, Fig. 2);
    below :data:`COLLAPSED` we call it collapsed.
    """
    unit = F.normalize(embeddings, dim=1)
    return unit.std(dim=0).mean() * unit.shape[1] ** 0.5


def effective_rank(embeddings: Tensor) -> Tensor:
    """Return how many directions embeddings use: exp of the entropy of their singular values.

    Roy and Vetterli, "The effective rank", EUSIPCO 2007; of centred embeddings.
    """
    values = torch.linalg.svdvals(embeddings - embeddings.mean(dim=0))
    share = values / values.sum().clamp(min=1e-12)
    return torch.special.entr(share).sum().exp()


def geometry(first: Tensor, second: Tensor, representations: Tensor) -> dict[str, float]:
    """Return all four of two views, ``rank`` of the representations; and whether ``collapsed``."""
    both = torch.cat([first, second])
    found = {
        "alignment": float(alignment(first, second)),
        "uniformity": float(uniformity(both)),
        "spread": float(spread(both)),
        "rank": float(effective_rank(representations)),
    }
    return found | {"collapsed": float(found["spread"] < COLLAPSED)}


# ---- heads -------------------------------------------------------------------------------------


def projector(n_inputs: int, n_hidden: int, n_outputs: int) -> nn.Sequential:
    """Return the projector of CLMR: two layers without biases (294,912 numbers of 512-512-64)."""
    return nn.Sequential(
        nn.Linear(n_inputs, n_hidden, bias=False),
        nn.ReLU(),
        nn.Linear(n_hidden, n_outputs, bias=False),
    )


def normalised_projector(n_inputs: int, n_hidden: int, n_outputs: int) -> nn.Sequential:
    """Return a projector with batch normalisation after its hidden layer.

    Barlow Twins and VICReg have three layers of 8,192 (their "expander"); this one has two.
    """
    return nn.Sequential(
        nn.Linear(n_inputs, n_hidden, bias=False),
        nn.BatchNorm1d(n_hidden),
        nn.ReLU(),
        nn.Linear(n_hidden, n_outputs),
    )


def predictor(n_outputs: int) -> nn.Sequential:
    """Return the predictor of SimSiam: a bottleneck of a quarter of its width."""
    return nn.Sequential(
        nn.Linear(n_outputs, n_outputs // 4, bias=False),
        nn.BatchNorm1d(n_outputs // 4),
        nn.ReLU(),
        nn.Linear(n_outputs // 4, n_outputs),
    )
