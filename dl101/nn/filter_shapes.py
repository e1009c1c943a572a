"""Shallow networks that are told apart by their filters' shapes (thesis of Pons [1]_, 3.2, 3.3).

Shapes: spectrograms are (batch, 1, band, frame), low bands first; networks give logits (batch,
class). A filter's height counts bands, its width frames. Filters lie inside the spectrogram unless
a padding is named. Rectification is ReLU unless said otherwise, and every layer has its biases.

- :class:`ShapeNet`: branches of one shape each, side by side, and dense layers behind them. The
  functions :func:`black_box`, :func:`time_net`, :func:`frequency_net`, :func:`time_frequency` are
  the networks of table 3.1.
- :class:`TemporalBank`: filters of one band and many widths, whose convolutions are done several
  at once; :func:`onset_shapes` and :func:`pattern_shapes` are O-net and P-net of table 3.2.

The networks for timbre of the same chapter are in :mod:`dl101.nn.timbre`.

References
----------
.. [1] J. Pons, "Deep neural networks for music and audio tagging", doctoral thesis, Universitat
   Pompeu Fabra, 2019, chapter 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dl101.errors import ConfigError, ShapeError
from dl101.nn.shapes import Shape

Padding = Literal["none", "time", "same"]


class Maximum(nn.Module):
    """The maximum over rectangles of bands and frames.

    What fills no rectangle is left out.

    Parameters
    ----------
    pool
        Bands and frames of a rectangle; 0 stands for all there are.
    """

    def __init__(self, pool: tuple[int, int]) -> None:
        super().__init__()
        self.pool = pool

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, channel, band, frame) to (batch, channel, rectangle, rectangle in time)."""
        return F.max_pool2d(x, [p or n for p, n in zip(self.pool, x.shape[2:], strict=True)])


class Branch(nn.Module):
    """Filters of one shape, rectified, and the maximum over rectangles of what they answer.

    Parameters
    ----------
    shape
        Of the filters.
    pool
        Bands and frames of a rectangle; 0 stands for all there are. What fills no rectangle is
        left out.
    padding
        ``"time"`` and ``"same"`` add zeros, so that as many frames (and bands) come out as go in.
    norm
        Whether batch normalisation follows the rectification.
    activation
        The rectification.
    """

    def __init__(
        self,
        shape: Shape,
        pool: tuple[int, int] = (0, 0),
        *,
        padding: Padding = "none",
        norm: bool = False,
        activation: type[nn.Module] = nn.ReLU,
    ) -> None:
        super().__init__()
        shape = Shape(*shape)
        self.padding, self.maximum = padding, Maximum(pool)
        self.conv = nn.Conv2d(1, shape.n_filters, (shape.n_bands, shape.n_frames))
        self.activation = activation()
        self.norm = nn.BatchNorm2d(shape.n_filters) if norm else nn.Identity()

    def answers(self, x: Tensor) -> Tensor:
        """Return the rectified answers at every place, (batch, filter, place, place in time)."""
        height, width = self.conv.kernel_size
        sides = ((width - 1) // 2, width // 2, (height - 1) // 2, height // 2)
        x = F.pad(
            x, {"none": (0, 0, 0, 0), "time": (*sides[:2], 0, 0), "same": sides}[self.padding]
        )
        return self.norm(self.activation(self.conv(x)))

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, 1, band, frame) to (batch, filter, rectangle, rectangle in time)."""
        return self.maximum(self.answers(x))


class ShapeNet(nn.Module):
    """Branches side by side, all they answer as one vector, and dense layers.

    Parameters
    ----------
    branches
        Of the first layer.
    input_shape
        Bands and frames of the spectrograms.
    n_classes
        Number of logits.
    hidden
        Units of dense layers between, each with ReLU.
    dropout
        Before each dense layer.
    """

    def __init__(
        self,
        branches: Sequence[nn.Module],
        input_shape: tuple[int, int],
        n_classes: int,
        *,
        hidden: Sequence[int] = (),
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        self.input_shape = input_shape
        self.branches = nn.ModuleList(branches)
        with torch.no_grad():
            self.n_features = self.features(torch.zeros(2, 1, *input_shape)).shape[1]
        self.dense = dense_layers([self.n_features, *hidden, n_classes], dropout=dropout)

    def features(self, x: Tensor) -> Tensor:
        """Return what the branches pass on, (batch, feature)."""
        return torch.cat([branch(x).flatten(1) for branch in self.branches], dim=1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, 1, band, frame) to logits (batch, class)."""
        _check_input(x, self.input_shape)
        return self.dense(self.features(x))


def dense_layers(
    sizes: Sequence[int], *, dropout: float = 0.5, activation: type[nn.Module] = nn.ReLU
) -> nn.Sequential:
    """Return dense layers of these sizes, dropout before each, the activation between."""
    layers: list[nn.Module] = []
    for n, (size, following) in enumerate(pairwise(sizes)):
        layers += [activation()] if n else []
        layers += [nn.Dropout(dropout), nn.Linear(size, following)]
    return nn.Sequential(*layers)


# ---- table 3.1: which axis does a filter see? ----------------------------------------------------


IN_BOTH, IN_TIME, IN_FREQUENCY = Shape(32, 12, 8), Shape(32, 1, 60), Shape(32, 32, 1)


def black_box(
    n_classes: int, *, input_shape: tuple[int, int] = (40, 80), shape: Shape = IN_BOTH
) -> ShapeNet:
    """Return *Black-box*: filters that see a little of both axes, and a hidden layer of 200."""
    return ShapeNet([Branch(shape, (4, 1))], input_shape, n_classes, hidden=[200])


