"""The lab kit in a browser: on a page of the book, with the keyboard, and without scripts."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from matplotlib import pyplot as plt

from dl101.lab.explore import LIMIT_BYTES, Control, Exploration
from dl101.lab.player import audio_elements
from dl101.lab.quiz import form
from dl101.lab.show import Rendered
from tests.book import gates
from tests.book.conftest import VIEWPORTS, one_page, opened
from tools.chapters import share

pytestmark = pytest.mark.browser
RATE = 22050
PITCHES_HZ = {220: "low", 440: "high"}


def tone(f0_hz: float, duration_s: float = 3.0) -> np.ndarray:
    """Return a sine."""
    return np.sin(2 * np.pi * f0_hz * np.arange(round(duration_s * RATE)) / RATE)


def spectrum(f0_hz: int, colour: str) -> tuple:
    """Draw one state: a peak at the pitch, and its sound beside one that stays."""
    fig, ax = plt.subplots(figsize=(7, 2.5), layout="constrained")
    ax.axvline(f0_hz, color=colour, linewidth=8)
    ax.set(xlim=(0, 1000), xlabel="frequency (Hz)")
    return fig, {"tone": tone(f0_hz), "reference": tone(330)}, RATE


def exploration(*, live: bool = False) -> Rendered:
    """Return a figure of six states, with sounds."""
    controls = {"f0_hz": Control([110, 220, 440], unit="Hz", label="pitch", start=220)}
    controls["colour"] = ["blue", "red"]
    caption = "The peak moves with the pitch."
    alt = "A {colour} peak at {f0_hz}."
    return Exploration(spectrum, caption, alt, True, LIMIT_BYTES, controls).rendered(live=live)


def players() -> list[Rendered]:
    """Return the other outputs of the page."""
    sounds = {"low": tone(220), "high": tone(440), "middle": tone(330)}
    question = "How many samples has a second?"
    answers = {"8": "That is the number of bits.", "22,050": "The sampling rate says so."}
    return [
        audio_elements(sounds, RATE, caption="Hear three tones.", spectrogram=True),
        form(question, answers, right="22,050"),
    ]


@pytest.fixture(scope="session")
def kit_page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Build a book of one page with the book's settings, serve it, and yield the address."""
    with one_page([exploration(), *players()], tmp_path_factory.mktemp("kit")) as address:
        yield address


# Every start and stop of a sound, on the clock of the audio hardware, with its pitch.
LISTEN = """() => {
  window.heard = [];
  const start = AudioBufferSourceNode.prototype.start;
  const stop = AudioScheduledSourceNode.prototype.stop;
  AudioBufferSourceNode.prototype.start = function (at, from) {
    const samples = this.buffer.getChannelData(0);
    let crossings = 0, power = 0;
    for (let i = 1; i < samples.length; i++) {
      crossings += samples[i - 1] < 0 && samples[i] >= 0;
      power += samples[i] * samples[i];
    }
    this.note = {at, from, stopped: null, hz: crossings / this.buffer.duration,
      rms: Math.sqrt(power / samples.length)};
    window.heard.push(this.note);
    return start.call(this, at, from);
  };
  AudioScheduledSourceNode.prototype.stop = function (at) {
    if (this.note) this.note.stopped = at;
    return stop.call(this, at);
  };
}"""
EXPLORE, PLAYER, QUIZ = ".dl101-explore", ".dl101-player", ".dl101-quiz"
STATE = "selector => document.querySelector(selector).dl101.deck.state()"
IS_PAST = "([selector, s]) => document.querySelector(selector).dl101.deck.state().positionS > s"
PAUSED = "selector => !document.querySelector(selector).dl101.deck.state().playing"


def play(page, figure: str, until_s: float = 0.3) -> None:
    """Start the sound of a figure by keyboard and wait until it has got somewhere."""
    page.locator(f"{figure} button").focus()
    page.keyboard.press("Enter")
    page.wait_for_function(IS_PAST, arg=[figure, until_s])


