"""The foundations: messages, conversions, the cache folder and atomic writes."""

from __future__ import annotations

import os
import pickle
import stat
import subprocess
import sys
import unicodedata
from pathlib import Path

import librosa
import numpy as np
import pytest

from dl101 import errors, units
from dl101.data import cache
from dl101.data.cache import cache_dir, existing, fingerprint, is_offline, replacing, sweep

REPOSITORY = Path(__file__).resolve().parents[1]

# ---- errors ----

KINDS = {
    errors.ConfigError: ValueError,
    errors.DataError: ValueError,
    errors.ShapeError: ValueError,
    errors.FetchError: OSError,
    errors.TrainingError: RuntimeError,
}


def test_every_kind_of_error_is_listed_here():
    assert set(errors.Dl101Error.__subclasses__()) == set(KINDS)


@pytest.mark.parametrize(("kind", "builtin"), KINDS.items())
def test_error_says_what_it_got_expected_and_what_to_try(kind, builtin):
    with pytest.raises(builtin) as caught:
        raise kind("file x, entry 3", got=-1, expected="seconds, 0 or more", hint="correct it")
    error = caught.value
    assert isinstance(error, errors.Dl101Error)
    assert str(error) == "file x, entry 3: got -1; expected seconds, 0 or more. Try: correct it."
    assert (error.what, error.got, error.hint) == ("file x, entry 3", -1, "correct it")


@pytest.mark.parametrize("kind", [errors.Dl101Error, *KINDS])
def test_error_survives_the_way_back_from_a_worker(kind):
    error = kind("here", got="a", expected="b", hint="c")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is kind and str(again) == str(error)
    assert (again.what, again.got, again.expected, again.hint) == ("here", "a", "b", "c")


# ---- units ----


def test_pitch_agrees_with_librosa_and_the_definition():
    midi = np.arange(0, 128, 0.25)
    np.testing.assert_allclose(units.midi_to_hz(midi), librosa.midi_to_hz(midi), rtol=1e-12)
    hz = np.geomspace(8, 12_000, 100)
    np.testing.assert_allclose(units.hz_to_midi(hz), librosa.hz_to_midi(hz), rtol=1e-12)
    assert units.midi_to_hz(69) == 440 and units.hz_to_midi(880) == 81
    np.testing.assert_allclose(units.hz_to_midi(units.midi_to_hz(midi)), midi, atol=1e-10)


def test_unvoiced_is_nan_without_a_warning():
    with np.errstate(all="raise"):
        midi = units.hz_to_midi([0.0, -5.0, np.nan, 440.0])
    np.testing.assert_array_equal(midi, [np.nan, np.nan, np.nan, 69])
    assert np.isnan(units.midi_to_hz(np.nan))


def test_cents():
    assert units.cents_to_ratio(1200) == 2
    np.testing.assert_allclose(units.cents_to_ratio(100) ** 12, 2)
    cents = np.array([-1200.0, -50.0, 0.0, 702.0])
    np.testing.assert_allclose(units.ratio_to_cents(units.cents_to_ratio(cents)), cents, atol=1e-9)


def test_frames_are_centred_on_multiples_of_the_hop():
    grid = {"hop_samples": 512, "sample_rate": 22_050}
    frames = np.arange(100)
    times = units.frames_to_seconds(frames, **grid)
    np.testing.assert_allclose(times, librosa.frames_to_time(frames, sr=22_050, hop_length=512))
    np.testing.assert_array_equal(units.seconds_to_frames(times, **grid), frames)
    assert units.seconds_to_frames(times, **grid).dtype == np.int64
    quarter = 0.25 * 512 / 22_050
    np.testing.assert_array_equal(units.seconds_to_frames(times + quarter, **grid), frames)
    np.testing.assert_array_equal(units.seconds_to_frames(times + 3 * quarter, **grid), frames + 1)


def test_halves_go_up_and_not_to_the_even_neighbour():
    grid = {"hop_samples": 2, "sample_rate": 2}
    np.testing.assert_array_equal(units.seconds_to_frames([0.5, 1.5, 2.5], **grid), [1, 2, 3])
    halves = units.seconds_to_samples([0.25, 0.75, -0.25], sample_rate=2)
    np.testing.assert_array_equal(halves, [1, 2, 0])


