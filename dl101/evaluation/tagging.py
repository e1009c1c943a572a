"""Scores of labels: one class, or several tags, for a whole track.

Conventions: classes and tags alike are matrices of zeros and ones (tracks, classes); scores have
the same shape, higher for more likely; where *probabilities* are asked for, they lie from 0 to 1.
What is said after a decision is a matrix of zeros and ones again.

Some scores of a class do not exist: without a track that has it there is nothing to find, and
without one that has it not there is no false alarm. They are NaN. Macro averages leave such classes
out, and :func:`undefined` names them, because the mean of the others says nothing of these.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Score = Callable[[NDArray, NDArray], float]


def accuracy(truth: NDArray, scores: NDArray) -> float:
    """Return the share of tracks whose highest score is their class."""
    return float(np.mean(scores.argmax(axis=1) == truth.argmax(axis=1)))


def balanced_accuracy(truth: NDArray, scores: NDArray) -> float:
    """Return the mean over classes of the share of its tracks that is recognised."""
    right = scores.argmax(axis=1) == truth.argmax(axis=1)
    return float(np.mean([right[column > 0].mean() for column in truth.T if column.any()]))


def macro_auc(truth: NDArray, scores: NDArray) -> float:
    """Return the mean over tags of the area under the ROC curve.

    The area is the chance that a track with the tag scores higher than one without (ties count
    half). Tags that all tracks have, or none, are left out.
    """
    areas = []
    for has, value in zip(truth.T > 0, np.asarray(scores, dtype=float).T, strict=True):
        n_with, n_without = int(has.sum()), int((~has).sum())
        if n_with and n_without:
            ranks = _mean_ranks(value)
            areas.append((ranks[has].mean() - (n_with + 1) / 2) / n_without)
    return float(np.mean(areas))


def _mean_ranks(values: NDArray) -> NDArray[np.float64]:
    """Return the rank of each value from 1 up; equal values share the mean of their ranks."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[inverse]


def by_chance(
    truth: NDArray, scores: NDArray, score: Score, *, seed: int = 0, n_shuffles: int = 400
) -> tuple[float, float]:
    """Return the mean of a score, and what it exceeds once in a hundred, for shuffled tracks."""
    rng = np.random.default_rng([seed])
    values = [score(truth, scores[rng.permutation(len(scores))]) for _ in range(n_shuffles)]
    return float(np.mean(values)), float(np.quantile(values, 0.99))


# ---- One class of several ----------------------------------------------------------------------


def macro_recall(truth: NDArray, scores: NDArray) -> float:
    """Return the mean recall of the classes, where the highest score decides.

    The same as :func:`balanced_accuracy`, under the name that papers on GTZAN use.
    """
    return balanced_accuracy(truth, scores)


def one_hot_of_highest(scores: NDArray) -> NDArray[np.float64]:
    """Return 1 for the class with the highest score of each track (the first of equal ones)."""
    return np.eye(scores.shape[1])[scores.argmax(axis=1)]


def confusion_matrix(truth: NDArray, scores: NDArray) -> NDArray[np.int64]:
    """Return how many tracks of each class (row) are taken for each class (column)."""
    n = truth.shape[1]
    pairs = n * truth.argmax(axis=1) + scores.argmax(axis=1)
    return np.bincount(pairs, minlength=n * n).reshape(n, n)


# ---- After a decision --------------------------------------------------------------------------


def class_report(truth: NDArray, said: NDArray) -> dict[str, NDArray[np.float64]]:
    """Return the counts and the scores of each class, (classes,) arrays by name.

    ``tp``, ``fp``, ``fn`` and ``tn`` count tracks; ``precision``, ``recall`` and ``f`` are 0 where
    there is nothing to divide by; ``support`` is the number of tracks that have the class.
    """
    truth, said = np.asarray(truth) > 0, np.asarray(said) > 0
    counts = {
        "tp": (truth & said).sum(axis=0),
        "fp": (~truth & said).sum(axis=0),
        "fn": (truth & ~said).sum(axis=0),
        "tn": (~truth & ~said).sum(axis=0),
    }
    tp, fp, fn = (counts[name].astype(float) for name in ("tp", "fp", "fn"))
    return counts | {
        "precision": tp / np.maximum(tp + fp, 1),
        "recall": tp / np.maximum(tp + fn, 1),
        "f": 2 * tp / np.maximum(2 * tp + fp + fn, 1),
        "support": counts["tp"] + counts["fn"],
    }


def micro_f(truth: NDArray, said: NDArray) -> float:
    """Return F over all decisions of all classes, each counting alike."""
    return float(class_report(np.ravel(truth)[:, None], np.ravel(said)[:, None])["f"][0])


def best_threshold(truth: NDArray, probabilities: NDArray, candidates: NDArray) -> float:
    """Return the candidate with the best :func:`micro_f`, for all classes (the first of equals).

    Give it validation tracks: a threshold chosen on the test side makes the test side easier.
    """
    return float(max(candidates, key=lambda level: micro_f(truth, probabilities >= level)))


# ---- At all thresholds -------------------------------------------------------------------------


class OperatingPoints(NamedTuple):
    """What is said at each threshold that makes a difference, from the highest down.

    ``thresholds`` are the different scores; ``tp`` and ``fp`` count the tracks with and without the
    class whose score reaches the threshold. ``n_with`` and ``n_without`` are how many there are.
    """

    thresholds: NDArray[np.float64]
    tp: NDArray[np.int64]
    fp: NDArray[np.int64]
    n_with: int
    n_without: int


