"""Cover songs on a very small scale: data, batches, network, scores, record, index, command."""

from __future__ import annotations

import json

import h5py
import numpy as np
import pytest
import soundfile
import torch

from dl101 import cli
from dl101.data import fetch, pyjama
from dl101.data.embedded import export
from dl101.data.embedded.corpora import covers
from dl101.errors import ConfigError, DataError, Dl101Error
from dl101.evaluation import results
from dl101.systems import cover_songs as system
from dl101.systems import cover_songs_data as data
from dl101.training import protocol, shipped
from dl101.training.cliques import CliqueBatches

pytestmark = pytest.mark.slow

MODELS = ("move", "move_late", "move_original")
LOSSES = [
    *(("triplet", mining) for mining in ("random", "easy", "semi-hard", "hard")),
    *(("contrastive", mining) for mining in ("random", "easy", "semi-hard", "hard")),
    ("nt-xent", "random"),
]
# of 12 transpositions of a profile without mean, one is positive; the bias is normalised away
WITHOUT_GRADIENT = {
    "network.block_1.sequential_1.layer_2.weight",
    "network.block_2.sequential_1.layer_3.bias",
}
TINY = [
    "data.n_tracks=210",
    "data.patch_frames=64",
    "training.max_epochs=2",
    "training.batch_size=12",
]


@pytest.fixture(scope="module")
def settings():
    return system.load_config("cover_songs", settings=TINY)


@pytest.fixture(scope="module")
def tracks(settings):
    return system.load_tracks(settings, progress=False)


def small(**changes):
    return system.load_config(settings=[*TINY, *(f"{k}={v}" for k, v in changes.items())])


# ---- the network -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "count", "reach"), [("move", 1_869_094, 196), ("move_original", 6_288_902, 320)]
)
def test_full_size_has_the_published_number_of_parameters(model, count, reach):
    settings = system.load_config(scale="full", settings=[f"model={model}"])
    with torch.device("meta"):
        built = system.CoverSongsSystem(settings)
    assert sum(p.numel() for p in built.parameters()) == count
    assert built.shortest_frames == reach


@pytest.mark.parametrize(
    ("model", "scale"),  # the full original has the layers of the lab's, and 16,000 numbers
    [("move", "lab"), ("move", "full"), ("move_original", "lab"), ("move_late", "lab")],
)
def test_every_transposition_has_the_same_embedding(model, scale):
    """A rotated profile is the same rows in another order; the maximum forgets the order."""
    frames = 64 if scale == "lab" else 330
    settings = system.load_config(
        scale=scale, settings=[f"model={model}", f"data.patch_frames={frames}"]
    )
    built = system.build(settings, seed=3)
    profile = np.random.default_rng(0).random((12, frames), dtype=np.float32)
    first = system.predict(built, profile)
    for turn in range(1, 12):
        turned = system.predict(built, np.roll(profile, turn, axis=0))
        np.testing.assert_allclose(turned, first, atol=1e-5 * np.abs(first).max())
    other = system.predict(built, profile[::-1])
    assert np.abs(other - first).max() > 0.01 * np.abs(first).max()


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(("loss", "mining"), LOSSES)
def test_every_cell_of_the_grid_runs_forward_and_backward(tracks, model, loss, mining):
    settings = small(model=model, loss=loss, mining=mining)
    name = "nt-xent" if loss == "nt-xent" else f"{loss}-{mining}"
    assert settings.variant == (name if model == "move" else f"{model}-{name}")
    built = system.build(settings)
    drawn = system.batches(settings, tracks)
    value = built.loss(next(iter(drawn.train_dataloader())))
    value.backward()
    assert value.isfinite() and value > 0
    for name, parameter in built.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
        if name not in WITHOUT_GRADIENT and mining != "easy":
            assert parameter.grad.abs().max() > 0, name


