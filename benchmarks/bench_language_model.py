"""A language model of codec tokens: with a cache against computing everything anew at every step.

Codes are told one at a time (``flattened``). The small network is that which ships, and tells 63
frames of four stages, 252 tokens; the large one has the sizes of the 2024 tutorial and tells 125
frames of two stages, 250 tokens. Both ways draw the same tokens, which is checked. The weights are
random: time does not depend on them. Last the pattern of the network that ships: notes a second.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import torch

from benchmarks.timing import best_of
from dl101.systems import autoregressive
from dl101.systems.autoregressive_data import conditions_of

# scale, frames, notes at once
CASES = (("lab", 63, 1), ("lab", 63, 16), ("full", 125, 1))


def _tokens(scale: str, pattern: str, n_frames: int, n_notes: int) -> partial:
    changes = [f"pattern={pattern}", "model.window=0"]
    settings = autoregressive.load_config(scale=scale, settings=changes)
    asked = [conditions_of(45 + i, "guitar") for i in range(n_notes)]
    system = autoregressive.build(settings)
    return partial(autoregressive.generate_codes, system, asked, n_frames)


def main() -> None:
    """Print the time of each way, and the ratio."""
    torch.set_num_threads(1)
    print("250 tokens one after the other, one thread")
    for scale, n_frames, n_notes in CASES:
        tokens = _tokens(scale, "flattened", n_frames, n_notes)
        drawn = {}

        def draw(cached: bool, tokens: partial = tokens, drawn: dict = drawn) -> None:
            drawn[cached] = tokens(cached=cached)

        naive_s, cached_s = best_of(partial(draw, False), partial(draw, True), runs=1)
        assert np.array_equal(drawn[True], drawn[False])
        name = f"{'small' if scale == 'lab' else 'large'} network, {n_notes:2d} at once"
        print(f"  {name}   everything anew {naive_s:7.2f} s")
        print(
            f"  {name}   with a cache    {cached_s:7.2f} s   ratio {naive_s / cached_s:5.1f}"
            "   equal tokens"
        )
    (taken_s,) = best_of(_tokens("lab", "delayed", 63, 32), runs=2)
    print(f"  small network, delayed pattern: {32 / taken_s:.0f} notes a second, 32 at once")
