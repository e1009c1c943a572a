"""The exercises of the chapter on source separation in the short-time spectrum."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from dl101.lab.exercise import Exercise, Function


def _stems(seed: int, shape: tuple[int, int, int]) -> NDArray[np.complex128]:
    """Return spectra of stems of which some cancel each other, (stems, bins, frames)."""
    rng = np.random.default_rng([seed])
    spectra = rng.standard_normal(shape) + 1j * rng.standard_normal(shape)
    spectra *= rng.uniform(0.1, 1.5, (shape[0], 1, 1))
    spectra[1, ::2] = -0.8 * spectra[0, ::2]  # against each other in every other bin
    return spectra


# ---- 1: masks that never pass one ----------------------------------------------------------------


def _masks(
    *,
    size: Callable[[NDArray], NDArray] = np.abs,
    whole: Callable[[NDArray, NDArray], NDArray] = lambda sizes, spectra: sizes.sum(
        axis=0, keepdims=True
    ),
    after: Callable[[NDArray], NDArray] = lambda masks: masks,
    at_silence: float = 0.0,
) -> Callable[[NDArray], NDArray]:
    """Return the right function (the defaults) or one that shares otherwise."""

    def ratio_masks(spectra: NDArray) -> NDArray:
        sizes = size(spectra)
        over = np.broadcast_to(whole(sizes, spectra), sizes.shape)
        shared = np.divide(
            sizes, over, out=np.full(sizes.shape, at_silence, sizes.dtype), where=over != 0
        )
        return after(shared)

    return ratio_masks


def _with_silence() -> NDArray[np.complex128]:
    spectra = _stems(9, (2, 4, 5))
    spectra[:, 1] = 0
    return spectra


MASKS = Function(
    title="masks that never pass one",
    minutes=10,
    rubric={
        "each stem's magnitude over the sum of all magnitudes": 1,
        "masks of a cell add up to 1, and none is above": 1,
        "where every stem is silent, masks are 0 and not NaN": 1,
    },
    right=_masks(),
    cases=lambda: [
        (_stems(0, (2, 4, 3)),),
        (_stems(1, (4, 5, 6)),),
        (_stems(2, (3, 7, 2)),),
        (0.01 * _stems(3, (4, 6, 9)),),
    ],
    returns="real masks (stems, bins, frames)",
    mistakes={
        "Your masks pass 1. You divide by the magnitude of the mixture, in which stems cancel each "
        "other: divide by the sum of the stems' magnitudes.": _masks(
            whole=lambda sizes, spectra: np.abs(spectra.sum(axis=0, keepdims=True))
        ),
        "Masks above 1 are cut off, but what is left no longer adds up to 1. Divide by the sum of "
        "the stems' magnitudes, and nothing needs to be cut.": _masks(
            whole=lambda sizes, spectra: np.abs(spectra.sum(axis=0, keepdims=True)),
            after=lambda masks: np.minimum(masks, 1.0),
        ),
        "These are shares of power. They add up to 1, too, but the task asks for magnitudes.": (
            _masks(size=lambda spectra: np.abs(spectra) ** 2)
        ),
        "Each cell goes to its loudest stem: that is the binary mask. A ratio mask shares.": (
            _masks(
                after=lambda masks: (
                    np.arange(len(masks))[:, None, None] == masks.argmax(axis=0)
                ).astype(float)
            )
        ),
        "The loudest stem gets 1 and the others their ratio to it: together that is more than 1. "
        "Divide by the sum.": _masks(whole=lambda sizes, spectra: sizes.max(axis=0, keepdims=True)),
        "The sum runs over the bins. Stems share a cell: add up over the stems, axis 0.": (
            _masks(whole=lambda sizes, spectra: sizes.sum(axis=1, keepdims=True))
        ),
        "The sum runs over the frames. Stems share a cell: add up over the stems, axis 0.": (
            _masks(whole=lambda sizes, spectra: sizes.sum(axis=2, keepdims=True))
        ),
        "You divide by all cells at once. Every cell is shared out by itself.": (
            _masks(whole=lambda sizes, spectra: sizes.sum(keepdims=True))
        ),
        "You divide by the sum of the other stems. The stem itself belongs to the sum.": (
            _masks(whole=lambda sizes, spectra: sizes.sum(axis=0, keepdims=True) - sizes)
        ),
        "Only the real parts are compared. A magnitude has both: np.abs.": (
            _masks(size=lambda spectra: np.abs(spectra.real))
        ),
    },
    edges={
        "Where every stem is silent, your mask should be 0 and is {got:g}: guard the division.": (
            (_with_silence(),),
            _masks(at_silence=float("nan")),
        )
    },
    differs="With {0.shape[0]} stems, the mask at (stem, bin, frame) {at} should be {right:.4f} "
    "and is {got:.4f}.",
    praise="No mask is above 1 and together they are 1: what one stem does not get, another gets.",
)

# ---- 2: sound from magnitudes --------------------------------------------------------------------


def _phased(
    *,
    turn: Callable[[NDArray], NDArray] = lambda mixture: np.exp(1j * np.angle(mixture)),
    keep_silence: bool = True,
) -> Callable[[NDArray, NDArray], tuple[NDArray, NDArray]]:
    """Return the right function (the defaults) or one with another phase."""

    def with_phase(magnitudes: NDArray, mixture: NDArray) -> tuple[NDArray, NDArray]:
        found = magnitudes * turn(mixture)
        found = np.where(mixture == 0, 0, found) if keep_silence else found
        return found.real, found.imag

    return with_phase


def _estimated(seed: int, shape: tuple[int, int, int]) -> tuple[NDArray, NDArray]:
    rng = np.random.default_rng([seed, 2])
    mixture = _stems(seed, shape).sum(axis=0)
    return rng.uniform(0, 2, shape), mixture


def _with_a_hole() -> tuple[NDArray, NDArray]:
    magnitudes, mixture = _estimated(8, (2, 4, 4))
    mixture[2] = 0
    return magnitudes, mixture


PHASE = Function(
    title="the mixture's phase",
    minutes=10,
    rubric={
        "the magnitude of the estimate is kept": 1,
        "the phase is that of the mixture, in the same bin and frame": 1,
        "where the mixture is 0, the estimate is 0": 1,
    },
    right=_phased(),
    cases=lambda: [
        _estimated(0, (2, 4, 3)),
        _estimated(1, (4, 6, 5)),
        _estimated(2, (3, 3, 8)),
    ],
    returns="two arrays (stems, bins, frames): the real parts and the imaginary parts",
    mistakes={
        "The magnitude of the mixture is in your result, too. Take its phase alone: a number of "
        "magnitude 1.": _phased(turn=lambda mixture: mixture),
        "There is no phase: every partial starts at the centre of every frame, which buzzes. Turn "
        "each cell like the mixture's.": _phased(turn=lambda mixture: np.ones_like(mixture)),
        "The phase has the wrong sign: frames run backwards.": (
            _phased(turn=lambda mixture: np.exp(-1j * np.angle(mixture)))
        ),
        "Only the real part is left. The exponent of e is imaginary: 1j times the phase.": (
            _phased(turn=lambda mixture: np.cos(np.angle(mixture)))
        ),
        "The exponent has no 1j, so that the phase has become a level.": (
            _phased(turn=lambda mixture: np.exp(np.angle(mixture)))
        ),
        "The phase is multiplied instead of turned: magnitudes times an angle are no spectrum.": (
            _phased(turn=lambda mixture: np.angle(mixture))
        ),
        "The phase is in degrees somewhere: e to the 1j needs radians, and np.angle gives them.": (
            _phased(turn=lambda mixture: np.exp(1j * np.angle(mixture, deg=True)))
        ),
        "Real and imaginary part have changed places: the cosine of the phase is the real part.": (
            _phased(turn=lambda mixture: np.sin(np.angle(mixture)) + 1j * np.cos(np.angle(mixture)))
        ),
        "The angle is half: an arctangent of a quotient can't tell a number from its opposite. "
        "np.angle looks at both signs.": _phased(
            turn=lambda mixture: np.exp(1j * np.arctan(mixture.imag / mixture.real))
        ),
    },
    edges={
        "Where the mixture is 0 it has no phase, and the estimate should be 0; yours is {got:.3g} "
        "there.": (_with_a_hole(), _phased(keep_silence=False))
    },
    differs="For {0.shape[0]} stems, the value at (part, stem, bin, frame) {at} should be "
    "{right:.3f} and is {got:.3f}.",
    praise="The estimate's magnitude and the mixture's phase: this is how every mask works.",
)

# ---- 3: which way the ratio goes -----------------------------------------------------------------


def _energy(x: NDArray) -> float:
    return float(np.sum(x**2))


def _sdr(
    *,
    over: Callable[[NDArray, NDArray], float] = lambda e, r: _energy(r),
    under: Callable[[NDArray, NDArray], float] = lambda e, r: _energy(r - e),
    factor: float = 10.0,
    in_db: bool = True,
    gain: Callable[[float, float], float] = lambda after, before: after - before,
) -> Callable[..., tuple[float, float]]:
    """Return the right function (the defaults) or one that turns something round."""

    def ratio(estimate: NDArray, reference: NDArray) -> float:
        found = over(estimate, reference) / under(estimate, reference)
        return factor * math.log10(found) if in_db else found

    def sdr_and_gain(estimate: NDArray, reference: NDArray, mixture: NDArray) -> tuple:
        after, before = ratio(estimate, reference), ratio(mixture, reference)
        return after, gain(after, before)

    return sdr_and_gain


def _projected(estimate: NDArray, reference: NDArray) -> NDArray:
    return float(np.sum(estimate * reference)) / _energy(reference) * reference


def _scene(seed: int, level: float, leak: float, n: int = 240) -> tuple[NDArray, NDArray, NDArray]:
    """Return an estimate, its reference and the mixture."""
    rng = np.random.default_rng([seed, 3])
    reference = np.sin(np.arange(n) * rng.uniform(0.05, 0.3)) * rng.uniform(0.2, 0.9)
    others = rng.standard_normal(n) * rng.uniform(0.2, 0.6)
    return level * reference + leak * others, reference, reference + others


SDR = Function(
    title="which way the ratio goes",
    minutes=12,
    rubric={
        "above the line the energy of the reference, below it that of the difference": 1,
        "energies, in decibels: 10 log10": 1,
        "the gain is what the estimate has above the mixture": 1,
    },
    right=_sdr(),
    cases=lambda: [
        _scene(0, 0.9, 0.2),
        _scene(1, 0.4, 0.3, 100),
        _scene(2, 1.7, 0.1, 333),
        _scene(3, 1.0, 1.4),
        _scene(4, 0.7, 0.05, 60),
    ],
    returns="two numbers in dB: the SDR of the estimate, and its gain over that of the mixture",
    mistakes={
        "Estimate and reference have changed places: above the line stands the energy of the "
        "reference. With the estimate there, whoever plays louder wins.": (
            _sdr(over=lambda e, r: _energy(e))
        ),
        "The ratio is upside down: the nearer the estimate, the lower is yours.": _sdr(
            over=lambda e, r: _energy(r - e), under=lambda e, r: _energy(r)
        ),
        "You compare the reference with the estimate, not with what is wrong with it: below the "
        "line belongs the energy of their difference.": _sdr(under=lambda e, r: _energy(e)),
        "Energies of estimate and reference are subtracted. Subtract the signals, then take the "
        "energy: two sounds of one level may have nothing in common.": _sdr(
            under=lambda e, r: abs(_energy(r) - _energy(e))
        ),
        "This is the scale-invariant ratio: the reference is brought to the level of the estimate "
        "first. The SDR takes a wrong level for an error.": _sdr(
            over=lambda e, r: _energy(_projected(e, r)),
            under=lambda e, r: _energy(e - _projected(e, r)),
        ),
        "The ratio is one of energies: 10 times the logarithm, not 20.": _sdr(factor=20.0),
        "The ratio is one of amplitudes, taken as if it were one of energies.": _sdr(
            over=lambda e, r: math.sqrt(_energy(r)), under=lambda e, r: math.sqrt(_energy(r - e))
        ),
        "The logarithm is the natural one; decibels have base 10.": (
            _sdr(factor=10.0 * math.log(10))
        ),
        "The ratios are not in decibels yet: 10 times the logarithm of base 10.": (
            _sdr(in_db=False)
        ),
        "The gain has the wrong sign: what the estimate has above the mixture, so the mixture's "
        "SDR is subtracted.": _sdr(gain=lambda after, before: before - after),
        "The gain is a ratio of decibels. Decibels are logarithms: take their difference.": (
            _sdr(gain=lambda after, before: after / before)
        ),
        "The second number is the SDR of the mixture; the gain is the difference of both.": (
            _sdr(gain=lambda after, before: before)
        ),
    },
    differs="For a sound of {0.size} samples, number {at[0]} (0: SDR, 1: gain) should be "
    "{right:.3f} dB and is {got:.3f} dB.",
    praise="A gain of 0 dB is what doing nothing reaches: read every SDR beside the mixture's.",
)

# ---- 4: frames in which there is nothing to score -----------------------------------------------


def _median(
    *,
    is_silent: Callable[[NDArray, NDArray, float], bool] = lambda e, r, db: bool(
        np.mean(r**2) < 10 ** (db / 10)
    ),
    instead: float | None = None,
    average: Callable[[NDArray], float] = np.median,
    rest: bool = False,
    pooled: bool = False,
    hop: Callable[[int], int] = lambda length: length,
    count: Callable[[int, int], int] = lambda n_out, n: n_out,
) -> Callable[..., tuple[float, int]]:
    """Return the right function (the defaults) or one that scores other frames."""

    def median_sdr(
        estimate: NDArray, reference: NDArray, frame_samples: int, silent_db: float
    ) -> tuple[float, int]:
        last = len(reference) - (0 if rest else frame_samples - 1)
        starts = range(0, last, hop(frame_samples))
        found, kept, n_out = [], [], 0
        for start in starts:
            e, r = (x[start : start + frame_samples] for x in (estimate, reference))
            if is_silent(e, r, silent_db):
                n_out += 1
                if instead is not None:
                    found.append(instead)
                continue
            kept.append((_energy(r), _energy(r - e)))
            found.append(10 * math.log10(max(kept[-1][0], 1e-10) / max(kept[-1][1], 1e-10)))
        if pooled and kept:
            wanted, wrong = np.sum(kept, axis=0)
            return 10 * math.log10(wanted / wrong), count(n_out, len(starts))
        value = float(average(np.array(found))) if found else float("nan")
        return value, count(n_out, len(starts))

    return median_sdr


def _never(e: NDArray, r: NDArray, db: float) -> bool:
    return False


def _song(
    seed: int,
    levels_db: tuple[float, ...],
    length: int,
    extra: int = 0,
    *,
    lost: tuple[int, ...] = (),
    leaks: tuple[int, ...] = (),
) -> tuple[NDArray, NDArray, int, float]:
    """Return an estimate, its reference and the length of a frame, each of which has a level.

    The estimate is silent in the frames ``lost``, and has the other sources in those of ``leaks``.
    """
    rng = np.random.default_rng([seed, 4])
    level = 10 ** (np.array([*levels_db, -6.0]) / 20)
    level_wrong = rng.uniform(0.1, 0.9, len(level)) * np.maximum(level, 0.002)
    level_wrong[list(leaks)] = 0.2
    estimated = np.ones(len(level))
    estimated[list(lost)] = 0
    n = len(levels_db) * length + extra
    gain, wrong, kept = (np.repeat(x, length)[:n] for x in (level, level_wrong, estimated))
    reference = gain * rng.standard_normal(n)
    return kept * (reference + wrong * rng.standard_normal(n)), reference, length, -45.0


SILENCE = Function(
    title="frames in which there is nothing to score",
    minutes=15,
    rubric={
        "frames do not overlap, and a rest is left out": 1,
        "whether a frame is silent is a question to the reference alone": 1,
        "silent frames are left out and counted, the median is over the others": 1,
        "NaN where no frame is left": 1,
    },
    right=_median(),
    cases=lambda: [
        _song(0, (-10, -60, -12, -np.inf, -20, -9), 40, lost=(2,), leaks=(1,)),
        _song(1, (-10, -10, -55, -20, -15, -30, -5, -66, -8), 50, 23, leaks=(2, 7)),
        _song(2, (-6, -60, -60, -np.inf, -14, -60, -20), 64, 11, lost=(4,)),
        _song(3, (-12, -41, -80, -9, -47, -25, -5, -11), 30, 17, lost=(0, 3), leaks=(2,)),
    ],
    returns="two numbers: the median in dB, and how many frames were left out",
    mistakes={
        "Silent frames are scored. Their ratio says nothing but how silent they are, and it pulls "
        "the median down: leave them out.": _median(is_silent=_never),
        "Silent frames count as 0 dB. They have no ratio: leave them out before the median.": (
            _median(instead=0.0)
        ),
        "Silent frames count as very low, or as lost. Nothing was there to be found: leave them "
        "out before the median.": (_median(instead=-120.0), _median(instead=-300.0)),
        "You take the mean. One frame that failed then decides: take the median.": (
            _median(average=np.mean)
        ),
        "All frames are thrown together before the ratio: loud ones drown the others. Take one "
        "ratio for each frame, then the median.": _median(pooled=True),
        "You ask the estimate whether a frame is silent. Then a separator escapes its score by "
        "being loud, or silent: ask the reference.": _median(
            is_silent=lambda e, r, db: bool(np.mean(e**2) < 10 ** (db / 10))
        ),
        "The level of a frame is its RMS, not its peak.": _median(
            is_silent=lambda e, r, db: bool(np.max(np.abs(r)) < 10 ** (db / 20))
        ),
        "The mean of squares is a power: its limit is 10 to the silent_db / 10, not / 20.": _median(
            is_silent=lambda e, r, db: bool(np.mean(r**2) < 10 ** (db / 20))
        ),
        "Only frames of exact silence are left out, or the limit is far too low. silent_db says "
        "how soft is silent: an RMS of 10 to the silent_db / 20.": _median(
            is_silent=lambda e, r, db: not np.any(r)
        ),
        "Of an even number of frames you take the lower of the two in the middle (torch.median "
        "does); the median is their mean.": _median(
            average=lambda ratios: float(np.sort(ratios)[(len(ratios) - 1) // 2])
        ),
        "The rest at the end is scored as if it were a frame. Leave it out.": _median(rest=True),
        "Your frames overlap. They should be frame_samples apart.": (
            _median(hop=lambda length: length // 2)
        ),
        "The second number counts the frames that were scored; asked are those left out.": (
            _median(count=lambda n_out, n: n - n_out)
        ),
        "The second number counts all frames; asked are those left out.": (
            _median(count=lambda n_out, n: n)
        ),
    },
    edges={
        "If every frame is silent there is no median: return float('nan'), and the count.": (
            _song(7, (-70, -60, -90), 32),
            lambda e, r, n, db: (
                _median()(e, r, n, db)
                if np.isfinite(_median()(e, r, n, db)[0])
                else (0.0, _median()(e, r, n, db)[1])
            ),
        )
    },
    differs="With frames of {2} samples, number {at[0]} (0: median in dB, 1: frames left out) "
    "should be {right:.3f} and is {got:.3f}.",
    praise="Say how many frames were left out whenever you state such a median.",
)

EXERCISES: Mapping[str, Exercise] = {
    "source_separation.1": MASKS,
    "source_separation.2": PHASE,
    "source_separation.3": SDR,
    "source_separation.4": SILENCE,
}
