"""Pitch from transposition alone: a network that never hears what a note is called.

A constant-Q spectrum of a transposed note is the same spectrum moved by some bins. A network that
maps a spectrum to a distribution over bins is asked only that what it says moves along; then it has
to point to something that moves with the pitch, and no answer is the same for all. What it points
to lies a constant beside the pitch, which one note tells. After Riou, Lattner, Hadjeres and Peeters
("PESTO", ISMIR 2023), smaller.

Conventions: spectra are (notes, bins), three bins a semitone; pitches are MIDI numbers.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dl101.data import feature_cache
from dl101.signal import cqt
from dl101.signal.cqt import HcqtConfig
from dl101.training.comparison import load_sides
from dl101.training.loop import minimise
from dl101.units import midi_to_hz

CORPUS, N_TRACKS = "notes", 960
CQT = HcqtConfig((1,), bins_per_semitone=3, n_octaves=8, f_min_hz=27.5, hop_samples=1024)
N_BINS = CQT.n_bins
HEARD_S = (0.1, 0.5)  # after the attack
FURTHEST = 36  # bins by which a note is transposed: an octave
REFERENCE = 57.0  # A3, the one note whose name is told
LOST = 10.0  # the price of what is moved beyond the axis: else all would point there
EPOCHS, BATCH, LEARNING_RATE = 40, 64, 2e-3


def spectrum(audio: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the mean magnitudes of a note after its attack, (bins,), largest 1."""
    begin, end = (round(s * CQT.sample_rate) for s in HEARD_S)
    found = feature_cache.cached(cqt.cqt, np.ascontiguousarray(audio[begin:end]), CQT)
    mean = found.values[0].mean(axis=1)
    return mean / max(float(mean.max()), 1e-9)


def tone(midi: float, *, n_harmonics: int = 10) -> NDArray[np.float32]:
    """Return a plain tone with harmonics of amplitude 1 / h, as long as a note is heard."""
    t = np.arange(round(HEARD_S[1] * CQT.sample_rate)) / CQT.sample_rate
    phases = 2 * np.pi * midi_to_hz(midi) * np.outer(np.arange(1, n_harmonics + 1), t)
    waves = np.sin(phases) / np.arange(1, n_harmonics + 1)[:, None]
    return (0.2 * waves.sum(axis=0)).astype(np.float32)


def load(
    *, n_tracks: int, seed: int, progress: bool = True
) -> dict[str, tuple[NDArray[np.float32], NDArray[np.float64]]]:
    """Return spectra (notes, bins) and pitches (notes,) of each side."""
    sides = load_sides(
        CORPUS,
        lambda entry, read: [(spectrum(read()[0]), float(entry.first("pitchmidi")))],
        n_tracks=n_tracks,
        seed=seed,
        progress=progress,
    )
    return {
        side: (np.stack([x for x, _ in notes]), np.array([y for _, y in notes]))
        for side, notes in sides.items()
    }


