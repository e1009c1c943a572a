"""The button that records in Colab, in a browser: a tone stands in for the microphone."""

from __future__ import annotations

import base64

import numpy as np
import pytest

from dl101.lab import own_recording

pytestmark = pytest.mark.browser

TONE = """
Object.defineProperty(navigator, "mediaDevices", { value: { getUserMedia: async () => {
  const context = new AudioContext();
  await context.resume();
  const tone = new OscillatorNode(context, { frequency: 440 });
  const place = context.createMediaStreamDestination();
  tone.connect(place);
  tone.start();
  return place.stream;
} } });
"""
REFUSED = """
Object.defineProperty(navigator, "mediaDevices", { value: { getUserMedia: async () => {
  throw new Error("not allowed");
} } });
"""


@pytest.fixture
def page(browser):
    """An empty page."""
    page = browser.new_page()
    yield page
    page.close()


def recorded(page, microphone: str) -> str:
    page.evaluate(microphone)
    page.evaluate(f"window.answer = {own_recording.RECORD}(1, 22050); 0")
    assert "Record 1 s" in page.inner_text("button")
    page.click("button")
    return page.evaluate("window.answer")


def test_what_the_microphone_hears_arrives(page):
    samples = np.frombuffer(base64.b64decode(recorded(page, TONE)), dtype="<i2") / 32768
    assert 0.5 < samples.size / 22050 < 2.0
    middle = samples[samples.size // 4 :][:8192]
    peak = np.abs(np.fft.rfft(middle * np.hanning(middle.size))).argmax() * 22050 / middle.size
    assert abs(peak - 440) < 5
    assert page.inner_text("button") == "Recorded."


def test_a_refusal_is_said(page):
    assert recorded(page, REFUSED) == ""
    assert page.inner_text("button") == "No recording: not allowed"
