"""``voice``: one voice sings a phrase, with every sound of it annotated.

Conventions: a track is one voice without accompaniment. Four in five are sung by a source-filter
singer (style ``source-filter``): syllables with consonants, vibrato, glides, breaths. The others
are sung on one vowel by a recorded voice of the sound bank (style ``sampled``). Melodies are voices
of Bach's chorales, traditional tunes and melodies composed for the track, at the pace of a song and
with a rest to breathe after long notes. ``f0`` (MIDI every 10 ms, NaN in rests and in sounds
without a voice), ``pitchmidi`` (notes as written; a vowel begins with its note) and ``phoneme``
(also ``breath``) are exact. Most tracks are dry, some are in a light room.

Splits go by *work* (tunes stay on the side that they have in ``chorales`` and ``dances``) and by
singer (``artist``): no work and no singer is on two sides. The singers of the test have shorter or
longer vocal tracts than any in training and another vibrato; the recorded ones other voices.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from dl101.data.embedded import arranger, performer, renderer, soundbank
from dl101.data.embedded.annotations import (
    DEFINITIONS,
    f0_atom,
    labels,
    note_atoms,
    segment_atoms,
)
from dl101.data.embedded.corpora import chorales, dances
from dl101.data.embedded.performer import CONDITIONS, Part, choose, describe_room, draw
from dl101.data.embedded.phonemes import VOICE_TYPES
from dl101.data.embedded.recipe import Item, Recipe, generator, track_split
from dl101.data.embedded.renderer import SAMPLE_RATE, Notes, Room
from dl101.data.embedded.scores import ScoreVoice, load_chorales, load_dances
from dl101.data.embedded.singer import Singer, draw_lyrics, draw_singer, sing
from dl101.data.pyjama import Definition
from dl101.data.splits import SIDES
from dl101.errors import ConfigError

DURATION_S = 8.0
N_SINGERS: Mapping[str, int] = {"train": 24, "validation": 8, "test": 8}
SAMPLED_EVERY = 5  # tracks of a split
# The recorded voices of each side and the vowel that they sing.
SAMPLED: Mapping[str, Mapping[str, str]] = {
    "train": {"solo-voice": "u"},
    "validation": {"choir-ooh": "u"},
    "test": {"choir-aah": "a", "synth-voice": "u"},
}
SOURCES = ("chorale", "chorale", "dance", "dance", "composed")
SONGS = ("celtic", "country", "pop-ballad", "waltz")  # styles to compose melodies in
NOTE_S = (0.32, 0.6)  # median length of a note
WIDEST_SEMITONES = 19
PHRASE_S = (2.2, 4.0)  # between breaths
PAUSE_S = (0.5, 0.8)
IN_A_ROOM = 0.35
RT60_S = {"train": (0.15, 0.5), "validation": (0.15, 0.5), "test": (0.4, 0.9)}
DIRECT_TO_REVERB_DB = (8.0, 16.0)
DRY = Room(rt60_s=0.1, direct_to_reverb_db=80.0)
NOISE_SNR_DB = {"train": (35.0, 60.0), "validation": (35.0, 60.0), "test": (30.0, 50.0)}
LEVEL_DB = (-28.0, -18.0)


@lru_cache(maxsize=16)
def singers(split: str, seed: int) -> tuple[Singer, ...]:
    """Return the singers of a side: each is heard on this side alone."""
    heard = CONDITIONS[split].heard
    return tuple(
        draw_singer(
            np.random.default_rng([seed, SIDES.index(split), number, 7]),
            heard,
            VOICE_TYPES[number % len(VOICE_TYPES)],
        )
        for number in range(N_SINGERS[split])
    )


@lru_cache(maxsize=8)
def melodies(split: str, source: str, voice_type: str) -> tuple[tuple[str, str, ScoreVoice], ...]:
    """Return (title, work, melody) of a side's chorales, for a kind of voice, or of its dances."""
    if source == "chorale":
        sides = chorales.tune_splits()
        return tuple(
            (chorale.title, chorale.tune, chorale.voices[voice_type])
            for chorale in load_chorales()
            if sides[chorale.tune] == split
        )
    sides = dances.work_splits()
    return tuple(
        (dance.title, dance.work, dance.melody)
        for dance in load_dances()
        if sides[dance.work] == split
    )


