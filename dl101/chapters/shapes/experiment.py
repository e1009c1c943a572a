"""Which instrument plays in front? First layers of one size and different shapes.

Conventions: an example is the compressed magnitude of a constant-Q transform with one bin a
semitone, (1, 96, frames), C1 to B8, of a track of the corpus ``instruments``. A network sees the 72
bins in the middle, so that :func:`transposed` can show it the same music up to an octave higher or
lower: a transposition by k semitones is a shift by k bins.

All variants have about 4000 parameters in the front-end. Behind it stand mean and maximum over time
and one linear layer. The training side is never transposed.

``accuracy`` is the share of test tracks (other instruments, other rooms) whose instrument was found
and ``accuracy_known`` that of the validation side (other music by instruments heard in training; it
also chose the epoch). ``..._transposed`` are the means of the same tracks three semitones up and
three down.

The harmonic variants start from power spectra, (513, frames): the library's harmonic filters with
three bandwidths to start from, and a stack of 3x3 filters over four harmonics. Their
``bandwidth_hz`` is that of a filter at 1 kHz after training, ``bandwidth_before_hz`` that before.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dl101.nn.compression import FixedLog
from dl101.nn.shapes import HarmonicFilters, Shape, ShapedConvs, SquareConvs
from dl101.signal.cqt import HcqtConfig, cqt
from dl101.signal.stft import stft, window
from dl101.training.comparison import Comparison, Measurement
from dl101.training.examples import (
    Examples,
    load_examples,
    majority_accuracy,
    predict,
    train_network,
)
from dl101.training.fit import TrainingConfig
from dl101.training.loop import minimise

CORPUS, LABEL, N_TRACKS = "instruments", "instrument", 432
CQT = HcqtConfig((1,), bins_per_semitone=1, n_octaves=8, f_min_hz=32.703, hop_samples=2048)
MARGIN, N_BANDS = 12, 72  # bins left out at the bottom, bins that a network sees
STRENGTH = 1000.0
THIRD = 3  # semitones
TRAINING = TrainingConfig(
    max_epochs=20, patience=20, batch_size=32, learning_rate=5e-3, weight_decay=1e-3
)

Data = tuple[Mapping[str, Examples], tuple[str, ...]]  # by side, and the names of the classes


@dataclass(frozen=True)
class Variant:
    """A front-end: shapes (filters, bands, frames), or a stack of 3x3 filters.

    Attributes
    ----------
    vertical, horizontal
        As in :class:`dl101.nn.shapes.ShapedConvs`.
    square
        Filters in each of four layers of 3x3 filters; 0 for none.
    """

    vertical: tuple[tuple[int, int, int], ...] = ()
    horizontal: tuple[tuple[int, int, int], ...] = ()
    square: int = 0


VARIANTS: Mapping[str, Variant] = {
    "full height": Variant(vertical=((54, 72, 1),)),
    "vertical": Variant(vertical=((8, 64, 3), (16, 64, 1), (8, 28, 3), (16, 28, 1))),
    "horizontal": Variant(horizontal=((64, 1, 32), (64, 1, 16), (64, 1, 8), (64, 1, 4))),
    "vertical and horizontal": Variant(
        vertical=((4, 64, 3), (14, 64, 1), (4, 28, 3), (14, 28, 1)),
        horizontal=((22, 1, 32), (22, 1, 16), (22, 1, 8), (22, 1, 4)),
    ),
    "square": Variant(square=12),
}


def features(audio: NDArray[np.float32], sample_rate: int) -> NDArray[np.float32]:
    """Return the compressed constant-Q transform of a track, (1, 96, frames)."""
    values = cqt(audio, CQT, sample_rate=sample_rate).values
    return np.log1p(STRENGTH * values).astype(np.float32)


def load(*, seed: int = 0, n_tracks: int = N_TRACKS, progress: bool = True) -> Data:
    """Return the examples by side, all 96 bins, and the names of the instruments."""
    return load_examples(CORPUS, LABEL, features, n_tracks=n_tracks, seed=seed, progress=progress)


def transposed(examples: Examples, semitones: int = 0) -> Examples:
    """Return what a network sees, (items, 1, 72, frames), of music so much higher."""
    first = MARGIN - semitones
    seen = examples.inputs[:, :, first : first + N_BANDS]
    return Examples(np.ascontiguousarray(seen), examples.labels)


class Classifier(nn.Module):
    """A front-end, mean and maximum over time, a linear layer: (batch, 1, 72, T) to classes."""

    def __init__(self, front: nn.Module, n_classes: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(1, affine=False)
        self.front = front
        self.drop = nn.Dropout(0.2)
        self.out = nn.Linear(2 * front.out_channels, n_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits of a batch."""
        z = self.front(self.norm(x))
        return self.out(self.drop(torch.cat([z.mean(dim=-1), z.amax(dim=-1)], dim=1)))


