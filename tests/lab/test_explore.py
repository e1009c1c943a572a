"""The form without kernel, read from its HTML; the widgets; the limits."""

from __future__ import annotations

import base64
import io
import json
import re
import sys
import types

import numpy as np
import pytest
import soundfile
from matplotlib import pyplot as plt
from PIL import Image

from dl101.errors import DataError
from dl101.lab import explore as module
from dl101.lab.explore import LIMIT_BYTES, Control, Exploration, explore, has_front_end
from dl101.lab.player import active_level

RATE = 22050
SIZES = Control([256, 512, 1024], unit="samples", label="window length", start=512)


def tone(f0_hz, duration_s=0.5):
    return np.sin(2 * np.pi * f0_hz * np.arange(round(duration_s * RATE)) / RATE)


def bars(window, shape="round"):
    fig, ax = plt.subplots(figsize=(4, 2))
    ax.bar([shape], [window], width=0.4 if shape == "round" else 0.8)
    ax.set_ylim(0, 1100)
    return fig


def with_sounds(window, shape="round"):
    return bars(window, shape), {"tone": tone(window), "always": 0.1 * tone(300)}, RATE


def made(render=bars, *, caption="Bars.", alt="A bar.", match=True, limit=LIMIT_BYTES, **controls):
    return Exploration(render, caption, alt, match, limit, controls or {"window": SIZES})


def states_of(html):
    return json.loads(re.search(r'class="dl101-states">(.*?)</script>', html, re.DOTALL).group(1))


def picture(uri):
    return Image.open(io.BytesIO(base64.b64decode(uri.removeprefix("data:image/webp;base64,"))))


def sound(uri):
    return soundfile.read(io.BytesIO(base64.b64decode(uri.removeprefix("data:audio/mpeg;base64,"))))


def stills(html):
    """Return the addresses of the picture and the sounds that need no script."""
    html = re.sub(r"<script.*?</script>", "", html, flags=re.DOTALL)
    (image,) = re.findall(r'<img src="([^"]+)"', html)
    return image, re.findall(r'<audio controls [^>]*src="([^"]+)"', html)


def test_every_state_has_its_picture():
    html = made(window=SIZES, shape=["round", "square"]).rendered().html
    states = states_of(html)
    assert [control["name"] for control in states["controls"]] == ["window", "shape"]
    assert states["controls"][0]["texts"] == ["256 samples", "512 samples", "1024 samples"]
    assert states["controls"][0]["label"] == "window length"
    assert [control["start"] for control in states["controls"]] == [1, 0]
    assert [control["choice"] for control in states["controls"]] == [False, True]
    assert sorted(states["picture"]) == list(range(6))
    assert states["picture"][2] == 0  # the state shown first is in the element, not here
    assert states["pictures"].count("") == 1
    heights = []
    pictures = [picture(uri or stills(html)[0]) for uri in states["pictures"]]
    for index in states["picture"]:
        blue = np.asarray(pictures[index].convert("RGB")).astype(int)
        columns = ((blue[..., 2] - blue[..., 0]) > 60).sum(axis=0)
        heights.append(int(columns.max()))
    assert heights[0] < heights[2] < heights[4]
    assert heights[::2] == pytest.approx(heights[1::2], abs=2)


def test_equal_pictures_and_sounds_travel_once():
    def render(window, volume):
        return bars(window), {"tone": volume * tone(window), "always": tone(300)}, RATE

    html = made(render, window=SIZES, volume=[1, 0.5]).rendered().html
    states = states_of(html)
    assert len(states["pictures"]) == 3
    assert len(states["audio"]) == 4  # levels are matched, so the volume makes no difference
    assert states["picture"] == [1, 1, 0, 0, 2, 2]
    assert states["duration_s"] == pytest.approx(0.5)


def test_sounds_follow_the_state_at_one_level():
    html = made(with_sounds).rendered().html
    states = states_of(html)
    audio = [uri or stills(html)[1][i] for i, uri in enumerate(states["audio"])]
    heard = [[sound(audio[i])[0] for i in of] for of in states["sounds"]]
    for window, samples in zip(SIZES.values, heard[0], strict=True):
        spectrum = np.abs(np.fft.rfft(samples))
        assert np.argmax(spectrum) * RATE / samples.size == pytest.approx(window, abs=3)
    levels = [active_level(samples, RATE) for of in heard for samples in of]
    assert levels == pytest.approx([levels[0]] * 6, rel=0.05)


def test_levels_are_kept_when_asked_for():
    def render(level):
        return bars(256), {"tone": level * tone(440)}, RATE

    html = made(render, match=False, level=[1.0, 0.1]).rendered().html
    audio = [uri or stills(html)[1][0] for uri in states_of(html)["audio"]]
    loud, soft = (active_level(sound(uri)[0], RATE) for uri in audio)
    assert loud / soft == pytest.approx(10, rel=0.1)


def test_what_stays_without_scripts_is_the_state_shown_first():
    text = "{window} and {shape}"
    figure = made(with_sounds, alt=text, caption="<b>", window=SIZES, shape=["round", "square"])
    rendered = figure.rendered()
    image, audio = stills(rendered.html)
    assert picture(image).size[0] > 300
    assert len(audio) == 2
    assert 'alt="512 samples and round"' in rendered.html
    assert "<figcaption>&lt;b&gt;</figcaption>" in rendered.html
    assert rendered.text.splitlines() == [
        "Figure: <b>",
        "512 samples and round",
        "window length: 256, 512, 1024 samples",
        "shape: round, square",
        "Sounds: tone, always",
    ]


