"""The exercises of the chapter on generative modelling."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from dl101.lab.exercise import Exercise, Function

LOG_2_PI = float(np.log(2 * np.pi))

# ---- 1: a change of variables --------------------------------------------------------------------


def _coupled(
    *,
    back: Callable[..., NDArray] = lambda y, shift, log_scale: (y - shift) * np.exp(-log_scale),
    determinant: Callable[[NDArray], NDArray | float] = lambda log_scale: -log_scale,
    constant: float = LOG_2_PI,
    half: float = 0.5,
    first: float = 1.0,
    over: Callable[[NDArray], NDArray] = lambda rows: rows,
) -> Callable[..., NDArray]:
    """Return the right function (the defaults) or one that goes wrong somewhere."""

    def answer(x: NDArray, shift: NDArray, log_scale: NDArray) -> NDArray:
        z = back(x[:, 1], shift, log_scale)
        log_normal = -half * (first * x[:, 0] ** 2 + z**2) - constant
        return over(log_normal + determinant(log_scale))

    return answer


def _rows() -> list[tuple]:
    rng = np.random.default_rng([191, 1])
    cases: list[tuple] = [(np.array([[0.0, 2.0]]), np.array([1.0]), np.array([0.5]))]
    for n in (3, 5, 8):
        cases.append((rng.standard_normal((n, 2)), *rng.uniform(-1.2, 1.2, (2, n))))
    return cases


COUPLING = Function(
    title="a change of variables",
    minutes=15,
    rubric={
        "the second number goes back to the noise: shift taken away, then the scale": 1,
        "the density of both noise numbers is the normal one, with its constant": 1,
        "the logarithm of the scale is taken away once for each row: the determinant": 1,
    },
    right=_coupled(),
    cases=_rows,
    returns="the log-density of each row, (row,)",
    mistakes={
        "The determinant is missing: you return the density of the noise that a row comes from. "
        "Where a row was stretched, the same noise covers more space, and its density is lower.": (
            _coupled(determinant=lambda log_scale: 0.0)
        ),
        "The determinant has the wrong sign. Making a row multiplies by the scale; that spreads "
        "points out, and a density that is spread out is lower.": (
            _coupled(determinant=lambda log_scale: log_scale)
        ),
        "You take the scale itself away; a density is divided by the scale, so its logarithm loses "
        "the *logarithm* of the scale.": _coupled(determinant=lambda log_scale: -np.exp(log_scale)),
        "You take the determinant away twice, once for each number. The first number stays as it "
        "is; its scale is 1.": _coupled(determinant=lambda log_scale: -2 * log_scale),
        "You go the way from noise to rows. For a density a row has to go back to the noise.": (
            _coupled(back=lambda y, shift, log_scale: y * np.exp(log_scale) + shift)
        ),
        "You divide by the scale before the shift is taken away. Making a row scales first and "
        "shifts then, so going back undoes the shift first.": (
            _coupled(back=lambda y, shift, log_scale: y * np.exp(-log_scale) - shift)
        ),
        "You divide by the logarithm of the scale; the scale is its exponential.": (
            _coupled(back=lambda y, shift, log_scale: (y - shift) / log_scale)
        ),
        "The shift is not taken away.": (
            _coupled(back=lambda y, shift, log_scale: y * np.exp(-log_scale))
        ),
        "The second number is not divided by the scale: only the determinant knows of it.": (
            _coupled(back=lambda y, shift, log_scale: y - shift)
        ),
        "The constant of the normal density is missing: log(2 pi) for two numbers.": (
            _coupled(constant=0.0)
        ),
        "The constant is that of one number; there are two.": _coupled(constant=0.5 * LOG_2_PI),
        "The half in the exponent of the normal density is missing.": _coupled(half=1.0),
        "The first number is left out. It stays as it is, but it is noise with a density, too.": (
            _coupled(first=0.0)
        ),
        "The first number is left out, with its constant. It stays as it is, but it is noise with "
        "a density, too.": _coupled(first=0.0, constant=0.5 * LOG_2_PI),
        "You return the density; asked is its logarithm.": _coupled(over=np.exp),
        "You return one number for all rows, their mean; each row has a log-density of its own.": (
            _coupled(over=lambda rows: np.full_like(rows, rows.mean()))
        ),
    },
    differs=(
        "With x = {0}, shift = {1} and log_scale = {2}, the log-density at {at} should be "
        "{right:.4f}; yours is {got:.4f}."
    ),
    praise="With its determinant, what was stretched is thinner, and all of it still sums to 1.",
)

# ---- 2: a divergence in both directions ----------------------------------------------------------

Two = tuple[float, float]


def _sum(p: NDArray, q: NDArray, term: Callable[[NDArray, NDArray], NDArray]) -> float:
    """Return the sum of a term over the places where p is not 0; infinite where q is 0 there."""
    seen = p > 0
    if np.any(q[seen] == 0):
        return np.inf
    return float(term(p[seen], q[seen]).sum())


def kl(p: NDArray, q: NDArray) -> float:
    """Return KL(p || q) in nats."""
    return _sum(p, q, lambda p, q: p * np.log(p / q))


def _both(one: Callable[[NDArray, NDArray], float], *, swapped: bool = False) -> Callable[..., Two]:
    def answer(p: NDArray, q: NDArray) -> Two:
        found = one(p, q), one(q, p)
        return found[::-1] if swapped else found

    return answer


def _distributions() -> list[tuple]:
    rng = np.random.default_rng([191, 2])
    cases: list[tuple] = [
        (np.array([0.5, 0.5, 0.0]), np.array([0.25, 0.25, 0.5])),
        (np.array([0.2, 0.3, 0.5]), np.array([0.0, 0.4, 0.6])),
    ]
    for n in (3, 5, 9):
        p, q = rng.dirichlet(np.ones(n), 2)
        cases.append((p, q))
    return cases


def _by_nansum(p: NDArray, q: NDArray) -> float:
    with np.errstate(all="ignore"):
        terms = p * np.log(p / q)
    return float(terms[np.isfinite(terms)].sum())


DIVERGENCES = Function(
    title="two divergences",
    minutes=15,
    rubric={
        "forward: weighted by the data p, of log p - log q; reverse: p and q exchanged": 1,
        "where the weight is 0 nothing is added": 1,
        "infinite where the weight is above 0 and the other distribution is 0": 1,
    },
    right=_both(kl),
    cases=_distributions,
    returns="two numbers, the forward and the reverse divergence",
    names=("forward", "reverse"),
    mistakes={
        "The sign is wrong: a KL divergence is never negative. It is log p - log q, weighted by p; "
        "who minimises yours drives q away from p.": _both(lambda p, q: -kl(p, q)),
        "The two are exchanged: forward is weighted by the data, p.": _both(kl, swapped=True),
        "The weight is that of the other distribution: log p - log q belongs to p.": (
            _both(lambda p, q: -kl(q, p))
        ),
        "You return bits: take the natural logarithm.": _both(lambda p, q: kl(p, q) / np.log(2)),
        "You take the mean over the places; a divergence is a sum, for the weights are "
        "probabilities already.": _both(lambda p, q: kl(p, q) / len(p)),
        "Both of yours are the mean of the two directions. They are two questions with two "
        "answers.": _both(lambda p, q: (kl(p, q) + kl(q, p)) / 2),
        "This is the cross-entropy, minus the sum of p log q. The entropy of p is still in it; "
        "take log p as well.": _both(lambda p, q: _sum(p, q, lambda p, q: -p * np.log(q))),
        "The weight is missing: the logarithms count as often as p says.": (
            _both(lambda p, q: _sum(p, q, lambda p, q: np.log(p / q)))
        ),
        "You leave out every place where one of the two is 0. Where the *weight* is 0 nothing is "
        "added; where only the other is 0, the divergence is infinite, and that is what makes one "
        "direction cover everything.": _both(_by_nansum),
        "You put a tiny number in place of a 0. What should be infinite is then merely large, and "
        "depends on your tiny number.": _both(
            lambda p, q: float(np.sum(p * (np.log(p + 1e-12) - np.log(q + 1e-12))))
        ),
    },
    differs="With p = {0} and q = {1}, number {at} should be {right:.4f}; yours is {got:.4f}.",
    praise="One punishes what is missed, the other what is invented.",
)

# ---- 3: a temperature for a density --------------------------------------------------------------


def _tempered(
    *,
    power: Callable[[float], float] = lambda t: 1 / t,
    norm: Callable[[NDArray, float], float] = lambda d, cell: d.sum() * cell,
) -> Callable[..., NDArray]:
    def answer(density: NDArray, temperature: float, cell: float) -> NDArray:
        hot = density ** power(temperature)
        return hot / norm(hot, cell)

    return answer


def _bells() -> list[tuple]:
    cases = []
    for n, temperature, cell in ((5, 0.5, 0.8), (40, 2.0, 0.2), (60, 0.7, 0.1), (30, 4.0, 0.25)):
        x = (np.arange(n) - n / 2) * cell
        two = 0.7 * np.exp(-0.5 * (x + 1) ** 2) + 0.3 * np.exp(-2 * (x - 1.5) ** 2)
        cases.append((two / (two.sum() * cell), temperature, cell))
    return cases


TEMPERED = Function(
    title="a temperature for a density",
    minutes=10,
    rubric={
        "the density to the power of one over the temperature": 1,
        "divided by its sum times the size of a cell, so that it integrates to 1": 1,
    },
    right=_tempered(),
    cases=_bells,
    returns="a density on the same grid, (cell,)",
    mistakes={
        "It does not integrate to 1: a power of a density is none until it is divided by its "
        "integral.": _tempered(norm=lambda d, cell: 1.0),
        "You divide by the sum. That makes the probabilities of cells; a density is that over the "
        "size of a cell.": _tempered(norm=lambda d, cell: d.sum()),
        "Cold and hot are exchanged: a low temperature must make high places higher, so the power "
        "is one over the temperature.": _tempered(power=lambda t: t),
        "You divide the density by the temperature, and then normalise: that changes nothing. The "
        "temperature divides the *logarithm*, which makes a power.": _tempered(power=lambda t: 1.0),
        "You multiply by the size of a cell. The integral is the sum times that size, and you "
        "divide by it.": _tempered(norm=lambda d, cell: d.sum() / cell),
        "You divide by the mean: the size of a cell is missing from the integral, and the number "
        "of cells has no place in it.": _tempered(norm=lambda d, cell: d.mean()),
        "You integrate by trapezoids, from the first value to the last. Here each value stands for "
        "a whole cell: the integral is the sum times the size of a cell.": (
            _tempered(norm=lambda d, cell: (d.sum() - (d[0] + d[-1]) / 2) * cell)
        ),
        "The highest value is 1, not the integral.": _tempered(norm=lambda d, cell: d.max()),
        "The power is one minus the temperature's logarithm or the like: it has to be 1 at a "
        "temperature of 1 and one half at 2.": _tempered(power=lambda t: 1 - np.log(t)),
        "The power is one over the square of the temperature: so it would be if noise were scaled "
        "by the temperature and the density a bell. Asked is one over the temperature.": (
            _tempered(power=lambda t: 1 / t**2)
        ),
        "You take the power, but of a softmax of the density: the density is no logarithm.": (
            lambda density, temperature, cell: (
                np.exp(density / temperature) / (np.exp(density / temperature).sum() * cell)
            )
        ),
    },
    differs=(
        "At a temperature of {1:g} and cells of {2:g}, the density at {at} should be {right:.4f}; "
        "yours is {got:.4f}."
    ),
    praise="Cold: the likely becomes likelier, and the rare is lost. Hot: the other way round.",
)

EXERCISES: Mapping[str, Exercise] = {
    "generative_models.1": COUPLING,
    "generative_models.2": DIVERGENCES,
    "generative_models.3": TEMPERED,
}
