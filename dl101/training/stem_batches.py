"""Pieces of songs to learn separation from: cut, varied stem by stem, put into batches.

Conventions: stems are (stems, channels, samples) float32 in the order of
:data:`dl101.data.songs.STEMS`, batches of them (batch, stems, channels, samples). There is no array
of mixtures: a mixture is always the sum of its stems, so whatever happens to a stem has happened to
the mixture.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import lightning as L
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Subset

from dl101.config import NotNegative, PositiveInterval, Probability, Settings
from dl101.data.songs import SongTrack
from dl101.signal import vocoder
from dl101.training.batches import EpochShuffle
from dl101.units import db_to_amplitude


class Pieces(Dataset):
    """Pieces of songs: item ``i`` is a dictionary with ``stems`` (stems, channels, length).

    Parameters
    ----------
    tracks
        Where they come from.
    hop
        Distance of the pieces.
    length
        How long they are.
    before
        How far in front of its place a piece begins; outside of a song there are zeros.
    """

    def __init__(self, tracks: Sequence[SongTrack], *, hop: int, length: int, before: int) -> None:
        self.tracks, self.length, self.before = tracks, length, before
        self.places = [
            (number, place * hop)
            for number, track in enumerate(tracks)
            for place in range(max(1, round(track.stems.shape[-1] / hop)))
        ]

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        number, place = self.places[index]
        stems = self.tracks[number].stems
        start = place - self.before
        piece = np.array(stems[..., max(start, 0) : max(start + self.length, 0)])
        missing = max(-start, 0)
        edges = ((0, 0), (0, 0), (missing, self.length - missing - piece.shape[-1]))
        return {"stems": torch.from_numpy(np.pad(piece, edges))}


class SongData(L.LightningDataModule):
    """Batches of pieces of the training side, shuffled, and of the validation side, in order.

    Parameters
    ----------
    tracks
        Songs by side.
    n_input, n_output
        Lengths of a network's input and output; pieces are an output apart.
    spare
        How much longer than an input a piece for training is, so that it can be varied.
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
        n_input: int,
        n_output: int,
        *,
        spare: int,
        batch_size: int,
        seed: int = 0,
        num_workers: int = 0,
        n_validation: int = 64,
    ) -> None:
        super().__init__()
        self.batch_size, self.seed, self.num_workers = batch_size, seed, num_workers
        before = (n_input - n_output) // 2
        self.train = Pieces(
            tracks["train"], hop=n_output, length=n_input + spare, before=before + spare // 2
        )
        heard = Pieces(tracks["validation"], hop=n_output, length=n_input, before=before)
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


# ---- augmentation ------------------------------------------------------------------------------


@dataclass(frozen=True)
class RemixConfig(Settings):
    """How training pieces are varied, stem by stem, after Uhlich and others (ICASSP 2017).

    Attributes
    ----------
    gain_db
        Largest change of the level of a stem, up or down.
    swap, flip
        Chances that a stem's channels change sides, and that its sign is turned.
    remix
        Chance that a stem comes from another song of the batch.
    semitones, stretch
        Largest shift of pitch, and range of new durations over old, of all stems of a piece alike.
        Both cost more than a step of training: 0 and (1, 1) leave them out.
    """

    gain_db: NotNegative = 6.0
    swap: Probability = 0.5
    flip: Probability = 0.5
    remix: Probability = 1.0
    semitones: NotNegative = 0.0
    stretch: PositiveInterval = (1.0, 1.0)

    def spare(self, n_input: int, n_output: int) -> int:
        """Return how much longer than an input a piece has to be."""
        return int(np.ceil(n_input / min(self.stretch[0], 1.0))) - n_input + n_output


def vary(stems: Tensor, n_samples: int, rng: np.random.Generator, config: RemixConfig) -> Tensor:
    """Return stems of ``n_samples`` from elsewhere in their pieces, changed one by one.

    Parameters
    ----------
    stems
        (batch, stems, channels, longer).
    n_samples
        Length of what comes out.
    rng
        Draws everything.
    config
        What is drawn.

    Returns
    -------
    Tensor
        (batch, stems, channels, n_samples); its sum over stems is the new mixture.
    """
    n_batch, n_stems, n_channels, _ = stems.shape
    stems = torch.stack([_moved(each, n_samples, rng, config) for each in stems])
    pieces = torch.arange(n_batch)[:, None].expand(n_batch, n_stems).clone()
    for row in range(n_stems):
        chosen = np.flatnonzero(rng.random(n_batch) < config.remix)
        pieces[chosen, row] = torch.from_numpy(rng.permutation(chosen))
    stems = stems[pieces.to(stems.device), torch.arange(n_stems, device=stems.device)]
    shape = (n_batch, n_stems, 1, 1)
    gain = db_to_amplitude(rng.uniform(-config.gain_db, config.gain_db, shape))
    gain = gain * np.where(rng.random(shape) < config.flip, -1.0, 1.0)
    stems = stems * torch.as_tensor(gain, dtype=stems.dtype, device=stems.device)
    swapped = torch.from_numpy(rng.random(shape) < config.swap).to(stems.device)
    return torch.where(swapped, stems.flip(2), stems) if n_channels > 1 else stems


def _moved(piece: Tensor, n_samples: int, rng: np.random.Generator, config: RemixConfig) -> Tensor:
    """Return a part of one piece, (stems, channels, n_samples), at another pitch and tempo."""
    low, high = config.stretch
    stretch = float(np.exp(rng.uniform(np.log(low), np.log(high))))
    semitones = float(rng.uniform(-config.semitones, config.semitones))
    needed = min(int(np.ceil(n_samples / stretch)), piece.shape[-1])
    start = int(rng.integers(0, piece.shape[-1] - needed + 1))
    part = piece[..., start : start + needed]
    if stretch == 1.0 and semitones == 0.0:
        return part

    def changed(sound: NDArray[np.float32]) -> NDArray[np.float32]:
        moved = vocoder.pitch_shift(vocoder.time_stretch(sound, stretch), semitones)[:n_samples]
        return np.pad(moved, (0, n_samples - len(moved)))

    sounds = part.flatten(0, 1).cpu().numpy()
    made = np.stack([changed(sound) for sound in sounds]).astype(np.float32)
    return torch.from_numpy(made).to(piece.device).unflatten(0, piece.shape[:2])
