"""A Sphinx extension that puts the live panel into the pages that it names, when they are written.

The notebooks know nothing of it: in Colab or JupyterLab there are no such files. A page without the
place that is named here fails the build. What stands in the page needs no script: a recorded
example. The script is fetched when a reader opens the panel, and the rest by that.
"""

from __future__ import annotations

from html import escape
from typing import NamedTuple

from sphinx.application import Sphinx
from sphinx.errors import ExtensionError


class Panel(NamedTuple):
    """What is said about a network: the line to click on, and its example in words."""

    invitation: str
    alt: str
    caption: str
    sound: str


PANELS = {
    "multi_pitch": Panel(
        "Sing or play: a network writes down the notes, here in the page",
        "Two pictures of six seconds, one above the other. Above, a constant-Q transform: every "
        "note is a stack of blue lines. Below, the probability of each pitch: of each stack, one "
        "line is left, at the pitch of a note.",
        "A recorded example: six seconds of a chorale that the network did not learn from, what it "
        "is fed, and which pitches it finds.",
        "Six seconds of a chorale, played by four instruments",
    ),
    "inverse_synthesis": Panel(
        "Sing: a network follows your pitch, here in the page",
        "Two pictures of six seconds, one above the other. Above, a log-mel spectrum of a singing "
        "voice, with its harmonics as wavy lines. Below, how likely each pitch is: one wavy line, "
        "the pitch of the voice.",
        "A recorded example: six seconds of a synthetic voice that the network did not learn from, "
        "what it is fed, and how likely it finds each pitch.",
        "Six seconds of a synthetic voice that sings",
    ),
    "auto_tagging": Panel(
        "Play something: a network says which tags it has, here in the page",
        "Two pictures of six seconds, one above the other. Above, a log-mel spectrum of a piece "
        "of music. Below, a row for each of 55 tags: after three seconds, some rows turn dark.",
        "A recorded example: six seconds of music that the network did not learn from, what it "
        "is fed, and how likely each tag is for the three seconds before.",
        "Six seconds of music, played by sampled instruments",
    ),
}
# page: the network, and the section before which the panel stands
PAGES = {
    "book/index": ("multi_pitch", "for-whom"),
    "notebooks/tasks/multi_pitch": ("multi_pitch", "the-goal"),
    "notebooks/tasks/inverse_synthesis": ("inverse_synthesis", "the-goal"),
    "notebooks/tasks/auto_tagging": ("auto_tagging", "the-goal"),
}

# loads the script once, at the first opening; the script itself finds the panels of the page
OPENER = """<script>(function () {
  const panel = document.currentScript.previousElementSibling;
  panel.addEventListener('toggle', () => {
    if (window.dl101PanelAsked) return;
    window.dl101PanelAsked = true;
    document.head.append(Object.assign(document.createElement('script'), {src: '%s'}));
  });
})();</script>"""


def fragment(name: str, folder: str) -> str:
    """Return what stands in a page: closed, and complete without scripts."""
    panel = PANELS[name]
    return f"""<details class="dl101-panel" data-network="{name}">
<summary>{escape(panel.invitation)}</summary>
<p>Everything is computed in your browser. No sound leaves your machine, and none is kept.</p>
<div class="dl101-panel-live"></div>
<figure>
<img src="{folder}/{name}.webp" alt="{escape(panel.alt)}" width="672" height="499" loading="lazy">
<audio controls preload="none" src="{folder}/{name}.mp3" aria-label="{escape(panel.sound)}"></audio>
<figcaption>{escape(panel.caption)}</figcaption>
</figure>
</details>
{OPENER % f"{folder}/panel.js"}
"""


def insert(app: Sphinx, pagename: str, templatename: str, context: dict, doctree: object) -> None:
    """Put the panel of a page before its section."""
    if pagename not in PAGES:
        return
    name, section = PAGES[pagename]
    body = context.get("body") or ""
    before = f'<section id="{section}">'
    if body.count(before) != 1:
        raise ExtensionError(f"{pagename}: no single section {section!r} to put the panel before")
    html = fragment(name, context["pathto"]("_static/panel", 1))
    context["body"] = body.replace(before, html + before)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register with Sphinx, before the search and after the page's own text is made."""
    app.connect("html-page-context", insert)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
