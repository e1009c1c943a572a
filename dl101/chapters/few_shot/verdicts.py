"""What a thesis said of few examples, asked again of our records: confirmed, denied or undecided.

Conventions: a claim is a difference of accuracies and a region in which it must lie for the claim
to hold. The difference is taken within each seed, from its first draw (*paired*: all methods have
the same examples), and averaged over the numbers of examples that the claim is about. The interval
is Student's, 95 %, over seeds: if it lies in the region the claim is confirmed, if outside denied,
else undecided.

.. [1] J. Pons, "Deep neural networks for music and audio tagging", thesis, Universitat Pompeu
   Fabra, 2019, chapter 6 and tables A.1 and A.3.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dl101.evaluation.results import Measured
from dl101.evaluation.results import student_interval as interval

CLEAR = 0.05  # what is called clear, and what "equivalent" may hide
SCRATCH = ("TIMBRE", "VGG", "SB-CNN")

# Accuracies of tables A.1 and A.3, "log-EPS": reported [1]_, not measured here.
REPORTED: Mapping[str, Mapping[str, tuple[float, ...]]] = {
    "UrbanSound8K": {
        "prototypes": (0.2169, 0.2585, 0.4358, 0.5114, 0.5886, 0.6214, 0.6308),
        "SB-CNN": (0.1829, 0.2281, 0.2989, 0.3666, 0.4234, 0.5319, 0.6043),
        "VGG": (0.1658, 0.2203, 0.2793, 0.3240, 0.3549, 0.5862, 0.6741),
        "TIMBRE": (0.1897, 0.2495, 0.3420, 0.4012, 0.3770, 0.4611, 0.4957),
    },
    "TUT scenes": {
        "prototypes": (0.1816, 0.2472, 0.3536, 0.4539, 0.5378, 0.6203, 0.6778),
        "SB-CNN": (0.1370, 0.1808, 0.2124, 0.2781, 0.3661, 0.5232, 0.5856),
        "VGG": (0.1701, 0.2005, 0.2036, 0.2945, 0.4458, 0.5246, 0.5771),
        "TIMBRE": (0.1700, 0.2021, 0.2540, 0.2774, 0.3902, 0.4661, 0.5016),
    },
}
REPORTED_SHOTS = (1, 2, 5, 10, 20, 50, 100)


Difference = Callable[[Measured, str], NDArray[np.float64]]  # by side: one for each seed


@dataclass(frozen=True)
class Claim:
    """What was claimed.

    Attributes
    ----------
    text
        In words, with the condition.
    reported
        What it rests on in the thesis.
    difference
        Called with the records and a side: one for each seed.
    region
        Where the difference must lie.
    asked
        What was measured, in words.
    """

    text: str
    reported: str
    difference: Difference
    region: tuple[float, float]
    asked: str


@dataclass(frozen=True)
class Verdict:
    """What the records say of a claim: mean, interval, and the number of seeds that agree."""

    word: str
    mean: float
    low: float
    high: float
    n_agree: int
    n_seeds: int


def judge(differences: Sequence[float], region: tuple[float, float]) -> Verdict:
    """Return whether differences, one for each seed, lie in a region."""
    low, high = interval(differences)
    inside = low > region[0] and high < region[1]
    outside = high < region[0] or low > region[1]
    word = "confirmed" if inside else "denied" if outside else "undecided"
    agree = sum(region[0] < each < region[1] for each in differences)
    return Verdict(word, float(np.mean(differences)), low, high, agree, len(differences))


def best(measured: Measured, methods: Sequence[str], n: int, side: str) -> NDArray[np.float64]:
    """Return the best accuracy of some methods that were run, first draw, for each seed."""
    names = [f"{method}: {n}" for method in methods if f"{method}: {n}" in measured.variants]
    return np.max([measured.each(name, f"{side}_0") for name in names], axis=0)


def between(better: Sequence[str], worse: Sequence[str], shots: Sequence[int]) -> Difference:
    """Return by how much the best of some methods is above the best of others, mean over shots."""
    return lambda measured, side: np.mean(
        [best(measured, better, n, side) - best(measured, worse, n, side) for n in shots], axis=0
    )


def looks(measured: Measured, variant: str, what: str) -> tuple[list[int], NDArray[np.float64]]:
    """Return after how many steps a training was looked at, and what was seen, (seeds, looks)."""
    names = [name for name in measured.runs(variant)[0].metrics if name.startswith("loss_at_")]
    steps = sorted(int(name.rpartition("_")[2]) for name in names)
    return steps, np.stack([measured.each(variant, f"{what}_at_{step}") for step in steps], axis=1)


def lost_without_validation(method: str, shots: Sequence[int]) -> Difference:
    """Return what the last step loses against the best look, chosen on the very side it is for."""

    def difference(measured: Measured, side: str) -> NDArray[np.float64]:
        found = [looks(measured, f"{method}: {n}", side)[1] for n in shots]
        return np.mean([each.max(axis=1) - each[:, -1] for each in found], axis=0)

    return difference


ABOVE = (0.0, math.inf)
EQUAL, NOT_CLEARLY_ABOVE = (-CLEAR, CLEAR), (-math.inf, CLEAR)

CLAIMS: tuple[Claim, ...] = (
    Claim(
        "With 20 or fewer, networks from scratch hardly beat the nearest neighbour on MFCC.",
        "figure 6.1: the curves lie together",
        between(SCRATCH, ("MFCC, nearest",), (1, 5, 10, 20)),
        NOT_CLEARLY_ABOVE,
        "best of three networks - MFCC, n = 1, 5, 10, 20; below 0.05",
    ),
    Claim(
        "With 10 or fewer, the one-layer TIMBRE is the best of the three.",
        "UrbanSound8K, n = 5: 34 against 28 (VGG) and 30 % (SB-CNN)",
        between(("TIMBRE",), ("VGG", "SB-CNN"), (1, 5, 10)),
        ABOVE,
        "TIMBRE - best of VGG, SB-CNN, n = 1, 5, 10; above 0",
    ),
    Claim(
        "With many, VGG is the best of the three.",
        "UrbanSound8K, n = 100: 67 against 50 (TIMBRE) and 60 % (SB-CNN)",
        between(("VGG",), ("TIMBRE", "SB-CNN"), (100,)),
        ABOVE,
        "VGG - best of TIMBRE, SB-CNN, n = 100; above 0",
    ),
    Claim(
        "Between 5 and 50, prototypes clearly beat all three.",
        "UrbanSound8K, n = 10: 51 against at most 40 %; n = 20: 59 against 42 %",
        between(("prototypes",), SCRATCH, (10, 20)),
        ABOVE,
        "prototypes - best of three, n = 10, 20; above 0",
    ),
    Claim(
        "With 100, a plain VGG overtakes prototypes (on one of two data sets).",
        "UrbanSound8K 67 against 63 %; TUT scenes 58 against 68 %",
        between(("VGG",), ("prototypes",), (100,)),
        ABOVE,
        "VGG - prototypes, n = 100; above 0",
    ),
    Claim(
        "A source that knows the task: transfer beats prototypes from scratch, however many.",
        "figure 6.1, UrbanSound8K",
        between(("tagger, softmax",), ("prototypes",), (1, 2, 5, 10, 20, 100)),
        ABOVE,
        "tagger's softmax - prototypes, n = 1 to 100; above 0",
    ),
    Claim(
        "A source that does not: prototypes from scratch overtake transfer from 20 on.",
        "figure 6.1, TUT scenes",
        between(("prototypes",), ("chords, softmax",), (20, 100)),
        ABOVE,
        "prototypes - softmax on the chord network, n = 20, 100; above 0",
    ),
    Claim(
        "With fewer than 10, a softmax on the source beats prototypes on it.",
        "figure 6.1",
        between(("tagger, softmax",), ("tagger, prototypes",), (1, 2, 5)),
        ABOVE,
        "tagger: softmax - prototypes, n = 1, 2, 5; above 0",
    ),
    Claim(
        "From 10 on, the two are worth the same.",
        "figure 6.1",
        between(("tagger, softmax",), ("tagger, prototypes",), (10, 20, 50, 100)),
        EQUAL,
        "tagger: softmax - prototypes, n = 10 to 100; within 0.05",
    ),
    Claim(
        "From 20 on, the Euclidean distance beats the cosine (on one of two data sets).",
        "TUT scenes: by a large margin; UrbanSound8K: about 5 points the other way",
        between(("prototypes",), ("prototypes, cosine",), (20, 100)),
        ABOVE,
        "Euclidean - cosine, n = 20, 100; above 0",
    ),
    Claim(
        "Prototypes need no validation set to know when to stop.",
        "section 6.4.2: any patience above 50 epochs is as good",
        lost_without_validation("prototypes", (5, 20, 100)),
        NOT_CLEARLY_ABOVE,
        "best look - last step, n = 5, 20, 100; below 0.05",
    ),
)


def verdicts(measured: Measured, side: str) -> list[tuple[Claim, Verdict]]:
    """Return each claim with what the records say of it on one side."""
    return [(claim, judge(claim.difference(measured, side), claim.region)) for claim in CLAIMS]
