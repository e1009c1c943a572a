"""The live panel in a browser: its numbers, its microphone, its keys, and what is there without."""

from __future__ import annotations

import base64
import importlib.util
import io
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from dl101.training import shipped
from tests.book import gates
from tests.book.conftest import FLAGS, ROOT, VIEWPORTS, chromium_path, opened, served
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
    with served(panels) as found:
        yield found


def open_panel(page) -> None:
    page.locator("summary").focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("details[data-ready]", timeout=60_000)


def alike(a: object, b: object) -> bool:
    """Whether two values of JSON say the same."""
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(alike(a[key], b[key]) for key in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(alike, a, b))
    return a == b or (isinstance(a, float) and a == pytest.approx(b, rel=1e-5))


@pytest.mark.parametrize("name", NAMES)
def test_what_is_shipped_is_what_the_command_writes(name: str) -> None:
    """Up to the last digit, which logarithms may round otherwise elsewhere."""
    text, data = panel.export(name)
    shipped_data = (panel.PANEL / f"{name}.bin").read_bytes()
    assert len(shipped_data) == len(data)
    assert sum(a != b for a, b in zip(shipped_data, data, strict=True)) < 1e-3 * len(data)
    assert alike(json.loads((panel.PANEL / f"{name}.json").read_bytes()), json.loads(text))


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
        np.frombuffer(base64.b64decode(found[key]), np.float32).copy()
        for key in ("samples", "input", "output")
    )
    expected = panel.ANSWERS[name](shipped.load(name), samples)
    assert len(expected[1]) == found["n"] > 0
    for mine, theirs in zip((heard, said), expected, strict=True):
        assert np.abs(theirs).max() > 0.5
        np.testing.assert_allclose(mine.reshape(theirs.shape), theirs, atol=1e-3, rtol=0)


# A tone of 1 kHz at one rate, in pieces, and how far it is at another from the same tone there.
RESAMPLE = """([from, to]) => {
  const resampler = new dl101Spectra.Resampler(from, to), out = [];
  const tone = (n, rate) => Math.sin(2 * Math.PI * 1000 * n / rate);
  for (let at = 0; at < from; at += 997)
    out.push(...resampler.push(Float32Array.from(
      {length: Math.min(997, from - at)}, (_, i) => tone(at + i, from)), at + 997 >= from));
  const wrong = out.slice(200, -200).map((v, i) => Math.abs(v - tone(200 + i, to)));
  return [out.length, Math.max(...wrong)];
}"""


@pytest.mark.browser
def test_what_a_microphone_gives_is_resampled(browser, address: str) -> None:
    with opened(browser, f"{address}/multi_pitch.html") as page:
        page.add_script_tag(url="_static/panel/spectra.js")
        for rates in ((48000, 22050), (44100, 22050), (44100, 16000), (16000, 22050)):
            n, wrong = page.evaluate(RESAMPLE, list(rates))
            assert n == rates[1] and wrong < 1e-4, rates


# ---- with a microphone, and without --------------------------------------------------------------

RATE = 22050
STATUS = ".dl101-panel-status"


def sung(duration_s: float = 4.0) -> bytes:
    """Return two notes with harmonics, A3 and E4, as a WAV file."""
    import soundfile

    times_s = np.arange(round(RATE * duration_s)) / RATE
    audio = sum(
        0.3 * np.sin(2 * np.pi * h * f0_hz * times_s) / h
        for f0_hz in (220.0, 329.63)
        for h in range(1, 9)
    )
    file = io.BytesIO()
    soundfile.write(file, 0.3 * audio, RATE, format="WAV")
    return file.getvalue()


