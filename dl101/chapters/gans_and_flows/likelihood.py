"""What a sample costs in bits: noise, linear prediction, and normalising flows.

Conventions: sounds are rounded to 12 bits and get uniform noise of one step (*dequantised*), so
that no density can grow without end on numbers that repeat. All models see these same sounds. Bits
are means over samples of held-out notes.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from dl101.nn.normalizing_flow import SoundFlow, bits_per_sample
from dl101.signal.mel import mel_filters
from dl101.signal.stft import stft
from dl101.systems.sound_gan_data import N_SAMPLES, RATE

N_BITS = 12
STEP = 2.0 ** (1 - N_BITS)
ORDER = 64  # samples that a linear prediction looks back
GROUP, PIECE = 8, 512  # samples that are squeezed; samples of a piece in training
N_BANDS = 20


def dequantised(audio: ArrayLike, *, seed: int = 0) -> NDArray[np.float32]:
    """Return sounds rounded to 12 bits, with uniform noise of one step."""
    audio = np.asarray(audio)
    noise = np.random.default_rng([seed, 12]).random(audio.shape) - 0.5
    return ((np.round(audio / STEP) + noise) * STEP).astype(np.float32)


def mel_of(audio: NDArray[np.float32]) -> Tensor:
    """Return log-mel spectrograms, (note, band, samples // 8), as dense as the squeezed sounds."""
    filters = mel_filters(RATE, n_bands=N_BANDS, window_samples=256)
    power = [
        filters @ np.abs(stft(sound, window_samples=256, hop_samples=GROUP)) ** 2 for sound in audio
    ]
    log = np.log10(np.stack(power)[..., : N_SAMPLES // GROUP] + 1e-6)
    return torch.from_numpy(log).float()


# ---- baselines -----------------------------------------------------------------------------------


def gaussian_bits(errors: ArrayLike, variance: ArrayLike) -> float:
    """Return the bits of independent errors under a Gaussian of mean 0."""
    nats = 0.5 * (np.log(2 * np.pi * variance) + np.square(errors) / variance)
    return float(N_BITS - 1 + np.mean(nats) / np.log(2))


def past_of(audio: NDArray, order: int) -> NDArray:
    """Return the samples before each sample, (..., samples, order), the oldest first."""
    padded = np.pad(audio, [(0, 0)] * (audio.ndim - 1) + [(order, 0)])
    return sliding_window_view(padded, order, axis=-1)[..., :-1, :]


def predictor(audio: NDArray, order: int = ORDER) -> NDArray[np.float64]:
    """Return the coefficients, (order,), that predict samples with the least squared error."""
    past = past_of(audio, order).reshape(-1, order)
    products = past.T @ past.astype(np.float32)
    return np.linalg.solve(products + 1e-5 * np.eye(order), past.T @ audio.reshape(-1))


def white_bits(train: NDArray[np.float32], test: NDArray[np.float32]) -> float:
    """Return the bits of a test sample if all are independent, with the training notes' level."""
    return gaussian_bits(test, np.mean(train**2))


def linear_bits(train: NDArray[np.float32], test: NDArray[np.float32]) -> float:
    """Return the bits with one linear prediction for all notes, and Gaussian errors."""
    coefficients = predictor(train)
    errors, found = (x - past_of(x, ORDER) @ coefficients for x in (train, test))
    return gaussian_bits(found, np.mean(errors**2))


def own_linear_bits(train: NDArray[np.float32], test: NDArray[np.float32]) -> float:
    """Return the bits with a prediction and a level fitted to each test note itself.

    Nobody could know these before hearing the note; what telling them would cost is not counted.
    """
    rests = [note - past_of(note, ORDER) @ predictor(note) for note in test]
    return float(np.mean([gaussian_bits(rest, np.mean(rest**2)) for rest in rests]))


# ---- flows ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class FlowTraining:
    """Sizes of a flow, and how it is trained; ``told`` the mel spectrogram, or not."""

    told: bool = False
    n_steps: int = 120
    batch_size: int = 16
    learning_rate: float = 3e-3
    couplings: int = 6
    hidden: int = 32
    n_layers: int = 4


@dataclass
class TrainedFlow:
    """A flow, the bits of each batch on the way, and seconds of the processor."""

    network: SoundFlow
    bits: list[float] = field(default_factory=list)
    seconds: float = 0.0


def train_flow(
    settings: FlowTraining, audio: Tensor, mel: Tensor | None = None, *, seed: int = 0
) -> TrainedFlow:
    """Train a flow on random pieces of sounds, (note, samples)."""
    torch.manual_seed(seed)
    network = SoundFlow(
        group=GROUP,
        n_steps=settings.couplings,
        hidden=settings.hidden,
        n_layers=settings.n_layers,
        n_conditions=N_BANDS if settings.told else 0,
    )
    trained = TrainedFlow(network)
    optimiser = torch.optim.Adam(network.parameters(), lr=settings.learning_rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, settings.learning_rate, total_steps=settings.n_steps, pct_start=0.1
    )
    start = time.process_time()
    for _ in range(settings.n_steps):
        rows = torch.randint(len(audio), (settings.batch_size,))
        first = int(torch.randint((N_SAMPLES - PIECE) // GROUP + 1, ()))
        frames = slice(first, first + PIECE // GROUP)
        piece = audio[rows, first * GROUP : first * GROUP + PIECE]
        given = mel[rows][..., frames] if settings.told else None
        bits = bits_per_sample(network.log_likelihood(piece, given), PIECE, N_BITS).mean()
        optimiser.zero_grad()
        bits.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimiser.step()
        schedule.step()
        trained.bits.append(float(bits.detach()))
    trained.seconds = time.process_time() - start
    return trained


@torch.no_grad()
def bits_of(network: SoundFlow, audio: Tensor, mel: Tensor | None = None) -> NDArray[np.float64]:
    """Return the bits of a sample of each sound, (note,)."""
    parts = zip(audio.split(64), (mel if mel is not None else audio).split(64), strict=True)
    found = [
        bits_per_sample(
            network.log_likelihood(x, given if mel is not None else None), x.shape[-1], N_BITS
        )
        for x, given in parts
    ]
    return torch.cat(found).double().numpy()


@torch.no_grad()
def drawn(
    network: SoundFlow, mel: Tensor | None = None, *, n: int = 1, level: float = 0.7, seed: int = 0
) -> NDArray[np.float32]:
    """Return sounds, (note, samples), of noise with a deviation of ``level``, in one pass."""
    n = n if mel is None else len(mel)
    noise = torch.randn(n, N_SAMPLES, generator=torch.Generator().manual_seed(seed))
    return network.inverse(level * noise, mel).numpy()
