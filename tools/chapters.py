"""Execute chapters, bring notebooks into canonical form, and build the book.

``python -m tools.chapters run NAME|all``
    executes chapters in a copy, builds the book with the fresh outputs, prints page, scores, times;
``python -m tools.chapters refresh NAME|all``
    executes notebooks, each with an empty cache, writes their outputs into the committed files, in
    canonical form, and records time, size and environment in ``notebooks/status.json``;
``python -m tools.chapters status``
    writes the page ``book/status.md`` from that record, as ``refresh`` does;
``python -m tools.chapters book``
    builds the book from the committed outputs.

A cell tagged ``scores`` prints a chapter's scores; its text is shown again at the end of ``run``.
On a machine with a GPU, ``refresh`` records the time under ``gpu`` and leaves the notebook as it
is: the committed outputs are those of a CPU, which everybody has.
"""

from __future__ import annotations

import argparse
import datetime as dt
import itertools
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from html.parser import HTMLParser
from importlib.metadata import version
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode
from tqdm import tqdm

from dl101.lab.kit import CALL

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = ROOT / "notebooks"
BUILD = ROOT / "_build"
BOOK_SOURCES = ("_config.yml", "_toc.yml", "book", "notebooks", "results")
CELL_TIMEOUT_S = 1800
MAX_NOTEBOOK_BYTES = 600_000
# notebook to its own limit and the reason: {"separation": (700_000, "plays four stems of a song")}
LARGER_NOTEBOOKS: dict[str, tuple[int, str]] = {
    "judging": (700_000, "three listening tests carry their sounds"),
}
MAX_MEAN_NOTEBOOK_BYTES = 500_000
MAX_FIGURE_BYTES = 150_000  # one interactive figure with its sounds
STATUS = NOTEBOOKS / "status.json"
STATUS_PAGE = ROOT / "book" / "status.md"

PROGRESS_BAR = re.compile(r"\d{1,3}%\|.*?\|.*\d+/(\d+|\?)")
PROBLEM = re.compile(r"WARNING|ERROR|SEVERE|CRITICAL|Error:|Exception")
EXPLORE = 'class="dl101 dl101-kit dl101-explore"'  # of the figures that dl101.lab.explore makes
# what every output of dl101.lab brings along and a page needs once
SHARED = re.compile(
    r"<style>(?:(?!</style>).)*dl101.*?</style>|<script>(?:(?!</script>).)*dl101Kit.*?</script>",
    re.DOTALL,
)
COMPARED = "# NBVAL_CHECK_OUTPUT"  # cells whose output is compared with a new one, verbatim
MEMORY_ADDRESS = re.compile(r"\bat 0x[0-9a-f]{6,}")
WARNING = re.compile(
    r"^\S*:\d+: \w*Warning: |^\w*Warning: |^(WARNING|ERROR|CRITICAL)\b", re.MULTILINE
)
SOMEONES_FOLDER = re.compile(
    r"(?<![\w.:/-])(?:/(?:home|Users|root|tmp)\b/\w|[A-Z]:\\\w)[^\s\"'<)]*"
)
DATA_URI = re.compile(r"base64,[A-Za-z0-9+/=\s]+")  # long texts that may hold anything


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
    one stream are joined, and a line that was overwritten with carriage returns keeps its end. The
    style and the script of the lab kit stay in the first output that brings them.
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
    _share(notebook)
    return notebook


def _share(notebook: NotebookNode) -> None:
    """Leave the kit's style and script out of every output but the first that brings them."""
    seen: set[str] = set()
    for cell in notebook.cells:
        if COMPARED in cell.source:
            continue
        for output in cell.get("outputs", []):
            if "text/html" in output.get("data", {}):
                output.data["text/html"] = share(output.data["text/html"], seen)


def share(html: str, seen: set[str]) -> str:
    """Return HTML without such style and script of the kit as were seen; add the others to them."""

    def once(match: re.Match) -> str:
        part = match[0]
        if part not in seen:
            seen.add(part)
            return part
        return CALL if part.startswith("<script") else ""

    return SHARED.sub(once, html)


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


