"""``chorales`` and ``piano``: Bach's four-part chorales, performed anew for every track.

Conventions: a track is one performance of an excerpt of one chorale. Splits go by *tune* (the
melody that a chorale harmonises): which tune belongs to which split is fixed by its name, for every
seed and number of tracks. The test split is played by instruments and in rooms that training and
validation never hear, further out of tune, and in more noise. A corpus with more tracks than a
split has chorales performs them again, differently.

``chorales`` has a player for each voice, whose pitch is known at every moment (``f0multi``: four
rows, soprano to bass; 0 where a voice is silent, throughout where it does not take part). ``piano``
gives all voices to one keyboard, of which only the notes are known.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from dl101.data.embedded import performer, renderer, soundbank
from dl101.data.embedded.annotations import DEFINITIONS, f0_atom, labels, note_atoms
from dl101.data.embedded.performer import (
    CONDITIONS,
    MIN_NOTE_S,
    Conditions,
    Part,
    TimeMap,
    draw,
    draw_room,
)
from dl101.data.embedded.recipe import Item, Recipe, generator, track_split
from dl101.data.embedded.renderer import SAMPLE_RATE, Notes, Room
from dl101.data.embedded.scores import VOICES, Chorale, load_chorales
from dl101.data.pyjama import Definition
from dl101.data.splits import SIDES, split_by_group
from dl101.errors import ConfigError
from dl101.units import db_to_amplitude

DURATION_S = 15.0
PAUSE_S = (0.1, 0.6)  # before an excerpt
LAST_ONSET_S = MIN_NOTE_S + 0.05  # before the end of an excerpt
SILENT = "silent"  # the instrument of a voice that does not take part

LOWEST_MIDI, HIGHEST_MIDI = 35, 86  # what some instrument of the bank plays
LEVEL_DB = (-30.0, -20.0)  # RMS of the mixture below full scale
DOUBLED, ABSENT = 0.15, 0.1  # chances, for each voice and for each track
SAME_INSTRUMENT_EVERY = 6  # tracks of a split, so that a small corpus has its share
PLAYERS: Mapping[str, tuple[str, ...]] = {
    "training": (
        "bassoon", "cello", "choir-ooh", "church-organ", "clarinet", "flute", "french-horn",
        "harpsichord", "nylon-guitar", "oboe", "piano", "reed-organ", "string-section",
        "trombone", "trumpet", "violin",
    ),
    "test": (
        "accordion", "choir-aah", "electric-piano", "harp", "muted-trumpet", "recorder",
        "tenor-saxophone", "tuba", "viola",
    ),
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Track:
    """One performance and everything that is known about it.

    ``mixture`` has shape (samples,), float32 at 22 050 Hz; ``stems`` holds the voices that sound,
    as they are in the mixture (which is their sum plus noise). ``f0_midi`` has one curve per
    sounding voice, every 10 ms, NaN where it is silent.
    """

    name: str
    split: str
    chorale: Chorale
    instruments: Mapping[str, str]
    tempo_bpm: float
    tuning_cents: float
    transposition_semitones: int
    room: Room
    noise_snr_db: float
    mixture: NDArray[np.float32]
    stems: Mapping[str, NDArray[np.float32]]
    notes: Mapping[str, Notes]
    f0_midi: Mapping[str, NDArray[np.float64]]


@lru_cache(maxsize=1)
def tune_splits() -> Mapping[str, str]:
    """Return the split of every tune; it depends on the tunes' names alone."""
    return split_by_group(
        [chorale.tune for chorale in load_chorales()], fractions=(2 / 3, 1 / 6, 1 / 6)
    )


