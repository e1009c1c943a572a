"""Listening tests in a browser: by keyboard, in random order, on a phone, and without scripts."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest
import scipy.stats

from dl101.evaluation import listening as analysis
from dl101.lab import listening
from dl101.lab.player import audio_elements
from tests.book import gates
from tests.book.conftest import VIEWPORTS, one_page, opened

pytestmark = pytest.mark.browser
RATE = 22050


def tone(f0_hz: float, duration_s: float = 2.0) -> np.ndarray:
    return np.sin(2 * np.pi * f0_hz * np.arange(round(duration_s * RATE)) / RATE)


PAIRS = {
    "low": {"plain": tone(220), 'odd, "loud"': tone(225)},
    "high": {"plain": tone(440), 'odd, "loud"': tone(450)},
}
ITEMS = {
    name: {"reference": tone(f), "anchor": tone(f / 2), "system": tone(1.01 * f)}
    for name, f in (("one", 300), ("two", 500), ("three", 700))
}
NAMES = {"abx": "abx test", "mos": "mos", "ccr": "ccr", "mushra": "mushra"}


@pytest.fixture(scope="session")
def tests_page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Serve a page of the book with a player and one test of each kind."""
    say = {"caption": "Compare the tones."}
    outputs = [
        audio_elements({"a": tone(220, 3.0)}, RATE, caption="A tone."),
        listening.abx_test(PAIRS, RATE, name=NAMES["abx"], trials=4, **say),
        listening.rating_test(ITEMS, RATE, name=NAMES["mos"], **say),
        listening.rating_test(ITEMS, RATE, name=NAMES["ccr"], scale="CCR", **say),
        listening.mushra_test(ITEMS, RATE, name=NAMES["mushra"], **say),
    ]
    with one_page(outputs, tmp_path_factory.mktemp("listening")) as address:
        yield address


def figure_of(page, kind: str):
    return page.locator(".dl101-listen").nth(list(NAMES).index(kind))


def hear_all(page, figure) -> int:
    """Play every sound of the page by its key; return how many there are."""
    n = figure.locator("button[aria-label^=Play]").count()
    for i in range(n):
        page.keyboard.press(str(i + 1))
        assert figure.locator("[data-playing]").count() == 1
    return n


def begin(page, kind: str):
    """Start a test by keyboard; its head has the focus then."""
    figure = figure_of(page, kind)
    figure.get_by_role("button", name="Start the test").focus()
    page.keyboard.press("Enter")
    focused = page.evaluate("() => document.activeElement.textContent")
    assert focused.startswith(("Trial 1 of", "Page 1 of"))
    return figure


def go_on(page, figure) -> None:
    figure.locator(".dl101-panel > button").last.focus()
    page.keyboard.press("Enter")


def table(figure) -> list[analysis.Answer]:
    return analysis.read_answers(figure.locator("textarea").input_value())


def truth(figure) -> dict:
    """What the present page hides."""
    return figure.evaluate(
        "f => f.dl101.pages()[Number(f.querySelector('.dl101-head').textContent.split(' ')[1]) - 1]"
    )


def run_abx(page, right: int) -> list[analysis.Answer]:
    figure = begin(page, "abx")
    for trial in range(4):
        assert hear_all(page, figure) == 3
        x = truth(figure)["x"]
        choice = x if trial < right else 1 - x
        figure.locator("input[type=radio]").nth(choice).focus()
        page.keyboard.press("Space")
        go_on(page, figure)
    return figure


def test_abx_by_keyboard_with_its_table_and_its_p_value(browser, tests_page: str) -> None:
    with opened(browser, tests_page) as page:
        figure = run_abx(page, right=3)
        answers = table(figure)
        assert [each.trial for each in answers] == [1, 2, 3, 4]
        assert Counter(each.item for each in answers) == {"low": 2, "high": 2}
        assert {each.condition for each in answers} <= {"plain", 'odd, "loud"'}
        found = analysis.abx_result(answers)
        assert (found.n_right, found.n_trials) == (3, 4)
        for each in answers:
            assert each.right == (each.answer == "AB".index(each.place))
        chance = scipy.stats.binomtest(3, 4, alternative="greater").pvalue
        assert "right in 3 of 4 trials. By guessing, so many or more are right with a " in (
            text := figure.inner_text()
        )
        assert f"probability of {100 * chance:.0f} %" in text
        assert "So few trials cannot show a difference." in text
        link = figure.get_by_role("link", name="Download the table")
        assert link.get_attribute("download").startswith("abx-test-L")
        with page.expect_download() as download:
            link.click()
        assert download.value.path().read_text() == figure.locator("textarea").input_value()


