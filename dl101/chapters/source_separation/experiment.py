"""What networks, outputs and losses give when all take the same few steps, beside no learning.

Every network (U-Net, conditioned U-Net, recurrent) says masks and is trained with every loss (L1,
SI-SDR, spectra of several windows); the U-Net also says magnitudes. All take the same number of
steps on the songs of one seed of the corpus ``stems``, and are scored on the same test side. This
is a comparison of beginnings: the separator that ships heard three times as many pieces. The
conditioned network is asked for one stem of each piece, and so learns from a quarter of what the
others do.

Answers without learning and bounds are those of :func:`dl101.systems.source_separation.answers`.
Names begin with ``steps:``, because the separator that ships is scored in the same file, on songs
of another seed.
"""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import partial
from itertools import product
from typing import Any

from dl101 import config
from dl101.data.songs import SongTrack
from dl101.evaluation import results, separation, stems
from dl101.systems import source_separation as system
from dl101.systems.source_separation import SeparationConfig, SeparationSystem
from dl101.training import protocol
from dl101.training.comparison import Comparison, Measurement

CORPUS, N_TRACKS = "stems", 96
PREFIX = "steps: "
KINDS = ("unet", "film", "recurrent")
LOSSES = ("l1", "si-sdr", "stft")
SHORT = (  # 480 steps: 25 to 170 seconds of a core each, 20 minutes together
    "training.max_epochs=12",
    "training.patience=12",
    "windows=[1024, 256]",
)
BASELINES = (*stems.ANSWERS, *separation.BOUNDS)

Sides = Mapping[str, Sequence[SongTrack]]

CELLS = (*product(KINDS, ("mask",), LOSSES), *product(("unet",), ("spectrum",), LOSSES))
VARIANTS: dict[str, tuple[str, ...]] = {
    "-".join(cell): tuple(
        f"{key}={value}"
        for key, value in zip(("model.kind", "model.output", "loss"), cell, strict=True)
    )
    for cell in CELLS
}


def settings_of(variant: Sequence[str]) -> SeparationConfig:
    """Return the settings of a variant: those of the lab, but for its network, loss and length."""
    return system.load_config(settings=[*SHORT, *variant])


def load(*, seed: int, n_tracks: int, progress: bool = True) -> dict[str, list[SongTrack]]:
    """Return the songs of each side."""
    size = (f"data.n_tracks={n_tracks}", f"data.seed={seed}")
    return system.load_tracks(settings_of(size), progress=progress)


def train(variant: Sequence[str], tracks: Sides, *, seed: int = 0) -> SeparationSystem:
    """Train a variant; validation chooses the epoch."""
    settings = settings_of(variant)
    built = system.build(settings, seed=seed)
    with tempfile.TemporaryDirectory(prefix="dl101-") as folder:
        protocol.train(system, built, settings, tracks, folder, seed=seed, progress=False)
    return built


def score(trained: SeparationSystem, variant: Sequence[str], tracks: Sides) -> dict[str, float]:
    """Return the scores of the test side: means over songs and stems, and by stem."""
    return system.evaluate(trained, tracks).mean


def _baseline(name: str, tracks: Sides) -> dict[str, float]:
    settings = settings_of(())
    answer = system.answers(settings)[name]
    found = stems.score(tracks["test"], answer, settings.sample_rate, settings.stems)
    return results.mean_over_tracks(list(found.by_song.values())) | dict(found.overall)


def describe(variant: Sequence[str]) -> dict[str, Any]:
    """Return the settings of a variant but for its data, which the record names."""
    return {
        key: value for key, value in config.to_dict(settings_of(variant)).items() if key != "data"
    }


COMPARISON = Comparison(
    corpus=CORPUS,
    n_tracks=N_TRACKS,
    load=load,
    n_items=lambda tracks: len(tracks["test"]),
    variants=VARIANTS,
    train=train,
    score=score,
    baselines={name: partial(_baseline, name) for name in BASELINES},
    describe=describe,
    prefix=PREFIX,
)


def run(
    seed: int, n_tracks: int | None = None, *, done: Collection[str] = ()
) -> Iterator[Measurement]:
    """Measure the answers without learning, the bounds and every variant on one seed."""
    yield from COMPARISON.run(seed, n_tracks, done=done)
