"""Generators of sounds, their critics and what the two lose: WaveGAN and GANSynth in the small.

Conventions: noise is (batch, latent), audio (batch, time), pictures (batch, channel, bin, frame) in
[-1, 1]. A critic returns scores (batch,), high for what was recorded, and, if it has pitches to
tell apart, their logits (batch, pitch); else None. A pitch is its number, from 0.

References
----------
.. [1] C. Donahue, J. McAuley and M. Puckette, "Adversarial audio synthesis", ICLR 2019 (WaveGAN,
   SpecGAN, phase shuffle).
.. [2] J. Engel and others, "GANSynth: adversarial neural audio synthesis", ICLR 2019.
.. [3] I. Gulrajani and others, "Improved training of Wasserstein GANs", NIPS 2017.
.. [4] L. Mescheder, A. Geiger and S. Nowozin, "Which training methods for GANs do actually
   converge?", ICML 2018.
.. [5] T. Karras and others, "Progressive growing of GANs for improved quality, stability, and
   variation", ICLR 2018.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike
from torch import Tensor, nn

from dl101.errors import ShapeError

STRIDE, KERNEL = 4, 25  # of WaveGAN's layers

Judged = tuple[Tensor, Tensor | None]


# ---- phase shuffle -------------------------------------------------------------------------------


def shifted(x: Tensor, shifts: Tensor) -> Tensor:
    """Move each item of (batch, channel, time) along time; what is missing is mirrored.

    Parameters
    ----------
    x
        Activations.
    shifts
        (batch,) whole steps, positive to the right: ``out[t] = x[t - shift]``. Beyond an end stands
        the mirror image of what is there, without the end itself once more.

    Raises
    ------
    ShapeError
        If a shift is as long as the item.
    """
    reach, n = int(shifts.abs().max()), x.shape[-1]
    if shifts.shape != x.shape[:1] or reach >= n:
        raise ShapeError(
            "shifts",
            got=f"shape {tuple(shifts.shape)}, up to {reach} steps, for {tuple(x.shape)}",
            expected=f"one shift for each item, of less than {n} steps",
            hint="shuffle by a few steps only",
        )
    wanted = torch.arange(n, device=x.device) - shifts[:, None]
    mirrored = (n - 1) - ((n - 1) - wanted.abs()).abs()
    return x.gather(-1, mirrored[:, None].expand_as(x))


class PhaseShuffle(nn.Module):
    """Move what a layer gave by a random number of steps, another for each item [1]_.

    Parameters
    ----------
    radius
        Largest shift, to either side; 0 changes nothing.
    """

    def __init__(self, radius: int) -> None:
        super().__init__()
        self.radius = radius

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, channel, time) to the same."""
        if self.radius == 0:
            return x
        bounds = (-self.radius, self.radius + 1)
        return shifted(x, torch.randint(*bounds, x.shape[:1], device=x.device))


# ---- waveforms -----------------------------------------------------------------------------------


class WaveGenerator(nn.Module):
    """Noise to samples by transposed convolutions, each of which multiplies the rate by four [1]_.

    Parameters
    ----------
    latent
        Numbers of noise.
    channels
        Before the last layer; each layer before that has twice as many.
    n_layers
        Of them.
    first_steps
        Time steps that the noise becomes: the sound has ``first_steps * 4**n_layers`` samples.
    """

    def __init__(
        self, latent: int = 32, channels: int = 16, *, n_layers: int = 4, first_steps: int = 8
    ) -> None:
        super().__init__()
        self.latent = latent
        widths = [channels * 2**k for k in reversed(range(n_layers))] + [1]
        self.first = nn.Linear(latent, widths[0] * first_steps)
        self.ups = nn.ModuleList(
            nn.ConvTranspose1d(a, b, KERNEL, STRIDE, padding=11, output_padding=1)
            for a, b in pairwise(widths)
        )

    def forward(self, noise: Tensor, pitches: Tensor | None = None) -> Tensor:
        """Return (batch, time) in [-1, 1]; pitches are not listened to."""
        x = self.first(noise).unflatten(-1, (self.ups[0].in_channels, -1))
        for up in self.ups:
            x = up(pixel_norm(F.leaky_relu(x, 0.2)))
        return torch.tanh(x)[:, 0]


