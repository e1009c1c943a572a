"""Other versions of a tune: ornaments, cuts, repeats, another order, a tempo that changes.

Conventions: score time is in quarter notes; a *stretch* is a pair (begin, end) of positions in the
score. Everything random is drawn from the generator that the caller passes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dl101.data.embedded import performer
from dl101.data.embedded.lines import Line
from dl101.data.embedded.performer import TimeMap


def ornament(line: Line, scale: NDArray[np.int64], rate: float, rng: np.random.Generator) -> Line:
    """Return a melody with ornaments on about a share ``rate`` of its longer notes.

    Passing notes fill thirds, turns go to the next note of the scale and back, notes are repeated,
    and pairs of equal notes become dotted ones, long before short or the reverse.
    """
    notes = []
    onsets, durations = line.onsets_quarters.tolist(), line.durations_quarters.tolist()
    pitches, velocities = line.pitches_midi.tolist(), line.velocities.tolist()
    chances = rng.random((len(onsets), 2))
    for i, (chance, kind) in enumerate(chances.tolist()):
        onset, length, pitch, velocity = onsets[i], durations[i], pitches[i], velocities[i]
        follows = i + 1 < len(onsets) and onsets[i + 1] - onset - length < 1e-6
        if chance >= rate or length < 0.45 or length > 4.0:
            notes.append((onset, length, pitch, velocity))
            continue
        between = [
            p for p in range(min(pitch, pitches[i + 1]) + 1, max(pitch, pitches[i + 1]))
            if p % 12 in scale
        ] if follows else []  # fmt: skip
        if between and len(between) < 3 and kind < 0.45:
            steps = sorted(between, reverse=pitches[i + 1] < pitch)
            each = length / 2 / len(steps)
            notes.append((onset, length / 2, pitch, velocity))
            notes += [
                (onset + length / 2 + k * each, each, p, 0.85 * velocity)
                for k, p in enumerate(steps)
            ]
        elif kind < 0.65:
            above = next(p for p in range(pitch + 1, pitch + 5) if p % 12 in scale or p > pitch + 3)
            for k, p in enumerate((pitch, above, pitch)):
                notes.append((onset + k * length / 3, length / 3, p, velocity))
        elif kind < 0.8 or not follows or durations[i + 1] != length:
            notes += [(onset + k * length / 2, length / 2, pitch, velocity) for k in range(2)]
        else:
            long = 1.5 if kind < 0.93 else 0.5
            notes.append((onset, long * length, pitch, velocity))
            onsets[i + 1], durations[i + 1] = onset + long * length, (2.0 - long) * length
    columns = np.array(notes).T
    return Line(columns[0], columns[1], columns[2].astype(np.int64), columns[3])


def rearrange(
    sections: NDArray[np.float64], bar_quarters: float, n_wanted: float, rng: np.random.Generator
) -> list[tuple[float, float]]:
    """Return which stretches of a score are played, until ``n_wanted`` quarters are filled.

    ``sections`` has shape (sections, 2): begin and end of each, in quarters.
    """
    order = [(float(begin), float(end)) for begin, end in sections]
    if len(order) > 2 and rng.random() < 0.35:
        del order[int(rng.integers(len(order)))]
    if rng.random() < 0.35:
        first = int(rng.integers(len(order)))
        order = order[first:] + order[:first]
    if rng.random() < 0.15:
        order = [order[i] for i in rng.permutation(len(order))]
    if rng.random() < 0.5:
        order = [stretch for stretch in order for _ in range(2)]
    if rng.random() < 0.2:  # begin within a section, at a bar line
        begin, end = order[0]
        later = begin + bar_quarters * int(rng.integers(1, 4))
        order[0] = (later, end) if later < end - bar_quarters else (begin, end)
    played: list[tuple[float, float]] = []
    while sum(end - begin for begin, end in played) < n_wanted:
        played += order
    return played


def cut(line: Line, stretches: Sequence[tuple[float, float]]) -> Line:
    """Return what a line has in stretches of the score, played one after another."""
    columns, at = [], 0.0
    for begin, end in stretches:
        first, last = np.searchsorted(line.onsets_quarters, [begin - 1e-9, end - 1e-9])
        onsets = line.onsets_quarters[first:last]
        durations = np.minimum(line.durations_quarters[first:last], end - onsets)
        columns.append(
            (
                onsets - begin + at,
                durations,
                line.pitches_midi[first:last],
                line.velocities[first:last],
            )
        )
        at += end - begin
    return Line(*(np.concatenate(column) for column in zip(*columns, strict=True)))


def restless_tempo(n_quarters: float, quarter_bpm: float, rng: np.random.Generator) -> TimeMap:
    """Return a tempo that drifts and, now and then, changes for good."""
    steady = performer.time_map(n_quarters, quarter_bpm, rng, drift=0.12)
    steps = np.diff(steady.seconds)
    while rng.random() < 0.3:
        change = int(rng.integers(steps.size // 8, steps.size))
        steps[change:] *= np.exp(rng.uniform(-0.35, 0.35))
    return TimeMap(steady.quarters, np.concatenate([[0.0], np.cumsum(steps)]))
