"""The exercises of the chapter on learning at scale.

One file because every hint stands beside the wrong answer that gets it, in the order of the page.
"""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dl101.lab.exercise import Code, Exercise, Function, NotAccepted, distance

# ---- 1: count by shape ---------------------------------------------------------------------------

Pairs = Iterable[tuple[int, int]]


def _all_stages(widths: Sequence[int]) -> Pairs:
    return itertools.pairwise((1, *widths))


def _count(
    *,
    weights: Callable[[int, int, int], int] = lambda before, after, kernel: kernel * before * after,
    biases: Callable[[int, int], int] = lambda before, after: after,
    norm: Callable[[int], int] = lambda after: 2 * after,
    stages: Callable[[Sequence[int]], Pairs] = _all_stages,
    also: Callable[[Sequence[int], int], int] = lambda widths, kernel: 0,
    seen: Callable[[int], int] = lambda kernel: kernel,
) -> Callable[..., int]:
    """Return the right function (the defaults) or one that misunderstands a part."""

    def answer(widths: Sequence[int], kernel: int = 3) -> int:
        found = also(widths, kernel)
        for before, after in stages(widths):
            found += weights(before, after, seen(kernel)) + biases(before, after) + norm(after)
        return found

    return answer


def _work(widths: Sequence[int], kernel: int = 3) -> int:
    """Count each weight as often as it is used for one frame of the output."""
    used = [kernel**i for i in reversed(range(len(widths)))]
    pairs = zip(used, _all_stages(widths), strict=True)
    return sum(times * (kernel * before + 3) * after for times, (before, after) in pairs)


LENGTH = (
    "That is too much. Is the length of the signal in it, or the number of frames? A filter has "
    "the same weights wherever it stands, so its parameters are counted once."
)


def _stacks() -> list[tuple]:
    return [
        ((64, 64, 64, 128, 128, 128, 256), 3),
        ((5, 7, 2), 4),
        ((16, 16, 16, 32, 32, 32, 64),),  # with the kernel that the stub has
        ((12,), 5),
        ((8, 20), 2),
    ]


