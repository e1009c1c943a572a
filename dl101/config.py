"""YAML files become frozen dataclasses; a key that nobody reads is an error, not a surprise.

Three steps, each a plain function: :func:`read_yaml` (safe loader, duplicate keys rejected),
:func:`override` (``"training.max_epochs=3"`` from a command line), :func:`build` (a mapping to a
dataclass, checked against its fields and types). :func:`to_dict` goes back, for result records.
Because a dataclass only has the fields its code uses, a key that is misspelt or no longer read is
reported at once, with the nearest name that exists.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml

from dl101.errors import ConfigError, did_you_mean

T = TypeVar("T")


class _UniqueKeyLoader(yaml.SafeLoader):
    """The safe loader, which otherwise lets a second key silently win over the first."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        seen: set[object] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"key {key!r} is given twice", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep)


def read_yaml(path: Path | str) -> dict[str, Any]:
    """Return the mapping stored in a YAML file.

    Raises
    ------
    ConfigError
        If the file is missing, is not valid YAML, gives a key twice, asks for a Python object, or
        does not hold a mapping at its top.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            f"configuration {path}",
            got=error.strerror or error,
            expected="a readable YAML file",
            hint="check the path, or give the name of a configuration that ships with dl101",
        ) from error
    return parse_yaml(text, where=str(path))


def parse_yaml(text: str, *, where: str = "YAML text") -> dict[str, Any]:
    """Return the mapping written in YAML ``text``; ``where`` names it in errors."""
    try:
        # the loader derives from SafeLoader: it builds plain data only
        value = yaml.load(text, Loader=_UniqueKeyLoader)
    except yaml.YAMLError as error:
        problem = " ".join(str(error).split())
        raise ConfigError(
            where, got=problem, expected="plain YAML data", hint="correct the line named above"
        ) from error
    if not isinstance(value, dict):
        raise ConfigError(
            where,
            got=type(value).__name__,
            expected="a mapping of keys to values at the top",
            hint="start the file with lines such as 'training:'",
        )
    return value


def override(mapping: Mapping[str, Any], assignments: Sequence[str]) -> dict[str, Any]:
    """Return a copy of ``mapping`` with ``"a.b=value"`` assignments applied; values are YAML."""
    result = _copy(mapping)
    for assignment in assignments:
        path, equals, text = assignment.partition("=")
        keys = path.strip().split(".")
        if not equals or not all(keys):
            raise ConfigError(
                "command-line setting",
                got=repr(assignment),
                expected="KEY=VALUE, with dots between levels",
                hint="write for example training.max_epochs=3",
            )
        level = result
        for depth, key in enumerate(keys[:-1]):
            child = level.setdefault(key, {})
            if not isinstance(child, dict):
                raise ConfigError(
                    f"command-line setting {assignment!r}",
                    got=f"{'.'.join(keys[: depth + 1])} = {child!r}, which has no keys inside",
                    expected="a section",
                    hint="set that key itself",
                )
            level = child
        try:
            level[keys[-1]] = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise ConfigError(
                f"command-line setting {assignment!r}",
                got=text,
                expected="a YAML value",
                hint="quote the value, for example 'feature.harmonics=[1, 2]'",
            ) from error
    return result


def _copy(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _copy(item) for key, item in value.items()}
    return [_copy(item) for item in value] if isinstance(value, list) else value


def build(cls: type[T], mapping: Mapping[str, Any], where: str = "config") -> T:
    """Build the frozen dataclass ``cls`` from ``mapping``, checking every key and type.

    Nested dataclasses are built from nested mappings, lists become tuples, and an integer is
    accepted where a float is wanted. ``where`` is the dotted path used in errors.

    Raises
    ------
    ConfigError
        For an unknown key (with the nearest that exists), a missing key, or a value of the wrong
        type.
    """
    if not isinstance(mapping, Mapping):
        raise ConfigError(
            where,
            got=f"{type(mapping).__name__} {mapping!r}",
            expected="a mapping of keys to values",
            hint="indent the keys of this section below its name",
        )
    hints = typing.get_type_hints(cls)
    fields = {field.name: field for field in dataclasses.fields(cls) if field.init}
    for key in mapping:
        if key not in fields:
            raise ConfigError(
                f"{where}.{key}",
                got="a key that nothing reads",
                expected=f"one of {', '.join(fields)}",
                hint=did_you_mean(key, fields, otherwise="remove it"),
            )
    values = {}
    for name, field in fields.items():
        if name in mapping:
            values[name] = _convert(hints[name], mapping[name], f"{where}.{name}")
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise ConfigError(
                f"{where}.{name}",
                got="nothing",
                expected=f"a value of type {_type_name(hints[name])}",
                hint=f"add the key {name!r}",
            )
    return cls(**values)


def _convert(hint: Any, value: Any, where: str) -> Any:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return value
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in args:
            return None
        options = [option for option in args if option is not type(None)]
        for option in options:
            try:
                return _convert(option, value, where)
            except ConfigError:
                if len(options) == 1:
                    raise
        raise _mismatch(where, hint, value)
    if origin is typing.Literal:
        if value in args and not isinstance(value, bool):
            return value
        raise _mismatch(where, hint, value)
    if origin is tuple and isinstance(value, list | tuple):
        if len(args) == 2 and args[1] is Ellipsis:
            kinds = [args[0]] * len(value)
        elif len(args) == len(value):
            kinds = list(args)
        else:
            raise _mismatch(where, hint, value)
        pairs = enumerate(zip(kinds, value, strict=True))
        return tuple(_convert(kind, item, f"{where}[{i}]") for i, (kind, item) in pairs)
    if (origin or hint) in (dict, Mapping):
        if isinstance(value, Mapping):
            return dict(value)
        raise _mismatch(where, hint, value)
    if dataclasses.is_dataclass(hint):
        return value if isinstance(value, hint) else build(hint, value, where)
    if hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if hint is int and isinstance(value, int) and not isinstance(value, bool):
        return value
    if hint in (str, bool) and isinstance(value, hint):
        return value
    if hint is Path and isinstance(value, str | Path):
        return Path(value)
    raise _mismatch(where, hint, value)


def _mismatch(where: str, hint: Any, value: Any) -> ConfigError:
    note = ""
    if hint is float and isinstance(value, str):
        note = " (YAML reads 1e-3 as text: write 1.0e-3)"
    return ConfigError(
        where,
        got=f"{type(value).__name__} {value!r}{note}",
        expected=_type_name(hint),
        hint="correct the value",
    )


def _type_name(hint: Any) -> str:
    if typing.get_origin(hint) is typing.Literal:
        return "one of " + ", ".join(repr(option) for option in typing.get_args(hint))
    return getattr(hint, "__name__", None) or str(hint).replace("typing.", "")


def to_dict(value: Any) -> Any:
    """Return plain data (dict, list, str, numbers) of a dataclass, ready for JSON or YAML."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        pairs = ((f.name, getattr(value, f.name)) for f in dataclasses.fields(value) if f.init)
        return {name: to_dict(item) for name, item in pairs}
    if isinstance(value, Mapping):
        return {str(key): to_dict(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_dict(item) for item in value]
    return str(value) if isinstance(value, Path) else value
