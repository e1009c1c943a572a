"""The exercises of the chapter on the waveform."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dl101.lab.exercise import Exercise, Function
from dl101.signal import waveforms
from dl101.units import db_to_amplitude

# ---- 1: where an alias lands --------------------------------------------------------------------

TONES = (
    (1000.0, 8000.0),
    (3900.0, 8000.0),
    (4000.0, 8000.0),
    (4100.0, 8000.0),
    (7000.0, 8000.0),
    (9500.0, 8000.0),
    (13000.0, 8000.0),
    (20500.0, 6000.0),
    (31000.0, 22050.0),
)

ALIAS = Function(
    title="where an alias lands",
    minutes=10,
    rubric={
        "frequencies a sample rate apart give the same samples": 1,
        "the upper half of each stretch is mirrored": 1,
    },
    right=waveforms.alias_hz,
    cases=lambda: TONES,
    returns="one frequency in Hz",
    mistakes={
        "A tone above half the sample rate comes back unchanged: no sampled signal can hold "
        "it.": lambda f, r: f,
        "You take the remainder by the sample rate, which leaves frequencies between half the "
        "rate and the rate. They are heard mirrored: the limit is the rate divided by two.": (
            lambda f, r: f % r
        ),
        "You wrap at half the sample rate, as if a tone that leaves at the top came in at the "
        "bottom. It is reflected: just above the limit the alias is just below it.": (
            lambda f, r: f % (r / 2)
        ),
        "Right up to 1.5 times the sample rate, wrong above: the spectrum repeats at every "
        "multiple of the rate. Take the distance to the nearest multiple, not to the first.": (
            lambda f, r: f if f <= r / 2 else abs(r - f)
        ),
        "You reflect downwards in every stretch of half a sample rate. At 0 the tone turns "
        "again: from the rate to 1.5 times the rate, what is heard rises with the tone.": (
            lambda f, r: f if f <= r / 2 else r / 2 - f % (r / 2)
        ),
        "Right up to the sample rate; above it your frequencies are negative. Take the "
        "distance to the nearest multiple of the rate, as a positive number.": (
            lambda f, r: f if f <= r / 2 else r - f
        ),
        "You measure the distance to the sample rate. 0 is a multiple of the rate as well, and "
        "for a low tone the nearest one; for a high tone it is twice the rate, or more.": (
            lambda f, r: abs(f - r)
        ),
        "You stop at half the sample rate. The tone does not stay at the limit: it turns "
        "back.": lambda f, r: min(f, r / 2),
        "You let tones above half the sample rate vanish. A filter before sampling would do "
        "that; here there is none, so they come back as another tone.": (
            lambda f, r: f if f <= r / 2 else 0.0
        ),
        "You mirror at the sample rate. Two samples in each period are the least: the mirror "
        "stands at half the sample rate.": lambda f, r: min(f % (2 * r), 2 * r - f % (2 * r)),
        "The size is right, but some of your frequencies are negative: a sine of -1 kHz sounds "
        "as one of 1 kHz. Return the absolute value.": lambda f, r: f - r * np.round(f / r),
    },
    symptoms={
        "Only the tone at exactly half the sample rate is wrong: the limit belongs to the "
        "range, its alias is itself. Compare with <= there.": (
            lambda got, right, f, r: f == r / 2,
            lambda f, r: 0.0 if f == r / 2 else waveforms.alias_hz(f, r),
        ),
    },
    differs="A tone of {0:.0f} Hz sampled at {1:.0f} Hz is heard at {right:g} Hz; yours is "
    "{got:.8g} Hz. Measure the distance to the nearest multiple of the sample rate.",
    praise="Every tone lands at its distance from the nearest multiple of the sample rate.",
)

# ---- 2: mu-law ----------------------------------------------------------------------------------


def _squeeze(x: NDArray, mu: float) -> NDArray:
    return np.sign(x) * np.log1p(mu * np.abs(x)) / np.log1p(mu)


def _nearest(x: NDArray) -> NDArray:
    return np.floor(x + 0.5)


def _unit(x: NDArray, n_codes: int) -> NDArray:
    """Return the squeezed samples from 0 to 1."""
    return (_squeeze(x, n_codes - 1) + 1) / 2


def _samples(scale: float, n_codes: int) -> tuple[NDArray, int]:
    audio = scale * np.random.default_rng([101, 2, n_codes]).uniform(-1, 1, 400)
    return np.concatenate([audio, [-1.0, 0.0, 1.0]]), n_codes


def _differing_code(got: NDArray, right: NDArray, audio: NDArray, n_codes: int) -> str:
    first = int((got != right).argmax())
    return (
        f"With {n_codes} codes a sample of {audio[first]:.4f} has the code {right[first]:g}; yours "
        f"is {got[first]:g}. Squeeze, shift to 0 ... 1, multiply by mu, round."
    )


MU_LAW = Function(
    title="mu-law codes",
    minutes=15,
    rubric={
        "the curve, with mu one less than the number of codes": 1,
        "rounded to the nearest code, clipped beyond full scale": 1,
    },
    right=waveforms.mu_law_encode,
    cases=lambda: [_samples(scale, n) for scale in (1.0, 0.02) for n in (256, 64)],
    returns="one code a sample",
    mistakes={
        "You cut the fraction off (int, floor), so each code is up to one too low and silence "
        "is no longer in the middle of its step. Round to the nearest code: add 0.5 first.": (
            lambda x, n: np.floor(_unit(x, n) * (n - 1))
        ),
        "Your mu is n_codes. The codes are 0 to n_codes - 1, and mu is the last: 255, not 256.": (
            lambda x, n: _nearest((_squeeze(x, n) + 1) / 2 * (n - 1))
        ),
        "Your mu is n_codes, so that +1 gets a code that does not exist. mu is n_codes - 1.": (
            lambda x, n: _nearest((_squeeze(x, n) + 1) / 2 * n)
        ),
        "You cut the range into n_codes pieces; +1 then falls into a piece of its own, beyond "
        "the last code. Spread it over mu = n_codes - 1 steps and round.": (
            lambda x, n: np.floor(_unit(x, n) * n)
        ),
        "You cut the range into n_codes equal pieces. Here the codes are points, the first at "
        "-1 and the last at +1, with mu = n_codes - 1 gaps: multiply by mu and round.": (
            lambda x, n: np.minimum(np.floor(_unit(x, n) * n), n - 1)
        ),
        "You stop after squeezing: these are still real numbers from -1 to 1. Map them to 0 "
        "... n_codes - 1 and round to whole codes.": lambda x, n: _squeeze(x, n - 1),
        "The codes are not rounded: a network needs whole numbers to name its classes.": (
            lambda x, n: _unit(x, n) * (n - 1)
        ),
        "Your codes are centred on 0, so half of them are negative. The code is the index of a "
        "class: shift -1 ... 1 to 0 ... 1 before you multiply.": (
            lambda x, n: _nearest(_squeeze(x, n - 1) * (n - 1) / 2)
        ),
        "These are linear codes: the logarithm, which gives soft samples fine steps, is "
        "missing.": lambda x, n: _nearest((x + 1) / 2 * (n - 1)),
        "Negative samples get the codes of positive ones: multiply by sign(x) again.": (
            lambda x, n: _nearest(_unit(np.abs(x), n) * (n - 1))
        ),
        "The codes do not depend on n_codes: mu is n_codes - 1.": (
            lambda x, n: waveforms.mu_law_encode(x, 256)
        ),
    },
    symptoms={
        "Some codes are not a number: the logarithm of 1 + mu x does not exist for very "
        "negative x. Take it of |x|, and multiply by sign(x).": (
            lambda got, *_: np.isnan(got).any(),
            lambda x, n: _nearest((np.log(1 + (n - 1) * x) / np.log(n) + 1) / 2 * (n - 1)),
        ),
    },
    edges={
        "A sample beyond full scale gets the code {got:g}; it should get the outermost, "
        "{right:g}: clip to -1 ... 1 first.": (
            (np.array([-1.5, -1.001, 1.001, 3.0]), 256),
            lambda x, n: _nearest(_unit(x, n) * (n - 1)),
        ),
    },
    differs=_differing_code,
    praise="Whole codes, silence in the middle, nothing outside 0 ... n_codes - 1.",
)

# ---- 3: one gain, from the training side --------------------------------------------------------

Sides = tuple[NDArray, NDArray]


def _gains(gains: Callable[[NDArray, NDArray, float], Any]) -> Callable[..., Sides]:
    """Return an answer by its gain, or by its two gains, from the sides and the amplitude."""

    def normalise(train: NDArray, test: NDArray, level_db: float) -> Sides:
        both = gains(train, test, db_to_amplitude(level_db))
        of_train, of_test = both if isinstance(both, tuple) else (both, both)
        return of_train * train, of_test * test

    return normalise


def _rms_of_each(excerpts: NDArray) -> NDArray:
    return np.sqrt(np.mean(excerpts**2, axis=1, keepdims=True))


def _sides() -> list[tuple[NDArray, NDArray, float]]:
    cases = []
    for index, level_db in enumerate((-20.0, -26.0, -14.0)):
        rng = np.random.default_rng([101, 3, index])
        sides = []
        for n, loudest in ((6, 0.3), (4, 0.05)):
            gains = loudest * rng.uniform(0.1, 1, (n, 1))
            sides.append(gains * (rng.standard_normal((n, 500)) + 0.4))
        cases.append((*sides, level_db))
    return cases


def _gain(before: NDArray, after: NDArray) -> float | None:
    """Return the number that one array was multiplied by, or None if there is no such number."""
    gain = float(np.sum(before * after) / np.sum(before**2))
    return gain if np.allclose(after, gain * before, rtol=1e-6, atol=1e-9) else None


def _differing_level(got: Sides, right: Sides, *case: Any) -> str:
    of_train, of_test = map(_gain, case[:2], got)
    if of_train < 0:
        return "Your gain is negative, which turns the waveform over: an RMS is positive."
    if not np.isclose(of_train, of_test, rtol=1e-6):
        return (
            f"In a hidden case training is multiplied by {of_train:.3g} and test by {of_test:.3g}. "
            "One gain for both, measured on training: the amplitude of level_db over the RMS of "
            "the training side."
        )
    return (
        "Both sides get one gain, as they should, but in a hidden case it brings training to "
        f"{waveforms.level_dbfs(got[0]):.1f} dBFS and not to {case[2]:.1f}: the gain is the "
        "amplitude of level_db over the RMS of the training side."
    )


LEVEL = Function(
    title="one gain for two sides",
    minutes=15,
    rubric={
        "the gain comes from the RMS over the whole training side": 1,
        "decibels of an amplitude: a factor of 10 ** (dB / 20)": 1,
        "both sides are multiplied by the same gain": 1,
    },
    right=_gains(lambda train, test, a: a / waveforms.rms(train)),
    cases=_sides,
    returns="two arrays, the training side and the test side",
    mistakes={
        "The test side gets a gain of its own, measured on the test side. Whatever is measured "
        "is measured on training and then applied: test data must not set anything.": _gains(
            lambda train, test, a: (a / waveforms.rms(train), a / waveforms.rms(test))
        ),
        "The gain is measured on training and test together, so the test side has a say in it. "
        "Measure on training alone.": _gains(
            lambda train, test, a: a / waveforms.rms(np.concatenate([train, test]))
        ),
        "The test side comes back as it was: it needs the same gain as training.": _gains(
            lambda train, test, a: (a / waveforms.rms(train), 1.0)
        ),
        "You use 10 ** (level_db / 10), which is for powers. Samples are amplitudes: 20 dB is "
        "a factor of ten, so divide by 20.": _gains(lambda tr, te, a: a**2 / waveforms.rms(tr)),
        "You divide by the mean square: the root is missing. A gain multiplies amplitudes.": (
            _gains(lambda train, test, a: a / waveforms.rms(train) ** 2)
        ),
        "You bring the peak to level_db. One click sets a peak; the RMS is asked, which says "
        "how much power there is.": _gains(lambda train, test, a: a / np.max(np.abs(train))),
        "You divide by the mean of |x|; the RMS is the root of the mean of the squares.": _gains(
            lambda train, test, a: a / np.mean(np.abs(train))
        ),
        "The standard deviation leaves out the mean, and these recordings have one (an offset "
        "of the converter). The RMS is the root of the mean square.": _gains(
            lambda train, test, a: a / np.std(train)
        ),
        "Each excerpt gets a gain of its own. That is a good recipe too (see the experiment), "
        "but here soft excerpts shall stay softer than loud ones: one gain for all.": _gains(
            lambda train, test, a: (a / _rms_of_each(train), a / _rms_of_each(test))
        ),
        "You average the RMS of the excerpts. Powers add, amplitudes do not: average the "
        "squares over all samples, then take the root once.": _gains(
            lambda train, test, a: a / np.mean(_rms_of_each(train))
        ),
        "You multiply by the level wanted, whatever the level was: divide by the present "
        "RMS.": _gains(lambda train, test, a: a),
    },
    symptoms={
        "Your result is not the input times one number. Subtract nothing (standardising takes "
        "the mean away), and let all samples of a side have one gain.": (
            lambda got, right, *case: None in map(_gain, case[:2], got),
            lambda train, test, level_db: tuple(
                db_to_amplitude(level_db) * (side - train.mean()) / train.std()
                for side in (train, test)
            ),
        ),
    },
    differs=_differing_level,
    praise="One gain, measured on training in amplitudes, applied to both sides.",
)

EXERCISES: Mapping[str, Exercise] = {
    "waveform.1": ALIAS,
    "waveform.2": MU_LAW,
    "waveform.3": LEVEL,
}
