"""Datasets published in another form: fetched, converted, read, from archives of the same layout.

Each archive here is made by the test and served by the misbehaving server.
"""

from __future__ import annotations

import builtins
import dataclasses
import hashlib
import importlib.util
import io
import itertools
import json
import os
import shutil
import stat
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
import soundfile

from dl101.data import fetch as fetch_module
from dl101.data import pyjama, readers, source, splits
from dl101.data.archive import ArchiveError, files, opened
from dl101.data.audiostore import AudioStore
from dl101.data.catalog import DATASETS
from dl101.data.fetch import RetryPolicy, fetch
from dl101.errors import FetchError

HELPER = Path(__file__).with_name("misbehaving_server.py")
SPEC = importlib.util.spec_from_file_location("misbehaving_server", HELPER)
manners = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(manners)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("DL101_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("DL101_OFFLINE", raising=False)
    return tmp_path / "cache"


@pytest.fixture
def server():
    with manners.MisbehavingServer() as running:
        yield running


@pytest.fixture
def get(server):
    """Return a function that fetches a dataset of the catalogue from the local server."""

    def run(name, *contents, manner=None, hashes=True, rounds=3, **options):
        files = []
        for number, (file, content) in enumerate(zip(published(name), contents, strict=True)):
            ways = manner.get(number, ()) if manner else ()
            files.append(
                dataclasses.replace(
                    file,
                    urls=(server.put(f"/{file.name}", content, *ways),),
                    about_bytes=len(content),
                    size_bytes=len(content) if file.size_bytes else None,
                    sha256=hashlib.sha256(content).hexdigest() if hashes else None,
                )
            )
        record = dataclasses.replace(DATASETS[name], unpacked_bytes=10**6)
        if record.files:
            record = dataclasses.replace(record, files=tuple(files))
        else:
            record = dataclasses.replace(record, annotations=files[0], audio=files[1])
        options = {"progress": False, "show": lambda text: None, **options}
        retry_policy = RetryPolicy((0.0,) * (rounds - 1), 5.0)
        return fetch(name, catalog={name: record}, retry_policy=retry_policy, **options)

    return run


def published(name):
    return DATASETS[name].files or (DATASETS[name].annotations, DATASETS[name].audio)


def zipped(members, method=zipfile.ZIP_STORED):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", method) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return content.getvalue()


def split(content, *cuts):
    """Return the pieces of a split archive, as Info-ZIP cuts one at the given places."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        directory = archive.start_dir
    whole = bytearray(b"PK\x07\x08" + content)
    directory += 4
    bounds = [0, *cuts, len(whole)]

    def place(position):
        piece = max(k for k in range(len(bounds) - 1) if bounds[k] <= position)
        return piece, position - bounds[piece]

    end = len(whole) - 22
    at = directory
    while at < end:
        (offset,) = struct.unpack_from("<L", whole, at + 42)
        piece, within = place(offset + 4)
        struct.pack_into("<H", whole, at + 34, piece)
        struct.pack_into("<L", whole, at + 42, within)
        at += 46 + sum(struct.unpack_from("<3H", whole, at + 28))
    piece, within = place(directory)
    struct.pack_into("<2H", whole, end + 4, len(bounds) - 2, piece)
    struct.pack_into("<L", whole, end + 16, within)
    return [bytes(whole[a:b]) for a, b in itertools.pairwise(bounds)]


def tone(frequency_hz, rate=16_000, duration_s=0.5, kind="MP3"):
    """Return an audio file that holds a tone."""
    content = io.BytesIO()
    times = np.arange(round(rate * duration_s)) / rate
    samples = 0.5 * np.sin(2 * np.pi * frequency_hz * times)
    soundfile.write(content, samples, rate, format=kind)
    return content.getvalue()


def pitch_of(samples, rate):
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return np.argmax(spectrum) * rate / len(samples)


def left(cache, name):
    """Return what lies in the folder for what is not complete."""
    return {path.name for path in (cache / "partial" / name).iterdir()} - {"lock"}


# ---- NSynth ----

NOTES = {
    "NSYNTH_GUITAR_MP3/nsynth-guitar-train/guitar_acoustic_010-060-075.mp3": 261.63,
    "NSYNTH_GUITAR_MP3/nsynth-guitar-train/guitar_electronic_003-069-127.mp3": 440.0,
    "NSYNTH_GUITAR_MP3/nsynth-guitar-valid/guitar_synthetic_000-081-025.mp3": 880.0,
}
NSYNTH = zipped(
    [
        ("NSYNTH_GUITAR_MP3/", b""),
        ("NSYNTH_GUITAR_MP3/readme.txt", b"hello"),
        ("__MACOSX/nsynth-guitar-train/._guitar_acoustic_010-060-075.mp3", b"shadow"),
        *((name, tone(frequency_hz, duration_s=4.0)) for name, frequency_hz in NOTES.items()),
    ]
)


def test_nsynth_from_archive_to_pair(get, cache, server):
    shown = []
    pair = get("nsynth-guitar", NSYNTH, show=lambda text: shown.append((text, server.requests[:])))
    assert pair.audio == cache / "datasets/nsynth-guitar/nsynth-guitar_audio.hdf5"
    (text, requests_before), *rest = shown
    assert not rest and not requests_before  # told before the first request
    assert "CC BY 4.0" in text and "335 MB" not in text and "converts it" in text
    collection = pyjama.read(pair.annotations)
    assert [entry.filepath for entry in collection] == [Path(name).name for name in NOTES]
    assert [entry.first("split") for entry in collection] == ["train", "train", "validation"]
    with AudioStore(pair.audio) as store:
        for entry, frequency_hz in zip(collection, NOTES.values(), strict=True):
            samples, rate = store.read(entry.filepath)
            assert rate == 16_000 and samples.dtype == np.float32
            assert abs(len(samples) / rate - 4.0) < 0.1
            assert abs(pitch_of(samples, rate) - frequency_hz) < 2
            assert 0.4 < np.abs(samples[8000:32000]).max() < 0.6
            onsets_s, durations_s, pitches = entry.segments("pitchmidi")
            assert onsets_s == [0] and durations_s == [3]
            assert pitches[0] == round(69 + 12 * np.log2(frequency_hz / 440))
    first = collection.entries[0]
    assert first.first("velocity") == 75 and first.first("family") == "guitar"
    assert first.first("instrument") == "guitar_acoustic_010"
    assert first.first("source") == "acoustic"


def test_second_time_asks_nobody_and_archives_are_gone(get, cache, server):
    first = get("nsynth-guitar", NSYNTH)
    assert left(cache, "nsynth-guitar") == set()
    asked = len(server.requests)
    assert get("nsynth-guitar", NSYNTH) == first
    assert len(server.requests) == asked


def test_same_archive_gives_the_same_bytes(get, cache):
    first = get("nsynth-guitar", NSYNTH)
    before = first.audio.read_bytes(), first.annotations.read_bytes()
    shutil.rmtree(cache)
    again = get("nsynth-guitar", NSYNTH)
    assert (again.audio.read_bytes(), again.annotations.read_bytes()) == before


def test_interrupted_download_is_resumed(get, server):
    get("nsynth-guitar", NSYNTH, manner={0: (manners.truncating(1000), manners.correct)})
    ranges = [headers.get("Range") for headers in server.asked("/NSYNTH_GUITAR_MP3.zip")]
    assert ranges == [None, "bytes=1000-"]


@pytest.mark.parametrize("hashes", [True, False])
def test_damaged_archive_leaves_the_cache_as_it_was(get, cache, hashes):
    """Where the hash is known it fails there, where it is not by the checksum of a file."""
    spoilt = bytearray(NSYNTH)
    spoilt[len(spoilt) // 2] ^= 1
    manner = {0: (manners.saying(bytes(spoilt)),)}
    with pytest.raises(FetchError, match="SHA-256" if hashes else "cannot be unpacked"):
        get("nsynth-guitar", NSYNTH, manner=manner, hashes=hashes)
    assert not list((cache / "datasets").rglob("*.hdf5")) and left(cache, "nsynth-guitar") == set()
    assert get("nsynth-guitar", NSYNTH, hashes=hashes).audio.exists()  # nothing is in its way


def test_conversion_that_was_killed_needs_no_second_download(get, cache, monkeypatch, server):
    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(readers.pyjama, "write", killed)
        with pytest.raises(KeyboardInterrupt):
            get("nsynth-guitar", NSYNTH)
    assert left(cache, "nsynth-guitar") == {"NSYNTH_GUITAR_MP3.zip"}
    asked = len(server.requests)
    monkeypatch.setenv("DL101_OFFLINE", "1")
    assert get("nsynth-guitar", NSYNTH).audio.exists()
    assert len(server.requests) == asked


def test_offline_says_where_to_put_the_archive(get, cache, monkeypatch):
    monkeypatch.setenv("DL101_OFFLINE", "1")
    with pytest.raises(FetchError, match=r"NSYNTH_GUITAR_MP3\.zip") as caught:
        get("nsynth-guitar", NSYNTH)
    folder = cache / "partial" / "nsynth-guitar"
    assert str(folder) in str(caught.value)
    (folder / "NSYNTH_GUITAR_MP3.zip").write_bytes(NSYNTH)
    assert get("nsynth-guitar", NSYNTH).audio.exists()


@pytest.mark.parametrize("kept_time", [True, False])
def test_changed_pair_is_refused(get, kept_time):
    """A change of length is always seen, a change of content unless the time is set back."""
    pair = get("nsynth-guitar", NSYNTH)
    content, times = pair.audio.read_bytes(), pair.audio.stat()
    pair.audio.write_bytes(content + b"x" if kept_time else content[:-1] + b"x")
    if kept_time:
        os.utime(pair.audio, ns=(times.st_atime_ns, times.st_mtime_ns))
    with pytest.raises(FetchError, match="not what it was"):
        get("nsynth-guitar", NSYNTH)
    pair.audio.write_bytes(content)  # as if copied from elsewhere: another time, same bytes
    assert get("nsynth-guitar", NSYNTH) == pair


def test_pair_that_is_half_gone_is_made_again(get, server):
    pair = get("nsynth-guitar", NSYNTH)
    content = pair.annotations.read_bytes()
    pair.annotations.unlink()
    assert get("nsynth-guitar", NSYNTH).annotations.read_bytes() == content
    assert len(server.requests) == 2


def test_pair_put_there_by_hand_is_used(get, cache, server):
    """As copied from another machine: it is recorded, and refused once it has changed."""
    pair = get("nsynth-guitar", NSYNTH)
    (pair.audio.parent / "fetched.json").unlink()
    asked = len(server.requests)
    assert get("nsynth-guitar", NSYNTH) == pair and len(server.requests) == asked
    pair.annotations.write_bytes(pair.annotations.read_bytes() + b" ")
    with pytest.raises(FetchError, match="not what it was"):
        get("nsynth-guitar", NSYNTH)


def test_full_disk_keeps_the_download(get, cache, monkeypatch, server):
    def full(*_):
        raise OSError("no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(readers, "_write", full)
        with pytest.raises(FetchError, match=r"no space left.*is kept"):
            get("nsynth-guitar", NSYNTH)
    assert left(cache, "nsynth-guitar") == {"NSYNTH_GUITAR_MP3.zip"}
    asked = len(server.requests)
    assert get("nsynth-guitar", NSYNTH).audio.exists() and len(server.requests) == asked


SCRIPT = """
import sys
from dl101.data.catalog_record import Dataset, RemoteFile
from dl101.data.fetch import RetryPolicy, fetch
print("ready", flush=True)
sys.stdin.readline()
record = eval(sys.argv[1])
files = fetch(record.name, catalog={record.name: record}, progress=False, show=lambda t: None,
              retry_policy=RetryPolicy((0.0,)))
print(files.audio.stat().st_size, flush=True)
"""


def test_two_processes_convert_once(server, cache):
    known = DATASETS["nsynth-guitar"]
    file = dataclasses.replace(
        known.files[0],
        urls=(server.put("/a.zip", NSYNTH, manners.slow_start),),
        size_bytes=len(NSYNTH),
        sha256=hashlib.sha256(NSYNTH).hexdigest(),
    )
    record = dataclasses.replace(known, files=(file,), unpacked_bytes=1000)
    both = [
        subprocess.Popen(
            [sys.executable, "-c", SCRIPT, repr(record)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).resolve().parents[2],
        )
        for _ in range(2)
    ]
    for process in both:
        assert process.stdout.readline() == "ready\n"
    for process in both:
        process.stdin.write("go\n")
        process.stdin.flush()
    first, second = (process.communicate(timeout=60)[0] for process in both)
    assert first == second and int(first) > 0
    assert len(server.asked("/a.zip")) == 1 and left(cache, "nsynth-guitar") == set()


def test_unreadable_clips_are_left_out_and_named_unless_many(get):
    names = [f"nsynth-guitar-train/guitar_acoustic_010-0{60 + k}-075.mp3" for k in range(7)]
    shown = []
    few = [(names[0], tone(440)), (names[1], b""), (names[2], b"no audio")]
    cut = tone(440, duration_s=2.0)
    few.append((names[3], cut[: len(cut) // 2]))  # a clip that ends early was let pass
    pair = get("nsynth-guitar", zipped([*few, ("x/cover.mp3", tone(1))]), show=shown.append)
    assert len(pyjama.read(pair.annotations)) == 1
    assert f"{names[3]} (" in " ".join(shown[1].split())
    assert "Left out" in shown[1] and names[1] in shown[1] and "x/cover.mp3" in shown[1]
    shutil.rmtree(pair.audio.parent)
    many = zipped([(names[0], tone(440)), *((name, b"") for name in names[1:])])
    with pytest.raises(FetchError, match="1 readable tracks and 6 others"):
        get("nsynth-guitar", many)


def test_archive_of_something_else_is_refused(get):
    with pytest.raises(FetchError, match="0 readable tracks"):
        get("nsynth-guitar", zipped([("readme.txt", b"hello")]))


@pytest.mark.parametrize(
    ("name", "mode", "words"),
    [
        ("nsynth-guitar-train/../../guitar_acoustic_010-060-075.mp3", stat.S_IFREG, "path outside"),
        ("/nsynth-guitar-train/guitar_acoustic_010-060-075.mp3", stat.S_IFREG, "path outside"),
        ("nsynth-guitar-train/guitar_acoustic_010-060-075.mp3", stat.S_IFLNK, "link or device"),
        ("bomb", stat.S_IFREG, "unpacks to more than"),
    ],
)
def test_unsafe_archives_are_refused_before_conversion(get, cache, name, mode, words):
    info = zipfile.ZipInfo(name)
    info.external_attr, info.create_system = (mode | 0o644) << 16, 3
    info.compress_type = zipfile.ZIP_DEFLATED
    content = zipped([(info, bytes(20 * 2**20) if name == "bomb" else tone(440))])
    with pytest.raises(FetchError, match=words):
        get("nsynth-guitar", content, hashes=False)
    assert not list(cache.rglob("*.hdf5")) and left(cache, "nsynth-guitar") == set()


# ---- Split archives, MagnaTagATune ----

CLIPS = [
    "0/american_bach_soloists-cantatas_volume_v-01-gleichwie_der_regen-117-146.mp3",
    "9/american_bach_soloists-schutz-02-ich_weiss-0-29.mp3",
    "f/magnaloops-electronica_loops_1-43-osxivilion-30-59.mp3",
    "c/anamar-transfado-10-independente-175-204.mp3",
    "d/norine_braun-modern_anguish-08-gone-0-29.mp3",
]
TABLE = "mp3_path,guitar,classical,no voice\n{}\n"
MTT_MEMBERS = [
    ("mtt_ssl/train/annotations.csv", TABLE.format(f"{CLIPS[0]},0,1,1")),
    ("mtt_ssl/test/annotations.csv", TABLE.format(f"{CLIPS[2]},0,0,0")),
    (f"mtt_ssl/train/{CLIPS[0]}", tone(300)),
    (f"mtt_ssl/test/{CLIPS[2]}", tone(500)),
    (f"mtt_ssl/all/{CLIPS[0]}", tone(300)),
    (f"mtt_ssl/all/{CLIPS[1]}", tone(700)),
    (f"mtt_ssl/all/{CLIPS[3]}", tone(900)),
    (f"mtt_ssl/all/{CLIPS[4]}", b""),
]
MTT = zipped(MTT_MEMBERS, zipfile.ZIP_DEFLATED)
CUT = len(MTT) * 2 // 3
MTT_PIECES = split(MTT, CUT)


def test_mtt_ssl_from_two_pieces_to_pair(get, cache):
    shown = []
    pair = get("mtt-ssl", *MTT_PIECES, show=shown.append)
    assert CLIPS[4] in shown[1]  # the empty clip, as the dataset has some
    collection = pyjama.read(pair.annotations)
    entries = {entry.filepath: entry for entry in collection}
    assert set(entries) == {clip.replace("/", "+++") for clip in CLIPS[:4]}
    bach, other, loops, anamar = (entries[clip.replace("/", "+++")] for clip in CLIPS[:4])
    assert bach.values("tag") == ["classical", "no voice"] and bach.first("role") == "labelled"
    assert bach.values("part") == ["all", "train"] and bach.first("split") == "train"
    assert loops.values("tag") == [] and loops.first("role") == "labelled"
    assert loops.first("split") == "test"
    assert other.first("role") == anamar.first("role") == "unlabelled"
    assert bach.first("artist") == other.first("artist") == "american bach soloists"
    assert anamar.first("title") == "independente" and anamar.first("album") == "transfado"
    with AudioStore(pair.audio) as store:
        for entry, frequency_hz in ((bach, 300), (other, 700), (loops, 500), (anamar, 900)):
            samples, rate = store.read(entry.filepath)
            assert abs(pitch_of(samples, rate) - frequency_hz) < 4
    assert left(cache, "mtt-ssl") == set()


def test_missing_piece_is_named(get, cache):
    with pytest.raises(FetchError, match=r"mtt_ssl\.z01.*404"):
        get("mtt-ssl", *MTT_PIECES, manner={0: (manners.missing,)})
    with pytest.raises(FetchError, match=r"mtt_ssl\.zip.*404"):
        get("mtt-ssl", *MTT_PIECES, manner={1: (manners.missing,)})
    assert left(cache, "mtt-ssl") == {"mtt_ssl.z01"}  # kept: it is what it should be
    assert not list(cache.rglob("*.hdf5"))


@pytest.mark.parametrize(
    ("first", "last", "words"),
    [
        (MTT_PIECES[0][:-100], MTT_PIECES[1], "instead of"),
        (MTT_PIECES[0], MTT_PIECES[1][:-100], "instead of"),
        (MTT_PIECES[1], MTT_PIECES[0], "instead of"),
    ],
)
def test_wrong_pieces_are_refused_at_the_door(get, cache, first, last, words):
    manner = {0: (manners.saying(first),), 1: (manners.saying(last),)}
    with pytest.raises(FetchError, match=words):
        get("mtt-ssl", *MTT_PIECES, manner=manner)
    assert not list(cache.rglob("*.hdf5"))
    assert get("mtt-ssl", *MTT_PIECES).audio.exists()


def test_tampered_piece_without_a_known_hash_is_found_and_thrown_away(get, cache):
    spoilt = bytearray(MTT_PIECES[0])
    spoilt[1000] ^= 1
    manner = {0: (manners.saying(bytes(spoilt)),)}
    with pytest.raises(FetchError, match="cannot be unpacked"):
        get("mtt-ssl", *MTT_PIECES, manner=manner, hashes=False)
    assert not list(cache.rglob("*.hdf5")) and left(cache, "mtt-ssl") == set()
    assert get("mtt-ssl", *MTT_PIECES, hashes=False).audio.exists()


def written(tmp_path, pieces):
    paths = [tmp_path / f"a.z{k:02d}" for k in range(1, len(pieces))] + [tmp_path / "a.zip"]
    for path, piece in zip(paths, pieces, strict=True):
        path.write_bytes(piece)
    return paths


@pytest.mark.parametrize("cuts", [(5,), (700,), (CUT, CUT + 1), (100, 2000, 2500, len(MTT) - 30)])
def test_split_archive_reads_as_the_whole(tmp_path, cuts):
    """Wherever it is cut: in a file, in its header, in the directory."""
    with opened(written(tmp_path, split(MTT, *cuts))) as archive:
        for name, data in MTT_MEMBERS:
            assert archive.read(name) == (data.encode() if isinstance(data, str) else data)


THREE = split(MTT, CUT // 2, CUT)


@pytest.mark.parametrize(
    ("pieces", "words"),
    [
        ((THREE[0], THREE[2]), "2 pieces of an archive that has 3"),
        ((THREE[1], THREE[2]), "does not begin like a first piece"),
        ((THREE[0], THREE[1]), "not the last piece"),
        ((THREE[0], THREE[2], THREE[1]), "not the last piece"),
        ((THREE[1], THREE[0], THREE[2]), "does not begin like a first piece"),
        ((THREE[0], THREE[0], THREE[2]), "cannot be unpacked"),
        ((THREE[0], THREE[1][:-50], THREE[2]), "cannot be unpacked"),
        ((THREE[0][:50], THREE[1], THREE[2]), "cut short"),
    ],
)
def test_wrong_pieces_are_told_apart(tmp_path, pieces, words):
    with (
        pytest.raises(ArchiveError, match=words),
        opened(written(tmp_path, pieces)) as archive,
    ):
        for info in files(archive):
            archive.read(info)


@pytest.mark.skipif(not shutil.which("zip"), reason="Info-ZIP is not installed")
def test_pieces_cut_by_info_zip(tmp_path):
    """The program that the published archive was made with."""
    rng = np.random.default_rng(0)
    data = {f"a{k}.mp3": rng.bytes(50_000) for k in range(4)}
    for name, content in data.items():
        (tmp_path / name).write_bytes(content)
    subprocess.run(["zip", "-q", "-s", "64k", "b.zip", *data], cwd=tmp_path, check=True)
    pieces = [*sorted(tmp_path.glob("b.z0*")), tmp_path / "b.zip"]
    assert len(pieces) == 4
    with opened(pieces) as archive:
        assert {info.filename: archive.read(info) for info in files(archive)} == data


# ---- MUSDB18 ----

STEM_HZ = {"mixture": 200, "drums": 400, "bass": 100, "other": 800, "vocals": 1600}


def stem_file(frequencies_hz=(200, 400, 100, 800, 1600), rate=44_100, duration_s=1.0):
    """Return a .stem.mp4: several streams of AAC, the left channel louder than the right."""
    av = pytest.importorskip("av", reason="PyAV is not installed")
    content = io.BytesIO()
    times = np.arange(round(rate * duration_s)) / rate
    with av.open(content, "w", format="mp4") as container:
        streams = [container.add_stream("aac", rate=rate, layout="stereo") for _ in frequencies_hz]
        for stream, frequency_hz in zip(streams, frequencies_hz, strict=True):
            wave = np.sin(2 * np.pi * frequency_hz * times)
            samples = np.stack([0.5 * wave, 0.25 * wave]).astype(np.float32)
            frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="stereo")
            frame.sample_rate = rate
            fifo = av.AudioFifo()
            fifo.write(frame)
            for block in fifo.read_many(1024, partial=True):
                container.mux(stream.encode(block))
            container.mux(stream.encode(None))
    return content.getvalue()


@pytest.fixture(scope="module")
def musdb():
    song = stem_file()
    return zipped(
        [
            ("train/Alexander Ross - Goodbye Bolero.stem.mp4", song),
            ("train/Music Delta - Rock.stem.mp4", song),
            ("test/AM Contra - Heart Peripheral.stem.mp4", song),
            ("README.md", b"hello"),
        ]
    )


def test_musdb18_from_archive_to_pair(get, cache, server, musdb):
    with pytest.raises(FetchError, match="--accept-restricted"):
        get("musdb18", musdb, hashes=False)
    assert not server.requests
    pair = get("musdb18", musdb, hashes=False, accept_restricted=True)
    collection = pyjama.read(pair.annotations)
    assert len(collection) == 15
    entries = {entry.filepath: entry for entry in collection}
    mixture = entries["Music Delta - Rock.wav"]
    assert mixture.first("role") == "mixture" and mixture.first("split") == "train"
    assert mixture.first("artist") == "Music Delta" and mixture.first("title") == "Rock"
    drums = entries["Music Delta - Rock-drums.wav"]
    assert drums.first("role") == "stem" and drums.first("stem") == "drums"
    assert entries["Alexander Ross - Goodbye Bolero.wav"].first("split") == "validation"
    assert entries["AM Contra - Heart Peripheral-bass.wav"].first("split") == "test"
    with AudioStore(pair.audio) as store:
        for entry in collection:
            samples, rate = store.read(entry.filepath, mono=False)
            assert rate == 44_100 and samples.shape[0] == 2
            assert abs(samples.shape[1] - 44_100) <= 2048
            middle = samples[:, 10_000:34_000]
            frequency_hz = STEM_HZ[entry.first("stem") or "mixture"]
            assert abs(pitch_of(middle[0], rate) - frequency_hz) < 4
            rms = np.sqrt(np.mean(middle**2, axis=1))
            assert rms == pytest.approx([0.5 / np.sqrt(2), 0.25 / np.sqrt(2)], abs=0.02)
        lengths = {store.info(e.filepath).n_samples for e in collection}
    assert len(lengths) == 1  # stems are aligned
    assert left(cache, "musdb18") == set()


def test_musdb18_without_pyav_says_so_before_the_download(get, server, musdb, monkeypatch):
    original = builtins.__import__

    def without(name, *rest):
        if name == "av":
            raise ImportError(name)
        return original(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(FetchError, match="pip install"):
        get("musdb18", musdb, hashes=False, accept_restricted=True)
    assert not server.requests


def test_song_without_all_stems_is_refused(get, cache):
    content = zipped([("train/A - B.stem.mp4", stem_file((200, 300)))])
    with pytest.raises(FetchError, match="2 streams of audio instead of 5"):
        get("musdb18", content, hashes=False, accept_restricted=True)
    assert not list(cache.rglob("*.hdf5")) and not list(cache.rglob("*.mp4"))


def test_song_that_is_no_mp4_is_refused(get):
    pytest.importorskip("av", reason="PyAV is not installed")
    with pytest.raises(FetchError, match="cannot be decoded"):
        content = zipped([("train/A - B.stem.mp4", b"#EXTM3U\n/etc/passwd\n")])
        get("musdb18", content, hashes=False, accept_restricted=True)


# ---- The seven pairs of 2024 ----

PAIRS = ("bach10", "maps", "gtzan-genre", "mtt", "rwc-pop_chord")
COVERS = ("cover1000", "datacos-benchmark")


def hdf5(arrays):
    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        for name, (values, attributes) in arrays.items():
            file.create_dataset(name, data=values, track_times=False).attrs.update(attributes)
    return content.getvalue()


def annotations(*names, **fields):
    entries = [{"filepath": [{"value": name}], **fields} for name in names]
    return json.dumps({"collection": {"entry": entries}, "schemaversion": 1.31}).encode()


@pytest.mark.parametrize("name", PAIRS)
def test_pairs_of_audio_are_used_as_they_are(get, name, server, monkeypatch):
    noise = np.random.default_rng(0).uniform(-1, 1, 2000)
    audio = hdf5({"a+++b.wav": (noise, {"sr_hz": 22_050})})
    contents = annotations("a+++b.wav"), zipped([(f"{name}_audio.hdf5", audio)])
    pair = get(name, *contents, hashes=False, accept_restricted=True)
    assert pair.audio.read_bytes() == audio and pair.audio.name == f"{name}_audio.hdf5"
    assert len(pyjama.read(pair.annotations)) == 1
    with AudioStore(pair.audio) as store:
        assert store.info("a+++b.wav").sample_rate == 22_050


@pytest.mark.parametrize("name", COVERS)
@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("stated_hz", [None, 21.5])
def test_covers_are_read_as_features(get, cache, name, transposed, stated_hz):
    """Published as (frames, 12), without a rate: read as (12, frames) at CREMA's rate."""
    values = np.random.default_rng(0).uniform(0, 1, (12, 40)).astype(np.float32)
    attributes = {} if stated_hz is None else {"frame_rate_hz": stated_hz}
    store = hdf5({"174702": (values if transposed else values.T, attributes)})
    fields = {"work-id": [{"value": 1}], "info": [], "title": [{"value": "Come on"}]}
    contents = zipped([(f"{name}_feat.hdf5", store)]), annotations("174702", **fields)
    pair = get(name, *contents, hashes=False)
    assert pair.audio.name == f"{name}_feat.hdf5"
    with AudioStore(pair.audio) as read:
        found, frame_rate_hz = read.read_feature("174702")
    assert np.array_equal(found, values)
    assert frame_rate_hz == pytest.approx(stated_hz or 10.7666, abs=1e-4)
    (entry,) = pyjama.read(pair.annotations)
    assert entry.first("work-id") == 1 and entry.first("title") == "Come on"
    assert left(cache, name) == set()


def test_features_fetched_by_an_earlier_version_are_converted(get, cache, server):
    """It kept the published file: (frames, 12), without a rate."""
    store = hdf5({"174702": (np.ones((40, 12)), {})})
    contents = zipped([("cover1000_feat.hdf5", store)]), annotations("174702")
    folder = cache / "datasets" / "cover1000"
    folder.mkdir(parents=True)
    facts = {}
    for name, content in (("cover1000_feat.hdf5", store), ("cover1000.pyjama", contents[1])):
        (folder / name).write_bytes(content)
        facts[name] = {"size_bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    (folder / "fetched.json").write_text(json.dumps(facts))
    pair = get("cover1000", *contents, hashes=False)
    with AudioStore(pair.audio) as read:
        assert read.read_feature("174702")[0].shape == (12, 40)
    asked = len(server.requests)
    assert get("cover1000", *contents, hashes=False) == pair and len(server.requests) == asked


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"174702": (np.ones((40, 13)), {})}, r"\(40, 13\)"),
        ({"174702": (np.full((40, 12), np.nan), {})}, "not finite"),
        ({"174702": (np.full((40, 12), 1e300), {})}, "not finite"),
        ({"174702": (np.ones((40, 12)), {"frame_rate_hz": "abc"})}, "frame_rate_hz=abc"),
        ({"other": (np.ones((40, 12)), {})}, "0 readable tracks"),
    ],
)
def test_features_of_another_kind_are_refused(get, cache, arrays, words):
    contents = zipped([("cover1000_feat.hdf5", hdf5(arrays))]), annotations("174702")
    with pytest.raises(FetchError, match=words):
        get("cover1000", *contents, hashes=False)
    assert not list(cache.rglob("*.hdf5"))