def operating_points(has: NDArray, scores: NDArray) -> OperatingPoints:
    """Return the counts of one class at every threshold: ROC and precision-recall in one.

    Equal scores pass a threshold together, so that the order of the tracks does not matter.

    Parameters
    ----------
    has
        (tracks,) 1 or True for those that have the class.
    scores
        (tracks,) higher for more likely.
    """
    has, scores = np.asarray(has) > 0, np.asarray(scores, dtype=float)
    order = np.argsort(-scores, kind="stable")
    tp = np.cumsum(has[order])
    last = np.flatnonzero(np.diff(scores[order], append=-np.inf))  # of each run of equal scores
    return OperatingPoints(
        scores[order][last], tp[last], last + 1 - tp[last], int(has.sum()), int((~has).sum())
    )


def roc_auc(has: NDArray, scores: NDArray) -> float:
    """Return the area under the ROC curve of one class; NaN if all tracks have it, or none.

    The curve is tp / n_with over fp / n_without, from (0, 0) on, with straight lines between the
    points (Fawcett, "An introduction to ROC analysis", 2006).
    """
    points = operating_points(has, scores)
    if not (points.n_with and points.n_without):
        return float("nan")
    tp, fp = (np.concatenate([[0], counts]) for counts in (points.tp, points.fp))
    area = np.sum(np.diff(fp) * (tp[1:] + tp[:-1])) / 2
    return float(area / (points.n_with * points.n_without))


def average_precision(has: NDArray, scores: NDArray) -> float:
    """Return the mean over the tracks that have a class of the precision at their score.

    NaN if none has it. No line is drawn between the points of the precision-recall curve, which
    would be too kind (Davis and Goadrich, 2006).
    """
    points = operating_points(has, scores)
    if not points.n_with:
        return float("nan")
    gained = np.diff(points.tp, prepend=0)
    return float(np.sum(gained * points.tp / (points.tp + points.fp)) / points.n_with)


def by_class(truth: NDArray, scores: NDArray, score: Score = roc_auc) -> NDArray[np.float64]:
    """Return the score of each class, (classes,): :func:`roc_auc` or :func:`average_precision`."""
    return np.array([score(*pair) for pair in zip(truth.T, scores.T, strict=True)])


def macro(values: NDArray) -> float:
    """Return the mean over the classes that have a score; NaN if none has."""
    values = np.asarray(values, dtype=float)
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else float("nan")


def macro_ap(truth: NDArray, scores: NDArray) -> float:
    """Return the mean over classes of :func:`average_precision` ("mAP")."""
    return macro(by_class(truth, scores, average_precision))


def undefined(truth: NDArray, classes: Sequence[str], score: Score = roc_auc) -> tuple[str, ...]:
    """Return the names of the classes that a macro average of a score leaves out."""
    values = by_class(truth, np.zeros(np.shape(truth)), score)
    return tuple(name for name, value in zip(classes, values, strict=True) if np.isnan(value))


# ---- Probabilities -----------------------------------------------------------------------------


class Reliability(NamedTuple):
    """How often what was said with a probability came true, in bins of equal width.

    ``said`` and ``true`` are the mean probability and the share that holds, NaN in an empty bin;
    ``counts`` is the number of answers.
    """

    said: NDArray[np.float64]
    true: NDArray[np.float64]
    counts: NDArray[np.int64]

    @property
    def expected_error(self) -> float:
        """Return the expected calibration error: mean gap, weighted by the number of answers.

        Naeini, Cooper and Hauskrecht, "Obtaining well calibrated probabilities using Bayesian
        binning", 2015.
        """
        filled = self.counts > 0
        gaps = np.abs(self.said - self.true)[filled]
        return float(np.average(gaps, weights=self.counts[filled]))


def reliability(truth: NDArray, probabilities: NDArray, n_bins: int = 10) -> Reliability:
    """Compare probabilities with what is true: answers of any shape, all taken together.

    For tags, give both matrices; for one class of several, give whether the likeliest class is
    right, and its probability. A probability on the border of two bins belongs to the upper one.
    """
    truth, said = np.ravel(truth).astype(float), np.ravel(probabilities).astype(float)
    # Not said * n_bins: 0.29 * 100 is a little less than 29.
    places = np.searchsorted(np.linspace(0, 1, n_bins + 1)[1:-1], said, side="right")
    counts = np.bincount(places, minlength=n_bins)
    with np.errstate(invalid="ignore"):
        means = [np.bincount(places, values, n_bins) / counts for values in (said, truth)]
    return Reliability(*means, counts)


# ---- How sure ----------------------------------------------------------------------------------


def bootstrap(
    truth: NDArray,
    scores: NDArray,
    score: Score,
    *,
    n_draws: int = 400,
    confidence: float = 0.95,
    seed: int = 0,
) -> tuple[float, float]:
    """Return the interval in which a score lies for other tracks of the same kind.

    As many tracks are drawn, with repeats, as there are, ``n_draws`` times; the interval leaves out
    the same share of draws at both ends (Efron, 1979, percentile method). Draws in which no class
    has a score are left out. It knows nothing of other seeds, other artists of the training side,
    or other kinds of tracks.
    """
    rng = np.random.default_rng([seed, 17])
    drawn = rng.integers(len(truth), size=(n_draws, len(truth)))
    values = [score(truth[rows], scores[rows]) for rows in drawn]
    outside = (1 - confidence) / 2
    low, high = np.nanquantile(values, [outside, 1 - outside])
    return float(low), float(high)
