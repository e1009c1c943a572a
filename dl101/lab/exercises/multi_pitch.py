"""Checks of the chapter on multi-pitch estimation.

``multi_pitch.1`` ``notes_to_matrix(onsets_s, durations_s, pitches_midi, times_s, lowest_midi,
n_bins)`` returns a 0/1 matrix ``(n_bins, frames)``, one row per semitone, row 0 is ``lowest_midi``.
A note lights the frames with ``onset <= time < onset + duration``, and at least the nearest frame;
notes outside the axis are left out.

``multi_pitch.2`` ``score(reference, estimate)`` takes one list of MIDI pitches per frame for each
and returns ``(precision, recall, accuracy)``, or a dictionary with these names: counts summed over
frames, pairs one to one within half a semitone, 0 where there is nothing to divide by.

``multi_pitch.3`` ``choose_threshold(probabilities, targets, candidates)`` gets two matrices
``(bins, frames)`` of the validation set and returns the candidate with the highest accuracy of
``probabilities >= threshold``, counts summed over the matrix. A function that also names parameters
``test_probabilities`` and ``test_targets`` is given the test set, and should leave it alone.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dl101.evaluation.multi_pitch import PitchSeries, count
from dl101.lab.checks import Exercise, NotAccepted, ask

# ---- 1: from notes to targets ------------------------------------------------------------------

HOP_S = 512 / 22050
MIN_BINS = 70  # room for two octaves too high, and for MIDI numbers used as rows


@dataclass(frozen=True)
class Notes:
    """Arguments of ``notes_to_matrix``."""

    onsets_s: NDArray[np.float64]
    durations_s: NDArray[np.float64]
    pitches_midi: NDArray[np.int64]
    times_s: NDArray[np.float64]
    lowest_midi: int
    n_bins: int

    def arguments(self) -> tuple[Any, ...]:
        """Return the arguments in their order."""
        return tuple(vars(self).values())


def _matrix(
    notes: Notes,
    *,
    grid: str = "inside",
    shift: int = 0,
    extra: int = 0,
    end: str = "onset + duration",
    row: Callable[[NDArray, Notes], NDArray] = lambda pitch, notes: pitch - notes.lowest_midi,
) -> NDArray[np.uint8]:
    """Return the matrix by the rule (the defaults) or by a misreading of it; ordinary notes only.

    ``grid`` says how times become frames, ``shift`` and ``extra`` move or lengthen the result.
    """
    matrix = np.zeros((notes.n_bins, notes.times_s.size), dtype=np.uint8)
    ends = {
        "onset + duration": notes.onsets_s + notes.durations_s,
        "duration": notes.durations_s,
        "never": np.full(notes.onsets_s.size, np.inf),
        "at once": notes.onsets_s,
    }[end]
    rows = row(notes.pitches_midi, notes)
    hop = notes.times_s[1] - notes.times_s[0]
    for onset, stop_s, index in zip(notes.onsets_s, ends, rows, strict=True):
        span = np.array([onset, min(stop_s, notes.times_s[-1] + hop)])
        first, stop = {
            "inside": lambda s: np.searchsorted(notes.times_s, s),
            "nearest": lambda s: np.floor(s / hop + 0.5).astype(int),
            "floor": lambda s: np.floor(s / hop).astype(int),
            "touched": lambda s: np.array([np.floor(s[0] / hop), np.ceil(s[1] / hop)], int),
            "inner": lambda s: np.array([np.ceil(s[0] / hop), np.floor(s[1] / hop)], int),
        }[grid](span)
        stop = first + 1 if end == "at once" else stop
        if 0 <= index < notes.n_bins:
            matrix[index, max(0, first + shift) : max(0, stop + shift + extra)] = 1
    return matrix


def _ordinary_notes() -> Iterator[Notes]:
    """Melodies away from every special case: on the axis, one voice, long notes, no exact hits."""
    for index in range(4):
        rng = np.random.default_rng([101, 1, index])
        n_notes, n_frames = int(rng.integers(6, 9)), int(rng.integers(110, 130))
        # onsets and ends fall between frames, on either side of the middle
        fractions = rng.choice([0.2, 0.4, 0.6, 0.8], (2, n_notes))
        lengths = rng.integers(4, 9, n_notes)
        starts = 2 + np.concatenate([[0], np.cumsum(lengths + 3)[:-1]])
        onsets, ends = starts + fractions[0], starts + lengths + fractions[1]
        lowest = int(rng.integers(21, 31))
        yield Notes(
            onsets_s=onsets * HOP_S,
            durations_s=(ends - onsets) * HOP_S,
            pitches_midi=lowest + rng.integers(26, 39, n_notes),
            times_s=np.arange(n_frames) * HOP_S,
            lowest_midi=lowest,
            n_bins=int(rng.integers(MIN_BINS, MIN_BINS + 10)),
        )


MATRIX_MISTAKES: tuple[tuple[Mapping[str, Any], str], ...] = (
    (
        {"grid": "nearest"},
        (
            "Onsets and ends are rounded to the nearest frame, so about half of your edges are "
            "one hop off: a frame is lit when its own time lies inside the note, onset <= time < "
            "end. Compare with times_s instead of rounding."
        ),
    ),
    (
        {"grid": "floor"},
        (
            "Your notes are one hop early: rounding down (int, //) takes the frame before the "
            "onset, whose centre lies outside the note. times_s are the centres of the frames: "
            "compare with them."
        ),
    ),
    (
        {"grid": "touched"},
        (
            "You light every frame that the note touches, which starts it one hop early. Only "
            "frames whose centre, times_s, lies inside the note count."
        ),
    ),
    (
        {"grid": "inner"},
        (
            "Your notes end one hop early: the last frame whose centre still lies before the end "
            "of the note is missing. A slice in Python leaves out its stop."
        ),
    ),
    ({"shift": 1}, "Everything is one hop late: the whole matrix is shifted by one frame."),
    (
        {"extra": 1},
        (
            "Your notes are one frame too long: the frame after the end is lit. The rule is "
            "time < onset + duration, and a slice already leaves out its stop."
        ),
    ),
    (
        {"end": "duration"},
        (
            "You read durations_s as end times. A duration is a length: the note ends at onset + "
            "duration."
        ),
    ),
    ({"end": "never"}, "Your notes never end: they stay lit to the last frame. Use durations_s."),
    (
        {"end": "at once"},
        (
            "Only the frame of each onset is lit: the durations are ignored. A note stays lit "
            "until onset + duration."
        ),
    ),
    (
        {"row": lambda pitch, notes: pitch},
        (
            "You use the MIDI number as the row. Row 0 is lowest_midi, so the row of a note is its "
            "pitch minus lowest_midi."
        ),
    ),
    (
        {"row": lambda pitch, notes: notes.n_bins - 1 - (pitch - notes.lowest_midi)},
        (
            "The pitch axis is upside down: row 0 is the lowest pitch. Turn the picture, not the "
            "matrix (origin='lower')."
        ),
    ),
)
SHORT_NOTE = (
    "A note shorter than a hop vanishes when no frame centre falls inside it. The network should "
    "still learn that it is there: light at least one frame, the nearest."
)
SAME_ANSWER = "Your function gives the same result for different input: does it use its arguments?"


def _grade_matrix(answer: object) -> str:
    cases = list(_ordinary_notes())
    got = [_asked_matrix(answer, notes) for notes in cases]
    right = [_matrix(notes) for notes in cases]
    if not _all_equal(got, right):
        raise NotAccepted(_why_wrong_matrix(cases, got, right))
    _grade_exact_edges(answer)
    _grade_chords(answer)
    _grade_short_notes(answer)
    _grade_outside(answer)
    return (
        "Notes start and end on the right frame, in the right row, also when they overlap, are "
        "shorter than a hop or lie outside the axis."
    )


def _asked_matrix(answer: object, notes: Notes) -> NDArray[np.float64]:
    """Return the student's matrix, of the right shape and holding 0 and 1 only."""
    result = ask(
        answer,
        *notes.arguments(),
        hints={
            IndexError: (
                "It reached outside the matrix: the row of a note is its pitch minus lowest_midi "
                "(not the MIDI number itself), and notes outside the axis are left out."
            ),
            TypeError: "Frame numbers must be whole (int) before they can index a matrix.",
        },
    )
    try:
        matrix = np.asarray(result, dtype=np.float64)
    except (TypeError, ValueError):
        raise NotAccepted(
            f"The function returns a {type(result).__name__}; a matrix (bins, frames) is asked."
        ) from None
    expected = (notes.n_bins, notes.times_s.size)
    if matrix.shape == expected[::-1]:
        raise NotAccepted(
            f"The matrix is transposed: it is {matrix.shape}, (frames, bins), but pitch comes "
            f"first, {expected}."
        )
    if matrix.shape != expected:
        raise NotAccepted(
            f"The matrix has shape {matrix.shape}; asked are n_bins rows and one column per time, "
            f"here {expected}."
        )
    if np.any(matrix > 1) and np.array_equal(matrix, np.round(matrix)):
        raise NotAccepted(
            "Some cells are greater than 1: where notes overlap you add. A target says whether a "
            "pitch sounds, not how many notes play it: set the cell to 1."
        )
    if not np.all((matrix == 0) | (matrix == 1)):
        raise NotAccepted("The matrix must hold 0 and 1 only, and 0 where nothing sounds.")
    return matrix


