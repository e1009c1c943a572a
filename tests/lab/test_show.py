import base64
import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from matplotlib import pyplot as plt
from PIL import Image

from dl101 import units
from dl101.errors import DataError, ShapeError
from dl101.lab import show
from dl101.repository import BRANCH, REPOSITORY_URL


class Structure(HTMLParser):
    """Collects tags with their attributes, and fails on tags that do not nest."""

    VOID = ("img", "br")

    def __init__(self, html):
        super().__init__()
        self.tags, self.open, self.text = [], [], ""
        self.feed(html)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def test_show_gives_source_and_link():
    rendered = show.source_listing(units.midi_to_hz)
    bundle = rendered._repr_mimebundle_()
    assert set(bundle) == {"text/markdown", "text/plain"}
    code, link = re.fullmatch(
        r"```python\n(.*)\n```\n\n(Source: .*)", bundle["text/markdown"], re.DOTALL
    ).groups()
    lines = open(units.__file__, encoding="utf-8").read().splitlines()
    first, last = map(int, re.search(r"#L(\d+)-L(\d+)\)$", link).groups())
    assert "\n".join(lines[first - 1 : last]) == code
    assert f"({REPOSITORY_URL}/blob/{BRANCH}/dl101/units.py#L{first}-L{last})" in link
    assert units.__file__ not in bundle["text/markdown"] + bundle["text/plain"]


def test_show_dedents_and_fences_longer_than_the_source():
    class Inner:
        def method(self):
            """```fence```."""

    markdown = show.source_listing(Inner.method).markdown
    assert markdown.startswith("````python\ndef method(self):\n")
    assert "Source:" not in markdown  # not a file of the library


@pytest.mark.parametrize(("obj", "words"), [(3, "a int"), (len, "without Python source")])
def test_show_refuses_what_has_no_source(obj, words):
    with pytest.raises(DataError, match=words):
        show.source_listing(obj)


def test_display_outside_a_notebook_prints_text(capsys):
    show.show(units.midi_to_hz)
    assert capsys.readouterr().out.startswith("def midi_to_hz(")


def test_table_is_accessible_and_escaped():
    rows = [["<a>", 12345, 0.5, "<i>"], ["b", None, np.float64(0.25), ""]]
    rendered = show.table(rows, ("name", "n", "score", "note"), caption="A & B")
    page = Structure(rendered.html)
    scopes = [attrs.get("scope") for tag, attrs in page.tags if tag == "th"]
    assert scopes == ["col"] * 4 + ["row"] * 2
    assert [tag for tag, _ in page.tags].count("caption") == 1
    assert "A &amp; B" in rendered.html
    assert "<a>" not in rendered.html
    assert "<i>" not in rendered.html
    assert rendered.text.splitlines() == [
        "A & B",
        "name       n  score  note",
        "----  ------  -----  ----",
        "<a>   12,345  0.500  <i>",
        "b          –  0.250",
    ]


def test_table_refuses_ragged_rows():
    with pytest.raises(DataError, match=r"row 1 of the table 'T'.*1 cells"):
        show.table([[1, 2], [1]], ("a", "b"), caption="T")


def test_shape_rows_of_any_module():
    from torch import nn

    shared = nn.Conv1d(4, 4, 3, padding=1)
    network = nn.Sequential(nn.Conv1d(1, 4, 5), nn.ReLU(), shared, shared, nn.Flatten())
    rows = show.layer_rows(network, (1, 20))
    assert [row.type for row in rows] == ["Conv1d", "ReLU", "Conv1d", "Conv1d", "Flatten"]
    assert [row.output_shape for row in rows] == [(4, 16)] * 4 + [(64,)]
    assert [row.parameters for row in rows] == [24, 0, 52, 0, 0]
    assert next(network.parameters()).device.type == "cpu"  # the network itself is left alone


def test_shape_table_of_a_factory_network(capsys):
    from dl101.nn.factory import build_model

    layers = [["Conv2d", {"in_channels": -1, "out_channels": 2, "kernel_size": [1, 1]}]]
    spec = {"name": "tiny", "block_l": [{"sequential_l": [{"layer_l": layers}]}]}
    network = build_model(spec, (6, 10, 8))
    show.shape_table(network, (6, 10, 8))
    text = capsys.readouterr().out
    assert "14 parameters and 960 multiply-adds in all" in text
    assert "2 × 10 × 8" in text
    assert "Conv2d" in text
    show.shape_table(network, (6, 10, 99))  # another length than it was built for
    assert "2 × 10 × 99" in capsys.readouterr().out


