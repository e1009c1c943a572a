"""The door for audio: whole, finite, at a believable rate, or refused in the library's words."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import unicodedata

import numpy as np
import pytest
import soundfile

from dl101.data import containers
from dl101.data.audiofile import read_audio, read_recording
from dl101.errors import DataError

pytestmark = pytest.mark.slow

RATE = 22050
NOISE = np.random.default_rng(0).normal(0, 0.1, 2 * RATE)


def encoded(kind: str, samples=NOISE, rate: int = RATE, **settings) -> bytes:
    """Return the bytes of a file, its kind given as format or format/subtype."""
    file = io.BytesIO()
    name, _, subtype = kind.partition("/")
    soundfile.write(file, samples, rate, format=name, subtype=subtype or None, **settings)
    return file.getvalue()


def patched(content: bytes, place: int, layout: str, value: int) -> bytes:
    packed = struct.pack(layout, value)
    return content[:place] + packed + content[place + len(packed) :]


def with_flac_length(content: bytes, n_samples: int) -> bytes:
    """Write the 36 bits of STREAMINFO that say how many samples there are."""
    (word,) = struct.unpack(">Q", content[18:26])
    return patched(content, 18, ">Q", word >> 36 << 36 | n_samples)


def with_data_size(wav: bytes, n_bytes: int) -> bytes:
    return patched(wav, wav.find(b"data") + 4, "<I", n_bytes)


def without_first_frame(mp3: bytes) -> bytes:
    """Return an MP3 file without the frame that tells its length, as streams are cut."""
    second = next(k for k in range(100, len(mp3)) if mp3[k : k + 2] == mp3[:2])
    return mp3[second:]


def read(tmp_path, content: bytes, name: str = "a.audio", **options):
    (tmp_path / name).write_bytes(content)
    return read_audio(tmp_path / name, RATE, **options)


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
    with pytest.raises(DataError, match=r"at most 0\.4 s"):
        read_audio(tmp_path / "long.wav", 22050, max_duration_s=0.4)


def test_flac_without_its_length_is_read_whole_and_up_to_the_limit(tmp_path):
    content = encoded("FLAC")
    unknown = with_flac_length(content, 0)
    np.testing.assert_array_equal(read(tmp_path, unknown), read(tmp_path, content))
    with pytest.raises(DataError, match=r"at most 1\.5 s"):
        read(tmp_path, unknown, max_duration_s=1.5)


VARIABLE = {"bitrate_mode": "VARIABLE"}
QUIET_THEN_LOUD = NOISE * np.repeat([0.001, 3.0], RATE)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (with_flac_length(encoded("FLAC"), 5 * RATE), r"2\.000 s of 5\.000 s declared"),
        (with_flac_length(encoded("FLAC"), 2**36 - 1), "at most 600 s"),
        (encoded("FLAC")[:-5000], "lost sync"),
        (encoded("WAV")[:-5000], "lacks 5000 bytes"),
        (with_data_size(encoded("WAV"), 5 * RATE * 2), "lacks 132300 bytes"),
        (encoded("WAVEX/FLOAT")[:-5000], "lacks"),
        (encoded("AIFF")[:-5000], "lacks 5000 bytes"),
        (encoded("AU")[:-5000], "lacks 5000 bytes"),
        (encoded("W64")[:-5000], "lacks 5000 bytes"),
        (encoded("RF64")[:-5000], "lacks 5000 bytes"),
        (encoded("OGG") + encoded("OGG"), "a second stream"),
        (encoded("OGG") + encoded("OGG", rate=44100), "a second stream"),
        (encoded("OGG")[:-3000], "without its end"),
        (encoded("MP3")[:-6000], "declared"),
        (encoded("MP3") + encoded("MP3"), r"2\.00 s of 4\.\d+ s, where the decoder ends"),
        (without_first_frame(encoded("MP3", QUIET_THEN_LOUD, **VARIABLE)), "the decoder ends"),
        (patched(encoded("MP3"), encoded("MP3").find(b"Xing") + 8, ">I", 2**31), "declared"),
        (patched(encoded("MP3"), encoded("MP3").find(b"Xing") + 8, ">I", 9), "the decoder ends"),
        (patched(encoded("WAV"), 24, "<I", 999), "a rate of 999 Hz"),
        (patched(encoded("WAV"), 24, "<I", 2**31 - 1), "a rate of 2147483647 Hz"),
        (patched(encoded("WAV"), 24, "<I", 0), "SF_INFO"),
        (encoded("WAV/FLOAT", NOISE * 32768), "divide by 32768"),
        (with_data_size(encoded("WAV"), 0), "no samples"),
    ],
)
def test_what_is_not_whole_or_cannot_be_right_is_refused(tmp_path, content, words):
    with pytest.raises(DataError, match=words):
        read(tmp_path, content)


@pytest.mark.parametrize(
    "content",
    [
        with_data_size(encoded("WAV"), 2**32 - 1),  # written to a pipe
        encoded("WAV") + b"LIST",
        encoded("WAV")[:12] + b"junk\3\0\0\0abc\0" + encoded("WAV")[12:],
        encoded("WAV/FLOAT", NOISE * 20),  # beyond full scale, not beyond belief
        encoded("AIFF"),
        encoded("OGG") + bytes(3000),
        encoded("MP3") + b"TAG" + bytes(125),
        b"ID3\4\0\0\0\0\1\0" + bytes(128) + encoded("MP3"),
        encoded("MP3", bitrate_mode="CONSTANT"),
        without_first_frame(encoded("MP3", bitrate_mode="CONSTANT", compression_level=0.5)),
        encoded("OGG/OPUS", NOISE, 48000),
    ],
)
def test_what_is_whole_is_read_whole(tmp_path, content):
    rate = 48000 if b"OpusHead" in content else RATE
    assert len(read(tmp_path, content)) == pytest.approx(2 * RATE * RATE / rate, abs=2 * 1152)


def test_the_count_of_mpeg_frames_is_that_of_the_encoder():
    for rate, settings in ((44100, {}), (22050, {}), (8000, {"bitrate_mode": "CONSTANT"})):
        content = encoded("MP3", NOISE, rate, **settings)
        n_coded, declared = containers.mpeg_samples(io.BytesIO(content))
        assert n_coded == declared and 0 < n_coded - len(NOISE) < 4 * 1152
    assert containers.mpeg_samples(io.BytesIO(b"no audio" * 1000)) == (0, None)


def test_channels_that_cancel_are_noticed_and_one_is_taken(tmp_path):
    antiphase = np.stack([0.5 * NOISE, -NOISE, 0.5 * NOISE], axis=1)
    with pytest.warns(UserWarning, match="antiphase"):
        samples = read(tmp_path, encoded("WAV/FLOAT", antiphase))
    np.testing.assert_allclose(samples, -NOISE, atol=1e-6)
    wide = np.stack([NOISE, -0.9 * NOISE], axis=1)  # something is left: as asked, without a word
    np.testing.assert_allclose(read(tmp_path, encoded("WAV/FLOAT", wide)), 0.05 * NOISE, atol=1e-6)
    assert not read(tmp_path, encoded("WAV", np.zeros((100, 2)))).any()


def test_a_file_is_found_at_home_and_in_either_spelling(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    (tmp_path / unicodedata.normalize("NFD", "\u00e9tude.wav")).write_bytes(encoded("WAV"))
    assert len(read_audio(unicodedata.normalize("NFC", "~/\u00e9tude.wav"), RATE)) == 2 * RATE


@pytest.mark.parametrize("name", ["none.wav", "~nobody-of-this-name/a.wav", "a\0.wav"])
def test_a_missing_file_is_called_missing(tmp_path, name):
    with pytest.raises(DataError, match="no such file"):
        read_audio(name if name.startswith("~") else tmp_path / name, RATE)
    with pytest.raises(DataError, match="no file"):
        read_audio(tmp_path, RATE)


def test_a_name_that_asks_for_raw_samples_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"a\.raw"):
        read(tmp_path, bytes(1000), "a.raw")


FUZZ = """
import io, random, resource, sys, time, warnings
import numpy as np, soundfile
from dl101.data.audiofile import LARGEST_SAMPLE, decode
from dl101.errors import DataError

