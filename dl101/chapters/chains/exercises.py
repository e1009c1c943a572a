"""The exercises of the chapter on chains of parts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from dl101.lab.exercise import Exercise, Function

HELD = -1

# ---- 1: notes to the grid ------------------------------------------------------------------------


def _grid(
    *,
    place: Callable[[NDArray], NDArray] = np.round,
    best: Callable[[int, int, float, float], bool] = lambda old, new, was, now: now > was,
    edge: str = "left out",
    unit: Callable[[float], float] = lambda step_s: step_s,
    empty: int = HELD,
) -> Callable[..., NDArray]:
    """Return the right function (the defaults) or one that misplaces notes.

    ``best(old, new, was, now)`` says whether a new pitch of confidence ``now`` replaces an old one.
    """

    def on_grid(
        onsets_s: NDArray, pitches: NDArray, sure: NDArray, step_s: float, length: int
    ) -> NDArray:
        tokens = np.full(length, empty)
        known = np.full(length, -np.inf)
        for onset, pitch, now in zip(onsets_s, pitches, sure, strict=True):
            at = int(place(onset / unit(step_s)))
            if edge == "clipped":
                at = min(max(at, 0), length - 1)
            elif edge == "round the corner":
                at %= length
            elif not 0 <= at < length:
                continue
            if known[at] == -np.inf or best(int(tokens[at]), int(pitch), known[at], now):
                tokens[at], known[at] = pitch, now
        return tokens

    return on_grid


def _played() -> list[tuple]:
    rng = np.random.default_rng([192, 1])
    cases: list[tuple] = [
        (
            np.array([0.01, 0.13, 0.29, 0.54]),
            np.array([62, 66, 69, 74]),
            np.array([0.9, 0.8, 0.7, 0.6]),
            0.14,
            5,
        )
    ]
    for step_s, length in ((0.2, 8), (0.11, 12), (0.5, 16)):
        places = np.sort(rng.choice(np.arange(1, length - 1), length // 2, replace=False))
        onsets = step_s * (places + rng.uniform(-0.45, 0.45, len(places)))
        twice = step_s * (places[1] + np.array([-0.2, 0.1, 0.3]))
        outside = step_s * np.array([-0.3, -0.8, length - 0.3, length + 1.2])
        onsets = np.concatenate([onsets, twice, outside])
        order = np.argsort(onsets)
        pitches = rng.permutation(np.arange(55, 84))[: len(onsets)]
        cases.append(
            (onsets[order], pitches, rng.uniform(0.5, 1, len(onsets)).round(3), step_s, length)
        )
    return cases


GRID = Function(
    title="notes to the grid",
    minutes=15,
    rubric={
        "each onset goes to the nearest place, also where it comes a little early": 1,
        "of two notes at one place the surer one stays": 1,
        "what lies before the first place or after the last is left out": 1,
    },
    right=_grid(),
    cases=_played,
    returns="an array of whole numbers, (length,)",
    mistakes={
        "Onsets are rounded down. A note that is heard 10 ms early then lands a whole place too "
        "early: take the nearest one.": _grid(place=np.floor),
        "Onsets are rounded up. A note that is heard 10 ms late then lands a whole place too "
        "late: take the nearest one.": _grid(place=np.ceil),
        "Of several notes at one place the last one stays. Keep the one that the network is "
        "surest of.": _grid(best=lambda old, new, was, now: True),
        "Of several notes at one place the first one stays. Keep the one that the network is "
        "surest of.": _grid(best=lambda old, new, was, now: False),
        "Of several notes at one place the highest stays. Keep the one that the network is surest "
        "of.": _grid(best=lambda old, new, was, now: new > old),
        "Of several notes at one place the least sure one stays.": (
            _grid(best=lambda old, new, was, now: now < was)
        ),
        "Notes outside the phrase are moved to its ends. They belong to another phrase: leave "
        "them out.": _grid(edge="clipped"),
        "Notes outside the phrase come in again at its other end: a negative index counts from "
        "the end. Leave them out.": _grid(edge="round the corner"),
        "Places where nothing begins have a 0; -1 is asked, which is no pitch.": _grid(empty=0),
        "Places are counted in seconds. Divide the onsets by the length of a step.": (
            _grid(unit=lambda step_s: 1.0)
        ),
    },
    differs=(
        "With onsets at {0} s, steps of {3:g} s and {4} places, place {at} should hold {right:g}; "
        "yours holds {got:g}."
    ),
    praise="The link between a list of notes and a language model is one line of rounding.",
)

# ---- 2: what two clocks cost ---------------------------------------------------------------------


def _cost(
    *,
    frames: Callable[[float, float], float] = lambda rate, hop: rate / hop,
    per_s: Callable[[float, Sequence[int], int], float] = lambda frame_rate, strides, i: (
        frame_rate / strides[i]
    ),
    bits: Callable[[float], float] = np.log2,
    total: Callable[[NDArray], float] = np.sum,
) -> Callable[..., tuple[NDArray, float]]:
    """Return the right function (the defaults) or one that counts otherwise."""

    def bits_per_second(
        sample_rate: int, hop_samples: int, strides: Sequence[int], sizes: Sequence[int]
    ) -> tuple[NDArray, float]:
        frame_rate = frames(sample_rate, hop_samples)
        levels = np.array(
            [per_s(frame_rate, strides, i) * bits(size) for i, size in enumerate(sizes)]
        )
        return levels, float(total(levels))

    return bits_per_second


COST = Function(
    title="what two clocks cost",
    minutes=10,
    rubric={
        "frames a second: sample rate over hop": 1,
        "each level has codes at its own clock, frames a second over its stride": 1,
        "a code costs log2 of its codebook's size, and levels add up": 1,
    },
    right=_cost(),
    cases=lambda: [
        (11025, 256, (8, 2), (128, 128)),
        (16000, 160, (20, 4), (1024, 64)),
        (44100, 1, (128, 32, 8), (2048, 2048, 2048)),
        (22050, 512, (6, 3), (32, 512)),
    ],
    returns="bits a second of each level, an array, and of all together, a number",
    names=("levels", "total"),
    mistakes={
        "All levels run at the fastest clock. A coarse code comes once for several fine ones: "
        "divide by each level's own stride.": _cost(per_s=lambda f, s, i: f / min(s)),
        "All levels run at the slowest clock. Fine codes come more often: divide by each level's "
        "own stride.": _cost(per_s=lambda f, s, i: f / max(s)),
        "Strides are not divided by: not every frame has a code.": _cost(per_s=lambda f, s, i: f),
        "Rates are multiplied by the stride. The larger the stride, the fewer codes.": (
            _cost(per_s=lambda f, s, i: f * s[i])
        ),
        "The strides are multiplied along the levels. Here each counts frames already, not codes "
        "of the level below.": _cost(per_s=lambda f, s, i: f / np.prod(s[i:])),
        "The strides are taken in the other order: that of level 0 goes with codebook 0.": (
            _cost(per_s=lambda f, s, i: f / s[::-1][i])
        ),
        "A code of 128 does not cost 128 bits: log2(128) = 7 bits write it.": (
            _cost(bits=lambda size: float(size))
        ),
        "The logarithm has another base: log2 counts bits.": (
            _cost(bits=np.log),
            _cost(bits=np.log10),
        ),
        "You count samples, not frames: divide the sample rate by the hop.": (
            _cost(frames=lambda rate, hop: rate)
        ),
        "Your total is the mean over levels. A decoder needs the codes of all of them: add up.": (
            _cost(total=np.mean)
        ),
        "Your total is the largest level's. A decoder needs the codes of all: add up.": (
            _cost(total=np.max)
        ),
    },
    differs=(
        "At {0} Hz with a hop of {1}, strides {2} and codebooks {3}, part {at[0]} should be "
        "{right:g} and is {got:g}."
    ),
    praise="Each level at its own clock: that is why the coarse one is cheap, and sees far.",
)

# ---- 3: which way the gradient goes --------------------------------------------------------------

Three = tuple[float, float, float]


def _gradients(
    *,
    mean: Callable[[NDArray], float] = np.mean,
    factor: float = 2.0,
    encoder: Callable[[float, float, float], float] = lambda made, told, w: made - w * told,
    classifier: Callable[[float, float], float] = lambda told, w: told,
    surprise: Callable[[NDArray, NDArray], NDArray] = lambda p, label: p - label,
    decoder: Callable[[float], float] = lambda made: made,
) -> Callable[..., Three]:
    """Return the right function (the defaults) or one that sends gradients another way."""

    def gradients(x: NDArray, label: NDArray, a: float, d: float, c: float, weight: float) -> Three:
        z = a * x
        off = d * z - x
        wrong = surprise(1 / (1 + np.exp(-c * z)), label)
        through_decoder = float(mean(factor * off * d * x))
        through_classifier = float(mean(wrong * c * x))
        return (
            encoder(through_decoder, through_classifier, weight),
            decoder(float(mean(factor * off * z))),
            classifier(float(mean(wrong * z)), weight),
        )

    return gradients


def _batches() -> list[tuple]:
    rng = np.random.default_rng([192, 3])
    cases: list[tuple] = [(np.array([1.0, -2.0]), np.array([1.0, 0.0]), 0.5, 1.5, 2.0, 0.3)]
    for n, weight in ((3, 0.5), (6, 2.0), (4, 0.1)):
        x = rng.standard_normal(n)
        label = (rng.random(n) < 0.5).astype(float)
        cases.append((x, label, *rng.uniform(0.4, 1.6, 3).round(2).tolist(), weight))
    return cases


WAYS = Function(
    title="which way the gradient goes",
    minutes=20,
    rubric={
        "the decoder learns from its own error alone, the classifier from its own": 1,
        "the encoder gets the decoder's gradient as it is": 1,
        "the classifier's gradient reaches the encoder with the other sign, times the weight": 1,
    },
    right=_gradients(),
    cases=_batches,
    returns="three numbers: the gradients of a, d and c",
    names=("a", "d", "c"),
    mistakes={
        "Your encoder *helps* the classifier: the gradient that comes back from it is added. "
        "Reverse its sign, so that the encoder hides the instrument.": (
            _gradients(encoder=lambda made, told, w: made + w * told)
        ),
        "Your classifier gets the reversed gradient, too. It should be as good as it can; only "
        "the encoder works against it.": _gradients(
            classifier=lambda told, w: -told,
        ),
        "Your classifier's own gradient is reversed and weighted. The reversal stands before it, "
        "on the way to the encoder.": _gradients(classifier=lambda told, w: -w * told),
        "Your classifier's own gradient is weighted. It learns at full strength; the weight is for "
        "the encoder.": _gradients(classifier=lambda told, w: w * told),
        "The weight is missing where the gradient comes back to the encoder.": (
            _gradients(encoder=lambda made, told, w: made - told)
        ),
        "Your encoder learns from the decoder alone. The classifier's gradient has to reach it, "
        "reversed.": _gradients(encoder=lambda made, told, w: made),
        "Your encoder learns from the classifier alone. It has to serve the decoder as well.": (
            _gradients(encoder=lambda made, told, w: -w * told)
        ),
        "All of your encoder's gradient is reversed: it would make the decoder fail. Reverse what "
        "comes back from the classifier, nothing else.": (
            _gradients(encoder=lambda made, told, w: -made - w * told)
        ),
        "The decoder's gradient is reversed. It has no rival.": (
            _gradients(decoder=lambda made: -made)
        ),
        "The factor 2 of the squared error's derivative is missing.": _gradients(factor=1.0),
        "You add up over the batch; both losses are means.": _gradients(mean=np.sum),
        "Your cross-entropy has the wrong sign: its derivative by the logit is p - label.": (
            _gradients(surprise=lambda p, label: label - p)
        ),
    },
    differs=(
        "With x = {0}, labels {1}, a = {2:g}, d = {3:g}, c = {4:g} and a weight of {5:g}, the "
        "gradient at {at} should be {right:.4f}; yours is {got:.4f}."
    ),
    praise="One sign, and a network learns what it should *not* say.",
)

EXERCISES: Mapping[str, Exercise] = {
    "chains.1": GRID,
    "chains.2": COST,
    "chains.3": WAYS,
}
