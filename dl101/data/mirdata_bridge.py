"""Datasets that the library mirdata reads, written as a pair of .hdf5 and .pyjama.

mirdata (Bittner et al., ISMIR 2019) knows where some sixty datasets are and how their annotation
files are laid out. It must have downloaded the dataset before; nothing is downloaded here.

Conventions: a track is keyed by mirdata's identifier, a slash written as ``+++``. An annotation
becomes the field of its kind (``beat``, ``chord``, ``pitchmidi``, ``f0``, ...) where its name is
the usual one, and ``<field>-<name>`` where a track has another of that kind. Text and numbers hold
for the whole track, under their own names. Whatever has no place in a .pyjama file is reported, and
so is a track or an annotation that cannot be read or is malformed: the others are converted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dl101.data import pyjama
from dl101.data.audiofile import (
    as_channels,
    believable_rate,
    check_samples,
    time_axis_of,
    to_mono,
)
from dl101.data.cache import existing
from dl101.data.catalog import DATASETS
from dl101.data.fetch import describe
from dl101.data.pair import replacing_pair
from dl101.data.readers import FOLDER_MARK
from dl101.errors import ConfigError, DataError, did_you_mean
from dl101.progress import progress as progress_bar
from dl101.units import hz_to_midi

Atoms = tuple[pyjama.Atom, ...]

_REASONS_SHOWN = 5

# Which of several recordings of a track is taken, best first; the others are reported.
_AUDIO = ("audio", "mix_audio", "audio_mix", "audio_mono", "audio_mic")
_USUAL_NAMES = {
    "beat": ("beats",),
    "chord": ("chords",),
    "pitchmidi": ("notes",),
    "f0": ("f0", "pitch", "melody"),
    "f0multi": ("multi_f0", "multif0"),
    "section": ("sections",),
    "key": ("key",),
    "lyrics": ("lyrics",),
    "tempo": ("tempo",),
    "event": ("events",),
}
_SIDES = {"train": "train", "training": "train", "test": "test", "testing": "test"}
_SIDES |= dict.fromkeys(("valid", "validation", "val", "dev"), "validation")


@dataclass
class Converted:
    """What was written, and what was not.

    Attributes
    ----------
    audio, annotations
        The two files.
    n_tracks
        Number of tracks written.
    left_out
        What could not be converted, with the reason and the number of tracks.
    """

    audio: Path
    annotations: Path
    n_tracks: int = 0
    left_out: Counter[str] = field(default_factory=Counter)


class _NoPlaceError(Exception):
    """Why an annotation cannot be written."""


def convert(
    name: str,
    directory: Path | str,
    *,
    data_home: Path | str | None = None,
    progress: bool = True,
    show: Callable[[str], object] = print,
) -> Converted:
    """Write a dataset that mirdata reads as ``<name>_audio.hdf5`` and ``<name>.pyjama``.

    Parameters
    ----------
    name
        Its name in mirdata, or in the catalogue of dl101.
    directory
        Folder to write to, made if missing. Files of these names are replaced.
    data_home
        Where the dataset is; None for the folder that mirdata downloads to.
    progress
        Whether to show a progress bar.
    show
        Receives what the catalogue says of the dataset (licence, faults), where it knows it.

    Raises
    ------
    ConfigError
        Where mirdata is not installed, or has no such dataset.
    DataError
        Where the dataset is not in ``data_home``, or has no audio.
    """
    mirdata = _mirdata()
    name = DATASETS[name].mirdata_name or name if name in DATASETS else name
    known = mirdata.list_datasets()
    if name not in known:
        raise ConfigError(
            "dataset",
            got=repr(name),
            expected="one that mirdata reads",
            hint=did_you_mean(name, known, otherwise="see mirdata.list_datasets()"),
        )
    for entry in DATASETS.values():
        if entry.mirdata_name == name:
            show(describe(entry))
    home = None if data_home is None else str(existing(data_home))
    dataset = mirdata.initialize(name, data_home=home)
    hint = f"download it first, in Python: mirdata.initialize({name!r}).download()"
    try:
        track_ids = sorted(dataset.track_ids)
    except (FileNotFoundError, AttributeError) as error:
        raise DataError(
            f"mirdata dataset {name!r}", got=str(error), expected="an index of tracks", hint=hint
        ) from error
    directory = Path(directory).expanduser()
    report = Converted(directory / f"{name}_audio.hdf5", directory / f"{name}.pyjama")
    entries = []
    with replacing_pair(report.audio, report.annotations) as (store, annotations):
        for track_id in progress_bar(track_ids, "converting", enabled=progress):
            try:
                track = dataset.track(track_id)
            except Exception as error:  # any loader may fail in its own way
                report.left_out[f"tracks: {track_id!r} ({type(error).__name__}: {error})"] += 1
                continue
            audio = _audio(track, report)
            if audio is None:
                continue
            key = str(track_id).replace("/", FOLDER_MARK)
            try:
                store.append(key, *audio)
            except DataError as error:
                report.left_out[f"tracks: {track_id!r} ({error.got})"] += 1
                continue
            entries.append(pyjama.Entry(key, len(entries), dict(_fields(track, report))))
        report.n_tracks = len(entries)
        if not entries:
            reasons = sorted(report.left_out) or ["no tracks"]
            more = ["..."] if len(reasons) > _REASONS_SHOWN else []
            reasons = "; ".join([*reasons[:_REASONS_SHOWN], *more])
            raise DataError(
                f"mirdata dataset {name!r} in {dataset.data_home}",
                got=f"no track with audio ({reasons})",
                expected="the audio files of the dataset",
                hint=f"{hint}, or give its folder with --data-home",
            )
        collection = pyjama.Collection(
            tuple(_valid(_uniform(entries), report)), audio_identity=store.identity
        )
        pyjama.write(annotations, collection, in_place=True)
    return report


def _mirdata() -> Any:
    try:
        import mirdata
    except ImportError as error:
        raise ConfigError(
            "dl101 convert --from mirdata",
            got="no library mirdata",
            expected="mirdata",
            hint="pip install 'dl101[mirdata]' (or: pip install mirdata)",
        ) from error
    return mirdata


def _names(track: Any) -> list[str]:
    """Return the names of what a track offers, without its methods and the paths of its files."""
    names = [n for n in dir(track) if not n.startswith("_") and not n.endswith("_path")]
    return [n for n in names if not callable(getattr(type(track), n, None))]


def _audio(track: Any, report: Converted) -> tuple[NDArray[np.float32], float] | None:
    """Return the samples and the rate of a track, or None where there are none."""
    offered = [name for name in _names(track) if "audio" in name]
    chosen = next((name for name in (*_AUDIO, *offered) if name in offered), None)
    if chosen is None:
        report.left_out["tracks: no audio"] += 1
        return None
    for name in offered:
        if name != chosen:
            report.left_out[f"{name}: one recording is kept, {chosen}"] += 1
    try:
        samples, rate = getattr(track, chosen)
        samples = np.asarray(samples)
    except Exception as error:  # any loader may fail in its own way on a missing file
        report.left_out[f"tracks: no {chosen} ({type(error).__name__})"] += 1
        return None
    known_rate = believable_rate(rate)
    if samples.ndim not in (1, 2) or not samples.size or samples.dtype.kind not in "fiu":
        reason = f"{chosen} is {samples.dtype} of shape {samples.shape}"
    elif known_rate is None:
        reason = f"{chosen} has the rate {rate}"
    else:
        audio = as_channels(samples, time_axis_of(samples.shape))
        what = f"track {track.track_id}, {chosen}"
        try:
            check_samples(audio, known_rate, what)
        except DataError as error:
            reason = f"{chosen} holds {error.got}"
        else:
            # Two channels stay two, unless a recording is too short to tell them from samples.
            stereo = audio.shape[0] == 2 < audio.shape[1]
            return audio if stereo else to_mono(audio, what), known_rate
    report.left_out[f"tracks: {track.track_id!r} ({reason})"] += 1
    return None


def _fields(track: Any, report: Converted) -> Iterator[tuple[str, Atoms]]:
    """Yield the fields of a track: each annotation, and each text or number."""
    taken = set()
    for name in _names(track):
        if "audio" in name:
            continue
        try:
            value = getattr(track, name)
        except Exception as error:  # as above: one bad file must not stop the others
            report.left_out[f"{name}: {type(error).__name__} when reading it"] += 1
            continue
        several = value if _is_table(value) else {None: value}
        for part, single in several.items():
            label = name if part is None else f"{name}_{part}"
            try:
                field_name, atoms = _converted(label, single)
            except _NoPlaceError as error:
                report.left_out[f"{label}: {error}"] += 1
                continue
            if field_name in taken:
                report.left_out[f"{label}: another annotation is the field {field_name!r}"] += 1
            elif atoms:
                taken.add(field_name)
                yield field_name, atoms


def _is_table(value: object) -> bool:
    """Return whether a value is a dictionary of annotations, such as one for each string."""
    return isinstance(value, dict) and all(type(v).__name__ in _KINDS for v in value.values())


def _converted(name: str, value: Any) -> tuple[str, Atoms]:
    """Return the field that a value belongs to, and its atoms (none where it is missing)."""
    if value is None:
        return name, ()
    kind = type(value).__name__
    if kind in _KINDS:
        field_name, make = _KINDS[kind]
        if name not in _USUAL_NAMES[field_name]:
            field_name = f"{field_name}-{name.replace('_', '-')}"
        try:
            return field_name, tuple(make(value))
        except _NoPlaceError:
            raise
        except Exception as error:  # a file that mirdata accepted may hold anything
            raise _NoPlaceError(f"{kind} that cannot be read ({error})") from error
    values = value if isinstance(value, list | tuple) else [value]
    if not all(isinstance(v, str | int | float | np.generic) for v in values):
        raise _NoPlaceError(f"no field for a {kind}")
    atoms = tuple(
        pyjama.Atom(str(v) if isinstance(v, str | bool | np.bool_) else float(v))
        for v in values
        if v != "" and v == v  # NaN stands for a missing number
    )
    if name == "split":
        sides = [_SIDES.get(str(v).lower()) for v in values]
        if None in sides:
            return "published-split", tuple(pyjama.Atom(str(v)) for v in values)
        return "split", tuple(pyjama.Atom(side) for side in sides)
    if name == "filepath":
        name = "published_filepath"  # an entry's own name in a .pyjama file
    return name.replace("_", "-"), atoms


def _uniform(entries: Iterable[pyjama.Entry]) -> list[pyjama.Entry]:
    """Return entries in which a field is text everywhere if it is text anywhere."""
    entries = list(entries)
    texts = {
        name
        for entry in entries
        for name, atoms in entry.fields.items()
        if any(isinstance(atom.value, str) for atom in atoms)
    }

    def as_text(atom: pyjama.Atom) -> pyjama.Atom:
        if not isinstance(atom.value, float):
            return atom
        return pyjama.Atom(f"{atom.value:g}", atom.time, atom.duration, atom.confidence)

    return [
        pyjama.Entry(
            entry.filepath,
            entry.index,
            {
                name: tuple(map(as_text, atoms)) if name in texts else atoms
                for name, atoms in entry.fields.items()
            },
        )
        for entry in entries
    ]


def _valid(entries: Iterable[pyjama.Entry], report: Converted) -> Iterator[pyjama.Entry]:
    """Yield entries without the fields that a .pyjama file cannot hold; these are reported."""
    definitions: dict[str, pyjama.Definition] = {}
    for entry in entries:
        kept = {}
        for name, atoms in entry.fields.items():
            single = pyjama.Entry(entry.filepath, 0, {name: atoms})
            try:
                pyjama.dump_entry(single, definitions)
            except DataError as error:
                report.left_out[f"{name}: {error.got}; expected {error.expected}"] += 1
                continue
            if name not in definitions:
                definitions |= pyjama.Collection((single,)).definitions
            kept[name] = atoms
        yield pyjama.Entry(entry.filepath, entry.index, kept)


# ---- Kinds of annotations ----------------------------------------------------------------------


def _seconds(times: Any, unit: str) -> NDArray[np.float64]:
    scale = {"s": 1.0, "ms": 1e-3}.get(unit)
    if scale is None:
        raise _NoPlaceError(f"times in {unit}")
    return np.round(np.asarray(times, dtype=np.float64) * scale, 6)


def _segments(data: Any, values: Iterable) -> Iterator[pyjama.Atom]:
    """Write values with the intervals of an annotation; empty labels and NaN are left out."""
    unit = getattr(data, "interval_unit", "s")  # mirdata 1.0 does not keep that of chords
    for (begin, end), value in zip(_seconds(data.intervals, unit), values, strict=True):
        value = value if isinstance(value, str) else float(value)
        if value != "" and value == value:
            yield pyjama.Atom(value, float(begin), round(float(end - begin), 6))


def _texts(attribute: str) -> Callable[[Any], Iterator[pyjama.Atom]]:
    return lambda data: _segments(data, map(str, getattr(data, attribute)))


def _midi(pitches: Any, unit: str) -> NDArray[np.float64]:
    if unit == "hz":
        return np.round(hz_to_midi(pitches), 4)
    if unit == "midi":
        return np.asarray(pitches, dtype=np.float64)
    raise _NoPlaceError(f"pitches as {unit}")


def _beats(data: Any) -> Iterator[pyjama.Atom]:
    """Mark beats with their place in the bar (1: downbeat), or 0 where it is not known."""
    times_s = _seconds(data.times, data.time_unit)
    places = np.zeros(len(times_s))
    if data.positions is not None and data.position_unit == "bar_index":
        places = np.nan_to_num(np.asarray(data.positions, dtype=np.float64))
    return (pyjama.Atom(float(v), float(t)) for t, v in zip(times_s, places, strict=True))


def _notes(data: Any) -> Iterator[pyjama.Atom]:
    return _segments(data, _midi(data.pitches, data.pitch_unit))


def _sections(data: Any) -> Iterator[pyjama.Atom]:
    labels = data.labels if data.labels is not None else ["section"] * len(data.intervals)
    return _segments(data, map(str, labels))


def _f0(data: Any) -> list[pyjama.Atom]:
    values = _midi(data.frequencies, data.frequency_unit)
    voicing = np.ones(len(values)) if data.voicing is None else np.asarray(data.voicing)
    values = np.where(voicing > 0, values, np.nan)
    return [pyjama.Atom(values[np.newaxis], _seconds(data.times, data.time_unit))]


def _multi_f0(data: Any) -> list[pyjama.Atom]:
    """Write the pitches of each frame as rows, lowest first."""
    frames = [
        sorted(p for p in _midi(pitches, data.frequency_unit) if np.isfinite(p))
        for pitches in data.frequency_list
    ]
    matrix = np.full((max(map(len, frames), default=0) or 1, len(frames)), np.nan)
    for frame, pitches in enumerate(frames):
        matrix[: len(pitches), frame] = pitches
    return [pyjama.Atom(matrix, _seconds(data.times, data.time_unit))]


# mirdata's class of an annotation: the field, and how its atoms are made.
_KINDS: Mapping[str, tuple[str, Callable[[Any], Iterable[pyjama.Atom]]]] = {
    "BeatData": ("beat", _beats),
    "ChordData": ("chord", _texts("labels")),
    "NoteData": ("pitchmidi", _notes),
    "F0Data": ("f0", _f0),
    "MultiF0Data": ("f0multi", _multi_f0),
    "SectionData": ("section", _sections),
    "KeyData": ("key", _texts("keys")),
    "LyricData": ("lyrics", _texts("lyrics")),
    "TempoData": ("tempo", lambda data: _segments(data, data.tempos)),
    "EventData": ("event", _texts("events")),
}
