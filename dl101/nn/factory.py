"""From a model written in YAML to a PyTorch module.

A model is a list of blocks, a block a list of sequentials, a sequential a list of layers, and a
layer a pair ``[Type, options]``::

    name: Tiny
    block_l:
      - sequential_l:
          - layer_l:
              - [BatchNorm2d, {num_features: -1}]
              - [Conv2d, {in_channels: -1, out_channels: $wide, kernel_size: [5, 5], padding: same}]
              - [Activation, ReLU]

This is the dialect of the 2024 tutorial. The nesting only groups the layers for the reader; they
run one after the other. Its rules:

- ``-1`` for the size of an input (channels, features, ...) means: find it. Each layer, as soon as
  it is built, runs on a tensor of the meta device, which has a shape and no content; so a size is
  always what the layers before really give. A size written out must equal it.
- ``$wide`` is replaced by ``parameters["wide"]``, also inside lists.
- ``[StoreAs, name]`` keeps the tensor at this point; ``[CatWith, name]`` joins it to the channels.
- ``DoubleChannel`` does nothing here. In the dialect it told hand-written size arithmetic that
  CatWith had doubled the channels; the dry run sees that by itself. ``Empty`` does nothing either.
- A layer without options is ``[Type]`` or ``[Type, empty]``.
- Axis numbers in options (``dim``, ``shape``, ``start_dim``) count the batch as axis 0.

Blocks, sequentials and layers are numbered from 1, in messages, in :meth:`Network.describe` and in
the names of the parameters (``block_1.sequential_2.layer_3.weight``). Shapes are without the batch.
"""

from __future__ import annotations

import copy
import inspect
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from dl101 import config
from dl101.errors import ConfigError, Dl101Error, ShapeError, did_you_mean
from dl101.nn.blocks import (
    ConvNeXtBlock,
    DepthwiseSeparableConv2d,
    ResidualBlock2d,
    conv2d,
)
from dl101.nn.convolutional import TemporalConvNet
from dl101.nn.frontends import SincConv
from dl101.nn.pooling import AttentionPool, AutoPool, AutoPoolSplit

Shape = tuple[int, ...]

# Two, so that no batch can be taken for another axis of the same size.
META_BATCHES = (2, 3)


class LayerRow(NamedTuple):
    """One line of a shape table: where, what, the shape after it (no batch), its parameters."""

    layer: str
    type: str
    output_shape: Shape
    parameters: int


class Network(nn.Module):
    """The layers of a model file, run one after the other; made by :func:`build_model`.

    Parameters
    ----------
    name
        The model's name.
    input_shape
        Shape, without the batch, for which the sizes were inferred. Axes that the layers leave
        free (time, mostly) may have another length in use.
    layers
        (place, type, layer) in the order of the file; a place is ``block_1.sequential_2.layer_3``.
    """

    def __init__(
        self, name: str, input_shape: Shape, layers: Iterable[tuple[str, str, nn.Module]]
    ) -> None:
        super().__init__()
        self.name = name
        self.input_shape = input_shape
        self._types: dict[str, str] = {}
        for place, kind, layer in layers:
            self._types[place] = kind
            parent: nn.Module = self
            *groups, leaf = place.split(".")
            for group in groups:
                if group not in dict(parent.named_children()):
                    parent.add_module(group, nn.Module())
                parent = parent.get_submodule(group)
            parent.add_module(leaf, layer)

    def layers(self) -> list[tuple[str, nn.Module]]:
        """Return (place, layer) of every layer, in order."""
        return [(place, self.get_submodule(place)) for place in self._types]

    def forward(self, x: Tensor) -> Tensor:
        """Map a batch of inputs, (batch, channels, ...), to (batch, ...), see :meth:`describe`."""
        if x.ndim != len(self.input_shape) + 1 or x.shape[1] != self.input_shape[0]:
            raise ShapeError(
                f"input of the model {self.name!r}",
                got=f"shape {tuple(x.shape)}",
                expected=f"(batch, {', '.join(map(str, self.input_shape))})",
                hint="add the batch axis, or build the model for this input",
            )
        stored: dict[str, Tensor] = {}
        for _, layer in self.layers():
            x = _run(layer, x, stored)
        return x

    def describe(self) -> list[LayerRow]:
        """Return the shape after each layer and its number of parameters, by a dry run."""
        twin = copy.deepcopy(self).to("meta").eval()
        x = torch.empty((META_BATCHES[0], *self.input_shape), device="meta")
        stored: dict[str, Tensor] = {}
        rows = []
        for place, layer in twin.layers():
            x = _run(layer, x, stored)
            n_parameters = sum(p.numel() for p in layer.parameters())
            rows.append(LayerRow(place, self._types[place], tuple(x.shape[1:]), n_parameters))
        return rows


