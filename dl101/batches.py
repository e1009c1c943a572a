"""From tracks to batches: patches of equal length, with a mask where the track has ended.

A :class:`PitchTrack` is a track as the network meets it: input (harmonic, bin, time), target
(bin, time), and the reference against which its estimate is scored. :func:`load_pitch_tracks`
makes them from an .hdf5/.pyjama pair, embedded corpus or downloaded dataset alike.
:class:`PatchData` cuts them into patches and hands out batches. Nothing here draws a random
number except the order of patches, which depends on the seed and the epoch alone, so a run that
was killed and resumed sees the batches that it would have seen.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import lightning as L
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from dl101 import features, targets
from dl101.data import feature_cache, pair, pyjama, splits
from dl101.data.audiofile import resample
from dl101.errors import DataError
from dl101.evaluation import multi_pitch
from dl101.patches import PatchIndex, pad_frames
from dl101.progress import progress as show_progress
from dl101.units import db_to_amplitude

COMPRESSION = 10_000  # what is 80 dB below full scale becomes visible


@dataclass(frozen=True)
class PitchTrack:
    """One track, ready for training and evaluation.

    Attributes
    ----------
    key
        Its ``filepath``, the key of its audio.
    side
        ``"train"``, ``"validation"`` or ``"test"``.
    input
        (harmonics, bins, frames) float32, compressed magnitudes; a memory map of the cache.
    target
        (bins, frames) uint8, 1 where a pitch sounds.
    times_s
        (frames,) times of the frames' centres in seconds.
    reference
        The annotation on its own time base, for scoring.
    """

    key: str
    side: str
    input: NDArray[np.float32]
    target: NDArray[np.uint8]
    times_s: NDArray[np.float64]
    reference: multi_pitch.PitchSeries


def compress(magnitude: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return log(1 + 10000 x) / log(1 + 10000): soft partials become visible beside loud ones."""
    return (np.log1p(COMPRESSION * magnitude) / np.log1p(COMPRESSION)).astype(np.float32)


def network_input(
    audio: NDArray[np.float32], config: features.HcqtConfig, *, sample_rate: int
) -> features.Feature:
    """Return the compressed HCQT of a track, as the networks of multi-pitch estimation read it."""
    feature = features.hcqt(audio, config, sample_rate=sample_rate)
    return replace(feature, values=compress(feature.values))


@dataclass(frozen=True)
class AugmentationConfig:
    """How the inputs of training are varied: level and noise floor, anew for each patch.

    Attributes
    ----------
    level_db
        Lowest and highest change of level.
    noise_db, noise_share
        Level of the noise that is added, in dB below a magnitude of 1, and the share of patches
        that get some.
    expansion, expansion_share
        Largest power to which magnitudes, relative to the loudest of the patch, are raised (it
        lowers the noise floor and keeps the peaks), and the share of patches that are so changed.
    """

    level_db: tuple[float, float] = (-38.0, 6.0)
    noise_db: tuple[float, float] = (-90.0, -45.0)
    noise_share: float = 0.5
    expansion: float = 1.6
    expansion_share: float = 0.35


def augment(compressed: Tensor, config: AugmentationConfig, rng: np.random.Generator) -> Tensor:
    """Return inputs at other levels and with other noise floors; the targets stay true.

    Noise is added to a magnitude as to a transform: a complex normal number, so that noise alone
    follows Rayleigh's distribution.

    Parameters
    ----------
    compressed
        (batch, harmonics, bins, frames), as :func:`compress` gives them.
    config
        What is drawn for each item of the batch.
    rng
        Where the random numbers come from.

    Returns
    -------
    Tensor
        Compressed magnitudes of the same shape.
    """
    n = len(compressed)

    def column(values: NDArray[np.float64]) -> Tensor:
        return torch.as_tensor(values, dtype=x.dtype, device=x.device).view(-1, 1, 1, 1)

    x = torch.expm1(compressed * math.log1p(COMPRESSION)) / COMPRESSION
    expanded = rng.random(n) < config.expansion_share
    power = column(1 + expanded * rng.uniform(0, config.expansion - 1, n))
    gain = column(db_to_amplitude(rng.uniform(*config.level_db, n)))
    noisy = rng.random(n) < config.noise_share
    noise = column(noisy * db_to_amplitude(rng.uniform(*config.noise_db, n)) / math.sqrt(2))
    peak = x.amax(dim=(1, 2, 3), keepdim=True).clamp_min(1e-9)
    x = gain * peak * (x / peak) ** power
    source = torch.Generator(x.device).manual_seed(int(rng.integers(2**62)))
    real, imaginary = torch.randn((2, *x.shape), generator=source, device=x.device, dtype=x.dtype)
    x = torch.hypot(x + noise * real, noise * imaginary)
    return torch.log1p(COMPRESSION * x) / math.log1p(COMPRESSION)


