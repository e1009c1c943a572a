"""What is shown of every exercise, whatever it asks: stubs are not done, mistakes have hints."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from dl101.lab.checks import Exercise, grade


def passes(*arguments: Any) -> None:
    pass


def raises(*arguments: Any) -> None:
    raise NotImplementedError


STUBS = (None, ..., NotImplemented, passes, raises, lambda *arguments: ...)


class ExerciseProof:
    """The tests of a chapter's exercises; a class ``TestProof`` says what they are shown on.

    Attributes
    ----------
    exercises
        What is proven: all of a chapter.
    right
        Pairs of an exercise and an answer to accept.
    wrong
        By exercise, then by name, answers to reject.
    hints
        Triples of an exercise, the name of a wrong answer, and words of its hint.
    shared
        Names of wrong answers that are the same misconception as another.
    """

    exercises: Mapping[str, Exercise]
    right: Sequence[tuple[str, Any]]
    wrong: Mapping[str, Mapping[str, Any]]
    hints: Sequence[tuple[str, str, str]]
    shared: Collection[str] = ()

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Let each test meet what it asks for by the names of its arguments."""
        cases = {
            ("exercise_id", "answer"): self.right,
            ("exercise_id",): [(exercise_id,) for exercise_id in self.wrong],
            ("exercise_id", "name", "expected"): self.hints,
        }
        known = ("exercise_id", "answer", "name", "expected")
        if names := tuple(name for name in known if name in metafunc.fixturenames):
            metafunc.parametrize(names, cases[names])

    def test_every_exercise_is_proven(self) -> None:
        proven = {exercise_id for exercise_id, _ in self.right}
        assert proven == set(self.wrong) == set(self.exercises)

    def test_right_answers_are_accepted(self, exercise_id: str, answer: Any) -> None:
        verdict = grade(exercise_id, answer)
        assert verdict.passed, verdict.message

    def test_stubs_are_not_done(self, exercise_id: str) -> None:
        """A stub is neither right nor wrong."""
        for stub in STUBS:
            verdict = grade(exercise_id, stub)
            assert not verdict.passed
            assert not verdict.done

    def test_each_wrong_answer_has_its_own_hint(self, exercise_id: str) -> None:
        """Wrong answers are rejected; no two, but the shared, get the same message."""
        hints = {}
        for name, answer in self.wrong[exercise_id].items():
            with np.errstate(all="ignore"):
                verdict = grade(exercise_id, answer)
            assert not verdict.passed, name
            assert verdict.done, name
            hints[name] = verdict.message
        own = {name: hint for name, hint in hints.items() if name not in self.shared}
        assert len(set(own.values())) == len(own), own

    def test_hint_names_the_misconception(self, exercise_id: str, name: str, expected: str) -> None:
        assert expected in grade(exercise_id, self.wrong[exercise_id][name]).message
