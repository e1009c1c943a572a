"""The experiment on shapes: what networks see, and that the variants are what they say."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dl101.chapters.shapes import experiment
from dl101.training.examples import Examples
from dl101.units import midi_to_hz

pytestmark = pytest.mark.slow

RATE = 22050


def tone(pitch_midi: float) -> np.ndarray:
    time = np.arange(RATE) / RATE
    f0_hz = midi_to_hz(pitch_midi)
    return (0.2 * sum(np.sin(2 * np.pi * h * f0_hz * time) / h for h in range(1, 7))).astype("f4")


def seen(pitch_midi: float, semitones: int = 0) -> np.ndarray:
    inputs = experiment.features(tone(pitch_midi), RATE)[None]
    return experiment.transposed(Examples(inputs, np.zeros(1)), semitones).inputs[0, 0]


def test_a_shift_is_a_transposition() -> None:
    x = seen(60)
    assert x.shape[0] == experiment.N_BANDS
    assert x[:, 5].argmax() == 60 - 36  # C4 above C2, where the picture begins
    for semitones in (-3, 3, 12):
        shifted, played = seen(60, semitones), seen(60 + semitones)
        assert shifted[:, 5].argmax() == 24 + semitones
        assert np.corrcoef(shifted[:, 5], played[:, 5])[0, 1] > 0.97
        assert np.corrcoef(x[:, 5], played[:, 5])[0, 1] < 0.9


def test_variants_have_one_size_and_train() -> None:
    torch.manual_seed(0)
    x = torch.randn(4, 1, experiment.N_BANDS, 33)
    for name, variant in experiment.VARIANTS.items():
        network = experiment.build(variant, 12)
        n_parameters = sum(p.numel() for p in network.front.parameters())
        assert abs(n_parameters / 4000 - 1) <= 0.16, name
        network(x).square().sum().backward()
        dead = [k for k, p in network.named_parameters() if not p.grad.abs().sum() > 0]
        assert dead == [], name


def test_powers_are_relative_to_a_sine_of_amplitude_1() -> None:
    time = np.arange(RATE) / RATE
    on_bin_hz = 40 * RATE / experiment.WINDOW_SAMPLES
    power = experiment.powers(np.sin(2 * np.pi * on_bin_hz * time).astype("f4"), RATE)
    assert power.shape[0] == 1 + experiment.WINDOW_SAMPLES // 2
    assert power[:, 4].argmax() == 40 and power[40, 4] == pytest.approx(1, abs=1e-3)


def test_the_bandwidth_at_1_khz_is_that_of_the_equation() -> None:
    for name, variant in experiment.HARMONIC_VARIANTS.items():
        network = experiment.HarmonicClassifier(variant.q, 12)
        expected = (0.1079 * 1000 + 24.7) / variant.q
        assert network.bandwidth_hz() == pytest.approx(expected, rel=1e-5), name
        with torch.no_grad():
            network.front.filters.steps[2] = np.log(2)  # Q doubled
        assert network.bandwidth_hz() == pytest.approx(expected / 2, rel=1e-5)


def test_harmonic_filters_learn_at_their_own_pace() -> None:
    rng = np.random.default_rng(0)
    examples = Examples(rng.exponential(size=(12, 513, 20)).astype("f4") ** 2, np.arange(12) % 3)
    data = ({"train": examples, "validation": examples}, ("a", "b", "c"))
    network = experiment.train_harmonic(experiment.Harmonic(2.0), data, seed=1)
    steps = network.front.filters.steps.detach()
    assert (steps != 0).all() and steps.abs().max() < experiment.PACE * 3 * 12
    again = experiment.train_harmonic(experiment.Harmonic(2.0), data, seed=1)
    torch.testing.assert_close(steps, again.front.filters.steps.detach(), atol=1e-4, rtol=1e-3)
