"""One small classifier for every input, so that the input alone makes the difference.

Conventions: examples are arrays, one item per track: inputs (tracks, ...) float32 and labels
(tracks,) integers; sides are ``train``, ``validation`` and ``test``. Training watches the
validation side, stops early and keeps the best weights; the score is the test side's.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import lightning as L
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset, default_collate

from dl101.data import pair
from dl101.data.embedded import export
from dl101.data.splits import SIDES
from dl101.progress import progress as progress_bar
from dl101.training.fit import FitResult, System, TrainingConfig, fit

DEFAULT_TRAINING = TrainingConfig(
    max_epochs=30, patience=6, batch_size=32, learning_rate=3e-3, weight_decay=1e-3
)


@dataclass(frozen=True, eq=False)
class Examples:
    """The items of one side: ``inputs`` (tracks, ...) float32, ``labels`` (tracks,) integers."""

    inputs: NDArray[np.float32]
    labels: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Trained:
    """A trained classifier and what it says of the test side."""

    network: nn.Module
    accuracy: float
    predictions: NDArray[np.int64]
    fit: FitResult


def load_examples(
    corpus: str,
    label: str,
    feature: Callable[[NDArray[np.float32], int], NDArray],
    *,
    n_tracks: int | None = None,
    seed: int = 0,
    progress: bool = True,
) -> tuple[dict[str, Examples], tuple[str, ...]]:
    """Return the examples of an embedded corpus by side, and the names of the classes.

    Parameters
    ----------
    corpus, n_tracks, seed
        Which corpus; it is rendered at first use.
    label
        The field that holds the label of a track.
    feature
        Called with the samples and the rate of a track; returns its input, of the same shape for
        all tracks.
    progress
        Whether to show progress bars.
    """
    files = export.cached_corpus(corpus, n_tracks=n_tracks, seed=seed, progress=progress)
    inputs: dict[str, list] = {side: [] for side in SIDES}
    labels: dict[str, list] = {side: [] for side in SIDES}
    with pair.opened(files.audio, files.annotations) as (entries, store):
        classes = tuple(sorted({entry.first(label) for entry in entries}))
        for entry in progress_bar(entries, f"hearing {corpus}", enabled=progress):
            side = entry.first("split")
            inputs[side].append(np.asarray(feature(*store.read(entry.filepath)), np.float32))
            labels[side].append(classes.index(entry.first(label)))
    return {s: Examples(np.stack(inputs[s]), np.array(labels[s])) for s in SIDES}, classes


def standardise(sides: Mapping[str, Examples], *, axis: tuple[int, ...]) -> dict[str, Examples]:
    """Return examples whose training side has mean 0 and deviation 1 over ``axis``.

    The same shift and scale, from the training side, are applied to all sides. Axis 0 counts the
    tracks; ``(0, 3)`` of (tracks, channels, bands, frames) normalises each band by itself.
    """
    mean = sides["train"].inputs.mean(axis=axis, keepdims=True)
    deviation = sides["train"].inputs.std(axis=axis, keepdims=True) + 1e-6
    return {s: Examples((e.inputs - mean) / deviation, e.labels) for s, e in sides.items()}


class Classifier(System):
    """A network that gives one logit for each class, trained with cross-entropy."""

    def __init__(self, network: nn.Module, training: TrainingConfig) -> None:
        super().__init__(training)
        self.network = network

    def loss(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Return the mean cross-entropy of a batch."""
        return functional.cross_entropy(self.network(batch["input"]), batch["label"])


class ExamplesData(L.LightningDataModule):
    """Batches of examples; the order of training depends on the seed alone."""

    def __init__(self, sides: Mapping[str, Examples], batch_size: int, seed: int) -> None:
        super().__init__()
        self.sides, self.batch_size, self.seed = sides, batch_size, seed

    def train_dataloader(self) -> DataLoader:
        """Return the training side, shuffled anew in each epoch."""
        return self._loader("train", shuffle=True)

    def val_dataloader(self) -> DataLoader:
        """Return the validation side in order."""
        return self._loader("validation", shuffle=False)

    def _loader(self, side: str, *, shuffle: bool) -> DataLoader:
        examples = self.sides[side]
        return DataLoader(
            TensorDataset(torch.from_numpy(examples.inputs), torch.from_numpy(examples.labels)),
            batch_size=self.batch_size,
            shuffle=shuffle,
            collate_fn=_as_mapping,
            generator=torch.Generator().manual_seed(self.seed),
        )


def _as_mapping(items: list[tuple[Tensor, Tensor]]) -> dict[str, Tensor]:
    inputs, labels = default_collate(items)
    return {"input": inputs, "label": labels}


def train_classifier(
    build: Callable[[], nn.Module],
    sides: Mapping[str, Examples],
    *,
    seed: int = 0,
    training: TrainingConfig = DEFAULT_TRAINING,
    progress: bool = True,
) -> Trained:
    """Build a network, train it, and score it on the test side.

    Parameters
    ----------
    build
        Makes the network: (batch, ...) to (batch, classes) logits. Called once the random numbers
        are seeded, so that the seed fixes the initial weights.
    sides
        Examples of the three sides.
    seed
        Of the initial weights and of the order of training.
    training
        How to train.
    progress
        Whether to show a progress bar.
    """
    L.seed_everything(seed, workers=True, verbose=False)
    system = Classifier(build(), training)
    data = ExamplesData(sides, training.batch_size, seed)
    with tempfile.TemporaryDirectory(prefix="dl101-") as folder:
        result = fit(system, data, folder, seed=seed, progress=progress)
    predictions = predict(system.network, sides["test"].inputs)
    accuracy = float(np.mean(predictions == sides["test"].labels))
    return Trained(system.network, accuracy, predictions, result)


def predict(network: nn.Module, inputs: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return the most likely class of each item, in batches so that memory stays small."""
    device = next(network.parameters()).device
    network.eval()
    with torch.inference_mode():
        logits = [network(part.to(device)) for part in torch.from_numpy(inputs).split(64)]
    return torch.cat(logits).argmax(dim=1).cpu().numpy()
