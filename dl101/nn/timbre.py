"""Networks for timbre, of filters of many shapes, and the stacks of 3x3 filters beside them.

Conventions are those of :mod:`dl101.nn.filter_shapes`: spectrograms are (batch, 1, band, frame),
networks give logits (batch, class). Rectification is ELU in the thesis's own networks [1]_.

- :func:`phoneme_net` (table 3.3), :func:`instrument_net` and :class:`DeepInstrumentNet` (3.4),
  :class:`TagNet` (3.5): the thesis's networks for sung phonemes, instruments and tags.
- :class:`StackNet`: the stacks of 3x3 filters that they are compared with.

The numbers of parameters are the thesis's where its text and tables agree; where they do not, the
docstring says which reading gives the number in its table.

References
----------
.. [1] J. Pons, "Deep neural networks for music and audio tagging", doctoral thesis, Universitat
   Pompeu Fabra, 2019, section 3.4.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from dl101.nn.filter_shapes import Branch, Maximum, Padding, ShapeNet, dense_layers
from dl101.nn.shapes import Shape


def phoneme_net(n_classes: int = 29, *, input_shape: tuple[int, int] = (80, 21)) -> ShapeNet:
    """Return the thesis's network for sung phonemes; its table's count is that of 29 classes."""
    shapes = [
        (n, height, width) for n, width in ((128, 1), (64, 5), (32, 10)) for height in (50, 70)
    ]
    branches = [Branch(Shape(*s), (2, 0), activation=nn.ELU) for s in shapes]
    return ShapeNet(branches, input_shape, n_classes, dropout=0.3)


INSTRUMENT_SHAPES = tuple(
    Shape(n, height, width) for n, width in ((128, 1), (64, 3), (32, 5)) for height in (5, 80)
)


def instrument_net(
    n_classes: int = 11, *, input_shape: tuple[int, int] = (96, 128), pool_frames: int = 16
) -> ShapeNet:
    """Return the single-layer network for instruments.

    ``pool_frames=16`` is the thesis's text; its table's count (62k) is that of 32.
    """
    branches = [
        Branch(s, (0, pool_frames), padding="same", norm=True, activation=nn.ELU)
        for s in INSTRUMENT_SHAPES
    ]
    return ShapeNet(branches, input_shape, n_classes)


class DeepInstrumentNet(nn.Module):
    """The multi-layer network for instruments: the same first layer, two of 3x3, dense layers.

    Parameters
    ----------
    n_classes, input_shape
        As in :class:`ShapeNet`.
    last_pool
        Bands and frames of the last maximum: (2, 2) is the thesis's text; its table's count (743k)
        is that of (4, 4).
    """

    def __init__(
        self,
        n_classes: int = 11,
        *,
        input_shape: tuple[int, int] = (96, 128),
        last_pool: tuple[int, int] = (2, 2),
    ) -> None:
        super().__init__()
        self.first = nn.ModuleList(
            Branch(s, (12, 16), padding="same", norm=True, activation=nn.ELU)
            for s in INSTRUMENT_SHAPES
        )
        n_first = sum(s.n_filters for s in INSTRUMENT_SHAPES)
        self.stack = nn.Sequential(
            *_squares(n_first, 128, (2, 2), padding=1, activation=nn.ELU),
            *_squares(128, 128, last_pool, padding=1, activation=nn.ELU),
            nn.Flatten(),
        )
        with torch.no_grad():
            n_features = self.features(torch.zeros(2, 1, *input_shape)).shape[1]
        self.dense = dense_layers([n_features, 256, n_classes], activation=nn.ELU)

    def features(self, x: Tensor) -> Tensor:
        """Return what the convolutions pass on, (batch, feature)."""
        return self.stack(torch.cat([branch(x) for branch in self.first], dim=1))

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, 1, band, frame) to logits (batch, class)."""
        return self.dense(self.features(x))


TAG_SHAPES = tuple(
    Shape(n, height, width)
    for height, numbers in ((100, (10, 6, 3, 3)), (75, (15, 10, 5, 5)), (25, (15, 10, 5, 5)))
    for n, width in zip(numbers, (1, 3, 5, 7), strict=True)
)


