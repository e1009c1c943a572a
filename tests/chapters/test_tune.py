"""The comparison of families of TUNe on a very small scale, and its configurations."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dl101.chapters.tune import experiment
from dl101.chapters.tune.experiment import AWAY, BUDGET, FAMILIES, VARIANTS, Variant
from dl101.data import fetch, pyjama, source
from dl101.data.audiostore import AudioStoreWriter
from dl101.nn.encoders import make_encoder
from dl101.nn.tune import TABLE_1, Sizes, TUNe
from dl101.systems import self_supervised as system
from dl101.training import protocol

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
GOLDEN = json.loads((ROOT / "tests" / "golden" / "parameter_counts.json").read_text())


def count(module) -> int:
    return sum(p.numel() for p in module.parameters())


def lengths(sizes: Sizes) -> tuple[int, int, int]:
    return sizes.n_contractive, sizes.n_expansive, sizes.n_tail


@pytest.fixture(scope="module")
def data():
    return experiment.load(seed=0, n_tracks=24, progress=False)


# ------------------------------------------------------------------------------ configurations
@pytest.mark.parametrize("family", FAMILIES)
def test_each_family_has_as_many_filters_as_the_budget_allows(family):
    sizes = FAMILIES[family]
    assert (
        count(TUNe.of(sizes)) <= BUDGET < count(TUNe.of(replace(sizes, filters=sizes.filters + 1)))
    )
    settings = experiment.settings_of(Variant(family, "tags"))
    encoder = make_encoder(settings.model)
    assert count(encoder) == count(TUNe.of(sizes)) and encoder.shortest_samples <= 3**9
    if family in TABLE_1:
        published = list(lengths(TABLE_1[family]))
        published[2] = min(published[2], 8)  # crops are three times shorter
        assert list(lengths(sizes)) == published


def test_full_scale_is_tune_plus_of_table_1():
    settings = system.load_config("tune", scale="full")
    encoder = make_encoder(settings.model)
    assert count(encoder) + 513 * 50 == GOLDEN["tune/TUNe+"]["count"]
    assert settings.training.batch_size == 96 and settings.crop_samples == 3**10
    lab = system.load_config("tune")
    compared = experiment.settings_of(Variant("TUNe+", "tags")).model
    assert lab.model == replace(compared, filters=compared.filters + 1)


# ------------------------------------------------------------------------------ what is heard
def test_every_audio_has_as_many_seconds_and_no_test_track(data):
    of_test = {each.key for each in data.probed["test"]}
    seconds = {}
    for audio in ("tags", *AWAY):
        sides = data.heard(audio)
        for side in ("train", "validation"):
            heard = [each for each in sides[side] if each.heard]
            assert heard and {each.key.partition("-")[0] for each in heard} == {audio}
            assert not of_test & {each.key for each in heard}
        assert not any(each.heard for each in sides["test"])
        assert len(sides["test"]) == len(of_test)
        labelled = {side: [e.key for e in system.with_labels(each)] for side, each in sides.items()}
        assert labelled == {side: [e.key for e in each] for side, each in data.probed.items()}
        seconds[audio] = sum(e.audio.size for s in sides.values() for e in s if e.heard) / 11025
    assert all(0.5 < each / seconds["tags"] < 2 for each in seconds.values()), seconds


def test_genres_can_be_probed_too():
    settings = system.load_config("tune", settings=["data.dataset=genres", "data.n_tracks=24"])
    tracks = system.load_tracks(settings, progress=False)
    assert system.build(settings).settings.data.dataset == "genres"
    assert all(each.target.sum() == 1 for side in tracks.values() for each in side)
    n_classes = {len(each.classes) for side in tracks.values() for each in side}
    assert n_classes == {system.self_supervised_data.n_classes_of(settings.data)} == {10}


def test_an_epoch_is_as_long_whatever_is_heard():
    steps = {
        audio: experiment.settings_of(Variant("TUNe+", audio)).crops * 560 * 6 / seconds
        for audio, seconds in experiment.TRACK_S.items()
    }
    assert all(each == pytest.approx(steps["tags"], rel=0.04) for each in steps.values())


def test_variants_are_named_once_and_run(data, monkeypatch):
    assert len({each.name for each in VARIANTS}) == len(VARIANTS)
    short = ["training.batch_size=8", "probe.max_epochs=2"]
    monkeypatch.setattr(experiment, "CROPS", 1)
    monkeypatch.setattr(experiment, "EPOCHS", 1)
    load = system.load_config
    monkeypatch.setattr(system, "load_config", lambda file: load(file, settings=short))
    for variant in (Variant("Vanilla", "untrained"), Variant("TUNe+", "covers")):
        trained = experiment.train(variant, data)
        found = experiment.score(trained, variant, data)
        assert 0 <= found["linear_auc"] <= 1 and np.isfinite(list(found.values())).all()
    assert trained.settings.crops == round(45 / 6)
    assert set(experiment.by_timbre(data)) == {
        f"{probe}_{score}" for probe in ("linear", "hidden") for score in ("auc", "ap")
    }
    told = experiment.describe(variant)
    assert told["audio"] == "covers" and told["model"]["plus"] and "data" not in told


# ------------------------------------------------------------------------------ the published scale
def files_of_mtt(folder: Path) -> fetch.DatasetFiles:
    """Write a pair like that of MagnaTagATune: folders 0 to f, clips with tags."""
    rng, entries = np.random.default_rng(0), []
    with AudioStoreWriter(folder / "a.hdf5") as store:
        for n in range(16):
            name = f"{n:x}+++artist_{n}-album.mp3"
            store.append(name, rng.normal(size=int(2.8 * 22050)) / 20, 22050)
            tags = ["guitar", "slow"] if n % 2 else ["piano"]
            fields = {"tag": tags, "artist": [f"Artist {n}"]}
            atoms = {k: tuple(pyjama.Atom(value) for value in each) for k, each in fields.items()}
            entries.append(pyjama.Entry(name, n, atoms))
    pyjama.write(folder / "a.pyjama", pyjama.Collection(tuple(entries)))
    return fetch.DatasetFiles(folder / "a.hdf5", folder / "a.pyjama")


class Killed(Exception):
    """As if the machine had been switched off."""


@pytest.mark.filterwarnings("ignore:Mean of empty slice", "ignore:invalid value")
def test_full_scale_is_taken_up_where_it_was_killed(tmp_path, monkeypatch):
    """On files of the real form; the resumed run is the one that nobody disturbed."""
    files = files_of_mtt(tmp_path)
    monkeypatch.setattr(source.fetch, "fetch", lambda *_, **__: files)
    small = "training.max_epochs=2 training.batch_size=4 training.num_workers=0 data.n_tracks=16"
    few = [*small.split(), "model.filters=2", "model.representation=16", "probe.max_epochs=2"]
    settings = system.load_config("tune", scale="full", settings=few)
    tracks = system.load_tracks(settings, progress=False)
    assert {side: len(each) for side, each in tracks.items()} == {
        "train": 12, "validation": 2, "test": 2,
    }  # fmt: skip

    def go(name: str, resume: bool = False) -> protocol.Run:
        folder = tmp_path / name
        return protocol.run(system, settings, folder, tracks=tracks, resume=resume, progress=False)

    whole = go("whole")
    step = system.SelfSupervisedSystem.training_step

    def until_killed(self, batch, batch_idx):
        if self.global_step == 4:
            raise Killed
        return step(self, batch, batch_idx)

    monkeypatch.setattr(system.SelfSupervisedSystem, "training_step", until_killed)
    with pytest.raises(Killed):
        go("killed")
    monkeypatch.setattr(system.SelfSupervisedSystem, "training_step", step)
    resumed = go("killed", resume=True)
    assert len(resumed.fit.history) == len(whole.fit.history) == 2
    for name, value in whole.system.state_dict().items():
        np.testing.assert_array_equal(value.cpu(), resumed.system.state_dict()[name].cpu())
    assert whole.evaluation.overall == pytest.approx(resumed.evaluation.overall, nan_ok=True)


def test_two_processes_train_one_network(tmp_path):
    """Lightning's own options: each process has its batches, gradients are averaged."""
    two = "training.trainer={accelerator: cpu, devices: 2, strategy: ddp, sync_batchnorm: false}"
    options = [
        "data.n_tracks=24",
        "also=null",
        "training.max_epochs=1",
        "training.batch_size=2",
        "crops=1",
    ]
    words = ["train", "self_supervised", "--config", "tune", "--run-dir", str(tmp_path / "run")]
    words += ["--results", str(tmp_path / "r.json"), "--set", *options, "probe.max_epochs=2", two]
    shared = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "DL101_PROGRESS": "0"}
    done = subprocess.run(
        [sys.executable, "-m", "dl101.cli", *words],
        env={**os.environ, **shared},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    (record,) = (
        r
        for r in json.loads((tmp_path / "r.json").read_text())["records"]
        if r["variant"] == "tune-ntxent"
    )
    encoder = TUNe.of(replace(FAMILIES["TUNe+"], filters=4))  # as tune.yaml has it
    assert record["n_parameters"] == count(encoder) + 128 * 128 + 128 * 64
