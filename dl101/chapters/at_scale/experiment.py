"""Waveform or spectrogram? Two front-ends under one back-end, while the data grow.

Conventions. The corpus has 10 000 tracks (:mod:`dl101.chapters.at_scale.stores`). *Of n tracks*
means the corpus of its first n, two thirds of which are for training. Test and validation sides are
those of the whole corpus, the same for every size. All networks take the same number of steps, on
the same patches in the same order for both front-ends, so that nothing but the data differs; the
weights that did best on some validation tracks are kept.

``FRONT-END: n`` and ``trees: n`` are the records of one system: ``macro_ap`` (PR-AUC) and
``macro_auc`` (ROC-AUC) are means over tags on the test side; ``known`` is ``macro_ap`` on the
validation side (the instruments and rooms of training, other artists), ``train`` on training
tracks; ``ap: TAG`` is the average precision of one tag; ``passes`` says how often each patch was
used. ``gap: n`` compares systems on the same test tracks: differences of ``macro_ap``, each with
its standard error over tracks (bootstrap). ``heard: n`` (first seed) has the probabilities that the
networks give to the tags of a few test tracks, ``NUMBER FRONT-END TAG``. ``FRONT-END, longer: n``
(all tracks) took four times as many steps.

Sources: Pons et al. (2018), arXiv:1711.02520, and Pons (2019), chapter 5. Our networks are theirs
with a quarter of the filters in front and their smallest back-end (tables 5.2 and 5.3).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from dl101.chapters.at_scale import networks, stores, throughput
from dl101.chapters.at_scale.networks import FRONT_ENDS, N_LOOKED_AT, Training
from dl101.chapters.at_scale.stores import CORPUS, HOP_FRAMES, PATCH_FRAMES, TASK, Corpus, Tracks
from dl101.evaluation import tagging
from dl101.training.comparison import Comparison, Measurement
from dl101.training.streaming import index_of

N_TRACKS = 10_000
SHARES = (0.01, 0.1, 1.0)  # of the corpus: 100, 1 000 and 10 000 tracks
SYSTEMS = (*FRONT_ENDS, "trees")
LONGER = 4  # times the usual steps, on all tracks: is it data that are short?
HEARD_SEED, HEARD = 0, (2, 14, 26, 44)  # test tracks that the page plays, by number in the corpus


@dataclass(frozen=True)
class Variant:
    """What learns from a share of the corpus."""

    system: str
    share: float
    training: Training | None


def settings(system: str, *, n_times: int = 1) -> Training | None:
    """Return how a network is trained, with so many times the usual steps; None for trees."""
    rate = networks.LEARNING_RATES.get(system)
    if rate is None:
        return None
    usual = Training(learning_rate=rate)
    return replace(usual, n_steps=n_times * usual.n_steps)


@dataclass(frozen=True, eq=False)
class Trained:
    """A network, or none, and what it says of tracks, (tracks, tags)."""

    say: Callable[[Tracks], NDArray[np.float32]]
    network: nn.Module | None = None


def train(variant: Variant, corpus: Corpus, *, seed: int = 0) -> Trained:
    """Train one system on its share of the corpus."""
    tracks = share_of(corpus, variant.share)
    if variant.system == "trees":
        return trees(corpus, tracks, seed=seed)
    network = networks.train_network(
        variant.system, corpus, tracks, training=variant.training, seed=seed
    )
    return Trained(partial(networks.logits, network, variant.system, corpus), network)


def share_of(corpus: Corpus, share: float) -> Tracks:
    """Return the training tracks of the corpus that is so much shorter."""
    n_tracks = sum(len(tracks) for tracks in corpus.sides.values())
    return corpus.sides["train"].within(size_of(share, n_tracks))


def size_of(share: float, n_tracks: int) -> int:
    """Return the number of tracks of a share of a corpus; at least one, which is for training."""
    return max(1, round(share * n_tracks))


def trees(corpus: Corpus, tracks: Tracks, *, seed: int = 0) -> Trained:
    """Fit gradient-boosted trees to statistics of the tracks, one model for each tag."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    store = corpus.stores["spectra"]
    known = stores.statistics(store, tracks.keys)
    models = []
    for tag in tracks.targets.T:
        model = HistGradientBoostingClassifier(
            max_iter=60, max_leaf_nodes=15, min_samples_leaf=5, early_stopping=False,
            random_state=seed,
        )  # fmt: skip
        # a tag that every track has, or none, teaches nothing
        models.append(model.fit(known, tag) if 0 < tag.mean() < 1 else None)

    def say(asked: Tracks) -> NDArray[np.float32]:
        x = stores.statistics(store, asked.keys)
        columns = [np.zeros(len(x)) if m is None else m.predict_proba(x)[:, 1] for m in models]
        return np.stack(columns, axis=1).astype(np.float32)

    return Trained(say)


