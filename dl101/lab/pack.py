"""Writes the packs of a chapter: what a teacher hands out, and what the teacher keeps.

Conventions. A *chapter* is a notebook, named by its stem (``multi_pitch``); the notebooks ship with
dl101, so packs need no checkout and no network. Its exercises are the calls
``check("chapter.number", answer)`` outside the cells tagged ``solution``.

- The *student's* notebook has no solution cells, no outputs and no metadata; its links lead to the
  repository. :func:`student_notebook` refuses a notebook in which a line of a solution stands
  anywhere else.
- The *teacher's* notebook is the chapter with its solutions, and with the outputs that its file
  has: in a checkout those of the book, in an installed dl101 none.

With a list of students each gets a notebook of their own, whose parameter ``seed`` depends on the
name and on the seed of the pack alone: who joins later changes nobody's seed. Same arguments, same
bytes. The book is public, and so are its solutions: a pack does not hand them out, no more.
"""

from __future__ import annotations

import ast
import copy
import csv
import io
import json
import posixpath
import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dl101 import __version__
from dl101.data.cache import replacing
from dl101.errors import ConfigError, DataError, did_you_mean
from dl101.lab import checks
from dl101.repository import BRANCH, REPOSITORY_URL

Notebook = dict[str, Any]

KERNEL = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
SHORTEST_TELLTALE = 12  # characters; shorter lines of a solution ("return x") may stand anywhere
BADGE = re.compile(r"^\[!\[[^\]]*\]\([^)]*\)\]\([^)]*\)\n*", re.MULTILINE)
SOLUTIONS_BELOW = re.compile(r" ?Solutions are behind a click\.")
SEED = re.compile(r"^seed\s*=\s*[^#\n]*?(?=\s*(?:#|$))", re.MULTILINE)
GRADE_SCRIPT = '''"""Grade notebooks: python grade.py NOTEBOOK... (needs dl101, no network)."""

import sys

from dl101.lab.grader import main

sys.exit(main())
'''


# ---- chapters -----------------------------------------------------------------------------------


