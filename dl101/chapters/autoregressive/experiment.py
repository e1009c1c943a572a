"""What the chapter on language models compares over seeds: small models, trained on few notes.

All are the model of ``configs/autoregressive.yaml`` on fewer notes and for fewer steps than the one
that ships: codes told in three patterns, and a model that is not told pitch and family. Beside them
stand the n-grams. Scores are those of :func:`dl101.systems.autoregressive.evaluate` on the test
side of ``notes``. All see each note equally often; ``flattened`` has four times as many steps for a
note, and trains four times as long.
"""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import partial

from dl101.config import to_dict
from dl101.systems import autoregressive
from dl101.systems.autoregressive_data import CodeTrack
from dl101.training import protocol
from dl101.training.comparison import Comparison, Measurement

CORPUS, N_TRACKS = "notes", 600
SMALL = ("training.max_epochs=10", "training.patience=10", "training.batch_size=16")
VARIANTS: dict[str, tuple[str, ...]] = {
    "delayed": (),
    "parallel": ("pattern=parallel",),
    "flattened": ("pattern=flattened", "model.window=264"),
    "delayed, untold": ("conditioned=false",),
}

Sides = Mapping[str, Sequence[CodeTrack]]


def settings_of(variant: Sequence[str]) -> autoregressive.AutoregressiveConfig:
    """Return the settings of a variant, given as changes to those of the small model."""
    return autoregressive.load_config(settings=[*SMALL, *variant])


def load(*, n_tracks: int, seed: int, progress: bool = True) -> Sides:
    """Return the codes of the notes of each side."""
    size = (f"data.n_tracks={n_tracks}", f"data.seed={seed}")
    return autoregressive.load_tracks(settings_of(size), progress=progress)


def ngram(name: str, data: Sides) -> Mapping[str, float]:
    """Return the bits of an n-gram that has counted the same training side."""
    return autoregressive.baselines(settings_of(()), data)[name].mean


def train(variant: Sequence[str], data: Sides, *, seed: int) -> autoregressive.AutoregressiveSystem:
    """Return a trained model."""
    settings = settings_of(variant)
    system = autoregressive.build(settings, seed=seed)
    with tempfile.TemporaryDirectory(prefix="dl101-") as folder:
        protocol.train(autoregressive, system, settings, data, folder, seed=seed, progress=False)
    return system


def score(
    system: autoregressive.AutoregressiveSystem, variant: Sequence[str], data: Sides
) -> Mapping[str, float]:
    """Return bits of a code and what is heard of new notes, means over the test side."""
    return autoregressive.evaluate(system, data).mean


COMPARISON = Comparison(
    corpus=CORPUS,
    n_tracks=N_TRACKS,
    load=load,
    n_items=lambda data: len(data["test"]),
    baselines={name: partial(ngram, name) for name in autoregressive.CONTEXTS},
    variants=VARIANTS,
    train=train,
    score=score,
    describe=lambda variant: to_dict(settings_of(variant)),
    prefix="small ",
)


def run(
    seed: int, n_tracks: int | None = None, *, done: Collection[str] = ()
) -> Iterator[Measurement]:
    """Score the n-grams, train and score every variant."""
    yield from COMPARISON.run(seed, n_tracks, done=done)
