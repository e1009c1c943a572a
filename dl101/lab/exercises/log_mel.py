"""Checks of the chapter on log-mel and MFCC.

``log_mel.1`` ``log_mel(magnitude, filters, strength)``: from magnitudes of an STFT ``(bins,
frames)`` and mel filters ``(bands, bins)`` to ``log(1 + C x)``, ``(bands, frames)``, natural, of
the *power* ``x`` in each band.

``log_mel.2`` ``matching_strength(strength, gain_db)``: the C that gives recordings made ``gain_db``
dB louder the same log-mel spectrogram: ``C / 10 ** (gain_db / 10)``.

``log_mel.3`` ``shape(log_mel, n_coefficients)``: MFCC 1 to ``n_coefficients``, without coefficient
0, ``(n_coefficients, frames)``: DCT-II along bands with orthonormal rows.

``log_mel.4`` ``normalise(train, test)``: two sides ``(tracks, bands, frames)`` with each band
shifted and scaled so that the training side has mean 0 and deviation 1; a band that is constant in
training only needs to stay finite.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dl101 import mfcc
from dl101.lab.checks import Exercise, NotAccepted, ask

SAME_ANSWER = "Your function gives the same result for different input: does it use its arguments?"
TOLERANCE = 1e-5
Mistakes = Sequence[tuple[Callable[..., Any], str]]


def _asked(answer: object, case: tuple, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Return the array that the student's function gives, of the right shape."""
    result = ask(answer, *case)
    try:
        array = np.asarray(result, dtype=np.float64)
    except (TypeError, ValueError):
        raise NotAccepted(
            f"The function returns a {type(result).__name__}; numbers of shape {shape} are asked."
        ) from None
    if array.shape == shape:
        return array
    if array.shape == shape[::-1]:
        raise NotAccepted(f"The result is transposed: {array.shape} where {shape} is asked.")
    raise NotAccepted(f"The result has shape {array.shape}; asked is {shape}.")


def _close(ours: Any, theirs: Any) -> bool:
    """Return whether two answers, arrays or pairs of arrays, agree."""
    if isinstance(ours, tuple):
        return all(_close(a, b) for a, b in zip(ours, theirs, strict=True))
    ours, theirs = np.asarray(ours, float), np.asarray(theirs, float)
    scale = max(1e-12, float(np.max(np.abs(ours), where=np.isfinite(ours), initial=0.0)))
    return ours.shape == theirs.shape and bool(
        np.allclose(ours, theirs, rtol=TOLERANCE, atol=TOLERANCE * scale, equal_nan=True)
    )


def _refuse(cases: Sequence[tuple], got: Sequence[Any], mistakes: Mistakes, otherwise: str) -> None:
    """Raise the hint of the mistake that explains all answers, or the general one."""
    for model, hint in mistakes:
        with np.errstate(all="ignore"):
            if all(_close(model(*case), mine) for case, mine in zip(cases, got, strict=True)):
                raise NotAccepted(hint)
    if all(_close(got[0], mine) for mine in got[1:]):
        raise NotAccepted(SAME_ANSWER)
    raise NotAccepted(otherwise)


# ---- 1: from magnitudes to log-mel --------------------------------------------------------------

