"""Judging attributions: whether a map of importance points at what is known to matter.

Conventions: a map is an array of any shape, more where a part of the input matters more; the truth
is a map of the same shape, True where the cause is known to be. Scores are numbers, nothing is
drawn.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata

from dl101.errors import DataError
from dl101.evaluation import tagging


def ranks(values: ArrayLike) -> NDArray[np.float64]:
    """Return the rank of each value of a map, from 1, flat; equal values share the mean rank."""
    return rankdata(np.asarray(values, dtype=np.float64).ravel())


def rank_correlation(one: ArrayLike, other: ArrayLike) -> float:
    """Return Spearman's rank correlation of two maps; 0 where one of them is constant.

    1: the same cells matter in the same order; 0: the order of one says nothing of the other's.
    """
    first, second = ranks(one), ranks(other)
    if first.size != second.size:
        raise _unlike(one, other)
    deviations = [each - each.mean() for each in (first, second)]
    norms = [np.linalg.norm(each) for each in deviations]
    return float(deviations[0] @ deviations[1] / np.prod(norms)) if all(norms) else 0.0


def area(importance: ArrayLike, truth: ArrayLike) -> float:
    """Return how often a cell of the truth ranks above one outside: the area under the ROC.

    0.5 for a map that knows nothing, 1 where all cells of the truth come first.
    """
    inside = np.asarray(truth, dtype=bool).ravel()
    values = np.asarray(importance, dtype=np.float64).ravel()
    if values.size != inside.size:
        raise _unlike(importance, truth)
    if inside.all() or not inside.any():
        raise DataError(
            "attribution: truth",
            got="all cells" if inside.all() else "no cell",
            expected="some cells, not all",
            hint="look at the part of the input that holds both",
        )
    return tagging.roc_auc(inside, values)


def share_inside(importance: ArrayLike, truth: ArrayLike) -> float:
    """Return which share of what is positive in a map lies on the truth; 0 if nothing is."""
    positive = np.maximum(np.asarray(importance, dtype=np.float64), 0.0)
    inside = np.asarray(truth, dtype=bool)
    if positive.shape != inside.shape:
        raise _unlike(importance, truth)
    total = positive.sum()
    return float(positive[inside].sum() / total) if total > 0 else 0.0


def _unlike(one: ArrayLike, other: ArrayLike) -> DataError:
    return DataError(
        "attribution: two maps",
        got=f"shapes {np.shape(one)} and {np.shape(other)}",
        expected="the same shape",
        hint="compare maps of one input",
    )
