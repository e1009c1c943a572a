"""Metrics of generated sets against closed forms, other implementations and plain loops."""

import itertools

import numpy as np
import pytest
import scipy.linalg
import scipy.stats

from dl101.errors import DataError
from dl101.evaluation import generation as g


def sets(n=40, m=33, d=6, seed=0):
    rng = np.random.default_rng(seed)
    mix = rng.normal(size=(d, d))
    return rng.normal(size=(n, d)) @ mix, 1.3 * rng.normal(size=(m, d)) @ mix + 0.4


def by_sqrtm(a, b):
    """The textbook formula."""
    ca, cb = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    root = scipy.linalg.sqrtm(ca @ cb).real
    return np.sum((a.mean(0) - b.mean(0)) ** 2) + np.trace(ca + cb - 2 * root)


# --- Fréchet distance ---


@pytest.mark.parametrize("seed", range(4))
def test_frechet_is_the_textbook_formula(seed):
    a, b = sets(seed=seed)
    assert g.frechet_distance(a, b) == pytest.approx(by_sqrtm(a, b), rel=1e-10)
    moments = [(x.mean(0), np.cov(x, rowvar=False)) for x in (a, b)]
    of_gaussians = g.frechet_distance_of_gaussians(*moments[0], *moments[1])
    assert of_gaussians == pytest.approx(by_sqrtm(a, b), rel=1e-10)
    assert g.frechet_distance(b, a) == pytest.approx(g.frechet_distance(a, b), rel=1e-10)


def test_frechet_in_closed_form():
    """Axis by axis for diagonal covariances: differences of means and of deviations, squared."""
    va, vb = np.array([4.0, 1.0, 0.0]), np.array([1.0, 9.0, 0.25])
    expected = 3.0**2 + (2 - 1) ** 2 + (1 - 3) ** 2 + 0.5**2
    got = g.frechet_distance_of_gaussians([0, 0, 0], np.diag(va), [3, 0, 0], np.diag(vb))
    assert got == pytest.approx(expected, abs=1e-12)
    a = np.random.default_rng(1).normal(size=(20, 4))
    shift = np.array([1.0, -2.0, 0.5, 0.0])
    assert g.frechet_distance(a, a + shift) == pytest.approx(shift @ shift, rel=1e-10)
    turned = scipy.stats.special_ortho_group.rvs(4, random_state=0)
    b = a[:, ::-1] * 2
    assert g.frechet_distance(a @ turned, b @ turned) == pytest.approx(g.frechet_distance(a, b))


def test_frechet_of_degenerate_sets():
    a, b = sets(n=5, m=4, d=30)  # fewer items than dimensions: singular covariances
    ca, cb = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    roots = np.sqrt(np.maximum(np.linalg.eigvals(ca @ cb).real, 0)).sum()
    expected = np.sum((a.mean(0) - b.mean(0)) ** 2) + np.trace(ca + cb) - 2 * roots
    assert g.frechet_distance(a, b) == pytest.approx(expected, rel=1e-6)
    moments = [(x.mean(0), np.cov(x, rowvar=False)) for x in (a, b)]
    assert g.frechet_distance_of_gaussians(*moments[0], *moments[1]) == pytest.approx(
        g.frechet_distance(a, b), rel=1e-7
    )
    assert g.frechet_distance(a, a) == pytest.approx(0, abs=1e-9)
    assert g.frechet_distance(a, a[::-1]) == pytest.approx(0, abs=1e-9)
    constant = np.ones((7, 3))
    assert g.frechet_distance(constant, constant) == 0
    assert g.frechet_distance(constant, constant + np.array([0, 2, 0])) == pytest.approx(4)
    c = np.random.default_rng(2).normal(size=(9, 3))
    expected = np.sum((c.mean(0) - 1) ** 2) + np.trace(np.cov(c, rowvar=False))
    assert g.frechet_distance(constant, c) == pytest.approx(expected)