LOG_MEL_MISTAKES: Mistakes = (
    (
        lambda m, f, c: np.log1p(c * (f @ m)),
        (
            "You pass the magnitudes through the filters. The powers of partials add up in a band, "
            "magnitudes do not: square them first."
        ),
    ),
    (
        lambda m, f, c: np.log1p(c * (f @ m) ** 2),
        (
            "You square after the filters. Add powers, not magnitudes: square each bin first, "
            "then sum over the band."
        ),
    ),
    (
        lambda m, f, c: f @ np.log1p(c * m**2),
        (
            "You take the logarithm of every bin and then average over the band. The order is: "
            "power, filters, logarithm."
        ),
    ),
    (
        lambda m, f, c: c * np.log1p(f @ m**2),
        (
            "C stands outside the logarithm, where it only stretches the result, which any "
            "normalisation undoes. Inside, C x, it decides where the curve bends."
        ),
    ),
    (
        lambda m, f, c: np.log1p(f @ m**2),
        "C is missing: the result is log(1 + x), which leaves soft sounds almost linear.",
    ),
    (
        lambda m, f, c: np.log(c + f @ m**2),
        "C is added where 1 should be, and 1 multiplies where C should: log(1 + C x).",
    ),
    (
        lambda m, f, c: np.log(c * (f @ m**2)),
        "The 1 is missing: log(C x) goes to minus infinity where it is silent. Use log(1 + C x).",
    ),
    (
        lambda m, f, c: np.log10(1 + c * (f @ m**2)),
        "This is the logarithm to base 10; the chapter's is the natural one (np.log, np.log1p).",
    ),
    (
        lambda m, f, c: 10 * np.log10(1 + c * (f @ m**2)),
        "These are decibels (10 log10): the chapter's feature is the natural logarithm of 1 + C x.",
    ),
    (
        lambda m, f, c: 20 * np.log10(1 + c * (f @ m**2)),
        (
            "20 log10 is for amplitudes, and this is a power; and the chapter's feature is the "
            "natural logarithm."
        ),
    ),
    (
        lambda m, f, c: f @ m**2,
        "These are the mel powers, and right. The logarithm is missing: log(1 + C x).",
    ),
)


def _grade_log_mel(answer: object) -> str:
    cases = []
    for index, strength in enumerate((1e4, 50.0, 3.0)):
        rng = np.random.default_rng([101, 1, index])
        filters = mfcc.mel_filters(22050, n_bands=12 + index, window_samples=256)
        magnitude = rng.exponential(size=(129, 5 + index)) * np.geomspace(3, 0.01, 129)[:, None]
        magnitude[:, 0] = 0.0  # silence, where log(0) would show
        cases.append((magnitude, filters, strength))
    got = [_asked(answer, c, (c[1].shape[0], c[0].shape[1])) for c in cases]
    if all(_close(mfcc.compress(f @ m**2, c), g) for (m, f, c), g in zip(cases, got, strict=True)):
        return "Square, sum over the band, compress: in this order, and finite in silence."
    _refuse(
        cases,
        got,
        LOG_MEL_MISTAKES,
        "In a hidden case the values differ. Square the magnitudes, multiply by the filters (@), "
        "then take log(1 + C x).",
    )
    raise AssertionError("refused above")


# ---- 2: the C that undoes a gain ----------------------------------------------------------------

STRENGTH_MISTAKES: Mistakes = (
    (
        lambda c, g: c / 10 ** (g / 20),
        (
            "You divide by 10 ** (gain_db / 20), the factor of amplitudes. x is a power: 20 dB "
            "make it 100 times as large, so divide by 10 ** (gain_db / 10)."
        ),
    ),
    (
        lambda c, g: c * 10 ** (g / 10),
        (
            "The wrong way round: louder recordings have larger x, so that C x stays the same only "
            "if C becomes smaller."
        ),
    ),
    (
        lambda c, g: c * 10 ** (g / 20),
        (
            "Twice off: C must become smaller when x becomes larger, and decibels of a power are "
            "divided by 10, not 20."
        ),
    ),
    (
        lambda c, g: c / np.exp(g / 10),
        "Decibels count powers of ten, not of e: the factor is 10 ** (gain_db / 10).",
    ),
    (
        lambda c, g: c - g,
        "A gain in dB is a factor, not a difference: C has to be divided by it.",
    ),
    (
        lambda c, g: c / g,
        "You divide by the decibels themselves. 20 dB are a factor of 100 in power, not of 20.",
    ),
    (
        lambda c, g: c,
        (
            "C stays the same? Then log(1 + C x) differs: 1 + C x does not simply shift when x is "
            "multiplied. Look for C' with C' x' = C x."
        ),
    ),
    (
        lambda c, g: 10 ** (g / 10),
        "This is by how much x grows. The C that undoes it is C divided by this.",
    ),
)


