"""Methods without learning, against brute force, scikit-learn and mixtures of known parts."""

from __future__ import annotations

import numpy as np
import pytest

from dl101.errors import ConfigError, DataError
from dl101.evaluation.separation import si_sdr
from dl101.signal import unmixing

RATE = 8000


def spectrogram(seed: int = 0, shape: tuple[int, int] = (12, 40)) -> np.ndarray:
    return np.random.default_rng(seed).gamma(0.5, size=shape)


def test_beat_spectrum_by_brute_force():
    power = spectrogram() ** 2
    lags = [np.mean([np.mean(row[: len(row) - k] * row[k:]) for row in power]) for k in range(40)]
    found = unmixing.beat_spectrum(spectrogram())
    np.testing.assert_allclose(found, np.array(lags) / lags[0], atol=1e-9)
    assert not unmixing.beat_spectrum(np.zeros((3, 9))).any()


def test_what_repeats_is_found_and_kept():
    again = np.tile(spectrogram(shape=(12, 10)), 5)
    assert unmixing.repeating_period(unmixing.beat_spectrum(again), 4, 15) == 10
    once = np.zeros_like(again)
    once[3, 17] = once[5, 31] = 9.0
    mask = unmixing.repeating_mask(again + once, 10)
    np.testing.assert_allclose(mask * (again + once), again, atol=1e-9)
    assert 0 <= mask.min() and mask.max() <= 1
    with pytest.raises(DataError, match="three times"):
        unmixing.repeating_period(np.ones(20), 7, 15)


def test_repet_parts_a_loop_from_a_voice():
    rng = np.random.default_rng(0)
    loop = np.tile(np.concatenate([0.3 * rng.standard_normal(400), np.zeros(7792)]), 8)
    t = np.arange(len(loop)) / RATE
    voice = 0.1 * np.sin(2 * np.pi * (300 + 150 * t) * t)  # it glides from 300 to 2760 Hz
    again, rest = unmixing.repet(loop + voice, RATE, window_samples=512)
    np.testing.assert_allclose(again + rest, loop + voice, atol=1e-9)
    assert si_sdr(again, loop) > si_sdr(loop + voice, loop) + 5
    assert si_sdr(rest, voice) > si_sdr(loop + voice, voice) + 3


def test_nmf_takes_the_steps_of_scikit_learn():
    from sklearn.decomposition import NMF

    rng = np.random.default_rng(1)
    v, w, h = spectrogram() + 0.01, rng.uniform(0.1, 1, (12, 3)), rng.uniform(0.1, 1, (3, 40))
    theirs = NMF(3, init="custom", solver="mu", beta_loss="kullback-leibler", max_iter=25, tol=0)
    their_w = theirs.fit_transform(v, W=w.copy(), H=h.copy())
    found = unmixing.nmf(v, 3, n_iterations=25, bases=w, activations=h)
    np.testing.assert_allclose(
        found.bases @ found.activations, their_w @ theirs.components_, atol=1e-9
    )
    # scikit-learn states the root of twice the divergence
    assert found.divergence[-1] == pytest.approx(theirs.reconstruction_err_**2 / 2, rel=1e-9)
    np.testing.assert_allclose(found.bases.sum(axis=0), 1.0)


def test_nmf_gets_no_worse_and_finds_two_parts():
    w = np.array([[1, 0], [2, 0], [0, 3], [0, 1.0]])
    h = spectrogram(shape=(2, 50))
    found = unmixing.nmf(w @ h, 2, n_iterations=200, seed=3)
    assert (np.diff(found.divergence) <= 1e-9).all() and found.divergence[-1] < 0.01
    order = np.argsort(found.bases[0] < found.bases[2])
    np.testing.assert_allclose(found.bases[:, order], w / w.sum(axis=0), atol=0.02)
    assert np.array_equal(
        unmixing.nmf(w @ h, 2, seed=3).bases, unmixing.nmf(w @ h, 2, seed=3).bases
    )
    silent = unmixing.nmf(np.zeros((4, 6)), 2)
    assert np.isfinite(silent.bases).all() and np.isfinite(silent.divergence).all()


def test_nmf_refuses_what_is_no_spectrogram():
    for wrong in (-spectrogram(), spectrogram()[0], np.full((2, 2), np.nan), np.zeros((0, 3))):
        with pytest.raises(DataError, match="absolute values"):
            unmixing.nmf(wrong, 2)
    for changes in ({"n_components": 0}, {"n_components": 2, "bases": np.ones((3, 2))}):
        with pytest.raises(ConfigError, match="at least 1"):
            unmixing.nmf(spectrogram(), **changes)


def test_components_add_up_and_part_two_tones():
    t = np.arange(2 * RATE) / RATE
    low = np.sin(2 * np.pi * 500 * t) * (t % 0.5 < 0.3)
    high = 0.7 * np.sin(2 * np.pi * 2000 * t) * (t % 0.7 < 0.4)
    parts = unmixing.components(low + high, 2, window_samples=512)
    np.testing.assert_allclose(parts.sum(axis=0), low + high, atol=1e-9)
    assert si_sdr(parts[0], low) > 15 and si_sdr(parts[1], high) > 15


def test_ica_finds_sources_that_are_panned():
    rng = np.random.default_rng(0)
    sources = np.stack([rng.laplace(size=9000), rng.uniform(-1, 1, 9000)])
    images = np.array([[1.0, 0.3], [0.4, 0.9]])[..., None] * sources[:, None]
    found = unmixing.independent_components(images.sum(axis=0) + 0.05)
    np.testing.assert_allclose(found.sum(axis=0), images.sum(axis=0) + 0.05, atol=1e-9)
    if si_sdr(found[0], images[0]) < si_sdr(found[1], images[0]):
        found = found[::-1]
    assert min(map(si_sdr, found, images)) > 15


@pytest.mark.parametrize("audio", [np.ones((1, 50)), np.ones(50), np.ones((2, 50))])
def test_ica_needs_two_different_channels(audio):
    with pytest.raises(DataError, match="mono has no direction"):
        unmixing.independent_components(audio)
