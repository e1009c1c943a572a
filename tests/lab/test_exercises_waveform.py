"""Each check accepts the solution, rejects the stub, and tells wrong answers apart."""

from __future__ import annotations

import numpy as np

from dl101.lab.checks import grade
from dl101.lab.exercises import waveform as exercise
from tests.lab.exercise_proof import ExerciseProof


def amplitude(level_db):
    return 10 ** (level_db / 20)


def rms(x):
    return np.sqrt(np.mean(x**2))


# ---- solutions, as in the notebook, and other right ways ----


def heard_hz(frequency_hz, sample_rate):
    rest = frequency_hz % sample_rate
    return min(rest, sample_rate - rest)


def mu_law(audio, n_codes):
    mu = n_codes - 1
    x = np.clip(audio, -1, 1)
    squeezed = np.sign(x) * np.log(1 + mu * np.abs(x)) / np.log(1 + mu)
    return np.round((squeezed + 1) / 2 * mu).astype(int)


def normalise(train, test, level_db):
    gain = amplitude(level_db) / rms(train)
    return gain * train, gain * test


def power_gain(train, test, level_db):
    """Right as well: the root of a ratio of powers."""
    gain = np.sqrt(10 ** (level_db / 10) / np.mean(train**2))
    return [gain * train, gain * test]


RIGHT = [("waveform.1", heard_hz), ("waveform.2", mu_law), ("waveform.3", normalise)]
RIGHT += [("waveform.3", power_gain)]


def squeeze(x, mu):
    return np.sign(x) * np.log1p(mu * np.abs(x)) / np.log1p(mu)


def levels(train_gain, test_gain=None):
    def student(train, test, level_db):
        of_train = train_gain(train, test, level_db)
        of_test = of_train if test_gain is None else test_gain(train, test, level_db)
        return of_train * train, of_test * test

    return student


def no_codes_argument(audio, n_codes):
    return mu_law(audio, 256)


def each(x):
    return np.sqrt(np.mean(x**2, axis=1, keepdims=True))


