"""The factory: counts against golden values, inference, faults that name their place."""

from __future__ import annotations

import copy
import json
import pickle
import warnings
from pathlib import Path

import pytest
import torch
import yaml
from torch import nn

from dl101.errors import ConfigError, ShapeError
from dl101.nn.factory import ACTIVATIONS, LAYER_TYPES, CatWith, build_model, read_model

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "parameter_counts.json").read_text())


def spec_of(*groups: str, name: str = "test") -> dict:
    """Return a model of one block with one sequential per string; a string holds YAML items."""
    layers = [{"layer_l": yaml.safe_load(f"[{group}]")} for group in groups]
    return {"name": name, "block_l": [{"sequential_l": layers}]}


def count(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def run(model: nn.Module, batch: int = 2) -> torch.Tensor:
    return model.eval()(torch.randn(batch, *model.input_shape))


# --- models of the 2024 tutorial, written in its dialect ------------------------------------------

WAVE_FRONTENDS = {
    "dl101/Auto_Tagging_D1-I2-C2": """
        [SincNet, {in_channels: 1, out_channels: 80, kernel_size: 251, stride: 1, sr_hz: 22050}],
        [AbsLayer, empty]""",
    "dl101/Auto_Tagging_D1-I2-C3": """
        [Conv1d, {in_channels: 1, out_channels: 80, kernel_size: 251, stride: 15}]""",
    "dl101/Auto_Tagging_D1-I2-C4": "[Conv1dTCN, {in_channels: 1, num_channels: [4, 8, 16, 32]}]",
}


def tagging_spec(frontend: str) -> dict:
    pool = "[MaxPool1d, {kernel_size: 3, stride: 3}], [LayerNorm, {normalized_shape: -1}]"
    tail = "[Activation, LeakyReLU], [Dropout, {p: 0}]"
    conv = "[Conv1d, {in_channels: -1, out_channels: 60, kernel_size: 5, stride: 1}]"
    linear = "[Linear, {in_features: -1, out_features: 128}], [BatchNorm1dT, {num_features: -1}]"
    return spec_of(
        f"[LayerNorm, {{normalized_shape: [1, 3200]}}], {frontend}, {pool}, {tail}",
        f"{conv}, {pool}, {tail}",
        f"{conv}, {pool}, {tail}",
        "[Permute, {shape: [0, 2, 1]}]",
        f"[LayerNorm, {{normalized_shape: -1}}], {linear}, {tail}",
        f"{linear}, {tail}",
        f"{linear}, {tail}",
        "[Permute, {shape: [0, 2, 1]}], [UnSqueeze, {dim: 2}]",
        "[AutoPoolWeightSplit, empty], [Squeeze, {dim: [2, 3]}]",
        "[Linear, {in_features: -1, out_features: 10}]",
    )


def chord_spec() -> dict:
    norm, act = "[LayerNorm, {normalized_shape: -1}]", "[Activation, LeakyReLU]"
    down = "[Conv2d, {in_channels: -1, out_channels: 32, kernel_size: [5, 1], stride: [3, 1]}]"
    wide = (
        "[Conv1d, {in_channels: -1, out_channels: 16, kernel_size: 15, stride: 1, padding: same}]"
    )
    return spec_of(
        f"{norm}, [Conv2d, {{in_channels: -1, out_channels: 32, kernel_size: [1, 5], "
        f"stride: [1, 1], padding: same}}], {act}",
        f"{norm}, {down}, {act}",
        f"{norm}, {down}, {act}",
        f"{norm}, {down}, {act}, [Squeeze, {{dim: [2]}}]",
        f"{norm}, {wide}, {act}",
        f"{norm}, {wide}, {act}",
        "[Permute, {shape: [0, 2, 1]}]",
        "[LSTMall, {input_size: -1, hidden_size: 16, num_layers: 1}]",
        f"[Linear, {{in_features: -1, out_features: 25}}], {act}",
        "[Permute, {shape: [0, 2, 1]}]",
    )


def move_spec() -> dict:
    conv = "[Conv2d, {in_channels: -1, out_channels: 256, kernel_size: [1, 5], stride: [1, 1]}]"
    return spec_of(
        "[Conv2d, {in_channels: -1, out_channels: 256, kernel_size: [12, 180]}],"
        "[Activation, PReLU], [MaxPool2d, {kernel_size: [12, 1], stride: [1, 1]}]",
        *[f"{conv}, [Activation, PReLU]"] * 4,
        "[AutoPoolWeightSplit, empty], [Squeeze, {dim: [2, 3]}],"
        "[Linear, {in_features: -1, out_features: 32}],"
        "[BatchNorm1d, {num_features: -1, affine: False}]",
    )


@pytest.mark.parametrize("name", WAVE_FRONTENDS)
def test_waveform_tagging_models_have_the_published_number_of_parameters(name):
    model = build_model(tagging_spec(WAVE_FRONTENDS[name]), (1, 3200))
    assert count(model) == GOLDEN[name]["count"]
    assert run(model).shape == (2, 10)


def test_chord_model_has_the_published_number_of_parameters():
    model = build_model(chord_spec(), (1, 72, 1024))
    assert count(model) == GOLDEN["dl101/Auto_Tagging_D3-I3-Chord"]["count"]
    assert model.describe()[-1].output_shape == (25, 1024)


def test_cover_model_has_the_published_number_of_parameters():
    model = build_model(move_spec(), (1, 23, 230))
    assert count(model) == GOLDEN["dl101/MOVE"]["count"]
    assert run(model).shape == (2, 32)


def test_golden_file_is_complete():
    assert len(GOLDEN) >= 119 and all({"count", "reading"} <= set(v) for v in GOLDEN.values())


# --- inference, parameters, structure -------------------------------------------------------------

TINY = spec_of(
    "[BatchNorm2d, {num_features: -1}]",
    "[Conv2d, {in_channels: -1, out_channels: $wide, kernel_size: [$tall, 3], padding: same}],"
    "[Activation, $activation]",
    "[Conv2d, {in_channels: -1, out_channels: 1, kernel_size: 1}]",
)
TINY_PARAMETERS = {"wide": 5, "tall": 4, "activation": "ELU"}


def test_parameters_reach_options_lists_and_names():
    model = build_model(TINY, (2, 9, 8), parameters=TINY_PARAMETERS)
    conv, activation = (model.get_submodule(f"block_1.sequential_2.layer_{n}") for n in (1, 2))
    assert conv.weight.shape == (5, 2, 4, 3)
    assert isinstance(activation, nn.ELU)
    assert run(model).shape == (2, 1, 9, 8)


def test_input_is_not_changed_and_second_build_is_the_same():
    spec, parameters = copy.deepcopy(TINY), copy.deepcopy(TINY_PARAMETERS)
    first = build_model(spec, (2, 9, 8), parameters=parameters)
    assert spec == TINY and parameters == TINY_PARAMETERS
    other_input = build_model(spec, (3, 9, 8), parameters=parameters)
    second = build_model(spec, (2, 9, 8), parameters=parameters)
    assert first.describe() == second.describe() != other_input.describe()


def test_same_seed_gives_the_same_weights():
    states = []
    for _ in range(2):
        torch.manual_seed(3)
        states.append(build_model(TINY, (2, 9, 8), parameters=TINY_PARAMETERS).state_dict())
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


def test_describe_agrees_with_a_real_pass():
    model = build_model(move_spec(), (1, 23, 230)).eval()
    x, shapes = torch.randn(1, 1, 23, 230), []
    for _, layer in model.layers():
        x = layer(x)
        shapes.append(tuple(x.shape[1:]))
    rows = model.describe()
    assert [row.output_shape for row in rows] == shapes
    assert sum(row.parameters for row in rows) == count(model)
    assert rows[1] == ("block_1.sequential_1.layer_2", "Activation PReLU", (256, 12, 51), 1)
    assert next(model.parameters()).device.type == "cpu"


def test_network_can_be_copied_and_pickled():
    model = build_model(tagging_spec(WAVE_FRONTENDS["dl101/Auto_Tagging_D1-I2-C2"]), (1, 3200))
    x = torch.randn(2, 1, 3200)
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        torch.testing.assert_close(twin.eval()(x), model.eval()(x))


def test_skip_joins_channels_and_double_channel_does_nothing():
    spec = spec_of(
        "[StoreAs, A]",
        "[Conv1d, {in_channels: -1, out_channels: 3, kernel_size: 1}]",
        "[CatWith, A], [DoubleChannel, empty], [Empty]",
    )
    model = build_model(spec, (2, 7))
    x = torch.randn(4, 2, 7)
    y = model(x)
    assert y.shape == (4, 5, 7)
    assert torch.equal(y[:, 3:], x)
    assert model.describe()[-2].type == "DoubleChannel"


@pytest.mark.parametrize(
    ("layer", "shape", "output"),
    [
        ("[Flatten]", (2, 3, 4), (24,)),
        ("[Flatten, {start_dim: 2}]", (2, 3, 4), (2, 12)),
        ("[Mean, {dim: 3}]", (2, 3, 4), (2, 3)),
        ("[Mean, {dim: -1, keepdim: true}]", (2, 3, 4), (2, 3, 1)),
        ("[Max, {dim: [2, 3]}]", (2, 3, 4), (2,)),
        ("[Abs]", (2, 3), (2, 3)),
        ("[AvgPool1d, {kernel_size: 2}]", (2, 9), (2, 4)),
        ("[AvgPool2d, {kernel_size: [3, 1]}]", (2, 9, 5), (2, 3, 5)),
        ("[MaxPool1d, {kernel_size: 4, stride: 1}]", (2, 9), (2, 6)),
        ("[AutoPoolWeight]", (2, 1, 9), (2, 1, 1)),
        ("[SoftmaxWeight, empty]", (4, 1, 9), (2, 1, 1)),
        ("[LSTMall, {input_size: -1, hidden_size: 6}]", (9, 4), (9, 6)),
        ("[LSTMlast, {input_size: -1, hidden_size: 5, num_layers: 2}]", (9, 4), (5,)),
        ("[LayerNorm, {normalized_shape: 4}]", (2, 3, 4), (2, 3, 4)),
        ("[Conv2dDS, {in_channels: -1, out_channels: 5, kernel_size: 3}]", (2, 9, 9), (5, 7, 7)),
        ("[Conv2d, {in_channels: -1, out_channels: 5, kernel_size: 3, stride: 2, padding: [1, 0]}]",
         (2, 9, 9), (5, 5, 4)),
        ("[ConvTranspose2d, {in_channels: -1, out_channels: 3, kernel_size: 2, stride: 2}]",
         (2, 4, 5), (3, 8, 10)),
        ("[Conv2dNext, {in_channels: -1, out_channels: 2, drop_probability: 0.5}]",
         (2, 9, 9), (2, 9, 9)),
    ],
)  # fmt: skip
def test_layer_gives_the_shape_that_describe_promises(layer, shape, output):
    model = build_model(spec_of(layer), shape)
    assert model.describe()[0].output_shape == output
    assert run(model, batch=3).shape == (3, *output)


def test_reductions_take_the_right_values():
    x = torch.tensor([[[1.0, -5.0], [3.0, 1.0]]])
    assert build_model(spec_of("[Max, {dim: 2}]"), (2, 2))(x).tolist() == [[1.0, 3.0]]
    assert build_model(spec_of("[Mean, {dim: 2}]"), (2, 2))(x).tolist() == [[-2.0, 2.0]]
    assert build_model(spec_of("[Abs]"), (2, 2))(x).min() == 1


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation(name):
    model = build_model(spec_of(f"[Activation, {name}]"), (3, 4))
    y = run(model)
    assert y.shape == (2, 3, 4)
    if name == "Softmax":
        torch.testing.assert_close(y.sum(dim=1), torch.ones(2, 4))


def test_lstm_looks_both_ways_or_only_back():
    both, last = (
        build_model(spec_of(f"[{kind}, {{input_size: -1, hidden_size: 6}}]"), (9, 4))
        for kind in ("LSTMall", "LSTMlast")
    )
    x = torch.randn(1, 9, 4)
    later = x.clone()
    later[:, 5:] += 1
    assert not torch.allclose(both(x)[:, 0, 3:], both(later)[:, 0, 3:])  # backwards half
    torch.testing.assert_close(both(x)[:, 4, :3], both(later)[:, 4, :3])  # forwards half
    assert not torch.allclose(last(x), last(later))


def test_every_layer_type_of_the_published_files_exists():
    published = (
        "LayerNorm BatchNorm1d BatchNorm1dT BatchNorm2d SincNet Conv1d Conv1dTCN Conv2d Conv2dDS "
        "Conv2dRes Conv2dNext ConvTranspose2d MaxPool1d MaxPool2d Linear Activation Dropout "
        "Flatten Squeeze UnSqueeze Permute Mean Max AutoPoolWeight AutoPoolWeightSplit "
        "SoftmaxWeight AbsLayer LSTMall LSTMlast DoubleChannel StoreAs CatWith"
    )
    assert set(published.split()) <= set(LAYER_TYPES)


# --- faults ---------------------------------------------------------------------------------------

OK = "[Conv2d, {in_channels: -1, out_channels: 4, kernel_size: 3, padding: same}]"


@pytest.mark.parametrize(
    ("layer", "error", "parts"),
    [
        ("[Conv2D, {in_channels: -1, out_channels: 4, kernel_size: 3}]", ConfigError,
         ["'Conv2D'", "did you mean 'Conv2d'"]),
        ("[Spectrogram, {}]", ConfigError, ["'Spectrogram'", "expected LayerNorm, "]),
        ("[Conv2d, {in_channels: -1, out_chanels: 4, kernel_size: 3}]", ConfigError,
         ["(Conv2d)", "'out_chanels'", "did you mean 'out_channels'"]),
        ("[Conv2d, {in_channels: -1, kernel_size: 3}]", ConfigError,
         ["(Conv2d)", "also out_channels", "add out_channels"]),
        ("[Conv2d, {out_channels: 3, kernel_size: 3}]", ConfigError,
         ["also in_channels", "write in_channels: -1"]),
        ("[Conv2d, {in_channels: -1, out_channels: 4, kernel_size: 3, padding: sme}]", ConfigError,
         ["(Conv2d)", "sme", "PyTorch says"]),
        ("[Conv2d, {in_channels: -1, out_channels: -1, kernel_size: 3}]", ConfigError,
         ["(Conv2d)", "'out_channels': -1"]),
        ("[Conv2d, {in_channels: -1, out_channels: 4, kernel_size: 3, padding: same, stride: 2}]",
         ConfigError, ["(Conv2d)", "padding 'same'", "stride 2"]),
        ("[Conv2d, {in_channels: 6, out_channels: 4, kernel_size: 3}]", ShapeError,
         ["(Conv2d)", "got in_channels 6", "expected 4"]),
        ("[ConvTranspose2d, {in_channels: 5, out_channels: 4, kernel_size: 2}]", ShapeError,
         ["(ConvTranspose2d)", "got in_channels 5", "expected 4"]),
        ("[LayerNorm, {normalized_shape: [10, 9]}]", ShapeError,
         ["(LayerNorm)", "(10, 9)", "(4, 10, 8)"]),
        ("[Conv2d, {in_channels: -1, out_channels: 4, kernel_size: [11, 3]}]", ShapeError,
         ["(Conv2d)", "PyTorch says", "Kernel size"]),
        ("[Conv1d, {in_channels: -1, out_channels: 4, kernel_size: 3}]", ShapeError,
         ["(Conv1d)", "3 axes after the batch", "expected 2"]),
        ("[MaxPool2d, {kernel_size: [11, 1]}]", ShapeError, ["(MaxPool2d)", "too small"]),
        ("[Squeeze, {dim: [2]}]", ShapeError, ["(Squeeze)", "Squeeze of axis 2", "(4, 10, 8)"]),
        ("[Permute, {shape: [1, 0, 2, 3]}]", ShapeError, ["(Permute)", "batch"]),
        ("[Permute, {shape: [0, 2, 1]}]", ShapeError, ["(Permute)"]),
        ("[Mean, {dim: 0}]", ShapeError, ["(Mean)", "batch"]),
        ("[Dropout, {p: .nan}]", ConfigError, ["(Dropout)", "p nan", "finite"]),
        ("[Conv2d, {in_channels: -1, out_channels: 4, kernel_size: {a: 1}}]", ConfigError,
         ["(Conv2d)", "options"]),
        ("[Flatten, {start_dim: 0}]", ShapeError, ["(Flatten)", "batch"]),
        ("[Activation, Relu6]", ConfigError, ["(Activation)", "'Relu6'", "did you mean 'ReLU'"]),
        ("[Activation, {name: ReLU}]", ConfigError, ["(Activation)", "write [Activation, name]"]),
        ("[CatWith, E46]", ConfigError, ["(CatWith)", "'E46'", "did you mean 'E64'"]),
        ("[StoreAs, E64]", ConfigError, ["(StoreAs)", "'E64' again"]),
        ("[Conv2dNext, {in_channels: -1, out_channels: 8}]", ConfigError,
         ["(Conv2dNext)", "out_channels", "got 8", "expected 4"]),
        ("[Conv2dRes, {in_channels: -1, out_channels: 4, kernel_size: 3, stride: 2}]", ConfigError,
         ["(Conv2dRes)", "stride 2"]),
        ("[Dropout, 0.5]", ConfigError, ["(Dropout)", "a mapping of options"]),
        ("[Dropout, {p: 1.5}]", ConfigError, ["(Dropout)", "1.5"]),
        ("Dropout", ConfigError, ["'Dropout'", "[Type, {options}]"]),
    ],
)  # fmt: skip
def test_fault_names_its_place(layer, error, parts):
    spec = spec_of(OK, f"[StoreAs, E64], {layer}, [Abs]", name="broken")
    with pytest.raises(error) as caught:
        build_model(spec, (2, 10, 8))
    message = str(caught.value)
    place = ["'broken'", "block 1, sequential 2, layer 2", "input shape (4, 10, 8)"]
    for part in [*place, *parts]:
        assert part in message, message


def test_odd_hidden_size_cannot_be_split():
    with pytest.raises(ConfigError, match=r"layer 1 \(LSTMall\).*hidden_size: got 5.*use 6"):
        build_model(spec_of("[LSTMall, {input_size: -1, hidden_size: 5}]"), (9, 4))


def test_odd_channels_cannot_be_split():
    with pytest.raises(ShapeError, match=r"layer 1 \(SoftmaxWeight\).*3 channels.*even"):
        build_model(spec_of("[SoftmaxWeight]"), (3, 9))


@pytest.mark.parametrize(
    ("spec", "part"),
    [
        ({"model": {}}, "the key 'model'"),
        ({"name": "x"}, "block_l"),
        ({"block_l": []}, "a list with items"),
        ({"block_l": [{"sequential": []}]}, "did you mean 'sequential_l'"),
        ({"block_l": [{"sequential_l": [{"layer_l": None}]}]}, "block 1, sequential 1"),
        ({"block_l": [{"sequential_l": [{"layers": []}]}]}, "did you mean 'layer_l'"),
        ([], "a mapping with the key block_l"),
    ],
)
def test_fault_in_the_nesting(spec, part):
    with pytest.raises(ConfigError) as caught:
        build_model(spec, (2, 10, 8))
    assert part in str(caught.value)


def test_unknown_and_unused_parameters():
    with pytest.raises(ConfigError, match=r"'\$wide'.*did you mean 'wade'"):
        build_model(TINY, (2, 9, 8), parameters={"wade": 1, "tall": 3, "activation": "ReLU"})
    with pytest.raises(ConfigError, match="deep, which the model does not use"):
        build_model(TINY, (2, 9, 8), parameters={**TINY_PARAMETERS, "deep": 1})


@pytest.mark.parametrize("shape", [(), (2, 0, 3), (2, -1), (2.0, 3), ("a",)])
def test_input_shape_is_checked(shape):
    with pytest.raises(ShapeError, match="input shape"):
        build_model(TINY, shape, parameters=TINY_PARAMETERS)


@pytest.mark.parametrize("shape", [(2, 9, 8), (1, 3, 9, 8)])
def test_network_rejects_another_kind_of_input(shape):
    model = build_model(TINY, (2, 9, 8), parameters=TINY_PARAMETERS)
    with pytest.raises(ShapeError, match=r"expected \(batch, 2, 9, 8\)"):
        model(torch.zeros(shape))


def test_skip_that_does_not_fit_in_use():
    with pytest.raises(ShapeError, match=r"CatWith A: got \(3, 8\) .* \(3, 9\)"):
        CatWith("A")(torch.zeros(1, 3, 8), {"A": torch.zeros(1, 3, 9)})


def test_skip_that_no_padding_can_mend_says_nothing_of_multiples():
    spec = spec_of("[StoreAs, A], [MaxPool1d, {kernel_size: 2}], [CatWith, A]")
    with pytest.raises(ShapeError) as caught:
        build_model(spec, (3, 8))
    assert "(3, 4) to join with the stored (3, 8)" in str(caught.value)
    assert "multiples" not in str(caught.value)


def test_building_warns_of_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = build_model(TINY, (2, 9, 8), parameters=TINY_PARAMETERS)
        run(model)


@pytest.mark.parametrize("shape", [(2, 8, 9), (3, 8, 9), (6, 8, 9), (1, 1, 1)])
@pytest.mark.parametrize("layer", ["[Mean, {dim: 0}]", "[Max, {dim: 0}]", "[Mean, {dim: [0, 2]}]"])
def test_an_average_over_the_batch_is_refused_for_every_number_of_channels(layer, shape):
    """With one dry run, of a batch as large as the channels, they looked like the batch."""
    with pytest.raises(ShapeError, match="batch"):
        build_model(spec_of(layer), shape)


CONV = "[Conv2d, {in_channels: -1, out_channels: $n, kernel_size: 3, padding: same}]"
FILE = f"model:\n  block_l: [{{sequential_l: [{{layer_l: [{CONV}]}}]}}]\n"


@pytest.mark.parametrize(
    ("content", "kind", "parts"),
    [
        (FILE, ConfigError, ["the keys model", "model and sizes"]),
        ("sizes: {lab: {n: 1}}", ConfigError, ["the keys sizes", "model and sizes"]),
        (FILE + "sizes: {lab: {n: 1}}\nsize: 3", ConfigError, ["size", "model and sizes"]),
        (FILE + "sizes:", ConfigError, ["sizes", "None", "lab"]),
        (FILE + "sizes: {full: {n: 1}}", ConfigError, ["sizes", "also the key lab"]),
        (FILE + "sizes: {lap: {n: 1}}", ConfigError, ["sizes", "did you mean 'lab'"]),
        (FILE + "sizes: {lab: 1}", ConfigError, ["sizes, lab", "got 1"]),
        (FILE + "sizes: {lab: {m: 1}}", ConfigError, ["'$n'"]),
        (FILE + "sizes: {lab: {n: 2}}", ShapeError, ["last layer (Conv2d)", "(2, 8, 9)"]),
        ("model:\nsizes: {lab: {n: 1}}", ConfigError, ["model", "None"]),
        (
            FILE.replace(CONV, f"{CONV}, [Activation, Sigmoid]") + "sizes: {lab: {n: 1}}",
            ConfigError,
            ["last layer", "Activation Sigmoid", "the loss applies the sigmoid"],
        ),
        (
            FILE.replace(CONV, f"{CONV}, [Mean, {{dim: 2}}]") + "sizes: {lab: {n: 1}}",
            ShapeError,
            ["last layer (Mean)", "(1, 9)", "(1, 8, 9)"],
        ),
    ],
    ids=lambda value: value[-40:] if isinstance(value, str) else None,
)
def test_a_model_file_that_a_system_cannot_use_is_refused(content, kind, parts, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(content)
    with pytest.raises(kind) as caught:
        read_model(path, (6, 8, 9), size="lab", output_shape=(1, 8, 9))
    for part in parts:
        assert part in str(caught.value)
    assert read_model_of(FILE + "sizes: {lab: {n: 1}}", tmp_path).input_shape == (6, 8, 9)


def read_model_of(content: str, folder: Path) -> nn.Module:
    (folder / "good.yaml").write_text(content)
    return read_model(folder / "good.yaml", (6, 8, 9), size="lab", output_shape=(1, 8, 9))
