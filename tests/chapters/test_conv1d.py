"""The experiment on learned spectrograms: what its front-ends see, count and keep."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dl101.chapters.conv1d import experiment
from dl101.chapters.conv1d.exercises import N_FRAMES, STRENGTH
from dl101.errors import ShapeError
from dl101.nn.frontends import LearnedSpectrogram
from dl101.nn.inspection import receptive_field
from dl101.training.examples import Examples

pytestmark = pytest.mark.slow
LENGTHS = experiment.LENGTHS


@pytest.mark.parametrize("name", experiment.VARIANTS)
def test_front_ends_give_the_frames_and_channels_that_are_counted(name):
    variant = experiment.VARIANTS[name]
    front = experiment.front_end(variant)
    for frames in LENGTHS:
        x = torch.randn(2, 1, experiment.n_samples(frames))
        assert front(x).shape == (2, variant.n_channels, frames)
    learnt = sum(p.numel() for p in front.parameters() if p.requires_grad)
    kernels = experiment.N_KERNELS * experiment.WINDOW_SAMPLES
    expected = {
        "random, 64 × 1": 0,
        "ReLU, 64 × 1": kernels + 64,
        "mel, fixed": 0,
        "mel, trained": 510 * 512 + 32 * 255,
    }
    assert learnt == expected.get(name, kernels)


@pytest.mark.parametrize("name", ["64 × 1", "mel, fixed"])
def test_all_front_ends_look_at_the_same_samples(name):
    front = experiment.front_end(experiment.VARIANTS[name])
    shape = (1, experiment.n_samples(16))
    for frame in (0, 3, 15):
        first, last = receptive_field(front, shape, frame)
        # the first tap of a periodic Hann window is zero
        assert first - frame * 256 in (0, 1) and last == frame * 256 + 511


def sides(frames: int, n: int = 48) -> dict[str, Examples]:
    """High or low tones in random phases."""
    rng = np.random.default_rng(0)
    made = {}
    for side in ("train", "validation", "test"):
        labels = rng.integers(0, 2, n)
        t = np.arange(experiment.n_samples(frames)) / experiment.SAMPLE_RATE
        hz, phase = np.where(labels, 2000.0, 300.0)[:, None], rng.uniform(0, 6.28, (n, 1))
        made[side] = Examples(
            (0.14 * np.sin(2 * np.pi * hz * t + phase))[:, None].astype(np.float32), labels
        )
    return made


def test_training_is_watched_from_its_start_and_what_is_fixed_stays():
    data = sides(1)
    seen = []
    variant = experiment.VARIANTS["32 × 2"]
    network = experiment.train_one(
        variant, data, epochs=3, watch=lambda net: seen.append(net.front.filters().clone())
    )
    torch.manual_seed(0)
    assert len(seen) == 4 and (seen[0] == experiment.front_end(variant).filters()).all()
    assert any((network.front.filters() == kernels).all() for kernels in seen[1:])
    assert not (seen[0] == seen[-1]).any()

    fixed = experiment.VARIANTS["random, 64 × 1"]
    network = experiment.train_one(fixed, data, epochs=3)
    torch.manual_seed(0)
    assert (network.front.filters() == experiment.front_end(fixed).filters()).all()


def test_a_fixed_front_end_learns_what_is_easy_and_both_lengths_are_scored():
    data = {frames: sides(frames) for frames in LENGTHS}
    variant = experiment.VARIANTS["mel, fixed"]
    trained = experiment.train(variant, data)
    assert trained.network is trained.networks[16]
    scores = experiment.score(trained, variant, data)
    assert scores == {"accuracy": 1.0, "accuracy_one": 1.0}
    baseline = experiment.COMPARISON.baselines["most frequent octave"](data)
    assert baseline["accuracy"] == baseline["accuracy_one"] < 0.8


def test_the_exercises_and_the_library_mean_the_same():
    for n, kernel, hop, centred in N_FRAMES.cases():
        layer = LearnedSpectrogram(1, kernel, hop, centred=centred)
        if n_frames := N_FRAMES.right(n, kernel, hop, centred):
            assert layer(torch.zeros(1, 1, n)).shape[-1] == n_frames
        else:  # a waveform without any frame is refused
            with pytest.raises(ShapeError, match=f"at least {kernel} samples"):
                layer(torch.zeros(1, 1, n))
    x, window, hz, rate = STRENGTH.cases()[0]
    pair = LearnedSpectrogram(1, x.size, 1, pool=2, centred=False, eps=1e-12).double()
    angle = 2 * np.pi * hz * np.arange(x.size) / rate
    with torch.no_grad():
        waves = np.stack([window * np.cos(angle), window * np.sin(angle)])[:, None]
        pair.filters().copy_(torch.from_numpy(waves))
        power = pair(torch.from_numpy(x)[None, None]).exp().item()
    assert 2 * power**0.5 / window.sum() == pytest.approx(STRENGTH.right(x, window, hz, rate))
