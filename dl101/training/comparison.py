"""What an experiment measures, and how it becomes a record of ``results/NAME.json``.

Conventions: the module ``dl101.chapters.NAME.experiment`` has a function ``run(seed,
n_tracks=None)`` that yields an :class:`Outcome` for each variant. The seed draws everything: the
corpus (if it is embedded), initial weights, the order of training. ``dl101 experiment NAME --seed
0 1 2 --results results/NAME.json`` records them; the chapter shows the file.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dl101 import chapters
from dl101.config import Seed, TrackCount, checked
from dl101.data.embedded import export
from dl101.errors import ConfigError, did_you_mean
from dl101.evaluation import results

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Outcome:
    """One variant, measured on held-out items.

    Attributes
    ----------
    variant
        What is compared: the name of an input, a setting, a baseline.
    metrics
        Scores by name, means over the items.
    n_items
        Number of held-out items.
    corpus, n_tracks
        The embedded corpus and its size; empty and 0 for signals made in the experiment.
    config
        What else the variant is: parameters of the input, of the training.
    network
        What was trained, where it was trained; None for answers that need no training.
    wall_time_s
        How long it took.
    split
        Which items were held out.
    """

    variant: str
    metrics: Mapping[str, float]
    n_items: int
    corpus: str = ""
    n_tracks: int = 0
    config: Mapping[str, Any] = field(default_factory=dict)
    network: nn.Module | None = None
    wall_time_s: float = 0.0
    split: str = "test"

    @property
    def n_parameters(self) -> int:
        """Return how many numbers were trained."""
        parameters = self.network.parameters() if self.network is not None else ()
        return sum(p.numel() for p in parameters if p.requires_grad)

    @property
    def device(self) -> str:
        """Return where the network is, such as ``cuda:0``; ``cpu`` without one."""
        if self.network is None:
            return "cpu"
        held = chain(self.network.parameters(), self.network.buffers())
        return next((str(tensor.device) for tensor in held), "cpu")


def names() -> tuple[str, ...]:
    """Return the experiments that there are."""
    rooms = (Path(folder) for folder in chapters.__path__)
    return tuple(
        sorted(found.parent.name for room in rooms for found in room.glob("*/experiment.py"))
    )


def run(name: str, *, seed: int = 0, n_tracks: int | None = None) -> Iterator[Outcome]:
    """Run an experiment, variant by variant.

    Raises
    ------
    ConfigError
        If there is no such experiment, or no such seed or number of tracks.
    """
    if name not in names():
        raise ConfigError(
            "experiment",
            got=repr(name),
            expected=f"one of {', '.join(names())}",
            hint=did_you_mean(name, names()),
        )
    checked(Seed, seed, "seed")
    checked(TrackCount | None, n_tracks, "n_tracks")
    yield from importlib.import_module(f"dl101.chapters.{name}.experiment").run(
        seed, n_tracks=n_tracks
    )


def as_record(name: str, outcome: Outcome, *, seed: int, command: str) -> results.Record:
    """Return an outcome as a record for the results file of its experiment."""
    data: dict[str, Any] = {"dataset": outcome.corpus or "made in the experiment"}
    if outcome.corpus:
        data |= {"n_tracks": outcome.n_tracks, "version": export.corpus_version(outcome.corpus)}
    return results.Record(
        experiment=name,
        variant=outcome.variant,
        seed=seed,
        data=data,
        split=outcome.split,
        n_items=outcome.n_items,
        metrics={key: round(float(value), 5) for key, value in outcome.metrics.items()},
        config=dict(outcome.config),
        command=command,
        wall_time_s=round(outcome.wall_time_s, 2),
        n_parameters=outcome.n_parameters,
        device=results.describe_device(outcome.device),
    )
