"""Voices with the fundamental of every frame, cut into pieces and put into batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import lightning as L
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from dl101.data import pair, source, splits
from dl101.data.audiofile import resample
from dl101.data.embedded import export
from dl101.data.pyjama import Entry
from dl101.data.sounds import at_level
from dl101.evaluation.singing import TRACKED_HZ
from dl101.progress import progress as show_progress
from dl101.training.batches import EpochShuffle
from dl101.units import db_to_amplitude, midi_to_hz

SUNG = "source-filter"  # the style that scores are of; the others are recorded voices
GAIN_DB = 6.0
SPEED_OCTAVES = 0.25


@dataclass(frozen=True, eq=False)
class VoiceTrack:
    """A phrase.

    Attributes
    ----------
    key
        Its ``filepath``.
    side
        ``"train"``, ``"validation"`` or ``"test"``.
    style
        ``"source-filter"`` or ``"sampled"`` in the corpus ``voice``; empty elsewhere.
    audio
        (samples,) float32 at the rate asked for, at one level.
    f0_hz
        (1 + samples // hop,) float32, NaN where nothing is voiced.
    """

    key: str
    side: str
    style: str
    audio: NDArray[np.float32]
    f0_hz: NDArray[np.float32]


def load_voices(
    data: source.DataConfig,
    sample_rate: int,
    hop_samples: int,
    *,
    accept_restricted: bool = False,
    progress: bool = True,
) -> list[VoiceTrack]:
    """Return the tracks of a corpus or a dataset; what has no ``f0`` gets pYIN's."""
    files = source.locate(data, accept_restricted=accept_restricted, progress=progress)
    embedded = data.dataset in export.CORPORA
    tracks = []
    with pair.opened(files.audio, files.annotations) as (entries, store):
        found = list(entries)[: None if embedded else data.n_tracks]
        sides = splits.sides_of(data.dataset, found, stated=embedded, seed=data.seed)
        kept = [entry for entry in found if entry.filepath in sides]
        for entry in show_progress(kept, f"reading {data.dataset}", enabled=progress):
            samples, rate = store.read(entry.filepath)
            audio = at_level(resample(samples, rate, sample_rate))
            tracks.append(
                VoiceTrack(
                    entry.filepath,
                    sides[entry.filepath],
                    str(entry.first("style") or ""),
                    audio,
                    f0_of(entry, audio, sample_rate, hop_samples),
                )
            )
    return tracks


def f0_of(entry: Entry, audio: NDArray, sample_rate: int, hop_samples: int) -> NDArray[np.float32]:
    """Return the fundamental of each frame in Hz: as annotated, or by pYIN."""
    n_frames = 1 + len(audio) // hop_samples
    if "f0" not in entry.fields:
        import librosa

        f0_hz = librosa.pyin(
            audio, fmin=TRACKED_HZ[0], fmax=TRACKED_HZ[1], sr=sample_rate, hop_length=hop_samples
        )[0]
        return f0_hz[:n_frames].astype(np.float32)
    atom = entry.fields["f0"][0]
    curve = midi_to_hz(np.asarray(atom.value, np.float64)[0])
    times_s = np.arange(n_frames) * hop_samples / sample_rate
    # between two voiced values; a straight line from or to NaN is NaN
    return np.interp(times_s, np.asarray(atom.time), curve).astype(np.float32)


class Phrases(Dataset):
    """Pieces of phrases: ``audio`` (n_frames * hop,) and ``f0_hz`` (n_frames + 1,).

    There are ``n_pieces``, however many phrases there are: if the places where a piece may begin
    are fewer, they come again. What is padded is silent.
    """

    def __init__(
        self,
        tracks: Sequence[VoiceTrack],
        n_frames: int,
        hop_samples: int,
        n_pieces: int | None = None,
    ) -> None:
        self.tracks, self.n_frames, self.hop = tracks, n_frames, hop_samples
        self.places = [
            (number, start)
            for number, track in enumerate(tracks)
            for start in range(0, max(1, len(track.f0_hz) - n_frames // 2), n_frames)
        ]
        self.n_pieces = n_pieces or len(self.places)

    def __len__(self) -> int:
        return self.n_pieces

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        number, start = self.places[index % len(self.places)]
        track, stop = self.tracks[number], start + self.n_frames
        audio = track.audio[start * self.hop : stop * self.hop]
        f0_hz = track.f0_hz[start : stop + 1]
        audio = np.pad(audio, (0, self.n_frames * self.hop - len(audio)))
        f0_hz = np.pad(f0_hz, (0, self.n_frames + 1 - len(f0_hz)), constant_values=np.nan)
        return {"audio": torch.from_numpy(audio), "f0_hz": torch.from_numpy(f0_hz)}


class PhraseData(L.LightningDataModule):
    """Batches of pieces of the training side, shuffled, and of the validation side, in order.

    Parameters
    ----------
    tracks
        Tracks by side.
    n_frames, hop_samples
        Length of a piece for training, twice as long as what a step takes of it; and the hop.
    batch_size, n_pieces, seed
        Pieces a step and an epoch, and the seed of their order.
    n_validation
        Most pieces of the validation side, evenly spaced.
    """

    def __init__(
        self,
        tracks: Mapping[str, Sequence[VoiceTrack]],
        n_frames: int,
        hop_samples: int,
        batch_size: int,
        *,
        n_pieces: int,
        seed: int = 0,
        n_validation: int = 48,
    ) -> None:
        super().__init__()
        self.batch_size, self.seed = batch_size, seed
        self.train = Phrases(tracks["train"], 2 * n_frames, hop_samples, n_pieces)
        self.validation = Phrases(tracks["validation"], n_frames, hop_samples)
        every = max(1, len(self.validation) // n_validation)
        self.validation.places = self.validation.places[::every]
        self.validation.n_pieces = len(self.validation.places)

    def train_dataloader(self) -> DataLoader:
        """Return the training side in an order that depends on the seed and the epoch alone."""
        order = EpochShuffle(len(self.train), self.seed)
        n_batch = min(self.batch_size, len(self.train))
        return DataLoader(self.train, batch_size=n_batch, sampler=order, drop_last=True)

    def val_dataloader(self) -> DataLoader:
        """Return the validation side in order."""
        return DataLoader(self.validation, batch_size=self.batch_size)


def cut(
    batch: Mapping[str, Tensor], n_frames: int, hop_samples: int, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Return parts of pieces from other places, levels and singers, and their fundamentals.

    ``audio`` (batch, n_frames * hop) begins at a frame that ``rng`` draws, 6 dB up or down at most,
    and may be turned over, which nobody hears; ``f0_hz`` is (batch, n_frames + 1). Every other part
    is played faster or slower, by a quarter of an octave at most: a shorter or a longer throat,
    which sings higher or lower.
    """
    audio, f0_hz = batch["audio"], batch["f0_hz"]
    n, device = len(audio), audio.device
    speeds = 2.0 ** (rng.uniform(-SPEED_OCTAVES, SPEED_OCTAVES, n) * rng.integers(0, 2, n))
    room = np.floor(f0_hz.shape[1] - 1 - n_frames * speeds).astype(int)
    starts = rng.integers(0, np.maximum(room, 0) + 1)
    gains = db_to_amplitude(rng.uniform(-GAIN_DB, GAIN_DB, n)) * rng.choice([-1.0, 1.0], n)
    first, speed, gain = (
        torch.as_tensor(x, dtype=torch.float64, device=device)[:, None]
        for x in (starts, speeds, gains)
    )
    steps = torch.arange(n_frames * hop_samples, device=device)
    cut_audio = _between(audio, first * hop_samples + steps * speed)
    frames = first + torch.arange(n_frames + 1, device=device) * speed
    lower = frames.long().clamp(max=f0_hz.shape[1] - 2)
    near = f0_hz.gather(1, lower)
    cut_f0 = near + (frames - lower).float() * (f0_hz.gather(1, lower + 1) - near)
    # a frame beside one without a voice keeps its own pitch
    cut_f0 = torch.where(frames == lower, near, cut_f0)
    return cut_audio * gain.float(), cut_f0 * speed.float()


def _between(x: Tensor, places: Tensor) -> Tensor:
    """Return values of rows at places between samples, by cubics through four (Catmull-Rom)."""
    lower = places.floor()
    t = (places - lower).to(x.dtype)
    index = lower.long()
    a, b, c, d = (x.gather(1, (index + k).clamp(0, x.shape[1] - 1)) for k in (-1, 0, 1, 2))
    return b + 0.5 * t * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)))