def front(variant: Variant) -> nn.Module:
    """Return the front-end of a variant."""
    if variant.square:
        return SquareConvs(N_BANDS, channels=variant.square, n_layers=4)
    shapes = ([Shape(*s) for s in side] for side in (variant.vertical, variant.horizontal))
    vertical, horizontal = shapes
    return ShapedConvs(N_BANDS, vertical=vertical, horizontal=horizontal)


def build(variant: Variant, n_classes: int) -> Classifier:
    """Return the network of a variant."""
    return Classifier(front(variant), n_classes)


def train(variant: Variant, data: Data, *, seed: int = 0, progress: bool = True) -> nn.Module:
    """Train one variant on what :func:`load` returned."""
    sides, classes = data
    network, _ = train_network(
        partial(build, variant, len(classes)),
        {side: transposed(sides[side]) for side in ("train", "validation")},
        seed=seed,
        training=TRAINING,
        progress=progress,
    )
    return network


def accuracy(network: nn.Module, examples: Examples, semitones: int = 0) -> float:
    """Return the share of tracks whose instrument is found, the music being so much higher."""
    seen = transposed(examples, semitones)
    return float(np.mean(predict(network, seen.inputs) == seen.labels))


def score(network: nn.Module, variant: Variant, data: Data) -> dict[str, float]:
    """Return the scores of a trained variant; see the module."""
    found = {}
    for name, side in (("accuracy", "test"), ("accuracy_known", "validation")):
        examples = data[0][side]
        found[name] = accuracy(network, examples)
        moved = [accuracy(network, examples, k) for k in (-THIRD, THIRD)]
        found[f"{name}_transposed"] = float(np.mean(moved))
    return found


def most_frequent(data: Data) -> dict[str, float]:
    """Return the scores of always saying the most frequent class of the training side."""
    test, known = (majority_accuracy(data[0], side) for side in ("test", "validation"))
    return {
        "accuracy": test,
        "accuracy_transposed": test,
        "accuracy_known": known,
        "accuracy_known_transposed": known,
    }


def describe(variant: Variant) -> dict[str, Any]:
    """Return the settings of a variant for its record."""
    return {name: value for name, value in vars(variant).items() if value}


COMPARISON = Comparison(
    corpus=CORPUS,
    n_tracks=N_TRACKS,
    load=load,
    n_items=lambda data: len(data[0]["test"]),
    baselines={"most frequent class": most_frequent},
    variants=VARIANTS,
    train=train,
    score=score,
    describe=describe,
)

# ---- harmonic filters ---------------------------------------------------------------------------
WINDOW_SAMPLES, SAMPLE_RATE = 1024, 22050
HARMONIC_EPOCHS, PACE = 12, 0.03  # PACE: rate of learning of the three numbers of the filters


@dataclass(frozen=True)
class Harmonic:
    """Harmonic filters: where their Q starts. The bandwidth is divided by it."""

    q: float


HARMONIC_VARIANTS: Mapping[str, Harmonic] = {
    f"harmonic, Q = {q:g}": Harmonic(q) for q in (0.5, 2.0, 8.0)
}


def powers(audio: NDArray[np.float32], sample_rate: int) -> NDArray[np.float32]:
    """Return the power spectrogram, (513, frames); a sine of amplitude 1 has power 1."""
    spectrum = stft(audio, window_samples=WINDOW_SAMPLES, hop_samples=CQT.hop_samples)
    return (np.abs(spectrum) * 2 / window("hann", WINDOW_SAMPLES).sum()) ** 2