def time_net(
    n_classes: int, *, input_shape: tuple[int, int] = (40, 80), shape: Shape = IN_TIME
) -> ShapeNet:
    """Return *Time*: filters of one band; of all bands the strongest answer counts."""
    return ShapeNet([Branch(shape, (0, 1))], input_shape, n_classes)


def frequency_net(
    n_classes: int, *, input_shape: tuple[int, int] = (40, 80), shape: Shape = IN_FREQUENCY
) -> ShapeNet:
    """Return *Frequency*: filters of one frame; of all frames the strongest answer counts."""
    return ShapeNet([Branch(shape, (1, 0))], input_shape, n_classes)


def time_frequency(n_classes: int, *, input_shape: tuple[int, int] = (40, 80)) -> ShapeNet:
    """Return *Time-Frequency*: both side by side, and a hidden layer of 200."""
    branches = [Branch(IN_TIME, (0, 1)), Branch(IN_FREQUENCY, (1, 0))]
    return ShapeNet(branches, input_shape, n_classes, hidden=[200])


# ---- table 3.2: how long is a filter? ------------------------------------------------------------


def onset_shapes(times: int = 1, *, pace: float = 1.0) -> tuple[Shape, ...]:
    """Return the shapes of *O-net*: 5 filters each of 6, 11, ..., 41 frames.

    Parameters
    ----------
    times
        Factor of the numbers of filters.
    pace
        Frames per second, relative to the thesis's 43: filters keep their duration.
    """
    return tuple(Shape(5 * times, 1, round(n * pace)) for n in range(6, 42, 5))


def pattern_shapes(times: int = 1, *, pace: float = 1.0) -> tuple[Shape, ...]:
    """Return the shapes of *P-net*: a filter each of 46, 51, ..., 216 frames."""
    return tuple(Shape(times, 1, round(n * pace)) for n in range(46, 217, 5))


class TemporalBank(nn.Module):
    """Filters of one band and many widths; the strongest answer over time in groups of 4 bands.

    The same as a :class:`Branch` with ``pool=(4, 0)`` for every shape, and faster: filters of
    similar width are filled up with zeros and done in one convolution, and the places that a
    shorter filter would not have had are left out of the maximum.

    Parameters
    ----------
    shapes
        Each one band high.
    bands
        Bands of a group.
    at_once
        Filters of one convolution, about.
    """

    def __init__(self, shapes: Sequence[Shape], *, bands: int = 4, at_once: int = 12) -> None:
        super().__init__()
        shapes = sorted((Shape(*shape) for shape in shapes), key=lambda shape: shape.n_frames)
        if not shapes or any(shape.n_bands != 1 for shape in shapes):
            raise ConfigError(
                "temporal filters",
                got=f"heights {sorted({shape.n_bands for shape in shapes})}",
                expected="at least one shape, each one band high",
                hint="the order is (n_filters, n_bands, n_frames)",
            )
        self.bands = bands
        self.convs = nn.ModuleList(nn.Conv2d(1, s.n_filters, (1, s.n_frames)) for s in shapes)
        self.groups: list[list[int]] = [[]]
        for number, shape in enumerate(shapes):
            held = sum(shapes[k].n_filters for k in self.groups[-1])
            if held and held + shape.n_filters > at_once:
                self.groups.append([])
            self.groups[-1].append(number)

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, 1, band, frame) to (batch, filter, group of bands, 1)."""
        return torch.cat([self._maxima(x, [self.convs[k] for k in g]) for g in self.groups], dim=1)

    def _maxima(self, x: Tensor, convs: Sequence[nn.Conv2d]) -> Tensor:
        widths = [conv.kernel_size[1] for conv in convs]
        widest, n_frames = max(widths), x.shape[-1]
        weights = torch.cat(
            [F.pad(c.weight, (0, widest - n)) for c, n in zip(convs, widths, strict=True)]
        )
        y = F.conv2d(
            F.pad(x, (0, widest - min(widths))), weights, torch.cat([c.bias for c in convs])
        )
        n_places = torch.tensor(
            [n_frames - c.kernel_size[1] + 1 for c in convs for _ in range(c.out_channels)]
        )
        if n_places.min() < n_places.max():
            outside = torch.arange(y.shape[-1]) >= n_places[:, None, None]
            y = y + torch.where(outside, -1e9, 0.0).to(y)
        return F.relu(F.max_pool2d(y, (self.bands, y.shape[-1])))


def temporal_net(
    shapes: Sequence[Shape],
    n_classes: int,
    *,
    input_shape: tuple[int, int] = (40, 250),
    bands: int = 4,
) -> ShapeNet:
    """Return a network of temporal filters: *O-net*, *P-net*, or both, as the shapes say.

    See :class:`ShapeNet` and, for ``bands``, :class:`TemporalBank`.
    """
    return ShapeNet([TemporalBank(shapes, bands=bands)], input_shape, n_classes)


def _check_input(x: Tensor, input_shape: tuple[int, int]) -> None:
    if x.ndim != 4 or x.shape[1:] != (1, *input_shape):
        raise ShapeError(
            "spectrogram",
            got=f"shape {tuple(x.shape)}",
            expected=f"(batch, 1, {input_shape[0]}, {input_shape[1]})",
            hint="the dense layer is made for one size: cut the spectrogram into such pieces",
        )
