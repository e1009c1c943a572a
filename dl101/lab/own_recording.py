"""A recording to listen to: a file of one's own, one from Colab's upload or microphone, or a song.

Conventions: what comes back is always the path of a file, so that an example takes the same way as
a recording of yours. Outside Colab there is neither upload nor microphone here: a sentence says so.
"""

from __future__ import annotations

import base64
import sys
import tempfile
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import soundfile

from dl101.data.cache import existing
from dl101.data.embedded import export
from dl101.errors import ConfigError, DataError, did_you_mean

Source = Literal["example", "upload", "microphone"]
SAMPLE_RATE = 22050
EXAMPLE = 8  # the second song of the test side of `stems`

# A button; then the microphone for some seconds; then mono 16-bit samples in base 64.
RECORD = """
(async (seconds, rate) => {
  const box = document.createElement("div");
  const button = document.createElement("button");
  button.textContent = `Record ${seconds} s from the microphone`;
  box.append(button);
  (document.querySelector("#output-area") || document.body).append(box);
  await new Promise((done) => button.addEventListener("click", done, { once: true }));
  button.disabled = true;
  try {
    const wanted = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
    const stream = await navigator.mediaDevices.getUserMedia({ audio: wanted });
    button.textContent = "Recording ...";
    const recorder = new MediaRecorder(stream);
    const parts = [];
    recorder.ondataavailable = (event) => parts.push(event.data);
    const stopped = new Promise((done) => (recorder.onstop = done));
    recorder.start();
    await new Promise((done) => setTimeout(done, 1000 * seconds));
    recorder.stop();
    await stopped;
    stream.getTracks().forEach((track) => track.stop());
    const bytes = await new Blob(parts).arrayBuffer();
    const sound = await new OfflineAudioContext(1, 1, rate).decodeAudioData(bytes);
    const samples = new Int16Array(sound.length);
    for (let c = 0; c < sound.numberOfChannels; c++) {
      const channel = sound.getChannelData(c);
      for (let i = 0; i < samples.length; i++) {
        samples[i] += (32767 / sound.numberOfChannels) * Math.max(-1, Math.min(1, channel[i]));
      }
    }
    button.textContent = "Recorded.";
    let text = "";
    const raw = new Uint8Array(samples.buffer);
    for (let i = 0; i < raw.length; i += 8192) {
      text += String.fromCharCode(...raw.subarray(i, i + 8192));
    }
    return btoa(text);
  } catch (error) {
    button.textContent = `No recording: ${error.message}`;
    return "";
  }
})"""


def in_colab() -> bool:
    """Return whether this runs in a notebook of Colab."""
    return "google.colab" in sys.modules


def bring(
    source: Source = "example", own_audio: Path | str | None = None, *, seconds: float = 10.0
) -> Path:
    """Return the path of a recording.

    Parameters
    ----------
    source
        Where it comes from, if ``own_audio`` is None: a rendered song with a voice; in Colab also a
        file that you upload, or your microphone.
    own_audio
        A file of yours.
    seconds
        How long the microphone listens.

    Raises
    ------
    ConfigError
        For another source.
    DataError
        If nothing was uploaded or recorded.
    """
    known = get_args(Source)
    if source not in known:
        raise ConfigError(
            "source",
            got=repr(source),
            expected=f"one of {', '.join(known)}",
            hint=did_you_mean(str(source), known),
        )
    if own_audio is not None:
        return existing(own_audio)
    if source == "example":
        return example_song()
    if not in_colab():
        print(
            f'"{source}" works in Colab. Here, put the path of a file into own_audio; '
            "until then you hear the example."
        )
        return example_song()
    return _uploaded() if source == "upload" else _recorded(seconds)


def example_song() -> Path:
    """Render a song with a voice, one of the test side of ``stems``, and return its file."""
    recipe = export.recipe("stems")
    song, *_ = recipe.render(EXAMPLE, seed=0, duration_s=recipe.duration_s, extras=False)
    return _written("example.wav", np.asarray(song.values).T, int(song.rate))


def _written(name: str, samples: np.ndarray, sample_rate: int) -> Path:
    path = Path(tempfile.mkdtemp(prefix="dl101-")) / name
    soundfile.write(path, samples, sample_rate)
    return path


def _uploaded() -> Path:
    from google.colab import files

    given = files.upload()
    if not given:
        raise _nothing("file", "run the cell again and choose one")
    name, content = next(iter(given.items()))
    path = Path(tempfile.mkdtemp(prefix="dl101-")) / Path(name).name
    path.write_bytes(content)
    return path


def _recorded(seconds: float) -> Path:
    from google.colab import output

    text = output.eval_js(f"{RECORD}({seconds:g}, {SAMPLE_RATE})", timeout_sec=600)
    samples = np.frombuffer(base64.b64decode(text or ""), dtype="<i2")
    if not samples.size:
        raise _nothing("recording", "allow the microphone, and run the cell again")
    return _written("microphone.wav", samples, SAMPLE_RATE)


def _nothing(what: str, hint: str) -> DataError:
    return DataError(f"your {what}", got="none", expected="one", hint=hint)