def _all_equal(ours: list[NDArray], theirs: list[NDArray]) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(ours, theirs, strict=True))


def _why_wrong_matrix(
    cases: list[Notes], got: list[NDArray[np.float64]], right: list[NDArray[np.uint8]]
) -> str:
    for options, hint in MATRIX_MISTAKES:
        if _all_equal(got, [_matrix(notes, **options) for notes in cases]):
            return hint
    for n_rows in (12, -12, 24, -24, 1, -1):
        moved = [_matrix(n, row=lambda p, n: p - n.lowest_midi + n_rows) for n in cases]  # noqa: B023
        if _all_equal(got, moved):
            side = "high" if n_rows > 0 else "low"
            if n_rows % 12 == 0:
                return (
                    f"Every note is {abs(n_rows)} rows too {side}, an octave error: MIDI 60 is C4, "
                    "and row 0 is lowest_midi."
                )
            return f"Every note is one row too {side}: row 0 is lowest_midi itself."
    if not any(matrix.any() for matrix in got):
        return (
            "The matrix is empty: no cell is 1. Are pitches compared with rows, times with times?"
        )
    blocks = [matrix[:MIN_BINS, :90] for matrix in got]  # the part that all cases have
    if _all_equal(blocks[1:], blocks[:-1]):
        return SAME_ANSWER
    for notes, mine, wanted in zip(cases, got, right, strict=True):
        differing = np.argwhere(mine != wanted)
        if differing.size:
            row, frame = differing[0]
            return (
                f"In a hidden melody {len(differing)} cells differ. The first: at "
                f"{notes.times_s[frame]:.3f} s, pitch {notes.lowest_midi + row} should be "
                f"{wanted[row, frame]:.0f} and is {mine[row, frame]:.0f}. Check which row and "
                "which frames each note lights."
            )
    raise AssertionError("called without a difference")


