"""Small Transformers on tunes: a follower answers a leader, or writes a tune backwards.

Conventions. A tune is a sequence of whole numbers, one for each step: a number of :data:`PITCHES`.
In a *canon* the answer at step i is the note of the leader ``DISTANCE`` steps before; in a
*crab* canon it is the leader read from its end.

References
----------
.. [1] A. Vaswani and others, "Attention is all you need", NeurIPS 2017, section 3.5.
.. [2] C. Raffel and others, "Exploring the limits of transfer learning with a unified text-to-text
   Transformer", JMLR 2020, section 2.1: a number for each distance, added to the products.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, get_args

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from dl101.nn.decoder_transformer import rotate, rotation, visible
from dl101.units import midi_to_hz

Positions = Literal["none", "learned", "sinusoidal", "relative", "rotary"]
POSITIONS = get_args(Positions)
PITCHES = (60, 62, 64, 65, 67, 69, 70, 72, 74, 76, 77, 79)  # F major from C4 to G5, in MIDI numbers
TRAINED, DISTANCE = 24, 8  # steps of a tune in training; steps from the leader to the follower
WIDTH, HEADS, HIDDEN = 32, 2, 64
LONGEST = 512  # rows of a learned table; training reaches the first TRAINED of them
# "Frère Jacques", one note a beat, 4 beats a bar: the eighth notes between the beats are left out
ROUND = (3, 4, 5, 3) * 2 + (5, 6, 7, 7) * 2 + (7, 7, 5, 3) * 2 + (3, 0, 3, 3) * 2


def random_tunes(n: int, length: int, generator: torch.Generator) -> Tensor:
    """Return (n, length): tunes that mostly go by steps, of up to two, and now and then leap."""
    size = len(PITCHES)
    moves = torch.randint(-2, 3, (n, length), generator=generator)
    leaps = torch.randint(0, size, (n, length), generator=generator)
    leaping = torch.rand(n, length, generator=generator) < 0.25
    tune = [torch.randint(0, size, (n,), generator=generator)]
    for i in range(1, length):
        note = tune[-1] + moves[:, i]
        note = note.where((note >= 0) & (note < size), tune[-1] - moves[:, i])
        tune.append(torch.where(leaping[:, i], leaps[:, i], note))
    return torch.stack(tune, dim=1)


def sinusoids(n: int, width: int) -> Tensor:
    """Return (n, width): sine and cosine of angles that grow with the position ([1]_).

    Channels 2 i and 2 i + 1 are the sine and cosine of ``position * BASE ** (-2 i / width)``.
    """
    cosine, sine = rotation(torch.arange(n), width)
    return torch.stack([sine, cosine], dim=-1).flatten(1)


def clipped_distances(n_queries: int, n_keys: int, farthest: int) -> Tensor:
    """Return (query, key): how far before the query the key stands, from 0 to ``farthest``."""
    distance = torch.arange(n_queries)[:, None] - torch.arange(n_keys)[None, :]
    return distance.clamp(0, farthest)


def play(
    notes: ArrayLike, loudness: ArrayLike = 1.0, *, step_s: float = 0.12, sample_rate: int = 8_000
) -> NDArray[np.float32]:
    """Return (time,): plucked notes, one a step, each as loud as asked.

    Parameters
    ----------
    notes
        (step,) numbers of :data:`PITCHES`; below 0: silence.
    loudness
        (step,) amplitudes, or one for all.
    step_s
        Duration of a step in seconds.
    """
    notes = np.asarray(notes)
    levels = np.broadcast_to(np.asarray(loudness, dtype=np.float64), notes.shape)
    n = round(step_s * sample_rate)
    t = np.arange(2 * n) / sample_rate  # a note rings on through the next step
    shape = np.minimum(1, t / 0.005) * np.exp(-3 * t / step_s) * np.minimum(1, (t[-1] - t) / 0.01)
    out = np.zeros((len(notes) + 1) * n)
    for i, (note, level) in enumerate(zip(notes, levels, strict=True)):
        if note >= 0 and level > 0:
            angle = 2 * np.pi * midi_to_hz(PITCHES[note]) * t
            tone = sum(np.sin(k * angle) / k**1.5 for k in range(1, 5))
            out[i * n : (i + 2) * n] += level * shape * tone
    return out.astype(np.float32)


class Attention(nn.Module):
    """Attention of several heads, to its own sequence or, if one is given, to another.

    Keeps in ``shares`` what the queries of the last call gave to the keys, (batch, head, query,
    key).
    """

    def __init__(self, causal: bool = True, positions: Positions = "none") -> None:
        super().__init__()
        self.causal, self.positions = causal, positions
        self.ahead = 0  # 1: a mask that is off by one and shows the next position, too
        self.to_queries = nn.Linear(WIDTH, WIDTH, bias=False)
        self.to_keys = nn.Linear(WIDTH, WIDTH, bias=False)
        self.to_values = nn.Linear(WIDTH, WIDTH, bias=False)
        self.to_output = nn.Linear(WIDTH, WIDTH, bias=False)
        if positions == "relative":
            self.of_distance = nn.Parameter(torch.zeros(HEADS, TRAINED))
        self.shares: Tensor | None = None

    def forward(self, x: Tensor, other: Tensor | None = None, window: int = 0) -> Tensor:
        """Map (batch, query, width) to the same; keys and values come from ``other``."""
        other = x if other is None else other

        def heads(projected: Tensor) -> Tensor:  # (batch, head, position, channel)
            return projected.unflatten(-1, (HEADS, -1)).transpose(1, 2)

        queries, keys = heads(self.to_queries(x)), heads(self.to_keys(other))
        values = heads(self.to_values(other))
        if self.positions == "rotary":
            queries, keys = (
                rotate(each, *rotation(torch.arange(each.shape[2]), each.shape[3]))
                for each in (queries, keys)
            )
        products = queries @ keys.transpose(-2, -1) / math.sqrt(queries.shape[-1])
        n_queries, n_keys = products.shape[-2:]
        if self.positions == "relative":
            places = clipped_distances(n_queries, n_keys, TRAINED - 1)
            products = products + self.of_distance[:, places]
        if self.causal:
            seen = visible(torch.arange(n_queries) + self.ahead, torch.arange(n_keys), window)
            products = products.masked_fill(~seen, -math.inf)
        shares = products.softmax(dim=-1)
        self.shares = shares.detach()
        return self.to_output((shares @ values).transpose(1, 2).flatten(2))


class Layer(nn.Module):
    """Attention, perhaps attention to another sequence, and a perceptron; each one adds."""

    def __init__(self, causal: bool, positions: Positions = "none", crossed: bool = False) -> None:
        super().__init__()
        self.attention = Attention(causal, positions)
        self.cross = Attention(causal=False) if crossed else None
        self.perceptron = nn.Sequential(
            nn.Linear(WIDTH, HIDDEN), nn.GELU(), nn.Linear(HIDDEN, WIDTH)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(WIDTH) for _ in range(3))

    def forward(self, x: Tensor, other: Tensor | None = None, window: int = 0) -> Tensor:
        """Map (batch, position, width) to the same."""
        x = x + self.attention(self.norms[0](x), window=window)
        if self.cross is not None:
            x = x + self.cross(self.norms[1](x), other)
        return x + self.perceptron(self.norms[2](x))


class Follower(nn.Module):
    """One causal layer: a tune (batch, position) in, logits of the answer at each position out."""

    def __init__(self, positions: Positions) -> None:
        super().__init__()
        self.positions = positions
        self.notes = nn.Embedding(len(PITCHES), WIDTH)
        if positions == "learned":
            self.table = nn.Parameter(0.1 * torch.randn(LONGEST, WIDTH))
        self.layer = Layer(True, positions if positions in ("relative", "rotary") else "none")
        self.norm, self.to_logits = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, len(PITCHES))

    def embed(self, tune: Tensor) -> Tensor:
        """Return (batch, position, width): notes, and positions where they are added."""
        x = self.notes(tune)
        if self.positions == "learned":
            x = x + self.table[: tune.shape[1]]
        elif self.positions == "sinusoidal":
            x = x + sinusoids(tune.shape[1], WIDTH)
        return x

    def forward(self, tune: Tensor, window: int = 0) -> Tensor:
        """Return (batch, position, pitch); a position sees ``window`` notes at most, 0: all."""
        return self.to_logits(self.norm(self.layer(self.embed(tune), window=window)))


class Crab(nn.Module):
    """Encoder and decoder: writes a tune from its end to its beginning.

    The encoder sees the whole tune. The decoder sees what it has written so far, after a mark where
    it begins, and looks at what the encoder made by cross-attention.
    """

    def __init__(self) -> None:
        super().__init__()
        self.notes = nn.Embedding(len(PITCHES) + 1, WIDTH)  # the last one is the mark
        self.table = nn.Parameter(0.1 * torch.randn(2, TRAINED, WIDTH))
        self.encoder = Layer(causal=False)
        self.decoder = Layer(causal=True, crossed=True)
        self.norm, self.to_logits = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, len(PITCHES))

    def forward(self, tune: Tensor, written: Tensor) -> Tensor:
        """Return (batch, 1 + written notes, pitch): logits of each written note and of the next."""
        memory = self.encoder(self.notes(tune) + self.table[0, : tune.shape[1]])
        begun = F.pad(written, (1, 0), value=len(PITCHES))
        x = self.notes(begun) + self.table[1, : begun.shape[1]]
        return self.to_logits(self.norm(self.decoder(x, memory)))

    @torch.no_grad()
    def write(self, tune: Tensor) -> Tensor:
        """Return (batch, position): note by note, always the most probable one."""
        written = tune[:, :0]
        for _ in range(tune.shape[1]):
            note = self(tune, written)[:, -1].argmax(dim=-1)
            written = torch.cat([written, note[:, None]], dim=1)
        return written


def train(
    network: nn.Module,
    loss_of: Callable[[Tensor], Tensor],
    *,
    seed: int = 0,
    n_steps: int = 200,
    length: int = TRAINED,
    learning_rate: float = 1e-2,
) -> list[float]:
    """Train on random tunes, new ones in each step, and return the losses."""
    generator = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.Adam(network.parameters(), lr=learning_rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, learning_rate, total_steps=n_steps)
    losses = []
    for _ in range(n_steps):
        loss = loss_of(random_tunes(32, length, generator))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        losses.append(loss.item())
    return losses


def follow(
    positions: Positions, *, seed: int = 0, n_steps: int = 200
) -> tuple[Follower, list[float]]:
    """Return a network that was trained to answer in canon, and its losses."""
    torch.manual_seed(seed)
    network = Follower(positions)

    def loss_of(tunes: Tensor) -> Tensor:
        logits = network(tunes)[:, DISTANCE:]
        return F.cross_entropy(logits.flatten(0, 1), tunes[:, :-DISTANCE].flatten())

    return network, train(network, loss_of, seed=seed, n_steps=n_steps)


def learn_crab(*, seed: int = 0, n_steps: int = 200, length: int = 16) -> tuple[Crab, list[float]]:
    """Return a network that was trained to write tunes backwards, and its losses."""
    torch.manual_seed(seed)
    network = Crab()

    def loss_of(tunes: Tensor) -> Tensor:
        backwards = tunes.flip(1)
        logits = network(tunes, backwards[:, :-1])  # told what it should have written so far
        return F.cross_entropy(logits.flatten(0, 1), backwards.flatten())

    return network, train(network, loss_of, seed=seed, n_steps=n_steps, length=length)


def next_note(*, ahead: int, seed: int = 0, n_steps: int = 200) -> tuple[Follower, list[float]]:
    """Return a network that was trained to say the next note, and its losses.

    ``ahead`` is by how much its mask is wrong: with 1 it sees the very note that it is to say.
    """
    torch.manual_seed(seed)
    network = Follower("sinusoidal")
    network.layer.attention.ahead = ahead

    def loss_of(tunes: Tensor) -> Tensor:
        return F.cross_entropy(network(tunes)[:, :-1].flatten(0, 1), tunes[:, 1:].flatten())

    return network, train(network, loss_of, seed=seed, n_steps=n_steps)


@torch.no_grad()
def right_answers(
    network: Follower, length: int, *, seed: int = 1_000, n: int = 16, window: int = 0
) -> Tensor:
    """Return, by position from ``DISTANCE`` on, the share of tunes that are answered rightly.

    ``window`` is how many notes a position may see at most; 0: all so far.
    """
    tunes = random_tunes(n, length, torch.Generator().manual_seed(seed))
    answers = network(tunes, window).argmax(dim=-1)[:, DISTANCE:]
    return (answers == tunes[:, :-DISTANCE]).float().mean(dim=0)