COUNT = Function(
    title="count by shape",
    minutes=15,
    rubric={
        "each convolution: kernel times channels before times channels after, and a bias": 1,
        "batch normalisation: a scale and a shift for each channel, nothing else": 1,
        "all stages, the stem with one channel before it; nothing for ReLU, pooling or length": 1,
    },
    right=_count(),
    cases=_stacks,
    returns="one whole number",
    mistakes={
        "Beside its weights, each channel has two numbers in your count. It has three: the bias of "
        "the convolution, and the scale and the shift of the batch normalisation.": (
            _count(biases=lambda before, after: 0)
        ),
        "Batch normalisation is missing: it trains a scale and a shift for each channel.": (
            _count(norm=lambda after: 0)
        ),
        "These are the weights of the convolutions alone. Their biases are trained too, and so are "
        "the scale and the shift of the batch normalisation.": _count(
            biases=lambda before, after: 0, norm=lambda after: 0
        ),
        "You count two numbers for each batch normalisation, whatever its width. Each channel has "
        "its own two.": _count(norm=lambda after: 2),
        "The running mean and variance are in your count. They are measured, not trained: no slope "
        "ever changes them.": (
            _count(norm=lambda after: 4 * after),
            _count(norm=lambda after: 4 * after + 1),  # all that torch stores of a network
            _count(norm=lambda after: 4 * after, biases=lambda before, after: 0),
        ),
        "You square the kernel, as for images. A filter on a waveform has one axis of time, and "
        "kernel weights for each channel before it.": _count(
            weights=lambda before, after, kernel: kernel**2 * before * after
        ),
        "The kernel is missing: a filter has that many weights for each channel before it.": _count(
            weights=lambda before, after, kernel: before * after
        ),
        "Your kernel is always 3, whatever the second argument says.": _count(seen=lambda _: 3),
        "Each of your filters looks at one channel. A filter looks at all channels before it, with "
        "weights of its own for each.": _count(
            weights=lambda before, after, kernel: kernel * after
        ),
        "Your filters have a bias for each channel that they look at. One filter has one bias.": (
            _count(biases=lambda before, after: before * after)
        ),
        "Biases and batch normalisation belong to the channels that come out of a convolution. You "
        "count them for those that go in.": (
            _count(biases=lambda before, after: before),
            _count(biases=lambda before, after: after + 2 * before, norm=lambda after: 0),
            _count(biases=lambda before, after: 3 * before, norm=lambda after: 0),
        ),
        "Your stem takes in as many channels as it puts out. A waveform has one channel.": _count(
            stages=lambda widths: itertools.pairwise((widths[0], *widths))
        ),
        "Before your stem stand the channels of the last stage: widths[-1] is the end of the list. "
        "A waveform has one channel.": _count(
            stages=lambda widths: zip((widths[-1], *widths[:-1]), widths, strict=True)
        ),
        "Each of your stages takes in as many channels as it puts out. It takes in those of the "
        "stage before it, the stem one.": _count(
            stages=lambda widths: zip(widths, widths, strict=True)
        ),
        "The stem is missing: the convolution from the waveform, one channel, to the first.": (
            _count(stages=itertools.pairwise)
        ),
        "The last stage is missing.": _count(
            stages=lambda widths: itertools.pairwise((1, *widths[:-1]))
        ),
        "Your stem has no batch normalisation. It has one, as each block has.": _count(
            also=lambda widths, kernel: -2 * widths[0]
        ),
        "You count weights for the pooling. It takes the largest of its values and has none.": (
            _count(also=lambda widths, kernel: kernel * len(widths)),
            _count(also=lambda widths, kernel: kernel * (len(widths) - 1)),
            _count(also=lambda widths, kernel: kernel * sum(widths)),
            _count(also=lambda widths, kernel: kernel * sum(widths[1:])),
        ),
        LENGTH: (
            lambda widths, kernel=3: kernel ** len(widths) * _count()(widths, kernel),
            _work,
        ),
    },
    symptoms={
        LENGTH: (
            lambda got, right, *_: got > 30 * right,
            lambda widths, kernel=3: 59049 * _count()(widths, kernel),
        ),
    },
    differs=lambda got, right, widths, kernel=3: (
        f"With widths {widths} and a kernel of {kernel} there are {right:,.0f} parameters; yours "
        f"are {got:,.8g}. Go through it stage by stage, with pen and paper."
    ),
    rtol=0.0,
    atol=0.5,
    praise="No length is in it: the same filters serve three seconds and three minutes.",
)

# ---- 2: statistics of a corpus larger than memory ------------------------------------------------


@dataclass(frozen=True)
class _Both:
    """What is known, the new block, and what follows from them."""

    n: int
    mean: NDArray
    variance: NDArray
    block: NDArray

    @property
    def m(self) -> int:
        return len(self.block)

    @property
    def total(self) -> int:
        return self.n + self.m

    @property
    def block_mean(self) -> NDArray:
        return self.block.mean(axis=0)

    @property
    def step(self) -> NDArray:
        return self.block_mean - self.mean

    @property
    def new_mean(self) -> NDArray:
        return self.mean + self.step * self.m / self.total

    @property
    def within(self) -> NDArray:
        """Squares around the two means."""
        return self.n * self.variance + self.block_squares

    @property
    def squares(self) -> NDArray:
        return self.within + self.step**2 * self.n * self.m / self.total

    @property
    def block_squares(self) -> NDArray:
        return self.around(self.block_mean)

    @property
    def unbiased(self) -> NDArray:
        """As ``block_squares``, from a variance with ddof=1; NaN for a block of one."""
        return self.block_squares * np.divide(self.m, self.m - 1)

    def around(self, centre: NDArray) -> NDArray:
        return ((self.block - centre) ** 2).sum(axis=0)


Part = Callable[[_Both], Any]


def _merge(
    *,
    count: Part = lambda k: k.total,
    mean: Part = lambda k: k.new_mean,
    variance: Part = lambda k: k.squares / k.total,
) -> Callable[..., tuple]:
    def answer(n: int, mean_: NDArray, variance_: NDArray, block: NDArray) -> tuple:
        known = _Both(n, mean_, variance_, block)
        return count(known), mean(known), variance(known)

    return answer


