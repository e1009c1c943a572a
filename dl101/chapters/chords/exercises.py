"""The exercises of the chapter on chord estimation.

Chords are numbers here: 0 to 11 major from C up, 12 to 23 minor, 24 no chord, -1 not known.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dl101.evaluation import chords
from dl101.lab.exercise import Exercise, Function

NO_CHORD, UNKNOWN = 24, -1

# ---- 1: a score that weighs by duration ----------------------------------------------------------

Segments = list[tuple[float, float, int]]
Piece = tuple[float, int, int, int]  # seconds, true and said chord, number of the true segment


def _pieces(reference: Segments, estimate: Segments) -> list[Piece]:
    """Return the stretches in which neither changes."""
    return [
        (min(end, other_end) - max(begin, other_begin), true, said, number)
        for number, (begin, end, true) in enumerate(reference)
        for other_begin, other_end, said in estimate
        if min(end, other_end) > max(begin, other_begin)
    ]


def _share(
    weight: Callable[[float], float] = lambda seconds: seconds,
    counts: Callable[[int], bool] = lambda true: true != UNKNOWN,
    right: Callable[[int, int], bool] = lambda true, said: true == said,
    whole: Callable[[int], bool] | None = None,
) -> Callable[[Segments, Segments], float]:
    """Return the score that weighs, leaves out and compares like this."""

    def score(reference: Segments, estimate: Segments) -> float:
        pieces = _pieces(reference, estimate)
        total = sum(weight(seconds) for seconds, true, *_ in pieces if (whole or counts)(true))
        good = sum(
            weight(seconds)
            for seconds, true, said, _ in pieces
            if counts(true) and right(true, said)
        )
        return good / total if total else float("nan")

    return score


def _each_segment_alike(reference: Segments, estimate: Segments) -> float:
    shares = []
    for number, (begin, end, true) in enumerate(reference):
        mine = [piece for piece in _pieces(reference, estimate) if piece[3] == number]
        if true != UNKNOWN:
            good = sum(seconds for seconds, _, said, _ in mine if said == true)
            shares.append(good / (end - begin))
    return float(np.mean(shares)) if shares else float("nan")


def _by_overlap(
    measure: Callable[[float, float, float, float], float],
) -> Callable[[Segments, Segments], float]:
    """Return the score that measures so how far two segments with the same chord overlap."""

    def score(reference: Segments, estimate: Segments) -> float:
        known = [segment for segment in reference if segment[2] != UNKNOWN]
        good = sum(
            measure(begin, end, other_begin, other_end)
            for begin, end, true in known
            for other_begin, other_end, said in estimate
            if said == true
        )
        return good / sum(end - begin for begin, end, _ in known) if known else float("nan")

    return score


def _whole_segments(reference: Segments, estimate: Segments) -> float:
    known = [segment for segment in reference if segment[2] != UNKNOWN]
    right = {number for _, true, said, number in _pieces(reference, estimate) if true == said}
    good = sum(
        end - begin
        for number, (begin, end, true) in enumerate(reference)
        if true != UNKNOWN and number in right
    )
    return good / sum(end - begin for begin, end, _ in known) if known else float("nan")


def _at_the_middle(reference: Segments, estimate: Segments) -> float:
    good = total = 0.0
    for begin, end, true in reference:
        if true != UNKNOWN:
            middle = (begin + end) / 2
            said = next((c for b, e, c in estimate if b <= middle < e), UNKNOWN)
            total += end - begin
            good += (end - begin) * (said == true)
    return good / total if total else float("nan")


def _row_by_row(reference: Segments, estimate: Segments) -> float:
    rows = [(r, e) for r, e in zip(reference, estimate, strict=False) if r[2] != UNKNOWN]
    good = sum(r[1] - r[0] for r, e in rows if r[2] == e[2])
    return good / sum(r[1] - r[0] for r, _ in rows) if rows else float("nan")


def _sampled(reference: Segments, estimate: Segments, times_s: NDArray) -> float:
    def at(segments: Segments, time_s: float) -> int:
        return next((c for begin, end, c in segments if begin <= time_s < end), NO_CHORD)

    both = [(at(reference, t), at(estimate, t)) for t in times_s]
    known = [true == said for true, said in both if true != UNKNOWN]
    return float(np.mean(known)) if known else float("nan")


def _annotations() -> list[tuple[Segments, Segments]]:
    """Return songs in which long chords are mostly right and short ones mostly wrong."""
    cases = []
    for index in range(4):
        rng = np.random.default_rng([301, 1, index])
        lengths = rng.permutation([0.37, 0.43, 0.71, 0.93, 1.31, 2.57, 4.83, 6.29])
        lengths = lengths + rng.integers(0, 16, lengths.size) / 100
        edges = np.round(np.concatenate([[0.0], np.cumsum(lengths)]), 2).tolist()
        true = rng.choice([0, 5, 7, 9, 14, 21], lengths.size)
        # one of the middling chords is unknown, one of the long ones is none
        order = np.argsort(lengths)
        true[order[4]], true[order[6]] = UNKNOWN, NO_CHORD
        reference, estimate = [], []
        for (begin, end), chord in zip(itertools.pairwise(edges), true.tolist(), strict=True):
            late = round(begin + min(0.31, 0.4 * (end - begin)), 2)
            wrong = (max(chord, 0) + 3) % 12
            right = NO_CHORD if chord == UNKNOWN else chord if end - begin > 0.9 else wrong
            reference.append((begin, end, chord))
            # what was said before goes on over the border
            last = estimate.pop() if estimate else (begin, begin, wrong)
            estimate += [(last[0], late, last[2]), (late, end, right)]
        cases.append((reference, estimate))
    return cases


DURATION = Function(
    title="a score that weighs by duration",
    minutes=20,
    rubric={
        "every second counts alike: overlaps of segments are measured, not counted": 2,
        "time whose chord is not known is in neither sum; no chord is a chord like others": 1,
    },
    right=_share(),
    cases=_annotations,
    returns="one number",
    rtol=1e-5,
    mistakes={
        "You count stretches: a chord of a third of a second weighs as much as one of six. Weigh "
        "each stretch by its duration.": _share(weight=lambda seconds: 1.0),
        "Each annotated chord weighs alike, however long it lasts: a song that holds one chord for "
        "a minute has a minute of it. Add up seconds, and divide once.": _each_segment_alike,
        "You compare at the onset of each annotated chord only. An estimate that is right a little "
        "later is right for most of the chord: measure the overlap.": (
            lambda reference, estimate: _sampled(
                reference, estimate, np.array([r[0] for r in reference])
            )
        ),
        "You look once a second and count frames. Short chords fall between the frames, and the "
        "score depends on where the frames happen to lie: measure overlaps exactly.": (
            lambda reference, estimate: _sampled(
                reference, estimate, np.arange(0.0, reference[-1][1], 1.0)
            )
        ),
        "Time whose chord is not known (-1) counts as wrong. Nobody knows what is right there: "
        "leave it out of both sums.": _share(counts=lambda true: True),
        "Time whose chord is not known (-1) counts as right whatever is said. Leave it out of both "
        "sums.": _share(counts=lambda true: True, right=lambda true, said: true in (said, UNKNOWN)),
        "Unknown time (-1) is taken for no chord (24). No chord is something one can hear; unknown "
        "means that nobody has said.": _share(
            counts=lambda true: True,
            right=lambda true, said: (NO_CHORD if true == UNKNOWN else true) == said,
        ),
        "No chord (24) is left out, too. To say that nothing sounds is an answer like others, and "
        "may be right.": _share(counts=lambda true: true not in (UNKNOWN, NO_CHORD)),
        "No chord (24) can never be right in your score, yet its time is in the denominator.": (
            _share(
                counts=lambda true: true not in (UNKNOWN, NO_CHORD),
                whole=lambda true: true != UNKNOWN,
            )
        ),
        "You add the whole duration of an estimated segment, though it reaches beyond the "
        "annotated one. The overlap is min(end, other_end) - max(begin, other_begin).": _by_overlap(
            lambda begin, end, other_begin, other_end: (
                other_end - other_begin if min(end, other_end) > max(begin, other_begin) else 0.0
            )
        ),
        "You add the whole annotated segment as soon as some estimate in it is right. Add only the "
        "time for which both hold.": _whole_segments,
        "You compare at one moment, the middle of each annotated segment, and add all of the "
        "segment. Add only the time for which both hold.": _at_the_middle,
        "Segments that do not meet have a negative overlap in your sum: add it only where it is "
        "greater than 0.": _by_overlap(
            lambda begin, end, other_begin, other_end: min(end, other_end) - max(begin, other_begin)
        ),
        "You compare the first segment with the first, the second with the second. The two lists "
        "have other borders: compare each with all that overlap it.": _row_by_row,
        "You return seconds, not a share: divide by the time whose chord is known.": (
            lambda reference, estimate: sum(
                seconds for seconds, true, said, _ in _pieces(reference, estimate) if true == said
            )
        ),
    },
    edges={
        "Where no chord is known there is nothing to compare: return nan, which is no score, "
        "rather than 0, which is a bad one.": (
            ([(0.0, 2.0, UNKNOWN)], [(0.0, 2.0, 3)]),
            lambda reference, estimate: np.nan_to_num(_share()(reference, estimate)),
        ),
    },
    crash={
        ZeroDivisionError: (
            "Where no chord is known the known time is 0: return nan there.",
            lambda reference, estimate: (
                _share()(reference, estimate) / any(true != UNKNOWN for *_, true in reference)
            ),
        ),
    },
    differs="In a hidden song the estimate is right for {right:.3f} of the known time; you return "
    "{got:.3f}. Measure by hand how long the first chord and its estimates overlap.",
    praise="Every second weighs alike, and nobody is blamed where nobody knows.",
)

# ---- 2: from segments to frames ------------------------------------------------------------------

HOP_S = 2048 / 22050
Frames = tuple[NDArray, NDArray, NDArray, int, float]


def _frames(
    *,
    early: float = 0.0,
    outside: int = UNKNOWN,
    end: Callable[[float, float], float] = lambda onset, duration: onset + duration,
    holds: Callable[[float, float, float], bool] = lambda t, onset, stop: onset <= t < stop,
    hold_on: bool = False,
    root: Callable[[int], int] = lambda number: number,
) -> Callable[..., NDArray]:
    """Return the right function (the defaults) or one that misreads the rule."""

    def segments_to_frames(
        onsets_s: NDArray, durations_s: NDArray, classes: NDArray, n_frames: int, hop_s: float
    ) -> NDArray:
        found = np.full(n_frames, outside, dtype=float)
        spans = list(zip(onsets_s, durations_s, classes, strict=True))
        for number, (onset, duration, chord) in enumerate(spans):
            stop = end(onset, duration)
            if hold_on:
                stop = spans[number + 1][0] if number + 1 < len(spans) else np.inf
            for t in range(n_frames):
                if holds((t + early) * hop_s, onset, stop):
                    found[t] = root(chord)
        return found

    return segments_to_frames


def _songs() -> list[Frames]:
    """Return annotations with a gap before, between and after; no border on a frame."""
    cases = []
    for index in range(4):
        rng = np.random.default_rng([301, 2, index])
        n = int(rng.integers(5, 8))
        fractions = rng.permutation(np.resize([0.2, 0.4, 0.6, 0.8], 2 * n)).reshape(2, n)
        lengths = rng.integers(4, 9, n)
        starts = 3 + np.concatenate([[0], np.cumsum(lengths + 3)[:-1]])
        onsets, ends = starts + fractions[0], starts + lengths + fractions[1]
        classes = rng.permutation(np.resize([2, 7, 9, 16, 21, NO_CHORD, UNKNOWN], n))
        classes[0] = 0
        n_frames = int(np.ceil(ends[-1])) + 5
        cases.append((onsets * HOP_S, (ends - onsets) * HOP_S, classes, n_frames, HOP_S))
    return cases


def _first_frame(got: NDArray, right: NDArray, *case: Any) -> str:
    places = np.flatnonzero(got != right)
    t = places[0]
    return (
        f"In a hidden song {len(places)} frames differ. The first: at {t * case[4]:.3f} s the "
        f"chord should be {right[t]:.0f} and is {got[t]:g}."
    )


FRAMES = Function(
    title="from segments to frames",
    minutes=20,
    rubric={
        "a frame has the chord that holds at t * hop_s: onset <= time < onset + duration": 2,
        "time that no segment covers is -1, neither class 0 nor no chord": 1,
    },
    right=_frames(),
    cases=_songs,
    returns="an array (n_frames,) of classes",
    mistakes={
        "Frames that no segment covers are 0 in your result, and 0 is C major: the network would "
        "learn to hear C where nobody has said anything. Begin with -1.": _frames(outside=0),
        "Frames that no segment covers are 24, no chord. Nobody has said that there is none: they "
        "are -1, and training leaves them out.": _frames(outside=NO_CHORD),
        "Your borders are half a hop early: frame t stands for its centre, t * hop_s, not for what "
        "lies half a hop later (or for the nearest frame to the onset).": _frames(early=0.5),
        "Your frames are one hop early: int(onset / hop_s) is the frame before the chord begins. "
        "Compare t * hop_s with onset and end.": _frames(early=1.0),
        "Your frames are one hop late: frame 0 stands at 0 s, not at hop_s.": _frames(early=-1.0),
        "Your borders are half a hop late: frame t stands for its centre, t * hop_s.": _frames(
            early=-0.5
        ),
        "You read durations_s as ends. A chord ends at onset + duration.": _frames(
            end=lambda onset, duration: duration
        ),
        "A chord goes on until the next one begins in your result. It ends at onset + duration; "
        "from there on nothing is known.": _frames(hold_on=True),
        "A chord goes on until the next one begins, and before the first one stands the last "
        "(index -1). A chord ends at onset + duration; elsewhere nothing is known.": (
            lambda onsets, durations, classes, n_frames, hop: np.asarray(classes)[
                np.searchsorted(onsets, np.arange(n_frames) * hop, side="right") - 1
            ]
        ),
        "Your chords begin a frame early: int(onset / hop_s) is the frame before the chord begins. "
        "Compare t * hop_s with onset.": _frames(
            holds=lambda t, onset, stop: onset - HOP_S < t < stop
        ),
        "You keep the roots and lose the mode: C minor, 12, becomes 0, C major.": _frames(
            root=lambda number: number % 12 if 0 <= number < NO_CHORD else number
        ),
        "Segments whose class is -1 become no chord (24) in your result. -1 says that it is not "
        "known which chord this is: keep it.": _frames(
            root=lambda number: NO_CHORD if number == UNKNOWN else number
        ),
        "All frames are -1: are times in seconds compared with times in seconds?": (
            lambda *case: np.full(case[3], UNKNOWN)
        ),
    },
    edges={
        # with a hop of 1/64 s there is no rounding error
        "A chord that ends exactly on a frame: the end is exclusive, onset <= time < end.": (
            (np.array([4.5, 9.5]) / 64, np.array([2.5, 4.5]) / 64, np.array([5, 9]), 16, 1 / 64),
            _frames(holds=lambda t, onset, stop: onset <= t <= stop),
        ),
        "A chord that begins exactly on a frame: the onset is inclusive, onset <= time.": (
            (np.array([4.0, 9.0]) / 64, np.array([3.5, 4.5]) / 64, np.array([5, 9]), 16, 1 / 64),
            _frames(holds=lambda t, onset, stop: onset < t < stop),
        ),
    },
    crash={
        TypeError: (
            "Frame numbers must be whole (int) before they can index an array.",
            lambda onsets, durations, classes, n_frames, hop: np.zeros(n_frames)[
                onsets[0] / hop : 5
            ],
        ),
    },
    differs=_first_frame,
    praise="Each frame has the chord that holds at its centre, and what nobody has said is -1.",
)

# ---- 3: the same music in another key ------------------------------------------------------------

Moved = tuple[NDArray, NDArray]


def _transpose(
    *,
    bins: Callable[[int, int], int] = lambda semitones, per_semitone: semitones * per_semitone,
    steps: Callable[[int], int] = lambda semitones: semitones,
    wrap: bool = False,
    label: Callable[[NDArray, int], NDArray] | None = None,
) -> Callable[..., Moved]:
    """Return the right function (the defaults) or one that moves something wrongly."""

    def transpose(
        spectrum: NDArray, classes: NDArray, semitones: int, bins_per_semitone: int
    ) -> Moved:
        shift, n = bins(semitones, bins_per_semitone), len(spectrum)
        moved = np.roll(spectrum, shift, axis=0)
        if not wrap:
            moved[: min(max(shift, 0), n)] = 0
            moved[n + min(shift, 0) :] = 0
        k = steps(semitones)
        if label is not None:
            return moved, label(classes, k)
        named = 12 * (classes // 12) + (classes + k) % 12
        return moved, np.where((classes >= 0) & (classes < NO_CHORD), named, classes)

    return transpose


def _in_keys() -> list[tuple[NDArray, NDArray, int, int]]:
    cases = []
    for index, (semitones, per_semitone) in enumerate([(3, 2), (-5, 3), (6, 2), (-4, 3)]):
        rng = np.random.default_rng([301, 3, index])
        n_frames = int(rng.integers(12, 16))
        classes = rng.permutation(np.resize([1, 8, 10, 14, 20, 23, NO_CHORD, UNKNOWN], n_frames))
        cases.append((rng.random((36 * per_semitone, n_frames)), classes, semitones, per_semitone))
    return cases


def _kept(change: Callable[[NDArray, int], NDArray]) -> Callable[[NDArray, int], NDArray]:
    """Return a change of label that leaves no chord and unknown alone."""
    return lambda c, k: np.where((c >= 0) & (c < NO_CHORD), change(c, k), c)


def _rolled_down(
    spectrum: NDArray, classes: NDArray, semitones: int, bins_per_semitone: int
) -> Moved:
    shift = semitones * bins_per_semitone
    moved = np.roll(spectrum, shift, axis=0)
    moved[:shift] = 0
    return moved, _transpose()(spectrum, classes, semitones, bins_per_semitone)[1]


def _repeated(spectrum: NDArray, classes: NDArray, semitones: int, bins_per_semitone: int) -> Moved:
    rows = np.clip(np.arange(len(spectrum)) - semitones * bins_per_semitone, 0, len(spectrum) - 1)
    return spectrum[rows], _transpose()(spectrum, classes, semitones, bins_per_semitone)[1]


TRANSPOSITION = Function(
    title="the same music in another key",
    minutes=20,
    rubric={
        "spectrum and classes move by the same number of semitones, in the same direction": 2,
        "major stays major, minor minor; no chord and unknown stay; what comes in is silent": 2,
    },
    right=_transpose(),
    cases=_in_keys,
    returns="the moved spectrum (bins, frames) and the moved classes (frames,)",
    apart=True,
    mistakes={
        "The spectrum is moved by semitones bins, but a semitone has several bins here: move it by "
        "semitones * bins_per_semitone.": _transpose(bins=lambda k, per_semitone: k),
        "The spectrum goes the wrong way: row 0 is the lowest pitch, so that up means towards "
        "higher rows.": _transpose(bins=lambda k, per_semitone: -k * per_semitone),
        "What leaves the spectrum at one end comes in at the other (np.roll): bass notes become "
        "the highest overtones. Rows that come in are silent, 0.": _transpose(wrap=True),
        "Moved down, the spectrum loses its low rows: moved[:shift] = 0 with a negative shift "
        "empties all but the last rows. There the rows that come in are the last, "
        "moved[shift:].": _rolled_down,
        "Rows that come in repeat the row at the border. They are silent, 0.": _repeated,
        "The classes move by bins: a root moves by semitones, whatever the number of bins in "
        "each.": (
            lambda spectrum, classes, k, per_semitone: (
                _transpose()(spectrum, classes, k, per_semitone)[0],
                _transpose()(spectrum, classes, k * per_semitone, 1)[1],
            )
        ),
        "The spectrum stays where it was: only the classes move.": _transpose(
            bins=lambda k, per_semitone: 0
        ),
        "The classes stay what they were: the network would be taught that C major is D major.": (
            _transpose(steps=lambda k: 0)
        ),
        "The classes go the wrong way: up by three semitones, C (0) becomes Eb (3).": _transpose(
            steps=lambda k: -k
        ),
        "Major chords become minor and minor ones major: (class + semitones) % 24 runs from B "
        "major into C minor. Keep the mode: 12 * (class // 12) + (class + semitones) % 12.": (
            _transpose(label=_kept(lambda c, k: (c + k) % 24))
        ),
        "(class + semitones) % 24 moves no chord and unknown, too, and runs from B major into C "
        "minor. Keep those two, and the mode: 12 * (class // 12) + (class + semitones) % "
        "12.": _transpose(label=lambda c, k: (c + k) % 24),
        "(class + semitones) % 12 loses the mode, and makes chords of no chord and unknown. Keep "
        "those two, and add 12 * (class // 12).": _transpose(label=lambda c, k: (c + k) % 12),
        "You add the semitones to every class: no chord and unknown must stay, and roots go round "
        "modulo 12.": _transpose(label=lambda c, k: c + k),
        "All chords are major in your result: the mode is lost. Add 12 * (class // 12) "
        "again.": _transpose(label=_kept(lambda c, k: (c + k) % 12)),
        "No chord (24) is moved: silence in another key is still silence.": _transpose(
            label=lambda c, k: np.where(c >= 0, 12 * (c // 12) + (c + k) % 12, c)
        ),
        "Unknown (-1) is moved and becomes a chord: what nobody knows is unknown in every "
        "key.": _transpose(
            label=lambda c, k: np.where(c < NO_CHORD, 12 * (c // 12) + (c + k) % 12, c)
        ),
        "No chord and unknown are moved like chords. Both stay what they are.": _transpose(
            label=lambda c, k: 12 * (c // 12) + (c + k) % 12
        ),
        "Classes run over the end of the octave: B (11) a semitone up is C (0), not C minor (12). "
        "Take the root modulo 12.": _transpose(label=_kept(lambda c, k: c + k)),
    },
    edges={
        "Moved by 0 semitones, everything stays as it was. (A slice that ends at -0 is empty.)": (
            (np.ones((24, 3)), np.array([0, NO_CHORD, UNKNOWN]), 0, 2),
            lambda spectrum, classes, k, per_semitone: (
                _transpose()(spectrum, classes, k, per_semitone)
                if k
                else (np.zeros_like(spectrum), classes)
            ),
        ),
    },
    differs="In a hidden case the value at place {at} should be {right} and is {got}.",
    praise="Sound and label arrive in the new key together.",
)

# ---- 4: the most likely sequence -----------------------------------------------------------------


def _decode(
    step: Callable[[NDArray], NDArray] = lambda ways: ways.max(axis=0),
    *,
    combine: Callable[[NDArray, NDArray], NDArray] = lambda best, log_t: best[:, None] + log_t,
    turned: bool = False,
    first: bool = True,
    back: str = "follow",
) -> Callable[[NDArray, NDArray], NDArray]:
    """Return Viterbi's algorithm (the defaults) or one that slips."""

    def viterbi(log_scores: NDArray, log_transitions: NDArray) -> NDArray:
        log_t = log_transitions.T if turned else log_transitions
        n_states, n_frames = log_scores.shape
        best = log_scores[:, 0] if first else np.zeros(n_states)
        came_from, running = np.zeros((n_frames, n_states), int), [int(best.argmax())]
        for t in range(1, n_frames):
            ways = combine(best, log_t)
            came_from[t] = ways.argmax(axis=0)
            best = step(ways) + log_scores[:, t]
            running.append(int(best.argmax()))
        if back == "none":
            return np.array(running)
        path = [running[-1]]
        for t in range(n_frames - 1, 0, -1):
            path.append(int(came_from[t - (back == "late"), path[-1]]))
        return np.array(path if back == "reversed" else path[::-1])

    return viterbi


