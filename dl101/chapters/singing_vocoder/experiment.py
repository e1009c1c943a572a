"""What little data and little time do to vocoders: SawSing, its kin, and two GANs.

Each learns in 480 steps of eight seconds of sound, from all phrases of the training side or from
three of them, as in the paper's scenario with few resources. ``late`` is SawSing with the delay of
its filters left in, as in the original. The seed draws the corpus, the three
phrases, the initial weights and the order. Scores are those of
:func:`dl101.systems.singing_vocoder.evaluate` on the test side, whose singers nobody has heard.
"""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from dl101.config import to_dict
from dl101.systems import singing_vocoder as system
from dl101.systems.singing_vocoder import VocoderConfig, VocoderSystem
from dl101.systems.singing_vocoder_data import VoiceTrack
from dl101.training import protocol
from dl101.training.comparison import Comparison, Measurement

CORPUS, N_TRACKS = "voice", 120
SHORT = (
    "pieces_per_epoch=640",
    "training.batch_size=8",
    "training.max_epochs=6",
    "training.patience=6",
)
KINDS = {kind: (f"kind={kind}",) for kind in ("sawsing", "hifi-gan", "ddsp-add", "wavetable")}
KINDS |= {"late": ("kind=sawsing", "synthesis.compensate=false")}
KINDS |= {kind: (f"kind={kind}",) for kind in ("nsf", "melgan")}
VARIANTS: dict[str, tuple[str, ...]] = {
    f"short, {kind}, {n_phrases or 'all'}": (*settings, f"n_phrases={n_phrases or 'null'}")
    for kind, settings in KINDS.items()
    for n_phrases in (None, 3)
}
Sides = Mapping[str, Sequence[VoiceTrack]]


def settings_of(variant: Sequence[str]) -> VocoderConfig:
    """Return the settings of a variant, given as changes to those of the short training."""
    return system.load_config(settings=[*SHORT, *variant])


def load(*, n_tracks: int, seed: int, progress: bool = True) -> Sides:
    """Return the phrases of each side."""
    size = (f"data.n_tracks={n_tracks}", f"data.seed={seed}")
    return system.load_tracks(settings_of(size), progress=progress)


def train(variant: Sequence[str], data: Sides, *, seed: int) -> VocoderSystem:
    """Train a variant; validation chooses the epoch."""
    settings = settings_of(variant)
    built = system.build(settings, seed=seed)
    with tempfile.TemporaryDirectory(prefix="dl101-") as folder:
        protocol.train(system, built, settings, data, folder, seed=seed, progress=False)
    return built


def describe(variant: Sequence[str]) -> dict[str, Any]:
    """Return the settings of a variant but for its data, which the record names."""
    found = to_dict(settings_of(variant))
    return {key: value for key, value in found.items() if key != "data"}


COMPARISON = Comparison(
    corpus=CORPUS,
    n_tracks=N_TRACKS,
    load=load,
    n_items=lambda data: len(data["test"]),
    variants=VARIANTS,
    train=train,
    score=lambda trained, variant, data: system.evaluate(trained, data).mean,
    baselines={
        "short, griffin-lim": lambda data: (
            system.baselines(settings_of(()), data)["griffin-lim"].mean
        )
    },
    describe=describe,
)


def run(
    seed: int, n_tracks: int | None = None, *, done: Collection[str] = ()
) -> Iterator[Measurement]:
    """Measure Griffin-Lim and every variant on one seed of the corpus."""
    yield from COMPARISON.run(seed, n_tracks, done=done)
