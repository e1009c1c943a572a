"""Datasets that mirdata reads become pairs, with every kind of annotation, and nothing unsaid."""

from __future__ import annotations

import builtins
import json
import os
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from dl101 import cli
from dl101.data import pair, pyjama
from dl101.data.audiostore import AudioStore
from dl101.data.mirdata_bridge import convert
from dl101.errors import ConfigError, DataError

pytestmark = pytest.mark.slow

RATE = 22_050


def silent(text):
    pass


@pytest.fixture
def mirdata():
    return pytest.importorskip("mirdata", reason="mirdata is not installed")


# ---- mirdata's own loader on a small copy of its layout ----


@pytest.fixture
def gtzan(tmp_path, mirdata, monkeypatch):
    """Return a folder that mirdata takes for GTZAN, with three of its excerpts."""
    from mirdata.datasets import gtzan_genre

    home = tmp_path / "home"
    tracks = {}
    for number, genre in enumerate(("blues", "hiphop", "rock")):
        name = f"{genre}.0000{number}"
        files = {
            "audio": f"gtzan_genre/genres/{genre}/{name}.wav",
            "tempo": f"gtzan_tempo_beat-main/tempo/{name}.bpm",
            "beats": f"gtzan_tempo_beat-main/beats/{name}.beats",
        }
        tracks[name] = {key: [path, "0" * 32] for key, path in files.items()}
        for path in files.values():
            (home / path).parent.mkdir(parents=True, exist_ok=True)
        times = np.arange(RATE) / RATE
        soundfile.write(home / files["audio"], 0.5 * np.sin(2 * np.pi * 440 * times), RATE)
        (home / files["tempo"]).write_text("120\n")
        (home / files["beats"]).write_text("0.1 1\n0.6 2\n")
    (home / tracks["rock.00002"]["beats"][0]).unlink()
    index = {"version": "1.0", "tracks": tracks}
    indexes = tmp_path / "indexes"
    indexes.mkdir()
    (indexes / "gtzan_genre_index_1.0.json").write_text(json.dumps(index))
    monkeypatch.setattr(gtzan_genre.INDEXES["1.0"], "indexes_dir", str(indexes))
    return home


def test_gtzan_through_mirdata(gtzan, tmp_path):
    shown = []
    report = convert("gtzan_genre", tmp_path / "out", data_home=gtzan, show=shown.append)
    assert "copies of others" in " ".join(shown[0].split())  # its faults are told
    assert report.n_tracks == 3 and report.audio.name == "gtzan_genre_audio.hdf5"
    collection = pyjama.read(report.annotations)
    blues, hiphop, rock = collection
    assert [entry.filepath for entry in collection] == ["blues.00000", "hiphop.00001", "rock.00002"]
    assert hiphop.first("genre") == "hip-hop"
    assert [(a.value, a.time) for a in blues.fields["beat"]] == [(1, 0.1), (2, 0.6)]
    assert "beat" not in rock.fields
    assert any(what.startswith("beats: ") for what in report.left_out)  # the missing file is told
    with AudioStore(report.audio) as store:
        samples, rate = store.read("blues.00000")
    assert rate == RATE and samples.shape == (RATE,) and 0.45 < samples.max() < 0.55


def test_command_line(gtzan, tmp_path, capsys):
    arguments = ["convert", "--from", "mirdata", "gtzan", str(tmp_path / "out")]
    assert cli.main([*arguments, "--data-home", str(gtzan)]) == 0
    printed = capsys.readouterr().out
    assert "3 tracks" in printed and "not converted (1 tracks): beats: " in printed
    assert printed.index("licence") < printed.index("3 tracks")
    assert (tmp_path / "out" / "gtzan_genre.pyjama").exists()


def test_dataset_that_is_not_there(gtzan, tmp_path):
    with pytest.raises(DataError, match="no track with audio") as caught:
        convert("gtzan", tmp_path / "out", data_home=tmp_path / "empty", show=silent)
    assert "download()" in caught.value.hint
    assert not list((tmp_path / "out").iterdir())


def test_index_that_is_not_there(mirdata, tmp_path, monkeypatch):
    from mirdata.datasets import tinysol

    monkeypatch.setattr(tinysol.INDEXES["6.0"], "indexes_dir", str(tmp_path))
    with pytest.raises(DataError, match="index"):
        convert("tinysol", tmp_path / "out", show=silent)