def test_a_profile_shorter_than_the_reach_is_repeated(settings):
    built = system.build(settings)
    profile = np.random.default_rng(1).random((12, 11), dtype=np.float32)
    expected = system.predict(built, np.tile(profile, (1, 4)))
    assert built.shortest_frames == 44
    np.testing.assert_allclose(system.predict(built, profile), expected, atol=1e-6)


def test_level_and_contrast_of_a_profile_do_not_matter(settings):
    built = system.build(settings)
    profile = np.random.default_rng(1).random((12, 70), dtype=np.float32)
    first = system.predict(built, profile)
    np.testing.assert_allclose(system.predict(built, 0.2 + 0.3 * profile), first, atol=1e-4)
    assert np.isfinite(system.predict(built, np.zeros((12, 70), np.float32))).all()


def test_predict_leaves_training_mode_and_needs_no_batch(settings, tracks):
    built = system.build(settings)
    built.train()
    first = system.predict(built, tracks["test"][0].input)
    assert not built.training
    np.testing.assert_array_equal(first, system.embed(built, tracks["test"][:2])[0])


# ---- the data ----------------------------------------------------------------------------------


def test_sides_never_share_a_work(tracks):
    works = [{track.work for track in members} for members in tracks.values()]
    assert all(works)
    assert not works[0] & works[1] and not works[0] & works[2] and not works[1] & works[2]
    assert all(track.input.shape[0] == 12 for members in tracks.values() for track in members)


def test_a_performance_is_listed_once_whatever_an_export_holds(tmp_path):
    files = export.export_corpus("covers", tmp_path, n_tracks=12, stems=True, progress=False)
    assert len(pyjama.read(files.annotations)) == 24
    listed = data.load_cover_tracks(
        files.audio, files.annotations, pool_frames=5, dataset="covers", progress=False
    )
    assert len(listed) == 12 and not any("clean" in track.key for track in listed)


def write_pair(folder, *, n_works=24, bins_last=True, shared=False):
    """Write profiles as they are published: (frames, 12), no rate; some performances twice."""
    rng = np.random.default_rng(0)
    entries = []
    with h5py.File(folder / "covers_feat.hdf5", "w") as file:
        for work in range(n_works):
            base = rng.random((12, 400))
            for version in range(1 + work % 3):
                key = f"P_{work}_{version}"
                values = np.roll(base, version, axis=0) + 0.1 * rng.random((12, 400))
                file[key] = values.T if bins_last else values
                fields = {"work-id": f"W_{work}", "performance-id": key}
                entries.append({"filepath": key, **fields})
                if shared:
                    file[f"{key}-again"] = values.T
                    entries.append({"filepath": f"{key}-again", **fields})
    document = {
        "schemaversion": 1.31,
        "collection": {
            "entry": [{name: [{"value": v}] for name, v in entry.items()} for entry in entries]
        },
    }
    (folder / "covers.pyjama").write_text(json.dumps(document))
    return folder / "covers_feat.hdf5", folder / "covers.pyjama"


def test_a_repeated_performance_id_is_listed_once(tmp_path):
    features, annotations = write_pair(tmp_path, shared=True)
    listed = data.load_cover_tracks(
        features, annotations, pool_frames=1, dataset="cover1000", progress=False
    )
    assert len(listed) == 48 and not any(track.key.endswith("again") for track in listed)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("dataset", ["cover1000", "datacos-benchmark"])
def test_full_runs_on_small_files_of_the_published_form(tmp_path, monkeypatch, dataset, model):
    """(frames, 12), no frame rate, no split: turned, divided by work, trained and scored."""
    pair = fetch.DatasetFiles(*write_pair(tmp_path))
    monkeypatch.setattr(fetch, "fetch", lambda name, **_: pair)
    # the published layers, with fewer channels and another patch: the rest is as it is
    changes = [f"data.dataset={dataset}", f"model={model}", "data.patch_frames=330"]
    changes += ["training.max_epochs=1", "training.num_workers=0", "training.precision=32-true"]
    settings = system.load_config(scale="full", settings=changes)
    read = system.factory.read_model

    def thin(path, shape, *, size, output_shape):
        content = system.config.read_yaml(path)
        sizes = {**content["sizes"]["full"], "wide": 4, "embedding": 6}
        sizes |= {"widest": 8} if "widest" in sizes else {}
        return system.factory.build_model(content["model"], shape, parameters=sizes)

    monkeypatch.setattr(system.factory, "read_model", thin)
    assert read is not thin
    run = protocol.run(system, settings, tmp_path / "run", progress=False)
    assert run.evaluation.scores
    tracks = system.load_tracks(settings, progress=False)
    assert tracks["train"][0].input.shape == (12, 400)


