"""Ranking scores against scikit-learn and against loops that share nothing with the library."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, ndcg_score

from dl101.errors import DataError
from dl101.evaluation import retrieval


def random_case(seed: int, *, n: int = 40, n_works: int = 12, digits: int | None = None):
    """Return distances (symmetric, or rounded so that many tie) and works, some of one version."""
    rng = np.random.default_rng(seed)
    distances = rng.random((n, n))
    distances = distances + distances.T
    if digits is not None:
        distances = np.round(distances, digits)
    return distances, rng.integers(n_works, size=n)


def by_loops(distances, works):
    """Score one query after the other, from the definitions; ties by going through their places."""
    found = {}
    for query in range(len(works)):
        others = [i for i in range(len(works)) if i != query]
        hits = [i for i in others if works[i] == works[query]]
        if not hits:
            continue

        def through(i, query=query, others=others):  # items as near or nearer
            return [j for j in others if distances[query][j] <= distances[query][i]]

        def nearer(i, query=query, others=others):
            return [j for j in others if distances[query][j] < distances[query][i]]

        precisions, first, at_1, at_10, gain = [], len(works), 0.0, 0.0, 0.0
        for i in hits:
            upto, before = through(i), nearer(i)
            precisions.append(sum(j in hits for j in upto) / len(upto))
            first = min(first, len(upto))
            places = range(len(before) + 1, len(upto) + 1)  # any of these, all equally likely
            at_1 += sum(place <= 1 for place in places) / len(places)
            at_10 += sum(place <= 10 for place in places) / len(places) / 10
            gain += sum(1 / np.log2(1 + place) for place in places) / len(places)
        best = sum(1 / np.log2(1 + place) for place in range(1, len(hits) + 1))
        found[query] = {
            "average_precision": sum(precisions) / len(precisions),
            "rank_of_first": float(first),
            "reciprocal_rank": 1 / first,
            "precision_at_1": at_1,
            "precision_at_10": at_10,
            "ndcg": gain / best,
        }
    return found


CASES = [
    pytest.param(*random_case(0), id="random"),
    pytest.param(*random_case(1, digits=1), id="tied"),
    pytest.param(*random_case(2, digits=0), id="mostly tied"),
    pytest.param(*random_case(3, n_works=200), id="mostly of one version"),
    pytest.param(*random_case(4, n_works=1), id="one work"),
    pytest.param(np.zeros((6, 6)), np.array([0, 0, 0, 1, 1, 2]), id="all tied"),
    pytest.param(*random_case(5, n=2, n_works=1), id="two items"),
    pytest.param(*random_case(6, n=1), id="one item"),
    pytest.param(np.zeros((0, 0)), np.zeros(0, int), id="none"),
    pytest.param(random_case(7, n=9)[0], np.arange(9), id="no work has two versions"),
]


@pytest.mark.parametrize(("distances", "works"), CASES)
def test_scores_are_those_of_the_definitions(distances, works):
    expected = by_loops(distances, works)
    found = retrieval.ranking_scores([distances], works)
    assert found.keys() == expected.keys()
    for query, scores in found.items():
        assert scores == pytest.approx(expected[query], abs=1e-12)
        assert tuple(scores) == retrieval.SCORES


@pytest.mark.parametrize(("distances", "works"), CASES)
def test_scores_agree_with_scikit_learn(distances, works):
    for query, scores in retrieval.ranking_scores([distances], works).items():
        others = np.arange(len(works)) != query
        truth = (works == works[query])[others]
        said = -distances[query][others]
        assert scores["average_precision"] == pytest.approx(
            average_precision_score(truth, said), abs=1e-9
        )
        if truth.size > 1:
            assert scores["ndcg"] == pytest.approx(ndcg_score([truth], [said]), abs=1e-9)


def test_shares_of_ties_are_means_over_all_orders_of_them():
    works = np.array([0, 0, 0, 1, 1, 2])
    distances = np.array([[0.0, 2.0, 5.0, 2.0, 1.0, 2.0]])
    ten, gains = [], []
    for order in permutations([1, 3, 5]):  # the three at distance 2
        ranked = [4, *order, 2]
        hits = works[ranked] == 0
        ten.append(hits[:10].sum() / 10)
        gains.append((hits / np.log2(np.arange(2, 7))).sum() / (1 + 1 / np.log2(3)))
    full = np.vstack([distances, np.zeros((5, 6))])
    found = retrieval.ranking_scores([full], works)[0]
    assert found["precision_at_10"] == pytest.approx(np.mean(ten))
    assert found["ndcg"] == pytest.approx(np.mean(gains))
    assert found["rank_of_first"] == 4  # all three have to be heard to be sure of it


def test_a_hand_worked_list():
    """Places 2 and 4 of five: AP = (1/2 + 2/4) / 2, the sum divided by the number of versions."""
    distances = np.full((6, 6), 9.0)
    distances[0] = [0, 1, 2, 3, 4, 5]
    works = ["a", "b", "a", "c", "a", "d"]
    found = retrieval.ranking_scores([distances], works)[0]
    assert found["average_precision"] == pytest.approx(0.5)
    assert (found["rank_of_first"], found["reciprocal_rank"]) == (2, 0.5)
    assert found["precision_at_1"] == 0 and found["precision_at_10"] == pytest.approx(0.2)
    assert found["ndcg"] == pytest.approx((1 / np.log2(3) + 1 / np.log2(5)) / (1 + 1 / np.log2(3)))


def test_the_order_of_the_files_does_not_matter():
    distances, works = random_case(8, digits=1)
    order = np.random.default_rng(0).permutation(len(works))
    there = retrieval.ranking_scores([distances[np.ix_(order, order)]], works[order])
    for query, scores in retrieval.ranking_scores([distances], works).items():
        assert there[int(np.flatnonzero(order == query)[0])] == pytest.approx(scores)


@pytest.mark.parametrize("rows", [1, 7, 40, 1000])
def test_blocks_give_what_the_whole_gives(rows):
    rng = np.random.default_rng(9)
    embeddings, works = rng.standard_normal((40, 5)), rng.integers(9, size=40)
    blocks = list(retrieval.distance_blocks(embeddings, embeddings, rows=rows))
    assert max(len(block) for block in blocks) <= rows
    exact = np.linalg.norm(embeddings[:, None] - embeddings[None], axis=2)
    np.testing.assert_allclose(np.concatenate(blocks), exact, atol=1e-6)
    assert retrieval.ranking_scores(blocks, works) == retrieval.ranking_scores(
        retrieval.distance_blocks(embeddings, embeddings), works
    )


def test_a_given_block_is_not_changed():
    distances, works = random_case(10)
    before = distances.copy()
    retrieval.ranking_scores([distances], works)
    np.testing.assert_array_equal(distances, before)


@pytest.mark.parametrize(
    "blocks",
    [
        [np.zeros((3, 4))],
        [np.zeros((4, 3))],
        [np.zeros((5, 4))],
        [np.full((4, 4), np.nan)],
        [np.zeros(4)],
        [],
    ],
)
def test_distances_that_are_no_square_are_refused(blocks):
    with pytest.raises(DataError, match="4 rows of 4 numbers"):
        retrieval.ranking_scores(blocks, ["a", "a", "b", "b"])


@pytest.mark.parametrize(
    ("queries", "items"),
    [(np.zeros((2, 3)), np.zeros((2, 4))), (np.full((2, 3), np.nan), np.zeros((2, 3)))],
)
def test_embeddings_that_cannot_be_compared_are_refused(queries, items):
    with pytest.raises(DataError, match="finite"):
        list(retrieval.distance_blocks(queries, items))


def by_stable_order(similarity, groups):
    """The scores of the probes as they were recorded: the first of equals is ranked first."""
    precisions, firsts = [], []
    for query in range(len(groups)):
        order = [i for i in np.argsort(-similarity[query], kind="stable") if i != query]
        hits = [groups[i] == groups[query] for i in order]
        if any(hits):
            places = [place + 1 for place, hit in enumerate(hits) if hit]
            precisions.append(np.mean([(k + 1) / place for k, place in enumerate(places)]))
            firsts.append(hits[0])
    return np.mean(precisions), np.mean(firsts), len(precisions)


@pytest.mark.parametrize("digits", [None, 1, 0])
def test_scores_of_the_probes_are_what_they_were(digits):
    distances, works = random_case(11, digits=digits)
    found = retrieval.retrieval_scores(-distances, works)
    expected = by_stable_order(-distances, works)
    assert tuple(found.values()) == pytest.approx(expected, abs=1e-12)


# ---- similarities ------------------------------------------------------------------------------


def versions(seed: int, *, lag: int = 7, turn: int = 5, n_works: int = 4):
    """Return works, and the same in another key and later: groups 0, 1, ..., 0, 1, ..."""
    rng = np.random.default_rng(seed)
    works = [rng.random((12, 60)) ** 4 for _ in range(n_works)]
    others = [np.roll(work, (turn, lag), axis=(0, 1)) for work in works]
    return [*works, *others], [*range(n_works)] * 2


@pytest.mark.parametrize(
    "similarity",
    [
        retrieval.correlation_similarity,
        lambda profiles: (
            -next(
                retrieval.distance_blocks(*[retrieval.fourier_magnitudes(profiles, width=32)] * 2)
            )
        ),
    ],
)
def test_versions_in_another_key_are_found_by_what_forgets_the_key(similarity):
    profiles, groups = versions(0)
    found = retrieval.retrieval_scores(similarity(profiles), groups)
    assert found["precision_at_1"] == 1.0


def test_correlation_is_that_of_loops_over_lags_and_transpositions():
    rng = np.random.default_rng(1)
    profiles = [rng.random((12, n)) for n in (9, 13, 6)]
    found = retrieval.correlation_similarity(profiles)
    unit = [p - p.mean(axis=0) for p in profiles]
    unit = [p / np.linalg.norm(p) for p in unit]

    def at(a, b, turn, lag):
        total = 0.0
        for t in range(b.shape[1]):
            if 0 <= t - lag < a.shape[1]:
                total += float(np.roll(a, turn, axis=0)[:, t - lag] @ b[:, t])
        return total

    for i, a in enumerate(unit):
        for j, b in enumerate(unit):
            best = max(
                at(a, b, turn, lag) - (at(a, b, turn, lag - 1) + at(a, b, turn, lag + 1)) / 2
                for turn in range(12)
                for lag in range(-14, 15)
            )
            assert found[i, j] == pytest.approx(best, abs=1e-12)


def test_fourier_magnitudes_forget_the_key_exactly():
    profile = np.random.default_rng(2).random((12, 50))
    vectors = retrieval.fourier_magnitudes(
        [np.roll(profile, turn, axis=0) for turn in range(12)] + [profile[:, ::-1]], width=20
    )
    assert vectors.shape == (13, 7 * 20)
    np.testing.assert_allclose(vectors[:12], np.tile(vectors[:1], (12, 1)), atol=1e-12)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1.0)
    short = retrieval.fourier_magnitudes([profile[:, :7]], width=20)
    assert np.isfinite(short).all()
