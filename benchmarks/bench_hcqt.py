"""HCQT: six ``librosa.cqt`` calls against ``dl101.features.hcqt``, on one thread."""

from __future__ import annotations

import os

for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[name] = "1"

import time  # noqa: E402
from collections.abc import Callable  # noqa: E402

import librosa  # noqa: E402
import numpy as np  # noqa: E402

from dl101.features import HcqtConfig, hcqt  # noqa: E402

RUNS = 10
DURATION_S = 30.0


def best_of(*functions: Callable[[], object]) -> list[float]:
    """Return the shortest processor time in seconds of each function; the first run warms up.

    Processor time, and taking turns, keep other work on the machine out of the ratio.
    """
    times = np.full((RUNS, len(functions)), np.inf)
    for run in range(RUNS):
        for i, function in enumerate(functions):
            start = time.process_time()
            function()
            times[run, i] = time.process_time() - start
    return times[1:].min(axis=0).tolist()


def main() -> None:
    """Print baseline, ours and ratio."""
    config = HcqtConfig()
    rng = np.random.default_rng(0)
    audio = rng.standard_normal(int(DURATION_S * config.sample_rate)).astype(np.float32)

    def six_calls() -> np.ndarray:
        return np.stack(
            [
                np.abs(
                    librosa.cqt(
                        audio,
                        sr=config.sample_rate,
                        hop_length=config.hop_samples,
                        fmin=h * config.f_min_hz,
                        n_bins=config.n_bins,
                        bins_per_octave=config.bins_per_octave,
                    )
                )
                for h in config.harmonics
            ]
        )

    expected, got = six_calls(), hcqt(audio, config).values
    errors = [np.linalg.norm(a - b) / np.linalg.norm(b) for a, b in zip(got, expected, strict=True)]
    baseline_s, ours_s = best_of(six_calls, lambda: hcqt(audio, config))
    print(f"HCQT {DURATION_S:.0f} s, 6 x 360 bins, hop 512, white noise, one thread")
    print(f"  six librosa.cqt calls   {1000 * baseline_s:8.1f} ms")
    print(f"  dl101.features.hcqt     {1000 * ours_s:8.1f} ms")
    print(f"  ratio                   {baseline_s / ours_s:8.1f}   (wanted: at least 25)")
    print("  relative difference     " + "  ".join(f"{100 * e:.1f} %" for e in errors))


if __name__ == "__main__":
    main()
