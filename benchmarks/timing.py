"""How the benchmarks measure: processor time, baseline and ours taking turns."""

from __future__ import annotations

import time
from collections.abc import Callable


def best_of(*functions: Callable[[], object], runs: int = 10) -> list[float]:
    """Return the shortest processor time in seconds of each function; the first run warms up.

    Processor time, and taking turns, keep other work on the machine out of the ratio.
    """
    times: list[list[float]] = [[] for _ in functions]
    for _ in range(runs + 1):
        for function, taken in zip(functions, times, strict=True):
            start_s = time.process_time()
            function()
            taken.append(time.process_time() - start_s)
    return [min(taken[1:]) for taken in times]
