"""The tracks of auto-tagging: from an .hdf5/.pyjama pair to what the network meets.

A :class:`TagTrack` is an input, (1, band, frame) or (1, sample), the classes that hold for it, and
the statistics that a classical system would take in its place. :data:`TASKS` says what is asked of
each dataset, so that one code serves ten genres of which one is true and fifty tags of which
several are. :class:`TagData` cuts tracks into patches and hands out batches.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Literal

import lightning as L
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from dl101.config import Count, HopSamples, Range, SampleRate, Settings
from dl101.data import feature_cache, pair, pyjama, source, splits
from dl101.data.audiofile import SILENCE, resample
from dl101.data.embedded import export
from dl101.data.source import DataConfig
from dl101.errors import DataError
from dl101.progress import progress as show_progress
from dl101.signal import mel, waveforms
from dl101.signal.feature import Feature, check_audio, frame_times
from dl101.signal.patches import pad_frames, patches
from dl101.training.batches import PatchData

Input = Literal["log-mel", "waveform"]
N_MFCC = 20

GTZAN = (
    "blues", "classical", "country", "disco", "hiphop", "jazz", "metal", "pop", "reggae", "rock",
)  # fmt: skip
# the 50 most frequent tags of MagnaTagATune, which most studies and the pair of 2024 keep
MTT = (
    "ambient", "beat", "beats", "cello", "choir", "choral", "classic", "classical", "country",
    "dance", "drums", "electronic", "fast", "female", "female vocal", "female voice", "flute",
    "guitar", "harp", "harpsichord", "indian", "loud", "male", "male vocal", "male voice", "man",
    "metal", "new age", "no vocal", "no vocals", "no voice", "opera", "piano", "pop", "quiet",
    "rock", "singing", "sitar", "slow", "soft", "solo", "strings", "synth", "techno", "violin",
    "vocal", "vocals", "voice", "weird", "woman",
)  # fmt: skip


@dataclass(frozen=True)
class Task:
    """What is asked of a dataset.

    Attributes
    ----------
    label
        The field of the annotation that holds the answer.
    several
        Whether several classes can hold at once (multi-label) or exactly one does (multi-class).
    known
        Returns the names of the classes, in order.
    """

    label: str
    several: bool
    known: Callable[[], tuple[str, ...]]

    @property
    def classes(self) -> tuple[str, ...]:
        """Return the names of the classes, in order."""
        return self.known()


def _dictionary(corpus: str, label: str) -> tuple[str, ...]:
    return tuple(export.recipe(corpus).definitions[label].dictionary)


TASKS: Mapping[str, Task] = {
    "genres": Task("genre", False, lambda: tuple(n.replace("hiph", "hip-h") for n in GTZAN)),
    "gtzan-genre": Task("genre", False, lambda: GTZAN),
    "gtzan": Task("genre", False, lambda: GTZAN),
    "tags": Task("tag", True, lambda: _dictionary("tags", "tag")),
    "mtt": Task("tag", True, lambda: MTT),
    "magnatagatune": Task("tag", True, lambda: MTT),
}


@dataclass(frozen=True)
class FeatureConfig(Settings):
    """How a recording is heard.

    Attributes
    ----------
    sample_rate
        Rate in Hz to which audio is converted.
    n_bands, window_samples, hop_samples
        Of the log-mel spectrogram. A *frame* is ``hop_samples`` long whatever the input, so that
        patches of a waveform last as long as those of a spectrogram.
    level_db
        RMS level to which each track is brought, in dB of full scale; None leaves it as it is.
    centred
        Whether each band of the spectrogram loses its mean over the track, and with it what an
        instrument, a room or a microphone adds all the time.
    """

    sample_rate: SampleRate = 22050
    n_bands: Count = 128
    window_samples: Count = 2048
    hop_samples: HopSamples = 1024
    level_db: Annotated[float, Range(at_least=-100, at_most=0)] | None = None
    centred: bool = False


@dataclass(frozen=True, eq=False)
class TagTrack:
    """One track, ready for training and evaluation.

    Attributes
    ----------
    key
        Its ``filepath``, the key of its audio.
    side
        ``"train"``, ``"validation"`` or ``"test"``.
    input
        (1, bands, frames) or (1, samples) float32; a memory map of the cache.
    target
        (classes,) float32, 1 for each class that holds.
    timbre
        (2 * N_MFCC,) mean and standard deviation of the cepstral coefficients over the track.
    artist
        Who plays, as far as the annotation or the name of the file tells; else the name itself.
    """

    key: str
    side: str
    input: NDArray[np.float32]
    target: NDArray[np.float32]
    timbre: NDArray[np.float64]
    artist: str


# --- inputs ---


def levelled(audio: NDArray[np.float32], level_db: float | None) -> NDArray[np.float32]:
    """Return audio at an RMS level; what is silent stays so."""
    if level_db is None or not np.abs(audio).max(initial=0.0) > SILENCE:
        return audio
    return waveforms.to_level(audio, level_db).astype(np.float32)


def log_mel(audio: NDArray[np.float32], config: FeatureConfig) -> Feature:
    """Return the log-mel spectrogram of a track at ``config.sample_rate``."""
    return mel.log_mel(
        levelled(audio, config.level_db),
        config.sample_rate,
        n_bands=config.n_bands,
        window_samples=config.window_samples,
        hop_samples=config.hop_samples,
    )


def waveform(audio: NDArray[np.float32], config: FeatureConfig) -> Feature:
    """Return the waveform as an input: (1, samples), a sample for each time."""
    audio = check_audio(levelled(audio, config.level_db), config.sample_rate)
    times = frame_times(audio.size, 1, config.sample_rate)
    return Feature(audio[None], times, None, config.sample_rate, 1)


def network_input(audio: NDArray[np.float32], config: FeatureConfig, kind: Input) -> Feature:
    """Return what a network is fed of a track at ``config.sample_rate``, from the cache if it can.

    The spectrogram is centred after it has been cached, because the statistics of MFCC need it as
    it was.
    """
    whole = replace(config, centred=False)
    found = feature_cache.cached(log_mel if kind == "log-mel" else waveform, audio, whole)
    if kind == "log-mel" and config.centred:
        return replace(found, values=found.values - found.values.mean(axis=-1, keepdims=True))
    return found


def timbre(log_mel: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return mean and deviation over time of the cepstral coefficients, (2 * N_MFCC,)."""
    coefficients = mel.mfcc(log_mel[0].astype(float), min(N_MFCC, log_mel.shape[1]))
    return np.concatenate([coefficients.mean(axis=1), coefficients.std(axis=1)])


