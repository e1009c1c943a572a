"""The built book: complete, linked, served from one place, and readable in a browser."""

from __future__ import annotations

import os
import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from tests.book import gates
from tests.book.conftest import VIEWPORTS, toc_pages

PAGES = toc_pages()
# rel values whose href a browser loads; others (canonical, next, search, ...) are only named
LOADED_RELS = {"stylesheet", "icon", "preload", "prefetch", "modulepreload", "preconnect"}


class _Page(HTMLParser):
    """The identifiers, links and loaded resources of one page."""

    def __init__(self) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.loaded: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what a tag defines, links to and loads."""
        values = {name: value or "" for name, value in attrs}
        self.ids.update(values[name] for name in ("id", "name") if name in values)
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        if tag == "link" and LOADED_RELS & set(values.get("rel", "").split()):
            self.loaded.append(values["href"])
        if tag != "a" and values.get("src"):
            self.loaded.append(values["src"])
        self.loaded += [part.split()[0] for part in values.get("srcset", "").split(",") if part]


def parse(path: Path) -> _Page:
    """Return what a page defines, links to and loads."""
    page = _Page()
    page.feed(path.read_text(encoding="utf-8"))
    return page


@pytest.fixture(scope="session")
def parsed(html: Path) -> dict[Path, _Page]:
    """Return every page of the built book."""
    return {path: parse(path) for path in html.rglob("*.html") if "_static" not in path.parts}


def test_every_page_of_the_contents_is_built(html: Path) -> None:
    missing = [page for page in PAGES if not (html / f"{page}.html").is_file()]
    assert not missing


def test_no_internal_link_is_dead(html: Path, parsed: dict[Path, _Page]) -> None:
    dead = []
    for path, page in parsed.items():
        for link in (*page.links, *page.loaded):
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not target.is_file():
                dead.append(f"{path.relative_to(html)}: {link}")
            elif parts.fragment and target in parsed:
                # a search result's highlight and the like are not identifiers of the page
                if unquote(parts.fragment) not in parsed[target].ids | {"", "top"}:
                    dead.append(f"{path.relative_to(html)}: {link} (no such place on the page)")
    assert not dead


def test_pages_load_nothing_from_elsewhere(html: Path, parsed: dict[Path, _Page]) -> None:
    foreign = [
        f"{path.relative_to(html)}: {address[:100]}"
        for path, page in parsed.items()
        for address in page.loaded
        if urlsplit(address).netloc
    ]
    for path in html.rglob("*.css"):
        text = path.read_text(encoding="utf-8", errors="replace")
        foreign += [
            f"{path.relative_to(html)}: {match[:100]}"
            for match in re.findall(r"(?:url\(|@import)\s*['\"]?(?:https?:)?//[^)'\"]*", text)
        ]
    assert not foreign


@pytest.mark.browser
@pytest.mark.parametrize("viewport", list(VIEWPORTS))
@pytest.mark.parametrize("name", PAGES)
def test_page_reads_well(windows, site: str, name: str, viewport: str) -> None:
    """One visit finds all that is wrong with a page, so that one run shows it."""
    window = windows[viewport]
    start = "light" if viewport == "desktop" else "dark"
    with window.visit(f"{site}/{name}.html", start) as page:
        wrong = gates.structure(page) + gates.rendering(page)
        for scheme in (start, "dark" if start == "light" else "light"):
            window.switch(scheme)
            wrong += [f"{scheme}: {text}" for text in gates.contrast(page)]
            if folder := os.environ.get("DL101_SCREENSHOTS"):
                file = Path(folder) / f"{name.replace('/', '-')}-{viewport}-{scheme}.png"
                page.screenshot(path=str(file), full_page=True)
        wrong += gates.sliders(page) + gates.width(page)
        if viewport == "desktop":
            wrong += gates.sounds(page)
        assert not wrong, "\n".join(wrong)


@pytest.mark.browser
def test_search_finds_the_chapter(windows, site: str) -> None:
    with windows["desktop"].visit(f"{site}/search.html?q=multi-pitch") as page:
        page.wait_for_selector("#search-results li a[href*='tasks/multi_pitch.html']")


@pytest.mark.browser
def test_the_book_reads_from_files_without_a_server(windows, html: Path) -> None:
    for name in (PAGES[0], "notebooks/tasks/multi_pitch"):
        with windows["desktop"].visit((html / f"{name}.html").as_uri()) as page:
            assert not gates.rendering(page)


def test_index_leads_to_the_front_page(html: Path) -> None:
    assert f"url={PAGES[0]}.html" in (html / "index.html").read_text()
