"""Reels as tokens, small recurrent language models of them, and how they sound.

Conventions: a phrase is four bars of a reel in major, 32 eighth notes, moved so that its tonic is
D. Its tokens are whole numbers from 0 to 29: 0 to 28 begin the note of MIDI 55 plus the token (G3
to B5), :data:`HELD` means that nothing begins and the last note goes on. Batches are (phrase,
position).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from dl101.data.embedded import scores
from dl101.data.embedded.corpora.dances import work_splits
from dl101.data.embedded.renderer import SAMPLE_RATE, Notes, Player, render_voice
from dl101.training.loop import minimise

LOWEST_MIDI, N_PITCHES, LENGTH = 55, 29, 32
HELD = N_PITCHES
N_TOKENS = N_PITCHES + 1
START = N_TOKENS  # what stands before the first token; never predicted
STEP_S = 0.14  # of an eighth note
SIDES = ("train", "validation", "test")
HIDDEN, N_STEPS, BATCH, RATE = 64, 600, 64, 8e-3


class Phrases(NamedTuple):
    """Tokens (phrase, position) by side, and the title of the tune of each phrase."""

    tokens: Mapping[str, NDArray[np.int64]]
    titles: Mapping[str, tuple[str, ...]]

    def batch(self, side: str) -> Tensor:
        """Return the tokens of a side as a tensor."""
        return torch.from_numpy(self.tokens[side])


def tokenise(
    onsets_quarters: ArrayLike, pitches_midi: ArrayLike, begin_quarters: float
) -> NDArray[np.int64] | None:
    """Return the tokens of four bars, (32,); what begins between two eighth notes is left out.

    None if nothing begins on the first one, or a pitch is outside the range.
    """
    place = 2 * (np.asarray(onsets_quarters, dtype=np.float64) - begin_quarters)
    here = (np.abs(place - np.round(place)) < 1e-6) & (place > -0.5) & (place < LENGTH - 0.5)
    pitches = np.asarray(pitches_midi)[here] - LOWEST_MIDI
    if not here.any() or pitches.min() < 0 or pitches.max() >= N_PITCHES:
        return None
    tokens = np.full(LENGTH, HELD)
    tokens[np.round(place[here]).astype(int)] = pitches
    return None if tokens[0] == HELD else tokens


@cache
def load() -> Phrases:
    """Return the phrases of all reels in major; tunes of one work are on one side."""
    splits = work_splits()
    found: dict[str, list[tuple[tuple[int, ...], str]]] = {side: [] for side in SIDES}
    for dance in scores.load_dances():
        if dance.kind != "reel" or dance.mode != "major":
            continue
        moved = dance.melody.pitches_midi - ((dance.tonic - 2 + 6) % 12 - 6)
        for begin, end in dance.sections_quarters:
            for first in np.arange(begin, end - 15.9, 16) + dance.pickup_quarters:
                tokens = tokenise(dance.melody.onsets_quarters, moved, first)
                if tokens is not None:
                    found[splits[dance.work]].append((tuple(tokens.tolist()), dance.title))
    kept = {side: list(dict(phrases).items()) for side, phrases in found.items()}
    return Phrases(
        {side: np.array([tokens for tokens, _ in phrases]) for side, phrases in kept.items()},
        {side: tuple(title for _, title in phrases) for side, phrases in kept.items()},
    )


def notes_of(tokens: ArrayLike) -> tuple[NDArray, NDArray, NDArray]:
    """Return onsets and durations in steps, and pitches in MIDI, of tokens (position,)."""
    tokens = np.asarray(tokens)
    onsets = np.flatnonzero(tokens != HELD)
    durations = np.diff([*onsets, len(tokens)])
    return onsets, durations, tokens[onsets] + LOWEST_MIDI


def play(tokens: ArrayLike, instrument: str = "flute") -> NDArray[np.float32]:
    """Return the sound of tokens, (time,), eighth notes of 0.14 s, a little louder on beats."""
    onsets, durations, pitches = notes_of(tokens)
    even = np.ones(len(onsets))
    notes = Notes(
        STEP_S * onsets,
        0.92 * STEP_S * durations,
        pitches,
        0.6 * even,
        2.0 * (onsets % 4 == 0),
        0 * even,
    )
    n_samples = round(STEP_S * len(np.asarray(tokens)) * SAMPLE_RATE)
    return render_voice(notes, Player(instrument, release_s=0.1), n_samples)


class NoteModel(nn.Module):
    """A language model of notes: a table of vectors, a recurrent layer, logits of the next token.

    Parameters
    ----------
    kind
        ``"LSTM"`` or ``"RNN"``.
    """

    def __init__(self, kind: str = "LSTM") -> None:
        super().__init__()
        self.embedding = nn.Embedding(N_TOKENS + 1, HIDDEN // 2)
        layer = {"LSTM": nn.LSTM, "RNN": nn.RNN}[kind]
        self.recurrent = layer(HIDDEN // 2, HIDDEN, batch_first=True)
        self.logits = nn.Linear(HIDDEN, N_TOKENS)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return logits (phrase, position, token) of each token, from those before it alone."""
        before = F.pad(tokens[:, :-1], (1, 0), value=START)
        return self.logits(self.recurrent(self.embedding(before))[0])


