"""Packs hold no solution; the grader marks what was written, whatever the notebook pretends."""

from __future__ import annotations

import copy
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from dl101 import cli
from dl101.errors import ConfigError, DataError
from dl101.lab import checks, grader, pack

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
EXERCISES = ["multi_pitch.1", "multi_pitch.2", "multi_pitch.3"]
CHAPTERS = [
    path.stem
    for path in sorted(pack.notebooks_folder().rglob("*.ipynb"))
    if ".ipynb_checkpoints" not in path.parts and 'check(\\"' in path.read_text(encoding="utf-8")
]


@pytest.fixture(scope="module")
def chapter() -> pack.Chapter:
    """The chapter on multi-pitch estimation."""
    return pack.load("multi_pitch")


@pytest.fixture(scope="module")
def solutions(chapter) -> dict[str, str]:
    """The source of each exercise's solution cell."""
    return {
        exercise: pack.source_of(cell)
        for cell in pack.code_cells(chapter.notebook)
        if "solution" in pack.tags(cell)
        for exercise, _ in pack.check_calls(pack.source_of(cell))
    }


def contents(path: Path) -> dict[str, str]:
    """Return the texts in a zip by name, without the folder that holds them."""
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        assert all(name.startswith(f"{path.stem}/") for name in names)
        return {name.partition("/")[2]: archive.read(name).decode() for name in names}


def notebook_of(*cells: str | tuple[str, str], **record: object) -> dict:
    """Return a notebook from sources of code cells, or (source, tag)."""
    made = []
    for index, cell in enumerate(cells):
        source, *tags = (cell,) if isinstance(cell, str) else cell
        kind = "markdown" if source.startswith("#") and "\n" not in source else "code"
        more = {"execution_count": None, "outputs": []} if kind == "code" else {}
        more |= {"cell_type": kind, "metadata": {"tags": tags}, "id": f"c{index}"}
        made.append({**more, "source": source})
    metadata = {**pack.KERNEL, "dl101": record} if record else dict(pack.KERNEL)
    return {"cells": made, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}


def chapter_of(*cells: str | tuple[str, str]) -> pack.Chapter:
    """Return a small chapter in memory."""
    notebook = notebook_of("# Small", *cells)
    return pack.Chapter("small", "notebooks/tasks/small.ipynb", notebook, {"multi_pitch.2": "f"})


# ---- what is in the packs ----


@pytest.mark.parametrize("name", CHAPTERS)
def test_student_version_holds_nothing_of_the_solutions(name, tmp_path):
    student, teacher = pack.write_packs([name], tmp_path)
    original = pack.load(name)
    notebook = json.loads(contents(student)[f"{name}.ipynb"])
    assert not [cell for cell in notebook["cells"] if "solution" in pack.tags(cell)]
    assert all(cell["outputs"] == [] for cell in pack.code_cells(notebook))
    assert set(notebook["metadata"]) == {"kernelspec", "language_info", "dl101"}
    for text in contents(student).values():
        assert pack.leaks(original.notebook, {"text": text}) == []
        assert pack.leaks(original.notebook, {"text": json.dumps(text)}) == []
    solved = json.loads(contents(teacher)[f"{name}-solutions.ipynb"])
    assert len(solved["cells"]) == len(original.notebook["cells"])
    assert pack.leaks(original.notebook, solved)  # so that the search above can find something
    rubric = contents(teacher)["rubric.md"]
    for exercise in original.answers:
        assert checks.find(exercise).title in rubric


@pytest.mark.parametrize("name", CHAPTERS)
def test_every_exercise_has_time_and_rubric(name):
    for exercise in map(checks.find, pack.load(name).answers):
        assert 5 <= exercise.minutes <= 90
        assert exercise.points >= 2 and len(exercise.rubric) >= 2, exercise.title
        assert all(len(what) > 20 for what in exercise.rubric)


def test_a_solution_that_stands_elsewhere_is_refused():
    solution = ("def f(a, b):\n    return sum(a) / len(b)\n", "solution")
    stub = "def f(a, b):\n    ...\ncheck('multi_pitch.2', f)"
    pack.student_notebook(chapter_of(stub, solution))
    with pytest.raises(DataError, match=r"return sum\(a\)"):
        pack.student_notebook(chapter_of("# Use return sum(a) / len(b) here", stub, solution))
    broken = chapter_of(stub, solution)
    broken.notebook["cells"][1]["id"] = "return sum(a) / len(b)"
    with pytest.raises(DataError, match="outside the solution cells"):
        pack.student_notebook(broken)


