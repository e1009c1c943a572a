"""The parts of the chroma experiment: truths, transposition, scores; and that it learns."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from dl101.chapters.chroma import experiment
from dl101.chapters.chroma.experiment import ChordTrack
from dl101.data import harte
from dl101.signal import cqt
from dl101.training.fit import TrainingConfig
from dl101.units import midi_to_hz

pytestmark = pytest.mark.slow

RATE = 22050
QUICK = TrainingConfig(max_epochs=8, patience=8, batch_size=64, learning_rate=1e-3)


def test_pitch_classes_of_chords():
    labels = ["C:maj", "A:min", "B:maj", "N", "C:sus4"]
    target = experiment.pitch_classes(np.array([harte.to_class(label) for label in labels]))
    found = [set(np.flatnonzero(column)) for column in target.T]
    assert found == [{0, 4, 7}, {9, 0, 4}, {11, 3, 6}, set(), set()]


def test_classes_move_with_the_chroma():
    classes = np.array([harte.to_class(each) for each in ("B:maj", "A:min", "N", "C:dim")])
    wanted = [harte.to_class(each) for each in ("Db:maj", "B:min", "N", "C:dim")]
    assert experiment.transposed_classes(classes, 2).tolist() == wanted
    moved = experiment.pitch_classes(experiment.transposed_classes(classes, 5))
    np.testing.assert_array_equal(moved, np.roll(experiment.pitch_classes(classes), 5, axis=0))


@pytest.mark.parametrize("steps", [-5, 0, 4])
def test_a_transposed_excerpt_is_what_the_higher_sound_gives(steps):
    """Moving the picture is the same as playing higher."""
    time_s = np.arange(6 * RATE) / RATE
    low, high = (
        cqt.cqt(np.sin(2 * np.pi * midi_to_hz(p) * time_s), experiment.INPUT, sample_rate=RATE)
        for p in (62, 62 + steps)
    )
    target = np.eye(12)[[2] * low.values.shape[2]]
    moved, rotated = experiment.transposed(experiment.excerpts(low), target, steps)
    wanted = experiment.excerpts(high)
    middle = slice(20, -20)  # the ends of a tone look different at each height
    likeness = np.corrcoef(moved[middle].ravel(), wanted[middle].ravel())[0, 1]
    assert likeness > 0.93  # side lobes differ a little, and the logarithm shows them
    if steps:
        back, _ = experiment.transposed(experiment.excerpts(low), target, -steps)
        assert np.corrcoef(back[middle].ravel(), wanted[middle].ravel())[0, 1] < 0.8
    assert set(rotated.argmax(axis=1)) == {(2 + steps) % 12}


def test_an_excerpt_has_its_frame_in_the_middle():
    spectrum = cqt.cqt(np.random.default_rng(0).normal(size=RATE), experiment.INPUT)
    found = experiment.excerpts(spectrum)
    values = np.log1p(experiment.DEEP_COMPRESSION * spectrum.values[0])
    assert found.shape == (values.shape[1], 15, 216)
    np.testing.assert_allclose(found[:, experiment.CONTEXT_FRAMES], values.T, rtol=1e-5)
    assert not found[0, : experiment.CONTEXT_FRAMES].any()


def test_frames_without_class_do_not_count():
    assert experiment.frame_accuracy(np.array([1, 2, 3]), np.array([1, 3, harte.IGNORED])) == 0.5


def test_linear_model_learns_all_keys_from_one():
    rng = np.random.default_rng(0)
    classes = np.repeat([harte.to_class("C:maj"), harte.to_class("A:min"), 24], 80)
    rng.shuffle(classes)
    noisy = experiment.pitch_classes(classes) + 0.1 * rng.normal(size=(12, 240))
    model = experiment.LinearChords([noisy], [classes])
    for steps in range(12):
        moved = experiment.transposed_classes(classes, steps)
        assert np.mean(model(np.roll(noisy, steps, axis=0)) == moved) > 0.95


def _track(seed: int, cents: float = 0.0) -> ChordTrack:
    """Triads of tones with harmonics, 12 s, a chord a second."""
    rng = np.random.default_rng([seed])
    time_s = np.arange(12 * RATE) / RATE
    labels = [harte.CLASSES[i] for i in rng.integers(0, 24, 12)]
    audio = 0.01 * rng.normal(size=time_s.size)
    for second, label in enumerate(labels):
        inside = slice(second * RATE, (second + 1) * RATE)
        for pitch_class in harte.parse(label).pitch_classes:
            pitch = 48 + pitch_class + 12 * rng.integers(2) + cents / 100
            for h in range(1, 7):
                audio[inside] += (
                    0.05 / h * np.sin(2 * np.pi * h * midi_to_hz(pitch) * time_s[inside])
                )
    spectra, estimated = experiment.spectra_of(audio.astype(np.float32), RATE)
    times_s = spectra["plain"].times
    classes = harte.class_frames(np.arange(12.0), np.ones(12), labels, times_s)
    target = experiment.pitch_classes(classes)
    return ChordTrack(f"{seed}", spectra, classes, target, cents, estimated, False)


@pytest.fixture(scope="module")
def tracks() -> dict[str, list[ChordTrack]]:
    return {
        "train": [_track(seed) for seed in range(4)],
        "validation": [_track(4)],
        "test": [_track(seed, cents=35.0) for seed in (5, 6)],
    }


def test_tuning_matters_where_the_test_is_detuned(tracks):
    every = [track for side in tracks.values() for track in side]
    assert all(abs(t.estimated_cents - t.tuning_cents) < 4 for t in every)
    plain = experiment.judge(tracks, experiment.hand_made("plain"))
    tuned = experiment.judge(tracks, experiment.hand_made("tuned"))
    guess = np.mean(experiment.most_frequent(tracks))
    assert guess < 0.3
    assert np.mean(tuned.linear) > max(0.6, np.mean(plain.linear))
    assert len(tuned.templates) == 2


def test_the_network_learns_pitch_classes_the_same_way_each_time(tracks):
    learned = experiment.learn_chroma(tracks, seed=3, training=QUICK, progress=False)
    again = experiment.learn_chroma(tracks, seed=3, training=QUICK, progress=False)
    for mine, other in zip(learned.network.parameters(), again.network.parameters(), strict=True):
        assert torch.equal(mine, other)
    track = tracks["test"][-1]
    found = learned(track.spectra)
    assert found.shape == track.target.shape
    lit, dark = found[track.target == 1].mean(), found[track.target == 0].mean()
    assert lit > dark + 0.4


def test_run_scores_every_chroma_on_the_chords(tracks, monkeypatch):
    once = replace(QUICK, max_epochs=1)
    monkeypatch.setattr(experiment, "TRAINING", once)
    used = []

    def learn_chroma(sides, spectrum, **options):
        used.append(sides)
        return learn(sides, spectrum, training=once, progress=False, **options)

    learn = experiment.learn_chroma
    monkeypatch.setattr(experiment, "learn_chroma", learn_chroma)
    test = [replace(tracks["test"][0], has_drums=True), tracks["test"][1]]
    tracks = {**tracks, "test": test}
    names = ("plain", "tuned-log", "deep-notes-tuned", "deep-chords-tuned")
    notes = dict(tracks)
    small = replace(
        experiment.COMPARISON,
        load=lambda **_: {"chords": tracks, experiment.NOTES: notes},
        variants={name: experiment.VARIANTS[name] for name in names},
    )
    found = {each.variant: each for each in small.run(0)}
    assert [sides is notes for sides in used] == [True, False]
    assert list(found) == ["majority", *names]
    assert found["plain"].n_parameters == 0 < found["deep-notes-tuned"].n_parameters
    assert found["deep-notes-tuned"].config["epochs"] == 1
    plain = found["plain"].metrics
    by_track = experiment.judge(tracks, experiment.hand_made("plain")).linear
    assert (plain["linear"], plain["linear_drums"]) == (np.mean(by_track), by_track[0])
