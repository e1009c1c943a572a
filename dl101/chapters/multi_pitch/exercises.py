"""The exercises of the chapter on multi-pitch estimation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dl101.evaluation.multi_pitch import PitchSeries, count
from dl101.lab.exercise import Exercise, Function

# ---- 1: from notes to targets ------------------------------------------------------------------

HOP_S = 512 / 22050
Notes = tuple[NDArray, NDArray, NDArray, NDArray, int, int]
# (times of the frames, onset, end, hop) to the first frame that is lit and the one after the last
GRID: Mapping[str, Callable[..., tuple[int, int]]] = {
    "inside": lambda times, onset, end, hop: np.searchsorted(times, [onset, end]),
    "end too": lambda times, onset, end, hop: (
        np.searchsorted(times, onset),
        np.searchsorted(times, end, side="right"),
    ),
    "not onset": lambda times, onset, end, hop: (
        np.searchsorted(times, onset, side="right"),
        np.searchsorted(times, end),
    ),
    "neither": lambda times, onset, end, hop: np.searchsorted(times, [onset, end], side="right"),
    "nearest": lambda times, onset, end, hop: (int(onset / hop + 0.5), int(end / hop + 0.5)),
    "floor": lambda times, onset, end, hop: (int(onset / hop), int(end / hop)),
    "touched": lambda times, onset, end, hop: (int(onset / hop), int(np.ceil(end / hop))),
    "inner": lambda times, onset, end, hop: (int(np.ceil(onset / hop)), int(end / hop)),
    "first only": lambda times, onset, end, hop: np.searchsorted(times, onset) + np.array([0, 1]),
}
# where the frame of a note lies that is too short for one
SHORT: Mapping[str, Callable[[float, float], float]] = {
    "middle": lambda onset, duration: onset + duration / 2,
    "onset": lambda onset, duration: onset,
    "end": lambda onset, duration: onset + duration,
}


def _matrix(
    grid: str = "inside",
    *,
    shift: int = 0,
    extra: int = 0,
    end: Callable[[float, float], float] = lambda onset, duration: onset + duration,
    row: Callable[[int, int, int], int] = lambda pitch, lowest, n_bins: pitch - lowest,
    short: str | None = "middle",
    n_short: int = 1,
    merge: str = "set",
    outside: Callable[[int, int], int | None] = lambda row, n_bins: None,
) -> Callable[..., NDArray]:
    """Return the right function (the defaults) or one that misreads the rule.

    ``shift`` and ``extra`` move or lengthen every note; ``outside`` says in which row a note lands
    that lies outside.
    """

    def notes_to_matrix(
        onsets_s: NDArray,
        durations_s: NDArray,
        pitches_midi: NDArray,
        times_s: NDArray,
        lowest_midi: int,
        n_bins: int,
    ) -> NDArray:
        matrix = np.zeros((n_bins, times_s.size))
        hop = times_s[1] - times_s[0]
        for onset, duration, pitch in zip(onsets_s, durations_s, pitches_midi, strict=True):
            index = row(pitch, lowest_midi, n_bins)
            index = index if 0 <= index < n_bins else outside(index, n_bins)
            if index is None:
                continue
            stop_s = min(end(onset, duration), times_s[-1] + hop)
            first, stop = GRID[grid](times_s, onset, stop_s, hop)
            frames = np.arange(max(0, first + shift), min(times_s.size, stop + shift + extra))
            if frames.size == 0 and short:
                apart = np.abs(times_s - SHORT[short](onset, duration))
                frames = np.argsort(apart)[:n_short]
            if merge == "erase":
                matrix[:, frames] = 0
            matrix[index, frames] = matrix[index, frames] + 1 if merge == "add" else 1
        return matrix

    return notes_to_matrix


def _melodies() -> list[Notes]:
    """Return melodies away from special cases: one voice on the axis, long notes, no exact hits."""
    cases = []
    for index in range(4):
        rng = np.random.default_rng([101, 1, index])
        n_notes, n_frames = int(rng.integers(6, 9)), int(rng.integers(110, 130))
        # onsets and ends fall between frames, on either side of the middle
        fractions = rng.choice([0.2, 0.4, 0.6, 0.8], (2, n_notes))
        lengths = rng.integers(4, 9, n_notes)
        starts = 2 + np.concatenate([[0], np.cumsum(lengths + 3)[:-1]])
        onsets, ends = starts + fractions[0], starts + lengths + fractions[1]
        lowest = int(rng.integers(21, 31))
        pitches = lowest + rng.integers(26, 39, n_notes)  # room for two octaves up and down
        times_s = np.arange(n_frames) * HOP_S
        n_bins = int(rng.integers(70, 80))
        cases.append(
            (onsets * HOP_S, (ends - onsets) * HOP_S, pitches, times_s, lowest, n_bins),
        )
    return cases


def _notes(
    onsets: Sequence[float], durations: Sequence[float], pitches: Sequence[int], hop: float = HOP_S
) -> Notes:
    """Return a special case: times in hops, 24 rows from pitch 40."""
    times_s = np.arange(32) * hop
    return np.array(onsets) * hop, np.array(durations) * hop, np.array(pitches), times_s, 40, 24


def _differing_cell(got: NDArray, right: NDArray, *notes: Any) -> str:
    places = np.argwhere(got != right)
    row, frame = places[0]
    return (
        f"In a hidden melody {len(places)} cells differ. The first: at {notes[3][frame]:.3f} s, "
        f"pitch {notes[4] + row} should be {right[row, frame]:.0f} and is {got[row, frame]:g}. "
        "Check which row and which frames each note lights."
    )


TARGETS = Function(
    title="from notes to targets",
    minutes=25,
    rubric={
        "rows and frames are right: pitch − lowest_midi, and onset ≤ t < onset + duration": 2,
        "a note between two frames lights the one nearest to its middle": 1,
        "notes outside the rows are left out; two notes in one cell still give 1": 1,
    },
    right=_matrix(),
    cases=_melodies,
    returns="a matrix (n_bins, frames), pitch first",
    mistakes={
        "Onsets and ends are rounded to the nearest frame, so about half of your edges are one hop "
        "off: a frame is lit when its own time lies inside the note, onset <= time < end. Compare "
        "with times_s instead of rounding.": _matrix("nearest"),
        "Your notes are one hop early: rounding down (int, //) takes the frame before the onset, "
        "whose centre lies outside the note. times_s are the centres of the frames: compare with "
        "them.": _matrix("floor"),
        "You light every frame that the note touches, which starts it one hop early. Only frames "
        "whose centre, times_s, lies inside the note count.": _matrix("touched"),
        "Your notes end one hop early: the last frame whose centre still lies before the end of "
        "the note is missing. A slice in Python leaves out its stop.": _matrix("inner"),
        "Everything is one hop late: the whole matrix is shifted by one frame.": _matrix(shift=1),
        "Your notes are one frame too long: the frame after the end is lit. The rule is "
        "time < onset + duration, and a slice already leaves out its stop.": _matrix(extra=1),
        "You read durations_s as end times. A duration is a length: the note ends at onset + "
        "duration.": (
            _matrix(end=lambda onset, duration: duration, short=None),
            _matrix(end=lambda onset, duration: duration),
            _matrix(end=lambda onset, duration: duration, short="onset"),
        ),
        "Your notes never end: they stay lit to the last frame. Use durations_s.": _matrix(
            end=lambda onset, duration: np.inf
        ),
        "Only the frame of each onset is lit: the durations are ignored. A note stays lit until "
        "onset + duration.": _matrix("first only"),
        "You use the MIDI number as the row. Row 0 is lowest_midi, so the row of a note is its "
        "pitch minus lowest_midi.": _matrix(row=lambda pitch, lowest, n_bins: pitch),
        "The pitch axis is upside down: row 0 is the lowest pitch. Turn the picture, not the "
        "matrix (origin='lower').": _matrix(row=lambda p, lowest, n_bins: n_bins - 1 - p + lowest),
        "The matrix is empty: no cell is 1. Are pitches compared with rows, times with times?": (
            lambda *notes: np.zeros((notes[5], notes[3].size))
        ),
        "When a note ends exactly on a frame, that frame belongs to the next note: the end is "
        "exclusive, time < onset + duration. Yours are one frame too long there.": _matrix(
            "end too"
        ),
        "When a note begins exactly on a frame, that frame is lit: the onset is inclusive, "
        "onset <= time.": _matrix("not onset"),
        "A note shorter than a hop vanishes when no frame centre falls inside it. The network "
        "should still learn that it is there: light at least one frame, the nearest.": _matrix(
            short=None
        ),
        "A note too short for a frame lights the frame nearest to its onset in your matrix; asked "
        "is the one nearest to its middle, onset + duration / 2.": _matrix(short="onset"),
        "A note too short for a frame lights the frame nearest to its end in your matrix; asked is "
        "the one nearest to its middle, onset + duration / 2.": _matrix(short="end"),
        "A note below lowest_midi lights a row at the top: its row is negative, and Python counts "
        "negative indices from the end. Leave notes outside the axis out.": _matrix(
            outside=lambda row, n_bins: row % n_bins if row < 0 else None
        ),
    }
    | {
        f"Every note is {abs(n)} rows too {'high' if n > 0 else 'low'}, an octave error: MIDI 60 "
        "is C4, and row 0 is lowest_midi.": _matrix(row=lambda p, low, n_bins, n=n: p - low + n)
        for n in (12, -12, 24, -24)
    }
    | {
        f"Every note is one row too {'high' if n > 0 else 'low'}: row 0 is lowest_midi "
        "itself.": _matrix(row=lambda p, low, n_bins, n=n: p - low + n)
        for n in (1, -1)
    },
    symptoms={
        "Some cells are greater than 1: where notes overlap you add. A target says whether a "
        "pitch sounds, not how many notes play it: set the cell to 1.": (
            lambda got, right, *_: np.array_equal(got > 0, right > 0) and {1, 2} <= {*got.flat},
            _matrix(merge="add"),
        ),
        "The matrix must hold 0 and 1 only, and 0 where nothing sounds.": (
            lambda got, *_: not np.isin(got, (0, 1)).all(),
            lambda *notes: 0.5 * _matrix()(*notes),
        ),
    },
    edges={
        # a hop of 1/64 s has no rounding error: both notes begin and end exactly on frames
        "A note that begins or ends exactly on a frame: the onset is inclusive, the end exclusive, "
        "onset <= time < onset + duration.": (
            _notes([4, 10], [6, 8], [50, 52], hop=1 / 64),
            _matrix("neither"),
        ),
        "Single notes are right, but notes that sound together are not: a later note must not "
        "erase or switch off what an earlier one lit.": (
            _notes([2.3, 2.3, 5.3, 9.3], [10.3, 12.3, 12.3, 3.3], [50, 54, 50, 50]),
            _matrix(merge="erase"),
        ),
        # the frame nearest to the middle is that of the onset, and that of the end
        "A note too short for a frame should light one cell, in its own row: that of the frame "
        "nearest to its middle.": (
            _notes([10.1, 20.2, 15.1], [0.7, 0.75, 0.2], [50, 57, 53]),
            _matrix(n_short=2),
        ),
        "Notes below lowest_midi or above the last row must be left out.": (
            _notes([2.3, 8.3, 14.3], [4.3] * 3, [37, 50, 64]),
            _matrix(outside=lambda row, n_bins: 0 if row < 0 else n_bins - 1),
        ),
    },
    crash={
        IndexError: (
            "It reached outside the matrix: the row of a note is its pitch minus lowest_midi (not "
            "the MIDI number itself), and notes outside the axis are left out. (An index must also "
            "be whole, an int.)",
            _matrix(outside=lambda row, n_bins: row),
        ),
        TypeError: (
            "Frame numbers must be whole (int) before they can index a matrix.",
            lambda onsets, durations, pitches, times, *_: list(range(onsets[0] / HOP_S)),
        ),
    },
    differs=_differing_cell,
    praise="Notes start and end on the right frame, in the right row, also when they overlap, are "
    "shorter than a hop or lie outside the axis.",
)

# ---- 2: precision, recall and accuracy by hand -------------------------------------------------

Frames = list[list[float]]
Scores = tuple[float, float, float]
Near = Callable[[float, float], bool]


def _right_scores(reference: Frames, estimate: Frames) -> Scores:
    """Return the scores by the library's own count."""
    scores = count(_series(reference), _series(estimate)).scores()
    return scores["precision"], scores["recall"], scores["accuracy"]


