"""Random networks as features, on three corpora: scores, differences, leaks, and the order.

Conventions. ``CORPUS: ARCHITECTURE`` holds the accuracy on the test side (share of items) of an SVM
and an ELM on the ``short`` and the ``long`` features of an untrained network (``published``: as
many as in the thesis, where that is cheap), and of the short network ``trained``; ``..._classes``
is the mean over classes; ``short_svm_peeking`` chose the settings of the SVM on the test side.
``CORPUS: MFCC`` and ``CORPUS: chance`` (the most frequent class of training) stand beside.
``CORPUS: differences`` compares item by item, averaged over what ``CLAIMS`` lists: the mean, and as
``... (error)`` its standard error over the items. ``CORPUS: order``: rank correlation over the nine
architectures of untrained with trained accuracies. ``norm: ...`` is an untrained VGG with batch
normalisation on ``genres``, whose statistics come from other items; ``CORPUS: scaled by ...`` are
features whose mean and deviation come from the training side, from all sides, or from each side
itself. ``more`` is the difference to the right way, with its standard error.

The seed draws the corpus, the weights, the ELM, the order of training.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import product

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dl101.chapters.untrained import classifiers, networks, sounds, training
from dl101.chapters.untrained.networks import ARCHITECTURES
from dl101.chapters.untrained.sounds import TASKS, Sounds
from dl101.evaluation.attribution import rank_correlation
from dl101.training.comparison import Comparison, Measurement
from dl101.training.examples import majority

NAMES = tuple(ARCHITECTURES)
CHEAP = ("7x96", "temporal")  # whose published size can be paid
MFCC = "MFCC"
CELLS = ("short_svm", "short_elm", "long_svm", "long_elm")
Answers = Mapping[str, NDArray[np.int64]]  # by cell: what is said of the test side


@dataclass(eq=False)
class Data:
    """A corpus, and whatever has been found out about it: each answer is computed once."""

    sounds: Sounds
    seed: int
    features: dict[tuple[str, str], dict[str, Tensor]] = field(default_factory=dict)
    answers: dict[str, Answers] = field(default_factory=dict)
    trained: dict[str, nn.Module] = field(default_factory=dict)
    kept: dict[str, NDArray] = field(default_factory=dict)

    def vectors(self, name: str, size: str) -> dict[str, Tensor]:
        """Return the features of an untrained network by side."""
        if (name, size) not in self.features:
            lengths = self.sounds.task.lengths
            network = networks.build(name, size, seed=self.seed, lengths=lengths)
            inputs = self.sounds.inputs(ARCHITECTURES[name].input)
            self.features[name, size] = {
                side: networks.features(network, x) for side, x in inputs.items()
            }
        return self.features[name, size]

    def said(self, name: str) -> Answers:
        """Return all answers about the test side that come from an architecture, or from MFCC."""
        if name not in self.answers:
            found: dict[str, NDArray] = {}
            if name == MFCC:
                found = classify(self.sounds.mfcc, self.sounds.y, seed=self.seed)
            else:
                for size in networks.SIZES if name in CHEAP else networks.SIZES[:2]:
                    x = {side: each.numpy() for side, each in self.vectors(name, size).items()}
                    cells = classify(x, self.sounds.y, seed=self.seed)
                    found |= {f"{size}_{kind}": each for kind, each in cells.items()}
                network = self.network(name)
                inputs = self.sounds.inputs(ARCHITECTURES[name].input)["test"]
                found["trained"] = training.said(network, inputs).numpy()
            self.answers[name] = found
        return self.answers[name]

    def network(self, name: str) -> nn.Module:
        """Return the short network, trained."""
        if name not in self.trained:
            before = self.vectors(name, "short")
            self.trained[name] = training.train(name, self.sounds, before, seed=self.seed)
        return self.trained[name]

    def fair(self, name: str, compute: Callable[[], NDArray]) -> NDArray[np.float64]:
        """Return what leaks are compared with, computed once."""
        if name not in self.kept:
            self.kept[name] = compute()
        return self.kept[name]

    def right(self, name: str, cell: str) -> NDArray[np.float64]:
        """Return for which items of the test side an answer is right, (item,) zeros and ones."""
        return (self.said(name)[cell] == self.sounds.y["test"]).astype(float)


def classify(x: classifiers.Sides, y: classifiers.Sides, *, seed: int) -> dict[str, NDArray]:
    """Return what SVM and ELM say of the test side, and an SVM chosen there (``svm_peeking``)."""
    x = classifiers.standardised(x)
    vectors = list(classifiers.support_vectors(x["train"], y["train"]))
    machines = classifiers.machines(x["train"], y["train"], seed=seed)
    peeking = {"validation": x["test"]}, {"validation": y["test"]}
    return {
        "svm": classifiers.chosen(vectors, x, y)[1].predict(x["test"]),
        "elm": classifiers.chosen(machines, x, y)[1].predict(x["test"]),
        "svm_peeking": classifiers.chosen(vectors, *peeking)[1].predict(x["test"]),
    }


def load(corpus: str, *, seed: int = 0, n_tracks: int | None = None, progress: bool = True) -> Data:
    """Return a corpus about which nothing is known yet."""
    return Data(sounds.load(corpus, n_tracks=n_tracks, seed=seed, progress=progress), seed)


# ---- scores ------------------------------------------------------------------------------------


def by_class(right: NDArray, y: NDArray) -> float:
    """Return the mean over classes of the share of right answers."""
    return float(np.mean([right[y == c].mean() for c in np.unique(y)]))


def scores(name: str, data: Data) -> dict[str, float]:
    """Return the accuracies of all that stands on an architecture or on MFCC."""
    y, found = data.sounds.y["test"], {}
    for cell in data.said(name):
        right = data.right(name, cell)
        found[cell] = float(right.mean())
        if not cell.endswith("peeking"):
            found[f"{cell}_classes"] = by_class(right, y)
    return found


def chance(data: Data) -> dict[str, float]:
    """Return the accuracy of always saying the most frequent class, and what guessing gives."""
    y = data.sounds.y["test"]
    right = (y == majority(data.sounds.y["train"])).astype(float)
    return {
        "accuracy": float(right.mean()),
        "classes": by_class(right, y),
        "guessing": 1 / len(data.sounds.classes),
    }


# ---- differences -------------------------------------------------------------------------------

Side = tuple[str, str]  # an architecture (or MFCC), and a cell


@dataclass(frozen=True)
class Claim:
    """What is said to be better than what: pairs of (architecture, cell), averaged by item."""

    pairs: tuple[tuple[Side, Side], ...]

    def differences(self, data: Data) -> NDArray[np.float64]:
        """Return for each item of the test side the mean over pairs of better minus worse."""
        return np.mean([data.right(*one) - data.right(*other) for one, other in self.pairs], axis=0)


def _versus(one: str, other: str, cells: Sequence[str] = CELLS) -> Claim:
    return Claim(tuple(((one, cell), (other, cell)) for cell in cells))


def _cells(one: Sequence[str], other: Sequence[str], names: Sequence[str] = NAMES) -> Claim:
    return Claim(
        tuple(
            ((name, a), (name, b)) for name, (a, b) in product(names, zip(one, other, strict=True))
        )
    )


CLAIMS: Mapping[str, Claim] = {
    "sample-level over frame-level, many": _versus("sample-level", "frame-level, many"),
    "frame-level, many over frame-level": _versus("frame-level, many", "frame-level"),
    "7x86 over 7x96": _versus("7x86", "7x96"),
    "temporal over timbral+temporal": _versus("temporal", "timbral+temporal"),
    "VGG over timbral+temporal": _versus("VGG", "timbral+temporal"),
    **{
        f"{name} over MFCC": Claim(
            tuple(((name, f"long_{kind}"), (MFCC, kind)) for kind in ("svm", "elm"))
        )
        for name in NAMES
    },
    "SVM over ELM": _cells(("short_svm", "long_svm"), ("short_elm", "long_elm")),
    "long over short": _cells(("long_svm", "long_elm"), ("short_svm", "short_elm")),
    "published over long": _cells(
        ("published_svm", "published_elm"), ("long_svm", "long_elm"), CHEAP
    ),
    "trained over untrained": _cells(("trained",), ("short_svm",)),
    "peeking over not": _cells(("short_svm_peeking",), ("short_svm",)),
}


def mean_and_error(values: NDArray) -> tuple[float, float]:
    """Return a mean and its standard error."""
    return float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values)))


def compare(data: Data) -> dict[str, float]:
    """Return the differences of ``CLAIMS``, with their standard errors over items."""
    found = {}
    for name, claim in CLAIMS.items():
        found[name], found[f"{name} (error)"] = mean_and_error(claim.differences(data))
    return found


def order(data: Data) -> dict[str, float]:
    """Return rank correlations over the architectures with the trained accuracies."""
    trained = [data.right(name, "trained").mean() for name in NAMES]
    cells = {cell: [data.right(name, cell).mean() for name in NAMES] for cell in CELLS}
    cells["all four"] = np.mean(list(cells.values()), axis=0)
    return {cell: rank_correlation(each, trained) for cell, each in cells.items()}


# ---- leaks -------------------------------------------------------------------------------------

NORM_CORPUS = "genres"
NORMS: Mapping[str, int | str] = {  # items in a batch, or where statistics come from
    "none": "none",
    "training side": "train",
    "batches of 1": 1,
    "batches of 40": 40,
    "batches of one class": "class",
    "batches of one class, all sides": "class, all sides",
}
SCALES = ("train", "all", "each")


@dataclass(frozen=True)
class Norm:
    """Where the statistics of batch normalisation come from; see ``NORMS``."""

    statistics: int | str


def normed_features(norm: int | str, data: Data) -> dict[str, NDArray]:
    """Return features of an untrained VGG by side, normalised in one of the ways of ``NORMS``."""
    network = networks.draw(
        networks.VGG(ARCHITECTURES["VGG"].filters[0], norm=norm != "none"), data.seed
    )
    inputs, rng = data.sounds.spectrogram, np.random.default_rng([data.seed, 5])
    if norm == "train":  # the mean of statistics of batches of the training side, then fixed
        network.train()
        for numbers in np.array_split(rng.permutation(len(inputs["train"])), 8):
            networks.features(network, inputs["train"][numbers], batch_size=len(numbers))
        network.eval()
    network.train(norm not in ("none", "train"))  # statistics of the batch
    sides = np.repeat(list(inputs), [len(x) for x in inputs.values()])
    x = torch.cat(list(inputs.values()))
    y = np.concatenate([data.sounds.y[side] for side in inputs])
    found: dict[int, NDArray] = {}
    for part in [sides == side for side in inputs] if norm != "class, all sides" else [sides != ""]:
        if isinstance(norm, str) and norm.startswith("class"):
            batches = [np.flatnonzero(part & (y == c)) for c in np.unique(y[part])]
        else:
            shuffled = rng.permutation(np.flatnonzero(part))
            n = norm if isinstance(norm, int) else 1
            batches = [shuffled[i : i + n] for i in range(0, len(shuffled), n)]
        for numbers in batches:
            values = networks.features(network, x[numbers], batch_size=len(numbers)).numpy()
            found |= dict(zip(numbers.tolist(), values, strict=True))
    return {side: np.stack([found[i] for i in np.flatnonzero(sides == side)]) for side in inputs}


def _svm_right(x: classifiers.Sides, data: Data, *, by: str = "train") -> NDArray[np.float64]:
    y = data.sounds.y
    x = classifiers.standardised(x, by=by)
    fitted = classifiers.support_vectors(x["train"], y["train"])
    said = classifiers.chosen(fitted, x, y)[1].predict(x["test"])
    return (said == y["test"]).astype(float)


def norm_scores(right: NDArray, _: Norm, data: Data) -> dict[str, float]:
    """Return accuracy, and by how much it is more than with statistics of the training side."""
    fair = data.fair("norm", lambda: _svm_right(normed_features("train", data), data))
    more, error = mean_and_error(right - fair)
    return {"accuracy": float(right.mean()), "more": more, "more (error)": error}


def scale_scores(by: str, data: Data) -> dict[str, float]:
    """Return accuracies with features scaled by the statistics of ``SCALES``."""
    found: dict[str, float] = {}
    vectors = {
        name: {side: each.numpy() for side, each in data.vectors(name, "short").items()}
        for name in ("timbral",)
    }
    for name, x in {MFCC: data.sounds.mfcc, **vectors}.items():
        right, fair = (_svm_right(x, data, by=each) for each in (by, "train"))
        found[name] = float(right.mean())
        found[f"{name} more"], found[f"{name} more (error)"] = mean_and_error(right - fair)
    return found


# ---- all of it ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Variant:
    """An architecture: its vectors' lengths, and how it is trained."""

    name: str
    short: int
    long: int
    epochs: int = training.EPOCHS
    learning_rate: float = training.RATE_OF_LEARNING


