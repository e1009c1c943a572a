"""The exercises of the chapter on sample-level CNNs."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from dl101.lab.exercise import Exercise, Function

# ---- 1: as deep as the excerpt is long ----------------------------------------------------------


def _depth(
    duration_s: float,
    sample_rate: int,
    m: int,
    *,
    stem: int = 1,
    enough: bool = True,
    unit: float = 1.0,
    whole: Callable[[float], float] = round,
) -> tuple[int, int]:
    """Return blocks and samples; ``stem`` is how many stages there are beside the blocks."""
    wanted = whole(unit * duration_s * sample_rate)
    n_stages = 1
    while m**n_stages < wanted:
        n_stages += 1
    if not enough and m**n_stages > wanted:
        n_stages -= 1
    return n_stages - stem, m**n_stages


def _by_logarithm(duration_s: float, sample_rate: int, m: int) -> tuple[int, int]:
    n_stages = round(math.log(duration_s * sample_rate, m))
    return n_stages - 1, m**n_stages


def _one_too_many(duration_s: float, sample_rate: int, m: int) -> tuple[int, int]:
    n_stages = math.floor(math.log(duration_s * sample_rate * 1.0000001, m)) + 1
    return n_stages - 1, m**n_stages


def _blocks_alone(duration_s: float, sample_rate: int, m: int) -> tuple[int, int]:
    n_blocks, n_samples = _depth(duration_s, sample_rate, m, stem=0)
    return n_blocks, n_samples


def _without_stem(duration_s: float, sample_rate: int, m: int) -> tuple[int, int]:
    n_blocks, n_samples = _depth(duration_s, sample_rate, m)
    return n_blocks, n_samples // m


def _multiple(duration_s: float, sample_rate: int, m: int) -> tuple[int, int]:
    """Take m * n for m ** n."""
    n_stages = math.ceil(round(duration_s * sample_rate) / m)
    return n_stages - 1, m * n_stages


def _excerpt_as_input(duration_s: float, sample_rate: int, m: int) -> tuple[int, int]:
    return _depth(duration_s, sample_rate, m)[0], round(duration_s * sample_rate)


def _other_depth(got: tuple, right: tuple, duration_s: float, sample_rate: int, m: int) -> str:
    place = 0 if got[0] != right[0] else 1
    return (
        f"For {duration_s:g} s at {sample_rate} Hz with m = {m} the number of "
        f"{('blocks', 'samples')[place]} should be {right[place]:g}, and is {got[place]:g}. "
        "Multiply m, once for the stem and once for each block, until the excerpt fits."
    )


DEPTH = Function(
    title="as deep as the excerpt is long",
    minutes=15,
    rubric={
        "the input is m for the stem times m for each block": 1,
        "the shortest input that holds the excerpt, exact powers included": 1,
    },
    right=_depth,
    # 3 s at 19 683 Hz: exactly three to the tenth; 2.7 s at 21 870 Hz: the same but for rounding
    cases=lambda: [
        (2.5, 22050, 3),
        (3.0, 19683, 3),
        (2.7, 21870, 3),
        (0.55, 11025, 3),
        (1.0, 16000, 2),
        (0.4, 16000, 5),
        (1.0, 4096, 4),
        (4.0, 8000, 3),
    ],
    returns="two whole numbers, the number of blocks and the number of samples",
    names=("blocks", "samples"),
    mistakes={
        "The stem is counted as a block: its stride divides by m as well, so there is one block "
        "less than factors of m.": _blocks_alone,
        "Your number of blocks is right, and your input is m ** blocks: the stem's stride is "
        "missing, one more factor of m.": _without_stem,
        "Your input is the longest that fits into the excerpt. Asked is the shortest that holds "
        "all of it; the rest is padded.": lambda *case: _depth(*case, enough=False),
        "You round the logarithm to the nearest: then the input is sometimes shorter than the "
        "excerpt. Take the next power that is not smaller.": _by_logarithm,
        "Where the excerpt is exactly a power of m you go one further: it fits already.": (
            _one_too_many
        ),
        "2.7 s at 21870 Hz are 59049 samples, a power of 3, but 2.7 * 21870 is a little more for "
        "the computer. Round the product before you compare.": (
            lambda *case: _depth(*case, whole=float)
        ),
        "Your number of blocks is right. The length of the input is asked beside it, a power of m, "
        "not the length of the excerpt.": _excerpt_as_input,
        "These are the samples and then the blocks; the blocks come first.": (
            lambda *case: _depth(*case)[::-1]
        ),
        "You work with 3 whatever m is.": lambda d, sample_rate, m: _depth(d, sample_rate, 3),
        "Each stage divides by m, so n of them divide by m ** n, not by m * n.": _multiple,
        "Durations are in seconds here, not in milliseconds.": (
            lambda *case: _depth(*case, unit=1e-3)
        ),
    },
    differs=_other_depth,
    praise="One factor of m for the stem, one for each block, until the excerpt fits.",
)

# ---- 2: squeeze, excite, scale ------------------------------------------------------------------


def _sigmoid(a: NDArray) -> NDArray:
    return 1 / (1 + np.exp(-a))


def _excite(
    x: NDArray,
    w1: NDArray,
    b1: NDArray,
    w2: NDArray,
    b2: NDArray,
    *,
    squeeze: Callable[[NDArray], NDArray] = lambda x: x.mean(axis=1),
    hidden: Callable[[NDArray], NDArray] = lambda a: np.maximum(a, 0),
    gate: Callable[[NDArray], NDArray] = _sigmoid,
    scale: Callable[[NDArray, NDArray], NDArray] = lambda x, s: x * s[:, None],
) -> NDArray:
    return scale(x, gate(w2 @ hidden(w1 @ squeeze(x) + b1) + b2))


def _excite_with(**options: Callable) -> Callable[..., NDArray]:
    return lambda *case: _excite(*case, **options)


def _softmax(a: NDArray) -> NDArray:
    return np.exp(a) / np.exp(a).sum()


def _frame_by_frame(x: NDArray, w1: NDArray, b1: NDArray, w2: NDArray, b2: NDArray) -> NDArray:
    hidden = np.maximum(w1 @ x + b1[:, None], 0)
    return x * _sigmoid(w2 @ hidden + b2[:, None])


def _without(*biases: int) -> Callable[..., NDArray]:
    """Return the answer that leaves out b1 (2), b2 (4) or both."""
    return lambda *case: _excite(
        *(0 * values if place in biases else values for place, values in enumerate(case))
    )


def _maps() -> list[tuple[NDArray, ...]]:
    cases = []
    for index, (n_channels, n_hidden, n_frames) in enumerate(((3, 2, 7), (4, 9, 5), (6, 3, 11))):
        rng = np.random.default_rng([111, 2, index])
        x = rng.normal(0.4, 1, (n_channels, n_frames))
        w1, w2 = (
            rng.normal(0, 1.5, (n_hidden, n_channels)),
            rng.normal(0, 1, (n_channels, n_hidden)),
        )
        cases.append((x, w1, rng.normal(0, 0.5, n_hidden), w2, rng.normal(0, 0.5, n_channels)))
    return cases


EXCITE = Function(
    title="squeeze, excite, scale",
    minutes=15,
    rubric={
        "one mean over time for each channel": 1,
        "ReLU inside, sigmoid outside": 1,
        "each channel times its gate": 1,
    },
    right=_excite,
    cases=_maps,
    returns="an array (channels, frames), as large as x",
    rtol=1e-5,
    atol=1e-7,
    mistakes={
        "You squeeze with the maximum over time; here it is the mean.": _excite_with(
            squeeze=lambda x: x.max(axis=1)
        ),
        "You squeeze with the sum over time: then a longer excerpt opens other gates. Take the "
        "mean.": _excite_with(squeeze=lambda x: x.sum(axis=1)),
        "Nothing was squeezed: you compute gates for every frame by itself. A channel has one "
        "gate for the whole excerpt, from its mean over time.": _frame_by_frame,
        "The ReLU between the two matrices is missing; without it they are one matrix.": (
            _excite_with(hidden=lambda a: a)
        ),
        "There is a sigmoid where the ReLU should be: it belongs to the second step alone.": (
            _excite_with(hidden=_sigmoid)
        ),
        "The sigmoid is missing: gates lie between 0 and 1.": _excite_with(gate=lambda a: a),
        "A softmax makes the channels share one unit of attention. Gates are independent of each "
        "other: a sigmoid for each.": _excite_with(gate=_softmax),
        "The gates are added. They multiply: a closed gate silences its channel.": (
            _excite_with(scale=lambda x, s: x + s[:, None])
        ),
        "You add the input again, x + s x. The scaled channels alone are asked (a residual block "
        "adds its own input elsewhere).": _excite_with(scale=lambda x, s: x * (1 + s[:, None])),
        "A bias is missing: b1 is added before the ReLU, b2 before the sigmoid.": (
            _without(2),
            _without(4),
            _without(2, 4),
        ),
        "There is a second ReLU, before the sigmoid: then no gate falls below one half.": (
            _excite_with(gate=lambda a: _sigmoid(np.maximum(a, 0)))
        ),
        "You squeeze all channels into one mean. Each channel has its own, over time.": (
            _excite_with(squeeze=lambda x: np.full(len(x), x.mean()))
        ),
        "These are the means times the gates; time is gone. Multiply x itself, frame by frame, by "
        "the gate of its channel.": _excite_with(
            scale=lambda x, s: np.repeat((x.mean(axis=1) * s)[:, None], x.shape[1], axis=1)
        ),
    },
    crash={
        ValueError: (
            "Two shapes do not fit. The mean runs over time, axis 1, and leaves one number for "
            "each channel; and to multiply x, (channels, frames), the gates need a second axis, "
            "gates[:, None].",
            _excite_with(scale=lambda x, s: x * s),
        ),
    },
    symptoms={
        "These are the gates, and only the gates. Multiply each channel of x by its own.": (
            lambda got, right, *_: np.ndim(got) == 1,
            _excite_with(scale=lambda x, s: s),
        ),
    },
    differs="In a hidden case the value at {at} should be {right:.4g} and is {got:.4g}. Mean over "
    "time, first matrix and bias, ReLU, second matrix and bias, sigmoid; then scale x.",
    praise="Three steps, one number for each channel: squeeze, excite, scale.",
)

# ---- 3: one step up -----------------------------------------------------------------------------


def _rms(x: NDArray) -> float:
    return float(np.sqrt(np.mean(np.square(x))))


def _step_up(
    x: NDArray,
    gradient: NDArray,
    step: float,
    *,
    size: Callable[[NDArray], float] = _rms,
    share: Callable[[NDArray], float] = _rms,
    direction: Callable[[NDArray], NDArray] = lambda g: g,
    level: Callable[[NDArray, NDArray], NDArray] = lambda y, x: y * (_rms(x) / _rms(y)),
) -> NDArray:
    up = direction(gradient)
    if not np.any(up):
        return x.copy()
    return level(x + step * share(x) * up / size(gradient), x)


def _step_with(**options: Callable) -> Callable[..., NDArray]:
    return lambda *case: _step_up(*case, **options)


def _slopes() -> list[tuple[NDArray, NDArray, float]]:
    cases = []
    for index, (n, level, slope, step) in enumerate(
        ((6, 0.3, 1e-4, 0.2), (50, 2.0, 30.0, 0.5), (9, 0.05, 1e-9, 1.5))
    ):
        rng = np.random.default_rng([111, 3, index])
        cases.append((level * rng.standard_normal(n), slope * rng.standard_normal(n), step))
    return cases


STEP = Function(
    title="one step up",
    minutes=15,
    rubric={
        "the gradient divided by its RMS, times the RMS of x and the step": 1,
        "upwards, and back to the level of x": 1,
        "a gradient of zeros leaves x as it is": 1,
    },
    right=_step_up,
    cases=_slopes,
    returns="an array as long as x",
    rtol=1e-5,
    mistakes={
        "You go down: gradient descent makes the activation smaller. Add the gradient.": (
            _step_with(direction=lambda g: -g)
        ),
        "The gradient is not divided by its RMS, so a step is tiny in one layer and enormous in "
        "another.": (
            _step_with(size=lambda g: 1.0),
            _step_with(size=lambda g: 1.0, share=lambda x: 1.0),
        ),
        "You add a small number to the RMS of the gradient: where gradients are small themselves, "
        "it shortens the step. Ask whether the gradient is zero instead.": tuple(
            _step_with(size=lambda g, small=small: _rms(g) + small)
            for small in (1e-6, 1e-7, 1e-8, 1e-9, 1e-10, 1e-12)
        ),
        "A standard deviation takes the mean away first; the RMS does not.": (
            _step_with(size=np.std, share=np.std),
            _step_with(size=np.std, share=np.std, level=lambda y, x: y * (x.std() / y.std())),
        ),
        "You divide by the gradient's norm, the root of the *sum* of squares: then the step "
        "shrinks with the length of the sound. RMS is the root of their mean.": (
            _step_with(size=lambda g: float(np.linalg.norm(g)))
        ),
        "You divide by the largest value of the gradient; its RMS is asked.": (
            _step_with(size=lambda g: float(np.abs(g).max()))
        ),
        "You divide by the mean square; the RMS is its root.": (
            _step_with(size=lambda g: float(np.mean(g**2)))
        ),
        "The step is a share of the RMS of x, so that soft and loud sounds move alike. That "
        "factor is missing.": _step_with(share=lambda x: 1.0),
        "You take the sign of the gradient. It is a way, but here the gradient keeps its shape "
        "and is divided by its RMS.": _step_with(direction=np.sign, size=lambda g: 1.0),
        "The result is louder than x: bring it back to the RMS of x, or the ascent only turns "
        "the volume up.": _step_with(level=lambda y, x: y),
        "You bring the result to RMS 1. It should keep the level that x had.": (
            _step_with(level=lambda y, x: y / _rms(y))
        ),
    },
    edges={
        "A gradient of zeros (a ReLU that is shut) has RMS 0, and you divide by it. Return x as "
        "it was.": (
            (np.array([0.2, -0.1, 0.4]), np.zeros(3), 0.5),
            lambda x, g, s: (y := x + s * _rms(x) * g / _rms(g)) * _rms(x) / _rms(y),
        ),
        "Here the gradient has a zero in one place, and its sum is zero, but it is not zero "
        "everywhere: there is a way up.": (
            (np.array([0.2, -0.1, 0.4]), np.array([1.0, 0.0, -1.0]), 0.5),
            lambda x, g, s: _step_up(x, g, s) if np.all(g) else x,
        ),
    },
    differs="In a hidden case the value at {at} should be {right:.4g} and is {got:.4g}. Add step "
    "times RMS of x times gradient over RMS of gradient, then restore the RMS of x.",
    praise="The same step fits every layer, and the sound never gets louder.",
)

EXERCISES: Mapping[str, Exercise] = {
    "sample_level.1": DEPTH,
    "sample_level.2": EXCITE,
    "sample_level.3": STEP,
}
