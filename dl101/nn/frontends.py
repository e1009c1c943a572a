"""Learnt front-ends: the first projection of a waveform.

Shapes: (batch, 1, samples) in, (batch, filter, frame) out. Frequencies are given in Hz and kept
as a fraction of the sample rate (cycles per sample).

*Centred* frames are those of the library's spectrograms: frame t is centred on sample t * hop, the
signal counts as zero outside its ends, and n samples give 1 + n // hop frames.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dl101.config import Count, HopSamples, Positive, checked
from dl101.errors import ConfigError, ShapeError, did_you_mean
from dl101.nn.compression import without_autocast
from dl101.signal.mel import mel_filters
from dl101.signal.stft import window
from dl101.units import hz_to_mel, mel_to_hz

NONLINEARITIES = ("log", "relu", "none")


class SincConv(nn.Module):
    """Convolution with band-pass filters of which only the two cut-offs are learnt.

    Ravanelli and Bengio (2018), Eqs. 4-8: the impulse response is the difference of two ideal
    low-pass filters, 2 f2 sinc(2 f2 n) - 2 f1 sinc(2 f1 n) with sinc(x) = sin(pi x) / (pi x) and
    f1, f2 in cycles per sample, times a Hamming window. Its gain is 1 in the band.

    The learnt numbers are f1 and f2 - f1 in cycles per sample, both through an absolute value: an
    optimiser's step of 0.001 then moves a cut-off by 22 Hz at 22.05 kHz; in Hz it would move it
    by 0.001 Hz. The filters start as neighbours on the mel scale from 30 Hz to just below half the
    sample rate. An even kernel has an even number of taps, symmetric about the half sample in
    its middle: exactly ``kernel_size`` samples are used, no silent correction.

    Parameters
    ----------
    out_channels
        Number of filters.
    kernel_size
        Length of each filter in samples.
    sample_rate
        Of the waveform, in Hz.
    stride
        Hop between output frames in samples.
    in_channels
        Must be 1: the filters work on one waveform.
    min_low_hz, min_band_hz
        Lower bounds of f1 and of f2 - f1.
    """

    def __init__(
        self,
        out_channels: int,
        kernel_size: int,
        *,
        sample_rate: float,
        stride: int = 1,
        in_channels: int = 1,
        min_low_hz: float = 50.0,
        min_band_hz: float = 50.0,
    ) -> None:
        super().__init__()
        if in_channels != 1:
            raise ConfigError(
                "sinc convolution",
                got=f"{in_channels} input channels",
                expected="1",
                hint="mix the waveform down to mono",
            )
        self.kernel_size, self.stride, self.sample_rate = kernel_size, stride, sample_rate
        self.min_low, self.min_band = min_low_hz / sample_rate, min_band_hz / sample_rate

        highest_hz = sample_rate / 2 - min_low_hz - min_band_hz
        if highest_hz <= 30.0:
            raise ConfigError(
                "sinc convolution",
                got=f"sample rate {sample_rate} Hz with lower bounds {min_low_hz} and "
                f"{min_band_hz} Hz",
                expected="room for the filters below half the sample rate",
                hint="check that the sample rate is in Hz, or lower the bounds",
            )
        lowest_mel, highest_mel = hz_to_mel([30.0, highest_hz], formula="htk")
        edges_mel = np.linspace(lowest_mel, highest_mel, out_channels + 1)
        edges_hz = mel_to_hz(edges_mel, formula="htk")
        # not from_numpy, which would leave the device that the model is built on
        edges = torch.tensor(edges_hz / sample_rate, dtype=torch.get_default_dtype())
        self.low = nn.Parameter(edges[:-1].clone())
        self.band = nn.Parameter(edges.diff())

        taps = torch.arange(kernel_size) - (kernel_size - 1) / 2
        window = torch.hamming_window(kernel_size, periodic=False)
        self.register_buffer("taps", taps, persistent=False)
        self.register_buffer("window", window, persistent=False)

    def cutoffs(self) -> tuple[Tensor, Tensor]:
        """Return f1 and f2 of each filter, (filter,) each, in cycles per sample."""
        low = (self.min_low + self.low.abs()).clamp(max=0.5 - self.min_band)
        high = (low + self.min_band + self.band.abs()).clamp(max=0.5)
        return low, high

    def cutoffs_hz(self) -> Tensor:
        """Return the cut-off frequencies, (filter, 2), in Hz."""
        return torch.stack(self.cutoffs(), dim=-1) * self.sample_rate

    def filters(self) -> Tensor:
        """Return the impulse responses, (filter, 1, kernel_size)."""
        low, high = (2 * edge[:, None] for edge in self.cutoffs())
        ideal = high * torch.sinc(high * self.taps) - low * torch.sinc(low * self.taps)
        return (ideal * self.window)[:, None, :]

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, 1, n) to (batch, filter, 1 + (n - kernel_size) // stride)."""
        return F.conv1d(x, self.filters(), stride=self.stride)

    def extra_repr(self) -> str:
        """Return what ``print`` shows of this layer."""
        return (
            f"{len(self.low)} filters, kernel_size={self.kernel_size}, stride={self.stride}, "
            f"sample_rate={self.sample_rate}"
        )


