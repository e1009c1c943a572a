"""Lines: the notes of one part, in score time.

Conventions: onsets and durations are in quarter notes, pitches are integer MIDI numbers (General
MIDI drum numbers for drums), velocities lie in [0, 1].
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Note = tuple[float, float, int, float]  # onset, duration (quarters), MIDI pitch, velocity


@dataclass(frozen=True, eq=False)
class Line:
    """One part in score time, by onset; all arrays have shape (notes,). Notes may overlap."""

    onsets_quarters: NDArray[np.float64]
    durations_quarters: NDArray[np.float64]
    pitches_midi: NDArray[np.int64]
    velocities: NDArray[np.float64]


def swing(line: Line, ratio: float, unit_quarters: float = 1.0) -> Line:
    """Return a line whose units' middles fall at ``ratio`` (0.5 straight, 2/3 as triplets)."""
    if ratio == 0.5:
        return line
    begins = _swung(line.onsets_quarters, ratio, unit_quarters)
    ends = _swung(line.onsets_quarters + line.durations_quarters, ratio, unit_quarters)
    return Line(begins, ends - begins, line.pitches_midi, line.velocities)


def _swung(
    quarters: NDArray[np.float64], ratio: float, unit_quarters: float
) -> NDArray[np.float64]:
    whole = np.floor(quarters / unit_quarters + 1e-9)
    within = quarters / unit_quarters - whole
    late = ratio + (within - 0.5) * (1.0 - ratio) / 0.5
    return (whole + np.where(within < 0.5, within * ratio / 0.5, late)) * unit_quarters


def line_from_notes(notes: Sequence[Note]) -> Line:
    """Return a line from (onset, duration, pitch, velocity) tuples in any order."""
    ordered = sorted(notes, key=lambda note: (note[0], note[2]))
    columns = np.array(ordered, dtype=float).reshape(-1, 4).T
    return Line(columns[0], columns[1], columns[2].astype(np.int64), columns[3])
