"""A Sphinx extension that takes Thebe (live code through a remote server) out of the pages.

Jupyter Book always loads it, declares its settings twice, which browsers report as an error, and
names an address elsewhere. This book runs live in Colab or JupyterLab instead.
"""

from __future__ import annotations

from sphinx.application import Sphinx


def leave_out_thebe(app: Sphinx, pagename: str, templatename: str, context: dict, doctree) -> None:
    """Drop Thebe's script, style and settings from one page."""
    for kind in ("script_files", "css_files"):
        context[kind] = [entry for entry in context.get(kind, []) if not _is_thebe(entry)]


def _is_thebe(entry: object) -> bool:
    body = getattr(entry, "attributes", {}).get("body") or ""
    return "thebe" in f"{getattr(entry, 'filename', None) or entry} {body}".lower()


def setup(app: Sphinx) -> dict[str, bool]:
    """Register with Sphinx, after everything that adds scripts."""
    app.connect("html-page-context", leave_out_thebe, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