def load_powers(*, seed: int = 0, n_tracks: int = N_TRACKS, progress: bool = True) -> Data:
    """Return the power spectrograms by side, and the names of the instruments."""
    return load_examples(CORPUS, LABEL, powers, n_tracks=n_tracks, seed=seed, progress=progress)


class HarmonicTensor(nn.Module):
    """Harmonic filters, logarithm, one mean and deviation for each harmonic."""

    def __init__(self, q: float) -> None:
        super().__init__()
        self.filters = HarmonicFilters(
            sample_rate=SAMPLE_RATE,
            window_samples=WINDOW_SAMPLES,
            n_harmonics=4,
            n_bands=48,
            lowest_hz=130.813,
            q=q,
        )
        self.log = FixedLog(1e6)
        self.norm = nn.BatchNorm2d(4, affine=False)
        self.convs = SquareConvs(48, channels=12, n_layers=4, in_channels=4)
        self.out_channels = self.convs.out_channels

    def forward(self, power: Tensor) -> Tensor:
        """Map (batch, 513, frame) to (batch, channel, frame)."""
        return self.convs(self.norm(self.log(self.filters(power))))


class HarmonicClassifier(Classifier):
    """:class:`Classifier` on power spectra, (batch, 513, frame) to classes."""

    def __init__(self, q: float, n_classes: int) -> None:
        super().__init__(HarmonicTensor(q), n_classes)
        self.norm = nn.Identity()

    def bandwidth_hz(self, frequency_hz: float = 1000.0) -> float:
        """Return the bandwidth that the equation gives a filter at this frequency."""
        alpha, beta, q = self.front.filters.constants().tolist()
        return (alpha * frequency_hz + beta) / q


def train_harmonic(
    variant: Harmonic, data: Data, *, seed: int = 0, progress: bool = False
) -> HarmonicClassifier:
    """Train a variant of the harmonic filters on what :func:`load_powers` returned."""
    torch.manual_seed(seed)
    network = HarmonicClassifier(variant.q, len(data[1]))
    (x, y), (x_known, y_known) = (
        (torch.from_numpy(side.inputs), torch.from_numpy(side.labels))
        for side in (data[0]["train"], data[0]["validation"])
    )
    steps = network.front.filters.steps
    rest = [p for p in network.parameters() if p is not steps]
    optimiser = torch.optim.AdamW(
        [{"params": rest}, {"params": [steps], "lr": PACE, "weight_decay": 0.0}],
        lr=TRAINING.learning_rate,
        weight_decay=TRAINING.weight_decay,
    )

    def batches() -> Sequence[Tensor]:
        return torch.randperm(len(y)).split(TRAINING.batch_size)

    minimise(
        network,
        lambda items: nn.functional.cross_entropy(network(x[items]), y[items]),
        batches,
        optimiser,
        epochs=HARMONIC_EPOCHS,
        validation_loss=lambda: nn.functional.cross_entropy(network(x_known), y_known),
        name="harmonic filters",
        progress=progress,
    )
    return network


def score_harmonic(network: HarmonicClassifier, variant: Harmonic, data: Data) -> dict[str, float]:
    """Return the scores of a trained variant; see the module."""

    def found(side: str) -> float:
        return float(np.mean(predict(network, data[0][side].inputs) == data[0][side].labels))

    return {
        "accuracy": found("test"),
        "accuracy_known": found("validation"),
        "bandwidth_before_hz": HarmonicClassifier(variant.q, 2).bandwidth_hz(),
        "bandwidth_hz": network.bandwidth_hz(),
    }


HARMONIC_COMPARISON = Comparison(
    corpus=CORPUS,
    n_tracks=N_TRACKS,
    load=load_powers,
    n_items=lambda data: len(data[0]["test"]),
    variants=HARMONIC_VARIANTS,
    train=train_harmonic,
    score=score_harmonic,
)


def run(
    seed: int, n_tracks: int | None = None, *, done: Collection[str] = ()
) -> Iterator[Measurement]:
    """Measure all shapes, then the harmonic filters."""
    yield from COMPARISON.run(seed, n_tracks, done=done)
    yield from HARMONIC_COMPARISON.run(seed, n_tracks, done=done)
