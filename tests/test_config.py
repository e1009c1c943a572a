from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

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


def test_missing_file_is_a_config_error(tmp_path):
    with pytest.raises(ConfigError, match="readable YAML"):
        config.read_yaml(tmp_path / "none.yaml")
