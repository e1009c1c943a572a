"""The feature store: layouts hold the same values, reads touch what is said, faults are named."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import pickle

import h5py
import numpy as np
import pytest

from dl101.data.audiostore import AudioStore
from dl101.data.featurestore import (
    FeatureStore,
    FeatureStoreWriter,
    bytes_touched,
    chunks_touched,
)
from dl101.errors import ConfigError, DataError

LAYOUTS = (
    {},
    {"chunk_frames": 7},
    {"chunk_bins": 4},
    {"chunk_frames": 16, "chunk_bins": 5},
    {"compression": "lzf"},
    {"chunk_frames": 1000, "compression": "gzip"},
)


@pytest.fixture
def values():
    return np.random.default_rng(0).gamma(0.5, 1.0, (2, 12, 50)).astype(np.float32)


def written(path, values, **layout):
    with FeatureStoreWriter(path, **layout) as writer:
        writer.append("a", values, 43.0)
        writer.append("b", values[0, :, :20], 43.0)
    return path


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_every_layout_gives_the_same_frames(tmp_path, values, layout, dtype):
    expected = values.astype(dtype).astype(np.float32)
    with FeatureStore(written(tmp_path / "f.hdf5", values, dtype=dtype, **layout)) as store:
        assert store.keys() == ["a", "b"]
        assert store.shape("a") == (2, 12, 50)
        assert store.frame_rate_hz("a") == 43.0
        for start, stop in ((0, None), (0, 1), (49, 50), (13, 31)):
            got = store.read_frames("a", start, stop)
            assert got.dtype == np.float32
            np.testing.assert_array_equal(got, expected[..., start:stop])
        assert (store.chunks("a") is None) == (layout == {})


def test_audio_store_reads_two_dimensional_features(tmp_path, values):
    path = written(tmp_path / "f.hdf5", values, dtype="float16", chunk_frames=8)
    with AudioStore(path) as store:
        got, rate = store.read_feature("b")
    np.testing.assert_array_equal(got, values[0, :, :20].astype(np.float16))
    assert rate == 43.0


def test_half_the_bytes_and_the_same_bytes_twice(tmp_path, values):
    full = FeatureStore(written(tmp_path / "32.hdf5", values))
    half = FeatureStore(written(tmp_path / "16.hdf5", values, dtype="float16"))
    assert full.stored_bytes("a") == values.nbytes == 2 * half.stored_bytes("a")
    again = written(tmp_path / "again.hdf5", values)
    digests = [hashlib.sha256(p.read_bytes()).hexdigest() for p in (full.path, again)]
    assert digests[0] == digests[1]
    with h5py.File(again) as file:  # nor would they differ if a second had passed
        assert h5py.h5g.get_objinfo(file["a"].id).mtime == 0


@pytest.mark.parametrize("chunks", [(1, 12, 50), (2, 5, 7), (2, 12, 16), (1, 1, 1)])
def test_chunks_touched_by_counting(chunks):
    shape = (2, 12, 50)
    owner = np.stack([i // c for i, c in zip(np.indices(shape), chunks, strict=True)])
    for start, stop in ((0, 1), (6, 8), (7, 14), (13, 31), (0, 50)):
        hit = np.unique(owner[..., start:stop].reshape(3, -1), axis=1).shape[1]
        assert np.prod(chunks_touched(shape, chunks, start, stop)) == hit
        assert bytes_touched(shape, chunks, start, stop, itemsize=2) == hit * np.prod(chunks) * 2


def test_bytes_touched_are_what_hdf5_stores(tmp_path, values):
    path = written(tmp_path / "f.hdf5", values, chunk_frames=16, chunk_bins=5)
    with h5py.File(path) as file:
        array = file["a"]
        sizes = [array.id.get_chunk_info(i).size for i in range(array.id.get_num_chunks())]
        assert sum(sizes) == bytes_touched(array.shape, array.chunks, 0, 50)


def _read_in_child(store, queue):
    values = store.read_frames("a", 3, 9)
    queue.put((values, store._process == os.getpid()))  # its own handle, not its parent's


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_store_opened_before_a_process_works_in_it(tmp_path, values, method):
    store = FeatureStore(written(tmp_path / "f.hdf5", values, chunk_frames=8))
    store.read_frames("a", 0, 1)
    context = multiprocessing.get_context(method)
    queue = context.Queue()
    child = context.Process(target=_read_in_child, args=(store, queue))
    child.start()
    got, own_handle = queue.get(timeout=60)
    np.testing.assert_array_equal(got, values[..., 3:9])
    assert own_handle
    child.join(timeout=60)
    assert child.exitcode == 0
    np.testing.assert_array_equal(store.read_frames("a", 3, 9), values[..., 3:9])
    clone = pickle.loads(pickle.dumps(store))
    np.testing.assert_array_equal(clone.read_frames("a", 3, 9), values[..., 3:9])


@pytest.mark.parametrize(("start", "stop"), [(-1, 5), (5, 5), (0, 51), (60, 70)])
def test_frames_outside_are_refused(tmp_path, values, start, stop):
    with FeatureStore(written(tmp_path / "f.hdf5", values)) as store:
        with pytest.raises(DataError, match="stop <= 50"):
            store.read_frames("a", start, stop)
        with pytest.raises(DataError, match="no such track"):
            store.read_frames("c")


def test_nothing_half_written_and_nothing_that_does_not_fit(tmp_path, values):
    path = tmp_path / "f.hdf5"
    for bad in (np.full((3, 4), 7e4), np.full((3, 4), np.nan), np.zeros(5), np.zeros((3, 0))):
        with pytest.raises(DataError, match="float16"):
            with FeatureStoreWriter(path, dtype="float16") as writer:
                writer.append("good", values, 43.0)
                writer.append("bad", bad, 43.0)
        assert list(tmp_path.iterdir()) == []
    with FeatureStoreWriter(path) as writer:
        writer.append("a", values, 43.0)
        for key in ("a", "b/c", ""):
            with pytest.raises(DataError, match="name"):
                writer.append(key, values, 43.0)
    with pytest.raises(DataError, match="name"):
        writer.append("late", values, 43.0)


@pytest.mark.parametrize(
    "option", [{"dtype": "int8"}, {"compression": "zip"}, {"chunk_frames": 0}, {"chunk_bins": -1}]
)
def test_options_are_checked(tmp_path, option):
    with pytest.raises(ConfigError, match=next(iter(option))):
        FeatureStoreWriter(tmp_path / "f.hdf5", **option)


def test_frames_that_are_not_finite_are_refused(tmp_path, values):
    path = written(tmp_path / "f.hdf5", values)
    with h5py.File(path, "r+") as file:
        file["a"][0, 3, 7] = np.inf
        del file["b"].attrs["frame_rate_hz"]
    with FeatureStore(path) as store:
        store.read_frames("a", 8, 12)
        with pytest.raises(DataError, match="not finite"):
            store.read_frames("a", 5, 12)
        with pytest.raises(DataError, match="frame_rate_hz"):
            store.frame_rate_hz("b")


@pytest.mark.parametrize("rate_hz", ["abc", 0.0, np.nan, 1e6])
def test_refuses_a_bad_frame_rate(tmp_path, values, rate_hz):
    path = tmp_path / "f.hdf5"
    with pytest.raises(DataError, match="frame_rate_hz="), FeatureStoreWriter(path) as writer:
        writer.append("a", values, rate_hz)
    with h5py.File(path, "w") as file:
        file["a"] = values
        file["a"].attrs["frame_rate_hz"] = rate_hz
    with FeatureStore(path) as store, pytest.raises(DataError, match="frame_rate_hz="):
        store.frame_rate_hz("a")


@pytest.mark.parametrize("key", ["a\0b", "\ud800", 7])
def test_refuses_a_name_that_hdf5_cannot_store(tmp_path, values, key):
    path = tmp_path / "f.hdf5"
    with pytest.raises(DataError, match="a name"), FeatureStoreWriter(path) as writer:
        writer.append(key, values, 43.0)


def test_refuses_what_is_no_feature_of_float32(tmp_path):
    path = tmp_path / "f.hdf5"
    with h5py.File(path, "w") as file:
        file["large"] = np.full((12, 5), 1e300)
        file["audio"] = np.zeros(5)
    with FeatureStore(path) as store:
        with pytest.raises(DataError, match="not finite"):
            store.read_frames("large")
        with pytest.raises(DataError, match=r"bins, frames"):
            store.read_frames("audio")
