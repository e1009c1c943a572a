"""Embedding files in blocks, against the whole file at once; and what is most alike."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile

from dl101.data import audiofile
from dl101.data.sounds import at_level
from dl101.errors import ConfigError, DataError
from dl101.training import embedding
from dl101.training.embedding import Embedded, embed_file

RATE = 11_025


def as_they_are(crops: np.ndarray) -> np.ndarray:
    return crops


def written(path, seconds: float, rate: int = 22_050) -> np.ndarray:
    rng = np.random.default_rng(1)
    sound = (
        0.2 * rng.standard_normal(int(seconds * rate)) * np.linspace(0.1, 1, int(seconds * rate))
    )
    soundfile.write(path, sound, rate, subtype="FLOAT")
    return sound


@pytest.mark.parametrize("hop", [None, 400, 1000, 2700])
@pytest.mark.parametrize("seconds", [0.02, 0.4, 3.03, 40.0])
def test_crops_in_blocks_are_those_of_the_whole(tmp_path, seconds, hop):
    written(tmp_path / "a.wav", seconds)
    whole = at_level(audiofile.read_audio(tmp_path / "a.wav", RATE))
    found = embed_file(
        as_they_are, tmp_path / "a.wav", sample_rate=RATE, crop_samples=1000, hop_samples=hop
    )
    step, expected = hop or 1000, []
    for begin in range(0, max(1, whole.size), step):
        crop = whole[begin : begin + 1000]
        if crop.size < 500 and expected:
            break
        expected.append(np.pad(crop, (0, 1000 - crop.size)))
        if crop.size < 1000:
            break
    assert found.values.shape == (len(expected), 1000)
    np.testing.assert_allclose(found.values, expected, atol=1e-4)
    np.testing.assert_allclose(found.times_s, (np.arange(len(expected)) * step + 500) / RATE)


def test_silence_and_empty_folders_are_refused(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(8000), 8000)
    with pytest.raises(DataError, match="silence"):
        embed_file(as_they_are, tmp_path / "a.wav", sample_rate=RATE, crop_samples=1000)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no audio file"):
        embedding.recordings_in(tmp_path / "empty")


def test_the_most_similar_comes_first():
    rng = np.random.default_rng(0)
    rows = {name: Embedded(name, np.zeros(2), rng.normal(size=(2, 5))) for name in "abc"}
    query = Embedded("q", np.zeros(1), 3 * rows["b"].values.mean(axis=0, keepdims=True))
    found = embedding.most_similar(query, rows)
    assert found[0][0] == "b" and found[0][1] == pytest.approx(1)
    assert [cosine for _, cosine in found] == sorted((c for _, c in found), reverse=True)


def test_names_must_differ_and_files_have_a_kind(tmp_path):
    one = Embedded("a.wav", np.zeros(1), np.zeros((1, 2), np.float32))
    with pytest.raises(ConfigError, match="twice"):
        embedding.write(tmp_path / "a.npz", [one, one])
    with pytest.raises(ConfigError, match=r"\.npz"):
        embedding.write(tmp_path / "a.csv", [one])
