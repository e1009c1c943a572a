"""Chords are named as Harte wrote them, progressions read, and chorales analysed as by hand."""

from __future__ import annotations

import itertools

import mir_eval
import numpy as np
import pytest

from dl101.data.embedded import harmony
from dl101.data.embedded.harmony import NO_CHORD, Chord, ChordSpan
from dl101.data.embedded.scores import Chorale, ScoreVoice, load_chorales, load_dances
from dl101.data.embedded.styles import STYLES
from dl101.errors import ConfigError, DataError


def labels(text: str, tonic: int = 0) -> list[str]:
    return [span.chord.label for span in harmony.read_progression(text, tonic, 4.0)]


def covers(spans, n_quarters: float) -> bool:
    edges = [0.0, *[span.end_quarters for span in spans]]
    onsets = [span.onset_quarters for span in spans]
    return np.allclose(edges[:-1], onsets, atol=1e-9) and abs(edges[-1] - n_quarters) < 1e-9


def test_every_label_means_the_same_notes_and_bass_to_mir_eval():
    for quality, intervals in harmony.QUALITIES.items():
        for root in range(12):
            for bass in intervals:
                chord = Chord(root, quality, bass)
                found_root, bitmap, found_bass = mir_eval.chord.encode(chord.label)
                assert (found_root, found_bass) == (root, bass), chord.label
                if quality not in ("9", "maj9", "min9"):  # mir_eval folds the ninth away
                    notes = (np.flatnonzero(bitmap) + root) % 12
                    assert set(notes) == set(chord.pitch_classes), chord.label
    assert NO_CHORD.label == "N" and NO_CHORD.pitch_classes == ()
    assert Chord(0, "maj", 4).bass_pitch_class == 4
    assert Chord(11, "maj", 8).pitch_classes == (11, 3, 6, 7)  # a foreign bass sounds too


@pytest.mark.parametrize(
    ("text", "tonic", "expected"),
    [
        ("I | vi | IV | V7", 0, ["C:maj", "A:min", "F:maj", "G:7"]),
        ("i | bVI | bIII | bVII", 9, ["A:min", "F:maj", "C:maj", "G:maj"]),
        ("ii7 V9 | Imaj7", 5, ["G:min7", "C:9", "F:maj7"]),
        ("I/3 | V/5 | i/b3 | i7/b7", 0, ["C:maj/3", "G:maj/5", "C:min/b3", "C:min7/b7"]),
        ("V7/ii | ii | viio7 | iiø7", 0, ["A:7", "D:min", "B:dim7", "D:hdim7"]),
        ("V/V V7/IV | #io7 | Isus4 | I+ | i5", 2,
         ["E:maj", "D:7", "Eb:dim7", "D:sus4", "D:aug", "D:5"]),
        ("N | I6 | iv6", 0, ["N", "C:maj6", "F:min6"]),
    ],
)  # fmt: skip
def test_roman_numerals(text, tonic, expected):
    assert labels(text, tonic) == expected


@pytest.mark.parametrize("symbol", ["H", "IIII", "Ifoo", "I/13", ""])
def test_a_numeral_that_does_not_read_is_refused(symbol):
    with pytest.raises(DataError, match="roman numeral"):
        harmony.roman(symbol, 0)


def test_chords_of_a_bar_share_it_and_equal_ones_join():
    spans = harmony.read_progression("I | I IV | V", 0, 4.0, 2.0)
    assert [(s.onset_quarters, s.duration_quarters) for s in spans] == [(2, 6), (8, 2), (10, 4)]
    spans = harmony.read_progression("I V | IV", 0, 4.5, beats_per_bar=3)  # on beats, in 9/8 too
    assert [s.onset_quarters for s in spans] == [0.0, 3.0, 4.5]


