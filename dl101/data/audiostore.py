"""Audio of a whole dataset in one HDF5 file: one array per track, read lazily by time span.

Conventions: an array is keyed by the track's ``filepath`` in the annotations and carries its
sampling rate in Hz as the attribute ``sr_hz``. We write float32 in [-1, 1], unresampled: mono
(samples,) or stereo (2, samples). Files in circulation also use the attribute ``sr``, integer
samples and other layouts: they are read as float32 too, the shorter of two dimensions being taken
for the channels. Unless asked otherwise, the mean over channels is returned.

A dataset may hold features instead of audio (chroma of cover songs): arrays (bins, frames) whose
frame rate in Hz is the attribute ``frame_rate_hz``; :meth:`AudioStore.read_feature` reads them.
The features of cover songs that were published in 2024 are (frames, 12) and state no rate.

Every check is made at the door: what is read is not empty, exactly as long as asked for, and
follows the rules of :mod:`dl101.data.audiofile`. A damaged file gives a
:class:`~dl101.errors.DataError`, whatever h5py makes of it. Links to other files are not followed.
"""

from __future__ import annotations

import hashlib
import os
import unicodedata
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, Self

import h5py
import numpy as np
from numpy.typing import ArrayLike, NDArray

from dl101.data.audiofile import (
    RATES,
    as_channels,
    as_float32,
    as_number,
    believable_rate,
    check_samples,
    time_axis_of,
    to_mono,
)
from dl101.data.cache import existing, replacing
from dl101.errors import DataError, Dl101Error, did_you_mean
from dl101.units import seconds_to_samples

LOWEST_FRAME_RATE_HZ, HIGHEST_FRAME_RATE_HZ = 0.1, 10_000.0
FRAME_RATE = "frame_rate_hz"  # the attribute that tells features from audio
# A small damaged file may claim any shape. Nothing that HDF5 packs shrinks more than this (deflate:
# 1032 times), and what is smaller than the second number is no danger.
HIGHEST_PACKING, HARMLESS_BYTES = 1_100, 2**28
IDENTITY = "identity"  # the attribute of a file by which its annotations know it


@dataclass(frozen=True)
class AudioInfo:
    """Length and rate of a track, known without reading its samples."""

    n_samples: int
    sample_rate: int
    duration_s: float


