"""Networks on frames of a spectrogram: codes at two clock rates, and translation between domains.

Shapes: frames are (batch, bin, frame) levels, mostly from 0 (the floor) to 1; latents are (batch,
channel, step), codes (batch, step). Two levels of codes have two clocks: the fine level makes a
code every ``fine_stride`` frames, the coarse one every ``coarse_stride``. Lengths are multiples of
the coarse stride.

References
----------
.. [1] A. Razavi, A. van den Oord, O. Vinyals, "Generating diverse high-fidelity images with
   VQ-VAE-2", NeurIPS 2019: the fine level sees what the coarse one said.
.. [2] P. Dhariwal and others, "Jukebox: a generative model for music", 2020: levels of codes of
   music, a prior of the coarse ones, and models that add the finer ones.
.. [3] Y. Ganin and others, "Domain-adversarial training of neural networks", JMLR 17, 2016: the
   reversed gradient.
.. [4] N. Mor, L. Wolf, A. Polyak, Y. Taigman, "A universal music translation network", ICLR 2019.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dl101.errors import ConfigError, ShapeError
from dl101.nn.codec import Down, ResidualUnit, Up, start_at_one_level
from dl101.nn.quantize import VectorQuantizer


def _units(channels: int, *dilations: int) -> list[nn.Module]:
    return [ResidualUnit(channels, kernel=3, dilation=d) for d in dilations]


# ---- two clocks ----------------------------------------------------------------------------------


class TwoClocks(NamedTuple):
    """What :class:`TwoClockVQ` gives.

    Attributes
    ----------
    frames
        (batch, bin, frame), made of the codes.
    coarse, fine
        (batch, step) int64 at the two clocks; fine is None where there is one level.
    loss
        Of the quantisers, to add to that of the frames.
    """

    frames: Tensor
    coarse: Tensor
    fine: Tensor | None
    loss: Tensor


class TwoClockVQ(nn.Module):
    """An auto-encoder with codes at two clock rates, after VQ-VAE-2 [1]_ and Jukebox [2]_.

    Parameters
    ----------
    n_bins
        Of a frame.
    n_codes
        Of each codebook.
    coarse_stride, fine_stride
        Frames for each code; a ``fine_stride`` of 0 leaves the fine level out.
    channels, dim
        Width of the convolutions, and numbers of a codeword.
    drop_fine
        Share of the items of a training batch that come back from coarse codes alone.
    """

    def __init__(
        self,
        n_bins: int,
        n_codes: int = 64,
        *,
        coarse_stride: int = 4,
        fine_stride: int = 1,
        channels: int = 96,
        dim: int = 24,
        drop_fine: float = 0.25,
    ) -> None:
        super().__init__()
        if fine_stride and coarse_stride % fine_stride:
            raise ConfigError(
                "two clocks",
                got=f"strides of {coarse_stride} and {fine_stride} frames",
                expected="a coarse stride that is a multiple of the fine one",
                hint="4 and 1 are a start",
            )
        self.coarse_stride, self.fine_stride = coarse_stride, fine_stride
        self.drop_fine = drop_fine
        first = fine_stride or coarse_stride
        between = coarse_stride // first
        self.down_fine = nn.Sequential(
            nn.Conv1d(n_bins, channels, 1),
            *_units(channels, 1, 2),
            *([Down(channels, channels, first)] if first > 1 else []),
            *_units(channels, 1),
        )
        self.down_coarse = nn.Sequential(
            *([Down(channels, channels, between)] if between > 1 else []),
            *_units(channels, 1),
            nn.ELU(),
            nn.Conv1d(channels, dim, 1),
        )
        self.coarse = VectorQuantizer(dim, n_codes)
        self.up_coarse = nn.Sequential(
            nn.Conv1d(dim, channels, 1),
            *_units(channels, 1),
            *([Up(channels, channels, between)] if between > 1 else []),
        )
        if fine_stride:
            self.join = nn.Conv1d(2 * channels, dim, 1)
            self.fine = VectorQuantizer(dim, n_codes)
            self.up_fine = nn.Conv1d(dim, channels, 1)
        self.up = nn.Sequential(
            *_units(channels, 1, 2),
            *([Up(channels, channels, first)] if first > 1 else []),
            *_units(channels, 1, 2),
            nn.ELU(),
            nn.Conv1d(channels, n_bins, 1),
        )
        start_at_one_level(self)

    @property
    def n_codes(self) -> int:
        """Size of each codebook."""
        return self.coarse.n_codes

    def forward(self, frames: Tensor) -> TwoClocks:
        """Return frames that were made of codes, and the codes."""
        if frames.ndim != 3 or frames.shape[-1] % self.coarse_stride:
            raise ShapeError(
                "two clocks",
                got=f"frames of shape {tuple(frames.shape)}",
                expected=f"(batch, bin, frame), frames a multiple of {self.coarse_stride}",
                hint="cut the spectrogram",
            )
        h = self.down_fine(frames)
        coarse = self.coarse(self.down_coarse(h))
        told = self.up_coarse(coarse.quantised)
        if not self.fine_stride:
            return TwoClocks(self.up(told), coarse.codes, None, coarse.loss)
        active = torch.ones(len(frames), dtype=torch.bool, device=frames.device)
        if self.training:
            active = torch.rand(len(frames), device=frames.device) >= self.drop_fine
        fine = self.fine(self.join(F.elu(torch.cat([h, told], dim=1))), active)
        made = self.up(told + self.up_fine(fine.quantised))
        return TwoClocks(made, coarse.codes, fine.codes, coarse.loss + fine.loss)

    @torch.no_grad()
    def decode(self, coarse: Tensor, fine: Tensor | None = None) -> Tensor:
        """Return the frames of codes; of coarse codes alone without ``fine``."""
        told = self.up_coarse(self.coarse.decode(coarse))
        if not self.fine_stride:
            return self.up(told)
        if fine is None:
            fine = torch.full((len(coarse), told.shape[-1]), -1, device=coarse.device)
        return self.up(told + self.up_fine(self.fine.decode(fine)))


class CodePrior(nn.Module):
    """A recurrent model of codes: each from those before it, and from a slower level if told.

    Parameters
    ----------
    n_codes
        Size of the codebook.
    told_codes
        Size of the slower level's codebook, 0 without one. It is known as a whole beforehand, so
        two GRUs read it, one from each end.
    width
        Of the layers.
    """

    def __init__(self, n_codes: int, told_codes: int = 0, *, width: int = 128) -> None:
        super().__init__()
        self.n_codes = n_codes
        self.before = nn.Embedding(n_codes + 1, width)  # the last one stands before the beginning
        if told_codes:
            self.told = nn.Embedding(told_codes, width)
            self.read = nn.GRU(width, width // 2, batch_first=True, bidirectional=True)
        self.recurrent = nn.GRU(width, width, batch_first=True)
        self.logits = nn.Linear(width, n_codes)

    def forward(self, codes: Tensor, told: Tensor | None = None) -> Tensor:
        """Return logits (batch, step, code) of codes (batch, step)."""
        before = F.pad(codes[:, :-1], (1, 0), value=self.n_codes)
        x = self.before(before) + self._slow(told, codes.shape[1])
        return self.logits(self.recurrent(x)[0])

    def _slow(self, told: Tensor | None, n_steps: int) -> Tensor | float:
        """Return what the slower level says at each step."""
        if told is None:
            return 0.0
        read = self.read(self.told(told))[0]
        return read.repeat_interleave(n_steps // told.shape[1], dim=1)

    @torch.no_grad()
    def sample(
        self,
        n: int,
        n_steps: int,
        told: Tensor | None = None,
        *,
        temperature: float = 1.0,
        seed: int = 0,
    ) -> Tensor:
        """Return codes (n, n_steps), drawn one after the other."""
        chance = torch.Generator().manual_seed(seed)
        slow = self._slow(told, n_steps)
        last, state, made = torch.full((n, 1), self.n_codes), None, []
        for step in range(n_steps):
            x = self.before(last) + (slow if told is None else slow[:, step : step + 1])
            out, state = self.recurrent(x, state)
            shares = torch.softmax(self.logits(out[:, -1]) / temperature, dim=-1)
            last = torch.multinomial(shares, 1, generator=chance)
            made.append(last)
        return torch.cat(made, dim=1)


# ---- translation ---------------------------------------------------------------------------------


class _Reversed(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, weight: float) -> Tensor:  # noqa: ANN001
        ctx.weight = weight
        return x.view_as(x)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None]:  # noqa: ANN001
        return -ctx.weight * gradient, None


def reverse_gradient(x: Tensor, weight: float = 1.0) -> Tensor:
    """Return x, whose gradient comes back with the other sign, times ``weight`` [3]_.

    Layers after this one learn to lower the loss, layers before it learn to raise it.
    """
    return _Reversed.apply(x, weight)


class Translator(nn.Module):
    """One encoder, a decoder for each domain, and a classifier that should be confused [4]_.

    Parameters
    ----------
    n_bins, n_domains
        Of a frame; how many kinds of sound there are.
    channels, dim
        Width of the convolutions, and numbers of a latent frame.
    """

    def __init__(
        self, n_bins: int, n_domains: int = 2, *, channels: int = 96, dim: int = 16
    ) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv1d(n_bins, channels, 1),
            *_units(channels, 1, 2),
            nn.ELU(),
            nn.Conv1d(channels, dim, 1),
        )
        self.decoders = nn.ModuleList(
            nn.Sequential(
                nn.Conv1d(dim, channels, 1),
                *_units(channels, 1, 2, 4),
                nn.ELU(),
                nn.Conv1d(channels, n_bins, 1),
            )
            for _ in range(n_domains)
        )
        self.classifier = nn.Sequential(
            nn.Conv1d(dim, channels, 1),
            *_units(channels, 1),
            nn.ELU(),
            nn.Conv1d(channels, n_domains, 1),
        )
        start_at_one_level(self)

    def encode(self, frames: Tensor) -> Tensor:
        """Return latents (batch, dim, frame)."""
        return self.encoder(frames)

    def forward(self, frames: Tensor, domain: int) -> Tensor:
        """Return frames as they would be in a domain."""
        return self.decoders[domain](self.encode(frames))

    def confusion(self, latents: Tensor, domain: int, weight: float) -> Tensor:
        """Return the classifier's cross-entropy, whose gradient is reversed for the encoder."""
        logits = self.classifier(reverse_gradient(latents, weight))
        wanted = torch.full((len(logits), logits.shape[-1]), domain, device=logits.device)
        return F.cross_entropy(logits, wanted)