@lru_cache(maxsize=16)
def playlist(split: str, seed: int) -> tuple[Chorale, ...]:
    """Return the chorales of a split in the order in which tracks take them.

    Each tune is heard once before any tune is heard in a second harmonisation.
    """
    rng = np.random.default_rng([seed, SIDES.index(split)])
    by_tune: dict[str, list[Chorale]] = {}
    for chorale in load_chorales():
        if tune_splits()[chorale.tune] == split:
            by_tune.setdefault(chorale.tune, []).append(chorale)
    groups = [
        [by_tune[tune][i] for i in rng.permutation(len(by_tune[tune]))] for tune in sorted(by_tune)
    ]
    groups = [groups[i] for i in rng.permutation(len(groups))]
    rounds = range(max(len(group) for group in groups))
    return tuple(group[turn] for turn in rounds for group in groups if turn < len(group))


def render_track(
    index: int,
    *,
    seed: int = 0,
    duration_s: float = DURATION_S,
    pianos: Mapping[str, Sequence[str]] | None = None,
) -> Track:
    """Perform track number ``index``: the same arguments always give the same samples.

    Parameters
    ----------
    index
        Number of the track in the corpus, from 0.
    seed
        Another seed gives other pieces, instruments, rooms, ... in the same splits.
    duration_s
        Length of the excerpt; a chorale that ends sooner is followed by noise alone.
    pianos
        Instruments of which one, in place of the usual players, plays all voices, by what is heard
        in ``"training"`` and in ``"test"``.

    Raises
    ------
    ConfigError
        For a negative index or seed, or an excerpt under two seconds.
    """
    if index < 0 or seed < 0 or duration_s < 2.0:
        raise ConfigError(
            "track of the chorales",
            got=f"index {index}, seed {seed}, duration_s {duration_s}",
            expected="index and seed of 0 or more, duration_s of 2.0 or more",
            hint="correct the argument",
        )
    split, number = track_split(index)
    pieces = playlist(split, seed)
    chorale = pieces[number % len(pieces)]
    conditions = CONDITIONS[split]
    rng = generator(seed, index)

    tempo_bpm = draw(rng, conditions.tempo_bpm)
    tuning_cents = draw(rng, conditions.tuning_cents)
    transposition = _transposition(chorale, rng)
    room = draw_room(conditions, rng)
    noise_snr_db = draw(rng, conditions.noise_snr_db)
    noise_slope_db = draw(rng, (0.0, 6.0))
    level_db = draw(rng, LEVEL_DB)
    absent = rng.choice(VOICES) if pianos is None and rng.random() < ABSENT else None
    excerpt = _excerpt(chorale, tempo_bpm, transposition, duration_s, rng)
    if len(excerpt) > 1:
        excerpt.pop(absent, None)
    if pianos is None:
        together = number % SAME_INSTRUMENT_EVERY == 3
        casting = _casting(excerpt, conditions, together, rng)
    else:
        piano = performer.choose(rng, pianos[conditions.heard])
        casting = dict.fromkeys(excerpt, (piano,))

    parts, played, f0_midi = [], {}, {}
    for voice, written in excerpt.items():
        dry = np.zeros(round(duration_s * SAMPLE_RATE), dtype=np.float32)
        # The first player is the one annotated; a second one doubles it almost in tune.
        for name in reversed(casting[voice]):
            notes, player = performer.interpret(written, name, tuning_cents, conditions, rng)
            dry += renderer.render_voice(notes, player, dry.size)
        dry *= np.float32(db_to_amplitude(draw(rng, conditions.voice_level_db)))
        parts.append(Part(voice, player=player, audio=dry))
        played[voice] = notes
        f0_midi[voice] = renderer.f0_curve(notes, player, duration_s)
    mix = performer.mix(
        parts,
        room,
        rng,
        duration_s=duration_s,
        noise_snr_db=noise_snr_db,
        noise_slope_db=noise_slope_db,
        level_db=level_db,
    )
    return Track(
        name=f"{index:04d}-bwv{_padded(chorale.bwv)}",
        split=split,
        chorale=chorale,
        instruments={voice: "+".join(names) for voice, names in casting.items()},
        tempo_bpm=tempo_bpm,
        tuning_cents=tuning_cents,
        transposition_semitones=transposition,
        room=room,
        noise_snr_db=noise_snr_db,
        mixture=mix.mixture,
        stems=mix.stems,
        notes=played,
        f0_midi=f0_midi,
    )


