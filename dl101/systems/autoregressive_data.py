"""The codes that a language model learns from: encoded once, kept on disk, put into batches."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

import lightning as L
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from dl101.data import source
from dl101.data.cache import cache_dir, fingerprint, replacing
from dl101.data.embedded.corpora.notes import FAMILIES as FAMILIES_OF_NOTES
from dl101.data.sounds import load_sounds
from dl101.data.source import DataConfig
from dl101.errors import DataError, did_you_mean
from dl101.nn.codec import Codec
from dl101.progress import progress as show_progress
from dl101.training.batches import EpochShuffle
from dl101.units import note_name

FAMILIES = tuple(FAMILIES_OF_NOTES)
LOWEST_MIDI, HIGHEST_MIDI = 21, 108  # the keys of a piano
NOT_SAID = 0  # number of a condition that is left open
N_CONDITIONS = (HIGHEST_MIDI - LOWEST_MIDI + 1, len(FAMILIES))  # pitch, family


@dataclass(frozen=True, eq=False)
class CodeTrack:
    """The codes of a note and what it is.

    Attributes
    ----------
    key, side
        Its name and its side of the split.
    codes
        (stage, frame) int16.
    pitch_midi
        What is played, a MIDI number.
    family
        One of :data:`FAMILIES`.
    """

    key: str
    side: str
    codes: NDArray[np.int16]
    pitch_midi: int
    family: str

    @property
    def conditions(self) -> tuple[int, int]:
        """Return what the model is told: the numbers of pitch and family."""
        return conditions_of(self.pitch_midi, self.family)


def conditions_of(pitch_midi: float | None, family: str | None) -> tuple[int, int]:
    """Return the numbers of a pitch, rounded to semitones, and of a family; None leaves it open.

    Raises
    ------
    DataError
        If the pitch is on no key of a piano, or there is no such family.
    """
    if pitch_midi is not None and not LOWEST_MIDI - 0.5 <= pitch_midi <= HIGHEST_MIDI + 0.5:
        name = note_name(pitch_midi) if math.isfinite(pitch_midi) else "no note"
        raise DataError(
            "pitch of a note",
            got=f"MIDI {pitch_midi:g} ({name})",
            expected=f"{LOWEST_MIDI} (A0) to {HIGHEST_MIDI} (C8)",
            hint=f"move it by {12 if pitch_midi < LOWEST_MIDI else -12} or more",
        )
    if family is not None and family not in FAMILIES:
        raise DataError(
            "family of instruments",
            got=repr(family),
            expected=f"one of {', '.join(FAMILIES)}",
            hint=did_you_mean(family, FAMILIES),
        )
    pitch = NOT_SAID if pitch_midi is None else round(pitch_midi) - LOWEST_MIDI + 1
    return pitch, NOT_SAID if family is None else FAMILIES.index(family) + 1


def digest_of(codec: Codec) -> int:
    """Return a number that tells codecs apart, of their weights, or of the name of a published one.

    Codes mean something to the codec alone that made them.
    """
    whole = hashlib.sha256(type(codec).__name__.encode())
    if isinstance(codec, nn.Module):
        for name, tensor in sorted(codec.state_dict().items()):
            whole.update(name.encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
    return int.from_bytes(whole.digest()[:7], "big")  # fits into 63 bits


def encode_sounds(
    codec: Codec,
    sounds: Iterable[NDArray[np.float32]],
    *,
    n_stages: int,
    n_frames: int,
    batch_size: int = 32,
) -> NDArray[np.int16]:
    """Return codes (sound, stage, frame) of the beginnings of sounds, of equal length.

    Longer sounds are cut off, shorter ones go on in silence.
    """
    n_samples = round(n_frames * codec.sample_rate / codec.frame_rate)
    parts, remaining = [], iter(sounds)
    while cut := [
        np.pad(sound[:n_samples], (0, max(n_samples - len(sound), 0)))
        for sound in islice(remaining, batch_size)
    ]:
        codes = codec.encode(torch.from_numpy(np.stack(cut)))
        parts.append(codes[:, :n_stages, :n_frames].to(torch.int16))
    return torch.cat(parts).numpy()


def load_code_tracks(
    data: DataConfig,
    codec: Codec,
    *,
    n_stages: int,
    accept_restricted: bool = False,
    progress: bool = True,
) -> list[CodeTrack]:
    """Return the notes of a corpus or a dataset as codes, ``data.patch_frames`` of each.

    They are encoded at first use and kept in the cache, under a name that depends on the data and
    on the codec's weights.

    Raises
    ------
    DataError
        If the tracks are no notes of known pitch and family.
    """
    described = {
        "data": asdict(data),
        "version": source.version(data),
        "codec": digest_of(codec),
        "stages": n_stages,
        "form": 1,  # of the file
    }
    path = cache_dir("codes") / f"{fingerprint(described)}.npz"
    found = _load(path)
    if found is None:
        sounds = load_sounds(
            data, codec.sample_rate, accept_restricted=accept_restricted, progress=progress
        )
        missing = {"pitchmidi", "family"} - set.intersection(*(set(s.labels) for s in sounds))
        if missing:
            raise DataError(
                f"tracks of {data.dataset}",
                got=f"one without {' and '.join(sorted(missing))}",
                expected="single notes of known pitch and family",
                hint="use notes, or NSynth",
            )
        encoded = encode_sounds(
            codec,
            show_progress([s.audio for s in sounds], "encoding", enabled=progress),
            n_stages=n_stages,
            n_frames=data.patch_frames,
        )
        notes = [
            [s.key, s.side, round(float(s.labels["pitchmidi"])), s.labels["family"]] for s in sounds
        ]
        with replacing(path) as temporary, open(temporary, "wb") as stream:
            np.savez_compressed(stream, codes=encoded, notes=np.array(json.dumps(notes)))
        found = encoded, notes
    codes, notes = found
    return [
        CodeTrack(key, side, each, pitch, family)
        for each, (key, side, pitch, family) in zip(codes, notes, strict=True)
        if family in FAMILIES and LOWEST_MIDI <= pitch <= HIGHEST_MIDI
    ]


def _load(path: Path) -> tuple[NDArray[np.int16], list] | None:
    """Return what was kept, or None if it is missing or cannot be read."""
    try:
        with np.load(path, allow_pickle=False) as file:
            codes, notes = file["codes"], json.loads(str(file["notes"]))
    except (OSError, ValueError, KeyError, EOFError):
        return None
    return (codes, notes) if len(codes) == len(notes) else None


def stacked(tracks: Sequence[CodeTrack]) -> tuple[Tensor, Tensor]:
    """Return codes (track, stage, frame) int64 and conditions (track, 2)."""
    codes = np.stack([track.codes for track in tracks]).astype(np.int64)
    return torch.from_numpy(codes), torch.tensor([track.conditions for track in tracks])


class _Notes(Dataset):
    def __init__(self, tracks: Sequence[CodeTrack]) -> None:
        self.codes, self.conditions = stacked(tracks)

    def __len__(self) -> int:
        return len(self.codes)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {"codes": self.codes[index], "conditions": self.conditions[index]}


class CodeData(L.LightningDataModule):
    """Batches of codes and conditions; training in an order of the seed and the epoch alone."""

    def __init__(
        self, tracks: Mapping[str, Sequence[CodeTrack]], batch_size: int, *, seed: int = 0
    ) -> None:
        super().__init__()
        self.batch_size, self.seed = batch_size, seed
        self.train, self.validation = (_Notes(tracks[side]) for side in ("train", "validation"))

    def train_dataloader(self) -> DataLoader:
        """Return the training side, shuffled."""
        order = EpochShuffle(len(self.train), self.seed)
        return DataLoader(self.train, batch_size=self.batch_size, sampler=order)

    def val_dataloader(self) -> DataLoader:
        """Return the validation side in order."""
        return DataLoader(self.validation, batch_size=4 * self.batch_size)
