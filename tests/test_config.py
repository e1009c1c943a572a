from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal

import pytest

from dl101 import config
from dl101.errors import ConfigError


@dataclass(frozen=True)
class Inner:
    rate: float = 0.5
    harmonics: tuple[float, ...] = (1.0,)
    limit: int | None = None


@dataclass(frozen=True)
class Outer:
    name: str
    scale: Literal["lab", "full"] = "lab"
    inner: Inner = field(default_factory=Inner)
    options: Mapping[str, Any] = field(default_factory=dict)


def test_nested_mapping_becomes_frozen_dataclass():
    made = config.build(
        Outer, {"name": "a", "scale": "full", "inner": {"rate": 1, "harmonics": [0.5, 2]}}
    )
    assert made == Outer("a", "full", Inner(1.0, (0.5, 2.0)))
    assert isinstance(made.inner.rate, float)
    with pytest.raises(AttributeError):
        made.name = "b"


def test_to_dict_and_build_are_inverse():
    made = Outer("a", "full", Inner(0.1, (1.0, 2.0), 3), {"devices": 2})
    assert config.build(Outer, config.to_dict(made)) == made


@pytest.mark.parametrize(
    ("mapping", "parts"),
    [
        ({"name": "a", "inner": {"rat": 1}}, ["config.inner.rat", "did you mean 'rate'"]),
        ({}, ["config.name", "add the key 'name'"]),
        ({"name": 3}, ["config.name", "int 3", "str"]),
        ({"name": "a", "scale": "huge"}, ["'lab', 'full'", "'huge'"]),
        ({"name": "a", "inner": {"rate": "1e-3"}}, ["1.0e-3"]),
        ({"name": "a", "inner": {"rate": True}}, ["bool True"]),
        ({"name": "a", "inner": {"limit": 1.5}}, ["config.inner.limit", "1.5"]),
        ({"name": "a", "inner": {"harmonics": [1, "x"]}}, ["harmonics[1]"]),
        ({"name": "a", "inner": [1]}, ["config.inner", "a mapping"]),
    ],
)
def test_errors_name_the_key(mapping, parts):
    with pytest.raises(ConfigError) as caught:
        config.build(Outer, mapping)
    for part in parts:
        assert part in str(caught.value)


def test_override_sets_nested_yaml_values_and_leaves_the_original_alone():
    original = {"inner": {"rate": 1.0}}
    changed = config.override(original, ["inner.harmonics=[1, 2]", "name=b"])
    assert changed == {"inner": {"rate": 1.0, "harmonics": [1, 2]}, "name": "b"}
    assert original == {"inner": {"rate": 1.0}}


@pytest.mark.parametrize("bad", ["rate", "=3", "inner..x=1", "inner.rate.deep=1"])
def test_override_rejects_what_is_not_an_assignment(bad):
    with pytest.raises(ConfigError):
        config.override({"inner": {"rate": 1.0}}, [bad])


@pytest.mark.parametrize(
    "text", ["a: 1\na: 2\n", "- 1\n", "!!python/object/apply:os.getcwd []\n", "a: [1\n"]
)
def test_unsafe_or_broken_yaml_is_refused(tmp_path, text):
    path = tmp_path / "c.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"c\.yaml"):
        config.read_yaml(path)