@pytest.mark.parametrize("dataset", ["tags", "chorales"])
def test_a_corpus_without_works_is_found_before_it_is_rendered(dataset, monkeypatch):
    monkeypatch.setattr(export, "export_corpus", lambda *_, **__: pytest.fail("rendered first"))
    with pytest.raises(ConfigError, match="no work-id"):
        system.load_tracks(small(**{"data.dataset": dataset}), progress=False)


def test_pooling_is_the_mean_and_leaves_out_a_rest():
    profile = np.random.default_rng(0).random((12, 23)).astype(np.float32)
    expected = np.stack([profile[:, 5 * i : 5 * i + 5].mean(axis=1) for i in range(4)], axis=1)
    np.testing.assert_allclose(data.pooled(profile, 5), expected, rtol=1e-6)
    np.testing.assert_array_equal(data.pooled(profile, 1), profile)
    assert data.pooled(profile, 99).shape == (12, 1)


def test_what_is_varied_is_tempo_place_and_silence():
    profile = np.tile(np.arange(50, dtype=np.float32), (12, 1))
    vary = {"n_frames": 30}
    for seed in range(20):
        rng = np.random.default_rng(seed)
        steady = data.CoverVariationConfig(tempo=(2.0, 2.0), crop=1.0, silence=0.0)
        steps = np.diff(data.vary(profile, rng, config=steady, **vary), axis=1) % 50
        inside = np.isclose(steps, 2.0, atol=1e-3)
        assert inside.mean() > 0.9  # all but where it begins again
        plain = data.vary(profile, np.random.default_rng(seed), config=None, **vary)
        assert set((np.diff(plain[0]) % 50).round(3)) <= {1.0}
        silent = data.CoverVariationConfig(tempo=(1.0, 1.0), crop=1.0, silence=1.0)
        found = data.vary(profile + 1, np.random.default_rng(seed), config=silent, **vary)
        gap = np.flatnonzero(~found.any(axis=0))
        assert 1 <= gap.size <= 9 and np.array_equal(gap, np.arange(gap[0], gap[-1] + 1))
    assert np.array_equal(profile[0], np.arange(50))  # the input is left as it was


# ---- batches -----------------------------------------------------------------------------------


def test_batches_hold_several_versions_of_each_work_and_none_twice():
    rng = np.random.default_rng(0)
    works = [f"w{number}" for number in rng.integers(30, size=150)] + ["alone"]
    order = CliqueBatches(works, batch_size=20, versions=4, seed=0)
    seen = []
    for epoch in range(3):
        order.set_epoch(epoch)
        batches = list(order)
        assert len(batches) == len(order)
        members = [i for _, _, batch in batches for i in batch]
        assert len(members) == len(set(members)), "a performance came twice in an epoch"
        assert len(members) > 0.9 * sum(works.count(work) > 1 for work in works)
        for _, _, batch in batches:
            counts = {
                work: [works[i] for i in batch].count(work)
                for work in map(works.__getitem__, batch)
            }
            assert len(batch) <= 20 and len(counts) > 1 and min(counts.values()) >= 2
            assert "alone" not in counts
        seen.append(members)
    assert seen[0] != seen[1]
    order.set_epoch(0)
    assert [i for _, _, batch in order for i in batch] == seen[0]


