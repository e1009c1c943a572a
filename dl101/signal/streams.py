"""Sounds of any length in bounded memory: block after block goes in, block after block comes out.

Conventions: a stream is an iterator of blocks (channels, samples) of any lengths, one after the
other; stems are (stems, channels, samples). Nothing here holds more than a window and a block.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from dl101.errors import ConfigError, DataError

Block = NDArray[np.float32]
_ZERO_CROSSINGS = 10  # of the filter of scipy.signal.resample_poly, on each side


class Separator(Protocol):
    """What separates: a network on waveforms or on spectra, or a method that learns nothing.

    Attributes
    ----------
    sample_rate
        Of what goes in and comes out, in Hz.
    stems
        Their names, in order.
    window_s
        Length of the windows that suit it, in seconds.
    context_samples
        How many samples at each end of a window are said with less to go by, because what comes
        before or after is missing; they are thrown away where windows overlap.
    step_samples
        A sound that is moved by a multiple of this gives what it gave, moved. 1 if any does.
    """

    sample_rate: int
    stems: tuple[str, ...]
    window_s: float
    context_samples: int
    step_samples: int

    def separate(self, audio: Block) -> Block:
        """Return (stems, channels, samples) of a window (channels, samples), 1 or 2 channels."""


def separate(
    separator: Separator,
    audio: Block | Iterable[Block],
    *,
    window_samples: int | None = None,
    fade_samples: int | None = None,
) -> Iterator[Block]:
    """Separate a sound of any length by overlapping windows; together as long as what came in.

    What two windows say of the same samples fades from one to the other in a straight line, the
    separator's context apart, which is left out. A separator of convolutions that needs no more
    than its context thus gives exactly what it would give of the whole.

    Parameters
    ----------
    separator
        What separates a window.
    audio
        (channels, samples), or a stream of such blocks.
    window_samples
        Length of a window; by default ``window_s``.
    fade_samples
        Least overlap beside the contexts; by default a hundredth of a window.

    Yields
    ------
    ndarray, shape (stems, channels, n)
        The parts that are finished.

    Raises
    ------
    ConfigError
        If the windows are so short that none would advance.
    """
    size, context = window_samples, separator.context_samples
    if size is None:
        size = max(round(separator.window_s * separator.sample_rate), 4 * context)
    fade = size // 100 if fade_samples is None else fade_samples
    step = separator.step_samples
    hop = (size - 2 * context - fade) // step * step
    if hop < 1:
        raise ConfigError(
            "separate",
            got=f"windows of {size} samples, {2 * context} of context and {fade} of overlap",
            expected=f"room for at least {step} more",
            hint=f"make windows of {2 * context + fade + step} samples or more",
        )
    fade = size - 2 * context - hop
    rising = ((np.arange(fade) + 0.5) / fade).astype(np.float32) if fade else None
    tail: Block | None = None  # of the window before, already fading
    for window, is_last in _windows([audio] if isinstance(audio, np.ndarray) else audio, size, hop):
        found = separator.separate(window)
        found = found[..., 0 if tail is None else context :]
        if tail is not None and fade:
            found = np.concatenate([tail + rising * found[..., :fade], found[..., fade:]], axis=-1)
        if is_last:
            yield found
            return
        found = found[..., : found.shape[-1] - context]
        split = found.shape[-1] - fade
        tail = found[..., split:] * (1 - rising) if fade else found[..., split:]
        yield found[..., :split]


def separate_whole(separator: Separator, audio: NDArray[np.floating]) -> Block:
    """Return the stems of a sound of any length that fits into memory; see :func:`separate`.

    Parameters
    ----------
    separator
        What separates a window.
    audio
        (samples,) or (channels, samples) with 1 or 2 channels, at its rate.

    Returns
    -------
    ndarray, shape (stems, channels, samples)
        In the order of ``separator.stems``, with as many channels as the audio.

    Raises
    ------
    DataError
        If the audio has another shape, or no samples.
    """
    audio = np.atleast_2d(np.asarray(audio, dtype=np.float32))
    if audio.ndim != 2 or len(audio) not in (1, 2) or not audio.shape[1]:
        raise DataError(
            "audio to separate",
            got=f"shape {audio.shape}",
            expected="(samples,) or (channels, samples) with 1 or 2 channels",
            hint="put channels first",
        )
    return np.concatenate(list(separate(separator, audio)), axis=-1)


def _windows(blocks: Iterable[Block], size: int, hop: int) -> Iterator[tuple[Block, bool]]:
    """Yield windows of ``size`` samples, ``hop`` apart, and whether it is the last.

    The last holds what is left, which is never as little as an overlap.
    """
    waiting: list[Block] = []
    n_waiting = 0
    for block in blocks:
        waiting.append(block)
        n_waiting += block.shape[-1]
        if n_waiting <= size:
            continue
        joined = np.concatenate(waiting, axis=-1)
        start = 0
        while joined.shape[-1] - start > size:
            yield joined[..., start : start + size], False
            start += hop
        waiting = [joined[..., start:].copy()]
        n_waiting = waiting[0].shape[-1]
    if n_waiting:
        yield np.concatenate(waiting, axis=-1), True


def mono(blocks: Iterable[Block], from_rate: int, to_rate: int) -> Iterator[NDArray[np.float32]]:
    """Return the mean of the channels of a stream at another rate, in blocks (samples,)."""
    means = (block.mean(axis=0, dtype=np.float32) for block in blocks)
    return resample(means, from_rate, to_rate)


def resample(blocks: Iterable[Block], from_rate: int, to_rate: int) -> Iterator[Block]:
    """Convert a stream to another rate: what polyphase filtering gives of the whole, in blocks.

    The same as :func:`scipy.signal.resample_poly`, with zeros before the beginning and after the
    end. Blocks that come out are of other lengths than those that go in.
    """
    if from_rate == to_rate:
        yield from blocks
        return
    from scipy.signal import resample_poly

    common = int(np.gcd(from_rate, to_rate))
    up, down = to_rate // common, from_rate // common
    # samples on each side that the filter reaches, as a multiple of what gives whole samples
    reach = -(-_ZERO_CROSSINGS * max(up, down) // up)
    margin = -(-reach // down) * down
    chunk = max(2**16 // down, 1) * down

    def convert(samples: Block, before: int, n: int) -> Block:
        """Return what becomes of the ``n`` samples that follow the first ``before``."""
        made = resample_poly(samples, up, down, axis=-1)
        first = before * up // down
        return made[..., first : first + -(-n * up // down)].astype(np.float32)

    held: Block | None = None
    before = 0
    for block in blocks:
        held = block if held is None else np.concatenate([held, block], axis=-1)
        while held.shape[-1] - before > chunk + margin:
            yield convert(held[..., : before + chunk + margin], before, chunk)
            start = max(before + chunk - margin, 0)
            before = before + chunk - start
            held = held[..., start:].copy()
    if held is not None and held.shape[-1] > before:
        yield convert(held, before, held.shape[-1] - before)