def render(
    index: int, *, seed: int = 0, duration_s: float = DURATION_S, extras: bool = False
) -> list[Item]:
    """Return track ``index``; there are no extras.

    Raises
    ------
    ConfigError
        For less than two seconds, in which no phrase fits.
    """
    if duration_s < 2.0:
        raise ConfigError(
            "track of the corpus 'voice'",
            got=f"duration_s {duration_s}",
            expected="2 seconds or more",
            hint="ask for a longer track",
        )
    split, number = track_split(index)
    rng = generator(seed, index)
    sampled = number % SAMPLED_EVERY == 3
    people = singers(split, seed)
    singer = people[int(rng.integers(len(people)))]
    low, high = singer.range_midi
    if sampled:
        instrument = choose(rng, sorted(SAMPLED[split]))
        lowest, highest = soundbank.instrument_range(instrument)
        low, high = max(low, lowest), min(high, highest)
    title, work, melody = _melody(split, number, singer.voice_type, seed, rng)
    written, tempo_bpm = _phrases(melody, (low, high), duration_s, rng)
    conditions = CONDITIONS[split]
    tuning_cents = draw(rng, conditions.tuning_cents)
    n_samples = round(duration_s * SAMPLE_RATE)

    if sampled:
        notes, player = performer.interpret(written, instrument, tuning_cents, conditions, rng)
        audio = renderer.render_voice(notes, player, n_samples)
        f0_midi = renderer.f0_curve(notes, player, duration_s)
        vowel = SAMPLED[split][instrument]
        phonemes = segment_atoms(notes.onsets_s, notes.durations_s, [vowel] * notes.onsets_s.size)
        artist, style, voice_type = instrument, "sampled", soundbank.instrument_kind(instrument)
    else:
        lyrics = draw_lyrics(written.onsets_s.size, rng)
        sung = sing(_expressive(written, tuning_cents, rng), lyrics, singer, n_samples, rng)
        audio, f0_midi, notes = sung.audio, sung.f0_midi, sung.notes
        phonemes = segment_atoms(*zip(*sung.phonemes, strict=True))
        artist, style, voice_type = singer.name, "source-filter", singer.voice_type

    in_a_room = rng.random() < IN_A_ROOM
    rt60_s, direct_db = draw(rng, RT60_S[split]), draw(rng, DIRECT_TO_REVERB_DB)
    room = Room(rt60_s, direct_db) if in_a_room else DRY
    noise_snr_db = draw(rng, NOISE_SNR_DB[split])
    mixed = performer.mix(
        [Part("voice", audio=audio)],
        room,
        rng,
        duration_s=duration_s,
        noise_snr_db=noise_snr_db,
        level_db=draw(rng, LEVEL_DB),
    )
    fields = labels(
        title=title,
        work=work,
        artist=artist,
        split=split,
        role="mixture",
        style=style,
        voice_type=voice_type,
        tempo=tempo_bpm,
        tuning_cents=tuning_cents,
        room=describe_room(room, noise_snr_db)
        if in_a_room
        else f"dry, noise {-noise_snr_db:.1f} dB",
    )
    fields["pitchmidi"] = note_atoms([notes])
    fields["f0"] = (f0_atom([f0_midi]),)
    fields["phoneme"] = phonemes
    return [Item(f"{index:05d}-{artist}.wav", mixed.mixture, SAMPLE_RATE, fields)]


def _melody(
    split: str, number: int, voice_type: str, seed: int, rng: np.random.Generator
) -> tuple[str, str, ScoreVoice]:
    source = choose(rng, SOURCES)
    if source != "composed":
        known = melodies(split, source, voice_type if source == "chorale" else "any")
        return known[int(rng.integers(len(known)))]
    song = arranger.compose(choose(rng, SONGS), 8, rng, roles=("melody",))
    line = song.lines["melody"]
    name = f"composed-{split}-{seed}-{number}"
    return name, name, ScoreVoice(line.onsets_quarters, line.durations_quarters, line.pitches_midi)


