"""Where cached files live, and how a file is written so that nobody ever sees half of it.

``DL101_CACHE`` moves the cache (default: ``dl101`` in the user's cache folder);
``DL101_OFFLINE=1`` forbids the network. Both are read at each call, so a test or a notebook can
set them at any time.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dl101.errors import ConfigError


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
    each write their own temporary file; the last to finish wins, and both files are complete.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)  # mkstemp makes files private; a cache may be shared
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
