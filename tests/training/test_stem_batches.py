"""Pieces of songs: where they are, and how stems are varied."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from dl101.data.songs import SongTrack
from dl101.training import stem_batches
from dl101.training.stem_batches import RemixConfig


def test_pieces_are_where_they_should_be():
    stems = np.arange(100, dtype=np.float32).reshape(1, 1, 100)
    pieces = stem_batches.Pieces([SongTrack("a", "train", stems)], hop=30, length=50, before=10)
    assert len(pieces) == 3
    first, second, last = (pieces[i]["stems"][0, 0].numpy() for i in range(3))
    np.testing.assert_array_equal(first, [*np.zeros(10), *range(40)])
    np.testing.assert_array_equal(second, range(20, 70))
    np.testing.assert_array_equal(last, [*range(50, 100)])
    short = stem_batches.Pieces(
        [SongTrack("a", "train", stems[..., :5])], hop=30, length=50, before=10
    )
    np.testing.assert_array_equal(
        short[0]["stems"][0, 0].numpy(), [*np.zeros(10), *range(5), *np.zeros(35)]
    )


@pytest.mark.parametrize("n_channels", [1, 2])
def test_whatever_is_varied_sums_to_the_mixture_and_fits(n_channels):
    rng = np.random.default_rng(0)
    stems = torch.randn(6, 4, n_channels, 300)
    config = RemixConfig(semitones=2.0, stretch=(0.9, 1.1))
    assert stem_batches.vary(stems, 200, rng, config).shape == (6, 4, n_channels, 200)
    plain = RemixConfig(gain_db=0.0, swap=0.0, flip=0.0, remix=0.0)
    made = stem_batches.vary(stems, 200, np.random.default_rng(1), plain)
    for piece, source_piece in zip(made, stems, strict=True):  # the same part of all stems
        starts = {int(s) for s in range(101) if torch.equal(source_piece[..., s : s + 200], piece)}
        assert len(starts) == 1


def test_each_way_to_vary_does_what_its_name_says():
    stems = torch.arange(1.0, 5)[:, None, None, None] * torch.tensor([1.0, 2, 4, 8])[:, None, None]
    stems = (stems * torch.tensor([1.0, 100.0])[:, None]).expand(4, 4, 2, 50).clone()
    none = {"gain_db": 0.0, "swap": 0.0, "flip": 0.0, "remix": 0.0}

    def varied(**given):
        rng = np.random.default_rng(3)
        return stem_batches.vary(stems, 50, rng, RemixConfig(**{**none, **given}))[..., 0]

    assert torch.equal(varied(), stems[..., 0])
    assert torch.equal(varied(flip=1.0), -stems[..., 0])
    assert torch.equal(varied(swap=1.0), stems[..., 0].flip(2))
    gains = 20 * torch.log10(varied(gain_db=6.0) / stems[..., 0])
    assert gains.abs().max() <= 6.0001 and gains.std() > 1
    torch.testing.assert_close(gains[..., 0], gains[..., 1])  # both channels of a stem
    remixed = varied(remix=1.0)
    for row in range(4):  # each stem once, from another song than its neighbours
        assert sorted(remixed[:, row, 0].tolist()) == sorted(stems[:, row, 0, 0].tolist())
    songs_of = remixed[:, :, 0] / stems[0, :, 0, 0]
    assert any(len(set(row.tolist())) > 1 for row in songs_of)


def test_stretching_and_shifting_move_all_stems_alike():
    t = np.arange(9000) / 16_000
    tones = np.stack([np.sin(2 * np.pi * hz * t) for hz in (500, 1000)])[:, None]
    stems = torch.from_numpy(tones.astype(np.float32))[None]
    config = RemixConfig(0.0, 0.0, 0.0, 0.0, semitones=5.0, stretch=(0.8, 0.8))
    assert config.spare(1000, 100) == 350
    made = stem_batches.vary(stems, 6000, np.random.default_rng(5), config)[0, :, 0].numpy()
    peaks = np.abs(np.fft.rfft(made * np.hanning(6000), axis=1)).argmax(axis=1) * 16_000 / 6000
    assert peaks[1] / peaks[0] == pytest.approx(2, rel=0.02)
    assert abs(12 * math.log2(peaks[0] / 500)) > 0.5


def test_remixing_draws_an_order_for_each_stem_and_chances_are_those_given():
    number = torch.arange(64 * 4 * 2, dtype=torch.float32) + 1
    stems = number.view(64, 4, 2, 1).expand(-1, -1, -1, 5)
    none = {"gain_db": 0.0, "swap": 0.0, "flip": 0.0, "remix": 0.0}

    def varied(**given):
        config = RemixConfig(**{**none, **given})
        return stem_batches.vary(stems, 5, np.random.default_rng(0), config)

    orders = set()
    found = varied(remix=1.0)
    for row in range(4):  # each a permutation of its own row, all its channels together
        order = [int((stems[:, row, 0, 0] == value).nonzero()) for value in found[:, row, 0, 0]]
        assert sorted(order) == list(range(64)) and torch.equal(found[:, row], stems[order, row])
        orders.add(tuple(order))
    assert len(orders) == 4 and torch.equal(found, varied(remix=1.0))
    moved = (varied(remix=0.5) != stems).all(dim=(2, 3))
    swapped = (varied(swap=0.5) == stems.flip(2)).all(dim=(2, 3))
    flipped = (varied(flip=0.5) == -stems).all(dim=(2, 3))
    for share in (moved, swapped, flipped):
        assert 0.3 < share.float().mean() < 0.7
        assert (share.any(dim=1) & ~share.all(dim=1)).any()  # each stem by itself
