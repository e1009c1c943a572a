"""What stands on a vector of features: an extreme learning machine, or support vectors.

Conventions: features are (item, number) and classes (item,) integers, by side (``train``,
``validation``, ``test``). A classifier learns from the training side, its settings are those that
are right most often on validation, and what it says of the test side is looked at last.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Sides = Mapping[str, NDArray]

HIDDEN = (100, 250, 500, 1200)
STRENGTHS = (0.0, 1.0, 10.0, 100.0, 1000.0)
SOFTNESS = (0.1, 2.0, 8.0, 32.0)  # C: how dear a training item on the wrong side is
WIDTHS = (0.25, 1.0, 4.0)  # gamma of the radial kernel, times the number of features


class Classifier(Protocol):
    """Something that names classes."""

    def predict(self, x: NDArray) -> NDArray[np.int64]:
        """Return the class of each row."""
        ...


class ELM:
    """An extreme learning machine: a random layer, and a least-squares fit on top [1]_.

    The hidden layer is h = max(0, x W1 + b), with W1 and b drawn at random and never changed; the
    output is y = h W2. W2 makes the squares of the errors on the training side, and ``strength``
    times its own squares, as small as they can be (*ridge*). Strength 0 is the pseudo-inverse: of
    all W2 with the least error the one with the smallest squares.

    Parameters
    ----------
    n_hidden
        Units of the random layer.
    strength
        Of the ridge, 0 or more.
    seed
        Of the random layer.

    References
    ----------
    .. [1] G.-B. Huang, Q.-Y. Zhu, C.-K. Siew, "Extreme learning machine: theory and applications",
       Neurocomputing 70, 2006.
    """

    def __init__(self, n_hidden: int, strength: float = 0.0, *, seed: int = 0) -> None:
        self.n_hidden, self.strength, self.seed = n_hidden, strength, seed

    def hidden(self, x: NDArray) -> NDArray[np.float64]:
        """Return the random layer, (item, unit); the seed alone decides its weights."""
        rng = np.random.default_rng([self.seed, self.n_hidden])
        w1 = rng.standard_normal((x.shape[1], self.n_hidden)) / np.sqrt(x.shape[1])
        b = rng.standard_normal(self.n_hidden)
        return np.maximum(0.0, x @ w1 + b)

    def fit(self, x: NDArray, classes: NDArray) -> ELM:
        """Find W2 from features (item, number) and classes (item,)."""
        return self.solve(*np.linalg.svd(self.hidden(x), full_matrices=False), classes)

    def solve(self, u: NDArray, s: NDArray, vt: NDArray, classes: NDArray) -> ELM:
        """Find W2 from the decomposition u diag(s) vt of the hidden layer, and the classes."""
        # With H = U diag(s) V', the ridge solution is V diag(s / (s^2 + strength)) U' Y.
        gain = np.zeros_like(s)
        used = s > 1e-10 * s.max()
        gain[used] = s[used] / (s[used] ** 2 + self.strength)
        y = np.eye(int(classes.max()) + 1)[classes]
        self.w2 = vt.T @ (gain[:, None] * (u.T @ y))
        return self

    def scores(self, x: NDArray) -> NDArray[np.float64]:
        """Return the output for each item and class."""
        return self.hidden(x) @ self.w2

    def predict(self, x: NDArray) -> NDArray[np.int64]:
        """Return the class with the largest output."""
        return self.scores(x).argmax(axis=1)


def standardised(x: Sides, *, by: str = "train") -> dict[str, NDArray[np.float64]]:
    """Return features whose training side has mean 0 and deviation 1, number by number.

    Parameters
    ----------
    x
        Features by side.
    by
        Whose mean and deviation are taken: ``train``, the right way; ``all`` sides together, or
        ``each`` side's own, to see what that does.
    """
    every = np.concatenate(list(x.values())).astype(np.float64)
    found = {}
    for side, values in x.items():
        taken = {"train": x["train"], "all": every, "each": values}[by].astype(np.float64)
        deviation = taken.std(axis=0)
        scale = np.where(deviation > 1e-9 * (1 + np.abs(taken).max(axis=0)), deviation, 1.0)
        found[side] = (values - taken.mean(axis=0)) / scale
    return found


def machines(x: NDArray, classes: NDArray, *, seed: int = 0) -> Iterator[tuple[Any, ELM]]:
    """Yield a fitted ELM for each number of units and strength; one decomposition serves many."""
    for n_hidden in HIDDEN:
        parts = np.linalg.svd(ELM(n_hidden, seed=seed).hidden(x), full_matrices=False)
        for strength in STRENGTHS:
            yield (n_hidden, strength), ELM(n_hidden, strength, seed=seed).solve(*parts, classes)


def support_vectors(x: NDArray, classes: NDArray) -> Iterator[tuple[Any, Classifier]]:
    """Yield fitted support vector machines, with a linear and with radial kernels."""
    from sklearn.svm import SVC

    for softness in SOFTNESS:
        yield ("linear", softness), SVC(C=softness, kernel="linear").fit(x, classes)
        for width in WIDTHS:
            machine = SVC(C=softness, gamma=width / x.shape[1])
            yield (width, softness), machine.fit(x, classes)


def chosen(fitted: Iterable[tuple[Any, Classifier]], x: Sides, y: Sides) -> tuple[Any, Classifier]:
    """Return the settings and the machine that are right most often on validation; ties: first."""
    best, kept = -1.0, None
    for settings, machine in fitted:
        right = float(np.mean(machine.predict(x["validation"]) == y["validation"]))
        if right > best:
            best, kept = right, (settings, machine)
    if kept is None:
        raise ValueError("no classifier to choose from")
    return kept
