"""What the records say of a claim: confirmed, denied or undecided, and how certain.

Conventions: a difference is measured item by item on the test side of each seed. Its standard error
is the larger one of two: over items (all seeds together), and over the seeds. An interval is the
mean plus and minus 1.96 of these, 95 % if errors were normal.
"""

from __future__ import annotations

import numpy as np
from scipy.stats import norm

from dl101.chapters.untrained.experiment import CELLS, NAMES
from dl101.evaluation.attribution import rank_correlation
from dl101.evaluation.results import Estimate, Measured
from dl101.evaluation.results import difference as difference

LEVEL = 0.95


def untrained_and_trained(measured: Measured, corpus: str) -> tuple[np.ndarray, np.ndarray]:
    """Return accuracies (seed, architecture): untrained, mean over four cells, and trained."""
    untrained, trained = [], []
    for name in NAMES:
        variant = f"{corpus}: {name}"
        untrained.append(np.mean([measured.each(variant, cell) for cell in CELLS], axis=0))
        trained.append(measured.each(variant, "trained"))
    return np.array(untrained).T, np.array(trained).T


def rank_interval(rank: float, n: int, *, n_sets: int = 1) -> Estimate:
    """Return a rank correlation over n things with its interval (Fisher's transform [1]_).

    Parameters
    ----------
    rank
        Of n pairs; or the mean over ``n_sets`` independent sets of n pairs each.
    n, n_sets
        How many.

    References
    ----------
    .. [1] D. Bonett, T. Wright, "Sample size requirements for estimating Pearson, Kendall and
       Spearman correlations", Psychometrika 65, 2000: the error of the transform of a rank
       correlation is the root of (1 + rank^2 / 2) / (n - 3).
    """
    error = np.sqrt((1 + rank**2 / 2) / (n - 3) / n_sets)
    middle = np.arctanh(np.clip(rank, -0.999, 0.999))
    half = norm.ppf(0.5 + LEVEL / 2) * error
    return Estimate(rank, float(np.tanh(middle - half)), float(np.tanh(middle + half)))


def order(measured: Measured, corpus: str) -> Estimate:
    """Return the rank correlation of untrained with trained accuracies, means over seeds."""
    untrained, trained = untrained_and_trained(measured, corpus)
    rank = rank_correlation(untrained.mean(axis=0), trained.mean(axis=0))
    return rank_interval(rank, len(NAMES))


def repeatable(measured: Measured, corpus: str) -> dict[str, float]:
    """Return how much the order of one seed is that of another: rank correlation, mean over pairs.

    An order that does not repeat itself cannot be predicted by anything.
    """
    found = {}
    for kind, values in zip(
        ("untrained", "trained"), untrained_and_trained(measured, corpus), strict=True
    ):
        pairs = [(i, j) for i in range(len(values)) for j in range(i)]
        ranks = [rank_correlation(values[i], values[j]) for i, j in pairs]
        found[kind] = float(np.mean(ranks)) if ranks else float("nan")
    return found
