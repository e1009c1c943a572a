"""Language models of tokens: n-grams to compare with, bits per token, and how much is repeated.

Conventions: sequences are (sequence, position) whole numbers from 0 to ``n_tokens`` - 1. A context
is a set of earlier positions, given as distances: (2, 1) are the two tokens before. What lies
before the beginning is a token of its own, -1. Bits are minus the logarithm to base 2 of a
probability.

References
----------
.. [1] I. Witten, T. Bell, "The zero-frequency problem", IEEE Trans. Information Theory 37, 1991.
.. [2] S. Chen, J. Goodman, "An empirical study of smoothing techniques for language modeling",
   Computer Speech & Language 13, 1999.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dl101.errors import ConfigError, DataError

STRENGTHS = (0.25, 0.5, 1.0, 2.0, 4.0)


def _sequences(values: ArrayLike, n_tokens: int) -> NDArray[np.int64]:
    tokens = np.asarray(values)
    right = tokens.ndim == 2 and tokens.size > 0 and np.issubdtype(tokens.dtype, np.integer)
    if not right or tokens.min() < 0 or tokens.max() >= n_tokens:
        found = f"{tokens.dtype} of shape {tokens.shape}"
        if right:
            found = f"tokens from {tokens.min()} to {tokens.max()}"
        raise DataError(
            "sequences of tokens",
            got=found,
            expected=f"(sequence, position) whole numbers from 0 to {n_tokens - 1}",
            hint="stack sequences of equal length",
        )
    return tokens.astype(np.int64)


def _earlier(tokens: NDArray[np.int64], distance: int) -> NDArray[np.int64]:
    """Return the token so far before each one, -1 before the beginning."""
    moved = np.full_like(tokens, -1)
    moved[:, distance:] = tokens[:, : max(tokens.shape[1] - distance, 0)]
    return moved


@dataclass(frozen=True, eq=False)
class _Counts:
    """Of each context that was seen: how often, by how many tokens followed, and by which."""

    contexts: NDArray[np.int64]
    totals: NDArray[np.int64]
    kinds: NDArray[np.int64]
    pairs: NDArray[np.int64]
    pair_counts: NDArray[np.int64]

    @classmethod
    def of(cls, contexts: NDArray[np.int64], tokens: NDArray[np.int64], n: int) -> _Counts:
        pairs, pair_counts = np.unique(contexts * n + tokens, return_counts=True)
        seen, first = np.unique(pairs // n, return_index=True)
        totals = np.add.reduceat(pair_counts, first)
        return cls(seen, totals, np.diff([*first, len(pairs)]), pairs, pair_counts)

    def mixed(
        self,
        contexts: NDArray[np.int64],
        tokens: NDArray[np.int64],
        shorter: NDArray[np.float64],
        n: int,
        strength: float,
    ) -> NDArray[np.float64]:
        """Return probabilities, mixed with those of a shorter context."""
        at = np.searchsorted(self.contexts, contexts).clip(max=len(self.contexts) - 1)
        known = self.contexts[at] == contexts
        totals = np.where(known, self.totals[at], 0)
        weight = np.where(known, strength * self.kinds[at], 1.0)
        keys = contexts * n + tokens
        at = np.searchsorted(self.pairs, keys).clip(max=len(self.pairs) - 1)
        together = np.where(self.pairs[at] == keys, self.pair_counts[at], 0)
        return (together + weight * shorter) / (totals + weight)


class NGram:
    """An n-gram with interpolation after Witten and Bell ([1]_, [2]_ section 2.5).

    The probability of a token after a context that was seen N times, followed by D different
    tokens, is ``(count + s D q) / (N + s D)``, where q is that after the shorter context, down to
    that without any, and to a uniform one. With s = 1 this is Witten and Bell's; here ``fit``
    chooses it where other sequences are given.

    Parameters
    ----------
    n_tokens
        Size of the vocabulary.
    distances
        The context, the most important token last: it is kept longest. () is a unigram, (1,) a
        bigram, (2, 1) a trigram. A residual codec with four stages told frame by frame has the same
        stage of the frame before at distance 4.
    n_phases
        Positions are counted modulo this, and each phase has its own numbers: the stages of a
        codec.
    """

    def __init__(self, n_tokens: int, distances: Sequence[int] = (2, 1), n_phases: int = 1) -> None:
        if any(d < 1 for d in distances) or len(set(distances)) < len(distances):
            raise ConfigError(
                "context of an n-gram",
                got=tuple(distances),
                expected="different whole numbers from 1",
                hint="(2, 1) are the two tokens before",
            )
        if (n_tokens + 1.0) ** (len(distances) + 1) * n_phases > 2.0**62:
            raise ConfigError(
                "n-gram",
                got=f"{n_tokens} tokens and a context of {len(distances)}",
                expected="contexts that can be numbered with 64 bits",
                hint="shorten the context",
            )
        self.n_tokens, self.distances, self.n_phases = n_tokens, tuple(distances), n_phases
        self.strength = 1.0
        self._counts: list[_Counts] = []

    def _contexts(self, tokens: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        """Return the number of the context of each token, the shortest context first."""
        phase = np.arange(tokens.shape[1]) % self.n_phases
        numbers = [np.broadcast_to(phase, tokens.shape)]
        for distance in reversed(self.distances):
            numbers.append(numbers[-1] * (self.n_tokens + 1) + _earlier(tokens, distance) + 1)
        return [number.ravel() for number in numbers]

    def fit(self, sequences: ArrayLike, validation: ArrayLike | None = None) -> NGram:
        """Count, and choose the strength by the bits of other sequences; return itself."""
        tokens = _sequences(sequences, self.n_tokens)
        self._counts = [
            _Counts.of(contexts, tokens.ravel(), self.n_tokens)
            for contexts in self._contexts(tokens)
        ]
        if validation is not None:
            self.strength = min(
                STRENGTHS, key=lambda s: float(self.bits(validation, strength=s).mean())
            )
        return self

    def bits(self, sequences: ArrayLike, *, strength: float | None = None) -> NDArray[np.float64]:
        """Return the bits of each token, of the shape of the sequences."""
        if not self._counts:
            raise ConfigError(
                "n-gram",
                got="no counts",
                expected="a fitted model",
                hint="call fit with sequences of the training side first",
            )
        tokens = _sequences(sequences, self.n_tokens)
        probabilities = np.full(tokens.size, 1.0 / self.n_tokens)
        chosen = self.strength if strength is None else strength
        for counts, contexts in zip(self._counts, self._contexts(tokens), strict=True):
            probabilities = counts.mixed(
                contexts, tokens.ravel(), probabilities, self.n_tokens, chosen
            )
        return -np.log2(probabilities).reshape(tokens.shape)


def repetition(sequences: ArrayLike, n: int = 2) -> NDArray[np.float64]:
    """Return for each sequence the share of its n-tuples that have occurred in it before.

    0: no tuple of n tokens in a row occurs twice; near 1: one pattern goes round and round.

    Parameters
    ----------
    sequences
        (sequence, position).
    n
        Length of a tuple.
    """
    tokens = np.asarray(sequences)
    if tokens.ndim != 2 or not 1 <= n <= tokens.shape[1]:
        raise DataError(
            "sequences of tokens",
            got=f"shape {tokens.shape} for tuples of {n}",
            expected="(sequence, position), at least as long as a tuple",
            hint="add an axis with tokens[None]",
        )
    tuples = np.lib.stride_tricks.sliding_window_view(tokens, n, axis=1)
    different = np.array([len(np.unique(each, axis=0)) for each in tuples])
    return 1.0 - different / tuples.shape[1]
