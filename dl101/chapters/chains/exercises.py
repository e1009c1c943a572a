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
    rank: Callable[[float, float], float] = lambda sure, steps: sure,
    edge: str = "left out",
    unit: Callable[[float], float] = lambda step_s: step_s,
    kept: Callable[[int, int, int, float], float] = lambda i, at, pitch, sure: pitch,
    empty: float = HELD,
    again: bool = False,
) -> Callable[..., NDArray]:
    """Return the right function (the defaults) or one that misplaces notes.

    ``best(old, new, was, now)`` says whether a new pitch of confidence ``now`` replaces an old one,
    ``rank`` what counts as confidence, and ``kept`` what a place then holds. With ``again``, places
    where nothing begins repeat the last pitch.
    """

    def on_grid(
        onsets_s: NDArray, pitches: NDArray, sure: NDArray, step_s: float, length: int
    ) -> NDArray:
        tokens = np.full(length, float(empty))
        known = np.full(length, -np.inf)
        first = {"by place, 1": 1}.get(edge, 0)
        end = {"by place, -1": length - 1}.get(edge, length)
        for i, (onset, pitch) in enumerate(zip(onsets_s, pitches, strict=True)):
            steps = onset / unit(step_s)
            at, now = int(place(steps)), rank(sure[i], steps)
            if edge.startswith("by onset") and onset < 0:
                continue
            if edge == "by onset, clipped" and onset < length * step_s:
                at = min(at, length - 1)
            elif edge == "clipped":
                at = min(max(at, 0), length - 1)
            elif edge == "round the corner":
                at %= length
            elif edge == "from the end" and -length <= at < 0:
                at += length
            if not first <= at < end:
                continue
            if known[at] == -np.inf or best(int(tokens[at]), int(pitch), known[at], now):
                tokens[at], known[at] = kept(i, at, pitch, sure[i]), now
        if again:
            for at in range(1, length):
                tokens[at] = tokens[at - 1] if known[at] == -np.inf else tokens[at]
        return tokens

    return on_grid


def _misplaced(
    got: NDArray,
    right: NDArray,
    onsets_s: NDArray,
    pitches: NDArray,
    sure: NDArray,
    step_s: float,
    length: int,
) -> str:
    """Return which place holds something else, and the notes that belong to it."""
    at = int(np.argmax(got != right))
    there = [
        f"onset {onset:.3f} s, pitch {pitch}, confidence {sure[i]:g}"
        for i, (onset, pitch) in enumerate(zip(onsets_s, pitches, strict=True))
        if round(onset / step_s) == at
    ]
    return (
        f"With steps of {step_s:g} s and {length} places, place {at} ({at * step_s:.2f} s) should "
        f"hold {right[at]:g}; yours holds {got[at]:g}. The notes nearest to it: "
        f"{'; '.join(there) or 'none'}."
    )


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
        "Onsets are rounded down, as int does it, too. A note that is heard 10 ms early then "
        "lands a whole place too early: take the nearest one.": (
            _grid(place=np.floor),
            _grid(place=np.trunc),
        ),
        "Onsets are rounded up. A note that is heard 10 ms late then lands a whole place too "
        "late: take the nearest one.": _grid(place=np.ceil),
        "Of several notes at one place the last one stays. Keep the one that the network is "
        "surest of.": _grid(best=lambda old, new, was, now: True),
        "Of several notes at one place the first one stays. Keep the one that the network is "
        "surest of.": _grid(best=lambda old, new, was, now: False),
        "Of several notes at one place the highest stays. Keep the one that the network is surest "
        "of.": _grid(best=lambda old, new, was, now: new > old),
        "Of several notes at one place the lowest stays. Keep the one that the network is surest "
        "of.": _grid(best=lambda old, new, was, now: new < old),
        "Of several notes at one place the one that is nearest to it stays. Keep the one that the "
        "network is surest of.": _grid(rank=lambda sure, steps: -abs(steps - np.round(steps))),
        "Of several notes at one place the least sure one stays.": (
            _grid(best=lambda old, new, was, now: now < was)
        ),
        "Notes outside the phrase are moved to its ends. They belong to another phrase: leave "
        "them out.": _grid(edge="clipped"),
        "Notes outside the phrase come in again at its other end: a negative index counts from "
        "the end. Leave them out.": (_grid(edge="round the corner"), _grid(edge="from the end")),
        "A note that is heard a little before the phrase begins belongs to place 0. Whether a note "
        "is outside is said by its place, not by its onset.": (
            _grid(edge="by onset"),
            _grid(edge="by onset, clipped"),
        ),
        "The first or the last place stays empty. Places go from 0 to length - 1, both included.": (
            _grid(edge="by place, 1"),
            _grid(edge="by place, -1"),
        ),
        "A place should hold the pitch of the note. Yours holds its index, its place or its "
        "confidence.": (
            _grid(kept=lambda i, at, pitch, sure: i),
            _grid(kept=lambda i, at, pitch, sure: at),
            _grid(kept=lambda i, at, pitch, sure: sure),
        ),
        "Places where nothing begins should hold -1, which is no pitch. Yours hold something "
        "else.": (_grid(empty=0), _grid(empty=np.nan), _grid(empty=29)),
        "Where nothing begins, yours repeats the last pitch. That would say that the note begins "
        "again: -1 is asked.": _grid(again=True),
        "Places are counted in steps. Divide the onsets by the length of a step.": (
            _grid(unit=lambda step_s: 1.0),
            _grid(unit=lambda step_s: 1 / step_s),
        ),
    },
    differs=_misplaced,
    crash={
        IndexError: (
            "A place is a whole number (astype(int)) from 0 to length - 1. Leave out the notes "
            "whose place is outside before you write to it.",
            lambda onsets_s, pitches, sure, step_s, length: np.full(length, HELD)[
                np.round(onsets_s / step_s)
            ],
        )
    },
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