@pytest.mark.parametrize(
    "spoilt", [b"<html>log in</html>", zipped([("cover1000_feat.hdf5", b"x")])]
)
def test_spoilt_feature_archive_is_refused(get, cache, spoilt):
    good = zipped([("cover1000_feat.hdf5", hdf5({"174702": (np.ones((40, 12)), {})}))])
    with pytest.raises(FetchError):
        get(
            "cover1000",
            good,
            annotations("174702"),
            manner={0: (manners.saying(spoilt),)},
            hashes=False,
        )
    assert not list(cache.rglob("*.hdf5"))
    assert get("cover1000", good, annotations("174702"), hashes=False).audio.exists()


# ---- Every dataset that is read directly, and every way in which a server is wrong ----

DIRECT = sorted(name for name, entry in DATASETS.items() if entry.access == "direct")


@pytest.fixture
def contents(request):
    """Return a function that makes the files of a dataset, in the layout that is published."""

    def make(name):
        reader = DATASETS[name].reader
        if reader == "crema":
            store = hdf5({"174702": (np.ones((40, 12)), {})})
            return zipped([(f"{name}_feat.hdf5", store)]), annotations("174702")
        if reader == "musdb18":
            return (request.getfixturevalue("musdb"),)
        if reader:
            return {"nsynth": (NSYNTH,), "mtt_ssl": MTT_PIECES}[reader]
        audio = hdf5({"a.wav": (np.random.default_rng(0).uniform(-1, 1, 2000), {"sr_hz": 22_050})})
        return annotations("a.wav"), zipped([(f"{name}_audio.hdf5", audio)])

    return make