def _from_squares(n: int, mean: NDArray, variance: NDArray, block: NDArray) -> tuple:
    """Take the squared mean from the mean of squares."""
    total = n + len(block)
    new = (n * mean + block.sum(axis=0)) / total
    return total, new, (n * (variance + mean**2) + (block**2).sum(axis=0)) / total - new**2


def _in_place(n: int, mean: NDArray, variance: NDArray, block: NDArray) -> tuple:
    new = _merge()(n, mean, variance, block)
    mean[:], variance[:] = new[1:]
    return new[0], mean, variance


def _blocks() -> list[tuple]:
    rng = np.random.default_rng([21, 1])
    cases: list[tuple] = []
    for n, m, bands in ((6, 4, 3), (40, 7, 2), (3, 9, 4), (5, 1, 3), (1, 5, 2)):
        seen = rng.normal(3, 2, (n, bands)) * (1 + np.arange(bands))
        block = rng.normal(-1, 1.5, (m, bands)) + np.arange(bands)
        cases.append((n, seen.mean(axis=0), seen.var(axis=0), block))
    return cases


def _far_away() -> tuple:
    rng = np.random.default_rng([21, 2])
    seen, block = 1e8 + rng.standard_normal((30, 3)), 1e8 + rng.standard_normal((20, 3))
    return len(seen), seen.mean(axis=0), seen.var(axis=0), block


def _differing(
    got: tuple, right: tuple, n: int, mean: NDArray, variance: NDArray, block: NDArray
) -> str:
    parts = zip(("count", "mean", "variance"), got, right, strict=True)
    name, a, b = next(part for part in parts if distance(*part[1:], rtol=1e-5, atol=1e-9) > 1)
    return (
        f"After {n} items with the means {mean.round(2)} and the variances {variance.round(2)}, "
        f"and a block of {len(block)} more with the means {block.mean(axis=0).round(2)}, the "
        f"{name} should be {np.round(b, 3)}; yours is {np.round(a, 3)}."
    )


NOTHING_YET = (
    "At the start n is 0 and nothing is known: the result is then the block's own count, mean and "
    "variance. Where you divide by n there is no number."
)
CHANGED = (
    "The numbers are right, but you changed the arrays that you were given (+= does that). Whoever "
    "still needs the old statistics has lost them: make new arrays."
)


class _Merging(Function):
    """A function that has to leave its arguments as they are."""

    def grade(self, answer: object) -> str:
        """Return the praise of a right answer that changed nothing."""
        praise = super().grade(answer)
        for case in self.cases():
            given = copy.deepcopy(case)
            self._ask(answer, *given, copies=False)
            if not all(map(np.array_equal, given, case)):
                raise NotAccepted(CHANGED)
        return praise

    def examples(self) -> Iterator[tuple[str, Code]]:
        """Yield every hint with an answer that gets it."""
        yield from super().examples()
        yield CHANGED, _in_place


