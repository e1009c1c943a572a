"""The exported pair is a dataset like any other, complete or absent, and the same every time."""

from __future__ import annotations

import dataclasses
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from dl101.data import pyjama
from dl101.data.audiostore import AudioStore
from dl101.data.embedded import export
from dl101.data.embedded.corpora import chorales
from dl101.errors import ConfigError

pytestmark = pytest.mark.slow

N_TRACKS = 3


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> export.CorpusFiles:
    folder = tmp_path_factory.mktemp("corpus")
    return export.export_corpus("chorales", folder, n_tracks=N_TRACKS, progress=False)


def test_every_filepath_is_a_key_with_a_rate(files):
    collection = pyjama.read(files.annotations)
    with AudioStore(files.audio) as store:
        assert sorted(entry.filepath for entry in collection) == store.keys()
        for entry in collection:
            info = store.info(entry.filepath)
            assert info.sample_rate == 22050
            assert info.duration_s == 15.0
            assert "/" not in entry.filepath


def test_entries_say_what_was_performed(files):
    collection = pyjama.read(files.annotations)
    mixtures = [entry for entry in collection if entry.first("role") == "mixture"]
    assert [entry.first("split") for entry in mixtures] == ["train", "validation", "test"]
    for index, entry in enumerate(mixtures):
        track = chorales.render_track(index)
        assert entry.filepath == f"{track.name}.wav"
        assert entry.first("work") == track.chorale.tune
        assert entry.first("bwv") == track.chorale.bwv
        assert entry.first("title") == track.chorale.title
        assert entry.first("tempo") == pytest.approx(track.tempo_bpm, abs=0.01)
        assert entry.first("tuning-cents") == pytest.approx(track.tuning_cents, abs=0.01)
        assert len(entry.values("instrument")) == 4
        onsets_s, durations_s, pitches = entry.segments("pitchmidi")
        assert len(pitches) == sum(notes.onsets_s.size for notes in track.notes.values())
        assert np.all(np.diff(onsets_s) >= 0)
        assert durations_s.min() > 0
        assert np.all(pitches == np.round(pitches))
        (f0,) = entry.fields["f0multi"]
        assert f0.value.shape == (4, 1501)
        np.testing.assert_allclose(f0.time, np.arange(1501) * 0.01, atol=1e-9)
        for row, voice in zip(f0.value, ("soprano", "alto", "tenor", "bass"), strict=True):
            expected = np.nan_to_num(track.f0_midi.get(voice, np.zeros(1501)))
            np.testing.assert_allclose(row, expected, atol=6e-4)


def test_stems_carry_one_voice_each(files):
    collection = pyjama.read(files.annotations)
    stems = [entry for entry in collection if entry.first("role") == "stem"]
    mixtures = {entry.filepath: entry for entry in collection if entry.first("role") == "mixture"}
    assert len(stems) >= 3 * N_TRACKS
    for entry in stems:
        name, _, voice = entry.filepath.removesuffix(".wav").rpartition("-")
        mixture = mixtures[f"{name}.wav"]
        assert entry.first("split") == mixture.first("split")
        row = ("soprano", "alto", "tenor", "bass").index(voice)
        assert entry.first("instrument") == mixture.values("instrument")[row]
        np.testing.assert_array_equal(entry.first("f0")[0], mixture.first("f0multi")[row])
    with AudioStore(files.audio) as store:
        audio, _ = store.read("0000-bwv0384-soprano.wav")
    np.testing.assert_array_equal(audio, chorales.render_track(0).stems["soprano"])


def test_the_same_arguments_give_the_same_bytes(files, tmp_path):
    again = export.export_corpus("chorales", tmp_path, n_tracks=N_TRACKS, progress=False)
    assert again.audio.read_bytes() == files.audio.read_bytes()
    assert again.annotations.read_bytes() == files.annotations.read_bytes()


def test_a_smaller_corpus_is_the_beginning_of_a_larger_one(files, tmp_path):
    small = export.export_corpus("chorales", tmp_path, n_tracks=1, stems=False, progress=False)
    (entry,) = pyjama.read(small.annotations)
    assert entry == pyjama.read(files.annotations).entries[0]
    with AudioStore(small.audio) as one, AudioStore(files.audio) as many:
        np.testing.assert_array_equal(one.read(entry.filepath)[0], many.read(entry.filepath)[0])


@pytest.fixture
def rendered(monkeypatch) -> list[int]:
    """Return a list of the tracks rendered from now on; a block is one track."""
    calls = []

    def render(index, **arguments):
        calls.append(index)
        return chorales.render(index, **arguments)

    counting = dataclasses.replace(chorales.CHORALES, render=render)
    monkeypatch.setattr(chorales, "RECIPES", (counting,))
    monkeypatch.setattr(export, "BLOCK_S", chorales.DURATION_S)
    return calls