# --- tracks ---


def load_tag_tracks(
    data: DataConfig,
    feature: FeatureConfig,
    *,
    kind: Input,
    accept_restricted: bool = False,
    progress: bool = True,
) -> list[TagTrack]:
    """Load the tracks of a dataset that :data:`TASKS` knows, rendering or downloading it at first.

    An embedded corpus states the sides; of a downloaded dataset they are those of
    :func:`dl101.data.splits.safe_split`, where no artist is on two sides. Audio at another rate is
    converted. Inputs come from the feature cache and are computed once.

    Raises
    ------
    DataError
        If no entry has a label, or one has a class that the task does not know (multi-class) or
        several where one is asked.
    """
    task = TASKS[data.dataset]
    files = source.locate(
        data, fields=(task.label,), accept_restricted=accept_restricted, progress=progress
    )
    embedded = data.dataset in export.CORPORA
    tracks = []
    with pair.opened(files.audio, files.annotations) as (collection, store):
        entries = [entry for entry in collection if entry.values(task.label)]
        if not entries:
            raise DataError(
                f"annotations {files.annotations}",
                got=f"no entry with the field {task.label!r}",
                expected="entries with a label",
                hint="use a dataset made for tagging, such as tags or genres",
            )
        sides = splits.sides_of(data.dataset, entries, stated=embedded, seed=data.seed)
        kept = [entry for entry in entries if entry.filepath in sides]
        if not embedded and data.n_tracks is not None:  # some of each class: evenly over the list
            places = np.linspace(0, len(kept), min(data.n_tracks, len(kept)), endpoint=False)
            kept = [kept[int(place)] for place in places]
        for entry in show_progress(kept, "features", enabled=progress):
            target = target_of(entry, task)
            audio, rate = store.read(entry.filepath)
            audio = resample(audio, rate, feature.sample_rate)
            picture = network_input(audio, replace(feature, centred=False), "log-mel")
            given = network_input(audio, feature, kind)
            tracks.append(
                TagTrack(
                    entry.filepath,
                    sides[entry.filepath],
                    given.values,
                    target,
                    timbre(picture.values),
                    str(entry.first("artist") or splits.work_of(data.dataset, entry.filepath)),
                )
            )
    return tracks


