"""Readers of datasets that are published in another form: archives in, a pair out.

Each reader goes through the files of an archive once and yields one item per track; what it yields
is written at once, so that memory holds one track. The sources are lossy (MP3, AAC), so samples
are kept as 16-bit integers, half the size of the floats that
:class:`~dl101.data.audiostore.AudioStore` returns; rates are kept as they are.

A file of the archive that cannot be decoded (MagnaTagATune has some that are empty) is left out and
named; more than a few are an error. Keys spell a folder as the pairs of 2024 do:
``0/clip.mp3`` is ``0+++clip.mp3``.
"""

from __future__ import annotations

import csv
import io
import re
import shutil
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

import h5py
import numpy as np
from numpy.typing import NDArray

from dl101.data import pyjama
from dl101.data.archive import ArchiveError, base_name, files, opened
from dl101.data.audiofile import LOWEST_RATE_HZ, decode
from dl101.data.audiostore import FRAME_RATE, AudioStore
from dl101.data.embedded.recipe import Item
from dl101.errors import DataError, FetchError
from dl101.progress import progress as progress_bar

FOLDER_MARK = "+++"  # stands for the slash of a path, which HDF5 would take for a folder
LARGEST_FILE_BYTES = 2**26  # of one clip or table, held in memory
LONGEST_CLIP_S = 1200.0
LEFT_OUT_AT_MOST = (5, 0.01)  # so many files, and this share of all


@dataclass
class Job:
    """What a reader works on.

    Attributes
    ----------
    parts
        The downloaded files, in the order of the catalogue.
    scratch
        A folder for what must be unpacked to be read.
    progress
        Whether to show a bar.
    n_bins, frame_rate_hz
        What the catalogue knows of features whose files do not say it.
    left_out
        Files that could not be read, each with the reason.
    n_files
        How many the reader tried.
    """

    parts: Sequence[Path]
    scratch: Path
    progress: bool = False
    n_bins: int | None = None
    frame_rate_hz: float | None = None
    left_out: list[str] = field(default_factory=list)
    n_files: int = 0

    def each(self, infos: Sequence) -> Iterator:
        """Iterate over the files under a progress bar, counting them."""
        for info in progress_bar(infos, "converting", enabled=self.progress):
            self.n_files += 1
            yield info

    def leave_out(self, name: str, reason: object) -> None:
        """Note a file that cannot be read."""
        self.left_out.append(f"{name} ({reason})")


def convert(reader: str, job: Job, audio: Path, annotations: Path) -> None:
    """Write the pair of a dataset from its downloaded files.

    Parameters
    ----------
    reader
        Name of the reader, a key of :data:`READERS`.
    job
        What it works on. Files that are left out are found in ``job.left_out`` afterwards.
    audio, annotations
        The two files to write.

    Raises
    ------
    ArchiveError
        Where the archive is unsafe or damaged, or holds no or too few readable tracks.
    DataError
        Where annotations in it are malformed.
    """
    entries = []
    with h5py.File(audio, "w") as store:
        for item in READERS[reader](job):
            if item.key in store:
                raise ArchiveError(f"two tracks named {item.key!r}")
            _write(store, item)
            entries.append(pyjama.Entry(item.key, len(entries), item.fields))
    n_most, share_most = LEFT_OUT_AT_MOST
    if not entries or len(job.left_out) > n_most + share_most * job.n_files:
        some = f", among them {job.left_out[0]}" if job.left_out else ""
        raise ArchiveError(
            f"an archive with {len(entries)} readable tracks and {len(job.left_out)} others{some}"
        )
    pyjama.write(annotations, pyjama.Collection(tuple(entries)))


def check_installed(reader: str) -> None:
    """Refuse a reader whose optional library is missing, before anything is downloaded."""
    if reader == "musdb18":
        _pyav()