class AudioStore:
    """Read the tracks of an HDF5 file.

    A context manager. It may be handed to worker processes: each opens the file for itself.

    Parameters
    ----------
    path
        The HDF5 file.

    Raises
    ------
    DataError
        Where the file is missing, cut short or not HDF5.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = existing(path)
        self._file: h5py.File | None = None
        self._process = 0
        self._opened()

    def _opened(self) -> h5py.File:
        # An HDF5 handle must not be shared by a parent and its forked children.
        if self._file is not None and self._process != os.getpid():
            self._file.close()  # in this process only
            self._file = None
        if self._file is None:
            try:
                self._file = h5py.File(
                    self.path, "r", locking=False
                )  # network drives have no locks
            except (OSError, RuntimeError, ValueError, KeyError) as error:
                exists = self.path.is_file()
                raise DataError(
                    str(self.path),
                    got=str(error) if exists else "no such file",
                    expected="an HDF5 file",
                    hint="fetch or export it again" if exists else "check the path",
                ) from error
            self._process = os.getpid()
        return self._file

    def __getstate__(self) -> dict:
        return {"path": self.path, "_file": None, "_process": 0}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; the next access opens it again."""
        if self._file is not None and self._process == os.getpid():
            self._file.close()
        self._file = None

    @property
    def identity(self) -> str | None:
        """What the annotations made for this file call it, or None where it states nothing."""
        stated = self._opened().attrs.get(IDENTITY)
        return stated if isinstance(stated, str) else None

    def keys(self) -> list[str]:
        """Return the names of all tracks, sorted."""
        with self._intact():
            return sorted(_array_names(self._opened()))

    def __contains__(self, key: str) -> bool:
        return self._found(key) is not None

    def info(self, key: str) -> AudioInfo:
        """Return the length and rate of a track.

        Raises
        ------
        DataError
            Where there is no such track, it is empty or not audio, or its rate cannot be right.
        """
        _, time_axis, shape, sample_rate = self._track(key)
        n_samples = shape[time_axis]
        return AudioInfo(n_samples, sample_rate, n_samples / sample_rate)

    def read(
        self,
        key: str,
        *,
        start_s: float = 0.0,
        duration_s: float | None = None,
        mono: bool = True,
    ) -> tuple[NDArray[np.float32], int]:
        """Return a track, or a time span of it; only the span is read from disk.

        Parameters
        ----------
        key
            Name of the track.
        start_s
            Where the span starts, in seconds.
        duration_s
            How long it is, in seconds; None reads to the end.
        mono
            Whether to average the channels.

        Returns
        -------
        audio, sample_rate
            Float32 (n_samples,), or (channels, n_samples) where ``mono`` is False; its rate in Hz.

        Raises
        ------
        DataError
            Where there is no such track, the span leaves it, a sample is not finite, or the array
            is empty, not audio, or at a rate that cannot be right.
        """
        array, time_axis, shape, sample_rate = self._track(key)
        n_samples = shape[time_axis]
        spans = (start_s, 0.0 if duration_s is None else duration_s)
        if not all(np.isfinite(spans)) or min(spans) < 0:
            self._fail(
                key,
                f"start_s={start_s}, duration_s={duration_s}",
                "times in seconds, 0 or more",
                "give times inside the track",
            )
        start = int(seconds_to_samples(start_s, sample_rate=sample_rate))
        stop = n_samples
        if duration_s is not None:
            length = int(seconds_to_samples(duration_s, sample_rate=sample_rate))
            stop = start + length
        if start >= stop or stop > n_samples:
            self._fail(
                key,
                f"start_s={start_s}, duration_s={duration_s}",
                f"a span of at least one sample inside {n_samples / sample_rate:.3f} s",
                "shorten the span or leave duration_s out to read to the end",
            )
        span = (slice(None),) * time_axis + (slice(start, stop),)
        audio = as_channels(self._values(key, array, span), time_axis)
        what = f"{self.path}, track {key!r}"
        check_samples(audio, sample_rate, what, start=start)
        return (to_mono(audio, what) if mono else audio), sample_rate

    def read_feature(
        self, key: str, *, n_bins: int | None = None, frame_rate_hz: float | None = None
    ) -> tuple[NDArray[np.float32], float]:
        """Return a stored feature.

        Parameters
        ----------
        key
            Name of the entry.
        n_bins
            Number of bins, where it is known: an array (frames, ``n_bins``) is then turned. One
            that is as long as wide is taken for (bins, frames) if it states its frame rate, as all
            that dl101 writes does. None: the array is (bins, frames).
        frame_rate_hz
            The frame rate of features that state none. The catalogue knows both numbers of the
            published features of cover songs
            (:class:`dl101.data.catalog_record.Dataset`).

        Returns
        -------
        values, frame_rate_hz
            Float32 (bins, frames), and the number of frames in a second; frame t is centred at
            ``t / frame_rate_hz`` seconds.

        Raises
        ------
        DataError
            Where there is no such entry, it is audio, it has not ``n_bins`` bins, its rate cannot
            be right, or a value is not finite.
        """
        array = self._array(key)
        shape, attributes = array.shape, self._attributes(key, array)
        if array.ndim != 2 or not array.size or n_bins not in (None, *shape):
            bins = "bins" if n_bins is None else n_bins
            got, expected = f"an array of shape {shape}", f"({bins}, frames), not empty"
            self._fail(key, got, expected, "make the file again")
        states_rate = FRAME_RATE in attributes
        rate_hz = self._frame_rate_hz(key, attributes, frame_rate_hz)
        values = as_float32(self._values(key, array))
        if not np.isfinite(values).all():
            got = f"values that are not finite in float32 (an array of {array.dtype})"
            self._fail(key, got, "finite values", "make the file again")
        turned = n_bins == shape[1] and (n_bins != shape[0] or not states_rate)
        return np.ascontiguousarray(values.T) if turned else values, rate_hz

    @contextmanager
    def _intact(self, key: object = None) -> Iterator[None]:
        """Name the file and the track where h5py trips over damage, with an error of any kind."""
        try:
            yield
        except Dl101Error:
            raise
        except Exception as error:
            what = str(self.path) if key is None else f"{self.path}, track {key!r}"
            raise DataError(
                what,
                got=f"{type(error).__name__}: {error}",
                expected="an intact HDF5 file",
                hint="fetch or export it again",
            ) from error

    def _found(self, key: str) -> h5py.Dataset | None:
        """Return the array of an entry, in whichever spelling of Unicode it is kept, or None."""
        if not _is_name(key):
            return None
        with self._intact(key):
            array = self._opened().get(key)
            if array is None and not key.isascii():
                wanted = unicodedata.normalize("NFC", key)
                names = (n for n in self.keys() if unicodedata.normalize("NFC", n) == wanted)
                array = self._opened().get(next(names, key))
            return array if isinstance(array, h5py.Dataset) and array.file == self._file else None

    def _values(self, key: str, array: h5py.Dataset, span: tuple[slice, ...] = ()) -> NDArray:
        """Return the values of an array, or of a span of it, as they are stored."""
        with self._intact(key):
            if array.nbytes > max(HARMLESS_BYTES, HIGHEST_PACKING * array.id.get_storage_size()):
                got = f"an array of shape {array.shape} in {array.id.get_storage_size()} bytes"
                self._fail(key, got, "an intact HDF5 file", "fetch or export it again")
            return array[span]

    def _attributes(self, key: str, array: h5py.Dataset) -> dict[str, object]:
        with self._intact(key):
            return dict(array.attrs)

    def _frame_rate_hz(
        self, key: str, attributes: dict[str, object], otherwise: float | None = None
    ) -> float:
        """Return the frame rate that an entry states, or ``otherwise``, if it can be right."""
        stored = attributes.get(FRAME_RATE, otherwise)
        if stored is None:
            self._fail(
                key,
                "no frame rate",
                f"features with the attribute {FRAME_RATE!r}",
                "use read() for audio; give frame_rate_hz for features published without it",
            )
        rate = as_number(stored)
        if not LOWEST_FRAME_RATE_HZ <= rate <= HIGHEST_FRAME_RATE_HZ:
            expected = f"{LOWEST_FRAME_RATE_HZ} to {HIGHEST_FRAME_RATE_HZ} frames per second"
            self._fail(key, f"{FRAME_RATE}={stored}", expected, f"correct {FRAME_RATE!r}")
        return rate

    def _array(self, key: str) -> h5py.Dataset:
        """Return the array of an entry, checked to be one of numbers."""
        array = self._found(key)
        if array is None:
            keys = self.keys()
            self._fail(
                key,
                "no such track",
                f"one of {len(keys)} keys",
                did_you_mean(key, keys, otherwise="see AudioStore.keys()"),
            )
        with self._intact(key):
            dtype = array.dtype
        if dtype.kind not in "fiu":
            self._fail(key, f"an array of {dtype}", "floats or integers", "store samples")
        return array

    def _track(self, key: str) -> tuple[h5py.Dataset, int, tuple[int, ...], int]:
        """Return the array of a track, which axis is time, its shape and its rate, all checked."""
        array = self._array(key)
        attributes = self._attributes(key, array)
        if FRAME_RATE in attributes:
            self._fail(key, "features", "audio", "use read_feature() to read it")
        if array.ndim not in (1, 2) or not array.size:
            hint = "leave the track out or make the file again"
            self._fail(key, f"an array of shape {array.shape}", "(n_samples,), not empty", hint)
        return array, time_axis_of(array.shape), array.shape, self._rate(key, attributes)

    def _rate(self, key: str, attributes: dict[str, object]) -> int:
        found = {name: attributes[name] for name in ("sr_hz", "sr") if name in attributes}
        rates = set()
        for name, stored in found.items():
            rate = believable_rate(stored)
            if rate is None:
                self._fail(key, f"{name}={stored}", RATES, f"correct the attribute {name!r}")
            rates.add(rate)
        if len(rates) != 1:
            got = f"two rates, {found}" if rates else f"the attributes {sorted(attributes)}"
            self._fail(key, got, "one sampling rate", "set the attribute 'sr_hz' in Hz")
        return rates.pop()

    def _fail(self, key: str, got: object, expected: object, hint: str) -> NoReturn:
        raise DataError(f"{self.path}, track {key!r}", got=got, expected=expected, hint=hint)