def _grade_exact_edges(answer: object) -> None:
    # a hop of 1/64 s has no rounding error: both notes begin and end exactly on frame centres
    notes = Notes(
        np.array([4, 10]) / 64,
        np.array([6, 8]) / 64,
        np.array([50, 52]),
        np.arange(32) / 64,
        40,
        24,
    )
    matrix, right = _asked_matrix(answer, notes), _matrix(notes)
    if np.array_equal(matrix, right):
        return
    if np.all(matrix >= right):
        raise NotAccepted(
            "When a note ends exactly on a frame, that frame belongs to the next note: the end is "
            "exclusive, time < onset + duration. Yours are one frame too long there."
        )
    raise NotAccepted(
        "When a note begins exactly on a frame, that frame is lit: the onset is inclusive, "
        "onset <= time."
    )


def _grade_chords(answer: object) -> None:
    # a chord, and two notes of one pitch that overlap: the cell stays 1 (see _asked_matrix)
    notes = Notes(
        np.array([2.3, 2.3, 5.3, 9.3]) * HOP_S,
        np.array([10.3, 12.3, 12.3, 3.3]) * HOP_S,
        np.array([50, 54, 50, 50]),
        np.arange(30) * HOP_S,
        40,
        24,
    )
    if not np.array_equal(_asked_matrix(answer, notes), _matrix(notes)):
        raise NotAccepted(
            "Single notes are right, but notes that sound together are not: a later note must not "
            "erase or switch off what an earlier one lit."
        )


