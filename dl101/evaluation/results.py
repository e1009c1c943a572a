"""Measured results on disk: one JSON file per experiment, one record per run.

A record says what was run (config, seed, data, command), on what (split, number of items, device,
library version, commit) and what came out (metrics, wall time). Tables and curves of the book are
rendered from these files, never typed. A record replaces an earlier one with the same key
(experiment, variant, seed, data), so that re-running a command updates its line. JSON has no NaN
and no infinity: they are written as the strings ``"nan"``, ``"inf"`` and ``"-inf"``; metrics are
numbers again when they are read.
"""

from __future__ import annotations

import datetime as dt
import json
import math
import os
import platform
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dl101 import __version__
from dl101.data.cache import check_writable, fingerprint, replacing
from dl101.errors import DataError, did_you_mean

NORMAL_95 = 1.959963984540054  # standard errors to either side


@dataclass(frozen=True)
class Record:
    """One measured run. ``metrics`` are means over ``n_items`` items of ``split``."""

    experiment: str
    variant: str
    seed: int
    data: Mapping[str, Any]
    split: str
    n_items: int
    metrics: Mapping[str, float]
    config: Mapping[str, Any]
    command: str
    wall_time_s: float
    n_parameters: int = 0
    device: str = field(default_factory=lambda: describe_device())
    dl101_version: str = __version__
    commit: str | None = field(default_factory=lambda: current_commit())
    date: str = field(default_factory=lambda: dt.datetime.now(dt.UTC).strftime("%Y-%m-%d"))

    @property
    def key(self) -> str:
        """Return what identifies the run: its question and its seed."""
        return fingerprint([self.question, self.seed])

    @property
    def question(self) -> str:
        """Return what the run asks: everything but its seed, its answer and versions.

        A newer version of code or data asks the same question again, and its answer replaces the
        older one. An option that is off (None) asks what was asked before the option existed.
        """
        data = {name: value for name, value in self.data.items() if name != "version"}
        config = {name: value for name, value in self.config.items() if value is not None}
        return fingerprint(_plain([self.experiment, self.variant, data, self.split, config]))


def _plain(value: Any) -> Any:
    """Return what JSON can hold: NumPy's numbers as Python's, numbers that are not finite by name.

    A run must not be lost because one of its scores is not a number.
    """
    if isinstance(value, Mapping):
        return {str(name): _plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, np.generic | np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return str(float(value))
    return str(value) if isinstance(value, Path) else value


def describe_device(device: str = "cpu") -> str:
    """Return the name of a GPU (``cuda:0``), or the processor's type and the usable cores."""
    kind = device.partition(":")[0]
    if kind == "cuda":
        torch = sys.modules["torch"]  # a run on a GPU has imported it; plain metrics need not
        return torch.cuda.get_device_name(device)
    if kind != "cpu":
        return f"{kind.upper()} ({platform.machine()})"
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"CPU ({platform.machine()}, {cores} cores)"


def current_commit() -> str | None:
    """Return the short commit of dl101's own checkout, or None outside one.

    ``+changes`` follows where the library differs from that commit.
    """
    here = Path(__file__).resolve()

    def git(*words: str) -> str:
        command = ["git", "-C", str(here.parent), *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        git("ls-files", "--error-unmatch", here.name)  # not somebody else's checkout around us
        changed = git("status", "--porcelain", "--untracked-files=no", str(here.parents[1]))
        return git("rev-parse", "--short=10", "HEAD") + ("+changes" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def find(experiment: str) -> Path:
    """Return the results file that ships with dl101: of the checkout, or of the installation."""
    name = f"{experiment}.json"
    package = Path(__file__).resolve().parents[1]
    installed = package / "results" / name  # a wheel holds the checkout's folder there
    return installed if installed.exists() else package.parent / "results" / name


def load(path: Path | str) -> list[Record]:
    """Return the records of a results file, in the order of the file.

    Raises
    ------
    DataError
        If the file is missing or one of its records lacks a field.
    """
    path = Path(path)
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))["records"]
        for row in rows:
            named = row["metrics"].items()
            row["metrics"] = {k: float(v) if isinstance(v, str) else v for k, v in named}
        return [Record(**row) for row in rows]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"results file {path}",
            got=f"{type(error).__name__}: {error}",
            expected='{"records": [...]} as written by dl101',
            hint="run the command that makes it again",
        ) from error


