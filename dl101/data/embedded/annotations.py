"""The fields of the embedded corpora, and how their atoms are made.

Conventions: seconds are rounded to the microsecond, f0 to a tenth of a cent, so that files stay
small and are the same on every machine.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import ArrayLike

from dl101.data.embedded.renderer import F0_HOP_S, Notes
from dl101.data.pyjama import Atom, Definition
from dl101.data.splits import SIDES

_FIELDS = {
    # what it is
    "title": ("global", "text"),
    "work": ("global", "text"),
    "work-id": ("global", "text"),
    "performance-id": ("global", "text"),
    "bwv": ("global", "text"),
    "artist": ("global", "text"),
    "split": ("global", "text"),
    "role": ("global", "text"),
    # labels of a whole track
    "tag": ("global", "text"),
    "genre": ("global", "text"),
    "rhythm": ("global", "text"),
    "instrument": ("global", "text"),
    "accompaniment": ("global", "text"),
    "family": ("global", "text"),
    "style": ("global", "text"),
    "key": ("global", "text"),
    "meter": ("global", "text"),
    "velocity": ("global", "numeric"),
    "tempo": ("global", "numeric"),
    # how it was made
    "tuning-cents": ("global", "numeric"),
    "room": ("global", "text"),
    # in time
    "beat": ("marker", "numeric"),
    "chord": ("segment", "text"),
    "phoneme": ("segment", "text"),
    "pitchmidi": ("segment", "numeric"),
    "f0": ("breakpoint", "numeric"),
    "f0multi": ("breakpoint", "numeric"),
}
_DICTIONARIES = {"split": SIDES}
DEFINITIONS = {
    name: Definition(name, extent, content, _DICTIONARIES.get(name))
    for name, (extent, content) in _FIELDS.items()
}

Atoms = tuple[Atom, ...]


def labels(**values: str | float | Sequence) -> dict[str, Atoms]:
    """Return fields that hold for a whole track; ``work_id="x"`` gives the field ``work-id``.

    A list or tuple gives several atoms; numbers are rounded to two decimals.
    """
    fields = {}
    for name, value in values.items():
        several = value if isinstance(value, list | tuple) else [value]
        if several:
            fields[name.replace("_", "-")] = tuple(
                Atom(item if isinstance(item, str) else round(float(item), 2)) for item in several
            )
    return fields


def note_atoms(voices: Iterable[Notes]) -> Atoms:
    """Return the notes of all voices as segments, by onset: written pitch, onset, duration."""
    atoms = [
        Atom(float(pitch), round(float(onset), 6), round(float(duration), 6))
        for notes in voices
        for onset, duration, pitch in zip(
            notes.onsets_s, notes.durations_s, notes.pitches_midi, strict=True
        )
    ]
    return tuple(sorted(atoms, key=lambda atom: (atom.time, atom.value)))


def segment_atoms(
    onsets_s: ArrayLike, durations_s: ArrayLike, values: Iterable[str | float]
) -> Atoms:
    """Return labelled stretches of time, for example chords."""
    return tuple(
        Atom(value, round(float(onset), 6), round(float(duration), 6))
        for onset, duration, value in zip(
            np.asarray(onsets_s), np.asarray(durations_s), values, strict=True
        )
    )


def covering_atoms(
    onsets_s: ArrayLike,
    durations_s: ArrayLike,
    values: Iterable[str],
    *,
    duration_s: float,
    filler: str,
    shortest_s: float = 0.05,
) -> Atoms:
    """Return labelled stretches that cover a whole track, from 0 to ``duration_s``.

    ``filler`` stands where there is none; neighbours with one label become one, and what would be
    shorter than ``shortest_s`` is given to its neighbour.
    """
    spans: list[tuple[float, float, str]] = []

    def add(begin: float, end: float, value: str) -> None:
        if end <= begin:
            return
        if spans and (spans[-1][2] == value or end - begin < shortest_s):
            spans[-1] = (spans[-1][0], end, spans[-1][2])
        elif spans and spans[-1][1] - spans[-1][0] < shortest_s:
            spans[-1] = (spans[-1][0], end, value)
        else:
            spans.append((begin, end, value))

    at = 0.0
    for onset, duration, value in zip(onsets_s, durations_s, values, strict=True):
        begin, end = max(float(onset), at), min(float(onset) + float(duration), duration_s)
        add(at, min(begin, duration_s), filler)
        add(begin, end, value)
        at = max(at, end, min(begin, duration_s))
    add(at, duration_s, filler)
    begins, ends, names = zip(*spans, strict=True)
    return segment_atoms(begins, np.subtract(ends, begins), names)


def marker_atoms(times_s: ArrayLike, values: Iterable[float]) -> Atoms:
    """Return labelled instants, for example beats with their place in the bar (1: downbeat)."""
    return tuple(
        Atom(float(value), round(float(time), 6))
        for time, value in zip(np.asarray(times_s), values, strict=True)
    )


def f0_atom(curves: Sequence[ArrayLike]) -> Atom:
    """Return f0 curves of equal length, one row each: MIDI every 10 ms, NaN where silent."""
    matrix = np.round(np.stack([np.asarray(curve) for curve in curves]), 3)
    return Atom(matrix, np.round(np.arange(matrix.shape[1]) * F0_HOP_S, 6))
