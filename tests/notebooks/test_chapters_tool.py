"""tools/chapters.py: canonical outputs, complaints, execution."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from tools import chapters


def code(*outputs: nbformat.NotebookNode, count: int | None = 1, tags: tuple[str, ...] = ()):
    """Return a code cell with outputs."""
    metadata = {"tags": list(tags), "execution": {"iopub.execute_input": "2020-01-01T00:00:00Z"}}
    return new_code_cell("1", execution_count=count, outputs=list(outputs), metadata=metadata)


def printed(text: str, name: str = "stdout") -> nbformat.NotebookNode:
    """Return what a cell wrote to a stream."""
    return new_output("stream", name=name, text=text)


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
    ],
)
def test_complaints_name_the_defect(cell: nbformat.NotebookNode, word: str) -> None:
    assert any(word in text for text in chapters.complaints(new_notebook(cells=[cell])))


def test_a_clean_notebook_gets_no_complaint() -> None:
    cells = [new_markdown_cell("# Title"), code(printed("shape (6, 360)"))]
    assert chapters.complaints(new_notebook(cells=cells)) == []


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
