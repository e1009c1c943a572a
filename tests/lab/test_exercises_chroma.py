"""Each check of the chroma chapter accepts the solution and tells wrong answers apart."""

import numpy as np

from dl101 import tuning
from dl101.features import Feature
from dl101.lab.exercises import chroma as exercise
from dl101.units import midi_to_hz
from tests.lab.exercise_proof import ExerciseProof


def chroma(
    magnitudes, pitches_midi, compression, *, shift=0, number=False, down=False, log="before",
    gather="sum", divide="frame", guard=True,
):  # fmt: skip
    x = np.log1p(compression * magnitudes) if log == "before" else magnitudes
    if log == "without 1":
        x = np.log(compression * magnitudes + 1e-9)
    rows = np.zeros((12, magnitudes.shape[1]))
    for index, pitch in enumerate(pitches_midi):
        place = pitch - pitches_midi[0] if number else pitch
        row = int(int(place) if down else np.floor(place + 0.5)) + shift
        if gather == "sum":
            rows[row % 12] += x[index]
        elif gather == "last":
            rows[row % 12] = x[index]
        else:
            rows[row % 12] = np.maximum(rows[row % 12], x[index])
    if log == "after":
        rows = np.log1p(compression * rows)
    largest = {
        "frame": rows.max(axis=0),
        "track": rows.max(),
        "row": rows.max(axis=1, keepdims=True),
        "sum": rows.sum(axis=0),
        "norm": np.sqrt((rows**2).sum(axis=0)),
        "never": np.ones(1),
    }[divide]
    return rows / np.where(largest > 0, largest, 1) if guard else rows / largest


def variant(**options):
    return lambda magnitudes, pitches, c: chroma(magnitudes, pitches, c, **options)


def mean_of_octaves(magnitudes, pitches_midi, compression, *, rounded=True):
    x = np.log1p(compression * magnitudes)
    classes = (np.round(pitches_midi) if rounded else pitches_midi) % 12
    rows = np.stack([x[classes == row].sum(0) / (classes == row).sum() for row in range(12)])
    return rows / rows.max(axis=0)


WRONG_FOLDS = {
    "row 0 is A": variant(shift=-9),
    "the number of the bin": variant(number=True),
    "rounded down": variant(down=True),
    "log after": variant(log="after"),
    "no log": variant(log="never"),
    "log without 1": variant(log="without 1"),
    "max": variant(gather="max"),
    "mean": mean_of_octaves,
    "last bin": variant(gather="last"),
    "not rounded": lambda *case: mean_of_octaves(*case, rounded=False),
    "norm": variant(divide="norm"),
    "whole track": variant(divide="track"),
    "wrong axis": variant(divide="row"),
    "sum to one": variant(divide="sum"),
    "not divided": variant(divide="never"),
    "silence": variant(guard=False),
    "transposed": lambda *case: chroma(*case).T,
    "one row off": variant(shift=1),
    "constant": lambda m, p, c: np.eye(12, m.shape[1]),
}


def semitones_up(query, reference, *, sign=1):
    a, b = query.mean(axis=1), reference.mean(axis=1)
    fits = [np.roll(a, sign * steps) @ b for steps in range(12)]
    return int(np.argmax(fits))


def strongest(query, reference):
    return (reference.mean(axis=1).argmax() - query.mean(axis=1).argmax()) % 12


WRONG_STEPS = {
    "wrong way": lambda q, r: semitones_up(q, r, sign=-1),
    "reference moved": lambda q, r: semitones_up(r, q),
    "worst": lambda q, r: int(
        np.argmin([np.roll(q.mean(1), steps) @ r.mean(1) for steps in range(12)])
    ),
    "strongest": strongest,
    "signed": lambda q, r: (semitones_up(q, r) + 6) % 12 - 6,
    "frame by frame": lambda q, r: int(
        np.argmax([(np.roll(q, steps, axis=0) * r).sum() for steps in range(12)])
    ),
    "constant": lambda q, r: 4,
    "a list": lambda q, r: [0, 1],
}


def a4_hz(frequencies_hz, strengths):
    arrows = strengths * np.exp(2j * np.pi * 12 * np.log2(frequencies_hz / 440))
    return 440 * 2 ** (np.angle(arrows.sum()) / (2 * np.pi) / 12)


def fractions(frequencies_hz):
    return 12 * np.log2(frequencies_hz / 440)


def cents(frequencies_hz, strengths):
    return 1200 * np.log2(a4_hz(frequencies_hz, strengths) / 440)


