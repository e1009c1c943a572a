"""Shapes of filters: published counts, what each shape can and cannot see, the harmonic filters."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from dl101.errors import ConfigError, ShapeError
from dl101.lab.costs import layer_costs
from dl101.nn.shapes import (
    HarmonicFilters,
    HarmonicFrontend,
    MusicnnBackend,
    Shape,
    ShapedConvs,
    SquareConvs,
    VerticalConv,
    musicnn_shapes,
)

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "parameter_counts.json").read_text())
SAMPLE_RATE = 22050


def n_parameters(*parts: nn.Module) -> int:
    return sum(p.numel() for part in parts for p in part.parameters())


def golden(name: str) -> int:
    return GOLDEN[f"thesis/{name}"]["count"]


# --------------------------------------------------------------------------------- published counts
@pytest.mark.parametrize("width", [0.125, 0.25, 0.5, 1, 2])
def test_musicnn_frontend_counts(width):
    vertical, horizontal = musicnn_shapes(width=width)
    front = ShapedConvs(96, vertical=vertical, horizontal=horizontal)
    assert n_parameters(front, MusicnnBackend(front.out_channels, 50)) == golden(
        f"T5.3 spec front x{width:g}"
    )


@pytest.mark.parametrize("hidden", [200, 500])
@pytest.mark.parametrize("channels", [64, 128, 256, 512])
def test_musicnn_backend_counts(channels, hidden):
    vertical, horizontal = musicnn_shapes(width=0.5)
    front = ShapedConvs(96, vertical=vertical, horizontal=horizontal)
    back = MusicnnBackend(front.out_channels, 50, channels=channels, hidden=hidden)
    assert n_parameters(front, back) == golden(f"T5.3 spec back {channels}-{hidden}")


def test_the_default_is_the_network_for_a_million_songs():
    front = ShapedConvs()
    count = n_parameters(front, MusicnnBackend(front.out_channels, 139))
    assert count == golden("1.2M-songs spectrogram")


@pytest.mark.parametrize("factor", [1, 2, 4])
def test_timbre_network_for_magnatagatune(factor):
    heights = {100: (10, 6, 3, 3), 75: (15, 10, 5, 5), 25: (15, 10, 5, 5)}
    shapes = [
        Shape(factor * n, height, length)
        for height, numbers in heights.items()
        for n, length in zip(numbers, (1, 3, 5, 7), strict=True)
    ]
    front = ShapedConvs(128, vertical=shapes, horizontal=[], norm=False)
    network = nn.Sequential(
        front,
        nn.MaxPool1d(4),
        nn.Conv1d(front.out_channels, 32 * factor, 8),
        nn.ELU(),
        nn.MaxPool1d(4),
        nn.Flatten(),
        nn.Linear(32 * factor * 9, 100),
        nn.ELU(),
        nn.Linear(100, 50),
    )
    assert network(torch.zeros(1, 1, 128, 187)).shape == (1, 50)
    assert n_parameters(network) == golden(f"T3.5 MTT proposed x{factor} (2nd conv also x{factor})")


def test_single_layer_network_for_irmas():
    shapes = [
        Shape(n, height, length) for n, length in ((128, 1), (64, 3), (32, 5)) for height in (5, 80)
    ]
    front = ShapedConvs(96, vertical=shapes, horizontal=[])
    network = nn.Sequential(front, nn.MaxPool1d(32), nn.Flatten(), nn.Linear(1792, 11))
    assert network(torch.zeros(2, 1, 96, 128)).shape == (2, 11)
    running = sum(b.numel() for name, b in network.named_buffers() if "running" in name)
    assert n_parameters(network) + running == golden("T3.4 IRMAS single pool as code")


@pytest.mark.parametrize("n_classes", [10, 15])
def test_one_filter_per_class(n_classes):
    front = ShapedConvs(128, vertical=[Shape(n_classes, 108, 7)], horizontal=[], norm=False)
    count = n_parameters(nn.BatchNorm2d(1), front)
    assert count == golden(f"6.3 TIMBRE ({n_classes})")


# ------------------------------------------------------------------------ what the shapes can see
def test_frontend_by_hand():
    torch.manual_seed(0)
    front = ShapedConvs(
        12, vertical=[Shape(3, 5, 3), Shape(2, 12, 1)], horizontal=[Shape(4, 1, 6)], norm=False
    ).double()
    x = torch.randn(2, 1, 12, 9, dtype=torch.float64)
    y = front(x).detach().numpy()
    assert y.shape == (2, 9, 9)
    padded = np.pad(x[:, 0].numpy(), ((0, 0), (0, 0), (8, 8)))  # frame t stands at t + 8

    def answer(conv, at, first_frame, first_band=0, envelope=False):
        """Return ReLU(filters . patch) for one place, (item, filter)."""
        weights = conv.weight.detach().numpy()
        weights = weights if weights.ndim == 4 else weights[:, :, None]
        height, length = weights.shape[2:]
        source = padded.mean(1, keepdims=True) if envelope else padded
        begin = at + 8 + first_frame
        patch = source[:, first_band : first_band + height, begin : begin + length]
        found = np.einsum("nbt,fbt->nf", patch, weights[:, 0]) + conv.bias.detach().numpy()
        return np.maximum(found, 0)

    for t in range(9):
        small = [answer(front.vertical[0].conv, t, -1, band) for band in range(8)]
        high = answer(front.vertical[1].conv, t, 0)
        long = answer(front.horizontal[0].conv, t, -2, envelope=True)
        expected = np.concatenate([np.max(small, axis=0), high, long], axis=1)
        np.testing.assert_allclose(y[:, :, t], expected, atol=1e-12)


def test_a_shifted_pattern_gives_the_same_maximum():
    torch.manual_seed(0)
    layer = VerticalConv(Shape(8, 9, 3)).eval()
    pattern = torch.randn(6, 12).abs()
    outputs, positions = [], []
    for shift in range(5):
        x = torch.zeros(1, 1, 40, 12)
        x[0, 0, 10 + shift : 16 + shift] = pattern
        outputs.append(layer(x))
        positions.append(layer.positions(x))
    for shift in range(1, 5):
        torch.testing.assert_close(outputs[shift], outputs[0])
        torch.testing.assert_close(positions[shift][:, :, shift:], positions[0][:, :, :-shift])
    assert not torch.allclose(positions[1], positions[0])


def test_horizontal_filters_hear_the_envelope_alone():
    torch.manual_seed(0)
    front = ShapedConvs(16, vertical=[], horizontal=[Shape(5, 1, 8)]).eval()
    x = torch.rand(2, 1, 16, 30)
    shuffled = torch.stack([x[..., t][:, :, torch.randperm(16)] for t in range(30)], dim=-1)
    assert not torch.equal(shuffled, x)
    torch.testing.assert_close(front(shuffled), front(x))
    x.requires_grad_()
    front.train()(x)[0, 2, 15].backward()
    torch.testing.assert_close(x.grad, x.grad[:, :, :1].expand_as(x))


@pytest.mark.parametrize("length", [1, 2, 7, 8])
def test_frames_are_kept_and_reach_is_the_width(length):
    front = ShapedConvs(
        16, vertical=[Shape(2, 3, length)], horizontal=[Shape(2, 1, length)], norm=False
    ).double()
    for conv in (front.vertical[0].conv, front.horizontal[0].conv):
        nn.init.constant_(conv.weight, 1.0)
    x = torch.rand(1, 1, 16, 31, dtype=torch.float64, requires_grad=True)
    y = front(x)
    assert y.shape == (1, 4, 31)
    y[0, :, 15].sum().backward()
    seen = x.grad[0, 0].abs().sum(0).nonzero()[:, 0].tolist()
    first = 15 - (length - 1) // 2
    assert seen == list(range(first, first + length))


def test_shapes_keep_their_duration_at_another_frame_rate():
    vertical, horizontal = musicnn_shapes(64, frames_per_second=43.07)
    assert [s.n_bands for s in vertical] == [57] * 3 + [25] * 3
    assert [s.n_frames for s in vertical] == [5, 3, 1] * 2
    for shape, frames in zip(horizontal, (165, 128, 64, 32), strict=True):
        assert shape.n_frames / 43.07 == pytest.approx(frames / 62.5, abs=0.5 / 43.07)
    assert musicnn_shapes()[0][0] == (16, 86, 7) and musicnn_shapes()[1][0] == (16, 1, 165)


def test_square_filters_see_where_and_how_far():
    front = SquareConvs(32, channels=4, n_layers=3).eval()
    for layer in front.layers:
        nn.init.constant_(layer[0].weight, 0.1)
    x = torch.rand(1, 1, 32, 21, requires_grad=True)
    y = front(x)
    assert y.shape == (1, 16, 21) and front.out_channels == 16
    y.unflatten(1, (4, 4))[0, 3, 0, 10].backward()  # of the last filter, the lowest of four places
    rows = x.grad[0, 0].abs().sum(1).nonzero()[:, 0]
    columns = x.grad[0, 0].abs().sum(0).nonzero()[:, 0]
    assert columns.min() == 7 and columns.max() == 13
    assert rows.max() < 8 + 7  # eight bands of its own and seven more that the layers reach
    n_weights = 9 * (4 + 2 * 4 * 4)
    assert n_parameters(front) == n_weights + 3 * 4 * 3  # bias, and scale and shift of the norm


def test_every_frontend_is_affordable_at_64_bands_and_43_frames_a_second():
    vertical, horizontal = musicnn_shapes(64, frames_per_second=SAMPLE_RATE / 512)
    spectrogram = (1, 64, 129)
    for front, shape in (
        (ShapedConvs(64, vertical=vertical, horizontal=horizontal), spectrogram),
        (SquareConvs(64), spectrogram),
        (HarmonicFrontend(sample_rate=SAMPLE_RATE), (1, 3 * SAMPLE_RATE)),
    ):
        work = sum(row.multiply_adds for row in layer_costs(front, shape))
        assert work / 3 < 30e6, type(front).__name__


# ----------------------------------------------------------------------------- harmonic filters
def triangles(hz, centres_hz, alpha, beta_hz, q, smallest_hz):
    """Return the filters one by one from their slopes, (harmonic, band, bin)."""
    found = np.zeros((*centres_hz.shape, len(hz)))
    for index in np.ndindex(centres_hz.shape):
        centre = centres_hz[index]
        half = max((alpha * centre + beta_hz) / q, smallest_hz) / 2
        for k, f in enumerate(hz):
            if centre - half < f <= centre:
                found[(*index, k)] = (f - centre + half) / half
            elif centre < f < centre + half:
                found[(*index, k)] = (centre + half - f) / half
    return found


@pytest.mark.parametrize("q", [1.0, 4.0])
def test_harmonic_filters_are_the_published_triangles(q):
    layer = HarmonicFilters(
        sample_rate=16000,
        window_samples=512,
        n_harmonics=3,
        n_bands=10,
        lowest_hz=110.0,
        bands_per_octave=4,
        q=q,
    )
    hz = np.fft.rfftfreq(512, 1 / 16000)
    f_k = np.array([110.0 * 2 ** (k / 4) for k in range(10)])
    centres = np.stack([f_k, 2 * f_k, 3 * f_k])
    expected = triangles(hz, centres, 0.1079, 24.7, q, 62.5)
    np.testing.assert_allclose(layer.filters().detach(), expected, atol=2e-4)
    assert (expected.sum(-1) > 0).all()  # no filter falls between two bins
    power = torch.rand(2, 257, 5)
    torch.testing.assert_close(layer(power), torch.einsum("hbk,nkt->nhbt", layer.filters(), power))


def test_steps_of_the_optimiser_are_relative():
    layer = HarmonicFilters(sample_rate=SAMPLE_RATE, q=2.0)
    with torch.no_grad():
        layer.steps.copy_(torch.tensor([0.01, -0.02, 0.5]))
    expected = [0.1079 * math.exp(0.01), 24.7 * math.exp(-0.02), 2 * math.exp(0.5)]
    np.testing.assert_allclose(layer.constants().detach(), expected, rtol=1e-6)
    widths = (expected[0] * layer.centres_hz + expected[1]) / expected[2]
    floor = 2 * SAMPLE_RATE / 2048
    torch.testing.assert_close(layer.bandwidths_hz(), widths.clamp(min=floor))


def test_a_harmonic_sound_lights_one_band_in_all_harmonics():
    front = HarmonicFrontend(sample_rate=SAMPLE_RATE, q=4.0).eval()
    time = torch.arange(SAMPLE_RATE) / SAMPLE_RATE
    f0_hz = front.filters.centres_hz[0, 36].item()
    tone = sum(torch.sin(2 * torch.pi * n * f0_hz * time) for n in range(1, 7))[None, None]
    power = front.filters(front.power(tone))[0, :, :, 20]
    # partials stand in other bands too, but only here are all six harmonics strong at once
    assert (power[:, 36] > power.amax(dim=1) / 4).all()
    assert power.log().sum(0).argmax() == 36
    # a sine of amplitude 1 has power 1 in its bin
    on_bin = torch.sin(2 * torch.pi * 100 * SAMPLE_RATE / 2048 * time)[None, None]
    assert front.power(on_bin)[0, 100, 20].item() == pytest.approx(1, abs=1e-3)


def test_bandwidth_learns_what_made_the_data():
    torch.manual_seed(0)
    options = {"sample_rate": 8000, "window_samples": 512, "n_harmonics": 2, "n_bands": 24}
    teacher = HarmonicFilters(**options, lowest_hz=200.0, q=1.0)
    student = HarmonicFilters(**options, lowest_hz=200.0, q=0.5)
    power = torch.rand(8, 257, 20) ** 4
    optimiser = torch.optim.Adam(student.parameters(), lr=0.03)
    for _ in range(150):
        optimiser.zero_grad()
        loss = (student(power) - teacher(power).detach()).square().mean()
        loss.backward()
        optimiser.step()
    widths, wanted = student.bandwidths_hz().detach(), teacher.bandwidths_hz().detach()
    torch.testing.assert_close(widths, wanted, rtol=0.1, atol=0)


# -------------------------------------------------------------------------- all of them, and faults
def network(name):
    torch.manual_seed(0)
    if name == "harmonic":
        front = HarmonicFrontend(sample_rate=SAMPLE_RATE, n_bands=32, channels=4)
        return nn.Sequential(front, MusicnnBackend(front.out_channels, 3, channels=8, hidden=8))
    if name == "square":
        front = SquareConvs(48, channels=4)
    else:
        vertical, horizontal = musicnn_shapes(48, width=1 / 4)
        front = ShapedConvs(48, vertical=vertical, horizontal=horizontal)
    return nn.Sequential(front, MusicnnBackend(front.out_channels, 3, channels=8, hidden=8))


def some_input(name):
    torch.manual_seed(1)
    return torch.randn(4, 1, SAMPLE_RATE) / 10 if name == "harmonic" else torch.randn(4, 1, 48, 40)


NAMES = ["shaped", "square", "harmonic"]


@pytest.mark.parametrize("name", NAMES)
def test_gradients_reach_every_parameter(name):
    model = network(name)
    model(some_input(name)).square().sum().backward()
    for key, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, key


@pytest.mark.parametrize("name", NAMES)
def test_half_precision_is_near(name):
    model, x = network(name).eval(), some_input(name)
    exact = model(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = model(x)
    assert torch.isfinite(rough).all()
    assert (rough.float() - exact).abs().max() < 0.05 * exact.abs().max() + 0.02


@pytest.mark.parametrize("name", NAMES)
def test_constants_move_and_stay_out_of_checkpoints(name):
    model = network(name)
    kept = {key for key, _ in model.named_parameters()}
    kept |= {key for key, _ in model.named_buffers() if "running" in key or "num_batches" in key}
    assert set(model.state_dict()) == kept
    assert model.double()(some_input(name).double()).dtype == torch.float64
    x = some_input(name)
    meta = model.float().to("meta")
    assert meta(torch.empty(x.shape, device="meta")).shape == (4, 3)


@pytest.mark.parametrize("name", NAMES)
def test_one_graph_without_breaks(name):
    model, x = network(name).eval(), some_input(name)
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(x), model(x))


def test_faults():
    with pytest.raises(ConfigError, match="none"):
        ShapedConvs(64, vertical=[], horizontal=[])
    with pytest.raises(ConfigError, match="65 bands"):
        ShapedConvs(64, vertical=[Shape(1, 65, 1)])
    with pytest.raises(ConfigError, match="height of 3"):
        ShapedConvs(64, horizontal=[Shape(1, 3, 8)])
    with pytest.raises(ShapeError, match=r"\(2, 1, 96, 30\)"):
        ShapedConvs(64)(torch.zeros(2, 1, 96, 30))
    with pytest.raises(ConfigError, match="5 layers for 16 bands"):
        SquareConvs(16)
    with pytest.raises(ShapeError, match="64, frame"):
        SquareConvs(64)(torch.zeros(64, 30))
    with pytest.raises(ConfigError, match="half the sample rate"):
        HarmonicFilters(sample_rate=8000)
    with pytest.raises(ConfigError, match="Q"):
        HarmonicFilters(sample_rate=SAMPLE_RATE, q=0)
    with pytest.raises(ShapeError, match="1025"):
        HarmonicFilters(sample_rate=SAMPLE_RATE)(torch.zeros(1, 513, 4))
    with pytest.raises(ShapeError, match=r"\(4000,\)"):
        HarmonicFrontend(sample_rate=SAMPLE_RATE)(torch.zeros(4000))
    with pytest.raises(ShapeError, match="7 frames"):
        MusicnnBackend(8, 3)(torch.zeros(1, 8, 7))