class LearnedSpectrogram(nn.Module):
    """Strided convolution in the place of a spectrogram: kernel for window, stride for hop.

    Dieleman and Schrauwen (2014): kernels as long as the analysis window of a spectrogram, moved by
    its hop, and learnt with the rest of the network. One kernel w answers to a tone by its phase as
    well; several whose answers are pooled into one channel, as in the paper, need not.

    Parameters
    ----------
    n_filters
        Number of channels.
    kernel_samples
        Length of each kernel.
    hop_samples
        Distance between frames.
    nonlinearity
        What becomes of the response y = w * x + b: ``"log"``, log(eps + y^2), like the log of a
        power spectrum; ``"relu"``, max(0, y); ``"none"``, y itself.
    pool
        Number of kernels that make up one channel: ``"log"`` adds their squares, ``"relu"`` takes
        the largest response. Kernels c * pool to (c + 1) * pool - 1 belong to channel c.
    centred
        Whether frame t is centred on sample t * hop, with zeros outside the signal: 1 + n // hop
        frames. (The middle of an even kernel is its tap kernel_samples // 2.) Otherwise the frames
        lie inside the signal: 1 + (n - kernel_samples) // hop.
    bias
        Whether each kernel has a constant b.
    eps
        Of the logarithm: the power that counts as silence.

    Raises
    ------
    ConfigError
        If a number cannot be used, or there is no such non-linearity.
    ShapeError
        On call, if the input is not (batch, 1, samples) or, without padding, shorter than a kernel.
    """

    def __init__(
        self,
        n_filters: int,
        kernel_samples: int,
        hop_samples: int,
        *,
        nonlinearity: str = "log",
        pool: int = 1,
        centred: bool = True,
        bias: bool = False,
        eps: float = 1e-6,
    ) -> None:
        super().__init__()
        self.n_filters = checked(Count, n_filters, "LearnedSpectrogram: n_filters")
        self.kernel_samples = checked(Count, kernel_samples, "LearnedSpectrogram: kernel_samples")
        self.hop_samples = checked(HopSamples, hop_samples, "LearnedSpectrogram: hop_samples")
        self.pool = checked(Count, pool, "LearnedSpectrogram: pool")
        self.eps = checked(Positive, eps, "LearnedSpectrogram: eps")
        if nonlinearity not in NONLINEARITIES:
            raise ConfigError(
                "LearnedSpectrogram: nonlinearity",
                got=repr(nonlinearity),
                expected="one of " + ", ".join(NONLINEARITIES),
                hint=did_you_mean(nonlinearity, NONLINEARITIES),
            )
        if pool > 1 and nonlinearity == "none":
            raise ConfigError(
                "LearnedSpectrogram: pool",
                got=f"{pool} kernels a channel without a non-linearity",
                expected="1",
                hint="a sum of convolutions is one convolution: choose 'log' or 'relu', or pool=1",
            )
        self.nonlinearity, self.centred = nonlinearity, centred
        self.conv = nn.Conv1d(1, n_filters * pool, kernel_samples, stride=hop_samples, bias=bias)

    def filters(self) -> Tensor:
        """Return the kernels, (filter * pool, 1, kernel_samples)."""
        return self.conv.weight

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, 1, n) to (batch, filter, frame); see ``centred``."""
        x = _framed(x, self.kernel_samples) if self.centred else _long(x, self.kernel_samples)
        y = self.conv(x)
        if self.nonlinearity == "relu":
            y = F.relu(y)
            return y.unflatten(1, (-1, self.pool)).amax(2) if self.pool > 1 else y
        if self.nonlinearity == "none":
            return y
        # half precision has no place for the squares of soft sounds
        power = y.to(torch.promote_types(y.dtype, torch.float32)).square()
        if self.pool > 1:
            power = power.unflatten(1, (-1, self.pool)).sum(2)
        return torch.log(power + self.eps).to(y.dtype)

    def extra_repr(self) -> str:
        """Return what ``print`` shows of this layer."""
        return f"nonlinearity={self.nonlinearity}, pool={self.pool}, centred={self.centred}"


class MultiScaleSpectrogram(nn.Module):
    """Learnt spectrograms with windows of several lengths, side by side as channels.

    Zhu, Engel and Hannun (2016): long kernels tell frequencies apart, short ones moments, and the
    next layer has both. All scales share one hop here, as in Pons (2019), chapter 4, so that the
    frames stand under each other; in the paper short kernels also have a short stride, and pooling
    brings them to the rate of the others.

    Frames are centred: 1 + n // hop of them, frame t of every scale around sample t * hop.

    Parameters
    ----------
    n_filters
        Number of channels of each scale.
    kernels_samples
        Length of the kernels of each scale, in the order of the channels.
    hop_samples, nonlinearity, pool, bias, eps
        As of :class:`LearnedSpectrogram`.

    Raises
    ------
    ConfigError
        If there is no scale, or a number cannot be used.
    ShapeError
        On call, if the input is not (batch, 1, samples).
    """

    def __init__(
        self,
        n_filters: int,
        kernels_samples: Sequence[int],
        hop_samples: int,
        *,
        nonlinearity: str = "log",
        pool: int = 1,
        bias: bool = False,
        eps: float = 1e-6,
    ) -> None:
        super().__init__()
        if isinstance(kernels_samples, int) or len(kernels_samples) == 0:
            raise ConfigError(
                "MultiScaleSpectrogram: kernels_samples",
                got=repr(kernels_samples),
                expected="at least one length in samples, in a list",
                hint="write for example [128, 512, 2048]",
            )
        self.scales = nn.ModuleList(
            LearnedSpectrogram(
                n_filters,
                kernel_samples,
                hop_samples,
                nonlinearity=nonlinearity,
                pool=pool,
                bias=bias,
                eps=eps,
            )
            for kernel_samples in kernels_samples
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, 1, n) to (batch, scale * filter, 1 + n // hop), the first scale first."""
        return torch.cat([scale(x) for scale in self.scales], dim=1)


