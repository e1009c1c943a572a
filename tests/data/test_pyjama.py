"""The .pyjama format: what is read, what is refused and with which words, what is written."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest

from dl101.data import pyjama
from dl101.data.pyjama import Atom, Collection, Definition, Entry
from dl101.errors import DataError


@pytest.fixture
def store(tmp_path):
    """Return a function that puts entries (and definitions) into a file."""

    def put(entries, definitions=None, version=1.31):
        path = tmp_path / "test.pyjama"
        collection = {"entry": entries}
        if definitions is not None:
            collection["descriptiondefinition"] = definitions
        content = {"collection": collection, "schemaversion": version}
        path.write_text(json.dumps(content), encoding="utf-8")
        return path

    return put


def track(name="a.wav", **fields):
    return {"filepath": [{"value": name}], **fields}


def one(extent, content, constraint="free", dictionary=()):
    return {
        "x": {
            "typeExtent": extent,
            "typeContent": content,
            "typeConstraint": constraint,
            "dictionary": list(dictionary),
        }
    }


NOTE = {"value": 67, "time": 0.5, "duration": 0.268}
F0 = {"value": [[72.0, None, 72.5], [60.0, 60.5, 0]], "time": [0.023, 0.033, 0.043]}


def test_reads_the_notes_and_curves_that_were_published(store):
    entries = [
        track("MAPS_MUS.wav", pitchmidi=[NOTE, {"value": 71, "time": 0.5, "duration": 1.05}]),
        track("01-AchGottundHerr.wav", f0multi=[F0], title=[{"value": "Ach Gott"}]),
    ]
    collection = pyjama.read(store(entries))
    assert [entry.filepath for entry in collection] == ["MAPS_MUS.wav", "01-AchGottundHerr.wav"]
    assert [entry.index for entry in collection] == [0, 1]
    assert len(collection) == 2 and collection.schema_version == 1.31
    notes, curves = collection.entries
    assert notes.fields["pitchmidi"][0] == Atom(67.0, 0.5, 0.268)
    onsets, durations, pitches = notes.segments("pitchmidi")
    np.testing.assert_array_equal(onsets, [0.5, 0.5])
    np.testing.assert_array_equal(durations, [0.268, 1.05])
    np.testing.assert_array_equal(pitches, [67, 71])
    f0 = curves.first("f0multi")
    assert f0.shape == (2, 3) and f0.dtype == np.float64 and not f0.flags.writeable
    np.testing.assert_array_equal(f0, [[72, np.nan, 72.5], [60, 60.5, 0]])
    np.testing.assert_array_equal(curves.fields["f0multi"][0].time, [0.023, 0.033, 0.043])
    assert curves.first("title") == "Ach Gott" and curves.first("nothing") is None
    assert curves.values("title") == ["Ach Gott"] and curves.values("nothing") == []
    assert collection.definitions == {
        "pitchmidi": Definition("pitchmidi", "segment", "numeric"),
        "f0multi": Definition("f0multi", "breakpoint", "numeric"),
        "title": Definition("title", "global", "text"),
    }


@pytest.mark.parametrize(
    "definitions",
    [
        None,
        {},
        {"x": {}},
        {"x": "..."},
        {"x": None},
        {"x": {"...": "..."}},
        {"x": {"tag": "...", "title": {}}},
        {"x": {"typeExtent": "...", "typeContent": ""}},
    ],
)
@pytest.mark.parametrize(
    ("atom", "extent", "content"),
    [
        ({"value": "a"}, "global", "text"),
        ({"value": 3}, "global", "numeric"),
        ({"value": [[1, 2, 3]]}, "global", "numeric"),
        ({"value": "a", "time": 1}, "marker", "text"),
        (NOTE, "segment", "numeric"),
        (F0, "breakpoint", "numeric"),
        ({"value": [[60.0]], "time": 0.5}, "breakpoint", "numeric"),
    ],
)
def test_missing_and_partial_definitions_are_inferred(store, definitions, atom, extent, content):
    collection = pyjama.read(store([track("none.wav"), track(x=[atom])], definitions))
    assert collection.definitions["x"] == Definition("x", extent, content)


def test_partial_definition_keeps_what_it_says(store):
    collection = pyjama.read(store([track(x=[{"value": 3.5}])], {"x": {"typeExtent": "global"}}))
    assert collection.definitions["x"] == Definition("x", "global", "numeric")


@pytest.mark.parametrize(
    ("spelling", "extent"),
    [("typeExtent", "Segment"), ("type_extent", "segment"), ("typeextent", "SEGMENT")],
)
def test_spellings_of_definitions(store, spelling, extent):
    definitions = {"x": {spelling: extent, "row_name": ["a"], "filepath": "..."}}
    collection = pyjama.read(store([track(x=[])], definitions, version=1.4))
    assert collection.definitions["x"] == Definition("x", "segment", None, None, ("a",))
    assert collection.entries[0].fields == {}


@pytest.mark.parametrize(
    "fields",
    [
        {"f0": [{"value": F0["value"]}, {"time": F0["time"]}]},
        {"f0": [{"value": F0["value"]}], "time": F0["time"]},
        {"f0": [{"value": F0["value"]}], "shared": [{"value": [F0["time"]]}]},
        {"f0": [{"value": np.array(F0["value"]).T.tolist(), "time": F0["time"]}]},
        {"f0": [{"value": F0["value"], "time": [[t] for t in F0["time"]]}]},
    ],
)
def test_layouts_of_matrices_in_circulation(store, fields):
    definitions = {
        "f0": {"type_content": "text", "type_extent": "breakpoint_value"},
        "shared": {"type_content": "text", "type_extent": "breakpoint_time"},
    }
    collection = pyjama.read(store([track(**fields)], definitions))
    (atom,) = collection.entries[0].fields["f0"]
    assert atom == Atom(np.array(F0["value"], dtype=float), np.array(F0["time"]))
    assert set(collection.entries[0].fields) == {"f0"}
    assert collection.definitions["f0"].extent == "breakpoint"


def test_several_labels_in_one_atom_become_atoms(store):
    entry = track(
        tag=[{"value": ["blues", "rock"]}],
        structure=[{"value": [["A", "B"]], "time": [0, 1.5], "duration": [1.5, 2]}],
        beat=[{"value": [1, 2, 3], "time": [0.5, 1, 1.5]}],
        wasabi=[{"value": [440, "a4"], "time": 0.0, "duration": 1.0}],
    )
    definitions = {"beat": {"typeExtent": "marker"}, "wasabi": {"typeContent": "text"}}
    (entry,) = pyjama.read(store([entry], definitions))
    assert entry.values("tag") == ["blues", "rock"]
    assert entry.fields["structure"] == (Atom("A", 0.0, 1.5), Atom("B", 1.5, 2.0))
    assert entry.fields["beat"] == (Atom(1.0, 0.5), Atom(2.0, 1.0), Atom(3.0, 1.5))
    assert entry.fields["wasabi"] == (Atom((440.0, "a4"), 0.0, 1.0),)


def test_fillers_are_missing_values(store):
    definitions = one("segment", "numeric")
    (entry,) = pyjama.read(
        store([track(x=[{"value": ""}], y=[{"value": None}], z=[])], definitions)
    )
    assert entry.fields == {}
    onsets, durations, values = entry.segments("x")
    assert len(onsets) == len(durations) == len(values) == 0


def test_unvoiced_may_also_be_written_nan(tmp_path):
    path = tmp_path / "nan.pyjama"
    path.write_text(
        '{"collection": {"entry": [{"filepath": [{"value": "a"}],'
        ' "f0": [{"value": [[NaN, 60]], "time": [0, 1]}]}]}}'
    )
    np.testing.assert_array_equal(pyjama.read(path).entries[0].first("f0"), [[np.nan, 60]])


def test_dictionaries_bind_only_where_declared(store):
    free = one("global", "text", "free", ["a"])
    assert pyjama.read(store([track(x=[{"value": "b"}])], free)).definitions["x"].dictionary is None
    bound = one("global", "text", "valueInDictionary", ["a", "b"])
    assert pyjama.read(store([track(x=[{"value": "b"}])], bound)).definitions["x"].dictionary == (
        "a",
        "b",
    )


# ---- What is refused: each message names the file, the entry and the field ----------------------


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty file"),
        (b'{"collection": {"entry": [}', "line 1, column 27"),
        (b"<!DOCTYPE html>", "line 1, column 1"),
        (b'{"a": "\xff"}', "not UTF-8"),
        (b"[" * 100_000, "recursion"),
        (b"[]", "got a list; expected an object with the key 'collection'"),
        (b'{"entry": []}', "got the keys ['entry']"),
        (b'{"collection": {"entries": []}}', "expected the key 'entry'"),
        (b'{"collection": {"entry": {}}}', "expected the key 'entry'"),
        (b'{"collection": {"entry": []}, "schemaversion": "new"}', "schemaversion 'new'"),
        (b"9" * 5000, "digits"),
    ],
)
def test_refuses_what_is_no_collection(tmp_path, content, words):
    path = tmp_path / "broken.pyjama"
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        pyjama.read(path)
    assert words in str(caught.value) and str(path) in str(caught.value)


def test_refuses_a_missing_file(tmp_path):
    with pytest.raises(DataError, match=r"absent\.pyjama"):
        pyjama.read(tmp_path / "absent.pyjama")


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ({}, "field 'filepath': got an entry with the fields []"),
        ({"filepath": []}, "field 'filepath'"),
        ({"filepath": "a.wav"}, "field 'filepath'"),
        ({"filepath": [{"value": 3}]}, "field 'filepath': got 3"),
        ({"filepath": [{"value": ""}]}, "field 'filepath': got ''"),
        (track("good.wav"), "field 'filepath': got 'good.wav' again (first in entry 0)"),
        ("a.wav", "got text"),
        (track(x={"value": 1}), "field 'x': got an object; expected a list of atoms"),
        (track(x=["a"]), "field 'x', atom 0: got text"),
        (track(x=[{"value": 1}, {"time": 1}, {"value": 3}]), "field 'x', atom 1"),
        (track(x=[{"value": None, "time": 1}]), "field 'x', atom 0: got null"),
        (track(x=[{"value": [1, None], "time": [0, 1], "duration": [1, 1]}]), "null among the"),
        (track(x=[{"value": ["a", float("inf")], "time": 1}]), "finite numbers"),
        (track(x=[{"value": [[1, 2]], "time": [0, 1], "confidence": [0, float("inf")]}]), "confid"),
        (track(x=[{"value": True}]), "true or false"),
        (track(x=[{"value": {}}]), "an object"),
        (track(x=[{"value": float("nan")}]), "got nan"),
        (track(x=[{"value": 10**400}]), "field 'x', atom 0: got a number of more than"),
        (track(x=[{"value": 1, "time": -0.5}]), "field 'x', atom 0: got time -0.5"),
        (track(x=[{"value": 1, "time": float("nan")}]), "got time nan"),
        (track(x=[{"value": 1, "time": "0:30"}]), "got time '0:30'"),
        (track(x=[{"value": 1, "time": True}]), "got time True"),
        (track(x=[{"value": 1, "time": [1, 2]}]), "got time [1, 2]"),
        (track(x=[{"value": 1, "time": 1, "duration": -1}]), "got duration -1"),
        (track(x=[{"value": 1, "time": 1, "duration": float("inf")}]), "got duration inf"),
        (track(x=[{"value": 1, "duration": 1}]), "got no time"),
        (track(x=[{"value": 1, "confidence": "high"}]), "got confidence 'high'"),
        (track(x=[{"value": [[1, 2], [3]], "time": [0, 1]}]), "rows of different lengths"),
        (track(x=[{"value": [[1, 2, 3]], "time": [0, 1]}]), "matrix of shape (1, 3) and times of"),
        (track(x=[{"value": [[1, 2]], "time": [[0, 1], [2]]}]), "'time' with rows of different"),
        (track(x=[{"value": [[1, 2]], "time": ["0", "1"]}]), "'time' with something else"),
        (track(x=[{"value": [[1, 2]], "time": [0, None]}]), "time nan"),
        (track(x=[{"value": [[1, 2]], "time": [-1, 0]}]), "time -1"),
        (track(x=[{"value": [[1, 2, 3]], "time": [0, 2, 1]}]), "time 1.0 of frame 2 after 2.0"),
        (track(x=[{"value": [[1, 2, 3]], "time": [0, 1, 1]}]), "time 1.0 of frame 2 after 1.0"),
        (track(x=[{"value": [[1, True]], "time": [0, {}]}]), "'time' with something else"),
        (track(x=[{"value": [[True, False]], "time": [0, 1]}]), "'value' with something else"),
        (track(x=[{"value": [[1, "2"], [3, 4]], "time": [0, 1]}]), "a table of shape (2, 2)"),
        (track(x=[{"value": [[1, float("inf")]], "time": [0, 1]}]), "infinite"),
        (track(x=[{"value": [[[1]]], "time": [0]}]), "shape (1, 1, 1)"),
        (track(x=[{"value": [[]], "time": []}]), "shape (1, 0)"),
        (track(x=[{"value": ["a", "b"], "time": [0, 1, 2]}]), "2 values and 3 of 'time'"),
    ],
)
def test_refuses_bad_entries(store, bad, words):
    path = store([track("good.wav"), bad])
    with pytest.raises(DataError) as caught:
        pyjama.read(path)
    message = str(caught.value)
    assert words in message
    assert f"{path}, entry 1" in message


@pytest.mark.parametrize(
    ("definition", "atom", "words"),
    [
        (one("global", "numeric"), {"value": "fast"}, "got the text 'fast'; expected a number"),
        (one("global", "text"), {"value": 120}, "got the number 120.0; expected text"),
        (one("marker", "numeric"), {"value": 1}, "got no time"),
        (one("segment", "numeric"), {"value": 1}, "got no time"),
        (one("segment", "numeric"), {"value": 1, "time": 0}, "got no duration"),
        (one("marker", "numeric"), {"value": [1, None], "time": [0, 1]}, "got null among"),
        (one("marker", "text"), {"value": ["a", None], "time": [0, 1]}, "got null among"),
        (one("marker", "numeric"), {"value": [1, {}], "time": [0, 1]}, "an object among"),
        (one("marker", "numeric"), {"value": [True, False], "time": [0, 1]}, "true or false among"),
        (one("breakpoint", "numeric"), {"value": 1, "time": 0}, "expected a matrix"),
        (one("breakpoint", "numeric"), {"value": [[1, 2]]}, "a matrix without times"),
        (one("global", "text", "valueInDictionary", ["a", "b"]), {"value": "c"}, "got 'c'"),
        (one("global", "text", "value_in_dictionary", ["a"]), {"value": ["a", "c"]}, "got 'c'"),
        (one("global", "numeric", "valueInDictionary", [0, 1]), {"value": 2}, "got 2.0"),
        (
            one("breakpoint", "numeric", "valueInDictionary", [0, 127]),
            {"value": [[60, None, 128]], "time": [0, 1, 2]},
            "got 128.0",
        ),
    ],
)
def test_refuses_what_contradicts_its_definition(store, definition, atom, words):
    path = store([track(x=[atom])], definition)
    with pytest.raises(DataError) as caught:
        pyjama.read(path)
    assert f"{path}, entry 0, field 'x', atom 0" in str(caught.value)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("definition", "words"),
    [
        ({"x": {"typeExtent": "sgment"}}, "'sgment'"),
        ({"x": {"typeContent": "number"}}, "'number'"),
        (one("global", "numeric", "valueInDictionary", ["a"]), "dictionary ('a',)"),
        (one("global", "text", "valueInDictionary", [1, 2]), "dictionary (1, 2)"),
        (one("global", "numeric", "valueInDictionary", [0, float("inf")]), "dictionary (0, inf)"),
    ],
)
def test_refuses_bad_definitions(store, definition, words):
    path = store([track()], definition)
    with pytest.raises(DataError) as caught:
        pyjama.read(path)
    assert f"{path}, field 'x'" in str(caught.value) and words in str(caught.value)


def test_refuses_a_version_that_is_no_number(store):
    with pytest.raises(DataError, match="schemaversion nan"):
        pyjama.read(store([track()], version=float("nan")))


def test_a_curve_that_is_silent_throughout_is_within_every_dictionary(store):
    definition = one("breakpoint", "numeric", "valueInDictionary", [0, 127])
    (entry,) = pyjama.read(
        store([track(x=[{"value": [[None, None]], "time": [0, 1]}])], definition)
    )
    assert np.isnan(entry.first("x")).all()


# ---- Writing -----------------------------------------------------------------------------------


def example(version=1.31):
    entries = (
        Entry(
            "0007-bwv0269.wav",
            0,
            {
                "title": (Atom("Aus meines Herzens Grunde \u2014 \u00fcber"),),
                "instrument": (Atom("violin", confidence=0.5), Atom("oboe")),
                "tempo": (Atom(72.5),),
                "pitchmidi": (Atom(67.0, 0.5, 0.268), Atom(60.25, 1.0, 1e-3)),
                "beat": (Atom(1.0, 0.0), Atom(2.0, 0.1 + 0.2)),
                "f0multi": (Atom(np.array([[67.1, np.nan], [60.0, 0.0]]), np.array([0.0, 0.01])),),
                "mean": (Atom(np.array([[1.0, 2.0]]), confidence=np.array([0.5, 0.25])),),
                "mixed": (Atom((440.0, "a4"), 0.0, 1.0),),
            },
        ),
        Entry("0007-bwv0269-soprano.wav", 1, {"f0": (Atom(np.array([[67.1]]), np.array([0.25])),)}),
        Entry("empty.wav", 2),
    )
    definitions = {
        "title": Definition("title", "global", "text"),
        "instrument": Definition("instrument", "global", "text", ("oboe", "violin")),
        "tempo": Definition("tempo", "global", "numeric", (40, 208)),
        "f0multi": Definition("f0multi", "breakpoint", "numeric", None, ("soprano", "bass")),
    }
    return Collection(entries, definitions, version)


@pytest.mark.parametrize("version", [1.31, 1.41])
def test_round_trip(tmp_path, version):
    path, again = tmp_path / "a.pyjama", tmp_path / "b.pyjama"
    pyjama.write(path, example(version))
    back = pyjama.read(path)
    assert back == example(version)
    assert back.definitions["beat"] == Definition("beat", "marker", "numeric")
    pyjama.write(again, back)
    assert path.read_bytes() == again.read_bytes()
    assert ("typeExtent" in path.read_text()) == (version < 1.4)
    assert pickle.loads(pickle.dumps(back)) == back  # data-loader workers receive it so


def test_written_file_is_what_readers_of_the_format_expect(tmp_path):
    path = tmp_path / "a.pyjama"
    pyjama.write(path, example())

    def refuse(name):
        raise AssertionError(f"{name} is no JSON")

    plain = json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)
    assert plain["schemaversion"] == 1.31
    entry = plain["collection"]["entry"][0]
    assert entry["filepath"] == [{"value": "0007-bwv0269.wav"}]
    assert entry["pitchmidi"][0] == {"value": 67, "time": 0.5, "duration": 0.268}
    assert entry["f0multi"] == [{"value": [[67.1, None], [60.0, 0.0]], "time": [0.0, 0.01]}]
    assert '{"value": 67, "time": 0.5, "duration": 0.268}' in path.read_text()
    definition = plain["collection"]["descriptiondefinition"]["instrument"]
    assert definition["typeConstraint"] == "valueInDictionary"
    assert definition["dictionary"] == ["oboe", "violin"]
    definition = plain["collection"]["descriptiondefinition"]["filepath"]
    assert (definition["typeExtent"], definition["typeContent"]) == ("global", "text")
    assert all(set(e) >= {"filepath"} for e in plain["collection"]["entry"])


def test_numpy_numbers_are_written_as_numbers(tmp_path):
    fields = {
        "n": (Atom(np.int64(60), np.float64(0.5), np.float32(0.25)),),
        "t": (Atom(np.str_("a")),),
    }
    fields["m"] = (Atom(np.array([[1, 2]], dtype=np.float32), np.array([0, 1])),)
    pyjama.write(tmp_path / "a.pyjama", Collection((Entry("a", 0, fields),)))
    (entry,) = pyjama.read(tmp_path / "a.pyjama")
    assert entry.fields["n"] == (Atom(60.0, 0.5, 0.25),)
    assert entry.first("m").dtype == np.float64


@pytest.mark.parametrize(
    "entries",
    [
        [Entry("a", 0, {"x": (Atom(float("nan")),)})],
        [Entry("a", 0, {"x": (Atom(1.0, -1.0),)})],
        [Entry("a", 0, {"x": (Atom(np.zeros((1, 3)), np.arange(2.0)),)})],
        [Entry("a", 0), Entry("a", 1)],
        [Entry("a", 5)],
        [Entry("", 0)],
        [Entry("a", 0, {"x": ()})],
        [Entry("a", 0, {"x": (Atom(""),)})],
        [Entry("a", 0, {"x": (Atom(np.zeros(3), np.arange(3.0)),)})],
        [Entry("a", 0, {"x": (Atom(np.zeros((3, 2)), np.arange(3.0)),)})],
        [Entry("a", 0, {"x": (Atom("loud"), Atom(3.0)), "y": (Atom(np.array([[np.inf]])),)})],
    ],
)
def test_refuses_to_write_what_it_could_not_read_back(tmp_path, entries):
    path = tmp_path / "a.pyjama"
    pyjama.write(path, example())
    before = path.read_bytes()
    with pytest.raises(DataError, match=r"a\.pyjama"):
        pyjama.write(path, Collection(tuple(entries)))
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.pyjama"]


def test_segments_of_another_extent_are_refused():
    with pytest.raises(DataError, match="field 'f0multi', atom 0"):
        example().entries[0].segments("f0multi")


def test_atoms_compare_by_value():
    assert Atom(np.array([[np.nan]])) == Atom(np.array([[np.nan]]))
    assert Atom(np.array([[1.0]])) != Atom(np.array([[2.0]]))
    assert Atom(np.array([[1.0]])) != Atom(1.0)
    assert Atom("a", 0.0) != Atom("a", 1.0)
    assert Atom("a") != "a"