MERGE = _Merging(
    title="statistics of a corpus larger than memory",
    minutes=25,
    rubric={
        "the counts add up, and each mean counts as often as it has items": 1,
        "the variance holds both spreads and the distance between the two means": 1,
        "a start with n = 0 works; nothing that was given is changed": 1,
        "digits survive where values are large and differ little": 1,
    },
    right=_merge(),
    cases=_blocks,
    returns="a tuple: n, one whole number, and the mean and the variance, arrays (bands,)",
    mistakes={
        "Your n is that of the block alone. Both counts add up.": _merge(count=lambda k: k.m),
        "Your n is still the old one. The items of the block are new.": _merge(count=lambda k: k.n),
        "Your n grows by one. It counts items, and a block has many: len(block).": _merge(
            count=lambda k: k.n + 1
        ),
        "Your n counts every number of the block. An item has one value in each band, and counts "
        "once.": _merge(count=lambda k: k.n + k.block.size),
        "This is a mean of two means. If the block is short, its mean must count for less: each "
        "mean counts as often as it has items.": _merge(
            mean=lambda k: (k.mean + k.block_mean) / 2,
        ),
        "These are the block's statistics alone: what came before is forgotten.": _merge(
            mean=lambda k: k.block_mean
        ),
        "Your mean is still the old one. The block moves it.": _merge(mean=lambda k: k.mean),
        "Your block counts once. Its mean must count as often as it has items.": _merge(
            mean=lambda k: (k.n * k.mean + k.block_mean) / (k.n + 1)
        ),
        "The weights of your two means are exchanged: the old mean counts n times, that of the "
        "block as often as the block has items.": _merge(
            mean=lambda k: (k.m * k.mean + k.n * k.block_mean) / k.total
        ),
        "Your mean is a sum: divide by the number of all items.": _merge(
            mean=lambda k: k.new_mean * k.total
        ),
        "You have one number for all bands of the block. Each band has its own mean and variance: "
        "average over the items, axis=0.": (
            _merge(
                mean=lambda k: (k.n * k.mean + k.block.sum() / k.block.shape[1]) / k.total,
            ),
            _merge(
                variance=lambda k: (
                    (k.n * k.variance + k.m * k.block.var() + k.step**2 * k.n * k.m / k.total)
                    / k.total
                )
            ),
            _merge(mean=lambda k: k.new_mean.mean(), variance=lambda k: k.squares.mean()),
        ),
        "Mean and variance have changed places: return n, mean, variance.": _merge(
            mean=lambda k: k.squares / k.total, variance=lambda k: k.new_mean
        ),
        "You average the two variances. Items also differ because the two means do: the distance "
        "between them is missing.": _merge(variance=lambda k: k.within / k.total),
        "You average the two variances as if both had as many items, and the distance between the "
        "two means is missing.": _merge(variance=lambda k: (k.variance + k.block.var(axis=0)) / 2),
        "You give both variances one weight, whatever the counts: each counts as often as it has "
        "items.": (
            _merge(variance=lambda k: (k.variance + k.block.var(axis=0)) / 2 + k.step**2 / 4),
            _merge(
                variance=lambda k: (
                    (k.variance + k.block.var(axis=0)) / 2 + (k.squares - k.within) / k.total
                )
            ),
        ),
        "You add up two variances. They must be averaged, each as often as it has items, and the "
        "distance between the two means comes on top.": (
            _merge(variance=lambda k: k.variance + k.block.var(axis=0)),
            _merge(
                variance=lambda k: (
                    k.variance + k.block.var(axis=0) + (k.squares - k.within) / k.total
                )
            ),
        ),
        "The distance between the two means counts in full. Its share is small if one of the two "
        "sides has few items: n * m / (n + m)**2, with m items in the block.": _merge(
            variance=lambda k: k.within / k.total + k.step**2
        ),
        "The distance between the two means enters too often: n * m / (n + m) belongs to the sum "
        "of squares, which is still to be divided by n + m.": _merge(
            variance=lambda k: k.within / k.total + k.step**2 * k.n * k.m / k.total
        ),
        "The distance between the two means must be squared.": (
            _merge(variance=lambda k: (k.within + k.step * k.n * k.m / k.total) / k.total),
            _merge(variance=lambda k: (k.within + np.abs(k.step) * k.n * k.m / k.total) / k.total),
        ),
        "Your step leads from the new mean to the block's. With n * m / (n + m) it must lead from "
        "the old mean; keep the old one until the variance is done.": _merge(
            variance=lambda k: (
                (k.within + (k.block_mean - k.new_mean) ** 2 * k.n * k.m / k.total) / k.total
            )
        ),
        "The block spreads around the new mean, but what came before still around the old one. "
        "Its distance from the new mean is missing.": _merge(
            variance=lambda k: (k.n * k.variance + k.around(k.new_mean)) / k.total
        ),
        "You count the spread of the block around the old mean, which is no longer the mean.": (
            _merge(variance=lambda k: (k.n * k.variance + k.around(k.mean)) / k.total)
        ),
        "You divide by one less than the number of items (ddof=1). Asked is the variance of what "
        "was seen, as np.var gives it.": (
            _merge(variance=lambda k: k.squares / (k.total - 1)),
            _merge(variance=lambda k: (k.squares + k.unbiased - k.block_squares) / k.total),
            _merge(variance=lambda k: (k.squares - k.variance) / (k.total - 1)),
            _merge(
                variance=lambda k: (
                    (k.squares - k.variance - k.block_squares + k.unbiased * (1 - 1 / k.m))
                    / (k.total - 1)
                )
            ),
            _merge(
                variance=lambda k: (k.squares - k.variance - k.block_squares / k.m) / (k.total - 1)
            ),
        ),
        "This is the standard deviation. Asked is its square, the variance.": _merge(
            variance=lambda k: np.sqrt(k.squares / k.total)
        ),
        "This is a sum of squares: divide by the number of all items.": _merge(
            variance=lambda k: k.squares
        ),
        "Your variance is still the old one.": _merge(variance=lambda k: k.variance),
        "Your mean is right, but the variance is that of the block alone.": _merge(
            variance=lambda k: k.block.var(axis=0)
        ),
        "This is the mean of the squares; the square of the mean has to go from it.": _merge(
            variance=lambda k: k.squares / k.total + k.new_mean**2
        ),
        "You add squares of the block to the old variance. A variance is counted from its mean, "
        "squares from zero: the two don't go together.": _merge(
            variance=lambda k: (
                (k.n * k.variance + k.around(np.zeros_like(k.mean))) / k.total - k.new_mean**2
            )
        ),
    },
    edges={
        NOTHING_YET: (
            (0, np.zeros(2), np.zeros(2), np.array([[1.0, -2.0], [3.0, 0.5], [4.0, 2.0]])),
            _merge(variance=lambda k: k.squares / k.n * (k.n / k.total)),
        ),
        "Here values near 100 million differ by about 1: more digits than float32 has. A mean of "
        "squares less a squared mean loses them in float64 too: both are huge and nearly equal, "
        "and their digits cancel. Add up deviations from a mean instead.": (
            _far_away(),
            _from_squares,
        ),
    },
    crash={
        ZeroDivisionError: (NOTHING_YET, _merge(count=lambda k: k.n * (1 + k.m / k.n))),
        ValueError: (
            "If shapes don't fit: the block is (items, bands), and a mean over its items, axis=0, "
            "is (bands,) like the old one.",
            lambda n, mean, variance, block: (n, mean + block.mean(axis=1), variance),
        ),
    },
    differs=_differing,
    rtol=1e-5,
    apart=True,
    praise="Count, mean and variance are enough: a block that was read can be forgotten.",
)

