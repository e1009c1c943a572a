"""The HDF5 store: layouts in circulation, time spans, checks at the door, atomic writing."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import pickle
import unicodedata

import h5py
import numpy as np
import pytest

from dl101.data.audiostore import AudioInfo, AudioStore, AudioStoreWriter
from dl101.errors import DataError

RATE = 22_050


@pytest.fixture
def noise():
    return np.random.default_rng(0).uniform(-1, 1, 3 * RATE).astype(np.float32)


@pytest.fixture
def raw(tmp_path):
    """Return a function that stores any array with any attributes under the key ``a.wav``."""

    def put(array, **attributes):
        path = tmp_path / "raw.hdf5"
        with h5py.File(path, "w") as file:
            file["a.wav"] = array
            file["a.wav"].attrs.update(attributes)
        return AudioStore(path)

    return put


def written(path, tracks):
    with AudioStoreWriter(path) as store:
        for key, audio in tracks.items():
            store.append(key, audio, RATE)
    return path


def test_round_trip(tmp_path, noise):
    path = written(tmp_path / "a.hdf5", {"b.wav": noise, "a.wav": noise[:100].astype(np.float64)})
    with AudioStore(path) as store:
        assert store.keys() == ["a.wav", "b.wav"]
        assert "a.wav" in store and "c.wav" not in store
        audio, rate = store.read("b.wav")
        assert audio.dtype == np.float32 and rate == RATE and type(rate) is int
        np.testing.assert_array_equal(audio, noise)
        assert store.info("b.wav") == AudioInfo(3 * RATE, RATE, 3.0)
        assert store.read("a.wav")[0].shape == (100,)
    with h5py.File(path) as file:  # as other readers of the format see it
        assert file["b.wav"].attrs["sr_hz"] == RATE and file["b.wav"].dtype == np.float32


def test_span_of_time(tmp_path, noise):
    store = AudioStore(written(tmp_path / "a.hdf5", {"a": noise}))
    audio, _ = store.read("a", start_s=0.5, duration_s=1.0)
    np.testing.assert_array_equal(audio, noise[RATE // 2 : RATE // 2 + RATE])
    audio, _ = store.read("a", start_s=2.0)
    np.testing.assert_array_equal(audio, noise[2 * RATE :])
    audio, _ = store.read("a", start_s=100.6 / RATE, duration_s=1 / RATE)
    np.testing.assert_array_equal(audio, noise[101:102])
    assert store.read("a", duration_s=3.0)[0].shape == noise.shape


def test_reads_only_the_span(tmp_path, noise, monkeypatch):
    store = AudioStore(written(tmp_path / "a.hdf5", {"a": noise}))
    asked = []
    original = h5py.Dataset.__getitem__

    def spying(self, span, **options):
        asked.append(span)
        return original(self, span, **options)

    monkeypatch.setattr(h5py.Dataset, "__getitem__", spying)
    store.info("a")
    assert asked == []
    store.read("a", start_s=1.0, duration_s=0.5)
    assert asked == [(slice(RATE, RATE + RATE // 2),)]


@pytest.mark.parametrize(
    ("start_s", "duration_s"),
    [
        (-0.1, None),
        (np.nan, None),
        (np.inf, None),
        (3.0, None),
        (0.0, 0.0),
        (0.0, -1.0),
        (0.0, np.nan),
        (2.5, 0.6),
        (0.0, 3.0001),
    ],
)
def test_refuses_a_span_outside_the_track(tmp_path, noise, start_s, duration_s):
    store = AudioStore(written(tmp_path / "a.hdf5", {"a": noise}))
    with pytest.raises(DataError, match=r"a\.hdf5, track 'a': got start_s="):
        store.read("a", start_s=start_s, duration_s=duration_s)


@pytest.mark.parametrize("name", ["sr_hz", "sr"])
@pytest.mark.parametrize("value", [RATE, float(RATE), np.array([RATE]), np.int16(RATE)])
def test_names_and_types_of_the_rate(raw, name, value):
    assert raw(np.zeros(5), **{name: value}).read("a.wav")[1] == RATE


@pytest.mark.parametrize(
    "attributes",
    [
        {},
        {"sr_hz": 0},
        {"sr_hz": -RATE},
        {"sr_hz": np.nan},
        {"sr_hz": 22.05},
        {"sr_hz": 22_050.5},
        {"sr_hz": 10**7},
        {"sr_hz": "fast"},
        {"sr_hz": [RATE, RATE]},
        {"sr_hz": RATE, "sr": 44_100},
    ],
)
def test_refuses_a_bad_rate(raw, attributes):
    store = raw(np.zeros(5), **attributes)
    with pytest.raises(DataError, match=r"raw\.hdf5, track 'a\.wav'"):
        store.read("a.wav")
    with pytest.raises(DataError, match=r"raw\.hdf5, track 'a\.wav'"):
        store.info("a.wav")


@pytest.mark.parametrize("transpose", [False, True])
@pytest.mark.parametrize("n_channels", [1, 2])
def test_channels_are_averaged_along_the_shorter_axis(raw, noise, transpose, n_channels):
    channels = np.stack([noise, -0.5 * noise])[:n_channels]
    store = raw(channels.T if transpose else channels, sr_hz=RATE)
    expected = channels.mean(axis=0)
    assert store.info("a.wav").n_samples == len(noise)
    np.testing.assert_allclose(store.read("a.wav")[0], expected, atol=1e-7)
    span, _ = store.read("a.wav", start_s=1.0, duration_s=1.0)
    np.testing.assert_allclose(span, expected[RATE : 2 * RATE], atol=1e-7)
    assert span.dtype == np.float32


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        (np.array([-32768, 0, 16384], dtype=np.int16), [-1, 0, 0.5]),
        (np.array([-(2**31), 2**30], dtype=np.int32), [-1, 0.5]),
        (np.array([0, 128, 192], dtype=np.uint8), [-1, 0, 0.5]),
        (np.array([0.25, -0.25], dtype=np.float64), [0.25, -0.25]),
        (np.array([0.25, -0.25], dtype=np.float16), [0.25, -0.25]),
    ],
)
def test_samples_are_scaled_to_one(raw, stored, expected):
    audio, _ = raw(stored, sr=RATE).read("a.wav")
    assert audio.dtype == np.float32
    np.testing.assert_array_equal(audio, np.array(expected, dtype=np.float32))


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros(0), "shape (0,)"),
        (np.zeros((2, 0)), "shape (2, 0)"),
        (np.float64(1.0), "shape ()"),
        (np.zeros((2, 3, 4)), "shape (2, 3, 4)"),
        (np.array([b"abc"]), "floats or integers"),
        (np.zeros(4, dtype=np.complex64), "floats or integers"),
        (np.array([0.0, np.nan]), "not finite at 0.000 s (sample 1)"),
        (np.array([[0.0, 0.0, np.inf]]), "not finite"),
        (np.array([0.0, 1e300]), "not finite at 0.000 s (sample 1)"),
    ],
)
def test_refuses_what_is_not_audio(raw, array, words):
    store = raw(array, sr_hz=RATE)
    with pytest.raises(DataError) as caught:
        store.read("a.wav")
    assert words in str(caught.value) and "track 'a.wav'" in str(caught.value)


def test_finds_nan_only_where_it_looks(raw, noise):
    noise[2 * RATE + 7] = np.nan
    store = raw(noise, sr_hz=RATE)
    store.read("a.wav", duration_s=2.0)
    with pytest.raises(DataError, match=rf"sample {2 * RATE + 7}\)"):
        store.read("a.wav", start_s=1.5)


@pytest.mark.parametrize("stored", ["NFC", "NFD"])
@pytest.mark.parametrize("asked", ["NFC", "NFD"])
def test_a_track_and_a_file_are_found_in_either_spelling(tmp_path, noise, stored, asked):
    name = unicodedata.normalize(stored, "\u00e9tude")
    written(tmp_path / f"{name}.hdf5", {f"{name}.wav": noise, "other.wav": noise[:10]})
    name = unicodedata.normalize(asked, name)
    with AudioStore(tmp_path / f"{name}.hdf5") as store:
        assert f"{name}.wav" in store and "\u00e0.wav" not in store
        np.testing.assert_array_equal(store.read(f"{name}.wav")[0], noise)


def test_home_is_expanded(tmp_path, noise, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    written("~/a.hdf5", {"a.wav": noise})
    assert (tmp_path / "a.hdf5").is_file()
    assert AudioStore("~/a.hdf5").keys() == ["a.wav"]


def test_channels_that_cancel_are_noticed(raw, noise):
    store = raw(np.stack([noise, -noise]), sr_hz=RATE)
    with pytest.warns(UserWarning, match=r"'a\.wav': the channels are in antiphase"):
        audio, _ = store.read("a.wav")
    np.testing.assert_array_equal(np.abs(audio), np.abs(noise))
    assert store.read("a.wav", mono=False)[0].shape == (2, len(noise))  # as it is, without a word


def test_integers_kept_as_floats_are_refused(raw, noise):
    with raw(noise * 32768, sr_hz=RATE) as store, pytest.raises(DataError, match="by 32768"):
        store.read("a.wav")
    assert raw(noise * 8, sr_hz=RATE).read("a.wav")[0].max() > 7


def test_missing_track_suggests_a_near_name(tmp_path, noise):
    store = AudioStore(written(tmp_path / "a.hdf5", {"0007-bwv0269.wav": noise}))
    with pytest.raises(DataError, match=r"did you mean '0007-bwv0269\.wav'"):
        store.read("0007-bwv0296.wav")


def test_keys_with_a_slash_are_found(raw, tmp_path):
    with h5py.File(tmp_path / "nested.hdf5", "w") as file:
        file["disc/one.wav"] = np.zeros(3)
        file["disc/one.wav"].attrs["sr_hz"] = RATE
    with AudioStore(tmp_path / "nested.hdf5") as store:
        assert store.keys() == ["disc/one.wav"]
        assert store.info("disc/one.wav").n_samples == 3
        assert "disc" not in store
        with pytest.raises(DataError, match="no such track"):
            store.read("disc")


@pytest.mark.parametrize("content", [None, b"", b"no HDF5 here", b"\x89HDF\r\n\x1a\n"])
def test_refuses_what_is_not_hdf5(tmp_path, content):
    path = tmp_path / "a.hdf5"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=r"a\.hdf5"):
        AudioStore(path)


def test_refuses_a_file_cut_short(tmp_path, noise):
    path = written(tmp_path / "a.hdf5", {"a": noise})
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(DataError, match="truncated"):
        AudioStore(path)


@pytest.mark.parametrize("signature", [b"TREE", b"SNOD", b"HEAP"])
def test_refuses_a_damaged_index(tmp_path, noise, signature):
    path = written(tmp_path / "a.hdf5", {"a": noise[:100], "b": noise[:100]})
    content = path.read_bytes()
    assert signature in content
    path.write_bytes(content.replace(signature, b"\0\0\0\0"))
    with AudioStore(path) as store:
        for ask in (store.keys, lambda: store.read("a"), lambda: store.info("b")):
            with pytest.raises(DataError, match=r"a\.hdf5"):
                ask()


def test_refuses_damaged_values(tmp_path, noise):
    path = tmp_path / "a.hdf5"
    with h5py.File(path, "w") as file:
        array = file.create_dataset("a", data=noise, compression="gzip")
        array.attrs["sr_hz"] = RATE
        place = array.id.get_chunk_info(0).byte_offset
    content = bytearray(path.read_bytes())
    content[place : place + 50] = bytes(50)
    path.write_bytes(content)
    with AudioStore(path) as store, pytest.raises(DataError, match=r"track 'a'.*intact HDF5"):
        store.read("a")


def test_refuses_more_values_than_the_file_can_hold(tmp_path):
    """Four terabytes in a file of a few kilobytes."""
    path = tmp_path / "a.hdf5"
    with h5py.File(path, "w") as file:
        file.create_dataset("a", (2**40,), "f4", chunks=(1024,)).attrs["sr_hz"] = RATE
    with AudioStore(path) as store, pytest.raises(DataError, match=r"shape \(1099511627776,\)"):
        store.read("a")


def test_links_are_gone_through_once_and_not_into_other_files(tmp_path, noise):
    elsewhere = written(tmp_path / "b.hdf5", {"secret": noise[:10]})
    path = tmp_path / "a.hdf5"
    with h5py.File(path, "w") as file:
        file["disc/one"] = noise[:10]
        file["disc/one"].attrs["sr_hz"] = RATE
        file["loop"] = file["/"]  # hard links
        file["disc/loop"] = file["disc"]
        file["soft"] = h5py.SoftLink("/")
        file["nowhere"] = h5py.SoftLink("/nothing")
        file["outside"] = h5py.ExternalLink(elsewhere.name, "/secret")
    with AudioStore(path) as store:
        assert store.keys() == ["disc/one"]
        assert store.info("loop/disc/one").n_samples == 10
        assert "outside" not in store
        for key in ("outside", "nowhere"):
            with pytest.raises(DataError, match="no such track"):
                store.read(key)


@pytest.mark.parametrize("key", ["a\0b", "\0", "", "\ud800", None, 7])
def test_names_that_hdf5_cannot_look_for_are_no_tracks(tmp_path, noise, key):
    store = AudioStore(written(tmp_path / "a.hdf5", {"a": noise[:10]}))
    assert key not in store
    for ask in (store.read, store.info, store.read_feature):
        with pytest.raises(DataError, match="no such track"):
            ask(key)


# ---- Features ----

BAD_RATES = ["abc", 0.0, -1.0, np.nan, np.inf, 1e6, [1.0, 2.0], h5py.Empty("f8")]


@pytest.mark.parametrize("rate_hz", BAD_RATES, ids=str)
def test_refuses_a_bad_frame_rate(raw, rate_hz):
    store = raw(np.zeros((12, 5)), frame_rate_hz=rate_hz)
    with pytest.raises(DataError, match=r"track 'a\.wav': got frame_rate_hz="):
        store.read_feature("a.wav")


@pytest.mark.parametrize("rate_hz", [*BAD_RATES[:6], None])
def test_writer_refuses_a_bad_frame_rate(tmp_path, rate_hz):
    path = tmp_path / "a.hdf5"
    with pytest.raises(DataError, match="frame_rate_hz="), AudioStoreWriter(path) as store:
        store.append_feature("a", np.zeros((12, 5)), rate_hz)
    assert not path.exists()


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
def test_refuses_features_that_float32_cannot_hold(raw, value):
    store = raw(np.full((12, 5), value), frame_rate_hz=43.0)
    with pytest.raises(DataError, match="not finite in float32"):
        store.read_feature("a.wav")


@pytest.mark.parametrize("stated", [False, True])
@pytest.mark.parametrize("n_frames", [5, 12, 40])
def test_published_features_are_turned_and_get_a_rate(raw, stated, n_frames):
    """Cover1000 and Da-TACOS: (frames, 12), and no rate in the file."""
    values = np.random.default_rng(0).uniform(0, 1, (12, n_frames))
    attributes = {"frame_rate_hz": 43.0} if stated else {}
    ours = stated and n_frames == 12  # what states its rate is taken to be as dl101 writes it
    store = raw(values if ours else values.T, **attributes)
    found, rate_hz = store.read_feature("a.wav", n_bins=12, frame_rate_hz=10.8)
    np.testing.assert_array_equal(found, values.astype(np.float32))
    assert rate_hz == (43.0 if stated else 10.8)
    assert found.flags.c_contiguous
    with pytest.raises(DataError, match=r"\(84, frames\)"):
        store.read_feature("a.wav", n_bins=84, frame_rate_hz=10.8)
    if not stated:
        with pytest.raises(DataError, match="give frame_rate_hz"):
            store.read_feature("a.wav", n_bins=12)


def test_same_tracks_same_bytes(tmp_path, noise):
    tracks = {"b": noise, "a": noise[:50]}
    digests = {
        hashlib.sha256(written(tmp_path / name, tracks).read_bytes()).hexdigest()
        for name in ("one.hdf5", "two.hdf5")
    }
    assert len(digests) == 1


def test_creation_time_is_not_stored(tmp_path, noise):
    with h5py.File(written(tmp_path / "a.hdf5", {"a": noise})) as file:
        assert h5py.h5o.get_info(file["a"].id).ctime == 0


def test_nothing_is_there_before_the_end_or_after_an_error(tmp_path, noise):
    path = written(tmp_path / "a.hdf5", {"a": noise})
    before = path.read_bytes()
    with pytest.raises(RuntimeError), AudioStoreWriter(path) as store:
        store.append("other", noise[:10], RATE)
        assert path.read_bytes() == before
        raise RuntimeError("stop here")
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.hdf5"]


@pytest.mark.parametrize(
    ("key", "audio", "rate", "words"),
    [
        ("a", np.ones(3), RATE, "taken"),
        ("", np.ones(3), RATE, "name"),
        ("x/y", np.ones(3), RATE, "slash"),
        ("x\0y", np.ones(3), RATE, "NUL"),
        ("x\ud800", np.ones(3), RATE, "name"),
        (7, np.ones(3), RATE, "name"),
        (".", np.ones(3), RATE, "name"),
        ("b", np.ones(0), RATE, "not empty"),
        ("b", np.ones((3, 2)), RATE, "shape (3, 2)"),
        ("b", np.ones(3, dtype=np.int16), RATE, "int16"),
        ("b", np.array([0, np.nan]), RATE, "not finite at 0.000 s (sample 1)"),
        ("b", np.array([1e300]), RATE, "a sample of 1e+300"),
        ("b", np.full(3, -32768.0), RATE, "a sample of 32768"),
        ("b", np.ones(3), 22.05, "sample_rate=22.05"),
        ("b", np.ones(3), 0, "sample_rate=0"),
        ("b", np.ones(3), np.nan, "sample_rate=nan"),
        ("b", np.ones(3), "abc", "sample_rate=abc"),
        ("b", np.ones(3), None, "sample_rate=None"),
    ],
)
def test_writer_refuses(tmp_path, key, audio, rate, words):
    path = tmp_path / "a.hdf5"
    with pytest.raises(DataError) as caught, AudioStoreWriter(path) as store:
        store.append("a", np.ones(3), RATE)
        store.append(key, audio, rate)
    assert words in str(caught.value) and not path.exists()


def test_writer_needs_its_block(tmp_path):
    writer = AudioStoreWriter(tmp_path / "a.hdf5")
    with pytest.raises(DataError, match="not open"):
        writer.append("a", np.ones(3), RATE)
    assert list(tmp_path.iterdir()) == []


def test_closed_store_opens_again(tmp_path, noise):
    store = AudioStore(written(tmp_path / "a.hdf5", {"a": noise}))
    store.close()
    assert store.info("a").n_samples == len(noise)


def test_store_can_be_sent_to_a_worker(tmp_path, noise):
    store = AudioStore(written(tmp_path / "a.hdf5", {"a": noise}))
    sent = pickle.loads(pickle.dumps(store))
    assert sent.read("a")[0][0] == noise[0]


_shared: list[AudioStore] = []


def _read_span(number):
    return float(_shared[0].read("a", start_s=number / RATE)[0][0])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_forked_workers_open_the_file_for_themselves(tmp_path, noise):
    store = AudioStore(written(tmp_path / "a.hdf5", {"a": noise}))
    _shared[:] = [store]
    handle = store._file
    with multiprocessing.get_context("fork").Pool(2) as pool:
        assert pool.map(_read_span, range(50), chunksize=5) == noise[:50].tolist()
        assert pool.apply(_has_own_handle)
    assert store._file is handle and _read_span(0) == noise[0]


def _has_own_handle():
    _read_span(0)
    return _shared[0]._process == os.getpid()
