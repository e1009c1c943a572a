"""What the chapter measures beside the encoders that ``dl101 train self_supervised`` pretrains.

- The same probes on what was never pretrained: statistics of MFCC, and the encoder with fresh
  weights; the seed draws weights and the order in which probes learn.
- Objectives, augmentations and shares of labels compared on a small encoder of spectrograms; see
  :mod:`dl101.chapters.self_supervised.objectives`. The seed draws views, weights and order.
- Pitch learned from transposition alone; see :mod:`dl101.chapters.self_supervised.pitch`. There
  the seed draws the corpus, too.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from dl101.chapters.self_supervised import objectives, pitch
from dl101.systems import self_supervised
from dl101.systems.self_supervised_data import side_by_side, timbre_of, with_labels
from dl101.training import probing
from dl101.training.comparison import Comparison, Measurement

CORPUS, N_TRACKS = "tags", 840

Data = Mapping[str, list]


def load(*, n_tracks: int, seed: int, progress: bool = True) -> Data:
    """Return the recordings with labels; they are the same for all seeds."""
    size = [f"data.n_tracks={n_tracks}", "also=null"]
    settings = self_supervised.load_config(settings=size)
    return self_supervised.load_tracks(settings, progress=progress)


def seen_by(variant: str, data: Data, *, seed: int) -> dict[str, NDArray[np.float32]]:
    """Return what a probe gets to see: (tracks, crops, numbers) of each side."""
    settings = self_supervised.load_config()
    if variant == "untrained encoder":
        return self_supervised.embeddings(
            self_supervised.untrained(settings, data, seed=seed), data
        )
    lengths = (settings.crop_samples, settings.sample_rate)
    return {
        side: side_by_side([timbre_of(each.audio, *lengths) for each in with_labels(data[side])])
        for side in self_supervised.SIDES
    }


def score(seen: Mapping[str, NDArray], variant: str, data: Data) -> dict[str, float]:
    """Return the scores of the probes, as :func:`dl101.systems.self_supervised.evaluate` does."""
    probe = self_supervised.load_config().probe
    labels = self_supervised.labels_of(data)
    found = probing.both(seen, labels, probe)
    found |= probing.by_share(seen, labels, probe, self_supervised.SHARES)
    classes = with_labels(data["test"])[0].classes
    return found | probing.by_class(seen, labels, probe, classes, only=self_supervised.TOLD)


PROBES = Comparison(
    corpus=CORPUS,
    n_tracks=N_TRACKS,
    load=load,
    n_items=lambda data: len(with_labels(data["test"])),
    variants={name: name for name in ("MFCC statistics", "untrained encoder")},
    train=seen_by,
    score=score,
    describe=lambda name: {"input": name},
)


def load_views(*, n_tracks: int, seed: int, progress: bool = True) -> objectives.Data:
    """Return the recordings for small encoders; the seed is that of their views."""
    settings = self_supervised.load_config()
    recordings = load(n_tracks=n_tracks, seed=seed, progress=progress)
    return objectives.Data(recordings, settings.sample_rate, settings.crop_samples, seed)


OBJECTIVES = Comparison(
    corpus=CORPUS,
    n_tracks=N_TRACKS,
    load=load_views,
    n_items=lambda data: len(data.recordings["test"]),
    variants=objectives.WAYS,
    train=objectives.train,
    score=objectives.score,
    prefix="small: ",
)
PITCH = Comparison(
    corpus=pitch.CORPUS,
    n_tracks=pitch.N_TRACKS,
    load=pitch.load,
    n_items=lambda data: len(data["test"][1]),
    variants={name: name for name in ("loudest bin", "untrained", "from transposition")},
    train=pitch.train,
    score=pitch.score,
    describe=lambda name: {"method": name},
    prefix="pitch: ",
)


def run(
    seed: int, n_tracks: int | None = None, done: Collection[str] = ()
) -> Iterator[Measurement]:
    """Yield what is measured with a seed."""
    yield from PROBES.run(seed, n_tracks, done=done)
    yield from OBJECTIVES.run(seed, n_tracks, done=done)
    yield from PITCH.run(seed, n_tracks, done=done)