def _grade_short_notes(answer: object) -> None:
    # 5 ms between two frame centres, nearer to the first: frames 10, 20 (the next is let pass)
    frames, pitches = np.array([10, 20]), np.array([50, 57])
    notes = Notes(
        (frames + 0.15) * HOP_S, np.full(2, 0.005), pitches, np.arange(30) * HOP_S, 40, 24
    )
    matrix = _asked_matrix(answer, notes)
    for frame, row in zip(frames, pitches - notes.lowest_midi, strict=True):
        if not matrix[row].any():
            raise NotAccepted(SHORT_NOTE)
        lit = np.flatnonzero(matrix[row])
        if lit.size != 1 or lit[0] not in (frame, frame + 1):
            raise NotAccepted(
                "A note shorter than a hop should light one frame, the nearest; yours lights "
                f"{lit.size} frames from frame {lit[0]} for a note right after frame {frame}."
            )
    if matrix.sum() != len(frames):
        raise NotAccepted("A short note should light one cell, in its own row.")


def _grade_outside(answer: object) -> None:
    notes = Notes(
        np.array([2.3, 8.3, 14.3]) * HOP_S,
        np.full(3, 4.3) * HOP_S,
        np.array([37, 50, 64]),
        np.arange(30) * HOP_S,
        40,
        24,
    )
    matrix, right = _asked_matrix(answer, notes), _matrix(notes)
    if np.array_equal(matrix, right):
        return
    if matrix[-3].any():  # the first note is three semitones below the axis
        raise NotAccepted(
            "A note below lowest_midi lights a row at the top: its row is negative, and Python "
            "counts negative indices from the end. Leave notes outside the axis out."
        )
    raise NotAccepted("Notes below lowest_midi or above the last row must be left out.")


# ---- 2: precision, recall and accuracy by hand -------------------------------------------------

Frames = list[list[float]]


def _frames(index: int) -> tuple[Frames, Frames]:
    """Return reference and estimate with every kind of right and wrong estimate."""
    rng = np.random.default_rng([101, 2, index])
    kinds = {  # offsets of reference and estimate from a place of the scale
        "right": ((0.0,), (0.3,)),
        "flat": ((0.0,), (-0.4,)),
        "across a rounding edge": ((0.4,), (0.7,)),
        "miss": ((0.0,), ()),
        "false alarm": ((), (0.1,)),
        "too far": ((0.0,), (0.8,)),
        "two estimates": ((0.0,), (-0.2, 0.3)),
        "two references": ((-0.25, 0.25), (0.0,)),
    }
    names = list(kinds)
    weights = np.array([4, 3, 1, 2 + index, 2, 2, 2, 1.5])
    reference, estimate = [], []
    for _ in range(int(rng.integers(30, 40))):
        ref, est = [], []
        # density differs between frames, so that a mean over frames is not the sum of counts
        for place in rng.choice([60, 63, 66, 69], int(rng.choice([0, 1, 2, 4])), replace=False):
            ours, theirs = kinds[names[rng.choice(len(names), p=weights / weights.sum())]]
            ref += [float(place + offset) for offset in ours]
            est += [float(place + offset) for offset in theirs]
        if rng.random() < 0.3:  # an octave error, far from everything else
            ref.append(37.4)  # a pitch class of its own
            est.append(49.5)
        rng.shuffle(ref)
        rng.shuffle(est)
        reference.append(ref)
        estimate.append(est)
    return reference, estimate


def _series(frames: Frames) -> PitchSeries:
    width = max(map(len, frames), default=0)
    padded = np.full((len(frames), width), np.nan)
    for row, frame in zip(padded, frames, strict=True):
        row[: len(frame)] = frame
    return PitchSeries(np.arange(len(frames), dtype=float), padded)


def _right_scores(reference: Frames, estimate: Frames) -> tuple[float, float, float]:
    scores = count(_series(reference), _series(estimate)).scores()
    return scores["precision"], scores["recall"], scores["accuracy"]


def _near(tolerance: float = 0.5, *, chroma: bool = False, rounded: bool = False) -> Callable:
    def near(ref: float, est: float) -> bool:
        if rounded:
            return round(ref) == round(est)
        gap = abs(ref - est)
        return (min(gap % 12, 12 - gap % 12) if chroma else gap) <= tolerance + 1e-9

    return near


def _one_to_one(ref: list[float], est: list[float], near: Callable) -> int:
    """Count pairs, each pitch used once. Greedy, which suffices where the hidden cases need it."""
    free = sorted(est)
    n_pairs = 0
    for pitch in sorted(ref):
        partner = next((other for other in free if near(pitch, other)), None)
        if partner is not None:
            free.remove(partner)
            n_pairs += 1
    return n_pairs


