"""``chords``: which chord sounds when? Bach's harmony and composed songs, in Harte's syntax.

Conventions: in each split every other track is a chorale by Bach, whose chords are found from the
written notes (:func:`dl101.data.embedded.harmony.analyse_chorale`: by rule, so that beats over
which analysts disagree have one answer); the others are songs composed over progressions, whose
chords are exact. A chorale is sung or played by four voices, played by one chordal instrument, or
accompanied by a band, beat by beat. The field ``chord`` covers the whole track, with inversions and
sevenths; ``N`` stands before the music begins, after its end, and where drums are alone. For the
25 classes see :mod:`dl101.data.harte`.

Splits go by *work*: chorales by their tune, as in ``chorales``; each song is heard once. The test
split has other instruments and rooms. All keys are equally likely.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from dl101.data.embedded import band, performer
from dl101.data.embedded.annotations import DEFINITIONS, Atoms, covering_atoms, labels
from dl101.data.embedded.arranger import STYLES, Line, accompany, compose
from dl101.data.embedded.balance import balanced
from dl101.data.embedded.band import Artist
from dl101.data.embedded.corpora import chorales
from dl101.data.embedded.harmony import NO_CHORD, Chord, ChordSpan, analyse_chorale, merge
from dl101.data.embedded.lines import line_from_notes
from dl101.data.embedded.performer import CONDITIONS, TimeMap, choose, draw
from dl101.data.embedded.recipe import Item, Recipe, generator, track_split
from dl101.data.embedded.renderer import SAMPLE_RATE, Notes
from dl101.data.embedded.scores import VOICES, Chorale

DURATION_S = 20.0
SONG_STYLES = (
    "rock", "pop", "pop-ballad", "blues", "jazz-swing", "bossa", "reggae", "funk", "soul", "disco",
    "electronic", "hip-hop", "country", "folk", "celtic", "waltz", "classical", "ragtime",
    "ambient",
)  # fmt: skip
BAND_STYLES = {  # in which a chorale's quick chords make sense, by its beats in a bar
    3: ("waltz",),
    4: ("pop-ballad", "soul", "folk", "country", "rock", "reggae", "classical", "celtic"),
}
ARRANGEMENTS = ("voices", "chordal", "band")
VOICE_CLASSES = (
    "voice", "strings", "organ", "violin", "viola", "cello", "clarinet", "bassoon", "oboe", "horn",
    "trombone", "trumpet", "tuba", "saxophone", "flute",
)  # fmt: skip
CHORDAL_CLASSES = (
    "piano", "organ", "harpsichord", "electric-piano", "acoustic-guitar", "strings", "harp",
    "accordion",
)  # fmt: skip
LEADING_CLASSES = ("voice", "violin", "flute", "clarinet", "oboe", "trumpet", "saxophone")
ROLE_DB = {"drums": -3.0, "bass": 1.0, "comping": 1.0, "pad": -4.0, "melody": -1.0}
CHORALE_BPM, FERMATA = (60.0, 100.0), (1.0, 1.4)  # held notes are held longer by such a factor
WITHOUT = {"pad": 0.5, "melody": 0.3, "drums": 0.15}  # chances that a song does without
NO_CHORD_CHANCE = 0.3  # of an introduction by drums in a song, and of a break
BAND_INTRO = 0.5  # chance that drums are alone for a bar before a chorale
ENDS_EARLY = 0.35  # chance that a song is over before the track is
LEVEL_DB = (-28.0, -18.0)


@dataclass(frozen=True, eq=False)
class Piece:
    """Music in score time, from 0. ``pools`` gives each line's possible players, as classes."""

    title: str
    work: str
    style: str
    chords: tuple[ChordSpan, ...]
    lines: Mapping[str, Line]
    pools: Mapping[str, Sequence[str]]
    tempo_bpm: float
    tempo: TimeMap


