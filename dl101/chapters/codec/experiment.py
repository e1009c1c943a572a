"""What the codec chapter compares over seeds: small codecs, trained for a minute each.

All are the codec of ``configs/codec.yaml`` on fewer sounds and for fewer steps than the one that
ships: as it is, without the dropout of stages, and with a discriminator. Scores are those of
:func:`dl101.systems.codec.evaluate` on the test side of ``notes``.
"""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence

from dl101.config import to_dict
from dl101.data.sounds import SoundTrack
from dl101.systems import codec
from dl101.training import protocol
from dl101.training.comparison import Comparison, Measurement

CORPUS, N_TRACKS = "notes", 480
SMALL = ("also=null", "training.max_epochs=10", "training.patience=10", "quantise_after=60")
VARIANTS: dict[str, tuple[str, ...]] = {
    "small": (),
    "small, no stage dropout": ("stage_dropout=0.0",),
    "small, adversarial": ("adversarial={after_steps: 100}",),
}

Sides = Mapping[str, Sequence[SoundTrack]]


def settings_of(variant: Sequence[str]) -> codec.CodecConfig:
    """Return the settings of a variant, given as changes to those of the small codec."""
    return codec.load_config(settings=[*SMALL, *variant])


def load(*, n_tracks: int, seed: int, progress: bool = True) -> Sides:
    """Return the sounds of each side."""
    size = (f"data.n_tracks={n_tracks}", f"data.seed={seed}")
    return codec.load_tracks(settings_of(size), progress=progress)


def train(variant: Sequence[str], data: Sides, *, seed: int) -> codec.CodecSystem:
    """Return a trained codec."""
    settings = settings_of(variant)
    system = codec.build(settings, seed=seed)
    with tempfile.TemporaryDirectory(prefix="dl101-") as folder:
        protocol.train(codec, system, settings, data, folder, seed=seed, progress=False)
    return system


def score(system: codec.CodecSystem, variant: Sequence[str], data: Sides) -> Mapping[str, float]:
    """Return the distances of the test side, means over notes."""
    return codec.evaluate(system, data).mean


COMPARISON = Comparison(
    corpus=CORPUS,
    n_tracks=N_TRACKS,
    load=load,
    n_items=lambda data: len(data["test"]),
    variants=VARIANTS,
    train=train,
    score=score,
    describe=lambda variant: to_dict(settings_of(variant)),
)


def run(
    seed: int, n_tracks: int | None = None, *, done: Collection[str] = ()
) -> Iterator[Measurement]:
    """Train and score every variant."""
    yield from COMPARISON.run(seed, n_tracks, done=done)
