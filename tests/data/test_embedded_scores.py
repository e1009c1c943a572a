"""The shipped scores are whole, and tunes keep versions of one work together."""

from __future__ import annotations

import numpy as np

from dl101.data.embedded.harmony import SCALES
from dl101.data.embedded.scores import DANCE_KINDS, VOICES, load_chorales, load_dances


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


def dance(identifier: str):
    return next(piece for piece in load_dances() if piece.identifier == identifier)


def test_there_are_dances_of_seven_kinds_and_many_works_of_each():
    pieces = load_dances()
    assert len({piece.identifier for piece in pieces}) == len(pieces) > 1000
    works = {kind: {p.work for p in pieces if p.kind == kind} for kind in DANCE_KINDS}
    assert {piece.kind for piece in pieces} == set(DANCE_KINDS)
    assert all(len(group) >= 35 for group in works.values())
    assert all(len(works[kind]) >= 60 for kind in ("reel", "jig", "hornpipe", "slip-jig", "air"))


def test_sections_are_whole_bars_and_the_melody_fits_them():
    meters = {"reel": "4/4", "hornpipe": "4/4", "strathspey": "4/4", "jig": "6/8", "air": "3/4"}
    for piece in load_dances():
        assert piece.meter == meters.get(piece.kind, piece.meter), piece.identifier
        assert (piece.kind == "slip-jig") == (piece.meter == "9/8"), piece.identifier
        sections = piece.sections_quarters
        n_bars = np.diff(sections, axis=1) / piece.bar_quarters
        np.testing.assert_array_equal(n_bars, np.round(n_bars))
        np.testing.assert_array_equal(sections[1:, 0], sections[:-1, 1])
        assert sections[0, 0] == 0.0 and sections[-1, 1] == piece.duration_quarters
        assert 0.0 <= piece.pickup_quarters <= piece.bar_quarters / 2
        onsets = piece.melody.onsets_quarters
        ends = onsets + piece.melody.durations_quarters
        assert np.all(ends[:-1] <= onsets[1:] + 1e-9), piece.identifier
        assert ends[-1] <= piece.duration_quarters + 1e-9
        assert piece.melody.durations_quarters.min() > 0
        assert 52 <= piece.melody.pitches_midi.min() <= piece.melody.pitches_midi.max() <= 91


def test_bars_add_up_by_ear_too_downbeats_are_where_notes_begin():
    # An upbeat counted wrongly would put the barlines between the notes.
    for piece in load_dances():
        n_bars = round(piece.duration_quarters / piece.bar_quarters)
        downbeats = piece.pickup_quarters + np.arange(n_bars) * piece.bar_quarters
        distance = np.abs(piece.melody.onsets_quarters[:, None] - downbeats).min(axis=0)
        assert np.mean(distance < 1e-6) >= 0.6, piece.identifier


def test_most_of_every_tune_lies_in_its_scale():
    outside = []
    for piece in load_dances():
        scale = [(piece.tonic + step) % 12 for step in SCALES[piece.mode]]
        inside = np.isin(piece.melody.pitches_midi % 12, scale)
        outside.append(1.0 - np.average(inside, weights=piece.melody.durations_quarters))
    assert np.mean(outside) < 0.03
    assert np.quantile(outside, 0.98) < 0.15


def test_known_beginnings():
    traveller = dance("ryan-arkansas-traveller-reel")
    assert (traveller.kind, traveller.tonic, traveller.mode) == ("reel", 2, "major")
    assert traveller.pickup_quarters == 1.0  # a triplet that leads up to the first bar
    np.testing.assert_array_equal(
        traveller.melody.pitches_midi[:9], [57, 59, 61, 62, 66, 64, 62, 59, 59]
    )
    np.testing.assert_allclose(
        traveller.melody.durations_quarters[:9], [1 / 3] * 3 + [0.5] * 4 + [1.0] * 2
    )
    assert len(traveller.sections_quarters) == 2
    hornpipe = dance("ryan-almacks-hornpipe")  # dotted throughout
    np.testing.assert_array_equal(hornpipe.melody.durations_quarters[2:8], [0.75, 0.25] * 3)


def test_one_tune_in_two_books_is_one_work():
    by_work: dict[str, set[str]] = {}
    for piece in load_dances():
        by_work.setdefault(piece.work, set()).add(piece.identifier.split("-")[0])
    both = [work for work, books in by_work.items() if books == {"ryan", "oneill"}]
    assert len(both) >= 60
    assert max(sum(p.work == work for p in load_dances()) for work in by_work) <= 12


def test_where_a_dance_comes_from_is_known():
    for piece in load_dances():
        assert piece.source.split("/")[0] in ("ryansMammoth", "oneills1850")
        assert piece.transcriber and "@" not in piece.transcriber
        assert "Norbeck" not in piece.transcriber
