"""Networks that take a mixture's waveform and give the waveforms of its stems.

Conventions: a mixture is (batch, channels, time), what comes out (batch, stems, channels, time), as
long as the mixture or, without padding, shorter and in its middle: convolutions that are not
padded need *context* on both sides (:meth:`WaveformSeparator.lengths`). The defaults of each
configuration are the published sizes.

Here are the base class, a WaveNet that regresses, the multi-resolution auto-encoder, and the
Conv-TasNet of torchaudio; :mod:`dl101.nn.wave_unet` has the two U-Nets.

References
----------
.. [1] F. Lluís, J. Pons, X. Serra, "End-to-end music source separation: is it possible in the
   waveform domain?", Interspeech 2019.
.. [2] E. M. Grais, D. Ward, M. D. Plumbley, "Raw multi-channel audio source separation using
   multi-resolution convolutional auto-encoders", EUSIPCO 2018.
.. [3] Y. Luo, N. Mesgarani, "Conv-TasNet: surpassing ideal time-frequency magnitude masking for
   speech separation", IEEE/ACM TASLP 27(8), 2019.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dl101.config import Count, NotEmpty, Range, Settings
from dl101.errors import ConfigError, ShapeError

Layers = Annotated[int, Range(at_least=1, at_most=30)]
Odd = Annotated[int, Range(at_least=1, at_most=65_535)]
Kernels = Annotated[tuple[Count, ...], NotEmpty()]


class Lengths(NamedTuple):
    """How many samples a network takes, and how many it gives for them."""

    input: int
    output: int


def middle(x: Tensor, n_samples: int) -> Tensor:
    """Return the ``n_samples`` in the middle of the last axis."""
    start = (x.shape[-1] - n_samples) // 2
    return x[..., start : start + n_samples]


def require_odd(config: Settings, *names: str) -> None:
    """Refuse a kernel that has no middle."""
    for name in names:
        if getattr(config, name) % 2 == 0:
            raise ConfigError(
                f"{type(config).__name__}.{name}",
                got=getattr(config, name),
                expected="an odd number of taps, so that there is one in the middle",
                hint=f"use {getattr(config, name) + 1}",
            )


class WaveformSeparator(nn.Module):
    """Base of the networks: shapes, lengths, and how far they see.

    Attributes
    ----------
    n_stems, n_channels
        Of what comes out.
    difference
        The last stem is the mixture minus the others, so that the stems sum to it.
    step_samples
        A mixture that is moved by a multiple of this gives what it gave, moved.
    sees_all
        Something in the network looks at the whole input: a recurrent layer, a normalisation.
    """

    step_samples = 1
    sees_all = False

    def __init__(self, n_stems: int, n_channels: int, *, difference: bool = False) -> None:
        super().__init__()
        self.n_stems, self.n_channels, self.difference = n_stems, n_channels, difference

    @property
    def n_outputs(self) -> int:
        """How many channels the last layer has: those of all stems that it makes."""
        return (self.n_stems - self.difference) * self.n_channels

    def lengths(self, n_samples: int) -> Lengths:
        """Return the shortest input that gives at least ``n_samples``, and what it gives."""
        raise NotImplementedError

    def reach(self, first: int, last: int) -> tuple[int, int]:
        """Return the first and last sample that a stretch of output depends on.

        Both are counted in samples of the input, as if it had no ends; what :attr:`sees_all`
        is left out.
        """
        raise NotImplementedError

    def network(self, mixture: Tensor) -> Tensor:
        """Return (batch, n_outputs, time) of a mixture whose length has been checked."""
        raise NotImplementedError

    def forward(self, mixture: Tensor) -> Tensor:
        """Return (batch, stems, channels, time).

        Raises
        ------
        ShapeError
            If the mixture has another number of channels, or a length that does not fit.
        """
        if mixture.ndim != 3 or mixture.shape[1] != self.n_channels:
            raise ShapeError(
                "mixture",
                got=tuple(mixture.shape),
                expected=f"(batch, {self.n_channels}, time)",
                hint="add an axis for the batch, or build the network for as many channels",
            )
        n_in = mixture.shape[-1]
        n_out = n_in - sum(self.margins)
        fitting = self.lengths(max(n_out, 1))
        if fitting.input != n_in:
            raise ShapeError(
                "length of the mixture",
                got=n_in,
                expected=f"for example {fitting.input}, which gives {fitting.output}",
                hint="pad it to what the method lengths says",
            )
        made = self.network(mixture).unflatten(1, (-1, self.n_channels))
        if not self.difference:
            return made
        rest = middle(mixture, made.shape[-1])[:, None] - made.sum(dim=1, keepdim=True)
        return torch.cat([made, rest], dim=1)

    @cached_property
    def margins(self) -> tuple[int, int]:
        """Samples at both ends of an input for which there is no output."""
        n_in, n_out = self.lengths(1)
        return (n_in - n_out) // 2, n_in - n_out - (n_in - n_out) // 2

    @cached_property
    def sides(self) -> tuple[int, int]:
        """How many samples before and after an output sample it depends on, at the most."""
        reached = [self.reach(at, at) for at in range(self.step_samples)]
        before = max(at - first for at, (first, _) in enumerate(reached))
        return before, max(last - at for at, (_, last) in enumerate(reached))

    @cached_property
    def receptive_field(self) -> float:
        """How many samples of the input an output sample depends on, at the most."""
        if self.sees_all:
            return math.inf
        spans = (self.reach(at, at) for at in range(self.step_samples))
        return max(last - first + 1 for first, last in spans)


# ---- WaveNet -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class WaveNetConfig(Settings):
    """Sizes of the WaveNet of [1]_.

    Attributes
    ----------
    n_stacks, n_layers
        Stacks of layers, and the layers of each, with dilations 1, 2, 4, ...
    channels, skip_channels
        Of the residual path, and of what each layer hands to the end.
    kernel
        Taps of the dilated convolutions, and of the others that have more than one.
    final_channels
        Of the two convolutions before the last.
    difference
        The last stem is what the others leave of the mixture.
    """

    n_stacks: Layers = 4
    n_layers: Layers = 10
    channels: Count = 64
    skip_channels: Count = 64
    kernel: Odd = 3
    final_channels: tuple[Count, Count] = (2048, 256)
    difference: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        require_odd(self, "kernel")


class GatedLayer(nn.Module):
    """One dilated layer: ``tanh * sigmoid``, then one part to the next layer, one to the end."""

    def __init__(self, config: WaveNetConfig, dilation: int) -> None:
        super().__init__()
        width = config.channels
        self.split = [width, config.skip_channels]
        self.wide = nn.Conv1d(width, 2 * width, config.kernel, dilation=dilation, bias=False)
        self.mix = nn.Conv1d(width, sum(self.split), 1, bias=False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return (batch, channels, shorter time) twice: for the next layer, for the end."""
        signal, gate = self.wide(x).chunk(2, dim=1)
        residual, skip = self.mix(torch.tanh(signal) * torch.sigmoid(gate)).split(self.split, dim=1)
        return middle(x, residual.shape[-1]) + residual, skip


