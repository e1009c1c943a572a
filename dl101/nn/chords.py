"""The network of chord estimation: down the frequency axis, along time, and both ways.

Conventions: spectra are (batch, 1, bin, frame), answers (batch, frame, ...) logits. The stack of
(1, 5) and (5, 1) convolutions, convolutions along time and a bidirectional LSTM is that of
G. Peeters et al. (Deep learning 101 for audio-based MIR, 2024); the structured answer, that of
B. McFee and J. P. Bello (Structured training for large-vocabulary chord recognition, ISMIR 2017).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor, nn
from torch.nn import functional

from dl101.config import Count, NotEmpty, Settings

N_ROOTS = 13  # twelve and none
N_PITCH_CLASSES = 12
N_PARTS = N_ROOTS + N_ROOTS + N_PITCH_CLASSES  # root, bass, pitch classes


@dataclass(frozen=True)
class ChordNetConfig(Settings):
    """What the network is made of.

    Attributes
    ----------
    widths
        Channels after the convolution along time and after each one down the frequency axis.
    hidden
        Channels of the convolutions along time, and of the LSTM, half of them in each direction.
    kernel_frames
        Length of the convolutions along time.
    structured
        Say root, bass and pitch classes too.
    published
        Normalise over channels, bins and frames together, with one weight and one bias for each
        cell of a patch, and bend the output by LeakyReLU, as the network of 2024 does.
    """

    widths: Annotated[tuple[Count, ...], NotEmpty()] = (8, 24, 48, 48)
    hidden: Count = 64
    kernel_frames: Count = 5
    structured: bool = False
    published: bool = False


class ChordNet(nn.Module):
    """From spectra (batch, 1, bins, frames) to logits (batch, frames, classes), and more.

    Parameters
    ----------
    model
        What it is made of.
    n_classes
        Chords that it tells apart.
    n_bins, n_frames
        Size of a patch. Only the published network is bound to this number of frames.
    """

    def __init__(
        self, model: ChordNetConfig, n_classes: int, *, n_bins: int, n_frames: int
    ) -> None:
        super().__init__()
        self.published = model.published

        def norm(channels: int, *rest: int) -> nn.Module:
            if model.published:
                return nn.LayerNorm((channels, *rest, n_frames))
            return (nn.BatchNorm2d if rest else nn.BatchNorm1d)(channels)

        channels, bins = model.widths[0], n_bins
        along_time = nn.Conv2d(1, channels, (1, 5), padding="same")
        layers = [norm(1, bins), along_time, nn.LeakyReLU()]
        widths = list(model.widths[1:]) or [channels]
        while bins > 1:  # each step sees five bins, or what is left, and keeps every third
            tall, step = (5, 3) if bins >= 5 else (bins, 1)
            width = widths.pop(0) if len(widths) > 1 else widths[0]
            down = nn.Conv2d(channels, width, (tall, 1), stride=(step, 1))
            layers += [norm(channels, bins), down, nn.LeakyReLU()]
            channels, bins = width, (bins - tall) // step + 1
        self.down = nn.Sequential(*layers)
        layers = []
        for width in (channels, model.hidden):
            smooth = nn.Conv1d(width, model.hidden, model.kernel_frames, padding="same")
            layers += [norm(width), smooth, nn.LeakyReLU()]
        self.along = nn.Sequential(*layers)
        self.lstm = nn.LSTM(model.hidden, model.hidden // 2, batch_first=True, bidirectional=True)
        size = 2 * (model.hidden // 2)
        self.parts = nn.Linear(size, N_PARTS) if model.structured else None
        self.chord = nn.Linear(size + (N_PARTS if model.structured else 0), n_classes)

    def forward(self, spectra: Tensor) -> dict[str, Tensor]:
        """Return logits by name, each (batch, frames, ...): ``chord``, and the parts of it."""
        x = self.down(spectra).squeeze(2)  # (batch, channels, frames)
        x = self.along(x).transpose(1, 2)  # (batch, frames, channels)
        x, _ = self.lstm(x)
        said = {}
        if self.parts is not None:
            root, bass, pitches = self.parts(x).split([N_ROOTS, N_ROOTS, N_PITCH_CLASSES], -1)
            said = {"root": root, "bass": bass, "pitches": pitches}
            x = torch.cat([x, root.softmax(-1), bass.softmax(-1), pitches.sigmoid()], dim=-1)
        chord = self.chord(x)
        return said | {"chord": functional.leaky_relu(chord) if self.published else chord}
