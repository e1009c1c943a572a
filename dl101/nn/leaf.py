"""Parametric front-ends, from waveform to frames: LEAF, and SincNet's filters pooled to power.

LEAF is Gabor filters, Gaussian pooling and PCEN, seven learned numbers a filter: Zeghidour, Teboul,
de Chaumont Quitry and Tagliasacchi, "LEAF: A Learnable Frontend for Audio Classification", ICLR
2021. Ranges and starting values are those of the published code. SincNet's filters are
:class:`dl101.nn.frontends.SincConv`.

Shapes: (batch, 1, samples) in, (batch, filter, frame) out. Frequencies and bandwidths are given in
Hz and kept as a fraction of the sample rate (cycles per sample). Frames are those of the library's
spectrograms: frame t is centred on sample t * hop, the signal counts as zero outside its ends, and
n samples give 1 + n // hop frames.
"""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dl101.errors import ConfigError
from dl101.nn.compression import (
    PCEN,
    full_precision,
    hold_between,
    log_compress,
    without_autocast,
)
from dl101.nn.frontends import SincConv
from dl101.units import hz_to_mel, mel_to_hz

# full width at half maximum (in frequency, cycles) times standard deviation (in time) of a Gaussian
WIDTHS = math.sqrt(2 * math.log(2)) / math.pi


