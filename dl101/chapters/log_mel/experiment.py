"""Which instrument plays in front? The same small network, fed with mel spectra made in many ways.

Conventions: an example is the mel power spectrogram of a track of the corpus ``instruments``,
(1, bands, frames), before any logarithm. What is compared stands in the first layers of the
network: the compression, for MFCC the cosine transform, and the normalisation. After them comes
one convolutional network that sees all bands at once and moves along time; it has no normalisation
of its own, which would hide that of the input. The training side alone sets all means and
deviations: batches of it while training, their running average later.

``accuracy`` is the share of test tracks whose instrument was found; ``accuracy_softer`` the same
when the test tracks, and only they, are 20 dB softer. ``accuracy_known`` is that of the validation
side: other music by instruments that were heard in training (it also chose the epoch, so it
flatters all variants a little). ``strength`` is the C that a learned logarithm has in the end.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dl101.nn.compression import FixedLog, LearnedLog
from dl101.signal import mel
from dl101.signal.stft import stft
from dl101.training.comparison import Comparison
from dl101.training.examples import (
    Examples,
    load_examples,
    majority_accuracy,
    predict,
    train_network,
)
from dl101.training.fit import TrainingConfig
from dl101.units import db_to_amplitude

CORPUS, LABEL, N_TRACKS = "instruments", "instrument", 432
N_BANDS, WINDOW_SAMPLES, HOP_SAMPLES = 64, 2048, 1024
N_CHANNELS = 48
SOFTER_DB = -20.0
TRAINING = TrainingConfig(
    max_epochs=20, patience=20, batch_size=32, learning_rate=3e-3, weight_decay=1e-3
)


@dataclass(frozen=True)
class Variant:
    """One way from mel powers to what the convolutions see.

    Attributes
    ----------
    strength
        C of log(1 + C x), 0 for no logarithm; of a learned logarithm, where it starts.
    pace
        Of a :class:`LearnedLog`; 0 for a fixed logarithm.
    coefficients
        First and end of the range of MFCC that is kept; None for no cosine transform.
    normalise
        ``"corpus"``: one mean and deviation; ``"band"``: one for each band (or coefficient);
        ``"nothing"``.
    """

    strength: float
    pace: float = 0.0
    coefficients: tuple[int, int] | None = None
    normalise: str = "corpus"


THESIS = LearnedLog()  # alpha = exp(7), beta = softplus(1)
VARIANTS: Mapping[str, Variant] = {
    "no logarithm": Variant(0),
    "C = 1": Variant(1),
    "C = 100": Variant(100),
    "C = 10^4": Variant(1e4),
    "C = 10^6": Variant(1e6),
    "no logarithm, not normalised": Variant(0, normalise="nothing"),
    "C = 10^4, not normalised": Variant(1e4, normalise="nothing"),
    "no logarithm, per band": Variant(0, normalise="band"),
    "C = 10^4, per band": Variant(1e4, normalise="band"),
    "learned": Variant(THESIS.strength.item(), pace=1.0),
    "learned from C = 1, pace 10": Variant(1, pace=10.0),
    "MFCC 0-19": Variant(1e4, coefficients=(0, 20), normalise="band"),
    "MFCC 1-19": Variant(1e4, coefficients=(1, 20), normalise="band"),
    "MFCC 1-19, C = 10^6": Variant(1e6, coefficients=(1, 20), normalise="band"),
}


Data = tuple[Mapping[str, Examples], tuple[str, ...]]  # by side, and the names of the classes


def mel_power(audio: NDArray[np.float32], sample_rate: int) -> NDArray[np.float32]:
    """Return the mel power spectrogram of a track, (1, bands, frames), not compressed."""
    spectrum = stft(audio, window_samples=WINDOW_SAMPLES, hop_samples=HOP_SAMPLES)
    filters = mel.mel_filters(sample_rate, n_bands=N_BANDS, window_samples=WINDOW_SAMPLES)
    return (filters @ np.abs(spectrum) ** 2).astype(np.float32)[np.newaxis]


def load(*, seed: int = 0, n_tracks: int = N_TRACKS, progress: bool = True) -> Data:
    """Return the examples by side, and the names of the instruments."""
    return load_examples(CORPUS, LABEL, mel_power, n_tracks=n_tracks, seed=seed, progress=progress)


class Cepstrum(nn.Module):
    """A range of cosine coefficients along bands, (batch, 1, B, T) to (batch, 1, n, T)."""

    def __init__(self, n_bands: int, first: int, end: int) -> None:
        super().__init__()
        rows = mel.mfcc(np.eye(n_bands), end)[first:].astype(np.float32)
        self.register_buffer("rows", torch.from_numpy(rows), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return the coefficients of every frame."""
        return self.rows @ x