def test_a_slider_changes_picture_text_and_sound(browser, kit_page: str) -> None:
    with opened(browser, kit_page) as page:
        page.evaluate(LISTEN)
        image, slider = page.locator(f"{EXPLORE} img"), page.get_by_role("slider", name="pitch")
        before = image.screenshot()
        source = image.get_attribute("src")
        assert image.get_attribute("alt") == "A blue peak at 220 Hz."
        assert slider.get_attribute("aria-valuetext") == "220 Hz"
        play(page, EXPLORE)
        slider.focus()
        page.keyboard.press("ArrowRight")
        assert image.get_attribute("alt") == "A blue peak at 440 Hz."
        assert slider.get_attribute("aria-valuetext") == "440 Hz"
        assert page.locator(f"{EXPLORE} [role=status]").text_content() == "A blue peak at 440 Hz."
        assert image.get_attribute("src") != source
        assert image.screenshot() != before
        page.wait_for_function("() => window.heard.length === 2")
        first, second = page.evaluate("() => window.heard")
        assert [round(each["hz"], -1) for each in (first, second)] == [220, 440]
        assert second["rms"] == pytest.approx(0.1, rel=0.2)
        assert second["from"] == pytest.approx(first["from"] + second["at"] - first["at"], abs=0.05)

        page.get_by_label("colour").select_option("red")
        assert image.get_attribute("alt") == "A red peak at 440 Hz."
        slider.focus()
        page.keyboard.press("Home")
        page.keyboard.press("Home")
        assert image.get_attribute("alt") == "A red peak at 110 Hz."


def test_every_control_is_reached_by_tab_and_shows_focus(browser, kit_page: str) -> None:
    with opened(browser, kit_page) as page:
        page.get_by_role("slider", name="pitch").focus()
        seen = []
        for _ in range(6):
            seen.append(page.evaluate("() => document.activeElement.outerHTML.slice(0, 120)"))
            width = "() => getComputedStyle(document.activeElement).outlineWidth"
            page.keyboard.press("Shift+Tab")
            page.keyboard.press("Tab")  # focus by keyboard, so that the browser shows it
            assert page.evaluate(width) == "3px", seen[-1]
            page.keyboard.press("Tab")
        kinds = ["range", "<select", "<button", "position", "checkbox", "radio"]
        assert all(kind in each for kind, each in zip(kinds, seen, strict=True)), seen


def test_a_change_of_sound_goes_on_at_the_same_position(browser, kit_page: str) -> None:
    with opened(browser, kit_page) as page:
        page.evaluate(LISTEN)
        play(page, PLAYER)
        page.keyboard.press("2")
        page.wait_for_function("() => window.heard.length === 2")
        assert page.get_by_role("radio", name="high").is_checked()
        page.get_by_role("radio", name="high").focus()
        page.keyboard.press("ArrowRight")
        page.wait_for_function("() => window.heard.length === 3")
        assert page.evaluate(STATE, PLAYER)["chosen"] == 2
        heard = page.evaluate("() => window.heard")
        assert [round(each["hz"], -1) for each in heard] == [220, 440, 330]
        for old, new in itertools.pairwise(heard):
            # one clock: the new one begins where the old one is, while that still sounds
            assert new["from"] == pytest.approx(old["from"] + new["at"] - old["at"], abs=0.005)
            assert 0 <= old["stopped"] - new["at"] < 0.05


def test_the_position_moves_by_keyboard_and_the_cursor_follows(browser, kit_page: str) -> None:
    with opened(browser, kit_page) as page:
        cursor = page.locator(f"{PLAYER} .dl101-cursor").first
        left = cursor.bounding_box()["x"]
        page.locator(f"{PLAYER} [aria-label=position]").focus()
        page.keyboard.press("End")
        picture = page.locator(f"{PLAYER} .dl101-spectrum img").first.bounding_box()
        moved = cursor.bounding_box()["x"] - left
        assert moved == pytest.approx(0.89 * picture["width"], abs=3)
        text = page.locator(f"{PLAYER} [aria-label=position]").get_attribute("aria-valuetext")
        assert text == "3.0 of 3.0 s"
        assert page.locator(f"{PLAYER} .dl101-spectrum:visible").count() == 1
        page.keyboard.press("3")
        shown = page.locator(f"{PLAYER} .dl101-spectrum:visible img")
        assert shown.get_attribute("alt") == "Spectrogram of middle."