def score(trained: Trained, variant: Variant, corpus: Corpus) -> tuple[dict[str, float], NDArray]:
    """Return the scores of a system, and what it says of the test tracks; see the module."""
    test, learned = corpus.sides["test"], share_of(corpus, variant.share)
    said = trained.say(test)
    by_tag = tagging.by_class(test.targets, said, tagging.average_precision)
    scores = {
        "macro_ap": tagging.macro(by_tag),
        "macro_auc": tagging.macro_auc(test.targets, said),
        "n_train": float(len(learned)),
    }
    for name, side in (("known", corpus.sides["validation"]), ("train", learned)):
        tracks = side.some(slice(N_LOOKED_AT))
        scores[name] = tagging.macro_ap(tracks.targets, trained.say(tracks))
    if trained.network is not None:
        used = variant.training.n_steps * variant.training.batch_size
        sizes = {"patch_frames": PATCH_FRAMES, "hop_frames": HOP_FRAMES}
        scores["passes"] = used / len(index_of(corpus.stores["spectra"], learned.keys, **sizes))
    scores |= {f"ap: {tag}": value for tag, value in zip(TASK.classes, by_tag, strict=True)}
    return scores, said


def prior(corpus: Corpus) -> dict[str, float]:
    """Return the scores of saying the same of every track."""
    truth = corpus.sides["test"].targets
    same = np.zeros(truth.shape)
    return {"macro_ap": tagging.macro_ap(truth, same), "macro_auc": tagging.macro_auc(truth, same)}


def compared(
    truth: NDArray, said: Mapping[str, NDArray], *, n_draws: int = 200
) -> dict[str, float]:
    """Return how much better one system is than another, each with its error over tracks.

    The same tracks are drawn for all systems, so that a hard draw is hard for all.
    """
    rng = np.random.default_rng([len(truth), 5])
    drawn = [slice(None), *rng.integers(len(truth), size=(n_draws, len(truth)))]
    aps = [
        {name: tagging.macro_ap(truth[rows], each[rows]) for name, each in said.items()}
        for rows in drawn
    ]
    found = {}
    for first, second in itertools.combinations(said, 2):
        differences = np.array([ap[first] - ap[second] for ap in aps])
        found[f"{first} over {second}"] = float(differences[0])
        found[f"{first} over {second} (error)"] = float(differences[1:].std())
    return found


def heard(test: Tracks, said: Mapping[str, NDArray]) -> dict[str, float]:
    """Return the probabilities that the networks give to the tags of a few test tracks."""
    found = {}
    for number in sorted(set(HEARD) & set(test.numbers.tolist())):
        row = int(np.flatnonzero(test.numbers == number)[0])
        for system in FRONT_ENDS:
            chances = 1 / (1 + np.exp(-said[system][row].astype(float)))
            for tag, chance in zip(TASK.classes, chances, strict=True):
                found[f"{number} {system} {tag}"] = float(chance)
    return found


def describe(variant: Variant) -> dict[str, Any]:
    """Return the settings of a variant for its record."""
    if variant.training is None:
        return {"share": variant.share}
    return {"share": variant.share, "width": networks.WIDTH, **asdict(variant.training)}


def run(
    seed: int, n_tracks: int | None = None, *, done: Collection[str] = ()
) -> Iterator[Measurement]:
    """Measure how fast data come, then all systems at every size; each size as a whole."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # so that seconds are those of one core
    n_tracks = n_tracks or N_TRACKS
    usual = {system: settings(system) for system in SYSTEMS}
    longer = {kind: settings(kind, n_times=LONGER) for kind in FRONT_ENDS}
    try:
        yield from throughput.run(seed, n_tracks, done=done)
        corpus = stores.load(seed=seed, n_tracks=n_tracks)
        for share in SHARES:
            yield from of_size(share, corpus, seed, n_tracks, systems=usual, done=done)
        yield from of_size(
            SHARES[-1], corpus, seed, n_tracks, systems=longer, suffix=", longer", done=done
        )
    finally:
        torch.set_num_threads(threads)


def of_size(
    share: float,
    corpus: Corpus,
    seed: int,
    n_tracks: int,
    *,
    systems: Mapping[str, Training | None],
    suffix: str = "",
    done: Collection[str] = (),
) -> Iterator[Measurement]:
    """Measure some systems on a share of the corpus, and compare them."""
    size = f"{suffix}: {size_of(share, n_tracks)}"
    variants = {s + size: Variant(s, share, training) for s, training in systems.items()}
    gap = f"gap{size}"
    if all(name in done for name in (*variants, gap)):
        return
    said: dict[str, NDArray[np.float32]] = {}

    def scored(trained: Trained, variant: Variant, corpus: Corpus) -> dict[str, float]:
        scores, said[variant.system] = score(trained, variant, corpus)
        return scores

    comparison = Comparison(
        corpus=CORPUS,
        n_tracks=n_tracks,
        load=stores.load,
        n_items=lambda corpus: len(corpus.sides["test"]),
        variants=variants,
        train=train,
        score=scored,
        baselines={"prior": prior} if share == SHARES[0] else {},
        describe=describe,
    )
    yield from comparison.run(seed, n_tracks, data=corpus)
    test = corpus.sides["test"]
    measurement = partial(Measurement, corpus=CORPUS, n_tracks=n_tracks)
    yield measurement(gap, compared(test.targets, said), len(test))
    if seed == HEARD_SEED and not suffix:
        yield measurement(f"heard{size}", heard(test, said), len(HEARD))
