"""Promises about the repository as a whole: size, address, version, safety, offline book."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

import dl101
from dl101.repository import BRANCH, REPOSITORY_URL
from tools import vendor_web_assets

ROOT = Path(__file__).resolve().parents[1]
MEBIBYTE = 2**20
SKIPPED = {".git", ".venv", "_build", "build", "dist", "__pycache__", ".pytest_cache"}
SKIPPED |= {".ruff_cache", ".ipynb_checkpoints", ".make", "runs"}


def tracked_files() -> list[Path]:
    """Return the files that belong to the repository (by git, or by the folders to leave out)."""
    if shutil.which("git") and (ROOT / ".git").exists():
        command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        paths = [ROOT / name for name in listed.stdout.split("\0") if name]
    else:
        paths = [p for p in ROOT.rglob("*") if not SKIPPED & set(p.relative_to(ROOT).parts)]
    return [path for path in paths if path.is_file()]


FILES = tracked_files()
TEXT_SUFFIXES = {".py", ".md", ".yml", ".yaml", ".toml", ".txt", ".cff", ".css", ".bib", ".json"}
LIBRARY = sorted((ROOT / "dl101").rglob("*.py"))


def test_the_tree_stays_small() -> None:
    size = sum(path.stat().st_size for path in FILES) / MEBIBYTE
    largest = sorted(FILES, key=lambda path: path.stat().st_size, reverse=True)[:5]
    names = ", ".join(str(path.relative_to(ROOT)) for path in largest)
    assert size < 60, f"{size:.1f} MiB; the limit is 60 MiB. Largest: {names}"


def test_no_file_names_a_place_on_somebodys_machine() -> None:
    private = re.compile(r"(?<![\w.])/(?:home/\w+|Users/\w+|root/|work/)|[A-Z]:\\Users")
    vendored = ROOT / "book" / "_static" / "vendor"
    wrong = []
    for path in FILES:
        own = path == Path(__file__).resolve() or path.is_relative_to(vendored)
        if path.suffix not in TEXT_SUFFIXES | {".ipynb"} or own:
            continue
        text = re.sub(r"base64,[A-Za-z0-9+/=]+", "", path.read_text(encoding="utf-8"))
        text = re.sub(r'"(image|audio)/[\w+-]+": "[A-Za-z0-9+/=\\n]+"', "", text)
        wrong += [f"{path.relative_to(ROOT)}: {match}" for match in private.findall(text)]
    assert not wrong


def test_the_address_is_the_same_everywhere() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    book = yaml.safe_load((ROOT / "_config.yml").read_text())
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert project["urls"]["Repository"] == REPOSITORY_URL
    assert book["repository"] == {"url": REPOSITORY_URL, "branch": BRANCH}
    assert citation["repository-code"] == REPOSITORY_URL


def test_links_to_the_repository_follow_the_address() -> None:
    """Any link that looks like ours (its name in the address) is below the one address."""
    owner_and_name = REPOSITORY_URL.removeprefix("https://github.com/")
    name = owner_and_name.rpartition("/")[2]
    link = re.compile(rf"github(?:\.com)?/([\w.-]+/{name})\b")
    wrong = {
        f"{path.relative_to(ROOT)}: {found}"
        for path in FILES
        if path.suffix in TEXT_SUFFIXES | {".ipynb"}
        for found in link.findall(path.read_text(encoding="utf-8"))
        if found.removesuffix(".git") != owner_and_name
    }
    assert not wrong


def test_the_version_is_the_same_everywhere() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["project"]["dynamic"] == ["version"]
    assert project["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "dl101.__version__"}
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert str(citation["version"]) == dl101.__version__
    newest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest and newest.group(1) == dl101.__version__


def test_every_dependency_is_pinned_inside_its_range() -> None:
    packaging = pytest.importorskip("packaging.requirements")
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    pins = dict(
        line.lower().replace("_", "-").split("==")
        for line in lines
        if line.strip() and not line.startswith("#")
    )
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = project["optional-dependencies"].items()
    # the public networks of `make peers` are in no environment that tests run in
    extras = [text for name, texts in named if name != "peers" for text in texts]
    for text in project["dependencies"] + extras:
        requirement = packaging.Requirement(text)
        pin = pins[requirement.name.lower().replace("_", "-")]
        assert requirement.specifier.contains(pin), f"{text} does not admit {pin}"


def _calls(path: Path) -> list[tuple[str, ast.Call]]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return [(ast.unparse(n.func), n) for n in ast.walk(tree) if isinstance(n, ast.Call)]


@pytest.mark.parametrize("path", LIBRARY, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_unsafe_is_loaded(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = {alias.name for n in ast.walk(tree) if isinstance(n, ast.Import) for alias in n.names}
    names |= {n.module or "" for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
    assert not {name.split(".")[0] for name in names} & {"pickle", "dill", "shelve"}
    # joblib.load unpickles; sharing out work is all that we need of joblib
    from_joblib = {
        alias.name
        for n in ast.walk(tree)
        if isinstance(n, ast.ImportFrom) and (n.module or "").split(".")[0] == "joblib"
        for alias in n.names
    }
    modules = [m.names for m in ast.walk(tree) if isinstance(m, ast.Import)]
    assert "joblib" not in {alias.name for aliases in modules for alias in aliases}
    assert from_joblib <= {"Parallel", "delayed", "parallel_config"}
    for function, call in _calls(path):
        options = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
        if function.endswith("yaml.load") or function.endswith("yaml.load_all"):
            loader = options.get("Loader", ast.unparse(call.args[1]) if call.args[1:] else "")
            # a subclass of the safe loader, such as one that refuses duplicate keys, is safe too
            assert "Safe" in loader or _is_safe_loader(tree, loader), f"{function} at {call.lineno}"
        assert "unsafe_load" not in function and "full_load" not in function
        if function == "torch.load":
            assert options.get("weights_only") == "True", f"torch.load at line {call.lineno}"
        if function in ("np.load", "numpy.load"):
            assert options.get("allow_pickle", "False") == "False", f"line {call.lineno}"
        assert function not in ("eval", "exec"), f"{function} at line {call.lineno}"


def _is_safe_loader(tree: ast.Module, name: str) -> bool:
    """Return whether a class of this file derives from PyYAML's safe loader."""
    return any(
        isinstance(node, ast.ClassDef)
        and node.name == name
        and any("SafeLoader" in ast.unparse(base) for base in node.bases)
        for node in ast.walk(tree)
    )


