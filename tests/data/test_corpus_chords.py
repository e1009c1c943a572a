"""The annotated chords of ``chords`` are what is heard, and its splits share nothing."""

from __future__ import annotations

import itertools
from functools import cache

import librosa
import numpy as np
import pytest

from dl101.data import harte
from dl101.data.embedded import renderer, soundbank
from dl101.data.embedded.corpora import chorales, chords
from dl101.data.embedded.harmony import NO_CHORD, Chord, ChordSpan
from dl101.data.embedded.performer import TimeMap
from dl101.data.embedded.recipe import track_split

pytestmark = pytest.mark.slow

RATE, HOP = renderer.SAMPLE_RATE, 1024
N_PLANNED = chords.RECIPE.default_tracks


@pytest.fixture(scope="module")
def plans():
    return [chords.plan(index) for index in range(N_PLANNED)]


@pytest.fixture(scope="module")
def items():
    return [chords.render(index, seed=0)[0] for index in range(10)]


@cache
def chroma(item) -> np.ndarray:
    """Return the strength of each pitch class, shape (12, frames), from a constant-Q transform."""
    tuning = item.fields["tuning-cents"][0].value / 100
    return librosa.feature.chroma_cqt(y=item.values, sr=RATE, hop_length=HOP, tuning=tuning)


def triads() -> np.ndarray:
    rows = np.zeros((24, 12))
    for label, row in zip(harte.CLASSES[:24], rows, strict=True):
        row[list(harte.parse(label).pitch_classes)] = 3**-0.5
    return rows


