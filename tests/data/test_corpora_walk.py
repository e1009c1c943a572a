"""Every recipe renders every track: each score, instrument, style and branch once; then at random.

Where a plan is enough nothing sounds: ``unheard`` takes the place of what makes samples, and the
parts are looked at instead.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import numpy as np
import pytest

from dl101.data import pyjama
from dl101.data.embedded import arranger, export, performer, renderer, soundbank
from dl101.data.embedded.corpora import (
    chorales,
    chords,
    covers,
    dances,
    genres,
    instruments,
    notes,
    stems,
    tags,
    tones,
    voice,
)
from dl101.data.embedded.phonemes import VOICE_TYPES
from dl101.data.embedded.recipe import Item, track_split
from dl101.data.embedded.scores import VOICES, load_chorales, load_dances
from dl101.data.splits import SIDES
from dl101.errors import ConfigError

pytestmark = pytest.mark.slow

FIRST = {side: next(i for i in range(6) if track_split(i)[0] == side) for side in SIDES}
HEARD = {side: performer.CONDITIONS[side].heard for side in SIDES}


def checked(name: str, items: Sequence[Item]) -> Sequence[Item]:
    """Return the items of a track, which a corpus can hold: sound, names and fields."""
    found = export.recipe(name)
    assert len({item.key for item in items}) == len(items)
    for item in items:
        assert item.key and "/" not in item.key
        assert item.values.dtype == np.float32 and np.isfinite(item.values).all()
        assert found.holds == "features" or np.abs(item.values).max() < 1.0
        fields = export._within(item.fields, item.values.shape[-1] / item.rate)
        pyjama.dump_entry(pyjama.Entry(item.key, 0, fields), found.definitions)
    return items


def indices(side: str, n: int) -> Iterator[int]:
    """Return the numbers of the first n tracks of a side."""
    return (
        index
        for index in range(6 * n + 6)
        if track_split(index)[0] == side and track_split(index)[1] < n
    )


@pytest.fixture
def unheard(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the sound, and look at who plays what."""

    def render_voice(played, player, n_samples):
        assert played.onsets_s.size and np.isfinite(played.onsets_s).all()
        assert (played.durations_s > 0).all() and (played.onsets_s < n_samples / 22050).all()
        low, high = soundbank.instrument_range(player.instrument)
        pitches = played.pitches_midi
        if soundbank.instrument_class(player.instrument) == "drums":
            entry = soundbank.describe_bank()["instruments"][player.instrument]
            assert set(np.unique(pitches)) <= {note["midi"] for note in entry["notes"]}
        else:
            assert low - 24 <= pitches.min() and pitches.max() <= high + 24
        return np.full(n_samples, 0.01, dtype=np.float32)

    def mix(parts, room, rng, *, duration_s, stereo=False, **_):
        assert parts and len({part.name for part in parts}) == len(parts)
        n_samples = round(duration_s * renderer.SAMPLE_RATE)
        for part in parts:
            if part.audio is None:
                render_voice(part.notes, part.player, n_samples)
        silence = np.zeros((2, n_samples) if stereo else n_samples, dtype=np.float32)
        return performer.Mix(silence, {part.name: silence for part in parts})

    monkeypatch.setattr(renderer, "render_voice", render_voice)
    monkeypatch.setattr(renderer, "place_in_room", lambda dry, *_: dry)
    monkeypatch.setattr(performer, "mix", mix)


@pytest.mark.usefixtures("unheard")
@pytest.mark.parametrize("name", ["chorales", "piano"])
def test_every_chorale_is_played(name: str) -> None:
    found, played = export.recipe(name), set()
    for side in SIDES:
        for index in indices(side, len(chorales.playlist(side, 0))):
            items = found.render(index, seed=0, duration_s=found.duration_s, extras=True)
            if index % 12 < 6:  # checking costs as much as planning
                checked(name, items)
            assert re.fullmatch(r"\d{4}-bwv\d{4}[-.\w]*\.wav", items[0].key)
            played.add(items[0].fields["bwv"][0].value)
    assert played == {piece.bwv for piece in load_chorales()}


@pytest.mark.usefixtures("unheard")
@pytest.mark.parametrize("duration_s", [2.0, 3.0])
def test_every_chorale_has_notes_in_its_shortest_excerpts(duration_s: float) -> None:
    for number, piece in enumerate(load_chorales()):
        rng = np.random.default_rng(number)
        tempo_bpm = performer.draw(rng, performer.CONDITIONS[SIDES[number % 3]].tempo_bpm)
        assert chorales._excerpt(piece, tempo_bpm, 0, duration_s, rng), piece.bwv
    with pytest.raises(ConfigError, match=r"2\.0 or more"):
        chorales.render_track(0, duration_s=1.9)