@dataclass(frozen=True, eq=False)
class Plan:
    """A track before it sounds: the piece, who plays its notes, and when its score begins."""

    split: str
    piece: Piece
    artist: Artist
    written: Mapping[str, Notes]
    chords: Atoms
    rng: np.random.Generator


def plan(index: int, seed: int = 0, duration_s: float = DURATION_S) -> Plan:
    """Return what track ``index`` will be; quick, because nothing is rendered."""
    split, number = track_split(index)
    rng = generator(seed, index)
    if number % 2 == 0:
        piece = _chorale_piece(split, number // 2, seed, duration_s, rng)
    else:
        piece = _song_piece(f"{split}-{seed}-{number}", duration_s, rng)
    artist = band.draw_artist(f"{split}-{number}", CONDITIONS[split], piece.pools, rng)
    artist = replace(artist, levels_db=dict.fromkeys(piece.lines, 0.0))
    shift_s = draw(rng, (0.1, 0.4)) if rng.random() < 0.5 else draw(rng, (0.4, 2.0))
    written = {
        role: performer.skeleton(line, piece.tempo, duration_s, shift_s=shift_s)
        for role, line in piece.lines.items()
    }
    written = {role: notes for role, notes in written.items() if notes.onsets_s.size}
    if "soprano" in written:
        artist = replace(artist, players=_singers(written, artist.conditions.heard, rng))
    else:
        written = band.in_register(written, artist)
    chords = chord_atoms(piece.chords, piece.tempo, shift_s, duration_s)
    return Plan(split, piece, artist, written, chords, rng)


def render(
    index: int, *, seed: int = 0, duration_s: float = DURATION_S, extras: bool = False
) -> list[Item]:
    """Return track ``index``; there are no extras."""
    planned = plan(index, seed, duration_s)
    piece, artist, rng = planned.piece, planned.artist, planned.rng
    roles = list(planned.written)
    levels_db = {role: ROLE_DB.get(role, 0.0) + draw(rng, (-2.0, 2.0)) for role in roles}
    parts = band.play(planned.written, artist, duration_s, rng)
    parts = balanced(parts, levels_db, duration_s)
    mix = band.record(parts, artist, rng, duration_s=duration_s, level_db=draw(rng, LEVEL_DB))
    fields = labels(
        title=piece.title,
        work=piece.work,
        split=planned.split,
        role="mixture",
        style=piece.style,
        tempo=piece.tempo_bpm,
        tuning_cents=artist.tuning_cents,
        room=performer.describe_room(artist.room, artist.noise_snr_db),
        instrument=[artist.players[role] for role in roles],
    )
    fields["chord"] = planned.chords
    return [Item(f"{index:05d}-{planned.split}.wav", mix.mixture, SAMPLE_RATE, fields)]


def chord_atoms(
    chords: Sequence[ChordSpan], tempo: TimeMap, shift_s: float, duration_s: float
) -> Atoms:
    """Return the chords of a whole track in seconds: ``N`` before, after and in between."""
    times_s = tempo.to_seconds([0.0, *(span.end_quarters for span in chords)]) + shift_s
    edges_s = [0.0, *np.minimum(times_s, duration_s), duration_s]
    found = [NO_CHORD, *(span.chord for span in chords), NO_CHORD]
    spans = [
        ChordSpan(float(begin), float(end - begin), chord)
        for begin, end, chord in zip(edges_s[:-1], edges_s[1:], found, strict=True)
        if end > begin
    ]
    spans = merge(spans)
    return covering_atoms(
        [span.onset_quarters for span in spans],
        [span.duration_quarters for span in spans],
        [span.chord.label for span in spans],
        duration_s=duration_s,
        filler=NO_CHORD.label,
    )


def _chorale_piece(
    split: str, number: int, seed: int, duration_s: float, rng: np.random.Generator
) -> Piece:
    pieces = chorales.playlist(split, seed)
    chorale = pieces[number % len(pieces)]
    arrangement = ARRANGEMENTS[number % len(ARRANGEMENTS)]
    tempo_bpm = draw(rng, CHORALE_BPM)
    begin = _beginning(chorale, duration_s * tempo_bpm / 60.0, rng)
    chords = _cut(analyse_chorale(chorale), begin)
    lines = {name: _voice_line(chorale, name, begin) for name in VOICES}
    lowest = min(int(line.pitches_midi.min()) for line in lines.values())
    highest = max(int(line.pitches_midi.max()) for line in lines.values())
    steps = int(rng.integers(max(-5, 36 - lowest), min(6, 84 - highest) + 1))
    chords = tuple(replace(span, chord=_transposed(span.chord, steps)) for span in chords)
    lines = {
        name: replace(line, pitches_midi=line.pitches_midi + steps) for name, line in lines.items()
    }
    style = "chorale"
    pools: dict[str, Sequence[str]] = dict.fromkeys(VOICES, VOICE_CLASSES)
    if arrangement == "chordal":
        lines, pools = {"comping": _together(lines.values())}, {"comping": CHORDAL_CLASSES}
    elif arrangement == "band":
        beats = 3 if chorale.meter.startswith("3") else 4
        style = choose(rng, BAND_STYLES[beats])
        chords, lines = _with_band(chords, lines["soprano"], style, rng)
        pools = {**STYLES[style].pools, "melody": LEADING_CLASSES, "drums": ("drums",)}
    n_quarters = chords[-1].end_quarters
    tempo = performer.time_map(n_quarters, tempo_bpm, rng, drift=0.05)
    if arrangement != "band":
        tempo = _holding(tempo, chorale.fermatas_quarters - begin, draw(rng, FERMATA))
    return Piece(
        title=chorale.title,
        work=f"chorale: {chorale.tune}",
        style=style,
        chords=chords,
        lines=lines,
        pools={role: pools[role] for role in lines},
        tempo_bpm=tempo_bpm,
        tempo=tempo,
    )


def _beginning(chorale: Chorale, wanted_quarters: float, rng: np.random.Generator) -> float:
    """Return where an excerpt begins: with a phrase, and early enough to last, if possible."""
    begins = np.concatenate([[0.0], chorale.fermatas_quarters[:-1, 1]])
    possible = begins[chorale.duration_quarters - begins >= wanted_quarters]
    return float(rng.choice(possible)) if possible.size else 0.0


def _cut(chords: Sequence[ChordSpan], begin: float) -> tuple[ChordSpan, ...]:
    """Return the chords from a place on, which becomes 0."""
    kept = []
    for span in chords:
        onset = max(span.onset_quarters, begin)
        if span.end_quarters > onset + 1e-9:
            kept.append(ChordSpan(onset - begin, span.end_quarters - onset, span.chord))
    return tuple(kept)


def _voice_line(chorale: Chorale, name: str, begin: float) -> Line:
    voice = chorale.voices[name]
    heard = voice.onsets_quarters >= begin - 1e-9
    return Line(
        voice.onsets_quarters[heard] - begin,
        voice.durations_quarters[heard],
        voice.pitches_midi[heard],
        np.ones(int(heard.sum())),
    )


def _together(lines: Iterable[Line]) -> Line:
    """Return several lines as one, by onset."""
    return line_from_notes(
        [
            note
            for line in lines
            for note in zip(
                line.onsets_quarters,
                line.durations_quarters,
                line.pitches_midi,
                line.velocities,
                strict=True,
            )
        ]
    )


def _transposed(chord: Chord, steps: int) -> Chord:
    return chord if chord.root is None else replace(chord, root=(chord.root + steps) % 12)


def _with_band(
    chords: Sequence[ChordSpan], melody: Line, name: str, rng: np.random.Generator
) -> tuple[tuple[ChordSpan, ...], dict[str, Line]]:
    """Accompany a chorale's melody in a style, perhaps after a bar of drums alone."""
    style = STYLES[name]
    bar = style.bar_quarters
    # Long chords stand on downbeats: that tells where the bars begin.
    weights = np.zeros(round(bar))
    for span in chords:
        weights[int(span.onset_quarters) % weights.size] += span.duration_quarters
    downbeat = float(weights.argmax())
    begin = downbeat - bar if downbeat else 0.0
    intro = bar if style.drums and rng.random() < BAND_INTRO else 0.0
    moved = [replace(span, onset_quarters=span.onset_quarters + intro) for span in chords]
    if intro:
        moved.insert(0, ChordSpan(0.0, intro, NO_CHORD))
    n_quarters = moved[-1].end_quarters
    lines = accompany(moved, style, n_quarters, rng, begin_quarters=begin)
    lines["melody"] = replace(melody, onsets_quarters=melody.onsets_quarters + intro)
    return tuple(moved), {role: line for role, line in lines.items() if line.onsets_quarters.size}


def _holding(tempo: TimeMap, held: NDArray[np.float64], factor: float) -> TimeMap:
    """Return a tempo that rests on held notes, (notes, 2) begins and ends in quarters."""
    lengths_s = np.diff(tempo.seconds)
    for begin, end in held:
        lengths_s[(tempo.quarters[:-1] >= begin) & (tempo.quarters[:-1] < end)] *= factor
    return TimeMap(tempo.quarters, np.concatenate([[0.0], np.cumsum(lengths_s)]))


def _song_piece(name: str, duration_s: float, rng: np.random.Generator) -> Piece:
    style = STYLES[choose(rng, SONG_STYLES)]
    tempo_bpm = draw(rng, style.tempo_bpm)
    bars = duration_s * tempo_bpm / 60.0 / style.beats_per_bar
    n_bars = int(bars * draw(rng, (0.7, 0.85))) if rng.random() < ENDS_EARLY else int(bars) + 1
    roles = [
        role
        for role in ("drums", "bass", "comping", "pad", "melody")
        if rng.random() >= WITHOUT.get(role, 0.0)
    ]
    song = compose(style, max(n_bars, 2), rng, roles=roles, no_chord=NO_CHORD_CHANCE)
    lines = {role: line for role, line in song.lines.items() if line.onsets_quarters.size}
    pools = {**style.pools, "drums": ("drums",)}
    quarter_bpm = tempo_bpm * style.beat_quarters
    return Piece(
        title=f"Song in the style {style.name}",
        work=f"song: {name}",
        style=style.name,
        chords=song.chords,
        lines=lines,
        pools={role: pools[role] for role in lines},
        tempo_bpm=tempo_bpm,
        tempo=performer.time_map(song.n_quarters, quarter_bpm, rng, drift=0.02),
    )


def _singers(written: Mapping[str, Notes], heard: str, rng: np.random.Generator) -> dict[str, str]:
    """Return who takes each voice of a chorale: an instrument whose compass holds it."""
    names = band.available(VOICE_CLASSES, heard)
    players = {}
    for voice, notes in written.items():
        low, high = int(notes.pitches_midi.min()), int(notes.pitches_midi.max())
        able = performer.able_players(names, low, high) or band.available(["organ"], heard)
        players[voice] = choose(rng, able)
    return players


_FIELDS = (
    "title", "work", "split", "role", "style", "tempo", "tuning-cents", "room", "instrument",
    "chord",
)  # fmt: skip
RECIPE = Recipe(
    name="chords",
    title="Bach's harmony and composed songs, with every chord",
    stands_for="RWC-Pop chords",
    default_tracks=72,
    duration_s=DURATION_S,
    unit="work",
    definitions={
        **{name: DEFINITIONS[name] for name in _FIELDS},
        "role": replace(DEFINITIONS["role"], dictionary=("mixture",)),
    },
    render=render,
    provenance="Bach's chorales (public domain), songs composed by rule, and the sound bank",
)
