"""Encoder and decoder: rates, places, levels, gradients."""

from __future__ import annotations

import pytest
import torch

from dl101.errors import ConfigError, ShapeError
from dl101.nn.codec import ConvConfig, Decoder, Down, Encoder, Up, as_batch

SMALL = ConvConfig(strides=(2, 5), channels=(4, 6, 8), latent_channels=3)
LAB = ConvConfig(
    strides=(16, 4, 5), channels=(1, 48, 64, 96), first_units=1, edge_kernel=1, latent_channels=32
)


def n_parameters(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize("n_samples", [1, 9, 10, 11, 95, 400])
def test_every_started_frame_has_a_latent_and_comes_back_whole(n_samples):
    latents = Encoder(SMALL)(torch.randn(2, n_samples))
    n_frames = -(-n_samples // 10)
    assert latents.shape == (2, 3, n_frames)
    assert Decoder(SMALL)(latents).shape == (2, 10 * n_frames)


def test_the_number_of_parameters_is_that_of_the_formula():
    def conv(inputs, outputs, taps):
        return inputs * outputs * taps + outputs

    units = 3 * sum(conv(c, c, 3) + conv(c, c, 1) for c in (48, 64))
    steps = conv(1, 48, 32) + conv(48, 64, 8) + conv(64, 96, 10)
    assert n_parameters(Encoder(LAB)) == conv(1, 1, 1) + units + steps + conv(96, 32, 3)
    assert n_parameters(Encoder(LAB, outputs=64)) - n_parameters(Encoder(LAB)) == 32 * (96 * 3 + 1)


@pytest.mark.parametrize("stride", [1, 2, 5, 8])
def test_each_sample_of_a_step_up_is_a_sum_of_two_taps(stride):
    """No uneven overlap: with all weights one, a constant stays constant away from the ends."""
    layer = Up(1, 1, stride)
    torch.nn.init.ones_(layer.conv.weight)
    torch.nn.init.zeros_(layer.conv.bias)
    y = layer(torch.ones(1, 1, 12))[0, 0]
    assert y.shape == (12 * stride,)
    torch.testing.assert_close(y[stride:-stride], torch.full((10 * stride,), 2.0))


@pytest.mark.parametrize("stride", [2, 5, 8])
def test_a_step_down_looks_at_its_own_place(stride):
    """The kernel of output t lies around samples t * stride to (t + 1) * stride."""
    layer = Down(1, 1, stride)
    x = torch.zeros(1, 1, 6 * stride, requires_grad=True)
    layer(x)[0, 0, 3].backward()
    seen = x.grad[0, 0].nonzero().flatten()
    before = stride // 2
    assert seen.min() == 3 * stride - before and seen.max() == 5 * stride - before - 1


@pytest.mark.parametrize("stride", [2, 5, 8])
def test_a_step_up_lands_on_its_own_place(stride):
    """Step t is heard around samples t * stride to (t + 1) * stride, and nowhere else."""
    layer = Up(1, 1, stride)
    torch.nn.init.ones_(layer.conv.weight)
    torch.nn.init.zeros_(layer.conv.bias)
    heard = layer(torch.eye(6)[None, 3:4])[0, 0].nonzero().flatten()
    before = stride // 2
    assert heard.min() == 3 * stride - before and heard.max() == 5 * stride - before - 1


def test_a_shift_by_a_frame_shifts_the_latents():
    torch.manual_seed(0)
    encoder, decoder = Encoder(SMALL).double(), Decoder(SMALL).double()
    audio = torch.randn(1, 600, dtype=torch.float64)
    latents, moved = encoder(audio), encoder(audio[:, 10:])
    torch.testing.assert_close(latents[..., 11:-10], moved[..., 10:-10])
    decoded, moved = decoder(latents), decoder(latents[..., 1:])
    torch.testing.assert_close(decoded[:, 110:-100], moved[:, 100:-100])


def test_a_signal_keeps_its_level_at_the_start():
    torch.manual_seed(0)
    audio = 0.1 * torch.randn(4, 3200)
    latents = Encoder(LAB)(audio)
    assert 0.02 < float(latents.std()) < 0.5
    assert 0.02 < float(Decoder(LAB)(torch.randn(4, 32, 10)).std()) < 5


def test_gradients_reach_every_parameter():
    encoder, decoder = Encoder(SMALL), Decoder(SMALL)
    decoder(encoder(torch.randn(2, 200))).square().sum().backward()
    for name, p in [*encoder.named_parameters(), *decoder.named_parameters()]:
        assert p.grad is not None and p.grad.abs().max() > 0, name


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"channels": (4, 6)}, "one more than there are strides"),
        ({"kernel": 4}, "use 5"),
        ({"edge_kernel": 2}, "odd number"),
        ({"strides": (), "channels": (4,)}, "not empty"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(given, said):
    with pytest.raises(ConfigError, match=said):
        ConvConfig(**{"strides": (2, 5), "channels": (4, 6, 8), **given})


@pytest.mark.parametrize(
    "audio", [torch.zeros(3), torch.zeros(1, 1, 5), torch.zeros(1, 0), torch.zeros(1, 5).long()]
)
def test_audio_of_another_shape_is_refused(audio):
    with pytest.raises(ShapeError, match="audio to encode"):
        as_batch(audio)
