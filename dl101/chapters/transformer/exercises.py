"""The exercises of the chapter on attention."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from dl101.lab.exercise import Exercise, Function

# ---- 1: several heads ----------------------------------------------------------------------------


def _softmax(x: NDArray, axis: int = -1) -> NDArray:
    e = np.exp(x - x.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


def _side_by_side(x: NDArray, n_heads: int) -> NDArray:
    """Return (head, position, channel): the first channels are those of the first head."""
    return x.reshape(len(x), n_heads, -1).transpose(1, 0, 2)


def _joined(x: NDArray) -> NDArray:
    return x.transpose(1, 0, 2).reshape(x.shape[1], -1)


def _heads(
    *,
    split: Callable[[NDArray, int], NDArray] = _side_by_side,
    join: Callable[[NDArray], NDArray] = _joined,
    scale: Callable[[int, int], float] = lambda width, n_heads: (width / n_heads) ** 0.5,
    axis: int = -1,
    mask: str = "before",
) -> Callable[..., NDArray]:
    """Return the right function (the defaults) or one that misreads attention of several heads."""

    def attention(
        queries: NDArray, keys: NDArray, values: NDArray, n_heads: int, seen: NDArray
    ) -> NDArray:
        q, k, v = (split(x, n_heads) for x in (queries, keys, values))
        products = q @ k.transpose(0, 2, 1) / scale(queries.shape[1], n_heads)
        if mask == "before":
            products = np.where(seen, products, -1e30)
        elif mask == "turned":
            products = np.where(seen, -1e30, products)
        elif mask == "zero":
            products = np.where(seen, products, 0.0)
        shares = _softmax(products, axis)
        return join((shares * seen if mask == "after" else shares) @ v)

    return attention


def _sequences() -> list[tuple]:
    cases = []
    for number, (n_queries, n_keys, width, n_heads) in enumerate(
        ((3, 4, 4, 2), (6, 6, 12, 3), (5, 9, 16, 2), (7, 4, 8, 4))
    ):
        rng = np.random.default_rng([180, 1, number])
        queries = 2 * rng.standard_normal((n_queries, width))
        keys, values = rng.standard_normal((2, n_keys, width))
        seen = rng.random((n_queries, n_keys)) < 0.6
        seen[:, 0] = True  # each query sees something, ...
        seen[:, 1] = False  # ... and not everything
        cases.append((queries, keys, values, n_heads, seen))
    return cases


HEADS = Function(
    title="attention of several heads",
    minutes=25,
    rubric={
        "each head has its own channels, side by side": 1,
        "products are divided by the root of the channels of one head": 1,
        "hidden keys have no share, and the shares of each query add up to 1": 1,
    },
    right=_heads(),
    cases=_sequences,
    returns="an array (query, width)",
    mistakes={
        "You divide by the root of the whole width. A product is a sum over the channels of *one* "
        "head: width / n_heads of them.": _heads(scale=lambda width, n_heads: width**0.5),
        "Your products are not divided by the root of the channels of a head.": (
            _heads(scale=lambda width, n_heads: 1.0)
        ),
        "You divide by the channels of a head; their square root is asked.": (
            _heads(scale=lambda width, n_heads: width / n_heads)
        ),
        "You have one head for all channels. Cut queries, keys and values into n_heads parts "
        "first; each part has a softmax of its own.": _heads(
            split=lambda x, n_heads: x[None],
            scale=lambda width, n_heads: width**0.5,
        ),
        "You reshape to (n_heads, position, channel) at once. That cuts the sequence into pieces, "
        "not the channels: reshape to (position, n_heads, channel), then swap the first two.": (
            _heads(split=lambda x, n_heads: x.reshape(n_heads, len(x), -1))
        ),
        "Your heads take every n_heads-th channel. Here the first channels are those of the first "
        "head, the next those of the second.": (
            _heads(
                split=lambda x, n_heads: x.reshape(len(x), -1, n_heads).transpose(2, 0, 1),
                join=lambda x: x.transpose(1, 2, 0).reshape(x.shape[1], -1),
            ),
            _heads(split=lambda x, n_heads: x.reshape(len(x), -1, n_heads).transpose(2, 0, 1)),
        ),
        "You join the heads without swapping axes back, so that the answers of one query end up "
        "in other rows: (head, query, channel) to (query, head, channel) first.": (
            _heads(join=lambda x: x.reshape(x.shape[1], -1))
        ),
        "Your softmax runs over the queries. Each query shares its attention among the keys: the "
        "last axis.": _heads(axis=-2),
        "Nothing is hidden: seen is not used.": _heads(mask="none"),
        "Your mask is turned round: what may be seen is hidden.": _heads(mask="turned"),
        "You hide after the softmax, so that the shares that are left add up to less than 1. Set "
        "hidden products to minus infinity before it.": _heads(mask="after"),
        "You set hidden products to 0. A product of 0 still gets a share, exp(0): minus infinity "
        "is asked.": _heads(mask="zero"),
    },
    differs=(
        "With {3} heads the value at {at} should be {right:.4f}; yours is {got:.4f}. Look at the "
        "channels of one head alone."
    ),
    praise="Several questions at once, each with its own answer.",
)

# ---- 2: a number for each distance ---------------------------------------------------------------


def _distances(n_queries: int, n_keys: int) -> NDArray:
    return np.arange(n_queries)[:, None] - np.arange(n_keys)[None, :]


def _half(table: NDArray) -> int:
    return len(table) // 2


def bias(table: NDArray, n_queries: int, n_keys: int) -> NDArray:
    """Return (query, key): the number of each distance, the last one beyond."""
    far = _half(table)
    return table[far + np.clip(_distances(n_queries, n_keys), -far, far)]


def _within(beyond: float) -> Callable[[NDArray, int, int], NDArray]:
    """Return an answer that gives another number to what is too far."""

    def answer(table: NDArray, n_queries: int, n_keys: int) -> NDArray:
        near = np.abs(_distances(n_queries, n_keys)) <= _half(table)
        return np.where(near, bias(table, n_queries, n_keys), beyond)

    return answer


def _tables() -> list[tuple]:
    rng = np.random.default_rng([180, 2])
    cases = [(np.array([10.0, 20.0, 30.0]), 4, 4)]
    cases += [
        (rng.standard_normal(2 * far + 1), n_queries, n_keys)
        for far, n_queries, n_keys in ((2, 7, 7), (3, 5, 9), (4, 12, 6))
    ]
    return cases


DISTANCES = Function(
    title="a number for each distance",
    minutes=15,
    rubric={
        "the distance counts from the key to the query, i - j": 1,
        "the middle of the table belongs to the distance 0": 1,
        "what is farther than the table reaches takes its end": 1,
    },
    right=bias,
    cases=_tables,
    returns="a matrix (query, key)",
    mistakes={
        "Your distances are turned round: here it is i - j, positive where the key comes before "
        "the query.": lambda table, n, m: bias(table[::-1], n, m),
        "You take the distance itself as the place in the table, so that negative ones count from "
        "its end (Python does not complain). The distance 0 stands in the middle.": (
            lambda table, n, m: table[np.clip(_distances(n, m), -_half(table), _half(table))]
        ),
        "You drop the sign: a key after the query gets what belongs to one before it.": (
            lambda table, n, m: table[
                _half(table) + np.minimum(np.abs(_distances(n, m)), _half(table))
            ]
        ),
        "What is farther than the table reaches gets 0. It takes the number at the end.": (
            _within(0.0)
        ),
        "What is farther than the table reaches gets minus infinity: that would hide it. It takes "
        "the number at the end.": _within(-np.inf),
        "Far distances start again at the other end of the table (a remainder). Clip them.": (
            lambda table, n, m: table[(_half(table) + _distances(n, m)) % len(table)]
        ),
        "You clip one step too early: the number at the end of the table is never used.": (
            lambda table, n, m: table[
                _half(table) + np.clip(_distances(n, m), 1 - _half(table), _half(table) - 1)
            ]
        ),
        "All your distances are one too large: the key at the query's own place has the distance "
        "0.": lambda table, n, m: table[
            _half(table) + np.clip(_distances(n, m) + 1, -_half(table), _half(table))
        ],
    },
    differs=(
        "With the table {0}, {1} queries and {2} keys, the number at {at} should be {right:.4f}; "
        "yours is {got:.4f}."
    ),
    praise="How far apart is all that this knows, at any length.",
)

# ---- 3: who sees the future? ---------------------------------------------------------------------

Network = Callable[[NDArray], NDArray]


def changes(network: Network, tune: NDArray, n_pitches: int) -> NDArray:
    """Return (position, position): whether an answer changes if a note is another one."""
    before = network(tune.copy())
    found = np.zeros((len(tune), len(tune)), bool)
    for j, note in enumerate(tune):
        for other in range(n_pitches):
            if other != note:
                found[:, j] |= (network(np.r_[tune[:j], other, tune[j + 1 :]]) != before).any(-1)
    return found


def _only(others: Callable[[int, int], list[int]]) -> Callable[..., NDArray]:
    """Return an answer that tries some replacements alone."""

    def answer(network: Network, tune: NDArray, n_pitches: int) -> NDArray:
        before = network(tune.copy())
        found = np.zeros((len(tune), len(tune)), bool)
        for j, note in enumerate(tune):
            for other in others(int(note), n_pitches):
                found[:, j] |= (network(np.r_[tune[:j], other, tune[j + 1 :]]) != before).any(-1)
        return found

    return answer


def _never_put_back(
    network: Network, tune: NDArray, n_pitches: int, *, skip: bool = True
) -> NDArray:
    before, tune = network(tune.copy()), tune.copy()
    found = np.zeros((len(tune), len(tune)), bool)
    for j, note in enumerate(tune.copy()):
        for other in range(n_pitches):
            if other != note or not skip:
                tune[j] = other
                found[:, j] |= (network(tune) != before).any(-1)
    return found


def _all_channels(network: Network, tune: NDArray, n_pitches: int) -> NDArray:
    before = network(tune.copy())
    found = np.zeros((len(tune), len(tune)), bool)
    for j in range(len(tune)):
        for other in range(n_pitches):
            found[:, j] |= (network(np.r_[tune[:j], other, tune[j + 1 :]]) != before).all(-1)
    return found


def _summed(matrix: NDArray, of: Callable[[NDArray], NDArray]) -> Network:
    """Return a network whose answer is its own note, perhaps, and a sum of notes."""

    def network(tune: NDArray) -> NDArray:
        notes = np.asarray(of(np.asarray(tune)), dtype=np.float64)
        return np.stack([np.roll(matrix, 1, 0).diagonal() * notes, matrix @ notes], axis=-1)

    return network


def _networks() -> list[tuple]:
    cases = []
    rules: tuple[Callable[[NDArray], NDArray], ...] = (
        lambda x: x,
        lambda x: x % 2,
        lambda x: x == 0,
        lambda x: x * (x - 1),
    )
    for number, (n, rule) in enumerate(zip((4, 6, 7, 5), rules, strict=True)):
        rng = np.random.default_rng([180, 3, number])
        matrix = np.tril(rng.integers(1, 4, (n, n)), k=number % 2) * (rng.random((n, n)) < 0.7)
        cases.append((_summed(matrix, rule), rng.integers(0, 5, n), 5))
    return cases


FUTURE = Function(
    title="who sees the future?",
    minutes=20,
    rubric={
        "one note is changed at a time, and each answer is compared with the one before": 1,
        "all other pitches are tried, so that no dependence stays hidden": 1,
        "rows are answers, columns are the notes that were changed": 1,
    },
    right=changes,
    cases=_networks,
    returns="a matrix of booleans (answer, changed note)",
    mistakes={
        "Rows and columns are swapped: row i says of answer i which notes it depends on.": (
            lambda network, tune, n: changes(network, tune, n).T
        ),
        "You try one other pitch alone, the next one. A network may not tell these two apart: "
        "try all others.": _only(lambda note, n: [(note + 1) % n]),
        "You replace every note by pitch 0, and where it is 0 already nothing changes. Try all "
        "other pitches.": _only(lambda note, n: [0]),
        "You replace notes by the highest pitch alone. A network may not tell it from what was "
        "there: try all others.": _only(lambda note, n: [n - 1]),
        "You say where an answer *stays* the same; where it changes is asked.": (
            lambda network, tune, n: ~changes(network, tune, n)
        ),
        "You report the future alone, above the diagonal. The whole matrix is asked.": (
            lambda network, tune, n: np.triu(changes(network, tune, n), 1)
        ),
        "You look at the first channel of the answers alone. A change in any channel counts.": (
            lambda network, tune, n: changes(lambda x: network(x)[:, :1], tune, n)
        ),
        "You compare the channel that is largest. An answer has changed if any number of it has.": (
            lambda network, tune, n: changes(
                lambda x: network(x).argmax(axis=1, keepdims=True), tune, n
            )
        ),
        "You ask that all channels change (all); one of them is enough (any).": _all_channels,
        "You keep the changed notes and go on from them, so that several differ at once. Put each "
        "note back.": (
            _never_put_back,
            lambda network, tune, n: _never_put_back(network, tune, n, skip=False),
        ),
    },
    differs=(
        "With the tune {1} and {2} pitches, the entry at {at} should be {right:.0f} and is "
        "{got:.0f}. Change one note, keep the others."
    ),
    praise="This test finds every leak, whatever is inside the network.",
)


EXERCISES: Mapping[str, Exercise] = {
    "transformer.1": HEADS,
    "transformer.2": DISTANCES,
    "transformer.3": FUTURE,
}
