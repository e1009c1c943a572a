"""Each work in a chapter's list of references stands in the bibliography, under the same title."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*/*.ipynb"))
# "- Authors: [Title](address), where and when" or, without an address, "- Authors: Title, ..."
ITEM = re.compile(r"^- (?P<authors>.+?): (?:\[(?P<linked>[^\]]+)\]\([^)]+\)|(?P<title>.+))", re.M)


def plain(text: str) -> str:
    """A title without case, braces, markup and marks."""
    return re.sub(r"[^a-z0-9]+", " ", re.sub(r"[{}\\]", "", text).lower()).strip()


def references(path: Path) -> list[str]:
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    texts = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"]
    lists = [text.partition("## References\n")[2] for text in texts]
    return [f["linked"] or f["title"] for items in lists for f in ITEM.finditer(items)]


def bibliography() -> list[str]:
    text = (ROOT / "book/references.bib").read_text(encoding="utf-8")
    return [plain(title) for title in re.findall(r"^ *title *= *\{(.+)\},?$", text, re.M)]


def missing(titles: list[str], listed: list[str]) -> list[str]:
    """The titles of which no listed one is a beginning, or the other way round (subtitles)."""
    wanted = [(title, plain(title)) for title in titles]
    return [t for t, p in wanted if not any(k.startswith(p) or p.startswith(k) for k in listed)]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_what_a_chapter_refers_to_is_in_the_bibliography(path: Path) -> None:
    titles = references(path)
    assert len(titles) >= 3, (
        f"{path.stem}: a list of references, '- Authors: [Title](address), ...'"
    )
    assert missing(titles, bibliography()) == []


def test_a_work_that_is_not_listed_is_found() -> None:
    listed = bibliography()
    assert len(listed) > 40
    assert missing(["SpecAugment", "A paper that nobody wrote"], listed) == [
        "A paper that nobody wrote"
    ]
