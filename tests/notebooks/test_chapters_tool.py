"""tools/chapters.py: canonical outputs, complaints, execution."""

from __future__ import annotations

import json
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from dl101.lab.kit import CALL
from dl101.lab.quiz import form
from tools import chapters


def code(*outputs: nbformat.NotebookNode, count: int | None = 1, tags: tuple[str, ...] = ()):
    """Return a code cell with outputs."""
    metadata = {"tags": list(tags), "execution": {"iopub.execute_input": "2020-01-01T00:00:00Z"}}
    return new_code_cell("1", execution_count=count, outputs=list(outputs), metadata=metadata)


def printed(text: str, name: str = "stdout") -> nbformat.NotebookNode:
    """Return what a cell wrote to a stream."""
    return new_output("stream", name=name, text=text)


HOME = "/home"  # nobody's folder is spelt out here, as tests/test_repository.py asks
PICTURE = '<img alt="A line that rises." src="data:image/png;base64,AA">'


def html(text: str) -> nbformat.NotebookNode:
    """Return a cell that displays HTML."""
    return code(new_output("display_data", data={"text/html": text}))


EXPLORE = f"<i {chapters.EXPLORE}></i>"


def captioned(picture: str) -> str:
    """Return a figure with a caption."""
    return f"<figure>{picture}<figcaption>A line.</figcaption></figure>"


def test_canonical_form_leaves_out_what_changes() -> None:
    bar = "train:  50%|#####     | 5/10 [00:01<00:01, 4.9it/s]"
    cell = code(printed("a\n"), printed("warned", "stderr"), printed(f"old\rnew\n{bar}\rb\n{bar}"))
    notebook = new_notebook(
        cells=[cell], metadata={"language_info": {"name": "python", "version": "3.11.7"}}
    )
    result = chapters.canonical(notebook)
    assert [output.text for output in result.cells[0].outputs] == ["a\nnew\nb"]
    assert "execution" not in result.cells[0].metadata
    assert result.metadata.language_info == {"name": "python"}
    assert notebook.cells[0].outputs[0].text == "a\n", "the argument stays as it was"
    assert chapters.canonical(result) == result


def test_canonical_form_keeps_the_order_of_outputs() -> None:
    shown = new_output("display_data", data={"text/plain": "figure"})
    cell = code(printed("before\n"), shown, printed("after\n"))
    outputs = chapters.canonical(new_notebook(cells=[cell])).cells[0].outputs
    assert [output.output_type for output in outputs] == ["stream", "display_data", "stream"]


def kit_outputs() -> list[str]:
    """Return the HTML of three questions: each brings the style and the script."""
    answers = {"8": "That is the number of bits.", "16": "Yes."}
    return [form(f"Question {n}?", answers, right="8").html for n in range(3)]


def test_style_and_script_stay_in_the_first_output() -> None:
    outputs = kit_outputs()
    compared = code(*html(outputs[0]).outputs)
    compared.source = "# NBVAL_CHECK_OUTPUT"
    notebook = new_notebook(cells=[compared, *map(html, outputs)])
    result = chapters.canonical(notebook)
    verbatim, first, *others = (cell.outputs[0].data["text/html"] for cell in result.cells)
    assert verbatim == first == outputs[0], "what nbval compares is what a kernel displays"
    for n, other in enumerate(others, start=1):
        assert f"Question {n}?" in other and "<style" not in other
        assert other.count("<script") == 1 and other.endswith(CALL)
    assert chapters.canonical(result) == result
    assert [cell.outputs[0].data["text/html"] for cell in notebook.cells[1:]] == outputs


@pytest.mark.parametrize(
    ("cell", "word"),
    [
        (code(count=None), "not executed"),
        (code(new_output("error", ename="E", evalue="", traceback=[])), "traceback"),
        (code(printed("careful", "stderr")), "stderr"),
        (code(printed(f"{chapters.ROOT}/data")), "absolute path"),
        (code(new_output("display_data", data={"text/html": str(Path.home())})), "absolute path"),
        (code(printed("10%|#  | 1/10 [00:01]")), "progress bar"),
        (code(printed("<object at 0x7f00aa11bb22>")), "memory address"),
        (code(printed("x" * chapters.MAX_NOTEBOOK_BYTES)), "bytes"),
        (code(printed(f"{HOME}/ada/music/a.wav")), f"absolute path {HOME}/ada"),
        (code(printed("D:\\music\\ada")), "absolute path D:"),
        (code(printed("a.py:12: UserWarning: careful\n")), "a warning"),
        (code(printed("WARNING: careful\n")), "a warning"),
        (html(f"<figure>{PICTURE}</figure>"), "a figure without caption"),
        (html(f"<figure>{PICTURE}<figcaption> </figcaption></figure>"), "without caption"),
        (html("<table><tr><td>1</td></tr></table>"), "a table without caption"),
        (html(PICTURE), "outside a figure"),
        (html(captioned('<img src="data:image/png;base64,AA">')), "without alternative text"),
        (html(captioned('<img alt="a" src="https://x.org/a.png">')), "loads https://x.org"),
        (html('<script src="a.js"></script>'), "loads a.js"),
        (
            html(captioned(f"{PICTURE}{EXPLORE}{'x' * chapters.MAX_FIGURE_BYTES}")),
            "interactive figure",
        ),
        (html(f"{EXPLORE}<script>1</script>"), "shows nothing"),
        (new_markdown_cell("### Two steps down"), "skips a level"),
        (new_markdown_cell("# Another title"), "2 headings of level 1"),
        (new_markdown_cell(f"See {HOME}/ada"), "in the source"),
    ],
)
def test_complaints_name_the_defect(cell: nbformat.NotebookNode, word: str) -> None:
    cells = [new_markdown_cell("# Title"), cell]
    assert any(word in text for text in chapters.complaints(new_notebook(cells=cells)))