def _ratios(reference: Frames, estimate: Frames, near: Callable) -> tuple[float, float]:
    pairs = zip(reference, estimate, strict=True)
    tp = sum(_one_to_one(ref, est, near) for ref, est in pairs)
    n_ref, n_est = sum(map(len, reference)), sum(map(len, estimate))
    return tp / n_est, tp / n_ref


def _double_counts(reference: Frames, estimate: Frames) -> Iterator[tuple[float, float]]:
    near = _near()
    n_ref, n_est = sum(map(len, reference)), sum(map(len, estimate))
    found = reached = pairs = 0
    for ref, est in zip(reference, estimate, strict=True):
        found += sum(any(near(r, e) for e in est) for r in ref)
        reached += sum(any(near(r, e) for r in ref) for e in est)
        pairs += sum(near(r, e) for r in ref for e in est)
    yield reached / n_est, found / n_ref
    for tp in (found, reached, pairs):
        yield tp / n_est, tp / n_ref
    # each side counts its own: hits and false alarms of estimates, misses of references
    yield reached / n_est, reached / (reached + n_ref - found)


def _frame_means(reference: Frames, estimate: Frames) -> Iterator[tuple[float, float]]:
    near = _near()
    pairs = list(zip(reference, estimate, strict=True))
    matched = [_one_to_one(ref, est, near) for ref, est in pairs]
    for empty in (None, 0.0, 1.0):  # what a frame without pitches counts
        precision = [m / len(e) if e else empty for m, (_, e) in zip(matched, pairs, strict=True)]
        recall = [m / len(r) if r else empty for m, (r, _) in zip(matched, pairs, strict=True)]
        yield tuple(
            float(np.mean([value for value in values if value is not None]))
            for values in (precision, recall)
        )
    sounding = [i for i, (ref, est) in enumerate(pairs) if ref and est]
    yield tuple(
        float(np.mean([matched[i] / len(pairs[i][side]) for i in sounding])) for side in (1, 0)
    )


def _rounding(reference: Frames, estimate: Frames) -> Iterator[tuple[float, float]]:
    yield _ratios(reference, estimate, _near(rounded=True))
    sets = [[set(map(round, frame)) for frame in frames] for frames in (reference, estimate)]
    tp = sum(len(ref & est) for ref, est in zip(*sets, strict=True))
    yield tp / sum(map(len, sets[1])), tp / sum(map(len, sets[0]))


PairModel = Callable[[Frames, Frames], Iterator[tuple[float, float]]]


def _model(near: Callable) -> PairModel:
    return lambda reference, estimate: iter([_ratios(reference, estimate, near)])


SCORE_MISTAKES: tuple[tuple[PairModel, str], ...] = (
    (
        lambda ref, est: iter([_right_scores(ref, est)[1::-1]]),
        (
            "Precision and recall are swapped. Precision divides the right estimates by all "
            "estimates; recall divides them by all reference pitches."
        ),
    ),
    (
        _frame_means,
        (
            "You average the scores of single frames. Sum true positives, false positives and "
            "misses over all frames first and divide once: a frame with one note must not weigh "
            "as much as a frame with five."
        ),
    ),
    (
        _double_counts,
        (
            "You count twice: where two references lie near one estimate (or two estimates near "
            "one reference), only one pair is right. Every pitch may be used once: take a matched "
            "one out."
        ),
    ),
    (
        _model(_near(chroma=True)),
        (
            "You count octave errors as right: pitches are compared modulo 12 (chroma). An octave "
            "too high is a wrong pitch here."
        ),
    ),
    (
        _model(_near(0.0)),
        (
            "You ask for equal pitches, a tolerance of zero. An estimate is right within half a "
            "semitone: abs(reference - estimate) <= 0.5."
        ),
    ),
    (
        _model(_near(1.0)),
        (
            "Your tolerance is a whole semitone, so that the neighbouring key counts as right. "
            "Half a semitone is asked, to either side."
        ),
    ),
    (
        _model(_near(0.25)),
        (
            "Your tolerance is a quarter of a semitone: half a semitone to either side is asked, "
            "not half in all."
        ),
    ),
    (
        _rounding,
        (
            "You round both pitches to the nearest semitone and compare. Pitches of 0.3 semitones "
            "apart can round to different keys: compare their distance with 0.5 instead."
        ),
    ),
)


