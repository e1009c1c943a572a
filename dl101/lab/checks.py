"""Finds an exercise, judges an answer to it and displays the verdict.

Conventions. An exercise is named ``chapter.number`` and declared in
``dl101/chapters/<chapter>/exercises.py``, in the table ``EXERCISES``; what a declaration is stands
in ``dl101/lab/exercise.py``. Functions written by the student are asked for their result on hidden,
seeded cases, never only on the visible example. Nothing here needs a network, and whatever the
answer does, the student sees a verdict, not a traceback of ours.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from html import escape
from pathlib import Path

from dl101 import chapters as rooms
from dl101.errors import ConfigError, did_you_mean
from dl101.lab.exercise import Exercise, NotAccepted
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
    """Return an exercise by its id; of all chapters only its own is imported.

    Raises
    ------
    ConfigError
        If there is no such exercise.
    """
    chapter, _, number = exercise_id.partition(".")
    if chapter in chapters():
        known = importlib.import_module(f"{rooms.__name__}.{chapter}.exercises").EXERCISES
    else:
        known = {f"{name}.{number}": None for name in chapters()}
    if known.get(exercise_id) is None:
        raise ConfigError(
            "check",
            got=repr(exercise_id),
            expected="one of " + ", ".join(sorted(known)),
            hint=did_you_mean(exercise_id, known, otherwise="copy the id from the exercise"),
        )
    return known[exercise_id]


def chapters() -> list[str]:
    """Return the names of the chapters that have exercises."""
    return sorted(path.parent.name for path in Path(rooms.__file__).parent.glob("*/exercises.py"))