def _series(frames: Frames) -> PitchSeries:
    padded = np.full((len(frames), max(map(len, frames), default=0)), np.nan)
    for row, frame in zip(padded, frames, strict=True):
        row[: len(frame)] = frame
    return PitchSeries(np.arange(len(frames), dtype=float), padded)


def _within(tolerance: float = 0.5) -> Near:
    return lambda ref, est: abs(ref - est) <= tolerance + 1e-9


def _same_chroma(ref: float, est: float) -> bool:
    return min((ref - est) % 12, (est - ref) % 12) <= 0.5


def _pairs(ref: list[float], est: list[float], near: Near | None = None) -> int:
    """Count pairs, each pitch used once. Greedy, which suffices where the hidden cases need it."""
    near = near or _within()
    free, n_pairs = sorted(est), 0
    for pitch in sorted(ref):
        partner = next((other for other in free if near(pitch, other)), None)
        if partner is not None:
            free.remove(partner)
            n_pairs += 1
    return n_pairs


def _found(ref: list[float], est: list[float]) -> int:
    """Count references near any estimate; with the arguments swapped, estimates."""
    return sum(any(_within()(r, e) for e in est) for r in ref)


def _all_pairs(ref: list[float], est: list[float]) -> int:
    return sum(_within()(r, e) for r in ref for e in est)