def render(index: int, *, seed: int, duration_s: float, extras: bool) -> list[Item]:
    """Return a track of ``chorales``: the mixture and, with ``extras``, each voice that sounds."""
    track = render_track(index, seed=seed, duration_s=duration_s)
    curves = {voice: np.nan_to_num(f0_midi) for voice, f0_midi in track.f0_midi.items()}
    silence = np.zeros_like(next(iter(curves.values())))
    mixture = _fields(track, "mixture", [track.instruments.get(v, SILENT) for v in VOICES])
    mixture["pitchmidi"] = note_atoms(track.notes.values())
    mixture["f0multi"] = (f0_atom([curves.get(voice, silence) for voice in VOICES]),)
    items = [Item(f"{track.name}.wav", track.mixture, SAMPLE_RATE, mixture)]
    for voice in track.stems if extras else ():
        stem = _fields(track, "stem", [track.instruments[voice]])
        stem["pitchmidi"] = note_atoms([track.notes[voice]])
        stem["f0"] = (f0_atom([curves[voice]]),)
        items.append(Item(f"{track.name}-{voice}.wav", track.stems[voice], SAMPLE_RATE, stem))
    return items


def render_piano(index: int, *, seed: int, duration_s: float, extras: bool) -> list[Item]:
    """Return a track of ``piano``; there are no extras."""
    pianos = {
        heard: soundbank.instrument_names(heard, instrument_class="piano")
        for heard in ("training", "test")
    }
    track = render_track(index, seed=seed, duration_s=duration_s, pianos=pianos)
    fields = _fields(track, "mixture", [next(iter(track.instruments.values()))])
    fields["pitchmidi"] = note_atoms(track.notes.values())
    return [Item(f"{track.name}.wav", track.mixture, SAMPLE_RATE, fields)]


def _fields(track: Track, role: str, instruments: list[str]) -> dict:
    return labels(
        title=track.chorale.title,
        work=track.chorale.tune,
        bwv=track.chorale.bwv,
        split=track.split,
        role=role,
        tempo=track.tempo_bpm,
        tuning_cents=track.tuning_cents,
        room=performer.describe_room(track.room, track.noise_snr_db),
        instrument=instruments,
    )


def _padded(bwv: str) -> str:
    """Return a catalogue number that begins with four digits: 153.1 becomes 0153.1.

    What follows the first number is kept, whatever it is: 145-a, 248.23-s.
    """
    return re.sub(r"^\d+", lambda number: number[0].zfill(4), bwv)


def _transposition(chorale: Chorale, rng: np.random.Generator) -> int:
    """Draw a transposition by up to three semitones that stays in the bank's range."""
    lowest = min(int(voice.pitches_midi.min()) for voice in chorale.voices.values())
    highest = max(int(voice.pitches_midi.max()) for voice in chorale.voices.values())
    low, high = max(-3, LOWEST_MIDI - lowest), min(3, HIGHEST_MIDI - highest)
    return int(rng.integers(low, high + 1))


def _time_map(chorale: Chorale, tempo_bpm: float, rng: np.random.Generator) -> TimeMap:
    """Return a drifting tempo that rests: fermatas are held longer, in all voices at once."""
    step = 0.125
    quarters = np.arange(0.0, chorale.duration_quarters + step / 2, step)
    period = rng.uniform(12.0, 32.0)
    drift = rng.uniform(0.0, 0.08) * np.sin(
        2 * np.pi * (quarters[:-1] / period + rng.uniform(0.0, 1.0))
    )
    seconds_per_quarter = 60.0 / tempo_bpm * (1.0 + drift)
    for begin, end in chorale.fermatas_quarters:
        held = (quarters[:-1] >= begin) & (quarters[:-1] < end)
        seconds_per_quarter[held] *= rng.uniform(1.1, 1.8)
    return TimeMap(quarters, np.concatenate([[0.0], np.cumsum(seconds_per_quarter * step)]))