class TagNet(nn.Module):
    """Filters of many shapes that slide along frequency, then a convolution along time; for tags.

    With the single shape (32, all bands, 8), without padding, it is the network of Dieleman and
    Schrauwen that the thesis starts from.

    Parameters
    ----------
    times
        Factor of the numbers of filters; the second layer, 32 filters, grows with it: only so does
        it have the number of parameters of the thesis's table (its text keeps the second layer).
    n_classes, input_shape
        As in :class:`ShapeNet`.
    shapes, padding
        Of the first layer.
    """

    def __init__(
        self,
        times: int = 1,
        n_classes: int = 50,
        *,
        input_shape: tuple[int, int] = (128, 187),
        shapes: Sequence[Shape] = TAG_SHAPES,
        padding: Padding = "time",
    ) -> None:
        super().__init__()
        shapes = [Shape(times * n, height, width) for n, height, width in shapes]
        self.first = nn.ModuleList(
            Branch(s, (0, 4), padding=padding, activation=nn.ELU) for s in shapes
        )
        self.second = nn.Sequential(
            nn.Conv1d(sum(s.n_filters for s in shapes), 32 * times, 8), nn.ELU(), nn.MaxPool1d(4)
        )
        with torch.no_grad():
            n_features = self.features(torch.zeros(2, 1, *input_shape)).shape[1]
        self.dense = dense_layers([n_features, 100, n_classes], activation=nn.ELU)

    def features(self, x: Tensor) -> Tensor:
        """Return what the convolutions pass on, (batch, feature)."""
        seen = torch.cat([branch(x)[:, :, 0] for branch in self.first], dim=1)
        return self.second(seen).flatten(1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, 1, band, frame) to logits (batch, class)."""
        return self.dense(self.features(x))


class StackNet(nn.Module):
    """A stack of 3x3 filters, as for images: what the shapes of this module are compared with.

    Parameters
    ----------
    channels
        Filters of each layer.
    pools
        Bands and frames of the maximum behind each layer, None for none, (0, 0) for all there are.
    n_classes, input_shape
        As in :class:`ShapeNet`.
    hidden
        Units of dense layers between.
    padding
        Zeros around the input of every layer.
    norm
        Whether batch normalisation follows every rectification; its shift then stands for biases
        if ``bias`` is False.
    bias
        Whether the filters have biases.
    """

    def __init__(
        self,
        channels: Sequence[int],
        pools: Sequence[tuple[int, int] | None],
        n_classes: int,
        *,
        input_shape: tuple[int, int],
        hidden: Sequence[int] = (),
        padding: int = 0,
        norm: bool = True,
        bias: bool = True,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for n_in, n_out, pool in zip([1, *channels], channels, pools, strict=False):
            layers += _squares(n_in, n_out, pool, padding=padding, norm=norm, bias=bias)
        self.stack = nn.Sequential(*layers, nn.Flatten())
        with torch.no_grad():
            n_features = self.stack(torch.zeros(2, 1, *input_shape)).shape[1]
        self.dense = dense_layers([n_features, *hidden, n_classes], activation=nn.ELU)

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, 1, band, frame) to logits (batch, class)."""
        return self.dense(self.stack(x))


def square_phoneme_net(n_classes: int = 29) -> StackNet:
    """Return the 3x3 stack of table 3.3; its count (222k) has the running means and variances."""
    pools = [None] * 4 + [(0, 0)]
    return StackNet((60, 84, 84, 84, 60), pools, n_classes, input_shape=(80, 21))


def square_instrument_net(n_classes: int = 11) -> StackNet:
    """Return the network of Han, Kim and Lee (2017) in table 3.4."""
    channels = (32, 32, 64, 64, 128, 128, 256, 256)
    pools = [None, (3, 3), None, (3, 3), None, (3, 3), None, (0, 0)]
    shape = {"input_shape": (128, 43), "padding": 1, "norm": False}
    return StackNet(channels, pools, n_classes, hidden=[1024], **shape)


def square_tag_net(n_classes: int = 50) -> StackNet:
    """Return the 3x3 stack of table 3.5, after Choi and others (2016), as the thesis's code has it.

    The table says 75k; the code's network has 74,130 with running means and variances.
    """
    pools = [(1, 4), (4, 1), (2, 2), (2, 2), None]
    return StackNet((32, 32, 64, 32, 16), pools, n_classes, input_shape=(128, 187), bias=False)


def _squares(
    n_in: int,
    n_out: int,
    pool: tuple[int, int] | None,
    *,
    padding: int = 0,
    norm: bool = True,
    bias: bool = True,
    activation: type[nn.Module] = nn.ReLU,
) -> list[nn.Module]:
    """Return a layer of 3x3 filters and what follows it."""
    layers: list[nn.Module] = [nn.Conv2d(n_in, n_out, 3, padding=padding, bias=bias), activation()]
    layers += [nn.BatchNorm2d(n_out)] if norm else []
    return layers + ([Maximum(pool)] if pool else [])
