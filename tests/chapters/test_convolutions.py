"""The mixture that the chapter on convolutions tries its kernels on, and its gradients."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from dl101.chapters.convolutions import mixture
from dl101.chapters.convolutions.mixture import Mixture


@pytest.fixture(scope="module")
def music() -> Mixture:
    return Mixture(n_chords=2)


def test_the_mixture_is_the_sum_and_the_shares_are_those_of_its_parts(music):
    np.testing.assert_array_equal(music.audio, music.chords + music.drums)
    share = music.share.numpy()
    assert share.min() >= 0 and share.max() <= 1
    # all of the mixture kept sounds like the mixture; true shares find the drums
    np.testing.assert_allclose(music.heard(np.ones(share.shape)), music.audio, atol=1e-5)
    error = np.square(music.heard(share) - music.drums).sum()
    assert error < 0.1 * np.square(music.drums).sum()


def test_a_sine_of_full_scale_has_the_magnitude_one(music):
    t = np.arange(8 * mixture.WINDOW) / mixture.SAMPLE_RATE
    spectrum = np.abs(music.spectrum(np.sin(2 * np.pi * 16 * 21.533203125 * t)))
    np.testing.assert_allclose(spectrum[16, 8:-8], 1, atol=1e-3)


def test_training_lowers_the_loss_and_depends_on_its_seed_only(music):
    runs = []
    for _ in range(2):
        torch.manual_seed(0)
        runs.append(
            music.train(nn.Conv2d(1, 1, 3, padding=1), seed=1, n_steps=20, learning_rate=0.05)
        )
    assert runs[0] == runs[1]
    assert runs[0][-1] < runs[0][0]


def test_the_ratio_is_that_of_the_share(music):
    class Truth(nn.Module):
        def forward(self, x):
            return torch.logit(music.share, eps=1e-6)[None, None]

    found = mixture.separated(music, Truth())
    np.testing.assert_allclose(found.share, music.share, atol=1e-5)
    assert found.sdr_db > 10


def test_gradients_are_those_of_the_chain_rule():
    class Half(nn.Module):
        def __init__(self, channels):
            super().__init__()

        def forward(self, x):
            return x / 2

    np.testing.assert_allclose(mixture.gradient_norms(Half, 3), [1 / 8, 1 / 4, 1 / 2, 1], rtol=1e-5)


def test_a_stack_keeps_the_size():
    network = mixture.stack(lambda c: nn.Conv2d(c, c, 3, padding=1), 2, channels=4)
    assert network(torch.randn(1, 1, 9, 7)).shape == (1, 1, 9, 7)
    assert len(network) == 4
