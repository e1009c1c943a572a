"""A live figure in JupyterLab: the widgets are there, the keyboard moves them, the kernel answers.

A JupyterLab of its own is started on a free port of this machine, with its settings in a temporary
folder; the page runs a notebook of one cell.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator

import nbformat
import pytest

from tools.chapters import ROOT

pytestmark = pytest.mark.browser
SOURCE = """
import numpy as np
from matplotlib import pyplot as plt

from dl101.lab.explore import Control, explore


def tone(f0_hz):
    fig, ax = plt.subplots(figsize=(6, 2), layout="constrained")
    ax.axvline(f0_hz)
    ax.set(xlim=(0, 1000), xlabel="frequency (Hz)")
    return fig, {"tone": np.sin(2 * np.pi * f0_hz * np.arange(22050) / 22050)}, 22050


explore(
    tone,
    caption="A tone.",
    alt="A line at {f0_hz}.",
    f0_hz=Control([200, 400], unit="cycles in every second", label="pitch", live=[300]),
)
"""
WIDGET = ".dl101-live"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start JupyterLab in a folder with the notebook, yield the notebook's address."""
    folder = tmp_path_factory.mktemp("lab")
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(SOURCE.strip())])
    notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3"}
    nbformat.write(notebook, folder / "live.ipynb")
    places = ("CONFIG_DIR", "DATA_DIR", "RUNTIME_DIR")
    settings = {f"JUPYTER_{place}": str(folder / place.lower()) for place in places}
    paths = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--port=0"]
    server = subprocess.Popen(
        [
            *command,
            "--ServerApp.ip=127.0.0.1",
            "--IdentityProvider.token=",
            "--LabApp.news_url=",
            "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
            f"--ServerApp.root_dir={folder}",
        ],
        env={**os.environ, **settings, "PYTHONPATH": paths},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        lines = []
        for line in server.stderr:
            lines.append(line)
            if found := re.search(r"http://127\.0\.0\.1:\d+/", line):
                yield f"{found[0]}lab/tree/live.ipynb?reset"
                break
        else:
            pytest.fail("JupyterLab did not start:\n" + "".join(lines))
    finally:
        server.terminate()
        server.communicate(timeout=30)


def shown(page) -> dict[str, str]:
    """Return what the widget shows: the value read out, the picture, its text, the sound."""
    return page.eval_on_selector(
        WIDGET,
        """box => ({
            value: box.querySelector('.widget-readout').textContent,
            picture: box.querySelector('img').src,
            alt: box.querySelector('img').alt,
            sound: box.querySelector('audio').src})""",
    )


def test_widgets_replace_the_prerendered_sliders_and_follow_the_keyboard(
    lab: str, browser, request: pytest.FixtureRequest
) -> None:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    request.addfinalizer(context.close)
    page = context.new_page()
    page.goto(lab)
    page.locator(".jp-Notebook .cm-content").first.click(timeout=240_000)
    page.wait_for_function("() => document.querySelector('[data-status=idle]')", timeout=240_000)
    page.keyboard.press("Shift+Enter")
    page.wait_for_selector(f"{WIDGET} img", timeout=240_000)
    before = shown(page)
    assert (
        before["value"] == "200 cycles in every second"
        and before["alt"] == "A line at 200 cycles in every second."
    )
    assert not page.locator(".dl101-control").locator("visible=true").count()  # one set of sliders
    page.locator(f"{WIDGET} .noUi-handle").focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_function(
        "([box, src]) => document.querySelector(box + ' img').src !== src",
        arg=[WIDGET, before["picture"]],
        timeout=30_000,
    )
    after = shown(page)
    assert (
        after["value"] == "300 cycles in every second"
        and after["alt"] == "A line at 300 cycles in every second."
    )  # between the listed
    assert after["sound"].startswith("data:audio/") and after["sound"] != before["sound"]
    assert page.eval_on_selector(f"{WIDGET} .widget-readout", "e => e.scrollWidth <= e.clientWidth")
    assert page.eval_on_selector(f"{WIDGET} audio", "a => a.readyState > 0 && a.duration > 0.9")
