"""Marks handed-in notebooks offline: ``python -m dl101.lab.grader NOTEBOOK... [--csv FILE]``.

Conventions. A notebook is executed cell by cell in a Python process of its own, in an empty folder,
without network. What its cells print is thrown away; the grader's own ``check`` stands where the
chapter's was, and what it finds travels back on a channel that cells do not write to. An exercise
whose check cell is gone, or that no check accepted, is tried once more at the end: on the
expression that the chapter's own check cell names. Before each verdict, functions of dl101 and of
the numerical libraries that a cell replaced are put back.

A cell that ends the process, or does nothing new for ``timeout_s`` seconds, is left out, and the
others run again without it. To mark a class in minutes, only the statements that the exercises
depend on are executed at first; where one of them fails with an exception, the whole notebook is.

This stops mistakes and easy tricks, not somebody who sets out to deceive the grader from inside.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import csv
import json
import os
import queue
import socket
import subprocess
import symtable
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

from dl101.data.cache import replacing
from dl101.errors import ConfigError, Dl101Error
from dl101.lab import checks, pack
from dl101.lab.exercise import Exercise

TIMEOUT_S = 120.0
STARTUP_S = 180.0  # importing everything on a cold, slow disk
EXECUTE = "import sys; from dl101.lab.grader import work; work(sys.stdin)"
GUARDED = ("dl101", "numpy", "scipy", "torch")  # libraries whose functions judge


@dataclass(frozen=True)
class Mark:
    """The verdict on one exercise."""

    exercise: str
    points: int
    out_of: int
    message: str

    @property
    def passed(self) -> bool:
        """Return whether the check accepts the answer."""
        return self.points == self.out_of


@dataclass(frozen=True)
class Report:
    """What the grader found in one notebook; ``notes`` are for the teacher's eyes."""

    path: Path
    chapter: str
    student: str
    seed: str
    marks: tuple[Mark, ...]
    notes: tuple[str, ...]

    @property
    def points(self) -> int:
        """Return the sum of the points."""
        return sum(mark.points for mark in self.marks)

    @property
    def out_of(self) -> int:
        """Return the points that can be had."""
        return sum(mark.out_of for mark in self.marks)


