"""Corpora: how many times faster than real time the recipes render, on one core.

Each corpus renders its first tracks twice: the first round loads scores and instruments and is not
counted. What is counted is processor time, without extras and without writing to disk. The target
is 100 times real time.
"""

from __future__ import annotations

import time

from dl101.data.embedded import export

TARGET = 100
TRACKS_S = 90.0  # of sound per corpus, ...
MAX_TRACKS = 36  # ... but no more tracks than this


def speed(name: str) -> float:
    """Return how many seconds of a corpus are rendered in a second of processor time."""
    recipe = export.recipe(name)
    indices = range(min(MAX_TRACKS, max(6, round(TRACKS_S / recipe.duration_s))))
    for _ in range(2):
        start_s = time.process_time()
        for index in indices:
            recipe.render(index, seed=0, duration_s=recipe.duration_s, extras=False)
        taken_s = time.process_time() - start_s
    return len(indices) * recipe.duration_s / taken_s


def main() -> None:
    """Print the speed of each corpus."""
    print(f"  rendering on one core, in multiples of real time (target: {TARGET})")
    for name in export.CORPORA:
        factor = speed(name)
        print(f"  {name:12s}{factor:7.0f} x{'' if factor >= TARGET else '   below the target'}")