def _miscounted(
    got: tuple[NDArray, float],
    right: tuple[NDArray, float],
    sample_rate: int,
    hop_samples: int,
    strides: Sequence[int],
    sizes: Sequence[int],
) -> str:
    """Return which level, or whether the total, is not what it should be."""
    wrong = np.flatnonzero(~np.isclose(got[0], right[0], rtol=1e-6))
    part, is_now, should_be = (
        (f"level {wrong[0]}", got[0][wrong[0]], right[0][wrong[0]])
        if wrong.size
        else ("the total", got[1], right[1])
    )
    return (
        f"At {sample_rate} Hz with a hop of {hop_samples}, strides {strides} and codebooks "
        f"{sizes}, {part} should be {should_be:.6g} bits a second and is {is_now:.6g}."
    )


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
    returns=("two results, first an array with the bits a second of each level, then their total"),
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
        "of the level below.": (
            _cost(per_s=lambda f, s, i: f / np.prod(s[i:])),
            _cost(per_s=lambda f, s, i: f / np.prod(s[: i + 1])),
        ),
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
        "You count bytes. A byte is 8 bits; bits are asked.": (
            _cost(bits=lambda size: np.log2(size) / 8)
        ),
        "128 codewords have the numbers 0 to 127, and these take 7 bits: log2(128).": (
            _cost(bits=lambda size: int(size).bit_length())
        ),
        "You count codes a second. Each of them costs the log2 of its codebook's size.": (
            _cost(bits=lambda size: 1.0)
        ),
        "You count the bits of one code. Multiply by the codes a second.": (
            _cost(per_s=lambda f, s, i: 1.0)
        ),
        "You count the bits of one frame. Multiply by the frames a second.": (
            _cost(frames=lambda rate, hop: 1.0)
        ),
        "You count samples, not frames: divide the sample rate by the hop.": (
            _cost(frames=lambda rate, hop: rate)
        ),
        "Frames a second are the sample rate divided by the hop.": (
            _cost(frames=lambda rate, hop: hop / rate),
            _cost(frames=lambda rate, hop: rate * hop),
        ),
        "Something is rounded to whole numbers. A rate may be a fraction, such as 5.38 codes a "
        "second.": (
            _cost(frames=lambda rate, hop: rate // hop),
            _cost(frames=lambda rate, hop: round(rate / hop)),
            _cost(per_s=lambda f, s, i: f // s[i]),
            _cost(per_s=lambda f, s, i: round(f / s[i])),
        ),
        "Your total is the mean over levels. A decoder needs the codes of all of them: add up.": (
            _cost(total=np.mean)
        ),
        "Your total is the largest level's. A decoder needs the codes of all: add up.": (
            _cost(total=np.max)
        ),
    },
    differs=_miscounted,
    crash={
        TypeError: (
            "strides and sizes are tuples. Make them arrays (np.array) before you calculate, or "
            "loop over the levels.",
            lambda sample_rate, hop_samples, strides, sizes: sample_rate / hop_samples / strides,
        )
    },
    praise="Each level at its own clock: that is why the coarse one is cheap, and sees far.",
)

# ---- 3: which way the gradient goes --------------------------------------------------------------

Three = tuple[float, float, float]


def _gradients(
    *,
    pair: Callable[[NDArray, NDArray], float] = lambda u, v: float(np.mean(u * v)),
    factor: float = 2.0,
    through: Callable[[float, float], tuple[float, float]] = lambda d, c: (d, c),
    inner: Callable[[NDArray], NDArray] = lambda x: x,
    seen: Callable[[NDArray, NDArray], NDArray] = lambda x, z: z,
    encoder: Callable[[float, float, float], float] = lambda made, told, w: made - w * told,
    classifier: Callable[[float, float], float] = lambda told, w: told,
    surprise: Callable[[NDArray, NDArray], NDArray] = lambda p, label: p - label,
    decoder: Callable[[float], float] = lambda made: made,
    order: tuple[int, ...] = (0, 1, 2),
) -> Callable[..., Three]:
    """Return the right function (the defaults) or one that sends gradients another way.

    ``through`` gives the factors of the chain rule in decoder and classifier, ``inner`` that of the
    encoder, and ``seen`` what the other two multiply.
    """

    def gradients(x: NDArray, label: NDArray, a: float, d: float, c: float, weight: float) -> Three:
        z = a * x
        off = factor * (d * z - x)
        wrong = surprise(1 / (1 + np.exp(-c * z)), label)
        by_d, by_c = through(d, c)
        found = (
            encoder(by_d * pair(off, inner(x)), by_c * pair(wrong, inner(x)), weight),
            decoder(pair(off, seen(x, z))),
            classifier(pair(wrong, seen(x, z)), weight),
        )
        return found[order[0]], found[order[1]], found[order[2]]

    return gradients


