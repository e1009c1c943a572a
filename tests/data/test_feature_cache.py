"""The feature cache: what makes an entry, and what happens when one is damaged."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dl101 import features
from dl101.data import feature_cache
from dl101.data.feature_cache import cached, entry_path
from dl101.errors import ConfigError
from dl101.features import Feature, HcqtConfig, hcqt, log_mel

AUDIO = np.random.default_rng(0).standard_normal(6000).astype(np.float32)
CONFIG = HcqtConfig((1, 2), bins_per_semitone=1, n_octaves=3, f_min_hz=200.0)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DL101_CACHE", str(tmp_path))


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Count how often the HCQT is really computed."""
    count: list[int] = []
    original = features._block_magnitudes

    def counting(*args):
        count.append(1)
        return original(*args)

    monkeypatch.setattr(features, "_block_magnitudes", counting)
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
        (features.waveform, (22050,)),
        (log_mel, (22050,)),
        (features.cqt, (CONFIG,)),
        (features.chroma, ()),
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
        entry_path(features.cqt, AUDIO, CONFIG),
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


def test_the_code_is_part_of_the_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = tmp_path / "copy.py"
    copy.write_bytes(Path(features.__file__).read_bytes())
    before = entry_path(hcqt, AUDIO, CONFIG)
    for text, same in (("", True), ("\n# edited", False)):
        copy.write_text(copy.read_text() + text)
        monkeypatch.setattr(features, "__file__", str(copy))
        feature_cache._code_digest.cache_clear()
        assert (entry_path(hcqt, AUDIO, CONFIG) == before) is same
    feature_cache._code_digest.cache_clear()


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
