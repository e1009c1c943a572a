"""The arranger: from chords to the parts of a short song, in score time.

Conventions: onsets and durations are in quarter notes, pitches are integer MIDI numbers (General
MIDI drum numbers for drums), velocities lie in [0, 1]. Lines are returned as they sound, already
swung where the style swings. Everything random is drawn from the generator that the caller passes.

Roles are ``drums``, ``bass``, ``comping`` (the chords), ``pad`` (the chords, held) and ``melody``.
Where the chord is N, only the drums play.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dl101.data.embedded.harmony import (
    NO_CHORD,
    QUALITIES,
    Chord,
    ChordSpan,
    merge,
    progression,
    scale_pitch_classes,
)
from dl101.data.embedded.lines import Line, Note, line_from_notes, swing
from dl101.data.embedded.melodies import compose_melody
from dl101.data.embedded.styles import DRUMS, STYLES, Style

__all__ = ["STYLES", "Line", "Song", "Style", "accompany", "compose", "compose_melody", "swing"]

ROLES = ("drums", "bass", "comping", "pad")
VELOCITIES = {"X": 0.95, "x": 0.72, "o": 0.42}
BASS_RANGE = (33, 52)  # cello, bassoon and tuba reach it too
COMPING_RANGE = (52, 74)
PAD_RANGE = (57, 79)
MELODY_RANGE = (60, 77)
STRUM_QUARTERS = 0.025  # between the strings of a strummed chord


@dataclass(frozen=True, eq=False)
class Song:
    """A short song: its key, its chords and its lines, by role.

    ``beat_quarters`` is the length of a beat in quarter notes (1.5 in 6/8): a tempo in beats per
    minute is ``beat_quarters`` times as many quarters per minute.
    """

    style: str
    beats_per_bar: int
    beat_quarters: float
    n_quarters: float
    tonic: int
    mode: str
    chords: tuple[ChordSpan, ...]
    lines: Mapping[str, Line]


def accompany(
    chords: Sequence[ChordSpan],
    style: Style,
    n_quarters: float,
    rng: np.random.Generator,
    roles: Sequence[str] = ROLES,
    *,
    begin_quarters: float = 0.0,
    section_bars: int = 8,
) -> dict[str, Line]:
    """Accompany chords in a style.

    Parameters
    ----------
    chords
        In order; where they leave a gap, or say N, only the drums play.
    n_quarters
        Where the piece ends; no note begins after, and none but drums' ends after.
    roles
        Which lines to make, of ``drums``, ``bass``, ``comping`` and ``pad``.
    begin_quarters
        Where the first bar begins (later than 0 after an upbeat); nothing plays before.
    section_bars
        Length of a section: patterns may change there, and a fill leads to the next.

    Returns
    -------
    dict of Line
        One per role, as they sound (swung).
    """
    spans = [span for span in chords if span.chord.root is not None]
    n_bars = int(np.ceil((n_quarters - begin_quarters) / style.bar_quarters - 1e-6))
    grid = _Grid(style, begin_quarters, n_quarters, n_bars, section_bars)
    makers = {"drums": _drum_line, "bass": _bass_line, "comping": _comping_line, "pad": _pad_line}
    lines = {}
    for role in roles:
        notes = makers[role](spans, grid, rng)
        lines[role] = swing(line_from_notes(notes), style.swing, style.swing_quarters)
    return lines


@dataclass(frozen=True)
class _Grid:
    """The steps of a piece: where they lie and which sign of a pattern each has."""

    style: Style
    begin_quarters: float
    n_quarters: float
    n_bars: int
    section_bars: int

    @property
    def bar_steps(self) -> int:
        return self.style.beats_per_bar * self.style.steps_per_beat

    @property
    def n_steps(self) -> int:
        steps = (self.n_quarters - self.begin_quarters) / self.style.step_quarters
        return int(np.ceil(steps - 1e-6))

    def time(self, step: int) -> float:
        return self.begin_quarters + step * self.style.step_quarters

    def signs(self, variants: Sequence[str], rng: np.random.Generator) -> str:
        """Return one sign for every step of the piece: a variant for each section."""
        picked = rng.integers(len(variants), size=2)
        text = ""
        for bar in range(self.n_bars):
            # Sections alternate between two variants, which may be one and the same.
            pattern = variants[picked[(bar // self.section_bars) % 2]]
            first = (bar * self.bar_steps) % len(pattern)
            text += pattern[first : first + self.bar_steps]
        return text[: self.n_steps]


def _chord_steps(
    spans: Sequence[ChordSpan], grid: _Grid
) -> tuple[list[ChordSpan | None], set[int]]:
    """Return the span that holds at each step, and the steps at which one begins."""
    held: list[ChordSpan | None] = [None] * grid.n_steps
    starts = set()
    for span in spans:
        first = (span.onset_quarters - grid.begin_quarters) / grid.style.step_quarters
        last = (span.end_quarters - grid.begin_quarters) / grid.style.step_quarters
        first, last = max(round(first), 0), min(round(last), grid.n_steps)
        held[first:last] = [span] * (last - first)
        if last > first:
            starts.add(first)
    return held, starts


def _drum_line(spans: Sequence[ChordSpan], grid: _Grid, rng: np.random.Generator) -> list[Note]:
    style = grid.style
    if not style.drums:
        return []
    picked = rng.integers(len(style.drums), size=2)
    notes: list[Note] = []
    for bar in range(grid.n_bars):
        section, place = divmod(bar, grid.section_bars)
        pattern = style.drums[picked[section % 2]]
        fills = style.fills and place == grid.section_bars - 1
        half_way = style.fills and place == grid.section_bars // 2 - 1 and rng.random() < 0.4
        if fills or half_way:
            pattern = style.fills[rng.integers(len(style.fills))]
        for drum, row in pattern.items():
            first = (bar * grid.bar_steps) % len(row)
            for place_in_bar, sign in enumerate(row[first : first + grid.bar_steps]):
                onset = grid.time(bar * grid.bar_steps + place_in_bar)
                if sign in VELOCITIES and onset < grid.n_quarters - 1e-9:
                    notes.append((onset, 0.5, drum, _velocity(sign, rng)))
        if style.fills and place == 0 and bar > 0:
            notes.append((grid.time(bar * grid.bar_steps), 4.0, DRUMS["crash"], 0.8))
    return notes


def _velocity(sign: str, rng: np.random.Generator) -> float:
    return float(np.clip(VELOCITIES[sign] + rng.normal(0.0, 0.04), 0.05, 1.0))


def _bass_line(spans: Sequence[ChordSpan], grid: _Grid, rng: np.random.Generator) -> list[Note]:
    signs = grid.signs(grid.style.bass, rng)
    held, starts = _chord_steps(spans, grid)
    notes: list[Note] = []
    begun: tuple[int, int, float] | None = None  # step, pitch, velocity of the sounding note
    previous = int(rng.integers(36, 43))
    for step, span in enumerate([*held, None]):
        sign = signs[step] if step < grid.n_steps else "-"
        if span is None:
            sign = "-"
        elif step in starts:
            sign = "R"
        if sign == ".":
            continue
        if begun:
            notes.append(_note(grid, *begun, step))
            begun = None
        if sign != "-":
            upcoming = next((s for s in held[step:] if s is not span), None)
            pitch = _bass_pitch(sign, span.chord, upcoming, previous, rng)
            previous = pitch
            begun = (step, pitch, _velocity("o" if sign == "r" else "x", rng) + 0.15)
    return notes


def _note(grid: _Grid, step: int, pitch: int, velocity: float, end: int) -> tuple:
    onset = grid.time(step)
    length = min(grid.time(end), grid.n_quarters) - onset
    return (onset, length, pitch, min(velocity, 1.0))


def _bass_pitch(
    sign: str,
    chord: Chord,
    upcoming: ChordSpan | None,
    previous: int,
    rng: np.random.Generator,
) -> int:
    """Return the pitch of a bass note, near the previous one."""
    intervals = QUALITIES[chord.quality]
    root = _nearest(chord.bass_pitch_class, previous, BASS_RANGE)
    if sign == "8":
        return root + 12 if root + 12 <= BASS_RANGE[1] + 5 else root
    if sign == "5":
        return _nearest((chord.root + _fifth(chord)) % 12, root, BASS_RANGE)
    if sign == "3":
        return _nearest((chord.root + intervals[1]) % 12, root, BASS_RANGE)
    if sign == "a" and upcoming is not None:
        target = _nearest(upcoming.chord.bass_pitch_class, previous, BASS_RANGE)
        step = int(rng.choice([-1, 1, -2, 2], p=[0.45, 0.2, 0.15, 0.2]))
        return target + (step if target + step >= BASS_RANGE[0] else abs(step))
    if sign in ("w", "a"):
        # A chord note other than the one just played, not far from it.
        near = [_nearest(p, previous, BASS_RANGE) for p in chord.pitch_classes]
        near = [pitch for pitch in near if pitch != previous] or [root]
        return int(rng.choice(near))
    return root


def _fifth(chord: Chord) -> int:
    """Return the fifth of a chord in semitones: pure, diminished or augmented."""
    intervals = QUALITIES[chord.quality]
    return intervals[2] if len(intervals) > 2 else intervals[-1]


def _nearest(pitch_class: int, pitch: int, limits: tuple[int, int]) -> int:
    """Return the note of a pitch class nearest to a pitch, within limits (an octave at least)."""
    candidates = range(limits[0] + (pitch_class - limits[0]) % 12, limits[1] + 1, 12)
    return min(candidates, key=lambda candidate: (abs(candidate - pitch), candidate))


def voicings(
    chords: Sequence[Chord], limits: tuple[int, int], n_voices: int = 4
) -> list[tuple[int, ...]]:
    """Return close voicings of chords, each as near to the one before as can be.

    Every voicing holds each pitch class of its chord at least once (up to ``n_voices``), within
    ``limits`` (MIDI); among inversions and registers the one is taken whose notes move least.
    """
    previous: tuple[int, ...] | None = None
    result = []
    for chord in chords:
        classes = chord.pitch_classes
        # Of five notes the fifth is missed least.
        if len(classes) > n_voices:
            classes = tuple(c for i, c in enumerate(classes) if i != 2)[:n_voices]
        options = _close_positions(classes, limits, n_voices if len(classes) > 3 else len(classes))
        middle = np.mean(previous) if previous else np.mean(limits) - 1
        before = np.array(previous if previous else [middle])
        previous = min(options, key=lambda notes: (_motion(before, notes), notes))
        result.append(previous)
    return result


def _close_positions(
    classes: Sequence[int], limits: tuple[int, int], n_voices: int
) -> list[tuple[int, ...]]:
    options = []
    for lowest in range(limits[0], limits[1] - 11):
        if lowest % 12 in classes:
            stack = sorted((c - lowest) % 12 for c in classes)
            options.append(tuple(lowest + interval for interval in stack[:n_voices]))
    return options


def _motion(before: NDArray, notes: Sequence[int]) -> float:
    """Return how far the notes of a chord are from the nearest ones of the chord before."""
    after = np.array(notes)
    distance = np.abs(after[:, None] - before[None, :])
    return float(distance.min(axis=1).sum() + distance.min(axis=0).sum() + 0.1 * np.ptp(after))


def _comping_line(spans: Sequence[ChordSpan], grid: _Grid, rng: np.random.Generator) -> list[Note]:
    signs = grid.signs(grid.style.comping, rng)
    held, starts = _chord_steps(spans, grid)
    centre = int(rng.integers(-3, 4))
    limits = (COMPING_RANGE[0] + centre, COMPING_RANGE[1] + centre)
    shapes = dict(zip(map(id, spans), voicings([s.chord for s in spans], limits), strict=True))
    notes: list[Note] = []
    sounding = False
    for step, span in enumerate(held):
        sign = signs[step]
        if span is None or sign == "-":
            sounding = False
            continue
        if step in starts and sign == "." and sounding:
            sign = "x"  # a held chord must change with the harmony
        if sign == ".":
            continue
        sounding = sign not in "s012345bf"
        notes += _strike(sign, step, span, shapes[id(span)], signs, held, grid, rng)
    return notes


def _strike(
    sign: str,
    step: int,
    span: ChordSpan,
    shape: tuple[int, ...],
    signs: str,
    held: Sequence[ChordSpan | None],
    grid: _Grid,
    rng: np.random.Generator,
) -> list[Note]:
    """Return the notes of one sign of a comping pattern."""
    chord, beat = span.chord, grid.style.steps_per_beat
    # A held chord ends at the next sign or where the harmony changes.
    end = step + 1
    while end < grid.n_steps and signs[end] == "." and held[end] is span:
        end += 1
    last = next((i for i in range(step, grid.n_steps) if held[i] is not span), grid.n_steps)
    if sign in "012345":
        turn, place = divmod(int(sign), len(shape))
        pitch = shape[place] + 12 * turn
        return [_note(grid, step, pitch, _velocity("x", rng), min(step + 2 * beat, last))]
    if sign in "bf":
        low = chord.bass_pitch_class if sign == "b" else (chord.root + _fifth(chord)) % 12
        pitch = _nearest(low, 43, (36, 50))
        return [_note(grid, step, pitch, _velocity("x", rng), min(end, step + beat))]
    if sign == "s":
        return [_note(grid, step, p, _velocity("x", rng), min(step + 1, end)) for p in shape]
    if sign in "du":
        order = shape if sign == "d" else shape[::-1]
        strummed = [_note(grid, step, p, _velocity("x" if sign == "d" else "o", rng), end)
                    for p in order]  # fmt: skip
        spread = min(STRUM_QUARTERS, 0.4 * strummed[0][1] / len(order))
        return [
            (onset + i * spread, length - i * spread, pitch, velocity)
            for i, (onset, length, pitch, velocity) in enumerate(strummed)
        ]
    return [_note(grid, step, p, _velocity(sign, rng), end) for p in shape]


def _pad_line(spans: Sequence[ChordSpan], grid: _Grid, rng: np.random.Generator) -> list[Note]:
    notes: list[Note] = []
    for span, shape in zip(spans, voicings([s.chord for s in spans], PAD_RANGE, 4), strict=True):
        onset = max(span.onset_quarters, grid.begin_quarters)
        end = min(span.end_quarters, grid.n_quarters)
        if end > onset:
            velocity = _velocity("o", rng)
            notes += [(onset, end - onset, pitch, velocity) for pitch in shape]
    return notes


def compose(
    style: Style | str,
    n_bars: int,
    rng: np.random.Generator,
    *,
    tonic: int | None = None,
    mode: str | None = None,
    roles: Sequence[str] = (*ROLES, "melody"),
    melody_range: tuple[int, int] = MELODY_RANGE,
    no_chord: float = 0.0,
) -> Song:
    """Compose a short song.

    Parameters
    ----------
    style
        A style or its name.
    n_bars
        Length in bars, 2 or more.
    tonic, mode
        Key; drawn when None.
    roles
        The lines to write: of :data:`ROLES`, and ``melody``.
    melody_range
        Lowest and highest MIDI pitch of the melody.
    no_chord
        The chance of an introduction without chords (a bar or two of drums alone), and that of a
        bar's break, in which only the drums play.
    """
    style = STYLES[style] if isinstance(style, str) else style
    tonic = int(rng.integers(12)) if tonic is None else tonic
    mode = str(rng.choice(sorted(style.progressions))) if mode is None else mode
    bar = style.bar_quarters
    intro = int(rng.integers(1, 3)) if rng.random() < no_chord and n_bars > 6 else 0
    spans = [ChordSpan(0.0, intro * bar, NO_CHORD)] if intro else []
    for span in progression(style, n_bars - intro, tonic, mode, rng):
        spans.append(
            ChordSpan(span.onset_quarters + intro * bar, span.duration_quarters, span.chord)
        )
    if rng.random() < no_chord and n_bars - intro > 5:
        silent = (intro + int(rng.integers(3, n_bars - intro - 1))) * bar
        spans = _silence(spans, silent, silent + bar)
    chords = merge(spans)
    n_quarters = n_bars * bar
    lines = accompany(chords, style, n_quarters, rng, [role for role in roles if role != "melody"])
    if "melody" in roles:
        scale = scale_pitch_classes(tonic, mode)
        lines["melody"] = compose_melody(chords, style, rng, *melody_range, scale=scale)
    return Song(
        style=style.name,
        beats_per_bar=style.beats_per_bar,
        beat_quarters=style.beat_quarters,
        n_quarters=n_quarters,
        tonic=tonic,
        mode=mode,
        chords=chords,
        lines=lines,
    )


def _silence(spans: Sequence[ChordSpan], begin: float, end: float) -> list[ChordSpan]:
    """Return spans with no chord from ``begin`` to ``end``."""
    kept = []
    for span in spans:
        for first, last in ((span.onset_quarters, min(span.end_quarters, begin)),
                            (max(span.onset_quarters, end), span.end_quarters)):  # fmt: skip
            if last > first + 1e-9:
                kept.append(ChordSpan(first, last - first, span.chord))
    return sorted([*kept, ChordSpan(begin, end - begin, NO_CHORD)], key=lambda s: s.onset_quarters)
