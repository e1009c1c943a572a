"""What makes an embedding of versions: which triplets are mined, and which loss is taken of them.

Every variant is the network of :mod:`dl101.systems.cover_songs` at lab scale, with the same
performances, batches and number of steps; only loss and mining differ, and in the last variant the
place of the maximum over transpositions. Scores are those of ranking
the test side, works of which none was trained on; the weights of the epoch with the best mean
average precision on the validation side are kept. ``collapse`` is the mean distance of two test
performances: 2 where the embedding uses its space, next to 0 where all performances have become one
point. The baselines need no training, or no labels.

Last, what the network that ships makes of sound: versions that were never trained on are played,
heard as in :func:`~dl101.systems.cover_songs_data.profile_of_samples`, and ranked by what was heard
(``audio``), by their features (``features``), or the one by the other (``audio to features``).
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from dl101 import config
from dl101.data.embedded.corpora import covers
from dl101.systems import cover_songs as system
from dl101.systems import cover_songs_data
from dl101.systems.cover_songs import CoverSongsConfig, CoverSongsSystem
from dl101.systems.cover_songs_data import CoverTrack
from dl101.training import shipped
from dl101.training.comparison import Comparison, Measurement
from dl101.training.protocol import Evaluation
from dl101.training.shipped import Shipped

CORPUS = "covers"
SETTINGS = system.load_config()
N_TRACKS = SETTINGS.data.n_tracks
MININGS = ("random", "easy", "semi-hard", "hard")
VARIANTS = {
    variant.variant: variant
    for variant in (
        *(
            system.load_config(settings=[f"loss={loss}", f"mining={mining}"])
            for loss in ("triplet", "contrastive")
            for mining in MININGS
        ),
        system.load_config(settings=["loss=nt-xent"]),
        system.load_config(settings=["loss=nt-xent", "model=move_late"]),
    )
}

N_WORKS, N_VERSIONS = 12, 3  # that are played
PREFIX = "shipped, "
HEARD = [PREFIX + name for name in ("features", "audio", "audio to features")]

Sides = Mapping[str, Sequence[CoverTrack]]


def load(*, seed: int = 0, n_tracks: int = N_TRACKS, progress: bool = True) -> Sides:
    """Return the performances of each side, of a corpus of this seed."""
    changes = [f"data.seed={seed}", f"data.n_tracks={n_tracks}"]
    return system.load_tracks(system.load_config(settings=changes), progress=progress)


def train(variant: CoverSongsConfig, tracks: Sides, *, seed: int = 0) -> CoverSongsSystem:
    """Train one variant."""
    network = system.build(variant, seed=seed)
    with tempfile.TemporaryDirectory(prefix="dl101-") as folder:
        system.train(network, tracks, folder, seed=seed, progress=False)
    return network


def score(network: CoverSongsSystem, variant: CoverSongsConfig, tracks: Sides) -> dict[str, float]:
    """Return the mean ranking scores of the test side, and how far its performances lie apart."""
    evaluation = system.evaluate(network, tracks)
    embeddings = system.embed(network, tracks["test"])
    apart = np.concatenate(list(system.distances(embeddings, embeddings)))
    return {**evaluation.mean, **evaluation.chosen, "collapse": float(apart.mean())}


def describe(variant: CoverSongsConfig) -> dict[str, Any]:
    """Return the settings of a variant; data and seed stand in its record."""
    return {key: value for key, value in config.to_dict(variant).items() if key != "data"}


def _baseline(name: str, tracks: Sides) -> dict[str, float]:
    return system.baselines(SETTINGS, tracks, names=[name])[name].mean


def heard(network: Shipped, tracks: Sides, *, seed: int) -> dict[str, dict[str, float]]:
    """Return the scores of performances of the test side that are played to the network."""
    cliques: dict[str, list[CoverTrack]] = {}
    for track in tracks["test"]:
        cliques.setdefault(track.work, []).append(track)
    large = [members for members in cliques.values() if len(members) >= N_VERSIONS][:N_WORKS]
    chosen = [track for members in large for track in members[:N_VERSIONS]]
    played = []
    for track in chosen:
        index = int(track.key.split(".")[0])
        sound, _ = covers.render_audio(index, seed=seed)
        profile = cover_songs_data.profile_of_samples(sound)
        played.append(cover_songs_data.pooled(profile, network.settings.pool_frames))
    embeddings = {
        "features": system.embed(network.system, chosen),
        "audio": np.stack([system.predict(network.system, profile) for profile in played]),
    }
    pairs = {"features": ("features",) * 2, "audio": ("audio",) * 2}
    pairs["audio to features"] = ("audio", "features")
    found = {}
    for name, (queries, items) in pairs.items():
        scores = system.score(system.distances(embeddings[queries], embeddings[items]), chosen)
        found[name] = Evaluation(scores).mean
    return found


COMPARISON = Comparison(
    corpus=CORPUS,
    n_tracks=N_TRACKS,
    load=load,
    n_items=lambda tracks: len(tracks["test"]),
    baselines={name: partial(_baseline, name) for name in system.BASELINES},
    variants=VARIANTS,
    train=train,
    score=score,
    describe=describe,
)


def run(
    seed: int, n_tracks: int | None = None, *, done: Collection[str] = ()
) -> Iterator[Measurement]:
    """Yield the comparison, and what the network that ships makes of sound."""
    yield from COMPARISON.run(seed, n_tracks, done=done)
    if set(HEARD) <= set(done):
        return
    start = time.perf_counter()
    network = shipped.load("cover_songs")
    n_tracks = n_tracks or N_TRACKS
    tracks = load(seed=seed, n_tracks=n_tracks, progress=False)
    scores = heard(network, tracks, seed=seed)
    spent_s = time.perf_counter() - start
    for name, metrics in scores.items():
        yield Measurement(
            f"{PREFIX}{name}",
            metrics,
            n_items=N_WORKS * N_VERSIONS,
            corpus=CORPUS,
            n_tracks=n_tracks,
            config={"network": system.identity(network)},
            network=network.system,
            wall_time_s=spent_s,
        )
