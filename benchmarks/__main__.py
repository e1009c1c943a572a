"""Run every benchmark: ``python -m benchmarks [NAME ...]``.

A benchmark is a file ``bench_NAME.py`` beside this one with a function ``main()``, which measures
a part of the library against its baseline in the same run and prints the ratio.
"""

from __future__ import annotations

import importlib
import os
import sys
import time
from pathlib import Path

# one thread for everybody; numerical libraries read this when a benchmark loads them
for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[_name] = "1"


def main(names: list[str]) -> int:
    """Run the named benchmarks, or all; return the exit status."""
    known = sorted(p.stem.removeprefix("bench_") for p in Path(__file__).parent.glob("bench_*.py"))
    if unknown := set(names) - set(known):
        print(f"no benchmark called {', '.join(sorted(unknown))}; there are: {', '.join(known)}")
        return 2
    chosen = names or known
    for position, name in enumerate(chosen, start=1):
        print(f"[{position}/{len(chosen)}] {name}", flush=True)
        start_s = time.perf_counter()
        importlib.import_module(f"benchmarks.bench_{name}").main()
        print(f"  ({time.perf_counter() - start_s:.1f} s)\n", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
