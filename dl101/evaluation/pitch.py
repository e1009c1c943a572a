"""Scores of one pitch at a time (a voice, a single instrument).

Conventions: pitches are MIDI numbers, one for each frame, NaN where nothing sounds.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def pitch_accuracy(truth_midi: NDArray, estimate_midi: NDArray) -> dict[str, float]:
    """Return the share of voiced frames within half a semitone, and the same modulo octaves."""
    voiced = np.isfinite(truth_midi)
    error = np.abs(estimate_midi[voiced] - truth_midi[voiced])
    folded = np.abs((error + 6.0) % 12.0 - 6.0)
    return {
        "raw_pitch_accuracy": float(np.mean(error < 0.5)),
        "raw_chroma_accuracy": float(np.mean(folded < 0.5)),
    }
