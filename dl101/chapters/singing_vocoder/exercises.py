"""The exercises of the chapter on singing vocoders."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from dl101.lab.exercise import Exercise, Function

TURN = 2 * math.pi

# ---- 1: a filter that comes in time --------------------------------------------------------------


def _filter(
    *,
    rolled: Callable[[NDArray, int], NDArray] = np.roll,
    first: Callable[[int], int] = lambda delay: delay,
    gains: Callable[[NDArray], NDArray] = lambda magnitudes: magnitudes,
    scale: Callable[[int], float] = lambda delay: 1.0,
    around: bool = False,
) -> Callable[..., NDArray]:
    """Return the right function (the defaults) or one that misplaces the response."""

    def filtered(sound: NDArray, magnitudes: NDArray) -> NDArray:
        delay, n = len(magnitudes) - 1, len(sound)
        response = scale(delay) * rolled(np.fft.irfft(gains(magnitudes), 2 * delay), delay)
        whole = np.convolve(sound, response)
        begin = first(delay)
        if around:
            whole = np.pad(whole, (0, -len(whole) % n)).reshape(-1, n).sum(axis=0)
            return np.roll(whole, -begin)
        return np.pad(whole, (0, begin + n))[begin : begin + n]

    return filtered


def _rolled_back(sound: NDArray, magnitudes: NDArray) -> NDArray:
    return np.roll(_filter(first=lambda delay: 0)(sound, magnitudes), 1 - len(magnitudes))


def _sounding(seed: int, n: int, n_bands: int) -> tuple[NDArray, NDArray]:
    rng = np.random.default_rng(seed)
    return rng.standard_normal(n), rng.uniform(0.1, 2.0, n_bands)


FILTER = Function(
    title="a filter that comes in time",
    minutes=15,
    rubric={
        "the gains become an impulse response by the inverse real FFT": 1,
        "the response is rolled, so that its peak has both sides": 1,
        "as many samples are cut at the front as the peak is late": 1,
    },
    right=_filter(),
    cases=lambda: [
        _sounding(0, 60, 5),
        _sounding(1, 90, 9),
        _sounding(2, 40, 3),
        _sounding(3, 200, 17),
        (np.r_[np.zeros(20), 1.0, np.zeros(30)], np.linspace(1.0, 0.2, 9)),
    ],
    returns="an array of as many samples as the sound has",
    atol=1e-9,
    mistakes={
        "The delay is left in: the peak of the response lies bands - 1 samples after its start, "
        "and every sound comes so much too late. This is what the published code did.": (
            _filter(first=lambda delay: 0)
        ),
        "The sound comes one sample too late: you cut at bands - 2, and the peak lies bands - 1 "
        'samples after the start of the response. (mode="same" cuts there, too, for the response '
        "has an even number of samples.)": _filter(first=lambda delay: delay - 1),
        "The sound comes one sample too early: you cut at bands, and the response has bands - 1 "
        "samples before its peak.": _filter(first=lambda delay: delay + 1),
        "The end of the sound is missing. Cut as many samples from the whole convolution, which is "
        "longer than the sound; rolling a short one back brings its start to the end.": (
            _rolled_back
        ),
        "The delay is taken out twice: the sound comes too early by bands - 1 samples.": (
            _filter(first=lambda delay: 2 * delay)
        ),
        "Half of the delay is left in. The response has 2 (bands - 1) samples, and its peak is in "
        "the middle.": _filter(first=lambda delay: delay // 2),
        "The response is not rolled: its left half stands at the end, where it makes an echo.": (
            _filter(rolled=lambda response, delay: response, first=lambda delay: 0),
            _filter(rolled=lambda response, delay: response),
        ),
        "What the filter adds after the end comes back at the beginning: a product of spectra of "
        "the sound's length is a *circular* convolution. Pad, or convolve.": _filter(around=True),
        "The gains are squared. A filter multiplies amplitudes, once.": _filter(gains=np.square),
        "The gains are taken as decibels; they are factors.": (
            _filter(gains=lambda m: 10 ** (m / 20))
        ),
        "The result is louder by the length of the response: irfft divides by it already, don't "
        "undo that.": _filter(scale=lambda delay: 2.0 * delay),
        "The response is divided by its length once more: irfft has done so.": (
            _filter(scale=lambda delay: 0.5 / delay)
        ),
    },
    differs="For {0.size} samples and {1.size} bands, sample {at[0]} should be {right:.4f} and is "
    "{got:.4f}.",
    praise="What goes in at sample n comes out at sample n. A spectrum hides such a shift, the ear "
    "of a drummer does not.",
)

# ---- 2: how far a pitch is off -------------------------------------------------------------------


def _cents(
    *,
    error: Callable[[NDArray, NDArray], NDArray] = lambda e, r: 1200 * np.log2(e / r),
    size: Callable[[NDArray], NDArray] = np.abs,
    mean: Callable[[NDArray, int], float] = lambda x, n: x.sum() / len(x),
) -> Callable[..., float]:
    """Return the right function (the defaults) or one that misreads the error."""

    def f0_error(estimate_hz: NDArray, reference_hz: NDArray) -> float:
        voiced = np.isfinite(reference_hz)
        if not voiced.any():
            return float("nan")
        off = error(estimate_hz[voiced], reference_hz[voiced])
        return float(mean(size(off), len(reference_hz)))

    return f0_error


def _sung(seed: int, n: int, spread: float, octave: bool = False) -> tuple[NDArray, NDArray]:
    rng = np.random.default_rng(seed)
    reference = 220.0 * 2 ** np.cumsum(rng.normal(0, 0.04, n))
    estimate = reference * 2 ** rng.normal(0.02, spread, n)
    if octave:
        estimate[n // 3] *= 2
    reference[rng.permutation(n)[: n // 4]] = np.nan
    return estimate, reference


F0_ERROR = Function(
    title="how far a pitch is off",
    minutes=12,
    rubric={
        "a ratio of frequencies, by a logarithm to base 2": 1,
        "1200 cents an octave, and above or below counts alike": 1,
        "the mean is over voiced frames, and of none it is nan": 1,
    },
    right=_cents(),
    cases=lambda: [
        _sung(0, 40, 0.02),
        _sung(1, 9, 0.05),
        _sung(2, 100, 0.01, octave=True),
        _sung(3, 33, 0.2),
        (np.array([220.0, 440.0, 100.0]), np.array([440.0, 440.0, np.nan])),
    ],
    edges={
        "Where no frame is voiced there is nothing to average: return nan.": (
            (np.array([200.0, 300.0]), np.array([np.nan, np.nan])),
            lambda e, r: _cents()(e, r) if np.isfinite(r).any() else 0.0,
        ),
    },
    returns="one number, in cents",
    mistakes={
        "This is a difference in hertz. Ten of them are almost two semitones for a bass at 90 Hz, "
        "and a fifth of one for a soprano at 800: take the ratio.": (
            _cents(error=lambda e, r: e - r)
        ),
        "The logarithm is the natural one. An octave is a factor of 2: log2.": (
            _cents(error=lambda e, r: 1200 * np.log(e / r))
        ),
        "The logarithm has base 10. An octave is a factor of 2: log2.": (
            _cents(error=lambda e, r: 1200 * np.log10(e / r))
        ),
        "This is in semitones; a semitone has 100 cents.": (
            _cents(error=lambda e, r: 12 * np.log2(e / r))
        ),
        "This is in octaves; an octave has 1200 cents.": _cents(error=lambda e, r: np.log2(e / r)),
        "Errors above and below cancel. Take the absolute value of each before the mean.": (
            _cents(size=lambda x: x)
        ),
        "The absolute value is taken of the mean, where errors above and below have cancelled.": (
            _cents(size=lambda x: x, mean=lambda x, n: abs(x.mean()))
        ),
        "The sum is divided by the number of all frames. Those without a voice have no pitch that "
        "could be wrong: count the voiced ones.": _cents(mean=lambda x, n: x.sum() / n),
        "This is the root of the mean square; asked is the mean of absolute errors.": (
            _cents(size=np.square, mean=lambda x, n: math.sqrt(x.mean()))
        ),
        "This is the median, which does not see an octave error now and then; asked is the mean.": (
            _cents(mean=lambda x, n: float(np.median(x)))
        ),
        "Octave errors are folded away. For a vocoder they count: the voice is heard an octave "
        "off.": _cents(size=lambda x: np.abs((x + 600) % 1200 - 600)),
        "The ratio minus 1 is a share, not a logarithm: an octave up would count twice as much as "
        "one down.": _cents(error=lambda e, r: 1200 * (e / r - 1)),
    },
    symptoms={
        "The result is nan although some frames are voiced. The reference is nan where nothing is, "
        "and a mean that meets one nan is nan: leave these frames out.": (
            lambda got, right, *_: np.isnan(got) and not np.isnan(right),
            lambda e, r: np.abs(1200 * np.log2(e / r)).mean(),
        ),
    },
    differs="For {0.size} frames the error should be {right:.3f} cents and is {got:.3f}.",
    praise="The same number for a bass and a soprano who are equally out of tune.",
)

# ---- 3: one phase for many chunks ----------------------------------------------------------------


def _chunk(
    *,
    begin: Callable[[float], float] = lambda phase: phase,
    steps: Callable[[NDArray], NDArray] = lambda s: np.cumsum(s) - s,
    after: Callable[[float, NDArray], float] = lambda phase, s: phase + s.sum(),
    turn: float = TURN,
    wrap: Callable[[float], float] = lambda phase: phase % TURN,
    wave: Callable[[NDArray], NDArray] = np.sin,
) -> Callable[..., tuple]:
    """Return the right function (the defaults) or one whose chunks don't fit together."""

    def next_chunk(f0_hz: NDArray, sample_rate: float, phase: float) -> tuple:
        step = turn * f0_hz / sample_rate
        return wave(begin(phase) + steps(step)), wrap(after(phase, step))

    return next_chunk


