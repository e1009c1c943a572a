"""Each check accepts the solution, rejects the stub, and tells wrong answers apart."""

from __future__ import annotations

import numpy as np
import scipy.fft

from dl101.lab.checks import grade
from dl101.lab.exercises import log_mel as exercise
from tests.lab.exercise_proof import ExerciseProof

# ---- solutions, as in the notebook, and other right ways ----


def log_mel(magnitude, filters, strength):
    return np.log(1 + strength * (filters @ magnitude**2))


def matching_strength(strength, gain_db):
    return strength / 10 ** (gain_db / 10)


def shape(log_mel, n_coefficients):
    n_bands = log_mel.shape[0]
    b, n = np.arange(n_bands), np.arange(1, n_coefficients + 1)
    return np.sqrt(2 / n_bands) * np.cos(np.pi * np.outer(n, b + 0.5) / n_bands) @ log_mel


def dct(y, n, **options):
    return scipy.fft.dct(y, **{"axis": 0, "norm": "ortho"} | options)[1 : n + 1]


def normalise(train, test):
    mean = train.mean(axis=(0, 2), keepdims=True)
    deviation = train.std(axis=(0, 2), keepdims=True) + 1e-6
    return (train - mean) / deviation, (test - mean) / deviation


def by(mean, deviation, of_test=False, **options):
    """Normalise with other axes or numbers."""

    def student(train, test):
        def scaled(side, source):
            return (side - mean(source)) / (deviation(source) + 1e-6)

        return scaled(train, train), scaled(test, test if of_test else train)

    return student


def over(axis, of=np.mean):
    return lambda side: of(side, axis=axis, keepdims=True)


def pooled(train, test):
    both = np.concatenate([train, test])
    mean, deviation = both.mean((0, 2), keepdims=True), both.std((0, 2), keepdims=True)
    return (train - mean) / deviation, (test - mean) / deviation


def unguarded(train, test):
    mean, deviation = train.mean((0, 2), keepdims=True), train.std((0, 2), keepdims=True)
    return (train - mean) / deviation, (test - mean) / deviation


RIGHT = [
    ("log_mel.1", log_mel),
    ("log_mel.1", lambda m, f, c: np.log1p(c * np.einsum("kb,bt->kt", f, m * m)).astype("f4")),
    ("log_mel.2", matching_strength),
    ("log_mel.3", shape),
    ("log_mel.3", dct),
    ("log_mel.4", normalise),
    ("log_mel.4", by(over((0, 2)), lambda s: s.std((0, 2), keepdims=True, ddof=1))),
    ("log_mel.4", by(over((0, 2)), lambda s: np.sqrt(s.var((0, 2), keepdims=True) + 1e-4))),
]

