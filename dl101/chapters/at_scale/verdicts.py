"""What the thesis claims of scale, what the records say, and how the curves would go on.

Conventions. A claim is a difference of PR-AUC (``macro_ap``) that should be above 0. It is taken on
the same test tracks within each seed. Its standard error is the larger one of two: over tracks
(bootstrap, all seeds together), and over seeds; the interval is the mean plus and minus 1.96 of
these. *Confirmed*: the interval lies above 0; *denied*: below; else undecided.

A projection is a straight line of PR-AUC against the logarithm of the number of tracks, fitted to
each seed by itself. It is no measurement.

.. [1] J. Pons, "Deep neural networks for music and audio tagging", thesis, Universitat Pompeu
   Fabra, 2019, chapter 5.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dl101.chapters.at_scale.experiment import N_TRACKS, SHARES
from dl101.evaluation.results import Estimate, Measured, difference, estimate

SIZES = tuple(round(share * N_TRACKS) for share in SHARES)

# PR-AUC in percent, waveform and spectrogram; [1]_, tables 5.1 to 5.4. Of MagnaTagATune the best of
# each kind, as the thesis compares them.
REPORTED: dict[str, tuple[int, float, float]] = {
    "MagnaTagATune": (25_000, 34.92, 38.11),
    "Million Song Dataset": (200_000, 28.53, 31.24),
    "private, 100k": (100_000, 52.76, 52.67),
    "private, 500k": (500_000, 56.42, 58.18),
    "private, 1M": (1_000_000, 61.20, 59.92),
}


@dataclass(frozen=True)
class Claim:
    """What is claimed.

    Attributes
    ----------
    text
        In words.
    reported
        What it rests on in the thesis.
    asked
        What is measured here.
    found
        Called with the records: the difference that should be above 0.
    """

    text: str
    reported: str
    asked: str
    found: Callable[[Measured], Estimate]


def gap(first: str, second: str, size: int, *, suffix: str = "") -> Callable[[Measured], Estimate]:
    """Return by how much the first system is better than the second at a size."""
    record = f"gap{suffix}: {size}"

    def found(measured: Measured) -> Estimate:
        for a, b, sign in ((first, second, 1.0), (second, first, -1.0)):
            name = f"{a} over {b}"
            if name in measured.runs(record)[0].metrics:
                return difference(measured, record, name, sign=sign)
        raise KeyError(f"{first} and {second} were not compared")

    return found


def closing(first: str, second: str, small: int, large: int) -> Callable[[Measured], Estimate]:
    """Return by how much the lead of the first shrinks from a small size to a large one."""
    name = f"{first} over {second}"

    def found(measured: Measured) -> Estimate:
        values, errors = (
            [measured.each(f"gap: {size}", f"{name}{what}") for size in (small, large)]
            for what in ("", " (error)")
        )
        return estimate(values[0] - values[1], np.hypot(*errors))

    return found


CLAIMS: tuple[Claim, ...] = (
    *(
        Claim(
            f"Without a sizable amount of data the spectrogram is ahead ({size:,} tracks).",
            reported,
            "spectrogram - waveform",
            gap("spectrogram", "waveform", size),
        )
        for size, reported in zip(
            SIZES,
            (
                "expected, not measured",
                "expected, not measured",
                "MagnaTagATune (25k): 38.1 against 34.9 %; a private 100k: 52.7 against 52.8 %",
            ),
            strict=True,
        )
    ),
    Claim(
        f"The same, with four times the steps ({SIZES[2]:,} tracks).",
        "as above",
        "spectrogram - waveform",
        gap("spectrogram", "waveform", SIZES[2], suffix=", longer"),
    ),
    Claim(
        "The lead of the spectrogram shrinks as the data grow.",
        "500k: +1.8 points; 1M: -1.3 points (and 100k: -0.1)",
        f"lead at {SIZES[1]:,} - lead at {SIZES[2]:,}",
        closing("spectrogram", "waveform", SIZES[1], SIZES[2]),
    ),
    Claim(
        "With little data, trees on designed features beat the networks.",
        "trees (1.2M) 54.3 %, networks (100k) at most 52.8 %",
        f"trees - spectrogram, {SIZES[0]:,} tracks",
        gap("trees", "spectrogram", SIZES[0]),
    ),
    Claim(
        "With much data, the networks beat the trees: spectrogram.",
        "1M: 59.9 against 54.3 %",
        f"spectrogram - trees, {SIZES[2]:,} tracks",
        gap("spectrogram", "trees", SIZES[2]),
    ),
    Claim(
        "With much data, the networks beat the trees: waveform.",
        "1M: 61.2 against 54.3 %",
        f"waveform - trees, {SIZES[2]:,} tracks",
        gap("waveform", "trees", SIZES[2]),
    ),
)


def verdicts(measured: Measured) -> list[tuple[Claim, Estimate]]:
    """Return each claim with what the records say of it."""
    return [(claim, claim.found(measured)) for claim in CLAIMS]


def lines(measured: Measured, system: str, sizes: Sequence[int] = SIZES) -> NDArray[np.float64]:
    """Return slope (for ten times the data) and height (of one track) by seed, (2, seeds)."""
    scores = [measured.each(f"{system}: {size}", "macro_ap") for size in sizes]
    return np.polyfit(np.log10(sizes), np.stack(scores), 1)


def projected(
    measured: Measured, system: str, size: float, sizes: Sequence[int] = SIZES
) -> NDArray[np.float64]:
    """Return what the lines say of a size, for each seed; a projection, not a measurement."""
    slope, height = lines(measured, system, sizes)
    return slope * np.log10(size) + height
