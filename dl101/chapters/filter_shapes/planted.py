"""Sounds of which two things can be asked, and nothing else tells them apart: rhythm, instrument.

Conventions: a sound lasts as long as what a network sees, 80 frames of 512 samples at 22050 Hz. It
has a rhythm, even or long-short, at a tempo of its own, beginning anywhere, on one pitch drawn at
random, played by one of two instruments. All of these are drawn independently, so no answer to one
question helps with the other.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np
from numpy.typing import NDArray
from torch import nn

from dl101.chapters.filter_shapes.experiment import HOP_SAMPLES, N_BANDS, SHORT, features
from dl101.data.embedded.renderer import SAMPLE_RATE, Notes, Player, render_voice
from dl101.nn import filter_shapes as nets
from dl101.nn.shapes import Shape
from dl101.training.examples import Examples, standardise, train_network
from dl101.training.fit import TrainingConfig

N_SAMPLES = SHORT.n_frames * HOP_SAMPLES - 1  # that give just so many frames
PAIR_S = (0.45, 0.55)  # two notes
RHYTHMS: Mapping[str, float] = {"even": 0.5, "long-short": 0.72}  # when the second one begins
INSTRUMENTS = ("flute", "clarinet")
QUESTIONS: Mapping[str, tuple[str, ...]] = {"rhythm": tuple(RHYTHMS), "instrument": INSTRUMENTS}
TRAINING = TrainingConfig(max_epochs=12, patience=12, batch_size=16, learning_rate=5e-3)


def sound(rhythm: str, instrument: str, rng: np.random.Generator) -> NDArray[np.float32]:
    """Return one sound, (samples,), of peak 0.5."""
    pair_s = rng.uniform(*PAIR_S)
    begin_s = rng.uniform(-1, 0) * pair_s
    beats = begin_s + pair_s * np.arange(8)
    onsets_s = np.sort([*beats, *(beats + RHYTHMS[rhythm] * pair_s)])
    kept = (onsets_s >= 0) & (onsets_s < N_SAMPLES / SAMPLE_RATE - 0.05)
    onsets_s = onsets_s[kept]
    n = onsets_s.size
    notes = Notes(
        onsets_s=onsets_s,
        durations_s=np.full(n, 0.12),
        pitches_midi=np.full(n, rng.integers(62, 80)),
        velocities=rng.uniform(0.5, 0.8, n),
        levels_db=np.zeros(n),
        cents=np.zeros(n),
    )
    audio = render_voice(notes, Player(instrument), N_SAMPLES)
    return (0.5 * audio / np.abs(audio).max()).astype(np.float32)


def sides(n: int = 64, *, seed: int = 0) -> tuple[dict[str, Examples], list[NDArray]]:
    """Return examples by side, and the sounds of the test side.

    Labels are (items, 2): the rhythm and the instrument. There are ``n`` sounds to learn from, half
    as many to choose the epoch and ``n`` to test.
    """
    rng = np.random.default_rng([seed, 23])
    made = {}
    for side, number in (("train", n), ("validation", n // 2), ("test", n)):
        labels = np.array([[k % 2, k // 2 % 2] for k in range(number)])
        audio = [sound(tuple(RHYTHMS)[r], INSTRUMENTS[i], rng) for r, i in labels]
        inputs = np.stack([features(each, SAMPLE_RATE) for each in audio])
        made[side] = Examples(inputs, labels)
    scaled = standardise(made, axis=(0, 1, 2))
    return {s: Examples(e.inputs[:, None], e.labels) for s, e in scaled.items()}, audio


SHAPES: Mapping[str, Shape] = {"Time": Shape(8, 1, 60), "Frequency": Shape(8, 32, 1)}


def train(
    shape: str, question: str, examples: Mapping[str, Examples], *, seed: int = 0
) -> nn.Module:
    """Train a small network of one shape for one question."""
    number = list(QUESTIONS).index(question)
    build = {"Time": nets.time_net, "Frequency": nets.frequency_net}[shape]
    network, _ = train_network(
        partial(build, 2, input_shape=(N_BANDS, SHORT.n_frames), shape=SHAPES[shape]),
        {
            s: Examples(examples[s].inputs, examples[s].labels[:, number])
            for s in ("train", "validation")
        },
        seed=seed,
        training=TRAINING,
        progress=False,
    )
    return network
