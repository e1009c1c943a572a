"""Two U-Nets on waveforms: Wave-U-Net and Demucs.

Conventions are those of :mod:`dl101.nn.waveform_separation`. Both halve or quarter the rate level
by level and come back, with what each level was like before put beside (Wave-U-Net) or added to
(Demucs) what comes from below.

References
----------
.. [1] D. Stoller, S. Ewert, S. Dixon, "Wave-U-Net: a multi-scale neural network for end-to-end
   audio source separation", ISMIR 2018.
.. [2] A. Défossez, N. Usunier, L. Bottou, F. Bach, "Demucs: deep extractor for music sources with
   extra unlabeled data remixed", 2019; the sizes are those of the published code.
.. [3] A. Odena, V. Dumoulin, C. Olah, "Deconvolution and checkerboard artifacts", Distill, 2016.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from torch import Tensor, nn

from dl101.config import Count, NotNegative, Range, Settings
from dl101.errors import ConfigError
from dl101.nn.waveform_separation import (
    Lengths,
    Odd,
    WaveformSeparator,
    middle,
    require_odd,
)


@dataclass(frozen=True)
class WaveUNetConfig(Settings):
    """Sizes of the Wave-U-Net; the defaults are model M4 of [1]_.

    Attributes
    ----------
    n_layers
        How often the rate is halved.
    channels
        Of the first layer; layer ``i`` has ``i`` times as many.
    down_kernel, up_kernel
        Taps of the convolutions on the way down and on the way up.
    context
        Convolutions are not padded: the input is longer than the output, and no output depends on
        zeros that nobody recorded.
    upsampling
        ``"linear"``: interpolation. ``"learned"``: between two neighbours a weighted mean, with one
        weight for each channel (model M5). ``"transposed"``: a transposed convolution with three
        taps, of which (1/2, 1, 1/2) would be the interpolation; others may let a pattern
        be heard that comes again every two samples [3]_.
    difference
        The last stem is what the others leave of the mixture.
    """

    n_layers: Annotated[int, Range(at_least=1, at_most=16)] = 12
    channels: Count = 24
    down_kernel: Odd = 15
    up_kernel: Odd = 5
    context: bool = True
    upsampling: Literal["linear", "learned", "transposed"] = "linear"
    difference: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        require_odd(self, "down_kernel", "up_kernel")


class Upsample(nn.Module):
    """From n steps to 2 n - 1: a new one between each two neighbours."""

    def __init__(self, channels: int, kind: str) -> None:
        super().__init__()
        self.kind = kind
        if kind == "learned":
            self.weight = nn.Parameter(torch.zeros(channels, 1))  # sigmoid: 1/2
        elif kind == "transposed":
            self.conv = nn.ConvTranspose1d(channels, channels, 3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Return (batch, channels, 2 time - 1)."""
        if self.kind == "transposed":
            return self.conv(x)
        share = torch.sigmoid(self.weight) if self.kind == "learned" else 0.5
        between = share * x[..., :-1] + (1 - share) * x[..., 1:]
        woven = torch.stack([x[..., :-1], between], dim=-1).flatten(-2)
        return torch.cat([woven, x[..., -1:]], dim=-1)


