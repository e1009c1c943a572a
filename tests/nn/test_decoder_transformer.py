"""The decoder: positions, causality, the cache, and x-transformers with the same weights."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from dl101.errors import ConfigError, ShapeError
from dl101.nn.decoder_transformer import (
    CausalAttention,
    Decoder,
    DecoderConfig,
    KeyValueCache,
    TokenDecoder,
    rotate,
    rotation,
    visible,
)

SMALL = DecoderConfig(width=12, depth=2, heads=2, head_width=6, hidden=20)
# The sizes of the 2024 tutorial; x-transformers rotates half of a head's channels, at least 32.
PUBLISHED = DecoderConfig(width=256, depth=6, heads=4, head_width=64, hidden=1024, rotated=32)
COUNTS = json.loads((Path(__file__).parents[1] / "golden" / "parameter_counts.json").read_text())


def test_rotation_is_that_of_complex_numbers():
    x = torch.randn(3, 7, 8, dtype=torch.float64)
    positions = torch.tensor([0, 1, 5, 9, 20, 100, 1000])
    speeds = 10_000.0 ** (-np.arange(4) / 4)
    points = x.numpy()[..., 0::2] + 1j * x.numpy()[..., 1::2]
    turned = points * np.exp(1j * positions.numpy()[:, None] * speeds)
    found = rotate(x, *rotation(positions, 8)).numpy()
    np.testing.assert_allclose(found[..., 0::2], turned.real, atol=1e-3)  # angles in float32
    np.testing.assert_allclose(found[:, :4, 0::2], turned.real[:, :4], atol=1e-5)
    np.testing.assert_allclose(found[:, :4, 1::2], turned.imag[:, :4], atol=1e-5)


def test_products_depend_on_the_distance_alone():
    q, k = torch.randn(2, 1, 16, dtype=torch.float64)

    def product(i: int, j: int) -> float:
        turned = [rotate(x, *rotation(torch.tensor([at]), 16)) for x, at in ((q, i), (k, j))]
        return float(turned[0] @ turned[1].T)

    assert product(9, 4) == pytest.approx(product(35, 30), abs=1e-5)
    assert abs(product(9, 4) - product(9, 5)) > 1e-3


def test_channels_that_are_not_rotated_stay():
    x = torch.randn(2, 4, 10)
    turned = rotate(x, *rotation(torch.arange(4), 4))
    torch.testing.assert_close(turned[..., 4:], x[..., 4:], rtol=0, atol=0)
    assert not torch.allclose(turned[:, 1:, :4], x[:, 1:, :4])


def test_what_a_query_sees():
    every = torch.arange(4)
    assert visible(every, every).int().tolist() == np.tri(4, dtype=int).tolist()
    assert visible(torch.tensor([3]), every, window=2).int().tolist() == [[0, 0, 1, 1]]


@pytest.mark.parametrize("window", [0, 4])
def test_attention_is_the_textbook_formula(window):
    torch.manual_seed(0)
    config = DecoderConfig(width=10, heads=2, head_width=4, window=window)
    attention, x = CausalAttention(config), torch.randn(2, 9, 10)
    found = attention(x)
    expected = torch.zeros(2, 9, 8)
    for head in range(2):
        at = slice(4 * head, 4 * head + 4)
        q = rotate(attention.to_queries(x)[..., at], *rotation(torch.arange(9), 4))
        k = rotate(attention.to_keys(x)[..., at], *rotation(torch.arange(9), 4))
        v = attention.to_values(x)[..., at]
        for i in range(9):
            first = max(0, i + 1 - window) if window else 0
            products = (q[:, i, None] * k[:, first : i + 1]).sum(-1) / 4**0.5
            expected[:, i, at] = (products.softmax(-1)[..., None] * v[:, first : i + 1]).sum(1)
    torch.testing.assert_close(found, attention.to_output(expected), rtol=0, atol=1e-6)


@pytest.mark.parametrize("window", [0, 5])
def test_nothing_looks_ahead_and_everything_before_counts(window):
    torch.manual_seed(0)
    config = DecoderConfig(width=12, depth=1, heads=2, head_width=6, hidden=20, window=window)
    decoder, x = Decoder(config), torch.randn(1, 11, 12, requires_grad=True)
    position = 7
    decoder(x)[0, position].square().sum().backward()
    reached = x.grad[0].abs().sum(-1) > 0
    first = position + 1 - window if window else 0
    assert reached.tolist() == [first <= i <= position for i in range(11)]


@pytest.mark.parametrize("window", [0, 3])
@pytest.mark.parametrize("parts", [[1] * 13, [5, 8], [4, 1, 1, 7], [13]])
def test_the_cache_changes_nothing(window, parts):
    torch.manual_seed(1)
    config = DecoderConfig(width=12, depth=3, heads=2, head_width=6, hidden=20, window=window)
    decoder, x = Decoder(config).eval(), torch.randn(3, 13, 12)
    with torch.inference_mode():
        at_once = decoder(x)
        cache = KeyValueCache.empty(config, 3, 13, x)
        in_parts = torch.cat([decoder(part, cache) for part in x.split(parts, dim=1)], dim=1)
    torch.testing.assert_close(in_parts, at_once, rtol=0, atol=1e-5)
    assert cache.length == 13


def test_a_cache_that_is_full_says_so():
    cache = KeyValueCache.empty(SMALL, 1, 4, torch.zeros(1))
    with pytest.raises(ShapeError, match="position 5"):
        Decoder(SMALL)(torch.zeros(1, 5, 12), cache)


@pytest.mark.parametrize("changes", [{"head_width": 5}, {"rotated": 8}, {"rotated": 3}])
def test_channels_to_rotate_come_in_pairs(changes):
    with pytest.raises(ConfigError, match="two are rotated together"):
        DecoderConfig(**{"head_width": 6, **changes})


def test_the_published_size():
    with torch.device("meta"):
        model = TokenDecoder(PUBLISHED, 1024)
    count = sum(p.numel() for p in model.parameters())
    assert count == COUNTS["dl101/AR transformer"]["count"] == 5_253_888


def test_x_transformers_is_a_drop_in():
    """The same parameters in the same order, and with the same weights the same logits."""
    published = pytest.importorskip("x_transformers")
    torch.manual_seed(0)
    theirs = published.TransformerWrapper(
        num_tokens=1024,
        max_seq_len=250,
        attn_layers=published.Decoder(dim=256, depth=6, heads=4, rotary_pos_emb=True),
    ).eval()
    ours = TokenDecoder(PUBLISHED, 1024).eval()
    # both list embedding, layers, last norm, logits; theirs has gains of norms as 1 + gamma
    weights = {
        name: value + 1.0 if name.endswith("gamma") and not value.any() else value
        for name, value in theirs.state_dict().items()
        if "inv_freq" not in name
    }
    order = [name for name in weights if name.startswith("token_emb")]
    order += [name for name in weights if name.startswith("attn_layers.layers")]
    order += ["attn_layers.final_norm.gamma", "to_logits.weight"]
    assert sorted(order) == sorted(weights)
    ours.load_state_dict(
        dict(zip(ours.state_dict(), (weights[name] for name in order), strict=True))
    )
    tokens = torch.randint(0, 1024, (2, 250))
    with torch.no_grad():
        torch.testing.assert_close(ours(tokens), theirs(tokens), rtol=0, atol=1e-4)
