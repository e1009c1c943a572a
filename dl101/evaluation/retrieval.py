"""Scores of retrieval (which recordings are of one work?), and similarities without learning.

Conventions: a similarity is (items, items), higher for more alike; profiles of pitch classes are
(items, 12) or one (12, frames) each.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

ALIKE, UNLIKE_COST = 0.7, -1.0  # cosine of two frames; chosen on the validation side of covers


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