def _write(store: h5py.File, item: Item) -> None:
    """Add a track: features as float32, audio as 16-bit integers."""
    if item.rate < LOWEST_RATE_HZ:
        values, attribute = item.values.astype(np.float32), FRAME_RATE
    else:
        values = np.clip(np.rint(item.values * 2.0**15), -(2**15), 2**15 - 1).astype(np.int16)
        attribute = "sr_hz"
    array = store.create_dataset(item.key, data=values, track_times=False)
    array.attrs[attribute] = item.rate


def _labels(**values: object) -> dict[str, tuple[pyjama.Atom, ...]]:
    """Return fields that hold for a whole track; a list gives several atoms, None no field."""
    fields = {}
    for name, value in values.items():
        several = value if isinstance(value, list) else [value]
        atoms = tuple(
            pyjama.Atom(item if isinstance(item, str) else float(item))
            for item in several
            if item is not None and item != ""
        )
        if atoms:
            fields[name] = atoms
    return fields


def _decoded(
    archive: zipfile.ZipFile, info: zipfile.ZipInfo, job: Job
) -> tuple[NDArray[np.float32], int] | None:
    """Return the mono samples and the rate of a file, or None where it is not audio."""
    content = _read(archive, info)  # a wrong checksum is an error: the archive is damaged
    try:
        return decode(io.BytesIO(content), info.filename, max_duration_s=LONGEST_CLIP_S)
    except DataError as error:
        job.leave_out(info.filename, error.got)
        return None


