"""Sample-level networks: convolution and pooling over two or three samples at a time, many times.

Shapes: waveforms (batch, 1, samples) in; feature maps are (batch, channel, frame). A *stage*
divides the number of frames by the factor m, mostly 3: the first one, the stem, by a convolution
with kernel m and stride m, each of the others, the blocks, by max pooling over m frames after a
convolution with kernel m. So a network of n stages has a hop of m**n samples. Time is padded with
zeros so that the convolutions of a block keep it ("same"), or not at all ("valid").

Sources: Lee et al. (2017), arXiv:1703.01789 (SampleCNN, the m**n family); Kim, Lee and Nam (2018),
arXiv:1710.10451, and (2019), doi:10.1109/JSTSP.2019.2909479 (residual and squeeze-and-excitation
blocks); Hu, Shen and Sun (2018), arXiv:1709.01507 (squeeze-and-excitation); Pons et al. (2018),
arXiv:1711.02520, and Pons (2019), chapter 5 (waveform front-end for tagging at scale).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from dl101.errors import ConfigError, ShapeError, did_you_mean

BLOCKS = ("basic", "se", "res", "rese")
SAMPLE_CNN = (128, 128, 128, 256, 256, 256, 256, 256, 256, 512)  # stem and nine blocks
# the waveform front-ends of Pons (2019), chapter 5: valid padding, hops of 3**7 and 3**9 samples
TAGGING_AT_SCALE = (64, 64, 64, 128, 128, 128, 256)
TAGGING_A_MILLION = (64, 64, 64, 128, 128, 128, 128, 128, 256)


class Gates(nn.Sequential):
    """One number from 0 to 1 for each channel, computed from the channels' means (Hu et al. 2018).

    s = sigmoid(W2 ReLU(W1 z + b1) + b2), where z is the mean of each channel over the whole input
    (Eqs. 2 and 3). A module of its own, so that what it says can be looked at.

    Parameters
    ----------
    channels
        Length of z and of s.
    n_hidden
        Rows of W1: channels / 16 in Hu et al., channels * 16 in Kim et al.
    """

    def __init__(self, channels: int, n_hidden: int) -> None:
        super().__init__(
            nn.Linear(channels, n_hidden), nn.ReLU(), nn.Linear(n_hidden, channels), nn.Sigmoid()
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, channel, ...) to (batch, channel)."""
        return super().forward(x.flatten(2).mean(dim=-1))


class SqueezeExcitation(nn.Module):
    """Multiply each channel by its gate, see :class:`Gates` (Hu et al. 2018, Eq. 4).

    Parameters
    ----------
    channels
        Of the input and of the output.
    ratio
        Hidden units for each channel; at least one unit.
    """

    def __init__(self, channels: int, ratio: float = 1 / 16) -> None:
        super().__init__()
        if ratio <= 0:
            raise ConfigError(
                "squeeze-and-excitation",
                got=f"ratio {ratio}",
                expected="hidden units per channel, more than 0",
                hint="use 1 / 16 (Hu et al. 2018) or 16 (Kim et al. 2018)",
            )
        self.gates = Gates(channels, max(1, round(ratio * channels)))

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, channel, ...) to the same shape."""
        return x * self.gates(x).view(*x.shape[:2], *(1,) * (x.ndim - 2))


class _Conv1d(nn.Conv1d):
    """Convolution with stride 1 that keeps the number of frames, or adds no frames at all."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, same: bool) -> None:
        odd = kernel_size % 2 == 1
        padding = (kernel_size - 1) // 2 if same and odd else 0
        super().__init__(in_channels, out_channels, kernel_size, padding=padding)
        # an even kernel has no middle: one zero more after the end than before the beginning
        self.ends = ((kernel_size - 1) // 2, kernel_size // 2) if same and not odd else None

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x if self.ends is None else F.pad(x, self.ends))


