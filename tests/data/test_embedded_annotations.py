"""Atoms are what the fields' definitions say, and labels can be made to cover a track."""

from __future__ import annotations

import numpy as np

from dl101.data.embedded.annotations import covering_atoms, f0_atom, labels


def covered(spans, duration_s=4.0):
    onsets, durations, names = zip(*spans, strict=True) if spans else ((), (), ())
    atoms = covering_atoms(onsets, durations, names, duration_s=duration_s, filler="N")
    return [(atom.value, atom.time, round(atom.time + atom.duration, 6)) for atom in atoms]


def test_gaps_are_filled_and_ends_cut():
    assert covered([(0.5, 1.0, "C:maj"), (2.0, 5.0, "G:7")]) == [
        ("N", 0.0, 0.5),
        ("C:maj", 0.5, 1.5),
        ("N", 1.5, 2.0),
        ("G:7", 2.0, 4.0),
    ]
    assert covered([]) == [("N", 0.0, 4.0)]


def test_neighbours_join_and_slivers_go_to_their_neighbour():
    assert covered([(0.02, 1.0, "A:min"), (1.02, 2.0, "A:min"), (3.99, 0.01, "D:maj")]) == [
        ("A:min", 0.0, 3.02),
        ("N", 3.02, 4.0),
    ]


def test_labels_take_lists_and_round_numbers():
    fields = labels(work_id="x", tag=["a", "b"], tempo=100.123, instrument=[])
    assert set(fields) == {"work-id", "tag", "tempo"}
    assert [atom.value for atom in fields["tag"]] == ["a", "b"]
    assert fields["tempo"][0].value == 100.12


def test_curves_are_rounded_to_a_tenth_of_a_cent_every_10_ms():
    atom = f0_atom([[60.00049, np.nan, 61.0]])
    np.testing.assert_array_equal(atom.value, [[60.0, np.nan, 61.0]])
    np.testing.assert_allclose(atom.time, [0.0, 0.01, 0.02])
