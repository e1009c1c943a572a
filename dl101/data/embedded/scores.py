"""The shipped scores: Bach's four-part chorales as note lists.

Conventions: score time is counted in quarter notes from the beginning of the piece; pitches are
integer MIDI numbers as written (no transposition); rests are simply absent. A *tune* is the melody
that a chorale harmonises: chorales of one tune are versions of one work, and the splits keep them
together. The file is written by ``tools/build_chorale_scores.py``; where the notes come from stands
in it, for each piece.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

ASSETS = Path(__file__).with_name("assets")
VOICES = ("soprano", "alto", "tenor", "bass")


@dataclass(frozen=True)
class ScoreVoice:
    """The notes of one voice, in order; they never overlap."""

    onsets_quarters: NDArray[np.float64]
    durations_quarters: NDArray[np.float64]
    pitches_midi: NDArray[np.int64]


@dataclass(frozen=True)
class Chorale:
    """One chorale: four voices and the places where its phrases end.

    ``fermatas_quarters`` has shape (phrases, 2): begin and end of the soprano's held notes.
    """

    bwv: str
    title: str
    tune: str
    meter: str
    source: str
    voices: Mapping[str, ScoreVoice]
    fermatas_quarters: NDArray[np.float64]
    duration_quarters: float


@lru_cache(maxsize=1)
def load_chorales() -> tuple[Chorale, ...]:
    """Return all shipped chorales, in the order of the file."""
    document = json.loads(gzip.decompress((ASSETS / "chorales.json.gz").read_bytes()))
    unit = 1.0 / document["ticks_per_quarter"]
    return tuple(_chorale(record, unit) for record in document["chorales"])


def _chorale(record: Mapping, unit: float) -> Chorale:
    voices = {}
    for name in VOICES:
        ticks = np.asarray(record["voices"][name]["ticks"])
        pitches = np.asarray(record["voices"][name]["pitches"])
        onsets = np.concatenate([[0], np.cumsum(ticks)[:-1]])
        sounding = pitches > 0
        voices[name] = ScoreVoice(
            onsets[sounding] * unit, ticks[sounding] * unit, pitches[sounding]
        )
    return Chorale(
        bwv=record["bwv"],
        title=record["title"],
        tune=record["tune"],
        meter=record["meter"],
        source=record["source"],
        voices=MappingProxyType(voices),
        fermatas_quarters=np.asarray(record["fermatas"], dtype=float).reshape(-1, 2) * unit,
        duration_quarters=float(sum(record["voices"]["soprano"]["ticks"])) * unit,
    )
