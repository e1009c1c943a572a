"""Every notebook keeps the conventions that readers, Colab, the book and nbval rely on."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest
from nbformat import NotebookNode

from dl101.lab import pack
from dl101.repository import BRANCH, REPOSITORY_URL
from tools.chapters import (
    LARGER_NOTEBOOKS,
    MAX_MEAN_NOTEBOOK_BYTES,
    MAX_NOTEBOOK_BYTES,
    NOTEBOOKS,
    ROOT,
    STATUS_PAGE,
    canonical,
    chapters_in_contents,
    complaints,
    limit_of,
    load_status,
    scores,
    status_page,
)

PATHS = sorted(p for p in NOTEBOOKS.rglob("*.ipynb") if ".ipynb_checkpoints" not in p.parts)
pytestmark = pytest.mark.notebook


@pytest.fixture(params=PATHS, ids=lambda path: path.relative_to(NOTEBOOKS).as_posix())
def path(request: pytest.FixtureRequest) -> Path:
    """One notebook after the other."""
    return request.param


@pytest.fixture
def notebook(path: Path) -> NotebookNode:
    """The notebook as it is committed."""
    return nbformat.read(path, as_version=4)


def tagged(notebook: NotebookNode, tag: str) -> list[NotebookNode]:
    """Return the cells with a tag."""
    return [cell for cell in notebook.cells if tag in cell.metadata.get("tags", [])]


def test_there_is_a_chapter() -> None:
    assert PATHS


def test_first_cell_has_title_badge_promise_and_time(path: Path, notebook: NotebookNode) -> None:
    first = notebook.cells[0]
    owner_and_name = REPOSITORY_URL.removeprefix("https://github.com/")
    place = path.relative_to(ROOT).as_posix()
    badge = f"https://colab.research.google.com/github/{owner_and_name}/blob/{BRANCH}/{place}"
    assert first.cell_type == "markdown"
    assert first.source.startswith("# ")
    assert f"]({badge})" in first.source
    image = re.search(r"\[!\[[^\]]+\]\(([^)]+)\)\]", first.source)
    assert image and (path.parent / image.group(1)).is_file(), "the badge is a file of ours"
    assert re.search(r"CPU\D*\d+", first.source), "say how long it takes on a CPU"


def test_second_cell_sets_up_colab_and_pins_nothing(notebook: NotebookNode) -> None:
    second = notebook.cells[1]
    assert second.cell_type == "code"
    assert "google.colab" in second.source
    assert f"git+{REPOSITORY_URL}" in second.source
    everything = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    assert not re.search(r"pip install[^\n]*==", everything)


def test_one_cell_holds_the_parameters(notebook: NotebookNode) -> None:
    (cell,) = tagged(notebook, "parameters")
    assert re.search(r"^scale\b.*=", cell.source, re.MULTILINE)


def test_every_exercise_has_stub_check_and_solution(path: Path, notebook: NotebookNode) -> None:
    """In this order, so that the pack of students and the grader find them."""
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    calls = [dict(pack.check_calls(cell.source)) for cell in cells]
    is_solution = ["solution" in cell.metadata.get("tags", []) for cell in cells]
    asked = [name for call, no in zip(calls, is_solution, strict=True) if not no for name in call]
    solved = [name for call, yes in zip(calls, is_solution, strict=True) if yes for name in call]
    assert asked == solved, "each exercise needs one check and one solution cell that checks itself"
    assert len(asked) == len(set(asked)) >= (2 if path.parent.name in ("inputs", "tasks") else 0)
    for cell, yes in zip(cells, is_solution, strict=True):
        assert yes == ("# @title Solution" in cell.source)
        if yes:
            assert {"solution", "hide-cell"} <= set(cell.metadata.tags)
            assert cell.metadata["jupyter"]["source_hidden"] and cell.metadata["cellView"] == "form"


def test_questions_keep_their_answers_folded(notebook: NotebookNode) -> None:
    """The answers stand in the source of the cell that asks."""
    for cell in notebook.cells:
        if cell.cell_type == "code" and cell.source.startswith("choice("):
            assert "hide-input" in cell.metadata.get("tags", [])
            assert cell.metadata["jupyter"]["source_hidden"] and cell.metadata["cellView"] == "form"


def test_chapters_on_inputs_move_sound_and_ask(path: Path, notebook: NotebookNode) -> None:
    """Two figures with sliders, one of them finer in a live kernel; two sounds; a question."""
    if path.parent.name != "inputs":
        return
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    sources = "\n".join(cell.source for cell in code)
    assert len(re.findall(r"^explore\(", sources, re.MULTILINE)) >= 2
    assert re.search(r"\blive=", sources)
    assert re.search(r"^choice\(", sources, re.MULTILINE)
    outputs = "".join(out.get("data", {}).get("text/html", "") for c in code for out in c.outputs)
    assert outputs.count("data:audio/") >= 2


def test_outputs_are_fit_to_commit(path: Path, notebook: NotebookNode) -> None:
    assert not complaints(notebook, limit_of(path))


def test_notebooks_are_light_on_average() -> None:
    sizes = {path.stem: path.stat().st_size for path in PATHS}
    assert sum(sizes.values()) / len(sizes) <= MAX_MEAN_NOTEBOOK_BYTES, sizes


def test_larger_notebooks_exist_and_say_why() -> None:
    assert set(LARGER_NOTEBOOKS) <= {path.stem for path in PATHS}
    for limit_bytes, reason in LARGER_NOTEBOOKS.values():
        assert MAX_NOTEBOOK_BYTES < limit_bytes <= 800_000 and len(reason) > 10


def test_figures_have_the_style_of_the_book(notebook: NotebookNode) -> None:
    code = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    (imports,) = [source for source in code if "import matplotlib.pyplot" in source]
    assert "plots.use_style()" in imports


def test_cells_were_run_in_order(notebook: NotebookNode) -> None:
    counts = [cell.execution_count for cell in notebook.cells if cell.cell_type == "code"]
    assert counts == list(range(1, len(counts) + 1))


def test_form_is_canonical(path: Path, notebook: NotebookNode) -> None:
    text = nbformat.writes(canonical(notebook))
    assert path.read_text(encoding="utf-8").rstrip("\n") == text.rstrip("\n"), "run make notebooks"


def test_reproducible_cells_are_marked(notebook: NotebookNode) -> None:
    marked = [cell for cell in notebook.cells if "NBVAL_CHECK_OUTPUT" in cell.source]
    assert any(cell.outputs for cell in marked)


def test_figures_have_alternative_text(notebook: NotebookNode) -> None:
    """Pictures that come as cell outputs take their text from the cell's metadata."""
    silent = [
        index
        for index, cell in enumerate(notebook.cells)
        for output in cell.get("outputs", [])
        if any(kind.startswith("image/") for kind in output.get("data", {}))
        and not cell.metadata.get("mystnb", {}).get("image", {}).get("alt")
    ]
    assert not silent, "give these cells the metadata mystnb: image: alt"


