"""One way to show progress: a bar on standard error that disappears when the work is done.

``DL101_PROGRESS=0`` turns every bar off, which keeps saved notebooks and logs free of debris.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


def progress_enabled() -> bool:
    """Return whether bars may be drawn."""
    return os.environ.get("DL101_PROGRESS", "1").strip().lower() not in ("0", "false", "no")


def progress(
    items: Iterable[T],
    description: str,
    *,
    total: int | None = None,
    unit: str = "it",
    enabled: bool = True,
) -> Iterator[T]:
    """Iterate over ``items`` under a bar with a description, a count and the time left.

    ``total`` is their number where ``len`` cannot tell, ``unit`` what they are.
    """
    if not (enabled and progress_enabled()):
        # without tqdm, whose lock is shared with forked processes: one that is killed keeps it
        yield from items
        return
    from tqdm import tqdm

    # quick work needs no bar
    yield from tqdm(items, desc=description, total=total, unit=unit, leave=False, delay=0.5)
