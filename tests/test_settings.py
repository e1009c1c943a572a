"""All settings, and files of them: whatever they are given, a valid value or the library's error.

A configuration is found by its base class, so one that is written later is tested too. A class
whose fields have no defaults needs a line in ``EXAMPLES``.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
import importlib
import json
import math
import pkgutil
import typing
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

import dl101
from dl101 import config
from dl101.config import Range, Settings
from dl101.errors import ConfigError, Dl101Error
from dl101.nn import factory
from dl101.systems import multi_pitch

pytestmark = pytest.mark.slow

for _module in pkgutil.walk_packages(dl101.__path__, "dl101."):
    if not _module.name.startswith(("dl101.lab.", "dl101.data.embedded.")):
        importlib.import_module(_module.name)

EXAMPLES: dict[str, dict] = {
    "AutoTaggingConfig": {"model": "conv2d"},
    "Chain": {"steps": ()},
    "CoverSongsConfig": {"model": "move"},
    "Crop": {"n_samples": 10},
    "Sometimes": {"probability": 0.5, "augmentation": math.sqrt},
    "MultiPitchConfig": {"model": "conv2d"},
    "PitchAxis": {"f_min_hz": 32.7, "bins_per_semitone": 5, "n_bins": 360},
}
CLASSES = {cls.__name__: cls for cls in Settings.__subclasses__() if "dl101" in cls.__module__}
FIELDS = [(name, field.name) for name, cls in CLASSES.items() for field in dataclasses.fields(cls)]

CYCLE: list = []
CYCLE.append(CYCLE)
# What a field may be given that is not, or hardly, what it wants.
GIVEN = {
    "none": None,
    "bool": True,
    "negative": -1,
    "zero": 0,
    "one": 1,
    "huge": 2**63,
    "beyond floats": 10**400,
    "beyond digits": 1 << 20_000,
    "whole float": 6.0,
    "fraction": 0.5,
    "negative fraction": -0.5,
    "tiny": 5e-324,
    "largest": 1.7e308,
    "nan": math.nan,
    "inf": math.inf,
    "-inf": -math.inf,
    "complex": 1j,
    "no text": "",
    "text": "x",
    "long text": "x" * 10_000,
    "number as text": "1",
    "1e-3": "1e-3",
    "nul": "a\0b",
    "surrogate": "\ud800",
    "path": "../../etc/passwd",
    "bytes": b"x",
    "no items": [],
    "item": [1],
    "nan inside": [1.0, math.nan],
    "none inside": [None],
    "two": (1, 2),
    "falling": [2, 1],
    "cycle": CYCLE,
    "empty mapping": {},
    "unknown key": {"x": 1},
    "number as key": {1: 2},
    "set": {1},
    "object": object(),
    "type": int,
    "function": math.sqrt,
    "numpy int": np.int64(3),
    "numpy bool": np.bool_(True),
    "numpy nan": np.float64("nan"),
    "numpy float": np.float32(0.25),
    "array": np.array([1, 2]),
}


def hints(cls: type) -> dict:
    return typing.get_type_hints(cls, include_extras=True)


def parts(hint: object) -> Iterator[object]:
    """Yield all types and rules in an annotation."""
    yield hint
    for part in typing.get_args(hint):
        yield from parts(part)


def is_plain(value: object) -> bool:
    """Return whether a value is what YAML and JSON can hold: finite numbers, text, lists, maps."""
    if isinstance(value, Mapping):
        return all(type(key) is str and is_plain(item) for key, item in value.items())
    if isinstance(value, list):
        return all(map(is_plain, value))
    return value is None or type(value) in (bool, int, str) or may_hold(float, value)


def may_hold(hint: object, value: object) -> bool:
    """Return whether a stored value has the type that its field states (the ranges are Range's)."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        return may_hold(args[0], value)
    if origin is typing.Literal:
        return value in args
    if origin is tuple:
        return type(value) is tuple and all(may_hold(args[0], item) for item in value)
    if origin is Mapping or hint is dict:
        return type(value) is dict
    if origin is Callable:
        return callable(value)
    if origin is None:
        return type(value) is hint and (hint is not float or math.isfinite(value))
    return any(may_hold(option, value) for option in args)  # a union


def test_settings_have_names_of_their_own() -> None:
    """Errors name ``Class.field``; two classes of one name would also hide one from these tests."""
    names = [cls.__name__ for cls in Settings.__subclasses__() if "dl101" in cls.__module__]
    assert sorted(set(names)) == sorted(names)


def test_the_configurations_are_found():
    assert CLASSES.keys() >= {"MultiPitchConfig", "TrainingConfig", "DataConfig", "HcqtConfig"}


@pytest.mark.parametrize(("name", "field"), FIELDS)
def test_every_field_states_what_it_may_hold(name, field):
    found = list(parts(hints(CLASSES[name])[field]))
    if int in found or float in found:
        assert any(isinstance(part, Range) for part in found)
    if str in found and Mapping not in map(typing.get_origin, found):
        assert any(hasattr(part, "known") for part in found), "state the names that it may hold"


@pytest.mark.parametrize("given", GIVEN.values(), ids=GIVEN)
@pytest.mark.parametrize(("name", "field"), FIELDS)
def test_a_field_holds_what_it_may_or_says_so(name, field, given):
    cls = CLASSES[name]
    values = EXAMPLES.get(name, {}) | {field: given}
    try:
        made = cls(**values)
    except ConfigError as error:
        assert f"{name}.{field}" in error.what
        assert error.hint and len(str(error)) < 3000
        with pytest.raises(ConfigError, match=rf"section\.{field}"):  # the same from a file
            config.build(cls, values, where="section")
        return
    assert may_hold(hints(cls)[field], getattr(made, field))
    assert config.build(cls, values) == made
    if is_plain(plain := config.to_dict(made)):  # not so for what `trainer` passes on
        assert config.build(cls, json.loads(json.dumps(plain, allow_nan=False))) == made
    else:
        assert field == "trainer" or name == "Sometimes"  # which holds a function


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("data.dataset=choral", "did you mean 'chorales'"),
        ("data.n_tracks=0", "from 1 to"),
        ("data.patch_frames=-8", "from 1 to"),
        ("data.seed=-1", "from 0 to"),
        ("feature.n_octaves=6.0", "write 6"),
        ("feature.n_octaves=true", "a whole number"),
        ("feature.f_min_hz=30000.0", "below half the sample rate"),
        ("feature.harmonics=[]", "not empty"),
        ("feature.harmonics=[1, .nan]", "a number from"),
        ("model=unnet", "did you mean 'unet'"),
        ("positive_weight=-1.0", "above 0"),
        ("positive_weight=.inf", "above 0"),
        ("training.batch_size=-1", "from 1 to"),
        ("training.gradient_clip=0", "above 0 or null"),
        ("training.learning_rate=.nan", "above 0"),
        ("training.learning_rate=1e-3", "1.0e-3"),
        ("training.max_epochs=0", "from 1 to"),
        ("training.num_workers=-1", "from 0 to"),
        ("training.patience=-1", "from 0 to"),
        ("training.precision=16", "'16-mixed'"),
        ("training.precision=bf16-mixd", "did you mean 'bf16-mixed'"),
        ("training.trainer.devics=2", "did you mean 'devices'"),
        ("training.weight_decay=-0.1", "at least 0"),
    ],
)
def test_an_impossible_setting_is_named_with_section_value_and_range(setting, expected):
    with pytest.raises(ConfigError) as caught:
        multi_pitch.load_config(settings=[setting])
    key, value = setting.split("=")
    assert f"multi_pitch.yaml:lab.{key.removesuffix('.devics')}" in caught.value.what
    number = {"true": "True", "30000.0": "30000", "[1, .nan]": "nan"}.get(value, value.strip("."))
    assert number in caught.value.got
    assert expected in str(caught.value)


