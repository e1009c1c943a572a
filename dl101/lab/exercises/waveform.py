"""Checks of the chapter on the waveform.

``waveform.1`` ``heard_hz(frequency_hz, sample_rate)`` returns the frequency, from 0 to half the
sample rate, at which a sine is heard that was sampled without a filter.

``waveform.2`` ``mu_law_codes(audio, n_codes)`` returns the whole code of each sample, 0 to
``n_codes - 1``: with ``mu = n_codes - 1`` the squeezed sample, from -1 to 1, rounded to the nearest
code; what lies beyond full scale is clipped.

``waveform.3`` ``normalise(train, test, level_db)`` gets excerpts ``(excerpts, samples)`` of two
sides and returns both, multiplied by one gain: the one that brings the RMS over the whole training
side to ``level_db`` dBFS.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dl101 import waveforms
from dl101.lab.checks import Exercise, NotAccepted, ask
from dl101.units import db_to_amplitude

SAME_ANSWER = "Your function gives the same result for different input: does it use its arguments?"
Mistakes = Sequence[tuple[Callable[..., Any], str]]


def _named(mistakes: Mistakes, cases: Sequence[tuple], got: Sequence[Any]) -> str | None:
    """Return the hint of the mistake that explains all answers, if there is one."""
    for model, hint in mistakes:
        with np.errstate(all="ignore"):
            same = [_close(model(*case), answer) for case, answer in zip(cases, got, strict=True)]
        if all(same):
            return hint
    return None


def _close(ours: Any, theirs: Any) -> bool:
    ours, theirs = np.asarray(ours, float), np.asarray(theirs, float)
    return ours.shape == theirs.shape and bool(
        np.allclose(ours, theirs, rtol=1e-6, atol=1e-9, equal_nan=True)
    )


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

ALIAS_MISTAKES: Mistakes = (
    (
        lambda f, r: f,
        "A tone above half the sample rate comes back unchanged: no sampled signal can hold it.",
    ),
    (
        lambda f, r: f % r,
        (
            "You take the remainder by the sample rate, which leaves frequencies between half the "
            "rate and the rate. They are heard mirrored: the limit is the rate divided by two."
        ),
    ),
    (
        lambda f, r: f % (r / 2),
        (
            "You wrap at half the sample rate, as if a tone that leaves at the top came in at the "
            "bottom. It is reflected: just above the limit the alias is just below it."
        ),
    ),
    (
        lambda f, r: f if f <= r / 2 else abs(r - f),
        (
            "Right up to 1.5 times the sample rate, wrong above: the spectrum repeats at every "
            "multiple of the rate. Take the distance to the nearest multiple, not to the first."
        ),
    ),
    (
        lambda f, r: f if f <= r / 2 else r / 2 - f % (r / 2),
        (
            "You reflect downwards in every stretch of half a sample rate. At 0 the tone turns "
            "again: from the rate to 1.5 times the rate, what is heard rises with the tone."
        ),
    ),
    (
        lambda f, r: f if f <= r / 2 else r - f,
        (
            "Right up to the sample rate; above it your frequencies are negative. Take the "
            "distance to the nearest multiple of the rate, as a positive number."
        ),
    ),
    (
        lambda f, r: abs(f - r),
        (
            "You measure the distance to the sample rate. 0 is a multiple of the rate as well, and "
            "for a low tone the nearest one; for a high tone it is twice the rate, or more."
        ),
    ),
    (
        lambda f, r: min(f, r / 2),
        "You stop at half the sample rate. The tone does not stay at the limit: it turns back.",
    ),
    (
        lambda f, r: f if f <= r / 2 else 0.0,
        (
            "You let tones above half the sample rate vanish. A filter before sampling would do "
            "that; here there is none, so they come back as another tone."
        ),
    ),
    (
        lambda f, r: min(f % (2 * r), 2 * r - f % (2 * r)),
        (
            "You mirror at the sample rate. Two samples in each period are the least: the mirror "
            "stands at half the sample rate."
        ),
    ),
    (
        lambda f, r: f - r * np.round(f / r),
        (
            "The size is right, but some of your frequencies are negative: a sine of -1 kHz sounds "
            "as one of 1 kHz. Return the absolute value."
        ),
    ),
)


def _grade_alias(answer: object) -> str:
    got = []
    for frequency_hz, sample_rate in TONES:
        result = ask(answer, frequency_hz, sample_rate)
        try:
            got.append(float(result))
        except (TypeError, ValueError):
            raise NotAccepted(
                f"Return one frequency in Hz; your function returns a {type(result).__name__}."
            ) from None
    right = [float(waveforms.alias_hz(*tone)) for tone in TONES]
    wrong = [i for i, (a, b) in enumerate(zip(got, right, strict=True)) if not _close(a, b)]
    if not wrong:
        return "Every tone lands at its distance from the nearest multiple of the sample rate."
    if hint := _named(ALIAS_MISTAKES, TONES, got):
        raise NotAccepted(hint)
    if np.ptp(got) == 0:
        raise NotAccepted(SAME_ANSWER)
    if [TONES[i] for i in wrong] == [(4000.0, 8000.0)]:
        raise NotAccepted(
            "Only the tone at exactly half the sample rate is wrong: the limit belongs to the "
            "range, its alias is itself. Compare with <= there."
        )
    frequency_hz, sample_rate = TONES[wrong[0]]
    raise NotAccepted(
        f"A tone of {frequency_hz:.0f} Hz sampled at {sample_rate:.0f} Hz is heard at "
        f"{right[wrong[0]]:.0f} Hz; yours is {got[wrong[0]]:.0f} Hz. Measure the distance to the "
        "nearest multiple of the sample rate."
    )


# ---- 2: mu-law ----------------------------------------------------------------------------------


def _squeeze(x: NDArray, mu: float) -> NDArray:
    return np.sign(x) * np.log1p(mu * np.abs(x)) / np.log1p(mu)


def _rounded(x: NDArray) -> NDArray:
    return np.floor(x + 0.5)


MU_LAW_MISTAKES: Mistakes = (
    (
        lambda x, n: np.floor((_squeeze(x, n - 1) + 1) / 2 * (n - 1)),
        (
            "You cut the fraction off (int, floor), so each code is up to one too low and silence "
            "is no longer in the middle of its step. Round to the nearest code: add 0.5 first."
        ),
    ),
    (
        lambda x, n: _rounded((_squeeze(x, n) + 1) / 2 * (n - 1)),
        "Your mu is n_codes. The codes are 0 to n_codes - 1, and mu is the last: 255, not 256.",
    ),
    (
        lambda x, n: _rounded((_squeeze(x, n) + 1) / 2 * n),
        "Your mu is n_codes, so that +1 gets a code that does not exist. mu is n_codes - 1.",
    ),
    (
        lambda x, n: np.floor((_squeeze(x, n - 1) + 1) / 2 * n),
        (
            "You cut the range into n_codes pieces; +1 then falls into a piece of its own, beyond "
            "the last code. Spread it over mu = n_codes - 1 steps and round."
        ),
    ),
    (
        lambda x, n: np.minimum(np.floor((_squeeze(x, n - 1) + 1) / 2 * n), n - 1),
        (
            "You cut the range into n_codes equal pieces. Here the codes are points, the first at "
            "-1 and the last at +1, with mu = n_codes - 1 gaps: multiply by mu and round."
        ),
    ),
    (
        lambda x, n: _squeeze(x, n - 1),
        (
            "You stop after squeezing: these are still real numbers from -1 to 1. Map them to 0 "
            "... n_codes - 1 and round to whole codes."
        ),
    ),
    (
        lambda x, n: (_squeeze(x, n - 1) + 1) / 2 * (n - 1),
        "The codes are not rounded: a network needs whole numbers to name its classes.",
    ),
    (
        lambda x, n: _rounded(_squeeze(x, n - 1) * (n - 1) / 2),
        (
            "Your codes are centred on 0, so half of them are negative. The code is the index of a "
            "class: shift -1 ... 1 to 0 ... 1 before you multiply."
        ),
    ),
    (
        lambda x, n: _rounded((x + 1) / 2 * (n - 1)),
        "These are linear codes: the logarithm, which gives soft samples fine steps, is missing.",
    ),
    (
        lambda x, n: _rounded((np.abs(_squeeze(x, n - 1)) + 1) / 2 * (n - 1)),
        "Negative samples get the codes of positive ones: multiply by sign(x) again.",
    ),
)


def _grade_mu_law(answer: object) -> str:
    rng = np.random.default_rng([101, 2])
    cases = [(scale * rng.uniform(-1, 1, 400), n) for scale in (1.0, 0.02) for n in (256, 64)]
    cases = [(np.concatenate([x, [-1.0, 0.0, 1.0]]), n) for x, n in cases]
    got = [_asked_codes(answer, *case) for case in cases]
    right = [waveforms.mu_law_encode(*case) for case in cases]
    if not all(np.array_equal(a, b) for a, b in zip(got, right, strict=True)):
        if hint := _named(MU_LAW_MISTAKES, cases, got):
            raise NotAccepted(hint)
        if any(np.isnan(codes).any() for codes in got):
            raise NotAccepted(
                "Some codes are not a number: the logarithm of 1 + mu x does not exist for very "
                "negative x. Take it of |x|, and multiply by sign(x)."
            )
        if np.array_equal(got[0], got[1]):
            raise NotAccepted("The codes do not depend on n_codes: mu is n_codes - 1.")
        index, wrong = next(
            (i, np.flatnonzero(a != b))
            for i, (a, b) in enumerate(zip(got, right, strict=True))
            if (a != b).any()
        )
        (x, n_codes), first = cases[index], wrong[0]
        raise NotAccepted(
            f"With {n_codes} codes a sample of {x[first]:.4f} has the code "
            f"{right[index][first]}; yours is {got[index][first]:g}. Squeeze, shift to 0 ... 1, "
            "multiply by mu, round."
        )
    loud = np.array([-1.5, -1.001, 1.001, 3.0])
    for sample, code in zip(loud, _asked_codes(answer, loud, 256), strict=True):
        last = 0 if sample < 0 else 255
        if code != last:
            raise NotAccepted(
                f"A sample of {sample:g} lies beyond full scale and gets the code {code:g}; it "
                f"should get the outermost, {last}: clip to -1 ... 1 first."
            )
    return "Whole codes, silence in the middle, nothing outside 0 ... n_codes - 1."


def _asked_codes(answer: object, audio: NDArray, n_codes: int) -> NDArray[np.float64]:
    result = ask(answer, audio, n_codes)
    try:
        codes = np.asarray(result, dtype=np.float64)
    except (TypeError, ValueError):
        raise NotAccepted(
            f"The function returns a {type(result).__name__}; one code a sample is asked."
        ) from None
    if codes.shape != audio.shape:
        raise NotAccepted(f"{audio.size} samples need {audio.size} codes; got {codes.shape}.")
    return codes


# ---- 3: one gain, from the training side --------------------------------------------------------


def _scaled(gain: Callable[..., tuple[Any, Any]]) -> Callable[..., list[NDArray]]:
    """Return a model of an answer from its gains for the two sides."""

    def model(train: NDArray, test: NDArray, level_db: float) -> list[NDArray]:
        of_train, of_test = gain(train, test, db_to_amplitude(level_db))
        return [of_train * train, of_test * test]

    return model


def _both(gain: Any) -> tuple[Any, Any]:
    return gain, gain


def _rows(x: NDArray) -> NDArray:
    return np.sqrt(np.mean(x**2, axis=1, keepdims=True))


_right_levels = _scaled(lambda train, test, a: _both(a / waveforms.rms(train)))

LEVEL_MISTAKES: Mistakes = (
    (
        _scaled(lambda train, test, a: (a / waveforms.rms(train), a / waveforms.rms(test))),
        (
            "The test side gets a gain of its own, measured on the test side. Whatever is measured "
            "is measured on training and then applied: test data must not set anything."
        ),
    ),
    (
        _scaled(lambda tr, te, a: _both(a / waveforms.rms(np.concatenate([tr, te])))),
        (
            "The gain is measured on training and test together, so the test side has a say in it. "
            "Measure on training alone."
        ),
    ),
    (
        _scaled(lambda train, test, a: (a / waveforms.rms(train), 1.0)),
        "The test side comes back as it was: it needs the same gain as training.",
    ),
    (
        _scaled(lambda train, test, a: _both(a**2 / waveforms.rms(train))),
        (
            "You use 10 ** (level_db / 10), which is for powers. Samples are amplitudes: 20 dB is "
            "a factor of ten, so divide by 20."
        ),
    ),
    (
        _scaled(lambda train, test, a: _both(a / waveforms.rms(train) ** 2)),
        "You divide by the mean square: the root is missing. A gain multiplies amplitudes.",
    ),
    (
        _scaled(lambda train, test, a: _both(a / np.max(np.abs(train)))),
        (
            "You bring the peak to level_db. One click sets a peak; the RMS is asked, which says "
            "how much power there is."
        ),
    ),
    (
        _scaled(lambda train, test, a: _both(a / np.mean(np.abs(train)))),
        "You divide by the mean of |x|; the RMS is the root of the mean of the squares.",
    ),
    (
        _scaled(lambda train, test, a: _both(a / np.std(train))),
        (
            "The standard deviation leaves out the mean, and these recordings have one (an offset "
            "of the converter). The RMS is the root of the mean square."
        ),
    ),
    (
        _scaled(lambda train, test, a: (a / _rows(train), a / _rows(test))),
        (
            "Each excerpt gets a gain of its own. That is a good recipe too (see the experiment), "
            "but here soft excerpts shall stay softer than loud ones: one gain for all."
        ),
    ),
    (
        _scaled(lambda train, test, a: _both(a / np.mean(_rows(train)))),
        (
            "You average the RMS of the excerpts. Powers add, amplitudes do not: average the "
            "squares over all samples, then take the root once."
        ),
    ),
    (
        _scaled(lambda train, test, a: _both(a)),
        "You multiply by the level wanted, whatever the level was: divide by the present RMS.",
    ),
)


def _grade_levels(answer: object) -> str:
    cases = []
    for index, level_db in enumerate((-20.0, -26.0, -14.0)):
        rng = np.random.default_rng([101, 3, index])
        sides = []
        for n, loudest in ((6, 0.3), (4, 0.05)):
            gains = loudest * rng.uniform(0.1, 1, (n, 1))
            sides.append(gains * (rng.standard_normal((n, 500)) + 0.4))
        cases.append((*sides, level_db))
    got = []
    for case in cases:
        result = ask(answer, *case)
        try:
            train, test = (np.asarray(side, dtype=np.float64) for side in result)
        except (TypeError, ValueError):
            raise NotAccepted("Return two arrays: the training side and the test side.") from None
        if train.shape != case[0].shape or test.shape != case[1].shape:
            raise NotAccepted(
                f"The sides come back as {train.shape} and {test.shape}; they should keep their "
                f"shapes {case[0].shape} and {case[1].shape}, training first."
            )
        got.append([train, test])
    if all(_both_close(_right_levels(*c), g) for c, g in zip(cases, got, strict=True)):
        return "One gain, measured on training in amplitudes, applied to both sides."
    for model, hint in LEVEL_MISTAKES:
        if all(_both_close(model(*c), g) for c, g in zip(cases, got, strict=True)):
            raise NotAccepted(hint)
    gains = [_gain(before, after) for before, after in zip(cases[0][:2], got[0], strict=True)]
    if None in gains:
        raise NotAccepted(
            "Your result is not the input times one number. Subtract nothing (standardising takes "
            "the mean away), and let all samples of a side have one gain."
        )
    level = waveforms.level_dbfs(got[0][0])
    if not np.isclose(gains[0], gains[1], rtol=1e-6):
        raise NotAccepted(
            f"In a hidden case training is multiplied by {gains[0]:.3g} and test by "
            f"{gains[1]:.3g}. One gain for both, measured on training: the amplitude of level_db "
            "over the RMS of the training side."
        )
    raise NotAccepted(
        "Both sides get one gain, as they should, but in a hidden case it brings training to "
        f"{level:.1f} dBFS and not to {cases[0][2]:.1f}: the gain is the amplitude of level_db "
        "over the RMS of the training side."
    )


def _gain(before: NDArray, after: NDArray) -> float | None:
    """Return the number that one array was multiplied by, or None if there is no such number."""
    gain = float(np.sum(before * after) / np.sum(before**2))
    return gain if np.allclose(after, gain * before, rtol=1e-6, atol=1e-9) else None


def _both_close(ours: Sequence[NDArray], theirs: Sequence[NDArray]) -> bool:
    return all(_close(a, b) for a, b in zip(ours, theirs, strict=True))


EXERCISES: Mapping[str, Exercise] = {
    "waveform.1": Exercise(
        "where an alias lands",
        _grade_alias,
        minutes=10,
        rubric={
            "frequencies a sample rate apart give the same samples": 1,
            "the upper half of each stretch is mirrored": 1,
        },
    ),
    "waveform.2": Exercise(
        "mu-law codes",
        _grade_mu_law,
        minutes=15,
        rubric={
            "the curve, with mu one less than the number of codes": 1,
            "rounded to the nearest code, clipped beyond full scale": 1,
        },
    ),
    "waveform.3": Exercise(
        "one gain for two sides",
        _grade_levels,
        minutes=15,
        rubric={
            "the gain comes from the RMS over the whole training side": 1,
            "decibels of an amplitude: a factor of 10 ** (dB / 20)": 1,
            "both sides are multiplied by the same gain": 1,
        },
    ),
}
