"""Every check of the spectrogram chapter accepts the solution and explains what is wrong."""

from __future__ import annotations

import numpy as np

from dl101.lab.checks import grade
from dl101.lab.exercises import spectrogram as exercise
from tests.lab.exercise_proof import ExerciseProof

# ---- 1 ----


def locate(k, t, length, hop, rate):
    return k * rate / length, (t * hop + length / 2) / rate


def place(frequency=None, time=None):
    def student(*case):
        right = locate(*case)
        return (frequency(*case) if frequency else right[0], time(*case) if time else right[1])

    return student


WRONG_PLACES = {
    "N/2 bins": place(lambda k, t, L, H, r: k * r / (L / 2)),
    "quarter of the rate": place(lambda k, t, L, H, r: k * r / (2 * L)),
    "fence posts": place(lambda k, t, L, H, r: np.linspace(0, r / 2, L // 2 + 2)[k]),
    "hop for window": place(lambda k, t, L, H, r: k * r / H),
    "bin 0 is the first": place(lambda k, t, L, H, r: (k + 1) * r / L),
    "cycles per sample": place(lambda k, t, L, H, r: np.fft.rfftfreq(L)[k]),
    "start of the frame": place(None, lambda k, t, L, H, r: t * H / r),
    "half a window subtracted": place(None, lambda k, t, L, H, r: (t * H - L / 2) / r),
    "end of the frame": place(None, lambda k, t, L, H, r: (t * H + L) / r),
    "half a hop": place(None, lambda k, t, L, H, r: (t + 0.5) * H / r),
    "window for hop": place(None, lambda k, t, L, H, r: t * L / r),
    "middle, window for hop": place(None, lambda k, t, L, H, r: (t + 0.5) * L / r),
    "samples": place(None, lambda k, t, L, H, r: t * H + L // 2),
    "swapped": lambda *case: locate(*case)[::-1],
    "constant": lambda *case: (215.3, 0.104),
    "one number": lambda *case: locate(*case)[0],
    "something else": place(lambda k, t, L, H, r: 3 * k * r / L),
}

# ---- 2 ----


def level_db(spectrum, window):
    return 20 * np.log10(2 * np.abs(spectrum) / np.sum(window) + 1e-12)


WRONG_LEVELS = {
    "no window": lambda X, w: 20 * np.log10(np.abs(X)),
    "10 log10": lambda X, w: 10 * np.log10(2 * np.abs(X) / w.sum()),
    "power, 20 log10": lambda X, w: 20 * np.log10(2 * np.abs(X) ** 2 / w.sum()),
    "square, 20 log10": lambda X, w: 2 * level_db(X, w),
    "one side": lambda X, w: 20 * np.log10(np.abs(X) / w.sum()),
    "length": lambda X, w: 20 * np.log10(2 * np.abs(X) / len(w)),
    "length, one side": lambda X, w: 20 * np.log10(np.abs(X) / len(w)),
    "noise": lambda X, w: 20 * np.log10(2 * np.abs(X) / np.linalg.norm(w)),
    "maximum": lambda X, w: 20 * np.log10(np.abs(X) / np.abs(X).max()),
    "real part": lambda X, w: 20 * np.log10(2 * np.abs(X.real) / w.sum()),
    "natural": lambda X, w: 20 * np.log(2 * np.abs(X) / w.sum()),
    "amplitudes": lambda X, w: 2 * np.abs(X) / w.sum(),
    "complex": lambda X, w: 20 * np.log10(2 * X / w.sum()),
    "one frame": lambda X, w: level_db(X, w)[:, 0],
    "constant": lambda X, w: np.zeros(X.shape),
    "something else": lambda X, w: level_db(X, w) + 3,
}

# ---- 3 ----


def add(frames, hop):
    total = np.zeros((len(frames) - 1) * hop + frames.shape[1])
    for t, frame in enumerate(frames):
        total[t * hop : t * hop + len(frame)] += frame
    return total


def overlap_add(frames, window, hop):
    total, weight = add(frames, hop), add(np.tile(window, (len(frames), 1)), hop)
    return np.where(weight > 1e-10, total / np.maximum(weight, 1e-10), 0.0)


def least_squares(frames, window, hop):
    total = add(frames * window, hop)
    weight = add(np.tile(window**2, (len(frames), 1)), hop)
    return np.where(weight > 1e-10, total / np.maximum(weight, 1e-10), 0.0)


def divided(frames, hop, weight):
    weight = add(np.tile(weight, (len(frames), 1)), hop)
    return np.where(weight > 1e-10, add(frames, hop) / np.maximum(weight, 1e-10), 0.0)


def unguarded(frames, window, hop):
    return add(frames, hop) / add(np.tile(window, (len(frames), 1)), hop)


def mid_only(frames, window, hop):
    result = overlap_add(frames, window, hop)
    result[: len(window) // 2] = 0
    return result


def guarded(frames, window, hop):
    return add(frames, hop) / (add(np.tile(window, (len(frames), 1)), hop) + 1e-6)


def overwritten(frames, window, hop):
    total = np.zeros((len(frames) - 1) * hop + len(window))
    for t, frame in enumerate(frames):
        total[t * hop : t * hop + len(frame)] = frame
    return total


WRONG_SUMS = {
    "overwritten": overwritten,
    "never divides": lambda f, w, H: add(f, H),
    "square over sum": lambda f, w, H: divided(f * w, H, w),
    "sum over square": lambda f, w, H: divided(f, H, w**2),
    "square, never divides": lambda f, w, H: add(f * w, H),
    "number of frames": lambda f, w, H: divided(f, H, np.ones(len(w))),
    "one number": lambda f, w, H: add(f, H) * H / w.sum(),
    "largest": lambda f, w, H: add(f, H) / add(np.tile(w, (len(f), 1)), H).max(),
    "end to end": lambda f, w, H: f.ravel(),
    "cut off": lambda f, w, H: overlap_add(f, w, H)[: len(f) * H],
    "NaN": unguarded,
    "ends are zero": mid_only,
    "the window": lambda f, w, H: np.zeros((len(f) - 1) * H + len(w)),
    "a list": lambda f, w, H: "signal",
    "one sample late": lambda f, w, H: np.roll(overlap_add(f, w, H), 1),
}

SOLUTIONS = {"spectrogram.1": locate, "spectrogram.2": level_db, "spectrogram.3": overlap_add}
WRONG = {
    "spectrogram.1": WRONG_PLACES,
    "spectrogram.2": WRONG_LEVELS,
    "spectrogram.3": WRONG_SUMS,
}


RIGHT = [
    *SOLUTIONS.items(),
    (
        "spectrogram.1",
        lambda k, t, L, H, r: [np.fft.rfftfreq(L, 1 / r)[k], (t * H + L // 2) / r],
    ),
    ("spectrogram.2", lambda X, w: 10 * np.log10(4 * np.abs(X) ** 2 / w.sum() ** 2)),
    ("spectrogram.3", least_squares),
    ("spectrogram.3", guarded),
]
HINTS = [
    ("spectrogram.1", "N/2 bins", "twice too high"),
    ("spectrogram.1", "quarter of the rate", "twice too low"),
    ("spectrogram.1", "fence posts", "fence"),
    ("spectrogram.1", "hop for window", "divide by the hop"),
    ("spectrogram.1", "bin 0 is the first", "one bin too high"),
    ("spectrogram.1", "cycles per sample", "cycles per sample"),
    ("spectrogram.1", "start of the frame", "half a window early"),
    ("spectrogram.1", "end of the frame", "half a window late"),
    ("spectrogram.1", "half a hop", "half a hop"),
    ("spectrogram.1", "window for hop", "lay the windows end to end"),
    ("spectrogram.1", "samples", "counts samples"),
    ("spectrogram.1", "swapped", "swapped"),
    ("spectrogram.1", "constant", "same result"),
    ("spectrogram.2", "no window", "leave out the window"),
    ("spectrogram.2", "10 log10", "half of what"),
    ("spectrogram.2", "square, 20 log10", "twice what"),
    ("spectrogram.2", "one side", "6 dB too low"),
    ("spectrogram.2", "length", "rectangular"),
    ("spectrogram.2", "noise", "scale for noise"),
    ("spectrogram.2", "maximum", "whisper"),
    ("spectrogram.2", "real part", "real part"),
    ("spectrogram.2", "natural", "natural logarithm"),
    ("spectrogram.2", "amplitudes", "not decibels"),
    ("spectrogram.3", "never divides", "never divide"),
    ("spectrogram.3", "square over sum", "a second time"),
    ("spectrogram.3", "sum over square", "carry the window once"),
    ("spectrogram.3", "number of frames", "number of frames that overlap"),
    ("spectrogram.3", "one number", "divide by one number"),
    ("spectrogram.3", "end to end", "end to end"),
    ("spectrogram.3", "cut off", "cut off"),
    ("spectrogram.3", "NaN", "divide by 0"),
    ("spectrogram.3", "one sample late", "away from the signal"),
    ("spectrogram.3", "ends are zero", "In the middle"),
]


class TestProof(ExerciseProof):
    exercises = exercise.EXERCISES
    right = RIGHT
    wrong = WRONG
    hints = HINTS


def test_the_library_itself_passes():
    """The exercise and the library mean the same by overlap-add."""
    from dl101.stft import _overlap_add

    def library(frames, window, hop):
        weight = _overlap_add(np.broadcast_to(window, frames.shape), hop)
        return np.where(weight > 1e-10, _overlap_add(frames, hop) / np.maximum(weight, 1e-10), 0)

    verdict = grade("spectrogram.3", library)
    assert verdict.passed, verdict.message
