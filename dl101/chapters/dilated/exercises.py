"""The exercises of the chapter on dilation and TCN."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from dl101.lab.exercise import Exercise, Function

# ---- 1: the receptive field of a stack ----------------------------------------------------------

Sizes = Sequence[int]


def _field(
    kernels: Sizes,
    dilations: Sizes,
    strides: Sizes,
    *,
    taps: int = -1,
    own_stride: bool = False,
    begin: int = 1,
) -> int:
    """Return 1 + the sum of (k - 1) d times the strides before; options make the misreadings."""
    field, hop = begin, 1
    for k, d, s in zip(kernels, dilations, strides, strict=True):
        field += (k + taps) * d * (hop * s if own_stride else hop)
        hop *= s
    return field


def _with_steps(kernels: Sizes, dilations: Sizes, steps: Sizes) -> int:
    """Return the field with a step of its own for each layer."""
    return 1 + sum((k - 1) * d * hop for k, d, hop in zip(kernels, dilations, steps, strict=True))


def _ones(sizes: Sizes) -> list[int]:
    return [1] * len(sizes)


FIELD = Function(
    title="the receptive field of a stack",
    minutes=10,
    rubric={
        "each layer adds (k - 1) d steps, and the output itself counts": 1,
        "the strides of the layers before make these steps longer": 1,
    },
    right=_field,
    cases=lambda: [
        ([3], [1], [1]),
        ([2, 2, 2], [1, 2, 4], [1, 1, 1]),
        ([3, 5], [4, 1], [1, 1]),
        ([4, 3, 2], [1, 2, 5], [2, 1, 3]),
        ([3, 2, 4, 2], [1, 3, 1, 2], [2, 3, 2, 1]),
        ([64, 2, 2, 2], [1, 1, 2, 4], [16, 1, 1, 2]),
    ],
    returns="one whole number",
    mistakes={
        "One too few: this is how far back the output looks. The output's own place is seen too, "
        "so add 1.": lambda k, d, s: _field(k, d, s, begin=0),
        "A kernel of k taps reaches k - 1 steps further, not k: the first tap adds nothing.": (
            lambda k, d, s: _field(k, d, s, taps=0),
            lambda k, d, s: _field(k, d, s, taps=0, begin=0),
        ),
        "The dilations are not in it: from tap to tap it is d steps.": (
            lambda k, d, s: _field(k, _ones(d), s)
        ),
        "The strides are not in it. Behind a stride of 2, neighbours are two samples apart, and so "
        "every later step counts twice.": lambda k, d, s: _field(k, d, _ones(s)),
        "A layer's own stride does not widen its field: only the strides of the layers before it "
        "count.": lambda k, d, s: _field(k, d, s, own_stride=True),
        "You take only the stride just before a layer. All before it multiply: behind strides of 2 "
        "and 3, neighbours are six samples apart.": (
            lambda k, d, s: _with_steps(k, d, [1, *s[:-1]])
        ),
        "You add up the strides. They multiply: behind strides of 2 and 3, neighbours are six "
        "samples apart.": (
            lambda k, d, s: _with_steps(
                k, d, [1 + sum(a - 1 for a in s[:i]) for i in range(len(s))]
            ),
            lambda k, d, s: _with_steps(k, d, [max(1, sum(s[:i])) for i in range(len(s))]),
        ),
        "You take the strides behind a layer. Those before it make its steps longer.": (
            lambda k, d, s: _with_steps(k, d, [math.prod(s[i + 1 :]) for i in range(len(s))]),
            lambda k, d, s: _with_steps(k, d, [math.prod(s[i:]) for i in range(len(s))]),
        ),
        "You multiply what the layers see. Each layer adds to the field: (k - 1) d steps.": (
            lambda k, d, s: math.prod((a - 1) * b + 1 for a, b in zip(k, d, strict=True))
        ),
        "This is the widest layer alone. Layers in a row add up.": (
            lambda k, d, s: 1 + max((a - 1) * b for a, b in zip(k, d, strict=True))
        ),
    },
    differs="With kernels {0}, dilations {1} and strides {2} one output sees {right:.0f} samples; "
    "you say {got:.0f}. Layer by layer: (k - 1) d, times the strides before.",
    praise="Each layer adds (k - 1) d steps, and a step is as long as the strides before made it.",
)

# ---- 2: dilations for a wanted reach ------------------------------------------------------------


def _dilations(k: int, n: int) -> list[int]:
    dilations = [1]
    while k ** len(dilations) < n:
        dilations.append(dilations[-1] * k)
    return dilations


def _right_dilations(k: int, n: int) -> NDArray:
    return np.array(_dilations(k, n))


def _by_two(k: int, n: int) -> list[int]:
    """Double, whatever the kernel."""
    dilations = [1]
    while 1 + (k - 1) * sum(dilations) < n:
        dilations.append(dilations[-1] * 2)
    return dilations


def _levels(k: int, n: int) -> int:
    return len(_dilations(k, n))


DILATIONS = Function(
    title="dilations for a wanted reach",
    minutes=15,
    rubric={
        "each dilation is kernel_size times the one before": 1,
        "no layer more than needed, with exact arithmetic": 1,
    },
    right=_right_dilations,
    cases=lambda: [(2, 1000), (3, 243), (4, 1027), (2, 65), (5, 125), (3, 10), (7, 5)],
    returns="a list of whole numbers",
    mistakes={
        "You double every time. That leaves nothing out, but with more than two taps the layers "
        "see much of it twice: multiply by kernel_size.": _by_two,
        "You double every time, and so this many layers see too little with more than two taps: "
        "multiply by kernel_size.": lambda k, n: [2**i for i in range(_levels(k, n))],
        "This is the number of layers. Return their dilations, as a list.": _levels,
        "A logarithm rounded down: where the fit is not exact, the last layer is missing. Count up "
        "with whole numbers until it is enough.": (
            lambda k, n: [k**i for i in range(int(math.log(n) / math.log(k)))],
            lambda k, n: [k**i for i in range(max(1, int(math.log(n) / math.log(k))))],
        ),
        "One layer too few: with these, an output sees fewer samples than wanted.": (
            lambda k, n: _dilations(k, n)[:-1]
        ),
        "One layer too many: it would do without the last one.": (
            lambda k, n: [*_dilations(k, n), k ** _levels(k, n)]
        ),
        "The first layer has dilation 1: with a larger one, neighbouring samples are never "
        "compared, and the samples between the taps are not seen at all.": (
            lambda k, n: [k * d for d in _dilations(k, n)]
        ),
        "All dilations are 1: this works, but needs many more layers.": (
            lambda k, n: [1] * math.ceil((n - 1) / (k - 1))
        ),
        "n_samples counts the present too. You look for n_samples before it, and where the fit is "
        "exact that costs a layer more.": lambda k, n: _dilations(k, n + 1),
        "A single layer reaches that far with one dilation, but sees only kernel_size of the "
        "samples: no hole is allowed.": lambda k, n: [math.ceil((n - 1) / (k - 1))],
        "With kernel 5 and 125 samples, three layers fit exactly. A logarithm of floating-point "
        "numbers says a little more than 3, and rounding up gives 4: count with whole numbers.": (
            lambda k, n: [k**i for i in range(math.ceil(math.log(n) / math.log(k)))]
        ),
    },
    differs="For kernel {0} and {1} samples the dilation of layer {at[0]} (counted from 0) is "
    "{right:.0f}; you say {got:.0f}. L layers with dilations 1, k, k^2, ... see k^L samples.",
    praise="k^L samples with L layers: the reach grows by a factor, the work by a term.",
)

# ---- 3: one chunk of a stream -------------------------------------------------------------------

Chunk = tuple[NDArray, NDArray, NDArray, int]


def _convolved(joined: NDArray, w: NDArray, d: int, n: int) -> NDArray:
    return sum(w[:, :, i] @ joined[:, i * d : i * d + n] for i in range(w.shape[2]))


def _step(x: NDArray, past: NDArray, w: NDArray, d: int) -> tuple[NDArray, NDArray]:
    joined = np.concatenate([past, x], axis=1)
    return _convolved(joined, w, d, x.shape[1]), joined[:, x.shape[1] :]


def _output(x: NDArray, past: NDArray, w: NDArray, d: int) -> NDArray:
    return _step(x, past, w, d)[0]


def _memory(x: NDArray, past: NDArray) -> NDArray:
    return np.concatenate([past, x], axis=1)[:, x.shape[1] :]


def _of_the_chunk_alone(x: NDArray, past: NDArray, w: NDArray, d: int) -> tuple[NDArray, NDArray]:
    return _output(x, past, w, d), x[:, max(0, x.shape[1] - past.shape[1]) :]


def _zeros_before(x: NDArray, past: NDArray, w: NDArray, d: int) -> tuple[NDArray, NDArray]:
    return _output(x, np.zeros_like(past), w, d), _memory(x, past)


def _flipped(x: NDArray, past: NDArray, w: NDArray, d: int) -> tuple[NDArray, NDArray]:
    return _step(x, past, w[:, :, ::-1], d)


def _ahead(x: NDArray, past: NDArray, w: NDArray, d: int) -> tuple[NDArray, NDArray]:
    """Pad at the end of the chunk instead of its beginning."""
    return _convolved(np.concatenate([x, past], 1), w, d, x.shape[1]), _memory(x, past)


def _undilated(x: NDArray, past: NDArray, w: NDArray, d: int) -> tuple[NDArray, NDArray]:
    joined = np.concatenate([past, x], axis=1)[:, (w.shape[2] - 1) * (d - 1) :]
    return _convolved(joined, w, 1, x.shape[1]), _memory(x, past)


def _undilated_from_the_oldest(
    x: NDArray, past: NDArray, w: NDArray, d: int
) -> tuple[NDArray, NDArray]:
    return _convolved(np.concatenate([past, x], 1), w, 1, x.shape[1]), _memory(x, past)


def _cropped_by_minus(x: NDArray, past: NDArray, w: NDArray, d: int) -> tuple[NDArray, NDArray]:
    return _output(x, past, w, d), np.concatenate([past, x], axis=1)[:, -past.shape[1] :]


def _chunks() -> list[Chunk]:
    cases = []
    sizes = itertools.product((1, 4, 30), ((2, 3, 2, 3), (3, 2, 4, 2), (1, 1, 3, 5)))
    for index, (n, (n_in, n_out, k, d)) in enumerate(sizes):
        rng = np.random.default_rng([101, 3, index])
        x, past = rng.normal(size=(n_in, n)), rng.normal(size=(n_in, (k - 1) * d))
        cases.append((x, past, rng.normal(size=(n_out, n_in, k)), d))
    one_tap = rng.normal(size=(2, 5)), np.zeros((2, 0)), rng.normal(size=(3, 2, 1)), 2
    return [*cases, one_tap]


STREAM = Function(
    title="one chunk of a stream",
    minutes=20,
    rubric={
        "the past stands before the chunk, and the last tap is the present": 1,
        "the new past: the last inputs of both together, as many as before": 1,
        "a kernel of one tap, which has no past": 1,
    },
    right=_step,
    cases=_chunks,
    returns="two arrays, the output (out_channels, n) and the new past (in_channels, same length)",
    rtol=1e-5,
    atol=1e-6,
    mistakes={
        "The output is right, but the past is returned as it came: the next chunk would follow the "
        "same samples again.": lambda x, p, w, d: (_output(x, p, w, d), p),
        "The output is right, but the new past holds outputs. A convolution looks back at its "
        "inputs.": lambda x, p, w, d: (
            _output(x, p, w, d),
            np.resize(_output(x, p, w, d), p.shape),
        ),
        "The new past comes from the chunk alone. A chunk shorter than the past does not replace "
        "all of it: join the two first, then take the end.": (
            _of_the_chunk_alone,
            lambda x, p, w, d: (_output(x, p, w, d), x[:, -p.shape[1] :]),
        ),
        "You put zeros before the chunk. That is right for the first chunk only: put the past "
        "there.": _zeros_before,
        "The taps are in the wrong order. As in PyTorch, the last tap meets the present and the "
        "first one the sample (kernel_size - 1) * dilation steps ago.": _flipped,
        "The past stands behind the chunk, so that an output sees what comes after it. Put it "
        "before.": _ahead,
        "The dilation is missing: the taps are dilation steps apart.": (
            _undilated,
            _undilated_from_the_oldest,
        ),
        "The two are in the wrong order: the output first, then the past.": (
            lambda x, p, w, d: _step(x, p, w, d)[::-1]
        ),
        "The new past is too long: you return all inputs. The convolution looks back no further "
        "than (kernel_size - 1) * dilation steps; memory would grow without end.": (
            lambda x, p, w, d: (_output(x, p, w, d), np.concatenate([p, x], axis=1))
        ),
        "With one tap there is no past, and [:, -0:] is everything instead of nothing. Count from "
        "the front: [:, n:].": _cropped_by_minus,
    },
    differs="In a hidden case the value at {at} should be {right:.4g} and is {got:.4g}. Put the "
    "past before the chunk, convolve, and keep the last inputs.",
    praise="The same numbers, chunk by chunk; and what has to be remembered is known beforehand.",
)

EXERCISES: Mapping[str, Exercise] = {
    "dilated.1": FIELD,
    "dilated.2": DILATIONS,
    "dilated.3": STREAM,
}
