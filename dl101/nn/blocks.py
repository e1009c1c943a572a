"""Blocks on images: "same" convolution, depthwise-separable, residual and ConvNeXt.

Shapes: (batch, channel, height, width), where height is frequency and width is time. Every block
keeps height and width unless it says otherwise. Each is written from the paper that its docstring
names. Convolutions along time are in :mod:`dl101.nn.convolutional`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from dl101.errors import ConfigError

Size2d = int | Sequence[int]


def _pair(size: Size2d) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else tuple(size)


class SameConv2d(nn.Conv2d):
    """2-D convolution with stride 1 whose output is as high and wide as its input.

    It computes what ``nn.Conv2d(..., padding="same")`` does. For an even kernel, which cannot be
    centred, PyTorch pads by copying the whole input at each call, and warns. Here both sides are
    padded by the larger amount and the surplus first row or column of the output, usually much
    smaller than the input, is cut off.

    Parameters
    ----------
    in_channels, out_channels
        Channels of the input and of the output.
    kernel_size, dilation
        One number, or (height, width).
    groups
        ``in_channels`` makes the convolution depthwise.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size2d,
        *,
        dilation: Size2d = 1,
        groups: int = 1,
    ) -> None:
        reach = [d * (k - 1) for k, d in zip(_pair(kernel_size), _pair(dilation), strict=True)]
        super().__init__(
            in_channels,
            out_channels,
            _pair(kernel_size),
            padding=tuple((total + 1) // 2 for total in reach),
            dilation=_pair(dilation),
            groups=groups,
        )
        self.surplus = tuple(total % 2 for total in reach)

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, in_channels, F, T) to (batch, out_channels, F, T)."""
        rows, columns = self.surplus
        (height, width), (above, left) = x.shape[2:], self.padding
        if above + 1 >= height or left + 1 >= width:
            # Where the padding is as large as the input, oneDNN's backward pass writes outside its
            # memory and ends the process (PyTorch 2.13). Such inputs are small, so copy them.
            padded = F.pad(x, (left - columns, left, above - rows, above))
            return F.conv2d(
                padded, self.weight, self.bias, dilation=self.dilation, groups=self.groups
            )
        return super().forward(x)[:, :, rows:, columns:]


def conv2d(
    in_channels: int,
    out_channels: int,
    kernel_size: Size2d,
    *,
    stride: Size2d = 1,
    padding: str | Size2d = "valid",
    dilation: Size2d = 1,
    groups: int = 1,
) -> nn.Conv2d:
    """Return a 2-D convolution; ``padding="same"`` gives :class:`SameConv2d` (stride 1 only)."""
    if padding == "same":
        if _pair(stride) != (1, 1):
            raise ConfigError(
                "padding 'same'",
                got=f"stride {stride}",
                expected="stride 1",
                hint="give the padding as numbers, or drop the stride",
            )
        return SameConv2d(in_channels, out_channels, kernel_size, dilation=dilation, groups=groups)
    if not isinstance(padding, str | int):
        padding = tuple(padding)
    return nn.Conv2d(
        in_channels,
        out_channels,
        _pair(kernel_size),
        stride=_pair(stride),
        padding=padding,
        dilation=_pair(dilation),
        groups=groups,
    )


class DepthwiseSeparableConv2d(nn.Module):
    """A filter per channel, then a 1x1 convolution that mixes the channels (Chollet 2017).

    A k x k convolution from C to D channels has k*k*C*D weights; this one has k*k*C + C*D.

    Parameters
    ----------
    in_channels, out_channels
        C and D.
    kernel_size, stride, padding
        Those of the per-channel filters, as in :func:`conv2d`.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size2d,
        *,
        stride: Size2d = 1,
        padding: str | Size2d = "same",
    ) -> None:
        super().__init__()
        self.depthwise = conv2d(
            in_channels,
            in_channels,
            kernel_size,
            stride=stride,
            padding=padding,
            groups=in_channels,
        )
        self.pointwise = nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, in_channels, F, T) to (batch, out_channels, F', T')."""
        return self.pointwise(self.depthwise(x))


class ResidualBlock2d(nn.Module):
    """Two convolutions whose result is added to the input: ReLU(x + f(x)) (He et al. 2016, Fig. 2).

    f is convolution, batch normalisation, ReLU, convolution, batch normalisation. Where the number
    of channels changes, a 1x1 convolution brings x to the new number (their option B; without
    normalisation after it, as in the models that this project reproduces).

    Parameters
    ----------
    in_channels, out_channels
        Channels of the input and of the output.
    kernel_size
        Of both convolutions; they keep height and width.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: Size2d = 3) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            conv2d(in_channels, out_channels, kernel_size, padding="same"),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(),
            conv2d(out_channels, out_channels, kernel_size, padding="same"),
            nn.BatchNorm2d(out_channels),
        )
        changes = in_channels != out_channels
        self.shortcut = nn.Conv2d(in_channels, out_channels, 1) if changes else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, in_channels, F, T) to (batch, out_channels, F, T)."""
        return F.relu(self.shortcut(x) + self.residual(x))


class ResidualBottleneck2d(nn.Module):
    """ReLU(x + f(x)), where f works in fewer channels (He et al. 2016, Fig. 5, right).

    f is a 1x1 convolution to ``inner_channels``, a k x k convolution there, and a 1x1 convolution
    back to the channels of x; each is batch-normalised, and ReLU follows the first two.

    Parameters
    ----------
    channels
        Channels of the input and of the output.
    inner_channels
        Those of the k x k convolution; by default a quarter, as in the paper.
    kernel_size
        k; height and width are kept.
    """

    def __init__(
        self, channels: int, inner_channels: int | None = None, kernel_size: Size2d = 3
    ) -> None:
        super().__init__()
        inner = max(1, channels // 4) if inner_channels is None else inner_channels
        self.residual = nn.Sequential(
            nn.Conv2d(channels, inner, 1),
            nn.BatchNorm2d(inner),
            nn.ReLU(),
            conv2d(inner, inner, kernel_size, padding="same"),
            nn.BatchNorm2d(inner),
            nn.ReLU(),
            nn.Conv2d(inner, channels, 1),
            nn.BatchNorm2d(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, channels, F, T) to the same shape."""
        return F.relu(x + self.residual(x))


