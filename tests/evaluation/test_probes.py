"""Probes on data whose difficulty is known: separable gives 1, noise gives chance."""

from __future__ import annotations

import numpy as np
import pytest
import sklearn.metrics

from dl101.data.embedded import export
from dl101.errors import ConfigError
from dl101.evaluation import chords, pitch, probe_features, probes, retrieval, separation, tagging
from dl101.evaluation import probe_models as models

pytestmark = pytest.mark.slow

CLASSES = ("a", "b", "c")
SIZES = {"train": 60, "validation": 30, "test": 300}
RATE = 22050


def labelled(seed: int, *, separation: float) -> tuple[models.Sides, models.Sides]:
    """Draw features around one centre per class, with noise of deviation 1."""
    rng = np.random.default_rng(seed)
    centres = separation * rng.standard_normal((3, 10))
    x, y = {}, {}
    for side, n in SIZES.items():
        classes = rng.integers(3, size=n)
        y[side] = models.one_hot([CLASSES[c] for c in classes], CLASSES)
        # one feature is much larger than the others and says nothing
        noise = rng.standard_normal((n, 11)) * np.append(np.ones(10), 1000.0)
        x[side] = noise
        x[side][:, :10] += centres[classes]
    return x, y


def scores_of(x: models.Sides, y: models.Sides) -> dict[str, float]:
    found = {
        "nearest": models.nearest(x, y),
        "linear": models.linear(x, y, tagging.accuracy)["test"],
        "forest": models.forest(x, y)["test"],
        "leakage": models.leakage(x, y, tagging.accuracy),
    }
    return {name: tagging.balanced_accuracy(y["test"], value) for name, value in found.items()}


def test_separable_classes_are_told_apart() -> None:
    scores = scores_of(*labelled(0, separation=6.0))
    assert scores["nearest"] == scores["linear"] == 1.0
    assert min(scores.values()) > 0.98


def test_noise_stays_at_chance() -> None:
    for name, score in scores_of(*labelled(1, separation=0.0)).items():
        assert score == pytest.approx(1 / 3, abs=0.1), name


def test_majority_takes_the_commonest_class_of_training() -> None:
    y = {
        "train": models.one_hot(["a", "b", "b"], CLASSES),
        "test": models.one_hot(["b", "a", "c", "b"], CLASSES),
    }
    scores = models.majority(y)
    assert tagging.accuracy(y["test"], scores) == 0.5
    assert tagging.balanced_accuracy(y["test"], scores) == pytest.approx(1 / 3)


def test_macro_auc_is_that_of_scikit_learn() -> None:
    rng = np.random.default_rng(2)
    truth = (rng.random((80, 5)) < 0.3).astype(float)
    scores = np.round(truth + rng.standard_normal((80, 5)), 1)  # rounded: ties
    truth[:, 4] = 1.0  # a tag that all have cannot be ranked
    expected = sklearn.metrics.roc_auc_score(truth[:, :4], scores[:, :4], average="macro")
    assert tagging.macro_auc(truth, scores) == pytest.approx(expected)
    assert tagging.macro_auc(truth, np.zeros_like(scores)) == 0.5


def test_linear_is_the_closed_form_of_ridge_regression() -> None:
    x, y = labelled(3, separation=0.5)
    found = models.linear(x, y, tagging.accuracy)["test"]
    deviation = x["train"].std(axis=0)
    shares = y["train"].mean(axis=0)
    w = (1.0 / shares / 3)[y["train"].argmax(axis=1)]  # each class weighs a third
    mean = np.average(x["train"], axis=0, weights=w)
    a, test = (x["train"] - mean) / deviation, (x["test"] - mean) / deviation
    centre = np.full(3, 1 / 3)
    candidates = [
        test @ np.linalg.solve((a.T * w) @ a + s * np.eye(11), (a.T * w) @ (y["train"] - centre))
        + centre
        for s in models.STRENGTHS
    ]
    assert any(np.allclose(found, candidate) for candidate in candidates)


def test_rare_classes_are_recognised_too() -> None:
    rng = np.random.default_rng(6)
    x, y = {}, {}
    for side, n in SIZES.items():
        classes = np.where(rng.random(n) < 0.9, 0, 1)
        y[side] = np.eye(2)[classes]
        x[side] = rng.standard_normal((n, 1)) + 2.0 * classes[:, None]
    found = models.linear(x, y, tagging.balanced_accuracy)["test"]
    assert tagging.balanced_accuracy(y["test"], found) > 0.75
    assert models.class_weights(y["train"]) @ y["train"] == pytest.approx([30.0, 30.0])
    tags = np.array([[1.0, 1.0], [0.0, 0.0]])
    assert models.class_weights(tags).tolist() == [1.0, 1.0]


def test_chance_brackets_what_shuffled_tracks_score() -> None:
    y = models.one_hot(["a"] * 50 + ["b"] * 50, ("a", "b"))
    mean, limit = tagging.by_chance(y, y, tagging.accuracy)
    assert mean == pytest.approx(0.5, abs=0.02)
    assert limit == pytest.approx(0.5 + 2.33 * 0.05, abs=0.04)  # normal approximation


def test_retrieval_scores_of_known_rankings() -> None:
    groups = ["x", "x", "y", "z", "y"]
    perfect = np.equal.outer(np.array(groups), np.array(groups)).astype(float)
    scores = retrieval.retrieval_scores(perfect, groups)
    assert scores == {"mean_average_precision": 1.0, "precision_at_1": 1.0, "n_queries": 4.0}
    worst = retrieval.retrieval_scores(-perfect, groups)
    assert worst["precision_at_1"] == 0.0
    assert worst["mean_average_precision"] == pytest.approx(1 / 4)  # the partner comes last