Counter = Callable[[list[float], list[float]], int]


def _from_counts(
    tp: Counter = _pairs,
    fp: Counter = lambda ref, est: len(est),
    fn: Counter = lambda ref, est: len(ref),
    *,
    rest: bool = True,
    accuracy: Callable[..., float] | None = None,
) -> Callable[[Frames, Frames], Scores]:
    """Return an answer by what it counts in a frame.

    With ``rest``, ``fp`` and ``fn`` count all pitches, of which the true positives are taken away.
    ``accuracy`` is of (precision, recall, tp, fp, fn, number of frames).
    """

    def score(reference: Frames, estimate: Frames) -> Scores:
        pairs = list(zip(reference, estimate, strict=True))
        right, false, missed = (sum(n(*pair) for pair in pairs) for n in (tp, fp, fn))
        if rest:
            false, missed = false - right, missed - right
        p, r = right / max(right + false, 1), right / max(right + missed, 1)
        if accuracy:
            return p, r, accuracy(p, r, right, false, missed, len(pairs))
        return p, r, right / max(right + false + missed, 1)

    return score


def _frame_means(empty: float | None, *, sounding: bool = False) -> Callable[..., Scores]:
    """Return an answer that averages frames; ``empty`` is what one without pitches counts."""

    def score(reference: Frames, estimate: Frames) -> Scores:
        pairs = zip(reference, estimate, strict=True)
        pairs = [(ref, est) for ref, est in pairs if (ref and est) or not sounding]
        columns: tuple[list, list, list] = ([], [], [])
        for ref, est in pairs:
            tp = _pairs(ref, est)
            all_ = len(ref) + len(est) - tp
            for column, n in zip(columns, (len(est), len(ref), all_), strict=True):
                column.append(tp / n if n else empty)
        kept = [[value for value in column if value is not None] for column in columns]
        return tuple(float(np.mean(column)) if column else 0.0 for column in kept)

    return score


