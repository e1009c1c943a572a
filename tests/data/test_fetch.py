"""Fetching from a server that misbehaves: what is served is right, or the cache is as it was."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.util
import io
import json
import os
import shutil
import stat
import subprocess
import sys
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest

from dl101.data import fetch as fetch_module
from dl101.data.catalog_record import Dataset, RemoteFile
from dl101.data.fetch import DatasetFiles, RetryPolicy, describe, fetch
from dl101.errors import ConfigError, FetchError

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).resolve().parents[2]
HELPER = Path(__file__).with_name("misbehaving_server.py")
SPEC = importlib.util.spec_from_file_location("misbehaving_server", HELPER)
manners = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(manners)

AUDIO, ARCHIVE, ANNOTATIONS = "tiny_audio.hdf5", "tiny_audio.hdf5.zip", "tiny.pyjama"
ENTRY = {"filepath": [{"value": "a.wav"}]}
PYJAMA = json.dumps({"collection": {"entry": [ENTRY]}, "schemaversion": 1.31}).encode()


def hdf5_bytes():
    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        noise = np.random.default_rng(0).uniform(-1, 1, 20_000).astype(np.float32)
        file.create_dataset("a.wav", data=noise, track_times=False).attrs["sr_hz"] = 22_050
    return content.getvalue()


HDF5 = hdf5_bytes()


def zipped(members, **attributes):
    """Return the bytes of an archive; ``members`` are (name or ZipInfo, content)."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return content.getvalue()


ZIP = zipped([(AUDIO, HDF5)])


def sha256(content):
    return hashlib.sha256(content).hexdigest()


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


def dataset(audio_urls, annotation_urls, **changes):
    audio = RemoteFile(ARCHIVE, tuple(audio_urls), len(ZIP), member=AUDIO)
    annotations = RemoteFile(ANNOTATIONS, tuple(annotation_urls), len(PYJAMA))
    known = {}
    for name in ("size_bytes", "sha256"):
        if name in changes:
            known[name] = changes.pop(name)
    record = Dataset(
        name="tiny",
        title="Tiny",
        tasks=("multi_pitch",),
        audio=dataclasses.replace(audio, **known),
        annotations=annotations,
        contents="One second of noise.",
        licence="CC0",
        restricted=False,
        permission="",
        citation="Nobody, Nothing, 2024",
        homepage="https://example.org/tiny",
    )
    return dataclasses.replace(record, **changes)


@pytest.fixture
def get(server):
    """Return a function that fetches the tiny dataset once, without pauses."""

    def run(*audio_manners, content=ZIP, mirror=None, rounds=3, **options):
        changes = {k: options.pop(k) for k in ("size_bytes", "sha256") if k in options}
        urls = [server.put(f"/{ARCHIVE}", content, *audio_manners)]
        if mirror is not None:
            urls.append(server.put(f"/mirror/{ARCHIVE}", mirror))
        record = dataset(urls, [server.put(f"/{ANNOTATIONS}", PYJAMA)], **changes)
        files = _fetched(record, rounds, **options)
        recorded = json.loads((files.audio.parent / "fetched.json").read_text())
        if ARCHIVE in recorded:  # not spliced from two downloads
            assert recorded[ARCHIVE]["sha256"] in {sha256(c) for c in (content, mirror) if c}
        return files

    return run


def _fetched(record, rounds=3, timeout_s=5.0, **options):
    retry_policy = RetryPolicy((0.0,) * (rounds - 1), timeout_s)
    options = {"progress": False, "show": lambda text: None, **options}
    return fetch("tiny", catalog={"tiny": record}, retry_policy=retry_policy, **options)