def target_of(entry: pyjama.Entry, task: Task) -> NDArray[np.float32]:
    """Return 1 for each class that an entry has, (classes,).

    Tags beyond the vocabulary of a multi-label task are left out, as the studies of MagnaTagATune
    do; a genre that is unknown is an error, and so is a second one.
    """
    found = [str(value) for value in entry.values(task.label)]
    if not task.several and (len(found) != 1 or found[0] not in task.classes):
        raise DataError(
            f"entry {entry.index} ({entry.filepath}), field {task.label!r}",
            got=", ".join(found),
            expected=f"one of {', '.join(task.classes)}",
            hint="correct the annotation, or leave the entry out",
        )
    return np.array([name in found for name in task.classes], dtype=np.float32)


# --- patches ---


def starts(n_frames: int, *, patch_frames: int, hop_frames: int) -> NDArray[np.int64]:
    """Return where the patches of a track begin, in frames.

    They begin every ``hop_frames``; the last is moved back so that it ends with the track, and a
    track shorter than a patch has one, which is padded.
    """
    begins = patches(n_frames, patch_frames=patch_frames, hop_frames=hop_frames)[:, 0]
    return np.minimum(begins, max(0, n_frames - patch_frames))


class TagPatches(Dataset):
    """Patches of tracks: item ``i`` is a dictionary of ``input`` and ``target``.

    Parameters
    ----------
    tracks
        One side.
    patch_frames, hop_frames
        Length of a patch and distance from one to the next, in frames.
    frame_samples
        Values of the input in a frame: ``hop_samples`` for a waveform, 1 for a spectrogram.
    anywhere
        Whether a patch begins anywhere in its track, anew each time, as in training.
    """

    def __init__(
        self,
        tracks: Sequence[TagTrack],
        *,
        patch_frames: int,
        hop_frames: int,
        frame_samples: int = 1,
        anywhere: bool = False,
    ) -> None:
        self.tracks, self.anywhere = tracks, anywhere
        self.patch, self.frame_samples = patch_frames * frame_samples, frame_samples
        self.places = [
            (track, int(start))
            for track, each in enumerate(tracks)
            for start in starts(
                max(1, each.input.shape[-1] // frame_samples),
                patch_frames=patch_frames,
                hop_frames=hop_frames,
            )
        ]

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        number, start = self.places[index]
        track = self.tracks[number]
        start *= self.frame_samples
        if self.anywhere:
            last = max(0, track.input.shape[-1] - self.patch)
            start = int(torch.randint(last + 1, ()))
        return {
            "input": torch.from_numpy(cut(track.input, start, self.patch)),
            "target": torch.from_numpy(track.target),
        }


def cut(values: NDArray[np.float32], start: int, length: int) -> NDArray[np.float32]:
    """Return a copy of a stretch of an input, with zeros after the end of the track."""
    return np.array(pad_frames(values[..., start : start + length], length))


def masked(inputs: Tensor, n_bands: int, n_frames: int) -> Tensor:
    """Return spectrograms (batch, 1, band, frame) with a stretch of bands and of frames blanked.

    Both stretches are drawn anew for each item, from none to ``n_bands`` and ``n_frames``, and get
    the mean of the item, so that a network cannot rely on one place (SpecAugment; Park et al.,
    2019, without its warping of time).
    """
    hidden = torch.zeros_like(inputs, dtype=torch.bool)
    for axis, most in ((2, n_bands), (3, n_frames)):
        size, most = inputs.shape[axis], min(most, inputs.shape[axis])
        width = torch.randint(most + 1, (len(inputs), 1))
        first = (torch.rand(len(inputs), 1) * (size - width + 1)).long()
        place = torch.arange(size)
        inside = ((place >= first) & (place < first + width)).to(inputs.device)
        hidden |= inside[:, None, :, None] if axis == 2 else inside[:, None, None, :]
    return torch.where(hidden, inputs.mean(dim=(2, 3), keepdim=True), inputs)


class TagData(PatchData):
    """Batches of patches of the training and the validation side.

    The order of training depends on the seed and the epoch alone; where a patch begins, on the
    random numbers of PyTorch, which a resumed run takes up.
    """

    def __init__(
        self,
        tracks: Mapping[str, Sequence[TagTrack]],
        *,
        batch_size: int,
        seed: int = 0,
        num_workers: int = 0,
        **lengths: int,
    ) -> None:
        L.LightningDataModule.__init__(self)
        self.batch_size, self.seed, self.num_workers = batch_size, seed, num_workers
        self.train = TagPatches(tracks["train"], **lengths, anywhere=True)
        self.validation = TagPatches(tracks["validation"], **lengths)
        if len(self.train) % batch_size == 1 < len(self.train):
            self.train.places.pop()  # batch normalisation cannot take a batch of one