def test_a_failure_leaves_no_files_and_is_taken_up_where_it_was(
    files, tmp_path, monkeypatch, rendered
):
    real = export._render_block

    def failing(name, parts, block, *rest):
        if block.start == 1:
            raise RuntimeError("interrupted")
        return real(name, parts, block, *rest)

    with monkeypatch.context() as patched:
        patched.setattr(export, "_render_block", failing)
        with pytest.raises(RuntimeError, match="interrupted"):
            export.export_corpus("chorales", tmp_path, n_tracks=N_TRACKS, progress=False)
    (parts,) = tmp_path.glob("*.parts")
    assert parts.name.startswith(".chorales-")
    assert rendered == [0]

    again = export.export_corpus("chorales", tmp_path, n_tracks=N_TRACKS, progress=False)
    assert rendered == [0, 1, 2]
    assert again.audio.read_bytes() == files.audio.read_bytes()
    assert again.annotations.read_bytes() == files.annotations.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        ".chorales.lock",
        "chorales.pyjama",
        "chorales_audio.hdf5",
    ]


def test_a_killed_export_goes_on_and_gives_the_same_bytes(files, tmp_path, monkeypatch, rendered):
    """Kill a process at the worst moment: a block's audio is there, its annotation is not."""
    script = textwrap.dedent(
        f"""
        import os, signal
        from dl101.data.embedded import export

        export.BLOCK_S = {chorales.DURATION_S}
        real = export.replacing

        def replacing(path):
            if path.name == "0000001-0000002.json":
                os.kill(os.getpid(), signal.SIGKILL)
            return real(path)

        export.replacing = replacing
        export.export_corpus("chorales", {str(tmp_path)!r}, n_tracks={N_TRACKS}, progress=False)
        """
    )
    killed = subprocess.run([sys.executable, "-c", script], check=False)
    assert killed.returncode == -signal.SIGKILL
    (parts,) = tmp_path.glob("*.parts")
    assert sorted(path.name for path in parts.iterdir()) == [
        "0000000-0000001.hdf5",
        "0000000-0000001.json",
        "0000001-0000002.hdf5",
    ]
    again = export.export_corpus("chorales", tmp_path, n_tracks=N_TRACKS, progress=False)
    assert rendered == [1, 2]
    assert again.audio.read_bytes() == files.audio.read_bytes()
    assert again.annotations.read_bytes() == files.annotations.read_bytes()


