"""N-grams against counting by hand, and what is repeated."""

from __future__ import annotations

from collections import Counter, defaultdict

import numpy as np
import pytest

from dl101.errors import ConfigError, DataError
from dl101.evaluation.language import NGram, repetition


def by_hand(train, sequences, distances, n_tokens, n_phases, strength):
    """Return bits token by token, from dictionaries."""
    seen = [defaultdict(Counter) for _ in range(len(distances) + 1)]

    def context(row, i, k):
        last = list(reversed(distances))[:k]
        return (i % n_phases, *(row[i - d] if i >= d else -1 for d in last))

    for row in train:
        for i, token in enumerate(row):
            for k, counts in enumerate(seen):
                counts[context(row, i, k)][token] += 1
    bits = np.zeros(np.shape(sequences))
    for r, row in enumerate(sequences):
        for i, token in enumerate(row):
            p = 1 / n_tokens
            for k, counts in enumerate(seen):
                found = counts.get(context(row, i, k))
                if found:
                    weight = strength * len(found)
                    p = (found[token] + weight * p) / (sum(found.values()) + weight)
            bits[r, i] = -np.log2(p)
    return bits


@pytest.mark.parametrize("distances", [(), (1,), (2, 1), (4, 1), (3,)])
@pytest.mark.parametrize("n_phases", [1, 4])
@pytest.mark.parametrize("strength", [1.0, 0.5])
def test_bits_are_those_of_counting_by_hand(distances, n_phases, strength):
    rng = np.random.default_rng(0)
    train = rng.integers(0, 5, (6, 12)) * rng.integers(0, 2, (6, 12))
    test = rng.integers(0, 6, (4, 12))
    model = NGram(6, distances, n_phases).fit(train)
    expected = by_hand(train.tolist(), test.tolist(), distances, 6, n_phases, strength)
    np.testing.assert_allclose(model.bits(test, strength=strength), expected, atol=1e-9)


@pytest.mark.parametrize("distances", [(), (1,), (2, 1)])
def test_probabilities_sum_to_one(distances):
    rng = np.random.default_rng(1)
    model = NGram(7, distances).fit(rng.integers(0, 5, (20, 9)))
    start = rng.integers(0, 7, 9)
    every = np.tile(start, (7, 1))
    every[:, -1] = np.arange(7)
    assert np.exp2(-model.bits(every)[:, -1]).sum() == pytest.approx(1.0, abs=1e-9)


def test_what_repeats_is_cheap_and_the_strength_is_chosen():
    cycle = np.tile(np.arange(8), (4, 5))
    model = NGram(8, (1,)).fit(cycle, validation=cycle)
    assert model.strength == 0.25  # what was counted can be trusted
    assert model.bits(cycle)[:, 1:].mean() < 0.2
    noise = np.random.default_rng(2).integers(0, 8, (40, 30))
    assert NGram(8, (2, 1)).fit(noise[:20], validation=noise[20:]).strength == 4.0


def test_repetition():
    assert repetition([[1, 2, 3, 4]]).tolist() == [0.0]
    assert repetition([[5, 5, 5, 5]], n=2).tolist() == [pytest.approx(2 / 3)]
    assert repetition([[1, 2, 1, 2, 1]], n=2).tolist() == [0.5]
    assert repetition([[1, 2, 1, 2], [1, 2, 3, 3]], n=1).tolist() == [0.5, 0.25]


def test_what_cannot_be_counted_is_refused():
    with pytest.raises(DataError, match="tokens from 0 to 9"):
        NGram(9).fit([[0, 9]])
    with pytest.raises(DataError, match="float64"):
        NGram(9).fit([[0.5, 1.0]])
    with pytest.raises(ConfigError, match="fit with sequences"):
        NGram(9).bits([[1]])
    with pytest.raises(ConfigError, match="different whole numbers"):
        NGram(9, (1, 1))
    with pytest.raises(ConfigError, match="shorten"):
        NGram(1024, (5, 4, 3, 2, 1), 4)
    with pytest.raises(DataError, match="at least as long"):
        repetition([[1, 2]], n=3)
