"""The exercises of the chapter on networks without training."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from dl101.lab.exercise import Exercise, Function

# ---- 1: statistics that do not leak --------------------------------------------------------------


def _scaled(
    *,
    mean_of: Callable[[NDArray, NDArray], NDArray] = lambda train, test: train,
    spread_of: Callable[[NDArray, NDArray], NDArray] = lambda train, test: train,
    given: Callable[[NDArray, NDArray], NDArray] = lambda train, test: test,
    axis: int | None = 0,
    centre: bool = True,
    spread: Callable[..., NDArray] = np.std,
    constant: float | None = 1.0,
) -> Callable[[NDArray, NDArray], NDArray]:
    """Return the right function (the defaults) or one that misunderstands a part."""

    def answer(train: NDArray, test: NDArray) -> NDArray:
        x = given(train, test)
        mean = mean_of(train, test).mean(axis=axis, keepdims=True)
        scale = spread(spread_of(train, test), axis=axis, keepdims=True)
        if constant is not None:
            scale = np.where(scale > 0, scale, constant)
        with np.errstate(divide="ignore", invalid="ignore"):
            return (x - (mean if centre else 0.0)) / scale

    return answer


def _both(train: NDArray, test: NDArray) -> NDArray:
    return np.concatenate([train, test])


def _row_by_row(train: NDArray, test: NDArray) -> NDArray:
    return _scaled(mean_of=lambda a, b: b, spread_of=lambda a, b: b, axis=1)(train, test)


def _between_ends(train: NDArray, test: NDArray) -> NDArray:
    low, high = train.min(axis=0), train.max(axis=0)
    return (test - low) / np.where(high > low, high - low, 1.0)


def _divided_first(train: NDArray, test: NDArray) -> NDArray:
    deviation = train.std(axis=0)
    return test / np.where(deviation > 0, deviation, 1.0) - train.mean(axis=0)


def _not_shifted_either(train: NDArray, test: NDArray) -> NDArray:
    return np.where(train.std(axis=0) > 0, _scaled()(train, test), test)


def _all_or_none(train: NDArray, test: NDArray) -> NDArray:
    deviation = train.std(axis=0)
    return (test - train.mean(axis=0)) / (deviation if np.all(deviation > 0) else 1.0)


def _sides() -> list[tuple]:
    rng = np.random.default_rng([20, 21])
    cases: list[tuple] = []
    for n_train, n_test, n, smallest, largest in (
        (5, 3, 2, 1, 9),
        (8, 4, 3, 0.2, 0.6),  # a deviation below 1 is one to divide by
        (12, 6, 4, 1, 9),
    ):
        scale, shift = rng.uniform(smallest, largest, n), rng.uniform(-20, 20, n)
        train = shift + scale * rng.standard_normal((n_train, n))
        test = shift + scale * (0.7 + 1.5 * rng.standard_normal((n_test, n)))
        cases.append((train.round(2), test.round(2)))
    return cases


def _constant() -> tuple[NDArray, NDArray]:
    rng = np.random.default_rng([20, 22])
    train, test = rng.standard_normal((6, 3)).round(2), rng.standard_normal((4, 3)).round(2)
    train[:, 1] = 0.5
    return train, test


STATISTICS = Function(
    title="statistics that do not leak",
    minutes=10,
    rubric={
        "mean and deviation are those of the training side alone": 1,
        "each number of the vector has its own": 1,
        "a number that never changes in training is shifted and not divided": 1,
    },
    right=_scaled(),
    cases=_sides,
    returns="an array of the shape of test",
    rtol=1e-4,  # single precision will do
    atol=1e-5,
    mistakes={
        "You take mean and deviation from the test side. Then what is said of one test item "
        "depends on the others, and with a single item nothing is left.": _scaled(
            mean_of=lambda a, b: b, spread_of=lambda a, b: b
        ),
        "You take the statistics of both sides together. The test side has a say in the scaling "
        "of what it is tested on: that is the leak.": _scaled(mean_of=_both, spread_of=_both),
        "The mean is from the training side, but your deviation is from the test side.": _scaled(
            spread_of=lambda a, b: b
        ),
        "The deviation is from the training side, but your mean is from the test side.": _scaled(
            mean_of=lambda a, b: b
        ),
        "One mean and one deviation for everything: numbers of a vector have different units, so "
        "each needs its own (axis=0).": _scaled(axis=None),
        "You scale each item by itself, along its numbers. Nothing leaks, but the numbers keep "
        "their different units.": _row_by_row,
        "You divide, but you do not take the mean away.": _scaled(centre=False),
        "You take the mean away, but you do not divide by the deviation.": _scaled(
            spread=lambda x, axis, keepdims: np.ones_like(x.mean(axis=axis, keepdims=keepdims))
        ),
        "You divide before you take the mean away, and the mean is not divided: first shift, then "
        "divide.": _divided_first,
        "You divide by the variance; the deviation is its square root.": _scaled(spread=np.var),
        "You bring the training side between 0 and 1. That depends on its two most extreme items; "
        "mean and deviation were asked for.": _between_ends,
        "This is the training side. Return the scaled test side.": _scaled(given=lambda a, b: a),
        "You never divide by less than 1. A deviation that is small, but not 0, is one to divide "
        "by.": _scaled(
            spread=lambda x, axis, keepdims: np.maximum(1, x.std(axis=axis, keepdims=keepdims))
        ),
        "Where a number never changes in training you leave the test as it is: it is not divided, "
        "but shifted like the others.": _not_shifted_either,
        "One number that never changes in training keeps you from dividing the others: decide for "
        "each number by itself.": _all_or_none,
        "Where a number never changes in training you return zeros, and forget that it may change "
        "in the test: there, divide by 1.": _scaled(constant=np.inf),
        "Your deviation divides by one item less (ddof=1). Harmless, but asked for is NumPy's "
        "usual one.": _scaled(spread=lambda x, **options: np.std(x, ddof=1, **options)),
    },
    edges={
        "Where a number never changes in training you divide by zero, or by nearly that, or not "
        "as asked: there, divide by 1. With a training side {0} and a test side {1}, the value at "
        "{at} should be {right:.4f}; yours is {got:.4g}.": (_constant(), _scaled(constant=1e-6)),
    },
    differs=(
        "With a training side {0} and a test side {1}, the value at {at} should be {right:.4f}; "
        "yours is {got:.4f}."
    ),
    praise="One test item would get the same numbers if it came alone: nothing leaks.",
)

# ---- 2: by class or by item ----------------------------------------------------------------------


def _by_class(
    *,
    classes: Callable[[NDArray, NDArray], NDArray] = lambda truth, said: np.unique(truth),
    share: Callable[[NDArray, NDArray, object], float] = lambda truth, said, c: np.mean(
        said[truth == c] == c
    ),
    combine: Callable[[NDArray], float] = np.mean,
) -> Callable[[NDArray, NDArray], float]:
    """Return the right function (the defaults) or one that misunderstands a part."""

    def answer(truth: NDArray, said: NDArray) -> float:
        truth, said = np.asarray(truth), np.asarray(said)
        return float(combine(np.array([share(truth, said, c) for c in classes(truth, said)])))

    return answer


def _share_or_zero(truth: NDArray, said: NDArray, c: object) -> float:
    return float(np.mean(said[truth == c] == c)) if (truth == c).any() else 0.0


def _precision(truth: NDArray, said: NDArray, c: object) -> float:
    return float(np.mean(truth[said == c] == c)) if (said == c).any() else 0.0


def _one_against_the_rest(truth: NDArray, said: NDArray, c: object) -> float:
    return float(np.mean((truth == c) == (said == c)))


def _over_said(truth: NDArray, said: NDArray) -> float:
    return float(sum(np.mean(said[truth == c] == c) for c in set(truth)) / len(set(said)))


def _f_score(truth: NDArray, said: NDArray, c: object) -> float:
    both = np.sum((truth == c) & (said == c))
    return float(2 * both / (np.sum(truth == c) + np.sum(said == c)))


def _labelled() -> list[tuple]:
    return [
        (np.array([2, 2, 2, 2, 5, 5]), np.array([2, 2, 2, 5, 5, 2])),
        (np.array([0, 0, 0, 0, 0, 0, 1, 1, 3]), np.array([0, 0, 0, 0, 0, 1, 1, 3, 4])),
        (np.array([4, 1, 1, 1, 1, 7, 7, 4, 1, 1]), np.array([1, 1, 1, 1, 4, 7, 7, 4, 1, 2])),
        (np.array([3, 3, 3, 0, 0, 0, 0, 6]), np.array([0, 3, 0, 0, 0, 0, 3, 3])),
    ]


BY_CLASS = Function(
    title="by class or by item",
    minutes=10,
    rubric={
        "the share of right answers among the items of each class": 1,
        "their plain mean, so that each class weighs the same": 1,
        "classes that the truth does not have are left out": 1,
    },
    right=_by_class(),
    cases=_labelled,
    returns="a number from 0 to 1",
    mistakes={
        "This is accuracy by item: a class with many items weighs more than a rare one.": (
            lambda truth, said: float(np.mean(np.asarray(truth) == np.asarray(said)))
        ),
        "You asked of what was *said* to be a class how much is right (precision). Asked is: of "
        "the items that *are* of a class, how many were found.": (
            _by_class(share=_precision),
            _by_class(share=_precision, classes=lambda truth, said: np.unique(said)),
            _by_class(share=_precision, classes=np.intersect1d),
        ),
        "Your classes are those that were said. A class that nobody said is one that was never "
        "found: take the classes of the truth.": (_by_class(classes=np.intersect1d), _over_said),
        "You also count classes that were said and are not in the truth. Of a class without items "
        "nobody can say how well it is found.": _by_class(
            classes=lambda truth, said: np.union1d(truth, said), share=_share_or_zero
        ),
        "You count all numbers from 0 to the largest label as classes. Take those that the truth "
        "has.": _by_class(
            classes=lambda truth, said: np.arange(truth.max() + 1), share=_share_or_zero
        ),
        "You divide what is right of a class by the number of *all* items. Divide by the number of "
        "items of that class.": _by_class(
            share=lambda truth, said, c: np.sum((truth == c) & (said == c)) / len(truth)
        ),
        "You add up the shares; their mean was asked for.": _by_class(combine=np.sum),
        "You take the middle one of the shares; their mean was asked for.": _by_class(
            combine=np.median
        ),
        "This is the worst class. Asked is the mean over classes.": _by_class(combine=np.min),
        "This is the best class. Asked is the mean over classes.": _by_class(combine=np.max),
        "You also count the items that are rightly *not* said to be of a class. Look at the items "
        "of the class alone.": _by_class(share=_one_against_the_rest),
        "You return per cent; a number from 0 to 1 was asked for.": (
            lambda truth, said: 100 * _by_class()(truth, said)
        ),
        "You take the mean of F-measures, which also punish what was said too often.": (
            _by_class(share=_f_score),
            _by_class(share=_f_score, classes=np.union1d),
        ),
        "You count what is wrong.": (
            lambda truth, said: 1.0 - _by_class()(truth, said),
            lambda truth, said: float(np.mean(np.asarray(truth) != np.asarray(said))),
        ),
    },
    differs="With the truth {0} and the answers {1}, it should be {right:.4f}; yours is {got:.4f}.",
    praise="Whoever always says the most frequent class now gets one over the number of classes.",
)

# ---- 3: the only weights that an ELM learns ------------------------------------------------------


def _ridge(
    *,
    penalty: Callable[[NDArray, float], NDArray] = lambda h, s: s * np.eye(h.shape[1]),
    finish: Callable[[NDArray], NDArray] = lambda w2: w2,
) -> Callable[[NDArray, NDArray, float], NDArray]:
    """Return the right function (the defaults) or one that misunderstands a part."""

    def answer(h: NDArray, y: NDArray, strength: float) -> NDArray:
        return finish(np.linalg.solve(h.T @ h + penalty(h, strength), h.T @ y))

    return answer


def _with_intercept(h: NDArray, y: NDArray, strength: float) -> NDArray:
    return _ridge()(h - h.mean(axis=0), y - y.mean(axis=0), strength)


def _layers() -> list[tuple]:
    rng = np.random.default_rng([20, 23])
    cases: list[tuple] = []
    for n, units, n_classes, strength in ((6, 3, 2, 0.5), (9, 4, 3, 3.0), (12, 5, 4, 20.0)):
        h = np.maximum(0.0, rng.standard_normal((n, units)) + 0.5).round(2)
        y = np.eye(n_classes)[rng.permutation(np.arange(n) % n_classes)]
        cases.append((h, y, strength))
    return cases


RIDGE = Function(
    title="the only weights that an ELM learns",
    minutes=15,
    rubric={
        "the normal equations of the least squares": 1,
        "the strength added on the diagonal": 1,
    },
    right=_ridge(),
    cases=_layers,
    returns="an array (unit, class)",
    rtol=1e-4,  # single precision will do
    atol=1e-5,
    mistakes={
        "The strength is not in your answer: this is the plain least-squares fit.": _ridge(
            penalty=lambda h, s: np.zeros((h.shape[1], h.shape[1]))
        ),
        "You add the strength to every entry of h.T @ h. It belongs on the diagonal: times the "
        "identity.": _ridge(penalty=lambda h, s: np.full((h.shape[1], h.shape[1]), s)),
        "You add the square of the strength. It stands in the sum as it is.": _ridge(
            penalty=lambda h, s: s**2 * np.eye(h.shape[1])
        ),
        "You multiply the strength by the number of items. Here the errors are summed over items, "
        "not averaged.": _ridge(penalty=lambda h, s: s * len(h) * np.eye(h.shape[1])),
        "You divide h.T @ h by the number of items, but not h.T @ y. Nothing is to be divided: the "
        "errors are summed over items.": (
            lambda h, y, strength: np.linalg.solve(
                h.T @ h / len(h) + strength * np.eye(h.shape[1]), h.T @ y
            )
        ),
        "The slope of a square has a factor of 2, and you keep it in one term only. It stands in "
        "both, and cancels.": (
            _ridge(penalty=lambda h, s: 2 * s * np.eye(h.shape[1])),
            _ridge(penalty=lambda h, s: 0.5 * s * np.eye(h.shape[1])),
            _ridge(finish=lambda w2: 2 * w2),
            _ridge(finish=lambda w2: 0.5 * w2),
        ),
        "You add the root of the strength to the diagonal. It stands in the sum as it is.": _ridge(
            penalty=lambda h, s: np.sqrt(s) * np.eye(h.shape[1])
        ),
        "You add 1 to the diagonal, whatever the strength is.": _ridge(
            penalty=lambda h, s: np.eye(h.shape[1])
        ),
        "You multiply the diagonal of h.T @ h by 1 + strength. Add the strength itself to it.": (
            _ridge(penalty=lambda h, s: s * np.diag(np.diag(h.T @ h)))
        ),
        "You also fit a constant (an intercept), as libraries do unless they are told not to. This "
        "machine has none.": _with_intercept,
        "This is what the machine says of the training items, h @ W2. Asked is W2 itself.": (
            lambda h, y, strength: h @ _ridge()(h, y, strength)
        ),
        "You solved for one number per item. To come back to units, h.T @ is missing in front.": (
            lambda h, y, strength: np.linalg.solve(h @ h.T + strength * np.eye(len(h)), y)
        ),
        "You take the strength away from the diagonal; it must be added.": _ridge(
            penalty=lambda h, s: -s * np.eye(h.shape[1])
        ),
        "Your strength divides: the larger it is, the less your weights should be, not the more.": (
            _ridge(penalty=lambda h, s: np.eye(h.shape[1]) / s)
        ),
        "Your answer stands on its side: the shape is (unit, class).": _ridge(
            finish=lambda w2: w2.T
        ),
        "You forgot to solve: this is h.T @ y, how much each unit agrees with each class.": (
            lambda h, y, strength: h.T @ y
        ),
        "You divide a finished fit by 1 + strength. The ridge shrinks most where the hidden layer "
        "has little to say.": (
            lambda h, y, strength: np.linalg.lstsq(h, y, rcond=None)[0] / (1 + strength)
        ),
    },
    differs=(
        "With h of shape {0.shape}, y of shape {1.shape} and a strength of {2}, the value at "
        "{at} should be {right:.4f}; yours is {got:.4f}."
    ),
    praise="One linear system, and the machine is trained.",
)

EXERCISES: Mapping[str, Exercise] = {
    "untrained.1": STATISTICS,
    "untrained.2": BY_CLASS,
    "untrained.3": RIDGE,
}