class MelConv(nn.Module):
    """The log-mel spectrogram as a convolution, fixed or as a start for learning.

    A bin of the Fourier transform is the answer of two kernels, the window times a cosine and the
    window times a sine; the sum of their squares is its power. A matrix adds the bins up to mel
    bands, and log(1 + C x) compresses. Bins 0 and window_samples / 2 weigh nothing in any band and
    are left out. The values are those of :class:`dl101.nn.spectra.LogMel`, without the axis for
    one channel: (batch, band, frame).

    Inside, powers are float32 whatever the precision around: half precision ends at 65504.

    Parameters
    ----------
    sample_rate
        Rate of the audio in Hz.
    n_bands
        Number of mel bands between 0 Hz and half the sample rate.
    window_samples
        Length of the Hann window and of the kernels; even.
    hop_samples
        Distance between frames, which are centred.
    strength
        C of the logarithm.
    trainable
        Whether kernels and mel matrix are parameters, which start at these values. The matrix may
        then become negative in places; a band whose sum does counts as silent.

    Raises
    ------
    ConfigError
        If a number cannot be used, or a band holds no bin.
    ShapeError
        On call, if the input is not (batch, 1, samples).
    """

    def __init__(
        self,
        sample_rate: float,
        *,
        n_bands: int = 128,
        window_samples: int = 2048,
        hop_samples: int = 512,
        strength: float = 10_000.0,
        trainable: bool = False,
    ) -> None:
        super().__init__()
        checked(Positive, sample_rate, "MelConv: sample_rate")
        checked(Count, n_bands, "MelConv: n_bands")
        self.hop_samples = checked(HopSamples, hop_samples, "MelConv: hop_samples")
        self.strength = checked(Positive, strength, "MelConv: strength")
        if checked(Count, window_samples, "MelConv: window_samples") % 2 or window_samples < 4:
            raise ConfigError(
                "MelConv: window_samples",
                got=window_samples,
                expected="an even number of samples, at least 4",
                hint="a power of two such as 1024 is usual",
            )
        filters = mel_filters(sample_rate, n_bands=n_bands, window_samples=window_samples)
        bins = np.arange(1, window_samples // 2)[:, np.newaxis]
        angles = 2 * np.pi * (bins * np.arange(window_samples) % window_samples) / window_samples
        waves = np.concatenate([np.cos(angles), np.sin(angles)]) * window("hann", window_samples)
        self.trainable = trainable
        # not from_numpy, which would leave the device that the model is built on
        dtype = torch.get_default_dtype()
        self._keep("kernels", torch.tensor(waves[:, np.newaxis], dtype=dtype))
        self._keep("mel", torch.tensor(filters[:, 1:-1], dtype=dtype))

    def _keep(self, name: str, values: Tensor) -> None:
        if self.trainable:
            setattr(self, name, nn.Parameter(values))
        else:
            self.register_buffer(name, values, persistent=False)

    def filters(self) -> Tensor:
        """Return the kernels, (2 * bin, 1, window_samples): all cosines, then all sines."""
        return self.kernels

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, 1, n) to (batch, band, 1 + n // hop)."""
        x = _framed(x, self.kernels.shape[-1])
        with without_autocast(x):
            y = F.conv1d(x, self.kernels.to(x.dtype), stride=self.hop_samples)
            wide = torch.promote_types(y.dtype, torch.float32)
            cosine, sine = y.to(wide).chunk(2, dim=1)
            bands = self.mel.to(wide) @ (cosine.square() + sine.square())
            return torch.log1p(self.strength * F.relu(bands)).to(x.dtype)

    def extra_repr(self) -> str:
        """Return what ``print`` shows of this layer."""
        n_bands, n_bins = self.mel.shape
        return (
            f"{n_bands} bands of {n_bins} bins, window_samples={self.kernels.shape[-1]}, "
            f"hop_samples={self.hop_samples}, trainable={self.trainable}"
        )


def _framed(x: Tensor, kernel_samples: int) -> Tensor:
    """Return (batch, 1, n + kernel_samples): the frames of a strided convolution are centred."""
    before = kernel_samples // 2
    return F.pad(_long(x, 1), (before, kernel_samples - before))


def _long(x: Tensor, least_samples: int) -> Tensor:
    """Return waveforms as they are, if they are (batch, 1, samples) and long enough."""
    if x.ndim != 3 or x.shape[1] != 1 or x.shape[2] < least_samples:
        raise ShapeError(
            "waveform",
            got=f"shape {tuple(x.shape)}",
            expected=f"(batch, 1, samples) with at least {least_samples} samples",
            hint="write waveform[:, None] to add the axis of channels, or pad the waveform",
        )
    return x
