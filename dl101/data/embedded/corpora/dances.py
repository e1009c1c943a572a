"""``dances``: which dance is it? Traditional tunes with accompaniment, labelled by rhythm.

Conventions: a track begins with a section of a tune, plays it twice, as dancers need it, and goes
on to the next. What tells the dances apart is rhythm: the metre, the running eighths of a reel, the
swing of a hornpipe, the snaps of a strathspey, and the pattern of the accompaniment. Instruments,
drums, key, loudness and room are drawn in the same way for all dances, and their tempos overlap.
``beat`` marks what dancers count (a reel's two beats in a bar, a jig's dotted ones), 1 for the
downbeat; ``tempo`` is the mean number of these in a minute.

Splits go by *work* (a tune, in whatever book and under whatever title): they are fixed by name, for
every seed. The test split has other instruments, other rooms, more detuning and more noise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from dl101.data.embedded import performer, soundbank
from dl101.data.embedded.annotations import (
    DEFINITIONS,
    covering_atoms,
    labels,
    marker_atoms,
    note_atoms,
)
from dl101.data.embedded.arranger import Line, accompany, swing
from dl101.data.embedded.harmony import NO_CHORD, ROOT_NAMES, ChordSpan, harmonise, merge
from dl101.data.embedded.performer import CONDITIONS, Part, TimeMap, choose, draw
from dl101.data.embedded.recipe import Item, Recipe, generator, track_split
from dl101.data.embedded.renderer import SAMPLE_RATE
from dl101.data.embedded.scores import DANCE_KINDS, Dance, ScoreVoice, load_dances
from dl101.data.embedded.styles import DRUMS, STYLES, Style
from dl101.data.splits import SIDES, split_by_group

DURATION_S = 12.0
LEVEL_DB = (-30.0, -20.0)  # RMS of the mixture below full scale
CHANCES = {"comping": 1.0, "bass": 0.6, "drums": 0.4, "pad": 0.25}  # the same for all dances
ROLE_DB = {
    "melody": (-2.0, 2.0), "comping": (-9.0, -3.0), "bass": (-8.0, -2.0),
    "pad": (-14.0, -8.0), "drums": (-10.0, -3.0),
}  # fmt: skip
NOT_LEADING = ("bass", "drums", "pad", "pizzicato")
CHORDAL = (
    "accordion", "acoustic-guitar", "banjo", "electric-guitar", "electric-piano", "harp",
    "harpsichord", "organ", "piano", "strings",
)  # fmt: skip
PADS = ("accordion", "organ", "pad", "strings", "voice")
LOW_DRUMS = ("kick", "low_tom", "conga")
HIGH_DRUMS = ("snare", "stick", "tambourine", "shaker", "hat")


@dataclass(frozen=True)
class Feel:
    """How a dance goes: its accompaniment, its beats (in quarters) and their tempo.

    ``uneven`` says where the second eighth of a quarter begins (0.5: halfway), in tunes that are
    written in even eighths; dotted ones are played as they are written.
    """

    style: Style
    beat_quarters: float
    tempo_bpm: tuple[float, float]
    uneven: tuple[float, float] = (0.5, 0.5)


_SIX_EIGHT_MARCH = replace(
    STYLES["jig"], name="march", bass=("R..5..", "R..R.."), comping=("b.sf.s", "x..x.s", "..s..s")
)
FEELS: Mapping[str, Feel] = {
    "reel": Feel(STYLES["reel"], 2.0, (82.0, 118.0), (0.5, 0.55)),
    "hornpipe": Feel(STYLES["hornpipe"], 1.0, (108.0, 176.0), (0.6, 0.7)),
    "strathspey": Feel(STYLES["strathspey"], 1.0, (100.0, 168.0)),
    "jig": Feel(STYLES["jig"], 1.5, (86.0, 128.0)),
    "slip-jig": Feel(STYLES["slip-jig"], 1.5, (80.0, 124.0)),
    "march": Feel(STYLES["march"], 1.0, (84.0, 128.0)),
    "air": Feel(STYLES["waltz"], 1.0, (76.0, 136.0)),
}


def feel(dance: Dance) -> Feel:
    """Return how a dance goes; marches come in 2/4, 4/4 and 6/8."""
    if dance.meter == "6/8" and dance.kind == "march":
        return replace(FEELS["march"], style=_SIX_EIGHT_MARCH, beat_quarters=1.5)
    return FEELS[dance.kind]


@lru_cache(maxsize=1)
def work_splits() -> Mapping[str, str]:
    """Return the split of every work; it depends on the works' names alone.

    Each work is counted with the dance that it is played as first, so that every dance has its
    share of works on each side.
    """
    kinds: dict[str, str] = {}
    for dance in load_dances():
        kinds.setdefault(dance.work, dance.kind)
    splits: dict[str, str] = {}
    for kind in DANCE_KINDS:
        works = [work for work, found in kinds.items() if found == kind]
        splits |= split_by_group(works, fractions=(2 / 3, 1 / 6, 1 / 6))
    return splits


@lru_cache(maxsize=64)
def playlist(split: str, kind: str, seed: int) -> tuple[Dance, ...]:
    """Return the dances of one kind in a split: each work once, then those in a second setting."""
    rng = np.random.default_rng([seed, SIDES.index(split), DANCE_KINDS.index(kind)])
    dances = [d for d in load_dances() if d.kind == kind and work_splits()[d.work] == split]
    dances = [dances[i] for i in rng.permutation(len(dances))]
    turns: dict[str, int] = {}
    order = []
    for place, dance in enumerate(dances):
        turns[dance.work] = turns.get(dance.work, -1) + 1
        order.append((turns[dance.work], place))
    return tuple(dances[place] for _, place in sorted(order))


def kind_of(split: str, number: int, seed: int) -> tuple[str, int]:
    """Return the dance of a track, and its number among those: all are equally frequent.

    Each group of seven tracks of a split has all seven, in an order of its own.
    """
    group, place = divmod(number, len(DANCE_KINDS))
    rng = np.random.default_rng([seed, SIDES.index(split), 1, group])
    return DANCE_KINDS[rng.permutation(len(DANCE_KINDS))[place]], group


def unroll(
    dance: Dance, sections: Sequence[int], begin_quarters: float = 0.0
) -> tuple[ScoreVoice, NDArray[np.float64]]:
    """Return the melody of sections played one after another, and where they end (quarters)."""
    melody = dance.melody
    onsets, durations, pitches, ends = [], [], [], [begin_quarters]
    for section in sections:
        begin, end = dance.sections_quarters[section]
        inside = (melody.onsets_quarters >= begin - 1e-9) & (melody.onsets_quarters < end - 1e-9)
        onsets.append(melody.onsets_quarters[inside] - begin + ends[-1])
        durations.append(melody.durations_quarters[inside])
        pitches.append(melody.pitches_midi[inside])
        ends.append(ends[-1] + end - begin)
    voice = ScoreVoice(*(np.concatenate(parts) for parts in (onsets, durations, pitches)))
    return voice, np.array(ends[1:])


def is_dotted(voice: ScoreVoice) -> bool:
    """Return whether a melody is written with many dotted eighths."""
    short = voice.durations_quarters < 0.8
    dotted = np.isclose(voice.durations_quarters, 0.75)
    return bool(dotted.sum() > 0.12 * short.sum())


def melody_line(
    voice: ScoreVoice, pickup_quarters: float, beat_quarters: float, transposition: int
) -> Line:
    """Return a melody with its accents: on the downbeats of each beat, and a little by height."""
    phase = np.mod(voice.onsets_quarters - pickup_quarters, beat_quarters)
    on_beat = np.isclose(phase, 0.0) | np.isclose(phase, beat_quarters)
    height = (voice.pitches_midi - voice.pitches_midi.mean()) / 60.0
    velocities = np.clip(np.where(on_beat, 0.85, 0.68) + height, 0.3, 1.0)
    return Line(
        voice.onsets_quarters, voice.durations_quarters,
        voice.pitches_midi + transposition, velocities,
    )  # fmt: skip


def recast(style: Style, rng: np.random.Generator) -> Style:
    """Return a style whose drums are others: a dance is not to be told by the sound of its drum."""
    low = {DRUMS["kick"], DRUMS["low_tom"]}
    patterns = []
    for pattern in style.drums:
        names = [*rng.permutation(LOW_DRUMS)], [*rng.permutation(HIGH_DRUMS)]
        patterns.append({DRUMS[names[n not in low].pop()]: row for n, row in pattern.items()})
    return replace(style, drums=tuple(patterns), fills=())


def fold_into_range(line: Line, instrument: str) -> Line:
    """Return a line with notes that an instrument does not have moved by octaves."""
    low, high = soundbank.instrument_range(instrument)
    pitches = line.pitches_midi.copy()
    pitches += 12 * np.maximum(0, -((pitches - low) // 12))
    pitches -= 12 * np.maximum(0, -((high - pitches) // 12))
    return replace(line, pitches_midi=pitches)


def instruments_for(role: str | None, heard: str) -> list[str]:
    """Return who may play a role (``comping``, ``pad``, ``bass``, ``drums``; else the melody)."""
    names = soundbank.instrument_names(heard)
    if role not in CHANCES:
        return [n for n in names if soundbank.instrument_class(n) not in NOT_LEADING]
    classes = {"comping": CHORDAL, "pad": PADS}.get(role, (role,))
    return [n for n in names if soundbank.instrument_class(n) in classes]


def cast(
    melody: Line, roles: Sequence[str], heard: str, rng: np.random.Generator
) -> dict[str, str]:
    """Choose who plays what, whatever the dance."""
    low, high = int(melody.pitches_midi.min()), int(melody.pitches_midi.max())
    leaders = instruments_for("melody", heard)
    players = {"melody": choose(rng, performer.able_players(leaders, low, high) or leaders)}
    return players | {role: choose(rng, instruments_for(role, heard)) for role in roles}


def render(index: int, *, seed: int, duration_s: float, extras: bool) -> list[Item]:
    """Return a track of ``dances``; there are no extras."""
    split, number = track_split(index)
    conditions = CONDITIONS[split]
    kind, turn = kind_of(split, number, seed)
    tunes = playlist(split, kind, seed)
    dance = tunes[turn % len(tunes)]
    going = feel(dance)
    rng = generator(seed, index)

    tempo_bpm = draw(rng, going.tempo_bpm)
    tuning_cents = draw(rng, conditions.tuning_cents)
    transposition = int(rng.integers(-5, 7))
    n_wanted = duration_s * tempo_bpm / 60.0 * going.beat_quarters * 1.1 + dance.bar_quarters
    sections, n_quarters = [], 0.0
    section = int(rng.integers(len(dance.sections_quarters)))
    while n_quarters < n_wanted:
        sections += [section, section]
        n_quarters += 2 * float(np.ptp(dance.sections_quarters[section]))
        section = (section + 1) % len(dance.sections_quarters)
    # Swing is counted from 0, so the first downbeat has to lie on a whole number of quarters.
    lead = float(np.ceil(dance.pickup_quarters) - dance.pickup_quarters)
    voice, ends = unroll(dance, sections, lead)
    begin, n_quarters = dance.pickup_quarters + lead, n_quarters + lead
    style = recast(going.style, rng)
    uneven = draw(rng, going.uneven)
    if is_dotted(voice):
        style, uneven = replace(style, swing=0.5 if uneven <= 0.5 else 0.72), 0.5
    else:
        style = replace(style, swing=uneven)
    roles = [role for role, chance in CHANCES.items() if rng.random() < chance]

    melody = melody_line(voice, begin, going.beat_quarters, transposition)
    chords = harmonise(
        voice, dance.tonic, dance.mode, grid_quarters=dance.bar_quarters / _changes(dance),
        bar_quarters=dance.bar_quarters, n_quarters=n_quarters, begin_quarters=begin,
        section_ends_quarters=ends[:-1] + dance.pickup_quarters, rng=rng,
    )  # fmt: skip
    chords = transpose(chords, transposition)
    lines = {"melody": swing(melody, uneven)}
    lines |= accompany(chords, style, n_quarters, rng, roles, begin_quarters=begin)
    players = cast(lines["melody"], roles, conditions.heard, rng)

    tempo = performer.time_map(n_quarters, tempo_bpm * going.beat_quarters, rng)
    shift_s = draw(rng, (0.1, 0.5)) - float(tempo.to_seconds(lead))
    parts, heard = [], {}
    for role, instrument in players.items():
        line = lines[role]
        line = line if role == "drums" else fold_into_range(line, instrument)
        notes = performer.skeleton(line, tempo, duration_s, shift_s=shift_s)
        if not notes.onsets_s.size:
            continue
        notes, player = performer.interpret(
            notes, instrument, tuning_cents, conditions, rng, polyphonic=role != "melody"
        )
        heard[role] = notes
        parts.append(Part(role, notes, player, level_db=draw(rng, ROLE_DB[role])))
    room, noise_snr_db = performer.draw_room(conditions, rng), draw(rng, conditions.noise_snr_db)
    mix = performer.mix(
        parts, room, rng, duration_s=duration_s, noise_snr_db=noise_snr_db,
        noise_slope_db=draw(rng, (0.0, 6.0)), level_db=draw(rng, LEVEL_DB),
    )  # fmt: skip

    beats, places = _beats(dance, going, begin, n_quarters, tempo, shift_s, duration_s)
    fields = labels(
        title=dance.title,
        work=dance.work,
        rhythm=dance.kind,
        meter="2/2" if going.beat_quarters == 2.0 else dance.meter,
        key=f"{ROOT_NAMES[(dance.tonic + transposition) % 12]} {dance.mode}",
        tempo=60.0 / np.mean(np.diff(beats)),
        tuning_cents=tuning_cents,
        room=performer.describe_room(room, noise_snr_db),
        instrument=sorted({soundbank.instrument_class(players[role]) for role in heard}),
        split=split,
        role="mixture",
    )
    fields["beat"] = marker_atoms(beats, places)
    fields["chord"] = _chord_atoms(chords, tempo, shift_s, duration_s)
    fields["pitchmidi"] = note_atoms([heard["melody"]])
    return [Item(f"{index:05d}.wav", mix.mixture, SAMPLE_RATE, fields)]


def transpose(chords: Sequence[ChordSpan], semitones: int) -> tuple[ChordSpan, ...]:
    """Return chords moved by a number of semitones."""
    return merge(
        [
            span if span.chord.root is None
            else replace(span, chord=replace(span.chord, root=(span.chord.root + semitones) % 12))
            for span in chords
        ]
    )  # fmt: skip


def _changes(dance: Dance) -> int:
    """Return how often in a bar chords may change."""
    return {"9/8": 3, "3/4": 1, "2/4": 1}.get(dance.meter, 2)


def _beats(
    dance: Dance,
    going: Feel,
    begin: float,
    n_quarters: float,
    tempo: TimeMap,
    shift_s: float,
    duration_s: float,
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return the times of the beats, and their places in the bar from 1."""
    in_bar = round(dance.bar_quarters / going.beat_quarters)
    first = -int(dance.pickup_quarters // going.beat_quarters)  # whole beats of the upbeat
    numbers = np.arange(first, int((n_quarters - begin) // going.beat_quarters))
    times = tempo.to_seconds(begin + numbers * going.beat_quarters) + shift_s
    inside = (times >= 0.0) & (times < duration_s)
    return times[inside], numbers[inside] % in_bar + 1


def _chord_atoms(
    chords: Sequence[ChordSpan], tempo: TimeMap, shift_s: float, duration_s: float
) -> tuple:
    edges = np.array([[span.onset_quarters, span.end_quarters] for span in chords])
    edges = np.clip(tempo.to_seconds(edges) + shift_s, 0.0, duration_s)
    heard = edges[:, 1] - edges[:, 0] > 1e-3
    names = [span.chord.label for span, sounds in zip(chords, heard, strict=True) if sounds]
    durations_s = np.diff(edges[heard])[:, 0]
    return covering_atoms(
        edges[heard, 0], durations_s, names, duration_s=duration_s, filler=NO_CHORD.label
    )


_FIELDS = (
    "title", "work", "rhythm", "meter", "key", "tempo", "tuning-cents", "room", "instrument",
    "split", "role", "beat", "chord", "pitchmidi",
)  # fmt: skip
RECIPE = Recipe(
    name="dances",
    title="Traditional dances by type, with beats and chords",
    stands_for="Ballroom",
    default_tracks=168,
    duration_s=DURATION_S,
    unit="work",
    definitions={name: DEFINITIONS[name] for name in _FIELDS}
    | {
        "rhythm": replace(DEFINITIONS["rhythm"], dictionary=DANCE_KINDS),
        "role": replace(DEFINITIONS["role"], dictionary=("mixture",)),
    },
    render=render,
    provenance="tunes from Ryan's Mammoth Collection (1883) and O'Neill's Music of Ireland (1903), "
    "both in the public domain, and the sound bank",
)
