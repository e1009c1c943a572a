"""The real datasets that can be fetched, one record each. To add a dataset, add a record here.

A dataset is two files: audio (HDF5, packed in a zip archive) and annotations (.pyjama). Sizes in
bytes and SHA-256 are given where they are known for certain; where only the rounded size of the
server's listing is known, it is ``about_bytes``, and the SHA-256 is recorded at the first download.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from dl101.errors import ConfigError


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
        Its size as a listing rounds it, or its exact size.
    size_bytes
        Its exact size, or None where it is not known.
    sha256
        Its SHA-256 in hexadecimal, or None where it is not known.
    member
        For a zip archive, the one file in it to unpack; None for a file used as it is.
    """

    name: str
    urls: tuple[str, ...]
    about_bytes: int
    size_bytes: int | None = None
    sha256: str | None = None
    member: str | None = None

    @property
    def final_name(self) -> str:
        """Name of the file in the cache, unpacked."""
        return self.member or self.name


@dataclass(frozen=True)
class Dataset:
    """One dataset: where it is, and on which terms.

    Attributes
    ----------
    name, title
        Its name in commands and code, and in prose.
    tasks
        The tasks that its annotations serve.
    audio, annotations
        Its two files.
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
        The page of its authors.
    """

    name: str
    title: str
    tasks: tuple[str, ...]
    audio: RemoteFile
    annotations: RemoteFile
    contents: str
    licence: str
    restricted: bool
    permission: str
    citation: str
    homepage: str


_TUTORIAL = "https://perso.telecom-paristech.fr/gpeeters/tuto_DL101forMIR/"
_MIB = 2**20


def _pair(name: str, *, audio_bytes: int, annotation_bytes: int) -> dict[str, RemoteFile]:
    """Return the two files of a dataset that is published with the tutorial of 2024."""
    archive, annotations = f"{name}_audio.hdf5.zip", f"{name}.pyjama"
    return {
        "audio": RemoteFile(
            archive, (_TUTORIAL + archive,), audio_bytes, member=f"{name}_audio.hdf5"
        ),
        "annotations": RemoteFile(annotations, (_TUTORIAL + annotations,), annotation_bytes),
    }


DATASETS: Mapping[str, Dataset] = MappingProxyType(
    {
        dataset.name: dataset
        for dataset in (
            Dataset(
                name="bach10",
                title="Bach10",
                tasks=("multi_pitch",),
                **_pair("bach10", audio_bytes=129 * _MIB, annotation_bytes=19 * _MIB),
                contents=(
                    "Ten four-part chorales by J. S. Bach played by violin, clarinet, saxophone "
                    "and bassoon: the mixture and each part, with the continuous f0 of each part "
                    "every 10 ms."
                ),
                licence="No licence stated; its authors offer it for research and ask to be cited.",
                restricted=False,
                permission="",
                citation=(
                    "Z. Duan, B. Pardo and C. Zhang, Multiple fundamental frequency estimation by "
                    "modeling spectral peaks and non-peak regions, IEEE Transactions on Audio, "
                    "Speech, and Language Processing 18(8), 2121-2133, 2010"
                ),
                homepage="https://labsites.rochester.edu/air/datasets/Bach10%20Dataset_v1.0.pdf",
            ),
            Dataset(
                name="maps",
                title="MAPS (MIDI Aligned Piano Sounds), pieces of music",
                tasks=("multi_pitch",),
                **_pair("maps", audio_bytes=round(2.3 * 1024) * _MIB, annotation_bytes=51 * _MIB),
                contents=(
                    "Pieces for piano, from sampled instruments and a recorded Disklavier, with "
                    "the onset, duration and MIDI number of each note."
                ),
                licence="By permission of Valentin Emiya, for following the tutorial only.",
                restricted=True,
                permission=(
                    "This copy is online with the permission of Valentin Emiya for the tutorial of "
                    "2024 only. For any other use, ask him first (see the homepage)."
                ),
                citation=(
                    "V. Emiya, R. Badeau and B. David, Multipitch estimation of piano sounds using "
                    "a new probabilistic spectral smoothness principle, IEEE Transactions on "
                    "Audio, Speech, and Language Processing 18(6), 1643-1654, 2010"
                ),
                homepage="https://adasp.telecom-paris.fr/resources/2010-07-08-maps-database/",
            ),
        )
    }
)


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
    near = difflib.get_close_matches(name, catalog, n=1)
    raise ConfigError(
        "dataset",
        got=repr(name),
        expected=f"one of {sorted(catalog)}",
        hint=f"did you mean {near[0]!r}" if near else "choose one of these",
    )
