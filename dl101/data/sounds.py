"""Whole tracks of any corpus as sounds to learn from: mono, at one rate and about one level.

Conventions: samples are float32 in [-1, 1] at the rate asked for; how loud a sound is, the volume
knob may decide, so each is scaled to one RMS.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dl101.data import pair, source, splits
from dl101.data.audiofile import resample
from dl101.data.embedded import export
from dl101.progress import progress as show_progress
from dl101.units import db_to_amplitude

LEVEL_DB = -20.0  # RMS of a track, re full scale
PEAK = 0.95
SILENT_DB = -70.0  # a stem below this is left out


@dataclass(frozen=True)
class SoundTrack:
    """One sound.

    Attributes
    ----------
    key
        Its corpus and ``filepath``, such as ``notes/00003-test.wav``.
    side
        ``"train"``, ``"validation"`` or ``"test"``.
    audio
        (samples,) float32 with the RMS :data:`LEVEL_DB`, or less where its peak would pass
        :data:`PEAK`.
    labels
        What else is known of it, such as the ``family`` of a note or the ``stem`` of a song.
    """

    key: str
    side: str
    audio: NDArray[np.float32]
    labels: Mapping[str, str]

    @property
    def corpus(self) -> str:
        """Return the name of its corpus."""
        return self.key.partition("/")[0]


def at_level(audio: NDArray[np.floating], level_db: float = LEVEL_DB) -> NDArray[np.float32]:
    """Return a sound, (samples,), with this RMS, softer where its peak would pass 0.95."""
    audio = np.asarray(audio, dtype=np.float32)
    rms, peak = float(np.sqrt(np.mean(np.square(audio)))), float(np.max(np.abs(audio)))
    if peak == 0.0:
        return audio
    return audio * np.float32(min(float(db_to_amplitude(level_db)) / rms, PEAK / peak))


def load_sounds(
    data: source.DataConfig,
    sample_rate: int,
    *,
    accept_restricted: bool = False,
    progress: bool = True,
) -> list[SoundTrack]:
    """Return the tracks of a corpus or a dataset, stems among them, that are not silent."""
    files = source.locate(data, accept_restricted=accept_restricted, progress=progress)
    embedded = data.dataset in export.CORPORA
    tracks = []
    with pair.opened(files.audio, files.annotations) as (entries, store):
        found = list(entries)
        if not embedded and len(found) > (data.n_tracks or len(found)):
            # from all over a dataset, whose entries stand side by side
            found = [found[i] for i in np.linspace(0, len(found) - 1, data.n_tracks).astype(int)]
        sides = splits.sides_of(data.dataset, found, stated=embedded, seed=data.seed)
        kept = [entry for entry in found if entry.filepath in sides]
        for entry in show_progress(kept, f"reading {data.dataset}", enabled=progress):
            samples, rate = store.read(entry.filepath)
            samples = resample(samples, rate, sample_rate)
            if np.mean(np.square(samples)) < db_to_amplitude(SILENT_DB) ** 2:
                continue
            names = ("family", "instrument", "pitchmidi", "stem", "style")
            labels = {n: str(entry.first(n)) for n in names if entry.first(n) is not None}
            key = f"{data.dataset}/{entry.filepath}"
            tracks.append(SoundTrack(key, sides[entry.filepath], at_level(samples), labels))
    return tracks
