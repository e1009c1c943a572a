"""The built book: complete, linked, served from one place, and readable in a browser."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from tests.book.conftest import toc_pages

PAGES = toc_pages()
VIEWPORTS = {"desktop": (1280, 900), "phone": (390, 844)}
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


@contextmanager
def opened(browser, address: str, *, viewport: str = "desktop", scheme: str = "light") -> Iterator:
    """Open a page; afterwards, fail on console errors, failed and foreign requests."""
    width, height = VIEWPORTS[viewport]
    context = browser.new_context(
        viewport={"width": width, "height": height}, color_scheme=scheme, reduced_motion="reduce"
    )
    host = urlsplit(address).netloc
    problems: list[str] = []

    def note_request(request) -> None:
        parts = urlsplit(request.url)
        if parts.scheme not in ("data", "blob", "file") and parts.netloc != host:
            problems.append(f"request to elsewhere: {request.url[:200]}")

    try:
        page = context.new_page()
        page.on("request", note_request)
        page.on("requestfailed", lambda r: problems.append(f"failed request: {r.url[:200]}"))
        page.on(
            "response",
            lambda r: problems.append(f"{r.status}: {r.url[:200]}") if r.status >= 400 else None,
        )
        page.on(
            "console",
            lambda m: problems.append(f"console: {m.text[:300]}") if m.type == "error" else None,
        )
        page.on("pageerror", lambda error: problems.append(f"script: {error}"))
        page.goto(address, wait_until="load")
        if page.evaluate("() => typeof MathJax !== 'undefined' && !!MathJax.startup"):
            page.evaluate("() => MathJax.startup.promise.then(() => null)")
        yield page
        assert not problems, "\n".join(problems)
    finally:
        context.close()


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", list(VIEWPORTS))
@pytest.mark.parametrize("name", PAGES)
def test_page_reads_well(browser, site: str, name: str, viewport: str, scheme: str) -> None:
    with opened(browser, f"{site}/{name}.html", viewport=viewport, scheme=scheme) as page:
        assert page.evaluate("() => document.documentElement.dataset.theme") == scheme
        assert page.evaluate(CONTRAST) >= 4.5, "text and background are too close"

        width = VIEWPORTS[viewport][0]
        too_wide = page.evaluate(TOO_WIDE)
        assert page.evaluate("() => document.documentElement.scrollWidth") <= width, too_wide

        page.evaluate(LOAD_IMAGES)
        for image in page.evaluate(IMAGES):
            assert image["width"] > 0, f"image does not load: {image['src']}"
            assert image["alt"].strip(), f"no alternative text: {image['src']}"
            assert not image["alt"].endswith((".png", ".svg")), f"a file name: {image['alt']}"

        maths = page.evaluate(MATHS)
        assert maths["written"] == maths["rendered"], maths
        assert not maths["errors"], maths
        widgets = page.evaluate(WIDGETS)
        assert widgets["written"] == widgets["rendered"], widgets

        if folder := os.environ.get("DL101_SCREENSHOTS"):
            file = Path(folder) / f"{name.replace('/', '-')}-{viewport}-{scheme}.png"
            page.screenshot(path=str(file), full_page=True)


@pytest.mark.browser
@pytest.mark.parametrize("name", PAGES)
def test_sounds_play(browser, site: str, html: Path, name: str) -> None:
    if "<audio" not in (html / f"{name}.html").read_text(encoding="utf-8"):
        return  # nothing to hear on this page
    with opened(browser, f"{site}/{name}.html") as page:
        for sound in page.evaluate(SOUNDS):
            assert sound["error"] is None, sound
            assert sound["duration_s"] > 0.05, sound
            assert 1e-3 < sound["peak"] <= 1.01, sound


@pytest.mark.browser
def test_search_finds_the_chapter(browser, site: str) -> None:
    with opened(browser, f"{site}/search.html?q=multi-pitch") as page:
        page.wait_for_selector("#search-results li a[href*='tasks/multi_pitch.html']")


@pytest.mark.browser
def test_the_book_reads_from_files_without_a_server(browser, html: Path) -> None:
    for name in (PAGES[0], "notebooks/tasks/multi_pitch"):
        with opened(browser, (html / f"{name}.html").as_uri()) as page:
            maths = page.evaluate(MATHS)
            assert maths["written"] == maths["rendered"], maths


def test_index_leads_to_the_front_page(html: Path) -> None:
    assert f"url={PAGES[0]}.html" in (html / "index.html").read_text()


# Ratio of luminances of text and background, as WCAG 2 defines it, at the least readable paragraph.
CONTRAST = """() => {
  const parse = c => (c.match(/[\\d.]+/g) || [0, 0, 0, 0]).map(Number);
  const luminance = c => {
    const [r, g, b] = parse(c).slice(0, 3).map(v => v / 255)
      .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const background = e => {
    for (; e; e = e.parentElement) {
      const c = getComputedStyle(e).backgroundColor, p = parse(c);
      if (p.length < 4 || p[3] > 0.5) return c;
    }
    return 'rgb(255, 255, 255)';
  };
  const ratios = [...document.querySelectorAll('.bd-article p, .bd-article li, .bd-article h1')]
    .filter(e => e.offsetParent && e.textContent.trim())
    .map(e => [luminance(getComputedStyle(e).color), luminance(background(e))])
    .map(([a, b]) => (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05));
  return Math.min(21, ...ratios);
}"""

TOO_WIDE = """() => [...document.querySelectorAll('.bd-article *')]
  .filter(e => e.getBoundingClientRect().right > document.documentElement.clientWidth + 1)
  .slice(0, 5).map(e => e.tagName + '.' + e.className)"""

LOAD_IMAGES = """() => Promise.all([...document.images].map(i => {
  i.loading = 'eager';
  return i.decode().catch(() => null);
}))"""

IMAGES = """() => [...document.querySelectorAll('.bd-article img')]
  .map(i => ({src: i.src.slice(0, 120), alt: i.alt || '', width: i.naturalWidth}))"""

MATHS = """() => ({
  written: document.querySelectorAll('.bd-article .math').length,
  rendered: [...document.querySelectorAll('.bd-article .math')]
    .filter(e => e.querySelector('mjx-container')).length,
  // an unknown macro is set in red rather than refused
  errors: document.querySelectorAll('mjx-merror, mjx-container [style*="color: red"]').length,
})"""

WIDGETS = """async () => {
  const views = document.querySelectorAll(
    'script[type="application/vnd.jupyter.widget-view+json"]').length;
  const rendered = () => document.querySelectorAll('.widget-subarea').length;
  for (let i = 0; i < 100 && rendered() < views; i++) await new Promise(requestAnimationFrame);
  return {written: views, rendered: rendered()};
}"""

SOUNDS = """async () => {
  const context = new OfflineAudioContext(1, 1, 44100);
  const results = [];
  for (const element of document.querySelectorAll('audio')) {
    const source = element.src || (element.querySelector('source') || {}).src || '';
    const result = {source: source.slice(0, 60), error: null, duration_s: 0, peak: 0};
    try {
      const bytes = await (await fetch(source)).arrayBuffer();
      const sound = await context.decodeAudioData(bytes);
      result.duration_s = sound.duration;
      for (let c = 0; c < sound.numberOfChannels; c++)
        for (const value of sound.getChannelData(c))
          result.peak = Math.max(result.peak, Math.abs(value));
    } catch (error) { result.error = String(error); }
    results.push(result);
  }
  return results;
}"""
