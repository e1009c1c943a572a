"""The parts of the tagging experiment: the scattering transform, the leak, a run on few tracks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dl101.chapters.auto_tagging import experiment
from dl101.chapters.auto_tagging.experiment import SCATTERING_HZ, Data, Variant
from dl101.systems.auto_tagging_data import TagTrack

pytestmark = pytest.mark.slow

RATE = SCATTERING_HZ
TIMES = np.arange(4 * RATE) / RATE


def bands(audio: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
    """Return what the first order says of each band, and the second order of each."""
    per_octave, top_hz = 4, 0.4 * RATE
    centres = top_hz * 2.0 ** (-np.arange(int(per_octave * np.log2(top_hz / 40))) / per_octave)
    values, first, second = list(experiment.scattering(audio)), [], []
    for number, envelope in enumerate(experiment.envelopes(audio, centres / RATE, per_octave)):
        slow = 0.5 * 2.0 ** np.arange(9)
        rate = RATE * envelope.size / audio.size
        n = int(np.sum(slow < min(0.4 * rate, centres[number] / per_octave)))
        first.append(values.pop(0))
        second.append(np.array([values.pop(0) for _ in range(n)]))
    assert not values
    return np.array(first), second


def test_the_envelope_of_a_tone_is_its_amplitude():
    for hz in (100.0, 1000.0):
        tone = 0.3 * np.sin(2 * np.pi * hz * TIMES)
        (envelope,) = experiment.envelopes(tone, np.array([hz / RATE]), 4.0)
        middle = envelope[len(envelope) // 4 : -len(envelope) // 4]
        np.testing.assert_allclose(middle, 0.3, rtol=0.01)
        (beside,) = experiment.envelopes(tone, np.array([2 * hz / RATE]), 4.0)
        assert beside.mean() < 0.02


def test_first_order_hears_where_and_second_order_how_fast():
    for hz, beats_hz in ((400.0, 4.0), (1600.0, 16.0)):
        tone = np.sin(2 * np.pi * hz * TIMES) * (1 + 0.9 * np.cos(2 * np.pi * beats_hz * TIMES))
        first, second = bands(tone)
        loudest = int(first.argmax())
        assert 0.4 * RATE * 2 ** (-loudest / 4) == pytest.approx(hz, rel=0.12)
        assert 0.5 * 2.0 ** int(second[loudest].argmax()) == beats_hz


def test_a_shift_in_time_and_a_gain_change_next_to_nothing():
    rng = np.random.default_rng(0)
    sound = rng.normal(size=TIMES.size) * (1 + np.sin(2 * np.pi * 3 * TIMES))
    plain = experiment.scattering(sound)
    np.testing.assert_allclose(experiment.scattering(0.01 * sound), plain, atol=1e-3)
    moved = experiment.scattering(np.roll(sound, 2000))
    assert np.abs(moved - plain).mean() < 0.05
    assert np.isfinite(experiment.scattering(np.zeros(RATE))).all()


def test_a_careless_split_knows_the_artist():
    """Timbre tells the artist and nothing of the genre: only the leak makes it useful."""
    rng = np.random.default_rng(0)
    data = Data("genres", 200, 0)
    sides = {}
    for side, n_artists in (("train", 60), ("validation", 20), ("test", 20)):
        sides[side] = []
        for artist in range(n_artists):
            voice, genre = rng.normal(size=40), artist % 10
            target = np.eye(10, dtype=np.float32)[genre]
            sides[side] += [
                TagTrack(f"{side}{artist}{k}", side, np.zeros((1, 1)), target,
                         voice + 0.1 * rng.normal(size=40), f"{side}-{artist}")
                for k in range(2)
            ]  # fmt: skip
    settings = data.settings()
    data.read[settings.input, settings.feature] = sides
    apart, known = (experiment.leak(data, careless=careless) for careless in (False, True))
    assert apart["macro_recall"] < 0.4
    assert known["macro_recall"] > 0.9
    assert apart.keys() == known.keys()


def test_the_experiment_measures_and_describes(monkeypatch):
    quick = ("training.max_epochs=1", "training.batch_size=8")
    monkeypatch.setattr(
        experiment, "VARIANTS", {"genres": {"conv2d": Variant("conv2d", quick)}, "tags": {}}
    )
    done = [f"tags: {name}" for name in experiment.comparison("tags").baselines]
    found = {m.variant: m for m in experiment.run(0, n_tracks=30, done=done)}
    assert set(found) == {"genres: conv2d"} | {
        f"genres: {name}" for name in experiment.comparison("genres").baselines
    }
    trained = found["genres: conv2d"]
    assert trained.n_items == 5 and trained.n_parameters == 110_573
    assert trained.config["changes"] == quick
    for metrics in (m.metrics for m in found.values()):
        low, high = metrics["macro_recall_low"], metrics["macro_recall_high"]
        assert 0 <= low <= metrics["macro_recall"] <= high <= 1
    assert trained.metrics["train_cpu_s"] > 0 and "patch_macro_recall" in trained.metrics
    assert found["genres: prior"].metrics["macro_recall"] == pytest.approx(0.1, abs=0.15)


def test_every_variant_can_be_built():
    for dataset, variants in experiment.VARIANTS.items():
        for variant in variants.values():
            settings = Data(dataset, 30, 0).settings(variant)
            assert settings.data.dataset == dataset and settings.data.n_tracks == 30
    centred = Data("genres", 30, 0).settings().feature
    plain = Data("genres", 30, 0).settings(experiment.VARIANTS["genres"]["conv2d, not centred"])
    assert plain.feature == replace(centred, centred=False) != centred
