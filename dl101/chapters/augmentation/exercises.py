"""The exercises of the chapter on augmentation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dl101.lab.exercise import Behaviour, Exercise, Function, NotAccepted, read, shapes

# ---- 1: noise at an SNR ------------------------------------------------------------------------


def _sounds() -> list[tuple[NDArray, NDArray, float]]:
    """Return audio and noise of quite different levels, neither with power 1."""
    cases = []
    for index, snr_db in enumerate((0.0, 12.0, -6.0, 20.0)):
        rng = np.random.default_rng([106, 1, index])
        audio = rng.uniform(0.02, 0.3) * np.sin(np.arange(4000) * rng.uniform(0.1, 0.5))
        cases.append((audio, rng.uniform(0.4, 3.0) * rng.standard_normal(4000), snr_db))
    return cases


def _power(x: NDArray) -> float:
    return float(np.mean(x**2))


def _scaled(factor: Callable[[float, float, float], float]) -> Callable[..., NDArray]:
    """Return an answer by its factor of the noise, from both powers and the SNR."""
    return lambda audio, noise, snr_db: audio + factor(_power(audio), _power(noise), snr_db) * noise


def _factor(sound: NDArray, noise: NDArray) -> float | None:
    """Return the number that the noise was multiplied by, or None if there is no such number."""
    factor = float(sound @ noise / (noise @ noise))
    return factor if np.allclose(sound, factor * noise, atol=1e-6) else None


def _noise_upright(got: NDArray, right: NDArray, audio: NDArray, noise: NDArray, _: float) -> Any:
    """Turn the noise back: its sign does not matter."""
    return got if (got - audio) @ noise >= 0 else 2 * audio - got


def _snr_db(mix: NDArray, audio: NDArray) -> float:
    return 10 * np.log10(_power(audio) / max(_power(mix - audio), 1e-30))


NOISE = Function(
    title="noise at an SNR",
    minutes=15,
    rubric={
        "the factor of the noise is the ratio of the two RMS values": 1,
        "decibels of power become an amplitude: 10 ** (snr_db / 20), dividing": 1,
    },
    right=_scaled(lambda x, n, snr: np.sqrt(x / n) * 10 ** (-snr / 20)),
    cases=_sounds,
    returns="an array as long as the audio",
    rtol=1e-6,
    atol=1e-6,
    forgive=_noise_upright,
    mistakes={
        "You divide amplitudes by 10 ** (snr_db / 10). That is the ratio of *powers*; amplitudes "
        "go with its root, 10 ** (snr_db / 20).": _scaled(
            lambda x, n, snr: np.sqrt(x / n) * 10 ** (-snr / 10)
        ),
        "You multiply the noise by a ratio of powers. A factor g changes the power by g², so take "
        "the root.": _scaled(lambda x, n, snr: x / n * 10 ** (-snr / 10)),
        "The powers of audio and noise are compared where their amplitudes should be: take the "
        "root of the mean squares (the RMS) first.": _scaled(
            lambda x, n, snr: x / n * 10 ** (-snr / 20)
        ),
        "The noise gets louder as snr_db grows. It is the *signal* that a high SNR puts above the "
        "noise: divide by 10 ** (snr_db / 20).": _scaled(
            lambda x, n, snr: np.sqrt(x / n) * 10 ** (snr / 20)
        ),
        "The ratio of the levels is upside down: RMS of the audio over RMS of the noise, so that "
        "noise which is already loud gets a smaller factor.": _scaled(
            lambda x, n, snr: np.sqrt(n / x) * 10 ** (-snr / 20)
        ),
        "You take it that the noise has power 1. Divide by its own RMS as well.": _scaled(
            lambda x, n, snr: np.sqrt(x) * 10 ** (-snr / 20)
        ),
        "You take it that the audio has power 1. An SNR is relative: the noise follows the RMS of "
        "the audio.": _scaled(lambda x, n, snr: 10 ** (-snr / 20) / np.sqrt(n)),
        "The noise is scaled by the SNR alone. It depends on both levels: RMS of the audio over "
        "RMS of the noise.": _scaled(lambda x, n, snr: 10 ** (-snr / 20)),
        "The noise is added as it is: snr_db changes nothing.": _scaled(lambda x, n, snr: 1.0),
        "No noise is added.": _scaled(lambda x, n, snr: 0.0),
    },
    symptoms={
        "You return the noise alone: add it to the audio.": (
            lambda got, right, audio, noise, snr: _factor(got, noise),
            lambda audio, noise, snr: np.sqrt(_power(audio) / _power(noise)) * noise,
        ),
        "Your result is not the audio plus a multiple of the noise. Leave the audio as it is, and "
        "scale the noise.": (
            lambda got, right, audio, noise, snr: _factor(got - audio, noise) is None,
            lambda audio, noise, snr: 2 * audio + noise,
        ),
    },
    differs=lambda got, right, audio, noise, snr: (
        f"Asked for an SNR of {snr:g} dB, your result has {_snr_db(got, audio):.1f} dB."
    ),
    praise="Right at four SNRs, for loud and soft noise.",
)

# ---- 2: labels ---------------------------------------------------------------------------------


def _labels() -> list[tuple[list, list, float, int, float]]:
    notes = [(0.5, 0.5, 60.0), (1.0, 2.0, 67.0), (3.0, 1.0, 59.0)]
    chords = [(0.0, 0.5, None, "N"), (0.5, 1.5, 0, "min"), (2.0, 2.0, 11, "maj")]
    changes = ((120.0, 3, 1.25), (90.0, -10, 0.8), (100.0, 5, 2.0))
    return [(notes, chords, *change) for change in changes]


def _moved(
    *,
    onset: float = 1,
    duration: float = 1,
    tempo: float = -1,
    pitch: float = 1,
    root: int = 1,
    wrap: bool = True,
    fold: bool = False,
    none: bool = True,
    zero: int | str | None = "moves",
) -> Callable[..., tuple[list, list, float]]:
    """Return the right function, or a misreading: exponents of stretch, signs of the shift."""

    def move(
        notes: list, chords: list, tempo_bpm: float, semitones: int, stretch: float
    ) -> tuple[list, list, float]:
        def moved_root(old: int | None) -> int | None:
            if old is None and none:
                return None
            if old == 0 and not isinstance(zero, str):
                return zero
            new = (old or 0) + root * semitones
            return new % 12 if wrap else new

        def moved_pitch(old: float) -> float:
            new = old + pitch * semitones
            return new % 12 if fold else new

        on, long = stretch**onset, stretch**duration
        return (
            [(on * t, long * d, moved_pitch(p)) for t, d, p in notes],
            [(on * t, long * d, moved_root(r), q) for t, d, r, q in chords],
            tempo_bpm * stretch**tempo,
        )

    return move


def _differing_labels(got: Any, right: Any, *case: Any) -> str:
    parts = zip(("the notes", "the chords", "the tempo"), got, right, strict=True)
    name, ours, wanted = next(part for part in parts if str(part[1]) != str(part[2]))
    return (
        f"With semitones = {case[3]} and stretch = {case[4]}, {name} should be {wanted} and are "
        f"{ours}."
    )


LABELS = Function(
    title="labels that move along",
    minutes=20,
    rubric={
        "onsets and durations are multiplied by stretch, the tempo is divided": 2,
        "pitches rise; roots rise modulo 12; no chord stays no chord": 2,
    },
    right=_moved(),
    cases=_labels,
    returns="three things: notes, chords, and the tempo, in the form that they had",
    rtol=1e-5,
    atol=1e-8,
    mistakes={
        "Times and durations are divided by stretch. A sound that lasts 1.25 times as long has its "
        "events 1.25 times as late: multiply. (Speed would be the inverse.)": _moved(
            onset=-1, duration=-1
        ),
        "Everything goes the wrong way: stretch is the new duration over the old, not the speed. "
        "Longer means later events and a slower tempo.": _moved(onset=-1, duration=-1, tempo=1),
        "Onsets move, but durations stay. A stretched note is also held longer.": _moved(
            duration=0
        ),
        "The tempo is multiplied by stretch. Beats are further apart in a longer sound, so there "
        "are fewer of them in a minute: divide.": _moved(tempo=1),
        "The tempo stays what it was. Stretched by 2, 100 bpm become 50.": _moved(tempo=0),
        "A chord of no root got one. Where there is no chord there is none after a shift: keep "
        "None.": _moved(none=False),
        "The root C is lost or stays where it is. Its number is 0, which `if root` takes for "
        "false, as it does None: ask whether `root is None`.": (_moved(zero=None), _moved(zero=0)),
        "Some roots leave the range 0 to 11. Pitch classes wrap around the octave: take the root "
        "modulo 12.": _moved(wrap=False),
        "You take the pitches of notes modulo 12. A MIDI number knows its octave; only roots of "
        "chords are pitch classes.": _moved(fold=True),
        "The notes move, but the roots of the chords stay: they move by as much.": _moved(root=0),
        "The chords move, but the notes stay: they rise by as many semitones.": _moved(pitch=0),
        "Pitches move the wrong way: positive semitones go up.": _moved(root=-1, pitch=-1),
        "Nothing moves in time: use stretch on onsets and durations.": _moved(onset=0, duration=0),
        "The labels come back as they were.": lambda *case: case[:3],
    },
    symptoms={
        "Keep the form: as many notes as before, (onset, duration, pitch), and as many chords, "
        "(onset, duration, root, quality).": (
            lambda got, right, *case: shapes(got) != shapes(right),
            lambda notes, chords, *case: _moved()(notes, chords[1:], *case),
        ),
        "Right for a small shift upwards, wrong for another: try semitones = -10 and "
        "stretch = 0.8.": (
            lambda got, right, *case: case[3] != 3,
            lambda n, c, tempo, semitones, s: _moved()(n, c, tempo, abs(semitones), s),
        ),
    },
    crash={
        TypeError: (
            "A chord of no root has None there: look before you add.",
            lambda n, chords, tempo, shift, s: [(r + shift) % 12 for _, _, r, _ in chords],
        ),
        AttributeError: (
            "Notes and chords are lists of tuples.",
            lambda notes, *case: notes[0].onset_s,
        ),
    },
    differs=_differing_labels,
    praise="Notes, chords and tempo follow the sound, and where there is no chord there is none.",
)

# ---- 3: masks ----------------------------------------------------------------------------------

MAX_BANDS = 4


@dataclass(frozen=True)
class _Masks:
    """What was seen of masks: batches before and after, with another generator, and narrow ones."""

    before: NDArray
    after: NDArray
    again: NDArray
    narrow: NDArray  # (items, 5), bool: what was masked where stripes of 4 hardly fit
    is_changed: bool  # the argument itself

    @property
    def changed(self) -> NDArray[np.bool_]:
        return self.after != self.before

    @property
    def stripes(self) -> NDArray[np.bool_]:
        return self.changed[..., 0]

    @property
    def counts(self) -> NDArray[np.int64]:
        """Return how many stripes have each width."""
        return np.bincount(self.stripes.sum(axis=1), minlength=MAX_BANDS + 1)

    @property
    def single(self) -> NDArray[np.bool_]:
        """Return the stripes of one band among five."""
        return self.narrow[self.narrow.sum(axis=1) == 1]

    @property
    def fills(self) -> list[NDArray]:
        """Return the values in the stripe of each item that has one."""
        return [a[c] for a, c in zip(self.after, self.changed, strict=True) if c.any()]

    def filled_with(self, values: Any) -> bool:
        """Return whether all stripes have these values, one for each item."""
        masked = self.changed.any(axis=(1, 2))
        values = np.broadcast_to(values, masked.shape)[masked]
        pairs = zip(self.fills, values, strict=True)
        return all(np.allclose(fill, value, atol=1e-5) for fill, value in pairs)


def _batch(seed: int, n_items: int, n_bands: int) -> NDArray:
    rng = np.random.default_rng([106, seed])
    level = rng.uniform(2.0, 9.0, (n_items, 1, 1))  # every item has a mean of its own
    batch = level + rng.standard_normal((n_items, n_bands, 7))
    return batch.astype(np.float32).astype(np.float64)  # what is kept is kept in either


def _masked(call: Callable, batch: NDArray, seed: int) -> NDArray:
    result = call(batch, MAX_BANDS, np.random.default_rng([seed]))
    try:
        values = read(result, batch)
    except (TypeError, ValueError):
        raise NotAccepted("Return an array of numbers.") from None
    if values.shape != batch.shape:
        raise NotAccepted(
            f"The result has shape {values.shape}; it should be of the same shape, {batch.shape}."
        )
    return values


def _observed(call: Callable, answer: Any) -> _Masks:
    before, small = _batch(3, 500, 20), _batch(4, 1000, 5)
    passed = before.copy()
    after = _masked(call, passed, 1).copy()
    narrow = (_masked(call, small.copy(), 3) != small).any(axis=2)
    is_changed = not np.array_equal(passed, before)
    return _Masks(before, after, _masked(call, before.copy(), 2), narrow, is_changed)


def _several_runs(seen: _Masks) -> bool:
    edges = np.diff(np.pad(seen.stripes.astype(int), ((0, 0), (1, 1))), axis=1)
    return bool((np.abs(edges).sum(axis=1) > 2).any())


def _uneven(counts: NDArray, n: int) -> bool:
    """Return whether equally likely numbers would nearly never be drawn so unevenly."""
    expected = n / counts.size
    return bool((np.abs(counts - expected) > 4.7 * np.sqrt(expected)).any())


def _mask(
    *,
    width: Callable[[np.random.Generator, int], int] = lambda rng, most: rng.integers(most + 1),
    first: Callable[..., int] = lambda rng, bands, width, most: rng.integers(bands - width + 1),
    bands: Callable[..., Any] = lambda rng, bands, first, width: slice(first, first + width),
    frames: slice = slice(None),
    fill: Callable[[NDArray, int], Any] = lambda batch, index: batch[index].mean(),
    generator: Callable[[np.random.Generator], np.random.Generator] = lambda rng: rng,
    one: bool = False,
    copies: bool = True,
) -> Callable[[NDArray, int, np.random.Generator], NDArray]:
    """Return the right function (the defaults) or one that misreads the task."""

    def mask_bands(batch: NDArray, max_bands: int, rng: np.random.Generator) -> NDArray:
        rng = generator(rng)
        masked = batch.copy() if copies else batch
        for index, item in enumerate(masked):
            value = fill(batch, index)
            if not one or index == 0:
                stripe = width(rng, max_bands)
                start = first(rng, len(item), stripe, max_bands)
            item[bands(rng, len(item), start, stripe), frames] = value
        return masked

    return mask_bands


def _upright(batch: NDArray, max_bands: int, rng: np.random.Generator) -> NDArray:
    masked = batch.copy()
    for item in masked:
        item[:, rng.integers(7)] = item.mean()
    return masked


MASKS = Behaviour(
    title="masks that do not leak",
    minutes=25,
    rubric={
        "each item has a stripe of its own, of side-by-side bands and all frames": 2,
        "widths from 0 to max_bands and places up to the edge are all possible": 1,
        "the stripe is filled with the mean of its own item": 1,
    },
    observe=_observed,
    faults={
        "You change the batch that was passed in, which its owner still needs: work on a copy, "
        "batch.copy().": (lambda seen: seen.is_changed, _mask(copies=False)),
        "Nothing is masked.": (
            lambda seen: not seen.changed.any(),
            lambda batch, max_bands, rng: batch,
        ),
        "Every value is changed: outside its stripe, an item stays what it was.": (
            lambda seen: seen.changed.all(),
            lambda batch, max_bands, rng: _mask()(batch, max_bands, rng) - batch.mean(),
        ),
        "Another generator gives the same masks: draw from rng, which is passed in, not from "
        "one that you seed yourself.": (
            lambda seen: np.array_equal(seen.after, seen.again),
            _mask(generator=lambda rng: np.random.default_rng(0)),
        ),
        "All items of the batch have the same stripe. One mask for all teaches the network "
        "less, and the step depends on one draw: draw for every item.": (
            lambda seen: (seen.changed == seen.changed[:1]).all(),
            _mask(one=True),
        ),
        "Your stripes stand upright: they mask frames. Mask bands, axis 1.": (
            lambda seen: (seen.changed == seen.changed.all(axis=1, keepdims=True)).all(),
            _upright,
        ),
        "A stripe of bands covers all frames; yours covers some.": (
            lambda seen: (seen.changed != seen.changed.any(axis=2, keepdims=True)).any(),
            _mask(frames=slice(4)),
        ),
        "The masked bands of an item do not lie side by side. Draw a width and a first band, "
        "not single bands: neighbours would tell what is hidden.": (
            _several_runs,
            _mask(bands=lambda rng, bands, first, width: rng.permutation(bands)[:width]),
        ),
        "A stripe is {widest} bands wide; at most max_bands = 4 are allowed.": (
            lambda seen: (
                {"widest": seen.counts.size - 1} if seen.counts.size > MAX_BANDS + 1 else None
            ),
            _mask(width=lambda rng, most: rng.integers(most + 2)),
        ),
        "No stripe has width 0. Widths go from 0 to max_bands, so that the network sometimes "
        "sees everything, as it will in the test.": (
            lambda seen: seen.counts[0] == 0,
            _mask(width=lambda rng, most: rng.integers(1, most + 1)),
        ),
        "No stripe is max_bands wide: rng.integers leaves out its upper end. Add 1.": (
            lambda seen: seen.counts[MAX_BANDS] == 0 and seen.counts[MAX_BANDS - 1] > 0,
            _mask(width=lambda rng, most: rng.integers(most)),
        ),
        "The first or the last band is never masked: the first band of a stripe goes from 0 to "
        "bands - width, both included.": (
            lambda seen: not seen.stripes[:, 0].any() or not seen.stripes[:, -1].any(),
            _mask(first=lambda rng, bands, width, most: rng.integers(bands - width)),
        ),
        "The widest stripes are too rare: one that begins near the upper edge is cut off "
        "there. Draw the width first; then the first band goes from 0 to bands - width.": (
            # a fifth of 1000 is right, 80 where edges cut
            lambda seen: (seen.narrow.sum(axis=1) == MAX_BANDS).sum() < 140,
            _mask(first=lambda rng, bands, width, most: rng.integers(bands)),
        ),
        "All widths from 0 to max_bands should be equally likely.": (
            lambda seen: _uneven(np.bincount(seen.narrow.sum(axis=1)), 1000),
            _mask(width=lambda rng, most: max(rng.integers(most + 1), rng.integers(most + 1))),
        ),
        "Narrow stripes never reach the last band. All places that fit *this* width should be "
        "possible: the first band goes from 0 to bands - width, not to bands - max_bands.": (
            lambda seen: not seen.single[:, -1].any(),
            _mask(first=lambda rng, bands, width, most: rng.integers(bands - most + 1)),
        ),
        "All places that fit should be equally likely: draw the first band from 0 to "
        "bands - width.": (
            lambda seen: _uneven(seen.single.sum(axis=0), len(seen.single)),
            _mask(
                first=lambda rng, bands, width, most: rng.choice(
                    [rng.integers(bands - width + 1), (bands - width) // 2]
                )
            ),
        ),
        "The stripes are 0. These spectrograms are not normalised, and 0 is far below them: "
        "the mask itself would be a signal. Fill with the item's mean.": (
            lambda seen: seen.filled_with(0.0),
            _mask(fill=lambda batch, index: 0.0),
        ),
        "You fill with the mean of the whole batch. So an item depends on which others it is "
        "with: its statistics leak into the others. Use the item's own mean.": (
            lambda seen: seen.filled_with(seen.before.mean()),
            _mask(fill=lambda batch, index: batch.mean()),
        ),
        "You fill every item with the mean of the first.": (
            lambda seen: seen.filled_with(seen.before[0].mean()),
            _mask(fill=lambda batch, index: batch[0].mean()),
        ),
        "The fill differs within a stripe (a mean over one axis only?): what a frame or a band "
        "was like leaks into the mask. One number for each item.": (
            lambda seen: max(map(np.ptp, seen.fills)) > 1e-5,
            _mask(fill=lambda batch, index: batch[index].mean(axis=0)),
        ),
        "A stripe is filled with {fill:.3f}; the item's mean, before masking, is {own:.3f}.": (
            lambda seen: (
                None
                if seen.filled_with(seen.before.mean(axis=(1, 2)))
                else {
                    "fill": seen.fills[0].mean(),
                    "own": seen.before[seen.changed.any(axis=(1, 2))][0].mean(),
                }
            ),
            _mask(fill=lambda batch, index: batch[index].max() + 1),
        ),
    },
    praise="Every item has a stripe of its own, of 0 to max_bands bands, filled with its own mean.",
)

EXERCISES: Mapping[str, Exercise] = {
    "augmentation.1": NOISE,
    "augmentation.2": LABELS,
    "augmentation.3": MASKS,
}
