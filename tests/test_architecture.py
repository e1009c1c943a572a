"""The library's layers, read from its imports.

A module imports only from a layer above its own or from a sibling in the same layer, by the name of
the module that defines what it needs. LAYERS is the contract: a new module must be given its place
here. A trailing ``*`` stands for every module of a folder and below it; a module that is named
stands where it is named. So the engine of exercises stands above the chapters that declare some,
and the rest of ``lab`` below them: ``lab.checks`` finds a chapter's by its name.
"""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib import metadata
from itertools import chain
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

LAYERS: dict[str, tuple[str, ...]] = {
    "foundations": ("errors", "units", "config", "progress", "repository"),
    "data to arrays": (
        "data.cache",
        "data.pyjama",
        "data.containers",
        "data.audiofile",
        "data.audiostore",
        "data.featurestore",
        "data.pair",
        "data.catalog_record",
        "data.catalog_entries",
        "data.catalog",
        "data.archive",
        "data.notelist",
        "data.readers",
        "data.mirdata_bridge",
        "data.harte",
        "data.jams",
        "data.chord_segments",
        "data.note_files",
        "data.pitch_curve",
        "data.fetch",
        "data.feature_cache",
        "data.songs",
        "data.sounds",
        "data.source",
        "data.source_code",
        "data.splits",
        "data.stem_files",
        "data.embedded.*",
        "data.embedded.corpora.*",
        "signal.*",
        "targets",
    ),
    "arrays to judgement": ("evaluation.*",),
    "bricks": ("nn.*",),
    "training": ("training.*",),
    "systems": ("systems.*",),
    "exercises": ("lab.exercise",),
    "chapters": ("chapters.*",),
    "surface": ("lab.*", "cli"),
}
WITHOUT_TORCH = ("foundations", "data to arrays", "arrays to judgement", "exercises")
TORCH_PACKAGES = {"torch", "torchaudio", "lightning", "pytorch_lightning", "torchmetrics"}
MAX_SYSTEM_LINES = 400