def _near_by(near: Near) -> Callable[..., Scores]:
    return _from_counts(lambda ref, est: _pairs(ref, est, near))


def _rounded_sets(reference: Frames, estimate: Frames) -> Scores:
    sets = [[sorted(set(map(round, frame))) for frame in side] for side in (reference, estimate)]
    return _near_by(_within(0.0))(*sets)


def _unclaimed(tp: Counter) -> Callable[..., Scores]:
    """Return an answer in which pitches ask for any near one, and nothing is ever taken."""
    return _from_counts(
        tp,
        lambda ref, est: len(est) - _found(est, ref),
        lambda ref, est: len(ref) - _found(ref, est),
        rest=False,
    )


def _any_of_each(reference: Frames, estimate: Frames) -> Scores:
    pairs = list(zip(reference, estimate, strict=True))
    found = sum(_found(ref, est) for ref, est in pairs)
    reached = sum(_found(est, ref) for ref, est in pairs)
    n_ref, n_est = sum(map(len, reference)), sum(map(len, estimate))
    return reached / max(n_est, 1), found / max(n_ref, 1), found / max(n_est + n_ref - found, 1)


def _frames(index: int) -> tuple[Frames, Frames]:
    """Return reference and estimate with every kind of right and wrong estimate."""
    rng = np.random.default_rng([101, 2, index])
    kinds = {  # offsets of reference and estimate from a place of the scale
        "equal": ((0.0,), (0.0,)),
        "right": ((0.0,), (0.3,)),
        "flat": ((0.0,), (-0.4,)),
        "across a rounding edge": ((0.4,), (0.7,)),
        "miss": ((0.0,), ()),
        "false alarm": ((), (0.1,)),
        "too far": ((0.0,), (0.8,)),
        "two estimates": ((0.0,), (-0.2, 0.3)),
        "two references": ((-0.25, 0.25), (0.0,)),
    }
    weights = np.array([1, 3, 3, 1, 2 + index, 2, 2, 2, 1.5])
    reference, estimate = [], []
    for _ in range(int(rng.integers(30, 40))):
        ref, est = [], []
        # density differs between frames, so that a mean over frames is not the sum of counts
        for place in rng.choice([60, 63, 66, 69], int(rng.choice([0, 1, 2, 4])), replace=False):
            ours, theirs = list(kinds.values())[rng.choice(len(kinds), p=weights / weights.sum())]
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