def test_interactive_figures_are_known_by_what_explore_writes() -> None:
    written = (chapters.ROOT / "dl101/lab/explore.py").read_text(encoding="utf-8")
    assert chapters.EXPLORE in written


def test_a_clean_notebook_gets_no_complaint() -> None:
    table = "<table><caption>One.</caption><tr><td>1</td></tr></table>"
    cells = [
        new_markdown_cell("# Title\n\n## A\n\n```python\n# a comment\n```\n\n### B\n\n## C"),
        code(printed("shape (6, 360), 3/4 of https://x.org/home/a and Warnings: none")),
        html(captioned(PICTURE) + table),
    ]
    assert chapters.complaints(new_notebook(cells=cells)) == []


def test_a_notebook_may_be_larger_for_a_reason(monkeypatch) -> None:
    cells = [new_markdown_cell("# Title"), code(printed("x" * chapters.MAX_NOTEBOOK_BYTES))]
    notebook = new_notebook(cells=cells)
    limit = chapters.limit_of(Path("tasks/long.ipynb"))
    assert any("bytes" in text for text in chapters.complaints(notebook, limit))
    monkeypatch.setitem(chapters.LARGER_NOTEBOOKS, "long", (700_000, "plays a symphony"))
    assert not chapters.complaints(notebook, chapters.limit_of(Path("tasks/long.ipynb")))


def test_scores_are_what_the_tagged_cells_print() -> None:
    cells = [code(printed("other")), code(printed("accuracy 0.71\n"), tags=("scores",))]
    assert chapters.scores(new_notebook(cells=cells)) == "accuracy 0.71"


def test_an_unknown_chapter_is_named_with_the_known_ones(tmp_path: Path) -> None:
    (tmp_path / "tasks").mkdir()
    chapters.write(new_notebook(), tmp_path / "tasks" / "beats.ipynb")
    with pytest.raises(chapters.ChapterError, match=r"'beat'.*there are: beats"):
        chapters.find("beat", tmp_path)
    assert [path.stem for path in chapters.find("all", tmp_path)] == ["beats"]


@pytest.mark.notebook
def test_execute_runs_in_the_notebooks_folder_and_reports_failure(tmp_path: Path) -> None:
    path = tmp_path / "small.ipynb"
    cells = [new_code_cell("from pathlib import Path\nprint(Path('here').read_text())")]
    chapters.write(new_notebook(cells=cells), path)
    with pytest.raises(chapters.ChapterError, match="FileNotFoundError"):
        chapters.execute(path)
    (tmp_path / "here").write_text("found")
    result = chapters.execute(path)
    assert [output.text.strip() for output in result.cells[0].outputs] == ["found"]


@pytest.mark.notebook
def test_refresh_records_time_and_size_and_writes_the_page(tmp_path: Path, monkeypatch) -> None:
    """With an empty cache, and without touching the notebook when a GPU ran it."""
    path = tmp_path / "notebooks" / "tasks" / "beats.ipynb"
    path.parent.mkdir(parents=True)
    (tmp_path / "book").mkdir()
    (tmp_path / "_toc.yml").write_text("chapters:\n  - file: notebooks/tasks/beats\n")
    source = "import os\nprint(os.listdir(os.environ['DL101_CACHE']))"
    chapters.write(new_notebook(cells=[new_markdown_cell("# Beats"), new_code_cell(source)]), path)
    monkeypatch.setattr(chapters, "ROOT", tmp_path)
    monkeypatch.setattr(chapters, "NOTEBOOKS", tmp_path / "notebooks")
    monkeypatch.setattr(chapters, "STATUS", tmp_path / "notebooks" / "status.json")
    monkeypatch.setattr(chapters, "STATUS_PAGE", tmp_path / "book" / "status.md")
    monkeypatch.setattr(chapters, "find", lambda name: [path])
    monkeypatch.setattr(chapters, "chapters_in_contents", lambda: ["tasks/beats", "tasks/new"])
    monkeypatch.setattr(chapters, "gpu_name", lambda: None)
    before = path.read_bytes()
    chapters.command_refresh("beats")
    on_cpu = path.read_bytes()
    assert on_cpu != before
    assert nbformat.read(path, 4).cells[1].outputs[0].text.strip() == "[]"
    monkeypatch.setattr(chapters, "gpu_name", lambda: "A GPU")
    monkeypatch.setattr(
        chapters, "canonical", lambda notebook: new_notebook(cells=[new_markdown_cell("# Other")])
    )
    chapters.command_refresh("beats")
    assert path.read_bytes() == on_cpu
    status = json.loads(chapters.STATUS.read_text())
    entry = status["tasks/beats"]
    assert entry["bytes"] == len(on_cpu) and 0 < entry["cpu"]["seconds"] < 600
    assert entry["gpu"]["machine"] == "A GPU"
    page = chapters.STATUS_PAGE.read_text()
    assert page == chapters.status_page(status)
    row = next(line for line in page.splitlines() if "beats" in line)
    assert row.endswith(f"| {entry['cpu']['date']} | 1, 2 |")
    assert f"1. {entry['cpu']['machine']}; Python" in page and "2. A GPU; Python" in page
    assert "| [](../notebooks/tasks/new.ipynb) | – | – | – | – | – |" in page
