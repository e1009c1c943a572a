"""From a mel spectrogram to a voice: an encoder with synthesisers, and convolutions alone.

Conventions: a mel spectrogram is (batch, band, frame), controls are (batch, frame) or (batch,
frame, channel), audio is (batch, frame * hop). A frame's controls hold at its first sample, as a
frame of a centred spectrogram does.

:class:`SourceFilter` is SawSing [1]_ and its kin: an encoder says per frame the fundamental, how
the source sounds and how noise does; what it says is kept in :class:`Controls`, which can be
changed before the sound is made. :class:`ConvGenerator` is HiFi-GAN's [2]_ generator or, with one
kernel, MelGAN's [3]_: samples come straight from convolutions.

References
----------
.. [1] D.-Y. Wu and others, "DDSP-based singing vocoders: a new subtractive-based synthesizer and a
   comprehensive evaluation", ISMIR 2022.
.. [2] J. Kong, J. Kim and J. Bae, "HiFi-GAN", NeurIPS 2020.
.. [3] K. Kumar and others, "MelGAN", NeurIPS 2019.
.. [4] X. Wang, S. Takaki and J. Yamagishi, "Neural source-filter waveform models for statistical
   parametric speech synthesis", 2020.
.. [5] A. Gulati and others, "Conformer", Interspeech 2020.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from dl101.config import Count, NotEmpty, PositiveInterval, Range, Settings
from dl101.errors import ConfigError
from dl101.nn import synthesis

SOURCES = ("sawtooth", "harmonics", "wavetable", "neural")
SAW_LEVEL = 0.4  # of the sawtooth before its filter
QUIET = 5.0  # how far below the middle of its range noise begins


@dataclass(frozen=True)
class VocoderEncoderConfig(Settings):
    """Sizes of the encoder; the defaults are those of SawSing.

    Attributes
    ----------
    channels
        Of every frame, in all layers.
    n_layers, n_heads, head_channels
        Layers of attention, and their heads.
    kernel
        Frames that the convolution of a layer sees, an odd number.
    """

    channels: Count = 64
    n_layers: Count = 3
    n_heads: Count = 8
    head_channels: Count = 64
    kernel: Count = 31

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.channels % 4 or self.kernel % 2 == 0:
            raise ConfigError(
                f"VocoderEncoderConfig.{'channels' if self.channels % 4 else 'kernel'}",
                got=f"{self.channels} channels and a kernel of {self.kernel}",
                expected="a multiple of 4, for groups to normalise, and an odd number of frames",
                hint="try 64 channels and a kernel of 31",
            )


class Attention(nn.Module):
    """Every frame looks at every other; (batch, frame, channel) in and out.

    SawSing's attention is the Performer's, which comes near the softmax with random features and
    costs less where there are thousands of frames. This one is the softmax itself: the same
    weights, the same count.
    """

    def __init__(self, channels: int, n_heads: int, head_channels: int) -> None:
        super().__init__()
        inner = n_heads * head_channels
        self.n_heads = n_heads
        self.query, self.key, self.value = (nn.Linear(channels, inner) for _ in range(3))
        self.out = nn.Linear(inner, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Return what each frame takes from all."""
        heads = [
            layer(x).unflatten(-1, (self.n_heads, -1)).transpose(1, 2)
            for layer in (self.query, self.key, self.value)
        ]
        return self.out(F.scaled_dot_product_attention(*heads).transpose(1, 2).flatten(2))