class AudioStoreWriter:
    """Write an HDF5 file, one array per track.

    A context manager. Nothing is at ``path`` until the block ends without an error; the same tracks
    in the same order give the same bytes.

    Parameters
    ----------
    path
        The file to write or replace.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._stack = ExitStack()
        self._file: h5py.File | None = None

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            temporary = stack.enter_context(replacing(self.path))
            self._file = stack.enter_context(h5py.File(temporary, "w", locking=False))
            stack.push(self._completed)
            self._stack = stack.pop_all()
        self._digest = hashlib.sha256()
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.__exit__(*error)

    def _completed(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self.finish()
        finally:
            self._file = None

    @property
    def identity(self) -> str:
        """Digest of all that was added so far: names, rates and values, in their order."""
        return self._digest.hexdigest()[:20]

    def finish(self) -> None:
        """Bring all that was added to the disk; the file takes its place when the block ends."""
        self._file.attrs[IDENTITY] = self.identity
        self._file.flush()

    def append(self, key: str, audio: ArrayLike, sample_rate: int) -> None:
        """Add a track.

        Parameters
        ----------
        key
            Its name, without a slash (HDF5 would make a folder of it).
        audio
            Samples, mono (n_samples,) or stereo (2, n_samples), finite floats; kept as float32.
        sample_rate
            Their rate in Hz, a whole number.

        Raises
        ------
        DataError
            Where the name is taken or has a slash, or :meth:`AudioStore.read` would refuse it.
        """
        samples = np.asarray(audio)
        stereo = samples.ndim == 2 and samples.shape[0] == 2 < samples.shape[1]
        if not (samples.ndim == 1 or stereo) or not samples.size or samples.dtype.kind != "f":
            self._fail(
                key,
                f"{samples.dtype} of shape {samples.shape}",
                "floats, mono (n_samples,) or stereo (2, n_samples), not empty",
                "put the channels first and scale integers to [-1, 1]",
            )
        rate = believable_rate(sample_rate)
        if rate is None:
            self._fail(key, f"sample_rate={sample_rate}", RATES, "give the rate in Hz")
        check_samples(samples, rate, f"{self.path}, track {key!r}")
        self._add(key, samples, "sr_hz", rate)

    def append_feature(self, key: str, values: ArrayLike, frame_rate_hz: float) -> None:
        """Add a feature (bins, frames) instead of audio; kept as float32.

        Raises
        ------
        DataError
            Where the name is taken or has a slash, or :meth:`AudioStore.read_feature` would refuse
            it.
        """
        values = np.asarray(values)
        if values.ndim != 2 or not values.size or values.dtype.kind != "f":
            got = f"{values.dtype} of shape {values.shape}"
            self._fail(key, got, "floats (bins, frames), not empty", "put the bins first")
        rate = as_number(frame_rate_hz)
        if not LOWEST_FRAME_RATE_HZ <= rate <= HIGHEST_FRAME_RATE_HZ:
            expected = f"{LOWEST_FRAME_RATE_HZ} to {HIGHEST_FRAME_RATE_HZ}"
            self._fail(key, f"frame_rate_hz={frame_rate_hz}", expected, "give frames per second")
        self._add(key, values, FRAME_RATE, rate)

    def _add(self, key: str, values: NDArray, attribute: str, rate: float) -> None:
        if self._file is None:
            self._fail(
                key,
                "a writer that is not open",
                "a `with` block",
                "write `with AudioStoreWriter(path) as store:`",
            )
        if not is_track_name(key) or key in self._file:
            self._fail(
                key,
                "a name that is taken" if is_track_name(key) else f"the name {key!r}",
                "a name of its own, not empty, without a slash and without a NUL",
                "rename the track",
            )
        values = as_float32(values)
        finite = np.isfinite(values).all(axis=0) if values.ndim == 2 else np.isfinite(values)
        if not finite.all():
            self._fail(
                key,
                f"a value that is not finite at {int(np.argmin(finite))}",
                "finite values",
                "look for a division by zero where they are made",
            )
        # Without track_times=False, the time of day would be part of the bytes.
        array = self._file.create_dataset(key, data=values, track_times=False)
        array.attrs[attribute] = rate
        self._digest.update(f"{key}\n{attribute}={rate!r}\n{values.shape}\n".encode())
        self._digest.update(np.ascontiguousarray(values))

    def _fail(self, key: str, got: object, expected: object, hint: str) -> NoReturn:
        raise DataError(f"{self.path}, track {key!r}", got=got, expected=expected, hint=hint)


def is_track_name(key: object) -> bool:
    """Return whether a track can be stored under a name: text, no slash (HDF5 makes folders)."""
    return _is_name(key) and "/" not in key and key != "."


def _is_name(key: object) -> bool:
    """Return whether HDF5 can look for a name: text in UTF-8, not empty, without NUL."""
    if not isinstance(key, str) or not key or "\0" in key:
        return False
    try:
        key.encode()
    except UnicodeEncodeError:  # half a surrogate pair
        return False
    return True


def _array_names(root: h5py.Group) -> list[str]:
    """Return the names of all arrays; keys with a slash have become groups.

    A group that a link leads to again (the root itself, in a damaged file) is gone through once.
    """
    names, left, seen = [], [(root, "")], set()
    while left:
        group, prefix = left.pop()
        address = h5py.h5o.get_info(group.id).addr
        if address in seen:
            continue
        seen.add(address)
        for name in group:
            if isinstance(name, bytes):
                raise ValueError(f"the name {name!r}, which is not UTF-8")
            item = group.get(name)
            if item is None or item.file != root.file:
                continue  # a link to nowhere, or to another file
            if isinstance(item, h5py.Group):
                left.append((item, f"{prefix}{name}/"))
            elif isinstance(item, h5py.Dataset):
                names.append(prefix + name)
    return names
