"""Songs with stems: the corpus, its order, its rate and channels."""

from __future__ import annotations

import numpy as np
import pytest

from dl101.data import pair
from dl101.data.embedded import export
from dl101.data.songs import STEMS, load_songs
from dl101.data.source import DataConfig
from dl101.errors import DataError
from tests.data.stem_songs import song_files

pytestmark = pytest.mark.slow
DATA = DataConfig("stems", n_tracks=6)


def test_stems_are_those_of_the_files_in_a_fixed_order():
    songs = load_songs(DATA, 22_050, 2, progress=False)
    files = export.cached_corpus("stems", n_tracks=6, progress=False)
    with pair.opened(files.audio, files.annotations) as (entries, store):
        sides = {entry.filepath: entry.first("split") for entry in entries}
        for song in songs:
            assert song.side == sides[song.key]
            mixture, rate = store.read(song.key, mono=False)
            assert rate == 22_050
            np.testing.assert_allclose(song.mixture, mixture, atol=1e-5)
            for row, stem in zip(song.stems, STEMS, strict=True):
                samples, _ = store.read(song.key.replace(".wav", f"-{stem}.wav"), mono=False)
                assert np.array_equal(row, samples)


def test_one_channel_is_the_average_and_rates_are_converted():
    stereo = load_songs(DATA, 22_050, 2, progress=False)
    mono = load_songs(DATA, 22_050, 1, progress=False)
    for two, one in zip(stereo, mono, strict=True):
        np.testing.assert_allclose(one.stems[:, 0], two.stems.mean(axis=1), atol=1e-6)
    low = load_songs(DATA, 11_025, 1, progress=False)
    assert {song.stems.shape for song in low} == {(4, 1, 110_250)}
    spectrum = [np.abs(np.fft.rfft(s[0].stems[:, 0]))[:, :30_000] for s in (mono, low)]
    np.testing.assert_allclose(spectrum[0], 2 * spectrum[1], atol=0.02 * spectrum[0].max())


@pytest.mark.parametrize(("rate", "n_channels"), [(44_100, 2), (16_000, 1)])
def test_a_published_dataset_is_mapped_from_the_disk(tmp_path, monkeypatch, rate, n_channels):
    sounds = song_files(tmp_path, monkeypatch)
    data = DataConfig("musdb18")
    songs = load_songs(data, rate, n_channels, progress=False)
    sides = [song.side for song in songs]
    assert {side: sides.count(side) for side in sides} == {"train": 4, "validation": 2, "test": 2}
    for song in songs:
        assert isinstance(song.stems, np.memmap)
        assert song.stems.shape == (4, n_channels, 8820 * rate // 44_100)
        if rate == 44_100:
            expected = np.stack([sounds[f"{song.key[:-4]}-{stem}.wav"] for stem in STEMS])
            np.testing.assert_array_equal(song.stems, expected)
            np.testing.assert_allclose(song.mixture, expected.sum(axis=0), atol=1e-6)


def test_fewer_songs_of_a_dataset_are_of_all_sides(tmp_path, monkeypatch):
    song_files(tmp_path, monkeypatch)
    songs = load_songs(DataConfig("musdb18", n_tracks=4), 44_100, 2, progress=False)
    assert sorted(song.side for song in songs) == ["test", "train", "train", "validation"]
    kept = {song.key[:8] for song in songs}
    assert {"Artist 0", "Artist 7"} <= kept  # from all over a side


def test_a_song_without_a_stem_is_named(tmp_path, monkeypatch):
    song_files(tmp_path, monkeypatch, leave_out=("Artist 2 - Song-bass.wav",))
    with pytest.raises(DataError, match=r"Artist 2 - Song.*no stem bass"):
        load_songs(DataConfig("musdb18"), 44_100, 2, progress=False)
