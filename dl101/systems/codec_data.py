"""The sounds that a codec learns from: pieces of tracks at one rate and about one level.

A :class:`SoundTrack` is a whole track, mono, at the codec's sample rate, scaled to one RMS: how
loud a sound is, the volume knob may decide. :func:`load_sounds` reads the tracks of a corpus;
:class:`PieceData` cuts them into pieces of equal length for training.
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

from dl101.data import pair, source, splits
from dl101.data.audiofile import resample
from dl101.data.embedded import export
from dl101.progress import progress as show_progress
from dl101.training.batches import EpochShuffle
from dl101.units import db_to_amplitude

LEVEL_DB = -20.0  # RMS of a track, re full scale
PEAK = 0.95
SILENT_DB = -70.0  # a stem below this is left out


@dataclass(frozen=True)
class SoundTrack:
    """One sound.

    Attributes
    ----------
    key
        Its corpus and ``filepath``, such as ``notes/00003-test.wav``.
    side
        ``"train"``, ``"validation"`` or ``"test"``.
    audio
        (samples,) float32 with the RMS :data:`LEVEL_DB`, or less where its peak would pass
        :data:`PEAK`.
    labels
        What else is known of it, such as the ``family`` of a note or the ``stem`` of a song.
    """

    key: str
    side: str
    audio: NDArray[np.float32]
    labels: Mapping[str, str]

    @property
    def corpus(self) -> str:
        """Return the name of its corpus."""
        return self.key.partition("/")[0]


def at_level(audio: NDArray[np.floating], level_db: float = LEVEL_DB) -> NDArray[np.float32]:
    """Return a sound, (samples,), with this RMS, softer where its peak would pass 0.95."""
    audio = np.asarray(audio, dtype=np.float32)
    rms, peak = float(np.sqrt(np.mean(np.square(audio)))), float(np.max(np.abs(audio)))
    if peak == 0.0:
        return audio
    return audio * np.float32(min(float(db_to_amplitude(level_db)) / rms, PEAK / peak))


def load_sounds(
    data: source.DataConfig,
    sample_rate: int,
    *,
    accept_restricted: bool = False,
    progress: bool = True,
) -> list[SoundTrack]:
    """Return the tracks of a corpus or a dataset, stems among them, that are not silent."""
    files = source.locate(data, accept_restricted=accept_restricted, progress=progress)
    tracks = []
    with pair.opened(files.audio, files.annotations) as (entries, store):
        found = list(entries)
        if data.dataset not in export.CORPORA and len(found) > (data.n_tracks or len(found)):
            # from all over a dataset, whose entries stand side by side
            found = [found[i] for i in np.linspace(0, len(found) - 1, data.n_tracks).astype(int)]
        sides = (
            {entry.filepath: entry.first("split") for entry in found}
            if data.dataset in export.CORPORA
            else splits.safe_split(data.dataset, found, seed=data.seed)
        )
        kept = [entry for entry in found if entry.filepath in sides]
        for entry in show_progress(kept, f"reading {data.dataset}", enabled=progress):
            samples, rate = store.read(entry.filepath)
            samples = resample(samples, rate, sample_rate)
            if np.mean(np.square(samples)) < db_to_amplitude(SILENT_DB) ** 2:
                continue
            names = ("family", "instrument", "pitchmidi", "stem", "style")
            labels = {n: str(entry.first(n)) for n in names if entry.first(n) is not None}
            key = f"{data.dataset}/{entry.filepath}"
            tracks.append(SoundTrack(key, sides[entry.filepath], at_level(samples), labels))
    return tracks


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
