"""Labels mean what Harte's syntax says, and have the class that mir_eval would score them as."""

from __future__ import annotations

import mir_eval
import numpy as np
import pytest

from dl101.data import harte
from dl101.data.harte import (
    CLASSES,
    IGNORED,
    LARGE,
    MAJMIN,
    HarteChord,
    canonical,
    parse,
    to_class,
)
from dl101.errors import DataError

BASSES = ("", "/3", "/b3", "/5", "/b7", "/7", "/2", "/9", "/4", "/#5", "/b5", "/6", "/b9", "/11")
EXTRAS = ("", "(9)", "(b9)", "(2)", "(4)", "(11)", "(*5)", "(*3)", "(*3,4)", "(b5)", "(b6)", "(13)",
          "(#11,13)")  # fmt: skip
LISTS = tuple(
    "C:(1,3,5) E:(3,5) A:(b3,5,b7) F:(1,5) Bb:(1,b3,b5) Cb:(3,5)/3 G:(3)/6 B# Fb:min C##:maj7 "
    "Gbb:min/b3 A/3 A/b7 D:(1,b3,5,9) N X".split()
)


def oracle(label: str) -> int:
    """Return the one class that mir_eval's majmin takes a label for, or IGNORED."""
    scores = mir_eval.chord.majmin([label] * 25, list(CLASSES))
    if np.all(scores == -1):
        return IGNORED
    assert scores.sum() == 1
    return int(scores.argmax())


def test_classes_are_those_of_mir_eval():
    known = [name for name in harte.SHORTHANDS if name in mir_eval.chord.QUALITIES]
    assert len(known) == 24  # all but aug7 and maj11, which its syntax allows and its tables lack
    compared = [f"E:{name}{extra}{bass}" for name in known for extra in EXTRAS for bass in BASSES]
    compared += [f"{root}:{name}" for root in harte.ROOTS for name in known]
    compared += LISTS
    wrong = {x: (to_class(x), oracle(x)) for x in compared if to_class(x) != oracle(x)}
    assert not wrong
    found = [to_class(label) for label in compared]
    assert {IGNORED, *range(25)} == set(found) and 0.2 < np.mean(np.array(found) < 0) < 0.9


def test_roots_notes_and_bass_are_those_of_mir_eval():
    for label in LISTS[:-3] + tuple(f"Ab:{name}{bass}" for name in ("7", "min", "hdim7", "sus4")
                                    for bass in BASSES):  # fmt: skip
        root, bitmap, bass = mir_eval.chord.encode(label)
        chord = parse(label)
        assert (chord.root, chord.bass) == (root, bass), label
        assert set(chord.pitch_classes) == {(root + i) % 12 for i in np.flatnonzero(bitmap)}, label


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ("C", HarteChord(0, (0, 4, 7))),
        ("F#:min7/b3", HarteChord(6, (0, 3, 7, 10), 3)),
        ("Bb:9", HarteChord(10, (0, 4, 7, 10, 14))),
        ("G:7(*5)/b7", HarteChord(7, (0, 4, 10), 10)),
        ("A:(1,b3,#5)", HarteChord(9, (0, 3, 8))),
        ("D:maj/2", HarteChord(2, (0, 2, 4, 7), 2)),
        ("Db:maj(#11)", HarteChord(1, (0, 4, 7, 18))),
        ("E:aug7", HarteChord(4, (0, 4, 8, 10))),
        ("N", HarteChord(None)),
        ("X", None),
    ],
)
def test_labels_read_as_written(label, expected):
    assert parse(label) == expected


@pytest.mark.parametrize(
    ("label", "expected"),
    [("C:maj", 0), ("B", 11), ("C:min9", 12), ("B:min/5", 23), ("N", 24), ("X", IGNORED),
     ("G:sus4", IGNORED), ("G:dim", IGNORED), ("G:7/3", 7), ("G:5", IGNORED)],
)  # fmt: skip
def test_some_classes(label, expected):
    assert to_class(label) == expected
    if expected >= 0:
        assert to_class(CLASSES[expected]) == expected


