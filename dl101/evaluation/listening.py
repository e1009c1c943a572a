"""What listeners said, and how sure one can be of it.

Conventions: an answer is one row of the table (CSV) that the tests of :mod:`dl101.lab.listening`
hand out, with the columns :data:`COLUMNS`. Intervals hold the true value with the probability
``level``, 95 % by default; p-values are the probability of at least so good a result by chance.

ABX compares two sounds and counts right answers (exact binomial test; interval of Clopper and
Pearson, 1934). Ratings (MOS, MUSHRA and their kin) are averaged with an interval by Student's t.
Which scale is which: ITU-T P.800 (1996; ACR, DCR, CCR) and ITU-R BS.1534-3 (2015; MUSHRA).
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from dl101.errors import DataError
from dl101.evaluation.results import student_interval

COLUMNS = ("test", "listener", "trial", "item", "condition", "place", "answer", "right", "seconds")
REFERENCE = "reference"  # the condition of the hidden reference
HIDDEN_AT_LEAST, MAY_MISS = 90.0, 0.15  # of ITU-R BS.1534-3, 4.1.2


@dataclass(frozen=True)
class Answer:
    """One row.

    Attributes
    ----------
    test, listener
        Name of the test, and who heard it.
    trial
        From 1, in the order of this listener.
    item, condition
        What was played, and what had been done to it. In an ABX test: the pair, and the sound that
        X was.
    place
        Where it stood on the page: a letter.
    answer
        A rating, or in an ABX test the letter chosen, as 0 (A) or 1 (B).
    right
        In an ABX test, whether X was it; else None.
    seconds
        From the page's appearance to the answer.
    """

    test: str
    listener: str
    trial: int
    item: str
    condition: str
    place: str
    answer: float
    right: bool | None
    seconds: float


def read_answers(text: str) -> list[Answer]:
    """Return the answers in a table; tables of several listeners may follow each other.

    Raises
    ------
    DataError
        If the header is another, a number is none, or a line is there twice.
    """
    rows = [row for row in csv.reader(io.StringIO(text.strip().lstrip("\ufeff"))) if row]
    if not rows or tuple(rows[0]) != COLUMNS:
        raise DataError(
            "answers",
            got=f"the first line {','.join(rows[0]) if rows else ''!r}",
            expected=",".join(COLUMNS),
            hint="paste the whole table that the test shows, header and all",
        )
    found: dict[tuple, Answer] = {}
    for number, row in enumerate(rows, start=1):
        if tuple(row) == COLUMNS:
            continue
        answer = _answer(row, number)
        key = (answer.test, answer.listener, answer.trial, answer.item, answer.condition)
        if key in found:
            raise DataError(
                f"answers, line {number}",
                got="an answer that is there already",
                expected="each answer of a listener once",
                hint="remove the table that was pasted twice",
            )
        found[key] = answer
    return list(found.values())


def _answer(row: Sequence[str], number: int) -> Answer:
    rights = {"": None, "0": False, "1": True}
    try:
        named = dict(zip(COLUMNS, row, strict=True))
        answer, seconds = float(named["answer"]), float(named["seconds"])
        if not (math.isfinite(answer) and math.isfinite(seconds) and seconds >= 0):
            raise ValueError
        return Answer(
            test=named["test"],
            listener=named["listener"],
            trial=int(named["trial"]),
            item=named["item"],
            condition=named["condition"],
            place=named["place"],
            answer=answer,
            right=rights[named["right"]],
            seconds=seconds,
        )
    except (ValueError, KeyError):
        raise DataError(
            f"answers, line {number}",
            got=",".join(row),
            expected=f"{len(COLUMNS)} fields: {','.join(COLUMNS)}",
            hint="trial, answer and seconds are numbers, right is 0, 1 or empty",
        ) from None


# --- ABX ---


def binomial_test(n_right: int, n_trials: int, *, chance: float = 0.5) -> float:
    """Return the probability of at least ``n_right`` right answers by guessing.

    The exact tail of the binomial distribution, one-sided: whoever is reliably wrong does not hear
    a difference better than chance, but hears one; look at that separately.

    Raises
    ------
    DataError
        If the counts are impossible.
    """
    _require_counts(n_right, n_trials)
    terms = (
        math.comb(n_trials, k) * chance**k * (1.0 - chance) ** (n_trials - k)
        for k in range(n_right, n_trials + 1)
    )
    return min(1.0, math.fsum(terms))


def needed_right(n_trials: int, *, level: float = 0.05, chance: float = 0.5) -> int | None:
    """Return the fewest right answers whose p-value is at most ``level``; None if none suffice."""
    _require_counts(0, n_trials)
    enough = (k for k in range(n_trials + 1) if binomial_test(k, n_trials, chance=chance) <= level)
    return next(enough, None)


def detection_power(
    n_trials: int, share_right: float, *, level: float = 0.05, chance: float = 0.5
) -> float:
    """Return how often a listener who is right in ``share_right`` of all trials passes the test."""
    needed = needed_right(n_trials, level=level, chance=chance)
    return 0.0 if needed is None else binomial_test(needed, n_trials, chance=share_right)


def proportion_interval(n_right: int, n_trials: int, *, level: float = 0.95) -> tuple[float, float]:
    """Return the interval of Clopper and Pearson (1934) for a share: exact, rather too wide."""
    from scipy.special import betaincinv

    _require_counts(n_right, n_trials)
    tail = (1.0 - level) / 2.0
    low = betaincinv(n_right, n_trials - n_right + 1, tail) if n_right else 0.0
    high = betaincinv(n_right + 1, n_trials - n_right, 1 - tail) if n_right < n_trials else 1.0
    return float(low), float(high)


def _require_counts(n_right: int, n_trials: int) -> None:
    if not (n_trials >= 1 and 0 <= n_right <= n_trials):
        raise DataError(
            "counts of right answers",
            got=f"{n_right} of {n_trials}",
            expected="at least one trial, and from 0 to all of them right",
            hint="count the rows of the test",
        )


@dataclass(frozen=True)
class AbxResult:
    """Right answers of an ABX test, their p-value and the interval of their share."""

    n_right: int
    n_trials: int
    p_value: float
    low: float
    high: float


def abx_result(answers: Iterable[Answer], *, level: float = 0.95) -> AbxResult:
    """Return what the answers of an ABX test say, all listeners and pairs taken together."""
    rights = [answer.right for answer in answers if answer.right is not None]
    low, high = proportion_interval(sum(rights), len(rights), level=level)
    return AbxResult(sum(rights), len(rights), binomial_test(sum(rights), len(rights)), low, high)


# --- ratings ---


@dataclass(frozen=True)
class MeanInterval:
    """A mean, its interval, and how many values it is of."""

    mean: float
    low: float
    high: float
    n: int


def mean_interval(ratings: ArrayLike, *, level: float = 0.95) -> MeanInterval:
    """Return the mean of ratings and its interval by Student's t; infinite for a single one.

    Ratings of one listener are not independent: average them first, or pass one value a listener.

    Raises
    ------
    DataError
        If there is no rating.
    """
    values = np.asarray(ratings, dtype=np.float64).ravel()
    if values.size == 0 or not np.isfinite(values).all():
        raise DataError(
            "ratings",
            got="none" if values.size == 0 else "values that are not finite",
            expected="at least one number",
            hint="check the name of the condition",
        )
    low, high = student_interval(values, level)
    return MeanInterval(float(values.mean()), low, high, int(values.size))


def by_listener(answers: Iterable[Answer]) -> dict[str, dict[str, float]]:
    """Return for each condition the mean rating of each listener, in the order of appearance."""
    found: dict[str, dict[str, list[float]]] = {}
    for each in answers:
        found.setdefault(each.condition, {}).setdefault(each.listener, []).append(each.answer)
    return {
        condition: {listener: float(np.mean(values)) for listener, values in of.items()}
        for condition, of in found.items()
    }


def rating_intervals(answers: Sequence[Answer], *, level: float = 0.95) -> dict[str, MeanInterval]:
    """Return by condition the mean over listeners, or over the answers of a single one."""
    if len({each.listener for each in answers}) == 1:
        conditions = dict.fromkeys(each.condition for each in answers)
        ratings = {c: [a.answer for a in answers if a.condition == c] for c in conditions}
    else:
        ratings = {c: list(of.values()) for c, of in by_listener(answers).items()}
    return {c: mean_interval(values, level=level) for c, values in ratings.items()}


def difference(
    answers: Sequence[Answer], better: str, worse: str, *, level: float = 0.95
) -> MeanInterval:
    """Return by how much one condition is rated above another: the mean over listeners of both.

    Each listener is compared with no other, so that strict and mild ones don't blur the answer.

    Raises
    ------
    DataError
        If no listener rated both.
    """
    means: Mapping[str, Mapping[str, float]] = by_listener(answers)
    a, b = (means.get(condition, {}) for condition in (better, worse))
    return mean_interval([a[who] - b[who] for who in a if who in b], level=level)


def post_screened(answers: Sequence[Answer]) -> tuple[list[Answer], list[str]]:
    """Return the answers without listeners who miss the hidden reference, and their names.

    As ITU-R BS.1534-3 has it for MUSHRA: out is who rates the hidden reference below 90 in more
    than 15 % of the items.
    """
    missed: dict[str, list[bool]] = {}
    for each in answers:
        if each.condition == REFERENCE:
            missed.setdefault(each.listener, []).append(each.answer < HIDDEN_AT_LEAST)
    out = [listener for listener, low in missed.items() if np.mean(low) > MAY_MISS]
    return [each for each in answers if each.listener not in out], out