# ---- 3: where do the lines cross? ----------------------------------------------------------------

Line = tuple[float, float]


def _least_squares(x: NDArray, y: NDArray) -> Line:
    slope, level = np.polyfit(x, y, 1)
    return slope, level


def _through(i: int, j: int) -> Callable[[NDArray, NDArray], Line]:
    """Return a fit that looks at two points alone."""

    def fit(x: NDArray, y: NDArray) -> Line:
        slope = (y[j] - y[i]) / (x[j] - x[i])
        return slope, y[i] - slope * x[i]

    return fit


def _meet(first: Line, second: Line) -> float:
    return (first[1] - second[1]) / (second[0] - first[0])


def _cross(
    *,
    axis: Callable[[NDArray], NDArray] = np.log,
    undo: Callable[[float], float] = np.exp,
    scored: Callable[[NDArray], NDArray] = lambda score: score,
    fit: Callable[[NDArray, NDArray], Line] = _least_squares,
    meet: Callable[[Line, Line], float] = _meet,
    never: Callable[[Line, Line], bool] = lambda first, second: second[0] <= first[0],
    finish: Callable[[float, NDArray], float] = lambda size, n: size,
) -> Callable[..., float]:
    def answer(n: NDArray, first: NDArray, second: NDArray) -> float:
        x = axis(np.asarray(n, dtype=float))
        lines = fit(x, scored(first)), fit(x, scored(second))
        return np.inf if never(*lines) else finish(float(undo(meet(*lines))), n)

    return answer


def _hasty(**parts: Any) -> tuple[Code, Code]:
    """Return a mistake with and without a look at the slopes."""
    return _cross(**parts), _cross(never=lambda first, second: False, **parts)


