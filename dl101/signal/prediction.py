"""Linear prediction: the next sample as a weighted sum of those before it.

Conventions: audio is (time,); the coefficients ``a`` (order,) say ``x[t] = sum over k from 1 of
a[k - 1] x[t - k]`` plus a *residual* ``e[t]``. Zeros stand before the first sample. Turned around,
the residual through the all-pole filter ``1 / (1 - sum a[k - 1] z^-k)`` gives the sound again:
source and filter.

References
----------
.. [1] J. Makhoul, "Linear prediction: a tutorial review", Proceedings of the IEEE 63(4), 1975.
"""

from __future__ import annotations

import numpy as np
import scipy.linalg
import scipy.signal
from numpy.typing import ArrayLike, NDArray

from dl101.errors import DataError


def autocorrelation(audio: ArrayLike, n_lags: int) -> NDArray[np.float64]:
    """Return ``r[k] = sum over t of x[t] x[t - k]`` for k from 0 to ``n_lags``, (..., lag)."""
    x = np.asarray(audio, dtype=np.float64)
    n = x.shape[-1]
    return np.stack([np.sum(x[..., k:] * x[..., : n - k], axis=-1) for k in range(n_lags + 1)], -1)


def coefficients(r: ArrayLike, *, floor: float = 1e-9) -> NDArray[np.float64]:
    """Return the coefficients (order,) that predict best, by the normal equations [1]_.

    Parameters
    ----------
    r
        Autocorrelation at the lags 0 to ``order``. That of several sounds may be added up.
    floor
        White noise, as a share of the power, that is added for the sake of stability.

    Raises
    ------
    DataError
        If the sound is silent.
    """
    r = np.asarray(r, dtype=np.float64)
    if r[0] <= 0:
        raise DataError("coefficients", got="silence", expected="a sound", hint="choose another")
    return scipy.linalg.solve_toeplitz(np.r_[r[0] * (1 + floor), r[1:-1]], r[1:])


def predicted(audio: ArrayLike, a: ArrayLike) -> NDArray[np.float64]:
    """Return the prediction of each sample of (..., time) from those before it."""
    return scipy.signal.lfilter(np.r_[0.0, np.asarray(a)], [1.0], np.asarray(audio), axis=-1)


def through_filter(source: ArrayLike, a: ArrayLike) -> NDArray[np.float64]:
    """Return what the all-pole filter makes of a source, (..., time): the way back."""
    return scipy.signal.lfilter([1.0], np.r_[1.0, -np.asarray(a)], np.asarray(source), axis=-1)
