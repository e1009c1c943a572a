"""Zip archives from elsewhere, whole or in parts: opened only if nothing in them can do harm.

A *split* archive is one zip file cut into pieces, ``name.z01``, ``name.z02``, ..., ``name.zip``.
Its directory, in the last piece, says for each file in which piece it begins and where in that
piece. Python's ``zipfile`` knows no pieces, so it is shown one file that does not exist: the pieces
one after the other, followed by a directory whose places count from the beginning of the first
(layout: PKWARE, APPNOTE.TXT 6.3, section 4). No byte of the pieces is copied.

Refused are paths that leave the target, links, devices, unknown compression, and archives that
unpack to many times their size. A wrong or missing piece is found by the number of pieces, by the
name that stands before each file, and by the checksum (CRC-32) of what is unpacked.
"""

from __future__ import annotations

import io
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path, PurePosixPath

LARGEST_RATIO = 20  # sampled audio shrinks by 2 to 10 in a zip archive, a bomb by 1000
ALWAYS_UNPACKED_BYTES = 2**20  # too small to do harm at any ratio
SPLIT_SIGNATURE = b"PK\x07\x08"  # the first four bytes of the first piece

_END = struct.Struct("<4s4H2LH")  # of the directory: which piece, entries, size, place, comment
_ENTRY = struct.Struct("<4s6H3L5H2L")  # of one file in the directory; names and extras follow
_END_SIGNATURE, _ENTRY_SIGNATURE = b"PK\x05\x06", b"PK\x01\x02"
_LONGEST_COMMENT = 2**16
_NEEDS_ZIP64 = 2**32 - 1


class ArchiveError(Exception):
    """Why an archive is refused or cannot be read."""


@contextmanager
def opened(parts: Sequence[Path]) -> Iterator[zipfile.ZipFile]:
    """Open a zip archive, given by its only file or by its pieces in order.

    Raises
    ------
    ArchiveError
        Where the archive is unsafe, incomplete or damaged; also for damage that is met inside the
        ``with`` block, while a file is unpacked.
    """
    try:
        with ExitStack() as stack:
            source = parts[0] if len(parts) == 1 else _joined(parts, stack)
            archive = stack.enter_context(zipfile.ZipFile(source))
            infos = archive.infolist()
            for info in infos:
                _check_member(info)
            limit = LARGEST_RATIO * sum(part.stat().st_size for part in parts)
            limit = max(ALWAYS_UNPACKED_BYTES, limit)
            if sum(info.file_size for info in infos) > limit:
                raise ArchiveError(f"an archive that unpacks to more than {limit} bytes")
            # An archive that lies about a size is cut off there by zipfile and fails its checksum.
            yield archive
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError) as error:
        raise ArchiveError(f"an archive that cannot be unpacked: {error}") from error