def test_decibels():
    np.testing.assert_allclose(units.db_to_amplitude([0, 20, -20]), [1, 10, 0.1])
    np.testing.assert_allclose(units.amplitude_to_db([1, 10, 0.1]), [0, 20, -20], atol=1e-12)
    with np.errstate(all="raise"):
        assert units.amplitude_to_db(0) == -120
        assert units.amplitude_to_db(0, floor_db=-60) == -60


# ---- cache ----


def test_cache_folder_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("DL101_CACHE", str(tmp_path / "here"))
    assert cache_dir("a", "b") == tmp_path / "here" / "a" / "b"
    assert (tmp_path / "here" / "a" / "b").is_dir()
    monkeypatch.delenv("DL101_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_dir() == tmp_path / "xdg" / "dl101"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache_dir("x") == tmp_path / "home" / ".cache" / "dl101" / "x"
    monkeypatch.setenv("DL101_CACHE", "~/mine")
    assert cache_dir() == tmp_path / "home" / "mine"


@pytest.mark.parametrize(
    ("value", "offline"),
    [("", False), ("0", False), ("false", False), ("No", False), ("1", True), (" yes ", True)],
)
def test_offline_flag(monkeypatch, value, offline):
    monkeypatch.setenv("DL101_OFFLINE", value)
    assert is_offline() is offline


def test_online_by_default(monkeypatch):
    monkeypatch.delenv("DL101_OFFLINE", raising=False)
    assert is_offline() is False


def test_fingerprint_identifies_content_and_not_order():
    assert fingerprint({"a": 1, "b": [1.5, None]}) == fingerprint({"b": [1.5, None], "a": 1})
    assert fingerprint({"a": 1}) != fingerprint({"a": 2}) != fingerprint({"a": "2"})
    # Frozen: another value here would orphan every cached file.
    assert fingerprint({"a": 1}) == "015abd7f5cc57a2dd94b"
    with pytest.raises(ValueError, match="JSON"):
        fingerprint({"a": float("nan")})


def test_replacing_puts_a_complete_file_in_place(tmp_path):
    path = tmp_path / "new" / "folder" / "file.txt"
    with replacing(path) as temporary:
        assert temporary.parent == path.parent and not path.exists()
        temporary.write_text("one")
    assert path.read_text() == "one"
    with replacing(str(path)) as temporary:
        temporary.write_text("two")
        assert path.read_text() == "one"
    assert path.read_text() == "two"
    assert [p.name for p in path.parent.iterdir()] == ["file.txt"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_replacing_leaves_the_target_after_an_error(tmp_path, error):
    path = tmp_path / "file.txt"
    path.write_text("before")
    with pytest.raises(error), replacing(path) as temporary:
        temporary.write_text("half of")
        raise error
    assert path.read_text() == "before"
    assert [p.name for p in tmp_path.iterdir()] == ["file.txt"]


@pytest.mark.skipif(os.name == "nt", reason="file modes are POSIX")
def test_replaced_file_has_the_mode_of_any_new_file(tmp_path):
    before = os.umask(0o027)
    try:
        with replacing(tmp_path / "file") as temporary:
            temporary.write_text("x")
        assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o640
        assert os.umask(0o027) == 0o027
    finally:
        os.umask(before)


@pytest.fixture
def folder(tmp_path):
    """Return a folder with what killed runs left, and what looks like it."""
    (tmp_path / ".file.txt.abcd1234.part").write_text("half")
    (tmp_path / ".other.hdf5.abcd_234.part").write_text("half")
    (tmp_path / "archive.zip.part").write_text("a download that goes on")
    (tmp_path / ".notes.part").write_text("of somebody else")
    return tmp_path


KEPT = [".notes.part", "archive.zip.part"]


@pytest.mark.skipif(cache.fcntl is None, reason="tells by a lock")
def test_what_killed_runs_left_is_removed_and_what_is_in_use_is_not(folder):
    with replacing(folder / "file.txt") as temporary:
        assert sorted(p.name for p in folder.iterdir()) == sorted([*KEPT, temporary.name])
        temporary.write_text("whole")
        sweep(folder)
        assert temporary.exists()
    assert sorted(p.name for p in folder.iterdir()) == [*KEPT, "file.txt"]


def test_without_locks_only_what_is_old_is_removed(folder, monkeypatch):
    monkeypatch.setattr(cache, "fcntl", None)
    os.utime(folder / ".other.hdf5.abcd_234.part", (0, 0))
    with replacing(folder / "file.txt") as temporary:
        temporary.write_text("whole")
    names = sorted(p.name for p in folder.iterdir())
    assert names == [".file.txt.abcd1234.part", *KEPT, "file.txt"]


@pytest.mark.parametrize("asked", ["NFC", "NFD"])
@pytest.mark.parametrize("stored", ["NFC", "NFD"])
def test_a_name_is_found_in_either_spelling(tmp_path, stored, asked):
    path = tmp_path / unicodedata.normalize(stored, "Dvo\u0159\u00e1k") / "a" / "b.wav"
    path = path.with_name(unicodedata.normalize(stored, "\u00e9.wav"))
    path.parent.mkdir(parents=True)
    path.write_text("x")
    assert existing(unicodedata.normalize(asked, str(path))).samefile(path)


def test_a_home_is_expanded_and_what_does_not_exist_stays_as_it_is(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    (tmp_path / "a.wav").write_text("x")
    assert existing("~/a.wav") == tmp_path / "a.wav"
    assert existing("~/b.wav") == tmp_path / "b.wav"
    for path in (
        "~nobody-of-this-name/a.wav",
        "\u00e9/none.wav",
        "a\0b",
        "\u00e9\0",
        "\u00e9" * 300,
    ):
        assert str(existing(path)) == path
    with replacing("~/new.txt") as temporary:
        temporary.write_text("x")
    assert (tmp_path / "new.txt").exists()


HALF_WRITER = """
import sys
from dl101.data.cache import replacing
with replacing(sys.argv[1]) as temporary, temporary.open("w") as file:
    file.write("half of the new")
    file.flush()
    print("written", flush=True)
    sys.stdin.readline()
"""


def test_killed_writer_leaves_the_target_as_it_was(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("before")
    with _process(HALF_WRITER, path) as writer:
        assert writer.stdout.readline() == "written\n"
        assert path.read_text() == "before"
        writer.kill()
        writer.wait(timeout=60)
    assert path.read_text() == "before"
    with replacing(path) as temporary:  # what it left behind is in nobody's way
        temporary.write_text("after")
    assert path.read_text() == "after"


STEADY_WRITER = """
import sys
from dl101.data.cache import replacing
print("ready", flush=True)
sys.stdin.readline()
for _ in range(50):
    with replacing(sys.argv[1]) as temporary, temporary.open("w") as file:
        for _ in range(20):
            file.write(sys.argv[2] * 1000)
            file.flush()
print("done", flush=True)
"""


def test_two_writers_at_once_never_show_half_a_file(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("a" * 20_000)
    complete = {letter * 20_000 for letter in "ab"}
    with _process(STEADY_WRITER, path, "a") as one, _process(STEADY_WRITER, path, "b") as two:
        for writer in (one, two):
            assert writer.stdout.readline() == "ready\n"
        for writer in (one, two):
            writer.stdin.write("go\n")
            writer.stdin.flush()
        while one.poll() is None or two.poll() is None:
            assert path.read_text() in complete
        assert [writer.stdout.read() for writer in (one, two)] == ["done\n"] * 2
        assert one.returncode == two.returncode == 0
    assert path.read_text() in complete
    assert [p.name for p in tmp_path.iterdir()] == ["file.txt"]


def _process(script, *arguments):
    return subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=REPOSITORY,
    )


def test_names_of_notes_mean_what_librosa_means():
    names = [f"{a}{step}{k}" for a in "CDEFGABa" for step in ("", "#", "b") for k in range(-1, 10)]
    wanted = [int(librosa.note_to_midi(name)) for name in names]
    assert [units.note_to_midi(name) for name in names] == wanted
    assert [units.note_to_midi(units.note_name(midi)) for midi in range(128)] == [*range(128)]


@pytest.mark.parametrize(
    ("name", "hint"), [("H3", "A3, C#4"), ("A33", "A3"), ("", "A3"), ("Bbb2", "Bb2"), ("57", "A3")]
)
def test_what_names_no_note_is_refused(name, hint):
    with pytest.raises(errors.ConfigError, match="a letter from A to G") as caught:
        units.note_to_midi(name)
    assert hint in caught.value.hint
