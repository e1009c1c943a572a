"""What every test shares: a cache folder of its own, and no way to the network."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from collections.abc import Iterator

import pytest

LOOPBACK = ("127.", "::1", "localhost", "0.0.0.0")
NO_BROWSER = "no Chromium on this machine"


def pytest_configure(config: pytest.Config) -> None:
    """Give the session, and the notebooks' kernels, an empty cache; nothing of the user's is used.

    ``DL101_TEST_CACHE`` names a folder to use and keep instead.
    """
    kept = os.environ.get("DL101_TEST_CACHE")
    folder = kept or tempfile.mkdtemp(prefix="dl101-tests-")
    os.environ["DL101_CACHE"] = folder
    os.environ["DL101_PROGRESS"] = "0"
    if "PYTEST_XDIST_WORKER" in os.environ:
        # two workers that compile librosa's functions at once can spoil the cache that both use, so
        # that whoever reads it crashes
        os.environ["NUMBA_CACHE_DIR"] = os.path.join(folder, "numba")
    if not kept:
        config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say loudly that the browser tests did not run."""
    skipped = terminalreporter.stats.get("skipped", [])
    if any(NO_BROWSER in str(report.longrepr) for report in skipped):
        terminalreporter.section("NO BROWSER: the pages were not opened", yellow=True, bold=True)
        terminalreporter.write_line(
            "Chromium was not found, so every test marked `browser` was skipped. Install it "
            "(Debian: apt-get install chromium) or set DL101_CHROMIUM to its path."
        )


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object:
    """With several workers, give each a file at a time, or all files that need the built book."""
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.split("::")[0]
            return "tests/book" if file.startswith("tests/book/") else file

    return ByFile(config, log)


class NetworkForbiddenError(OSError):
    """A test tried to leave this machine."""


@pytest.fixture(autouse=True, scope="session")
def _no_network() -> Iterator[None]:
    """Let sockets reach this machine only."""
    connect, connect_ex = socket.socket.connect, socket.socket.connect_ex
    getaddrinfo = socket.getaddrinfo

    def check(host: object) -> None:
        name = host.decode() if isinstance(host, bytes) else host
        if isinstance(name, str) and name and not name.startswith(LOOPBACK):
            raise NetworkForbiddenError(f"a test tried to reach {name!r}")

    def guarded(method):
        def call(self, address):
            if self.family in (socket.AF_INET, socket.AF_INET6):
                check(address[0])
            return method(self, address)

        return call

    def lookup(host, *args, **kwargs):
        check(host)
        return getaddrinfo(host, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", guarded(connect))
        patch.setattr(socket.socket, "connect_ex", guarded(connect_ex))
        patch.setattr(socket, "getaddrinfo", lookup)
        yield
