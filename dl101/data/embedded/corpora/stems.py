"""``stems``: songs and the four tracks that they are mixed from.

Conventions: as in MUSDB18, a song has an entry with role ``mixture`` and four with role ``stem``,
whose field ``stem`` says which: ``drums``, ``bass``, ``other`` (chords, held and struck, and what
else plays) and ``vocals`` (a melody sung by a source-filter singer or, in one song of six, by a
recorded voice). All five are stereo and equally long; the stems, with their room, sum to the
mixture exactly, sample by sample, and there is no noise.

Each artist (a singer, a band and a room) plays two songs and stays on one side of the split. Those
of the test have other voices, other instruments and larger rooms.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from dl101.data.embedded import band, performer
from dl101.data.embedded.annotations import DEFINITIONS, labels
from dl101.data.embedded.arranger import STYLES, Song, accompany, compose
from dl101.data.embedded.balance import balanced
from dl101.data.embedded.band import Artist
from dl101.data.embedded.performer import CONDITIONS, Part, choose, draw
from dl101.data.embedded.phonemes import VOICE_TYPES
from dl101.data.embedded.recipe import Item, Recipe, generator, track_split
from dl101.data.embedded.renderer import SAMPLE_RATE, Notes
from dl101.data.pyjama import Definition
from dl101.data.splits import SIDES

DURATION_S = 10.0
STEMS: Mapping[str, tuple[str, ...]] = {  # what each is the sum of
    "drums": ("drums",),
    "bass": ("bass",),
    "other": ("comping", "pad", "second"),
    "vocals": ("melody",),
}
SONG_STYLES = (
    "rock", "pop", "pop-ballad", "blues", "reggae", "funk", "soul", "disco", "electronic",
    "hip-hop", "country", "bossa", "metal",
)  # fmt: skip
_MACHINES = ("kit-electronic", "kit-machine")
_LOUD = ("kit-power", "kit-room", "kit-standard", "kit-studio")
_PLAYED = ("kit-pop", "kit-room", "kit-standard", "kit-jazz", "kit-studio")
KITS = dict.fromkeys(("electronic", "hip-hop", "disco"), _MACHINES)
KITS |= dict.fromkeys(("rock", "metal"), _LOUD)  # others: _PLAYED
SONGS_PER_ARTIST = 2
SAMPLED = 1 / 6  # chance that an artist's voice is a recorded one
SAMPLED_RANGE = (55, 74)  # what it sings, MIDI
WITHOUT = {"pad": 0.4, "second": 0.5}  # chances; the second is another instrument with the chords
INTRO = 0.2  # chance of a bar or two of drums alone, and of such a break
# Levels in dB while a part sounds, and places between left (-1) and right (1).
ROLE_DB = {
    "melody": (-3.0, 2.0), "drums": (-4.0, 2.0), "bass": (-5.0, 0.0), "comping": (-7.0, -2.0),
    "second": (-10.0, -4.0), "pad": (-12.0, -6.0),
}  # fmt: skip
PAN = {"melody": 0.08, "drums": 0.15, "bass": 0.05, "comping": 0.7, "second": 0.7, "pad": 0.3}
RT60_S = {"train": (0.15, 0.7), "validation": (0.15, 0.7), "test": (0.5, 1.2)}
DIRECT_TO_REVERB_DB = (6.0, 18.0)  # a studio's microphones are close
LEVEL_DB = (-22.0, -14.0)
_ARTIST = 1  # a stream of random numbers beside that of the track


@dataclass(frozen=True, eq=False)
class Profile:
    """An artist, the style that the band plays, and where on the stage its members stand."""

    artist: Artist
    style: str
    second: str
    pan: Mapping[str, float]


def profile(split: str, number: int, seed: int) -> Profile:
    """Return an artist of a side by number."""
    rng = np.random.default_rng([seed, SIDES.index(split), number, _ARTIST])
    style = choose(rng, SONG_STYLES)
    conditions = replace(
        CONDITIONS[split], rt60_s=RT60_S[split], direct_to_reverb_db=DIRECT_TO_REVERB_DB
    )
    # Choirs are vocals, so the rest has none.
    pools = {
        role: [label for label in classes if label != "voice"]
        for role, classes in STYLES[style].pools.items()
    }
    pools |= {"melody": ["voice"], "drums": ["drums"]}
    voice_type = None if rng.random() < SAMPLED else choose(rng, VOICE_TYPES)
    name = f"{split}-{seed}-{number}"
    artist = band.draw_artist(name, conditions, pools, rng, voice_type=voice_type)
    kits = KITS.get(style, _PLAYED)
    kits = [kit for kit in band.available(["drums"], conditions.heard) if kit in kits]
    artist = replace(
        artist,
        players={**artist.players, "drums": choose(rng, kits)},
        levels_db=dict.fromkeys(artist.players, 0.0),
    )
    others = band.available(pools["comping"], conditions.heard)
    others = [name for name in others if name != artist.players["comping"]]
    side = float(rng.choice([-1.0, 1.0]))
    pan = {role: width * draw(rng, (-1.0, 1.0)) for role, width in PAN.items()}
    # Two that play the chords stand on different sides.
    pan["comping"], pan["second"] = side * abs(pan["comping"]), -side * abs(pan["second"])
    return Profile(artist, style, choose(rng, others or [artist.players["comping"]]), pan)


def render(
    index: int, *, seed: int = 0, duration_s: float = DURATION_S, extras: bool = False
) -> list[Item]:
    """Return the mixture and its four stems (always: they are what the corpus is for)."""
    split, number = track_split(index)
    who = profile(split, number // SONGS_PER_ARTIST, seed)
    artist = who.artist
    rng = generator(seed, index)
    tempo_bpm = draw(rng, STYLES[who.style].tempo_bpm)
    song = _song(who, tempo_bpm, duration_s, rng)
    quarter_bpm = tempo_bpm * song.beat_quarters
    tempo = performer.time_map(song.n_quarters, quarter_bpm, rng, drift=0.01)
    written = band.excerpt(song, tempo, duration_s, shift_s=draw(rng, (0.05, 0.2)))
    parts = _play(written, who, duration_s, rng)
    levels_db = {part.name: draw(rng, ROLE_DB[part.name]) for part in parts}
    parts = balanced(parts, levels_db, duration_s)
    mix = performer.mix(
        [replace(part, pan=who.pan[part.name]) for part in parts],
        artist.room,
        rng,
        duration_s=duration_s,
        level_db=draw(rng, LEVEL_DB),
        stereo=True,
    )
    common = labels(
        title=f"Song {number % SONGS_PER_ARTIST + 1} by {artist.name}",
        work=f"{artist.name}-{number % SONGS_PER_ARTIST}",
        artist=artist.name,
        split=split,
        style=who.style,
        tempo=tempo_bpm,
        tuning_cents=artist.tuning_cents,
        room=performer.describe_room(artist.room),
    )
    players = {**artist.players, "second": who.second}
    if artist.singer:
        players["melody"] = f"singer ({artist.singer.voice_type})"
    name = f"{index:05d}-{split}"
    heard = [players[part.name] for part in parts]
    fields = {**common, **labels(role="mixture", instrument=heard)}
    items = [Item(f"{name}.wav", mix.mixture, SAMPLE_RATE, fields)]
    for stem, roles in STEMS.items():
        sounds = [mix.stems[role] for role in roles if role in mix.stems]
        values = np.sum(sounds, axis=0) if sounds else np.zeros_like(mix.mixture)
        heard = [players[role] for role in roles if role in mix.stems]
        fields = {**common, **labels(role="stem", stem=stem, instrument=heard)}
        items.append(Item(f"{name}-{stem}.wav", values, SAMPLE_RATE, fields))
    return items


def _song(who: Profile, tempo_bpm: float, duration_s: float, rng: np.random.Generator) -> Song:
    style = STYLES[who.style]
    n_bars = int(np.ceil(duration_s * tempo_bpm / 60.0 / style.beats_per_bar)) + 1
    low, high = who.artist.singer.range_midi if who.artist.singer else SAMPLED_RANGE
    roles = ["drums", "bass", "comping", "melody"]
    roles += ["pad"] if rng.random() >= WITHOUT["pad"] else []
    song = compose(
        style, max(n_bars, 4), rng, roles=roles, melody_range=(low, high), no_chord=INTRO
    )
    if rng.random() < WITHOUT["second"]:
        return song
    second = accompany(song.chords, style, song.n_quarters, rng, ["comping"])["comping"]
    return replace(song, lines={**song.lines, "second": second})


def _play(
    written: Mapping[str, Notes], who: Profile, duration_s: float, rng: np.random.Generator
) -> list[Part]:
    """Return every role as it is played; the second is played like the first."""
    artist = who.artist
    first = {role: notes for role, notes in written.items() if role != "second"}
    parts = band.play(band.in_register(first, artist), artist, duration_s, rng)
    if "second" in written:
        other = replace(artist, players={"comping": who.second})
        notes = band.in_register({"comping": written["second"]}, other)
        parts += [replace(p, name="second") for p in band.play(notes, other, duration_s, rng)]
    return parts


_FIELDS = (
    "title", "work", "artist", "split", "role", "style", "tempo", "tuning-cents", "room",
    "instrument",
)  # fmt: skip
RECIPE = Recipe(
    name="stems",
    title="Songs in stereo with their vocals, drums, bass and the rest",
    stands_for="MUSDB18",
    default_tracks=24,
    duration_s=DURATION_S,
    unit="artist",
    definitions={
        **{name: DEFINITIONS[name] for name in _FIELDS},
        "role": replace(DEFINITIONS["role"], dictionary=("mixture", "stem")),
        "stem": Definition("stem", "global", "text", tuple(STEMS)),
    },
    render=render,
    extras="the four stems are always there (role stem)",
    bytes_per_s=5 * 2 * 4.0 * SAMPLE_RATE,  # five stereo sounds
    provenance="songs composed by rule, the sound bank and a source-filter singer",
)
