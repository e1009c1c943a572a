"""The exercises of the chapter on poolings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dl101.lab.exercise import Exercise, Function

# ---- 1: from the mean to the maximum -------------------------------------------------------------


def softmax(scores: NDArray, axis: Any = -1) -> NDArray:
    """Return weights that add up to 1 along an axis; no score is too large."""
    powers = np.exp(scores - scores.max(axis=axis, keepdims=True))
    return powers / powers.sum(axis=axis, keepdims=True)


def auto_pool(x: NDArray, alpha: float) -> NDArray:
    """Return the mean over the last axis with weights softmax(alpha x), (batch, channel)."""
    return (softmax(alpha * x) * x).sum(axis=-1)


def _plain_exponentials(x: NDArray, alpha: float) -> NDArray:
    powers = np.exp(alpha * x)
    return (powers / powers.sum(axis=-1, keepdims=True) * x).sum(axis=-1)


def _sequences() -> list[tuple[NDArray, float]]:
    rng = np.random.default_rng([18, 1])
    cases: list[tuple[NDArray, float]] = [(np.array([[[0.0, 1.0]]]), 2.0)]
    shapes = ((2, 3, 4, 0.7), (3, 2, 7, 2.5), (4, 4, 4, 3.0), (2, 5, 6, -1.5))
    return cases + [(rng.uniform(0.1, 1.9, (b, c, t)), alpha) for b, c, t, alpha in shapes]


AUTO_POOL = Function(
    title="from the mean to the maximum",
    minutes=10,
    rubric={
        "weights are a softmax of alpha times x, over time and nothing else": 2,
        "the weighted sum over time, for values of any size": 1,
    },
    right=auto_pool,
    cases=_sequences,
    returns="an array (batch, channel)",
    mistakes={
        "alpha is not used: this is the pooling with the usual softmax, alpha = 1.": (
            lambda x, alpha: auto_pool(x, 1.0)
        ),
        "This is the mean. The weights must depend on the values.": lambda x, alpha: x.mean(-1),
        "This is the maximum, where alpha goes to infinity.": lambda x, alpha: x.max(-1),
        "alpha multiplies the result. It belongs inside, before the softmax.": (
            lambda x, alpha: alpha * auto_pool(x, 1.0)
        ),
        "You divide by alpha, as by a temperature; here alpha multiplies.": (
            lambda x, alpha: auto_pool(x, 1 / alpha)
        ),
        "alpha has the wrong sign: a positive one must favour large values.": (
            lambda x, alpha: auto_pool(x, -alpha)
        ),
        "The weights add up to 1 over channels; they must do so over time, the last axis.": (
            lambda x, alpha: (softmax(alpha * x, axis=1) * x).sum(axis=-1)
        ),
        "The weights add up to 1 over the whole array; each channel of each item of the batch "
        "has its own.": lambda x, alpha: (softmax(alpha * x, axis=(0, 1, 2)) * x).sum(axis=-1),
        "You divide by the number of frames as well: weights that add up to 1 need no more.": (
            lambda x, alpha: (softmax(alpha * x) * x).mean(axis=-1)
        ),
        "The exponentials are not divided by their sum, so they are no weights.": (
            lambda x, alpha: (np.exp(alpha * x) * x).sum(axis=-1)
        ),
        "You pool alpha times x; alpha belongs to the weights only.": (
            lambda x, alpha: (softmax(alpha * x) * alpha * x).sum(axis=-1)
        ),
        "You raise the values to the power alpha. The weights are exponentials.": (
            lambda x, alpha: (x**alpha / (x**alpha).sum(-1, keepdims=True) * x).sum(-1)
        ),
        "This is the logarithm of a mean of exponentials, another way from mean to maximum. Asked "
        "is the weighted mean.": lambda x, alpha: np.log(np.exp(alpha * x).mean(-1)) / alpha,
        "You keep the axis of time, with length 1; it is to go.": (
            lambda x, alpha: auto_pool(x, alpha)[..., None]
        ),
    },
    edges={
        "With alpha = 50 and values near 40 the exponentials are too large for floating point. "
        "Subtract the largest exponent before: the weights stay the same.": (
            (np.array([[[40.0, 39.9, 10.0], [40.0, 40.0, 40.0]]]), 50.0),
            _plain_exponentials,
        ),
    },
    differs="In a hidden case, alpha = {1}, the value at {at} should be {right:.4g}; yours is "
    "{got:.4g}.",
    praise="One number goes from the mean, at 0, to the maximum.",
)

# ---- 2: clips of different lengths ---------------------------------------------------------------


def masked(values: NDArray, scores: NDArray, lengths: NDArray) -> NDArray:
    """Return the means weighted by the softmax of scores, over the first frames only, (batch,)."""
    inside = np.arange(values.shape[1]) < np.asarray(lengths)[:, None]
    return (softmax(np.where(inside, scores, -np.inf)) * np.where(inside, values, 0)).sum(axis=1)


def _with(
    scores_outside: Callable[[NDArray], Any] | None = None,
    values_outside: Callable[[NDArray], Any] | None = None,
    late: int = 0,
) -> Callable[[NDArray, NDArray, NDArray], NDArray]:
    """Return an answer that puts something else in the frames outside."""

    def pooled(values: NDArray, scores: NDArray, lengths: NDArray) -> NDArray:
        inside = np.arange(values.shape[1]) < np.asarray(lengths)[:, None] + late
        if scores_outside is not None:
            scores = np.where(inside, scores, scores_outside(scores))
        if values_outside is not None:
            values = np.where(inside, values, values_outside(values))
        return (softmax(scores) * values).sum(axis=1)

    return pooled


def _not_scaled_again(values: NDArray, scores: NDArray, lengths: NDArray) -> NDArray:
    inside = np.arange(values.shape[1]) < np.asarray(lengths)[:, None]
    return (softmax(scores) * inside * values).sum(axis=1)


def _mean_inside(values: NDArray, scores: NDArray, lengths: NDArray) -> NDArray:
    inside = np.arange(values.shape[1]) < np.asarray(lengths)[:, None]
    return (inside * values).sum(axis=1) / inside.sum(axis=1)


def _over_the_batch(values: NDArray, scores: NDArray, lengths: NDArray) -> NDArray:
    inside = np.arange(values.shape[1]) < np.asarray(lengths)[:, None]
    scores = np.where(inside, scores, -np.inf)
    powers = np.exp(scores)
    return (powers / powers.sum(axis=0).clip(1e-300) * np.where(inside, values, 0)).sum(axis=1)


def _clips() -> list[tuple[NDArray, NDArray, NDArray]]:
    rng = np.random.default_rng([18, 2])
    cases = [
        (
            np.array([[1.0, 3.0, 5.0], [2.0, 4.0, 6.0]]),
            np.array([[0.5, 0.2, 0.9], [-0.3, 0.4, 0.8]]),
            np.array([2, 3]),
        )
    ]
    for batch, frames in ((3, 5), (4, 4), (3, 9)):
        lengths = rng.integers(1, frames, batch)
        lengths[-1] = frames  # one that fills its row
        shape = (batch, frames)
        cases.append((rng.normal(2, 1, shape), rng.normal(-0.5, 1, shape), lengths))
    return cases


MASKED = Function(
    title="clips of different lengths",
    minutes=15,
    rubric={
        "frames from the length on have no weight at all": 2,
        "the weights of the frames before add up to 1, clip by clip": 1,
    },
    right=masked,
    cases=_clips,
    returns="one number for each clip, (batch,)",
    mistakes={
        "The lengths are not used: what fills a short clip up is pooled along.": _with(),
        "You set the scores outside to 0, and exp(0) is 1: these frames still get weight. Only a "
        "score of minus infinity has none.": _with(lambda scores: 0.0),
        "You set scores and values outside to 0. The values are gone, but exp(0) = 1 still stands "
        "in the sum that the weights are divided by.": _with(lambda s: 0.0, lambda v: 0.0),
        "You set the values outside to 0, or leave them out of the sum. Their weights remain, and "
        "what is left adds up to less than 1: leave them out before the softmax.": (
            _with(None, lambda values: 0.0),
            _not_scaled_again,
        ),
        "You divide by the lengths as well: weights that add up to 1 need no more.": (
            lambda values, scores, lengths: masked(values, scores, lengths) / lengths
        ),
        "One frame too many: a clip of length n has frames 0 to n - 1.": _with(
            lambda scores: -np.inf, late=1
        ),
        "The last frame of each clip is missing: a clip of length n has frames 0 to n - 1.": (
            lambda values, scores, lengths: masked(values, scores, np.maximum(lengths - 1, 1))
        ),
        "The lengths are right, but all frames before count alike: use the scores.": _mean_inside,
        "The weights add up to 1 over the clips of the batch; they must over time.": (
            _over_the_batch
        ),
        "You cut all clips to the shortest one.": (
            lambda values, scores, lengths: _with()(
                values[:, : min(lengths)], scores[:, : min(lengths)], lengths
            )
        ),
        "Values and scores have changed places.": (
            lambda values, scores, lengths: masked(scores, values, lengths)
        ),
        "You mask the frames before the length, and pool what fills the clips up.": (
            lambda values, scores, lengths: _with(lambda s: s)(
                values,
                np.where(np.arange(values.shape[1]) < lengths[:, None], -60.0, scores),
                lengths,
            )
        ),
    },
    differs="In a hidden case, lengths {2}, the value at {at} should be {right:.4g}; yours is "
    "{got:.4g}.",
    praise="Silence that only fills up a batch has no say.",
)

# ---- 3: who learns -------------------------------------------------------------------------------


def gradient(x: NDArray, alpha: float) -> NDArray:
    """Return the derivative of the auto-pooled value by each of the frames, (time,)."""
    weights = softmax(alpha * x)
    return weights * (1 + alpha * (x - weights @ x))


def _frames() -> list[tuple[NDArray, float]]:
    rng = np.random.default_rng([18, 3])
    cases: list[tuple[NDArray, float]] = [(np.array([0.2, 0.9]), 2.0)]
    cases += [(rng.uniform(0, 1, n), alpha) for n, alpha in ((4, 0.5), (6, 3.0), (8, 7.0))]
    return cases


def _by(weights: NDArray, x: NDArray, alpha: float, centre: float, one: float = 1.0) -> NDArray:
    return weights * (one + alpha * (x - centre))


GRADIENT = Function(
    title="who learns",
    minutes=20,
    rubric={
        "the value itself pulls with its weight": 1,
        "the weights move too: alpha times the distance from the pooled value": 2,
    },
    right=gradient,
    cases=_frames,
    returns="one number for each frame, (time,)",
    mistakes={
        "You take the weights for constants. They depend on x, so they move as well.": (
            lambda x, alpha: softmax(alpha * x)
        ),
        "alpha is missing before the difference: it comes out of the exponent.": (
            lambda x, alpha: _by(softmax(alpha * x), x, 1.0, softmax(alpha * x) @ x)
        ),
        "You compare with the plain mean; it is the pooled value that is subtracted.": (
            lambda x, alpha: _by(softmax(alpha * x), x, alpha, x.mean())
        ),
        "You compare with the maximum; it is the pooled value that is subtracted.": (
            lambda x, alpha: _by(softmax(alpha * x), x, alpha, x.max())
        ),
        "The pooled value is not subtracted: the sum of the exponentials grows with x too.": (
            lambda x, alpha: _by(softmax(alpha * x), x, alpha, 0.0)
        ),
        "The 1 is missing: a value counts by itself, not only through its weight.": (
            lambda x, alpha: _by(softmax(alpha * x), x, alpha, softmax(alpha * x) @ x, 0.0)
        ),
        "The difference has the wrong sign: frames above the pooled value gain weight.": (
            lambda x, alpha: _by(softmax(alpha * x), x, -alpha, softmax(alpha * x) @ x)
        ),
        "The weights are missing before the bracket.": (
            lambda x, alpha: 1 + alpha * (x - softmax(alpha * x) @ x)
        ),
        "These are the weights of alpha = 1.": (
            lambda x, alpha: _by(softmax(x), x, alpha, softmax(x) @ x)
        ),
        "You treat each weight as if it depended on its own frame alone: the factor 1 - w belongs "
        "to a softmax's own derivative, and the other weights move too.": (
            lambda x, alpha: softmax(alpha * x) * (1 + alpha * x * (1 - softmax(alpha * x)))
        ),
        "This is the derivative by alpha, one number; asked is the one by each frame.": (
            lambda x, alpha: softmax(alpha * x) @ x**2 - (softmax(alpha * x) @ x) ** 2
        ),
    },
    differs="In a hidden case the derivative by frame {at} should be {right:.4g}; yours is "
    "{got:.4g}.",
    atol=1e-5,
    praise="They add up to 1, but some can be negative: low frames are pushed down.",
)

EXERCISES: Mapping[str, Exercise] = {
    "pooling.1": AUTO_POOL,
    "pooling.2": MASKED,
    "pooling.3": GRADIENT,
}
