"""Each check accepts the solution, rejects the stub, and tells wrong answers apart."""

import numpy as np
import pytest

from dl101.lab.checks import grade
from dl101.lab.exercises import multi_pitch as exercise
from tests.lab.exercise_proof import ExerciseProof

# ---- 1 ----


def notes_to_matrix(
    onsets_s,
    durations_s,
    pitches_midi,
    times_s,
    lowest_midi,
    n_bins,
    *,
    inclusive_end=False,
    exclusive_start=False,
    minimum=True,
    wrap=False,
    add=False,
    row=None,
    frames=None,
    out_of_range="skip",
    offset=0,
):
    matrix = np.zeros((n_bins, len(times_s)), dtype=int)
    for onset, duration, pitch in zip(onsets_s, durations_s, pitches_midi, strict=True):
        index = pitch - lowest_midi + offset if row is None else row(pitch, lowest_midi, n_bins)
        if out_of_range == "skip" and not 0 <= index < n_bins:
            continue
        end = onset + duration
        if frames is None:
            lit = (times_s >= onset) & (times_s < end)
            if inclusive_end:
                lit |= times_s == end
            if exclusive_start:
                lit &= times_s != onset
            lit = np.flatnonzero(lit)
        else:
            lit = np.arange(*frames(onset, duration, times_s[1] - times_s[0], len(times_s)))
            lit = lit[(lit >= 0) & (lit < len(times_s))]
        if minimum and lit.size == 0:
            lit = [int(np.argmin(np.abs(times_s - onset)))]
        if add:
            matrix[index, lit] += 1
        else:
            matrix[index, lit] = 1
    return matrix


def variant(**options):
    def student(onsets_s, durations_s, pitches_midi, times_s, lowest_midi, n_bins):
        return notes_to_matrix(
            onsets_s, durations_s, pitches_midi, times_s, lowest_midi, n_bins, **options
        )

    return student


def transposed(onsets_s, durations_s, pitches_midi, times_s, lowest_midi, n_bins):
    return notes_to_matrix(onsets_s, durations_s, pitches_midi, times_s, lowest_midi, n_bins).T


def erasing(onsets_s, durations_s, pitches_midi, times_s, lowest_midi, n_bins):
    matrix = np.zeros((n_bins, len(times_s)), dtype=int)
    for note in zip(onsets_s, durations_s, pitches_midi, strict=True):
        one = notes_to_matrix(*([value] for value in note), times_s, lowest_midi, n_bins)
        matrix[:, one.any(axis=0)] = one[:, one.any(axis=0)]
    return matrix


def hard_coded(onsets_s, durations_s, pitches_midi, times_s, lowest_midi, n_bins):
    matrix = np.zeros((n_bins, len(times_s)), dtype=int)
    matrix[5, 3:9] = 1
    return matrix


def nearest(onset, duration, hop, n):
    return int(np.floor(onset / hop + 0.5)), int(np.floor((onset + duration) / hop + 0.5))