class SampleBlock(nn.Module):
    """Convolution, then max pooling over as many frames as the kernel is long.

    ``basic``: convolution, batch normalisation, ReLU, pooling (Lee et al. 2017). ``se``: the same,
    then :class:`SqueezeExcitation`. ``res``: convolution and batch normalisation, added to the
    input, then ReLU and pooling; where the number of channels changes, the input goes through a
    1x1 convolution and a batch normalisation first. ``rese``: squeeze-and-excitation before the
    sum (Kim et al. 2018, Fig. 1).

    Parameters
    ----------
    in_channels, out_channels
        Channels of the input and of the output.
    factor
        Length of the kernel and of the pooling in frames.
    kind
        One of :data:`BLOCKS`.
    n_convs
        1, or, in ``res`` and ``rese``, 2: with ReLU and dropout between them (Res-1 and Res-2 of
        Kim et al. 2019).
    excitation_ratio
        Hidden units of the gates for each channel.
    dropout
        Between two convolutions.
    same
        Whether the convolutions are padded.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        factor: int = 3,
        kind: str = "basic",
        n_convs: int = 1,
        excitation_ratio: float = 16.0,
        dropout: float = 0.2,
        same: bool = True,
    ) -> None:
        super().__init__()
        if kind not in BLOCKS:
            raise ConfigError(
                "sample-level block",
                got=f"kind {kind!r}",
                expected=f"one of {', '.join(BLOCKS)}",
                hint=did_you_mean(kind, BLOCKS),
            )
        self.is_residual = kind in ("res", "rese")
        if n_convs not in ((1, 2) if self.is_residual else (1,)):
            raise ConfigError(
                f"sample-level block {kind!r}",
                got=f"{n_convs} convolutions",
                expected="1 or 2" if self.is_residual else "1",
                hint="use more blocks, or kind='res' with n_convs=2",
            )
        if self.is_residual and not same:
            raise ConfigError(
                f"sample-level block {kind!r}",
                got="convolutions without padding",
                expected="padding, so that input and result have the same length",
                hint="use same=True",
            )
        layers = [_Conv1d(in_channels, out_channels, factor, same), nn.BatchNorm1d(out_channels)]
        if n_convs == 2:
            layers += [
                nn.ReLU(),
                nn.Dropout(dropout),
                _Conv1d(out_channels, out_channels, factor, same),
                nn.BatchNorm1d(out_channels),
            ]
        excites = kind in ("se", "rese")
        self.layers = nn.Sequential(*layers)
        self.pool = nn.MaxPool1d(factor)
        self.excitation = (
            SqueezeExcitation(out_channels, excitation_ratio) if excites else nn.Identity()
        )
        self.shortcut = nn.Identity()
        if self.is_residual and in_channels != out_channels:
            self.shortcut = nn.Sequential(
                nn.Conv1d(in_channels, out_channels, 1), nn.BatchNorm1d(out_channels)
            )

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, in_channels, frame) to (batch, out_channels, frame // factor)."""
        y = self.layers(x)
        if self.is_residual:
            return self.pool(F.relu(self.shortcut(x) + self.excitation(y)))
        return self.excitation(self.pool(F.relu(y)))