@pytest.mark.parametrize("kind", [int, np.int64, np.int16, np.uint8])
def test_numbers_of_numpy_become_those_of_python(kind):
    made = multi_pitch.TrainingConfig(batch_size=kind(4), learning_rate=np.float32(0.5))
    assert type(made.batch_size) is int and type(made.learning_rate) is float


# ---------------------------------------------------------------------------- files, 2,000 of them

FILES = [multi_pitch.CONFIGS / "multi_pitch.yaml"]
FILES += sorted((multi_pitch.CONFIGS / "multi_pitch").glob("*.yaml"))
TOKENS = [
    *("&a ", "*a ", "<<: *a", "!!set ", "!x ", "!!int x", "!!python/name:os.system ", "? ", "- "),
    *("{", "}", "[", "]", ":", "'", '"', "|", ">", "%", "---\n", "...\n", "\t", "\x00", "\ufeff"),
    *("null", "true", ".nan", ".inf", "-1", "0", "1e999", "2024-13-45", "2024-01-01", "~", "="),
    *('"\\ud800"', '"\\UFFFFFFFF"', "0x_", "0b_", "9" * 5000, "[" * 60, "é", "\x85", "$wide"),
]
VALUES = [
    value
    for kind, value in GIVEN.items()
    if type(value) in (bool, int, float, str, list, dict)
    and kind not in ("beyond digits", "surrogate")
]
VALUES += [None, -1, 0, 1, 2, 3.5, "$wide", "ReLU", [1], [-1, 0], {"a": {}}, [["Conv2d"]], "unet"]


