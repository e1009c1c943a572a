"""A corpus that need not fit into memory: prepared in one pass, then streamed to both front-ends.

Conventions. A recording is heard at 11 025 Hz and cut into *frames* of 486 samples (44 ms), no
overlap. ``waves`` holds the samples of each frame, (486, frames); ``spectra`` the log-mel bands
around its beginning, (48, frames). So one index cuts both: patch ``i`` is the same stretch of music
for either front-end. Both are files of 16-bit floats, read a block of whole tracks at a time.

Tracks are those of the embedded corpus ``tags``, in its order; the corpus of ``n`` tracks is the
first ``n`` of any longer one.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader

from dl101.data import pair
from dl101.data.audiofile import resample
from dl101.data.cache import cache_dir, fingerprint
from dl101.data.embedded import export
from dl101.data.embedded.export import CorpusFiles
from dl101.data.featurestore import FeatureStore, FeatureStoreWriter
from dl101.data.splits import SIDES
from dl101.errors import ConfigError
from dl101.evaluation import probe_features
from dl101.progress import progress as progress_bar
from dl101.signal import mel
from dl101.signal.patches import PatchIndex
from dl101.systems.auto_tagging_data import TASKS, target_of
from dl101.training.streaming import PatchStream, index_of

CORPUS = "tags"
TASK = TASKS[CORPUS]
SAMPLE_RATE = 11025
FRAME_SAMPLES = 486
N_BANDS, WINDOW_SAMPLES = 48, 1024
PATCH_FRAMES = 68  # 3.0 s
HOP_FRAMES = 34  # between patches of training; at the test they do not overlap
INPUTS = ("waves", "spectra")


@dataclass(frozen=True, eq=False)
class Tracks:
    """Some tracks of one side.

    Attributes
    ----------
    numbers
        In the corpus, (tracks,).
    keys
        Their names in the stores.
    targets
        (tracks, tags) float32, 1 for each tag that holds.
    """

    numbers: NDArray[np.int64]
    keys: tuple[str, ...]
    targets: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.keys)

    def some(self, chosen: NDArray[np.bool_] | slice) -> Tracks:
        """Return some of the tracks."""
        keys = tuple(np.array(self.keys, dtype=object)[chosen])
        return Tracks(self.numbers[chosen], keys, self.targets[chosen])

    def within(self, n_tracks: int) -> Tracks:
        """Return those that belong to the corpus of ``n_tracks`` tracks."""
        return self.some(self.numbers < n_tracks)


@dataclass(frozen=True, eq=False)
class Corpus:
    """A prepared corpus: its tracks by side, and the stores of both inputs by name."""

    sides: Mapping[str, Tracks]
    stores: Mapping[str, FeatureStore]


def framed(audio: NDArray[np.float32], sample_rate: int) -> dict[str, NDArray[np.float32]]:
    """Return both inputs of a recording, (486, frames) and (48, frames)."""
    heard = resample(audio, sample_rate, SAMPLE_RATE)
    n_frames = len(heard) // FRAME_SAMPLES
    heard = heard[: n_frames * FRAME_SAMPLES]
    sizes = {"n_bands": N_BANDS, "window_samples": WINDOW_SAMPLES, "hop_samples": FRAME_SAMPLES}
    spectrum = mel.log_mel(heard, SAMPLE_RATE, **sizes).values[0, :, :n_frames]
    return {"waves": heard.reshape(n_frames, FRAME_SAMPLES).T, "spectra": spectrum}


def prepare(files: CorpusFiles, folder: Path, *, progress: bool = True) -> dict[str, Path]:
    """Write both inputs of all tracks, one track in memory at a time; return the files by input."""
    paths = {name: folder / f"{name}.hdf5" for name in INPUTS}
    with (
        pair.opened(files.audio, files.annotations) as (entries, store),
        FeatureStoreWriter(paths["waves"], dtype="float16") as waves,
        FeatureStoreWriter(paths["spectra"], dtype="float16") as spectra,
    ):
        writers = {"waves": waves, "spectra": spectra}
        for entry in progress_bar(entries, "preparing", enabled=progress):
            for name, values in framed(*store.read(entry.filepath)).items():
                writers[name].append(entry.filepath, values, SAMPLE_RATE / FRAME_SAMPLES)
    return paths


def load(*, seed: int = 0, n_tracks: int, progress: bool = True) -> Corpus:
    """Return a corpus, rendered and prepared at first use; nothing but its labels is in memory.

    Raises
    ------
    ConfigError
        If it has too few tracks for three sides.
    """
    if n_tracks < len(SIDES):
        raise ConfigError(
            f"corpus {CORPUS!r} for training, validation and test",
            got=f"{n_tracks} tracks",
            expected=f"{len(SIDES)} or more",
            hint="take a hundred, so that each side has some",
        )
    files = export.cached_corpus(CORPUS, n_tracks=n_tracks, seed=seed, progress=progress)
    made = [SAMPLE_RATE, FRAME_SAMPLES, N_BANDS, WINDOW_SAMPLES, export.corpus_version(CORPUS)]
    folder = cache_dir("features", f"at_scale-{fingerprint([n_tracks, seed, *made])}")
    paths = {name: folder / f"{name}.hdf5" for name in INPUTS}
    if not all(path.exists() for path in paths.values()):
        prepare(files, folder, progress=progress)
    with pair.opened(files.audio, files.annotations) as (entries, _):
        known = [
            (number, entry.filepath, target_of(entry, TASK), entry.first("split"))
            for number, entry in enumerate(entries)
        ]
    sides = {}
    for side in SIDES:
        numbers, keys, targets, _ = zip(*(row for row in known if row[3] == side), strict=True)
        sides[side] = Tracks(np.array(numbers), keys, np.stack(targets))
    return Corpus(sides, {name: FeatureStore(path) for name, path in paths.items()})


def batches(
    store: FeatureStore,
    tracks: Tracks,
    *,
    batch_size: int,
    seed: int = 0,
    block_tracks: int = 256,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield patches and their tags without end, epoch after epoch.

    A block of whole tracks is read, its patches are dealt out in random order, and it is forgotten
    for the next: memory holds ``block_tracks`` tracks, however long the file. The order depends on
    the tracks and the seed alone, so both front-ends get the same music in each step.
    """
    keys = list(tracks.keys)
    index = index_of(store, keys, patch_frames=PATCH_FRAMES, hop_frames=HOP_FRAMES)
    stream = PatchStream(store, keys, index, block_tracks=block_tracks, seed=seed)
    # a rest of one patch would leave batch normalisation nothing to normalise
    loader = DataLoader(stream, batch_size, drop_last=len(index) >= batch_size)
    targets = torch.from_numpy(tracks.targets)
    for epoch in itertools.count():
        stream.set_epoch(epoch)
        for patches, numbers in loader:
            yield patches, targets[numbers]


