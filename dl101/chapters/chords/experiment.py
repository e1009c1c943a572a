"""What transposition, structure, more classes and the published normalisation do for chords.

All variants are trained with the same number of steps, on the tracks of one seed of the corpus
``chords``, and scored on the same test side, whose works, instruments and rooms are in no other.
``few`` has the first 48 tracks of the training side instead of all 240. Of each network the scores
are those of its sequence decoded by a hidden Markov model; ``majmin_frames`` is that of each frame
on its own, ``majmin_counted`` that of a model whose transitions were counted on the training side.
"""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from dl101 import config
from dl101.data import chord_segments, harte
from dl101.evaluation import chords
from dl101.systems import chords as system
from dl101.systems import chords_data
from dl101.systems.chords import ChordConfig, ChordSystem
from dl101.systems.chords_data import ChordTrack
from dl101.training import protocol
from dl101.training.comparison import Comparison, Measurement

CORPUS, N_TRACKS = "chords", 360
FEW, FEW_EPOCHS = 48, 80  # a fifth of the tracks, five times as often
Sides = Mapping[str, Sequence[ChordTrack]]

VARIANTS: dict[str, tuple[str, ...]] = {
    "crnn": (),
    "one-key": ("transpose=false",),
    "few": (f"training.max_epochs={FEW_EPOCHS}", f"training.patience={FEW_EPOCHS}"),
    "few-one-key": (
        "transpose=false",
        f"training.max_epochs={FEW_EPOCHS}",
        f"training.patience={FEW_EPOCHS}",
    ),
    "structured": ("model.structured=true",),
    "published": ("model.published=true",),
    "large": ("vocabulary=large",),
    "structured-large": ("model.structured=true", "vocabulary=large"),
}


def settings_of(name: str) -> ChordConfig:
    """Return the configuration of a variant."""
    return system.load_config(settings=VARIANTS[name])


def load(*, seed: int, n_tracks: int, progress: bool = True) -> dict[str, list[ChordTrack]]:
    """Return the tracks of each side, with the targets of the 25 classes."""
    sized = [f"data.seed={seed}", f"data.n_tracks={n_tracks}"]
    return system.load_tracks(system.load_config(settings=sized), progress=progress)


def tracks_of(name: str, tracks: Sides) -> dict[str, list[ChordTrack]]:
    """Return the tracks that a variant learns from: fewer, or with the targets of more classes."""
    vocabulary = settings_of(name).labels
    found = {side: list(members) for side, members in tracks.items()}
    if name.startswith("few"):
        found["train"] = found["train"][:FEW]
    if vocabulary != harte.MAJMIN:
        for side, members in found.items():
            found[side] = [
                replace(
                    track,
                    target=chords_data.target_rows(track.reference, track.times_s, vocabulary),
                )
                for track in members
            ]
    return found


def train(name: str, tracks: Sides, *, seed: int = 0) -> ChordSystem:
    """Train a variant; validation chooses the epoch."""
    settings = settings_of(name)
    built = system.build(settings, seed=seed)
    with tempfile.TemporaryDirectory(prefix="dl101-") as folder:
        protocol.train(
            system, built, settings, tracks_of(name, tracks), folder, seed=seed, progress=False
        )
    return built


def score(trained: ChordSystem, name: str, tracks: Sides) -> dict[str, float]:
    """Return the scores of the test side; see the module."""
    tracks = tracks_of(name, tracks)
    found = system.evaluate(trained, tracks)
    said = [system.predict(trained, track.input) for track in tracks["test"]]
    vocabulary = trained.settings.labels
    counted = chords.count_transitions(
        [
            chord_segments.to_frames(track.reference, track.times_s, vocabulary.to_class)
            for track in tracks["train"]
        ],
        vocabulary,
    )
    ways = {
        "frames": [each.argmax(axis=0) for each in said],
        "counted": [chords.viterbi(each, counted) for each in said],
    }
    more = {
        f"majmin_{way}": system.score(tracks["test"], classes, trained.settings).mean["majmin"]
        for way, classes in ways.items()
    }
    return found.mean | found.chosen | more


def describe(name: str) -> dict[str, Any]:
    """Return the settings of a variant but for its data, which the record names."""
    return {key: value for key, value in config.to_dict(settings_of(name)).items() if key != "data"}


def _baseline(name: str, tracks: Sides) -> dict[str, float]:
    found = system.baseline(name, settings_of("crnn"), tracks)
    return found.mean | found.chosen


COMPARISON = Comparison(
    corpus=CORPUS,
    n_tracks=N_TRACKS,
    load=load,
    n_items=lambda tracks: len(tracks["test"]),
    variants={name: name for name in VARIANTS},
    train=train,
    score=score,
    baselines={
        name: lambda tracks, name=name: _baseline(name, tracks) for name in system.BASELINES
    },
    describe=describe,
)


def run(
    seed: int, n_tracks: int | None = None, *, done: Collection[str] = ()
) -> Iterator[Measurement]:
    """Measure the baselines and every variant on one seed of the corpus."""
    yield from COMPARISON.run(seed, n_tracks, done=done)
