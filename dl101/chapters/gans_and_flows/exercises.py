"""The exercises of the chapter on adversarial networks and flows for sound."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from dl101.lab.exercise import Exercise, Function

# ---- 1: how fast a phase turns -------------------------------------------------------------------


def _moves(
    *,
    axis: int = 1,
    unwrap: bool = True,
    first: Callable[[NDArray], NDArray] = lambda phase: phase[:, :1],
    unit: float = np.pi,
) -> Callable[[NDArray], NDArray]:
    """Return the right function (the defaults) or one that takes phases otherwise."""

    def answer(phase: NDArray) -> NDArray:
        found = np.unwrap(phase, axis=axis) if unwrap else phase
        return np.concatenate([first(phase), np.diff(found, axis=1)], axis=1) / unit

    return answer


def _phases() -> list[tuple]:
    rng = np.random.default_rng([191, 1])
    cases: list[tuple] = [(np.array([[0.5, 2.5, -1.8]]),)]
    for bins, frames in ((3, 6), (5, 12), (8, 20)):
        steady = np.cumsum(rng.uniform(-3, 3, (bins, 1)) + rng.normal(0, 0.1, (bins, frames)), 1)
        cases.append((np.angle(np.exp(1j * steady)),))
    return cases


MOVES = Function(
    title="how fast a phase turns",
    minutes=15,
    rubric={
        "steps between frames that pass half a turn are taken the short way round": 2,
        "frames are compared with the frame before, bins with nothing": 1,
        "the first frame keeps its own phase, and the unit is half a turn": 1,
    },
    right=_moves(),
    cases=_phases,
    returns="an array of the shape of phase",
    mistakes={
        "You take the differences of phases as they are. Where a phase passes half a turn it jumps "
        "by a whole one: unwrap it first.": _moves(unwrap=False),
        "You unwrap along the bins. Neighbouring bins are no moments: go along the frames.": (
            _moves(axis=0),
            lambda phase: np.diff(np.unwrap(phase, axis=0), axis=1, prepend=0) / np.pi,
        ),
        "You compare bins with bins. Compare each frame with the frame before: axis 1.": (
            lambda phase: np.diff(np.unwrap(phase, axis=1), axis=0, prepend=0) / np.pi,
            lambda phase: np.diff(np.unwrap(phase, axis=0), axis=0, prepend=0) / np.pi,
        ),
        "Your first frame is still in radians: divide it by pi, too.": lambda phase: np.concatenate(
            [phase[:, :1], np.diff(np.unwrap(phase, axis=1), axis=1) / np.pi], axis=1
        ),
        "This is in radians a frame; asked are half turns, so divide by pi.": _moves(unit=1.0),
        "This is in whole turns a frame; asked are half turns, from -1 to 1.": (
            _moves(unit=2 * np.pi)
        ),
        "Your first frame is 0, so nobody can find the phases again. Keep its phase there.": (
            _moves(first=lambda phase: 0 * phase[:, :1])
        ),
        "This is the unwrapped phase itself, which grows and grows. Asked is how far it moves in "
        "each frame.": lambda phase: np.unwrap(phase, axis=1) / np.pi,
        "You always go forwards, from 0 to 2. A step of more than half a turn forwards is a "
        "shorter one backwards.": lambda phase: (
            np.concatenate([phase[:, :1], np.diff(phase, axis=1) % (2 * np.pi)], axis=1) / np.pi
        ),
        "The sign is wrong: take this frame minus the one before.": lambda phase: (
            np.concatenate([phase[:, :1], -np.diff(np.unwrap(phase, axis=1), axis=1)], axis=1)
            / np.pi
        ),
        "You take the modulus of each step's size, so all phases move forwards.": lambda phase: (
            np.concatenate([phase[:, :1], np.abs(np.diff(np.unwrap(phase, axis=1), axis=1))], 1)
            / np.pi
        ),
    },
    differs="With the phases {0}: {right:.4f} at {at}, yours {got:.4f}.",
    praise="A steady partial has become a constant, which a convolution can learn.",
)

# ---- 2: what a sound costs -----------------------------------------------------------------------

Look = Callable[[NDArray], tuple[NDArray, NDArray]]


def _density(
    *,
    volume: Callable[[NDArray], float] = lambda s: float(s.sum()),
    moved: Callable[[NDArray, NDArray, NDArray], NDArray] = lambda x, s, t: x * np.exp(s) + t,
    counted: Callable[[NDArray, NDArray], list[NDArray]] = lambda kept, z: [kept, z],
    constant: float = np.log(2 * np.pi),
    over: Callable[[NDArray], float] = lambda x: 1.0,
    exchanged: bool = False,
) -> Callable[[NDArray, Look], float]:
    """Return the right function (the defaults) or one with another change of variables."""

    def answer(x: NDArray, look: Look) -> float:
        n = len(x) // 2
        kept, changed = (x[n:], x[:n]) if exchanged else (x[:n], x[n:])
        log_scale, shift = look(kept)
        z = moved(changed, log_scale, shift)
        normal = sum(-0.5 * float(np.sum(v**2 + constant)) for v in counted(kept, z))
        return (normal + volume(log_scale)) / over(x)

    return answer


def _looked() -> list[tuple]:
    rng = np.random.default_rng([191, 2])

    def look_of(n: int) -> Look:
        scale, shift = rng.normal(0, 0.7, (2, n, n))
        offset = rng.normal(0.4, 0.3, (n, 1))
        return lambda kept: (np.tanh(scale @ kept) + offset, shift @ kept)

    cases = []
    for n, time in ((1, 2), (2, 4), (4, 8)):
        cases.append((rng.standard_normal((2 * n, time)), look_of(n)))
    return cases


DENSITY = Function(
    title="what a sound costs",
    minutes=20,
    rubric={
        "the second half is scaled by exp(log_scale) and then shifted": 1,
        "both halves count under the normal distribution, with its constant": 1,
        "the log determinant, the sum of the log scales, is added": 2,
    },
    right=_density(),
    cases=_looked,
    returns="one number, the log density in nats",
    mistakes={
        "The determinant is missing. A layer that makes everything small lands near 0, where the "
        "normal distribution is highest: add the logarithm of how much it changes volumes.": (
            _density(volume=lambda s: 0.0)
        ),
        "The determinant has the wrong sign. It is that of z by x: where the layer stretches, "
        "densities of x are higher than those of z.": _density(volume=lambda s: -float(s.sum())),
        "You add the scales themselves. The determinant is their product, and its logarithm the "
        "sum of the *log* scales.": _density(volume=lambda s: float(np.exp(s).sum())),
        "You add the mean of the log scales. Every number has a factor: add them all up.": (
            _density(volume=lambda s: float(s.mean()))
        ),
        "You go the way that makes sounds (minus the shift, divided by the scale). Here the sound "
        "is given: multiply, then shift.": (
            _density(moved=lambda x, s, t: (x - t) * np.exp(-s)),
            _density(moved=lambda x, s, t: (x - t) * np.exp(-s), volume=lambda s: -float(s.sum())),
        ),
        "You shift first and scale then; the layer scales first.": (
            _density(moved=lambda x, s, t: (x + t) * np.exp(s))
        ),
        "You scale by the log scale itself; take its exponential.": (
            _density(moved=lambda x, s, t: x * s + t)
        ),
        "Only the half that was changed is counted. The kept half is part of z, too.": (
            _density(counted=lambda kept, z: [z])
        ),
        "The constant of the normal distribution is missing: log(2 pi) for each number.": (
            _density(constant=0.0)
        ),
        "This is minus the log density, a loss: without the minus sign, please.": lambda x, look: (
            -_density()(x, look)
        ),
        "This is a mean over the numbers; the density of the whole sound is asked.": (
            _density(over=lambda x: float(x.size)),
            lambda x, look: (_density()(x, look) - _volume(x, look)) / x.size + _volume(x, look),
        ),
        "This is in bits: leave the logarithms natural.": lambda x, look: (
            _density()(x, look) / np.log(2)
        ),
        "You split into every other channel. The first half is the channels before the middle.": (
            lambda x, look: _density()(np.concatenate([x[::2], x[1::2]]), look)
        ),
        "The halves have changed places: the *first* is looked at and kept.": (
            _density(exchanged=True)
        ),
        "A half is missing: the exponent of the normal distribution is -z**2 / 2.": (
            lambda x, look: _density()(x, look) - 0.5 * _squares(x, look)
        ),
    },
    differs="With x of {0.shape[0]} channels, it should be {right:.4f}; yours is {got:.4f}.",
    praise="Exact, and no integral: that is what the layers are made for.",
)


def _squares(x: NDArray, look: Look) -> float:
    n = len(x) // 2
    log_scale, shift = look(x[:n])
    return float(np.sum(x[:n] ** 2) + np.sum((x[n:] * np.exp(log_scale) + shift) ** 2))


def _volume(x: NDArray, look: Look) -> float:
    return float(look(x[: len(x) // 2])[0].sum())


# ---- 3: a phase shuffle --------------------------------------------------------------------------

Shuffle = Callable[[NDArray, int], NDArray]


def _shuffle(mode: str = "reflect", *, sign: int = 1, axis: int = 1) -> Shuffle:
    """Return the right function (the defaults) or one with other ends."""

    def answer(x: NDArray, shift: int) -> NDArray:
        if shift == 0:
            return x
        reach, n = abs(shift), x.shape[axis]
        pads = [(0, 0), (0, 0)]
        pads[axis] = (reach, reach)
        padded = np.pad(x, pads, mode=mode)
        start = reach - sign * shift
        return np.take(padded, range(start, start + n), axis=axis)

    return answer


def _repeated(x: NDArray, shift: int) -> NDArray:
    n = abs(shift)
    if shift > 0:
        return np.concatenate([x[:, 1 : n + 1], x[:, :-n]], axis=1)
    return np.concatenate([x[:, n:], x[:, -n - 1 : -1]], axis=1) if n else x


def _activations() -> list[tuple]:
    rng = np.random.default_rng([191, 3])
    cases: list[tuple] = [(np.array([[1.0, 2.0, 4.0, 8.0, 16.0]]), 1)]
    cases += [
        (rng.standard_normal(shape), shift)
        for shape, shift in (((4, 9), 2), ((5, 8), -1), ((4, 12), -3), ((3, 6), 0))
    ]
    return cases


SHUFFLE = Function(
    title="a phase shuffle",
    minutes=15,
    rubric={
        "a positive shift moves to the right, a negative one to the left": 1,
        "all channels of a moment move together, along time": 1,
        "what is missing at the end is mirrored, without the end itself once more": 2,
    },
    right=_shuffle(),
    cases=_activations,
    returns="an array of the shape of x",
    mistakes={
        "You fill the gap with zeros. A critic sees them at once, and they say how far you moved: "
        "mirror what is there.": _shuffle("constant"),
        "What falls off at one end comes in at the other. Time is no circle: mirror instead.": (
            _shuffle("wrap")
        ),
        "You repeat the value at the end. Mirror what stands before it.": _shuffle("edge"),
        "Your mirror repeats the end itself: ... 2 1 | 1 2 ... should be ... 3 2 | 1 2 3 ...": (
            _shuffle("symmetric")
        ),
        "You move the other way: a positive shift goes to the right, out[t] = x[t - shift].": (
            _shuffle(sign=-1)
        ),
        "You move channels, not moments: time is the last axis.": _shuffle(axis=0),
        "You fill the gap with its neighbours in their own order. A mirror turns them round.": (
            _repeated
        ),
        "Nothing moves.": lambda x, shift: x,
        "You cut the signal off and don't fill it up again: keep its length.": lambda x, shift: (
            x[:, : x.shape[1] - shift] if shift > 0 else x[:, -shift:]
        ),
        "You mirror the whole signal in time.": lambda x, shift: x[:, ::-1],
    },
    differs="With x = {0} and a shift of {1}: {right:.4f} at {at}, yours {got:.4f}.",
    praise="The critic now sees what a sound is, and less of when it is.",
)

EXERCISES: Mapping[str, Exercise] = {
    "gans_and_flows.1": MOVES,
    "gans_and_flows.2": DENSITY,
    "gans_and_flows.3": SHUFFLE,
}
