"""Simple predictors of the next mu-law code, to stand beside networks that foresee it.

Conventions: codes are (note, time), whole numbers from 0 to 255; a predictor returns bits, (note,
time): ``-log2`` of the probability that it gave to the code, before it saw it. Nothing is fitted to
the notes that are scored; what *adapts* has seen the samples before alone.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import scipy.signal
import scipy.stats
from numpy.typing import NDArray

from dl101.signal import prediction
from dl101.signal.waveforms import mu_law_decode

N_CODES = 256
ORDER = 16
RARE = 1e-3  # of the probability goes to all codes alike: nothing is impossible
MEMORY = 32  # samples over which the size of the residual is averaged

Codes = NDArray[np.int64]
Bits = NDArray[np.float64]


def histogram(train: Codes) -> NDArray[np.float64]:
    """Return the share of each code, (code,); every code is counted once more than it was seen."""
    counts = np.bincount(train.ravel(), minlength=N_CODES) + 1.0
    return counts / counts.sum()


def pairs(train: Codes) -> NDArray[np.float64]:
    """Return the probability of each code after each, (before, code).

    A pair that was never seen is as likely as the code by itself, counted as 8 samples.
    """
    flat = (train[:, :-1] * N_CODES + train[:, 1:]).ravel()
    counts = np.bincount(flat, minlength=N_CODES**2).reshape(N_CODES, N_CODES).astype(np.float64)
    counts += 8 * histogram(train)
    return counts / counts.sum(axis=1, keepdims=True)


def edges() -> NDArray[np.float64]:
    """Return where the cell of each code ends, (257,): samples between two edges share a code."""
    mu = N_CODES - 1
    between = (np.arange(1, N_CODES) - 0.5) / mu * 2 - 1
    inner = np.sign(between) * np.expm1(np.abs(between) * np.log1p(mu)) / mu
    return np.r_[-np.inf, inner, np.inf]


def bits_of_density(
    codes: Codes, centre: NDArray, scale: NDArray | float, shape: str = "laplace"
) -> Bits:
    """Return the bits of codes under a density: its mass between the edges of each code's cell."""
    distribution = {"laplace": scipy.stats.laplace, "gaussian": scipy.stats.norm}[shape]
    low = (edges()[codes] - centre) / scale
    high = (edges()[codes + 1] - centre) / scale
    flip = low > 0  # the far tails are small only on this side
    low, high = np.where(flip, -high, low), np.where(flip, -low, high)
    mass = distribution.cdf(high) - distribution.cdf(low)
    return -np.log2((1 - RARE) * mass + RARE / N_CODES)


def running_mean(size: NDArray, first: float) -> NDArray[np.float64]:
    """Return the mean of the sizes before each sample, which forgets within ``MEMORY`` samples."""
    keep = 1 - 1 / MEMORY
    state = np.full((*size.shape[:-1], 1), keep * first)
    smooth, _ = scipy.signal.lfilter([1 - keep], [1.0, -keep], size, axis=-1, zi=state)
    return np.concatenate([np.full_like(smooth[..., :1], first), smooth[..., :-1]], axis=-1)


def linear(train: Codes, held_out: Codes, *, shape: str = "laplace", adapts: bool = False) -> Bits:
    """Linear prediction, one filter for all notes; ``adapts``: the residual's size follows."""
    x = mu_law_decode(train)
    a = prediction.coefficients(prediction.autocorrelation(x, ORDER).sum(axis=0))
    of_train = x - prediction.predicted(x, a)
    y = mu_law_decode(held_out)
    centre = prediction.predicted(y, a)
    power = 1 if shape == "laplace" else 2  # the scale that is most likely: mean size, or RMS
    if not adapts:
        return bits_of_density(
            held_out, centre, np.mean(np.abs(of_train) ** power) ** (1 / power), shape
        )
    size = np.abs(y - centre) ** power
    scale = running_mean(size, float(np.mean(np.abs(of_train) ** power))) ** (1 / power)
    return bits_of_density(held_out, centre, np.maximum(scale, 1e-4), shape)


def adaptive(held_out: Codes, *, window: int = 400, hop: int = 40) -> Bits:
    """Linear prediction with a filter for each note, refitted to its last 50 ms every 5 ms."""
    y = mu_law_decode(held_out)
    centre = np.zeros_like(y)
    taper = np.sin(np.pi / 2 * (np.arange(window) + 0.5) / window)  # the latest count most
    for note, x in enumerate(y):
        for begin in range(window, x.size, hop):
            past = x[begin - window : begin]
            r = prediction.autocorrelation(past * taper, ORDER)
            if r[0] <= 1e-8:
                continue
            a = prediction.coefficients(r, floor=1e-5)
            stretch = x[begin - ORDER : begin + hop]
            centre[note, begin : begin + hop] = prediction.predicted(stretch, a)[ORDER:]
    scale = running_mean(np.abs(y - centre), 0.02)
    return bits_of_density(held_out, centre, np.maximum(scale, 1e-4))


PREDICTORS: dict[str, Callable[[Codes, Codes], Bits]] = {
    "uniform": lambda train, codes: np.full(codes.shape, np.log2(N_CODES)),
    "histogram": lambda train, codes: -np.log2(histogram(train)[codes]),
    "previous sample": lambda train, codes: np.concatenate(
        [
            -np.log2(histogram(train)[codes[:, :1]]),
            -np.log2(pairs(train)[codes[:, :-1], codes[:, 1:]]),
        ],
        axis=1,
    ),
    "linear, Gaussian": lambda train, codes: linear(train, codes, shape="gaussian"),
    "linear, Laplace": lambda train, codes: linear(train, codes),
    "linear, Laplace that follows": lambda train, codes: linear(train, codes, adapts=True),
    "linear, refitted": lambda train, codes: adaptive(codes),
}
