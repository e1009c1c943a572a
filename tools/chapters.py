"""Execute chapters, bring notebooks into canonical form, and build the book.

``python -m tools.chapters run NAME|all``
    executes chapters in a copy, builds the book with the fresh outputs, prints page, scores, times;
``python -m tools.chapters refresh NAME|all``
    executes notebooks and writes their outputs into the committed files, in canonical form;
``python -m tools.chapters book``
    builds the book from the committed outputs.

A cell tagged ``scores`` prints a chapter's scores; its text is shown again at the end of ``run``.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode
from tqdm import tqdm

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = ROOT / "notebooks"
BUILD = ROOT / "_build"
BOOK_SOURCES = ("_config.yml", "_toc.yml", "book", "notebooks", "results")
CELL_TIMEOUT_S = 1800
MAX_NOTEBOOK_BYTES = 1_200_000

PROGRESS_BAR = re.compile(r"\d{1,3}%\|.*?\|.*\d+/(\d+|\?)")
PROBLEM = re.compile(r"WARNING|ERROR|SEVERE|CRITICAL|Error:|Exception")
MEMORY_ADDRESS = re.compile(r"\bat 0x[0-9a-f]{6,}")


class ChapterError(RuntimeError):
    """A chapter that does not exist, fails, or leaves outputs that cannot be committed."""


# ------------------------------------------------------------------------------ notebooks
def find(name: str, folder: Path = NOTEBOOKS) -> list[Path]:
    """Return the notebooks called ``name`` (a stem, or ``all``) below ``folder``."""
    every = sorted(p for p in folder.rglob("*.ipynb") if ".ipynb_checkpoints" not in p.parts)
    chosen = every if name == "all" else [path for path in every if path.stem == name]
    if not chosen:
        known = ", ".join(path.stem for path in every) or "none yet"
        raise ChapterError(f"no chapter called {name!r}; there are: {known}")
    return chosen


def execute(path: Path) -> NotebookNode:
    """Return the notebook at ``path`` executed from top to bottom, in canonical form."""
    notebook = nbformat.read(path, as_version=4)
    os.environ["DL101_PROGRESS"] = "0"  # kernels inherit it: no bars inside the outputs
    n_code = sum(cell.cell_type == "code" for cell in notebook.cells)
    form = "{desc}  {n_fmt}/{total_fmt} cells, {elapsed}{postfix}"
    with tqdm(total=n_code, desc=path.stem, bar_format=form, file=sys.stdout) as bar:

        def show(cell: NotebookNode, cell_index: int) -> None:
            lines = [line for line in cell.source.splitlines() if line.strip(" #")]
            bar.set_postfix_str((lines or [""])[0].strip()[:50])

        def advance(cell: NotebookNode, cell_index: int, execute_reply: dict) -> None:
            bar.update()

        client = NotebookClient(
            notebook,
            timeout=CELL_TIMEOUT_S,
            kernel_name="python3",
            extra_arguments=["--log-level=ERROR"],
            resources={"metadata": {"path": str(path.parent)}},
            on_cell_execute=show,
            on_cell_executed=advance,
        )
        try:
            client.execute()
        except CellExecutionError as error:
            raise ChapterError(f"{path.name}: a cell failed\n{error}") from None
        bar.set_postfix_str("")
    for line in noise(notebook):
        print(f"  left out, from stderr: {line}")
    return canonical(notebook)


def canonical(notebook: NotebookNode) -> NotebookNode:
    """Return the notebook without what differs from run to run or machine to machine.

    Execution times, the interpreter's version, empty outputs and messages on stderr go; pieces of
    one stream are joined, and a line that was overwritten with carriage returns keeps its end.
    """
    notebook = nbformat.from_dict(notebook)
    notebook.metadata = nbformat.from_dict(
        {
            **{key: notebook.metadata[key] for key in ("widgets",) if key in notebook.metadata},
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        }
    )
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        cell.metadata.pop("collapsed", None)
        if cell.cell_type == "code":
            cell.outputs = list(_canonical_outputs(cell.outputs))
    return notebook


def _canonical_outputs(outputs: list[NotebookNode]) -> Iterator[NotebookNode]:
    stream = None
    for output in outputs:
        if output.output_type == "stream" and output.name == "stderr":
            continue
        if output.output_type == "stream":
            if stream is None:
                stream = output
            else:
                stream.text += output.text
            continue
        if stream is not None:
            yield from _finished(stream)
            stream = None
        output.pop("transient", None)
        yield output
    if stream is not None:
        yield from _finished(stream)


def _finished(stream: NotebookNode) -> Iterator[NotebookNode]:
    lines = [line.rstrip("\r").rsplit("\r", 1)[-1] for line in stream.text.split("\n")]
    stream.text = "\n".join(line for line in lines if not PROGRESS_BAR.search(line))
    if stream.text.strip():
        yield stream


def noise(notebook: NotebookNode) -> list[str]:
    """Return the lines that cells wrote to stderr, without progress bars."""
    return [
        line.strip()
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if output.output_type == "stream" and output.name == "stderr"
        for line in re.split(r"[\r\n]+", output.text)
        if line.strip() and not PROGRESS_BAR.search(line)
    ]


def output_texts(cell: NotebookNode) -> Iterator[str]:
    """Yield the texts (plain, HTML, Markdown, streams) among the outputs of a cell."""
    for output in cell.get("outputs", []):
        if output.output_type == "stream":
            yield output.text
        for kind, content in output.get("data", {}).items():
            if kind.startswith("text/") and isinstance(content, str):
                yield content


def complaints(notebook: NotebookNode) -> list[str]:
    """Return why the outputs of a notebook may not be committed; empty when they may."""
    private = {str(ROOT), str(Path.home()), sys.prefix, tempfile.gettempdir() + "/"} - {"/"}
    found = []
    for index, cell in enumerate(notebook.cells):
        if cell.cell_type != "code":
            continue
        place = f"cell {index}"
        if cell.source.strip() and cell.execution_count is None:
            found.append(f"{place}: was not executed")
        if any(output.output_type == "error" for output in cell.outputs):
            found.append(f"{place}: holds a traceback")
        if any(o.output_type == "stream" and o.name == "stderr" for o in cell.outputs):
            found.append(f"{place}: wrote to stderr")
        for text in output_texts(cell):
            # data URIs (sounds, images) are long base64 texts and may hold anything
            text = re.sub(r"base64,[A-Za-z0-9+/=\s]+", "base64,", text)
            found += [f"{place}: absolute path {path}" for path in private if path in text]
            if "\r" in text or PROGRESS_BAR.search(text):
                found.append(f"{place}: debris of a progress bar")
            if MEMORY_ADDRESS.search(text):
                found.append(f"{place}: a memory address, which changes from run to run")
    size = len(nbformat.writes(notebook).encode())
    if size > MAX_NOTEBOOK_BYTES:
        found.append(f"{size:,} bytes; at most {MAX_NOTEBOOK_BYTES:,}")
    return found


def scores(notebook: NotebookNode) -> str:
    """Return what the cells tagged ``scores`` printed."""
    texts = []
    for cell in notebook.cells:
        if "scores" in cell.metadata.get("tags", []):
            for output in cell.outputs:
                if output.output_type == "stream":
                    texts.append(output.text)
                elif "text/plain" in output.get("data", {}):
                    texts.append(output.data["text/plain"])
    return "\n".join(text.rstrip() for text in texts)


def write(notebook: NotebookNode, path: Path) -> None:
    """Write a notebook so that ``path`` is never half written."""
    text = nbformat.writes(notebook)
    part = path.with_name(f".{path.name}.part")
    part.write_text(text if text.endswith("\n") else text + "\n", encoding="utf-8")
    part.replace(path)


# ------------------------------------------------------------------------------ the book
def copy_sources(target: Path, root: Path = ROOT) -> None:
    """Copy what the book is built from to an empty folder ``target``."""
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    for name in BOOK_SOURCES:
        source = root / name
        if source.is_dir():
            skip = shutil.ignore_patterns(".ipynb_checkpoints", "__pycache__", "_build")
            shutil.copytree(source, target / name, ignore=skip)
        elif source.exists():
            shutil.copy2(source, target / name)


def build_book(source: Path, output: Path, *, quiet: bool = False) -> Path:
    """Build the book with warnings as errors and return the folder of its pages.

    Parameters
    ----------
    source
        Folder that holds ``_config.yml`` and ``_toc.yml``.
    output
        Folder that gets ``_build/html``.
    quiet
        Print nothing unless the build fails.
    """
    entry = "from jupyter_book.cli.main import main; main()"
    command = [sys.executable, "-c", entry, "build", str(source)]
    command += ["--path-output", str(output), "-W", "-n", "--keep-going", "--all"]
    done = subprocess.run(
        command,
        stdout=subprocess.PIPE if quiet else None,
        stderr=subprocess.STDOUT if quiet else None,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        said = [line for line in (done.stdout or "").splitlines() if re.search(PROBLEM, line)]
        raise ChapterError("\n".join(["the book does not build without warnings", *said]))
    return output / "_build" / "html"


# ------------------------------------------------------------------------------ commands
@contextmanager
def timed(times_s: dict[str, float], step: str) -> Iterator[None]:
    """Add the wall time of a step to ``times_s``."""
    start_s = time.perf_counter()
    yield
    times_s[step] = time.perf_counter() - start_s


def command_run(name: str) -> None:
    """Execute chapters in a copy and build the book with their fresh outputs."""
    times_s: dict[str, float] = {}
    printed: dict[str, str] = {}
    source = BUILD / "run" / "source"
    chapters = find(name)
    copy_sources(source)
    for path in chapters:
        with timed(times_s, f"execute {path.stem}"):
            notebook = execute(path)
        printed[path.stem] = scores(notebook)
        write(notebook, source / path.relative_to(ROOT))
    with timed(times_s, "build the book"):
        html = build_book(source, BUILD / "run")
    for chapter, text in printed.items():
        print(f"\nScores of {chapter}\n{text or '(no cell is tagged scores)'}")
    print_times(times_s)
    first = chapters[0].relative_to(ROOT).with_suffix(".html")
    page = html / (first if len(chapters) == 1 else "index.html")
    print(f"\nOpen this page: {page.as_uri()}")


def command_refresh(name: str) -> None:
    """Execute notebooks and write their outputs into the committed files."""
    times_s: dict[str, float] = {}
    for path in find(name):
        with timed(times_s, path.stem):
            notebook = execute(path)
        if problems := complaints(notebook):
            raise ChapterError(f"{path.name} was left as it was:\n" + "\n".join(problems))
        write(notebook, path)
    print_times(times_s)


def command_book() -> None:
    """Build the book from the committed outputs."""
    times_s: dict[str, float] = {}
    with timed(times_s, "build the book"):
        html = build_book(ROOT, ROOT)
    print_times(times_s)
    print(f"\nOpen this page: {(html / 'index.html').as_uri()}")


def print_times(times_s: dict[str, float]) -> None:
    """Print the wall time of each step."""
    print("\nTime")
    for step, seconds in times_s.items():
        print(f"  {step:<32}{seconds:7.1f} s")


def main() -> int:
    """Run one command; return the exit status."""
    parser = argparse.ArgumentParser(description="Execute chapters and build the book.")
    commands = parser.add_subparsers(dest="command", required=True)
    for command in ("run", "refresh"):
        commands.add_parser(command).add_argument("name", help="a chapter's name, or all")
    commands.add_parser("book")
    arguments = parser.parse_args()
    try:
        if arguments.command == "run":
            command_run(arguments.name)
        elif arguments.command == "refresh":
            command_refresh(arguments.name)
        else:
            command_book()
    except ChapterError as error:
        print(f"\nerror: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
