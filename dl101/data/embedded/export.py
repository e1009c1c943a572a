"""Write an embedded corpus as a dataset: one .hdf5 file of arrays, one .pyjama file of annotations.

Tracks are rendered in blocks, by as many processes as there are cores or on whatever
``joblib.parallel_config`` names (Dask, Ray, ...). Each finished block is a small pair of files in a
folder beside the target; at the end the blocks are joined, in order, and the folder is removed.
What is held in memory is a block for each process, the bytes do not depend on the number of
processes, and an export that was killed goes on where it was when it is started again.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import math
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from pathlib import Path

import numpy as np

from dl101.config import Jobs, Minutes, Seed, TrackCount, checked
from dl101.data import pyjama, source_code
from dl101.data.audiostore import AudioStore, AudioStoreWriter
from dl101.data.cache import cache_dir, fingerprint, replacing, sweep
from dl101.data.embedded.annotations import Atoms
from dl101.data.embedded.recipe import Recipe, track_split
from dl101.data.pair import replacing_pair
from dl101.data.splits import SIDES
from dl101.errors import ConfigError, did_you_mean
from dl101.progress import progress as progress_bar

# Which module holds the recipe of a corpus, in the order in which they are listed.
_MODULES = {
    "chorales": "chorales",
    "piano": "chorales",
    "covers": "covers",
    "dances": "dances",
    "instruments": "instruments",
    "tags": "tags",
    "genres": "genres",
    "chords": "chords",
    "stems": "stems",
    "notes": "notes",
    "voice": "voice",
    "tones": "tones",
}
CORPORA = tuple(_MODULES)
LICENCE = (
    "what the recipes make is yours to use; the sound bank is under the MIT licence (parts are "
    "CC0), the scores are in the public domain"
)
BLOCK_S = 60.0  # of audio
FEATURE_BLOCK_S = 3600.0  # features are made much faster than sound
SMALL_BLOCKS = 5  # below which starting processes costs more than it saves


@dataclass(frozen=True)
class CorpusFiles:
    """The two files of an exported corpus."""

    audio: Path
    annotations: Path

    @property
    def size_bytes(self) -> int:
        """What both files take on disk."""
        return self.audio.stat().st_size + self.annotations.stat().st_size


def recipe(name: str) -> Recipe:
    """Return the recipe of a corpus.

    Raises
    ------
    ConfigError
        For an unknown name.
    """
    if name not in _MODULES:
        raise ConfigError(
            "embedded corpus",
            got=repr(name),
            expected=f"one of {', '.join(CORPORA)}",
            hint=did_you_mean(name, CORPORA, otherwise="`dl101 corpora` lists them"),
        )
    module = importlib.import_module(f"dl101.data.embedded.corpora.{_MODULES[name]}")
    recipes = getattr(module, "RECIPES", None) or (module.RECIPE,)
    return next(found for found in recipes if found.name == name)


_FOLDER = Path(__file__).parent
_PACKAGE = "dl101.data.embedded"


def _modules_behind(module: str) -> set[str]:
    """Return a module below ``dl101.data.embedded`` and all that it imports from there."""
    names = source_code.behind(f"{_PACKAGE}.{module}", within=_PACKAGE)
    return {name.removeprefix(f"{_PACKAGE}.") for name in names}


@lru_cache(maxsize=1)
def _assets_digest() -> bytes:
    digest = hashlib.sha256()
    for pattern in ("*.json*", "*.ogg"):
        for path in sorted((_FOLDER / "assets").glob(pattern)):
            digest.update(path.name.encode() + path.read_bytes())
    return digest.digest()


@cache
def corpus_version(name: str) -> str:
    """Return what identifies a corpus: a digest of scores, sounds and the code behind it."""
    digest = hashlib.sha256(_assets_digest())
    for module in sorted(_modules_behind(f"corpora.{_MODULES[name]}")):
        digest.update(f"{module}\n{source_code.text_of(f'{_PACKAGE}.{module}')}".encode())
    return digest.hexdigest()[:12]


def tracks_in(name: str, minutes: float) -> int:
    """Return how many tracks of a corpus last for a number of minutes, rounded up.

    Raises
    ------
    ConfigError
        If the number is not positive and finite.
    """
    minutes = checked(Minutes, minutes, f"corpus {name!r}: minutes")
    found = recipe(name)
    return math.ceil(minutes * 60.0 / (found.duration_s * found.mean_share))


def export_corpus(
    name: str,
    directory: Path | str,
    *,
    n_tracks: int | None = None,
    seed: int = 0,
    stems: bool = True,
    n_jobs: int | None = None,
    progress: bool = True,
) -> CorpusFiles:
    """Render a corpus into ``{name}_audio.hdf5`` and ``{name}.pyjama``.

    A corpus of features (``covers``) is written into ``{name}_feat.hdf5``, as datasets of features
    are published. While it is made, a folder ``.{name}-….parts`` beside them holds what is
    finished; it needs as much disk as the result.

    Parameters
    ----------
    name
        One of ``CORPORA``.
    directory
        Folder to write to, made if missing. Files of these names are replaced.
    n_tracks
        Number of tracks (default: the recipe's); the first tracks of a larger corpus are those
        of a smaller one.
    seed
        Another seed gives other performances in the same splits.
    stems
        Whether to write what belongs to a track beside the track itself, such as its voices.
    n_jobs
        Number of processes; None uses all cores (one, for a corpus too small to gain).
    progress
        Whether to show a progress bar, if it takes a while.

    Returns
    -------
    CorpusFiles
        The two paths. The same arguments give the same bytes, for any ``n_jobs``.

    Raises
    ------
    ConfigError
        For an unknown corpus, no tracks, a negative seed or no processes.
    """
    n_tracks = _checked(name, n_tracks, seed, n_jobs)
    files = _files(name, Path(directory).expanduser())
    with _locked(name, files):
        _export(name, files, n_tracks, seed, stems, n_jobs, progress)
    return files


def cached_corpus(
    name: str,
    *,
    n_tracks: int | None = None,
    seed: int = 0,
    stems: bool = False,
    progress: bool = True,
) -> CorpusFiles:
    """Return a corpus from the cache, rendering it the first time.

    The arguments are those of :func:`export_corpus`; a change of the corpus itself (its scores,
    sounds or code) makes a new copy.
    """
    n_tracks = _checked(name, n_tracks, seed, None)
    key = fingerprint([name, n_tracks, seed, stems, corpus_version(name)])
    directory = cache_dir("corpora", f"{name}-{key}")
    files = _files(name, directory)
    if not _complete(files):
        for folder in cache_dir("corpora").iterdir():  # where exports may have been killed for good
            sweep(folder)
        with _locked(name, files):
            if not _complete(files):  # another process may have had the lock
                _export(name, files, n_tracks, seed, stems, None, progress)
    return files


def cached_files(name: str) -> list[Path]:
    """Return all files of a corpus in the cache, of any size, seed and version."""
    found = cache_dir("corpora").glob(f"{name}-*/{name}*")
    return sorted(path for path in found if path.is_file())


def expected_minutes(name: str) -> float:
    """Return how long all tracks of the default corpus last together."""
    found = recipe(name)
    return found.default_tracks * found.duration_s * found.mean_share / 60.0


def expected_bytes(name: str) -> float:
    """Return about how many bytes the arrays of the default corpus take, without extras."""
    return expected_minutes(name) * 60.0 * recipe(name).bytes_per_s


def describe_size(name: str) -> str:
    """Return about what the default corpus takes on disk, in words."""
    found, size = recipe(name), expected_bytes(name) / 1e6
    if not found.n_extras:
        return f"{size:.0f} MB"
    return f"{size:.0f} MB, {size * (1 + found.n_extras):.0f} MB with stems"


def describe_split(name: str) -> str:
    """Return how many tracks of the default corpus each split has, and what never crosses."""
    found = recipe(name)
    sides = Counter(track_split(index)[0] for index in range(found.default_tracks))
    counts = ", ".join(f"{sides[side]} {side}" for side in SIDES)
    return f"{counts}; no {found.unit} on two sides"


def _files(name: str, directory: Path) -> CorpusFiles:
    kind = "feat" if recipe(name).holds == "features" else "audio"
    return CorpusFiles(directory / f"{name}_{kind}.hdf5", directory / f"{name}.pyjama")


def _complete(files: CorpusFiles) -> bool:
    return files.audio.is_file() and files.annotations.is_file()


@contextmanager
def _locked(name: str, files: CorpusFiles) -> Iterator[None]:
    """Let one process at a time write the files of a corpus.

    The lock stands beside them: processes may have caches of their own.
    """
    from filelock import FileLock

    directory = files.audio.parent
    directory.mkdir(parents=True, exist_ok=True)
    with FileLock(directory / f".{name}.lock"):
        sweep(directory)
        yield


def _export(
    name: str,
    files: CorpusFiles,
    n_tracks: int,
    seed: int,
    stems: bool,
    n_jobs: int | None,
    progress: bool,
) -> None:
    # The number of tracks is not part of the key: a longer corpus takes over a shorter one's
    # blocks.
    key = fingerprint([seed, stems, corpus_version(name)])
    parts = files.audio.parent / f".{name}-{key}.parts"
    parts.mkdir(exist_ok=True)
    _render_blocks(name, parts, n_tracks, seed, stems, n_jobs, progress)
    _join(name, parts, n_tracks, files)
    shutil.rmtree(parts)


def _checked(name: str, n_tracks: int | None, seed: int, n_jobs: int | None) -> int:
    n_tracks = recipe(name).default_tracks if n_tracks is None else n_tracks
    checked(Seed, seed, f"corpus {name!r}: seed")
    checked(Jobs | None, n_jobs, f"corpus {name!r}: n_jobs")
    return checked(TrackCount, n_tracks, f"corpus {name!r}: n_tracks")


def _blocks(name: str, n_tracks: int) -> list[range]:
    found = recipe(name)
    block_s = BLOCK_S if found.holds == "audio" else FEATURE_BLOCK_S
    size = max(1, round(block_s / found.duration_s))
    return [range(n_tracks)[start : start + size] for start in range(0, n_tracks, size)]


def _block_files(parts: Path, block: range) -> tuple[Path, Path]:
    """Return the audio and the annotations of a block; a kill while clearing up may leave one."""
    name = f"{block.start:07d}-{block.stop:07d}"
    return parts / f"{name}.hdf5", parts / f"{name}.json"


def _render_blocks(
    name: str,
    parts: Path,
    n_tracks: int,
    seed: int,
    stems: bool,
    n_jobs: int | None,
    progress: bool,
) -> None:
    """Make the blocks that are missing."""
    from joblib import Parallel, delayed

    missing = [
        block
        for block in _blocks(name, n_tracks)
        if not all(path.is_file() for path in _block_files(parts, block))
    ]
    if n_jobs is None:
        n_jobs = 1 if len(missing) < SMALL_BLOCKS else -1
    if n_jobs == 1:
        done: Iterator = (_render_block(name, parts, block, seed, stems) for block in missing)
    else:
        workers = Parallel(n_jobs=n_jobs, return_as="generator_unordered")
        done = workers(delayed(_render_block)(name, parts, b, seed, stems) for b in missing)
    for _ in progress_bar(
        done, f"rendering {name}", total=len(missing), unit="block", enabled=progress
    ):
        pass


def _render_block(name: str, parts: Path, block: range, seed: int, stems: bool) -> None:
    """Make one block. The annotations come last, so that a new block is complete where they are."""
    found = recipe(name)
    audio, annotations = _block_files(parts, block)
    texts = []
    with AudioStoreWriter(audio) as store:
        for index in block:
            for item in found.render(index, seed=seed, duration_s=found.duration_s, extras=stems):
                if found.holds == "features":
                    store.append_feature(item.key, item.values, item.rate)
                else:
                    store.append(item.key, item.values, int(item.rate))
                fields = _within(item.fields, np.shape(item.values)[-1] / item.rate)
                entry = pyjama.Entry(item.key, 0, fields)
                texts.append([item.key, pyjama.dump_entry(entry, found.definitions)])
    with replacing(annotations) as temporary:
        temporary.write_text(json.dumps(texts), encoding="utf-8")


def _within(fields: Mapping[str, Atoms], duration_s: float) -> dict[str, Atoms]:
    """Return annotations none of which lasts beyond the end of the track."""
    return {
        name: tuple(
            replace(atom, duration=round(duration_s - atom.time, 6))
            if atom.duration is not None and atom.time + atom.duration > duration_s
            else atom
            for atom in atoms
            if np.ndim(atom.time) or atom.time is None or atom.time < duration_s
        )
        for name, atoms in fields.items()
    }


def _join(name: str, parts: Path, n_tracks: int, files: CorpusFiles) -> None:
    """Join the blocks, in order, into the two files."""
    found = recipe(name)
    blocks = [_block_files(parts, block) for block in _blocks(name, n_tracks)]

    def entries(path: Path) -> list[tuple[str, str]]:
        return json.loads(path.read_text("utf-8"))

    with replacing_pair(files.audio, files.annotations) as (store, annotations):
        for audio_path, entries_path in blocks:
            with AudioStore(audio_path) as audio:
                for key, _ in entries(entries_path):
                    if found.holds == "features":
                        store.append_feature(key, *audio.read_feature(key))
                    else:
                        samples, sample_rate = audio.read(key, mono=False)
                        mono = samples.shape[0] == 1
                        store.append(key, samples[0] if mono else samples, sample_rate)
        texts = (text for _, path in blocks for _, text in entries(path))
        pyjama.write_dumped(
            annotations,
            found.definitions,
            texts,
            audio_identity=store.identity,
            in_place=True,
        )