def test_links_lead_out_of_the_pack(chapter):
    text = "[a](../../book/data.md#cqt) [b](#here) [c](https://x.org) ![d](../pic.png)"
    assert pack.absolute_links(text, "notebooks/tasks/small.ipynb") == (
        "[a](https://github.com/dl101-mir/dl101/blob/main/book/data.md#cqt) [b](#here) "
        "[c](https://x.org) ![d](https://github.com/dl101-mir/dl101/raw/main/notebooks/pic.png)"
    )
    for version in (pack.student_notebook(chapter), pack.teacher_notebook(chapter)):
        words = "\n".join(
            pack.source_of(c) for c in version["cells"] if c["cell_type"] == "markdown"
        )
        assert "colab.research" not in words and "](.." not in words
    assert "behind a click" not in json.dumps(pack.student_notebook(chapter))


def test_students_get_seeds_that_depend_on_their_name_only(tmp_path, chapter):
    few = pack.write_packs(["multi_pitch"], tmp_path / "few", students=["Ada L.", "ben"], seed=3)
    more = pack.write_packs(["multi_pitch"], tmp_path / "more", students=["c", "ben"], seed=3)
    assert [path.name for path in few] == [
        "multi_pitch-Ada-L.zip",
        "multi_pitch-ben.zip",
        "multi_pitch-teacher.zip",
    ]
    assert few[1].read_bytes() == more[1].read_bytes()
    notebook = json.loads(contents(few[0])["multi_pitch-Ada-L.ipynb"])
    seed = pack.student_seed("Ada L.", 3)
    assert seed != pack.student_seed("Ada L.", 4) != pack.student_seed("ben", 4)
    assert notebook["metadata"]["dl101"]["seed"] == seed
    (parameters,) = [cell for cell in notebook["cells"] if "parameters" in pack.tags(cell)]
    namespace = {}
    exec(parameters["source"], namespace)
    assert namespace["seed"] == seed and namespace["scale"] == "lab"
    assert f"Ada L.,{seed},multi_pitch-Ada-L.ipynb" in contents(few[-1])["students.csv"]


def test_unusable_requests_are_explained(tmp_path):
    with pytest.raises(ConfigError, match="did you mean 'multi_pitch'"):
        pack.load("multipitch")
    with pytest.raises(ConfigError, match="is taken"):
        pack.write_packs(["multi_pitch"], tmp_path, students=["Ada!", "ada?"])
    with pytest.raises(ConfigError, match="sets no `seed`"):
        pack.student_notebook(chapter_of(("scale = 1", "parameters"), "check('a', f)"), "ada", 1)
    (tmp_path / "nobody").write_text("# a heading\n\n")
    with pytest.raises(ConfigError, match="nobody"):
        pack.read_students(tmp_path / "nobody")
    (tmp_path / "empty.ipynb").write_text(json.dumps(notebook_of("# Nothing")))
    with pytest.raises(ConfigError, match="no call of check"):
        pack.load("empty", tmp_path)
    (tmp_path / "old.ipynb").write_text('{"nbformat": 3, "worksheets": []}')
    with pytest.raises(DataError, match="nbformat 3"):
        pack.read(tmp_path / "old.ipynb")
    assert sorted(path.suffix for path in tmp_path.iterdir()) == ["", ".ipynb", ".ipynb"]


# ---- the grader ----


@pytest.fixture
def hand_in(tmp_path, chapter):
    """Return a function that grades a student's notebook after a change of its cells."""

    def graded(change=None, *, timeout_s=30.0, **options) -> grader.Report:
        notebook = copy.deepcopy(pack.student_notebook(chapter))
        if change is not None:
            change(notebook["cells"])
        path = tmp_path / "handed-in.ipynb"
        path.write_text(json.dumps(notebook), encoding="utf-8")
        return grader.grade_notebook(path, timeout_s=timeout_s, **options)

    return graded


def answer_cell(cells, exercise: str) -> int:
    """Return the index of the cell above the check of an exercise."""
    check = f'check("{exercise}"'
    return next(i for i, cell in enumerate(cells) if check in pack.source_of(cell)) - 1


