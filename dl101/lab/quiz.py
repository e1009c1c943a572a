"""Asks a multiple-choice question, in the notebook and in the book, with a reason for each answer.

Conventions. The question is a form of radio buttons; a button checks the answer and says why it is
right or wrong, also to screen readers. Nothing is graded, stored or sent. The reasons travel with
the page: without scripts they stand, closed, in a ``details`` element below the question, so the
answer is never in plain view. The plain-text form shows question and answers, without the reasons.
"""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

from dl101.errors import DataError, did_you_mean
from dl101.lab.kit import KIT_STYLE, SCRIPT, sentence
from dl101.lab.show import Rendered


def choice(question: str, options: Mapping[str, str], *, right: str) -> None:
    """Display a question with answers to choose from.

    Parameters
    ----------
    question
        One sentence, plain text.
    options
        Answer to explanation, in the order shown: why it is right, or which misunderstanding leads
        to it. Do not begin with "Right" or "Wrong"; that is written for you.
    right
        The answer that is right, one of ``options``.

    Raises
    ------
    DataError
        If there are fewer than two answers, a text is empty, or ``right`` is not an answer.
    """
    form(question, options, right=right).display()


def form(question: str, options: Mapping[str, str], *, right: str) -> Rendered:
    """Return what :func:`choice` displays."""
    sentence("choice: question", question, "ask something")
    if len(options) < 2:
        raise DataError(
            "choice: options",
            got=f"{len(options)} answers",
            expected="at least two",
            hint="add the answer that a typical misunderstanding gives",
        )
    for answer, explanation in options.items():
        sentence("choice: answer", answer, "write the answer")
        sentence(f"choice: explanation of {answer!r}", explanation, "say why")
    if right not in options:
        raise DataError(
            "choice: right",
            got=repr(right),
            expected="one of " + ", ".join(map(repr, options)),
            hint=did_you_mean(right, options, otherwise="copy the text of the right answer"),
        )
    radios, reasons = "", ""
    for answer, explanation in options.items():
        verdict = "right" if answer == right else "wrong"
        word = "Right." if answer == right else "Not quite."
        radios += (
            f'<div><label class="dl101-option"><input type="radio" name="answer"> '
            f"<span>{escape(answer)}</span></label></div>"
        )
        reasons += (
            f'<li data-verdict="{verdict}">{escape(answer)}: '
            f'<span class="dl101-why">{word} {escape(explanation)}</span></li>'
        )
    html = (
        f'{KIT_STYLE}<div class="dl101 dl101-kit dl101-quiz" data-lm-suppress-shortcuts="true">'
        f'<form><fieldset class="dl101-question"><legend>{escape(question)}</legend>{radios}'
        f"</fieldset></form><details><summary>Answers</summary><ul>{reasons}</ul></details></div>"
        f"{SCRIPT}"
    )
    lines = [question, *(f"( ) {answer}" for answer in options)]
    return Rendered(text="\n".join(lines), html=html)
