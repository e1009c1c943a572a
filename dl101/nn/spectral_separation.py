"""Networks that separate in the short-time spectrum, and what they can say about it.

Three networks: a U-Net, one that is told which stem to look for, and a recurrent one. Four things
to say: a mask, shares of all stems, a magnitude, a mask each for the real and the imaginary part.

Conventions: audio is (batch, channels, samples); spectra are complex, (batch, channels, bins,
frames), with a magnitude of 1 for a sine of full scale; estimates have a stem axis after the batch.
Networks map real pictures (batch, channels, frames, bins) to pictures of that size.

Sources: A. Jansson et al., "Singing voice separation with deep U-Net convolutional networks", ISMIR
2017; G. Meseguer-Brocal, G. Peeters, "Conditioned-U-Net", ISMIR 2019; F.-R. Stöter, S. Uhlich,
A. Liutkus, Y. Mitsufuji, "Open-Unmix", JOSS 2019. The sizes of the first two are those of the 2024
tutorial, whose U-Net takes kernels of 3 without padding, and resizes where Jansson transposes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from dl101.config import Count, NotEmpty, Range, Settings
from dl101.errors import ConfigError, ShapeError
from dl101.nn.compression import log_compress

STRENGTH = 1000.0  # of the logarithm that the networks see magnitudes through: 60 dB
MOST = 8.0  # logarithm of the largest magnitude that can be said, after compression


@dataclass(frozen=True)
class SpectralConfig(Settings):
    """What a network is made of, and what it says.

    Attributes
    ----------
    kind
        ``"unet"``; ``"film"``: a U-Net that is given one stem to look for; ``"recurrent"``.
    output
        ``"mask"``: a number from 0 to 1 for each cell; ``"shares"``: such numbers that add up to 1
        over the stems; ``"spectrum"``: the magnitude itself; ``"parts"``: a number from -1 to 1 for
        the real part and one for the imaginary. All but the last keep the mixture's phase. Only
        the last sees the parts; the others see magnitudes through a logarithm.
    widths
        Channels of the U-Net after each halving.
    film
        Condition the U-Net where it is narrowest (``"last"``), or at each level on the way down.
    hidden, n_layers
        Of the recurrent network: size of its states, both directions together, and LSTM layers.
    top_bin
        The recurrent network sees this many of the lowest bins, and None all.
    """

    kind: Literal["unet", "film", "recurrent"] = "unet"
    output: Literal["mask", "shares", "spectrum", "parts"] = "mask"
    widths: Annotated[tuple[Count, ...], NotEmpty()] = (16, 32, 64, 128, 256, 512)
    film: Literal["last", "all"] = "last"
    hidden: Annotated[int, Range(at_least=2, at_most=65_536)] = 512
    n_layers: Annotated[int, Range(at_least=1, at_most=64)] = 3
    top_bin: Count | None = None

    def __post_init__(self) -> None:
        """Check each field, and that shares have someone to share with."""
        super().__post_init__()
        if self.kind == "film" and self.output == "shares":
            raise ConfigError(
                "SpectralConfig.output",
                got="'shares' of a network that is asked for one stem at a time",
                expected="'mask', 'spectrum' or 'parts' with kind 'film'",
                hint="use kind=unet for shares",
            )


class FiLM(nn.Module):
    """Scale and shift each channel by what is learned for a condition (Perez and others, 2018).

    Parameters
    ----------
    n_conditions, channels
        How many of each. It begins by changing nothing.
    """

    def __init__(self, n_conditions: int, channels: int) -> None:
        super().__init__()
        self.scale = nn.Embedding(n_conditions, channels)
        self.shift = nn.Embedding(n_conditions, channels)
        nn.init.ones_(self.scale.weight)
        nn.init.zeros_(self.shift.weight)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """Map (batch, channels, ...) and numbers (batch,) to the first shape."""
        new = (len(x), -1, *(1,) * (x.ndim - 2))
        return x * self.scale(condition).view(new) + self.shift(condition).view(new)


class UNet(nn.Module):
    """Halve and widen, then double and narrow, with a bridge at each size.

    Down: convolution of 3 by 3, stride 2, without padding, batch normalisation, ReLU. Up: the
    picture is resized to the size it had, a convolution of 3 by 3 keeps it, batch normalisation,
    ReLU, and what passed there on the way down is put beside it. The last one is the output, before
    any bending; with ``last_norm`` it is normalised too.

    Parameters
    ----------
    in_channels, out_channels
        Of the pictures.
    widths
        Channels after each halving. A picture needs at least ``2 ** (n + 1) - 1`` rows and columns
        for n of them; smaller ones are padded with zeros and cut again.
    n_conditions
        More than 0: take a number for each picture, by FiLM.
    film
        ``"last"`` or ``"all"`` levels.
    last_norm
        Normalise the output.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        widths: tuple[int, ...],
        *,
        n_conditions: int = 0,
        film: str = "last",
        last_norm: bool = False,
    ) -> None:
        super().__init__()
        self.least = 2 ** (len(widths) + 1) - 1
        self.down = nn.ModuleList()
        self.film = nn.ModuleDict()
        for level, (before, after) in enumerate(
            zip((in_channels, *widths[:-1]), widths, strict=True)
        ):
            conv = nn.Conv2d(before, after, 3, stride=2)
            self.down.append(nn.Sequential(conv, nn.BatchNorm2d(after)))
            if n_conditions and (film == "all" or level == len(widths) - 1):
                self.film[str(level)] = FiLM(n_conditions, after)
        self.up = nn.ModuleList()
        arriving = widths[-1]
        for passed in widths[-2::-1]:
            conv = nn.Conv2d(arriving, passed, 3, padding=1)
            self.up.append(nn.Sequential(conv, nn.BatchNorm2d(passed), nn.ReLU()))
            arriving = 2 * passed
        last = nn.Conv2d(arriving, out_channels, 3, padding=1)
        self.up.append(nn.Sequential(last, nn.BatchNorm2d(out_channels)) if last_norm else last)

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        """Map (batch, in_channels, frames, bins) to (batch, out_channels, frames, bins)."""
        (height, width), least = x.shape[2:], self.least
        x = functional.pad(x, (0, max(0, least - width), 0, max(0, least - height)))
        bridges = [x]
        for level, block in enumerate(self.down):
            x = block(x)
            if str(level) in self.film:
                x = self.film[str(level)](x, condition)
            x = functional.relu(x)
            bridges.append(x)
        x = bridges.pop()
        for level, block in enumerate(self.up):
            bridge = bridges.pop()
            x = functional.interpolate(x, bridge.shape[2:], mode="bilinear")
            x = block(x)
            if level < len(self.up) - 1:
                x = torch.cat([x, bridge], dim=1)
        return x[..., :height, :width]


