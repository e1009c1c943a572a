"""The chapter on early works: predictors are probabilities, and sounds are made as told."""

import numpy as np
import pytest
import torch

from dl101.chapters.early_works import experiment, predictors, without_learning
from dl101.signal.waveforms import mu_law_decode, mu_law_encode

RNG = np.random.default_rng(0)
TRAIN = RNG.integers(100, 156, (4, 500))


def tone(midi=57, n=4000, partials=6):
    f0 = 440 * 2 ** ((midi - 69) / 12)
    t = np.arange(n) / experiment.RATE
    return 0.1 * sum(np.sin(2 * np.pi * k * f0 * t) / k for k in range(1, partials))


@pytest.mark.parametrize("shape", ["laplace", "gaussian"])
@pytest.mark.parametrize("centre, scale", [(0.0, 0.1), (0.3, 0.01), (-0.7, 1e-4), (0.9, 2.0)])
def test_a_density_gives_all_codes_together_probability_one(shape, centre, scale):
    bits = predictors.bits_of_density(np.arange(256)[None], np.full((1, 256), centre), scale, shape)
    assert (2.0**-bits).sum() == pytest.approx(1.0)
    expected = mu_law_encode(np.array([centre]))[0]
    if scale < 0.01:
        assert bits.argmin() == expected


def test_edges_are_where_the_code_changes():
    inner = predictors.edges()[1:-1]
    assert (mu_law_encode(inner + 1e-9) == np.arange(1, 256)).all()
    assert (mu_law_encode(inner - 1e-9) == np.arange(255)).all()


def test_counted_probabilities_sum_to_one():
    assert predictors.histogram(TRAIN).sum() == pytest.approx(1.0)
    np.testing.assert_allclose(predictors.pairs(TRAIN).sum(axis=1), 1.0)
    seen = np.array([[1, 2, 1, 2, 1, 2]] * 50)
    assert predictors.pairs(seen)[1].argmax() == 2


@pytest.mark.parametrize("name", predictors.PREDICTORS)
def test_no_predictor_sees_the_sample_or_what_follows(name):
    codes = mu_law_encode(tone(n=900) + 0.01 * RNG.standard_normal(900))[None]
    changed = codes.copy()
    changed[:, 700:] = 255 - changed[:, 700:]
    predict = predictors.PREDICTORS[name]
    np.testing.assert_allclose(predict(TRAIN, codes)[:, :700], predict(TRAIN, changed)[:, :700])


def test_prediction_pays_on_a_tone():
    codes = mu_law_encode(tone())[None]
    train = mu_law_encode(tone(59))[None]
    bits = {n: float(p(train, codes).mean()) for n, p in predictors.PREDICTORS.items()}
    assert bits["uniform"] == 8.0
    assert bits["previous sample"] < bits["histogram"] < bits["uniform"]
    assert bits["linear, refitted"] < bits["previous sample"]


def test_running_mean_forgets_and_does_not_look_ahead():
    size = np.r_[np.zeros(100), np.ones(400)][None]
    found = predictors.running_mean(size, 0.5)[0]
    assert found[0] == 0.5 and found[100] < 0.5 * np.exp(-3) + 0.01
    assert found[101] == pytest.approx(found[100] * (1 - 1 / 32) + 1 / 32)
    assert found[-1] == pytest.approx(1.0, abs=1e-4)


def pitch_of(sound):
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(sound.size), 4 * sound.size))
    autocorrelation = np.fft.irfft(spectrum**2)[: sound.size // 2]
    low, high = experiment.RATE // 300, experiment.RATE // 150
    return experiment.RATE / (low + np.argmax(autocorrelation[low:high]))


def test_sounds_without_learning_are_near_what_was_asked():
    sound = tone(57)
    made = {
        "mel": without_learning.from_mel(without_learning.mel_of(sound), sound.size),
        "source and filter": without_learning.source_filter(sound, 57),
        "grains": without_learning.grains(tone(54), 3.0),
    }
    for name, found in made.items():
        assert found.shape == sound.shape and np.isfinite(found).all(), name
        assert pitch_of(found[500:3500]) == pytest.approx(220, rel=0.02), name
        assert 0.5 < found.std() / sound.std() < 2, name
    np.testing.assert_allclose(
        without_learning.grains(sound, 0.0)[480:3000], sound[480:3000], atol=0.02
    )


def test_what_is_told_is_one_pitch_and_one_family():
    told = experiment.told_of([45, 69], [0, 10])
    assert told.shape == (2, experiment.CONDITION) and (told.sum(dim=1) == 2).all()
    assert told[0].nonzero()[:, 0].tolist() == [0, 25]
    assert told[1].nonzero()[:, 0].tolist() == [24, 35]


def test_a_network_learns_and_writes(monkeypatch):
    codes = np.stack([mu_law_encode(tone(midi, experiment.N_SAMPLES)) for midi in (50, 57)])
    notes = experiment.Notes(codes, np.array([50, 57]), np.array([0, 1]))
    data = {"train": notes, "validation": notes, "test": notes}
    for variant in (
        experiment.Variant((1, 2, 4), n_steps=12, chunk=256),
        experiment.Variant((), n_steps=12, chunk=256),
    ):
        curve: list[float] = []
        network = experiment.train(variant, data, curve=curve)
        assert len(curve) == 12 and curve[-1] < curve[0] - 0.5
        bits = experiment.bits_of(network, notes)
        assert bits.shape == codes.shape and bits.mean() < 8
        sounds = experiment.write(network, notes.told, n_samples=128)
        assert sounds.shape == (2, 128) and np.abs(sounds).max() <= 1
        again = experiment.train(variant, data)
        for a, b in zip(network.parameters(), again.parameters(), strict=True):
            torch.testing.assert_close(a, b)


def test_decoded_codes_are_encoded_to_themselves():
    codes = np.arange(256)
    assert (mu_law_encode(mu_law_decode(codes)) == codes).all()
