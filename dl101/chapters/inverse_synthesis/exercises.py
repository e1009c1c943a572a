"""The exercises of the chapter on pitch by inverse synthesis."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from dl101.lab.exercise import Exercise, Function

# ---- 1: two scores, one blind to octaves ---------------------------------------------------------

Curves = tuple[NDArray, NDArray]


def _scores(
    *,
    distance: Callable[[NDArray, NDArray], NDArray] = lambda t, e: 12 * np.log2(e / t),
    fold: Callable[[NDArray], NDArray] = lambda d: (d + 6) % 12 - 6,
    limit: float = 0.5,
    counts: Callable[[NDArray, NDArray], NDArray] = lambda t, e: t > 0,
    whole: Callable[[NDArray, NDArray], NDArray] | None = None,
    signed: bool = False,
) -> Callable[[NDArray, NDArray], tuple[float, float]]:
    """Return the right function (the defaults), or one that goes wrong in a place."""

    def accuracies(truth_hz: NDArray, estimate_hz: NDArray) -> tuple[float, float]:
        counted = counts(truth_hz, estimate_hz)
        with np.errstate(all="ignore"):
            apart = distance(truth_hz, estimate_hz)
            folded = fold(apart)
        size = (whole or counts)(truth_hz, estimate_hz).sum()

        def share(d: NDArray) -> float:
            close = (d if signed else np.abs(d)) < limit
            return float((close & counted).sum() / size)

        return share(apart), share(folded)

    return accuracies


def _by_note_name(truth_hz: NDArray, estimate_hz: NDArray) -> tuple[float, float]:
    voiced = truth_hz > 0
    t, e = (np.round(12 * np.log2(x[voiced] / 440)) for x in (truth_hz, estimate_hz))
    return float(np.mean(t == e)), float(np.mean((t - e) % 12 == 0))


def _curves() -> list[Curves]:
    """Return voices and estimates with octaves, fifths and small errors, above and below."""
    cases = []
    for index in range(4):
        rng = np.random.default_rng([515, 1, index])
        n = 40 + 10 * index
        truth = 220 * 2 ** (rng.uniform(-12, 12, n) / 12)
        kinds = np.resize([0, 0, 0.3, -0.3, 0.45, -0.45, 0.8, -0.7, 7, -5], n)
        octaves = np.resize([0, 0, 0, 12, -12, 24, 0, 0, -24, 12, 0], n)
        order = rng.permutation(n)
        estimate = truth * 2 ** ((kinds + octaves + rng.uniform(-0.03, 0.03, n))[order] / 12)
        silent = rng.permutation(n)[: n // 5]
        truth[silent] = 0.0
        cases.append((truth, estimate))
    return cases


SCORES = Function(
    title="two scores, one blind to octaves",
    minutes=20,
    rubric={
        "distances are in semitones, within half a semitone on either side": 1,
        "octaves are taken out on both sides: a little below an octave is near, too": 2,
        "only frames whose truth sounds are counted, in both sums": 1,
    },
    right=_scores(),
    cases=_curves,
    returns="two numbers: the accuracy, and the one that is blind to octaves",
    rtol=1e-5,
    mistakes={
        "An estimate that is a little *below* the truth, or below its octave, counts as wrong in "
        "your second score: -0.3 % 12 is 11.7. Bring the distance to between -6 and 6 before "
        "taking its absolute value.": _scores(fold=lambda d: d % 12),
        "Your second score is right only above an octave: an absolute distance of 11.7 leaves 11.7 "
        "after % 12, though an octave is 0.3 away.": _scores(fold=lambda d: np.abs(d) % 12),
        "Only one octave up or down is forgiven in your second score. Two octaves are right, too: "
        "take any multiple of 12 out of the distance.": _scores(
            fold=lambda d: np.array([d, d + 12, d - 12])[
                np.abs(np.array([d, d + 12, d - 12])).argmin(axis=0), np.arange(len(d))
            ]
        ),
        "Silent frames are in the denominator. Where the truth is 0 there is no pitch to find: "
        "leave them out of both sums.": _scores(whole=lambda t, e: np.ones(len(t), bool)),
        "You let a whole semitone pass. Half a semitone on either side is the rule: further off, "
        "another note is nearer.": _scores(limit=1.0),
        "You round both pitches to notes and compare these. 40 cents apart may be two notes, 90 "
        "cents apart one: measure the distance, and round nothing.": _by_note_name,
        "Your distance is in hertz, in which a semitone is 6 Hz at A2 and 25 Hz at A4. Take 12 "
        "log2 of the ratio.": _scores(distance=lambda t, e: e - t),
        "Your distance is in octaves: a semitone is a twelfth of one, and half a semitone far less "
        "than 0.5. Multiply by 12.": _scores(
            distance=lambda t, e: np.log2(e / t), fold=lambda d: (d + 0.5) % 1 - 0.5
        ),
        "The logarithm is the natural one: a semitone is ln(2) / 12 of it. Use log2.": _scores(
            distance=lambda t, e: 12 * np.log(e / t)
        ),
        "You forget the absolute value: everything below the truth counts as near.": _scores(
            signed=True
        ),
        "Your second score equals the first: the octaves are still in the distance. Take multiples "
        "of 12 out of it.": _scores(fold=lambda d: d),
        "The two numbers are in the other order: first the accuracy that knows octaves.": (
            lambda truth, estimate: _scores()(truth, estimate)[::-1]
        ),
    },
    edges={
        "An estimate of 0 says that nothing sounds. Where the truth sounds that is wrong, and must "
        "stay in the denominator.": (
            (np.array([220.0, 220.0, 440.0, 0.0]), np.array([220.0, 0.0, 220.0, 100.0])),
            _scores(counts=lambda t, e: (t > 0) & (e > 0)),
        ),
    },
    differs="In a hidden voice the two scores should be {right:.3f} at {at}; you return {got:.3f}.",
    praise="The gap between the two is the share of octave errors, and nothing else.",
)

# ---- 2: how likely is a sine, given others -------------------------------------------------------

Sines = tuple[NDArray, NDArray, NDArray, float]


def _density(
    *,
    scale: Callable[[NDArray], NDArray] = lambda hz: 12 * np.log2(hz),
    weigh: Callable[[NDArray], NDArray] = lambda a: a / a.sum(),
    constant: Callable[[float], float] = lambda s: s * np.sqrt(2 * np.pi),
    exponent: Callable[[NDArray, float], NDArray] = lambda d, s: -(d**2) / (2 * s**2),
    finish: Callable[[NDArray], NDArray] = np.log,
) -> Callable[[NDArray, NDArray, NDArray, float], NDArray]:
    """Return the right function (the defaults), or one that goes wrong in a place."""

    def log_density(
        frequencies_hz: NDArray, centres_hz: NDArray, amplitudes: NDArray, sigma: float
    ) -> NDArray:
        distance = scale(frequencies_hz)[:, None] - scale(centres_hz)[None, :]
        bells = np.exp(exponent(distance, sigma)) / constant(sigma)
        return finish((weigh(amplitudes)[None, :] * bells).sum(axis=1))

    return log_density


def _log_of_each(
    frequencies_hz: NDArray, centres_hz: NDArray, amplitudes: NDArray, sigma: float
) -> NDArray:
    distance = 12 * np.log2(frequencies_hz[:, None] / centres_hz[None, :])
    logs = -(distance**2) / (2 * sigma**2) - np.log(sigma * np.sqrt(2 * np.pi))
    return (amplitudes / amplitudes.sum() * logs).sum(axis=1)


def _nearest(
    frequencies_hz: NDArray, centres_hz: NDArray, amplitudes: NDArray, sigma: float
) -> NDArray:
    distance = 12 * np.log2(frequencies_hz[:, None] / centres_hz[None, :])
    bells = np.exp(-(distance**2) / (2 * sigma**2)) / (sigma * np.sqrt(2 * np.pi))
    return np.log((amplitudes / amplitudes.sum() * bells).max(axis=1))


def _sets() -> list[Sines]:
    """Return sines near those of a series, so that several bells matter at each."""
    cases = []
    for index in range(4):
        rng = np.random.default_rng([515, 2, index])
        n, k = 4 + index, 5
        centres = (
            180 * (1 + index / 5) * np.arange(1, n + 1) * 2 ** (rng.uniform(-0.3, 0.3, n) / 12)
        )
        frequencies = rng.choice(centres, k) * 2 ** (rng.uniform(-1.5, 1.5, k) / 12)
        cases.append((frequencies, centres, 3 * rng.uniform(0.1, 1.0, n), 0.7 + 0.2 * index))
    return cases


DENSITY = Function(
    title="how likely is a sine, given others",
    minutes=25,
    rubric={
        "distances are taken between pitches in semitones, for every pair": 2,
        "amplitudes are normalised, and bells have an area of one": 1,
        "bells are added before the logarithm is taken": 1,
    },
    right=_density(),
    cases=_sets,
    returns="an array, one log-density for each frequency",
    rtol=1e-5,
    mistakes={
        "Your distances are in hertz. A bell of sigma semitones is then sigma hertz wide: far too "
        "narrow for the upper harmonics, whose errors grow with their frequency. Take 12 log2 "
        "first.": _density(scale=lambda hz: hz),
        "Your distances are in octaves, sigma in semitones: multiply log2 by 12.": _density(
            scale=np.log2
        ),
        "You use the natural logarithm of the frequency: 12 of these are more than an octave. "
        "Semitones are 12 log2.": _density(scale=lambda hz: 12 * np.log(hz)),
        "The amplitudes are not normalised: a louder sound would be more likely everywhere. Divide "
        "them by their sum.": _density(weigh=lambda a: a),
        "The amplitudes are left out: a harmonic that is hardly there counts like the loudest.": (
            _density(weigh=lambda a: np.full(len(a), 1 / len(a)))
        ),
        "The largest amplitude is 1 in your sum; the sum of all should be.": _density(
            weigh=lambda a: a / a.max()
        ),
        "The bells are not divided by sigma sqrt(2 pi): their areas are not one, and widening "
        "them would lower the loss for free.": _density(constant=lambda s: 1.0),
        "Under the root stands 2 pi only; sigma stands before it: sigma sqrt(2 pi).": _density(
            constant=lambda s: np.sqrt(2 * np.pi * s)
        ),
        "In the exponent the distance is divided by sigma squared, times two.": _density(
            exponent=lambda d, s: -(d**2) / s**2
        ),
        "In the exponent sigma is not squared.": _density(exponent=lambda d, s: -(d**2) / (2 * s)),
        "In the exponent the distance is not squared: that is another bell, with a corner.": (
            _density(exponent=lambda d, s: -np.abs(d) / s)
        ),
        "You return the density; its logarithm is asked, which falls like a parabola far away and "
        "still pulls there.": _density(finish=lambda p: p),
        "The logarithm is to base 10: the natural one is asked.": _density(finish=np.log10),
        "The sign is turned: you return the negative log-density, which is the loss.": _density(
            finish=lambda p: -np.log(p)
        ),
        "You take the logarithm of each bell and add up: a sine would have to be near to *all* "
        "others. Add the bells, then take the logarithm.": _log_of_each,
        "Only the nearest bell counts in your result. All of them add up.": _nearest,
    },
    edges={
        "A single sine on its own centre: the density there is 1 / (sigma sqrt(2 pi)).": (
            (np.array([440.0]), np.array([440.0]), np.array([0.3]), 0.1),
            lambda f, c, a, s: np.zeros(len(f)) if len(c) == 1 else _density()(f, c, a, s),
        ),
    },
    differs="In a hidden set the log-density at place {at} should be {right:.4g}; you return "
    "{got:.4g}.",
    praise="In semitones, an error of a harmonic is worth the same at every height.",
)

# ---- 3: a distance that phase does not enter -----------------------------------------------------


def _distance(
    *,
    spectrum: Callable[[NDArray], NDArray] = np.abs,
    window: Callable[[int], NDArray] = lambda n: np.hanning(n + 1)[:-1],
    hop: Callable[[int], int] = lambda n: n // 4,
    terms: Callable[[NDArray, NDArray], float] = lambda a, b: (
        np.abs(a - b).mean() + np.abs(np.log(a + 1e-3) - np.log(b + 1e-3)).mean()
    ),
) -> Callable[[NDArray, NDArray, int], float]:
    """Return the right function (the defaults), or one that goes wrong in a place."""

    def spectral_distance(estimate: NDArray, reference: NDArray, size: int) -> float:
        def frames(x: NDArray) -> NDArray:
            cut = np.lib.stride_tricks.sliding_window_view(x, size)[:: hop(size)]
            return spectrum(np.fft.rfft(cut * window(size), axis=1))

        return float(terms(frames(estimate), frames(reference)))

    return spectral_distance


def _complex_terms(a: NDArray, b: NDArray) -> float:
    logs = np.abs(np.log(np.abs(a) + 1e-3) - np.log(np.abs(b) + 1e-3))
    return np.abs(a - b).mean() + logs.mean()


def _on_samples(estimate: NDArray, reference: NDArray, size: int) -> float:
    return float(np.abs(estimate - reference).mean())


def _sound(f0_hz: float, levels: NDArray, rng: np.random.Generator) -> NDArray:
    """Return four harmonics with random phases, 0.12 s at 4 kHz."""
    turns = f0_hz * np.outer(np.arange(480) / 4000, np.arange(1, 5))
    return np.sin(2 * np.pi * turns + rng.uniform(0, 2 * np.pi, 4)) @ levels


def _sounds() -> list[tuple[NDArray, NDArray, int]]:
    """Return pairs of sounds that differ in phase, level and pitch."""
    cases = []
    for index in range(4):
        rng = np.random.default_rng([515, 3, index])
        levels = rng.uniform(0.1, 1.0, (2, 4))
        f0_hz = 130.0 + 40 * index
        estimate = _sound(f0_hz * (1 + 0.04 * index), levels[0], rng)
        reference = _sound(f0_hz, levels[index % 2], rng)
        cases.append((estimate, reference, 64 if index % 2 else 128))
    return cases


DISTANCE = Function(
    title="a distance that phase does not enter",
    minutes=20,
    rubric={
        "frames are cut, windowed and transformed, of both sounds alike": 1,
        "magnitudes are compared: the phase is gone before anything is subtracted": 2,
        "both terms are there, linear and logarithmic, each a mean": 1,
    },
    right=_distance(),
    cases=_sounds,
    returns="one number",
    rtol=1e-5,
    mistakes={
        "You subtract complex spectra and take the magnitude of the difference: two sines that "
        "differ in phase alone are then far apart. Take the magnitudes first.": _distance(
            spectrum=lambda x: x, terms=_complex_terms
        ),
        "You compare samples. A sound that starts a little later sounds the same and is far away: "
        "compare magnitudes of spectra.": _on_samples,
        "You compare real parts of spectra: they change with the phase. Take absolute values.": (
            _distance(spectrum=lambda x: np.abs(x.real))
        ),
        "The term with logarithms is missing: without it what is soft does not count at all.": (
            _distance(terms=lambda a, b: np.abs(a - b).mean())
        ),
        "The linear term is missing: without it what is loud counts no more than noise.": _distance(
            terms=lambda a, b: np.abs(np.log(a + 1e-3) - np.log(b + 1e-3)).mean()
        ),
        "The logarithms are to base 10: natural ones are asked.": _distance(
            terms=lambda a, b: (
                np.abs(a - b).mean() + np.abs(np.log10(a + 1e-3) - np.log10(b + 1e-3)).mean()
            )
        ),
        "You compare powers, not magnitudes: square nothing.": _distance(
            spectrum=lambda x: np.abs(x) ** 2
        ),
        "You add up all bins and frames; a longer sound would be worse. Take means.": _distance(
            terms=lambda a, b: (
                np.abs(a - b).sum() + np.abs(np.log(a + 1e-3) - np.log(b + 1e-3)).sum()
            )
        ),
        "You square the differences; absolute values are asked.": _distance(
            terms=lambda a, b: (
                ((a - b) ** 2).mean() + ((np.log(a + 1e-3) - np.log(b + 1e-3)) ** 2).mean()
            )
        ),
        "Differences of both signs cancel: take absolute values before the mean.": _distance(
            terms=lambda a, b: (a - b).mean() + (np.log(a + 1e-3) - np.log(b + 1e-3)).mean()
        ),
        "There is no window: each frame's edges are spread over all bins.": _distance(
            window=np.ones
        ),
        "The window's two ends are both 0, as np.hanning gives them; the periodic one is asked, "
        "np.hanning(size + 1)[:-1].": _distance(window=np.hanning),
        "Frames are half a window apart; a quarter is asked.": _distance(hop=lambda n: n // 2),
        "Frames do not overlap; they should be a quarter of a window apart.": _distance(
            hop=lambda n: n
        ),
        "The floor of 0.001 is missing inside the logarithms.": _distance(
            terms=lambda a, b: (
                np.abs(a - b).mean() + np.abs(np.log(a + 1e-12) - np.log(b + 1e-12)).mean()
            )
        ),
    },
    edges={
        "A sound of silence: magnitudes of 0 need the floor of 0.001 inside both logarithms.": (
            (np.zeros(160), np.sin(np.arange(160.0)), 64),
            lambda a, b, size: (
                _distance()(a, b, size) if np.any(a) else _distance()(a + 1e-2, b, size)
            ),
        ),
    },
    differs="In a hidden pair the distance should be {right:.4g}; you return {got:.4g}.",
    praise="Two sounds that differ in phase alone are now as good as equal.",
)

EXERCISES: Mapping[str, Exercise] = {
    "inverse_synthesis.1": SCORES,
    "inverse_synthesis.2": DENSITY,
    "inverse_synthesis.3": DISTANCE,
}
