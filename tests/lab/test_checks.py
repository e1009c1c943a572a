import pytest

from dl101.errors import ConfigError
from dl101.lab import checks
from dl101.lab.checks import check, grade
from dl101.lab.exercise import Exercise


def test_unknown_exercise_suggests_the_nearest():
    with pytest.raises(ConfigError, match=r"did you mean 'multi_pitch\.1'"):
        grade("multipitch.1", 0)


def test_value_instead_of_a_function():
    verdict = grade("multi_pitch.2", (0.5, 0.5, 0.5))
    assert not verdict.passed
    assert "without parentheses" in verdict.message


def test_wrong_parameters_are_named():
    verdict = grade("multi_pitch.2", lambda reference: 0)
    assert "(reference)" in verdict.message
    assert "2 arguments" in verdict.message


def test_an_answer_that_raises_is_located():
    def student(reference, estimate):
        total = 0
        return total + undefined_name  # noqa: F821

    message = grade("multi_pitch.2", student).message
    assert "NameError" in message
    assert "line 3" in message
    assert "return total + undefined_name" in message


def test_an_answer_that_leaves_is_stopped():
    def student(reference, estimate):
        raise SystemExit(1)

    assert "SystemExit" in grade("multi_pitch.2", student).message


def test_a_fault_of_the_check_is_not_hidden(monkeypatch):
    """Only the student's mishaps become verdicts; ours must be seen."""

    class Broken(Exercise):
        def grade(self, answer):
            raise KeyError("ours")

    broken = Broken(title="broken", minutes=1, rubric={}, praise="")
    monkeypatch.setattr(checks, "find", lambda _: broken)
    with pytest.raises(KeyError, match="ours"):
        grade("any", 1)


def test_check_prints_the_verdict_outside_a_notebook(capsys):
    assert check("multi_pitch.1", ...) is None
    text = capsys.readouterr().out
    assert text.startswith("Not done yet. Exercise multi_pitch.1, from notes to targets")


def test_messages_are_escaped(monkeypatch):
    shown = []
    monkeypatch.setattr(checks.Rendered, "display", lambda self: shown.append(self))

    def student(reference, estimate):
        raise ValueError("<script>")

    check("multi_pitch.2", student)
    assert "<script>" not in shown[0].html
    assert "&lt;script&gt;" in shown[0].html
    assert 'role="status"' in shown[0].html
