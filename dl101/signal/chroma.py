"""Chroma: how much of each of the twelve pitch classes sounds, whatever the octave.

Conventions: those of :mod:`dl101.signal.feature`; row 0 is C, row 9 is A.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from dl101.signal.cqt import HcqtConfig, cqt
from dl101.signal.feature import Feature
from dl101.units import hz_to_midi


def chroma(
    audio: ArrayLike, config: HcqtConfig | None = None, *, sample_rate: float | None = None
) -> Feature:
    """Return the chroma, ``(1, 12, T)``: how much of each pitch class sounds.

    The CQT's bins are summed by the nearest semitone regardless of octave (row 0 is C, row 9 is
    A), then each frame is divided by its largest value; silent frames stay zero.
    """
    spectrum = cqt(audio, config, sample_rate=sample_rate)
    pitch_class = np.floor(hz_to_midi(spectrum.frequencies) + 0.5).astype(np.int64) % 12
    fold = (np.arange(12)[:, np.newaxis] == pitch_class).astype(np.float32)
    values = fold @ spectrum.values[0]
    peak = values.max(axis=0, keepdims=True)
    values = np.divide(values, peak, out=np.zeros_like(values), where=peak > 0)
    return replace(spectrum, values=values[np.newaxis], frequencies=None)
