"""A dataset as one thing: the .hdf5 file and the .pyjama file that was written for it.

Two files cannot appear at once. Nothing that happens in between may leave the audio of one dataset
beside the annotations of another: their keys may agree, and every label would be wrong. Two things
prevent it. The old annotations are gone before the new audio takes its place, so that a killed
writer leaves a pair that is complete or has no annotations. And each file states the identity of
the audio, which is compared where both are opened. Pairs that state none, as those of 2024, are
read as they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dl101.data import pyjama
from dl101.data.audiostore import AudioStore, AudioStoreWriter
from dl101.data.cache import replacing
from dl101.errors import DataError


@contextmanager
def opened(
    audio: Path | str, annotations: Path | str
) -> Iterator[tuple[pyjama.Collection, AudioStore]]:
    """Read the annotations of a pair and open its audio.

    Parameters
    ----------
    audio
        The HDF5 file, of audio or of features.
    annotations
        The .pyjama file.

    Yields
    ------
    collection, store
        What :func:`dl101.data.pyjama.read` returns, and the open file.

    Raises
    ------
    DataError
        If one of the two cannot be read, or the annotations state that they were made for another
        audio file.
    """
    collection = pyjama.read(annotations)
    with AudioStore(audio) as store:
        identities = {store.identity, collection.audio_identity} - {None}
        if len(identities) > 1:
            raise DataError(
                f"{annotations} and {store.path}",
                got=f"annotations made for the audio {collection.audio_identity!r} beside the "
                f"audio {store.identity!r}",
                expected="two files that were written together",
                hint="export or convert the dataset again, or open the annotations and the audio "
                "that belong together",
            )
        yield collection, store


@contextmanager
def replacing_pair(
    audio: Path | str, annotations: Path | str
) -> Iterator[tuple[AudioStoreWriter, Path]]:
    """Write a pair: both files appear if the block succeeds, and are never those of two datasets.

    Processes that write the same pair must take turns, by a lock of their own.

    Parameters
    ----------
    audio, annotations
        The files to write or replace.

    Yields
    ------
    store, temporary
        The open audio file, and the file to write the annotations to (``in_place=True``, which
        keeps it the file that :func:`~dl101.data.cache.sweep` knows to be in use). They are to
        state ``store.identity``, once all tracks have been added.
    """
    annotations = Path(annotations).expanduser()
    with replacing(annotations) as temporary, AudioStoreWriter(audio) as store:
        yield store, temporary
        store.finish()  # what can fail (a full disk) fails while the old pair is whole
        annotations.unlink(missing_ok=True)
