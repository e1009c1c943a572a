"""Short melodies about which two questions are asked, and the small network that answers them.

A melody runs up and down in C major, eight notes a second; a guitar and a marimba share the notes.

- *one note*: is one of the notes played by a third instrument, a harpsichord? One event decides.
- *most notes*: does the marimba play more of the notes than the guitar? All of them decide.

Conventions: 22 050 Hz; pictures are levels of a constant-Q transform, (band, frame), one band a
semitone from C3, one frame every 46 ms, in steps of 10 dB above a floor of -60 dB.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from dl101.data.embedded.renderer import SAMPLE_RATE, Notes, Player, render_voice
from dl101.nn.factory import LastStepLSTM
from dl101.nn.pooling import AttentionPool, AutoPool, AutoPoolSplit
from dl101.signal import cqt
from dl101.training.loop import minimise
from dl101.units import amplitude_to_db

INPUT = cqt.HcqtConfig(
    harmonics=(1,),
    bins_per_semitone=1,
    n_octaves=5,
    f_min_hz=130.8128,
    hop_samples=1024,
    sample_rate=SAMPLE_RATE,
)
HOP_S = INPUT.hop_samples / SAMPLE_RATE
FLOOR_DB, STEP_DB = 60.0, 10.0
NOTE_S, GAP_S = 0.125, 0.2
INSTRUMENTS, STRANGER = ("nylon-guitar", "marimba"), "harpsichord"
QUESTIONS = ("one note", "most notes")
SCALE = (60, 62, 64, 65, 67, 69, 71, 72, 74, 76, 77, 79, 81)  # C major, C4 to A5
HIDDEN, N_STEPS, BATCH, RATE = 24, 160, 32, 8e-3


class Melody(NamedTuple):
    """Notes of one length: pitches in MIDI, and who plays each, a number of an instrument."""

    pitches_midi: NDArray[np.int64]
    players: NDArray[np.int64]

    @property
    def answers(self) -> tuple[float, float]:
        """Return 1 or 0 for each of the questions."""
        guitar, marimba, stranger = (int((self.players == who).sum()) for who in range(3))
        return float(stranger > 0), float(marimba > guitar)


class Clips(NamedTuple):
    """Melodies, sounds, pictures (clip, band, frame) and right answers (clip, question)."""

    melodies: list[Melody]
    sounds: list[NDArray[np.float32]]
    pictures: Tensor
    answers: Tensor


def compose(n_notes: int, rng: np.random.Generator) -> Melody:
    """Return a random melody; the two answers are independent, and yes is as likely as no."""
    place, pitches = int(rng.integers(len(SCALE))), []
    for step in rng.choice([-2, -1, 1, 2], n_notes):
        place += step if 0 <= place + step < len(SCALE) else -step
        pitches.append(SCALE[place])
    fewer = rng.permutation(n_notes)[: round(rng.uniform(0.25, 0.42) * n_notes)]
    players = np.full(n_notes, int(rng.integers(2)))
    players[fewer] = 1 - players[fewer]
    if rng.random() < 0.5:
        players[rng.integers(n_notes)] = 2
    return Melody(np.array(pitches), players)


def play(
    melodies: list[Melody], rng: np.random.Generator, stranger: str = STRANGER
) -> list[NDArray[np.float32]]:
    """Return the sounds of melodies of one length, (time,) each, with a little noise."""
    n_notes = len(melodies[0].players)
    length_s = n_notes * NOTE_S + GAP_S
    starts_s = [i * length_s + j * NOTE_S for i in range(len(melodies)) for j in range(n_notes)]
    pitches = np.concatenate([melody.pitches_midi for melody in melodies])
    players = np.concatenate([melody.players for melody in melodies])
    audio = rng.normal(0, 0.003, round(length_s * len(melodies) * SAMPLE_RATE)).astype(np.float32)
    levels_db = rng.normal(0, 2, len(pitches))
    for who, instrument in enumerate((*INSTRUMENTS, stranger)):
        own = players == who
        even = np.ones(own.sum())
        notes = Notes(
            np.array(starts_s)[own],
            NOTE_S * even,
            pitches[own],
            0.6 * even,
            levels_db[own],
            0 * even,
        )
        audio += render_voice(notes, Player(instrument, release_s=0.15), len(audio))
    n_samples = round(n_notes * NOTE_S * SAMPLE_RATE)
    firsts = [round(i * length_s * SAMPLE_RATE) for i in range(len(melodies))]
    return [audio[first : first + n_samples] for first in firsts]


def picture(audio: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the levels of a sound, (band, frame), in steps of 10 dB above the floor."""
    values = cqt.cqt(audio, INPUT, sample_rate=SAMPLE_RATE).values[0]
    level_db = amplitude_to_db(values, floor_db=-FLOOR_DB)
    return ((level_db + FLOOR_DB) / STEP_DB).astype(np.float32)


def make(n_clips: int, n_notes: int, seed: int = 0, stranger: str = STRANGER) -> Clips:
    """Return clips; the same arguments give the same ones."""
    rng = np.random.default_rng([seed, n_notes])
    melodies = [compose(n_notes, rng) for _ in range(n_clips)]
    sounds = play(melodies, rng, stranger)
    pictures = torch.from_numpy(np.stack([picture(sound) for sound in sounds]))
    return Clips(melodies, sounds, pictures, torch.tensor([m.answers for m in melodies]))


