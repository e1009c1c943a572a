"""Where cached files live, how a file is written so that nobody ever sees half of it, and found.

``DL101_CACHE`` moves the cache (default: ``dl101`` in the user's cache folder);
``DL101_OFFLINE=1`` forbids the network. Both are read at each call, so a test or a notebook can
set them at any time.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
import time
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dl101.errors import ConfigError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

ABANDONED_AFTER_S = 86_400.0  # where the system cannot tell whether a writer lives
_PART = re.compile(r"\..+\.[a-z0-9_]{8}\.part")
_swept: set[Path] = set()


def cache_dir(*parts: str) -> Path:
    """Return a folder inside the cache, made if it is missing."""
    root = os.environ.get("DL101_CACHE")
    if root:
        base = Path(root).expanduser()
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "dl101"
    folder = base.joinpath(*parts)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def is_offline() -> bool:
    """Return whether ``DL101_OFFLINE`` forbids the network."""
    return os.environ.get("DL101_OFFLINE", "").strip().lower() not in ("", "0", "false", "no")


def fingerprint(description: object) -> str:
    """Return 20 hexadecimal digits that identify a JSON-serialisable description.

    The order of keys does not matter; the same description gives the same digits everywhere.
    """
    text = json.dumps(description, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:20]


def existing(path: Path | str) -> Path:
    """Return the path under which a file exists; ``path``, with ``~`` expanded, where none does.

    An accented letter has two spellings in Unicode, one character (NFC) or two (NFD, as macOS
    hands them out); a file is found by either.
    """
    path = Path(path)
    try:
        path = path.expanduser()
        if path.exists() or str(path).isascii():
            return path
        found = Path(path.anchor)
        for part in path.parts[1:] if path.anchor else path.parts:
            wanted = unicodedata.normalize("NFC", part)
            if not part.isascii() and not (found / part).exists():
                names = (child.name for child in found.iterdir())
                part = next((n for n in names if unicodedata.normalize("NFC", n) == wanted), part)
            found /= part
    except (OSError, RuntimeError, ValueError):  # no such home or folder, or no path at all
        return path
    return found if found.exists() else path


def check_writable(path: Path | str) -> None:
    """Find out, before the work whose result it will be, whether a file can be written.

    Its folder is made; a file that is there stays as it is.

    Raises
    ------
    ConfigError
        If the path is a folder, or nothing can be written in its folder.
    """
    path = Path(path)
    found = "a folder" if path.is_dir() else None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(prefix=f".{path.name}.", dir=path.parent).close()
    except OSError as error:
        found = error.strerror or str(error)
    if found:
        raise ConfigError(
            f"file to write, {path}",
            got=found,
            expected="a file in a folder that you may write to",
            hint="choose another place",
        )


@contextmanager
def replacing(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path beside ``path`` that takes its place only if the block succeeds.

    A run that is killed leaves ``path`` as it was. Two processes that write the same path at once
    each write their own temporary file; the last to finish wins, and both files are complete. What
    killed runs have left in the folder is removed when a process first writes there.

    The temporary file is locked (``flock``) while it is in use, by which :func:`sweep` tells it
    from an abandoned one; open it without a lock of your own.
    """
    path = Path(path).expanduser()
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.parent not in _swept:
        _swept.add(path.parent)
        sweep(path.parent)
    handle, temporary = _temporary(path)
    try:
        yield temporary
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)  # mkstemp makes files private; a cache may be shared
        os.replace(temporary, path)
    finally:
        if handle is not None:
            os.close(handle)
        temporary.unlink(missing_ok=True)


def write_text(path: Path | str, text: str) -> None:
    """Write a text file as a whole or not at all; see :func:`replacing`."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def sweep(folder: Path | str) -> None:
    """Remove the temporary files that killed runs have left in a folder."""
    for path in Path(folder).glob(".*.part"):
        if not _PART.fullmatch(path.name):
            continue
        try:
            if fcntl is None:
                if time.time() - path.stat().st_mtime > ABANDONED_AFTER_S:
                    path.unlink()
                continue
            with path.open("r+b") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink()
        except OSError:  # in use, gone, or on a drive without locks
            continue


def _temporary(path: Path) -> tuple[int | None, Path]:
    """Make a temporary file beside a path; return the handle that locks it, where there is one."""
    while True:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
        if fcntl is None:
            os.close(handle)  # an open file could not be renamed there
            return None, Path(name)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
        except OSError:
            pass  # a drive without locks, where nothing is swept either
        if os.path.exists(name):  # not swept between the two calls
            return handle, Path(name)
        os.close(handle)