def _read(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    if info.file_size > LARGEST_FILE_BYTES:
        raise ArchiveError(f"{info.filename!r} of {info.file_size} bytes, where clips are small")
    return archive.read(info)


# ---- NSynth ------------------------------------------------------------------------------------

_NSYNTH_NAME = re.compile(
    r"(?P<instrument>(?P<family>[a-z_]+)_(?P<source>acoustic|electronic|synthetic)_\d+)"
    r"-(?P<pitch>\d{3})-(?P<velocity>\d{3})\.(mp3|wav|flac|ogg)"
)
_NSYNTH_FOLDER = re.compile(r"nsynth[\w-]*-(train|valid|test)")
_NSYNTH_HELD_S = 3.0  # each note is held for 3 s and decays for one (Engel et al., 2017)


def _nsynth(job: Job) -> Iterator[Item]:
    """Read notes whose file names say all: ``guitar_acoustic_010-060-075.mp3``."""
    with opened(job.parts) as archive:
        for info in job.each([i for i in files(archive) if _is_audio(i)]):
            name = base_name(info)
            match = _NSYNTH_NAME.fullmatch(name)
            folder = _NSYNTH_FOLDER.search(info.filename.rpartition("/")[0])
            if not match or not folder or not 0 <= int(match["pitch"]) <= 127:
                job.leave_out(info.filename, "not a name of NSynth")
                continue
            decoded = _decoded(archive, info, job)
            if decoded is None:
                continue
            samples, rate = decoded
            held_s = min(_NSYNTH_HELD_S, len(samples) / rate)
            fields = _labels(
                instrument=match["instrument"],
                family=match["family"],
                source=match["source"],
                velocity=int(match["velocity"]),
                split={"valid": "validation"}.get(folder[1], folder[1]),
            )
            fields["pitchmidi"] = (pyjama.Atom(float(match["pitch"]), 0.0, held_s),)
            yield Item(name, samples, rate, fields)


def _is_audio(info: zipfile.ZipInfo) -> bool:
    return info.filename.lower().endswith((".mp3", ".wav", ".flac", ".ogg"))


# ---- MagnaTagATune -----------------------------------------------------------------------------

# Clips are in folders named by one hexadecimal digit, which the usual split goes by.
_MTT_CLIP = re.compile(r"(?:(?P<part>.*)/)?(?P<clip>[0-9a-f]/[^/]+\.mp3)")
_MTT_NAME = re.compile(r"[0-9a-f]/(?P<artist>[^-]+)-(?P<album>.+)-\d+-(?P<title>.+)-\d+-\d+\.mp3")


def _mtt_ssl(job: Job) -> Iterator[Item]:
    """Read clips, and the tags of those that a table ``annotations.csv`` beside them lists.

    A clip that is in several folders is one track: ``part`` names the folders.
    """
    with opened(job.parts) as archive:
        tags = _mtt_tags(archive)
        clips: dict[str, list[zipfile.ZipInfo]] = {}
        for info in files(archive):
            if _is_audio(info):
                match = _MTT_CLIP.fullmatch(info.filename)
                clips.setdefault(match["clip"] if match else info.filename, []).append(info)
        for clip in job.each(sorted(clips)):
            same = clips[clip]
            labelled = [info for info in same if info.filename in tags]
            info = (labelled or same)[0]
            decoded = _decoded(archive, info, job)
            if decoded is None:
                continue
            parts = [_MTT_CLIP.fullmatch(i.filename) for i in same]
            parts = sorted({m["part"].rpartition("/")[2] for m in parts if m and m["part"]})
            name = _MTT_NAME.fullmatch(clip)
            fields = _labels(
                title=name and name["title"].replace("_", " "),
                artist=name and name["artist"].replace("_", " "),
                album=name and name["album"].replace("_", " "),
                part=parts,
                role="labelled" if labelled else "unlabelled",
                split=_mtt_side(parts),
                tag=tags.get(info.filename, []),
            )
            yield Item(clip.replace("/", FOLDER_MARK), *decoded, fields)


def _mtt_side(parts: Sequence[str]) -> str:
    """Return the side of a clip by the folders it is in: a clip in ``test`` is never trained on."""
    if "test" in parts:
        return "test"
    return "validation" if any(part.startswith("val") for part in parts) else "train"


def _mtt_tags(archive: zipfile.ZipFile) -> dict[str, list[str]]:
    """Return the tags of each clip in the tables of the archive, by the clip's path in it."""
    tags = {}
    for info in files(archive):
        if base_name(info) != "annotations.csv":
            continue
        folder = info.filename.rpartition("/")[0]
        text = _read(archive, info).decode("utf-8-sig", errors="replace")
        rows = csv.reader(io.StringIO(text), delimiter="\t" if "\t" in text[:1000] else ",")
        header = next(rows, [])
        if "mp3_path" not in header:
            raise ArchiveError(f"{info.filename!r} without a column 'mp3_path'")
        column = header.index("mp3_path")
        for row in rows:
            if len(row) == len(header):
                path = f"{folder}/{row[column]}" if folder else row[column]
                tags[path] = [
                    tag
                    for tag, value in zip(header, row, strict=True)
                    if tag not in ("", "mp3_path", "clip_id") and value.strip() in ("1", "1.0")
                ]
    return tags


# ---- MUSDB18 -----------------------------------------------------------------------------------

MUSDB_STREAMS = ("mixture", "drums", "bass", "other", "vocals")
# The songs of the folder train that its authors' library `musdb` keeps for validation.
MUSDB_VALIDATION = frozenset(
    (
        "ANiMAL - Rockshow",
        "Actions - One Minute Smile",
        "Alexander Ross - Goodbye Bolero",
        "Clara Berry And Wooldog - Waltz For My Victims",
        "Fergessen - Nos Palpitants",
        "James May - On The Line",
        "Johnny Lokke - Promises & Lies",
        "Leaf - Summerghost",
        "Meaxic - Take A Step",
        "Patrick Talbot - A Reason To Leave",
        "Skelpolu - Human Mistakes",
        "Traffic Experiment - Sirens",
        "Triviul - Angelsaint",
        "Young Griffo - Pennies",
    )
)
_STEM_SUFFIX = ".stem.mp4"


def _musdb18(job: Job) -> Iterator[Item]:
    """Read songs of five stereo streams, the mixture and its stems, as one track each."""
    av = _pyav()
    with opened(job.parts) as archive:
        for info in job.each([i for i in files(archive) if i.filename.endswith(_STEM_SUFFIX)]):
            name = base_name(info).removesuffix(_STEM_SUFFIX)
            sides = [part for part in info.filename.split("/")[:-1] if part in ("train", "test")]
            if not sides:
                job.leave_out(info.filename, "in neither folder train nor test")
                continue
            unpacked = job.scratch / "song.mp4"
            try:
                with archive.open(info) as source, unpacked.open("wb") as out:
                    shutil.copyfileobj(source, out, 2**20)
                side = "validation" if name in MUSDB_VALIDATION else sides[0]
                yield from _song(av, unpacked, name, side)
            except (av.error.FFmpegError, ValueError) as error:
                raise ArchiveError(f"{info.filename!r} cannot be decoded: {error}") from error
            finally:
                unpacked.unlink(missing_ok=True)


def _song(av: object, path: Path, name: str, side: str) -> Iterator[Item]:
    artist, _, title = name.partition(" - ")
    with av.open(str(path), format="mp4") as container:
        found = len(container.streams.audio)
    if found != len(MUSDB_STREAMS):
        raise ValueError(f"{found} streams of audio instead of {len(MUSDB_STREAMS)}")
    length = None
    for number, stream in enumerate(MUSDB_STREAMS):
        samples, rate = _stream(av, path, number)
        # The stems are as long as the mixture: an encoder may have padded one by a block.
        length = samples.shape[1] if length is None else length
        samples = np.pad(samples[:, :length], ((0, 0), (0, max(0, length - samples.shape[1]))))
        mixture = stream == "mixture"
        fields = _labels(
            title=title or name,
            artist=artist if title else None,
            work=name,
            split=side,
            role="mixture" if mixture else "stem",
            stem=None if mixture else stream,
        )
        yield Item(f"{name}.wav" if mixture else f"{name}-{stream}.wav", samples, rate, fields)


def _stream(av: object, path: Path, number: int) -> tuple[NDArray[np.float32], int]:
    """Return one stream of audio as (2, samples)."""
    with av.open(str(path), format="mp4") as container:
        stream = container.streams.audio[number]
        converter = av.AudioResampler(format="fltp", layout="stereo")
        blocks = []
        for frame in container.decode(stream):
            blocks += [block.to_ndarray() for block in converter.resample(frame)]
        blocks += [block.to_ndarray() for block in converter.resample(None)] if blocks else []
        if not blocks:
            raise ValueError(f"stream {number} is empty")
        return np.concatenate(blocks, axis=1), stream.rate


def _pyav() -> object:
    try:
        import av
    except ImportError as error:
        raise FetchError(
            "reading .stem.mp4",
            got="no library PyAV",
            expected="PyAV, which brings the decoder for AAC",
            hint="pip install 'dl101[stems]' (or: pip install av), and run the same again",
        ) from error
    return av


# ---- Cover1000 and Da-TACOS --------------------------------------------------------------------


def _crema(job: Job) -> Iterator[Item]:
    """Read CREMA features, published as (frames, 12), and the annotations published beside them."""
    archive_path, annotations = job.parts
    collection = pyjama.read(annotations)
    unpacked = job.scratch / "features.hdf5"
    try:
        with opened([archive_path]) as archive:
            found = [i for i in files(archive) if base_name(i).endswith(".hdf5")]
            if len(found) != 1:
                raise ArchiveError(f"{len(found)} files .hdf5 in {archive_path.name}")
            with archive.open(found[0]) as source, unpacked.open("wb") as out:
                shutil.copyfileobj(source, out, 2**20)
        with AudioStore(unpacked) as store:
            for entry in job.each(collection.entries):
                if entry.filepath not in store:
                    job.leave_out(entry.filepath, "no such array")
                    continue
                try:
                    values, rate_hz = store.read_feature(
                        entry.filepath, n_bins=job.n_bins, frame_rate_hz=job.frame_rate_hz
                    )
                except DataError as error:
                    job.leave_out(entry.filepath, error.got)
                    continue
                yield Item(entry.filepath, values, rate_hz, entry.fields)
    finally:
        unpacked.unlink(missing_ok=True)


READERS: Mapping[str, Callable[[Job], Iterator[Item]]] = MappingProxyType(
    {"nsynth": _nsynth, "mtt_ssl": _mtt_ssl, "musdb18": _musdb18, "crema": _crema}
)
