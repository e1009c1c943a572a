"""Checks of the chapter on chroma.

``chroma.1`` ``chroma(magnitudes, pitches_midi, compression)`` folds a spectrum ``(bins, frames)``
whose bins have the given pitches: ``log(1 + compression * x)`` of every bin, summed by the nearest
semitone into 12 rows (row 0 is C), each frame divided by its largest value; silence stays zero.

``chroma.2`` ``semitones_up(query, reference)`` gets two chromas ``(12, frames)`` that differ in
length and returns by how many semitones, 0 to 11, the query must be moved *up* to fit best.

``chroma.3`` ``a4_hz(frequencies_hz, strengths)`` gets spectral peaks and returns the frequency of
the A4 that the recording is tuned to, from the mean angle of the peaks' fractions of a semitone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dl101.lab.checks import Exercise, NotAccepted, ask
from dl101.units import hz_to_midi, midi_to_hz

SAME_ANSWER = "Your function gives the same result for different input: does it use its arguments?"
Fold = tuple[NDArray, NDArray, float]  # magnitudes, pitches_midi, compression

# ---- 1: folding --------------------------------------------------------------------------------


def _spectra() -> list[Fold]:
    """Spectra whose lowest bin is no C, with bins below and above each semitone."""
    cases = []
    for index, lowest in enumerate((41.0, 33.0, 27.0)):
        rng = np.random.default_rng([105, 1, index])
        # a little flat of the grid, so that no bin lies halfway between two semitones
        pitches = lowest + np.arange(96 + 12 * index) / 3 - 0.05
        magnitudes = rng.gamma(0.4, 0.02, (pitches.size, 9 + index))
        cases.append((magnitudes, pitches, (30.0, 100.0, 1000.0)[index]))
    return cases


def _chroma(
    magnitudes: NDArray,
    pitches_midi: NDArray,
    compression: float,
    *,
    first: Callable[[NDArray], float] = lambda pitches: 0.0,
    nearest: Callable[[NDArray], NDArray] = lambda pitches: np.floor(pitches + 0.5),
    log: str = "before",
    gather: str = "sum",
    divide: str = "frame",
) -> NDArray[np.float64]:
    """Return the chroma by the rule (the defaults) or by a misreading of it."""
    values = {
        "before": lambda x: np.log1p(compression * x),
        "after": lambda x: x,
        "never": lambda x: x,
    }[log](magnitudes)
    classes = nearest(pitches_midi - first(pitches_midi)).astype(int) % 12
    rows = [values[classes == row] for row in range(12)]
    gathered = {
        "sum": lambda each: each.sum(axis=0),
        "mean": lambda each: each.mean(axis=0),
        "max": lambda each: each.max(axis=0),
        "last": lambda each: each[-1],
    }[gather]
    chroma = np.stack([gathered(each) for each in rows])
    if log == "after":
        chroma = np.log1p(compression * chroma)
    largest = {
        "frame": chroma.max(axis=0, keepdims=True),
        "track": chroma.max(),
        "row": chroma.max(axis=1, keepdims=True),
        "sum": chroma.sum(axis=0, keepdims=True),
        "norm": np.linalg.norm(chroma, axis=0, keepdims=True),
        "never": 1.0,
    }[divide]
    return chroma / largest


FOLD_MISTAKES: tuple[tuple[Mapping[str, Any], str], ...] = (
    (
        {"first": lambda pitches: 9.0},
        "Your row 0 is A; here it is C. MIDI counts from a C (60 is C4), so that a pitch modulo 12 "
        "is 0 for C and 9 for A: no shift is needed.",
    ),
    (
        {"first": lambda pitches: pitches[0]},
        "Your row 0 is the pitch class of the lowest bin. Spectra need not begin with a C: take "
        "the pitch itself modulo 12, not the number of the bin.",
    ),
    (
        {"nearest": np.floor},
        "You round down (int, //), so a tone that is slightly flat falls to the semitone "
        "below: a bin belongs to the *nearest* semitone, floor(pitch + 0.5).",
    ),
    (
        {"log": "after"},
        "You add the octaves first and take the logarithm of the sum. Compress every bin before "
        "adding: afterwards, a loud octave has already drowned the soft ones.",
    ),
    (
        {"log": "never"},
        "The compression is missing: log(1 + compression * x) of every bin, before adding.",
    ),
    (
        {"gather": "max"},
        "You keep the strongest octave only; add all bins of a pitch class.",
    ),
    (
        {"gather": "mean"},
        "You average the bins of a pitch class; add them. Rows need not have equally many bins.",
    ),
    (
        {"gather": "last"},
        "Each row holds one bin only, the last. chroma[classes] += values keeps one of several "
        "equal indices: add in a loop, sum the rows of each class, or use np.add.at.",
    ),
    (
        {"divide": "track"},
        "You divide by the largest value of the whole matrix. Each frame is divided by its own, so "
        "that soft passages count as much as loud ones.",
    ),
    (
        {"divide": "row"},
        "You divide each pitch class by its own largest value (the wrong axis). That makes all "
        "pitch classes equally strong; divide each frame, axis 0.",
    ),
    ({"divide": "sum"}, "Your frames add up to 1; divide by the largest value instead."),
    (
        {"divide": "norm"},
        "You divide each frame by its Euclidean norm; divide by the largest value instead.",
    ),
    ({"divide": "never"}, "The frames are not divided by their largest value."),
)


def _grade_fold(answer: object) -> str:
    cases = _spectra()
    got = [_asked_fold(answer, case) for case in cases]
    right = [_chroma(*case) for case in cases]
    if not _alike(got, right):
        raise NotAccepted(_why_wrong_fold(cases, got, right))
    magnitudes, pitches, compression = cases[0]
    silent = magnitudes * (np.arange(magnitudes.shape[1]) != 3)
    result = _asked_fold(answer, (silent, pitches, compression))
    if not np.isfinite(result).all() or result[:, 3].any():
        raise NotAccepted(
            "A silent frame must stay zero; yours becomes NaN or something else, because it is "
            "divided by 0. Divide only where the largest value is above 0."
        )
    return "Compressed, folded to the nearest semitone with C in row 0, and scaled frame by frame."


def _asked_fold(answer: object, case: Fold) -> NDArray[np.float64]:
    result = ask(
        answer,
        *case,
        hints={
            IndexError: "Rows are 0 to 11: take the nearest semitone modulo 12.",
            ValueError: "One row for each bin is given: see which axis you compare and add.",
        },
    )
    try:
        chroma = np.asarray(result, dtype=np.float64)
    except (TypeError, ValueError):
        raise NotAccepted("Return a matrix of numbers, 12 rows and one column a frame.") from None
    expected = (12, case[0].shape[1])
    if chroma.shape == expected[::-1]:
        raise NotAccepted(
            f"The matrix is transposed, {chroma.shape}: pitch classes come first, {expected}."
        )
    if chroma.shape != expected:
        raise NotAccepted(f"The matrix has shape {chroma.shape}; asked is {expected}.")
    return chroma


def _alike(ours: list[NDArray], theirs: list[NDArray]) -> bool:
    return all(np.allclose(a, b, atol=1e-6) for a, b in zip(ours, theirs, strict=True))


def _why_wrong_fold(cases: list[Fold], got: list[NDArray], right: list[NDArray]) -> str:
    for options, hint in FOLD_MISTAKES:
        if _alike(got, [_chroma(*case, **options) for case in cases]):
            return hint
    if any(np.isnan(each).any() for each in got):
        return (
            "Some values are NaN although every frame has sound. Does a row get no bin at all? "
            "Pitches lie between the semitones: take the nearest, floor(pitch + 0.5), modulo 12."
        )
    if any(each.min() < 0 for each in got):
        return (
            "Some values are negative. Is the 1 in log(1 + compression * x) missing? Without it, "
            "silence becomes minus infinity, or a large negative number, instead of 0."
        )
    for steps in range(1, 12):
        if _alike(got, [np.roll(each, steps, axis=0) for each in right]):
            return f"All rows are {steps} too high: row 0 is C, and MIDI 60 is a C."
    if _alike([each[:, :9] for each in got[1:]], [each[:, :9] for each in got[:-1]]):
        return SAME_ANSWER
    row, frame = np.argwhere(~np.isclose(got[0], right[0], atol=1e-6))[0]
    return (
        f"On a hidden spectrum, row {row} of frame {frame} should be {right[0][row, frame]:.3f} "
        f"and is {got[0][row, frame]:.3f}. Compress, add by nearest semitone, divide: try one "
        "frame by hand."
    )


# ---- 2: transposition --------------------------------------------------------------------------

Pair = tuple[NDArray, NDArray, int]


def _pairs() -> list[Pair]:
    """Return (query, reference, semitones up): two performances in different keys."""
    pairs = []
    for index, steps in enumerate((3, 10, 7, 1, 8)):
        rng = np.random.default_rng([105, 2, index])
        profile = np.array([1.0, 0.1, 0.5, 0.1, 0.7, 0.45, 0.1, 0.98, 0.1, 0.5, 0.1, 0.3])
        profile = np.roll(profile, int(rng.integers(12)))
        # whoever plays the tonic softly has the fifth on top
        other = profile.copy()
        other[profile.argmax()] = 0.93
        length = int(rng.integers(30, 50))
        query = profile[:, None] * rng.uniform(0.6, 1.0, (12, length))
        reference = np.roll(other, steps)[:, None] * rng.uniform(0.6, 1.0, (12, length + 11))
        pairs.append((query, reference, steps))
    return pairs


def _fit(query: NDArray, reference: NDArray) -> NDArray[np.float64]:
    """Return the inner product of the mean profiles for each rotation upwards."""
    a, b = query.mean(axis=1), reference.mean(axis=1)
    return np.array([np.roll(a, steps) @ b for steps in range(12)])


TRANSPOSITION_MISTAKES: tuple[tuple[Callable[[NDArray, NDArray], int], str], ...] = (
    (
        lambda query, reference: -int(_fit(query, reference).argmax()) % 12,
        "You rotate the wrong way: your answer moves the query down, or the reference up. Moving "
        "up by one semitone takes row 0 (C) to row 1 (C#): np.roll(query, +1, axis=0).",
    ),
    (
        lambda query, reference: int(_fit(query, reference).argmin()),
        "You return the rotation that fits worst: argmin suits a distance, argmax a likeness.",
    ),
    (
        lambda query, reference: (
            int(reference.mean(axis=1).argmax() - query.mean(axis=1).argmax()) % 12
        ),
        "You compare the strongest pitch classes only. In one performance that is the tonic, in "
        "the other the fifth: compare all twelve, in each of the twelve rotations.",
    ),
    (
        lambda query, reference: (int(_fit(query, reference).argmax()) + 6) % 12 - 6,
        "Right, but as a signed number: a semitone down is 11 up. Take it modulo 12.",
    ),
)


def _grade_transposition(answer: object) -> str:
    pairs = _pairs()
    got = [_asked_steps(answer, query, reference) for query, reference, _ in pairs]
    if got == [steps for *_, steps in pairs]:
        return "Twelve rotations, all twelve rows, the right way round."
    for model, hint in TRANSPOSITION_MISTAKES:
        if got == [model(query, reference) for query, reference, _ in pairs]:
            raise NotAccepted(hint)
    if len(set(got)) == 1:
        raise NotAccepted(SAME_ANSWER)
    wrong = next(i for i, (g, pair) in enumerate(zip(got, pairs, strict=True)) if g != pair[2])
    raise NotAccepted(
        f"A hidden query must go up by {pairs[wrong][2]} semitones, and you say {got[wrong]}. "
        "Rotate along axis 0 (the pitch classes), compare means over time."
    )


def _asked_steps(answer: object, query: NDArray, reference: NDArray) -> int:
    result = ask(
        answer,
        query,
        reference,
        hints={
            ValueError: "The two differ in length: compare their means over time, axis 1, which "
            "have 12 values each."
        },
    )
    try:
        steps = float(result)
    except (TypeError, ValueError):
        raise NotAccepted(f"Return one number; yours is a {type(result).__name__}.") from None
    if steps != int(steps):
        raise NotAccepted("Return a whole number of semitones, 0 to 11.")
    return int(steps)


# ---- 3: tuning ---------------------------------------------------------------------------------

Peaks = tuple[NDArray, NDArray, float]


def _peaks() -> list[Peaks]:
    """Return (frequencies, strengths, tuning in cents); strong peaks are tones, weak ones noise."""
    cases = []
    for index, cents in enumerate((32.0, -24.0, 46.0, -47.0)):
        rng = np.random.default_rng([105, 3, index])
        tones = rng.integers(45, 85, 40) + cents / 100 + rng.normal(0.0, 0.06, 40)
        # soft peaks of something else, at a quarter of a semitone from the rest
        other = rng.integers(45, 85, 30) + (cents - 25.0) / 100 + rng.normal(0.0, 0.03, 30)
        strengths = np.concatenate([rng.uniform(0.5, 1.0, 40), rng.uniform(0.0, 0.06, 30)])
        pitches = np.concatenate([tones, other])
        cases.append((midi_to_hz(pitches), strengths, cents))
    return cases


def _mean_angle(fractions: NDArray, strengths: NDArray) -> float:
    return float(np.angle((strengths * np.exp(2j * np.pi * fractions)).sum()) / (2 * np.pi))


def _a4(semitones: float) -> float:
    return float(440.0 * 2.0 ** (semitones / 12.0))


def _linear_mean(frequencies: NDArray, strengths: NDArray, centre: float) -> float:
    pitches = hz_to_midi(frequencies)
    return float(np.average((pitches + centre) % 1.0 - centre, weights=strengths))


TUNING_MISTAKES: tuple[tuple[Callable[[NDArray, NDArray], float], str], ...] = (
    (
        lambda f, s: _a4(-_mean_angle(hz_to_midi(f), s)),
        "The wrong direction: the peaks of a sharp recording lie above the grid, and its A4 lies "
        "above 440 Hz with them. You lower it (or divide where you should multiply).",
    ),
    (
        lambda f, s: 100 * _mean_angle(hz_to_midi(f), s),
        "You return the tuning in cents. One step is left: A4 = 440 * 2 ** (cents / 1200) Hz.",
    ),
    (
        lambda f, s: _mean_angle(hz_to_midi(f), s),
        "You return the tuning in semitones. One step is left: A4 = 440 * 2 ** (semitones / 12).",
    ),
    (
        lambda f, s: 440.0 * 2.0 ** (100 * _mean_angle(hz_to_midi(f), s) / 12),
        "Cents are taken for semitones: an octave has 12 semitones and 1200 cents.",
    ),
    (
        lambda f, s: _a4(_mean_angle(hz_to_midi(f), s) / 100),
        "Semitones are taken for cents: the angle over 2 pi is in semitones, and an octave has 12.",
    ),
    (
        lambda f, s: 440.0 + 100 * _mean_angle(hz_to_midi(f), s),
        "Cents are added to hertz. A cent is a ratio: A4 = 440 * 2 ** (cents / 1200).",
    ),
    (
        lambda f, s: _a4(_mean_angle(hz_to_midi(f), np.ones_like(s))),
        "The strengths are ignored, so weak peaks, mostly noise, count as much as the tones: "
        "weigh each arrow with its strength.",
    ),
    (
        lambda f, s: _a4(_linear_mean(f, s, 0.5)),
        "You average the fractions as plain numbers. At the edge of the grid +0.49 and -0.49 are "
        "neighbours, 0.02 apart, yet their plain mean is 0, as far from both as can be: average "
        "arrows, exp(2 pi i p), and take the angle.",
    ),
    (
        lambda f, s: _a4(_linear_mean(f, s, 0.0)),
        "You average p % 1, from 0 to 1: a recording that is slightly flat has fractions near 1 "
        "and seems almost a semitone sharp. Average arrows, exp(2 pi i p), and take the angle.",
    ),
    (
        lambda f, s: _a4(2 * np.pi * _mean_angle(hz_to_midi(f), s)),
        "The angle is left in radians: a full turn, 2 pi, is one semitone. Divide by 2 pi.",
    ),
    (
        lambda f, s: 440.0,
        "440 Hz whatever the peaks: use them.",
    ),
)
TOLERANCE_HZ = 0.6  # about 2 cents


def _grade_tuning(answer: object) -> str:
    cases = _peaks()
    got = np.array([_asked_hz(answer, f, s) for f, s, _ in cases])
    right = np.array([_a4(_mean_angle(hz_to_midi(f), s)) for f, s, _ in cases])
    if np.allclose(got, right, rtol=0.0, atol=TOLERANCE_HZ):
        return "The angle of the sum of all arrows, weighted, and turned into hertz."
    for model, hint in TUNING_MISTAKES:
        if np.allclose(got, [model(f, s) for f, s, _ in cases], rtol=0.0, atol=1e-3):
            raise NotAccepted(hint)
    if np.allclose(got, got[0]):
        raise NotAccepted(SAME_ANSWER)
    worst = int(np.abs(got - right).argmax())
    raise NotAccepted(
        f"For hidden peaks {cases[worst][2]:+.0f} cents from standard tuning, A4 should be "
        f"{right[worst]:.1f} Hz and is {got[worst]:.1f} Hz."
    )


def _asked_hz(answer: object, frequencies: NDArray, strengths: NDArray) -> float:
    result = ask(answer, frequencies, strengths)
    try:
        return float(np.real_if_close(result))
    except (TypeError, ValueError):
        raise NotAccepted(
            f"Return one frequency, a number; yours is a {type(result).__name__}."
        ) from None


EXERCISES: Mapping[str, Exercise] = {
    "chroma.1": Exercise(
        "folding a spectrum",
        _grade_fold,
        minutes=20,
        rubric={
            "each bin goes to the nearest semitone modulo 12, and row 0 is C": 2,
            "log(1 + Cx) before adding": 1,
            "each frame is divided by its own largest value; silence stays zero": 1,
        },
    ),
    "chroma.2": Exercise(
        "in which key is the cover?",
        _grade_transposition,
        minutes=15,
        rubric={
            "all twelve rotations are compared, over all twelve pitch classes": 1,
            "up is up: np.roll by a positive number of rows": 1,
        },
    ),
    "chroma.3": Exercise(
        "tuned to which A?",
        _grade_tuning,
        minutes=20,
        rubric={
            "fractions of a semitone are averaged as arrows, weighted by strength": 2,
            "the angle becomes a ratio in the right direction": 1,
        },
    ),
}
