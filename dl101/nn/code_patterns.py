"""In which order the codes of a residual codec are told: patterns and their exact inverses.

A codec gives codes (batch, stage, frame); a language model takes one step after the other. A
*pattern* says at which step each code is told, (stage, frame) whole numbers from 0:

* ``flattened``: one code a step, all stages of a frame, then the next frame;
* ``delayed``: one frame a step, but stage k is told k steps later, so that of a frame each stage is
  told after those before it;
* ``parallel``: one frame a step, all its stages at once.

A *grid* (batch, stage, step) has each code at its step, and elsewhere a number that is no code.
After J. Copet and others, "Simple and controllable music generation", NeurIPS 2023 (MusicGen),
section 2.2.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dl101.errors import ConfigError, ShapeError, did_you_mean

PATTERNS = ("flattened", "delayed", "parallel")


def steps_of(pattern: str, n_stages: int, n_frames: int) -> Tensor:
    """Return the step of each code, (stage, frame) int64.

    Raises
    ------
    ConfigError
        If there is no such pattern.
    """
    stages, frames = torch.arange(n_stages)[:, None], torch.arange(n_frames)[None, :]
    if pattern == "flattened":
        return n_stages * frames + stages
    if pattern == "delayed":
        return frames + stages
    if pattern == "parallel":
        return frames + torch.zeros_like(stages)
    raise ConfigError(
        "pattern",
        got=repr(pattern),
        expected=f"one of {', '.join(PATTERNS)}",
        hint=did_you_mean(pattern, PATTERNS),
    )


def n_steps_of(pattern: str, n_stages: int, n_frames: int) -> int:
    """Return how many steps tell so many frames."""
    return int(steps_of(pattern, n_stages, n_frames).max()) + 1


def to_grid(codes: Tensor, pattern: str, empty: int) -> Tensor:
    """Return codes (batch, stage, frame) as a grid (batch, stage, step).

    Parameters
    ----------
    codes
        Whole numbers.
    pattern
        One of :data:`PATTERNS`.
    empty
        What stands where no code is told; a number that is no code.
    """
    if codes.ndim != 3 or codes.shape[-1] == 0:
        raise ShapeError(
            "codes to put in order",
            got=f"shape {tuple(codes.shape)}",
            expected="(batch, stage, frame) with at least one frame",
            hint="add the batch axis with codes[None]",
        )
    steps = steps_of(pattern, *codes.shape[1:]).to(codes.device)
    grid = codes.new_full((*codes.shape[:2], int(steps.max()) + 1), empty)
    return grid.scatter(2, steps.expand_as(codes), codes)


def from_grid(grid: Tensor, pattern: str, n_frames: int) -> Tensor:
    """Return the codes (batch, stage, frame) of a grid: the inverse of :func:`to_grid`."""
    steps = steps_of(pattern, grid.shape[1], n_frames).to(grid.device)
    if int(steps.max()) + 1 != grid.shape[2]:
        raise ShapeError(
            f"grid of codes, {pattern}",
            got=f"{grid.shape[2]} steps",
            expected=f"{int(steps.max()) + 1} for {n_frames} frames",
            hint="give the number of frames that it was made of",
        )
    return grid.gather(2, steps.expand(len(grid), -1, -1))


def in_a_row(codes: Tensor, n_codes: int) -> Tensor:
    """Return codes (batch, stage, frame) as one sequence, (batch, frame * stage).

    The order is that of ``flattened``; codes of stage k are raised by ``k * n_codes``, so that
    every number says its stage.
    """
    raised = codes + n_codes * torch.arange(codes.shape[1], device=codes.device)[:, None]
    return raised.transpose(1, 2).flatten(1)
