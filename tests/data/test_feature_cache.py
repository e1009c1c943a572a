"""The feature cache: what makes an entry, and what happens when one is damaged."""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
import sys
import types
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dl101.data import feature_cache, source_code
from dl101.data.feature_cache import cached, entry_path
from dl101.errors import ConfigError
from dl101.signal import chroma, cqt, feature
from dl101.signal.cqt import HcqtConfig, hcqt
from dl101.signal.feature import Feature
from dl101.signal.mel import log_mel
from tests.killing import count_calls, killed_at

pytestmark = pytest.mark.slow

AUDIO = np.random.default_rng(0).standard_normal(6000).astype(np.float32)
CONFIG = HcqtConfig((1, 2), bins_per_semitone=1, n_octaves=3, f_min_hz=200.0)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DL101_CACHE", str(tmp_path))


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Count how often the HCQT is really computed."""
    count: list[int] = []
    original = cqt._block_magnitudes

    def counting(*args):
        count.append(1)
        return original(*args)

    monkeypatch.setattr(cqt, "_block_magnitudes", counting)
    return count


def assert_same(a: Feature, b: Feature) -> None:
    np.testing.assert_array_equal(a.values, b.values)
    np.testing.assert_array_equal(a.times, b.times)
    assert (a.frequencies is None) == (b.frequencies is None)
    if a.frequencies is not None:
        np.testing.assert_array_equal(a.frequencies, b.frequencies)
    assert (a.sample_rate, a.hop_samples) == (b.sample_rate, b.hop_samples)
    assert a.values.dtype == b.values.dtype


def test_computed_once_and_read_back_equal(calls: list[int]) -> None:
    first, second = cached(hcqt, AUDIO, CONFIG), cached(hcqt, AUDIO.copy(), CONFIG)
    assert len(calls) == 1
    assert_same(first, second)
    assert_same(second, hcqt(AUDIO, CONFIG))
    path = entry_path(hcqt, AUDIO, CONFIG)
    np.testing.assert_array_equal(np.load(path, allow_pickle=False), first.values)


def test_every_feature_can_be_cached() -> None:
    for function, arguments in (
        (feature.waveform, (22050,)),
        (log_mel, (22050,)),
        (cqt.cqt, (CONFIG,)),
        (chroma.chroma, ()),
    ):
        fresh = cached(function, AUDIO, *arguments)
        assert entry_path(function, AUDIO, *arguments).exists()
        assert_same(cached(function, AUDIO, *arguments), fresh)


def test_what_makes_another_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    changed = AUDIO.copy()
    changed[-1] += 1e-6
    entries = [
        entry_path(hcqt, AUDIO, CONFIG),
        entry_path(hcqt, changed, CONFIG),
        entry_path(hcqt, AUDIO[:-1], CONFIG),
        entry_path(hcqt, AUDIO.astype(np.float64), CONFIG),
        entry_path(hcqt, AUDIO, replace(CONFIG, f_min_hz=200.0000001)),
        entry_path(hcqt, AUDIO, replace(CONFIG, harmonics=(2, 1))),
        entry_path(cqt.cqt, AUDIO, CONFIG),
        entry_path(log_mel, AUDIO, 22050),
        entry_path(log_mel, AUDIO, 22050, n_bands=64),
    ]
    monkeypatch.setattr(feature_cache, "_library_versions", lambda: ["numpy 99"])
    entries.append(entry_path(hcqt, AUDIO, CONFIG))
    monkeypatch.setattr(feature_cache, "_code_digest", lambda module: "edited")
    entries.append(entry_path(hcqt, AUDIO, CONFIG))
    assert len(set(entries)) == len(entries)


def test_what_does_not_make_another_entry() -> None:
    strided = np.repeat(AUDIO, 2)[::2]
    assert entry_path(hcqt, strided, CONFIG) == entry_path(hcqt, AUDIO, CONFIG)
    assert entry_path(hcqt, AUDIO, config=CONFIG) == entry_path(hcqt, AUDIO, CONFIG)
    assert entry_path(log_mel, AUDIO, 22050, n_bands=128) == entry_path(log_mel, AUDIO, 22050)


@pytest.mark.parametrize(
    ("module", "same"),
    [
        ("signal.cqt", False),
        ("signal.feature", False),
        ("errors", False),
        ("targets", True),
        ("signal.tuning", True),
    ],
)
def test_the_code_behind_a_function_is_part_of_the_key(
    module: str, same: bool, monkeypatch: pytest.MonkeyPatch, fresh_code: Callable[[], None]
) -> None:
    before = entry_path(hcqt, AUDIO, CONFIG)
    name = f"dl101.{module}"
    monkeypatch.setitem(source_code._TEXTS, name, source_code._TEXTS[name] + "\n# edited")
    fresh_code()
    assert (entry_path(hcqt, AUDIO, CONFIG) == before) is same


@pytest.fixture
def fresh_code() -> Iterator[Callable[[], None]]:
    """Return a function that forgets what was read of the code, as another process would."""

    def forget() -> None:
        for function in (source_code.text_of, source_code._imported, feature_cache._code_digest):
            function.cache_clear()

    yield forget
    forget()


@pytest.mark.parametrize("edited", ["feature", "helper", "other"])
def test_helpers_of_another_package_are_part_of_the_key_too(
    edited: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    fresh_code: Callable[[], None],
) -> None:
    package = tmp_path / "own_package"
    package.mkdir()
    texts = {
        "__init__": "",
        "feature": "from .helper import louder\ndef loud(audio): return louder(audio)",
        "helper": "def louder(audio):\n    from own_package import other\n    return 2 * audio",
        "other": "",
    }
    for name, text in texts.items():
        (package / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    loud = importlib.import_module("own_package.feature").loud
    importlib.import_module("own_package.other")
    before = entry_path(loud, AUDIO)
    (package / f"{edited}.py").write_text(texts[edited] + "\n# edited")
    fresh_code()
    assert entry_path(loud, AUDIO) != before
    for name in ("", ".feature", ".helper", ".other"):
        del sys.modules[f"own_package{name}"]


def features_of_all() -> list[Feature]:
    # the same numbers to the last bit each time: what counts is the writing
    return [cached(feature.waveform, AUDIO[start:], 22050) for start in range(0, 3000, 300)]


def kill_again_and_again(folder: Path) -> None:
    """Compute in forks of this process, each killed at a random call; two at a time at the end."""
    os.environ["DL101_CACHE"] = str(folder / "counted")
    features_of_all()
    right = {path.name: path.read_bytes() for path in (folder / "counted").rglob("*.npy")}
    shutil.rmtree(folder / "counted")
    n_calls = count_calls(features_of_all)
    os.environ["DL101_CACHE"] = str(folder / "killed")
    rng = np.random.default_rng(0)
    for attempt in range(60):
        if attempt % 4 == 0:  # in a few attempts everything is there
            shutil.rmtree(folder / "killed", ignore_errors=True)
        killed_at(int(rng.integers(1, n_calls // 2)), features_of_all)
        for path in (folder / "killed").rglob("*.npy"):
            assert path.read_bytes() == right[path.name], "half an entry"
    os.environ["DL101_CACHE"] = str(folder / "shared")
    children = []
    for moment in (n_calls // 2, 10 * n_calls, 10 * n_calls):
        if (child := os.fork()) == 0:
            killed_at(moment, features_of_all)
            os._exit(0)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0, 0]


def test_processes_killed_at_random_moments_and_several_at_once_leave_only_right_entries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = (
        "import pathlib, sys\nfrom tests.data.test_feature_cache import kill_again_and_again\n"
        "kill_again_and_again(pathlib.Path(sys.argv[1]))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    right = {path.name: path.read_bytes() for path in (tmp_path / "counted").rglob("*.npy")}
    assert len(right) == 10
    for name in ("killed", "shared"):
        found = list((tmp_path / name).rglob("*.npy"))
        assert found and all(path.read_bytes() == right[path.name] for path in found)
    assert len(found) == 10
    monkeypatch.setenv("DL101_CACHE", str(tmp_path / "killed"))
    for start, found in zip(range(0, 3000, 300), features_of_all(), strict=True):
        assert_same(found, feature.waveform(AUDIO[start:], 22050))


def test_values_stay_on_disk_until_used() -> None:
    values = cached(hcqt, AUDIO, CONFIG).values
    assert isinstance(values, np.memmap)
    assert not values.flags.writeable


DAMAGES = {
    "empty": lambda content: b"",
    "truncated in the values": lambda content: content[: len(content) // 3],
    "truncated in the times": lambda content: content[:-300],
    "one byte short": lambda content: content[:-1],
    "something appended": lambda content: content + b"x",
    "not an array": lambda content: b"\x80\x04 no array" * 100,
    "a pickle": lambda content: content.replace(b"'<f4'", b"'|O' "),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_entry_is_computed_again(damage: str, calls: list[int]) -> None:
    fresh = cached(hcqt, AUDIO, CONFIG)
    path = entry_path(hcqt, AUDIO, CONFIG)
    content = path.read_bytes()
    path.unlink()  # the values of `fresh` are still mapped to the old file
    path.write_bytes(DAMAGES[damage](content))
    assert path.read_bytes() != content
    assert_same(cached(hcqt, AUDIO, CONFIG), fresh)
    assert len(calls) == 2
    assert path.read_bytes() == content
    assert_same(cached(hcqt, AUDIO, CONFIG), fresh)
    assert len(calls) == 2


def test_a_failed_write_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args, **kwargs):
        raise OSError("disk full")

    monkeypatch.setattr(np, "save", fail)
    with pytest.raises(OSError, match="disk full"):
        cached(hcqt, AUDIO, CONFIG)
    assert list(entry_path(hcqt, AUDIO, CONFIG).parent.iterdir()) == []


def test_functions_and_parameters_without_a_lasting_name_are_refused() -> None:
    with pytest.raises(ConfigError, match="top level"):
        cached(lambda audio: hcqt(audio), AUDIO)
    with pytest.raises(ConfigError, match="ndarray"):
        cached(log_mel, AUDIO, np.zeros(3))


def test_functions_of_a_notebook_are_refused_for_their_code_is_not_in_a_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    notebook = types.ModuleType("notebook_of_a_learner")
    monkeypatch.setitem(sys.modules, notebook.__name__, notebook)
    exec("def loud(audio): return 2 * audio", notebook.__dict__)
    with pytest.raises(ConfigError, match=r"in a \.py file"):
        cached(notebook.loud, AUDIO)
