"""Pitch-class profiles of notes: as they are, and as a network might hear them.

Conventions: a profile has shape (12, frames), row 0 is C; frame k holds the time
``[k, k + 1) / FRAME_RATE_HZ``. The frame rate is that of the features with which cover song
datasets are published (*crema*: McFee and Bello, "Structured training for large-vocabulary chord
recognition", 2017).
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d, maximum_filter1d
from scipy.signal import lfilter

from dl101.data.embedded.performer import draw
from dl101.data.embedded.renderer import Notes

FRAME_RATE_HZ = 44100 / 4096


def clean_profile(parts: Iterable[Notes], n_frames: int) -> NDArray[np.float64]:
    """Return the energy of each pitch class, from the notes themselves, shape (12, frames).

    A note of velocity v has the energy v**2 while it sounds; a frame holds the mean over its time,
    ``[k, k + 1) / FRAME_RATE_HZ``. Notes of one pitch class add.
    """
    parts = list(parts)
    begin = np.concatenate([part.onsets_s for part in parts]) * FRAME_RATE_HZ
    end = begin + np.concatenate([part.durations_s for part in parts]) * FRAME_RATE_HZ
    row = np.concatenate([part.pitches_midi for part in parts]) % 12
    energy = np.concatenate([part.velocities for part in parts]) ** 2
    n = n_frames
    # A note adds its energy at its begin and takes it away at its end. Both are steps, whose mean
    # over each frame is a share in the frame where they fall and all of the frames after it.
    change = np.zeros((12, n + 2))
    for time, sign in ((begin, 1.0), (end, -1.0)):
        time = np.clip(time, 0.0, n)
        frame = time.astype(int)
        share = 1.0 - (time - frame)
        np.add.at(change, (row, frame), sign * energy * share)
        np.add.at(change, (row, frame + 1), sign * energy * (1.0 - share))
    return np.maximum(np.cumsum(change, axis=1)[:, :n], 0.0)


def degrade(
    clean: NDArray[np.float64], tuning_cents: float, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Return what a pitch-class estimator might hear in the sound of a clean profile.

    The order is that of the causes: reverberation and decay, overtones, mistuning, attacks; then
    the estimator: it weighs levels against their surroundings, errs, smooths over time, and gives
    probabilities.
    """
    n = clean.shape[1]
    keep = 10.0 ** (-6.0 / (FRAME_RATE_HZ * draw(rng, (0.4, 2.0))))  # in each frame
    heard = lfilter([1.0 - keep], [1.0, -keep], clean, axis=1) + draw(rng, (0.3, 1.0)) * clean
    partials = heard.copy()
    for shift, most in ((7, 0.22), (4, 0.09), (10, 0.03)):  # the third, fifth, seventh partial
        partials += draw(rng, (0.1 * most, most)) * np.roll(heard, shift, axis=0)
    off = 0.5 * tuning_cents / 100.0  # estimators correct for the other half
    toward = np.roll(partials, 1 if off > 0 else -1, axis=0)
    blurred = (1.0 - abs(off)) * partials + abs(off) * toward
    spill = draw(rng, (0.01, 0.05))
    blurred += spill * (np.roll(partials, 1, axis=0) + np.roll(partials, -1, axis=0))
    rise = np.maximum(np.diff(clean.sum(axis=0), prepend=0.0), 0.0)
    blurred += draw(rng, (0.0, 0.12)) * rise * rng.random((12, n))

    around = maximum_filter1d(blurred.max(axis=0), 11) + 1e-6
    level_db = 10.0 * np.log10(blurred / around + 1e-3)
    logit = draw(rng, (0.25, 0.5)) * (level_db + draw(rng, (5.0, 9.0)))
    errors = lfilter([0.5], [1.0, -0.75], rng.standard_normal((12, n)), axis=1)
    logit += draw(rng, (0.3, 0.9)) * errors + rng.normal(0.0, 0.15, (12, 1))
    for _ in range(rng.poisson(n / FRAME_RATE_HZ * 0.3)):  # a note imagined or overheard
        begin, width = int(rng.integers(n)), int(rng.integers(3, 20))
        logit[int(rng.integers(12)), begin : begin + width] += rng.choice([-3.0, 3.0])
    logit = gaussian_filter1d(logit, draw(rng, (0.8, 2.2)), axis=1)
    return np.round(1.0 / (1.0 + np.exp(-logit)), 4).astype(np.float32)
