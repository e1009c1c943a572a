"""The torch twins against the features, and their gradients."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dl101.errors import ShapeError
from dl101.nn.spectra import HCQT, LogMel, log_mel
from dl101.signal.cqt import HcqtConfig, hcqt
from dl101.signal.mel import log_mel as log_mel_feature

RATE = 22050
SMALL = HcqtConfig((0.5, 1, 3), bins_per_semitone=2, n_octaves=3, f_min_hz=110.0)


def signals(n_signals: int, duration_s: float) -> np.ndarray:
    """Chords in noise, each of another loudness."""
    rng = np.random.default_rng(7)
    t = np.arange(int(duration_s * RATE)) / RATE
    rows = []
    for i in range(n_signals):
        chord = sum(np.sin(2 * np.pi * f * t) for f in rng.uniform(60, 5000, 6))
        rows.append(0.1 * (i + 1) * (chord + rng.standard_normal(t.size)))
    return np.stack(rows).astype(np.float32)


@pytest.mark.parametrize("config", [HcqtConfig(), SMALL], ids=["published", "small"])
@pytest.mark.parametrize("n_samples", [None, 3 * RATE, RATE // 2], ids=["any", "fits", "blocks"])
def test_hcqt_equals_its_feature(config: HcqtConfig, n_samples: int | None) -> None:
    audio = signals(2, 3.0)
    got = HCQT(config, n_samples=n_samples)(torch.from_numpy(audio)).numpy()
    for ours, row in zip(got, audio, strict=True):
        expected = hcqt(row, config).values
        assert ours.shape == expected.shape and ours.dtype == np.float32
        assert np.abs(ours - expected).max() < 1e-4 * expected.max()


def test_hcqt_zeros_bins_above_half_the_rate() -> None:
    audio = signals(1, 0.5)
    config = HcqtConfig((10,))
    got = HCQT(config)(torch.from_numpy(audio))[0].numpy()
    assert np.all(got[0, 310:] == 0) and got[0, :290].max() > 0
    np.testing.assert_allclose(got, hcqt(audio[0], config).values, atol=1e-4)


def test_hcqt_gradient_equals_finite_differences() -> None:
    """Float32 throughout, so a directional derivative with a step that float32 resolves."""
    module = HCQT(SMALL, n_samples=6000)
    audio = torch.from_numpy(signals(2, 6000 / RATE)).requires_grad_()
    rng = np.random.default_rng(0)
    direction = torch.from_numpy(rng.standard_normal(audio.shape).astype(np.float32))

    def loss(x: torch.Tensor) -> torch.Tensor:
        return module(x).double().square().mean()

    (gradient,) = torch.autograd.grad(loss(audio), audio)
    with torch.no_grad():
        step = 1e-2
        numeric = (loss(audio + step * direction) - loss(audio - step * direction)) / (2 * step)
    assert gradient.abs().min() >= 0 and gradient.abs().max() > 0
    assert float((gradient * direction).sum()) == pytest.approx(float(numeric), rel=2e-3)


def test_hcqt_gradient_is_finite_everywhere() -> None:
    module = HCQT(SMALL, n_samples=6000)
    for audio in (torch.zeros(1, 6000), torch.nn.functional.pad(torch.ones(1, 10), (0, 5990))):
        audio.requires_grad_()
        module(audio).sum().backward()
        assert torch.isfinite(audio.grad).all()


def test_gradient_reaches_all_samples_across_blocks() -> None:
    module = HCQT(SMALL, n_samples=RATE)
    audio = torch.from_numpy(signals(1, 6.0)).requires_grad_()
    assert len(list(module.plan.blocks(audio.shape[-1]))) > 1
    module(audio).square().sum().backward()
    assert (audio.grad != 0).float().mean() > 0.999


def test_constants_are_buffers_that_stay_out_of_checkpoints() -> None:
    module = HCQT(SMALL, n_samples=6000)
    assert module.state_dict() == {} and not list(module.parameters())
    assert LogMel(RATE).state_dict() == {}
    constants = [v for v in vars(module).values() if isinstance(v, torch.Tensor)]
    assert constants == [] and len(list(module.buffers())) >= 3
    meta = HCQT(SMALL, n_samples=6000).to("meta")
    assert meta(torch.zeros(2, 6000, device="meta")).shape == (2, 3, 72, 12)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_twins_run_on_cuda() -> None:
    audio = torch.from_numpy(signals(2, 1.0))
    for module in (HCQT(SMALL), LogMel(RATE)):
        expected = module(audio)
        got = module.cuda()(audio.cuda()).cpu()
        assert (got - expected).abs().max() < 1e-4 * expected.max()


def test_log_mel_equals_its_feature() -> None:
    audio = signals(3, 1.0)
    for options in ({}, {"n_bands": 40, "window_samples": 1024, "hop_samples": 256}):
        got = log_mel(torch.from_numpy(audio), RATE, **options).numpy()
        expected = np.stack([log_mel_feature(row, RATE, **options).values for row in audio])
        assert got.shape == expected.shape
        np.testing.assert_allclose(got, expected, atol=1e-3)


@pytest.mark.parametrize("module", [HCQT(SMALL, n_samples=6000), LogMel(RATE)])
@pytest.mark.parametrize("shape", [(100,), (1, 1, 100), (1, 0)])
def test_wrong_shapes_are_refused(module: torch.nn.Module, shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match=r"\(batch, time\)"):
        module(torch.zeros(shape))