KILLS = """
import os, random, signal, sys, time
from pathlib import Path
import dataclasses
import numpy as np
from dl101.data import pair
from dl101.data.cache import cache_dir
from dl101.data.embedded import export
from dl101.data.embedded.corpora import chorales

folder, n_rounds = Path(sys.argv[1]), int(sys.argv[2])
rng = random.Random(0)
LABELS = ("train", "test")


def render(index, *, seed, **_):  # the keys are the same for both seeds
    values = np.random.default_rng([seed, index]).uniform(-1, 1, 20_000).astype(np.float32)
    return [chorales.Item(f"{index}.wav", values, 8000, chorales.labels(split=LABELS[seed]))]


recipe = dataclasses.replace(
    chorales.CHORALES, render=render, definitions={"split": chorales.DEFINITIONS["split"]}
)
chorales.RECIPES = (recipe,)
export.BLOCK_S = chorales.DURATION_S


def exported(seed, where):
    return export.export_corpus("chorales", where, n_tracks=4, seed=seed, n_jobs=1, progress=False)


def content(files):
    return files.audio.read_bytes(), files.annotations.read_bytes()


def start(number, seed, after_s):
    child = os.fork()
    if child:
        return child
    os.environ["DL101_CACHE"] = str(folder / f"cache-{number}")
    if after_s is not None:
        signal.setitimer(signal.ITIMER_REAL, after_s)  # SIGALRM kills
    try:
        exported(seed, out)
    except BaseException as error:
        print(error, file=sys.stderr, flush=True)
        os._exit(1)
    os._exit(0)


before = time.perf_counter()
whole = [content(exported(seed, folder / f"whole-{seed}")) for seed in (0, 1)]
takes_s = time.perf_counter() - before  # for both, in turns
out = folder / "out"
files = export.CorpusFiles(out / "chorales_audio.hdf5", out / "chorales.pyjama")
outcomes = {"killed": 0, "finished": 0, "whole": 0, "without annotations": 0}
for _ in range(n_rounds):
    seeds = rng.choice([(0, 1), (0, 0), (1, 1)])
    children = [start(n, seed, rng.uniform(0.01, 1.0) * takes_s) for n, seed in enumerate(seeds)]
    for child in children:
        status = os.waitpid(child, 0)[1]
        assert status in (0, signal.SIGALRM), status
        outcomes["finished" if status == 0 else "killed"] += 1
    if not files.annotations.exists():
        outcomes["without annotations"] += 1
        continue
    outcomes["whole"] += 1
    seed = whole.index(content(files))  # every byte
    with pair.opened(files.audio, files.annotations) as (collection, store):
        assert {entry.first("split") for entry in collection} == {LABELS[seed]}
        assert store.read("3.wav")[0].tobytes() == render(3, seed=seed)[0].values.tobytes()
assert outcomes["killed"] and outcomes["finished"], outcomes
for seeds in ((0, 0), (0, 1), (1, 0)):  # left alone, both end well, and clear up
    children = [start(number, seed, None) for number, seed in enumerate(seeds)]
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0]
assert content(files) in whole
left = sorted(path.name for path in out.iterdir())
assert left == [".chorales.lock", "chorales.pyjama", "chorales_audio.hdf5"], left
print(outcomes)
"""


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="kills by POSIX signals")
def test_kills_at_random_moments_leave_no_mixture(tmp_path):
    """Two processes with caches of their own export into one folder, and are killed."""
    run = subprocess.run(
        [sys.executable, "-c", KILLS, str(tmp_path), "25"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr


MOMENTS = """
import os, signal, sys
from dl101.data import cache
from dl101.data.embedded import export
from pathlib import Path

folder, moment = sys.argv[1], sys.argv[2]
real_replace = os.replace


def replace(source, target):
    if moment == f"before {Path(target).name}":
        os.kill(os.getpid(), signal.SIGKILL)
    real_replace(source, target)
    if moment == f"after {Path(target).name}":
        os.kill(os.getpid(), signal.SIGKILL)


cache.os.replace = replace
export.export_corpus("covers", folder, n_tracks=1, seed=1, progress=False)
"""


@pytest.mark.parametrize(
    ("moment", "seed"),
    [
        ("before covers_feat.hdf5", None),
        ("after covers_feat.hdf5", None),
        ("after covers.pyjama", 1),
    ],
)
def test_an_export_killed_at_a_rename_leaves_no_mixture(tmp_path, moment, seed):
    export.export_corpus("covers", tmp_path, n_tracks=1, progress=False)
    killed = subprocess.run([sys.executable, "-c", MOMENTS, str(tmp_path), moment], check=False)
    assert killed.returncode == -signal.SIGKILL
    files = export._files("covers", tmp_path)
    if seed is None:
        assert not files.annotations.exists()
    whole = export.export_corpus("covers", tmp_path / "w", n_tracks=1, seed=1, progress=False)
    if seed is None:
        assert list(tmp_path.glob(".*.part"))  # what the kill left
        files = export.export_corpus("covers", tmp_path, n_tracks=1, seed=1, progress=False)
    assert files.audio.read_bytes() == whole.audio.read_bytes()
    assert files.annotations.read_bytes() == whole.annotations.read_bytes()
    assert not list(tmp_path.glob(".*.part"))


def test_the_cache_renders_once_for_two_processes(tmp_path, monkeypatch, rendered):
    """The second waits for the lock; what the first has made by then is not made again."""
    monkeypatch.setenv("DL101_CACHE", str(tmp_path))
    first = export.cached_corpus("chorales", n_tracks=1, progress=False)
    complete = export._complete
    answers = iter([False])  # what the second saw before it had the lock
    monkeypatch.setattr(export, "_complete", lambda files: next(answers, complete(files)))
    assert export.cached_corpus("chorales", n_tracks=1, progress=False) == first
    assert rendered == [0]


def test_rendering_clears_what_killed_exports_left_in_the_cache(tmp_path, monkeypatch, rendered):
    monkeypatch.setenv("DL101_CACHE", str(tmp_path))
    stale = tmp_path / "corpora" / "chorales-0" / ".chorales_audio.hdf5.abcd1234.part"
    stale.parent.mkdir(parents=True)
    stale.write_text("half")
    export.cached_corpus("chorales", n_tracks=1, progress=False)
    assert not stale.exists()


def test_two_processes_give_the_bytes_of_one(files, tmp_path, monkeypatch):
    monkeypatch.setattr(export, "BLOCK_S", chorales.DURATION_S)
    again = export.export_corpus("chorales", tmp_path, n_tracks=N_TRACKS, n_jobs=2, progress=False)
    assert again.audio.read_bytes() == files.audio.read_bytes()
    assert again.annotations.read_bytes() == files.annotations.read_bytes()


def test_features_and_stereo_go_through_blocks_unchanged(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    values = {2: rng.uniform(size=(12, 7)), 3: rng.uniform(-1, 1, size=(2, 400))}
    values = {n: v.astype(np.float32) for n, v in values.items()}

    def recipe_of(n: int, rate: float, holds: str):
        def render(index, **_):
            fields = {"split": chorales.labels(split="train")["split"]}
            return [chorales.Item(f"{index}.wav", values[n], rate, fields)]

        definitions = {"split": chorales.DEFINITIONS["split"]}
        changes = {"render": render, "holds": holds, "definitions": definitions}
        return dataclasses.replace(chorales.CHORALES, **changes)

    monkeypatch.setattr(chorales, "RECIPES", (recipe_of(2, 10.77, "features"),))
    written = export.export_corpus("chorales", tmp_path, n_tracks=2, progress=False)
    assert written.audio.name == "chorales_feat.hdf5"
    with AudioStore(written.audio) as store:
        read, rate = store.read_feature("1.wav")
        np.testing.assert_array_equal(read, values[2])
        assert rate == 10.77

    monkeypatch.setattr(chorales, "RECIPES", (recipe_of(3, 22050, "audio"),))
    written = export.export_corpus("chorales", tmp_path, n_tracks=2, progress=False)
    with AudioStore(written.audio) as store:
        np.testing.assert_array_equal(store.read("1.wav", mono=False)[0], values[3])
        assert store.read("1.wav")[0].shape == (400,)


def test_a_cluster_gives_the_same_bytes(files, tmp_path, monkeypatch):
    """Any back-end of joblib will do; here Dask, with two workers on this machine."""
    distributed = pytest.importorskip("distributed")
    from joblib import parallel_config

    monkeypatch.setattr(export, "BLOCK_S", chorales.DURATION_S)
    machines = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
    with (
        distributed.LocalCluster(**machines) as cluster,
        distributed.Client(cluster),
        parallel_config(backend="dask"),
    ):
        again = export.export_corpus("chorales", tmp_path, n_tracks=3, n_jobs=-1, progress=False)
    assert again.audio.read_bytes() == files.audio.read_bytes()
    assert again.annotations.read_bytes() == files.annotations.read_bytes()


def test_a_version_covers_what_a_recipe_imports_and_no_more():
    modules = set(export._MODULES.values())
    behind = {name: export._modules_behind(f"corpora.{name}") for name in modules}
    assert {"corpora.chorales", "corpora.dances", "profiles", "versions"} < behind["covers"]
    assert {"renderer", "soundbank", "scores", "recipe", "annotations"} <= behind["chorales"]
    assert not {"singer", "styles", "corpora.covers", "export"} & behind["chorales"]
    # As Python sees it: what an import of the recipe loads.
    loaded = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys, dl101.data.embedded.corpora.tags\n"
            "print(*(m for m in sys.modules if m.startswith('dl101.data.embedded.')))",
        ],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    names = {name.removeprefix("dl101.data.embedded.") for name in loaded} - {"corpora"}
    assert names == behind["tags"]


def test_versions_differ_unless_corpora_share_their_module():
    versions = {name: export.corpus_version(name) for name in export.CORPORA}
    assert versions["chorales"] == versions["piano"]
    assert len(set(versions.values())) == len(versions) - 1


def test_minutes_are_turned_into_tracks():
    assert export.tracks_in("chorales", 15.0) == 60
    assert export.tracks_in("chorales", 0.26) == 2
    assert export.tracks_in("covers", 7.5) == 10  # 45 s on average
    for minutes in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ConfigError, match="a number above 0"):
            export.tracks_in("chorales", minutes)


def test_the_cache_renders_once_for_each_set_of_arguments(tmp_path, monkeypatch, rendered):
    monkeypatch.setenv("DL101_CACHE", str(tmp_path))
    first = export.cached_corpus("chorales", n_tracks=1, progress=False)
    assert export.cached_corpus("chorales", n_tracks=1, progress=False) == first
    assert rendered == [0]
    assert export.cached_corpus("chorales", n_tracks=1, seed=1, progress=False) != first
    assert export.cached_corpus("chorales", n_tracks=1, stems=True, progress=False) != first
    assert rendered == [0, 0, 0]
    assert first.audio.is_relative_to(tmp_path)
    assert sum(p.stat().st_size for p in export.cached_files("chorales")) > 3 * first.size_bytes / 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "fugues"}, "fugues.*expected one of chorales"),
        ({"name": "chorales", "n_tracks": 0}, "n_tracks.*from 1 to"),
        ({"name": "chorales", "seed": -1}, "seed.*from 0 to"),
        ({"name": "chorales", "n_jobs": 0}, "n_jobs.*from 1 to"),
        ({"name": "chorales", "n_jobs": -5}, "n_jobs.*from 1 to"),
    ],
)
def test_impossible_arguments_are_refused(arguments, message, tmp_path):
    with pytest.raises(ConfigError, match=message):
        export.export_corpus(directory=tmp_path, **arguments)
