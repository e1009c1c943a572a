"""Convolutional encoder and decoder of a neural codec, after SoundStream [1]_ and EnCodec [2]_.

Conventions: audio is (batch, time) in [-1, 1] at the codec's sample rate; latents are (batch,
channel, frame), one frame for each :attr:`ConvConfig.hop_samples` samples; codes are (batch, stage,
frame). A signal is padded with zeros to whole frames, and what is decoded is whole frames.

References
----------
.. [1] N. Zeghidour and others, "SoundStream: an end-to-end neural audio codec", 2021.
.. [2] A. Défossez and others, "High fidelity neural audio compression", 2022 (EnCodec).
.. [3] A. Odena and others, "Deconvolution and checkerboard artifacts", Distill, 2016.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Protocol

import torch.nn.functional as F
from torch import Tensor, nn

from dl101.config import Count, NotEmpty, Range, Settings
from dl101.errors import ConfigError, ShapeError


class Codec(Protocol):
    """What every codec offers, ours and published ones alike.

    Attributes
    ----------
    sample_rate
        Of the audio, in Hz.
    frame_rate
        Frames a second.
    codebooks
        Size of the codebook of each stage, so that a frame is worth the sum of their log2 in bits;
        empty where the latents are real numbers.
    """

    sample_rate: int
    frame_rate: float
    codebooks: tuple[int, ...]

    def encode(self, audio: Tensor) -> Tensor:
        """Return codes (batch, stage, frame) int64, or latents (batch, channel, frame) float."""

    def decode(self, codes: Tensor) -> Tensor:
        """Return audio (batch, time), as many samples as the codec makes of so many frames.

        Codes of fewer stages than there are give a coarser sound.
        """


def as_batch(audio: Tensor) -> Tensor:
    """Return audio that is (batch, time), or refuse it.

    Raises
    ------
    ShapeError
        If it has another shape, no sample, or is not floating point.
    """
    if audio.ndim != 2 or audio.shape[-1] == 0 or not audio.is_floating_point():
        raise ShapeError(
            "audio to encode",
            got=f"{audio.dtype} of shape {tuple(audio.shape)}",
            expected="floating point of shape (batch, time) with at least one sample",
            hint="add a batch axis with audio[None], or average the channels",
        )
    return audio


@dataclass(frozen=True)
class ConvConfig(Settings):
    """Sizes of encoder and decoder, which mirror each other.

    Attributes
    ----------
    strides
        What each level of the encoder divides the rate by, from the waveform on.
    channels
        Before the first stride and after each: one more than there are strides.
    dilations
        Of the residual units of a level; the levels before ``first_units`` have none, because at
        the rate of the waveform they cost most.
    first_units
        First level that has residual units; 0 is the waveform's.
    kernel
        Taps of the dilated convolution of a residual unit.
    edge_kernel
        Taps of the first convolution of the encoder and the last of the decoder.
    latent_channels
        Numbers in a frame.
    """

    strides: Annotated[tuple[Count, ...], NotEmpty()] = (2, 4, 5, 8)
    channels: Annotated[tuple[Count, ...], NotEmpty()] = (8, 16, 32, 64, 96)
    dilations: tuple[Count, ...] = (1, 3, 9)
    first_units: Annotated[int, Range(at_least=0, at_most=100)] = 0
    kernel: Count = 3
    edge_kernel: Count = 7
    latent_channels: Count = 32

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.channels) != len(self.strides) + 1:
            changed = "strides" if self.channels == ConvConfig.channels else "channels"
            raise ConfigError(
                f"ConvConfig.{changed}",
                got=f"{len(self.channels)} numbers of channels for {len(self.strides)} strides",
                expected="one more than there are strides",
                hint="the first is the number of channels at the rate of the waveform",
            )
        for name in ("kernel", "edge_kernel"):
            if getattr(self, name) % 2 == 0:
                raise ConfigError(
                    f"ConvConfig.{name}",
                    got=getattr(self, name),
                    expected="an odd number of taps, so that there is one in the middle",
                    hint=f"use {getattr(self, name) + 1}",
                )

    @property
    def hop_samples(self) -> int:
        """Samples that a frame stands for: the product of the strides."""
        return math.prod(self.strides)


class ResidualUnit(nn.Module):
    """``x + conv1(elu(conv3(elu(x))))``: three taps, ``dilation`` apart, then one."""

    def __init__(self, channels: int, *, kernel: int, dilation: int) -> None:
        super().__init__()
        reach = dilation * (kernel // 2)
        self.wide = nn.Conv1d(channels, channels, kernel, dilation=dilation, padding=reach)
        self.mix = nn.Conv1d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return the same shape, (batch, channel, time)."""
        return x + self.mix(F.elu(self.wide(F.elu(x))))


