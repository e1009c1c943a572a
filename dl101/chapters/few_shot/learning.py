"""Learning from a few examples: by a softmax, by prototypes, or not at all.

Conventions: examples are a tensor (items, ...) with a class number for each; every class has as
many. A *cut* is a part of a spectrogram, as long as the networks read; of vectors all is taken.
What a learner says of items are probabilities (items, classes), the mean over their cuts.

.. [1] J. Snell, K. Swersky, R. Zemel, "Prototypical networks for few-shot learning", NeurIPS 2017.
.. [2] J. Pons, J. Serrà, X. Serra, "Training neural audio classifiers with few data", ICASSP 2019.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn
from torch.nn import functional

from dl101.training.loop import minimise

LEARNING_RATE, PENALTY, CLIP = 0.1, 0.001, 5.0  # of the thesis
N_SUPPORT, N_QUERY = 3, 2  # of each class in an episode; the thesis has five of both
BATCH = 48


def draw_examples(labels: ArrayLike, n: int, *, seed: int, draw: int = 0) -> NDArray[np.int64]:
    """Return the numbers of ``n`` items of each class, (classes * n,), class by class.

    Draws of one seed are nested: the five examples of a class are among its ten.
    """
    labels = np.asarray(labels)
    found = []
    for name in np.unique(labels):
        rows = np.flatnonzero(labels == name)
        found.append(np.random.default_rng([seed, draw, int(name), 6]).permutation(rows)[:n])
    return np.concatenate(found)


# ---- distances ----------------------------------------------------------------------------------


def squared_distances(x: Tensor, prototypes: Tensor) -> Tensor:
    """Return the squared Euclidean distances, (items, classes), of rows to prototypes [1]_."""
    return (x[:, None] - prototypes[None]).square().sum(dim=-1)


def cosine_distances(x: Tensor, prototypes: Tensor) -> Tensor:
    """Return 1 minus the cosine of each row and each prototype, (items, classes), from 0 to 2."""
    return 1 - functional.normalize(x, dim=-1) @ functional.normalize(prototypes, dim=-1).T


DISTANCES = {"Euclidean": squared_distances, "cosine": cosine_distances}


def nearest(x: NDArray, examples: NDArray, labels: NDArray) -> NDArray[np.int64]:
    """Return the class of the example with the largest cosine, for each row of ``x``."""
    unit = [a / np.maximum(np.linalg.norm(a, axis=1, keepdims=True), 1e-12) for a in (x, examples)]
    return labels[(unit[0] @ unit[1].T).argmax(axis=1)]


# ---- learners -----------------------------------------------------------------------------------


class Learner:
    """A network, a few examples, and how the one learns from the others.

    Parameters
    ----------
    network
        From cuts to logits, or to embeddings.
    examples, labels
        (items, ...) and (items,), class by class, every class with as many.
    cut_frames
        Length of a cut; None: items have no frames, or all of them are read.
    seed
        Of batches and cuts.
    """

    def __init__(
        self,
        network: nn.Module,
        examples: Tensor,
        labels: Tensor,
        *,
        cut_frames: int | None = None,
        seed: int = 0,
    ) -> None:
        self.network, self.examples, self.labels = network, examples, labels
        self.cut_frames = cut_frames
        self.n_classes = int(labels.max()) + 1
        self.generator = torch.Generator().manual_seed(seed)

    def random_cuts(self, rows: Tensor) -> Tensor:
        """Return a cut of each of these examples, from anywhere in it."""
        some = self.examples[rows]
        if self.cut_frames is None:
            return some
        free = some.shape[-1] - self.cut_frames + 1
        starts = torch.randint(free, (len(rows),), generator=self.generator).tolist()
        cuts = [x[..., s : s + self.cut_frames] for x, s in zip(some, starts, strict=True)]
        return torch.stack(cuts).contiguous(memory_format=torch.channels_last)

    def cuts(self, items: Tensor) -> Tensor:
        """Return the first and the last cut of each item, (2, items, ...); one if that is all."""
        if self.cut_frames is None or items.shape[-1] == self.cut_frames:
            return items[None]
        return torch.stack([items[..., : self.cut_frames], items[..., -self.cut_frames :]])

    def outputs(self, items: Tensor) -> Tensor:
        """Return what the network makes of the cuts of items, (cuts, items, numbers)."""
        self.network.eval()
        with torch.inference_mode():
            return torch.stack(
                [torch.cat([self.network(x) for x in c.split(128)]) for c in self.cuts(items)]
            )

    def loss(self) -> Tensor:
        """Return the loss of a new batch."""
        raise NotImplementedError

    def probabilities(self, items: Tensor) -> Tensor:
        """Return what it says of items, (items, classes)."""
        raise NotImplementedError


class Softmax(Learner):
    """The usual way: cross-entropy between the softmax of logits and the class."""

    def loss(self) -> Tensor:
        """Return the cross-entropy of some examples."""
        order = torch.randperm(len(self.labels), generator=self.generator)[:BATCH]
        return functional.cross_entropy(self.network(self.random_cuts(order)), self.labels[order])

    def probabilities(self, items: Tensor) -> Tensor:
        """Return the mean over the cuts of the softmax."""
        return self.outputs(items).softmax(dim=-1).mean(dim=0)


class Prototypes(Learner):
    """Classes are points: the means of what the network makes of their examples [1]_, [2]_."""

    def __init__(self, *args: object, distance: str = "Euclidean", **options: object) -> None:
        super().__init__(*args, **options)
        self.distance = DISTANCES[distance]

    def episode(self) -> tuple[Tensor, Tensor]:
        """Return the numbers of examples for support and query, (classes, items of each).

        No example is on both sides unless a class has fewer than an episode needs.
        """
        n = len(self.labels) // self.n_classes
        wanted = N_SUPPORT + N_QUERY
        rows = [
            torch.cat([torch.randperm(n, generator=self.generator) for _ in range(-(-wanted // n))])
            for _ in range(self.n_classes)
        ]
        first = torch.arange(self.n_classes)[:, None] * n
        chosen = torch.stack(rows)[:, :wanted] + first
        return chosen[:, :N_SUPPORT], chosen[:, N_SUPPORT:]

    def loss(self) -> Tensor:
        """Return the cross-entropy of the queries of an episode, against its prototypes."""
        support, query = self.episode()
        together = torch.cat([support.flatten(), query.flatten()])
        embedded = self.network(self.random_cuts(together))
        prototypes = embedded[: support.numel()].unflatten(0, support.shape).mean(dim=1)
        logits = -self.distance(embedded[support.numel() :], prototypes)
        return functional.cross_entropy(logits, self.labels[query.flatten()])

    def prototypes(self) -> Tensor:
        """Return the prototypes of all examples, (classes, numbers)."""
        embedded = self.outputs(self.examples).mean(dim=0)
        return embedded.unflatten(0, (self.n_classes, -1)).mean(dim=1)

    def probabilities(self, items: Tensor) -> Tensor:
        """Return the mean over the cuts of a softmax of negative distances."""
        prototypes = self.prototypes()
        said = [(-self.distance(x, prototypes)).softmax(dim=-1) for x in self.outputs(items)]
        return torch.stack(said).mean(dim=0)


@dataclass(frozen=True)
class Moment:
    """What a learner was worth after a number of steps: the loss of training, and accuracies."""

    step: int
    loss: float
    accuracy: dict[str, float]


def learn(
    learner: Learner,
    n_steps: int,
    *,
    looks: Sequence[int] = (),
    look: Callable[[], dict[str, float]] | None = None,
) -> list[Moment]:
    """Train for a fixed number of steps, as one must who has no validation set.

    Parameters
    ----------
    learner
        What is trained, in place.
    n_steps
        Steps of plain gradient descent, with a penalty on the weights and clipped gradients.
    looks
        After how many steps it is looked at.
    look
        Returns accuracies by name.
    """
    parameters = list(learner.network.parameters())
    if not parameters or not n_steps:
        return []
    # the penalty is PENALTY * |w|^2, the slope of which is twice that
    optimiser = torch.optim.SGD(parameters, lr=LEARNING_RATE, weight_decay=2 * PENALTY)
    losses: list[float] = []

    def clip(*_: object) -> None:
        nn.utils.clip_grad_norm_(parameters, CLIP)

    optimiser.register_step_pre_hook(clip)

    def loss(_: int) -> Tensor:
        found = learner.loss()
        losses.append(float(found.detach()))
        return found

    moments, before = [], 0
    for step in (*looks, *[n_steps][: n_steps not in looks]):
        steps = range(before, step)
        minimise(learner.network, loss, lambda steps=steps: steps, optimiser, epochs=1)
        if look is not None:
            moments.append(Moment(step, float(np.mean(losses[before:])), look()))
        before = step
    return moments
