"""``tags``: every tag is true, none is missing from a side, artists do not cross."""

from __future__ import annotations

from collections import Counter
from functools import cache

import librosa
import numpy as np
import pytest

from dl101 import units
from dl101.data.embedded import band, performer, soundbank
from dl101.data.embedded.corpora import tags
from dl101.data.embedded.recipe import track_split
from dl101.data.embedded.renderer import SAMPLE_RATE
from dl101.data.splits import SIDES
from dl101.signal.mel import log_mel

pytestmark = pytest.mark.slow

N_TRACKS = tags.RECIPE.default_tracks
DURATION_S = tags.RECIPE.duration_s


@cache
def plan(index: int) -> tags.Plan:
    return tags.plan(index, 0)


@cache
def audio(index: int) -> np.ndarray:
    return render(index).values


def render(index: int, seed: int = 0):
    return tags.render(index, seed=seed, duration_s=DURATION_S, extras=False)[0]


def tracks_with(tag: str, *, n: int, without: str = "") -> list[int]:
    """Return the first tracks that have one tag and not another."""
    found = [i for i in range(N_TRACKS) if tag in plan(i).tags and without not in plan(i).tags]
    return found[:n]


def test_the_same_track_has_the_same_bytes_and_another_seed_has_not() -> None:
    for index in (2, 9):
        first, again, other = render(index), render(index), render(index, seed=1)
        assert first.key == again.key
        assert first.fields == again.fields
        np.testing.assert_array_equal(first.values, again.values)
        assert not np.array_equal(first.values, other.values)


def test_labels_of_the_entry_are_those_of_the_plan() -> None:
    item = render(3)
    assert tuple(atom.value for atom in item.fields["tag"]) == plan(3).tags
    assert item.fields["artist"][0].value == plan(3).artist.name
    assert item.values.shape == (DURATION_S * SAMPLE_RATE,)
    assert set(item.fields) == set(tags.RECIPE.definitions)


def test_every_tag_is_there_and_is_missing_on_each_side() -> None:
    for side in SIDES:
        sets = [plan(i).tags for i in range(N_TRACKS) if track_split(i)[0] == side]
        counts = Counter(tag for found in sets for tag in found)
        assert set(counts) == set(tags.TAGS), side
        assert max(counts.values()) < len(sets), side


def test_frequencies_have_a_long_tail() -> None:
    counts = Counter(tag for i in range(N_TRACKS) for tag in plan(i).tags)
    share = np.sort([count / N_TRACKS for count in counts.values()])[::-1]
    assert len(tags.TAGS) >= 30
    assert share[0] > 0.5
    assert share[-1] < 0.05
    assert np.median(share) < 0.15  # most tags are rare


def test_tags_go_together_as_they_do_in_music() -> None:
    table = np.array([[t in plan(i).tags for t in tags.TAGS] for i in range(N_TRACKS)], dtype=float)
    together = np.corrcoef(table.T)
    place = {tag: i for i, tag in enumerate(tags.TAGS)}
    assert together[place["drums"], place["dense"]] > 0.3
    assert together[place["metal"], place["distorted guitar"]] > 0.3
    assert together[place["classical"], place["drums"]] < -0.1


@pytest.mark.parametrize(
    "exclusive",
    [("drums", "no drums"), ("vocals", "no vocals"), ("solo", "duo", "ensemble"),
     ("slow", "fast"), ("major", "minor"), ("high", "low"), ("sparse", "dense"),
     ("quiet", "loud"), ("dry", "reverberant"), ("male voice", "female voice", "choir")],
)  # fmt: skip
def test_opposites_exclude_each_other(exclusive: tuple[str, ...]) -> None:
    for index in range(N_TRACKS):
        found = set(plan(index).tags) & set(exclusive)
        assert len(found) <= 1
        if exclusive[0] in ("drums", "vocals"):
            assert len(found) == 1


def test_artists_and_instruments_stay_on_their_side() -> None:
    artists, instruments = ({side: set() for side in SIDES} for _ in range(2))
    for index in range(N_TRACKS):
        side = track_split(index)[0]
        artists[side].add(plan(index).artist.name)
        instruments[side] |= set(plan(index).artist.players.values())
    assert all(len(artists[side]) >= 20 for side in SIDES)
    assert not artists["train"] & artists["test"]
    assert not artists["train"] & artists["validation"]
    assert not instruments["train"] & instruments["test"]
    assert artists == {s: {a for a in artists[s] if a.startswith(s)} for s in SIDES}


