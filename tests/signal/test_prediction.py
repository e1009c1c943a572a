"""Linear prediction: known filters are found, and the way back is exact."""

import numpy as np
import pytest
import scipy.signal

from dl101.errors import DataError
from dl101.signal import prediction

A = np.array([1.2, -0.8, 0.1])


def test_autocorrelation_is_that_of_numpy():
    x = np.random.default_rng(0).standard_normal((2, 50))
    for row, found in zip(x, prediction.autocorrelation(x, 4), strict=True):
        np.testing.assert_allclose(found, np.correlate(row, row, "full")[49:54])


def test_the_filter_that_made_a_sound_is_found():
    noise = np.random.default_rng(0).standard_normal(200_000)
    x = scipy.signal.lfilter([1.0], np.r_[1.0, -A], noise)
    found = prediction.coefficients(prediction.autocorrelation(x, 3))
    np.testing.assert_allclose(found, A, atol=0.01)
    assert np.var(x - prediction.predicted(x, found)) == pytest.approx(1.0, rel=0.02)


def test_the_normal_equations_hold():
    r = prediction.autocorrelation(np.random.default_rng(1).standard_normal(64), 5)
    a = prediction.coefficients(r, floor=0.0)
    for k in range(1, 6):
        assert r[k] == pytest.approx(sum(a[j] * r[abs(k - 1 - j)] for j in range(5)))


def test_a_prediction_sees_only_what_came_before():
    x = np.arange(1.0, 6.0)
    np.testing.assert_allclose(prediction.predicted(x, [2.0, -1.0]), [0, 2, 3, 4, 5])


def test_residual_and_filter_give_the_sound_again():
    x = np.random.default_rng(2).standard_normal((2, 40))
    residual = x - prediction.predicted(x, A)
    np.testing.assert_allclose(prediction.through_filter(residual, A), x, atol=1e-12)


def test_silence_has_no_filter():
    with pytest.raises(DataError, match="silence"):
        prediction.coefficients(np.zeros(4))
