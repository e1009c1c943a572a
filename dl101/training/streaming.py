"""Batches of patches straight from a file, for datasets that are larger than memory.

Two ways: :class:`StoredPatches` reads one patch when it is asked for (any order; each patch is one
small read), :class:`PatchStream` reads a block of whole tracks, deals out their patches in random
order and goes on to the next block (few large reads; random within a block only). Both may be used
by several worker processes. Items are ``(patch, track)``: float32 (..., bins, patch_frames), padded
with zeros after the end of a track, and the number of the track among ``keys``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset, get_worker_info

from dl101.data.featurestore import FeatureStore
from dl101.signal.patches import PatchIndex, block_order, pad_frames

Item = tuple[Tensor, int]


def index_of(
    store: FeatureStore, keys: Sequence[str], *, patch_frames: int, hop_frames: int | None = None
) -> PatchIndex:
    """Return the index of the patches of some tracks; reads their lengths, not their values."""
    n_frames = [store.shape(key)[-1] for key in keys]
    return PatchIndex(n_frames, patch_frames=patch_frames, hop_frames=hop_frames)


class StoredPatches(Dataset[Item]):
    """Item ``i`` is the patch with number ``i``, read from the file when it is asked for."""

    def __init__(self, store: FeatureStore, keys: Sequence[str], index: PatchIndex) -> None:
        self.store, self.keys, self.index = store, list(keys), index

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, number: int) -> Item:
        track, start, stop = self.index[number]
        values = self.store.read_frames(self.keys[track], start, stop)
        return torch.from_numpy(pad_frames(values, self.index.patch_frames)), track


class PatchStream(IterableDataset[Item]):
    """All patches once an epoch, from blocks of whole tracks; the order depends on seed and epoch.

    Worker processes share the tracks among themselves: each patch comes from one of them. Memory
    holds ``block_tracks`` tracks a worker.
    """

    def __init__(
        self,
        store: FeatureStore,
        keys: Sequence[str],
        index: PatchIndex,
        *,
        block_tracks: int,
        seed: int = 0,
    ) -> None:
        self.store, self.keys, self.index = store, list(keys), index
        self.block_tracks, self.seed = block_tracks, seed
        # in shared memory, so that workers that outlive an epoch hear of the next one
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()

    def __len__(self) -> int:
        return len(self.index)

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of this epoch; call it before iterating."""
        self._epoch.fill_(epoch)

    def __iter__(self) -> Iterator[Item]:
        info = get_worker_info()
        worker, n_workers = (0, 1) if info is None else (info.id, info.num_workers)
        rng = np.random.default_rng([self.seed, int(self._epoch)])
        blocks = block_order(self.index, rng, block_tracks=self.block_tracks * n_workers)
        for tracks, numbers in blocks:  # the same in every worker, each takes its tracks
            mine = tracks[worker::n_workers]
            values = {track: self.store.read_frames(self.keys[track]) for track in mine}
            for number in numbers:
                patch = self.index[number]
                if patch.track in values:
                    cut = self.index.cut(values[patch.track], patch)
                    yield torch.from_numpy(np.ascontiguousarray(cut)), patch.track