def test_a_chapter_begins_with_a_sound(notebook: NotebookNode) -> None:
    """At most ten lines of code that the book shows come before the first player or slider."""
    n_visible = 0
    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        outputs = "".join(out.get("data", {}).get("text/html", "") for out in cell.outputs)
        if not {"setup", "hide-input"} & set(cell.metadata.get("tags", [])):
            n_visible += len([line for line in cell.source.splitlines() if line.strip()])
        if "data:audio/" in outputs or "explore(" in cell.source:
            break
    else:
        pytest.fail("no sound at all")
    assert n_visible <= 10, f"{n_visible} lines of code before the first sound"


def test_tasks_print_their_scores(path: Path, notebook: NotebookNode) -> None:
    if path.parent.name == "tasks":
        assert scores(notebook), "tag the cell that prints the scores with `scores`"


def test_time_that_is_promised_is_the_time_that_was_measured(
    path: Path, notebook: NotebookNode
) -> None:
    """Compares two recorded numbers; other machines are slower, so half as much again is fine."""
    key = path.relative_to(NOTEBOOKS).with_suffix("").as_posix()
    measured = load_status()[key]["cpu"]["seconds"]
    promised = float(re.search(r"CPU\D*(\d+)", notebook.cells[0].source)[1])
    assert measured / 1.5 - 5 <= promised <= measured * 1.5 + 5, f"measured: {measured:.0f} s"


def test_the_status_page_says_what_was_recorded() -> None:
    status = load_status()
    assert STATUS_PAGE.read_text(encoding="utf-8") == status_page(status), "run make notebooks"
    assert set(chapters_in_contents()) == {
        path.relative_to(NOTEBOOKS).with_suffix("").as_posix() for path in PATHS
    }
    for key in chapters_in_contents():
        entry = status[key]
        assert entry["bytes"] > 0
        assert re.fullmatch(r"\d{4}-\d\d-\d\d", entry["cpu"]["date"])
        assert entry["cpu"]["machine"] and "torch" in entry["cpu"]["environment"]


def test_nothing_is_recorded_of_notebooks_that_are_gone() -> None:
    assert set(load_status()) <= set(chapters_in_contents())