def bomb(levels: int) -> str:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    for i in range(1, levels):
        lines.append(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]")
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("a: 2024-13-45", "type timestamp"),
        ("a: 2024-01-01", "type timestamp"),
        ("1: a", "key that is not text"),
        ("yes: a", "key that is not text"),
        ("null: a", "key that is not text"),
        ("? [1]\n: a", "key that is not text"),
        ("? {a: 1}\n: a", "key that is not text"),
        ("? !!str [a]\n: a", "key that is not text"),
        ("a: " + "[" * 5000, "levels deep"),
        ("a: " + "[" * 5000 + "]" * 5000, "levels deep"),
        ("\n".join(" " * i + "a:" for i in range(200)), "levels deep"),
        ("a: !unknown x", "type !unknown"),
        ("a: !!set {x}", "type set"),
        ("a: !!binary aGk=", "type binary"),
        ("a: !!int x", "'x' as int"),
        ("a: !!bool x", "'x' as bool"),
        ("a: 0b_", "'0b_' as int"),
        ("a: " + "9" * 5000, "as int"),
        ("a: 0x" + "f" * 5000, "more than 64 bits"),
        ("b: &b {x: 1}\na:\n  <<: *b", "type merge"),
        ("a: &a [*a]", "contains itself"),
        ("a: &a {b: {c: *a}}", "contains itself"),
        (bomb(9), "values, aliases expanded"),
        ("a: [" + "1," * 20_000 + "]", "values, aliases expanded"),
        ('a: "\\ud800"', "half a character"),
        ('a: "\\UFFFFFFFF"', "cannot be read"),
        ("a: 1\n---\nb: 2", "single document"),
        ("", "NoneType"),
        ("# nothing", "NoneType"),
        ("a: é".encode("latin-1"), "byte 0xe9 at 3"),
        ("a: 1".encode("utf-16"), "UTF-16"),
        (b"#" * 1_000_001, "more than 1000000 bytes"),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_what_is_not_plain_data_is_refused_before_it_is_built(tmp_path, content, problem):
    path = tmp_path / "c.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ConfigError) as caught:
        config.read_yaml(path)
    assert problem in caught.value.got
    assert "c.yaml" in caught.value.what and len(str(caught.value)) < 2000


def test_aliases_and_a_byte_order_mark_are_read(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_bytes(b"\xef\xbb\xbfa: &a [1, 2]\nb: [*a, *a]\n")
    assert config.read_yaml(path) == {"a": [1, 2], "b": [[1, 2], [1, 2]]}


@pytest.mark.parametrize("value", ["2024-13-45", "[" * 5000, "!x 1", "{1: 2}", "&a [*a]", bomb(9)])
def test_a_setting_is_read_as_strictly_as_a_file(value):
    with pytest.raises(ConfigError, match="command-line setting"):
        config.override({}, [f"name={value}"])


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("lab:\nfull: {}", ["scale 'lab'", "got nothing"]),
        ("lab: null", ["scale 'lab'", "got nothing"]),
        ("lab: 3", ["scale 'lab'", "int 3"]),
        ("full: {}", ["scale 'lab'", "expected full"]),
        ("lap: {}", ["scale 'lap'", "did you mean 'lab'"]),
        ("lab: {}\nfulll: {}", ["scale 'fulll'", "did you mean 'full'"]),
        ("{}", ["scale 'lab'"]),
    ],
)
def test_a_section_that_is_missing_empty_or_unknown_is_named(text, parts):
    with pytest.raises(ConfigError) as caught:
        config.section(config.parse_yaml(text), "lab", "file c.yaml")
    for part in ("file c.yaml", *parts):
        assert part in str(caught.value)


@dataclass(frozen=True)
class Checked(config.Settings):
    count: config.Count
    share: Annotated[float, config.Range(above=0, below=1)] = 0.5
    limits: config.PositiveInterval = (0.5, 1.0)
    kind: Annotated[str, config.OneOf(("mean", "max"))] | None = "mean"


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"count": 0}, ["count", "int 0", "from 1 to 1,000,000,000"]),
        ({"count": 2.0}, ["count", "write 2"]),
        ({"share": 1}, ["share", "above 0 and below 1", "default, 0.5"]),
        ({"limits": [2, 1]}, ["limits", "the smaller one first"]),
        ({"limits": [1]}, ["limits", "2 values"]),
        ({"kind": "men"}, ["kind", "one of mean, max or null", "did you mean 'mean'"]),
    ],
)
def test_a_field_is_checked_in_python_as_in_a_file(changes, parts):
    for make, where in (
        (lambda values: Checked(**values), "Checked."),
        (lambda values: config.build(Checked, values, where="f.yaml:lab.part"), "lab.part."),
    ):
        with pytest.raises(ConfigError) as caught:
            make({"count": 1} | changes)
        for part in (where, *parts):
            assert part in str(caught.value)


def test_a_field_is_checked_when_one_is_replaced():
    with pytest.raises(ConfigError, match=r"Checked\.count"):
        replace(Checked(1), count=-1)


def test_missing_file_is_a_config_error(tmp_path):
    with pytest.raises(ConfigError, match="readable YAML"):
        config.read_yaml(tmp_path / "none.yaml")
