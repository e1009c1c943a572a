"""Sounds in blocks: the same as in one piece, whatever the lengths, in bounded memory."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import scipy.signal

from dl101.errors import ConfigError, DataError
from dl101.signal import streams


class Smoother:
    """A separator with a known reach: a moving average, and the rest."""

    sample_rate, stems, step_samples, window_s = 1000, ("low", "high"), 1, 0.5

    def __init__(self, reach: int, *, step: int = 1) -> None:
        self.context_samples, self.step_samples = reach, step
        self.longest = 0

    def separate(self, audio):
        self.longest = max(self.longest, audio.shape[-1])
        kernel = np.ones(2 * self.context_samples + 1) / (2 * self.context_samples + 1)
        low = np.stack([np.convolve(each, kernel, mode="same") for each in audio])
        low = low[:, : audio.shape[1]].astype(np.float32)
        return np.stack([low, audio - low])


def cut(audio, rng, longest):
    start = 0
    while start < audio.shape[1]:
        n = int(rng.integers(1, longest))
        yield audio[:, start : start + n]
        start += n


def joined(blocks):
    return np.concatenate(list(blocks), axis=-1)


@pytest.mark.parametrize("n_samples", [1, 99, 100, 101, 199, 200, 201, 1234, 5000])
@pytest.mark.parametrize("block", [7, 100, 3000])
def test_windows_that_overlap_give_what_the_whole_gives(n_samples, block):
    rng = np.random.default_rng([n_samples, block])
    audio = rng.standard_normal((2, n_samples)).astype(np.float32)
    smoother = Smoother(reach=10)
    found = joined(
        streams.separate(smoother, cut(audio, rng, block), window_samples=100, fade_samples=13)
    )
    assert found.shape == (2, 2, n_samples) and smoother.longest <= 100
    whole = Smoother(reach=10).separate(audio) if n_samples > 21 else found
    np.testing.assert_allclose(found, whole, atol=1e-5)
    np.testing.assert_allclose(found.sum(axis=0), audio, atol=1e-5)


def test_too_little_context_shows():
    audio = np.random.default_rng(0).standard_normal((1, 1000)).astype(np.float32)
    smoother = Smoother(reach=10)
    whole = smoother.separate(audio)
    smoother.context_samples = 10

    class Short(Smoother):
        def separate(self, audio):
            return smoother.separate(audio)

    found = joined(streams.separate(Short(4), audio, window_samples=100, fade_samples=0))
    assert np.abs(found - whole).max() > 0.1


def test_windows_begin_at_multiples_of_the_step():
    starts = []

    class Noting(Smoother):
        def separate(self, audio):
            starts.append(int(audio[0, 0]))
            return super().separate(audio)

    audio = np.arange(5000, dtype=np.float32)[None]
    joined(streams.separate(Noting(10, step=16), audio, window_samples=333))
    assert len(starts) > 10 and not any(start % 16 for start in starts)


def test_what_disagrees_fades_from_one_window_to_the_next():
    class Counting(Smoother):
        n = -1.0

        def separate(self, audio):
            self.n += 1
            return np.full((1, *audio.shape), self.n, np.float32)

    found = joined(
        streams.separate(
            Counting(0), np.zeros((1, 300), np.float32), window_samples=100, fade_samples=20
        )
    )[0, 0]
    assert np.all(np.diff(found) >= 0) and np.abs(np.diff(found)).max() < 0.06
    assert found[:80].max() == 0 and found[100] == 1 and found[-1] == 3


def test_windows_too_short_for_their_context_are_refused():
    with pytest.raises(ConfigError, match="windows of 30 samples or more"):
        list(streams.separate(Smoother(10), np.zeros((1, 50)), window_samples=25, fade_samples=9))


def test_an_empty_stream_gives_nothing():
    assert list(streams.separate(Smoother(10), [])) == []
    assert list(streams.resample([], 44100, 16000)) == []


def test_memory_does_not_grow_with_the_length():
    def peak(n_blocks):
        blocks = (np.ones((2, 10_000), np.float32) for _ in range(n_blocks))
        tracemalloc.start()
        resampled = streams.resample(blocks, 44100, 16000)
        n = sum(
            part.shape[-1]
            for part in streams.separate(Smoother(10), resampled, window_samples=20_000)
        )
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most, n

    short, long = peak(40), peak(400)
    assert long[1] == -(-400 * 10_000 * 160 // 441) and short[1] * 9 < long[1]
    assert long[0] < 1.2 * short[0]


@pytest.mark.parametrize("rates", [(44100, 16000), (16000, 44100), (8000, 16000), (22050, 22050),
                                   (48000, 16000), (11025, 16000), (96000, 44100)])  # fmt: skip
@pytest.mark.parametrize("n_samples", [1, 441, 70_000, 200_123])
def test_a_stream_is_resampled_as_the_whole(rates, n_samples):
    rng = np.random.default_rng(n_samples)
    audio = rng.standard_normal((2, n_samples)).astype(np.float32)
    found = joined(streams.resample(cut(audio, rng, 30_000), *rates))
    expected = scipy.signal.resample_poly(audio, rates[1], rates[0], axis=1)
    assert found.dtype == np.float32 and found.shape == expected.shape
    np.testing.assert_allclose(found, expected, atol=2e-6)


def test_a_sound_in_memory_is_separated_as_its_stream():
    audio = np.random.default_rng(0).standard_normal((2, 5000)).astype(np.float32)
    found = streams.separate_whole(Smoother(10), audio)
    np.testing.assert_array_equal(found, joined(streams.separate(Smoother(10), [audio])))
    assert streams.separate_whole(Smoother(10), audio[0].tolist()).shape == (2, 1, 5000)
    for wrong in (np.zeros((3, 100)), np.zeros((2, 0)), np.zeros((1, 2, 50))):
        with pytest.raises(DataError, match="put channels first"):
            streams.separate_whole(Smoother(10), wrong)
