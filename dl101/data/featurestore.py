"""Features of a whole dataset in one HDF5 file, read a few frames at a time.

Conventions: one array per track, (..., bins, frames), with the attribute ``frame_rate_hz``: the
format of :class:`dl101.data.audiostore.AudioStore`, which reads the two-dimensional ones, with a
choice of layout. An array is *contiguous* (one piece, row after row: frame t of bin b is at
``(b * frames + t) * itemsize``) or *chunked* (cut into blocks, each stored, and perhaps compressed,
by itself). A read touches every block that holds one of its values, and a compressed block is read
as a whole. Values are stored as float32 or float16 and read as float32.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Self

import h5py
import numpy as np
from numpy.typing import ArrayLike, NDArray

from dl101.data.audiofile import as_float32, as_number
from dl101.data.audiostore import (
    FRAME_RATE,
    HIGHEST_FRAME_RATE_HZ,
    LOWEST_FRAME_RATE_HZ,
    AudioStore,
    is_track_name,
)
from dl101.data.cache import replacing
from dl101.errors import ConfigError, DataError

DTYPES = ("float32", "float16")
COMPRESSIONS = (None, "lzf", "gzip")


class FeatureStore(AudioStore):
    """Read stretches of the features of an HDF5 file.

    As an :class:`~dl101.data.audiostore.AudioStore` it may be handed to worker processes, before or
    after its first use: each opens the file for itself.
    """

    def shape(self, key: str) -> tuple[int, ...]:
        """Return the shape of an entry, (..., bins, frames), without reading its values."""
        return tuple(self._array(key).shape)

    def frame_rate_hz(self, key: str) -> float:
        """Return the number of frames in a second."""
        return self._frame_rate_hz(key, self._attributes(key, self._array(key)))

    def chunks(self, key: str) -> tuple[int, ...] | None:
        """Return the shape of a chunk, None for a contiguous array."""
        return self._array(key).chunks

    def stored_bytes(self, key: str) -> int:
        """Return how many bytes the values of an entry take in the file."""
        return int(self._array(key).id.get_storage_size())

    def read_frames(self, key: str, start: int = 0, stop: int | None = None) -> NDArray[np.float32]:
        """Return the frames ``[start, stop)``, (..., bins, stop - start) float32.

        Raises
        ------
        DataError
            If there is no such entry, the frames leave it, or a value is not finite.
        """
        array = self._array(key)
        if array.ndim < 2:
            got = f"an array of shape {array.shape}"
            self._fail(key, got, "(..., bins, frames)", "use read() for audio")
        n_frames = array.shape[-1]
        stop = n_frames if stop is None else stop
        if not 0 <= start < stop <= n_frames:
            expected = f"0 <= start < stop <= {n_frames}"
            self._fail(key, f"frames [{start}, {stop})", expected, "cut patches inside the track")
        values = as_float32(self._values(key, array, (..., slice(start, stop))))
        if not np.isfinite(values).all():
            self._fail(key, "values that are not finite", "finite values", "make the file again")
        return values


class FeatureStoreWriter:
    """Write an HDF5 file of features, one array per track.

    A context manager. Nothing is at ``path`` until the block ends without an error; the same
    entries in the same order give the same bytes.

    Parameters
    ----------
    path
        The file to write or replace.
    dtype
        ``"float32"`` or ``"float16"``.
    chunk_frames, chunk_bins
        Size of a chunk along the last two axes; None takes the whole axis. Both None, without
        compression, gives contiguous arrays. Leading axes are never cut.
    compression
        None, ``"lzf"`` (fast) or ``"gzip"`` (smaller, slower).

    Raises
    ------
    ConfigError
        If an option is none of these.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        dtype: str = "float32",
        chunk_frames: int | None = None,
        chunk_bins: int | None = None,
        compression: str | None = None,
    ) -> None:
        for name, got, known in (
            ("dtype", dtype, DTYPES),
            ("compression", compression, COMPRESSIONS),
        ):
            if got not in known:
                expected = "one of " + ", ".join(map(repr, known))
                raise ConfigError(name, got=repr(got), expected=expected, hint="choose one")
        for name, size in (("chunk_frames", chunk_frames), ("chunk_bins", chunk_bins)):
            if size is not None and size < 1:
                hint = "leave it out to take the whole axis"
                raise ConfigError(name, got=size, expected="1 or more", hint=hint)
        self.path, self.dtype, self.compression = Path(path), np.dtype(dtype), compression
        self.chunk_frames, self.chunk_bins = chunk_frames, chunk_bins
        self._file: h5py.File | None = None

    def __enter__(self) -> Self:
        self._replacing = replacing(self.path)
        self._file = h5py.File(self._replacing.__enter__(), "w", locking=False)
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()
        self._file = None
        self._replacing.__exit__(*error)

    def append(self, key: str, values: ArrayLike, frame_rate_hz: float) -> None:
        """Add the feature of a track, (..., bins, frames).

        Raises
        ------
        DataError
            If the name is taken or has a slash, the rate cannot be right, or a value is not finite
            or too large for the type.
        """
        values = np.asarray(values)
        where = f"{self.path}, track {key!r}"
        if self._file is None or not is_track_name(key) or key in self._file:
            hint = "write inside a `with` block, and give each track a name of its own, no slash"
            raise DataError(where, got="a name or a time that cannot be", expected="one", hint=hint)
        rate = as_number(frame_rate_hz)
        if not LOWEST_FRAME_RATE_HZ <= rate <= HIGHEST_FRAME_RATE_HZ:
            expected = f"{LOWEST_FRAME_RATE_HZ} to {HIGHEST_FRAME_RATE_HZ}"
            got, hint = f"frame_rate_hz={frame_rate_hz}", "give frames per second"
            raise DataError(where, got=got, expected=expected, hint=hint)
        with np.errstate(over="ignore"):
            stored = values.astype(self.dtype)
        if values.ndim < 2 or not values.size or not np.isfinite(stored).all():
            raise DataError(
                where,
                got=f"shape {values.shape}, largest value {np.max(np.abs(values), initial=0):g}",
                expected=f"finite values (..., bins, frames) that {self.dtype} can hold",
                hint="compress with a logarithm first; float16 ends at 65504",
            )
        array = self._file.create_dataset(
            key,
            data=stored,
            chunks=self._chunks(values.shape),
            compression=self.compression,
            shuffle=self.compression is not None,  # bytes of like weight together: packs better
            track_times=False,  # or the time of day would be part of the bytes
        )
        array.attrs[FRAME_RATE] = rate

    def _chunks(self, shape: tuple[int, ...]) -> tuple[int, ...] | None:
        if self.chunk_frames is None and self.chunk_bins is None and self.compression is None:
            return None
        *lead, bins, frames = shape
        return (
            *lead,
            min(self.chunk_bins or bins, bins),
            min(self.chunk_frames or frames, frames),
        )


def chunks_touched(
    shape: Sequence[int], chunks: Sequence[int], start: int, stop: int
) -> tuple[int, ...]:
    """Return, axis by axis, how many chunks hold a value of the frames ``[start, stop)``.

    ``shape`` and ``chunks`` are those of the array, (..., bins, frames).
    """
    along = [-(-n // c) for n, c in zip(shape[:-1], chunks[:-1], strict=True)]
    return (*along, (stop - 1) // chunks[-1] - start // chunks[-1] + 1)


def bytes_touched(
    shape: Sequence[int], chunks: Sequence[int], start: int, stop: int, *, itemsize: int = 4
) -> int:
    """Return the bytes, before compression, of the chunks that a read of frames touches.

    HDF5 stores chunks at the edge of an array in full, so that they count in full.
    """
    n_chunks = np.prod(chunks_touched(shape, chunks, start, stop))
    return int(n_chunks * np.prod(chunks) * itemsize)
