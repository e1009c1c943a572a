"""Models that write a waveform sample by sample: WaveNet and SampleRNN.

Conventions: a sound is a row of codes (batch, time), whole numbers below ``n_codes``, mostly mu-law
codes; ``n_codes // 2`` is silence and stands before the first sample. ``told`` is what the sound is
to be, a vector (batch, condition) for all of it, or None. Logits are (batch, time, n_codes): those
at t are of the code at t and depend on the codes *before* t alone.

References
----------
.. [1] A. van den Oord and others, "WaveNet: a generative model for raw audio", 2016.
.. [2] T. Le Paine and others, "Fast WaveNet generation algorithm", 2016: queues.
.. [3] S. Mehri and others, "SampleRNN: an unconditional end-to-end neural audio generation model",
   ICLR 2017.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dl101.errors import ConfigError
from dl101.nn.convolutional import WaveNetStack
from dl101.nn.sampling import SamplingConfig, draw

Step = Callable[[Tensor, int], Tensor]


def before(codes: Tensor, n_codes: int, n: int = 1) -> Tensor:
    """Return the codes ``n`` samples earlier: silence first, and the last ``n`` left out."""
    return F.pad(codes, (n, 0), value=n_codes // 2)[:, : codes.shape[1]]


def bits_per_sample(logits: Tensor, codes: Tensor) -> Tensor:
    """Return how surprised a model is by each code, (batch, time): ``-log2 p(code)``."""
    nats = F.cross_entropy(logits.flatten(0, 1).float(), codes.flatten(), reduction="none")
    return nats.view_as(codes) / math.log(2)


def waves_over_codes(n_codes: int, n: int) -> Tensor:
    """Return cosines over the codes, (n_codes, n), with 0, 1, 2, ... half periods."""
    place = (torch.arange(n_codes) + 0.5) / n_codes
    return torch.cos(math.pi * place[:, None] * torch.arange(n))


def embedding_of_codes(n_codes: int, channels: int) -> nn.Embedding:
    """Return a vector for each code, in which neighbouring codes are alike to begin with."""
    table = nn.Embedding(n_codes, channels)
    with torch.no_grad():
        table.weight.copy_(waves_over_codes(n_codes, channels))
    return table


def smooth_over_codes(weight: Tensor) -> None:
    """Draw the weights of a last layer anew, so that neighbouring codes are as likely at first.

    The codes are classes to the loss: nothing says that 130 lies beside 131. In a small training
    this saves most of the steps. ``weight`` is (n_codes, channels) or has a kernel of one tap.
    """
    waves = waves_over_codes(len(weight), 25)[:, 1:]
    with torch.no_grad():
        weight.copy_((waves @ (0.05 * torch.randn(24, weight.shape[1]))).view_as(weight))


class WaveNet(nn.Module):
    """Embedded codes through a gated dilated stack [1]_.

    Parameters
    ----------
    n_codes
        Of the mu-law.
    condition
        Numbers in ``told``; 0 for a model that is told nothing.
    channels, skip_channels, dilations
        Of the stack; all kernels have two taps.
    """

    def __init__(
        self,
        n_codes: int = 256,
        *,
        condition: int = 0,
        channels: int = 24,
        skip_channels: int = 32,
        dilations: Sequence[int] = (1, 2, 4, 8, 16, 32, 64, 128) * 2,
    ) -> None:
        super().__init__()
        self.n_codes = n_codes
        self.embedding = embedding_of_codes(n_codes, channels)
        self.stack = WaveNetStack(
            channels, n_codes, channels=channels, skip_channels=skip_channels, dilations=dilations
        )
        smooth_over_codes(self.stack.end[-1].weight)
        self.condition = nn.Linear(condition, 2 * channels * len(dilations)) if condition else None
        self.receptive_field = self.stack.past_samples + 1  # samples before the one that is written

    def added(self, told: Tensor | None) -> list[Tensor] | None:
        """Return what each block adds to its filter and gate, (batch, 2 * channels, 1)."""
        if self.condition is None or told is None:
            return None
        return list(self.condition(told)[..., None].chunk(len(self.stack.blocks), dim=1))

    def forward(self, codes: Tensor, told: Tensor | None = None) -> Tensor:
        """Return the logits of all codes at once, (batch, time, n_codes)."""
        x = self.embedding(before(codes, self.n_codes)).transpose(1, 2)
        return self.stack(x, self.added(told)).transpose(1, 2)

    @torch.inference_mode()
    def generate(
        self,
        uniform: Tensor,
        told: Tensor | None = None,
        sampling: SamplingConfig | None = None,
        *,
        start: Tensor | None = None,
        queues: bool = True,
    ) -> Tensor:
        """Draw sounds sample by sample, (batch, time).

        Parameters
        ----------
        uniform
            (batch, time), numbers from 0 to 1: one to draw each sample with.
        told
            (batch, condition).
        sampling
            Temperature and what may be drawn.
        start
            (batch, any), codes that are given: the sounds begin with them.
        queues
            Whether layers remember what they have seen [2]_. Without, all that a sample depends on
            is computed again for each: the same result, slowly.
        """
        if queues:
            return _written(Queues(self, told, len(uniform)).step, self, uniform, sampling, start)

        def again(codes: Tensor, t: int) -> Tensor:
            return self(codes[:, max(0, t - self.receptive_field) : t + 1], told)[:, -1]

        return _written(again, self, uniform, sampling, start)


def _written(
    step: Step,
    network: WaveNet | SampleRNN,
    uniform: Tensor,
    sampling: SamplingConfig | None,
    start: Tensor | None,
) -> Tensor:
    """Return codes (batch, time); ``step(codes, t)`` gives the logits at t from those before."""
    codes = torch.full(uniform.shape, network.n_codes // 2, dtype=torch.long)
    sampling, given = sampling or SamplingConfig(), 0 if start is None else start.shape[1]
    for t in range(uniform.shape[1]):
        logits = step(codes, t)
        codes[:, t] = start[:, t] if t < given else draw(logits, sampling, uniform[:, t])
    return codes


class Queues:
    """What the layers of a WaveNet remember, so that a sample costs one step of each [2]_.

    A layer with dilation d looks at its input now and d steps ago: its queue holds the d inputs
    between. They begin as zeros, what the layers see before the first sample.
    """

    def __init__(self, network: WaveNet, told: Tensor | None, batch: int) -> None:
        stack = network.stack
        self.network, added = network, network.added(told) or [0.0] * len(stack.blocks)
        convolutions = [stack.start, *(block.filter_and_gate for block in stack.blocks)]
        # (old and new, channel out): both taps in one product
        self.taps = [c.weight.permute(2, 1, 0).flatten(0, 1).contiguous() for c in convolutions]
        self.biases = [stack.start.bias]
        for conv, more in zip(convolutions[1:], added, strict=True):
            self.biases.append(conv.bias + (more if isinstance(more, float) else more[..., 0]))
        self.residuals = [
            (block.residual.bias, block.residual.weight[..., 0].T) for block in stack.blocks[:-1]
        ]
        self.skips = torch.cat([block.skip.weight[..., 0] for block in stack.blocks], dim=1).T
        self.skip_bias = sum(block.skip.bias for block in stack.blocks)
        self.queues = [
            deque([c.weight.new_zeros(batch, c.in_channels)] * c.dilation[0]) for c in convolutions
        ]

    def _convolved(self, layer: int, x: Tensor) -> Tensor:
        queue = self.queues[layer]
        queue.append(x)
        return torch.addmm(
            self.biases[layer], torch.cat([queue.popleft(), x], dim=1), self.taps[layer]
        )

    def step(self, codes: Tensor, t: int) -> Tensor:
        """Return the logits at t, (batch, n_codes), from the code at t - 1 and what is queued."""
        silence = self.network.n_codes // 2
        last = codes[:, t - 1] if t else torch.full_like(codes[:, 0], silence)
        x, seen = self._convolved(0, self.network.embedding(last)), []
        for layer in range(1, len(self.queues)):
            signal, gate = self._convolved(layer, x).chunk(2, dim=1)
            seen.append(torch.tanh(signal) * torch.sigmoid(gate))
            if layer <= len(self.residuals):
                bias, weight = self.residuals[layer - 1]
                x = x + torch.addmm(bias, seen[-1], weight)
        total = torch.addmm(self.skip_bias, torch.cat(seen, dim=1), self.skips)
        return self.network.stack.end(total[..., None])[..., 0]


class SampleRNN(nn.Module):
    """Three tiers, each with a clock of its own [3]_.

    The slowest ticks once in ``frames[0]`` samples: it reads so many samples and tells the next
    tier what it makes of them. That one ticks every ``frames[1]`` samples. The lowest has no
    memory: it sees the last ``frames[1]`` codes and what it is told, and gives the logits of one
    sample.
    """

    def __init__(
        self,
        n_codes: int = 256,
        *,
        condition: int = 0,
        frames: tuple[int, int] = (64, 16),
        hidden: int = 96,
        channels: int = 16,
    ) -> None:
        super().__init__()
        if frames[0] % frames[1]:
            raise ConfigError(
                "SampleRNN: frames",
                got=frames,
                expected="a slow frame that holds a whole number of fast ones",
                hint=f"use {(frames[0] // frames[1] * frames[1] or frames[1], frames[1])}",
            )
        self.n_codes, self.frames = n_codes, frames
        slow, fast = frames
        self.condition = nn.Linear(condition, hidden) if condition else None
        self.read_slow, self.read_fast = nn.Linear(slow, hidden), nn.Linear(fast, hidden)
        self.slow = nn.GRU(hidden, hidden, batch_first=True)
        self.fast = nn.GRU(hidden, hidden, batch_first=True)
        self.tell_fast = nn.Linear(hidden, slow // fast * hidden)
        self.tell_sample = nn.Linear(hidden, fast * hidden)
        self.embedding = embedding_of_codes(n_codes, channels)
        self.window = nn.Linear(fast * channels, hidden)
        self.end = nn.Sequential(
            nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, n_codes)
        )
        smooth_over_codes(self.end[-1].weight)

    def _frames(self, codes: Tensor, size: int) -> Tensor:
        """Return the values of whole frames, (batch, frame, size), from -1 to 1."""
        values = 2 * codes.to(self.window.weight.dtype) / (self.n_codes - 1) - 1
        return values.unflatten(1, (-1, size))

    def _tick_slow(
        self, codes: Tensor, told: Tensor | None, state: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return what the second tier is told for each of its frames, and the state."""
        read = self.read_slow(self._frames(codes, self.frames[0]))
        if self.condition is not None and told is not None:
            read = read + self.condition(told)[:, None]
        out, state = self.slow(read, state)
        n = self.frames[0] // self.frames[1]
        return self.tell_fast(out).unflatten(2, (n, -1)).flatten(1, 2), state

    def _tick_fast(
        self, codes: Tensor, from_slow: Tensor, state: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return what the lowest tier is told for each sample, and the state."""
        read = self.read_fast(self._frames(codes, self.frames[1])) + from_slow
        out, state = self.fast(read, state)
        return self.tell_sample(out).unflatten(2, (self.frames[1], -1)).flatten(1, 2), state

    def forward(self, codes: Tensor, told: Tensor | None = None) -> Tensor:
        """Return the logits of all codes at once, (batch, time, n_codes), of whole slow frames."""
        slow, fast = self.frames
        from_slow, _ = self._tick_slow(before(codes, self.n_codes, slow), told)
        from_fast, _ = self._tick_fast(before(codes, self.n_codes, fast), from_slow)
        padded = F.pad(codes, (fast, 0), value=self.n_codes // 2)[:, :-1]
        windows = self.embedding(padded).unfold(1, fast, 1)  # (batch, time, channel, fast)
        return self.end(self.window(windows.flatten(2)) + from_fast)

    @torch.inference_mode()
    def generate(
        self,
        uniform: Tensor,
        told: Tensor | None = None,
        sampling: SamplingConfig | None = None,
        *,
        start: Tensor | None = None,
    ) -> Tensor:
        """Draw sounds sample by sample, as :meth:`WaveNet.generate`; in whole slow frames."""
        slow, fast = self.frames
        codes_before = torch.full((len(uniform), slow), self.n_codes // 2)
        state: dict[str, Tensor | None] = {"slow": None, "fast": None}
        from_slow = from_fast = torch.empty(0)

        def step(codes: Tensor, t: int) -> Tensor:
            nonlocal from_slow, from_fast
            past = torch.cat([codes_before, codes[:, max(0, t - slow) : t]], dim=1)[:, -slow:]
            if t % slow == 0:
                from_slow, state["slow"] = self._tick_slow(past, told, state["slow"])
            if t % fast == 0:
                heard = from_slow[:, t % slow // fast, None]
                from_fast, state["fast"] = self._tick_fast(past[:, -fast:], heard, state["fast"])
            window = self.embedding(past[:, -fast:]).transpose(1, 2).flatten(1)
            return self.end(self.window(window) + from_fast[:, t % fast])

        return _written(step, self, uniform, sampling, start)
