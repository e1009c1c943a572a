"""The shipped scores: Bach's four-part chorales and traditional dance tunes, as note lists.

Conventions: score time is counted in quarter notes from the beginning of the piece; pitches are
integer MIDI numbers as written (no transposition); rests are simply absent. A *tune* is the melody
that a chorale harmonises: chorales of one tune are versions of one work, and the splits keep them
together. So do they with dances of one *work*: tunes printed more than once, under the same title
or another. The files are written by ``tools/build_chorale_scores.py`` and
``tools/build_dance_scores.py``; where the notes come from stands in them, for each piece.
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
DANCE_KINDS = ("reel", "jig", "hornpipe", "slip-jig", "strathspey", "march", "air")


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


@dataclass(frozen=True)
class Dance:
    """One dance tune, written once: the melody alone, without its repeats.

    ``sections_quarters`` has shape (sections, 2): begin and end. Each section is a whole number of
    bars long and begins with an upbeat of ``pickup_quarters`` (perhaps a rest, perhaps 0), so that
    sections can follow one another in any order; downbeats lie at ``pickup_quarters`` plus
    multiples of ``bar_quarters``, and a section's last bar is completed by the next one's upbeat.
    ``tonic`` is a pitch class (0 to 11, C is 0).
    """

    identifier: str
    title: str
    work: str
    kind: str
    meter: str
    tonic: int
    mode: str
    source: str
    transcriber: str
    melody: ScoreVoice
    duration_quarters: float
    pickup_quarters: float
    sections_quarters: NDArray[np.float64]

    @property
    def bar_quarters(self) -> float:
        """Length of a bar in quarter notes."""
        beats, unit = self.meter.split("/")
        return 4.0 * int(beats) / int(unit)


@lru_cache(maxsize=1)
def load_chorales() -> tuple[Chorale, ...]:
    """Return all shipped chorales, in the order of the file."""
    document = json.loads(gzip.decompress((ASSETS / "chorales.json.gz").read_bytes()))
    unit = 1.0 / document["ticks_per_quarter"]
    return tuple(_chorale(record, unit) for record in document["chorales"])


def _chorale(record: Mapping, unit: float) -> Chorale:
    voices = {name: _voice(record["voices"][name], unit) for name in VOICES}
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


@lru_cache(maxsize=1)
def load_dances() -> tuple[Dance, ...]:
    """Return all shipped dance tunes, in the order of the file: by kind, then by identifier."""
    document = json.loads(gzip.decompress((ASSETS / "dances.json.gz").read_bytes()))
    unit = 1.0 / document["ticks_per_quarter"]
    return tuple(_dance(record, unit) for record in document["dances"])


def _dance(record: Mapping, unit: float) -> Dance:
    bounds = np.asarray(record["sections"]) * unit
    return Dance(
        identifier=record["identifier"],
        title=record["title"],
        work=record["work"],
        kind=record["kind"],
        meter=record["meter"],
        tonic=record["tonic"],
        mode=record["mode"],
        source=record["source"],
        transcriber=record["transcriber"],
        melody=_voice(record, unit),
        duration_quarters=float(bounds[-1]),
        pickup_quarters=record["pickup"] * unit,
        sections_quarters=np.stack([bounds[:-1], bounds[1:]], axis=1),
    )


def _voice(record: Mapping, unit: float) -> ScoreVoice:
    ticks = np.asarray(record["ticks"])
    pitches = np.asarray(record["pitches"])
    onsets = np.concatenate([[0], np.cumsum(ticks)[:-1]])
    sounding = pitches > 0
    return ScoreVoice(onsets[sounding] * unit, ticks[sounding] * unit, pitches[sounding])
