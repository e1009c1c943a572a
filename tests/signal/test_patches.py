"""The index of patches: every frame once, the same patches as a plain loop, means by track."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from dl101.errors import ConfigError, DataError
from dl101.signal.patches import Patch, PatchIndex, block_order, pad_frames, patches

LENGTHS = (10, 0, 1, 25, 8, 9, 16)


def by_loop(lengths, patch_frames, hop_frames):
    """Return what the index stands for, as a list."""
    return [
        (track, int(start), int(stop))
        for track, n in enumerate(lengths)
        for start, stop in patches(n, patch_frames=patch_frames, hop_frames=hop_frames)
    ]


@pytest.mark.parametrize(("patch_frames", "hop_frames"), [(8, 8), (8, 4), (8, 3), (1, 1), (40, 7)])
def test_index_is_the_list_of_all_patches(patch_frames, hop_frames):
    index = PatchIndex(LENGTHS, patch_frames=patch_frames, hop_frames=hop_frames)
    assert list(index) == by_loop(LENGTHS, patch_frames, hop_frames)
    assert index[-1] == index[len(index) - 1]
    for track in range(len(LENGTHS)):
        assert all(index[i].track == track for i in index.of_track(track))
    for number in (len(index), -len(index) - 1):
        with pytest.raises(IndexError, match=str(len(index))):
            index[number]


def test_every_frame_exactly_once():
    index = PatchIndex(LENGTHS, patch_frames=8)
    seen = [np.zeros(n, dtype=int) for n in LENGTHS]
    for track, start, stop in index:
        seen[track][start:stop] += 1
    assert all((counts == 1).all() for counts in seen)


def test_long_datasets_cost_no_more_than_their_tracks():
    index = PatchIndex([10**9] * 3, patch_frames=128)
    assert index.first.size == 4
    n_patches = -(-(10**9) // 128)
    assert index[2 * n_patches + 1] == Patch(2, 128, 256)


def test_cut_pads_with_zeros_and_shares_memory_otherwise():
    index = PatchIndex([10], patch_frames=8)
    values = np.arange(1.0, 21.0, dtype=np.float32).reshape(2, 10)
    whole, last = (index.cut(values, patch) for patch in index)
    assert np.shares_memory(whole, values)
    np.testing.assert_array_equal(last, [[9, 10, 0, 0, 0, 0, 0, 0], [19, 20, 0, 0, 0, 0, 0, 0]])
    assert pad_frames(values, 12).shape == (2, 12)


def test_mean_by_track():
    index = PatchIndex([10, 3, 25], patch_frames=8)  # 2, 1 and 4 patches
    scores = np.arange(14.0).reshape(7, 2)
    means = [scores[:2].mean(0), scores[2], scores[3:].mean(0)]
    np.testing.assert_allclose(index.mean_by_track(scores), means)
    np.testing.assert_allclose(index.mean_by_track(scores[:, 0]), [1.0, 4.0, 9.0])
    with pytest.raises(DataError, match="6 scores"):
        index.mean_by_track(scores[:6])
    with pytest.raises(DataError, match="1 tracks without"):
        PatchIndex([10, 0], patch_frames=8).mean_by_track([1.0, 2.0])


@pytest.mark.parametrize("block_tracks", [1, 2, 3, 7, 100])
def test_blocks_hold_every_patch_once_and_few_tracks(block_tracks):
    index = PatchIndex(LENGTHS, patch_frames=4)
    numbers = []
    for tracks, block in block_order(index, np.random.default_rng(0), block_tracks=block_tracks):
        assert len(tracks) <= block_tracks
        assert {index[i].track for i in block} <= set(tracks.tolist())
        numbers += block.tolist()
    assert sorted(numbers) == list(range(len(index)))
    assert numbers != sorted(numbers)


def test_a_block_of_all_tracks_is_a_shuffle_of_everything():
    index = PatchIndex([8] * 50, patch_frames=1)
    ((_, order),) = block_order(index, np.random.default_rng(1), block_tracks=50)
    neighbours = np.mean([index[a].track == index[b].track for a, b in pairwise(order)])
    assert neighbours < 0.05  # 7 / 399 by chance


def test_mistakes_are_named():
    with pytest.raises(ConfigError, match="hop_frames"):
        PatchIndex([10], patch_frames=4, hop_frames=5)
    with pytest.raises(ConfigError, match="block_tracks"):
        next(
            block_order(PatchIndex([10], patch_frames=4), np.random.default_rng(0), block_tracks=0)
        )


@pytest.mark.parametrize(
    "change",
    [{"patch_frames": 10.5}, {"patch_frames": np.nan}, {"hop_frames": 0}, {"hop_frames": True}],
)
def test_a_length_that_is_no_number_of_frames_is_refused(change: dict) -> None:
    with pytest.raises(ConfigError, match=next(iter(change))):
        patches(100, **({"patch_frames": 50, "hop_frames": 50} | change))


@pytest.mark.parametrize("n_frames", [0, 1, 49, 50, 51, 99, 100, 101, 120])
@pytest.mark.parametrize("hop_frames", [1, 20, 25, 50])
def test_patches_keep_every_frame(n_frames: int, hop_frames: int) -> None:
    spans = patches(n_frames, patch_frames=50, hop_frames=hop_frames)
    covered = np.zeros(n_frames, dtype=bool)
    for start, stop in spans:
        assert start < stop <= n_frames
        covered[start:stop] = True
    assert covered.all()
    lengths = spans[:, 1] - spans[:, 0]
    assert np.all(lengths[:-1] == 50) and np.all(np.diff(spans[:, 0]) == hop_frames)
    assert len(spans) < 2 or spans[-2, 1] < n_frames  # the last one is needed


def test_patches_that_would_skip_frames_are_refused() -> None:
    assert patches(101, patch_frames=50, hop_frames=50).tolist() == [[0, 50], [50, 100], [100, 101]]
    for patch_frames, hop_frames in ((50, 51), (50, 0), (0, 0)):
        with pytest.raises(ConfigError, match="patch"):
            patches(100, patch_frames=patch_frames, hop_frames=hop_frames)
