"""``tags``: short pieces with about fifty tags, several for each, by artists that keep to one side.

Conventions: nothing is tagged that is not heard. :func:`plan` composes a piece and cuts the
excerpt; :func:`tags_of` reads the tags from the notes that are left, from who plays them, and from
the room. Some tags are common and some rare, and many go together (metal has distorted
guitars, folk has none), as in collections tagged by listeners. What such a collection also has,
tags that are missing where they would be true, this one has not.

An artist has a style, a voice, instruments, a room and a sound, and makes two tracks; decks of
styles, voices, rooms and sizes are dealt in turn, so that rare ones come up on every side.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from dl101.data.embedded import band, performer, soundbank
from dl101.data.embedded.annotations import DEFINITIONS, labels
from dl101.data.embedded.arranger import STYLES, Song, Style, compose
from dl101.data.embedded.band import Artist
from dl101.data.embedded.performer import draw
from dl101.data.embedded.recipe import Item, Recipe, generator, track_split
from dl101.data.embedded.renderer import SAMPLE_RATE, Notes
from dl101.data.splits import SIDES

DURATION_S = 6.0

# --- decks, and what is drawn for an artist ---

_STYLE_SHARES = {
    "classical": 4, "rock": 3, "jazz-swing": 3, "electronic": 3, "pop": 2, "pop-ballad": 2,
    "ambient": 2, "waltz": 2, "folk": 1, "jig": 1, "slip-jig": 1, "country": 1, "blues": 1,
    "bossa": 1, "funk": 1, "metal": 1, "hip-hop": 1,
}  # fmt: skip
STYLE_DECK = tuple(name for name, share in _STYLE_SHARES.items() for _ in range(share))
STYLE_TAGS = {
    "classical": "classical", "rock": "rock", "jazz-swing": "jazz", "electronic": "electronic",
    "pop": "pop", "pop-ballad": "pop", "ambient": "ambient", "folk": "folk", "jig": "folk",
    "slip-jig": "folk", "country": "country", "blues": "blues", "bossa": "latin", "funk": "funk",
    "metal": "metal", "hip-hop": "hip hop",
}  # fmt: skip
SINGERS = ("soprano", "alto", "tenor", "bass")
OWN = "own"  # an instrument of the style's
# Who has the melody, and who the chords: a voice, or a class of instruments.
LEAD_DECK = (
    *SINGERS, *SINGERS, "choir", "choir", *([OWN] * 6), "violin", "flute", "saxophone", "trumpet",
    "trumpet", "accordion", "mallets", "synth", "distorted-guitar", "cello",
)  # fmt: skip
COMPING_DECK = (
    *([OWN] * 10), "piano", "organ", "acoustic-guitar", "electric-guitar", "accordion", "mallets",
    "synth", "electric-piano", "distorted-guitar",
)  # fmt: skip
PADS, FREE_PADS = ("strings", "organ", "pad", "brass"), 0.5  # chance of any pad, not the style's
ROOMS = {  # reverberation time (s) and direct to reverberant level (dB)
    "dry": ((0.1, 0.25), (12.0, 20.0)),
    "usual": ((0.35, 0.8), (4.0, 10.0)),
    "reverberant": ((1.2, 2.2), (-2.0, 2.0)),
}
ROOM_DECK = ("dry", "usual", "usual", "reverberant")
# Of an artist's first track, which has melody and chords, and of the second.
SIZE_DECKS = (("band", "band", "band", "song"), ("solo", "solo", "duo", "trio", "band"))
ROLES = {  # who plays, by size
    "solo": (("comping",), ("melody",)),
    "song": (("melody", "comping"),),
    "duo": (("melody", "comping"), ("comping", "bass"), ("melody", "pad")),
    "trio": (("comping", "bass", "drums"), ("melody", "comping", "bass")),
    "band": (
        ("melody", "comping", "bass", "drums"),
        ("melody", "comping", "bass", "drums", "pad"),
        ("melody", "comping", "bass", "pad"),
    ),
}
LOUDNESS_DECK = ("quiet", "usual", "usual", "usual", "loud")
# RMS of a track; peaks may hold a loud one down by two decibels, hence the gap.
LEVEL_DB = {"quiet": (-40.0, -33.0), "usual": (-32.0, -26.0), "loud": (-23.0, -19.0)}
CHOIRS = ("choir-ooh", "choir-aah")
SOUND = {"noise_snr_db": (20.0, 45.0), "tilt_db_per_octave": (-1.5, 1.5)}
CONDITIONS = {side: replace(found, **SOUND) for side, found in performer.CONDITIONS.items()}
TRACKS_PER_ARTIST = 2
(_STYLE, _LEAD, _COMPING, _ROOM, _SIZE, _LOUDNESS, _ARTIST) = range(7)  # streams of random numbers

# --- what a tag means ---

SLOW_BPM, FAST_BPM = 80.0, 132.0
LOW_MIDI, HIGH_MIDI = 55.0, 68.0  # mean of the pitches that sound, weighted by duration
SPARSE, DENSE = 4.0, 16.0  # onsets in a second
INSTRUMENT_TAGS = {  # by class
    "acoustic-guitar": ("guitar", "acoustic guitar"),
    "electric-guitar": ("guitar", "electric guitar"),
    "distorted-guitar": ("guitar", "distorted guitar"),
    "piano": ("piano",),
    "electric-piano": ("electric piano",),
    "organ": ("organ",),
    "accordion": ("accordion",),
    "strings": ("strings",),
    "pizzicato": ("strings",),
    "violin": ("strings", "violin"),
    "viola": ("strings",),
    "cello": ("strings",),
    "flute": ("flute",),
    "brass": ("brass",),
    "trumpet": ("brass",),
    "trombone": ("brass",),
    "horn": ("brass",),
    "tuba": ("brass",),
    "saxophone": ("saxophone",),
    "synth": ("synthesiser",),
    "pad": ("synthesiser",),
    "mallets": ("mallets",),
    "bass": ("bass",),
    "drums": ("drums",),
}
TAGS = (
    "accordion", "acoustic guitar", "ambient", "bass", "blues", "brass", "choir", "classical",
    "compound metre", "country", "dense", "distorted guitar", "drums", "dry", "duo",
    "electric guitar", "electric piano", "electronic", "electronic drums", "ensemble", "fast",
    "female voice", "flute", "folk", "funk", "guitar", "high", "hip hop", "jazz", "latin", "loud",
    "low", "major", "male voice", "mallets", "metal", "minor", "monophonic", "no drums",
    "no vocals", "organ", "piano", "pop", "quiet", "reverberant", "rock", "saxophone", "slow",
    "solo", "sparse", "strings", "synthesiser", "triple metre", "violin", "vocals",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Plan:
    """A track before it sounds: ``written`` has the notes of the excerpt, by role."""

    artist: Artist
    song: Song
    tempo_bpm: float
    duration_s: float
    room: str
    loudness: str
    written: Mapping[str, Notes]
    rng: np.random.Generator

    @property
    def tags(self) -> tuple[str, ...]:
        """What is true of the track, sorted."""
        return tags_of(self)


def plan(index: int, seed: int, duration_s: float = DURATION_S) -> Plan:
    """Return what track ``index`` will be; quick, because nothing is rendered."""
    split, number = track_split(index)
    number, turn = divmod(number, TRACKS_PER_ARTIST)
    side = SIDES.index(split)
    style = STYLES[band.deal(STYLE_DECK, number, seed, side, _STYLE)]
    room = band.deal(ROOM_DECK, number, seed, side, _ROOM)
    artist = _artist(style.name, room, number, split, seed)
    size = band.deal(SIZE_DECKS[turn], number, seed, side, _SIZE, turn)
    loudness = band.deal(LOUDNESS_DECK, 2 * number + turn, seed, side, _LOUDNESS)

    rng = generator(seed, index)
    roles = ROLES[size][int(rng.integers(len(ROLES[size])))]
    slowest, fastest = style.tempo_bpm
    tempo_bpm = slowest * (fastest / slowest) ** draw(rng, (-0.15, 1.15))
    song, written = _compose(style, artist, roles, tempo_bpm, duration_s, rng)
    if not written:  # a melody that hardly began
        song, written = _compose(style, artist, ("comping",), tempo_bpm, duration_s, rng)
    return Plan(artist, song, tempo_bpm, duration_s, room, loudness, written, rng)


def _compose(
    style: Style,
    artist: Artist,
    roles: Sequence[str],
    tempo_bpm: float,
    duration_s: float,
    rng: np.random.Generator,
) -> tuple[Song, dict[str, Notes]]:
    """Return a song and the notes of its beginning; parts that hardly play are left out."""
    n_bars = int(np.ceil(duration_s * tempo_bpm / 60.0 / style.beats_per_bar)) + 1
    song = compose(style, n_bars, rng, roles=roles, melody_range=_range(artist, rng))
    tempo = performer.time_map(song.n_quarters, tempo_bpm * style.beat_quarters, rng, drift=0.02)
    written = band.in_register(band.excerpt(song, tempo, duration_s), artist)
    return song, {role: notes for role, notes in written.items() if notes.onsets_s.size > 2}


def _artist(style: str, room: str, number: int, split: str, seed: int) -> Artist:
    side = SIDES.index(split)
    lead = band.deal(LEAD_DECK, number, seed, side, _LEAD)
    comping = band.deal(COMPING_DECK, number, seed, side, _COMPING)
    rng = np.random.default_rng([seed, side, number, _ARTIST])
    own = {
        role: tuple(label for label in classes if label != "voice")
        for role, classes in STYLES[style].pools.items()
    }
    pools = {
        "comping": own["comping"] if comping == OWN else (comping,),
        "pad": PADS if rng.random() < FREE_PADS or not own["pad"] else own["pad"],
        "bass": own["bass"],
        "melody": own["melody"] if lead in (OWN, "choir", *SINGERS) else (lead,),
        "drums": ("drums",),
    }
    artist = band.draw_artist(
        f"{split}-{number:03d}",
        CONDITIONS[split],
        pools,
        rng,
        voice_type=lead if lead in SINGERS else None,
        tilt_db_per_octave=(-1.5, 1.5),
    )
    rt60_s, direct_to_reverb_db = ROOMS[room]
    players = dict(artist.players)
    if lead == "choir":
        choirs = [
            name for name in CHOIRS if name in band.available(("voice",), artist.conditions.heard)
        ]
        players["melody"] = performer.choose(rng, choirs)
    return replace(
        artist,
        players=players,
        room=replace(
            artist.room,
            rt60_s=draw(rng, rt60_s),
            direct_to_reverb_db=draw(rng, direct_to_reverb_db),
        ),
    )


def _range(artist: Artist, rng: np.random.Generator) -> tuple[int, int]:
    """Return the range of a melody: the singer's, or a stretch of what the instrument plays."""
    if artist.singer is not None:
        return artist.singer.range_midi
    low, high = soundbank.instrument_range(artist.players["melody"])
    low, high = max(low, 45), min(high, 90)
    lowest = int(rng.integers(low, max(high - 14, low) + 1))
    return lowest, lowest + 14