def check(path: Path | str) -> None:
    """Find out, before a run, whether :func:`save` will be able to add its record to a file.

    Raises
    ------
    ConfigError
        If nothing can be written there.
    DataError
        If the file is there and holds no records.
    """
    check_writable(path)
    if Path(path).exists():
        load(path)


def save(path: Path | str, records: Iterable[Record]) -> None:
    """Add records to a results file, replacing those with the same key.

    Written atomically and under a lock, so that two runs can record in one file at once. The lock
    stands beside the file: the runs may have caches of their own.
    """
    from filelock import FileLock

    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path = path.resolve()
    with FileLock(path.with_name(f".{path.name}.lock")):
        merged = {record.key: record for record in load(path)} if path.exists() else {}
        merged.update({record.key: record for record in records})
        ordered = sorted(merged.values(), key=lambda r: (r.experiment, r.variant, r.seed, r.key))
        rows = [_plain(asdict(record)) for record in ordered]
        text = json.dumps({"records": rows}, indent=1, allow_nan=False)
        with replacing(path) as temporary:
            temporary.write_text(text + "\n", encoding="utf-8")


def summarise(records: Sequence[Record], metrics: Sequence[str]) -> list[dict[str, Any]]:
    """Return one row per variant: number of seeds, and mean and spread of each metric.

    The spread is the sample standard deviation over seeds (NaN for a single seed).

    Raises
    ------
    DataError
        If runs of one variant differ in more than their seed: their mean would say nothing.
    """
    rows = []
    for variant in dict.fromkeys(record.variant for record in records):
        runs = [record for record in records if record.variant == variant]
        n_questions = len({run.question for run in runs})
        if n_questions > 1:
            raise DataError(
                f"results of variant {variant!r}",
                got=f"{n_questions} different configurations, data or splits",
                expected="runs that differ in their seed only",
                hint="select the records of one configuration first",
            )
        row: dict[str, Any] = {
            "variant": variant,
            "n_parameters": runs[0].n_parameters,
            "n_seeds": len({run.seed for run in runs}),
            "wall_time_s": float(np.mean([run.wall_time_s for run in runs])),
        }
        for name in metrics:
            values = np.array([run.metrics[name] for run in runs])
            row[name] = float(values.mean())
            row[f"{name}_std"] = float(values.std(ddof=1)) if len(values) > 1 else float("nan")
        rows.append(row)
    return rows


def t_factor(n: int, *, level: float = 0.95) -> float:
    """Return by how many standard errors an interval of ``n`` values reaches from the mean."""
    from scipy.special import stdtrit

    return float(stdtrit(n - 1, 0.5 + level / 2.0)) if n > 1 else math.inf


def student_interval(values: ArrayLike, confidence: float = 0.95) -> tuple[float, float]:
    """Return Student's interval of a mean, such as of one difference a seed.

    The values are taken as independent draws from a normal distribution; with two or three of them
    the interval is wide, and with fewer than two infinite.
    """
    values = np.asarray(values, dtype=np.float64)
    if values.size < 2:
        return -math.inf, math.inf
    mean, error = float(values.mean()), float(values.std(ddof=1)) / math.sqrt(values.size)
    reach = t_factor(values.size, level=confidence) * error
    return mean - reach, mean + reach


