"""A pitch that moves in time, as files that other programs read: CSV and JAMS.

Conventions: f0 is in Hz and positive where something was estimated; whether it sounds, the
confidence says, from 0 to 1. In a JAMS file a frame whose confidence is below 0.5 is not voiced.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dl101.data.cache import replacing
from dl101.data.jams import document

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
    _write(path, "\n".join(["time_s,f0_hz,confidence", *lines]) + "\n")


def write_jams(path: Path | str, found: PitchCurve, *, title: str, duration_s: float) -> None:
    """Write a JAMS file with one annotation of the namespace ``pitch_contour``."""
    content = jams(found, title=title, duration_s=duration_s)
    _write(path, json.dumps(content, indent=1) + "\n")


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


def _write(path: Path | str, text: str) -> None:
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