WRONG_TUNINGS = {
    "direction": lambda f, s: 440 * 440 / a4_hz(f, s),
    "cents": cents,
    "semitones": lambda f, s: cents(f, s) / 100,
    "cents for semitones": lambda f, s: 440 * 2 ** (cents(f, s) / 12),
    "semitones for cents": lambda f, s: 440 * 2 ** (cents(f, s) / 100 / 1200),
    "cents plus hertz": lambda f, s: 440 + cents(f, s),
    "unweighted": lambda f, s: a4_hz(f, np.ones_like(s)),
    "plain mean": lambda f, s: (
        440 * 2 ** (np.average((fractions(f) + 0.5) % 1 - 0.5, weights=s) / 12)
    ),
    "modulo 1": lambda f, s: 440 * 2 ** (np.average(fractions(f) % 1, weights=s) / 12),
    "radians": lambda f, s: 440 * 2 ** (cents(f, s) / 100 * 2 * np.pi / 12),
    "always 440": lambda f, s: 440.0,
    "constant": lambda f, s: 442.0,
    "strongest peak": lambda f, s: f[s.argmax()],
}

SOLUTIONS = {"chroma.1": variant(), "chroma.2": semitones_up, "chroma.3": a4_hz}
WRONG = {"chroma.1": WRONG_FOLDS, "chroma.2": WRONG_STEPS, "chroma.3": WRONG_TUNINGS}
SHARED = {"reference moved"}  # the same misconception as another


def distance(query, reference):
    """Another right answer: the smallest distance of unit vectors."""
    a, b = (x.mean(axis=1) / np.linalg.norm(x.mean(axis=1)) for x in (query, reference))
    return np.argmin([np.linalg.norm(np.roll(a, steps) - b) for steps in range(12)])


def library(magnitudes, pitches_midi, compression):
    spectrum = Feature(
        magnitudes[None].astype(np.float32),
        np.arange(magnitudes.shape[1]),
        midi_to_hz(pitches_midi),
        22050,
        512,
    )
    return tuning.fold(spectrum, compression=compression).values[0]


RIGHT = [
    *SOLUTIONS.items(),
    ("chroma.2", distance),
    ("chroma.1", library),
]
HINTS = [
    ("chroma.1", "row 0 is A", "row 0 is A"),
    ("chroma.1", "the number of the bin", "lowest bin"),
    ("chroma.1", "rounded down", "round down"),
    ("chroma.1", "log after", "logarithm of the sum"),
    ("chroma.1", "no log", "compression is missing"),
    ("chroma.1", "log without 1", "the 1 in log"),
    ("chroma.1", "mean", "You average the bins"),
    ("chroma.1", "last bin", "np.add.at"),
    ("chroma.1", "not rounded", "between the semitones"),
    ("chroma.1", "norm", "Euclidean"),
    ("chroma.1", "whole track", "whole matrix"),
    ("chroma.1", "wrong axis", "wrong axis"),
    ("chroma.1", "silence", "silent frame"),
    ("chroma.1", "transposed", "transposed"),
    ("chroma.1", "one row off", "1 too high"),
    ("chroma.1", "constant", "same result"),
    ("chroma.2", "wrong way", "wrong way"),
    ("chroma.2", "reference moved", "wrong way"),
    ("chroma.2", "worst", "argmin"),
    ("chroma.2", "strongest", "strongest pitch classes only"),
    ("chroma.2", "signed", "modulo 12"),
    ("chroma.2", "frame by frame", "differ in length"),
    ("chroma.3", "direction", "wrong direction"),
    ("chroma.3", "cents", "in cents"),
    ("chroma.3", "semitones", "in semitones"),
    ("chroma.3", "cents for semitones", "taken for semitones"),
    ("chroma.3", "semitones for cents", "Semitones are taken for cents"),
    ("chroma.3", "unweighted", "strengths are ignored"),
    ("chroma.3", "plain mean", "plain numbers"),
    ("chroma.3", "modulo 1", "from 0 to 1"),
    ("chroma.3", "radians", "radians"),
]


class TestProof(ExerciseProof):
    exercises = exercise.EXERCISES
    right = RIGHT
    wrong = WRONG
    hints = HINTS
    shared = SHARED


def test_hidden_tunings_are_what_the_peaks_say():
    for frequencies, strengths, wanted in exercise._peaks():
        assert abs((cents(frequencies, strengths) - wanted + 50) % 100 - 50) < 3