def damaged_bytes(rng: np.random.Generator, data: bytes) -> bytes:
    for _ in range(rng.integers(1, 4)):
        at, length = rng.integers(len(data) + 1), int(rng.integers(1, 30))
        token = TOKENS[rng.integers(len(TOKENS))].encode("utf-8")
        data = [
            data[:at] + token + data[at:],
            data[:at] + data[at + length :],
            data[:at] + bytes([rng.integers(256)]) + data[at + 1 :],
            data[:at] + data[at : at + length] * 3 + data[at + length :],
            data[:at],
        ][rng.choice(5, p=[0.4, 0.2, 0.2, 0.15, 0.05])]
    if rng.random() < 0.04:
        encoding = rng.choice(["utf-16", "latin-1"])
        data = data.decode("utf-8", "replace").encode(encoding, "replace")
    return data


def places(value: object, above: tuple[int, ...] = ()) -> Iterator[tuple[dict | list, object]]:
    """Yield (container, key) of everything in a tree, and once of what contains itself."""
    for key in list(value) if isinstance(value, dict) else range(len(value)):
        yield value, key
        if isinstance(value[key], dict | list) and id(value[key]) not in (*above, id(value)):
            yield from places(value[key], (*above, id(value)))


@functools.cache
def tree_of(data: bytes) -> object:
    return yaml.safe_load(data)


def damaged_structure(rng: np.random.Generator, data: bytes) -> bytes:
    tree = copy.deepcopy(tree_of(data))
    for _ in range(rng.integers(1, 3)):
        if not (found := list(places(tree))):
            break
        container, key = found[rng.integers(len(found))]
        kind = rng.integers(5)
        if kind == 0:
            del container[key]
        elif kind == 1 and isinstance(container, dict):
            container[f"{key}x"] = container.pop(key)
        elif kind == 2:
            other, elsewhere = found[rng.integers(len(found))]
            container[key] = other[elsewhere]  # an alias, sometimes of itself
        else:
            container[key] = VALUES[rng.integers(len(VALUES))]
    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    return yaml.dump(tree, Dumper=dumper, encoding="utf-8")


def read(path: Path, kind: str) -> object:
    if kind == "multi_pitch":
        return multi_pitch.load_config(path, scale="full")
    with torch.device("meta"):  # sizes only
        return factory.read_model(path, (6, 24, 16), size="lab", output_shape=(1, 24, 16))


@pytest.mark.parametrize("damage", [damaged_bytes, damaged_structure])
@pytest.mark.parametrize("original", FILES, ids=lambda path: path.stem)
def test_a_damaged_file_is_refused_or_valid(
    original: Path, damage: Callable[[np.random.Generator, bytes], bytes], tmp_path: Path
):
    n_files = 400 if original.stem == "multi_pitch" else 120  # 2,000 together
    path, data = tmp_path / "damaged.yaml", original.read_bytes()
    refused = 0
    for seed in range(n_files):
        path.write_bytes(damage(np.random.default_rng([seed, 9]), data))
        try:
            made = read(path, original.stem)
        except Dl101Error as error:
            refused += 1
            assert len(str(error)) < 5000
        except Exception as error:
            pytest.fail(f"file {seed}: {type(error).__name__}: {error}")
        else:
            assert isinstance(made, multi_pitch.MultiPitchConfig | factory.Network)
    assert n_files / 4 < refused < n_files