def _greedy(log_scores: NDArray, log_transitions: NDArray) -> NDArray:
    path = [int(log_scores[:, 0].argmax())]
    for frame in log_scores.T[1:]:
        path.append(int((log_transitions[path[-1]] + frame).argmax()))
    return np.array(path)


def _log_sum(ways: NDArray) -> NDArray:
    top = ways.max(axis=0)
    return top + np.log(np.exp(ways - top).sum(axis=0))


def _models() -> list[tuple[NDArray, NDArray]]:
    """Return noisy scores and models in which chords stay, and go on in one direction."""
    cases = []
    for index in range(5):
        rng = np.random.default_rng([301, 4, index])
        n_states, n_frames = 5, 24
        onward = np.roll(np.eye(n_states), 1, axis=1)
        transitions = 0.5 * np.eye(n_states) + 0.35 * onward
        transitions += 0.15 * rng.dirichlet(np.ones(n_states), n_states)
        true = [int(rng.integers(n_states))]
        for _ in range(n_frames - 1):
            true.append(int(rng.choice(n_states, p=transitions[true[-1]])))
        scores = rng.normal(0.0, 1.0, (n_states, n_frames))
        scores[true, range(n_frames)] += 0.9
        cases.append((scores, np.log(transitions)))
    return cases


VITERBI = Function(
    title="the most likely sequence",
    minutes=30,
    rubric={
        "each step takes the maximum over the state before, and remembers where it came from": 2,
        "the sequence is read backwards from the best last state": 1,
        "logarithms are added; rows of the matrix are the state before": 1,
    },
    right=lambda scores, log_t: chords.viterbi(scores, np.exp(log_t)),
    cases=_models,
    returns="an array (frames,) of states",
    mistakes={
        "Each frame is decided by itself, and the transitions are not used: what can follow what "
        "must count, too.": lambda scores, log_t: scores.argmax(axis=0),
        "You decide frame after frame and never look back (greedy): a later frame may show that an "
        "earlier choice was wrong. Keep the best way to *every* state, and decide at the "
        "end.": _greedy,
        "You add up all ways into a state instead of taking the best one: that answers how likely "
        "a state is, not which sequence is the most likely. Take the maximum.": _decode(_log_sum),
        "The matrix is read the wrong way round: log_transitions[i, j] is the step from i to "
        "j.": _decode(turned=True),
        "Logarithms are multiplied. Probabilities are multiplied, their logarithms added.": _decode(
            combine=lambda best, log_t: best[:, None] * log_t
        ),
        "Probabilities are added to logarithms: log_transitions are logarithms already, or take "
        "none of them out with exp.": _decode(
            combine=lambda best, log_t: best[:, None] + np.exp(log_t)
        ),
        "The best value so far is added to the wrong axis: best[i] belongs to row i of the matrix, "
        "the state before; write best[:, None].": _decode(
            combine=lambda best, log_t: best[None, :] + log_t
        ),
        "Only the first frame is listened to: add log_scores[:, t] at every step.": (
            lambda scores, log_t: _decode()(
                np.where(np.arange(scores.shape[1]) == 0, scores, 0.0), log_t
            )
        ),
        "The first frame is not listened to: the best way to a state at frame 0 is its score "
        "there.": _decode(first=False),
        "The way back is missing: you return the best state at each frame, given the frames up to "
        "it. Remember where each best way came from, and follow it back from the end.": _decode(
            back="none"
        ),
        "The way back is one frame off: came_from[t] tells, for a state at t, the state at t - "
        "1.": _decode(back="late"),
        "The sequence runs backwards: it was read from the end; turn it round.": _decode(
            back="reversed"
        ),
    },
    edges={
        "A sequence of one frame has one state: that with the highest score.": (
            (np.array([[0.1], [2.0], [1.0]]), np.log(np.full((3, 3), 1 / 3))),
            lambda scores, log_t: (
                chords.viterbi(scores, np.exp(log_t)) if scores.shape[1] > 1 else np.array([0])
            ),
        ),
    },
    crash={
        TypeError: (
            "States must be whole numbers (int) before they can index an array.",
            lambda scores, log_t: np.arange(5)[float(scores[:, 0].argmax()) : 3],
        ),
    },
    differs="In a hidden sequence the state of frame {at[0]} should be {right:.0f} and is {got:g}.",
    praise="The best way to every state, and the way back from the end.",
)

EXERCISES: Mapping[str, Exercise] = {
    "chords.1": DURATION,
    "chords.2": FRAMES,
    "chords.3": TRANSPOSITION,
    "chords.4": VITERBI,
}
