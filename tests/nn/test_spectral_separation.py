"""Separators in the spectrum: published sizes, shapes, what each output can say, losses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from dl101.errors import ConfigError, ShapeError
from dl101.nn.spectral_separation import FiLM, SpectralConfig, SpectralSeparator, UNet

GOLDEN = json.loads((Path(__file__).parents[1] / "golden/parameter_counts.json").read_text())
SMALL = {"widths": (3, 4), "hidden": 6, "n_layers": 2}
OUTPUTS = ("mask", "shares", "spectrum", "parts")
KINDS = ("unet", "film", "recurrent")
CELLS = [(k, o) for k in KINDS for o in OUTPUTS if (k, o) != ("film", "shares")]


def separator(kind: str, output: str, n_channels: int = 2, **more: object) -> SpectralSeparator:
    torch.manual_seed(0)
    config = SpectralConfig(kind=kind, output=output, **SMALL, **more)
    return SpectralSeparator(config, 4, n_channels, window_samples=64, hop_samples=16)


@pytest.mark.parametrize(
    ("model", "n_stems", "window_samples", "count"),
    [
        ({"output": "parts"}, 1, 2048, GOLDEN["dl101/Source separation U-Net"]["count"]),
        (
            {"kind": "film", "output": "parts"},
            4,
            2048,
            GOLDEN["dl101/Source separation FiLM"]["count"],
        ),
        # counted in openunmix 1.3.0: nb_bins=2049, nb_channels=2, hidden_size=512, max_bin=1487
        ({"kind": "recurrent", "top_bin": 1487}, 1, 4096, 8_893_348),
    ],
)
def test_published_sizes(model, n_stems, window_samples, count):
    with torch.device("meta"):
        built = SpectralSeparator(
            SpectralConfig(**model), n_stems, 2, window_samples=window_samples, hop_samples=1024
        )
    assert sum(p.numel() for p in built.parameters()) == count


def test_the_unet_has_the_published_shapes():
    with torch.device("meta"):
        net = UNet(4, 4, (16, 32, 64, 128, 256, 512), last_norm=True)
        x, shapes = torch.empty(2, 4, 173, 1025), []
        for block in net.down:
            x = block(x)
            shapes.append(tuple(x.shape[1:]))
        assert net(torch.empty(2, 4, 173, 1025)).shape == (2, 4, 173, 1025)
    expected = [(16, 86, 512), (32, 42, 255), (64, 20, 127), (128, 9, 63), (256, 4, 31)]
    assert shapes == [*expected, (512, 1, 15)]
    assert net.least == 127


@pytest.mark.parametrize("film", ["last", "all"])
@pytest.mark.parametrize(("kind", "output"), CELLS)
def test_every_cell_runs_forward_and_backward(kind, output, film):
    net = separator(kind, output, film=film)
    audio = torch.randn(3, 2, 400)
    spectrum = net.spectrum(audio)
    found = net(spectrum)
    assert found.shape == (3, 4, 2, 33, 26) and found.is_complex()
    heard = net.audio(found, 400)
    assert heard.shape == (3, 4, 2, 400)
    heard.square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())


@pytest.mark.parametrize("n_samples", [1, 50, 777])
@pytest.mark.parametrize("kind", KINDS)
def test_any_length_goes_through(kind, n_samples):
    net = separator(kind, "mask", 1).eval()
    audio = torch.randn(2, 1, n_samples)
    assert net.audio(net(net.spectrum(audio)), n_samples).shape == (2, 4, 1, n_samples)


def test_the_transform_goes_back_and_has_a_sine_at_one():
    net = separator("unet", "mask")
    audio = torch.randn(2, 2, 500)
    torch.testing.assert_close(net.audio(net.spectrum(audio), 500), audio, atol=1e-5, rtol=0)
    tone = torch.sin(2 * torch.pi * 8 / 64 * torch.arange(500))[None, None]
    assert net.spectrum(tone)[0, 0, 8, 10].abs() == pytest.approx(1.0, abs=1e-4)


def test_what_each_output_can_say():
    spectrum = separator("unet", "mask").spectrum(torch.randn(2, 2, 400))
    mixture = spectrum[:, None]
    with torch.no_grad():
        said = {output: separator("unet", output)(spectrum) for output in OUTPUTS}
    for output in ("mask", "shares", "spectrum"):  # the mixture's phase
        turned = said[output] * mixture.conj()
        assert turned.real.min() >= 0 and turned.imag.abs().max() < 1e-5 * turned.abs().max()
    assert (said["mask"].abs() <= mixture.abs() + 1e-6).all()
    torch.testing.assert_close(said["shares"].sum(1), spectrum)
    assert not torch.allclose(said["mask"].sum(1), spectrum, rtol=0.1)
    assert (said["spectrum"].abs() > 1.1 * mixture.abs()).any()  # no mask of 1 holds it
    phases = (said["parts"] * mixture.conj()).angle().abs()
    assert phases.max() > 1.0
    silent = torch.zeros_like(spectrum)
    for output in OUTPUTS:
        assert not separator("unet", output).eval()(silent).abs().any()


def test_film_changes_nothing_at_first_and_then_each_condition_by_itself():
    film, x = FiLM(3, 5), torch.randn(3, 5, 4)
    assert torch.equal(film(x, torch.tensor([0, 1, 2])), x)
    with torch.no_grad():
        film.scale.weight[1], film.shift.weight[2] = 2.0, 7.0
    found = film(x, torch.tensor([0, 1, 2]))
    assert torch.equal(found, torch.stack([x[0], 2 * x[1], x[2] + 7]))


@pytest.mark.parametrize("film", ["last", "all"])
def test_a_conditioned_network_answers_what_it_is_asked(film):
    net = separator("film", "mask", film=film).eval()
    with torch.no_grad():
        for module in net.modules():
            if isinstance(module, FiLM):
                module.shift.weight += torch.arange(4.0)[:, None]
    spectrum = net.spectrum(torch.randn(3, 2, 400))
    everything = net(spectrum)
    asked = torch.tensor([2, 0, 3])
    torch.testing.assert_close(net(spectrum, asked)[:, 0], everything[torch.arange(3), asked])
    assert not torch.allclose(everything[:, 0], everything[:, 3])
    assert len(net.network.film) == (1 if film == "last" else 2)


def test_the_recurrent_network_sees_no_further_than_told():
    net = separator("recurrent", "mask", 1, top_bin=20).eval()
    spectrum = net.spectrum(torch.randn(1, 1, 400))
    changed = spectrum.clone()
    changed[:, :, 20:] *= 3.0
    torch.testing.assert_close(net(changed)[:, :, :, :20], net(spectrum)[:, :, :, :20])
    changed[:, :, 19] *= 3.0
    assert not torch.allclose(net(changed)[:, :, :, :19], net(spectrum)[:, :, :, :19])


def test_wrong_settings_and_shapes_are_named():
    with pytest.raises(ConfigError, match="one stem at a time"):
        SpectralConfig(kind="film", output="shares")
    net = separator("unet", "mask", 1)
    with pytest.raises(ShapeError, match=r"\(2, 2, 33, 26\).*\(batch, 1, bins, frames\)"):
        net(torch.zeros(2, 2, 33, 26, dtype=torch.complex64))