def grade_notebook(
    path: Path | str,
    *,
    timeout_s: float = TIMEOUT_S,
    whole: bool = False,
    seeds: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> Report:
    """Execute a notebook that was handed in and judge its exercises.

    Parameters
    ----------
    path
        The notebook.
    timeout_s
        How long one cell, or the check of one answer, may take.
    whole
        Execute every cell at once, instead of first what the exercises depend on.
    seeds
        Student to the seed handed out; by default the notebook's own record is believed.
    folder
        Folder of chapters, instead of those that ship with dl101.

    Raises
    ------
    DataError
        If the file is not a notebook.
    ConfigError
        If no chapter is known to which it belongs.
    """
    path = Path(path)
    notebook = pack.read(path)
    chapter = pack.load(_chapter_of(notebook, path), folder)
    sources = [_plain(pack.source_of(cell)) for cell in pack.code_cells(notebook)]
    run = _Run(chapter.answers, timeout_s)
    if not whole:
        run.execute(needed(sources, chapter.answers.values()))
    if whole or run.is_doubtful:
        run.execute(sources)
    marks = []
    for name in chapter.answers:
        verdict = run.verdicts.get(name, checks.Verdict(False, "No answer was found.", done=False))
        points = checks.find(name).points
        message = f"{verdict.heading}. {verdict.message}"
        marks.append(Mark(name, points if verdict.passed else 0, points, message))
    record = notebook.get("metadata", {}).get("dl101", {})
    student = str(record.get("student", ""))
    expected = str((seeds or {}).get(student, record.get("seed", "")))
    seed = _seed(notebook)
    if expected and seed != expected:
        run.notes.append(f"seed {seed or 'missing'} instead of {expected}")
    if seeds is not None and student not in seeds:
        run.notes.append(f"student {student!r} is not in the list")
    notes = tuple(dict.fromkeys(run.notes + run.errors))
    return Report(path, chapter.name, student, seed, tuple(marks), notes)


def _chapter_of(notebook: pack.Notebook, path: Path) -> str:
    """Return the chapter from the pack's record, else from the checks, else from the file name."""
    if chapter := notebook.get("metadata", {}).get("dl101", {}).get("chapter"):
        return str(chapter)
    for cell in pack.code_cells(notebook):
        for exercise, _ in pack.check_calls(_plain(pack.source_of(cell))):
            return exercise.rpartition(".")[0]
    return path.stem.partition("-")[0]


def _seed(notebook: pack.Notebook) -> str:
    """Return what the parameters cell sets ``seed`` to, as text."""
    for cell in pack.code_cells(notebook):
        if found := pack.SEED.search(pack.source_of(cell)):
            return found[0].partition("=")[2].strip()
    return ""


def _plain(source: str) -> str:
    """Return a cell as plain Python: magics become calls."""
    from IPython.core.inputtransformer2 import TransformerManager

    try:
        return TransformerManager().transform_cell(source)
    except SyntaxError:
        return source


# ---- what the exercises depend on ---------------------------------------------------------------


@dataclass(frozen=True)
class _Statement:
    """A top-level statement of a cell: the lines it takes, the names it sets and reads."""

    cell: int
    lines: range
    sets: frozenset[str]
    reads: frozenset[str]


def needed(sources: Sequence[str], expressions: Sequence[str]) -> list[str]:
    """Return the cells reduced to the statements on which the checks depend.

    A statement is kept if it calls ``check``, or touches a name that the expressions or another
    kept statement read: binds it, changes an item or attribute of it, calls a method of it, or
    hands it to a function whose result is dropped. Lines keep their numbers; a cell that does not
    parse is kept as it is.

    Parameters
    ----------
    sources
        Cells in plain Python.
    expressions
        What is evaluated after the last cell.
    """
    statements: list[_Statement] = []
    broken = set()
    for index, source in enumerate(sources):
        try:
            statements += _statements(index, source)
        except SyntaxError:
            broken.add(index)
    wanted = set().union(*(_names(expression)[1] for expression in expressions))
    n_wanted = -1
    while len(wanted) > n_wanted:  # a function may read what is set only below it
        n_wanted = len(wanted)
        kept = [s for s in statements if "check" in s.reads or s.sets & wanted]
        wanted |= set().union(*(statement.reads for statement in kept))
    lines_kept: list[set[int]] = [set() for _ in sources]
    for statement in kept:
        lines_kept[statement.cell].update(statement.lines)
    return [
        source
        if index in broken
        else "\n".join(
            line if number in lines_kept[index] else ""
            for number, line in enumerate(source.split("\n"), start=1)
        )
        for index, source in enumerate(sources)
    ]


def _statements(cell: int, source: str) -> Iterator[_Statement]:
    for node in ast.parse(source).body:
        decorators = [d.lineno for d in getattr(node, "decorator_list", [])]
        lines = range(min([node.lineno, *decorators]), (node.end_lineno or node.lineno) + 1)
        sets, reads = _names(ast.unparse(node))
        yield _Statement(cell, lines, frozenset(sets | _changed(node)), frozenset(reads))


def _names(source: str) -> tuple[set[str], set[str]]:
    """Return the global names that a source binds and reads, also inside its functions."""
    sets, reads = set(), set()

    def visit(table: symtable.SymbolTable, *, is_top: bool) -> None:
        for symbol in table.get_symbols():
            if is_top or symbol.is_global():
                if symbol.is_assigned() or symbol.is_imported():
                    sets.add(symbol.get_name())
                if symbol.is_referenced():
                    reads.add(symbol.get_name())
        for child in table.get_children():
            visit(child, is_top=False)

    visit(symtable.symtable(source, "cell", "exec"), is_top=True)
    return sets, reads


def _changed(node: ast.stmt) -> set[str]:
    """Return names whose object may change: ``a[0] = 1``, ``a.b = 1``, ``a.go()``, ``go(a)``."""
    places: list[ast.AST] = []
    found: set[str] = set()
    for part in ast.walk(node):
        if isinstance(part, ast.Attribute | ast.Subscript) and isinstance(part.ctx, ast.Store):
            places.append(part)
        elif isinstance(part, ast.Expr) and isinstance(part.value, ast.Call):
            places.append(part.value.func)
            found |= {each.id for each in part.value.args if isinstance(each, ast.Name)}
    for place in places:
        while isinstance(place, ast.Attribute | ast.Subscript):
            place = place.value
            if isinstance(place, ast.Name):
                found.add(place.id)
    return found


# ---- the grader's side --------------------------------------------------------------------------


@dataclass
class _Run:
    """Executions of one notebook; what hung or ended Python once is left out from then on."""

    answers: Mapping[str, str]
    timeout_s: float
    verdicts: dict[str, checks.Verdict] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    left_out: set[int] = field(default_factory=set)
    given_up: set[str] = field(default_factory=set)
    failed: bool = False

    @property
    def is_doubtful(self) -> bool:
        """Return whether a verdict may be due to a statement that was not executed."""
        return any(
            not verdict.passed
            and verdict.done
            and (self.failed or "stopped with" in verdict.message)
            for name, verdict in self.verdicts.items()
            if name not in self.given_up
        ) or (self.failed and len(self.verdicts) < len(self.answers))

    def execute(self, sources: Sequence[str]) -> None:
        """Execute cells until all that can be has been, and every exercise was judged."""
        while not self._attempt(sources):
            pass

    def _attempt(self, sources: Sequence[str]) -> bool:
        """Return whether an execution came to its end; otherwise note what stopped it."""
        self.failed, self.errors = False, []
        request = {
            "cells": [[i, s] for i, s in enumerate(sources) if i not in self.left_out],
            "answers": {k: v for k, v in self.answers.items() if k not in self.given_up},
        }
        with tempfile.TemporaryDirectory(prefix="dl101-grader-") as folder:
            environment = os.environ | {
                "MPLBACKEND": "Agg",
                "IPYTHONDIR": folder,
                "DL101_OFFLINE": "1",
                "DL101_PROGRESS": "0",
                "PYTHONPATH": os.pathsep.join(
                    [str(Path(__file__).resolve().parents[2]), os.environ.get("PYTHONPATH", "")]
                ).rstrip(os.pathsep),
            }
            process = subprocess.Popen(
                [sys.executable, "-c", EXECUTE],
                cwd=folder,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                encoding="utf-8",
            )
            try:
                return self._follow(process, json.dumps(request))
            finally:
                process.kill()
                process.wait()
                for stream in (process.stdout, process.stderr):
                    stream.close()

    def _follow(self, process: subprocess.Popen, request: str) -> bool:
        with contextlib.suppress(BrokenPipeError):  # a Python that does not start is found below
            process.stdin.write(request)
            process.stdin.close()
        lines: queue.Queue[str | None] = queue.Queue()

        def pump() -> None:
            for line in process.stdout:
                lines.put(line)
            lines.put(None)

        threading.Thread(target=pump, daemon=True).start()
        cell, exercise, wait_s = None, None, STARTUP_S
        while True:
            try:
                line = lines.get(timeout=wait_s)
                why = "ended Python" if line is None else ""
            except queue.Empty:
                why = f"did not end within {wait_s:g} s"
            if why:
                return self._blame(why, cell, exercise, process)
            event = json.loads(line)
            wait_s = self.timeout_s
            if "cell" in event:
                cell = event["cell"]
            elif "judging" in event:
                exercise = event["judging"]
            elif "verdict" in event:
                exercise = None
                if event["verdict"]:
                    self._keep(event["exercise"], checks.Verdict(**event["verdict"]))
            elif "error" in event:
                self.failed |= event["failed"]
                self.errors.append(event["error"])
            elif "replaced" in event:
                self.notes.append(f"a cell replaced {event['replaced']}; it was put back")
            elif "end" in event:
                return True

    def _keep(self, name: str, verdict: checks.Verdict) -> None:
        """Keep the best verdict on an exercise: right, else the newest that is not of a stub."""
        old = self.verdicts.get(name)
        if (
            name in self.answers
            and not (old and old.passed)
            and (old is None or verdict.passed or verdict.done)
        ):
            self.verdicts[name] = verdict

    def _blame(
        self, why: str, cell: int | None, exercise: str | None, process: subprocess.Popen
    ) -> bool:
        if exercise is not None:
            self.given_up.add(exercise)
            self._keep(exercise, checks.Verdict(False, f"Your answer {why}."))
            if exercise in self.answers:
                return False
        if cell is None:
            process.kill()
            raise ConfigError(
                "grader",
                got=f"a Python that {why}: {process.stderr.read()[-500:]}",
                expected="a Python with dl101 that starts",
                hint=f"try {sys.executable} -c 'import dl101.lab.checks, IPython'",
            )
        self.left_out.add(cell)
        self.notes.append(f"code cell {cell + 1} {why} and was left out")
        return False


# ---- the notebook's side ------------------------------------------------------------------------


def work(stream: IO[str]) -> None:
    """Execute the cells of a request and report on the original standard output."""
    request = json.load(stream)
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nowhere, descriptor)

    def tell(**event: Any) -> None:
        channel.write(json.dumps(event) + "\n")
        channel.flush()

    from IPython.core.interactiveshell import InteractiveShell
    from traitlets.config import Config

    settings = Config()
    settings.HistoryManager.enabled = False
    shell = InteractiveShell.instance(config=settings)
    _cut_network()
    judge = _Judge(request["answers"], tell)
    for index, source in request["cells"]:
        tell(cell=index)
        result = shell.run_cell(source, store_history=False)
        error = result.error_before_exec or result.error_in_exec
        if error is not None:
            text = f"code cell {index + 1} stopped with {type(error).__name__}: {error}"
            tell(error=text[:300], failed=not isinstance(error, SyntaxError))
    for name, expression in request["answers"].items():
        judge.judge_again(name, expression, shell.ev)
    tell(end=True)


