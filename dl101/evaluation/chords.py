"""Chords from chroma without learning, and the scores of estimated chords.

Conventions: classes are those of :mod:`dl101.data.harte`, major chords first, C is 0. Scores of
frames are log-probabilities (or anything that adds up like them), (classes, frames).

A hidden Markov model (A. Sheh and D. Ellis, Chord segmentation and recognition using EM-trained
hidden Markov models, ISMIR 2003) adds to how well each frame fits a chord how likely one chord
follows another; :func:`viterbi` finds the sequence whose sum is largest.

Estimates are scored by comparing labels wherever both hold, weighted by duration (C. Harte, Towards
automatic extraction of harmony information from music signals, 2010; J. Pauwels and G. Peeters,
Evaluating automatically estimated chord sequences, ICASSP 2013), with the comparisons of
``mir_eval.chord``: ``root``; ``thirds`` (root and third); ``majmin`` (major and minor chords and no
chord; all else in the reference is left out); ``mirex`` (at least three notes in common);
``sevenths``; and ``seg``, how well the borders agree, whatever the labels.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dl101.data.chord_segments import ChordSegments
from dl101.data.harte import MAJMIN, Vocabulary
from dl101.errors import DataError

COMPARISONS = ("root", "thirds", "majmin", "mirex", "sevenths")
METRICS = (*COMPARISONS, "seg")
RELATIONS = ("right", "relative", "parallel", "fifth", "chord or none", "other")


# ---- without learning --------------------------------------------------------------------------


def match_chords(chroma: NDArray, *, silence: float = 0.0) -> NDArray[np.int64]:
    """Return the best of 24 binary templates for each frame of a chroma (12, frames).

    Frames whose sum does not exceed ``silence`` have no chord (24).
    """
    best = (_triads() @ chroma).argmax(axis=0)
    return np.where(chroma.sum(axis=0) > silence, best, 24)


def _triads() -> NDArray[np.float64]:
    """Return the binary templates of the 24 triads, (24, 12)."""
    major, minor = np.zeros(12), np.zeros(12)
    major[[0, 4, 7]] = minor[[0, 3, 7]] = 1.0
    return np.stack([np.roll(shape, root) for shape in (major, minor) for root in range(12)])


def template_scores(
    chroma: NDArray, *, sharpness: float = 1.0, no_chord: float = 0.4
) -> NDArray[np.float64]:
    """Return how well each of 25 templates fits each frame, (25, frames).

    The score of a triad is ``sharpness`` times its correlation with the frame: the cosine of the
    angle between them, once both have lost their mean. That is the logarithm, but for a constant,
    of a density on the sphere of such frames (von Mises and Fisher's). What fits no triad better
    than ``no_chord`` is no chord.

    Parameters
    ----------
    chroma
        (12, frames), not negative.
    sharpness
        How much a good fit counts beside the transitions of a hidden Markov model.
    no_chord
        Correlation, between 0 and 1, that no chord stands for.
    """
    templates = _triads() - 0.25  # three of twelve sound
    templates /= np.linalg.norm(templates, axis=1, keepdims=True)
    centred = chroma - chroma.mean(axis=0)
    length = np.linalg.norm(centred, axis=0)
    correlations = templates @ (centred / np.where(length < 1e-9, 1.0, length))
    flat = np.full((1, chroma.shape[1]), no_chord)
    return sharpness * np.concatenate([correlations, flat])


def self_transitions(n_classes: int, stay: float) -> NDArray[np.float64]:
    """Return a matrix (from, to): stay with this probability, or go anywhere else alike."""
    matrix = np.full((n_classes, n_classes), (1 - stay) / (n_classes - 1))
    np.fill_diagonal(matrix, stay)
    return matrix


def count_transitions(
    sequences: Iterable[NDArray[np.int64]],
    vocabulary: Vocabulary = MAJMIN,
    *,
    every_key: bool = True,
    smoothing: float = 0.1,
) -> NDArray[np.float64]:
    """Return how often one class follows another from frame to frame, (from, to); rows sum to 1.

    Parameters
    ----------
    sequences
        Classes of the frames of each track; frames without a class (negative) count with neither
        neighbour.
    vocabulary
        Of the classes.
    every_key
        Count each sequence in all twelve transpositions.
    smoothing
        Added to every count, so that nothing is impossible; without, what follows a class that is
        never seen is anything alike.
    """
    n = len(vocabulary.classes)
    counts = np.full((n, n), smoothing)
    for sequence in sequences:
        for semitones in range(12 if every_key else 1):
            moved = vocabulary.transposed(sequence, semitones)
            pairs = np.stack([moved[:-1], moved[1:]])
            np.add.at(counts, tuple(pairs[:, (pairs >= 0).all(axis=0)]), 1.0)
    total = counts.sum(axis=1, keepdims=True)
    return np.where(total > 0, counts / np.maximum(total, 1e-300), 1 / n)


def viterbi(
    scores: NDArray, transitions: NDArray, initial: NDArray | None = None
) -> NDArray[np.int64]:
    """Return the most likely sequence of states of a hidden Markov model, (frames,).

    Parameters
    ----------
    scores
        (states, frames) logarithm of how well each frame fits each state.
    transitions
        (states, states) probability of going from a state (row) to another (column).
    initial
        (states,) probability of the first state. None: all alike.
    """
    n_states, n_frames = scores.shape
    if n_frames == 0:
        return np.empty(0, dtype=np.int64)
    with np.errstate(divide="ignore"):  # what is impossible has a logarithm of minus infinity
        log_transitions = np.log(transitions)
        best = scores[:, 0] + (0.0 if initial is None else np.log(initial))
    came_from = np.zeros((n_frames, n_states), dtype=np.int64)
    for t in range(1, n_frames):
        ways = best[:, np.newaxis] + log_transitions  # (from, to)
        came_from[t] = ways.argmax(axis=0)
        best = ways.max(axis=0) + scores[:, t]
    path = np.empty(n_frames, dtype=np.int64)
    path[-1] = best.argmax()
    for t in range(n_frames - 1, 0, -1):
        path[t - 1] = came_from[t, path[t]]
    return path


# ---- scores ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ChordScores:
    """The scores of one track, and of how many seconds of it each is made.

    A score is NaN where there is nothing to compare, such as ``majmin`` of a track that has only
    suspended chords (mir_eval says 0 there).
    """

    scores: Mapping[str, float]
    seconds: Mapping[str, float]


def score_track(reference: ChordSegments, estimate: ChordSegments) -> ChordScores:
    """Return the scores of a track, by ``mir_eval``.

    Time that the reference does not annotate is cut out of both; where the estimate says nothing,
    it says no chord.

    Raises
    ------
    DataError
        If the reference has no segment.
    """
    from mir_eval import chord, util

    if len(reference) == 0:
        raise DataError(
            "reference chords",
            got="no segment",
            expected="at least one",
            hint="leave tracks without chords out",
        )
    (true_s, true), (said_s, said) = _annotated(reference, estimate)
    times_s, true_labels, said_labels = util.merge_labeled_intervals(
        true_s, list(true), said_s, list(said)
    )
    weights = times_s[:, 1] - times_s[:, 0]
    scores, seconds = {}, {}
    for name in COMPARISONS:
        right = getattr(chord, name)(true_labels, said_labels)
        comparable = right >= 0  # -1: the comparison does not apply to this reference
        seconds[name] = float(weights[comparable].sum())
        total = float((right * weights)[comparable].sum())
        scores[name] = total / seconds[name] if seconds[name] > 0 else math.nan
    merged = [
        chord.merge_chord_intervals(times, labels)
        for times, labels in ((true_s, true), (said_s, said))
    ]
    scores["seg"], seconds["seg"] = float(chord.seg(*merged)), float(weights.sum())
    return ChordScores(scores, seconds)


Intervals = tuple[NDArray[np.float64], tuple[str, ...]]


def _annotated(reference: ChordSegments, estimate: ChordSegments) -> tuple[Intervals, Intervals]:
    """Return both on a time axis on which what is not annotated takes no time."""
    new_ends = np.cumsum(reference.durations_s)
    new_begins = np.concatenate([[0.0], new_ends[:-1]])
    knots = np.stack([new_begins, new_ends], axis=1)
    # the estimate, with no chord before, between and after its segments
    edges, labels = [reference.intervals_s[0, 0]], []
    for (begin, end), label in zip(estimate.intervals_s, estimate.labels, strict=True):
        edges += [begin, end]
        labels += ["N", label]
    edges.append(max(edges[-1], reference.intervals_s[-1, 1]))
    labels.append("N")
    places = np.interp(edges, reference.intervals_s.ravel(), knots.ravel())
    spans = np.stack([places[:-1], places[1:]], axis=1)
    kept = np.flatnonzero(spans[:, 1] > spans[:, 0])
    return (knots, reference.labels), (spans[kept], tuple(labels[i] for i in kept))


def frame_accuracy(classes: Sequence[NDArray], truth: Sequence[NDArray]) -> float:
    """Return the mean over tracks of the share of frames that are right, of those with a class.

    Quick, and good enough to choose by; tracks without such a frame are left out.
    """
    shares = [
        np.mean(said[known] == true[known])
        for said, true in zip(classes, truth, strict=True)
        if (known := true >= 0).any()
    ]
    return float(np.mean(shares)) if shares else math.nan


def mean_scores(tracks: Sequence[ChordScores]) -> dict[str, float]:
    """Return the mean of each score over the tracks that have it, and ``..._total``.

    The total weighs every second alike instead of every track: the share of all comparable time.
    """
    found = {}
    for name in METRICS:
        scores = np.array([track.scores[name] for track in tracks])
        seconds = np.array([track.seconds[name] for track in tracks])
        has = seconds > 0
        found[name] = float(scores[has].mean()) if has.any() else math.nan
        whole = float(seconds.sum())
        found[f"{name}_total"] = (
            float((scores[has] * seconds[has]).sum()) / whole if has.any() else math.nan
        )
    return found


def relation(reference: int, estimate: int) -> str:
    """Return how two of the 25 classes are related; one of ``RELATIONS``.

    ``relative`` chords share two notes (C major and A minor), ``parallel`` ones the root (C major
    and C minor); roots of one mode are a ``fifth`` apart in either direction.
    """
    if reference == estimate:
        return "right"
    if MAJMIN.no_chord in (reference, estimate):
        return "chord or none"
    (mode, root), (other_mode, other_root) = divmod(reference, 12), divmod(estimate, 12)
    steps = (other_root - root) % 12
    if mode == other_mode:
        return "fifth" if steps in (5, 7) else "other"
    if steps == 0:
        return "parallel"
    return "relative" if steps == (9 if mode == 0 else 3) else "other"
