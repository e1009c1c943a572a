"""The exercises of the chapter on the spectrogram and its phase."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from dl101 import stft as transforms
from dl101.lab.exercise import Exercise, Function

# ---- 1: where is this? -------------------------------------------------------------------------

# bin, frame, window, hop, sample rate; no ratio of two of them is the same in all cases
PLACES = ((10, 7, 1024, 256, 22050), (37, 12, 512, 320, 16000), (100, 31, 2048, 441, 44100))
Place = Callable[[int, int, int, int, int], float]


def _located(
    frequency: Place = lambda k, t, L, H, r: k * r / L,
    time: Place = lambda k, t, L, H, r: (t * H + L / 2) / r,
) -> Callable[..., tuple[float, float]]:
    return lambda *place: (frequency(*place), time(*place))


LOCATE = Function(
    title="where a bin and a frame are",
    minutes=10,
    rubric={
        "bins are sample_rate / window apart": 1,
        "frames are one hop apart, and a frame speaks of its middle": 1,
    },
    right=_located(),
    cases=lambda: PLACES,
    returns="two numbers, the frequency in Hz and the time in seconds",
    rtol=1e-3,
    apart=True,
    mistakes={
        "The two numbers are swapped: frequency first, then time.": (
            lambda *place: _located()(*place)[::-1]
        ),
        "Your frequencies are twice too high. The FFT of L samples has L bins, a distance of "
        "sample_rate / L apart; that only the first L / 2 + 1 are kept does not move them.": (
            _located(lambda k, t, L, H, r: 2 * k * r / L)
        ),
        "Your frequencies are twice too low: the highest bin, L / 2, stands for half the sample "
        "rate, so bins are sample_rate / L apart, not half of that.": _located(
            lambda k, t, L, H, r: k * r / L / 2
        ),
        "You share half the sample rate among L / 2 + 1 bins. But there are L / 2 steps between "
        "them (a fence has one post more than it has gaps): one step is sample_rate / L.": _located(
            lambda k, t, L, H, r: k * (r / 2) / (L // 2 + 1)
        ),
        "You divide by the hop. The hop says how often we look, the window how long: the distance "
        "of bins depends on the window alone.": _located(lambda k, t, L, H, r: k * r / H),
        "Your frequencies are one bin too high: bin 0 stands for 0 Hz.": _located(
            lambda k, t, L, H, r: (k + 1) * r / L
        ),
        "Your frequency is in cycles per sample; multiply by the sample rate to have hertz.": (
            _located(lambda k, t, L, H, r: k / L)
        ),
        "Your times are half a window early: t * hop is where the frame begins. Its window is "
        "highest half a window later, and that is what the frame tells about.": _located(
            time=lambda k, t, L, H, r: t * H / r
        ),
        "You subtract half a window, as the equation does for frames that are centred on t * hop. "
        "Here frame t begins at t * hop, so its middle comes half a window later.": _located(
            time=lambda k, t, L, H, r: (t * H - L / 2) / r
        ),
        "Your times are half a window late: you give the end of the frame, not its middle.": (
            _located(time=lambda k, t, L, H, r: (t * H + L) / r)
        ),
        "You add half a hop. The middle of a frame is half a window after its beginning, however "
        "far away the next frame is.": _located(time=lambda k, t, L, H, r: (t * H + H / 2) / r),
        "You lay the windows end to end. Frames begin one hop apart, not one window apart.": (
            _located(time=lambda k, t, L, H, r: t * L / r)
        ),
        "You add half a window, which is right, but to windows laid end to end: frames begin one "
        "hop apart, not one window apart.": _located(
            time=lambda k, t, L, H, r: (t * L + L / 2) / r
        ),
        "Your time counts samples; divide by the sample rate to have seconds.": _located(
            time=lambda k, t, L, H, r: t * H + L / 2
        ),
    },
    differs=lambda got, right, k, t, L, H, r: (
        f"With window {L}, hop {H} and {r} Hz, bin {k} in frame {t} is at {right[0]:.4g} Hz and "
        f"{right[1]:.4g} s, and not at {got[0]:.4g} Hz and {got[1]:.4g} s."
    ),
    praise="Bins depend on the window alone, frames on the hop, and a frame speaks of its middle.",
)

# ---- 2: levels ---------------------------------------------------------------------------------


def _db(values: NDArray, factor: float = 20.0) -> NDArray:
    return factor * np.log10(np.maximum(values, 1e-12))


def _spectra() -> list[tuple[NDArray, NDArray]]:
    """Return spectra of sines of known amplitude, with several windows."""
    cases = []
    for index, (name, length) in enumerate((("hann", 512), ("blackman", 1024), ("hamming", 256))):
        rng = np.random.default_rng([101, 2, index])
        n = np.arange(6 * length)
        bins = rng.choice(np.arange(10, length // 2 - 10), 3, replace=False)
        sines = [
            a * np.cos(2 * np.pi * (k + 0.2) * n / length + p)
            for k, a, p in zip(bins, (0.7, 0.2, 0.02), rng.uniform(0, 6, 3), strict=True)
        ]
        audio = np.sum(sines, axis=0) + 1e-4 * rng.standard_normal(n.size)
        spectrum = transforms.stft(audio, window_samples=length, window=name)
        cases.append((spectrum, transforms.window(name, length)))
    return cases


LEVELS = Function(
    title="levels in decibels",
    minutes=20,
    rubric={
        "20 log10 of a magnitude, or 10 log10 of a power": 1,
        "the sum of the window and the negative frequencies are accounted for": 2,
    },
    right=lambda X, w: _db(2 * np.abs(X) / w.sum()),
    cases=_spectra,
    returns="levels (bins, frames)",
    rtol=0.0,
    atol=0.02,
    # far below, answers may differ by how they keep the logarithm of 0 away
    forgive=lambda got, right, X, w: np.where(right > -100, got, right),
    mistakes={
        "You leave out the window: a longer one makes every sine higher. A sine of amplitude 1 "
        "has the magnitude sum(window) / 2 in its bin; divide by that.": lambda X, w: _db(
            np.abs(X)
        ),
        "Your levels in dB are half of what they should be: 10 log10 is for powers (squared "
        "magnitudes), 20 log10 for magnitudes.": lambda X, w: _db(2 * np.abs(X) / w.sum(), 10),
        "You square the magnitude and then take 20 log10: that squares twice. It is either "
        "20 log10 of a magnitude or 10 log10 of a power.": (
            lambda X, w: _db(2 * np.abs(X) ** 2 / w.sum())
        ),
        "Your levels in dB are twice what they should be: 20 log10 of a square squares twice. "
        "It is either 20 log10 of a magnitude or 10 log10 of a power.": (
            lambda X, w: _db((2 * np.abs(X) / w.sum()) ** 2)
        ),
        "You are 6 dB too low: a real sine shares its amplitude between a positive and a negative "
        "frequency, and the spectrum shows only one of them. Multiply by 2.": (
            lambda X, w: _db(np.abs(X) / w.sum())
        ),
        "You divide by the length of the window. It is right for a rectangular one only; others "
        "let through less. Divide by the sum of the window.": (
            lambda X, w: _db(2 * np.abs(X) / w.size)
        ),
        "You divide by the length of the window and forget the negative frequencies: the magnitude "
        "of a sine of amplitude 1 is sum(window) / 2.": lambda X, w: _db(np.abs(X) / w.size),
        "You divide by the root of the sum of squares, which is the scale for noise. A sine adds "
        "up in step: divide by the plain sum of the window.": (
            lambda X, w: _db(2 * np.abs(X) / np.sqrt((w**2).sum()))
        ),
        "You divide by the largest magnitude, so that every sound has 0 dB at its strongest, a "
        "whisper too. Divide by what a sine of amplitude 1 would give.": (
            lambda X, w: _db(np.abs(X) / np.abs(X).max())
        ),
        "You take the real part only. It depends on the phase, and may be 0 where a sine is loud: "
        "use the magnitude, np.abs.": lambda X, w: _db(2 * np.abs(X.real) / w.sum()),
        "You use the natural logarithm, np.log; decibels are made with np.log10.": (
            lambda X, w: 20 * np.log(np.maximum(2 * np.abs(X) / w.sum(), 1e-12))
        ),
        "These are amplitudes, not decibels: take 20 log10 of them.": (
            lambda X, w: 2 * np.abs(X) / w.sum()
        ),
    },
    differs=lambda got, right, X, w: (
        f"Your levels are up to {np.max(np.abs(got - right)[right > -100]):.3g} dB off. A sine of "
        "amplitude A that fits the bin has the magnitude A * sum(window) / 2."
    ),
    praise="A sine of amplitude 1 has 0 dB, whatever the window and its length.",
)

# ---- 3: overlap-add ----------------------------------------------------------------------------


def _sum(frames: NDArray, hop: int) -> NDArray:
    total = np.zeros((len(frames) - 1) * hop + frames.shape[1])
    for t, frame in enumerate(frames):
        total[t * hop : t * hop + frame.size] += frame
    return total


def _last(frames: NDArray, hop: int) -> NDArray:
    total = np.zeros((len(frames) - 1) * hop + frames.shape[1])
    for t, frame in enumerate(frames):
        total[t * hop : t * hop + frame.size] = frame
    return total


def _weights(frames: NDArray, shape: NDArray, hop: int) -> NDArray:
    return _sum(np.broadcast_to(shape, frames.shape), hop)


def _ratio(above: NDArray, below: NDArray) -> NDArray:
    return np.divide(above, below, out=np.zeros_like(above), where=below > 1e-10)


def _overlap_add(frames: NDArray, window: NDArray, hop_samples: int) -> NDArray:
    return _ratio(_sum(frames, hop_samples), _weights(frames, window, hop_samples))


def _frames(index: int) -> tuple[NDArray, NDArray, int]:
    rng = np.random.default_rng([101, 3, index])
    length, hop = ((64, 16), (48, 20), (60, 30), (40, 10))[index]
    shape = transforms.window(("hann", "hamming", "hann", "blackman")[index], length)
    audio = rng.standard_normal(7 * hop + length)
    return np.array([shape * audio[t * hop :][:length] for t in range(8)]), shape, hop


def _without_faint(
    got: NDArray, right: NDArray, frames: NDArray, window: NDArray, hop: int
) -> NDArray:
    """Let 0 or the quotient stand where next to nothing is let through: both are honest."""
    return np.where((_weights(frames, window**2, hop) < 1e-12) & np.isfinite(got), right, got)


def _inner(values: NDArray, window: NDArray) -> NDArray:
    return values[window.size : -window.size]


OVERLAP = Function(
    title="overlap-add",
    minutes=25,
    rubric={
        "frames are added one hop apart; the result has the right length": 1,
        "divided by the sum of the windows (or of their squares, after a second window)": 1,
        "the ends are right, and no division by zero": 1,
    },
    right=_overlap_add,
    cases=lambda: [_frames(index) for index in range(4)],
    returns="a signal",
    rtol=0.0,
    atol=1e-3,  # a small number added to what one divides by, 1e-6 say, is an honest guard
    forgive=_without_faint,
    mistakes={
        "Each frame overwrites what the one before left where they overlap: add with +=, and add "
        "up the windows in the same way.": lambda f, w, H: _last(f, H),
        "You add the frames but never divide: where windows overlap, the signal comes out louder, "
        "and at both ends it fades. Divide by the sum of the windows at each sample.": (
            lambda f, w, H: _sum(f, H)
        ),
        "You multiply by the window a second time, but divide by the sum of the windows: the "
        "frames now carry its square, so divide by the sum of window ** 2.": (
            lambda f, w, H: _ratio(_sum(f * w, H), _weights(f, w, H))
        ),
        "You divide by the sum of the squared windows, but the frames carry the window once. "
        "Divide by the sum of the windows, or multiply each frame by the window first.": (
            lambda f, w, H: _ratio(_sum(f, H), _weights(f, w**2, H))
        ),
        "You multiply by the window once more, and never divide. Divide by the sum of "
        "window ** 2.": lambda f, w, H: _sum(f * w, H),
        "You divide by the number of frames that overlap. A frame counts as much as its window "
        "lets through there: divide by the sum of the windows.": (
            lambda f, w, H: _ratio(_sum(f, H), _weights(f, np.ones_like(w), H))
        ),
        "You divide by one number. In the middle it may fit, but at both ends fewer windows "
        "overlap: divide by their sum at each sample.": lambda f, w, H: _sum(f, H) / (w.sum() / H),
        "You divide by the largest sum of windows. At both ends fewer windows overlap: divide by "
        "their sum at each sample.": lambda f, w, H: _sum(f, H) / _weights(f, w, H).max(),
    },
    symptoms={
        "You lay the frames end to end, so that every sample comes several times. Frame t begins "
        "at t * hop_samples and overlaps its neighbours: add.": (
            lambda got, right, f, w, H: got.shape == (f.size,),
            lambda f, w, H: f.ravel(),
        ),
        "The last frame is cut off after one hop. The signal ends with the last frame: "
        "(number of frames - 1) * hop + length of the window.": (
            lambda got, right, f, w, H: got.shape == (len(f) * H,),
            lambda f, w, H: _overlap_add(f, w, H)[: len(f) * H],
        ),
        "There are NaN or infinite values: you divide by 0 where no window lets anything "
        "through, as at the first sample of a Hann window. Leave 0 there.": (
            lambda got, *_: not np.isfinite(got).all(),
            lambda f, w, H: _sum(f, H) / _weights(f, w, H),
        ),
        "In the middle the signal is right, at its ends it is not: fewer windows overlap there, "
        "and their sum is small. Divide by it all the same.": (
            lambda got, right, f, w, H: np.allclose(_inner(got, w), _inner(right, w), atol=1e-3),
            lambda f, w, H: np.pad(_inner(_overlap_add(f, w, H), w), w.size),
        ),
    },
    differs=lambda got, right, f, w, H: (
        f"The result is up to {np.max(np.abs(got - right)):.3g} away from the signal. Add each "
        "frame from sample t * hop_samples on, add the windows in the same way, and divide the one "
        "by the other."
    ),
    praise="The signal is back, up to its ends, for every window and hop.",
)

EXERCISES: Mapping[str, Exercise] = {
    "spectrogram.1": LOCATE,
    "spectrogram.2": LEVELS,
    "spectrogram.3": OVERLAP,
}