class Down(nn.Module):
    """A convolution that keeps one time step in ``stride``; twice as many taps as steps."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.conv = nn.Conv1d(inputs, outputs, 2 * stride, stride=stride)

    def forward(self, x: Tensor) -> Tensor:
        """Return (batch, outputs, time / stride)."""
        before = self.stride // 2
        return self.conv(F.pad(F.elu(x), (before, self.stride - before)))


class Up(nn.Module):
    """The transposed convolution that undoes the rate of a :class:`Down`.

    Its kernel has exactly two taps for each step of the output, so every sample is the sum of as
    many products as its neighbours: the uneven overlap that makes a periodic pattern, a whistle at
    the frame rate, cannot arise from the shape [3]_. Repeating steps and convolving afterwards
    (resize-convolution) avoids it too but computes ``stride`` times as much.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.conv = nn.ConvTranspose1d(inputs, outputs, 2 * stride, stride=stride)

    def forward(self, x: Tensor) -> Tensor:
        """Return (batch, outputs, time * stride)."""
        before = self.stride // 2
        return self.conv(F.elu(x))[..., before : before + x.shape[-1] * self.stride]


def _units(config: ConvConfig, level: int) -> list[nn.Module]:
    if level < config.first_units:
        return []
    channels = config.channels[level]
    return [ResidualUnit(channels, kernel=config.kernel, dilation=d) for d in config.dilations]


def start_at_one_level(network: nn.Module) -> None:
    """Draw the weights of all convolutions so that a signal keeps its level from layer to layer.

    A weight's variance is one over the number of products in a sum; PyTorch's own start makes it a
    third of that, and behind a dozen layers nothing is left to hear. The second convolution of a
    residual unit starts smaller, so that the unit begins near the identity.
    """
    for module in network.modules():
        if isinstance(module, nn.ConvTranspose1d):  # two taps for each step of the output
            n_products = module.in_channels * module.kernel_size[0] / module.stride[0]
        elif isinstance(module, nn.Conv1d):
            n_products = module.in_channels * module.kernel_size[0]
        else:
            continue
        nn.init.normal_(module.weight, std=n_products**-0.5)
        nn.init.zeros_(module.bias)
    for module in network.modules():
        if isinstance(module, ResidualUnit):
            nn.init.normal_(module.mix.weight, std=0.3 * module.mix.in_channels**-0.5)


class Encoder(nn.Module):
    """Waveform to latents, (batch, time) to (batch, outputs, time / hop_samples).

    Parameters
    ----------
    config
        Sizes.
    outputs
        Numbers in a frame, if not ``config.latent_channels``: a Gaussian needs twice as many.
    """

    def __init__(self, config: ConvConfig, *, outputs: int | None = None) -> None:
        super().__init__()
        self.config = config
        wide, taps = config.channels, config.edge_kernel
        layers: list[nn.Module] = [nn.Conv1d(1, wide[0], taps, padding=taps // 2)]
        for level, stride in enumerate(config.strides):
            layers += [*_units(config, level), Down(wide[level], wide[level + 1], stride)]
        self.layers = nn.Sequential(*layers)
        self.last = nn.Conv1d(wide[-1], outputs or config.latent_channels, 3, padding=1)
        start_at_one_level(self)

    def forward(self, audio: Tensor) -> Tensor:
        """Return one latent for each started frame."""
        rest = -audio.shape[-1] % self.config.hop_samples
        return self.last(F.elu(self.layers(F.pad(audio, (0, rest))[:, None])))


class Decoder(nn.Module):
    """Latents to waveform, (batch, latent_channels, frame) to (batch, frame * hop_samples)."""

    def __init__(self, config: ConvConfig) -> None:
        super().__init__()
        self.config = config
        wide, taps = config.channels, config.edge_kernel
        self.first = nn.Conv1d(config.latent_channels, wide[-1], 3, padding=1)
        layers: list[nn.Module] = []
        for level, stride in reversed([*enumerate(config.strides)]):
            layers += [Up(wide[level + 1], wide[level], stride), *_units(config, level)]
        self.layers = nn.Sequential(*layers)
        self.last = nn.Conv1d(wide[0], 1, taps, padding=taps // 2)
        start_at_one_level(self)

    def forward(self, latents: Tensor) -> Tensor:
        """Return whole frames."""
        return self.last(F.elu(self.layers(self.first(latents))))[:, 0]