def _grade_strength(answer: object) -> str:
    cases = [(1e4, 20.0), (1e4, -10.0), (100.0, 6.0), (7.0, 33.0)]
    got = [_asked(answer, case, ()) for case in cases]
    if all(_close(c / 10 ** (g / 10), mine) for (c, g), mine in zip(cases, got, strict=True)):
        return (
            "x grows by 10 ** (gain_db / 10), so C shrinks by as much, and C x stays what it was."
        )
    _refuse(
        cases,
        got,
        STRENGTH_MISTAKES,
        f"For C = 10000 and 20 dB the answer is 100, yours {float(got[0]):g}. Write C' x' = C x.",
    )
    raise AssertionError("refused above")


# ---- 3: MFCC without the level ------------------------------------------------------------------


def _sum(y: NDArray, rows: range, *, half: float = 0.5, kind: Callable = np.cos) -> NDArray:
    """Return orthonormally scaled sums over bands, or what a misreading makes of them."""
    n_bands = y.shape[0]
    b, n = np.arange(n_bands), np.array(rows)[:, np.newaxis]
    scale = np.where(n == 0, np.sqrt(1 / n_bands), np.sqrt(2 / n_bands))
    return scale * kind(np.pi * n * (b + half) / n_bands) @ y


SHAPE_MISTAKES: Mistakes = (
    (
        lambda y, k: _sum(y, range(k)),
        (
            "Your first row is coefficient 0, the mean over all bands: it says how loud the frame "
            "is. Leave it out and return the coefficients 1 to n."
        ),
    ),
    (
        lambda y, k: np.concatenate([np.zeros((1, y.shape[1])), _sum(y, range(1, k))]),
        "Coefficient 0 is set to zero but still there: leave its row out.",
    ),
    (
        lambda y, k: _sum(y, range(2, k + 2)),
        "You left out one too many: the first row should be coefficient 1 (half a period).",
    ),
    (
        lambda y, k: _sum(np.exp(y), range(1, k + 1)),
        "You undo the logarithm first. MFCC are the transform of the compressed values.",
    ),
    (
        lambda y, k: _sum(np.log(y), range(1, k + 1)),
        "You take a second logarithm: log_mel is compressed already.",
    ),
    (
        lambda y, k: _sum(y, range(1, k + 1), half=0.0),
        "The half is missing: band b stands at b + 1/2, in the middle of its interval.",
    ),
    (
        lambda y, k: _sum(y, range(1, k + 1), kind=np.sin),
        "These are sines. A sine is zero at the lowest edge; MFCC use cosines.",
    ),
    (
        lambda y, k: _sum(y[::-1], range(1, k + 1)),
        "The bands are upside down: every other coefficient has the wrong sign.",
    ),
    (
        lambda y, k: 2 * _sum(y, range(1, k + 1)) / np.sqrt(2 / y.shape[0]),
        "The scale is SciPy's default, a sum times 2. Ask for orthonormal rows (norm='ortho').",
    ),
    (
        lambda y, k: _sum(y, range(1, k + 1)) / np.sqrt(2 / y.shape[0]),
        "The scale is missing: multiply by sqrt(2 / B), with B bands.",
    ),
    (
        lambda y, k: _sum(y, range(1, k + 1)) / np.sqrt(2),
        "The scale sqrt(1 / B) belongs to coefficient 0 alone; the others have sqrt(2 / B).",
    ),
    *(
        (
            lambda y, k, start=start: _sum(y.T, range(y.shape[1])).T[start : start + k],
            (
                "You transform along time, the last axis: that says how the loudness of a band "
                "changes. Transform along bands: axis=0."
            ),
        )
        for start in (0, 1)
    ),
)