n_inputs, limit_mb = int(sys.argv[1]), int(sys.argv[2])
rng = random.Random(0)
warnings.simplefilter("ignore", UserWarning)
noise = np.random.default_rng(0).normal(0, 0.1, (3000, 2))
seeds = []
for kind, subtype in (
    ("WAV", None), ("WAV", "FLOAT"), ("WAVEX", None), ("WAV", "IMA_ADPCM"), ("FLAC", None),
    ("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", None), ("AIFF", None), ("AU", None),
):
    file = io.BytesIO()
    soundfile.write(file, noise, 24000, format=kind, subtype=subtype)
    seeds.append(file.getvalue())
decode(io.BytesIO(seeds[0]), "warm", max_duration_s=60.0)
before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
refused = 0
for number in range(n_inputs):
    content = bytearray(seeds[number % len(seeds)])
    for _ in range(rng.randint(1, 6)):
        place = rng.randrange(rng.choice((12, 64, 256, len(content))))
        how = rng.randrange(5)
        if how < 2:
            content[place] = rng.choice((0, 1, 127, 128, 255, rng.randrange(256)))
        elif how == 2:
            content[place : place + 4] = rng.choice(
                (b"\\xff" * 4, bytes(4), b"\\x7f" + b"\\xff" * 3, rng.randbytes(4))
            )
        elif how == 3:
            del content[place : place + rng.choice((1, 4, 100))]
        else:
            content[place:place] = rng.choice((rng.randbytes(3), content[:rng.randrange(300)]))
        if not content:
            content = bytearray(b"x")
    try:
        samples, rate = decode(io.BytesIO(bytes(content)), "fuzz", max_duration_s=60.0)
    except DataError:
        refused += 1
    except BaseException as error:
        print(number, bytes(content[:64]), repr(error))
        raise
    else:
        assert samples.ndim == 1 and samples.size and samples.dtype == np.float32
        assert np.isfinite(samples).all() and np.abs(samples).max() <= LARGEST_SAMPLE
        assert 1_000 <= rate <= 768_000 and samples.size <= 60 * rate