@pytest.mark.usefixtures("unheard")
def test_every_dance_is_danced(monkeypatch: pytest.MonkeyPatch) -> None:
    sides, found = dances.work_splits(), set()
    for number, dance in enumerate(load_dances()):
        monkeypatch.setattr(dances, "kind_of", lambda *_, kind=dance.kind: (kind, 0))
        monkeypatch.setattr(dances, "playlist", lambda *_, dance=dance: (dance,))
        index = 6 * number + FIRST[sides[dance.work]]
        items = dances.render(index, seed=0, duration_s=3.0, extras=False)
        if number % 8 == 0:
            checked("dances", items)
        found.add((items[0].fields["rhythm"][0].value, items[0].fields["meter"][0].value))
    assert {kind for kind, _ in found} == set(dances.DANCE_KINDS)
    assert {meter for kind, meter in found if kind == "march"} >= {"2/4", "4/4", "6/8"}


def test_every_work_is_covered(monkeypatch: pytest.MonkeyPatch) -> None:
    branches = set()
    pieces = [*load_chorales(), *load_dances()[::3]]
    for number, piece in enumerate(pieces):
        monkeypatch.setattr(covers, "work_of", lambda *_, piece=piece: ("work", (piece,)))
        performance = covers.perform(number, duration_s=20.0)
        assert performance.n_frames > 0 and performance.tempo_bpm > 0
        assert performance.notes and all(p.onsets_s.size for p in performance.notes.values())
        chorale = number < len(load_chorales())
        branches |= {(chorale, name) for name in performance.notes}
    roles = {"melody", "comping", "bass", "pad"}
    assert branches == {(True, name) for name in {*roles, *VOICES[1:]}} | {
        (False, name) for name in roles
    }


def test_every_chorale_and_every_style_have_chords() -> None:
    styles, works, ensembles = set(), set(), set()
    for side in SIDES:
        n = len(chorales.playlist(side, 0))
        for index in indices(side, 2 * n):
            planned = chords.plan(index)
            assert planned.written and planned.chords
            assert set(planned.written) <= set(planned.artist.players)
            styles.add((planned.piece.work.split(":")[0], planned.piece.style))
            works.add(planned.piece.work)
            ensembles.add(tuple(sorted(planned.written)))
    assert {style for source, style in styles if source == "song"} == set(chords.SONG_STYLES)
    assert {style for source, style in styles if source == "chorale"} == {
        "chorale", *chords.BAND_STYLES[3], *chords.BAND_STYLES[4],
    }  # fmt: skip
    assert {f"chorale: {piece.tune}" for piece in load_chorales()} <= works
    assert {("comping",), tuple(sorted(VOICES))} <= ensembles


def test_every_genre_is_planned_with_and_without_what_may_be_missing() -> None:
    plans = [genres.plan(index, 0) for index in range(360)]
    assert {plan.genre for plan in plans} == set(genres.GENRES)
    assert {bool(plan.crossover) for plan in plans} == {True, False}
    assert {plan.artist.singer is not None for plan in plans} == {True, False}
    for role in genres.WITHOUT:
        assert {role in plan.song.lines for plan in plans} == {True, False}, role


def test_every_deck_of_tags_is_dealt() -> None:
    plans = [tags.plan(index, 0) for index in range(420)]
    assert {plan.song.style for plan in plans} == set(tags.STYLE_DECK)
    assert {plan.room for plan in plans} == set(tags.ROOM_DECK)
    assert {plan.loudness for plan in plans} == set(tags.LOUDNESS_DECK)
    assert {len(plan.written) for plan in plans} == {1, 2, 3, 4, 5}
    assert all(plan.written and plan.tags for plan in plans)


@pytest.mark.usefixtures("unheard")
def test_every_style_accompanies_every_instrument() -> None:
    seen: dict[tuple, int] = {}
    for index in range(3000):
        planned = instruments.plan(index)
        roles = tuple(planned.players)[1:]
        seen.setdefault((planned.style, roles), index)
        seen.setdefault((planned.split, planned.label, planned.players["melody"]), index)
    assert {key for key in seen if len(key) == 2} == {
        (style, roles) for style in arranger.STYLES for roles in instruments.ENSEMBLES
    }
    assert {key for key in seen if len(key) == 3} == {
        (side, label, leader)
        for side in SIDES
        for label in instruments.CLASSES
        for leader in soundbank.instrument_names(HEARD[side], instrument_class=label)
    }
    for index in sorted(set(seen.values())):
        checked("instruments", instruments.render(index, extras=True))


