"""The recordings of self-supervised learning: what is heard without labels, and what is probed.

A :class:`Recording` is a waveform, and the classes that hold for it where they are known. Those
that are *heard* take part in pretraining, which never looks at their classes; nothing of the test
side is heard. :class:`CropData` hands out batches of two crops of each recording.
"""

from __future__ import annotations

from collections import Counter
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
from dl101.data.embedded.corpora import genres
from dl101.data.sounds import at_level
from dl101.data.source import DataConfig
from dl101.errors import DataError
from dl101.progress import progress as show_progress
from dl101.signal import mel
from dl101.signal.patches import pad_frames
from dl101.training.batches import EpochShuffle

LABELS = ("tag", "genre")
N_CLASSES = 50  # of a dataset without a vocabulary: as studies of MagnaTagATune have it
N_MFCC = 20


@dataclass(frozen=True, eq=False)
class Recording:
    """One recording.

    Attributes
    ----------
    key
        Its dataset, seed and ``filepath``, such as ``tags-1/00003.wav``: no two are the same.
    side
        ``"train"``, ``"validation"`` or ``"test"``.
    audio
        (samples,) float32.
    target
        (classes,) 1 for each that holds; None where labels are not looked at.
    heard
        Whether it may take part in pretraining.
    classes
        Their names.
    """

    key: str
    side: str
    audio: NDArray[np.float32]
    target: NDArray[np.float32] | None
    heard: bool
    classes: tuple[str, ...] = ()


def load_recordings(
    data: DataConfig,
    sample_rate: int,
    *,
    labelled: bool,
    heard: bool = True,
    accept_restricted: bool = False,
    progress: bool = True,
) -> list[Recording]:
    """Return the recordings of a corpus or a dataset, mono and at one level.

    Parameters
    ----------
    data
        Which; of a dataset ``n_tracks`` takes some from all over it.
    sample_rate
        In Hz.
    labelled
        Whether to read their classes: all that an embedded corpus knows, else the 50 most
        frequent of the training side. Without, the test side is left out altogether.
    heard
        Whether those of training and validation are heard in pretraining.
    accept_restricted
        The reader has the permission that some datasets ask for.
    progress
        Whether to show a progress bar.
    """
    files = source.locate(
        data,
        fields=LABELS if labelled else (),
        accept_restricted=accept_restricted,
        progress=progress,
    )
    embedded = data.dataset in export.CORPORA
    found = []
    with pair.opened(files.audio, files.annotations) as (entries, store):
        entries = [e for e in entries if e.first("role") in (None, "mixture")]
        if not embedded and len(entries) > (data.n_tracks or len(entries)):
            places = np.linspace(0, len(entries), data.n_tracks, endpoint=False)
            entries = [entries[int(place)] for place in places]
        sides = splits.sides_of(data.dataset, entries, stated=embedded, seed=data.seed)
        entries = [e for e in entries if e.filepath in sides]
        label, classes = _classes(data.dataset, entries, sides) if labelled else ("", ())
        for entry in show_progress(entries, f"reading {data.dataset}", enabled=progress):
            side = sides[entry.filepath]
            if side == "test" and not labelled:
                continue
            samples, rate = store.read(entry.filepath)
            names = {str(value) for value in entry.values(label)} if labelled else set()
            found.append(
                Recording(
                    f"{data.dataset}-{data.seed}/{entry.filepath}",
                    side,
                    at_level(resample(samples, rate, sample_rate)),
                    np.array([c in names for c in classes], np.float32) if labelled else None,
                    heard and side != "test",
                    classes,
                )
            )
    return found


def _classes(
    dataset: str, entries: Sequence, sides: Mapping[str, str]
) -> tuple[str, tuple[str, ...]]:
    """Return the field that has the labels, and the names of the classes."""
    for label in LABELS:
        counted = Counter(
            str(value)
            for entry in entries
            if sides[entry.filepath] == "train"
            for value in entry.values(label)
        )
        if counted:
            if dataset in export.CORPORA:
                return label, _vocabulary(dataset, label)
            return label, tuple(sorted(name for name, _ in counted.most_common(N_CLASSES)))
    raise DataError(
        f"dataset {dataset}",
        got=f"no entry of the training side with a {' or a '.join(LABELS)}",
        expected="labels that a probe can be asked for",
        hint="use a dataset made for tagging, such as tags or mtt",
    )


def n_classes_of(data: DataConfig) -> int:
    """Return how many classes the labels of a dataset have."""
    if data.dataset not in export.CORPORA:
        return N_CLASSES
    known = export.recipe(data.dataset).definitions
    label = next((name for name in LABELS if name in known), None)
    return len(_vocabulary(data.dataset, label)) if label else 1


def _vocabulary(corpus: str, label: str) -> tuple[str, ...]:
    """Return the classes of a corpus; that of genres has them as text, without a dictionary."""
    return tuple(export.recipe(corpus).definitions[label].dictionary or sorted(genres.GENRES))


