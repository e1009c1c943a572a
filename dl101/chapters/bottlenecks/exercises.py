"""The exercises of the chapter on bottlenecks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dl101.lab.exercise import Exercise, Function

# ---- 1: what a latent vector costs --------------------------------------------------------------


def _kl(
    *,
    half: float = 0.5,
    log: float = 1.0,
    one: float = 1.0,
    power: float = 1.0,
    square: Callable[[NDArray], NDArray] = np.square,
    over: Callable[[NDArray], Any] = lambda each: each.sum(axis=1),
    unit: float = 1.0,
) -> Callable[[NDArray, NDArray], Any]:
    """Return an answer from its choices."""

    def kl(mean: NDArray, log_variance: NDArray) -> Any:
        variance = np.exp(power * log_variance)
        return over(half * (square(mean) + variance - one - log * log_variance)) * unit

    return kl


def _log_deviation(mean: NDArray, log_variance: NDArray) -> NDArray:
    return _kl()(mean, 2 * log_variance)


def _half_of_the_first(mean: NDArray, log_variance: NDArray) -> NDArray:
    return (0.5 * mean**2 + np.exp(log_variance) - 1 - log_variance).sum(axis=1)


def _the_other_way(mean: NDArray, log_variance: NDArray) -> NDArray:
    return (0.5 * ((1 + mean**2) * np.exp(-log_variance) - 1 + log_variance)).sum(axis=1)


def _plain_variance(mean: NDArray, log_variance: NDArray) -> NDArray:
    with np.errstate(invalid="ignore", divide="ignore"):
        return 0.5 * (mean**2 + log_variance - 1 - np.log(log_variance)).sum(axis=1)


def _gaussians() -> list[tuple[NDArray, NDArray]]:
    rng = np.random.default_rng([13, 1])
    shapes = ((2, 3), (5, 4), (3, 3))
    return [(rng.normal(0, 1.5, shape), rng.normal(-0.5, 1.2, shape)) for shape in shapes]


KL = Function(
    title="what a latent vector costs",
    minutes=10,
    rubric={
        "mean squared, variance from its logarithm, minus one, minus the log variance": 1,
        "half of it, added up over the numbers of a vector and over nothing else": 1,
    },
    right=_kl(),
    cases=_gaussians,
    returns="an array (batch,)",
    mistakes={
        "The factor 1/2 is missing.": _kl(half=1.0),
        "Only the square of the mean is halved; the 1/2 stands before all four terms.": (
            _half_of_the_first
        ),
        "The log variance must be subtracted, it is added.": _kl(log=-1.0),
        "The term with the log variance is missing: without it a variance of 0 would be the "
        "best.": _kl(log=0.0),
        "The -1 is missing: the prior itself must cost nothing.": _kl(one=0.0),
        "The mean counts by its square; you take it as it is.": _kl(square=lambda mean: mean),
        "The mean counts by its square; you take its size.": _kl(square=np.abs),
        "You take the argument for the logarithm of the deviation. It is that of the variance: "
        "the variance is exp(log_variance).": _log_deviation,
        "You take the argument for the variance. It is its logarithm: the variance is "
        "exp(log_variance).": _plain_variance,
        "exp(log_variance / 2) is the deviation; the formula has the variance.": _kl(power=0.5),
        "exp(2 log_variance) is the square of the variance.": _kl(power=2.0),
        "The variance is exp(log_variance), you use exp(-log_variance).": _kl(power=-1.0),
        "This is the divergence the other way round, of the prior from the Gaussian. It is not "
        "symmetric.": _the_other_way,
        "You take the mean over the latents. A vector costs what its numbers cost together: the "
        "sum.": _kl(over=lambda each: each.mean(axis=1)),
        "You add up over the batch: each vector of the batch has a cost of its own, and the sum "
        "is over its numbers, axis 1.": _kl(over=lambda each: each.sum(axis=0)),
        "You return one number for the batch; asked is one for each vector.": (
            _kl(over=lambda each: each.sum())
        ),
        "You return the mean over the batch; asked is the cost of each vector.": (
            _kl(over=lambda each: each.sum(axis=1).mean())
        ),
        "You return the cost of each number; add them up for each vector.": (
            _kl(over=lambda each: each)
        ),
        "This is in bits; natural logarithms, nats, are asked.": _kl(unit=1 / np.log(2)),
        "The sign is wrong: a divergence is never negative.": _kl(unit=-1.0),
    },
    differs="In a hidden case the cost of vector {at[0]} should be {right:.4g} and is {got:.4g}.",
    praise="Never negative, and zero for the prior alone.",
)

# ---- 2: stage by stage --------------------------------------------------------------------------


def _squares(residual: NDArray, codebook: NDArray) -> NDArray:
    return ((residual[:, None] - codebook) ** 2).sum(axis=-1)


def _residual_codes(
    *,
    distance: Callable[[NDArray, NDArray], NDArray] = _squares,
    pick: Callable[..., NDArray] = np.argmin,
    rest: Callable[[NDArray, NDArray, NDArray], NDArray] = lambda x, rest, word: rest - word,
    total: Callable[[NDArray, NDArray], NDArray] = lambda total, word: total + word,
    book: Callable[[NDArray, int], NDArray] = lambda codebooks, stage: codebooks[stage],
    end: Callable[..., NDArray] = lambda total, rest, n: total,
    give: Callable[[NDArray, NDArray], tuple[NDArray, NDArray]] = lambda codes, total: (
        codes,
        total,
    ),
) -> Callable[[NDArray, NDArray], tuple[NDArray, NDArray]]:
    """Return an answer from its choices."""

    def residual_codes(x: NDArray, codebooks: NDArray) -> tuple[NDArray, NDArray]:
        residual, quantised, codes = x.copy(), np.zeros_like(x), []
        for stage in range(len(codebooks)):
            codebook = book(codebooks, stage)
            codes.append(pick(distance(residual, codebook), axis=1))
            word = codebook[codes[-1]]
            residual, quantised = rest(x, residual, word), total(quantised, word)
        return give(np.stack(codes, axis=1), end(quantised, residual, len(codebooks)))

    return residual_codes


def _cosine(residual: NDArray, codebook: NDArray) -> NDArray:
    lengths = np.linalg.norm(residual, axis=1)[:, None] * np.linalg.norm(codebook, axis=1)
    return -(residual @ codebook.T) / np.maximum(lengths, 1e-12)


def _stages() -> list[tuple[NDArray, NDArray]]:
    rng = np.random.default_rng([13, 2])
    cases = []
    for n, n_stages, n_codes, dim in ((6, 2, 4, 3), (12, 3, 5, 2), (20, 4, 4, 2)):
        sizes = 2.0 * 0.6 ** np.arange(n_stages)
        codebooks = sizes[:, None, None] * rng.normal(size=(n_stages, n_codes, dim))
        cases.append((2 * rng.normal(size=(n, dim)), codebooks))
    return cases


RESIDUAL = Function(
    title="stage by stage",
    minutes=15,
    rubric={
        "each stage codes what the stages before it left over": 1,
        "the nearest codeword by Euclidean distance, of the stage's own codebook": 1,
        "codes of all stages, and the sum of their codewords": 1,
    },
    right=_residual_codes(),
    cases=_stages,
    returns="codes (n, stage) and vectors (n, dim)",
    names=("codes", "quantised"),
    mistakes={
        "Every stage codes x itself. From the second on it is given what is left over: x minus "
        "the codewords so far.": _residual_codes(rest=lambda x, rest, word: x),
        "The codeword is added to the residual; what is left over is the difference.": (
            _residual_codes(rest=lambda x, rest, word: rest + word)
        ),
        "The residual is x minus the last codeword only: subtract those of all stages before.": (
            _residual_codes(rest=lambda x, rest, word: x - word)
        ),
        "The next stage is given the codeword; it is to be given what the codeword leaves "
        "over.": _residual_codes(rest=lambda x, rest, word: word),
        "The difference has the wrong sign: what is left over is the residual minus the "
        "codeword.": _residual_codes(rest=lambda x, rest, word: word - rest),
        "All stages use the first codebook; each has its own.": (
            _residual_codes(book=lambda codebooks, stage: codebooks[0])
        ),
        "The codebooks are used from the last to the first.": (
            _residual_codes(book=lambda codebooks, stage: codebooks[-1 - stage])
        ),
        "You take the codeword that is farthest away: argmin, not argmax.": (
            _residual_codes(pick=np.argmax)
        ),
        "You choose by the product with the codeword, which prefers long codewords. The nearest "
        "has the smallest distance.": (
            _residual_codes(distance=lambda residual, codebook: -(residual @ codebook.T))
        ),
        "You choose by direction (the cosine). A codeword far away in the right direction is not "
        "near.": _residual_codes(distance=_cosine),
        "You add up sizes of differences. The nearest is meant by Euclidean distance: squares.": (
            _residual_codes(
                distance=lambda residual, codebook: np.abs(residual[:, None] - codebook).sum(-1)
            )
        ),
        "The differences are added up without their squares: positive and negative ones cancel.": (
            _residual_codes(
                distance=lambda residual, codebook: (residual[:, None] - codebook).sum(axis=-1)
            )
        ),
        "The vectors are the codewords of the last stage; the quantised vector is the sum over all "
        "stages.": _residual_codes(total=lambda total, word: word),
        "The vectors are the mean of the codewords over stages, not their sum.": (
            _residual_codes(end=lambda total, rest, n: total / n)
        ),
        "You return what is left over at the end; asked is the sum of the codewords.": (
            _residual_codes(end=lambda total, rest, n: rest)
        ),
        "Of the codes the result is transposed, (stage, n); asked is (n, stage): "
        "np.stack(codes, axis=1).": _residual_codes(give=lambda codes, total: (codes.T, total)),
        "Of the vectors the result is transposed, (dim, n); asked is (n, dim).": (
            _residual_codes(give=lambda codes, total: (codes, total.T))
        ),
        "The two results have changed places: first the codes, then the vectors.": (
            _residual_codes(give=lambda codes, total: (total, codes))
        ),
        "The codes count from 1; Python's begin at 0.": (
            _residual_codes(give=lambda codes, total: (codes + 1, total))
        ),
    },
    differs="In a hidden case the value at {at} should be {right:.4g} and is {got:.4g}.",
    praise="What one stage leaves over, the next one codes.",
)

# ---- 3: a codebook that follows -----------------------------------------------------------------


def _follow(
    *,
    keep: Callable[[float], float] = lambda decay: decay,
    new: Callable[[float], float] = lambda decay: 1 - decay,
    count: bool = True,
    means: bool = False,
    duplicates: bool = True,
    unused: bool = True,
    codebook: Callable[..., NDArray] = lambda sums, counts, **_: sums / counts[:, None],
    order: tuple[int, int, int] = (0, 1, 2),
) -> Callable[..., tuple[NDArray, NDArray, NDArray]]:
    """Return an answer from its choices."""

    def follow(
        counts: NDArray, sums: NDArray, x: NDArray, codes: NDArray, decay: float
    ) -> tuple[NDArray, NDArray, NDArray]:
        here, added = np.zeros_like(counts), np.zeros_like(sums)
        if duplicates:
            np.add.at(here, codes, 1)
            np.add.at(added, codes, x)
        else:
            here[codes] += 1
            added[codes] += x
        if means:
            added = added / np.maximum(here, 1)[:, None]
        now = (keep(decay) * counts + new(decay) * here) if count else here
        moved = keep(decay) * sums + new(decay) * added
        if not unused:
            now = np.where(here > 0, now, counts)
            moved = np.where(here[:, None] > 0, moved, sums)
        words = codebook(
            sums=moved, counts=now, old_sums=sums, old_counts=counts, here=here, added=added,
            decay=decay,
        )  # fmt: skip
        made = (words, now, moved)
        return made[order[0]], made[order[1]], made[order[2]]

    return follow


def _batch_means(sums: NDArray, here: NDArray, added: NDArray, **_: Any) -> NDArray:
    return added / np.maximum(here, 1)[:, None]


def _mixed(
    old_sums: NDArray, old_counts: NDArray, here: NDArray, added: NDArray, decay: float, **_: Any
) -> NDArray:
    old = old_sums / old_counts[:, None]
    mixed = decay * old + (1 - decay) * added / np.maximum(here, 1)[:, None]
    return np.where(here[:, None] > 0, mixed, old)


def _steps() -> list[tuple[NDArray, NDArray, NDArray, NDArray, float]]:
    rng = np.random.default_rng([13, 3])
    cases = []
    for n, n_codes, dim, decay in ((5, 3, 2, 0.8), (12, 4, 3, 0.9), (20, 6, 2, 0.7)):
        counts = rng.uniform(1, 6, n_codes)
        sums = counts[:, None] * rng.normal(size=(n_codes, dim))
        codes = rng.integers(0, n_codes - 1, n)  # the last one is not chosen
        cases.append((counts, sums, 1 + rng.normal(size=(n, dim)), codes, decay))
    return cases


FOLLOW = Function(
    title="a codebook that follows",
    minutes=20,
    rubric={
        "how often and with what sum each codeword was chosen, repeated codes counted": 1,
        "both averaged with weights decay and 1 - decay, for codewords not chosen too": 1,
        "the codeword is the averaged sum over the averaged count": 1,
    },
    right=_follow(),
    cases=_steps,
    returns="the codebook (code, dim), the counts (code,) and the sums (code, dim)",
    names=("codebook", "counts", "sums"),
    mistakes={
        "decay and 1 - decay have changed places: decay is the share that is kept.": (
            _follow(keep=lambda decay: 1 - decay, new=lambda decay: decay)
        ),
        "What is new is added in full; its weight is 1 - decay.": _follow(new=lambda decay: 1.0),
        "What is old is kept in full; its weight is decay.": _follow(keep=lambda decay: 1.0),
        "The new is added to the old, both in full: the old has the weight decay, the new 1 - "
        "decay.": _follow(keep=lambda decay: 1.0, new=lambda decay: 1.0),
        "counts[codes] += 1 and sums[codes] += x count a code once, however often it occurs: use "
        "np.add.at, np.bincount or a loop.": _follow(duplicates=False),
        "The sums hold the mean of the vectors that chose a codeword; they are to hold their "
        "sum.": _follow(means=True),
        "The counts are those of this batch; they are averaged as the sums are.": (
            _follow(
                count=False,
                codebook=lambda sums, counts, **_: sums / np.maximum(counts, 1e-9)[:, None],
            )
        ),
        "Codewords that nobody chose keep their counts and sums. Both fade, by decay: that is how "
        "a dead one is found.": _follow(unused=False),
        "The averaged sums are divided by the counts of this batch: divide by the averaged "
        "counts.": _follow(codebook=lambda sums, here, **_: sums / np.maximum(here, 1)[:, None]),
        "The averaged sums are divided by the old counts.": (
            _follow(codebook=lambda sums, old_counts, **_: sums / old_counts[:, None])
        ),
        "The codebook is the one from before the step.": (
            _follow(codebook=lambda old_sums, old_counts, **_: old_sums / old_counts[:, None])
        ),
        "The codewords jump to the means of this batch; they are to follow slowly.": (
            _follow(codebook=_batch_means)
        ),
        "You average the codewords themselves. Then a codeword that one vector chose moves as far "
        "as one that a hundred chose: divide the averaged sums by the averaged counts.": (
            _follow(codebook=_mixed)
        ),
        "The averaged sums are not divided by the averaged counts yet.": (
            _follow(codebook=lambda sums, **_: sums)
        ),
        "The results are in another order; asked are the codebook, the counts, the sums.": (
            _follow(order=(1, 2, 0)),
            _follow(order=(2, 1, 0)),
            _follow(order=(0, 2, 1)),
        ),
    },
    differs="In a hidden case the value at {at} should be {right:.4g} and is {got:.4g} "
    "(decay {4:g}).",
    praise="k-means that never stops: each codeword is drawn to the middle of its cell.",
)

# ---- 4: numbers on a grid -----------------------------------------------------------------------


def _places(levels: Sequence[int]) -> NDArray:
    return np.cumprod([1, *levels[:-1]])


def _grid(
    *,
    bound: Callable[[NDArray], NDArray] = np.tanh,
    half: Callable[[NDArray], NDArray] = lambda levels: levels // 2,
    to_whole: Callable[[NDArray], NDArray] = np.round,
    early: bool = False,
    scaled: bool = True,
    shift: bool = True,
    places: Callable[[Sequence[int]], NDArray] = _places,
    give: Callable[[NDArray, NDArray], tuple[NDArray, NDArray]] = lambda codes, values: (
        codes,
        values,
    ),
) -> Callable[[NDArray, Sequence[int]], tuple[NDArray, NDArray]]:
    """Return an answer from its choices."""

    def grid(x: NDArray, levels: Sequence[int]) -> tuple[NDArray, NDArray]:
        h = half(np.asarray(levels))
        whole = np.round(h * bound(np.round(x))) if early else to_whole(h * bound(x))
        digits = whole + h if shift else whole
        return give(digits @ places(levels), whole / h if scaled else whole)

    return grid


def _unrounded(x: NDArray, levels: Sequence[int]) -> tuple[NDArray, NDArray]:
    return _grid()(x, levels)[0], np.tanh(x)


def _numbers() -> list[tuple[NDArray, tuple[int, ...]]]:
    rng = np.random.default_rng([13, 4])
    cases = ((6, (5, 3)), (15, (7, 5, 3)), (25, (3, 9)))
    return [(1.3 * rng.normal(size=(n, len(levels))), levels) for n, levels in cases]


GRID = Function(
    title="numbers on a grid",
    minutes=15,
    rubric={
        "the hyperbolic tangent, times half the levels, rounded, over half the levels": 1,
        "digits from 0 on, read as one number whose first digit changes fastest": 1,
    },
    right=_grid(),
    cases=_numbers,
    returns="codes (n,) and values (n, dim)",
    names=("codes", "values"),
    mistakes={
        "The numbers are clipped to -1 ... 1; asked is the hyperbolic tangent, which has a "
        "gradient everywhere.": _grid(bound=lambda x: np.clip(x, -1, 1)),
        "Nothing bounds the numbers: large ones leave the grid.": _grid(bound=lambda x: x),
        "You use a sigmoid, from 0 to 1; the tangent goes from -1 to 1.": (
            _grid(bound=lambda x: 1 / (1 + np.exp(-x)))
        ),
        "You round before the tangent; then few levels are met. Bound first, then round.": (
            _grid(early=True)
        ),
        "You round down (floor); asked is the nearest level.": _grid(to_whole=np.floor),
        "You cut the fraction off (towards zero); asked is the nearest level.": (
            _grid(to_whole=np.trunc)
        ),
        "The tangent is stretched by L and not by half of it, (L - 1) / 2: there are too many "
        "levels.": _grid(half=lambda levels: levels),
        "The tangent is stretched by L - 1; it goes from -1 to 1 already, so half of that.": (
            _grid(half=lambda levels: levels - 1)
        ),
        "The tangent is stretched by L / 2; for odd levels it is (L - 1) / 2, which is "
        "L // 2.": _grid(half=lambda levels: levels / 2),
        "The values are the tangents; asked are the levels to which they are rounded.": _unrounded,
        "The values are whole numbers still: divide by half the levels, (L - 1) / 2.": (
            _grid(scaled=False)
        ),
        "The digits of the code begin below 0: add half the levels, so that the lowest level is "
        "0.": _grid(shift=False),
        "The last digit changes fastest; asked is the first.": _grid(
            places=lambda levels: np.cumprod([1, *levels[:0:-1]])[::-1]
        ),
        "The places are one off: the first digit counts 1, the second as much as there are levels "
        "of the first.": _grid(places=np.cumprod),
        "The digits are added up: then many vectors share a code.": (
            _grid(places=lambda levels: np.ones(len(levels)))
        ),
        "The digits are read in one base for all; each place is worth the product of the levels "
        "before it.": _grid(places=lambda levels: max(levels) ** np.arange(len(levels))),
        "Of the values the result is transposed, (dim, n); asked is (n, dim).": (
            _grid(give=lambda codes, values: (codes, values.T))
        ),
        "The two results have changed places: first the codes, then the values.": (
            _grid(give=lambda codes, values: (values, codes))
        ),
        "The codes count from 1; the code of the lowest levels is 0.": (
            _grid(give=lambda codes, values: (codes + 1, values))
        ),
    },
    differs="In a hidden case with the levels {1} the value at {at} should be {right:.4g} and is "
    "{got:.4g}.",
    praise="A codebook that nobody has to store, or to learn.",
)

EXERCISES: Mapping[str, Exercise] = {
    "bottlenecks.1": KL,
    "bottlenecks.2": RESIDUAL,
    "bottlenecks.3": FOLLOW,
    "bottlenecks.4": GRID,
}
