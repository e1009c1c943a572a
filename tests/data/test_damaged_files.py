"""Thousands of damaged .pyjama and HDF5 files: each is read, or refused with an error of ours."""

from __future__ import annotations

import contextlib
import copy
import json

import h5py
import numpy as np
import pytest

from dl101.data import pyjama
from dl101.data.featurestore import FeatureStore
from dl101.errors import Dl101Error

pytestmark = pytest.mark.slow

RATE = 22_050
N_PARTS = 10
N_INPUTS = 200  # in each part: 2,000 of each kind of damage


# ---- HDF5 ----


@pytest.fixture(scope="module")
def store_bytes(tmp_path_factory):
    """Return a small valid store of every layout in circulation."""
    path = tmp_path_factory.mktemp("damaged") / "valid.hdf5"
    noise = np.random.default_rng(0).uniform(-1, 1, 64).astype(np.float32)
    with h5py.File(path, "w") as file:
        for number in range(2):
            file[f"{number}.wav"] = noise[: 20 + number]
            file[f"{number}.wav"].attrs["sr_hz"] = RATE
        file.create_dataset(
            "stereo", data=noise.reshape(2, 32), chunks=(2, 16), compression="gzip", shuffle=True
        ).attrs["sr"] = RATE
        file["folder/int.wav"] = (noise * 100).astype(np.int16)
        file["folder/int.wav"].attrs["sr_hz"] = RATE
        file.create_dataset("rated", data=noise.reshape(4, 16), chunks=(4, 4)).attrs[
            "frame_rate_hz"
        ] = 43.0
        file["published"] = noise[:60].reshape(5, 12).astype(np.float64)
    return path.read_bytes()


def damaged(rng, content):
    """Return content with bytes changed, zeroed, moved, put in or cut off."""
    changed = bytearray(content)
    for _ in range(int(rng.integers(1, 5))):
        kind, at = rng.integers(0, 6), int(rng.integers(0, len(changed)))
        length = int(rng.integers(1, 17))
        if kind <= 1:
            changed[at] = int(rng.integers(0, 256))
        elif kind == 2:
            changed[at : at + length] = bytes([int(rng.choice([0, 255]))]) * length
        elif kind == 3:
            changed[at : at + length] = rng.bytes(length)
        elif kind == 4:
            start = int(rng.integers(0, len(changed)))
            changed[at : at + length] = changed[start : start + length]
        elif rng.random() < 0.2:
            del changed[at:]
            break
    return bytes(changed)


def read_all(path):
    """Read all that a store offers, each thing by itself; return how many were refused."""
    refused = 0
    try:
        store = FeatureStore(path)
    except Dl101Error:
        return 1
    with store:
        keys = ["published"]
        with contextlib.suppress(Dl101Error):
            keys = store.keys()
        for key in keys:
            for read in (_contains, _info, _audio, _feature, _frames):
                try:
                    assert read(store, key)
                except Dl101Error:
                    refused += 1
    return refused


def _contains(store, key):
    return isinstance(key in store, bool)


def _info(store, key):
    return store.info(key).duration_s > 0


def _audio(store, key):
    samples, rate = store.read(key)
    return samples.dtype == np.float32 and np.isfinite(samples).all() and rate >= 1000


def _feature(store, key):
    values, rate_hz = store.read_feature(key, n_bins=12, frame_rate_hz=10.0)
    return values.dtype == np.float32 and np.isfinite(values).all() and 0.1 <= rate_hz <= 10_000


def _frames(store, key):
    values = store.read_frames(key)
    return values.dtype == np.float32 and values.ndim >= 2 and np.isfinite(values).all()


@pytest.mark.parametrize("part", range(N_PARTS))
def test_damaged_bytes_of_hdf5(store_bytes, tmp_path, part):
    rng = np.random.default_rng(part)
    path = tmp_path / "damaged.hdf5"
    path.write_bytes(store_bytes)
    usual, others = read_all(path), 0
    for _ in range(N_INPUTS):
        path.write_bytes(damaged(rng, store_bytes))
        others += read_all(path) != usual
    assert others > N_INPUTS / 10  # the damage is felt


