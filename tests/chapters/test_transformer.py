"""The small Transformers of the chapter on attention."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from dl101.chapters.transformer import canon
from dl101.nn.decoder_transformer import CausalAttention, DecoderConfig


def tunes(n: int = 3, length: int = 20) -> torch.Tensor:
    return canon.random_tunes(n, length, torch.Generator().manual_seed(3))


@pytest.mark.parametrize("window", [0, 5])
def test_attention_equals_the_library_s(window: int) -> None:
    torch.manual_seed(0)
    config = DecoderConfig(
        width=canon.WIDTH,
        depth=1,
        heads=canon.HEADS,
        head_width=canon.WIDTH // canon.HEADS,
        window=window,
    )
    brick, ours = CausalAttention(config), canon.Attention(True, "rotary")
    ours.load_state_dict(brick.state_dict())
    x = torch.randn(2, 30, canon.WIDTH)
    assert torch.allclose(ours(x, window=window), brick(x), atol=1e-5)


def test_relative_attention_equals_torch_s_with_a_bias() -> None:
    torch.manual_seed(0)
    ours = canon.Attention(causal=True, positions="relative")
    ours.of_distance.data.normal_()
    x = torch.randn(2, 40, canon.WIDTH)
    q, k, v = (
        make(x).unflatten(-1, (canon.HEADS, -1)).transpose(1, 2)
        for make in (ours.to_queries, ours.to_keys, ours.to_values)
    )
    bias = torch.full((canon.HEADS, 40, 40), -math.inf)
    for i in range(40):
        for j in range(i + 1):
            bias[:, i, j] = ours.of_distance[:, min(i - j, canon.TRAINED - 1)]
    library = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
    assert torch.allclose(ours(x), ours.to_output(library.transpose(1, 2).flatten(2)), atol=1e-5)


def test_sinusoids_are_those_of_the_paper() -> None:
    found = canon.sinusoids(7, 6)
    for position in range(7):
        for pair in range(3):
            angle = position / 10_000 ** (2 * pair / 6)
            assert found[position, 2 * pair] == pytest.approx(math.sin(angle), abs=1e-6)
            assert found[position, 2 * pair + 1] == pytest.approx(math.cos(angle), abs=1e-6)


@pytest.mark.parametrize("positions", canon.POSITIONS)
def test_followers_do_not_look_ahead_unless_they_are_made_to(positions: canon.Positions) -> None:
    torch.manual_seed(0)
    network, tune = canon.Follower(positions), tunes()
    other = tune.clone()
    other[:, 10:] = (tune[:, 10:] + 1) % len(canon.PITCHES)
    for ahead, first in ((0, 10), (1, 9)):
        network.layer.attention.ahead = ahead
        with torch.no_grad():
            changed = (network(tune) != network(other)).any(dim=-1).any(dim=0)
        assert changed.nonzero()[0] == first


def test_a_follower_learns_in_seconds_and_a_window_carries_it_on() -> None:
    network, losses = canon.follow("rotary", n_steps=150)
    assert losses[-1] < 0.1 < losses[0]
    assert canon.right_answers(network, canon.TRAINED).mean() > 0.98
    far = canon.right_answers(network, 120)
    assert far.shape == (120 - canon.DISTANCE,)
    assert canon.right_answers(network, 120, window=16).mean() > max(0.95, far.mean())


def test_the_decoder_of_the_crab_sees_its_past_and_the_whole_tune() -> None:
    torch.manual_seed(0)
    network, tune = canon.Crab(), tunes(1, 8)
    written = tunes(1, 7)
    other = written.clone()
    other[:, 4] = (written[:, 4] + 1) % len(canon.PITCHES)
    with torch.no_grad():
        before = network(tune, written)
        changed = (network(tune, other) != before).any(dim=-1)[0]
        assert changed.tolist() == [False] * 5 + [True] * 3  # a mark stands in front
        tune[:, -1] = (tune[:, -1] + 1) % len(canon.PITCHES)
        assert (network(tune, written) != before).any(dim=-1).all()
    assert network.write(tune).shape == tune.shape


def test_tunes_stay_in_the_scale_and_mostly_go_by_steps() -> None:
    many = tunes(200, 50)
    assert many.min() == 0
    assert many.max() == len(canon.PITCHES) - 1
    steps = (many[:, 1:] - many[:, :-1]).abs()
    assert 0.75 < (steps <= 2).float().mean() < 0.95
    assert len(set(canon.ROUND)) > 1
    assert max(canon.ROUND) < len(canon.PITCHES)


def test_notes_are_played_as_loud_as_asked() -> None:
    sound = canon.play([0, -1, 4], [1.0, 1.0, 0.5], step_s=0.2, sample_rate=8000)
    assert sound.shape == (4 * 1600,)
    alone = canon.play([4], 0.5, step_s=0.2, sample_rate=8000)
    assert np.allclose(sound[3200:], alone, atol=1e-6)
    spectrum = np.abs(np.fft.rfft(alone))
    hz = np.argmax(spectrum) * 8000 / len(alone)
    assert hz == pytest.approx(440 * 2 ** ((canon.PITCHES[4] - 69) / 12), rel=0.02)
