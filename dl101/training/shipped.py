"""Networks on disk that anybody can use: weights, settings and the record of the run in one file.

Conventions: one safetensors file a network, written by ``dl101 train SYSTEM --weights FILE``. Its
header is text: ``system`` (a name of :mod:`dl101.systems`), ``config`` (the settings, JSON) and
``record`` (the run's :class:`~dl101.evaluation.results.Record`, JSON: corpus and its version, seed,
scores, commit, command). Those that ship with dl101 lie in ``checkpoints/``. Nothing in a file is
trusted: settings pass through the same checks as a user's, weights must fit the network.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import dl101
from dl101 import config
from dl101.data.cache import existing
from dl101.errors import DataError, did_you_mean
from dl101.evaluation.results import Record
from dl101.training import protocol
from dl101.training.checkpoints import load_weights, read_safetensors, save_weights
from dl101.training.fit import System


@dataclass(frozen=True, eq=False)
class Shipped:
    """A trained system, ready to predict, and how it came about."""

    system: System
    settings: Any
    record: Mapping[str, Any]

    @property
    def metrics(self) -> Mapping[str, float]:
        """Return its scores on the test side, and what was chosen on the validation side."""
        return self.record["metrics"]


def folder() -> Path:
    """Return where the networks that ship with dl101 lie: in the checkout, or the installation."""
    package = Path(dl101.__file__).resolve().parent
    installed = package / "checkpoints"  # a wheel holds the checkout's folder there
    return installed if installed.exists() else package.parent / "checkpoints"


def names() -> tuple[str, ...]:
    """Return the networks that ship with dl101."""
    return tuple(sorted(file.stem for file in folder().glob("*.safetensors")))


@dataclass(frozen=True)
class Network:
    """What a setting may hold that names a network: one that ships, or a file of weights."""

    def allows(self, value: str) -> bool:
        """Return whether there is such a network."""
        try:
            return value in names() or existing(value).is_file()
        except (OSError, ValueError):  # a name too long, or with a NUL
            return False

    def known(self) -> list[str]:
        """Return the networks that ship."""
        return list(names())

    def __str__(self) -> str:
        return f"one of {', '.join(self.known())}, or a file made by dl101 train --weights"


def save(path: Path | str, system: System, settings: Any, record: Record) -> None:
    """Write a trained system, its settings and its record to one file."""
    header = {
        "system": record.experiment,
        "config": json.dumps(config.to_dict(settings)),
        "record": json.dumps(asdict(record)),
    }
    save_weights(system, path, header, dtype=system.shipped_dtype)


def load(network: Path | str) -> Shipped:
    """Return a network by its name, if it ships with dl101, or from a file.

    Raises
    ------
    DataError
        If there is no such network, or the file is damaged or not of this form.
    ConfigError
        If the settings in the file are none that the system takes.
    """
    path = folder() / f"{network}.safetensors" if network in names() else Path(network)
    if not path.is_file():
        raise DataError(
            "network",
            got=repr(str(network)),
            expected=f"one of {', '.join(names())}, or a file made by dl101 train --weights",
            hint=did_you_mean(str(network), names()),
        )
    _, header = read_safetensors(path, header_only=True)
    try:
        given, record = json.loads(header["config"]), json.loads(header["record"])
        if not all(isinstance(part, dict) for part in (given, record, record["metrics"])):
            raise ValueError("settings or a record that is no table")
        module = protocol.find(header["system"])
    except (KeyError, ValueError) as error:
        raise DataError(
            f"checkpoint {path}",
            got=f"a header without {error}" if isinstance(error, KeyError) else str(error),
            expected="the system, its settings and its record in the header",
            hint="write it with dl101 train SYSTEM --weights FILE",
        ) from error
    settings = config.build(module.Config, given, where=f"settings of {path.name}")
    system = module.build(settings)
    load_weights(system, path)
    system.eval()
    return Shipped(system, settings, record)
