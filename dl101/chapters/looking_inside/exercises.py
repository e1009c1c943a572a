"""The exercises of the chapter on looking inside."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from dl101.lab.exercise import Exercise, Function

# ---- 1: a map that listens to the weights --------------------------------------------------------


def _sensitivity(
    *,
    gate: Callable[[NDArray], NDArray] = lambda z: (z > 0).astype(float),
    output: Callable[[NDArray, NDArray, int], NDArray] = lambda last, y, unit: last[unit],
    finish: Callable[[NDArray, NDArray], NDArray] = lambda slope, x: np.abs(slope),
    biased: bool = True,
) -> Callable[..., NDArray]:
    """Return the right function (the defaults) or one that misunderstands a part."""

    def answer(x: NDArray, first: NDArray, bias: NDArray, last: NDArray, unit: int) -> NDArray:
        z = first @ x + (bias if biased else 0.0)
        y = last @ np.maximum(z, 0.0)
        return finish((output(last, y, unit) * gate(z)) @ first, x)

    return answer


def _sizes_first(
    x: NDArray, first: NDArray, bias: NDArray, last: NDArray, unit: int
) -> NDArray[np.float64]:
    """Return sums of sizes in place of the size of a sum."""
    return (np.abs(last[unit]) * (first @ x + bias > 0)) @ np.abs(first)


def _networks() -> list[tuple]:
    rng = np.random.default_rng([20, 1])
    cases: list[tuple] = []
    for n, hidden, outputs, unit in ((3, 4, 2, 1), (5, 6, 3, 2), (4, 8, 3, 0), (6, 5, 4, 1)):
        while True:  # some units open, some shut, and others if the bias is forgotten
            x, first = rng.standard_normal(n), rng.standard_normal((hidden, n))
            bias, last = rng.standard_normal(hidden), rng.standard_normal((outputs, hidden))
            open_, unbiased = first @ x + bias > 0, first @ x > 0
            loudest = np.argmax(last @ np.maximum(first @ x + bias, 0.0))
            if 0 < open_.sum() < hidden and (open_ != unbiased).any() and loudest != unit:
                break
        cases.append((x, first, bias, last, unit))
    return cases


SENSITIVITY = Function(
    title="a map that listens to the weights",
    minutes=20,
    rubric={
        "the slope of the one output that was asked for, through both matrices": 1,
        "hidden units that are shut pass nothing, with the bias counted in": 1,
        "its size, without the sign": 1,
    },
    right=_sensitivity(),
    cases=_networks,
    returns="an array of the shape of x",
    mistakes={
        "Your map is the input itself, or its size. No weight is in it: with a network drawn at "
        "random it would be the same picture, so it fails the sanity check.": (
            lambda x, *_: np.abs(x),
            lambda x, *_: x**2,
            lambda x, *_: x,
        ),
        "This is the slope of the input's energy, 2 x. No weight is in it: it fails the sanity "
        "check.": (lambda x, *_: 2 * x, lambda x, *_: np.abs(2 * x)),
        "You take the slope of the sum of all outputs: the map is then the same for every unit.": (
            _sensitivity(output=lambda last, y, unit: last.sum(axis=0))
        ),
        "You take the slope of the largest output, not of the one that was asked for.": (
            _sensitivity(output=lambda last, y, unit: last[np.argmax(y)])
        ),
        "Your ReLUs are always open. A hidden unit whose sum is negative passes no slope.": (
            _sensitivity(gate=np.ones_like)
        ),
        "You multiply by what the hidden units put out; the slope of a ReLU is 0 or 1.": (
            _sensitivity(gate=lambda z: np.maximum(z, 0.0))
        ),
        "You forgot the bias when you looked which hidden units are open.": (
            _sensitivity(biased=False)
        ),
        "The last matrix is not in your map: only the first layer is looked at.": (
            _sensitivity(output=lambda last, y, unit: np.ones(last.shape[1]))
        ),
        "This is the slope with its sign. Saliency is its size.": (
            _sensitivity(finish=lambda slope, x: slope)
        ),
        "You took the size of each weight before you added up. Ways through the network may "
        "cancel: the size comes last.": _sizes_first,
        "You multiplied by the input. That is another method, gradient times input.": (
            _sensitivity(finish=lambda slope, x: np.abs(slope * x)),
            _sensitivity(finish=lambda slope, x: slope * x),
        ),
        "You let positive slopes pass only: that is guided backpropagation, a picture and no slope "
        "of this output.": _sensitivity(
            output=lambda last, y, unit: np.maximum(last[unit], 0.0),
        ),
    },
    differs=(
        "For an input of {0} and unit {4}, the value at {at} should be {right:.4f}; yours is "
        "{got:.4f}."
    ),
    praise="With other weights it is another map: the first check that an explanation must pass.",
)

# ---- 2: integrated gradients ---------------------------------------------------------------------


def _integrated(
    *,
    place: Callable[[int, int], float] = lambda step, n: (step + 0.5) / n,
    factor: Callable[[NDArray, NDArray], NDArray] = lambda x, r: x - r,
    begin: Callable[[NDArray, NDArray], NDArray] = lambda x, r: r,
    mean: bool = True,
    n_points: Callable[[int], int] = lambda n: n,
    finish: Callable[[NDArray], NDArray] = lambda found: found,
) -> Callable[..., NDArray]:
    def answer(slope: Callable, x: NDArray, reference: NDArray, n_steps: int) -> NDArray:
        start, n = begin(x, reference), n_points(n_steps)
        slopes = [slope(start + place(step, n_steps) * (x - start)) for step in range(n)]
        total = np.sum(slopes, axis=0) / (n if mean else 1)
        return finish(total * factor(x, reference))

    return answer


class _Slope:
    """The slope of a sum of cubes and of a product: not straight, and cells act together."""

    def __init__(self, seed: int, n: int) -> None:
        rng = np.random.default_rng([20, 2, seed])
        self.cubes, self.pairs = rng.standard_normal(n), rng.standard_normal((n, n))

    def __call__(self, x: NDArray) -> NDArray:
        x = np.asarray(x, dtype=np.float64)
        return 3 * self.cubes * x**2 + (self.pairs + self.pairs.T) @ x

    def __repr__(self) -> str:
        return "a function"


def _ways() -> list[tuple]:
    rng = np.random.default_rng([20, 3])
    return [
        (_Slope(i, n), 2 * rng.standard_normal(n), rng.standard_normal(n), steps)
        for i, (n, steps) in enumerate(((2, 2), (3, 5), (4, 8), (3, 1)))
    ]


INTEGRATED = Function(
    title="integrated gradients",
    minutes=20,
    rubric={
        "slopes on the straight way from the reference to the input": 1,
        "taken in the middle of equal steps, and averaged": 1,
        "times the input minus the reference, cell by cell": 1,
    },
    right=_integrated(),
    cases=_ways,
    returns="an array of the shape of x",
    mistakes={
        "The factor x - reference is missing: this is an average slope, and it adds up to nothing "
        "that you know.": _integrated(factor=lambda x, r: np.ones_like(x)),
        "You multiply by x. It must be x - reference, or the map does not add up to the difference "
        "of the outputs.": _integrated(factor=lambda x, r: x),
        "You multiply by reference - x: every sign is turned.": _integrated(
            factor=lambda x, r: r - x
        ),
        "Your way begins at zero. It begins at the reference.": _integrated(
            begin=lambda x, r: np.zeros_like(x)
        ),
        "You take the slope at the input alone: gradient times input, which is not complete.": (
            _integrated(place=lambda step, n: 1.0)
        ),
        "You take the slope at the reference alone.": _integrated(place=lambda step, n: 0.0),
        "Your slopes are taken at the beginning of each step. In the middle, the error falls with "
        "the square of the number of steps.": _integrated(place=lambda step, n: step / n),
        "Your slopes are taken at the end of each step. In the middle, the error falls with the "
        "square of the number of steps.": _integrated(place=lambda step, n: (step + 1) / n),
        "Your slopes are taken at both ends of the steps, all with one weight, as many as there "
        "are steps and one: the two ends count too much.": _integrated(
            place=lambda step, n: step / n, n_points=lambda n: n + 1
        ),
        "Your points are spread from the reference to the input with both ends, as linspace does. "
        "Take one in the middle of each step.": _integrated(
            place=lambda step, n: step / max(n - 1, 1)
        ),
        "You add the slopes up; they must be averaged.": _integrated(mean=False),
        "You took sizes. Here a cell may also speak against, and only with the signs does the map "
        "add up.": _integrated(finish=np.abs),
    },
    differs=lambda got, right, slope, x, reference, n_steps: (
        f"With x = {x.round(2)}, the reference {reference.round(2)} and {n_steps} steps, the map "
        f"should be {np.round(right, 3)}; yours is {np.round(got, 3)}."
    ),
    praise="Nothing gets lost on the way: what the cells get adds up to what the output gained.",
)

# ---- 3: what many tiles say of a cell ------------------------------------------------------------


def _tiles(
    combine: Callable[[NDArray], float] = np.mean,
    *,
    last: Callable[[int, int, int], int] = lambda begin, size, n: min(begin + size, n),
    divide: Callable[[int, int], float] = lambda n_tiles, size: 1.0,
) -> Callable[..., NDArray]:
    def answer(falls: NDArray, n_cells: int, size: int, step: int) -> NDArray:
        found = np.zeros(n_cells)
        for cell in range(n_cells):
            values = [
                fall
                for i, fall in enumerate(falls)
                if i * step <= cell < last(i * step, size, n_cells)
            ]
            if values:
                found[cell] = combine(np.array(values)) / divide(len(falls), size)
        return found

    return answer


def _coverings() -> list[tuple]:
    rng = np.random.default_rng([20, 4])
    return [
        (rng.standard_normal((n_cells - size) // step + 1), n_cells, size, step)
        for n_cells, size, step in ((7, 4, 2), (12, 5, 2), (16, 6, 3), (11, 3, 1))
    ]


def _at_centre(falls: NDArray, n_cells: int, size: int, step: int) -> NDArray:
    found = np.zeros(n_cells)
    found[np.arange(len(falls)) * step + size // 2] = falls
    return found


def _carried_on(falls: NDArray, n_cells: int, size: int, step: int) -> NDArray:
    """Give cells that no tile covers the last fall."""
    found = _tiles()(falls, n_cells, size, step)
    starts = np.arange(len(falls))[:, None] * step
    cells = np.arange(n_cells)
    covered = ((cells >= starts) & (cells < starts + size)).any(axis=0)
    return np.where(covered, found, falls[-1])


TILES = Function(
    title="what many tiles say of a cell",
    minutes=15,
    rubric={
        "each tile counts for all the cells that it covers": 1,
        "a cell gets the mean of its own tiles, however many there are": 1,
        "a cell that no tile covers gets 0": 1,
    },
    right=_tiles(),
    cases=_coverings,
    returns="an array (n_cells,)",
    mistakes={
        "You add up. Cells in the middle are covered by more tiles than those at the edges, so "
        "your map shows how often you looked, not what matters.": _tiles(np.sum),
        "You divide by the number of all tiles. Each cell has its own number of tiles.": _tiles(
            np.sum, divide=lambda n_tiles, size: n_tiles
        ),
        "You divide by the size of a tile. Each cell has its own number of tiles, fewer at the "
        "edges.": _tiles(np.sum, divide=lambda n_tiles, size: size),
        "Later tiles overwrite earlier ones.": _tiles(lambda values: values[-1]),
        "Only the first tile that covers a cell counts in your map.": _tiles(
            lambda values: values[0]
        ),
        "You take the largest fall. With many tiles some fall is large by chance; take the mean.": (
            _tiles(np.max)
        ),
        "You write a fall into the tile's middle alone. It belongs to all cells that were "
        "covered.": _at_centre,
        "Your tiles are one cell too short: tile i ends before cell i * step + size.": _tiles(
            last=lambda begin, size, n: begin + size - 1
        ),
        "Your tiles are one cell too long: tile i ends before cell i * step + size.": _tiles(
            last=lambda begin, size, n: begin + size + 1
        ),
        "Your tiles lie side by side: tile i begins at i * step, not at i * size.": (
            lambda falls, n_cells, size, step: _tiles()(falls, n_cells, size, size)
        ),
        "Where no tile lies, nothing was asked: such a cell gets 0.": _carried_on,
    },
    differs=(
        "With falls of {0}, {1} cells, tiles of {2} and steps of {3}, the value at {at} should be "
        "{right:.4f}; yours is {got:.4f}."
    ),
    praise="A map of what was found, not of where was looked.",
)

EXERCISES: Mapping[str, Exercise] = {
    "looking_inside.1": SENSITIVITY,
    "looking_inside.2": INTEGRATED,
    "looking_inside.3": TILES,
}
