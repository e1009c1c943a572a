"""The experiment on speed: every way gives the same patches, cheaper is what it says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from dl101.chapters.features_at_speed import experiment
from dl101.chapters.features_at_speed.experiment import RATE, PianoTrack, Shuffle, StoredLogMel
from dl101.signal import mel
from dl101.signal.patches import PatchIndex
from dl101.training.examples import Examples
from dl101.training.fit import TrainingConfig

pytestmark = pytest.mark.slow


def noise(duration_s: float, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return 0.1 * rng.standard_normal(round(duration_s * RATE)).astype(np.float32)


# ---- how fast ----------------------------------------------------------------------------------


@pytest.mark.parametrize("feature", experiment.FEATURES)
def test_every_way_gives_the_same_patches(feature, tmp_path):
    tracks = [noise(9.5, 1), noise(7.0, 2)]
    found, index, datasets = experiment.ways(tracks, feature, tmp_path)
    assert list(found) != [] and set(found) == set(experiment.WAYS)
    whole = [experiment.FEATURES[feature](audio) for audio in tracks]
    numbers = [len(index) - 1, 0, 1]
    expected = np.stack([index.cut(whole[index[n].track], index[n]) for n in numbers])
    alone = ("computed for each patch", "computed in the model, by batch")
    for name, way in found.items():
        batch = way.fetch(numbers).cpu().numpy()
        assert batch.shape == expected.shape
        if name in alone:  # their windows see zeros outside the patch: look at the middle
            middle = (
                (..., slice(56, 72))
                if feature == "log-mel"
                else (..., slice(40, None), slice(56, 72))
            )
            scale = 0.05 * expected[middle].max()
            np.testing.assert_allclose(batch[middle], expected[middle], atol=scale)
        else:
            tolerance = 1e-3 if "float16" in name else 1e-5
            np.testing.assert_allclose(batch, expected, rtol=tolerance, atol=1e-3)
    stored = torch.stack([datasets["stored"][n][0] for n in numbers]).numpy()
    np.testing.assert_allclose(stored, expected, rtol=1e-6)
    assert len(list(datasets["stream"])) == len(index)
    plain, half = (
        found[f"HDF5, {name}"] for name in ("chunks of 128 frames", "128 frames, float16")
    )
    assert plain.bytes_per_minute == 2 * half.bytes_per_minute


def test_speeds_are_ratios_to_the_baseline_of_the_same_run(monkeypatch):
    monkeypatch.setattr(experiment, "long_tracks", lambda *a, **k: [noise(19.0)] * 2)
    monkeypatch.setattr(experiment, "REPEATS", 1)
    outcomes = {o.variant: o for o in experiment.speeds(0, 2)}
    for feature in experiment.FEATURES:
        base = outcomes[f"{feature}: {experiment.BASELINE_WAY}"].metrics
        assert base["ratio"] == 1
        for way in experiment.WAYS:
            metrics = outcomes[f"{feature}: {way}"].metrics
            assert metrics["ratio"] == pytest.approx(metrics["per_s"] / base["per_s"])
            assert metrics["bytes_per_minute"] > 0
        assert outcomes[f"{feature}: stored, 2 workers"].metrics["first_batch_s"] > 0
        assert outcomes[f"{feature}: stored, 2 workers, many threads"].config["threads"] > 0


# ---- what a cheaper feature costs --------------------------------------------------------------


def test_reference_is_the_library_s_log_mel():
    audio = noise(1.0)
    ours = experiment.stored_log_mel(audio, experiment.REFERENCE)
    np.testing.assert_allclose(ours, mel.log_mel(audio, RATE, n_bands=64).values, atol=1e-3)


@pytest.mark.parametrize("name", experiment.VARIANTS)
def test_sizes_are_what_is_said(name):
    stored = experiment.VARIANTS[name]
    values = experiment.stored_log_mel(noise(4.0), stored)
    assert values.shape == (1, stored.n_bands, 1 + 4 * RATE // stored.hop_samples)
    per_minute = values[..., 1:].size * 15 * stored.bits / 8
    assert per_minute == pytest.approx(stored.bytes_per_minute, rel=0.03)


@pytest.mark.parametrize("bits", [8, 4, 2])
def test_quantised_values_are_near_and_few(bits):
    values = np.random.default_rng(0).uniform(0, 16, 5000).astype(np.float32)
    back = experiment.quantise(values, bits)
    assert np.abs(back - values).max() <= experiment.FULL_SCALE / (2**bits - 1) / 2 + 1e-5
    assert len(np.unique(back)) <= 2**bits
    np.testing.assert_array_equal(experiment.quantise(values, 32), values)
    np.testing.assert_allclose(experiment.quantise(values, 16), values, rtol=2**-11)


def test_patches_of_tracks_and_the_overlap():
    examples = Examples(
        np.arange(2 * 65.0, dtype=np.float32).reshape(2, 1, 1, 65), np.array([3, 5])
    )
    quarter = StoredLogMel(patch_s=32 / StoredLogMel().frames_per_s)
    for overlap, starts in ((0.0, (0, 32)), (0.5, (0, 16, 32))):
        cut, index = experiment.in_patches(examples, quarter, overlap)
        assert cut.inputs[:, 0, 0, 0].tolist() == [*starts, *(65 + s for s in starts)]
        assert cut.labels.tolist() == [3] * len(starts) + [5] * len(starts)
        assert cut.inputs.shape[-1] == 32 and len(index) == 2 * len(starts)
    assert experiment.in_patches(examples, StoredLogMel())[1] is None


@pytest.mark.parametrize("name", experiment.SHUFFLES)
def test_every_order_holds_each_patch_once(name):
    shuffle = experiment.SHUFFLES[name]
    index, labels = PatchIndex([16] * 48, patch_frames=4), np.arange(48) % 12
    order = shuffle.order(index, labels, np.random.default_rng(0))
    assert sorted(order) == list(range(len(index)))
    mixed = np.mean([len({labels[index[i].track] for i in part}) for part in order.reshape(-1, 16)])
    if shuffle == Shuffle(10_000):
        assert mixed > 7
    if shuffle == Shuffle(0, dealt=False):
        assert mixed == 1


def test_onset_net_hears_clicks():
    def click_track(seed: int) -> PianoTrack:
        rng = np.random.default_rng(seed)
        onsets = np.cumsum(rng.uniform(0.3, 0.6, 8))
        audio = 0.001 * rng.standard_normal(6 * RATE).astype(np.float32)
        for onset in onsets:
            start = round(onset * RATE)
            audio[start : start + 2000] += 0.3 * np.exp(-np.arange(2000) / 400).astype(np.float32)
        return PianoTrack(audio, onsets)

    sides = {
        s: [click_track(10 * i + j) for j in range(n)]
        for i, (s, n) in enumerate((("train", 12), ("validation", 3), ("test", 3)))
    }
    stored = StoredLogMel(n_bands=16)
    network = experiment.train_onset(stored, sides)
    onset_f = experiment.score_onset(network, stored, sides)["onset_f"]
    assert onset_f > 0.9 > experiment.evenly_spaced(sides)["onset_f"]
    taps = [layer.dilation[0] for layer in network.body if isinstance(layer, torch.nn.Conv1d)]
    assert taps == [1, 4, 16]


def test_run_scores_every_variant(monkeypatch):
    rng = np.random.default_rng(1)
    sides = {}
    for side, n in (("train", 24), ("validation", 12), ("test", 12)):
        labels = np.arange(n) % 2
        time_s = np.arange(2 * RATE) / RATE
        tones = np.sin(2 * np.pi * np.array([200.0, 3000.0])[labels][:, None] * time_s)
        inputs = (0.1 * tones * rng.uniform(0.5, 1, (n, 1))).astype(np.float32)
        sides[side] = Examples(inputs, labels)
    monkeypatch.setattr(experiment, "speeds", lambda *a, **k: iter(()))
    piano = {side: [PianoTrack(noise(3.0, 1), np.array([1.0, 2.0]))] * 2 for side in sides}
    monkeypatch.setattr(experiment, "ONSET_EPOCHS", 1)
    monkeypatch.setattr(experiment, "SHUFFLE_EPOCHS", 3)
    quick = TrainingConfig(max_epochs=3, batch_size=8, learning_rate=0.01)
    monkeypatch.setattr(experiment, "TRAINING", quick)
    load = {"INSTRUMENT": (sides, ("low", "high")), "ORDER": (sides, ("low", "high"))}
    chosen = {"INSTRUMENT": ("reference", "patches of 0.75 s"), "ORDER": ("everything",)}
    for name in ("INSTRUMENT", "ORDER", "ONSET"):
        given, comparison = load.get(name, piano), getattr(experiment, name)
        variants = {v: comparison.variants[v] for v in chosen.get(name, ("reference",))}
        small = replace(comparison, load=lambda given=given, **_: given, variants=variants)
        monkeypatch.setattr(experiment, name, small)
    outcomes = {outcome.variant: outcome for outcome in experiment.run(0)}
    assert list(outcomes) == [
        "instrument: most frequent instrument",
        "instrument: reference",
        "instrument: patches of 0.75 s",
        "shuffle: everything",
        "onset: evenly spaced onsets",
        "onset: reference",
    ]
    assert outcomes["instrument: most frequent instrument"].metrics["accuracy"] == 0.5
    for name in ("instrument: reference", "instrument: patches of 0.75 s", "shuffle: everything"):
        assert outcomes[name].metrics["accuracy"] == 1.0, name
    assert outcomes["instrument: patches of 0.75 s"].metrics["accuracy_one_patch"] == 1.0
    assert outcomes["shuffle: everything"].metrics.keys() == {
        "accuracy",
        "accuracy_known",
        "labels_per_batch",
    }
    assert outcomes["onset: reference"].metrics["bytes_per_minute"] > 0