def test_orders_are_drawn_anew(browser, tests_page: str) -> None:
    with opened(browser, tests_page) as page:
        draw = "f => Array.from({length: 200}, () => f.dl101.draw())"
        drawn = figure_of(page, "abx").evaluate(draw)
        assert len({str(pages) for pages in drawn}) > 100  # of 4 * 4 ** 4
        every = [each for pages in drawn for each in pages]
        assert 320 < sum(each["x"] for each in every) < 480  # X is A as often as B
        assert 320 < sum(each["hidden"] == "plain" for each in every) < 480
        assert 320 < sum((each["hidden"] == "plain") == (each["x"] == 0) for each in every) < 480
        for each in every:
            (a, b, x) = each["sounds"]
            assert [a[0], b[0], x[0]] == ["A", "B", "X"]
            assert x[1] == (a, b)[each["x"]][1] and a[1] != b[1]
        places = [
            [condition for condition, _ in each["hidden"]].index("reference")
            for pages in figure_of(page, "mushra").evaluate(draw)
            for each in pages
        ]
        assert all(140 < places.count(place) < 260 for place in range(3))
        for kind in ("mos", "ccr"):
            first = [pages[0]["condition"] for pages in figure_of(page, kind).evaluate(draw)]
            assert all(35 < first.count(c) < 105 for c in ("reference", "anchor", "system"))


def test_nothing_is_skipped(browser, tests_page: str) -> None:
    with opened(browser, tests_page) as page:
        figure = begin(page, "mos")
        message = figure.locator(".dl101-message")
        go_on(page, figure)
        assert message.text_content() == "Listen first: Sound."
        hear_all(page, figure)
        go_on(page, figure)
        assert message.text_content() == "Answer first."
        figure.get_by_label("good", exact=True).check()
        go_on(page, figure)
        assert figure.locator(".dl101-head").text_content() == "Trial 2 of 9"
        assert figure.locator("input:checked").count() == 0
        assert figure.locator("textarea").count() == 0
        assert not figure.locator(".dl101-sounds").is_visible()  # names are hidden meanwhile


def test_ratings_are_averaged_as_the_library_does(browser, tests_page: str) -> None:
    with opened(browser, tests_page) as page:
        figure = begin(page, "mos")
        given = {"reference": "excellent", "anchor": "bad", "system": "fair"}
        for trial in range(9):
            hear_all(page, figure)
            now = truth(figure)
            word = "good" if now["item"] == "two" else given[now["condition"]]
            figure.get_by_label(word, exact=True).check()
            go_on(page, figure)
            assert trial < 8 or figure.get_by_text("Done.").is_visible()
        answers = table(figure)
        found = analysis.rating_intervals(answers)
        assert found["anchor"].mean == 2
        lines = [row.inner_text().split("\t") for row in figure.locator("tbody tr").all()]
        assert [line[0] for line in lines] == ["reference", "system", "anchor"]
        for name, mean, half, n in lines:
            interval = found[name]
            assert float(mean) == pytest.approx(interval.mean, abs=0.005)
            assert float(half) == pytest.approx(interval.high - interval.mean, abs=0.006)
            assert int(n) == 3
        assert figure.locator(".dl101-sounds").is_visible()


