"""From a recording to files of its stems: any form and length, little memory, a clear no."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import soundfile

from dl101.data import audiofile, stem_files
from dl101.errors import DataError


class Halves:
    """A separator without a network: three quarters and a quarter of what it hears."""

    sample_rate, stems = 16_000, ("most", "little")
    window_s, context_samples, step_samples = 1.0, 100, 1

    def separate(self, audio):
        return np.stack([0.75 * audio, 0.2 * audio])


def noise(n_channels: int, n_samples: int, seed: int = 0) -> np.ndarray:
    samples = 0.1 * np.random.default_rng(seed).standard_normal((n_samples, n_channels))
    return samples.astype(np.float32)


def read(path):
    return soundfile.read(path, dtype="float32", always_2d=True)


@pytest.mark.parametrize("n_samples", [1, 1000, 44_100, 150_001])
@pytest.mark.parametrize(
    ("rate", "n_channels"), [(44_100, 2), (16_000, 1), (8_000, 2), (96_000, 1)]
)
def test_files_are_as_long_as_the_recording_and_sum_to_it(tmp_path, rate, n_channels, n_samples):
    sound = noise(n_channels, n_samples)
    soundfile.write(tmp_path / "a.wav", sound, rate, subtype="FLOAT")
    written = stem_files.separate_file(
        Halves(), tmp_path / "a.wav", tmp_path / "new" / "out", residual=True
    )
    assert [p.name for p in written] == ["a-most.wav", "a-little.wav", "a-residual.wav"]
    found = [read(path) for path in written]
    assert {found_rate for _, found_rate in found} == {rate}
    assert {values.shape for values, _ in found} == {sound.shape}
    np.testing.assert_allclose(sum(values for values, _ in found), sound, atol=1e-6)
    if rate <= 16_000 and n_samples > 100:
        inside = slice(n_samples // 4, -n_samples // 4)
        scale = np.vdot(found[0][0][inside], sound[inside]) / np.vdot(sound[inside], sound[inside])
        assert scale == pytest.approx(0.75, abs=0.05)


@pytest.mark.parametrize("suffix", ["flac", "ogg", "mp3"])
def test_common_formats_are_read(tmp_path, suffix):
    path = tmp_path / f"a song.{suffix}"
    soundfile.write(path, noise(2, 60_000), 22_050)
    (most, little) = stem_files.separate_file(Halves(), path, tmp_path)
    assert most.name == "a song-most.wav" and read(most)[0].shape == read(little)[0].shape
    assert not (tmp_path / "a song-residual.wav").exists()


def test_memory_does_not_grow_with_the_recording(tmp_path):
    def peak(seconds: int) -> float:
        path = tmp_path / f"{seconds}.flac"
        with soundfile.SoundFile(path, "w", 44_100, 2) as file:
            for second in range(seconds):
                file.write(noise(2, 44_100, second))
        tracemalloc.start()
        written = stem_files.separate_file(Halves(), path, tmp_path / "out", residual=True)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert {soundfile.info(p).frames for p in written} == {44_100 * seconds}
        return most

    assert peak(80) < 1.1 * peak(16)


def test_what_cannot_be_read_is_named_and_leaves_nothing(tmp_path):
    def refused(name: str) -> str:
        with pytest.raises(DataError) as caught:
            stem_files.separate_file(Halves(), tmp_path / name, tmp_path / "out")
        assert not list((tmp_path / "out").glob("*")) if (tmp_path / "out").exists() else True
        return str(caught.value)

    assert "no such file" in refused("none.wav")
    (tmp_path / "text.wav").write_text("words")
    assert "a readable WAV" in refused("text.wav")
    soundfile.write(tmp_path / "empty.wav", np.zeros((0, 2)), 44_100)
    assert "no samples" in refused("empty.wav")
    soundfile.write(tmp_path / "six.wav", noise(6, 1000), 44_100)
    assert "6 channels" in refused("six.wav")
    sound = noise(2, 400_000)
    sound[-1] = np.nan
    soundfile.write(tmp_path / "nan.wav", sound, 44_100, subtype="FLOAT")
    assert "not finite at 9.070 s" in refused("nan.wav")
    whole = tmp_path / "whole.wav"
    soundfile.write(whole, noise(2, 400_000), 44_100)
    (tmp_path / "cut.wav").write_bytes(whole.read_bytes()[:-5000])
    assert "lacks 5000 bytes" in refused("cut.wav")


def test_an_error_of_the_separator_is_its_own(tmp_path):
    class Broken(Halves):
        def separate(self, audio):
            raise ValueError("mine")

    soundfile.write(tmp_path / "a.wav", noise(1, 100), 16_000)
    with pytest.raises(ValueError, match=r"^mine$"):
        stem_files.separate_file(Broken(), tmp_path / "a.wav", tmp_path / "out")
    assert not list((tmp_path / "out").glob("*.wav"))


def test_blocks_are_those_of_the_whole(tmp_path):
    sound = noise(2, 300_000)
    soundfile.write(tmp_path / "a.wav", sound, 44_100, subtype="FLOAT")
    with audiofile.opened(tmp_path / "a.wav") as recording:
        blocks = list(recording.blocks)
    assert (recording.sample_rate, recording.n_channels, recording.n_samples) == (
        44_100,
        2,
        300_000,
    )
    assert len(blocks) == recording.n_blocks == 3
    np.testing.assert_array_equal(np.concatenate(blocks, axis=1), sound.T)
