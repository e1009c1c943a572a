"""The code behind a module: its own text and that of the modules it imports, as one version.

What is computed is kept under the version of the code that computed it. A version covers a module
and everything that it imports, directly or not, from dl101 or from its own package: a helper that
changes makes another version. Libraries are not followed; their versions are numbers.
"""

from __future__ import annotations

import ast
import hashlib
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

_FOLDER = Path(__file__).resolve().parents[1]
# Taken when the code is loaded: a file that is edited later must not lend its name to its elder.
_TEXTS = {
    ".".join(path.relative_to(_FOLDER.parent).with_suffix("").parts): path.read_text("utf-8")
    for path in sorted(_FOLDER.rglob("*.py"))
}


def behind(module: str, *, within: str | None = None) -> list[str]:
    """Return the names of a module and of all that it imports, sorted.

    Parameters
    ----------
    module
        Dotted name of a module of dl101, or of one that is loaded from a file.
    within
        Follow imports of this package only. None: of dl101, and of the module's own package.

    Returns
    -------
    list of str
        Names of modules; packages, whose ``__init__`` is empty in dl101, are left out.
    """
    roots = [f"{within}."] if within else ["dl101.", f"{module.partition('.')[0]}."]
    found, left = set(), [module]
    while left:
        name = left.pop()
        if name in found or text_of(name) is None:
            continue
        found.add(name)
        left += [other for other in _imported(name) if other.startswith(tuple(roots))]
    return sorted(found)


def digest(modules: Iterable[str]) -> str:
    """Return what identifies the text of some modules."""
    made = hashlib.sha256()
    for name in modules:
        made.update(f"{name}\n{text_of(name)}".encode())
    return made.hexdigest()


@cache
def text_of(module: str) -> str | None:
    """Return the text of a module, or None if it has none: it is a package, or not from a file."""
    if module in _TEXTS:
        return _TEXTS[module]
    path = Path(getattr(sys.modules.get(module), "__file__", None) or "")
    is_source = path.suffix == ".py" and path.name != "__init__.py" and path.is_file()
    return path.read_text(encoding="utf-8") if is_source else None


@cache
def _imported(module: str) -> frozenset[str]:
    """Return every name that an import in a module may stand for, wherever the import is."""
    return frozenset(_names(ast.parse(text_of(module) or ""), module))


def _names(tree: ast.AST, module: str) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = module.split(".")[: -node.level] if node.level else []
            package = ".".join([*above, *filter(None, [node.module])])
            yield package
            yield from (f"{package}.{alias.name}" for alias in node.names)
