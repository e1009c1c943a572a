"""The tracks of cover song identification: profiles of pitch classes, and batches of cliques.

A :class:`CoverTrack` is one performance, (12, frames), row 0 is C, with the work that it is a
version of. :func:`load_cover_tracks` reads them, from an embedded corpus or a downloaded dataset
alike; :func:`profile_of_audio` makes one from a recording; :func:`vary` varies those of training;
an :class:`Index` holds what a network makes of a collection.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from scipy.ndimage import maximum_filter1d

from dl101.config import Ascending, Positive, Probability, Range, Settings
from dl101.data import audiofile, pair, pyjama, splits
from dl101.data.audiostore import AudioStore
from dl101.data.cache import replacing
from dl101.data.embedded.profiles import FRAME_RATE_HZ
from dl101.errors import DataError
from dl101.progress import progress as show_progress
from dl101.signal import tuning
from dl101.signal.cqt import HcqtConfig
from dl101.training.checkpoints import read_safetensors

AUDIO_SUFFIXES = (".wav", ".flac", ".mp3", ".ogg", ".aif", ".aiff")
SAMPLE_RATE = 22050
SPECTRUM = HcqtConfig(  # a frame every 93 ms, as the features have, from C2 up
    harmonics=(1,), bins_per_semitone=3, n_octaves=6, f_min_hz=65.406, hop_samples=2048
)


@dataclass(frozen=True, eq=False)
class CoverTrack:
    """One performance.

    Attributes
    ----------
    key
        Its ``filepath``, the key of its features.
    side
        ``"train"``, ``"validation"`` or ``"test"``.
    work
        The ``work-id``: what performances of one composition share.
    title
        Of the work or of the performance, where the annotation has one.
    input
        (12, frames) float32, averaged over ``pool_frames`` frames.
    """

    key: str
    side: str
    work: str
    title: str
    input: NDArray[np.float32] = field(repr=False)


@dataclass(frozen=True)
class CoverVariationConfig(Settings):
    """How performances of training are varied, anew each time that they are drawn.

    Attributes
    ----------
    tempo
        Slowest and fastest tempo, as a factor.
    crop
        The shortest share of a performance that is kept; what is left is played in a circle.
    silence
        Share of performances in which a stretch of up to 3 in 10 frames is silenced.
    fewer
        Share of performances in which pitch classes are weakened, each by a factor of its own.
    noise
        Standard deviation of what is added to each value.
    """

    tempo: Annotated[tuple[Positive, Positive], Ascending()] = (0.7, 1.4)
    crop: Annotated[float, Range(above=0, at_most=1)] = 0.6
    silence: Probability = 0.3
    fewer: Probability = 0.0
    noise: Annotated[float, Range(at_least=0, at_most=1)] = 0.0


def pooled(profile: NDArray, pool_frames: int) -> NDArray[np.float32]:
    """Return the means over each ``pool_frames`` frames of (12, frames); a rest is left out."""
    width = min(pool_frames, profile.shape[1])
    n = profile.shape[1] // width
    return profile[:, : n * width].reshape(12, n, width).mean(axis=2, dtype=float).astype("f4")


def around(profile: NDArray[np.float32], positions: NDArray) -> NDArray[np.float32]:
    """Read a profile at positions between its frames; behind its end it begins again."""
    n = profile.shape[1]
    first = np.floor(positions).astype(int)
    share = (positions - first).astype(np.float32)
    return profile[:, first % n] * (1 - share) + profile[:, (first + 1) % n] * share


def vary(
    profile: NDArray[np.float32],
    rng: np.random.Generator,
    *,
    n_frames: int,
    config: CoverVariationConfig | None,
) -> NDArray[np.float32]:
    """Return ``n_frames`` of a performance, from anywhere in it, varied if there is a ``config``.

    A transposition is not drawn: the networks of this task are blind to it.
    """
    total = profile.shape[1]
    if config is None:
        return around(profile, int(rng.integers(total)) + np.arange(n_frames))
    kept = max(2, round(rng.uniform(config.crop, 1.0) * total))
    begin = int(rng.integers(total))
    part = profile[:, (begin + np.arange(kept)) % total]
    tempo = float(np.exp(rng.uniform(*np.log(config.tempo))))
    found = around(part, tempo * np.arange(n_frames))
    if rng.random() < config.silence:
        width = int(rng.integers(1, max(2, round(0.3 * n_frames))))
        at = int(rng.integers(n_frames - width + 1))
        found[:, at : at + width] = 0.0
    if rng.random() < config.fewer:
        found *= rng.uniform(0.3, 1.0, (12, 1)).astype(np.float32)
    if config.noise:
        found += config.noise * rng.standard_normal(found.shape).astype(np.float32)
    return found


def load_cover_tracks(
    features: Path,
    annotations: Path,
    *,
    pool_frames: int,
    dataset: str,
    seed: int = 0,
    n_tracks: int | None = None,
    progress: bool = True,
) -> list[CoverTrack]:
    """Load the performances of a pair whose entries have a ``work-id``.

    Where the entries state their ``split`` they keep it; otherwise works are split by name, so that
    all versions of a work are on one side. A performance is listed once: what else an exported
    corpus holds of it (role ``clean``, the truth), and entries that repeat a ``performance-id``,
    are left out, or a performance would be found by itself.

    Raises
    ------
    DataError
        If the two files do not belong together, or no entry has a work.
    """
    with pair.opened(features, annotations) as (collection, store):
        entries = performances(collection)[:n_tracks]
        if not entries:
            raise DataError(
                f"annotations {annotations}",
                got="no entry with a work-id",
                expected="which performances are of which work",
                hint="use a dataset made for cover songs, such as covers or cover1000",
            )
        if all(entry.first("split") for entry in entries):
            sides = {entry.filepath: entry.first("split") for entry in entries}
        else:
            sides = splits.safe_split(dataset, entries, seed=seed)
        tracks = []
        for entry in show_progress(entries, "profiles", enabled=progress):
            values, _ = store.read_feature(entry.filepath, n_bins=12, frame_rate_hz=FRAME_RATE_HZ)
            tracks.append(
                CoverTrack(
                    entry.filepath,
                    sides[entry.filepath],
                    str(entry.first("work-id")),
                    str(entry.first("title") or entry.filepath),
                    pooled(values, pool_frames),
                )
            )
    return tracks


def performances(collection: pyjama.Collection) -> list[pyjama.Entry]:
    """Return the entries that are performances of a work, each performance once."""
    found: dict[object, pyjama.Entry] = {}
    for entry in collection:
        if entry.first("work-id") is not None and entry.first("role") not in ("clean", "stem"):
            found.setdefault(entry.first("performance-id") or entry.filepath, entry)
    return list(found.values())


def profile_of_audio(path: Path | str, pool_frames: int) -> NDArray[np.float32]:
    """Return the profile of a recording, (12, frames), as the networks of this task read it.

    Raises
    ------
    DataError
        If the file is no recording, is shorter than 5 s, or silent.
    """
    samples = audiofile.read_recording(path, SAMPLE_RATE, shortest_s=5.0)
    return pooled(profile_of_samples(samples), pool_frames)


def profile_of_samples(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return how strong each pitch class is, (12, frames), from 0 to 1; 22,050 Hz.

    The energy of the constant-Q spectrum, tuned and folded into an octave, in dB below the loudest
    pitch class within half a second, and that squeezed by a logistic function: -7 dB becomes 0.5.
    So levels are like those of the features that the networks were trained on.
    """
    spectrum, cents = tuning.tuned_cqt(samples, SPECTRUM, sample_rate=SAMPLE_RATE)
    squared = replace(spectrum, values=np.square(spectrum.values))
    energy = tuning.fold(squared, tuning_cents=cents, peak=False).values[0]
    loudest = maximum_filter1d(energy.max(axis=0), 11) + 1e-9
    level_db = 10.0 * np.log10(energy / loudest + 1e-3)
    return (1.0 / (1.0 + np.exp(-0.37 * (level_db + 7.0)))).astype(np.float32)