class GaborConv(nn.Module):
    """Convolution with complex Gabor filters; their squared modulus comes out.

    A filter is a complex wave under a Gaussian, exp(2 pi i eta n) g(n), with
    g(n) = exp(-n^2 / (2 sigma^2)) / (sqrt(2 pi) sigma) and n counted from the middle. Its frequency
    response is a Gaussian too: height 1 at the centre frequency eta, and at half the bandwidth on
    either side of it height 1/2, where bandwidth = sqrt(2 ln 2) / (pi sigma). Real and imaginary
    part are two real filters, so that no complex arithmetic is needed. The squared modulus of what
    they give is the power in the band (a wave of amplitude A gives A^2 / 4) and does not tremble
    with the phase, as the square of one real filter would.

    Learned are ``centre`` in [0, 1/2] and ``bandwidth`` in [1 / window, 1 / 4], both in cycles per
    sample and held in these ranges by :func:`dl101.nn.compression.hold_between`. (The published
    code learns sigma in samples, of which an optimiser's step of 0.001 is next to nothing.) They
    start on the mel scale, with the bandwidths of the square roots of mel triangles.

    With a stride above 1 the squared modulus is computed at every stride-th sample only, at that
    fraction of the work. Each computed value is exact; but changes of power faster than
    sample_rate / (2 stride) fold down to slower ones. The power behind a filter changes about as
    fast as its bandwidth: nothing is lost where the bandwidth is well below that.

    Parameters
    ----------
    n_filters
        Number of filters, and of channels that come out.
    window_samples
        Length of each filter; odd, so that it has a middle.
    sample_rate
        Of the waveform, in Hz.
    stride
        Samples between values.
    lowest_hz, highest_hz
        Range of the mel filters that the filters start from; the highest is by default half the
        sample rate.

    Raises
    ------
    ConfigError
        If the window is even, or the range leaves no room.
    """

    def __init__(
        self,
        n_filters: int,
        window_samples: int,
        *,
        sample_rate: float,
        stride: int = 1,
        lowest_hz: float = 60.0,
        highest_hz: float | None = None,
    ) -> None:
        super().__init__()
        _require_odd("GaborConv: window", window_samples)
        highest_hz = sample_rate / 2 if highest_hz is None else highest_hz
        if not 0 <= lowest_hz < highest_hz <= sample_rate / 2:
            raise ConfigError(
                "GaborConv: range of the filters",
                got=f"{lowest_hz:g} to {highest_hz:g} Hz at a sample rate of {sample_rate:g} Hz",
                expected="a range between 0 Hz and half the sample rate",
                hint="check that the sample rate is in Hz, or choose another lowest_hz",
            )
        self.window_samples, self.sample_rate, self.stride = window_samples, sample_rate, stride
        ends_mel = hz_to_mel([lowest_hz, highest_hz], formula="htk")
        points_hz = mel_to_hz(np.linspace(*ends_mel, n_filters + 2), formula="htk")
        # sqrt(triangle) is above 1/2 where the triangle is above 1/4: three quarters of its base
        widths_hz = 0.75 * (points_hz[2:] - points_hz[:-2])
        widths = np.clip(widths_hz / sample_rate, 1 / window_samples, 0.25)
        # not from_numpy, which would leave the device that the model is built on
        dtype = torch.get_default_dtype()
        self.centre = nn.Parameter(torch.tensor(points_hz[1:-1] / sample_rate, dtype=dtype))
        self.bandwidth = nn.Parameter(torch.tensor(widths, dtype=dtype))
        taps = torch.arange(window_samples) - window_samples // 2
        self.register_buffer("taps", taps.to(dtype), persistent=False)

    def centres_and_bandwidths(self) -> tuple[Tensor, Tensor]:
        """Return eta and the bandwidth of each filter, (filter,) each, in cycles per sample."""
        centre = hold_between(self.centre, 0.0, 0.5)
        return centre, hold_between(self.bandwidth, 1 / self.window_samples, 0.25)

    def centres_and_bandwidths_hz(self) -> Tensor:
        """Return centre frequency and bandwidth of each filter, (filter, 2), in Hz."""
        return torch.stack(self.centres_and_bandwidths(), dim=-1) * self.sample_rate

    def filters(self) -> Tensor:
        """Return the real parts of all filters, then the imaginary parts, (2 filter, 1, window)."""
        taps = full_precision(self.taps)
        centre, bandwidth = (full_precision(v)[:, None] for v in self.centres_and_bandwidths())
        sigma = WIDTHS / bandwidth
        gaussian = torch.exp(-0.5 * (taps / sigma) ** 2) / (math.sqrt(2 * math.pi) * sigma)
        angle = 2 * math.pi * centre * taps
        parts = gaussian * torch.cos(angle), gaussian * torch.sin(angle)
        return torch.cat(parts)[:, None, :]

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, 1, samples) to powers (batch, filter, 1 + samples // stride)."""
        half = self.window_samples // 2
        # one zero more behind: a frame may be centred on the end
        y = F.conv1d(F.pad(x, (half, half + 1)), self.filters().to(x.dtype), stride=self.stride)
        real, imaginary = full_precision(y).chunk(2, dim=1)
        return real**2 + imaginary**2

    def extra_repr(self) -> str:
        """Return what ``print`` shows of this layer."""
        return (
            f"{len(self.centre)} filters, window_samples={self.window_samples}, "
            f"stride={self.stride}, sample_rate={self.sample_rate}"
        )


class GaussianPool(nn.Module):
    """Mean of each channel under a Gaussian whose width is learned, at every stride-th frame.

    The weights of channel c are exp(-n^2 / (2 (width_c h)^2)), with n counted from the middle of
    the window and h = (window - 1) / 2 its half, divided by their sum: a constant stays what it
    is. (The published code does not divide, so that a width changes the level as well.) ``width``
    starts at 0.4, much like a Hann window, and is held between 2 / window and 1/2.

    Parameters
    ----------
    n_channels
        Channels in and out.
    window
        Length of the window in frames of the input; odd.
    stride
        Frames of the input between frames of the output.
    width
        Where the widths start.

    Raises
    ------
    ConfigError
        If the window is even or shorter than 5.
    """

    def __init__(self, n_channels: int, window: int, *, stride: int, width: float = 0.4) -> None:
        super().__init__()
        _require_odd("GaussianPool: window", window, least=5)
        self.window, self.stride = window, stride
        self.width = nn.Parameter(torch.full((n_channels,), float(width)))
        taps = torch.arange(window) - window // 2
        self.register_buffer("taps", taps.to(torch.get_default_dtype()), persistent=False)

    def weights(self) -> Tensor:
        """Return the weights of each channel, (channel, 1, window); their sum is 1."""
        width = full_precision(hold_between(self.width, 2 / self.window, 0.5))[:, None]
        sigma = width * (self.window // 2)
        gaussian = torch.exp(-0.5 * (full_precision(self.taps) / sigma) ** 2)
        return (gaussian / gaussian.sum(dim=-1, keepdim=True))[:, None, :]

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, channel, n) to (batch, channel, 1 + (n - 1) // stride), in full precision."""
        x, kernel = full_precision(x), self.weights()
        half, n_channels = self.window // 2, len(kernel)
        with without_autocast(x):  # powers of soft sounds vanish in float16
            return F.conv1d(x, kernel, stride=self.stride, padding=half, groups=n_channels)

    def extra_repr(self) -> str:
        """Return what ``print`` shows of this layer."""
        return f"{len(self.width)} channels, window={self.window}, stride={self.stride}"


class Leaf(nn.Module):
    """Gabor filters, squared modulus, Gaussian pooling, PCEN: seven learned numbers a filter.

    The published front-end has 40 filters at 16 kHz, windows of 25 ms and hops of 10 ms: 280
    learned numbers. Kept from it: filters of 25 ms, pooling windows of 2.5 hops, a memory of PCEN
    of 250 ms (its smoothing is 0.04 for each 10 ms). Left out: the limit from below of the powers
    before PCEN, 1e-5, in which soft recordings drown; ``floor`` stands for it.

    Parameters
    ----------
    sample_rate
        Of the waveform, in Hz.
    n_filters
        Channels that come out.
    hop_samples
        Distance between frames; by default 10 ms, rounded down to a multiple of the stride.
    stride
        Of the Gabor filters, see :class:`GaborConv`: 4 costs a quarter of the work. Divides the
        hop.
    filter_s
        Length of the Gabor filters in seconds.
    memory_s
        Time constant of PCEN's running mean in seconds.
    floor
        Of PCEN, a power: what is softer is not brought up.
    lowest_hz, highest_hz
        Range of the filters at the start.

    Raises
    ------
    ConfigError
        If the stride does not divide the hop.
    """

    def __init__(
        self,
        sample_rate: float,
        *,
        n_filters: int = 40,
        hop_samples: int | None = None,
        stride: int = 1,
        filter_s: float = 0.025,
        memory_s: float = 0.25,
        floor: float = 1e-8,
        lowest_hz: float = 60.0,
        highest_hz: float | None = None,
    ) -> None:
        super().__init__()
        if hop_samples is None:
            hop_samples = stride * max(1, int(sample_rate * 0.01) // stride)
        _require_divides(stride, hop_samples, "Leaf: stride")
        self.hop_samples = hop_samples
        self.filterbank = GaborConv(
            n_filters,
            2 * (int(sample_rate * filter_s) // 2) + 1,
            sample_rate=sample_rate,
            stride=stride,
            lowest_hz=lowest_hz,
            highest_hz=highest_hz,
        )
        hop = hop_samples // stride
        self.pool = GaussianPool(n_filters, max(5, 2 * (5 * hop // 4) + 1), stride=hop)
        smoothing = -math.expm1(-hop_samples / (sample_rate * memory_s))
        self.compression = PCEN(n_filters, smoothing=smoothing, floor=floor)

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, 1, samples) to (batch, filter, 1 + samples // hop_samples)."""
        return self.compression(self.pool(self.filterbank(x)))


class SincSpectrogram(nn.Module):
    """Log-power in learned bands: SincConv, squared, averaged over a hop, log(1 + C x).

    Two learned numbers a filter. The square of a real filter's output is its power and a wave at
    twice the frequency, which the average takes away; but with a stride s, twice the frequency may
    fold down to where the average lets it pass: for frequencies within a frame rate of multiples
    of sample_rate / (2 s), a steady tone is measured as anything from nothing to twice its power,
    by its phase. (A Gabor filter's squared modulus has no such wave.)

    Parameters
    ----------
    n_filters
        Number of filters.
    kernel_samples
        Length of each filter.
    sample_rate
        Of the waveform, in Hz.
    hop_samples
        Distance between frames, and what is averaged over.
    stride
        Samples between values of the convolution; divides the hop.
    strength
        C of the logarithm: powers well below 1 / C count as silence.

    Raises
    ------
    ConfigError
        If the stride does not divide the hop.
    """

    def __init__(
        self,
        n_filters: int,
        kernel_samples: int,
        *,
        sample_rate: float,
        hop_samples: int,
        stride: int = 1,
        strength: float = 1e6,
    ) -> None:
        super().__init__()
        _require_divides(stride, hop_samples, "SincSpectrogram: stride")
        self.hop_samples, self.strength = hop_samples, strength
        self.filterbank = SincConv(
            n_filters, kernel_samples, sample_rate=sample_rate, stride=stride
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, 1, samples) to (batch, filter, 1 + samples // hop_samples)."""
        hop = self.hop_samples // self.filterbank.stride
        n_frames = 1 + x.shape[-1] // self.hop_samples
        reach = (self.filterbank.kernel_size + self.hop_samples) // 2
        y = self.filterbank(F.pad(x, (reach, reach)))[..., : n_frames * hop]
        return log_compress(F.avg_pool1d(full_precision(y).square(), hop), self.strength)


def _require_divides(stride: int, hop_samples: int, what: str) -> None:
    if hop_samples % stride:
        raise ConfigError(
            what,
            got=f"{stride} with a hop of {hop_samples} samples",
            expected="a divisor of the hop",
            hint="a power of two divides most hops",
        )


def _require_odd(what: str, length: int, least: int = 1) -> None:
    if length % 2 == 0 or length < least:
        raise ConfigError(
            what,
            got=f"{length} samples",
            expected=f"an odd number of at least {least}, which has a middle",
            hint=f"take {max(least, length + 1 - length % 2)}",
        )
