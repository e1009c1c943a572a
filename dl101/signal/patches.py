"""Which patch is which: numbering the patches of many tracks without copying a frame.

Conventions: tracks are numbered 0, 1, ... and have ``n_frames`` each; a patch is a stretch of
frames ``[start, stop)`` of one track, cut as :func:`patches` does (the last patch
of a track may be shorter, no frame is dropped). Patches are numbered through, track after track.
The index keeps one number a track, so that a million patches cost no more than their tracks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dl101.config import (
    PatchFrames,
    checked,
)
from dl101.errors import ConfigError, DataError


class Patch(NamedTuple):
    """The frames ``[start, stop)`` of a track."""

    track: int
    start: int
    stop: int


class PatchIndex(Sequence[Patch]):
    """All patches of all tracks: item ``i`` is the :class:`Patch` with number ``i``.

    Parameters
    ----------
    n_frames
        Length of each track.
    patch_frames, hop_frames
        Length of a patch, and distance from one to the next; a hop equal to the patch (the
        default) gives patches that do not overlap.

    Raises
    ------
    ConfigError
        If the hop is not between 1 and the patch.
    """

    def __init__(
        self, n_frames: Sequence[int], *, patch_frames: int, hop_frames: int | None = None
    ) -> None:
        self.n_frames = tuple(int(n) for n in n_frames)
        self.patch_frames = patch_frames
        self.hop_frames = patch_frames if hop_frames is None else hop_frames
        counts = [
            len(patches(n, patch_frames=patch_frames, hop_frames=self.hop_frames))
            for n in self.n_frames
        ]
        self.first = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)  # of each track

    def __len__(self) -> int:
        return int(self.first[-1])

    def __getitem__(self, number: int) -> Patch:
        number = int(number)
        if not -len(self) <= number < len(self):
            raise IndexError(f"patch {number} of {len(self)}")
        number %= len(self)
        # the last track that begins at or before this number; empty tracks are skipped
        track = int(np.searchsorted(self.first, number, side="right")) - 1
        start = int(number - self.first[track]) * self.hop_frames
        return Patch(track, start, min(start + self.patch_frames, self.n_frames[track]))

    def of_track(self, track: int) -> range:
        """Return the numbers of the patches of a track."""
        return range(int(self.first[track]), int(self.first[track + 1]))

    def cut(self, values: NDArray, patch: Patch) -> NDArray:
        """Return the frames of a patch, (..., patch_frames), zeros after the end of the track."""
        return pad_frames(values[..., patch.start : patch.stop], self.patch_frames)

    def mean_by_track(self, scores: ArrayLike) -> NDArray[np.float64]:
        """Return the mean of the patches' scores for each track, (tracks, ...).

        Raises
        ------
        DataError
            If there is not one score (or row) for each patch, or a track has no patch.
        """
        scores = np.asarray(scores, dtype=np.float64)
        counts = np.diff(self.first)
        if len(scores) != len(self) or not counts.all():
            raise DataError(
                "scores of patches",
                got=f"{len(scores)} scores, {int((counts == 0).sum())} tracks without a patch",
                expected=f"{len(self)} scores, and a patch in each track",
                hint="score every patch, in the order of the index",
            )
        total = np.add.reduceat(scores, self.first[:-1], axis=0)
        return total / counts.reshape(-1, *(1,) * (scores.ndim - 1))


def pad_frames(values: NDArray, n_frames: int) -> NDArray:
    """Return values with zeros after the last frame, (..., n_frames)."""
    missing = n_frames - values.shape[-1]
    return np.pad(values, [(0, 0)] * (values.ndim - 1) + [(0, missing)]) if missing else values


def block_order(
    index: PatchIndex, rng: np.random.Generator, *, block_tracks: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Yield the tracks of a block, and the numbers of their patches in random order.

    Tracks are dealt at random into blocks; one block after the other is read into memory, shuffled
    and used up. All patches come exactly once. With as many tracks in a block as there are, this is
    a shuffle of everything; with one, patches of a track stay together.

    Raises
    ------
    ConfigError
        If a block would be empty.
    """
    if block_tracks < 1:
        raise ConfigError(
            "block_tracks",
            got=block_tracks,
            expected="at least one track in a block",
            hint="use as many tracks as fit into memory",
        )
    tracks = rng.permutation(len(index.n_frames))
    for begin in range(0, len(tracks), block_tracks):
        block = tracks[begin : begin + block_tracks]
        numbers = np.concatenate([np.array(index.of_track(t), dtype=np.int64) for t in block])
        yield block, rng.permutation(numbers)


def patches(n_frames: int, *, patch_frames: int, hop_frames: int) -> NDArray[np.int64]:
    """Return the patches ``[start, stop)`` that cover all frames, shape ``(n, 2)``.

    Patches start every ``hop_frames`` and last ``patch_frames``, except that the last one may be
    shorter: it stops at ``n_frames``, and whoever needs equal lengths pads it. No frame is dropped.

    Raises
    ------
    ConfigError
        If a length is not positive, or the hop exceeds the patch (frames would be skipped).
    """
    patch_frames = checked(PatchFrames, patch_frames, "patches: patch_frames")
    hop_frames = checked(PatchFrames, hop_frames, "patches: hop_frames")
    if hop_frames > patch_frames:
        raise ConfigError(
            "patches",
            got=f"patch_frames={patch_frames}, hop_frames={hop_frames}",
            expected="1 <= hop_frames <= patch_frames",
            hint="use a hop equal to the patch for patches that do not overlap",
        )
    if n_frames <= 0:
        return np.empty((0, 2), dtype=np.int64)
    n = 1 + max(0, -(-(n_frames - patch_frames) // hop_frames))
    starts = np.arange(n, dtype=np.int64) * hop_frames
    return np.stack([starts, np.minimum(starts + patch_frames, n_frames)], axis=1)
