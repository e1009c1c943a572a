"""``genres``: short songs in ten styles, one label each, by artists that keep to one side.

Conventions: the ten styles are those of GTZAN. A track is a new song by an artist, who has a genre,
a band and a room. Styles overlap as they do in life: bands borrow instruments from other styles,
and in crossover tracks drums, bass or chords are played as in another style. Their label stays that
of the artist, which is why no system can be right every time.

Every ten tracks of a side hold each genre once, in a random order.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from dl101.data.embedded import band, performer
from dl101.data.embedded.annotations import DEFINITIONS, labels
from dl101.data.embedded.arranger import STYLES, Song, Style, accompany, compose
from dl101.data.embedded.band import Artist
from dl101.data.embedded.performer import draw
from dl101.data.embedded.recipe import Item, Recipe, generator, track_split
from dl101.data.embedded.renderer import SAMPLE_RATE
from dl101.data.splits import SIDES

DURATION_S = 8.0


@dataclass(frozen=True)
class Genre:
    """How a genre is played and recorded, more often than not.

    ``kits`` are drum kits of which those that the side hears are taken; levels are relative to the
    other parts.
    """

    style: str
    kits: tuple[str, ...]
    drums_db: float = 0.0
    bass_db: float = 0.0
    tilt_db_per_octave: float = 0.0


_ACOUSTIC = ("kit-standard", "kit-room", "kit-pop", "kit-studio")
_LOUD = ("kit-power", "kit-room", "kit-studio")
_MACHINES = ("kit-electronic", "kit-machine")
GENRES = {
    "blues": Genre("blues", _ACOUSTIC, drums_db=-2.0),
    "classical": Genre("classical", _ACOUSTIC),
    "country": Genre("country", _ACOUSTIC, drums_db=-3.0, tilt_db_per_octave=1.0),
    "disco": Genre("disco", (*_MACHINES, "kit-pop"), drums_db=3.0, bass_db=2.0),
    "hip-hop": Genre("hip-hop", _MACHINES, drums_db=4.0, bass_db=5.0, tilt_db_per_octave=-1.5),
    "jazz": Genre("jazz-swing", ("kit-jazz", "kit-studio"), drums_db=-4.0),
    "metal": Genre("metal", _LOUD, drums_db=2.0, tilt_db_per_octave=1.5),
    "pop": Genre("pop", ("kit-pop", "kit-standard", *_MACHINES, "kit-studio"), drums_db=1.0),
    "reggae": Genre("reggae", _ACOUSTIC, bass_db=5.0, tilt_db_per_octave=-1.0),
    "rock": Genre("rock", _LOUD, drums_db=2.0),
}
TRACKS_PER_ARTIST = 3
BORROWED = 0.15  # chance, for each role, that a band has an instrument from another style
COMMON = {  # what is borrowed: instruments that are at home in many styles
    "comping": ("piano", "electric-piano", "organ", "acoustic-guitar", "electric-guitar"),
    "pad": ("strings", "organ", "pad"),
    "bass": ("bass",),
    "melody": ("electric-guitar", "saxophone", "trumpet", "flute", "piano", "synth"),
}
CROSSOVER = 0.25  # chance that a track takes something over from another style
# Chances that a role is silent; there is always a bass.
WITHOUT = {"pad": 0.5, "melody": 0.15, "comping": 0.1, "drums": 0.1}
TEMPO_SPREAD = 0.12  # tempo ranges of styles, widened on a logarithmic scale
LEVEL_DB = (-28.0, -18.0)  # of a track
LEVELS_DB = (-3.0, 3.0)  # of a part
# Instruments and artists tell the sides apart, rooms and recording do not.
RECORDING = {
    "rt60_s": (0.2, 1.0),
    "direct_to_reverb_db": (2.0, 12.0),
    "noise_snr_db": (25.0, 45.0),
    "tilt_db_per_octave": (-1.0, 1.0),
}
CONDITIONS = {side: replace(found, **RECORDING) for side, found in performer.CONDITIONS.items()}
VOICES = ("soprano", "alto", "tenor", "bass")
_GENRE_ORDER, _ARTIST = 1, 2  # streams of random numbers beside that of the track


@dataclass(frozen=True, eq=False)
class Plan:
    """A track before it sounds. ``crossover`` names the style that it borrows from, if any."""

    genre: str
    artist: Artist
    song: Song
    tempo_bpm: float
    crossover: str
    rng: np.random.Generator


def plan(index: int, seed: int, duration_s: float = DURATION_S) -> Plan:
    """Return what track ``index`` will be; quick, because nothing is rendered."""
    split, number = track_split(index)
    genre = band.deal(sorted(GENRES), number, seed, SIDES.index(split), _GENRE_ORDER)
    artist = _artist(genre, number // len(GENRES) // TRACKS_PER_ARTIST, split, seed)
    rng = generator(seed, index)
    style = STYLES[GENRES[genre].style]
    spread = np.exp(rng.uniform(-TEMPO_SPREAD, TEMPO_SPREAD))
    tempo_bpm = draw(rng, style.tempo_bpm) * float(spread)
    song, crossover = _song(style, artist, tempo_bpm, duration_s, rng)
    return Plan(genre, artist, song, tempo_bpm, crossover, rng)


def _artist(genre: str, number: int, split: str, seed: int) -> Artist:
    place = sorted(GENRES).index(genre)
    rng = np.random.default_rng([seed, SIDES.index(split), number, place, _ARTIST])
    style = STYLES[GENRES[genre].style]
    pools = {
        role: COMMON[role] if rng.random() < BORROWED else style.pools[role] for role in COMMON
    }
    voice_type = performer.choose(rng, VOICES) if rng.random() < style.vocals else None
    name = f"{split}-{genre}-{number}"
    conditions, habits = CONDITIONS[split], GENRES[genre]
    artist = band.draw_artist(
        name, conditions, pools, rng, voice_type=voice_type, tilt_db_per_octave=(-1.0, 1.0)
    )
    kits = [kit for kit in band.available(("drums",), conditions.heard) if kit in habits.kits]
    levels_db = {
        **artist.levels_db,
        "drums": habits.drums_db + draw(rng, LEVELS_DB),
        "bass": habits.bass_db + draw(rng, LEVELS_DB),
    }
    return replace(
        artist,
        players={**artist.players, "drums": performer.choose(rng, kits)},
        levels_db=levels_db,
        tilt_db_per_octave=artist.tilt_db_per_octave + habits.tilt_db_per_octave,
    )


def _song(
    style: Style, artist: Artist, tempo_bpm: float, duration_s: float, rng: np.random.Generator
) -> tuple[Song, str]:
    """Compose a song; return it, and the name of the style that it borrows from (or nothing)."""
    roles = [r for r in (*COMMON, "drums") if rng.random() >= WITHOUT.get(r, 0.0)]
    n_bars = int(np.ceil(duration_s * tempo_bpm / 60.0 / style.beats_per_bar)) + 1
    low, high = artist.singer.range_midi if artist.singer else (60, 79)
    song = compose(style, n_bars, rng, roles=roles, melody_range=(low, high))
    if rng.random() >= CROSSOVER:
        return song, ""
    related = [
        other
        for other in (STYLES[genre.style] for genre in GENRES.values())
        if other.name != style.name and other.bar_quarters == style.bar_quarters
    ]
    other = related[int(rng.integers(len(related)))]
    taken = [("drums",), ("bass",), ("drums", "bass"), ("comping",)][int(rng.integers(4))]
    lines = accompany(song.chords, other, song.n_quarters, rng, [r for r in taken if r in roles])
    return replace(song, lines={**song.lines, **lines}), other.name if lines else ""


def render(index: int, *, seed: int, duration_s: float, extras: bool) -> list[Item]:
    """Return a track; there are no extras."""
    planned = plan(index, seed, duration_s)
    artist, song, rng = planned.artist, planned.song, planned.rng
    beat_bpm = planned.tempo_bpm * song.beat_quarters  # quarter notes in a minute
    tempo = performer.time_map(song.n_quarters, beat_bpm, rng, drift=0.02)
    written = band.in_register(band.excerpt(song, tempo, duration_s), artist)
    parts = band.play(written, artist, duration_s, rng)
    mix = band.record(parts, artist, rng, duration_s=duration_s, level_db=draw(rng, LEVEL_DB))
    fields = labels(
        genre=planned.genre,
        style=[song.style, *([planned.crossover] if planned.crossover else [])],
        artist=artist.name,
        split=track_split(index)[0],
        role="mixture",
        tempo=planned.tempo_bpm,
        tuning_cents=artist.tuning_cents,
        instrument=[
            "singer" if role == "melody" and artist.singer else artist.players[role]
            for role in written
        ],
        room=performer.describe_room(artist.room, artist.noise_snr_db),
    )
    return [Item(f"{index:05d}.wav", mix.mixture, SAMPLE_RATE, fields)]


RECIPE = Recipe(
    name="genres",
    title="Short songs in ten genres that overlap",
    stands_for="GTZAN",
    default_tracks=300,
    duration_s=DURATION_S,
    unit="artist",
    definitions={
        name: DEFINITIONS[name]
        for name in ("genre", "style", "artist", "split", "role", "tempo", "tuning-cents",
                     "instrument", "room")
    },
    render=render,
    provenance="songs composed by rule, the sound bank and a source-filter singer",
)  # fmt: skip