@pytest.mark.parametrize(
    "label", ["", "H", "C:", "C:major", "C:maj(", "C:maj()", "C(9)", "C:maj/14", "C/", "c", "N:maj",
              "C:maj/0", "Cb#", "C:maj "]
)  # fmt: skip
def test_what_is_no_label_is_refused(label):
    with pytest.raises(DataError, match="Harte"):
        parse(label)


def test_frames_take_the_class_of_their_segment():
    times = np.array([0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0])
    frames = harte.class_frames([0.5, 1.5, 2.0], [1.0, 0.5, 0.5], ["A:min", "X", "D:7"], times)
    assert frames.tolist() == [24, 21, 21, IGNORED, 2, 24, 24]


# ---- other spellings, and 170 classes ----


def large_oracle(label: str) -> int:
    """Return the quality that has exactly the notes that mir_eval reads in a label."""
    root, bitmap, _ = mir_eval.chord.encode(label)
    if label in ("N", "X"):
        return 168 if label == "N" else IGNORED
    for number, name in enumerate(LARGE.qualities):
        if np.array_equal(bitmap, mir_eval.chord.QUALITIES[name]):
            return 12 * number + root
    return 169


def test_170_classes_are_those_of_mir_eval():
    assert len(LARGE.classes) == 170 == len(set(LARGE.classes))
    assert LARGE.classes[168:] == ("N", "X") and CLASSES == MAJMIN.classes
    degrees = [f"{sign}{n}" for sign in ("", "b", "#", "bb") for n in range(1, 14)]
    compared = [f"E:{name}{extra}{bass}" for name in harte.SHORTHANDS for extra in EXTRAS
                for bass in BASSES[:7]]  # fmt: skip
    compared += [f"D:7({star}{degree})" for degree in degrees for star in ("", "*")]
    compared += [f"D:min/{degree}" for degree in degrees] + [f"F:({d},5)/3" for d in degrees]
    compared += [*LISTS, *LARGE.classes[:-1]]
    wrong = {x for x in compared if LARGE.to_class(x) != large_oracle(canonical(x))}
    wrong |= {x for x in compared if to_class(x) != oracle(canonical(x))}
    assert not wrong
    assert {LARGE.to_class(x) for x in compared} > {IGNORED, *range(170)} - set(range(24, 168))
    assert [LARGE.to_class(label) for label in LARGE.classes[:169]] == list(range(169))


@pytest.mark.parametrize(
    ("label", "of_25", "of_170", "written"),
    [
        ("N:-", 24, 168, "N"),
        ("n", 24, 168, "N"),
        ("x", IGNORED, IGNORED, "X"),
        ("C:maj(9)/b7", 0, LARGE.classes.index("C:7"), "C:maj(9)/b7"),
        ("Db:hdim7", IGNORED, LARGE.classes.index("Db:hdim7"), "Db:hdim7"),
        ("G:5", IGNORED, 169, "G:5"),
        ("G:1", IGNORED, 169, "G:1"),
        ("A:sus4", IGNORED, LARGE.classes.index("A:sus4"), "A:sus4"),
        ("C:maj/2", IGNORED, 169, "C:maj/2"),
        ("E:aug7(9)/3", IGNORED, 169, "E:aug(b7,9)/3"),
        ("F:maj11", 5, LARGE.classes.index("F:maj7"), "F:maj9(11)"),
    ],
)
def test_each_spelling_has_its_answer(label, of_25, of_170, written):
    assert (MAJMIN.to_class(label), LARGE.to_class(label)) == (of_25, of_170)
    assert canonical(label) == written
    mir_eval.chord.encode(written)  # which raises what it cannot read


@pytest.mark.parametrize("vocabulary", [MAJMIN, LARGE])
@pytest.mark.parametrize("semitones", [-5, 0, 1, 6, 12])
def test_transposed_classes_are_those_of_transposed_labels(vocabulary, semitones):
    numbers = np.array([IGNORED, *range(len(vocabulary.classes))])
    moved = vocabulary.transposed(numbers, semitones)
    for number, other in zip(numbers, moved, strict=True):
        label = vocabulary.classes[number] if number >= 0 else "X"
        chord = parse(label)
        if chord is None or chord.root is None:
            assert other == number
        else:
            root = harte.ROOTS[(chord.root + semitones) % 12]
            assert vocabulary.classes[other] == f"{root}:{label.split(':')[1]}"
