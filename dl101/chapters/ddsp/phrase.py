"""A sung phrase as curves: its pitch is given, loudness, timbre and noise are found by gradient.

Conventions: 16 kHz, a frame every 10 ms, as the corpus annotates the pitch; controls as in
``dl101/nn/synthesis.py``.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dl101.data import pyjama
from dl101.data.audiofile import resample
from dl101.data.audiostore import AudioStore
from dl101.data.embedded.export import cached_corpus
from dl101.data.sounds import at_level
from dl101.nn import synthesis
from dl101.nn.losses import MultiResolutionSTFT
from dl101.units import midi_to_hz

SAMPLE_RATE, HOP = 16_000, 160
N_TRACKS, TRACK = 4, 3  # of the corpus *voice*; the fourth track is an alto without a room
START_S, DURATION_S = 0.4, 2.6
WINDOWS = (2048, 1024, 512, 256)
N_STEPS, LEARNING_RATE = 140, 0.15


class Phrase(NamedTuple):
    """A phrase: sound (time,), pitch in Hz (frame,) with gaps bridged, and where there was one."""

    audio: NDArray[np.float32]
    f0_hz: NDArray[np.float32]
    voiced: NDArray[np.bool_]

    def tensors(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return the same as a batch of one, in float32."""
        audio, f0_hz, voiced = (torch.from_numpy(values)[None].float() for values in self)
        return audio, f0_hz, voiced


def load(seed: int = 0, *, start_s: float = START_S, duration_s: float = DURATION_S) -> Phrase:
    """Return a phrase of the corpus *voice*; rendered the first time."""
    files = cached_corpus("voice", n_tracks=N_TRACKS, seed=seed, progress=False)
    entry = list(pyjama.read(files.annotations))[TRACK]
    with AudioStore(files.audio) as store:
        samples, rate = store.read(entry.filepath, start_s=start_s, duration_s=duration_s)
    n_frames = round(duration_s * SAMPLE_RATE) // HOP
    audio = at_level(resample(samples, rate, SAMPLE_RATE))[: n_frames * HOP]
    first = round(start_s * SAMPLE_RATE / HOP)
    midi = entry.first("f0")[0][first : first + n_frames]
    voiced, frames = np.isfinite(midi), np.arange(n_frames)
    bridged = np.interp(frames, frames[voiced], midi[voiced])
    return Phrase(audio, midi_to_hz(bridged).astype(np.float32), voiced)


class Curves(nn.Module):
    """What a network would have to say of one phrase, here free numbers, one set for each frame.

    Parameters
    ----------
    n_frames, n_harmonics, n_bands
        How many frames, harmonics, and bands of the noise.
    """

    def __init__(self, n_frames: int, n_harmonics: int = 40, n_bands: int = 65) -> None:
        super().__init__()
        self.loudness = nn.Parameter(torch.full((1, n_frames), -2.0))
        self.timbre = nn.Parameter(torch.zeros(1, n_frames, n_harmonics))
        self.breath = nn.Parameter(torch.full((1, n_frames, n_bands), -4.0))

    def controls(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return amplitudes (1, frame), shares of harmonics and magnitudes of noise, all >= 0."""
        positive = synthesis.exp_sigmoid
        return positive(self.loudness), positive(self.timbre), positive(self.breath)

    def forward(
        self, f0_hz: Tensor, voiced: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        """Return (1, frame * hop): harmonics where there is a pitch, and noise anywhere.

        ``f0_hz`` and ``voiced``, 1 or 0, are (1, frame).
        """
        amplitude, shares, magnitudes = self.controls()
        tone = synthesis.harmonics(f0_hz, amplitude * voiced, shares, HOP, SAMPLE_RATE)
        return tone + synthesis.filtered_noise(magnitudes, HOP, generator)


def fit(
    phrase: Phrase, *, seed: int = 0, n_steps: int = N_STEPS, learning_rate: float = LEARNING_RATE
) -> tuple[Curves, list[float]]:
    """Return the curves that remake a phrase, and the loss of each step on the way there."""
    curves = Curves(len(phrase.f0_hz))
    audio, f0_hz, voiced = phrase.tensors()
    distance = MultiResolutionSTFT(WINDOWS)
    optimiser = torch.optim.Adam(curves.parameters(), lr=learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, n_steps, learning_rate / 10)
    generator = torch.Generator().manual_seed(seed)
    losses = []
    for _ in range(n_steps):
        loss = distance(curves(f0_hz, voiced, generator), audio)  # another noise in every step
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        losses.append(loss.item())
    return curves, losses


def retimbred(shares: Tensor, ratio: float) -> Tensor:
    r"""Return shares of harmonics for a pitch that is ``ratio`` times as high, and the same vowel.

    A vowel is an envelope over frequency. Harmonic :math:`k` of the new pitch stands where number
    :math:`k \cdot \text{ratio}` stood, so it takes what was there (beyond the last: nothing).

    Parameters
    ----------
    shares
        (batch, frame, harmonic).
    """
    n = shares.shape[-1]
    number = torch.arange(1, n + 1, dtype=shares.dtype, device=shares.device) * ratio
    lower = number.floor().clamp(1, n - 1)
    mix = (number - lower).clamp(min=0.0)  # below the first harmonic: as the first
    index = lower.long() - 1
    read = torch.lerp(shares[..., index], shares[..., index + 1], mix)
    return read * (number <= n)
