"""What the thesis claims, what we measured, and how sure that is.

Conventions. A claim compares two networks that were tried on the same test tracks, with several
seeds. Its difference of accuracy has two intervals of 95 %: one for other *tracks* (all seeds
together; from the tracks that only one of the two finds) and one for other *seeds* (Student's t
from one difference a seed; with three seeds it is wide). A claim of "more" is *confirmed* or
*denied* where the interval over tracks leaves out 0 and every seed agrees; "surely" if the interval
over seeds leaves out 0 as well. All else is undecided.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from dl101.evaluation.results import Measured, student_interval

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Claim:
    """What is claimed of two networks.

    Attributes
    ----------
    text
        In words.
    task, first, second
        Of the experiment; the claim is that the first finds more.
    reported
        What the thesis reports of the two, in percent; None if it only expects it.
    """

    text: str
    task: str
    first: str
    second: str
    reported: tuple[float, float] | None = None

    @property
    def variant(self) -> str:
        """Return the name of the record that compares the two."""
        return f"{self.task}: {self.first} or {self.second}"


CLAIMS = (
    Claim("rhythm: Time finds more than Frequency", "dances", "time", "frequency", (81.79, 59.59)),
    Claim(
        "the same, both trained longer",
        "dances", "time, longer", "frequency, longer", (81.79, 59.59),
    ),
    Claim("timbre: Frequency finds more than Time", "instruments", "frequency", "time"),
    Claim(
        "filters that slide along frequency find more than those of full height (rhythm)",
        "dances", "frequency", "frequency, full height", (59.59, 52.43),
    ),
    Claim("the same for timbre", "instruments", "frequency", "frequency, full height"),
    Claim(
        "Time and Frequency together find more than Time alone (rhythm)",
        "dances", "time-frequency", "time", (86.54, 81.79),
    ),
    Claim(
        "the same, both trained longer",
        "dances", "time-frequency, longer", "time, longer", (86.54, 81.79),
    ),
    Claim("Black-box finds more than Time (rhythm)", "dances", "black-box", "time", (87.25, 81.79)),
    Claim(
        "the same, both trained longer",
        "dances", "black-box, longer", "time, longer", (87.25, 81.79),
    ),
    Claim(
        "Time-Frequency finds more than Black-box (the thesis: as much), both trained longer",
        "dances", "time-frequency, longer", "black-box, longer", (86.54, 87.25),
    ),
    Claim(
        "Time-Frequency finds more if its filters begin as trained ones",
        "dances", "time-frequency, pre-initialised", "time-frequency, longer", (87.68, 86.54),
    ),
    Claim("long filters find more than short ones (rhythm)", "dances", "P", "O", (83.95, 76.66)),
    Claim("O + P finds more than twice O", "dances", "O + P", "2 O", (87.25, 81.53)),
    Claim("O + P finds more than twice P", "dances", "O + P", "2 P", (87.25, 85.67)),
    Claim("O + P finds more than 75 filters of one length", "dances", "O + P", "one length"),
    Claim(
        "many heights find more than one height (timbre)",
        "instruments", "many heights", "one height",
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Verdict:
    """A difference of accuracy over all seeds, its intervals, and what follows."""

    difference: float
    tracks: tuple[float, float]
    seeds: tuple[float, float]
    verdict: str


def over_tracks(first_only: float, second_only: float, n_tracks: int) -> tuple[float, float]:
    """Return the interval of a difference of two accuracies on the same tracks.

    Parameters
    ----------
    first_only, second_only
        Shares of tracks that only one of the two networks finds. All other tracks add nothing to
        the difference: track by track it is 1, -1 or 0, and its variance is the sum of the shares
        minus the square of the mean.
    n_tracks
        How many there are.
    """
    difference = first_only - second_only
    error = np.sqrt((first_only + second_only - difference**2) / n_tracks)
    reach = stats.norm.ppf((1 + CONFIDENCE) / 2) * error
    return float(difference - reach), float(difference + reach)


def judge(measured: Measured, claim: Claim) -> Verdict:
    """Return what the records say of a claim."""
    runs = measured.runs(claim.variant)
    n_tracks = np.array([run.n_items for run in runs])
    shares = [
        float(np.average(measured.each(claim.variant, name), weights=n_tracks))
        for name in ("first_only", "second_only")
    ]
    differences = measured.each(claim.variant, "difference")
    tracks = over_tracks(*shares, int(n_tracks.sum()))
    seeds = student_interval(differences, CONFIDENCE)
    return Verdict(shares[0] - shares[1], tracks, seeds, decide(differences, tracks, seeds))


def decide(
    differences: NDArray[np.float64], tracks: tuple[float, float], seeds: tuple[float, float]
) -> str:
    """Return the verdict; see the module."""
    low, high = tracks
    surely = " (surely)" if seeds[0] > 0 or seeds[1] < 0 else ""
    if high < 0 and np.all(differences < 0):
        return f"denied{surely}"
    return f"confirmed{surely}" if low > 0 and np.all(differences > 0) else "undecided"
