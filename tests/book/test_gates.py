"""Each gate of ``gates.py`` finds its fault on a small page, and nothing on a page without it."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest

from dl101.lab.kit import KIT_STYLE, SCRIPT
from tests.book import gates

pytestmark = pytest.mark.browser
DOT = "data:image/svg+xml;base64," + base64.b64encode(
    b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><path d="M0 0h9v9z"/></svg>'
).decode("ascii")


def wav(*, peak: float = 0.5, duration_s: float = 0.2) -> str:
    """Return a tone as the address of a sound."""
    import soundfile

    times_s = np.arange(round(8000 * duration_s)) / 8000
    file = io.BytesIO()
    soundfile.write(file, peak * np.sin(2000 * times_s), 8000, format="WAV")
    return "data:audio/wav;base64," + base64.b64encode(file.getvalue()).decode("ascii")


@pytest.fixture
def shown(windows):
    """Return a function that shows the body of an article."""

    def show(body: str):
        page = windows["phone"].page
        page.goto("about:blank")
        page.set_content(
            f"<html lang=en><body><main class=bd-article><h1>Title</h1>{body}</main></body></html>"
        )
        return page

    return show


GOOD = (
    f'<h2>A</h2><h3>B</h3><figure><img src="{DOT}" alt="A triangle that fills a square.">'
    "<figcaption>A triangle.</figcaption></figure>"
    "<div class=cell_output><table><caption>Two numbers.</caption><tr><td>1</td></tr></table></div>"
    f'<label>speed <input type=range></label><audio aria-label="a tone" src="{wav()}"></audio>'
)
STRUCTURE_FAULTS = {
    "skips a level": "<h2>A</h2><h4>B</h4>",
    "2 headings of level 1": "<h1>Another</h1>",
    "an empty heading": "<h2> </h2>",
    "no alternative text": f'<img src="{DOT}">',
    "a file name": f'<img src="{DOT}" alt="results/figure.png">',
    "says too little": f'<img src="{DOT}" alt="Figure 3">',
    "does not load": '<img src="data:image/png;base64,AAAA" alt="What cannot be seen here.">',
    "without caption": f'<figure><img src="{DOT}" alt="A triangle that fills it."></figure>',
    "picture without caption": (
        f'<div class=cell_output><img src="{DOT}" alt="A triangle that fills it."></div>'
    ),
    "table without caption": "<div class=cell_output><table><tr><td>1</td></tr></table></div>",
    "no alternative text: <svg": "<svg><path d='M0 0'/></svg>",
    "control without label": "<input type=range>",
}


@pytest.mark.parametrize(("word", "body"), STRUCTURE_FAULTS.items(), ids=STRUCTURE_FAULTS)
def test_faults_of_structure_are_named(shown, word, body):
    assert any(word in text for text in gates.structure(shown(GOOD + body)))


def test_a_good_page_passes_every_gate(shown):
    page = shown(GOOD)
    for gate in (gates.structure, gates.contrast, gates.width, gates.rendering, gates.sounds):
        assert gate(page) == [], gate.__name__
    assert gates.sliders(page) == []


@pytest.mark.parametrize(
    "body",
    [
        '<p style="color:#777">Grey on white, 4.48 to 1.</p>',
        '<a href="#" style="color:#3aa0ff">A link</a>',
        '<div style="background:#222"><p style="color:#888">On a dark ground.</p></div>',
        '<p style="opacity:.5">Black that lets half of the ground through.</p>',
        '<p style="color:rgb(0 0 0 / .5)">The same.</p>',
        '<p style="color:color(srgb .5 .5 .5)">Another way to write grey.</p>',
        "<figure><figcaption style='color:#999'>A caption.</figcaption></figure>",
        "<table style='background:#eee'><tr><td style='color:#767676'>1</td></tr></table>",
        '<h2 style="color:#999;font-size:30px">Large, 2.85 to 1</h2>',
    ],
)
def test_texts_that_are_hard_to_read_are_found(shown, body):
    assert len(gates.contrast(shown(body))) == 1


@pytest.mark.parametrize(
    "body",
    [
        '<p style="color:#767676">Grey on white, 4.54 to 1.</p>',
        '<h2 style="color:#888;font-size:30px">Large, 3.5 to 1</h2>',
        '<p style="color:#999;display:none">Not shown.</p>',
        '<div style="background:#000c"><p style="color:#bbb">On a ground mixed from two.</p></div>',
    ],
)
def test_readable_texts_pass(shown, body):
    assert gates.contrast(shown(body)) == []


def test_a_page_wider_than_the_phone_is_found(shown):
    assert "500 px" in gates.width(shown('<div style="width:492px">wide</div>'))[0]
    assert gates.width(shown('<div style="overflow:auto"><p style="width:900px">x</p></div>')) == []


def test_formulas_that_are_not_set_are_found(shown):
    assert "E = mc" in gates.rendering(shown('<span class="math">E = mc</span>'))[0]
    view = '<script type="application/vnd.jupyter.widget-view+json">{}</script>'
    assert gates.rendering(shown(view)) == ["a widget is not drawn"]


@pytest.mark.parametrize(
    ("sound", "word"),
    [
        (wav(peak=1e-4), "silence"),
        (wav(duration_s=0.01), "a sound of 0.01"),
        ("data:audio/wav;base64,AAAA", "does not decode"),
    ],
)
def test_faulty_sounds_are_found(shown, sound, word):
    element = f'<audio aria-label="a tone" src="{sound}"></audio>'
    assert word in gates.sounds(shown(element))[0]
    behind = f'<script type="application/json" class="dl101-states">{{"audio": ["{sound}"]}}'
    assert word in gates.sounds(shown(f"<figure>{behind}</script></figure>"))[0]


def test_silence_that_is_announced_is_accepted(shown):
    assert gates.sounds(shown(f'<audio aria-label="silent" src="{wav(peak=0)}"></audio>')) == []


def explore(states: str, attributes: str = "") -> str:
    """Return an interactive figure of the kit with two states."""
    other = base64.b64encode(
        b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><path d="M9 0h9v9z"/></svg>'
    ).decode("ascii")
    second = f"data:image/svg+xml;base64,{other}" if states == "two" else ""
    data = (
        '{"controls":[{"name":"a","label":"speed","texts":["1","2"],"start":0,"choice":false}],'
        f'"alt":"At {{a}}.","picture":[0,1],"pictures":["","{second}"],"sounds":[],"audio":[],'
        '"duration_s":0}'
    )
    return (
        f'{KIT_STYLE}<figure class="dl101 dl101-kit dl101-explore" aria-label="Speeds">'
        f'<img src="{DOT}" alt="At 1."><figcaption>Speeds.</figcaption>'
        f'<script type="application/json" class="dl101-states">{data}</script></figure>'
        f"{SCRIPT}{attributes}"
    )


def test_a_slider_that_changes_the_picture_passes(shown):
    assert gates.sliders(shown(explore("two"))) == []


@pytest.mark.parametrize(
    ("body", "word"),
    [
        (explore("one"), "picture and sound stay"),
        (explore("two", "<script>document.querySelector('input').disabled=true</script>"), "focus"),
        (
            explore(
                "two",
                "<script>document.querySelector('figure').addEventListener("
                "'keydown', e => e.preventDefault())</script>",
            ),
            "nothing moves",
        ),
        (explore("two").replace(SCRIPT, ""), "without controls"),
    ],
)
def test_a_slider_that_does_nothing_is_found(shown, body, word):
    assert word in gates.sliders(shown(body))[0]


def test_a_visit_fails_on_errors_and_on_requests(windows, tmp_path):
    """What the tab notes by itself: scripts, console, requests that fail or leave the machine."""
    window = windows["desktop"]
    faults = {
        "script: ": "<script>undefined_name()</script>",
        "console: ": "<script>console.error('x')</script>",
        "failed request": '<img src="missing.png">',
        "request to elsewhere": '<img src="http://127.0.0.1:9/pixel.png">',
    }
    for word, body in faults.items():
        (tmp_path / "page.html").write_text(f"<h1>Title</h1>{body}")
        with pytest.raises(AssertionError, match=word):
            with window.visit((tmp_path / "page.html").as_uri()):
                pass
    (tmp_path / "page.html").write_text("<h1>Title</h1>")
    with window.visit((tmp_path / "page.html").as_uri()):
        pass
