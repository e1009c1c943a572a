"""What a corpus is: a name, a size, and a function that makes track number k.

Conventions: tracks are numbered from 0. In each group of six, one is for validation, one for test
and four are for training, so the first N tracks of a longer corpus are the corpus of N tracks.
Track k depends on (seed, k) alone, which is why any number of processes can share the work.

Each module of :mod:`dl101.data.embedded.corpora` defines one or more recipes as ``RECIPE`` or
``RECIPES``; :data:`dl101.data.embedded.export.CORPORA` names the modules.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from dl101.data.pyjama import Atom, Definition
from dl101.data.splits import SIDES

# Which side each of six consecutive tracks belongs to: 4 to 1 to 1, all three from the start.
PATTERN = ("train", "validation", "test", "train", "train", "train")


@dataclass(frozen=True, eq=False)
class Item:
    """One entry of a corpus.

    Attributes
    ----------
    key
        Its ``filepath``, without a slash; no other entry of the corpus has it.
    values
        Float32: audio (samples,) or (2, samples), or a feature (bins, frames).
    rate
        Samples or frames in a second.
    fields
        Its annotations, as :mod:`dl101.data.embedded.annotations` makes them.
    """

    key: str
    values: NDArray[np.float32]
    rate: float
    fields: Mapping[str, tuple[Atom, ...]]


class Render(Protocol):
    """Make a track: its main item first, then, with ``extras``, those that belong to it."""

    def __call__(self, index: int, *, seed: int, duration_s: float, extras: bool) -> Sequence[Item]:
        """Return the items of track ``index``; the same arguments give the same bytes."""


@dataclass(frozen=True)
class Recipe:
    """A corpus, as a list of what makes it.

    Attributes
    ----------
    name
        What users call it.
    title
        One line that says what it holds.
    stands_for
        The real datasets in whose place it stands.
    default_tracks
        Number of tracks at the scale of a lab.
    duration_s
        Length of a track in seconds.
    unit
        The field whose values never cross the splits (``work``, ``artist``, ...).
    extras
        What :func:`Render` adds for each track on request, in words; empty for nothing.
    definitions
        The fields of its entries.
    render
        Makes one track.
    holds
        ``"audio"`` or ``"features"``.
    bytes_per_s
        Bytes of its main item in a second, before annotations: 4 for each sample of each channel.
    n_extras
        How many extra items a track has, on average.
    mean_share
        How long a track is on average, as a share of ``duration_s`` (less than 1: lengths differ,
        and ``duration_s`` is the longest).
    provenance
        Which scores and sounds it is made from.
    """

    name: str
    title: str
    stands_for: str
    default_tracks: int
    duration_s: float
    unit: str
    definitions: Mapping[str, Definition]
    render: Render
    extras: str = ""
    holds: str = "audio"
    bytes_per_s: float = 4.0 * 22050
    n_extras: float = 0.0
    mean_share: float = 1.0
    provenance: str = "Bach's chorales (public domain) and the sound bank"

    @property
    def length(self) -> str:
        """How long a track is, in words."""
        if self.mean_share == 1.0:
            return f"{self.duration_s:g} s"
        return f"{(2 * self.mean_share - 1) * self.duration_s:g} to {self.duration_s:g} s"


def track_split(index: int) -> tuple[str, int]:
    """Return the split of a track, and its number within that split."""
    block, place = divmod(index, len(PATTERN))
    split = PATTERN[place]
    return split, block * PATTERN.count(split) + PATTERN[:place].count(split)


def generator(seed: int, index: int, *more: int) -> np.random.Generator:
    """Return the random numbers of one track: by seed, split and number within the split."""
    split, number = track_split(index)
    return np.random.default_rng([seed, SIDES.index(split), number, *more])