def _heard_frames() -> list[tuple[Frames, Frames]]:
    by_hand = ([[60.0, 64.0], []], [[60.3, 64.8, 72.0], [50.0]])
    return [*map(_frames, range(4)), by_hand]


def _differing_scores(got: Scores, right: Scores, reference: Frames, estimate: Frames) -> str:
    named = zip(("precision", "recall", "accuracy"), got, right, strict=True)
    wrong = [each for each in named if abs(each[1] - each[2]) > 1e-6]
    name, ours, wanted = wrong[0]
    if len(reference) <= 2:
        return f"For {reference} and {estimate}, {name} should be {wanted:.3f} and is {ours:.3f}."
    return (
        f"{' and '.join(each[0] for each in wrong)} differ on hidden frames; {name} is {ours:.3f} "
        f"and should be {wanted:.3f}, too {'high' if ours > wanted else 'low'}. Work out one frame "
        "with two pitches by hand."
    )


def _only_accuracy(got: Scores, right: Scores) -> bool:
    return bool(np.allclose(got[:2], right[:2]))


START = "Precision and recall are right; accuracy is not. "
SCORES = Function(
    title="precision, recall and accuracy by hand",
    minutes=30,
    rubric={
        "pitches are paired one to one, within half a semitone, octaves apart": 2,
        "counts are summed over the frames before dividing once": 1,
        "accuracy leaves true negatives out; silence gives 0, not an exception": 1,
    },
    right=_right_scores,
    cases=_heard_frames,
    returns="three numbers: precision, recall and accuracy, in this order",
    names=("precision", "recall", "accuracy"),
    mistakes={
        "These are percentages; return fractions between 0 and 1.": (
            lambda ref, est: tuple(100 * value for value in _right_scores(ref, est))
        ),
        "Precision and recall are swapped. Precision divides the right estimates by all "
        "estimates; recall divides them by all reference pitches.": (
            lambda ref, est: tuple(np.array(_right_scores(ref, est))[[1, 0, 2]])
        ),
        "You average the scores of single frames. Sum true positives, false positives and "
        "misses over all frames first and divide once: a frame with one note must not weigh "
        "as much as a frame with five.": (
            _frame_means(None),
            _frame_means(0.0),
            _frame_means(1.0),
            _frame_means(None, sounding=True),
        ),
        "You count twice: where two references lie near one estimate (or two estimates near "
        "one reference), only one pair is right. Every pitch may be used once: take a matched "
        "one out.": (
            _from_counts(_found),
            _from_counts(lambda ref, est: _found(est, ref)),
            _from_counts(_all_pairs),
        ),
        "Nothing is claimed: each pitch asks whether *any* pitch of the other side is near. So one "
        "estimate between two references finds both, and a second estimate of one reference is no "
        "false alarm. Pair one to one: what is matched cannot be matched again.": (
            _unclaimed(_found),
            _unclaimed(lambda ref, est: _found(est, ref)),
            _unclaimed(_all_pairs),
            _any_of_each,
        ),
        "You count octave errors as right: pitches are compared modulo 12 (chroma). An octave "
        "too high is a wrong pitch here.": _near_by(_same_chroma),
        "You ask for equal pitches, a tolerance of zero. An estimate is right within half a "
        "semitone: abs(reference - estimate) <= 0.5.": _near_by(_within(0.0)),
        "Your tolerance is a whole semitone, so that the neighbouring key counts as right. "
        "Half a semitone is asked, to either side.": _near_by(_within(1.0)),
        "Your tolerance is a quarter of a semitone: half a semitone to either side is asked, "
        "not half in all.": _near_by(_within(0.25)),
        "You round both pitches to the nearest semitone and compare. Pitches of 0.3 semitones "
        "apart can round to different keys: compare their distance with 0.5 instead.": (
            _near_by(lambda ref, est: round(ref) == round(est)),
            _rounded_sets,
        ),
        START + "You return the F-measure. Accuracy is TP / (TP + FP + FN), which is lower.": (
            _from_counts(accuracy=lambda p, r, *_: 2 * p * r / (p + r) if p + r else 0.0)
        ),
        START + "You return their mean. Accuracy is TP / (TP + FP + FN).": _from_counts(
            accuracy=lambda p, r, *_: (p + r) / 2
        ),
        START + "You return their product. Accuracy is TP / (TP + FP + FN).": _from_counts(
            accuracy=lambda p, r, *_: p * r
        ),
    },
    symptoms={
        "A score is NaN: return 0 where there is nothing to divide by.": (
            lambda got, *_: np.isnan(got).any(),
            _from_counts(accuracy=lambda *_: np.nan),
        ),
        START + "It is too high: do you count true negatives? Nearly all pitches are silent nearly "
        "all the time, so that (TP + TN) / all rewards saying nothing. Leave TN out: "
        "TP / (TP + FP + FN).": (
            lambda got, right, *_: _only_accuracy(got, right) and got[2] > right[2],
            _from_counts(accuracy=lambda p, r, tp, fp, fn, n: 1 - (fp + fn) / (88 * n)),
        ),
        START + "It is TP / (TP + FP + FN): a wrong estimate is a false positive, and a reference "
        "that nobody matched a miss, each counted once.": (
            lambda got, right, *_: _only_accuracy(got, right),
            _from_counts(accuracy=lambda p, r, tp, fp, fn, n: tp / max(tp + fp + 2 * fn, 1)),
        ),
    },
    edges={
        "Right as long as something is estimated. An estimate that is silent throughout scores 0 "
        "everywhere: nothing was found, so that there is nothing to praise.": (
            ([[60.0], [62.0, 65.0], []], [[], [], []]),
            lambda ref, est: _right_scores(ref, est) if any(est) else (1.0, 0.0, 0.0),
        ),
        "Where nobody plays and nothing is estimated there is nothing to divide by: return 0.": (
            ([[], []], [[], []]),
            lambda ref, est: _right_scores(ref, est) if any(ref) else (1.0, 1.0, 1.0),
        ),
    },
    crash={
        ZeroDivisionError: (
            "A frame, or the whole estimate, can be empty: return 0 where there is nothing to "
            "divide by, and sum counts before you divide.",
            lambda ref, est: [_pairs(r, e) / len(e) for r, e in zip(ref, est, strict=True)],
        ),
    },
    differs=_differing_scores,
    praise="Counts are summed over frames, pitches are paired one to one within half a semitone, "
    "and octave errors are errors.",
)