def test_unknown_name_suggests_a_near_one(mirdata, tmp_path):
    with pytest.raises(ConfigError, match="did you mean 'ballroom'"):
        convert("balroom", tmp_path, show=silent)


def test_without_mirdata_says_how_to_install_it(tmp_path, monkeypatch):
    original = builtins.__import__

    def without(name, *rest):
        if name == "mirdata":
            raise ImportError(name)
        return original(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ConfigError, match="pip install"):
        convert("gtzan", tmp_path)


# ---- Every kind of annotation ----


class Track:
    """What mirdata offers of a track: texts, numbers, annotations, audio."""

    split = "valid"
    year = 1987
    explicit = True
    tags = ("loud", "fast")
    nothing = None
    matrix = np.zeros((2, 2))
    audio_path = "somewhere"
    rate = RATE

    def __init__(self, track_id, audio, **annotations):
        self.track_id = track_id
        self._audio = audio
        self.__dict__.update(annotations)

    def to_jams(self):
        raise AssertionError("methods are not called")

    @property
    def audio(self):
        return self._audio, float(self.rate)

    @property
    def vocal_audio(self):
        raise AssertionError("one recording is read")

    @property
    def broken(self):
        raise OSError("no such file")


@pytest.fixture
def fake(mirdata, monkeypatch):
    """Return a function that makes mirdata offer the given tracks as dataset 'fake'."""

    def offer(*tracks):
        by_id = {track.track_id: track for track in tracks}
        dataset = SimpleNamespace(
            track_ids=list(by_id), track=by_id.__getitem__, data_home="nowhere"
        )
        monkeypatch.setattr(mirdata, "list_datasets", lambda: ["fake"])
        monkeypatch.setattr(mirdata, "initialize", lambda name, data_home: dataset)

    return offer


def spans(*pairs):
    return np.array(pairs, dtype=float)


def test_every_kind_of_annotation(fake, mirdata, tmp_path):
    from mirdata import annotations as a

    times = np.array([0.0, 0.01, 0.02])
    made = {
        "beats": a.BeatData(np.array([0.5, 1.0]), "s", np.array([1.0, 2.0]), "bar_index"),
        "onbeats": a.BeatData(np.array([500.0]), "ms", None, None),
        "chords": a.ChordData(spans((0, 1), (1, 3)), "s", ["C:maj", "N"], "harte"),
        "notes": a.NoteData(spans((0, 1), (1, 1.5)), "s", np.array([440.0, 880.0]), "hz"),
        "notes_low": a.NoteData(spans((0, 1)), "s", np.array([40.0]), "midi"),
        "ticked": a.NoteData(spans((0, 1)), "ticks", np.array([60.0]), "midi"),
        "f0": a.F0Data(
            times, "s", np.array([440.0, 330, 220]), "hz", np.array([1.0, 0, 1]), "binary"
        ),
        "multi_f0": a.MultiF0Data(times, "s", [[220.0, 440.0], [], [880.0]], "hz"),
        "sections": a.SectionData(spans((0, 2)), "s", ["verse"], "open"),
        "unnamed_parts": a.SectionData(spans((0, 2)), "s", None, None),
        "key": a.KeyData(spans((0, 2)), "s", ["C:major"], "key_mode"),
        "lyrics": a.LyricData(spans((0, 1), (1, 2)), "s", ["la", ""], "words"),
        "tempos": a.TempoData(spans((0, 2)), "s", np.array([120.0]), "bpm"),
        "events": a.EventData(spans((0, 2)), "s", ["clap"], "open"),
        "strings": {"E": a.NoteData(spans((0, 1)), "s", np.array([64.0]), "midi")},
    }
    stereo = np.zeros((2, 1000), np.float32)
    fake(Track("disc/1", stereo, **made), Track("disc/2", stereo[:1], year="unknown"))
    report = convert("fake", tmp_path, show=silent)
    first, second = pyjama.read(report.annotations)
    assert first.filepath == "disc+++1" and report.n_tracks == 2

    def atoms(name):
        return [(atom.value, atom.time, atom.duration) for atom in first.fields[name]]

    assert atoms("beat") == [(1, 0.5, None), (2, 1.0, None)]
    assert atoms("beat-onbeats") == [(0, 0.5, None)]
    assert atoms("chord") == [("C:maj", 0, 1), ("N", 1, 2)]
    assert atoms("pitchmidi") == [(69, 0, 1), (81, 1, 0.5)]
    assert atoms("pitchmidi-notes-low") == [(40, 0, 1)]
    assert atoms("pitchmidi-strings-E") == [(64, 0, 1)]
    assert atoms("section") == [("verse", 0, 2)]
    assert atoms("section-unnamed-parts") == [("section", 0, 2)]
    assert atoms("key") == [("C:major", 0, 2)] and atoms("lyrics") == [("la", 0, 1)]
    assert atoms("tempo-tempos") == [(120, 0, 2)] and atoms("event") == [("clap", 0, 2)]
    (curve,) = first.fields["f0"]
    assert np.array_equal(curve.value, [[69, np.nan, 57]], equal_nan=True)
    assert np.array_equal(curve.time, times)
    (curves,) = first.fields["f0multi"]
    expected = [[57, np.nan, 81], [69, np.nan, np.nan]]
    assert np.array_equal(curves.value, expected, equal_nan=True)
    assert first.values("tags") == ["loud", "fast"] and first.first("split") == "validation"
    assert first.first("year") == "1987" and second.first("year") == "unknown"  # text in one
    assert first.first("explicit") == "True"
    assert dict(report.left_out) == {
        "ticked: times in ticks": 1,
        "matrix: no field for a ndarray": 2,
        "broken: OSError when reading it": 2,
        "vocal_audio: one recording is kept, audio": 2,
    }
    with AudioStore(report.audio) as store:
        assert store.read("disc+++1", mono=False)[0].shape == (2, 1000)
        assert store.read("disc+++2")[0].shape == (1000,)