def recognised(item, shift_s: float = 0.0, steps: int = 0) -> tuple[float, float]:
    """Return for how long the nearest triad is the annotated one, and of how long, in seconds."""
    found = chroma(item)
    right = total = 0.0
    for atom in item.fields["chord"]:
        label = harte.to_class(atom.value)
        first = int((atom.time + 0.05 + shift_s) * RATE / HOP)
        last = int((atom.time + atom.duration + shift_s) * RATE / HOP)
        if 0 <= label < 24 and atom.duration > 0.4 and 0 <= first < last <= found.shape[1]:
            nearest = int((triads() @ found[:, first:last].mean(axis=1)).argmax())
            expected = (label + steps) % 12 + 12 * (label // 12)
            right += atom.duration * (nearest == expected)
            total += atom.duration
    return right, total


def test_the_annotated_chord_is_the_one_that_is_heard(items):
    right, total = np.sum([recognised(item) for item in items], axis=0)
    assert right / total > 0.7  # chance is 1 in 24; sevenths, passing notes and drums confuse
    moved, total = np.sum([recognised(item, steps=5) for item in items], axis=0)
    assert moved / total < 0.15
    for shift_s in (-0.6, 0.6):  # and it is annotated when it is heard
        late, total = np.sum([recognised(item, shift_s=shift_s) for item in items], axis=0)
        assert late / total < 0.85 * right / total


def test_notes_of_the_chord_are_louder_than_others(items):
    inside = []
    for item in items:
        found = chroma(item)
        for atom in item.fields["chord"]:
            notes = list(harte.parse(atom.value).pitch_classes)
            first, last = (np.array([atom.time, atom.time + atom.duration]) * RATE / HOP).astype(
                int
            )
            if notes and last - first > 8:
                mean = found[:, first:last].mean(axis=1)
                inside.append(mean[notes].mean() > np.delete(mean, notes).mean())
    assert np.mean(inside) > 0.97


def test_the_bass_of_the_annotation_is_played(plans):
    heard = total = 0
    for planned in plans:
        low = planned.written.get("bass")
        if low is None or planned.piece.style == "chorale":
            continue
        for atom in planned.chords:
            chord = harte.parse(atom.value)
            if chord.root is None:
                continue
            there = np.abs(low.onsets_s - atom.time) < 1e-3
            total += 1
            heard += np.any(low.pitches_midi[there] % 12 == (chord.root + chord.bass) % 12)
    assert total > 200 and heard / total > 0.97


def test_chords_cover_every_track_without_gaps(plans):
    for planned in plans:
        begins = [atom.time for atom in planned.chords]
        ends = [atom.time + atom.duration for atom in planned.chords]
        np.testing.assert_allclose([0.0, *ends], [*begins, chords.DURATION_S], atol=3e-6)
        assert all(a.value != b.value for a, b in itertools.pairwise(planned.chords))
        assert planned.chords[0].value == "N"  # the music begins a little later


def test_all_kinds_of_chords_occur(plans):
    seconds: dict[int, float] = {}
    labels = []
    for atom in itertools.chain.from_iterable(planned.chords for planned in plans):
        found = harte.to_class(atom.value)
        seconds[found] = seconds.get(found, 0.0) + atom.duration
        labels.append(atom.value)
    total = sum(seconds.values())
    assert set(seconds) == {harte.IGNORED, *range(25)}
    assert all(0.005 < seconds[k] / total < 0.12 for k in range(24))  # no key is preferred
    assert 0.05 < seconds[harte.NO_CHORD_CLASS] / total < 0.2
    assert seconds[harte.IGNORED] / total < 0.1
    assert np.mean(["/" in label for label in labels]) > 0.1
    assert np.mean([label.endswith("7") or "7/" in label for label in labels]) > 0.1


def test_melodies_of_chorales_fit_the_chords_that_a_band_plays(plans):
    introductions = []
    for planned in plans:
        if not planned.piece.work.startswith("chorale") or "drums" not in planned.written:
            continue
        notes, spans = planned.piece.lines["melody"], planned.piece.chords
        fits = []
        for onset, pitch in zip(notes.onsets_quarters, notes.pitches_midi, strict=True):
            if onset == round(onset):
                chord = next(s.chord for s in spans if s.end_quarters > onset + 1e-9)
                fits.append(pitch % 12 in chord.pitch_classes)
        assert np.mean(fits) > 0.75, planned.piece.title
        introductions.append(spans[0].chord == NO_CHORD and spans[0].duration_quarters >= 3)
    assert len(introductions) >= 10 and 3 <= sum(introductions) < len(introductions)


def test_held_notes_are_held_where_they_are_written(plans):
    longer = []
    for index, planned in enumerate(plans):
        piece = planned.piece
        if piece.style != "chorale":  # a band keeps time
            continue
        split, number = track_split(index)
        pieces = chorales.playlist(split, 0)
        chorale = pieces[number // 2 % len(pieces)]
        assert piece.title == chorale.title
        begin = chorale.duration_quarters - piece.chords[-1].end_quarters
        slowness = np.diff(piece.tempo.seconds) / np.median(np.diff(piece.tempo.seconds))
        held = np.zeros(slowness.size, dtype=bool)
        for first, last in chorale.fermatas_quarters - begin:
            held |= (piece.tempo.quarters[:-1] >= first) & (piece.tempo.quarters[:-1] < last)
        longer.append(slowness[held].mean() - slowness[~held].mean())
    assert len(longer) >= 20 and min(longer) > 0.02 and np.mean(longer) > 0.1


def test_no_chord_is_silence_or_drums(plans):
    within, after = 0, 0
    for planned in plans:
        names = [atom.value for atom in planned.chords]
        within += "N" in names[1:-1]
        after += names[-1] == "N"
        for role, notes in planned.written.items():
            for atom in planned.chords:
                if atom.value == "N" and role not in ("drums", "melody"):
                    ends_s = notes.onsets_s + notes.durations_s
                    inside = (notes.onsets_s < atom.time + atom.duration - 0.01) & (
                        ends_s > atom.time + 0.01
                    )
                    assert not inside.any(), (planned.piece.title, role)
    assert within >= 5 and after >= 5


def test_half_of_every_side_is_real_music_and_no_work_is_on_two(plans):
    works: dict[str, set[str]] = {}
    real: dict[str, list[bool]] = {}
    for index, planned in enumerate(plans):
        assert planned.split == track_split(index)[0]
        works.setdefault(planned.piece.work, set()).add(planned.split)
        real.setdefault(planned.split, []).append(planned.piece.work.startswith("chorale"))
    assert all(len(sides) == 1 for sides in works.values())
    assert all(np.mean(found) >= 0.5 for found in real.values())
    for planned in plans:
        if planned.piece.work.startswith("chorale"):
            tune = planned.piece.work.removeprefix("chorale: ")
            assert chorales.tune_splits()[tune] == planned.split


def test_the_test_side_has_its_own_players_and_everyone_can_play(plans):
    for planned in plans:
        heard = "test" if planned.split == "test" else "training"
        for role, notes in planned.written.items():
            name = planned.artist.players[role]
            assert name in soundbank.instrument_names(heard)
            if role != "drums":
                low, high = soundbank.instrument_range(name)
                outside = (notes.pitches_midi < low - 3) | (notes.pitches_midi > high + 3)
                assert outside.mean() < 0.25, (name, role)


def test_the_same_track_has_the_same_bytes_and_another_seed_other_ones(items):
    again = chords.render(4, seed=0)[0]
    assert np.array_equal(again.values, items[4].values) and again.fields == items[4].fields
    other = chords.render(4, seed=1)[0]
    assert not np.array_equal(other.values, items[4].values)
    assert items[4].key == "00004-train.wav"
    assert set(items[4].fields) <= set(chords.RECIPE.definitions)
    assert items[4].values.dtype == np.float32
    assert items[4].values.shape == (round(chords.DURATION_S * RATE),)


def test_chords_in_seconds():
    spans = [
        ChordSpan(0, 2, Chord(0)),
        ChordSpan(2, 2, Chord(7, "7", 10)),
        ChordSpan(4, 4, Chord(5)),
    ]
    tempo = TimeMap(np.array([0.0, 4.0, 8.0]), np.array([0.0, 2.0, 6.0]))
    atoms = chords.chord_atoms(spans, tempo, 0.5, 4.0)
    assert [(a.time, a.duration, a.value) for a in atoms] == [
        (0.0, 0.5, "N"), (0.5, 1.0, "C:maj"), (1.5, 1.0, "G:7/b7"), (2.5, 1.5, "F:maj")
    ]  # fmt: skip
    atoms = chords.chord_atoms(spans, tempo, 0.5, 10.0)
    assert [(a.time, a.duration, a.value) for a in atoms][-1] == (6.5, 3.5, "N")
