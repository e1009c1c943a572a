"""Annotations of a whole dataset in one ``.pyjama`` file: read, validate, write.

A .pyjama file is JSON. Its ``collection`` holds one *entry* per track; an entry maps the name of a
*field* (``title``, ``pitchmidi``, ...) to a list of *atoms*. What an atom says about time is the
*extent* of its field:

- ``global``: a ``value`` for the whole track (a title, a tempo);
- ``marker``: a ``value`` at a ``time`` (a beat);
- ``segment``: a ``value`` from ``time`` on, for ``duration`` (a note, a chord);
- ``breakpoint``: a matrix of values (rows, frames) and the ``time`` of each frame (f0 curves).

Conventions: times and durations are in seconds, pitches are MIDI numbers (69 is A4), and ``null``
in a matrix of numbers means *unvoiced* and is read as NaN. Numbers are float64.

Files in circulation differ, and all of these are read: keys spelt ``typeExtent`` (version 1.31 and
before) or ``type_extent`` (1.4 and later); definitions that are partial or missing (extent and
content are then inferred from the atoms); matrices stored (frames, rows), told apart by the number
of times; times shared by the matrices of an entry; several labels in one atom (each becomes an atom
of its own); fillers such as ``{"value": ""}``, which stand for a missing value and are dropped.
Comments and frequency bounds of atoms are not kept.

Beside ``collection`` and ``schemaversion`` a file may state ``audioidentity``: the identity of the
HDF5 file that it was made for (:attr:`dl101.data.audiostore.AudioStoreWriter.identity`), by which
:mod:`dl101.data.pair` finds the audio and the annotations of two different datasets out.
"""

from __future__ import annotations

import gc
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from math import inf
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from dl101.data.cache import existing, replacing
from dl101.errors import DataError

PUBLISHED_VERSION = 1.31
EXTENTS = ("global", "marker", "segment", "breakpoint")
CONTENTS = ("text", "numeric")


@dataclass(frozen=True)
class Definition:
    """What a field holds.

    Attributes
    ----------
    name
        Name of the field.
    extent
        ``"global"``, ``"marker"``, ``"segment"``, ``"breakpoint"``, or None where no atom tells.
    content
        ``"text"``, ``"numeric"``, or None where no atom tells.
    dictionary
        The values allowed: the labels of a text field, (lowest, highest) of a numeric one; None
        where every value is allowed.
    rows
        Names of the rows of a matrix (the voices of ``f0multi``), or empty.
    """

    name: str
    extent: str | None = None
    content: str | None = None
    dictionary: tuple | None = None
    rows: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False, slots=True)
class Atom:
    """One value of a field, with its place in time.

    Attributes
    ----------
    value
        Text, a number, or a matrix (rows, frames); a tuple where one label mixes text and numbers.
    time
        Seconds: None (global), a number (marker, segment) or (frames,) (breakpoint).
    duration
        Seconds (segment), or None.
    confidence
        How sure the annotator was: a number, one number per frame, or None.
    """

    value: str | float | tuple | NDArray[np.float64]
    time: float | NDArray[np.float64] | None = None
    duration: float | None = None
    confidence: float | NDArray[np.float64] | None = None

    __hash__ = None

    def __eq__(self, other: object) -> bool:
        """Compare by value; two unvoiced frames (NaN) are equal."""
        if not isinstance(other, Atom):
            return NotImplemented
        return (
            _same(self.value, other.value)
            and _same(self.time, other.time)
            and _same(self.duration, other.duration)
            and _same(self.confidence, other.confidence)
        )