def _excerpt(
    chorale: Chorale,
    tempo_bpm: float,
    transposition: int,
    duration_s: float,
    rng: np.random.Generator,
) -> dict[str, Notes]:
    """Return the notes of each voice in an excerpt that begins with a phrase."""
    tempo = _time_map(chorale, tempo_bpm, rng)
    begins = np.concatenate([[0.0], chorale.fermatas_quarters[:, 1]])
    begins_s = tempo.to_seconds(begins)
    onsets = np.sort(np.concatenate([voice.onsets_quarters for voice in chorale.voices.values()]))
    firsts = np.append(onsets, np.inf)[np.searchsorted(onsets, begins - 1e-9)]
    # None so late that the chorale ends long before the excerpt does, or that nothing is heard.
    heard = tempo.to_seconds(firsts) - begins_s < duration_s - PAUSE_S[1] - LAST_ONSET_S
    possible = np.flatnonzero((tempo.seconds[-1] - begins_s >= duration_s - 2.0) & heard)
    chosen = int(rng.choice(possible)) if possible.size else int(np.argmax(heard))
    shift_s = rng.uniform(*PAUSE_S) - begins_s[chosen]

    excerpt = {}
    for voice in VOICES:
        score = chorale.voices[voice]
        onsets_s = tempo.to_seconds(score.onsets_quarters) + shift_s
        ends_s = tempo.to_seconds(score.onsets_quarters + score.durations_quarters) + shift_s
        heard = score.onsets_quarters >= begins[chosen] - 1e-9
        heard &= onsets_s < duration_s - LAST_ONSET_S
        n = int(heard.sum())
        excerpt[voice] = Notes(
            onsets_s=onsets_s[heard],
            durations_s=np.minimum(ends_s[heard], duration_s) - onsets_s[heard],
            pitches_midi=score.pitches_midi[heard] + transposition,
            velocities=np.ones(n),
            levels_db=np.zeros(n),
            cents=np.zeros(n),
        )
    return {voice: notes for voice, notes in excerpt.items() if notes.onsets_s.size}


def _casting(
    excerpt: Mapping[str, Notes], conditions: Conditions, together: bool, rng: np.random.Generator
) -> dict[str, tuple[str, ...]]:
    """Choose who plays each voice: one instrument for all, or each its own; some are doubled."""
    able = {}
    for voice, notes in excerpt.items():
        low, high = int(notes.pitches_midi.min()), int(notes.pitches_midi.max())
        able[voice] = performer.able_players(PLAYERS[conditions.heard], low, high)
    common = sorted(set.intersection(*(set(names) for names in able.values())))
    everyone = str(rng.choice(common)) if together and common else None
    casting = {}
    for voice, names in able.items():
        first = everyone or str(rng.choice(names))
        others = [name for name in names if name != first]
        doubled = everyone is None and rng.random() < DOUBLED and others
        casting[voice] = (first, str(rng.choice(others))) if doubled else (first,)
    return casting


def _recipe_fields(*names: str) -> dict[str, Definition]:
    fields = ("title", "work", "bwv", "split", "role", "instrument", "tempo", "tuning-cents")
    return {name: DEFINITIONS[name] for name in (*fields, "room", "pitchmidi", *names)}


_ROLES = replace(DEFINITIONS["role"], dictionary=("mixture", "stem"))
CHORALES = Recipe(
    name="chorales",
    title="Bach chorales by four players, with the pitch of every voice",
    stands_for="Bach10",
    default_tracks=60,
    duration_s=15.0,
    unit="work",
    extras="each voice by itself (role stem)",
    n_extras=3.9,
    definitions={
        **_recipe_fields("f0multi", "f0"),
        "role": _ROLES,
        "f0multi": replace(DEFINITIONS["f0multi"], rows=VOICES),
    },
    render=render,
)
PIANO = Recipe(
    name="piano",
    title="Bach chorales on a keyboard, with the notes alone",
    stands_for="MAPS",
    default_tracks=60,
    duration_s=15.0,
    unit="work",
    definitions={**_recipe_fields(), "role": _ROLES},
    render=render_piano,
)
RECIPES = (CHORALES, PIANO)
