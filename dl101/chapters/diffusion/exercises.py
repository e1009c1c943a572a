"""The exercises of the chapter on latent flow."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dl101.lab.exercise import Exercise, Function

Pair = tuple[NDArray, NDArray]

# ---- 1: what the network is trained with --------------------------------------------------------


def _each(t: NDArray) -> NDArray:
    return t[:, None, None]


def _pair(
    *,
    times: Callable[[NDArray], Any] = _each,
    data: Callable[[Any], Any] = lambda t: 1 - t,
    noise: Callable[[Any], Any] = lambda t: t,
    target: Callable[..., NDArray] = lambda x0, z, x_t, t: x0 - z,
    swapped: bool = False,
) -> Callable[[NDArray, NDArray, NDArray], Pair]:
    """Return an answer from its choices."""

    def training_pair(x0: NDArray, z: NDArray, t: NDArray) -> Pair:
        t = times(t)
        x_t = data(t) * x0 + noise(t) * z
        v = target(x0, z, x_t, t)
        return (v, x_t) if swapped else (x_t, v)

    return training_pair


def _batches() -> list[tuple[NDArray, NDArray, NDArray]]:
    rng = np.random.default_rng([14, 1])
    # as many items as frames, so that times along the wrong axis don't stop the code
    shapes = ((3, 2, 3), (5, 4, 5), (6, 3, 6))
    return [(rng.normal(size=s), rng.normal(size=s), rng.uniform(size=s[0])) for s in shapes]


def _along_frames(t: NDArray) -> NDArray:
    return t[None, None, :]


PAIR = Function(
    title="a pair to train with",
    minutes=10,
    rubric={
        "the state is on the line from data at t = 0 to noise at t = 1": 1,
        "the velocity is data minus noise, for every time the same": 1,
        "each item of the batch has its own time, which holds for all its channels and frames": 1,
    },
    right=_pair(),
    cases=_batches,
    returns="x_t and v, two arrays (batch, channel, frame)",
    names=("x_t", "v"),
    mistakes={
        "The velocity has the wrong sign: it points from the noise to the data, x0 - z, and the "
        "state moves against it as t grows.": _pair(target=lambda x0, z, x_t, t: z - x0),
        "The velocity is x_t - z. That is (1 - t) (x0 - z): right in its direction, but it fades "
        "away near the noise. Data minus noise is asked.": (
            _pair(target=lambda x0, z, x_t, t: x_t - z)
        ),
        "The velocity is x0 - x_t, which is t (x0 - z): the way that is left. Asked is the way as "
        "a whole, x0 - z.": _pair(target=lambda x0, z, x_t, t: x0 - x_t),
        "The target is the noise: this would train a diffusion.": (
            _pair(target=lambda x0, z, x_t, t: z)
        ),
        "The target is the data; asked is the velocity, data minus noise.": (
            _pair(target=lambda x0, z, x_t, t: x0)
        ),
        "Time runs the wrong way: x_t must be the data at t = 0 and the noise at t = 1.": (
            _pair(data=lambda t: t, noise=lambda t: 1 - t)
        ),
        "The data are not faded: they count 1 - t.": _pair(data=lambda t: 1.0),
        "The noise is not faded in: it counts t.": _pair(noise=lambda t: 1.0),
        "You mix with square roots, which keeps the variance, as a diffusion does. A rectified "
        "flow goes along a straight line.": (
            _pair(data=lambda t: np.sqrt(1 - t), noise=lambda t: np.sqrt(t))
        ),
        "The times lie along the frames: item 0 is noisier from frame to frame. Give t two more "
        "axes, t[:, None, None], so that each item has its own.": _pair(times=_along_frames),
        "All items have the same time, the mean; each has its own.": (
            _pair(times=lambda t: t.mean())
        ),
        "All items have the time of the first one; each has its own.": (
            _pair(times=lambda t: t[0])
        ),
        "The two results are in the wrong order: first x_t, then v.": _pair(swapped=True),
    },
    crash={
        ValueError: (
            "(batch,) doesn't fit to (batch, channel, frame): the times need two more axes, "
            "t[:, None, None].",
            lambda x0, z, t: (x0[..., :-1] * t, x0),
        ),
    },
    differs="In a hidden case, part {at[0]} of (x_t, v) should be {right:.4g} at {at} and is "
    "{got:.4g}.",
    praise="Two lines, and all that the training of a rectified flow is.",
)

# ---- 2: the same measure for all -----------------------------------------------------------------


def _standardised(
    *,
    of: Callable[[NDArray, NDArray], tuple[NDArray, NDArray]] = lambda a, b: (a, a),
    axes: tuple[int, ...] | None = (0, 2),
    scale: Callable[[NDArray], NDArray] = lambda deviation: deviation,
    centre: bool = True,
    less: int = 0,
    swapped: bool = False,
) -> Callable[[NDArray, NDArray], Pair]:
    """Return an answer from its choices; ``of`` says whose statistics each side is given."""

    def standardised(train: NDArray, validation: NDArray) -> Pair:
        found = []
        for side, known in zip((train, validation), of(train, validation), strict=True):
            mean = known.mean(axis=axes, keepdims=True) if centre else 0.0
            found.append((side - mean) / scale(known.std(axis=axes, ddof=less, keepdims=True)))
        return (found[1], found[0]) if swapped else (found[0], found[1])

    return standardised


def _together(train: NDArray, validation: NDArray) -> tuple[NDArray, NDArray]:
    both = np.concatenate([train, validation])
    return both, both


def _sides() -> list[Pair]:
    rng = np.random.default_rng([14, 2])
    cases = []
    for n, m, channels, frames in ((8, 5, 2, 4), (12, 7, 3, 5), (9, 6, 4, 6)):
        level, width = rng.normal(0, 2, channels), rng.uniform(0.3, 3, channels)
        swell = np.linspace(0.4, 1.6, frames)  # frames are not alike
        parts = [
            level[:, None]
            + off
            + width[:, None] * swell * rng.normal(size=(size, channels, frames))
            for size, off in ((n, 0.0), (m, 0.7))
        ]
        cases.append((parts[0], parts[1]))
    return cases


MEASURE = Function(
    title="one measure for both sides",
    minutes=10,
    rubric={
        "mean and deviation are those of the training side, for both sides": 1,
        "one mean and one deviation for each channel, over notes and frames": 1,
    },
    right=_standardised(),
    cases=_sides,
    returns="the training side and the validation side, two arrays",
    names=("train", "validation"),
    mistakes={
        "Both sides are measured by the validation side. This is how the statistics of a tutorial "
        "were overwritten when its second data set was made: what is generated then comes out at "
        "the wrong level.": _standardised(of=lambda a, b: (b, b)),
        "Each side is measured by itself. Then the same latent is two different numbers on the two "
        "sides; use the training side's mean and deviation for both.": (
            _standardised(of=lambda a, b: (a, b))
        ),
        "The sides have changed roles: the training side is measured by the validation side, and "
        "the other way round.": _standardised(of=lambda a, b: (b, a)),
        "Mean and deviation are taken over both sides together. What is validated with must not be "
        "seen in training, not even as a mean.": _standardised(of=_together),
        "There is one mean and one deviation for all channels; each channel has its own.": (
            _standardised(axes=None)
        ),
        "Every frame has statistics of its own: take them over notes *and* frames, axes 0 and "
        "2.": _standardised(axes=(0,)),
        "Every note has statistics of its own, so that loud and soft notes become one: take them "
        "over notes and frames, axes 0 and 2.": _standardised(axes=(2,), of=lambda a, b: (a, b)),
        "The statistics are over notes and channels; asked is one for each channel.": (
            _standardised(axes=(0, 1))
        ),
        "You divide by the variance; asked is the deviation, its square root.": (
            _standardised(scale=np.square)
        ),
        "Your deviation divides by n - 1, as torch's std does; take the root of the mean square, "
        "as NumPy's std does.": _standardised(less=1),
        "The deviation is multiplied; divide by it.": _standardised(scale=np.reciprocal),
        "The mean is subtracted, but nothing is divided by the deviation.": (
            _standardised(scale=np.ones_like)
        ),
        "Nothing is subtracted: the mean must become 0.": _standardised(centre=False),
        "The two results are in the wrong order: first the training side.": (
            _standardised(swapped=True)
        ),
    },
    differs="In a hidden case the value of part {at[0]} at {at} should be {right:.4g} and is "
    "{got:.4g}.",
    praise="And they are stored with the weights, because generated latents have to go back.",
)

# ---- 3: two looks for a step --------------------------------------------------------------------


def _linear(x: NDArray, t: float) -> NDArray:
    return 1.5 - 0.8 * x


def _exact(x: NDArray, t: float) -> NDArray:
    variance = ((1 - t) * 0.5) ** 2 + t**2
    return 2.0 + ((1 - t) * 0.25 - t) / variance * (x - 2.0 * (1 - t))


def _bent(x: NDArray, t: float) -> NDArray:
    return np.sin(3 * t) - t * x


def _heun(
    *,
    second: Callable[..., NDArray] = lambda v, x, t, s, k: v(x + (t - s) * k, s),
    slope: Callable[[NDArray, NDArray], NDArray] = lambda first, second: (first + second) / 2,
    sign: float = 1.0,
    ends: Callable[[int], NDArray] = lambda n: np.linspace(1.0, 0.0, n + 1),
    width: Callable[[float, float, int], float] = lambda t, s, n: t - s,
) -> Callable[..., NDArray]:
    """Return an answer from its choices; ``second(v, x, t, s, k)`` is the second slope."""

    def heun(velocity: Callable[[NDArray, float], NDArray], z: NDArray, n_steps: int) -> NDArray:
        x = z.copy()
        times = ends(n_steps)
        for t, s in itertools.pairwise(times):
            first = velocity(x, t)
            k = slope(first, second(velocity, x, t, s, first))
            x = x + sign * width(t, s, n_steps) * k
        return x

    return heun


def _flows() -> list[tuple[Callable, NDArray, int]]:
    rng = np.random.default_rng([14, 3])
    cases = ((_linear, 3), (_exact, 5), (_bent, 4), (_exact, 1))
    return [(velocity, rng.normal(size=(4, 2)), n) for velocity, n in cases]


HEUN = Function(
    title="two looks for a step",
    minutes=15,
    rubric={
        "steps of equal length from t = 1 to t = 0, added because v points to the data": 1,
        "a trial step along the first velocity; a second velocity where and when it ends": 1,
        "the real step starts where the trial started, along the mean of both": 1,
    },
    right=_heun(),
    cases=_flows,
    returns="an array like z",
    mistakes={
        "The second velocity is missing, or it is the first one again: ask the network anew, where "
        "the trial step ends. As it is, this is Euler's method.": (
            _heun(second=lambda v, x, t, s, k: k)
        ),
        "The second velocity is taken where the step starts, at the later time only. Move x first: "
        "x + (t - s) * first.": _heun(second=lambda v, x, t, s, k: v(x, s)),
        "The second velocity is taken at the time where the step starts; where the trial ends, it "
        "is s.": _heun(second=lambda v, x, t, s, k: v(x + (t - s) * k, t)),
        "The trial step goes the wrong way.": (
            _heun(second=lambda v, x, t, s, k: v(x - (t - s) * k, s))
        ),
        "The two velocities are added up: take their mean.": (
            _heun(slope=lambda first, second: first + second)
        ),
        "You step along the second velocity alone; asked is the mean of both.": (
            _heun(slope=lambda first, second: second)
        ),
        "You look half a step ahead and step along that: the midpoint method, which is of order 2, "
        "too. Asked is Heun's: the mean of the velocities at both ends.": _heun(
            second=lambda v, x, t, s, k: v(x + (t - s) / 2 * k, (t + s) / 2),
            slope=lambda first, second: second,
        ),
        "You step away from the data: v points from the noise to the data, so a step from t to an "
        "earlier s *adds* (t - s) times it.": _heun(
            sign=-1.0, second=lambda v, x, t, s, k: v(x - (t - s) * k, s)
        ),
        "The trial step is right, the real one goes the wrong way.": _heun(sign=-1.0),
        "Time starts at 0, where the data are. Noise is at t = 1: go from 1 to 0.": _heun(
            ends=lambda n: np.linspace(0.0, 1.0, n + 1),
            second=lambda v, x, t, s, k: v(x + (s - t) * k, s),
            width=lambda t, s, n: s - t,
        ),
        "There is one step too few: n_steps steps have n_steps + 1 ends.": (
            _heun(ends=lambda n: np.linspace(1.0, 0.0, n) if n > 1 else np.array([1.0]))
        ),
        "There is one step too many.": _heun(ends=lambda n: np.linspace(1.0, 0.0, n + 2)),
        "The steps have length 1 each: divide the way by n_steps.": (
            _heun(
                width=lambda t, s, n: 1.0,
                second=lambda v, x, t, s, k: v(x + k, s),
            )
        ),
    },
    differs="In a hidden case with {2} steps the value at {at} should be {right:.4g} and is "
    "{got:.4g}.",
    praise="Twice the work for a step, and far fewer steps.",
)

# ---- 4: more of what was asked ------------------------------------------------------------------


def _weighted(told: Callable[[float], float], plain: Callable[[float], float]) -> Callable:
    """Return an answer from what it counts of each velocity."""
    return lambda v_told, v_plain, weight: told(weight) * v_told + plain(weight) * v_plain


def _velocities() -> list[tuple[NDArray, NDArray, float]]:
    rng = np.random.default_rng([14, 4])
    weights = (2.0, 0.0, 1.0, 3.5, 1.5)
    return [(rng.normal(size=(3, 4)), rng.normal(size=(3, 4)), weight) for weight in weights]


GUIDANCE = Function(
    title="more of what was asked",
    minutes=5,
    rubric={
        "weight 0 ignores the condition, weight 1 is the told network": 1,
        "more than 1 goes on along the difference of the two": 1,
    },
    right=_weighted(lambda w: w, lambda w: 1 - w),
    cases=_velocities,
    returns="an array like v_told",
    mistakes={
        "You count from 0 what is asked to count from 1: this is (1 + w) told - w plain, as in the "
        "first paper, where w = 0 is the told network. Here weight 1 is.": (
            _weighted(lambda w: 1 + w, lambda w: -w)
        ),
        "The two have changed places: weight 1 must give the told velocity.": (
            _weighted(lambda w: 1 - w, lambda w: w)
        ),
        "The weighted velocity is added to the plain one. What is weighted is the *difference*: "
        "plain + weight * (told - plain).": _weighted(lambda w: w, lambda w: 1.0),
        "The plain velocity is missing: this is only the told one, made longer.": (
            _weighted(lambda w: w, lambda w: 0.0)
        ),
        "This is the weighted difference alone; it is added to the plain velocity.": (
            _weighted(lambda w: w, lambda w: -w)
        ),
        "The difference has the wrong sign: you walk away from what was asked.": (
            _weighted(lambda w: -w, lambda w: 1 + w)
        ),
        "You take a mean of the two, which never exaggerates: divide by nothing.": (
            _weighted(lambda w: w / (1 + w), lambda w: 1 / (1 + w))
        ),
        "The weight is ignored: this is the told velocity.": (
            _weighted(lambda w: 1.0, lambda w: 0.0)
        ),
    },
    differs="In a hidden case with the weight {2:g} the value at {at} should be {right:.4g} and is "
    "{got:.4g}.",
    praise="One line, and the most used trick of the trade.",
)

EXERCISES: Mapping[str, Exercise] = {
    "diffusion.1": PAIR,
    "diffusion.2": MEASURE,
    "diffusion.3": HEUN,
    "diffusion.4": GUIDANCE,
}