def test_a_clique_of_two_is_two_performances_not_four(settings):
    order = CliqueBatches(["a", "b", "a", "b"], batch_size=8, versions=4, seed=0)
    (batch,) = order.batches()
    assert sorted(batch) == [0, 1, 2, 3]
    assert max(map(len, order.groups())) == 2


def test_a_training_side_without_cliques_is_refused(settings, tracks):
    alone = {**tracks, "train": tracks["train"][:1]}
    with pytest.raises(DataError, match="at least two performances"):
        system.batches(settings, alone)


# ---- training and scores -----------------------------------------------------------------------


def test_run_learns_and_is_reproducible(settings, tracks, tmp_path):
    outcomes = [
        protocol.run(system, settings, tmp_path / name, seed=1, tracks=tracks, progress=False)
        for name in "ab"
    ]
    one, other = (outcome.evaluation for outcome in outcomes)
    assert one.mean == other.mean and one.chosen == other.chosen
    queries = [
        track.key
        for track in tracks["test"]
        if sum(track.work == other.work for other in tracks["test"]) > 1
    ]
    assert list(one.scores) == queries and queries
    validation = tracks["validation"]
    embeddings = system.embed(outcomes[0].system, validation)
    found = system.score(system.distances(embeddings, embeddings), validation)
    best = 1 - np.mean([scores["average_precision"] for scores in found.values()])
    assert best == pytest.approx(min(row["val_loss"] for row in outcomes[0].fit.history), abs=1e-6)


def test_training_tells_a_few_works_apart(tracks):
    """Ten works of random profiles, in four keys each: after some steps all are found."""
    rng = np.random.default_rng(0)
    made = []
    for work in range(10):
        base = rng.random((12, 80)).astype(np.float32)
        for version in range(4):
            turned = np.roll(base, 3 * version, axis=0) + 0.2 * rng.random((12, 80))
            made.append(
                data.CoverTrack(f"{work}-{version}", "train", str(work), "", turned.astype("f4"))
            )
    settings = small(loss="nt-xent")
    built = system.build(settings)
    drawn = system.batches(settings, {"train": made, "validation": made})
    optimiser = torch.optim.AdamW(built.parameters(), lr=3e-3)
    for epoch in range(3):
        drawn.order.set_epoch(epoch)
        for batch in drawn.train_dataloader():
            optimiser.zero_grad()
            built.loss(batch).backward()
            optimiser.step()
    embeddings = system.embed(built, made)
    scores = system.score(system.distances(embeddings, embeddings), made).values()
    assert np.mean([each["average_precision"] for each in scores]) > 0.8


def test_threshold_is_the_best_of_all(tracks):
    rng = np.random.default_rng(0)
    some = tracks["validation"]
    embeddings = rng.standard_normal((len(some), 4))
    threshold = system.choose_threshold(embeddings, some)
    apart = np.square(embeddings[:, None] - embeddings).mean(axis=2)
    works = np.array([track.work for track in some])
    above = np.triu_indices(len(some), 1)
    same, apart = (works[:, None] == works)[above], apart[above]

    def f_measure(level):
        said = apart <= level + 1e-9
        return 2 * (said & same).sum() / (said.sum() + same.sum())

    assert f_measure(threshold) == pytest.approx(max(map(f_measure, apart)))


def test_baselines_are_scored_on_the_same_queries(settings, tracks, monkeypatch):
    found = system.baselines(settings, tracks)
    assert set(found) == set(system.BASELINES)
    keys = {tuple(evaluation.scores) for evaluation in found.values()}
    assert len(keys) == 1
    monkeypatch.setattr(system, "MOST_ALIGNED", 1)
    assert "alignment" not in system.baselines(settings, tracks)


# ---- the command -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    options = ["--results", folder / "results.json", "--weights", folder / "covers.safetensors"]
    words = ["train", "cover_songs", "--seed", "2", *map(str, options), "--set", *TINY]
    status = cli.main(words)
    assert status == 0
    return folder / "covers.safetensors"


