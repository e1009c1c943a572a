"""What the data pages show of the corpora is what the recipes make and the probes measured."""

from __future__ import annotations

import base64
import html
import io
import re

import numpy as np
import pytest
import scipy.signal
import soundfile

from dl101.data.embedded import export
from dl101.lab.player import level_sounds
from tools import build_corpus_pages as pages


def stored(name: str) -> str:
    text = (pages.OUTPUT / f"{name}.md").read_text(encoding="utf-8")
    return text.removeprefix(pages.NOTICE)


def test_tables_of_all_corpora_and_datasets_are_current():
    assert stored("overview") == pages.overview()
    assert stored("difficulty") == pages.difficulty()
    assert stored("catalogue") == pages.catalogue()


@pytest.mark.parametrize("name", export.CORPORA)
def test_card_and_scores_are_current(name):
    assert stored(name).startswith(pages.card(name))
    assert stored(f"{name}-scores") == pages.scores(name)
    assert pages.scores(name).count("|") > 8, "no probe has been recorded"


@pytest.mark.parametrize("name", export.CORPORA)
def test_the_first_sound_is_the_first_example(name):
    found = export.recipe(name)
    indices, fields = pages.EXAMPLES[name]
    items = list(found.render(indices[0], seed=0, duration_s=found.duration_s, extras=True))
    label, audio, rate = next(pages._sounds(name, indices[0], items, fields))
    text = stored(name)
    assert label in html.unescape(text)
    mp3 = base64.b64decode(re.search(r"data:audio/mpeg;base64,([^\"]+)", text)[1])
    heard, heard_rate = soundfile.read(io.BytesIO(mp3))
    assert heard_rate == rate
    shown = audio[: int(pages.SHOWN_S * rate)]
    expected = level_sounds({"x": shown}, int(rate))["x"]
    assert abs(heard.size - expected.size) < 4000
    match = scipy.signal.correlate(heard, expected, "full", "fft")
    power = np.sqrt(np.sum(heard**2) * np.sum(expected**2))
    assert np.abs(match).max() / power > 0.9  # what MP3 leaves out is the rest


def test_every_fragment_is_shown_on_some_page():
    book = pages.OUTPUT.parents[1]
    shown = "\n".join(p.read_text("utf-8") for p in [*book.glob("*.md"), *book.glob("data/*.md")])
    for path in pages.OUTPUT.glob("*.md"):
        assert f"generated/{path.name}" in shown, path.name
