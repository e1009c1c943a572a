"""Scores of retrieval (which recordings are of one work?), and similarities without learning.

Conventions: a query is compared with all other items, never with itself; an item whose work nobody
else plays is no query, but stays among the items, to be confused with. Distances are (queries,
items), lower for more alike; similarities are (items, items), higher for more alike; profiles of
pitch classes are (items, 12) or one (12, frames) each.

**Ties.** Items at the same distance share their places in the list, so that no score depends on the
order of the files. What asks *how far down* (the rank of the first hit, precision at each hit) goes
to the end of the tied places, as scikit-learn's ``average_precision_score`` does; what asks *how
much of it* (the first k, the gain) gives each tied item its share, the mean over all orders of
them (McSherry and Najork, "Computing information retrieval performance measures efficiently in the
presence of tied scores", ECIR 2008), as scikit-learn's ``ndcg_score`` does.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dl101.errors import DataError

ALIKE, UNLIKE_COST = 0.7, -1.0  # cosine of two frames; chosen on the validation side of covers
BLOCK_ROWS = 256  # of a distance matrix held at once: 15,000 items take 31 MB
SCORES = (
    "average_precision",
    "rank_of_first",
    "reciprocal_rank",
    "precision_at_1",
    "precision_at_10",
    "ndcg",
)


def distance_blocks(
    queries: ArrayLike, items: ArrayLike, *, rows: int = BLOCK_ROWS
) -> Iterator[NDArray[np.float64]]:
    """Yield the Euclidean distances of each query to all items, (rows, items) at a time.

    Parameters
    ----------
    queries, items
        Embeddings, (queries, numbers) and (items, numbers).
    rows
        Queries in a block.

    Raises
    ------
    DataError
        If an embedding is not finite or the two differ in length.
    """
    queries, items = np.asarray(queries, dtype=float), np.asarray(items, dtype=float)
    fits = queries.ndim == items.ndim == 2 and queries.shape[1] == items.shape[1]
    if not (fits and np.isfinite(queries).all() and np.isfinite(items).all()):
        raise DataError(
            "embeddings",
            got=f"arrays of shape {queries.shape} and {items.shape}",
            expected="finite numbers, (queries, numbers) and (items, numbers)",
            hint="take the embeddings of one network",
        )
    squared = np.square(items).sum(axis=1)
    for start in range(0, len(queries), rows):
        block = queries[start : start + rows]
        cross = np.square(block).sum(axis=1)[:, None] + squared - 2.0 * block @ items.T
        yield np.sqrt(np.maximum(cross, 0.0))


def ranking_scores(
    distances: Iterable[ArrayLike], works: Sequence[str]
) -> dict[int, dict[str, float]]:
    """Return how well each item finds the others of its work.

    Parameters
    ----------
    distances
        The rows of the (items, items) matrix in order, a block (rows, items) at a time, such as
        :func:`distance_blocks` yields: the matrix need not fit in memory.
    works
        The work of each item.

    Returns
    -------
    dict
        By the number of the query: the scores of :data:`SCORES`. ``rank_of_first`` counts from 1,
        lower is better; its mean is called MR1, that of ``reciprocal_rank`` MRR, that of
        ``average_precision`` mAP. Average precision is the mean, over all other items of the work,
        of the precision where each is found. ``precision_at_10`` is the share of hits among the
        first ten places, also where fewer than ten items could be hits. ``ndcg`` is the gain
        discounted by 1 / log2(1 + rank), relative to the best order. Items without another of
        their work are not in it.

    Raises
    ------
    DataError
        If the blocks do not make a square matrix of numbers, one row for each item.
    """
    works = np.asarray(works)
    n = len(works)
    gains = np.concatenate([[0.0], np.cumsum(1.0 / np.log2(np.arange(n) + 2.0))])
    found: dict[int, dict[str, float]] = {}
    query = 0
    for block in distances:
        block = np.array(block, dtype=float)
        if (
            block.ndim != 2
            or block.shape[1] != n
            or query + len(block) > n
            or np.isnan(block).any()
        ):
            _refuse_rows(block.shape, query, n)
        places = query + np.arange(len(block))
        block[np.arange(len(block)), places] = np.inf  # itself: after all others, and no hit
        ordered = np.sort(block, axis=1)[:, : n - 1]
        for row, sorted_row in zip(block, ordered, strict=True):
            is_hit = works == works[query]
            is_hit[query] = False
            if is_hit.any():
                found[query] = _scores(np.sort(row[is_hit]), sorted_row, gains)
            query += 1
    if query != n:
        _refuse_rows((query, n), 0, n)
    return found


def _refuse_rows(shape: tuple[int, ...], before: int, n: int) -> None:
    raise DataError(
        "distances",
        got=f"a block of shape {shape} after {before} rows, or NaN in it",
        expected=f"{n} rows of {n} numbers, one for each item",
        hint="give each item one row, and one work",
    )


def _scores(hits: NDArray, ordered: NDArray, gains: NDArray) -> dict[str, float]:
    """Return the scores of one query from the sorted distances of its hits and of all items."""
    before = np.searchsorted(ordered, hits, side="left")  # items that are nearer
    through = np.searchsorted(ordered, hits, side="right")  # and those at the same distance
    hits_through = np.searchsorted(hits, hits, side="right")

    def share_of_first(k: int) -> float:
        return float(np.clip((k - before) / (through - before), 0.0, 1.0).sum() / k)

    gain = np.sum((gains[through] - gains[before]) / (through - before))
    values = (
        np.mean(hits_through / through),
        through[0],
        1.0 / through[0],
        share_of_first(1),
        share_of_first(10),
        gain / gains[hits.size],
    )
    return dict(zip(SCORES, map(float, values), strict=True))


def retrieval_scores(similarity: ArrayLike, groups: Sequence[str]) -> dict[str, float]:
    """Return how well a similarity finds the other members of each item's group.

    Of equally similar items, the one that comes first is ranked first.

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
    order = np.argsort(-np.asarray(similarity, dtype=float), axis=1, kind="stable")
    found = ranking_scores([np.argsort(order, axis=1)], groups).values()
    return {
        "mean_average_precision": float(np.mean([each["average_precision"] for each in found])),
        "precision_at_1": float(np.mean([each["precision_at_1"] for each in found])),
        "n_queries": float(len(found)),
    }


