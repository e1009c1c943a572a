"""Instantaneous frequency, the phase that a network can learn, and pictures of it in colours.

Conventions: phases are (bin, frame) in radians; instantaneous frequencies likewise, in half turns
a frame, -1 to 1, as a network with a tanh gives them. The instantaneous frequency is what a phase
moves on from one frame to the next: constant where a partial is steady, while its phase runs round
and round [1]_.

References
----------
.. [1] J. Engel and others, "GANSynth: adversarial neural audio synthesis", ICLR 2019, section 2.1.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dl101.errors import ShapeError


def unwrapped(phase: ArrayLike) -> NDArray[np.float64]:
    """Return phases (bin, frame) without jumps: whole turns are added along the frames.

    Of all numbers that are the same phase, each is the one nearest to the frame before.
    """
    phase = _matrix(phase)
    steps = np.diff(phase, axis=1)
    turns = np.round(steps / (2 * np.pi))
    phase[:, 1:] -= 2 * np.pi * np.cumsum(turns, axis=1)
    return phase


def instantaneous_frequency(phase: ArrayLike) -> NDArray[np.float64]:
    """Return how far the unwrapped phase moves on in each frame, (bin, frame), in half turns.

    The first frame has its phase itself, in half turns, so that nothing is lost.
    """
    phase = unwrapped(phase)
    phase -= 2 * np.pi * np.round(phase[:, :1] / (2 * np.pi))
    return np.diff(phase, axis=1, prepend=0.0) / np.pi


def phase_of(frequency: ArrayLike) -> NDArray[np.float64]:
    """Return the phase, (bin, frame) in radians, that moves on as an instantaneous frequency says.

    Undoes :func:`instantaneous_frequency` but for whole turns.
    """
    return np.pi * np.cumsum(_matrix(frequency), axis=1)


def rainbowgram(log_magnitude: ArrayLike, frequency: ArrayLike) -> NDArray[np.float64]:
    """Return a picture (bin, frame, 3): how bright says how loud, the colour how the phase moves.

    Parameters
    ----------
    log_magnitude
        (bin, frame) from -1, black, to 1.
    frequency
        Instantaneous frequency, or any number from -1 to 1 that stands for an angle.
    """
    from matplotlib.colors import hsv_to_rgb

    loud, turn = _matrix(log_magnitude), _matrix(frequency)
    bright = np.clip((loud + 1) / 2, 0, 1)
    return hsv_to_rgb(np.stack([(turn + 1) / 2 % 1, np.full_like(bright, 0.85), bright], axis=-1))


def _matrix(values: ArrayLike) -> NDArray[np.float64]:
    found = np.array(values, dtype=np.float64)
    if found.ndim != 2 or found.shape[1] == 0:
        raise ShapeError(
            "phases",
            got=f"shape {found.shape}",
            expected="(bin, frame)",
            hint="take np.angle of one spectrum, as stft returns it",
        )
    return found