class _Judge:
    """Stands where ``check`` was: reports verdicts instead of displaying them."""

    def __init__(self, answers: Mapping[str, str], tell: Callable[..., None]) -> None:
        self.answers, self.tell = answers, tell
        self.passed: set[str] = set()
        asked = [checks.find(name) for name in answers]  # imports what the checks need
        checks.check = self.check
        modules = [
            module for key, module in list(sys.modules.items()) if key.partition(".")[0] in GUARDED
        ]
        kinds = {each for kind in map(type, asked) for each in kind.__mro__ if each is not object}
        self.guarded = [
            (owner, name, value, getattr(value, "__code__", None))
            for owner in (*modules, *kinds, *asked)
            for name, value in list(vars(owner).items())
            if callable(value)
        ]

    def check(self, exercise_id: str, answer: object) -> None:
        """Judge an answer and report the verdict; exercises of no interest are passed over."""
        if exercise_id not in self.answers:
            return
        self.tell(judging=exercise_id)
        self._put_back()
        try:
            verdict = checks.grade(exercise_id, answer)
        except Exception as error:
            verdict = checks.Verdict(False, f"The check itself failed: {error!r}.")
        if verdict.passed:
            self.passed.add(exercise_id)
        self.tell(exercise=exercise_id, verdict=asdict(verdict))

    def judge_again(
        self, exercise_id: str, expression: str, evaluate: Callable[[str], Any]
    ) -> None:
        """Judge the chapter's own expression, if no check has accepted an answer so far."""
        if exercise_id in self.passed:
            return
        self.tell(judging=exercise_id)
        try:
            answer = evaluate(expression)
        except Exception:
            self.tell(exercise=exercise_id, verdict=None)  # the cells' errors say why
        else:
            self.check(exercise_id, answer)

    def _put_back(self) -> None:
        """Undo replacements of guarded functions, and of their code."""
        for owner, name, value, code in self.guarded:
            what = f"{getattr(owner, '__name__', None) or owner.title}.{name}"
            if vars(owner).get(name) is not value:
                put = object.__setattr__ if isinstance(owner, Exercise) else setattr
                put(owner, name, value)
                self.tell(replaced=what)
            if code is not None and value.__code__ is not code:
                value.__code__ = code
                self.tell(replaced=f"the code of {what}")


