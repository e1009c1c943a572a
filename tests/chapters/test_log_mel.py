"""The experiment on log-mel: its input is the library's, and its variants are what they say."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from dl101.chapters.log_mel import experiment
from dl101.nn.spectra import LogMel
from dl101.signal import mel
from dl101.training.examples import Examples
from dl101.training.fit import TrainingConfig

pytestmark = pytest.mark.slow

RATE = 22050


def noise(duration_s: float = 1.0) -> np.ndarray:
    return 0.1 * np.random.default_rng(0).standard_normal(int(duration_s * RATE)).astype(np.float32)


def out(name: str, x: torch.Tensor) -> torch.Tensor:
    front = experiment.front(experiment.VARIANTS[name])
    front.train()  # normalise by this batch
    return front(x)


def test_compressed_power_is_the_feature_and_its_torch_twin() -> None:
    audio = noise()
    power = experiment.mel_power(audio, RATE)
    assert power.dtype == np.float32
    ours = mel.compress(power, 1e4)
    sizes = {"n_bands": 64, "window_samples": 2048, "hop_samples": 1024}
    np.testing.assert_allclose(ours, mel.log_mel(audio, RATE, **sizes).values, atol=1e-3)
    twin = LogMel(RATE, **sizes)(torch.from_numpy(audio)[None])[0]
    np.testing.assert_allclose(ours, twin, atol=1e-3)


@pytest.fixture
def batch() -> torch.Tensor:
    torch.manual_seed(0)
    return torch.rand(8, 1, 64, 65) ** 6 * torch.logspace(1, -3, 64)[:, None]


def test_normalisation_does_what_its_name_says(batch: torch.Tensor) -> None:
    corpus, band = out("C = 10^4", batch), out("C = 10^4, per band", batch)
    assert corpus.shape == band.shape == (8, 64, 65)
    torch.testing.assert_close(corpus.mean(), torch.tensor(0.0), atol=1e-4, rtol=0)
    torch.testing.assert_close(corpus.std(), torch.tensor(1.0), atol=1e-3, rtol=0)
    assert corpus.mean(dim=(0, 2)).std() > 0.3
    torch.testing.assert_close(band.mean(dim=(0, 2)), torch.zeros(64), atol=1e-4, rtol=0)
    torch.testing.assert_close(band.std(dim=(0, 2)), torch.ones(64), atol=1e-2, rtol=0)
    raw = out("C = 10^4, not normalised", batch)
    torch.testing.assert_close(raw, torch.log(1 + 1e4 * batch[:, 0]))
    torch.testing.assert_close(out("no logarithm, not normalised", batch), batch[:, 0])


def test_coefficient_0_is_left_out_and_with_it_the_level(batch: torch.Tensor) -> None:
    full, shape = out("MFCC 0-19", batch), out("MFCC 1-19", batch)
    assert full.shape[1] == 20
    assert shape.shape[1] == 19
    torch.testing.assert_close(full[:, 1:], shape)
    layers = experiment.front(experiment.Variant(1e9, coefficients=(0, 20), normalise="nothing"))
    change = layers(100 * (batch + 1e-3)) - layers(batch + 1e-3)
    assert change[:, 0].abs().median() > 30  # sqrt(64) log(100)
    assert change[:, 1:].abs().median() < 0.1


def test_learned_logarithms_start_where_they_should_and_learn() -> None:
    for name, strength in (("learned", 835.0), ("learned from C = 1, pace 10", 1.0)):
        network = experiment.build(experiment.VARIANTS[name], 12)
        logarithm = network[0][0]
        assert logarithm.strength.item() == pytest.approx(strength, rel=1e-3)
        network(torch.rand(4, 1, 64, 65)).square().sum().backward()
        assert logarithm.a.grad.abs().item() > 0
        assert logarithm.b.grad.abs().item() > 0


def test_run_scores_every_variant(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    sides = {}
    for side, n in (("train", 24), ("validation", 12), ("test", 12)):
        labels = np.arange(n) % 2
        inputs = rng.exponential(size=(n, 1, 64, 8)).astype(np.float32)
        inputs[labels == 1, :, 40:] *= 1e-4  # two classes that differ in the upper bands
        sides[side] = Examples(inputs, labels)
    quick = TrainingConfig(max_epochs=4, batch_size=8, learning_rate=0.01)
    monkeypatch.setattr(experiment, "TRAINING", quick)
    small = replace(
        experiment.COMPARISON,
        load=lambda **_: (sides, ("dark", "bright")),
        variants={n: experiment.VARIANTS[n] for n in ("C = 10^4", "learned", "MFCC 1-19")},
    )
    outcomes = {found.variant: found for found in small.run(0)}
    assert list(outcomes) == ["most frequent class", "C = 10^4", "learned", "MFCC 1-19"]
    assert outcomes["most frequent class"].metrics["accuracy"] == 0.5
    assert outcomes["C = 10^4"].metrics["accuracy"] == 1.0
    assert "strength" in outcomes["learned"].metrics
    assert all(0 <= o.metrics["accuracy_softer"] <= 1 for o in outcomes.values())
    assert outcomes["learned"].n_parameters == outcomes["C = 10^4"].n_parameters + 2
