"""Which octave is it? Learned spectrograms with their kernels alone, in pairs, and in fours.

Conventions: an item is a stretch of one note of the corpus ``notes``, from 0.1 s after its start,
brought to one level: (1, samples), either one frame of the front-end (23 ms) or sixteen (197 ms).
The answer is the octave of the note, five classes; what lies beyond counts to the outer ones. The
test side is played by instruments that are heard nowhere else.

All front-ends have 512 samples of window and 256 of hop, and all learned ones have 64 kernels: as
64 channels of one, 32 of two, or 16 of four, whose squares are added. After them comes always the
same: the mean over the frames, batch normalisation, two dense layers. Frames lie inside the
stretch, so that "one frame" is exactly the kernel. The epoch is chosen on the validation side.

``accuracy`` is the share of test notes whose octave is found in sixteen frames, ``accuracy_one`` in
one; each with a network of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from dl101.data import pyjama
from dl101.nn.frontends import LearnedSpectrogram, MelConv
from dl101.signal.waveforms import to_level
from dl101.training.comparison import Comparison, Read, load_sides
from dl101.training.examples import Examples, majority_accuracy, predict
from dl101.training.loop import minimise

CORPUS, N_TRACKS = "notes", 960
SAMPLE_RATE = 22_050
START_S = 0.1
WINDOW_SAMPLES, HOP_SAMPLES = 512, 256
N_KERNELS, N_BANDS = 64, 32
LENGTHS = (1, 16)  # frames
LOWEST_MIDI, N_OCTAVES = 36, 5  # from C2
LEVEL_DB = -20.0
EPOCHS, BATCH_SIZE, LEARNING_RATE = 30, 32, 3e-3

Sides = Mapping[str, Examples]
Data = Mapping[int, Sides]  # by number of frames


@dataclass(frozen=True)
class Variant:
    """One front-end.

    Attributes
    ----------
    kind
        ``"learned"`` or ``"mel"``.
    pool
        Kernels that make up one channel.
    nonlinearity
        Of a learned one: ``"log"``, ``"relu"`` or ``"none"``.
    trained
        Whether its kernels learn, or stay as they start.
    """

    kind: str = "learned"
    pool: int = 1
    nonlinearity: str = "log"
    trained: bool = True

    @property
    def n_channels(self) -> int:
        """Return how many numbers it makes of a frame."""
        return N_BANDS if self.kind == "mel" else N_KERNELS // self.pool


VARIANTS: Mapping[str, Variant] = {
    "random, 64 × 1": Variant(trained=False),
    "64 × 1": Variant(),
    "32 × 2": Variant(pool=2),
    "16 × 4": Variant(pool=4),
    "ReLU, 64 × 1": Variant(nonlinearity="relu"),
    "none, 64 × 1": Variant(nonlinearity="none"),
    "mel, fixed": Variant("mel", trained=False),
    "mel, trained": Variant("mel"),
}


class OctaveNet(nn.Module):
    """A front-end, the mean over its frames, two dense layers: (batch, 1, samples) to logits."""

    def __init__(self, front: nn.Module, n_channels: int) -> None:
        super().__init__()
        self.front = front
        self.head = nn.Sequential(
            nn.BatchNorm1d(n_channels),
            nn.Linear(n_channels, 64),
            nn.ReLU(),
            nn.Dropout(0.3),
            nn.Linear(64, N_OCTAVES),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return (batch, octave) logits."""
        return self.head(self.front(x).mean(dim=-1))


def front_end(variant: Variant) -> nn.Module:
    """Return the front-end of a variant, (batch, 1, samples) to (batch, channel, frame)."""
    if variant.kind == "mel":
        mel = MelConv(
            SAMPLE_RATE,
            n_bands=N_BANDS,
            window_samples=WINDOW_SAMPLES,
            hop_samples=HOP_SAMPLES,
            trainable=variant.trained,
        )
        return Inside(mel)
    front = LearnedSpectrogram(
        variant.n_channels,
        WINDOW_SAMPLES,
        HOP_SAMPLES,
        nonlinearity=variant.nonlinearity,
        pool=variant.pool,
        centred=False,
        bias=variant.nonlinearity == "relu",
    )
    return front.requires_grad_(variant.trained)


class Inside(nn.Module):
    """A front-end with centred frames, of which those that see padding are left out."""

    def __init__(self, front: nn.Module) -> None:
        super().__init__()
        self.front = front

    def forward(self, x: Tensor) -> Tensor:
        """Return the frames that lie inside the signal."""
        margin = WINDOW_SAMPLES // 2 // HOP_SAMPLES  # the centre of the first, in frames
        return self.front(x)[..., margin : margin + n_frames(x.shape[-1])]


