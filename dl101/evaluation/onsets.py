"""Onsets: when notes begin, found as peaks of a curve and counted right within a tolerance.

Conventions: onsets are times in seconds, ascending, one array a track; those of the notes of one
chord count once (:func:`merged`). The measure is the F-measure of ``mir_eval.onset`` (Raffel and
others, "mir_eval: a transparent implementation of common MIR metrics", ISMIR 2014), each onset
matched at most once; the score of a corpus is the mean over its tracks.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

MERGED_S = 0.05
TOLERANCE_S = 0.05
THRESHOLDS = np.arange(0.05, 0.96, 0.05)

Times = NDArray[np.float64]


def merged(onsets_s: Times, within_s: float = MERGED_S) -> Times:
    """Return onsets, sorted, without those that follow one within ``within_s``."""
    kept: list[float] = []
    for onset in np.sort(onsets_s):
        if not kept or onset - kept[-1] > within_s:
            kept.append(float(onset))
    return np.array(kept)


def peaks_s(probability: NDArray[np.float32], times_s: Times, threshold: float) -> Times:
    """Return the times of the local maxima at or above a threshold.

    Parameters
    ----------
    probability, times_s
        Of an onset in each frame, and of the frames: ``(frames,)`` both. Of equal neighbours the
        last is the peak.
    threshold
        Smallest value of a peak.
    """
    padded = np.pad(probability, 1, constant_values=-1.0)
    is_peak = (probability >= padded[:-2]) & (probability > padded[2:])
    return times_s[is_peak & (probability >= threshold)]


def mean_f_measure(
    true_s: Iterable[Times], found_s: Iterable[Times], tolerance_s: float = TOLERANCE_S
) -> float:
    """Return the mean over tracks of the F-measure; a track in which nothing is found has 0."""
    import mir_eval

    scores = [
        mir_eval.onset.f_measure(true, found, window=tolerance_s)[0] if found.size else 0.0
        for true, found in zip(true_s, found_s, strict=True)
    ]
    return float(np.mean(scores))


def evenly_spaced(
    train_s: Iterable[Times], true_s: Sequence[Times], ends_s: Iterable[float]
) -> float:
    """Return the F-measure of an answer that does not listen.

    From the first true onset on, onsets come as often as in training.

    Parameters
    ----------
    train_s
        Onsets of the training tracks.
    true_s, ends_s
        Onsets of the tracks that are scored, and where these end.
    """
    gap_s = np.median(np.concatenate([np.diff(onsets) for onsets in train_s]))
    found = [np.arange(true[0], end, gap_s) for true, end in zip(true_s, ends_s, strict=True)]
    return mean_f_measure(true_s, found)