def test_frechet_of_few_items_is_too_large_and_extrapolation_less_so():
    rng = np.random.default_rng(3)
    reference = rng.normal(size=(20_000, 16))
    by_size = {
        n: np.mean([g.frechet_distance(reference, rng.normal(size=(n, 16))) for _ in range(8)])
        for n in (20, 100, 500)
    }
    assert by_size[20] > 3 * by_size[100] > 9 * by_size[500] > 0  # about 1 / n
    found = [g.frechet_infinity(reference, rng.normal(size=(200, 16)), seed=s) for s in range(8)]
    at_infinity = np.mean([each.at_infinity for each in found])
    assert abs(at_infinity) < 0.2 * by_size[100]
    assert all(each.slope > 0 for each in found)
    assert set(found[0].sizes) == {50, 56, 64, 74, 88, 108, 140, 200} and len(found[0].sizes) == 24


def test_extrapolation_is_a_line_through_subsets_and_knows_its_draws():
    a, b = sets(n=200, m=120)
    found = g.frechet_infinity(a, b, sizes=[30, 60, 120], n_draws=5, seed=4)
    fit = scipy.stats.linregress(1 / found.sizes, found.distances)
    assert found.at_infinity == pytest.approx(fit.intercept, rel=1e-9)
    assert found.slope == pytest.approx(fit.slope, rel=1e-9)
    assert found.distances[-1] == pytest.approx(g.frechet_distance(a, b), rel=1e-9)
    again = g.frechet_infinity(a, b, sizes=[30, 60, 120], n_draws=5, seed=4)
    assert np.array_equal(found.distances, again.distances)
    # what is left out is drawn at random, not the first items
    assert found.distances[0] != pytest.approx(g.frechet_distance(a, b[:30]))


def test_extrapolation_of_both_sides_takes_the_bias_of_a_small_reference_away():
    rng = np.random.default_rng(12)
    left = {False: [], True: []}
    for seed in range(12):
        a, b = rng.normal(size=(2, 160, 16))
        for both, found in left.items():
            found.append(g.frechet_infinity(a, b, both=both, seed=seed).at_infinity)
    assert abs(np.mean(left[True])) < 0.25 * np.mean(left[False])
    found = g.frechet_infinity(a, b[:50], both=True, sizes=[20, 50])
    assert found.sizes.max() == 50
    whole = found.distances[found.sizes == 50]  # all generated items, another part of the reference
    assert len(set(whole.round(9))) == 3
    with pytest.raises(DataError, match="from 2 to 50"):
        g.frechet_infinity(a[:50], b, both=True, sizes=[20, 60])


# --- KID ---


def kid_by_loops(a, b, degree=3):
    def k(x, y):
        return (float(x @ y) / len(x) + 1) ** degree

    within = [
        np.mean([k(s[i], s[j]) for i, j in itertools.permutations(range(len(s)), 2)])
        for s in (a, b)
    ]
    return sum(within) - 2 * np.mean([k(x, y) for x in a for y in b])


@pytest.mark.parametrize(("n", "m", "d"), [(9, 7, 4), (3, 3, 1), (5, 8, 20)])
def test_kid_and_its_error_by_loops(n, m, d):
    a, b = sets(n, m, d, seed=5)
    found = g.kernel_distance(a, b)
    assert found.value == pytest.approx(kid_by_loops(a, b), rel=1e-9)
    left_a = [kid_by_loops(np.delete(a, i, axis=0), b) for i in range(n)]
    left_b = [kid_by_loops(a, np.delete(b, i, axis=0)) for i in range(m)]
    variance = sum((len(x) - 1) / len(x) * np.sum((x - np.mean(x)) ** 2) for x in (left_a, left_b))
    assert found.standard_error == pytest.approx(np.sqrt(variance), rel=1e-8)
    assert g.kernel_distance(a, b, degree=1).value == pytest.approx(kid_by_loops(a, b, 1), rel=1e-9)


