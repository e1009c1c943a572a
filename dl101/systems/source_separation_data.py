"""Pieces of songs to learn separation from: cut, varied stem by stem, put into batches.

Conventions: stems are (batch, stems, channels, samples). There is no array of mixtures: a mixture
is always the sum of its stems, so whatever happens to a stem happens to the mixture.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import lightning as L
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Subset

from dl101.config import NotNegative, Probability, Settings
from dl101.data.songs import SongTrack
from dl101.training.batches import EpochShuffle
from dl101.units import db_to_amplitude


class Pieces(Dataset):
    """Pieces of songs, without overlap: item ``i`` is a dictionary with ``stems``.

    ``stems`` is (stems, channels, n_samples) float32; the last piece of a song is padded with
    zeros. A rest of less than half a piece is left out, unless it is all there is.
    """

    def __init__(self, tracks: Sequence[SongTrack], n_samples: int) -> None:
        self.tracks, self.n_samples = tracks, n_samples
        self.places = [
            (number, place * n_samples)
            for number, track in enumerate(tracks)
            for place in range(max(1, round(track.stems.shape[-1] / n_samples)))
        ]

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        number, start = self.places[index]
        piece = np.array(self.tracks[number].stems[..., start : start + self.n_samples])
        missing = self.n_samples - piece.shape[-1]
        return {"stems": torch.from_numpy(np.pad(piece, ((0, 0), (0, 0), (0, missing))))}


class SongData(L.LightningDataModule):
    """Batches of pieces of the training side, shuffled, and of the validation side, in order.

    Parameters
    ----------
    tracks
        Songs by side.
    n_samples
        Length of what a step sees. Pieces of the training side are twice as long, so that what is
        seen of them can begin anywhere.
    batch_size, seed
        Pieces a step, and the seed of their order.
    num_workers
        Processes that read.
    n_validation
        Most pieces of the validation side, evenly spaced among its pieces.
    """

    def __init__(
        self,
        tracks: Mapping[str, Sequence[SongTrack]],
        n_samples: int,
        batch_size: int,
        *,
        seed: int = 0,
        num_workers: int = 0,
        n_validation: int = 64,
    ) -> None:
        super().__init__()
        self.batch_size, self.seed, self.num_workers = batch_size, seed, num_workers
        self.train = Pieces(tracks["train"], 2 * n_samples)
        heard = Pieces(tracks["validation"], n_samples)
        every = -(-len(heard) // n_validation)
        self.validation = Subset(heard, range(0, len(heard), every))

    def train_dataloader(self) -> DataLoader:
        """Return the training side in an order that depends on the seed and the epoch alone."""
        order = EpochShuffle(len(self.train), self.seed)
        n_batch = min(self.batch_size, len(self.train))
        return self._loader(self.train, batch_size=n_batch, sampler=order, drop_last=True)

    def val_dataloader(self) -> DataLoader:
        """Return the validation side in order."""
        return self._loader(self.validation, batch_size=self.batch_size)

    def _loader(self, dataset: Dataset, **options: object) -> DataLoader:
        return DataLoader(dataset, num_workers=self.num_workers, **options)


@dataclass(frozen=True)
class RemixConfig(Settings):
    """How pieces are varied, stem by stem, after Uhlich and others (ICASSP 2017).

    Attributes
    ----------
    gain_db
        Largest change of the level of a stem, up or down.
    swap
        Chance that the channels of a stem change sides.
    remix
        Chance that a stem comes from another song of the batch, and from another place in it.
    """

    gain_db: NotNegative = 6.0
    swap: Probability = 0.5
    remix: Probability = 0.5


def cut(stems: Tensor, n_samples: int, rng: np.random.Generator) -> Tensor:
    """Return a part of each piece, (..., n_samples), that begins anywhere, all stems together."""
    starts = rng.integers(0, stems.shape[-1] - n_samples + 1, len(stems))
    parts = [piece[..., s : s + n_samples] for piece, s in zip(stems, starts, strict=True)]
    return torch.stack(parts)


def vary(stems: Tensor, rng: np.random.Generator, config: RemixConfig) -> Tensor:
    """Return stems from other songs, at other levels, on other sides, of the same shape.

    Parameters
    ----------
    stems
        (batch, stems, channels, samples). Their sum is the mixture, before and after.
    rng
        Draws everything.
    config
        What is drawn.
    """
    n_batch, n_stems, n_channels, _ = stems.shape
    pieces = np.tile(np.arange(n_batch)[:, None], (1, n_stems))
    for row in range(n_stems):
        chosen = np.flatnonzero(rng.random(n_batch) < config.remix)
        pieces[chosen, row] = rng.permutation(chosen)
    index = torch.from_numpy(pieces).to(stems.device)
    stems = stems[index, torch.arange(n_stems, device=stems.device)]
    shape = (n_batch, n_stems, 1, 1)
    gain = db_to_amplitude(rng.uniform(-config.gain_db, config.gain_db, shape))
    swapped = torch.from_numpy(rng.random(shape) < config.swap).to(stems.device)
    stems = stems * torch.as_tensor(gain, dtype=stems.dtype, device=stems.device)
    return torch.where(swapped, stems.flip(2), stems) if n_channels > 1 else stems
