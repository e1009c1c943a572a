"""The exercises of the chapter on chroma."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from dl101.lab.exercise import Exercise, Function
from dl101.units import hz_to_midi, midi_to_hz

# ---- 1: folding --------------------------------------------------------------------------------

GATHER: Mapping[str, Callable[[NDArray], NDArray]] = {
    "sum": lambda bins: bins.sum(axis=0),
    "mean": lambda bins: bins.sum(axis=0) / len(bins),
    "max": lambda bins: bins.max(axis=0),
    "last": lambda bins: bins[-1],
}
LARGEST: Mapping[str, Callable[[NDArray], NDArray | float]] = {
    "frame": lambda chroma: chroma.max(axis=0, keepdims=True),
    "track": lambda chroma: chroma.max(),
    "row": lambda chroma: chroma.max(axis=1, keepdims=True),
    "sum": lambda chroma: chroma.sum(axis=0, keepdims=True),
    "norm": lambda chroma: np.linalg.norm(chroma, axis=0, keepdims=True),
    "nothing": lambda chroma: 1.0,
}


def _fold(
    *,
    first: Callable[[NDArray], float] = lambda pitches: 0.0,
    nearest: Callable[[NDArray], NDArray] = lambda pitches: np.floor(pitches + 0.5),
    compress: Callable[[NDArray, float], NDArray] = lambda x, c: np.log1p(c * x),
    compress_sum: Callable[[NDArray, float], NDArray] = lambda x, c: x,
    gather: str = "sum",
    divide: str = "frame",
    guard: bool = True,
) -> Callable[[NDArray, NDArray, float], NDArray]:
    """Return the right function (the defaults) or one that misreads the rule."""

    def chroma(magnitudes: NDArray, pitches_midi: NDArray, compression: float) -> NDArray:
        values = compress(magnitudes, compression)
        classes = nearest(pitches_midi - first(pitches_midi)) % 12
        rows = np.stack([GATHER[gather](values[classes == row]) for row in range(12)])
        rows = compress_sum(rows, compression)
        largest = LARGEST[divide](rows)
        return rows / np.where(largest > 0, largest, 1.0) if guard else rows / largest

    return chroma


def _spectrum(index: int, lowest: float, bins_per_semitone: int, compression: float) -> tuple:
    """Return a spectrum whose lowest bin is no C, with bins below and above each semitone."""
    rng = np.random.default_rng([105, 1, index])
    # a little flat of the grid, so that no bin lies halfway between two semitones
    pitches = lowest + np.arange(96 + 12 * index) / bins_per_semitone - 0.05
    return rng.gamma(0.4, 0.02, (pitches.size, 9 + index)), pitches, compression


def _spectra() -> list[tuple]:
    return [_spectrum(0, 41.0, 3, 30.0), _spectrum(1, 33.0, 3, 100.0), _spectrum(2, 27.0, 5, 1e3)]


def _silent_frame() -> tuple:
    magnitudes, *others = _spectrum(0, 41.0, 3, 30.0)
    magnitudes[:, 3] = 0.0
    return magnitudes, *others


FOLD = Function(
    title="folding a spectrum",
    minutes=20,
    rubric={
        "each bin goes to the nearest semitone modulo 12, and row 0 is C": 2,
        "log(1 + Cx) before adding": 1,
        "each frame is divided by its own largest value; silence stays zero": 1,
    },
    right=_fold(),
    cases=_spectra,
    returns="a matrix (12, frames), pitch classes first",
    rtol=1e-5,
    atol=1e-6,
    mistakes={
        "Your row 0 is A; here it is C. MIDI counts from a C (60 is C4), so that a pitch modulo 12 "
        "is 0 for C and 9 for A: no shift is needed.": _fold(first=lambda pitches: 9.0),
        "Your row 0 is the pitch class of the lowest bin. Spectra need not begin with a C: take "
        "the pitch itself modulo 12, not the number of the bin.": _fold(first=lambda p: p[0]),
        "You round down (int, //), so a tone that is slightly flat falls to the semitone "
        "below: a bin belongs to the *nearest* semitone, floor(pitch + 0.5).": _fold(
            nearest=np.floor
        ),
        "You add the octaves first and take the logarithm of the sum. Compress every bin before "
        "adding: afterwards, a loud octave has already drowned the soft ones.": _fold(
            compress=lambda x, c: x, compress_sum=lambda x, c: np.log1p(c * x)
        ),
        "The compression is missing: log(1 + compression * x) of every bin, before adding.": _fold(
            compress=lambda x, c: x
        ),
        "You keep the strongest octave only; add all bins of a pitch class.": _fold(gather="max"),
        "You average the bins of a pitch class; add them. Rows need not have equally many "
        "bins.": _fold(gather="mean"),
        "Each row holds one bin only, the last. chroma[classes] += values keeps one of several "
        "equal indices: add in a loop, sum the rows of each class, or use np.add.at.": _fold(
            gather="last"
        ),
        "You divide by the largest value of the whole matrix. Each frame is divided by its own, so "
        "that soft passages count as much as loud ones.": _fold(divide="track"),
        "You divide each pitch class by its own largest value (the wrong axis). That makes all "
        "pitch classes equally strong; divide each frame, axis 0.": _fold(divide="row"),
        "Your frames add up to 1; divide by the largest value instead.": _fold(divide="sum"),
        "You divide each frame by its Euclidean norm; divide by the largest value instead.": _fold(
            divide="norm"
        ),
        "The frames are not divided by their largest value.": _fold(divide="nothing"),
    }
    | {
        f"All rows are {steps} too high: row 0 is C, and MIDI 60 is a C.": _fold(
            first=lambda pitches, steps=steps: -float(steps)
        )
        for steps in range(1, 12)
        if steps != 3  # row 0 is A
    },
    symptoms={
        "Some values are NaN although every frame has sound. Does a row get no bin at all? "
        "Pitches lie between the semitones: take the nearest, floor(pitch + 0.5), modulo 12.": (
            lambda got, right, magnitudes, *_: np.isnan(got).any() and magnitudes.any(axis=0).all(),
            _fold(nearest=lambda pitches: pitches, gather="mean"),
        ),
        "Some values are negative. Is the 1 in log(1 + compression * x) missing? Without it, "
        "silence becomes minus infinity, or a large negative number, instead of 0.": (
            lambda got, *_: (got < 0).any(),
            _fold(compress=lambda x, c: np.log(c * x + 1e-9)),
        ),
    },
    edges={
        "A silent frame must stay zero; yours becomes NaN or something else, because it is "
        "divided by 0. Divide only where the largest value is above 0.": (
            _silent_frame(),
            _fold(guard=False),
        ),
    },
    crash={
        IndexError: (
            "Rows are 0 to 11: take the nearest semitone modulo 12.",
            lambda magnitudes, pitches, c: np.zeros((12, 1))[np.round(pitches).astype(int)],
        ),
        ValueError: (
            "One row for each bin is given: see which axis you compare and add.",
            lambda magnitudes, pitches, c: magnitudes + pitches,
        ),
    },
    differs="On a hidden spectrum, row {at[0]} of frame {at[1]} should be {right:.3f} and is "
    "{got:.3f}. Compress, add by nearest semitone, divide: try one frame by hand.",
    praise="Compressed, folded to the nearest semitone with C in row 0, and scaled frame by frame.",
)

# ---- 2: transposition --------------------------------------------------------------------------


def _pair(steps: int) -> tuple[NDArray, NDArray]:
    """Return two performances, the second this many semitones higher."""
    rng = np.random.default_rng([105, 2, steps])
    profile = np.array([1.0, 0.1, 0.5, 0.1, 0.7, 0.45, 0.1, 0.98, 0.1, 0.5, 0.1, 0.3])
    profile = np.roll(profile, int(rng.integers(12)))
    # whoever plays the tonic softly has the fifth on top
    other = profile.copy()
    other[profile.argmax()] = 0.93
    length = int(rng.integers(30, 50))
    query = profile[:, None] * rng.uniform(0.6, 1.0, (12, length))
    reference = np.roll(other, steps)[:, None] * rng.uniform(0.6, 1.0, (12, length + 11))
    return query, reference


def _fits(query: NDArray, reference: NDArray) -> NDArray:
    """Return the inner product of the mean profiles for each rotation upwards."""
    a, b = query.mean(axis=1), reference.mean(axis=1)
    return np.array([np.roll(a, steps) @ b for steps in range(12)])


def _steps_up(query: NDArray, reference: NDArray) -> int:
    return int(_fits(query, reference).argmax())


TRANSPOSITION = Function(
    title="in which key is the cover?",
    minutes=15,
    rubric={
        "all twelve rotations are compared, over all twelve pitch classes": 1,
        "up is up: np.roll by a positive number of rows": 1,
    },
    right=_steps_up,
    cases=lambda: [_pair(steps) for steps in (3, 10, 7, 1, 8, 0, 11, 2, 4, 5, 6, 9)],
    returns="one number of semitones",
    mistakes={
        "You rotate the wrong way: your answer moves the query down, or the reference up. Moving "
        "up by one semitone takes row 0 (C) to row 1 (C#): np.roll(query, +1, axis=0).": (
            lambda query, reference: -_steps_up(query, reference) % 12
        ),
        "You return the rotation that fits worst: argmin suits a distance, argmax a likeness.": (
            lambda query, reference: int(_fits(query, reference).argmin())
        ),
        "You compare the strongest pitch classes only. In one performance that is the tonic, in "
        "the other the fifth: compare all twelve, in each of the twelve rotations.": (
            lambda query, reference: (
                int(reference.mean(axis=1).argmax() - query.mean(axis=1).argmax()) % 12
            )
        ),
        "Right, but as a signed number: a semitone down is 11 up. Take it modulo 12.": (
            lambda query, reference: (_steps_up(query, reference) + 6) % 12 - 6,
            lambda query, reference: _steps_up(query, reference) - 12,
        ),
    },
    symptoms={
        "Return a whole number of semitones, 0 to 11.": (
            lambda got, *_: got != int(got),
            lambda query, reference: 0.5,
        ),
    },
    crash={
        ValueError: (
            "The two differ in length: compare their means over time, axis 1, which have 12 values "
            "each.",
            lambda query, reference: (query * reference).sum(),
        ),
    },
    differs="A hidden query must go up by {right:g} semitones, and you say {got:g}. "
    "Rotate along axis 0 (the pitch classes), compare means over time.",
    praise="Twelve rotations, all twelve rows, the right way round.",
)

# ---- 3: tuning ---------------------------------------------------------------------------------


def _peaks(index: int, cents: float) -> tuple[NDArray, NDArray]:
    """Return frequencies and strengths; strong peaks are tones, weak ones noise."""
    rng = np.random.default_rng([105, 3, index])
    tones = rng.integers(45, 85, 40) + cents / 100 + rng.normal(0.0, 0.06, 40)
    # soft peaks of something else, at a quarter of a semitone from the rest
    other = rng.integers(45, 85, 30) + (cents - 25.0) / 100 + rng.normal(0.0, 0.03, 30)
    strengths = np.concatenate([rng.uniform(0.5, 1.0, 40), rng.uniform(0.0, 0.06, 30)])
    return midi_to_hz(np.concatenate([tones, other])), strengths


def _angle(frequencies_hz: NDArray, strengths: NDArray) -> float:
    """Return the mean of the fractions of a semitone as that of arrows."""
    arrows = strengths * np.exp(2j * np.pi * hz_to_midi(frequencies_hz))
    return float(np.angle(arrows.sum()) / (2 * np.pi))


def _a4(semitones: float) -> float:
    return float(440.0 * 2.0 ** (semitones / 12.0))


def _a4_hz(frequencies_hz: NDArray, strengths: NDArray) -> float:
    return _a4(_angle(frequencies_hz, strengths))


def _plain_mean(frequencies_hz: NDArray, strengths: NDArray, centre: float) -> float:
    fractions = (hz_to_midi(frequencies_hz) + centre) % 1.0 - centre
    return _a4(float(np.average(fractions, weights=strengths)))


TUNING = Function(
    title="tuned to which A?",
    minutes=20,
    rubric={
        "fractions of a semitone are averaged as arrows, weighted by strength": 2,
        "the angle becomes a ratio in the right direction": 1,
    },
    right=_a4_hz,
    cases=lambda: [_peaks(i, cents) for i, cents in enumerate((32.0, -24.0, 46.0, -47.0))],
    returns="one frequency in Hz",
    rtol=0.0003,  # half a cent: a scale that is linear in hertz is further off
    mistakes={
        "The wrong direction: the peaks of a sharp recording lie above the grid, and its A4 lies "
        "above 440 Hz with them. You lower it (or divide where you should multiply).": (
            lambda f, s: _a4(-_angle(f, s))
        ),
        "You return the tuning in cents. One step is left: A4 = 440 * 2 ** (cents / 1200) Hz.": (
            lambda f, s: 100 * _angle(f, s)
        ),
        "You return the tuning in semitones. One step is left: A4 = 440 * 2 ** (semitones / 12).": (
            _angle
        ),
        "Cents are taken for semitones: an octave has 12 semitones and 1200 cents.": (
            lambda f, s: _a4(100 * _angle(f, s))
        ),
        "Semitones are taken for cents: the angle over 2 pi is in semitones, and an octave has "
        "12.": lambda f, s: _a4(_angle(f, s) / 100),
        "Cents are added to hertz. A cent is a ratio: A4 = 440 * 2 ** (cents / 1200).": (
            lambda f, s: 440.0 + 100 * _angle(f, s)
        ),
        "The strengths are ignored, so weak peaks, mostly noise, count as much as the tones: "
        "weigh each arrow with its strength.": lambda f, s: _a4_hz(f, np.ones_like(s)),
        "You average the fractions as plain numbers. At the edge of the grid +0.49 and -0.49 are "
        "neighbours, 0.02 apart, yet their plain mean is 0, as far from both as can be: average "
        "arrows, exp(2 pi i p), and take the angle.": lambda f, s: _plain_mean(f, s, 0.5),
        "You average p % 1, from 0 to 1: a recording that is slightly flat has fractions near 1 "
        "and seems almost a semitone sharp. Average arrows, exp(2 pi i p), and take the angle.": (
            lambda f, s: _plain_mean(f, s, 0.0)
        ),
        "The angle is left in radians: a full turn, 2 pi, is one semitone. Divide by 2 pi.": (
            lambda f, s: _a4(2 * np.pi * _angle(f, s))
        ),
        "440 Hz whatever the peaks: use them.": lambda f, s: 440.0,
    },
    differs="For hidden peaks A4 should be {right:.1f} Hz and is {got:.1f} Hz.",
    praise="The angle of the sum of all arrows, weighted, and turned into hertz.",
)

EXERCISES: Mapping[str, Exercise] = {
    "chroma.1": FOLD,
    "chroma.2": TRANSPOSITION,
    "chroma.3": TUNING,
}
