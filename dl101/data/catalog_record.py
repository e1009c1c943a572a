"""What the catalogue records of a dataset and of its files.

A checksum is given where it is known for certain or where a public source states it. Where only a
rounded size is known, it is ``about_bytes``; a SHA-256 that is not known is recorded at the first
download.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class RemoteFile:
    """One file to download.

    Attributes
    ----------
    name
        Name of the file as downloaded.
    urls
        Where it is, best first: the others are mirrors.
    about_bytes
        Its size as a listing rounds it, or its exact size; None where no source states one.
    size_bytes
        Its exact size, or None where it is not known.
    sha256
        Its SHA-256 in hexadecimal, or None where it is not known.
    member
        For a zip archive, the one file in it to unpack; None for a file used as it is.
    checksum
        A weaker checksum that a public source states, as ``md5:`` or ``sha1:`` and hexadecimal, for
        whoever downloads the file by hand; dl101 itself trusts only SHA-256.
    """

    name: str
    urls: tuple[str, ...]
    about_bytes: int | None = None
    size_bytes: int | None = None
    sha256: str | None = None
    member: str | None = None
    checksum: str | None = None

    @property
    def final_name(self) -> str:
        """Name of the file in the cache, unpacked."""
        return self.member or self.name


@dataclass(frozen=True)
class Dataset:
    """One dataset: what it holds, where it is, on which terms, and how to get at it from here.

    Attributes
    ----------
    name, title
        Its name in commands and code, and in prose.
    tasks
        The tasks that its annotations serve.
    contents
        What it holds.
    licence
        Its licence, as far as its authors state one.
    restricted
        Whether its use needs somebody's permission.
    permission
        Whose permission, and how to ask for it; empty where none is needed.
    citation
        The publication to cite.
    homepage
        The page of its authors, or the best description of it.
    audio, annotations
        The pair of HDF5 and .pyjama, where it is published as such and ``access`` is ``direct``.
    files
        Files published in another form. With a ``reader``, dl101 makes the pair of them.
    reader
        Name of the reader in :mod:`dl101.data.readers`; empty where none is needed, or none is.
    holds
        Whether the HDF5 file of the pair holds ``audio`` or ``features``.
    n_bins, frame_rate_hz
        Of features that are published without stating them, (frames, ``n_bins``): number of bins,
        and of frames in a second; frame t is centred at ``t / frame_rate_hz`` seconds.
    unpacked_bytes
        Estimated size of the pair that a reader makes.
    access
        ``direct``: dl101 fetches or makes the pair. ``mirdata``: the library mirdata reads it, and
        dl101 converts what it reads. ``described``: neither; get it from its homepage.
    mirdata_name
        Name of the loader in mirdata; empty where there is none.
    faults
        What is known to be wrong with it that changes how results on it are to be read.
    """

    name: str
    title: str
    tasks: tuple[str, ...]
    contents: str
    licence: str
    restricted: bool
    permission: str
    citation: str
    homepage: str
    audio: RemoteFile | None = None
    annotations: RemoteFile | None = None
    files: tuple[RemoteFile, ...] = ()
    reader: str = ""
    holds: Literal["audio", "features"] = "audio"
    n_bins: int | None = None
    frame_rate_hz: float | None = None
    unpacked_bytes: int | None = None
    access: Literal["direct", "mirdata", "described"] = "direct"
    mirdata_name: str = ""
    faults: tuple[str, ...] = ()

    @property
    def all_files(self) -> tuple[RemoteFile, ...]:
        """Every file recorded, whether dl101 reads it or not."""
        return tuple(f for f in (self.audio, self.annotations, *self.files) if f is not None)

    @property
    def pair_names(self) -> tuple[str, str]:
        """Names in the cache of the HDF5 and the .pyjama file of a ``direct`` dataset."""
        if self.audio is not None and self.annotations is not None:
            return self.audio.final_name, self.annotations.final_name
        kind = {"audio": "audio", "features": "feat"}[self.holds]
        return f"{self.name}_{kind}.hdf5", f"{self.name}.pyjama"