def test_kid_is_unbiased_and_its_error_is_the_spread():
    rng = np.random.default_rng(6)
    found = [
        g.kernel_distance(rng.normal(size=(40, 5)), 0.3 + rng.normal(size=(30, 5)))
        for _ in range(400)
    ]
    many = g.kernel_distance(rng.normal(size=(4000, 5)), 0.3 + rng.normal(size=(4000, 5)))
    values = np.array([each.value for each in found])
    assert values.mean() == pytest.approx(many.value, abs=4 * values.std() / 20)
    assert np.mean([each.standard_error for each in found]) == pytest.approx(values.std(), rel=0.2)
    same = [
        g.kernel_distance(rng.normal(size=(12, 5)), rng.normal(size=(12, 5))).value
        for _ in range(400)
    ]
    assert np.mean(same) == pytest.approx(0, abs=4 * np.std(same) / 20)
    assert min(same) < 0


def test_kid_of_constant_embeddings():
    found = g.kernel_distance(np.ones((5, 2)), np.ones((6, 2)))
    assert found == g.Estimate(0.0, 0.0)
    apart = g.kernel_distance(np.ones((5, 2)), np.zeros((6, 2)))
    assert apart.value == pytest.approx(2**3 + 1 - 2)  # k(1,1) + k(0,0) - 2 k(1,0)
    assert apart.standard_error == pytest.approx(0, abs=1e-12)


# --- inception score ---


def test_inception_score_between_one_and_the_number_of_classes():
    assert g.inception_score(np.full((6, 4), 0.25)) == pytest.approx(1)
    assert g.inception_score(np.tile(np.eye(5), (3, 1))) == pytest.approx(5)
    assert g.inception_score(np.tile([[0.0, 1.0]], (7, 1))) == pytest.approx(1)
    assert g.inception_score([[0.2, 0.8]]) == pytest.approx(1)  # one item: nothing varies
    shares = np.array([0.5, 0.25, 0.25])
    sure = np.repeat(np.eye(3), [4, 2, 2], axis=0)
    assert g.inception_score(sure) == pytest.approx(np.exp(scipy.stats.entropy(shares)))


def test_inception_score_by_scipy():
    p = np.random.default_rng(7).dirichlet([0.3] * 6, size=50)
    divergences = [scipy.stats.entropy(row, p.mean(axis=0)) for row in p]
    assert g.inception_score(p) == pytest.approx(np.exp(np.mean(divergences)), rel=1e-10)


# --- neighbours ---


def balls_by_loops(items, k):
    return [
        sorted(np.linalg.norm(x - y) for j, y in enumerate(items) if j != i)[k - 1]
        for i, x in enumerate(items)
    ]


@pytest.mark.parametrize("k", [1, 3, 5])
def test_neighbours_by_loops(k):
    a, b = sets(25, 21, 3, seed=8)
    b[:12] = b[:12] / 3 + a[:12]
    b[12:16] += 9
    ra, rb = balls_by_loops(a, k), balls_by_loops(b, k)
    inside = [[np.linalg.norm(x - y) <= r for x, r in zip(a, ra, strict=True)] for y in b]
    precision = np.mean([any(row) for row in inside])
    recall = np.mean([
        any(np.linalg.norm(x - y) <= r for y, r in zip(b, rb, strict=True)) for x in a
    ])  # fmt: skip
    assert g.precision_recall(a, b, k=k) == pytest.approx((precision, recall), abs=1e-12)
    assert 0 < precision < 1
    density = np.mean([sum(row) for row in inside]) / k
    coverage = np.mean([any(column) for column in zip(*inside, strict=True)])
    assert g.density_coverage(a, b, k=k) == pytest.approx((density, coverage), abs=1e-12)


def test_neighbours_of_known_sets():
    a = np.random.default_rng(9).normal(size=(60, 4))
    assert g.precision_recall(a, a) == (1, 1)
    assert g.density_coverage(a, a)[1] == 1
    assert g.precision_recall(a, a + 100) == (0, 0)
    assert g.density_coverage(a, a + 100) == (0, 0)
    dropped = np.repeat(a[:1], 60, axis=0)
    precision, recall = g.precision_recall(a, dropped)
    assert precision == 1 and recall < 0.1
    constant = np.ones((9, 2))
    assert g.precision_recall(constant, constant) == (1, 1)
    # an outlier widens the balls of a generated set, not of the reference
    apart = np.concatenate([a, a + 50])
    with_outliers = np.concatenate([a[:10], 500 + a[:3]])
    assert g.density_coverage(apart, with_outliers)[1] < 0.5