def transposed_similarity(profiles: NDArray) -> NDArray[np.float64]:
    """Return the highest cosine of two profiles (items, 12) over all twelve transpositions."""
    unit = profiles / np.maximum(np.linalg.norm(profiles, axis=1, keepdims=True), 1e-9)
    return np.max([unit @ np.roll(unit, shift, axis=1).T for shift in range(12)], axis=0)


def correlation_similarity(sequences: Sequence[NDArray]) -> NDArray[np.float64]:
    """Return the peak of the cross-correlation of two sequences over all lags and transpositions.

    After Ellis and Poliner, "Identifying 'cover songs' with chroma features and dynamic programming
    beat tracking" (ICASSP 2007): the sequences are matched as a whole, at one lag. Their high-pass
    filter along the lag is here the difference from the mean of the two neighbours: versions agree
    sharply at one lag, what merely shares its notes agrees at all of them. Their frames are beats;
    these are of equal duration, so that another tempo spoils the match.

    Parameters
    ----------
    sequences
        One (12, frames) array per item.
    """
    frames = [s - s.mean(axis=0) for s in sequences]
    frames = [f / max(float(np.linalg.norm(f)), 1e-9) for f in frames]
    longest = max(frame.shape[1] for frame in frames)
    size = 2 * longest  # zeros behind, so that the end of one does not meet the beginning
    spectra = np.stack([np.fft.rfft2(frame, s=(12, size), axes=(0, 1)) for frame in frames])
    similarity = np.zeros((len(frames), len(frames)))
    for query, spectrum in enumerate(spectra):
        at_lags = np.fft.irfft2(spectra[query:] * spectrum.conj(), s=(12, size), axes=(1, 2))
        around = (np.roll(at_lags, 1, axis=2) + np.roll(at_lags, -1, axis=2)) / 2
        peaks = (at_lags - around).max(axis=(1, 2))
        similarity[query, query:] = similarity[query:, query] = peaks
    return similarity


def fourier_magnitudes(
    sequences: Sequence[NDArray], *, width: int, power: float = 2.0
) -> NDArray[np.float64]:
    """Return vectors that neither a transposition nor a small shift in time changes much.

    After Bertin-Mahieux and Ellis, "Large-scale cover song recognition using the 2D Fourier
    transform magnitude" (ISMIR 2012): the magnitudes of the two-dimensional Fourier transform of
    every patch of ``width`` frames, the median over the patches. A rotation of the rows changes
    phases only.

    Parameters
    ----------
    sequences
        One (12, frames) array per item; one that is shorter than a patch is repeated.
    width
        Frames of a patch.
    power
        The contrast is raised: features to this power (they take 1.96).

    Returns
    -------
    NDArray
        (items, 7 * width): rows 0 to 6 of the transform, the others are their mirror image. Each
        vector has the length 1.
    """
    found = []
    for sequence in sequences:
        repeats = -(-width // sequence.shape[1])
        whole = np.tile(np.asarray(sequence, dtype=float), (1, repeats)) ** power
        patches = np.lib.stride_tricks.sliding_window_view(whole, width, axis=1)
        magnitudes = np.abs(np.fft.fft2(patches, axes=(0, 2)))[:7]
        vector = np.median(magnitudes, axis=1).ravel()
        found.append(vector / max(float(np.linalg.norm(vector)), 1e-9))
    return np.stack(found)


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