# ---- 3: choosing a threshold -------------------------------------------------------------------

CANDIDATES = np.linspace(0.05, 0.95, 19)
Choice = tuple[NDArray, NDArray, NDArray, NDArray, NDArray]


def _accuracy(tp: NDArray, fp: NDArray, fn: NDArray, tn: NDArray) -> float:
    return tp.sum() / max((tp + fp + fn).sum(), 1)


def _figures(
    probabilities: NDArray,
    targets: NDArray,
    candidates: NDArray,
    figure: Callable[..., float] = _accuracy,
    said: Callable[[NDArray, float], NDArray] = np.greater_equal,
) -> NDArray:
    """Return a figure of (TP, FP, FN, TN) per frame for each candidate."""
    on = targets == 1
    values = []
    for threshold in candidates:
        lit = said(probabilities, threshold)
        cells = (lit & on, lit & ~on, ~lit & on, ~lit & ~on)
        with np.errstate(all="ignore"):
            values.append(float(figure(*(each.sum(axis=0) for each in cells))))
    return np.array(values)


def _best(
    figure: Callable[..., float] = _accuracy, said: Callable = np.greater_equal
) -> Callable[..., float]:
    """Return an answer that takes the best candidate by a figure."""
    return lambda p, t, candidates, *test: candidates[
        np.nanargmax(_figures(p, t, candidates, figure, said))
    ]


