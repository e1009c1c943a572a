"""The engine of exercises, on small ones made for this."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dl101.lab.exercise import SAME_ANSWER, Behaviour, Function, NotAccepted, Value, ask, read

STATED = {"title": "small", "minutes": 5, "rubric": {"right": 1}, "praise": "Right."}


def declared(**more: Any) -> Function:
    """Return the exercise to double a number, or an array."""
    usual: dict[str, Any] = {
        "right": lambda x: 2 * x,
        "cases": lambda: [(1.0,), (5.0,), (3.0,)],
        "returns": "one number",
        "mistakes": {"You square.": lambda x: x * x, "One too many.": lambda x: 2 * x + 1},
        "differs": "Twice {0:g} is {right:g}, not {got:g}.",
    }
    return Function(**STATED, **usual | more)


def refused(exercise: Any, answer: object) -> str:
    with pytest.raises(NotAccepted) as verdict:
        exercise.grade(answer)
    return str(verdict.value)


def test_a_right_answer_is_praised():
    assert declared().grade(lambda x: x + x) == "Right."


def test_a_mistake_must_explain_every_case():
    assert refused(declared(), lambda x: x**2) == "You square."
    assert refused(declared(), lambda x: x**2 if x < 5 else 7) == "Twice 1 is 2, not 1."


def test_the_smallest_case_that_differs_is_shown():
    longer = declared(
        cases=lambda: [(np.arange(4.0),), (np.array([2.0, 3.0]),)],
        differs="At {at[0]} it should be {right:g} and is {got:g}.",
    )
    assert refused(longer, lambda x: 3.5 * x) == "At 0 it should be 4 and is 7."
    assert refused(longer, lambda x: 2 * x + (x == 3)) == "At 1 it should be 6 and is 7."


def test_the_nearest_mistake_is_named():
    near = {"By 10.": lambda x: 2 * x + 10.0, "By 10.6.": lambda x: 2 * x + 10.6}
    exercise = declared(mistakes=near, rtol=0.0, atol=1.0)
    assert refused(exercise, lambda x: 2 * x + 10.1) == "By 10."
    assert refused(exercise, lambda x: 2 * x + 10.5) == "By 10.6."


def test_an_answer_nearer_to_right_than_to_a_mistake_gets_no_name():
    exercise = declared(mistakes={"By 2.": lambda x: 2 * x + 2.0}, rtol=0.0, atol=1.0)
    assert refused(exercise, lambda x: 2 * x + 1.5) == "By 2."
    wide = declared(mistakes={"By 1.9.": lambda x: 2 * x - 1.9}, rtol=0.0, atol=1.0)
    assert refused(wide, lambda x: 2 * x + 1.1).startswith("Twice")


def test_results_may_have_more_axes_in_one_case_than_in_another():
    grows = declared(cases=lambda: [(np.ones(3),), (np.ones((2, 3)),)], differs="Not so.")
    assert refused(grows, lambda x: 5 * x) == "Not so."


def test_a_symptom_must_show_in_every_wrong_case():
    only_large = ("Wrong for large numbers.", (lambda got, right, x: x > 2, lambda x: min(x, 9)))
    exercise = declared(symptoms=dict([only_large]))
    assert refused(exercise, lambda x: 2 * x if x < 2 else 0) == "Wrong for large numbers."
    assert refused(exercise, lambda x: 7 - x).startswith("Twice 1")


def test_edges_come_after_the_cases_and_mistakes_explain_both():
    exercise = declared(
        mistakes={"Never 0.": lambda x: 2 * x if x else 1.0, "One too many.": lambda x: 2 * x + 1},
        edges={"0 is a number, not {got:g}.": ((0.0,), lambda x: 2 * x or 5)},
    )
    assert refused(exercise, lambda x: 2 * x or 1) == "Never 0."
    assert refused(exercise, lambda x: 2 * x or 4) == "0 is a number, not 4."
    assert refused(exercise, lambda x: 2 * x + 1) == "One too many."


def test_nothing_is_near_to_nan():
    exercise = declared(gap=lambda got, right: abs(got - right) / 0.1)
    assert refused(exercise, lambda x: x * x if x == 5 else np.nan).startswith("Some values are")


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (lambda x: 4.0, SAME_ANSWER),
        (lambda x: "many", "Return one number; your function returns a str."),
        (lambda x: [x, x], "your function returns a list of 2"),
        (lambda x: complex(x, 1), "complex"),
        (lambda x: np.nan, "not finite"),
        (lambda x: 2 * x if x > 3 else None, "returns nothing"),
        (3.0, "without parentheses"),
        (lambda: 3.0, "keep the parameters"),
    ],
)
def test_forms(answer: object, expected: str):
    assert expected in refused(declared(), answer)


def test_shapes_of_matrices():
    exercise = declared(cases=lambda: [(np.ones((2, 3)),), (np.zeros((2, 5)),)])
    assert "transposed, (3, 2)" in refused(exercise, lambda x: 2 * x.T)
    assert "has shape (2,)" in refused(exercise, lambda x: 2 * x[:, 0])


def test_parts_that_stand_apart():
    exercise = declared(
        right=lambda x: (x, -x),
        mistakes={"First.": lambda x: (x + 1, -x), "Second.": lambda x: (x, x)},
        apart=True,
        names=("plus", "minus"),
    )
    assert exercise.grade(lambda x: {"Plus": x, "minus": -x}) == "Right."
    assert refused(exercise, lambda x: {"plus": x}) == "The dictionary lacks minus."
    assert refused(exercise, lambda x: (x + 1, 7 * x)) == "First."
    assert refused(exercise, lambda x: (x, x)) == "Second."


def test_optional_arguments_reach_who_has_a_place_for_them():
    exercise = declared(cases=lambda: [(1.0, 10.0), (2.0, 20.0)], right=lambda x, y: x, optional=1)
    exercise.grade(lambda x: x)
    exercise.grade(lambda x, other=None: other / 10)
    assert "1 arguments" in refused(exercise, lambda: 0)


def test_a_value():
    exercise = Value(
        **STATED,
        right=0.25,
        returns="a share",
        mistakes={"In percent.": 25},
        differs="{right:g}, not {got:g}.",
    )
    assert exercise.grade(np.float32(0.25)) == "Right."
    assert refused(exercise, 25) == "In percent."
    assert refused(exercise, 0.5) == "0.25, not 0.5."
    assert refused(exercise, [1, 2]) == "Give a share; yours is a list of 2."
    assert dict(exercise.examples()) == {"In percent.": 25}


def test_a_choice():
    exercise = Value(
        **STATED, right="b", returns="a letter", mistakes={"No.": "a"}, differs="Not {got}."
    )
    assert exercise.grade("b") == "Right."
    assert refused(exercise, "a") == "No."
    assert refused(exercise, "c") == "Not c."


def test_a_behaviour_is_judged_by_what_was_seen():
    def observe(call: Any, answer: Any) -> dict:
        values = [3, 1, 2]
        return {"result": call(values), "kept": values == [3, 1, 2], "answer": answer}

    exercise = Behaviour(
        **STATED,
        observe=observe,
        faults={
            "You sort the list itself.": (lambda seen: not seen["kept"], lambda x: x.sort() or x),
            "{first} comes first.": (
                lambda seen: {"first": seen["result"][0]} if seen["result"][0] != 1 else None,
                lambda x: x,
            ),
        },
    )
    assert exercise.grade(sorted) == "Right."
    assert refused(exercise, lambda x: x.sort() or x) == "You sort the list itself."
    assert refused(exercise, lambda x: x) == "3 comes first."


def test_arguments_are_copies():
    def student(values: list) -> int:
        values.clear()
        return 1

    kept = [1, 2]
    assert ask(student, kept) == 1
    assert kept == [1, 2]


def test_reading_keeps_shapes_and_takes_any_type():
    torch = pytest.importorskip("torch")
    tensor = torch.ones(2, 3, dtype=torch.bfloat16, requires_grad=True)
    assert read(tensor, np.ones(1)).tolist() == [[1.0] * 3] * 2
    assert read(torch.ones(2, dtype=torch.cfloat).conj(), np.ones(1)).tolist() == [1.0, 1.0]
    assert read([tensor[0], 2], (np.ones(3), 1.0))[1] == 2.0
    assert read(np.array([1.5]), 1.0) == 1.5
    with pytest.raises(ValueError, match="3 parts"):
        read((1, 2, 3), (1.0, 2.0))
