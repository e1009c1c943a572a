"""Recordings as rows of numbers: embedding files of any length, and finding what is like them.

Conventions: ``encode`` maps crops (crops, samples) to embeddings (crops, numbers); what describes a
whole recording is the mean of its crops, brought to length 1, and two recordings are as alike as
the cosine between these.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dl101.data import audiofile
from dl101.data.cache import check_writable, replacing
from dl101.data.sounds import LEVEL_DB, PEAK
from dl101.errors import ConfigError, DataError, Dl101Error
from dl101.signal import streams
from dl101.signal.patches import pad_frames
from dl101.units import db_to_amplitude

Encode = Callable[[NDArray[np.float32]], NDArray[np.float32]]
SUFFIXES = (".wav", ".flac", ".mp3", ".ogg", ".oga", ".opus", ".aif", ".aiff")


@dataclass(frozen=True, eq=False)
class Embedded:
    """What is known of a recording: ``times_s`` (crops,), middles; ``values`` (crops, numbers)."""

    name: str
    times_s: NDArray[np.float64]
    values: NDArray[np.float32]

    @property
    def whole(self) -> NDArray[np.float32]:
        """Return one vector of length 1 for the whole recording, (numbers,)."""
        mean = self.values.mean(axis=0)
        return mean / max(float(np.linalg.norm(mean)), 1e-12)


def embed_file(
    encode: Encode,
    path: Path | str,
    *,
    sample_rate: int,
    crop_samples: int,
    hop_samples: int | None = None,
) -> Embedded:
    """Embed the crops of an audio file, which is read twice, in blocks: first for its level.

    Parameters
    ----------
    encode
        The encoder.
    path
        WAV, FLAC, MP3 or OGG, of any rate, length and number of channels.
    sample_rate, crop_samples
        Of what the encoder hears.
    hop_samples
        Distance between crops; by default their length. The last is followed by zeros if the
        recording ends within it, and left out if less than half of it is sound and it is not the
        only one.

    Raises
    ------
    DataError
        If the file cannot be read, or is silent.
    """
    hop = hop_samples or crop_samples
    energy, peak, n_samples = 0.0, 0.0, 0
    for block in _mono(path, sample_rate):
        energy += float(np.sum(np.square(block, dtype=np.float64)))
        peak, n_samples = max(peak, float(np.abs(block).max(initial=0.0))), n_samples + block.size
    if peak < audiofile.SILENCE:
        raise DataError(
            f"audio file {Path(path).name}",
            got="silence" if n_samples else "no sample",
            expected="something to hear",
            hint="choose another file",
        )
    rms = (energy / n_samples) ** 0.5
    scale = np.float32(min(float(db_to_amplitude(LEVEL_DB)) / rms, PEAK / peak))
    rows = [
        encode(scale * crop[None])[0]
        for crop in _crops(_mono(path, sample_rate), crop_samples, hop)
    ]
    middles = np.arange(len(rows)) * hop + crop_samples / 2
    return Embedded(Path(path).name, middles / sample_rate, np.stack(rows))


def _mono(path: Path | str, sample_rate: int) -> Iterator[NDArray[np.float32]]:
    with audiofile.opened(path) as recording:
        yield from streams.mono(recording.blocks, recording.sample_rate, sample_rate)


def _crops(
    blocks: Iterable[NDArray[np.float32]], n_samples: int, hop: int
) -> Iterator[NDArray[np.float32]]:
    """Yield crops of a stream, ``hop`` apart; memory holds a block and a crop."""
    held, skip, n_crops = np.zeros(0, np.float32), 0, 0
    for block in blocks:
        held = np.concatenate([held, block])
        while held.size - skip >= n_samples:
            yield held[skip : skip + n_samples]
            n_crops, skip = n_crops + 1, skip + hop
        held, skip = held[skip:], max(0, skip - held.size)
    held = held[skip:]
    if held.size >= n_samples / 2 or not n_crops:
        yield pad_frames(held, n_samples)


def write(path: Path | str, embedded: Iterable[Embedded]) -> None:
    """Write embeddings to a ``.npz`` or an ``.hdf5`` file.

    An ``.hdf5`` file has a group for each recording, with ``values`` and ``times_s``; a ``.npz``
    has ``names``, and ``values`` and ``times_s`` of all crops of all recordings one after another,
    with ``recording``, (crops,), the number of the name.

    Raises
    ------
    ConfigError
        If the name ends in something else, or two recordings have one name.
    """
    path, all_of_them = Path(path), list(embedded)
    kind = path.suffix.lower()
    if kind not in (".npz", ".hdf5", ".h5"):
        raise ConfigError(
            "file of embeddings",
            got=path.name,
            expected="a name that ends in .npz, .hdf5 or .h5",
            hint=f"use {path.with_suffix('.npz').name}",
        )
    names = [each.name for each in all_of_them]
    if len(set(names)) < len(names):
        raise ConfigError(
            "file of embeddings",
            got=f"{max(names, key=names.count)} twice",
            expected="recordings of different names",
            hint="embed folders one by one, or rename a file",
        )
    check_writable(path)
    with replacing(path) as temporary:
        if kind == ".npz":
            with open(temporary, "wb") as file:
                np.savez_compressed(
                    file,
                    names=np.array(names),
                    values=np.concatenate([each.values for each in all_of_them]),
                    times_s=np.concatenate([each.times_s for each in all_of_them]),
                    recording=np.repeat(
                        np.arange(len(names)), [len(each.values) for each in all_of_them]
                    ),
                )
            return
        import h5py

        with h5py.File(temporary, "w", locking=False) as file:
            for each in all_of_them:
                group = file.create_group(each.name)
                group["values"], group["times_s"] = each.values, each.times_s


def recordings_in(folder: Path | str) -> list[Path]:
    """Return the audio files of a folder and of those in it, in order."""
    found = sorted(p for p in Path(folder).rglob("*") if p.suffix.lower() in SUFFIXES)
    if not found:
        raise DataError(
            f"folder {folder}",
            got="no audio file",
            expected=f"files that end in {', '.join(SUFFIXES)}",
            hint="give the folder that holds recordings",
        )
    return found


def most_similar(query: Embedded, others: Mapping[str, Embedded]) -> list[tuple[str, float]]:
    """Return names and cosines of recordings, the most similar first."""
    cosines = {name: float(query.whole @ other.whole) for name, other in others.items()}
    return sorted(cosines.items(), key=lambda item: -item[1])


def embed_folder(
    embed: Callable[[Path], Embedded], folder: Path | str
) -> tuple[dict[str, Embedded], list[Dl101Error]]:
    """Return the recordings of a folder by their path in it, and why others were left out."""
    found, left_out = {}, []
    for path in recordings_in(folder):
        try:
            found[path.relative_to(folder).as_posix()] = embed(path)
        except Dl101Error as error:
            left_out.append(error)
    return found, left_out