WRONG = {
    "log_mel.1": {
        "magnitude": lambda m, f, c: np.log1p(c * (f @ m)),
        "square after": lambda m, f, c: np.log1p(c * (f @ m) ** 2),
        "log first": lambda m, f, c: f @ np.log1p(c * m**2),
        "C outside": lambda m, f, c: c * np.log1p(f @ m**2),
        "no C": lambda m, f, c: np.log1p(f @ m**2),
        "C added": lambda m, f, c: np.log(c + f @ m**2),
        "no 1": lambda m, f, c: np.log(c * (f @ m**2)),
        "base 10": lambda m, f, c: np.log10(1 + c * (f @ m**2)),
        "decibels": lambda m, f, c: 10 * np.log10(1 + c * (f @ m**2)),
        "20 log": lambda m, f, c: 20 * np.log10(1 + c * (f @ m**2)),
        "no logarithm": lambda m, f, c: f @ m**2,
        "transposed": lambda m, f, c: log_mel(m, f, c).T,
        "one band": lambda m, f, c: log_mel(m, f, c)[0],
        "square root": lambda m, f, c: np.sqrt(f @ m**2),
        "text": lambda m, f, c: "log",
    },
    "log_mel.2": {
        "amplitude": lambda c, g: c / 10 ** (g / 20),
        "direction": lambda c, g: c * 10 ** (g / 10),
        "both": lambda c, g: c * 10 ** (g / 20),
        "e": lambda c, g: c / np.exp(g / 10),
        "difference": lambda c, g: c - g,
        "by decibels": lambda c, g: c / g,
        "unchanged": lambda c, g: c,
        "the factor": lambda c, g: 10 ** (g / 10),
        "constant": lambda c, g: 100.0,
        "root": lambda c, g: np.sqrt(c),
    },
    "log_mel.3": {
        "keeps c0": lambda y, k: (
            dct(y, 64, axis=0)[:0].sum() + scipy.fft.dct(y, axis=0, norm="ortho")[:k]
        ),
        "c0 as zeros": lambda y, k: np.vstack([0 * y[:1], dct(y, k - 1)]),
        "one too many": lambda y, k: dct(y, k + 1)[1:],
        "n - 1 rows": lambda y, k: dct(y, k - 1),
        "not compressed": lambda y, k: dct(np.exp(y), k),
        "twice compressed": lambda y, k: dct(np.log(y), k),
        "no half": lambda y, k: exercise._sum(y, range(1, k + 1), half=0.0),
        "sine": lambda y, k: exercise._sum(y, range(1, k + 1), kind=np.sin),
        "upside down": lambda y, k: dct(y[::-1], k),
        "SciPy's scale": lambda y, k: dct(y, k, norm=None),
        "no scale": lambda y, k: dct(y, k, norm=None) / 2,
        "scale of c0": lambda y, k: dct(y, k) / np.sqrt(2),
        "along time": lambda y, k: scipy.fft.dct(y, axis=1, norm="ortho")[:, 1 : k + 1],
        "along time, cut in bands": lambda y, k: scipy.fft.dct(y, axis=1, norm="ortho")[1 : k + 1],
        "constant": lambda y, k: np.ones((k, y.shape[1])),
    },
    "log_mel.4": {
        "test by itself": by(over((0, 2)), over((0, 2), np.std), of_test=True),
        "pooled": pooled,
        "one for all": by(over(None), over(None, np.std)),
        "each track": by(over((2,)), over((2,), np.std), of_test=True),
        "each frame": by(over((1,)), over((1,), np.std), of_test=True),
        "no deviation": lambda a, b: (
            a - a.mean((0, 2), keepdims=True),
            b - a.mean((0, 2), keepdims=True),
        ),
        "no mean": by(lambda s: 0.0, over((0, 2), np.std)),
        "variance": by(over((0, 2)), over((0, 2), np.var)),
        "range": by(over((0, 2), np.min), over((0, 2), np.ptp)),
        "divides by zero": unguarded,
        "one side": lambda a, b: normalise(a, b)[0],
        "frames differ": by(over((0,)), over((0,), np.std)),
        "as it was": lambda a, b: (a, b),
    },
}

HINTS = [
    ("log_mel.1", "magnitude", "square them first"),
    ("log_mel.1", "log first", "logarithm of every bin"),
    ("log_mel.1", "C outside", "outside the logarithm"),
    ("log_mel.1", "no 1", "minus infinity"),
    ("log_mel.1", "base 10", "base 10"),
    ("log_mel.1", "20 log", "20 log10 is for amplitudes"),
    ("log_mel.2", "amplitude", "factor of amplitudes"),
    ("log_mel.2", "direction", "wrong way round"),
    ("log_mel.2", "unchanged", "does not simply shift"),
    ("log_mel.3", "keeps c0", "how loud the frame"),
    ("log_mel.3", "along time", "along time"),
    ("log_mel.3", "not compressed", "undo the logarithm"),
    ("log_mel.3", "SciPy's scale", "norm='ortho'"),
    ("log_mel.4", "test by itself", "must not set anything"),
    ("log_mel.4", "pooled", "leaks in"),
    ("log_mel.4", "one for all", "whole corpus"),
    ("log_mel.4", "each track", "by itself"),
    ("log_mel.4", "divides by zero", "deviation 0"),
    ("log_mel.4", "frames differ", "third frame of all tracks"),
]


class TestProof(ExerciseProof):
    exercises = exercise.EXERCISES
    right = RIGHT
    wrong = WRONG
    hints = HINTS


def test_the_library_itself_passes():
    from dl101 import mfcc

    def by_library(y, n_coefficients):
        return mfcc.mfcc(y, n_coefficients + 1)[1:]

    assert grade("log_mel.3", by_library).passed
    assert grade("log_mel.1", lambda m, f, c: mfcc.compress(f @ m**2, c)).passed