def _curve(seed: int, n: int, rate: float) -> tuple[NDArray, float, float]:
    rng = np.random.default_rng(seed)
    f0_hz = 0.02 * rate * 2 ** np.cumsum(rng.normal(0, 0.05, n))
    return f0_hz, rate, float(rng.uniform(0.5, 5.5))


CHUNK = Function(
    title="one phase for many chunks",
    minutes=15,
    rubric={
        "the chunk begins at the phase that was handed in": 1,
        "the phase of a sample is the sum of the steps before it": 1,
        "what is handed on is the phase of the sample after the last, wrapped to one turn": 1,
    },
    right=_chunk(),
    cases=lambda: [
        _curve(0, 50, 8000.0),
        _curve(1, 7, 16000.0),
        _curve(2, 300, 24000.0),
        _curve(3, 1, 1000.0),
        _curve(4, 120, 44100.0),
    ],
    returns="two things: an array of samples, and the phase for the next chunk",
    atol=1e-5,
    mistakes={
        "The chunk begins at phase 0, whatever was handed in: a click at every border, the glitch "
        "of this chapter.": (
            _chunk(begin=lambda phase: 0.0),
            _chunk(begin=lambda phase: 0.0, after=lambda phase, s: s.sum()),
        ),
        "The first sample is one step ahead. It has the phase that was handed in; the sum is over "
        "the steps *before* a sample.": _chunk(steps=np.cumsum),
        "The phase of the last sample is handed on, and the next chunk says it again. Hand on the "
        "phase of the sample after it: one step more.": (
            _chunk(after=lambda phase, s: phase + s[:-1].sum())
        ),
        "What is handed on forgets where the chunk began: add the phase that was handed in.": (
            _chunk(after=lambda phase, s: s.sum())
        ),
        "The phase that is handed on is the one that was handed in; the chunk's own steps are "
        "missing.": _chunk(after=lambda phase, s: phase),
        "The phase is not wrapped. After a minute it is a number of many thousands, of which "
        "float32 keeps few decimals: hand on what is left after whole turns.": (
            _chunk(wrap=lambda phase: phase)
        ),
        "It is wrapped to between -pi and pi; asked is from 0 to 2 pi.": (
            _chunk(wrap=lambda phase: (phase + math.pi) % TURN - math.pi)
        ),
        "A step is 2 pi f0 / sample_rate: the 2 pi is missing.": _chunk(turn=1.0),
        "This is a cosine: a quarter of a turn ahead of the sine.": _chunk(wave=np.cos),
        "The frequency now times the time since the chunk began is not the phase, unless the "
        "frequency stands still: add up the steps.": (
            _chunk(steps=lambda s: s * np.arange(len(s))),
            _chunk(
                steps=lambda s: s * np.arange(len(s)), after=lambda phase, s: phase + len(s) * s[-1]
            ),
            _chunk(steps=lambda s: s.mean() * np.arange(len(s))),
        ),
        "The steps are one sample ahead: from a sample to the next, the phase grows with the f0 of "
        "the earlier one.": _chunk(steps=lambda s: np.cumsum(s) - s[0]),
    },
    differs="For {0.size} samples, value {at[1]} of result {at[0]} (0: samples, 1: phase) should "
    "be {right:.4f} and is {got:.4f}.",
    praise="Cut it where you like: the chunks sound like one.",
)

EXERCISES: Mapping[str, Exercise] = {
    "singing_vocoder.1": FILTER,
    "singing_vocoder.2": F0_ERROR,
    "singing_vocoder.3": CHUNK,
}