@pytest.mark.parametrize("name", sorted(STYLES))
def test_progressions_fill_their_bars_and_come_home(name):
    style = STYLES[name]
    for mode in style.progressions:
        for seed in range(6):
            rng = np.random.default_rng([seed])
            spans = harmony.progression(style, 10, 7, mode, rng)
            assert covers(spans, 10 * style.bar_quarters)
            again = harmony.progression(style, 10, 7, mode, np.random.default_rng([seed]))
            assert spans == again
            for before, after in itertools.pairwise(spans):
                assert before.chord != after.chord
    with pytest.raises(ConfigError, match="locrian"):
        harmony.progression(style, 4, 0, "locrian", np.random.default_rng(0))


def chorale(bwv: str) -> Chorale:
    return next(piece for piece in load_chorales() if piece.bwv == bwv)


# Read from the score by hand, beat by beat; beats that two readers would name differently
# (suspensions, passing chords) are left out.
BY_HAND = {
    "269": {0: "G:maj", 1: "G:maj", 2: "C:maj/3", 3: "D:maj/3", 4: "G:maj", 5: "D:maj",
            6: "E:min", 7: "C:maj", 9: "G:maj", 10: "D:maj", 11: "D:maj", 12: "G:maj",
            13: "D:maj/3", 15: "F#:dim/b3", 16: "G:maj/3"},
    "302": {0: "D:maj", 1: "B:min", 2: "G:maj", 3: "D:maj/3", 4: "Db:dim/b3", 5: "D:maj",
            7: "A:maj", 8: "B:min", 9: "Bb:dim/b3", 10: "B:min/b3", 11: "F#:min", 12: "G:maj",
            14: "A:7", 15: "D:maj", 16: "D:maj"},
    "40.8": {0: "F:min", 1: "F:7/b7", 2: "Bb:min/b3", 3: "F:min/5", 4: "G:hdim7/b3", 5: "C:maj",
             6: "F:min", 7: "F:min", 10: "Ab:maj/3", 11: "Ab:maj", 12: "Bb:min/b3",
             13: "Eb:maj", 14: "Ab:maj", 15: "Ab:maj", 16: "Db:maj", 17: "G:dim/b3"},
}  # fmt: skip


@pytest.mark.parametrize("bwv", sorted(BY_HAND))
def test_chorales_are_analysed_as_by_hand(bwv):
    spans = harmony.analyse_chorale(chorale(bwv))
    at = {beat: next(s.chord.label for s in spans if s.end_quarters > beat) for beat in range(18)}
    wrong = {beat: (at[beat], label) for beat, label in BY_HAND[bwv].items() if at[beat] != label}
    assert not wrong


def test_analyses_cover_all_chorales_with_chords_that_hold_their_notes():
    held = total = 0.0
    for piece in load_chorales()[::6]:
        spans = harmony.analyse_chorale(piece)
        assert covers(spans, piece.duration_quarters), piece.bwv
        for span in spans:
            for voice in piece.voices.values():
                ends = voice.onsets_quarters + voice.durations_quarters
                overlap = np.minimum(ends, span.end_quarters) - np.maximum(
                    voice.onsets_quarters, span.onset_quarters
                )
                belongs = np.isin(voice.pitches_midi % 12, span.chord.pitch_classes)
                held += np.sum(np.maximum(overlap, 0.0) * belongs)
                total += np.sum(np.maximum(overlap, 0.0))
    assert 0.85 < held / total < 0.97  # passing notes are not in the chord, the rest is


def voice(onsets, durations, pitches) -> ScoreVoice:
    return ScoreVoice(np.array(onsets, float), np.array(durations, float), np.array(pitches))


def test_passing_notes_suspensions_and_silence():
    # C major with D passing in the soprano, then F over C held up by a suspension, then nothing.
    voices = {
        "soprano": voice([0, 0.5, 1, 1.5], [0.5, 0.5, 0.5, 0.5], [76, 74, 72, 72]),
        "alto": voice([0, 1.5], [1.5, 0.5], [67, 69]),
        "tenor": voice([0, 1], [1, 1], [60, 65]),
        "bass": voice([0, 1], [1, 1], [52, 53]),
    }
    piece = Chorale("0", "", "", "4/4", "", voices, np.zeros((0, 2)), 4.0)
    spans = harmony.analyse_chorale(piece)
    assert [(s.onset_quarters, s.chord.label) for s in spans] == [
        (0.0, "C:maj/3"), (1.0, "F:maj"), (2.0, "N")
    ]  # fmt: skip


