"""The book's extension that hides set-up cells and markers for the tests."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from docutils import nodes
from docutils.utils import new_document

from tests.book.conftest import toc_pages

FILE = Path(__file__).resolve().parents[2] / "book" / "_extensions" / "quiet_cells.py"


@pytest.fixture(scope="module")
def quiet_cells():
    """Return the extension, which lies outside the package."""
    spec = importlib.util.spec_from_file_location("quiet_cells", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def cell(source: str, *tags: str) -> nodes.container:
    """Return a code cell as MyST-NB leaves it in the tree."""
    block = nodes.literal_block(source, source, language="ipython3")
    parts = [nodes.container("", block, classes=["cell_input"])]
    parts.append(nodes.container("", nodes.paragraph(text="output"), classes=["cell_output"]))
    return nodes.container("", *parts, classes=["cell", *(f"tag_{tag}" for tag in tags)])


def test_set_up_cells_and_markers_go_and_all_else_stays(quiet_cells):
    page = new_document("page")
    page += cell("import sys", "setup", "hide-input")
    page += cell("# NBVAL_CHECK_OUTPUT\n# why\nprint(1)")
    page += cell("# no NBVAL_CHECK_OUTPUT\nprint('# NBVAL')")
    quiet_cells.quieten(None, page)
    sources = [block.astext() for block in page.findall(nodes.literal_block)]
    assert sources == ["# why\nprint(1)", "# no NBVAL_CHECK_OUTPUT\nprint('# NBVAL')"]
    assert [block.rawsource for block in page.findall(nodes.literal_block)] == sources
    assert page.astext().count("output") == 2


def test_no_page_shows_them(html: Path) -> None:
    for name in toc_pages():
        if name.startswith("notebooks/"):
            text = (html / f"{name}.html").read_text(encoding="utf-8")
            assert "NBVAL_CHECK_OUTPUT" not in text, name
            assert "google.colab&quot;" not in text and 'google.colab"' not in text, name