def _measured_ahead(n: NDArray, first: NDArray, second: NDArray) -> float:
    ahead = n[second >= first]
    return float(ahead[0]) if len(ahead) else np.inf


def _interpolated(n: NDArray, first: NDArray, second: NDArray) -> float:
    """Follow the measured scores from point to point."""
    behind = first - second
    for i in range(len(n) - 1):
        if behind[i] > 0 >= behind[i + 1]:
            share = behind[i] / (behind[i] - behind[i + 1])
            return float(n[i] * (n[i + 1] / n[i]) ** share)
    return np.inf


def _standing(which: Callable[[NDArray, NDArray], float]) -> Callable[..., float]:
    """Ask when the second reaches one score of the first."""

    def answer(n: NDArray, first: NDArray, second: NDArray) -> float:
        slope, level = _least_squares(np.log(n), second)
        return float(np.exp((which(n, first) - level) / slope))

    return answer


def _score_there(n: NDArray, first: NDArray, second: NDArray) -> float:
    slope, level = _least_squares(np.log(n), first)
    return level + slope * float(np.log(_cross()(n, first, second)))


def _parallel(first: NDArray, second: NDArray) -> bool:
    return bool(np.ptp(first - second) == 0)


def _nan_if_parallel(n: NDArray, first: NDArray, second: NDArray) -> float:
    return np.nan if _parallel(first, second) else _cross()(n, first, second)


def _learning_curves() -> list[tuple]:
    rng = np.random.default_rng([21, 3])
    cases: list[tuple] = []
    for sizes, lines in (
        ((100, 1000, 10000), ((0.04, 0.12), (0.055, -0.05))),  # beyond
        ((100, 250, 1000, 3000, 30000), ((0.03, 0.2), (0.07, -0.1))),  # inside
        ((200, 1000, 6000, 10000), ((0.06, 0.1), (0.045, 0.12))),  # long ago
        ((1000, 8000), ((0.02, 0.3), (0.06, -0.1))),  # beyond, from two points
        ((50, 400, 500, 2000, 20000, 80000), ((0.025, 0.25), (0.05, -0.06))),  # beyond
        ((300, 1200, 9000), ((0.05, 0.2), (0.025, 0.3))),  # long ago
    ):
        x = np.log(sizes)
        scores = [slope * x + level + rng.normal(0, 0.008, len(x)) for slope, level in lines]
        cases.append((np.array(sizes), *scores))
    return cases


