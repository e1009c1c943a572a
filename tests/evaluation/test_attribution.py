"""Scores of maps: other libraries as oracles."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics

from dl101.errors import DataError
from dl101.evaluation import attribution


@pytest.mark.parametrize("seed", range(5))
def test_rank_correlation_is_that_of_scipy(seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = rng.integers(0, 6, (2, 4, 9)).astype(float)  # with ties
    expected = stats.spearmanr(a.ravel(), b.ravel()).statistic
    assert attribution.rank_correlation(a, b) == pytest.approx(expected, abs=1e-12)


def test_rank_correlation_of_the_same_the_opposite_and_nothing() -> None:
    a = np.array([[1.0, 5.0], [2.0, 9.0]])
    assert attribution.rank_correlation(a, np.exp(a)) == pytest.approx(1)
    assert attribution.rank_correlation(a, -a) == pytest.approx(-1)
    assert attribution.rank_correlation(a, np.ones_like(a)) == 0
    with pytest.raises(DataError, match="the same shape"):
        attribution.rank_correlation(a, a[0])


@pytest.mark.parametrize("seed", range(5))
def test_area_is_that_of_scikit_learn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth, values = rng.random((5, 7)) < 0.3, rng.integers(0, 5, (5, 7))
    expected = metrics.roc_auc_score(truth.ravel(), values.ravel())
    assert attribution.area(values, truth) == pytest.approx(expected, abs=1e-12)
    for everything in (np.ones((5, 7)), np.zeros((5, 7))):
        with pytest.raises(DataError, match="some cells, not all"):
            attribution.area(values, everything)


def test_share_inside_counts_what_is_positive() -> None:
    values = np.array([3.0, -9.0, 1.0, 0.0])
    assert attribution.share_inside(values, np.array([1, 1, 0, 0])) == 0.75
    assert attribution.share_inside(-np.abs(values), np.array([1, 1, 0, 0])) == 0.0
    with pytest.raises(DataError):
        attribution.share_inside(values, np.ones(3))
