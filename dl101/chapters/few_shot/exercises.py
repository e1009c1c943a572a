"""The exercises of the chapter on few examples."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from dl101.lab.exercise import Exercise, Function

# ---- 1: a prototype that does not know the query -------------------------------------------------


def _left_out(
    *,
    others: Callable[[NDArray, int], NDArray] = lambda items, i: np.delete(items, i, axis=0),
    elsewhere: Callable[[NDArray, int], NDArray] = lambda items, i: items,
    middle: Callable[[NDArray], NDArray] = lambda items: items.mean(axis=0),
    far: Callable[[NDArray, NDArray], float] = lambda x, mu: float(np.sum((x - mu) ** 2)),
) -> Callable[..., NDArray]:
    """Return the right function (the defaults) or one that misunderstands a part."""

    def answer(x: NDArray) -> NDArray:
        n_classes, n_items, _ = x.shape
        found = np.zeros((n_classes, n_items, n_classes))
        for own in range(n_classes):
            for i in range(n_items):
                for k in range(n_classes):
                    items = others(x[k], i) if k == own else elsewhere(x[k], i)
                    found[own, i, k] = far(x[own, i], middle(items))
        return found

    return answer


def _nearest_example(x: NDArray) -> NDArray:
    """Return squared distances to the nearest example, not to a mean."""
    apart = ((x[:, :, None, None] - x[None, None]) ** 2).sum(axis=-1)
    n_classes, n_items = x.shape[:2]
    for own in range(n_classes):
        apart[own, np.arange(n_items), own, np.arange(n_items)] = np.inf
    return apart.min(axis=-1)


def _mean_of_distances(x: NDArray) -> NDArray:
    """Return the mean squared distance to the examples, not that to their mean."""
    apart = ((x[:, :, None, None] - x[None, None]) ** 2).sum(axis=-1)
    found, n_items = apart.mean(axis=-1), x.shape[1]
    own = np.arange(len(x))
    found[own, :, own] *= n_items / (n_items - 1)
    return found


def _never_restored(x: NDArray) -> NDArray:
    """Shorten the prototype of a class, and leave it so when the next class comes."""
    means, found = x.mean(axis=1), np.zeros((*x.shape[:2], len(x)))
    for own, items in enumerate(x):
        for i, item in enumerate(items):
            means[own] = np.delete(items, i, axis=0).mean(axis=0)
            found[own, i] = ((item - means) ** 2).sum(axis=1)
    return found


def _embedded_classes() -> list[tuple]:
    rng = np.random.default_rng([20, 4, 1])
    return [
        (rng.standard_normal((classes, 1, numbers)) + rng.standard_normal((classes, n, numbers)),)
        for classes, n, numbers in ((2, 3, 2), (3, 4, 5), (4, 6, 3))
    ]


LEFT_OUT = Function(
    title="a prototype that does not know the query",
    minutes=20,
    rubric={
        "the query is left out of the prototype of its own class": 1,
        "the prototypes of the other classes keep all their items": 1,
        "means, and squared Euclidean distances to them": 1,
    },
    right=_left_out(),
    cases=_embedded_classes,
    returns="an array (class, item, class)",
    mistakes={
        "Your prototype includes its query: with few items it has moved towards the query by "
        "itself, and accuracy is too good. With one item the distance would be 0.": (
            _left_out(others=lambda items, i: items)
        ),
        "You leave item i out of every class. The query stands in its own class alone; the other "
        "prototypes lose an item for nothing.": (
            _left_out(elsewhere=lambda items, i: np.delete(items, i, axis=0))
        ),
        "You took the query away from the sum, but divide by the number of all items: the "
        "prototype is pulled towards zero.": _left_out(
            others=lambda items, i: np.delete(items, i, axis=0) * (len(items) - 1) / len(items)
        ),
        "You set the query to zero and average over all: zero is a point, too, and pulls.": (
            _left_out(
                others=lambda items, i: np.where(np.arange(len(items))[:, None] == i, 0.0, items),
                middle=lambda items: items.sum(axis=0) / (len(items) + 1),
            )
        ),
        "These are distances; asked are squared ones.": _left_out(
            far=lambda x, mu: float(np.linalg.norm(x - mu))
        ),
        "You average the squared differences over the numbers of an embedding; add them up.": (
            _left_out(far=lambda x, mu: float(np.mean((x - mu) ** 2)))
        ),
        "These are distances to the nearest example. A prototype is the mean of the examples.": (
            _nearest_example
        ),
        "You take the median of each number; a prototype is the mean.": _left_out(
            middle=lambda items: np.median(items, axis=0)
        ),
        "Your axes are turned: (class of the query, item, class of the prototype).": (
            lambda x: np.moveaxis(_left_out()(x), 2, 0),
            lambda x: np.swapaxes(_left_out()(x), 0, 2),
        ),
        "You average the squared distances to the examples. Average the examples first, then "
        "measure the distance to their mean.": _mean_of_distances,
        "A class that had its turn keeps the prototype without its last item. Begin with the full "
        "means for each item.": _never_restored,
        "You add up absolute differences; asked are squared ones.": _left_out(
            far=lambda x, mu: float(np.sum(np.abs(x - mu)))
        ),
        "The sign is turned: asked are distances, not logits.": lambda x: -_left_out()(x),
    },
    differs="For x of shape {0.shape}, the value at {at} should be {right:.4f}; yours is "
    "{got:.4f}.",
    praise="Now each item is judged by a prototype that has never seen it.",
)

# ---- 2: from distances to probabilities ----------------------------------------------------------


def _softmax(logits: NDArray, axis: int | tuple[int, int] = 1) -> NDArray:
    raised = np.exp(logits - logits.max(axis=axis, keepdims=True))
    return raised / raised.sum(axis=axis, keepdims=True)


def _unit(x: NDArray) -> NDArray:
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def _squared(query: NDArray, mu: NDArray) -> NDArray:
    return ((query[:, None] - mu[None]) ** 2).sum(axis=-1)


def _cosine(query: NDArray, mu: NDArray) -> NDArray:
    return 1 - _unit(query) @ _unit(mu).T


def _told(
    *,
    squared: Callable[[NDArray, NDArray], NDArray] = _squared,
    cosine: Callable[[NDArray, NDArray], NDArray] = _cosine,
    middle: Callable[[NDArray], NDArray] = lambda support: support.mean(axis=1),
    say: Callable[[NDArray], NDArray] = lambda apart: _softmax(-apart),
) -> Callable[..., NDArray]:
    def answer(query: NDArray, support: NDArray, distance: str) -> NDArray:
        apart = squared if distance == "squared" else cosine
        return say(apart(query, middle(support)))

    return answer


def _plain_exponentials(query: NDArray, support: NDArray, distance: str) -> NDArray:
    def say(apart: NDArray) -> NDArray:
        raised = np.exp(-apart)
        return raised / raised.sum(axis=1, keepdims=True)

    return _told(say=say)(query, support, distance)


def _another_distance(always: str) -> Callable[..., NDArray]:
    return lambda query, support, distance: _told()(query, support, always)


def _unit_examples(query: NDArray, support: NDArray, distance: str) -> NDArray:
    """Bring the examples to length 1 before they are averaged, for the cosine alone."""
    return _told()(query, support if distance == "squared" else _unit(support), distance)


def _unit_examples_and_no_more(query: NDArray, support: NDArray, distance: str) -> NDArray:
    """Do so, and leave the mean shorter than 1."""
    if distance == "squared":
        return _told()(query, support, distance)
    return _softmax(_unit(query) @ _unit(support).mean(axis=1).T)


def _by_example(summarise: Callable[[NDArray], NDArray]) -> Callable[..., NDArray]:
    """Return a function that measures the distance to each example, and takes these together."""

    def answer(query: NDArray, support: NDArray, distance: str) -> NDArray:
        apart = _squared if distance == "squared" else _cosine
        found = np.stack([summarise(apart(query, items)) for items in support], axis=1)
        return _softmax(-found)

    return answer


def _one_maximum(apart: NDArray) -> NDArray:
    """Subtract the largest logit of all queries."""
    raised = np.exp(apart.min() - apart)
    return raised / raised.sum(axis=1, keepdims=True)


def _not_normalised(apart: NDArray) -> NDArray:
    return np.exp(apart.min(axis=1, keepdims=True) - apart)


def _sums_to_another(got: NDArray, right: NDArray, *_: object) -> bool:
    """Return whether some rows add up to a number, and not to 1 (0 and NaN have other causes)."""
    if np.shape(got) != np.shape(right):
        return False
    total = np.sum(got, axis=1)
    return bool(np.all(total > 0) and not np.allclose(total, 1, atol=1e-4))


def _episodes() -> list[tuple]:
    rng = np.random.default_rng([20, 4, 2])
    cases: list[tuple] = []
    for queries, classes, shots, numbers in ((2, 3, 2, 2), (3, 4, 3, 3), (4, 2, 5, 4)):
        centres = 0.8 * rng.standard_normal((classes, 1, numbers))
        support = centres + 0.5 * rng.standard_normal((classes, shots, numbers))
        query = rng.standard_normal((queries, numbers))
        cases += [(query, support, "squared"), (query, support, "cosine")]
    return cases


FROM_DISTANCES = Function(
    title="from distances to probabilities",
    minutes=20,
    rubric={
        "prototypes are means over the support of each class": 1,
        "squared Euclidean distances, not their roots": 1,
        "the cosine brings both vectors to length 1 first": 1,
        "a softmax over classes of negative distances, also where they are large": 1,
    },
    right=_told(),
    cases=_episodes,
    returns="an array (query, class)",
    mistakes={
        "You take the root: a softmax of negative distances, not of squared ones. Far classes "
        "keep too much.": _told(squared=lambda q, mu: np.sqrt(_squared(q, mu))),
        "You average the squares over the numbers of an embedding: probabilities become too even "
        "as embeddings grow.": _told(squared=lambda q, mu: _squared(q, mu) / q.shape[1]),
        "Your softmax is of distances, not of negative ones: the farthest class wins.": _told(
            say=_softmax
        ),
        "Without bringing the vectors to length 1, this is a dot product and no cosine: long "
        "vectors win.": _told(cosine=lambda q, mu: 1 - q @ mu.T),
        "Only the queries have length 1 in your cosine. A long prototype still wins.": _told(
            cosine=lambda q, mu: 1 - _unit(q) @ mu.T
        ),
        "Only the prototypes have length 1 in your cosine. A long query is surer than a short "
        "one.": _told(cosine=lambda q, mu: 1 - q @ _unit(mu).T),
        "You divide by the length of a whole matrix; each vector has a length of its own (axis).": (
            _told(cosine=lambda q, mu: 1 - q @ mu.T / np.linalg.norm(q) / np.linalg.norm(mu))
        ),
        "Your softmax runs over the queries: columns add up to 1. It must run over the classes.": (
            _told(say=lambda apart: _softmax(-apart, axis=0))
        ),
        "Your prototypes are sums over the support. They must be means, or more examples would "
        "push them away.": _told(middle=lambda support: support.sum(axis=1)),
        "You normalise every example of the support before you average; the prototype is the mean "
        "of the embeddings as they are, and only its cosine is taken.": (
            _told(middle=lambda support: _unit(support).mean(axis=1)),
            _unit_examples,
            _unit_examples_and_no_more,
        ),
        "These are logarithms of probabilities.": _told(say=lambda apart: np.log(_softmax(-apart))),
        "You return distances; a softmax must follow.": _told(say=lambda apart: apart),
        "You take squared distances whatever is asked: look at the argument distance.": (
            _another_distance("squared")
        ),
        "You take the cosine whatever is asked: look at the argument distance.": (
            _another_distance("cosine")
        ),
        "With the cosine, your logit falls as the cosine grows: the farthest class wins.": _told(
            cosine=lambda q, mu: -_cosine(q, mu)
        ),
        "You measure the distance to the nearest example; a prototype is the mean of all.": (
            _by_example(lambda apart: apart.min(axis=1))
        ),
        "You average the distances to the examples. Average the examples first, then measure.": (
            _by_example(lambda apart: apart.mean(axis=1))
        ),
        "Your softmax runs over queries and classes at once. Each query has probabilities of its "
        "own, which add up to 1.": _told(say=lambda apart: _softmax(-apart, axis=(0, 1))),
        "You say which class is nearest; asked is how probable each is.": _told(
            say=lambda apart: np.eye(apart.shape[1])[apart.argmin(axis=1)]
        ),
    },
    symptoms={
        "For each query, the probabilities of the classes must add up to 1; yours do not.": (
            _sums_to_another,
            _told(say=_not_normalised),
        ),
    },
    edges={
        "With squared distances near 1,000 every exponential is 0, and 0 / 0 is no number. "
        "Subtract the largest logit before: the probabilities stay the same.": (
            (np.array([[30.0, 0.0]]), np.array([[[0.0, 0.0]], [[1.0, 0.0]]]), "squared"),
            _plain_exponentials,
        ),
        "Here one query lies near and another far from everything. Subtract from each query's "
        "logits the largest of its own, not the largest of all.": (
            (
                np.array([[0.0, 0.0], [40.0, 0.0]]),
                np.array([[[0.0, 0.0]], [[1.0, 0.0]]]),
                "squared",
            ),
            _told(say=_one_maximum),
        ),
    },
    differs="With the distance {2}, the value at {at} should be {right:.4f}; yours is {got:.4f}.",
    praise="Near is likely: a classifier without weights of its own.",
)

EXERCISES: Mapping[str, Exercise] = {
    "few_shot.1": LEFT_OUT,
    "few_shot.2": FROM_DISTANCES,
}
