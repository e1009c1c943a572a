"""The exercises of the chapter on filter shapes for tasks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from dl101.lab.exercise import Exercise, Function
from dl101.signal import mel

# ---- 1: how far a filter reaches -----------------------------------------------------------------


def _extent(
    *,
    top: int = 1,
    bottom: int = 0,
    samples: Callable[[int, int, int], int] = lambda n, hop, window: (n - 1) * hop + window,
    scale: float = 1000.0,
    swapped: bool = False,
    turned: bool = False,
) -> Callable[..., tuple | None]:
    """Return the right function (the defaults) or one that misreads what a filter sees."""

    def extent(
        height: int,
        width: int,
        lowest: int,
        edges_hz: Sequence[float],
        window_samples: int,
        hop_samples: int,
        sample_rate: int,
    ) -> tuple | None:
        m, n = (width, height) if swapped else (height, width)
        if lowest + m + top >= len(edges_hz):
            return None
        low, high = float(edges_hz[lowest + bottom]), float(edges_hz[lowest + m + top])
        duration = samples(n, hop_samples, window_samples) / sample_rate * scale
        return (high, low, duration) if turned else (low, high, duration)

    return extent


def _ms(n_frames: int, window: int, hop: int, rate: int) -> float:
    return 1000 * ((n_frames - 1) * hop + window) / rate


def _filters() -> list[tuple]:
    edges = {n: mel.mel_edges_hz(rate, n_bands=n) for n, rate in ((40, 22050), (96, 16000))}
    return [
        (12, 8, 3, edges[40], 1024, 512, 22050),
        (1, 30, 20, edges[40], 2048, 512, 44100),
        (38, 7, 5, edges[96], 512, 256, 16000),
        (32, 1, 4, edges[40], 1024, 256, 22050),
    ]


EXTENT = Function(
    title="how far a filter reaches, in hertz and milliseconds",
    minutes=10,
    rubric={
        "the lower end of its lowest band, the upper end of its highest": 1,
        "n frames last (n - 1) hops and a window": 1,
        "the duration in milliseconds": 1,
    },
    right=_extent(),
    cases=_filters,
    returns="three numbers: lowest Hz, highest Hz, milliseconds",
    rtol=1e-4,
    atol=1e-4,
    mistakes={
        "The duration counts the hops alone. The first of the frames already lasts a whole window, "
        "and each further one adds a hop.": (
            _extent(samples=lambda n, hop, window: n * hop),
            _extent(samples=lambda n, hop, window: (n - 1) * hop),
        ),
        "One hop too many: n frames have n - 1 hops between them.": (
            _extent(samples=lambda n, hop, window: n * hop + window)
        ),
        "Frames overlap: you laid whole windows one after another.": (
            _extent(samples=lambda n, hop, window: n * window)
        ),
        "That is one frame: each further one adds a hop.": (
            _extent(samples=lambda n, hop, window: window)
        ),
        "Window and hop are exchanged: the first frame lasts a window, each further one adds a "
        "hop.": _extent(samples=lambda n, hop, window: (n - 1) * window + hop),
        "window_samples - hop_samples is what a frame shares with the one before; what it adds is "
        "hop_samples.": _extent(samples=lambda n, hop, window: (n - 1) * (window - hop) + window),
        "The upper end is too low. Band b is a triangle from edge b to edge b + 2, so the highest "
        "band, lowest + height - 1, ends at edge lowest + height + 1.": (
            _extent(top=0),
            _extent(top=-1),
        ),
        "The triangle of band b ends at edge b + 2, but the filter's highest band is lowest + "
        "height - 1, not lowest + height.": _extent(top=2),
        "These are centres of bands. Band b begins at edge b and peaks at edge b + 1; the filter "
        "hears it from its beginning.": (_extent(bottom=1), _extent(bottom=1, top=0)),
        "Bands are counted from 0: the filter's lowest begins at edges_hz[lowest].": (
            _extent(bottom=-1, top=0)
        ),
        "The filter does not begin at band 0: count its bands from lowest on.": (
            lambda m, n, b, e, w, h, r: (float(e[b]), float(e[m + 1]), _ms(n, w, h, r)),
            lambda m, n, b, e, w, h, r: (float(e[0]), float(e[m + 1]), _ms(n, w, h, r)),
        ),
        "That is how wide the range is: the highest frequency itself is asked.": (
            lambda m, n, b, e, w, h, r: (
                float(e[b]),
                float(e[b + m + 1] - e[b]),
                _ms(n, w, h, r),
            )
        ),
        "The three numbers are in another order: lowest Hz, highest Hz, milliseconds.": (
            lambda m, n, b, e, w, h, r: (_ms(n, w, h, r), float(e[b]), float(e[b + m + 1]))
        ),
        "The duration is in seconds; milliseconds are asked.": _extent(scale=1.0),
        "The duration is in samples: divide by the sample rate.": (
            lambda m, n, b, e, w, h, r: (float(e[b]), float(e[b + m + 1]), (n - 1) * h + w)
        ),
        "Height and width are exchanged: the height counts bands, the width frames.": (
            _extent(swapped=True)
        ),
        "Low and high are exchanged: first the lowest frequency.": _extent(turned=True),
    },
    differs="For {0} bands x {1} frames from band {2} on, number {at[0]} (0: lowest Hz, 1: highest "
    "Hz, 2: ms) should be {right:.5g} and is {got:.5g}.",
    praise="Higher up the same filter reaches further in hertz; in milliseconds it never changes.",
)

# ---- 2: parameters by shape ----------------------------------------------------------------------

Shapes = Sequence[tuple[int, int, int]]


def _count(
    *,
    bias: int = 1,
    class_bias: int = 1,
    places: Callable[[int, int], int] = lambda size, filter_size: size - filter_size + 1,
    groups: Callable[[int, int], int] = lambda n, pool: n // pool,
    pooled: bool = True,
    all_is_one: bool = True,
    dense: bool = True,
    shared: bool = True,
    first_only: bool = False,
) -> Callable[..., int]:
    """Return the right function (the defaults) or one that misreads the network."""

    def n_parameters(
        shapes: Shapes, n_bands: int, n_frames: int, pool: tuple[int, int], n_classes: int
    ) -> int:
        weights, features = 0, 0
        for n, height, width in shapes[:1] if first_only else shapes:
            up, along = places(n_bands, height), places(n_frames, width)
            weights += n * (height * width + bias) * (1 if shared else up * along)
            kept = [
                (groups(size, p) if p else (1 if all_is_one else size)) if pooled else size
                for size, p in zip((up, along), pool, strict=True)
            ]
            features += n * kept[0] * kept[1]
        return weights + (features * n_classes + class_bias * n_classes if dense else 0)

    return n_parameters


def _reread(
    shape: Callable[..., tuple[int, int, int]] = lambda *as_given: as_given,
    *,
    pool: slice = slice(None),
    shapes: slice = slice(None),
    added: Callable[[Shapes, int], int] = lambda shapes, n_classes: 0,
) -> Callable[..., int]:
    """Return a function that counts rightly, but shapes or a pool that were misread."""

    def n_parameters(
        given: Shapes, n_bands: int, n_frames: int, given_pool: tuple[int, int], n_classes: int
    ) -> int:
        read = [shape(*each) for each in given[shapes]]
        right = _count()(read, n_bands, n_frames, given_pool[pool], n_classes)
        return right + added(given, n_classes)

    return n_parameters


def _filters_alone(shapes: Shapes) -> int:
    return sum(n * (height * width + 1) for n, height, width in shapes)


def _rounded_once(
    shapes: Shapes, n_bands: int, n_frames: int, pool: tuple[int, int], n_classes: int
) -> int:
    """Divide all places by the size of a rectangle, and round down only then."""
    features = 0
    for n, height, width in shapes:
        up, along = n_bands - height + 1, n_frames - width + 1
        features += n * (up * along // ((pool[0] or up) * (pool[1] or along)))
    return _filters_alone(shapes) + (features + 1) * n_classes


COUNT = Function(
    title="parameters by shape",
    minutes=15,
    rubric={
        "height x width weights and a bias for every filter": 1,
        "places inside the spectrogram, then groups of the maximum": 1,
        "a weight for every feature and class, a bias for every class": 1,
    },
    right=_count(),
    cases=lambda: [
        ([(32, 1, 60)], 40, 80, (0, 1), 8),
        ([(4, 12, 8), (3, 7, 5)], 40, 83, (4, 3), 5),
        ([(5, 1, 6), (2, 1, 31)], 26, 90, (4, 0), 7),
        ([(6, 30, 1), (9, 21, 2)], 40, 50, (3, 0), 11),
    ],
    returns="a whole number",
    mistakes={
        "The filters' biases are missing: one for each filter.": _count(bias=0),
        "The biases of the classes are missing.": _count(class_bias=0),
        "Both kinds of biases are missing: one for each filter, one for each class.": (
            _count(bias=0, class_bias=0)
        ),
        "Filters lie inside the spectrogram: along each axis there are size - filter + 1 places.": (
            _count(places=lambda size, filter_size: size)
        ),
        "One place too few: a filter as long as the axis still has one.": (
            _count(places=lambda size, filter_size: size - filter_size)
        ),
        "The maximum is missing: only one number of each rectangle goes on.": _count(pooled=False),
        "A rectangle that is not full is left out: round down.": (
            _count(groups=lambda n, pool: -(-n // pool))
        ),
        "0 stands for one rectangle over all places, not for no maximum.": _count(all_is_one=False),
        "Only the filters are counted: each feature has a weight for every class, too.": (
            _count(dense=False)
        ),
        "Filters are shared: laying one on many places needs no more weights.": (
            _count(shared=False)
        ),
        "Only the first shape is counted: all stand side by side.": _count(first_only=True),
        "Only the last shape is counted: all stand side by side.": _reread(shapes=slice(-1, None)),
        "A shape is (number of filters, bands, frames): bands and frames are exchanged.": (
            _reread(lambda n, height, width: (n, width, height))
        ),
        "pool is (bands, frames): the two are exchanged.": _reread(pool=slice(None, None, -1)),
        "All shapes share one dense layer: its biases, one for each class, come once.": (
            _reread(added=lambda shapes, n_classes: (len(shapes) - 1) * n_classes)
        ),
        "One bias for each filter, not one for each shape.": (
            _reread(added=lambda shapes, n_classes: sum(1 - n for n, _, _ in shapes))
        ),
        "The filters' own weights and biases are missing.": (
            _reread(added=lambda shapes, n_classes: -_filters_alone(shapes))
        ),
        "A shape stands for a number of filters, its first number: each of them has weights and "
        "a bias, and passes on answers of its own.": (
            _reread(lambda n, height, width: (1, height, width)),
            _reread(
                lambda n, height, width: (1, height, width),
                added=lambda shapes, n_classes: (
                    _filters_alone(shapes) - sum(h * w + 1 for _, h, w in shapes)
                ),
            ),
            _reread(
                added=lambda shapes, n_classes: sum((1 - n) * (h * w + 1) for n, h, w in shapes)
            ),
        ),
        "Round along each axis, and down, before you multiply: a rectangle that is not full along "
        "bands or frames is left out.": (
            _count(groups=lambda n, pool: n / pool),
            _count(groups=lambda n, pool: round(n / pool)),
            _rounded_once,
        ),
        "The rectangles do not overlap: they stand side by side, as in max-pooling.": (
            _count(groups=lambda n, pool: n - pool + 1)
        ),
        "Not always one number a filter goes on: one for each rectangle of pool, and only where "
        "that is 0 the rectangle takes the whole axis.": _count(groups=lambda n, pool: 1),
    },
    crash={
        ZeroDivisionError: (
            "0 in pool is no length to divide by: it stands for one rectangle over all places of "
            "that axis.",
            lambda shapes, n_bands, n_frames, pool, n_classes: n_bands // pool[0],
        )
    },
    differs="For the shapes {0} on {1} bands x {2} frames, maximum over {3}, {4} classes it should "
    "be {right:,.0f} and is {got:,.8g}.",
    praise="The filters are cheap; what they pass on to the dense layer is what costs.",
)

# ---- 3: two networks on the same tracks ----------------------------------------------------------


def _refused_by_torch(first: NDArray, second: NDArray) -> None:
    """Say what torch says of two tensors of truth values; this file does without it."""
    raise RuntimeError("Subtraction with two bool tensors is not supported.")


def _paired(
    *,
    spread: Callable[[NDArray, NDArray], float] = lambda a, b: float(np.std(a - b)),
    root: Callable[[int], float] = lambda n: n**0.5,
    sign: int = 1,
    times: float = 1.0,
    as_count: bool = False,
) -> Callable[..., tuple[float, float]]:
    """Return the right function (the defaults) or one that misreads the comparison."""

    def paired(first: Sequence[bool], second: Sequence[bool]) -> tuple[float, float]:
        a, b = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
        difference = sign * float((a - b).sum() if as_count else (a - b).mean())
        return difference, times * spread(a, b) / root(len(a))

    return paired


def _apart(a: NDArray, b: NDArray) -> float:
    """Return the spread of a difference of two shares that were found on different tracks."""
    return float(np.sqrt(np.var(a) + np.var(b)))


def _unsigned(*, every: bool, mean: bool) -> Callable[..., tuple[float, float]]:
    """Return a function that takes the size of the difference: of every track, or of the mean."""

    def paired(first: Sequence[bool], second: Sequence[bool]) -> tuple[float, float]:
        gained = np.asarray(first, dtype=float) - np.asarray(second, dtype=float)
        gained = np.abs(gained) if every else gained
        difference = float(np.abs(gained.mean()) if mean else gained.mean())
        return difference, float(np.std(gained)) / len(gained) ** 0.5

    return paired


def _se_of_some(a: NDArray, b: NDArray, n: int) -> float:
    """Return the spread that makes a standard error of the number of tracks that differ."""
    return float(np.std(a - b) * (n / np.count_nonzero(a != b)) ** 0.5)


def _only_differing(first: Sequence[bool], second: Sequence[bool]) -> tuple[float, float]:
    some = [(a, b) for a, b in zip(first, second, strict=True) if a != b]
    return _paired()([a for a, _ in some], [b for _, b in some])


def _ends(times: float) -> Callable[..., tuple[float, float]]:
    """Return a function that returns an interval of so many standard errors to each side."""

    def paired(first: Sequence[bool], second: Sequence[bool]) -> tuple[float, float]:
        difference, error = _paired()(first, second)
        return difference - times * error, difference + times * error

    return paired


def _answers() -> list[tuple[list[bool], list[bool]]]:
    rng = np.random.default_rng(20)
    cases = []
    for n, share, agree in ((12, 0.6, 0.7), (31, 0.5, 0.9), (200, 0.4, 0.8)):
        first = rng.random(n) < share
        second = np.where(rng.random(n) < agree, first, rng.random(n) < share / 2)
        cases.append((first.tolist(), second.tolist()))
    return cases


PAIRED = Function(
    title="two networks on the same tracks",
    minutes=12,
    rubric={
        "the difference of the two accuracies": 1,
        "the spread of the differences track by track": 1,
        "divided by the root of the number of tracks": 1,
    },
    right=_paired(),
    cases=_answers,
    returns="two numbers, the difference and its standard error",
    rtol=1e-4,
    atol=1e-6,
    mistakes={
        "You treated them as two networks tried on different tracks. They heard the same ones: "
        "take the difference track by track first, then its spread.": (
            _paired(spread=_apart),
            _paired(spread=lambda a, b: float(np.std(a) + np.std(b))),
        ),
        "That is the spread of single tracks. The mean of many is steadier: divide by the root of "
        "their number.": _paired(root=lambda n: 1.0),
        "Divide by the root of the number of tracks, not by the number.": (
            _paired(root=lambda n: n)
        ),
        "That is a variance: the standard error is its root.": (
            _paired(spread=lambda a, b: float(np.var(a - b)), root=lambda n: n),
            _paired(spread=lambda a, b: float(np.var(a - b))),
            _paired(spread=lambda a, b: float(np.var(a - b)), root=lambda n: 1.0),
        ),
        "The standard error is that of one network alone, not of the difference.": (
            _paired(spread=lambda a, b: float(np.std(a))),
            _paired(spread=lambda a, b: float(np.std(b))),
        ),
        "You divided the squares by the number of tracks less one (ddof=1; torch does it unless "
        "told not to). Here it is their number.": (
            _paired(spread=lambda a, b: float(np.std(a - b, ddof=1)))
        ),
        "The spread is around the mean: from the mean square, take the square of the mean.": (
            _paired(spread=lambda a, b: float(np.sqrt(np.mean((a - b) ** 2))))
        ),
        "The signs are lost: a track that only the second finds counts -1, not 1.": (
            _unsigned(every=False, mean=True),
            _paired(spread=lambda a, b: float(np.std(np.abs(a - b)))),
            _unsigned(every=True, mean=False),
        ),
        "All tracks count. Where both find, or both miss, the difference is 0, and it stays in "
        "the mean and in the number.": (
            _paired(spread=lambda a, b: _se_of_some(a, b, len(a))),
            _only_differing,
        ),
        "The two are exchanged: first the difference, then its standard error.": (
            lambda first, second: _paired()(first, second)[::-1]
        ),
        "These are the ends of an interval. Asked are the difference and one standard error.": (
            _ends(1.0),
            _ends(1.96),
        ),
        "These are percent; shares between 0 and 1 are asked.": (
            lambda first, second: tuple(100 * x for x in _paired()(first, second))
        ),
        "The sign is turned: first minus second.": _paired(sign=-1),
        "That is the number of tracks by which they differ; divide by how many there are.": (
            _paired(as_count=True)
        ),
        "You gave 1.96 standard errors, half an interval; one is asked.": _paired(times=1.96),
    },
    crash={
        TypeError: (
            "Neither lists nor truth values can be subtracted: make numbers of them first, as in "
            "np.asarray(first, dtype=float), or go through them track by track.",
            lambda first, second: np.asarray(first) - np.asarray(second),
        ),
        RuntimeError: (
            "torch does not subtract truth values: make numbers of them first, as in "
            "torch.tensor(first).double().",
            _refused_by_torch,
        ),
    },
    differs="In a hidden case of tracks found or not, number {at[0]} (0 is the difference, 1 its "
    "standard error) should be {right:.4f} and is {got:.4f}.",
    praise="Tracks that both find, or both miss, say nothing about which is better.",
)

EXERCISES: Mapping[str, Exercise] = {
    "filter_shapes.1": EXTENT,
    "filter_shapes.2": COUNT,
    "filter_shapes.3": PAIRED,
}
