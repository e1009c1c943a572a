"""A Sphinx extension that leaves out of the pages what in a notebook serves machines only.

Cells tagged ``setup`` install dl101 in Colab and do nothing elsewhere; lines such as
``# NBVAL_CHECK_OUTPUT`` tell the tests which outputs to compare. The notebooks keep both.
"""

from __future__ import annotations

import re

from docutils import nodes
from sphinx.application import Sphinx

MARKER = re.compile(r"^# NBVAL_\w+[ \t]*\n?", re.MULTILINE)


def quieten(app: Sphinx, doctree: nodes.document) -> None:
    """Take set-up cells and markers for the tests out of one page."""
    for cell in list(doctree.findall(nodes.container)):
        classes = cell.get("classes", [])
        if "tag_setup" in classes:
            cell.parent.remove(cell)
        elif "cell_input" in classes:
            for block in list(cell.findall(nodes.literal_block)):
                text = MARKER.sub("", block.astext())
                if text != block.astext():
                    block.rawsource = text
                    block.children = []
                    block += nodes.Text(text)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register with Sphinx, once a page has been read."""
    app.connect("doctree-read", quieten)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