def test_versions_are_found_in_another_key_and_tempo() -> None:
    rng = np.random.default_rng(4)
    works = [rng.random((12, 40)) ** 4 for _ in range(4)]
    slower = [np.repeat(np.roll(w, 5, axis=0), [1, 2] * 20, axis=1) for w in works]
    groups = [0, 1, 2, 3] * 2
    aligned = retrieval.alignment_similarity([*works, *slower])
    assert retrieval.retrieval_scores(aligned, groups)["precision_at_1"] == 1.0
    assert aligned[0, 4] > 2 * np.delete(aligned[0], [0, 4]).max()
    profiles = np.stack([w.mean(axis=1) for w in works])
    similarity = retrieval.transposed_similarity(
        np.concatenate([profiles, np.roll(profiles, 5, 1)])
    )
    assert retrieval.retrieval_scores(similarity, groups)["precision_at_1"] == 1.0


def test_si_sdr_in_closed_form() -> None:
    time_s = np.arange(RATE) / RATE
    tone, other = np.sin(2 * np.pi * 440 * time_s), np.sin(2 * np.pi * 880 * time_s)
    assert separation.si_sdr(3.0 * (tone + 0.1 * other), tone) == pytest.approx(20.0, abs=1e-6)


def test_ratio_mask_separates_what_does_not_overlap() -> None:
    time_s = np.arange(RATE) / RATE
    stems = np.stack([np.sin(2 * np.pi * f * time_s) for f in (300.0, 3000.0)])
    separated = separation.ratio_mask(stems)
    assert separated.shape == stems.shape
    np.testing.assert_allclose(separated.sum(axis=0), stems.sum(axis=0), atol=1e-8)
    assert min(map(separation.si_sdr, separated, stems)) > 20.0


def test_pitch_accuracy_counts_octaves_only_modulo_octaves() -> None:
    truth = np.array([60.0, 61.0, np.nan, 62.0, 63.0])
    estimate = np.array([60.4, 61.6, 50.0, 74.1, 63.0])
    scores = pitch.pitch_accuracy(truth, estimate)
    assert scores == {"raw_pitch_accuracy": 0.5, "raw_chroma_accuracy": 0.75}


def test_templates_find_triads_and_silence() -> None:
    chroma = np.zeros((12, 3))
    chroma[[7, 11, 2], 0] = 1.0  # G major
    chroma[[9, 0, 4], 1] = 1.0  # A minor
    assert chords.match_chords(chroma).tolist() == [7, 21, 24]


def clicks(tempo_bpm: float, pattern: str, rng: np.random.Generator, colour: float) -> np.ndarray:
    """Return 6 s of noise bursts; ``colour`` is the low-pass coefficient of their timbre."""
    audio = np.zeros(6 * RATE)
    step_s = 60.0 / tempo_bpm / 2
    for number in range(int(6.0 / step_s) - 1):
        if pattern[number % len(pattern)] == "x":
            start = int(number * step_s * RATE)
            audio[start : start + 1500] = rng.standard_normal(1500) * np.exp(-np.arange(1500) / 300)
    for _ in range(2):
        audio = np.convolve(audio, colour ** np.arange(60))[: audio.size]
    return (0.1 * audio / np.abs(audio).max()).astype(np.float32)


def test_rhythm_and_timbre_each_see_their_own() -> None:
    rng = np.random.default_rng(5)
    vectors = {"rhythm": {}, "mfcc": {}}
    labels = {"rhythm": {}, "mfcc": {}}
    for side, n in {"train": 32, "validation": 12, "test": 24}.items():
        found = {"rhythm": [], "mfcc": []}
        metre, bright = rng.integers(2, size=n), rng.integers(2, size=n)
        for has_three, is_bright in zip(metre, bright, strict=True):
            tempo = rng.uniform(110.0, 130.0)
            audio = clicks(tempo, ("x.xx", "x.x.xx")[has_three], rng, (0.9, 0.3)[is_bright])
            known = probe_features.describe(audio, RATE)
            for name in found:
                found[name].append(known[name])
        for name in found:
            vectors[name][side] = np.stack(found[name])
        labels["rhythm"][side] = models.one_hot(metre, [0, 1])
        labels["mfcc"][side] = models.one_hot(bright, [0, 1])
    for asked, given in (("rhythm", "rhythm"), ("mfcc", "mfcc"), ("rhythm", "mfcc")):
        scores = models.linear(vectors[given], labels[asked], tagging.accuracy)["test"]
        reached = tagging.accuracy(labels[asked]["test"], scores)
        # Means and deviations do not know the order of what is heard.
        assert reached > 0.9 if asked == given else reached < 0.8, (asked, given, reached)


def test_every_corpus_has_a_task_with_probes() -> None:
    assert set(probes.TASKS) == set(export.CORPORA)
    assert all(task.kind in probes.KINDS for tasks in probes.TASKS.values() for task in tasks)
    with pytest.raises(ConfigError, match="did you mean 'dances'"):
        probes.load("dance")


def test_records_of_a_small_corpus(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("DL101_CACHE", str(tmp_path))
    monkeypatch.setenv("DL101_PROGRESS", "0")
    (record,) = probes.record("piano", n_tracks=3, command="dl101 probe piano")
    assert (record.experiment, record.variant, record.n_items) == ("corpora", "salience", 1)
    assert record.data["dataset"] == "piano"
    assert 0.1 < record.metrics["accuracy"] < 0.9