CROSS = Function(
    title="where do the lines cross?",
    minutes=20,
    rubric={
        "a line of least squares over the logarithm of the size, for each system": 1,
        "the size where they meet, not its logarithm, also beyond what was measured": 1,
        "infinite where the second's line is not steeper": 1,
    },
    right=_cross(),
    cases=_learning_curves,
    returns="one number, a size of the training data or np.inf",
    mistakes={
        "Your lines are straight over n. Over the logarithm of n, ten times the data are always "
        "one step of the same length.": _hasty(axis=lambda n: n, undo=lambda x: x),
        "This is the logarithm of the size. Asked is the size: undo the logarithm.": (
            *_hasty(undo=lambda x: x),
            *_hasty(axis=np.log10, undo=lambda x: x),
            *_hasty(axis=np.log2, undo=lambda x: x),
        ),
        "You take one logarithm and undo another: exp belongs to np.log, and a power of ten to "
        "np.log10.": (
            *_hasty(undo=lambda x: 10.0**x),
            *_hasty(axis=np.log10),
            *_hasty(axis=np.log2),
            *_hasty(undo=lambda x: 2.0**x),
        ),
        "Where the second's line is the flatter one, the lines met long ago, at a smaller size "
        "than the smallest. With more data it never catches up: return np.inf.": (
            _cross(never=lambda first, second: False)
        ),
        "Your lines go through the first and the last size only. All sizes count: least squares.": (
            _hasty(fit=_through(0, -1))
        ),
        "Your lines go through the first two sizes only. All sizes count: least squares.": _hasty(
            fit=_through(0, 1)
        ),
        "Your lines go through the last two sizes only. All sizes count: least squares.": _hasty(
            fit=_through(-2, -1)
        ),
        "You ask when the first catches up. It is the second that is behind.": _cross(
            never=lambda first, second: first[0] <= second[0]
        ),
        "This is the first size measured at which the second is ahead. Asked is where the two "
        "lines meet, which may lie between the sizes, or beyond.": _measured_ahead,
        "You follow the scores from point to point. Fit one line to all scores of a system: it "
        "goes on beyond the last size.": _interpolated,
        "Your lines end at the largest size that was measured. They go on: that is what they are "
        "for.": (
            _cross(finish=lambda size, n: size if size <= n[-1] else np.inf),
            _cross(finish=lambda size, n: min(size, n[-1])),
            lambda n, *scores: min(_cross()(n, *scores), n[-1]),
        ),
        "The second may also catch up within the sizes that were measured.": (
            _cross(finish=lambda size, n: size if size > n[-1] else np.inf),
            _cross(finish=lambda size, n: max(size, n[-1])),
        ),
        "You divide by the sum of the slopes. What makes up the distance is how much steeper one "
        "line is: the difference.": _hasty(
            meet=lambda first, second: (first[1] - second[1]) / (second[0] + first[0])
        ),
        "A sign is turned, and you have one divided by the size. Write down where both lines have "
        "the same score, and solve for x.": _hasty(meet=lambda a, b: -_meet(a, b)),
        "Slope and intercept are exchanged: np.polyfit gives the slope first.": (
            *_hasty(fit=lambda x, y: _least_squares(x, y)[::-1]),
            _cross(
                fit=lambda x, y: _least_squares(x, y)[::-1],
                never=lambda first, second: second[1] <= first[1],
            ),
        ),
        "You take logarithms of the scores too. Only the size is on a logarithmic axis.": _hasty(
            scored=np.log
        ),
        "This is the score at which the lines meet. Asked is the size of the training data.": (
            _score_there
        ),
        "Your first system stands still. It too gains from more data: compare with its line, not "
        "with one of its scores.": (
            _standing(lambda n, first: first[-1]),
            _standing(lambda n, first: first.max()),
            _standing(lambda n, first: first[0]),
            _standing(lambda n, first: first.mean()),
            _standing(lambda n, first: np.polyval(_least_squares(np.log(n), first), np.log(n[-1]))),
        ),
    },
    symptoms={
        "The lines meet where they should, but where the second's is not steeper it never catches "
        "up. Return np.inf there.": (
            lambda got, right, n, first, second: (
                right == np.inf and not got == right and not _parallel(first, second)
            ),
            lambda *case: -1.0 if np.isinf(_cross()(*case)) else _cross()(*case),
        ),
        "Yours is infinite where the second does catch up. Which slope must be the larger one? And "
        "are the lines over the logarithm of n?": (
            lambda got, right, *_: np.isinf(got) and np.isfinite(right),
            _cross(axis=lambda n: n),
        ),
    },
    edges={
        "Parallel lines: the second stays as far behind, whatever the size. Return np.inf.": (
            (
                np.array([100, 1000, 10000, 100000]),
                np.array([0.25, 0.375, 0.5, 0.625]),
                np.array([0.125, 0.25, 0.375, 0.5]),
            ),
            _nan_if_parallel,
        ),
    },
    crash={
        ZeroDivisionError: (
            "Parallel lines have the same slope, and never meet: return np.inf before you divide.",
            lambda n, first, second: _cross()(n, first, second) / int(not _parallel(first, second)),
        ),
        OverflowError: (
            "The number is too large to undo its logarithm. Fit the lines over the logarithm of n; "
            "where the second's is not steeper, return np.inf.",
            lambda n, first, second: math.exp(np.max(n)),
        ),
    },
    differs=lambda got, right, n, first, second: (
        f"With n = {n}, first = {first.round(3)} and second = {second.round(3)} the lines meet at "
        f"{right:,.0f}; yours is {got:,.5g}."
    ),
    rtol=1e-3,
    praise="A forecast: say with it how far it lies beyond the largest size that was measured.",
)

EXERCISES: Mapping[str, Exercise] = {
    "at_scale.1": COUNT,
    "at_scale.2": MERGE,
    "at_scale.3": CROSS,
}
