"""``instruments``: who plays in front? Short excerpts of twelve instruments with accompaniment.

Conventions: a track is an excerpt of a short composition: one instrument, the label, plays the
melody, others accompany it more softly (by ``margin_db`` of RMS, in the dry sound). Compositions go
to splits as wholes and each is heard with three different leaders; what accompanies, in which style
and how fast, does not depend on the label, except that the label's class never accompanies itself.
The test split has other recordings of each instrument, other registers and other rooms, and noise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from numpy.typing import NDArray

from dl101.data.embedded import arranger, performer, renderer, soundbank
from dl101.data.embedded.annotations import DEFINITIONS, labels, note_atoms
from dl101.data.embedded.arranger import Song
from dl101.data.embedded.band import deal
from dl101.data.embedded.performer import Conditions, Part, TimeMap, choose, draw
from dl101.data.embedded.recipe import Item, Recipe, generator, track_split
from dl101.data.embedded.renderer import SAMPLE_RATE, Notes
from dl101.data.splits import SIDES
from dl101.units import db_to_amplitude

DURATION_S = 3.0
N_BARS = 6
LEADERS_OF_A_WORK = 3
LEVEL_DB = (-30.0, -20.0)  # RMS of the mixture below full scale

# The labels, as classes of the bank: those with other recordings on the test side.
CLASSES = (
    "acoustic-guitar", "cello", "distorted-guitar", "electric-guitar", "electric-piano", "flute",
    "mallets", "piano", "saxophone", "strings", "violin", "voice",
)  # fmt: skip
# Who may play behind; classes that a side does not have are left out there.
ACCOMPANISTS = {
    "drums": ("drums",),
    "bass": ("bass",),
    "comping": (
        "accordion", "acoustic-guitar", "clavinet", "electric-piano", "harp", "harpsichord",
        "organ", "piano",
    ),
    "pad": ("organ", "pad"),
}  # fmt: skip
# Which roles accompany; drums are in half of all tracks.
ENSEMBLES = (
    ("comping",),
    ("bass", "comping"),
    ("drums", "bass", "comping"),
    ("drums", "bass", "comping", "pad"),
)
CHORDAL = ("drums", "comping", "pad")  # roles whose notes overlap
ROLE_DB = {  # within the accompaniment
    "melody": (0.0, 0.0),
    "drums": (-9.0, 0.0),
    "bass": (-4.0, 3.0),
    "comping": (-2.0, 2.0),
    "pad": (-8.0, -2.0),
}
MARGIN_DB = (4.0, 14.0)
# Noise is faint, timbre not far from as recorded and, on the test side, the microphone near.
_TRAINING = replace(performer.TRAINING, noise_snr_db=(25.0, 45.0), tilt_db_per_octave=(-1.5, 1.5))
CONDITIONS: Mapping[str, Conditions] = {
    "train": _TRAINING,
    "validation": _TRAINING,
    "test": replace(
        performer.TEST,
        noise_snr_db=(20.0, 40.0),
        tilt_db_per_octave=(-1.5, 1.5),
        direct_to_reverb_db=(4.0, 10.0),
    ),
}
# The middle of a melody, as a share of the leader's compass; melodies span an octave or more.
REGISTERS = {
    "train": ((0.4, 0.6),),
    "validation": ((0.4, 0.6),),
    "test": ((0.28, 0.38), (0.62, 0.72)),
}
SPAN_SEMITONES = 14
COMPASS = (45, 96)  # of melodies, MIDI

# What random numbers are for, so that no two uses share them.
_LABELS, _STYLE, _NOTES, _PLAN, _SOUND = range(1, 6)


@dataclass(frozen=True)
class Plan:
    """What a track will be.

    ``players`` names the instrument of the bank for each role, of which ``melody`` is the leader's.
    """

    split: str
    label: str
    work: int
    style: str
    players: Mapping[str, str]
    melody_range: tuple[int, int]
    tempo_bpm: float
    margin_db: float


def plan(index: int, seed: int = 0) -> Plan:
    """Return what track ``index`` is, without composing or rendering it."""
    split, number = track_split(index)
    heard = CONDITIONS[split].heard
    label = deal(CLASSES, number, seed, SIDES.index(split), _LABELS, 0)
    work = number // LEADERS_OF_A_WORK
    # The composition fixes the style, so that it says nothing about who leads.
    style = arranger.STYLES[choose(_work_rng(seed, split, work, _STYLE), sorted(arranger.STYLES))]
    rng = generator(seed, index, _PLAN)
    roles = ENSEMBLES[int(rng.integers(len(ENSEMBLES)))]
    players = {"melody": choose(rng, _recorded(heard, label))}
    for role in roles:
        players[role] = choose(rng, _able(role, heard, label, rng))
    low, high = soundbank.instrument_range(players["melody"])
    low, high = max(low, COMPASS[0]), min(high, COMPASS[1])
    registers = REGISTERS[split]
    middle = low + (high - low) * draw(rng, registers[int(rng.integers(len(registers)))])
    lowest = int(np.clip(round(middle) - SPAN_SEMITONES // 2, low, high - SPAN_SEMITONES))
    return Plan(
        split=split,
        label=label,
        work=work,
        style=style.name,
        players=players,
        melody_range=(lowest, lowest + SPAN_SEMITONES),
        tempo_bpm=draw(rng, style.tempo_bpm),
        margin_db=draw(rng, MARGIN_DB),
    )


@cache
def _recorded(heard: str, instrument_class: str) -> tuple[str, ...]:
    return soundbank.instrument_names(heard, instrument_class=instrument_class)


def _able(role: str, heard: str, label: str, rng: np.random.Generator) -> tuple[str, ...]:
    """Return the instruments of one class that may play a role; not of the label's class."""
    classes = [c for c in ACCOMPANISTS[role] if c != label and _recorded(heard, c)]
    return _recorded(heard, choose(rng, classes))


