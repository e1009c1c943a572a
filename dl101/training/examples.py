"""Examples in memory: from a corpus to batches, and a network trained on them.

Conventions: examples are arrays, mostly one item per track: inputs (items, ...) float32 and labels
(items, ...); sides are ``train``, ``validation`` and ``test``. Training watches the validation
side, stops early and keeps the best weights.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import lightning as L
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    RandomSampler,
    Sampler,
    SequentialSampler,
)

from dl101.training.comparison import load_sides
from dl101.training.fit import FitResult, System, TrainingConfig, fit

Loss = Callable[[Tensor, Tensor], Tensor]
Change = Callable[[NDArray, NDArray], tuple[NDArray, NDArray]]  # of inputs and labels


@dataclass(frozen=True, eq=False)
class Examples:
    """The items of one side: ``inputs`` (items, ...) float32, and the answers to them.

    ``labels`` are (items,) integers where the answer is a class, else (items, ...) float32.
    """

    inputs: NDArray[np.float32]
    labels: NDArray

    def __len__(self) -> int:
        return len(self.labels)


def load_examples(
    corpus: str,
    label: str,
    feature: Callable[[NDArray[np.float32], int], NDArray],
    *,
    n_tracks: int,
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
    sides = load_sides(
        corpus,
        lambda entry, read: [(np.asarray(feature(*read()), np.float32), entry.first(label))],
        n_tracks=n_tracks,
        seed=seed,
        progress=progress,
    )
    classes = tuple(sorted({name for items in sides.values() for _, name in items}))
    found = {
        side: Examples(
            np.stack([values for values, _ in items]),
            np.array([classes.index(name) for _, name in items]),
        )
        for side, items in sides.items()
    }
    return found, classes


def standardise(sides: Mapping[str, Examples], *, axis: tuple[int, ...]) -> dict[str, Examples]:
    """Return examples whose training side has mean 0 and deviation 1 over ``axis``.

    The same shift and scale, from the training side, are applied to all sides. Axis 0 counts the
    items; ``(0, 3)`` of (tracks, channels, bands, frames) normalises each band by itself.
    """
    mean = sides["train"].inputs.mean(axis=axis, keepdims=True)
    deviation = sides["train"].inputs.std(axis=axis, keepdims=True) + 1e-6
    return {s: Examples((e.inputs - mean) / deviation, e.labels) for s, e in sides.items()}


def majority(
    labels: NDArray,
    answers: Iterable[Any] | None = None,
    is_right: Callable[[Any, NDArray], NDArray[np.bool_]] = np.equal,
) -> Any:
    """Return the one answer that would be right most often: the most frequent label.

    Parameters
    ----------
    labels
        Of the training side, ``(items,)``.
    answers
        What can be said; by default any of the labels. Of equally good ones the first is taken.
    is_right
        Called with an answer and the labels: for which of these it counts as right.
    """
    answers = np.unique(labels) if answers is None else answers
    return max(answers, key=lambda answer: np.count_nonzero(is_right(answer, labels)))


def majority_accuracy(sides: Mapping[str, Examples], side: str = "test") -> float:
    """Return how often the most frequent label of the training side is right on a side."""
    return float(np.mean(sides[side].labels == majority(sides["train"].labels)))


class Batches(Dataset):
    """Examples as a data set whose index is a list of numbers: it gives a whole batch."""

    def __init__(self, examples: Examples, change: Change | None = None) -> None:
        self.examples, self.change = examples, change

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, numbers: list[int]) -> dict[str, Tensor]:
        inputs, labels = self.examples.inputs[numbers], self.examples.labels[numbers]
        if self.change is not None:
            inputs, labels = self.change(inputs, labels)
        return {"input": torch.from_numpy(inputs), "label": torch.from_numpy(labels)}


class ExamplesData(L.LightningDataModule):
    """Batches of examples in memory; the order of training depends on the seed alone.

    Parameters
    ----------
    sides
        Examples of ``train`` and ``validation``.
    batch_size, seed
        Items per step, and the seed of their order.
    change
        Applied to every batch of the training side, such as a random transposition; a last batch
        that is smaller than the others is then left out.
    """

    def __init__(
        self,
        sides: Mapping[str, Examples],
        batch_size: int,
        seed: int,
        *,
        change: Change | None = None,
    ) -> None:
        super().__init__()
        self.train = Batches(sides["train"], change)
        self.validation = Batches(sides["validation"])
        self.batch_size, self.seed = batch_size, seed

    def train_dataloader(self) -> DataLoader:
        """Return the training side, shuffled anew in each epoch."""
        order = torch.Generator().manual_seed(self.seed)
        return self._loader(self.train, RandomSampler(self.train, generator=order), order)

    def val_dataloader(self) -> DataLoader:
        """Return the validation side in order."""
        order = torch.Generator().manual_seed(self.seed)
        return self._loader(self.validation, SequentialSampler(self.validation), order)

    def _loader(self, examples: Batches, order: Sampler, generator: torch.Generator) -> DataLoader:
        batches = BatchSampler(order, self.batch_size, drop_last=examples.change is not None)
        # a loader draws one number an epoch, from its generator or from that of the dropout: the
        # recorded results hold for this choice
        generator = generator if self.train.change is None else None
        return DataLoader(examples, sampler=batches, batch_size=None, generator=generator)


class Classifier(System):
    """A network trained with cross-entropy, or with another loss of its answers and the labels."""

    def __init__(
        self, network: nn.Module, training: TrainingConfig, loss: Loss = functional.cross_entropy
    ) -> None:
        super().__init__(training)
        self.network, self.loss_function = network, loss

    def loss(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Return the mean loss of a batch."""
        return self.loss_function(self.network(batch["input"]), batch["label"])


def train_network(
    build: Callable[[], nn.Module],
    sides: Mapping[str, Examples],
    *,
    training: TrainingConfig,
    seed: int = 0,
    loss: Loss = functional.cross_entropy,
    change: Change | None = None,
    progress: bool = True,
) -> tuple[nn.Module, FitResult]:
    """Build a network and train it on examples in memory.

    Parameters
    ----------
    build
        Makes the network. Called once the random numbers are seeded, so that the seed fixes the
        initial weights.
    sides
        Examples of ``train`` and ``validation``.
    training
        How to train.
    seed
        Of the initial weights and of the order of training.
    loss
        Of the network's answers to a batch, and its labels.
    change
        Applied to every batch of the training side; see :class:`ExamplesData`.
    progress
        Whether to show a progress bar.
    """
    L.seed_everything(seed, workers=True, verbose=False)
    system = Classifier(build(), training, loss)
    data = ExamplesData(sides, training.batch_size, seed, change=change)
    with tempfile.TemporaryDirectory(prefix="dl101-") as folder:
        result = fit(system, data, folder, seed=seed, progress=progress)
    return system.network, result


def predict(network: nn.Module, inputs: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return the most likely class of each item."""
    return logits_of(network, inputs).argmax(axis=1)


def logits_of(
    network: nn.Module, inputs: NDArray[np.float32], *, batch_size: int = 64
) -> NDArray[np.float32]:
    """Return what a network answers, (items, ...), in batches so that memory stays small."""
    device = next(network.parameters()).device
    network.eval()
    with torch.inference_mode():
        parts = [network(part.to(device)) for part in torch.from_numpy(inputs).split(batch_size)]
    return torch.cat(parts).cpu().numpy()