def tags_of(planned: Plan) -> tuple[str, ...]:
    """Return the tags that are true of a track, sorted."""
    written, artist, song = planned.written, planned.artist, planned.song
    sung = "melody" in written and artist.singer is not None
    players = {role: artist.players[role] for role in written if not (role == "melody" and sung)}
    found = {planned.room, planned.loudness} - {"usual"}
    for name in players.values():
        found.update(INSTRUMENT_TAGS.get(soundbank.instrument_class(name), ()))
    found.update(_voice_tags(artist, players, sung))
    if "drums" not in written:
        found.add("no drums")
    elif players["drums"] in ("kit-electronic", "kit-machine"):
        found.add("electronic drums")
    found.update({1: ("solo",), 2: ("duo",), 3: ()}.get(len(written), ("ensemble",)))
    if set(written) == {"melody"} and (sung or "choir" not in found):
        found.add("monophonic")
    found.update(_time_tags(planned))
    found.update(_pitch_tags(planned))
    if {"comping", "drums"} & set(written) and song.style in STYLE_TAGS:
        found.add(STYLE_TAGS[song.style])
    return tuple(sorted(found))


def _voice_tags(artist: Artist, players: Mapping[str, str], sung: bool) -> set[str]:
    if sung:
        female = artist.singer.voice_type in ("soprano", "alto")
        return {"vocals", "female voice" if female else "male voice"}
    if any(soundbank.instrument_class(name) == "voice" for name in players.values()):
        return {"vocals", "choir"}
    return {"no vocals"}


