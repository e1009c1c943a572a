"""The waveform networks: sizes, lengths, how far they see, the hum of transposed convolutions."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from dl101.errors import ConfigError, ShapeError
from dl101.nn import wave_unet
from dl101.nn import waveform_separation as ws
from dl101.nn.wave_unet import Demucs, DemucsConfig, WaveUNet, WaveUNetConfig
from dl101.nn.waveform_separation import (
    ConvTasNet,
    ConvTasNetConfig,
    MultiResolution,
    MultiResolutionConfig,
    WaveNet,
    WaveNetConfig,
)

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "parameter_counts.json").read_text())

PUBLISHED = {
    "WaveNet 3 stems mono": lambda: WaveNet(WaveNetConfig(), 4, 1),
    "Wave-U-Net M4": lambda: WaveUNet(WaveUNetConfig(), 2, 2),
    "Wave-U-Net M6": lambda: WaveUNet(WaveUNetConfig(), 4, 2),
    "Wave-U-Net M5": lambda: WaveUNet(WaveUNetConfig(upsampling="learned"), 2, 2),
    "Demucs 64": lambda: Demucs(DemucsConfig(rescale=0.0), 4, 2),
    "Demucs 48": lambda: Demucs(DemucsConfig(channels=48, rescale=0.0), 4, 2),
    "Conv-TasNet 2 stems": lambda: ConvTasNet(ConvTasNetConfig(), 2, 1),
    "Conv-TasNet 4 stems": lambda: ConvTasNet(ConvTasNetConfig(), 4, 2),
    "multi-resolution": lambda: MultiResolution(MultiResolutionConfig(), 4, 2),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_sizes_have_their_counts(name):
    with torch.device("meta"):
        network = PUBLISHED[name]()
    expected = GOLDEN[f"waveform/{name}"]["count"]
    assert sum(p.numel() for p in network.parameters()) == expected


def test_lengths_are_those_of_the_papers():
    with torch.device("meta"):
        unet = WaveUNet(WaveUNetConfig(), 2, 2)
        wavenet = WaveNet(WaveNetConfig(), 4, 1)
        demucs = Demucs(DemucsConfig(rescale=0.0), 4, 2)
    assert unet.lengths(16_384) == (147_443, 16_389)  # Stoller et al., Section 3.2.2
    # Lluis et al. count the dilated layers: 8185, to which the undilated ones add 2 + 4
    assert wavenet.receptive_field == 8185 + 6
    # what the published valid_length and its trimming give for 10 s at 44.1 kHz
    assert demucs.lengths(441_000).output >= 441_000
    assert demucs.lengths(441_000).input - demucs.lengths(441_000).output == 2 * 5460


TINY_WAVENET = WaveNetConfig(
    n_stacks=2, n_layers=3, channels=4, skip_channels=5, final_channels=(6, 3)
)
TINY_SETS = MultiResolutionConfig(kernels=((3, 8, 20), (2, 5)), n_filters=3, strides=(4, 2))
TINY = {
    "wavenet": (WaveNet, TINY_WAVENET),
    "multi-resolution": (MultiResolution, TINY_SETS),
    "multi-resolution, short": (
        MultiResolution,
        MultiResolutionConfig(kernels=((2, 9),), n_filters=2, strides=(4,)),
    ),
    "conv-tasnet": (
        ConvTasNet,
        ConvTasNetConfig(kernel=6, n_features=5, channels=4, hidden=6, n_layers=2, n_stacks=2),
    ),
    "demucs": (Demucs, DemucsConfig(n_layers=2, channels=8, lstm_layers=0)),
    "demucs, odd": (
        Demucs,
        DemucsConfig(n_layers=3, channels=3, kernel=5, stride=3, context=1, lstm_layers=0),
    ),
} | {
    f"wave-u-net {kind} {'with' if context else 'without'} context": (
        WaveUNet,
        WaveUNetConfig(
            n_layers=3, channels=3, down_kernel=5, up_kernel=3, context=context, upsampling=kind
        ),
    )
    for kind in ("linear", "learned", "transposed")
    for context in (True, False)
}


def tiny(name: str, *, n_stems: int = 3, n_channels: int = 2) -> ws.WaveformSeparator:
    torch.manual_seed(0)
    kind, config = TINY[name]
    return kind(config, n_stems, n_channels)


@pytest.mark.parametrize("n_channels", [1, 2])
@pytest.mark.parametrize("n_samples", [1, 2, 63, 64, 65, 200])
@pytest.mark.parametrize("name", TINY)
def test_shapes_are_what_lengths_says(name, n_samples, n_channels):
    network = tiny(name, n_channels=n_channels)
    n_in, n_out = network.lengths(n_samples)
    assert n_out >= n_samples
    made = network(torch.randn(2, n_channels, n_in))
    assert made.shape == (2, 3, n_channels, n_out)
    # the shortest: what is given for less is less
    assert network.lengths(n_out) == (n_in, n_out)
    if n_out > n_samples:
        assert n_out - n_samples < 2 * network.step_samples
    assert sum(network.margins) == n_in - n_out


@pytest.mark.parametrize("name", TINY)
def test_gradients_reach_every_parameter(name):
    network = tiny(name)
    made = network(torch.randn(2, 2, network.lengths(100).input))
    made.square().mean().backward()
    missed = [n for n, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert not missed


@pytest.mark.parametrize("name", TINY)
def test_a_sample_sees_as_far_as_is_computed(name):
    network = tiny(name, n_stems=2, n_channels=1).double()
    for module in network.modules():  # a normalisation over all sees all
        for label, child in module.named_children():
            if isinstance(child, nn.GroupNorm):
                setattr(module, label, nn.Identity())
    with torch.no_grad():
        for p in network.parameters():  # nothing cancels, no ReLU is off
            p.copy_(0.02 + 0.1 * p.abs() / (1 + p.abs()))
    n_wanted = 3 * network.step_samples + 2 * sum(network.sides)
    n_in, n_out = network.lengths(n_wanted)
    mixture = torch.rand(1, 1, n_in, dtype=torch.float64, requires_grad=True)
    made = network(mixture)[0, 0, 0]
    offset = network.margins[0]
    spans = set()
    for t in range(n_out // 2, n_out // 2 + network.step_samples + 1):
        (gradient,) = torch.autograd.grad(made[t], mixture, retain_graph=True)
        seen = gradient[0, 0].nonzero()[:, 0]
        expected = network.reach(t + offset, t + offset)
        assert (int(seen[0]), int(seen[-1])) == expected, t
        spans.add(expected[1] - expected[0] + 1)
    convolutions = max(spans)
    assert network.receptive_field == (math.inf if network.sees_all else convolutions)


@pytest.mark.parametrize("name", [n for n in TINY if "without" not in n and "wave" in n])
def test_what_is_not_padded_does_not_depend_on_where_it_was_cut(name):
    network = tiny(name, n_channels=1).eval()
    step, offset = network.step_samples, network.margins[0]
    n_in, n_out = network.lengths(40 * step)
    mixture = torch.randn(1, 1, n_in)
    whole = network(mixture)
    part_in, part_out = network.lengths(5 * step)
    start = 3 * step
    part = network(mixture[..., start : start + part_in])
    torch.testing.assert_close(part, whole[..., start : start + part_out], atol=1e-5, rtol=1e-4)
    assert offset == (n_in - n_out) // 2


@pytest.mark.parametrize("name", ["wavenet", "wave-u-net linear with context"])
def test_the_last_stem_is_what_the_others_leave(name):
    network = tiny(name)
    n_in, n_out = network.lengths(70)
    mixture = torch.randn(2, 2, n_in)
    made = network(mixture)
    torch.testing.assert_close(made.sum(dim=1), ws.middle(mixture, n_out))
    assert network.n_outputs == 4  # two stems of three, two channels


def test_an_output_stands_where_its_input_stood():
    """An impulse comes out in its place: lengths, margins and skips are aligned."""
    config = WaveUNetConfig(n_layers=3, channels=2, down_kernel=5, up_kernel=3, difference=False)
    network = WaveUNet(config, 1, 1).double()
    with torch.no_grad():
        for p in network.parameters():
            p.zero_()
        # the highest level's skip carries the sample in the middle of its kernel, all the way
        network.down[0][0].weight[0, 0, 2] = 1.0
        network.up[-1][0].weight[0, 0, 1] = 1.0
        network.last.weight[0, 1, 0] = 1.0
    n_in = network.lengths(100).input
    mixture = torch.zeros(1, 1, n_in, dtype=torch.float64)
    place = network.margins[0] + 37
    mixture[..., place] = 0.5
    made = network(mixture)[0, 0, 0].detach()
    assert int(made.argmax()) == 37 and float(made[37]) == pytest.approx(math.tanh(0.5))
    assert made.count_nonzero() == 1


def test_linear_weaving_is_a_transposed_convolution_with_three_fixed_weights():
    x = torch.randn(2, 3, 9)
    woven = wave_unet.Upsample(3, "linear")(x)
    fixed = wave_unet.Upsample(3, "transposed")
    with torch.no_grad():
        fixed.conv.weight.zero_()
        fixed.conv.bias.zero_()
        for c in range(3):
            fixed.conv.weight[c, c] = torch.tensor([0.5, 1.0, 0.5])
    torch.testing.assert_close(woven, fixed(x))
    torch.testing.assert_close(woven, wave_unet.Upsample(3, "learned")(x))  # at its start
    torch.testing.assert_close(woven[..., ::2], x)


def test_padding_of_the_multi_resolution_layers_is_undone():
    """Frames are the middles of their filters, whatever their length, on the way back too."""
    torch.manual_seed(0)
    for stride, kernels in ((4, (2, 5, 12)), (1, (1, 4, 7))):
        down = ws.Sets(1, 1, kernels, stride)
        up = ws.TransposedSets(len(kernels), 1, kernels, stride, added=True)
        x = torch.randn(1, 1, 8 * stride)
        assert down(x).shape[-1] == 8 and up(down(x)).shape == x.shape
        with torch.no_grad():  # means of each filter
            for branch in down.branches:
                branch.weight.fill_(1 / branch.kernel_size[0])
                branch.bias.zero_()
        centre = torch.arange(8.0 * stride).reshape(1, 1, -1)
        found = down(centre)[0, :, 4]
        middles = torch.tensor(
            [4 * stride + (stride - 1) / 2 + (k - stride) % 2 / 2 for k in kernels]
        )
        torch.testing.assert_close(found, middles)


# ---- Demucs: what the published code does --------------------------------------------------------


def test_valid_lengths_agree_with_a_loop_over_the_layers():
    """An oracle by trial: which inputs leave no step over, and what they give."""
    network = tiny("demucs")
    for n_in in range(network.lengths(1).input, 400):
        length, fits = n_in, True
        for _ in range(2):
            fits &= (length - 8) % 4 == 0
            length = (length - 8) // 4 + 1
        if not fits:
            with pytest.raises(ShapeError, match="length of the mixture"):
                network(torch.zeros(1, 2, n_in))
            continue
        n_out = length
        for _ in range(2):
            n_out = (n_out - 2 - 1) * 4 + 8
        if n_out >= 1:
            assert network.lengths(n_out) == (n_in, n_out)


def test_rescaling_brings_deviations_together():
    torch.manual_seed(1)
    before = Demucs(DemucsConfig(n_layers=2, channels=8, rescale=0.0), 2, 1)
    torch.manual_seed(1)
    after = Demucs(DemucsConfig(n_layers=2, channels=8, rescale=0.1), 2, 1)
    for (name, a), b in zip(before.state_dict().items(), after.state_dict().values(), strict=True):
        if "weight" in name and a.ndim == 3:
            assert float(b.std()) == pytest.approx(math.sqrt(0.1 * float(a.std())), rel=1e-4)
        elif "bottom" in name:
            torch.testing.assert_close(a, b)


def test_the_lstm_sees_everything():
    network = Demucs(DemucsConfig(n_layers=2, channels=4, lstm_layers=1), 2, 1)
    assert network.receptive_field == math.inf
    mixture = torch.randn(1, 1, network.lengths(400).input, requires_grad=True)
    network(mixture)[0, 0, 0, 200].backward()
    assert mixture.grad[0, 0].count_nonzero() > 0.9 * mixture.shape[-1]


# ---- the line at the stride's rate ---------------------------------------------------------------


def spectrum_db(sound: torch.Tensor) -> np.ndarray:
    """Level of each frequency of a sound, in dB re full scale."""
    values = np.asarray(sound, dtype=np.float64)
    return 20 * np.log10(np.maximum(np.abs(np.fft.rfft(values)) / len(values), 1e-10))


def test_transposed_convolutions_hum_at_the_rate_of_their_stride():
    torch.manual_seed(0)
    n_samples = 4096
    demucs = Demucs(DemucsConfig(n_layers=2, channels=8, lstm_layers=0), 2, 1)
    levels = spectrum_db(ws.hum(demucs, n_samples)[0, 0])
    lines = np.flatnonzero(levels > -80)
    assert n_samples // 4 in lines  # 4 kHz at 16 kHz
    assert set(lines % (n_samples // 16)) == {0}  # the second level's are 16 samples apart


@pytest.mark.parametrize("kind", ["transposed", "linear", "learned"])
def test_interpolation_does_not_hum(kind):
    hums = kind == "transposed"
    torch.manual_seed(0)
    config = WaveUNetConfig(
        n_layers=4, channels=6, down_kernel=5, up_kernel=3, upsampling=kind, difference=False
    )
    levels = spectrum_db(ws.hum(WaveUNet(config, 2, 1), 4096)[0, 0])
    assert (levels[2048] > -60) == hums  # half the rate: the stride is 2
    assert (levels.max() > -100) == hums


# ---- refusals ------------------------------------------------------------------------------------


def test_what_does_not_fit_is_refused():
    network = tiny("wave-u-net linear with context")
    with pytest.raises(ShapeError, match=r"\(batch, 2, time\)"):
        network(torch.zeros(1, 1, 200))
    with pytest.raises(ShapeError, match="for example"):
        network(torch.zeros(1, 2, network.lengths(50).input + 1))
    with pytest.raises(ShapeError, match="for example"):
        network(torch.zeros(1, 2, 3))
    for wrong in (
        lambda: WaveNetConfig(kernel=4),
        lambda: WaveUNetConfig(up_kernel=4),
        lambda: MultiResolutionConfig(strides=(1,)),
        lambda: ConvTasNetConfig(kernel=7),
        lambda: ConvTasNetConfig(block_kernel=2),
        lambda: DemucsConfig(kernel=7),
        lambda: DemucsConfig(kernel=2),
        lambda: DemucsConfig(context=2),
    ):
        with pytest.raises(ConfigError):
            wrong()