class StoreAs(nn.Module):
    """Keep the tensor under a name for a later :class:`CatWith`."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def forward(self, x: Tensor, stored: dict[str, Tensor]) -> Tensor:
        """Return ``x`` and note it in ``stored``."""
        stored[self.name] = x
        return x


class CatWith(nn.Module):
    """Join the channels of the tensor with those of a stored one: the skip of a U-Net."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def forward(self, x: Tensor, stored: dict[str, Tensor]) -> Tensor:
        """Map (batch, C, ...) and a stored (batch, D, ...) to (batch, C + D, ...)."""
        skip = stored[self.name]
        if skip.ndim != x.ndim or skip.shape[2:] != x.shape[2:]:
            raise ShapeError(
                f"CatWith {self.name}",
                got=f"{tuple(x.shape[1:])} to join with the stored {tuple(skip.shape[1:])}",
                expected="equal sizes on every axis but the channels",
                hint="store the tensor where it has this size, or change the size of the input",
            )
        return torch.cat([x, skip], dim=1)


class Function(nn.Module):
    """A layer without parameters: a function of one tensor, with its options bound."""

    def __init__(self, function: Callable[..., Tensor], **options: object) -> None:
        super().__init__()
        self.function = partial(function, **options)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the function."""
        return self.function(x)

    def extra_repr(self) -> str:
        """Return what ``print`` shows of this layer."""
        options = "".join(f", {k}={v}" for k, v in self.function.keywords.items())
        return f"{self.function.func.__name__.lstrip('_')}{options}"


def _lstm_states(lstm: nn.LSTM, x: Tensor) -> Tensor:
    """Run an LSTM; PyTorch would walk the meta device through every step, so one stands for all."""
    if x.is_meta:
        one_step = nn.LSTM.forward(lstm, x[:, :1])[0]
        return one_step.expand(-1, x.shape[1], -1)
    return nn.LSTM.forward(lstm, x)[0]


class AllStepsLSTM(nn.LSTM):
    """LSTM that reads a sequence both ways and returns its state at every step.

    As in the dialect, ``hidden_size`` is the size of the output: each direction has half of it.
    """

    def __init__(self, input_size: int, hidden_size: int, num_layers: int = 1) -> None:
        if hidden_size % 2:
            raise ConfigError(
                "hidden_size",
                got=hidden_size,
                expected="an even number, half for each direction",
                hint=f"use {hidden_size + 1}",
            )
        super().__init__(
            input_size, hidden_size // 2, num_layers, batch_first=True, bidirectional=True
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, T, input_size) to (batch, T, hidden_size)."""
        return _lstm_states(self, x)


class LastStepLSTM(nn.LSTM):
    """LSTM that reads a sequence forwards and returns its state at the last step."""

    def __init__(self, input_size: int, hidden_size: int, num_layers: int = 1) -> None:
        super().__init__(input_size, hidden_size, num_layers, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, T, input_size) to (batch, hidden_size)."""
        return _lstm_states(self, x)[:, -1]


class TransposedBatchNorm1d(nn.BatchNorm1d):
    """Batch normalisation of the last axis, for sequences that are (batch, T, C)."""

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, T, C) to the same shape."""
        return super().forward(x.transpose(1, 2)).transpose(1, 2)


def _squeeze(x: Tensor, dim: tuple[int, ...]) -> Tensor:
    """Drop axes, which must have size 1 (torch.squeeze would silently keep the others)."""
    for axis in dim:
        if axis % x.ndim == 0 or x.shape[axis] != 1:
            raise ShapeError(
                f"Squeeze of axis {axis}",
                got=f"shape {tuple(x.shape[1:])} after the batch",
                expected="size 1 on this axis, which is not the batch",
                hint="axes count from 0, the batch",
            )
    return x.squeeze(dim)


