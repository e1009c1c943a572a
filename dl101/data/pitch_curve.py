"""A pitch that moves in time, as files that other programs read: CSV and JAMS.

Conventions: f0 is in Hz and positive where something was estimated; whether it sounds, the
confidence says, from 0 to 1. In a JAMS file a frame whose confidence is below 0.5 is not voiced.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dl101.data.cache import write_text
from dl101.data.jams import document, write

VOICED = 0.5  # least confidence of a frame that sounds


@dataclass(frozen=True, eq=False)
class PitchCurve:
    """One pitch a frame: ``times_s``, ``f0_hz`` and ``confidence``, (frames,) each."""

    times_s: NDArray[np.float64]
    f0_hz: NDArray[np.float64]
    confidence: NDArray[np.float64]

    @property
    def voiced(self) -> NDArray[np.bool_]:
        """Return where something sounds, (frames,)."""
        return self.confidence >= VOICED


def write_csv(path: Path | str, found: PitchCurve) -> None:
    """Write a table with the columns ``time_s``, ``f0_hz`` and ``confidence``."""
    rows = zip(found.times_s, found.f0_hz, found.confidence, strict=True)
    lines = [f"{t:.3f},{f:.3f},{c:.3f}" for t, f, c in rows]
    write_text(path, "\n".join(["time_s,f0_hz,confidence", *lines]) + "\n")


def write_jams(path: Path | str, found: PitchCurve, *, title: str, duration_s: float) -> None:
    """Write a JAMS file with one annotation of the namespace ``pitch_contour``."""
    write(path, jams(found, title=title, duration_s=duration_s))


def jams(found: PitchCurve, *, title: str, duration_s: float) -> dict[str, Any]:
    """Return the content of a JAMS file; see :func:`dl101.data.jams.document`."""
    rows = zip(found.times_s, found.f0_hz, found.confidence, found.voiced, strict=True)
    observations = (
        (
            time_s,
            0.0,
            {"index": 0, "frequency": round(float(hz), 3), "voiced": bool(voiced)},
            round(float(confidence), 4),
        )
        for time_s, hz, confidence, voiced in rows
    )
    return document("pitch_contour", observations, title=title, duration_s=duration_s)
