"""Checks the answers to exercises and says what is wrong with a wrong one.

Conventions. An exercise is named ``chapter.number``. Its check is a function from an answer to a
message, kept in ``dl101/lab/exercises/<chapter>.py``: it returns praise when the answer is right
and raises :class:`NotAccepted` with a hint when it is not. Functions written by the student are
asked for their result on hidden, seeded cases (never only on the visible example) and compared
with what typical misconceptions would give. Nothing here needs a network, and whatever the answer
does, the student sees a verdict, not a traceback of ours.
"""

from __future__ import annotations

import copy
import importlib
import inspect
import linecache
import pkgutil
import traceback
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from html import escape
from typing import Any

import numpy as np

from dl101.errors import ConfigError, did_you_mean
from dl101.lab import exercises
from dl101.lab.show import STYLE, Rendered


@dataclass(frozen=True)
class Verdict:
    """What a check found.

    Attributes
    ----------
    passed
        Whether the answer is right.
    message
        Why it is right, or a hint that names the misconception.
    done
        False while the answer is still the stub.
    """

    passed: bool
    message: str
    done: bool = True

    @property
    def heading(self) -> str:
        """Return the verdict in a word or two."""
        return "Right" if self.passed else "Not yet" if self.done else "Not done yet"


@dataclass(frozen=True)
class Exercise:
    """One exercise: its title, the function that judges an answer, and what a teacher needs.

    Attributes
    ----------
    title
        In a few words.
    grade
        ``grade(answer)`` returns the message of success or raises :class:`NotAccepted`.
    minutes
        How long a student who has read the chapter needs.
    rubric
        What a right answer shows, and the points for it. The check gives all or nothing; these
        lines are for judging by hand an answer that it does not accept.
    """

    title: str
    grade: Callable[[Any], str]
    minutes: int = 15
    rubric: Mapping[str, int] = field(default_factory=lambda: {"accepted by the check": 1})

    @property
    def points(self) -> int:
        """Return the points of an accepted answer."""
        return sum(self.rubric.values())


class NotAccepted(Exception):
    """Raised inside a check: the answer is not right, and this is the hint."""

    def __init__(self, hint: str, *, done: bool = True) -> None:
        super().__init__(hint)
        self.done = done


def check(exercise_id: str, answer: object) -> None:
    """Display the verdict on an answer.

    Parameters
    ----------
    exercise_id
        For example ``"multi_pitch.1"``.
    answer
        What the exercise asks for: a value, or a function (passed without calling it).

    Raises
    ------
    ConfigError
        If there is no such exercise.
    """
    verdict = grade(exercise_id, answer)
    name = f"Exercise {exercise_id}, {find(exercise_id).title}"
    colour = "#2e9e5b" if verdict.passed else "#d9822b"  # a bar; the words carry the meaning
    html = (
        f'{STYLE}<div class="dl101" role="status" style="border-left:.3em solid {colour};'
        f'padding:.2em .8em"><strong>{verdict.heading}.</strong> <small>{escape(name)}</small>'
        f"<br>{escape(verdict.message)}</div>"
    )
    Rendered(text=f"{verdict.heading}. {name}\n{verdict.message}", html=html).display()


def grade(exercise_id: str, answer: object) -> Verdict:
    """Return the verdict on an answer without displaying it; see :func:`check`."""
    exercise = find(exercise_id)
    try:
        if answer is None or answer is ... or answer is NotImplemented:
            raise NotAccepted("Write your answer in the cell above, then run both.", done=False)
        return Verdict(True, exercise.grade(answer))
    except NotAccepted as verdict:
        return Verdict(False, str(verdict), done=verdict.done)


def find(exercise_id: str) -> Exercise:
    """Return an exercise by its id."""
    known = {}
    for chapter in chapters():
        module = importlib.import_module(f"{exercises.__name__}.{chapter}")
        known.update(module.EXERCISES)
    if exercise_id not in known:
        raise ConfigError(
            "check",
            got=repr(exercise_id),
            expected="one of " + ", ".join(sorted(known)),
            hint=did_you_mean(exercise_id, known, otherwise="copy the id from the exercise"),
        )
    return known[exercise_id]


def chapters() -> list[str]:
    """Return the names of the chapters that have exercises."""
    return sorted(module.name for module in pkgutil.iter_modules(exercises.__path__))


def ask(
    function: object, *arguments: object, hints: Mapping[type, str] | None = None, **named: object
) -> Any:
    """Return what a student's function answers; turn every mishap into a hint.

    Parameters
    ----------
    function
        The answer; not being a function is a mishap too.
    *arguments, **named
        Passed as deep copies, so that a function that changes its arguments harms only itself.
    hints
        Explanations of exceptions that are typical of this exercise.

    Raises
    ------
    NotAccepted
        If there is nothing to call, the arguments do not fit, or the function raises or returns
        nothing.
    """
    if not callable(function):
        raise NotAccepted(
            f"The check got a {type(function).__name__}, but needs the function itself: pass its "
            "name without parentheses, so that it can be tried on other cases."
        )
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        signature = None
    if signature is not None:
        try:
            signature.bind(*arguments, **named)
        except TypeError:
            raise NotAccepted(
                f"Your function takes {signature}, but is called with {len(arguments)} "
                "arguments: keep the parameters of the stub."
            ) from None
    arguments, named = copy.deepcopy((arguments, named))
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            result = function(*arguments, **named)
    except NotImplementedError:
        result = NotImplemented
    except (Exception, SystemExit) as error:
        raise NotAccepted(_describe(error, function, hints or {})) from None
    if result is None:
        raise NotAccepted(
            "The function returns nothing yet. If it is written, see that it ends with a return.",
            done=False,
        )
    if result is ... or result is NotImplemented:
        raise NotAccepted("Replace the body of the stub by your own code.", done=False)
    return result


def _describe(error: BaseException, function: object, hints: Mapping[type, str]) -> str:
    """Return what went wrong, where in the student's function, and what usually causes it."""
    text = f"Your function stopped with {type(error).__name__}"
    text += f" ({error})" if str(error) else ""
    code = getattr(function, "__code__", None)
    places = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if code is not None and frame.filename == code.co_filename
    ]
    if places and code is not None:
        line = linecache.getline(places[-1].filename, places[-1].lineno or 0).strip()
        number = (places[-1].lineno or 0) - code.co_firstlineno + 1
        if number > 0:
            text += f" in its line {number}" + (f", {line!r}" if line else "")
    for kind, hint in hints.items():
        if isinstance(error, kind):
            return f"{text}. {hint}"
    return f"{text}. Try it on a small example of your own in a cell of its own."
