"""A recording to listen to, in Colab and elsewhere."""

from __future__ import annotations

import base64
import sys
import types

import numpy as np
import pytest
import soundfile

from dl101.errors import ConfigError, DataError
from dl101.lab import own_recording


@pytest.fixture
def colab(monkeypatch):
    """A stand-in of Colab's modules; what it answers can be set."""
    answers = types.SimpleNamespace(files={}, text="", asked=[])
    package, colab = types.ModuleType("google"), types.ModuleType("google.colab")
    colab.files = types.SimpleNamespace(upload=lambda: answers.files)

    def eval_js(code, timeout_sec=None):
        answers.asked.append(code)
        return answers.text

    colab.output = types.SimpleNamespace(eval_js=eval_js)
    package.colab = colab
    monkeypatch.setitem(sys.modules, "google", package)
    monkeypatch.setitem(sys.modules, "google.colab", colab)
    return answers


def test_the_example_is_a_song_that_can_be_read():
    path = own_recording.bring()
    samples, rate = soundfile.read(path)
    assert rate == 22050 and samples.shape == (220500, 2)
    assert np.abs(samples).max() > 0.01


def test_a_file_of_ones_own_comes_first(tmp_path):
    path = tmp_path / "mine.wav"
    soundfile.write(path, np.zeros(100), 8000)
    for source in ("example", "upload", "microphone"):
        assert own_recording.bring(source, path) == path


def test_outside_colab_a_sentence_says_so(capsys, monkeypatch):
    monkeypatch.setattr(own_recording, "example_song", lambda: "song")
    assert own_recording.bring("microphone") == "song"
    assert "works in Colab" in capsys.readouterr().out
    with pytest.raises(ConfigError, match="did you mean 'upload'"):
        own_recording.bring("uplaod")


def test_an_upload_is_written_down(colab):
    colab.files = {"../my song.ogg": b"bytes"}
    path = own_recording.bring("upload")
    assert path.name == "my song.ogg" and path.read_bytes() == b"bytes"
    colab.files = {}
    with pytest.raises(DataError, match="choose one"):
        own_recording.bring("upload")


def test_the_microphone_is_written_down(colab):
    samples = np.array([0, 1, -2, 32767, -32768], dtype="<i2")
    colab.text = base64.b64encode(samples.tobytes()).decode()
    path = own_recording.bring("microphone", seconds=3)
    heard, rate = soundfile.read(path, dtype="int16")
    assert rate == 22050 and heard.tolist() == samples.tolist()
    assert colab.asked[0].endswith("(3, 22050)")
    colab.text = ""
    with pytest.raises(DataError, match="allow the microphone"):
        own_recording.bring("microphone")
