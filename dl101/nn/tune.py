"""TUNe: a U-Net with a tail, which turns a waveform into one vector.

Shapes: waveforms (batch, 1, samples) in, representations (batch, number) out; feature maps are
(batch, channel, frame). A *level* says how often the time axis has been pooled: at level l a frame
stands for 3**l samples. There are three paths, each of any length:

- the *contractive* path goes down: convolution, then max pooling over three frames; it ends with a
  convolution that is followed by no pooling, the *bottleneck*;
- the *expansive* path comes up again: a transposed convolution triples the number of frames, what
  the contractive path had at that level is put beside it, and a convolution mixes both;
- the *tail* goes down once more: max pooling, then convolution; what is left is averaged over time.

Every convolution has three taps and is followed by batch normalisation and ReLU, but for the
transposed ones. Without an expansive path, contractive path and tail are one chain of convolutions
and poolings: SampleCNN, the encoder of CLMR. Without a tail there remains a U-Net [3]_.

References
----------
.. [1] M. A. Vélez Vásquez, J. A. Burgoyne, "Tailed U-Net: multi-scale music representation
   learning", ISMIR 2022: sections 3.1 to 3.3, Table 1.
.. [2] J. Spijkervet, J. A. Burgoyne, "Contrastive learning of musical representations", ISMIR 2021.
.. [3] O. Ronneberger, P. Fischer, T. Brox, "U-Net: convolutional networks for biomedical image
   segmentation", MICCAI 2015.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from dl101.errors import ConfigError, ShapeError
from dl101.nn.sample_level import SAMPLE_CNN, SampleCNN

FACTOR = 3  # kernel of every convolution, and pooling
DOUBLINGS = 5  # the tail doubles its channels so often at most
PATHS = ("contractive", "expansive", "tail")


@dataclass(frozen=True)
class Sizes:
    """The numbers that describe a variant; the defaults are Vanilla TUNe of Table 1 [1]_.

    Attributes
    ----------
    n_contractive, n_expansive, n_tail
        Poolings on the way down, transposed convolutions on the way up, poolings of the tail.
    filters
        Channels of the first convolution; each pooling doubles them.
    representation
        Numbers that come out.
    plus
        TUNe+: each block of the tail also takes what the expansive path had at its level.
    tail_widths
        Channels of each block of the tail, where they follow another rule.
    """

    n_contractive: int = 4
    n_expansive: int = 4
    n_tail: int = 4
    filters: int = 34
    representation: int = 512
    plus: bool = False
    tail_widths: tuple[int, ...] | None = None


# Table 1, but for the variant whose tail is a SampleCNN, see TailedByCLMR.
TABLE_1: Mapping[str, Sizes] = {
    "Vanilla": Sizes(),
    "Contractive+1": Sizes(5, 5, 4, 18),
    "Contractive+2": Sizes(6, 6, 4, 9),
    "Contractive+3": Sizes(7, 7, 4, 4),
    "Expansive-1": Sizes(4, 3, 3, 34),
    "Expansive-2": Sizes(4, 2, 2, 35),
    "Expansive-3": Sizes(4, 1, 1, 38),
    "Tail+1": Sizes(4, 4, 5, 28),
    "Tail+2": Sizes(4, 4, 6, 19),
    "Tail+3": Sizes(4, 4, 7, 15),
    "Tail+4": Sizes(4, 4, 8, 13),
    "Tail+5": Sizes(4, 4, 9, 11),
    "TUNe+": Sizes(4, 4, 9, 11, plus=True),
    "Vanilla Small": Sizes(4, 4, 4, 11),
    "TUNe+ Large": Sizes(4, 4, 9, 34, plus=True, tail_widths=(68, 136, 272, *(512,) * 6)),
    "TUNe+ Smaller Rep": Sizes(
        4, 4, 9, 11, representation=256, plus=True, tail_widths=(22, 44, 88, *(256,) * 6)
    ),
}


class Maps(NamedTuple):
    """What each block of each path puts out, (batch, channel, frame).

    The last of ``contractive`` is the bottleneck.
    """

    contractive: list[Tensor]
    expansive: list[Tensor]
    tail: list[Tensor]


def block(in_channels: int, out_channels: int) -> nn.Sequential:
    """Return a convolution that keeps the number of frames, batch normalisation and ReLU."""
    return nn.Sequential(
        nn.Conv1d(in_channels, out_channels, FACTOR, padding=FACTOR // 2),
        nn.BatchNorm1d(out_channels),
        nn.ReLU(),
    )


class Up(nn.Module):
    """One block of the expansive path: three times the frames, joined to what was there before.

    Parameters
    ----------
    in_channels
        From below; half as many come from the side.
    out_channels
        After the convolution: as many as come from the side, if not given.
    """

    def __init__(self, in_channels: int, out_channels: int | None = None) -> None:
        super().__init__()
        half = in_channels // 2
        self.up = nn.ConvTranspose1d(in_channels, half, FACTOR, stride=FACTOR)
        self.mix = block(2 * half, out_channels or half)

    def forward(self, below: Tensor, beside: Tensor) -> Tensor:
        """Join (batch, 2 c, frames) and (batch, c, 3 frames) to (batch, c, 3 frames)."""
        raised = self.up(below)
        return self.mix(torch.cat([beside[..., : raised.shape[-1]], raised], dim=1))


class UShape(nn.Module):
    """The contractive and the expansive path.

    Parameters
    ----------
    n_contractive, n_expansive, filters
        See :class:`Sizes`.
    out_channels
        Of the last block of the expansive path, if it is not to have as many as its level.

    Raises
    ------
    ConfigError
        If a path has a negative length, or the way up is longer than the way down.
    """

    def __init__(
        self, n_contractive: int, n_expansive: int, filters: int, out_channels: int | None = None
    ) -> None:
        super().__init__()
        if not 0 <= n_expansive <= n_contractive or filters < 1:
            raise ConfigError(
                "paths of a TUNe",
                got=f"n_contractive={n_contractive}, n_expansive={n_expansive}, filters={filters}",
                expected="0 <= n_expansive <= n_contractive, one filter or more",
                hint="the way up can undo no more poolings than the way down has: 4 and 4",
            )
        widths = [filters * 2**level for level in range(n_contractive + 1)]
        self.contractive = nn.ModuleList(
            block(before, after) for before, after in zip([1, *widths], widths, strict=False)
        )
        below = widths[::-1][:n_expansive]  # channels that each block of the way up comes from
        ends = [None] * (n_expansive - 1) + [out_channels]
        self.expansive = nn.ModuleList(
            Up(channels, end) for channels, end in zip(below, ends, strict=False)
        )
        self.pool = nn.MaxPool1d(FACTOR)
        self.level = n_contractive - n_expansive
        self.out_channels = (n_expansive and out_channels) or widths[self.level]

    def maps(self, x: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Return the output of each block of the contractive and of the expansive path."""
        down: list[Tensor] = []
        for layer in self.contractive:
            down.append(layer(self.pool(down[-1]) if down else x))
        up: list[Tensor] = []
        for layer, beside in zip(self.expansive, down[-2::-1], strict=False):
            up.append(layer(up[-1] if up else down[-1], beside))
        return down, up

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, 1, samples) to (batch, channels, frames of the level where it ends)."""
        down, up = self.maps(x)
        return up[-1] if up else down[-1]


class TUNe(nn.Module):
    """From a waveform of any length to one vector, in three paths [1]_.

    Convolutions begin with the weights of He et al. (2015): uniform, by the number of inputs.

    Parameters
    ----------
    n_contractive, n_expansive, n_tail, filters, representation, plus, tail_widths
        See :class:`Sizes`; ``TUNe.of(sizes)`` takes one.

    Raises
    ------
    ConfigError
        If the paths do not fit each other, or if there is no tail to bring what the U-Net has to
        the size of the representation.
    """

    def __init__(
        self,
        n_contractive: int,
        n_expansive: int,
        n_tail: int,
        filters: int,
        representation: int = 512,
        *,
        plus: bool = False,
        tail_widths: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        self.u = UShape(n_contractive, n_expansive, filters)
        first = self.u.out_channels
        if tail_widths is None:
            doubled = [first * 2 ** min(t, DOUBLINGS) for t in range(1, n_tail)]
            tail_widths = [*doubled, representation] if n_tail > 0 else []
        widths = [first, *tail_widths]
        if n_tail < 0 or len(widths) != n_tail + 1 or widths[-1] != representation:
            raise ConfigError(
                "tail of a TUNe",
                got=f"{n_tail} blocks with {list(tail_widths)} channels after {first}, "
                f"representation {representation}",
                expected="a width for each block, the last one as wide as the representation",
                hint=f"without a tail, use representation={first}"
                if n_tail == 0
                else "leave tail_widths out: the widths double from block to block",
            )
        # TUNe+: the map at each level of the way up, and the bottleneck, go into the tail as well
        n_joined = min(n_expansive, n_tail) if plus else 0
        beside = [first * 2**t for t in range(1, n_joined + 1)] + [0] * (n_tail - n_joined)
        self.tail = nn.ModuleList(
            block(before + more, after)
            for before, more, after in zip(widths, beside, widths[1:], strict=False)
        )
        self.n_joined, self.representation = n_joined, representation
        # a frame of every map needs so many samples
        self.shortest_samples = FACTOR ** max(n_contractive, self.u.level + n_tail)
        for layer in self.modules():
            if isinstance(layer, nn.Conv1d | nn.ConvTranspose1d):
                nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu")

    @classmethod
    def of(cls, sizes: Sizes) -> TUNe:
        """Return the network that these numbers describe."""
        return cls(**vars(sizes))

    def maps(self, x: Tensor) -> Maps:
        """Return what every block makes of waveforms (batch, 1, samples)."""
        _check(x, self.shortest_samples)
        down, up = self.u.maps(x)
        # what stands at each level below the end of the U: the way up backwards, then its start
        levels = [*up[-2::-1], down[-1]] if up else []
        tail: list[Tensor] = []
        for t, layer in enumerate(self.tail):
            before = self.u.pool(tail[-1] if tail else (up or down)[-1])
            if t < self.n_joined:
                before = torch.cat([before, levels[t]], dim=1)
            tail.append(layer(before))
        return Maps(down, up, tail)

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, 1, samples) to (batch, representation): the mean over the frames left."""
        maps = self.maps(x)
        return (maps.tail or maps.expansive or maps.contractive)[-1].mean(dim=-1)


