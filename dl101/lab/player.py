"""Plays labelled sounds in a notebook or in the book, at one common and safe level.

Conventions. Audio is ``(time,)`` or ``(1, time)``, any real dtype, at the given sample rate. Each
sound loses its mean, gets a 5 ms fade at both ends and is scaled so that all sounds of one player
have the same *active level*: the RMS over blocks of 50 ms, leaving out the blocks that are more
than 30 dB below the loudest one (so that a sound with long rests does not become louder). No sound
reaches full scale. The sound travels inside the page as MP3: no file, no request. With scripts,
one transport plays all sounds (``dl101/lab/kit.py``): radio buttons, or the keys 1 to 9 while the
player has the focus, change the sound at the same position, without a gap. Without scripts, one
plain audio element per sound remains.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from html import escape
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dl101.errors import DataError
from dl101.lab.kit import KIT_STYLE, SCRIPT, sentence
from dl101.lab.pictures import data_uri, encode_picture
from dl101.lab.show import Rendered
from dl101.units import db_to_amplitude, seconds_to_samples

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LEVEL_DB = -20.0  # active level aimed at, re full scale
LOWEST_LEVEL_DB = -30.0  # one peaky sound pulls the others down to here, no further
PEAK = 0.8  # room for the overshoot of the MP3 decoder
FADE_S = 0.005
BLOCK_S = 0.05
GATE_DB = -30.0
SILENCE = 1e-5  # a peak below -100 dB is called silent and not amplified
BYTES_PER_S = 3_500  # 10 s cost 47 kB in base64
MP3_LEVELS = (0.6, 0.7, 0.8)  # of compression, tried in this order
SPECTROGRAM_WINDOW = 1024  # samples
SPECTROGRAM_FRAMES = 360  # about one in two pixels
SPECTROGRAM_FLOOR_DB = -60.0
SPECTROGRAM_LEVEL = 3  # step of PICTURE_QUALITY: a screen pixel is enough
MP3_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)


def player(
    sounds: Mapping[str, ArrayLike],
    sample_rate: int,
    *,
    caption: str,
    spectrogram: bool = False,
    picture: Figure | None = None,
    alt: str = "",
    match_levels: bool = True,
    max_duration_s: float = 60.0,
) -> None:
    """Display sounds with one transport; a change of sound goes on at the same position.

    Parameters
    ----------
    sounds
        Label to audio ``(time,)`` or ``(1, time)``; shown in this order.
    sample_rate
        In Hz, the same for all; one that MP3 knows (8000 to 48000).
    caption
        One sentence: what to listen for.
    spectrogram
        Show the spectrogram of the sound that is chosen, with a cursor that moves along; a click
        goes there.
    picture
        A figure of one's own instead, such as a piano roll, with a cursor that moves over it. All
        its Axes have seconds along x, the same place from left to right, and the limits from 0 to
        the end of the longest sound, which are set here. The figure is closed.
    alt
        What the picture shows, for those who cannot see it; needed with a picture.
    match_levels
        Bring all sounds to one level; False keeps their ratios (for a lesson about level).
    max_duration_s
        Longest sound accepted; raise it to embed more on purpose.

    Raises
    ------
    DataError
        If there is no sound, or one is empty, not finite, of a wrong shape, or too long; if the
        caption is empty; if MP3 does not know the sample rate.
    """
    audio_elements(
        sounds,
        sample_rate,
        caption=caption,
        spectrogram=spectrogram,
        picture=picture,
        alt=alt,
        match_levels=match_levels,
        max_duration_s=max_duration_s,
    ).display()


def audio_elements(
    sounds: Mapping[str, ArrayLike],
    sample_rate: int,
    *,
    caption: str,
    spectrogram: bool = False,
    picture: Figure | None = None,
    alt: str = "",
    match_levels: bool = True,
    max_duration_s: float = 60.0,
) -> Rendered:
    """Return what :func:`player` displays."""
    sentence("player: caption", caption, "say what to listen for")
    levelled = level_sounds(sounds, sample_rate, max_duration_s=max_duration_s, match=match_levels)
    longest_s = max(audio.size for audio in levelled.values()) / sample_rate
    rows, spoken = "", []
    for label, audio in levelled.items():
        spoken.append(f"{label} ({_note(audio, sample_rate)})")
        rows += audio_row(label, audio, sample_rate, encode_mp3(audio, sample_rate))
        if spectrogram:
            rows += _spectrogram(label, audio, sample_rate, longest_s)
    if picture is not None:
        sentence("player: alt", alt, "say what the picture shows")
        rows += _under_cursor(picture, alt, longest_s)
    html = (
        f'{KIT_STYLE}<figure class="dl101 dl101-kit dl101-player" role="group" '
        f'aria-label="{escape(caption)}" data-duration="{longest_s:.4f}" '
        f'data-lm-suppress-shortcuts="true">'
        f"{rows}<figcaption>{escape(caption)}</figcaption></figure>{SCRIPT}"
    )
    return Rendered(text=f"Sounds: {', '.join(spoken)}. {caption}", html=html)


def audio_row(label: str, audio: NDArray[np.float32], sample_rate: int, mp3: bytes) -> str:
    """Return a label with a plain audio element, which the script replaces by one transport."""
    note = _note(audio, sample_rate)
    return (
        f'<div class="dl101-row" data-label="{escape(label)}">'
        f"<span>{escape(label)} <small>({note})</small></span>"
        f'<audio controls preload="metadata" aria-label="{escape(label)}, {note}" '
        f'src="{data_uri("audio/mpeg", mp3)}"></audio></div>'
    )


def _note(audio: NDArray[np.float32], sample_rate: int) -> str:
    return f"{audio.size / sample_rate:.1f} s" + ("" if audio.any() else ", silent")


def _spectrogram(
    label: str, audio: NDArray[np.float32], sample_rate: int, duration_s: float
) -> str:
    """Return a picture of level over time and frequency, with a cursor for the script to move."""
    from matplotlib.figure import Figure

    window = np.hanning(SPECTROGRAM_WINDOW)
    padded = np.pad(audio, SPECTROGRAM_WINDOW // 2)
    hop = max(1, padded.size // SPECTROGRAM_FRAMES)
    frames = np.lib.stride_tricks.sliding_window_view(padded, window.size)[::hop]
    power = np.abs(np.fft.rfft(frames * window)).T ** 2
    level_db = 10 * np.log10(power / max(float(power.max()), 1e-12) + 1e-12)
    fig = Figure(figsize=(7.2, 2.2))
    left, width = 0.09, 0.89
    ax = fig.add_axes((left, 0.21, width, 0.74))
    ax.imshow(
        level_db,
        origin="lower",
        aspect="auto",
        cmap="magma",
        vmin=SPECTROGRAM_FLOOR_DB,
        vmax=0,
        extent=(0, audio.size / sample_rate, 0, sample_rate / 2000),
    )
    ax.set(xlim=(0, duration_s), xlabel="time (s)", ylabel="frequency (kHz)", facecolor="black")
    data, width_px = encode_picture(fig, level=SPECTROGRAM_LEVEL)
    return (
        f'<div class="dl101-spectrum" data-left="{left}" data-width="{width}">'
        f'<img src="{data_uri("image/webp", data)}" alt="Spectrogram of {escape(label)}." '
        f'style="width:{width_px}px">'
        f'<i class="dl101-cursor" aria-hidden="true"></i></div>'
    )


def _under_cursor(fig: Figure, alt: str, duration_s: float) -> str:
    """Return a figure as a picture, with a cursor over all its Axes for the script to move."""
    from matplotlib import pyplot

    for ax in fig.axes:
        ax.set_xlim(0, duration_s)
    fig.draw_without_rendering()  # lays the Axes out, for the last time
    fig.set_layout_engine("none")
    places = [ax.get_position() for ax in fig.axes]
    left, width = places[0].x0, places[0].width
    top, bottom = 1 - max(place.y1 for place in places), min(place.y0 for place in places)
    data, width_px = encode_picture(fig, level=SPECTROGRAM_LEVEL)
    pyplot.close(fig)
    return (
        f'<div class="dl101-spectrum" data-left="{left:.4f}" data-width="{width:.4f}">'
        f'<img src="{data_uri("image/webp", data)}" alt="{escape(alt)}" '
        f'style="width:{width_px}px">'
        f'<i class="dl101-cursor" aria-hidden="true" '
        f'style="top:{100 * top:.1f}%;bottom:{100 * bottom:.1f}%"></i></div>'
    )


def level_sounds(
    sounds: Mapping[str, ArrayLike],
    sample_rate: int,
    *,
    max_duration_s: float = 60.0,
    match: bool = True,
) -> dict[str, NDArray[np.float32]]:
    """Return the sounds checked, without mean, faded and at one active level.

    All get the same level, ``LEVEL_DB`` or as much less as the peakiest sound needs to stay below
    ``PEAK``, but not less than ``LOWEST_LEVEL_DB``; a sound that would still pass ``PEAK`` gets
    softer on its own. Silence stays silence. With ``match=False`` all sounds get one gain, by which
    the loudest reaches ``LEVEL_DB`` or the peak ``PEAK``, whichever comes first.
    """
    if not sounds:
        raise DataError(
            "player",
            got="no sound",
            expected="a mapping from label to audio",
            hint='pass for example {"mixture": audio}',
        )
    prepared = {
        label: _prepared(label, audio, sample_rate, max_duration_s)
        for label, audio in sounds.items()
    }
    level = {label: active_level(audio, sample_rate) for label, audio in prepared.items()}
    peak = {label: float(np.max(np.abs(audio))) for label, audio in prepared.items()}
    audible = [label for label in prepared if peak[label] > SILENCE]
    target = min(
        [float(db_to_amplitude(LEVEL_DB))]
        + [PEAK * level[label] / peak[label] for label in audible]
    )
    target = max(target, float(db_to_amplitude(LOWEST_LEVEL_DB)))
    if not match and audible:
        loudest, highest = max(level.values()), max(peak.values())
        common = min(float(db_to_amplitude(LEVEL_DB)) / loudest, PEAK / highest)
        return {label: (common * audio).astype(np.float32) for label, audio in prepared.items()}
    gain = {label: min(target / level[label], PEAK / peak[label]) for label in audible}
    return {
        label: (audio * gain.get(label, 0.0)).astype(np.float32)
        for label, audio in prepared.items()
    }


def active_level(audio: ArrayLike, sample_rate: int) -> float:
    """Return the RMS of the blocks of 50 ms that are within 30 dB of the loudest block."""
    signal = np.asarray(audio, dtype=np.float64)
    block = max(1, min(signal.size, int(seconds_to_samples(BLOCK_S, sample_rate=sample_rate))))
    n_blocks = signal.size // block
    power = np.mean(signal[: n_blocks * block].reshape(n_blocks, block) ** 2, axis=1)
    active = power >= power.max() * float(db_to_amplitude(GATE_DB)) ** 2
    return float(np.sqrt(power[active].mean()))


def _prepared(
    label: str, audio: ArrayLike, sample_rate: int, max_duration_s: float
) -> NDArray[np.float64]:
    place = f"player: sound {label!r}"
    try:
        signal = np.asarray(audio, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(
            place,
            got=f"a {type(audio).__name__}",
            expected="an array of samples",
            hint="pass the audio itself, for example store.read(key)[0]",
        ) from error
    if signal.ndim == 2 and signal.shape[0] == 1:
        signal = signal[0]
    if signal.ndim != 1:
        raise DataError(
            place,
            got=f"shape {signal.shape}",
            expected="(time,) or (1, time)",
            hint="mix the channels down or pick one",
        )
    if signal.size == 0:
        raise DataError(
            place,
            got="no samples",
            expected="at least one sample",
            hint="check the time span that was read",
        )
    n_bad = int(np.count_nonzero(~np.isfinite(signal)))
    if n_bad:
        raise DataError(
            place,
            got=f"{n_bad} samples that are NaN or infinite",
            expected="finite samples",
            hint="look for a division by zero or a logarithm of zero where the sound was made",
        )
    if signal.size > max_duration_s * sample_rate:
        raise DataError(
            place,
            got=f"{signal.size / sample_rate:.1f} s",
            expected=f"at most {max_duration_s:g} s, because the page carries the sound",
            hint="pass an excerpt, or a larger max_duration_s",
        )
    signal = signal - signal.mean()
    n_fade = min(int(seconds_to_samples(FADE_S, sample_rate=sample_rate)), signal.size // 2)
    ramp = 0.5 - 0.5 * np.cos(np.pi * (np.arange(n_fade) + 0.5) / max(n_fade, 1))
    signal[:n_fade] *= ramp
    signal[signal.size - n_fade :] *= ramp[::-1]
    return signal


def encode_mp3(
    audio: NDArray[np.float32], sample_rate: int, *, bytes_per_s: float = BYTES_PER_S
) -> bytes:
    """Return mono audio as MP3 of at most about ``bytes_per_s`` bytes a second.

    Variable bit rate: it keeps length, rate and level (constant bit rate scales by 0.95 and, when
    asked for little, halves the rate). Quality goes down in steps until the sound fits.
    """
    import soundfile

    if sample_rate not in MP3_RATES:
        raise DataError(
            "player: sample rate",
            got=f"{sample_rate} Hz",
            expected="one of " + ", ".join(str(rate) for rate in MP3_RATES),
            hint="resample the audio first",
        )
    data = b""
    limit = bytes_per_s * max(1.0, audio.size / sample_rate)
    for compression_level in MP3_LEVELS:
        file = io.BytesIO()
        soundfile.write(
            file,
            audio,
            sample_rate,
            format="MP3",
            subtype="MPEG_LAYER_III",
            bitrate_mode="VARIABLE",
            compression_level=compression_level,
        )
        data = file.getvalue()
        if len(data) <= limit:
            break
    return data
