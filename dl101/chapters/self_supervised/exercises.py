"""The exercises of the chapter on learning without labels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dl101.lab.exercise import Exercise, Function

# ---- 1: the contrastive loss --------------------------------------------------------------------


def _unit(z: NDArray) -> NDArray:
    return z / np.linalg.norm(z, axis=1, keepdims=True)


def _others(n: int) -> NDArray:
    """Return what each of 2 n rows is compared with: all but itself."""
    return ~np.eye(2 * n, dtype=bool)


def _without_the_partner(n: int) -> NDArray:
    return _others(n) & ~np.roll(np.eye(2 * n, dtype=bool), n, axis=1)


def _other_view(n: int) -> NDArray:
    return np.kron(~np.eye(2, dtype=bool), np.ones((n, n), dtype=bool))


def _contrast(
    *,
    unit: Callable[[NDArray], NDArray] = _unit,
    scale: Callable[[float], float] = lambda temperature: 1 / temperature,
    compared: Callable[[int], NDArray] = _others,
    twice: bool = False,
    rows: Callable[[int], slice] = lambda n: slice(None),
    reduce: Callable[[NDArray], Any] = np.mean,
    log: Callable[[NDArray], NDArray] = lambda share: -np.log(share),
) -> Callable[[NDArray, NDArray, float], Any]:
    """Return an answer from its choices; with ``twice`` the partner is a negative, too."""

    def nt_xent(first: NDArray, second: NDArray, temperature: float) -> Any:
        z, n = unit(np.concatenate([first, second])), len(first)
        likeness = np.exp(z @ z.T * scale(temperature))
        partner = likeness[np.arange(2 * n), np.roll(np.arange(2 * n), n)]
        total = (likeness * compared(n)).sum(axis=1) + twice * partner
        return reduce(log(partner / total)[rows(n)])

    return nt_xent


def _in_rows(first: NDArray, second: NDArray, temperature: float) -> float:
    """Take rows 0 and 1, 2 and 3, ... of the stack for partners."""
    both = np.concatenate([first, second])
    return _contrast()(both[::2], both[1::2], temperature)


def _pairs() -> list[tuple[NDArray, NDArray, float]]:
    rng = np.random.default_rng([16, 1])
    cases = []
    for n, d, temperature in ((4, 3, 0.5), (6, 5, 0.2), (8, 4, 0.7)):
        first = rng.normal(size=(n, d)) * rng.uniform(0.5, 2, (n, 1))
        cases.append((first, first + 0.6 * rng.normal(size=(n, d)), temperature))
    return cases


CONTRAST = Function(
    title="the contrastive loss",
    minutes=25,
    rubric={
        "vectors of length 1, and their products divided by the temperature": 1,
        "each of the 2 n views has one partner and is compared with all others but itself": 2,
        "minus the logarithm of the partner's share, as a mean over all views": 1,
    },
    right=_contrast(),
    cases=_pairs,
    returns="one number",
    rtol=1e-5,
    mistakes={
        "The temperature is on the wrong side: you multiply by it. Divide, so that a low "
        "temperature makes small differences large.": _contrast(scale=lambda t: t),
        "The temperature does nothing: divide the products by it.": _contrast(scale=lambda t: 1.0),
        "The partner counts twice below the line: once as partner, once more among the negatives. "
        "Then the loss can't fall to 0 however alike the partners are.": _contrast(twice=True),
        "The partner is missing below the line. Its share has to be taken of all others, itself "
        "included.": _contrast(compared=_without_the_partner),
        "Each view is compared with itself, too. Its likeness to itself is the largest there is, "
        "and nothing can be learned from it: leave out the diagonal.": (
            _contrast(compared=lambda n: np.ones((2 * n, 2 * n), dtype=bool))
        ),
        "Each view is compared with the views of the other kind only. All of the 2 n - 1 others "
        "are in the batch, those of its own kind as well.": _contrast(compared=_other_view),
        "You look from the first views at the second only. Each of the 2 n views is compared with "
        "all 2 n - 1 others, those of its own kind as well.": (
            _contrast(compared=_other_view, rows=lambda n: slice(0, n))
        ),
        "You look from the first views only. Each pair counts in both directions.": (
            _contrast(rows=lambda n: slice(0, n))
        ),
        "You look from the second views only. Each pair counts in both directions.": (
            _contrast(rows=lambda n: slice(n, None))
        ),
        "The vectors keep their lengths: bring each to length 1, so that the products are "
        "cosines.": _contrast(unit=lambda z: z),
        "You normalise columns instead of rows: each *view* has to have length 1.": (
            _contrast(unit=lambda z: z / np.linalg.norm(z, axis=0, keepdims=True))
        ),
        "The loss is a sum; take the mean over the 2 n views.": _contrast(reduce=np.sum),
        "The mean is over pairs of a sum over both directions, so it is twice too large: take the "
        "mean over the 2 n views.": _contrast(reduce=lambda x: 2 * np.mean(x)),
        "The sign is wrong: the share of the partner should grow, so its logarithm counts "
        "negative.": _contrast(log=np.log),
        "There is no logarithm: you return the mean share of the partner.": (
            _contrast(log=lambda share: share)
        ),
        "Rows that follow each other are taken for partners. Stacked, row i of the first views "
        "belongs to row n + i.": _in_rows,
    },
    differs="In the smallest hidden case the loss should be {right:.4g} and is {got:.4g}.",
    praise="That is all of SimCLR's loss, and of CLMR's.",
)

# ---- 2: two views -------------------------------------------------------------------------------

Augment = Callable[[NDArray, np.random.Generator], NDArray]


def _views(sounds: NDArray, augment: Augment, seed: int) -> tuple[NDArray, NDArray]:
    rng = np.random.default_rng(seed)
    pairs = [(augment(sound, rng), augment(sound, rng)) for sound in sounds]
    return np.stack([a for a, _ in pairs]), np.stack([b for _, b in pairs])


def _anew(
    when: str, *, chained: bool = False, plain: bool = False
) -> Callable[..., tuple[NDArray, NDArray]]:
    """Return an answer that makes its generator anew for each ``"view"``, ``"sound"`` or never."""

    def two_views(sounds: NDArray, augment: Augment, seed: int) -> tuple[NDArray, NDArray]:
        rng = np.random.default_rng(seed)
        found: tuple[list, list] = ([], [])
        for sound in sounds:
            if when == "sound":
                rng = np.random.default_rng(seed)
            for number in (0, 1):
                if when == "view":
                    rng = np.random.default_rng(seed)
                if plain and number == 0:
                    found[0].append(sound)
                    continue
                source = found[0][-1] if chained and number == 1 else sound
                found[number].append(augment(source, rng))
        return np.stack(found[0]), np.stack(found[1])

    return two_views


def _one_after_another(sounds: NDArray, augment: Augment, seed: int) -> tuple[NDArray, NDArray]:
    rng = np.random.default_rng(seed)
    return tuple(np.stack([augment(sound, rng) for sound in sounds]) for _ in range(2))


def _a_seed_each(sounds: NDArray, augment: Augment, seed: int) -> tuple[NDArray, NDArray]:
    found = []
    for number in (0, 1):
        rng = np.random.default_rng(seed + number)
        found.append(np.stack([augment(sound, rng) for sound in sounds]))
    return tuple(found)


def _same(sounds: NDArray, augment: Augment, seed: int) -> tuple[NDArray, NDArray]:
    rng = np.random.default_rng(seed)
    views = np.stack([augment(sound, rng) for sound in sounds])
    return views, views


def _shaken(sound: NDArray, rng: np.random.Generator) -> NDArray:
    return np.roll(sound, int(rng.integers(sound.size))) * rng.uniform(0.3, 1.0)


def _hissing(sound: NDArray, rng: np.random.Generator) -> NDArray:
    return sound + 0.3 * rng.normal(size=sound.size)


def _sounds() -> list[tuple[NDArray, Augment, int]]:
    rng = np.random.default_rng([16, 2])
    return [
        (rng.normal(size=(3, 8)), _shaken, 7),
        (rng.normal(size=(4, 6)), _hissing, 0),
        (rng.normal(size=(5, 11)), _shaken, 3),
    ]


VIEWS = Function(
    title="two views that differ",
    minutes=10,
    rubric={
        "one generator, made once from the seed, which goes on from view to view": 2,
        "both views are made from the sound itself, and returned in two arrays": 1,
    },
    right=_views,
    cases=_sounds,
    returns="two arrays (sounds, samples)",
    names=("first", "second"),
    mistakes={
        "Both views are made with the same random state, so they are the same: a network has "
        "nothing to learn from such a pair. Make the generator once, and let it go on.": (
            _anew("view"),
            _same,
        ),
        "Each sound gets the same two augmentations, because the generator is made anew for each. "
        "Make it once for the batch.": _anew("sound"),
        "The second view is an augmentation of the first. Both have to come from the sound.": (
            _anew("never", chained=True)
        ),
        "The first view is the sound as it is. Both views are augmented.": (
            _anew("never", plain=True)
        ),
        "You make all first views, then all second ones. That is as good in practice; asked are, "
        "to be reproducible, both views of a sound before those of the next.": _one_after_another,
        "The second views have a seed of their own. It works, until two batches use seeds in a "
        "row: then one's second views are the other's first. Let one generator go on.": (
            _a_seed_each
        ),
        "The two results are in the wrong order.": lambda *case: _views(*case)[::-1],
    },
    differs="In a hidden case the value of part {at[0]} at {at} should be {right:.4g} and is "
    "{got:.4g}.",
    praise="A pair with one random state is the most silent of all errors: the loss falls at once.",
)

# ---- 3: from crops to tracks --------------------------------------------------------------------


def _sigmoid(logits: NDArray) -> NDArray:
    return 1 / (1 + np.exp(-logits))


def _of_tracks(
    *,
    before: Callable[[NDArray], NDArray] = _sigmoid,
    reduce: Callable[..., NDArray] = np.mean,
    after: Callable[[NDArray], NDArray] = lambda mean: mean,
) -> Callable[[NDArray, NDArray], NDArray]:
    """Return an answer from its choices."""

    def of_tracks(logits: NDArray, track: NDArray) -> NDArray:
        said = before(logits)
        rows = [reduce(said[track == number], axis=0) for number in range(track.max() + 1)]
        return after(np.stack(rows))

    return of_tracks


def _softmax(logits: NDArray) -> NDArray:
    share = np.exp(logits - logits.max(axis=1, keepdims=True))
    return share / share.sum(axis=1, keepdims=True)


def _decided(said: NDArray) -> NDArray:
    return (said >= 0.5).astype(float)


def _by_largest_number(logits: NDArray, track: NDArray) -> NDArray:
    sums = _of_tracks(reduce=np.sum)(logits, track)
    return sums / np.bincount(track).max()


def _crops() -> list[tuple[NDArray, NDArray]]:
    rng = np.random.default_rng([16, 3])
    cases = []
    for counts in ((2, 3, 1), (4, 2, 3, 3), (3, 5, 1)):
        track = np.repeat(np.arange(len(counts)), counts)
        order = rng.permutation(track.size)  # crops of a track need not follow each other
        cases.append((rng.normal(0, 2.5, (track.size, 4)), track[order]))
    return cases


TRACKS = Function(
    title="from crops to tracks",
    minutes=10,
    rubric={
        "probabilities of the crops are averaged, not logits and not decisions": 2,
        "each track is divided by its own number of crops, wherever these stand": 1,
    },
    right=_of_tracks(),
    cases=_crops,
    returns="an array (tracks, classes)",
    mistakes={
        "You decide crop by crop and average what was decided: a crop that is hardly in favour "
        "then counts as much as one that is sure. Average probabilities; decide last.": (
            _of_tracks(before=lambda x: _decided(_sigmoid(x)))
        ),
        "You return decisions. Areas under curves need how likely each class is: return the mean "
        "probability.": _of_tracks(after=_decided),
        "You average logits and take the sigmoid of the mean. Published probes average the "
        "sigmoids: there one crop that is very sure cannot outvote all others.": (
            _of_tracks(before=lambda x: x, after=_sigmoid)
        ),
        "These are logits still: take the sigmoid of each.": _of_tracks(before=lambda x: x),
        "The softmax makes classes compete. Several tags can hold at once: each has a sigmoid of "
        "its own.": _of_tracks(before=_softmax),
        "You take the largest of the crops. Then a long track has more chances to be wrong: take "
        "the mean.": _of_tracks(reduce=np.max),
        "You take the middle one of the crops; asked is the mean.": _of_tracks(reduce=np.median),
        "The crops are added up, not averaged.": _of_tracks(reduce=np.sum),
        "All tracks are divided by the same number of crops. Each has its own.": (
            _by_largest_number
        ),
    },
    differs="In a hidden case the value at {at} should be {right:.4g} and is {got:.4g}.",
    praise="The mean of sigmoids, as CLMR's probes have it.",
)

# ---- 4: has it collapsed? -----------------------------------------------------------------------


def _squares(a: NDArray, b: NDArray) -> NDArray:
    return ((a - b) ** 2).sum(axis=-1)


def _geometry(
    *,
    unit: Callable[[NDArray], NDArray] = _unit,
    distance: Callable[[NDArray], NDArray] = lambda squares: squares,
    heat: float = 2.0,
    itself: bool = False,
    inside: Callable[[NDArray], Any] = lambda likeness: np.log(likeness.mean()),
    mean: Callable[[NDArray], Any] = np.mean,
    swapped: bool = False,
) -> Callable[[NDArray, NDArray], tuple]:
    """Return an answer from its choices."""

    def geometry(first: NDArray, second: NDArray) -> tuple:
        a, b = unit(first), unit(second)
        alignment = mean(distance(_squares(a, b)))
        apart = distance(_squares(a[:, None], a[None]))
        pairs = slice(None) if itself else ~np.eye(len(a), dtype=bool)
        uniformity = inside(np.exp(-heat * apart[pairs]))
        return (uniformity, alignment) if swapped else (alignment, uniformity)

    return geometry


def _over_numbers(first: NDArray, second: NDArray) -> tuple:
    alignment, uniformity = _geometry()(first, second)
    return alignment / first.shape[1], uniformity


def _clouds() -> list[tuple[NDArray, NDArray]]:
    rng = np.random.default_rng([16, 4])
    cases = []
    for n, d in ((4, 3), (6, 4), (9, 5)):
        first = rng.normal(size=(n, d)) * rng.uniform(0.5, 2, (n, 1))
        cases.append((first, first + 0.4 * rng.normal(size=(n, d))))
    return cases


COLLAPSE = Function(
    title="has it collapsed?",
    minutes=15,
    rubric={
        "alignment: the mean squared distance of partners of length 1": 1,
        "uniformity: the logarithm of a mean over all pairs of different items": 2,
    },
    right=_geometry(),
    cases=_clouds,
    returns="alignment and uniformity, two numbers",
    names=("alignment", "uniformity"),
    apart=True,
    rtol=1e-5,
    mistakes={
        "The vectors keep their lengths. Bring each row to length 1 first: else a network looks "
        "better just by making everything larger.": _geometry(unit=lambda z: z),
        "Distances have to be squared, in both measures.": _geometry(distance=np.sqrt),
        "The alignment is a sum over the pairs; take the mean.": _geometry(mean=np.sum),
        "The alignment is a mean over the numbers of a vector, too. A squared distance is their "
        "sum; the mean is over pairs only.": _over_numbers,
        "The uniformity is that of the second views; asked is that of the first.": (
            lambda first, second: _geometry()(second, first)
        ),
        "Each item is paired with itself, too. It has the distance 0 to itself, always, which "
        "hides how far apart the others are: leave out the diagonal.": _geometry(itself=True),
        "You take the mean of the logarithms, which is minus twice the mean squared distance. "
        "Asked is the logarithm of the mean: it minds the pairs that are close.": (
            _geometry(inside=lambda likeness: np.log(likeness).mean())
        ),
        "The logarithm is missing in the uniformity.": _geometry(inside=np.mean),
        "The sign of the uniformity is wrong: it is negative, and lower is better.": (
            _geometry(inside=lambda likeness: -np.log(likeness.mean()))
        ),
        "The factor in the exponent is 2: exp(-2 d^2).": _geometry(heat=1.0),
        "The exponent has the wrong sign: pairs that are close count most, exp(-2 d^2).": (
            _geometry(heat=-2.0)
        ),
        "The two results are in the wrong order: first the alignment.": _geometry(swapped=True),
    },
    differs="In a hidden case, part {at[0]} of (alignment, uniformity) should be {right:.4g} and "
    "is {got:.4g}.",
    praise="Aligned and all at one point is a collapse; aligned and spread out is what we want.",
)

EXERCISES: Mapping[str, Exercise] = {
    "self_supervised.1": CONTRAST,
    "self_supervised.2": VIEWS,
    "self_supervised.3": TRACKS,
    "self_supervised.4": COLLAPSE,
}