class WaveNet(WaveformSeparator):
    """A WaveNet that looks both ways and says a number for each sample, not a distribution [1]_.

    Nothing is strided and nothing padded: each output sample sees the same number of samples on
    both sides.
    """

    def __init__(self, config: WaveNetConfig, n_stems: int, n_channels: int) -> None:
        super().__init__(n_stems, n_channels, difference=config.difference)
        self.config = config
        self.first = nn.Conv1d(n_channels, config.channels, config.kernel, bias=False)
        dilations = [2**i for _ in range(config.n_stacks) for i in range(config.n_layers)]
        self.layers = nn.ModuleList(GatedLayer(config, d) for d in dilations)
        wide, narrow = config.final_channels
        self.last = nn.Sequential(
            nn.ReLU(),
            nn.Conv1d(config.skip_channels, wide, config.kernel, bias=False),
            nn.ReLU(),
            nn.Conv1d(wide, narrow, config.kernel, bias=False),
            nn.Conv1d(narrow, self.n_outputs, 1),
        )
        # of the first convolution, the dilated ones and two at the end
        self.lost = (config.kernel - 1) * (1 + sum(dilations) + 2)

    def lengths(self, n_samples: int) -> Lengths:
        """Return ``n_samples`` and the receptive field less one."""
        return Lengths(n_samples + self.lost, n_samples)

    def reach(self, first: int, last: int) -> tuple[int, int]:
        """Return half of what is lost on either side."""
        return first - self.lost // 2, last + self.lost // 2

    def network(self, mixture: Tensor) -> Tensor:
        """Sum what the layers hand over, and make the stems of it."""
        x = self.first(mixture)
        n_samples = mixture.shape[-1] - self.lost + 2 * (self.config.kernel - 1)
        total: Tensor | int = 0
        for layer in self.layers:
            x, skip = layer(x)
            total = total + middle(skip, n_samples)
        return self.last(total)


