import base64
import io
import re

import numpy as np
import pytest
import soundfile
from PIL import Image

from dl101.errors import DataError
from dl101.lab.player import active_level, audio_elements, encode_mp3, level_sounds, player

RATE = 22050


def tone(amplitude=0.1, *, f0_hz=220.0, duration_s=1.0, offset=0.0):
    time_s = np.arange(round(duration_s * RATE)) / RATE
    return amplitude * np.sin(2 * np.pi * f0_hz * time_s) + offset


def music(duration_s=10.0):
    """Many partials and noise: dearer to encode than a tone."""
    rng = np.random.default_rng(0)
    audio = sum(
        tone(f0_hz=f0, duration_s=duration_s) / h
        for h in range(1, 9)
        for f0 in (110.0 * h, 138.6 * h, 164.8 * h, 220.0 * h)
    )
    return audio + 0.02 * rng.standard_normal(audio.size)


def decoded(html):
    data = [base64.b64decode(x) for x in re.findall(r"data:audio/mpeg;base64,([^\"]+)", html)]
    return [soundfile.read(io.BytesIO(x)) for x in data]


def test_levels_are_matched_without_mean_and_below_full_scale():
    sounds = {"soft": tone(0.001, offset=0.5), "loud": tone(30.0), "noisy": music(1.0)}
    levelled = level_sounds(sounds, RATE)
    levels = [active_level(audio, RATE) for audio in levelled.values()]
    assert levels == pytest.approx([0.1] * 3, rel=0.02)
    for audio in levelled.values():
        assert audio.dtype == np.float32
        assert abs(audio.mean()) < 1e-3
        assert np.abs(audio).max() <= 0.8 + 1e-6
        assert abs(audio[0]) < 1e-3 > abs(audio[-1])


