"""The short trainings of this chapter: WaveGAN, SpecGAN and GANSynth in seconds.

Sounds and pictures are those of :mod:`dl101.systems.sound_gan_data`.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from dl101.nn import losses, sound_gan
from dl101.systems import sound_gan_data
from dl101.systems.sound_gan_data import (
    N_PITCHES,
    N_SAMPLES,
    SHAPE,
    Notes,
    by_griffin_lim,
    pictures_of,
)

PENALTY, KEEP = 10.0, 0.99  # of the gradient penalty; of the mean weights, at every step


@dataclass(frozen=True)
class Rivals:
    """How a generator and its critic are trained.

    Attributes
    ----------
    kind
        ``"waveform"``: WaveGAN; ``"magnitude"``: SpecGAN, pictures of one channel, by Griffin-Lim;
        ``"frequency"``: GANSynth, pictures of two.
    loss
        ``"wasserstein"`` with a gradient penalty, or ``"hinge"`` without one.
    told
        Whether one asks for a pitch, which the critic then names, too.
    shuffle
        Radius of WaveGAN's phase shuffle.
    n_critic
        Steps of the critic for one of the generator.
    n_steps, batch_size
        Of the generator.
    generator_rate, critic_rate
        Learning rates.
    channels
        Width of both networks.
    """

    kind: str = "waveform"
    loss: str = "hinge"
    told: bool = False
    shuffle: int = 2
    n_critic: int = 1
    n_steps: int = 250
    batch_size: int = 16
    generator_rate: float = 1e-3
    critic_rate: float = 1e-3
    channels: int = 16


@dataclass
class Trained:
    """A generator: ``network`` as its weights were on average, what both lost, and how long."""

    network: nn.Module
    rivals: Rivals
    critic: nn.Module
    losses: dict[str, list[float]] = field(default_factory=lambda: {"critic": [], "generator": []})
    seen: dict[int, nn.Module] = field(default_factory=dict)
    seconds: float = 0.0

    @torch.no_grad()
    def follow(self, maker: nn.Module, step: int) -> None:
        """Move the mean weights a little towards those of a step."""
        share = max(1 - KEEP, 10 / (step + 10))
        for mean, now in zip(self.network.parameters(), maker.parameters(), strict=True):
            mean.lerp_(now, share)


def networks(rivals: Rivals) -> tuple[nn.Module, nn.Module]:
    """Return an untrained generator and its critic."""
    n_pitches, width = N_PITCHES if rivals.told else 0, rivals.channels
    if rivals.kind == "waveform":
        return (
            sound_gan.WaveGenerator(channels=width),
            sound_gan.WaveCritic(N_SAMPLES, width, shuffle=rivals.shuffle),
        )
    shape = (1 if rivals.kind == "magnitude" else 2, *SHAPE)
    return (
        sound_gan.PictureGenerator(shape, channels=width, n_pitches=n_pitches),
        sound_gan.PictureCritic(shape, width, n_pitches),
    )


def examples_of(notes: Notes, kind: str) -> Tensor:
    """Return what a critic of a kind sees of notes."""
    if kind == "waveform":
        return torch.from_numpy(0.9 * notes.audio / np.abs(notes.audio).max(axis=1, keepdims=True))
    pictures = pictures_of(notes)
    return torch.from_numpy(pictures[:, :1] if kind == "magnitude" else pictures)


def train(
    rivals: Rivals, real: Tensor, pitches: Tensor, *, seed: int = 0, looks: Sequence[int] = ()
) -> Trained:
    """Train a generator against its critic.

    Parameters
    ----------
    real, pitches
        What the critic sees of notes, and the numbers of their pitches, (note,).
    seed
        Of the weights and of all that is drawn.
    looks
        Steps after which the generator is kept.
    """
    torch.manual_seed(seed)
    maker, critic = networks(rivals)
    made = Trained(copy.deepcopy(maker), rivals, critic)
    makes, judges = (
        torch.optim.Adam(network.parameters(), lr=rate, betas=(0.5, 0.9))
        for network, rate in (
            (maker, rivals.generator_rate),
            (critic, rivals.critic_rate),
        )
    )
    hinge, start = rivals.loss == "hinge", time.process_time()

    def drawn() -> tuple[Tensor, Tensor, Tensor]:
        rows = torch.randint(len(real), (rivals.batch_size,))
        return real[rows], pitches[rows], torch.randn(rivals.batch_size, maker.latent)

    for step in range(1, rivals.n_steps + 1):
        for _ in range(rivals.n_critic):
            x, asked, noise = drawn()
            with torch.autocast("cpu", torch.bfloat16):
                with torch.no_grad():
                    fake = maker(noise, asked).float()
                (of_real, named), (of_fake, _) = critic(x), critic(fake)
                of_real, of_fake = of_real.float(), of_fake.float()
                if hinge:
                    loss = of_critic = losses.hinge_discriminator([of_real], [of_fake])
                else:
                    of_critic = sound_gan.wasserstein_critic(of_real, of_fake)
                    penalty = sound_gan.gradient_penalty(critic, x, fake)
                    loss = of_critic + PENALTY * penalty
                if rivals.told:
                    loss = loss + F.cross_entropy(named.float(), asked)
            _step(judges, loss)
        _, asked, noise = drawn()
        with torch.autocast("cpu", torch.bfloat16):
            of_fake, named = critic(maker(noise, asked))
            of_fake = of_fake.float()
            loss = of_maker = (
                losses.hinge_generator([of_fake])
                if hinge
                else sound_gan.wasserstein_generator(of_fake)
            )
            if rivals.told:
                loss = loss + F.cross_entropy(named.float(), asked)
        _step(makes, loss)
        made.follow(maker, step)
        made.losses["critic"].append(float(of_critic.detach()))
        made.losses["generator"].append(float(of_maker.detach()))
        if step in looks:
            made.seen[step] = copy.deepcopy(made.network)
    made.seconds = time.process_time() - start
    return made


def _step(optimiser: torch.optim.Optimizer, loss: Tensor) -> None:
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()


@torch.no_grad()
def sounds_of(
    generator: nn.Module, rivals: Rivals, pitches: ArrayLike, *, seed: int = 0
) -> NDArray[np.float32]:
    """Return a sound for each pitch number, (note, samples); who is not told makes any."""
    draw = torch.Generator().manual_seed(seed)
    asked = torch.as_tensor(np.asarray(pitches))
    made = generator(torch.randn(len(asked), generator.latent, generator=draw), asked).numpy()
    if rivals.kind == "waveform":
        return made
    if rivals.kind == "magnitude":
        return np.stack([by_griffin_lim(each) for each in made])
    return sound_gan_data.sounds_of(made)