class Recurrent(nn.Module):
    """Frames through a narrow layer, an LSTM both ways with a bridge over it, and out (Open-Unmix).

    Parameters
    ----------
    in_channels, out_channels
        Of the pictures.
    n_bins
        Their width.
    hidden, n_layers, top_bin
        See :class:`SpectralConfig`. Between LSTM layers 40 percent are dropped in training.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        n_bins: int,
        *,
        hidden: int = 512,
        n_layers: int = 3,
        top_bin: int | None = None,
    ) -> None:
        super().__init__()
        self.n_seen = min(n_bins, top_bin or n_bins)
        half = hidden // 2
        self.in_shift = nn.Parameter(torch.zeros(self.n_seen))
        self.in_scale = nn.Parameter(torch.ones(self.n_seen))
        self.narrow = nn.Linear(self.n_seen * in_channels, hidden, bias=False)
        self.narrow_norm = nn.BatchNorm1d(hidden)
        self.lstm = nn.LSTM(
            hidden,
            half,
            n_layers,
            batch_first=True,
            bidirectional=True,
            dropout=0.4 if n_layers > 1 else 0.0,
        )
        self.mix = nn.Linear(hidden + 2 * half, hidden, bias=False)
        self.mix_norm = nn.BatchNorm1d(hidden)
        self.wide = nn.Linear(hidden, n_bins * out_channels, bias=False)
        self.wide_norm = nn.BatchNorm1d(n_bins * out_channels)
        self.out_scale = nn.Parameter(torch.ones(n_bins))
        self.out_shift = nn.Parameter(torch.zeros(n_bins))

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, in_channels, frames, bins) to (batch, out_channels, frames, bins)."""
        n_bins = x.shape[-1]
        x = (x[..., : self.n_seen] + self.in_shift) * self.in_scale
        x = x.transpose(1, 2).flatten(2)  # (batch, frames, everything)
        x = torch.tanh(_over_frames(self.narrow_norm, self.narrow(x)))
        x = torch.cat([x, self.lstm(x)[0]], dim=-1)
        x = functional.relu(_over_frames(self.mix_norm, self.mix(x)))
        x = _over_frames(self.wide_norm, self.wide(x))
        x = x.unflatten(2, (-1, n_bins)).transpose(1, 2)
        return x * self.out_scale + self.out_shift


def _over_frames(norm: nn.BatchNorm1d, x: Tensor) -> Tensor:
    return norm(x.flatten(0, 1)).view_as(x)


