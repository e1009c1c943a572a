"""Patches from a file: the same as in memory, each once, with and without workers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from dl101.data.featurestore import FeatureStore, FeatureStoreWriter
from dl101.training.streaming import PatchStream, StoredPatches, index_of

LENGTHS = (30, 8, 17, 5, 40, 23)
KEYS = [f"track{i}" for i in range(len(LENGTHS))]


@pytest.fixture
def tracks():
    """Tracks in which every value is another number, so that a patch says where it is from."""
    ends = np.cumsum(LENGTHS) * 3
    return [
        np.arange(end - 3 * n, end, dtype=np.float32).reshape(1, 3, n) + 1
        for n, end in zip(LENGTHS, ends, strict=True)
    ]


@pytest.fixture
def store(tmp_path, tracks):
    with FeatureStoreWriter(tmp_path / "f.hdf5", chunk_frames=8) as writer:
        for key, values in zip(KEYS, tracks, strict=True):
            writer.append(key, values, 43.0)
    with FeatureStore(tmp_path / "f.hdf5") as store:
        yield store


@pytest.fixture
def index(store):
    return index_of(store, KEYS, patch_frames=8)


def in_memory(tracks, index):
    return [index.cut(tracks[patch.track], patch) for patch in index]


def collected(loader):
    """Return all patches and tracks that a loader gives."""
    patches, labels = zip(*loader, strict=True)
    return torch.cat(patches).numpy(), torch.cat(labels).numpy()


def test_index_knows_the_lengths(index):
    assert index.n_frames == LENGTHS


@pytest.mark.parametrize("num_workers", [0, 2])
def test_stored_patches_are_those_in_memory(store, tracks, index, num_workers):
    store.read_frames(KEYS[0])  # the handle is open when workers are forked
    dataset = StoredPatches(store, KEYS, index)
    patches, labels = collected(DataLoader(dataset, batch_size=4, num_workers=num_workers))
    np.testing.assert_array_equal(patches, in_memory(tracks, index))
    assert labels.tolist() == [patch.track for patch in index]


@pytest.mark.parametrize("block_tracks", [1, 2, 100])
@pytest.mark.parametrize("num_workers", [0, 2])
def test_stream_gives_each_patch_once(store, tracks, index, num_workers, block_tracks):
    store.read_frames(KEYS[0])
    stream = PatchStream(store, KEYS, index, block_tracks=block_tracks, seed=3)
    patches, labels = collected(DataLoader(stream, batch_size=4, num_workers=num_workers))
    expected = np.array(in_memory(tracks, index))
    order, wanted = np.argsort(patches[:, 0, 0, 0]), np.argsort(expected[:, 0, 0, 0])
    np.testing.assert_array_equal(patches[order], expected[wanted])
    truth = np.array([patch.track for patch in index])
    np.testing.assert_array_equal(labels[order], truth[wanted])
    assert (order != np.arange(len(order))).any()


def test_epochs_differ_and_repeat_and_persistent_workers_hear_of_them(store, index):
    stream = PatchStream(store, KEYS, index, block_tracks=2, seed=1)

    def order(loader, epoch):
        stream.set_epoch(epoch)
        return collected(loader)[0][:, 0, 0, 0].tolist()

    plain = DataLoader(stream, batch_size=4)
    assert order(plain, 0) == order(plain, 0) != order(plain, 1)
    lasting = DataLoader(stream, batch_size=4, num_workers=2, persistent_workers=True)
    first, second, again = (order(lasting, epoch) for epoch in (0, 1, 0))
    assert first == again != second


def test_memory_holds_one_block(store, index, monkeypatch):
    read = []
    real = FeatureStore.read_frames

    def watched(self, key, start=0, stop=None):
        read.append(key)
        return real(self, key, start, stop)

    monkeypatch.setattr(FeatureStore, "read_frames", watched)
    stream = iter(PatchStream(store, KEYS, index, block_tracks=2))
    next(stream)
    assert len(read) == 2
    list(stream)
    assert sorted(read) == sorted(KEYS)  # each track is read once
