"""How fast features come, and what a cheaper feature costs in a held-out score.

Conventions: the reference feature is a log-mel spectrogram, 64 bands, a window of 2048 and a hop of
512 samples at 22 050 Hz, stored as float32.

*Speed* (variants ``log-mel: ...`` and ``HCQT: ...``): every way gives the same patches of 128
frames from the same tracks of 30 s (pairs of tracks of the corpus ``piano``); computed from a patch
alone, the frames near its edges differ, as their windows see zeros outside. ``per_s`` are patches
per second, ``ratio`` the same over that of the way ``computed for each patch`` in the same run:
medians of ``REPEATS`` measurements that take turns. What is counted is processor time, one thread,
so that other work on the machine stays out of it; with worker processes it is time on the clock,
one thread in each, and the ratio is to no workers on the clock. ``... many threads`` gives every
worker as many threads as the machine has cores, which is what NumPy's linear algebra takes unless
it is told otherwise. Files have been written just before: they come from the
operating system's cache, not from a disk. ``bytes_per_minute`` is what a minute of audio takes,
``startup_s`` what has to be done before the first patch, for a minute of audio.

*Score* (variants ``instrument: ...`` and ``onset: ...``): one small network, fed with cheaper and
cheaper versions of the reference, answers which instrument plays (``accuracy`` on the test side of
``instruments``; ``accuracy_known`` on the validation side) and when notes begin (``onset_f`` on the
test side of ``piano``, peaks within 50 ms). Taps of its convolutions are as far apart in seconds
for every hop, as far as whole frames allow. The variants ``shuffle: ...`` answer the first question
from patches that come in orders more or less random; ``labels_per_batch`` says how many of the
twelve instruments are in a batch of 16, on average.
"""

from __future__ import annotations

import math
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import ChainDataset, DataLoader, Dataset

from dl101.data import pyjama
from dl101.data.audiofile import resample
from dl101.data.audiostore import AudioStore, AudioStoreWriter
from dl101.data.featurestore import FeatureStore, FeatureStoreWriter
from dl101.evaluation import onsets
from dl101.nn import spectra
from dl101.signal import cqt, mel
from dl101.signal.cqt import HcqtConfig
from dl101.signal.patches import PatchIndex, block_order
from dl101.signal.stft import stft
from dl101.training.comparison import (
    Comparison,
    Measurement,
    Read,
    corpus_tracks,
    load_sides,
)
from dl101.training.examples import (
    Examples,
    load_examples,
    logits_of,
    majority_accuracy,
    train_network,
)
from dl101.training.fit import TrainingConfig
from dl101.training.loop import minimise
from dl101.training.streaming import PatchStream, StoredPatches
from dl101.units import frames_to_seconds

RATE = 22050

# ---- how fast ----------------------------------------------------------------------------------

REPEATS, N_PATCHES, BATCH, PATCH_FRAMES, HOP_SAMPLES = 5, 64, 32, 128, 512
PASSES = 2  # over all patches, where worker processes are timed
HCQT = HcqtConfig(bins_per_semitone=1)  # 6 channels of 72 bins
BASELINE_WAY = "computed for each patch"
LAYOUTS: Mapping[str, Mapping] = {
    "HDF5, contiguous": {},
    "HDF5, chunks of 128 frames": {"chunk_frames": PATCH_FRAMES},
    "HDF5, chunks of one row": {"chunk_bins": 1},
    "HDF5, 128 frames, float16": {"chunk_frames": PATCH_FRAMES, "dtype": "float16"},
    "HDF5, 128 frames, lzf": {"chunk_frames": PATCH_FRAMES, "compression": "lzf"},
    "HDF5, 128 frames, gzip": {"chunk_frames": PATCH_FRAMES, "compression": "gzip"},
    "HDF5, whole track in one chunk, gzip": {"compression": "gzip"},
}

WAYS = (  # in the order of a table
    BASELINE_WAY,
    "track computed for each patch",
    "computed in the model, by batch",
    *LAYOUTS,
    "HDF5, contiguous, track read for each patch",
    "cached, .npy memory map",
    "in memory",
)


