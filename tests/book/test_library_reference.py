"""The library reference: complete, in the words of the source, and where listings lead."""

from __future__ import annotations

import re
import sys

import pytest

from tests.book.conftest import toc_pages
from tools.chapters import ROOT

sys.path.insert(0, str(ROOT / "book" / "_extensions"))
import library_reference

sys.path.pop(0)
PAGES = [page for page in toc_pages() if page.startswith("book/reference/")]


@pytest.fixture(scope="module")
def pages(html) -> dict[str, str]:
    """Return the built pages of the reference."""
    return {page: (html / f"{page}.html").read_text(encoding="utf-8") for page in PAGES}


def test_every_public_function_and_class_is_there_once(pages):
    found = [
        anchor for text in pages.values() for anchor in re.findall(r'id="(dl101[\w.]+)"', text)
    ]
    wanted = [
        f"{module}.{name}"
        for module, path in library_reference.modules().items()
        if not module.startswith("dl101.chapters.") and module not in ("dl101.cli",)
        for name in library_reference.public_names(path)
    ]
    assert len(wanted) > 300
    missing = [name for name in wanted if found.count(name) != 1]
    assert missing == [], "name a page for their room in book/reference"


def test_signatures_are_those_of_the_source_and_name_no_place_on_this_machine(pages):
    text = re.sub(r"<[^>]+>", "", pages["book/reference/training"])
    assert "batch_size: Count = 16" in text
    assert not [page for page, text in pages.items() if "PosixPath" in text or str(ROOT) in text]


def test_listings_lead_to_the_reference(html):
    chapter = (html / "notebooks" / "inputs" / "chroma.html").read_text(encoding="utf-8")
    links = re.findall(r'href="(../../book/reference/[\w.#/]+)">in the reference', chapter)
    assert not links or all("#dl101." in link for link in links)


def test_the_object_of_a_listing_is_found_by_its_line(tmp_path):
    path = tmp_path / "module.py"
    path.write_text("import a\n\n\n@a.b\ndef f():\n    pass\n\n\nclass C:\n    pass\n")
    found = [library_reference.name_at(path, line) for line in (4, 5, 6, 9)]
    assert found == ["f", "f", None, "C"]


def test_names_of_a_pattern_stay_in_their_folder():
    matches = library_reference._matches
    assert matches("dl101.data.cache", "dl101.data.*")
    assert not matches("dl101.data.embedded.scores", "dl101.data.*")