WRONG_MATRICES = {
    "rounded to the nearest frame": variant(frames=nearest),
    "rounded down": variant(frames=lambda on, d, hop, n: (int(on / hop), int((on + d) / hop))),
    "every frame touched": variant(
        frames=lambda on, d, hop, n: (int(on / hop), int(np.ceil((on + d) / hop)))
    ),
    "one hop late": variant(
        frames=lambda on, d, hop, n: (int(np.ceil(on / hop)) + 1, int(np.ceil((on + d) / hop)) + 1)
    ),
    "last frame included": variant(
        frames=lambda on, d, hop, n: (int(np.ceil(on / hop)), int(np.ceil((on + d) / hop)) + 1)
    ),
    "last frame missing": variant(
        frames=lambda on, d, hop, n: (int(np.ceil(on / hop)), int((on + d) / hop))
    ),
    "duration taken for the end": variant(
        frames=lambda on, d, hop, n: (int(np.ceil(on / hop)), int(np.ceil(d / hop))), minimum=False
    ),
    "onset only": variant(
        frames=lambda on, d, hop, n: (int(np.ceil(on / hop)), int(np.ceil(on / hop)) + 1)
    ),
    "never ends": variant(frames=lambda on, d, hop, n: (int(np.ceil(on / hop)), n)),
    "row is the MIDI number": variant(row=lambda pitch, lowest, n: pitch),
    "an octave low": variant(offset=-12),
    "an octave high": variant(offset=12),
    "one row high": variant(offset=1),
    "upside down": variant(row=lambda pitch, lowest, n: n - 1 - (pitch - lowest)),
    "transposed": transposed,
    "adds": variant(add=True),
    "a short note vanishes": variant(minimum=False),
    "end inclusive on the frame": variant(inclusive_end=True),
    "onset exclusive on the frame": variant(exclusive_start=True),
    "low notes wrap round": variant(
        row=lambda pitch, lowest, n: min(pitch - lowest, n - 1), out_of_range="index"
    ),
    "high notes raise": variant(out_of_range="index"),
    "a later note erases": erasing,
    "hard-coded": hard_coded,
    "empty": lambda on, d, p, times, lowest, n: np.zeros((n, len(times))),
}

# ---- 2 ----


def near(ref, est):
    return abs(ref - est) <= 0.5


def matched(ref, est, near=near, once=True):
    free, n = list(est), 0
    for pitch in ref:
        for other in free:
            if near(pitch, other):
                n += 1
                if once:
                    free.remove(other)
                break
    return n


def score(reference, estimate, *, near=near, once=True):
    tp = sum(matched(ref, est, near, once) for ref, est in zip(reference, estimate, strict=True))
    n_ref, n_est = sum(map(len, reference)), sum(map(len, estimate))
    precision = tp / n_est if n_est else 0.0
    recall = tp / n_ref if n_ref else 0.0
    all_ = n_ref + n_est - tp
    return precision, recall, tp / all_ if all_ else 0.0


def score_variant(**options):
    return lambda reference, estimate: score(reference, estimate, **options)


def swapped(reference, estimate):
    precision, recall, accuracy = score(reference, estimate)
    return recall, precision, accuracy


def frame_means(reference, estimate):
    frames = [score([ref], [est]) for ref, est in zip(reference, estimate, strict=True)]
    return tuple(np.mean(frames, axis=0))


def frame_means_of_sounding(reference, estimate):
    pairs = [(ref, est) for ref, est in zip(reference, estimate, strict=True) if ref and est]
    return tuple(np.mean([score([ref], [est]) for ref, est in pairs], axis=0))


def with_accuracy(accuracy):
    def student(reference, estimate):
        precision, recall, _ = score(reference, estimate)
        tp = sum(matched(ref, est) for ref, est in zip(reference, estimate, strict=True))
        n_est, n_ref = sum(map(len, estimate)), sum(map(len, reference))
        return precision, recall, accuracy(precision, recall, tp, n_est - tp, n_ref - tp, reference)

    return student


def true_negatives(precision, recall, tp, fp, fn, reference):
    n_cells = 88 * len(reference)
    return (n_cells - fp - fn) / n_cells


def divides_by_zero(reference, estimate):
    return tuple(
        np.mean([matched(r, e) / len(e) for r, e in zip(reference, estimate, strict=True)])
        for _ in range(3)
    )


WRONG_SCORES = {
    "swapped": swapped,
    "mean over frames": frame_means,
    "one estimate for two references": score_variant(once=False),
    "chroma": score_variant(near=lambda r, e: min((r - e) % 12, (e - r) % 12) <= 0.5),
    "equality": score_variant(near=lambda r, e: r == e),
    "a semitone": score_variant(near=lambda r, e: abs(r - e) <= 1),
    "a quarter": score_variant(near=lambda r, e: abs(r - e) <= 0.25),
    "rounding": score_variant(near=lambda r, e: round(r) == round(e)),
    "true negatives": with_accuracy(true_negatives),
    "F-measure": with_accuracy(lambda p, r, tp, fp, fn, ref: 2 * p * r / (p + r)),
    "mean of both": with_accuracy(lambda p, r, tp, fp, fn, ref: (p + r) / 2),
    "misses forgotten": with_accuracy(lambda p, r, tp, fp, fn, ref: tp / (tp + fp + 2 * fn)),
    "percent": lambda ref, est: tuple(100 * value for value in score(ref, est)),
    "two numbers": lambda ref, est: score(ref, est)[:2],
    "divides by zero": divides_by_zero,
    "constant": lambda ref, est: (0.5, 0.5, 1 / 3),
}

