"""The exercises of the chapter on differentiable synthesis."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from dl101.lab.exercise import Exercise, Function

TURN = 2 * np.pi

# ---- 1: a sine whose frequency moves -------------------------------------------------------------


def sine(frequency_hz: NDArray, sample_rate: float) -> NDArray:
    """Return the sine, (time,): phase 0 first, and each sample turns on by its frequency."""
    turns = np.cumsum(frequency_hz) / sample_rate
    return np.sin(TURN * (turns - frequency_hz / sample_rate))


def _curves() -> list[tuple[NDArray, float]]:
    t = np.arange(600)
    steps = np.random.default_rng([150, 1]).uniform(50, 900, 20)
    return [
        (np.array([500.0, 700.0, 1100.0, 900.0]), 8000.0),  # short enough for a hint to print
        (np.full(40, 441.0), 8000.0),
        (100.0 + 2.0 * t, 8000.0),
        (300.0 + 40 * np.sin(t / 30), 4000.0),
        (np.repeat(steps, 30), 6000.0),
    ]


def _time(f: NDArray, rate: float) -> NDArray:
    return np.arange(len(f)) / rate


PHASE = Function(
    title="a sine whose frequency moves",
    minutes=15,
    rubric={
        "the phase is the sum of the frequencies so far, over the sample rate": 2,
        "the first sample has the phase 0": 1,
    },
    right=sine,
    cases=_curves,
    returns="one array, (time,)",
    atol=1e-5,
    mistakes={
        "You multiply the frequency of now by the time. That is the phase that this frequency "
        "would have had from the beginning; where it moves, the pitch goes astray, and further "
        "with time. Add up what each sample contributes (np.cumsum).": (
            lambda f, rate: np.sin(TURN * f * _time(f, rate))
        ),
        "You multiply the time by the mean of the frequencies so far, and count the present one "
        "among them: the sum belongs to one sample more than the time.": (
            lambda f, rate: np.sin(TURN * _time(f, rate) * np.cumsum(f) / np.arange(1, len(f) + 1))
        ),
        "Your sine is one sample early: the first sample has turned already. np.cumsum counts the "
        "present value in; subtract it, or put a 0 in front.": (
            lambda f, rate: np.sin(TURN * np.cumsum(f) / rate)
        ),
        "You subtract the first frequency from every sum. What the sum counts too early is the "
        "present one.": (lambda f, rate: np.sin(TURN * (np.cumsum(f) - f[0]) / rate)),
        "Your sine is one sample late: there are two samples with the phase 0.": (
            lambda f, rate: np.sin(
                TURN * np.concatenate([[0.0, 0.0], np.cumsum(f)])[: len(f)] / rate
            )
        ),
        "You count half of the present frequency in (a trapezium). Here each sample turns on by "
        "its own frequency, and the first has the phase 0.": (
            lambda f, rate: np.sin(TURN * (np.cumsum(f) - f / 2) / rate)
        ),
        "You stop at turns: a whole turn is 2 pi in the argument of a sine.": (
            lambda f, rate: np.sin((np.cumsum(f) - f) / rate)
        ),
        "The sample rate is missing: f is in turns a second, and a sample lasts 1 / rate.": (
            lambda f, rate: np.sin(TURN * (np.cumsum(f) - f))
        ),
        "This is a cosine: it begins at 1 where the sine begins at 0.": (
            lambda f, rate: np.cos(TURN * (np.cumsum(f) - f) / rate)
        ),
        "You return the phase; the sine of it is asked.": (
            lambda f, rate: TURN * (np.cumsum(f) - f) / rate
        ),
        "You give all samples the mean frequency: no movement is left.": (
            lambda f, rate: np.sin(TURN * f.mean() * _time(f, rate))
        ),
    },
    differs=(
        "With the frequencies {0} Hz at {1} samples a second the value at {at} should be "
        "{right:.4f}; yours is {got:.4f}."
    ),
    praise="The phase is a sum. Any curve of frequencies can be sung now.",
)

# ---- 2: windows that add up to 1 -----------------------------------------------------------------


def added_windows(
    frames: NDArray, hop: int, window: NDArray, *, late: int = 0, held: bool = True
) -> NDArray:
    """Return (frame * hop,): windows around each frame, of its height, added up."""
    values = np.concatenate([frames, frames[-1:]]) if held else frames
    out = np.zeros((len(values) + 1) * hop + late)
    for i, value in enumerate(values):
        out[late + i * hop :][: len(window)] += value * window
    return out[hop : hop + len(frames) * hop]


def hann(n: int, *, at: float = 0.0, period: int | None = None) -> NDArray:
    """Return a Hann window of n samples, read a part of a sample later."""
    return 0.5 - 0.5 * np.cos(TURN * (np.arange(n) + at) / (n if period is None else period))


def _frames() -> list[tuple[NDArray, int]]:
    rng = np.random.default_rng([150, 2])
    cases: list[tuple[NDArray, int]] = [(np.array([1.0, 1.0, 1.0]), 4)]
    cases += [(rng.uniform(0.2, 1, n), hop) for n, hop in ((3, 4), (6, 10), (9, 7))]
    return cases


WINDOWS = Function(
    title="windows that add up to 1",
    minutes=20,
    rubric={
        "Hann windows of two hops, one hop apart, that add up to 1": 2,
        "frame i stands at sample i * hop, and the last frame is held": 1,
    },
    right=lambda x, hop: added_windows(x, hop, hann(2 * hop)),
    cases=_frames,
    returns="one array, (frame * hop,)",
    atol=1e-6,
    mistakes={
        "Your window has its zero at both ends (np.hanning, or scipy.signal.windows.hann as it "
        "comes), so it is one sample short of two hops, and the sum of windows is not 1. Take the "
        "periodic one: the cosine has a period of 2 * hop samples.": (
            lambda x, hop: added_windows(x, hop, np.hanning(2 * hop))
        ),
        "Your windows are read half a sample beside their places. Their sum is 1, but no sample "
        "has the value of its frame: at sample i * hop the window must be 1.": (
            lambda x, hop: added_windows(x, hop, hann(2 * hop, at=0.5)),
        ),
        "Your frames stand in the middle of their hop. Here frame i stands at sample i * hop.": (
            lambda x, hop: added_windows(
                np.concatenate([x[:1], x]), hop, hann(2 * hop), late=hop // 2
            )[hop:],
            lambda x, hop: added_windows(
                np.concatenate([x[:1], x]), hop, hann(2 * hop), late=(hop + 1) // 2
            )[hop:],
        ),
        "Your frames come one hop late: at the first sample there is nothing yet. Windows begin "
        "one hop before their frame; leave that hop out at the start.": (
            lambda x, hop: added_windows(np.concatenate([[0.0], x]), hop, hann(2 * hop))[:-hop]
        ),
        "In the last hop your values fade out: after the last frame its value is held, as if it "
        "came once more.": lambda x, hop: added_windows(x, hop, hann(2 * hop), held=False),
        "You draw straight lines between frames. They have a corner at every frame; Hann windows "
        "have none.": lambda x, hop: np.interp(np.arange(len(x) * hop) / hop, np.arange(len(x)), x),
        "You hold each value until the next one comes. Those are stairs, and each stair clicks.": (
            lambda x, hop: np.repeat(x, hop)
        ),
        "Your window is one hop long, so that it falls to 0 between frames. Two hops: "
        "each sample lies under two windows.": (
            lambda x, hop: np.repeat(x, hop) * np.tile(hann(hop), len(x))
        ),
        "You take the sine window (or the root of Hann). Its *squares* add up to 1, which is for "
        "windows that are used twice.": (
            lambda x, hop: added_windows(x, hop, np.sqrt(hann(2 * hop)))
        ),
        "Your windows are triangles, as long as they should be: those are straight lines.": (
            lambda x, hop: added_windows(x, hop, np.bartlett(2 * hop))
        ),
    },
    differs=(
        "With the frames {0} and a hop of {1} the value at {at} should be {right:.4f}; yours is "
        "{got:.4f}. At sample i * hop it is that of frame i."
    ),
    praise="Smooth, through every frame, and a constant stays constant.",
)

# ---- 3: amplitudes of harmonics ------------------------------------------------------------------

Make = Callable[[NDArray, NDArray, NDArray, float], NDArray]


def _below(f0: NDArray, shares: NDArray, rate: float, first: int = 1) -> NDArray:
    """Return (frame, harmonic): whether harmonics, numbered from ``first``, can be heard."""
    return f0[:, None] * np.arange(first, first + shares.shape[1]) < rate / 2


def _shared(values: NDArray, total: NDArray) -> NDArray:
    return values / np.maximum(total, 1e-12)


def amplitudes(f0: NDArray, amplitude: NDArray, shares: NDArray, rate: float) -> NDArray:
    """Return (frame, harmonic): silenced at and above half the rate, then summing to amplitude."""
    kept = shares * _below(f0, shares, rate)
    return amplitude[:, None] * _shared(kept, kept.sum(1, keepdims=True))


def _by(total: Callable[[NDArray], NDArray]) -> Make:
    """Return an answer that divides what is kept by another total."""

    def answer(f0: NDArray, amplitude: NDArray, shares: NDArray, rate: float) -> NDArray:
        kept = shares * _below(f0, shares, rate)
        return amplitude[:, None] * _shared(kept, total(kept))

    return answer


def _with(kept: Callable[[NDArray, NDArray, float], NDArray]) -> Make:
    """Return an answer with another rule for what can be heard."""

    def answer(f0: NDArray, amplitude: NDArray, shares: NDArray, rate: float) -> NDArray:
        left = shares * kept(f0, shares, rate)
        return amplitude[:, None] * _shared(left, left.sum(1, keepdims=True))

    return answer


def _sounds() -> list[tuple[NDArray, NDArray, NDArray, float]]:
    rng = np.random.default_rng([150, 3])
    cases: list[tuple[NDArray, NDArray, NDArray, float]] = [
        (np.array([1000.0]), np.array([0.5]), np.array([[2.0, 1.0, 1.0, 4.0]]), 8000.0)
    ]
    for n, k, rate in ((3, 5, 8000.0), (6, 9, 6000.0), (4, 12, 16_000.0)):
        f0 = rng.uniform(0.04, 0.3, n) * rate
        cases.append((f0, rng.uniform(0.1, 1, n), rng.uniform(0.1, 3, (n, k)), rate))
    return cases


HARMONICS = Function(
    title="amplitudes of harmonics",
    minutes=20,
    rubric={
        "harmonics at or above half the sample rate are silent": 1,
        "the shares of what is left add up to 1, in each frame": 1,
        "nothing left is silence, not a division by zero": 1,
    },
    right=amplitudes,
    cases=_sounds,
    returns="a matrix (frame, harmonic)",
    mistakes={
        "You make the shares add up to 1 before you silence what is too high. Then a high note "
        "loses amplitude for every harmonic that it may not have. Silence first.": (
            lambda f0, a, s, r: a[:, None] * _below(f0, s, r) * _shared(s, s.sum(1, keepdims=True))
        ),
        "You don't divide by the sum: distribution says proportions, of any size. The amplitudes "
        "of a frame shall add up to its amplitude.": (
            lambda f0, a, s, r: a[:, None] * s * _below(f0, s, r)
        ),
        "Nothing is silenced: harmonics above half the sample rate come back as other "
        "frequencies.": _with(lambda f0, s, r: np.ones_like(s)),
        "A harmonic exactly at half the sample rate still sounds. Its samples are all 0, or, with "
        "another phase, as loud as you like: silence at *and* above.": (
            _with(lambda f0, s, r: f0[:, None] * np.arange(1, s.shape[1] + 1) <= r / 2)
        ),
        "You compare with the sample rate. Two samples in each period are the least: half of "
        "it.": _with(lambda f0, s, r: f0[:, None] * np.arange(1, s.shape[1] + 1) < r),
        "Your harmonics are numbered from 0: the first of them is the fundamental itself.": (
            _with(lambda f0, s, r: _below(f0, s, r, first=0))
        ),
        "You divide by the sum over frames (axis 0): loud frames then depend on others. The "
        "harmonics of one frame share its amplitude.": _by(lambda x: x.sum(0, keepdims=True)),
        "You divide by the sum over all frames and harmonics; each frame has an amplitude of its "
        "own.": _by(lambda x: x.sum()),
        "You divide by the largest share, so that the strongest harmonic has the whole "
        "amplitude. The sum of all shall be the amplitude.": _by(lambda x: x.max(1, keepdims=True)),
        "You divide by the root of the sum of squares, which makes the power right. Here "
        "amplitudes shall add up, so that the sound cannot pass its amplitude.": (
            _by(lambda x: np.sqrt((x**2).sum(1, keepdims=True)))
        ),
        "You take a softmax of the shares. They are proportions already, not logits: divide by "
        "their sum.": _with(lambda f0, s, r: _below(f0, s, r) * np.exp(s) / np.maximum(s, 1e-12)),
        "The amplitude is missing: your rows add up to 1.": (
            lambda f0, a, s, r: amplitudes(f0, np.ones_like(a), s, r)
        ),
    },
    edges={
        "A fundamental above half the sample rate has no harmonic that may sound: its row is all "
        "0. Yours holds {got}; dividing by a sum of 0 needs care.": (
            (np.array([5000.0, 900.0]), np.array([1.0, 0.3]), np.ones((2, 3)), 8000.0),
            lambda f0, a, s, r: (
                a[:, None]
                * np.divide(
                    s * _below(f0, s, r),
                    (s * _below(f0, s, r)).sum(1, keepdims=True),
                    out=np.full(s.shape, np.nan),
                    where=_below(f0, s, r).any(1, keepdims=True) & (s > -1),
                )
            ),
        ),
    },
    differs=(
        "With f0 {0} Hz, amplitude {1} and {3:g} samples a second the value at {at} should be "
        "{right:.4f}; yours is {got:.4f}. Silence first, then share the amplitude."
    ),
    praise="Nothing folds, and a note is as loud as it says, however high.",
)

EXERCISES: Mapping[str, Exercise] = {
    "ddsp.1": PHASE,
    "ddsp.2": WINDOWS,
    "ddsp.3": HARMONICS,
}