@dataclass(frozen=True)
class Entry:
    """The annotations of one track.

    Attributes
    ----------
    filepath
        Name of the track: its key in the HDF5 file.
    index
        Position in the collection, from 0.
    fields
        Atoms by name of field. A field that the file leaves empty is not there.
    """

    filepath: str
    index: int
    fields: Mapping[str, tuple[Atom, ...]] = field(default_factory=dict)

    __hash__ = None

    def first(self, name: str) -> Any:
        """Return the value of the first atom of a field, or None where there is none."""
        atoms = self.fields.get(name)
        return atoms[0].value if atoms else None

    def values(self, name: str) -> list:
        """Return the values of all atoms of a field (an empty list where there is none)."""
        return [atom.value for atom in self.fields.get(name, ())]

    def segments(self, name: str) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray]:
        """Return the segments of a field as arrays.

        Returns
        -------
        onsets_s, durations_s, values
            Three arrays (segments,), in the order of the file: seconds, seconds, and numbers (MIDI
            numbers for ``pitchmidi``) or text. Empty where the entry has no such field.

        Raises
        ------
        DataError
            Where an atom of the field is not a segment.
        """
        atoms = self.fields.get(name, ())
        for number, atom in enumerate(atoms):
            if atom.time is None or atom.duration is None:
                raise DataError(
                    f"entry {self.index} ({self.filepath}), field {name!r}, atom {number}",
                    got="an atom without time and duration",
                    expected="a segment",
                    hint="use `fields` for fields of another extent",
                )
        return (
            np.array([atom.time for atom in atoms], dtype=np.float64),
            np.array([atom.duration for atom in atoms], dtype=np.float64),
            np.array([atom.value for atom in atoms]),
        )


@dataclass(frozen=True)
class Collection:
    """All entries of a file, and what their fields hold.

    Definitions that are missing or partial are completed from the atoms when a collection is made.

    Attributes
    ----------
    entries
        The tracks, in the order of the file.
    definitions
        What each field holds, by name. ``filepath`` is not among them: it is the entry's name.
    schema_version
        Version of the format: 1.31 as published with the datasets of 2024, or later.
    audio_identity
        Identity of the HDF5 file that the annotations were made for, or None where it is not known.
    """

    entries: tuple[Entry, ...]
    definitions: Mapping[str, Definition] = field(default_factory=dict)
    schema_version: float = PUBLISHED_VERSION
    audio_identity: str | None = None

    __hash__ = None

    def __post_init__(self) -> None:
        """Complete the definitions from the first atom of each field."""
        complete = dict(self.definitions)
        unsettled = {n for n, known in complete.items() if not (known.extent and known.content)}
        for entry in self.entries:
            for name, atoms in entry.fields.items():
                if atoms and (name in unsettled or name not in complete):
                    complete[name] = _completed(complete.get(name, Definition(name)), atoms[0])
                    unsettled.discard(name)
        object.__setattr__(self, "entries", tuple(self.entries))
        object.__setattr__(self, "definitions", complete)

    def __len__(self) -> int:
        """Return the number of entries."""
        return len(self.entries)

    def __iter__(self) -> Iterator[Entry]:
        """Iterate over the entries."""
        return iter(self.entries)


