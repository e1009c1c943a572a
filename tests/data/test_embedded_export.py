"""The exported pair is a dataset like any other, complete or absent, and the same every time."""

from __future__ import annotations

import numpy as np
import pytest

from dl101.data import pyjama
from dl101.data.audiostore import AudioStore
from dl101.data.embedded import chorales, export
from dl101.errors import ConfigError

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
            expected = track.f0_midi.get(voice, np.full(1501, np.nan))
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


def test_a_failure_leaves_nothing_behind(tmp_path, monkeypatch):
    real = chorales.render_track

    def failing(index, **kwargs):
        if index == 1:
            raise RuntimeError("interrupted")
        return real(index, **kwargs)

    monkeypatch.setattr(chorales, "render_track", failing)
    with pytest.raises(RuntimeError, match="interrupted"):
        export.export_corpus("chorales", tmp_path, n_tracks=2, progress=False)
    assert list(tmp_path.iterdir()) == []


def test_the_cache_renders_once_for_each_set_of_arguments(tmp_path, monkeypatch):
    monkeypatch.setenv("DL101_CACHE", str(tmp_path))
    calls = []
    real = chorales.render_track
    monkeypatch.setattr(
        chorales, "render_track", lambda i, **kwargs: calls.append(i) or real(i, **kwargs)
    )
    first = export.cached_corpus("chorales", n_tracks=1, progress=False)
    assert export.cached_corpus("chorales", n_tracks=1, progress=False) == first
    assert calls == [0]
    assert export.cached_corpus("chorales", n_tracks=1, seed=1, progress=False) != first
    assert export.cached_corpus("chorales", n_tracks=1, stems=True, progress=False) != first
    assert calls == [0, 0, 0]
    assert first.audio.is_relative_to(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "fugues"}, "fugues.*expected one of chorales"),
        ({"name": "chorales", "n_tracks": 0}, "at least one track"),
        ({"name": "chorales", "seed": -1}, "seed of 0 or more"),
    ],
)
def test_impossible_arguments_are_refused(arguments, message, tmp_path):
    with pytest.raises(ConfigError, match=message):
        export.export_corpus(directory=tmp_path, **arguments)