def test_nothing_is_requested_and_no_script_is_closed_early():
    html = made(alt="A bar </script> of {window}.").rendered().html
    assert not re.search(r"https?:|src=\"(?!data:)", html)
    assert states_of(html)["alt"] == "A bar </script> of {window}."
    assert html.count("<script") == html.count("</script") == 2


def test_same_call_gives_same_bytes():
    first, second = (made(with_sounds).rendered().html for _ in range(2))
    assert first == second


def noise(seed):
    fig, ax = plt.subplots(figsize=(3, 2))
    ax.imshow(np.random.default_rng(seed).random((150, 300)), aspect="auto", cmap="magma")
    return fig


def test_quality_goes_down_until_it_fits():
    fine = made(noise, seed=[1, 2]).rendered().html
    shared = len(module.KIT_STYLE) + len(module.SCRIPT)
    coarse = made(noise, limit=30_000, seed=[1, 2]).rendered().html
    assert 40_000 < len(fine) <= LIMIT_BYTES
    assert 20_000 < len(coarse) - shared <= 30_000
    assert picture(stills(coarse)[0]).size < picture(stills(fine)[0]).size
    width = r'style="width:(\d+)px'
    assert re.search(width, coarse).group(1) == re.search(width, fine).group(1) == "288"


def test_what_cannot_fit_is_refused_with_advice():
    with pytest.raises(DataError, match=r"5 states that weigh \d+ kB.*at most 30 kB.*fewer"):
        made(noise, limit=30_000, seed=range(5)).rendered()


def test_figures_do_not_stay_open():
    already = plt.get_fignums()  # of other tests
    made().rendered()
    assert plt.get_fignums() == already


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Exploration(bars, "c", "a", True, LIMIT_BYTES, {}), "no control"),
        (lambda: made(window=[1]), "at least two different values"),
        (lambda: made(window=[1, 1]), "at least two different values"),
        (lambda: made(window=Control([1, 2], start=3)), "start=3"),
        (lambda: made(widnow=[1, 2]), "widnow.*the parameters of render"),
        (lambda: made(caption=" "), "explore: caption"),
        (lambda: made(alt=""), "explore: alt"),
        (lambda: made(alt="{widnow}"), "did you mean 'window'"),
        (lambda: made(lambda window: None).rendered(), "NoneType.*a Matplotlib figure"),
        (lambda: made(lambda window: (bars(256), tone(3), 1)).rendered(), "Figure and ndarray"),
        (lambda: made(lambda window: plt.figure(figsize=(window, 1)), window=[1, 2]).rendered(),
         r"render\(2,\).*2 by 1 inches.*1 by 1"),
    ],
)  # fmt: skip
def test_mistakes_are_named(make, words):
    with pytest.raises(DataError, match=words):
        make()
    plt.close("all")


# ---- a live kernel ----


@pytest.fixture
def shown(monkeypatch):
    """What is displayed, instead of displaying it."""
    import IPython.display

    outputs = []
    monkeypatch.setattr(IPython.display, "display", outputs.append)
    return outputs


FINER = Control([256, 1024], unit="samples", live=range(256, 1025, 256))


def test_without_anyone_watching_only_the_page_is_shown(shown, monkeypatch):
    monkeypatch.delenv("DL101_LIVE", raising=False)
    explore(bars, caption="c", alt="a", window=FINER)
    assert len(shown) == 1
    assert "data-live" not in shown[0].html


def test_a_live_kernel_offers_every_value(shown, monkeypatch):
    monkeypatch.setenv("DL101_LIVE", "1")
    explore(with_sounds, caption="c", alt="A bar of {window}.", window=FINER)
    page, box = shown
    slider, still = box.children
    assert [value for _, value in slider.options] == [256, 512, 768, 1024]
    token, every = box._dom_classes
    assert every == "dl101-live"  # what the style of the widgets goes by
    assert f'data-live="{token}"' in page.html
    assert 'alt="A bar of 256 samples."' in still.value
    before = still.value
    slider.value = 768
    assert 'alt="A bar of 768 samples."' in still.value
    assert still.value.count("<audio controls") == 2
    assert picture(stills(before)[0]).tobytes() != picture(stills(still.value)[0]).tobytes()
    assert not plt.get_fignums()


def test_listed_values_alone_need_no_widgets(shown, monkeypatch):
    monkeypatch.setenv("DL101_LIVE", "1")
    explore(bars, caption="c", alt="a", window=SIZES)
    assert len(shown) == 1


def test_a_front_end_is_known_by_its_request(monkeypatch):
    monkeypatch.delenv("DL101_LIVE", raising=False)
    request = {"metadata": {"cellId": "one"}}
    kernel = types.SimpleNamespace(get_parent=lambda channel: request)
    monkeypatch.setattr("IPython.get_ipython", lambda: types.SimpleNamespace(kernel=kernel))
    assert has_front_end()
    request["metadata"] = {}  # nbclient, nbval
    assert not has_front_end()
    monkeypatch.setitem(sys.modules, "google.colab", types.ModuleType("colab"))
    assert has_front_end()
    monkeypatch.setenv("DL101_LIVE", "0")
    assert not has_front_end()


def test_the_script_is_small_and_names_no_address():
    assert len(module.SCRIPT) + len(module.KIT_STYLE) < 16_000
    assert "//" not in module.SCRIPT