def test_command_line_trains_records_and_saves(weights):
    records = {r.variant: r for r in results.load(weights.with_name("results.json"))}
    assert set(records) == {*system.BASELINES, system.load_config(settings=TINY).variant}
    loaded = shipped.load(weights)
    assert loaded.metrics["threshold"] >= 0
    assert loaded.record["config"]["data"]["n_tracks"] == 210


@pytest.fixture(scope="module")
def collection(tmp_path_factory):
    folder = tmp_path_factory.mktemp("collection")
    (folder / "more").mkdir()
    for place, index, subtype in (("a.wav", 0, "PCM_16"), ("more/b.flac", 1, "PCM_16")):
        sound, rate = covers.render_audio(index, duration_s=16.0)
        soundfile.write(folder / place, np.stack([sound, sound], axis=1), rate, subtype=subtype)
    soundfile.write(folder / "short.wav", np.ones(2205), 22050)
    (folder / "text.wav").write_text("no sound")
    write_pair(folder, shared=True)
    return folder


def test_a_folder_is_indexed_and_searched(weights, collection, tmp_path, capsys):
    index = tmp_path / "my.safetensors"
    common = ["--index", str(index), "--network", str(weights)]
    assert cli.main(["covers", "index", str(collection), *common]) == 0
    said = capsys.readouterr()
    assert "50 items" in said.out  # two recordings, 48 performances
    assert "short.wav" in said.err and "text.wav" in said.err
    assert data.Index.load(index).names[-2:] == ("a.wav", "more/b.flac")
    query = ["covers", "query", str(collection / "a.wav"), "--top", "3", *common]
    assert cli.main(query) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:3] == ["1", "0.000", "a.wav"] and "the same recording" in lines[0]
    assert len(lines) == 4


@pytest.mark.parametrize("content", ["text", "empty", "silence", "short"])
def test_a_query_that_says_nothing_gets_a_message(weights, collection, tmp_path, capsys, content):
    index = tmp_path / "my.safetensors"
    common = ["--index", str(index), "--network", str(weights)]
    network = shipped.load(weights)
    data.Index(("x",), np.zeros((1, 64), np.float32), system.identity(network)).save(index)
    path = tmp_path / "query.wav"
    if content in ("text", "empty"):
        path.write_text("la la la" * (content == "text"))
    else:
        sound = np.zeros(220_500) if content == "silence" else np.ones(2205)
        soundfile.write(path, sound, 22050)
    assert cli.main(["covers", "query", str(path), *common]) == 1
    assert "query.wav" in capsys.readouterr().err


def test_indices_that_do_not_fit_are_refused(weights, tmp_path):
    network = shipped.load(weights)
    other = data.Index(("x",), np.zeros((1, 64), np.float32), "another")
    with pytest.raises(DataError, match="another network"):
        system.search(network, other, tmp_path / "a.wav")
    with pytest.raises(DataError, match="without"):
        data.Index.load(weights)
    with pytest.raises(Dl101Error, match=r"missing\.safetensors"):
        data.Index.load(tmp_path / "missing.safetensors")
    with pytest.raises(DataError, match="no such folder"):
        system.make_index(network, tmp_path / "nowhere")
    with pytest.raises(DataError, match="neither"):
        system.make_index(network, tmp_path)


def test_a_recording_has_the_profile_of_its_notes():
    """A chord of sines lights its pitch classes, whatever the tuning."""
    time_s = np.arange(8 * data.SAMPLE_RATE) / data.SAMPLE_RATE
    for cents in (0, 30):
        hz = [440 * 2 ** ((midi - 69 + cents / 100) / 12) for midi in (60, 64, 67)]
        sound = sum(np.sin(2 * np.pi * f * time_s) for f in hz).astype(np.float32) / 4
        profile = data.profile_of_samples(sound)
        assert profile.shape[0] == 12 and profile.shape[1] == pytest.approx(8 * 10.77, abs=2)
        assert 0 <= profile.min() and profile.max() <= 1
        assert sorted(np.argsort(profile[:, 20:60].mean(axis=1))[-3:]) == [0, 4, 7]
