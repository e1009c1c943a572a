"""``import dl101`` in a fresh interpreter, against an interpreter that imports nothing."""

from __future__ import annotations

import subprocess
import sys
import time


def _best_of(n: int, code: str) -> float:
    times_s = []
    for _ in range(n):
        start_s = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True)
        times_s.append(time.perf_counter() - start_s)
    return min(times_s)


def main() -> None:
    """Print what the import adds to starting Python."""
    bare_s, with_dl101_s = _best_of(5, "pass"), _best_of(5, "import dl101")
    print("import: a fresh interpreter")
    print(f"  baseline  python -c pass            {bare_s * 1e3:8.1f} ms")
    print(f"  ours      python -c 'import dl101'  {with_dl101_s * 1e3:8.1f} ms")
    print(f"  ratio     {with_dl101_s / bare_s:.2f} x")