def odd_value(rng):
    """Return something that an array or an attribute may hold and a reader may not expect."""
    number = [0, -1, np.nan, np.inf, 1e300, 2**63, 1e-300, 22_050.5, 43][rng.integers(9)]
    return [
        "abc",
        b"\xff\x00",
        "",
        h5py.Empty("f8"),
        np.float64(number),
        np.full(3, number),
        np.full((12, 3), number),
        np.full((3, 12), number),
        np.zeros((2, 0)),
        np.zeros((2, 3, 2, 3)),
        np.array([True, False]),
        np.array([1 + 1j]),
        np.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f8")]),
        np.array(["text", "more"], dtype=h5py.string_dtype()),
        np.array([b"abc"]),
        np.array([b"abc"], dtype="V3"),
        np.arange(4, dtype=">f4"),
        np.arange(4, dtype=np.longdouble),
    ][rng.integers(18)]


def new_array(file, rng):
    file["new.wav"] = odd_value(rng)
    file["new.wav"].attrs["sr_hz" if rng.random() < 0.5 else "frame_rate_hz"] = RATE / 10


def odd_attribute(file, rng):
    key = ["0.wav", "stereo", "rated", "published", "folder/int.wav"][rng.integers(5)]
    file[key].attrs[["sr_hz", "sr", "frame_rate_hz", "other"][rng.integers(4)]] = odd_value(rng)


def link_to_a_group(file, rng):
    group = file[["/", "folder"][rng.integers(2)]]
    file[["loop", "folder/loop", "folder/a/b/loop"][rng.integers(3)]] = group


def odd_link(file, rng):
    file[["0 link", "folder/0 link"][rng.integers(2)]] = [
        h5py.SoftLink("/nowhere"),
        h5py.SoftLink("/"),
        h5py.SoftLink("/0 link"),  # to itself
        h5py.SoftLink("/0.wav"),
        h5py.ExternalLink("missing.hdf5", "/"),
        h5py.ExternalLink(file.filename, "/"),
    ][rng.integers(6)]


def odd_name(file, rng):
    name = [b"\xff\xfe.wav", "\u00e9.wav".encode(), b" ", b"new\nline", b"a" * 2000][
        rng.integers(5)
    ]
    file.id.links.create_hard(name, file.id, b"1.wav")


def no_array(file, rng):
    file["type"] = np.dtype("f4")  # neither group nor array


def huge_array(file, rng):
    shape = [(2**40,), (2, 2**38), (2**20, 12), (2**36, 12)][rng.integers(4)]
    array = file.create_dataset("huge", shape, dtype="f4", chunks=(1024,) * len(shape))
    array.attrs[["sr_hz", "frame_rate_hz"][rng.integers(2)]] = 1000


def spoilt_values(file, rng):
    file["published"][2, 3] = [np.nan, np.inf, 1e300, -1e39][rng.integers(4)]
    file["rated"][0] = [np.nan, -np.inf][rng.integers(2)]


def less(file, rng):
    del file[["0.wav", "folder", "stereo", "published"][rng.integers(4)]]


STRUCTURES = (
    new_array,
    odd_attribute,
    link_to_a_group,
    odd_link,
    odd_name,
    no_array,
    huge_array,
    spoilt_values,
    less,
)


@pytest.mark.parametrize("part", range(N_PARTS))
def test_odd_structures_of_hdf5(store_bytes, tmp_path, part):
    rng = np.random.default_rng(part)
    path, others = tmp_path / "odd.hdf5", 0
    path.write_bytes(store_bytes)
    usual = read_all(path)
    for _ in range(N_INPUTS):
        path.write_bytes(store_bytes)
        with h5py.File(path, "r+") as file:
            for change in rng.permutation(STRUCTURES)[: rng.integers(1, 4)]:
                with contextlib.suppress(KeyError, ValueError):  # one change undid another
                    change(file, rng)
        others += read_all(path) != usual
    assert others > N_INPUTS / 3


# ---- .pyjama ----


