"""YAML files become frozen dataclasses; a key that nobody reads is an error, not a surprise.

Three steps, each a plain function: :func:`read_yaml` (plain data only, bounded before anything is
built), :func:`override` (``"training.max_epochs=3"`` from a command line), :func:`build` (a mapping
to a dataclass, checked against its fields). :func:`to_dict` goes back, for result records. Because
a dataclass only has the fields its code uses, a key that is misspelt or no longer read is reported
at once, with the nearest name that exists.

What a field may hold stands in its annotation and nowhere else. A class that derives from
:class:`Settings` checks every field whenever one is made, from YAML or in Python::

    @dataclass(frozen=True)
    class TrainingConfig(Settings):
        batch_size: Count = 16
        learning_rate: Positive = 1e-3
        dropout: Annotated[float, Range(at_least=0, below=1)] = 0.1
        optimizer: Literal["adam", "sgd"] = "adam"

Numbers are always finite: no NaN, no infinity. ``None`` is allowed where the annotation says so.
"""

from __future__ import annotations

import codecs
import dataclasses
import itertools
import math
import numbers
import re
import reprlib
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Protocol, TypeVar

import yaml

from dl101.errors import ConfigError, did_you_mean

T = TypeVar("T")

# Far more than a configuration needs, and little enough to be read at once. Values that stand
# behind an alias count each time that they are used.
MAX_YAML_BYTES = 1_000_000
MAX_YAML_VALUES = 10_000
MAX_YAML_DEPTH = 50

SCALES = ("lab", "full")

_TAG = "tag:yaml.org,2002:"
_PLAIN_TAGS = {_TAG + kind for kind in ("null", "bool", "int", "float", "str", "seq", "map")}
_TEXT = f"{_TAG}str"
_NO_TEXT = re.compile(r"[\x00\ud800-\udfff]")
_NUMBER = re.compile(r"[-+]?[0-9.]+(e[-+]?[0-9]+)?", re.IGNORECASE)


# ------------------------------------------------------------------------------------------ YAML