def test_shape_table_tells_costs_and_receptive_fields(monkeypatch):
    from torch import nn

    shown = []
    monkeypatch.setattr(show.Rendered, "display", lambda self: shown.append(self.text))
    network = nn.Sequential(nn.Conv1d(1, 4, 221, stride=10), nn.ReLU(), nn.Conv1d(4, 2, 23))
    show.shape_table(network, (1, 2000), sample_rate=22050)
    show.shape_table(network, (1, 2000), sample_rate=22050, hop_samples=512)
    show.shape_table(nn.Linear(3, 2), (3,))
    samples, frames, none = (text.splitlines() for text in shown)
    head = "place layer output shape parameters multiply-adds receptive field (samples) (ms)"
    assert samples[1].split() == head.split()
    assert samples[4].split()[-2:] == ["221", "10"]
    assert samples[6].split() == "2 Conv1d 2 × 156 186 28,704 441 20".split()
    assert "(frames)" in frames[1]
    assert frames[6].split()[-1] == "10,240"
    assert "receptive" not in none[0] + none[1]


def test_shape_table_along_frequency_too_is_narrow(monkeypatch):
    from dl101.nn.factory import build_model

    shown = []
    monkeypatch.setattr(show.Rendered, "display", lambda self: shown.append(self.text))
    layers = [
        ["Conv2d", {"in_channels": -1, "out_channels": 2, "kernel_size": [5, 3], "dilation": 2}],
        ["Activation", "ReLU"],
        ["MaxPool2d", {"kernel_size": [1, 2]}],
        ["Conv2d", {"in_channels": -1, "out_channels": 1, "kernel_size": [9, 3]}],
    ]
    spec = {"name": "tiny", "block_l": [{"sequential_l": [{"layer_l": layers}]}]}
    network = build_model(spec, (6, 200, 64))
    show.shape_table(network, (6, 200, 64), sample_rate=22050, hop_samples=512, frequency_axis=-2)
    lines = shown[0].splitlines()
    assert "10 frames are 232 ms" in lines[0]
    seen = [line.split()[-1] for line in lines[3:-1]]
    assert seen == ["1×1", "9×5", "9×5", "9×6", "17×10"]
    assert lines[4].split()[:2] == ["1.1.1", "Conv2d"] and lines[5].split()[:2] == ["1.1.2", "ReLU"]
    assert max(map(len, lines[1:])) <= 60  # characters: the book's column, and a phone's in small


def test_shape_table_refuses_a_wrong_shape():
    from torch import nn

    with pytest.raises(ShapeError, match="an input of 3 × 20"):
        show.layer_rows(nn.Conv1d(1, 4, 5), (3, 20))


def drawing():
    fig, ax = plt.subplots(figsize=(5, 3))
    ax.plot([0, 1], [0, 1])
    return fig


def decoded(html):
    return base64.b64decode(re.search(r"data:image/webp;base64,([^\"]+)", html).group(1))


def test_figure_has_alternative_text_and_caption():
    rendered = show.picture(drawing(), 'A "line" rises', "Figure <1>")
    page = Structure(rendered.html)
    (image,) = [attrs for tag, attrs in page.tags if tag == "img"]
    assert image["alt"] == 'A "line" rises'
    assert "Figure <1>" in page.text
    plt.close("all")


def test_figure_is_deterministic_and_says_no_version():
    first, second = (decoded(show.picture(drawing(), "a", "c").html) for _ in range(2))
    assert first == second
    assert not Image.open(io.BytesIO(first)).info.keys() & {"exif", "xmp", "icc_profile"}
    assert b"matplotlib" not in first.lower()
    plt.close("all")


def test_a_drawing_is_sharp_and_light_on_the_page():
    """More pixels than the page shows, for screens with small dots, as it costs little."""
    html = show.picture(drawing(), "a", "c").html
    data = decoded(html)
    width_px = int(re.search(r"width:(\d+)px", html).group(1))
    assert Image.open(io.BytesIO(data)).width == pytest.approx(1.5 * width_px, abs=2)
    assert len(data) < 10_000
    plt.close("all")


def test_figure_stays_small():
    fig, ax = plt.subplots(figsize=(9, 5))
    ax.imshow(np.random.default_rng(0).random((360, 900)), aspect="auto")
    assert len(show.picture(fig, "noise", "Noise").html) < 80_000
    plt.close("all")


def fill(ax):
    ax.fill_between([0, 1], [1, 2], color="red")


@pytest.mark.parametrize(
    ("draw", "inverts"),
    [
        (lambda ax: ax.plot([0, 1]), True),
        (fill, True),
        (lambda ax: ax.imshow([[0, 1]]), False),
        (lambda ax: ax.pcolormesh([[0, 1]]), False),
    ],
)
def test_dark_pages_invert_drawings_and_no_values(draw, inverts):
    """A dark value of an image stays dark, whatever the page."""
    fig, (_, ax) = plt.subplots(1, 2)
    draw(ax)
    html = show.picture(fig, "a", "c").html.removeprefix(show.STYLE)
    assert ("dl101-drawing" in html) == inverts
    plt.close("all")


@pytest.mark.parametrize(("alt", "caption"), [(" ", "c"), ("a", "")])
def test_figure_needs_its_texts(alt, caption):
    with pytest.raises(DataError, match="figure_with_alt"):
        show.picture(drawing(), alt, caption)
    plt.close("all")


def test_figure_is_closed_after_display():
    fig = drawing()
    show.figure_with_alt(fig, "a", "c")
    assert not plt.fignum_exists(fig.number)
