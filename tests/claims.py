"""Measured numbers in prose, and the records that they must agree with.

A number in a sentence is followed by an HTML comment, which no page, notebook or Colab shows::

    it finds 0.47<!-- = log_mel("no logarithm", "accuracy_known") --> of the known instruments,
    worse with every seed<!-- true: all(a.each("x", "accuracy") < a.each("y", "accuracy")) -->

``= EXPRESSION`` must round to the number before it, at the number's own precision; ``true:
EXPRESSION`` must hold. Names are the files of ``results/``: ``NAME(variant, metric)`` is the mean
over seeds, ``NAME.each(variant, metric)`` one value for each seed, in order; both take filters:
``seed=1``, or of a record's data, such as ``dataset="dances"``. A decimal fraction that is no
result says what it is: ``0.35<!-- given: of the strength, counted in the figure -->``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
# NumPy imports what its methods need at their first call, which expressions without builtins cannot
for _method in ("all", "any", "sum", "mean", "max", "min"):
    getattr(np.ones(1), _method)()
WORDS = dict(
    zip(
        "zero one two three four five six seven eight nine ten eleven twelve".split(),
        range(13),
        strict=True,
    )
)
COMMENT = re.compile(r"<!--\s*(=|true:|given:)\s*(.*?)\s*-->", re.DOTALL)
NUMBER = re.compile(r"([-−]?\d+(?:[ \u202f]\d{3})*(?:\.\d+)?|[A-Za-z]+)\W{0,3}$")
NOT_PROSE = re.compile(
    r"```.*?```|\$\$.*?\$\$|\$[^$\n]*\$|`[^`]*`|\]\([^)]*\)|<!--.*?-->|\{[a-z]+\}`[^`]*`", re.DOTALL
)
FRACTION = re.compile(r"(?<![\d.])0\.\d{2,}(?![\d.])")


class Experiment:
    """The records of one file of ``results/``."""

    def __init__(self, path: Path) -> None:
        self.name = path.stem
        self.records = json.loads(path.read_text(encoding="utf-8"))["records"]

    def each(self, variant: str, metric: str, **data: object) -> np.ndarray:
        """Return a metric of a variant for each seed, in the order of the seeds."""
        found = [
            record
            for record in self.records
            if record["variant"] == variant
            and all((record["data"] | record).get(key) == value for key, value in data.items())
        ]
        if not found:
            raise KeyError(f"results/{self.name}.json has no variant {variant!r} with {data}")
        seeds = [record["seed"] for record in found]
        if len(set(seeds)) != len(seeds):
            raise KeyError(f"results/{self.name}.json: {variant!r} with {data} is ambiguous")
        return np.array([r["metrics"][metric] for r in sorted(found, key=lambda r: r["seed"])])

    def __call__(self, variant: str, metric: str, **data: object) -> float:
        """Return the mean over seeds."""
        return float(self.each(variant, metric, **data).mean())


def experiments(folder: Path = ROOT / "results") -> dict[str, Experiment]:
    """Return what a claim may name."""
    return {path.stem: Experiment(path) for path in sorted(folder.glob("*.json"))}


def every(values: object) -> bool:
    """Return whether all hold: of an array, or of a generator, which NumPy would take for one."""
    return bool(np.all(list(values) if isinstance(values, Iterator) else values))


def some(values: object) -> bool:
    """Return whether any holds; see :func:`every`."""
    return bool(np.any(list(values) if isinstance(values, Iterator) else values))


def wrong(text: str, names: dict[str, object]) -> Iterator[str]:
    """Yield what is wrong with the claims of a text."""
    functions = {"all": every, "any": some, "abs": abs, "max": max, "min": min, "sum": np.sum}
    for match in COMMENT.finditer(text):
        kind, expression = match.groups()
        said = " ".join(text[max(0, match.start() - 60) : match.start()].split())
        if kind == "given:":
            continue
        try:
            # our own pages; as globals, so that what stands inside a generator is seen too
            value = eval(expression, {"__builtins__": {}, **functions, **names})
        except Exception as error:
            yield f"…{said} [{expression}]: {type(error).__name__}: {error}"
            continue
        if kind == "true:":
            if not bool(value):
                yield f"…{said}: the records deny it ({expression})"
            continue
        number = NUMBER.search(text[: match.start()])
        stated = number and stated_value(number.group(1))
        if stated is None:
            yield f"…{said}: no number before the claim"
        elif not agrees(stated, float(value)):
            yield f"…{said}: the records say {float(value):.4g} ({expression})"


def stated_value(token: str) -> Decimal | None:
    """Return the number that digits or a word stand for."""
    if token.lower() in WORDS:
        return Decimal(WORDS[token.lower()])
    plain = token.replace(" ", "").replace("\u202f", "").replace("−", "-")
    return Decimal(plain) if re.fullmatch(r"-?\d+(\.\d+)?", plain) else None


def agrees(stated: Decimal, value: float) -> bool:
    """Whether a value rounds to what is stated; a tie may round either way."""
    half = 0.5 * 10.0 ** stated.as_tuple().exponent
    return abs(value - float(stated)) <= half + 1e-9


def unclaimed(text: str) -> Iterator[str]:
    """Yield fractions such as 0.47 in prose that no claim follows."""
    held = NOT_PROSE.sub(lambda m: m.group() if m.group().startswith("<!--") else " " * 3, text)
    for match in FRACTION.finditer(held):
        inside_comment = held.rfind("<!--", 0, match.start()) > held.rfind("-->", 0, match.start())
        if not inside_comment and not COMMENT.match(held, match.end()):
            yield " ".join(held[max(0, match.start() - 40) : match.end() + 20].split())