def notebooks_folder() -> Path:
    """Return the folder of the notebooks that ship with dl101: of the wheel, or of the checkout."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "notebooks"
    return installed if installed.is_dir() else package.parent / "notebooks"


@dataclass(frozen=True, eq=False)
class Chapter:
    """A chapter and its exercises.

    Attributes
    ----------
    name, place
        Stem of the notebook, and its path in the repository.
    notebook
        The content of the file (nbformat 4).
    answers
        Exercise to the expression that is checked, in the order of the notebook.
    """

    name: str
    place: str
    notebook: Notebook
    answers: Mapping[str, str]

    @property
    def title(self) -> str:
        """Return the heading of the first cell."""
        return source_of(self.notebook["cells"][0]).splitlines()[0].lstrip("# ")

    @property
    def promise(self) -> str:
        """Return what the first cell says about the time that the chapter takes."""
        lines = source_of(self.notebook["cells"][0]).splitlines()
        return next((line for line in lines if "CPU" in line), "")


def load(name: str, folder: Path | None = None) -> Chapter:
    """Return a chapter by its name.

    Raises
    ------
    ConfigError
        If there is no such chapter, or it has no exercises.
    """
    folder = folder or notebooks_folder()
    paths = {
        path.stem: path
        for path in sorted(folder.rglob("*.ipynb"))
        if ".ipynb_checkpoints" not in path.parts
    }
    if name not in paths:
        raise ConfigError(
            f"chapter {name!r}",
            got="no notebook of this name",
            expected="one of " + ", ".join(paths),
            hint=did_you_mean(name, paths),
        )
    notebook = read(paths[name])
    answers = {
        exercise: expression
        for cell in code_cells(notebook)
        if "solution" not in tags(cell)
        for exercise, expression in check_calls(source_of(cell))
    }
    if not answers:
        raise ConfigError(
            f"chapter {name!r}",
            got="no call of check(...)",
            expected="at least one exercise",
            hint="choose a chapter with exercises",
        )
    place = posixpath.join("notebooks", paths[name].relative_to(folder).as_posix())
    return Chapter(name, place, notebook, answers)


def read(path: Path) -> Notebook:
    """Return the content of a notebook file.

    Raises
    ------
    DataError
        If the file is not a notebook in nbformat 4.
    """
    try:
        notebook = json.loads(path.read_text(encoding="utf-8"))
        if notebook["nbformat"] != 4:
            raise ValueError(f"nbformat {notebook['nbformat']}")
        for cell in notebook["cells"]:
            cell["cell_type"], source_of(cell).strip()
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"notebook {path}",
            got=f"{type(error).__name__}: {error}",
            expected="a notebook (nbformat 4)",
            hint="open it in JupyterLab and save it again",
        ) from error
    return notebook


def source_of(cell: Mapping[str, Any]) -> str:
    """Return the source of a cell, which files hold as a text or as a list of lines."""
    source = cell["source"]
    return source if isinstance(source, str) else "".join(source)


def tags(cell: Mapping[str, Any]) -> list[str]:
    """Return the tags of a cell."""
    return cell.get("metadata", {}).get("tags", [])


def code_cells(notebook: Notebook) -> list[dict[str, Any]]:
    """Return the code cells of a notebook."""
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def check_calls(source: str) -> Iterator[tuple[str, str]]:
    """Yield (exercise, expression of the answer) for each ``check("...", answer)`` in a source."""
    try:
        tree = ast.parse(source)
    except SyntaxError:  # a magic, or a student's slip
        return
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Call) and len(node.args) == 2):
            continue
        name = getattr(node.func, "id", getattr(node.func, "attr", None))
        first = node.args[0]
        if name == "check" and isinstance(first, ast.Constant) and isinstance(first.value, str):
            yield first.value, ast.unparse(node.args[1])


# ---- the two versions ---------------------------------------------------------------------------


def student_notebook(chapter: Chapter, student: str = "", seed: int | None = None) -> Notebook:
    """Return the chapter without solutions and outputs.

    Parameters
    ----------
    chapter
        The chapter.
    student, seed
        For whom, and the value that the parameter ``seed`` gets; both are recorded in the metadata.

    Raises
    ------
    DataError
        If a line of a solution stands outside the solution cells.
    ConfigError
        If a seed is given and no cell tagged ``parameters`` sets ``seed``.
    """
    kept = [cell for cell in chapter.notebook["cells"] if "solution" not in tags(cell)]
    cells = []
    for cell in kept:
        source = source_of(cell)
        new: dict[str, Any] = {"cell_type": cell["cell_type"], "metadata": {}}
        if "id" in cell:
            new["id"] = cell["id"]
        if tags(cell):
            new["metadata"] = {"tags": list(tags(cell))}
        if cell["cell_type"] == "code":
            new |= {"execution_count": None, "outputs": []}
        else:
            if "attachments" in cell:
                new["attachments"] = copy.deepcopy(cell["attachments"])
            source = absolute_links(SOLUTIONS_BELOW.sub("", BADGE.sub("", source)), chapter.place)
        new["source"] = source
        cells.append(new)
    record: dict[str, Any] = {"chapter": chapter.name, "dl101": __version__}
    if seed is not None:
        _set_seed(chapter, cells, seed)
        cells[0]["source"] += f"\n\nThis copy is for **{student}**; its `seed` is {seed}."
        record |= {"student": student, "seed": seed}
    notebook = {
        "cells": cells,
        "metadata": {**KERNEL, "dl101": record},
        "nbformat": 4,
        "nbformat_minor": chapter.notebook["nbformat_minor"],
    }
    if found := leaks(chapter.notebook, notebook):
        raise DataError(
            f"student's version of {chapter.name}",
            got=f"a line of a solution outside the solution cells: {found[0]!r}",
            expected="solutions in cells tagged `solution` only",
            hint="take the line out of the text, or tag its cell",
        )
    return notebook


def _set_seed(chapter: Chapter, cells: list[dict[str, Any]], seed: int) -> None:
    for cell in cells:
        if "parameters" in tags(cell) and SEED.search(cell["source"]):
            cell["source"] = SEED.sub(f"seed = {seed}", cell["source"], count=1)
            return
    raise ConfigError(
        f"seeds for the students of {chapter.name}",
        got="a chapter whose parameters cell sets no `seed`",
        expected="a line `seed = 0` in the cell tagged `parameters`",
        hint="write this pack without students",
    )


def teacher_notebook(chapter: Chapter) -> Notebook:
    """Return the chapter with solutions and such outputs as it has, its links made absolute."""
    notebook = copy.deepcopy(chapter.notebook)
    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown":
            cell["source"] = absolute_links(BADGE.sub("", source_of(cell)), chapter.place)
    return notebook


def absolute_links(text: str, place: str) -> str:
    """Return Markdown whose relative links lead to the repository.

    Parameters
    ----------
    text
        Markdown of a notebook.
    place
        The notebook's path in the repository.
    """

    def absolute(match: re.Match) -> str:
        path, mark, anchor = match[2].partition("#")
        target = posixpath.normpath(posixpath.join(posixpath.dirname(place), path))
        kind = "raw" if match[1] == "!" else "blob"
        words = match[0].rpartition("](")[0]
        return f"{words}]({REPOSITORY_URL}/{kind}/{BRANCH}/{target}{mark}{anchor})"

    return re.sub(r"(!?)\[[^\]]*\]\((?!\w+:|#)([^)\s]+)\)", absolute, text)


def leaks(original: Notebook, version: Notebook) -> list[str]:
    """Return the lines of the original's solutions that stand anywhere in a version.

    Lines that also stand, alone, in a cell of the chapter that is no solution (the ``def`` of the
    stub, an import) give nothing away.
    """

    def lines(cell: Mapping[str, Any]) -> set[str]:
        return {line.strip() for line in source_of(cell).splitlines()}

    shown = set().union(
        *(lines(cell) for cell in code_cells(original) if "solution" not in tags(cell))
    )
    texts = list(_strings(version))
    return [
        line
        for cell in original["cells"]
        if "solution" in tags(cell)
        for line in sorted(lines(cell) - shown)
        if len(line) >= SHORTEST_TELLTALE and any(line in text for text in texts)
    ]


def _strings(value: object) -> Iterator[str]:
    """Yield every text in a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield key
            yield from _strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item)


