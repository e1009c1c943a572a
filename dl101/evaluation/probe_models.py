"""Small models, to learn how hard a dataset is before any deep learning.

Conventions: inputs are arrays (tracks, features), classes and tags alike are matrices of zeros and
ones (tracks, classes), and what a model returns are scores of the same shape, higher for more
likely. A *side* is ``"train"``, ``"validation"`` or ``"test"``: models learn from the first, their
one parameter is chosen on the second, and only scores of the third are reported.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from dl101.evaluation.tagging import Score

Sides = Mapping[str, NDArray]

STRENGTHS = tuple(10.0**power for power in range(-1, 6))
SOFTNESS = (0.1, 1.0, 10.0, 100.0)
N_TREES, TREE_DEPTH, TREE_LEAF = 100, 5, 3


def one_hot(labels: Sequence[str], classes: Sequence[str]) -> NDArray[np.float64]:
    """Return labels as a matrix (tracks, classes)."""
    return (np.asarray(labels)[:, None] == np.asarray(classes)[None, :]).astype(float)


def majority(y: Sides) -> NDArray[np.float64]:
    """Return for every test track how often each class is found in training."""
    return np.tile(y["train"].mean(axis=0), (len(y["test"]), 1))


def nearest(x: Sides, y: Sides) -> NDArray[np.float64]:
    """Return the classes of each test track's nearest neighbour in training."""
    train, test = _standardised(x["train"], x["train"], x["test"])
    squares = (train**2).sum(axis=1)[None, :] - 2.0 * test @ train.T
    return y["train"][squares.argmin(axis=1)]


def linear(x: Sides, y: Sides, score: Score) -> dict[str, NDArray]:
    """Fit a ridge regression to the classes; its strength is the best one on validation.

    Returns
    -------
    dict
        The scores of the validation and the test side.
    """
    weights = class_weights(y["train"])
    train, validation, test = _standardised(x["train"], x["train"], x["validation"], x["test"])
    x_mean, y_mean = (np.average(a, axis=0, weights=weights) for a in (train, y["train"]))
    rows = np.sqrt(weights)[:, None] * (train - x_mean)
    values, vectors = np.linalg.eigh(rows @ rows.T)
    projected = vectors.T @ (np.sqrt(weights)[:, None] * (y["train"] - y_mean))
    best: tuple[float, dict] | None = None
    for strength in STRENGTHS:
        # The ridge solution in its dual form: quick where features outnumber tracks.
        slope = rows.T @ (vectors @ (projected / (np.maximum(values, 0.0) + strength)[:, None]))
        sides = (("validation", validation), ("test", test))
        found = {side: (inputs - x_mean) @ slope + y_mean for side, inputs in sides}
        reached = score(y["validation"], found["validation"])
        if best is None or reached > best[0]:
            best = (reached, found)
    return best[1]


def class_weights(y: NDArray) -> NDArray[np.float64]:
    """Return the weight of each track, so that rare classes count as much as common ones.

    Where tracks have several tags, or none, all weigh the same.
    """
    if not np.all(y.sum(axis=1) == 1.0):
        return np.ones(len(y))
    weights = 1.0 / y.sum(axis=0)[y.argmax(axis=1)]
    return weights / weights.mean()


def forest(x: Sides, y: Sides, *, seed: int = 0) -> dict[str, NDArray]:
    """Fit a small random forest; return the scores of the validation and the test side."""
    from sklearn.ensemble import RandomForestRegressor

    model = RandomForestRegressor(
        N_TREES, max_depth=TREE_DEPTH, min_samples_leaf=TREE_LEAF, random_state=seed
    )
    model.fit(x["train"], y["train"], sample_weight=class_weights(y["train"]))
    shape = (-1, y["train"].shape[1])
    return {side: model.predict(x[side]).reshape(shape) for side in ("validation", "test")}


def svm(x: Sides, y: Sides, score: Score) -> dict[str, NDArray]:
    """Fit support vector machines, one class against the others, with a radial kernel.

    How soft the margin is, C, is the best on validation; rare classes weigh more. Classes that
    training never has, or always, get the same score for every track.

    Returns
    -------
    dict
        The decisions for the validation and the test side: above 0 for yes.
    """
    from sklearn.multiclass import OneVsRestClassifier
    from sklearn.svm import SVC

    train, validation, test = _standardised(x["train"], x["train"], x["validation"], x["test"])
    told = y["train"].any(axis=0) & ~y["train"].all(axis=0)
    best: tuple[float, dict] | None = None
    for softness in SOFTNESS:
        model = OneVsRestClassifier(SVC(C=softness, class_weight="balanced"))
        model.fit(train, y["train"][:, told].astype(int))
        found = {}
        for side, inputs in (("validation", validation), ("test", test)):
            found[side] = np.where(y["train"].any(axis=0), 1e3, -1e3) * np.ones((len(inputs), 1))
            found[side][:, told] = model.decision_function(inputs).reshape(len(inputs), -1)
        reached = score(y["validation"], found["validation"])
        if best is None or reached > best[0]:
            best = (reached, found)
    return best[1]


def leakage(x: Sides, y: Sides, score: Score, *, seed: int = 0) -> NDArray[np.float64]:
    """Return the test scores of a linear model or a forest, whichever is better on validation."""
    found = [linear(x, y, score), forest(x, y, seed=seed)]
    return max(found, key=lambda sides: score(y["validation"], sides["validation"]))["test"]


def _standardised(reference: NDArray, *others: NDArray) -> list[NDArray]:
    """Return arrays shifted and scaled so that the reference has mean 0 and deviation 1."""
    deviation = reference.std(axis=0)
    scale = np.where(deviation > 1e-9, deviation, 1.0)
    return [(other - reference.mean(axis=0)) / scale for other in others]


# --- retrieval ---


# --- separation, pitch and chords ---
