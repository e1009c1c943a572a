"""The experiment on augmentation: versions have the right labels, scores say what they claim."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from dl101.chapters.augmentation import experiment
from dl101.chapters.augmentation.experiment import (
    LabelledSounds,
    Network,
    Sound,
    Training,
    Versions,
)
from dl101.data.splits import SIDES
from dl101.signal.augment import Augmented

pytestmark = pytest.mark.slow

RATE = experiment.RATE


def click_track(tempo_bpm: float, duration_s: float = 10.0) -> np.ndarray:
    audio = np.zeros(round(duration_s * RATE), np.float32)
    for beat_s in np.arange(0.1, duration_s - 0.1, 60 / tempo_bpm):
        audio[round(beat_s * RATE) :][:200] = np.random.default_rng(0).standard_normal(200)
    return audio


def chord_sound(label: int, side: str) -> Sound:
    time_s = np.arange(RATE) / RATE
    steps = (0, 3, 7) if label >= 12 else (0, 4, 7)
    tones = [261.6 * 2 ** ((label % 12 + step) / 12) for step in steps]
    audio = sum(0.1 * np.sin(2 * np.pi * f * time_s) for f in tones).astype(np.float32)
    return Sound(audio, label, side)


@pytest.mark.parametrize(("label", "semitones", "wanted"), [(0, 1, 1), (11, 1, 0), (12, -1, 23)])
def test_chords_wrap_within_their_mode(label, semitones, wanted):
    moved = experiment.moved_chord(label, Augmented(np.zeros(1), RATE, semitones=semitones))
    assert moved == wanted


def test_moved_labels_fit_the_moved_sounds():
    """The strongest pitch classes of every version are those of the chord that its label names."""
    sounds = [chord_sound(label, "train") for label in (0, 9, 16, 23)]
    sounds += [chord_sound(5, side) for side in ("validation", "test")]
    chords = LabelledSounds("chord", tuple(sounds), experiment.harte.CLASSES[:24], 0)
    sides = chords.versions(("pitch",), n_versions=3, progress=False)
    versions = sides["train"]["pitch"]
    assert versions.inputs.shape == (3, 4, 216)
    assert len(set(versions.labels[:, 0])) > 1
    axis = np.round(36 + 12 * np.log2(65.4 / 65.406) + np.arange(216) / 3).astype(int) % 12
    for inputs, labels in zip(versions.inputs, versions.labels, strict=True):
        for values, label in zip(inputs, labels, strict=True):
            chroma = np.array([np.expm1(values)[axis == c].sum() for c in range(12)])
            root, third = int(label % 12), 3 if label >= 12 else 4
            notes = {root, (root + third) % 12, (root + 7) % 12}
            assert set(np.argsort(chroma)[-3:]) == notes
    assert "pitch" not in sides["test"]
    again = chords.versions(("pitch",), n_versions=3, progress=False)["train"]["pitch"]
    np.testing.assert_array_equal(again.inputs, versions.inputs)


@pytest.mark.parametrize("tempo_bpm", [75.0, 120.0])
def test_rhythm_peaks_at_the_beat(tempo_bpm):
    values = experiment.rhythm(click_track(tempo_bpm))
    near = np.abs(np.log(experiment.LAGS_S * tempo_bpm / 60)) < 0.05
    assert values[near].max() > 0.8 * values[experiment.LAGS_S > 0.3].max()
    assert values[near].max() > 5 * np.median(np.abs(values))


def test_tempo_is_asked_of_the_same_sounds_with_their_own_labels():
    sounds = [Sound(click_track(t), 0, side, 0.0, t) for side in SIDES for t in (90, 120)]
    dances = LabelledSounds("dance", tuple(sounds), ("reel",), 0)
    sides = dances.versions(("gain", "stretch"), progress=False)
    asked, told = experiment.asked_for_tempo((dances, sides))
    assert told["train"]["plain"].labels.tolist() == [[90, 120]]
    assert told["train"]["gain"].labels.tolist() == [[90, 120]] * 2
    stretched = told["train"]["stretch"]
    assert stretched.inputs is sides["train"]["stretch"].inputs
    assert not np.isclose(stretched.labels, [90, 120]).any()
    for values, tempo in zip(stretched.inputs[:, 0], stretched.labels[:, 0], strict=True):
        near = np.abs(np.log(experiment.LAGS_S * tempo / 60)) < 0.05
        assert values[near].max() > 0.8 * values[experiment.LAGS_S > 0.3].max()
    targets = asked.targets(stretched.labels)
    np.testing.assert_allclose(targets.sum(axis=-1), 1, rtol=1e-5)
    assert asked.score(targets, stretched.labels) == 1.0
    assert asked.score(targets, stretched.labels * 1.06) == 0.0
    # always the tempo that is right most often in training: here of one of the two test tracks
    assert asked.baseline(told) == 0.5


def toy() -> experiment.Data:
    """Two classes in one number; gain versions move another number, and nothing else."""
    rng = np.random.default_rng(0)
    sides = {}
    for side, n in (("train", 96), ("validation", 64), ("test", 64)):
        labels = rng.integers(2, size=n)
        x = 0.3 * rng.standard_normal((n, 8)).astype(np.float32)
        x[:, 0] += labels
        plain = Versions(x[None], labels[None].astype(float))
        level = rng.uniform(-3, 3, (2, n))
        moved = np.stack([x, x])
        moved[..., 1] += level
        sides[side] = {
            "plain": plain,
            "gain": Versions(moved, np.stack([labels, labels]).astype(float), {"gain": level}),
        }
    return LabelledSounds("instrument", (), ("a", "b"), 0), sides


def test_training_alike_makes_blind_to_what_varied():
    data, scores = toy(), {}
    for kind in ("nothing", "gain"):
        network = experiment.train_alike(kind, data)
        scores[kind] = experiment.blindness(network, data)
    assert scores["gain"]["change_gain"] < 0.8 * scores["nothing"]["change_gain"]


def test_training_learns_and_left_labels_are_wrong_labels():
    labelled, sides = toy()
    network = experiment.train(Training("nothing"), (labelled, sides))
    assert experiment.accuracy(network, (labelled, sides)) > 0.9
    # versions whose true label is the other class: left as they were, they only confuse
    plain = sides["train"]["plain"]
    flipped = Versions(-plain.inputs, 1 - plain.labels)
    flipped.inputs[..., 0] += 1
    sides["train"]["pitch"] = flipped
    scores = []
    for labels_move in (True, False):
        way = Training("flipped", ("pitch",), labels_move=labels_move)
        logits = experiment.answers(experiment.train(way, (labelled, sides)), flipped.inputs[0])[1]
        scores.append(labelled.score(logits, flipped.labels[0]))
    assert scores[0] > 0.9
    assert scores[1] < 0.6


def test_run_shares_the_sounds_and_counts_what_was_trained(monkeypatch):
    """Every task once; without labels, the head is not trained and not counted."""
    labelled, sides = toy()
    loaded = []

    def load(task, **_):
        loaded.append(task)
        return replace(labelled, task=task), sides

    monkeypatch.setattr(experiment, "load", load)

    def asked_for_tempo(data):
        loaded.append(f"tempo of {data[0].task}")
        return data

    monkeypatch.setattr(experiment, "asked_for_tempo", asked_for_tempo)
    monkeypatch.setattr(experiment, "ALIKE_EPOCHS", 1)
    monkeypatch.setattr(
        experiment, "TASKS", {n: replace(t, epochs=1) for n, t in experiment.TASKS.items()}
    )
    two = {name: experiment.trainings("instrument")[name] for name in ("nothing", "gain")}
    small = {
        task: replace(comparison, variants=two, load=partial(load, task))
        for task, comparison in experiment.COMPARISONS.items()
    }
    monkeypatch.setattr(experiment, "COMPARISONS", small)
    alike = replace(experiment.ALIKE, variants={"gain": "gain"})
    monkeypatch.setattr(experiment, "ALIKE", alike)
    found = {each.variant: each for each in experiment.run(0)}
    ways = ("most frequent", "nothing", "gain")
    order = [f"{task}: {way}" for task in experiment.TASKS for way in ways]
    assert list(found) == [*order[:3], "alike: gain", *order[3:]]
    assert loaded == ["instrument", "chord", "dance", "tempo of dance"]
    assert all(each.n_items == 64 for each in found.values())
    with_labels, without = found["instrument: gain"], found["alike: gain"]
    assert with_labels.n_parameters - without.n_parameters == 2 * experiment.N_CHANNELS + 2
    assert "accuracy" in with_labels.metrics and "change_gain" in without.metrics
    assert not [name for name in without.metrics if "accuracy" in name]


def test_probe_and_contrast_by_their_closed_forms():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((300, 5))
    y = x @ [1, 2, 0, 0, -1] + 3
    assert experiment.probe(x[:200], y[:200], x[200:], y[200:]) > 0.99
    assert experiment.probe(x[:200], rng.permutation(y[:200]), x[200:], y[200:]) < 0.1
    pair = torch.eye(4).repeat(2, 1)  # partners equal, all others at right angles
    wanted = -np.log(np.exp(1 / 0.5) / (np.exp(1 / 0.5) + 6))
    assert experiment.nt_xent(pair, 0.5).item() == pytest.approx(wanted, rel=1e-5)


def test_masks_differ_within_a_batch():
    x = np.ones((6, 64, 52), np.float32)
    plan = experiment.TASKS["instrument"]
    masked = experiment.masked(x, plan, np.random.default_rng(0))
    assert len({each.tobytes() for each in masked}) > 3
    flat = experiment.masked(x[..., 0], experiment.TASKS["dance"], np.random.default_rng(0))
    assert flat.shape == (6, 64)
    assert (flat == 0).any()


@pytest.mark.parametrize("task", experiment.TASKS)
def test_labels_are_left_only_where_they_would_move(task):
    ways = experiment.trainings(task)
    left = {way.split(",")[0] for way in ways if "left" in way}
    assert left == {"chord": {"pitch"}, "tempo": {"stretch"}}.get(task, set())
    network = Network(np.zeros((2, 8, 20), np.float32) + np.arange(20, dtype=np.float32), 3)
    assert network(torch.zeros(2, 8, 20)).shape == (2, 3)
