"""Songs with the stems that they are mixed from, to separate: all stems at one rate.

Conventions: stems are float32, (stems, channels, samples), in the order of :data:`STEMS`; the
mixture is their sum, sample by sample. (MUSDB18 compresses its mixtures by themselves, so that they
differ a little from it.)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dl101.data import pair, source, splits
from dl101.data.audiofile import resample
from dl101.data.embedded import export
from dl101.data.pyjama import Entry
from dl101.errors import DataError
from dl101.progress import progress as show_progress

STEMS = ("vocals", "drums", "bass", "other")


@dataclass(frozen=True, eq=False)
class SongTrack:
    """One song.

    Attributes
    ----------
    key
        The ``filepath`` of its mixture, such as ``00003-test.wav``.
    side
        ``"train"``, ``"validation"`` or ``"test"``.
    stems
        (4, channels, samples) float32.
    """

    key: str
    side: str
    stems: NDArray[np.float32]

    @property
    def mixture(self) -> NDArray[np.float32]:
        """Return the sum of the stems, (channels, samples)."""
        return self.stems.sum(axis=0)


def load_songs(
    data: source.DataConfig,
    sample_rate: int,
    n_channels: int,
    *,
    accept_restricted: bool = False,
    progress: bool = True,
) -> list[SongTrack]:
    """Return the songs of the corpus ``stems`` or of a dataset like it, such as ``musdb18``.

    Parameters
    ----------
    data
        Which songs; of a dataset ``n_tracks`` takes songs from all over it.
    sample_rate
        In Hz.
    n_channels
        1 averages the channels, 2 copies the one of a mono song.
    accept_restricted
        The reader has the permission that some datasets ask for.
    progress
        Whether to show a progress bar.

    Raises
    ------
    ConfigError
        If an embedded corpus has no stems; found before it is rendered.
    DataError
        If a song lacks a stem, or its stems differ in length, or there is no song.
    """
    files = source.locate(
        data, fields=("stem",), accept_restricted=accept_restricted, progress=progress
    )
    embedded = data.dataset in export.CORPORA
    songs = []
    with pair.opened(files.audio, files.annotations) as (entries, store):
        entries = list(entries)
        sides = (
            {entry.filepath: entry.first("split") for entry in entries}
            if embedded
            else splits.safe_split(data.dataset, entries, seed=data.seed)
        )
        found = _by_song(entries)
        names = list(found)
        if not embedded and len(names) > (data.n_tracks or len(names)):
            # from all over a dataset, whose entries stand side by side
            names = [names[i] for i in np.linspace(0, len(names) - 1, data.n_tracks).astype(int)]
        for name in show_progress(names, f"reading {data.dataset}", enabled=progress):
            stems = []
            for stem in STEMS:
                path = found[name][stem].filepath
                samples, rate = store.read(path, mono=n_channels == 1)
                rows = np.atleast_2d(samples)
                rows = np.stack([resample(row, rate, sample_rate) for row in rows])
                stems.append(np.broadcast_to(rows, (n_channels, rows.shape[1])))
            if len({stem.shape for stem in stems}) > 1:
                raise DataError(
                    f"song {name!r}",
                    got=f"stems of {', '.join(str(stem.shape[1]) for stem in stems)} samples",
                    expected="one length",
                    hint="cut or pad the stems where the files are made",
                )
            side = sides[found[name][STEMS[0]].filepath]
            songs.append(SongTrack(f"{name}.wav", side, np.stack(stems)))
    return songs


def _by_song(entries: Iterable[Entry]) -> Mapping[str, Mapping[str, Entry]]:
    """Return the stems of each song by its name, in the order of the entries."""
    found: dict[str, dict[str, Entry]] = {}
    for entry in entries:
        stem = entry.first("stem")
        if stem is not None:
            name = entry.filepath.removesuffix(f"-{stem}.wav")
            found.setdefault(name, {})[stem] = entry
    for name, stems in found.items():
        missing = [stem for stem in STEMS if stem not in stems]
        if missing:
            raise DataError(
                f"song {name!r}",
                got=f"no stem {' or '.join(missing)}",
                expected=f"entries {', '.join(f'{name}-{stem}.wav' for stem in STEMS)}",
                hint="leave the song out of the annotations, or add what is missing",
            )
    if not found:
        raise DataError(
            "songs",
            got="no entry with a field stem",
            expected=f"entries with stem {', '.join(STEMS)}",
            hint="use data.dataset=stems or musdb18",
        )
    return found