def n_samples(frames: int) -> int:
    """Return how many samples so many frames see."""
    return WINDOW_SAMPLES + (frames - 1) * HOP_SAMPLES


def n_frames(samples: int) -> int:
    """Return how many frames lie inside so many samples."""
    return 1 + (samples - WINDOW_SAMPLES) // HOP_SAMPLES


def load(*, seed: int = 0, n_tracks: int = N_TRACKS, progress: bool = True) -> Data:
    """Return a stretch of each note by number of frames and side."""
    longest = n_samples(max(LENGTHS))

    def to_items(entry: pyjama.Entry, read: Read) -> Iterable[tuple[NDArray, int]]:
        audio, _ = read(start_s=START_S, duration_s=longest / SAMPLE_RATE)
        octave = int((entry.first("pitchmidi") - LOWEST_MIDI) // 12)
        return [(audio[:longest], min(max(octave, 0), N_OCTAVES - 1))]

    notes = load_sides(CORPUS, to_items, n_tracks=n_tracks, seed=seed, progress=progress)

    def examples(items: list[tuple[NDArray, int]], length: int) -> Examples:
        audio = [to_level(each[: n_samples(length)], LEVEL_DB) for each, _ in items]
        labels = np.array([octave for _, octave in items])
        return Examples(np.stack(audio)[:, None].astype(np.float32), labels)

    return {n: {side: examples(notes[side], n) for side in notes} for n in LENGTHS}


def train_one(
    variant: Variant,
    sides: Sides,
    *,
    seed: int = 0,
    epochs: int = EPOCHS,
    watch: Callable[[nn.Module], object] = lambda network: None,
) -> OctaveNet:
    """Train a network on items of one length.

    ``watch`` is called with it at the start and after each epoch. A front-end that does not learn
    is computed once.
    """
    torch.manual_seed(seed)
    network = OctaveNet(front_end(variant), variant.n_channels)
    part = network
    x, known = (torch.from_numpy(sides[s].inputs) for s in ("train", "validation"))
    if not variant.trained:
        with torch.no_grad():
            x, known = network.front(x), network.front(known)
        part = OctaveNet(nn.Identity(), variant.n_channels)
        part.head = network.head
    y, y_known = (torch.from_numpy(sides[s].labels) for s in ("train", "validation"))

    def validation_loss() -> Tensor:
        watch(network)
        return functional.cross_entropy(part(known), y_known)

    watch(network)
    optimiser = torch.optim.Adam(part.parameters(), lr=LEARNING_RATE)
    steps = epochs * -(-len(x) // BATCH_SIZE)
    minimise(
        part,
        lambda batch: functional.cross_entropy(part(x[batch]), y[batch]),
        lambda: torch.randperm(len(x)).split(BATCH_SIZE),
        optimiser,
        epochs=epochs,
        schedule=torch.optim.lr_scheduler.OneCycleLR(optimiser, LEARNING_RATE, total_steps=steps),
        validation_loss=validation_loss,
    )
    return network.eval()


@dataclass(frozen=True, eq=False)
class Trained:
    """The networks of one variant, by number of frames."""

    networks: Mapping[int, OctaveNet]

    @property
    def network(self) -> OctaveNet:
        """The one for the longest items; the others have as many parameters."""
        return self.networks[max(self.networks)]


def train(variant: Variant, data: Data, *, seed: int = 0) -> Trained:
    """Train one network for each length of items."""
    return Trained({n: train_one(variant, sides, seed=seed) for n, sides in data.items()})


def accuracy(network: nn.Module, sides: Sides, side: str = "test") -> float:
    """Return the share of notes whose octave is found."""
    return float(np.mean(predict(network, sides[side].inputs) == sides[side].labels))


def score(trained: Trained, variant: Variant, data: Data) -> dict[str, float]:
    """Return the accuracies on the test side."""
    one, many = LENGTHS
    return {
        "accuracy": accuracy(trained.networks[many], data[many]),
        "accuracy_one": accuracy(trained.networks[one], data[one]),
    }


def _most_frequent(data: Data) -> dict[str, float]:
    share = majority_accuracy(data[max(LENGTHS)])
    return {"accuracy": share, "accuracy_one": share}


COMPARISON = Comparison(
    corpus=CORPUS,
    n_tracks=N_TRACKS,
    load=load,
    n_items=lambda data: len(data[max(LENGTHS)]["test"]),
    baselines={"most frequent octave": _most_frequent},
    variants=VARIANTS,
    train=train,
    score=score,
)
run = COMPARISON.run
