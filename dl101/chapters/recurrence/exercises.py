"""The exercises of the chapter on recurrent networks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dl101.lab.exercise import Exercise, Function

# ---- 1: one step of an LSTM ----------------------------------------------------------------------


def sigmoid(a: NDArray) -> NDArray:
    """Return 1 / (1 + exp(-a))."""
    return 1 / (1 + np.exp(-a))


def _step(
    *,
    order: str = "ifgo",
    candidate: Callable[[NDArray], NDArray] = np.tanh,
    gate: Callable[[NDArray], NDArray] = sigmoid,
    keep: Callable[..., Any] = lambda i, f: f,
    add: Callable[..., Any] = lambda i, f: i,
    out: Callable[[NDArray], NDArray] = np.tanh,
    old: bool = False,
    bias: bool = True,
    state: float = 1.0,
    give: Callable[[NDArray, NDArray], tuple[NDArray, NDArray]] = lambda h, c: (h, c),
) -> Callable[..., tuple[NDArray, NDArray]]:
    """Return an answer from its choices."""

    def lstm_step(
        x: NDArray, h: NDArray, c: NDArray, w_x: NDArray, w_h: NDArray, b: NDArray
    ) -> tuple[NDArray, NDArray]:
        a = w_x @ x + state * (w_h @ h) + (b if bias else 0)
        parts = dict(zip(order, np.split(a, 4), strict=True))
        i, f, o = (gate(parts[name]) for name in "ifo")
        new = keep(i, f) * c + add(i, f) * candidate(parts["g"])
        return give(o * out(c if old else new), new)

    return lstm_step


def _states() -> list[tuple[NDArray, ...]]:
    rng = np.random.default_rng([18, 4])
    cases = []
    for n_in, n_hidden in ((1, 1), (3, 2), (2, 4), (3, 3)):
        cases.append(
            (
                rng.normal(size=n_in),
                rng.uniform(-0.9, 0.9, n_hidden),
                rng.normal(0, 1.5, n_hidden),
                rng.normal(size=(4 * n_hidden, n_in)),
                rng.normal(size=(4 * n_hidden, n_hidden)),
                rng.normal(size=4 * n_hidden),
            )
        )
    return cases


STEP = Function(
    title="one step of an LSTM",
    minutes=15,
    rubric={
        "one sum for all gates, cut into four in the order i, f, g, o": 1,
        "sigmoids for the gates, tanh for what is written": 1,
        "the cell is kept by f and written by i; the state is read from the new cell": 2,
    },
    right=_step(),
    cases=_states,
    returns="the new state and the new cell, (hidden,) each",
    names=("h", "c"),
    mistakes={
        "The quarters are in another order: i, f, g, o here, and you take the third for the output "
        "gate.": _step(order="ifog"),
        "Input and forget gate have changed places: the first quarter writes, the second keeps.": (
            _step(order="figo")
        ),
        "What is written is bounded by a tanh, from -1 to 1; you use a sigmoid, so the cell can "
        "only grow.": _step(candidate=sigmoid),
        "What is written lacks its tanh.": _step(candidate=lambda a: a),
        "The gates use a tanh; a gate is between 0 and 1, a sigmoid.": _step(gate=np.tanh),
        "Nothing is forgotten: the old cell must be multiplied by f.": _step(keep=lambda i, f: 1.0),
        "The old cell is kept by 1 - f; f says how much is kept, in spite of its name.": (
            _step(keep=lambda i, f: 1 - f)
        ),
        "You write with 1 - f, as a GRU does; an LSTM has an input gate for that.": (
            _step(add=lambda i, f: 1 - f)
        ),
        "The input gate is missing: what is written must be multiplied by i.": (
            _step(add=lambda i, f: 1.0)
        ),
        "The state is read from the old cell; it must be from the new one.": _step(old=True),
        "The state lacks the tanh of the cell.": _step(out=lambda c: c),
        "The bias is missing.": _step(bias=False),
        "The state before is not used: w_h @ h is missing.": _step(state=0.0),
        "The two results have changed places: first the state h, then the cell c.": (
            _step(give=lambda h, c: (c, h))
        ),
    },
    differs="In a hidden case the value at {at} should be {right:.4g}; yours is {got:.4g}.",
    atol=1e-6,
    praise="Three gates and a cell: that is all of it.",
)

# ---- 2: many to one, both ways -------------------------------------------------------------------


def _ends(
    forwards: Callable[[NDArray, int], Any] = lambda half, n: half[n - 1],
    backwards: Callable[[NDArray, int], Any] = lambda half, n: half[0],
    join: Callable[[NDArray, NDArray], NDArray] = lambda a, b: np.concatenate([a, b]),
) -> Callable[[NDArray, NDArray], NDArray]:
    """Return an answer from what it takes of each half."""

    def ends(outputs: NDArray, lengths: NDArray) -> NDArray:
        made = []
        for each, n in zip(outputs, lengths, strict=True):
            first, second = np.split(each, 2, axis=-1)
            made.append(join(forwards(first, int(n)), backwards(second, int(n))))
        return np.stack(made)

    return ends


def _outputs() -> list[tuple[NDArray, NDArray]]:
    rng = np.random.default_rng([18, 5])
    cases = []
    for batch, frames, hidden in ((1, 3, 1), (3, 6, 2), (4, 8, 3)):
        lengths = rng.integers(2, frames, batch)
        lengths[-1] = frames - 1
        cases.append((rng.normal(size=(batch, frames, 2 * hidden)), lengths))
    return cases


ENDS = Function(
    title="many to one, both ways",
    minutes=10,
    rubric={
        "forwards, the state after a clip's own last frame": 1,
        "backwards, the state at the first frame, where that direction ends": 2,
    },
    right=_ends(),
    cases=_outputs,
    returns="an array (batch, 2 * hidden)",
    mistakes={
        "You take the last frame of both directions. Backwards, that is where reading begins: that "
        "state has seen one frame. And short clips end before the last frame.": (
            lambda outputs, lengths: outputs[:, -1]
        ),
        "You take frame length - 1 of both directions. Backwards, that state has seen one frame; "
        "this direction ends at frame 0.": _ends(backwards=lambda half, n: half[n - 1]),
        "Forwards you take the very last frame, which only fills the batch up; a clip ends at its "
        "own length.": _ends(forwards=lambda half, n: half[-1]),
        "Backwards you take the very last frame, which only fills the batch up. This direction "
        "begins at the end of a clip and ends at frame 0.": (
            _ends(backwards=lambda half, n: half[-1])
        ),
        "You take the first frame of both directions. Forwards, that state has seen one frame.": (
            _ends(forwards=lambda half, n: half[0])
        ),
        "Each direction is taken where it begins; it has seen one frame there.": (
            _ends(lambda half, n: half[0], lambda half, n: half[n - 1])
        ),
        "One frame too late: the last frame of a clip of length n has the number n - 1.": (
            _ends(forwards=lambda half, n: half[n])
        ),
        "The halves have changed places: forwards first.": _ends(
            join=lambda a, b: np.concatenate([b, a])
        ),
        "The two directions are added; they stand side by side.": _ends(join=lambda a, b: a + b),
        "You take the mean over the frames. That is a pooling; asked are the last states.": (
            lambda outputs, lengths: outputs.mean(axis=1)
        ),
        "You take the mean over a clip's own frames. That is a pooling; asked are the last "
        "states.": _ends(
            lambda half, n: half[:n].mean(axis=0), lambda half, n: half[:n].mean(axis=0)
        ),
    },
    differs="In a hidden case, lengths {1}, the value at {at} should be {right:.4g}; yours is "
    "{got:.4g}.",
    praise="Each direction is asked where it has read everything.",
)

# ---- 3: bits of a melody -------------------------------------------------------------------------


def log_shares(logits: NDArray) -> NDArray:
    """Return the logarithms of the softmax over the last axis."""
    down = logits - logits.max(axis=-1, keepdims=True)
    return down - np.log(np.exp(down).sum(axis=-1, keepdims=True))


def _bits(
    given: Callable[[NDArray], NDArray] = lambda logits: logits[:-1],
    asked: Callable[[NDArray], NDArray] = lambda tokens: tokens[1:],
    unit: float = 1 / np.log(2),
    over: Callable[[NDArray], Any] = np.mean,
) -> Callable[[NDArray, NDArray], float]:
    """Return an answer from its choices."""

    def bits(logits: NDArray, tokens: NDArray) -> float:
        log_share, right = log_shares(given(logits)), asked(tokens)
        return float(over(-unit * log_share[np.arange(len(right)), right]))

    return bits


def _melodies() -> list[tuple[NDArray, NDArray]]:
    rng = np.random.default_rng([18, 6])
    cases: list[tuple[NDArray, NDArray]] = [(np.array([[0.0, 1.0], [2.0, 0.0]]), np.array([1, 0]))]
    for n, n_tokens in ((4, 3), (6, 5), (9, 4)):
        cases.append((rng.normal(0, 2, (n, n_tokens)), rng.integers(0, n_tokens, n)))
    return cases


BITS = Function(
    title="bits of a melody",
    minutes=15,
    rubric={
        "the logits at one position are judged by the token at the next": 2,
        "minus the logarithm to base 2 of the softmax, on average": 1,
    },
    right=_bits(),
    cases=_melodies,
    returns="one number",
    mistakes={
        "You judge the logits at a position by the token at the same one, which the network has "
        "just read. What they say is about the next.": (
            _bits(lambda z: z, lambda t: t),
            _bits(lambda z: z[1:], lambda t: t[1:]),
        ),
        "You judge the logits by the token before; they are about the next.": (
            _bits(lambda z: z[1:], lambda t: t[:-1])
        ),
        "This is in nats; bits are asked: divide by log 2.": _bits(unit=1.0),
        "This is the sum; asked is the mean over the tokens that are predicted.": _bits(
            over=np.sum
        ),
        "You divide by the number of all tokens. The first is not predicted, so it does not "
        "count.": _bits(over=lambda each: each.sum() / (len(each) + 1)),
        "This is the perplexity, 2 to the power of the bits.": _bits(
            over=lambda each: 2 ** each.mean()
        ),
        "The sign is wrong: bits are never negative.": _bits(unit=-1 / np.log(2)),
        "This is the share of tokens that were the likeliest. A language model is judged by how "
        "likely it held the right one.": (
            lambda logits, tokens: float((logits[:-1].argmax(axis=1) == tokens[1:]).mean())
        ),
        "The logits are not turned into probabilities by a softmax.": (
            lambda logits, tokens: float(
                -logits[np.arange(len(tokens) - 1), tokens[1:]].mean() / np.log(2)
            )
        ),
        "You take the logarithm of the mean probability; asked is the mean of the logarithms.": (
            _bits(unit=1.0, over=lambda each: -np.log2(np.exp(-each).mean()))
        ),
    },
    differs="In a hidden case the bits should be {right:.4g}; yours are {got:.4g}.",
    atol=1e-5,
    praise="The fewer bits, the less surprised the model is by the tune.",
)

EXERCISES: Mapping[str, Exercise] = {
    "recurrence.1": STEP,
    "recurrence.2": ENDS,
    "recurrence.3": BITS,
}
