"""Dances: labels follow the tunes, the sound follows the labels, and nothing crosses the splits."""

from __future__ import annotations

from collections import Counter
from functools import lru_cache

import numpy as np
import pytest

from dl101.data.embedded.corpora import dances
from dl101.data.embedded.harmony import ROOT_NAMES, SCALES
from dl101.data.embedded.recipe import SIDES, Item, track_split
from dl101.data.embedded.scores import DANCE_KINDS, load_dances

pytestmark = pytest.mark.slow

N_TRACKS = 14
SECONDS = 12.0


@lru_cache(maxsize=1)
def tracks() -> tuple[Item, ...]:
    return tuple(
        dances.render(index, seed=0, duration_s=SECONDS, extras=False)[0]
        for index in range(N_TRACKS)
    )


def value(item: Item, field: str):
    return item.fields[field][0].value


def times(item: Item, field: str) -> np.ndarray:
    return np.array([atom.time for atom in item.fields[field]])


def test_a_track_is_the_same_whatever_was_rendered_before():
    again = dances.render(3, seed=0, duration_s=SECONDS, extras=True)[0]
    np.testing.assert_array_equal(again.values, tracks()[3].values)
    assert again.fields == tracks()[3].fields
    other = dances.render(3, seed=1, duration_s=SECONDS, extras=True)[0]
    assert not np.array_equal(other.values, again.values)


def test_works_stay_on_one_side_and_every_dance_is_on_all_sides():
    works = {
        side: {kind: {d.work for d in dances.playlist(side, kind, 0)} for kind in DANCE_KINDS}
        for side in SIDES
    }
    merged = {side: set().union(*groups.values()) for side, groups in works.items()}
    assert not merged["train"] & merged["validation"]
    assert not merged["train"] & merged["test"]
    assert not merged["validation"] & merged["test"]
    assert sum(map(len, merged.values())) == len({dance.work for dance in load_dances()})
    for kind in DANCE_KINDS:
        assert min(len(works[side][kind]) for side in SIDES) >= 5, kind
    for index, item in enumerate(tracks()):
        assert value(item, "split") == track_split(index)[0]
        assert dances.work_splits()[value(item, "work")] == value(item, "split")


def test_all_dances_are_equally_frequent_in_no_fixed_order():
    kinds = [dances.kind_of("train", number, 0) for number in range(70)]
    assert Counter(kind for kind, _ in kinds) == dict.fromkeys(DANCE_KINDS, 10)
    assert len({kinds[7 * group][0] for group in range(10)}) > 2
    assert [turn for kind, turn in kinds if kind == "jig"] == list(range(10))


def test_the_first_tracks_of_a_dance_are_different_works():
    for kind in DANCE_KINDS:
        works = [dance.work for dance in dances.playlist("train", kind, 0)]
        n_works = len(set(works))
        assert len(set(works[:n_works])) == n_works


@pytest.mark.parametrize(("kind", "in_bar"), [("reel", 2), ("jig", 2), ("slip-jig", 3), ("air", 3)])
def test_beats_count_the_bar_and_give_the_tempo(kind, in_bar):
    item = next(item for item in tracks() if value(item, "rhythm") == kind)
    places = [atom.value for atom in item.fields["beat"]]
    assert set(np.diff(places)) == {1.0, 1.0 - in_bar}
    assert max(places) == in_bar
    beats = times(item, "beat")
    low, high = dances.FEELS[kind].tempo_bpm
    assert 0.95 * low < value(item, "tempo") < 1.05 * high
    assert abs(60.0 / np.diff(beats).mean() - value(item, "tempo")) < 0.01
    assert beats[-1] > SECONDS - 2.0  # dancers are not left waiting


