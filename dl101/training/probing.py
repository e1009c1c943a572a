"""Probes: what a small model reads in the embeddings of a network that it may not change.

Conventions: embeddings of a side are (tracks, crops, numbers), the consecutive crops of each track;
labels are (tracks, classes) of zeros and ones. A probe learns from crops, each with the labels of
its track; what it says of a track is the mean over its crops of the probabilities, as CLMR has it
(Spijkervet and Burgoyne, ISMIR 2021). It sees arrays, not the network, so it cannot train it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from dl101.config import Count, NotNegative, Positive, Range, Settings
from dl101.errors import DataError
from dl101.evaluation import tagging
from dl101.training.loop import minimise

Sides = Mapping[str, NDArray]


@dataclass(frozen=True)
class ProbeConfig(Settings):
    """A probe, and how it learns: as CLMR has it.

    Attributes
    ----------
    hidden
        Width of the one hidden layer; None: no hidden layer, a linear probe.
    learning_rate, weight_decay
        Of Adam; 3e-4 out of domain.
    patience, max_epochs
        Epochs without a lower loss on the validation side before it stops; and at most.
    batch_size
        Crops a step.
    """

    hidden: Count | None = None
    learning_rate: Positive = 1e-3
    weight_decay: NotNegative = 1e-6
    patience: Annotated[int, Range(at_least=0, at_most=10_000)] = 5
    max_epochs: Count = 200
    batch_size: Count = 48


class Probe(nn.Module):
    """Logits (..., classes) of embeddings (..., numbers), which it standardises first.

    Mean and deviation are those of the training crops, so that a learning rate means the same for
    embeddings of any scale; a number that never changes is left at 0.
    """

    def __init__(self, crops: Tensor, n_classes: int, hidden: int | None) -> None:
        super().__init__()
        n = crops.shape[-1]
        deviation = crops.std(dim=0, correction=0)
        self.register_buffer("mean", crops.mean(dim=0))
        self.register_buffer("scale", torch.where(deviation > 1e-6, 1 / deviation, 0.0))
        layers = (
            [nn.Linear(n, n_classes)]
            if hidden is None
            else [nn.Linear(n, hidden), nn.ReLU(), nn.Linear(hidden, n_classes)]
        )
        self.layers = nn.Sequential(*layers)

    def forward(self, crops: Tensor) -> Tensor:
        """Map (..., numbers) to logits (..., classes)."""
        return self.layers((crops - self.mean) * self.scale)


def fit_probe(
    embeddings: Sides, labels: Sides, config: ProbeConfig | None = None, *, seed: int = 0
) -> Probe:
    """Train a probe on the crops of ``train``; keep the weights that are best on ``validation``.

    Parameters
    ----------
    embeddings, labels
        (tracks, crops, numbers) and (tracks, classes) by side.
    config
        How; the linear probe by default.
    seed
        Of weights and order.
    """
    config = config or ProbeConfig()
    (x, y), (x_kept, y_kept) = (
        _crops(embeddings[side], labels[side]) for side in ("train", "validation")
    )
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        probe = Probe(x, y.shape[1], config.hidden)

    def loss(rows: Tensor) -> Tensor:
        return functional.binary_cross_entropy_with_logits(probe(x[rows]), y[rows])

    minimise(
        probe,
        loss,
        lambda: torch.randperm(len(x), generator=generator).split(config.batch_size),
        torch.optim.Adam(
            probe.layers.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
        ),
        epochs=config.max_epochs,
        validation_loss=lambda: functional.binary_cross_entropy_with_logits(probe(x_kept), y_kept),
        patience=config.patience,
        name="probe",
    )
    return probe


def probabilities(probe: Probe, embeddings: NDArray) -> NDArray[np.float64]:
    """Return what a probe says of tracks, (tracks, classes): the mean over crops of the sigmoids.

    Of the sigmoids, not of decisions: crops that are unsure then count as that.
    """
    with torch.inference_mode():
        said = torch.sigmoid(probe(torch.as_tensor(embeddings, dtype=torch.float32)))
    return said.mean(dim=1).double().numpy()


def areas(truth: NDArray, said: NDArray, *, prefix: str = "") -> dict[str, float]:
    """Return ``auc`` and ``ap``, means over classes, of what is said (tracks, classes)."""
    return {
        f"{prefix}auc": tagging.macro_auc(truth, said),
        f"{prefix}ap": tagging.macro_ap(truth, said),
    }


def scores(
    embeddings: Sides,
    labels: Sides,
    config: ProbeConfig | None = None,
    *,
    prefix: str = "",
    seed: int = 0,
) -> dict[str, float]:
    """Return the :func:`areas` of a probe on the test side; see :func:`fit_probe`."""
    said = probabilities(fit_probe(embeddings, labels, config, seed=seed), embeddings["test"])
    return areas(labels["test"], said, prefix=prefix)


def both(
    embeddings: Sides, labels: Sides, config: ProbeConfig, *, prefix: str = "", seed: int = 0
) -> dict[str, float]:
    """Return the :func:`areas` of the ``linear_`` probe, and of one with a ``hidden_`` layer.

    The hidden layer has as many units as an embedding has numbers.
    """
    hidden = replace(config, hidden=embeddings["train"].shape[-1])
    return scores(
        embeddings, labels, replace(config, hidden=None), prefix=f"{prefix}linear_", seed=seed
    ) | scores(embeddings, labels, hidden, prefix=f"{prefix}hidden_", seed=seed)


def by_class(
    embeddings: Sides,
    labels: Sides,
    config: ProbeConfig,
    classes: Sequence[str],
    *,
    only: Sequence[str] | None = None,
    seed: int = 0,
) -> dict[str, float]:
    """Return the area under the curve of each class, ``tag: NAME``, of a linear probe.

    Classes that all tracks of the test side have, or none, are left out; ``only`` names those that
    are asked for.
    """
    said = probabilities(fit_probe(embeddings, labels, config, seed=seed), embeddings["test"])
    found = dict(zip(classes, tagging.by_class(labels["test"], said), strict=True))
    wanted = [name for name in (classes if only is None else only) if name in found]
    return {f"tag: {name}": float(found[name]) for name in wanted if not np.isnan(found[name])}


def by_share(
    embeddings: Sides,
    labels: Sides,
    config: ProbeConfig,
    shares: Sequence[float],
    *,
    prefix: str = "linear_",
    seed: int = 0,
) -> dict[str, float]:
    """Return the :func:`areas` of a probe that knows only a share of the training labels.

    ``linear_auc_10`` knows 10 %. The validation side, which says when to stop, keeps all labels.
    """
    found = {}
    for share in shares:
        known = some_labels(labels["train"], share, seed=seed)
        some = [{**side, "train": side["train"][known]} for side in (embeddings, labels)]
        scored = scores(*some, config, prefix=prefix, seed=seed)
        found |= {f"{name}_{100 * share:g}": value for name, value in scored.items()}
    return found


def some_labels(labels: NDArray, share: float, *, seed: int = 0) -> NDArray[np.int64]:
    """Return the numbers of the tracks whose labels are known: a share of all, at least two.

    Shares of one seed are nested: what 1 % knows, 10 % knows too.
    """
    order = np.random.default_rng([seed, 61]).permutation(len(labels))
    return np.sort(order[: max(2, round(share * len(labels)))])


def _crops(embeddings: NDArray, labels: NDArray) -> tuple[Tensor, Tensor]:
    if embeddings.ndim != 3 or len(embeddings) != len(labels):
        raise DataError(
            "probe: embeddings",
            got=f"shape {embeddings.shape} beside labels {labels.shape}",
            expected="(tracks, crops, numbers), a row of labels for each track",
            hint="a track with one embedding has one crop: embeddings[:, None]",
        )
    n_crops = embeddings.shape[1]
    x = torch.as_tensor(embeddings, dtype=torch.float32).flatten(0, 1)
    return x, torch.as_tensor(labels, dtype=torch.float32).repeat_interleave(n_crops, dim=0)
