"""Artists: who plays what, in which room, with which habits; and a song as an artist plays it.

Conventions: roles are those of :mod:`dl101.data.embedded.arranger` (``drums``, ``bass``,
``comping``, ``pad``, ``melody``). An artist belongs to one side of the split, for good: artists of
the test side play instruments, and have voices, that are heard nowhere else. What an artist is
depends on the seed, the side and the artist's number alone; what a track is, on the track.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from dl101.data.embedded import performer, renderer, singer, soundbank
from dl101.data.embedded.arranger import Song
from dl101.data.embedded.performer import Conditions, Mix, Part, TimeMap, draw
from dl101.data.embedded.renderer import SAMPLE_RATE, Notes, Player, Room
from dl101.data.embedded.singer import Singer

BASS_RANGE_MIDI = (28, 52)  # where a bass instrument is at home
PART_RMS = 0.05


@dataclass(frozen=True, eq=False)
class Artist:
    """A profile of instruments, room and habits.

    ``players`` has an instrument of the sound bank for each role; a ``singer``, if there is one,
    takes the melody. ``levels_db`` says how the artist mixes, ``tilt_db_per_octave`` how bright;
    the rest of a performance is drawn from ``conditions``.
    """

    name: str
    conditions: Conditions
    players: Mapping[str, str]
    singer: Singer | None
    room: Room
    tuning_cents: float
    tilt_db_per_octave: float
    noise_snr_db: float
    noise_slope_db: float
    levels_db: Mapping[str, float]


def available(classes: Sequence[str], heard: str) -> list[str]:
    """Return the instruments of some classes that are heard in training, or in the test."""
    return [
        name
        for label in classes
        for name in soundbank.instrument_names(heard, instrument_class=label)
    ]


def draw_artist(
    name: str,
    conditions: Conditions,
    pools: Mapping[str, Sequence[str]],
    rng: np.random.Generator,
    *,
    voice_type: str | None = None,
    tilt_db_per_octave: tuple[float, float] = (-2.0, 2.0),
) -> Artist:
    """Draw an artist.

    Parameters
    ----------
    name
        What the artist is called.
    conditions
        Which instruments are heard, and how.
    pools
        For each role, the classes of instruments of which one is drawn.
    rng
        What all choices are drawn from.
    voice_type
        Who sings (``"soprano"`` and so on); None: nobody.
    tilt_db_per_octave
        How much darker or brighter everything is that the artist records.
    """
    players = {}
    for role, classes in pools.items():
        # A class first, so that a class with many instruments is not heard more often.
        offered = [label for label in classes if available([label], conditions.heard)]
        label = performer.choose(rng, offered)
        players[role] = performer.choose(rng, available([label], conditions.heard))
    sings = None if voice_type is None else singer.draw_singer(rng, conditions.heard, voice_type)
    return Artist(
        name=name,
        conditions=conditions,
        players=players,
        singer=sings,
        room=performer.draw_room(conditions, rng),
        tuning_cents=draw(rng, conditions.tuning_cents),
        tilt_db_per_octave=draw(rng, tilt_db_per_octave),
        noise_snr_db=draw(rng, conditions.noise_snr_db),
        noise_slope_db=draw(rng, (0.0, 6.0)),
        levels_db={role: draw(rng, (-4.0, 4.0)) for role in (*players, "melody")},
    )


def deal(deck: Sequence[str], number: int, *seeds: int) -> str:
    """Return a card: each stretch of ``len(deck)`` numbers gets the whole deck, shuffled anew."""
    turn, place = divmod(number, len(deck))
    return deck[int(np.random.default_rng([*seeds, turn]).permutation(len(deck))[place])]


def excerpt(
    song: Song, tempo: TimeMap, duration_s: float, *, shift_s: float = 0.1
) -> dict[str, Notes]:
    """Return the notes of each role of a song that are heard; roles without any are left out."""
    written = {
        role: performer.skeleton(line, tempo, duration_s, shift_s=shift_s)
        for role, line in song.lines.items()
    }
    return {role: notes for role, notes in written.items() if notes.onsets_s.size}


def in_register(written: Mapping[str, Notes], artist: Artist) -> dict[str, Notes]:
    """Return the notes moved by octaves to where each player can play them."""
    moved = {}
    for role, notes in written.items():
        shift = 0
        if role != "drums" and not (role == "melody" and artist.singer):
            shift = _octave(notes, artist.players[role], role)
        moved[role] = replace(notes, pitches_midi=notes.pitches_midi + shift)
    return moved


def _octave(notes: Notes, instrument: str, role: str) -> int:
    """Return the smallest shift by octaves that brings all notes, or the most, into the range."""
    low, high = BASS_RANGE_MIDI if role == "bass" else soundbank.instrument_range(instrument)
    outside = {
        shift: np.sum((notes.pitches_midi + shift < low) | (notes.pitches_midi + shift > high))
        for shift in (0, 12, -12, 24, -24)
    }
    return min(outside, key=lambda shift: (outside[shift], abs(shift)))


def play(
    written: Mapping[str, Notes], artist: Artist, duration_s: float, rng: np.random.Generator
) -> list[Part]:
    """Return each role as the artist plays it, ready for :func:`record`.

    Parts are brought to the same RMS, and then to the artist's levels: none is lost in the mixture.
    """
    n_samples = round(duration_s * SAMPLE_RATE)
    parts = []
    for role, notes in written.items():
        if role == "melody" and artist.singer is not None:
            player = Player("singer")
            audio = _sing(notes, artist, n_samples, rng)
        else:
            played, player = performer.interpret(
                notes,
                artist.players[role],
                artist.tuning_cents,
                artist.conditions,
                rng,
                polyphonic=role in ("comping", "pad"),
            )
            audio = renderer.render_voice(played, player, n_samples)
        audio *= np.float32(PART_RMS / max(np.sqrt(np.mean(audio**2)), 1e-6))
        player = _tilted(player, artist)
        parts.append(Part(role, player=player, level_db=artist.levels_db[role], audio=audio))
    return parts


def record(
    parts: Sequence[Part],
    artist: Artist,
    rng: np.random.Generator,
    *,
    duration_s: float,
    level_db: float,
) -> Mix:
    """Return parts as they sound in the artist's room, with its noise, at a level (dB, RMS)."""
    return performer.mix(
        parts,
        artist.room,
        rng,
        duration_s=duration_s,
        noise_snr_db=artist.noise_snr_db,
        noise_slope_db=artist.noise_slope_db,
        level_db=level_db,
    )


def _tilted(player: Player, artist: Artist) -> Player:
    tilt = player.tilt_db_per_octave + artist.tilt_db_per_octave
    return replace(player, tilt_db_per_octave=tilt)


def _sing(notes: Notes, artist: Artist, n_samples: int, rng: np.random.Generator) -> NDArray:
    tuned = replace(notes, cents=notes.cents + artist.tuning_cents)
    lyrics = singer.draw_lyrics(notes.onsets_s.size, rng)
    return singer.sing(tuned, lyrics, artist.singer, n_samples, rng).audio