def test_two_tracks_of_an_artist_share_band_and_room() -> None:
    one, other = plan(0), plan(3)  # the first two tracks of the training side
    assert one.artist.name == other.artist.name
    assert one.artist.players == other.artist.players
    assert one.artist.room == other.artist.room
    assert one.song.lines.keys() != {} and one.tempo_bpm != other.tempo_bpm


def test_each_part_that_is_tagged_is_heard() -> None:
    for index in range(0, 60, 5):
        found = tags.plan(index, 0)  # its random numbers are used up once
        parts = band.play(found.written, found.artist, DURATION_S, found.rng)
        mix = performer.mix(parts, found.artist.room, found.rng, duration_s=DURATION_S)
        whole = np.mean(mix.mixture**2)
        for name, stem in mix.stems.items():
            assert np.mean(stem**2) > whole * 10 ** (-2.3), (index, name)


def test_drums_sound_in_the_treble() -> None:
    """Sudden energy above 5 kHz tells tracks with drums from those without."""

    def snap(index: int) -> float:
        feature = log_mel(audio(index) / np.abs(audio(index)).max(), SAMPLE_RATE)
        treble = feature.values[0, feature.frequencies > 5000.0]
        return float(np.maximum(np.diff(treble, axis=1), 0.0).mean())

    with_drums = [snap(i) for i in tracks_with("drums", n=20)]
    without = [snap(i) for i in tracks_with("no drums", n=20)]
    higher = np.mean(np.array(with_drums)[:, None] > np.array(without)[None, :])
    assert higher > 0.75


def test_tempo_is_that_of_the_sound() -> None:
    """The beat period repeats better than periods that are a little shorter or longer."""
    right = []
    for index in tracks_with("drums", n=16, without="compound metre"):
        onset = librosa.onset.onset_strength(y=audio(index), sr=SAMPLE_RATE, hop_length=256)
        onset = onset - onset.mean()
        repeats = np.correlate(onset, onset, "full")[onset.size - 1 :]
        beat = 60.0 / plan(index).tempo_bpm * SAMPLE_RATE / 256
        ratios = np.arange(0.84, 1.17, 0.01)
        scores = [
            sum(np.interp(k * beat * ratio, np.arange(repeats.size), repeats) for k in (1, 2, 4))
            for ratio in ratios
        ]
        right.append(abs(ratios[int(np.argmax(scores))] - 1.0) < 0.045)
    assert np.mean(right) > 0.8


def test_register_is_that_of_the_sound() -> None:
    """YIN on single melodies finds the pitches that the register was read from."""
    errors = []
    for index in tracks_with("monophonic", n=10, without="reverberant"):
        (notes,) = plan(index).written.values()
        low, high = notes.pitches_midi.min() - 13, notes.pitches_midi.max() + 13
        limits = units.midi_to_hz([low, high])
        curve = librosa.yin(audio(index), fmin=limits[0], fmax=limits[1], sr=SAMPLE_RATE)
        loud = librosa.feature.rms(y=audio(index))[0] > 0.3 * np.sqrt(np.mean(audio(index) ** 2))
        errors.append(np.median(units.hz_to_midi(curve)[loud]) - tags.mean_pitch([notes]))
    assert np.mean(np.abs(errors) < 3.5) >= 0.8, errors


@pytest.mark.parametrize(("tag", "limits_db"), [("quiet", (-41, -32.5)), ("loud", (-25.5, -18.9))])
def test_loudness_is_that_of_the_sound(tag: str, limits_db: tuple[float, float]) -> None:
    for index in tracks_with(tag, n=12):
        level_db = 10 * np.log10(np.mean(np.square(audio(index), dtype=float)))
        assert limits_db[0] < level_db < limits_db[1], index


def test_voices_and_choirs_are_who_is_tagged() -> None:
    for index in range(N_TRACKS):
        found = plan(index)
        sung = found.artist.singer is not None and "melody" in found.written
        voices = [
            soundbank.instrument_class(found.artist.players[role]) == "voice"
            for role in found.written
            if not (role == "melody" and sung)
        ]
        assert ("choir" in found.tags) == any(voices)
        assert bool({"male voice", "female voice"} & set(found.tags)) == sung