def definition(solution: str) -> str:
    """Return a solution without its own check."""
    return re.sub(r"^check\(.*\)$", "", solution, flags=re.MULTILINE)


def points(report: grader.Report) -> list[int]:
    """Return the points of each exercise."""
    return [mark.points for mark in report.marks]


@pytest.mark.parametrize("name", CHAPTERS)
def test_teachers_version_gets_full_marks_and_the_stub_none(name, tmp_path):
    for path in pack.write_packs([name], tmp_path):
        with zipfile.ZipFile(path) as archive:
            archive.extractall(tmp_path)
    stub = grader.grade_notebook(tmp_path / f"{name}-student" / f"{name}.ipynb")
    assert stub.points == 0 and stub.out_of > 0
    assert {mark.message.partition(".")[0] for mark in stub.marks} == {"Not done yet"}
    solved = grader.grade_notebook(tmp_path / f"{name}-teacher" / f"{name}-solutions.ipynb")
    assert solved.points == solved.out_of == stub.out_of, solved
    assert not solved.notes and not stub.notes


def test_deleted_check_cells_do_no_harm(hand_in, solutions):
    def change(cells):
        for exercise in EXERCISES:
            index = answer_cell(cells, exercise)
            cells[index]["source"] = definition(solutions[exercise])
            del cells[index + 1]

    assert points(hand_in(change)) == [4, 4, 2]


def test_all_exercises_deleted_gives_nothing(hand_in):
    def change(cells):
        del cells[answer_cell(cells, EXERCISES[0]) :]

    report = hand_in(change)
    assert points(report) == [0, 0, 0]
    assert "No answer was found" in report.marks[0].message


def test_printed_and_replaced_verdicts_do_not_count(hand_in):
    """A fake check, a patched library and a patched judge: no exercise is passed by them."""
    tricks = (
        "print('Right. Exercise multi_pitch.1, from notes to targets')\n"
        "import numpy as np, dl101.lab.checks as c\n"
        "import dl101.chapters.multi_pitch.exercises as m\n"
        "c.grade = lambda *a: c.Verdict(True, 'fine')\n"
        "m._right_scores.__code__ = (lambda *a: None).__code__\n"
        "type(c.find('multi_pitch.2')).grade = lambda *a: 'fine'\n"
        "object.__setattr__(c.find('multi_pitch.2'), 'right', lambda *a: (1.0, 1.0, 1.0))\n"
        "np.allclose = np.array_equal = lambda *a, **k: True\n"
        "def check(*a): print('Right.')"
    )

    def change(cells):
        index = answer_cell(cells, "multi_pitch.2")
        cells[index]["source"] = "def score(reference, estimate):\n    return 1.0, 1.0, 1.0\n"
        cells.insert(index + 1, notebook_of(tricks)["cells"][0])
        del cells[3 : answer_cell(cells, "multi_pitch.1")]  # training and the like

    assert points(hand_in(change)) == [0, 0, 0]
    report = hand_in(change, whole=True)
    assert points(report) == [0, 0, 0]
    assert report.marks[1].message.startswith("Not yet")
    assert "numpy.allclose" in " ".join(report.notes)
    notes = " ".join(report.notes)
    assert "code of dl101.chapters.multi_pitch.exercises._right_scores" in notes
    assert "Function.grade" in notes
    assert "precision, recall and accuracy by hand.right" in notes


CRASHES = {
    "an exception": "1 / 0",
    "a slip of the keyboard": "def broken(:",
    "an exit": "import os; os._exit(3)",
    "leaving": "raise SystemExit",
    "no such magic": "%no_such_magic",
    "waiting for the keyboard": "input('name?')",
}


@pytest.mark.parametrize("crash", CRASHES.values(), ids=CRASHES)
def test_a_cell_that_crashes_costs_only_itself(hand_in, solutions, crash):
    """The crash stands in the answer to the second exercise, after a right first one."""

    def change(cells):
        index = answer_cell(cells, "multi_pitch.1")
        cells[index]["source"] = definition(solutions["multi_pitch.1"])
        cells[answer_cell(cells, "multi_pitch.2")]["source"] = f"score = 0\nscore.x()\n{crash}"
        cells[answer_cell(cells, "multi_pitch.3")]["source"] = definition(
            solutions["multi_pitch.3"]
        )
        del cells[3 : answer_cell(cells, "multi_pitch.1")]  # what a whole run would execute
        cells.insert(3, notebook_of("import numpy as np")["cells"][0])

    assert points(hand_in(change)) == [4, 0, 2]


