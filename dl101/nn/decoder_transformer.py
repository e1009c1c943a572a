"""The decoder-only Transformer: each position is told from those before it.

Shapes: sequences are (batch, position, channel); queries, keys and values (batch, head, position,
channel). Positions are counted from the beginning of the sequence and enter by rotation alone: the
product of a query and a key depends on how far apart they stand, not on where.

What was computed of earlier positions never changes, since nothing looks ahead. A
:class:`KeyValueCache` keeps it: a sequence may be given at once or in parts, with equal results.

References
----------
.. [1] A. Vaswani and others, "Attention is all you need", NeurIPS 2017.
.. [2] J. Su and others, "RoFormer: enhanced Transformer with rotary position embedding", 2021.
.. [3] R. Xiong and others, "On layer normalization in the Transformer architecture", ICML 2020:
   normalised before each branch ("pre-norm"), so that the sum passes through unchanged.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dl101.config import Count, Probability, Range, Settings
from dl101.errors import ConfigError, ShapeError

BASE = 10_000.0  # [2]_, section 3.2.2: slowest rotation, once in 2 pi times as many positions


@dataclass(frozen=True)
class DecoderConfig(Settings):
    """Sizes of a decoder.

    Attributes
    ----------
    width
        Channels of the sequence.
    depth
        Layers, each of attention and a perceptron.
    heads, head_width
        Attentions side by side, and channels of each.
    hidden
        Channels inside the perceptron.
    rotated
        Channels of a head that carry the position; even, at most ``head_width``. None: all.
    window
        How many positions, itself included, a position sees; 0: all before it.
    dropout
        Of what each branch adds.
    """

    width: Count = 96
    depth: Count = 4
    heads: Count = 4
    head_width: Count = 24
    hidden: Count = 256
    rotated: Annotated[int, Range(at_least=2, at_most=65_536)] | None = None
    window: Annotated[int, Range(at_least=0, at_most=1_000_000_000)] = 0
    dropout: Probability = 0.0

    def __post_init__(self) -> None:
        """Check each field, and that channels to rotate come in pairs."""
        super().__post_init__()
        if self.n_rotated % 2 or self.n_rotated > self.head_width:
            field = "head_width" if self.rotated is None else "rotated"
            raise ConfigError(
                f"DecoderConfig.{field}",
                got=f"{self.n_rotated} of {self.head_width} channels",
                expected="an even number of them: two are rotated together",
                hint="choose an even head_width, or give rotated",
            )

    @property
    def n_rotated(self) -> int:
        """Channels of a head that are rotated."""
        return self.head_width if self.rotated is None else self.rotated


def rotation(positions: Tensor, n_rotated: int) -> tuple[Tensor, Tensor]:
    """Return cosine and sine of the angle of each pair of channels, (position, pair).

    Channels 2 i and 2 i + 1 are a point in a plane, turned by ``position * BASE ** (-2 i / n)``
    radians ([2]_, equation 15).

    Parameters
    ----------
    positions
        (position,) whole numbers.
    n_rotated
        How many channels, n.
    """
    pairs = torch.arange(0, n_rotated, 2, device=positions.device, dtype=torch.float32)
    angles = positions.to(torch.float32)[:, None] * BASE ** (-pairs / n_rotated)
    return angles.cos(), angles.sin()


def rotate(x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Return queries or keys turned by a :func:`rotation`.

    The product of two vectors so turned depends on the difference of their positions.

    Parameters
    ----------
    x
        (..., position, channel); channels that are not rotated stay.
    cosine, sine
        (position, pair).
    """
    n = 2 * cosine.shape[-1]
    cosine, sine = cosine.to(x.dtype), sine.to(x.dtype)
    even, odd = x[..., 0:n:2], x[..., 1:n:2]
    turned = torch.stack([even * cosine - odd * sine, even * sine + odd * cosine], dim=-1)
    return torch.cat([turned.flatten(-2), x[..., n:]], dim=-1)


def visible(queries: Tensor, keys: Tensor, window: int = 0) -> Tensor:
    """Return which keys each query may see, (query, key) bool: itself and what came before.

    Parameters
    ----------
    queries, keys
        Positions, whole numbers.
    window
        How many of them at most, itself included; 0: all.
    """
    distance = queries[:, None] - keys[None, :]
    seen = distance >= 0
    return seen & (distance < window) if window else seen