def valid_collection():
    """Return a small collection with every extent and every layout in circulation."""
    curve = {"value": [[60.0, None, 61.5], [0, 48, 48.5]], "time": [0.0, 0.01, 0.02]}
    dictionary = {"typeContent": "text", "typeExtent": "segment", "dictionary": ["C:maj", "N"]}
    definitions = {
        "filepath": {"typeExtent": "global", "typeContent": "text"},
        "chord": dictionary | {"typeConstraint": "valueInDictionary"},
        "beat": {"type_extent": "marker", "type_content": "numeric"},
        "f0multi": {"typeExtent": "breakpoint", "typeContent": "numeric", "rowName": ["a", "b"]},
        "tempo": {
            "typeExtent": "global",
            "typeContent": "numeric",
            "typeConstraint": "valueInDictionary",
            "dictionary": [20, 400],
        },
    }
    entries = [
        {
            "filepath": [{"value": f"{number}.wav"}],
            "title": [{"value": "A title"}, {"value": ""}],
            "tempo": [{"value": 120.5, "confidence": 0.5}],
            "pitchmidi": [{"value": 60, "time": 0.0, "duration": 0.5}],
            "chord": [{"value": ["C:maj", "N"], "time": [0.0, 1.0], "duration": [1.0, 1.0]}],
            "beat": [{"value": [1, 2], "time": [0.1, 0.6]}, {"value": 3, "time": 1.1}],
            "f0multi": [curve | {"confidence": [0.1, 0.2, 0.3]}],
            "mixed": [{"value": ["a", 1], "time": 0.5}],
        }
        for number in range(2)
    ]
    collection = {"descriptiondefinition": definitions, "entry": entries}
    return {"collection": collection, "schemaversion": 1.31}


ODD = [
    *(None, True, "", "text", "\0", "\ud800", 0, -1, 1e-300, 2**70, 10**400, float("nan")),
    *(
        float("inf"),
        [],
        {},
        [None],
        [None, 1.0],
        [[1], [2, 3]],
        [[]],
        [[[1.0]]],
        [True],
        ["a", None],
    ),
    *(
        [{}],
        {"value": None},
        {"value": None, "time": 1.0},
        {"value": [1, None], "time": [0.0, 1.0]},
    ),
    *({"value": 1, "time": [1.0]}, {"value": [[None, None]], "time": [0, 1]}, ["a", 1, None]),
]


def places(node):
    """Yield (container, key) of every value below a node."""
    for key in node if isinstance(node, dict) else range(len(node)):
        yield node, key
        if isinstance(node[key], dict | list):
            yield from places(node[key])


def changed_tree(rng, plain):
    """Change a few places of a JSON tree: another value, another name, less, more, elsewhere."""
    for _ in range(int(rng.integers(1, 4))):
        everywhere = list(places(plain))
        if not everywhere:
            break
        container, key = everywhere[rng.integers(len(everywhere))]
        kind = rng.integers(6)
        if kind <= 1:
            container[key] = copy.deepcopy(ODD[rng.integers(len(ODD))])
        elif kind == 2:
            del container[key]
        elif kind == 3:
            other, its_key = everywhere[rng.integers(len(everywhere))]
            container[key] = copy.deepcopy(other[its_key])
        elif isinstance(container, list):
            container.insert(0, copy.deepcopy(ODD[rng.integers(len(ODD))]))
        else:
            names = ["filepath", "value", "time", "duration", "typeExtent", "entry", "\0"]
            container[names[rng.integers(len(names))]] = container.pop(key)
    return plain


def accepted(path):
    """Return whether a file is read; what is read is also written, and read again as it was."""
    try:
        collection = pyjama.read(path)
    except Dl101Error:
        return False
    for entry in collection:
        for name in entry.fields:
            with contextlib.suppress(Dl101Error):  # a field of another extent
                entry.segments(name)
    again = path.with_name("again.pyjama")
    with contextlib.suppress(Dl101Error):
        pyjama.write(again, collection)
        assert pyjama.read(again) == collection
    return True


@pytest.mark.parametrize("damage", ["tree", "bytes"])
@pytest.mark.parametrize("part", range(N_PARTS))
def test_damaged_annotations(tmp_path, part, damage):
    rng = np.random.default_rng(part)
    path = tmp_path / "damaged.pyjama"
    path.write_text(json.dumps(valid_collection()), encoding="utf-8")
    assert accepted(path)
    n_accepted = 0
    for _ in range(N_INPUTS // 2):
        plain = valid_collection()
        content = json.dumps(changed_tree(rng, plain) if damage == "tree" else plain).encode()
        path.write_bytes(damaged(rng, content) if damage == "bytes" else content)
        n_accepted += accepted(path)
    assert 0 < n_accepted < N_INPUTS // 2