RECOVERABLE = {
    "cut off": (manners.truncating(40), manners.correct),
    "ignores the range": (manners.truncating(40), manners.ignoring_range),
    "another part": (manners.truncating(40), manners.another_part, manners.correct),
    "busy": (manners.broken, manners.correct),
    "no length": (manners.without_length,),
    "slow": (manners.slow_start,),
}
FATAL = {
    "missing": (manners.missing,),
    "always busy": (manners.broken,),
    "a web page": (manners.saying(b"<!DOCTYPE html><p>Please log in"),),
    "nothing": (manners.saying(b""),),
    "endless": (manners.endless,),
    "always cut off": (manners.truncating(40),),
}


@pytest.mark.parametrize("name", DIRECT)
@pytest.mark.parametrize("fault", RECOVERABLE)
def test_every_dataset_survives(get, contents, name, fault):
    made = contents(name)
    for number in range(len(made)):
        pair = get(name, *made, manner={number: RECOVERABLE[fault]}, accept_restricted=True)
        assert len(pyjama.read(pair.annotations)) >= 1
        with AudioStore(pair.audio) as store:
            assert len(store.keys()) >= 1
        shutil.rmtree(pair.audio.parent)


@pytest.mark.parametrize("name", DIRECT)
@pytest.mark.parametrize("fault", FATAL)
def test_every_dataset_refuses(get, cache, contents, name, fault):
    made = contents(name)
    for number in range(len(made)):
        with pytest.raises(FetchError) as caught:
            get(name, *made, manner={number: FATAL[fault]}, accept_restricted=True)
        assert published(name)[number].name in str(caught.value)
        assert not list(cache.rglob("*.hdf5")) and not list(cache.rglob("*.unpacked"))
    assert get(name, *made, accept_restricted=True).audio.exists()  # nothing is in its way


