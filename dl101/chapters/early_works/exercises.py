"""The exercises of the chapter on early works."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from dl101.lab.exercise import Exercise, Function

# ---- 1: mu-law and back ------------------------------------------------------------------------

Pair = tuple[NDArray, NDArray]


def _squeeze(x: NDArray, mu: float) -> NDArray:
    return np.sign(x) * np.log(1 + mu * np.abs(x)) / np.log(1 + mu)


def _stretch(y: NDArray, mu: float) -> NDArray:
    return np.sign(y) * ((1 + mu) ** np.abs(y) - 1) / mu


def _mu_law(
    *,
    mu: float = 255.0,
    squeeze: Callable[[NDArray, float], NDArray] = _squeeze,
    stretch: Callable[[NDArray, float], NDArray] = _stretch,
    to_codes: Callable[[NDArray, float], NDArray] = lambda y, mu: np.floor((y + 1) / 2 * mu + 0.5),
    from_codes: Callable[[NDArray, float], NDArray] = lambda c, mu: 2 * c / mu - 1,
    swapped: bool = False,
) -> Callable[[NDArray], Pair]:
    """Return the right function (the defaults) or one that differs in a part."""

    def answer(x: NDArray) -> Pair:
        codes = to_codes(squeeze(x, mu), mu)
        samples = stretch(from_codes(codes, mu), mu)
        return (samples, codes) if swapped else (codes, samples)

    return answer


def _in_eight_bits(x: NDArray) -> Pair:
    codes = _mu_law()(x)[0].astype(np.uint8)
    return codes, _stretch(2 * codes / 255 - 1, 255.0)


def _waves() -> list[tuple[NDArray]]:
    rng = np.random.default_rng([19, 1])
    return [
        (np.array([0.0, 0.02, -0.02, 0.5, -0.5, 1.0, -1.0]),),
        (rng.uniform(-1, 1, 40),),
        (0.05 * rng.standard_normal(60),),
    ]


MU_LAW = Function(
    title="mu-law, there and back",
    minutes=15,
    rubric={
        "the range is squeezed by a logarithm, for both signs alike": 1,
        "the squeezed values are rounded to whole codes from 0 to 255": 1,
        "the way back stretches what the codes stand for by the inverse": 1,
    },
    right=_mu_law(),
    cases=_waves,
    returns="two arrays (time,), codes and samples",
    names=("codes", "samples"),
    atol=1e-7,
    mistakes={
        "mu is 255, one less than the number of codes; you took 256.": _mu_law(mu=256.0),
        "The range is not squeezed: your codes are evenly spaced.": (
            _mu_law(squeeze=lambda x, mu: x, stretch=lambda y, mu: y)
        ),
        "You squeeze, but on the way back you don't stretch: every sample is too loud.": (
            _mu_law(stretch=lambda y, mu: y)
        ),
        "The way back squeezes a second time; it takes the inverse, a power of 1 + mu.": (
            _mu_law(stretch=_squeeze)
        ),
        "You cut the fraction off. Round to the nearest code: add a half first.": (
            _mu_law(to_codes=lambda y, mu: np.floor((y + 1) / 2 * mu))
        ),
        "Your codes are not whole numbers: round them, or nothing is saved.": (
            _mu_law(to_codes=lambda y, mu: (y + 1) / 2 * mu)
        ),
        "Your codes start below zero. They are to count from 0 to 255: shift the squeezed range "
        "from -1..1 to 0..1 first.": (
            _mu_law(
                to_codes=lambda y, mu: np.round(y * mu / 2), from_codes=lambda c, mu: 2 * c / mu
            )
        ),
        "The sign is lost on the way there: -x gets the code of x.": (
            _mu_law(squeeze=lambda x, mu: np.log(1 + mu * np.abs(x)) / np.log(1 + mu))
        ),
        "The sign is lost on the way back: all samples are positive.": (
            _mu_law(stretch=lambda y, mu: ((1 + mu) ** np.abs(y) - 1) / mu)
        ),
        "On the way back the 1 that was added inside the logarithm has to be taken away again.": (
            _mu_law(stretch=lambda y, mu: np.sign(y) * (1 + mu) ** np.abs(y) / mu)
        ),
        "On the way back the division by mu is missing: full scale should come back as 1.": (
            _mu_law(stretch=lambda y, mu: np.sign(y) * ((1 + mu) ** np.abs(y) - 1))
        ),
        "The squeezed range is not divided by ln(1 + mu): full scale should become 1.": (
            _mu_law(squeeze=lambda x, mu: np.sign(x) * np.log(1 + mu * np.abs(x)))
        ),
        "You take the codes there for codes of 256 steps on the way back: divide by 255.": (
            _mu_law(from_codes=lambda c, mu: 2 * c / 256 - 1)
        ),
        "From code 0 to code 255 there are 255 steps, not 256: scale by 255, then round.": (
            _mu_law(to_codes=lambda y, mu: np.minimum(np.floor((y + 1) / 2 * 256), 255))
        ),
        "You divide by ln(mu), not by ln(1 + mu): full scale should become 1.": (
            _mu_law(squeeze=lambda x, mu: np.sign(x) * np.log(1 + mu * np.abs(x)) / np.log(mu))
        ),
        "You return x as it was. The second result is what the codes stand for: decode them.": (
            lambda x: (_mu_law()(x)[0], x)
        ),
        "2 * code overflows: 8 bits hold no number above 255. Make the codes int64 or floats.": (
            _in_eight_bits
        ),
        "The two results are in the other order: the codes come first.": _mu_law(swapped=True),
    },
    differs="For one sound of hidden cases, {at} of (codes, samples) should be {right:.4f}; yours "
    "is {got:.4f}.",
    praise="256 steps, fine where sounds are soft.",
)

# ---- 2: who depends on whom ---------------------------------------------------------------------


def _sums(dilations: Sequence[int]) -> set[int]:
    """Return all distances that a way through layers with two taps can span."""
    found = {0}
    for d in dilations:
        found |= {distance + d for distance in found}
    return found


def _matrix(distances: set[int], n: int) -> NDArray[np.bool_]:
    distance = np.arange(n)[:, None] - np.arange(n)[None, :]
    return np.isin(distance, sorted(distances))


def _depends(dilations: Sequence[int], n: int) -> NDArray[np.bool_]:
    return _matrix({d + 1 for d in _sums(dilations)}, n)


def _ways(dilations: Sequence[int], n: int) -> NDArray[np.float64]:
    """Return the number of ways through the layers, not whether there is one."""
    ways = np.eye(n, k=-1)
    for d in dilations:
        ways = ways + np.eye(n, k=-d) @ ways
    return ways


DEPENDS = Function(
    title="who depends on whom",
    minutes=20,
    rubric={
        "no code depends on itself or on a later one: the input is moved by one": 1,
        "each layer adds its dilation or nothing, so the distances are sums": 1,
        "gaps are seen where the dilations leave some": 1,
    },
    right=_depends,
    cases=lambda: [((1,), 4), ((1, 2), 8), ((2,), 6), ((1, 2, 4), 14), ((1, 4), 12), ((3, 3), 12)],
    returns="a matrix (n, n) of True and False",
    mistakes={
        "Off by one: your code at t sees itself. In training that is perfect, the network copies "
        "its input; in generation there is nothing to copy yet.": (
            lambda dilations, n: _matrix(_sums(dilations), n)
        ),
        "Off by one to the other side: the code just before is never seen.": (
            lambda dilations, n: _matrix({d + 2 for d in _sums(dilations)}, n)
        ),
        "The matrix is turned around: rows are the codes that are foreseen, columns those that "
        "are seen.": lambda dilations, n: _depends(dilations, n).T,
        "Everything before is seen in your matrix. The network sees no further than its "
        "dilations add up to.": lambda dilations, n: np.tri(n, n, -1, dtype=bool),
        "You fill the receptive field without gaps. With dilations that don't double from 1 on, "
        "some distances can't be reached.": lambda dilations, n: _matrix(
            set(range(1, sum(dilations) + 2)), n
        ),
        "You let a way take one layer's step at most. Steps of several layers add up.": (
            lambda dilations, n: _matrix({1, *(d + 1 for d in dilations)}, n)
        ),
        "You let every way take all steps. Each layer has two taps: now, and d earlier.": (
            lambda dilations, n: _matrix({sum(dilations) + 1}, n)
        ),
        "You cut the diagonal out instead of moving the input: your reach is one too short.": (
            lambda dilations, n: _matrix(_sums(dilations) - {0}, n)
        ),
        "You move the input of every layer; only that of the first is moved.": (
            lambda dilations, n: _matrix({d + len(dilations) for d in _sums(dilations)}, n)
        ),
        "You count the ways from s to t. Asked is whether there is one: compare with 0.": _ways,
        "Your layers look ahead as well as back.": lambda dilations, n: (
            _depends(dilations, n) | _depends(dilations, n).T
        ),
    },
    differs="With the dilations {0} and n = {1}, the place {at} should be {right}; yours is {got}.",
    praise="Nothing of the future, and as far back as the dilations add up to.",
)

# ---- 3: hot and cold ---------------------------------------------------------------------------

Drawn = tuple[NDArray, int]


def _softmax(z: NDArray) -> NDArray:
    e = np.exp(z - z.max())
    return e / e.sum()


def _first_above(p: NDArray, u: float) -> int:
    return int(np.argmax(np.cumsum(p) > u))


def _drawn(
    *,
    weights: Callable[[NDArray, float], NDArray] = lambda z, T: _softmax(z / T),
    choose: Callable[[NDArray, float], float] = _first_above,
    plain_choice: bool = False,
) -> Callable[[NDArray, float, float], tuple]:
    def answer(logits: NDArray, temperature: float, u: float) -> tuple:
        p = weights(logits, temperature)
        return p, choose(_softmax(logits) if plain_choice else p, u)

    return answer


def _logits() -> list[tuple[NDArray, float, float]]:
    rng = np.random.default_rng([19, 3])
    cases = [(np.array([2.0, 0.0, 1.0, 0.5]), 0.5, 0.95)]
    for n, temperature, u in ((6, 2.0, 0.31), (6, 0.7, 0.62), (9, 1.5, 0.9), (5, 0.3, 0.04)):
        cases.append((2 * rng.standard_normal(n), temperature, u))
    return cases


TEMPERATURE = Function(
    title="hot and cold",
    minutes=15,
    rubric={
        "the logits are divided by the temperature before the softmax": 1,
        "the probabilities are positive and sum to 1, however large the logits": 1,
        "a code is drawn with its probability: the first whose sum so far passes u": 1,
    },
    right=_drawn(),
    cases=_logits,
    returns="the probabilities, (code,), and the number of a code",
    names=("probabilities", "code"),
    mistakes={
        "You multiply by the temperature: then hot is cold. Divide.": (
            _drawn(weights=lambda z, T: _softmax(z * T))
        ),
        "The temperature does nothing. A softmax that is divided by it and made to sum to 1 again "
        "is what it was: divide the logits.": _drawn(weights=lambda z, T: _softmax(z)),
        "Your probabilities don't sum to 1: divide the logits by the temperature, not the "
        "probabilities.": _drawn(weights=lambda z, T: _softmax(z) / T),
        "You raise e to the logits, but don't make the result sum to 1.": (
            _drawn(weights=lambda z, T: np.exp(z / T))
        ),
        "Those are the logarithms of the probabilities.": _drawn(
            weights=lambda z, T: np.log(_softmax(z / T)),
            choose=lambda p, u: _first_above(np.exp(p), u),
        ),
        "You take the most probable code. That is temperature 0; here a code is drawn.": (
            _drawn(choose=lambda p, u: int(np.argmax(p)))
        ),
        "Your code is one too low: it is the first for which the sum, itself included, is above "
        "u.": _drawn(choose=lambda p, u: _first_above(p, u) - 1),
        "Your code is one too high: it is the first for which the sum, itself included, is above "
        "u.": _drawn(choose=lambda p, u: _first_above(p, u) + 1),
        "Your running sum leaves out the code's own probability: it is included.": (
            _drawn(choose=lambda p, u: int(np.argmax(np.cumsum(p) - p > u)))
        ),
        "The probabilities are right, but your code is drawn at temperature 1.": (
            _drawn(plain_choice=True)
        ),
        "You compare each probability with u. Compare their running sum.": (
            _drawn(choose=lambda p, u: int(np.argmax(p > u)))
        ),
        "You take u for a place among the codes. Then all codes are as likely.": (
            _drawn(choose=lambda p, u: int(u * len(p)))
        ),
    },
    edges={
        "With logits around 1000, e to the logits is no number any more. Take the largest away "
        "first: the softmax stays the same.": (
            (np.array([1000.0, 1001.0, 999.0]), 1.0, 0.5),
            lambda z, T, u: (np.exp(z / T) / np.exp(z / T).sum(), _first_above(_softmax(z / T), u)),
        ),
    },
    differs="With the logits {0}, temperature {1:g} and u = {2:g}, {at} of (probabilities, code) "
    "should be {right:.4f}; yours is {got:.4f}.",
    praise="The same logits, braver or more careful.",
)

EXERCISES: Mapping[str, Exercise] = {
    "early_works.1": MU_LAW,
    "early_works.2": DEPENDS,
    "early_works.3": TEMPERATURE,
}
