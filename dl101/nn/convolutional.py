"""Causal convolutions along time: TCN, WaveNet's gated stack, and how they run as a stream.

Shapes: (batch, channel, time) in and out. *Causal*: the output at time t depends on the input up to
t and on nothing after it; zeros stand for what came before the first sample. Dilations and reaches
are counted in steps of the input's time axis; ``past_samples`` says how many steps before t the
output at t still sees, so that the receptive field has ``past_samples + 1`` steps.

The only layer here that looks into the past is :class:`CausalConv1d`; all others treat every time
step by itself. So whatever is built of them runs chunk by chunk with one function, :func:`stream`,
whose state holds what each causal convolution still has to remember.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from dl101.errors import ConfigError, ShapeError

State = tuple[Tensor, ...]  # the last inputs of each causal convolution, in the order of modules()


class CausalConv1d(nn.Conv1d):
    """Dilated convolution that sees the present and the past only.

    y[t] = b + sum over i of w[kernel_size - 1 - i] x[t - i * dilation]: the last tap is the
    present. With a stride s, output t sees the input up to s * (t + 1) - 1, the end of its hop, and
    time becomes T // s.

    Parameters
    ----------
    in_channels, out_channels
        Channels of the input and of the output.
    kernel_size, dilation
        Number of taps, and steps from one to the next.
    stride
        Hop between outputs; at most one more than (kernel_size - 1) * dilation, so that no sample
        is skipped.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        dilation: int = 1,
        stride: int = 1,
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, stride=stride, dilation=dilation)
        reach = (kernel_size - 1) * dilation + 1
        if stride > reach:
            raise ConfigError(
                "causal convolution",
                got=f"stride {stride} with taps that span {reach}",
                expected=f"a stride of at most {reach}",
                hint="use a longer kernel",
            )
        self.past_samples = reach - stride
        self.past: Tensor | None = None  # set by stream(), else zeros
        self.next_past: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, in_channels, T) to (batch, out_channels, T // stride)."""
        if self.past is None:
            return super().forward(F.pad(x, (self.past_samples, 0)))
        if self.next_past is not None or x.shape[-1] % self.stride[0]:
            raise ShapeError(
                "streaming through a causal convolution",
                got="a second call in one chunk"
                if self.next_past is not None
                else f"a chunk of {x.shape[-1]} steps",
                expected=f"one call, with a multiple of {self.stride[0]} steps",
                hint="give chunks of whole hops, and each place in the network a layer of its own",
            )
        x = torch.cat([self.past, x], dim=-1)
        # not x[..., -past_samples:], which is everything when there is no past
        self.next_past = x[..., x.shape[-1] - self.past_samples :]
        return super().forward(x)


def stream(network: nn.Module, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
    """Run a causal network on the next chunk of its input; chunks in order give the whole output.

    Parameters
    ----------
    network
        Built of causal convolutions and of layers that treat each time step by itself
        (activations, 1x1 convolutions, sums, batch normalisation in evaluation mode). Nothing is
        kept in it from call to call, so one network can serve many streams.
    x
        (batch, channel, chunk): one step or many, chunks of any sizes. Where the network has a
        stride, whole hops.
    state
        What the call before returned; None at the beginning.

    Returns
    -------
    y, state
        What ``network`` would have put out at these steps, and what the next call needs:
        for each causal convolution its last ``past_samples`` inputs.

    Raises
    ------
    ShapeError
        If the chunk does not hold whole hops, the state belongs to another network, or a causal
        convolution is used twice.
    """
    convolutions = [module for module in network.modules() if isinstance(module, CausalConv1d)]
    if state is None:
        state = tuple(
            x.new_zeros(len(x), conv.in_channels, conv.past_samples) for conv in convolutions
        )
    if len(state) != len(convolutions):
        raise ShapeError(
            "state of a stream",
            got=f"{len(state)} memories",
            expected=f"{len(convolutions)}, one for each causal convolution",
            hint="pass what the call before returned for this network, or None at the beginning",
        )
    hop = max(getattr(module, "hop_samples", 1) for module in network.modules())
    if x.shape[-1] % hop:
        raise ShapeError(
            "chunk of a stream",
            got=f"{x.shape[-1]} samples",
            expected=f"a multiple of the hop, {hop}",
            hint="collect samples until a hop is full",
        )
    try:
        for conv, past in zip(convolutions, state, strict=True):
            conv.past = past
        y = network(x)
        return y, tuple(conv.next_past for conv in convolutions)
    finally:
        for conv in convolutions:
            conv.past = conv.next_past = None


# ---- TCN ----------------------------------------------------------------------------------------


def _normed(conv: CausalConv1d) -> CausalConv1d:
    """Draw the weights from N(0, 0.01) and split them into length and direction, in this order.

    The split (Salimans and Kingma 2016) keeps the weights that it finds. Drawn after it, they would
    be overwritten by length and direction at the next forward pass.
    """
    nn.init.normal_(conv.weight, std=0.01)
    return parametrizations.weight_norm(conv)


class TemporalBlock(nn.Module):
    """Residual block of two causal dilated convolutions (Bai et al. 2018, Fig. 1b).

    Each convolution is weight-normalised and followed by ReLU and dropout. Where the number of
    channels changes, a 1x1 convolution brings the input to the new number; it keeps PyTorch's
    initialisation: with N(0, 0.01), as for the other weights, every widening level would shrink its
    input a hundredfold.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        dilation: int = 1,
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            _normed(CausalConv1d(in_channels, out_channels, kernel_size, dilation=dilation)),
            nn.ReLU(),
            nn.Dropout(dropout),
            _normed(CausalConv1d(out_channels, out_channels, kernel_size, dilation=dilation)),
            nn.ReLU(),
            nn.Dropout(dropout),
        )
        changes = in_channels != out_channels
        self.shortcut = nn.Conv1d(in_channels, out_channels, 1) if changes else nn.Identity()
        self.past_samples = 2 * (kernel_size - 1) * dilation

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, in_channels, T) to (batch, out_channels, T)."""
        return F.relu(self.shortcut(x) + self.residual(x))


class TemporalConvNet(nn.Sequential):
    """Stack of temporal blocks whose dilation doubles at each level (Bai et al. 2018).

    Level i (from 0) has dilation 2**i, so the output at t depends on the input from
    t - 2 * (kernel_size - 1) * (2**levels - 1) to t, and on nothing after t.

    Parameters
    ----------
    in_channels
        Channels of the input.
    channels
        Output channels of each level.
    kernel_size, dropout
        Of every convolution.
    """

    def __init__(
        self,
        in_channels: int,
        channels: Sequence[int],
        *,
        kernel_size: int = 2,
        dropout: float = 0.2,
    ) -> None:
        widths = [in_channels, *channels]
        super().__init__(
            *(
                TemporalBlock(
                    widths[level],
                    widths[level + 1],
                    kernel_size,
                    dilation=2**level,
                    dropout=dropout,
                )
                for level in range(len(channels))
            )
        )
        self.past_samples = sum(block.past_samples for block in self)


# ---- WaveNet ------------------------------------------------------------------------------------


class GatedBlock(nn.Module):
    """WaveNet's residual block: tanh(filter) times sigmoid(gate) (van den Oord et al. 2016, Eq. 2).

    z = tanh(W_f * x) . sigmoid(W_g * x), with * a causal dilated convolution. A 1x1 convolution of
    z is added to x for the next block, another one is this block's contribution ("skip") to the
    output of the stack. (The paper's Fig. 4 draws one 1x1 convolution for both; two let the widths
    differ.)

    Parameters
    ----------
    channels
        Of the input, of z and of the output.
    skip_channels
        Of the contribution.
    kernel_size, dilation
        Of the causal convolution.
    last
        Leaves the way to the next block out: nothing would ever train it.
    """

    def __init__(
        self,
        channels: int,
        skip_channels: int,
        *,
        kernel_size: int = 2,
        dilation: int = 1,
        last: bool = False,
    ) -> None:
        super().__init__()
        self.filter_and_gate = CausalConv1d(channels, 2 * channels, kernel_size, dilation=dilation)
        self.residual = None if last else nn.Conv1d(channels, channels, 1)
        self.skip = nn.Conv1d(channels, skip_channels, 1)
        self.past_samples = self.filter_and_gate.past_samples

    def forward(self, x: Tensor, added: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Map (batch, channels, T) to the next block's input, same shape, and the skip.

        The skip is (batch, skip_channels, T). The last block passes x on as it is. What is
        ``added`` to filter and gate, (batch, 2 * channels, 1 or T), tells the block something
        besides the past (Eq. 3).
        """
        both = self.filter_and_gate(x)
        signal, gate = (both if added is None else both + added).chunk(2, dim=1)
        z = torch.tanh(signal) * torch.sigmoid(gate)
        return x if self.residual is None else x + self.residual(z), self.skip(z)


class WaveNetStack(nn.Module):
    """Gated blocks in a row; the sum of their skips is the output (van den Oord et al. 2016, 2.4).

    A causal convolution brings the input to ``channels``; after the sum come ReLU, 1x1, ReLU, 1x1,
    as in the paper's Fig. 4. Here the network is a brick: what its output stands for (256 classes
    of the next sample in the paper) is the user's.

    Parameters
    ----------
    in_channels, out_channels
        Of the input and of the output.
    channels, skip_channels
        Of the blocks, and of their contributions.
    kernel_size
        Of all causal convolutions.
    dilations
        One per block. The paper repeats 1, 2, 4, ..., 512.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        channels: int = 32,
        skip_channels: int = 32,
        kernel_size: int = 2,
        dilations: Sequence[int] = (1, 2, 4, 8, 16, 32),
    ) -> None:
        super().__init__()
        if len(dilations) == 0:
            raise ConfigError(
                "gated stack", got="no dilations", expected="one per block", hint="give (1, 2, 4)"
            )
        self.start = CausalConv1d(in_channels, channels, kernel_size)
        self.blocks = nn.ModuleList(
            GatedBlock(
                channels,
                skip_channels,
                kernel_size=kernel_size,
                dilation=dilation,
                last=number == len(dilations),
            )
            for number, dilation in enumerate(dilations, start=1)
        )
        self.end = nn.Sequential(
            nn.ReLU(),
            nn.Conv1d(skip_channels, skip_channels, 1),
            nn.ReLU(),
            nn.Conv1d(skip_channels, out_channels, 1),
        )
        blocks_past = sum(block.past_samples for block in self.blocks)
        self.past_samples = self.start.past_samples + blocks_past

    def forward(self, x: Tensor, added: Sequence[Tensor] | None = None) -> Tensor:
        """Map (batch, in_channels, T) to (batch, out_channels, T); one ``added`` for each block."""
        x, total = self.start(x), None
        for block, told in zip(self.blocks, added or [None] * len(self.blocks), strict=True):
            x, skip = block(x, told)
            total = skip if total is None else total + skip
        return self.end(total)


class DilatedFrontend(nn.Module):
    """A waveform front-end: strided convolution, gated dilated stack, mean over each hop.

    The strided convolution brings the waveform to a modest rate, at which dilations reach far with
    little work. Frame t sees nothing after the end of its hop, sample hop_samples * (t + 1) - 1.

    Parameters
    ----------
    n_filters
        Channels of the output.
    hop_samples
        From one frame to the next; a multiple of ``stride``.
    stride, kernel_size
        Of the first convolution, in samples.
    channels, dilations
        Of the gated blocks; dilations in steps of ``stride`` samples.

    Notes
    -----
    With the defaults and 11,025 samples a second, 64 filters and a hop of 256 cost 29.6 million
    multiply-adds per second of sound, and a step sees 99 ms.
    """

    def __init__(
        self,
        n_filters: int,
        hop_samples: int,
        *,
        stride: int = 16,
        kernel_size: int = 64,
        channels: int = 32,
        dilations: Sequence[int] = (1, 2, 4, 8, 16, 32),
    ) -> None:
        super().__init__()
        if hop_samples % stride:
            raise ConfigError(
                "dilated front-end",
                got=f"a hop of {hop_samples} samples with stride {stride}",
                expected="a hop that is a multiple of the stride",
                hint=f"use {max(1, round(hop_samples / stride)) * stride}, or another stride",
            )
        self.hop_samples = hop_samples
        self.first = CausalConv1d(1, channels, kernel_size, stride=stride)
        self.norm = nn.BatchNorm1d(channels)
        self.stack = WaveNetStack(
            channels, n_filters, channels=channels, skip_channels=channels, dilations=dilations
        )
        self.pool = nn.AvgPool1d(hop_samples // stride)
        # before the beginning of a frame's hop
        self.past_samples = self.first.past_samples + stride * self.stack.past_samples

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, 1, samples) to (batch, n_filters, samples // hop_samples)."""
        return self.pool(self.stack(self.norm(self.first(x))))