def _unsqueeze(x: Tensor, dim: int) -> Tensor:
    return x.unsqueeze(dim)


def _permute(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    if shape[0] != 0:
        raise ShapeError(
            "Permute",
            got=f"the order {list(shape)}",
            expected="0, the batch, in first place",
            hint="write the order of all axes, for example [0, 2, 1]",
        )
    return x.permute(shape)


def _mean(x: Tensor, dim: int | tuple[int, ...], keepdim: bool) -> Tensor:
    return x.mean(dim, keepdim)


def _max(x: Tensor, dim: int | tuple[int, ...], keepdim: bool) -> Tensor:
    return x.amax(dim, keepdim)


ACTIVATIONS: Mapping[str, Callable[[], nn.Module]] = {
    "ELU": nn.ELU,
    "GELU": nn.GELU,
    "LeakyReLU": nn.LeakyReLU,
    "PReLU": nn.PReLU,
    "ReLU": nn.ReLU,
    "SiLU": nn.SiLU,
    "Sigmoid": nn.Sigmoid,
    "Softmax": partial(nn.Softmax, dim=1),  # over the channels: one probability per class
    "Tanh": nn.Tanh,
}


def _activation(name: str) -> nn.Module:
    if name not in ACTIVATIONS:
        raise ConfigError(
            "activation",
            got=repr(name),
            expected=_one_of(ACTIVATIONS),
            hint=did_you_mean(name, ACTIVATIONS),
        )
    return ACTIVATIONS[name]()


def _residual_block(
    in_channels: int,
    out_channels: int,
    kernel_size: int | Sequence[int],
    stride: int = 1,
    padding: str = "same",
) -> nn.Module:
    _require_size_kept(stride, padding)
    return ResidualBlock2d(in_channels, out_channels, kernel_size)


def _convnext_block(
    in_channels: int,
    out_channels: int,
    kernel_size: int | Sequence[int] = 7,
    stride: int = 1,
    padding: str = "same",
    drop_probability: float = 0.0,
) -> nn.Module:
    _require_size_kept(stride, padding)
    if out_channels != in_channels:
        raise ConfigError(
            "out_channels",
            got=out_channels,
            expected=f"{in_channels}, the channels of the input, to which the block adds",
            hint="change the channels in a Conv2d before it",
        )
    return ConvNeXtBlock(in_channels, kernel_size, drop_probability=drop_probability)


def _require_size_kept(stride: object, padding: object) -> None:
    """Reject what a residual block cannot do, though the dialect lets a file write it."""
    if stride not in (1, (1, 1)) or padding != "same":
        raise ConfigError(
            "a block that adds to its input",
            got=f"stride {stride} and padding {padding!r}",
            expected="stride 1 and padding 'same'",
            hint="leave both out, and pool before or after the block",
        )


def _channels(shape: Shape) -> int:
    return shape[0]


def _last_axis(shape: Shape) -> int:
    return shape[-1]


@dataclass(frozen=True)
class LayerType:
    """How to build a layer: the options are the parameters of ``build``.

    ``inferred`` gives, from the input's shape, the options that may be -1; ``n_axes`` is the number
    of axes of the input after the batch where only one number works; ``takes_name`` marks a layer
    written ``[Type, word]``.
    """

    build: Callable[..., nn.Module]
    inferred: Mapping[str, Callable[[Shape], object]] = field(default_factory=dict)
    n_axes: int | None = None
    takes_name: bool = False


_IN_CHANNELS = {"in_channels": _channels}

LAYER_TYPES: Mapping[str, LayerType] = {
    # Normalisation
    "LayerNorm": LayerType(
        lambda normalized_shape: nn.LayerNorm(normalized_shape),
        {"normalized_shape": lambda shape: shape},
    ),
    "BatchNorm1d": LayerType(  # (C,) or (C, T)
        lambda num_features, affine=True: nn.BatchNorm1d(num_features, affine=affine),
        {"num_features": _channels},
    ),
    "BatchNorm1dT": LayerType(  # (T, C)
        lambda num_features, affine=True: TransposedBatchNorm1d(num_features, affine=affine),
        {"num_features": _last_axis},
        n_axes=2,
    ),
    "BatchNorm2d": LayerType(
        lambda num_features, affine=True: nn.BatchNorm2d(num_features, affine=affine),
        {"num_features": _channels},
        n_axes=3,
    ),
    # Waveforms and sequences, (C, T)
    "SincNet": LayerType(
        lambda in_channels, out_channels, kernel_size, sr_hz, stride=1: SincConv(
            out_channels, kernel_size, sample_rate=sr_hz, stride=stride, in_channels=in_channels
        ),
        _IN_CHANNELS,
        n_axes=2,
    ),
    "Conv1d": LayerType(
        lambda in_channels, out_channels, kernel_size, stride=1, padding="valid", dilation=1: (
            nn.Conv1d(in_channels, out_channels, kernel_size, stride, padding, dilation)
        ),
        _IN_CHANNELS,
        n_axes=2,
    ),
    "Conv1dTCN": LayerType(
        lambda in_channels, num_channels, kernel_size=2, dropout=0.2: TemporalConvNet(
            in_channels, num_channels, kernel_size=kernel_size, dropout=dropout
        ),
        _IN_CHANNELS,
        n_axes=2,
    ),
    "LSTMall": LayerType(AllStepsLSTM, {"input_size": _last_axis}, n_axes=2),  # (T, C)
    "LSTMlast": LayerType(LastStepLSTM, {"input_size": _last_axis}, n_axes=2),  # (T, C)
    # Images, (C, F, T)
    "Conv2d": LayerType(
        lambda in_channels, out_channels, kernel_size, stride=1, padding="valid", dilation=1: (
            conv2d(
                in_channels,
                out_channels,
                kernel_size,
                stride=stride,
                padding=padding,
                dilation=dilation,
            )
        ),
        _IN_CHANNELS,
        n_axes=3,
    ),
    "Conv2dDS": LayerType(
        lambda in_channels, out_channels, kernel_size, stride=1, padding="valid": (
            DepthwiseSeparableConv2d(
                in_channels, out_channels, kernel_size, stride=stride, padding=padding
            )
        ),
        _IN_CHANNELS,
        n_axes=3,
    ),
    "Conv2dRes": LayerType(_residual_block, _IN_CHANNELS, n_axes=3),
    "Conv2dNext": LayerType(_convnext_block, _IN_CHANNELS, n_axes=3),
    "ConvTranspose2d": LayerType(
        lambda in_channels, out_channels, kernel_size, stride=1, padding=0, output_padding=0: (
            nn.ConvTranspose2d(
                in_channels, out_channels, kernel_size, stride, padding, output_padding
            )
        ),
        _IN_CHANNELS,
        n_axes=3,
    ),
    # Pooling
    "MaxPool1d": LayerType(
        lambda kernel_size, stride=None: nn.MaxPool1d(kernel_size, stride), n_axes=2
    ),
    "MaxPool2d": LayerType(
        lambda kernel_size, stride=None: nn.MaxPool2d(kernel_size, stride), n_axes=3
    ),
    "AvgPool1d": LayerType(
        lambda kernel_size, stride=None: nn.AvgPool1d(kernel_size, stride), n_axes=2
    ),
    "AvgPool2d": LayerType(
        lambda kernel_size, stride=None: nn.AvgPool2d(kernel_size, stride), n_axes=3
    ),
    "Mean": LayerType(lambda dim, keepdim=False: Function(_mean, dim=dim, keepdim=keepdim)),
    "Max": LayerType(lambda dim, keepdim=False: Function(_max, dim=dim, keepdim=keepdim)),
    "AutoPoolWeight": LayerType(lambda: AutoPool()),
    "AutoPoolWeightSplit": LayerType(lambda: AutoPoolSplit()),
    "SoftmaxWeight": LayerType(lambda: AttentionPool()),
    # Features, (..., D)
    "Linear": LayerType(
        lambda in_features, out_features, bias=True: nn.Linear(in_features, out_features, bias),
        {"in_features": _last_axis},
    ),
    "Dropout": LayerType(lambda p: nn.Dropout(p)),
    "Activation": LayerType(_activation, takes_name=True),
    # Shapes
    "Flatten": LayerType(lambda start_dim=1: nn.Flatten(start_dim)),
    "Squeeze": LayerType(
        lambda dim: Function(_squeeze, dim=(dim,) if isinstance(dim, int) else dim)
    ),
    "UnSqueeze": LayerType(lambda dim: Function(_unsqueeze, dim=dim)),
    "Permute": LayerType(lambda shape: Function(_permute, shape=shape)),
    "Abs": LayerType(lambda: Function(torch.abs)),
    "AbsLayer": LayerType(lambda: Function(torch.abs)),
    # Skips
    "StoreAs": LayerType(StoreAs, takes_name=True),
    "CatWith": LayerType(CatWith, takes_name=True),
    "DoubleChannel": LayerType(lambda: nn.Identity()),
    "Empty": LayerType(lambda: nn.Identity()),
}


def build_model(
    spec: Mapping[str, object],
    input_shape: Sequence[int],
    *,
    parameters: Mapping[str, object] | None = None,
) -> Network:
    """Build the network that a specification in the YAML dialect describes.

    Parameters
    ----------
    spec
        What stands under ``model:`` in a model file: ``name`` and ``block_l``. It is not changed.
    input_shape
        Shape of one input, without the batch: (harmonic, bin, time), (1, time), ...
    parameters
        Values of the words that start with ``$`` in the specification; each must be used.

    Returns
    -------
    Network
        With freshly initialised weights (from PyTorch's global generator), on PyTorch's default
        device, in training mode.

    Raises
    ------
    ConfigError
        Unknown layer type, unknown, missing or unusable option, unknown or unused parameter, a
        CatWith of a name that was not stored.
    ShapeError
        A layer that does not fit the shape it is given. Both name the model, block, sequential,
        layer and type, and the shape of the layer's input.
    """
    shape = _checked_input_shape(input_shape)
    name, entries = _parse(_with_parameters(spec, parameters or {}))
    xs = [torch.empty((n, *shape), device="meta") for n in META_BATCHES]
    stored: list[dict[str, Tensor]] = [{} for _ in xs]
    layers: list[tuple[str, str, nn.Module]] = []
    for position, entry in entries:
        layer_shape = tuple(xs[0].shape[1:])
        kind, layer_type, written = _read_layer(entry, f"model {name!r}, {position}", layer_shape)
        where = f"model {name!r}, {position} ({kind}), input shape {layer_shape}"
        if layer_type.n_axes not in (None, len(layer_shape)):
            raise ShapeError(
                where,
                got=f"{len(layer_shape)} axes after the batch",
                expected=f"{layer_type.n_axes}",
                hint="use the 1d or 2d kind of layer that fits, or Squeeze, UnSqueeze or Flatten",
            )
        options = _resolve_options(layer_type, written, layer_shape, where)
        if kind in ("StoreAs", "CatWith"):
            _check_skip(kind, options["name"], stored[0], where)
        try:
            with torch.device("meta"):
                twin = layer_type.build(**options)
            layer = layer_type.build(**options)
        except Dl101Error as error:
            raise _placed(error, where) from None
        except Exception as error:  # PyTorch has no list of what it raises for wrong options
            raise ConfigError(
                where,
                got=f"options {written!r}, for which PyTorch says: {_first_line(error)}",
                expected="options that the layer accepts",
                hint="correct the options of this layer",
            ) from error
        xs = [
            _dry_run(twin, x, kept, where, layers, shape)
            for x, kept in zip(xs, stored, strict=True)
        ]
        label = f"{kind} {options['name']}" if layer_type.takes_name else kind
        layers.append((position.place, label, layer))
    return Network(name, shape, layers)


def read_model(
    path: Path | str,
    input_shape: Sequence[int],
    *,
    size: str,
    output_shape: Sequence[int] | None,
    given: Mapping[str, object] | None = None,
) -> Network:
    """Build the network of a model file, which a system trains.

    The file has ``model:``, see :func:`build_model`, and ``sizes:``, which gives the parameters of
    the model for each size of it.

    Parameters
    ----------
    path
        The YAML file.
    input_shape
        Shape, without the batch, of what the system feeds.
    size
        One of the sizes: ``"lab"`` or ``"full"``.
    output_shape
        Shape, without the batch, of the logits that the system compares with a target. None: the
        output is an embedding, of the shape that the model gives it.
    given
        Parameters that the file leaves to the system, such as the number of classes.

    Raises
    ------
    ConfigError
        If the file lacks something, or its last layer has no bias (an activation, mostly).
    ShapeError
        If the layers do not fit the input, or their output is not what the system needs.
    """
    path = Path(path)
    where = f"model file {path}"
    content = config.read_yaml(path)
    if content.keys() != {"model", "sizes"}:
        raise ConfigError(
            where,
            got=f"the keys {_one_of(content)}",
            expected="the keys model and sizes",
            hint="compare with the files in dl101/configs",
        )
    sizes = _mapping(content["sizes"], f"{where}, sizes", required=size, allowed=config.SCALES)
    parameters = {**_mapping(sizes[size], f"{where}, sizes, {size}"), **(given or {})}
    model = _mapping(content["model"], f"{where}, model", required="block_l")
    try:
        network = build_model(model, input_shape, parameters=parameters)
    except Dl101Error as error:
        raise _placed(error, where) from None
    if output_shape is None:
        return network
    last = network.describe()[-1]
    if last.output_shape != tuple(output_shape):
        raise ShapeError(
            f"{where}, last layer ({last.type})",
            got=f"the output shape {last.output_shape}",
            expected=f"{tuple(output_shape)}",
            hint="give the last layer as many channels, and keep the other axes on the way",
        )
    if getattr(network.layers()[-1][1], "bias", None) is None:
        raise ConfigError(
            f"{where}, last layer",
            got=last.type,
            expected="a layer with a bias, such as Conv2d, whose output is a logit",
            hint="end with that layer: the loss applies the sigmoid",
        )
    return network


class _Position(NamedTuple):
    """Place of a layer in the file, counted from 1."""

    block: int
    sequential: int
    layer: int

    def __str__(self) -> str:
        return f"block {self.block}, sequential {self.sequential}, layer {self.layer}"

    @property
    def place(self) -> str:
        return f"block_{self.block}.sequential_{self.sequential}.layer_{self.layer}"


def _checked_input_shape(input_shape: Sequence[int]) -> Shape:
    shape = tuple(input_shape)
    if not shape or not all(isinstance(size, int) and size > 0 for size in shape):
        raise ShapeError(
            "input shape of the model",
            got=shape,
            expected="positive whole numbers, without the batch",
            hint="give for example (6, 216, 64): harmonics, bins, frames",
        )
    return shape


def _with_parameters(spec: object, parameters: Mapping[str, object]) -> object:
    """Return a copy of the specification with every ``$name`` replaced."""
    used: set[str] = set()

    def replace(value: object) -> object:
        if isinstance(value, str) and value.startswith("$"):
            key = value[1:]
            if key not in parameters:
                raise ConfigError(
                    "parameter of the model",
                    got=repr(value),
                    expected=_one_of(parameters),
                    hint=did_you_mean(key, parameters),
                )
            used.add(key)
            return copy.deepcopy(parameters[key])
        if isinstance(value, Mapping):
            return {key: replace(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [replace(item) for item in value]
        return value

    replaced = replace(spec)
    unused = sorted(set(parameters) - used)
    if unused:
        raise ConfigError(
            "parameters of the model",
            got=f"{', '.join(unused)}, which the model does not use",
            expected=_one_of(sorted(used)),
            hint="remove them, or write them with a $ in the model",
        )
    return replaced


def _parse(spec: object) -> tuple[str, list[tuple[_Position, object]]]:
    """Return the model's name and its layers, not yet read, with their positions."""
    top = _mapping(spec, "model", required="block_l", allowed=("name", "block_l"))
    entries = []
    for b, block in enumerate(_sequence(top["block_l"], "model, block_l"), 1):
        where = f"model, block {b}"
        inner = _mapping(block, where, required="sequential_l", allowed=("sequential_l",))
        for s, group in enumerate(_sequence(inner["sequential_l"], where), 1):
            where = f"model, block {b}, sequential {s}"
            layers = _mapping(group, where, required="layer_l", allowed=("layer_l",))["layer_l"]
            for n, entry in enumerate(_sequence(layers, where), 1):
                entries.append((_Position(b, s, n), entry))
    return str(top.get("name", "unnamed")), entries


def _mapping(
    value: object, where: str, *, required: str = "", allowed: tuple[str, ...] = ()
) -> Mapping[str, object]:
    """Return a mapping whose keys are those; ``allowed`` empty: any."""
    if not isinstance(value, Mapping):
        raise ConfigError(
            where,
            got=repr(value),
            expected=f"a mapping with the key {required}" if required else "a mapping",
            hint="compare with the files in dl101/configs",
        )
    for key in value:
        if allowed and key not in allowed:
            raise ConfigError(
                where,
                got=f"the key {key!r}",
                expected=_one_of(allowed),
                hint=did_you_mean(key, allowed),
            )
    if required and required not in value:
        raise ConfigError(
            where,
            got=f"the keys {_one_of(value)}",
            expected=f"also the key {required}",
            hint="compare with the files in dl101/configs",
        )
    return value


def _sequence(value: object, where: str) -> list:
    if not isinstance(value, list) or not value:
        raise ConfigError(
            where, got=repr(value), expected="a list with items", hint="start each item with '-'"
        )
    return value


def _read_layer(
    entry: object, where: str, shape: Shape
) -> tuple[str, LayerType, dict[str, object]]:
    """Return type name, type and the options as they are written (lists as tuples)."""
    after = f"input shape {shape}"
    if not (isinstance(entry, list) and 1 <= len(entry) <= 2 and isinstance(entry[0], str)):
        raise ConfigError(
            f"{where}, {after}",
            got=repr(entry),
            expected="[Type, {options}]",
            hint="check the brackets",
        )
    kind, options = entry[0], entry[1] if len(entry) == 2 else None
    if kind not in LAYER_TYPES:
        raise ConfigError(
            f"{where}, {after}",
            got=f"the layer type {kind!r}",
            expected=_one_of(LAYER_TYPES),
            hint=did_you_mean(kind, LAYER_TYPES),
        )
    layer_type = LAYER_TYPES[kind]
    if layer_type.takes_name:
        if not isinstance(options, str):
            raise ConfigError(
                f"{where} ({kind}), {after}",
                got=repr(options),
                expected="a name",
                hint=f"write [{kind}, name]",
            )
        return kind, layer_type, {"name": options}
    if options is None or options == "empty":
        options = {}
    if not isinstance(options, Mapping):
        raise ConfigError(
            f"{where} ({kind}), {after}",
            got=repr(options),
            expected="a mapping of options",
            hint=f"write [{kind}, {{option: value}}]",
        )
    values = {k: tuple(v) if isinstance(v, list) else v for k, v in options.items()}
    return kind, layer_type, values


def _resolve_options(
    layer_type: LayerType, written: Mapping[str, object], shape: Shape, where: str
) -> dict[str, object]:
    """Check the names of the options and replace -1 by what the input's shape says."""
    known = inspect.signature(layer_type.build).parameters
    for key in written:
        if key not in known:
            raise ConfigError(
                where,
                got=f"the option {key!r}",
                expected=_one_of(known),
                hint=did_you_mean(key, known),
            )
    for key, parameter in known.items():
        if parameter.default is parameter.empty and key not in written:
            inferable = key in layer_type.inferred
            raise ConfigError(
                where,
                got=f"the options {_one_of(written)}",
                expected=f"also {key}",
                hint=f"write {key}: -1 to infer it" if inferable else f"add {key}",
            )
    for key, value in written.items():
        for number in value if isinstance(value, tuple) else (value,):
            if isinstance(number, float) and not math.isfinite(number):
                raise ConfigError(
                    where, got=f"{key} {number}", expected="a finite number", hint="correct it"
                )
    options = dict(written)
    for key, infer in layer_type.inferred.items():
        actual, given = infer(shape), written[key]
        if given == -1:
            options[key] = actual
        elif not _agrees(given, actual):
            raise ShapeError(
                where,
                got=f"{key} {given}",
                expected=f"{actual}",
                hint=f"write {key}: -1 to infer it, or correct the layers before",
            )
    return options


def _agrees(given: object, actual: object) -> bool:
    """Return whether a size equals the actual one; of a shape, the last axes are enough."""
    if not isinstance(actual, tuple):
        return given == actual
    given = given if isinstance(given, tuple) else (given,)
    return 0 < len(given) <= len(actual) and given == actual[-len(given) :]


def _check_skip(kind: str, name: str, stored: Mapping[str, Tensor], where: str) -> None:
    if kind == "StoreAs" and name in stored:
        raise ConfigError(
            where,
            got=f"the name {name!r} again",
            expected="a new name",
            hint="number the names, for example by their channels",
        )
    if kind == "CatWith" and name not in stored:
        raise ConfigError(
            where,
            got=f"the name {name!r}",
            expected=f"a name stored before: {_one_of(stored)}",
            hint=did_you_mean(name, stored),
        )


def _run(layer: nn.Module, x: Tensor, stored: dict[str, Tensor]) -> Tensor:
    return layer(x, stored) if isinstance(layer, StoreAs | CatWith) else layer(x)


def _dry_run(
    twin: nn.Module,
    x: Tensor,
    stored: dict[str, Tensor],
    where: str,
    before: list[tuple[str, str, nn.Module]],
    input_shape: Shape,
) -> Tensor:
    """Run a layer on the meta device and return its output."""
    try:
        with torch.no_grad():
            y = _run(twin.eval(), x, stored)
    except ShapeError as error:
        if isinstance(twin, CatWith):
            factors = _downsampling((layer for _, _, layer in before), len(input_shape) - 1)
            if any(n % f for n, f in zip(input_shape[1:], factors, strict=True)):
                raise ShapeError(
                    f"{where}: {error.what}",
                    got=f"{error.got}, because the model's input {input_shape} is not divisible "
                    "by the poolings on the way down",
                    expected="sizes after the channels that are multiples of "
                    f"{' and '.join(map(str, factors))}",
                    hint=f"use {_nearest_multiples(input_shape, factors)}, by padding or cutting",
                ) from None
        raise _placed(error, where) from None
    except Exception as error:  # PyTorch has no list of what it raises for a wrong shape
        raise ShapeError(
            where,
            got=f"a shape for which PyTorch says: {_first_line(error)}",
            expected="an input that fits the layer",
            hint="change the layer's options or the layers before it",
        ) from error
    if y.ndim < 2 or y.shape[0] != len(x) or 0 in y.shape:
        raise ShapeError(
            where,
            got=f"the output shape {tuple(y.shape)} for a batch of {len(x)}",
            expected="the batch first and no empty axis",
            hint="do not reduce or flatten axis 0, the batch",
        )
    return y


def _downsampling(layers: Iterable[nn.Module], n_axes: int) -> list[int]:
    """Return by how much the strides of the layers divide each axis (for a message only)."""
    factors = [1] * n_axes
    pooling = nn.MaxPool1d | nn.MaxPool2d | nn.AvgPool1d | nn.AvgPool2d | nn.Conv1d | nn.Conv2d
    for layer in layers:
        if isinstance(layer, pooling):
            n_strided = 1 if isinstance(layer, nn.MaxPool1d | nn.AvgPool1d | nn.Conv1d) else 2
            stride = layer.stride
            stride = stride if isinstance(stride, tuple) else (stride,) * n_strided
            for axis in range(1, min(n_strided, n_axes) + 1):
                factors[-axis] *= stride[-axis]
    return factors


def _nearest_multiples(input_shape: Shape, factors: Sequence[int]) -> Shape:
    sizes = zip(input_shape[1:], factors, strict=True)
    return (input_shape[0], *(math.ceil(n / f) * f for n, f in sizes))


def _placed(error: Dl101Error, where: str) -> Dl101Error:
    """Return the error with its place put before it."""
    return type(error)(
        f"{where}: {error.what}", got=error.got, expected=error.expected, hint=error.hint
    )


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0].rstrip(".")


def _one_of(names: Iterable[str]) -> str:
    return ", ".join(map(str, names)) or "none"
