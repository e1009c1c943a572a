"""Notes in one pass: a generator of pictures of sounds, trained for long against a critic.

After GANSynth (Engel and others, 2019): a picture is the logarithm of the magnitude and the
instantaneous frequency, one asks for a pitch, and the critic names the pitch beside its score. The
generator sees the lines on which the partials of the pitch lie. Losses are logistic, with the
penalty R1 of the critic's slope at recorded notes (Mescheder and others, 2018). The critic sees
the instantaneous frequency only where something is heard, and learns faster than the generator.

A generator goes on changing, and may become worse again. What is kept and shipped is ``network``,
the mean of its weights on the way, from the epoch in which its notes were nearest to those of the
validation side, by the Fréchet distance: the critic's losses don't say. The sides are those of a
generator, which learns instruments: the corpus' validation side (the instruments of the training
side in other bodies) is parted into ``test``, its first notes, and ``validation``, the rest.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import lightning as L
import numpy as np
import scipy.spatial.distance
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor
from torch.func import functional_call
from torch.nn import functional

from dl101 import config
from dl101.config import Count, NotNegative, Positive, Probability, Seed, Settings
from dl101.data.source import DataConfig
from dl101.evaluation import generation
from dl101.nn import sound_gan
from dl101.systems import sound_gan_data
from dl101.systems.sound_gan_data import (
    HOP,
    LOWEST,
    N_PITCHES,
    RATE,
    SHAPE,
    WINDOW,
    Notes,
    numbers_of,
    sounds_of,
)
from dl101.training import fit, protocol, shipped
from dl101.training.examples import Examples, ExamplesData
from dl101.training.fit import TrainingConfig
from dl101.training.protocol import Evaluation
from dl101.units import midi_to_hz

Sounds = NDArray[np.float32]


@dataclass(frozen=True)
class SoundGanConfig(Settings):
    """Everything a run depends on, except its seed.

    Attributes
    ----------
    data
        The notes, of an embedded corpus.
    n_test
        Notes of the corpus' validation side that are the test side: one half is asked for, the
        other half is what is compared.
    judge
        The network in whose embedding sets of notes are compared.
    latent, channels, critic_channels
        Sizes of generator and critic.
    momentum
        First beta of Adam; the second is 0.99.
    ahead
        Learning rate of the critic over that of the generator.
    penalty, penalty_every
        Weight of R1, and on which of the steps it is taken (then with so many times the weight).
    pitch_weight
        Of the cross-entropy of the pitches, for both players.
    keep
        Share of the mean weights that stays at each step, later on.
    """

    scale: Literal["lab", "full"] = "lab"
    data: DataConfig = field(default_factory=lambda: DataConfig(dataset="notes", n_tracks=2160))
    n_test: Count = 188
    judge: Annotated[str, shipped.Network()] = "notes_tagger"
    latent: Count = 32
    channels: Count = 16
    critic_channels: Count = 16
    momentum: Probability = 0.0
    ahead: Positive = 2.0
    penalty: NotNegative = 0.05
    penalty_every: Count = 8
    pitch_weight: NotNegative = 1.0
    keep: Probability = 0.999
    training: TrainingConfig = field(default_factory=TrainingConfig)

    @property
    def variant(self) -> str:
        """Return the name of the run in tables."""
        return "sound-gan"


Config = SoundGanConfig


def load_config(
    file: str | Path = "sound_gan", *, scale: str = "lab", settings: Sequence[str] = ()
) -> SoundGanConfig:
    """Read a configuration; see :func:`dl101.training.protocol.load_config`."""
    return protocol.load_config(SoundGanConfig, file, scale=scale, settings=settings)


def load_tracks(
    settings: SoundGanConfig, *, accept_restricted: bool = False, progress: bool = True
) -> dict[str, Notes]:
    """Return the notes of each side, which are those of a generator: see the top of this file."""
    data = settings.data
    options = {} if data.n_tracks is None else {"n_tracks": data.n_tracks}
    sides = sound_gan_data.load(data.dataset, seed=data.seed, progress=progress, **options)
    held_out, n = sides["validation"], settings.n_test
    return {"train": sides["train"], "validation": held_out[n:], "test": held_out[:n]}


# ---- networks and their training ----


class SoundGanSystem(fit.System):
    """The generator as it was on average; while it is trained, also ``maker`` and ``critic``."""

    shipped_dtype = torch.float16

    def __init__(self, settings: SoundGanConfig) -> None:
        super().__init__(settings.training)
        self.settings = settings
        lines = sound_gan.lines_of(
            midi_to_hz(LOWEST + np.arange(N_PITCHES)),
            SHAPE[0],
            sample_rate=RATE,
            window_samples=WINDOW,
            hop_samples=HOP,
        )
        sizes = {"latent": settings.latent, "channels": settings.channels}
        self.network = sound_gan.LineGenerator((2, *SHAPE), lines, **sizes)

    def forward(self, noise: Tensor, pitches: Tensor) -> Tensor:
        """Return pictures (batch, 2, bin, frame) of noise and of the numbers of pitches."""
        return self.network(noise, pitches)

    def configure_model(self) -> None:
        """Add what only training needs: the generator that learns, and its critic."""
        if "maker" not in dict(self.named_children()):
            self.maker = copy.deepcopy(self.network)
            self.critic = sound_gan.PictureCritic(
                (2, *SHAPE), self.settings.critic_channels, N_PITCHES, spread=True
            )
            self.network.requires_grad_(False)

    def on_fit_end(self) -> None:
        """Leave the mean generator alone."""
        del self.maker, self.critic
        self.network.requires_grad_(True)

    def load_state_dict(self, state_dict: Mapping[str, Tensor], *args: Any, **options: Any) -> Any:
        """Take the weights of the networks that are there, of a run or of a file that ships."""
        here = dict(self.named_children())
        kept = {name: x for name, x in state_dict.items() if name.partition(".")[0] in here}
        return super().load_state_dict(kept, *args, **options)

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Return both players, with a rate for each and a short memory: a rival changes, too."""
        betas, rate = (self.settings.momentum, 0.99), self.settings.training.learning_rate
        return [
            {"params": self.maker.parameters(), "betas": betas, "lr": rate},
            {"params": self.critic.parameters(), "betas": betas, "lr": self.settings.ahead * rate},
        ]

    def training_step(self, batch: Mapping[str, Tensor], batch_idx: int) -> Tensor:
        """Return the sum of what both players minimise; each sees the other held fixed."""
        given, pitches = self.settings, batch["label"]
        real = sound_gan.lit(batch["input"])
        noise = torch.randn(len(real), given.latent, device=real.device)
        made = sound_gan.lit(self.maker(noise, pitches).float())
        of_real, named = self.critic(real)
        caught = sound_gan.logistic_critic(of_real.float(), self.critic(made.detach())[0].float())
        known = functional.cross_entropy(named.float(), pitches)
        fixed = {name: p.detach() for name, p in self.critic.named_parameters()}
        of_made, named = functional_call(self.critic, fixed, (made,))
        cheated = sound_gan.logistic_generator(of_made.float())
        obeyed = functional.cross_entropy(named.float(), pitches)
        options = {"on_step": False, "on_epoch": True, "batch_size": len(real)}
        self.log("train_loss", cheated, prog_bar=True, sync_dist=True, **options)
        self.log("critic_loss", caught, **options)
        self.log("pitch_loss", obeyed, **options)
        loss = caught + cheated + given.pitch_weight * (known + obeyed)
        if given.penalty and self.global_step % given.penalty_every == 0:
            penalty = sound_gan.real_penalty(self.critic, real)
            loss = loss + 0.5 * given.penalty * given.penalty_every * penalty
        return loss

    @torch.no_grad()
    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Move the mean weights a little towards those of now."""
        share = max(1 - self.settings.keep, 10 / (self.global_step + 10))
        for mean, now in zip(self.network.parameters(), self.maker.parameters(), strict=True):
            mean.lerp_(now, share)

    # ---- the choice of weights ----

    def on_validation_epoch_start(self) -> None:
        """Forget what was made before."""
        if not hasattr(self, "judge"):
            # a list, so that the judge is no part of this system's weights
            self.judge = [shipped.load(self.settings.judge).system]
            self.real: dict[int, NDArray[np.float64]] = {}
        self.made: list[NDArray[np.float64]] = []

    def validation_step(self, batch: Mapping[str, Tensor], batch_idx: int) -> None:
        """Keep what the judge makes of recorded notes and of as many made ones."""
        draw = torch.Generator().manual_seed(batch_idx)
        noise = torch.randn(len(batch["label"]), self.settings.latent, generator=draw)
        made = self.network(noise.to(self.device), batch["label"])
        if batch_idx not in self.real:
            self.real[batch_idx] = self._embedded(batch["input"])
        self.made.append(self._embedded(made))

    def _embedded(self, pictures: Tensor) -> NDArray[np.float64]:
        return self.judge[0].embed_sounds(sounds_of(pictures.float().cpu().numpy()), RATE)

    def on_validation_epoch_end(self) -> None:
        """Log the Fréchet distance, by which the weights to keep are chosen."""
        real, made = np.concatenate(list(self.real.values())), np.concatenate(self.made)
        self.log("val_loss", generation.frechet_distance(real, made), prog_bar=True)


def build(settings: SoundGanConfig, *, seed: int = 0) -> SoundGanSystem:
    """Return an untrained system whose initial weights depend on ``seed`` alone."""
    L.seed_everything(config.checked(Seed, seed, "seed"), workers=True, verbose=False)
    return SoundGanSystem(settings)


def batches(
    settings: SoundGanConfig, tracks: Mapping[str, Notes], *, seed: int = 0
) -> ExamplesData:
    """Return batches of pictures and the numbers of their pitches, turned over or not."""
    rng = np.random.default_rng([seed, 1])

    def turned(pictures: NDArray, pitches: NDArray) -> tuple[NDArray, NDArray]:
        """Move the phases of a half of the pictures by half a turn, which nobody hears."""
        changed = pictures.copy()
        first = changed[:, 1, :, 0]
        over = rng.random((len(first), 1)) < 0.5
        changed[:, 1, :, 0] = np.where(over, np.where(first > 0, first - 1, first + 1), first)
        return changed, pitches

    return ExamplesData(
        {
            side: Examples(sound_gan_data.pictures_of(tracks[side]), numbers_of(tracks[side]))
            for side in ("train", "validation")
        },
        settings.training.batch_size,
        seed,
        change=turned,
    )


# ---- sounds and scores ----


@torch.no_grad()
def predict(system: SoundGanSystem, pitches: ArrayLike, *, seed: int = 0) -> Sounds:
    """Return a note (note, samples) for each number of a pitch, from 0; the seed draws noise."""
    system.eval()
    asked = torch.as_tensor(np.asarray(pitches), device=system.device)
    draw = torch.Generator().manual_seed(seed)
    noise = torch.randn(len(asked), system.settings.latent, generator=draw)
    return sounds_of(system(noise.to(system.device), asked).cpu().numpy())


@dataclass(frozen=True, eq=False)
class Judge:
    """Notes that are asked for, and the embedding of recorded ones that made ones are held to."""

    asked: Notes
    tagger: Any
    embedded: NDArray[np.float64]

    def __call__(self, sounds: Sounds) -> Evaluation:
        """Return the scores of sounds, one for each note that is asked for.

        By note: whether it has a clear pitch, and the one that was asked for. Overall: distances
        of the sets, the number of pitches, and how far made notes lie apart (``spread``, 1 for as
        far as recorded ones).
        """
        found = self.tagger.embed_sounds(list(sounds), RATE)
        kernel = generation.kernel_distance(self.embedded, found)
        heard = np.array([sound_gan_data.clear_pitch(sound) for sound in sounds])
        clear = np.isfinite(heard)
        near = np.abs(heard - self.asked.pitches_midi) < generation.NEAR_SEMITONES
        apart, usual = (scipy.spatial.distance.pdist(x).mean() for x in (found, self.embedded))
        k = min(5, len(self.embedded) - 1)
        overall = {
            "frechet": generation.frechet_distance(self.embedded, found),
            "kid": kernel.value,
            "kid_error": kernel.standard_error,
            "coverage": generation.density_coverage(self.embedded, found, k=k)[1],
            "n_pitches": len(set(np.round(heard[clear]))),
            "spread": float(apart / usual),
        }
        scores = {
            f"note {number}": {"pitch": float(right), "clear": float(has)}
            for number, (right, has) in enumerate(zip(near, clear, strict=True))
        }
        return Evaluation(scores, {}, overall)


def judge_of(held_out: Notes, network: str = "notes_tagger") -> Judge:
    """Return the judge of held-out notes: every second is asked for, the others are compared."""
    real, asked = (held_out[first : len(held_out) // 2 * 2 : 2] for first in (0, 1))
    tagger = shipped.load(network).system
    return Judge(asked, tagger, tagger.embed_sounds(list(real.audio), RATE))


def evaluate(system: SoundGanSystem, tracks: Mapping[str, Notes]) -> Evaluation:
    """Return the scores of a made note for each that is asked for on the test side."""
    judge = judge_of(tracks["test"], system.settings.judge)
    return judge(predict(system, numbers_of(judge.asked)))


def gaussian_pictures(train: Notes, n: int, *, seed: int = 0) -> Sounds:
    """Return sounds of magnitudes that a Gaussian draws, with phases by Griffin-Lim.

    The log magnitudes of all bins and frames have the mean and the covariance of the training
    notes: all that there is to know of them, but for the form of their distribution.
    """
    pictures = sound_gan_data.pictures_of(train)[:, :1]
    flat = pictures.reshape(len(pictures), -1)
    weights = np.random.default_rng([seed, 3]).standard_normal((n, len(flat)))
    drawn = flat.mean(0) + weights @ (flat - flat.mean(0)) / np.sqrt(len(flat) - 1)
    clipped = np.clip(drawn, -1, 1).reshape(n, *pictures.shape[1:])
    return np.stack([sound_gan_data.by_griffin_lim(each) for each in clipped])


def white_noise(n: int, *, seed: int = 0) -> Sounds:
    """Return white noise."""
    draw = np.random.default_rng([seed, 2]).standard_normal((n, sound_gan_data.N_SAMPLES))
    return (0.1 * draw).astype(np.float32)


def baselines(settings: SoundGanConfig, tracks: Mapping[str, Notes]) -> dict[str, Evaluation]:
    """Return the scores of recorded notes, of drawn pictures and of white noise."""
    judge = judge_of(tracks["test"], settings.judge)
    n = len(judge.asked)
    return {
        "real": judge(judge.asked.audio),
        "gaussian": judge(gaussian_pictures(tracks["train"], n)),
        "white noise": judge(white_noise(n)),
    }
