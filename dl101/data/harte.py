"""Chord labels in Harte's syntax, and the 25 classes that most chord recognisers tell apart.

A label names a root, a shorthand or a list of degrees, and perhaps a bass: ``C``, ``F#:min7``,
``Bb:maj(9)``, ``A:(1,b3,5)``, ``G:7(*5)/b7`` (a star leaves a degree out); ``N`` is no chord and
``X`` one that cannot be named (C. Harte, M. Sandler, S. Abdallah and E. Gómez, Symbolic
representation of musical chords, ISMIR 2005).

Conventions: pitch classes count semitones above C, intervals semitones above the root; a ninth is
14, not 2. Of the 25 classes, 0 to 11 are the major chords from C up, 12 to 23 the minor chords and
24 is no chord. A label belongs to a major or minor class if its notes up to the fifth, the bass
included, are those of the triad: sevenths and ninths do not matter, ``C:maj/3`` is major, and
``C:sus4``, ``C:dim`` or ``C:maj/2`` have no class (as mir_eval's ``majmin`` has it: C. Raffel et
al., mir_eval: a transparent implementation of common MIR metrics, ISMIR 2014).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from dl101.errors import DataError

ROOTS = ("C", "Db", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")
CLASSES = (*(f"{root}:maj" for root in ROOTS), *(f"{root}:min" for root in ROOTS), "N")
NO_CHORD_CLASS = 24
IGNORED = -1  # a label without a class: left out of training and of scores

SHORTHANDS = {
    "maj": (0, 4, 7),
    "min": (0, 3, 7),
    "dim": (0, 3, 6),
    "aug": (0, 4, 8),
    "sus2": (0, 2, 7),
    "sus4": (0, 5, 7),
    "maj6": (0, 4, 7, 9),
    "min6": (0, 3, 7, 9),
    "7": (0, 4, 7, 10),
    "maj7": (0, 4, 7, 11),
    "min7": (0, 3, 7, 10),
    "minmaj7": (0, 3, 7, 11),
    "dim7": (0, 3, 6, 9),
    "hdim7": (0, 3, 6, 10),
    "aug7": (0, 4, 8, 10),
    "9": (0, 4, 7, 10, 14),
    "maj9": (0, 4, 7, 11, 14),
    "min9": (0, 3, 7, 10, 14),
    "11": (0, 4, 7, 10, 14, 17),
    "maj11": (0, 4, 7, 11, 14, 17),
    "min11": (0, 3, 7, 10, 14, 17),
    "13": (0, 4, 7, 10, 14, 17, 21),
    "maj13": (0, 4, 7, 11, 14, 17, 21),
    "min13": (0, 3, 7, 10, 14, 17, 21),
    "1": (0,),
    "5": (0, 7),
}
_MAJOR_SCALE = (0, 2, 4, 5, 7, 9, 11)
_NATURALS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
_DEGREE = r"(?:b*|#*)(?:1[0-3]|[1-9])"
_LABEL = re.compile(
    r"(?P<root>[A-G](?:b*|#*))"
    rf"(?::(?P<shorthand>[a-z]*\d*)(?:\((?P<degrees>\*?{_DEGREE}(?:,\*?{_DEGREE})*)\))?)?"
    rf"(?:/(?P<bass>{_DEGREE}))?"
)


@dataclass(frozen=True)
class HarteChord:
    """A chord as its label says it.

    ``root`` is a pitch class, None for no chord; ``intervals`` are semitones above the root, in
    order, with the bass if it is none of them; ``bass`` is the bass's (0 to 11).
    """

    root: int | None
    intervals: tuple[int, ...] = ()
    bass: int = 0

    @property
    def pitch_classes(self) -> tuple[int, ...]:
        """The pitch classes, in order."""
        if self.root is None:
            return ()
        return tuple(sorted({(self.root + interval) % 12 for interval in self.intervals}))


NO_CHORD = HarteChord(None)


@lru_cache(maxsize=4096)
def parse(label: str) -> HarteChord | None:
    """Read a label.

    Returns
    -------
    HarteChord or None
        None for ``X``.

    Raises
    ------
    DataError
        For a label that is not in Harte's syntax.
    """
    if label == "N":
        return NO_CHORD
    if label == "X":
        return None
    match = _LABEL.fullmatch(label)
    if not match:
        raise _bad_label(label)
    name, degrees = match["shorthand"], match["degrees"]
    if name is None:
        name = "maj"
    elif (not name and not degrees) or (name and name not in SHORTHANDS):
        raise _bad_label(label)
    intervals = set(SHORTHANDS[name]) if name else {0}
    for degree in degrees.split(",") if degrees else ():
        if degree.startswith("*"):
            intervals.discard(_semitones(degree[1:]))
        else:
            intervals.add(_semitones(degree))
    bass = _semitones(match["bass"]) % 12 if match["bass"] else 0
    if bass not in {interval % 12 for interval in intervals}:
        intervals.add(bass)
    root = match["root"]
    pitch_class = (_NATURALS[root[0]] + root.count("#") - root[1:].count("b")) % 12
    return HarteChord(pitch_class, tuple(sorted(intervals)), bass)


def to_class(label: str) -> int:
    """Return the class of a label, 0 to 24, or ``IGNORED``."""
    chord = parse(label)
    if chord is None:
        return IGNORED
    if chord.root is None:
        return NO_CHORD_CLASS
    # A bass such as /9 is a note of its own below the chord, whatever its octave was called.
    core = {interval for interval in (*chord.intervals, chord.bass) if interval <= 7}
    if core == {0, 4, 7}:
        return chord.root
    return 12 + chord.root if core == {0, 3, 7} else IGNORED


def class_frames(
    onsets_s: Iterable[float],
    durations_s: Iterable[float],
    labels: Iterable[str],
    times_s: NDArray[np.float64],
) -> NDArray[np.int64]:
    """Return the class of the chord that holds at each time, shape (times,).

    Times that no segment covers have no chord; a segment holds from its onset up to its end, which
    is not its own.
    """
    times_s = np.asarray(times_s, dtype=float)
    classes = np.full(times_s.shape, NO_CHORD_CLASS)
    for onset, duration, label in zip(onsets_s, durations_s, labels, strict=True):
        classes[(times_s >= onset) & (times_s < onset + duration)] = to_class(label)
    return classes


def _semitones(degree: str) -> int:
    """Return a degree of the major scale, with its accidentals, in semitones."""
    number = int(degree.lstrip("b#"))
    octave, step = divmod(number - 1, 7)
    return 12 * octave + _MAJOR_SCALE[step] + degree.count("#") - degree.count("b")


def _bad_label(label: str) -> DataError:
    return DataError(
        "chord label",
        got=repr(label),
        expected="Harte's syntax: N, X, or root[:shorthand][(degrees)][/bass], as in A:min7/b3",
        hint=f"shorthands are {', '.join(SHORTHANDS)}; a single degree goes in parentheses",
    )