class LocalConvolution(nn.Module):
    """The Conformer's convolution [5]_: a gate, a filter for each channel, Swish."""

    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__()
        inner = 2 * channels
        self.norm = nn.LayerNorm(channels)
        self.open = nn.Conv1d(channels, 2 * inner, 1)
        self.filter = nn.Conv1d(inner, inner, kernel, padding=kernel // 2, groups=inner)
        self.close = nn.Conv1d(inner, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return (batch, frame, channel) of the same."""
        gated = F.glu(self.open(self.norm(x).transpose(1, 2)), dim=1)
        return self.close(F.silu(self.filter(gated))).transpose(1, 2)


class Layer(nn.Module):
    """Attention, then the convolution; each adds to what comes in."""

    def __init__(self, config: VocoderEncoderConfig) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(config.channels)
        self.attention = Attention(config.channels, config.n_heads, config.head_channels)
        self.convolution = LocalConvolution(config.channels, config.kernel)

    def forward(self, x: Tensor) -> Tensor:
        """Return (batch, frame, channel) of the same."""
        x = x + self.attention(self.norm(x))
        return x + self.convolution(x)


class Encoder(nn.Module):
    """From (batch, band, frame) to numbers of each frame, (batch, frame, output)."""

    def __init__(self, n_bands: int, n_outputs: int, config: VocoderEncoderConfig) -> None:
        super().__init__()
        width = config.channels
        self.stem = nn.Sequential(
            nn.Conv1d(n_bands, width, 3, padding=1),
            nn.GroupNorm(4, width),
            nn.LeakyReLU(0.01),
            nn.Conv1d(width, width, 3, padding=1),
        )
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.n_layers))
        self.norm = nn.LayerNorm(width)
        self.head = weight_norm(nn.Linear(width, n_outputs))

    def forward(self, mel: Tensor) -> Tensor:
        """Return the outputs, of any size and sign."""
        x = self.stem(mel).transpose(1, 2)
        for layer in self.layers:
            x = layer(x)
        return self.head(self.norm(x))


@dataclass(frozen=True)
class SynthesisConfig(Settings):
    """What the synthesisers do; the defaults are those of SawSing.

    Attributes
    ----------
    f0_range_hz
        Lowest and highest fundamental.
    n_partials
        Of the sawtooth, or sines of their own amplitude.
    n_harmonic_bands, n_noise_bands
        Magnitudes of the filters of the sawtooth and of the noise.
    n_tables, table_samples
        Of the wavetable source.
    filter_channels, filter_features, dilations
        Of the neural filter: its width, the numbers of a frame that steer it, its layers.
    compensate
        Whether the filters' delay is taken out. The code that came with SawSing leaves it in: 255
        samples for the sawtooth and 79 for the noise.
    """

    f0_range_hz: PositiveInterval = (80.0, 1000.0)
    n_partials: Count = 150
    n_harmonic_bands: Annotated[int, Range(at_least=2, at_most=8192)] = 256
    n_noise_bands: Annotated[int, Range(at_least=2, at_most=8192)] = 80
    n_tables: Count = 20
    table_samples: Annotated[int, Range(at_least=4, at_most=65_536)] = 512
    filter_channels: Count = 16
    filter_features: Count = 16
    dilations: Annotated[tuple[Count, ...], NotEmpty()] = (1, 2, 4, 8, 16, 32)
    compensate: bool = True


@dataclass(frozen=True, eq=False)
class Controls:
    """What the encoder says of each frame, and all that the synthesisers know.

    Attributes
    ----------
    f0_hz
        (batch, frame), also where nothing is voiced.
    tone
        (batch, frame, channel): the source's magnitudes (sawtooth), shares of the harmonics
        (harmonics) or of the tables (wavetable), or what steers the neural filter.
    amplitude
        (batch, frame) of harmonics and wavetables; None where ``tone`` says it all.
    noise
        (batch, frame, band): magnitudes of the noise's filter.
    """

    f0_hz: Tensor
    tone: Tensor
    amplitude: Tensor | None
    noise: Tensor


class NeuralFilter(nn.Module):
    """Dilated convolutions over the samples of a sawtooth, steered by each frame [4]_."""

    def __init__(self, config: SynthesisConfig) -> None:
        super().__init__()
        width = config.filter_channels
        self.first = nn.Conv1d(1, width, 1)
        self.steps = nn.ModuleList(
            nn.Conv1d(width, 2 * width, 3, padding=d, dilation=d) for d in config.dilations
        )
        self.steer = nn.ModuleList(
            nn.Conv1d(config.filter_features, 2 * width, 1) for _ in config.dilations
        )
        self.last = nn.Conv1d(width, 1, 1)

    def forward(self, source: Tensor, features: Tensor, hop_samples: int) -> Tensor:
        """Return (batch, time) of a source (batch, time) and features (batch, frame, channel)."""
        given = synthesis.upsample_linear(features, hop_samples).transpose(1, 2)
        x = self.first(source[:, None])
        for step, steer in zip(self.steps, self.steer, strict=True):
            signal, gate = (step(x) + steer(given)).chunk(2, dim=1)
            x = x + torch.tanh(signal) * torch.sigmoid(gate)
        return self.last(x)[:, 0]


class SourceFilter(nn.Module):
    """An encoder and what makes sound of its controls.

    Parameters
    ----------
    source
        One of :data:`SOURCES`: a sawtooth through a filter that changes (SawSing), sines of their
        own amplitudes (DDSP-Add), wavetables, or a sawtooth through a neural filter.
    n_bands
        Of the mel spectrogram.
    sample_rate, hop_samples
        Of the sound, in Hz, and from frame to frame.
    encoder, config
        Sizes.
    """

    def __init__(
        self,
        source: Literal["sawtooth", "harmonics", "wavetable", "neural"],
        *,
        n_bands: int = 80,
        sample_rate: int = 24_000,
        hop_samples: int = 240,
        encoder: VocoderEncoderConfig | None = None,
        config: SynthesisConfig | None = None,
    ) -> None:
        super().__init__()
        self.source, self.sample_rate, self.hop_samples = source, sample_rate, hop_samples
        self.config = config = config or SynthesisConfig()
        self.has_amplitude = source in ("harmonics", "wavetable")
        n_tone = {
            "sawtooth": config.n_harmonic_bands,
            "harmonics": config.n_partials,
            "wavetable": config.n_tables,
            "neural": config.filter_features,
        }[source]
        self.sizes = (1, int(self.has_amplitude), n_tone, config.n_noise_bands)
        self.encoder = Encoder(n_bands, sum(self.sizes), encoder or VocoderEncoderConfig())
        if source == "wavetable":
            self.tables = nn.Parameter(first_tables(config.n_tables, config.table_samples))
        if source == "neural":
            self.filter = NeuralFilter(config)

    def forward(self, mel: Tensor) -> Controls:
        """Return the controls of each frame of a mel spectrogram."""
        f0, amplitude, tone, noise = self.encoder(mel).split(self.sizes, dim=-1)
        low, high = (math.log(hz) for hz in self.config.f0_range_hz)
        if self.source in ("harmonics", "wavetable"):
            tone = tone.softmax(-1)
        elif self.source == "sawtooth":
            tone = synthesis.exp_sigmoid(tone)
        return Controls(
            f0_hz=torch.exp(low + (high - low) * torch.sigmoid(f0[..., 0])),
            tone=tone,
            amplitude=synthesis.exp_sigmoid(amplitude[..., 0]) if self.has_amplitude else None,
            noise=synthesis.exp_sigmoid(noise - QUIET),
        )

    def synthesise(
        self, controls: Controls, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return the sound of the source and that of the noise, (batch, frame * hop) each.

        No gradient reaches the fundamental from the sound: how a spectrum changes with it points
        the wrong way as soon as partials no longer overlap. It is learned from its own loss.
        """
        config, hop, rate = self.config, self.hop_samples, self.sample_rate
        f0_hz, tone = controls.f0_hz.detach(), controls.tone
        if self.source == "harmonics":
            voice = synthesis.harmonics(f0_hz, controls.amplitude, tone, hop, rate)
        elif self.source == "wavetable":
            voice = synthesis.wavetables(f0_hz, controls.amplitude, self.tables, tone, hop, rate)
        else:
            saw = SAW_LEVEL * synthesis.sawtooth(f0_hz, hop, rate, config.n_partials)
            if self.source == "sawtooth":
                voice = synthesis.ltv_filter(saw, tone, hop, compensate=config.compensate)
            else:
                voice = self.filter(saw, tone, hop)
        device = f0_hz.device if generator is None else generator.device
        drawn = torch.rand(voice.shape, generator=generator, device=device).to(voice.device)
        noise = synthesis.ltv_filter(
            2.0 * drawn - 1.0, controls.noise, hop, compensate=config.compensate
        )
        return voice, noise


def f0_loss(estimate_hz: Tensor, f0_hz: Tensor) -> Tensor:
    """Return the mean absolute difference of logarithms over voiced frames; 0 if none is voiced.

    A ratio counts the same for a bass and a soprano; what has no pitch asks for none.
    """
    voiced = torch.isfinite(f0_hz)
    wanted = torch.where(voiced, f0_hz, torch.ones_like(f0_hz))
    error = (torch.log(estimate_hz) - torch.log(wanted)).abs() * voiced
    return error.sum() / voiced.sum().clamp_min(1)


def first_tables(n_tables: int, n_samples: int, n_partials: int = 32) -> Tensor:
    """Return (n_tables, n_samples): a sine, and sums of harmonics at levels of their own.

    Between them they have what a voice needs; noise would take long to become smooth.
    """
    turns = torch.arange(n_samples) / n_samples
    numbers = torch.arange(1, n_partials + 1)
    sines = torch.sin(2 * math.pi * numbers[:, None] * turns)
    centres = torch.linspace(1.0, n_partials / 2, n_tables)
    levels = torch.exp(-0.5 * ((numbers - centres[:, None]) / (1 + 0.2 * centres[:, None])) ** 2)
    return levels @ sines


@dataclass(frozen=True)
class GeneratorConfig(Settings):
    """Sizes of a generator of convolutions.

    Attributes
    ----------
    strides
        By what each level multiplies the rate; their product is the hop.
    channels
        Of the frames, and after each level: one more than there are strides.
    kernels
        Taps of the residual blocks of a level, whose outputs are averaged (HiFi-GAN has several,
        MelGAN one).
    dilations
        Of the units of a block.
    """

    strides: Annotated[tuple[Count, ...], NotEmpty()] = (8, 5, 3, 2)
    channels: Annotated[tuple[Count, ...], NotEmpty()] = (128, 64, 32, 16, 8)
    kernels: Annotated[tuple[Count, ...], NotEmpty()] = (3, 7)
    dilations: Annotated[tuple[Count, ...], NotEmpty()] = (1, 3, 9)

    def __post_init__(self) -> None:
        super().__post_init__()
        even = any(kernel % 2 == 0 for kernel in self.kernels)
        if even or len(self.channels) != len(self.strides) + 1:
            usual = self.channels == GeneratorConfig.channels
            wrong = "kernels" if even else "strides" if usual else "channels"
            raise ConfigError(
                f"GeneratorConfig.{wrong}",
                got=f"channels {self.channels}, strides {self.strides}, kernels {self.kernels}",
                expected="one number of channels more than strides, and odd kernels",
                hint="the first number of channels is that of the frames",
            )


class ConvGenerator(nn.Module):
    """A mel spectrogram to samples by transposed and dilated convolutions."""

    def __init__(self, n_bands: int, config: GeneratorConfig) -> None:
        super().__init__()
        widths = config.channels
        self.first = weight_norm(nn.Conv1d(n_bands, widths[0], 7, padding=3))
        self.ups, self.blocks = nn.ModuleList(), nn.ModuleList()
        for stride, before, after in zip(config.strides, widths, widths[1:], strict=False):
            odd = stride % 2
            self.ups.append(
                weight_norm(
                    nn.ConvTranspose1d(
                        before, after, 2 * stride, stride, stride // 2 + odd, output_padding=odd
                    )
                )
            )
            self.blocks.append(
                nn.ModuleList(ResidualBlock(after, k, config.dilations) for k in config.kernels)
            )
        self.last = weight_norm(nn.Conv1d(widths[-1], 1, 7, padding=3))

    def forward(self, mel: Tensor) -> Tensor:
        """Return (batch, frame * hop) in [-1, 1] of (batch, band, frame)."""
        x = self.first(mel)
        for up, blocks in zip(self.ups, self.blocks, strict=True):
            x = up(F.leaky_relu(x, 0.1))
            x = sum(block(x) for block in blocks) / len(blocks)
        return torch.tanh(self.last(F.leaky_relu(x, 0.1)))[:, 0]


class ResidualBlock(nn.Module):
    """Units of a dilated convolution and one that is not; each adds to what comes in."""

    def __init__(self, channels: int, kernel: int, dilations: Sequence[int]) -> None:
        super().__init__()
        half = kernel // 2
        self.units = nn.ModuleList(
            nn.Sequential(
                nn.LeakyReLU(0.1),
                weight_norm(nn.Conv1d(channels, channels, kernel, padding=half * d, dilation=d)),
                nn.LeakyReLU(0.1),
                weight_norm(nn.Conv1d(channels, channels, kernel, padding=half)),
            )
            for d in dilations
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return (batch, channel, time) of the same."""
        for unit in self.units:
            x = x + unit(x)
        return x