def test_every_source_sounds_in_every_style() -> None:
    wanted = {
        (heard, family, source, style)
        for heard in ("training", "test")
        for family in notes.FAMILIES
        for source in notes.sources(family, heard)
        for style in notes._styles(family, source)
    }
    seen: dict[tuple, int] = {}
    for index in range(30000):
        planned = notes.plan(index)
        heard = HEARD[planned.split]
        seen.setdefault((heard, planned.family, planned.source, planned.style), index)
        if len(seen) == len(wanted):
            break
    assert set(seen) == wanted
    for index in seen.values():
        (item,) = notes.render(index)
        assert np.isfinite(item.values).all() and np.abs(item.values).max() > 0.005


@pytest.mark.parametrize("name", soundbank.instrument_names())
def test_every_instrument_sounds_at_both_ends_of_its_range(name: str) -> None:
    for pitch in soundbank.instrument_range(name):
        one = renderer.Notes(
            *(np.array([v]) for v in (0.02, 0.3, pitch, 0.8, 0.0, 0.0)),
        )
        sound = renderer.render_voice(one, renderer.Player(name), 11025)
        assert np.isfinite(sound).all() and np.abs(sound).max() > 0.005


@pytest.mark.usefixtures("unheard")
def test_every_style_has_stems(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stems.band, "_sing", lambda notes, artist, n, rng: np.ones(n, np.float32))
    seen: dict[tuple, int] = {}
    for side in SIDES:
        for index in indices(side, 240):
            who = stems.profile(side, track_split(index)[1] // stems.SONGS_PER_ARTIST, 0)
            seen.setdefault((HEARD[side], who.style, who.artist.singer is not None), index)
    assert {key[:2] for key in seen} == {
        (heard, style) for heard in ("training", "test") for style in stems.SONG_STYLES
    }
    assert {key[::2] for key in seen} == {
        (heard, sung) for heard in ("training", "test") for sung in (True, False)
    }
    for index in seen.values():
        items = checked("stems", stems.render(index, duration_s=6.0))
        assert len(items) == 1 + len(stems.STEMS)


def test_every_melody_is_sung_by_every_voice() -> None:
    rng = np.random.default_rng(0)
    for side in SIDES:
        singers = {person.voice_type: person for person in voice.singers(side, 0)}
        assert set(singers) == set(VOICE_TYPES)
        ranges = [singers[kind].range_midi for kind in VOICE_TYPES]
        for instrument in voice.SAMPLED[side]:
            lowest, highest = soundbank.instrument_range(instrument)
            ranges += [(max(low, lowest), min(high, highest)) for low, high in ranges[:4]]
        melodies = [
            melody
            for source, kinds in (("chorale", VOICE_TYPES), ("dance", ("any",)))
            for kind in kinds
            for melody in voice.melodies(side, source, kind)
        ]
        for number, (title, _, melody) in enumerate(melodies):
            limits = ranges[number % len(ranges)]
            written, tempo_bpm = voice._phrases(melody, limits, voice.DURATION_S, rng)
            assert written.onsets_s.size and tempo_bpm > 0, title
            assert (written.durations_s > 0).all(), title
            assert np.ptp(written.pitches_midi) <= voice.WIDEST_SEMITONES, title


def test_every_branch_of_a_voice_and_of_a_tone_is_taken() -> None:
    styles = set()
    for side in SIDES:
        for index in indices(side, 10):
            (item,) = checked("voice", voice.render(index, duration_s=2.0))
            styles.add((side, item.fields["style"][0].value))
    assert styles == {(side, style) for side in SIDES for style in ("sampled", "source-filter")}
    silent = vibrato = 0
    for seed in range(60):
        tone = tones.generate(np.random.default_rng(seed))
        silent += any(note.f0_midi is None for note in tone.notes)
        vibrato += any(note.vibrato is not None for note in tone.notes)
    assert 0 < silent < 60 and vibrato


@pytest.mark.parametrize("name", export.CORPORA)
def test_any_track_of_any_seed_is_rendered(name: str) -> None:
    """A walk that always goes the same way; another start is another walk."""
    rng = np.random.default_rng([export.CORPORA.index(name), 7])
    found = export.recipe(name)
    for _ in range(4):
        index = int(10 ** rng.uniform(1, 6))
        seed = int(10 ** rng.uniform(0, 12))
        items = found.render(index, seed=seed, duration_s=found.duration_s, extras=True)
        checked(name, items)
        assert np.abs(items[0].values).max() > 0.002, (index, seed)
