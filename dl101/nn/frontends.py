"""Learnt front-ends: the first projection of a waveform.

Shapes: (batch, 1, samples) in, (batch, filter, frame) out. Frequencies are given in Hz and kept
as a fraction of the sample rate (cycles per sample).
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dl101.errors import ConfigError
from dl101.units import hz_to_mel, mel_to_hz


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