class SampleLevelFrontend(nn.Module):
    """A stem and blocks that turn a waveform into frames ``factor ** n_stages`` samples apart.

    With padding, n samples give n // hop frames, the first of which begins at sample 0. As it
    stands it costs about 26 million multiply-adds for a second of audio at 11 025 Hz. With
    ``widths=TAGGING_AT_SCALE, same=False`` it is the waveform front-end of Pons et al. (2018).

    Parameters
    ----------
    n_filters
        Output channels. The first two stages, where most of the work is, have half as many.
    n_stages
        Stem and blocks together.
    widths
        Output channels of each stage, instead of the two numbers above.
    factor
        Kernel, stride and pooling in frames.
    block, n_convs, excitation_ratio, dropout, same
        Of every :class:`SampleBlock` (``block`` is its kind).
    """

    def __init__(
        self,
        n_filters: int = 64,
        *,
        n_stages: int = 5,
        widths: Sequence[int] | None = None,
        factor: int = 3,
        block: str = "basic",
        n_convs: int = 1,
        excitation_ratio: float = 1.0,
        dropout: float = 0.2,
        same: bool = True,
    ) -> None:
        super().__init__()
        if widths is None:
            narrow = min(2, n_stages - 1)
            widths = [n_filters // 2] * narrow + [n_filters] * (n_stages - narrow)
        if not widths or min(widths) < 1 or factor < 2:
            raise ConfigError(
                "sample-level front-end",
                got=f"widths {list(widths)}, factor {factor}",
                expected="at least one stage, a channel or more in each, a factor of 2 or more",
                hint="use n_filters=64, n_stages=5, factor=3",
            )
        self.widths, self.factor, self.same = tuple(widths), factor, same
        self.hop_samples = factor ** len(widths)
        self.stem = _stem(widths[0], factor)
        self.blocks = nn.Sequential(
            *(
                SampleBlock(
                    before,
                    after,
                    factor=factor,
                    kind=block,
                    n_convs=n_convs,
                    excitation_ratio=excitation_ratio,
                    dropout=dropout,
                    same=same,
                )
                for before, after in itertools.pairwise(widths)
            )
        )

    @property
    def shortest_samples(self) -> int:
        """The number of samples that give one frame."""
        n_frames = 1
        for _ in self.blocks:
            n_frames = n_frames * self.factor + (0 if self.same else self.factor - 1)
        return n_frames * self.factor

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, 1, samples) to (batch, channel, frame)."""
        _check_mono(x, "sample-level front-end")
        if x.shape[-1] < self.shortest_samples:
            raise ShapeError(
                "sample-level front-end",
                got=f"{x.shape[-1]} samples",
                expected=f"at least {self.shortest_samples}, which give one frame",
                hint="pad the waveform, or use fewer stages",
            )
        return self.blocks(self.stem(x))


class SampleCNN(nn.Module):
    """From a waveform of ``first_kernel * factor ** n_blocks`` samples to one answer (Lee 2017).

    A stem, n blocks until one frame is left, one more convolution with batch normalisation and
    ReLU, dropout, and a linear layer. As it stands it takes 59 049 samples (2.7 s at 22 050 Hz)
    and has 2 394 162 parameters; that is also the encoder of CLMR (Spijkervet and Burgoyne 2021)
    with a linear head. Lee et al. describe its last convolution with kernel 1 (``last_kernel=1``).
    A frame-level network has a longer ``first_kernel`` and fewer ``widths``.

    Parameters
    ----------
    n_outputs
        Tags or classes; the output is not squashed (logits).
    widths
        Output channels of the stem and of each block.
    factor
        Kernel of the convolutions, and pooling: m.
    first_kernel
        Kernel and stride of the stem in samples; ``factor`` if not given.
    last_width, last_kernel
        Of the convolution on the last frame.
    block, n_convs, excitation_ratio
        Of every :class:`SampleBlock` (``block`` is its kind).
    dropout
        Before the linear layer.
    """

    def __init__(
        self,
        n_outputs: int = 50,
        *,
        widths: Sequence[int] = SAMPLE_CNN,
        factor: int = 3,
        first_kernel: int | None = None,
        last_width: int = 512,
        last_kernel: int = 3,
        block: str = "basic",
        n_convs: int = 1,
        excitation_ratio: float = 16.0,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        self.factor, self.n_blocks = factor, len(widths) - 1
        self.first_kernel = factor if first_kernel is None else first_kernel
        self.input_samples = self.first_kernel * factor**self.n_blocks
        self.stem = _stem(widths[0], self.first_kernel)
        self.blocks = nn.Sequential(
            *(
                SampleBlock(
                    before,
                    after,
                    factor=factor,
                    kind=block,
                    n_convs=n_convs,
                    excitation_ratio=excitation_ratio,
                )
                for before, after in itertools.pairwise(widths)
            )
        )
        self.last = nn.Sequential(
            _Conv1d(widths[-1], last_width, last_kernel, same=True),
            nn.BatchNorm1d(last_width),
            nn.ReLU(),
        )
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(last_width, n_outputs)

    def encode(self, x: Tensor) -> Tensor:
        """Map (batch, 1, input_samples) to (batch, last_width)."""
        _check_mono(x, "SampleCNN")
        if x.shape[-1] != self.input_samples:
            shorter, longer = self.input_samples // self.factor, self.input_samples * self.factor
            raise ShapeError(
                "SampleCNN",
                got=f"{x.shape[-1]} samples",
                expected=f"{self.input_samples} = {self.first_kernel} * {self.factor} ** "
                f"{self.n_blocks}, so that one frame is left after {self.n_blocks} blocks",
                hint=f"cut or pad the waveform; {self.n_blocks - 1} blocks would take {shorter} "
                f"samples, {self.n_blocks + 1} blocks {longer}",
            )
        return self.last(self.blocks(self.stem(x))).flatten(1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, 1, input_samples) to (batch, n_outputs)."""
        return self.head(self.dropout(self.encode(x)))


def _stem(width: int, factor: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv1d(1, width, factor, stride=factor), nn.BatchNorm1d(width), nn.ReLU()
    )


def _check_mono(x: Tensor, what: str) -> None:
    if x.ndim != 3 or x.shape[1] != 1:
        raise ShapeError(
            what,
            got=f"a tensor of shape {tuple(x.shape)}",
            expected="(batch, 1, samples)",
            hint="add the two axes, x[None, None] for one waveform; mix stereo down to mono",
        )