def test_the_rules_of_the_door_hold_for_mirdata(fake, tmp_path):
    noise = np.random.default_rng(0).uniform(-1, 1, (1000, 2)).astype(np.float32)
    slow, loud = Track("slow", noise[:, 0]), Track("loud", noise[:, 0] * 32768)
    slow.rate = 1
    fake(
        Track("stereo", noise),  # (samples, channels), as soundfile reads it
        Track("integers", (noise[:, 0] * 2**15).astype(np.int16)),
        Track("three", np.stack([noise[:, 0]] * 3)),
        Track("antiphase", np.stack([noise[:, 0], -noise[:, 0], 0 * noise[:, 0]])),
        Track("cube", np.zeros((2, 3, 4))),
        Track("nan", np.full(10, np.nan)),
        slow,
        loud,
    )
    with pytest.warns(UserWarning, match="track antiphase, audio: the channels are in antiphase"):
        report = convert("fake", tmp_path, show=silent)
    with AudioStore(report.audio) as store:
        assert store.keys() == ["antiphase", "integers", "stereo", "three"]
        np.testing.assert_array_equal(store.read("stereo", mono=False)[0], noise.T)
        for key in ("integers", "three", "antiphase"):
            np.testing.assert_allclose(store.read(key)[0], noise[:, 0], atol=1e-4)
    reasons = " ".join(what for what in report.left_out if what.startswith("tracks: "))
    for words in ("shape (2, 3, 4)", "not finite", "the rate 1", "a sample of 32"):
        assert words in reasons


def test_a_pair_states_its_identity_and_is_never_half_replaced(fake, tmp_path):
    """Annotations were put in place before the audio: a kill in between left a mixture."""
    fake(Track("1", np.zeros(1000, np.float32)))
    first = convert("fake", tmp_path, show=silent)
    with pair.opened(first.audio, first.annotations) as (collection, store):
        assert collection.audio_identity == store.identity is not None
    fake(Track("1", np.ones(1000, np.float32)))
    real, done = os.replace, []

    def replace(source, target):
        if target == first.annotations:
            done.append(first.audio.read_bytes())
            assert not first.annotations.exists()
        real(source, target)

    before = first.audio.read_bytes()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(os, "replace", replace)
        convert("fake", tmp_path, show=silent)
    assert done == [first.audio.read_bytes()] and done != [before]  # the audio was first


def test_failure_leaves_the_folder_as_it_was(fake, tmp_path, monkeypatch):
    fake(Track("1", np.zeros(1000, np.float32)))
    first = convert("fake", tmp_path, show=silent)
    before = first.audio.read_bytes(), first.annotations.read_bytes()
    fake(Track("1", np.ones(1000, np.float32)), Track("2", np.zeros(10, np.float32)))

    def full(*_, **__):
        raise OSError("no space left")

    monkeypatch.setattr(pyjama, "write", full)
    with pytest.raises(OSError, match="no space"):
        convert("fake", tmp_path, show=silent)
    assert (first.audio.read_bytes(), first.annotations.read_bytes()) == before
    assert {path.name for path in tmp_path.iterdir()} == {"fake_audio.hdf5", "fake.pyjama"}


