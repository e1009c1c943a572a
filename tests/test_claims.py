"""Numbers in the prose of pages and chapters agree with the recorded results."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests import claims

BOOK = claims.ROOT / "book"
PAGES = sorted([*BOOK.glob("*.md"), *BOOK.glob("data/*.md")])
CHAPTERS = sorted((claims.ROOT / "notebooks").rglob("*.ipynb"))


def prose(path: Path) -> str:
    """Return the prose of a page or a chapter."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".md":
        return text
    cells = json.loads(text)["cells"]
    return "\n\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "markdown")


@pytest.fixture(scope="module")
def names() -> dict:
    """Return the recorded experiments."""
    return claims.experiments()


@pytest.mark.parametrize("path", [*PAGES, *CHAPTERS], ids=lambda path: path.stem)
def test_what_is_claimed_was_measured(path, names):
    assert not list(claims.wrong(prose(path), names))


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_every_fraction_in_a_chapter_says_where_it_comes_from(path):
    assert not list(claims.unclaimed(prose(path)))


class Recorded(claims.Experiment):
    """Two variants, two seeds."""

    def __init__(self) -> None:
        self.name = "made"
        self.records = [
            {"variant": v, "seed": s, "data": {}, "metrics": {"score": score}}
            for v, s, score in (("a", 0, 0.40), ("a", 1, 0.44), ("b", 0, 0.50), ("b", 1, 0.43))
        ]


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ('0.42<!-- = made("a", "score") -->', None),
        ('0.43<!-- = made("a", "score") -->', "0.42"),
        ('0.44<!-- = made("a", "score", seed=1) -->', None),
        ('0.44<!-- = made("a", "score", seed=0) -->', "0.4"),
        ('0.44<!-- = made("a", "score", seed=2) -->', "no variant"),
        ('**0.4**<!-- = made("a", "score") -->', None),
        ('five<!-- = 100 * (made("b", "score") - made("a", "score")) --> points', None),
        ('with <!-- true: all(made.each(v, "score") < 0.6 for v in ("a", "b")) -->', None),
        ('with <!-- true: all(made.each(v, "score") < 0.5 for v in ("a", "b")) -->', "deny"),
        ('with <!-- true: any(made(v, "score") < limit for v in ("a",)) -->', "limit"),
        ('Three<!-- = 100 * (made("b", "score") - made("a", "score")) --> points', "4.5"),
        ('with every seed<!-- true: all(made.each("a", "score") < made.each("b", "score")) -->',
         "deny"),
        ('0.42<!-- = made("c", "score") -->', "no variant"),
        ('words<!-- = made("a", "score") -->', "no number"),
    ],
)  # fmt: skip
def test_a_claim_that_is_off_is_found(text, answer):
    found = list(claims.wrong(text, {"made": Recorded()}))
    assert not found if answer is None else answer in found[0]


def test_fractions_without_a_source_are_found():
    text = "It finds 0.47 of them, 0.62<!-- = x --> of $0.25$ or `0.33`, 0.05<!-- given: set -->."
    assert [found for found in claims.unclaimed(text) if "0.47" in found]
    assert len(list(claims.unclaimed(text))) == 1
