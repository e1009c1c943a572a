"""What the arranger writes fits: chords, bass, drums and melodies agree with each other."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from dl101.data.embedded import arranger, soundbank
from dl101.data.embedded.arranger import STYLES, compose
from dl101.data.embedded.harmony import Chord, ChordSpan, read_progression, scale_pitch_classes
from dl101.data.embedded.lines import Line, line_from_notes, swing
from dl101.data.embedded.melodies import compose_melody, suggested_scale
from dl101.data.embedded.styles import DRUMS
from dl101.errors import ConfigError

NAMES = sorted(STYLES)
SIGNS = {"drums": set("Xxo."), "bass": set("Rr835wa.-"), "comping": set("Xxosdu012345bf.-")}


def song(name: str, seed: int = 0, n_bars: int = 12, **options) -> arranger.Song:
    return compose(name, n_bars, np.random.default_rng([seed, NAMES.index(name)]), **options)


def chord_at(chords, quarter: float) -> Chord:
    return next(s.chord for s in chords if s.end_quarters > quarter + 1e-6)


def unswung(style, onset: float) -> float:
    """Return where a note would be without swing, to look its chord up."""
    unit, ratio = style.swing_quarters, style.swing
    whole, within = divmod(onset / unit + 1e-9, 1.0)
    within = within * 0.5 / ratio if within < ratio else 1.0 - (1.0 - within) * 0.5 / (1.0 - ratio)
    return (whole + within) * unit


def test_there_are_many_styles_whose_tempos_overlap():
    asked = set(
        "rock pop-ballad blues jazz-swing bossa reggae funk electronic country celtic waltz march "
        "classical ragtime ambient hip-hop".split()
    )
    assert asked <= set(STYLES)
    for style in STYLES.values():
        low, high = style.tempo_bpm
        assert 1.2 < high / low < 2.5, style.name
    # The five six-beat families of dances cannot be told apart by their tempo alone.
    assert all(
        max(STYLES[a].tempo_bpm[0], STYLES[b].tempo_bpm[0])
        < min(STYLES[a].tempo_bpm[1], STYLES[b].tempo_bpm[1])
        for a, b in (("reel", "jig"), ("jig", "slip-jig"), ("jig", "march"), ("waltz", "hornpipe"))
    )


@pytest.mark.parametrize("name", NAMES)
def test_patterns_fill_whole_bars_with_known_signs(name):
    style = STYLES[name]
    bar = style.beats_per_bar * style.steps_per_beat
    for pattern in (*style.bass, *style.comping):
        assert len(pattern) % bar == 0, pattern
    assert all(set(pattern) <= SIGNS["bass"] for pattern in style.bass)
    assert all(set(pattern) <= SIGNS["comping"] for pattern in style.comping)
    for rows in (*style.drums, *style.fills):
        assert set(rows) <= set(DRUMS.values())
        assert all(len(row) % bar == 0 and set(row) <= SIGNS["drums"] for row in rows.values())
    assert set(style.pools) == {"comping", "pad", "bass", "melody"}
    classes = {soundbank.instrument_class(name) for name in soundbank.instrument_names()}
    for role, pool in style.pools.items():
        assert set(pool) <= classes, (role, set(pool) - classes)
        for heard in ("training", "test"):
            assert any(soundbank.instrument_names(heard, instrument_class=c) for c in pool), role


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_lines_agree_with_the_chords(name, seed):
    style = STYLES[name]
    written = song(name, seed, no_chord=0.5)
    assert written.n_quarters == 12 * style.bar_quarters
    edges = [0.0, *(s.end_quarters for s in written.chords)]
    assert np.allclose(edges[:-1], [s.onset_quarters for s in written.chords])
    assert edges[-1] == pytest.approx(written.n_quarters)
    for role, line in written.lines.items():
        assert np.all(np.diff(line.onsets_quarters) >= 0)
        assert np.all((line.onsets_quarters >= 0) & (line.onsets_quarters < written.n_quarters))
        assert np.all(line.durations_quarters > 0)
        assert np.all((line.velocities > 0) & (line.velocities <= 1))
        if role == "drums":
            assert set(line.pitches_midi) <= set(DRUMS.values())
            continue
        ends = line.onsets_quarters + line.durations_quarters
        assert ends.max() <= written.n_quarters + 1e-6
        for onset, end, pitch in zip(line.onsets_quarters, ends, line.pitches_midi, strict=True):
            chord = chord_at(written.chords, unswung(style, onset - 1e-3) + 2e-3)
            assert chord.root is not None, (role, onset)  # where there is no chord, nothing sounds
            if role in ("comping", "pad"):
                assert pitch % 12 in chord.pitch_classes, (role, onset, chord.label, pitch)
                last = chord_at(written.chords, unswung(style, end) - 0.01)
                assert last == chord, (role, onset, end)  # and no note hangs over a change
    low, high = arranger.MELODY_RANGE
    melody = written.lines["melody"]
    assert melody.pitches_midi.size >= 6
    assert low <= melody.pitches_midi.min() <= melody.pitches_midi.max() <= high
    ends = melody.onsets_quarters + melody.durations_quarters
    assert np.all(ends[:-1] <= melody.onsets_quarters[1:] + 1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_the_bass_plays_the_chords_bass_where_it_begins(name):
    written = song(name, 4, no_chord=0.5)
    line = written.lines["bass"]
    for span in written.chords:
        if span.chord.root is None:
            continue
        there = np.flatnonzero(np.abs(line.onsets_quarters - span.onset_quarters) < 1e-6)
        assert there.size == 1, (name, span)
        assert line.pitches_midi[there[0]] % 12 == span.chord.bass_pitch_class
    ends = line.onsets_quarters + line.durations_quarters
    assert np.all(ends[:-1] <= line.onsets_quarters[1:] + 1e-9)
    low, high = arranger.BASS_RANGE
    assert low <= line.pitches_midi.min() and line.pitches_midi.max() <= high + 5
    # Elsewhere too most of what the bass plays belongs to the chord.
    inside = [
        pitch % 12 in chord_at(written.chords, unswung(STYLES[name], onset)).pitch_classes
        for onset, pitch in zip(line.onsets_quarters, line.pitches_midi, strict=True)
    ]
    assert np.mean(inside) >= 0.7


@pytest.mark.parametrize("name", NAMES)
def test_melodies_take_chord_notes_on_strong_beats_and_breathe(name):
    style = STYLES[name]
    strong, leaps, rests = [], [], 0
    for seed in range(4):
        written = song(name, seed, 16, no_chord=0.0)
        melody, bar = written.lines["melody"], style.bar_quarters
        for onset, pitch in zip(melody.onsets_quarters, melody.pitches_midi, strict=True):
            if abs(onset % bar) < 1e-6:
                chord = chord_at(written.chords, onset)
                strong.append(pitch % 12 in chord.pitch_classes)
        leaps.extend(np.abs(np.diff(melody.pitches_midi)))
        ends = melody.onsets_quarters + melody.durations_quarters
        gaps = np.append(melody.onsets_quarters[1:], written.n_quarters) - ends
        rests += np.sum(gaps >= 0.4 * style.beat_quarters)
    assert np.mean(strong) > 0.95
    assert np.mean(np.array(leaps) <= 5) > 0.75 and max(leaps) <= 12
    assert rests >= 4 * 3


def test_motifs_return():
    contrasts = []
    for name, seed in itertools.product(("rock", "waltz", "jig"), range(5)):
        written = song(name, seed, 16, no_chord=0.0)
        melody, bar = written.lines["melody"], STYLES[name].bar_quarters
        number = np.floor(melody.onsets_quarters / bar + 1e-9)
        rhythms = [
            tuple(np.round(melody.onsets_quarters[number == b] - b * bar, 3)) for b in range(16)
        ]
        assert rhythms[0] == rhythms[1] == rhythms[4] == rhythms[5]
        contrasts.append(rhythms[0] != rhythms[8])
    assert np.mean(contrasts) > 0.6  # the third phrase has motifs of its own


def test_voices_move_as_little_as_they_can():
    chords = [s.chord for s in read_progression("I | vi | IV | V7 | I", 0, 4.0)]
    shapes = arranger.voicings(chords, arranger.COMPING_RANGE)
    for chord, shape in zip(chords, shapes, strict=True):
        assert {pitch % 12 for pitch in shape} == set(chord.pitch_classes)
        assert arranger.COMPING_RANGE[0] <= min(shape) <= max(shape) <= arranger.COMPING_RANGE[1]
    # From C to A minor two notes stay and one moves by a tone: nothing is nearer.
    low, high = sorted(set(shapes[0]) ^ set(shapes[1]))
    assert high - low == 2
    moved = [np.abs(np.subtract(*pair)).max() for pair in itertools.pairwise(shapes[:3])]
    assert max(moved) <= 2
    for name in ("jazz-swing", "pop", "classical"):
        chords = [span.chord for span in song(name, 1, 32).chords]
        shapes = arranger.voicings(chords, arranger.COMPING_RANGE)
        lowest = [min(shape) for shape in shapes]
        rooted = [53 + (chord.root - 53) % 12 for chord in chords]
        assert np.abs(np.diff(lowest)).mean() < 0.6 * np.abs(np.diff(rooted)).mean()
        assert np.ptp(lowest) > 2


def test_swing_moves_the_middle_and_keeps_the_beats():
    line = line_from_notes([(0.0, 0.5, 60, 0.5), (0.5, 0.5, 60, 0.5), (1.0, 1.0, 60, 0.5),
                            (2.25, 0.25, 60, 0.5)])  # fmt: skip
    swung = swing(line, 2 / 3)
    np.testing.assert_allclose(swung.onsets_quarters, [0, 2 / 3, 1, 2 + 1 / 3])
    np.testing.assert_allclose(swung.durations_quarters, [2 / 3, 1 / 3, 1, 1 / 3])
    np.testing.assert_allclose(swing(line, 0.6, 0.5).onsets_quarters, [0, 0.5, 1, 2.3])
    assert swing(line, 0.5) is line


def test_an_upbeat_is_left_alone_and_gaps_are_silent():
    chords = [ChordSpan(0.5, 4.0, Chord(0)), ChordSpan(8.5, 4.0, Chord(7, "7", 10))]
    lines = arranger.accompany(
        chords, STYLES["rock"], 14.0, np.random.default_rng(1), begin_quarters=0.5
    )
    assert min(line.onsets_quarters.min() for line in lines.values()) == 0.5
    for role in ("bass", "comping", "pad"):
        onsets = lines[role].onsets_quarters
        ends = onsets + lines[role].durations_quarters
        inside = (onsets >= 0.5 - 1e-9) & (ends <= 4.5 + 0.01) | (onsets >= 8.49) & (ends <= 12.51)
        assert inside.all(), role
    assert lines["drums"].onsets_quarters.max() > 12.5
    bass = lines["bass"]
    assert bass.pitches_midi[np.searchsorted(bass.onsets_quarters, 8.5 - 1e-6)] % 12 == 5


def test_songs_are_deterministic_and_differ():
    def same(a: Line, b: Line) -> bool:
        return all(
            np.array_equal(getattr(a, field), getattr(b, field))
            for field in ("onsets_quarters", "durations_quarters", "pitches_midi", "velocities")
        )

    one, two, other = song("funk", 1), song("funk", 1), song("funk", 2)
    assert one.chords == two.chords
    assert all(same(one.lines[role], two.lines[role]) for role in one.lines)
    assert not all(same(one.lines[role], other.lines[role]) for role in one.lines)


def test_no_chord_occurs_as_often_as_asked():
    with_n = [
        any(span.chord.root is None for span in song("pop", seed, no_chord=0.5).chords)
        for seed in range(40)
    ]
    assert 20 <= sum(with_n) <= 38  # 1 - 0.5 ** 2 of 40 is 30
    assert not any(s.chord.root is None for seed in range(10) for s in song("pop", seed).chords)


def test_the_scale_is_found_in_the_chords():
    chords = read_progression("I | vi | IV | V7", 2, 4.0)
    assert set(suggested_scale(chords)) == set(scale_pitch_classes(2, "major"))


def test_a_melody_needs_an_octave():
    chords = read_progression("I | V", 0, 4.0)
    with pytest.raises(ConfigError, match="octave"):
        compose_melody(chords, STYLES["rock"], np.random.default_rng(0), 60, 70)
