"""Tagging on a very small scale: published counts, patches, training, scores, commands, files."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import torch.nn.functional as F

from dl101 import cli
from dl101.data import fetch, pyjama, source, splits
from dl101.data.audiostore import AudioStoreWriter
from dl101.errors import ConfigError, DataError
from dl101.evaluation import results, tagging
from dl101.systems import auto_tagging as system
from dl101.systems import auto_tagging_data as data
from dl101.systems.auto_tagging_data import FeatureConfig, TagTrack
from dl101.training import protocol, shipped

pytestmark = pytest.mark.slow

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "parameter_counts.json").read_text())
MODELS = sorted(system.INPUT_OF)
TINY = [
    "model=conv2d",
    "data.n_tracks=24",
    "data.seed=0",
    "training.max_epochs=2",
    "training.batch_size=8",
]


def config_of(model: str, *changes: str, scale: str = "lab"):
    file = "auto_tagging" if system.INPUT_OF[model] == "log-mel" else "auto_tagging_waveform"
    return system.load_config(file, scale=scale, settings=[f"model={model}", *changes])


def count(settings) -> int:
    with torch.device("meta"):
        built = system.AutoTaggingSystem(settings)
    return sum(p.numel() for p in built.parameters())


# --- networks ---


@pytest.mark.parametrize(
    ("model", "dataset", "golden"),
    [
        ("conv2d", "gtzan-genre", "dl101/Auto_Tagging_D1-I1-C1"),
        ("sincnet", "gtzan-genre", "dl101/Auto_Tagging_D1-I2-C2"),
        ("conv1d", "gtzan-genre", "dl101/Auto_Tagging_D1-I2-C3"),
        ("tcn", "gtzan-genre", "dl101/Auto_Tagging_D1-I2-C4"),
        ("conv2d", "mtt", "dl101/Auto_Tagging_D2-I1-C1"),
        ("conv2d", "mtt", "dl101/Auto_Tagging"),
    ],
)
def test_full_scale_is_the_published_size(model, dataset, golden):
    settings = config_of(model, f"data.dataset={dataset}", scale="full")
    assert count(settings) == GOLDEN[golden]["count"]


def test_vgg_and_musicnn_are_those_of_the_thesis():
    patches = ["data.dataset=gtzan-genre", "data.patch_frames=128"]
    vgg = config_of("vgg", *patches, scale="full")
    assert count(vgg) == GOLDEN["thesis/6.3 VGG (10 classes)"]["count"]
    changes = [
        "data.dataset=mtt",
        "data.patch_frames=187",
        "feature.n_bands=96",
        "feature.sample_rate=16000",
        "feature.window_samples=512",
        "feature.hop_samples=256",
    ]
    musicnn = config_of("musicnn", *changes, scale="full")
    normalisation = 2  # of the input, which the thesis does not count
    golden = GOLDEN["thesis/T5.3 spec back 64-200"]["count"]
    assert count(musicnn) == golden + normalisation


@pytest.mark.parametrize("scale", ["lab", "full"])
@pytest.mark.parametrize("dataset", ["genres", "tags", "gtzan-genre", "mtt"])
@pytest.mark.parametrize("model", MODELS)
def test_every_cell_builds(model, dataset, scale):
    settings = config_of(model, f"data.dataset={dataset}", scale=scale)
    assert count(settings) > 10_000
    assert settings.variant == f"{dataset}-{model}"


@pytest.mark.parametrize("dataset", ["genres", "tags"])
@pytest.mark.parametrize("scale", ["lab", "full"])
@pytest.mark.parametrize("model", MODELS)
def test_every_cell_runs_forward_and_backward(model, scale, dataset):
    settings = config_of(model, f"data.dataset={dataset}", scale=scale)
    built, n = system.build(settings), len(settings.task.classes)
    x = torch.randn(2, *settings.input_shape)
    target = torch.eye(n)[:2]
    logits = built(x)
    assert logits.shape == (2, n)
    built.loss({"input": x, "target": target}).backward()
    for name, parameter in built.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
    # alpha of the learnt pooling is 0, and musicnn's filters pass a maximum: most get something
    grads = [p.grad.abs().max() for p in built.parameters()]
    assert np.mean([float(g) > 0 for g in grads]) > 0.9


@pytest.mark.parametrize("dataset", ["genres", "tags"])
def test_the_loss_is_the_one_of_the_task(dataset):
    settings = config_of("conv2d", f"data.dataset={dataset}")
    built = system.build(settings).eval()
    n = len(settings.task.classes)
    x, target = torch.randn(3, *settings.input_shape), torch.eye(n)[[1, 0, 4]]
    logits = built(x)
    p = built.probabilities(logits)
    if dataset == "genres":
        expected = -torch.log(p[torch.arange(3), [1, 0, 4]]).mean()
        assert torch.allclose(p.sum(dim=1), torch.ones(3))
    else:
        expected = F.binary_cross_entropy(p, target)
    assert built.loss({"input": x, "target": target}).item() == pytest.approx(expected.item(), 1e-4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["data.dataset=chorales"], "expected one of genres"),
        (["hop_frames=65"], "at most the length of a patch"),
        (["model=vgg2"], "did you mean 'vgg'"),
        (["model=sincnet"], "auto_tagging_waveform"),
    ],
)
def test_wrong_settings_are_named(changes, message):
    with pytest.raises(ConfigError, match=message):
        system.build(system.load_config(settings=changes))


def test_the_same_seed_gives_the_same_weights():
    settings = config_of("vgg")
    first, again, other = (system.build(settings, seed=seed) for seed in (1, 1, 2))
    pairs = list(zip(first.parameters(), again.parameters(), other.parameters(), strict=True))
    assert all(torch.equal(a, b) for a, b, _ in pairs)
    assert not all(torch.equal(a, c) for a, _, c in pairs)


# --- patches ---


def track(n: int, key: str = "a", side: str = "test") -> TagTrack:
    values = np.arange(n, dtype=np.float32)[None]
    return TagTrack(key, side, values, np.ones(2, np.float32), np.zeros(2), key)


def test_patches_cover_the_track_and_end_with_it():
    assert data.starts(10, patch_frames=4, hop_frames=4).tolist() == [0, 4, 6]
    assert data.starts(8, patch_frames=4, hop_frames=2).tolist() == [0, 2, 4]
    assert data.starts(3, patch_frames=4, hop_frames=2).tolist() == [0]


def test_a_frame_of_a_waveform_is_a_hop_long():
    patches = data.TagPatches([track(35)], patch_frames=3, hop_frames=2, frame_samples=5)
    firsts = [int(item["input"][0, 0]) for item in patches]
    assert firsts == [0, 10, 20] and patches[0]["input"].shape == (1, 15)
    short = data.TagPatches([track(7)], patch_frames=3, hop_frames=3, frame_samples=5)
    assert short[0]["input"][0].tolist() == [*range(7), *[0] * 8]


def test_training_patches_begin_anywhere_inside_the_track():
    patches = data.TagPatches([track(20)], patch_frames=6, hop_frames=6, anywhere=True)
    torch.manual_seed(0)
    firsts = [int(patches[0]["input"][0, 0]) for _ in range(200)]
    assert set(firsts) == set(range(15))
    torch.manual_seed(0)
    assert [int(patches[0]["input"][0, 0]) for _ in range(200)] == firsts


def test_what_is_said_of_a_track_is_the_mean_over_its_patches():
    settings = config_of("conv2d", "data.dataset=genres")
    built = system.build(settings)
    built.train()
    x = np.random.default_rng(0).random((1, 64, 150), dtype=np.float32)
    said, times_s = system.predict_patches(built, x, batch_size=2)
    assert not built.training and said.shape == (3, 10)
    np.testing.assert_allclose(system.predict(built, x), said.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(said.sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(times_s * 22050 / 1024, [32, 96, 118])
    alone, _ = system.predict_patches(built, x[..., 86:], batch_size=1)
    np.testing.assert_allclose(alone[0], said[2], atol=1e-5)


def test_the_level_of_a_recording_does_not_matter_if_asked():
    sound = np.random.default_rng(0).normal(size=22050).astype(np.float32) / 10
    levelled, as_it_is = FeatureConfig(level_db=-20.0), FeatureConfig()
    for kind in ("log-mel", "waveform"):
        heard = partial(data.network_input, kind=kind)
        loud, soft = (heard(gain * sound, levelled).values for gain in (1, 0.1))
        np.testing.assert_allclose(loud, soft, atol=1e-3)
        loud, soft = (heard(gain * sound, as_it_is).values for gain in (1, 0.1))
        assert np.abs(loud - soft).max() > 0.1
    silence = np.zeros(4096, dtype=np.float32)
    assert not data.log_mel(silence, levelled).values.any()


def test_centring_takes_away_what_is_always_there():
    sound = np.random.default_rng(0).normal(size=22050).astype(np.float32) / 10
    plain = data.network_input(sound, FeatureConfig(), "log-mel").values
    centred = data.network_input(sound, FeatureConfig(centred=True), "log-mel").values
    np.testing.assert_allclose(centred, plain - plain.mean(axis=-1, keepdims=True), atol=1e-6)
    wave = data.network_input(sound, FeatureConfig(centred=True), "waveform").values
    np.testing.assert_array_equal(wave[0], sound)


def test_masks_blank_a_stretch_of_each_item():
    torch.manual_seed(0)
    x = torch.arange(200 * 8 * 9, dtype=torch.float32).view(200, 1, 8, 9)
    y = data.masked(x, 3, 2)
    changed = (y != x)[:, 0]
    rows, columns = changed.all(dim=2).sum(dim=1), changed.all(dim=1).sum(dim=1)
    assert rows.max() == 3 and rows.min() == 0 and columns.max() == 2 and columns.min() == 0
    means = x.mean(dim=(1, 2, 3))
    assert all((y[k, 0][changed[k]] == means[k]).all() for k in range(200))
    starts = {int(torch.nonzero(c.all(dim=1))[0]) for c in changed if c.all(dim=1).any()}
    assert starts == set(range(8))
    assert torch.equal(data.masked(x, 0, 0), x)
    assert data.masked(x, 100, 100).shape == x.shape


def test_only_training_is_masked():
    settings = config_of("conv2d", "mask_bands=60")
    built, seen = system.build(settings), []
    built.log = lambda *args, **kwargs: None
    built.network.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    x = torch.rand(4, *settings.input_shape)
    batch = {"input": x, "target": torch.zeros(4, len(settings.task.classes))}
    built.training_step(batch, 0)
    built.validation_step(batch, 0)
    assert not torch.equal(seen[0], x) and torch.equal(seen[1], x)


# --- scores ---


def scored(dataset: str, n: int, seed: int = 0):
    settings = config_of("conv2d", f"data.dataset={dataset}")
    rng = np.random.default_rng(seed)
    k = len(settings.task.classes)
    tracks, said = {}, {}
    for side in splits.SIDES:
        truth = (
            np.eye(k)[rng.integers(k, size=n)]
            if dataset == "genres"
            else (rng.random((n, k)) < 0.3)
        )
        tracks[side] = [
            TagTrack(f"{side}{i}", side, np.zeros((1, 1)), row.astype(np.float32), np.zeros(40), "")
            for i, row in enumerate(truth)
        ]
        said[side] = 1 / (1 + np.exp(-(rng.normal(size=(n, k)) + 2 * truth)))
    return settings, tracks, said


def test_genres_are_scored_track_by_track_and_class_by_class():
    settings, tracks, said = scored("genres", 40)
    found = system.score(settings, tracks, said)
    truth = system.truth_of(tracks["test"])
    assert found.mean["accuracy"] == tagging.accuracy(truth, said["test"])
    assert set(found.scores) == {f"test{i}" for i in range(40)}
    assert found.mean["macro_recall"] == tagging.macro_recall(truth, said["test"])
    assert 0 < found.mean["macro_f"] <= 1 and not found.chosen


def test_the_threshold_of_tags_comes_from_the_validation_side():
    settings, tracks, said = scored("tags", 30)
    found = system.score(settings, tracks, said)
    truth = {side: system.truth_of(each) for side, each in tracks.items()}
    best = tagging.best_threshold(truth["validation"], said["validation"], system.THRESHOLDS)
    assert found.chosen == {"threshold": best}
    assert found.mean["micro_f"] == tagging.micro_f(truth["test"], said["test"] >= best)
    assert found.mean["macro_auc"] == tagging.macro_auc(truth["test"], said["test"])
    other = {**said, "validation": said["validation"] ** 3}
    assert system.score(settings, tracks, other).chosen != found.chosen


def test_the_svm_learns_what_timbre_tells_and_stays_silent_on_what_it_never_heard():
    settings, tracks, _ = scored("tags", 60)
    rng = np.random.default_rng(1)
    for side, each in tracks.items():
        for one in each:
            one.target[5] = 0 if side == "train" else one.target[5]
            one.timbre[:] = rng.normal(size=40)
            one.timbre[0] = 3 * one.target[7]
    said = system.baseline_answers(settings, tracks)["mfcc-svm"]
    truth = system.truth_of(tracks["test"])
    assert tagging.roc_auc(truth[:, 7], said["test"][:, 7]) > 0.95
    assert tagging.roc_auc(truth[:, 5], said["test"][:, 5]) == 0.5
    assert np.all((said["test"] >= 0) & (said["test"] <= 1)) and said["test"][:, 5].max() < 0.5


# --- the whole way ---


@pytest.mark.parametrize("dataset", ["genres", "tags"])
def test_artists_keep_to_one_side(dataset):
    settings = config_of("conv2d", f"data.dataset={dataset}", "data.n_tracks=24", "data.seed=0")
    tracks = system.load_tracks(settings, progress=False)
    artists = [{track.artist for track in each} for each in tracks.values()]
    assert all(artists) and not set.intersection(*artists)
    assert not artists[0] & artists[2] and not artists[1] & artists[2]
    assert {t.target.sum() == 1 for t in tracks["train"]} == (
        {True} if dataset == "genres" else {False}
    )


@pytest.mark.parametrize("dataset", ["genres", "tags"])
def test_run_learns_and_is_reproducible(dataset, tmp_path):
    settings = config_of("conv2d", f"data.dataset={dataset}", *TINY[1:])
    tracks = system.load_tracks(settings, progress=False)
    one, other = (
        protocol.run(system, settings, tmp_path / n, seed=1, tracks=tracks, progress=False)
        for n in "ab"
    )
    losses = [row["train_loss"] for row in one.fit.history]
    assert losses[-1] < losses[0]
    np.testing.assert_equal(one.evaluation.mean, other.evaluation.mean)
    assert set(one.evaluation.scores) == {track.key for track in tracks["test"]}


def test_command_line_trains_records_and_tags_any_file(tmp_path, capsys):
    path, weights = tmp_path / "results.json", tmp_path / "tags.safetensors"
    options = map(str, ["--results", path, "--weights", weights])
    assert cli.main(["train", "auto_tagging", "--set", *TINY, *options]) == 0
    records = {record.variant: record for record in results.load(path)}
    assert set(records) == {"tags-conv2d", "tags-prior", "tags-mfcc-svm"}
    assert records["tags-prior"].metrics["macro_auc"] == 0.5
    assert records["tags-conv2d"].n_items == 4
    loaded = shipped.load(weights)
    assert loaded.metrics == records["tags-conv2d"].metrics
    capsys.readouterr()
    said = []
    rng = np.random.default_rng(0)
    for name, rate, channels in (
        ("a.wav", 8000, 1),
        ("b.flac", 44100, 2),
        ("c.ogg", 22050, 1),
        ("d.mp3", 48000, 2),
    ):
        soundfile.write(tmp_path / name, rng.normal(size=(4 * rate, channels)) / 10, rate)
        arguments = ["tag", str(tmp_path / name), "--network", str(weights), "--top", "4"]
        assert cli.main(arguments) == 0
        lines = capsys.readouterr().out.splitlines()
        assert len(lines) == 4
        names, values = zip(*(line.rsplit(maxsplit=1) for line in lines), strict=True)
        assert set(map(str.strip, names)) <= set(loaded.settings.task.classes)
        assert list(map(float, values)) == sorted(map(float, values), reverse=True)
        said.append(lines)
    assert cli.main([*arguments, "--each-second"]) == 0
    table = capsys.readouterr().out.splitlines()
    assert len(table) == 4 + 1 + 1 + 4 and table[5].startswith("second")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("notes.txt", b"these are words\n" * 50, "WAV, FLAC, OGG or MP3"),
        ("empty.wav", b"", "WAV, FLAC, OGG or MP3"),
        ("silent.wav", np.zeros(22050), "silence"),
        ("short.wav", np.ones(2205) / 2, "at least 0.5 s"),
    ],
)
def test_what_cannot_be_tagged_is_refused_in_words(name, content, said, tmp_path, capsys):
    file = tmp_path / name
    if isinstance(content, bytes):
        file.write_bytes(content)
    else:
        soundfile.write(file, content, 22050)
    built = system.build(config_of("conv2d"))
    with pytest.raises(DataError, match=said):
        system.listen(built, file)


def test_a_network_of_another_task_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="for auto-tagging"):
        system.listen(torch.nn.Identity(), tmp_path / "a.wav")


# --- real datasets, in their form ---


def write_pair(folder: Path, names_and_fields, rate: int, seconds: float) -> fetch.DatasetFiles:
    """Write noise under the names of a dataset, with annotations as the pairs of 2024 have them."""
    rng, entries = np.random.default_rng(0), []
    with AudioStoreWriter(folder / "a.hdf5") as store:
        for index, (name, fields) in enumerate(names_and_fields):
            store.append(name, rng.normal(size=int(rate * seconds)) / 20, rate)
            atoms = {
                key: tuple(pyjama.Atom(value) for value in values) for key, values in fields.items()
            }
            entries.append(pyjama.Entry(name, index, atoms))
    pyjama.write(folder / "a.pyjama", pyjama.Collection(tuple(entries)))
    return fetch.DatasetFiles(folder / "a.hdf5", folder / "a.pyjama")


def gtzan(folder: Path) -> fetch.DatasetFiles:
    named = [
        (f"{genre}+++{genre}.{number:05d}.wav", {"genre": [genre]})
        for genre in ("blues", "classical")
        for number in (30, 33, 49, 50, 0, 1, 2, 12, 13, 14)
    ]
    return write_pair(folder, named, 22050, 3.2)


def mtt(folder: Path) -> fetch.DatasetFiles:
    named = [
        (
            f"{n:x}+++artist_{n}-album-{track}.mp3",
            {"tag": ["guitar", data.MTT[n], "not kept"], "artist": [f"Artist {n}"]},
        )
        for n in range(12)
        for track in range(2)
    ]
    return write_pair(folder, named, 16000, 3.2)


@pytest.mark.parametrize(
    ("dataset", "make", "model"),
    [
        ("gtzan-genre", gtzan, "conv2d"),
        ("gtzan-genre", gtzan, "conv1d"),
        ("mtt", mtt, "conv2d"),
    ],
)
def test_full_scale_runs_on_files_of_the_real_form(dataset, make, model, tmp_path, monkeypatch):
    files = make(tmp_path)
    monkeypatch.setattr(source.fetch, "fetch", lambda *_, **__: files)
    changes = ["training.max_epochs=1", "training.num_workers=0", f"data.dataset={dataset}"]
    settings = config_of(model, *changes, scale="full")
    tracks = system.load_tracks(settings, progress=False)
    artists = [{track.artist for track in each} for each in tracks.values()]
    assert not artists[0] & artists[2]
    some = {side: each[:4] for side, each in tracks.items()}
    run = protocol.run(system, settings, tmp_path / "run", tracks=some, progress=False)
    assert len(run.fit.history) == 1 and len(run.evaluation.scores) == len(some["test"])
    if dataset == "mtt":
        assert {int(t.target.sum()) for each in tracks.values() for t in each} <= {1, 2}
        assert tracks["train"][0].artist.startswith("Artist")


def test_a_genre_that_is_unknown_is_an_error(tmp_path, monkeypatch):
    files = write_pair(tmp_path, [("a.wav", {"genre": ["polka"]})], 22050, 1.0)
    monkeypatch.setattr(source.fetch, "fetch", lambda *_, **__: files)
    monkeypatch.setattr(splits, "safe_split", lambda *_, **__: {"a.wav": "train"})
    settings = config_of("conv2d", "data.dataset=gtzan-genre", scale="full")
    with pytest.raises(DataError, match=r"a\.wav.*polka"):
        system.load_tracks(settings, progress=False)
