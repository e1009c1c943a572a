"""Chord labels in Harte's syntax, and the classes that chord recognisers tell apart.

A label names a root, a shorthand or a list of degrees, and perhaps a bass: ``C``, ``F#:min7``,
``Bb:maj(9)``, ``A:(1,b3,5)``, ``G:7(*5)/b7`` (a star leaves a degree out); ``N`` is no chord and
``X`` one that cannot be named (C. Harte, M. Sandler, S. Abdallah and E. Gómez, Symbolic
representation of musical chords, ISMIR 2005). Data sets also write ``N:-`` (RWC), ``n`` and ``x``.

Conventions: pitch classes count semitones above C, intervals semitones above the root; a ninth is
14, not 2. Of the 25 classes, 0 to 11 are the major chords from C up, 12 to 23 the minor chords and
24 is no chord. A label belongs to a major or minor class if its notes up to the fifth, the bass
included, are those of the triad: sevenths and ninths do not matter, ``C:maj/3`` is major, and
``C:sus4``, ``C:dim`` or ``C:maj/2`` have no class (as mir_eval's ``majmin`` has it: C. Raffel et
al., mir_eval: a transparent implementation of common MIR metrics, ISMIR 2014).

The 170 classes of B. McFee and J. P. Bello (Structured training for large-vocabulary chord
recognition, ISMIR 2017) are 14 qualities on 12 roots, no chord, and one for all other chords. There
a chord has the quality that has exactly its notes within the octave above the root, the bass
included and what lies higher left out, as mir_eval's ``tetrads`` has it: ``C:9`` and
``C:maj(9)/b7`` are ``C:7``; ``C:5`` and ``C:maj/2`` are among the others. ``X`` and time without
annotation have no class in either: nothing is known there.
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
# names that mir_eval's syntax allows and its tables lack, written with names that they have
_OTHER_NAMES = {"aug7": "aug(b7)", "maj11": "maj9(11)"}
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
        None for ``X``, the chord that cannot be named.

    Raises
    ------
    DataError
        For a label that is not in Harte's syntax.
    """
    if label in ("N", "n", "N:-"):
        return NO_CHORD
    if label in ("X", "x"):
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
    """Return which of the 25 classes a label has, or ``IGNORED``."""
    return MAJMIN.to_class(label)


def canonical(label: str) -> str:
    """Return the same chord as mir_eval's tables can read it: ``N:-`` is ``N``, ``x`` is ``X``."""
    chord = parse(label)
    if chord is None or chord.root is None:
        return "X" if chord is None else "N"
    for name, other in _OTHER_NAMES.items():
        # its own degrees, if there are any, join those that the label adds
        label = label.replace(f":{name}(", f":{other[:-1]},").replace(f":{name}", f":{other}")
    return label


@dataclass(frozen=True)
class Vocabulary:
    """The classes of a recogniser: qualities on twelve roots, no chord, and perhaps all others.

    Class ``12 q + root`` is quality ``q``; then come no chord and, with ``others``, the chords that
    have none of the qualities.
    """

    qualities: tuple[str, ...]
    others: bool = False

    @property
    def classes(self) -> tuple[str, ...]:
        """The label of each class; that of all other chords is ``X``."""
        named = [f"{root}:{quality}" for quality in self.qualities for root in ROOTS]
        return (*named, "N", *(("X",) if self.others else ()))

    @property
    def no_chord(self) -> int:
        """The class of no chord."""
        return 12 * len(self.qualities)

    def to_class(self, label: str) -> int:
        """Return the class of a label, or ``IGNORED``; see the module."""
        chord = parse(label)
        if chord is None:
            return IGNORED
        if chord.root is None:
            return self.no_chord
        highest = 11 if self.others else 7  # semitones: all of an octave, or up to the fifth
        notes = {i for i in (*chord.intervals, chord.bass) if i <= highest}
        for number, quality in enumerate(self.qualities):
            if notes == set(SHORTHANDS[quality]):
                return 12 * number + chord.root
        return self.no_chord + 1 if self.others else IGNORED

    def transposed(self, classes: NDArray[np.int64], semitones: int) -> NDArray[np.int64]:
        """Return the classes of chords moved up; what has no root stays what it is."""
        classes = np.asarray(classes)
        moved = (classes + semitones) % 12 + 12 * (classes // 12)
        return np.where((classes >= 0) & (classes < self.no_chord), moved, classes)


MAJMIN = Vocabulary(("maj", "min"))
LARGE = Vocabulary(
    ("maj", "min", "dim", "aug", "min6", "maj6", "min7", "minmaj7", "maj7", "7", "dim7", "hdim7",
     "sus2", "sus4"),
    others=True,
)  # fmt: skip
VOCABULARIES = {"majmin": MAJMIN, "large": LARGE}


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
    """Return a degree of the major scale, with its accidentals, in semitones above the root."""
    number = int(degree.lstrip("b#"))
    octave, step = divmod(number - 1, 7)
    semitones = 12 * octave + _MAJOR_SCALE[step] + degree.count("#") - degree.count("b")
    return semitones if semitones >= 0 else semitones % 12  # b1 is 7, as mir_eval reads it


def _bad_label(label: str) -> DataError:
    return DataError(
        "chord label",
        got=repr(label),
        expected="Harte's syntax: N, X, or root[:shorthand][(degrees)][/bass], as in A:min7/b3",
        hint=f"shorthands are {', '.join(SHORTHANDS)}; a single degree goes in parentheses",
    )
