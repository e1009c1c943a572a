"""Audio and annotations of two datasets are never taken for one."""

from __future__ import annotations

import json
import os

import h5py
import numpy as np
import pytest

from dl101.data import pair, pyjama
from dl101.data.audiostore import AudioStore, AudioStoreWriter
from dl101.data.cache import sweep
from dl101.errors import DataError


def write(folder, seed: int, *, n_tracks: int = 2):
    """Write a pair whose keys do not depend on the seed; sounds and labels do."""
    audio, annotations = folder / "a_audio.hdf5", folder / "a.pyjama"
    entries = []
    with pair.replacing_pair(audio, annotations) as (store, temporary):
        for index in range(n_tracks):
            store.append(f"{index}.wav", np.full(100, seed / 10, np.float32), 22050)
            fields = {"title": (pyjama.Atom(f"seed {seed}"),)}
            entries.append(pyjama.Entry(f"{index}.wav", index, fields))
        collection = pyjama.Collection(tuple(entries), audio_identity=store.identity)
        pyjama.write(temporary, collection, in_place=True)
        sweep(folder)  # as another process does that writes there: not what is in use
    return audio, annotations


def seed_of(audio, annotations) -> int:
    """Return the seed of a pair, checked to be that of the sound and of the labels."""
    with pair.opened(audio, annotations) as (collection, store):
        seeds = {float(round(10 * store.read(e.filepath)[0].max())) for e in collection}
        seeds |= {float(e.first("title").removeprefix("seed ")) for e in collection}
    (seed,) = seeds
    return int(seed)


def test_a_pair_is_opened_as_one_thing(tmp_path):
    audio, annotations = write(tmp_path, 3)
    assert seed_of(audio, annotations) == 3
    assert seed_of(*write(tmp_path, 4)) == 4
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.pyjama", "a_audio.hdf5"]


def test_audio_of_one_beside_annotations_of_another_is_refused(tmp_path):
    audio, _ = write(tmp_path / "one", 1)
    _, annotations = write(tmp_path / "two", 2)
    with AudioStore(audio) as store:  # nothing but the identity tells
        assert store.keys() == [e.filepath for e in pyjama.read(annotations)]
    with pytest.raises(DataError, match="written together"), pair.opened(audio, annotations):
        pass


@pytest.mark.parametrize("side", ["audio", "annotations", "both"])
def test_a_pair_published_without_identity_is_read(tmp_path, side):
    audio, annotations = write(tmp_path, 1)
    if side != "annotations":
        with h5py.File(audio, "r+") as file:
            del file.attrs["identity"]
    if side != "audio":
        plain = json.loads(annotations.read_text())
        del plain["audioidentity"]
        annotations.write_text(json.dumps(plain))
    assert seed_of(audio, annotations) == 1


def test_the_identity_follows_the_content(tmp_path):
    def identity(key="a", value=0.1, rate=22050, n_tracks=1):
        with AudioStoreWriter(tmp_path / "a.hdf5") as store:
            for k in range(n_tracks):
                store.append(f"{key}{k}", np.full(10, value), rate)
        with AudioStore(tmp_path / "a.hdf5") as written:
            assert written.identity == store.identity
        return store.identity

    assert identity() == identity()
    others = [identity(key="b"), identity(value=0.2), identity(rate=8000), identity(n_tracks=2)]
    assert len({identity(), *others}) == 5


def test_readers_of_2024_find_what_they_expect(tmp_path):
    _, annotations = write(tmp_path, 1)
    plain = json.loads(annotations.read_text())
    assert list(plain) == ["collection", "schemaversion", "audioidentity"]
    assert list(plain["collection"]) == ["descriptiondefinition", "entry"]
    names = [entry["filepath"][0]["value"] for entry in plain["collection"]["entry"]]
    assert names == ["0.wav", "1.wav"]


def test_the_identity_survives_reading_and_writing(tmp_path):
    audio, annotations = write(tmp_path, 1)
    pyjama.write(annotations, pyjama.read(annotations))
    assert pyjama.read(annotations).audio_identity is not None
    assert seed_of(audio, annotations) == 1


def test_an_identity_that_is_no_text_is_refused(tmp_path):
    _, annotations = write(tmp_path, 1)
    plain = json.loads(annotations.read_text())
    annotations.write_text(json.dumps({**plain, "audioidentity": 7}))
    with pytest.raises(DataError, match="audioidentity 7"):
        pyjama.read(annotations)


@pytest.mark.parametrize("n_replaced", [0, 1])
def test_what_stops_between_the_two_files_leaves_no_mixture(tmp_path, monkeypatch, n_replaced):
    _, annotations = write(tmp_path, 1)
    real, done = os.replace, []

    def replace(source, target):
        if len(done) == n_replaced:
            raise KeyboardInterrupt
        done.append(target)
        real(source, target)

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", replace)
        with pytest.raises(KeyboardInterrupt):
            write(tmp_path, 2)
    assert not annotations.exists()  # nothing is better than labels of something else
    assert seed_of(*write(tmp_path, 2)) == 2


def test_a_full_disk_leaves_the_old_pair(tmp_path, monkeypatch):
    audio, annotations = write(tmp_path, 1)

    def full(self):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(h5py.File, "flush", full)
        with pytest.raises(OSError, match="No space"):
            write(tmp_path, 2)
    assert seed_of(audio, annotations) == 1
    assert len(list(tmp_path.iterdir())) == 2
