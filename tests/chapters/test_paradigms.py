"""The plane of sounds, and six ways of training on it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn import metrics

from dl101.chapters.paradigms import plane

POINTS, INSTRUMENTS = plane.sounds(300, seed=0)
TESTS, TRUTH = plane.sounds(150, seed=99)


def test_instruments_are_alike_in_number_and_in_different_places() -> None:
    assert torch.bincount(INSTRUMENTS).tolist() == [100, 100, 100]
    centres = torch.stack([POINTS[INSTRUMENTS == i].mean(0) for i in range(3)])
    assert torch.pdist(centres).min() > 0.5
    again, _ = plane.sounds(300, seed=0)
    assert torch.equal(again, POINTS)
    assert not torch.equal(plane.sounds(300, seed=1)[0], POINTS)


def test_brightness_and_attack_are_heard() -> None:
    def centroid(sound: np.ndarray) -> float:
        power = np.abs(np.fft.rfft(sound)) ** 2
        return float(np.sum(power * np.arange(len(power))) / power.sum())

    def peak(sound: np.ndarray) -> int:
        return int(np.argmax(np.abs(sound) > 0.5 * np.abs(sound).max()))

    dull, bright = plane.tone([-1.5, 0.0]), plane.tone([1.5, 0.0])
    assert centroid(bright) > 1.5 * centroid(dull)
    quick, slow = plane.tone([0.0, -1.3]), plane.tone([0.0, 1.3])
    assert peak(slow) > 4 * peak(quick)
    assert plane.phrase([[0, 0], [1, 1]]).shape == (2 * len(dull),)


def test_every_way_writes_down_its_losses_and_its_end() -> None:
    noise = torch.randn(20, 2)
    courses = (
        plane.classify(POINTS, INSTRUMENTS, TESTS, n_steps=40),
        plane.squeeze(POINTS, TESTS, n_steps=40),
        plane.arrange(POINTS, INSTRUMENTS, TESTS, n_steps=40),
        plane.compare_views(POINTS, TESTS, n_steps=40),
        plane.forge(POINTS, noise, n_steps=40),
        plane.denoise(POINTS, noise, n_steps=40, n_solve=2),
    )
    for course in courses:
        assert set(course.seen) == {0, 30, 40}
        for values in course.losses.values():
            assert len(values) == 41
            assert np.isfinite(values).all()
        assert not course.seen[40].requires_grad
    assert set(courses[4].losses) == {"judge", "maker"}


def test_a_classifier_learns_and_is_sure_of_what_it_never_saw() -> None:
    course = plane.classify(POINTS, INSTRUMENTS, TESTS, n_steps=200)
    assert (course.seen[200].argmax(-1) == TRUTH).float().mean() > 0.93
    far = 8 * torch.nn.functional.normalize(torch.randn(100, 2), dim=1)
    with torch.no_grad():
        assert course.network(far).softmax(-1).amax(-1).mean() > 0.9


def test_easy_triplets_teach_less_than_semi_hard_and_hard_ones_collapse() -> None:
    ends = {
        mining: plane.arrange(POINTS, INSTRUMENTS, TESTS, mining=mining, n_steps=200)
        for mining in ("easy", "semi-hard", "hard")
    }
    precision = {
        mining: plane.mean_average_precision(course.seen[200], TRUTH)
        for mining, course in ends.items()
    }
    assert precision["semi-hard"] > precision["easy"] + 0.1
    assert ends["easy"].losses["loss"][-1] < 1e-3
    arcs = ends["hard"].seen[200][TRUTH < 2]
    assert arcs.std(0).max() < 0.2


def test_views_that_only_attract_collapse() -> None:
    spread = {
        repel: plane.compare_views(POINTS, TESTS, repel=repel, n_steps=150).seen[150].std(0)
        for repel in (True, False)
    }
    assert spread[False].max() < 0.05
    assert spread[True].min() > 0.5


def test_precision_is_that_of_sklearn() -> None:
    places = torch.randn(30, 2, generator=torch.Generator().manual_seed(1))
    labels = torch.arange(30) % 3
    expected = []
    for i in range(30):
        others = np.arange(30) != i
        distance = np.square(places.numpy() - places[i].numpy()).sum(1)[others]
        right = (labels == labels[i]).numpy()[others]
        expected.append(metrics.average_precision_score(right, -distance))
    found = plane.mean_average_precision(places, labels)
    assert found == pytest.approx(np.mean(expected), abs=1e-6)


def test_quality_and_coverage_are_shares_of_each_side() -> None:
    real = torch.tensor([[0.0, 0.0], [1.0, 0.0], [2.0, 0.0], [3.0, 0.0]])
    made = torch.tensor([[0.1, 0.0], [0.0, 0.1], [9.0, 9.0]])
    assert plane.quality_and_coverage(made, real) == pytest.approx((2 / 3, 1 / 4))