def files(archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    """Return the files of an archive by name, without folders and the shadow files of macOS."""
    found = [info for info in archive.infolist() if base_name(info) is not None]
    return sorted(found, key=lambda info: info.filename)


def base_name(info: zipfile.ZipInfo) -> str | None:
    """Return a file's name without its folders; None for folders and macOS's shadow files."""
    path = PurePosixPath(info.filename)
    if info.is_dir() or path.parts[0] == "__MACOSX" or path.name == ".DS_Store":
        return None
    return path.name


def _check_member(info: zipfile.ZipInfo) -> None:
    """Refuse paths that leave the target, links, devices, and compression we do not expect."""
    name = info.filename.replace("\\", "/")
    if name.startswith("/") or re.match(r"[A-Za-z]:", name) or ".." in name.split("/"):
        raise ArchiveError(f"an archive with a path outside it, {info.filename!r}")
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise ArchiveError(f"an archive with a link or device, {info.filename!r}")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ArchiveError(f"an archive with compression {info.compress_type}")


# ---- Archives in pieces ------------------------------------------------------------------------


def _joined(parts: Sequence[Path], stack: ExitStack) -> io.BufferedReader:
    """Return the pieces of a split archive as one archive that zipfile can read."""
    sizes = [part.stat().st_size for part in parts]
    starts = [sum(sizes[:k]) for k in range(len(parts))]
    streams = [stack.enter_context(part.open("rb")) for part in parts]
    if streams[0].read(4) != SPLIT_SIGNATURE:
        raise ArchiveError(
            f"pieces in the wrong order, or not of a split archive: {parts[0].name} does not "
            "begin like a first piece"
        )
    tail_bytes = min(sizes[-1], _END.size + _LONGEST_COMMENT)
    streams[-1].seek(sizes[-1] - tail_bytes)
    tail = streams[-1].read(tail_bytes)
    place = tail.rfind(_END_SIGNATURE)
    if place < 0 or len(tail) - place < _END.size:
        raise ArchiveError(
            f"{parts[-1].name} has no directory at its end: it is not the last piece"
        )
    _, last, first, _, n_entries, n_bytes, offset, _ = _END.unpack_from(tail, place)
    if last + 1 != len(parts):
        raise ArchiveError(f"{len(parts)} pieces of an archive that has {last + 1}")
    if _NEEDS_ZIP64 in (n_bytes, offset) or sum(sizes) >= _NEEDS_ZIP64:
        raise ArchiveError("a split archive of more than 4 GiB, which dl101 does not read")
    begin = _place(first, offset, starts, sizes)
    whole = [(stream, size) for stream, size in zip(streams, sizes, strict=True)]
    reader = io.BufferedReader(_Pieces(whole))
    reader.seek(begin)
    directory = _renumbered(reader.read(n_bytes), n_entries, starts, sizes)
    end = _END.pack(_END_SIGNATURE, 0, 0, n_entries, n_entries, len(directory), begin, 0)
    body = [
        (stream, min(size, max(0, begin - start)))
        for (stream, size), start in zip(whole, starts, strict=True)
    ]
    made = directory + end
    return io.BufferedReader(_Pieces([*body, (io.BytesIO(made), len(made))]))


def _place(piece: int, offset: int, starts: Sequence[int], sizes: Sequence[int]) -> int:
    """Return a place in a piece as one that counts from the beginning of the first piece."""
    if piece >= len(starts) or offset >= sizes[piece]:
        raise ArchiveError("a directory that points outside the pieces: one of them is cut short")
    return starts[piece] + offset


def _renumbered(
    directory: bytes, n_entries: int, starts: Sequence[int], sizes: Sequence[int]
) -> bytes:
    """Return a directory whose places count from the beginning of the first piece."""
    changed = bytearray(directory)
    at = 0
    for _ in range(n_entries):
        if len(changed) - at < _ENTRY.size or changed[at : at + 4] != _ENTRY_SIGNATURE:
            raise ArchiveError("a directory that cannot be read: a piece is wrong or cut short")
        entry = list(_ENTRY.unpack_from(changed, at))
        lengths, piece, offset = entry[10:13], entry[13], entry[16]
        entry[13], entry[16] = 0, _place(piece, offset, starts, sizes)
        _ENTRY.pack_into(changed, at, *entry)
        at += _ENTRY.size + sum(lengths)
    return bytes(changed)


class _Pieces(io.RawIOBase):
    """The beginnings of several files, each (stream, length), read as one file."""

    def __init__(self, pieces: Sequence[tuple[io.IOBase, int]]) -> None:
        self._pieces = list(pieces)
        self._length = sum(length for _, length in pieces)
        self._at = 0

    def readable(self) -> bool:
        """Say that it can be read, as BufferedReader asks."""
        return True

    def seekable(self) -> bool:
        """Say that it can be moved in, as zipfile asks."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move, and return the new place."""
        origin = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._length}[whence]
        self._at = max(0, origin + offset)
        return self._at

    def readinto(self, buffer: memoryview) -> int:
        """Fill the buffer from one piece, and return how many bytes that gave."""
        begin = 0
        for stream, length in self._pieces:
            if self._at < begin + length:
                stream.seek(self._at - begin)
                chunk = stream.read(min(len(buffer), begin + length - self._at))
                buffer[: len(chunk)] = chunk
                self._at += len(chunk)
                return len(chunk)
            begin += length
        return 0