def _grade_scores(answer: object) -> str:
    cases = [_frames(index) for index in range(4)]
    got = [_asked_scores(answer, *case) for case in cases]
    right = [_right_scores(*case) for case in cases]
    if not np.allclose(got, right, atol=1e-6):
        raise NotAccepted(_why_wrong_scores(cases, np.array(got), np.array(right)))
    silent = _asked_scores(answer, [[60.0], [62.0, 65.0], []], [[], [], []])
    if not np.allclose(silent, 0.0):
        raise NotAccepted(
            "Right as long as something is estimated. An estimate that is silent throughout scores "
            "0 everywhere: nothing was found, so that there is nothing to praise."
        )
    return (
        "Counts are summed over frames, pitches are paired one to one within half a semitone, and "
        "octave errors are errors."
    )


def _asked_scores(answer: object, reference: Frames, estimate: Frames) -> NDArray[np.float64]:
    """Return the student's precision, recall and accuracy as numbers."""
    result = ask(
        answer,
        reference,
        estimate,
        hints={
            ZeroDivisionError: (
                "A frame, or the whole estimate, can be empty: return 0 where there is nothing to "
                "divide by, and sum counts before you divide."
            ),
        },
    )
    names = ("precision", "recall", "accuracy")
    if isinstance(result, Mapping):
        lower = {str(name).lower(): value for name, value in result.items()}
        missing = [name for name in names if name not in lower]
        if missing:
            raise NotAccepted(f"The dictionary lacks {', '.join(missing)}.")
        result = [lower[name] for name in names]
    try:
        scores = np.asarray(result, dtype=np.float64)
    except (TypeError, ValueError):
        scores = np.empty(0)
    if scores.shape != (3,):
        raise NotAccepted("Return three numbers: precision, recall and accuracy, in this order.")
    if np.any(np.isnan(scores)):
        raise NotAccepted("A score is NaN: return 0 where there is nothing to divide by.")
    return scores


def _why_wrong_scores(
    cases: list[tuple[Frames, Frames]], got: NDArray[np.float64], right: NDArray[np.float64]
) -> str:
    if np.allclose(got, 100 * right, atol=1e-3):
        return "These are percentages; return fractions between 0 and 1."
    if np.allclose(got[:, :2], right[:, :2], atol=1e-6):
        return _why_wrong_accuracy(got[:, 2], right)
    for model, hint in SCORE_MISTAKES:
        variants = zip(*(model(*case) for case in cases), strict=True)
        if any(np.allclose(got[:, :2], variant, atol=1e-6) for variant in variants):
            return hint
    if np.allclose(got, got[0]):
        return SAME_ANSWER
    names = ("precision", "recall")
    wrong = [name for i, name in enumerate(names) if not np.allclose(got[:, i], right[:, i])]
    is_high = got[0, names.index(wrong[0])] > right[0, names.index(wrong[0])]
    return (
        f"{' and '.join(wrong)} differ on hidden frames; {wrong[0]} is "
        f"{got[0, names.index(wrong[0])]:.3f} and should be {right[0, names.index(wrong[0])]:.3f}, "
        f"too {'high' if is_high else 'low'}. Work out one frame with two pitches by hand."
    )


def _why_wrong_accuracy(accuracy: NDArray[np.float64], right: NDArray[np.float64]) -> str:
    precision, recall, wanted = right.T
    start = "Precision and recall are right; accuracy is not. "
    if np.allclose(accuracy, 2 * precision * recall / (precision + recall)):
        return start + (
            "You return the F-measure. Accuracy is TP / (TP + FP + FN), which is lower."
        )
    if np.allclose(accuracy, (precision + recall) / 2):
        return start + "You return their mean. Accuracy is TP / (TP + FP + FN)."
    if np.allclose(accuracy, precision * recall):
        return start + "You return their product. Accuracy is TP / (TP + FP + FN)."
    if np.all(accuracy > wanted):
        return start + (
            "It is too high: do you count true negatives? Nearly all pitches are silent nearly all "
            "the time, so that (TP + TN) / all rewards saying nothing. Leave TN out: "
            "TP / (TP + FP + FN)."
        )
    return start + (
        "It is TP / (TP + FP + FN): a wrong estimate is a false positive, and a reference that "
        "nobody matched a miss, each counted once."
    )


