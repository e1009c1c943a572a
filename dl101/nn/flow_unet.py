"""A 1-D U-Net that knows the time: the network of a flow or a diffusion over latents.

Shapes: latents (batch, channel, frame); times (batch,) from 0 to 1; a condition is one vector for
each item, (batch, vector), and one or more channels that go along with the frames. The number of
frames may be anything: it is padded to what the halvings need, and cut again.

With ``units=0`` and ``time_features=0`` this is the network of the 2024 tutorial: convolutions that
halve the rate, the time added at the deepest level, transposed convolutions, skips that are added.

Source: O. Ronneberger and others, "U-Net", MICCAI 2015; J. Ho and others, "Denoising diffusion
probabilistic models", NeurIPS 2020, appendix B, for the units that know the time.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Annotated, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dl101.config import Count, NotEmpty, Range, Settings
from dl101.errors import ConfigError

FEW = Annotated[int, Range(at_least=0, at_most=1024)]
GROUPS = 8


@dataclass(frozen=True)
class UNetConfig(Settings):
    """Sizes.

    Attributes
    ----------
    channels
        At the rate of the latents and after each halving.
    units
        Residual units at every level on the way down, and on the way up; each is told the time and
        the condition. 0: none, and the time is told to the deepest level alone.
    kernel
        Taps of the convolutions that halve and double the rate, an even number.
    time_features
        Sines and cosines of the time, an even number; 0: the time as it is.
    hidden
        Numbers that describe time and condition together.
    stem
        Taps of a first convolution at the rate of the latents, an odd number; 0: none, and the
        first of ``channels`` is the latents' own.
    """

    channels: Annotated[tuple[Count, ...], NotEmpty()] = (64, 96, 128)
    units: FEW = 1
    kernel: Annotated[int, Range(at_least=2, at_most=64)] = 4
    time_features: FEW = 32
    hidden: Count = 64
    stem: FEW = 3

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, remainder in (("kernel", 0), ("time_features", 0), ("stem", 1)):
            value = getattr(self, name)
            if value and value % 2 != remainder:
                raise ConfigError(
                    f"UNetConfig.{name}",
                    got=value,
                    expected="an odd number" if remainder else "an even number",
                    hint=f"use {value + 1}",
                )


class TimeFeatures(nn.Module):
    """Sines and cosines of the time, from a quarter of a turn over [0, 1] to 64 turns."""

    def __init__(self, n_features: int) -> None:
        super().__init__()
        turns = torch.logspace(-2, 6, n_features // 2, base=2.0)
        self.register_buffer("angles", 2 * math.pi * turns, persistent=False)

    def forward(self, t: Tensor) -> Tensor:
        """Return (batch, n_features) of (batch,); if there are none, the time, (batch, 1)."""
        if not len(self.angles):
            return t[:, None]
        angles = t[:, None] * self.angles
        return torch.cat([angles.sin(), angles.cos()], dim=1)


class TimeUnit(nn.Module):
    """``x + conv(silu(scaled(conv(silu(x)))))``, scaled and shifted as the time asks for.

    The last convolution starts at zero, so that the unit starts as the identity.
    """

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        groups = math.gcd(GROUPS, channels)
        self.norms = nn.ModuleList([nn.GroupNorm(groups, channels) for _ in range(2)])
        self.convs = nn.ModuleList([nn.Conv1d(channels, channels, 3, padding=1) for _ in range(2)])
        self.told = nn.Linear(hidden, 2 * channels)
        nn.init.zeros_(self.convs[1].weight)
        nn.init.zeros_(self.convs[1].bias)

    def forward(self, x: Tensor, told: Tensor) -> Tensor:
        """Return the same shape, (batch, channel, frame)."""
        scale, shift = self.told(told)[..., None].chunk(2, dim=1)
        y = self.convs[0](F.silu(self.norms[0](x)))
        y = self.norms[1](y) * (1 + scale) + shift
        return x + self.convs[1](F.silu(y))


class FlowUNet(nn.Module):
    """Latents and time to a velocity, or to the noise, of the latents' shape.

    Parameters
    ----------
    latents
        Channels of the latents.
    config
        Sizes.
    vector, frames
        Sizes of the condition: numbers for an item, channels for a frame; 0: none.
    """

    def __init__(
        self, latents: int, config: UNetConfig, *, vector: int = 0, frames: int = 0
    ) -> None:
        super().__init__()
        self.config = config
        wide, taps, n = config.channels, config.kernel, config.units
        if config.stem == 0 and (wide[0] != latents or frames):
            raise ConfigError(
                "UNetConfig.stem",
                got=f"0 for {latents} + {frames} channels, and channels[0] = {wide[0]}",
                expected="without a stem, as many channels as the latents, and no frames",
                hint="use stem=3",
            )
        self.stem = nn.Identity()
        if config.stem:
            self.stem = nn.Conv1d(latents + frames, wide[0], config.stem, padding=config.stem // 2)
        deep = config.hidden if n else wide[-1]
        self.time = nn.Sequential(
            TimeFeatures(config.time_features),
            nn.Linear(config.time_features or 1, config.hidden if n else wide[1]),
            nn.SiLU(),
            nn.Linear(config.hidden if n else wide[1], deep),
        )
        self.asked = nn.Linear(vector, deep, bias=False) if vector else None

        def units(channels: int) -> nn.ModuleList:
            return nn.ModuleList([TimeUnit(channels, config.hidden) for _ in range(n)])

        half = {"stride": 2, "padding": taps // 2 - 1}
        pairs = list(itertools.pairwise(wide))
        self.before = nn.ModuleList([units(a) for a, _ in pairs])
        self.down = nn.ModuleList([nn.Conv1d(a, b, taps, **half) for a, b in pairs])
        self.deepest = units(wide[-1]) if n else nn.Conv1d(wide[-1], wide[-1], 3, padding=1)
        self.up = nn.ModuleList([nn.ConvTranspose1d(b, a, taps, **half) for a, b in pairs])
        self.after = nn.ModuleList([units(a) for a, _ in pairs])
        self.head = nn.Conv1d(wide[0], latents, 1)

    def forward(
        self, x: Tensor, t: Tensor, vector: Tensor | None = None, frames: Tensor | None = None
    ) -> Tensor:
        """Return (batch, latents, frame).

        Parameters
        ----------
        x, t
            (batch, latents, frame) and (batch,).
        vector, frames
            The condition, (batch, vector) and (batch, frames, frame).
        """
        n_frames = x.shape[-1]
        h = x if frames is None else torch.cat([x, frames], dim=1)
        h = self.stem(F.pad(h, (0, -n_frames % 2 ** len(self.down))))
        told = self.time(t)
        if self.asked is not None:
            told = told + self.asked(vector)
        told = F.silu(told) if self.config.units else told
        skips = []
        for units, down in zip(self.before, self.down, strict=True):
            for unit in units:
                h = unit(h, told)
            skips.append(h)
            h = down(h) if self.config.units else F.relu(down(h))
        if self.config.units:
            for unit in self.deepest:
                h = unit(h, told)
        else:
            h = F.relu(self.deepest(h) + told[..., None])
        for units, up in zip(reversed(self.after), reversed(self.up), strict=True):
            h = up(h) if self.config.units else F.relu(up(h))
            h = h + skips.pop()
            for unit in units:
                h = unit(h, told)
        return self.head(h)[..., :n_frames]


class Asked(NamedTuple):
    """What a network is told of notes: ``vector`` (batch, size), ``clock`` (batch, 6, frame)."""

    vector: Tensor | None
    clock: Tensor | None


class NoteCondition(nn.Module):
    """Pitch, family and the place in a note of each frame, as numbers for a network.

    Parameters
    ----------
    n_families
        How many there are; this number itself means "any".
    size
        Numbers that describe pitch and family; 0: the network is told nothing.
    """

    n_clock = 6
    any_pitch = 128

    def __init__(self, n_families: int, size: int) -> None:
        super().__init__()
        self.size, self.any_family = size, n_families
        self.pitch = nn.Embedding(self.any_pitch + 1, size) if size else None
        self.family = nn.Embedding(n_families + 1, size) if size else None

    def forward(self, pitch: Tensor, family: Tensor, place: Tensor) -> Asked:
        """Return what the network is told.

        Parameters
        ----------
        pitch
            MIDI numbers, (batch,) float; between two semitones the mean of both. 128: any.
        family
            Numbers of families, (batch,) int64.
        place
            Where in a note each frame is, (frames,): 0 at the start, 1 at the end. It is told by
            cosines of 0 to 5 half turns.
        """
        if not self.size:
            return Asked(None, None)
        low = pitch.floor().long()
        share = (pitch - low)[:, None]
        above = self.pitch((low + 1).clamp(max=self.any_pitch))
        vector = (1 - share) * self.pitch(low) + share * above + self.family(family)
        turns = torch.arange(self.n_clock, device=place.device)[:, None]
        clock = torch.cos(torch.pi * turns * place)
        return Asked(vector, clock.expand(len(pitch), -1, -1))

    def hidden(self, asked: Asked) -> Asked:
        """Return the same for any pitch and any family."""
        if asked.vector is None:
            return asked
        nothing = self.pitch.weight[self.any_pitch] + self.family.weight[self.any_family]
        return asked._replace(vector=nothing.expand_as(asked.vector))