class PitchNet(nn.Module):
    """Logits (notes, bins) of compressed spectra (notes, bins), by convolutions along pitch alone.

    The last layer is a convolution as long as the axis: a matrix whose diagonals are constant.
    """

    def __init__(self, channels: int = 16, kernel: int = 15) -> None:
        super().__init__()
        # without biases, silence stays silence and no layer knows where the axis ends
        same = {"kernel_size": kernel, "padding": kernel // 2, "bias": False}
        self.layers = nn.Sequential(
            nn.Conv1d(1, channels, **same),
            nn.LeakyReLU(0.3),
            nn.Conv1d(channels, channels, **same),
            nn.LeakyReLU(0.3),
            nn.Conv1d(channels, 1, 1, bias=False),
            nn.Conv1d(1, 1, 2 * N_BINS - 1, padding=N_BINS - 1, bias=False),
        )

    def forward(self, spectra: Tensor) -> Tensor:
        """Map (notes, bins) to logits (notes, bins)."""
        return self.layers(spectra[:, None])[:, 0]


def compressed(spectra: Tensor) -> Tensor:
    """Return log magnitudes from 0 (60 dB below the largest, or less) to 1."""
    return 1 + torch.log10(spectra.clamp(min=1e-3)) / 3


def moved(x: Tensor, bins: Tensor) -> Tensor:
    """Return rows (notes, bins) moved up by a number of bins each; 0 comes in."""
    place = torch.arange(x.shape[1]) - bins[:, None]
    inside = (place >= 0) & (place < x.shape[1])
    return torch.where(inside, x.gather(1, place.clamp(0, x.shape[1] - 1)), 0.0)


def loss_of(network: PitchNet, spectra: Tensor, generator: torch.Generator) -> Tensor:
    """Return how far what is said of transposed notes is from what was said, moved along.

    The cross-entropy of two transpositions of each note, one of them moved to the other, in both
    directions. What is moved off the axis costs :data:`LOST`. Each has another tilt and level of
    its spectrum, which do not move the pitch.
    """
    n = len(spectra)
    views, by = [], []
    for _ in range(2):
        by.append(torch.randint(-FURTHEST, FURTHEST + 1, (n,), generator=generator))
        tilt, level, noise = (torch.randn((n, 1), generator=generator) for _ in range(3))
        octave = torch.linspace(-4, 4, N_BINS)
        x = moved(compressed(spectra), by[-1])
        x = x + (0.03 * tilt * octave + 0.05 * level) * (x > 0)
        views.append(x + 0.03 * noise.abs() * torch.rand(x.shape, generator=generator))
    said = [network(view) for view in views]
    total = torch.zeros(())
    for one, other in ((0, 1), (1, 0)):
        target = moved(said[other].softmax(dim=1), by[one] - by[other])
        total = total - (target * said[one].log_softmax(dim=1)).sum(dim=1).mean() / 2
        total = total + LOST * (1 - target.sum(dim=1)).mean() / 2
    return total


def train(
    variant: str,
    data: Mapping[str, tuple[NDArray, NDArray]],
    *,
    seed: int = 0,
    epochs: int = EPOCHS,
    progress: bool = False,
) -> PitchNet | None:
    """Return a network trained on the spectra of the training side; nobody looks at the pitches.

    ``variant`` is ``"from transposition"``, ``"untrained"``, or ``"loudest bin"`` (no network).
    """
    if variant == "loudest bin":
        return None
    torch.manual_seed(seed)
    network = PitchNet()
    if variant == "untrained":
        return network.eval()
    generator = torch.Generator().manual_seed(seed)
    spectra = torch.from_numpy(data["train"][0])
    minimise(
        network,
        lambda rows: loss_of(network, spectra[rows], generator),
        lambda: torch.randperm(len(spectra), generator=generator).split(BATCH),
        torch.optim.Adam(network.parameters(), lr=LEARNING_RATE),
        epochs=epochs,
        name="pitch",
        progress=progress,
    )
    return network


@torch.no_grad()
def pitches(network: PitchNet | None, spectra: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the pitch of notes in MIDI numbers, (notes,), calibrated by one tone."""

    def bins(rows: NDArray[np.float32]) -> NDArray[np.float64]:
        x = torch.from_numpy(rows)
        x = x if network is None else network(compressed(x)).softmax(dim=1)
        top = x.argmax(dim=1, keepdim=True).clamp(1, N_BINS - 2)
        around = x.gather(1, top + torch.tensor([[-1, 0, 1]])).double()
        shift = (around[:, 2] - around[:, 0]) / around.sum(dim=1).clamp(min=1e-12)
        return (top[:, 0] + shift).numpy()

    known = bins(spectrum(tone(REFERENCE))[None])[0]
    return REFERENCE + (bins(spectra) - known) / CQT.bins_per_semitone


def score(
    network: PitchNet | None, variant: str, data: Mapping[str, tuple[NDArray, NDArray]]
) -> dict[str, float]:
    """Return the share of test notes within half a semitone, and so but for octaves."""
    spectra, true = data["test"]
    off = pitches(network, spectra) - true
    folded = np.abs((off + 6) % 12 - 6)
    return {
        "accuracy": float(np.mean(np.abs(off) < 0.5)),
        "chroma_accuracy": float(np.mean(folded < 0.5)),
        "median_cents": float(100 * np.median(np.abs(off))),
    }
