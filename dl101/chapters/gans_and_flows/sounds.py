"""Half a second of notes, pictures of them, and the trainings of this chapter.

Conventions: a sound is (2048,) samples at 4,000 Hz, a note of the corpus ``notes`` from C3 to B4; a
picture is (channel, 128 bins, 32 frames): the logarithm of the magnitude, from -1 (80 dB below the
loudest) to 1, and the instantaneous frequency in half turns a frame.
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

from dl101.data.audiofile import resample
from dl101.data.sounds import at_level
from dl101.nn import losses, sound_gan
from dl101.signal.rainbow import instantaneous_frequency, phase_of
from dl101.signal.stft import griffin_lim, istft, stft
from dl101.training.comparison import load_sides
from dl101.units import hz_to_midi, midi_to_hz

RATE, N_SAMPLES = 4_000, 2_048
LOWEST, N_PITCHES = 48, 24  # C3 to B4
CLEAR = 0.85  # correlation of a sound with itself, one period later
WINDOW, HOP = 256, 64
SHAPE = (WINDOW // 2, N_SAMPLES // HOP)  # of a picture: bins, frames
PENALTY, KEEP = 10.0, 0.99  # of the gradient penalty; of the mean weights, at every step
RANGE_DB, LOUDEST = 80.0, 40.0  # magnitudes of a picture, the loudest as |X|


@dataclass(frozen=True, eq=False)
class Notes:
    """Notes of one side: ``audio`` (note, samples), ``pitches_midi`` and ``families`` (note,)."""

    audio: NDArray[np.float32]
    pitches_midi: NDArray[np.int64]
    families: NDArray[np.str_]

    def __len__(self) -> int:
        return len(self.audio)

    def __getitem__(self, rows: slice) -> Notes:
        return Notes(self.audio[rows], self.pitches_midi[rows], self.families[rows])


def load(*, seed: int = 0, n_tracks: int = 2160, progress: bool = True) -> dict[str, Notes]:
    """Return the notes of each side that are in the range of pitches."""

    def items(entry, read):  # noqa: ANN001, ANN202
        pitch = int(np.ravel(entry.first("pitchmidi"))[0])
        if not LOWEST <= pitch < LOWEST + N_PITCHES:
            return []
        samples, rate = read(duration_s=0.6)
        sound = at_level(resample(samples, rate, RATE)[:N_SAMPLES])
        return [(sound, pitch, entry.first("family"))]

    sides = load_sides("notes", items, n_tracks=n_tracks, seed=seed, progress=progress)
    return {
        side: Notes(np.stack(audio), np.array(pitch), np.array(family))
        for side, rows in sides.items()
        for audio, pitch, family in [zip(*rows, strict=True)]
    }


def clear_pitch(sound: ArrayLike) -> float:
    """Return the pitch of a sound as a MIDI number, or NaN where it has none or out of range.

    Of a quarter of a second after the attack: the first lag at which the sound, at four times the
    rate, is nearly as much like itself as at any lag.
    """
    fine = resample(np.asarray(sound, dtype=np.float32)[256:1280], RATE, 4 * RATE).astype(float)
    low, high = (4 * RATE / midi_to_hz(LOWEST + p) for p in (N_PITCHES - 0.5, -0.5))
    lags = np.arange(int(low) - 2, int(high) + 3)
    alike = []
    for lag in lags:
        a, b = fine[:-lag], fine[lag:]
        alike.append(a @ b / np.sqrt(max((a @ a) * (b @ b), 1e-12)))
    alike = np.array(alike)
    peaks = np.flatnonzero((alike[1:-1] > alike[:-2]) & (alike[1:-1] >= alike[2:])) + 1
    peaks = [p for p in peaks if alike[p] > max(CLEAR, 0.97 * alike.max())]
    if not peaks:
        return float("nan")
    left, top, right = alike[peaks[0] - 1 : peaks[0] + 2]
    lag = lags[peaks[0]] + 0.5 * (left - right) / (left - 2 * top + right)
    return float(hz_to_midi(4 * RATE / lag))


# ---- pictures ------------------------------------------------------------------------------------


def picture(sound: ArrayLike) -> NDArray[np.float32]:
    """Return the picture of a sound, (2, bin, frame): log magnitude, instantaneous frequency."""
    spectrum = stft(np.asarray(sound), window_samples=WINDOW, hop_samples=HOP)
    spectrum = spectrum[: SHAPE[0], : SHAPE[1]]
    db = 20 * np.log10(np.maximum(np.abs(spectrum), 1e-9) / LOUDEST)
    loud = np.clip(1 + 2 * db / RANGE_DB, -1, 1)
    return np.stack([loud, instantaneous_frequency(np.angle(spectrum))]).astype(np.float32)


def magnitude_of(loud: ArrayLike) -> NDArray[np.float64]:
    """Return magnitudes (129 bins, 33 frames) of the first channel; the floor is silence."""
    loud = np.asarray(loud, dtype=np.float64)
    magnitude = LOUDEST * 10 ** ((loud - 1) * RANGE_DB / 40) * (loud > -0.999)
    return np.pad(magnitude, ((0, 1), (0, 1)))  # the bin at half the rate, the frame at the end


def from_picture(made: ArrayLike) -> NDArray[np.float32]:
    """Return the sound of a picture, (2, bin, frame), whose second channel has the phases."""
    phase = np.pad(phase_of(made[1]), ((0, 1), (0, 1)))
    spectrum = magnitude_of(made[0]) * np.exp(1j * phase)
    return istft(spectrum, hop_samples=HOP, n_samples=N_SAMPLES).astype(np.float32)


def by_griffin_lim(
    made: ArrayLike, *, n_iterations: int = 60, seed: int = 0
) -> NDArray[np.float32]:
    """Return a sound with the magnitudes of a picture, (channel, bin, frame), phases guessed."""
    found = griffin_lim(
        magnitude_of(made[0]), hop_samples=HOP, n_samples=N_SAMPLES, n_iterations=n_iterations,
        seed=seed,
    )  # fmt: skip
    return found.audio.astype(np.float32)


# ---- adversarial training ------------------------------------------------------------------------


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
    pictures = np.stack([picture(sound) for sound in notes.audio])
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
    return np.stack([from_picture(each) for each in made])
