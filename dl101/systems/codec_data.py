"""The pieces of sounds that a codec learns from, cut, varied and put into batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import lightning as L
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Subset

from dl101.data.sounds import SoundTrack
from dl101.training.batches import EpochShuffle
from dl101.units import db_to_amplitude


class Pieces(Dataset):
    """Pieces of sounds, without overlap: item ``i`` is a dictionary with ``audio``.

    ``audio`` is (n_samples,) float32; the last piece of a sound is padded with zeros. A rest of
    less than half a piece is left out, unless it is all there is.
    """

    def __init__(self, tracks: Sequence[SoundTrack], n_samples: int) -> None:
        self.tracks, self.n_samples = tracks, n_samples
        self.places = [
            (number, place * n_samples)
            for number, track in enumerate(tracks)
            for place in range(max(1, round(len(track.audio) / n_samples)))
        ]

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        number, start = self.places[index]
        piece = self.tracks[number].audio[start : start + self.n_samples]
        return {"audio": torch.from_numpy(np.pad(piece, (0, self.n_samples - len(piece))))}


class PieceData(L.LightningDataModule):
    """Batches of pieces of the training side, shuffled, and of the validation side, in order.

    Parameters
    ----------
    tracks
        Tracks by side.
    n_samples
        Length of a piece.
    batch_size, seed
        Pieces a step, and the seed of their order.
    n_validation
        Most pieces of the validation side, evenly spaced among its pieces.
    """

    def __init__(
        self,
        tracks: Mapping[str, Sequence[SoundTrack]],
        n_samples: int,
        batch_size: int,
        *,
        seed: int = 0,
        n_validation: int = 96,
    ) -> None:
        super().__init__()
        self.batch_size, self.seed = batch_size, seed
        self.train = Pieces(tracks["train"], n_samples)
        heard = Pieces(tracks["validation"], n_samples)
        every = max(1, len(heard) // n_validation)
        self.validation = Subset(heard, range(0, len(heard), every))

    def train_dataloader(self) -> DataLoader:
        """Return the training side in an order that depends on the seed and the epoch alone."""
        order = EpochShuffle(len(self.train), self.seed)
        n_batch = min(self.batch_size, len(self.train))
        return DataLoader(self.train, batch_size=n_batch, sampler=order, drop_last=True)

    def val_dataloader(self) -> DataLoader:
        """Return the validation side in order."""
        return DataLoader(self.validation, batch_size=self.batch_size)


def vary(
    audio: Tensor, n_samples: int, rng: np.random.Generator, *, level_db: float = 6.0
) -> Tensor:
    """Return parts of pieces, (batch, n_samples), from other places, at other levels, turned over.

    Parameters
    ----------
    audio
        (batch, samples), at least ``n_samples`` long.
    n_samples
        Length of the parts.
    rng
        Draws, for each, where it starts, its gain within ``level_db`` up or down, and its sign,
        which nobody hears.
    level_db
        Largest change of level.
    """
    batch, longest = audio.shape
    starts = torch.from_numpy(rng.integers(0, longest - n_samples + 1, batch))
    index = starts.to(audio.device)[:, None] + torch.arange(n_samples, device=audio.device)
    gain = db_to_amplitude(rng.uniform(-level_db, level_db, batch)) * rng.choice([-1.0, 1.0], batch)
    return (
        audio.gather(1, index)
        * torch.as_tensor(gain, dtype=audio.dtype, device=audio.device)[:, None]
    )
