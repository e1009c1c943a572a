"""The exercises of the chapter on cover song identification."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dl101.lab.exercise import Exercise, Function

# ---- 1: the rank of the first version ----------------------------------------------------------


def _first_ranks(
    *,
    itself: str = "removed",
    order: Callable[[NDArray], NDArray] = lambda row: np.argsort(row, kind="stable"),
    from_: int = 1,
    singles: Callable[[NDArray], float] = lambda ranked: 0,
    which: int = 0,
    queries: Callable[[NDArray], NDArray] = lambda distances: distances,
) -> Callable[[NDArray, NDArray], NDArray]:
    """Return the right function (the defaults) or one that misreads the rule.

    ``itself`` says what becomes of the query in its own list: it is removed, kept as a hit, or kept
    as a place that is no hit.
    """

    def first_ranks(distances: NDArray, works: NDArray) -> NDArray:
        works, ranks = np.asarray(works), []
        for query, row in enumerate(queries(np.asarray(distances))):
            ranked = order(row)
            if itself == "removed":
                ranked = ranked[ranked != query]
            hits = works[ranked] == works[query]
            if itself == "a place":
                hits &= ranked != query
            places = np.flatnonzero(hits)
            ranks.append(places[which] + from_ if places.size else singles(ranked))
        return np.array(ranks)

    return first_ranks


def _lists(index: int) -> tuple[NDArray, NDArray]:
    """Return distances and works: each query has versions far and near, one has none."""
    rng = np.random.default_rng([131, 1, index])
    works = np.array([0, 1, 0, 2, 1, 0, 3, 1, 0, 1, 4, 4])[rng.permutation(12)]
    distances = rng.uniform(0.2, 2.0, (12, 12))  # not symmetric: rows are the queries
    np.fill_diagonal(distances, 0.0)
    return distances, works


RANKS = Function(
    title="the query in its own list",
    minutes=15,
    rubric={
        "the query itself is taken out of its list before ranks are counted": 2,
        "the nearest item has rank 1, and the rank is that of the first version": 1,
        "a query without another version gets 0": 1,
    },
    right=_first_ranks(),
    cases=lambda: [_lists(i) for i in range(4)],
    returns="one rank for each query",
    mistakes={
        "Every query finds itself: it lies at distance 0 from itself, so your rank is always 1, "
        "whatever the system. Take the query out of its own list.": _first_ranks(itself="a hit"),
        "The query is no hit, but it still takes a place: your ranks are one too large. Take it "
        "out of the list, and then count.": _first_ranks(itself="a place"),
        "Your ranks begin at 0: the nearest item has rank 1. (np.flatnonzero and argmax give "
        "places, counted from 0.)": _first_ranks(from_=0),
        "You rank from the farthest to the nearest. Distances are sorted upwards: small means "
        "alike. (For similarities it is the other way round.)": (
            _first_ranks(order=lambda row: np.argsort(-row, kind="stable"))
        ),
        "You return the rank of the last version; MR1 asks for the first that is found.": (
            _first_ranks(which=-1)
        ),
        "A query without another version gets 1 from you, as if it had found something at once. "
        "(argmax of a list of False is 0.) It is no query: return 0.": (
            _first_ranks(singles=lambda ranked: 1)
        ),
        "A query without another version gets the last rank from you. Nothing can be found there, "
        "however good the system: it is no query. Return 0.": (
            _first_ranks(singles=lambda ranked: ranked.size),
            _first_ranks(singles=lambda ranked: ranked.size + 1),
        ),
        "You rank the columns: row q holds the distances of query q to all items.": (
            _first_ranks(queries=lambda distances: distances.T)
        ),
        "You return 1 / rank. Asked is the rank itself, before anything is averaged.": (
            lambda distances, works: np.where(
                _first_ranks()(distances, works) > 0,
                1 / np.maximum(_first_ranks()(distances, works), 1),
                0,
            )
        ),
    },
    differs="For a query of a hidden list the first version has rank {right:g} (0: it has none), "
    "and you say {got:g}. Sort the row, leave out the query, find the first item of its work.",
    praise="The query is out of its own list, places count from 1, and who has no version is no "
    "query.",
)

# ---- 2: average precision ----------------------------------------------------------------------


def _average(
    *,
    divide: Callable[[NDArray, int], float] = lambda hits, n_versions: n_versions,
    precision: Callable[[NDArray], NDArray] = lambda hits: (
        np.cumsum(hits) / np.arange(1, hits.size + 1)
    ),
    counted: Callable[[NDArray], NDArray] = lambda hits: hits,
) -> Callable[[NDArray, int], float]:
    def average_precision(hits: NDArray, n_versions: int) -> float:
        hits = np.asarray(hits, dtype=float)
        return float((precision(hits) * counted(hits)).sum() / divide(hits, n_versions))

    return average_precision


def _ranked(index: int) -> tuple[NDArray, int]:
    """Return a list that is cut off: not all versions are in it."""
    rng = np.random.default_rng([131, 2, index])
    hits = np.zeros(int(rng.integers(13, 18)), dtype=bool)
    hits[rng.choice(np.arange(1, 13), int(rng.integers(3, 6)), replace=False)] = True
    return hits, int(hits.sum() + rng.integers(1, 4))


AVERAGE = Function(
    title="average precision: the sum divided by what?",
    minutes=20,
    rubric={
        "precision is taken at the place of each hit, and nowhere else": 2,
        "the sum is divided by the number of versions that there are, found or not": 2,
    },
    right=_average(),
    cases=lambda: [_ranked(i) for i in range(4)],
    returns="one number",
    mistakes={
        "You divide by the length of the list. (So does the formula of some textbooks, 1/K.) Then "
        "a longer list lowers the score of the same ranking, and a perfect one does not get 1. "
        "Divide by the number of versions.": _average(divide=lambda hits, n: hits.size),
        "You divide by the hits in the list: versions that were not found cost nothing. One hit "
        "at the first place would be perfect, whatever is missing. Divide by n_versions.": (
            _average(divide=lambda hits, n: hits.sum())
        ),
        "This is precision at 10, the share of hits among the first ten: the order among them, "
        "and all that comes later, does not count. (It was once published as mAP.)": (
            lambda hits, n: float(np.mean(hits[:10]))
        ),
        "You do not divide at all: a work with many versions would have a score above 1.": (
            _average(divide=lambda hits, n: 1.0)
        ),
        "You average the precision of every place. Only the places of hits count: leave out the "
        "others.": (
            _average(counted=np.ones_like, divide=lambda hits, n: hits.size),
            _average(counted=np.ones_like),
        ),
        "You average 1 / rank over the versions. Precision at a hit counts the hits up to there: "
        "the second hit at rank 4 has precision 2/4, not 1/4.": (
            _average(precision=lambda hits: 1 / np.arange(1, hits.size + 1))
        ),
        "This is the reciprocal rank of the first hit: later hits do not count in it.": (
            lambda hits, n: float(1 / (1 + np.argmax(hits)))
        ),
        "Your ranks begin at 0 or 2: the precision at rank k is the number of hits up to k, the "
        "k-th included, divided by k, and k counts from 1.": (
            _average(precision=lambda hits: np.cumsum(hits) / np.arange(2, hits.size + 2)),
            _average(precision=lambda hits: (np.cumsum(hits) - hits) / np.arange(1, hits.size + 1)),
            _average(precision=lambda hits: np.cumsum(hits) / np.maximum(np.arange(hits.size), 1)),
        ),
        "This is the share of versions that were found, recall: the order does not count in it.": (
            lambda hits, n: float(np.sum(hits) / n)
        ),
    },
    edges={
        "A list without a hit scores 0.": (
            (np.zeros(5, dtype=bool), 3),
            lambda hits, n: _average()(hits, n) if np.any(hits) else 1.0,
        ),
        "A perfect list scores 1: all versions at its beginning.": (
            (np.array([True, True, True, False]), 3),
            lambda hits, n: min(_average()(hits, n), 0.9),
        ),
        "A list that is shorter than the number of versions is divided by n_versions, too: what "
        "was cut off was not found.": (
            (np.array([True, False, True]), 5),
            _average(divide=lambda hits, n: min(n, hits.size)),
        ),
    },
    differs="A hidden list scores {right:.4f}, and you say {got:.4f}.",
    praise="Precision at each hit, divided by all versions that could have been found.",
)

# ---- 3: semi-hard negatives --------------------------------------------------------------------


def _semi_hard(
    *,
    lower: Callable[[NDArray, float], Any] = lambda d, p: d > p,
    upper: Callable[[NDArray, float, float], Any] = lambda d, p, margin: d < p + margin,
    negative: Callable[[NDArray, int], NDArray] = lambda works, anchor: works != works[anchor],
    hold: Callable[[float], float] = float,
) -> Callable[..., NDArray]:
    def semi_hard(
        distances: NDArray, works: NDArray, anchor: int, positive: int, margin: float
    ) -> NDArray:
        distances, works = np.asarray(distances, dtype=float), np.asarray(works)
        p = hold(distances[positive])
        return lower(distances, p) & upper(distances, p, margin) & negative(works, anchor)

    return semi_hard


def _distances(index: int) -> tuple[NDArray, NDArray, int, int, float]:
    """Return the distances of one anchor: items of all kinds below, in and beyond the band."""
    rng = np.random.default_rng([131, 3, index])
    works = np.array([7, 7, 7, 7, *rng.integers(0, 6, 26)])
    distances = np.concatenate([[0.0, 1.6, 0.9, 1.9], rng.uniform(0.05, 3.0, 26)])
    order = rng.permutation(30)
    anchor, positive = (int(np.flatnonzero(order == n)[0]) for n in (0, 1))
    return distances[order], works[order], anchor, positive, (0.5, 0.8, 0.7)[index]


_EDGE = (np.array([0.0, 0.5, 0.5, 1.0, 0.75]), np.array([3, 3, 1, 2, 2]), 0, 1, 0.5)

SEMI_HARD = Function(
    title="which negatives are semi-hard?",
    minutes=15,
    rubric={
        "negatives are of another work than the anchor's, so neither it nor a version of it": 1,
        "both sides are tested: P < N and N < P + margin": 2,
        "both borders are outside": 1,
    },
    right=_semi_hard(),
    cases=lambda: [_distances(i) for i in range(3)],
    returns="one True or False for each item",
    mistakes={
        "N > P is not tested: you also take the negatives that are nearer than the positive, the "
        "hard ones. (So did the code of a published tutorial.) Semi-hard is P < N < P + margin.": (
            _semi_hard(lower=lambda d, p: True)
        ),
        "Nothing bounds N from above: negatives beyond P + margin have loss 0 and teach nothing.": (
            _semi_hard(upper=lambda d, p, margin: True)
        ),
        "Versions of the anchor's own work are among your negatives: the items have to be of "
        "another work.": (
            _semi_hard(negative=lambda works, anchor: np.ones(works.size, dtype=bool)),
            _semi_hard(negative=lambda works, anchor: np.arange(works.size) != anchor),
        ),
        "You take the positives: a negative is of another work than the anchor.": (
            _semi_hard(negative=lambda works, anchor: works == works[anchor])
        ),
        "You compare the works with the number of the anchor: another work than the anchor's is "
        "works != works[anchor].": _semi_hard(negative=lambda works, anchor: works != anchor),
        "You take all negatives within a margin of P, on both sides: those nearer than the "
        "positive are hard. Semi-hard is P < N < P + margin.": _semi_hard(
            lower=lambda d, p: True, upper=lambda d, p, margin: np.abs(d - p) < margin
        ),
        "P is made an integer: every distance between 1 and 2 becomes 1.": (
            _semi_hard(hold=lambda p: float(int(p)))
        ),
        "P is missing: you compare N with the margin alone.": (
            _semi_hard(lower=lambda d, p: True, upper=lambda d, p, margin: d < margin),
            _semi_hard(lower=lambda d, p: d > 0, upper=lambda d, p, margin: d < margin),
        ),
        "The band is on the wrong side: you take P - margin < N < P, the negatives that are nearer "
        "than the positive.": _semi_hard(
            lower=lambda d, p: d < p, upper=lambda d, p, margin: d > p - margin
        ),
        "These are the hard negatives, N < P. Semi-hard ones are farther than the positive, but "
        "by less than the margin.": _semi_hard(
            lower=lambda d, p: d < p, upper=lambda d, p, margin: True
        ),
        "You return the numbers of the items: return one True or False for each item.": (
            lambda *case: np.flatnonzero(_semi_hard()(*case))
        ),
    },
    edges={
        "A negative exactly as far as the positive, or exactly a margin farther, is not in the "
        "band: P < N < P + margin, both borders outside.": (
            _EDGE,
            _semi_hard(lower=lambda d, p: d >= p, upper=lambda d, p, margin: d <= p + margin),
        ),
    },
    differs=lambda got, right, *case: (
        f"In a hidden row {int(right.sum())} items are semi-hard negatives, and yours are "
        f"{int(np.sum(got))}; they differ first at item {int(np.argmax(got != right))}."
    ),
    praise="Of another work, farther than the positive, and by less than the margin.",
)

# ---- 4: one kernel, twelve keys ----------------------------------------------------------------


def _best_key(
    *,
    turns: int = 12,
    roll: Callable[[NDArray, int], NDArray] = lambda patch, k: np.roll(patch, k, axis=0),
    reduce: Callable[[NDArray], NDArray] = lambda fits: fits.max(axis=0),
    step: int = 1,
) -> Callable[[NDArray, NDArray], NDArray]:
    def best_key(profile: NDArray, kernel: NDArray) -> NDArray:
        profile, kernel = np.asarray(profile, dtype=float), np.asarray(kernel, dtype=float)
        n = profile.shape[1] - kernel.shape[1] + 1
        fits = [
            [
                np.sum(roll(profile, k)[:, t : t + kernel.shape[1]] * kernel)
                for t in range(0, n, step)
            ]
            for k in range(turns)
        ]
        return reduce(np.array(fits))

    return best_key


def _shifted(profile: NDArray, k: int) -> NDArray:
    """Return a profile moved up without wrapping: what leaves at the top is lost."""
    moved = np.zeros_like(profile)
    moved[k:] = profile[: 12 - k]
    return moved


def _profiles(index: int) -> tuple[NDArray, NDArray]:
    rng = np.random.default_rng([131, 4, index])
    width = int(rng.integers(3, 6))
    return rng.random((12, 14 + index)), rng.normal(0.0, 1.0, (12, width))


BEST_KEY = Function(
    title="one kernel, twelve keys",
    minutes=25,
    rubric={
        "the profile is rotated in pitch, in a circle: what leaves at the top enters below": 2,
        "the best of twelve is taken at each place in time, and time is kept": 2,
    },
    right=_best_key(),
    cases=lambda: [_profiles(i) for i in range(3)],
    returns="one number for each place of the kernel, frames - width + 1",
    rtol=1e-4,
    atol=1e-5,
    mistakes={
        "You compare in the key that the profile comes in, and in no other: rotate it by 0 to 11 "
        "semitones.": _best_key(turns=1),
        "You rotate by 0 to 10: one of the twelve transpositions is missing. (range(12), or 23 "
        "rows: 12 and 11 again.)": _best_key(turns=11),
        "You take the mean over the twelve transpositions. It is the same for every kernel with "
        "the same sum in each frame: what tells melodies apart cancels. Take the maximum.": (
            _best_key(reduce=lambda fits: fits.mean(axis=0)),
            _best_key(reduce=lambda fits: fits.sum(axis=0)),
        ),
        "You take the minimum over the twelve transpositions: the key that fits worst.": (
            _best_key(reduce=lambda fits: fits.min(axis=0))
        ),
        "You rotate along time. Axis 0 holds the pitch classes, axis 1 the frames.": (
            _best_key(roll=lambda profile, k: np.roll(profile, k, axis=1))
        ),
        "You shift without a circle: what leaves at the top is lost. Pitch classes are a circle, "
        "B is followed by C: np.roll, or the first 11 rows again below the 12.": (
            _best_key(roll=_shifted)
        ),
        "You take one key for the whole profile, the one with the best sum or the highest value. "
        "The maximum of the network is taken at each place in time by itself.": (
            _best_key(reduce=lambda fits: fits[fits.sum(axis=1).argmax()]),
            _best_key(reduce=lambda fits: fits[fits.max(axis=1).argmax()]),
        ),
        "You cut negative sums off at 0: no activation is asked for, only the largest of the "
        "twelve sums.": _best_key(reduce=lambda fits: np.maximum(fits.max(axis=0), 0.0)),
        "You take the largest size of the sums, without their sign: a kernel that fits with the "
        "opposite sign does not fit. Take the maximum of the sums.": (
            _best_key(reduce=lambda fits: np.abs(fits).max(axis=0))
        ),
        "You return which key fits best (argmax): return how well it fits, the largest sum.": (
            _best_key(reduce=lambda fits: fits.argmax(axis=0))
        ),
        "You take the maximum over time as well: keep one number for each place.": (
            _best_key(reduce=lambda fits: fits.max(axis=1))
        ),
        "The kernel is applied upside down: rows of the kernel and of the profile belong together "
        "as they are.": lambda profile, kernel: _best_key()(profile, kernel[::-1]),
        "The kernel is turned in time, as a convolution in the strict sense does. Networks do not "
        "turn it: multiply as it is.": lambda profile, kernel: _best_key()(
            profile, kernel[:, ::-1]
        ),
    },
    differs="For a hidden profile, place {at[0]} should be {right:.3f} and is {got:.3f}.",
    praise="The best of twelve rotations at each place: turn the input, and nothing changes.",
)

EXERCISES: Mapping[str, Exercise] = {
    "cover_songs.1": RANKS,
    "cover_songs.2": AVERAGE,
    "cover_songs.3": SEMI_HARD,
    "cover_songs.4": BEST_KEY,
}
