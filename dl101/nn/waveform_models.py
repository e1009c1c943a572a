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
from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dl101.errors import ConfigError
from dl101.nn.convolutional import WaveNetStack
from dl101.nn.sampling import SamplingConfig, draw


def before(codes: Tensor, n_codes: int, n: int = 1) -> Tensor:
    """Return the codes ``n`` samples earlier: silence first, and the last ``n`` left out."""
    return F.pad(codes, (n, 0), value=n_codes // 2)[:, : codes.shape[1]]


def bits_per_sample(logits: Tensor, codes: Tensor) -> Tensor:
    """Return how surprised a model is by each code, (batch, time): ``-log2 p(code)``."""
    nats = F.cross_entropy(logits.flatten(0, 1).float(), codes.flatten(), reduction="none")
    return nats.view_as(codes) / math.log(2)


def embedding_of_codes(n_codes: int, channels: int) -> nn.Embedding:
    """Return a vector for each code, in which neighbouring codes are alike to begin with."""
    table = nn.Embedding(n_codes, channels)
    place = (torch.arange(n_codes) + 0.5) / n_codes
    with torch.no_grad():
        table.weight.copy_(torch.cos(math.pi * place[:, None] * torch.arange(channels)))
    return table


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
        channels: int = 32,
        skip_channels: int = 64,
        dilations: Sequence[int] = (1, 2, 4, 8, 16, 32, 64, 128) * 2,
    ) -> None:
        super().__init__()
        self.n_codes = n_codes
        self.embedding = embedding_of_codes(n_codes, channels)
        self.stack = WaveNetStack(
            channels, n_codes, channels=channels, skip_channels=skip_channels, dilations=dilations
        )
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