def profiles_in(
    folder: Path, pool_frames: int
) -> Iterator[tuple[str, NDArray[np.float32] | DataError]]:
    """Yield the name and the profile of each item of a folder, or what is wrong with it.

    Items are the recordings in the folder and below it, and the features in its HDF5 files. Of
    entries that a .pyjama file of the folder annotates, those that :func:`performances` names.

    Raises
    ------
    DataError
        If the folder is missing, or a file of features cannot be read.
    """
    if not folder.is_dir():
        hint = "give a folder of recordings, or one with an .hdf5 file of features"
        raise DataError(str(folder), got="no such folder", expected="a folder", hint=hint)
    listed = [pyjama.read(path) for path in sorted(folder.glob("*.pyjama"))]
    annotated = {entry.filepath for collection in listed for entry in collection}
    kept = {entry.filepath for collection in listed for entry in performances(collection)}
    for path in sorted(folder.glob("*.hdf5")):
        with AudioStore(path) as store:
            for key in store.keys():
                if key in annotated and key not in kept:
                    continue
                values, _ = store.read_feature(key, n_bins=12, frame_rate_hz=FRAME_RATE_HZ)
                yield key, pooled(values, pool_frames)
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in AUDIO_SUFFIXES:
            try:
                yield str(path.relative_to(folder)), profile_of_audio(path, pool_frames)
            except DataError as error:
                yield str(path.relative_to(folder)), error


