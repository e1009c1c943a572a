"""Simple predictors of the next code: they are probabilities, and see nothing ahead."""

import numpy as np
import pytest

from dl101.signal import predictors
from dl101.signal.waveforms import mu_law_encode

RATE = 8000
RNG = np.random.default_rng(0)
TRAIN = RNG.integers(100, 156, (4, 500))


def tone(midi=57, n=4000, partials=6):
    f0 = 440 * 2 ** ((midi - 69) / 12)
    t = np.arange(n) / RATE
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