# ---- The switch ----


def test_every_reader_is_of_a_dataset_and_the_reverse():
    named = {entry.reader for entry in DATASETS.values()} - {""}
    assert named == set(readers.READERS)


def test_locate_gives_the_converted_pair(get, cache, monkeypatch):
    pair = get("nsynth-guitar", NSYNTH)
    known = DATASETS["nsynth-guitar"]
    monkeypatch.setattr(fetch_module, "lookup", lambda name, catalog: known)
    assert source.locate(source.DataConfig(dataset="nsynth-guitar"), progress=False) == pair


def test_nsynth_split_keeps_instruments_apart(get):
    names = [
        f"nsynth-guitar-{folder}/guitar_acoustic_{number:03d}-0{60 + note}-075.mp3"
        for folder, numbers in (("train", range(8)), ("valid", range(8, 10)))
        for number in numbers
        for note in range(2)
    ]
    sound = tone(440, duration_s=0.1)
    pair = get("nsynth-guitar", zipped([(name, sound) for name in names]))
    sides = splits.safe_split("nsynth-guitar", pyjama.read(pair.annotations))
    by_instrument = {}
    for path, side in sides.items():
        by_instrument.setdefault(path[:19], set()).add(side)
    assert len(by_instrument) == 10 and all(len(found) == 1 for found in by_instrument.values())
    assert [by_instrument[f"guitar_acoustic_00{k}"] for k in (8, 9)] == [{"test"}] * 2
    assert set.union(*by_instrument.values()) == set(splits.SIDES)
