"""Songs with the stems that they are mixed from, to separate: all stems at one rate.

Conventions: stems are float32, (stems, channels, samples), in the order of :data:`STEMS`; the
mixture is their sum, sample by sample. (MUSDB18 compresses its mixtures by themselves, so that they
differ a little from it, and are not used.)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dl101.data import pair, source, splits
from dl101.data.audiofile import resample
from dl101.data.audiostore import AudioStore
from dl101.data.cache import cache_dir, fingerprint, replacing
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
        (4, channels, samples) float32, in memory or mapped from a file.
    """

    key: str
    side: str
    stems: NDArray[np.float32]

    @property
    def mixture(self) -> NDArray[np.float32]:
        """Return the sum of the stems, (channels, samples)."""
        return self.stems.sum(axis=0, dtype=np.float32)


def load_songs(
    data: source.DataConfig,
    sample_rate: int,
    n_channels: int,
    *,
    accept_restricted: bool = False,
    progress: bool = True,
) -> list[SongTrack]:
    """Return the songs of the corpus ``stems`` or of a dataset like it, such as ``musdb18``.

    Those of a dataset, which may be larger than memory, are written once at the rate asked for, and
    mapped from there.

    Parameters
    ----------
    data
        Which songs; of a dataset ``n_tracks`` takes songs from all over each side, in its share.
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
        sides = splits.sides_of(data.dataset, entries, stated=embedded, seed=data.seed)
        found = {
            name: [stems[stem].filepath for stem in STEMS]
            for name, stems in _by_song(entries).items()
        }
        by_name = {name: sides[paths[0]] for name, paths in found.items() if paths[0] in sides}
        if not embedded and data.n_tracks is not None:
            by_name = _some(by_name, data.n_tracks)
        read = _stems if embedded else _mapped
        for name in show_progress(list(by_name), f"reading {data.dataset}", enabled=progress):
            stems = read(store, found[name], sample_rate, n_channels)
            songs.append(SongTrack(f"{name}.wav", by_name[name], stems))
    return songs


def _some(sides: Mapping[str, str], n_tracks: int) -> dict[str, str]:
    """Return ``n_tracks`` songs or less, from all over each side in its share, at least one."""
    chosen = []
    for side in splits.SIDES:
        members = [name for name in sides if sides[name] == side]
        share = max(1, n_tracks * len(members) // len(sides))
        places = np.linspace(0, len(members) - 1, min(share, len(members))).astype(int)
        chosen += [members[place] for place in places]
    return {name: sides[name] for name in chosen}


def _stems(
    store: AudioStore, paths: Sequence[str], sample_rate: int, n_channels: int
) -> NDArray[np.float32]:
    """Return (stems, channels, samples) of a song."""
    stems = []
    for path in paths:
        samples, rate = store.read(path, mono=n_channels == 1)
        rows = np.stack([resample(row, rate, sample_rate) for row in np.atleast_2d(samples)])
        stems.append(np.broadcast_to(rows, (n_channels, rows.shape[1])))
    if len({stem.shape for stem in stems}) > 1:
        raise DataError(
            f"song of {paths[0]!r}",
            got=f"stems of {', '.join(str(stem.shape[1]) for stem in stems)} samples",
            expected="one length",
            hint="cut or pad the stems where the files are made",
        )
    return np.stack(stems)


def _mapped(
    store: AudioStore, paths: Sequence[str], sample_rate: int, n_channels: int
) -> NDArray[np.float32]:
    """Return the stems of a song from a file of the cache, written at first use."""
    lengths = [store.info(path).n_samples for path in paths]
    what = [store.identity or str(store.path), list(paths), lengths, sample_rate, n_channels]
    path = cache_dir("stems") / f"{fingerprint(what)}.npy"
    if not path.exists():
        stems = _stems(store, paths, sample_rate, n_channels)
        with replacing(path) as temporary, temporary.open("wb") as file:
            np.save(file, stems, allow_pickle=False)
    return np.load(path, mmap_mode="r", allow_pickle=False)


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