used_mb = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb) / 1024
assert used_mb < limit_mb, used_mb
assert n_inputs / 10 < refused < n_inputs, refused
print(refused, round(used_mb))
"""


def test_damaged_files_give_the_librarys_error_or_sound():
    """In a process of its own: a crash of a decoder would end the tests."""
    pytest.importorskip("resource", reason="memory is measured by POSIX means")
    run = subprocess.run(
        [sys.executable, "-c", FUZZ, "2000", "400"],
        capture_output=True,
        text=True,
        errors="replace",
        timeout=300,
        check=False,
    )
    assert run.returncode == 0, run.stdout[-2000:] + run.stderr[-4000:]


@pytest.mark.parametrize(
    ("samples", "said"),
    [
        (np.zeros(2 * RATE), "silence"),
        (NOISE[: RATE // 10], "0.10 s of sound; expected at least 1 s"),
        (np.zeros((2 * RATE, 2)), "silence"),
    ],
)
def test_a_recording_that_nothing_can_be_said_about_is_refused(tmp_path, samples, said):
    path = tmp_path / "take.wav"
    soundfile.write(path, samples, RATE)
    with pytest.raises(DataError, match=said):
        read_recording(path, 16000)


def test_a_recording_is_what_read_audio_returns(tmp_path):
    path = tmp_path / "take.flac"
    soundfile.write(path, np.stack([NOISE, NOISE / 2], axis=1), RATE)
    np.testing.assert_array_equal(read_recording(path, 16000), read_audio(path, 16000))