# ---- packs --------------------------------------------------------------------------------------


def write_packs(
    names: Sequence[str],
    output: Path | str,
    *,
    students: Sequence[str] = (),
    seed: int = 0,
    folder: Path | None = None,
) -> list[Path]:
    """Write the student's pack (or one for each student) and the teacher's pack of chapters.

    Parameters
    ----------
    names
        Names of chapters.
    output
        Folder that receives the zip files; made if it is missing.
    students
        Names or numbers, each once. Without them there is one pack for all, with the book's seed.
    seed
        Seed of the students' seeds.
    folder
        Folder of notebooks, instead of those that ship with dl101.

    Returns
    -------
    list of Path
        The files written.

    Raises
    ------
    ConfigError
        If there is no such chapter, it has no exercises or no ``seed`` although there are
        students, or two students have one name.
    """
    output = Path(output)
    handles = _handles(students)
    seeds = {student: student_seed(student, seed) for student in handles}
    written = []
    for chapter in [load(name, folder) for name in names]:
        plain = student_notebook(chapter)
        packs = {
            f"{chapter.name}-{handle}": student_notebook(chapter, student, seeds[student])
            for student, handle in handles.items()
        } or {f"{chapter.name}-student": plain}
        for stem, notebook in packs.items():
            name = f"{stem if handles else chapter.name}.ipynb"
            files = {
                name: _dump(notebook),
                "README.md": _readme_student(chapter, name),
                "grade.py": GRADE_SCRIPT,
            }
            written.append(_write_zip(output / f"{stem}.zip", files))
        files = {
            f"{chapter.name}.ipynb": _dump(plain),
            f"{chapter.name}-solutions.ipynb": _dump(teacher_notebook(chapter)),
            "README.md": _readme_teacher(chapter),
            "rubric.md": _rubric(chapter),
            "grade.py": GRADE_SCRIPT,
        }
        if handles:
            files["students.csv"] = _table(
                ["student", "seed", "notebook"],
                [[s, seeds[s], f"{chapter.name}-{handle}.ipynb"] for s, handle in handles.items()],
            )
        written.append(_write_zip(output / f"{chapter.name}-teacher.zip", files))
    return written


def read_students(path: Path | str) -> list[str]:
    """Return the students of a text file: one on a line; empty lines and ``#`` lines count not.

    Raises
    ------
    ConfigError
        If the file cannot be read or names nobody.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"list of students {path}",
            got=str(error),
            expected="a text file in UTF-8",
            hint="write one name or number on each line",
        ) from error
    students = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    if not students:
        raise ConfigError(
            f"list of students {path}",
            got="nobody",
            expected="one name or number on each line",
            hint="fill the file, or leave --students out",
        )
    return students


def student_seed(student: str, seed: int) -> int:
    """Return a student's seed: it depends on the name and the seed of the pack alone."""
    rng = np.random.default_rng([seed, *student.encode()])
    return int(rng.integers(1, 2**31))