def read(path: Path | str) -> Collection:
    """Read and validate a .pyjama file.

    Parameters
    ----------
    path
        The file, JSON in UTF-8.

    Returns
    -------
    Collection
        Its entries, with definitions completed from the atoms.

    Raises
    ------
    DataError
        Where the file is malformed, naming the file, the entry and the field: no JSON, no
        collection, no or twice the same ``filepath``, a time or duration that is negative or not a
        number, times that do not increase or do not match the frames of their matrix, a value of
        another type than declared or not in the dictionary.
    """
    path = existing(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(
            str(path), got=error.strerror, expected="a .pyjama file", hint="check the path"
        ) from error
    # Half a million small objects and no cycle: the collector would walk them for nothing.
    collecting = gc.isenabled()
    gc.disable()
    try:
        return _collection(_json(content, path), path)
    finally:
        if collecting:
            gc.enable()


def write(path: Path | str, collection: Collection, *, in_place: bool = False) -> None:
    """Write a collection; equal collections in the same order give the same bytes.

    The file takes its place only once it is complete and valid, and :func:`read` gives back an
    equal collection. Unvoiced frames (NaN) are written as ``null``, and a field that is defined and
    that an entry does not have as an empty list: readers of 2024 look up every field.

    Parameters
    ----------
    path
        The file to write or replace.
    collection
        What to write.
    in_place
        Whether ``path`` is a temporary file that the caller puts in its place.

    Raises
    ------
    DataError
        Where :func:`read` would refuse the file or return something else. Nothing is written then.
    """
    path = Path(path)
    _require_same(_collection(_plain(collection), path), collection, path)
    texts = (_entry_text(entry, collection.definitions) for entry in collection.entries)
    write_dumped(
        path,
        collection.definitions,
        texts,
        schema_version=collection.schema_version,
        audio_identity=collection.audio_identity,
        in_place=in_place,
    )


def dump_entry(entry: Entry, definitions: Mapping[str, Definition], *, where: object = "") -> str:
    """Return the JSON text of one entry, for :func:`write_dumped`.

    This is how a collection that does not fit into memory is written: entry by entry, by several
    processes if need be.

    Raises
    ------
    DataError
        Where :func:`read` would refuse the entry or return something else.
    """
    single = Collection((replace(entry, index=0),), _used(definitions, entry))
    _require_same(_collection(_plain(single), Path(str(where))), single, where)
    return _entry_text(entry, definitions)


def write_dumped(
    path: Path | str,
    definitions: Mapping[str, Definition],
    texts: Iterable[str],
    *,
    schema_version: float = PUBLISHED_VERSION,
    audio_identity: str | None = None,
    in_place: bool = False,
) -> None:
    """Write a collection from the texts of its entries, holding one in memory at a time.

    The names of the entries must differ from each other; this is not checked here.
    """
    plain = _plain_definitions(definitions, schema_version)
    with (
        nullcontext(Path(path)) if in_place else replacing(path) as temporary,
        temporary.open("w", encoding="utf-8", newline="\n") as out,
    ):
        out.write('{"collection": {\n"descriptiondefinition": {\n ')
        out.write(",\n ".join(f"{_text(n)}: {_text(d)}" for n, d in plain.items()))
        out.write('},\n"entry": [')
        for number, text in enumerate(texts):
            out.write(",\n" if number else "\n")
            out.write(text)
        stated = {"schemaversion": schema_version, **_plain_identity(audio_identity)}
        out.write(
            "]},\n" + ",\n".join(f"{_text(n)}: {_text(v)}" for n, v in stated.items()) + "}\n"
        )


def _used(definitions: Mapping[str, Definition], entry: Entry) -> dict[str, Definition]:
    return {name: known for name, known in definitions.items() if name in entry.fields}


def _plain_definitions(definitions: Mapping[str, Definition], schema_version: float) -> dict:
    named = {"filepath": Definition("filepath", "global", "text"), **definitions}
    return {n: _plain_definition(d, schema_version < 1.4) for n, d in named.items()}


def _plain_identity(audio_identity: str | None) -> dict[str, str]:
    return {} if audio_identity is None else {"audioidentity": audio_identity}


def _plain_entry(entry: Entry, definitions: Mapping[str, Definition]) -> dict[str, list[dict]]:
    plain = {"filepath": [{"value": entry.filepath}]}
    for name, atoms in entry.fields.items():
        plain[name] = [_plain_atom(atom) for atom in atoms]
    # As published: what an entry does not have is empty, not missing.
    return plain | {name: [] for name in definitions if name not in plain}


def _entry_text(entry: Entry, definitions: Mapping[str, Definition]) -> str:
    fields = (
        f"{_text(name)}: {_text([_nested(atom) for atom in atoms])}"
        for name, atoms in _plain_entry(entry, definitions).items()
    )
    return "{" + ",\n ".join(fields) + "}"


def _plain(collection: Collection) -> dict:
    version = collection.schema_version
    return {
        "collection": {
            "descriptiondefinition": _plain_definitions(collection.definitions, version),
            "entry": [_plain_entry(e, collection.definitions) for e in collection.entries],
        },
        "schemaversion": version,
        **_plain_identity(collection.audio_identity),
    }


def _require_same(again: Collection, collection: Collection, where: object) -> None:
    """Refuse to write what would not be read back as it is."""
    if again != collection:
        different = [str(a.index) for a, b in zip(again, collection, strict=True) if a != b]
        raise DataError(
            f"{where}, entry {', '.join(different)}" if different else f"{where}, definitions",
            got="something that would not be read back as it is",
            expected="2-D matrices, fields without empty values, entries numbered from 0",
            hint="compare it with what `read` returns for such a file",
        )


# ---- From JSON to records ----------------------------------------------------------------------


class _Place:
    """Where the reader stands, so that an error can name the file, the entry and the field."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.entry: int | None = None
        self.name: str | None = None
        self.atom: int | None = None

    def fail(self, got: object, expected: object, hint: str) -> NoReturn:
        what = str(self.path)
        if self.entry is not None:
            what += f", entry {self.entry}"
        if self.name is not None:
            what += f", field {self.name!r}"
        if self.atom is not None:
            what += f", atom {self.atom}"
        raise DataError(what, got=got, expected=expected, hint=hint)


class _Rules:
    """A definition, prepared for checking many atoms."""

    def __init__(self, definition: Definition, place: _Place) -> None:
        self.extent, self.content = definition.extent, definition.content
        self.labels: frozenset | None = None
        self.limits: tuple[float, float] | None = None
        dictionary = definition.dictionary
        if dictionary is None:
            return
        numbers = all(_is_number(value) for value in dictionary)
        texts = all(type(value) is str for value in dictionary)
        if texts and self.content != "numeric":
            self.labels = frozenset(dictionary)
        elif numbers and len(dictionary) == 2 and self.content != "text":
            self.limits = dictionary
        else:
            place.fail(
                f"the dictionary {_short(dictionary)} for content {self.content}",
                "a list of labels (text) or [lowest, highest] (numeric)",
                "correct the definition",
            )

    def check_text(self, value: str, place: _Place) -> None:
        if self.content == "numeric":
            place.fail(f"the text {value!r}", "a number, as declared", "correct one of the two")
        if self.labels is not None and value not in self.labels:
            place.fail(
                repr(value),
                f"a value of the dictionary {_short(sorted(self.labels))}",
                "correct the value or add it to the definition's dictionary",
            )

    def check_number(self, value: float, place: _Place) -> None:
        if self.content == "text":
            place.fail(f"the number {value!r}", "text, as declared", "correct one of the two")
        if not -inf < value < inf:
            place.fail(repr(value), "a finite number", "correct the value")
        if self.limits is not None and not self.limits[0] <= value <= self.limits[1]:
            place.fail(
                repr(value),
                f"a value of the dictionary, {self.limits[0]} to {self.limits[1]}",
                "correct the value or widen the definition's dictionary",
            )


def _json(content: bytes, path: Path) -> object:
    try:
        return json.loads(content)
    except json.JSONDecodeError as error:
        what = f"{path}, line {error.lineno}, column {error.colno}"
        got = error.msg if content.strip() else "an empty file"
    except UnicodeDecodeError as error:
        what, got = f"{path}, byte {error.start}", "bytes that are not UTF-8"
    except (RecursionError, ValueError) as error:  # nested too deep, a number of 5000 digits
        what, got = str(path), str(error)
    raise DataError(
        what, got=got, expected="JSON", hint="fetch the file again or correct it at this place"
    )


def _collection(plain: object, path: Path) -> Collection:
    place = _Place(path)
    collection = plain.get("collection") if isinstance(plain, dict) else None
    if not isinstance(collection, dict):
        got = f"the keys {sorted(plain)}" if isinstance(plain, dict) else _kind(plain)
        place.fail(got, "an object with the key 'collection'", "check that this is a .pyjama file")
    if not isinstance(collection.get("entry"), list):
        got = f"a collection with the keys {sorted(collection)}"
        place.fail(got, "the key 'entry' with a list", "add one entry per track")
    version = plain.get("schemaversion", PUBLISHED_VERSION)
    if not _is_number(version):
        place.fail(f"schemaversion {version!r}", "a number", f"write {PUBLISHED_VERSION}")
    identity = plain.get("audioidentity")
    if not isinstance(identity, str | None):
        hint = "leave 'audioidentity' out if the audio's is not known"
        place.fail(f"audioidentity {_short(identity)}", "text", hint)
    declared = collection.get("descriptiondefinition")
    if not isinstance(declared, dict):
        declared = {}
    definitions, rules, time_fields = {}, {}, set()
    for name, raw in declared.items():
        place.name = name
        definition = _definition(name, raw, place)
        if definition is None:
            time_fields.add(name)
        elif name != "filepath":
            definitions[name] = definition
            rules[name] = _Rules(definition, place)
    first_use: dict[str, int] = {}
    entries = []
    for index, raw in enumerate(collection["entry"]):
        place.entry = index
        try:
            entry = _entry(raw, index, rules, time_fields, place)
        except OverflowError:
            place.fail("a number of more than 300 digits", "a float64", "correct the number")
        if first_use.setdefault(entry.filepath, index) != index:
            place.name = "filepath"
            place.fail(
                f"{entry.filepath!r} again (first in entry {first_use[entry.filepath]})",
                "a name of its own for each entry",
                "rename or remove one of the two entries",
            )
        entries.append(entry)
    return Collection(tuple(entries), definitions, version, identity)


def _definition(name: str, raw: object, place: _Place) -> Definition | None:
    """Return a definition, as far as the file gives it; None for a field of shared times."""
    if not isinstance(raw, dict):
        return Definition(name)
    known = {key.lower().replace("_", ""): value for key, value in raw.items()}
    extent, content = _word(known.get("typeextent")), _word(known.get("typecontent"))
    if extent == "breakpointtime":
        return None
    if extent == "breakpointvalue":
        extent = "breakpoint"
    for word, allowed in ((extent, EXTENTS), (content, CONTENTS)):
        if word is not None and word not in allowed:
            place.fail(f"{word!r} in the definition", f"one of {allowed}", "correct the spelling")
    dictionary, rows = known.get("dictionary"), known.get("rowname") or known.get("columnname")
    constrained = _word(known.get("typeconstraint")) in (None, "valueindictionary")
    if not (isinstance(dictionary, list) and dictionary and constrained):
        dictionary = None
    return Definition(
        name,
        extent,
        content,
        None if dictionary is None else tuple(dictionary),
        tuple(map(str, rows)) if isinstance(rows, list) else (),
    )


def _word(value: object) -> str | None:
    """Return a keyword in one spelling; None where it is missing or left out ("...")."""
    if not isinstance(value, str):
        return None
    return value.lower().replace("_", "").strip(" .\u2026") or None


def _entry(
    raw: object, index: int, rules: dict[str, _Rules], time_fields: set[str], place: _Place
) -> Entry:
    place.name = place.atom = None
    if not isinstance(raw, dict):
        place.fail(_kind(raw), "an object of fields", "write one object per track")
    place.name = "filepath"
    try:
        filepath = raw["filepath"][0]["value"]
    except (KeyError, IndexError, TypeError):
        place.fail(
            f"an entry with the fields {_short(sorted(raw))}",
            'the track\'s name, as [{"value": "name.wav"}]',
            "add the track's key in the HDF5 file",
        )
    if not isinstance(filepath, str) or not filepath:
        place.fail(repr(filepath), "the track's name as text", "write its key in the HDF5 file")
    shared_time = None
    fields = {}
    for name, atoms in raw.items():
        place.name = name
        if name == "filepath":
            continue
        if not isinstance(atoms, list):
            place.fail(_kind(atoms), "a list of atoms", "put the atom into a list")
        if name in time_fields:
            shared_time = atoms[0].get("value") if atoms and isinstance(atoms[0], dict) else None
        elif name == "time" and atoms and type(atoms[0]) is not dict:
            shared_time = atoms  # printed listings put the times of a matrix beside its field
        else:
            fields[name] = atoms
    parsed = {}
    for name, atoms in fields.items():
        place.name = name
        if name not in rules:
            rules[name] = _Rules(Definition(name), place)
        records = _atoms(atoms, rules[name], shared_time, place)
        if records:
            parsed[name] = records
    return Entry(filepath, index, parsed)


def _atoms(raws: list, rules: _Rules, shared_time: object, place: _Place) -> tuple[Atom, ...]:
    if len(raws) == 2 and [list(raw) for raw in raws if type(raw) is dict] == [["value"], ["time"]]:
        raws = [{**raws[0], **raws[1]}]  # printed listings put the times in an atom of their own
    atoms: list[Atom] = []
    for number, raw in enumerate(raws):
        place.atom = number
        if type(raw) is not dict:
            place.fail(_kind(raw), "an object with the key 'value'", 'write {"value": ...}')
        value = raw.get("value")
        kind = type(value)
        if kind is str or kind is float or kind is int:
            if kind is str and not value and len(raw) == 1:
                continue  # a filler
            atoms.append(_scalar_atom(value, raw, rules, place))
        elif kind is list or kind is tuple or kind is np.ndarray:
            atoms.extend(_list_atoms(value, raw, rules, shared_time, place))
        elif kind is not type(None) or len(raw) != 1 or "value" not in raw:
            place.fail(
                _kind(value) if "value" in raw else f"an atom with the keys {sorted(raw)}",
                "the key 'value' with text, a number or a matrix",
                "correct the value or leave the atom out",
            )
    place.atom = None
    return tuple(atoms)


def _scalar_atom(value: str | float, raw: dict, rules: _Rules, place: _Place) -> Atom:
    if type(value) is str:
        rules.check_text(value, place)
    else:
        value = float(value)
        rules.check_number(value, place)
    time, duration, confidence = raw.get("time"), raw.get("duration"), raw.get("confidence")
    if time is not None:
        time = _seconds(time, "time", place)
    if duration is not None:
        duration = _seconds(duration, "duration", place)
    if confidence is not None:
        confidence = _number(confidence, "confidence", place)
    extent = rules.extent
    if extent == "breakpoint":
        place.fail(
            f"the single value {value!r}",
            "a matrix (rows, frames), as declared by the extent 'breakpoint'",
            "write the values as a list of rows",
        )
    if time is None and (extent == "segment" or extent == "marker" or duration is not None):
        place.fail("no time", f"a time for a {extent or 'segment'}", "add the time in seconds")
    if duration is None and extent == "segment":
        place.fail("no duration", "a duration for a segment", "add the duration in seconds")
    return Atom(value, time, duration, confidence)


def _list_atoms(
    value: list | tuple | NDArray, raw: dict, rules: _Rules, shared_time: object, place: _Place
) -> list[Atom]:
    if type(value) is tuple or (
        type(value) is list
        and {type(v) is str for v in value} == {True, False}
        and all(type(v) in (str, int, float) for v in value)
    ):  # one label made of text and numbers
        proxy = _scalar_atom("", raw, _unchecked(rules), place)
        if not all(type(v) is str or _is_number(v) for v in value):
            place.fail(f"the label {_short(value)}", "text and finite numbers", "correct the label")
        mixed = tuple(v if type(v) is str else float(v) for v in value)
        return [Atom(mixed, proxy.time, proxy.duration, proxy.confidence)]
    matrix = _array(value, "value", place)
    if matrix.dtype.kind == "U":
        return _labels(np.atleast_2d(np.asarray(value, dtype=object)), raw, rules, place)
    if matrix.ndim == 1:
        matrix = matrix[np.newaxis]
    if rules.extent in ("marker", "segment") or (
        rules.extent is None and isinstance(raw.get("duration"), list)
    ):
        return _labels(matrix, raw, rules, place)
    return [_matrix_atom(matrix, raw, rules, shared_time, place)]


def _labels(values: NDArray, raw: dict, rules: _Rules, place: _Place) -> list[Atom]:
    """Return one atom for each of several values that a file keeps in one atom."""
    if values.ndim != 2 or values.shape[0] != 1:
        place.fail(f"a table of shape {values.shape}", "one row of values", "use an atom per value")
    row = values[0].tolist()
    for value in row:
        if type(value) not in (str, int, float):
            place.fail(
                f"{_kind(value)} among the values",
                "text or numbers",
                "leave out the value, its time and its duration",
            )
    columns = {}
    for key in ("time", "duration", "confidence"):
        column = raw.get(key)
        if isinstance(column, list) and len(column) not in (1, len(row)):
            got = f"{len(row)} values and {len(column)} of {key!r}"
            place.fail(got, "as many of both", "use an atom per value")
        if column is not None:
            shared = not isinstance(column, list) or len(column) == 1
            columns[key] = [column] * len(row) if shared else column
    return [
        _scalar_atom(value, {key: column[i] for key, column in columns.items()}, rules, place)
        for i, value in enumerate(row)
    ]


def _matrix_atom(
    matrix: NDArray, raw: dict, rules: _Rules, shared_time: object, place: _Place
) -> Atom:
    matrix = _floats(matrix, "value", place)
    if matrix.ndim != 2 or matrix.size == 0:
        place.fail(f"an array of shape {matrix.shape}", "a matrix (rows, frames)", "reshape it")
    if np.isinf(matrix).any():
        place.fail("an infinite value", "numbers, or null for unvoiced frames", "write null")
    voiced = matrix[~np.isnan(matrix)]
    if rules.limits is not None and voiced.size:
        for extreme in (voiced.min(), voiced.max()):
            rules.check_number(float(extreme), place)
    time = raw.get("time")
    time = shared_time if time is None else time
    if time is None:
        if rules.extent == "breakpoint":
            place.fail("a matrix without times", "the time of each frame", "add the key 'time'")
    else:
        time = _floats(np.atleast_1d(_array(time, "time", place)), "time", place)
        if time.ndim == 2 and 1 in time.shape:
            time = time.reshape(-1)
        if time.ndim != 1 or len(time) not in matrix.shape:
            place.fail(
                f"a matrix of shape {matrix.shape} and times of shape {time.shape}",
                "as many frames as times",
                "cut the longer of the two or annotate again",
            )
        if matrix.shape[1] != len(time):
            matrix = np.ascontiguousarray(matrix.T)  # files before October 2024: (frames, rows)
        if not np.isfinite(time).all() or time[0] < 0:
            bad = time[~(time >= 0)]
            place.fail(f"the time {bad[0] if len(bad) else inf}", "seconds from 0", "correct it")
        steps = np.diff(time)
        if not (steps > 0).all():
            frame = int(np.argmax(steps <= 0)) + 1
            place.fail(
                f"the time {time[frame]} of frame {frame} after {time[frame - 1]}",
                "times that increase",
                "sort the frames and remove repeated ones",
            )
    confidence = raw.get("confidence")
    if isinstance(confidence, list | np.ndarray):
        confidence = _floats(_array(confidence, "confidence", place), "confidence", place)
        if np.isinf(confidence).any():
            place.fail("an infinite confidence", "numbers, or null", "correct the confidence")
    elif confidence is not None:
        confidence = _number(confidence, "confidence", place)
    return Atom(matrix, time, None, confidence)


def _array(value: object, key: str, place: _Place) -> NDArray:
    try:
        return np.asarray(value)
    except ValueError:
        place.fail(f"{key!r} with rows of different lengths", "equal rows", "complete the rows")


def _floats(array: NDArray, key: str, place: _Place) -> NDArray[np.float64]:
    """Return numbers as a read-only float64 array; null becomes NaN."""
    if array.dtype.kind == "O" and all(v is None or type(v) in (int, float) for v in array.flat):
        array = array.astype(np.float64)
    if array.dtype.kind not in "iuf":
        place.fail(f"{key!r} with something else than numbers", "numbers", f"correct {key!r}")
    array = array.astype(np.float64)  # always a copy: a record must not change under its owner
    array.setflags(write=False)
    return array


def _number(value: object, key: str, place: _Place) -> float:
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if not _is_number(value):
        place.fail(f"{key} {_short(value)}", "a finite number", f"correct the {key}")
    return float(value)


def _seconds(value: object, key: str, place: _Place) -> float:
    if type(value) is not float:
        value = _number(value, key, place)
    if not 0 <= value < inf:
        place.fail(f"{key} {value!r}", "seconds, 0 or more", f"correct the {key}")
    return value


def _unchecked(rules: _Rules) -> _Rules:
    """Return rules that keep the extent and allow every value."""
    return _Rules(Definition("", rules.extent), _Place(Path()))


def _completed(definition: Definition, atom: Atom) -> Definition:
    """Return a definition whose unknown extent and content are those of an atom."""
    extent = definition.extent
    if extent is None:
        if atom.duration is not None:
            extent = "segment"
        elif isinstance(atom.time, np.ndarray):
            extent = "breakpoint"
        else:
            extent = "global" if atom.time is None else "marker"
    content = definition.content
    if content is None:
        content = "text" if isinstance(atom.value, str | tuple) else "numeric"
    return Definition(definition.name, extent, content, definition.dictionary, definition.rows)


# ---- From records to JSON ----------------------------------------------------------------------


def _plain_definition(definition: Definition, camel_case: bool) -> dict:
    constraint = ("free", "free") if definition.dictionary is None else _IN_DICTIONARY
    column = 0 if camel_case else 1
    plain = {
        ("typeContent", "type_content")[column]: definition.content,
        ("typeExtent", "type_extent")[column]: definition.extent,
        ("typeConstraint", "type_constraint")[column]: constraint[column],
        "dictionary": list(definition.dictionary or ()),
        ("columnName", "row_name")[column]: list(definition.rows),
    }
    return {key: value for key, value in plain.items() if value is not None}


_IN_DICTIONARY = ("valueInDictionary", "value_in_dictionary")


def _plain_atom(atom: Atom) -> dict:
    plain = {}
    for key in ("value", "time", "duration", "confidence"):
        part = getattr(atom, key)
        if isinstance(part, np.generic):
            part = part.item()
        if key == "value" and type(part) is float and part.is_integer() and abs(part) < 2**53:
            part = int(part)  # 67, as published, rather than 67.0
        if part is not None or key == "value":
            plain[key] = part
    return plain


def _nested(atom: dict) -> dict:
    """Return an atom whose arrays are lists, with None for NaN."""
    return {k: _rows(v) if isinstance(v, np.ndarray) else v for k, v in atom.items()}


def _rows(array: NDArray) -> list:
    unvoiced = np.isnan(array)
    if unvoiced.any():
        array = array.astype(object)
        array[unvoiced] = None
    return array.tolist()


def _text(value: object) -> str:
    return json.dumps(value, allow_nan=False)


# ---- Helpers -----------------------------------------------------------------------------------


def _same(left: object, right: object) -> bool:
    if isinstance(left, np.ndarray) or isinstance(right, np.ndarray):
        return (
            isinstance(left, np.ndarray)
            and isinstance(right, np.ndarray)
            and np.array_equal(left, right, equal_nan=left.dtype.kind == "f")
        )
    return left == right


def _is_number(value: object) -> bool:
    """Return whether a value is a finite number (true is none)."""
    return type(value) in (int, float) and -inf < value < inf


def _kind(value: object) -> str:
    names = {dict: "an object", list: "a list", str: "text", bool: "true or false"}
    names |= {int: "a number", float: "a number", type(None): "null"}
    return names.get(type(value), type(value).__name__)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:200]}..."
