"""Scores of one pitch at a time (a voice, a single instrument).

Conventions: pitches are MIDI numbers, one for each frame, NaN where nothing sounds. Truth and
estimate stand on the same frames; :func:`at_times` brings an estimate to those of the truth. The
scores are those of J. Salamon, E. Gómez, D. Ellis and G. Richard, "Melody extraction from
polyphonic music signals" (2014), as :mod:`mir_eval.melody` has them.
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


def pitch_scores(truth_midi: NDArray, estimate_midi: NDArray) -> dict[str, float]:
    """Return both accuracies, the octave errors between them, and the mean error of the hits.

    ``octave_error`` is the share of voiced frames that are right but for octaves, the gap between
    the two accuracies; ``error_cents`` the mean distance where the pitch is right, NaN if it is
    nowhere.
    """
    found = pitch_accuracy(truth_midi, estimate_midi)
    error = np.abs(estimate_midi - truth_midi)
    hits = error[np.isfinite(truth_midi) & (error < 0.5)]
    return found | {
        "octave_error": found["raw_chroma_accuracy"] - found["raw_pitch_accuracy"],
        "error_cents": float(100 * hits.mean()) if hits.size else float("nan"),
    }


def voicing_accuracy(
    truth_midi: NDArray, confidence: NDArray, threshold: float = 0.5
) -> dict[str, float]:
    """Return the share of frames in which sound and silence are told apart by the confidence.

    ``voicing_recall`` of the frames that sound, ``false_alarm`` of those that don't, and
    ``voicing_accuracy`` of all; NaN where there is no such frame.
    """
    sounds, said = np.isfinite(truth_midi), np.asarray(confidence) >= threshold

    def share(of: NDArray, where: NDArray) -> float:
        return float(of[where].mean()) if where.any() else float("nan")

    return {
        "voicing_recall": share(said, sounds),
        "false_alarm": share(said, ~sounds),
        "voicing_accuracy": float(np.mean(said == sounds)),
    }


def at_times(times_s: NDArray, pitch_midi: NDArray, wanted_s: NDArray) -> NDArray[np.float64]:
    """Return a curve at other times: straight lines in semitones, its ends held.

    Next to a frame without pitch (NaN) the nearer of the two neighbours counts.
    """
    times_s, pitch_midi = np.asarray(times_s, float), np.asarray(pitch_midi, float)
    wanted_s = np.asarray(wanted_s, float)
    if len(times_s) < 2:
        return np.full(wanted_s.shape, pitch_midi[0] if len(pitch_midi) else np.nan)
    after = np.clip(np.searchsorted(times_s, wanted_s, side="right"), 1, len(times_s) - 1)
    share = (wanted_s - times_s[after - 1]) / (times_s[after] - times_s[after - 1])
    share = np.clip(share, 0.0, 1.0)
    low, high = pitch_midi[after - 1], pitch_midi[after]
    mixed = low + share * (high - low)
    return np.where(np.isfinite(mixed), mixed, np.where(share < 0.5, low, high))