def _handles(students: Sequence[str]) -> dict[str, str]:
    """Return each student's name as a part of a file name."""
    handles: dict[str, str] = {}
    for student in students:
        handle = re.sub(r"[^\w.-]+", "-", student).strip("-.") or "student"
        taken = handle.lower() in {other.lower() for other in handles.values()}
        if taken or handle.lower() in ("student", "teacher", "solutions"):
            raise ConfigError(
                f"student {student!r}",
                got=f"the file name {handle!r}, which is taken",
                expected="names that differ in letters, digits, '_', '.' or '-'",
                hint="use student numbers",
            )
        handles[student] = handle
    return handles


def _overview(chapter: Chapter) -> tuple[str, str]:
    """Return heading and promise, and the table of the exercises."""
    exercises = {name: checks.find(name) for name in chapter.answers}
    rows = "".join(
        f"| {name} | {exercise.title} | {exercise.minutes} | {exercise.points} |\n"
        for name, exercise in exercises.items()
    )
    minutes = sum(exercise.minutes for exercise in exercises.values())
    points = sum(exercise.points for exercise in exercises.values())
    head = "".join(f"{line}\n\n" for line in (f"# {chapter.title}", chapter.promise) if line)
    return head, (
        "| exercise | title | minutes | points |\n|---|---|---|---|\n"
        f"{rows}| all | | {minutes} | {points} |\n\n"
    )


def _readme_student(chapter: Chapter, file_name: str) -> str:
    head, table = _overview(chapter)
    return (
        f"{head}You need Python with dl101 {__version__}, or Colab, where the second cell "
        "installs it. Run the notebook from top to bottom. Each exercise is a cell to fill in "
        "and a check, which says what is wrong, as often as you like; the minutes are for someone "
        f"who has read the chapter.\n\n{table}"
        "Leave the check cells in, save the notebook and hand it in under its name. "
        f"`python grade.py {file_name}` shows what the grader sees; it needs no network.\n"
    )


def _readme_teacher(chapter: Chapter) -> str:
    head, table = _overview(chapter)
    has_outputs = any(cell["outputs"] for cell in code_cells(chapter.notebook))
    return (
        f"{head}Made by dl101 {__version__}.\n\n{table}"
        f"- `{chapter.name}.ipynb`: what students get, with the book's seed.\n"
        f"- `{chapter.name}-solutions.ipynb`: the chapter with solutions"
        f"{' and outputs' if has_outputs else '; run it to get the outputs'}.\n"
        "- `rubric.md`: what each point is for, to judge by hand what the check refuses.\n"
        "- `students.csv` (if you named students): the seed that each was given.\n\n"
        "Grade with `python grade.py FOLDER/*.ipynb --csv marks.csv`. The grader needs dl101 and "
        "no network. It runs each notebook in a Python of its own and asks the checks itself: "
        "printed verdicts do not count, a deleted check cell does no harm, and a cell that "
        "crashes or never ends costs only what depends on it. `--students students.csv` also "
        "compares the seeds.\n\n"
        "A grader runs what students wrote, with your rights: use an account or a container of "
        "its own. Somebody who sets out to deceive it from inside can; and the book, with its "
        "solutions, is public. Where marks matter, ask about the code.\n"
    )


def _rubric(chapter: Chapter) -> str:
    text = f"# Rubric: {chapter.title}\n\nAn answer that the check accepts gets all points.\n"
    for name in chapter.answers:
        exercise = checks.find(name)
        text += f"\n## {name}: {exercise.title} ({exercise.minutes} minutes)\n\n"
        text += "| points | for |\n|---|---|\n"
        text += "".join(f"| {points} | {what} |\n" for what, points in exercise.rubric.items())
        text += f"| {exercise.points} | all |\n"
    return text


def _table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([head, *rows])
    return text.getvalue()


def _dump(notebook: Notebook) -> str:
    return json.dumps(notebook, ensure_ascii=False, indent=1, sort_keys=True) + "\n"


def _write_zip(path: Path, files: Mapping[str, str]) -> Path:
    """Write texts into a folder of the archive's name, always as the same bytes."""
    with replacing(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for name, text in sorted(files.items()):
            entry = zipfile.ZipInfo(f"{path.stem}/{name}")  # its date is 1980, not today
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, text)
    return path
