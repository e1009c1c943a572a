"""The exercises of the chapter on convolutions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from dl101.lab.exercise import Exercise, Function

# ---- 1: a convolution by its definition ----------------------------------------------------------


def convolve(
    x: NDArray,
    kernel: NDArray,
    stride: int,
    *,
    steps: tuple[int, int] | None = None,
    mixed: Callable[[NDArray], NDArray] = lambda terms: terms.sum(axis=1),
) -> NDArray:
    """Return (out, F', T'), of a picture (in, F, T) and a kernel (out, in, k, l)."""
    height, width = kernel.shape[2:]
    down, along = steps or (stride, stride)
    rows = range(0, x.shape[1] - height + 1, down)
    columns = range(0, x.shape[2] - width + 1, along)
    places = np.array(
        [[x[:, i : i + height, j : j + width] for j in columns] for i in rows]
    )  # (F', T', in, k, l)
    terms = np.einsum("ftikl,oikl->oift", places, kernel)
    return mixed(terms)


def _padded(x: NDArray, kernel: NDArray) -> NDArray:
    """Return the picture with zeros around it, so that the size is kept."""
    before = [(n - 1) // 2 for n in kernel.shape[2:]]
    after = [n // 2 for n in kernel.shape[2:]]
    return np.pad(x, [(0, 0), *zip(before, after, strict=True)])


def _padded_alike(x: NDArray, kernel: NDArray) -> NDArray:
    """Return the picture with half a kernel of zeros on every side."""
    half = [(n // 2, n // 2) for n in kernel.shape[2:]]
    return np.pad(x, [(0, 0), *half])


def _one_place_less(x: NDArray, kernel: NDArray, stride: int) -> NDArray:
    """Return the convolution without the last place along each axis."""
    sizes = [(n - k) // stride for n, k in zip(x.shape[1:], kernel.shape[2:], strict=True)]
    return convolve(x, kernel, stride)[:, : sizes[0], : sizes[1]]


def _pictures() -> list[tuple[NDArray, NDArray, int]]:
    rng = np.random.default_rng([180, 1])
    sizes = [  # in, F, T, out, k, l, stride
        (2, 4, 5, 1, 2, 2, 2),
        (2, 7, 9, 3, 3, 3, 2),
        (3, 8, 11, 2, 3, 3, 3),
        (2, 10, 12, 4, 3, 3, 2),
    ]
    return [
        (rng.integers(-3, 4, (i, f, t)) * 1.0, rng.integers(-2, 3, (o, i, k, w)) * 1.0, stride)
        for i, f, t, o, k, w, stride in sizes
    ]


def _first_difference(got: NDArray, right: NDArray, x: NDArray, k: NDArray, stride: int) -> str:
    at = np.unravel_index(int((np.abs(got - right) > 1e-9).argmax()), right.shape)
    return (
        f"With a picture {x.shape}, a kernel {k.shape} and a stride of {stride} the value at "
        f"{tuple(map(int, at))} should be {right[at]:.0f}; yours is {got[at]:.2f}. It is the sum "
        "of products over all input channels and all cells under the kernel."
    )


CONVOLUTION = Function(
    title="a convolution by its definition",
    minutes=20,
    rubric={
        "the sum goes over input channels, rows and columns of the kernel": 2,
        "both axes move by the stride, and the kernel stays inside the picture": 1,
    },
    right=convolve,
    cases=_pictures,
    returns="an array (out_channels, F', T')",
    mistakes={
        "Your kernel is turned round: its last tap meets the first cell. That is what mathematics "
        "calls convolution. Networks learn their kernels, so nobody turns them: the first tap "
        "meets the first cell.": lambda x, k, s: convolve(x, k[:, :, ::-1, ::-1], s),
        "Rows and columns of the kernel are exchanged: its axes are (out, in, height, width), and "
        "height lies along frequency.": (lambda x, k, s: convolve(x, k.swapaxes(2, 3), s)),
        "You pad with zeros and keep the size. Here the kernel stays inside the picture.": (
            lambda x, k, s: convolve(_padded(x, k), k, s),
            lambda x, k, s: convolve(_padded_alike(x, k), k, s),
        ),
        "The last place is missing: a kernel of k rows has F - k + 1 places in a picture of F.": (
            _one_place_less
        ),
        "The stride is missing: the kernel moves by one cell each time.": (
            lambda x, k, s: convolve(x, k, 1)
        ),
        "The stride moves the kernel along one axis only; it holds for both.": (
            lambda x, k, s: convolve(x, k, s, steps=(s, 1)),
            lambda x, k, s: convolve(x, k, s, steps=(1, s)),
        ),
        "You take the mean over the input channels. They are added, as the taps are.": (
            lambda x, k, s: convolve(x, k, s, mixed=lambda terms: terms.mean(axis=1))
        ),
        "Only the first input channel is heard. Every output channel sees all input channels, "
        "each through taps of its own.": (
            lambda x, k, s: convolve(x, k, s, mixed=lambda terms: terms[:, 0])
        ),
        "You use the taps of the first input channel for all of them.": (
            lambda x, k, s: convolve(x, np.broadcast_to(k[:, :1], k.shape), s)
        ),
        "All your output channels come from the first kernel; each has its own.": (
            lambda x, k, s: convolve(x, np.broadcast_to(k[:1], k.shape), s)
        ),
    },
    differs=_first_difference,
    praise="That is all a convolution does. Everything else in this chapter is a way to save work.",
)

# ---- 2: what splitting a convolution saves ------------------------------------------------------


def costs(
    in_channels: int,
    out_channels: int,
    kernel_size: int,
    n_cells: int,
    *,
    depthwise: Callable[[int, int, int], int] = lambda i, o, k: k * k * i,
    pointwise: Callable[[int, int, int], int] = lambda i, o, k: i * o,
    full: Callable[[int, int, int], int] = lambda i, o, k: k * k * i * o,
    work: Callable[[int, int], int] = lambda weights, cells: weights * cells,
) -> tuple[int, int, int, int]:
    """Return weights and multiply-adds: of a convolution, then of a depthwise separable one."""
    given = in_channels, out_channels, kernel_size
    whole, split = full(*given), depthwise(*given) + pointwise(*given)
    return whole, work(whole, n_cells), split, work(split, n_cells)


def _with(**changes: Callable) -> Callable[..., tuple]:
    return lambda *case: costs(*case, **changes)


COSTS = Function(
    title="what splitting a convolution saves",
    minutes=10,
    rubric={
        "a weight for each pair of channels and each cell of the kernel": 1,
        "depthwise: one kernel for each input channel; pointwise: one weight for each pair": 2,
        "each weight is multiplied once for each cell of the output": 1,
    },
    right=costs,
    cases=lambda: [(2, 3, 3, 10), (16, 32, 3, 400), (8, 8, 5, 120), (64, 48, 7, 1000)],
    returns="four whole numbers: weights, multiply-adds, and both again for the separable one",
    mistakes={
        "The pointwise half is missing. A depthwise convolution leaves channels unmixed; one "
        "weight for each pair of channels mixes them.": _with(pointwise=lambda i, o, k: 0),
        "Your depthwise half has a kernel for each pair of channels: that is the ordinary "
        "convolution again. It has one for each *input* channel.": (
            _with(depthwise=lambda i, o, k: k * k * i * o)
        ),
        "Your depthwise half has a kernel for each *output* channel. It filters what comes in: "
        "one for each input channel.": _with(depthwise=lambda i, o, k: k * k * o),
        "Your pointwise half has kernels of the full size. Pointwise means one cell, 1 x 1.": (
            _with(pointwise=lambda i, o, k: k * k * i * o)
        ),
        "Your kernels have k weights. They are square: k rows of k.": _with(
            full=lambda i, o, k: k * i * o, depthwise=lambda i, o, k: k * i
        ),
        "Biases were asked to be left out.": _with(
            full=lambda i, o, k: k * k * i * o + o,
            depthwise=lambda i, o, k: k * k * i + i,
            pointwise=lambda i, o, k: i * o + o,
        ),
        "Weights and work are not the same: a weight is used again at every cell of the output.": (
            _with(work=lambda weights, cells: weights)
        ),
        "You count the multiplication and the addition apart. A multiply-add is one.": (
            _with(work=lambda weights, cells: 2 * weights * cells)
        ),
        "The four are in another order: first weights and multiply-adds of the ordinary "
        "convolution, then both of the separable one.": (
            lambda *case: tuple(costs(*case)[at] for at in (0, 2, 1, 3))
        ),
    },
    differs=(
        "From {0} to {1} channels with kernels of {2} x {2} and {3} cells, number {at[0]} (counted "
        "from 0) should be {right:.0f} and is {got:.6g}."
    ),
    praise="A product became a sum: that is the whole trick.",
)

# ---- 3: what moves along -----------------------------------------------------------------------


def moving(
    n_bins: int,
    kernels: Sequence[int],
    shift: int,
    *,
    reach: Callable[[Sequence[int]], int] = lambda kernels: sum((k - 1) // 2 for k in kernels),
    first: Callable[[int, int], int] = lambda shift, reach: shift + reach,
    count: Callable[[int, int, int], int] = lambda n, shift, reach: n - shift - 2 * reach,
    clipped: bool = True,
) -> tuple[int, int]:
    """Return the lowest bin of the output that moved along, and how many did."""
    r = reach(kernels)
    n = count(n_bins, shift, r)
    return first(shift, r), max(0, n) if clipped else n


def _moves(**changes: Callable) -> Callable[..., tuple]:
    return lambda *case: moving(*case, **changes)


def _both(change: Callable[[int, int], int], lost: Callable[[int, int], int]) -> Callable:
    """Return an answer with another lowest bin and another number of bins lost."""
    return _moves(first=change, count=lambda n, shift, reach: n - lost(shift, reach))


MOVING = Function(
    title="what moves along",
    minutes=15,
    rubric={
        "the reach to each side is the sum of half kernels": 1,
        "below, the bins that came in with the shift are lost as well": 1,
        "above and below, what sees the padding is lost": 1,
    },
    right=moving,
    cases=lambda: [
        (20, (3,), 2),
        (60, (5, 3), 4),
        (84, (7, 5, 3), 12),
        (72, (9, 3, 3, 5), 7),
    ],
    returns="two whole numbers: the lowest bin, and how many bins",
    mistakes={
        "The shift is missing: below, as many bins are new as the picture was moved by.": (
            _both(lambda s, r: r, lambda s, r: 2 * r)
        ),
        "The padding is missing: cells near a border see zeros where the other picture had "
        "sound.": _both(lambda s, r: s, lambda s, r: s),
        "You leave out what sees the padding below only. There is a border above, too.": (
            _both(lambda s, r: s + r, lambda s, r: s + r)
        ),
        "You leave out what sees the padding above only. The lowest bins see what came in below.": (
            _both(lambda s, r: s, lambda s, r: s + r)
        ),
        "You count the shift above as well. What leaves the picture there is only lost: the cells "
        "that remain see the same as before.": (
            _both(lambda s, r: s + r, lambda s, r: 2 * s + 2 * r)
        ),
        "A kernel of k cells reaches (k - 1) / 2 to each side, not k - 1.": (
            _moves(reach=lambda kernels: sum(k - 1 for k in kernels))
        ),
        "A kernel of k cells reaches (k - 1) / 2 to each side, not k.": (_moves(reach=sum)),
        "Only the largest kernel counts with you. Reaches of layers in a row add up.": (
            _moves(reach=lambda kernels: max((k - 1) // 2 for k in kernels)),
        ),
        "Your lowest bin is one too high: bins are counted from 0.": (
            _moves(first=lambda s, r: s + r + 1)
        ),
        "The second number is a number of bins, not the highest of them.": (
            _moves(count=lambda n, s, r: n - r - 1)
        ),
    },
    edges={
        "With {0} bins, kernels {1} and a shift of {2} nothing moves along: 0 bins, not {got}.": (
            (10, (7, 7), 4),
            lambda *case: moving(*case, clipped=False),
        ),
    },
    differs=(
        "With {0} bins, kernels {1} and a shift of {2}, number {at[0]} (0: the lowest bin, 1: how "
        "many) should be {right:.0f} and is {got:.6g}."
    ),
    praise="Inside these borders a network that knows a chord knows it in every key.",
)

EXERCISES: Mapping[str, Exercise] = {
    "convolutions.1": CONVOLUTION,
    "convolutions.2": COSTS,
    "convolutions.3": MOVING,
}