def snapshot(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def verified(folder):
    """Return what a later run would trust: everything but partial downloads and the lock."""
    return snapshot(folder / "datasets") if (folder / "datasets").exists() else {}


def ranges(server):
    return [headers.get("Range") for headers in server.asked(f"/{ARCHIVE}")]


# ---- The server behaves ----


def test_fetches_unpacks_and_records(get, cache, server):
    files = get()
    assert files == DatasetFiles(
        cache / "datasets" / "tiny" / AUDIO, cache / "datasets" / "tiny" / ANNOTATIONS
    )
    assert files.audio.read_bytes() == HDF5 and files.annotations.read_bytes() == PYJAMA
    record = json.loads((files.audio.parent / "fetched.json").read_text())
    assert record == {
        ARCHIVE: {"size_bytes": len(ZIP), "sha256": sha256(ZIP)},
        AUDIO: {"size_bytes": len(HDF5), "sha256": sha256(HDF5)},
        ANNOTATIONS: {"size_bytes": len(PYJAMA), "sha256": sha256(PYJAMA)},
    }
    assert set(snapshot(cache)) == {
        f"datasets/tiny/{AUDIO}",
        f"datasets/tiny/{ANNOTATIONS}",
        "datasets/tiny/fetched.json",
        "partial/tiny/lock",
    }
    assert ranges(server) == [None]


def test_second_time_asks_nobody(get, server):
    first = get()
    n_requests = len(server.requests)
    assert get() == first
    assert len(server.requests) == n_requests


def test_terms_are_shown_before_the_first_request(get, server):
    shown = []
    get(show=lambda text: shown.append((text, len(server.requests))))
    assert len(shown) == 1 and shown[0][1] == 0
    for words in ("One second of noise.", "CC0", "MB", "none needed", "Nobody, Nothing"):
        assert words in shown[0][0]
    get(show=lambda text: shown.append(text))
    assert len(shown) == 1


def test_description_tells_size_and_permission():
    text = describe(fetch_module.DATASETS["maps"])
    assert "2.5 GB" in text and "Emiya" in text and "MAPS" in text
    assert max(map(len, text.splitlines())) <= 92


def test_progress_bar_counts_bytes(get, capsys, monkeypatch):
    monkeypatch.setenv("DL101_PROGRESS", "1")
    get(progress=True)
    assert ARCHIVE in capsys.readouterr().err


def test_file_without_a_length_is_fetched(get):
    assert get(manners.without_length).audio.read_bytes() == HDF5


def test_slow_start_is_waited_for(get):
    assert get(manners.slow_start, rounds=1).audio.read_bytes() == HDF5


def test_unknown_dataset():
    with pytest.raises(ConfigError, match="did you mean 'maps'"):
        fetch("map")


# ---- The server does not ----


def test_truncated_download_is_resumed(get, server):
    files = get(manners.truncating(1000), manners.correct)
    assert files.audio.read_bytes() == HDF5
    assert ranges(server) == [None, "bytes=1000-"]
    assert server.asked(f"/{ARCHIVE}")[1]["If-Range"] == manners.tag(ZIP)


def test_download_is_resumed_by_a_later_run(get, server, cache):
    with pytest.raises(FetchError, match=r"after 1000 bytes|only 1000 of"):
        get(manners.truncating(1000), rounds=1)
    assert set(verified(cache)) == {f"tiny/{ANNOTATIONS}", "tiny/fetched.json"}
    assert get(manners.correct).audio.read_bytes() == HDF5
    assert ranges(server) == [None, "bytes=1000-"]


def test_truncation_is_found_where_urllib3_says_nothing(get, monkeypatch):
    """As urllib3 before version 2 does: the end of the line looks like the end of the file."""
    from urllib3.exceptions import ProtocolError
    from urllib3.response import HTTPResponse

    original = HTTPResponse.read1

    def read1(self, n_bytes):
        try:
            return original(self, n_bytes)
        except ProtocolError:
            return b""

    monkeypatch.setattr(HTTPResponse, "read1", read1)
    with pytest.raises(FetchError, match=f"only 1000 of {len(ZIP)} bytes"):
        get(manners.truncating(1000), rounds=1)


def test_ignored_range_starts_over(get, server):
    files = get(manners.truncating(1000), manners.ignoring_range)
    assert files.audio.read_bytes() == HDF5
    assert ranges(server) == [None, "bytes=1000-"]


def test_answer_with_another_part_starts_over(get, server):
    files = get(manners.truncating(1000), manners.another_part, manners.correct)
    assert files.audio.read_bytes() == HDF5
    assert ranges(server) == [None, "bytes=1000-", None]


def test_complete_part_is_not_asked_for_again(get, server, cache):
    with pytest.raises(FetchError):
        get(manners.truncating(1000), rounds=1)
    (cache / "partial" / "tiny" / f"{ARCHIVE}.part").write_bytes(ZIP)
    assert get(manners.correct).audio.read_bytes() == HDF5
    assert ranges(server) == [None, f"bytes={len(ZIP)}-"]


def test_part_longer_than_the_file_is_thrown_away(get, server, cache):
    with pytest.raises(FetchError):
        get(manners.truncating(1000), rounds=1)
    (cache / "partial" / "tiny" / f"{ARCHIVE}.part").write_bytes(ZIP + b"more")
    assert get(manners.correct).audio.read_bytes() == HDF5
    assert ranges(server) == [None, f"bytes={len(ZIP) + 4}-", None]


def test_file_that_changed_meanwhile_is_not_spliced(get, server):
    newer = zipped([(AUDIO, HDF5), ("readme.txt", b"second edition")])
    with pytest.raises(FetchError):
        get(manners.truncating(1000), rounds=1)
    assert get(manners.correct, content=newer).audio.read_bytes() == HDF5
    assert ranges(server)[1] == "bytes=1000-"


def test_without_tag_and_hash_nothing_is_spliced(get, server):
    get(manners.truncating(1000, tagged=False), manners.without_tag)
    assert ranges(server) == [None, None]


def test_with_a_known_hash_any_mirror_may_resume(get, server):
    get(manners.truncating(1000, tagged=False), mirror=ZIP, sha256=sha256(ZIP))
    assert ranges(server) == [None]
    assert server.asked(f"/mirror/{ARCHIVE}")[0]["Range"] == "bytes=1000-"


def test_spoilt_part_is_fetched_afresh(get, server, cache):
    with pytest.raises(FetchError):
        get(manners.truncating(1000), rounds=1, sha256=sha256(ZIP))
    (cache / "partial" / "tiny" / f"{ARCHIVE}.part").write_bytes(bytes(1000))
    assert get(manners.correct, sha256=sha256(ZIP)).audio.read_bytes() == HDF5
    assert ranges(server) == [None, "bytes=1000-", None]


def test_missing_file_is_taken_from_the_mirror(get, server):
    assert get(manners.missing, mirror=ZIP).audio.read_bytes() == HDF5
    assert len(server.asked(f"/{ARCHIVE}")) == 1


def test_missing_everywhere_is_not_asked_for_again(get, server):
    with pytest.raises(FetchError, match="404"):
        get(manners.missing)
    assert len(server.asked(f"/{ARCHIVE}")) == 1


def test_busy_server_is_asked_again(get, server):
    assert get(manners.broken, manners.broken, manners.correct).audio.read_bytes() == HDF5
    assert len(server.asked(f"/{ARCHIVE}")) == 3


def test_rounds_are_bounded(get, server):
    with pytest.raises(FetchError, match="503") as caught:
        get(manners.broken)
    assert len(server.asked(f"/{ARCHIVE}")) == 3
    assert f"file {ARCHIVE!r}" in str(caught.value)


def test_pauses_are_as_given(get, monkeypatch, server):
    slept = []
    monkeypatch.setattr(fetch_module.time, "sleep", slept.append)
    url = server.put(f"/{ANNOTATIONS}", PYJAMA, manners.broken)
    with pytest.raises(FetchError):
        retry_policy = RetryPolicy((1.0, 5.0))
        fetch(
            "tiny",
            catalog={"tiny": dataset([url], [url])},
            retry_policy=retry_policy,
            show=lambda text: None,
        )
    assert slept == [0.0, 1.0, 5.0]


def test_silent_server_is_given_up(get):
    with pytest.raises(FetchError, match="Timeout"):
        get(manners.silent, rounds=1, timeout_s=0.05)


def test_no_server_at_all(get):
    url = "http://127.0.0.1:9/"
    with pytest.raises(FetchError, match="ConnectionError"):
        _fetched(dataset([url], [url]))


SPOILT = bytes([ZIP[0], ZIP[1]]) + bytes(b ^ 1 for b in ZIP[2:])


@pytest.mark.parametrize(
    ("body", "known", "words"),
    [
        # The archive holds the time at which it was made; the name of a test must not.
        pytest.param(SPOILT, {"sha256": sha256(ZIP)}, "instead of " + sha256(ZIP), id="checksum"),
        (SPOILT, {}, "cannot be unpacked"),
        (b"<!DOCTYPE html><p>Please log in", {}, "does not start like a .zip file"),
        (ZIP + b"!", {"size_bytes": len(ZIP)}, f"instead of {len(ZIP)}"),
        (b"", {}, "does not start like"),
        (ZIP * 3, {}, f"instead of {2 * len(ZIP)}"),
        (zipped([(AUDIO, b"no hdf5")]), {}, "does not start like a .hdf5 file"),
        (zipped([("other.hdf5", HDF5)]), {}, f"0 files '{AUDIO}' in the archive (other.hdf5)"),
        (zipped([(AUDIO, HDF5), (f"x/{AUDIO}", HDF5)]), {}, f"2 files '{AUDIO}'"),
    ],
)
@pytest.mark.parametrize("mirrored", [False, True])
def test_wrong_bytes_are_refused(get, cache, body, known, words, mirrored):
    if mirrored:
        assert get(manners.saying(body), mirror=ZIP, **known).audio.read_bytes() == HDF5
        return
    before = _with_annotations_only(get, cache)
    with pytest.raises(FetchError) as caught:
        get(manners.saying(body), **known)
    assert words in str(caught.value)
    assert verified(cache) == before
    assert [p.name for p in (cache / "partial" / "tiny").iterdir()] == ["lock"]


def _with_annotations_only(get, cache):
    """Fetch what is not under test, and return the cache's verified files."""
    with pytest.raises(FetchError):
        get(manners.missing)
    return verified(cache)


def test_endless_file_is_cut_off(get, cache):
    with pytest.raises(FetchError, match="more than"):
        get(manners.endless)
    assert [p.name for p in (cache / "partial" / "tiny").iterdir()] == ["lock"]


def test_annotations_that_are_a_web_page_are_refused(server, cache):
    url = server.put(f"/{ANNOTATIONS}", b"<html>Sign in to the network</html>")
    with pytest.raises(FetchError, match=r"does not start like a \.pyjama"):
        _fetched(dataset([url], [url]))
    assert verified(cache) == {}


def test_annotations_may_begin_with_a_mark_and_blanks(server):
    content = b"\xef\xbb\xbf\n " + PYJAMA
    url, audio_url = server.put(f"/{ANNOTATIONS}", content), server.put(f"/{ARCHIVE}", ZIP)
    assert _fetched(dataset([audio_url], [url])).annotations.read_bytes() == content


def test_too_little_space_is_said_at_once(get, server, monkeypatch):
    usage = shutil.disk_usage("/")._replace(free=10)
    monkeypatch.setattr(fetch_module.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(FetchError, match="DL101_CACHE"):
        get()


# ---- Archives ----


def member(name, *, mode=stat.S_IFREG | 0o644):
    info = zipfile.ZipInfo(name)
    info.external_attr = mode << 16
    info.create_system = 3
    return info


def lying_bomb():
    """Return an archive whose directory promises less than it unpacks to."""
    big = bytes(5 * 2**20)
    content = bytearray(zipped([(AUDIO, big)]))
    true, false = len(big).to_bytes(4, "little"), (1000).to_bytes(4, "little")
    assert content.count(true) == 2
    return bytes(content.replace(true, false))


@pytest.mark.parametrize(
    ("archive", "words"),
    [
        (zipped([(AUDIO, HDF5), ("../escaped.txt", b"x")]), "path outside"),
        (zipped([(AUDIO, HDF5), ("a/../../escaped.txt", b"x")]), "path outside"),
        (zipped([(AUDIO, HDF5), ("/tmp/escaped.txt", b"x")]), "path outside"),
        (zipped([(AUDIO, HDF5), ("..\\escaped.txt", b"x")]), "path outside"),
        (zipped([(AUDIO, HDF5), ("C:\\escaped.txt", b"x")]), "path outside"),
        (zipped([("../" + AUDIO, HDF5)]), "path outside"),
        (zipped([(member(AUDIO, mode=stat.S_IFLNK | 0o777), b"/etc/passwd")]), "link or device"),
        (zipped([(AUDIO, HDF5), (member("l", mode=stat.S_IFLNK | 0o777), b"/")]), "link or device"),
        (zipped([(AUDIO, HDF5), (member("f", mode=stat.S_IFIFO), b"")]), "link or device"),
        (zipped([(AUDIO, HDF5[:100] + bytes(5 * 2**20))]), "unpacks to more than"),
        (zipped([(AUDIO, HDF5), ("bomb", bytes(20 * 2**20))]), "unpacks to more than"),
        (lying_bomb(), "cannot be unpacked"),
        (ZIP[:-30], "cannot be unpacked"),
    ],
)
def test_unsafe_archives_are_refused(get, cache, tmp_path, archive, words):
    before = _with_annotations_only(get, cache)
    outside = {p for p in tmp_path.rglob("*") if cache not in p.parents}
    with pytest.raises(FetchError) as caught:
        get(content=archive)
    assert words in str(caught.value)
    assert verified(cache) == before
    assert {p for p in tmp_path.rglob("*") if cache not in p.parents} == outside
    assert not list(tmp_path.rglob("*escaped*")) and not Path("/tmp/escaped.txt").exists()
    assert [p.name for p in (cache / "partial" / "tiny").iterdir()] == ["lock"]


def test_strange_compression_is_refused(get):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_BZIP2) as archive:
        archive.writestr(AUDIO, HDF5)
    with pytest.raises(FetchError, match="compression 12"):
        get(content=content.getvalue())


def test_only_the_expected_member_is_unpacked(get, cache):
    shadow = (f"__MACOSX/{AUDIO}", b"resource fork")
    content = zipped(
        [shadow, ("readme.txt", b"hello"), ("folder/", b""), (f"folder/{AUDIO}", HDF5)]
    )
    assert get(content=content).audio.read_bytes() == HDF5
    assert not [path for path in cache.rglob("*") if path.name in ("readme.txt", "folder")]


# ---- The cache later ----


@pytest.mark.parametrize("name", [AUDIO, ANNOTATIONS])
@pytest.mark.parametrize("damage", ["bit", "cut", "same time"])
def test_tampering_is_found(get, cache, name, damage):
    path = get().audio.with_name(name)
    content, times = path.read_bytes(), path.stat()
    changed = content[:-1] if damage == "cut" else content[:-1] + bytes([content[-1] ^ 1])
    path.write_bytes(changed)
    if damage == "same time":
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    before = snapshot(cache)
    with pytest.raises(FetchError, match="delete it and fetch the dataset again") as caught:
        get()
    assert str(path) in str(caught.value)
    assert snapshot(cache) == before
    path.unlink()
    get()
    assert path.read_bytes() == content


def test_known_hash_of_annotations_is_checked_in_the_cache(get, server):
    get()
    url = server.put(f"/{ANNOTATIONS}", PYJAMA)
    record = dataset([url], [url])
    record = dataclasses.replace(
        record, annotations=dataclasses.replace(record.annotations, sha256="0" * 64)
    )
    with pytest.raises(FetchError, match="0000"):
        _fetched(record)


def test_content_published_anew_is_not_taken_silently(get, cache):
    get().audio.unlink()
    newer = zipped([(AUDIO, HDF5), ("readme.txt", b"second edition")])
    before = verified(cache)
    with pytest.raises(FetchError, match="published anew"):
        get(content=newer)
    assert verified(cache) == before


def test_file_put_there_by_hand_is_recorded(get, cache, server):
    folder = cache / "datasets" / "tiny"
    folder.mkdir(parents=True)
    (folder / AUDIO).write_bytes(HDF5)
    assert get().audio.read_bytes() == HDF5
    assert server.asked(f"/{ARCHIVE}") == []
    (folder / AUDIO).write_bytes(HDF5 + b"x")
    with pytest.raises(FetchError, match="instead of"):
        get()


@pytest.mark.parametrize("content", [b"[]", b"{", b"\xff"])
def test_spoilt_record_is_reported(get, cache, content):
    get()
    (cache / "datasets" / "tiny" / "fetched.json").write_bytes(content)
    with pytest.raises(FetchError, match=r"fetched\.json"):
        get()


def test_killed_before_the_file_is_in_place(get, cache, monkeypatch, server):
    """The record is written first: a file is never there that was not verified."""
    _with_annotations_only(get, cache)
    original = os.replace

    def killed(source, target):
        if Path(target).name == AUDIO:
            assert AUDIO in json.loads(Path(target).with_name("fetched.json").read_text())
            raise KeyboardInterrupt
        original(source, target)

    monkeypatch.setattr(fetch_module.os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        get()
    assert not (cache / "datasets" / "tiny" / AUDIO).exists()
    monkeypatch.undo()
    monkeypatch.setenv("DL101_CACHE", str(cache))
    n_requests = len(server.asked(f"/{ARCHIVE}"))
    assert get().audio.read_bytes() == HDF5
    assert ranges(server)[n_requests:] == [f"bytes={len(ZIP)}-"]  # the download is not repeated


# ---- Permission and network ----


def test_restricted_dataset_needs_a_statement(get, server, cache):
    url, audio_url = server.put(f"/{ANNOTATIONS}", PYJAMA), server.put(f"/{ARCHIVE}", ZIP)
    record = dataset([audio_url], [url], restricted=True, permission="Ask Mrs Example first.")
    shown = []
    with pytest.raises(FetchError, match="Ask Mrs Example first") as caught:
        _fetched(record, show=shown.append)
    assert "accept_restricted=True" in str(caught.value)
    assert "Ask Mrs Example first." in shown[0] and "CC0" in shown[0]
    assert server.requests == [] and verified(cache) == {}
    _fetched(record, accept_restricted=True)
    assert _fetched(record).audio.read_bytes() == HDF5  # what is there is served


def test_offline_forbids_the_network_but_serves_the_cache(get, server, monkeypatch, cache):
    monkeypatch.setenv("DL101_OFFLINE", "1")
    with pytest.raises(FetchError, match="unset DL101_OFFLINE") as caught:
        get()
    assert str(cache / "datasets" / "tiny") in str(caught.value)
    assert ANNOTATIONS in str(caught.value) and AUDIO in str(caught.value)
    assert server.requests == []
    monkeypatch.delenv("DL101_OFFLINE")
    files = get()
    monkeypatch.setenv("DL101_OFFLINE", "1")
    assert get() == files
    files.audio.unlink()
    with pytest.raises(FetchError, match=AUDIO) as caught:
        get()
    assert ANNOTATIONS not in caught.value.expected


# ---- Two processes at once ----

SCRIPT = """
import sys
from dl101.data.catalog_record import Dataset, RemoteFile
from dl101.data.fetch import RetryPolicy, fetch
print("ready", flush=True)
sys.stdin.readline()
record = eval(sys.argv[1])
files = fetch("tiny", catalog={"tiny": record}, progress=False, show=lambda t: None,
              retry_policy=RetryPolicy((0.0,)))
print(files.audio.stat().st_size, flush=True)
"""


def test_two_processes_fetch_once(server):
    audio = server.put(f"/{ARCHIVE}", ZIP, manners.slow_start)
    record = dataset([audio], [server.put(f"/{ANNOTATIONS}", PYJAMA)])
    both = [
        subprocess.Popen(
            [sys.executable, "-c", SCRIPT, repr(record)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=REPOSITORY,
        )
        for _ in range(2)
    ]
    for process in both:
        assert process.stdout.readline() == "ready\n"
    for process in both:
        process.stdin.write("go\n")
        process.stdin.flush()
    outputs = [process.communicate(timeout=60)[0] for process in both]
    assert outputs == [f"{len(HDF5)}\n"] * 2
    assert len(server.asked(f"/{ARCHIVE}")) == len(server.asked(f"/{ANNOTATIONS}")) == 1


def test_waiting_for_another_process_is_said(get, cache):
    from filelock import FileLock

    (cache / "partial" / "tiny").mkdir(parents=True)
    lock = FileLock(cache / "partial" / "tiny" / "lock")
    lock.acquire()
    shown = []

    def show(text):
        shown.append(text)
        lock.release()

    get(show=show)
    assert "waiting" in shown[0]
