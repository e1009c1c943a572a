"""The book, built once; a server for its pages on this machine; a headless browser."""

from __future__ import annotations

import functools
import os
import shutil
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml

from tests.conftest import NO_BROWSER
from tools.chapters import ROOT, build_book, copy_sources

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-sync",
    "--no-first-run",
]


def toc_pages() -> list[str]:
    """Return the pages named in _toc.yml, in reading order, without suffix."""
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text())
    pages = [toc["root"]]

    def collect(node: dict) -> None:
        for part in node.get("parts", []):
            collect(part)
        for chapter in (*node.get("chapters", []), *node.get("sections", [])):
            pages.append(chapter["file"])
            collect(chapter)

    collect(toc)
    return pages


@pytest.fixture(scope="session")
def html(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the book from a copy of its sources, with warnings as errors."""
    folder = tmp_path_factory.mktemp("book")
    copy_sources(folder / "source")
    return build_book(folder / "source", folder, quiet=True)


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        """Keep the requests out of the tests' output."""


@pytest.fixture(scope="session")
def site(html: Path) -> Iterator[str]:
    """Serve the built pages and yield their address."""
    handler = functools.partial(_Quiet, directory=str(html))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="session")
def browser(request: pytest.FixtureRequest) -> Iterator:
    """Start Chromium without a window, or skip."""
    named = os.environ.get("DL101_CHROMIUM")
    found = named or next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        request.config.stash[NO_BROWSER] = True
        pytest.skip("no Chromium on this machine")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=found, args=FLAGS)
        yield chromium
        chromium.close()