def log_mel(audio: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the reference feature of some audio, (1, 64, frames)."""
    return mel.log_mel(audio, RATE, n_bands=64, hop_samples=HOP_SAMPLES).values


def hcqt(audio: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return a harmonic CQT, (6, 72, frames)."""
    return cqt.hcqt(audio, HCQT).values


FEATURES: Mapping[str, Callable] = {"log-mel": log_mel, "HCQT": hcqt}


def long_tracks(seed: int, n_tracks: int, *, progress: bool = True) -> list[NDArray[np.float32]]:
    """Return tracks of 30 s, each made of two of the corpus ``piano``."""
    found = corpus_tracks("piano", n_tracks=2 * n_tracks, seed=seed, progress=progress)
    audio = [read()[0] for _, read in found]
    return [np.concatenate(audio[i : i + 2]) for i in range(0, len(audio), 2)]


class ComputedPatches(Dataset[Tensor]):
    """Item ``i`` is the feature of a patch, computed from its samples when it is asked for."""

    def __init__(self, store: AudioStore, index: PatchIndex, compute: Callable) -> None:
        self.store, self.index, self.compute = store, index, compute

    def __len__(self) -> int:
        return len(self.index)

    def samples(self, number: int) -> NDArray[np.float32]:
        """Return the samples of a patch, as many as its frames need."""
        track, start, _ = self.index[number]
        start_s = frames_to_seconds(start, sample_rate=RATE, hop_samples=HOP_SAMPLES)
        length = self.index.patch_frames * HOP_SAMPLES
        return self.store.read(str(track), start_s=start_s, duration_s=length / RATE)[0]

    def __getitem__(self, number: int) -> Tensor:
        return torch.from_numpy(self.compute(self.samples(number))[..., : self.index.patch_frames])


class SleepingPatches(Dataset[int]):
    """Items that take a known time and no processor, to watch a pipeline by itself."""

    def __init__(self, n_patches: int, patch_ms: float) -> None:
        self.n_patches, self.patch_ms = n_patches, patch_ms

    def __len__(self) -> int:
        return self.n_patches

    def __getitem__(self, number: int) -> int:
        time.sleep(self.patch_ms / 1000)
        return number


@dataclass(frozen=True, eq=False)
class Way:
    """One way to come by patches.

    Attributes
    ----------
    fetch
        Gets the numbers of patches and returns them as one batch.
    bytes_per_minute
        On disk or in memory, for a minute of audio.
    startup_s
        Processor time of what is done once, for a minute of audio.
    layer
        What computes the feature, where that is a part of the model.
    """

    fetch: Callable[[Sequence[int]], Tensor]
    bytes_per_minute: float
    startup_s: float = 0.0
    layer: nn.Module | None = None


def ways(
    tracks: Sequence[NDArray[np.float32]], name: str, folder: Path
) -> tuple[dict[str, Way], PatchIndex, dict[str, Dataset]]:
    """Return all ways to come by the patches of a feature, their index, and the datasets."""
    compute = FEATURES[name]
    minutes = sum(track.size for track in tracks) / RATE / 60
    keys = [str(i) for i in range(len(tracks))]
    with AudioStoreWriter(folder / "audio.hdf5") as writer:
        for key, audio in zip(keys, tracks, strict=True):
            writer.append(key, audio, RATE)
    audio_store = AudioStore(folder / "audio.hdf5")
    audio_bytes = os.path.getsize(folder / "audio.hdf5") / minutes
    compute(tracks[0][:RATE])  # imports and filters are not counted
    start = time.process_time()
    whole = [compute(audio) for audio in tracks]
    compute_s = (time.process_time() - start) / minutes
    # whole patches only, so that every way does the same work
    lengths = [PATCH_FRAMES * (track.size // HOP_SAMPLES // PATCH_FRAMES) for track in tracks]
    index = PatchIndex(lengths, patch_frames=PATCH_FRAMES)
    computed = ComputedPatches(audio_store, index, compute)

    def stacked(item: Callable[[int], NDArray]) -> Callable[[Sequence[int]], Tensor]:
        return lambda numbers: torch.from_numpy(np.stack([item(n) for n in numbers]))

    def from_whole_track(number: int) -> NDArray:
        patch = index[number]
        return index.cut(compute(audio_store.read(keys[patch.track])[0]), patch)

    found = {
        BASELINE_WAY: Way(stacked(lambda n: computed[n].numpy()), audio_bytes),
        "track computed for each patch": Way(stacked(from_whole_track), audio_bytes),
    }
    device = "cuda" if torch.cuda.is_available() else "cpu"
    layer = (
        spectra.LogMel(RATE, n_bands=64, hop_samples=HOP_SAMPLES)
        if name == "log-mel"
        else spectra.HCQT(HCQT, n_samples=PATCH_FRAMES * HOP_SAMPLES)
    ).to(device)

    def in_the_model(numbers: Sequence[int]) -> Tensor:
        batch = torch.from_numpy(np.stack([computed.samples(n) for n in numbers]))
        with torch.inference_mode():
            values = layer(batch.to(device))[..., :PATCH_FRAMES]
        if device == "cuda":
            torch.cuda.synchronize()
        return values

    found["computed in the model, by batch"] = Way(in_the_model, audio_bytes, layer=layer)
    maps = []
    for key, values in zip(keys, whole, strict=True):
        np.save(folder / f"{name}-{key}.npy", values)
        maps.append(np.load(folder / f"{name}-{key}.npy", mmap_mode="r"))
    feature_bytes = sum(values.nbytes for values in whole) / minutes
    found["cached, .npy memory map"] = Way(
        stacked(lambda n: index.cut(maps[index[n].track], index[n])), feature_bytes, compute_s
    )
    stores = {}
    for title, layout in LAYOUTS.items():
        path = folder / f"{name}-{len(stores)}.hdf5"
        start = time.process_time()
        with FeatureStoreWriter(path, **layout) as writer:
            for key, values in zip(keys, whole, strict=True):
                writer.append(key, values, RATE / HOP_SAMPLES)
        write_s = (time.process_time() - start) / minutes
        store = stores[title] = FeatureStore(path)

        def read(number: int, store: FeatureStore = store) -> NDArray:
            track, first, stop = index[number]
            return store.read_frames(keys[track], first, stop)

        size = sum(store.stored_bytes(key) for key in keys) / minutes
        found[title] = Way(stacked(read), size, compute_s + write_s)
    contiguous = stores["HDF5, contiguous"]
    found["HDF5, contiguous, track read for each patch"] = Way(
        stacked(lambda n: index.cut(contiguous.read_frames(keys[index[n].track]), index[n])),
        feature_bytes,
        compute_s,
    )
    chunked = stores["HDF5, chunks of 128 frames"]
    found["in memory"] = Way(
        stacked(lambda n: index.cut(whole[index[n].track], index[n])), feature_bytes, compute_s
    )
    datasets = {
        "computed": computed,
        "stored": StoredPatches(chunked, keys, index),
        "stream": PatchStream(chunked, keys, index, block_tracks=1),
    }
    return found, index, datasets


def measure(
    found: Mapping[str, Way], index: PatchIndex, rng: np.random.Generator, *, repeats: int = REPEATS
) -> dict[str, float]:
    """Return patches per second of processor time of each way; the ways take turns."""
    order = [rng.permutation(len(index))[:BATCH] for _ in range(N_PATCHES // BATCH)]
    taken: dict[str, list[float]] = {name: [] for name in found}
    for way in found.values():
        way.fetch(order[0][:2])  # plans, filters, file handles: not counted
    for _ in range(repeats):
        for name, way in found.items():
            n_rounds = 1 if name.startswith(("computed", "track")) else 4
            start = time.process_time()
            for _ in range(n_rounds):
                for numbers in order:
                    way.fetch(numbers)
            taken[name].append((time.process_time() - start) / n_rounds)
    return {name: sum(map(len, order)) / np.median(times) for name, times in taken.items()}


def measure_workers(
    dataset: Dataset, num_workers: int, n_patches: int, *, repeats: int = 3
) -> tuple[float, float]:
    """Return patches per second on the clock once batches flow, and seconds to the first batch."""
    speeds, first = [], []
    stream = isinstance(dataset, PatchStream)
    if stream:
        dataset = ChainDataset([dataset] * PASSES)
    for _ in range(repeats):
        loader = DataLoader(
            dataset,
            batch_size=8,
            num_workers=num_workers,
            sampler=None if stream else [*range(n_patches)] * PASSES,
        )
        start = time.perf_counter()
        batches = iter(loader)
        next(batches)
        flowing = time.perf_counter()
        n = sum(len(batch[0] if isinstance(batch, list) else batch) for batch in batches)
        speeds.append(n / (time.perf_counter() - flowing))
        first.append(flowing - start)
        del batches
    return float(np.median(speeds)), float(np.median(first))


def speeds(seed: int, n_tracks: int = 8, *, progress: bool = True) -> Iterator[Measurement]:
    """Measure every way for both features."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    limit = threadpool_limits(1)  # of NumPy's linear algebra; workers inherit it
    try:
        tracks = long_tracks(seed, n_tracks, progress=progress)
        common = {"corpus": "piano", "n_tracks": 2 * n_tracks}
        for name in FEATURES:
            with tempfile.TemporaryDirectory(prefix="dl101-") as folder:
                found, index, datasets = ways(tracks, name, Path(folder))
                per_s = measure(found, index, np.random.default_rng(seed))
                for title, way in found.items():
                    metrics = {
                        "per_s": per_s[title],
                        "ratio": per_s[title] / per_s[BASELINE_WAY],
                        "bytes_per_minute": way.bytes_per_minute,
                        "startup_s": way.startup_s,
                    }
                    config = {"feature": name, "clock": "processor", "threads": 1}
                    yield Measurement(
                        f"{name}: {title}",
                        metrics,
                        N_PATCHES,
                        **common,
                        config=config,
                        network=way.layer,
                    )
                yield from _worker_measurements(name, datasets, len(index), common)
    finally:
        torch.set_num_threads(threads)
        limit.restore_original_limits()


def _worker_measurements(
    name: str, datasets: Mapping[str, Dataset], n_patches: int, common: Mapping
) -> Iterator[Measurement]:
    n_cores = os.cpu_count() or 1
    for kind, dataset in datasets.items():
        alone = None
        for num_workers, threads in ((0, 1), (1, 1), (2, 1), (2, n_cores)):
            with threadpool_limits(threads):
                per_s, first_s = measure_workers(dataset, num_workers, n_patches)
            alone = alone or per_s
            many = ", many threads" if (num_workers, threads) == (2, n_cores) else ""
            yield Measurement(
                f"{name}: {kind}, {num_workers} workers{many}",
                {"per_s": per_s, "ratio": per_s / alone, "first_batch_s": first_s},
                n_patches,
                config={
                    "feature": name,
                    "clock": "wall",
                    "threads": threads,
                    "workers": num_workers,
                },
                **common,
            )


# ---- what a cheaper feature costs --------------------------------------------------------------


@dataclass(frozen=True)
class StoredLogMel:
    """A log-mel spectrogram and how it is kept.

    Attributes
    ----------
    hop_samples, n_bands, rate
        Of the spectrogram; the hop counts samples at 22 050 Hz whatever the rate, and the window
        lasts 93 ms.
    bits
        Of a stored value: 32, 16 (float16), or fewer for equal steps between 0 and ``FULL_SCALE``.
    patch_s, overlap
        Training and test on patches of this length, None for whole tracks; the score of a track is
        that of the mean over its patches, which overlap by this share at the test.
    """

    hop_samples: int = HOP_SAMPLES
    n_bands: int = 64
    rate: int = RATE
    bits: int = 32
    patch_s: float | None = None
    overlap: float = 0.0

    @property
    def bytes_per_minute(self) -> float:
        """Closed form: 60 f_s / H frames of B values of b / 8 bytes."""
        return 60 * RATE / self.hop_samples * self.n_bands * self.bits / 8

    @property
    def frames_per_s(self) -> float:
        """Frames in a second."""
        return RATE / self.hop_samples


REFERENCE = StoredLogMel()
VARIANTS: Mapping[str, StoredLogMel] = {
    "reference": REFERENCE,
    "hop 256": replace(REFERENCE, hop_samples=256),
    "hop 1024": replace(REFERENCE, hop_samples=1024),
    "hop 2048": replace(REFERENCE, hop_samples=2048),
    "hop 4096": replace(REFERENCE, hop_samples=4096),
    "16 bands": replace(REFERENCE, n_bands=16),
    "4 bands": replace(REFERENCE, n_bands=4),
    "11 kHz": replace(REFERENCE, rate=RATE // 2),
    "float16": replace(REFERENCE, bits=16),
    "8 bits": replace(REFERENCE, bits=8),
    "2 bits": replace(REFERENCE, bits=2),
    "hop 2048, 16 bands, 8 bits": StoredLogMel(hop_samples=2048, n_bands=16, bits=8),
}
PATCHED: Mapping[str, StoredLogMel] = {
    "patches of 0.75 s": replace(REFERENCE, patch_s=0.75),
    "patches of 0.75 s, overlapping": replace(REFERENCE, patch_s=0.75, overlap=0.5),
}
WINDOW_S = 2048 / RATE
FULL_SCALE = 17.0  # of log(1 + 10^4 x): more than any of our recordings reach
SPACINGS_S = (0.023, 0.093, 0.372)  # of the taps, layer by layer
N_CHANNELS = 32
TRAINING = TrainingConfig(
    max_epochs=20, patience=20, batch_size=16, learning_rate=3e-3, weight_decay=1e-3
)
N_TRACKS = {"instruments": 432, "piano": 60}
ONSET_EPOCHS, ONSET_BATCH = 30, 4
BLIND = {"instrument": "most frequent instrument", "onset": "evenly spaced onsets"}


def quantise(values: NDArray[np.float32], bits: int) -> NDArray[np.float32]:
    """Return values as they come back from storage with so many bits."""
    if bits == 32:
        return values
    if bits == 16:
        return values.astype(np.float16).astype(np.float32)
    step = FULL_SCALE / (2**bits - 1)
    return (np.round(np.clip(values, 0, FULL_SCALE) / step) * step).astype(np.float32)


def stored_log_mel(audio: NDArray[np.float32], stored: StoredLogMel) -> NDArray[np.float32]:
    """Return log(1 + 10^4 x) of the mel powers x, (1, bands, frames), as it is read back."""
    if stored.rate != RATE:
        audio = resample(audio, RATE, stored.rate)
    window = round(WINDOW_S * stored.rate)
    hop = stored.hop_samples * stored.rate // RATE
    spectrum = stft(audio, window_samples=window, hop_samples=hop)
    filters = mel.mel_filters(stored.rate, n_bands=stored.n_bands, window_samples=window)
    values = mel.compress(filters @ np.abs(spectrum) ** 2, 1e4).astype(np.float32)
    return quantise(values, stored.bits)[np.newaxis]


def body(stored: StoredLogMel) -> nn.Sequential:
    """Return three convolutions along time, (batch, band, T) to (batch, channel, T)."""
    layers: list[nn.Module] = [nn.BatchNorm1d(stored.n_bands, affine=False)]
    n_in = stored.n_bands
    for spacing_s in SPACINGS_S:
        dilation = max(1, round(spacing_s * stored.frames_per_s))
        layers += [nn.Conv1d(n_in, N_CHANNELS, 5, dilation=dilation, padding="same"), nn.ReLU()]
        n_in = N_CHANNELS
    return nn.Sequential(*layers)


class InstrumentNet(nn.Module):
    """(batch, 1, band, T) to (batch, classes): mean and maximum over time decide."""

    def __init__(self, stored: StoredLogMel, n_classes: int) -> None:
        super().__init__()
        self.body = body(stored)
        self.decide = nn.Sequential(nn.Dropout(0.2), nn.Linear(2 * N_CHANNELS, n_classes))

    def forward(self, x: Tensor) -> Tensor:
        """Return logits."""
        x = self.body(x[:, 0])
        return self.decide(torch.cat([x.mean(dim=-1), x.amax(dim=-1)], dim=1))


class OnsetNet(nn.Module):
    """(batch, 1, band, T) to (batch, T): the logit of an onset in each frame."""

    def __init__(self, stored: StoredLogMel) -> None:
        super().__init__()
        self.body, self.decide = body(stored), nn.Conv1d(N_CHANNELS, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits."""
        return self.decide(self.body(x[:, 0]))[:, 0]


Instruments = tuple[Mapping[str, Examples], tuple[str, ...]]  # samples by side, names of classes


def load_instruments(
    *, seed: int = 0, n_tracks: int = N_TRACKS["instruments"], progress: bool = True
) -> Instruments:
    """Return the samples of the corpus ``instruments`` by side, and the names of the classes."""
    return load_examples(
        "instruments",
        "instrument",
        lambda audio, rate: audio,
        n_tracks=n_tracks,
        seed=seed,
        progress=progress,
    )


def featured(sides: Mapping[str, Examples], stored: StoredLogMel) -> dict[str, Examples]:
    """Return examples of features, (tracks, 1, bands, frames), from examples of samples."""
    return {
        side: Examples(np.stack([stored_log_mel(audio, stored) for audio in e.inputs]), e.labels)
        for side, e in sides.items()
    }


def in_patches(
    examples: Examples, stored: StoredLogMel, overlap: float = 0.0
) -> tuple[Examples, PatchIndex | None]:
    """Return one example for each whole patch of each track, and the index of these."""
    if stored.patch_s is None:
        return examples, None
    length = round(stored.patch_s * stored.frames_per_s)
    hop = round(length * (1 - overlap))
    n_tracks, n_frames = len(examples.inputs), examples.inputs.shape[-1]
    whole = length + hop * ((n_frames - length) // hop)  # without a shorter last one
    index = PatchIndex([whole] * n_tracks, patch_frames=length, hop_frames=hop)
    inputs = np.stack([index.cut(examples.inputs[patch.track], patch) for patch in index])
    return Examples(inputs, examples.labels[[patch.track for patch in index]]), index


def log_probabilities(network: nn.Module, inputs: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the log-probabilities of all classes, (items, classes)."""
    logits = torch.from_numpy(logits_of(network, inputs))
    return logits.log_softmax(dim=1).numpy().astype(np.float64)


@dataclass(frozen=True, eq=False)
class InstrumentFinder:
    """A network, and what it is given by side: patches with their index, or whole tracks.

    ``labels_per_batch`` says how many classes met in a batch of training, where it was counted.
    """

    network: nn.Module
    examples: Mapping[str, Examples]
    index: Mapping[str, PatchIndex | None]
    labels_per_batch: float = math.nan


def train_instrument(
    stored: StoredLogMel, data: Instruments, *, seed: int = 0, progress: bool = False
) -> InstrumentFinder:
    """Train a network that names the instrument, on samples by side."""
    sides, classes = data
    cut = {
        side: in_patches(e, stored, stored.overlap * (side != "train"))
        for side, e in featured(sides, stored).items()
    }
    examples = {side: e for side, (e, _) in cut.items()}
    network, _ = train_network(
        partial(InstrumentNet, stored, len(classes)),
        examples,
        seed=seed,
        training=TRAINING,
        progress=progress,
    )
    return InstrumentFinder(network, examples, {side: index for side, (_, index) in cut.items()})


def score_instrument(
    trained: InstrumentFinder, stored: StoredLogMel, data: Instruments
) -> dict[str, float]:
    """Return the shares of right tracks, by all of their patches and by the first alone."""
    scores = {"bytes_per_minute": stored.bytes_per_minute}
    for metric, side in (("accuracy", "test"), ("accuracy_known", "validation")):
        said = log_probabilities(trained.network, trained.examples[side].inputs)
        labels, index = data[0][side].labels, trained.index[side]
        if index is not None:
            first = said[index.first[:-1]].argmax(axis=1)
            scores[f"{metric}_one_patch"] = float(np.mean(first == labels))
            said = index.mean_by_track(said)
        scores[metric] = float(np.mean(said.argmax(axis=1) == labels))
    return scores


@dataclass(frozen=True)
class Shuffle:
    """An order of training patches.

    Attributes
    ----------
    block_tracks
        Tracks that are in memory together, whose patches are mixed; 0 mixes nothing.
    dealt
        Whether tracks come to the blocks at random, or in the order of a file sorted by label.
    """

    block_tracks: int
    dealt: bool = True

    def order(
        self, index: PatchIndex, labels: NDArray[np.int64], rng: np.random.Generator
    ) -> NDArray[np.int64]:
        """Return the numbers of all patches in the order of an epoch; labels are the tracks'."""
        if self.dealt:
            return np.concatenate(
                [n for _, n in block_order(index, rng, block_tracks=self.block_tracks)]
            )
        tracks = np.argsort(labels, kind="stable")
        step = max(1, self.block_tracks)
        blocks = [tracks[i : i + step] for i in range(0, len(tracks), step)]
        numbers = [np.concatenate([index.of_track(t) for t in block]) for block in blocks]
        return np.concatenate([rng.permutation(n) if self.block_tracks else n for n in numbers])


SHUFFLES: Mapping[str, Shuffle] = {
    "everything": Shuffle(10_000),
    "blocks of 16 tracks, dealt at random": Shuffle(16),
    "track after track, at random": Shuffle(1),
    "blocks of 16 tracks of a sorted file": Shuffle(16, dealt=False),
    "nothing, a sorted file": Shuffle(0, dealt=False),
}
SHUFFLED = StoredLogMel(hop_samples=2048, n_bands=16, patch_s=0.75)
SHUFFLE_EPOCHS, SHUFFLE_BATCH = 20, 16


def train_shuffled(shuffle: Shuffle, data: Instruments, *, seed: int = 0) -> InstrumentFinder:
    """Train on patches in an order; the network is that after the last epoch."""
    sides, classes = data
    cut = {side: in_patches(e, SHUFFLED) for side, e in featured(sides, SHUFFLED).items()}
    (train, index), rng = cut["train"], np.random.default_rng(seed)
    inputs, labels = torch.from_numpy(train.inputs), torch.from_numpy(train.labels)
    torch.manual_seed(seed)
    network = InstrumentNet(SHUFFLED, len(classes))
    mix = []

    def batches() -> Iterable[Tensor]:
        order = torch.from_numpy(shuffle.order(index, sides["train"].labels, rng))
        parts = order.split(SHUFFLE_BATCH)
        mix.extend(labels[part].unique().numel() for part in parts)
        return parts

    minimise(
        network,
        lambda part: functional.cross_entropy(network(inputs[part]), labels[part]),
        batches,
        torch.optim.AdamW(network.parameters(), lr=1e-3, weight_decay=1e-3),
        epochs=SHUFFLE_EPOCHS,
    )
    examples, indices = ({side: pair[i] for side, pair in cut.items()} for i in (0, 1))
    return InstrumentFinder(network, examples, indices, float(np.mean(mix)))


def score_shuffled(
    trained: InstrumentFinder, shuffle: Shuffle, data: Instruments
) -> dict[str, float]:
    """Return the shares of right tracks, and how well the batches were mixed."""
    scores = score_instrument(trained, SHUFFLED, data)
    mixed = {"labels_per_batch": trained.labels_per_batch}
    return {name: scores[name] for name in ("accuracy", "accuracy_known")} | mixed


@dataclass(frozen=True, eq=False)
class PianoTrack:
    """A track of ``piano``: its samples and when its notes begin."""

    audio: NDArray[np.float32]
    onsets_s: NDArray[np.float64]


Piano = Mapping[str, Sequence[PianoTrack]]


def load_piano(*, seed: int = 0, n_tracks: int = N_TRACKS["piano"], progress: bool = True) -> Piano:
    """Return the tracks of the corpus ``piano`` by side."""

    def to_items(entry: pyjama.Entry, read: Read) -> Iterable[PianoTrack]:
        return [PianoTrack(read()[0], onsets.merged(entry.segments("pitchmidi")[0]))]

    return load_sides("piano", to_items, n_tracks=n_tracks, seed=seed, progress=progress)


def onset_examples(sides: Piano, stored: StoredLogMel) -> dict[str, Examples]:
    """Return features (tracks, 1, bands, frames), and whether a frame is near an onset."""
    made = {}
    for side, recordings in sides.items():
        inputs = np.stack([stored_log_mel(r.audio, stored) for r in recordings])
        times = np.arange(inputs.shape[-1]) / stored.frames_per_s
        reach_s = max(0.5 / stored.frames_per_s, 0.0232)  # the nearest frame, or all within 23 ms
        near = [np.abs(times[:, None] - r.onsets_s).min(axis=1) <= reach_s for r in recordings]
        made[side] = Examples(inputs, np.array(near, dtype=np.float32))
    return made


def train_onset(stored: StoredLogMel, sides: Piano, *, seed: int = 0) -> nn.Module:
    """Train a network that hears onsets; validation chooses the epoch."""
    made = onset_examples({side: sides[side] for side in ("train", "validation")}, stored)
    (x, y), (x_known, y_known) = (
        (torch.from_numpy(each.inputs), torch.from_numpy(each.labels)) for each in made.values()
    )
    torch.manual_seed(seed)
    network = OnsetNet(stored)
    loss = functional.binary_cross_entropy_with_logits
    minimise(
        network,
        lambda part: loss(network(x[part]), y[part]),
        lambda: torch.randperm(len(x)).split(ONSET_BATCH),
        torch.optim.AdamW(network.parameters(), lr=3e-3, weight_decay=1e-3),
        epochs=ONSET_EPOCHS,
        validation_loss=lambda: loss(network(x_known), y_known),
    )
    return network


def score_onset(network: nn.Module, stored: StoredLogMel, sides: Piano) -> dict[str, float]:
    """Return the F-measure on the test side, with the threshold from the validation side."""
    asked = {side: sides[side] for side in ("validation", "test")}
    with torch.inference_mode():
        said = {
            side: torch.sigmoid(network(torch.from_numpy(made.inputs))).numpy()
            for side, made in onset_examples(asked, stored).items()
        }

    def onset_f(side: str, threshold: float) -> float:
        times = np.arange(said[side].shape[1]) / stored.frames_per_s
        found = [onsets.peaks_s(p, times, threshold) for p in said[side]]
        return onsets.mean_f_measure([r.onsets_s for r in sides[side]], found)

    threshold = max(onsets.THRESHOLDS, key=partial(onset_f, "validation"))
    return {
        "onset_f": onset_f("test", threshold),
        "bytes_per_minute": stored.bytes_per_minute,
    }


def evenly_spaced(sides: Piano) -> dict[str, float]:
    """Return the F-measure of onsets as often as in training, without listening."""
    train, test = sides["train"], sides["test"]
    true, ends = [r.onsets_s for r in test], [r.audio.size / RATE for r in test]
    return {"onset_f": onsets.evenly_spaced([r.onsets_s for r in train], true, ends)}


def most_frequent(data: Instruments) -> dict[str, float]:
    """Return the scores of always saying the instrument that is most frequent in training."""
    names = {"accuracy": "test", "accuracy_known": "validation"}
    return {name: majority_accuracy(data[0], side) for name, side in names.items()}


INSTRUMENT = Comparison(
    corpus="instruments",
    n_tracks=N_TRACKS["instruments"],
    load=load_instruments,
    n_items=lambda data: len(data[0]["test"]),
    prefix="instrument: ",
    baselines={BLIND["instrument"]: most_frequent},
    variants=VARIANTS | PATCHED,
    train=train_instrument,
    score=score_instrument,
)
ORDER = replace(
    INSTRUMENT,
    prefix="shuffle: ",
    baselines={},
    variants=SHUFFLES,
    train=train_shuffled,
    score=score_shuffled,
    describe=lambda shuffle: asdict(SHUFFLED) | asdict(shuffle),
)
ONSET = Comparison(
    corpus="piano",
    n_tracks=N_TRACKS["piano"],
    load=load_piano,
    n_items=lambda sides: len(sides["test"]),
    prefix="onset: ",
    baselines={BLIND["onset"]: evenly_spaced},
    variants=VARIANTS,
    train=train_onset,
    score=score_onset,
)


def run(seed: int, n_tracks: int | None = None) -> Iterator[Measurement]:
    """Measure the speed of every way, then score every cheaper feature.

    Parameters
    ----------
    seed
        Of the corpora, the initial weights and the order of training.
    n_tracks
        Of each corpus; by default those of ``N_TRACKS``.
    """
    yield from speeds(seed, 8 if n_tracks is None else max(2, n_tracks // 2))
    for comparison in (INSTRUMENT, ORDER, ONSET):
        yield from comparison.run(seed, n_tracks)
