"""A comparison measures every variant on the same items; measurements become records."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from torch import nn

from dl101.data.splits import SIDES
from dl101.errors import ConfigError
from dl101.evaluation import results
from dl101.training import comparison
from dl101.training.comparison import Comparison, Measurement


@dataclass(frozen=True)
class Size:
    """A variant: how many numbers are trained."""

    n: int


@dataclass(frozen=True)
class Holder:
    """Something that holds what was trained."""

    network: nn.Module


def train(variant: Size, data: list[int], *, seed: int) -> Holder:
    torch.manual_seed(seed)
    return Holder(nn.Linear(variant.n, 1, bias=False))


SIZES = Comparison(
    corpus="tones",
    n_tracks=30,
    load=lambda *, seed, n_tracks, progress: [seed, n_tracks],
    n_items=len,
    variants={"two": Size(2), "three": Size(3)},
    train=train,
    score=lambda trained, variant, data: {"sum": sum(data), "n": variant.n},
    baselines={"nothing": lambda data: {"sum": 0.0}},
    prefix="size: ",
)


def test_every_variant_is_measured_on_the_same_data() -> None:
    plain, two, three = SIZES.run(5)
    assert [m.variant for m in (plain, two, three)] == ["size: nothing", "size: two", "size: three"]
    assert all((m.corpus, m.n_tracks, m.n_items) == ("tones", 30, 2) for m in (plain, two, three))
    assert (plain.metrics, two.metrics) == ({"sum": 0.0}, {"sum": 35, "n": 2})
    assert (plain.config, two.config, three.config) == ({}, {"n": 2}, {"n": 3})
    assert (plain.n_parameters, two.n_parameters, three.n_parameters) == (0, 2, 3)
    assert (plain.device, two.device) == ("cpu", "cpu")
    assert two.wall_time_s > 0


def test_size_seed_and_data_are_handed_on() -> None:
    _, two, _ = SIZES.run(5, 12)
    assert (two.n_tracks, two.metrics["sum"]) == (12, 17)
    _, two, _ = SIZES.run(5, 12, data=[1, 2, 3])
    assert (two.n_tracks, two.n_items, two.metrics["sum"]) == (12, 3, 6)
    weights = [
        next(iter(replace(SIZES, baselines={}).run(seed))).network.weight for seed in (1, 1, 2)
    ]
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])


def test_what_trains_nothing_has_no_parameters() -> None:
    """A network by itself is found, a function is none."""
    bare = replace(SIZES, baselines={}, train=lambda variant, data, seed: nn.Linear(variant.n, 2))
    assert [m.n_parameters for m in bare.run(0)] == [6, 8]
    answers = replace(SIZES, baselines={}, train=lambda variant, data, seed: len)
    assert [m.network for m in answers.run(0)] == [None, None]


def test_items_come_by_side_in_the_order_of_the_corpus(
    tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DL101_CACHE", str(tmp_path))

    def to_items(entry, read):
        if entry.first("family") == "keyboard":
            return []
        audio, rate = read(start_s=0.1, duration_s=0.1)
        assert audio.size == round(0.1 * rate)
        return [entry.filepath, entry.filepath]

    options = {"n_tracks": 24, "progress": False}
    found = comparison.load_sides("notes", to_items, **options)
    assert tuple(found) == SIDES
    walked = [
        (entry.first("split"), entry.filepath)
        for entry, _ in comparison.corpus_tracks("notes", **options)
        if entry.first("family") != "keyboard"
    ]
    assert 0 < len(walked) < 24
    for side in SIDES:
        assert found[side] == [name for s, name in walked if s == side for _ in range(2)]


def test_unknown_experiments_are_named() -> None:
    with pytest.raises(ConfigError, match="no_such"):
        next(comparison.run("no_such"))
    assert {"waveform", "log_mel"} <= set(comparison.names())


def test_a_record_names_the_device_where_the_network_was_trained() -> None:
    common = {"metrics": {"accuracy": 0.5}, "n_items": 2}
    found = {
        "CPU": Measurement("cpu", network=nn.Linear(2, 3), **common),
        "META": Measurement("other", network=nn.Linear(2, 3, device="meta"), **common),
    }
    for device, made in found.items():
        record = comparison.as_record("test", made, seed=0, command="")
        assert record.device.startswith(f"{device} (")
        assert record.n_parameters == 9
    plain = comparison.as_record("test", Measurement("plain", **common), seed=0, command="")
    assert plain.device.startswith("CPU (") and plain.n_parameters == 0
    frozen = nn.Linear(2, 3)
    frozen.bias.requires_grad_(False)
    assert Measurement("frozen", network=frozen, **common).n_parameters == 6
    scores = comparison.as_record(
        "test", replace(found["CPU"], metrics={"f": np.float32(1 / 3)}), seed=0, command=""
    )
    assert scores.metrics == {"f": 0.33333}


def test_a_run_that_was_cut_off_measures_only_what_is_missing(tmp_path) -> None:
    path = tmp_path / "sizes.json"
    plain, two, three = SIZES.run(5)
    results.save(path, [comparison.as_record("sizes", m, seed=5, command="") for m in (plain, two)])
    done = comparison.measured_before("sizes", path, seed=5)
    assert done == {"size: nothing", "size: two"}
    assert [m.variant for m in SIZES.run(5, done=done)] == ["size: three"]
    everything = {m.variant for m in (plain, two, three)}
    unread = replace(SIZES, load=None)  # nothing is loaded where nothing is missing
    assert list(unread.run(5, done=everything)) == []
    # another question, seed, size or version is not what was asked
    assert comparison.measured_before("others", path, seed=5) == set()
    assert comparison.measured_before("sizes", path, seed=6) == set()
    assert comparison.measured_before("sizes", path, seed=5, n_tracks=12) == set()
    assert comparison.measured_before("sizes", path, seed=5, n_tracks=30) == done
    assert comparison.measured_before("sizes", tmp_path / "none.json", seed=5) == set()
    old = [replace(r, data={**r.data, "version": "old"}) for r in results.load(path)]
    path.unlink()
    results.save(path, old)
    assert comparison.measured_before("sizes", path, seed=5) == set()


def test_variants_can_be_measured_alone() -> None:
    some = comparison.AllBut(["size: three", "size: nothing"])
    assert [m.variant for m in SIZES.run(5, done=some)] == ["size: nothing", "size: three"]
    assert list(replace(SIZES, load=None).run(5, done=comparison.AllBut(["size: four"]))) == []


def test_an_experiment_that_runs_as_a_whole_says_so() -> None:
    with pytest.raises(ConfigError, match="without --resume"):
        next(comparison.run("features_at_speed", done=set()))
