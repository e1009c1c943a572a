"""The shipped scores are whole, and tunes keep versions of one work together."""

from __future__ import annotations

import numpy as np

from dl101.data.embedded.scores import VOICES, load_chorales


def chorale(bwv: str):
    return next(piece for piece in load_chorales() if piece.bwv == bwv)


def test_there_are_364_chorales_in_187_tunes():
    pieces = load_chorales()
    assert len(pieces) == len({piece.bwv for piece in pieces}) == 364
    assert len({piece.tune for piece in pieces}) == 187


def test_every_chorale_has_four_voices_that_fit_its_length():
    for piece in load_chorales():
        assert tuple(piece.voices) == VOICES, piece.bwv
        for name, voice in piece.voices.items():
            ends = voice.onsets_quarters + voice.durations_quarters
            assert np.all(ends[:-1] <= voice.onsets_quarters[1:]), (piece.bwv, name)
            assert ends[-1] <= piece.duration_quarters, (piece.bwv, name)
            assert voice.durations_quarters.min() > 0, (piece.bwv, name)
            assert 36 <= voice.pitches_midi.min() <= voice.pitches_midi.max() <= 81, piece.bwv


def test_a_known_beginning():
    piece = chorale("269")
    assert piece.title == "Aus meines Herzens Grunde"
    first = {name: voice.pitches_midi[0] for name, voice in piece.voices.items()}
    assert first == {"soprano": 67, "alto": 62, "tenor": 59, "bass": 43}  # G major, in 3/4
    assert piece.meter == "3/4"
    np.testing.assert_array_equal(piece.voices["soprano"].pitches_midi[:4], [67, 67, 74, 71])


def test_harmonisations_of_one_melody_share_a_tune_whatever_their_title():
    passion = {chorale(bwv).tune for bwv in ("244.15", "244.17", "135.6", "153.5", "270")}
    assert len(passion) == 1
    assert chorale("101.7").tune == chorale("102.7").tune  # two texts, Vater unser's melody
    assert chorale("269").tune not in passion


def test_voices_lie_in_their_order_on_the_whole():
    means = np.array(
        [[p.voices[name].pitches_midi.mean() for name in VOICES] for p in load_chorales()]
    )
    assert np.all(np.diff(means, axis=1) < 0)