# ---- multi-resolution auto-encoder -------------------------------------------------------------


@dataclass(frozen=True)
class MultiResolutionConfig(Settings):
    """Sizes of the multi-resolution convolutional auto-encoder of [2]_.

    Attributes
    ----------
    kernels
        Lengths of the filters of each layer of the encoder: short ones next to long ones.
    n_filters
        How many of each length.
    strides
        What each layer divides the rate by.
    """

    kernels: Annotated[tuple[Kernels, ...], NotEmpty()] = ((5, 50, 256, 512, 1025),) * 2
    n_filters: Count = 20
    strides: Annotated[tuple[Count, ...], NotEmpty()] = (1, 1)

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.kernels) != len(self.strides):
            raise ConfigError(
                "MultiResolutionConfig.strides",
                got=f"{len(self.strides)} strides for {len(self.kernels)} layers of kernels",
                expected="one stride for each layer",
                hint="1 keeps the rate",
            )


class Sets(nn.Module):
    """Convolutions of several lengths side by side; each frame is the middle of all of them."""

    def __init__(self, inputs: int, n_filters: int, kernels: tuple[int, ...], stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.branches = nn.ModuleList(nn.Conv1d(inputs, n_filters, k, stride) for k in kernels)

    def forward(self, x: Tensor) -> Tensor:
        """Return (batch, filters of all lengths, time / stride)."""
        made = []
        for branch in self.branches:
            beyond = branch.kernel_size[0] - self.stride
            made.append(branch(F.pad(x, (beyond // 2, beyond - beyond // 2))))
        return torch.cat(made, dim=1)


class TransposedSets(nn.Module):
    """The reverse of :class:`Sets`; what the lengths give stands side by side, or is added."""

    def __init__(
        self, inputs: int, n_filters: int, kernels: tuple[int, ...], stride: int, *, added: bool
    ) -> None:
        super().__init__()
        self.stride, self.added = stride, added
        self.branches = nn.ModuleList(
            nn.ConvTranspose1d(inputs, n_filters, k, stride) for k in kernels
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return (batch, filters, time * stride)."""
        made = []
        for branch in self.branches:
            beyond = branch.kernel_size[0] - self.stride
            made.append(F.pad(branch(x), (-(beyond // 2), beyond // 2 - beyond)))
        return torch.stack(made).sum(dim=0) if self.added else torch.cat(made, dim=1)


class MultiResolution(WaveformSeparator):
    """Filters of several lengths in each layer, at whose ends nothing needs to be known [2]_.

    A short filter follows an attack, a long one tells two pitches apart: a spectrogram has to
    choose one length of window, this network has several. Input and output are padded with zeros.
    The last layer adds up what its lengths give.
    """

    def __init__(self, config: MultiResolutionConfig, n_stems: int, n_channels: int) -> None:
        super().__init__(n_stems, n_channels)
        self.config, self.step_samples = config, math.prod(config.strides)
        layers: list[nn.Module] = []
        inputs = n_channels
        for kernels, stride in zip(config.kernels, config.strides, strict=True):
            layers += [Sets(inputs, config.n_filters, kernels, stride), nn.ReLU()]
            inputs = config.n_filters * len(kernels)
        for level in reversed(range(len(config.kernels))):
            last, kernels = level == 0, config.kernels[level]
            n_filters = self.n_outputs if last else config.n_filters
            stride = config.strides[level]
            layers += [TransposedSets(inputs, n_filters, kernels, stride, added=last)]
            layers += [] if last else [nn.ReLU()]
            inputs = n_filters * len(kernels)
        self.layers = nn.Sequential(*layers)

    def lengths(self, n_samples: int) -> Lengths:
        """Return ``n_samples``, rounded up to whole frames, twice."""
        n_samples = -(-n_samples // self.step_samples) * self.step_samples
        return Lengths(n_samples, n_samples)

    def reach(self, first: int, last: int) -> tuple[int, int]:
        """Go back through the layers, each with its longest filters."""
        sizes = list(zip(self.config.kernels, self.config.strides, strict=True))
        for kernels, stride in sizes:
            spans = []
            for k in kernels:
                before = (k - stride) // 2
                low, high = -(-(first + before - k + 1) // stride), (last + before) // stride
                spans += [(low, high)] if low <= high else []
            first, last = min(low for low, _ in spans), max(high for _, high in spans)
        for kernels, stride in reversed(sizes):
            before = [(k - stride) // 2 for k in kernels]
            ends = [last * stride - b + k - 1 for b, k in zip(before, kernels, strict=True)]
            first, last = first * stride - max(before), max(ends)
        return first, last

    def network(self, mixture: Tensor) -> Tensor:
        """Encode and decode."""
        return self.layers(mixture)


# ---- Conv-TasNet -------------------------------------------------------------------------------


@dataclass(frozen=True)
class ConvTasNetConfig(Settings):
    """Sizes of Conv-TasNet; the letters are those of [3]_.

    Attributes
    ----------
    kernel
        L, taps of encoder and decoder; half of it is the hop.
    n_features
        N, filters of the encoder.
    channels
        B and Sc, of the blocks' ends.
    hidden
        H, inside the blocks.
    block_kernel
        P, taps of the dilated convolutions.
    n_layers, n_stacks
        X blocks with dilations 1, 2, 4, ..., R times.
    """

    kernel: Annotated[int, Range(at_least=2, at_most=65_536)] = 16
    n_features: Count = 512
    channels: Count = 128
    hidden: Count = 512
    block_kernel: Odd = 3
    n_layers: Layers = 8
    n_stacks: Layers = 3

    def __post_init__(self) -> None:
        super().__post_init__()
        require_odd(self, "block_kernel")
        if self.kernel % 2:
            raise ConfigError(
                "ConvTasNetConfig.kernel",
                got=self.kernel,
                expected="an even number of taps, of which the hop is half",
                hint=f"use {self.kernel + 1}",
            )


class ConvTasNet(WaveformSeparator):
    """torchaudio's Conv-TasNet behind the interface of the others [3]_.

    A learnt front-end of short filters, a mask for each stem from dilated convolutions, and the
    way back. It is made for one channel: each channel passes by itself. Its normalisation takes
    the mean over all of the input, so in the strict sense every sample sees all others.
    """

    sees_all = True

    def __init__(self, config: ConvTasNetConfig, n_stems: int, n_channels: int) -> None:
        super().__init__(n_stems, n_channels)
        from dl101.nn.torchaudio_compat import torchaudio

        self.config, self.step_samples = config, config.kernel // 2
        self.model = torchaudio.models.ConvTasNet(
            num_sources=n_stems,
            enc_kernel_size=config.kernel,
            enc_num_feats=config.n_features,
            msk_kernel_size=config.block_kernel,
            msk_num_feats=config.channels,
            msk_num_hidden_feats=config.hidden,
            msk_num_layers=config.n_layers,
            msk_num_stacks=config.n_stacks,
            msk_activate="relu",
        )

    def lengths(self, n_samples: int) -> Lengths:
        """Return ``n_samples`` twice: the model pads to whole hops by itself."""
        return Lengths(n_samples, n_samples)

    def reach(self, first: int, last: int) -> tuple[int, int]:
        """Return what the convolutions reach."""
        config, hop = self.config, self.step_samples
        frames = config.n_stacks * (2**config.n_layers - 1) * (config.block_kernel // 2)
        low, high = -(-(first + hop - config.kernel + 1) // hop), (last + hop) // hop
        low, high = low - frames, high + frames
        return low * hop - hop, high * hop - hop + config.kernel - 1

    def network(self, mixture: Tensor) -> Tensor:
        """Separate each channel, and put the stems first again."""
        made = self.model(mixture.flatten(0, 1)[:, None])  # (batch * channels, stems, time)
        made = made.unflatten(0, (-1, self.n_channels))
        return made.transpose(1, 2).flatten(1, 2)


# ---- the hum of an untrained network -----------------------------------------------------------


@torch.no_grad()
def hum(network: WaveformSeparator, n_samples: int) -> Tensor:
    """Return what a network makes of silence, without its mean: (stems, channels, n_samples).

    Convolutions make a constant of a constant. Transposed convolutions don't: of ``stride``
    neighbours each is the sum of other weights, so that a pattern repeats every ``stride`` samples,
    a line in the spectrum at the rate divided by the stride (Odena and others, "Deconvolution and
    checkerboard artifacts", 2016). Training has to unlearn it; interpolation never has it.
    """
    network.eval()
    device = next(network.parameters()).device
    silence = torch.zeros(1, network.n_channels, network.lengths(n_samples).input, device=device)
    made = middle(network(silence)[0], n_samples)
    return made - made.mean(dim=-1, keepdim=True)
