"""The WaveNet that ships, on a very small scale: notes, what is told, bits, written sounds."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dl101.signal.predictors import PREDICTORS
from dl101.systems import wavenet as system
from dl101.training import protocol, shipped

TINY = [
    "data.n_tracks=45",
    "network={channels: 6, skip_channels: 8, layers: 3, stacks: 1}",
    "training.max_epochs=2",
    "training.batch_size=2",
    "training.learning_rate=0.02",
]


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
    assert (
        history[-1]["val_loss"]
        < 7.8
        < system.bits_of(system.build(settings).network, tracks["validation"]).mean()
    )
    assert trained.evaluation.scores.keys() == set(tracks["test"].keys.tolist())
    assert set(trained.evaluation.mean) == {"bits"}


def test_the_baselines_are_scored_on_the_same_notes(trained, settings, tracks):
    found = system.baselines(settings, tracks)
    assert found.keys() == PREDICTORS.keys()
    assert found["uniform"].mean == {"bits": 8.0}
    assert all(e.scores.keys() == trained.evaluation.scores.keys() for e in found.values())


def test_notes_are_in_the_range_from_their_onset(tracks):
    notes = tracks["train"]
    assert notes.codes.shape == (len(notes), system.N_SAMPLES)
    assert system.LOWEST <= notes.pitches.min() <= notes.pitches.max() <= system.HIGHEST
    loud = np.abs(notes.audio[:, :800]).max(axis=1)  # within 100 ms
    assert (loud > 0.02).all()
    assert notes[[1]].keys.tolist() == [notes.keys[1]]


def test_what_is_told_is_one_pitch_and_one_family():
    told = system.told_of([45, 69], [0, 10])
    assert told.shape == (2, system.CONDITION) and (told.sum(dim=1) == 2).all()
    assert told[0].nonzero()[:, 0].tolist() == [0, 25]
    assert told[1].nonzero()[:, 0].tolist() == [24, 35]


def test_bits_are_those_of_the_loss_and_nothing_sees_itself(trained, tracks):
    notes = tracks["test"][:2]
    bits = system.predict(trained.system, notes)
    batch = {"input": torch.from_numpy(notes.codes), "label": notes.told}
    with torch.inference_mode():
        assert float(trained.system.loss(batch)) == pytest.approx(bits.mean(), rel=1e-4)
    changed = system.Notes(notes.codes.copy(), notes.pitches, notes.families, notes.keys)
    changed.codes[:, 3000:] = 255 - changed.codes[:, 3000:]
    np.testing.assert_allclose(
        system.predict(trained.system, changed)[:, :3000], bits[:, :3000], atol=1e-4
    )


def test_a_trained_network_writes_after_it_was_stored_in_half_precision(
    trained, settings, tmp_path
):
    record = protocol.records("wavenet", settings, trained, {}, seed=0, command="")[0]
    shipped.save(tmp_path / "w.safetensors", trained.system, settings, record)
    again = shipped.load(tmp_path / "w.safetensors")
    told = system.told_of([57], [3])
    start = np.full((1, 50), 200)
    sound = system.write(again.system.network, told, n_samples=100, start=start, temperature=0.8)
    assert sound.shape == (1, 100) and np.isfinite(sound).all()
    assert len(np.unique(sound[:, :50])) == 1
    told_otherwise = system.write(again.system.network, system.told_of([60], [7]), n_samples=100)
    assert (told_otherwise != system.write(again.system.network, told, n_samples=100)).any()
