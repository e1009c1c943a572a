"""Front-ends of spectrograms that differ in the shape of their filters, and musicnn's back-end.

Shapes: spectrograms are (batch, 1, band, frame), low bands first; a front-end gives (batch,
channel, frame) with the frames of its input (beyond the borders stand zeros), and tells its number
of channels as ``out_channels``. :class:`HarmonicFrontend` alone starts from the waveform, (batch,
1, samples), and gives 1 + samples // hop_samples frames. A filter's height counts bands, its width
frames.

- :class:`ShapedConvs`: vertical and horizontal filters at once (Pons and Serra 2017; Pons et al.
  2018, "musicnn"); :class:`MusicnnBackend` is what stands behind it there.
- :class:`HarmonicFilters`, :class:`HarmonicFrontend`: a filterbank with learnt bandwidth at the
  multiples of each band's frequency (Won et al. 2020), and a network on top of it.
- :class:`SquareConvs`: a stack of 3x3 filters, as for images (Simonyan and Zisserman 2015).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dl101.errors import ConfigError, ShapeError
from dl101.nn.compression import FixedLog


class Shape(NamedTuple):
    """``n_filters`` filters that are ``n_bands`` high and ``n_frames`` wide."""

    n_filters: int
    n_bands: int
    n_frames: int


def musicnn_shapes(
    n_bands: int = 96, *, width: float = 1.0, frames_per_second: float = 62.5
) -> tuple[tuple[Shape, ...], tuple[Shape, ...]]:
    """Return the vertical and the horizontal shapes of musicnn's front-end (Pons et al. 2018).

    Vertical filters cover 90 % or 40 % of the bands and up to 7 frames; horizontal ones last up to
    165 frames, 2.6 s at the paper's 16 kHz and hop of 256 samples.

    Parameters
    ----------
    n_bands
        Of the spectrogram; 96 in the paper.
    width
        Factor of all numbers of filters: 1 gives 464 filters.
    frames_per_second
        Of the spectrogram. The filters keep their duration in seconds: at another rate than the
        paper's they get more or fewer frames (vertical ones an odd number).
    """

    def filters(n: int) -> int:
        return max(1, round(n * width))

    def frames(n: int, odd: bool) -> int:
        wanted = n * frames_per_second / 62.5
        return 2 * round((wanted - 1) / 2) + 1 if odd else max(1, round(wanted))

    tall, short = int(0.9 * n_bands), int(0.4 * n_bands)
    vertical = tuple(
        Shape(filters(n), height, frames(length, odd=True))
        for height in (tall, short)
        for n, length in ((16, 7), (32, 3), (64, 1))
    )
    horizontal = tuple(
        Shape(filters(n), 1, frames(length, odd=False))
        for n, length in ((16, 165), (32, 128), (64, 64), (128, 32))
    )
    return vertical, horizontal


def _same_frames(x: Tensor, n_frames: int) -> Tensor:
    """Pad the last axis with zeros, so that filters of this width keep the number of frames."""
    return F.pad(x, ((n_frames - 1) // 2, n_frames // 2))


class VerticalConv(nn.Module):
    """Filters that look at many bands at once, and the strongest answer over all positions.

    A filter slides along frequency without padding, then the maximum over the positions is taken:
    where along the bands a pattern stands no longer matters, as long as all of it lies inside.

    Parameters
    ----------
    shape
        Of the filters.
    norm
        Whether batch normalisation follows the rectification.
    """

    def __init__(self, shape: Shape, *, norm: bool = True) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, shape.n_filters, (shape.n_bands, shape.n_frames))
        self.norm = nn.BatchNorm2d(shape.n_filters) if norm else nn.Identity()

    def positions(self, x: Tensor) -> Tensor:
        """Return the answers before the maximum, (batch, filter, position, frame)."""
        return self.norm(F.relu(self.conv(_same_frames(x, self.conv.kernel_size[1]))))

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, 1, band, frame) to (batch, filter, frame)."""
        return self.positions(x).amax(dim=2)


