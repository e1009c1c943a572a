r"""A normalising flow for sound: WaveGlow in the small, whose likelihood is exact.

Conventions: audio is (batch, time), squeezed audio (batch, group, time // group). A *flow* maps
audio ``x`` one to one to ``z`` of the same shape, whose numbers shall be independent, N(0, 1). Then

.. math::

    \log p(x) = \log \mathcal{N}(z; 0, 1) + \log \lvert\det \partial z / \partial x\rvert .

Each part returns what it made and the logarithm of its determinant, (batch,), in nats; ``inverse``
undoes it. Conditions are (batch, band, time // group), as dense as the squeezed audio.

References
----------
.. [1] L. Dinh, J. Sohl-Dickstein and S. Bengio, "Density estimation using Real NVP", ICLR 2017
   (affine coupling).
.. [2] D. P. Kingma and P. Dhariwal, "Glow: generative flow with invertible 1x1 convolutions",
   NeurIPS 2018.
.. [3] R. Prenger, R. Valle and B. Catanzaro, "WaveGlow: a flow-based generative network for speech
   synthesis", ICASSP 2019.
.. [4] S. Kim and others, "FloWaveNet: a generative flow for raw audio", ICML 2019.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from dl101.errors import ShapeError

LOG_2PI = math.log(2 * math.pi)
Mapped = tuple[Tensor, Tensor]


def squeeze(audio: Tensor, group: int) -> Tensor:
    """Return (batch, group, time // group): samples that follow each other become channels.

    Raises
    ------
    ShapeError
        If the number of samples is no multiple of ``group``.
    """
    if audio.ndim != 2 or audio.shape[-1] % group:
        raise ShapeError(
            "squeeze",
            got=f"shape {tuple(audio.shape)}",
            expected=f"(batch, time) with a multiple of {group} samples",
            hint="cut the audio, or pad it with zeros",
        )
    return audio.unflatten(-1, (-1, group)).transpose(1, 2)


def unsqueeze(x: Tensor) -> Tensor:
    """Return (batch, time) of (batch, group, time // group), which undoes :func:`squeeze`."""
    return x.transpose(1, 2).flatten(1)


class InvertibleConv(nn.Module):
    """A 1x1 convolution: the channels of each moment are mixed by one matrix [2]_.

    It begins as a rotation, so that its determinant is 1. That of ``n`` moments is the determinant
    of the matrix to the power of ``n``.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.linalg.qr(torch.randn(channels, channels))[0])

    def forward(self, x: Tensor) -> Mapped:
        """Return the mixed channels and the log determinant."""
        log_det = x.shape[-1] * torch.linalg.slogdet(self.weight)[1]
        return self.weight @ x, log_det.expand(len(x))

    def inverse(self, z: Tensor) -> Tensor:
        """Return what :meth:`forward` has mixed."""
        return torch.linalg.solve(self.weight, z)


class GatedStack(nn.Module):
    """WaveNet's dilated and gated convolutions, which here may look ahead; zero at first.

    Parameters
    ----------
    n_inputs, n_outputs, n_conditions
        Channels.
    channels, n_layers
        Inside; the dilation doubles with each layer.
    """

    def __init__(
        self, n_inputs: int, n_outputs: int, n_conditions: int, channels: int, n_layers: int
    ) -> None:
        super().__init__()
        self.first = nn.Conv1d(n_inputs, channels, 1)
        self.layers = nn.ModuleList(
            nn.Conv1d(channels, 2 * channels, 3, padding=2**k, dilation=2**k)
            for k in range(n_layers)
        )
        self.conditions = nn.ModuleList(
            nn.Conv1d(n_conditions, 2 * channels, 1) for _ in range(n_layers if n_conditions else 0)
        )
        self.mixes = nn.ModuleList(nn.Conv1d(channels, channels, 1) for _ in range(n_layers))
        self.last = nn.Conv1d(channels, n_outputs, 1)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        """Map (batch, input, time) to (batch, output, time)."""
        x, total = self.first(x), 0.0
        for number, (layer, mix) in enumerate(zip(self.layers, self.mixes, strict=True)):
            both = layer(x)
            if condition is not None:
                both = both + self.conditions[number](condition)
            signal, gate = both.chunk(2, dim=1)
            step = mix(torch.tanh(signal) * torch.sigmoid(gate))
            x, total = x + step, total + step
        return self.last(total)


class AffineCoupling(nn.Module):
    """Half of the channels say by how much the other half is scaled and shifted [1]_.

    The first half goes through unchanged, so whoever undoes the layer knows scale and shift, too:
    the network that says them need not be invertible. The Jacobian is triangular, and the logarithm
    of its determinant the sum of the log scales.

    Parameters
    ----------
    channels
        Of the input; the first half (rounded down) is looked at.
    hidden, n_layers
        Width and depth of the network that looks.
    n_conditions
        Channels of the condition; 0: none.
    """

    def __init__(self, channels: int, hidden: int, n_layers: int, n_conditions: int = 0) -> None:
        super().__init__()
        self.kept = channels // 2
        n_changed = channels - self.kept
        self.network = GatedStack(self.kept, 2 * n_changed, n_conditions, hidden, n_layers)

    def scale_and_shift(self, kept: Tensor, condition: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return the log scale, between -5 and 5, and the shift of the other half."""
        raw, shift = self.network(kept, condition).chunk(2, dim=1)
        return 5.0 * torch.tanh(raw / 5.0), shift

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Mapped:
        """Return both halves, the second scaled and shifted, and the log determinant."""
        kept, changed = x[:, : self.kept], x[:, self.kept :]
        log_scale, shift = self.scale_and_shift(kept, condition)
        z = torch.cat([kept, changed * log_scale.exp() + shift], dim=1)
        return z, log_scale.sum(dim=(1, 2))

    def inverse(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        """Return what :meth:`forward` has scaled and shifted."""
        kept, changed = z[:, : self.kept], z[:, self.kept :]
        log_scale, shift = self.scale_and_shift(kept, condition)
        return torch.cat([kept, (changed - shift) * (-log_scale).exp()], dim=1)


class SoundFlow(nn.Module):
    """Steps of an invertible 1x1 convolution and an affine coupling, on squeezed audio [3]_ [4]_.

    Parameters
    ----------
    group
        Samples that are squeezed into channels.
    n_steps
        Of the flow.
    hidden, n_layers
        Width and depth of the network in each coupling.
    n_conditions
        Bands of a condition, such as a mel spectrogram; 0: none.
    level
        Typical RMS of the audio, by which it is divided first.
    """

    def __init__(
        self,
        *,
        group: int = 8,
        n_steps: int = 6,
        hidden: int = 32,
        n_layers: int = 4,
        n_conditions: int = 0,
        level: float = 0.1,
    ) -> None:
        super().__init__()
        self.group, self.level = group, level
        self.mixers = nn.ModuleList(InvertibleConv(group) for _ in range(n_steps))
        self.couplings = nn.ModuleList(
            AffineCoupling(group, hidden, n_layers, n_conditions) for _ in range(n_steps)
        )

    def forward(self, audio: Tensor, condition: Tensor | None = None) -> Mapped:
        """Return ``z``, (batch, time), and the log determinant of the whole flow, (batch,)."""
        x = squeeze(audio / self.level, self.group)
        log_det = x.new_full((len(audio),), -audio.shape[-1] * math.log(self.level))
        for mixer, coupling in zip(self.mixers, self.couplings, strict=True):
            x, of_mixer = mixer(x)
            x, of_coupling = coupling(x, condition)
            log_det = log_det + of_mixer + of_coupling
        return unsqueeze(x), log_det

    def inverse(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        """Return the audio of ``z``, (batch, time), in one pass."""
        x = squeeze(z, self.group)
        for mixer, coupling in zip(reversed(self.mixers), reversed(self.couplings), strict=True):
            x = mixer.inverse(coupling.inverse(x, condition))
        return unsqueeze(x) * self.level

    def log_likelihood(self, audio: Tensor, condition: Tensor | None = None) -> Tensor:
        """Return the logarithm of the density of each sound, (batch,), in nats."""
        z, log_det = self(audio, condition)
        return -0.5 * (z.square() + LOG_2PI).sum(dim=-1) + log_det


def bits_per_sample(log_density: Tensor, n_samples: int, n_bits: int) -> Tensor:
    """Return the bits that a sample costs, of log densities in nats, (batch,).

    Parameters
    ----------
    log_density
        Of whole sounds.
    n_samples
        Of a sound.
    n_bits
        Of the numbers that are told: the density is taken to be even over a step of
        ``2**(1 - n_bits)``, one of those into which -1 to 1 is divided.
    """
    return (n_bits - 1) - log_density / (n_samples * math.log(2))