@dataclass(frozen=True, eq=False)
class Index:
    """The embeddings of a collection, to be searched again and again.

    Attributes
    ----------
    names
        Of the items, in order.
    embeddings
        (items, numbers) float32.
    network
        What identifies the network that made them: those of two networks cannot be compared.
    """

    names: tuple[str, ...]
    embeddings: NDArray[np.float32]
    network: str

    def save(self, path: Path | str) -> None:
        """Write the index to a safetensors file, which appears complete or not at all."""
        header = {"index": json.dumps({"names": self.names, "network": self.network})}
        tensors = {"embeddings": torch.from_numpy(np.ascontiguousarray(self.embeddings))}
        with replacing(path) as temporary:
            save_file(tensors, temporary, metadata=header)

    @classmethod
    def load(cls, path: Path | str) -> Index:
        """Read an index.

        Raises
        ------
        DataError
            If the file is missing, damaged, or no index.
        """
        tensors, header = read_safetensors(Path(path).expanduser())
        try:
            found = json.loads(header["index"])
            names, network = tuple(map(str, found["names"])), str(found["network"])
            embeddings = tensors["embeddings"].numpy()
            if embeddings.ndim != 2 or len(names) != len(embeddings):
                raise ValueError(f"{len(names)} names for embeddings {embeddings.shape}")
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"index {path}",
                got=f"a file without {error}" if isinstance(error, KeyError) else str(error),
                expected="the embeddings of a collection and their names",
                hint="make it with dl101 covers index FOLDER",
            ) from error
        return cls(names, embeddings, network)


def make_index(
    folder: Path, embed: Callable[[NDArray], NDArray], *, pool_frames: int, network: str
) -> tuple[Index, list[DataError]]:
    """Return the index of a folder, see :func:`profiles_in`, and what is wrong with some files.

    Raises
    ------
    DataError
        If nothing in the folder can be read.
    """
    names, embeddings, left_out = [], [], []
    for name, found in profiles_in(folder, pool_frames):
        if isinstance(found, DataError):
            left_out.append(found)
        else:
            names.append(name)
            embeddings.append(embed(found))
    if names:
        return Index(tuple(names), np.stack(embeddings), network), left_out
    nothing = DataError(
        str(folder),
        got="neither a recording nor features",
        expected="WAV, FLAC, MP3 or OGG files, or an .hdf5 file of profiles (12, frames)",
        hint="give the folder that holds them",
    )
    raise left_out[0] if left_out else nothing