def _grade_shape(answer: object) -> str:
    rng = np.random.default_rng([101, 3])
    cases = [(rng.uniform(1, 9, (b, t)), k) for b, t, k in ((40, 33, 12), (24, 30, 5), (64, 64, 9))]
    got = []
    for y, k in cases:
        result = ask(answer, y, k)
        shape = np.shape(result)
        if shape == (y.shape[0], k):
            raise NotAccepted(
                "One row per band and one column per coefficient: you transform along time. "
                "Transform along bands (axis=0)."
            )
        if shape in ((k - 1, y.shape[1]), (k + 1, y.shape[1])):
            raise NotAccepted(
                f"{shape[0]} rows where {k} are asked: coefficients 1 to n_coefficients, both "
                "included, and without coefficient 0."
            )
        got.append(_asked(lambda *_, result=result: result, (), (k, y.shape[1])))
    if all(_close(mfcc.mfcc(y, k + 1)[1:], mine) for (y, k), mine in zip(cases, got, strict=True)):
        return "The shape of the spectrum without its level: coefficients 1 to n."
    _refuse(
        cases,
        got,
        SHAPE_MISTAKES,
        "In a hidden case the values differ. Coefficient n is sqrt(2 / B) times the sum over b of "
        "y[b] cos(pi n (b + 1/2) / B).",
    )
    raise AssertionError("refused above")


# ---- 4: normalisation with the training side's numbers ------------------------------------------


def _scaled(mean: Callable[..., Any], deviation: Callable[..., Any]) -> Callable[..., tuple]:
    """Return a model of an answer from the shift and scale it takes for (a side, both sides)."""

    def model(train: NDArray, test: NDArray) -> tuple:
        both = np.concatenate([train, test])
        return tuple(
            (side - mean(side, train, both)) / deviation(side, train, both)
            for side in (train, test)
        )

    return model


def _over(axis: tuple[int, ...] | None, which: str, of: Callable = np.mean) -> Callable[..., Any]:
    def figure(side: NDArray, train: NDArray, both: NDArray) -> Any:
        return of({"side": side, "train": train, "both": both}[which], axis=axis, keepdims=True)

    return figure


BAND = (0, 2)  # tracks and frames: what remains is the band
_right_sides = _scaled(_over(BAND, "train"), _over(BAND, "train", np.std))


def _one(*_: Any) -> float:
    return 1.0


NORMALISE_MISTAKES: Mistakes = (
    (
        _scaled(_over(BAND, "side"), _over(BAND, "side", np.std)),
        (
            "The test side is normalised with its own mean and deviation. A test set must not set "
            "anything; and a single recording, heard later, would have no set to measure."
        ),
    ),
    (
        _scaled(_over(BAND, "both"), _over(BAND, "both", np.std)),
        "Mean and deviation come from training and test together: the test side leaks in.",
    ),
    (
        _scaled(_over(None, "train"), _over(None, "train", np.std)),
        (
            "One mean and deviation for the whole corpus. Here every band gets its own: average "
            "over tracks and frames, axes 0 and 2."
        ),
    ),
    (
        _scaled(_over((2,), "side"), _over((2,), "side", np.std)),
        (
            "Every track is normalised by itself (over its frames). That forgets level and timbre "
            "of the track, which may be what is asked; take the training side's numbers."
        ),
    ),
    (
        _scaled(_over((1,), "side"), _over((1,), "side", np.std)),
        "You normalise every frame over its bands. A band's mean goes over tracks and frames.",
    ),
    (
        _scaled(_over((0,), "train"), _over((0,), "train", np.std)),
        (
            "Every frame number has a mean of its own (axis 0 alone), as if the third frame of all "
            "tracks had something in common. Average over frames too: axes 0 and 2."
        ),
    ),
    (
        _scaled(_over(BAND, "train"), _one),
        "The mean is right; the division by the deviation is missing.",
    ),
    (
        _scaled(lambda *_: 0.0, _over(BAND, "train", np.std)),
        "The deviation is right, but the mean is not subtracted.",
    ),
    (
        _scaled(_over(BAND, "train"), _over(BAND, "train", np.var)),
        "You divide by the variance; the deviation is its root.",
    ),
    (
        _scaled(_over(BAND, "train", np.min), _over(BAND, "train", np.ptp)),
        "You map to 0 ... 1 by smallest and largest value: one odd frame then sets the scale.",
    ),
)