def test_same_dataset_gives_the_same_bytes(fake, tmp_path):
    fake(*(Track(str(k), np.zeros(1000, np.float32)) for k in range(3)))
    first, second = (convert("fake", tmp_path / part, show=silent) for part in "ab")
    assert first.audio.read_bytes() == second.audio.read_bytes()
    assert first.annotations.read_bytes() == second.annotations.read_bytes()


def test_one_bad_track_stops_nothing_and_is_reported(fake, mirdata, tmp_path):
    good = np.zeros(1000, np.float32)
    spoilt = np.full(1000, 1e300)  # float64 that float32 cannot hold
    fake(Track("1", good), Track("2", spoilt), Track("3", good), Track("a/4", good))
    dataset = mirdata.initialize("fake", data_home=None)
    make = dataset.track
    dataset.track_ids += ["0", "a+++4"]

    def track(track_id):
        if track_id == "0":
            raise KeyError("not in the index")
        return make(track_id.replace("+++", "/"))

    dataset.track = track
    report = convert("fake", tmp_path, show=silent)
    names = [entry.filepath for entry in pyjama.read(report.annotations)]
    assert names == ["1", "3", "a+++4"] and report.n_tracks == 3
    with AudioStore(report.audio) as store:
        assert store.keys() == names
    reasons = [what for what in report.left_out if what.startswith("tracks: ")]
    assert [reason.split()[1] for reason in sorted(reasons)] == ["'0'", "'2'", "'a/4'"]
    assert "not in the index" in sorted(reasons)[0] and "not finite" in sorted(reasons)[1]


def test_a_rate_that_cannot_be_leaves_out_the_track(fake, mirdata, tmp_path, monkeypatch):
    good = np.zeros(1000, np.float32)
    fake(*(Track(name, good) for name in "12345"))
    rates = {"1": np.nan, "2": 22_050.5, "3": 7, "4": "fast", "5": 22_050.0}
    monkeypatch.setattr(Track, "audio", property(lambda self: (good, rates[self.track_id])))
    report = convert("fake", tmp_path, show=silent)
    assert [entry.filepath for entry in pyjama.read(report.annotations)] == ["5"]
    assert sum(what.startswith("tracks: ") for what in report.left_out) == 4


def test_a_bad_annotation_leaves_out_that_field_of_that_track(fake, mirdata, tmp_path):
    from mirdata import annotations as a

    good = np.zeros(1000, np.float32)
    curve = a.F0Data(np.array([0.0, 0.01]), "s", np.array([440.0, 330]), "hz", np.ones(2), "binary")
    falling = a.F0Data(
        np.array([0.0, 0.01]), "s", np.array([440.0, 330]), "hz", np.ones(2), "binary"
    )
    falling.times = np.array([0.01, 0.0])
    notes = a.NoteData(spans((0, 1)), "s", np.array([60.0]), "midi")
    early = a.NoteData(spans((0, 1)), "s", np.array([60.0]), "midi")
    early.intervals = spans((-1, 1))
    shorter = a.NoteData(spans((0, 1)), "s", np.array([60.0]), "midi")
    shorter.intervals = np.zeros((2, 3))  # IndexError or ValueError, as one unpacks it
    fake(
        Track("1", good, f0=falling, notes=notes, level=np.inf),
        Track("2", good, f0=curve, notes=early, level=1.0),
        Track("3", good, f0=curve, notes=shorter, level="loud"),
        Track("4", good, f0=curve, melody=curve, level=2.0),
    )
    report = convert("fake", tmp_path, show=silent)
    entries = pyjama.read(report.annotations).entries
    assert [sorted({"f0", "pitchmidi"} & set(entry.fields)) for entry in entries] == [
        ["pitchmidi"],
        ["f0"],
        ["f0"],
        ["f0"],
    ]
    told = " | ".join(report.left_out)
    for words in ("f0: the time 0.0 of frame 1", "pitchmidi: time -1.0", "notes: NoteData that"):
        assert words in told
    assert "melody: another annotation is the field 'f0'" in told