def whole_tracks(
    store: FeatureStore, keys: Sequence[str], *, block_tracks: int = 64
) -> Iterator[tuple[Tensor, PatchIndex]]:
    """Yield the patches of some tracks, in order and without overlap, and their index."""
    for begin in range(0, len(keys), block_tracks):
        block = list(keys[begin : begin + block_tracks])
        index = index_of(store, block, patch_frames=PATCH_FRAMES)
        values = [store.read_frames(key) for key in block]
        cut = [index.cut(values[patch.track], patch) for patch in index]
        yield torch.from_numpy(np.stack(cut)), index


def statistics(store: FeatureStore, keys: Sequence[str]) -> NDArray[np.float32]:
    """Return what a classical system takes of each track, (tracks, numbers).

    Mean and deviation over time of the log-mel bands and of 20 cepstral coefficients, and how
    onsets repeat (:func:`dl101.evaluation.probe_features.rhythm`).
    """
    found = []
    for key in keys:
        spectrum = store.read_frames(key)
        both = np.concatenate([spectrum, mel.mfcc(spectrum)])
        rhythm = probe_features.rhythm(spectrum.astype(float), FRAME_SAMPLES / SAMPLE_RATE)
        found.append(np.concatenate([both.mean(axis=1), both.std(axis=1), rhythm]))
    return np.array(found, dtype=np.float32)
