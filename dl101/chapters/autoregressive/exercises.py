"""The exercises of the chapter on language models of codec tokens."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from dl101.lab.exercise import Exercise, Function

# ---- 1: attention that does not look ahead ------------------------------------------------------


def _softmax(x: NDArray, axis: int = -1) -> NDArray:
    with np.errstate(invalid="ignore"):  # a row that sees nothing has no answer
        e = np.exp(x - x.max(axis=axis, keepdims=True))
        return e / e.sum(axis=axis, keepdims=True)


def _attention(
    *,
    first_hidden: int | None = 1,
    hidden: float = -np.inf,
    scale: Callable[[int], float] = lambda n: n**0.5,
    axis: int = -1,
    mask_after: bool = False,
    turned: bool = False,
    products: Callable[[NDArray, NDArray], NDArray] = lambda q, k: q @ k.T,
) -> Callable[..., NDArray]:
    """Return the right function (the defaults) or one that misreads attention."""

    def attention(queries: NDArray, keys: NDArray, values: NDArray) -> NDArray:
        logits = products(queries, keys) / scale(queries.shape[1])
        n = len(queries)
        masked = np.zeros((n, n), bool)
        if first_hidden is not None:
            masked = np.triu(np.ones((n, n), bool), first_hidden)
        masked = masked.T if turned else masked
        if mask_after:
            return (_softmax(logits) * ~masked) @ values
        return _softmax(np.where(masked, hidden, logits), axis) @ values

    return attention


def _sequence(seed: int, n: int, width: int, out: int) -> tuple[NDArray, NDArray, NDArray]:
    rng = np.random.default_rng(seed)
    return (*rng.standard_normal((2, n, width)) * 1.5, rng.standard_normal((n, out)))


ATTENTION = Function(
    title="attention that does not look ahead",
    minutes=20,
    rubric={
        "products of queries and keys, divided by the root of the width": 1,
        "a position sees itself and those before it, no later one": 1,
        "hidden positions have no share: the others' shares sum to 1": 1,
    },
    right=_attention(),
    cases=lambda: [
        _sequence(0, 5, 4, 4),
        _sequence(1, 3, 9, 2),
        _sequence(2, 8, 2, 3),
        _sequence(3, 1, 4, 4),
        _sequence(4, 12, 16, 5),
    ],
    returns="an array (position, channel), as long as the queries and as wide as the values",
    mistakes={
        "The mask is off by one: each position sees the next one too, which is the very token that "
        "it is to predict. In training the loss falls to nearly nothing, in generation there is "
        "nothing to copy.": _attention(first_hidden=2),
        "The mask is off by one: a position does not see itself, and the first one sees nothing at "
        "all.": (
            _attention(first_hidden=0),
            _attention(first_hidden=0, hidden=-1e9),
            _attention(first_hidden=0, hidden=-1e4),
        ),
        "Nothing is hidden: every position sees the whole sequence, its future included.": (
            _attention(first_hidden=None)
        ),
        "The mask is turned round: positions see what comes after them.": _attention(turned=True),
        "The products are not divided by the root of the width.": _attention(scale=lambda n: 1.0),
        "The products are divided by the width itself; its square root is asked.": (
            _attention(scale=lambda n: float(n))
        ),
        "The products are divided by the root of the number of positions; that of channels is "
        "asked.": _attention(products=lambda q, k: q @ k.T * (q.shape[1] / len(q)) ** 0.5),
        "The softmax runs over the queries. Each query shares its attention among the keys: the "
        "last axis.": (_attention(axis=0)),
        "Hidden positions get the logit 0, which is no small number: exp(0) = 1. Minus infinity "
        "takes them out.": _attention(hidden=0.0),
        "The mask comes after the softmax, so that the shares of what is seen no longer sum to "
        "1.": _attention(mask_after=True),
        "Queries and keys have changed places.": _attention(products=lambda q, k: k @ q.T),
    },
    differs="Of a sequence of {0.shape[0]}, value {at} should be {right:.3f} and is {got:.3f}.",
    praise="So one pass trains all positions at once, and none sees its own answer.",
)

# ---- 2: one sequence, and where it begins -------------------------------------------------------


def _prepared(
    *,
    start: Callable[[int, int], int] = lambda k, n: k * n,
    rows: Callable[[int, int], int] = lambda k, n: k * n + 1,
    by_frame: bool = True,
    raised: Callable[[NDArray, int], NDArray] = lambda codes, n: (
        codes + n * np.arange(len(codes))[:, None]
    ),
    pair: Callable[[NDArray, int], tuple[NDArray, NDArray]] = lambda row, s: (
        np.concatenate([[s], row[:-1]]),
        row,
    ),
) -> Callable[..., tuple]:
    """Return the right function (the defaults) or one that misplaces tokens."""

    def prepare(codes: NDArray, n_codes: int) -> tuple:
        tokens = raised(codes, n_codes)
        row = (tokens.T if by_frame else tokens).ravel()
        inputs, targets = pair(row, start(len(codes), n_codes))
        return inputs, targets, rows(len(codes), n_codes)

    return prepare


def _codes(seed: int, n_stages: int, n_frames: int, n_codes: int) -> tuple[NDArray, int]:
    codes = np.random.default_rng(seed).integers(0, n_codes, (n_stages, n_frames))
    codes[0, 0] = 0  # a note may well begin with code 0
    return codes, n_codes


def _raised_from_one(codes: NDArray, n_codes: int) -> NDArray:
    return codes + n_codes * np.arange(1, len(codes) + 1)[:, None]


def _by_sight(codes: NDArray, n_codes: int) -> tuple:
    inputs, targets, _ = _prepared()(codes, n_codes)
    start = int(targets.max()) + 1
    return np.concatenate([[start], inputs[1:]]), targets, start + 1


SEQUENCE = Function(
    title="one sequence, and where it begins",
    minutes=15,
    rubric={
        "frame by frame, and each stage has numbers of its own": 1,
        "the start token is none of the codec's codes": 1,
        "at each place the target is the token that the input does not show yet": 1,
    },
    right=_prepared(),
    cases=lambda: [
        _codes(0, 2, 4, 8),
        _codes(1, 4, 3, 16),
        _codes(2, 3, 5, 10),
        _codes(3, 2, 7, 256),
        _codes(4, 3, 2, 5),
    ],
    returns="inputs and targets, two arrays of as many tokens as there are codes, and how many "
    "different tokens an embedding needs",
    mistakes={
        "The start token is 0, and code 0 of the first stage is 0, too: the model cannot tell a "
        "beginning from a code. Give the start a number of its own, after all codes.": (
            _prepared(start=lambda k, n: 0),
            _prepared(start=lambda k, n: 0, rows=lambda k, n: k * n),
        ),
        "The start token is the last code of the last stage; codes are counted from 0, so the "
        "first free number is one higher.": (
            _prepared(start=lambda k, n: k * n - 1),
            _prepared(start=lambda k, n: k * n - 1, rows=lambda k, n: k * n),
        ),
        "The start token collides with a code of the second stage: each stage has n_codes numbers, "
        "the free one comes after those of all stages.": (
            _prepared(start=lambda k, n: n),
            _prepared(start=lambda k, n: n, rows=lambda k, n: k * n),
        ),
        "The start token has no row in the embedding: count it.": _prepared(
            rows=lambda k, n: k * n
        ),
        "Inputs and targets are the same: the answer stands in the question. Shift the inputs by "
        "one place.": _prepared(pair=lambda row, s: (row, row)),
        "The start stands before the targets. It is what the model is given, not what it is asked "
        "for.": _prepared(pair=lambda row, s: (row, np.concatenate([[s], row[:-1]]))),
        "Nothing teaches the first token: the inputs should begin with the start token, and the "
        "targets with the first code.": _prepared(pair=lambda row, s: (row[:-1], row[1:])),
        "The last token is an input whose next one nobody knows: leave it out.": (
            _prepared(pair=lambda row, s: (np.concatenate([[s], row]), row))
        ),
        "The stages stand one after the other. Told frame by frame, all stages of a frame come "
        "before the next frame.": _prepared(by_frame=False),
        "All stages share their numbers: code 5 of the first stage and code 5 of the second mean "
        "something else. Raise the codes of stage k by k times n_codes.": (
            _prepared(raised=lambda codes, n: codes),
            _prepared(raised=lambda codes, n: codes, start=lambda k, n: n, rows=lambda k, n: n + 1),
        ),
        "The start token depends on the largest code of this note: in another note it is a code. "
        "Count it from the number of stages and n_codes.": _by_sight,
        "Stages are raised from one on: the first keeps its numbers, k counts from 0.": (
            _prepared(raised=_raised_from_one),
            _prepared(raised=_raised_from_one, start=lambda k, n: 0),
            _prepared(raised=_raised_from_one, start=lambda k, n: 0, rows=lambda k, n: (k + 1) * n),
            _prepared(
                raised=_raised_from_one,
                start=lambda k, n: (k + 1) * n,
                rows=lambda k, n: (k + 1) * n + 1,
            ),
        ),
    },
    differs="With {0.shape[0]} stages, {0.shape[1]} frames and {1} codes, the value at {at} should "
    "be {right:g} and is {got:g}.",
    praise="The tutorial of 2024 began with token 0, a code like any other.",
)

# ---- 3: the delay undone ------------------------------------------------------------------------


def _undone(
    *,
    start: Callable[[int, int], int] = lambda k, n: k,
    n_frames: Callable[[int, int], int] = lambda k, steps: steps - k + 1,
) -> Callable[..., NDArray]:
    """Return the right function (the defaults) or one that leaves a delay."""

    def undelay(grid: NDArray) -> NDArray:
        stages, steps = grid.shape
        n = n_frames(stages, steps)
        rows = [np.roll(row, -start(k, stages))[:n] for k, row in enumerate(grid)]
        return np.stack(rows)

    return undelay


def _grid(seed: int, n_stages: int, n_frames: int, empty: int = 99) -> tuple[NDArray]:
    rng = np.random.default_rng(seed)
    grid = np.full((n_stages, n_frames + n_stages - 1), empty)
    for k in range(n_stages):
        grid[k, k : k + n_frames] = rng.integers(0, 90, n_frames)
    return (grid,)


DELAY = Function(
    title="the delay undone",
    minutes=10,
    rubric={
        "as many frames as steps, less the delay of the last stage": 1,
        "stage k is read k steps later": 1,
    },
    right=_undone(),
    cases=lambda: [_grid(0, 3, 4), _grid(1, 4, 6), _grid(2, 2, 5), _grid(3, 8, 9), _grid(4, 1, 3)],
    returns="a matrix (stage, frame) of codes",
    mistakes={
        "The delay is not undone: the decoder gets codes of different frames at once. Read stage k "
        "from step k on.": (
            _undone(start=lambda k, n: 0),
            lambda grid: grid,
        ),
        "The delay is undone the wrong way round, which doubles it.": (
            _undone(start=lambda k, n: -k)
        ),
        "Every stage is read from the step of the last one: earlier stages lose their beginning "
        "and are still not together.": _undone(start=lambda k, n: n - 1),
        "The stages are read in the other order: the first is told at once, the last one last.": (
            _undone(start=lambda k, n: n - 1 - k)
        ),
        "Stage k is read from step k + 1 on. k is counted from 0: the first stage has no delay.": (
            _undone(start=lambda k, n: k + 1),
            _undone(start=lambda k, n: k + 1, n_frames=lambda k, steps: steps - k),
        ),
        "There are too many frames: the last steps of the first stage are empty.": (
            _undone(n_frames=lambda k, steps: steps)
        ),
        "One frame is missing: a grid of S steps and K stages holds S - K + 1 frames.": (
            _undone(n_frames=lambda k, steps: steps - k)
        ),
    },
    differs="For a grid of {0.shape[0]} stages and {0.shape[1]} steps, the code at {at} should be "
    "{right:g} and is {got:g}.",
    praise="Exact: what goes into the pattern comes out of it.",
)

# ---- 4: temperature and nucleus -----------------------------------------------------------------


def _drawn_from(
    *,
    warmed: Callable[[NDArray, float], NDArray] = lambda logits, t: _softmax(logits / t),
    kept: Callable[[NDArray, float], NDArray] = lambda before, p: before < p,
    again: bool = True,
    first: bool = False,
    order: Callable[[NDArray], NDArray] = lambda p: np.argsort(-p),
    back: bool = True,
) -> Callable[..., NDArray]:
    """Return the right function (the defaults) or one that draws from others."""

    def nucleus(p: NDArray, top_p: float) -> NDArray:
        at = order(p)
        before = np.cumsum(p[at]) - p[at]
        inside = np.zeros(p.size, bool)
        inside[at] = kept(before, top_p) if kept.__code__.co_argcount == 2 else kept(
            before, top_p, p[at]
        )  # fmt: skip
        return inside

    def probabilities(logits: NDArray, temperature: float, top_p: float) -> NDArray:
        p = warmed(logits, temperature)
        chosen = np.where(nucleus(_softmax(logits) if first else p, top_p), p, 0.0)
        if again and chosen.sum() > 0:
            chosen = chosen / chosen.sum()
        return chosen if back else np.sort(chosen)[::-1]

    return probabilities


def _after(before: NDArray, p: float, each: NDArray) -> NDArray:
    return before + each < p


def _one_more(before: NDArray, p: float, each: NDArray) -> NDArray:
    inside = before < p
    inside[min(int(inside.sum()), inside.size - 1)] = True
    return inside


NUCLEUS = Function(
    title="temperature and nucleus",
    minutes=20,
    rubric={
        "the temperature divides the logits, before the softmax": 1,
        "the nucleus is the smallest set of most probable tokens that reaches top_p": 1,
        "what is kept sums to 1 again, each at its own place": 1,
    },
    right=_drawn_from(),
    cases=lambda: [
        (np.log([0.1, 0.5, 0.05, 0.35]), 1.0, 0.6),
        (np.log([0.1, 0.5, 0.05, 0.35]), 1.0, 0.3),
        (np.array([2.0, -1.0, 0.5, 1.5, 0.0]), 0.6, 0.8),
        (np.array([2.0, -1.0, 0.5, 1.5, 0.0, 0.3]), 2.5, 0.7),
        (np.random.default_rng(0).standard_normal(20) * 2, 1.7, 0.9),
        (np.random.default_rng(1).standard_normal(12) * 3, 0.4, 1.0),
    ],
    returns="an array of probabilities, one for each logit",
    mistakes={
        "The token that crosses the threshold is left out. It belongs to the nucleus: without it "
        "the sum does not reach top_p, and a single sure token would leave nothing to draw.": (
            _drawn_from(kept=_after),
            _drawn_from(kept=lambda before, p, each: before + each <= p),
        ),
        "The nucleus has one token too many: it stops with the one that crosses the threshold.": (
            _drawn_from(kept=_one_more)
        ),
        "The temperature multiplies the logits: what should be bolder becomes more cautious. It "
        "divides them.": _drawn_from(warmed=lambda logits, t: _softmax(logits * t)),
        "The temperature divides the probabilities, and does nothing once they sum to 1 again. It "
        "divides the logits, before the softmax.": (
            _drawn_from(warmed=lambda logits, t: _softmax(logits))
        ),
        "The nucleus is chosen before the temperature. Warm the logits first, then look what "
        "reaches top_p.": _drawn_from(first=True),
        "What is kept does not sum to 1 any more: divide by its sum.": _drawn_from(again=False),
        "The tokens were not put in order: the nucleus begins with the most probable one.": (
            _drawn_from(order=lambda p: np.arange(p.size))
        ),
        "The nucleus begins with the least probable token: the order is upside down.": (
            _drawn_from(order=np.argsort)
        ),
        "The probabilities come back in the order of their size. Each belongs to the place of its "
        "token.": _drawn_from(back=False),
        "top_p is no threshold for single probabilities, but for their sum.": (
            _drawn_from(kept=lambda before, p, each: each >= p)
        ),
    },
    differs="For {0.size} logits, temperature {1} and top_p {2}, token {at[0]} should have "
    "{right:.3f} and has {got:.3f}.",
    praise="Two knobs: how bold, and how much of the tail to cut.",
)

EXERCISES: Mapping[str, Exercise] = {
    "autoregressive.1": ATTENTION,
    "autoregressive.2": SEQUENCE,
    "autoregressive.3": DELAY,
    "autoregressive.4": NUCLEUS,
}