# ---- 3 ----


def accuracy(probabilities, targets, threshold):
    lit, on = probabilities >= threshold, targets == 1
    return (lit & on).sum() / (lit | on).sum()


def choose_threshold(probabilities, targets, candidates):
    return max(candidates, key=lambda t: accuracy(probabilities, targets, t))


def by(figure):
    def student(probabilities, targets, candidates):
        return max(candidates, key=lambda t: figure(probabilities >= t, targets == 1))

    return student


def on_test(probabilities, targets, candidates, test_probabilities, test_targets):
    return choose_threshold(test_probabilities, test_targets, candidates)


WRONG_THRESHOLDS = {
    "always a half": lambda probabilities, targets, candidates: 0.5,
    "recall": by(lambda lit, on: (lit & on).sum() / on.sum()),
    "precision": by(lambda lit, on: (lit & on).sum() / max(1, lit.sum())),
    "highest": lambda probabilities, targets, candidates: max(candidates),
    "true negatives": by(lambda lit, on: np.mean(lit == on)),
    "mean over frames": by(
        lambda lit, on: np.mean((lit & on).sum(0) / np.maximum(1, (lit | on).sum(0)))
    ),
    "test set": on_test,
    "break-even": by(lambda lit, on: -abs(int((lit & ~on).sum()) - int((~lit & on).sum()))),
    "index": lambda p, t, c: int(np.argmax([accuracy(p, t, x) for x in c])),
    "worst": by(lambda lit, on: -(lit & on).sum() / (lit | on).sum()),
    "not a candidate": lambda p, t, c: float(p.mean()),
    "a matrix": lambda p, t, c: p >= 0.5,
    "constant": lambda p, t, c: 0.3,
}

SOLUTIONS = {
    "multi_pitch.1": variant(),
    "multi_pitch.2": score,
    "multi_pitch.3": choose_threshold,
}
WRONG = {
    "multi_pitch.1": WRONG_MATRICES,
    "multi_pitch.2": WRONG_SCORES,
    "multi_pitch.3": WRONG_THRESHOLDS,
}
# wrong answers that rightly share a hint with another one
SHARED = {"highest"}


