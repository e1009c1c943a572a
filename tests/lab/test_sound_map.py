"""The map of sounds: what is drawn, what plays, and what is refused."""

from __future__ import annotations

import re

import numpy as np
import pytest

from dl101.errors import DataError
from dl101.lab.sound_map import HEIGHT, WIDTH, render

RATE = 11_025
PLACES = np.array([[0.0, 0.0], [1.0, 2.0], [0.5, 1.0]])
GROUPS = ["a", "b <", "a"]
SOUNDS = {
    0: 0.1 * np.sin(np.arange(5000) / 5),
    1: 0.1 * np.random.default_rng(0).normal(size=5000),
}
TEXTS = {"caption": "Listen to both.", "alt": "Three points."}


def drawn(**changes):
    given = {"labels": {0: "first", 1: 'second "x"'}, **TEXTS, **changes}
    return render(PLACES, GROUPS, SOUNDS, RATE, **given)


def test_each_sound_is_a_button_inside_the_page():
    html = drawn().html
    assert html.count('role="button"') == html.count("<audio ") == len(SOUNDS)
    assert html.count("dl101-mute") == 1 + 1  # one point, and the style
    assert re.findall(r'src="(?!data:audio/mpeg;base64,)', html) == []
    assert "http" not in html and "b &lt;" in html and "&quot;x&quot;" in html
    assert "first" in drawn().text and "Three points." in drawn().text


def test_points_lie_on_the_page_and_up_is_up():
    found = re.findall(r"translate\((\d+) (\d+)\)", drawn().html)[:3]
    (x1, y1), (x0, y0), (x2, y2) = (tuple(map(int, each)) for each in found)
    assert all(0 < x < WIDTH for x in (x0, x1, x2)) and all(0 < y < HEIGHT for y in (y0, y1, y2))
    places = sorted([(x0, y0), (x1, y1), (x2, y2)])
    assert [y for _, y in places] == sorted((y0, y1, y2), reverse=True)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"labels": {0: "first"}}, "a label for each sound"),
        ({"labels": {0: "same", 1: "same"}}, "two that are the same"),
        ({"alt": " "}, "sentence"),
    ],
)
def test_what_does_not_fit_is_refused(changes, said):
    with pytest.raises(DataError, match=said):
        drawn(**changes)
    with pytest.raises(DataError, match="at most 6"):
        render(np.zeros((7, 2)), list("abcdefg"), {0: SOUNDS[0]}, RATE, labels={0: "x"}, **TEXTS)