class KeyValueCache:
    """Keys and values of the positions so far, for each layer; :meth:`empty` begins one.

    Attributes
    ----------
    keys, values
        One tensor a layer, (batch, head, capacity, channel); the first ``length`` positions count.
    length
        Positions that are in it.
    """

    def __init__(self, keys: list[Tensor], values: list[Tensor]) -> None:
        self.keys, self.values, self.length = keys, values, 0

    @classmethod
    def empty(cls, config: DecoderConfig, batch: int, capacity: int, like: Tensor) -> KeyValueCache:
        """Return room for ``capacity`` positions, of the type and on the device of ``like``."""
        shape = (batch, config.heads, capacity, config.head_width)
        rooms = [[like.new_empty(shape) for _ in range(config.depth)] for _ in range(2)]
        return cls(*rooms)

    def extended(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Write new keys and values of a layer behind those that are there; return all."""
        begin, end = self.length, self.length + keys.shape[2]
        if end > self.keys[layer].shape[2]:
            raise ShapeError(
                "key-value cache",
                got=f"position {end}",
                expected=f"at most {self.keys[layer].shape[2]}",
                hint="make it for the whole length of the sequence",
            )
        self.keys[layer][:, :, begin:end] = keys
        self.values[layer][:, :, begin:end] = values
        return self.keys[layer][:, :, :end], self.values[layer][:, :, :end]


class CausalAttention(nn.Module):
    """Attention of several heads [1]_ that sees no later position, with rotary positions."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.config = config
        inner = config.heads * config.head_width
        self.to_queries = nn.Linear(config.width, inner, bias=False)
        self.to_keys = nn.Linear(config.width, inner, bias=False)
        self.to_values = nn.Linear(config.width, inner, bias=False)
        self.to_output = nn.Linear(inner, config.width, bias=False)

    def forward(self, x: Tensor, cache: KeyValueCache | None = None, layer: int = 0) -> Tensor:
        """Map (batch, position, width) to the same; with a cache, x goes on where it ended."""
        begin = 0 if cache is None else cache.length
        positions = torch.arange(begin, begin + x.shape[1], device=x.device)

        def heads(projected: Tensor) -> Tensor:  # (batch, head, position, channel)
            return projected.unflatten(-1, (self.config.heads, -1)).transpose(1, 2)

        turned = torch.stack([heads(self.to_queries(x)), heads(self.to_keys(x))])
        queries, keys = rotate(turned, *rotation(positions, self.config.n_rotated)).unbind()
        values = heads(self.to_values(x))
        if cache is not None:
            keys, values = cache.extended(layer, keys, values)
        seen = None  # everything
        if x.shape[1] > 1:
            every = torch.arange(keys.shape[2], device=x.device)
            seen = visible(positions, every, self.config.window)
        elif self.config.window:
            keys, values = (each[:, :, -self.config.window :] for each in (keys, values))
        attended = F.scaled_dot_product_attention(queries, keys, values, attn_mask=seen)
        return self.to_output(attended.transpose(1, 2).flatten(2))


class DecoderLayer(nn.Module):
    """Attention, then a perceptron at each position; each adds to what passes through [3]_."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(config.width, bias=False)
        self.attention = CausalAttention(config)
        self.perceptron_norm = nn.LayerNorm(config.width, bias=False)
        self.perceptron = nn.Sequential(
            nn.Linear(config.width, config.hidden),
            nn.GELU(),
            nn.Linear(config.hidden, config.width),
        )
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, cache: KeyValueCache | None = None, layer: int = 0) -> Tensor:
        """Map (batch, position, width) to the same."""
        x = x + self.dropout(self.attention(self.attention_norm(x), cache, layer))
        return x + self.dropout(self.perceptron(self.perceptron_norm(x)))


class Decoder(nn.Module):
    """Layers one after the other, and a last normalisation."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.config = config
        self.layers = nn.ModuleList(DecoderLayer(config) for _ in range(config.depth))
        self.norm = nn.LayerNorm(config.width, bias=False)

    def forward(self, x: Tensor, cache: KeyValueCache | None = None) -> Tensor:
        """Map (batch, position, width) to the same.

        With a cache, ``x`` holds the positions that follow those in it, and they are added to it.
        """
        for number, layer in enumerate(self.layers):
            x = layer(x, cache, number)
        if cache is not None:
            cache.length += x.shape[1]
        return self.norm(x)


class TokenDecoder(nn.Module):
    """The plain language model: tokens (batch, position) in, logits of the next one out.

    With the sizes of the 2024 tutorial it has the parameters of its ``TransformerWrapper`` from
    x-transformers, and with the same weights its output.
    """

    def __init__(self, config: DecoderConfig, n_tokens: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(n_tokens, config.width)
        self.decoder = Decoder(config)
        self.to_logits = nn.Linear(config.width, n_tokens, bias=False)

    def forward(self, tokens: Tensor, cache: KeyValueCache | None = None) -> Tensor:
        """Return (batch, position, n_tokens)."""
        return self.to_logits(self.decoder(self.embedding(tokens), cache))
