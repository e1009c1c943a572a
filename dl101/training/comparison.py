"""Experiments: variants of one thing, measured on the same held-out items, and their records.

Conventions: the module ``dl101.chapters.NAME.experiment`` has a function ``run(seed,
n_tracks=None)`` that yields a :class:`Measurement` for each variant, mostly from one or more
:class:`Comparison`. The seed draws everything: the corpus (if it is embedded), initial weights, the
order of training. ``dl101 experiment NAME --seed 0 1 2 --results results/NAME.json`` records them;
the chapter shows the file.
"""

from __future__ import annotations

import importlib
import inspect
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from dl101 import chapters
from dl101.config import Seed, TrackCount, checked
from dl101.data import pair, pyjama
from dl101.data.embedded import export
from dl101.data.splits import SIDES
from dl101.errors import ConfigError, did_you_mean
from dl101.evaluation import results
from dl101.progress import progress as progress_bar

if TYPE_CHECKING:
    from torch import nn

Item = TypeVar("Item")
Data = TypeVar("Data")
Variant = TypeVar("Variant")
Trained = TypeVar("Trained")
Read = Callable[..., tuple[Any, int]]  # the samples and the rate of a track, or of a part of it


@dataclass(frozen=True)
class Measurement:
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


@dataclass(frozen=True, eq=False)
class Comparison(Generic[Data, Variant, Trained]):
    """Variants that are trained and scored on the same data, beside answers without training.

    A chapter says what is its own; this class loads, takes the time and describes.

    Attributes
    ----------
    corpus, n_tracks
        The embedded corpus that is held out, and its usual size.
    load
        Called with ``seed``, ``n_tracks`` and ``progress``: whatever all variants need.
    n_items
        Returns how many items of the data are held out.
    variants
        What is compared, by name.
    train
        Called with a variant, the data and a ``seed``: a network, or an object that has one as
        ``network``, or anything else where nothing is trained.
    score
        Called with what was trained, the variant and the data: scores of the held-out items.
    baselines
        Scores that need no training, from the data; by name.
    describe
        Returns the settings of a variant for its record.
    prefix
        Comes before the names of baselines and variants in the records.
    """

    corpus: str
    n_tracks: int
    load: Callable[..., Data]
    n_items: Callable[[Data], int]
    variants: Mapping[str, Variant]
    train: Callable[..., Trained]
    score: Callable[[Trained, Variant, Data], Mapping[str, float]]
    baselines: Mapping[str, Callable[[Data], Mapping[str, float]]] = field(default_factory=dict)
    describe: Callable[[Variant], Mapping[str, Any]] = asdict
    prefix: str = ""

    def run(
        self,
        seed: int,
        n_tracks: int | None = None,
        *,
        data: Data | None = None,
        done: Collection[str] = (),
    ) -> Iterator[Measurement]:
        """Score the baselines, then train and score every variant.

        Parameters
        ----------
        seed
            Of the corpus, the initial weights and the order of training.
        n_tracks
            Of the corpus; by default the usual number.
        data
            What ``load`` would return, where two comparisons share it.
        done
            Names of measurements that are left out, because an earlier run has made them.
        """
        names = [self.prefix + name for name in (*self.baselines, *self.variants)]
        if all(name in done for name in names):
            return
        n_tracks = n_tracks or self.n_tracks
        if data is None:
            data = self.load(seed=seed, n_tracks=n_tracks, progress=True)
        measurement = partial(
            Measurement, n_items=self.n_items(data), corpus=self.corpus, n_tracks=n_tracks
        )
        for name, baseline in self.baselines.items():
            if self.prefix + name in done:
                continue
            start = time.perf_counter()
            metrics = baseline(data)
            spent_s = time.perf_counter() - start
            yield measurement(self.prefix + name, metrics, wall_time_s=spent_s)
        for name, variant in self.variants.items():
            if self.prefix + name in done:
                continue
            start = time.perf_counter()
            trained = self.train(variant, data, seed=seed)
            metrics = self.score(trained, variant, data)
            spent_s = time.perf_counter() - start
            yield measurement(
                self.prefix + name,
                metrics,
                config=self.describe(variant),
                network=_network_of(trained),
                wall_time_s=spent_s,
            )


def _network_of(trained: Any) -> nn.Module | None:
    network = getattr(trained, "network", trained)
    return network if hasattr(network, "parameters") else None


