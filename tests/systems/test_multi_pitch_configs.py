"""The shipped multi-pitch models: published counts, shapes, gradients, both sizes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import yaml

import dl101
from dl101.errors import ShapeError
from dl101.lab.costs import layer_costs
from dl101.nn.factory import Network, build_model

pytestmark = pytest.mark.slow

FOLDER = Path(dl101.__file__).parent / "configs" / "multi_pitch"
MODELS = ("conv2d", "depthwise", "resnet", "convnext", "unet", "tall", "dilated")
GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "parameter_counts.json").read_text())
HCQT, CQT = (6, 360, 64), (1, 360, 64)


def read(name: str) -> dict:
    return yaml.safe_load((FOLDER / f"{name}.yaml").read_text())


def build(name: str, size: str, shape: tuple[int, ...]) -> Network:
    config = read(name)
    return build_model(config["model"], shape, parameters=config["sizes"][size])


def count(model: Network) -> int:
    return sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize(
    ("name", "shape", "run"),
    [
        ("conv2d", HCQT, ""),
        ("conv2d", HCQT, "_D2-I2-C1"),
        ("conv2d", CQT, "_D1-I1-C1"),
        ("depthwise", HCQT, "_D1-I2-C2"),
        ("resnet", HCQT, "_D1-I2-C3"),
        ("resnet", HCQT, "_D2-I2-C3"),
        ("convnext", HCQT, "_D1-I2-C4"),
        ("unet", HCQT, "_D1-I2-Unet"),
        ("unet", HCQT, "_D2-I2-Unet"),
    ],
)
def test_full_size_has_the_published_number_of_parameters(name, shape, run):
    expected = GOLDEN[f"dl101/Multi_Pitch_Estimation{run}"]["count"]
    assert count(build(name, "full", shape)) == expected


def test_run_published_as_conv2d_had_two_convnext_blocks_in_it():
    """The printed configuration of run D1-I2-C1 keeps both alternatives of layers 3 and 4."""
    config = read("conv2d")
    layers = config["model"]["block_l"][0]["sequential_l"]
    for n in (2, 3):
        layers[n]["layer_l"].append(["Conv2dNext", {"in_channels": -1, "out_channels": 64}])
    model = build_model(config["model"], HCQT, parameters=config["sizes"]["full"])
    assert count(model) == GOLDEN["dl101/Multi_Pitch_Estimation_D1-I2-C1"]["count"] == 479085


def test_folder_holds_these_models():
    assert sorted(path.stem for path in FOLDER.glob("*.yaml")) == sorted(MODELS)
    for name in MODELS:
        config = read(name)
        assert set(config) == {"model", "sizes"} and set(config["sizes"]) == {"lab", "full"}
        assert config["model"]["name"] == name


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(
    ("size", "shape"),
    [("lab", (6, 216, 64)), ("lab", (1, 216, 64)), ("lab", (6, 72, 64)), ("full", (6, 360, 64))],
)
def test_shape_table_ends_with_one_logit_for_each_bin_and_frame(name, size, shape):
    model = build(name, size, shape)
    rows = model.describe()
    assert rows[-1].output_shape == (1, *shape[1:])
    assert rows[-1].type == "Conv2d", "the model ends in logits"
    assert sum(row.parameters for row in rows) == count(model)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(
    ("size", "shape"), [("lab", (6, 24, 8)), ("lab", (1, 24, 8)), ("full", (6, 24, 8))]
)
def test_forward_and_backward_reach_every_parameter(name, size, shape):
    torch.manual_seed(0)
    model = build(name, size, shape)
    logits = model(torch.randn(2, *shape))
    assert logits.shape == (2, 1, *shape[1:])
    assert (logits < 0).any() and (logits > 0).any(), "logits, not probabilities"
    (logits * torch.randn_like(logits)).sum().backward()
    for key, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), key
        assert parameter.grad.abs().max() > 0, key


@pytest.mark.parametrize("name", MODELS)
def test_examples_of_a_batch_do_not_touch_each_other_in_evaluation(name):
    torch.manual_seed(0)
    model = build(name, "lab", (6, 72, 16)).eval()
    x = torch.randn(3, 6, 72, 16)
    with torch.no_grad():
        together, alone = model(x), model(x[1:2])
    torch.testing.assert_close(together[1:2], alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", [name for name in MODELS if name != "unet"])
def test_any_number_of_frames_works_where_nothing_is_pooled(name):
    model = build(name, "lab", (6, 72, 64)).eval()
    assert model(torch.randn(1, 6, 72, 13)).shape == (1, 1, 72, 13)


@pytest.mark.parametrize(
    ("shape", "parts"),
    [
        ((6, 216, 60), ["sequential 1,", "8 and 8", "(6, 216, 64)"]),
        ((6, 217, 64), ["sequential 3,", "8 and 8", "(6, 224, 64)"]),
    ],
)
def test_unet_rejects_a_size_that_its_poolings_do_not_divide(shape, parts):
    with pytest.raises(ShapeError) as caught:
        build("unet", "lab", shape)
    message = str(caught.value)
    for part in ["'unet'", "(CatWith)", "block 2", str(shape), "multiples of", *parts]:
        assert part in message, message


def test_unet_also_says_so_when_used_with_such_a_size():
    model = build("unet", "lab", (6, 72, 64))
    with pytest.raises(ShapeError, match="to join with the stored"):
        model(torch.randn(1, 6, 72, 60))


def test_tall_kernel_spans_fourteen_semitones():
    """70 bins at 5 bins a semitone (full), 43 = 42 and a centre at 3 (lab)."""
    sizes = read("conv2d")["sizes"]
    assert sizes["full"]["tall_bins"] == 14 * 5
    assert sizes["lab"]["tall_bins"] == 14 * 3 + 1
    heights = {
        module.kernel_size[0]
        for module in build("conv2d", "full", HCQT).modules()
        if isinstance(module, torch.nn.Conv2d)
    }
    assert 70 in heights


def reach_by_gradient(network: Network, axis: int) -> tuple[int, int]:
    """Return how many cells an output in the middle sees below (or before) and above (after)."""
    torch.manual_seed(0)
    shape = network.input_shape
    x = torch.randn(1, *shape, requires_grad=True)
    middle = (shape[-2] // 2, shape[-1] // 2)
    network.eval()(x)[0, 0, middle[0], middle[1]].backward()
    others = tuple(n for n in range(4) if n != axis % 4)
    seen = torch.nonzero(x.grad.abs().amax(dim=others)).flatten()
    return middle[axis] - int(seen[0]), int(seen[-1]) - middle[axis]


@pytest.mark.parametrize(
    ("name", "bins"), [("conv2d", 27), ("depthwise", 27), ("tall", 109), ("dilated", 90)]
)
def test_reach_along_frequency_and_time(name, bins):
    """At 3 bins a semitone: 9 semitones to either side, less than an octave, or 30 and more.

    The fifth harmonic is 12 log2(5) = 27.9 semitones above a pitch.
    """
    network = build(name, "lab", (1, 288, 64))
    assert reach_by_gradient(network, -2) == (bins, bins)
    assert reach_by_gradient(network, -1) == (7, 7)
    for axis in (-1, -2):
        below, above = reach_by_gradient(network, axis)
        assert layer_costs(network, (1, 288, 64), time_axis=axis)[-1].field == below + 1 + above


def test_skips_of_the_unet_carry_the_way_down():
    """With the bottleneck silenced, the output still depends on the input."""
    torch.manual_seed(0)
    model = build("unet", "lab", (6, 72, 16)).eval()
    bottleneck = dict(model.layers())["block_1.sequential_4.layer_3"]
    torch.nn.init.zeros_(bottleneck.weight)
    x = torch.randn(2, 6, 72, 16)
    with torch.no_grad():
        y = model(x)
    assert (y[0] - y[1]).abs().max() > 1e-4