def weighted(audio: NDArray[np.float32], weights: ArrayLike) -> NDArray[np.float32]:
    """Return a sound in which each frame is as loud as its weight, relative to the largest."""
    weights = np.asarray(weights, dtype=np.float64)
    place = np.arange(len(audio)) / INPUT.hop_samples
    gain = np.interp(place, np.arange(len(weights)), weights / weights.max())
    return (audio * gain).astype(np.float32)


class LastState(nn.Module):
    """An LSTM reads the frames, two at a time; its last state answers."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = LastStepLSTM(HIDDEN, HIDDEN)
        self.answer = nn.Linear(HIDDEN, 1)

    def forward(self, hidden: Tensor) -> Tensor:
        """Map (batch, channel, frame) to (batch,)."""
        return self.answer(self.lstm(F.avg_pool1d(hidden, 2).transpose(1, 2)))[:, 0]


class ClassToken(nn.Module):
    """A learned vector asks all frames, through one layer of attention, and answers."""

    def __init__(self) -> None:
        super().__init__()
        self.token = nn.Parameter(0.1 * torch.randn(HIDDEN))
        self.attention = nn.MultiheadAttention(HIDDEN, 1, batch_first=True)
        self.answer = nn.Linear(HIDDEN, 1)

    def weights(self, hidden: Tensor) -> Tensor:
        """Return how much of each frame is read, (batch, frame)."""
        return self._read(hidden)[1][:, 0]

    def forward(self, hidden: Tensor) -> Tensor:
        """Map (batch, channel, frame) to (batch,)."""
        return self.answer(self._read(hidden)[0])[:, 0, 0]

    def _read(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        frames = hidden.transpose(1, 2)
        return self.attention(self.token.expand(len(frames), 1, -1), frames, frames)


class Pooled(nn.Module):
    """Each frame says how much it is for yes, from 0 to 1; a pooling makes one number of all.

    Parameters
    ----------
    pooling
        Maps (batch, channel, frame) to (batch, 1, 1).
    splits
        Whether it takes a second channel, that of the scores.
    """

    def __init__(self, pooling: nn.Module, *, splits: bool = False) -> None:
        super().__init__()
        self.says = nn.Conv1d(HIDDEN, 2 if splits else 1, 1)
        self.pooling = pooling
        self.scale = nn.Parameter(torch.tensor(4.0))
        self.bias = nn.Parameter(torch.tensor(-2.0))

    def frames(self, hidden: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return what each frame says, (batch, 1, frame), and its score, if there is one."""
        says = self.says(hidden)
        return torch.sigmoid(says[:, :1]), says[:, 1:] if says.shape[1] == 2 else None

    def forward(self, hidden: Tensor) -> Tensor:
        """Map (batch, channel, frame) to the logit of yes, (batch,)."""
        value, score = self.frames(hidden)
        x = value if score is None else torch.cat([value, score], dim=1)
        return self.scale * self.pooling(x)[:, 0, 0] + self.bias


READERS: Mapping[str, Callable[[], nn.Module]] = {
    "mean": lambda: Pooled(nn.AdaptiveAvgPool1d(1)),
    "max": lambda: Pooled(nn.AdaptiveMaxPool1d(1)),
    "auto-pool": lambda: Pooled(AutoPool()),
    "attention": lambda: Pooled(AttentionPool(), splits=True),
    "auto-pool, split": lambda: Pooled(AutoPoolSplit(), splits=True),
    "last state": LastState,
    "class token": ClassToken,
}


class Answerer(nn.Module):
    """A convolution over three frames, and one of the ways from many frames to one answer."""

    def __init__(self, reader: str) -> None:
        super().__init__()
        self.convolution = nn.Conv1d(INPUT.n_bins, HIDDEN, 3, padding=1)
        self.reader = READERS[reader]()

    def hidden(self, pictures: Tensor) -> Tensor:
        """Map (batch, band, frame) to (batch, channel, frame)."""
        return F.relu(self.convolution((pictures - 2.7) / 2))

    def forward(self, pictures: Tensor) -> Tensor:
        """Map (batch, band, frame) to the logit of yes, (batch,)."""
        return self.reader(self.hidden(pictures))


def train(
    reader: str, clips: Clips, question: int, *, seed: int = 0, n_steps: int = N_STEPS
) -> Answerer:
    """Train a network to answer one of the questions; alpha, scale and bias learn faster."""
    torch.manual_seed(seed)
    network = Answerer(reader)
    few = [parameter for parameter in network.parameters() if parameter.numel() == 1]
    many = [parameter for parameter in network.parameters() if parameter.numel() > 1]
    optimiser = torch.optim.AdamW([{"params": many}, {"params": few}], lr=RATE, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, [RATE, 10 * RATE], total_steps=n_steps
    )
    order = torch.Generator().manual_seed(seed)
    batches = [
        torch.randint(len(clips.pictures), (BATCH,), generator=order) for _ in range(n_steps)
    ]

    def loss(chosen: Tensor) -> Tensor:
        right = clips.answers[chosen, question]
        return F.binary_cross_entropy_with_logits(network(clips.pictures[chosen]), right)

    minimise(network, loss, lambda: batches, optimiser, epochs=1, schedule=schedule)
    return network


@torch.no_grad()
def accuracy(network: Answerer, clips: Clips, question: int) -> float:
    """Return the share of clips that are answered correctly."""
    return float(
        ((network(clips.pictures) > 0) == (clips.answers[:, question] > 0.5)).float().mean()
    )