WRONG = {
    "waveform.1": {
        "unchanged": lambda f, r: f,
        "remainder": lambda f, r: f % r,
        "wraps at half": lambda f, r: f % (r / 2),
        "first image only": lambda f, r: f if f < r / 2 else abs(r - f),
        "always downwards": lambda f, r: r / 2 - f % (r / 2) if f > r / 2 else f,
        "no absolute value": lambda f, r: r - f if f > r / 2 else f,
        "from the rate": lambda f, r: abs(f - r),
        "stops at the limit": lambda f, r: min(f, r / 2),
        "vanishes": lambda f, r: f if f <= r / 2 else 0,
        "mirror at the rate": lambda f, r: min(f % (2 * r), 2 * r - f % (2 * r)),
        "negative": lambda f, r: f - r * round(f / r),
        "limit excluded": lambda f, r: 0 if f == r / 2 else heard_hz(f, r),
        "hard-coded": lambda f, r: 1000,
        "in kilohertz": lambda f, r: heard_hz(f, r) / 1000,
        "an array of two": lambda f, r: [f, r],
    },
    "waveform.2": {
        "truncated": lambda x, n: ((squeeze(np.clip(x, -1, 1), n - 1) + 1) / 2 * (n - 1)).astype(
            int
        ),
        "mu is the number of codes": lambda x, n: np.round((squeeze(x, n) + 1) / 2 * (n - 1)),
        "mu and scale are the number of codes": lambda x, n: np.round((squeeze(x, n) + 1) / 2 * n),
        "n pieces": lambda x, n: ((squeeze(x, n - 1) + 1) / 2 * n).astype(int),
        "n pieces, clipped": lambda x, n: np.clip(
            np.floor((squeeze(np.clip(x, -1, 1), n - 1) + 1) / 2 * n), 0, n - 1
        ),
        "eight bits that wrap": lambda x, n: (
            np.round((squeeze(x, n - 1) + 1) / 2 * (n - 1)).astype(np.int64) % 256
        ),
        "not rounded": lambda x, n: (squeeze(x, n - 1) + 1) / 2 * (n - 1),
        "only squeezed": lambda x, n: squeeze(x, n - 1),
        "centred": lambda x, n: np.floor(squeeze(x, n - 1) * (n - 1) / 2 + 0.5),
        "linear": lambda x, n: np.round((x + 1) / 2 * (n - 1)),
        "no sign": lambda x, n: np.round((np.abs(squeeze(x, n - 1)) + 1) / 2 * (n - 1)),
        "logarithm of a negative": lambda x, n: np.round(
            (np.log(1 + (n - 1) * x) / np.log(n) + 1) / 2 * (n - 1)
        ),
        "not clipped": lambda x, n: np.round((squeeze(x, n - 1) + 1) / 2 * (n - 1)),
        "always 256": no_codes_argument,
        "upside down": lambda x, n: n - 1 - mu_law(x, n),
        "one number": lambda x, n: 3,
    },
    "waveform.3": {
        "own gain for test": levels(
            lambda tr, te, level: amplitude(level) / rms(tr),
            lambda tr, te, level: amplitude(level) / rms(te),
        ),
        "measured on both": levels(
            lambda tr, te, level: amplitude(level) / rms(np.concatenate([tr, te]))
        ),
        "test untouched": levels(
            lambda tr, te, level: amplitude(level) / rms(tr), lambda tr, te, level: 1
        ),
        "decibels of power": levels(lambda tr, te, level: 10 ** (level / 10) / rms(tr)),
        "mean square": levels(lambda tr, te, level: amplitude(level) / np.mean(tr**2)),
        "peak": levels(lambda tr, te, level: amplitude(level) / np.abs(tr).max()),
        "mean of absolute values": levels(
            lambda tr, te, level: amplitude(level) / np.abs(tr).mean()
        ),
        "standard deviation": levels(lambda tr, te, level: amplitude(level) / tr.std()),
        "each excerpt": levels(
            lambda tr, te, level: amplitude(level) / each(tr),
            lambda tr, te, level: amplitude(level) / each(te),
        ),
        "mean of RMS": levels(lambda tr, te, level: amplitude(level) / each(tr).mean()),
        "no division": levels(lambda tr, te, level: amplitude(level)),
        "standardised": lambda tr, te, level: [
            amplitude(level) * (side - tr.mean()) / tr.std() for side in (tr, te)
        ],
        "half for test": levels(
            lambda tr, te, level: amplitude(level) / rms(tr),
            lambda tr, te, level: 0.5 * amplitude(level) / rms(tr),
        ),
        "6 dB off": levels(lambda tr, te, level: 2 * amplitude(level) / rms(tr)),
        "one array": lambda tr, te, level: 3.0,
        "swapped": lambda tr, te, level: normalise(tr, te, level)[::-1],
    },
}


HINTS = [
    ("waveform.1", "wraps at half", "reflected"),
    ("waveform.1", "first image only", "every multiple"),
    ("waveform.1", "mirror at the rate", "half the sample rate"),
    ("waveform.2", "truncated", "nearest"),
    ("waveform.2", "mu is the number of codes", "255"),
    ("waveform.2", "not clipped", "clip"),
    ("waveform.3", "decibels of power", "divide by 20"),
    ("waveform.3", "own gain for test", "test data must not"),
    ("waveform.3", "peak", "peak"),
]


class TestProof(ExerciseProof):
    exercises = exercise.EXERCISES
    right = RIGHT
    wrong = WRONG
    hints = HINTS


def test_every_known_mistake_is_met() -> None:
    """No hint is dead: each of the listed mistakes is some wrong answer's message."""
    listed = {
        "waveform.1": exercise.ALIAS_MISTAKES,
        "waveform.2": exercise.MU_LAW_MISTAKES,
        "waveform.3": exercise.LEVEL_MISTAKES,
    }
    for name, mistakes in listed.items():
        said = {grade(name, answer).message for answer in WRONG[name].values()}
        assert {hint for _, hint in mistakes} <= said
