"""Notes as files that other programs read: a table of text, MIDI, JAMS.

Notes are onsets and durations in seconds, MIDI pitches that need not be whole, and a confidence
from 0 to 1. The table is what :mod:`dl101.data.notelist` reads. MIDI has whole pitches: each is
rounded, and its velocity tells the confidence.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from dl101.data.cache import replacing, write_text
from dl101.data.jams import document, write

TICKS_PER_SECOND = 960  # at MIDI's usual 120 beats a minute


class Notes(Protocol):
    """What has notes."""

    onsets_s: NDArray[np.float64]
    durations_s: NDArray[np.float64]
    pitches_midi: NDArray[np.float64]
    confidence: NDArray[np.float64]


def write_csv(path: Path | str, notes: Notes) -> None:
    """Write one line a note: ``onset_s,duration_s,midi,confidence``."""
    lines = [
        f"{onset:.3f},{length:.3f},{midi:.2f},{confidence:.3f}\n"
        for onset, length, midi, confidence in _rows(notes)
    ]
    write_text(path, "onset_s,duration_s,midi,confidence\n" + "".join(lines))


def write_jams(path: Path | str, notes: Notes, *, title: str, duration_s: float) -> None:
    """Write a JAMS file with one annotation of the namespace ``note_midi``."""
    observations = (
        (onset, length, round(midi, 2), confidence)
        for onset, length, midi, confidence in _rows(notes)
    )
    write(path, document("note_midi", observations, title=title, duration_s=duration_s))


def write_midi(path: Path | str, notes: Notes) -> None:
    """Write a MIDI file with one track."""
    import mido

    events: list[tuple[int, int, int, int]] = []
    for onset, length, midi, confidence in _rows(notes):
        begin = round(onset * TICKS_PER_SECOND)
        end = max(round((onset + length) * TICKS_PER_SECOND), begin + 1)
        velocity = int(np.clip(round(127 * confidence), 1, 127))
        pitch = int(np.clip(round(midi), 0, 127))
        events += [(begin, 1, pitch, velocity), (end, 0, pitch, 0)]
    track, now = mido.MidiTrack(), 0
    for tick, sounding, pitch, velocity in sorted(events):  # a note ends before the next begins
        kind = "note_on" if sounding else "note_off"
        track.append(mido.Message(kind, note=pitch, velocity=velocity, time=tick - now))
        now = tick
    file = mido.MidiFile(type=0, ticks_per_beat=TICKS_PER_SECOND // 2)
    file.tracks.append(track)
    with replacing(Path(path)) as temporary, open(temporary, "wb") as stream:
        file.save(file=stream)


def _rows(notes: Notes) -> Sequence[tuple[float, float, float, float]]:
    columns = (notes.onsets_s, notes.durations_s, notes.pitches_midi, notes.confidence)
    return list(zip(*(column.tolist() for column in columns), strict=True))
