"""Chords and drums, in one sound and apart: what the kernels of the chapter are tried on.

Conventions: 22,050 Hz; spectra are magnitudes of a short-time Fourier transform, (bin, frame), and
pictures are ``log(1 + 1000 x)`` of them, with 1 for a sine of full scale. A *share* is a number
from 0 to 1 for each cell: how much of its power the drums made.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from dl101.data.embedded.renderer import Notes, Player, render_voice
from dl101.evaluation import separation
from dl101.signal.stft import istft, stft

SAMPLE_RATE = 22_050
WINDOW, HOP = 1024, 256
CHORDS = ((60, 64, 67), (57, 60, 64, 69), (53, 57, 60, 65), (55, 59, 62, 67))
CHORD_S = 0.52
KICK, SNARE, HAT = 36, 38, 42

Block = Callable[[int], nn.Module]  # of its channels


def play(
    pitches_midi: Sequence[int],
    onsets_s: Sequence[float],
    durations_s: Sequence[float],
    instrument: str,
    duration_s: float,
) -> NDArray[np.float32]:
    """Return notes played by an instrument of the sound bank, (time,), with a peak of 0.3."""
    n = len(pitches_midi)
    notes = Notes(
        onsets_s=np.array(onsets_s, dtype=float),
        durations_s=np.array(durations_s, dtype=float),
        pitches_midi=np.array(pitches_midi),
        velocities=np.full(n, 0.7),
        levels_db=np.zeros(n),
        cents=np.zeros(n),
    )
    sound = render_voice(notes, Player(instrument), round(duration_s * SAMPLE_RATE))
    return (0.3 * sound / np.abs(sound).max()).astype(np.float32)


def chord(semitones: int, instrument: str, duration_s: float = 1.0) -> NDArray[np.float32]:
    """Return the chord C4, E4, G4, so many semitones higher, (time,)."""
    pitches = [pitch + semitones for pitch in CHORDS[0]]
    return play(pitches, [0.05] * 3, [duration_s - 0.1] * 3, instrument, duration_s)


class Mixture:
    """A few chords with a drum kit.

    Attributes
    ----------
    chords, drums, audio
        (time,): each alone, and their sum.
    """

    def __init__(self, instrument: str = "string-section", *, n_chords: int = 4) -> None:
        duration_s = n_chords * CHORD_S + 0.1
        notes = [
            (pitch, 0.03 + i * CHORD_S)
            for i in range(n_chords)
            for pitch in CHORDS[i % len(CHORDS)]
        ]
        pitches, onsets = zip(*notes, strict=True)
        self.chords = play(pitches, onsets, [CHORD_S - 0.02] * len(notes), instrument, duration_s)
        half = CHORD_S / 2
        beats = [
            (drum, 0.03 + i * half + late)
            for i in range(2 * n_chords)
            for drum, late in (((KICK, HAT, SNARE, HAT)[i % 4], 0.0), (HAT, half / 2))
        ]
        struck, onsets = zip(*beats, strict=True)
        self.drums = play(struck, onsets, [0.2] * len(beats), "kit-pop", duration_s)
        self.audio = self.chords + self.drums

    def spectrum(self, audio: NDArray) -> NDArray[np.complexfloating]:
        """Return the complex spectrum of a sound, (bin, frame)."""
        scale = 4 / WINDOW  # a sine of full scale has the magnitude 1
        return scale * stft(audio, window_samples=WINDOW, hop_samples=HOP)

    @cached_property
    def picture(self) -> Tensor:
        """What a network sees, (bin, frame)."""
        return torch.log1p(1000 * torch.tensor(np.abs(self.spectrum(self.audio)))).float()

    @cached_property
    def share(self) -> Tensor:
        """The drums' share of each cell, (bin, frame)."""
        drums, chords = (np.abs(self.spectrum(x)) ** 2 for x in (self.drums, self.chords))
        return torch.tensor(drums / (drums + chords + 1e-12)).float()

    @cached_property
    def weight(self) -> Tensor:
        """How much each cell counts in the loss: the root of its magnitude, (bin, frame)."""
        return torch.tensor(np.abs(self.spectrum(self.audio)) ** 0.5).float()

    def heard(self, share: NDArray | Tensor) -> NDArray[np.float32]:
        """Return what the cells of the mixture sound like that are kept by a share, (time,)."""
        kept = np.asarray(share) * self.spectrum(self.audio) * WINDOW / 4
        return istft(kept, hop_samples=HOP, n_samples=len(self.audio)).astype(np.float32)

    def loss(self, network: nn.Module, first: Tensor, size: tuple[int, int]) -> Tensor:
        """Return the cross-entropy of a network's logits on excerpts, weighted.

        ``first`` (batch, 2) holds the lowest bin and the first frame of each, ``size`` how many
        bins and frames it has.
        """
        x, y, w = (
            torch.stack([values[f : f + size[0], t : t + size[1]] for f, t in first.tolist()])[
                :, None
            ]
            for values in (self.picture, self.share, self.weight)
        )
        cells = F.binary_cross_entropy_with_logits(network(x), y, reduction="none")
        return (w * cells).sum() / w.sum()

    def train(
        self,
        network: nn.Module,
        *,
        seed: int = 0,
        n_steps: int = 100,
        learning_rate: float = 3e-3,
        size: tuple[int, int] = (64, 32),
        batch_size: int = 4,
    ) -> list[float]:
        """Train a network, (batch, 1, bin, frame) to logits of that shape; return its losses."""
        random = torch.Generator().manual_seed(seed)
        optimiser = torch.optim.Adam(network.parameters(), lr=learning_rate)
        room = torch.tensor([n - m + 1 for n, m in zip(self.picture.shape, size, strict=True)])
        losses = []
        for _ in range(n_steps):
            first = (torch.rand(batch_size, 2, generator=random) * room).long()
            loss = self.loss(network, first, size)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            losses.append(loss.item())
        return losses


class Separated(NamedTuple):
    """What one kernel says, (bin, frame), and the signal-to-distortion ratio of the drums in dB."""

    share: NDArray[np.float32]
    sdr_db: float


def separated(mixture: Mixture, network: nn.Module) -> Separated:
    """Return what a network makes of the whole mixture."""
    with torch.no_grad():
        share = network.eval()(mixture.picture[None, None])[0, 0].sigmoid().numpy()
    return Separated(share, separation.sdr(mixture.heard(share), mixture.drums))


def stack(block: Block, depth: int, channels: int = 8) -> nn.Sequential:
    """Return a network of blocks: one channel in, one logit out, for every cell."""
    blocks = [block(channels) for _ in range(depth)]
    return nn.Sequential(nn.Conv2d(1, channels, 3, padding=1), *blocks, nn.Conv2d(channels, 1, 1))


def gradient_norms(block: Block, depth: int, *, seed: int = 0, channels: int = 8) -> list[float]:
    """Return the gradient's norm before each block and after the last, at first weights.

    The input is noise, (4, channels, 12, 16), and so is the gradient that comes in at the end,
    whose norm is taken for 1.
    """
    torch.manual_seed(seed)
    blocks = [block(channels) for _ in range(depth)]
    x = torch.randn(4, channels, 12, 16, requires_grad=True)
    seen = [x]
    for one in blocks:
        seen.append(one(seen[-1]))
    end = torch.randn_like(seen[-1])
    gradients = torch.autograd.grad(seen[-1], seen, end / end.norm())
    return [float(gradient.norm()) for gradient in gradients]