def complaints(notebook: NotebookNode, limit_bytes: int = MAX_NOTEBOOK_BYTES) -> list[str]:
    """Return why a notebook may not be committed; empty when it may."""
    private = {str(ROOT), str(Path.home()), sys.prefix, tempfile.gettempdir() + "/"} - {"/"}
    found = []
    for index, cell in enumerate(notebook.cells):
        place = f"cell {index}"
        for path in _paths(cell.source, private):
            found.append(f"{place}: absolute path {path} in the source")
        if cell.cell_type != "code":
            continue
        if cell.source.strip() and cell.execution_count is None:
            found.append(f"{place}: was not executed")
        if any(output.output_type == "error" for output in cell.outputs):
            found.append(f"{place}: holds a traceback")
        if any(o.output_type == "stream" and o.name == "stderr" for o in cell.outputs):
            found.append(f"{place}: wrote to stderr")
        for text in output_texts(cell):
            text = DATA_URI.sub("base64,", text)
            found += [f"{place}: absolute path {path}" for path in _paths(text, private)]
            if "\r" in text or PROGRESS_BAR.search(text):
                found.append(f"{place}: debris of a progress bar")
            if MEMORY_ADDRESS.search(text):
                found.append(f"{place}: a memory address, which changes from run to run")
            if warning := WARNING.search(text):
                found.append(f"{place}: a warning: {warning[0]}")
        for output in cell.outputs:
            found += [f"{place}: {text}" for text in _figure_complaints(output)]
    found += _heading_complaints(notebook)
    size = len(nbformat.writes(notebook).encode())
    if size > limit_bytes:
        found.append(f"{size:,} bytes; at most {limit_bytes:,}")
    return found


def limit_of(path: Path) -> int:
    """Return how many bytes a notebook may have."""
    return LARGER_NOTEBOOKS.get(path.stem, (MAX_NOTEBOOK_BYTES, ""))[0]


def _paths(text: str, private: set[str]) -> list[str]:
    """Return the absolute paths in a text: of this machine, or that look like somebody's."""
    return [path for path in sorted(private) if path in text] + [
        match[0] for match in SOMEONES_FOLDER.finditer(text)
    ]


class _Output(HTMLParser):
    """What is wrong with the pictures, figures and tables of one HTML output."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.uncaptioned: list[str] = []
        self.in_caption = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        if tag == "img" and not values.get("alt", "").strip():
            self.found.append("a picture without alternative text")
        if tag == "img" and "figure" not in self.uncaptioned:
            self.found.append("a picture outside a figure with a caption")
        if tag in ("figure", "table"):
            self.uncaptioned.append(tag)
        self.in_caption |= tag in ("figcaption", "caption")
        for name in ("src", "srcset", "data", "poster"):
            if values.get(name) and not values[name].startswith(("data:", "#")):
                self.found.append(f"loads {values[name][:60]}: put it into the page")

    def handle_data(self, data: str) -> None:
        if self.in_caption and data.strip() and self.uncaptioned:
            self.uncaptioned[-1] = ""

    def handle_endtag(self, tag: str) -> None:
        if tag in ("figcaption", "caption"):
            self.in_caption = False
        if tag in ("figure", "table") and self.uncaptioned and self.uncaptioned.pop():
            self.found.append(f"a {tag} without caption")


def _figure_complaints(output: NotebookNode) -> Iterator[str]:
    html = output.get("data", {}).get("text/html", "")
    if not html:
        return
    parser = _Output()
    parser.feed(html)
    yield from dict.fromkeys(parser.found)
    if EXPLORE in html:
        if len(html.encode()) > MAX_FIGURE_BYTES:
            yield f"an interactive figure of {len(html.encode()):,} bytes"
        if "<img" not in html.partition("<script")[0]:
            yield "an interactive figure that shows nothing without scripts"


def _heading_complaints(notebook: NotebookNode) -> Iterator[str]:
    texts = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
    text = re.sub(r"^(```|~~~).*?^\1", "", "\n\n".join(texts), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^(#{1,6}) +(.+)$", text, re.MULTILINE)
    if (n_titles := sum(marks == "#" for marks, _ in headings)) != 1:
        yield f"{n_titles} headings of level 1"
    for (above, _), (marks, words) in itertools.pairwise(headings):
        if len(marks) > len(above) + 1:
            yield f"heading skips a level: {words}"


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


# ------------------------------------------------------------------------------ status
def measure(seconds: float) -> dict[str, object]:
    """Return what is recorded about one execution of a notebook."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    environment = f"Python {platform.python_version()}, torch {version('torch')}"
    return {
        "seconds": round(seconds, 1),
        "date": dt.datetime.now(dt.UTC).strftime("%Y-%m-%d"),
        "machine": gpu_name() or f"{platform.machine()}, {cores} cores",
        "environment": environment,
    }


