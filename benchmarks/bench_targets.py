"""Targets: plain loops against ``dl101.targets``, on one thread, with identical results."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from benchmarks.timing import best_of
from dl101.targets import PitchAxis, from_f0, from_notes

DURATION_S = 30.0
AXIS = PitchAxis(f_min_hz=32.7, bins_per_semitone=5, n_bins=360)
TIMES_S = np.arange(1 + int(DURATION_S * 22050) // 512) * 512 / 22050


def f0_by_loops(f0_midi: np.ndarray, f0_times_s: np.ndarray) -> np.ndarray:
    """Go through frames and voices, looking for the nearest annotation and the nearest bin."""
    target = np.zeros((AXIS.n_bins, TIMES_S.size), dtype=np.uint8)
    centres = AXIS.midi
    for t, time_s in enumerate(TIMES_S):
        nearest = np.argmin(np.abs(f0_times_s - time_s))
        if abs(f0_times_s[nearest] - time_s) > 0.005 + 1e-6:
            continue
        for voice in f0_midi:
            if voice[nearest] > 0:
                k = np.argmin(np.abs(centres - voice[nearest]))
                if abs(centres[k] - voice[nearest]) <= 0.1:
                    target[k, t] = 1
    return target


def notes_by_loops(onsets_s: list, durations_s: list, pitches_midi: list) -> np.ndarray:
    """Go through notes and frames."""
    target = np.zeros((AXIS.n_bins, TIMES_S.size), dtype=np.uint8)
    centres = AXIS.midi
    for onset, duration, pitch in zip(onsets_s, durations_s, pitches_midi, strict=True):
        k = np.argmin(np.abs(centres - pitch))
        for t, time_s in enumerate(TIMES_S):
            if onset <= time_s < onset + duration:
                target[k, t] = 1
    return target


def report(title: str, loops: Callable, ours: Callable) -> None:
    """Check that both give the same and print baseline, ours and ratio."""
    if not np.array_equal(loops(), ours()):
        raise AssertionError(f"{title}: results differ")
    baseline_s, ours_s = best_of(loops, ours)
    print(title)
    print(f"  loops                   {1000 * baseline_s:8.2f} ms")
    print(f"  dl101.targets           {1000 * ours_s:8.2f} ms")
    print(f"  ratio                   {baseline_s / ours_s:8.1f}")


def main() -> None:
    """Print baseline, ours and ratio for curves and for notes."""
    rng = np.random.default_rng(0)
    f0_times_s = np.arange(int(DURATION_S * 100)) * 0.01
    centres_midi = np.array([[40], [52], [60], [70]])
    f0_midi = np.cumsum(rng.normal(0, 0.1, (4, f0_times_s.size)), axis=1) + centres_midi
    f0_midi[rng.random(f0_midi.shape) < 0.1] = 0
    report(
        "targets from f0: 4 voices, 30 s every 10 ms, 360 bins",
        lambda: f0_by_loops(f0_midi, f0_times_s),
        lambda: from_f0(f0_midi, f0_times_s, AXIS, TIMES_S),
    )
    onsets_s = np.sort(rng.uniform(0, DURATION_S - 1, 240))
    durations_s = rng.uniform(0.1, 0.8, 240)
    pitches_midi = rng.uniform(36, 84, 240)
    report(
        "targets from notes: 240 notes in 30 s, 360 bins",
        lambda: notes_by_loops(onsets_s, durations_s, pitches_midi),
        lambda: from_notes(onsets_s, durations_s, pitches_midi, AXIS, TIMES_S),
    )
