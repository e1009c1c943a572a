"""Fetch a real dataset once: resumed, verified, unpacked safely, converted if need be, cached.

Conventions: a dataset lives in ``datasets/<name>`` of the cache, where files appear only complete
and verified. What is not complete yet, and the lock that lets one process at a time work on a
dataset, live in ``partial/<name>``. Beside the files, ``fetched.json`` records the size and the
SHA-256 of what was downloaded and of what was unpacked from it the first time. Every later use is
checked against the catalogue, where it knows a hash, and against this record.

A dataset that is published in another form names a reader: its archives are downloaded to
``partial/<name>`` and verified there, converted, and deleted once the pair is in place. The pair is
then known by its size and time, and hashed again only where one of them has changed: hashing
30 GB at each use would take a minute.

Nothing is downloaded unasked: ``DL101_OFFLINE=1`` forbids the network, and a dataset that needs
permission is fetched only with ``accept_restricted=True``. What is in the cache is always served.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import textwrap
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from dl101.data import readers, splits
from dl101.data.archive import SPLIT_SIGNATURE, ArchiveError, base_name, opened
from dl101.data.cache import cache_dir, is_offline, replacing
from dl101.data.catalog import DATASETS, lookup
from dl101.data.catalog_record import Dataset, RemoteFile
from dl101.errors import DataError, FetchError
from dl101.progress import progress_enabled

CHUNK_BYTES = 2**18
SIGNATURES = {
    ".hdf5": b"\x89HDF\r\n\x1a\n",
    ".pyjama": b"{",
    ".zip": b"PK",
    ".z01": SPLIT_SIGNATURE,
}
_PAIR = "converted/"  # before the names of a converted pair in the record


@dataclass(frozen=True)
class DatasetFiles:
    """The two files of a dataset, on this machine."""

    audio: Path
    annotations: Path


@dataclass(frozen=True)
class RetryPolicy:
    """How long to pause before each further round of attempts, and to wait for an answer."""

    pauses_s: tuple[float, ...] = (1.0, 5.0)
    timeout_s: float = 60.0


RETRY_POLICY = RetryPolicy()


def describe(dataset: Dataset) -> str:
    """Return what a user should know before fetching: contents, size, licence, permission."""
    facts = {
        "holds": dataset.contents,
        "size": _size(dataset),
        "access": _access(dataset),
        **{f"fault {k}": fault for k, fault in enumerate(dataset.faults, start=1)},
        "split": splits.advice(dataset.name) and f"dl101.data.splits.{splits.advice(dataset.name)}",
        "licence": dataset.licence,
        "permission": dataset.permission or "none needed",
        "cite": dataset.citation,
        "homepage": dataset.homepage,
    }
    lines = [f"{dataset.title} ({dataset.name})"]
    for label, text in facts.items():
        if not text:
            continue
        lines += textwrap.wrap(
            f"{label:<11}{text}",
            92,
            initial_indent="  ",
            subsequent_indent=" " * 13,
            break_long_words=False,
        )
    return "\n".join(lines)


def _size(dataset: Dataset) -> str:
    """Say how much there is to download, as far as it is known."""
    sizes = [file.size_bytes or file.about_bytes for file in dataset.all_files]
    total = sum(size for size in sizes if size)
    if not total:
        return "not stated"
    unknown = f", and {sizes.count(None)} file(s) of unknown size" if None in sizes else ""
    several = f" in {len(sizes)} files" if len(sizes) > 2 else ""
    later = "more when unpacked"
    if dataset.unpacked_bytes:
        later = f"about {_readable(dataset.unpacked_bytes)} once converted"
    return f"about {_readable(total)} to download{several}{unknown}, {later}"


def _access(dataset: Dataset) -> str:
    """Say in one sentence how to get at a dataset from here."""
    return {
        "direct": "dl101 fetches it" + (" and converts it" if dataset.reader else ""),
        "mirdata": f"through the library mirdata, as {dataset.mirdata_name!r}: dl101 convert",
        "described": "described only; dl101 does not read it",
    }[dataset.access]


def fetch(
    name: str,
    *,
    accept_restricted: bool = False,
    progress: bool = True,
    catalog: Mapping[str, Dataset] = DATASETS,
    retry_policy: RetryPolicy = RETRY_POLICY,
    show: Callable[[str], object] = print,
) -> DatasetFiles:
    """Return the files of a dataset, downloading what is not in the cache yet.

    Parameters
    ----------
    name
        Name of the dataset.
    accept_restricted
        Say that you have the permission that a restricted dataset needs.
    progress
        Whether to show a progress bar.
    catalog
        The datasets to choose from.
    retry_policy
        Pauses between attempts, and the time to wait for a server.
    show
        Receives the text of :func:`describe` before anything is downloaded.

    Returns
    -------
    DatasetFiles
        Paths of the audio (HDF5; features, where the dataset holds these) and of the annotations
        (.pyjama), both verified.

    Raises
    ------
    ConfigError
        Where there is no dataset of that name.
    FetchError
        Where dl101 does not read the dataset itself, permission is missing, the network is
        forbidden, no server delivered, or a file is not what it should be. Verified files in the
        cache are then as they were.
    """
    from filelock import FileLock, Timeout

    dataset = lookup(name, catalog)
    _check_direct(dataset, show)
    lock = FileLock(cache_dir("partial", dataset.name) / "lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        show(f"Another process is fetching {dataset.name!r}; waiting for it.")
        lock.acquire()
    try:
        shelf = _Shelf(dataset)
        if dataset.reader:
            if not shelf.holds_pair():
                readers.check_installed(dataset.reader)
                _complete(shelf, accept_restricted, progress, retry_policy, show)
                _convert(shelf, progress, show)
        else:
            _complete(shelf, accept_restricted, progress, retry_policy, show)
        return DatasetFiles(*(shelf.folder / name for name in dataset.pair_names))
    finally:
        lock.release()


def _complete(
    shelf: _Shelf,
    accept_restricted: bool,
    progress: bool,
    retry_policy: RetryPolicy,
    show: Callable[[str], object],
) -> None:
    """Download what is missing of the published files, once the terms have been shown."""
    missing = [file for file in shelf.files if not shelf.holds(file)]
    if missing:
        _check_allowed(shelf, missing, accept_restricted, show)
        needed = sum(file.size_bytes or file.about_bytes for file in missing)
        _check_space(shelf.partial, needed + (shelf.dataset.unpacked_bytes or 0))
    for file in missing:
        _download(shelf, file, progress, retry_policy)


def _check_direct(dataset: Dataset, show: Callable[[str], object]) -> None:
    """Show and refuse a dataset that dl101 does not read itself; say what to do instead."""
    if dataset.access == "direct":
        return
    show(describe(dataset))
    if dataset.access == "mirdata":
        got = f"a dataset that is read through mirdata, as {dataset.mirdata_name!r}"
        hint = (
            f"dl101 convert --from mirdata {dataset.mirdata_name} DIRECTORY once mirdata has it "
            "(pip install 'dl101[mirdata]'; in Python, "
            f"mirdata.initialize({dataset.mirdata_name!r}).download()); "
            f"its homepage is {dataset.homepage}"
        )
    else:
        got = "a dataset that is described only"
        hint = f"get it from {dataset.homepage} and write it as a pair with dl101.data.audiostore"
        hint += " and dl101.data.pyjama"
    terms = ""
    if dataset.restricted:
        terms = f". It needs a permission: {dataset.permission.rstrip('.')}"
    raise FetchError(
        f"dataset {dataset.name!r}",
        got=got,
        expected=f"one that dl101 fetches itself{terms}",
        hint=f"{hint}, or use an embedded corpus",
    )


def _check_allowed(
    shelf: _Shelf,
    missing: list[RemoteFile],
    accept_restricted: bool,
    show: Callable[[str], object],
) -> None:
    """Show the terms of a dataset; refuse to go on without network or permission."""
    dataset = shelf.dataset
    if is_offline():
        raise FetchError(
            f"dataset {dataset.name!r}",
            got="DL101_OFFLINE, which forbids the network",
            expected=f"{' and '.join(f.final_name for f in missing)} in "
            f"{shelf.path(missing[0]).parent}",
            hint="unset DL101_OFFLINE, or copy the files there from a machine that has them, or "
            "use an embedded corpus, which needs no network",
        )
    show(describe(dataset))
    if dataset.restricted and not accept_restricted:
        raise FetchError(
            f"dataset {dataset.name!r}",
            got="no statement that you may use it",
            expected=f"a permission. {dataset.permission} Homepage: {dataset.homepage}",
            hint="pass accept_restricted=True (on the command line: --accept-restricted) once you "
            "have the permission",
        )


# ---- What is in the cache ----------------------------------------------------------------------


class _Failure(Exception):
    """Why one attempt failed; ``final`` where the same address need not be asked again."""

    def __init__(self, reason: str, *, final: bool) -> None:
        super().__init__(reason)
        self.final = final


class _Shelf:
    """The verified files of one dataset, and the record of what they were at first."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset
        # the small one first; the pieces of an archive in their order
        self.files = dataset.files if dataset.reader else (dataset.annotations, dataset.audio)
        self.folder = cache_dir("datasets") / dataset.name
        self.partial = cache_dir("partial", dataset.name)
        self.record_path = self.folder / "fetched.json"
        self.record: dict[str, dict] = {}
        if self.record_path.exists():
            try:
                self.record = json.loads(self.record_path.read_bytes())
                self.record.items()
            except (ValueError, AttributeError):
                raise FetchError(
                    str(self.record_path),
                    got="something else than the record of a download",
                    expected="a JSON object",
                    hint=f"delete {self.folder} and fetch the dataset again",
                ) from None

    def path(self, file: RemoteFile) -> Path:
        """Return where a verified file is kept; an archive to convert waits beside its parts."""
        return (self.partial if self.dataset.reader else self.folder) / file.final_name

    def expected(self, name: str) -> tuple[int | None, str | None]:
        """Return the size and SHA-256 that a file must have, as far as they are known."""
        recorded = self.record.get(name, {})
        size, sha256 = recorded.get("size_bytes"), recorded.get("sha256")
        for file in self.files:
            if file.name == name:
                size, sha256 = file.size_bytes or size, file.sha256 or sha256
        return size, sha256

    def check(self, name: str, path: Path) -> dict:
        """Return size and SHA-256 of a file, which must be what is expected under its name."""
        from pooch import file_hash

        expected_size, expected_sha256 = self.expected(name)
        size = path.stat().st_size
        if expected_size not in (None, size):
            raise _Failure(f"{name} has {size} bytes instead of {expected_size}", final=True)
        suffix = Path(name).suffix
        with path.open("rb") as content:
            head = content.read(64)
        signature = SIGNATURES.get(suffix, b"")
        if suffix == ".zip" and any(f.name == f"{Path(name).stem}.z01" for f in self.files):
            signature = b""  # the last piece of an archive begins in the middle of it
        if suffix == ".pyjama":
            head = head.removeprefix(b"\xef\xbb\xbf").lstrip()
        if not head.startswith(signature):
            raise _Failure(f"{name} does not start like a {suffix} file: {head[:20]!r}", final=True)
        sha256 = file_hash(str(path))
        if expected_sha256 not in (None, sha256):
            reason = f"{name} has SHA-256 {sha256} instead of {expected_sha256}"
            raise _Failure(reason, final=True)
        return {"size_bytes": size, "sha256": sha256}

    def holds(self, file: RemoteFile) -> bool:
        """Return whether a file is in the cache, as it was; refuse one that has changed."""
        path = self.path(file)
        if not path.is_file():
            return False
        try:
            facts = self.check(file.final_name, path)
        except _Failure as failure:
            raise FetchError(
                str(path),
                got=f"a file that is not what it was or should be: {failure}",
                expected="the file as it was fetched",
                hint="delete it and fetch the dataset again",
            ) from failure
        if file.final_name not in self.record:  # put there by hand
            self._save({file.final_name: facts})
        return True

    def holds_pair(self) -> bool:
        """Return whether the converted pair is there, as it was; refuse one that has changed."""
        paths = [self.folder / name for name in self.dataset.pair_names]
        if not all(path.is_file() for path in paths):
            return False
        if paths[0].name in self.record:
            return False  # as published: an earlier dl101 did not convert it
        for path in paths:
            recorded, now = self.record.get(_PAIR + path.name, {}), path.stat()
            if recorded.get("time_ns") == now.st_mtime_ns and recorded["size_bytes"] == now.st_size:
                continue
            try:
                self._save(self.pair_facts(path.name, path))
            except _Failure as failure:
                raise FetchError(
                    str(path),
                    got=f"a file that is not what it was: {failure}",
                    expected="the file as it was converted",
                    hint=f"delete {self.folder} and fetch the dataset again",
                ) from failure
        return True

    def pair_facts(self, name: str, path: Path) -> dict[str, dict]:
        """Return the record of a converted file, which must be as it is recorded, if it is."""
        key = _PAIR + name  # a published file may have the same name
        return {key: {**self.check(key, path), "time_ns": path.stat().st_mtime_ns}}

    def install(self, target: Path, ready: Path, facts: dict[str, dict]) -> None:
        """Move a verified file into the cache. The record comes first: it must not be missing."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._save(facts)
        os.replace(ready, target)

    def forget(self, files: Iterable[RemoteFile]) -> None:
        """Delete files that cannot be used, and what is recorded of them."""
        for file in files:
            _forget(self.path(file))
            self.record.pop(file.name, None)
        self._save({})

    def _save(self, facts: dict[str, dict]) -> None:
        self.record = {**self.record, **facts}
        with replacing(self.record_path) as temporary:
            text = json.dumps(self.record, indent=1, sort_keys=True)
            temporary.write_text(text + "\n", encoding="utf-8")


# ---- Download ----------------------------------------------------------------------------------


def _download(shelf: _Shelf, file: RemoteFile, progress: bool, retry_policy: RetryPolicy) -> None:
    """Try every address, in rounds, until one has delivered a file that can be trusted."""
    part = shelf.partial / f"{file.name}.part"
    note = shelf.partial / f"{file.name}.part.json"
    addresses = list(file.urls)
    reasons = []
    for pause_s in (0.0, *retry_policy.pauses_s):
        if not addresses:
            break
        time.sleep(pause_s)
        for url in tuple(addresses):
            try:
                resumed = _transfer(shelf, file, url, part, note, progress, retry_policy.timeout_s)
                try:
                    _accept(shelf, file, part)
                except _Failure as failure:
                    _forget(part, note)
                    # Two halves that do not fit together say nothing against the address.
                    raise _Failure(str(failure), final=failure.final and not resumed) from failure
            except _Failure as failure:
                reasons.append(f"{url}: {failure}")
                if failure.final:
                    addresses.remove(url)
            else:
                _forget(part, note)
                return
    hint = "check the connection and try again: what has arrived is kept and resumed"
    if shelf.record.get(file.name):
        hint += f"; if the dataset has been published anew, delete {shelf.folder} first"
    raise FetchError(
        f"dataset {shelf.dataset.name!r}, file {file.name!r}",
        got="; ".join(reasons),
        expected=f"the file, complete and as it should be, from {len(file.urls)} address(es)",
        hint=hint,
    )


def _transfer(
    shelf: _Shelf,
    file: RemoteFile,
    url: str,
    part: Path,
    note: Path,
    progress: bool,
    timeout_s: float,
) -> bool:
    """Bring ``part`` to its full length; return whether it was resumed.

    An interrupted download is resumed where the result can be trusted: its hash is known, or the
    server confirms (If-Range) that the file is the one that was begun.
    """
    import requests
    import urllib3
    from tqdm import tqdm

    size_bytes, sha256 = shelf.expected(file.name)
    have = part.stat().st_size if part.exists() else 0
    begun = _begun(note)
    validator = begun.get("validator") if begun.get("url") == url else None
    headers = {"Accept-Encoding": "identity", "User-Agent": "dl101"}
    if have and (validator or sha256):
        headers["Range"] = f"bytes={have}-"
        if validator:
            headers["If-Range"] = validator
    try:
        with requests.get(url, headers=headers, stream=True, timeout=timeout_s) as response:
            if response.status_code == 416 and "Range" in headers:
                if _total(response) == have:
                    return True
                _forget(part, note)  # longer than what the server has: begin again
                return _transfer(shelf, file, url, part, note, progress, timeout_s)
            total = _total(response)
            resumed = response.status_code == 206
            if resumed and _start(response) != have:
                _forget(part, note)
                raise _Failure("answered with another part than was asked for", final=False)
            if response.status_code not in (200, 206):
                final = response.status_code < 500 and response.status_code not in (408, 429)
                raise _Failure(f"HTTP status {response.status_code}", final=final)
            limit = size_bytes or 2 * file.about_bytes
            if total is not None and (total > limit or size_bytes not in (None, total)):
                raise _Failure(f"offers {total} bytes instead of {limit}", final=True)
            if not resumed:
                have = 0
                _forget(part, note)  # in this order: a note must never meet another file's bytes
                validator = _validator(response)
                note.write_text(json.dumps({"url": url, "validator": validator}))
            _check_space(part.parent, (total or file.about_bytes) - have)
            with (
                part.open("ab" if resumed else "wb") as out,
                tqdm(
                    desc=file.name,
                    total=total,
                    initial=have,
                    unit="B",
                    unit_scale=True,
                    leave=False,
                    disable=not (progress and progress_enabled()),
                ) as bar,
            ):
                # read1 hands over what has arrived; read would drop it when the line breaks.
                read = getattr(response.raw, "read1", response.raw.read)
                while chunk := read(CHUNK_BYTES):
                    out.write(chunk)
                    have += len(chunk)
                    bar.update(len(chunk))
                    if have > limit:
                        break
    except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
        got = f"{type(error).__name__} after {have} bytes"
        raise _Failure(got, final=False) from error
    if have > limit:
        _forget(part, note)
        raise _Failure(f"more than {limit} bytes", final=True)
    if total is not None and have != total:
        raise _Failure(f"only {have} of {total} bytes", final=False)
    return resumed


def _begun(note: Path) -> dict:
    try:
        content = json.loads(note.read_bytes())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _forget(*paths: Path) -> None:
    for path in paths:
        path.unlink(missing_ok=True)


def _total(response: object) -> int | None:
    """Return the length of the whole file, as an answer to any request tells it."""
    match = re.fullmatch(r"bytes (?:\*|\d+-\d+)/(\d+)", response.headers.get("Content-Range", ""))
    if match:
        return int(match[1])
    length = response.headers.get("Content-Length", "")
    return int(length) if response.status_code == 200 and length.isdigit() else None


def _start(response: object) -> int | None:
    match = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    return int(match[1]) if match else None


def _validator(response: object) -> str | None:
    """Return what identifies this version of the file at this address, if anything does."""
    tag = response.headers.get("ETag", "")
    return tag if tag.startswith('"') else response.headers.get("Last-Modified")


def _check_space(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise FetchError(
            str(folder),
            got=f"{_readable(free)} free",
            expected=f"{_readable(needed)}",
            hint="free some space, or set DL101_CACHE to a folder on a larger disk",
        )


# ---- Verify, unpack, convert -------------------------------------------------------------------


def _accept(shelf: _Shelf, file: RemoteFile, part: Path) -> None:
    """Verify a complete download, unpack it where it is an archive, and put it into the cache."""
    facts = {file.name: shelf.check(file.name, part)}
    if file.member is None:
        shelf.install(shelf.path(file), part, facts)
        return
    unpacked = shelf.partial / f"{file.member}.unpacked"
    try:
        _unpack(part, file.member, unpacked)
        facts[file.member] = shelf.check(file.member, unpacked)
        shelf.install(shelf.path(file), unpacked, facts)
    finally:
        _forget(unpacked)


def _unpack(archive: Path, member: str, target: Path) -> None:
    """Write the one expected file of a zip archive to ``target``; an unsafe archive is refused."""
    try:
        with opened([archive]) as content:
            infos = content.infolist()
            found = [info for info in infos if base_name(info) == member]
            if len(found) != 1:
                names = ", ".join(info.filename for info in infos[:10])
                raise ArchiveError(f"{len(found)} files {member!r} in the archive ({names})")
            _check_space(target.parent, found[0].file_size)
            with content.open(found[0]) as source, target.open("wb") as out:
                shutil.copyfileobj(source, out, CHUNK_BYTES)
    except ArchiveError as error:
        raise _Failure(str(error), final=True) from error


def _convert(shelf: _Shelf, progress: bool, show: Callable[[str], object]) -> None:
    """Turn the verified archives of a dataset into the pair, and delete them."""
    dataset = shelf.dataset
    targets = [shelf.folder / name for name in dataset.pair_names]
    ready = [shelf.partial / f"{target.name}.unpacked" for target in targets]
    parts = [shelf.path(file) for file in shelf.files]
    known = dataset.n_bins, dataset.frame_rate_hz
    job = readers.Job(parts, shelf.partial, progress, *known)
    try:
        readers.convert(dataset.reader, job, *ready)
        shelf.record.pop(dataset.pair_names[0], None)
        for target, path in zip(targets, ready, strict=True):
            # Another version of a decoder may give other bytes than the conversion before.
            shelf.record.pop(_PAIR + target.name, None)
            shelf.install(target, path, shelf.pair_facts(target.name, path))
    except (ArchiveError, DataError) as error:
        # What has the right hash was published so; anything else may have been spoilt on the way.
        doubtful = [file for file in shelf.files if not file.sha256]
        shelf.forget(doubtful)
        hint = "report it: the archive is as published" if not doubtful else "fetch it again"
        raise FetchError(
            f"dataset {dataset.name!r}, {' and '.join(file.name for file in shelf.files)}",
            got=str(error),
            expected=f"an archive that the reader {dataset.reader!r} can convert",
            hint=hint,
        ) from error
    except FetchError:
        raise
    except OSError as error:
        raise FetchError(
            f"dataset {dataset.name!r}, converting it",
            got=str(error),
            expected=f"room and permission to write to {shelf.partial} and {shelf.folder}",
            hint="free some space and run the same again: what was downloaded is kept",
        ) from error
    finally:
        _forget(*ready)
    if job.left_out:
        show(f"Left out, because they cannot be read: {'; '.join(job.left_out)}")
    for file in shelf.files:
        _forget(shelf.path(file))


def _readable(n_bytes: int) -> str:
    """Return a number of bytes in MB or GB (powers of ten)."""
    return f"{n_bytes / 1e9:.1f} GB" if n_bytes >= 1e9 else f"{n_bytes / 1e6:.0f} MB"