def modules(root: Path = ROOT) -> dict[str, Path]:
    """Return every module of the library by its dotted name; packages by the folder's name."""
    found = {}
    for path in sorted((root / "dl101").rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()
PACKAGES = {name for name, path in MODULES.items() if path.name == "__init__.py"}


def layer_of(module: str) -> str | None:
    """Return the layer of a module, or None when it has no place in LAYERS."""
    name = module.removeprefix("dl101.")
    folders = [name[:i] for i, letter in enumerate(name) if letter == "."]
    places = {name, *(f"{folder}.*" for folder in folders)}
    return next((layer for layer, entries in LAYERS.items() if places & set(entries)), None)


def imports(path: Path) -> Iterator[tuple[str, str | None]]:
    """Yield (module, name or None) for every import in a file, wherever it stands."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, None) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            yield from ((module, alias.name) for alias in node.names)


def own_imports(path: Path) -> Iterator[tuple[str, str]]:
    """Yield (module of the library, how it was written) for the library's own imports."""
    for module, name in imports(path):
        written = f"from {module} import {name}" if name else f"import {module}"
        if name and f"{module}.{name}" in MODULES:
            yield f"{module}.{name}", written
        elif module == "dl101" or module.startswith(("dl101.", ".")):
            yield module, written


PLAIN_MODULES = sorted(set(MODULES) - PACKAGES)
# the checks of exercises answer in a pack that has no torch, so those of a chapter need none either
TORCHLESS = [n for n in PLAIN_MODULES if layer_of(n) in WITHOUT_TORCH or n.endswith(".exercises")]


def test_every_module_has_a_layer() -> None:
    assert not [name for name in PLAIN_MODULES if layer_of(name) is None]


def test_every_named_module_exists() -> None:
    named = [f"dl101.{n}" for entries in LAYERS.values() for n in entries if not n.endswith("*")]
    assert not [name for name in named if name not in MODULES]


@pytest.mark.parametrize("name", PLAIN_MODULES)
def test_imports_come_from_above_and_by_name(name: str) -> None:
    order = list(LAYERS)
    own = order.index(layer_of(name))
    wrong = []
    for module, written in own_imports(MODULES[name]):
        if written == "from dl101 import __version__":
            continue
        if module in PACKAGES and written.endswith(f"import {module.rpartition('.')[2]}"):
            continue  # a package as such, to list what it holds; its __init__ is proven empty
        if module.startswith("."):
            wrong.append(f"{written}: relative")
        elif module in PACKAGES:
            wrong.append(f"{written}: through an __init__")
        elif module not in MODULES:
            wrong.append(f"{written}: no such module")
        elif order.index(layer_of(module)) > own:
            wrong.append(f"{written}: {layer_of(module)!r} is below {order[own]!r}")
    assert not wrong


@pytest.mark.parametrize("name", sorted(PACKAGES))
def test_packages_hold_a_docstring_and_at_most_a_version(name: str) -> None:
    docstring, *rest = ast.parse(MODULES[name].read_text()).body or [None]
    assert isinstance(docstring, ast.Expr), "a package says in a docstring what it holds"
    targets = [t.id for node in rest if isinstance(node, ast.Assign) for t in node.targets]
    assert len(targets) == len(rest)
    assert set(targets) <= {"__version__"}


@pytest.mark.parametrize("name", TORCHLESS)
def test_upper_layers_name_no_torch(name: str) -> None:
    found = {module.split(".")[0] for module, _ in imports(MODULES[name])} & TORCH_PACKAGES
    assert not found


@pytest.mark.parametrize(
    "wanted",
    [["dl101"], TORCHLESS],
    ids=["the package", "the upper layers"],
)
def test_importing_pulls_no_torch(wanted: list[str]) -> None:
    code = (
        "import importlib, json, sys\n"
        f"for name in {wanted!r}: importlib.import_module(name)\n"
        "print(json.dumps(sorted(name.split('.')[0] for name in sys.modules)))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    assert not set(json.loads(run.stdout)) & TORCH_PACKAGES


def test_the_package_itself_imports_nothing_else() -> None:
    """What makes ``import dl101`` instant; ``make bench`` measures it."""
    assert not list(imports(MODULES["dl101"]))


def test_what_is_imported_is_declared() -> None:
    """The dependencies of a package that is installed, and the pins of the environment."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    extras = [texts for name, texts in extras.items() if name != "peers"]  # of `make peers` alone
    declared = {_normal(each) for each in [*project["dependencies"], *chain(*extras)]}
    packages = {module.split(".")[0] for path in MODULES.values() for module, _ in imports(path)}
    packages -= {*sys.stdlib_module_names, "dl101", "google"}  # google.colab is there in Colab only
    providers = metadata.packages_distributions()
    unknown = {
        name
        for name in packages
        if not declared & {_normal(each) for each in providers.get(name, (name,))}
    }
    assert not unknown
    pins = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    assert not declared - {_normal(line) for line in pins if "==" in line}


def _normal(requirement: str) -> str:
    """Return the name of a distribution, as package indexes compare it."""
    return re.sub(r"[-_.]+", "-", re.split(r"[ <>=!~\[;]", requirement)[0]).lower()


def test_systems_do_not_import_systems() -> None:
    wrong = {
        name: [
            module
            for module, _ in own_imports(MODULES[name])
            if layer_of(module) == "systems" and module != f"{name}_data"  # its own batches
        ]
        for name in PLAIN_MODULES
        if layer_of(name) == "systems"
    }
    assert not {name: found for name, found in wrong.items() if found}


def rooms_entered(module: str, path: Path) -> set[str]:
    """Return the rooms of other chapters from which a module in a chapter's room imports."""
    own = module.split(".")[2]
    found = {m.split(".")[2] for m, _ in own_imports(path) if m.startswith("dl101.chapters.")}
    return found - {own}


def test_chapters_do_not_enter_each_other_s_rooms(tmp_path: Path) -> None:
    """What two chapters need stands in a layer above them."""
    inside = {
        n: p for n, p in MODULES.items() if n.startswith("dl101.chapters.") and n.count(".") > 2
    }
    assert len(inside) > 8
    assert not {n: found for n, path in inside.items() if (found := rooms_entered(n, path))}
    planted = tmp_path / "experiment.py"
    planted.write_text(
        "from dl101.chapters.chroma.experiment import Variant\n"
        "def later():\n    from dl101.chapters.spectrogram import experiment\n"
    )
    assert rooms_entered("dl101.chapters.chroma.experiment", planted) == {"spectrogram"}


def test_a_long_module_says_why() -> None:
    """More than 400 lines need a sentence in the header that begins with "One file because"."""
    unexplained = {
        name: len(MODULES[name].read_text().splitlines())
        for name in PLAIN_MODULES
        if layer_of(name) == "systems"
        and len(MODULES[name].read_text().splitlines()) > MAX_SYSTEM_LINES
        and "One file because"
        not in (ast.get_docstring(ast.parse(MODULES[name].read_text())) or "")
    }
    assert not unexplained


def test_no_import_cycle() -> None:
    graph = {
        name: {module for module, _ in own_imports(MODULES[name]) if module in PLAIN_MODULES}
        for name in PLAIN_MODULES
    }
    while free := [name for name, needs in graph.items() if not needs & graph.keys()]:
        for name in free:
            del graph[name]
    assert not graph, "these import each other"
