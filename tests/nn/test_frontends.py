"""The front-ends do what their definitions say: filters, frames, gradients, precision."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dl101.errors import ConfigError, ShapeError
from dl101.nn.frontends import LearnedSpectrogram, MelConv, MultiScaleSpectrogram, SincConv
from dl101.nn.spectra import LogMel

SAMPLE_RATE = 16000


def gains(layer: SincConv, n_fft: int = 8192) -> tuple[np.ndarray, np.ndarray]:
    """Return frequencies in Hz and |frequency response|, (filter, frequency)."""
    filters = layer.filters()[:, 0].detach().numpy()
    return np.fft.rfftfreq(n_fft, 1 / layer.sample_rate), np.abs(np.fft.rfft(filters, n_fft))


@pytest.mark.parametrize("kernel_size", [801, 800])
def test_impulse_response_is_a_band_pass_with_gain_one(kernel_size):
    layer = SincConv(12, kernel_size, sample_rate=SAMPLE_RATE)
    hz, gain = gains(layer)
    transition_hz = 3.3 * SAMPLE_RATE / kernel_size / 2  # half the Hamming window's transition
    checked = 0
    for (low, high), response in zip(layer.cutoffs_hz().tolist(), gain, strict=True):
        inside = (hz > low + transition_hz) & (hz < high - transition_hz)
        outside = (hz < low - transition_hz) | (hz > high + transition_hz)
        assert response[outside].max() < 0.01
        if inside.any():
            np.testing.assert_allclose(response[inside], 1, atol=0.01)
            edges = [edge for edge in (low, high) if edge < SAMPLE_RATE / 2]
            np.testing.assert_allclose(np.interp(edges, hz, response), 0.5, atol=0.02)
            checked += 1
    assert checked >= 6


def test_moving_a_cutoff_moves_the_band():
    layer = SincConv(1, 1001, sample_rate=SAMPLE_RATE, min_low_hz=0, min_band_hz=0)
    with torch.no_grad():
        layer.low.fill_(-1000 / SAMPLE_RATE)  # the sign does not matter
        layer.band.fill_(500 / SAMPLE_RATE)
    np.testing.assert_allclose(layer.cutoffs_hz().detach(), [[1000, 1500]], rtol=1e-5)
    hz, gain = gains(layer)
    assert gain[0, np.searchsorted(hz, 1250)] == pytest.approx(1, abs=0.01)
    assert gain[0, hz < 900].max() < 0.01 and gain[0, hz > 1600].max() < 0.01


def test_filters_start_as_neighbours_on_the_mel_scale():
    layer = SincConv(20, 251, sample_rate=22050)
    low = layer.cutoffs_hz()[:, 0].detach() - 50.0
    assert low[0].item() == pytest.approx(30, rel=1e-3)
    mel = 2595 * torch.log10(1 + low / 700)
    torch.testing.assert_close(mel.diff(), mel.diff()[:1].expand(19), rtol=1e-3, atol=1e-2)
    assert (layer.cutoffs_hz() <= 22050 / 2).all()


@pytest.mark.parametrize("kernel_size", [251, 250])
@pytest.mark.parametrize("stride", [1, 16])
def test_output_length_counts_the_kernel_as_given(kernel_size, stride):
    layer = SincConv(4, kernel_size, sample_rate=SAMPLE_RATE, stride=stride)
    y = layer(torch.randn(2, 1, 3200))
    assert y.shape == (2, 4, 1 + (3200 - kernel_size) // stride)
    filters = layer.filters()
    assert filters.shape == (4, 1, kernel_size)
    torch.testing.assert_close(filters, filters.flip(-1))  # linear phase


def test_only_the_cutoffs_are_learnt_and_constants_move_with_the_module():
    layer = SincConv(7, 51, sample_rate=SAMPLE_RATE)
    assert sorted(name for name, _ in layer.named_parameters()) == ["band", "low"]
    assert sum(p.numel() for p in layer.parameters()) == 14
    assert {name for name, _ in layer.named_buffers()} == {"taps", "window"}
    assert layer.double()(torch.randn(1, 1, 100, dtype=torch.float64)).dtype == torch.float64
    meta = layer.to("meta")
    assert meta(torch.empty(1, 1, 100, device="meta")).shape == (1, 7, 50)


def test_gradients_reach_the_cutoffs():
    layer = SincConv(7, 51, sample_rate=SAMPLE_RATE)
    layer(torch.randn(2, 1, 400)).square().sum().backward()
    assert (layer.low.grad != 0).all() and (layer.band.grad != 0).sum() >= 6


def test_faults():
    with pytest.raises(ConfigError, match="2 input channels"):
        SincConv(4, 51, sample_rate=SAMPLE_RATE, in_channels=2)
    with pytest.raises(ConfigError, match=r"sample rate 22\.05 Hz"):
        SincConv(4, 51, sample_rate=22.05)


# ---- learnt spectrograms -------------------------------------------------------------------------


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def responses(layer: LearnedSpectrogram, x: np.ndarray) -> np.ndarray:
    """Return w * x + b frame by frame, (kernel, frame), from the definition."""
    w = layer.filters().detach().double().numpy()[:, 0]
    b = 0.0 if layer.conv.bias is None else layer.conv.bias.detach().double().numpy()
    length, hop = layer.kernel_samples, layer.hop_samples
    n_frames = 1 + x.size // hop if layer.centred else 1 + (x.size - length) // hop
    found = np.zeros((len(w), n_frames))
    for t in range(n_frames):
        start = t * hop - (length // 2 if layer.centred else 0)
        for tap in range(length):
            if 0 <= start + tap < x.size:
                found[:, t] += w[:, tap] * x[start + tap]
    return found + (b if np.isscalar(b) else b[:, None])


@pytest.mark.parametrize("centred", [True, False])
@pytest.mark.parametrize("kernel", [1, 8, 15])
@pytest.mark.parametrize("hop", [1, 4, 7])
def test_a_learnt_spectrogram_is_what_its_definition_says(centred, kernel, hop):
    for n in (28, 29, 31):
        x = noise(2, 1, n, seed=n)
        options = {"kernel_samples": kernel, "hop_samples": hop, "centred": centred}
        for name, pool, rule in (
            ("none", 1, lambda y: y),
            ("relu", 1, lambda y: np.maximum(y, 0)),
            ("relu", 3, lambda y: np.maximum(y, 0).reshape(2, 3, -1).max(axis=1)),
            ("log", 1, lambda y: np.log(y**2 + 0.01)),
            ("log", 3, lambda y: np.log((y**2).reshape(2, 3, -1).sum(axis=1) + 0.01)),
        ):
            layer = LearnedSpectrogram(
                2, nonlinearity=name, pool=pool, bias=True, eps=0.01, **options
            )
            got = layer(x).detach().numpy()
            want = np.stack([rule(responses(layer, row[0].double().numpy())) for row in x])
            np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kernel", [1, 2, 255, 256, 1024])
@pytest.mark.parametrize("hop", [1, 16, 100, 512])
def test_frames_are_counted_like_those_of_the_library(kernel, hop):
    layers = (
        LearnedSpectrogram(3, kernel, hop),
        MultiScaleSpectrogram(1, [kernel, 2 * kernel + 1, 5], hop),
    )
    for n in (1, 99, 100, 511, 512, 513, 2048):
        for layer in layers:
            assert layer(torch.zeros(1, 1, n)).shape == (1, 3, 1 + n // hop)
        if n >= kernel:
            inside = LearnedSpectrogram(3, kernel, hop, centred=False)
            assert inside(torch.zeros(1, 1, n)).shape == (1, 3, 1 + (n - kernel) // hop)


def reach(layer: torch.nn.Module, channel: int, frame: int, n: int = 200) -> tuple[int, int]:
    """Return the first and the last sample that an output depends on, by gradient."""
    x = noise(1, 1, n).requires_grad_()
    layer(x)[0, channel, frame].backward()
    touched = torch.nonzero(x.grad[0, 0])
    return int(touched.min()), int(touched.max())


def test_frames_of_all_scales_have_one_centre():
    layer = MultiScaleSpectrogram(2, [9, 16, 33], 20)
    for channel, length in enumerate([9, 9, 16, 16, 33, 33]):
        for frame in (1, 2, 5):
            start = 20 * frame - length // 2
            expected = (max(start, 0), start + length - 1)
            assert reach(layer, channel, frame) == expected
    inside = LearnedSpectrogram(1, 16, 20, centred=False)
    assert reach(inside, 0, 3) == (60, 75)


def test_scales_stand_side_by_side_in_their_order():
    layer = MultiScaleSpectrogram(2, [8, 64], 16, nonlinearity="relu", pool=2, bias=True)
    x = noise(3, 1, 300)
    got = layer(x)
    assert got.shape == (3, 4, 19)
    torch.testing.assert_close(got[:, :2], layer.scales[0](x))
    torch.testing.assert_close(got[:, 2:], layer.scales[1](x))
    assert sum(p.numel() for p in layer.parameters()) == 4 * 8 + 4 * 64 + 4 + 4


def test_a_pair_of_kernels_hears_a_tone_whatever_its_phase():
    length, period = 64, 8
    n = torch.arange(length)
    window = torch.hann_window(length)
    pair = LearnedSpectrogram(1, length, 1, pool=2, centred=False, eps=1e-12)
    alone = LearnedSpectrogram(1, length, 1, centred=False, eps=1e-12)
    with torch.no_grad():
        waves = torch.stack(
            [torch.cos(2 * torch.pi * n / period), -torch.sin(2 * torch.pi * n / period)]
        )
        pair.filters().copy_((window * waves)[:, None])
        alone.filters().copy_((window * waves[:1])[:, None])
        tone = torch.cos(2 * torch.pi * torch.arange(200) / period)[None, None]
        power = pair(tone).exp()
        torch.testing.assert_close(power, torch.full_like(power, (window.sum() / 2) ** 2))
        assert alone(tone).exp().min() < 1e-6 * alone(tone).exp().max()


@pytest.mark.parametrize("window_samples", [64, 250, 1024])
def test_mel_conv_equals_the_log_mel_spectrogram(window_samples):
    hop, n_bands = window_samples // 4, max(4, window_samples // 32)
    sizes = {"n_bands": n_bands, "window_samples": window_samples, "hop_samples": hop}
    for n in (1, hop, 5 * hop - 1, 5 * hop, 6000):
        x = 0.3 * noise(2, 1, n, seed=n)
        layer = MelConv(22050, **sizes)
        got = layer(x)
        assert got.shape == (2, n_bands, 1 + n // hop)
        torch.testing.assert_close(got, LogMel(22050, **sizes)(x[:, 0])[:, 0], rtol=1e-4, atol=1e-4)
        trainable = MelConv(22050, trainable=True, **sizes)
        torch.testing.assert_close(trainable(x), got)


def test_mel_conv_has_the_strength_that_is_asked():
    x = noise(1, 1, 4000)
    sizes = {"n_bands": 20, "window_samples": 512, "hop_samples": 128}
    weak, strong = (MelConv(16000, strength=c, **sizes)(x).double() for c in (1.0, 50.0))
    torch.testing.assert_close(weak.expm1() * 50, strong.expm1(), rtol=1e-4, atol=1e-5)


def test_mel_conv_learns_only_if_asked_and_leaves_nothing_in_checkpoints():
    fixed = MelConv(16000, n_bands=6, window_samples=64, hop_samples=16)
    assert not list(fixed.parameters()) and not fixed.state_dict()
    assert fixed.filters().shape == (62, 1, 64)
    learnt = MelConv(16000, n_bands=6, window_samples=64, hop_samples=16, trainable=True)
    assert {n: p.numel() for n, p in learnt.named_parameters()} == {
        "kernels": 62 * 64,
        "mel": 6 * 31,
    }
    assert (learnt.filters() == fixed.filters()).all()
    with torch.no_grad():
        learnt.mel.neg_()
    assert (learnt(noise(1, 1, 200)) == 0).all()  # silent, not NaN


FRONT_ENDS = {
    "log": lambda: LearnedSpectrogram(4, 32, 8),
    "log, pairs": lambda: LearnedSpectrogram(4, 32, 8, pool=2, bias=True),
    "relu": lambda: LearnedSpectrogram(4, 32, 8, nonlinearity="relu", bias=True),
    "relu, pairs": lambda: LearnedSpectrogram(4, 32, 8, nonlinearity="relu", pool=2),
    "none": lambda: LearnedSpectrogram(4, 32, 8, nonlinearity="none", centred=False),
    "scales": lambda: MultiScaleSpectrogram(2, [8, 32], 8),
    "mel": lambda: MelConv(16000, n_bands=5, window_samples=64, hop_samples=16),
    "mel, learnt": lambda: MelConv(
        16000, n_bands=5, window_samples=64, hop_samples=16, trainable=True
    ),
}


@pytest.mark.parametrize("name", FRONT_ENDS)
def test_gradients_reach_every_parameter_and_the_waveform(name):
    torch.manual_seed(0)
    layer = FRONT_ENDS[name]()
    x = noise(4, 1, 600).requires_grad_()
    layer(x).square().sum().backward()
    assert (x.grad != 0).float().mean() > 0.9
    for weight, parameter in layer.named_parameters():
        dead = (parameter.grad == 0) & (parameter != 0)
        assert not dead.any(), weight


@pytest.mark.parametrize("name", FRONT_ENDS)
def test_precision_device_and_compilation(name):
    torch.manual_seed(0)
    layer = FRONT_ENDS[name]()
    x = 0.1 * noise(2, 1, 600)
    want = layer(x)
    assert layer(x[:1]).shape == (1, *want.shape[1:])
    torch.testing.assert_close(layer.double()(x.double()).float(), want, rtol=1e-4, atol=1e-4)
    layer.float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        low = layer(x)
    assert low.isfinite().all() and (low.float() - want).abs().max() < 0.1 * want.abs().max()
    for dtype in (torch.bfloat16, torch.float16):
        low = FRONT_ENDS[name]().to(dtype)(x.to(dtype))
        assert low.dtype == dtype and low.isfinite().all()
    compiled = torch.compile(layer, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(x), want, rtol=1e-4, atol=1e-4)
    assert layer.to("meta")(x.to("meta")).shape == want.shape


def test_squares_of_soft_and_loud_sounds_fit_into_half_precision():
    mel = MelConv(22050, n_bands=64, window_samples=1024, hop_samples=512)
    x = torch.sin(2 * torch.pi * 440 * torch.arange(8192) / 22050)[None, None]
    want = mel(x)
    assert want.max() > 10
    with torch.autocast("cpu", dtype=torch.float16):
        torch.testing.assert_close(mel(x), want)

    layer = LearnedSpectrogram(1, 4, 1, centred=False, eps=1e-12).half()
    torch.nn.init.ones_(layer.conv.weight)
    for level in (1e-4, 100.0):
        got = layer(torch.full((1, 1, 8), level, dtype=torch.half)).float()
        torch.testing.assert_close(
            got, torch.full_like(got, 2 * np.log(4 * level)), rtol=0.01, atol=0
        )


def test_learnt_spectrograms_are_built_on_the_device_of_their_surroundings():
    with torch.device("meta"):
        for build in FRONT_ENDS.values():
            layer = build()
            for values in (*layer.parameters(), *layer.buffers()):
                assert values.is_meta


def test_faults_of_learnt_spectrograms():
    for options in ({"n_filters": 0}, {"kernel_samples": 0}, {"hop_samples": 0}, {"pool": 0}):
        with pytest.raises(ConfigError, match=next(iter(options))):
            LearnedSpectrogram(**{"n_filters": 4, "kernel_samples": 8, "hop_samples": 2} | options)
    with pytest.raises(ConfigError, match="eps"):
        LearnedSpectrogram(4, 8, 2, eps=0)
    with pytest.raises(ConfigError, match="did you mean 'relu'"):
        LearnedSpectrogram(4, 8, 2, nonlinearity="relo")
    with pytest.raises(ConfigError, match="2 kernels a channel"):
        LearnedSpectrogram(4, 8, 2, nonlinearity="none", pool=2)
    for scales in ([], 64):
        with pytest.raises(ConfigError, match="at least one length"):
            MultiScaleSpectrogram(4, scales, 2)
    with pytest.raises(ConfigError, match="an even number"):
        MelConv(16000, window_samples=511)
    with pytest.raises(ConfigError, match="strength"):
        MelConv(16000, strength=-1)
    with pytest.raises(ConfigError, match="have no bin"):
        MelConv(16000, n_bands=128, window_samples=64)
    for build in FRONT_ENDS.values():
        for shape in ((2, 600), (2, 2, 600), (2, 1, 0)):
            with pytest.raises(ShapeError, match=r"write waveform\[:, None\]"):
                build()(torch.zeros(shape))
    with pytest.raises(ShapeError, match="at least 32 samples"):
        LearnedSpectrogram(4, 32, 8, centred=False)(torch.zeros(1, 1, 31))
