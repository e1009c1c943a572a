"""Bringing parts to the levels that a mixing engineer would give them.

Conventions: levels are RMS in dB while a part sounds. Recordings of the bank differ in loudness,
and a tilt of the timbre moves a bass by many decibels, so a part's level is set on its own dry
sound with its timbre, before the room.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from dl101.data.embedded import renderer
from dl101.data.embedded.performer import Part
from dl101.data.embedded.renderer import SAMPLE_RATE
from dl101.units import db_to_amplitude

FRAME = 2048  # samples, about 0.1 s
SOUNDING = 0.01  # of the loudest frame's power: frames below do not count


def balanced(
    parts: Sequence[Part], levels_db: Mapping[str, float], duration_s: float
) -> list[Part]:
    """Return the parts as audio with their timbre, each at the level that its name has."""
    n_samples = round(duration_s * SAMPLE_RATE)
    here = np.ones(1, dtype=np.float32)  # the impulse response of no room
    result = []
    for part in parts:
        dry = part.audio
        if dry is None:
            dry = renderer.render_voice(part.notes, part.player, n_samples)
        if part.player is not None:
            tilts_db = [part.player.tilt_db_per_octave]
            dry = renderer.place_in_room(dry[None], here, tilts_db)[0]
        gain = db_to_amplitude(levels_db[part.name]) / max(sounding_rms(dry), 1e-6)
        result.append(Part(part.name, pan=part.pan, audio=dry * np.float32(gain)))
    return result


def sounding_rms(audio: NDArray[np.float32]) -> float:
    """Return the RMS of a mono sound over the frames in which it is not silent."""
    whole = audio[: audio.size // FRAME * FRAME]
    power = np.mean(whole.reshape(-1, FRAME).astype(float) ** 2, axis=1)
    heard = power >= SOUNDING * power.max(initial=0.0)
    return float(np.sqrt(power[heard].mean())) if power.any() else 0.0
