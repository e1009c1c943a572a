"""The exercises of the chapter on the constant-Q transform."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dl101.lab.exercise import Exercise, Function

# ---- 1: one bin by its definition --------------------------------------------------------------

Length = Callable[[float, float, int], float]


def _bin(
    *,
    length: Length = lambda frequency, quality, rate: quality * rate / frequency,
    hann: bool = True,
    normalised: bool = True,
    rooted: bool = True,
    centred: bool = True,
    ends: str = "constant",
    part: Callable[[NDArray], NDArray] = np.abs,
    skip: int = 0,
) -> Callable[..., NDArray]:
    """Return the right function (the defaults) or one that misreads the definition."""

    def one_bin(
        audio: NDArray, frequency_hz: float, quality: float, sample_rate: int, hop_samples: int
    ) -> NDArray:
        n_samples = length(frequency_hz, quality, sample_rate)
        half = math.ceil(n_samples / 2) - 1
        n = np.arange(-half, half + 1)
        w = 0.5 + 0.5 * np.cos(2 * np.pi * n / n_samples) if hann else np.ones(n.size)
        w = w / w.sum() if normalised else w
        kernel = w * np.exp(-2j * np.pi * frequency_hz * n / sample_rate)
        padded = np.pad(audio, (half if centred else 0, 2 * half + 1), mode=ends)
        frames = np.lib.stride_tricks.sliding_window_view(padded, n.size)[::hop_samples]
        values = part(frames[skip : 1 + audio.size // hop_samples] @ kernel)
        return values * (math.sqrt(n_samples) if rooted else 1.0)

    return one_bin


def _tones() -> list[tuple[NDArray, float, float, int, int]]:
    """Return tones and noise that swell and fade; windows of whole and broken length."""
    cases = []
    for index, frequency_hz in enumerate((110.0, 311.0, 740.0)):
        rng = np.random.default_rng([101, 41, index])
        rate, hop = ((8000, 128), (8000, 100), (11025, 128))[index]
        t = np.arange(int(rng.integers(4000, 6000))) / rate
        tones = np.sin(2 * np.pi * frequency_hz * t + rng.uniform(0, 6))
        tones += 0.5 * np.sin(2 * np.pi * frequency_hz * 1.06 * t)
        swell = np.sin(np.pi * t / t[-1] * 1.7) ** 2
        audio = swell * tones + 0.05 * rng.standard_normal(t.size)
        cases.append((audio, frequency_hz, (8.4, 17.0, 25.3)[index], rate, hop))
    return cases


def _differing_frame(got: NDArray, right: NDArray, *_: Any) -> str:
    where = int(np.abs(got - right).argmax())
    return (
        f"In a hidden case frame {where} of {right.size} should be {right[where]:.3f} and is "
        f"{got[where]:.3f}. Check the window's length and scale, the sign and the unit of the "
        "frequency in the exponent, and where frames stand."
    )


ONE_BIN = Function(
    title="one bin by its definition",
    minutes=25,
    rubric={
        "the window has quality * sample_rate / frequency samples": 1,
        "it is centred on the frame, with zeros outside the signal": 1,
        "it sums to one, and the factor sqrt(N) is there": 1,
    },
    right=_bin(),
    cases=_tones,
    returns="an array (frames,)",
    # within 3 %: room for a window of a sample more or less
    gap=lambda got, right: float(np.linalg.norm(got - right) / (0.03 * np.linalg.norm(right))),
    mistakes={
        "Your frames begin at sample t * hop_samples; they should be centred there. Everything "
        "comes half a window early, and differently early in each bin of a CQT.": _bin(
            centred=False
        ),
        "You mirror the signal at its ends. Outside it is zero: pad with zeros.": (
            _bin(ends="reflect"),
            _bin(ends="symmetric"),
        ),
        "The window is not divided by its sum. Bins have windows of different lengths: without "
        "this, a long window counts more only because it adds up more samples.": _bin(
            normalised=False
        ),
        "The factor sqrt(N) is missing: the window sums to one, and then the root of its length "
        "gives the scale that the library uses.": _bin(rooted=False),
        "Your window is rectangular: it leaks into far frequencies. Use the Hann window.": _bin(
            hann=False
        ),
        "You keep the real part alone, which swings with the phase of the tone. A magnitude takes "
        "both parts: np.abs of the complex sum.": _bin(part=np.real),
        "You return the power: the absolute value is squared. Asked is the magnitude.": _bin(
            part=lambda z: np.abs(z) ** 2
        ),
        "Your window is twice as long as it should be: N counts all of it, N / 2 samples lie on "
        "each side of the centre.": _bin(length=lambda f, q, rate: 2 * q * rate / f),
        "Your window is half as long as it should be: N / 2 samples lie on each side of the "
        "centre.": _bin(length=lambda f, q, rate: q * rate / f / 2),
    }
    | {
        f"Your window has {n} samples whatever the frequency: that is an STFT. In a CQT it "
        "lasts quality periods of its frequency: N = quality * sample_rate / frequency_hz.": _bin(
            length=lambda f, q, rate, n=n: n
        )
        for n in (256, 512, 1024, 2048)
    },
    symptoms={
        "The values are complex: a magnitude is their absolute value, np.abs. Phase is left out "
        "here.": (lambda got, *_: np.iscomplexobj(got), _bin(part=lambda z: z)),
        "Frames at the ends are missing: there the window reaches beyond the signal, which counts "
        "as zero. Pad it.": (
            lambda got, right, *_: got.ndim == 1 and got.size < right.size,
            _bin(skip=3),
        ),
    },
    crash={
        ValueError: (
            "Near both ends the window reaches beyond the signal: pad with zeros.",
            lambda audio, f, q, rate, hop: audio[:10] * np.hanning(12),
        ),
        TypeError: (
            "A number of samples must be whole (int) before it can be an index.",
            lambda audio, f, q, rate, hop: audio[: q * rate / f],
        ),
    },
    differs=_differing_frame,
    praise="One bin is right, at its ends too. A CQT is this, once for each frequency.",
)

# ---- 2: a harmonic CQT by shifting --------------------------------------------------------------


def _stacked(
    shift: Callable[[float, int], int] = lambda h, b: round(12 * b * math.log2(h)),
    *,
    rows: Callable[..., NDArray] = lambda n, shift, h: np.arange(n) + shift,
    wrap: bool = False,
) -> Callable[..., NDArray]:
    """Return the right function (the defaults) or one that misreads the rule."""

    def stack_harmonics(cqt: NDArray, harmonics: tuple, bins_per_semitone: int) -> NDArray:
        n_bins = len(cqt)
        result = np.zeros((len(harmonics), *cqt.shape))
        for channel, h in enumerate(harmonics):
            source = rows(n_bins, shift(h, bins_per_semitone), h)
            inside = np.full(n_bins, True) if wrap else (source >= 0) & (source < n_bins)
            result[channel, inside] = cqt[source[inside] % n_bins]
        return result

    return stack_harmonics


def _by_slices(cqt: NDArray, harmonics: tuple, bins_per_semitone: int) -> NDArray:
    """Return what is right, unless a channel lies wholly beyond the axis."""
    result = np.zeros((len(harmonics), *cqt.shape))
    for channel, h in enumerate(harmonics):
        s = round(12 * bins_per_semitone * math.log2(h))
        if s >= 0:
            result[channel, : len(cqt) - s] = cqt[s:] if s < len(cqt) else 1.0
        else:
            result[channel, -s:] = cqt[:s]
    return result


def _cqts() -> list[tuple[NDArray, tuple[float, ...], int]]:
    cases = []
    for index, b in enumerate((3, 5, 2)):
        rng = np.random.default_rng([101, 42, index])
        values = 0.1 + rng.random((12 * b * 3 + 5, 4 + index))
        cases.append((values, (0.5, 1, 2, 3, 4, 5), b))
    return cases


def _differing_channel(
    got: NDArray, right: NDArray, cqt: NDArray, harmonics: tuple, bins_per_semitone: int
) -> str:
    rows = ~np.isclose(got, right).all(axis=2)
    channel = int(rows.any(axis=1).argmax())
    h = harmonics[channel]
    return (
        f"With {bins_per_semitone} bins to a semitone, {rows[channel].sum()} of {len(cqt)} rows of "
        f"channel {h:g} differ: it should read the CQT "
        f"{round(12 * bins_per_semitone * math.log2(h)):+d} rows away."
    )


STACK = Function(
    title="a harmonic CQT by shifting",
    minutes=15,
    rubric={
        "the shift is 12 b log2(h), rounded": 1,
        "upwards for h > 1, downwards for h < 1, zeros beyond the ends": 1,
    },
    right=_stacked(),
    cases=_cqts,
    returns="an array (harmonics, bins, frames)",
    rtol=1e-5,
    atol=1e-6,
    mistakes={
        "Your channels are shifted the wrong way. Channel 2 at row k shows the octave *above* f_k: "
        "it reads the CQT at a higher row.": _stacked(lambda h, b: -round(12 * b * math.log2(h))),
        "What leaves the axis at one end comes back at the other (np.roll does that): a high note "
        "would appear as a low one. Rows that the CQT does not have are zero.": _stacked(wrap=True),
        "You shift by semitones: an octave is 12 semitones, but 12 * bins_per_semitone rows.": (
            _stacked(lambda h, b: round(12 * math.log2(h)))
        ),
        "You use the natural logarithm. An octave is a factor of two: log2.": _stacked(
            lambda h, b: round(12 * b * math.log(h))
        ),
        "You round down, and so does int(): harmonics 3 and 5 fall between rows, and the nearest "
        "row is asked, round().": _stacked(lambda h, b: math.floor(12 * b * math.log2(h))),
        "The channel 0.5 is not shifted, or not downwards: log2(0.5) is -1, an octave below.": (
            _stacked(lambda h, b: max(0, round(12 * b * math.log2(h))))
        ),
        "You shift an octave for each harmonic. Harmonics are equally spaced in hertz, not along a "
        "logarithmic axis: the third is log2(3) = 1.58 octaves up.": _stacked(
            lambda h, b: round(12 * b * (h - 1))
        ),
        "You multiply the row by h, as on a linear axis. On this one a factor is a distance: "
        "add 12 b log2(h) rows.": _stacked(
            rows=lambda n, shift, h: np.round(h * np.arange(n)).astype(int)
        ),
    },
    symptoms={
        "With 3 bins to a semitone all is right, with 5 or 2 it is not.": (
            lambda got, right, cqt, harmonics, b: b in (5, 2),
            _stacked(lambda h, b: round(36 * math.log2(h))),
        ),
    },
    edges={
        "A channel that is shifted by more rows than there are should be all zeros; a slice with a "
        "negative end is a trap there.": ((np.ones((24, 2)), (1, 8), 1), _by_slices),
    },
    crash={
        ValueError: (
            "Slices of different lengths: a channel that is shifted by s rows has s rows without a "
            "source, which stay zero.",
            lambda cqt, harmonics, b: np.stack([cqt[int(h) :] for h in harmonics]),
        ),
        IndexError: (
            "It reached beyond the last row: rows that the CQT does not have stay zero.",
            lambda cqt, harmonics, b: cqt[np.arange(len(cqt)) + 12 * b],
        ),
    },
    differs=_differing_channel,
    praise="Harmonics are aligned; what lies beyond the axis is zero.",
)

# ---- 3: by how much was it transposed? ----------------------------------------------------------


def _melodies() -> list[tuple[NDArray, NDArray, int]]:
    """Return two CQTs of a melody: other key, timbre and speed, and the second has an upbeat.

    The second timbre's strongest partial is the octave, though not by much.
    """
    dark, bright = (1.0, 0.6, 0.4, 0.3), (0.9, 1.0, 0.5, 0.35)
    cases = []
    for index, (b, shift) in enumerate(((3, 22), (5, -22), (4, 1), (3, -33), (5, 47), (4, -1))):
        rng = np.random.default_rng([101, 43, index])
        n_bins = 70 * b
        pitches = 22 + np.cumsum(rng.integers(-4, 5, 9)).clip(-6, 6)
        rows = np.arange(n_bins)

        def spectrum(pitch: float, weights: tuple, b: int = b, rows: NDArray = rows) -> NDArray:
            partials = [
                weight
                * np.exp(-0.5 * ((rows - b * pitch - 12 * b * math.log2(h)) / (0.3 * b)) ** 2)
                for h, weight in enumerate(weights, start=1)
            ]
            return np.sum(partials, axis=0)

        pair = []
        for weights, moved, lengths in (
            (dark, 0.0, [0] + [6] * 9),
            (bright, shift / b, [3] + [4 + index] * 9),
        ):
            upbeat = pitches[0] - math.copysign(5, shift)
            notes = np.array([spectrum(p + moved, weights) for p in (upbeat, *pitches)])
            sound = np.repeat(notes, lengths, axis=0).T
            pair.append(sound + 0.02 * rng.random(sound.shape))
        cases.append((*pair, b))
    return cases


def _average(cqt: NDArray) -> NDArray:
    return cqt.mean(axis=1)


def _lag(
    first: NDArray,
    second: NDArray,
    *,
    profile: Callable[[NDArray], NDArray] = _average,
    lowest: int | None = None,
) -> int:
    """Return the shift, in bins, with the largest product of the centred profiles."""
    a, b = profile(first), profile(second)
    products = np.correlate(b - b.mean(), a - a.mean(), mode="full")
    lags = np.arange(products.size) - (a.size - 1)
    if lowest is not None:
        products[lags < lowest] = -np.inf
    return int(lags[products.argmax()])


def _frame_by_frame(most: int) -> Callable[[NDArray, NDArray, int], float]:
    """Return an answer that compares frames of one number, over so many semitones."""

    def transposition(first: NDArray, second: NDArray, bins_per_semitone: int) -> float:
        pairs = zip(first.T, second.T, strict=False)
        products = sum(np.correlate(b, a, mode="full") for a, b in pairs)
        lags = np.arange(products.size) - (len(first) - 1)
        products[np.abs(lags) > most * bins_per_semitone] = -np.inf
        return lags[products.argmax()] / bins_per_semitone

    return transposition


def _strongest(cqt: NDArray) -> int:
    return int(_average(cqt).argmax())


TRANSPOSITION = Function(
    title="finding a transposition",
    minutes=20,
    rubric={
        "profiles over time are compared, so that lengths do not matter": 1,
        "the best shift is found in bins and given in semitones, with its sign": 1,
    },
    right=lambda x, y, b: _lag(x, y) / b,
    cases=_melodies,
    returns="one number of semitones",
    rtol=0.0,
    atol=0.05,
    mistakes={
        "The sign is turned: the answer is positive when the *second* is higher.": (
            lambda x, y, b: -_lag(x, y) / b
        ),
        "That is the number of bins. Divide by bins_per_semitone for semitones.": (
            lambda x, y, b: _lag(x, y)
        ),
        "You return the place of the maximum in the correlation. With mode='full', lag 0 stands at "
        "place len - 1, not at 0: subtract it.": lambda x, y, b: (_lag(x, y) + len(x) - 1) / b,
        "You are one bin low: lag 0 of a full correlation stands at place len - 1, not at len.": (
            lambda x, y, b: (_lag(x, y) - 1) / b
        ),
        "Shifts downwards come out as huge shifts upwards: you count round the axis. A lag beyond "
        "half the axis is a negative one.": lambda x, y, b: (_lag(x, y) % len(x)) / b,
        "You fold the answer into one octave: four semitones down is not eight up.": (
            lambda x, y, b: (_lag(x, y) / b) % 12
        ),
        "You try shifts upwards only; the second version may be lower as well. Try negative "
        "shifts too, an octave to either side.": (
            lambda x, y, b: _lag(x, y, lowest=0) / b,
            lambda x, y, b: max(0, _lag(x, y)) / b,
        ),
        "You round to whole semitones. Recordings differ by fractions too; the bins show them.": (
            lambda x, y, b: round(_lag(x, y) / b)
        ),
        "You compare the strongest bins, but the second version has another timbre: its strongest "
        "partial is another one. Compare the whole pattern, for each possible shift.": (
            lambda x, y, b: (_strongest(y) - _strongest(x)) / b
        ),
        "You compare the first frames only, and the second version may begin with an upbeat. "
        "Average each CQT over time.": lambda x, y, b: (
            _lag(x, y, profile=lambda cqt: cqt[:, 0]) / b
        ),
        "You compare frame by frame, after cutting to equal length. But the second is played at "
        "another speed, so that its frames belong to other notes: average each over time.": (
            _frame_by_frame(12),
            _frame_by_frame(70),
        ),
        "You find 0 each time. If you correlate decibels, or other values whose mean is far from "
        "0, then the shift 0 wins, where most rows overlap: subtract its mean from each profile "
        "first.": lambda x, y, b: 0.0,
    },
    crash={
        ValueError: (
            "The two differ in their number of frames: average each over time before you compare "
            "them.",
            lambda x, y, b: float((x * y).sum()),
        ),
    },
    differs="A hidden melody is {right:+.2f} semitones higher, and your answer is {got:+.2f}. "
    "Average each CQT over time, shift one against the other, and take the shift with the largest "
    "sum of products.",
    praise="Up and down, to the bin: a transposition is a shift, and a correlation finds it.",
)

EXERCISES: Mapping[str, Exercise] = {
    "constant_q.1": ONE_BIN,
    "constant_q.2": STACK,
    "constant_q.3": TRANSPOSITION,
}