def load_pitch_tracks(
    audio: Path,
    annotations: Path,
    feature: features.HcqtConfig,
    *,
    dataset: str,
    seed: int = 0,
    n_tracks: int | None = None,
    progress: bool = True,
) -> list[PitchTrack]:
    """Load the tracks of a pair that carry a multi-pitch annotation (``f0multi``, ``pitchmidi``).

    Where the entries state their ``split`` they keep it; otherwise works are split by name, so that
    two recordings of a work are always on the same side. Stems are left out. Audio at another rate
    is converted. Inputs come from the feature cache and are computed once.

    Raises
    ------
    DataError
        If the two files do not belong together, no entry has such an annotation, an annotated file
        has no audio, an annotation goes on after its audio has ended, or only some entries state a
        split.
    """
    axis = targets.PitchAxis.of(feature)
    tracks = []
    with pair.opened(audio, annotations) as (collection, store):
        entries = [entry for entry in collection if _is_annotated_mixture(entry)]
        if not entries:
            raise DataError(
                f"annotations {annotations}",
                got="no entry with f0multi or pitchmidi",
                expected="multi-pitch annotations",
                hint="use a dataset made for multi-pitch estimation, such as chorales or bach10",
            )
        entries = entries[:n_tracks]
        sides = _sides(entries, dataset, seed, annotations)
        entries = [entry for entry in entries if entry.filepath in sides]  # a safe split omits some
        for entry in show_progress(entries, "features", enabled=progress):
            samples, sample_rate = store.read(entry.filepath)
            tracks.append(
                _make_track(entry, sides[entry.filepath], samples, sample_rate, feature, axis)
            )
    return tracks


def _sides(
    entries: Sequence[pyjama.Entry], dataset: str, seed: int, annotations: Path
) -> dict[str, str]:
    """Return the side of each entry: the one it states, or else what is safe for the dataset."""
    stated = {entry.filepath: entry.first("split") for entry in entries}
    if not any(stated.values()):
        return splits.safe_split(dataset, entries, seed=seed)
    for path, side in stated.items():
        if side not in splits.SIDES:
            raise DataError(
                f"annotations {annotations}, entry {path}, field 'split'",
                got=repr(side),
                expected=f"one of {', '.join(splits.SIDES)}, as other entries state theirs",
                hint="state the split of every entry, or of none",
            )
    return stated


def _is_annotated_mixture(entry: pyjama.Entry) -> bool:
    return entry.first("role") != "stem" and (
        "f0multi" in entry.fields or "pitchmidi" in entry.fields
    )


def _make_track(
    entry: pyjama.Entry,
    side: str,
    samples: NDArray[np.float32],
    sample_rate: int,
    config: features.HcqtConfig,
    axis: targets.PitchAxis,
) -> PitchTrack:
    duration_s = len(samples) / sample_rate
    _check_end(entry, duration_s)
    samples = resample(samples, sample_rate, config.sample_rate)
    feature = feature_cache.cached(network_input, samples, config, sample_rate=config.sample_rate)
    times = feature.times
    if "f0multi" in entry.fields:
        curve = entry.fields["f0multi"][0]
        target = targets.from_f0(curve.value, curve.time, axis, times)
        reference = multi_pitch.from_f0(curve.value, curve.time)
    else:
        onsets, durations, pitches = entry.segments("pitchmidi")
        target = targets.from_notes(onsets, durations, pitches, axis, times)
        # notes have no time base of their own: 10 ms, as in Bach10's curves
        reference = multi_pitch.from_notes(
            onsets, durations, pitches, np.arange(0, duration_s, 0.010)
        )
    return PitchTrack(entry.filepath, side, feature.values, target, times, reference)


def _check_end(entry: pyjama.Entry, duration_s: float) -> None:
    """Refuse an annotation that belongs to a longer recording than the one beside it."""
    for name in ("f0multi", "pitchmidi"):
        atoms = entry.fields.get(name, ())
        last_s = max((float(np.max(atom.time, initial=0.0)) for atom in atoms), default=0.0)
        if last_s > duration_s + 1.0:  # published annotations run over by a frame or two
            raise DataError(
                f"entry {entry.index} ({entry.filepath}), field {name!r}",
                got=f"an annotation at {last_s:.2f} s",
                expected=f"times within the recording of {duration_s:.2f} s",
                hint="check that the audio and the annotation are of the same version",
            )


class PatchDataset(Dataset):
    """Patches of tracks: item ``i`` is a dictionary of ``input``, ``target`` and ``mask``.

    ``input`` (harmonics, bins, patch_frames) float32, ``target`` (1, bins, patch_frames) float32,
    ``mask`` (patch_frames,) float32. The last patch of a track is padded with zeros, and its mask
    says so.
    """

    def __init__(self, tracks: Sequence[PitchTrack], *, patch_frames: int, hop_frames: int) -> None:
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
        tracks: Mapping[str, Sequence[PitchTrack]],
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


def by_side(tracks: Sequence[PitchTrack]) -> dict[str, list[PitchTrack]]:
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
