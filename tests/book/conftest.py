"""The book, built once; a server for its pages on this machine; a headless browser.

``DL101_TEST_BOOK`` names the pages of a book that is already built, to work on one page at a time.
"""

from __future__ import annotations

import functools
import os
import shutil
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import nbformat
import pytest
import yaml

from dl101.lab.show import Rendered
from tests.conftest import NO_BROWSER
from tools.chapters import ROOT, build_book, canonical, copy_sources

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
VIEWPORTS = {"desktop": (1280, 900), "phone": (390, 844)}
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
    if built := os.environ.get("DL101_TEST_BOOK"):
        return Path(built)
    folder = tmp_path_factory.mktemp("book")
    copy_sources(folder / "source")
    return build_book(folder / "source", folder, quiet=True)


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        """Keep the requests out of the tests' output."""


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve a folder on this machine and yield the address."""
    handler = functools.partial(_Quiet, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="session")
def site(html: Path) -> Iterator[str]:
    """Serve the built pages and yield their address."""
    with served(html) as address:
        yield address


@contextmanager
def one_page(outputs: Sequence[Rendered], folder: Path) -> Iterator[str]:
    """Build a book of one page with the book's settings, serve it, and yield the address."""
    source = folder / "source"
    for name in ("_static", "_extensions"):
        shutil.copytree(ROOT / "book" / name, source / "book" / name)
    shutil.copy(ROOT / "book" / "references.bib", source / "book")
    settings = yaml.safe_load((ROOT / "_config.yml").read_text())
    (source / "_config.yml").write_text(yaml.safe_dump(settings))
    (source / "_toc.yml").write_text("format: jb-book\nroot: kit\n")
    notebook = nbformat.v4.new_notebook()
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
    notebook.metadata["language_info"] = {"name": "python"}
    notebook.cells = [nbformat.v4.new_markdown_cell("# The kit\n\nA page.")]
    for output in outputs:
        cell = nbformat.v4.new_code_cell("pass", execution_count=1)
        bundle = output._repr_mimebundle_()
        cell.outputs = [nbformat.v4.new_output("display_data", bundle)]
        notebook.cells.append(cell)
    nbformat.write(canonical(notebook), source / "kit.ipynb")  # as a saved chapter is
    html = build_book(source, folder, quiet=True)
    with served(html) as address:
        yield f"{address}/kit.html"


def chromium_path() -> str | None:
    """Return where Chromium is, or None."""
    named = os.environ.get("DL101_CHROMIUM")
    return named or next(filter(None, map(shutil.which, BROWSERS)), None)


@pytest.fixture(scope="session")
def browser() -> Iterator:
    """Start Chromium without a window, or skip."""
    found = chromium_path()
    if found is None:
        pytest.skip(NO_BROWSER)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=found, args=FLAGS)
        yield chromium
        chromium.close()


class Window:
    """A tab of one width that visits one page after the other and notes what goes wrong."""

    def __init__(self, browser, viewport: str) -> None:
        self.width, height = VIEWPORTS[viewport]
        self.context = browser.new_context(
            viewport={"width": self.width, "height": height}, reduced_motion="reduce"
        )
        self.context.set_default_timeout(10_000)
        self.page = self.context.new_page()
        self.host = ""
        self.problems: list[str] = []
        page, note = self.page, self.problems.append
        page.on("request", self._note_request)
        page.on("requestfailed", lambda r: note(f"failed request: {r.url[:200]}"))
        page.on("response", lambda r: note(f"{r.status}: {r.url}") if r.status >= 400 else None)
        page.on("console", lambda m: note(f"console: {m.text}") if m.type == "error" else None)
        page.on("pageerror", lambda error: note(f"script: {error}"))

    def _note_request(self, request) -> None:
        parts = urlsplit(request.url)
        if parts.scheme not in ("data", "blob", "file") and parts.netloc != self.host:
            self.problems.append(f"request to elsewhere: {request.url[:200]}")

    @contextmanager
    def visit(self, address: str, scheme: str = "light") -> Iterator:
        """Open a page; afterwards, fail on console errors, failed and foreign requests."""
        self.page.goto("about:blank")  # what the page before still wanted ends here
        self.problems.clear()
        self.host = urlsplit(address).netloc
        self.page.emulate_media(color_scheme=scheme)
        self.page.goto(address, wait_until="load")
        self.page.evaluate(MATHS_READY)
        yield self.page
        assert not self.problems, "\n".join(self.problems)

    def switch(self, scheme: str) -> None:
        """Change between light and dark, as the reader's system would."""
        self.page.emulate_media(color_scheme=scheme)
        self.page.wait_for_function(
            "scheme => document.documentElement.dataset.theme === scheme", arg=scheme
        )


@contextmanager
def opened(browser, address: str, *, viewport: str = "desktop", scheme: str = "light") -> Iterator:
    """Open a page in a tab of its own, with nothing left from other pages."""
    window = Window(browser, viewport)
    try:
        with window.visit(address, scheme) as page:
            yield page
    finally:
        window.context.close()


MATHS_READY = """() => typeof MathJax !== 'undefined' && MathJax.startup
  ? MathJax.startup.promise.then(() => null) : null"""


@pytest.fixture(scope="session")
def windows(browser) -> Iterator[dict[str, Window]]:
    """Open one tab of each width, for all pages: starting a new one costs more than a page."""
    opened = {viewport: Window(browser, viewport) for viewport in VIEWPORTS}
    yield opened
    for window in opened.values():
        window.context.close()