class StochasticDepth(nn.Module):
    """Drop a whole residual branch, example by example, while training (Huang et al. 2016).

    What survives is divided by its probability, so that the expected value does not change and
    nothing needs to be rescaled in evaluation.
    """

    def __init__(self, drop_probability: float) -> None:
        super().__init__()
        if not 0 <= drop_probability < 1:
            raise ConfigError(
                "stochastic depth",
                got=drop_probability,
                expected="a probability from 0 to less than 1",
                hint="use 0 to switch it off",
            )
        self.drop_probability = drop_probability

    def forward(self, x: Tensor) -> Tensor:
        """Return (batch, ...) with some examples set to zero."""
        if not self.training or self.drop_probability == 0:
            return x
        keep = 1 - self.drop_probability
        mask = x.new_empty((len(x),) + (1,) * (x.ndim - 1)).bernoulli_(keep)
        return x * mask / keep


class ConvNeXtBlock(nn.Module):
    """x + f(x), where f mixes space, then channels (Liu et al. 2022, Fig. 4).

    f is a depthwise convolution with a large kernel, layer normalisation over the channels of each
    position, and a two-layer perceptron with four times as many hidden channels and a GELU. The
    paper's learnt scale of each channel of f ("layer scale") is left out, as in the models that
    this project reproduces.

    Parameters
    ----------
    channels
        Channels of the input and of the output.
    kernel_size
        Of the depthwise convolution.
    drop_probability
        Of the branch f, see :class:`StochasticDepth`.
    """

    def __init__(
        self, channels: int, kernel_size: Size2d = 7, *, drop_probability: float = 0.0
    ) -> None:
        super().__init__()
        self.depthwise = conv2d(channels, channels, kernel_size, padding="same", groups=channels)
        self.norm = nn.LayerNorm(channels, eps=1e-6)
        self.expand = nn.Linear(channels, 4 * channels)
        self.contract = nn.Linear(4 * channels, channels)
        self.drop = StochasticDepth(drop_probability)

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, channels, F, T) to the same shape."""
        y = self.depthwise(x).permute(0, 2, 3, 1)  # (batch, F, T, channels)
        y = self.contract(F.gelu(self.expand(self.norm(y))))
        return x + self.drop(y.permute(0, 3, 1, 2))
