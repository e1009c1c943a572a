"""Scores of labels: one class, or several tags, for a whole track.

Conventions: classes and tags alike are matrices of zeros and ones (tracks, classes); scores have
the same shape, higher for more likely.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Score = Callable[[NDArray, NDArray], float]


def accuracy(truth: NDArray, scores: NDArray) -> float:
    """Return the share of tracks whose highest score is their class."""
    return float(np.mean(scores.argmax(axis=1) == truth.argmax(axis=1)))


def balanced_accuracy(truth: NDArray, scores: NDArray) -> float:
    """Return the mean over classes of the share of its tracks that is recognised."""
    right = scores.argmax(axis=1) == truth.argmax(axis=1)
    return float(np.mean([right[column > 0].mean() for column in truth.T if column.any()]))


def macro_auc(truth: NDArray, scores: NDArray) -> float:
    """Return the mean over tags of the area under the ROC curve.

    The area is the chance that a track with the tag scores higher than one without (ties count
    half). Tags that all tracks have, or none, are left out.
    """
    areas = []
    for has, value in zip(truth.T > 0, np.asarray(scores, dtype=float).T, strict=True):
        n_with, n_without = int(has.sum()), int((~has).sum())
        if n_with and n_without:
            ranks = _mean_ranks(value)
            areas.append((ranks[has].mean() - (n_with + 1) / 2) / n_without)
    return float(np.mean(areas))


def _mean_ranks(values: NDArray) -> NDArray[np.float64]:
    """Return the rank of each value from 1 up; equal values share the mean of their ranks."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[inverse]


def by_chance(
    truth: NDArray, scores: NDArray, score: Score, *, seed: int = 0, n_shuffles: int = 400
) -> tuple[float, float]:
    """Return the mean of a score, and what it exceeds once in a hundred, for shuffled tracks."""
    rng = np.random.default_rng([seed])
    values = [score(truth, scores[rng.permutation(len(scores))]) for _ in range(n_shuffles)]
    return float(np.mean(values)), float(np.quantile(values, 0.99))
