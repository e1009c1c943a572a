"""Short trainings of rivals, marks in phases, and the bits of simple models."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from dl101.chapters.gans_and_flows import likelihood, sounds, vocoder
from dl101.chapters.gans_and_flows.experiment import GANS, marked
from dl101.nn.normalizing_flow import SoundFlow
from dl101.systems.sound_gan_data import N_SAMPLES, RATE, Notes, numbers_of
from dl101.units import midi_to_hz


def tone(pitch: float) -> np.ndarray:
    """Return half a second of a tone that fades."""
    t = np.arange(N_SAMPLES) / RATE
    return (0.1 * np.exp(-2 * t) * np.sin(2 * np.pi * midi_to_hz(pitch) * t)).astype(np.float32)


def test_generators_and_their_training() -> None:
    rng = np.random.default_rng(0)
    some = np.stack([tone(p) for p in (50, 55, 60, 65)]) + 1e-4 * rng.standard_normal(N_SAMPLES)
    notes = Notes(some.astype(np.float32), np.array([50, 55, 60, 65]), np.array(["x"] * 4))
    numbers = torch.from_numpy(numbers_of(notes))
    for name, rivals in GANS.items():
        for loss in ("hinge", "wasserstein"):
            small = replace(rivals, n_steps=2, batch_size=2, channels=4, loss=loss)
            real = sounds.examples_of(notes, small.kind)
            trained = sounds.train(small, real, numbers, looks=[1])
            made = sounds.sounds_of(trained.network, small, [1, 2])
            assert made.shape == (2, N_SAMPLES), name
            assert np.isfinite(made).all()
            assert list(trained.seen) == [1]
            assert len(trained.losses["critic"]) == 2


def test_marks_differ_by_their_phase_alone() -> None:
    audio = torch.zeros(200, N_SAMPLES)
    draw = torch.Generator().manual_seed(0)
    real, made = (marked(audio, each, draw) for each in (False, True))
    assert torch.allclose(real.square().mean(), made.square().mean(), rtol=1e-3)
    assert made.std(dim=0).max() < 1e-6
    assert real.mean(dim=0).abs().max() < 0.06


# ---- bits ----------------------------------------------------------------------------------------


def resonance(n: int, seed: int) -> np.ndarray:
    """Return notes of a process of second order, whose errors are Gaussian with deviation 0.01."""
    import scipy.signal

    rng = np.random.default_rng(seed)
    errors = 0.01 * rng.standard_normal((n, N_SAMPLES))
    return scipy.signal.lfilter([1.0], [1.0, -1.6, 0.9], errors).astype(np.float32)


def test_linear_prediction_reaches_the_entropy_of_its_process() -> None:
    train, test = resonance(40, 0), resonance(20, 1)
    steps = 0.01 / likelihood.STEP
    entropy = np.log2(steps * np.sqrt(2 * np.pi * np.e))
    assert likelihood.linear_bits(train, test) == pytest.approx(entropy, abs=0.02)
    assert likelihood.own_linear_bits(train, test) == pytest.approx(entropy, abs=0.05)
    assert likelihood.white_bits(train, test) > entropy + 1
    coefficients = likelihood.predictor(train, order=2)
    assert np.allclose(coefficients, [-0.9, 1.6], atol=0.01)


def test_an_untrained_flow_costs_what_white_noise_costs() -> None:
    audio = (0.1 * np.random.default_rng(0).standard_normal((5, N_SAMPLES))).astype(np.float32)
    bits = likelihood.bits_of(SoundFlow(level=0.1), torch.from_numpy(audio))
    assert bits.mean() == pytest.approx(likelihood.gaussian_bits(audio, 0.01), abs=1e-3)


def test_dequantising_adds_one_step_at_most() -> None:
    audio = np.random.default_rng(0).uniform(-1, 1, (3, 1000))
    noisy = likelihood.dequantised(audio)
    assert np.abs(noisy - audio).max() <= likelihood.STEP * 1.001
    assert np.abs(np.round(noisy / likelihood.STEP) - np.round(audio / likelihood.STEP)).max() <= 1


def test_flows_and_vocoders_learn_something() -> None:
    audio = resonance(12, 0)
    told = likelihood.FlowTraining(told=True, n_steps=8, batch_size=4, couplings=2, hidden=8)
    mel = likelihood.mel_of(audio)
    assert mel.shape == (12, likelihood.N_BANDS, N_SAMPLES // likelihood.GROUP)
    trained = likelihood.train_flow(told, torch.from_numpy(audio), mel)
    assert trained.bits[-1] < trained.bits[0]
    assert likelihood.drawn(trained.network, mel[:2]).shape == (2, N_SAMPLES)
    frames = vocoder.frames_of(audio)
    for way in vocoder.WAYS:
        made = vocoder.train_vocoder(way, torch.from_numpy(audio), frames, n_steps=2, batch_size=2)
        assert made(frames[:2]).shape == (2, N_SAMPLES)