def test_memorisation_tells_copies():
    rng = np.random.default_rng(10)
    training, held_out, fresh = (rng.normal(size=(n, 3)) for n in (80, 50, 60))
    distance, index = g.nearest(training[[5, 2]], training)
    assert list(index) == [5, 2] and list(distance) == [0, 0]
    by_loops = [
        (d := min(np.linalg.norm(x - t) for t in training)) and
        [d < (u := min(np.linalg.norm(h - t) for t in training)) or 0.5 * (d == u)
         for h in held_out]
        for x in fresh
    ]  # fmt: skip
    assert g.memorisation(fresh, training, held_out) == pytest.approx(np.mean(by_loops))
    assert g.memorisation(training[:20], training, held_out) == 1
    assert g.memorisation(held_out, training, held_out) == 0.5
    assert g.memorisation(fresh + 9, training, held_out) == 0
    near, usual = g.nearest(fresh, training)[0], g.nearest(held_out, training)[0]
    u = scipy.stats.mannwhitneyu(usual, near).statistic / (near.size * usual.size)
    assert g.memorisation(fresh, training, held_out) == pytest.approx(u)


# --- what is refused ---

GOOD = np.random.default_rng(11).normal(size=(8, 3))
WITH_NAN = np.where(np.arange(24).reshape(8, 3) == 5, np.nan, GOOD)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: g.frechet_distance(GOOD[:1], GOOD), "reference set: got 1 items.*at least 2"),
        (lambda: g.frechet_distance(GOOD, GOOD[0]), r"generated set: got shape \(3,\)"),
        (lambda: g.frechet_distance(GOOD, np.zeros((0, 3))), "got 0 items"),
        (lambda: g.frechet_distance(GOOD, np.zeros((5, 0))), r"got shape \(5, 0\)"),
        (lambda: g.frechet_distance(GOOD, GOOD[:, :2]), "3 dimensions and 2"),
        (lambda: g.frechet_distance(WITH_NAN, GOOD), "1 items with NaN"),
        (lambda: g.kernel_distance(GOOD, GOOD[:2]), "generated set: got 2 items.*at least 3"),
        (lambda: g.frechet_infinity(GOOD, GOOD, sizes=[4, 4]), "two different numbers from 2 to 8"),
        (lambda: g.frechet_infinity(GOOD, GOOD, sizes=[4, 9]), "from 2 to 8"),
        (lambda: g.frechet_infinity(GOOD, GOOD, sizes=[1, 4]), "from 2 to 8"),
        (lambda: g.precision_recall(GOOD, GOOD, k=8), "neighbours: got k = 8 for 8 items"),
        (lambda: g.precision_recall(GOOD, GOOD[:2], k=3), "k = 3 for 2 items"),
        (lambda: g.density_coverage(GOOD, GOOD, k=0), "k = 0"),
        (lambda: g.memorisation(GOOD, GOOD[:, :1], GOOD), "1 dimensions and 3"),
        (lambda: g.inception_score(GOOD), "inception score: got rows that sum to"),
        (lambda: g.inception_score([[1.5, -0.5]]), "probabilities that sum to 1"),
        (
            lambda: g.frechet_distance_of_gaussians([0, 0], np.eye(3), [0, 0], np.eye(2)),
            r"covariance: got shape \(3, 3\); expected a symmetric matrix of 2 rows",
        ),
        (
            lambda: g.frechet_distance_of_gaussians([0, 0], -np.eye(2), [0, 0], np.eye(2)),
            "smallest eigenvalue -1",
        ),
        (
            lambda: g.frechet_distance_of_gaussians([0], [[1]], [0, 0], [[1]]),
            r"\(1,\) and \(2,\)",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_judged_is_refused(call, words):
    with pytest.raises(DataError, match=words):
        call()