def test_a_suspended_note_is_heard_as_what_it_resolves_to():
    # D major, its A held up by the B of the chord before: not B minor.
    voices = {
        "soprano": voice([0, 1.5], [1.5, 0.5], [71, 69]),
        "alto": voice([0, 1], [1, 1], [67, 62]),
        "tenor": voice([0, 1], [1, 1], [59, 54]),
        "bass": voice([0, 1], [1, 1], [43, 50]),
    }
    piece = Chorale("0", "", "", "4/4", "", voices, np.zeros((0, 2)), 2.0)
    assert [s.chord.label for s in harmony.analyse_chorale(piece)] == ["G:maj", "D:maj"]


def harmonised(dance, seed=0, freedom=0.1):
    return harmony.harmonise(
        dance.melody,
        dance.tonic,
        dance.mode,
        grid_quarters=dance.bar_quarters / 2,
        bar_quarters=dance.bar_quarters,
        n_quarters=dance.duration_quarters,
        rng=np.random.default_rng(seed),
        begin_quarters=dance.pickup_quarters,
        section_ends_quarters=dance.sections_quarters[:, 1],
        freedom=freedom,
    )


def test_an_arpeggio_is_given_its_chords():
    notes = [60, 64, 67, 72, 65, 69, 72, 77, 67, 71, 74, 79, 60, 64, 67, 72]
    melody = voice(np.arange(16), np.ones(16), notes)
    spans = harmony.harmonise(
        melody, 0, "major", grid_quarters=2, bar_quarters=4, n_quarters=16.0, freedom=0.0,
        rng=np.random.default_rng(0),
    )  # fmt: skip
    assert [s.chord.label for s in spans] == ["C:maj", "F:maj", "G:maj", "C:maj"]
    assert [s.onset_quarters for s in spans] == [0, 4, 8, 12]


def test_dances_get_chords_that_fit_and_close():
    inside = total = home = changes = 0.0
    dances = load_dances()[::40]
    for dance in dances:
        spans = harmonised(dance)
        assert covers(spans, dance.duration_quarters)
        assert spans == harmonised(dance)
        assert (spans[0].chord == NO_CHORD) == (dance.pickup_quarters > 0)
        home += spans[-1].chord.root == dance.tonic
        changes += len(spans) / (dance.duration_quarters / dance.bar_quarters)
        for onset, duration, pitch in zip(
            dance.melody.onsets_quarters, dance.melody.durations_quarters,
            dance.melody.pitches_midi, strict=True,
        ):  # fmt: skip
            chord = next(s.chord for s in spans if s.end_quarters > onset + 1e-9)
            inside += duration * (pitch % 12 in chord.pitch_classes)
            total += duration
    assert inside / total > 0.65
    assert home / len(dances) > 0.6
    assert 0.4 < changes / len(dances) < 1.6
    with pytest.raises(ConfigError, match="phrygian"):
        harmony.harmonise(
            dances[0].melody, 0, "phrygian", grid_quarters=2, bar_quarters=4, n_quarters=8,
            rng=np.random.default_rng(0),
        )  # fmt: skip


def test_merge_joins_only_equal_neighbours():
    c, g = Chord(0), Chord(7)
    spans = [ChordSpan(0, 1, c), ChordSpan(1, 1, c), ChordSpan(2, 1, g), ChordSpan(3, 1, c)]
    assert [(s.onset_quarters, s.duration_quarters) for s in harmony.merge(spans)] == [
        (0, 2), (2, 1), (3, 1)
    ]  # fmt: skip
