"""The question as HTML; how it behaves is tested in a browser (tests/book/test_kit.py)."""

import re

import pytest

from dl101.errors import DataError
from dl101.lab import quiz

ANSWERS = {"8 <bits>": "It is the depth.", "22,050": "It is the rate & so on.", "2": "Why?"}


def test_answers_are_radio_buttons_with_labels():
    html = quiz.form("How many samples?", ANSWERS, right="22,050").html
    labels = re.findall(r'<label[^>]*><input type="radio"[^>]*> <span>(.*?)</span></label>', html)
    assert labels == ["8 &lt;bits&gt;", "22,050", "2"]
    assert "<legend>How many samples?</legend>" in html
    assert not re.search(r"https?:|checked", html.split("<script>")[0])


def test_reasons_are_closed_and_one_is_right():
    html = quiz.form("How many?", ANSWERS, right="22,050").html
    page, rest = html.split("<details>")
    assert "It is the" not in page
    reasons = re.findall(r'<li data-verdict="(\w+)">.*?dl101-why">(.*?)</span></li>', rest)
    assert reasons == [
        ("wrong", "Not quite. It is the depth."),
        ("right", "Right. It is the rate &amp; so on."),
        ("wrong", "Not quite. Why?"),
    ]


def test_plain_text_gives_nothing_away(capsys):
    quiz.choice("How many?", ANSWERS, right="2")
    assert capsys.readouterr().out == "How many?\n( ) 8 <bits>\n( ) 22,050\n( ) 2\n"


@pytest.mark.parametrize(
    ("question", "options", "right", "words"),
    [
        ("", ANSWERS, "2", "choice: question"),
        ("q", {"2": "w"}, "2", "1 answers.*at least two"),
        ("q", {"2": "w", "3": " "}, "2", "explanation of '3'"),
        ("q", {"2": "w", "": "w"}, "2", "choice: answer"),
        ("q", ANSWERS, "22.050", "did you mean '22,050'"),
    ],
)
def test_mistakes_are_named(question, options, right, words):
    with pytest.raises(DataError, match=words):
        quiz.form(question, options, right=right)
