"""The live panel in a browser: its numbers, its microphone, its keys, and what is there without."""

from __future__ import annotations

import base64
import functools
import importlib.util
import json
import shutil
import threading
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from dl101.training import shipped
from tests.book.conftest import ROOT, _Quiet, opened
from tools import panel

FILE = ROOT / "book" / "_extensions" / "live_panel.py"
NAMES = list(panel.NETWORKS)
STATIC = ROOT / "book" / "_static"
MOST_BYTES = 1_500_000


def extension():
    """Return the extension, which lies outside the package."""
    spec = importlib.util.spec_from_file_location("live_panel", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def panels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a page for each network, as the extension writes it into a chapter."""
    folder = tmp_path_factory.mktemp("panels")
    shutil.copytree(STATIC / "panel", folder / "_static" / "panel")
    shutil.copy(STATIC / "dl101.css", folder / "_static")
    for name in NAMES:
        (folder / f"{name}.html").write_text(
            "<!doctype html><html lang=en data-theme=light><head><meta charset=utf-8>"
            '<title>A</title><link rel=icon href="data:,">'
            '<link rel=stylesheet href="_static/dl101.css"></head>'
            "<body><main class=bd-article><h1>Title</h1>"
            f"{extension().fragment(name, '_static/panel')}</main></body></html>"
        )
    return folder


@pytest.fixture(scope="session")
def address(panels: Path) -> Iterator[str]:
    """Serve these pages and yield their address."""
    handler = functools.partial(_Quiet, directory=str(panels))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def open_panel(page) -> None:
    page.locator("summary").focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("details[data-ready]", timeout=60_000)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_shipped_is_what_the_command_writes(name: str) -> None:
    text, data = panel.export(name)
    assert (panel.PANEL / f"{name}.bin").read_bytes() == data
    assert json.loads((panel.PANEL / f"{name}.json").read_bytes()) == json.loads(text)


def test_all_together_are_small() -> None:
    assert sum(file.stat().st_size for file in panel.PANEL.iterdir()) <= MOST_BYTES


def test_a_page_without_the_place_fails() -> None:
    module = extension()
    page, (_, section) = next(iter(module.PAGES.items()))
    context = {"body": f'<section id="{section}">', "pathto": lambda path, _: f"../{path}"}
    module.insert(None, page, "page.html", context, None)
    assert 'src="../_static/panel/' in context["body"] and context["body"].endswith(f'"{section}">')
    other = {**context, "body": '<section id="another">'}
    with pytest.raises(Exception, match=f"section '{section}'"):
        module.insert(None, page, "page.html", other, None)
    module.insert(None, "another/page", "page.html", other, None)
    assert other["body"] == '<section id="another">'


# The recorded example as the browser decodes it, and what the panel makes of it; base64.
ANALYSE = """async () => {
  const panel = document.querySelector('details').dl101, rate = panel.network.input.sample_rate;
  const bytes = await (await fetch(panel.clip)).arrayBuffer();
  const sound = await new OfflineAudioContext(1, 1, rate).decodeAudioData(bytes);
  const samples = sound.getChannelData(0).slice(), kept = samples.slice();
  const {n, input, output} = await panel.analyse(samples, rate);
  const text = array => {
    const bytes = new Uint8Array(array.buffer);
    let out = '';
    for (let i = 0; i < bytes.length; i += 32768)
      out += String.fromCharCode(...bytes.subarray(i, i + 32768));
    return btoa(out);
  };
  return {n, samples: text(kept), input: text(input), output: text(output)};
}"""


@pytest.mark.browser
@pytest.mark.parametrize("name", NAMES)
def test_the_page_computes_what_python_computes(browser, address: str, name: str) -> None:
    with opened(browser, f"{address}/{name}.html") as page:
        open_panel(page)
        found = page.evaluate(ANALYSE)
    samples, heard, said = (
        np.frombuffer(base64.b64decode(found[key]), np.float32)
        for key in ("samples", "input", "output")
    )
    expected = panel.ANSWERS[name](shipped.load(name), samples)
    assert len(expected[1]) == found["n"] > 0
    for mine, theirs in zip((heard, said), expected, strict=True):
        assert np.abs(theirs).max() > 0.5
        np.testing.assert_allclose(mine.reshape(theirs.shape), theirs, atol=1e-3, rtol=0)
