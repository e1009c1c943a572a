"""The real datasets that dl101 knows, by name.

The records are in :mod:`dl101.data.catalog_entries`: to add a dataset, add one there.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from dl101.data.catalog_entries import ENTRIES
from dl101.data.catalog_record import Dataset
from dl101.errors import ConfigError, did_you_mean

DATASETS: Mapping[str, Dataset] = MappingProxyType({entry.name: entry for entry in ENTRIES})


def lookup(name: str, catalog: Mapping[str, Dataset] = DATASETS) -> Dataset:
    """Return the record of a dataset.

    Parameters
    ----------
    name
        Its name.
    catalog
        Where to look.

    Raises
    ------
    ConfigError
        Where there is none of that name.
    """
    if name in catalog:
        return catalog[name]
    raise ConfigError(
        "dataset",
        got=repr(name),
        expected=f"one of {', '.join(sorted(catalog))}",
        hint=did_you_mean(name, catalog, otherwise="choose one of these"),
    )