class HorizontalConv(nn.Module):
    """Filters along time over the mean of all bands, the energy envelope.

    Parameters
    ----------
    shape
        Of the filters; their height must be 1.
    norm
        Whether batch normalisation follows the rectification.
    """

    def __init__(self, shape: Shape, *, norm: bool = True) -> None:
        super().__init__()
        if shape.n_bands != 1:
            raise ConfigError(
                "horizontal filters",
                got=f"a height of {shape.n_bands} bands",
                expected="1",
                hint="they look at the mean of all bands; list high filters as vertical",
            )
        self.conv = nn.Conv1d(1, shape.n_filters, shape.n_frames)
        self.norm = nn.BatchNorm1d(shape.n_filters) if norm else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, 1, band, frame) to (batch, filter, frame)."""
        envelope = _same_frames(x.mean(dim=2), self.conv.kernel_size[0])
        return self.norm(F.relu(self.conv(envelope)))


class ShapedConvs(nn.Module):
    """Vertical and horizontal filters of many shapes, side by side in one layer.

    With the default shapes it is the spectrogram front-end of musicnn (Pons et al. 2018, Fig. 4).

    Parameters
    ----------
    n_bands
        Of the spectrogram.
    vertical, horizontal
        Shapes, such as :func:`musicnn_shapes` returns; None takes its defaults for this number of
        bands, an empty list leaves the branch out.
    norm
        Whether each branch ends with batch normalisation.

    Raises
    ------
    ConfigError
        If there is no filter at all, or one is higher than the spectrogram.
    ShapeError
        On call, if the input is not (batch, 1, n_bands, frame).
    """

    def __init__(
        self,
        n_bands: int = 96,
        *,
        vertical: Sequence[Shape] | None = None,
        horizontal: Sequence[Shape] | None = None,
        norm: bool = True,
    ) -> None:
        super().__init__()
        default = musicnn_shapes(n_bands)
        vertical = [Shape(*s) for s in (default[0] if vertical is None else vertical)]
        horizontal = [Shape(*s) for s in (default[1] if horizontal is None else horizontal)]
        _check_shapes([*vertical, *horizontal], n_bands)
        self.n_bands = n_bands
        self.vertical = nn.ModuleList(VerticalConv(shape, norm=norm) for shape in vertical)
        self.horizontal = nn.ModuleList(HorizontalConv(shape, norm=norm) for shape in horizontal)
        self.out_channels = sum(shape.n_filters for shape in [*vertical, *horizontal])

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, 1, band, frame) to (batch, out_channels, frame), vertical filters first."""
        _check_spectrogram(x, 1, self.n_bands)
        return torch.cat([branch(x) for branch in [*self.vertical, *self.horizontal]], dim=1)


def _check_shapes(shapes: Sequence[Shape], n_bands: int) -> None:
    if not shapes:
        raise ConfigError(
            "shapes of filters",
            got="none",
            expected="at least one vertical or horizontal shape",
            hint="leave both arguments out for musicnn's",
        )
    for shape in shapes:
        if min(shape) < 1 or shape.n_bands > n_bands:
            raise ConfigError(
                "shape of filters",
                got=f"{shape.n_filters} filters of {shape.n_bands} bands x {shape.n_frames} frames",
                expected=f"positive numbers, and at most the {n_bands} bands of the spectrogram",
                hint="the order is (n_filters, n_bands, n_frames)",
            )


def _check_spectrogram(x: Tensor, n_channels: int, n_bands: int) -> None:
    if x.ndim != 4 or x.shape[1:3] != (n_channels, n_bands):
        raise ShapeError(
            "spectrogram",
            got=f"shape {tuple(x.shape)}",
            expected=f"(batch, {n_channels}, {n_bands}, frame)",
            hint="give the front-end the n_bands of its input, and the input a channel axis",
        )