class _PlainLoader(yaml.SafeLoader):
    """The safe loader, for small plain data: text keys, each once; no dates, sets, merges, tags.

    Everything is refused while the text is parsed, before a value is built, so that no alias is
    ever expanded.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = self._n_values = 0
        self._sizes: dict[yaml.Node, int] = {}  # values in each finished node, aliases expanded

    def compose_node(self, parent: yaml.Node | None, index: object) -> yaml.Node:
        mark = self.peek_event().start_mark
        self._depth, self._n_values = self._depth + 1, self._n_values + 1
        if self._depth > MAX_YAML_DEPTH:
            raise _at(mark, f"values more than {MAX_YAML_DEPTH} levels deep")
        is_alias = self.check_event(yaml.AliasEvent)
        node = super().compose_node(parent, index)
        if is_alias:
            if node not in self._sizes:
                raise _at(mark, "an alias that contains itself")
        else:
            self._check(node)
            self._sizes[node] = 1 + sum(map(self._sizes.__getitem__, _children(node)))
        if max(self._n_values, self._sizes[node]) > MAX_YAML_VALUES:
            raise _at(mark, f"more than {MAX_YAML_VALUES} values, aliases expanded")
        self._depth -= 1
        return node

    @staticmethod
    def _check(node: yaml.Node) -> None:
        if node.tag not in _PLAIN_TAGS:
            kind = node.tag.removeprefix(_TAG)
            raise _at(node.start_mark, f"a value of type {kind} (quote it if it is text)")
        if isinstance(node, yaml.ScalarNode) and _NO_TEXT.search(node.value):
            raise _at(node.start_mark, "a NUL or half a character")
        if isinstance(node, yaml.MappingNode):
            seen: set[str] = set()
            for key, _ in node.value:
                if not isinstance(key, yaml.ScalarNode) or key.tag != _TEXT:
                    raise _at(key.start_mark, "a key that is not text (quote it)")
                if key.value in seen:
                    raise _at(key.start_mark, f"key {_shown(key.value)} is given twice")
                seen.add(key.value)

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            value = super().construct_object(node, deep)
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
            # of a scalar that is not what its tag says, such as `!!int x`, or of too many digits
            kind = node.tag.removeprefix(_TAG)
            raise _at(node.start_mark, f"{_shown(node.value)} as {kind}") from error
        if isinstance(value, int) and value.bit_length() > 64:
            raise _at(node.start_mark, "a whole number of more than 64 bits")
        return value


def _at(mark: yaml.Mark, problem: str) -> yaml.YAMLError:
    return yaml.constructor.ConstructorError(None, None, problem, mark)


def _children(node: yaml.Node) -> Iterable[yaml.Node]:
    if isinstance(node, yaml.ScalarNode):
        return ()
    if isinstance(node, yaml.MappingNode):
        return (item for pair in node.value for item in pair)
    return node.value


def _load(text: str) -> Any:
    """Return the plain data written in a text, or raise a YAMLError."""
    loader = _PlainLoader(text)
    try:
        return loader.get_single_data()
    except (ValueError, OverflowError) as error:  # an escape such as "\UFFFFFFFF"
        raise _at(loader.get_mark(), f"what cannot be read ({error})") from error
    finally:
        loader.dispose()


def read_yaml(path: Path | str) -> dict[str, Any]:
    """Return the mapping stored in a YAML file.

    Raises
    ------
    ConfigError
        If the file is missing, too large, not UTF-8, not valid YAML, or holds anything but plain
        data (see :func:`parse_yaml`).
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            data = file.read(MAX_YAML_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise ConfigError(
            f"configuration {path}",
            got=getattr(error, "strerror", None) or error,
            expected="a readable YAML file",
            hint="check the path, or give the name of a configuration that ships with dl101",
        ) from error
    if len(data) > MAX_YAML_BYTES:
        raise ConfigError(
            f"configuration {path}",
            got=f"more than {MAX_YAML_BYTES} bytes",
            expected="a configuration",
            hint="check the path: this is another kind of file",
        )
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        utf16 = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        raise ConfigError(
            f"configuration {path}",
            got="UTF-16" if utf16 else f"byte 0x{data[error.start]:02x} at {error.start}",
            expected="text in UTF-8",
            hint="save the file as UTF-8 in your editor",
        ) from error
    return parse_yaml(text, where=str(path))


def parse_yaml(text: str, *, where: str = "YAML text") -> dict[str, Any]:
    """Return the mapping written in YAML ``text``; ``where`` names it in errors.

    Raises
    ------
    ConfigError
        If it is not valid YAML, is no mapping at its top, gives a key twice, has a key that is not
        text, a date, a tag or an alias that contains itself, or is too deep or too large.
    """
    try:
        value = _load(text)
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


def find(source: Path | str, folder: Path) -> Path:
    """Return the path of a configuration: its name if it ships in ``folder``, or a path.

    Raises
    ------
    ConfigError
        If it is neither.
    """
    shipped = YamlFile(folder)
    if str(source) in shipped.known():
        return folder / f"{source}.yaml"
    if not _exists(Path(source)):
        raise ConfigError(
            f"configuration {_shown(str(source))}",
            got="no such file",
            expected=f"the path of a YAML file, or {' or '.join(shipped.known())}",
            hint=did_you_mean(source, shipped.known(), otherwise="check the path"),
        )
    return Path(source)


def section(content: Mapping[str, Any], scale: str, where: str) -> dict[str, Any]:
    """Return the section of a configuration file for a scale; ``where`` names the file.

    Raises
    ------
    ConfigError
        If there is none, it is empty or no mapping, or the file has a section that is no scale.
    """
    for name in (*content, scale):
        if name not in content or name not in SCALES:
            raise ConfigError(
                where,
                got=f"scale {_shown(name)}",
                expected=" or ".join(found for found in SCALES if found in content)
                or "a section for each scale: lab and full",
                hint=did_you_mean(name, SCALES, otherwise="a scale is a section of the file"),
            )
    if not isinstance(content[scale], Mapping):
        raise _not_a_section(f"{where}, scale {scale!r}", content[scale])
    return dict(content[scale])


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # a name too long, or with a NUL
        return False


def _not_a_section(where: str, value: Any) -> ConfigError:
    return ConfigError(
        where,
        got="nothing" if value is None else _shown_with_type(value),
        expected="a mapping of keys to values",
        hint="indent the keys of this section below its name",
    )


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
            level[keys[-1]] = _load(text)
        except yaml.YAMLError as error:
            raise ConfigError(
                f"command-line setting {assignment!r}",
                got=" ".join(str(error).split()),
                expected="a YAML value",
                hint="quote the value, for example 'feature.harmonics=[1, 2]'",
            ) from error
    return result


def _copy(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _copy(item) for key, item in value.items()}
    return [_copy(item) for item in value] if isinstance(value, list) else value


# ------------------------------------------------------------------------ what a field may hold


class Rule(Protocol):
    """What an annotation may add to a type: ``Annotated[int, rule]``. Its text says what it asks.

    A system with a wish of its own writes a frozen dataclass with these two methods.
    """

    def allows(self, value: Any) -> bool:
        """Return whether a value of the right type may stand in the field."""

    def __str__(self) -> str: ...


@dataclass(frozen=True)
class Range:
    """A range of numbers: give the ends that it has."""

    at_least: float = -math.inf
    at_most: float = math.inf
    above: float = -math.inf
    below: float = math.inf

    def allows(self, value: float) -> bool:
        """Return whether a number is in the range."""
        return self.at_least <= value <= self.at_most and self.above < value < self.below

    def __str__(self) -> str:
        if math.isfinite(self.at_least) and math.isfinite(self.at_most):
            return f"from {self.at_least:,} to {self.at_most:,}"
        ends = {"of at least": self.at_least, "above": self.above}
        ends |= {"up to": self.at_most, "below": self.below}
        return " and ".join(f"{word} {end:,}" for word, end in ends.items() if math.isfinite(end))


@dataclass(frozen=True)
class OneOf:
    """One of some names, or of those that a function gives when it is asked."""

    names: Sequence[str] | Callable[[], Iterable[str]]

    def allows(self, value: str) -> bool:
        """Return whether the name is known."""
        return value in self.known()

    def known(self) -> list[str]:
        """Return the names."""
        return list(self.names() if callable(self.names) else self.names)

    def __str__(self) -> str:
        return f"one of {', '.join(self.known())}"


@dataclass(frozen=True)
class YamlFile:
    """A YAML file of a folder by its name, or another one by its path; both without ``.yaml``."""

    folder: Path

    def allows(self, value: str) -> bool:
        """Return whether there is such a file."""
        return bool(value) and _exists(self.folder / f"{value}.yaml")

    def known(self) -> list[str]:
        """Return the names of the folder's files."""
        return sorted(path.stem for path in self.folder.glob("*.yaml"))

    def __str__(self) -> str:
        return f"one of {', '.join(self.known())}"


@dataclass(frozen=True)
class KeysOf:
    """A mapping whose keys are among some names, which a function gives when it is asked."""

    names: Callable[[], Iterable[str]]

    def allows(self, value: Mapping[str, Any]) -> bool:
        """Return whether all keys are known."""
        return set(value) <= set(self.names())

    def __str__(self) -> str:
        return f"with keys among {', '.join(self.names())}"


@dataclass(frozen=True)
class NotEmpty:
    """At least one item."""

    def allows(self, value: Sequence[Any]) -> bool:
        """Return whether there is an item."""
        return len(value) > 0

    def __str__(self) -> str:
        return "not empty"


@dataclass(frozen=True)
class Ascending:
    """Numbers none of which is smaller than the one before it."""

    def allows(self, value: Sequence[float]) -> bool:
        """Return whether the numbers ascend."""
        return all(a <= b for a, b in itertools.pairwise(value))

    def __str__(self) -> str:
        return "the smaller one first"


Count = Annotated[int, Range(at_least=1, at_most=1_000_000_000)]
Positive = Annotated[float, Range(above=0)]
NotNegative = Annotated[float, Range(at_least=0)]
Probability = Annotated[float, Range(at_least=0, at_most=1)]
PositiveInterval = Annotated[tuple[Positive, Positive], Ascending()]
Seed = Annotated[int, Range(at_least=0, at_most=2**32 - 1)]  # what NumPy and PyTorch both take
SampleRate = Annotated[int, Range(at_least=1_000, at_most=768_000)]  # Hz
HopSamples = Annotated[int, Range(at_least=1, at_most=65_536)]
PatchFrames = Annotated[int, Range(at_least=1, at_most=100_000)]
Jobs = Annotated[int, Range(at_least=1, at_most=1024)] | Literal[-1]  # -1: one for each core
Minutes = Annotated[float, Range(above=0, at_most=1_000_000)]
TrackCount = Annotated[int, Range(at_least=1, at_most=1_000_000)]


class Settings:
    """Base of configurations (frozen dataclasses): every field is checked when one is made.

    A subclass that must check fields against each other extends ``__post_init__`` and raises a
    ConfigError on ``"ClassName.field"``; :func:`build` puts the section's name in that place.
    """

    def __post_init__(self) -> None:
        """Check and convert each field."""
        cls = type(self)
        for field in dataclasses.fields(cls):
            value = _convert_field(cls, field, getattr(self, field.name), cls.__name__)
            object.__setattr__(self, field.name, value)


def checked(hint: Any, value: Any, where: str) -> Any:
    """Return ``value`` as a field annotated with ``hint`` would hold it; ``where`` names it.

    For the numbers and names that do not come in a configuration: arguments of functions, options
    of the command line.

    Raises
    ------
    ConfigError
        If no such field may hold it.
    """
    return _convert(hint, value, _Spot(where, hint))


def build(cls: type[T], mapping: Mapping[str, Any], where: str = "config") -> T:
    """Build the frozen dataclass ``cls`` from ``mapping``, checking every key, type and range.

    Nested dataclasses are built from nested mappings, lists become tuples, and an integer is
    accepted where a float is wanted. ``where`` is the dotted path used in errors.

    Raises
    ------
    ConfigError
        For an unknown key (with the nearest that exists), a missing key, or a value that its field
        may not hold.
    """
    if not isinstance(mapping, Mapping):
        raise _not_a_section(where, mapping)
    fields = {field.name: field for field in dataclasses.fields(cls) if field.init}
    for key in mapping:
        if key not in fields:
            raise ConfigError(
                f"{where}.{_cut(str(key))}",
                got="a key that nothing reads",
                expected=f"one of {', '.join(fields)}",
                hint=did_you_mean(key, fields, otherwise="remove it"),
            )
    values = {}
    for name, field in fields.items():
        if name in mapping:
            values[name] = _convert_field(cls, field, mapping[name], where)
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise ConfigError(
                f"{where}.{name}",
                got="nothing",
                expected=_describe(_hints(cls)[name]),
                hint=f"add the key {name!r}",
            )
    try:
        return cls(**values)
    except ConfigError as error:  # of fields that do not fit together
        what = f"{where}{error.what.removeprefix(cls.__name__)}"
        raise ConfigError(what, got=error.got, expected=error.expected, hint=error.hint) from None


class _Spot(NamedTuple):
    """What an error must tell of a field: where it is, its whole annotation, its default."""

    where: str
    hint: Any
    default: Any = dataclasses.MISSING


@cache
def _hints(cls: type) -> dict[str, Any]:
    return typing.get_type_hints(cls, include_extras=True)


def _convert_field(cls: type, field: dataclasses.Field, value: Any, where: str) -> Any:
    hint = _hints(cls)[field.name]
    return _convert(hint, value, _Spot(f"{where}.{field.name}", hint, field.default))


def _convert(hint: Any, value: Any, spot: _Spot) -> Any:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return value
    if origin is Annotated:
        base, *rules = args
        made = _convert(base, value, spot)
        if all(rule.allows(made) for rule in rules):
            return made
    elif origin in (typing.Union, types.UnionType):
        if value is None and type(None) in args:
            return None
        options = [option for option in args if option is not type(None)]
        if len(options) == 1:
            return _convert(options[0], value, spot)
        for option in options:
            try:
                return _convert(option, value, spot)
            except ConfigError:
                continue
    elif origin is Literal:
        for option in args:
            if type(option) is type(value) and option == value:
                return option
    elif origin is tuple and isinstance(value, list | tuple):
        kinds = [args[0]] * len(value) if args[1:] == (Ellipsis,) else args
        if len(kinds) == len(value):
            spots = (_Spot(f"{spot.where}[{i}]", kind) for i, kind in enumerate(kinds))
            return tuple(map(_convert, kinds, value, spots))
    elif (origin or hint) in (dict, Mapping):
        if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
            kind = args[1] if args else Any
            return {
                key: _convert(kind, item, _Spot(f"{spot.where}.{_cut(key)}", kind))
                for key, item in value.items()
            }
    elif origin is Callable:
        if callable(value):
            return value
    elif dataclasses.is_dataclass(hint):
        return value if isinstance(value, hint) else build(hint, value, spot.where)
    elif hint is float and isinstance(value, numbers.Real) and not isinstance(value, bool):
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if math.isfinite(number):
            return number
    elif hint is int and isinstance(value, numbers.Integral) and not isinstance(value, bool):
        return int(value)
    elif hint in (str, bool) and isinstance(value, hint):
        return value
    elif hint is Path and isinstance(value, str | Path):
        return Path(value)
    raise ConfigError(
        spot.where,
        got=_shown_with_type(value),
        expected=_describe(spot.hint),
        hint=_advice(spot, value),
    )


_WORDS = {
    int: "a whole number",
    float: "a number",
    str: "a string",
    bool: "true or false",
    type(None): "null",
}


def _describe(hint: Any) -> str:
    """Return in words what a field with this annotation may hold."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        base, *rules = args
        ranges = [f" {rule}" if isinstance(rule, Range) else f", {rule}" for rule in rules]
        return "".join([_describe(base), *ranges])
    if origin in (typing.Union, types.UnionType):
        return " or ".join(map(_describe, args))
    if origin is Literal:
        return f"one of {', '.join(map(repr, args))}"
    if origin is tuple:
        return (
            f"{'a list' if Ellipsis in args else f'{len(args)} values'}, each {_describe(args[0])}"
        )
    if (origin or hint) in (dict, Mapping) or dataclasses.is_dataclass(hint):
        return "a mapping of keys to values"
    if origin is Callable:
        return "a function"
    return _WORDS.get(hint, getattr(hint, "__name__", None) or str(hint))


def _advice(spot: _Spot, value: Any) -> str:
    """Return what to try instead of a value that a field may not hold."""
    parts = list(_parts(spot.hint))
    for rule in parts:
        if isinstance(rule, KeysOf) and isinstance(value, Mapping):
            unknown = next((key for key in value if key not in rule.names()), None)
            if near := did_you_mean(unknown, rule.names(), otherwise=""):
                return near
    if isinstance(value, str):
        names = [name for part in parts if hasattr(part, "known") for name in part.known()]
        names += [part for part in parts if isinstance(part, str)]
        if near := did_you_mean(value, names, otherwise=""):
            return near
        if (int in parts or float in parts) and _NUMBER.fullmatch(value):
            return "write the number without quotes (YAML reads 1e-3 as text: write 1.0e-3)"
    if isinstance(value, float) and int in parts and value.is_integer():
        return f"write {_shown(int(value))}"
    if isinstance(spot.default, str | int | float | tuple):
        return f"leave it out to get the default, {spot.default!r}"
    return "correct the value"


def _parts(hint: Any) -> Iterable[Any]:
    """Yield the types, rules and literals of an annotation, but not those of its items."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType, Literal, Annotated):
        for part in typing.get_args(hint):
            yield from _parts(part)
    else:
        yield hint


class _Short(reprlib.Repr):
    """Values as errors show them: never long, never slow, never failing."""

    maxlevel, maxlist, maxtuple, maxdict, maxstring, maxlong, maxother = 3, 6, 6, 4, 60, 40, 60

    def repr_int(self, x: int, level: int) -> str:
        try:
            return super().repr_int(x, level)
        except ValueError:  # Python writes no more than 4300 digits
            return f"a number of {x.bit_length()} bits"


def _shown(value: Any) -> str:
    return _Short().repr(value)


def _shown_with_type(value: Any) -> str:
    return "nothing (null)" if value is None else f"{type(value).__name__} {_shown(value)}"


def _cut(key: str) -> str:
    return key if len(key) <= 60 else f"{key[:57]}..."


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
