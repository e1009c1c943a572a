"""Checks of the chapter on the constant-Q transform.

``constant_q.1`` ``one_bin(audio, frequency_hz, quality, sample_rate, hop_samples)`` returns the
magnitudes ``(T,)`` of one bin of the CQT by its definition, ``T = 1 + len(audio) // hop_samples``:
a Hann window of ``N = quality * sample_rate / frequency_hz`` samples (``0.5 + 0.5 cos(2 pi n / N)``
for ``|n| < N / 2``) that sums to one, centred on sample ``t * hop_samples``, zeros outside the
signal, and the factor ``sqrt(N)``.

``constant_q.2`` ``stack_harmonics(cqt, harmonics, bins_per_semitone)`` gets a CQT ``(bins,
frames)`` and returns ``(harmonics, bins, frames)``: row k of channel h is row ``k + round(12 b
log2(h))`` of the CQT, or zeros where there is none.

``constant_q.3`` ``transposition(first, second, bins_per_semitone)`` gets two CQTs ``(bins,
frames)`` of one melody in two keys, of different lengths and timbres, and returns by how many
semitones the second is higher, as finely as the bins allow; at most an octave.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dl101.lab.checks import Exercise, NotAccepted, ask

Array = NDArray[np.float64]
SAME_ANSWER = "Your function gives the same result for different input: does it use its arguments?"


def _array(result: object, shape: tuple[int, ...], names: str) -> Array:
    """Return the student's result as real numbers of the right shape."""
    try:
        values = np.asarray(result)
        if np.iscomplexobj(values):
            raise NotAccepted(
                "The values are complex: a magnitude is their absolute value, np.abs. Phase is "
                "left out here."
            )
        values = values.astype(np.float64)
    except (TypeError, ValueError):
        raise NotAccepted(
            f"The function returns a {type(result).__name__}; an array {names} is asked."
        ) from None
    if values.shape != shape:
        hint = f"The result has shape {values.shape}; asked is {names}, here {shape}."
        if len(shape) == 1 and values.ndim == 1 and values.size < shape[0]:
            hint += (
                " Frames at the ends are missing: there the window reaches beyond the signal, "
                "which counts as zero. Pad it."
            )
        elif sorted(values.shape) == sorted(shape):
            hint += " The axes are in another order."
        raise NotAccepted(hint)
    if not np.isfinite(values).all():
        raise NotAccepted("Some values are not finite numbers: is something divided by zero?")
    return values


# ---- 1: one bin by its definition --------------------------------------------------------------


def _bin_cases() -> Iterator[dict[str, Any]]:
    """Two tones and noise that swell and fade, around a bin; windows of whole and broken length."""
    for index, frequency_hz in enumerate((110.0, 311.0, 740.0)):
        rng = np.random.default_rng([101, 41, index])
        rate, hop = ((8000, 128), (8000, 100), (11025, 128))[index]
        t = np.arange(int(rng.integers(4000, 6000))) / rate
        tones = np.sin(2 * np.pi * frequency_hz * t + rng.uniform(0, 6))
        tones += 0.5 * np.sin(2 * np.pi * frequency_hz * 1.06 * t)
        swell = np.sin(np.pi * t / t[-1] * 1.7) ** 2
        yield {
            "audio": swell * tones + 0.05 * rng.standard_normal(t.size),
            "frequency_hz": frequency_hz,
            "quality": float((8.4, 17.0, 25.3)[index]),
            "sample_rate": rate,
            "hop_samples": hop,
        }


