"""The tracks of cover song identification: profiles of pitch classes, and batches of cliques.

A :class:`CoverTrack` is one performance, (12, frames), row 0 is C, with the work that it is a
version of. All performances of a work are its *clique*. :func:`load_cover_tracks` reads them, from
an embedded corpus or a downloaded dataset alike; :func:`profile_of_audio` makes one from a
recording; :class:`CliqueData` draws batches in which works have several versions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

import lightning as L
import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter1d
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from dl101.config import Ascending, Positive, Probability, Range, Settings
from dl101.data import audiofile, pair, pyjama, splits
from dl101.data.embedded.profiles import FRAME_RATE_HZ
from dl101.errors import DataError
from dl101.progress import progress as show_progress
from dl101.signal import tuning
from dl101.signal.cqt import HcqtConfig

SAMPLE_RATE = 22050
SPECTRUM = HcqtConfig(  # a frame every 93 ms, as the features have, from C2 up
    harmonics=(1,), bins_per_semitone=3, n_octaves=6, f_min_hz=65.406, hop_samples=2048
)


@dataclass(frozen=True, eq=False)
class CoverTrack:
    """One performance.

    Attributes
    ----------
    key
        Its ``filepath``, the key of its features.
    side
        ``"train"``, ``"validation"`` or ``"test"``.
    work
        The ``work-id``: what performances of one composition share.
    title
        Of the work or of the performance, where the annotation has one.
    input
        (12, frames) float32, averaged over ``pool_frames`` frames.
    """

    key: str
    side: str
    work: str
    title: str
    input: NDArray[np.float32] = field(repr=False)


@dataclass(frozen=True)
class AugmentationConfig(Settings):
    """How performances of training are varied, anew each time that they are drawn.

    Attributes
    ----------
    tempo
        Slowest and fastest tempo, as a factor.
    crop
        The shortest share of a performance that is kept; what is left is played in a circle.
    silence
        Share of performances in which a stretch of up to 3 in 10 frames is silenced.
    fewer
        Share of performances in which pitch classes are weakened, each by a factor of its own.
    noise
        Standard deviation of what is added to each value.
    """

    tempo: Annotated[tuple[Positive, Positive], Ascending()] = (0.7, 1.4)
    crop: Annotated[float, Range(above=0, at_most=1)] = 0.6
    silence: Probability = 0.3
    fewer: Probability = 0.0
    noise: Annotated[float, Range(at_least=0, at_most=1)] = 0.0


def pooled(profile: NDArray, pool_frames: int) -> NDArray[np.float32]:
    """Return the means over each ``pool_frames`` frames of (12, frames); a rest is left out."""
    width = min(pool_frames, profile.shape[1])
    n = profile.shape[1] // width
    return profile[:, : n * width].reshape(12, n, width).mean(axis=2, dtype=float).astype("f4")


def around(profile: NDArray[np.float32], positions: NDArray) -> NDArray[np.float32]:
    """Read a profile at positions between its frames; behind its end it begins again."""
    n = profile.shape[1]
    first = np.floor(positions).astype(int)
    share = (positions - first).astype(np.float32)
    return profile[:, first % n] * (1 - share) + profile[:, (first + 1) % n] * share


def vary(
    profile: NDArray[np.float32],
    n_frames: int,
    config: AugmentationConfig,
    rng: np.random.Generator,
) -> NDArray[np.float32]:
    """Return ``n_frames`` of a performance at another tempo, from anywhere in it.

    A transposition is not drawn: the networks of this task are blind to it.
    """
    total = profile.shape[1]
    kept = max(2, round(rng.uniform(config.crop, 1.0) * total))
    begin = int(rng.integers(total))
    part = profile[:, (begin + np.arange(kept)) % total]
    tempo = float(np.exp(rng.uniform(*np.log(config.tempo))))
    found = around(part, tempo * np.arange(n_frames))
    if rng.random() < config.silence:
        width = int(rng.integers(1, max(2, round(0.3 * n_frames))))
        at = int(rng.integers(n_frames - width + 1))
        found[:, at : at + width] = 0.0
    if rng.random() < config.fewer:
        found *= rng.uniform(0.3, 1.0, (12, 1)).astype(np.float32)
    if config.noise:
        found += config.noise * rng.standard_normal(found.shape).astype(np.float32)
    return found


def load_cover_tracks(
    features: Path,
    annotations: Path,
    *,
    pool_frames: int,
    dataset: str,
    seed: int = 0,
    n_tracks: int | None = None,
    progress: bool = True,
) -> list[CoverTrack]:
    """Load the performances of a pair whose entries have a ``work-id``.

    Where the entries state their ``split`` they keep it; otherwise works are split by name, so that
    all versions of a work are on one side. A performance is listed once: what else an exported
    corpus holds of it (role ``clean``, the truth), and entries that repeat a ``performance-id``,
    are left out, or a performance would be found by itself.

    Raises
    ------
    DataError
        If the two files do not belong together, or no entry has a work.
    """
    with pair.opened(features, annotations) as (collection, store):
        entries = performances(collection)[:n_tracks]
        if not entries:
            raise DataError(
                f"annotations {annotations}",
                got="no entry with a work-id",
                expected="which performances are of which work",
                hint="use a dataset made for cover songs, such as covers or cover1000",
            )
        if all(entry.first("split") for entry in entries):
            sides = {entry.filepath: entry.first("split") for entry in entries}
        else:
            sides = splits.safe_split(dataset, entries, seed=seed)
        tracks = []
        for entry in show_progress(entries, "profiles", enabled=progress):
            values, _ = store.read_feature(entry.filepath, n_bins=12, frame_rate_hz=FRAME_RATE_HZ)
            tracks.append(
                CoverTrack(
                    entry.filepath,
                    sides[entry.filepath],
                    str(entry.first("work-id")),
                    str(entry.first("title") or entry.filepath),
                    pooled(values, pool_frames),
                )
            )
    return tracks


def performances(collection: pyjama.Collection) -> list[pyjama.Entry]:
    """Return the entries that are performances of a work, each performance once."""
    found: dict[object, pyjama.Entry] = {}
    for entry in collection:
        if entry.first("work-id") is not None and entry.first("role") not in ("clean", "stem"):
            found.setdefault(entry.first("performance-id") or entry.filepath, entry)
    return list(found.values())


def profile_of_audio(path: Path | str, pool_frames: int) -> NDArray[np.float32]:
    """Return the profile of a recording, (12, frames), as the networks of this task read it.

    Raises
    ------
    DataError
        If the file is no recording, is shorter than 5 s, or silent.
    """
    samples = audiofile.read_recording(path, SAMPLE_RATE, shortest_s=5.0)
    return pooled(profile_of_samples(samples), pool_frames)


def profile_of_samples(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return how strong each pitch class is, (12, frames), from 0 to 1; 22,050 Hz.

    The energy of the constant-Q spectrum, tuned and folded into an octave, in dB below the loudest
    pitch class within half a second, and that squeezed by a logistic function: -7 dB becomes 0.5.
    So levels are like those of the features that the networks were trained on.
    """
    spectrum, cents = tuning.tuned_cqt(samples, SPECTRUM, sample_rate=SAMPLE_RATE)
    squared = replace(spectrum, values=np.square(spectrum.values))
    energy = tuning.fold(squared, tuning_cents=cents, peak=False).values[0]
    loudest = maximum_filter1d(energy.max(axis=0), 11) + 1e-9
    level_db = 10.0 * np.log10(energy / loudest + 1e-3)
    return (1.0 / (1.0 + np.exp(-0.37 * (level_db + 7.0)))).astype(np.float32)


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

    ``input`` (tracks, 12, patch_frames) float32, ``work`` (tracks,) integers. What is drawn depends
    on the seed, the epoch and the number of the batch alone.
    """

    def __init__(
        self,
        tracks: Sequence[CoverTrack],
        patch_frames: int,
        augmentation: AugmentationConfig | None,
        seed: int,
    ) -> None:
        self.tracks, self.patch_frames = tracks, patch_frames
        self.augmentation, self.seed = augmentation, seed
        _, self.works = np.unique([track.work for track in tracks], return_inverse=True)

    def __len__(self) -> int:
        return len(self.tracks)

    def __getitem__(self, batch: tuple[int, int, list[int]]) -> dict[str, Tensor]:
        epoch, number, members = batch
        rng = np.random.default_rng([self.seed, epoch, number])
        inputs = [self._varied(self.tracks[i].input, rng) for i in members]
        return {
            "input": torch.from_numpy(np.stack(inputs)),
            "work": torch.from_numpy(self.works[members]),
        }

    def _varied(self, profile: NDArray[np.float32], rng: np.random.Generator) -> NDArray:
        if self.augmentation is None:
            begin = int(rng.integers(profile.shape[1]))
            return around(profile, begin + np.arange(self.patch_frames))
        return vary(profile, self.patch_frames, self.augmentation, rng)


class WholeTracks(Dataset):
    """Performances as they are, one at a time: their lengths differ."""

    def __init__(self, tracks: Sequence[CoverTrack]) -> None:
        self.tracks = tracks
        _, self.works = np.unique([track.work for track in tracks], return_inverse=True)

    def __len__(self) -> int:
        return len(self.tracks)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        values = np.array(self.tracks[index].input)[None]
        return {"input": torch.from_numpy(values), "work": torch.tensor(self.works[[index]])}


class CliqueData(L.LightningDataModule):
    """Batches of cliques of the training side, and the validation side track by track."""

    def __init__(
        self,
        tracks: Mapping[str, Sequence[CoverTrack]],
        *,
        patch_frames: int,
        batch_size: int,
        versions: int,
        augmentation: AugmentationConfig | None,
        seed: int = 0,
        num_workers: int = 0,
    ) -> None:
        super().__init__()
        self.train = Cliques(tracks["train"], patch_frames, augmentation, seed)
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
