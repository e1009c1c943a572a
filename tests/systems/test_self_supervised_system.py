"""Learning without labels on a very small scale: what is heard, training, probes, commands."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import soundfile
import torch

from dl101 import cli
from dl101.data import pyjama, source
from dl101.data.audiostore import AudioStoreWriter
from dl101.data.fetch import DatasetFiles
from dl101.errors import ConfigError
from dl101.evaluation import results
from dl101.nn import encoders
from dl101.nn.tune import TUNe
from dl101.systems import self_supervised as system
from dl101.systems import self_supervised_data as data
from dl101.training import protocol, shipped

pytestmark = pytest.mark.slow

OBJECTIVES = ("ntxent", "vicreg", "barlow", "simsiam", "supervised")
SMALL = [
    "data.n_tracks=24",
    "also.n_tracks=12",
    "model.representation=16",
    "model.widths=[4, 4, 8, 8, 8, 8, 8]",
    "crop_samples=2187",
    "crops=1",
    "hidden=16",
    "projection=8",
    "probe.max_epochs=2",
    "training.max_epochs=2",
    "training.batch_size=8",
]


@pytest.fixture(scope="module")
def settings():
    return system.load_config(settings=SMALL)


@pytest.fixture(scope="module")
def tracks(settings):
    return system.load_tracks(settings, progress=False)


def batch(n: int, settings: system.SelfSupervisedConfig) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    shape, n_classes = (n, settings.crop_samples), data.n_classes_of(settings.data)
    return {
        "first": torch.randn(shape, generator=generator),
        "second": torch.randn(shape, generator=generator),
        "target": torch.randint(2, (n, n_classes), generator=generator).float(),
    }


# ---- configurations ----


def test_full_scale_is_the_published_size():
    settings = system.load_config(scale="full")
    with torch.device("meta"):
        built = system.SelfSupervisedSystem(settings, 50)
    assert sum(p.numel() for p in built.encoder.parameters()) == 2_368_512
    assert sum(p.numel() for p in built.projector.parameters()) == 294_912
    assert settings.training.batch_size == 96 and settings.temperature == 0.5


@pytest.mark.parametrize(
    ("scale", "objective"), list(itertools.product(["lab", "full"], OBJECTIVES))
)
def test_every_cell_runs_forward_and_backward(scale, objective):
    small = [s for s in SMALL if s.startswith(("model", "crop_samples"))]
    settings = system.load_config(scale=scale, settings=[f"objective={objective}", *small])
    built = system.build(settings)
    built.loss(batch(4, settings)).backward()
    assert all(p.grad is not None for p in built.parameters())


def test_settings_that_do_not_fit_together_are_refused():
    with pytest.raises(ConfigError, match="19683 = 3"):
        system.load_config(settings=["crop_samples=20000"])
    with pytest.raises(ConfigError, match="something to learn from"):
        system.load_config(settings=["heard=false", "also=null"])
    with pytest.raises(ConfigError, match="without"):
        system.load_config(settings=["without=[pich]"])


def test_variants_have_names_of_their_own(settings):
    changes = [
        *([f"objective={name}"] for name in OBJECTIVES),
        ["stop_gradient=false"],
        ["without=[pitch]"],
        ["objective=supervised", "labels=0.1"],
        ["heard=false", "also.dataset=genres"],
    ]
    names = [system.load_config(settings=[*SMALL, *each]).variant for each in changes]
    assert len(set(names)) == len(names)
    assert names[-2:] == ["samplecnn-supervised-10%", "samplecnn-ntxent-on-genres"]


def test_the_other_encoder_gets_its_numbers():
    config = encoders.EncoderConfig(
        "tune", 32, n_contractive=3, n_expansive=1, n_tail=2, filters=4, plus=False
    )
    torch.manual_seed(0)
    made = encoders.make_encoder(config)
    torch.manual_seed(0)
    wanted = TUNe(3, 1, 2, 4, representation=32)
    assert made.state_dict().keys() == wanted.state_dict().keys()
    x = torch.randn(2, 1, 3**6)
    assert torch.equal(made.eval()(x), wanted.eval()(x))


# ---- what is heard ----


def test_no_test_track_is_heard(settings, tracks):
    heard = system.batches(settings, tracks).train.keys | (
        system.batches(settings, tracks).validation.keys
    )
    test = {each.key for each in tracks["test"]}
    assert test and not heard & test and not any(each.heard for each in tracks["test"])
    files = source.locate(settings.also, progress=False)
    for entry in pyjama.read(files.annotations).entries:
        key = f"tags-2/{entry.filepath}"
        assert (key in heard) == (entry.first("split") != "test")
    every = [each.key for side in tracks.values() for each in side]
    assert len(set(every)) == len(every)


def test_labels_are_looked_at_by_those_alone_who_may(settings, tracks):
    assert all(each.target is None for each in tracks["train"] if each.key.startswith("tags-2"))
    supervised = system.load_config(settings=[*SMALL, "objective=supervised", "labels=0.5"])
    pairs = system.batches(supervised, tracks).train
    assert len(pairs.recordings) == round(0.5 * len(data.with_labels(tracks["train"])))
    assert all(each.target is not None for each in pairs.recordings)
    # as many steps whatever is known
    assert abs(len(pairs) - len(tracks["train"])) <= len(pairs.recordings)
    elsewhere = system.load_config(settings=[*SMALL, "heard=false"])
    found = system.load_tracks(elsewhere, progress=False)
    assert {k.split("/")[0] for k in system.batches(elsewhere, found).train.keys} == {"tags-2"}


def test_pairs_are_two_crops_of_one_recording(tracks):
    pairs = data.CropPairs(tracks["train"][:2], 2187, per_recording=3)
    assert len(pairs) == 6
    torch.manual_seed(0)
    for index in (0, 3):
        item, audio = pairs[index], tracks["train"][index % 2].audio
        for name in ("first", "second"):
            crop = item[name].numpy()
            begins = np.flatnonzero(audio[:-2186] == crop[0])
            assert any(np.array_equal(audio[begin : begin + 2187], crop) for begin in begins)
        assert not torch.equal(item["first"], item["second"])
    fixed = data.CropPairs(tracks["train"][:2], 2187, anywhere=False)
    assert all(torch.equal(fixed[0][k], fixed[0][k]) for k in fixed[0])


def test_views_differ_and_validation_sees_the_same_ones(settings):
    built, given = system.build(settings), batch(4, settings)
    given["second"] = given["first"]
    first = built.augmented(given, np.random.default_rng(0))
    assert not torch.equal(first["first"], first["second"])
    again = built.augmented(given, np.random.default_rng(0))
    assert all(torch.equal(first[k], again[k]) for k in first)
    losses = []
    built.log = lambda name, value, **_: losses.append(value.item())
    built.eval()
    for _ in range(2):
        built.validation_step(given, 3)
    assert losses[0] == losses[1]


def test_crops_follow_each_other():
    crops = data.crops_of(np.arange(10, dtype=np.float32), 4)
    np.testing.assert_array_equal(crops, [[0, 1, 2, 3], [4, 5, 6, 7]])
    np.testing.assert_array_equal(data.crops_of(np.ones(2, np.float32), 4), [[1, 1, 0, 0]])


# ---- training and probing ----


@pytest.mark.parametrize("objective", ["ntxent", "simsiam", "supervised"])
def test_training_changes_the_encoder_and_probes_do_not(objective, tracks, tmp_path):
    settings = system.load_config(settings=[*SMALL, f"objective={objective}"])
    trained = protocol.run(system, settings, tmp_path, tracks=tracks, progress=False)
    before = {k: v.clone() for k, v in trained.system.state_dict().items()}
    fresh, after = (s.encoder.state_dict() for s in (system.build(settings), trained.system))
    assert any(not torch.equal(fresh[k], v.cpu()) for k, v in after.items())
    found = system.evaluate(trained.system, tracks)
    assert all(torch.equal(before[k], v) for k, v in trained.system.state_dict().items())
    assert found.overall == trained.evaluation.overall
    names = {"linear_auc", "hidden_ap", "projector_linear_auc", "linear_auc_10", "rank"}
    assert names <= set(found.overall) and ("head_auc" in found.overall) == (
        objective == "supervised"
    )
    assert set(found.scores) == {each.key for each in tracks["test"]}


def test_a_point_is_called_collapsed(settings, tracks):
    built = system.build(settings)
    for p in built.projector.parameters():
        torch.nn.init.constant_(p, 0.01)
    found = system.geometry(built, data.with_labels(tracks["test"]))
    assert found["collapsed"] == 1 and found["alignment"] < 1e-3


def test_batch_normalisation_of_the_untrained_has_seen_music(settings, tracks):
    fresh = system.build(settings, seed=1).encoder.state_dict()
    ready = system.untrained(settings, tracks, seed=1).encoder.state_dict()
    assert torch.equal(fresh["stem.0.weight"], ready["stem.0.weight"])
    assert not torch.equal(fresh["stem.1.running_var"], ready["stem.1.running_var"])


# ---- commands, and files of the real form ----


def test_commands_train_embed_and_find(tmp_path, capsys):
    weights, record = tmp_path / "w.safetensors", tmp_path / "r.json"
    options = ["--results", str(record), "--weights", str(weights)]
    assert cli.main(["train", "self_supervised", "--set", *SMALL, *options]) == 0
    assert {r.variant for r in results.load(record)} == {"samplecnn-ntxent", "mfcc"}
    found = shipped.load(weights)
    assert found.settings == system.load_config(settings=SMALL)
    rate, rng = 16_000, np.random.default_rng(0)
    sounds = {f"{n}.wav": 0.1 * rng.standard_normal((rate * n, 2)) for n in (1, 2)}
    for name, sound in sounds.items():
        soundfile.write(tmp_path / name, sound, rate)
    (tmp_path / "no.wav").write_text("no sound")
    paths = [str(tmp_path / name) for name in sounds]
    for kind in ("npz", "hdf5"):
        out = tmp_path / f"e.{kind}"
        assert cli.main(["embed", *paths, "-o", str(out), "--network", str(weights)]) == 0
    with np.load(tmp_path / "e.npz") as file:
        assert file["names"].tolist() == list(sounds)
        assert file["values"].shape == (len(file["times_s"]), 16)
        assert file["recording"].tolist() == [0] * 5 + [1] * 10
    capsys.readouterr()
    assert cli.main(["similar", paths[0], str(tmp_path), "--network", str(weights)]) == 0
    said = capsys.readouterr()
    assert "1.000  1.wav" in said.out.splitlines()[0] and "left out: " in said.err
    assert cli.main(["embed", paths[0], "-o", "e.txt", "--network", str(weights)]) == 1
    assert cli.main(["embed", paths[0], "-o", str(out), "--network", "chords"]) == 1


def test_full_scale_runs_on_files_of_the_real_form(tmp_path, monkeypatch):
    rng, entries = np.random.default_rng(0), []
    with AudioStoreWriter(tmp_path / "a.hdf5") as store:
        for index in range(24):
            name = f"{index:x}+++artist_{index}-album-1.mp3"
            store.append(name, rng.normal(size=64_000) / 20, 16_000)
            said = {"tag": ["guitar", f"tag {index % 3}"], "artist": [f"Artist {index}"]}
            fields = {key: tuple(map(pyjama.Atom, values)) for key, values in said.items()}
            entries.append(pyjama.Entry(name, index, fields))
    pyjama.write(tmp_path / "a.pyjama", pyjama.Collection(tuple(entries)))
    files = DatasetFiles(tmp_path / "a.hdf5", tmp_path / "a.pyjama")
    monkeypatch.setattr(source.fetch, "fetch", lambda *_, **__: files)
    changes = ["max_epochs=1", "num_workers=0", "batch_size=6"]
    small = ["model.representation=16", "model.widths=[2, 2, 2, 4, 4, 4, 8, 8, 8, 8]"]
    settings = system.load_config(
        scale="full", settings=[*(f"training.{change}" for change in changes), *small]
    )
    tracks = system.load_tracks(settings, progress=False)
    assert tracks["test"][0].classes == ("guitar", "tag 0", "tag 1", "tag 2")
    run = protocol.run(system, settings, tmp_path / "run", tracks=tracks, progress=False)
    assert len(run.fit.history) == 1 and len(run.evaluation.scores) == len(tracks["test"])