class HiddenNote(nn.Module):
    """Logits of each token from those before it and those after it, which one layer each reads."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(N_TOKENS + 1, HIDDEN // 2)
        self.forwards = nn.LSTM(HIDDEN // 2, HIDDEN // 2, batch_first=True)
        self.backwards = nn.LSTM(HIDDEN // 2, HIDDEN // 2, batch_first=True)
        self.logits = nn.Linear(HIDDEN, N_TOKENS)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return logits (phrase, position, token) of each token from all others."""
        before = self.embedding(F.pad(tokens[:, :-1], (1, 0), value=START))
        after = self.embedding(F.pad(tokens[:, 1:], (0, 1), value=START))
        past = self.forwards(before)[0]
        future = self.backwards(after.flip(1))[0].flip(1)
        return self.logits(torch.cat([past, future], dim=-1))


def bits(network: nn.Module, tokens: Tensor) -> Tensor:
    """Return the bits of each token, (phrase, position)."""
    nats = F.cross_entropy(network(tokens).transpose(1, 2), tokens, reduction="none")
    return nats / math.log(2)


def train(network: nn.Module, tokens: Tensor, *, seed: int = 0, n_steps: int = N_STEPS) -> None:
    """Train a network in place to make the bits of the next token few."""
    optimiser = torch.optim.Adam(network.parameters(), lr=RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=n_steps)
    order = torch.Generator().manual_seed(seed)
    batches = [torch.randint(len(tokens), (BATCH,), generator=order) for _ in range(n_steps)]

    def loss(chosen: Tensor) -> Tensor:
        return bits(network, tokens[chosen]).mean()

    minimise(network, loss, lambda: batches, optimiser, epochs=1, schedule=schedule)


@torch.no_grad()
def sample(
    network: NoteModel, *, temperature: float = 1.0, start: ArrayLike = (), seed: int = 0
) -> NDArray[np.int64]:
    """Return tokens (32,) that a model makes, one after the other, after those of ``start``.

    The logits are divided by ``temperature``: below 1 likely tokens become likelier.
    """
    chance = torch.Generator().manual_seed(seed)
    tokens, state, made = torch.tensor([[START]]), None, list(np.asarray(start, dtype=int))
    for position in range(LENGTH):
        out, state = network.recurrent(network.embedding(tokens), state)
        if position >= len(made):
            share = torch.softmax(network.logits(out[0, -1]) / temperature, dim=0)
            made.append(int(torch.multinomial(share, 1, generator=chance)))
        tokens = torch.tensor([[made[position]]])
    return np.array(made)
