"""Multiply-adds and receptive fields against closed forms, gradients and counting."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from dl101.lab.costs import layer_costs
from dl101.nn.convolutional import TemporalConvNet
from dl101.nn.frontends import SincConv


class Apply(nn.Module):
    """A function as a module."""

    def __init__(self, function, **parts):
        super().__init__()
        self.function = function
        for name, part in parts.items():
            self.add_module(name, part)

    def forward(self, x):
        return self.function(self, x)


def last_field(network, input_shape, **options):
    return layer_costs(network, input_shape, **options)[-1].field


def field_by_gradient(network, input_shape, *, axis=-1):
    """Return the largest span of input frames that one output frame depends on.

    Looked at for eight neighbouring frames in the middle, far from the borders: these are all the
    phases of the networks below.
    """
    torch.manual_seed(0)
    network = network.double().eval()
    x = torch.randn(1, *input_shape, dtype=torch.float64, requires_grad=True)
    y = network(x)
    middle = y.shape[-1] // 2
    spans = []
    for frame in range(middle, min(middle + 8, y.shape[-1])):
        (gradient,) = torch.autograd.grad(y[..., frame].sum(), x, retain_graph=True)
        seen = gradient.movedim(axis, -1).reshape(-1, gradient.shape[axis]).abs().amax(0)
        frames = torch.nonzero(seen > 0)
        spans.append(int(frames[-1] - frames[0]) + 1)
    return max(spans)


def unet(depth):
    """A U-Net whose every level halves the time axis."""

    def forward(self, x):
        here = self.one(x)
        low = self.up(self.low(F.avg_pool1d(here, 2)))
        return self.two(torch.cat([low, here], dim=1))

    inner = unet(depth - 1) if depth > 1 else nn.Conv1d(3, 3, 3, padding=1)
    return Apply(
        forward,
        one=nn.Conv1d(3, 3, 3, padding=1),
        low=inner,
        up=nn.ConvTranspose1d(3, 3, 2, stride=2),
        two=nn.Conv1d(6, 3, 3, padding=1),
    )


def wavenet(depth, repeats):
    def layer(dilation):
        def forward(self, x):
            past = F.pad(x, (dilation, 0))
            return x + torch.tanh(self.filter(past)) * torch.sigmoid(self.gate(past))

        convolutions = {n: nn.Conv1d(2, 2, 2, dilation=dilation) for n in ("filter", "gate")}
        return Apply(forward, **convolutions)

    return nn.Sequential(
        nn.Conv1d(1, 2, 1), *(layer(2**i) for _ in range(repeats) for i in range(depth))
    )


NETWORKS = {
    "convolution": (nn.Conv1d(1, 3, 5), (1, 64)),
    "even kernel": (nn.Conv1d(1, 3, 4, padding="same", dilation=2), (1, 64)),
    "strides and dilations": (
        nn.Sequential(
            nn.Conv1d(1, 4, 7, stride=3), nn.Tanh(), nn.Conv1d(4, 4, 3, stride=2, dilation=4)
        ),
        (1, 400),
    ),
    "pooling": (
        nn.Sequential(
            nn.Conv1d(1, 4, 3), nn.AvgPool1d(4, 2, 1), nn.Conv1d(4, 2, 3), nn.AvgPool1d(3)
        ),
        (1, 300),
    ),
    "transposed": (
        nn.Sequential(nn.Conv1d(1, 2, 4, stride=4), nn.ConvTranspose1d(2, 1, 7, stride=3)),
        (1, 200),
    ),
    "U-Net": (unet(1), (3, 128)),
    "deep U-Net": (unet(3), (3, 256)),
    "WaveNet": (wavenet(4, 2), (1, 128)),
    "two axes": (
        nn.Sequential(
            nn.Conv2d(2, 3, (5, 3)), nn.AvgPool2d((2, 1)), nn.Conv2d(3, 2, (3, 5), stride=(1, 2))
        ),
        (2, 20, 60),
    ),
    "a permutation, linear layers and back": (
        Apply(
            lambda self, x: self.last(self.linear(self.first(x).transpose(1, 2)).transpose(1, 2)),
            first=nn.Conv1d(3, 5, 3),
            linear=nn.Sequential(nn.LayerNorm(5), nn.Linear(5, 7)),
            last=nn.Conv1d(7, 1, 2),
        ),
        (3, 50),
    ),
    "nearest": (
        nn.Sequential(nn.AvgPool1d(2), nn.Upsample(scale_factor=2), nn.Conv1d(1, 1, 3)),
        (1, 64),
    ),
    "linear interpolation": (
        nn.Sequential(nn.AvgPool1d(4), nn.Upsample(scale_factor=4, mode="linear")),
        (1, 64),
    ),
    "bands to the batch": (
        Apply(
            lambda self, x: self.first(x.permute(0, 2, 1, 3).reshape(-1, 2, x.shape[-1])),
            first=nn.Conv1d(2, 1, 9),
        ),
        (2, 4, 40),
    ),
    "a shifted copy": (Apply(lambda self, x: x[..., 6:] + x[..., :-6]), (1, 40)),
    "every third frame": (
        nn.Sequential(Apply(lambda self, x: x[..., ::3]), nn.Conv1d(1, 1, 3)),
        (1, 60),
    ),
    "learned filters": (SincConv(4, 31, sample_rate=8000, stride=5), (1, 200)),
    "squeezed": (
        Apply(lambda self, x: self.first(x).squeeze(2), first=nn.Conv2d(1, 2, (8, 3))),
        (1, 8, 40),
    ),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_field_is_what_the_gradient_reaches(name):
    network, shape = NETWORKS[name]
    assert last_field(network, shape) == field_by_gradient(network, shape)


def test_field_along_frequency_is_what_the_gradient_reaches():
    """The same bookkeeping for another axis: kernels, dilations, strides and ways up and down."""
    skip = Apply(
        lambda self, x: torch.cat([self.up(self.down(x)), x], dim=1),
        down=nn.MaxPool2d((4, 2)),
        up=nn.ConvTranspose2d(3, 3, (4, 2), stride=(4, 2)),
    )
    network = nn.Sequential(
        nn.Conv2d(2, 3, (7, 3), dilation=(5, 2), padding="same"), skip, nn.Conv2d(6, 1, (3, 5))
    )
    network = nn.Sequential(network, nn.Conv2d(1, 1, (2, 2), stride=(2, 1)))
    shape = (2, 160, 40)
    turned = Apply(lambda self, x: self.inner(x.transpose(2, 3)).transpose(2, 3), inner=network)
    along = {axis: last_field(network, shape, time_axis=axis) for axis in (-2, -1)}
    assert along[-2] == field_by_gradient(turned, (2, 40, 160))
    assert along[-1] == field_by_gradient(network, shape)


@pytest.mark.parametrize("depth", [1, 3, 5])
def test_tcn_closed_form(depth):
    """Two convolutions a block, with dilation 2**i (Bai, Kolter and Koltun, 2018)."""
    network = TemporalConvNet(1, [4] * depth, kernel_size=3, dropout=0.0)
    assert last_field(network, (1, 256)) == 1 + 2 * (3 - 1) * (2**depth - 1)


def test_wavenet_closed_form():
    """Ten doubling dilations see 1024 samples (van den Oord et al., 2016, section 2.1)."""
    rows = layer_costs(wavenet(10, 1), (1, 50))  # longer than the input: the rest is padding
    assert rows[-1].field == 1024
    assert last_field(wavenet(10, 3), (1, 50)) == 3 * 1023 + 1


def test_vgg_closed_form():
    """The receptive field of VGG-16 before its linear layers is 212 (Simonyan and Zisserman)."""
    layers, channels = [], 1
    for n_convolutions in (2, 2, 3, 3, 3):
        for _ in range(n_convolutions):
            layers += [nn.Conv2d(channels, 2, 3, padding=1), nn.ReLU()]
            channels = 2
        layers.append(nn.MaxPool2d(2))
    assert last_field(nn.Sequential(*layers), (1, 64, 64)) == 212


def whole_networks():
    attention = nn.MultiheadAttention(4, 2, batch_first=True)
    return {
        "global pooling": (nn.AdaptiveAvgPool1d(1), (2, 30), -1),
        "mean": (Apply(lambda self, x: x.mean(-1)), (2, 30), -1),
        "flat": (nn.Sequential(nn.Conv1d(2, 3, 3), nn.Flatten(), nn.Linear(84, 2)), (2, 30), -1),
        "attention": (Apply(lambda s, x: s.a(x, x, x)[0], a=attention), (30, 4), -2),
        "recurrent": (Apply(lambda s, x: s.r(x)[0], r=nn.LSTM(4, 3, batch_first=True)), (30, 4), 0),
        "normalised": (nn.Sequential(nn.Conv1d(2, 4, 3), nn.GroupNorm(2, 4)), (2, 30), -1),
        "instance": (nn.InstanceNorm1d(2), (2, 30), -1),
        "layer": (nn.LayerNorm(30), (2, 30), -1),
        "gate": (Apply(lambda self, x: x * torch.sigmoid(x.amax(-1, keepdim=True))), (2, 30), -1),
        "softmax": (Apply(lambda self, x: (x * x.softmax(-1)).sum(-1)), (2, 30), -1),
    }


@pytest.mark.parametrize("name", whole_networks())
def test_whole_input(name):
    network, shape, axis = whole_networks()[name]
    assert last_field(network, shape, time_axis=axis) == 30


def test_the_last_frame_sees_its_own_past_only():
    network = nn.Sequential(nn.Conv1d(1, 2, 5), Apply(lambda s, x: x[..., -1]), nn.Linear(2, 3))
    assert last_field(network, (1, 30)) == 5


def test_flattening_mixes_nothing_yet():
    rows = layer_costs(nn.Sequential(nn.Conv1d(2, 3, 3), nn.Flatten(), nn.ReLU()), (2, 30))
    assert [row.field for row in rows] == [3, 3, 3]


def test_what_is_not_followed_is_not_guessed():
    network = nn.Sequential(Apply(lambda self, x: x.flip(-1)), nn.Conv1d(1, 1, 3))
    assert last_field(network, (1, 30)) is None
    assert last_field(Apply(lambda self, x: x.view(1, 1, 5, 6)), (1, 30)) is None


def count(network, input_shape):
    return sum(row.multiply_adds for row in layer_costs(network, input_shape))


@pytest.mark.parametrize(
    ("network", "shape", "expected"),
    [
        (nn.Linear(8, 3), (8,), 8 * 3),
        (nn.Linear(8, 3), (10, 8), 10 * 8 * 3),
        (nn.Conv1d(4, 6, 5), (4, 20), 16 * 6 * 4 * 5),
        (nn.Conv1d(4, 6, 5, stride=2, groups=2), (4, 20), 8 * 6 * 2 * 5),
        (nn.Conv2d(3, 8, (3, 5), padding="same"), (3, 10, 20), 200 * 8 * 3 * 15),
        (nn.ConvTranspose1d(4, 6, 5, stride=3), (4, 20), 20 * 4 * 6 * 5),
        (nn.Sequential(nn.BatchNorm1d(4), nn.ReLU(), nn.MaxPool1d(2)), (4, 20), 0),
        (nn.LSTM(4, 3, batch_first=True), (20, 4), 20 * 4 * 3 * (4 + 3)),
        (nn.GRU(4, 3, num_layers=2, batch_first=True), (20, 4), 20 * 3 * 3 * (4 + 3 + 3 + 3)),
        (
            Apply(lambda s, x: s.a(x, x, x)[0], a=nn.MultiheadAttention(8, 2, batch_first=True)),
            (20, 8),
            20 * 8 * 8 * 4 + 2 * 20 * 20 * 8,
        ),
        (SincConv(4, 31, sample_rate=8000), (1, 100), 70 * 4 * 31),
    ],
)
def test_multiply_adds_closed_forms(network, shape, expected):
    assert count(network, shape) == expected


def test_multiply_adds_agree_with_torch():
    from torch.utils.flop_counter import FlopCounterMode

    network = nn.Sequential(unet(2), nn.Conv1d(3, 6, 3, groups=3), TemporalConvNet(6, [8, 8]))
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network.eval()(torch.zeros(1, 3, 64))
    assert 2 * count(network, (3, 64)) == counter.get_total_flops()


def test_every_row_has_its_own_costs():
    """What a container multiplies itself stands in its row, once."""
    product = Apply(lambda self, x: self.first(x) @ x.transpose(1, 2), first=nn.Linear(5, 5))
    rows = layer_costs(product, (4, 5))
    assert [row.type for row in rows] == ["Linear", "Apply"]
    assert [row.multiply_adds for row in rows] == [4 * 5 * 5, 4 * 4 * 5]


def test_rows_of_parametrised_and_attention_layers():
    network = nn.utils.parametrizations.weight_norm(nn.Conv1d(2, 3, 3))
    (row,) = layer_costs(network, (2, 20))
    assert (row.type, row.field) == ("Conv1d", 3)
    assert row.parameters == sum(p.numel() for p in network.parameters())
    attention = Apply(lambda s, x: s.a(x, x, x)[0], a=nn.MultiheadAttention(8, 2))
    rows = layer_costs(attention, (20, 8))
    assert sum(row.parameters for row in rows) == sum(p.numel() for p in attention.parameters())


def test_a_slope_that_is_learned_changes_no_field():
    rows = layer_costs(nn.Sequential(nn.Conv1d(2, 3, 5), nn.PReLU(), nn.Conv1d(3, 1, 2)), (2, 30))
    assert [row.field for row in rows if row.field is not None][-3:] == [5, 5, 6]