def _time_tags(planned: Plan) -> set[str]:
    found = set()
    if planned.tempo_bpm < SLOW_BPM:
        found.add("slow")
    if planned.tempo_bpm > FAST_BPM:
        found.add("fast")
    if planned.song.beats_per_bar == 3:
        found.add("triple metre")
    if planned.song.beat_quarters == 1.5:
        found.add("compound metre")
    onsets = sum(notes.onsets_s.size for notes in planned.written.values())
    if onsets < SPARSE * planned.duration_s:
        found.add("sparse")
    if onsets > DENSE * planned.duration_s:
        found.add("dense")
    return found


def _pitch_tags(planned: Plan) -> set[str]:
    pitched = [notes for role, notes in planned.written.items() if role != "drums"]
    if not pitched:
        return set()
    found = {"major" if planned.song.mode in ("major", "mixolydian") else "minor"}
    pitch = mean_pitch(pitched)
    if pitch < LOW_MIDI:
        found.add("low")
    if pitch > HIGH_MIDI:
        found.add("high")
    return found


def mean_pitch(pitched: list[Notes]) -> float:
    """Return the mean MIDI pitch of some parts, weighted by how long each note is held."""
    pitches = np.concatenate([notes.pitches_midi for notes in pitched])
    return float(np.average(pitches, weights=np.concatenate([n.durations_s for n in pitched])))