# --- crops ---


def crops_of(audio: NDArray[np.float32], n_samples: int) -> NDArray[np.float32]:
    """Return the consecutive crops of a recording, (crops, n_samples).

    What is left over at the end is left out; a recording shorter than a crop is followed by zeros.
    """
    n_crops = max(1, audio.size // n_samples)
    return pad_frames(audio[: n_crops * n_samples], n_crops * n_samples).reshape(n_crops, -1)


def timbre_of(audio: NDArray[np.float32], n_samples: int, sample_rate: int) -> NDArray[np.float32]:
    """Return mean and deviation of 20 cepstral coefficients in each crop, (crops, 40)."""
    rows = []
    for crop in crops_of(audio, n_samples):
        bands = mel.log_mel(crop, sample_rate, n_bands=64, window_samples=512, hop_samples=256)
        coefficients = mel.mfcc(bands.values[0].astype(float), N_MFCC)
        rows.append(np.concatenate([coefficients.mean(axis=1), coefficients.std(axis=1)]))
    return np.array(rows, np.float32)


def with_labels(recordings: Sequence[Recording]) -> list[Recording]:
    """Return those whose labels are known."""
    return [each for each in recordings if each.target is not None]


def targets(recordings: Sequence[Recording]) -> NDArray[np.float32]:
    """Return the classes of recordings, (recordings, classes)."""
    return np.stack([each.target for each in recordings])


def side_by_side(rows: Sequence[NDArray]) -> NDArray[np.float32]:
    """Return (tracks, crops, numbers); of tracks of different length, as many crops as all have."""
    n_crops = min(len(each) for each in rows)
    return np.stack([each[:n_crops] for each in rows])


class CropPairs(Dataset):
    """Item: ``first`` and ``second``, crops (n_samples,) of one recording, and its ``target``.

    Parameters
    ----------
    recordings
        Those that are heard.
    n_samples
        Length of a crop.
    per_recording
        Items of each recording in an epoch.
    anywhere
        Whether crops begin anywhere, anew each time, as in training; else at fixed places.
    """

    def __init__(
        self,
        recordings: Sequence[Recording],
        n_samples: int,
        *,
        per_recording: int = 1,
        anywhere: bool = True,
    ) -> None:
        self.recordings, self.n_samples, self.anywhere = recordings, n_samples, anywhere
        self.per_recording = per_recording
        self.n_classes = max((len(each.classes) for each in recordings), default=0)

    @property
    def keys(self) -> set[str]:
        """Return the keys of all that is heard."""
        return {each.key for each in self.recordings}

    def __len__(self) -> int:
        return len(self.recordings) * self.per_recording

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        turn, number = divmod(index, len(self.recordings))
        recording = self.recordings[number]
        last = max(0, recording.audio.size - self.n_samples)
        if self.anywhere:
            starts = torch.randint(last + 1, (2,)).tolist()
        else:
            starts = [last * turn // max(1, self.per_recording), last * (turn + 1) // (turn + 2)]
        target = recording.target if recording.target is not None else np.zeros(self.n_classes)
        first, second = (
            torch.from_numpy(pad_frames(recording.audio[start : start + self.n_samples],
                                        self.n_samples))
            for start in starts
        )  # fmt: skip
        return {
            "first": first,
            "second": second,
            "target": torch.from_numpy(target.astype(np.float32)),
        }


class CropData(L.LightningDataModule):
    """Batches of pairs of crops; a last batch that is smaller than the others is left out.

    The order of training depends on the seed and the epoch alone; where crops begin, on the random
    numbers of PyTorch, which a resumed run takes up.
    """

    def __init__(
        self,
        recordings: Mapping[str, Sequence[Recording]],
        n_samples: int,
        *,
        per_recording: int,
        batch_size: int,
        seed: int = 0,
        num_workers: int = 0,
    ) -> None:
        super().__init__()
        self.batch_size, self.seed, self.num_workers = batch_size, seed, num_workers
        self.train = CropPairs(recordings["train"], n_samples, per_recording=per_recording)
        self.validation = CropPairs(recordings["validation"], n_samples, anywhere=False)

    def train_dataloader(self) -> DataLoader:
        """Return shuffled batches of pairs."""
        return self._loader(self.train, EpochShuffle(len(self.train), self.seed))

    def val_dataloader(self) -> DataLoader:
        """Return batches of pairs of the validation side, in order."""
        return self._loader(self.validation, None)

    def _loader(self, dataset: CropPairs, sampler: EpochShuffle | None) -> DataLoader:
        return DataLoader(
            dataset,
            batch_size=self.batch_size,
            sampler=sampler,
            drop_last=len(dataset) >= self.batch_size,
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
            pin_memory=torch.cuda.is_available(),
        )
