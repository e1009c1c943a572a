"""What the chapter on latent flow compares: equal work, and scores of sounds that are known."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from dl101.chapters.diffusion import experiment
from dl101.systems import flow_data


def test_methods_are_compared_at_equal_work():
    assert [experiment.steps_of("heun", n) for n in (2, 4, 32)] == [1, 2, 16]
    assert [experiment.steps_of("euler", n) for n in (2, 4, 32)] == [2, 4, 32]
    for changes in experiment.VARIANTS.values():
        settings = experiment.settings_of(changes)
        assert settings.sampler.method in experiment.METHODS[settings.objective]
        assert settings.training.max_epochs == settings.training.patience


def test_scores_are_named_by_what_they_were_measured_for():
    assert experiment.named({"pitch": 1.0, "frechet": 2.0}, "heun", 8) == {
        "pitch_heun_8": 1.0,
        "frechet_heun_8": 2.0,
    }


def test_notes_are_scored_against_what_was_asked_for():
    """Two of three tones have the pitch, all are called a flute."""
    t, flute = np.arange(16000) / 16000, flow_data.FAMILIES.index("flute")
    sounds = [np.sin(2 * np.pi * hz * t).astype(np.float32) for hz in (440.0, 220.0, 880.0)]
    asked = [SimpleNamespace(pitch_midi=p, family=f) for p, f in ((69, flute), (57, 0), (80, 1))]
    rng = np.random.default_rng(0)
    tagger = SimpleNamespace(
        embed_sounds=lambda sounds, rate: rng.normal(size=(len(sounds), 4)),
        families_of=lambda sounds, rate: np.eye(11)[[flute] * len(sounds)],
    )
    judge = experiment.Judge(tagger, asked, rng.normal(size=(20, 4)))
    found = judge.scores(sounds, 16000)
    assert found["pitch"] == pytest.approx(2 / 3)
    assert found["family"] == pytest.approx(1 / 3)
    assert found["frechet"] > 0
