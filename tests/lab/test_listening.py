"""Listening tests as HTML; how they run is tested in a browser (tests/book/test_listening.py)."""

import base64
import io
import json
import re

import numpy as np
import pytest
import soundfile

from dl101.errors import DataError
from dl101.evaluation import listening as analysis
from dl101.evaluation import results
from dl101.lab import listening
from dl101.lab.kit import CALL
from tools.chapters import share

RATE = 22050


def tone(f0_hz=220.0, amplitude=0.1):
    return amplitude * np.sin(2 * np.pi * f0_hz * np.arange(RATE // 2) / RATE)


PAIR = {"low": {"original": tone(), "copy": tone(amplitude=0.001)}}
ITEMS = {
    pitch: {"reference": tone(f), "anchor": tone(f / 2), "a <b>": tone(2 * f)}
    for pitch, f in (("low", 220), ("high", 330))
}
CALLS = {
    "abx": lambda: listening.abx_test(PAIR, RATE, name="t", caption="c", trials=9),
    "acr": lambda: listening.rating_test(ITEMS, RATE, name="t", caption="c"),
    "ccr": lambda: listening.rating_test(ITEMS, RATE, name="t", caption="c", scale="CCR"),
    "mushra": lambda: listening.mushra_test(ITEMS, RATE, name="t", caption="c"),
}


def data_of(html):
    return json.loads(re.search(r'class="dl101-test">(.*?)</script>', html, re.DOTALL)[1])


@pytest.mark.parametrize("kind", CALLS)
def test_sounds_stand_closed_with_their_names_and_match_the_data(kind):
    html = CALLS[kind]().html
    data = data_of(html)
    assert data["kind"] == kind
    labels = re.findall(r'class="dl101-row" data-label="([^"]+)"', html)
    listed = [f"{item}: {c}" for item, sounds in data["items"] for c, _ in sounds]
    assert [label.replace("&lt;", "<").replace("&gt;", ">") for label in labels] == listed
    assert [place for _, sounds in data["items"] for _, place in sounds] == [*range(len(labels))]
    assert html.index("<details") < html.index("<audio") < html.index("</details>")
    page = html.split("<script>")[0]
    assert "<b>" not in page and not re.search(r"https?:", page)


def test_all_sounds_of_a_test_have_one_level():
    found = re.findall(r"data:audio/mpeg;base64,([^\"]+)", CALLS["abx"]().html)
    levels = [
        np.std(soundfile.read(io.BytesIO(base64.b64decode(each)))[0][2000:9000]) for each in found
    ]
    assert levels[1] == pytest.approx(levels[0], rel=0.03)


def test_what_the_page_says_is_computed_in_python():
    data = data_of(CALLS["abx"]().html)
    assert data["p"] == [analysis.binomial_test(k, 9) for k in range(10)]
    assert data["needed"] == 8
    assert data_of(CALLS["mushra"]().html)["t"] == [None, None, results.t_factor(2)]
    assert data_of(CALLS["ccr"]().html)["answers"][0] == ["much better", 3]


def test_columns_are_those_of_the_analysis():
    head = re.search(r"const head = \[(.*?)\]", listening.LISTEN_SCRIPT, re.DOTALL)[1]
    assert tuple(re.findall(r"'(\w+)'", head)) == analysis.COLUMNS


def test_a_saved_page_has_the_scripts_once():
    seen = set()
    first, second = (share(CALLS[kind]().html, seen) for kind in ("abx", "mushra"))
    assert first.count("window.dl101Listen = function") == 1
    assert "dl101Listen" not in second and second.endswith(CALL * 2)
    assert len(second) < len(CALLS["mushra"]().html) - 15_000


def test_plain_text_says_what_it_is(capsys):
    listening.abx(PAIR, RATE, name="noise", caption="Two tones.", trials=3)
    listening.rate(ITEMS, RATE, name="mos", caption="Six tones.", question="How bright?")
    listening.mushra(ITEMS, RATE, name="m", caption="Six tones.")
    out = capsys.readouterr().out
    assert "Listening test 'noise' (abx). 3 trials." in out and "How bright?" in out


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: listening.abx(ITEMS, RATE, name="t", caption="c"), "pair 'low': got 3 sounds"),
        (lambda: listening.abx(PAIR, RATE, name="t", caption="c", trials=0), "trials: got 0"),
        (lambda: listening.abx({}, RATE, name="t", caption="c"), "no sound"),
        (lambda: listening.abx(PAIR, RATE, name=" ", caption="c"), "name"),
        (lambda: listening.abx(PAIR, RATE, name="t", caption=""), "caption"),
        (lambda: listening.rate(PAIR, RATE, name="t", caption="c", scale="MOS"), "ACR, DCR, CCR"),
        (
            lambda: listening.rate(PAIR, RATE, name="t", caption="c", scale="DCR"),
            "item 'low': got original, copy; expected a sound called 'reference'",
        ),
        (
            lambda: listening.mushra(PAIR, RATE, name="t", caption="c", reference="original"),
            "three to nine",
        ),
        (
            lambda: listening.mushra(
                ITEMS | {"x": {"reference": tone(), "b": tone(), "c": tone()}},
                RATE,
                name="t",
                caption="c",
            ),
            "item 'x'",
        ),
    ],
)
def test_tests_that_cannot_be_held_are_refused(call, words):
    with pytest.raises(DataError, match=words):
        call()