class SpectralSeparator(nn.Module):
    """From a mixture to its stems by way of the short-time spectrum.

    Parameters
    ----------
    config
        The network and what it says.
    n_stems, n_channels
        Stems to estimate, and channels of the audio.
    window_samples, hop_samples
        Of the short-time Fourier transform.
    """

    def __init__(
        self,
        config: SpectralConfig,
        n_stems: int,
        n_channels: int,
        *,
        window_samples: int,
        hop_samples: int,
    ) -> None:
        super().__init__()
        self.config, self.n_stems, self.n_channels = config, n_stems, n_channels
        self.hop_samples = hop_samples
        self.register_buffer("window", torch.hann_window(window_samples), persistent=False)
        parts = config.output == "parts"
        seen = n_channels * (2 if parts else 1)
        self.n_said = 1 if config.kind == "film" else n_stems
        if config.kind == "recurrent":
            self.network = Recurrent(
                seen,
                seen * self.n_said,
                window_samples // 2 + 1,
                hidden=config.hidden,
                n_layers=config.n_layers,
                top_bin=config.top_bin,
            )
        else:
            self.network = UNet(
                seen,
                seen * self.n_said,
                config.widths,
                n_conditions=n_stems if config.kind == "film" else 0,
                film=config.film,
                last_norm=parts,
            )

    def spectrum(self, audio: Tensor) -> Tensor:
        """Return the spectrum of (..., samples), complex (..., bins, frames)."""
        spectrum = torch.stft(
            audio.float().flatten(0, -2),
            len(self.window),
            self.hop_samples,
            window=self.window,
            pad_mode="constant",
            return_complex=True,
        )
        return spectrum.unflatten(0, audio.shape[:-1]) * (2.0 / self.window.sum())

    def audio(self, spectrum: Tensor, n_samples: int) -> Tensor:
        """Return the audio of a spectrum (..., bins, frames), (..., n_samples)."""
        audio = torch.istft(
            spectrum.flatten(0, -3) * (self.window.sum() / 2.0),
            len(self.window),
            self.hop_samples,
            window=self.window,
            length=n_samples,
        )
        return audio.unflatten(0, spectrum.shape[:-2])

    def forward(self, spectrum: Tensor, stem: Tensor | None = None) -> Tensor:
        """Return the spectra of the stems, (batch, stems, channels, bins, frames).

        Parameters
        ----------
        spectrum
            Of the mixture, (batch, channels, bins, frames).
        stem
            With kind ``"film"``: the number of the one stem that is asked for of each example,
            (batch,); None asks for each of them in turn.
        """
        if spectrum.ndim != 4 or spectrum.shape[1] != self.n_channels:
            raise ShapeError(
                "spectrum of a mixture",
                got=f"shape {tuple(spectrum.shape)}",
                expected=f"(batch, {self.n_channels}, bins, frames)",
                hint="average or copy channels before the transform",
            )
        if self.config.kind != "film":
            return self._estimate(spectrum, self.network(self._seen(spectrum)))
        if stem is not None:
            return self._estimate(spectrum, self.network(self._seen(spectrum), stem))
        picture = self._seen(spectrum)
        each = torch.arange(self.n_stems, device=picture.device)
        found = [
            self._estimate(spectrum, self.network(picture, number.expand(len(picture))))
            for number in each
        ]
        return torch.cat(found, dim=1)

    def _seen(self, spectrum: Tensor) -> Tensor:
        """Return the picture that the network looks at, (batch, channels, frames, bins)."""
        if self.config.output == "parts":
            picture = torch.cat([spectrum.real, spectrum.imag], dim=1)
        else:
            picture = log_compress(spectrum.abs(), STRENGTH)
        return picture.transpose(2, 3)

    def _estimate(self, spectrum: Tensor, said: Tensor) -> Tensor:
        """Return what is said about a spectrum as spectra."""
        said = said.float().transpose(2, 3).unflatten(1, (self.n_said, -1))
        mixture, output = spectrum[:, None], self.config.output
        if output == "parts":
            real, imaginary = torch.tanh(said).chunk(2, dim=2)
            return torch.complex(real * mixture.real, imaginary * mixture.imag)
        if output == "shares":
            return said.softmax(dim=1) * mixture
        if output == "mask":
            return said.sigmoid() * mixture
        magnitude = functional.softplus(said).clamp_max(MOST).expm1() / STRENGTH
        # the phase as a number of magnitude 1; nothing where the mixture has none
        return magnitude * mixture / mixture.abs().clamp_min(1e-8)