def test_one_figure_sounds_at_a_time_and_ends(browser, kit_page: str) -> None:
    with opened(browser, kit_page) as page:
        play(page, EXPLORE)
        play(page, PLAYER)
        silenced = page.evaluate(STATE, EXPLORE)
        assert not silenced["playing"]
        assert 0.3 < silenced["positionS"] < 2  # paused, not at its end
        page.locator(f"{PLAYER} button").click()
        page.wait_for_function(PAUSED, arg=PLAYER)
        stopped_s = page.evaluate(STATE, PLAYER)["positionS"]
        assert stopped_s > 0.3
        play(page, PLAYER, until_s=stopped_s)  # goes on where it was
        page.wait_for_function(PAUSED, arg=PLAYER)
        assert page.evaluate(STATE, PLAYER)["positionS"] == 0


def test_repeat_goes_round(browser, kit_page: str) -> None:
    with opened(browser, kit_page) as page:
        page.locator(f"{PLAYER} [type=checkbox]").check()
        page.locator(f"{PLAYER} [aria-label=position]").fill("2.7")
        play(page, PLAYER, until_s=2.7)
        page.wait_for_function(f"() => ({STATE})('{PLAYER}').positionS < 1")
        assert page.evaluate(STATE, PLAYER)["playing"]


def test_a_question_answers_by_keyboard_and_gives_nothing_away(browser, kit_page: str) -> None:
    with opened(browser, kit_page) as page:
        quiz = page.locator(QUIZ)
        assert "sampling rate" not in quiz.inner_text()
        assert not page.get_by_text("Answers", exact=True).is_visible()
        verdict = quiz.locator("[role=status]")
        quiz.locator("button").click()
        assert verdict.text_content() == "Choose an answer first."
        quiz.locator("input").first.focus()
        page.keyboard.press("Space")
        assert verdict.text_content() == ""
        page.keyboard.press("Enter")
        assert verdict.text_content() == "Not quite. That is the number of bits."
        page.keyboard.press("ArrowDown")
        page.keyboard.press("Enter")
        assert verdict.text_content() == "Right. The sampling rate says so."
        assert page.url == kit_page


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", list(VIEWPORTS))
def test_the_kit_reads_well(browser, kit_page: str, viewport: str, scheme: str) -> None:
    with opened(browser, kit_page, viewport=viewport, scheme=scheme) as page:
        page.locator(f"{QUIZ} input").first.check()
        page.locator(f"{QUIZ} button").click()
        assert gates.structure(page) + gates.contrast(page) + gates.width(page) == []
        assert gates.sliders(page) == []
        for figure in (EXPLORE, PLAYER, QUIZ):
            inside = f"() => {{ const f = document.querySelector('{figure}');"
            assert page.evaluate(inside + "return f.scrollWidth <= f.clientWidth + 1 }"), figure
        for target in page.locator(".dl101-kit button, .dl101-kit label:has(input)").all():
            assert target.bounding_box()["height"] >= 24
        if folder := os.environ.get("DL101_SCREENSHOTS"):
            page.screenshot(path=f"{folder}/kit-{viewport}-{scheme}.png", full_page=True)


def test_sounds_of_the_plain_elements_decode(browser, kit_page: str) -> None:
    with opened(browser, kit_page) as page:
        assert page.locator("audio").count() == 5
        assert gates.sounds(page) == []


def test_without_scripts_a_picture_sounds_and_answers_remain(browser, kit_page: str) -> None:
    context = browser.new_context(java_script_enabled=False)
    try:
        page = context.new_page()
        page.goto(kit_page)
        picture = page.locator(f"{EXPLORE} img")
        assert picture.get_attribute("alt") == "A blue peak at 220 Hz."
        assert picture.bounding_box()["height"] > 150
        assert page.locator(f"{EXPLORE} audio[controls]:visible").count() == 2
        assert page.locator(f"{PLAYER} audio[controls]:visible").count() == 3
        assert page.locator(f"{PLAYER} img:visible").count() == 3
        assert page.locator(".dl101-kit button").count() == 0  # nothing that does nothing
        reason = page.get_by_text("The sampling rate says so.")
        assert not reason.is_visible()
        page.get_by_text("Answers", exact=True).click()
        assert reason.is_visible()
    finally:
        context.close()