def test_sections_follow_each_other_without_a_gap():
    dance = next(d for d in load_dances() if d.identifier == "ryan-arkansas-traveller-reel")
    voice, ends = dances.unroll(dance, [1, 1, 0], 3.0)
    np.testing.assert_array_equal(ends, [35.0, 67.0, 99.0])
    first = voice.onsets_quarters < 35.0
    second = (voice.onsets_quarters >= 35.0) & (voice.onsets_quarters < 67.0)
    np.testing.assert_allclose(voice.onsets_quarters[first] + 32.0, voice.onsets_quarters[second])
    np.testing.assert_array_equal(voice.pitches_midi[first], voice.pitches_midi[second])
    third = voice.onsets_quarters >= 67.0
    written = dance.melody.onsets_quarters < 32.0
    np.testing.assert_array_equal(voice.pitches_midi[third], dance.melody.pitches_midi[written])


def test_drums_keep_their_rhythm_and_change_their_sound():
    style = dances.FEELS["reel"].style
    sounds = set()
    for seed in range(12):
        other = dances.recast(style, np.random.default_rng(seed))
        for before, after in zip(style.drums, other.drums, strict=True):
            assert list(before.values()) == list(after.values())
            sounds |= set(after)
    assert len(sounds) >= 6


@pytest.mark.parametrize("field", ["beat", "pitchmidi"])
def test_the_sound_begins_where_beats_and_notes_are_marked(field):
    librosa = pytest.importorskip("librosa")
    best = []
    for item in tracks():
        strength = librosa.onset.onset_strength(y=item.values, sr=22050, hop_length=128)
        frames = np.arange(strength.size) * 128 / 22050
        lags = np.arange(-0.14, 0.14, 0.005)
        marked = np.unique(times(item, field))
        at = [np.interp(marked + lag, frames, strength).mean() for lag in lags]
        best.append(lags[int(np.argmax(at))])
    best = np.array(best)
    # Soft attacks are heard late, by up to some hundredths of a second; nothing is heard early.
    assert np.mean((best > -0.02) & (best < 0.08)) >= 0.85
    assert 0.0 <= np.median(best) <= 0.06


def test_the_tempo_can_be_measured_at_some_level_of_the_metre():
    librosa = pytest.importorskip("librosa")
    agree = []
    for item in tracks():
        measured = float(np.atleast_1d(librosa.feature.tempo(y=item.values, sr=22050))[0])
        ratio = measured / value(item, "tempo")
        levels = (1 / 4, 1 / 3, 1 / 2, 2 / 3, 1, 3 / 2, 2, 3, 4)
        agree.append(min(abs(np.log2(ratio / level)) for level in levels) < 0.085)
    assert np.mean(agree) >= 0.8


def test_the_chords_sound():
    librosa = pytest.importorskip("librosa")
    margins = []
    for item in tracks():
        tuning = value(item, "tuning-cents") / 100.0
        chroma = librosa.feature.chroma_stft(
            y=item.values, sr=22050, n_fft=4096, hop_length=1024, tuning=tuning
        )
        inside, outside = [], []
        for atom in item.fields["chord"]:
            if atom.value == "N":
                continue
            name, quality = atom.value.split(":")
            root = ROOT_NAMES.index(name)
            triad = [
                (root + step) % 12 for step in ((0, 4, 7) if quality[:3] == "maj" else (0, 3, 7))
            ]
            first, last = (np.array([atom.time, atom.time + atom.duration]) * 22050 / 1024).astype(
                int
            )
            mean = chroma[:, first:last].mean(axis=1) if last > first else np.zeros(12)
            inside.append(mean[triad].mean())
            outside.append(np.delete(mean, triad).mean())
        margins.append(np.mean(inside) / np.mean(outside))
    assert np.mean(margins) > 1.3
    assert np.mean(np.array(margins) > 1.1) > 0.85


def test_the_key_is_that_of_the_notes():
    shares = []
    for item in tracks():
        name, mode = value(item, "key").split()
        steps = [(atom.value - ROOT_NAMES.index(name)) % 12 for atom in item.fields["pitchmidi"]]
        shares.append(np.mean(np.isin(steps, SCALES[mode])))
    assert np.mean(shares) > 0.93
