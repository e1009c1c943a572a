"""The exercises of the chapter on auto-tagging."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from dl101.evaluation import tagging
from dl101.lab.exercise import Exercise, Function

# ---- 1: from patches to tracks -----------------------------------------------------------------

Gather = Callable[[NDArray], NDArray]


def _of_tracks(gather: Gather) -> Callable[[NDArray, NDArray, NDArray], float]:
    """Return the accuracy of what ``gather`` makes of the patches of each track."""

    def accuracy(probabilities: NDArray, track: NDArray, classes: NDArray) -> float:
        said = [gather(probabilities[track == k]).argmax() for k in range(len(classes))]
        return float(np.mean(said == classes))

    return accuracy


def _votes(patches: NDArray) -> NDArray:
    return np.bincount(patches.argmax(axis=1), minlength=patches.shape[1])


def _share_right(probabilities: NDArray, track: NDArray, classes: NDArray) -> NDArray:
    """Return the share of right patches of each track."""
    right = probabilities.argmax(axis=1) == classes[track]
    return np.array([right[track == k].mean() for k in range(len(classes))])


def _said(index: int) -> tuple[NDArray, NDArray, NDArray]:
    """Return patches of tracks of very different lengths, in no order."""
    rng = np.random.default_rng([112, 1, index])
    n_tracks, n_classes = 17 + 6 * index, 4 + index
    classes = rng.integers(n_classes, size=n_tracks)
    track = np.repeat(np.arange(n_tracks), rng.integers(1, 12, n_tracks))
    rng.shuffle(track)
    logits = rng.normal(size=(track.size, n_classes)) * rng.uniform(0.5, 4, (track.size, 1))
    logits[np.arange(track.size), classes[track]] += 1.3
    odds = np.exp(logits)
    return odds / odds.sum(axis=1, keepdims=True), track, classes


TRACKS = Function(
    title="from patches to tracks",
    minutes=15,
    rubric={
        "probabilities are averaged over the patches of a track before a class is chosen": 2,
        "each track counts once, however many patches it has": 1,
    },
    right=_of_tracks(lambda patches: patches.mean(axis=0)),
    cases=lambda: [_said(index) for index in range(6)],
    returns="one number, the share of tracks",
    mistakes={
        "You count patches: each is judged by itself. A long track then weighs more than a short "
        "one, and a network that is right about the whole is blamed for a quiet moment. Average "
        "the patches of a track first, then choose its class.": (
            lambda p, track, classes: float(np.mean(p.argmax(axis=1) == classes[track]))
        ),
        "You average the shares of right patches track by track. That is kinder to short tracks, "
        "but still judges patches: average the probabilities of a track, then choose one class for "
        "it.": lambda *case: float(_share_right(*case).mean()),
        "You let each patch vote for a class and count votes. A vote hides how sure a patch was: "
        "average the probabilities instead.": _of_tracks(_votes),
        "You take the strongest probability of any patch. One patch that is sure and wrong then "
        "decides for the track: average over its patches.": _of_tracks(lambda p: p.max(axis=0)),
        "You use one patch of each track only; average over all of them.": (
            _of_tracks(lambda p: p[0]),
            _of_tracks(lambda p: p[-1]),
        ),
        "You take the product of the probabilities (or the mean of their logarithms). One patch "
        "that rules a class out then rules it out for the track; asked is the plain mean.": (
            _of_tracks(lambda p: np.log(p).mean(axis=0))
        ),
        "You count a track as right if any of its patches is.": (
            lambda *case: float(np.mean(_share_right(*case) > 0))
        ),
        "You count a track as right if more than half of its patches are.": (
            lambda *case: float(np.mean(_share_right(*case) > 0.5))
        ),
        "You return how many tracks are right; asked is their share.": (
            lambda p, track, classes: (
                len(classes) * _of_tracks(lambda q: q.mean(axis=0))(p, track, classes)
            )
        ),
    },
    crash={
        IndexError: (
            "classes has one number for each track, and probabilities a row for each patch: "
            "classes[track] is the class of each patch.",
            lambda p, track, classes: classes[track.size],
        ),
    },
    differs="On a hidden set of {2.size} tracks the share should be {right:.3f} and is {got:.3f}. "
    "Average the rows of each track, then take the highest.",
    praise="Averaged over the patches of each track, then one answer for each.",
)

# ---- 2: average precision ----------------------------------------------------------------------


def _ranked(index: int) -> tuple[NDArray, NDArray]:
    """Return who has a tag, and different scores, mostly above or mostly below one half."""
    rng = np.random.default_rng([112, 2, index])
    n = 24 + 5 * index
    has = (rng.random(n) < 0.3).astype(int)
    has[rng.permutation(n)[:3]] = 1
    middle = (-1.2, 0.9, 0.0, -0.4)[index % 4]
    return has, 1 / (1 + np.exp(-(rng.normal(size=n) + 1.2 * has + middle)))


def _precisions(has: NDArray, scores: NDArray) -> tuple[NDArray, NDArray]:
    """Return who has the tag from the highest score down, and the precision at each rank."""
    ranked = has[np.argsort(-scores, kind="stable")]
    return ranked, np.cumsum(ranked) / np.arange(1, ranked.size + 1)


def _above_only(has: NDArray, scores: NDArray) -> float:
    """Leave each track itself out of what has passed."""
    above = [has[scores > score] for score in scores[has == 1]]
    return float(np.mean([one.mean() if one.size else 0.0 for one in above]))


def _trapezoid(has: NDArray, scores: NDArray) -> float:
    ranked, precision = _precisions(has, scores)
    recall = np.concatenate([[0.0], np.cumsum(ranked) / ranked.sum()])
    precision = np.concatenate([[1.0], precision])
    return float(np.sum(np.diff(recall) * (precision[1:] + precision[:-1]) / 2))


def _first_alphabetically(has: NDArray, scores: NDArray) -> float:
    ranked, precision = _precisions(has, scores)
    return float(precision[ranked > 0].mean())


PRECISION = Function(
    title="average precision",
    minutes=25,
    rubric={
        "tracks are ranked by their scores, which are not rounded to yes and no": 2,
        "precision is averaged over the tracks that have the tag": 1,
        "tracks with equal scores pass the threshold together": 1,
    },
    right=tagging.average_precision,
    cases=lambda: [_ranked(index) for index in range(6)],
    returns="one number",
    mistakes={
        "You round the scores to yes and no (at 0.5) before you rank. Then only two thresholds are "
        "left, and the order among a hundred sure answers is thrown away: hand the scores "
        "themselves to the ranking.": lambda has, s: tagging.average_precision(has, s >= 0.5),
        "This is the precision at a threshold of 0.5, one point of the curve. Average precision "
        "has no threshold: it goes through all ranks.": (
            lambda has, s: float(has[s >= 0.5].mean()) if np.any(s >= 0.5) else 0.0
        ),
        "This is the area under the ROC curve, which compares with the rate of false alarms. "
        "Average precision asks at each rank: what share of the tracks so far has the tag?": (
            tagging.roc_auc
        ),
        "You average the precision over all ranks. Average it over the ranks of the tracks that "
        "have the tag.": lambda has, s: float(_precisions(has, s)[1].mean()),
        "You rank from the lowest score up. The likeliest track comes first.": (
            lambda has, s: tagging.average_precision(has, -s)
        ),
        "You do not rank at all: the tracks are taken in the order in which they come. Sort them "
        "by their scores, the highest first.": (
            lambda has, s: tagging.average_precision(has, -np.arange(has.size))
        ),
        "You join the points of the curve by straight lines (trapezoids), which is too kind: "
        "between two points of a precision-recall curve, precision does not fall in a line. Each "
        "step of recall has the precision at its end.": _trapezoid,
        "You divide by the number of all tracks; divide by the number of those that have the "
        "tag.": lambda has, s: tagging.average_precision(has, s) * float(has.mean()),
        "You look only at the tracks above each one (>), and leave out the track itself and its "
        "equals. They have passed the threshold, too: >=.": _above_only,
        "You count ranks from 0: the first track has rank 1, so that precision there is 1 or 0.": (
            lambda has, s: float(
                np.mean(
                    [
                        np.cumsum(_precisions(has, s)[0])[k] / max(k, 1)
                        for k in np.flatnonzero(_precisions(has, s)[0])
                    ]
                )
            )
        ),
    },
    edges={
        "Tracks with equal scores pass the threshold together: the order in which they happen to "
        "come must not matter. Look at the precision only after the last of a run of equal "
        "scores.": (
            (np.array([1, 0, 0, 1, 0, 1]), np.array([0.8, 0.8, 0.8, 0.3, 0.3, 0.1])),
            _first_alphabetically,
        ),
    },
    differs="On {0.size} hidden tracks it should be {right:.4f} and is {got:.4f}. Rank by score, "
    "and at each track that has the tag note the share of such tracks so far.",
    praise="Ranked by score, precision at each track that has the tag, ties together.",
)

# ---- 3: artists on one side --------------------------------------------------------------------


def _catalogue(index: int) -> tuple[NDArray, int]:
    """Return the artist of each track, some busy and some not, and how many tracks to hold out."""
    rng = np.random.default_rng([112, 3, index])
    numbers = rng.permutation(60)[: 9 + 2 * index]
    artists = np.repeat(numbers, rng.integers(1, 7, numbers.size))
    rng.shuffle(artists)
    totals = np.cumsum([np.sum(artists == a) for a in np.unique(artists)])
    # between two artists, so that the last one makes it more than asked
    busy = np.flatnonzero(np.diff(totals) > 2)
    k = int(busy[len(busy) // 3])
    return artists, int(totals[k] + 1)


def _split(*, enough: Callable[[int, int], bool]) -> Callable[[NDArray, int], NDArray]:
    """Return the right split or one that stops at another place."""

    def is_test(artists: NDArray, n_test: int) -> NDArray:
        held = np.zeros(artists.size, dtype=bool)
        for artist in np.unique(artists):
            if enough(int(held.sum()), n_test):
                break
            held |= artists == artist
        return held

    return is_test


_right_split = _split(enough=lambda held, asked: held >= asked)


def _without_the_last(artists: NDArray, n_test: int) -> NDArray:
    held = _right_split(artists, n_test)
    return held & (artists != artists[held].max())


def _by_number_of_artists(artists: NDArray, n_test: int) -> NDArray:
    return np.isin(artists, np.unique(artists)[:n_test])


def _cut_through(artists: NDArray, n_test: int) -> NDArray:
    held = np.zeros(artists.size, dtype=bool)
    held[np.argsort(artists, kind="stable")[:n_test]] = True
    return held


def _in_order(artists: NDArray, n_test: int) -> NDArray:
    """Take artists in the order in which they first come."""
    held = np.zeros(artists.size, dtype=bool)
    for artist in dict.fromkeys(artists.tolist()):
        if held.sum() >= n_test:
            break
        held |= artists == artist
    return held


ARTISTS = Function(
    title="an artist on one side",
    minutes=15,
    rubric={
        "all tracks of an artist are on the same side": 2,
        "whole artists are held out, by ascending number, until there are enough tracks": 1,
    },
    right=_right_split,
    cases=lambda: [_catalogue(index) for index in range(4)],
    returns="a boolean for each track",
    mistakes={
        "You cut the list of tracks, so that artists are on both sides. A network then knows test "
        "tracks by the voice and the studio of their artist, and its score says little about new "
        "ones: hold out whole artists.": (
            lambda artists, n: np.arange(artists.size) < n,
            lambda artists, n: np.arange(artists.size) >= artists.size - n,
        ),
        "You sort by artist and cut after n_test tracks, which may be in the middle of an artist: "
        "the other tracks of this one stay in training. Take an artist whole.": _cut_through,
        "You hold out one track of each artist, so that every test artist is known from "
        "training: the worst of all leaks.": (
            lambda artists, n: np.isin(
                np.arange(artists.size), np.unique(artists, return_index=True)[1]
            )
        ),
        "You return the training side: True is for the tracks that are held out.": (
            lambda artists, n: ~_right_split(artists, n)
        ),
        "You stop one artist too early: there must be at least n_test tracks.": _without_the_last,
        "n_test counts tracks, and you hold out so many artists.": _by_number_of_artists,
        "You take artists in the order in which they come in the list. Asked is ascending number, "
        "so that the split does not depend on how a file is sorted.": _in_order,
        "You begin with the highest number; begin with the lowest.": (
            lambda artists, n: _right_split(-artists, n)
        ),
    },
    edges={
        "If the artists so far have exactly n_test tracks, that is enough: take no further one.": (
            (np.array([4, 2, 2, 9, 4, 9, 9]), 4),
            _split(enough=lambda held, asked: held > asked),
        ),
    },
    differs=lambda got, right, artists, n: (
        f"Of {artists.size} hidden tracks, {int((got != right).sum())} are on the wrong side; "
        f"asked are at least {n}. Add whole artists, by ascending number, until there are enough."
    ),
    praise="Whole artists, and just as many as it takes.",
)

# ---- 4: macro and micro ------------------------------------------------------------------------


def _decided(index: int) -> tuple[NDArray, NDArray]:
    """Return truth and decisions of classes of very different frequency, and one without tracks."""
    rng = np.random.default_rng([112, 4, index])
    n, frequencies = 50 + 10 * index, np.array([0.7, 0.4, 0.15, 0.06, 0.0, 0.1])
    truth = (rng.random((n, frequencies.size)) < frequencies).astype(int)
    truth[rng.permutation(n)[:2], 3] = 1
    kept = rng.random(truth.shape) < np.array([0.9, 0.7, 0.4, 0.3, 0.0, 0.5])
    added = rng.random(truth.shape) < np.array([0.3, 0.1, 0.05, 0.02, 0.1, 0.01])
    return truth, np.where(truth, kept, added).astype(int)


def _f(truth: NDArray, said: NDArray, axis: int | None = 0) -> NDArray:
    right, both = (truth * said).sum(axis=axis), truth.sum(axis=axis) + said.sum(axis=axis)
    return 2 * right / np.maximum(both, 1)


def _means(
    macro: Callable[[NDArray, NDArray], float] = lambda t, s: _f(t, s)[t.any(axis=0)].mean(),
    micro: Callable[[NDArray, NDArray], float] = lambda t, s: _f(t, s, None),
) -> Callable[[NDArray, NDArray], tuple[float, float]]:
    """Return the right pair (the defaults) or one with another idea of either."""
    return lambda truth, said: (float(macro(truth, said)), float(micro(truth, said)))


def _of_means(truth: NDArray, said: NDArray) -> float:
    report, known = tagging.class_report(truth, said), truth.any(axis=0)
    p, r = (report[name][known].mean() for name in ("precision", "recall"))
    return 2 * p * r / (p + r)


MEANS = Function(
    title="macro and micro",
    minutes=20,
    rubric={
        "macro: one F for each class, then their plain mean": 1,
        "micro: counts are added over all classes, then one F": 1,
        "a class that no track has is left out of the macro mean": 1,
    },
    right=_means(),
    cases=lambda: [_decided(index) for index in range(4)],
    returns="two numbers, macro and micro",
    names=("macro", "micro"),
    mistakes={
        "The two are exchanged: macro is the mean of the classes' scores, in which a rare class "
        "counts as much as a frequent one; micro counts all decisions together.": (
            lambda t, s: _means()(t, s)[::-1]
        ),
        "Your macro F counts a class that no track has as 0. There was nothing to find: leave it "
        "out of the mean (and say so).": _means(macro=lambda t, s: _f(t, s).mean()),
        "Your macro F counts a class that no track has as 1. Nothing was found there, because "
        "there was nothing to find: leave it out.": _means(
            macro=lambda t, s: np.where(t.any(axis=0), _f(t, s), 1.0).mean()
        ),
        "Your macro F leaves out classes that are never said. A class that tracks have and nobody "
        "names has F = 0, and counts.": _means(
            macro=lambda t, s: _f(t, s)[t.any(axis=0) & s.any(axis=0)].mean()
        ),
        "Your macro F weighs each class by the number of its tracks. That is a third kind of mean; "
        "in the macro mean all classes count alike.": _means(
            macro=lambda t, s: np.average(_f(t, s), weights=t.sum(axis=0))
        ),
        "Your macro F is the F of the mean precision and the mean recall. Compute F for each class "
        "first, then the mean.": _means(macro=_of_means),
        "You average over tracks, one F for each (the wrong axis). Classes are columns: add over "
        "the tracks, axis 0.": (
            _means(macro=lambda t, s: _f(t, s, 1).mean()),
            _means(macro=lambda t, s: _f(t, s, 1)[t.any(axis=1)].mean()),
        ),
        "Your micro score is the share of right decisions. Most tags of most tracks are rightly "
        "not said, so that this is high for whoever says nothing: use F of the added counts.": (
            _means(micro=lambda t, s: (t == s).mean())
        ),
        "Your micro F is the mean over tracks. Add the counts of all cells of the matrix first, "
        "then compute one F.": (
            _means(micro=lambda t, s: _f(t, s, 1).mean()),
            _means(micro=lambda t, s: _f(t, s, 1)[t.any(axis=1)].mean()),
        ),
        "Your micro F leaves out the class that no track has. Its false alarms are decisions like "
        "all others: count them.": _means(
            micro=lambda t, s: _f(t[:, t.any(axis=0)], s[:, t.any(axis=0)], None)
        ),
        "Both numbers are the macro F.": _means(micro=lambda t, s: _f(t, s)[t.any(axis=0)].mean()),
        "Both numbers are the micro F.": _means(macro=lambda t, s: _f(t, s, None)),
    },
    differs="On a hidden matrix of {0.shape[0]} tracks, number {at[0]} (macro, micro) should be "
    "{right:.4f} and is {got:.4f}. F is 2 TP / (2 TP + FP + FN).",
    praise="One mean over classes that exist, and one count over all decisions.",
)

EXERCISES: Mapping[str, Exercise] = {
    "auto_tagging.1": TRACKS,
    "auto_tagging.2": PRECISION,
    "auto_tagging.3": ARTISTS,
    "auto_tagging.4": MEANS,
}