def write_page(folder: Path, body: str) -> str:
    """Write a page of its own and return its address."""
    file = folder / "page.html"
    file.write_text(f"<!doctype html><html lang='en'><meta charset='utf-8'><body>{body}</body>")
    return file.as_uri()


def test_widgets_of_a_live_kernel_replace_the_figure(browser, tmp_path: Path) -> None:
    html = exploration(live=True).html
    child = "<div class='jp-OutputArea-child'>{}</div>"
    below = child.format("<div id='below'>Loading widget...</div>")
    with opened(browser, write_page(tmp_path, child.format(html) + below)) as page:
        assert page.locator(EXPLORE).is_visible()
        page.evaluate(
            "token => document.getElementById('below').classList.add(token) ||"
            " document.getElementById('below').append(document.createElement('b'))",
            page.locator(EXPLORE).get_attribute("data-live"),
        )
        page.locator(EXPLORE).wait_for(state="hidden")


def test_a_saved_notebook_hides_the_error_of_its_missing_widgets(browser, tmp_path: Path) -> None:
    html = exploration(live=True).html
    child = "<div class='jp-OutputArea-child'>{}</div>"
    below = child.format("<div id='below'>Loading widget...</div>")
    with opened(browser, write_page(tmp_path, child.format(html) + below)) as page:
        text = "Error displaying widget: model not found"
        page.evaluate("text => document.getElementById('below').textContent = text", text)
        page.locator("#below").wait_for(state="hidden")
        assert page.locator(EXPLORE).is_visible()


def test_the_page_has_the_script_once(browser, kit_page: str) -> None:
    with opened(browser, kit_page) as page:
        assert page.content().count("function startExplore") == 1
        assert page.locator("[data-ready]").count() == 3


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0)])
def test_saved_outputs_work_in_any_order(browser, tmp_path: Path, order: tuple[int, ...]) -> None:
    """Front-ends may insert what was saved in another order, the script last."""
    seen: set[str] = set()
    saved = [share(output.html, seen) for output in (exploration(), *players())]
    assert ["startExplore" in html for html in saved] == [True, False, False]
    with opened(browser, write_page(tmp_path, "".join(saved[i] for i in order))) as page:
        assert page.locator("[data-ready]").count() == 3
        assert page.locator(".dl101-deck button, .dl101-quiz button").count() == 3


@pytest.mark.parametrize("which", range(3))
def test_what_a_kernel_displays_works_alone(browser, tmp_path: Path, which: int) -> None:
    """Colab puts each output into a page of its own."""
    html = (exploration(), *players())[which].html
    with opened(browser, write_page(tmp_path, html)) as page:
        assert page.locator("[data-ready]").count() == 1
        assert page.locator("button").count() == 1


def test_dark_pages_invert_drawings_and_let_their_ground_through(browser, kit_page: str) -> None:
    style = "s => getComputedStyle(document.querySelector(s)).filter"
    for scheme, inverts in (("light", False), ("dark", True)):
        with opened(browser, kit_page, scheme=scheme) as page:
            assert ("invert" in page.evaluate(style, f"{EXPLORE} .dl101-wide")) == inverts
            assert "invert" not in page.evaluate(style, f"{PLAYER} .dl101-spectrum img")


def test_a_picture_scrolls_on_a_phone_and_nothing_else_does(browser, kit_page: str) -> None:
    wide = f"""() => [...document.querySelectorAll('{EXPLORE}, {EXPLORE} .dl101-wide')]
        .map(e => e.scrollWidth > e.clientWidth + 1)"""
    for viewport, scrolls in (("desktop", [False, False]), ("phone", [False, True])):
        with opened(browser, kit_page, viewport=viewport) as page:
            assert page.evaluate(wide) == scrolls
            assert page.locator(f"{EXPLORE} img").bounding_box()["width"] >= 460


def test_outputs_shown_twice_work_once_each(browser, tmp_path: Path) -> None:
    html = players()[0].html
    with opened(browser, write_page(tmp_path, html + html)) as page:
        assert page.locator(".dl101-deck").count() == 2
        page.get_by_role("radio", name="high").nth(1).check()
        assert page.get_by_role("radio", name="low").first.is_checked()
