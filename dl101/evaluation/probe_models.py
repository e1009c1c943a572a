"""Small models and their scores, to learn how hard a dataset is before any deep learning.

Conventions: inputs are arrays (tracks, features), classes and tags alike are matrices of zeros and
ones (tracks, classes), and what a model returns are scores of the same shape, higher for more
likely. A *side* is ``"train"``, ``"validation"`` or ``"test"``: models learn from the first, their
one parameter is chosen on the second, and only scores of the third are reported.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

Sides = Mapping[str, NDArray]
Score = Callable[[NDArray, NDArray], float]

STRENGTHS = tuple(10.0**power for power in range(-1, 6))
ALIKE, UNLIKE_COST = 0.7, -1.0  # cosine of two frames; chosen on the validation side of covers
N_TREES, TREE_DEPTH, TREE_LEAF = 100, 5, 3


def one_hot(labels: Sequence[str], classes: Sequence[str]) -> NDArray[np.float64]:
    """Return labels as a matrix (tracks, classes)."""
    return (np.asarray(labels)[:, None] == np.asarray(classes)[None, :]).astype(float)


# --- scores ---


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


# --- models ---


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


def retrieval_scores(similarity: ArrayLike, groups: Sequence[str]) -> dict[str, float]:
    """Return how well a similarity finds the other members of each item's group.

    Parameters
    ----------
    similarity
        (items, items), higher for more alike; an item is never compared with itself.
    groups
        The group of each item; items without a partner are no queries, but remain to be confused
        with.

    Returns
    -------
    dict
        ``mean_average_precision`` and ``precision_at_1``, and the number of queries.
    """
    similarity = np.array(similarity, dtype=float)
    np.fill_diagonal(similarity, -np.inf)
    groups = np.asarray(groups)
    precisions, firsts = [], []
    for query, row in enumerate(similarity):
        order = np.argsort(-row, kind="stable")
        hits = groups[order[order != query]] == groups[query]
        if hits.any():
            places = np.flatnonzero(hits) + 1
            precisions.append(np.mean(np.arange(1, places.size + 1) / places))
            firsts.append(hits[0])
    return {
        "mean_average_precision": float(np.mean(precisions)),
        "precision_at_1": float(np.mean(firsts)),
        "n_queries": float(len(precisions)),
    }


def transposed_similarity(profiles: NDArray) -> NDArray[np.float64]:
    """Return the highest cosine of two profiles (items, 12) over all twelve transpositions."""
    unit = profiles / np.maximum(np.linalg.norm(profiles, axis=1, keepdims=True), 1e-9)
    return np.max([unit @ np.roll(unit, shift, axis=1).T for shift in range(12)], axis=0)


def alignment_similarity(sequences: Sequence[NDArray]) -> NDArray[np.float64]:
    """Return how long a stretch of two sequences of pitch-class profiles can be aligned.

    The second sequence is first transposed to where its mean profile fits the first best (the
    optimal transposition index of Serra et al., "Chroma binary similarity and local alignment
    applied to cover song identification", 2008). Frames of the two are alike or not; the score of
    the best local alignment (Smith and Waterman, 1981), divided by the longer length, is returned.

    Parameters
    ----------
    sequences
        One (12, frames) array per item.
    """
    n = len(sequences)
    # Without the mean over the pitch classes, frames that have little in common are not alike.
    frames = [s - s.mean(axis=0) for s in sequences]
    frames = [f / np.maximum(np.linalg.norm(f, axis=0), 1e-9) for f in frames]
    means = np.stack([frame.mean(axis=1) for frame in frames])
    longest = max(frame.shape[1] for frame in frames)
    padded = np.zeros((n, longest, 12))
    for row, frame in zip(padded, frames, strict=True):
        row[: frame.shape[1]] = frame.T
    lengths = np.array([frame.shape[1] for frame in frames])
    similarity = np.zeros((n, n))
    for query in range(n):
        fits = np.stack([np.roll(means, shift, axis=1) @ means[query] for shift in range(12)])
        turn = (np.arange(12)[None, :] - fits.argmax(axis=0)[:, None]) % 12
        others = np.take_along_axis(padded, turn[:, None, :], axis=2)
        cosine = np.einsum("ap,nbp->nab", frames[query].T, others)
        similarity[query] = _local_alignment(np.where(cosine > ALIKE, 1.0, UNLIKE_COST))
    return similarity / np.maximum(lengths[:, None], lengths[None, :])


def _local_alignment(gains: NDArray) -> NDArray[np.float64]:
    """Return the best local alignment of each (pairs, a, b) matrix of gains.

    Frames may be skipped on one side, at most one in two, as tempi differ no more.
    """
    n, length, width = gains.shape
    value = np.zeros((n, length + 2, width + 2))
    best = np.zeros(n)
    for total in range(length + width - 1):
        a = np.arange(max(0, total - width + 1), min(length, total + 1))
        b = total - a
        before = np.maximum(
            value[:, a + 1, b + 1], np.maximum(value[:, a, b + 1], value[:, a + 1, b])
        )
        reached = np.maximum(before + gains[:, a, b], 0.0)
        value[:, a + 2, b + 2] = reached
        best = np.maximum(best, reached.max(axis=1))
    return best


# --- separation, pitch and chords ---


def si_sdr(estimate: NDArray, reference: NDArray) -> float:
    """Return the scale-invariant signal-to-distortion ratio in dB (Le Roux et al., 2019)."""
    scale = np.vdot(estimate, reference) / max(float(np.vdot(reference, reference)), 1e-12)
    target = scale * reference
    error = float(np.sum((estimate - target) ** 2))
    return float(10.0 * np.log10(max(float(np.sum(target**2)), 1e-12) / max(error, 1e-12)))


def ratio_mask(stems: NDArray, *, frame_samples: int = 2048) -> NDArray[np.float64]:
    """Separate a mixture with masks made from the truth: an upper limit for many methods.

    Parameters
    ----------
    stems
        (stems, samples); the mixture is their sum.

    Returns
    -------
    ndarray, shape (stems, samples)
        The mixture's short-time spectrum, each bin shared out by the stems' magnitudes.
    """
    import scipy.signal

    settings = {"nperseg": frame_samples, "noverlap": frame_samples * 3 // 4}
    spectra = scipy.signal.stft(stems, **settings)[2]
    magnitudes = np.abs(spectra)
    masks = magnitudes / np.maximum(magnitudes.sum(axis=0), 1e-9)
    return scipy.signal.istft(masks * spectra.sum(axis=0), **settings)[1][:, : stems.shape[1]]


def pitch_accuracy(truth_midi: NDArray, estimate_midi: NDArray) -> dict[str, float]:
    """Return the share of voiced frames within half a semitone, and the same modulo octaves."""
    voiced = np.isfinite(truth_midi)
    error = np.abs(estimate_midi[voiced] - truth_midi[voiced])
    folded = np.abs((error + 6.0) % 12.0 - 6.0)
    return {
        "raw_pitch_accuracy": float(np.mean(error < 0.5)),
        "raw_chroma_accuracy": float(np.mean(folded < 0.5)),
    }


def match_chords(chroma: NDArray, *, silence: float = 0.0) -> NDArray[np.int64]:
    """Return the best of 24 binary templates for each frame of a chroma (12, frames).

    Frames whose sum does not exceed ``silence`` have no chord (24).
    """
    major, minor = np.zeros(12), np.zeros(12)
    major[[0, 4, 7]] = minor[[0, 3, 7]] = 1.0
    templates = [np.roll(shape, root) for shape in (major, minor) for root in range(12)]
    best = (np.stack(templates) @ chroma).argmax(axis=0)
    return np.where(chroma.sum(axis=0) > silence, best, 24)