def gpu_name() -> str | None:
    """Return the name of the GPU that notebooks would use, or None."""
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else None


def load_status() -> dict[str, dict]:
    """Return the record of each notebook, by its path below ``notebooks`` without suffix."""
    return json.loads(STATUS.read_text(encoding="utf-8")) if STATUS.exists() else {}


def record_status(key: str, device: str, measured: dict[str, object], n_bytes: int) -> None:
    """Write one measurement into the record and the page."""
    status = load_status()
    status[key] = {**status.get(key, {}), "bytes": n_bytes, device: measured}
    STATUS.write_text(json.dumps(status, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    STATUS_PAGE.write_text(status_page(status), encoding="utf-8")


def status_page(status: dict[str, dict]) -> str:
    """Return the page on the state of the chapters: one row for each notebook in the contents."""
    rows, where = "", []
    for key in chapters_in_contents():
        entry = status.get(key, {})
        measured = [entry[device] for device in ("cpu", "gpu") if device in entry]
        places = [f"{each['machine']}; {each['environment']}" for each in measured]
        where += [place for place in dict.fromkeys(places) if place not in where]
        cells = [
            f"[](../notebooks/{key}.ipynb)",
            _time(entry.get("cpu")),
            _time(entry.get("gpu")),
            f"{entry['bytes'] / 1000:.0f}" if "bytes" in entry else "–",
            ", ".join(dict.fromkeys(each["date"] for each in measured)) or "–",
            ", ".join(str(where.index(place) + 1) for place in places) or "–",
        ]
        rows += f"| {' | '.join(cells)} |\n"
    listed = "".join(f"{number}. {place}\n" for number, place in enumerate(where, start=1))
    return (
        "# Status of the chapters\n\n"
        "Each chapter was executed from top to bottom at lab scale, with an empty cache, when its "
        "outputs were made. The time includes starting Python and rendering the data; a dash means "
        "that it was not measured. `make notebooks` writes this page.\n\n"
        "| chapter | CPU (s) | GPU (s) | size (kB) | date | measured on |\n"
        f"|---|--:|--:|--:|---|---|\n{rows}\n"
        f"Measured on:\n\n{listed}"
    )


def _time(measured: dict | None) -> str:
    return f"{measured['seconds']:.0f}" if measured else "–"


def chapters_in_contents(root: Path = ROOT) -> list[str]:
    """Return the notebooks named in _toc.yml, below ``notebooks``, in reading order."""
    text = (root / "_toc.yml").read_text(encoding="utf-8")
    return re.findall(r"^\s*- file: notebooks/(\S+?)(?:\.ipynb)?\s*$", text, re.MULTILINE)


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
    """Execute notebooks; write outputs into the committed files, and time and size on record."""
    times_s: dict[str, float] = {}
    device = "gpu" if gpu_name() else "cpu"
    for path in find(name):
        with empty_cache(), timed(times_s, path.stem):
            notebook = execute(path)
        if problems := complaints(notebook, limit_of(path)):
            raise ChapterError(f"{path.name} was left as it was:\n" + "\n".join(problems))
        if device == "cpu":
            write(notebook, path)
        key = path.relative_to(NOTEBOOKS).with_suffix("").as_posix()
        record_status(key, device, measure(times_s[path.stem]), path.stat().st_size)
    print_times(times_s)


@contextmanager
def empty_cache() -> Iterator[None]:
    """Give the kernels an empty cache: what is timed is what a new reader waits for."""
    kept = os.environ.get("DL101_CACHE")
    with tempfile.TemporaryDirectory(prefix="dl101-cache-") as folder:
        os.environ["DL101_CACHE"] = folder
        try:
            yield
        finally:
            del os.environ["DL101_CACHE"]
            if kept is not None:
                os.environ["DL101_CACHE"] = kept


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
    commands.add_parser("status")
    arguments = parser.parse_args()
    try:
        if arguments.command == "run":
            command_run(arguments.name)
        elif arguments.command == "refresh":
            command_refresh(arguments.name)
        elif arguments.command == "status":
            STATUS_PAGE.write_text(status_page(load_status()), encoding="utf-8")
        else:
            command_book()
    except ChapterError as error:
        print(f"\nerror: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
