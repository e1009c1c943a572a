from __future__ import annotations

import math

import librosa
import numpy as np
import pytest
import scipy.signal
import torch

from dl101.errors import ConfigError
from dl101.evaluation.separation import sdr, si_sdr
from dl101.nn.losses import (
    MultiResolutionSTFT,
    feature_matching,
    hinge_discriminator,
    hinge_generator,
    masked_binary_cross_entropy,
    si_sdr_loss,
)


def test_equals_the_formula_and_ignores_padding():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 1, 5, 4, generator=generator)
    target = (torch.rand(2, 1, 5, 4, generator=generator) > 0.7).float()
    mask = torch.tensor([[1.0, 1, 1, 1], [1, 1, 0, 0]])
    p = torch.sigmoid(logits)
    cost = -(3 * target * p.log() + (1 - target) * (1 - p).log())
    expected = (cost[0].sum() + cost[1, :, :, :2].sum()) / (5 * 6)
    got = masked_binary_cross_entropy(logits, target, mask, positive_weight=3)
    assert got == pytest.approx(float(expected), rel=1e-5)
    logits[1, :, :, 2:] = 100  # whatever is predicted on padding
    same = masked_binary_cross_entropy(logits, target, mask, positive_weight=3)
    assert same == pytest.approx(float(expected), rel=1e-5)


def test_no_real_frame_costs_nothing():
    zeros = torch.zeros(1, 1, 3, 2)
    assert masked_binary_cross_entropy(zeros, zeros, torch.zeros(1, 2)) == 0


# ---- spectra -----------------------------------------------------------------------------------


