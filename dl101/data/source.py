"""Where the tracks of a task come from: an embedded corpus or a dataset of the catalogue.

One name decides: nothing downstream of :func:`locate` knows the difference.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from dl101.config import OneOf, PatchFrames, Seed, Settings, TrackCount
from dl101.data import catalog, fetch
from dl101.data.embedded import export
from dl101.errors import ConfigError


@dataclass(frozen=True)
class DataConfig(Settings):
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

    dataset: Annotated[str, OneOf((*export.CORPORA, *catalog.DATASETS))] = "chorales"
    n_tracks: TrackCount | None = None
    seed: Seed = 0
    patch_frames: PatchFrames = 64


def locate(
    data: DataConfig,
    *,
    fields: Sequence[str] = (),
    accept_restricted: bool = False,
    progress: bool = True,
) -> export.CorpusFiles | fetch.DatasetFiles:
    """Return the .hdf5/.pyjama pair of the data, rendering or downloading it at first use.

    Parameters
    ----------
    data
        Which data.
    fields
        Annotations of which the task needs one (``f0multi``, ``pitchmidi``); empty: it needs none.
    accept_restricted
        The reader has the permission that some datasets ask for.
    progress
        Whether to show a progress bar.

    Raises
    ------
    ConfigError
        If an embedded corpus has none of the fields; found before it is rendered.
    """
    if fields and data.dataset in export.CORPORA and not _has(data.dataset, fields):
        raise ConfigError(
            "data.dataset",
            got=f"{data.dataset!r}, whose entries have no {' or '.join(fields)}",
            expected=f"one of {', '.join(n for n in export.CORPORA if _has(n, fields))}",
            hint="choose one of these, or a dataset of the catalogue",
        )
    if data.dataset in catalog.DATASETS:
        return fetch.fetch(data.dataset, accept_restricted=accept_restricted, progress=progress)
    return export.cached_corpus(
        data.dataset, n_tracks=data.n_tracks, seed=data.seed, progress=progress
    )


def _has(corpus: str, fields: Sequence[str]) -> bool:
    return not export.recipe(corpus).definitions.keys().isdisjoint(fields)


def version(data: DataConfig) -> str:
    """Return what identifies the content of the data, for records of results."""
    return export.corpus_version(data.dataset) if data.dataset in export.CORPORA else "published"