# ---- 3: choosing a threshold -------------------------------------------------------------------


@dataclass(frozen=True)
class Probabilities:
    """What a network said about the validation and the test set, and what was true."""

    validation: tuple[NDArray[np.float64], NDArray[np.uint8]]
    test: tuple[NDArray[np.float64], NDArray[np.uint8]]
    candidates: NDArray[np.float64]


def _probabilities(index: int) -> Probabilities:
    """Return outputs of networks that are timid or bold, so that the best threshold differs."""
    rng = np.random.default_rng([101, 3, index])
    timidity = (1.5, -0.8, 0.4, 2.2)[index]

    def split(timidity: float) -> tuple[NDArray[np.float64], NDArray[np.uint8]]:
        n_bins, n_frames = 40, 240
        # solo passages and dense ones, on which the network behaves differently
        is_dense = np.arange(n_frames) >= 180
        chance = np.where(is_dense, 0.2, 0.03)
        targets = (rng.random((n_bins, n_frames)) < chance).astype(np.uint8)
        logits = rng.normal(-3.2, 1.2, targets.shape) + targets * rng.normal(
            3.6, 1.2, targets.shape
        )
        logits += np.where(is_dense, 0.0, 1.2) - timidity
        return 1 / (1 + np.exp(-logits)), targets

    return Probabilities(split(timidity), split(timidity - 1.2), np.linspace(0.05, 0.95, 19))


def _best(
    split: tuple[NDArray, NDArray], candidates: NDArray, figure: Callable
) -> tuple[float, NDArray[np.float64]]:
    """Return the best candidate by a figure of (TP, FP, FN, TN) per frame, and all figures."""
    probabilities, targets = split
    on = targets.astype(bool)
    values = []
    for threshold in candidates:
        lit = probabilities >= threshold
        counts = [np.sum(cells, axis=0) for cells in (lit & on, lit & ~on, ~lit & on, ~lit & ~on)]
        with np.errstate(invalid="ignore"):
            values.append(float(figure(*counts)))
    return float(candidates[int(np.nanargmax(values))]), np.array(values)


def _accuracy(tp: NDArray, fp: NDArray, fn: NDArray, tn: NDArray) -> float:
    return tp.sum() / (tp.sum() + fp.sum() + fn.sum())


THRESHOLD_MISTAKES: tuple[tuple[Callable[[Probabilities], float], str], ...] = (
    (
        lambda case: _best(case.test, case.candidates, _accuracy)[0],
        (
            "You choose on the test set. Then the test score is the best of many tries and says "
            "too much about the model: choose on validation, use the test set once, afterwards."
        ),
    ),
    (
        lambda case: float(case.candidates.min()),
        (
            "You always take the lowest threshold, which is what recall alone asks for: "
            "everything is found, and nearly everything is reported. Accuracy also counts false "
            "alarms."
        ),
    ),
    (
        lambda case: float(case.candidates.max()),
        (
            "You always take the highest threshold, which is what precision alone asks for: what "
            "is reported is right, but most notes are missed. Accuracy also counts misses."
        ),
    ),
    (
        lambda case: _best(
            case.validation,
            case.candidates,
            lambda tp, fp, fn, tn: tp.sum() / (tp.sum() + fp.sum()),
        )[0],
        (
            "You choose by precision alone: what is reported is right, but many notes are missed. "
            "Accuracy, TP / (TP + FP + FN), also counts misses."
        ),
    ),
    (
        lambda case: _best(
            case.validation, case.candidates, lambda tp, fp, fn, tn: tp.sum() + tn.sum()
        )[0],
        (
            "You count silent cells that were left silent as right (true negatives). Most cells "
            "are silent, so that this prefers thresholds that are too high. Use TP / (TP + FP + "
            "FN)."
        ),
    ),
    (
        lambda case: _best(
            case.validation,
            case.candidates,
            lambda tp, fp, fn, tn: np.nanmean(tp / (tp + fp + fn)),
        )[0],
        (
            "You average the accuracy of single frames, so that a frame with one note weighs as "
            "much as a dense chord. Sum the counts over all frames, then divide once."
        ),
    ),
    (
        lambda case: _best(
            case.validation,
            case.candidates,
            lambda tp, fp, fn, tn: np.mean(tp / np.maximum(tp + fp + fn, 1)),
        )[0],
        (
            "You average over single frames, with 0 for frames where nothing sounds. Sum the "
            "counts over all frames, then divide once."
        ),
    ),
    (
        lambda case: _best(
            case.validation, case.candidates, lambda tp, fp, fn, tn: -abs(fp.sum() - fn.sum())
        )[0],
        (
            "You take the point where precision and recall are equal. That is often near the best "
            "accuracy, but is not it: compare the accuracies."
        ),
    ),
    (
        lambda case: _best(
            case.validation, case.candidates, lambda tp, fp, fn, tn: -_accuracy(tp, fp, fn, tn)
        )[0],
        "You take the worst candidate: is it argmin where argmax is meant?",
    ),
)