def _work_rng(seed: int, split: str, work: int, use: int) -> np.random.Generator:
    return np.random.default_rng([seed, SIDES.index(split), work, use])


def render(
    index: int, *, seed: int = 0, duration_s: float = DURATION_S, extras: bool = False
) -> list[Item]:
    """Return a track and, with ``extras``, the melody and the accompaniment by themselves."""
    planned = plan(index, seed)
    conditions = CONDITIONS[planned.split]
    song = arranger.compose(
        planned.style,
        N_BARS,
        _work_rng(seed, planned.split, planned.work, _NOTES),
        melody_range=planned.melody_range,
    )
    rng = generator(seed, index, _SOUND)
    tempo = performer.time_map(song.n_quarters, planned.tempo_bpm * song.beat_quarters, rng)
    shift_s = draw(rng, (0.03, 0.15)) - _beginning(song, tempo, duration_s, rng)
    tuning_cents = draw(rng, conditions.tuning_cents)

    played, dry = {}, {}
    for role, instrument in planned.players.items():
        written = performer.skeleton(song.lines[role], tempo, duration_s, shift_s=shift_s)
        if written.onsets_s.size == 0:  # not every style has every role
            continue
        if role != "drums":
            written = _in_range(written, instrument)
        played[role], player = performer.interpret(
            written, instrument, tuning_cents, conditions, rng, polyphonic=role in CHORDAL
        )
        sound = renderer.render_voice(played[role], player, round(duration_s * SAMPLE_RATE))
        # The timbre is tilted first, so that the balance is that of what is heard.
        tilts_db = [player.tilt_db_per_octave]
        tilted = renderer.place_in_room(sound[None], np.ones(1, dtype=np.float32), tilts_db)
        dry[role] = _levelled(tilted[0], draw(rng, ROLE_DB[role]))
    others = [role for role in dry if role != "melody"]
    behind = _levelled(np.sum([dry[role] for role in others], axis=0), -planned.margin_db)
    room, noise_snr_db = performer.draw_room(conditions, rng), draw(rng, conditions.noise_snr_db)
    mix = performer.mix(
        [Part("melody", audio=dry["melody"]), Part("accompaniment", audio=behind)],
        room,
        rng,
        duration_s=duration_s,
        noise_snr_db=noise_snr_db,
        noise_slope_db=draw(rng, (0.0, 6.0)),
        level_db=draw(rng, LEVEL_DB),
    )

    common = labels(
        work=f"{planned.split}-{planned.work:04d}",
        tempo=planned.tempo_bpm,
        tuning_cents=tuning_cents,
        room=performer.describe_room(room, noise_snr_db),
        split=planned.split,
    )
    melody = {**labels(instrument=planned.label), "pitchmidi": note_atoms([played["melody"]])}
    classes = {soundbank.instrument_class(planned.players[role]) for role in others}
    accompaniment = labels(accompaniment=sorted(classes))
    name = f"{index:05d}-{planned.split}"  # says nothing about the label
    fields = {**common, **labels(role="mixture"), **melody, **accompaniment}
    items = [Item(f"{name}.wav", mix.mixture, SAMPLE_RATE, fields)]
    stems = {"melody": melody, "accompaniment": accompaniment} if extras else {}
    for stem, of_stem in stems.items():
        fields = {**common, **labels(role="stem"), **of_stem}
        items.append(Item(f"{name}-{stem}.wav", mix.stems[stem], SAMPLE_RATE, fields))
    return items