def _asked_sides(answer: object, train: NDArray, test: NDArray) -> tuple[NDArray, NDArray]:
    result = ask(answer, train, test)
    try:
        of_train, of_test = (np.asarray(side, dtype=np.float64) for side in result)
    except (TypeError, ValueError):
        raise NotAccepted("Return two arrays: the training side and the test side.") from None
    if of_train.shape != train.shape or of_test.shape != test.shape:
        raise NotAccepted(
            f"The sides come back as {of_train.shape} and {of_test.shape}; they should keep their "
            f"shapes {train.shape} and {test.shape}, training first."
        )
    return of_train, of_test


def _grade_normalise(answer: object) -> str:
    cases = []
    for index in range(3):
        rng = np.random.default_rng([101, 4, index])
        scale, offset = rng.uniform(0.5, 4, (2, 1, 6, 1))
        train = offset + scale * rng.exponential(size=(8, 6, 40)) * rng.uniform(0.5, 2, (8, 1, 1))
        test = 1.5 + 0.6 * offset + 2 * scale * rng.exponential(size=(5, 6, 40))
        cases.append((train, test))
    got = [_asked_sides(answer, *case) for case in cases]
    unbiased = np.sqrt(1 - 1 / cases[0][0][:, 0].size)  # ddof=1 is as good
    right = [_right_sides(*case) for case in cases]
    fits = [
        _close(r, mine) or _close(tuple(side * unbiased for side in r), mine)
        for r, mine in zip(right, got, strict=True)
    ]
    if not all(fits):
        # a small constant under the root or the deviation is a sensible guard, not a mistake
        guarded = all(
            np.allclose(a, b, rtol=1e-2, atol=1e-2)
            for r, mine in zip(right, got, strict=True)
            for a, b in zip(r, mine, strict=True)
        )
        if not guarded:
            _refuse(
                cases,
                got,
                NORMALISE_MISTAKES,
                "In a hidden case the values differ. For each band: the mean and the deviation "
                "over tracks and frames of the training side, applied to both sides.",
            )
    train, test = (side.copy() for side in cases[0])
    train[:, 2] = 0.0  # a band above the range of all microphones
    test[:, 2] = 0.0
    dead = _asked_sides(answer, train, test)
    if not all(np.isfinite(side).all() for side in dead):
        raise NotAccepted(
            "A band that is silent in all of training has deviation 0, and you divide by it: one "
            "NaN is enough to spoil a training. Add a small number to the deviation."
        )
    return "Each band has mean 0 and deviation 1 on training; the test side had no say in it."


EXERCISES: Mapping[str, Exercise] = {
    "log_mel.1": Exercise(
        "from magnitudes to log-mel",
        _grade_log_mel,
        minutes=10,
        rubric={"powers are summed over bands": 1, "log(1 + C x), natural, C inside": 1},
    ),
    "log_mel.2": Exercise(
        "the C that undoes a gain",
        _grade_strength,
        minutes=10,
        rubric={
            "decibels of a power: a factor of 10 ** (dB / 10)": 1,
            "only the product C x counts": 1,
        },
    ),
    "log_mel.3": Exercise(
        "MFCC without the level",
        _grade_shape,
        minutes=20,
        rubric={"DCT-II with orthonormal rows, along bands": 1, "coefficient 0 is left out": 1},
    ),
    "log_mel.4": Exercise(
        "normalise each band",
        _grade_normalise,
        minutes=15,
        rubric={
            "mean and deviation of each band over tracks and frames": 1,
            "from the training side alone, applied to both": 1,
            "a silent band stays finite": 1,
        },
    ),
}
