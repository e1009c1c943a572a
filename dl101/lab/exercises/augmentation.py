"""Checks of the chapter on augmentation.

``augmentation.1`` ``add_noise(audio, noise, snr_db)`` returns audio plus noise, scaled so that the
power of the audio is ``snr_db`` above that of the added noise, whatever the noise's level was.

``augmentation.2`` ``move(notes, chords, tempo_bpm, semitones, stretch)`` returns the three as they
hold for a sound that was shifted and stretched: ``notes`` is a list of ``(onset_s, duration_s,
pitch_midi)``, ``chords`` one of ``(onset_s, duration_s, root, quality)`` with ``root`` from 0
to 11, or ``None`` for no chord; ``stretch`` is the new duration over the old.

``augmentation.3`` ``mask_bands(batch, max_bands, rng)`` returns a batch of log-mel spectrograms
``(items, bands, frames)`` in which every item has a stripe of 0 to ``max_bands`` bands of its own,
in all frames, set to the item's own mean.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dl101.lab.checks import Exercise, NotAccepted, ask

# ---- 1: noise at an SNR ------------------------------------------------------------------------

SNRS_DB = (0.0, 12.0, -6.0, 20.0)


def _sounds() -> list[tuple[NDArray, NDArray, float]]:
    """Audio and noise of quite different levels, neither with power 1."""
    cases = []
    for index, snr in enumerate(SNRS_DB):
        rng = np.random.default_rng([106, 1, index])
        audio = rng.uniform(0.02, 0.3) * np.sin(np.arange(4000) * rng.uniform(0.1, 0.5))
        cases.append((audio, rng.uniform(0.4, 3.0) * rng.standard_normal(4000), snr))
    return cases


def _power(x: NDArray) -> float:
    return float(np.mean(x**2))


# from (power of the audio, power of the noise, SNR) to the amplitude that a misreading gives
NOISE_MISTAKES: tuple[tuple[Callable[[float, float, float], float], str], ...] = (
    (
        lambda x, n, snr: np.sqrt(x / n) * 10 ** (-snr / 10),
        "You divide amplitudes by 10 ** (snr_db / 10). That is the ratio of *powers*; amplitudes "
        "go with its root, 10 ** (snr_db / 20).",
    ),
    (
        lambda x, n, snr: x / n * 10 ** (-snr / 10),
        "You multiply the noise by a ratio of powers. A factor g changes the power by g², so take "
        "the root.",
    ),
    (
        lambda x, n, snr: x / n * 10 ** (-snr / 20),
        "The powers of audio and noise are compared where their amplitudes should be: take the "
        "root of the mean squares (the RMS) first.",
    ),
    (
        lambda x, n, snr: np.sqrt(x / n) * 10 ** (snr / 20),
        "The noise gets louder as snr_db grows. It is the *signal* that a high SNR puts above the "
        "noise: divide by 10 ** (snr_db / 20).",
    ),
    (
        lambda x, n, snr: np.sqrt(n / x) * 10 ** (-snr / 20),
        "The ratio of the levels is upside down: RMS of the audio over RMS of the noise, so that "
        "noise which is already loud gets a smaller factor.",
    ),
    (
        lambda x, n, snr: np.sqrt(x) * 10 ** (-snr / 20),
        "You take it that the noise has power 1. Divide by its own RMS as well.",
    ),
    (
        lambda x, n, snr: 10 ** (-snr / 20) / np.sqrt(n),
        "You take it that the audio has power 1. An SNR is relative: the noise follows the RMS of "
        "the audio.",
    ),
    (
        lambda x, n, snr: 10 ** (-snr / 20),
        "The noise is scaled by the SNR alone. It depends on both levels: RMS of the audio over "
        "RMS of the noise.",
    ),
    (lambda x, n, snr: 1.0, "The noise is added as it is: snr_db changes nothing."),
    (lambda x, n, snr: 0.0, "No noise is added."),
)


def _grade_noise(answer: object) -> str:
    factors, powers = [], []
    for audio, noise, snr in _sounds():
        result = _as_array(ask(answer, audio, noise, snr), audio.shape, "as long as the audio")
        added = result - audio
        factor = float(added @ noise / (noise @ noise))
        if not np.allclose(added, factor * noise, atol=1e-9):
            alone = float(result @ noise / (noise @ noise))
            if np.allclose(result, alone * noise):
                raise NotAccepted("You return the noise alone: add it to the audio.")
            raise NotAccepted(
                "Your result is not the audio plus a multiple of the noise. Leave the audio as it "
                "is, and scale the noise."
            )
        factors.append(factor)
        powers.append((_power(audio), _power(noise), snr))
    right = [np.sqrt(x / n) * 10 ** (-snr / 20) for x, n, snr in powers]
    if np.allclose(np.abs(factors), right, rtol=1e-3):
        return "Right at four SNRs, for loud and soft noise."
    for model, hint in NOISE_MISTAKES:
        if np.allclose(factors, [model(*each) for each in powers], rtol=1e-3):
            raise NotAccepted(hint)
    x, n, snr = powers[1]
    got = 10 * np.log10(x / max(factors[1] ** 2 * n, 1e-30))
    raise NotAccepted(f"Asked for an SNR of {snr:g} dB, your result has {got:.1f} dB.")


# ---- 2: labels ---------------------------------------------------------------------------------

Notes = list[tuple[float, float, float]]
Chords = list[tuple[float, float, int | None, str]]
Case = tuple[Notes, Chords, float, int, float]


def _labels() -> list[Case]:
    notes: Notes = [(0.5, 0.5, 60.0), (1.0, 2.0, 67.0), (3.0, 1.0, 59.0)]
    chords: Chords = [(0.0, 0.5, None, "N"), (0.5, 1.5, 0, "min"), (2.0, 2.0, 11, "maj")]
    return [
        (notes, chords, 120.0, 3, 1.25),
        (notes, chords, 90.0, -10, 0.8),
        (notes, chords, 100.0, 5, 2.0),
    ]


def _moved(
    notes: Notes,
    chords: Chords,
    tempo_bpm: float,
    semitones: int,
    stretch: float,
    *,
    times: float = 1,
    durations: float = 1,
    tempo: float = -1,
    pitch: float = 1,
    root: float = 1,
    wrap: bool = True,
    keep_none: bool = True,
    pitch_wrap: bool = False,
    zero: int | str | None = "moves",
) -> tuple[list, list, float]:
    """Return what the rule gives, or a misreading: exponents of stretch, signs of the shift."""
    when, long = stretch**times, stretch**durations

    def moved_root(old: int | None) -> int | None:
        if old is None and keep_none:
            return None
        if old == 0 and not isinstance(zero, str):
            return zero
        new = (old or 0) + int(root * semitones)
        return new % 12 if wrap else new

    def moved_pitch(old: float) -> float:
        new = old + pitch * semitones
        return new % 12 if pitch_wrap else new

    return (
        [(when * t, long * d, moved_pitch(p)) for t, d, p in notes],
        [(when * t, long * d, moved_root(r), q) for t, d, r, q in chords],
        tempo_bpm * stretch**tempo,
    )


ROOT_ZERO = (
    "The root C is lost or stays where it is. Its number is 0, which `if root` takes for false, as "
    "it does None: ask whether `root is None`."
)
LABEL_MISTAKES: tuple[tuple[Mapping[str, Any], str], ...] = (
    (
        {"times": -1, "durations": -1},
        "Times and durations are divided by stretch. A sound that lasts 1.25 times as long has its "
        "events 1.25 times as late: multiply. (Speed would be the inverse.)",
    ),
    (
        {"times": -1, "durations": -1, "tempo": 1},
        "Everything goes the wrong way: stretch is the new duration over the old, not the speed. "
        "Longer means later events and a slower tempo.",
    ),
    (
        {"durations": 0},
        "Onsets move, but durations stay. A stretched note is also held longer.",
    ),
    (
        {"tempo": 1},
        "The tempo is multiplied by stretch. Beats are further apart in a longer sound, so there "
        "are fewer of them in a minute: divide.",
    ),
    ({"tempo": 0}, "The tempo stays what it was. Stretched by 2, 100 bpm become 50."),
    (
        {"keep_none": False},
        "A chord of no root got one. Where there is no chord there is none after a shift: keep "
        "None.",
    ),
    ({"zero": None}, ROOT_ZERO),
    ({"zero": 0}, ROOT_ZERO),
    (
        {"wrap": False},
        "Some roots leave the range 0 to 11. Pitch classes wrap around the octave: take the root "
        "modulo 12.",
    ),
    (
        {"pitch_wrap": True},
        "You take the pitches of notes modulo 12. A MIDI number knows its octave; only roots of "
        "chords are pitch classes.",
    ),
    ({"root": 0}, "The notes move, but the roots of the chords stay: they move by as much."),
    ({"pitch": 0}, "The chords move, but the notes stay: they rise by as many semitones."),
    (
        {"root": -1, "pitch": -1},
        "Pitches move the wrong way: positive semitones go up.",
    ),
    ({"times": 0, "durations": 0}, "Nothing moves in time: use stretch on onsets and durations."),
)


def _grade_labels(answer: object) -> str:
    cases = _labels()
    hints = {
        TypeError: "A chord of no root has None there: look before you add.",
        AttributeError: "Notes and chords are lists of tuples.",
    }
    got = [_asked_labels(ask(answer, *case, hints=hints), case) for case in cases]
    if _alike(got, [_moved(*case) for case in cases]):
        return (
            "Notes, chords and tempo follow the sound, and where there is no chord there is none."
        )
    for options, hint in LABEL_MISTAKES:
        if _alike(got, [_moved(*case, **options) for case in cases]):
            raise NotAccepted(hint)
    if _alike(got, [case[:3] for case in cases]):
        raise NotAccepted("The labels come back as they were.")
    right = _moved(*cases[0])
    for index, name in enumerate(("the notes", "the chords", "the tempo")):
        if not _alike([got[0][index]], [right[index]]):
            raise NotAccepted(
                f"With semitones = 3 and stretch = 1.25, {name} should be {right[index]} and are "
                f"{got[0][index]}."
            )
    raise NotAccepted(
        "Right for a small shift upwards, wrong for another: try semitones = -10 and stretch = 0.8."
    )


def _asked_labels(result: Any, case: Case) -> tuple[list, list, float]:
    try:
        notes, chords, tempo = result
        notes, chords = [tuple(note) for note in notes], [tuple(chord) for chord in chords]
    except (TypeError, ValueError):
        raise NotAccepted("Return three things: notes, chords, and the tempo.") from None
    if [len(n) for n in notes] != [3] * len(case[0]) or [len(c) for c in chords] != [4] * len(
        case[1]
    ):
        raise NotAccepted(
            "Keep the form: as many notes as before, (onset, duration, pitch), and as many "
            "chords, (onset, duration, root, quality)."
        )
    return notes, chords, tempo


def _alike(ours: object, theirs: object) -> bool:
    """Compare nested lists and tuples of numbers and text."""
    if isinstance(ours, list | tuple) and isinstance(theirs, list | tuple):
        return len(ours) == len(theirs) and all(map(_alike, ours, theirs))
    if ours is None or theirs is None or isinstance(ours, str) or isinstance(theirs, str):
        return ours is theirs or (isinstance(ours, str) and ours == theirs)
    try:
        return bool(np.isclose(float(ours), float(theirs)))
    except (TypeError, ValueError):
        return False


# ---- 3: masks ----------------------------------------------------------------------------------

N_ITEMS, N_BANDS, N_FRAMES, MAX_BANDS = 200, 20, 7, 4


def _grade_masks(answer: object) -> str:
    rng = np.random.default_rng([106, 3])
    level = rng.uniform(2.0, 9.0, (N_ITEMS, 1, 1))  # every item has a mean of its own
    batch = level + rng.standard_normal((N_ITEMS, N_BANDS, N_FRAMES))
    batch = batch.astype(np.float32).astype(np.float64)  # what is kept is kept in either
    before = batch.copy()
    result = _as_array(
        ask(answer, batch, MAX_BANDS, np.random.default_rng([1])), batch.shape, "of the same shape"
    )
    again = _as_array(
        ask(answer, batch, MAX_BANDS, np.random.default_rng([2])), batch.shape, "of the same shape"
    )
    if np.array_equal(result, before):
        raise NotAccepted("Nothing is masked.")
    changed = result != before
    if np.array_equal(result, again):
        raise NotAccepted(
            "Another generator gives the same masks: draw from rng, which is passed in, not from "
            "one that you seed yourself."
        )
    _check_stripes(changed)
    _check_places(answer)
    _check_fill(result, before, changed)
    return "Every item has a stripe of its own, of 0 to max_bands bands, filled with its own mean."


def _check_stripes(changed: NDArray[np.bool_]) -> None:
    if changed.any(axis=(1, 2)).mean() > 0.3 and (changed == changed[:1]).all():
        raise NotAccepted(
            "All items of the batch have the same stripe. One mask for all teaches the network "
            "less, and the step depends on one draw: draw for every item."
        )
    frames_only = changed.all(axis=1)[:, None] & changed
    if frames_only.any() and np.array_equal(frames_only, changed):
        raise NotAccepted("Your stripes stand upright: they mask frames. Mask bands, axis 1.")
    if not np.array_equal(changed, changed.any(axis=2)[..., None] & np.ones_like(changed)):
        raise NotAccepted("A stripe of bands covers all frames; yours covers some.")
    stripes = changed[..., 0].astype(int)
    runs = np.abs(np.diff(np.pad(stripes, ((0, 0), (1, 1))), axis=1)).sum(axis=1) // 2
    if (runs > 1).any():
        raise NotAccepted(
            "The masked bands of an item do not lie side by side. Draw a width and a first band, "
            "not single bands: neighbours would tell what is hidden."
        )
    widths = stripes.sum(axis=1)
    if widths.max() > MAX_BANDS:
        raise NotAccepted(
            f"A stripe is {widths.max()} bands wide; at most max_bands = {MAX_BANDS} are allowed."
        )
    counts = np.bincount(widths, minlength=MAX_BANDS + 1)
    if counts[0] == 0:
        raise NotAccepted(
            "No stripe has width 0. Widths go from 0 to max_bands, so that the network sometimes "
            "sees everything, as it will in the test."
        )
    if counts[MAX_BANDS] == 0 and counts[MAX_BANDS - 1] > 0:
        raise NotAccepted(
            "No stripe is max_bands wide: rng.integers leaves out its upper end. Add 1."
        )
    if (counts == 0).any():
        raise NotAccepted("All widths from 0 to max_bands should be equally likely.")
    if not stripes[:, -1].any() or not stripes[:, 0].any():
        raise NotAccepted(
            "The first or the last band is never masked: the first band of a stripe goes from 0 to "
            "bands - width, both included."
        )


def _check_places(answer: object) -> None:
    """Look at stripes nearly as wide as the spectrogram: 5 bands, at most 4 of them masked."""
    batch = np.random.default_rng([106, 4]).standard_normal((1000, 5, 7)) + 5.0
    result = ask(answer, batch, 4, np.random.default_rng([3]))
    stripes = (_as_array(result, batch.shape, "of the same shape") != batch).any(axis=2)
    if (stripes.sum(axis=1) == 4).sum() < 140:  # a fifth of 1000 is right, 80 where edges cut
        raise NotAccepted(
            "The widest stripes are too rare: one that begins near the upper edge is cut off "
            "there. Draw the width first; then the first band goes from 0 to bands - width."
        )
    if stripes[:, -1].sum() < 180:  # 257 is right, 100 where the place does not know the width
        raise NotAccepted(
            "Narrow stripes never reach the last band. All places that fit *this* width should be "
            "possible: the first band goes from 0 to bands - width, not to bands - max_bands."
        )


def _check_fill(result: NDArray, before: NDArray, changed: NDArray[np.bool_]) -> None:
    masked = changed.any(axis=(1, 2))
    fills = np.array([r[c].mean() for r, c in zip(result[masked], changed[masked], strict=True)])
    own = before[masked].mean(axis=(1, 2))
    if np.allclose(fills, own, atol=1e-6) and np.allclose(
        result[changed], np.repeat(own, changed[masked].sum(axis=(1, 2))), atol=1e-6
    ):
        return
    if np.allclose(fills, 0.0):
        raise NotAccepted(
            "The stripes are 0. These spectrograms are not normalised, and 0 is far below them: "
            "the mask itself would be a signal. Fill with the item's mean."
        )
    if np.allclose(fills, before.mean()):
        raise NotAccepted(
            "You fill with the mean of the whole batch. So an item depends on which others it is "
            "with: its statistics leak into the others. Use the item's own mean."
        )
    if np.allclose(fills, before[0].mean()):
        raise NotAccepted("You fill every item with the mean of the first.")
    if np.ptp([np.ptp(r[c]) for r, c in zip(result[masked], changed[masked], strict=True)]) > 1e-6:
        raise NotAccepted(
            "The fill differs within a stripe (a mean over one axis only?): what a frame or a band "
            "was like leaks into the mask. One number for each item."
        )
    raise NotAccepted(
        f"A stripe is filled with {fills[0]:.3f}; the item's mean, before masking, is {own[0]:.3f}."
    )


def _as_array(result: object, shape: tuple[int, ...], said: str) -> NDArray[np.float64]:
    try:
        values = np.asarray(result, dtype=np.float64)
    except (TypeError, ValueError):
        raise NotAccepted("Return an array of numbers.") from None
    if values.shape != shape:
        raise NotAccepted(f"The result has shape {values.shape}; it should be {said}, {shape}.")
    return values


EXERCISES: Mapping[str, Exercise] = {
    "augmentation.1": Exercise(
        "noise at an SNR",
        _grade_noise,
        minutes=15,
        rubric={
            "the factor of the noise is the ratio of the two RMS values": 1,
            "decibels of power become an amplitude: 10 ** (snr_db / 20), dividing": 1,
        },
    ),
    "augmentation.2": Exercise(
        "labels that move along",
        _grade_labels,
        minutes=20,
        rubric={
            "onsets and durations are multiplied by stretch, the tempo is divided": 2,
            "pitches rise; roots rise modulo 12; no chord stays no chord": 2,
        },
    ),
    "augmentation.3": Exercise(
        "masks that do not leak",
        _grade_masks,
        minutes=25,
        rubric={
            "each item has a stripe of its own, of side-by-side bands and all frames": 2,
            "widths from 0 to max_bands and places up to the edge are all possible": 1,
            "the stripe is filled with the mean of its own item": 1,
        },
    ),
}