def _cut_network() -> None:
    """Refuse connections of this process to other machines."""

    def refuse(*arguments: object, **named: object) -> None:
        raise OSError("the grader has no network")

    socket.create_connection = socket.getaddrinfo = refuse
    socket.socket.connect = socket.socket.connect_ex = refuse


# ---- the command --------------------------------------------------------------------------------


def main(arguments: Sequence[str] | None = None) -> int:
    """Grade notebooks from the command line and return the exit status."""
    parser = argparse.ArgumentParser(
        prog="grade", description="Execute notebooks offline and judge their exercises."
    )
    parser.add_argument("notebooks", nargs="+", type=Path, metavar="NOTEBOOK")
    parser.add_argument("--csv", type=Path, help="also write the marks to this file")
    parser.add_argument("--students", type=Path, help="students.csv of the teacher's pack")
    parser.add_argument("--timeout-s", type=float, default=TIMEOUT_S, help="for each cell")
    parser.add_argument("--whole", action="store_true", help="execute every cell from the start")
    options = parser.parse_args(arguments)
    try:
        seeds = None
        if options.students:
            with options.students.open(encoding="utf-8", newline="") as file:
                seeds = {row["student"]: row["seed"] for row in csv.DictReader(file)}
        reports, unread = [], 0
        for path in options.notebooks:
            try:
                report = grade_notebook(
                    path, timeout_s=options.timeout_s, whole=options.whole, seeds=seeds
                )
            except Dl101Error as error:  # one bad file does not stop the marking of the others
                print(f"{path}: not graded. {error}", file=sys.stderr)
                unread += 1
                continue
            _print(report)
            reports.append(report)
        if options.csv:
            _write_csv(options.csv, reports)
    except (OSError, KeyError) as error:
        print(f"grade: {error}", file=sys.stderr)
        return 1
    return 1 if unread else 0


def _print(report: Report) -> None:
    who = f"  {report.student}" if report.student else ""
    print(f"{report.path}{who}  {report.points} of {report.out_of} points", flush=True)
    for mark in report.marks:
        print(f"  {mark.exercise:20} {mark.points} of {mark.out_of}  {mark.message}")
    for note in report.notes:
        print(f"  note: {note}")


def _write_csv(path: Path, reports: Sequence[Report]) -> None:
    head = ["notebook", "student", "seed", "exercise", "points", "out of", "message", "notes"]
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(head)
        for report in reports:
            common = [report.path, report.student, report.seed]
            for mark in report.marks:
                writer.writerow(
                    [*common, mark.exercise, mark.points, mark.out_of, mark.message, ""]
                )
            notes = "; ".join(report.notes)
            writer.writerow([*common, "all", report.points, report.out_of, "", notes])


if __name__ == "__main__":
    sys.exit(main())