def test_comparisons_are_turned_towards_the_condition(browser, tests_page: str) -> None:
    with opened(browser, tests_page) as page:
        figure = begin(page, "ccr")
        order = set()
        for _ in range(9):
            assert hear_all(page, figure) == 2
            now = truth(figure)
            order.add(now["first"])
            # the condition is a little better than the reference, wherever it stands
            word = "slightly worse" if now["first"] else "slightly better"
            figure.get_by_label(word, exact=True).check()
            go_on(page, figure)
        answers = table(figure)
        assert [each.answer for each in answers] == [1.0] * 9
        assert len(order) == 2 or len({each.place for each in answers}) == 1


def test_mushra_hides_the_reference_and_takes_sliders(browser, tests_page: str) -> None:
    with opened(browser, tests_page) as page:
        figure = begin(page, "mushra")
        value = {"reference": 100, "anchor": 10, "system": 60}
        for _ in range(3):
            assert hear_all(page, figure) == 4
            hidden = [condition for condition, _ in truth(figure)["hidden"]]
            assert set(hidden) == set(value)
            go_on(page, figure)
            assert figure.locator(".dl101-message").text_content() == "Answer first."
            for slider, condition in zip(figure.get_by_role("slider").all(), hidden, strict=True):
                assert slider.get_attribute("aria-valuetext") == "not rated"
                slider.focus()
                page.keyboard.press("End" if condition == "reference" else "Home")
                for _ in range(0 if condition == "reference" else value[condition] // 10):
                    page.keyboard.press("PageUp")
            go_on(page, figure)
        answers = table(figure)
        assert len(answers) == 9
        means = {c: found.mean for c, found in analysis.rating_intervals(answers).items()}
        assert means == pytest.approx(value, abs=1)
        assert analysis.post_screened(answers)[1] == []


def test_one_listener_takes_several_tests(browser, tests_page: str) -> None:
    with opened(browser, tests_page) as page:
        first = {each.listener for each in table(run_abx(page, right=2))}
        figure_of(page, "abx").get_by_role("button", name="Start again").click()
        assert figure_of(page, "abx").locator(".dl101-head").text_content() == "Trial 1 of 4"
        assert len(first) == 1 and next(iter(first)).startswith("L")


def test_a_test_and_a_player_do_not_sound_together(browser, tests_page: str) -> None:
    with opened(browser, tests_page) as page:
        player = page.locator(".dl101-player")
        player.get_by_role("button", name="Play").click()
        page.wait_for_function(
            "() => document.querySelector('.dl101-player').dl101.deck.state().playing"
        )
        figure = begin(page, "mos")
        page.keyboard.press("1")
        page.wait_for_function(
            "() => !document.querySelector('.dl101-player').dl101.deck.state().playing"
        )
        player.get_by_role("button", name="Play").click()
        page.wait_for_function("() => !document.querySelector('.dl101-listen [data-playing]')")
        assert figure.locator("[data-playing]").count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", list(VIEWPORTS))
def test_tests_read_well(browser, tests_page: str, viewport: str, scheme: str) -> None:
    with opened(browser, tests_page, viewport=viewport, scheme=scheme) as page:
        run_abx(page, right=4)
        for kind in ("mos", "ccr", "mushra"):
            hear_all(page, begin(page, kind))
        assert gates.structure(page) + gates.contrast(page) + gates.width(page) == []
        for figure in page.locator(".dl101-listen").all():
            assert figure.evaluate("f => f.scrollWidth <= f.clientWidth + 1")
        for target in page.locator(
            ".dl101-panel :is(button, label:has(input), [type=range])"
        ).all():
            assert target.bounding_box()["height"] >= 24
        if folder := os.environ.get("DL101_SCREENSHOTS"):
            page.screenshot(path=f"{folder}/listening-{viewport}-{scheme}.png", full_page=True)


def test_without_scripts_the_sounds_remain(browser, tests_page: str) -> None:
    context = browser.new_context(java_script_enabled=False)
    try:
        page = context.new_page()
        page.goto(tests_page)
        assert page.locator(".dl101-listen button").count() == 0
        figure = page.locator(".dl101-listen").first
        assert figure.locator("audio:visible").count() == 0
        figure.get_by_text("The sounds, with their names").click()
        assert figure.locator("audio:visible").count() == 4
    finally:
        context.close()