def _first_maximum(p: NDArray, t: NDArray, candidates: NDArray, *test: NDArray) -> float:
    values = _figures(p, t, candidates)
    falls = np.flatnonzero(np.diff(values) < 0)
    return candidates[falls[0] if falls.size else -1]


def _side(rng: np.random.Generator, timidity: float, n_solo: int) -> tuple[NDArray, NDArray]:
    """Return what a network says that is timid or bold, and what is true."""
    n_bins, n_frames = 40, 240
    # solo passages and dense ones, on which the network behaves differently
    is_dense = np.arange(n_frames) >= n_solo
    targets = rng.random((n_bins, n_frames)) < np.where(is_dense, 0.2, 0.03)
    logits = rng.normal(-3.2, 1.2, targets.shape) + targets * rng.normal(3.6, 1.2, targets.shape)
    logits += np.where(is_dense, 0.0, 1.2) - timidity
    return 1 / (1 + np.exp(-logits)), targets.astype(np.uint8)


def _choices() -> list[Choice]:
    """Return outputs for validation and test of networks whose best thresholds differ."""
    cases = []
    networks = ((1.5, 180), (-0.8, 180), (0.4, 180), (2.2, 180), (0.9, 40))
    for index, (timidity, n_solo) in enumerate(networks):
        rng = np.random.default_rng([101, 3, index])
        validation, test = _side(rng, timidity, n_solo), _side(rng, timidity - 1.2, n_solo)
        if index == 2:  # as many values as candidates: >= and > are not the same
            place = np.searchsorted(CANDIDATES, validation[0]).clip(0, CANDIDATES.size - 1)
            validation = CANDIDATES[place], validation[1]
        if index == 1:  # some notes are doubted: the accuracy falls once before its maximum
            probabilities, targets = validation
            doubted = (targets == 1) & (rng.random(targets.shape) < 0.25)
            validation = np.where(doubted, 0.32, probabilities), targets
        cases.append((*validation, CANDIDATES.copy(), *test))
    return cases


