"""Where the tracks of a task come from: an embedded corpus or a dataset of the catalogue.

One name decides: nothing downstream of :func:`locate` knows the difference.
"""

from __future__ import annotations

from dataclasses import dataclass

from dl101.data import catalog, fetch
from dl101.data.embedded import export


@dataclass(frozen=True)
class DataConfig:
    """Which tracks, and the length of the patches that they are cut into.

    Attributes
    ----------
    dataset
        An embedded corpus (``chorales``) or a dataset of the catalogue (``bach10``, ``maps``).
    n_tracks
        How many tracks to render, or the most to take of a dataset. None: the corpus' own
        number, or all.
    seed
        Which performances are rendered, and how a dataset without its own split is split.
    patch_frames
        Length of a training patch in frames.
    """

    dataset: str = "chorales"
    n_tracks: int | None = None
    seed: int = 0
    patch_frames: int = 64


def locate(
    data: DataConfig, *, accept_restricted: bool = False, progress: bool = True
) -> export.CorpusFiles | fetch.DatasetFiles:
    """Return the .hdf5/.pyjama pair of the data, rendering or downloading it at first use."""
    if data.dataset in catalog.DATASETS:
        return fetch.fetch(data.dataset, accept_restricted=accept_restricted, progress=progress)
    return export.cached_corpus(
        data.dataset, n_tracks=data.n_tracks, seed=data.seed, progress=progress
    )


def version(data: DataConfig) -> str:
    """Return what identifies the content of the data, for records of results."""
    return export.corpus_version(data.dataset) if data.dataset in export.CORPORA else "published"