class SquareConvs(nn.Module):
    """Stack of 3x3 filters that halves the bands layer by layer, as networks for images do.

    Each layer is a convolution, batch normalisation, ReLU and a maximum over pairs of bands; time
    keeps its frames. What is left of the frequency axis becomes channels, low bands first within
    each filter, so the front-end knows where along frequency it saw something. (After Simonyan and
    Zisserman 2015, and Choi et al. 2016 for music.)

    Parameters
    ----------
    n_bands
        Of the input.
    channels
        Filters of each layer.
    n_layers
        The bands are halved so many times.
    in_channels
        Channels of the input: 1, or the harmonics of :class:`HarmonicFilters`.

    Raises
    ------
    ConfigError
        If no band would be left.
    ShapeError
        On call, if the input is not (batch, in_channels, n_bands, frame).
    """

    def __init__(
        self, n_bands: int, *, channels: int = 32, n_layers: int = 5, in_channels: int = 1
    ) -> None:
        super().__init__()
        if n_layers < 1 or n_bands < 2**n_layers:
            raise ConfigError(
                "stack of square filters",
                got=f"{n_layers} layers for {n_bands} bands",
                expected="at least one layer, and at least 2**n_layers bands",
                hint="each layer halves the bands",
            )
        self.n_bands, self.in_channels = n_bands, in_channels
        widths = [in_channels] + [channels] * n_layers
        self.layers = nn.Sequential(
            *(
                nn.Sequential(
                    nn.Conv2d(widths[i], widths[i + 1], 3, padding=1),
                    nn.BatchNorm2d(widths[i + 1]),
                    nn.ReLU(),
                    nn.MaxPool2d((2, 1)),
                )
                for i in range(n_layers)
            )
        )
        self.out_channels = channels * (n_bands // 2**n_layers)

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, in_channels, band, frame) to (batch, out_channels, frame)."""
        _check_spectrogram(x, self.in_channels, self.n_bands)
        return self.layers(x).flatten(1, 2)


class HarmonicFilters(nn.Module):
    """Triangular band-pass filters at the multiples of each band's frequency (Won et al. 2020).

    The filter of harmonic n and band k has its peak, 1, at f = n f_k and falls to 0 half a
    bandwidth to either side: max(0, 1 - 2 abs(f' - f) / B(f)) at the frequency f' of a bin, with
    B(f) = (alpha f + beta) / Q, which is the ear's (Glasberg and Moore 1990) for alpha = 0.1079,
    beta = 24.7 Hz, Q = 1. The frequencies f_k are fixed, evenly spaced on the musical scale; alpha,
    beta and Q are learnt.

    Two departures keep the learning well-behaved. The optimiser sees the logarithms of the three
    numbers relative to where they start, ``steps``: they stay positive, and a step of 0.01 is one
    per cent of any of them (in its own unit, such a step would not move beta noticeably). And no
    bandwidth is smaller than two bins of the spectrum, or a filter could fall between two bins and
    hear nothing.

    Parameters
    ----------
    sample_rate
        Of the audio in Hz.
    window_samples
        Length of the spectrum's window, and of its FFT.
    n_harmonics, n_bands
        Of the output.
    lowest_hz
        f_0, of the lowest band; C1 by default.
    bands_per_octave
        f_k = lowest_hz * 2**(k / bands_per_octave).
    q
        Where Q starts.

    Raises
    ------
    ConfigError
        If a filter's peak would lie above half the sample rate, or Q is not positive.
    ShapeError
        On call, if the input is not (batch, 1 + window_samples // 2, frame).
    """

    ALPHA, BETA_HZ = 0.1079, 24.7

    def __init__(
        self,
        *,
        sample_rate: float,
        window_samples: int = 2048,
        n_harmonics: int = 6,
        n_bands: int = 64,
        lowest_hz: float = 32.703,
        bands_per_octave: float = 12.0,
        q: float = 1.0,
    ) -> None:
        super().__init__()
        bands_hz = lowest_hz * 2.0 ** (np.arange(n_bands) / bands_per_octave)
        centres_hz = np.arange(1, n_harmonics + 1)[:, None] * bands_hz
        if not centres_hz.max() <= sample_rate / 2:
            raise ConfigError(
                "harmonic filters",
                got=f"harmonic {n_harmonics} of {bands_hz[-1]:.0f} Hz at {sample_rate} Hz",
                expected="all filters at or below half the sample rate",
                hint="take fewer bands or harmonics, or a lower start",
            )
        if not q > 0:
            raise ConfigError(
                "harmonic filters: Q",
                got=q,
                expected="a positive number",
                hint="the bandwidth is divided by it",
            )
        self.window_samples, self.sample_rate = window_samples, sample_rate
        start = torch.tensor([self.ALPHA, self.BETA_HZ, q], dtype=torch.get_default_dtype())
        bins_hz = np.arange(1 + window_samples // 2) * sample_rate / window_samples
        for name, values in (("centres_hz", centres_hz), ("bins_hz", bins_hz)):
            constant = torch.tensor(values, dtype=torch.get_default_dtype())
            self.register_buffer(name, constant, persistent=False)
        self.register_buffer("start", start, persistent=False)
        self.steps = nn.Parameter(torch.zeros(3))

    def constants(self) -> Tensor:
        """Return alpha, beta (Hz) and Q, (3,)."""
        return self.start * self.steps.exp()

    def bandwidths_hz(self) -> Tensor:
        """Return the bandwidth of each filter in Hz, (harmonic, band)."""
        alpha, beta, q = self.constants()
        smallest = 2 * self.sample_rate / self.window_samples
        return ((alpha * self.centres_hz + beta) / q).clamp(min=smallest)

    def filters(self) -> Tensor:
        """Return the filters, (harmonic, band, bin), each with a peak of at most 1."""
        distances = (self.bins_hz - self.centres_hz[..., None]).abs()
        return F.relu(1 - 2 * distances / self.bandwidths_hz()[..., None])

    def forward(self, power: Tensor) -> Tensor:
        """Map a power spectrogram (batch, bin, frame) to (batch, harmonic, band, frame)."""
        if power.ndim != 3 or power.shape[1] != len(self.bins_hz):
            raise ShapeError(
                "power spectrogram",
                got=f"shape {tuple(power.shape)}",
                expected=f"(batch, {len(self.bins_hz)}, frame)",
                hint="window_samples must be that of the spectrum",
            )
        filters = self.filters()
        return (filters.flatten(0, 1) @ power).unflatten(1, filters.shape[:2])

    def extra_repr(self) -> str:
        """Return what ``print`` shows of this layer."""
        n_harmonics, n_bands = self.centres_hz.shape
        return f"{n_harmonics} harmonics, {n_bands} bands, sample_rate={self.sample_rate}"


class HarmonicFrontend(nn.Module):
    """Waveform, harmonic filters, logarithm, and a stack of square filters across harmonics.

    The harmonics of a band are the channels of one place, as the colours are in an image: a 3x3
    filter sees all of them at once (Won et al. 2020; Bittner et al. 2017 for a fixed transform).

    Parameters
    ----------
    sample_rate, window_samples, n_harmonics, n_bands, lowest_hz, bands_per_octave, q
        As in :class:`HarmonicFilters`.
    hop_samples
        Distance between frames.
    channels, n_layers
        As in :class:`SquareConvs`.
    strength
        C of log(1 + C x), applied to the powers behind the filters: by default the logarithm bends
        60 dB below a sine of amplitude 1.
    """

    def __init__(
        self,
        *,
        sample_rate: float,
        window_samples: int = 2048,
        hop_samples: int = 512,
        n_harmonics: int = 6,
        n_bands: int = 64,
        lowest_hz: float = 32.703,
        bands_per_octave: float = 12.0,
        q: float = 1.0,
        channels: int = 20,
        n_layers: int = 5,
        strength: float = 1e6,
    ) -> None:
        super().__init__()
        self.hop_samples = hop_samples
        self.filters = HarmonicFilters(
            sample_rate=sample_rate,
            window_samples=window_samples,
            n_harmonics=n_harmonics,
            n_bands=n_bands,
            lowest_hz=lowest_hz,
            bands_per_octave=bands_per_octave,
            q=q,
        )
        window = torch.hann_window(window_samples)
        self.register_buffer("window", window * 2 / window.sum(), persistent=False)
        self.log = FixedLog(strength)
        self.norm = nn.BatchNorm2d(n_harmonics)
        self.convs = SquareConvs(
            n_bands, channels=channels, n_layers=n_layers, in_channels=n_harmonics
        )
        self.out_channels = self.convs.out_channels

    def power(self, x: Tensor) -> Tensor:
        """Return the power spectrogram of (batch, 1, samples), (batch, bin, frame).

        A sine of amplitude 1 has power 1 in its bin, so that no power exceeds what half precision
        can hold.
        """
        spectrum = torch.stft(
            x[:, 0].to(self.window.dtype),
            len(self.window),
            self.hop_samples,
            window=self.window,
            pad_mode="constant",
            return_complex=True,
        )
        return torch.view_as_real(spectrum).square().sum(-1)

    def harmonics(self, x: Tensor) -> Tensor:
        """Return the compressed harmonic tensor, (batch, harmonic, band, frame)."""
        return self.log(self.filters(self.power(x)))

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, 1, samples) to (batch, out_channels, 1 + samples // hop_samples)."""
        if x.ndim != 3 or x.shape[1] != 1:
            raise ShapeError(
                "waveform",
                got=f"shape {tuple(x.shape)}",
                expected="(batch, 1, samples)",
                hint="add a channel axis with x[:, None]",
            )
        return self.convs(self.norm(self.harmonics(x)))


class MusicnnBackend(nn.Module):
    """What musicnn puts behind a front-end: three convolutions, two poolings, a hidden layer.

    Pons et al. 2018, Fig. 2: convolutions over all channels and 7 frames, the second and the third
    with a connection around them; a maximum over pairs of frames before the third; mean and
    maximum over time; a hidden layer, and one logit per output. ReLU precedes normalisation. The
    normalisations of the second and the third convolution take *one* mean and deviation over all
    channels, as in the published code, whose parameter counts this class reproduces.

    Parameters
    ----------
    in_channels
        Of the front-end.
    n_outputs
        Tags or classes.
    channels, hidden
        Filters of each convolution, and units of the hidden layer.
    dropout
        Before each dense layer.

    Raises
    ------
    ShapeError
        On call, if there are fewer than 8 frames.
    """

    WIDTH = 7

    def __init__(
        self,
        in_channels: int,
        n_outputs: int,
        *,
        channels: int = 512,
        hidden: int = 500,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(in_channels, channels, self.WIDTH)
        self.norm1 = nn.BatchNorm1d(channels)
        self.conv2 = nn.Conv1d(channels, channels, self.WIDTH, padding=self.WIDTH // 2)
        self.norm2 = nn.BatchNorm2d(1)
        self.conv3 = nn.Conv1d(channels, channels, self.WIDTH, padding=self.WIDTH // 2)
        self.norm3 = nn.BatchNorm2d(1)
        self.dense = nn.Sequential(
            nn.Dropout(dropout),
            nn.Linear(2 * channels, hidden),
            nn.ReLU(),
            nn.BatchNorm1d(hidden),
            nn.Dropout(dropout),
            nn.Linear(hidden, n_outputs),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, in_channels, frame) to logits (batch, n_outputs)."""
        if x.shape[-1] <= self.WIDTH:
            raise ShapeError(
                "features",
                got=f"{x.shape[-1]} frames",
                expected=f"more than {self.WIDTH}",
                hint="give longer excerpts",
            )
        x = self.norm1(F.relu(self.conv1(x)))
        x = x + self.norm2(F.relu(self.conv2(x))[:, None])[:, 0]
        x = F.max_pool1d(x, 2)
        x = x + self.norm3(F.relu(self.conv3(x))[:, None])[:, 0]
        return self.dense(torch.cat([x.mean(dim=-1), x.amax(dim=-1)], dim=1))


def musicnn(
    n_bands: int,
    n_outputs: int,
    *,
    frames_per_second: float = 62.5,
    width: float = 1.0,
    channels: int = 512,
    hidden: int = 500,
    dropout: float = 0.5,
) -> nn.Sequential:
    """Return the whole of musicnn: normalisation, front-end of many shapes, back-end.

    It maps (batch, 1, band, frame) to logits (batch, n_outputs). See :func:`musicnn_shapes` and
    :class:`MusicnnBackend` for the parameters.
    """
    vertical, horizontal = musicnn_shapes(n_bands, width=width, frames_per_second=frames_per_second)
    front = ShapedConvs(n_bands, vertical=vertical, horizontal=horizontal)
    back = MusicnnBackend(
        front.out_channels, n_outputs, channels=channels, hidden=hidden, dropout=dropout
    )
    return nn.Sequential(nn.BatchNorm2d(1), front, back)