THRESHOLD = Function(
    title="choosing a threshold",
    minutes=20,
    rubric={
        "the candidate with the best accuracy, counted over the whole matrix": 1,
        "chosen on validation; the test set is left alone": 1,
    },
    right=_best(),
    cases=_choices,
    returns="one threshold",
    optional=2,
    mistakes={
        "You choose on the test set. Then the test score is the best of many tries and says "
        "too much about the model: choose on validation, use the test set once, afterwards.": (
            lambda p, t, candidates, p_test, t_test: _best()(p_test, t_test, candidates),
            lambda p, t, candidates, p_test, t_test: _best()(
                np.hstack([p, p_test]), np.hstack([t, t_test]), candidates
            ),
        ),
        "You return the index of the best candidate; return the candidate itself.": (
            lambda p, t, candidates, *test: int(_figures(p, t, candidates).argmax())
        ),
        "0.5 whatever the data. A network that is timid or bold says 0.2 or 0.8 where it means "
        "yes: try the candidates and keep the one with the best accuracy on validation.": (
            lambda *case: 0.5
        ),
        "You always take the lowest threshold, which is what recall alone asks for: "
        "everything is found, and nearly everything is reported. Accuracy also counts false "
        "alarms.": lambda p, t, candidates, *test: candidates.min(),
        "You always take the highest threshold, which is what precision alone asks for: what "
        "is reported is right, but most notes are missed. Accuracy also counts misses.": (
            lambda p, t, candidates, *test: candidates.max()
        ),
        "You choose by precision alone: what is reported is right, but many notes are missed. "
        "Accuracy, TP / (TP + FP + FN), also counts misses.": _best(
            lambda tp, fp, fn, tn: tp.sum() / (tp + fp).sum()
        ),
        "You count silent cells that were left silent as right (true negatives). Most cells "
        "are silent, so that this prefers thresholds that are too high. Use TP / (TP + FP + "
        "FN).": _best(lambda tp, fp, fn, tn: tp.sum() + tn.sum()),
        "You average the accuracy of single frames, so that a frame with one note weighs as "
        "much as a dense chord. Sum the counts over all frames, then divide once.": _best(
            lambda tp, fp, fn, tn: np.nanmean(tp / (tp + fp + fn))
        ),
        "You average over single frames, with 0 for frames where nothing sounds. Sum the "
        "counts over all frames, then divide once.": _best(
            lambda tp, fp, fn, tn: np.mean(tp / np.maximum(tp + fp + fn, 1))
        ),
        "You take the point where precision and recall are equal. That is often near the best "
        "accuracy, but is not it: compare the accuracies.": _best(
            lambda tp, fp, fn, tn: -abs(int(fp.sum()) - int(fn.sum()))
        ),
        "You take the worst candidate: is it argmin where argmax is meant?": _best(
            lambda *counts: -_accuracy(*counts)
        ),
        "You compare with >: a cell whose probability is just the threshold counts as said, "
        "probabilities >= threshold.": _best(said=np.greater),
        "You stop where the accuracy falls for the first time. It may rise again, higher: try all "
        "candidates and take the best.": _first_maximum,
    },
    symptoms={
        "Return one of the candidates.": (
            lambda got, right, p, t, candidates, *test: not np.isclose(candidates, got).any(),
            lambda p, t, candidates, *test: float(p.mean()),
        ),
    },
    differs=lambda got, right, p, t, candidates, *test: (
        f"On hidden data your threshold {got:.2f} has an accuracy of "
        f"{_figures(p, t, [got])[0]:.3f}, and another candidate has "
        f"{_figures(p, t, [right])[0]:.3f}. Accuracy is TP / (TP + FP + FN) of "
        "probabilities >= threshold, counted over the whole matrix."
    ),
    praise="The threshold with the best accuracy on validation, whatever the network's habits; "
    "the test set stays untouched until the end.",
)

EXERCISES: Mapping[str, Exercise] = {
    "multi_pitch.1": TARGETS,
    "multi_pitch.2": SCORES,
    "multi_pitch.3": THRESHOLD,
}
