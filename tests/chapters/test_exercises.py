"""What is shown of every exercise of every chapter; chapters add answers in ``answers.py``."""

from __future__ import annotations

import hashlib
import importlib
import json
import math
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch

from dl101.lab import checks, pack
from dl101.lab.exercise import Function
from tests.chapters.answers import RIGHT, WRONG

CHAPTERS = checks.chapters()
IDS = [name for chapter in CHAPTERS for name in pack.load(chapter).answers]
EXAMPLES = [
    pytest.param(name, hint, answer, id=f"{name}-{hint[:40]}")
    for name in IDS
    for hint, answer in checks.find(name).examples()
]
STUBS = (None, ..., NotImplemented, lambda *_: None, lambda *_: ...)


@cache
def answer_cells(chapter: str) -> dict[bool, dict[str, Any]]:
    """Return what a chapter's stubs (False) and solutions (True) hand to the check, by exercise."""
    found: dict[bool, dict[str, Any]] = {False: {}, True: {}}
    loaded = pack.load(chapter)
    cells = list(pack.code_cells(loaded.notebook))
    for i, cell in enumerate(cells):
        calls = dict(pack.check_calls(pack.source_of(cell)))
        is_solution = "solution" in pack.tags(cell)
        for name, expression in calls.items():
            source = pack.source_of(cell if is_solution else cells[i - 1])
            names = {"np": np, "math": math, "json": json, "hashlib": hashlib}
            names |= {"check": lambda *_: None, "print": lambda *_: None}
            exec(source, names)
            found[is_solution][name] = names[expression]
    return found


def solution(name: str) -> Callable:
    return answer_cells(name.partition(".")[0])[True][name]


def like_torch(result: Any) -> Any:
    """Return a result with tensors that require a gradient in place of arrays and numbers."""
    if isinstance(result, tuple):
        return tuple(map(like_torch, result))
    if isinstance(result, np.ndarray | np.generic | float):
        values = torch.as_tensor(np.asarray(result))
        return values.requires_grad_() if values.is_floating_point() else values
    return result


def like_lists(result: Any) -> Any:
    if isinstance(result, tuple):
        return list(map(like_lists, result))
    return result.tolist() if isinstance(result, np.ndarray | np.generic) else result


def single(result: Any) -> Any:
    if isinstance(result, tuple):
        return tuple(map(single, result))
    return np.float32(result) if isinstance(result, np.ndarray | np.floating | float) else result


def test_the_rooms_hold_what_the_notebooks_check() -> None:
    declared = {
        name
        for chapter in CHAPTERS
        for name in importlib.import_module(f"dl101.chapters.{chapter}.exercises").EXERCISES
    }
    assert declared == set(IDS) == set(RIGHT)


@pytest.mark.parametrize("name", IDS)
def test_the_solution_is_accepted(name: str) -> None:
    verdict = checks.grade(name, solution(name))
    assert verdict.passed, verdict.message


@pytest.mark.parametrize("form", [like_torch, like_lists, single])
@pytest.mark.parametrize("name", IDS)
def test_results_of_another_type_are_accepted(name: str, form: Callable) -> None:
    answer = solution(name)
    verdict = checks.grade(name, lambda *arguments: form(answer(*arguments)))
    assert verdict.passed, verdict.message


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        pytest.param(name, answer, id=f"{name}-{i}")
        for name, answers in RIGHT.items()
        for i, answer in enumerate(answers)
    ],
)
def test_other_ways_to_the_right_result_are_accepted(name: str, answer: Callable) -> None:
    verdict = checks.grade(name, answer)
    assert verdict.passed, verdict.message


@pytest.mark.parametrize("name", IDS)
def test_stubs_are_not_done(name: str) -> None:
    """A stub is neither right nor wrong."""

    def raises(*_: Any) -> None:
        raise NotImplementedError

    for stub in (*STUBS, raises, answer_cells(name.partition(".")[0])[False][name]):
        verdict = checks.grade(name, stub)
        assert not verdict.passed
        assert not verdict.done


@pytest.mark.parametrize(("name", "hint", "answer"), EXAMPLES)
def test_each_mistake_gets_its_own_hint(name: str, hint: str, answer: Callable) -> None:
    """Every hint can appear, and no mistake is taken for another."""
    verdict = checks.grade(name, answer)
    assert not verdict.passed
    assert verdict.done
    if verdict.message.startswith("Your function stopped with"):
        assert verdict.message.endswith(hint)
    elif "{" in hint:
        assert verdict.message.startswith(hint.partition("{")[0])
    else:
        assert verdict.message == hint


@pytest.mark.parametrize(
    ("name", "expected", "answer"),
    [
        pytest.param(name, expected, answer, id=f"{name}-{expected[:40]}")
        for name, answers in WRONG.items()
        for expected, answer in answers.items()
    ],
)
def test_other_wrong_answers_are_explained(name: str, expected: str, answer: Callable) -> None:
    verdict = checks.grade(name, answer)
    assert not verdict.passed
    assert verdict.done
    assert expected in verdict.message


@pytest.mark.parametrize("name", IDS)
def test_forms_and_constants_are_no_answers(name: str) -> None:
    """Text, too many dimensions, and the right result of the first case whatever comes."""
    if not isinstance(checks.find(name), Function):
        return
    first = next(iter(checks.find(name).cases()))
    constant = solution(name)(*first)
    for result, expected in (("text", "Return "), (np.zeros((2, 3, 4, 5)), ""), (constant, "")):
        verdict = checks.grade(name, lambda *_, result=result: result)
        assert verdict.done
        assert not verdict.passed
        assert verdict.message.startswith(expected)


def test_a_check_imports_its_own_room_only() -> None:
    code = (
        "import sys\n"
        "from dl101.lab.checks import grade\n"
        "grade('chroma.1', lambda *_: 0)\n"
        "print(*(name for name in sys.modules if name.startswith('dl101.chapters.')))\n"
        "print('torch' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    rooms, has_torch = run.stdout.splitlines()
    assert set(rooms.split()) == {"dl101.chapters.chroma", "dl101.chapters.chroma.exercises"}
    assert has_torch == "False"