@pytest.fixture(scope="module")
def with_microphone(browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator:
    """Start a browser whose microphone hears two notes over and over, and is allowed."""
    file = tmp_path_factory.mktemp("microphone") / "sung.wav"
    file.write_bytes(sung())
    flags = [
        "--use-fake-device-for-media-stream",
        "--use-fake-ui-for-media-stream",
        f"--use-file-for-fake-audio-capture={file}",
    ]
    started = browser.browser_type.launch(executable_path=chromium_path(), args=[*FLAGS, *flags])
    yield started
    started.close()


FRAMES_SHOWN = """n => { const run = document.querySelector('details').dl101.running;
  return run && run.shown > n; }"""


@pytest.mark.browser
def test_notes_at_the_microphone_are_heard(with_microphone, address: str) -> None:
    """By keyboard alone; no error and no request elsewhere."""
    with opened(with_microphone, f"{address}/multi_pitch.html") as page:
        open_panel(page)
        assert page.locator("canvas").count() == 2
        patient = "() => { document.querySelector('details').dl101.mostBehindS = Infinity; }"
        page.evaluate(patient)  # on a busy machine, too
        page.get_by_role("button", name="Start").focus()
        page.keyboard.press("Enter")
        said = page.locator("output")
        page.wait_for_function(
            "() => { const t = document.querySelector('output').textContent;"
            " return t.includes('A3') && t.includes('E4'); }",
            timeout=90_000,
        )
        assert page.locator(STATUS).inner_text().startswith("Listening.")
        page.keyboard.press("Enter")
        assert page.get_by_role("button", name="Start").is_visible()
        assert "A3" in said.inner_text()
        page.keyboard.press("Enter")
        page.wait_for_function(FRAMES_SHOWN, arg=5, timeout=60_000)
        page.locator("summary").click()
        # the browser tells of a closed panel a moment later
        page.wait_for_function("() => document.querySelector('details').dl101.running === null")


@pytest.mark.browser
def test_without_permission_a_sentence_says_so(browser, address: str) -> None:
    with opened(browser, f"{address}/multi_pitch.html") as page:
        open_panel(page)
        page.get_by_role("button", name="Start").click()
        page.wait_for_function("() => document.querySelector('.dl101-panel-status').textContent")
        said = page.locator(STATUS).inner_text()
        assert said.startswith(("The microphone was not allowed.", "No microphone was found."))
        assert page.get_by_role("button", name="Start").is_visible()
        assert page.locator("figure img").is_visible()


@pytest.mark.browser
def test_a_file_is_heard_to_its_end(browser, address: str) -> None:
    with opened(browser, f"{address}/multi_pitch.html") as page:
        open_panel(page)
        page.get_by_label("a file", exact=True).check()
        button, status = page.get_by_role("button", name="Start"), page.locator(STATUS)
        button.click()
        status.get_by_text("Choose a file first.").wait_for()
        field = page.get_by_label("a sound file")
        field.set_input_files({"name": "a.wav", "mimeType": "audio/wav", "buffer": b"no sound"})
        button.click()
        status.get_by_text("no sound that the browser can read").wait_for()
        sound = sung(2.0)
        field.set_input_files({"name": "a.wav", "mimeType": "audio/wav", "buffer": sound})
        button.click()
        page.wait_for_function(
            "() => { const p = document.querySelector('details').dl101;"
            " return !p.running && p.output.n === 1 + Math.floor(2 * 22050 / 512); }",
            timeout=90_000,
        )
        assert status.inner_text().startswith("Last heard: A3, E4")
        still = "() => document.querySelector('details').dl101.still"
        assert page.evaluate(still)  # this window asks for little motion


@pytest.mark.browser
@pytest.mark.parametrize("viewport", list(VIEWPORTS))
@pytest.mark.parametrize("name", NAMES)
def test_an_open_panel_reads_well(browser, address: str, name: str, viewport: str) -> None:
    with opened(browser, f"{address}/{name}.html", viewport=viewport) as page:
        open_panel(page)
        wrong = gates.structure(page) + gates.width(page)
        for theme, ground, ink in (("light", "#fff", "#222"), ("dark", "#121212", "#ced6dd")):
            page.evaluate(
                "([t, b, c]) => { document.documentElement.dataset.theme = t;"
                " Object.assign(document.body.style, {background: b, color: c}); }",
                [theme, ground, ink],
            )
            wrong += [f"{theme}: {text}" for text in gates.contrast(page)]
        assert not wrong, "\n".join(wrong)


@pytest.mark.browser
def test_nothing_is_loaded_before_it_is_opened(browser, address: str) -> None:
    with opened(browser, f"{address}/multi_pitch.html") as page:
        asked = page.evaluate(
            "() => performance.getEntriesByType('resource').map(r => r.name.split('/').pop())"
        )
        assert not {"panel.js", "multi_pitch.bin", "multi_pitch.mp3"} & set(asked)
        page.on("request", lambda request: asked.append(request.url.rpartition("/")[2]))
        open_panel(page)
        assert {"panel.js", "panel.css", "multi_pitch.json", "multi_pitch.bin"} <= set(asked)
        assert "multi_pitch.mp3" not in asked


@pytest.mark.browser
def test_from_a_file_and_without_scripts_the_example_stays(browser, panels: Path) -> None:
    address = (panels / "multi_pitch.html").as_uri()
    with opened(browser, address) as page:
        page.locator("summary").click()
        page.get_by_text("This page was opened as a file").wait_for()
        assert page.locator("figure img").is_visible() and page.locator("audio").is_visible()
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(address)
    page.locator("summary").click()
    assert page.locator("figure img").is_visible() and page.locator("audio").is_visible()
    context.close()


@pytest.mark.parametrize("page", list(extension().PAGES))
def test_the_book_holds_the_panel(html: Path, page: str) -> None:
    text = (html / f"{page}.html").read_text()
    assert text.count('<details class="dl101-panel"') == 1
    assert (html / "_static" / "panel" / "worker.js").is_file()