class TailedByCLMR(nn.Module):
    """A U-Net that turns a waveform into another one, and SampleCNN that reads that one.

    "CLMR-tail" of Table 1 [1]_, where the tail is a trained encoder of CLMR [2]_ that stays as it
    is: load its weights into ``tail`` and freeze them.

    Parameters
    ----------
    depth, filters
        Poolings of the U-Net, and channels of its first block.
    widths
        Channels of the SampleCNN, see there; they fix the length of the input.
    """

    def __init__(
        self, depth: int = 4, filters: int = 10, widths: Sequence[int] = SAMPLE_CNN
    ) -> None:
        super().__init__()
        self.u = UShape(depth, depth, filters, out_channels=1)
        self.tail = SampleCNN(widths=widths)
        self.tail.head = self.tail.dropout = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, 1, samples) to (batch, 512)."""
        return self.tail.encode(self.u(x))


class Tap(nn.Module):
    """A block of a TUNe with everything before it, as a network of its own: for measurements.

    Parameters
    ----------
    network
        Whose block it is.
    path
        One of :data:`PATHS`.
    i
        Which block of the path, from 0; -1 is the last one.
    """

    def __init__(self, network: TUNe, path: str, i: int) -> None:
        super().__init__()
        self.network, self.path, self.i = network, path, i

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, 1, samples) to (batch, channel, frame)."""
        return getattr(self.network.maps(x), self.path)[self.i]