def front(variant: Variant, n_bands: int = N_BANDS) -> nn.Sequential:
    """Return the layers from mel powers (batch, 1, band, T) to (batch, band, T)."""
    if variant.pace:
        start = {} if variant.strength == THESIS.strength.item() else {"alpha": 1.0, "beta": 1.0}
        layers: list[nn.Module] = [LearnedLog(**start, pace=variant.pace)]
    else:
        layers = [FixedLog(variant.strength)]
    if variant.coefficients:
        layers.append(Cepstrum(n_bands, *variant.coefficients))
    if variant.normalise == "corpus":
        layers.append(nn.BatchNorm2d(1, affine=False))
    layers.append(nn.Flatten(1, 2))  # bands become channels
    if variant.normalise == "band":
        layers.append(nn.BatchNorm1d(n_inputs(variant, n_bands), affine=False))
    return nn.Sequential(*layers)


def n_inputs(variant: Variant, n_bands: int = N_BANDS) -> int:
    """Return how many numbers of each frame the convolutions see."""
    return n_bands if variant.coefficients is None else int(np.diff(variant.coefficients)[0])


def build(variant: Variant, n_classes: int) -> nn.Module:
    """Return the network, (batch, 1, band, T) to (batch, classes)."""
    return nn.Sequential(
        front(variant),
        nn.Conv1d(n_inputs(variant), N_CHANNELS, 3),
        nn.ReLU(),
        nn.Conv1d(N_CHANNELS, N_CHANNELS, 3),
        nn.ReLU(),
        nn.AdaptiveAvgPool1d(1),
        nn.Flatten(),
        nn.Dropout(0.2),
        nn.Linear(N_CHANNELS, n_classes),
    )


def train(variant: Variant, data: Data, *, seed: int = 0, progress: bool = True) -> nn.Module:
    """Train one variant on what :func:`load` returned."""
    sides, classes = data
    network, _ = train_network(
        partial(build, variant, len(classes)),
        sides,
        seed=seed,
        training=TRAINING,
        progress=progress,
    )
    return network


def score(network: nn.Module, variant: Variant, data: Data) -> dict[str, float]:
    """Return the scores of a trained variant; see the module."""

    def accuracy(side: str, gain_db: float = 0.0) -> float:
        inputs = data[0][side].inputs * np.float32(db_to_amplitude(gain_db)) ** 2  # of powers
        return float(np.mean(predict(network, inputs) == data[0][side].labels))

    scores = {
        "accuracy": accuracy("test"),
        "accuracy_softer": accuracy("test", SOFTER_DB),
        "accuracy_known": accuracy("validation"),
    }
    if variant.pace:
        scores["strength"] = network[0][0].strength.item()
    return scores


def most_frequent(data: Data) -> dict[str, float]:
    """Return the scores of always saying the most frequent class of the training side."""
    accuracy = majority_accuracy(data[0])
    known = majority_accuracy(data[0], "validation")
    return {"accuracy": accuracy, "accuracy_softer": accuracy, "accuracy_known": known}


COMPARISON = Comparison(
    corpus=CORPUS,
    n_tracks=N_TRACKS,
    load=load,
    n_items=lambda data: len(data[0]["test"]),
    baselines={"most frequent class": most_frequent},
    variants=VARIANTS,
    train=train,
    score=score,
)
run = COMPARISON.run