def corpus_tracks(
    corpus: str, *, n_tracks: int, seed: int = 0, progress: bool = True
) -> Iterator[tuple[pyjama.Entry, Read]]:
    """Yield the tracks of an embedded corpus, which is rendered at first use.

    Yields
    ------
    entry, read
        What is annotated, and a function that returns samples and sample rate; it takes the
        ``start_s`` and ``duration_s`` of :meth:`dl101.data.audiostore.AudioStore.read`.
    """
    files = export.cached_corpus(corpus, n_tracks=n_tracks, seed=seed, progress=progress)
    with pair.opened(files.audio, files.annotations) as (entries, store):
        for entry in progress_bar(entries, f"reading {corpus}", enabled=progress):
            yield entry, partial(store.read, entry.filepath)


def load_sides(
    corpus: str,
    to_items: Callable[[pyjama.Entry, Read], Iterable[Item]],
    *,
    n_tracks: int,
    seed: int = 0,
    progress: bool = True,
) -> dict[str, list[Item]]:
    """Return the items of an embedded corpus by side, in its order.

    Parameters
    ----------
    corpus, n_tracks, seed
        Which corpus; it is rendered at first use.
    to_items
        Called with each track, as :func:`corpus_tracks` yields it: returns its items, if any.
    progress
        Whether to show progress bars.
    """
    sides: dict[str, list[Item]] = {side: [] for side in SIDES}
    for entry, read in corpus_tracks(corpus, n_tracks=n_tracks, seed=seed, progress=progress):
        sides[entry.first("split")] += to_items(entry, read)
    return sides


def names() -> tuple[str, ...]:
    """Return the experiments that there are."""
    rooms = (Path(folder) for folder in chapters.__path__)
    return tuple(
        sorted(found.parent.name for room in rooms for found in room.glob("*/experiment.py"))
    )


class AllBut(Collection[str]):
    """Every name but some: as ``done``, it leaves only these variants to be measured."""

    def __init__(self, names: Iterable[str]) -> None:
        self.names = frozenset(names)

    def __contains__(self, name: object) -> bool:
        return name not in self.names

    def __iter__(self) -> Iterator[str]:
        raise TypeError("all names but some have no end")

    def __len__(self) -> int:
        raise TypeError("all names but some have no number")


def measured_before(
    name: str, path: Path | str, *, seed: int = 0, n_tracks: int | None = None
) -> set[str]:
    """Return the variants of which a results file has the record that a run would make.

    That is: of this experiment and seed, on the same version of the corpus and, if ``n_tracks`` is
    given, on as many tracks. What it trained with is not looked at: a changed setting needs a run
    from the beginning.
    """
    if not Path(path).exists():
        return set()

    def is_current(data: Mapping[str, Any]) -> bool:
        same_size = n_tracks is None or data.get("n_tracks", n_tracks) == n_tracks
        known = data["dataset"] in export.CORPORA
        return same_size and (
            not known or data.get("version") == export.corpus_version(data["dataset"])
        )

    return {
        record.variant
        for record in results.load(path)
        if record.experiment == name and record.seed == seed and is_current(record.data)
    }


def run(
    name: str, *, seed: int = 0, n_tracks: int | None = None, done: Collection[str] | None = None
) -> Iterator[Measurement]:
    """Run an experiment, variant by variant; ``done`` are variants to leave out.

    Raises
    ------
    ConfigError
        If there is no such experiment, or no such seed or number of tracks; or if variants are to
        be left out of an experiment that always runs as a whole.
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
    experiment = importlib.import_module(f"dl101.chapters.{name}.experiment")
    if done is None:
        yield from experiment.run(seed, n_tracks=n_tracks)
        return
    if "done" not in inspect.signature(experiment.run).parameters:
        raise ConfigError(
            f"dl101 experiment {name} --resume",
            got="an experiment that runs as a whole",
            expected="one whose variants can be measured one by one",
            hint="run it without --resume",
        )
    yield from experiment.run(seed, n_tracks=n_tracks, done=done)


def as_record(name: str, measured: Measurement, *, seed: int, command: str) -> results.Record:
    """Return a measurement as a record for the results file of its experiment."""
    data: dict[str, Any] = {"dataset": measured.corpus or "made in the experiment"}
    if measured.corpus:
        data |= {"n_tracks": measured.n_tracks, "version": export.corpus_version(measured.corpus)}
    return results.Record(
        experiment=name,
        variant=measured.variant,
        seed=seed,
        data=data,
        split=measured.split,
        n_items=measured.n_items,
        metrics={key: round(float(value), 5) for key, value in measured.metrics.items()},
        config=dict(measured.config),
        command=command,
        wall_time_s=round(measured.wall_time_s, 2),
        n_parameters=measured.n_parameters,
        device=results.describe_device(measured.device),
    )
