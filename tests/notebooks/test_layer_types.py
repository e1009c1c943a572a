"""Every type of layer that a model file may name has a chapter that explains it.

``tests/golden/layer_chapters.json`` holds, for each type of the 2024 tutorial's dialect, the
chapter and words of it; case does not matter, and code counts for nothing.
"""

from __future__ import annotations

import json
from pathlib import Path

import nbformat
import pytest

from dl101.nn.factory import LAYER_TYPES

ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT / "tests" / "golden" / "layer_chapters.json"
PLACES: dict[str, list[str]] = json.loads(FILE.read_text(encoding="utf-8"))


def prose(chapter: str) -> str:
    """Return the markdown of a chapter, in small letters and without line breaks."""
    notebook = nbformat.read(ROOT / "notebooks" / f"{chapter}.ipynb", as_version=4)
    cells = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
    return " ".join(" ".join(cells).lower().split())


def test_no_type_of_the_dialect_is_forgotten() -> None:
    assert set(PLACES) == set(LAYER_TYPES)
    assert len(PLACES) == 36


@pytest.mark.parametrize("chapter", sorted({chapter for chapter, _ in PLACES.values()}))
def test_the_chapter_explains_its_types(chapter: str) -> None:
    if not (ROOT / "notebooks" / f"{chapter}.ipynb").exists():
        pytest.skip(f"there is no chapter {chapter} yet")
    text = prose(chapter)
    named = {kind: words for kind, (where, words) in PLACES.items() if where == chapter}
    assert [kind for kind, words in named.items() if words.lower() not in text] == []