def by_scipy(estimate, reference, windows, floor, bands=None):
    """The formula, written with SciPy's transform: another code for the same numbers."""
    total = 0.0
    for size in windows:
        window = scipy.signal.get_window("hann", size)
        transform = scipy.signal.ShortTimeFFT(window, size // 4, fs=1.0, scale_to="magnitude")
        n_frames = 1 + estimate.shape[1] // (size // 4)
        found, wanted = (
            2 * np.abs(transform.stft(x, p0=0, p1=n_frames)) for x in (estimate, reference)
        )
        if bands is not None:
            filters = librosa.filters.mel(sr=16000, n_fft=size, n_mels=bands, norm=None)
            found, wanted = (
                np.sqrt(np.einsum("bf,nft->nbt", filters, x**2) + 1e-12) for x in (found, wanted)
            )
        convergence = np.sqrt(((found - wanted) ** 2).sum() / (wanted**2).sum())
        total += convergence + np.abs(np.log((found + floor) / (wanted + floor))).mean()
    return total / len(windows)


@pytest.mark.parametrize(
    ("windows", "floor", "bands"),
    [((512,), 1e-3, None), ((1024, 256, 64), 1e-2, None), ((1024, 512), 1e-3, 20)],
)
def test_spectral_loss_equals_scipy(windows, floor, bands):
    rng = np.random.default_rng(0)
    estimate, reference = 0.1 * rng.standard_normal((2, 3, 4096))
    reference[1] = 0.0  # silence among sounds divides by nothing
    loss = MultiResolutionSTFT(windows, floor=floor, n_bands=bands, sample_rate=16000)
    got = float(loss(torch.from_numpy(estimate), torch.from_numpy(reference)))
    expected = by_scipy(estimate, reference, windows, floor, bands)
    # windows and mel filters are float32
    assert got == pytest.approx(expected, rel=1e-7 if bands is None else 1e-5)


def test_spectral_loss_does_not_hear_a_sign_and_hears_a_gain():
    x = torch.randn(2, 8192, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    loss = MultiResolutionSTFT((512,), floor=1e-9)
    assert float(loss(-x, x)) == pytest.approx(0.0, abs=1e-9)
    assert float(loss(2 * x, x)) == pytest.approx(1.0 + math.log(2), rel=1e-6)


@pytest.mark.parametrize("bands", [None, 20])
def test_spectral_loss_has_a_gradient_everywhere_even_in_silence(bands):
    loss = MultiResolutionSTFT((1024, 256), n_bands=bands, sample_rate=16000)
    silence = torch.zeros(2, 4000, requires_grad=True)
    for reference in (torch.zeros(2, 4000), torch.randn(2, 4000)):
        (gradient,) = torch.autograd.grad(loss(silence, reference), silence)
        assert torch.isfinite(gradient).all()


def test_spectral_loss_refuses_what_it_cannot_do():
    for given in ({"windows": ()}, {"windows": (2,)}, {"n_bands": 20}):
        with pytest.raises(ConfigError, match="MultiResolutionSTFT"):
            MultiResolutionSTFT(**given)


# ---- adversarial -------------------------------------------------------------------------------


def test_hinge_losses_in_closed_form():
    real = [torch.tensor([2.0, 0.5]), torch.tensor([[1.0]])]
    fake = [torch.tensor([-3.0, 0.0]), torch.tensor([[0.5]])]
    assert float(hinge_discriminator(real, fake)) == ((0.25 + 0.5) + (0.0 + 1.5)) / 2
    assert float(hinge_generator(fake)) == ((4.0 + 1.0) / 2 + 0.5) / 2


def test_feature_matching_is_relative_and_moves_only_what_is_made():
    real = [[torch.tensor([1.0, -3.0], requires_grad=True)], [torch.tensor([0.5])]]
    fake = [[torch.tensor([1.0, 1.0], requires_grad=True)], [torch.tensor([0.5])]]
    loss = feature_matching(real, fake)
    assert loss.item() == pytest.approx((2.0 / 2.0 + 0.0) / 2)
    loss.backward()
    assert real[0][0].grad is None and fake[0][0].grad is not None


def test_the_si_sdr_loss_is_the_metric_with_its_sign_turned():
    rng = np.random.default_rng(0)
    reference, noise = rng.standard_normal((2, 3, 200))
    estimate = 0.3 * reference + 0.1 * noise
    expected = -np.mean([si_sdr(e, r) for e, r in zip(estimate, reference, strict=True)])
    found = si_sdr_loss(torch.tensor(estimate), torch.tensor(reference))
    louder = si_sdr_loss(torch.tensor(5 * estimate), torch.tensor(reference))
    assert float(louder) == pytest.approx(float(found), abs=1e-9)
    assert float(found) == pytest.approx(expected, abs=1e-3)
    assert float(si_sdr_loss(torch.tensor(reference), torch.tensor(reference))) == pytest.approx(
        -60
    )
    levelled = si_sdr_loss(torch.tensor(estimate), torch.tensor(reference), any_level=False)
    expected = -np.mean([sdr(e, r) for e, r in zip(estimate, reference, strict=True)])
    assert float(levelled) == pytest.approx(expected, abs=1e-3)


def test_a_silent_reference_does_not_count_and_slopes_are_finite():
    reference = torch.randn(2, 100)
    reference[1] = 0.0
    estimate = torch.randn(2, 100, requires_grad=True)
    loss = si_sdr_loss(estimate, reference)
    torch.testing.assert_close(loss, si_sdr_loss(estimate[:1], reference[:1]))
    loss.backward()
    assert estimate.grad[0].abs().max() > 0 and not estimate.grad[1].any()
    nothing = torch.zeros(2, 100, requires_grad=True)
    si_sdr_loss(nothing, torch.randn(2, 100)).backward()
    assert nothing.grad.isfinite().all()
    assert float(si_sdr_loss(estimate.detach(), torch.zeros(2, 100))) == 0.0
    soft = 1e-3 * reference[:1]
    assert float(si_sdr_loss(soft + 0.1 * torch.randn(1, 100), soft, silent_db=-50.0)) == 0.0
    for said in (reference.clone(), 5 * reference):
        said.requires_grad_()
        si_sdr_loss(said, reference).backward()
        assert said.grad.isfinite().all()
