"""The exercises of the chapter on learned spectrograms."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from dl101.lab.exercise import Exercise, Function

# ---- 1: how many frames -------------------------------------------------------------------------

N_FRAMES = Function(
    title="how many frames",
    minutes=10,
    rubric={
        "frames inside the signal: the first at 0, the last that still fits": 1,
        "centred frames: one at 0 and one for each hop, whatever the kernel": 1,
        "a signal shorter than the kernel has none inside": 1,
    },
    right=lambda n, k, h, centred: 1 + n // h if centred else max(0, 1 + (n - k) // h),
    cases=lambda: [
        (1000, 256, 100, False),
        (1000, 256, 100, True),
        (1024, 512, 256, False),
        (1024, 512, 256, True),
        (600, 101, 50, True),
        (777, 77, 60, False),
        (130, 128, 128, True),
        (250, 256, 100, False),
        (256, 256, 100, False),
    ],
    returns="a whole number",
    mistakes={
        "The frame at the very beginning is missing: n // hop counts the steps from one frame to "
        "the next, and there is one frame more than steps.": (
            lambda n, k, h, centred: n // h if centred else max(0, (n - k) // h),
            lambda n, k, h, centred: 1 + n // h if centred else max(0, (n - k) // h),
        ),
        "You count the frames that begin inside the signal even where nothing is padded. There the "
        "last one has to end inside, too: the kernel comes off first.": (
            lambda n, k, h, centred: 1 + n // h
        ),
        "You take the kernel off although zeros were added for it. With centred frames only the "
        "centres have to lie inside.": lambda n, k, h, centred: max(0, 1 + (n - k) // h),
        "The wrong way round: centred frames are those for which zeros are added.": (
            lambda n, k, h, centred: 1 + n // h if not centred else max(0, 1 + (n - k) // h)
        ),
        "You round up. Where a whole hop is not left there is no frame more: round down (//).": (
            lambda n, k, h, centred: 1 + -(-n // h) if centred else max(0, 1 + -(-(n - k) // h))
        ),
        "You lay the kernels end to end. They start one hop apart and overlap.": (
            lambda n, k, h, centred: n // k,
            lambda n, k, h, centred: 1 + n // k if centred else max(0, 1 + (n - k) // k),
        ),
        "With centred frames the sample n_samples counts as a centre, too, where a whole number of "
        "hops leads to it.": (
            lambda n, k, h, centred: -(-n // h) if centred else max(0, 1 + (n - k) // h)
        ),
        "Frames come whole: round down, with //.": (
            lambda n, k, h, centred: 1 + n / h if centred else max(0, 1 + (n - k) / h)
        ),
        "int() rounds towards zero, and below zero that is up: a signal a little shorter than the "
        "kernel gets a frame. // rounds down.": (
            lambda n, k, h, centred: 1 + n // h if centred else max(0, 1 + int((n - k) / h))
        ),
        "Half the kernel on both sides, rounded down, is one zero too few for an odd kernel, and "
        "where the hop divides the signal the last frame is lost. Count the centres instead: 0, "
        "hop, 2 hop, ... up to the number of samples.": (
            lambda n, k, h, centred: (
                1 + (n + 2 * (k // 2) - k) // h if centred else max(0, 1 + (n - k) // h)
            )
        ),
    },
    edges={
        "The signal is shorter than the kernel and nothing is padded: then there is no frame, 0.": (
            (100, 512, 128, False),
            lambda n, k, h, centred: 1 + n // h if centred else 1 + (n - k) // h,
        ),
    },
    differs="For {0} samples, a kernel of {1}, a hop of {2} and centred={3} it gives {right:g} "
    "frames, your function {got:g}. Write down where each frame begins and ends.",
    praise="One at the start and one for each hop; the kernel counts only where nothing is padded.",
)

# ---- 2: how strong is the tone ------------------------------------------------------------------


def _turned(x: NDArray, f: float, sr: float) -> tuple[NDArray, NDArray]:
    angle = 2 * np.pi * f / sr * np.arange(x.size)
    return np.cos(angle), np.sin(angle)


def _pair(x: NDArray, w: NDArray, f: float, sr: float) -> tuple[float, float]:
    """Return the responses of the two kernels."""
    cosine, sine = _turned(x, f, sr)
    return float(np.sum(w * cosine * x)), float(np.sum(w * sine * x))


def _strength(x: NDArray, w: NDArray, f: float, sr: float) -> float:
    return 2 * np.hypot(*_pair(x, w, f, sr)) / np.sum(w)


def _tones() -> list[tuple[NDArray, NDArray, float, float]]:
    cases = []
    for index, (n, f, sr, phase) in enumerate(
        ((256, 500.3, 8000, 0.4), (400, 1234.5, 22050, 2.0), (301, 97.7, 2000, -1.1))
    ):
        rng = np.random.default_rng([102, 2, index])
        t = np.arange(n) / sr
        x = (0.3 + index) * np.cos(2 * np.pi * f * t + phase)
        x = x + 0.2 * np.cos(2 * np.pi * 2.9 * f * t) + 0.05 * rng.standard_normal(n)
        window = np.hanning(n) if index < 2 else np.hamming(n)
        cases.append((x, window, f, float(sr)))
    return cases


STRENGTH = Function(
    title="how strong is the tone",
    minutes=15,
    rubric={
        "a cosine and a sine kernel, with the window, at f / sample_rate": 1,
        "root of the sum of squares: the phase drops out": 1,
        "twice, over the sum of the window: a tone of amplitude A gives A": 1,
    },
    right=_strength,
    cases=_tones,
    returns="one number",
    rtol=1e-4,
    mistakes={
        "One kernel alone, the cosine: its answer goes to zero when the tone is a quarter of a "
        "period away. Add the square of the sine's.": (
            lambda x, w, f, sr: 2 * abs(_pair(x, w, f, sr)[0]) / w.sum(),
            lambda x, w, f, sr: 2 * _pair(x, w, f, sr)[0] / w.sum(),
        ),
        "One kernel alone, the sine: its answer goes to zero for a tone that is a cosine. Add the "
        "square of the cosine's.": (
            lambda x, w, f, sr: 2 * abs(_pair(x, w, f, sr)[1]) / w.sum(),
            lambda x, w, f, sr: 2 * _pair(x, w, f, sr)[1] / w.sum(),
        ),
        "You add the absolute values. Their sum still changes with the phase, by a factor of up to "
        "1.41; the root of the sum of squares does not.": (
            lambda x, w, f, sr: 2 * np.sum(np.abs(_pair(x, w, f, sr))) / w.sum()
        ),
        "You add the responses before squaring. They cancel at some phases: square each, then "
        "add.": (
            lambda x, w, f, sr: 2 * abs(np.sum(_pair(x, w, f, sr))) / w.sum(),
            lambda x, w, f, sr: 2 * np.sum(_pair(x, w, f, sr)) / w.sum(),
        ),
        "You square sample by sample. The answer of a kernel is one sum: add up first, then "
        "square.": lambda x, w, f, sr: (
            2 * np.sqrt(np.sum((w * _turned(x, f, sr) * x) ** 2)) / w.sum()
        ),
        "This is the square of the amplitude: take the root of the sum of squares.": (
            lambda x, w, f, sr: _strength(x, w, f, sr) ** 2
        ),
        "Half of it. A cosine of amplitude A is met by the kernels with A / 2, the mean of a "
        "squared cosine: multiply by 2.": lambda x, w, f, sr: _strength(x, w, f, sr) / 2,
        "You divide by the number of samples. The window has made most of them smaller: divide by "
        "its sum.": lambda x, w, f, sr: _strength(x, w, f, sr) * w.sum() / x.size,
        "You divide by nothing, so a longer window gives a larger answer: divide by the sum of "
        "the window.": (
            lambda x, w, f, sr: _strength(x, w, f, sr) * w.sum(),
            lambda x, w, f, sr: np.hypot(*_pair(x, w, f, sr)),
        ),
        "You take the bin of the Fourier transform that is nearest. The kernels may have exactly "
        "the frequency of the tone.": (
            lambda x, w, f, sr: _strength(x, w, round(f * x.size / sr) * sr / x.size, sr)
        ),
        "You divide by the sum of the squared window. The window is a factor of the kernel once: "
        "divide by its sum.": lambda x, w, f, sr: _strength(x, w, f, sr) * w.sum() / (w**2).sum(),
        "The window counts twice. It is part of the kernel; the signal comes as it is.": (
            lambda x, w, f, sr: 2 * np.hypot(*_pair(x * w, w, f, sr)) / w.sum()
        ),
        "The window is missing: its edges cut through the waves, and other tones leak in.": (
            lambda x, w, f, sr: 2 * np.hypot(*_pair(x, np.ones_like(w), f, sr)) / x.size,
            lambda x, w, f, sr: 2 * np.hypot(*_pair(x, np.ones_like(w), f, sr)) / w.sum(),
        ),
        "The angle of sample n is 2 pi f n / sample_rate: you left the sample rate out.": (
            lambda x, w, f, sr: _strength(x, w, f, 1.0)
        ),
        "The 2 pi is missing: a whole period is an angle of 2 pi.": (
            lambda x, w, f, sr: _strength(x, w, f / (2 * np.pi), sr)
        ),
    },
    differs="In a hidden case the amplitude is {right:.4g}, yours is {got:.4g}. Two sums over the "
    "samples, with window times cosine and window times sine, then the root of their squares.",
    praise="Two kernels, squares, one root: the amplitude, whatever the phase.",
)

# ---- 3: what a kernel listens to ----------------------------------------------------------------


def _peak_hz(kernel: NDArray, sr: float, *, n_fft: int = 65536, size: Callable = np.abs) -> float:
    spectrum = size(np.fft.rfft(kernel, n_fft))
    return float(np.argmax(spectrum) * sr / n_fft)


def _centroid_hz(kernel: NDArray, sr: float) -> float:
    gain = np.abs(np.fft.rfft(kernel, 65536))
    return float(np.sum(gain * np.fft.rfftfreq(65536, 1 / sr)) / np.sum(gain))


def _crossings_hz(kernel: NDArray, sr: float) -> float:
    return float(np.count_nonzero(np.diff(np.sign(kernel))) * sr / (2 * kernel.size))


def _kernels() -> list[tuple[NDArray, float]]:
    cases = []
    for index, (n, sr, f, phase) in enumerate(
        ((100, 8000, 613.0, 1.4), (128, 22050, 2480.0, -1.3), (64, 16000, 333.0, 1.8))
    ):
        rng = np.random.default_rng([102, 3, index])
        t = np.arange(n) / sr
        kernel = np.cos(2 * np.pi * f * t + phase) + 0.5 * np.cos(2 * np.pi * 2.7 * f * t)
        cases.append((np.hanning(n) * (kernel + 0.3 * rng.standard_normal(n)), float(sr)))
    return cases


CENTRE = Function(
    title="what a kernel listens to",
    minutes=15,
    rubric={
        "the largest magnitude of the kernel's Fourier transform": 1,
        "the result is in Hz, not in bins": 1,
        "padded with zeros, so that the grid is finer than 5 Hz": 1,
    },
    right=_peak_hz,
    cases=_kernels,
    returns="one number, in Hz",
    rtol=0.0,
    atol=5.0,
    mistakes={
        "Your grid is that of the kernel's own length: sample_rate / len(kernel) apart, a hundred "
        "hertz and more. Give the FFT a larger length; it appends zeros.": (
            lambda w, sr: _peak_hz(w, sr, n_fft=w.size)
        ),
        "This is the number of a bin. Bin k of an FFT of length N stands for k * sample_rate / N "
        "hertz.": (
            lambda w, sr: np.argmax(np.abs(np.fft.rfft(w))),
            lambda w, sr: np.argmax(np.abs(np.fft.rfft(w, 4096))),
            lambda w, sr: np.argmax(np.abs(np.fft.rfft(w, 8192))),
            lambda w, sr: np.argmax(np.abs(np.fft.rfft(w, 16384))),
            lambda w, sr: np.argmax(np.abs(np.fft.rfft(w, 65536))),
        ),
        "You divide by the kernel's length. With zeros appended, divide by that of the FFT.": (
            lambda w, sr: _peak_hz(w, sr, n_fft=4096) * 4096 / w.size,
            lambda w, sr: _peak_hz(w, sr, n_fft=8192) * 8192 / w.size,
            lambda w, sr: _peak_hz(w, sr, n_fft=16384) * 16384 / w.size,
            lambda w, sr: _peak_hz(w, sr) * 65536 / w.size,
        ),
        "Your grid is finer than the kernel's own, and still too coarse: its step, sample_rate / "
        "n, has to be below 10 Hz.": (
            lambda w, sr: _peak_hz(w, sr, n_fft=512),
            lambda w, sr: _peak_hz(w, sr, n_fft=1024),
        ),
        "Twice too high: the last bin of rfft is half the sample rate, not the sample rate.": (
            lambda w, sr: 2 * _peak_hz(w, sr)
        ),
        "You look for the largest real part, which depends on the kernel's phase. Take the "
        "magnitude.": lambda w, sr: _peak_hz(w, sr, size=np.real),
        "This is the mean frequency, weighted by the gain. It is drawn towards whatever else "
        "passes; asked is the frequency that passes best.": _centroid_hz,
        "Zero crossings count every wiggle, noise too. The Fourier transform says how much of each "
        "frequency passes.": _crossings_hz,
        "This is where in time the kernel is largest. Its transform tells its frequency.": (
            lambda w, sr: np.argmax(np.abs(w)),
            lambda w, sr: np.argmax(np.abs(w)) / sr,
        ),
        "This is an angle per sample: divide by 2 pi and multiply by the sample rate.": (
            lambda w, sr: 2 * np.pi * _peak_hz(w, 1.0)
        ),
        "This is in cycles per sample: multiply by the sample rate.": lambda w, sr: _peak_hz(
            w, 1.0
        ),
    },
    differs="In a hidden case the kernel passes {right:.0f} Hz best; you say {got:.0f}. Take the "
    "largest magnitude of rfft(kernel, n) with n well above the kernel's length.",
    praise="The peak of the gain, on a grid fine enough to read it off.",
)

EXERCISES: dict[str, Exercise] = {
    "conv1d.1": N_FRAMES,
    "conv1d.2": STRENGTH,
    "conv1d.3": CENTRE,
}
