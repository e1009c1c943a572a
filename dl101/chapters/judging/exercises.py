"""The exercises of the chapter on judging generated sounds."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from dl101.lab.exercise import Exercise, Function

# ---- 1: infinitely many notes ------------------------------------------------------------------


def _line(
    *,
    over: Callable[[NDArray], NDArray] = lambda n: 1.0 / n,
    at: float = 0.0,
    after: Callable[[float], float] = lambda value: value,
) -> Callable[[NDArray, NDArray], float]:
    """Return the right function (the defaults) or one that draws another line."""

    def at_infinity(sizes: NDArray, distances: NDArray) -> float:
        slope, start = np.polyfit(over(np.asarray(sizes, dtype=float)), distances, 1)
        return after(float(slope * at + start))

    return at_infinity


def _slope(sizes: NDArray, distances: NDArray) -> float:
    return float(np.polyfit(1.0 / np.asarray(sizes, dtype=float), distances, 1)[0])


def _of_means(sizes: NDArray, distances: NDArray) -> float:
    """Return where a line through the mean of each size ends."""
    each = np.unique(sizes)
    return _line()(each, np.array([distances[sizes == size].mean() for size in each]))


def _draws(index: int, limit: float, slope: float) -> tuple[NDArray, NDArray]:
    """Return sizes in no order, some of them twice, and distances near a line over 1 / size."""
    rng = np.random.default_rng([131, 1, index])
    sizes = rng.permutation(np.repeat([40, 55, 90, 150 + 10 * index, 300], 2))[: 8 + index]
    bent = 1.0 + 0.3 * slope / sizes  # a line is not the whole truth
    return sizes, limit + slope / sizes * bent + rng.normal(0.0, 0.05, sizes.size)


INFINITY = Function(
    title="infinitely many notes",
    minutes=10,
    rubric={
        "a line is fitted to the distances over 1 / size, all draws used": 2,
        "its value at 1 / size = 0 is returned, also where it is below 0": 1,
    },
    right=_line(),
    cases=lambda: [_draws(0, 0.8, 60.0), _draws(1, 4.5, 90.0), _draws(2, -0.9, 45.0)],
    returns="one number, the distance at infinity",
    rtol=1e-5,
    atol=1e-7,
    mistakes={
        "You fit a line over the size itself. The bias falls as 1 / size: over the size that is a "
        "curve, and size 0, where your line ends, is the wrong end.": _line(over=lambda n: n),
        "You return the slope of the line. Asked is its value where 1 / size is 0; np.polyfit(x, "
        "y, 1) returns the slope first, then that value.": _slope,
        "You read the line at 1 / size = 1, a set of a single note. Infinitely many notes are at "
        "1 / size = 0.": _line(at=1.0),
        "You fit over 1 / sqrt(size). That is how the noise of a mean falls; the bias of the "
        "distance falls faster, as 1 / size.": _line(over=lambda n: 1.0 / np.sqrt(n)),
        "You fit over log(size). Fit over 1 / size, which goes to 0 as the size grows.": _line(
            over=np.log
        ),
        "You return the mean of the distances: small sets are all biased upwards, and their mean "
        "is, too. Fit a line over 1 / size and follow it to 0.": (
            lambda sizes, distances: float(np.mean(distances))
        ),
        "You return the distance of the largest set. It is the least biased one, but still biased: "
        "fit a line over 1 / size and follow it to 0.": (
            lambda sizes, distances: float(np.mean(distances[sizes == sizes.max()])),
            lambda sizes, distances: float(distances[np.argmax(sizes)]),
        ),
        "Your answer never falls below 0. A distance cannot, an extrapolated one can: whoever cuts "
        "it off is biased upwards again.": _line(after=lambda value: max(value, 0.0)),
        "Your answer is the size of the extrapolated value, without its sign: keep it.": _line(
            after=abs
        ),
        "You use the smallest and the largest set only. All draws tell something about the line; "
        "np.polyfit(1 / sizes, distances, 1) uses them all.": (
            lambda sizes, distances: _two_points(sizes, distances)
        ),
        "Your line goes through the first and the last draw. They come in any order, and all draws "
        "tell something: np.polyfit(1 / sizes, distances, 1) uses them all.": (
            lambda sizes, distances: _two_points(sizes[[0, -1]], distances[[0, -1]])
        ),
        "You average the draws of each size first, so that a size drawn once counts as much as one "
        "drawn twice. Fit the line to all draws.": _of_means,
    },
    differs="For hidden draws the distance at infinity should be {right:.3f} and is {got:.3f}.",
    praise="A line over 1 / size, followed to infinitely many notes.",
)


def _two_points(sizes: NDArray, distances: NDArray) -> float:
    """Return where the line through the smallest and the largest set ends."""
    x, small, large = 1.0 / sizes, np.argmin(sizes), np.argmax(sizes)
    slope = (distances[small] - distances[large]) / (x[small] - x[large])
    return float(distances[large] - slope * x[large])


# ---- 2: precision and recall -------------------------------------------------------------------


def _distances(a: NDArray, b: NDArray) -> NDArray:
    return np.sqrt(((a[:, None, :] - b[None, :, :]) ** 2).sum(axis=2))


def _own_radii(items: NDArray, others: NDArray, k: int) -> NDArray:
    return np.sort(_distances(items, items), axis=1)[:, k]  # place 0 is the item itself


def _balls(
    *,
    radii: Callable[[NDArray, NDArray, int], NDArray] = _own_radii,
    gather: Callable[[NDArray], NDArray] = lambda inside: inside.any(axis=0),
    own: bool = False,
    swapped: bool = False,
    scale: float = 1.0,
    inside_if: Callable[[NDArray, NDArray], NDArray] = np.less_equal,
) -> Callable[[NDArray, NDArray, int], tuple[float, float]]:
    """Return the right function (the defaults) or one that draws other balls."""

    def share(centres: NDArray, items: NDArray, k: int) -> float:
        if own:  # balls around the items that are counted
            inside = inside_if(_distances(centres, items), radii(items, centres, k)[None, :])
        else:
            inside = inside_if(_distances(centres, items), radii(centres, items, k)[:, None])
        return scale * float(np.mean(gather(inside)))

    def precision_recall(reference: NDArray, generated: NDArray, k: int) -> tuple[float, float]:
        both = share(reference, generated, k), share(generated, reference, k)
        return both[::-1] if swapped else both

    return precision_recall


def _in_nearest(centres: NDArray, items: NDArray, k: int) -> float:
    """Return the share of items that lie in the ball around their nearest centre."""
    apart = _distances(centres, items)
    return float(np.mean(apart.min(axis=0) <= _own_radii(centres, items, k)[apart.argmin(axis=0)]))


def _clouds(index: int, k: int) -> tuple[NDArray, NDArray, int]:
    """Return a reference of three clouds, and a set that knows two of them and has invented one."""
    rng = np.random.default_rng([131, 2, index])
    spots = 4.0 * rng.normal(size=(4, 2 + index))
    width = rng.uniform(0.3, 1.5, 4)

    def around(places: list[int], n: int) -> NDArray:
        chosen = rng.choice(places, n)
        return spots[chosen] + width[chosen, None] * rng.normal(size=(n, spots.shape[1]))

    return around([0, 1, 2], 40 + index), around([1, 2, 2, 3], 31 - index), k


def _same_point() -> tuple[NDArray, NDArray, int]:
    return np.ones((5, 2)), np.ones((4, 2)), 2


PRECISION_RECALL = Function(
    title="precision and recall of a generator",
    minutes=25,
    rubric={
        "each ball reaches to the k-th neighbour in its own set, the item itself not counted": 2,
        "precision: generated items among the balls of the reference, one ball is enough": 1,
        "recall: reference items among the balls of the generated set": 1,
    },
    right=_balls(),
    cases=lambda: [_clouds(0, 3), _clouds(1, 1), _clouds(2, 4)],
    returns="precision and recall, two numbers",
    names=("precision", "recall"),
    mistakes={
        "Precision and recall are swapped. Precision looks at generated items (how many are "
        "realistic?), recall at those of the reference (how many could be generated?).": _balls(
            swapped=True
        ),
        "Your radii are too small: the nearest item to each item is the item itself, at distance "
        "0. It does not count as a neighbour.": _balls(
            radii=lambda items, others, k: np.sort(_distances(items, items), axis=1)[:, k - 1]
        ),
        "Your radii reach to the neighbour after the k-th: in the sorted distances, place 0 is the "
        "item itself, so that place k is the k-th neighbour.": _balls(
            radii=lambda items, others, k: np.sort(_distances(items, items), axis=1)[:, k + 1]
        ),
        "Your balls lie around the wrong set. For precision they lie around the items of the "
        "reference, which say where real sounds are, and generated items are looked up.": _balls(
            own=True
        ),
        "You count in how many balls an item lies. One is enough: use any, not sum (the count, "
        "divided by k, is the density of Naeem et al.).": _balls(
            gather=lambda inside: inside.sum(axis=0)
        ),
        "You return the share of pairs of ball and item. An item counts once, as soon as it is in "
        "any ball.": _balls(gather=lambda inside: inside.mean(axis=0)),
        "You count balls that hold an item, where items inside a ball are asked: take any over the "
        "balls, then the mean over the items (the share of balls is Naeem's coverage).": _balls(
            gather=lambda inside: inside.any(axis=1)
        ),
        "All your balls have one radius. Each has its own, so that it is small where items are "
        "dense and large where they are rare.": _balls(
            radii=lambda items, others, k: np.full(len(items), _own_radii(items, others, k).mean())
        ),
        "Your radii are distances to the other set. Those would grow with every flaw and forgive "
        "it: a radius is the distance to a neighbour in the same set.": _balls(
            radii=lambda items, others, k: np.sort(_distances(items, others), axis=1)[:, k - 1]
        ),
        "You look only at the ball around the nearest item. A ball further away may be larger and "
        "hold the item, too: look into all.": (
            lambda reference, generated, k: (
                _in_nearest(reference, generated, k),
                _in_nearest(generated, reference, k),
            )
        ),
        "You return how many items lie inside; divide by the number of items looked up.": (
            lambda reference, generated, k: tuple(
                share * len(items)
                for share, items in zip(
                    _balls()(reference, generated, k), (generated, reference), strict=True
                )
            )
        ),
        "Right, but in percent: return shares between 0 and 1.": _balls(scale=100.0),
    },
    edges={
        "Where all items are copies, radii are 0 and every distance is too: an item at the rim of "
        "a ball is inside (<=).": (_same_point(), _balls(inside_if=np.less)),
    },
    crash={
        ValueError: (
            "The sets may have different sizes: distances between them have shape (reference, "
            "generated), and radii are compared along the axis of their own set.",
            lambda reference, generated, k: reference - generated,
        ),
        IndexError: (
            "Each item has as many neighbours as there are other items in its set.",
            lambda reference, generated, k: reference[len(reference) + k],
        ),
    },
    differs="For hidden sets of {0.shape[0]} and {1.shape[0]} items, k = {2}, place {at[0]} should "
    "be {right:.3f} and is {got:.3f}. Draw the balls of three points on paper.",
    praise="Balls as wide as their own set is dense, and the right set looked up in each.",
)

# ---- 3: inception score ------------------------------------------------------------------------


def _divergence(p: NDArray, q: NDArray) -> NDArray:
    """Return KL(p || q) of each row, in nats; 0 log 0 is 0."""
    safe = np.where(p > 0, p, 1.0)
    return np.sum(p * (np.log(safe) - np.log(np.where(p > 0, q, 1.0))), axis=1)


def _entropy(p: NDArray) -> NDArray:
    return -np.sum(p * np.log(np.where(p > 0, p, 1.0)), axis=-1)


def _score(p: NDArray) -> float:
    return float(np.exp(_divergence(p, p.mean(axis=0) + 0 * p).mean()))


def _answers(index: int) -> tuple[NDArray]:
    """Return what a classifier says: some rows sure, some not, classes unequally often."""
    rng = np.random.default_rng([131, 3, index])
    n_classes = 4 + 2 * index
    weights = rng.uniform(0.05, 1.5, n_classes)
    p = np.concatenate([rng.dirichlet(0.4 * weights, 15), rng.dirichlet(3 * weights, 9 + index)])
    p = 0.98 * p + 0.02 / n_classes
    return (p / p.sum(axis=1, keepdims=True),)


def _sure() -> tuple[NDArray]:
    return (np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.5, 0.5, 0.0], [0.0, 0.2, 0.8]]),)


INCEPTION = Function(
    title="the inception score",
    minutes=15,
    rubric={
        "p(y) is the mean over items, and the divergence is from it to each item's p(y|x)": 2,
        "summed over classes, averaged over items, and only then the exponential": 1,
        "a probability of 0 contributes nothing": 1,
    },
    right=_score,
    cases=lambda: [_answers(0), _answers(1), _answers(2)],
    returns="one number of at least 1",
    rtol=1e-5,
    mistakes={
        "The divergence is taken the other way round: the logarithm is of p(y|x) / p(y), and "
        "p(y|x) weighs it.": (
            lambda p: float(np.exp(_divergence(p.mean(axis=0) + 0 * p, p).mean()))
        ),
        "The exponential is missing: without it the score is the mean divergence in nats, between "
        "0 and the logarithm of the number of classes.": (
            lambda p: float(_divergence(p, p.mean(axis=0) + 0 * p).mean())
        ),
        "Your logarithm is to base 2 and your power to base e. Take both to the same base.": (
            lambda p: float(np.exp(_divergence(p, p.mean(axis=0) + 0 * p).mean() / np.log(2)))
        ),
        "Your logarithm is to base e and your power to base 2. Take both to the same base.": (
            lambda p: float(2.0 ** _divergence(p, p.mean(axis=0) + 0 * p).mean())
        ),
        "You take the mean of the exponentials; asked is the exponential of the mean.": (
            lambda p: float(np.exp(_divergence(p, p.mean(axis=0) + 0 * p)).mean())
        ),
        "You average over the classes, too. Within an item the divergence is a sum over classes; "
        "only items are averaged.": (
            lambda p: float(np.exp(_divergence(p, p.mean(axis=0) + 0 * p).mean() / p.shape[1]))
        ),
        "You sum over the items; average them, or the score grows with the size of the set.": (
            lambda p: float(np.exp(_divergence(p, p.mean(axis=0) + 0 * p).sum()))
        ),
        "You return the diversity alone, the exponential of the entropy of p(y). How sure the "
        "classifier is of each item belongs to it.": (
            lambda p: float(np.exp(_entropy(p.mean(axis=0))))
        ),
        "You return how unsure the classifier is of each item; that is to be small. The score is "
        "the exponential of the entropy of p(y) minus this entropy.": (
            lambda p: float(np.exp(_entropy(p).mean()))
        ),
        "You use the most likely class of each item as if the classifier were sure of it. The "
        "score asks how sure it is: keep the probabilities.": (
            lambda p: _score(np.eye(p.shape[1])[p.argmax(axis=1)])
        ),
        "You compare with equal probabilities, 1 / classes; a mean over the classes (axis 1) gives "
        "them, too. p(y) is the mean over the items, axis 0: what is said of this set.": (
            lambda p: float(np.exp(_divergence(p, p.mean(axis=1, keepdims=True) + 0 * p).mean()))
        ),
    },
    edges={
        "Where a probability is 0 your result is NaN or infinite: 0 log 0 is 0. Leave such classes "
        "out of the sum, or add a tiny number inside the logarithm.": (
            _sure(),
            lambda p: float(np.exp(np.sum(p * np.log(p / p.mean(axis=0)), axis=1).mean())),
        ),
    },
    differs="For hidden probabilities ({0.shape[0]} items, {0.shape[1]} classes) the score should "
    "be {right:.4f} and is {got:.4f}.",
    praise="Sure of each, and many kinds in all: the exponential of the mean divergence.",
)

# ---- 4: by luck alone --------------------------------------------------------------------------


def _tail(k: int, n: int, chance: float = 0.5) -> float:
    terms = (math.comb(n, i) * chance**i * (1 - chance) ** (n - i) for i in range(k, n + 1))
    return math.fsum(terms) if k <= n else 0.0


def _normal_tail(z: float) -> float:
    return 0.5 * math.erfc(z / math.sqrt(2.0))


LUCK = Function(
    title="by luck alone",
    minutes=15,
    rubric={
        "the chance of a right answer is a half": 1,
        "exactly: binomial probabilities of n_right and of all that is better, added up": 2,
    },
    right=_tail,
    cases=lambda: [(9, 10), (6, 8), (12, 16), (7, 7), (3, 10), (0, 5)],
    returns="one probability",
    atol=1e-12,
    mistakes={
        "That is the probability of exactly so many right answers. Better results would have "
        "convinced you, too: add the probabilities of n_right and of all that is more.": (
            lambda k, n: math.comb(n, k) / 2**n
        ),
        "You leave out n_right itself: at *least* so many right answers are asked.": (
            lambda k, n: _tail(k + 1, n)
        ),
        "That is the probability of at most so many right answers; asked is at least.": (
            lambda k, n: 1.0 - _tail(k + 1, n)
        ),
        "That is 1 minus the p-value: the probability of fewer right answers.": (
            lambda k, n: 1.0 - _tail(k, n)
        ),
        "You count both ends, results as bad as this one is good included. ABX asks for one: who "
        "is right more often than by chance.": (
            lambda k, n: min(1.0, _tail(max(k, n - k), n) * (1.0 if 2 * k == n else 2.0)),
            lambda k, n: min(1.0, 2.0 * _tail(k, n)),
            lambda k, n: 2.0 * _tail(k, n),
        ),
        "Your sum ends before n_trials: all right answers belong to it, too. A range stops one "
        "short of its end.": lambda k, n: _tail(k, n) - 0.5**n,
        "You count the series of answers that are as good; divide by how many there are in all, "
        "2 ** n_trials.": lambda k, n: 2**n * _tail(k, n),
        "Your sum lacks the number of ways: i right answers can fall on math.comb(n_trials, i) "
        "choices of trials.": lambda k, n: (n - k + 1) * 0.5**n,
        "Your listener guesses right with a probability of a third. There are three sounds, but "
        "only two answers: X is A, or X is B.": lambda k, n: _tail(k, n, 1 / 3),
        "You take a normal distribution for the binomial one. With so few trials that is off, here "
        "towards too much confidence: add up the exact probabilities.": (
            lambda k, n: _normal_tail((k - n / 2) / math.sqrt(n / 4)),
        ),
        "A normal distribution with a correction of a half comes close, but the exact sum is just "
        "as short: math.comb(n_trials, k) / 2 ** n_trials.": (
            lambda k, n: _normal_tail((k - 0.5 - n / 2) / math.sqrt(n / 4))
        ),
        "You return the share of right answers. Asked is how probable so good a share is for "
        "somebody who only guesses.": lambda k, n: k / n,
        "You return the share of wrong answers. Asked is how probable so good a result is for "
        "somebody who only guesses.": lambda k, n: 1.0 - k / n,
        "You return the probability that n_right given trials are all right. Which of the trials "
        "are right does not matter: count the ways, math.comb(n_trials, k).": (lambda k, n: 0.5**k),
        "Right, but in percent: return a probability between 0 and 1.": (
            lambda k, n: 100.0 * _tail(k, n)
        ),
    },
    differs="For {0} of {1} right answers the probability should be {right:.4f} and is {got:.4f}.",
    praise="The exact tail of the binomial distribution: what guessing alone would do.",
)

EXERCISES: Mapping[str, Exercise] = {
    "judging.1": INFINITY,
    "judging.2": PRECISION_RECALL,
    "judging.3": INCEPTION,
    "judging.4": LUCK,
}