def _one_bin(
    case: Mapping[str, Any],
    *,
    length: Callable[[Mapping[str, Any]], float] = lambda c: (
        c["quality"] * c["sample_rate"] / c["frequency_hz"]
    ),
    window: str = "hann",
    normalised: bool = True,
    rooted: bool = True,
    centred: bool = True,
    part: Callable[[NDArray], Array] = np.abs,
) -> Array:
    """Return the magnitudes by the definition (the defaults) or by a misreading of it."""
    audio, hop = case["audio"], case["hop_samples"]
    n_samples = length(case)
    half = math.ceil(n_samples / 2) - 1
    n = np.arange(-half, half + 1)
    w = 0.5 + 0.5 * np.cos(2 * np.pi * n / n_samples) if window == "hann" else np.ones(n.size)
    w = w / w.sum() if normalised else w
    kernel = w * np.exp(-2j * np.pi * case["frequency_hz"] * n / case["sample_rate"])
    padded = np.pad(audio, (half if centred else 0, 2 * half + 1))
    frames = np.lib.stride_tricks.sliding_window_view(padded, n.size)[::hop]
    values = part(frames[: 1 + audio.size // hop] @ kernel)
    return values * (math.sqrt(n_samples) if rooted else 1.0)


BIN_MISTAKES: tuple[tuple[Mapping[str, Any], str], ...] = (
    (
        {"centred": False},
        "Your frames begin at sample t * hop_samples; they should be centred there. Everything "
        "comes half a window early, and differently early in each bin of a CQT.",
    ),
    (
        {"normalised": False},
        "The window is not divided by its sum. Bins have windows of different lengths: without "
        "this, a long window counts more only because it adds up more samples.",
    ),
    (
        {"rooted": False},
        "The factor sqrt(N) is missing: the window sums to one, and then the root of its length "
        "gives the scale that the library uses.",
    ),
    (
        {"window": "rectangular"},
        "Your window is rectangular: it leaks into far frequencies. Use the Hann window.",
    ),
    (
        {"part": np.real},
        "You keep the real part alone, which swings with the phase of the tone. A magnitude takes "
        "both parts: np.abs of the complex sum.",
    ),
    (
        {"part": lambda z: np.abs(z) ** 2},
        "You return the power: the absolute value is squared. Asked is the magnitude.",
    ),
    (
        {"length": lambda c: 2 * c["quality"] * c["sample_rate"] / c["frequency_hz"]},
        "Your window is twice as long as it should be: N counts all of it, N / 2 samples lie on "
        "each side of the centre.",
    ),
    (
        {"length": lambda c: c["quality"] * c["sample_rate"] / c["frequency_hz"] / 2},
        "Your window is half as long as it should be: N / 2 samples lie on each side of the "
        "centre.",
    ),
    *(
        (
            {"length": lambda c, n=n: n},
            f"Your window has {n} samples whatever the frequency: that is an STFT. In a CQT it "
            "lasts quality periods of its frequency: N = quality * sample_rate / frequency_hz.",
        )
        for n in (256, 512, 1024, 2048)
    ),
)


def _grade_bin(answer: object) -> str:
    cases = list(_bin_cases())
    got = []
    for case in cases:
        shape = (1 + case["audio"].size // case["hop_samples"],)
        asked = ask(
            answer,
            *case.values(),
            hints={
                ValueError: "Near both ends the window reaches beyond the signal: pad with zeros.",
                TypeError: "A number of samples must be whole (int) before it can be an index.",
            },
        )
        got.append(_array(asked, shape, "(frames,)"))
    if _near(got, [_one_bin(case) for case in cases]):
        return "One bin is right, at its ends too. A CQT is this, once for each frequency."
    for options, hint in BIN_MISTAKES:
        if _near(got, [_one_bin(case, **options) for case in cases]):
            raise NotAccepted(hint)
    if np.array_equal(got[0][:30], got[1][:30]):
        raise NotAccepted(SAME_ANSWER)
    right = _one_bin(cases[0])
    where = int(np.abs(got[0] - right).argmax())
    raise NotAccepted(
        f"In a hidden case frame {where} of {right.size} should be {right[where]:.3f} and is "
        f"{got[0][where]:.3f}. Check the window's length and scale, the sign and the unit of the "
        "frequency in the exponent, and where frames stand."
    )


def _near(ours: list[Array], theirs: list[Array]) -> bool:
    """Whether results agree within 3 %: room for a window of a sample more or less."""
    return all(
        np.linalg.norm(a - b) <= 0.03 * np.linalg.norm(b) for a, b in zip(ours, theirs, strict=True)
    )


# ---- 2: a harmonic CQT by shifting --------------------------------------------------------------

HARMONICS = (0.5, 1, 2, 3, 4, 5)


def _stack(
    cqt: Array,
    harmonics: tuple[float, ...],
    bins_per_semitone: int,
    *,
    shift: Callable[[float, int], int] = lambda h, b: round(12 * b * math.log2(h)),
    wrap: bool = False,
) -> Array:
    """Return the stack by the rule (the defaults) or by a misreading of it."""
    n_bins = cqt.shape[0]
    result = np.zeros((len(harmonics), *cqt.shape))
    for channel, h in enumerate(harmonics):
        rows = np.arange(n_bins) + shift(h, bins_per_semitone)
        inside = np.full(n_bins, True) if wrap else (rows >= 0) & (rows < n_bins)
        result[channel, inside] = cqt[rows[inside] % n_bins]
    return result


def _multiplied(cqt: Array, harmonics: tuple[float, ...], bins_per_semitone: int) -> Array:
    """Return the stack of someone who takes the axis of rows for a linear one."""
    result = np.zeros((len(harmonics), *cqt.shape))
    for channel, h in enumerate(harmonics):
        rows = np.round(h * np.arange(len(cqt))).astype(int)
        inside = rows < len(cqt)
        result[channel, inside] = cqt[rows[inside]]
    return result


STACK_MISTAKES: tuple[tuple[Mapping[str, Any], str], ...] = (
    (
        {"shift": lambda h, b: -round(12 * b * math.log2(h))},
        "Your channels are shifted the wrong way. Channel 2 at row k shows the octave *above* f_k: "
        "it reads the CQT at a higher row.",
    ),
    (
        {"wrap": True},
        "What leaves the axis at one end comes back at the other (np.roll does that): a high note "
        "would appear as a low one. Rows that the CQT does not have are zero.",
    ),
    (
        {"shift": lambda h, b: round(12 * math.log2(h))},
        "You shift by semitones: an octave is 12 semitones, but 12 * bins_per_semitone rows.",
    ),
    (
        {"shift": lambda h, b: round(12 * b * math.log(h))},
        "You use the natural logarithm. An octave is a factor of two: log2.",
    ),
    (
        {"shift": lambda h, b: math.floor(12 * b * math.log2(h))},
        "You round down, and so does int(): harmonics 3 and 5 fall between rows, and the nearest "
        "row is asked, round().",
    ),
    (
        {"shift": lambda h, b: max(0, round(12 * b * math.log2(h)))},
        "The channel 0.5 is not shifted, or not downwards: log2(0.5) is -1, an octave below.",
    ),
    (
        {"shift": lambda h, b: round(12 * b * (h - 1))},
        "You shift an octave for each harmonic. Harmonics are equally spaced in hertz, not along a "
        "logarithmic axis: the third is log2(3) = 1.58 octaves up.",
    ),
)


def _grade_stack(answer: object) -> str:
    cases = []
    for index, b in enumerate((3, 5, 2)):
        rng = np.random.default_rng([101, 42, index])
        cases.append((0.1 + rng.random((12 * b * 3 + 5, 4 + index)), HARMONICS, b))
    got = []
    for case in cases:
        asked = ask(
            answer,
            *case,
            hints={
                ValueError: "Slices of different lengths: a channel that is shifted by s rows has "
                "s rows without a source, which stay zero.",
                IndexError: "It reached beyond the last row: rows that the CQT does not have stay "
                "zero.",
            },
        )
        shape = (len(HARMONICS), *case[0].shape)
        got.append(_array(asked, shape, "(harmonics, bins, frames)"))
    if _same(got, [_stack(*case) for case in cases]):
        # a channel that lies wholly beyond the axis
        cqt = np.ones((24, 2))
        far = _array(ask(answer, cqt, (1, 8), 1), (2, 24, 2), "(harmonics, bins, frames)")
        if not np.array_equal(far, _stack(cqt, (1, 8), 1)):
            raise NotAccepted(
                "A channel that is shifted by more rows than there are should be all zeros; a "
                "slice with a negative end is a trap there."
            )
        return "Harmonics are aligned; what lies beyond the axis is zero."
    for options, hint in STACK_MISTAKES:
        if _same(got, [_stack(*case, **options) for case in cases]):
            raise NotAccepted(hint)
    if _same(got, [_multiplied(*case) for case in cases]):
        raise NotAccepted(
            "You multiply the row by h, as on a linear axis. On this one a factor is a distance: "
            "add 12 b log2(h) rows."
        )
    for channel, h in enumerate(HARMONICS):
        wanted = _stack(*cases[0])[channel]
        if not np.allclose(got[0][channel], wanted):
            n = int(np.count_nonzero(~np.isclose(got[0][channel], wanted).all(axis=1)))
            raise NotAccepted(
                f"With 3 bins to a semitone, {n} of {len(wanted)} rows of channel {h:g} differ: it "
                f"should read the CQT {round(36 * math.log2(h)):+d} rows away."
            )
    raise NotAccepted("With 3 bins to a semitone all is right, with 5 or 2 it is not.")


def _same(ours: list[Array], theirs: list[Array]) -> bool:
    return all(np.allclose(a, b) for a, b in zip(ours, theirs, strict=True))


# ---- 3: by how much was it transposed? ----------------------------------------------------------


def _melodies(index: int) -> tuple[Array, Array, int, int]:
    """Return two CQTs of a melody, the bins per semitone, and the shift of the second in bins."""
    rng = np.random.default_rng([101, 43, index])
    b = (3, 5, 4, 3, 5)[index]
    n_bins, shift = 70 * b, (7 * b + 1, -4 * b - 2, 1, -11 * b, 9 * b + 2)[index]
    pitches = 22 + np.cumsum(rng.integers(-4, 5, 9)).clip(-6, 6)
    rows = np.arange(n_bins)[:, np.newaxis]

    def cqt(weights: Array, moved: int, n_frames: int) -> Array:
        values = 0.02 * rng.random((n_bins, n_frames * pitches.size))
        for position, pitch in enumerate(pitches):
            frames = slice(position * n_frames, (position + 1) * n_frames)
            for h, weight in enumerate(weights, start=1):
                centre = b * pitch + moved + 12 * b * math.log2(h)
                values[:, frames] += weight * np.exp(-0.5 * ((rows - centre) / (0.3 * b)) ** 2)
        return values

    dark, bright = np.array([1.0, 0.6, 0.4, 0.3]), np.array([0.7, 1.0, 0.5, 0.35])
    return cqt(dark, 0, 6), cqt(bright, shift, 4 + index), b, shift


TRANSPOSITION_MISTAKES: tuple[tuple[Callable[[float, int, int, int], float], str], ...] = (
    (
        lambda shift, b, n_bins, peaks: -shift / b,
        "The sign is turned: the answer is positive when the *second* is higher.",
    ),
    (
        lambda shift, b, n_bins, peaks: shift,
        "That is the number of bins. Divide by bins_per_semitone for semitones.",
    ),
    (
        lambda shift, b, n_bins, peaks: (shift + n_bins - 1) / b,
        "You return the place of the maximum in the correlation. With mode='full', lag 0 stands at "
        "place len - 1, not at 0: subtract it.",
    ),
    (
        lambda shift, b, n_bins, peaks: (shift - 1) / b,
        "You are one bin low: lag 0 of a full correlation stands at place len - 1, not at len.",
    ),
    (
        lambda shift, b, n_bins, peaks: (shift % n_bins) / b,
        "Shifts downwards come out as huge shifts upwards: you count round the axis. A lag beyond "
        "half the axis is a negative one.",
    ),
    (
        lambda shift, b, n_bins, peaks: (shift / b) % 12,
        "You fold the answer into one octave: four semitones down is not eight up.",
    ),
    (
        lambda shift, b, n_bins, peaks: round(shift / b),
        "You round to whole semitones. Recordings differ by fractions too; the bins show them.",
    ),
    (
        lambda shift, b, n_bins, peaks: peaks / b,
        "You compare the strongest bins, but the second version has another timbre: its strongest "
        "partial is another one. Compare the whole pattern, for each possible shift.",
    ),
)


def _grade_transposition(answer: object) -> str:
    got, truths = [], []
    for index in range(5):
        first, second, b, shift = _melodies(index)
        result = ask(
            answer,
            first,
            second,
            b,
            hints={
                ValueError: "The two differ in their number of frames: average each over time "
                "before you compare them."
            },
        )
        try:
            got.append(float(result))
        except (TypeError, ValueError):
            raise NotAccepted(
                f"The function returns a {type(result).__name__}; one number is asked, in "
                "semitones."
            ) from None
        peaks = int(second.mean(axis=1).argmax() - first.mean(axis=1).argmax())
        truths.append((shift, b, first.shape[0], peaks))
    right = [shift / b for shift, b, *_ in truths]
    if np.allclose(got, right, atol=0.05):
        return "Up and down, to the bin: a transposition is a shift, and a correlation finds it."
    for mistake, hint in TRANSPOSITION_MISTAKES:
        if np.allclose(got, [mistake(*truth) for truth in truths], atol=0.05):
            raise NotAccepted(hint)
    if len(set(got)) == 1:
        raise NotAccepted(SAME_ANSWER)
    worst = int(np.abs(np.subtract(got, right)).argmax())
    raise NotAccepted(
        f"A hidden melody is {right[worst]:+.2f} semitones higher, and your answer is "
        f"{got[worst]:+.2f}. Average each CQT over time, shift one against the other, and take the "
        "shift with the largest sum of products."
    )


EXERCISES: dict[str, Exercise] = {
    "constant_q.1": Exercise(
        "one bin by its definition",
        _grade_bin,
        minutes=25,
        rubric={
            "the window has quality * sample_rate / frequency samples": 1,
            "it is centred on the frame, with zeros outside the signal": 1,
            "it sums to one, and the factor sqrt(N) is there": 1,
        },
    ),
    "constant_q.2": Exercise(
        "a harmonic CQT by shifting",
        _grade_stack,
        minutes=15,
        rubric={
            "the shift is 12 b log2(h), rounded": 1,
            "upwards for h > 1, downwards for h < 1, zeros beyond the ends": 1,
        },
    ),
    "constant_q.3": Exercise(
        "finding a transposition",
        _grade_transposition,
        minutes=20,
        rubric={
            "profiles over time are compared, so that lengths do not matter": 1,
            "the best shift is found in bins and given in semitones, with its sign": 1,
        },
    ),
}
