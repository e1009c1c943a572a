"""The experiment on transposition: what it asks, and that its inputs say what they should."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from dl101.chapters.constant_q import experiment
from dl101.units import midi_to_hz

pytestmark = pytest.mark.slow

RATE = experiment.CONFIG.sample_rate


def note(pitch_midi: float) -> np.ndarray:
    t = np.arange(RATE) / RATE
    waves = [np.sin(2 * np.pi * h * midi_to_hz(pitch_midi) * t) / h for h in range(1, 9)]
    return (0.1 * np.sum(waves, axis=0)).astype(np.float32)


@pytest.mark.parametrize("pitch", [43, 58.3, 78])
def test_every_input_shows_the_fundamental_where_its_axis_says(pitch):
    axes, inputs = experiment.axes_midi(), experiment.frame_inputs(note(pitch))
    assert set(axes) == set(inputs) == {variant.feature for variant in experiment.VARIANTS.values()}
    for name, values in inputs.items():
        assert values.dtype == np.float32
        assert values.shape[1:] == axes[name].shape, name
        fundamental = values[list(experiment.HARMONICS).index(1) if name == "hcqt" else 0]
        assert abs(axes[name][fundamental.argmax()] - pitch) <= experiment.TOLERANCE, name


def test_every_axis_can_give_every_right_answer():
    pitches = np.arange(42.5, 78.5, 0.01)
    for name, axis in experiment.axes_midi().items():
        nearest = axis[np.abs(axis - pitches[:, None]).argmin(axis=1)]
        assert np.abs(nearest - pitches).max() <= experiment.TOLERANCE, name


def test_scores_by_hand():
    notes = experiment.Notes(np.array([60.0, 61, 50, 50, 70, 70]), {})
    found = [60.4, 60.3, 50, 62.2, 70, 63]
    scores = experiment.scores_of(found, notes)
    assert scores == {"heard": 0.5, "lower": 0.5, "higher": 0.5, "octave_errors": 0.25}


@pytest.mark.parametrize("name", experiment.VARIANTS)
def test_a_shifted_input_gives_a_shifted_answer(name):
    """The network means the same in every bin; only the ends of the axis differ."""
    variant = experiment.VARIANTS[name]
    torch.manual_seed(0)
    network = experiment.PitchFinder(2, variant.dilations)
    x = torch.zeros(1, 2, 1400)
    x[:, :, 690:710] = torch.randn(2, 20)
    y = network(x)
    torch.testing.assert_close(network(x.roll(31, -1))[0, 400:1000], y[0, 369:969])
    assert y.shape == (1, 1400)


def test_run_scores_every_variant_and_baseline(monkeypatch):
    rng = np.random.default_rng(0)
    pitches = rng.uniform(43, 78, 24)
    inputs = [experiment.frame_inputs(note(pitch)) for pitch in pitches]
    notes = experiment.Notes(pitches, {n: np.stack([i[n] for i in inputs]) for n in inputs[0]})
    sides = dict.fromkeys(("train", "validation", "test"), notes)
    monkeypatch.setattr(
        experiment, "TRAINING", experiment.TrainingConfig(max_epochs=1, batch_size=8)
    )
    small = replace(experiment.COMPARISON, load=lambda **_: sides)
    outcomes = {found.variant: found for found in small.run(0)}
    assert set(outcomes) == {*experiment.BASELINES, *experiment.VARIANTS}
    assert outcomes["strongest bin"].metrics["lower"] == 1.0, "the fundamental is the strongest"
    assert outcomes["hcqt"].n_parameters == outcomes["cqt, near taps"].n_parameters + 5 * 16 * 5
    assert all(0 <= v <= 1 for o in outcomes.values() for v in o.metrics.values())
