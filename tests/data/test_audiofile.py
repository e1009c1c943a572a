from __future__ import annotations

import numpy as np
import pytest
import soundfile

from dl101.data.audiofile import read_audio
from dl101.errors import DataError


def test_stereo_at_another_rate_becomes_mono_at_ours(tmp_path):
    time = np.arange(44100) / 44100
    tone = 0.5 * np.sin(2 * np.pi * 1000 * time)
    soundfile.write(tmp_path / "a.wav", np.stack([tone, np.zeros_like(tone)], axis=1), 44100)
    samples = read_audio(tmp_path / "a.wav", 22050)
    assert samples.shape == (22050,)
    assert samples.dtype == np.float32
    spectrum = np.abs(np.fft.rfft(samples))
    assert spectrum.argmax() == 1000  # 1 Hz per bin
    assert np.abs(samples[2000:-2000]).max() == pytest.approx(0.25, rel=0.01)


@pytest.mark.parametrize("suffix", ["flac", "ogg", "mp3"])
def test_common_formats_are_read(tmp_path, suffix):
    noise = np.random.default_rng(0).normal(0, 0.1, 22050)
    path = tmp_path / f"a.{suffix}"
    soundfile.write(path, noise, 22050)
    assert read_audio(path, 22050).std() == pytest.approx(0.1, rel=0.3)


def test_what_is_not_audio_is_refused(tmp_path):
    (tmp_path / "a.wav").write_bytes(b"RIFF but no")
    with pytest.raises(DataError, match=r"a\.wav"):
        read_audio(tmp_path / "a.wav", 22050)
    with pytest.raises(DataError, match=r"none\.wav"):
        read_audio(tmp_path / "none.wav", 22050)
    soundfile.write(tmp_path / "empty.wav", np.zeros(0), 22050)
    with pytest.raises(DataError, match="no samples"):
        read_audio(tmp_path / "empty.wav", 22050)
    soundfile.write(tmp_path / "nan.wav", np.array([0, np.nan]), 22050, subtype="FLOAT")
    with pytest.raises(DataError, match="finite"):
        read_audio(tmp_path / "nan.wav", 22050)
    soundfile.write(tmp_path / "long.wav", np.zeros(22050), 22050)
    with pytest.raises(DataError, match="at most 0 s"):
        read_audio(tmp_path / "long.wav", 22050, max_duration_s=0.4)
