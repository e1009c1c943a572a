"""MelGAN in the small: from a mel spectrogram to samples, by one loss or another.

Conventions: mel spectrograms are (note, 20 bands, 64 frames), one frame for 32 samples at 4,000 Hz.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dl101.chapters.gans_and_flows.likelihood import N_BANDS, mel_of
from dl101.nn import losses
from dl101.nn.discriminators import Discriminators, ScaleDiscriminator
from dl101.nn.singing_vocoder import ConvGenerator, GeneratorConfig

HOP = 32
SIZES = GeneratorConfig(strides=(8, 4), channels=(48, 24, 12), kernels=(3,), dilations=(1, 3, 9))
DIVISORS = (1, 2, 4)  # MelGAN's three scales
WAYS = {  # weights of the adversarial loss, of feature matching, of the spectra's distance
    "rivals alone": (1.0, 0.0, 0.0),
    "rivals and features": (1.0, 10.0, 0.0),  # MelGAN
    "spectra alone": (0.0, 0.0, 1.0),
    "all three": (1.0, 2.0, 10.0),  # as in HiFi-GAN, which has other spectra
}


def frames_of(audio: NDArray[np.float32]) -> Tensor:
    """Return the mel spectrograms of sounds, one frame for 32 samples."""
    return mel_of(audio)[..., :: HOP // 8]


@dataclass
class TrainedVocoder:
    """A generator, its losses on the way, and seconds of the processor."""

    network: nn.Module
    losses: dict[str, list[float]] = field(default_factory=dict)
    seconds: float = 0.0

    @torch.no_grad()
    def __call__(self, mel: Tensor) -> NDArray[np.float32]:
        """Return the sounds of mel spectrograms."""
        return self.network(mel).numpy()


def train_vocoder(
    way: str, audio: Tensor, mel: Tensor, *, seed: int = 0, n_steps: int = 50, batch_size: int = 8
) -> TrainedVocoder:
    """Train a generator on sounds (note, samples) and their mel spectrograms."""
    torch.manual_seed(seed)
    rivals, features, spectra = WAYS[way]
    maker = ConvGenerator(N_BANDS, SIZES)
    judge = Discriminators(ScaleDiscriminator(d, channels=4) for d in DIVISORS)
    distance = losses.MultiResolutionSTFT((512, 256, 128, 64))
    trained = TrainedVocoder(maker, {"rivals": [], "features": [], "spectra": []})
    makes, judges = (
        torch.optim.Adam(net.parameters(), lr=2e-3, betas=(0.5, 0.9)) for net in (maker, judge)
    )
    start = time.process_time()
    for _ in range(n_steps):
        rows = torch.randint(len(audio), (batch_size,))
        real, made = audio[rows], maker(mel[rows])
        zero = made.new_zeros(())
        of_scores = of_features = zero
        if rivals:
            loss = losses.hinge_discriminator(judge(real)[0], judge(made.detach())[0])
            judges.zero_grad()
            loss.backward()
            judges.step()
            (scores, inside), (_, wanted) = judge(made), judge(real)
            of_scores = losses.hinge_generator(scores)
            of_features = losses.feature_matching(wanted, inside)
        of_spectra = distance(made, real)
        makes.zero_grad()
        (rivals * of_scores + features * of_features + spectra * of_spectra).backward()
        makes.step()
        for name, value in (
            ("rivals", of_scores),
            ("features", of_features),
            ("spectra", of_spectra),
        ):
            trained.losses[name].append(float(value.detach()))
    trained.seconds = time.process_time() - start
    return trained
