"""The encoder and its synthesisers: sizes, gradients, delays, edits; generators and judges."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from dl101.errors import ConfigError
from dl101.nn import singing_vocoder as nets
from dl101.nn.discriminators import Discriminators, PeriodDiscriminator, ScaleDiscriminator
from dl101.nn.singing_vocoder import (
    Controls,
    ConvGenerator,
    GeneratorConfig,
    SourceFilter,
    SynthesisConfig,
    VocoderEncoderConfig,
)

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "parameter_counts.json").read_text())
SMALL = VocoderEncoderConfig(channels=8, n_layers=1, n_heads=2, head_channels=4, kernel=5)
COUNTS = {"sawtooth": "SawSinSub", "harmonics": "Sins (DDSP-Add)", "wavetable": "DWS"}


@pytest.mark.parametrize("source", COUNTS)
def test_the_published_sizes_come_out_exactly(source):
    with torch.device("meta"):
        network = SourceFilter(source)
    count = sum(p.numel() for p in network.parameters())
    assert count == GOLDEN[f"sawsing/{COUNTS[source]}"]["count"]


@pytest.mark.parametrize("source", nets.SOURCES)
def test_gradients_reach_everything_but_the_pitch_through_the_sound(source):
    torch.manual_seed(0)
    network = SourceFilter(source, encoder=SMALL)
    controls = network(torch.randn(2, 80, 6))
    assert controls.f0_hz.shape == (2, 6) and controls.noise.shape == (2, 6, 80)
    assert (controls.f0_hz > 80).all() and (controls.f0_hz < 1000).all()
    assert (controls.amplitude is None) == (source in ("sawtooth", "neural"))
    controls.f0_hz.retain_grad()
    voice, noise = network.synthesise(controls)
    assert voice.shape == noise.shape == (2, 6 * 240)
    (voice.square().mean() + noise.square().mean()).backward(retain_graph=True)
    assert controls.f0_hz.grad is None
    torch.log(controls.f0_hz).sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().max() > 0, name


def flat(f0_hz: float, n_frames: int, tone: float, noise: float) -> Controls:
    return Controls(
        f0_hz=torch.full((1, n_frames), f0_hz),
        tone=torch.full((1, n_frames, 256), tone),
        amplitude=None,
        noise=torch.full((1, n_frames, 80), noise),
    )


def centre_of(sound: torch.Tensor) -> float:
    power = sound.square()
    return float((power * torch.arange(len(power))).sum() / power.sum())


def test_the_delay_of_the_original_is_255_and_79_samples():
    """A flat filter changes nothing but what it shifts."""
    built = {
        kept: SourceFilter("sawtooth", encoder=SMALL, config=SynthesisConfig(compensate=kept))
        for kept in (True, False)
    }
    controls = flat(200.0, 20, 1.0, 1.0)
    right, late = (
        built[kept].synthesise(controls, torch.Generator().manual_seed(0)) for kept in (True, False)
    )
    for sound, shifted, delay in zip(right, late, (255, 79), strict=True):
        torch.testing.assert_close(shifted[:, delay:], sound[:, :-delay], atol=1e-4, rtol=1e-4)
    again = built[True].synthesise(controls, torch.Generator().manual_seed(0))
    assert torch.equal(again[1], right[1]), "the generator draws the noise"


def test_edits_change_what_they_say():
    """An octave halves the period, and magnitudes scale the two sounds apart."""
    network = SourceFilter("sawtooth", encoder=SMALL)
    controls = flat(120.0, 40, 1.0, 0.0)
    voice, noise = network.synthesise(controls)
    assert not noise.any()
    high, _ = network.synthesise(replace(controls, f0_hz=2 * controls.f0_hz))
    spectra = [
        torch.fft.rfft(x[0, 2400:7200] * torch.hann_window(4800)).abs() for x in (voice, high)
    ]
    assert [int(s[:80].argmax()) * 5 for s in spectra] == [120, 240]
    soft, _ = network.synthesise(replace(controls, tone=0.5 * controls.tone))
    torch.testing.assert_close(soft, 0.5 * voice)


@pytest.mark.parametrize("kernels", [(3,), (3, 7)])
@pytest.mark.parametrize("strides", [(8, 5, 3, 2), (3, 3), (4, 4)])
def test_generators_make_a_hop_of_each_frame(strides, kernels):
    channels = tuple(range(2 * len(strides) + 2, 1, -2))
    config = GeneratorConfig(strides=strides, channels=channels, kernels=kernels)
    network = ConvGenerator(12, config)
    mel = torch.randn(2, 12, 7, requires_grad=True)
    made = network(mel)
    assert made.shape == (2, 7 * torch.tensor(strides).prod())
    made.square().mean().backward()
    assert all(p.grad.abs().max() > 0 for p in network.parameters())


def test_wrong_sizes_are_named():
    with pytest.raises(ConfigError, match="multiple of 4"):
        VocoderEncoderConfig(channels=6)
    with pytest.raises(ConfigError, match="one number of channels more"):
        GeneratorConfig(strides=(4, 4), channels=(8, 4))


def test_judges_see_what_repeats():
    """Of a sound with a period of 5 samples every column holds one value; a shift moves columns."""
    judge = PeriodDiscriminator(5, channels=2, n_layers=2)
    sound = torch.randn(5).repeat(12)[None]
    _, outputs = judge(sound)
    first = outputs[0][0, 0]
    assert first.shape == (4, 5) and torch.allclose(first[1:-1], first[1:2].expand(2, 5))
    assert judge(sound[:, :58])[0].shape == judge(sound)[0].shape, "the end is padded"
    members = Discriminators([judge, ScaleDiscriminator(2, channels=4, n_layers=2)])
    scores, features = members(sound)
    assert len(scores) == 2 and [len(f) for f in features] == [2, 3]
