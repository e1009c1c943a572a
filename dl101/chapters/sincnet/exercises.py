"""The exercises of the chapter on parametric filters."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from dl101.lab.exercise import Exercise, Function

# ---- 1: a band-pass of any length ---------------------------------------------------------------


def _centred(n_taps: int) -> NDArray:
    return np.arange(n_taps) - (n_taps - 1) / 2


def _band_pass(
    *,
    taps: Callable[[int], NDArray] = _centred,
    window: Callable[[int], NDArray] = np.hamming,
    sinc: Callable[[NDArray], NDArray] = np.sinc,
    height: float = 2.0,
    factors: bool = True,
    unit: Callable[[float], float] = lambda rate: rate,
    lower: float = 1.0,
    sign: float = 1.0,
    published: bool = False,
) -> Callable[[float, float, int, float], NDArray]:
    """Return an answer from its choices."""

    def band_pass(low_hz: float, high_hz: float, n_taps: int, sample_rate: float) -> NDArray:
        f1, f2 = low_hz / unit(sample_rate), high_hz / unit(sample_rate)
        n = taps(n_taps)
        upper_part = (height * f2 if factors else 1.0) * sinc(2 * f2 * n)
        lower_part = lower * (height * f1 if factors else 1.0) * sinc(2 * f1 * n)
        kernel = sign * (upper_part - lower_part) * window(n_taps)
        return kernel / (2 * (f2 - f1)) if published else kernel

    return band_pass


def _without_pi(x: NDArray) -> NDArray:
    return np.sinc(x / np.pi)


def _peak_at_1(low_hz: float, high_hz: float, n_taps: int, sample_rate: float) -> NDArray:
    kernel = _band_pass()(low_hz, high_hz, n_taps, sample_rate)
    return kernel / np.abs(kernel).max()


def _published_length(low_hz: float, high_hz: float, n_taps: int, sample_rate: float) -> NDArray:
    return _band_pass()(low_hz, high_hz, n_taps + 1 - n_taps % 2, sample_rate)


def _bands() -> list[tuple[float, float, int, float]]:
    return [(400.0, 900.0, 11, 8000.0), (300.0, 2000.0, 24, 11025.0), (20.0, 700.0, 40, 16000.0)]


BAND_PASS = Function(
    title="a band-pass of any length",
    minutes=15,
    rubric={
        "difference of two low-passes, 2 f sinc(2 f n), f in cycles per sample": 1,
        "n counted from the middle, for odd and even lengths": 1,
        "Hamming window of n_taps": 1,
    },
    right=_band_pass(),
    cases=_bands,
    returns="an array (n_taps,)",
    rtol=1e-6,
    atol=1e-9,
    mistakes={
        "An even kernel has no tap in its middle: n runs over ..., -1/2, 1/2, ... You count from a "
        "tap beside it (n_taps // 2), which makes the kernel lopsided.": (
            _band_pass(taps=lambda n: np.arange(n) - n // 2)
        ),
        "n is counted from the first tap. The sinc has its peak in the middle of the kernel: "
        "subtract (n_taps - 1) / 2.": _band_pass(taps=np.arange),
        "n runs from -n_taps / 2 to n_taps / 2 in n_taps points: these are not one sample "
        "apart.": _band_pass(taps=lambda n: np.linspace(-n / 2, n / 2, n)),
        "The window is missing: without it the gain ripples.": _band_pass(window=np.ones),
        "This is a Hann window; asked is Hamming's, np.hamming.": _band_pass(window=np.hanning),
        "This Hamming window is periodic (one tap longer and cut): it is not symmetric.": (
            _band_pass(window=lambda n: np.hamming(n + 1)[:n])
        ),
        "np.sinc(x) is sin(pi x) / (pi x): the pi is inside already, so its argument is 2 f n.": (
            _band_pass(sinc=lambda x: np.sinc(np.pi * x))
        ),
        "Your sinc is sin(x) / x. Here it is sin(pi x) / (pi x), which is NumPy's.": (
            _band_pass(sinc=_without_pi)
        ),
        "The argument of the sinc is 2 f n; yours is f n, which halves the cut-offs.": (
            _band_pass(sinc=lambda x: np.sinc(x / 2))
        ),
        "Each low-pass is 2 f sinc(2 f n): both factors 2 are missing, so that the cut-offs are "
        "halved.": _band_pass(height=1.0, sinc=lambda x: np.sinc(x / 2)),
        "Each low-pass is 2 f sinc(2 f n): the factor 2 f in front is missing.": (
            _band_pass(factors=False)
        ),
        "The factors 2 f in front of the sincs are only f: the gain is a half.": (
            _band_pass(height=1.0)
        ),
        "Frequencies must be in cycles per sample: divide by the sample rate, not by half of it.": (
            _band_pass(unit=lambda rate: rate / 2)
        ),
        "Frequencies are in hertz still: divide by the sample rate first.": (
            _band_pass(unit=lambda rate: 1.0)
        ),
        "This is the low-pass to high_hz: the one to low_hz is not subtracted.": (
            _band_pass(lower=0.0)
        ),
        "The two low-passes are added; take their difference.": _band_pass(lower=-1.0),
        "The difference is the wrong way round: the wider low-pass minus the narrower one.": (
            _band_pass(sign=-1.0)
        ),
        "This is the published kernel, divided by twice its band so that its middle is 1. Asked is "
        "gain 1 in the band: leave that division out.": _band_pass(published=True),
        "The largest tap is scaled to 1. Asked is gain 1 in the band, which the formula gives "
        "without scaling.": _peak_at_1,
    },
    symptoms={
        "For an even n_taps there is one tap too many: do not make it odd.": (
            lambda got, right, *case: case[2] % 2 == 0 and len(got) == case[2] + 1,
            _published_length,
        ),
    },
    differs="In a hidden case ({0:g} to {1:g} Hz, {2} taps, {3:g} Hz) tap {at[0]} should be "
    "{right:.4g} and is {got:.4g}.",
    praise="Two numbers, one kernel, symmetric at every length.",
)

# ---- 2: cut-offs that cannot cross --------------------------------------------------------------


def _cutoffs(
    *,
    of_a: Callable[[NDArray], NDArray] = np.abs,
    of_b: Callable[[NDArray], NDArray] = np.abs,
    from_low: bool = True,
    least_band: bool = True,
    least_low: bool = True,
    limit: bool = True,
    room: bool = True,
    top: float = 0.5,
) -> Callable[..., tuple[NDArray, NDArray]]:
    """Return an answer from its choices."""

    def cutoffs(a: NDArray, b: NDArray, min_low: float, min_band: float) -> tuple[NDArray, NDArray]:
        f1 = min_low * least_low + of_a(a)
        f1 = np.minimum(f1, 0.5 - min_band * room) if limit else f1
        start = f1 if from_low else min_low
        return f1, np.minimum(start + min_band * least_band + of_b(b), top)

    return cutoffs


def _as_it_is(x: NDArray) -> NDArray:
    return x


def _folded(a: NDArray, b: NDArray, min_low: float, min_band: float) -> tuple[NDArray, NDArray]:
    f1, f2 = min_low + np.abs(a), min_low + np.abs(b)
    return np.minimum(f1, f2), np.maximum(f1, f2)


def _size_of_sum(
    a: NDArray, b: NDArray, min_low: float, min_band: float
) -> tuple[NDArray, NDArray]:
    f1 = np.minimum(np.abs(min_low + a), 0.5 - min_band)
    return f1, np.minimum(f1 + np.abs(min_band + b), 0.5)


def _at_least(a: NDArray, b: NDArray, min_low: float, min_band: float) -> tuple[NDArray, NDArray]:
    f1 = np.minimum(np.maximum(a, min_low), 0.5 - min_band)
    return f1, np.minimum(f1 + np.maximum(b, min_band), 0.5)


def _only_the_width(
    a: NDArray, b: NDArray, min_low: float, min_band: float
) -> tuple[NDArray, NDArray]:
    return _cutoffs()(a, b, min_low, min_band)[0], np.minimum(min_band + np.abs(b), 0.5)


def _numbers() -> list[tuple[NDArray, NDArray, float, float]]:
    rng = np.random.default_rng([301, 2])
    cases = []
    for n_filters, min_low, min_band in ((6, 0.005, 0.01), (9, 0.002, 0.02), (12, 0.01, 0.004)):
        a = rng.uniform(-0.3, 0.3, n_filters)
        b = rng.uniform(-0.2, 0.2, n_filters)
        a[:2], b[:2] = (0.62, -0.7), (0.05, -0.03)  # f1 would leave no room
        a[2:4], b[2:4] = (-0.1, 0.2), (0.95, -0.9)  # f2 would leave the range
        a[4:6], b[4:6] = (-0.12, 0.05), (0.01, -0.02)  # ordinary ones, of both signs
        cases.append((a, b, min_low, min_band))
    return cases


CUTOFFS = Function(
    title="cut-offs that cannot cross",
    minutes=10,
    rubric={
        "f1 and f2 - f1 from sizes, with their lower bounds": 1,
        "both upper bounds, 1/2 - min_band and 1/2": 1,
    },
    right=_cutoffs(),
    cases=_numbers,
    returns="two arrays, f1 and f2",
    rtol=1e-6,
    atol=1e-9,
    mistakes={
        "f2 is counted from min_low and not from f1, so that it can lie below f1: add the band to "
        "f1.": _cutoffs(from_low=False),
        "You take two cut-offs and sort them. b is the width of the band: f2 is f1 plus min_band "
        "plus the size of b.": _folded,
        "A negative a makes f1 too small, even negative: take its size (np.abs).": (
            _cutoffs(of_a=_as_it_is)
        ),
        "A negative b makes the band narrower than min_band, or turns it round: take its size "
        "(np.abs).": _cutoffs(of_b=_as_it_is),
        "Negative a and b are used as they are: take their sizes (np.abs).": (
            _cutoffs(of_a=_as_it_is, of_b=_as_it_is)
        ),
        "Negative values are cut off at 0 (np.maximum): their gradient is 0 from there on. Take "
        "the size, |a| and |b|.": _cutoffs(
            of_a=lambda a: np.maximum(a, 0), of_b=lambda b: np.maximum(b, 0)
        ),
        "Squares keep the sign away too, but asked are sizes, |a| and |b|.": (
            _cutoffs(of_a=np.square, of_b=np.square)
        ),
        "You take the size of a sum, |min_low + a|. Take that of a (and of b) alone, then "
        "add.": _size_of_sum,
        "You take the larger of min_low and a, and of min_band and b. Asked is the sum of each "
        "with the size.": _at_least,
        "f2 is only the width of the band: add it to f1.": _only_the_width,
        "f1 and f2 are returned in the wrong order.": lambda *case: _cutoffs()(*case)[::-1],
        "The least band is missing: a band of width 0 lets nothing through.": (
            _cutoffs(least_band=False)
        ),
        "f1 begins at 0 and not at min_low.": _cutoffs(least_low=False),
        "f1 can come so close to 1/2 that no band fits above it, and f2 is then below f1: keep it "
        "at or below 1/2 - min_band.": _cutoffs(limit=False),
        "f1 may reach 1/2, and the band above it has width 0: its limit is 1/2 - min_band.": (
            _cutoffs(room=False)
        ),
        "f2 can exceed 1/2, half the sample rate: there is nothing above.": _cutoffs(top=np.inf),
        "Nothing keeps the cut-offs below 1/2: f1 has the limit 1/2 - min_band, f2 has 1/2.": (
            _cutoffs(limit=False, top=np.inf)
        ),
        "The upper limit is 1/2 cycle per sample, half the sample rate, not 1.": _cutoffs(top=1.0),
    },
    differs="In a hidden case the value at {at} should be {right:.4g} and is {got:.4g} "
    "(min_low = {2:g}, min_band = {3:g}).",
    praise="Whatever the optimiser does: 0 < f1 < f2, and f2 is at most half the sample rate.",
)

# ---- 3: the running mean as a matrix ------------------------------------------------------------


def _weights(
    *,
    power: Callable[[NDArray], NDArray] = _as_it_is,
    new: Callable[[float], float] = _as_it_is,
    causal: bool = True,
    first: str = "full",
    weight: bool = True,
    turned: bool = False,
) -> Callable[[int, float], NDArray]:
    """Return an answer from its choices."""

    def running_mean_matrix(n_frames: int, s: float) -> NDArray:
        t, u = np.arange(n_frames)[:, None], np.arange(n_frames)
        age, share = np.abs(t - u), new(s)
        matrix = (share if weight else 1.0) * (1 - share) ** power(age)
        matrix = np.where(u <= t, matrix, 0.0) if causal else matrix
        if first == "full" and weight:
            matrix[:, 0] /= share
        elif first == "one":
            matrix[0, 0] = 1.0
        elif first == "sum":
            matrix /= matrix.sum(axis=1, keepdims=True)
        return matrix.T if turned else matrix

    return running_mean_matrix


RUNNING_MEAN = Function(
    title="the running mean as a matrix",
    minutes=15,
    rubric={
        "weights s (1 - s)^(t - u) for frames up to t, none for later ones": 1,
        "the first frame counts in full, (1 - s)^t": 1,
    },
    right=_weights(),
    cases=lambda: [(3, 0.25), (5, 0.4), (8, 0.04), (4, 0.7)],
    returns="a matrix (n_frames, n_frames)",
    rtol=1e-6,
    atol=1e-9,
    mistakes={
        "Your mean starts from M[-1] = 0, so that the first frames come out too small. M[0] is "
        "x[0]: the first column is (1 - s)^t, without s.": _weights(first="as the others"),
        "M[0] = x[0] is right, but the frames after it have forgotten that x[0] counted in full: "
        "the whole first column is (1 - s)^t.": _weights(first="one"),
        "You divide each row by its sum. That adds up to 1 too, but the recursion is not changed "
        "by that: what it gives more is given to x[0].": _weights(first="sum"),
        "s and 1 - s have changed places: s is the weight of the new frame.": (
            _weights(new=lambda s: 1 - s)
        ),
        "The matrix is transposed: row t holds the weights of M[t].": _weights(turned=True),
        "Later frames count as well: M[t] knows nothing of what comes after t.": (
            _weights(causal=False)
        ),
        "The weight s of a new frame is missing: all columns but the first are "
        "s (1 - s)^(t - u).": _weights(weight=False),
        "The decays are one frame off: x[t] itself has weight s, not s (1 - s).": (
            _weights(power=lambda age: age + 1)
        ),
    },
    differs="For {0} frames and s = {1:g}, the weight at {at} should be {right:.4g} and is "
    "{got:.4g}. Write out M[1] and M[2] in terms of x[0], x[1] and x[2].",
    praise="Each row adds up to 1, and old frames fade by 1 - s a frame: a recursion is a matrix.",
)

EXERCISES: Mapping[str, Exercise] = {
    "sincnet.1": BAND_PASS,
    "sincnet.2": CUTOFFS,
    "sincnet.3": RUNNING_MEAN,
}
