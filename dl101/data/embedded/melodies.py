"""Melodies: singable lines over chords, made of a few motifs.

Conventions: as in :mod:`dl101.data.embedded.lines`. A motif is a bar's rhythm, (onset, duration) in
quarter notes from the bar line, and its contour, in steps from where the phrase lies.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dl101.data.embedded.harmony import Chord, ChordSpan, scale_pitch_classes
from dl101.data.embedded.lines import Line, Note, line_from_notes, swing
from dl101.data.embedded.styles import Style
from dl101.errors import ConfigError


def compose_melody(
    chords: Sequence[ChordSpan],
    style: Style,
    rng: np.random.Generator,
    low: int,
    high: int,
    *,
    scale: Sequence[int] | None = None,
) -> Line:
    """Compose a singable melody over chords.

    Two motifs (a bar's rhythm and contour each) make phrases of four bars: a, a varied, b, and a
    close on a long chord note that is followed by a rest. Strong beats and long notes take notes
    of the chord, the others go by the scale.

    Parameters
    ----------
    chords
        From the first bar line on; where the chord is N the melody rests.
    low, high
        Range, MIDI; an octave at least.
    scale
        The pitch classes to move in; by default those that the chords suggest.

    Returns
    -------
    Line
        Notes that do not overlap.

    Raises
    ------
    ConfigError
        For a range of less than an octave.
    """
    if high - low < 12:
        raise ConfigError(
            "range of a melody",
            got=f"MIDI {low} to {high}",
            expected="an octave or more",
            hint="widen the range",
        )
    scale = tuple(scale) if scale is not None else suggested_scale(chords)
    begin, end = chords[0].onset_quarters, chords[-1].end_quarters
    bar = style.bar_quarters
    motifs = [_motif(style, rng) for _ in range(4)]
    centre = rng.uniform(low + 4, high - 5)
    notes: list[Note] = []
    previous = round(centre)
    n_bars = int(np.ceil((end - begin) / bar - 1e-6))
    for number in range(n_bars):
        place, phrase = number % 4, number // 4
        place = 3 if number == n_bars - 1 else place
        pair = motifs[2:] if phrase % 4 == 2 else motifs[:2]  # the third phrase contrasts
        rhythm, contour = pair[1] if place == 2 else pair[0]
        # Phrases rise to their third bar and fall to their close.
        anchor = centre + (0.0, 1.0, 3.0, -1.0)[place] + (2.0 if phrase % 4 == 2 else 0.0)
        if place == 1:
            contour = _varied(contour, rng)
        if place == 3:
            rhythm, contour = _close(rhythm, contour, style, rng)
        onset = begin + number * bar
        previous = _place_bar(
            notes, rhythm, contour, onset, anchor, previous, chords, scale, style, (low, high), rng
        )
    kept = [note for note in notes if note[0] < end - 1e-6]
    kept = [(o, min(d, end - o), p, v) for o, d, p, v in kept]
    return swing(line_from_notes(kept), style.swing, style.swing_quarters)


def suggested_scale(chords: Sequence[ChordSpan]) -> tuple[int, ...]:
    """Return the major or natural minor scale that holds the chords' notes longest."""
    weights = np.zeros(12)
    for span in chords:
        weights[list(span.chord.pitch_classes)] += span.duration_quarters
    best = max(
        range(12), key=lambda tonic: weights[list(scale_pitch_classes(tonic, "major"))].sum()
    )
    return scale_pitch_classes(best, "major")


def _motif(style: Style, rng: np.random.Generator) -> tuple[list[tuple[float, float]], list[int]]:
    """Draw a bar's rhythm, (onset, duration) in quarters, and a contour in steps of the scale."""
    beats, unit = style.beats_per_bar, style.beat_quarters
    splits = 3 if unit == 1.5 else 2
    slots = beats * splits
    weight = np.full(slots, 0.35)
    weight[::splits] = 1.0
    weight[0] = 1.6
    n_notes = int(np.clip(rng.poisson(style.melody_density * beats), 2, slots))
    chosen = np.sort(rng.choice(slots, n_notes, replace=False, p=weight / weight.sum()))
    onsets = chosen * unit / splits
    ends = np.append(onsets[1:], style.bar_quarters)
    # Singers breathe: a long gap is not filled to its end.
    durations = np.minimum(ends - onsets, unit * rng.choice([1.0, 2.0]))
    contour = np.cumsum(
        rng.choice([-2, -1, 0, 1, 2, 3], n_notes, p=[0.12, 0.3, 0.16, 0.28, 0.1, 0.04])
    )
    return list(zip(onsets.tolist(), durations.tolist(), strict=True)), contour.tolist()


def _varied(contour: list[int], rng: np.random.Generator) -> list[int]:
    """Return a contour moved as a whole, perhaps with another ending."""
    moved = [step + int(rng.choice([-1, 0, 1])) for step in contour[:1]] + contour[1:]
    if rng.random() < 0.5:
        moved[-1] += int(rng.choice([-1, 1]))
    return moved


def _close(
    rhythm: list[tuple[float, float]], contour: list[int], style: Style, rng: np.random.Generator
) -> tuple[list[tuple[float, float]], list[int]]:
    """Return a bar that comes to rest: a short way to a long note, then silence."""
    half = style.bar_quarters / 2 if style.beats_per_bar % 2 == 0 else style.beat_quarters
    kept = [(o, d) for o, d in rhythm if o < half - 1e-9] if rng.random() < 0.6 else []
    rest = style.beat_quarters * (1.0 if style.beats_per_bar > 2 else 0.5)
    onset = half if kept else 0.0
    kept = [(o, min(d, onset - o)) for o, d in kept]
    length = style.bar_quarters - onset - rest
    return [*kept, (onset, length)], [*contour[: len(kept)], 0]


def _place_bar(
    notes: list[Note],
    rhythm: list[tuple[float, float]],
    contour: list[int],
    begin: float,
    anchor: float,
    previous: int,
    chords: Sequence[ChordSpan],
    scale: Sequence[int],
    style: Style,
    limits: tuple[int, int],
    rng: np.random.Generator,
) -> int:
    """Append the notes of one bar, fitted to the chords; return the last pitch."""
    for (onset, duration), step in zip(rhythm, contour, strict=True):
        span = next((s for s in chords if s.end_quarters > begin + onset + 1e-6), None)
        if span is None or span.chord.root is None or span.onset_quarters > begin + onset + 1e-6:
            continue
        on_beat = abs(onset / style.beat_quarters - round(onset / style.beat_quarters)) < 1e-6
        strong = (on_beat and round(onset / style.beat_quarters) % 2 == 0) or duration > 1.01
        allowed = _chord_scale(span.chord, scale)
        if strong:
            allowed = list(span.chord.pitch_classes)
        wanted = anchor + 1.7 * step
        # Near to where the contour points, and no leap away from the note before.
        pitch = min(
            (p for p in range(limits[0], limits[1] + 1) if p % 12 in allowed),
            key=lambda p: (_effort(p, wanted, previous), p),
        )
        velocity = (0.8 if strong else 0.65) + rng.normal(0.0, 0.05)
        notes.append((begin + onset, duration, pitch, float(np.clip(velocity, 0.1, 1.0))))
        previous = pitch
    return previous


def _effort(pitch: int, wanted: float, previous: int) -> float:
    """Return how far a pitch is from the one wanted, and how hard it is to reach."""
    leap = abs(pitch - previous)
    return abs(pitch - wanted) + 0.5 * max(leap - 4, 0) + 5.0 * max(leap - 12, 0)


def _chord_scale(chord: Chord, scale: Sequence[int]) -> list[int]:
    """Return the scale with the notes that rub against a foreign chord note left out."""
    foreign = [c for c in chord.pitch_classes if c not in scale]
    kept = [c for c in scale if all((c - f) % 12 not in (1, 11) for f in foreign)]
    return kept + foreign