class WaveCritic(nn.Module):
    """Samples to one score, by convolutions that each divide the rate by four [1]_.

    Parameters
    ----------
    n_samples
        Of a sound.
    channels
        After the first layer; each layer after it has twice as many.
    n_layers
        Of them.
    shuffle
        Radius of the phase shuffle after every layer but the last.
    """

    def __init__(
        self, n_samples: int, channels: int = 16, *, n_layers: int = 4, shuffle: int = 2
    ) -> None:
        super().__init__()
        widths = [1, *(channels * 2**k for k in range(n_layers))]
        self.layers = nn.ModuleList(
            nn.Conv1d(a, b, KERNEL, STRIDE, padding=11) for a, b in pairwise(widths)
        )
        self.shuffle = PhaseShuffle(shuffle)
        self.last = nn.Linear(widths[-1] * n_samples // STRIDE**n_layers, 1)

    def forward(self, audio: Tensor) -> Judged:
        """Return the scores of (batch, time)."""
        x = audio[:, None]
        for number, layer in enumerate(self.layers, start=1):
            x = F.leaky_relu(layer(x), 0.2)
            if number < len(self.layers):
                x = self.shuffle(x)
        return self.last(x.flatten(1))[:, 0], None


# ---- pictures ------------------------------------------------------------------------------------


class PictureGenerator(nn.Module):
    """Noise, and perhaps a pitch, to pictures of sounds, after GANSynth [2]_.

    Parameters
    ----------
    shape
        (channel, bin, frame) of a picture; bins and frames are multiples of 16.
    latent
        Numbers of noise.
    channels
        Of the last layers; the first ones have four times, then twice as many.
    n_pitches
        That one can ask for; 0: none.
    """

    def __init__(
        self, shape: tuple[int, int, int], latent: int = 32, channels: int = 16, n_pitches: int = 0
    ) -> None:
        super().__init__()
        self.latent, self.n_pitches = latent, n_pitches
        widths = [channels * k for k in (4, 4, 2, 2, 1)]
        self.grid = (widths[0], shape[1] // 16, shape[2] // 16)
        self.first = nn.Linear(latent + n_pitches, self.grid[0] * self.grid[1] * self.grid[2])
        self.layers = nn.ModuleList(
            nn.Conv2d(a, b, (5, 3), padding=(2, 1)) for a, b in pairwise(widths)
        )
        self.last = nn.Conv2d(widths[-1], shape[0], (5, 3), padding=(2, 1))

    def forward(self, noise: Tensor, pitches: Tensor | None = None) -> Tensor:
        """Return (batch, channel, bin, frame) of noise (batch, latent) and pitches (batch,)."""
        if self.n_pitches:
            noise = torch.cat([noise, F.one_hot(pitches, self.n_pitches).to(noise)], dim=1)
        x = self.first(noise).unflatten(-1, self.grid)
        for layer in self.layers:
            x = F.interpolate(pixel_norm(F.leaky_relu(x, 0.2)), scale_factor=2.0)
            x = layer(x)
        return torch.tanh(self.last(pixel_norm(F.leaky_relu(x, 0.2))))


def lines_of(
    f0_hz: ArrayLike, n_bins: int, *, sample_rate: int, window_samples: int, hop_samples: int
) -> Tensor:
    """Return pictures without time of where partials lie, (pitch, 3, bin), for each fundamental.

    Cosine and sine of ``2 * pi * frequency / f0``, so that each partial is a crest of the cosine,
    and the instantaneous frequency of the nearest partial, in half turns a frame.
    """
    frequency = torch.arange(n_bins) * sample_rate / window_samples
    f0 = torch.as_tensor(f0_hz, dtype=torch.float32)[:, None]
    number = frequency / f0
    turns = 2 * torch.round(number).clamp(min=1) * f0 * hop_samples / sample_rate
    angle = 2 * torch.pi * number
    return torch.stack([angle.cos(), angle.sin(), (turns + 1) % 2 - 1], dim=1)


class LineGenerator(nn.Module):
    """Noise and a pitch to pictures of sounds; it is shown where the partials of the pitch lie.

    Transposed convolutions, each of which doubles bins and frames. The last two layers see the
    lines of the pitch beside what the layers before made.

    Parameters
    ----------
    shape
        (channel, bin, frame) of a picture; bins and frames are multiples of 16.
    lines
        (pitch, 3, bin) of :func:`lines_of`, for the pitches that one can ask for.
    latent
        Numbers of noise.
    channels
        The first layers have four times, then twice as many, and the last, which cost most, half.
    """

    def __init__(
        self, shape: tuple[int, int, int], lines: Tensor, latent: int = 32, channels: int = 16
    ) -> None:
        super().__init__()
        self.latent = latent
        self.register_buffer("lines", lines, persistent=False)
        n_pitches, n_lines, _ = lines.shape
        widths = [4 * channels, 4 * channels, 2 * channels, 2 * channels, max(channels // 2, 1)]
        self.grid = (widths[0], shape[1] // 16, shape[2] // 16)
        self.first = nn.Linear(latent + n_pitches, self.grid[0] * self.grid[1] * self.grid[2])
        self.ups = nn.ModuleList(
            nn.ConvTranspose2d(a + more, b, (6, 4), 2, padding=(2, 1))
            for (a, b), more in zip(pairwise(widths), (0, 0, 0, n_lines), strict=True)
        )
        self.last = nn.Conv2d(widths[-1] + n_lines, shape[0], 1)

    def forward(self, noise: Tensor, pitches: Tensor) -> Tensor:
        """Return (batch, channel, bin, frame) of noise (batch, latent) and pitches (batch,)."""
        told = F.one_hot(pitches, len(self.lines)).to(noise)
        lines = self.lines[pitches][..., None]
        x = self.first(torch.cat([noise, told], dim=1)).unflatten(-1, self.grid)
        for number, up in enumerate(self.ups, start=1):
            x = pixel_norm(F.leaky_relu(x, 0.2))
            x = up(_beside(x, lines[:, :, ::2]) if number == len(self.ups) else x)
        return torch.tanh(self.last(_beside(pixel_norm(F.leaky_relu(x, 0.2)), lines)))


def _beside(x: Tensor, lines: Tensor) -> Tensor:
    return torch.cat([x, lines.expand(-1, -1, -1, x.shape[-1]).to(x)], dim=1)


class PictureCritic(nn.Module):
    """Pictures of sounds to a score, and to logits of the pitch [2]_; as the generator, backwards.

    ``shape``, ``channels`` and ``n_pitches`` as in :class:`PictureGenerator`. With ``spread`` the
    score depends on how much the pictures of the batch differ, too [5]_, so that a generator that
    makes one sound is caught.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        channels: int = 16,
        n_pitches: int = 0,
        *,
        spread: bool = False,
    ) -> None:
        super().__init__()
        self.spread = spread
        widths = [shape[0], *(channels * k for k in (1, 2, 2, 4))]
        self.layers = nn.ModuleList(
            nn.Conv2d(a, b, (5, 4), 2, padding=(2, 1)) for a, b in pairwise(widths)
        )
        n = widths[-1] * (shape[1] // 16) * (shape[2] // 16)
        self.last = nn.Linear(n + spread, 1)
        self.pitch = nn.Linear(n, n_pitches) if n_pitches else None

    def forward(self, pictures: Tensor) -> Judged:
        """Return the scores, and the logits of the pitch or None."""
        x = pictures
        for layer in self.layers:
            x = F.leaky_relu(layer(x), 0.2)
        x = x.flatten(1)
        named = None if self.pitch is None else self.pitch(x)
        if self.spread:
            deviation = (x.float().var(dim=0, unbiased=False) + 1e-8).sqrt().mean()
            x = torch.cat([x, deviation.expand(len(x), 1).to(x)], dim=1)
        return self.last(x)[:, 0], named


def lit(pictures: Tensor) -> Tensor:
    """Return pictures (batch, 2, bin, frame) whose second channel fades where the first is dark.

    Phases of what nobody hears are noise, which a critic need not look at.
    """
    loud, turns = pictures.split(1, dim=1)
    return torch.cat([loud, turns * (1 + loud) / 2], dim=1)


def pixel_norm(x: Tensor) -> Tensor:
    """Scale the channels of each place to a mean square of 1."""
    return x * torch.rsqrt(x.square().mean(dim=1, keepdim=True) + 1e-8)


# ---- losses --------------------------------------------------------------------------------------


def wasserstein_critic(real: Tensor, made: Tensor) -> Tensor:
    """Return what a critic minimises: the mean score of what is made minus that of what is real."""
    return made.mean() - real.mean()


def wasserstein_generator(made: Tensor) -> Tensor:
    """Return what a generator minimises: minus the mean score of what it made."""
    return -made.mean()


def logistic_critic(real: Tensor, made: Tensor) -> Tensor:
    """Return the cross-entropy of a critic whose scores are logits of being real."""
    return F.softplus(-real).mean() + F.softplus(made).mean()


def logistic_generator(made: Tensor) -> Tensor:
    """Return the cross-entropy of what was made, were it real."""
    return F.softplus(-made).mean()


def real_penalty(critic: Callable[[Tensor], Judged], real: Tensor) -> Tensor:
    r"""Return the mean of :math:`\lVert \nabla_x D(x) \rVert_2^2` at real items: R1 [4]_.

    A critic that has nothing left to tell apart is drawn to being flat, and the game to an end.

    Parameters
    ----------
    critic
        Returns scores first.
    real
        A batch; no gradient reaches it.
    """
    at = real.detach().requires_grad_()
    (slope,) = torch.autograd.grad(critic(at)[0].float().sum(), at, create_graph=True)
    return slope.float().flatten(1).square().sum(dim=1).mean()


def gradient_penalty(critic: Callable[[Tensor], Judged], real: Tensor, made: Tensor) -> Tensor:
    r"""Return the mean of :math:`(\lVert \nabla_x D(x) \rVert_2 - 1)^2` between two batches [3]_.

    Each ``x`` lies at a random place on the line from a real item to a made one. A critic whose
    slope is 1 there cannot raise its scores without end: what it says is a distance.

    Parameters
    ----------
    critic
        Returns scores first.
    real, made
        Batches of one shape; no gradient reaches them.
    """
    share = torch.rand(len(real), *(1,) * (real.ndim - 1), device=real.device)
    between = (real + share * (made.detach() - real)).detach().requires_grad_()
    (slope,) = torch.autograd.grad(critic(between)[0].float().sum(), between, create_graph=True)
    return (slope.float().flatten(1).norm(dim=1) - 1).square().mean()
