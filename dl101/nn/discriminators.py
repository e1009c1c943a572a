"""Networks that tell recorded sounds from made ones: EnCodec's [1]_, HiFi-GAN's, MelGAN's.

Conventions: audio is (batch, time). A discriminator gives scores, (batch, 1, ...), one for each
neighbourhood of what it looks at, and what its layers gave before them.

References
----------
.. [1] A. Défossez and others, "High fidelity neural audio compression", 2022, section 3.4.
.. [2] J. Kong, J. Kim and J. Bae, "HiFi-GAN", 2020, section 2.3.
.. [3] K. Kumar and others, "MelGAN", 2019, section 2.2.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

POWER = 0.3  # of the magnitudes
FLOOR = 1e-4


class STFTDiscriminator(nn.Module):
    """Convolutions on the real and imaginary parts of a short-time spectrum.

    Magnitudes are compressed, phases kept: most of music lies far below its loudest partial, where
    a new network would see nothing.

    Parameters
    ----------
    window_samples
        Length of the Hann window; frames are a quarter of it apart.
    channels
        Of every layer.
    dilations
        Along time, of the layers that halve the frequencies.
    """

    def __init__(
        self, window_samples: int, *, channels: int = 8, dilations: Sequence[int] = (1, 2, 4)
    ) -> None:
        super().__init__()
        self.window_samples = window_samples
        self.register_buffer("window", torch.hann_window(window_samples), persistent=False)
        layers = [nn.Conv2d(2, channels, (9, 3), padding=(4, 1))]
        for dilation in dilations:
            layers.append(
                nn.Conv2d(
                    channels,
                    channels,
                    (9, 3),
                    stride=(2, 1),
                    dilation=(1, dilation),
                    padding=(4, dilation),
                )
            )
        self.layers = nn.ModuleList(layers)
        self.last = nn.Conv2d(channels, 1, 3, padding=1)

    def forward(self, audio: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return scores, high for what sounds recorded, and the outputs of the layers."""
        spectrum = torch.stft(
            audio,
            self.window_samples,
            self.window_samples // 4,
            window=self.window.to(audio.dtype),
            normalized=True,
            pad_mode="constant",
            return_complex=True,
        )
        x = torch.stack([spectrum.real, spectrum.imag], dim=1)
        x = x * (x.square().sum(dim=1, keepdim=True) + FLOOR**2) ** (0.5 * (POWER - 1))
        outputs = []
        for layer in self.layers:
            x = F.leaky_relu(layer(x), 0.2)
            outputs.append(x)
        return self.last(x), outputs


class MultiScaleSTFTDiscriminator(nn.Module):
    """Discriminators with windows of several lengths: some see time finely, some frequency."""

    def __init__(self, windows: Sequence[int] = (1024, 512, 256), *, channels: int = 8) -> None:
        super().__init__()
        self.scales = nn.ModuleList(STFTDiscriminator(w, channels=channels) for w in windows)

    def forward(self, audio: Tensor) -> tuple[list[Tensor], list[list[Tensor]]]:
        """Return scores and layers' outputs of each discriminator."""
        scores, features = zip(*(scale(audio) for scale in self.scales), strict=True)
        return list(scores), list(features)


class PeriodDiscriminator(nn.Module):
    """Convolutions on a waveform that is folded into rows of one period, after HiFi-GAN [2]_.

    Columns hold samples that are a period apart, so that what repeats is seen at once; layers see
    along columns only.
    """

    def __init__(self, period: int, *, channels: int = 8, n_layers: int = 3) -> None:
        super().__init__()
        self.period = period
        widths = [1, *(channels * 2**k for k in range(n_layers))]
        self.layers = nn.ModuleList(
            nn.Conv2d(a, b, (5, 1), (3, 1), padding=(2, 0)) for a, b in pairwise(widths)
        )
        self.last = nn.Conv2d(widths[-1], 1, (3, 1), padding=(1, 0))

    def forward(self, audio: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return scores, high for what sounds recorded, and the outputs of the layers."""
        padded = F.pad(audio, (0, -audio.shape[-1] % self.period))
        x = padded.unflatten(-1, (-1, self.period))[:, None]
        return _scored(x, self.layers, self.last)


class ScaleDiscriminator(nn.Module):
    """Convolutions on a waveform at a lower rate, after MelGAN [3]_."""

    def __init__(self, divisor: int, *, channels: int = 8, n_layers: int = 3) -> None:
        super().__init__()
        self.divisor = divisor
        widths = [channels * 2**k for k in range(n_layers + 1)]
        layers = [nn.Conv1d(1, channels, 15, padding=7)]
        for a, b in pairwise(widths):
            layers.append(nn.Conv1d(a, b, 41, 4, padding=20, groups=max(1, a // 4)))
        self.layers = nn.ModuleList(layers)
        self.last = nn.Conv1d(widths[-1], 1, 3, padding=1)

    def forward(self, audio: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return scores, high for what sounds recorded, and the outputs of the layers."""
        return _scored(F.avg_pool1d(audio[:, None], self.divisor), self.layers, self.last)


class Discriminators(nn.Module):
    """Several discriminators that judge alike."""

    def __init__(self, members: Iterable[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, audio: Tensor) -> tuple[list[Tensor], list[list[Tensor]]]:
        """Return scores and layers' outputs of each discriminator."""
        scores, features = zip(*(member(audio) for member in self.members), strict=True)
        return list(scores), list(features)


def _scored(x: Tensor, layers: nn.ModuleList, last: nn.Module) -> tuple[Tensor, list[Tensor]]:
    outputs = []
    for layer in layers:
        x = F.leaky_relu(layer(x), 0.2)
        outputs.append(x)
    return last(x), outputs
