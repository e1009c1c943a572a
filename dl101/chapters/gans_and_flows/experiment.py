"""What the chapter on adversarial networks and flows for sound compares over seeds.

Sounds are those of :mod:`dl101.systems.sound_gan_data`. The corpus is that of seed 0 in
every run; a run's seed draws the weights, the order of training and the noise. Notes that are asked
for are one half of the corpus' validation side (the instruments of the training side in other
bodies), those that are compared with the other half: as many.

``seconds`` are of the processor, in training; those of networks that ship are their recorded times.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from dl101.chapters.gans_and_flows import likelihood, vocoder
from dl101.chapters.gans_and_flows import sounds as short
from dl101.chapters.gans_and_flows.likelihood import FlowTraining
from dl101.chapters.gans_and_flows.sounds import Rivals
from dl101.data.audiofile import resample
from dl101.nn.sound_gan import WaveCritic
from dl101.systems import autoregressive, flow, sound_gan
from dl101.systems import sound_gan_data as notes
from dl101.systems.flow_data import FAMILIES
from dl101.systems.sound_gan_data import N_SAMPLES, RATE, Notes
from dl101.training import shipped
from dl101.training.comparison import Comparison, Measurement

CORPUS, N_TRACKS = "notes", 2160
N_TOLD = 60  # held-out notes that vocoders are given
SHORT = 400  # training notes for what needs mel spectrograms


@dataclass(frozen=True, eq=False)
class Data:
    """Notes by side, and the judge of the two halves of the validation side."""

    sides: Mapping[str, Notes]
    judge: sound_gan.Judge

    def __len__(self) -> int:
        return len(self.asked)

    @property
    def asked(self) -> Notes:
        """The notes that are asked for."""
        return self.judge.asked

    def scores(self, sounds: NDArray[np.float32]) -> dict[str, float]:
        """Return what is measured of sounds, one for each note that is asked for."""
        return self.judge(sounds).mean


@lru_cache(maxsize=1)
def _data(n_tracks: int) -> Data:
    sides = notes.load(n_tracks=n_tracks, progress=False)
    return Data(sides, sound_gan.judge_of(sides["validation"]))


def load(*, seed: int = 0, n_tracks: int = N_TRACKS, progress: bool = True) -> Data:
    """Return the notes, of the same corpus for any seed."""
    return _data(n_tracks)


# ---- sounds of no learned generator --------------------------------------------------------------


def baselines(seed: int) -> dict[str, Callable[[Data], Mapping[str, float]]]:
    """Return scores that bound the others: of real notes, and of sounds without a network."""

    def through_pictures(data: Data) -> Mapping[str, float]:
        return data.scores(
            np.stack([notes.by_griffin_lim(notes.picture(x)) for x in data.asked.audio])
        )

    return {
        "real": lambda data: data.scores(data.asked.audio),
        "real, Griffin-Lim": through_pictures,
        "white noise": lambda data: data.scores(sound_gan.white_noise(len(data), seed=seed)),
        "Gaussian": lambda data: data.scores(
            sound_gan.gaussian_pictures(data.sides["train"], len(data), seed=seed)
        ),
    }


# ---- adversarial networks ------------------------------------------------------------------------

GANS: dict[str, Rivals] = {
    "SpecGAN": Rivals("magnitude", n_steps=150),
    "GANSynth": Rivals("frequency", told=True, n_steps=450, batch_size=8),
    "collapsed": Rivals("magnitude", n_steps=60, generator_rate=2e-3, critic_rate=4e-5),
    "WaveGAN": Rivals("waveform", n_steps=150, generator_rate=5e-4),
}


def train_gan(rivals: Rivals, data: Data, *, seed: int) -> short.Trained:
    """Return a trained generator."""
    train = data.sides["train"]
    pitches = torch.from_numpy(notes.numbers_of(train))
    return short.train(rivals, short.examples_of(train, rivals.kind), pitches, seed=seed)


def score_gan(trained: short.Trained, rivals: Rivals, data: Data) -> dict[str, float]:
    """Return the scores of a sound for each note that is asked for."""
    start = time.process_time()
    sounds = short.sounds_of(trained.network, rivals, notes.numbers_of(data.asked))
    spent = time.process_time() - start
    times = {"seconds": trained.seconds, "seconds_sound": spent / len(sounds)}
    return data.scores(sounds) | times


# ---- networks that ship --------------------------------------------------------------------------


SHIPPED = {
    "autoregressive": "autoregressive",
    "latent flow": "flow",
    "GANSynth, long": "sound_gan",
}


def shipped_sounds(name: str, asked: Notes, *, seed: int) -> NDArray[np.float32]:
    """Return what a network that ships makes of the notes that are asked for, at 4,000 Hz."""
    system = shipped.load(name).system
    if name == "sound_gan":
        return sound_gan.predict(system, notes.numbers_of(asked), seed=seed)
    pitches, families = asked.pitches_midi.astype(float), list(map(str, asked.families))
    module = {"autoregressive": autoregressive, "flow": flow}[name]
    if name == "flow":
        ranges = [system.pitch_ranges[FAMILIES.index(family)].numpy() for family in families]
        pitches = np.array([np.clip(p, *r) for p, r in zip(pitches, ranges, strict=True)])
    made = module.generate(system, pitches_midi=list(pitches), families=families, seed=seed)
    return np.stack([resample(x, system.sample_rate, RATE)[:N_SAMPLES] for x in made])


def score_shipped(network: nn.Module, name: str, data: Data, *, seed: int) -> dict[str, float]:
    """Return the scores of a network that ships."""
    start = time.process_time()
    sounds = shipped_sounds(name, data.asked, seed=seed)
    spent = (time.process_time() - start) / len(sounds)
    record = shipped.load(name).record
    return data.scores(sounds) | {"seconds": record["wall_time_s"], "seconds_sound": spent}


# ---- phase shuffle -------------------------------------------------------------------------------

SHUFFLES = {f"shuffle {radius}": radius for radius in (0, 1, 2)}
PERIOD = 16  # samples, of the tone that betrays what was made: the rate of a layer, 250 Hz
LEVEL = 0.25  # of the tone, re the loudest sample of a note


def marked(audio: torch.Tensor, made: bool, draw: torch.Generator) -> torch.Tensor:
    """Return notes with a soft tone: in made ones it always begins alike, in real ones anywhere."""
    phase = 2 * np.pi * torch.rand(len(audio), 1, generator=draw)
    phase = torch.zeros_like(phase) if made else phase
    angle = 2 * np.pi / PERIOD * torch.arange(audio.shape[1])
    return audio + LEVEL * torch.sin(angle + phase)


def train_on_phase(radius: int, data: Data, *, seed: int, n_steps: int = 60) -> nn.Module:
    """Return a critic that learned to tell marks by their phase, the only difference there is."""
    torch.manual_seed(seed)
    draw = torch.Generator().manual_seed(seed)
    audio = short.examples_of(data.sides["train"], "waveform")
    critic = WaveCritic(N_SAMPLES, 8, shuffle=radius)
    optimiser = torch.optim.Adam(critic.parameters(), lr=2e-3)
    for _ in range(n_steps):
        rows = torch.randint(len(audio), (2, 16), generator=draw)
        batch = [marked(audio[rows[i]], bool(i), draw) for i in (0, 1)]
        loss = sum(
            nn.functional.softplus(sign * critic(x)[0]).mean()
            for sign, x in zip((-1, 1), batch, strict=True)
        )
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return critic


@torch.no_grad()
def score_phase(critic: nn.Module, radius: int, data: Data) -> dict[str, float]:
    """Return how often the critic tells, of a real and a made note, which is which."""
    draw = torch.Generator().manual_seed(99)
    audio = short.examples_of(data.asked, "waveform")
    real, made = (critic(marked(audio, each, draw))[0] for each in (False, True))
    return {"told apart": float((real[:, None] > made).float().mean())}


# ---- likelihood ----------------------------------------------------------------------------------

FLOWS = {"flow": FlowTraining(), "flow, given mel": FlowTraining(told=True)}


PREDICTIONS = {
    "white": likelihood.white_bits,
    "linear": likelihood.linear_bits,
    "own linear": likelihood.own_linear_bits,
}


def _bits(name: str, data: Data) -> dict[str, float]:
    return {"bits": PREDICTIONS[name](*_dequantised(data))}


def _dequantised(data: Data) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    sides = data.sides
    return tuple(
        likelihood.dequantised(each.audio, seed=number)
        for number, each in enumerate((sides["train"], sides["validation"]))
    )


def train_flow(settings: FlowTraining, data: Data, *, seed: int) -> likelihood.TrainedFlow:
    """Return a trained flow."""
    train = _dequantised(data)[0]
    train = train[:SHORT] if settings.told else train
    mel = likelihood.mel_of(train) if settings.told else None
    return likelihood.train_flow(settings, torch.from_numpy(train), mel, seed=seed)


def score_flow(
    trained: likelihood.TrainedFlow, settings: FlowTraining, data: Data
) -> dict[str, float]:
    """Return bits of held-out notes, and how exactly they come back."""
    test = _dequantised(data)[1]
    audio, network = torch.from_numpy(test), trained.network
    mel = likelihood.mel_of(test) if settings.told else None
    with torch.no_grad():
        part = mel[:20] if settings.told else None
        back = network.inverse(network(audio[:20], part)[0], part)
    scores = {
        "bits": float(likelihood.bits_of(network, audio, mel).mean()),
        "error": float((back - audio[:20]).abs().max()),
        "seconds": trained.seconds,
    }
    start = time.process_time()
    made = likelihood.drawn(network, mel[:N_TOLD] if settings.told else None, n=N_TOLD)
    scores["seconds_sound"] = (time.process_time() - start) / N_TOLD
    if settings.told:
        scores["mel_error"] = mel_error(made, test[:N_TOLD])
    return scores


def mel_error(made: NDArray[np.float32], real: NDArray[np.float32]) -> float:
    """Return the mean absolute difference of log-mel spectrograms, in dB."""
    found, wanted = (vocoder.frames_of(x) for x in (made, real))
    return float(10 * (found - wanted).abs().mean())


# ---- vocoders ------------------------------------------------------------------------------------


def train_vocoder(way: str, data: Data, *, seed: int) -> vocoder.TrainedVocoder:
    """Return a vocoder that was trained by some losses."""
    audio = data.sides["train"].audio[:SHORT]
    return vocoder.train_vocoder(way, torch.from_numpy(audio), vocoder.frames_of(audio), seed=seed)


def score_vocoder(trained: vocoder.TrainedVocoder, way: str, data: Data) -> dict[str, float]:
    """Return what is measured of held-out notes that were made again."""
    real = data.asked.audio
    made = trained(vocoder.frames_of(real))
    return data.scores(made) | {
        "mel_error": mel_error(made, real),
        "seconds": trained.seconds,
    }


# ---- all -----------------------------------------------------------------------------------------


def comparisons(seed: int) -> Iterator[Comparison]:
    """Yield the comparisons of a seed."""
    common = {"corpus": CORPUS, "n_tracks": N_TRACKS, "load": load, "n_items": len}
    yield Comparison(
        **common,
        baselines=baselines(seed),
        variants=SHIPPED,
        train=lambda name, data, *, seed: shipped.load(name).system,
        score=partial(score_shipped, seed=seed),
        describe=lambda name: {"network": name},
    )
    yield Comparison(
        **common,
        variants=SHUFFLES,
        train=train_on_phase,
        score=score_phase,
        describe=lambda radius: {"radius": radius, "period": PERIOD, "level": LEVEL},
    )
    yield Comparison(
        **common,
        baselines={name: partial(_bits, name) for name in PREDICTIONS},
        variants=FLOWS,
        train=train_flow,
        score=score_flow,
    )
    yield Comparison(
        **common,
        variants={way: way for way in vocoder.WAYS},
        train=train_vocoder,
        score=score_vocoder,
        describe=lambda way: {"weights": vocoder.WAYS[way]},
    )
    yield Comparison(
        **common,
        variants=GANS,
        train=train_gan,
        score=score_gan,
    )


def run(
    seed: int, n_tracks: int | None = None, *, done: Collection[str] = ()
) -> Iterator[Measurement]:
    """Score all that is compared, with a seed."""
    for comparison in comparisons(seed):
        yield from comparison.run(seed, n_tracks, done=done)
