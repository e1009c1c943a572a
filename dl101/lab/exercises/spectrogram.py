"""Checks of the chapter on the spectrogram and its phase.

``spectrogram.1`` ``locate(k, t, window_samples, hop_samples, sample_rate)`` returns the frequency
in Hz of bin ``k`` and the time in seconds of the middle of frame ``t``; frame 0 begins with the
first sample (no zeros before it), and the FFT is as long as the window.

``spectrogram.2`` ``level_db(spectrum, window)`` returns for each value of a complex spectrum
``(bins, frames)`` the level in dB of the sine that stands there, 0 dB for amplitude 1.

``spectrogram.3`` ``overlap_add(frames, window, hop_samples)`` returns the signal of which
``frames[t]`` is the stretch from sample ``t * hop_samples``, multiplied by the window; 0 where no
window lets anything through.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dl101 import stft as transforms
from dl101.lab.checks import Exercise, NotAccepted, ask

SAME_ANSWER = "Your function gives the same result for different input: does it use its arguments?"

# ---- 1: where is this? -------------------------------------------------------------------------

# bin, frame, window, hop, sample rate; no ratio of two of them is the same in all cases
PLACES = ((10, 7, 1024, 256, 22050), (37, 12, 512, 320, 16000), (100, 31, 2048, 441, 44100))

FREQUENCY_MISTAKES: tuple[tuple[Callable[..., float], str], ...] = (
    (
        lambda k, t, L, H, r: 2 * k * r / L,
        "Your frequencies are twice too high. The FFT of L samples has L bins, a distance of "
        "sample_rate / L apart; that only the first L / 2 + 1 are kept does not move them.",
    ),
    (
        lambda k, t, L, H, r: k * r / L / 2,
        "Your frequencies are twice too low: the highest bin, L / 2, stands for half the sample "
        "rate, so bins are sample_rate / L apart, not half of that.",
    ),
    (
        lambda k, t, L, H, r: k * (r / 2) / (L // 2 + 1),
        "You share half the sample rate among L / 2 + 1 bins. But there are L / 2 steps between "
        "them (a fence has one post more than it has gaps): one step is sample_rate / L.",
    ),
    (
        lambda k, t, L, H, r: k * r / H,
        "You divide by the hop. The hop says how often we look, the window how long: the distance "
        "of bins depends on the window alone.",
    ),
    (
        lambda k, t, L, H, r: (k + 1) * r / L,
        "Your frequencies are one bin too high: bin 0 stands for 0 Hz.",
    ),
    (
        lambda k, t, L, H, r: k / L,
        "Your frequency is in cycles per sample; multiply by the sample rate to have hertz.",
    ),
)
TIME_MISTAKES: tuple[tuple[Callable[..., float], str], ...] = (
    (
        lambda k, t, L, H, r: t * H / r,
        "Your times are half a window early: t * hop is where the frame begins. Its window is "
        "highest half a window later, and that is what the frame tells about.",
    ),
    (
        lambda k, t, L, H, r: (t * H - L / 2) / r,
        "You subtract half a window, as the equation does for frames that are centred on t * hop. "
        "Here frame t begins at t * hop, so its middle comes half a window later.",
    ),
    (
        lambda k, t, L, H, r: (t * H + L) / r,
        "Your times are half a window late: you give the end of the frame, not its middle.",
    ),
    (
        lambda k, t, L, H, r: (t * H + H / 2) / r,
        "You add half a hop. The middle of a frame is half a window after its beginning, however "
        "far away the next frame is.",
    ),
    (
        lambda k, t, L, H, r: t * L / r,
        "You lay the windows end to end. Frames begin one hop apart, not one window apart.",
    ),
    (
        lambda k, t, L, H, r: (t * L + L / 2) / r,
        "You add half a window, which is right, but to windows laid end to end: frames begin one "
        "hop apart, not one window apart.",
    ),
    (
        lambda k, t, L, H, r: t * H + L / 2,
        "Your time counts samples; divide by the sample rate to have seconds.",
    ),
)


def _grade_place(answer: object) -> str:
    got = np.array([_pair(ask(answer, *place)) for place in PLACES])
    right = np.array([((k * r / L), (t * H + L / 2) / r) for k, t, L, H, r in PLACES])
    if np.allclose(got, right, rtol=1e-3):
        return (
            "Bins depend on the window alone, frames on the hop, and a frame speaks of its middle."
        )
    if np.allclose(got[:, ::-1], right, rtol=1e-3):
        raise NotAccepted("The two numbers are swapped: frequency first, then time.")
    if np.allclose(got, got[0]):
        raise NotAccepted(SAME_ANSWER)
    for column, mistakes, what in (
        (0, FREQUENCY_MISTAKES, "frequency"),
        (1, TIME_MISTAKES, "time"),
    ):
        if np.allclose(got[:, column], right[:, column], rtol=1e-3):
            continue
        for model, hint in mistakes:
            if np.allclose(got[:, column], [model(*place) for place in PLACES], rtol=1e-3):
                raise NotAccepted(hint)
        raise NotAccepted(
            f"With window 1024, hop 256 and 22050 Hz, your {what} of bin 10 in frame 7 is "
            f"{got[0, column]:.4g}, and not {right[0, column]:.4g}."
        )
    raise AssertionError("one of the columns is wrong")


def _pair(result: Any) -> NDArray[np.float64]:
    try:
        pair = np.asarray(result, dtype=float)
    except (TypeError, ValueError):
        pair = np.zeros(0)
    if pair.shape != (2,):
        raise NotAccepted("Return two numbers: the frequency in Hz and the time in seconds.")
    return pair


# ---- 2: levels ---------------------------------------------------------------------------------


def _db(values: NDArray, factor: float = 20.0) -> NDArray[np.float64]:
    return factor * np.log10(np.maximum(values, 1e-12))


LEVEL_MISTAKES: tuple[tuple[Callable[[NDArray, NDArray], NDArray], str], ...] = (
    (
        lambda X, w: _db(np.abs(X)),
        "You leave out the window: a longer one makes every sine higher. A sine of amplitude 1 "
        "has the magnitude sum(window) / 2 in its bin; divide by that.",
    ),
    (
        lambda X, w: _db(2 * np.abs(X) / w.sum(), 10),
        "Your levels in dB are half of what they should be: 10 log10 is for powers (squared "
        "magnitudes), 20 log10 for magnitudes.",
    ),
    (
        lambda X, w: _db(2 * np.abs(X) ** 2 / w.sum()),
        "You square the magnitude and then take 20 log10: that squares twice. It is either "
        "20 log10 of a magnitude or 10 log10 of a power.",
    ),
    (
        lambda X, w: _db((2 * np.abs(X) / w.sum()) ** 2),
        "Your levels in dB are twice what they should be: 20 log10 of a square squares twice. "
        "It is either 20 log10 of a magnitude or 10 log10 of a power.",
    ),
    (
        lambda X, w: _db(np.abs(X) / w.sum()),
        "You are 6 dB too low: a real sine shares its amplitude between a positive and a negative "
        "frequency, and the spectrum shows only one of them. Multiply by 2.",
    ),
    (
        lambda X, w: _db(2 * np.abs(X) / w.size),
        "You divide by the length of the window. It is right for a rectangular one only; others "
        "let through less. Divide by the sum of the window.",
    ),
    (
        lambda X, w: _db(np.abs(X) / w.size),
        "You divide by the length of the window and forget the negative frequencies: the magnitude "
        "of a sine of amplitude 1 is sum(window) / 2.",
    ),
    (
        lambda X, w: _db(2 * np.abs(X) / np.sqrt((w**2).sum())),
        "You divide by the root of the sum of squares, which is the scale for noise. A sine adds "
        "up in step: divide by the plain sum of the window.",
    ),
    (
        lambda X, w: _db(np.abs(X) / np.abs(X).max()),
        "You divide by the largest magnitude, so that every sound has 0 dB at its strongest, a "
        "whisper too. Divide by what a sine of amplitude 1 would give.",
    ),
    (
        lambda X, w: _db(2 * np.abs(X.real) / w.sum()),
        "You take the real part only. It depends on the phase, and may be 0 where a sine is loud: "
        "use the magnitude, np.abs.",
    ),
    (
        lambda X, w: 20 * np.log(np.maximum(2 * np.abs(X) / w.sum(), 1e-12)),
        "You use the natural logarithm, np.log; decibels are made with np.log10.",
    ),
    (
        lambda X, w: 2 * np.abs(X) / w.sum(),
        "These are amplitudes, not decibels: take 20 log10 of them.",
    ),
)


def _spectra() -> list[tuple[NDArray, NDArray]]:
    """Spectra of sines of known amplitude, with several windows."""
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


def _grade_level(answer: object) -> str:
    cases = _spectra()
    got = [_array(ask(answer, X, w), X.shape) for X, w in cases]
    right = [_db(2 * np.abs(X) / w.sum()) for X, w in cases]
    # far below, answers may differ by how they keep the logarithm of 0 away
    heard = [each > -100 for each in right]

    def fits(candidate: Sequence[NDArray]) -> bool:
        pairs = zip(got, candidate, heard, strict=True)
        return all(np.allclose(a[h], b[h], rtol=0, atol=0.02) for a, b, h in pairs)

    if fits(right):
        return "A sine of amplitude 1 has 0 dB, whatever the window and its length."
    for model, hint in LEVEL_MISTAKES:
        if fits([model(X, w) for X, w in cases]):
            raise NotAccepted(hint)
    if all(np.ptp(each) < 1e-9 for each in got):
        raise NotAccepted(SAME_ANSWER)
    worst = float(np.max(np.abs(got[0] - right[0])[heard[0]]))
    raise NotAccepted(
        f"Your levels are up to {worst:.3g} dB off. A sine of amplitude A that fits the bin "
        "has the magnitude A * sum(window) / 2."
    )


# ---- 3: overlap-add ----------------------------------------------------------------------------


def _sum(frames: NDArray, hop: int) -> NDArray[np.float64]:
    total = np.zeros((len(frames) - 1) * hop + frames.shape[1])
    for t, frame in enumerate(frames):
        total[t * hop : t * hop + frame.size] += frame
    return total


def _ratio(above: NDArray, below: NDArray) -> NDArray[np.float64]:
    return np.divide(above, below, out=np.zeros_like(above), where=below > 1e-10)


def _weights(frames: NDArray, shape: NDArray, hop: int) -> NDArray[np.float64]:
    return _sum(np.broadcast_to(shape, frames.shape), hop)


def _last(frames: NDArray, hop: int) -> NDArray[np.float64]:
    total = np.zeros((len(frames) - 1) * hop + frames.shape[1])
    for t, frame in enumerate(frames):
        total[t * hop : t * hop + frame.size] = frame
    return total


OVERLAP_MISTAKES: tuple[tuple[Callable[[NDArray, NDArray, int], NDArray], str], ...] = (
    (
        lambda f, w, H: _last(f, H),
        "Each frame overwrites what the one before left where they overlap: add with +=, and add "
        "up the windows in the same way.",
    ),
    (
        lambda f, w, H: _sum(f, H),
        "You add the frames but never divide: where windows overlap, the signal comes out louder, "
        "and at both ends it fades. Divide by the sum of the windows at each sample.",
    ),
    (
        lambda f, w, H: _ratio(_sum(f * w, H), _weights(f, w, H)),
        "You multiply by the window a second time, but divide by the sum of the windows: the "
        "frames now carry its square, so divide by the sum of window ** 2.",
    ),
    (
        lambda f, w, H: _ratio(_sum(f, H), _weights(f, w**2, H)),
        "You divide by the sum of the squared windows, but the frames carry the window once. "
        "Divide by the sum of the windows, or multiply each frame by the window first.",
    ),
    (
        lambda f, w, H: _sum(f * w, H),
        "You multiply by the window once more, and never divide. Divide by the sum of window ** 2.",
    ),
    (
        lambda f, w, H: _ratio(_sum(f, H), _weights(f, np.ones_like(w), H)),
        "You divide by the number of frames that overlap. A frame counts as much as its window "
        "lets through there: divide by the sum of the windows.",
    ),
    (
        lambda f, w, H: _sum(f, H) / (w.sum() / H),
        "You divide by one number. In the middle it may fit, but at both ends fewer windows "
        "overlap: divide by their sum at each sample.",
    ),
    (
        lambda f, w, H: _sum(f, H) / np.maximum(_weights(f, w, H).max(), 1e-12),
        "You divide by the largest sum of windows. At both ends fewer windows overlap: divide by "
        "their sum at each sample.",
    ),
)


def _frames(index: int) -> tuple[NDArray, NDArray, int]:
    rng = np.random.default_rng([101, 3, index])
    length, hop = ((64, 16), (48, 20), (60, 30), (40, 10))[index]
    shape = transforms.window(("hann", "hamming", "hann", "blackman")[index], length)
    audio = rng.standard_normal(7 * hop + length)
    return np.array([shape * audio[t * hop :][:length] for t in range(8)]), shape, hop


def _grade_overlap(answer: object) -> str:
    cases = [_frames(index) for index in range(4)]
    right = [_ratio(_sum(f, H), _weights(f, w, H)) for f, w, H in cases]
    got = []
    for (frames, shape, hop), wanted in zip(cases, right, strict=True):
        result = ask(answer, frames, shape, hop)
        if np.shape(result) == (frames.size,):
            raise NotAccepted(
                "You lay the frames end to end, so that every sample comes several times. Frame t "
                "begins at t * hop_samples and overlaps its neighbours: add."
            )
        if np.shape(result) == (len(frames) * hop,):
            raise NotAccepted(
                "The last frame is cut off after one hop. The signal ends with the last frame: "
                "(number of frames - 1) * hop + length of the window."
            )
        values = _array(result, wanted.shape, finite=False)
        # where next to nothing is let through, 0 and the quotient are both an honest answer
        faint = (_weights(frames, shape**2, hop) < 1e-12) & np.isfinite(values)
        got.append(np.where(faint, wanted, values))
    if not all(np.isfinite(each).all() for each in got):
        raise NotAccepted(
            "There are NaN or infinite values: you divide by 0 where no window lets anything "
            "through, as at the first sample of a Hann window. Leave 0 there."
        )
    if _all_close(got, right):
        return "The signal is back, up to its ends, for every window and hop."
    for model, hint in OVERLAP_MISTAKES:
        if _all_close(got, [model(*case) for case in cases]):
            raise NotAccepted(hint)
    if all(np.ptp(each) < 1e-9 for each in got):
        raise NotAccepted(SAME_ANSWER)
    middles = [slice(shape.size, -shape.size) for _, shape, _ in cases]
    inner = ([each[m] for each, m in zip(both, middles, strict=True)] for both in (got, right))
    if _all_close(*inner):
        raise NotAccepted(
            "In the middle the signal is right, at its ends it is not: fewer windows overlap "
            "there, and their sum is small. Divide by it all the same."
        )
    worst = max(np.abs(a - b).max() for a, b in zip(got, right, strict=True))
    raise NotAccepted(
        f"The result is up to {worst:.3g} away from the signal. Add each frame from sample "
        "t * hop_samples on, add the windows in the same way, and divide the one by the other."
    )


# ---- shared ------------------------------------------------------------------------------------


def _array(result: Any, shape: tuple[int, ...], *, finite: bool = True) -> NDArray[np.float64]:
    try:
        values = np.asarray(result)
        values = values.astype(float) if not np.iscomplexobj(values) else None
    except (TypeError, ValueError):
        raise NotAccepted(
            f"The function returns a {type(result).__name__}; an array is asked."
        ) from None
    if values is None:
        raise NotAccepted("The result is complex; real numbers are asked.")
    if values.shape != shape:
        raise NotAccepted(f"The result has shape {values.shape}; asked is {shape}.")
    if finite and not np.isfinite(values).all():
        raise NotAccepted("There are NaN or infinite values in the result.")
    return values


def _all_close(got: Sequence[NDArray], wanted: Sequence[NDArray]) -> bool:
    # a small number added to what one divides by, 1e-6 say, is an honest guard against 0
    return all(np.allclose(a, b, rtol=0, atol=1e-3) for a, b in zip(got, wanted, strict=True))


EXERCISES: Mapping[str, Exercise] = {
    "spectrogram.1": Exercise(
        "where a bin and a frame are",
        _grade_place,
        minutes=10,
        rubric={
            "bins are sample_rate / window apart": 1,
            "frames are one hop apart, and a frame speaks of its middle": 1,
        },
    ),
    "spectrogram.2": Exercise(
        "levels in decibels",
        _grade_level,
        minutes=20,
        rubric={
            "20 log10 of a magnitude, or 10 log10 of a power": 1,
            "the sum of the window and the negative frequencies are accounted for": 2,
        },
    ),
    "spectrogram.3": Exercise(
        "overlap-add",
        _grade_overlap,
        minutes=25,
        rubric={
            "frames are added one hop apart; the result has the right length": 1,
            "divided by the sum of the windows (or of their squares, after a second window)": 1,
            "the ends are right, and no division by zero": 1,
        },
    ),
}
