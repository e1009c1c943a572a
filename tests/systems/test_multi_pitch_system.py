"""The whole way on a very small scale: corpus, training, threshold, scores, record."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from dl101 import cli
from dl101.data.embedded import export
from dl101.errors import ConfigError, Dl101Error
from dl101.evaluation import multi_pitch as metrics
from dl101.evaluation import results
from dl101.systems import multi_pitch as system
from dl101.targets import PitchAxis
from dl101.training import protocol, shipped
from dl101.training.pitch_tracks import PitchTrack

pytestmark = pytest.mark.slow

MODELS = sorted(path.stem for path in (system.CONFIGS / "multi_pitch").glob("*.yaml"))
# as small as still makes sense: an octave and a half in the middle, one bin per semitone
TINY = [
    "data.n_tracks=6",
    "data.patch_frames=32",
    "feature.harmonics=[1, 2]",
    "feature.bins_per_semitone=1",
    "feature.n_octaves=4",
    "feature.f_min_hz=110.0",
    "feature.hop_samples=1024",
    "training.max_epochs=2",
]


@pytest.fixture(scope="module")
def settings():
    return system.load_config("multi_pitch", settings=TINY)


@pytest.fixture(scope="module")
def tracks(settings):
    return system.load_tracks(settings, progress=False)


@pytest.mark.parametrize("scale", ["lab", "full"])
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("harmonics", [[1], [0.5, 1, 2, 3, 4, 5]])
def test_every_variant_is_one_setting_away(scale, model, harmonics):
    changes = [f"model={model}", f"feature.harmonics={harmonics}"]
    settings = system.load_config("multi_pitch", scale=scale, settings=changes)
    with torch.device("meta"):  # sizes only: the full networks need no memory here
        built = system.MultiPitchSystem(settings)
    assert built.network.input_shape[0] == len(harmonics)
    assert settings.variant == f"{model}-{'hcqt' if len(harmonics) > 1 else 'cqt'}"


def test_full_scale_is_the_published_size():
    settings = system.load_config("multi_pitch", scale="full")
    with torch.device("meta"):
        built = system.MultiPitchSystem(settings)
    assert sum(p.numel() for p in built.parameters()) == 406_253


@pytest.mark.parametrize(
    ("scale", "changes", "message"),
    [
        ("huge", [], "scale 'huge'"),
        ("lab", ["feature.harmonic=[1]"], "did you mean 'harmonics'"),
        ("lab", ["model=conv3d"], "did you mean 'conv2d'"),
    ],
)
def test_wrong_settings_are_named(scale, changes, message):
    with pytest.raises(ConfigError, match=message):
        system.MultiPitchSystem(system.load_config("multi_pitch", scale=scale, settings=changes))


@pytest.mark.parametrize(
    "content",
    [
        "model: {block_l: []}",
        "model: {block_l: [{sequential_l: [{layer_l: [[Activation, ReLU]]}]}]}\nsizes: {lab: {}}",
    ],
)
def test_a_model_that_cannot_be_built_is_found_before_the_data(content, tmp_path, monkeypatch):
    monkeypatch.setattr(system, "load_tracks", lambda *_, **__: pytest.fail("data first"))
    (tmp_path / "mine.yaml").write_text(content)
    settings = system.load_config(settings=[f"model={tmp_path / 'mine'}"])
    with pytest.raises(Dl101Error, match=r"mine\.yaml"):
        protocol.run(system, settings, tmp_path, progress=False)


@pytest.mark.parametrize("dataset", ["tags", "covers"])
def test_a_corpus_without_pitches_is_found_before_it_is_rendered(dataset, monkeypatch):
    monkeypatch.setattr(export, "export_corpus", lambda *_, **__: pytest.fail("rendered first"))
    settings = system.load_config(settings=[f"data.dataset={dataset}"])
    with pytest.raises(ConfigError, match="no f0multi or pitchmidi; expected one of chorales"):
        system.load_tracks(settings, progress=False)


def test_sides_never_share_a_tune(settings, tracks):
    from dl101.data import pyjama, source

    work = {
        entry.filepath: entry.first("work")
        for entry in pyjama.read(source.locate(settings.data, progress=False).annotations).entries
    }
    sides = [{work[track.key] for track in members} for members in tracks.values()]
    assert all(sides)
    assert not sides[0] & sides[1]
    assert not sides[0] & sides[2]
    assert not sides[1] & sides[2]


def test_training_starts_from_almost_silence(settings, tracks):
    built = system.build(settings)
    probabilities = system.predict(built, tracks["test"][0].input)
    assert probabilities.shape == tracks["test"][0].target.shape
    assert np.median(probabilities) < 0.1


@pytest.mark.parametrize("model", ["conv2d", "unet"])
def test_a_cut_leaves_no_seam(settings, tracks, model):
    small = system.load_config("multi_pitch", settings=[*TINY, f"model={model}"])
    built = system.build(small, seed=3)
    hcqt = tracks["test"][0].input
    whole = system.predict(built, hcqt)
    pieces = system.predict(built, hcqt, chunk_frames=64)
    np.testing.assert_allclose(whole, pieces, atol=1e-5)


def test_predict_leaves_training_mode_and_needs_no_batch(settings, tracks):
    built = system.build(settings)
    built.train()
    first = system.predict(built, tracks["test"][0].input)
    assert not built.training  # batch statistics of one track must not leak into its estimate
    np.testing.assert_array_equal(first, system.predict(built, tracks["test"][0].input))


def test_threshold_belongs_to_the_tracks_it_was_given():
    axis = PitchAxis(110.0, 1, 24)
    times = np.arange(20) * 0.05
    target = np.zeros((24, 20), dtype=np.uint8)
    target[5] = 1
    reference = metrics.PitchSeries(times, np.full((20, 1), axis.midi[5]))
    track = PitchTrack("a", "validation", target[None].astype(np.float32), target, times, reference)
    salience = np.full((24, 20), 0.0)
    salience[5], salience[9] = 0.62, 0.41
    threshold, curve = system.tune_threshold([salience], [track], axis)
    assert threshold == 0.45
    assert max(point["accuracy"] for point in curve) == 1
    assert system.score([salience], [track], axis, threshold).scores["a"]["accuracy"] == 1
    assert system.score([salience], [track], axis, 0.2).scores["a"]["precision"] == 0.5


def test_inputs_of_training_are_varied_if_asked_those_of_validation_never(settings, tracks):
    from dl101.training import batches

    varied = system.load_config("multi_pitch", settings=[*TINY, "augmentation={}"])
    assert varied.variant == "conv2d-hcqt-varied"
    data = batches.PatchData(tracks, patch_frames=32, batch_size=2)
    batch = next(iter(data.val_dataloader()))
    seen = []
    for each in (settings, varied):
        built = system.build(each)
        built.log = lambda *args, **kwargs: None
        built.network.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
        built.training_step(batch, 0)
        built.validation_step(batch, 0)
    plain, plain_validation, changed, validation = seen
    assert torch.equal(plain, batch["input"]) and torch.equal(validation, batch["input"])
    assert torch.equal(plain_validation, validation)
    assert (changed - plain).abs().amax(dim=(1, 2, 3)).min() > 0.01


@pytest.mark.parametrize("more", [[], ["augmentation={}"]])
def test_run_learns_and_is_reproducible(tracks, tmp_path, more):
    settings = system.load_config("multi_pitch", settings=[*TINY, *more])
    outcomes = [
        protocol.run(system, settings, tmp_path / name, seed=1, tracks=tracks, progress=False)
        for name in "ab"
    ]
    losses = [row["train_loss"] for row in outcomes[0].fit.history]
    assert losses[-1] < losses[0]
    one, other = (outcome.evaluation for outcome in outcomes)
    assert one.mean == other.mean and one.chosen == other.chosen
    assert set(one.scores) == {track.key for track in tracks["test"]}


def test_command_line_trains_records_and_saves(tmp_path, capsys):
    path, weights = tmp_path / "results.json", tmp_path / "best.safetensors"
    options = ["--results", path, "--weights", weights, "--run-dir", tmp_path / "run"]
    arguments = ["train", "multi_pitch", "--seed", "2", "--set", *TINY, *map(str, options)]
    status = cli.main(arguments)
    assert status == 0
    assert "accuracy" in capsys.readouterr().out
    records = {record.variant: record for record in results.load(path)}
    assert set(records) == {"conv2d-hcqt", "salience", "silence"}
    assert records["silence"].metrics["accuracy"] == 0
    assert records["conv2d-hcqt"].n_items == 1
    assert records["conv2d-hcqt"].n_parameters > 0
    assert json.loads(path.read_text())["records"][0]["config"]["data"]["n_tracks"] == 6
    loaded = shipped.load(weights)
    assert loaded.settings == system.load_config("multi_pitch", settings=TINY)
    assert loaded.metrics == records["conv2d-hcqt"].metrics
    assert loaded.record["command"].endswith(f"--weights {weights}")
    hcqt = np.random.default_rng(0).random((2, 48, 50), dtype=np.float32)
    best = system.predict(loaded.system, hcqt)
    assert best.shape == (48, 50)
    assert np.abs(best - system.predict(system.build(loaded.settings), hcqt)).max() > 1e-4
    # going on with a finished run changes nothing; going on with another one is refused
    assert cli.main([*arguments, "--resume"]) == 0
    again = {record.variant: record for record in results.load(path)}
    assert again["conv2d-hcqt"].metrics == records["conv2d-hcqt"].metrics
    assert cli.main([*arguments, "--set", "positive_weight=2.0", "--resume"]) == 1
    assert "begun with another config" in capsys.readouterr().err


def test_resume_needs_the_folder(capsys):
    assert cli.main(["train", "multi_pitch", "--resume"]) == 1
    assert "--run-dir" in capsys.readouterr().err


def test_command_line_reports_errors_without_a_traceback(capsys):
    assert cli.main(["train", "multi_pitch", "--set", "modle=unet"]) == 1
    assert "did you mean 'model'" in capsys.readouterr().err
    assert cli.main(["export", "coral", "/nowhere"]) == 1


def test_command_line_exports_the_same_bytes(tmp_path, capsys):
    for name in "ab":
        assert cli.main(["export", "chorales", str(tmp_path / name), "--tracks", "3"]) == 0
    for file in ("chorales_audio.hdf5", "chorales.pyjama"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_export_reads_like_the_published_files(tmp_path):
    """With h5py and json alone, as the 2024 tutorial's notebooks do."""
    import h5py

    cli.main(["export", "chorales", str(tmp_path), "--tracks", "3"])
    entries = json.loads((tmp_path / "chorales.pyjama").read_text())["collection"]["entry"]
    with h5py.File(tmp_path / "chorales_audio.hdf5") as file:
        keys = set(file["/"].keys())
        for entry in entries:
            key = entry["filepath"][0]["value"]
            assert key in keys
            assert file[key].attrs["sr_hz"] == 22050
            assert file[key][:].ndim == 1
            notes = entry["pitchmidi"]
            assert {"value", "time", "duration"} <= set(notes[0])
    (curve,) = next(e for e in entries if e["role"][0]["value"] == "mixture")["f0multi"]
    assert len(curve["value"]) == 4
    assert len(curve["value"][0]) == len(curve["time"])
