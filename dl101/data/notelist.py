"""Lists of notes as people keep them: a table of text, one note a line.

Conventions: times are in seconds, pitches are MIDI numbers (69 is A4). Without a heading the first
three columns are onset, duration and pitch; with one, columns are found by name in any order
(``onset`` or ``start``; ``duration``, or ``offset`` or ``end``; ``midi`` or ``pitch``, or ``hz`` or
``frequency``). Further columns are ignored, and so are empty lines and lines that begin with ``#``.

Read are: columns between commas, semicolons, tabs or spaces; a decimal comma where no comma stands
between columns, or in quotes; UTF-8 with or without a byte order mark, UTF-16 with one, Latin-1.
"""

from __future__ import annotations

import codecs
import csv
import re
from pathlib import Path
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from dl101.errors import DataError
from dl101.targets import checked_notes
from dl101.units import hz_to_midi

LARGEST_FILE_BYTES = 2**24
_NUMBER = re.compile(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)(e[+-]?\d+)?", re.IGNORECASE)
_WITH_DECIMAL_COMMA = re.compile(r"[+-]?\d+(,\d+)?")
# What a column holds, by a word in its name; the first that fits: "end time" is an end.
_ROLES = {
    "end": {"end", "offset", "stop"},
    "duration": {"duration", "dur", "length"},
    "onset": {"onset", "start", "begin", "time"},
    "hz": {"hz", "frequency", "freq", "f0"},
    "midi": {"midi", "pitch", "note", "pitchmidi"},
}
_OTHER_UNITS = {"ms", "msec", "milliseconds", "samples", "frames", "ticks", "beats"}
_EXPECTED = "a line onset_s,duration_s,midi for each note"


def read(
    path: Path | str,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Read a list of notes.

    Parameters
    ----------
    path
        The file: ``.csv``, ``.tsv``, ``.txt``.

    Returns
    -------
    onsets_s, durations_s, pitches_midi
        Three arrays ``(n,)``, in the order of the file, as
        :func:`dl101.evaluation.multi_pitch.from_notes` takes them.

    Raises
    ------
    DataError
        Where there is no file or no note, a value is missing or no number, columns cannot be told
        apart, a heading does not say which column is which, or
        :func:`dl101.targets.checked_notes` refuses the notes (a negative duration, pitches in Hz).
    """
    path = Path(path).expanduser()
    rows = _rows(path)
    columns = {"onset": 0, "duration": 1, "midi": 2}
    if rows and _is_heading(rows[0][1]):
        columns = _named(path, *rows.pop(0))
    if not rows:
        _fail(str(path), "no note", _EXPECTED, "write one, or leave the file out")
    table = {
        role: np.array([_value(path, line, cells, column) for line, cells in rows])
        for role, column in columns.items()
    }
    if "duration" not in table:
        table["duration"] = table["end"] - table["onset"]
    if "midi" not in table:
        table["midi"] = hz_to_midi(table["hz"])
    try:
        return checked_notes(table["onset"], table["duration"], table["midi"])
    except DataError as error:
        raise DataError(
            f"{path}, {error.what}", got=error.got, expected=error.expected, hint=error.hint
        ) from error


def _rows(path: Path) -> list[tuple[int, list[str]]]:
    """Return the cells of each line that holds any, with its number in the file."""
    lines = [
        (number, line)
        for number, line in enumerate(_text(path).splitlines(), start=1)
        if line.strip() and not line.lstrip().startswith("#")
    ]
    if not lines:
        return []
    separator = _separator(lines[-1][1])  # the first may be a heading
    if separator is None:
        return [(number, line.split()) for number, line in lines]
    rows = []
    for number, line in lines:
        try:
            (cells,) = csv.reader([line], delimiter=separator, skipinitialspace=True)
        except (csv.Error, ValueError) as error:
            _fail(f"{path}, line {number}", str(error), _EXPECTED, "save it as text, UTF-8")
        rows.append((number, [cell.strip() for cell in cells]))
    widths = {len(cells) for _, cells in rows}
    no_point = not any("." in cell or "," in cell for _, cells in rows for cell in cells)
    unclear = len(widths) > 1 or (max(widths) > 4 and not _is_heading(rows[0][1]))
    if separator == "," and no_point and unclear:
        _fail(
            str(path),
            "commas that may stand between columns or in numbers",
            _EXPECTED,
            "put semicolons or tabs between columns, or write points in numbers",
        )
    return rows


def _text(path: Path) -> str:
    try:
        size = path.stat().st_size
        content = path.read_bytes() if size <= LARGEST_FILE_BYTES else b""
    except (OSError, ValueError) as error:
        got = getattr(error, "strerror", None) or str(error)
        _fail(str(path), got, "a list of notes", "check the path")
    if size > LARGEST_FILE_BYTES:
        got = f"a file of {size} bytes"
        _fail(str(path), got, f"a list of notes, at most {LARGEST_FILE_BYTES}", "check the path")
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return content.decode("utf-16", errors="replace")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("latin-1")


def _separator(line: str) -> str | None:
    """Return what stands between the columns of a line, None for spaces."""
    cells = line.split()
    if len(cells) >= 3 and all(_WITH_DECIMAL_COMMA.fullmatch(cell) for cell in cells[:3]):
        return None
    return next((separator for separator in "\t;," if separator in line), None)


def _is_heading(cells: list[str]) -> bool:
    return not all(_NUMBER.fullmatch(cell) for cell in cells[:3])


def _named(path: Path, line: int, heading: list[str]) -> dict[str, int]:
    """Return the column of each role that a heading names."""
    columns: dict[str, int] = {}
    for column, name in enumerate(heading):
        words = set(re.findall(r"[a-z]+\d?", name.lower()))
        role = next((role for role, known in _ROLES.items() if words & known), None)
        if role is None or role in columns:
            continue
        if words & _OTHER_UNITS:
            got = f"the column {name!r}"
            _fail(f"{path}, line {line}", got, "times in seconds", "convert the column")
        columns[role] = column
    if not all(set(columns) & one for one in ({"onset"}, {"duration", "end"}, {"midi", "hz"})):
        _fail(
            f"{path}, line {line}",
            f"the columns {heading}",
            "names with onset (or start), duration (or end) and midi (or hz) in them",
            "name the columns onset_s,duration_s,midi, or put them in this order without names",
        )
    return columns


def _value(path: Path, line: int, cells: list[str], column: int) -> float:
    cell = cells[column] if column < len(cells) else ""
    if not _NUMBER.fullmatch(cell):
        got = f"{cell!r} in column {column + 1}" if cell else f"no value in column {column + 1}"
        _fail(f"{path}, line {line}", got, f"a number ({_EXPECTED})", "correct the line")
    return float(cell.replace(",", "."))


def _fail(what: str, got: str, expected: str, hint: str) -> NoReturn:
    raise DataError(what, got=got, expected=expected, hint=hint)