def test_the_vendored_scripts_are_the_recorded_ones() -> None:
    assert not vendor_web_assets.problems()
    for folder in vendor_web_assets.PACKAGES:
        assert (vendor_web_assets.VENDOR / folder / "LICENSE").is_file()


def test_readme_starts_with_the_two_commands() -> None:
    readme = (ROOT / "README.md").read_text()
    head = readme.split("\n## ", 1)[0]
    assert "make run" in head and "make test" in head
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert set(re.findall(r"make ([a-z]+)\b", readme)) <= set(targets)


def test_wheel_lists_every_package() -> None:
    """A folder that is not listed would be missing from the wheel, and only there."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    listed = set(project["tool"]["setuptools"]["packages"])
    found = {
        ".".join(path.parent.relative_to(ROOT).parts)
        for path in (ROOT / "dl101").rglob("__init__.py")
    }
    assert listed == found | {"dl101.notebooks", "dl101.results", "dl101.checkpoints"}


def test_what_ships_is_small() -> None:
    """The bank, the scores and the recipes stay under 15 MB, the installed library under 20."""
    embedded = [
        p for p in (ROOT / "dl101/data/embedded").rglob("*") if "__pycache__" not in p.parts
    ]
    assert sum(path.stat().st_size for path in embedded if path.is_file()) < 15e6
    shipped = [p for name in ("dl101", "results") for p in (ROOT / name).rglob("*")]
    installed = [p for p in shipped if p.is_file() and "__pycache__" not in p.parts]
    assert sum(path.stat().st_size for path in installed) < 20e6