VARIANTS = {name: Variant(name, *ARCHITECTURES[name].filters[:2]) for name in NAMES}


def comparisons(corpus: str) -> Iterator[Comparison]:
    """Yield what is compared on a corpus, in the order in which it is measured."""
    common = {
        "corpus": corpus,
        "n_tracks": TASKS[corpus].n_tracks,
        "load": partial(load, corpus),
        "n_items": lambda data: len(data.sounds.y["test"]),
    }
    yield Comparison(
        variants=VARIANTS,
        train=lambda variant, data, seed: data.network(variant.name),
        score=lambda _, variant, data: scores(variant.name, data),
        baselines={"chance": chance, MFCC: partial(scores, MFCC)},
        prefix=f"{corpus}: ",
        **common,
    )
    yield Comparison(
        variants={},
        train=lambda *_, **__: None,
        score=lambda *_: {},
        baselines={
            "differences": compare,
            "order": order,
            **{f"scaled by {by}": partial(scale_scores, by) for by in SCALES},
        },
        prefix=f"{corpus}: ",
        **common,
    )
    if corpus == NORM_CORPUS:
        yield Comparison(
            variants={name: Norm(statistics) for name, statistics in NORMS.items()},
            train=lambda variant, data, seed: _svm_right(
                normed_features(variant.statistics, data), data
            ),
            score=norm_scores,
            describe=asdict,
            prefix="norm: ",
            **common,
        )


def run(
    seed: int, n_tracks: int | None = None, *, done: Collection[str] = ()
) -> Iterator[Measurement]:
    """Measure everything on the three corpora, one after the other."""
    for corpus in TASKS:
        data = load(corpus, seed=seed, n_tracks=n_tracks)
        for comparison in comparisons(corpus):
            yield from comparison.run(seed, n_tracks, data=data, done=done)