RIGHT = [
    *SOLUTIONS.items(),
    ("multi_pitch.1", lambda *note: np.asarray(variant()(*note), dtype=bool)),
    (
        "multi_pitch.2",
        lambda r, e: dict(zip(("Precision", "Recall", "Accuracy"), score(r, e), strict=True)),
    ),
    ("multi_pitch.2", lambda r, e: score([sorted(f) for f in r], [f[::-1] for f in e])),
    ("multi_pitch.3", by(lambda lit, on: 2 * (lit & on).sum() / (lit.sum() + on.sum()))),
    ("multi_pitch.3", lambda p, t, c, test_probabilities=None: choose_threshold(p, t, c)),
]
HINTS = [
    ("multi_pitch.1", "rounded to the nearest frame", "rounded to the nearest frame"),
    ("multi_pitch.1", "rounded down", "one hop early"),
    ("multi_pitch.1", "one hop late", "one hop late"),
    ("multi_pitch.1", "last frame included", "one frame too long"),
    ("multi_pitch.1", "duration taken for the end", "as end times"),
    ("multi_pitch.1", "row is the MIDI number", "MIDI number as the row"),
    ("multi_pitch.1", "an octave low", "12 rows too low, an octave error"),
    ("multi_pitch.1", "transposed", "transposed"),
    ("multi_pitch.1", "adds", "greater than 1"),
    ("multi_pitch.1", "a short note vanishes", "vanishes"),
    ("multi_pitch.1", "low notes wrap round", "negative indices"),
    ("multi_pitch.1", "high notes raise", "IndexError"),
    ("multi_pitch.1", "hard-coded", "same result for different input"),
    ("multi_pitch.2", "swapped", "swapped"),
    ("multi_pitch.2", "mean over frames", "average the scores of single frames"),
    ("multi_pitch.2", "one estimate for two references", "count twice"),
    ("multi_pitch.2", "chroma", "octave errors as right"),
    ("multi_pitch.2", "a semitone", "whole semitone"),
    ("multi_pitch.2", "rounding", "round both"),
    ("multi_pitch.2", "true negatives", "true negatives"),
    ("multi_pitch.2", "F-measure", "F-measure"),
    ("multi_pitch.2", "divides by zero", "ZeroDivisionError"),
    ("multi_pitch.3", "always a half", "0.5 whatever"),
    ("multi_pitch.3", "recall", "recall alone"),
    ("multi_pitch.3", "precision", "precision alone"),
    ("multi_pitch.3", "true negatives", "true negatives"),
    ("multi_pitch.3", "mean over frames", "over single frames"),
    ("multi_pitch.3", "test set", "on the test set"),
    ("multi_pitch.3", "break-even", "are equal"),
    ("multi_pitch.3", "index", "index"),
]


class TestProof(ExerciseProof):
    exercises = exercise.EXERCISES
    right = RIGHT
    wrong = WRONG
    hints = HINTS
    shared = SHARED


def test_frames_that_are_skipped_in_a_mean_are_recognised():
    message = grade("multi_pitch.2", frame_means_of_sounding).message
    assert "average the scores of single frames" in message


def test_unclaimed_pitches_and_rounded_sets_are_recognised():
    def unclaimed(reference, estimate):
        pairs = list(zip(reference, estimate, strict=True))
        tp = sum(any(near(r, e) for r in ref) for ref, est in pairs for e in est)
        fn = sum(not any(near(r, e) for e in est) for ref, est in pairs for r in ref)
        n_est = sum(map(len, estimate))
        return tp / n_est, tp / (tp + fn), tp / (n_est + fn)

    def rounded_sets(reference, estimate):
        sets = [[sorted(set(map(round, f))) for f in frames] for frames in (reference, estimate)]
        return score(*sets, near=lambda r, e: r == e)

    assert "count twice" in grade("multi_pitch.2", unclaimed).message
    assert "round both" in grade("multi_pitch.2", rounded_sets).message


def test_hidden_scores_do_not_depend_on_the_order_of_matching():
    """A student who pairs greedily in any order gets the numbers of the best matching."""
    for index in range(4):
        reference, estimate = exercise._frames(index)
        right = exercise._right_scores(reference, estimate)
        for order in (sorted, lambda f: sorted(f)[::-1], list):
            mine = score([order(f) for f in reference], [order(f) for f in estimate])
            assert mine == pytest.approx(right)


def test_hidden_thresholds_differ_from_each_other_and_from_a_half():
    chosen = [
        choose_threshold(*case.validation, case.candidates)
        for case in map(exercise._probabilities, range(4))
    ]
    assert len(set(chosen)) == 4
    assert max(chosen) - min(chosen) > 0.3


def test_the_library_itself_passes():
    """The exercise and the library mean the same by a target."""
    from dl101.targets import PitchAxis, from_notes
    from dl101.units import midi_to_hz

    def library(onsets_s, durations_s, pitches_midi, times_s, lowest_midi, n_bins):
        axis = PitchAxis(float(midi_to_hz(lowest_midi)), 1, n_bins)
        return from_notes(onsets_s, durations_s, pitches_midi, axis, times_s)

    verdict = grade("multi_pitch.1", library)
    assert verdict.passed, verdict.message