class Span(NamedTuple):
    """Which samples a frame depends on: from ``first`` to ``last``, both included."""

    first: int
    last: int

    @property
    def size(self) -> int:
        """How many samples."""
        return self.last - self.first + 1


def receptive_span(sizes: Sizes, path: str, i: int, frame: int) -> Span:
    """Return the receptive field of a frame by arithmetic, as if the waveform had no ends.

    One step backwards through a block: a convolution with three taps sees one frame more on both
    sides; a pooling takes frames 3 f to 3 f + 2; a transposed convolution the one frame f // 3.
    What comes from two sides sees what either of them sees.

    Parameters
    ----------
    sizes
        The network.
    path, i, frame
        Which frame of which block, see :class:`Tap`.

    Raises
    ------
    ShapeError
        If there is no such block.
    """
    counts = sizes.n_contractive + 1, sizes.n_expansive, sizes.n_tail
    lengths = dict(zip(PATHS, counts, strict=True))
    if path not in lengths or not -lengths[path] <= i < lengths[path]:
        raise ShapeError(
            "block of a TUNe",
            got=f"block {i} of the path {path!r}",
            expected=", ".join(f"{n} blocks of {name}" for name, n in lengths.items()),
            hint="the first block of a path is 0",
        )

    def union(spans: Sequence[Span]) -> Span:
        return Span(min(s.first for s in spans), max(s.last for s in spans))

    def seen(path: str, i: int, first: int, last: int) -> Span:
        first, last = first - 1, last + 1  # the convolution
        pooled = first * FACTOR, last * FACTOR + FACTOR - 1
        if path == "contractive":
            return seen(path, i - 1, *pooled) if i else Span(first, last)
        if path == "expansive":
            below = ("expansive", i - 1) if i else ("contractive", sizes.n_contractive)
            beside = seen("contractive", sizes.n_contractive - 1 - i, first, last)
            return union([beside, seen(*below, first // FACTOR, last // FACTOR)])
        end = ("expansive", sizes.n_expansive - 1)
        if sizes.n_expansive == 0:
            end = ("contractive", sizes.n_contractive)
        spans = [seen(*(("tail", i - 1) if i else end), *pooled)]
        if sizes.plus and i < sizes.n_expansive:
            up = sizes.n_expansive - 2 - i
            at = ("expansive", up) if up >= 0 else ("contractive", sizes.n_contractive)
            spans.append(seen(*at, first, last))
        return union(spans)

    return seen(path, i % lengths[path], frame, frame)


def _check(x: Tensor, shortest: int) -> None:
    if x.ndim != 3 or x.shape[1] != 1:
        raise ShapeError(
            "TUNe",
            got=f"a tensor of shape {tuple(x.shape)}",
            expected="(batch, 1, samples)",
            hint="add the two axes, x[None, None] for one waveform; mix stereo down to mono",
        )
    if x.shape[-1] < shortest:
        raise ShapeError(
            "TUNe",
            got=f"{x.shape[-1]} samples",
            expected=f"at least {shortest}, which leave one frame at the end",
            hint="pad the waveform, or use a shorter tail",
        )
