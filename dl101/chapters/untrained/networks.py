"""Nine CNNs with weights drawn at random, each a function from a sound to a vector of features.

Conventions: waveforms are (batch, 1, samples) at 11,025 Hz, log-mel spectrograms (batch, 1, 96,
frame). A network gives *maps*, arrays (batch, channel, ...), and its features are the means of all
its maps, (batch, number): 112 to 161 for the ``short`` size. The shapes, and the numbers of filters
of the sizes ``short`` and ``published``, are those of Pons and Serra [1]_ and their code;
``long`` is what this book's grid can pay.

References
----------
.. [1] J. Pons, X. Serra, "Randomly weighted CNNs for (music) audio classification", ICASSP 2019.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dl101.nn.shapes import Shape, ShapedConvs

N_BANDS = 96
SIZES = ("short", "long", "published")
FRAME_LENGTHS = (512, 256, 128, 64, 32)  # of the filters on frames, in samples
STRIDE = 32
POOLINGS = ((2, 4), (3, 4), (2, 5), (2, 4), (4, 4))  # of the VGG: bands, frames
RHYTHM, SHORT_SOUNDS = (165, 128, 64, 32), (64, 32, 16, 8)  # lengths of temporal filters, frames


class Extractor(nn.Module):
    """A network whose features are the means of its maps."""

    def maps(self, x: Tensor) -> list[Tensor]:
        """Return maps (batch, channel, ...) of a batch of inputs."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """Return the mean of each map, (batch, number)."""
        return torch.cat([each.flatten(2).mean(dim=-1) for each in self.maps(x)], dim=1)


class SampleLevel(Extractor):
    """Seven layers of filters of 3 samples; six maxima over 3 make it see longer and longer."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv1d(1, channels, 3, stride=3)
        self.others = nn.ModuleList(nn.Conv1d(channels, channels, 3) for _ in range(6))

    def maps(self, x: Tensor) -> list[Tensor]:
        """Return seven maps (batch, channel, step), each three times as coarse as the last."""
        found = [F.relu(self.first(x))]
        for conv in self.others:
            found.append(F.max_pool1d(F.relu(conv(found[-1])), 3))
        return found


