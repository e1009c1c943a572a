"""What the chapter on the early works compares over seeds: who foresees the next sample best.

Conventions: notes of the corpus ``notes`` between A2 and A4, 0.8 s from the onset at 8 kHz, as
mu-law codes. What a network is told of a note is a row of zeros with two ones: pitch and family.
Scores are bits per sample on the test side, whose instruments nobody has heard in training. With
seed 0 the networks also write a note for each of the test side; these are judged as in the chapter
on judging, beside what one gets without learning. Two networks are trained here, briefly; a third
one ships (:mod:`dl101.systems.wavenet`) and is only loaded: its seed is that of the notes alone.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dl101.chapters.early_works import without_learning
from dl101.data.audiofile import resample
from dl101.data.source import DataConfig
from dl101.evaluation import generation
from dl101.nn.waveform_models import SampleRNN, WaveNet, bits_per_sample
from dl101.signal import predictors
from dl101.systems.wavenet import (
    CONDITION,
    N_SAMPLES,
    RATE,
    Notes,
    bits_of,
    load_notes,
    write,
)
from dl101.training import shipped
from dl101.training.comparison import Comparison, Measurement
from dl101.training.loop import minimise

CORPUS, N_TRACKS = "notes", 720
PITCH_RATE = 16_000  # the pitch tracker asks for so much
N_PITCHES = 20  # notes whose pitch is measured, which takes longest
UNCOUNTED = 64  # samples at the beginning of a chunk, before which the network saw nothing


Sides = Mapping[str, Notes]


def load(*, n_tracks: int = N_TRACKS, seed: int = 0, progress: bool = True) -> Sides:
    """Return the notes of each side."""
    return load_notes(DataConfig(dataset=CORPUS, n_tracks=n_tracks, seed=seed), progress=progress)


# ---- networks ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Variant:
    """A network and its training; ``dilations`` are WaveNet's, none of them means SampleRNN."""

    dilations: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64, 128) * 2
    n_steps: int = 250
    chunk: int = 800
    learning_rate: float = 1e-2


@dataclass(frozen=True)
class Loaded:
    """A network that ships, and how it writes: at which temperature, with how many codes given."""

    checkpoint: str = "wavenet"
    temperature: float = 1.0
    given: int = 0


VARIANTS = {
    "WaveNet": Variant(),
    "SampleRNN": Variant((), n_steps=80, chunk=1600, learning_rate=4e-3),
}
LOADED = {"WaveNet, shipped": Loaded()}
WRITES_OTHERWISE = {
    "WaveNet, shipped, careful": Loaded(temperature=0.8),
    "WaveNet, shipped, begun": Loaded(temperature=0.9, given=400),
}
BATCH = 4


def build(variant: Variant, *, seed: int = 0) -> WaveNet | SampleRNN:
    """Return an untrained network."""
    torch.manual_seed(seed)
    if not variant.dilations:
        return SampleRNN(condition=CONDITION)
    return WaveNet(condition=CONDITION, dilations=variant.dilations)


def train(
    variant: Variant, data: Sides, *, seed: int = 0, curve: list[float] | None = None
) -> WaveNet | SampleRNN:
    """Return a network that was trained on chunks of notes; ``curve`` collects its losses."""
    network = build(variant, seed=seed)
    codes, told = torch.from_numpy(data["train"].codes), data["train"].told
    optimiser = torch.optim.AdamW(network.parameters(), lr=variant.learning_rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, variant.learning_rate, total_steps=variant.n_steps, pct_start=0.15
    )
    draws = torch.Generator().manual_seed(seed)

    def chunks() -> Iterator[tuple[Tensor, Tensor]]:
        for _ in range(variant.n_steps):
            chosen = torch.randint(len(codes), (BATCH,), generator=draws)
            begin = int(torch.randint(N_SAMPLES - variant.chunk + 1, (1,), generator=draws))
            yield codes[chosen, begin : begin + variant.chunk], told[chosen]

    def loss(batch: tuple[Tensor, Tensor]) -> Tensor:
        mean = bits_per_sample(network(*batch), batch[0])[:, UNCOUNTED:].mean()
        if curve is not None:
            curve.append(float(mean.detach()))
        return mean

    def clip(*_: Any) -> None:
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)

    optimiser.register_step_pre_hook(clip)
    minimise(network, loss, chunks, optimiser, epochs=1, schedule=schedule)
    return network


