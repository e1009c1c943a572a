"""From tracks to batches: patches of equal length, with a mask where the track has ended.

A :class:`Track` is anything with a side of the split, an input (..., time) and a target
(bin, time); the systems say how they load theirs. :class:`PatchData` cuts them into patches and
hands out batches. Nothing here draws a random number except the order of patches, which depends on
the seed and the epoch alone, so a run that was killed and resumed sees the batches that it would
have seen.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol, TypeVar

import lightning as L
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from dl101.data import splits
from dl101.errors import DataError
from dl101.signal.patches import PatchIndex, pad_frames

T = TypeVar("T", bound="Track")


class Track(Protocol):
    """What a track must have to be cut into patches."""

    side: str
    input: NDArray[np.float32]
    target: NDArray[np.uint8]


class PatchDataset(Dataset):
    """Patches of tracks: item ``i`` is a dictionary of ``input``, ``target`` and ``mask``.

    ``input`` (..., patch_frames) float32, ``target`` (1, bins, patch_frames) float32,
    ``mask`` (patch_frames,) float32. The last patch of a track is padded with zeros, and its mask
    says so.
    """

    def __init__(self, tracks: Sequence[Track], *, patch_frames: int, hop_frames: int) -> None:
        self.tracks = tracks
        self.patches = PatchIndex(
            [track.target.shape[1] for track in tracks],
            patch_frames=patch_frames,
            hop_frames=hop_frames,
        )

    def __len__(self) -> int:
        return len(self.patches)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        patch = self.patches[index]
        track = self.tracks[patch.track]
        sounding = np.ones(patch.stop - patch.start, dtype=np.float32)
        return {
            # a copy: the cut of a memory map can be read only
            "input": torch.from_numpy(np.array(self.patches.cut(track.input, patch))),
            "target": torch.from_numpy(
                self.patches.cut(track.target[None], patch).astype(np.float32)
            ),
            "mask": torch.from_numpy(pad_frames(sounding, self.patches.patch_frames)),
        }


class EpochShuffle(Sampler[int]):
    """A new order every epoch that depends on the seed and the number of the epoch alone."""

    def __init__(self, n_items: int, seed: int) -> None:
        self.n_items, self.seed, self.epoch = n_items, seed, 0

    def __len__(self) -> int:
        return self.n_items

    def __iter__(self) -> Iterator[int]:
        rng = np.random.default_rng([self.seed, self.epoch])
        return iter(rng.permutation(self.n_items).tolist())

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of this epoch; Lightning calls it."""
        self.epoch = epoch


class PatchData(L.LightningDataModule):
    """Batches of patches of the training and validation tracks."""

    def __init__(
        self,
        tracks: Mapping[str, Sequence[Track]],
        *,
        patch_frames: int,
        batch_size: int,
        seed: int = 0,
        num_workers: int = 0,
    ) -> None:
        super().__init__()
        self.batch_size, self.seed, self.num_workers = batch_size, seed, num_workers
        self.train = PatchDataset(
            tracks["train"], patch_frames=patch_frames, hop_frames=patch_frames
        )
        self.validation = PatchDataset(
            tracks["validation"], patch_frames=patch_frames, hop_frames=patch_frames
        )

    def train_dataloader(self) -> DataLoader:
        """Return shuffled batches of training patches."""
        return self._loader(self.train, EpochShuffle(len(self.train), self.seed))

    def val_dataloader(self) -> DataLoader:
        """Return batches of validation patches, in order."""
        return self._loader(self.validation, None)

    def _loader(self, dataset: Dataset, sampler: Sampler | None) -> DataLoader:
        return DataLoader(
            dataset,
            batch_size=self.batch_size,
            sampler=sampler,
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
            pin_memory=torch.cuda.is_available(),
        )


def by_side(tracks: Sequence[T]) -> dict[str, list[T]]:
    """Group tracks by their side of the split; a side without a track is a DataError."""
    sides = {side: [track for track in tracks if track.side == side] for side in splits.SIDES}
    for side, members in sides.items():
        if not members:
            raise DataError(
                f"split, side {side!r}",
                got=f"no track among {len(tracks)}",
                expected="at least one",
                hint="use more tracks (data.n_tracks)",
            )
    return sides