def test_loops_without_end_are_left_out(hand_in, solutions):
    """One in a cell, one in an answer; what comes after is judged."""

    def change(cells):
        cells[answer_cell(cells, "multi_pitch.1")]["source"] = (
            "def notes_to_matrix(a, b, c, d, e, f):\n    while True:\n        pass"
        )
        index = answer_cell(cells, "multi_pitch.2")
        cells[index]["source"] = (
            f"{definition(solutions['multi_pitch.2'])}\nwhile score: score = score"
        )
        cells[answer_cell(cells, "multi_pitch.3")]["source"] = definition(
            solutions["multi_pitch.3"]
        )

    report = hand_in(change, timeout_s=1.5)
    assert points(report) == [0, 0, 2]
    assert "did not end within 1.5 s" in report.marks[0].message
    assert any("was left out" in note for note in report.notes)


def test_the_notebook_cannot_reach_the_network(hand_in, solutions):
    attempts = (
        "socket.create_connection(('127.0.0.1', 9))",
        "socket.socket().connect(('127.0.0.1', 9))",
        "socket.getaddrinfo('localhost', 80)",
    )
    tried = "".join(
        f"try:\n    {attempt}\nexcept OSError as error:\n    reasons.append(str(error))\n"
        for attempt in attempts
    )
    source = f"import socket\nreasons = []\n{tried}reasons.remove('the grader has no network')\n"

    def change(cells):
        index = answer_cell(cells, "multi_pitch.2")
        cells[index]["source"] = definition(solutions["multi_pitch.2"])
        wanted = "if set(reasons) != {'the grader has no network'}: del score"
        cells.insert(index + 1, notebook_of(f"{source}{wanted}")["cells"][0])
        del cells[3 : answer_cell(cells, "multi_pitch.1")]

    report = hand_in(change, whole=True)
    assert points(report) == [0, 4, 0] and not report.notes


def test_what_an_answer_needs_is_executed_and_nothing_else():
    cells = [
        "import numpy as np\nimport slow",
        "data = slow.load()\nlimit = 3",
        "table = {}\ntable['a'] = helper\nresult = slow.train(data)\nfill(table)",
        "def f(x):\n    data = x\n    return helper(x) + np.sum(x) < limit\n\n"
        "def helper(x):\n    return 1",
        "check('x.1', f)\nprint(result)",
        "@slow.timed\ndef g(): ...",
        "for (",
    ]
    assert grader.needed(cells, ["f"]) == [
        "import numpy as np\n",
        "\nlimit = 3",
        "\n\n\n",
        cells[3],
        "check('x.1', f)\n",
        "\n",
        "for (",
    ]
    assert grader.needed(cells, ["table"])[2] == "table = {}\ntable['a'] = helper\n\nfill(table)"
    assert grader.needed(cells, ["g"])[5] == cells[5]


def test_what_a_short_run_misses_is_found_by_running_the_whole_notebook(hand_in, solutions):
    """`globals()` hides from the analysis that the answer needs a name."""

    def change(cells):
        index = answer_cell(cells, "multi_pitch.2")
        hidden = definition(solutions["multi_pitch.2"]).replace("0.5", "limit()")
        cells[index]["source"] = "globals()['li' + 'mit'] = lambda: 0.5\n"
        cells.insert(index + 1, notebook_of(hidden)["cells"][0])
        del cells[3 : answer_cell(cells, "multi_pitch.1")]

    report = hand_in(change)
    assert points(report) == [0, 4, 0], [mark.message for mark in report.marks]


def test_a_changed_seed_is_noted(tmp_path, chapter):
    notebook = pack.student_notebook(chapter, "ada", 17)
    text = json.dumps(notebook).replace("seed = 17", "seed = 3")
    (tmp_path / "a.ipynb").write_text(text)
    report = grader.grade_notebook(tmp_path / "a.ipynb")
    assert report.student == "ada" and report.notes == ("seed 3 instead of 17",)
    report = grader.grade_notebook(tmp_path / "a.ipynb", seeds={"ada": "3"})
    assert report.notes == ()
    report = grader.grade_notebook(tmp_path / "a.ipynb", seeds={"ben": "3"})
    assert "not in the list" in report.notes[-1]


