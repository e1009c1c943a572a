"""Write an embedded corpus as a dataset: one .hdf5 file of audio, one .pyjama file of annotations.

Each track gives one entry for the mixture (``0007-bwv0269.wav``) and, if wanted, one for each voice
that sounds in it (``0007-bwv0269-soprano.wav``). Tracks are rendered and written one by one, so
the audio in memory stays that of one track; only the annotations are gathered. Both files appear
together, once they are complete.

``f0multi`` (mixtures) has four rows, soprano to bass, unvoiced throughout where a voice does not
take part; ``f0`` (stems) has one. ``pitchmidi`` holds the notes as written after transposition.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from dl101.data import pyjama
from dl101.data.audiostore import AudioStoreWriter
from dl101.data.cache import cache_dir, fingerprint, replacing
from dl101.data.embedded import chorales, renderer
from dl101.data.embedded.renderer import SAMPLE_RATE, Notes
from dl101.data.embedded.scores import VOICES
from dl101.errors import ConfigError
from dl101.progress import progress as progress_bar

CORPORA = (chorales.NAME,)
SILENT = "silent"  # the instrument of a voice that does not take part

_TEXT = pyjama.Definition("", "global", "text")
_NUMBER = pyjama.Definition("", "global", "numeric")
_DEFINITIONS = {
    "title": _TEXT,
    "work": _TEXT,
    "bwv": _TEXT,
    "split": pyjama.Definition("", "global", "text", chorales.SPLITS),
    "role": pyjama.Definition("", "global", "text", ("mixture", "stem")),
    "instrument": _TEXT,
    "tempo": _NUMBER,
    "tuning-cents": _NUMBER,
    "room": _TEXT,
    "pitchmidi": pyjama.Definition("", "segment", "numeric"),
    "f0multi": pyjama.Definition("", "breakpoint", "numeric", rows=VOICES),
    "f0": pyjama.Definition("", "breakpoint", "numeric"),
}
DEFINITIONS = {
    name: pyjama.Definition(name, like.extent, like.content, like.dictionary, like.rows)
    for name, like in _DEFINITIONS.items()
}


@dataclass(frozen=True)
class CorpusFiles:
    """The two files of an exported corpus."""

    audio: Path
    annotations: Path


def _digest_of(*patterns: str) -> bytes:
    """Return a digest of files beside this one."""
    digest = hashlib.sha256()
    for pattern in patterns:
        for path in sorted(Path(__file__).parent.glob(pattern)):
            digest.update(path.name.encode() + path.read_bytes())
    return digest.digest()


# Taken when the code is loaded: a file that is edited later must not lend its name to its elder.
_CODE_DIGEST = _digest_of("*.py")


@lru_cache(maxsize=1)
def corpus_version() -> str:
    """Return what identifies a corpus: a digest of its scores, sounds and code."""
    content = _digest_of("assets/*.json*", "assets/*.ogg")
    return hashlib.sha256(_CODE_DIGEST + content).hexdigest()[:12]


def export_corpus(
    name: str,
    directory: Path | str,
    *,
    n_tracks: int | None = None,
    seed: int = 0,
    stems: bool = True,
    progress: bool = True,
) -> CorpusFiles:
    """Render a corpus into ``{name}_audio.hdf5`` and ``{name}.pyjama``.

    Parameters
    ----------
    name
        The corpus; there is ``"chorales"``.
    directory
        Folder to write to, made if missing. Files of these names are replaced.
    n_tracks
        Number of tracks, of 15 s each (default: 60); the first tracks of a larger corpus are those
        of a smaller one.
    seed
        Another seed gives other performances in the same splits.
    stems
        Whether to write each voice beside the mixture.
    progress
        Whether to show a progress bar, if it takes a while.

    Returns
    -------
    CorpusFiles
        The two paths. The same arguments give the same bytes.

    Raises
    ------
    ConfigError
        For an unknown corpus, no tracks, or a negative seed.
    """
    n_tracks = _checked(name, n_tracks, seed)
    directory = Path(directory)
    files = CorpusFiles(directory / f"{name}_audio.hdf5", directory / f"{name}.pyjama")
    indices = progress_bar(range(n_tracks), f"rendering {name}", enabled=progress)
    entries: list[pyjama.Entry] = []
    with replacing(files.annotations) as annotations, AudioStoreWriter(files.audio) as store:
        for index in indices:
            track = chorales.render_track(index, seed=seed)
            store.append(f"{track.name}.wav", track.mixture, SAMPLE_RATE)
            entries.append(_mixture_entry(track, len(entries)))
            for voice in track.stems if stems else ():
                store.append(f"{track.name}-{voice}.wav", track.stems[voice], SAMPLE_RATE)
                entries.append(_stem_entry(track, voice, len(entries)))
        used = {field for entry in entries for field in entry.fields}
        definitions = {field: DEFINITIONS[field] for field in DEFINITIONS if field in used}
        pyjama.write(annotations, pyjama.Collection(tuple(entries), definitions))
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
    n_tracks = _checked(name, n_tracks, seed)
    key = fingerprint([name, n_tracks, seed, stems, corpus_version()])
    directory = cache_dir("corpora", f"{name}-{key}")
    files = CorpusFiles(directory / f"{name}_audio.hdf5", directory / f"{name}.pyjama")
    if files.audio.is_file() and files.annotations.is_file():
        return files
    return export_corpus(
        name, directory, n_tracks=n_tracks, seed=seed, stems=stems, progress=progress
    )


def _checked(name: str, n_tracks: int | None, seed: int) -> int:
    if name not in CORPORA:
        raise ConfigError(
            "embedded corpus",
            got=repr(name),
            expected=f"one of {', '.join(CORPORA)}",
            hint="use one of these names, or fetch a dataset of the catalogue",
        )
    n_tracks = chorales.DEFAULT_TRACKS if n_tracks is None else n_tracks
    if n_tracks < 1 or seed < 0:
        raise ConfigError(
            f"corpus {name!r}",
            got=f"n_tracks={n_tracks}, seed={seed}",
            expected="at least one track and a seed of 0 or more",
            hint="leave both out to get the default corpus",
        )
    return n_tracks


def _global_fields(track: chorales.Track, role: str) -> dict[str, tuple[pyjama.Atom, ...]]:
    room = track.room
    values = {
        "title": track.chorale.title,
        "work": track.chorale.tune,
        "bwv": track.chorale.bwv,
        "split": track.split,
        "role": role,
        "tempo": round(track.tempo_bpm, 2),
        "tuning-cents": round(track.tuning_cents, 2),
        "room": f"RT60 {room.rt60_s:.2f} s, direct to reverberant "
        f"{room.direct_to_reverb_db:.1f} dB, noise {-track.noise_snr_db:.1f} dB",
    }
    return {field: (pyjama.Atom(value),) for field, value in values.items()}


def _note_atoms(voices: Iterable[Notes]) -> tuple[pyjama.Atom, ...]:
    atoms = [
        pyjama.Atom(float(pitch), round(float(onset), 6), round(float(duration), 6))
        for notes in voices
        for onset, duration, pitch in zip(
            notes.onsets_s, notes.durations_s, notes.pitches_midi, strict=True
        )
    ]
    return tuple(sorted(atoms, key=lambda atom: (atom.time, atom.value)))


def _f0_atom(curves: list[np.ndarray]) -> pyjama.Atom:
    matrix = np.round(np.stack(curves), 3)  # a tenth of a cent
    return pyjama.Atom(matrix, np.round(np.arange(matrix.shape[1]) * renderer.F0_HOP_S, 6))


def _mixture_entry(track: chorales.Track, index: int) -> pyjama.Entry:
    fields = _global_fields(track, "mixture")
    fields["instrument"] = tuple(
        pyjama.Atom(track.instruments.get(voice, SILENT)) for voice in VOICES
    )
    silence = np.full_like(next(iter(track.f0_midi.values())), np.nan)
    fields["pitchmidi"] = _note_atoms(track.notes.values())
    fields["f0multi"] = (_f0_atom([track.f0_midi.get(voice, silence) for voice in VOICES]),)
    return pyjama.Entry(f"{track.name}.wav", index, fields)


def _stem_entry(track: chorales.Track, voice: str, index: int) -> pyjama.Entry:
    fields = _global_fields(track, "stem")
    fields["instrument"] = (pyjama.Atom(track.instruments[voice]),)
    fields["pitchmidi"] = _note_atoms([track.notes[voice]])
    fields["f0"] = (_f0_atom([track.f0_midi[voice]]),)
    return pyjama.Entry(f"{track.name}-{voice}.wav", index, fields)
