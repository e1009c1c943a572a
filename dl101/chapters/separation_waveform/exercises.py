"""The exercises of the chapter on source separation end to end."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from dl101.lab.exercise import Exercise, Function

# ---- 1: new mixtures of old stems ----------------------------------------------------------------

Arrays = tuple[NDArray, NDArray]


def _remix(
    *,
    sources: Callable[[NDArray, NDArray], NDArray] = (
        lambda stems, pieces: stems[pieces, np.arange(stems.shape[1])]
    ),
    loudness: Callable[[NDArray], NDArray] = lambda gains_db: 10 ** (gains_db / 20),
    gains_of: Callable[[NDArray, NDArray], NDArray] = lambda gains, pieces: gains,
    mixed: Callable[[NDArray, NDArray, NDArray], NDArray] = (
        lambda old, new, gain: new.sum(axis=1)
    ),
    targets: Callable[[NDArray, NDArray], NDArray] = lambda taken, new: new,
    finish: Callable[[NDArray, NDArray], Arrays] = lambda mixtures, stems: (mixtures, stems),
) -> Callable[..., Arrays]:
    """Return the right function (the defaults) or one that breaks the sum."""

    def remix(stems: NDArray, pieces: NDArray, gains_db: NDArray) -> Arrays:
        taken = sources(stems, pieces)
        gain = gains_of(loudness(gains_db), pieces)[..., None]
        new = gain * taken
        return finish(mixed(stems, new, gain), targets(taken, new))

    return remix


def _in_place(stems: NDArray, pieces: NDArray, gains_db: NDArray) -> Arrays:
    new = stems.copy()
    for i, k in np.ndindex(pieces.shape):
        new[i, k] = new[pieces[i, k], k] * 10 ** (gains_db[i, k] / 20)
    return new.sum(axis=1), new


def _batch(seed: int, n_batch: int, n_stems: int, n_samples: int) -> tuple[NDArray, ...]:
    rng = np.random.default_rng([14, 1, seed])
    stems = rng.normal(0, 0.1, (n_batch, n_stems, n_samples))
    pieces = np.stack([rng.permutation(n_batch) for _ in range(n_stems)], axis=1)
    pieces[:, 0] = np.roll(np.arange(n_batch), 1 + seed % 2)  # never all from one song
    return stems, pieces, rng.uniform(-6, 6, (n_batch, n_stems))


REMIX = Function(
    title="new mixtures of old stems",
    minutes=15,
    rubric={
        "each stem comes from the piece that is asked for, and is changed by its own gain": 1,
        "a gain in dB is a factor of 10 ** (dB / 20)": 1,
        "the mixture is the sum of the stems that are handed out as targets": 2,
    },
    right=_remix(),
    cases=lambda: [
        _batch(0, 3, 4, 5),
        _batch(1, 4, 4, 7),
        _batch(2, 5, 3, 6),
        _batch(3, 3, 2, 4),
    ],
    returns="two arrays: mixtures (batch, time) and stems (batch, stem, time)",
    mistakes={
        "The mixtures are those of the old stems: the network hears one song and is told another. "
        "Sum the stems after they have been changed.": _remix(
            mixed=lambda old, new, gain: old.sum(axis=1)
        ),
        "The mixtures are new, but the stems are handed out without their gains: the targets no "
        "longer sum to the mixture.": _remix(targets=lambda taken, new: taken),
        "The stems have their gains, the mixtures don't: sum what is handed out.": _remix(
            mixed=lambda old, new, gain: (new / gain).sum(axis=1)
        ),
        "The gains are applied twice in the mixtures: sum the new stems as they are.": _remix(
            mixed=lambda old, new, gain: (gain * new).sum(axis=1)
        ),
        "All stems of a mixture come from one piece, and so from one song. `pieces[i, k]` is asked "
        "for each stem: stems[pieces[i, k], k].": _remix(
            sources=lambda stems, pieces: stems[pieces[:, 0]]
        ),
        "`pieces` is not used: every stem stays in its own mixture.": _remix(
            sources=lambda stems, pieces: stems
        ),
        "`pieces` is read the wrong way round: pieces[i, k] says where stem k of new mixture i "
        "comes from, not where it goes.": _remix(
            sources=lambda stems, pieces: stems[
                np.argsort(pieces, axis=0), np.arange(stems.shape[1])
            ]
        ),
        "The gains travel with the old pieces: gains_db[i, k] belongs to stem k of the new "
        "mixture i.": _remix(
            gains_of=lambda gains, pieces: gains[pieces, np.arange(gains.shape[1])]
        ),
        "All stems of a mixture get one gain. The balance of a mixture changes only if each stem "
        "has its own.": (
            _remix(gains_of=lambda gains, pieces: np.repeat(gains[:, :1], gains.shape[1], axis=1)),
            _remix(
                gains_of=lambda gains, pieces: np.broadcast_to(
                    gains.mean(axis=1, keepdims=True), gains.shape
                )
            ),
        ),
        "The gains are used as factors; they are in dB: 10 ** (dB / 20).": _remix(
            loudness=lambda gains_db: gains_db
        ),
        "10 ** (dB / 10) is a ratio of powers. Samples are amplitudes: 10 ** (dB / 20).": _remix(
            loudness=lambda gains_db: 10 ** (gains_db / 10)
        ),
        "The gains are turned round: positive dB make a stem louder.": _remix(
            loudness=lambda gains_db: 10 ** (-gains_db / 20)
        ),
        "The mixtures are the mean of the stems. A mixture is their sum: with the mean, the "
        "targets are four times too loud for it.": _remix(
            mixed=lambda old, new, gain: new.mean(axis=1)
        ),
        "The mixtures are brought to one level after they were made, the stems are not: whatever "
        "is done to a mixture must be done to its stems.": (
            _remix(
                finish=lambda mixtures, stems: (
                    mixtures / np.abs(mixtures).max(axis=1, keepdims=True),
                    stems,
                )
            ),
            _remix(finish=lambda mixtures, stems: (np.clip(mixtures, -0.1, 0.1), stems)),
        ),
        "The sum runs over the mixtures of the batch, not over the stems of a mixture: that is "
        "axis 1.": _remix(mixed=lambda old, new, gain: new.sum(axis=0)),
        "You write new stems over old ones that are still to be read: fill a new array.": (
            _in_place
        ),
        "The stems come first; asked are mixtures, then stems.": _remix(
            finish=lambda mixtures, stems: (stems, mixtures)
        ),
    },
    differs="In a hidden case, value {at} of the result (first 0: mixtures, 1: stems) should be "
    "{right:.4f} and is {got:.4f}.",
    praise="The targets sum to what the network hears, whatever has been done to them.",
)

# ---- 2: how far a Wave-U-Net sees ----------------------------------------------------------------


def _field(
    *,
    up: Callable[[int, int], int] = lambda n, taps: n + taps - 1,
    rise: Callable[[int], int] = lambda n: (n + 3) // 2,
    bottom: Callable[[int, int], int] = lambda n, taps: n + taps - 1,
    down: Callable[[int, int], int] = lambda n, taps: 2 * n - 1 + taps - 1,
    levels: int = 0,
) -> Callable[[int, int, int], int]:
    """Return the right function (the defaults) or one that forgets a part of the way."""

    def receptive_field(n_layers: int, down_taps: int, up_taps: int) -> int:
        n = 1
        for _ in range(n_layers + levels):
            n = rise(up(n, up_taps))
        n = bottom(n, down_taps)
        for _ in range(n_layers + levels):
            n = down(n, down_taps)
        return n

    return receptive_field


def _no_way_up(n_layers: int, down_taps: int, up_taps: int) -> int:
    return (down_taps - 1) * (2 ** (n_layers + 1) - 1) + 1


def _added(n_layers: int, down_taps: int, up_taps: int) -> int:
    return 1 + n_layers * (up_taps - 1) + (n_layers + 1) * (down_taps - 1)


def _by_rate(n_layers: int, down_taps: int, up_taps: int) -> int:
    return _no_way_up(n_layers, down_taps, 0) + (up_taps - 1) * (2**n_layers - 1)


def _swapped(n_layers: int, down_taps: int, up_taps: int) -> int:
    n = 1
    for _ in range(n_layers):
        n = (n + 3) // 2 + up_taps - 1
    n += down_taps - 1
    for _ in range(n_layers):
        n = 2 * n - 1 + down_taps - 1
    return n


FIELD = Function(
    title="how far a Wave-U-Net sees",
    minutes=25,
    rubric={
        "a convolution adds its taps less one, on the level where it stands": 1,
        "n steps at double rate come from (n + 3) // 2 steps below, at the most": 1,
        "from n steps that were kept, one every other, to 2 n - 1 that there were": 1,
        "both ways and the bottom are counted": 1,
    },
    right=_field(),
    cases=lambda: [(1, 3, 3), (2, 5, 3), (8, 15, 5), (12, 15, 5), (3, 15, 5), (4, 7, 9), (5, 9, 3)],
    returns="a whole number of samples",
    mistakes={
        "Only the way down and the bottom are counted. What comes out is made by the way up, whose "
        "convolutions look at neighbours, too.": _no_way_up,
        "Taps are added up as if all levels had the rate of the input. A tap of level k spans 2**k "
        "samples.": _added,
        "You added up each convolution's taps less one, times the spacing of its steps. The "
        "interpolations look, too: a woven step needs the old ones on both sides.": _by_rate,
        "The bottom is left out: below the last level is one more convolution of down_taps.": (
            _field(bottom=lambda n, taps: n)
        ),
        "The convolution at the bottom has down_taps; you counted as if it were one of the way "
        "up.": lambda n, d, u: _field(bottom=lambda m, taps: m + u - 1)(n, d, u),
        "Between n steps that were kept, one every other, lie n - 1 that were not: 2 n - 1, not "
        "2 n.": _field(down=lambda n, taps: 2 * n + taps - 1),
        "A convolution adds its taps less one: one tap looks at the place itself.": (
            _field(
                up=lambda n, taps: n + taps,
                bottom=lambda n, taps: n + taps,
                down=lambda n, taps: 2 * n - 1 + taps,
            )
        ),
        "Half as many steps lie below, but a new step lies between two old ones and needs both: "
        "(n + 3) // 2 at the most.": (
            _field(rise=lambda n: n // 2),
            _field(rise=lambda n: (n + 1) // 2),
        ),
        "You took the luckier samples, which lie where an old step was: (n + 2) // 2 steps. Asked "
        "is the most, for samples that lie between.": _field(rise=lambda n: n // 2 + 1),
        "On the way down the rate is halved first and filtered then in your count; the convolution "
        "comes first, at the full rate.": _field(down=lambda n, taps: 2 * (n + taps - 1) - 1),
        "On the way up, the convolution comes after the interpolation: going back it is met "
        "first.": _swapped,
        "The way up does not halve: going back from the output, each interpolation is passed at "
        "half as many steps and a few.": _field(rise=lambda n: n),
        "There is one level too many in your count.": _field(levels=1),
        "There is one level too few in your count.": _field(levels=-1),
        "You counted the samples that are lost at both ends: the receptive field is one more.": (
            lambda n, d, u: _field()(n, d, u) - 1
        ),
        "You counted to one side only: a convolution looks at both.": (
            lambda n, d, u: (_field()(n, d, u) - 1) // 2,
            lambda n, d, u: (_field()(n, d, u) + 1) // 2,
        ),
        "The two kinds of taps are exchanged: down_taps come second, up_taps third.": (
            lambda n, d, u: _field()(n, u, d)
        ),
    },
    differs="With n_layers = {0}, down_taps = {1} and up_taps = {2} it sees {right:g} samples; you "
    "say {got:g}. Draw a network of one level with three taps, and count.",
    praise="This many samples, and not one more, can change what it says of one.",
)

# ---- 3: which samples are compared ---------------------------------------------------------------


def _middle(x: NDArray, n: int, *, late: int = 0) -> NDArray:
    start = (x.shape[-1] - n) // 2 + late
    return x[..., start : start + n]


def _loss(
    *,
    cut: Callable[[NDArray, int], NDArray] = _middle,
    wanted: Callable[[NDArray, NDArray], NDArray] = lambda stems, cut_stems: cut_stems,
    distance: Callable[[NDArray], NDArray] = np.abs,
    total: Callable[[NDArray], float] = np.mean,
) -> Callable[[NDArray, NDArray], float]:
    """Return the right function (the defaults) or one that compares other samples."""

    def loss(made: NDArray, stems: NDArray) -> float:
        aligned = wanted(stems, cut(stems, made.shape[-1]))
        return float(total(distance(made - aligned)))

    return loss


def _padded(made: NDArray, stems: NDArray) -> float:
    missing = stems.shape[-1] - made.shape[-1]
    edges = ((0, 0),) * (made.ndim - 1) + ((missing // 2, missing - missing // 2),)
    return float(np.abs(np.pad(made, edges) - stems).mean())


def _stretched(made: NDArray, stems: NDArray) -> float:
    places = np.linspace(0, stems.shape[-1] - 1, made.shape[-1]).round().astype(int)
    return float(np.abs(made - stems[..., places]).mean())


def _said(seed: int, shape: tuple[int, ...], lost: int) -> tuple[NDArray, NDArray]:
    rng = np.random.default_rng([14, 3, seed])
    stems = rng.normal(0, 1, (*shape, 40 + 6 * seed + lost))
    made = _middle(stems, stems.shape[-1] - lost)
    return 0.8 * made + 0.1 * rng.normal(0, 1, made.shape), stems


ALIGN = Function(
    title="which samples are compared",
    minutes=10,
    rubric={
        "the stems are cut to their middle: as many samples are left out before as after": 2,
        "the mean of absolute differences over all stems and samples": 1,
    },
    right=_loss(),
    cases=lambda: [
        _said(0, (4,), 10),
        _said(1, (2, 4), 24),
        _said(2, (3, 4, 2), 8),
        _said(3, (4,), 40),
    ],
    returns="one number",
    mistakes={
        "You compare with the first samples of the stems. The network has looked at samples before "
        "and after: what it says belongs to the middle.": _loss(cut=lambda x, n: x[..., :n]),
        "You compare with the last samples of the stems. The network has looked at samples before "
        "and after: what it says belongs to the middle.": _loss(cut=lambda x, n: x[..., -n:]),
        "Your middle is one sample late.": _loss(cut=lambda x, n: _middle(x, n, late=1)),
        "Your middle is one sample early.": _loss(cut=lambda x, n: _middle(x, n, late=-1)),
        "You filled up what the network said with zeros, and compare them with stems that sound. "
        "Leave out the samples of which it says nothing.": _padded,
        "You took samples from all over the stems so that the lengths fit: that is another tempo. "
        "Cut off the ends.": _stretched,
        "You squared the differences; asked are absolute ones.": _loss(distance=np.square),
        "You sum up; asked is the mean, which does not grow with the length.": _loss(total=np.sum),
        "The differences cancel each other: take absolute values before the mean.": _loss(
            distance=lambda x: x
        ),
        "The absolute value is taken of the mean; take it of each difference.": _loss(
            distance=lambda x: x, total=lambda x: abs(np.mean(x))
        ),
        "You took the root of the mean square; asked are absolute values.": _loss(
            distance=np.square, total=lambda x: float(np.sqrt(np.mean(x)))
        ),
        "You took the median; asked is the mean.": _loss(total=np.median),
    },
    differs="For stems of shape {1.shape} and an output of shape {0.shape} the loss should be "
    "{right:.4f} and is {got:.4f}.",
    praise="Output and truth lie over each other: sample on sample.",
)


EXERCISES: Mapping[str, Exercise] = {
    "separation_waveform.1": REMIX,
    "separation_waveform.2": FIELD,
    "separation_waveform.3": ALIGN,
}