def _beginning(song: Song, tempo: TimeMap, duration_s: float, rng: np.random.Generator) -> float:
    """Return when an excerpt begins: at one of the bars after which the melody rests least."""
    melody = song.lines["melody"]
    onsets_s = tempo.to_seconds(melody.onsets_quarters)
    ends_s = tempo.to_seconds(melody.onsets_quarters + melody.durations_quarters)
    bars_s = tempo.to_seconds(np.linspace(0.0, song.n_quarters, N_BARS + 1)[:-1])
    begins_s = bars_s[bars_s + duration_s <= tempo.seconds[-1]][::2]
    begins_s = begins_s if begins_s.size else bars_s[:1]
    kept = (onsets_s >= begins_s[:, None] - 1e-6) & (onsets_s < begins_s[:, None] + duration_s)
    sounding_s = ((np.minimum(ends_s, begins_s[:, None] + duration_s) - onsets_s) * kept).sum(
        axis=1
    )
    good = np.flatnonzero(sounding_s >= 0.9 * sounding_s.max())
    return float(begins_s[rng.choice(good)])


def _in_range(written: Notes, instrument: str) -> Notes:
    """Return notes of which those beyond an instrument's range are moved by an octave."""
    low, high = soundbank.instrument_range(instrument)
    pitches_midi = written.pitches_midi
    octaves = np.where(pitches_midi < low, 12, 0) - np.where(pitches_midi > high, 12, 0)
    return replace(written, pitches_midi=pitches_midi + octaves)


def _levelled(audio: NDArray[np.float32], level_db: float) -> NDArray[np.float32]:
    """Return a sound with another RMS, in dB."""
    rms = max(float(np.sqrt(np.mean(audio**2))), 1e-9)
    return audio * np.float32(db_to_amplitude(level_db) / rms)


_FIELDS = (
    "instrument", "accompaniment", "work", "tempo", "tuning-cents", "room", "split", "role",
    "pitchmidi",
)  # fmt: skip
RECIPE = Recipe(
    name="instruments",
    title="Excerpts of three seconds with one of twelve instruments in front",
    stands_for="IRMAS",
    default_tracks=432,
    duration_s=DURATION_S,
    unit="work",
    extras="the melody and its accompaniment (role stem)",
    n_extras=2.0,
    definitions={
        **{name: DEFINITIONS[name] for name in _FIELDS},
        "role": replace(DEFINITIONS["role"], dictionary=("mixture", "stem")),
        "instrument": replace(DEFINITIONS["instrument"], dictionary=CLASSES),
    },
    render=render,
    provenance="composed by the arranger, played with the sound bank",
)