def render(index: int, *, seed: int, duration_s: float, extras: bool) -> list[Item]:
    """Return a track; there are no extras."""
    planned = plan(index, seed, duration_s)
    artist, rng = planned.artist, planned.rng
    parts = band.play(planned.written, artist, duration_s, rng)
    level_db = draw(rng, LEVEL_DB[planned.loudness])
    mix = band.record(parts, artist, rng, duration_s=duration_s, level_db=level_db)
    fields = labels(
        tag=planned.tags,
        artist=artist.name,
        split=track_split(index)[0],
        role="mixture",
        tempo=planned.tempo_bpm,
        tuning_cents=artist.tuning_cents,
        room=performer.describe_room(artist.room, artist.noise_snr_db),
    )
    return [Item(f"{index:05d}.wav", mix.mixture, SAMPLE_RATE, fields)]


_FIELDS = ("tag", "artist", "split", "role", "tempo", "tuning-cents", "room")
RECIPE = Recipe(
    name="tags",
    title="Short pieces with about fifty tags, several for each",
    stands_for="MagnaTagATune",
    default_tracks=420,
    duration_s=DURATION_S,
    unit="artist",
    definitions={
        **{name: DEFINITIONS[name] for name in _FIELDS},
        "tag": replace(DEFINITIONS["tag"], dictionary=TAGS),
    },
    render=render,
    provenance="songs composed by rule, the sound bank and a source-filter singer",
)