def ready(variant: Variant | Loaded, data: Sides, *, seed: int = 0) -> WaveNet | SampleRNN:
    """Return a trained network: trained now, or loaded."""
    if isinstance(variant, Loaded):
        return shipped.load(variant.checkpoint).system.network
    return train(variant, data, seed=seed)


# ---- judged ------------------------------------------------------------------------------------


def judged(sounds: NDArray, notes: Notes, *, given: int = 0) -> dict[str, float]:
    """Return what is measured of a sound for each of some notes, beside the recorded ones.

    The pitch is that of what follows the first ``given`` samples.
    """
    tagger = shipped.load("notes_tagger").system
    real = tagger.embed_sounds(list(notes.audio), RATE)
    found = tagger.embed_sounds(list(sounds), RATE)
    families = tagger.families_of(list(sounds), RATE).argmax(axis=1)
    audible = [resample(x.astype(np.float32), RATE, PITCH_RATE) for x in sounds[:N_PITCHES, given:]]
    near = generation.plays_as_asked(audible, PITCH_RATE, notes.pitches[:N_PITCHES])
    return {
        "frechet": generation.frechet_distance(real, found),
        "kid": generation.kernel_distance(real, found).value,
        "coverage": generation.density_coverage(real, found)[1],
        "family": float(np.mean(families == notes.families)),
        "pitch": float(np.mean(near)),
    }


def recorded(data: Sides) -> dict[str, float]:
    """Return the scores of the recorded notes themselves."""
    return judged(data["test"].audio, data["test"])


def other_notes(data: Sides) -> dict[str, float]:
    """Return the scores of notes of the training side, one for each of the test side."""
    return judged(data["train"].audio[: len(data["test"])], data["test"])


def searched_phases(notes: Notes) -> NDArray[np.float64]:
    """Return each note from its mel spectrogram."""
    mels = [without_learning.mel_of(sound) for sound in notes.audio]
    return np.stack([without_learning.from_mel(mel, N_SAMPLES) for mel in mels])


def vocoded(notes: Notes) -> NDArray[np.float64]:
    """Return each note from its filters and its pitch."""
    pairs = zip(notes.audio, notes.pitches, strict=True)
    return np.stack([without_learning.source_filter(sound, pitch) for sound, pitch in pairs])


def from_grains(notes: Notes, training: Notes) -> NDArray[np.float64]:
    """Return each note from grains of the training note of its family that is nearest in pitch."""
    made, sounds = [], training.audio
    for pitch, family in zip(notes.pitches, notes.families, strict=True):
        away = np.abs(training.pitches - pitch) + 1000 * (training.families != family)
        nearest = int(np.argmin(away))
        made.append(without_learning.grains(sounds[nearest], pitch - training.pitches[nearest]))
    return np.stack(made)


UNLEARNED = {
    "recorded": recorded,
    "other notes": other_notes,
    "phases searched": lambda data: judged(searched_phases(data["test"]), data["test"]),
    "source and filter": lambda data: judged(vocoded(data["test"]), data["test"]),
    "grains": lambda data: judged(from_grains(data["test"], data["train"]), data["test"]),
}
PREDICTED = {
    name: lambda data, predictor=predictor: {
        "bits": float(predictor(data["train"].codes, data["test"].codes).mean())
    }
    for name, predictor in predictors.PREDICTORS.items()
}


def score(
    network: WaveNet | SampleRNN, variant: Variant | Loaded, data: Sides, *, writes: bool
) -> dict[str, float]:
    """Return bits per sample and, where the network writes, what is measured of its notes."""
    notes = data["test"]
    found = {"bits": float(bits_of(network, notes).mean())}
    if not writes:
        return found
    how = variant if isinstance(variant, Loaded) else Loaded()
    start = notes.codes[:, : how.given]
    sounds = write(network, notes.told, temperature=how.temperature, start=start)
    return found | judged(sounds, notes, given=how.given)


def run(
    seed: int, n_tracks: int | None = None, *, done: Collection[str] = ()
) -> Iterator[Measurement]:
    """Score the predictors, train and score the networks; with seed 0, judge what is written."""
    writes = seed == 0
    comparison = Comparison(
        corpus=CORPUS,
        n_tracks=N_TRACKS,
        load=load,
        n_items=lambda data: len(data["test"]),
        variants=VARIANTS | LOADED | (WRITES_OTHERWISE if writes else {}),
        train=ready,
        score=partial(score, writes=writes),
        baselines=PREDICTED | (UNLEARNED if writes else {}),
    )
    yield from comparison.run(seed, n_tracks, done=done)
