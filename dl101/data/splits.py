"""Train, validation and test sides that never share a work.

A *group* is what must stay together: the piece that was recorded several times, the artist, the
tune. Groups are put in an order that depends on their names and the seed alone (through SHA-256,
because Python's own ``hash`` changes from run to run), and the order is cut at exact fractions.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

from dl101.errors import DataError

SIDES = ("train", "validation", "test")

# How to read the work from a file name, for datasets whose annotation does not state it.
# MAPS plays the same pieces on several pianos: MAPS_MUS-alb_se3_AkPnBcht.wav is piece alb_se3.
_WORK_IN_NAME = {
    "maps": re.compile(r"MAPS_MUS-(?P<work>.+)_[^_]+\.wav$"),
    "bach10": re.compile(r"(?P<work>\d+-[^-.]+)"),
}


def work_of(dataset: str, filepath: str) -> str:
    """Return the work that a file plays, read from its name; the name itself if nothing else."""
    pattern = _WORK_IN_NAME.get(dataset)
    match = pattern.search(filepath) if pattern else None
    return match["work"] if match else filepath


def split_by_group(
    groups: Sequence[str],
    *,
    fractions: tuple[float, float, float] = (0.7, 0.15, 0.15),
    seed: int = 0,
) -> dict[str, str]:
    """Return the side of each group: exact fractions of the groups, in an order made by hashing.

    Parameters
    ----------
    groups
        Names of groups, repeats allowed.
    fractions
        Shares of train, validation and test; they must sum to one.
    seed
        Another seed gives another split.

    Raises
    ------
    DataError
        If a side with a positive share would be empty.
    """
    names = sorted(set(groups), key=lambda name: _digest(name, seed))
    if abs(sum(fractions) - 1) > 1e-9 or min(fractions) < 0:
        raise DataError(
            "split fractions",
            got=fractions,
            expected="three shares that sum to 1",
            hint="use for example (0.7, 0.15, 0.15)",
        )
    wanted = [share > 0 for share in fractions]
    if len(names) < sum(wanted):
        raise DataError(
            "split",
            got=f"{len(names)} group(s)",
            expected=f"at least {sum(wanted)}, one for each side",
            hint="load more tracks",
        )
    # every side that is wanted gets at least one group
    n_validation = max(round(fractions[1] * len(names)), int(wanted[1]))
    n_test = max(round(fractions[2] * len(names)), int(wanted[2]))
    n_train = len(names) - n_validation - n_test
    sizes = (n_train, n_validation, n_test)
    sides = [side for side, size in zip(SIDES, sizes, strict=True) for _ in range(size)]
    return dict(zip(names, sides, strict=True))


def _digest(name: str, seed: int) -> bytes:
    return hashlib.sha256(f"{seed}/{name}".encode()).digest()
