"""A Sphinx extension that writes the library reference from the docstrings.

A page says in a MyST comment which modules it is about, ``% modules: dl101.signal.*``; in its place
come, module by module, the head of the file, a table of what it defines, and every public function
and class in the order of the file. A new module or function therefore needs no edit of a page.
"""

from __future__ import annotations

import ast
import re
from fnmatch import fnmatch
from pathlib import Path

from sphinx.application import Sphinx

import dl101

ROOT = Path(dl101.__file__).resolve().parents[1]
MODULES = re.compile(r"^% modules: (.+)$", re.MULTILINE)
SECTION = """## {short}

```{{eval-rst}}
.. automodule:: {name}

{summary}
```

{members}
"""


def modules() -> dict[str, Path]:
    """Return the public modules of the library by name."""
    found = {}
    for path in sorted((ROOT / "dl101").rglob("*.py")):
        if path.name.startswith("_"):
            continue
        found[".".join(path.relative_to(ROOT).with_suffix("").parts)] = path
    return found


def public_names(path: Path) -> list[str]:
    """Return the public functions and classes that a module defines, in the order of the file."""
    nodes = ast.parse(path.read_text(encoding="utf-8")).body
    kinds = (ast.FunctionDef, ast.ClassDef)
    return [n.name for n in nodes if isinstance(n, kinds) and not n.name.startswith("_")]


def section(name: str, path: Path) -> str:
    """Return the part of a page that is about one module."""
    names = public_names(path)
    summary = [
        f".. currentmodule:: {name}",
        "",
        ".. autosummary::",
        "   :nosignatures:",
        "",
        *(f"   {n}" for n in names),
    ]
    members = ["```{eval-rst}", f".. currentmodule:: {name}", ""]
    tree = ast.parse(path.read_text(encoding="utf-8"))
    classes = {node.name for node in tree.body if isinstance(node, ast.ClassDef)}
    for each in names:
        directive = "autoclass" if each in classes else "autofunction"
        members += (
            [f".. {directive}:: {each}"] + (["   :members:"] if each in classes else []) + [""]
        )
    return SECTION.format(
        short=name.rpartition(".")[2],
        name=name,
        summary="\n".join(summary) if names else "",
        members="\n".join([*members, "```"]) if names else "",
    )


def expand(app: Sphinx, docname: str, source: list[str]) -> None:
    """Put the sections of the modules in place of the comment that names them."""

    def sections(match: re.Match) -> str:
        wanted = match.group(1).split()
        chosen = [n for n in modules() if any(_matches(n, pattern) for pattern in wanted)]
        if not chosen:
            raise ValueError(f"{docname}: no module matches {match.group(1)!r}")
        return "\n\n".join(section(name, modules()[name]) for name in chosen)

    source[0] = MODULES.sub(sections, source[0])


def _matches(name: str, pattern: str) -> bool:
    """Whether a name fits, where ``*`` stands for one part: ``dl101.data.*`` is not its folders."""
    same_depth = name.count(".") == pattern.count(".")
    return same_depth and fnmatch(name, pattern)


class _Shorter(ast.NodeTransformer):
    """Write ``...`` for what is unpacked in an annotation or a default; Sphinx cannot read it."""

    def visit_Starred(self, node: ast.Starred) -> ast.Constant:
        return ast.Constant(...)


def as_written(
    app: Sphinx, what: str, name: str, obj: object, options: object, *signature: str | None
) -> tuple[str, str | None] | None:
    """Return the signature in the words of the source: what autodoc evaluates holds paths."""
    module = getattr(obj, "__module__", None) or ""
    if not module.startswith("dl101.") or what not in ("function", "method", "class"):
        return None
    body: list[ast.stmt] = ast.parse(modules()[module].read_text(encoding="utf-8")).body
    node = None
    for part in name.removeprefix(f"{module}.").split("."):
        found = [n for n in body if getattr(n, "name", None) == part]
        if not found:
            return None  # inherited from another module
        node, body = found[0], found[0].body
    node = _Shorter().visit(node)
    if isinstance(node, ast.FunctionDef):
        arguments = node.args
        if what == "method" and not any("static" in ast.unparse(d) for d in node.decorator_list):
            del arguments.args[:1]
        return f"({ast.unparse(arguments)})", node.returns and ast.unparse(node.returns)
    init = next((n for n in node.body if getattr(n, "name", None) == "__init__"), None)
    if init is not None:
        del init.args.args[:1]
        return f"({ast.unparse(init.args)})", None
    if not any("dataclass" in ast.unparse(d) for d in node.decorator_list):
        return None
    fields = [ast.unparse(n) for n in node.body if isinstance(n, ast.AnnAssign)]
    return f"({', '.join(fields)})", None


def own_labels(
    app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]
) -> None:
    """Give the numbered references of a module, ``[1]_``, labels of their own on a shared page."""
    module = name if what == "module" else getattr(obj, "__module__", None) or name
    prefix = module.rpartition(".")[2].replace("_", "-")
    lines[:] = [re.sub(r"(?<!\w)\[(\d+)\](?=_|\s)", rf"[{prefix}-\1]", line) for line in lines]


def joined_names(
    app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]
) -> None:
    """Keep names that share a description together: Sphinx takes ``a, b`` for a type and a name."""
    lines[:] = [
        line.replace(", ", ",\u2060") if re.fullmatch(r"\*{0,2}\w+(, \*{0,2}\w+)+", line) else line
        for line in lines
    ]


LISTING = re.compile(
    r'(<a [^>]*href="[^"]*/blob/[^"/]+/(dl101/[\w/]+\.py)#L(\d+)(?:-L\d+)?"[^>]*>.*?</a>)',
    re.DOTALL,
)


def link_listings(app: Sphinx, pagename: str, template: str, context: dict, doctree) -> None:
    """Let the source of a listing, which is a link to the repository, lead to the reference too."""
    documented = app.env.get_domain("py").objects

    def linked(match: re.Match) -> str:
        link, path, line = match.groups()
        name = path.removesuffix(".py").replace("/", ".")
        shown = f"{name}.{name_at(ROOT / path, int(line))}"
        if shown not in documented:
            return link  # private, or no longer where the listing was made
        page = app.builder.get_relative_uri(pagename, documented[shown].docname)
        return f'{link} (<a class="reference internal" href="{page}#{shown}">in the reference</a>)'

    if pagename.startswith("notebooks/"):
        context["body"] = LISTING.sub(linked, context.get("body") or "")


def name_at(path: Path, line: int) -> str | None:
    """Return the name of the function or class that begins at a line of a module."""
    if not path.is_file():
        return None
    kinds = (ast.FunctionDef, ast.ClassDef)
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, kinds) and line in (
            node.lineno,
            *(decorator.lineno for decorator in node.decorator_list),
        ):
            return node.name
    return None


def forgive_type_variables(app: Sphinx, config: object) -> None:
    """Let signatures name the type variables of a module, which have no entry of their own."""
    for name, path in modules().items():
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.Assign) and "TypeVar(" in ast.unparse(node.value):
                variable = f"{name}.{ast.unparse(node.targets[0])}"
                config.nitpick_ignore = [*config.nitpick_ignore, ("py:class", variable)]


def setup(app: Sphinx) -> dict[str, bool]:
    """Register with Sphinx."""
    app.connect("config-inited", forgive_type_variables)
    app.connect("source-read", expand)
    app.connect("autodoc-process-docstring", joined_names, priority=400)  # before napoleon
    app.connect("autodoc-process-docstring", own_labels)
    app.connect("autodoc-process-signature", as_written)
    app.connect("html-page-context", link_listings)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
