"""Works out, from the code, what each layer of a network costs and how much of the input it sees.

Conventions. A network runs once on torch's *meta* device (shapes, no numbers) and every tensor
operation is watched, so functions count like layers, and skips and branches are followed.

*Multiply-adds* are those of one input (batch 1) in convolutions, linear layers, matrix products
and recurrent layers; normalisation, activation and pooling count as none, padding zeros count.

The *receptive field* of an output frame reaches from the first to the last input frame that it
depends on (holes of a dilated kernel inside it included). Of the frames of one layer the largest
counts. It is that of an endless input: near the borders, or when the input is shorter, part of it
is padding. After an operation over the whole time axis (global pooling, attention, a recurrent
layer, a normalisation over time) it is the whole input. It is None after an operation that is not
followed here.
"""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakIdKeyDictionary

from dl101.nn.factory import Network

Index = NDArray[np.int64]
RECURRENT = (nn.LSTM, nn.GRU, nn.RNN)


class LayerCost(NamedTuple):
    """One line: where, what, the shape after it (no batch), what it costs, what it sees.

    ``field`` counts steps of the input's time axis, None where unknown.
    """

    layer: str
    type: str
    output_shape: tuple[int, ...]
    parameters: int
    multiply_adds: int
    field: int | None


@dataclass(frozen=True, eq=False)
class Field:
    """First and last input frame that each frame ``p`` depends on, for one period of ``p``.

    Frame ``p + len(first)`` sees what ``p`` sees, ``advance`` input frames later. (A stride makes
    ``advance`` larger, a transposed convolution makes the period longer.)
    """

    first: Index
    last: Index
    advance: int

    def bounds(self, first_p: Index, last_p: Index) -> tuple[Index, Index]:
        """Return the first input frame of ``first_p`` and the last one of ``last_p``."""
        n = len(self.first)
        first = self.first[first_p % n] + self.advance * (first_p // n)
        return first, self.last[last_p % n] + self.advance * (last_p // n)

    def through(
        self, period: int, first_p: Callable[[Index], Index], last_p: Callable[[Index], Index]
    ) -> Field:
        """Return the field of frames that depend on frames ``first_p(q)`` to ``last_p(q)``."""
        q = np.arange(period + 1)
        first, last = self.bounds(first_p(q), last_p(q))
        return Field(first[:-1], last[:-1], int(first[-1] - first[0]))

    def joined(self, other: Field) -> Field | None:
        """Return the hull of two fields, frame by frame; None if they advance differently."""
        period = math.lcm(len(self.first), len(other.first))
        one, two = (f.through(period, _same, _same) for f in (self, other))
        if one.advance != two.advance:
            return None
        first, last = np.minimum(one.first, two.first), np.maximum(one.last, two.last)
        return Field(first, last, one.advance)

    @property
    def size(self) -> int:
        """Return the largest number of input frames that a frame sees."""
        return max(0, int(np.max(self.last - self.first)) + 1)


@dataclass(frozen=True, eq=False)
class Trace:
    """How a tensor depends on the input.

    ``axis`` is where time runs; None when every element has the same ``field``. ``size`` is set
    where time is one with other axes: elements see so much each, and ``field`` all together.
    ``field`` is None when unknown.
    """

    axis: int | None
    field: Field | None
    size: int | None = None


UNKNOWN = Trace(None, None)


def _same(p: Index) -> Index:
    return p


class Watch(TorchDispatchMode):
    """Counts multiply-adds and follows fields while a network runs."""

    def __init__(self) -> None:
        super().__init__()
        self.traces = WeakIdKeyDictionary()
        self.multiply_adds = 0
        self.n_frames = 1

    def start(self, x: Tensor, time_axis: int) -> None:
        """Name the input; ``time_axis`` counts the batch."""
        self.n_frames = x.shape[time_axis]
        step = np.zeros(1, dtype=np.int64)
        self.traces[x] = Trace(time_axis, Field(step, step, 1))

    def whole(self, x: Tensor) -> Trace:
        """Return the trace of what depends on all of ``x``."""
        trace = self.traces.get(x, UNKNOWN)
        if trace.axis is None or trace.field is None:
            return replace(trace, size=None)
        ends = np.array([0]), np.array([x.shape[trace.axis] - 1])
        first, last = trace.field.bounds(*ends)
        inside = (np.clip(end, 0, self.n_frames - 1) for end in (first, last))
        return Trace(None, Field(*inside, 0))

    def __torch_dispatch__(
        self, func: Any, types: object, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        outputs = [o for o in tree_leaves(out) if isinstance(o, Tensor)]
        if outputs:
            self.multiply_adds += _multiply_adds(name, args, outputs[0])
        sources = [a for a in tree_leaves((args, kwargs)) if isinstance(a, Tensor)]
        sources = [a for a in sources if a in self.traces]
        if sources and outputs:
            pointwise = torch.Tag.pointwise in func.tags
            trace = self._follow(name, args, kwargs or {}, sources, outputs[0], pointwise)
            for output in outputs:
                self.traces[output] = trace
        return out

    def _follow(
        self,
        name: str,
        args: tuple,
        kwargs: dict,
        sources: list[Tensor],
        out: Tensor,
        pointwise: bool,
    ) -> Trace:
        traces = [self.traces[source] for source in sources]
        if any(trace.field is None for trace in traces):
            return UNKNOWN
        if pointwise or name in KEEP or (name == "native_batch_norm" and not args[5]):
            return self._joined(sources, out.ndim)
        if name in PRODUCTS and len(sources) > 1:
            return self._joined_whole(sources)
        if name in ("cat", "stack"):
            return self._concatenated(name, args, kwargs, sources, out)
        x, trace = sources[0], traces[0]
        if trace.axis is None:
            return trace if name in MOVES else replace(trace, size=None)
        if name == "select":
            dim, index = args[1] % x.ndim, args[2] % x.shape[args[1]]
            if dim != trace.axis:
                return replace(trace, axis=_shifted(trace.axis, dim, -1))
            one = np.array([index])
            return Trace(None, Field(*trace.field.bounds(one, one), 0))
        if name in MOVES:
            axis = MOVES[name](x, trace.axis, args, out)
            if axis is not None:
                return replace(trace, axis=axis)
            merged = self.whole(x)
            return replace(merged, size=trace.field.size) if _is_merged(x, trace, out) else UNKNOWN
        if name in MIXES:
            kept = MIXES[name](x, trace.axis, args, kwargs, out)
            return self.whole(x) if kept is None else replace(trace, axis=kept)
        if name in WINDOWS:
            field = WINDOWS[name](trace.field, x, trace.axis, args, out)
            if isinstance(field, Field):
                return replace(trace, field=field)
            return self.whole(x) if field == "whole" else UNKNOWN
        return UNKNOWN

    def _joined(self, sources: list[Tensor], n_axes: int) -> Trace:
        """Return the trace of elements that depend on the same elements of all sources."""
        joined, at = None, None
        for source in sources:
            trace = self.traces[source]
            axis = None if trace.axis is None else trace.axis + n_axes - source.ndim
            if joined is None:
                joined, at = trace, axis
            elif axis is None or at is None:
                everything = [t for t in (joined, trace) if t.axis is None and self._is_all(t)]
                if not everything:
                    return UNKNOWN
                joined, at = replace(everything[0], size=None), None
            else:
                field = joined.field.joined(trace.field)
                if axis != at or field is None:
                    return UNKNOWN
                joined = replace(joined, field=field)
        return replace(joined, axis=at)

    def _is_all(self, trace: Trace) -> bool:
        return trace.field.first[0] <= 0 and trace.field.last[0] >= self.n_frames - 1

    def _joined_whole(self, sources: list[Tensor]) -> Trace:
        fields = [self.whole(source).field for source in sources]
        return Trace(
            None,
            Field(
                np.min([field.first for field in fields], axis=0),
                np.max([field.last for field in fields], axis=0),
                0,
            ),
        )

    def _concatenated(
        self, name: str, args: tuple, kwargs: dict, sources: list[Tensor], out: Tensor
    ) -> Trace:
        dim = (args[1] if len(args) > 1 else kwargs.get("dim", 0)) % out.ndim
        trace = self._joined(sources, sources[0].ndim)
        if name == "stack":
            return replace(trace, axis=_shifted(trace.axis, dim, 1))
        if trace.axis != dim or trace.axis is None:
            return trace
        if len(sources) > 1:
            return UNKNOWN  # one stretch of time after another
        before = [part is sources[0] for part in args[0]].index(True)
        lead = sum(part.shape[dim] for part in args[0][:before])
        return replace(trace, field=_windowed(trace.field, 1, 1, lead, 1))


def _multiply_adds(name: str, args: tuple, out: Tensor) -> int:
    if name == "convolution":
        x, weight, transposed = args[0], args[1], args[6]
        positions = (x if transposed else out).shape
        return positions[0] * math.prod(positions[2:]) * weight.numel()
    if name in PRODUCTS:
        return out.numel() * args[PRODUCTS[name]].shape[-1]
    return 0


# ------------------------------------------------------- where the time axis goes, by operation
# name of a product: which argument's last axis is summed over
PRODUCTS = {"mm": 0, "bmm": 0, "addmm": 1, "baddbmm": 1, "mv": 0, "addmv": 1, "dot": 0}
KEEP = ("detach", "alias", "_to_copy", "lift_fresh", "expand", "glu", "_prelu_kernel")


def _shifted(axis: int | None, dim: int, by: int) -> int | None:
    """Return where an axis is after an axis at ``dim`` came (1) or went (-1)."""
    return axis + by if axis is not None and (axis >= dim if by > 0 else axis > dim) else axis


def _viewed(x: Tensor, axis: int, args: tuple, out: Tensor) -> int | None:
    before = math.prod(x.shape[:axis])
    for i, size in enumerate(out.shape):
        if size == x.shape[axis] and math.prod(out.shape[:i]) == before:
            return i
    return None


def _is_merged(x: Tensor, trace: Trace, out: Tensor) -> bool:
    """Return whether the whole time axis lies inside one axis of a view."""
    begin = math.prod(x.shape[: trace.axis])
    end = begin * x.shape[trace.axis]
    steps = [math.prod(out.shape[:i]) for i in range(out.ndim + 1)]
    pairs = itertools.pairwise(steps)
    return any(low <= begin and high >= end and high % end == 0 for low, high in pairs)


def _squeezed(x: Tensor, axis: int, args: tuple, out: Tensor) -> int:
    dims = range(x.ndim) if len(args) < 2 else args[1] if isinstance(args[1], list) else [args[1]]
    gone = [d % x.ndim for d in dims if x.shape[d] == 1]
    return axis - sum(d < axis for d in gone)


def _transposed(x: Tensor, axis: int, args: tuple, out: Tensor) -> int:
    one, two = (d % x.ndim for d in args[1:3])
    return {one: two, two: one}.get(axis, axis)


def _unbound(x: Tensor, axis: int, args: tuple, out: Tensor) -> int | None:
    dim = (args[1] if len(args) > 1 else 0) % x.ndim
    return None if dim == axis else _shifted(axis, dim, -1)


def _split(x: Tensor, axis: int, args: tuple, out: Tensor) -> int | None:
    dim = (args[2] if len(args) > 2 else 0) % x.ndim
    return None if dim == axis else axis


MOVES: dict[str, Callable[[Tensor, int, tuple, Tensor], int | None]] = {
    "view": _viewed,
    "_unsafe_view": _viewed,
    "_reshape_alias": _viewed,
    "t": lambda x, axis, args, out: x.ndim - 1 - axis,
    "transpose": _transposed,
    "permute": lambda x, axis, args, out: [d % x.ndim for d in args[1]].index(axis),
    "unsqueeze": lambda x, axis, args, out: _shifted(axis, args[1] % out.ndim, 1),
    "squeeze": _squeezed,
    "unbind": _unbound,
    "split": _split,
    "split_with_sizes": _split,
    "unsafe_split": _split,
}


# --------------------------------------- operations over whole axes: the time axis, None if it is
def _reduced(x: Tensor, axis: int, args: tuple, kwargs: dict, out: Tensor) -> int | None:
    dims = args[1] if len(args) > 1 else None
    if dims is None or dims == []:
        return None
    gone = {d % x.ndim for d in (dims if isinstance(dims, list) else [dims])}
    if axis in gone:
        return None
    return axis if out.ndim == x.ndim else axis - sum(d < axis for d in gone)


def _along(x: Tensor, axis: int, args: tuple, kwargs: dict, out: Tensor) -> int | None:
    return None if args[1] % x.ndim == axis else axis


def _layer_norm(x: Tensor, axis: int, args: tuple, kwargs: dict, out: Tensor) -> int | None:
    return None if axis >= x.ndim - len(args[1]) else axis


def _product(x: Tensor, axis: int, args: tuple, kwargs: dict, out: Tensor) -> int | None:
    left, right = [a for a in args if isinstance(a, Tensor)][-2:]
    if x is left:
        return None if axis == x.ndim - 1 else axis
    if x is right:
        return None if axis == max(0, x.ndim - 2) else out.ndim - 1
    return axis + out.ndim - x.ndim  # what is added


def _none(x: Tensor, axis: int, args: tuple, kwargs: dict, out: Tensor) -> None:
    return None


MIXES: dict[str, Callable[[Tensor, int, tuple, dict, Tensor], int | None]] = {
    **dict.fromkeys(("mean", "sum", "amax", "amin", "max", "min", "logsumexp", "var"), _reduced),
    **dict.fromkeys(("std", "var_mean", "linalg_vector_norm", "argmax", "argmin"), _reduced),
    **dict.fromkeys(("_softmax", "_log_softmax", "_safe_softmax", "cumsum"), _along),
    **dict.fromkeys(PRODUCTS, _product),
    "native_layer_norm": _layer_norm,
    "native_group_norm": _none,
    "native_batch_norm": _none,  # of one input's own statistics; the others are pointwise
}


# ------------------------------------------------------ operations on stretches of the time axis
def _windowed(field: Field, kernel: int, stride: int, padding: int, dilation: int) -> Field:
    begin = -padding
    reach = dilation * (kernel - 1)
    return field.through(
        len(field.first), lambda q: stride * q + begin, lambda q: stride * q + begin + reach
    )


def _spread(field: Field, kernel: int, stride: int, padding: int, dilation: int) -> Field:
    """Return the field behind a transposed convolution."""
    reach = dilation * (kernel - 1)
    return field.through(
        stride * len(field.first),
        lambda q: -((reach - q - padding) // stride),
        lambda q: (q + padding) // stride,
    )


def _at(values: Sequence[int], index: int) -> int:
    """Return the option of one axis; a single number stands for all axes."""
    return values[index] if len(values) > 1 else values[0]


def _convolved(field: Field, x: Tensor, axis: int, args: tuple, out: Tensor) -> Field | str:
    if axis < 2:
        return "whole" if axis else field
    kernel = args[1].shape[axis]
    stride, padding, dilation = (_at(args[i], axis - 2) for i in (3, 4, 5))
    return (_spread if args[6] else _windowed)(field, kernel, stride, padding, dilation)


def _pooled(field: Field, x: Tensor, axis: int, args: tuple, out: Tensor) -> Field:
    return _pool(field, axis, *args[1:4])


def _max_pooled(field: Field, x: Tensor, axis: int, args: tuple, out: Tensor) -> Field:
    return _pool(field, axis, *args[1:5])


def _pool(
    field: Field,
    axis: int,
    kernel: Sequence[int],
    stride: Sequence[int] = (),
    padding: Sequence[int] = (0,),
    dilation: Sequence[int] = (1,),
) -> Field:
    if axis < 2:
        return field
    options = (kernel, stride or kernel, padding, dilation)
    return _windowed(field, *(_at(option, axis - 2) for option in options))


def _pooled_to_size(field: Field, x: Tensor, axis: int, args: tuple, out: Tensor) -> Field | str:
    size, wanted = x.shape[axis], out.shape[axis]
    if wanted == 1:
        return "whole"
    if size % wanted:
        return "unknown"
    return _windowed(field, size // wanted, size // wanted, 0, 1)


def _padded(field: Field, x: Tensor, axis: int, args: tuple, out: Tensor) -> Field:
    index = 2 * (x.ndim - 1 - axis)
    return _windowed(field, 1, 1, args[1][index] if index < len(args[1]) else 0, 1)


def _sliced(field: Field, x: Tensor, axis: int, args: tuple, out: Tensor) -> Field:
    dim = (args[1] if len(args) > 1 else 0) % x.ndim
    if dim != axis:
        return field
    begin = (args[2] if len(args) > 2 else 0) or 0
    begin = max(0, begin + x.shape[axis] if begin < 0 else begin)
    return _windowed(field, 1, args[4] if len(args) > 4 else 1, -begin, 1)


def _nearest(field: Field, x: Tensor, axis: int, args: tuple, out: Tensor) -> Field | str:
    factor, rest = divmod(out.shape[axis], x.shape[axis])
    return "unknown" if rest else _spread(field, factor, factor, 0, 1)


def _interpolated(field: Field, x: Tensor, axis: int, args: tuple, out: Tensor) -> Field | str:
    factor, rest = divmod(out.shape[axis], x.shape[axis])
    if rest or args[2]:  # with align_corners the places do not repeat
        return "unknown"
    return field.through(
        factor * len(field.first),
        lambda q: (2 * q + 1 - factor) // (2 * factor),
        lambda q: -(-(2 * q + 1 - factor) // (2 * factor)),
    )


WINDOWS: dict[str, Callable[[Field, Tensor, int, tuple, Tensor], Field | str]] = {
    "convolution": _convolved,
    **dict.fromkeys(("avg_pool1d", "avg_pool2d", "avg_pool3d"), _pooled),
    **dict.fromkeys(("max_pool2d_with_indices", "max_pool3d_with_indices"), _max_pooled),
    **dict.fromkeys(("_adaptive_avg_pool2d", "adaptive_max_pool2d"), _pooled_to_size),
    **dict.fromkeys(("constant_pad_nd", "reflection_pad1d", "reflection_pad2d"), _padded),
    **dict.fromkeys(("replication_pad1d", "replication_pad2d"), _padded),
    "slice": _sliced,
    **dict.fromkeys(("upsample_nearest1d", "upsample_nearest2d"), _nearest),
    **dict.fromkeys(("upsample_linear1d", "upsample_bilinear2d"), _interpolated),
}


# --------------------------------------------------------------------------------- the whole pass
def layer_costs(
    network: nn.Module, input_shape: Sequence[int], *, time_axis: int = -1
) -> list[LayerCost]:
    """Return one row per layer, in the order of execution.

    Parameters
    ----------
    network
        Any module that takes one tensor; it is left alone (a copy runs).
    input_shape
        Shape of one input, without the batch axis.
    time_axis
        Where time is in ``input_shape``.

    Notes
    -----
    A network of the factory lists the layers of its file. Of any other module, those that have no
    parts of their own are listed, and those that hold parameters, or multiply, beside their parts;
    a layer used twice counts its parameters once.
    """
    twin = copy.deepcopy(network).to("meta").eval()
    for part in twin.modules():
        if type(part) in RECURRENT:
            part.forward = _one_step(part)
    watch = Watch()
    rows: list[LayerCost] = []
    counted: set[int] = set()
    listed = {row.layer: row.type for row in network.describe()} if _is_file(network) else None

    def watched(name: str, module: nn.Module) -> None:
        started: list[int] = []

        def before(module: nn.Module, inputs: object) -> None:
            started.append(watch.multiply_adds)

        def after(module: nn.Module, inputs: tuple, output: Any) -> None:
            start = started.pop()
            output = output[0] if isinstance(output, tuple) else output
            if isinstance(module, nn.RNNBase):
                n_steps = inputs[0].shape[1 if module.batch_first else 0]
                weights = sum(p.numel() for n, p in module.named_parameters() if "weight" in n)
                watch.multiply_adds = start + n_steps * weights
                watch.traces[output] = watch.whole(inputs[0])
            if not isinstance(output, Tensor):
                return
            is_leaf = listed is not None or _is_leaf(module)
            own = [p for p in module.parameters(recurse=is_leaf) if id(p) not in counted]
            counted.update(map(id, own))
            n_own = watch.multiply_adds - start
            if not is_leaf:  # what the parts did stands in their rows
                n_own -= sum(row.multiply_adds for row in rows[begun.pop() :])
            n_parameters = sum(p.numel() for p in own)
            if is_leaf or n_parameters or n_own:
                trace = watch.traces.get(output, UNKNOWN)
                size = trace.size or (trace.field.size if trace.field else None)
                kind = listed[name] if listed is not None else _kind(module)
                shape = tuple(output.shape[1:])
                rows.append(LayerCost(name or "whole", kind, shape, n_parameters, n_own, size))

        begun: list[int] = []
        if listed is None and not _is_leaf(module):
            module.register_forward_pre_hook(lambda *_: begun.append(len(rows)))
        module.register_forward_pre_hook(before)
        module.register_forward_hook(after)

    for name, part in twin.named_modules():
        if name in listed if listed is not None else "parametrizations" not in name:
            watched(name, part)
    x = torch.empty((1, *input_shape), device="meta")
    watch.start(x, time_axis % len(input_shape) + 1)
    with torch.no_grad(), watch:
        twin(x)
    return rows


def _is_file(network: nn.Module) -> bool:
    return isinstance(network, Network)


def _is_leaf(module: nn.Module) -> bool:
    # attention uses its parts' parameters without calling them
    parts = [name for name, _ in module.named_children() if name != "parametrizations"]
    return isinstance(module, nn.MultiheadAttention) or not parts


def _kind(module: nn.Module) -> str:
    return type(module).__name__.removeprefix("Parametrized")


def _one_step(module: nn.RNNBase) -> Callable[..., Any]:
    """Return a forward pass of one step, repeated: shapes do not need the walk through time."""
    axis = 1 if module.batch_first else 0

    def forward(x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        output, last = type(module).forward(module, x.narrow(axis, 0, 1), state)
        sizes = [-1, -1, -1]
        sizes[axis] = x.shape[axis]
        return output.expand(sizes), last

    return forward