def test_rests_do_not_make_a_sound_louder():
    full = tone(duration_s=4.0)
    sparse = np.where(np.arange(full.size) < RATE, full, 1e-3 * full)
    levelled = level_sounds({"full": full, "sparse": sparse}, RATE)
    middle = slice(RATE // 4, RATE // 2)
    ratio = np.std(levelled["sparse"][middle]) / np.std(levelled["full"][middle])
    assert ratio == pytest.approx(1.0, abs=0.03)


def test_a_peaky_sound_never_clips_and_does_not_silence_the_others():
    click = tone(0.001)
    click[RATE // 2] = 1.0
    levelled = level_sounds({"click": click, "tone": tone()}, RATE)
    assert np.abs(levelled["click"]).max() <= 0.8 + 1e-6
    assert active_level(levelled["tone"], RATE) >= 0.03


def test_silence_stays_silence_and_is_announced():
    rendered = audio_elements({"estimate": np.zeros(RATE)}, RATE, caption="Nothing.")
    assert "estimate (1.0 s, silent)" in rendered.text
    assert not decoded(rendered.html)[0][0].any()


def test_mp3_keeps_length_rate_level_and_stays_small():
    (audio,) = level_sounds({"music": music()}, RATE).values()
    data = encode_mp3(audio, RATE)
    assert len(base64.b64encode(data)) < 90_000
    info = soundfile.info(io.BytesIO(data))
    assert (info.samplerate, info.channels, info.frames) == (RATE, 1, audio.size)
    back, _ = soundfile.read(io.BytesIO(data))
    assert 20 * np.log10(back.std() / audio.std()) == pytest.approx(0, abs=0.5)
    assert np.corrcoef(back, audio)[0, 1] > 0.95  # the same sound at the same place
    assert np.abs(back).max() < 1


def test_even_noise_stays_small():
    noise = np.random.default_rng(0).standard_normal(10 * RATE).astype(np.float32) / 10
    assert len(base64.b64encode(encode_mp3(noise, RATE))) < 90_000


def test_page_names_every_sound():
    rendered = audio_elements({"a & b": tone(), "c": tone()[None]}, RATE, caption="Hear 'it'.")
    assert rendered.html.count("<audio controls ") == 2
    assert 'aria-label="a &amp; b, 1.0 s"' in rendered.html
    assert "<figcaption>Hear &#x27;it&#x27;.</figcaption>" in rendered.html
    assert rendered.text == "Sounds: a & b (1.0 s), c (1.0 s). Hear 'it'."
    assert not re.search(r"https?:|src=\"(?!data:)", rendered.html)
    assert [audio.size for audio, _ in decoded(rendered.html)] == [RATE, RATE]


def test_same_sounds_give_the_same_page():
    first, second = (audio_elements({"a": music(1.0)}, RATE, caption="c").html for _ in range(2))
    assert first == second


@pytest.mark.parametrize(
    ("sounds", "words"),
    [
        ({}, "no sound"),
        ({"x": []}, "'x'.*no samples"),
        ({"x": [0.0, np.nan, np.inf]}, "2 samples that are NaN"),
        ({"x": np.zeros((2, 100))}, r"shape \(2, 100\)"),
        ({"x": "tone.wav"}, "a str"),
        ({"x": np.zeros(61 * RATE)}, "61.0 s.*at most 60 s"),
    ],
)
def test_bad_sounds_are_refused(sounds, words):
    with pytest.raises(DataError, match=words):
        player(sounds, RATE, caption="c")


def test_long_sounds_are_taken_when_asked_for():
    player({"x": np.zeros(61 * RATE)}, RATE, caption="c", max_duration_s=70)


def test_other_rates_and_missing_captions_are_refused():
    with pytest.raises(DataError, match="10000 Hz"):
        player({"x": tone()}, 10000, caption="c")
    with pytest.raises(DataError, match="caption"):
        player({"x": tone()}, RATE, caption=" ")


def test_levels_are_kept_when_asked_for():
    levelled = level_sounds({"loud": tone(2.0), "soft": tone(0.2)}, RATE, match=False)
    loud, soft = (active_level(audio, RATE) for audio in levelled.values())
    assert loud == pytest.approx(0.1, rel=0.02)
    assert loud / soft == pytest.approx(10, rel=0.02)
    click = np.zeros(RATE)
    click[RATE // 2] = 1.0
    levelled = level_sounds({"click": click, "tone": tone(0.01)}, RATE, match=False)
    assert np.abs(levelled["click"]).max() == pytest.approx(0.8, rel=0.01)


def test_spectrogram_shows_the_tone_at_its_place():
    sounds = {"low": tone(f0_hz=2000), "high": tone(f0_hz=8000, duration_s=2.0)}
    html = audio_elements(sounds, RATE, caption="c", spectrogram=True).html
    assert 'data-duration="2.0000"' in html
    pictures = re.findall(r'data:image/webp;base64,([^"]+)" alt="Spectrogram of (\w+)."', html)
    assert [label for _, label in pictures] == ["low", "high"]
    left, width = (
        float(re.search(rf'data-{n}="([\d.]+)"', html).group(1)) for n in ("left", "width")
    )
    for (data, _), f0_hz, end in zip(pictures, (2000, 8000), (0.5, 1.0), strict=True):
        image = Image.open(io.BytesIO(base64.b64decode(data))).convert("L")
        light = np.asarray(image, dtype=float)
        # the axes, as the cursor knows them, without their frame
        columns = [round(light.shape[1] * (left + width * share)) for share in (0.05, 0.4, 0.6)]
        inside = light[round(0.06 * light.shape[0]) : round(0.78 * light.shape[0])]
        row = 1 - inside[:, columns[1]].argmax() / inside.shape[0]
        assert row * RATE / 2 == pytest.approx(f0_hz, abs=350)
        assert (inside[:, columns[2]].max() > 100) == (end == 1.0)  # the shorter one ends half way


def test_a_picture_of_ones_own_lies_under_the_cursor():
    from matplotlib.figure import Figure

    fig = Figure(figsize=(5, 3), layout="constrained")
    axes = fig.subplots(2, 1, sharex=True)
    for ax in axes:
        ax.imshow([[0, 1]], aspect="auto", extent=(0, 9, 0, 1))
    sounds = {"one": tone(), "other": tone(duration_s=2.0)}
    html = audio_elements(sounds, RATE, caption="c", picture=fig, alt="A <roll>.").html
    assert html.count('class="dl101-spectrum"') == 1  # one for both sounds
    assert 'alt="A &lt;roll&gt;."' in html and "width:480px" in html
    assert axes[1].get_xlim() == (0, 2)  # the longer sound
    place = axes[0].get_position(), axes[1].get_position()
    (left,), (width,) = (re.findall(f'data-{name}="([0-9.]+)"', html) for name in ("left", "width"))
    assert float(left) == pytest.approx(place[0].x0, abs=1e-3)
    assert float(width) == pytest.approx(place[1].width, abs=1e-3)
    ((top, bottom),) = re.findall(r'style="top:([0-9.]+)%;bottom:([0-9.]+)%"', html)
    assert float(top) == pytest.approx(100 * (1 - place[0].y1), abs=0.1)
    assert float(bottom) == pytest.approx(100 * place[1].y0, abs=0.1)


def test_a_picture_needs_words():
    from matplotlib.figure import Figure

    fig = Figure()
    fig.subplots()
    with pytest.raises(DataError, match="player: alt"):
        audio_elements({"one": tone()}, RATE, caption="c", picture=fig)


def test_spectrograms_stay_small():
    html = audio_elements({"n": music(5.0)}, RATE, caption="c", spectrogram=True).html
    plain = audio_elements({"n": music(5.0)}, RATE, caption="c").html
    assert 5_000 < len(html) - len(plain) < 60_000
