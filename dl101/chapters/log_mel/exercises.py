"""The exercises of the chapter on log-mel and MFCC."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dl101.lab.exercise import Exercise, Function
from dl101.signal import mel

# ---- 1: from magnitudes to log-mel --------------------------------------------------------------


def _magnitudes() -> list[tuple[NDArray, NDArray, float]]:
    cases = []
    for index, strength in enumerate((1e4, 50.0, 3.0)):
        rng = np.random.default_rng([101, 1, index])
        filters = mel.mel_filters(22050, n_bands=12 + index, window_samples=256)
        magnitude = rng.exponential(size=(129, 5 + index)) * np.geomspace(3, 0.01, 129)[:, None]
        magnitude[:, 0] = 0.0  # silence, where log(0) would show
        cases.append((magnitude, filters, strength))
    return cases


LOG_MEL = Function(
    title="from magnitudes to log-mel",
    minutes=10,
    rubric={"powers are summed over bands": 1, "log(1 + C x), natural, C inside": 1},
    right=lambda m, f, c: np.log1p(c * (f @ m**2)),
    cases=_magnitudes,
    returns="an array (bands, frames)",
    rtol=1e-5,
    atol=1e-6,
    mistakes={
        "You pass the magnitudes through the filters. The powers of partials add up in a band, "
        "magnitudes do not: square them first.": lambda m, f, c: np.log1p(c * (f @ m)),
        "You square after the filters. Add powers, not magnitudes: square each bin first, "
        "then sum over the band.": lambda m, f, c: np.log1p(c * (f @ m) ** 2),
        "You take the logarithm of every bin and then average over the band. The order is: "
        "power, filters, logarithm.": lambda m, f, c: f @ np.log1p(c * m**2),
        "C stands outside the logarithm, where it only stretches the result, which any "
        "normalisation undoes. Inside, C x, it decides where the curve bends.": (
            lambda m, f, c: c * np.log1p(f @ m**2)
        ),
        "C is missing: the result is log(1 + x), which leaves soft sounds almost linear.": (
            lambda m, f, c: np.log1p(f @ m**2)
        ),
        "C is added where 1 should be, and 1 multiplies where C should: log(1 + C x).": (
            lambda m, f, c: np.log(c + f @ m**2)
        ),
        "The 1 is missing: log(C x) goes to minus infinity where it is silent. Use "
        "log(1 + C x).": lambda m, f, c: np.log(c * (f @ m**2)),
        "This is the logarithm to base 10; the chapter's is the natural one (np.log, "
        "np.log1p).": lambda m, f, c: np.log10(1 + c * (f @ m**2)),
        "These are decibels (10 log10): the chapter's feature is the natural logarithm of "
        "1 + C x.": lambda m, f, c: 10 * np.log10(1 + c * (f @ m**2)),
        "20 log10 is for amplitudes, and this is a power; and the chapter's feature is the "
        "natural logarithm.": lambda m, f, c: 20 * np.log10(1 + c * (f @ m**2)),
        "These are the mel powers, and right. The logarithm is missing: log(1 + C x).": (
            lambda m, f, c: f @ m**2
        ),
    },
    differs="In a hidden case the value at {at} should be {right:.4g} and is {got:.4g}. Square the "
    "magnitudes, multiply by the filters (@), then take log(1 + C x).",
    praise="Square, sum over the band, compress: in this order, and finite in silence.",
)

# ---- 2: the C that undoes a gain ----------------------------------------------------------------

STRENGTH = Function(
    title="the C that undoes a gain",
    minutes=10,
    rubric={
        "decibels of a power: a factor of 10 ** (dB / 10)": 1,
        "only the product C x counts": 1,
    },
    right=lambda c, g: c / 10 ** (g / 10),
    cases=lambda: [(1e4, 20.0), (1e4, -10.0), (100.0, 6.0), (7.0, 33.0)],
    returns="one number",
    rtol=1e-5,
    mistakes={
        "You divide by 10 ** (gain_db / 20), the factor of amplitudes. x is a power: 20 dB "
        "make it 100 times as large, so divide by 10 ** (gain_db / 10).": (
            lambda c, g: c / 10 ** (g / 20)
        ),
        "The wrong way round: louder recordings have larger x, so that C x stays the same only "
        "if C becomes smaller.": lambda c, g: c * 10 ** (g / 10),
        "Twice off: C must become smaller when x becomes larger, and decibels of a power are "
        "divided by 10, not 20.": lambda c, g: c * 10 ** (g / 20),
        "Decibels count powers of ten, not of e: the factor is 10 ** (gain_db / 10).": (
            lambda c, g: c / np.exp(g / 10)
        ),
        "A gain in dB is a factor, not a difference: C has to be divided by it.": (
            lambda c, g: c - g
        ),
        "You divide by the decibels themselves. 20 dB are a factor of 100 in power, not of "
        "20.": lambda c, g: c / g,
        "C stays the same? Then log(1 + C x) differs: 1 + C x does not simply shift when x is "
        "multiplied. Look for C' with C' x' = C x.": lambda c, g: c,
        "This is by how much x grows. The C that undoes it is C divided by this.": (
            lambda c, g: 10 ** (g / 10)
        ),
    },
    differs="For C = {0:g} and {1:g} dB the answer is {right:g}, yours {got:g}. Write C' x' = C x.",
    praise="x grows by 10 ** (gain_db / 10), so C shrinks by as much, and C x stays what it was.",
)

# ---- 3: MFCC without the level ------------------------------------------------------------------


def _sum(y: NDArray, rows: range, *, half: float = 0.5, kind: Callable = np.cos) -> NDArray:
    """Return orthonormally scaled sums over bands, or what a misreading makes of them."""
    n_bands = y.shape[0]
    b, n = np.arange(n_bands), np.array(rows)[:, np.newaxis]
    scale = np.where(n == 0, np.sqrt(1 / n_bands), np.sqrt(2 / n_bands))
    return scale * kind(np.pi * n * (b + half) / n_bands) @ y


def _shape(y: NDArray, k: int) -> NDArray:
    return _sum(y, range(1, k + 1))


def _compressed() -> list[tuple[NDArray, int]]:
    rng = np.random.default_rng([101, 3])
    sizes = ((24, 30, 5), (40, 33, 12), (64, 64, 9))
    return [(rng.uniform(1, 9, (b, t)), k) for b, t, k in sizes]


SHAPE = Function(
    title="MFCC without the level",
    minutes=20,
    rubric={"DCT-II with orthonormal rows, along bands": 1, "coefficient 0 is left out": 1},
    right=_shape,
    cases=_compressed,
    returns="an array (n_coefficients, frames)",
    rtol=1e-5,
    atol=1e-5,
    mistakes={
        "Your first row is coefficient 0, the mean over all bands: it says how loud the frame "
        "is. Leave it out and return the coefficients 1 to n.": lambda y, k: _sum(y, range(k)),
        "Coefficient 0 is set to zero but still there: leave its row out.": (
            lambda y, k: np.concatenate([np.zeros((1, y.shape[1])), _sum(y, range(1, k))])
        ),
        "You left out one too many: the first row should be coefficient 1 (half a period).": (
            lambda y, k: _sum(y, range(2, k + 2))
        ),
        "You undo the logarithm first. MFCC are the transform of the compressed values.": (
            lambda y, k: _shape(np.exp(y), k)
        ),
        "You take a second logarithm: log_mel is compressed already.": (
            lambda y, k: _shape(np.log(y), k)
        ),
        "The half is missing: band b stands at b + 1/2, in the middle of its interval.": (
            lambda y, k: _sum(y, range(1, k + 1), half=0.0)
        ),
        "These are sines. A sine is zero at the lowest edge; MFCC use cosines.": (
            lambda y, k: _sum(y, range(1, k + 1), kind=np.sin)
        ),
        "The bands are upside down: every other coefficient has the wrong sign.": (
            lambda y, k: _shape(y[::-1], k)
        ),
        "The scale is SciPy's default, a sum times 2. Ask for orthonormal rows "
        "(norm='ortho').": lambda y, k: 2 * _shape(y, k) / np.sqrt(2 / y.shape[0]),
        "The scale is missing: multiply by sqrt(2 / B), with B bands.": (
            lambda y, k: _shape(y, k) / np.sqrt(2 / y.shape[0])
        ),
        "The scale sqrt(1 / B) belongs to coefficient 0 alone; the others have sqrt(2 / B).": (
            lambda y, k: _shape(y, k) / np.sqrt(2)
        ),
        "You transform along time, the last axis: that says how the loudness of a band "
        "changes. Transform along bands: axis=0.": (
            lambda y, k: _sum(y.T, range(y.shape[1])).T[:k],
            lambda y, k: _sum(y.T, range(y.shape[1])).T[1 : k + 1],
        ),
    },
    symptoms={
        "One row per band and one column per coefficient: you transform along time. Transform "
        "along bands (axis=0).": (
            lambda got, right, y, k: got.shape == (y.shape[0], k),
            lambda y, k: _sum(y.T, range(y.shape[1])).T[:, 1 : k + 1],
        ),
        "There is one row too few or too many: asked are the coefficients 1 to n_coefficients, "
        "both included, and without coefficient 0.": (
            lambda got, right, y, k: abs(len(got) - k) == 1 and got.shape[1:] == right.shape[1:],
            lambda y, k: _shape(y, k - 1),
        ),
    },
    differs="In a hidden case row {at[0]} (counted from 0) of frame {at[1]} should be {right:.4g} "
    "and is {got:.4g}. Coefficient n is sqrt(2 / B) times the sum over b of "
    "y[b] cos(pi n (b + 1/2) / B).",
    praise="The shape of the spectrum without its level: coefficients 1 to n.",
)

# ---- 4: normalisation with the training side's numbers ------------------------------------------

BAND = (0, 2)  # tracks and frames: what remains is the band


def _scaled(mean: Callable[..., Any], deviation: Callable[..., Any]) -> Callable[..., tuple]:
    """Return an answer from the shift and scale it takes for (a side, training, both)."""

    def normalise(train: NDArray, test: NDArray) -> tuple:
        both = np.concatenate([train, test])
        return tuple(
            (side - mean(side, train, both)) / deviation(side, train, both)
            for side in (train, test)
        )

    return normalise


def _over(axis: tuple[int, ...] | None, which: str, of: Callable = np.mean) -> Callable[..., Any]:
    def figure(side: NDArray, train: NDArray, both: NDArray) -> Any:
        return of({"side": side, "train": train, "both": both}[which], axis=axis, keepdims=True)

    return figure


def _by(axis: tuple[int, ...] | None, which: str) -> Callable[..., tuple]:
    """Return an answer that takes mean and deviation over these axes of that side."""
    return _scaled(_over(axis, which), _over(axis, which, np.std))


def _sides() -> list[tuple[NDArray, NDArray]]:
    cases = []
    for index in range(3):
        rng = np.random.default_rng([101, 4, index])
        scale, offset = rng.uniform(0.5, 4, (2, 1, 6, 1))
        train = offset + scale * rng.exponential(size=(8, 6, 40)) * rng.uniform(0.5, 2, (8, 1, 1))
        test = 1.5 + 0.6 * offset + 2 * scale * rng.exponential(size=(5, 6, 40))
        cases.append((train, test))
    return cases


def _silent_band() -> tuple[NDArray, NDArray]:
    train, test = _sides()[0]
    train[:, 2] = 0.0  # a band above the range of all microphones
    return train, test


def _finite_is_enough(got: tuple, right: tuple, train: NDArray, test: NDArray) -> tuple:
    """Let a band that is constant in training be anything finite."""
    constant = np.ptp(train, axis=BAND, keepdims=True) == 0
    return tuple(np.where(constant & np.isfinite(a), b, a) for a, b in zip(got, right, strict=True))


NORMALISE = Function(
    title="normalise each band",
    minutes=15,
    rubric={
        "mean and deviation of each band over tracks and frames": 1,
        "from the training side alone, applied to both": 1,
        "a silent band stays finite": 1,
    },
    right=_scaled(_over(BAND, "train"), lambda *sides: _over(BAND, "train", np.std)(*sides) + 1e-6),
    cases=_sides,
    returns="two arrays, the training side and the test side",
    # a small constant under the root or the deviation, or n - 1 for n, is no mistake
    rtol=1e-2,
    atol=1e-2,
    forgive=_finite_is_enough,
    mistakes={
        "The test side is normalised with its own mean and deviation. A test set must not set "
        "anything; and a single recording, heard later, would have no set to measure.": (
            _by(BAND, "side")
        ),
        "Mean and deviation come from training and test together: the test side leaks in.": (
            _by(BAND, "both")
        ),
        "One mean and deviation for the whole corpus. Here every band gets its own: average "
        "over tracks and frames, axes 0 and 2.": _by(None, "train"),
        "Every track is normalised by itself (over its frames). That forgets level and timbre "
        "of the track, which may be what is asked; take the training side's numbers.": (
            _by((2,), "side")
        ),
        "You normalise every frame over its bands. A band's mean goes over tracks and frames.": _by(
            (1,), "side"
        ),
        "Every frame number has a mean of its own (axis 0 alone), as if the third frame of all "
        "tracks had something in common. Average over frames too: axes 0 and 2.": (
            _by((0,), "train")
        ),
        "The mean is right; the division by the deviation is missing.": _scaled(
            _over(BAND, "train"), lambda *_: 1.0
        ),
        "The deviation is right, but the mean is not subtracted.": _scaled(
            lambda *_: 0.0, _over(BAND, "train", np.std)
        ),
        "You divide by the variance; the deviation is its root.": _scaled(
            _over(BAND, "train"), _over(BAND, "train", np.var)
        ),
        "You map to 0 ... 1 by smallest and largest value: one odd frame then sets the scale.": (
            _scaled(_over(BAND, "train", np.min), _over(BAND, "train", np.ptp))
        ),
    },
    edges={
        "A band that is silent in all of training has deviation 0, and you divide by it: one "
        "NaN is enough to spoil a training. Add a small number to the deviation.": (
            _silent_band(),
            _by(BAND, "train"),
        ),
    },
    differs="In a hidden case the value at {at} should be {right:.4g} and is {got:.4g}. For each "
    "band: the mean and the deviation over tracks and frames of the training side, applied to both "
    "sides.",
    praise="Each band has mean 0 and deviation 1 on training; the test side had no say in it.",
)

EXERCISES: Mapping[str, Exercise] = {
    "log_mel.1": LOG_MEL,
    "log_mel.2": STRENGTH,
    "log_mel.3": SHAPE,
    "log_mel.4": NORMALISE,
}