def _grade_threshold(answer: object) -> str:
    cases = [_probabilities(index) for index in range(4)]
    got = [_asked_threshold(answer, case) for case in cases]
    is_right = []
    for case, threshold in zip(cases, got, strict=True):
        accuracies = _best(case.validation, case.candidates, _accuracy)[1]
        mine = accuracies[np.isclose(case.candidates, threshold)]
        is_right.append(mine.size == 1 and mine[0] >= accuracies.max() - 1e-12)
    if all(is_right):
        return (
            "The threshold with the best accuracy on validation, whatever the network's habits; "
            "the test set stays untouched until the end."
        )
    raise NotAccepted(_why_wrong_threshold(cases, np.array(got)))


def _asked_threshold(answer: object, case: Probabilities) -> float:
    parameters = inspect.signature(answer).parameters if inspect.isfunction(answer) else ()
    test = {"test_probabilities": case.test[0], "test_targets": case.test[1]}
    named = {name: value for name, value in test.items() if name in parameters}
    result = ask(answer, *case.validation, case.candidates, **named)
    try:
        return float(result)
    except (TypeError, ValueError):
        raise NotAccepted(
            f"Return one threshold, a number; your function returns a {type(result).__name__}."
        ) from None


def _why_wrong_threshold(cases: list[Probabilities], got: NDArray[np.float64]) -> str:
    indices = [
        int(np.argmax(_best(case.validation, case.candidates, _accuracy)[1])) for case in cases
    ]
    if np.array_equal(got, indices):
        return "You return the index of the best candidate; return the candidate itself."
    if np.allclose(got, 0.5):
        return (
            "0.5 whatever the data. A network that is timid or bold says 0.2 or 0.8 where it means "
            "yes: try the candidates and keep the one with the best accuracy on validation."
        )
    for model, hint in THRESHOLD_MISTAKES:
        if np.allclose(got, [model(case) for case in cases]):
            return hint
    if np.allclose(got, got[0]):
        return SAME_ANSWER
    if not all(np.isclose(case.candidates, t).any() for case, t in zip(cases, got, strict=True)):
        return "Return one of the candidates."
    accuracies = _best(cases[0].validation, cases[0].candidates, _accuracy)[1]
    mine = accuracies[np.isclose(cases[0].candidates, got[0])][0]
    return (
        f"On hidden data your threshold {got[0]:.2f} has an accuracy of {mine:.3f}, and another "
        f"candidate has {accuracies.max():.3f}. Accuracy is TP / (TP + FP + FN) of "
        "probabilities >= threshold, counted over the whole matrix."
    )


EXERCISES: Mapping[str, Exercise] = {
    "multi_pitch.1": Exercise(
        "from notes to targets",
        _grade_matrix,
        minutes=25,
        rubric={
            "rows and frames are right: pitch − lowest_midi, and onset ≤ t < onset + duration": 2,
            "a note between two frames lights the one nearest to its middle": 1,
            "notes outside the rows are left out; two notes in one cell still give 1": 1,
        },
    ),
    "multi_pitch.2": Exercise(
        "precision, recall and accuracy by hand",
        _grade_scores,
        minutes=30,
        rubric={
            "pitches are paired one to one, within half a semitone, octaves apart": 2,
            "counts are summed over the frames before dividing once": 1,
            "accuracy leaves true negatives out; silence gives 0, not an exception": 1,
        },
    ),
    "multi_pitch.3": Exercise(
        "choosing a threshold",
        _grade_threshold,
        minutes=20,
        rubric={
            "the candidate with the best accuracy, counted over the whole matrix": 1,
            "chosen on validation; the test set is left alone": 1,
        },
    ),
}