def test_the_chapter_is_found_without_the_packs_record(chapter, tmp_path):
    notebook = pack.student_notebook(chapter)
    path = tmp_path / "Copy of it.ipynb"
    del notebook["metadata"]["dl101"]
    assert grader._chapter_of(notebook, path) == "multi_pitch"
    notebook["cells"] = notebook["cells"][:3]
    assert grader._chapter_of(notebook, tmp_path / "multi_pitch-ada.ipynb") == "multi_pitch"


def test_marks_are_written_and_a_bad_file_does_not_stop_the_others(tmp_path, capsys, chapter):
    bad, good = tmp_path / "bad.ipynb", tmp_path / "good.ipynb"
    bad.write_text("{")
    good.write_text(json.dumps(pack.student_notebook(chapter)))
    marks = tmp_path / "marks.csv"
    assert grader.main([str(bad), str(good), "--csv", str(marks)]) == 1
    said = capsys.readouterr()
    assert "bad.ipynb: not graded" in said.err and "0 of 10 points" in said.out
    lines = marks.read_text().splitlines()
    assert len(lines) == 1 + len(EXERCISES) + 1
    assert lines[-1].endswith("all,0,10,,")


# ---- from a wheel ----


def test_packs_work_from_an_empty_folder_with_the_wheel_alone(tmp_path):
    """Build the wheel as pyproject.toml says, unpack it, and use nothing of the checkout."""
    source, site, empty = tmp_path / "source", tmp_path / "site", tmp_path / "empty"
    source.mkdir(), empty.mkdir()
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for name in ("dl101", "notebooks", "results", "checkpoints"):
        leave = shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints", "assets")
        shutil.copytree(ROOT / name, source / name, ignore=leave)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "-q", "--no-index"]
    built = [*pip, "--no-deps", "--no-build-isolation", "-w", str(tmp_path), str(source)]
    subprocess.run(built, check=True, cwd=empty, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    shipped = list((site / "dl101/notebooks").rglob("*.ipynb"))
    assert {path.name for path in shipped} == {
        path.name
        for path in (ROOT / "notebooks").rglob("*.ipynb")
        if ".ipynb_checkpoints" not in path.parts
    }
    for path in shipped:  # outputs would be most of the wheel
        notebook = pack.read(path)
        assert not any(cell["outputs"] for cell in pack.code_cells(notebook)), path.name
    environment = {k: v for k, v in os.environ.items() if not k.startswith("DL101")}
    environment |= {"PYTHONPATH": str(site)}

    def run(*words: str) -> str:
        done = subprocess.run(
            [sys.executable, *words], cwd=empty, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert str(site) in run("-c", "import dl101; print(dl101.__file__)")
    out = run("-m", "dl101.cli", "lab-pack", "multi_pitch", "--output", "packs")
    assert "multi_pitch-student.zip" in out
    for path in (empty / "packs").glob("*.zip"):
        with zipfile.ZipFile(path) as archive:
            archive.extractall(empty)
    teacher = "multi_pitch-teacher"
    script = f"{teacher}/grade.py"
    assert "10 of 10" in run(script, f"{teacher}/multi_pitch-solutions.ipynb")
    assert " 0 of 10" in run(script, "multi_pitch-student/multi_pitch.ipynb")


def test_the_command_writes_packs_for_a_list_of_students(tmp_path, capsys):
    names = tmp_path / "names.txt"
    names.write_text("ada\n\nben\n", encoding="utf-8")
    command = ["lab-pack", "multi_pitch", "--output", str(tmp_path / "packs")]
    assert cli.main([*command, "--students", str(names)]) == 0
    assert cli.main([*command, "--n-students", "2", "--seed", "5"]) == 0
    assert cli.main(["lab-pack", "multipitch", "--output", str(tmp_path)]) == 1
    assert "did you mean" in capsys.readouterr().err
    assert {path.name for path in (tmp_path / "packs").iterdir()} == {
        f"multi_pitch-{name}.zip" for name in ("ada", "ben", "student-01", "student-02", "teacher")
    }
