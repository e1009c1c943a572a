"""The judge of generated notes on a very small scale, and what its embedding must not depend on."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dl101.systems import notes_tagger as system
from dl101.training import protocol

TINY = ["data.n_tracks=36", "training.max_epochs=2", "training.batch_size=8"]


@pytest.fixture(scope="module")
def settings():
    return system.load_config(settings=TINY)


@pytest.fixture(scope="module")
def tracks(settings):
    return system.load_tracks(settings, progress=False)


@pytest.fixture(scope="module")
def trained(settings, tracks, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    return protocol.run(system, settings, folder, tracks=tracks, progress=False)


def test_a_run_trains_and_scores_every_note_of_the_test_side(trained, settings, tracks):
    history = trained.fit.history
    assert history[-1]["train_loss"] < history[0]["train_loss"]
    assert trained.evaluation.scores.keys() == {track.key for track in tracks["test"]}
    assert set(trained.evaluation.mean) == {"family", "pitch_class"}
    (majority,) = system.baselines(settings, tracks).values()
    assert 0.2 < majority.mean["family"] < 0.6  # a third are guitars


def test_the_input_and_the_embedding_are_standardised_on_the_training_side(trained, tracks):
    spectra = system.examples(tracks["train"]).inputs
    network = trained.system.network
    assert float(network.mean) == pytest.approx(spectra.mean(), rel=1e-4)
    assert float(network.deviation) == pytest.approx(spectra.std(), rel=1e-4)
    with torch.inference_mode():
        embedded = network.eval().embed(torch.from_numpy(spectra))
    np.testing.assert_allclose(embedded.mean(dim=0), 0.0, atol=1e-4)
    np.testing.assert_allclose(embedded.std(dim=0), 1.0, atol=1e-3)


def test_the_embedding_hears_neither_level_nor_rate(trained):
    time_s = np.arange(27562) / system.RATE
    sound = np.sin(2 * np.pi * 220 * time_s) * np.exp(-3 * time_s)
    embed = trained.system.eval().embed_sounds
    here = embed([sound, 0.01 * sound], system.RATE)
    np.testing.assert_allclose(here[0], here[1], atol=1e-3)
    other = np.sin(2 * np.pi * 1760 * time_s)
    (there,) = embed([other], system.RATE)
    assert np.abs(there - here[0]).max() > 0.1
    probabilities = trained.system.families_of([sound, other], system.RATE)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0)


def test_a_transposed_spectrum_is_that_of_the_transposed_note():
    def note(midi: float) -> np.ndarray:
        time_s = np.arange(27562) / system.RATE
        return 0.1 * np.sin(2 * np.pi * 440 * 2 ** ((midi - 69) / 12) * time_s)

    spectra = system.spectra_of([note(60), note(65)])
    moved, said = system.transposed(spectra[:1], np.array([[3, 0]]), 5)
    assert said.tolist() == [[3, 5]]
    # near the peak the two agree; far from it the lengths of the filters differ
    peak = int(spectra[1].mean(axis=1).argmax())
    assert int(moved[0].mean(axis=1).argmax()) == peak
    below, said = system.transposed(spectra[:1], np.array([[3, 0]]), -1)
    assert said.tolist() == [[3, 11]]
    assert not below[0][-2:].any()