class FrameLevel(Extractor):
    """Long filters with a stride of 32 samples, then three layers of 7 steps.

    Parameters
    ----------
    channels
        Filters of each length, and of each later layer.
    lengths
        Of the filters of the first layer, in samples: one, or several side by side.
    """

    def __init__(self, channels: int, lengths: Sequence[int] = FRAME_LENGTHS[:1]) -> None:
        super().__init__()
        self.first = nn.ModuleList(nn.Conv1d(1, channels, n, stride=STRIDE) for n in lengths)
        self.second = nn.Conv1d(channels * len(lengths), channels, 7)
        self.others = nn.ModuleList(nn.Conv1d(channels, channels, 7, padding=3) for _ in range(2))

    def maps(self, x: Tensor) -> list[Tensor]:
        """Return the maps of the first layer and of the three that follow."""
        sides = [conv.kernel_size[0] - STRIDE for conv in self.first]  # so that all step alike
        frames = [
            F.relu(conv(F.pad(x, (n // 2, n - n // 2))))
            for conv, n in zip(self.first, sides, strict=True)
        ]
        found = [torch.cat(frames, dim=1)]
        found.append(F.relu(self.second(found[-1])))
        found.append(found[-1] + F.relu(self.others[0](found[-1])))
        coarse = F.max_pool1d(found[-1], 2)
        found.append(coarse + F.relu(self.others[1](coarse)))
        return found


class VGG(Extractor):
    """Five layers of 3x3 filters, each followed by a maximum over a rectangle.

    Parameters
    ----------
    channels
        Filters of each layer.
    norm
        Whether batch normalisation precedes the non-linearity; the thesis does without.
    """

    def __init__(self, channels: int, *, norm: bool = False) -> None:
        super().__init__()
        widths = [1, *[channels] * len(POOLINGS)]
        self.convs = nn.ModuleList(
            nn.Conv2d(before, channels, 3, padding=1) for before in widths[:-1]
        )
        self.norms = nn.ModuleList(
            nn.BatchNorm2d(channels, momentum=None) if norm else nn.Identity() for _ in POOLINGS
        )

    def maps(self, x: Tensor) -> list[Tensor]:
        """Return five maps (batch, channel, band, frame); a rest smaller than a tile counts."""
        found = []
        for conv, norm, tile in zip(self.convs, self.norms, POOLINGS, strict=True):
            x = F.max_pool2d(F.elu(norm(conv(x))), tile, ceil_mode=True)
            found.append(x)
        return found


class Shaped(Extractor):
    """One layer of filters of chosen shapes: tall ones, wide ones, or both.

    Tall filters slide along frequency, and the maximum over all places is kept; wide ones look at
    the mean of all bands. See :class:`dl101.nn.shapes.ShapedConvs`.
    """

    def __init__(self, vertical: Sequence[Shape] = (), horizontal: Sequence[Shape] = ()) -> None:
        super().__init__()
        self.convs = ShapedConvs(N_BANDS, vertical=vertical, horizontal=horizontal, norm=False)

    def maps(self, x: Tensor) -> list[Tensor]:
        """Return one map (batch, channel, frame)."""
        return [self.convs(x)]


def tall(n: int) -> list[Shape]:
    """Return the shapes of timbral filters: 14 n of them, 90 % or 40 % of the bands high."""
    return [Shape(n * k, high, wide) for high in (86, 38) for k, wide in ((1, 7), (2, 3), (4, 1))]


def wide(n: int, lengths: Sequence[int]) -> list[Shape]:
    """Return the shapes of temporal filters: 14 n of them, the shorter the more."""
    return [
        Shape(n * k - n // 4, 1, length) for k, length in zip((1, 2, 4, 8), lengths, strict=True)
    ]


@dataclass(frozen=True)
class Architecture:
    """How a network is built.

    Attributes
    ----------
    input
        What it is fed.
    build
        Called with a number of filters and the lengths of temporal filters.
    filters
        That number, for each of ``SIZES``.
    is_slow
        Whether its filters last for seconds: then it needs whole tracks, also when it is trained.
    """

    input: Literal["waveform", "spectrogram"]
    build: Callable[[int, Sequence[int]], Extractor]
    filters: tuple[int, int, int]
    is_slow: bool = False


ARCHITECTURES: Mapping[str, Architecture] = {
    "sample-level": Architecture("waveform", lambda n, _: SampleLevel(n), (23, 46, 512)),
    "frame-level": Architecture("waveform", lambda n, _: FrameLevel(n), (40, 80, 896)),
    "frame-level, many": Architecture(
        "waveform", lambda n, _: FrameLevel(n, FRAME_LENGTHS), (20, 40, 448)
    ),
    "7x96": Architecture("spectrogram", lambda n, _: Shaped([Shape(n, 96, 7)]), (160, 320, 3585)),
    "7x86": Architecture("spectrogram", lambda n, _: Shaped([Shape(n, 86, 7)]), (160, 320, 3585)),
    "timbral": Architecture("spectrogram", lambda n, _: Shaped(tall(n)), (8, 16, 256)),
    "temporal": Architecture(
        "spectrogram", lambda n, lengths: Shaped([], wide(n, lengths)), (8, 16, 256), True
    ),
    "timbral+temporal": Architecture(
        "spectrogram", lambda n, lengths: Shaped(tall(n), wide(n, lengths)), (4, 8, 128), True
    ),
    "VGG": Architecture("spectrogram", lambda n, _: VGG(n), (32, 64, 717)),
}


def build(
    name: str,
    size: str = "short",
    *,
    seed: int = 0,
    lengths: Sequence[int] = RHYTHM,
) -> Extractor:
    """Return a network of ``ARCHITECTURES`` with weights drawn at random.

    Parameters
    ----------
    name, size
        Of ``ARCHITECTURES`` and ``SIZES``.
    seed
        Of the weights.
    lengths
        Of temporal filters, in frames.
    """
    chosen = ARCHITECTURES[name]
    network = chosen.build(chosen.filters[SIZES.index(size)], lengths)
    return draw(network, seed)


def draw(network: Extractor, seed: int) -> Extractor:
    """Draw all filters anew, from normal distributions that keep the level [2]_; biases are 0.

    References
    ----------
    .. [2] K. He, X. Zhang, S. Ren, J. Sun, "Delving deep into rectifiers", ICCV 2015.
    """
    generator = torch.Generator().manual_seed(seed)
    for name, values in network.named_parameters():
        if name.endswith("bias"):
            nn.init.zeros_(values)
        elif values.ndim > 1:
            nn.init.kaiming_normal_(values, nonlinearity="relu", generator=generator)
    return network.eval()


def features(network: Extractor, x: Tensor, *, batch_size: int = 1) -> Tensor:
    """Return the features of inputs, (item, number), without gradients.

    One item at a time is quickest on one core: its maps then stay in the cache.
    """
    network = network.to(memory_format=torch.channels_last) if isinstance(network, VGG) else network
    with torch.inference_mode():
        return torch.cat([network(part) for part in x.split(batch_size)])
