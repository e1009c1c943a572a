"""Scores of labels against scikit-learn: random, tied and degenerate; and against hand counts."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from sklearn import metrics

from dl101.evaluation import tagging


def tags(seed: int, *, ties: bool = False, n: int = 60, n_classes: int = 7):
    """Return truth and scores; with ties, scores have six values only."""
    rng = np.random.default_rng([7, seed])
    truth = (rng.random((n, n_classes)) < rng.uniform(0.05, 0.9, n_classes)).astype(float)
    scores = rng.normal(size=truth.shape) + truth
    scores = np.round(scores) if ties else scores
    return truth, 1 / (1 + np.exp(-scores))


def genres(seed: int, *, n: int = 80, n_classes: int = 6):
    """Return truth and scores of one class a track; the last class is never true, but said."""
    rng = np.random.default_rng([8, seed])
    truth = np.eye(n_classes)[rng.integers(n_classes - 1, size=n)]
    return truth, rng.normal(size=truth.shape) + 1.5 * truth


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("ties", [False, True])
def test_areas_are_those_of_scikit_learn(seed, ties):
    truth, scores = tags(seed, ties=ties)
    for average in ("macro", "micro"):
        auc = metrics.roc_auc_score(truth, scores, average=average)
        ap = metrics.average_precision_score(truth, scores, average=average)
        if average == "micro":
            ours = tagging.roc_auc(truth.ravel(), scores.ravel())
            assert ours == pytest.approx(auc, abs=1e-9)
            ours = tagging.average_precision(truth.ravel(), scores.ravel())
            assert ours == pytest.approx(ap, abs=1e-9)
        else:
            assert tagging.macro_auc(truth, scores) == pytest.approx(auc, abs=1e-9)
            assert tagging.macro_ap(truth, scores) == pytest.approx(ap, abs=1e-9)
    for score, of_sklearn in (
        (tagging.roc_auc, metrics.roc_auc_score),
        (tagging.average_precision, metrics.average_precision_score),
    ):
        np.testing.assert_allclose(
            tagging.by_class(truth, scores, score),
            of_sklearn(truth, scores, average=None),
            atol=1e-9,
        )


@pytest.mark.parametrize("ties", [False, True])
def test_operating_points_are_the_corners_of_both_curves(ties):
    truth, scores = tags(5, ties=ties)
    has, scores = truth[:, 2], scores[:, 2]
    points = tagging.operating_points(has, scores)
    fpr, tpr, thresholds = metrics.roc_curve(has, scores, drop_intermediate=False)
    np.testing.assert_allclose(points.thresholds, thresholds[1:])
    np.testing.assert_allclose(points.tp / points.n_with, tpr[1:], atol=1e-12)
    np.testing.assert_allclose(points.fp / points.n_without, fpr[1:], atol=1e-12)
    precision, recall, _ = metrics.precision_recall_curve(has, scores)
    whole = np.flatnonzero(points.tp == points.n_with)[0] + 1  # scikit-learn ends at full recall
    np.testing.assert_allclose(
        (points.tp / (points.tp + points.fp))[:whole][::-1], precision[-whole - 1 : -1]
    )
    np.testing.assert_allclose((points.tp / points.n_with)[:whole][::-1], recall[-whole - 1 : -1])


def test_the_order_of_tracks_with_equal_scores_does_not_matter():
    has = np.array([1, 0, 0, 0, 1.0])
    for rows in ([0, 1, 2, 3, 4], [4, 3, 2, 1, 0], [1, 0, 2, 4, 3]):
        same = np.full(5, 0.25)
        assert tagging.roc_auc(has[rows], same) == 0.5
        assert tagging.average_precision(has[rows], same) == pytest.approx(0.4)


def test_classes_without_a_score_are_left_out_and_named():
    truth, scores = tags(1, n_classes=4)
    truth[:, 1], truth[:, 3] = 0, 1
    classes = ("a", "nobody", "c", "everybody")
    auc = tagging.by_class(truth, scores)
    assert np.isnan(auc[[1, 3]]).all() and not np.isnan(auc[[0, 2]]).any()
    assert tagging.undefined(truth, classes) == ("nobody", "everybody")
    assert tagging.undefined(truth, classes, tagging.average_precision) == ("nobody",)
    assert tagging.macro(auc) == pytest.approx(auc[[0, 2]].mean(), abs=1e-12)
    assert tagging.macro_auc(truth, scores) == pytest.approx(tagging.macro(auc), abs=1e-12)
    present = [0, 2, 3]
    expected = metrics.average_precision_score(truth[:, present], scores[:, present])
    assert tagging.macro_ap(truth, scores) == pytest.approx(expected, abs=1e-9)
    assert np.isnan(tagging.macro(np.array([np.nan, np.nan])))
    nothing = np.zeros((3, 2))
    assert np.isnan(tagging.macro_ap(nothing, nothing))


@pytest.mark.parametrize("seed", range(4))
def test_one_class_scores_are_those_of_scikit_learn(seed):
    truth, scores = genres(seed)
    true, said = truth.argmax(axis=1), scores.argmax(axis=1)
    assert 5 in said  # said, and never true
    labels = list(range(6))
    np.testing.assert_array_equal(
        tagging.confusion_matrix(truth, scores),
        metrics.confusion_matrix(true, said, labels=labels),
    )
    assert tagging.accuracy(truth, scores) == metrics.accuracy_score(true, said)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a class is said and never true
        balanced = metrics.balanced_accuracy_score(true, said)
    assert tagging.macro_recall(truth, scores) == pytest.approx(balanced, abs=1e-9)
    recall = metrics.recall_score(true, said, labels=labels[:5], average="macro")
    assert tagging.macro_recall(truth, scores) == pytest.approx(recall, abs=1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_reports_are_those_of_scikit_learn(seed):
    truth, scores = genres(seed)
    decided = tagging.one_hot_of_highest(scores)
    for truth_of, said in ((truth, decided), (tags(seed)[0], tags(seed)[1] > 0.5)):
        found = tagging.class_report(truth_of, said)
        columns = metrics.precision_recall_fscore_support(truth_of, said, zero_division=0)
        for name, column in zip(("precision", "recall", "f", "support"), columns, strict=True):
            np.testing.assert_allclose(found[name], column, atol=1e-9, err_msg=name)
        counts = metrics.multilabel_confusion_matrix(truth_of, said)
        for name, (row, column) in {"tn": (0, 0), "fp": (0, 1), "fn": (1, 0), "tp": (1, 1)}.items():
            np.testing.assert_array_equal(found[name], counts[:, row, column])
        assert tagging.micro_f(truth_of, said) == pytest.approx(
            metrics.f1_score(truth_of, said, average="micro"), abs=1e-9
        )
    nothing = np.zeros((4, 2))
    assert not any(tagging.class_report(nothing, nothing)[name].any() for name in ("tp", "f"))
    assert tagging.micro_f(nothing, nothing) == 0


def test_the_threshold_is_the_best_of_the_candidates():
    truth, probabilities = tags(3)
    levels = np.linspace(0.05, 0.95, 19)
    best = tagging.best_threshold(truth, probabilities, levels)
    values = [metrics.f1_score(truth, probabilities >= level, average="micro") for level in levels]
    assert best == levels[int(np.argmax(values))]


def test_reliability_by_hand():
    said = np.array([0.0, 0.1, 0.3, 0.35, 0.5, 1.0])
    true = np.array([0, 1, 0, 1, 1, 1.0])
    found = tagging.reliability(true, said, n_bins=2)
    np.testing.assert_array_equal(found.counts, [4, 2])  # 0.5 is in the upper bin
    np.testing.assert_allclose(found.said, [0.1875, 0.75])
    np.testing.assert_allclose(found.true, [0.5, 1.0])
    assert found.expected_error == pytest.approx((4 * 0.3125 + 2 * 0.25) / 6)


def test_reliability_is_that_of_scikit_learn():
    from sklearn.calibration import calibration_curve

    truth, probabilities = tags(2)
    found = tagging.reliability(truth, probabilities, n_bins=12)
    share, mean = calibration_curve(truth.ravel(), probabilities.ravel(), n_bins=12)
    filled = found.counts > 0
    np.testing.assert_allclose(found.true[filled], share, atol=1e-9)
    np.testing.assert_allclose(found.said[filled], mean, atol=1e-9)
    assert np.isnan(found.said[~filled]).all() and found.counts.sum() == truth.size
    exact = tagging.reliability(np.ones((3, 2)), np.ones((3, 2)))
    assert exact.expected_error == 0 and exact.counts[-1] == 6


def test_the_interval_of_an_accuracy_is_that_of_a_binomial():
    rng = np.random.default_rng(0)
    truth = np.eye(2)[np.zeros(200, dtype=int)]
    scores = np.eye(2)[(rng.random(200) < 0.3).astype(int)]
    low, high = tagging.bootstrap(truth, scores, tagging.accuracy, n_draws=2000)
    p = tagging.accuracy(truth, scores)
    width = 1.96 * np.sqrt(p * (1 - p) / 200)
    assert low == pytest.approx(p - width, abs=0.012)
    assert high == pytest.approx(p + width, abs=0.012)
    again = tagging.bootstrap(truth, scores, tagging.accuracy, n_draws=2000)
    assert again == (low, high)
    narrow = tagging.bootstrap(truth, scores, tagging.accuracy, confidence=0.5)
    assert low < narrow[0] < narrow[1] < high


def test_the_interval_leaves_out_draws_without_a_score():
    truth = np.array([[1.0], [0], [0], [0], [0]])
    scores = np.array([[0.9], [0.1], [0.2], [0.3], [0.4]])
    assert tagging.bootstrap(truth, scores, lambda t, s: tagging.macro(tagging.by_class(t, s))) == (
        1,
        1,
    )
