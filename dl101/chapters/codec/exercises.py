"""The exercises of the chapter on neural codecs."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from dl101.lab.exercise import Exercise, Function

# ---- 1: what a second of sound costs -------------------------------------------------------------


def _budget(
    *,
    hop: Callable[[Sequence[int]], int] = math.prod,
    bits: Callable[[Sequence[int]], float] = lambda sizes: sum(math.log2(n) for n in sizes),
    frames: Callable[[float], int] = math.ceil,
    per_byte: float = 8.0,
    rate_of: Callable[[float, float], float] = lambda frame_rate, bits: frame_rate * bits,
    frames_per_s: Callable[[float], float] = lambda frame_rate: frame_rate,
) -> Callable[..., tuple]:
    """Return the right function (the defaults) or one that misreads what is counted."""

    def budget(
        sample_rate: int, strides: Sequence[int], codebooks: Sequence[int], n_samples: int
    ) -> tuple:
        frame_rate = frames_per_s(sample_rate / hop(strides))
        each = bits(codebooks)
        n_frames = frames(n_samples / hop(strides))
        return frame_rate, rate_of(frame_rate, each), n_frames * each / per_byte

    return budget


BUDGET = Function(
    title="what a second of sound costs",
    minutes=10,
    rubric={
        "the frame rate: sample rate over the product of the strides": 1,
        "bits of a frame: the sum of log2 over the stages": 1,
        "a started frame is a whole one, and a byte has 8 bits": 1,
    },
    right=_budget(),
    cases=lambda: [
        (16000, (16, 4, 5), (256,) * 8, 20000),
        (24000, (2, 4, 5, 8), (1024,) * 2, 24001),
        (44100, (4, 7), (64, 16, 8), 1000),
        (8000, (10, 16), (4096,), 37),
        (22050, (2, 4, 8), (1024, 512), 6400),
    ],
    returns="three numbers: frames a second, bits a second, bytes of the whole sound",
    mistakes={
        "The strides are added. Each one divides the rate that the one before it left: they "
        "multiply.": _budget(hop=sum),
        "A codebook of 256 entries does not cost 256 bits: a code is a number from 0 to 255, and "
        "log2(256) = 8 bits write it.": _budget(bits=lambda sizes: float(sum(sizes))),
        "The logarithm has another base. A bit is a choice between two: log2.": (
            _budget(bits=lambda sizes: sum(math.log(n) for n in sizes)),
            _budget(bits=lambda sizes: sum(math.log10(n) for n in sizes)),
        ),
        "Only one stage is counted. A frame has a code from every stage, and their bits add up.": (
            _budget(bits=lambda sizes: math.log2(sizes[0]))
        ),
        "All stages are counted like the first. The codebooks may have different sizes: add up the "
        "bits of each.": _budget(bits=lambda sizes: len(sizes) * math.log2(sizes[0])),
        "log2 of the sum is not the sum of log2: a frame's codes are separate choices, so their "
        "numbers of possibilities multiply.": _budget(bits=lambda sizes: math.log2(sum(sizes))),
        "Frames that are only begun are left out. The encoder pads the end of a sound: round up.": (
            _budget(frames=math.floor),
            _budget(frames=round),
        ),
        "A sound that fills its last frame gets one frame too many: round up, and a whole number "
        "stays as it is.": _budget(frames=lambda n: math.floor(n) + 1),
        "The frames a second are rounded. 22050 samples in hops of 64 are 344.53 frames: a rate "
        "may be a fraction.": (_budget(frames_per_s=math.floor), _budget(frames_per_s=round)),
        "The bytes come from a fraction of a frame. The encoder makes whole frames: round up.": (
            _budget(frames=lambda n: n)
        ),
        "The last number is in bits: a byte has eight.": _budget(per_byte=1.0),
        "The second number is in kilobits; bits a second are asked.": (
            _budget(rate_of=lambda frame_rate, bits: frame_rate * bits / 1000),
            _budget(rate_of=lambda frame_rate, bits: frame_rate * bits / 1024),
        ),
    },
    differs="At {0} Hz with strides {1}, codebooks {2} and {3} samples, number {at[0]} should "
    "be {right:g} and is {got:g}.",
    praise="Frames times bits: the same arithmetic for every codec, old and new.",
)

# ---- 2: codes of what is left over --------------------------------------------------------------


def _residual(
    *,
    left: Callable[[NDArray, NDArray, NDArray], NDArray] = lambda x, rest, word: rest - word,
    nearest: Callable[[NDArray, NDArray], int] = lambda rest, book: int(
        np.argmin(((book - rest) ** 2).sum(axis=1))
    ),
    summed: bool = True,
    give_rest: bool = False,
) -> Callable[..., tuple]:
    """Return the right function (the defaults) or one that misreads the stages."""

    def residual_codes(x: NDArray, codebooks: Sequence[NDArray]) -> tuple:
        rest, total, codes = x, np.zeros_like(x), []
        for book in codebooks:
            codes.append(nearest(rest, book))
            word = book[codes[-1]]
            rest = left(x, rest, word)
            total = total + word if summed else word
        return np.array(codes), rest if give_rest else total

    return residual_codes


def _books(seed: int, sizes: Sequence[int], dim: int) -> tuple[NDArray, list[NDArray]]:
    rng = np.random.default_rng(seed)
    books = [rng.standard_normal((n, dim)) * 0.6**k for k, n in enumerate(sizes)]
    return 0.7 * rng.standard_normal(dim), books


RESIDUAL = Function(
    title="codes of what is left over",
    minutes=15,
    rubric={
        "each stage gets what the stages before it left over": 1,
        "the nearest codeword by Euclidean distance": 1,
        "the decoder adds the codewords of all stages": 1,
    },
    right=_residual(),
    cases=lambda: [
        _books(0, (16, 16, 16), 2),
        _books(1, (16, 4, 4, 8), 3),
        _books(2, (5, 9), 4),
        _books(3, (6, 6, 6, 6, 6), 2),
        _books(4, (40, 30, 20), 3),
        _books(6, (7,), 3),
    ],
    returns="two arrays: the codes (stage,) and the decoded vector (dim,)",
    mistakes={
        "Every stage quantises the vector itself. It should get what is left: the vector minus the "
        "codewords so far.": _residual(left=lambda x, rest, word: x),
        "Only the last codeword is subtracted from the vector, not those of all stages before.": (
            _residual(left=lambda x, rest, word: x - word)
        ),
        "What is left over is the residual minus the codeword; you added it.": (
            _residual(left=lambda x, rest, word: rest + word)
        ),
        "The next stage gets the codeword. It should get what the codeword leaves over.": (
            _residual(left=lambda x, rest, word: word)
        ),
        "The vector is what is left over in the end. Decoded is the sum of the codewords.": (
            _residual(give_rest=True)
        ),
        "What is left over has the wrong sign: codeword minus residual.": (
            _residual(left=lambda x, rest, word: word - rest)
        ),
        "The decoded vector is the last codeword alone. It is the sum of those of all stages.": (
            _residual(summed=False)
        ),
        "The largest product is not the nearest codeword: a long one wins from afar. Compare "
        "distances.": _residual(nearest=lambda rest, book: int(np.argmax(book @ rest))),
        "The distance is the sum of absolute differences; asked is the Euclidean one.": (
            _residual(nearest=lambda rest, book: int(np.argmin(np.abs(book - rest).sum(axis=1))))
        ),
        "You took the farthest codeword.": (
            _residual(nearest=lambda rest, book: int(np.argmax(((book - rest) ** 2).sum(axis=1))))
        ),
    },
    differs="In a hidden case, value {at[1]} of result {at[0]} (0: codes, 1: vector) should be "
    "{right:g} and is {got:g}.",
    praise="Each stage takes a part of what is left: this is how one network serves many bitrates.",
)

# ---- 3: a ratio that does not hear the volume knob ----------------------------------------------


def _si_sdr(
    *,
    scale: Callable[[NDArray, NDArray], float] = lambda e, r: np.dot(e, r) / np.dot(r, r),
    factor: float = 10.0,
    turned: bool = False,
    over: Callable[[NDArray, NDArray, NDArray], NDArray] = lambda e, r, target: e - target,
    power: Callable[[NDArray], float] = lambda x: np.dot(x, x),
    kept: Callable[[NDArray, NDArray], NDArray] = lambda r, target: target,
    in_db: bool = True,
) -> Callable[..., float]:
    """Return the right function (the defaults) or one that misreads the ratio."""

    def ratio_db(estimate: NDArray, reference: NDArray) -> float:
        target = scale(estimate, reference) * reference
        ratio = power(kept(reference, target)) / power(over(estimate, reference, target))
        db = factor * np.log10(ratio) if in_db else ratio
        return -db if turned else db

    return ratio_db


def _decoded(seed: int, gain: float, noise: float, n: int = 200) -> tuple[NDArray, NDArray]:
    rng = np.random.default_rng(seed)
    reference = np.sin(np.arange(n) * rng.uniform(0.05, 0.4)) * rng.uniform(0.2, 0.9)
    return gain * reference + noise * rng.standard_normal(n), reference


SCALE = Function(
    title="a ratio that does not hear the volume knob",
    minutes=12,
    rubric={
        "the scale that brings the reference nearest to the estimate": 1,
        "what remains of the estimate is the distortion": 1,
        "a ratio of powers, in decibels": 1,
    },
    right=_si_sdr(),
    cases=lambda: [
        _decoded(0, 1.0, 0.1),
        _decoded(1, 0.5, 0.05),
        _decoded(2, 2.0, 0.6, 90),
        _decoded(3, -0.7, 0.2, 333),
        _decoded(4, 0.1, 0.3),
    ],
    returns="one number, in dB",
    rtol=1e-6,
    mistakes={
        "The reference is not scaled: half the volume counts as distortion. Find the factor that "
        "brings the reference nearest to the estimate first.": _si_sdr(scale=lambda e, r: 1.0),
        "The factor is divided by the energy of the estimate; the reference is what is scaled, so "
        "its own energy belongs there.": _si_sdr(scale=lambda e, r: np.dot(e, r) / np.dot(e, e)),
        "The factor is the ratio of the two levels. Noise raises the level of the estimate, too: "
        "project, with the product of the two signals.": (
            _si_sdr(scale=lambda e, r: math.sqrt(np.dot(e, e) / np.dot(r, r)))
        ),
        "The distortion is the estimate minus the *scaled* reference; you took the reference as it "
        "is.": _si_sdr(over=lambda e, r, target: e - r),
        "Above the line stands the reference as it is; it must be the scaled one, as below.": (
            _si_sdr(kept=lambda r, target: r)
        ),
        "The ratio is not in decibels yet: 10 times its logarithm.": _si_sdr(in_db=False),
        "The ratio is one of powers: 10 times the logarithm, not 20.": _si_sdr(factor=20.0),
        "The ratio is upside down: a good decoder has a high one.": _si_sdr(turned=True),
        "The logarithm is the natural one; decibels have base 10.": (
            _si_sdr(factor=10.0 * math.log(10))
        ),
        "The ratio is one of amplitudes, taken as if it were one of powers.": (
            _si_sdr(power=lambda x: math.sqrt(np.dot(x, x)))
        ),
        "You divided by the whole estimate. What it has in common with the reference is no "
        "distortion: subtract it.": _si_sdr(over=lambda e, r, target: e),
    },
    differs="For an estimate of {0.size} samples the ratio should be {right:.3f} dB and is "
    "{got:.3f} dB.",
    praise="Turn the volume knob: the number stays.",
)

EXERCISES: Mapping[str, Exercise] = {
    "codec.1": BUDGET,
    "codec.2": RESIDUAL,
    "codec.3": SCALE,
}