def _phrases(
    melody: ScoreVoice, limits_midi: tuple[int, int], duration_s: float, rng: np.random.Generator
) -> tuple[Notes, float]:
    """Return an excerpt at the pace of a song, with pauses to breathe, and its tempo.

    It begins anywhere but late, is cut to what fits the voice's compass, and transposed into it.
    """
    seconds_per_quarter = draw(rng, NOTE_S) / float(np.median(melody.durations_quarters))
    n = melody.onsets_quarters.size
    length_s = (melody.onsets_quarters[-1] + melody.durations_quarters[-1]) * seconds_per_quarter
    begins_s = melody.onsets_quarters * seconds_per_quarter
    possible = np.flatnonzero(begins_s <= max(length_s - duration_s, 0.0))
    first = int(rng.choice(possible)) if possible.size else 0
    begins_s = begins_s[first:] - begins_s[first]
    ends_s = begins_s + melody.durations_quarters[first:] * seconds_per_quarter
    pitches = melody.pitches_midi[first:]

    shift_s, phrase_s = draw(rng, (0.45, 0.8)), draw(rng, PHRASE_S)
    onsets_s, durations_s = np.empty(n - first), np.empty(n - first)
    since_s = 0.0
    for i in range(n - first):
        onsets_s[i] = begins_s[i] + shift_s
        durations_s[i] = ends_s[i] - begins_s[i]
        is_long = durations_s[i] > 1.2 * float(np.median(ends_s - begins_s))
        due = ends_s[i] - since_s
        if (due > phrase_s and is_long) or due > 1.3 * phrase_s:
            shift_s += draw(rng, PAUSE_S)
            since_s, phrase_s = ends_s[i], draw(rng, PHRASE_S)
    kept = onsets_s < duration_s - 0.3
    kept &= np.maximum.accumulate(pitches) - np.minimum.accumulate(pitches) <= WIDEST_SEMITONES
    onsets_s, pitches = onsets_s[kept], pitches[kept]
    durations_s = np.minimum(durations_s[kept], duration_s - 0.05 - onsets_s)
    low, high = limits_midi
    middle = 0.5 * (int(pitches.min()) + int(pitches.max()))
    slack = max(0.5 * (high - low - np.ptp(pitches)), 0.0)
    pitches = pitches + round(0.5 * (low + high) + rng.uniform(-slack, slack) - middle)
    zeros = np.zeros(onsets_s.size)
    notes = Notes(onsets_s, durations_s, pitches, zeros + 0.7, zeros, zeros.copy())
    return notes, 60.0 / seconds_per_quarter


def _expressive(written: Notes, tuning_cents: float, rng: np.random.Generator) -> Notes:
    """Turn written notes into a singer's: freer onsets, legato, dynamics, intonation."""
    n = written.onsets_s.size
    onsets_s = written.onsets_s + np.clip(rng.normal(0.0, 0.012, n), -0.03, 0.03)
    ends_s = onsets_s + written.durations_s * np.clip(rng.normal(0.96, 0.03, n), 0.8, 1.0)
    following = np.append(onsets_s[1:], np.inf)
    repeated = np.append(np.diff(written.pitches_midi) == 0, False)
    ends_s = np.minimum(ends_s, following - np.where(repeated, 0.03, 0.0))
    strength = _strength(onsets_s, rng)
    return replace(
        written,
        onsets_s=onsets_s,
        durations_s=ends_s - onsets_s,
        velocities=strength,
        levels_db=10.0 * (strength - 0.7) + rng.normal(0.0, 1.0, n),
        cents=tuning_cents + np.clip(rng.normal(0.0, 8.0, n), -20.0, 20.0),
    )


def _strength(onsets_s: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Return how hard each note is sung: phrases that rise and fall."""
    swell = 0.2 * np.sin(2 * np.pi * (onsets_s / draw(rng, (3.0, 8.0)) + rng.random()))
    return np.clip(draw(rng, (0.4, 0.8)) + swell, 0.1, 1.0)


_FIELDS = (
    "title", "work", "artist", "split", "style", "tempo", "tuning-cents", "room", "pitchmidi",
    "f0", "phoneme",
)  # fmt: skip
RECIPE = Recipe(
    name="voice",
    title="Sung phrases with pitch, notes and the sounds of their syllables",
    stands_for="MIR-1K and corpora of solo singing",
    default_tracks=120,
    duration_s=DURATION_S,
    unit="work",
    definitions={
        **{name: DEFINITIONS[name] for name in _FIELDS},
        "role": replace(DEFINITIONS["role"], dictionary=("mixture",)),
        "voice-type": Definition(
            "voice-type", "global", "text", (*VOICE_TYPES, "ensemble", "solo")
        ),
    },
    render=render,
    provenance="Bach's chorales, traditional tunes, a source-filter singer and the sound bank",
)