class WaveUNet(WaveformSeparator):
    """Wave-U-Net: convolve, keep every second step; from the bottom, weave new steps in [1]_.

    Lengths are odd on every level, so that the steps that are kept are the first, third, ..., last
    one, and come to lie where they were. (The original without context works on even lengths, where
    they move by half a step.)
    """

    def __init__(self, config: WaveUNetConfig, n_stems: int, n_channels: int) -> None:
        super().__init__(n_stems, n_channels, difference=config.difference)
        self.config, self.step_samples = config, 2**config.n_layers
        wide = [n_channels, *(config.channels * (i + 1) for i in range(config.n_layers + 1))]

        def conv(inputs: int, outputs: int, taps: int) -> nn.Sequential:
            padding = 0 if config.context else taps // 2
            return nn.Sequential(
                nn.Conv1d(inputs, outputs, taps, padding=padding), nn.LeakyReLU(0.2)
            )

        pairs = itertools.pairwise(wide)
        self.down = nn.ModuleList(conv(a, b, config.down_kernel) for a, b in pairs)
        self.rise = nn.ModuleList(Upsample(c, config.upsampling) for c in wide[:1:-1])
        self.up = nn.ModuleList(
            conv(below + c, c, config.up_kernel)
            for below, c in zip(wide[:1:-1], wide[-2:0:-1], strict=True)
        )
        self.last = nn.Conv1d(wide[1] + n_channels, self.n_outputs, 1)

    def lengths(self, n_samples: int) -> Lengths:
        """Follow the shapes: from the output down to the bottom, and up to both ends."""
        config = self.config
        if not config.context:  # whole steps of the bottom, and their last sample
            n_samples = -(-(n_samples - 1) // self.step_samples) * self.step_samples + 1
            return Lengths(n_samples, n_samples)
        up, down = config.up_kernel - 1, config.down_kernel - 1
        steps = n_samples
        for _ in range(config.n_layers):
            steps = -(-(steps + up + 1) // 2)
        steps = max(steps, 2)
        output, source = steps, steps + down
        for _ in range(config.n_layers):
            output, source = 2 * output - 1 - up, 2 * source - 1 + down
        return Lengths(source, output)

    def reach(self, first: int, last: int) -> tuple[int, int]:
        """Go back by way of the bottom, from where one sees farthest."""
        config = self.config
        half = config.down_kernel // 2
        for level in range(config.n_layers):
            reach, step = config.up_kernel // 2 * 2**level, 2 ** (level + 1)
            begin = half * (step - 1) if config.context else 0  # of the steps that are kept
            first = (first - reach - begin) // step * step + begin
            last = -(-(last + reach - begin) // step) * step + begin
        reach = half * (2 ** (config.n_layers + 1) - 1)
        return first - reach, last + reach

    def network(self, mixture: Tensor) -> Tensor:
        """Go down, come up, and look at the mixture once more."""
        x, kept = mixture, []
        for down in self.down[:-1]:
            x = down(x)
            kept.append(x)
            x = x[..., ::2]
        x = self.down[-1](x)
        for rise, up in zip(self.rise, self.up, strict=True):
            x = rise(x)
            x = up(torch.cat([middle(kept.pop(), x.shape[-1]), x], dim=1))
        x = torch.cat([middle(mixture, x.shape[-1]), x], dim=1)
        return torch.tanh(self.last(x))


# ---- Demucs ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class DemucsConfig(Settings):
    """Sizes of Demucs; the defaults are those of the published code [2]_.

    Attributes
    ----------
    n_layers
        Levels of encoder and decoder.
    channels, growth
        Channels of the first level, and the factor from one to the next.
    kernel, stride
        Of the convolutions that divide the rate, and of the transposed ones that undo it.
    context
        Taps of the decoder's convolution before each transposed one.
    lstm_layers
        Of the bidirectional LSTM at the bottom; 0 leaves it out.
    rescale
        Weights begin with a deviation of ``sqrt(rescale * their own)``; 0 leaves them as they are.
    """

    n_layers: Annotated[int, Range(at_least=1, at_most=10)] = 6
    channels: Count = 64
    growth: Annotated[float, Range(at_least=1, at_most=4)] = 2.0
    kernel: Annotated[int, Range(at_least=2, at_most=65_536)] = 8
    stride: Annotated[int, Range(at_least=1, at_most=64)] = 4
    context: Odd = 3
    lstm_layers: Annotated[int, Range(at_least=0, at_most=20)] = 2
    rescale: NotNegative = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        require_odd(self, "context")
        if self.kernel < self.stride or (self.kernel - self.stride) % 2:
            changed = "stride" if self.kernel == DemucsConfig.kernel else "kernel"
            raise ConfigError(
                f"DemucsConfig.{changed}",
                got=f"{self.kernel} taps, {self.stride} steps apart",
                expected="at least as many taps as steps, and an even number more",
                hint=f"{2 * self.stride} taps for {self.stride} steps",
            )

    @property
    def widths(self) -> list[int]:
        """Channels of each level."""
        found = [self.channels]
        for _ in range(self.n_layers - 1):
            found.append(int(self.growth * found[-1]))
        return found


class BothWays(nn.Module):
    """A bidirectional LSTM along time, and a linear layer that brings back the channels."""

    def __init__(self, channels: int, n_layers: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(channels, channels, n_layers, bidirectional=True)
        self.linear = nn.Linear(2 * channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Return the same shape, (batch, channels, time)."""
        return self.linear(self.lstm(x.permute(2, 0, 1))[0]).permute(1, 2, 0)


@torch.no_grad()
def rescale_weights(network: nn.Module, reference: float) -> None:
    """Bring the deviation of the weights of each convolution nearer to ``reference`` [2]_.

    A weight, and its bias, is divided by ``sqrt(deviation / reference)``: PyTorch's start makes
    the last layers of a decoder so small that the loss hardly feels them at first.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv1d | nn.ConvTranspose1d):
            scale = (module.weight.std() / reference).sqrt()
            module.weight.div_(scale)
            if module.bias is not None:
                module.bias.div_(scale)


class Demucs(WaveformSeparator):
    """Demucs: strided convolutions and gated linear units, an LSTM, transposed convolutions [2]_.

    Nothing is padded: the decoder's convolutions of three taps take a step at both ends of each
    level, so the input is longer than the output. Skips are added, not put beside.
    """

    def __init__(self, config: DemucsConfig, n_stems: int, n_channels: int) -> None:
        super().__init__(n_stems, n_channels)
        self.config, self.step_samples = config, config.stride**config.n_layers
        self.sees_all = config.lstm_layers > 0
        self.encoder, self.decoder = nn.ModuleList(), nn.ModuleList()
        inputs, outputs = n_channels, self.n_outputs
        for level, wide in enumerate(config.widths):
            self.encoder.append(
                nn.Sequential(
                    nn.Conv1d(inputs, wide, config.kernel, config.stride),
                    nn.ReLU(),
                    nn.Conv1d(wide, 2 * wide, 1),
                    nn.GLU(dim=1),
                )
            )
            up = [
                nn.Conv1d(wide, 2 * wide, config.context),
                nn.GLU(dim=1),
                nn.ConvTranspose1d(wide, outputs, config.kernel, config.stride),
            ]
            self.decoder.insert(0, nn.Sequential(*up, *([nn.ReLU()] if level else [])))
            inputs = outputs = wide
        self.bottom = BothWays(inputs, config.lstm_layers) if config.lstm_layers else None
        if config.rescale:
            rescale_weights(self, config.rescale)

    def lengths(self, n_samples: int) -> Lengths:
        """Follow the shapes: from the output down to the bottom, and up to both ends."""
        config = self.config
        lost, overlap = config.context - 1, config.kernel - config.stride
        steps = n_samples
        for _ in range(config.n_layers):
            steps = max(-(-(steps - overlap) // config.stride), 1) + lost
        source, output = steps, steps
        for _ in range(config.n_layers):
            source = source * config.stride + overlap
            output = (output - lost) * config.stride + overlap
        return Lengths(source, output)

    def reach(self, first: int, last: int) -> tuple[int, int]:
        """Go back by way of the bottom; the LSTM, which sees all, is left out."""
        config = self.config
        for _ in range(config.n_layers):
            first = -(-(first - config.kernel + 1) // config.stride) - config.context // 2
            last = last // config.stride + config.context // 2
        for _ in range(config.n_layers):
            first, last = first * config.stride, last * config.stride + config.kernel - 1
        return first, last

    def network(self, mixture: Tensor) -> Tensor:
        """Encode, look along time, decode."""
        x, kept = mixture, []
        for encode in self.encoder:
            x = encode(x)
            kept.append(x)
        if self.bottom is not None:
            x = self.bottom(x)
        for decode in self.decoder:
            x = decode(x + middle(kept.pop(), x.shape[-1]))
        return x
