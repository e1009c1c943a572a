"""HCQT: six ``librosa.cqt`` calls against ``dl101.signal.cqt.hcqt``, on one thread."""

from __future__ import annotations

import librosa
import numpy as np

from benchmarks.timing import best_of
from dl101.signal.cqt import HcqtConfig, hcqt

DURATION_S = 30.0


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
    print(f"  dl101.signal.cqt.hcqt     {1000 * ours_s:8.1f} ms")
    print(f"  ratio                   {baseline_s / ours_s:8.1f}   (wanted: at least 25)")
    print("  relative difference     " + "  ".join(f"{100 * e:.1f} %" for e in errors))