def mean_over_tracks(scores: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the mean of each score over tracks: a long track weighs no more than a short one."""
    if not scores:
        raise DataError(
            "mean over tracks", got="no track", expected="at least one", hint="check the split"
        )
    return {name: float(np.mean([track[name] for track in scores])) for name in scores[0]}


class Measured:
    """The records of one experiment, asked by variant and metric: what tables and sentences need.

    Parameters
    ----------
    records
        Runs that differ, variant by variant, in their seed only.
    """

    def __init__(self, records: Sequence[Record]) -> None:
        self.records = sorted(records, key=lambda record: record.seed)

    @classmethod
    def of(cls, experiment: str) -> Measured:
        """Return what ships with dl101 of an experiment; see :func:`find`."""
        return cls(load(find(experiment)))

    @property
    def seeds(self) -> list[int]:
        """Return the seeds that were run, in order."""
        return sorted({record.seed for record in self.records})

    @property
    def variants(self) -> list[str]:
        """Return the names of the variants."""
        return list(dict.fromkeys(record.variant for record in self.records))

    def runs(self, variant: str) -> list[Record]:
        """Return the runs of a variant, in the order of their seeds.

        Raises
        ------
        DataError
            If there are none.
        """
        found = [record for record in self.records if record.variant == variant]
        if not found:
            raise DataError(
                "variant",
                got=repr(variant),
                expected="one of those that were measured",
                hint=did_you_mean(variant, self.variants, otherwise="see Measured.variants"),
            )
        return found

    def each(self, variant: str, metric: str) -> NDArray[np.float64]:
        """Return a metric of a variant for each seed, in the order of the seeds."""
        return np.array([run.metrics[metric] for run in self.runs(variant)])

    def mean(self, variant: str, metric: str) -> float:
        """Return the mean over seeds."""
        return float(self.each(variant, metric).mean())

    def spread(self, variant: str, metric: str) -> float:
        """Return the sample standard deviation over seeds; NaN for a single one."""
        values = self.each(variant, metric)
        return float(values.std(ddof=1)) if values.size > 1 else math.nan

    def text(self, variant: str, metric: str, *, digits: int = 2, scale: float = 1.0) -> str:
        """Return mean ± sample standard deviation over seeds; one seed has no deviation."""
        mean, spread = self.mean(variant, metric), self.spread(variant, metric)
        tail = f" ± {scale * spread:.{digits}f}" if len(self.runs(variant)) > 1 else ""
        return f"{scale * mean:.{digits}f}{tail}"

    def beats(self, better: str, worse: str, metric: str) -> bool:
        """Return whether one variant has the higher score with every seed."""
        return bool(np.all(self.each(better, metric) > self.each(worse, metric)))


@dataclass(frozen=True)
class Estimate:
    """A number with its interval of 95 %."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:+.2f} ({self.low:+.2f} to {self.high:+.2f})"

    @property
    def verdict(self) -> str:
        """Return what it says of the claim that the number is above 0."""
        return "confirmed" if self.low > 0 else "denied" if self.high < 0 else "undecided"


def estimate(values: NDArray[np.float64], errors: NDArray[np.float64]) -> Estimate:
    """Return the mean of one number a seed, with its interval.

    Parameters
    ----------
    values
        (seeds,), each measured on items of its own.
    errors
        (seeds,), the standard error of each over its items. That of the mean is the larger one of
        two: over items, all seeds together, and over the seeds.
    """
    over_items = np.sqrt(np.sum(errors**2)) / values.size
    over_seeds = values.std(ddof=1) / np.sqrt(values.size) if values.size > 1 else 0.0
    half = NORMAL_95 * max(over_items, over_seeds)
    middle = float(values.mean())
    return Estimate(middle, float(middle - half), float(middle + half))


def difference(measured: Measured, variant: str, metric: str, *, sign: float = 1.0) -> Estimate:
    """Return a difference of the records with its interval, see :func:`estimate`.

    Parameters
    ----------
    measured
        The records.
    variant, metric
        Such as ``dances: differences`` and ``7x86 over 7x96``; its ``(error)`` stands beside it.
    sign
        -1 turns it round.
    """
    errors = measured.each(variant, f"{metric} (error)")
    return estimate(sign * measured.each(variant, metric), errors)
