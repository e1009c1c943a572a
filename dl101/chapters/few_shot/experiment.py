"""One to a hundred examples of each class: what learns from them, measured.

Conventions: a variant is ``METHOD: n``, with ``n`` examples of each class. ``familiar`` and ``new``
are accuracies (see :mod:`dl101.chapters.few_shot.inputs`), means over draws of the examples (the
seed draws these, weights and cuts; the tracks are the same for all seeds);
``familiar_0`` and ``new_0`` those of the first draw; ``train`` that on the examples themselves.
``familiar_at_40`` is what the first draw was worth after 40 steps, from one cut of each track;
``train_at_40`` and ``loss_at_40`` say what it knew of itself then.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dl101.chapters.few_shot import inputs, learning, networks
from dl101.chapters.few_shot.inputs import CORPUS, N_BANDS, N_FRAMES, N_TRACKS, SOURCES, Data
from dl101.training.comparison import Comparison, Measurement

SHOTS = (1, 2, 5, 10, 20, 50, 100)
FEWER = {  # to save time
    "VGG": (1, 2, 5, 10, 20, 100),
    "SB-CNN": (5, 20, 100),
    "prototypes": (1, 2, 5, 10, 20, 100),
    "prototypes, cosine": (20, 100),
}
LOOKS = (5, 10, 20, 40, 60, 80, 110, 160, 220)  # steps after which training is looked at,
LOOKED_AT = (5, 20, 100)  # with these numbers of examples,
LOOKED_FOR = ("VGG", "prototypes")  # of these
MANY = 10  # examples from which on there are more steps
N_DRAWS = {"tagger": 3, "mfcc": 3}  # of examples, where they take no time; else one
DIMENSIONS = 10  # of the embedding behind prototypes
N_FILTERS = {"VGG": 12, "SB-CNN": 12, "prototypes": 20}  # a small part of
PUBLISHED_FILTERS = {"VGG": 32, "SB-CNN": 24, "prototypes": 128}  # those of the thesis
HEAD_STEPS = 100


@dataclass(frozen=True)
class Method:
    """How ``n`` examples of each class are learned from.

    Attributes
    ----------
    n
        Examples of each class.
    kind
        The nearest example, a softmax of logits, prototypes that are trained, or means as they are.
    given
        What it reads: ``spectra``, ``mfcc`` or the embedding of a network that ships.
    network
        Of spectra.
    distance
        Of prototypes.
    n_steps
        Of training.
    n_draws
        How often other examples are drawn.
    """

    n: int
    kind: Literal["nearest", "softmax", "prototypes", "means"]
    given: str
    network: Literal["VGG", "TIMBRE", "SB-CNN", ""] = ""
    distance: Literal["Euclidean", "cosine"] = "Euclidean"
    n_steps: int = 0
    n_draws: int = 1


SCRATCH = {  # what learns from spectra
    "TIMBRE": {"kind": "softmax", "network": "TIMBRE"},
    "VGG": {"kind": "softmax", "network": "VGG"},
    "SB-CNN": {"kind": "softmax", "network": "SB-CNN"},
    "prototypes": {"kind": "prototypes", "network": "VGG"},
    "prototypes, cosine": {"kind": "prototypes", "network": "VGG", "distance": "cosine"},
}
# How many steps, with fewer than MANY examples of each class and with more: so many that the
# training accuracy of the first seed no longer rose much.
STEPS = {
    "TIMBRE": (80, 160),
    "VGG": (160, 260),
    "SB-CNN": (240, 320),
    "prototypes": (60, 120),
    "prototypes, cosine": (60, 120),
}
QUICK = {  # what is asked of vectors
    "nearest": {"kind": "nearest"},
    "means": {"kind": "means"},
    "softmax": {"kind": "softmax", "n_steps": HEAD_STEPS},
    "prototypes": {"kind": "prototypes", "n_steps": HEAD_STEPS},
}
COSINE = {"kind": "prototypes", "n_steps": HEAD_STEPS, "distance": "cosine"}


def variants(shots: Collection[int] = SHOTS) -> dict[str, Method]:
    """Return what is compared, by name."""
    found = {}
    for n in shots:
        draws = N_DRAWS["mfcc"]
        found[f"MFCC, nearest: {n}"] = Method(n, "nearest", "mfcc", n_draws=draws)
        for source in SOURCES:
            draws = N_DRAWS.get(source, 1)
            asked = {**QUICK, "prototypes, cosine": COSINE} if source == "tagger" else QUICK
            for name, options in asked.items():
                method = Method(n, given=source, n_draws=draws, **options)
                found[f"{source}, {name}: {n}"] = method
        for name in SCRATCH:
            if n in FEWER.get(name, shots):
                found[f"{name}: {n}"] = scratch(name, n)
    return found


def scratch(name: str, n: int) -> Method:
    """Return how a network of spectra learns from ``n`` examples of each class."""
    return Method(n, given="spectra", n_steps=STEPS[name][n >= MANY], **SCRATCH[name])


def build(method: Method, n_classes: int, n_numbers: int, *, published: bool = False) -> nn.Module:
    """Return an untrained network.

    Parameters
    ----------
    method
        What it is for.
    n_classes, n_numbers
        Classes, and length of vectors.
    published
        With as many filters as the thesis has, on our shorter cuts.
    """
    n_filters = PUBLISHED_FILTERS if published else N_FILTERS
    prototypes = method.kind == "prototypes"
    if method.kind == "means":
        return nn.Identity()
    if method.given != "spectra":
        return nn.Linear(n_numbers, DIMENSIONS if prototypes else n_classes)
    if method.network == "TIMBRE":  # as high a share of the bands as in the thesis
        return networks.Timbre(n_classes, n_bands=N_BANDS * 108 // 128)
    size = {"n_bands": N_BANDS, "n_frames": N_FRAMES}
    if method.network == "SB-CNN":
        return networks.sb_cnn(n_classes, n_filters=n_filters["SB-CNN"], pool=(2, 2), **size)
    if prototypes:
        return networks.vgg(DIMENSIONS, n_filters=n_filters["prototypes"], dropout=0.0, **size)
    return networks.vgg(n_classes, n_filters=n_filters["VGG"], **size)


@dataclass(frozen=True, eq=False)
class Fitted:
    """What came of one draw: what is said of each side, (tracks, classes), and how it came."""

    rows: NDArray[np.int64]
    said: Mapping[str, NDArray[np.float32]]
    moments: tuple[learning.Moment, ...] = ()
    learner: learning.Learner | None = None


@dataclass(frozen=True, eq=False)
class Draws:
    """All draws of a variant; ``network`` is that of the last."""

    fitted: tuple[Fitted, ...]
    network: nn.Module | None


def standardised(data: Data, given: str, rows: NDArray[np.int64]) -> dict[str, NDArray[np.float32]]:
    """Return vectors of all sides, by mean and deviation of the examples alone; nothing leaks."""
    of_side = data.inputs[given]
    known = of_side["train"][rows]
    mean, deviation = known.mean(axis=0), known.std(axis=0)
    scale = np.where(deviation > 1e-6, 1 / np.maximum(deviation, 1e-6), 0.0)
    return {
        side: ((x[rows] if side == "train" else x) - mean).astype(np.float32)
        * scale.astype(np.float32)
        for side, x in of_side.items()
    }


def fit(
    method: Method,
    data: Data,
    draw: int,
    *,
    seed: int,
    look: bool = False,
    published: bool = False,
) -> Fitted:
    """Learn from one draw of the examples, and say what the tracks of all sides are.

    Parameters
    ----------
    method, data, draw, seed
        What learns from what.
    look
        Whether to look at it on its way.
    published
        See :func:`build`.
    """
    labels = data.labels["train"]
    rows = learning.draw_examples(labels, method.n, seed=seed, draw=draw)
    if method.given == "spectra":
        x = {side: x[rows] if side == "train" else x for side, x in data.inputs["spectra"].items()}
    else:
        x = standardised(data, method.given, rows)
    if method.kind == "nearest":
        one_hot = np.eye(len(data.classes), dtype=np.float32)
        found = {s: one_hot[learning.nearest(a, x["train"], labels[rows])] for s, a in x.items()}
        return Fitted(rows, found)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1000 * seed + draw)
        network = build(method, len(data.classes), x["train"].shape[-1], published=published)
        network = network.to(memory_format=torch.channels_last)
        options: dict[str, Any] = {"seed": 1000 * seed + draw}
        options |= {"cut_frames": N_FRAMES} if method.given == "spectra" else {}
        make = learning.Softmax
        if method.kind != "softmax":
            make, options = learning.Prototypes, options | {"distance": method.distance}
        tensors = {side: torch.from_numpy(values) for side, values in x.items()}
        target = torch.from_numpy(labels[rows])
        learner = make(network, tensors["train"], target, **options)
        moments = learning.learn(
            learner,
            method.n_steps,
            looks=[step for step in LOOKS if step < method.n_steps] if look else (),
            look=(lambda: glance(learner, tensors, data)) if look else None,
        )
        said = {side: learner.probabilities(items).numpy() for side, items in tensors.items()}
    return Fitted(rows, said, tuple(moments), learner)


def glance(
    learner: learning.Learner, tensors: Mapping[str, Tensor], data: Data
) -> dict[str, float]:
    """Return accuracies from the first cut of each track; of at most 240 examples."""
    found = {}
    for side, items in tensors.items():
        truth = learner.labels.numpy() if side == "train" else data.labels[side]
        some = np.linspace(0, len(items) - 1, min(len(items), 240 if side == "train" else 300))
        chosen = some.round().astype(int)
        said = learner.probabilities(items[chosen][..., :N_FRAMES])
        found[side] = float(np.mean(said.argmax(dim=1).numpy() == truth[chosen]))
    return found


def train(method: Method, data: Data, *, seed: int) -> Draws:
    """Learn from each draw of the examples."""
    looked_for = [scratch(name, method.n) for name in LOOKED_FOR]
    looked = method in looked_for and method.n in LOOKED_AT
    found = [
        fit(method, data, draw, seed=seed, look=looked and draw == 0)
        for draw in range(method.n_draws)
    ]
    last = found[-1].learner
    return Draws(tuple(found), None if last is None else last.network)


def score(drawn: Draws, method: Method, data: Data) -> dict[str, float]:
    """Return accuracies; see the head of the module."""
    by_draw = []
    for fitted in drawn.fitted:
        truth = {**data.labels, "train": data.labels["train"][fitted.rows]}
        by_draw.append(
            {
                side: np.mean(said.argmax(axis=1) == truth[side])
                for side, said in fitted.said.items()
            }
        )
    found = {side: float(np.mean([each[side] for each in by_draw])) for side in inputs.SIDES}
    for side in ("familiar", "new"):
        values = [each[side] for each in by_draw]
        found |= {f"{side}_{draw}": float(value) for draw, value in enumerate(values)}
    for moment in drawn.fitted[0].moments:
        found |= {f"{side}_at_{moment.step}": a for side, a in moment.accuracy.items()}
        found[f"loss_at_{moment.step}"] = moment.loss
    return found


COMPARISON = Comparison(
    corpus=CORPUS,
    n_tracks=N_TRACKS,
    load=lambda seed, n_tracks, progress: inputs.load(n_tracks, progress=progress),
    n_items=lambda data: len(data.labels["new"]),
    variants=variants(),
    train=train,
    score=score,
)


def run(
    seed: int, n_tracks: int | None = None, *, done: Collection[str] = ()
) -> Iterator[Measurement]:
    """Measure all methods with one to a hundred examples of each class."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # so small that sharing the work costs more than it gains
    try:
        yield from COMPARISON.run(seed, n_tracks, done=done)
    finally:
        torch.set_num_threads(threads)
