"""The exercises of the chapter on U-Nets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from dl101.lab.exercise import Exercise, Function

# ---- 1: spread and add ---------------------------------------------------------------------------


def spread(
    x: NDArray,
    weight: NDArray,
    stride: int,
    *,
    added: bool = True,
    length: Callable[[int, int, int], int] = lambda n, k, s: (n - 1) * s + k,
) -> NDArray:
    """Return (out, length), of x (in, n) and weight (in, out, k)."""
    n, k = x.shape[1], weight.shape[2]
    y = np.zeros((weight.shape[1], (n - 1) * stride + k))
    for i in range(n):
        laid = np.einsum("c,cok->ok", x[:, i], weight)
        place = slice(i * stride, i * stride + k)
        y[:, place] = y[:, place] + laid if added else laid
    wanted = length(n, k, stride)
    return np.pad(y, [(0, 0), (0, max(0, wanted - y.shape[1]))])[:, :wanted]


def _spreads() -> list[tuple[NDArray, NDArray, int]]:
    rng = np.random.default_rng([180, 4])
    sizes = [(1, 3, 1, 3, 2), (2, 5, 2, 4, 2), (3, 6, 2, 5, 3), (2, 7, 4, 3, 2)]  # in n out k s
    return [
        (rng.integers(-3, 4, (c, n)) * 1.0, rng.integers(-3, 4, (c, o, k)) * 1.0, s)
        for c, n, o, k, s in sizes
    ]


def _spread_differs(got: NDArray, right: NDArray, x: NDArray, w: NDArray, stride: int) -> str:
    at = np.unravel_index(int((np.abs(got - right) > 1e-9).argmax()), right.shape)
    return (
        f"With x {x.shape}, weights {w.shape} and a stride of {stride} the value at "
        f"{tuple(map(int, at))} should be {right[at]:.0f}; yours is {got[at]:.2f}. Lay the weights "
        "down once for each number of x, and add what overlaps."
    )


SPREAD = Function(
    title="spread and add",
    minutes=15,
    rubric={
        "each number lays its weights down, a stride further than the one before": 2,
        "what overlaps is added, and so are the input channels": 1,
    },
    right=spread,
    cases=_spreads,
    returns="an array (out, (n - 1) * stride + k)",
    mistakes={
        "Where two copies overlap, the later one wins with you. They are added.": (
            lambda x, w, s: spread(x, w, s, added=False)
        ),
        "Your weights are turned round. The first of them goes to the first place.": (
            lambda x, w, s: spread(x, w[..., ::-1], s)
        ),
        "Your result is n * stride long. The last number has all its weights, too: "
        "(n - 1) * stride + k.": (
            lambda x, w, s: spread(x, w, s, length=lambda n, k, stride: n * stride)
        ),
        "The stride is missing: copies lie one step apart.": lambda x, w, s: spread(x, w, 1),
        "You take the mean over the input channels. They are added.": (
            lambda x, w, s: spread(x, w, s) / len(x)
        ),
        "Only the first input channel is spread.": lambda x, w, s: spread(x[:1], w[:1], s),
        "The axes of the weights are exchanged: a transposed convolution has (in, out, k) in "
        "PyTorch, where a convolution has (out, in, k).": (
            lambda x, w, s: spread(x, w.swapaxes(0, 1), s) if w.shape[0] == w.shape[1] else None
        ),
        "This is a convolution: it gathers, and its result is shorter than the input.": (
            lambda x, w, s: np.einsum(
                "ctk,cok->ot",
                np.lib.stride_tricks.sliding_window_view(
                    np.pad(x, [(0, 0), (0, max(0, w.shape[2] - x.shape[1]))]), w.shape[2], axis=1
                )[:, ::s],
                w,
            )
        ),
    },
    differs=_spread_differs,
    praise="A convolution gathers, this one spreads; as matrices they are each other's transpose.",
)

# ---- 2: sizes that fit ---------------------------------------------------------------------------


def padding(
    n_frames: int,
    levels: int,
    *,
    step: Callable[[int], int] = lambda levels: 2**levels,
    added: Callable[[int, int], int] = lambda n, step: -n % step,
    bottom: Callable[[int, int, int], int] = lambda n, added, step: (n + added) // step,
) -> tuple[int, int]:
    """Return zeros to add, and frames at the bottom."""
    s = step(levels)
    more = added(n_frames, s)
    return more, bottom(n_frames, more, s)


def _pads(**changes: Callable) -> Callable[..., tuple]:
    return lambda *case: padding(*case, **changes)


PADDING = Function(
    title="sizes that fit",
    minutes=10,
    rubric={
        "the length must be a multiple of 2 to the power of the levels": 1,
        "as few zeros as possible, none where it fits": 1,
        "the bottom is that of the lengthened picture": 1,
    },
    right=padding,
    cases=lambda: [(21, 2), (64, 3), (100, 4), (333, 5), (257, 3)],
    returns="two whole numbers: zeros to add, and frames at the bottom",
    mistakes={
        "Where the length fits already, you add a whole period. No zeros are needed then.": (
            _pads(added=lambda n, s: s - n % s)
        ),
        "You lengthen to the next power of two. A multiple of 2 to the power of the levels is "
        "enough, and mostly much nearer.": _pads(
            added=lambda n, s: 2 ** int(np.ceil(np.log2(n))) - n
        ),
        "You take a multiple of 2 times the levels. Each halving asks for another factor of 2.": (
            _pads(step=lambda levels: 2 * levels)
        ),
        "You count one halving too few: the size before the last halving must be even, too.": (
            _pads(step=lambda levels: 2 ** (levels - 1))
        ),
        "You make the length even and no more. After the first halving it may be odd.": (
            _pads(added=lambda n, s: n % 2)
        ),
        "You return what is left over. So much would have to be cut off; asked is what is missing "
        "to the next multiple.": _pads(added=lambda n, s: n % s),
        "The bottom is that of the picture before it was lengthened.": (
            _pads(bottom=lambda n, added, s: n // s)
        ),
        "The first number is the length after padding. Asked is how many zeros are added.": (
            lambda n, levels: (n + padding(n, levels)[0], padding(n, levels)[1])
        ),
        "The two numbers are in the other order: first the zeros, then the bottom.": (
            lambda n, levels: padding(n, levels)[::-1]
        ),
        "The second number is the length after padding. Asked is how many frames are left at the "
        "bottom.": _pads(bottom=lambda n, added, s: n + added),
    },
    differs=(
        "With {0} frames and {1} levels, number {at[0]} (0: zeros, 1: frames at the bottom) should "
        "be {right:.0f} and is {got:.6g}."
    ),
    praise="Pad, run, cut: any length goes through.",
)

# ---- 3: channels beside each other --------------------------------------------------------------


def channels_in(widths: Sequence[int]) -> list[int]:
    """Return the channels that go into each step of the way up, the lowest first."""
    return [widths[-1], *(2 * width for width in widths[-2::-1])]


CHANNELS = Function(
    title="channels beside each other",
    minutes=10,
    rubric={
        "the lowest step is given the bottom alone": 1,
        "every other step is given a bridge and as many channels from below": 2,
    },
    right=lambda widths: np.array(channels_in(widths)),
    cases=lambda: [([8, 16],), ([4, 8, 16],), ([16, 32, 64, 128],), ([5, 9, 12, 20, 31],)],
    returns="a list of whole numbers, one for each level",
    mistakes={
        "You add the bridges to what comes up. They are put beside it, so channels are counted "
        "twice.": lambda widths: np.array(widths[::-1]),
        "You put a bridge beside the bottom, too. The lowest step has nothing but what comes from "
        "the bottom.": lambda widths: np.array([2 * w for w in widths[::-1]]),
        "You put the bridge beside the channels of the level *below*. The step from there has "
        "already brought them to the number of the bridge.": (
            lambda widths: np.array(
                [widths[-1]] + [a + b for a, b in zip(widths[-2::-1], widths[:0:-1], strict=True)]
            )
        ),
        "The order is turned round: the lowest step comes first.": (
            lambda widths: np.array(channels_in(widths)[::-1])
        ),
        "The last step is missing: the one to full size has a bridge's level below it, and so one "
        "more convolution.": lambda widths: np.array(channels_in(widths)[:-1]),
        "You count what comes *out* of each step: the channels of the bridge, once.": (
            lambda widths: np.array([*widths[-2::-1], 1])
        ),
        "These are the channels of the bridges beside, without what comes up.": (
            lambda widths: np.array([0, *widths[-2::-1]])
        ),
    },
    differs="With widths {0}, number {at[0]} (from 0) should be {right:.0f} and is {got:.6g}.",
    praise="That is where a U-Net's wide convolutions come from.",
)

EXERCISES: Mapping[str, Exercise] = {
    "unet.1": SPREAD,
    "unet.2": PADDING,
    "unet.3": CHANNELS,
}
