"""Batches of cliques: items that belong together, several of each, for learning distances.

A :class:`Version` is anything with an input (..., time) and the work that it is a version of; all
versions of a work are its *clique*. Nothing here draws a random number that does not depend on the
seed, the epoch and the number of the batch alone, so a run that was killed and resumed sees the
batches that it would have seen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol

import lightning as L
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from dl101.errors import DataError

Vary = Callable[[NDArray[np.float32], np.random.Generator], NDArray[np.float32]]


class Version(Protocol):
    """What a track must have."""

    work: str
    input: NDArray[np.float32]


class CliqueBatches(Sampler[tuple[int, int, list[int]]]):
    """Batches of an epoch: (epoch, number of the batch, tracks).

    Each performance that has a partner is in an epoch at most once, in a group of 2 to ``versions``
    performances of its work: nothing is repeated to fill a group, or it would be its own positive
    at distance zero. Groups are shuffled anew, in an order of the seed and the epoch alone, and
    put into batches of at most ``batch_size`` tracks.
    """

    def __init__(self, works: Sequence[str], *, batch_size: int, versions: int, seed: int) -> None:
        _, self.works = np.unique(np.asarray(works), return_inverse=True)
        self.batch_size, self.versions = max(batch_size, 4), versions
        self.seed, self.epoch = seed, 0

    def groups(self) -> list[list[int]]:
        """Return the groups of this epoch, shuffled."""
        rng = np.random.default_rng([self.seed, self.epoch])
        groups = []
        for work in range(int(self.works.max(initial=-1)) + 1):
            members = rng.permutation(np.flatnonzero(self.works == work))
            n_groups = -(-len(members) // self.versions)
            parts = [part.tolist() for part in np.array_split(members, n_groups)]
            groups += [part for part in parts if len(part) > 1]
        return [groups[i] for i in rng.permutation(len(groups))]

    def batches(self) -> list[list[int]]:
        """Return the tracks of each batch; one that holds a single group teaches nothing."""
        found: list[list[list[int]]] = [[]]
        for group in self.groups():
            if sum(map(len, found[-1])) + len(group) > self.batch_size:
                found.append([])
            found[-1].append(group)
        return [[track for group in part for track in group] for part in found if len(part) > 1]

    def __iter__(self) -> Iterator[tuple[int, int, list[int]]]:
        return iter((self.epoch, i, batch) for i, batch in enumerate(self.batches()))

    def __len__(self) -> int:
        return len(self.batches())

    def set_epoch(self, epoch: int) -> None:
        """Choose the batches of this epoch; Lightning calls it."""
        self.epoch = epoch


class Cliques(Dataset):
    """A batch of varied performances for each item of :class:`CliqueBatches`.

    ``input`` (tracks, ...) float32, ``work`` (tracks,) integers. What is drawn depends on the seed,
    the epoch and the number of the batch alone.
    """

    def __init__(self, tracks: Sequence[Version], vary: Vary, seed: int) -> None:
        self.tracks, self.vary, self.seed = tracks, vary, seed
        _, self.works = np.unique([track.work for track in tracks], return_inverse=True)

    def __len__(self) -> int:
        return len(self.tracks)

    def __getitem__(self, batch: tuple[int, int, list[int]]) -> dict[str, Tensor]:
        epoch, number, members = batch
        rng = np.random.default_rng([self.seed, epoch, number])
        inputs = [self.vary(self.tracks[i].input, rng) for i in members]
        return {
            "input": torch.from_numpy(np.stack(inputs)),
            "work": torch.from_numpy(self.works[members]),
        }


class WholeTracks(Dataset):
    """Performances as they are, one at a time: their lengths differ."""

    def __init__(self, tracks: Sequence[Version]) -> None:
        self.tracks = tracks
        _, self.works = np.unique([track.work for track in tracks], return_inverse=True)

    def __len__(self) -> int:
        return len(self.tracks)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        values = np.array(self.tracks[index].input)[None]
        return {"input": torch.from_numpy(values), "work": torch.tensor(self.works[[index]])}


class CliqueData(L.LightningDataModule):
    """Batches of cliques of the training side, and the validation side track by track.

    Parameters
    ----------
    tracks
        Of the sides ``train`` and ``validation``.
    vary
        Called with the input of a track and a random generator: what is trained on, of one shape
        for all.
    batch_size, versions
        Most tracks in a batch, and of a work in a batch.
    seed, num_workers
        As in :class:`dl101.training.batches.PatchData`.
    """

    def __init__(
        self,
        tracks: Mapping[str, Sequence[Version]],
        vary: Vary,
        *,
        batch_size: int,
        versions: int,
        seed: int = 0,
        num_workers: int = 0,
    ) -> None:
        super().__init__()
        self.train = Cliques(tracks["train"], vary, seed)
        self.validation = WholeTracks(tracks["validation"])
        self.order = CliqueBatches(
            [track.work for track in tracks["train"]],
            batch_size=batch_size,
            versions=versions,
            seed=seed,
        )
        if not len(self.order):
            raise DataError(
                "training side",
                got=f"{len(tracks['train'])} performances without two cliques",
                expected="works with at least two performances each",
                hint="use more tracks (data.n_tracks)",
            )
        self.num_workers = num_workers

    def train_dataloader(self) -> DataLoader:
        """Return batches of cliques, drawn anew in each epoch."""
        return self._loader(self.train, self.order)

    def val_dataloader(self) -> DataLoader:
        """Return the performances of the validation side, in order."""
        return self._loader(self.validation, None)

    def _loader(self, dataset: Dataset, sampler: Sampler | None) -> DataLoader:
        return DataLoader(
            dataset,
            batch_size=None,
            sampler=sampler,
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
            pin_memory=torch.cuda.is_available(),
        )