def _other_way(
    got: Three,
    right: Three,
    x: NDArray,
    label: NDArray,
    a: float,
    d: float,
    c: float,
    weight: float,
) -> str:
    """Return which gradient is not what it should be."""
    at = int(np.argmax(~np.isclose(got, right, rtol=1e-4, atol=1e-6)))
    return (
        f"With x = {x.round(3)}, labels {label}, a = {a:g}, d = {d:g}, c = {c:g} and a weight of "
        f"{weight:g}, the gradient of {'adc'[at]} should be {right[at]:.5f}; yours is "
        f"{got[at]:.5f}."
    )


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
    returns="three numbers, the gradients of a, d and c in this order, each over the whole batch",
    names=("a", "d", "c"),
    mistakes={
        "Your encoder *helps* the classifier: the gradient that comes back from it is added. "
        "Reverse its sign, so that the encoder hides the instrument.": (
            _gradients(encoder=lambda made, told, w: made + w * told),
            _gradients(encoder=lambda made, told, w: made + told),
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
            _gradients(encoder=lambda made, told, w: -made - w * told),
            _gradients(encoder=lambda made, told, w: -w * (made + told)),
        ),
        "The decoder's gradient is weighted on its way to the encoder. It arrives as it is; the "
        "weight is for the classifier's.": (
            _gradients(encoder=lambda made, told, w: (1 - w) * made - w * told),
            _gradients(encoder=lambda made, told, w: w * (made - told)),
        ),
        "Your classifier does not learn. Its own gradient is that of the cross-entropy by c.": (
            _gradients(classifier=lambda told, w: 0.0)
        ),
        "The decoder's gradient is reversed. It has no rival.": (
            _gradients(decoder=lambda made: -made)
        ),
        "The factor 2 of the squared error's derivative is missing.": _gradients(factor=1.0),
        "The error of the decoder has the wrong sign: it is what was made less what should be.": (
            _gradients(factor=-2.0)
        ),
        "All three have the wrong sign. These are the steps; the gradients, which steps go "
        "against, are asked.": _gradients(
            encoder=lambda made, told, w: w * told - made,
            decoder=lambda made: -made,
            classifier=lambda told, w: -told,
        ),
        "These are the gradients in another order; a, d, c is asked.": (
            _gradients(order=(1, 0, 2)),
            _gradients(order=(0, 2, 1)),
            _gradients(order=(2, 1, 0)),
            _gradients(order=(1, 2, 0)),
        ),
        "A factor is missing on the way back to the encoder: the one gradient goes through the "
        "decoder, times d, the other through the classifier, times c.": (
            _gradients(through=lambda d, c: (1.0, c)),
            _gradients(through=lambda d, c: (d, 1.0)),
            _gradients(through=lambda d, c: (1.0, 1.0)),
        ),
        "Your encoder's gradient is that of z, not of a. As z = a x, it counts times x.": (
            _gradients(inner=np.ones_like)
        ),
        "d and c multiply z, not x: their gradients count times z.": (
            _gradients(seen=lambda x, z: x)
        ),
        "You add up over the batch; both losses are means.": (
            _gradients(pair=lambda u, v: float(np.sum(u * v)))
        ),
        "You multiply means. First multiply within each item of the batch, then take the mean.": (
            _gradients(pair=lambda u, v: float(np.mean(u) * np.mean(v)))
        ),
        "The slope of the sigmoid, p (1 - p), is counted twice. With the cross-entropy it cancels: "
        "the derivative by c z is p - label.": (
            _gradients(surprise=lambda p, label: (p - label) * p * (1 - p)),
            _gradients(surprise=lambda p, label: 2 * (p - label) * p * (1 - p)),
        ),
        "The sigmoid is missing: p is the sigmoid of c z.": (
            _gradients(surprise=lambda p, label: np.log(p / (1 - p)) - label)
        ),
        "Your cross-entropy has the wrong sign: its derivative by the logit is p - label.": (
            _gradients(surprise=lambda p, label: label - p)
        ),
    },
    differs=_other_way,
    rtol=1e-4,  # of single precision
    atol=1e-6,
    praise="One sign, and a network learns what it should *not* say.",
)

EXERCISES: Mapping[str, Exercise] = {
    "chains.1": GRID,
    "chains.2": COST,
    "chains.3": WAYS,
}
