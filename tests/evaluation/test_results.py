from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from dl101.errors import DataError, Dl101Error
from dl101.evaluation import results


def record(variant="conv2d", seed=0, accuracy=0.5, **changes):
    values = dict(
        experiment="multi_pitch",
        variant=variant,
        seed=seed,
        data={"name": "chorales", "tracks": 60},
        split="test",
        n_items=10,
        metrics={"accuracy": accuracy},
        config={"training": {"max_epochs": 1}},
        command="dl101 train multi_pitch",
        wall_time_s=1.5,
    )
    return results.Record(**{**values, **changes})


def test_round_trip_and_replacement(tmp_path):
    path = tmp_path / "r.json"
    results.save(path, [record(seed=0), record(seed=1)])
    results.save(path, [record(seed=1, accuracy=0.7)])
    loaded = results.load(path)
    assert [r.seed for r in loaded] == [0, 1]
    assert loaded[1].metrics["accuracy"] == 0.7
    assert loaded[0] == record(seed=0)


def test_runs_with_caches_of_their_own_lose_none_of_each_other_s_records(tmp_path):
    code = """
import sys
from dl101.evaluation import results
from tests.evaluation.test_results import record

for seed in range(40):
    results.save(sys.argv[1], [record(sys.argv[2], seed)])
"""
    path = tmp_path / "results" / "r.json"
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(path), name],
            env={**os.environ, "DL101_CACHE": str(tmp_path / name)},
            cwd=Path(__file__).parents[2],
        )
        for name in ("one", "other")
    ]
    assert [run.wait() for run in runs] == [0, 0]
    assert len(results.load(path)) == 80


def test_other_data_is_another_run(tmp_path):
    path = tmp_path / "r.json"
    results.save(path, [record(), record(data={"name": "chorales", "tracks": 600})])
    assert len(results.load(path)) == 2


def test_another_configuration_is_another_run_and_is_not_averaged(tmp_path):
    path = tmp_path / "r.json"
    longer = record(seed=1, config={"training": {"max_epochs": 9}})
    results.save(path, [record(), longer])
    results.save(path, [record(seed=1)])
    assert len(results.load(path)) == 3
    with pytest.raises(DataError, match="2 different configurations"):
        results.summarise(results.load(path), ["accuracy"])


def test_newer_data_version_replaces_the_older(tmp_path):
    path = tmp_path / "r.json"
    for version in ("1", "2"):
        results.save(path, [record(data={"name": "chorales", "version": version})])
    assert [r.data["version"] for r in results.load(path)] == ["2"]


def test_an_option_that_is_off_asks_what_was_asked_before_it_existed(tmp_path):
    path, before = tmp_path / "r.json", {"training": {"max_epochs": 1}}
    results.save(path, [record(config=before)])
    results.save(path, [record(accuracy=0.7, config={**before, "augmentation": None})])
    results.save(path, [record(accuracy=0.8, config={**before, "augmentation": {"level_db": 3}})])
    assert [r.metrics["accuracy"] for r in results.load(path)] in ([0.7, 0.8], [0.8, 0.7])


def test_published_results_are_found():
    assert results.load(results.find("multi_pitch"))
    with pytest.raises(DataError, match=r"nothing\.json"):
        results.load(results.find("nothing"))


def test_summary_gives_mean_and_sample_spread():
    rows = results.summarise(
        [record(seed=0, accuracy=0.4), record(seed=1, accuracy=0.6)], ["accuracy"]
    )
    assert rows[0]["accuracy"] == pytest.approx(0.5)
    assert rows[0]["accuracy_std"] == pytest.approx(math.sqrt(0.02))
    assert rows[0]["n_seeds"] == 2


@pytest.mark.parametrize("confidence", [0.95, 0.8])
def test_the_interval_of_a_mean_is_students(confidence):
    values = [0.10, 0.04, 0.16]
    low, high = results.student_interval(values, confidence)
    expected = stats.ttest_1samp(values, 0).confidence_interval(confidence)
    assert (low, high) == pytest.approx(tuple(expected))
    for few in ([], [0.1]):
        assert results.student_interval(few, confidence) == (-math.inf, math.inf)


def test_broken_file_is_named(tmp_path):
    path = tmp_path / "r.json"
    path.write_text('{"records": [{"variant": "a"}]}')
    with pytest.raises(DataError, match=r"r\.json"):
        results.load(path)


def test_a_score_that_is_no_number_does_not_lose_the_record(tmp_path):
    path = tmp_path / "r.json"
    made = {"a": math.nan, "b": -math.inf, "c": np.float32("inf"), "d": np.float32(0.5), "e": 2}
    results.save(path, [record(metrics=made, n_items=np.int64(10), config={"level_db": -math.inf})])
    results.save(path, [record(seed=1)])

    def refuse(token):
        raise AssertionError(token)  # no other reader knows these

    json.loads(path.read_text(), parse_constant=refuse)
    first, _ = results.load(path)
    assert math.isnan(first.metrics["a"])
    assert [first.metrics[name] for name in "bcde"] == [-math.inf, math.inf, 0.5, 2]
    assert first.n_items == 10
    results.save(path, [record(metrics=made, config={"level_db": -math.inf})])  # asks the same
    assert len(results.load(path)) == 2


def test_what_was_recorded_is_not_rewritten_otherwise(tmp_path):
    path = tmp_path / "r.json"
    for published in results.find("chroma").parent.glob("*.json"):
        results.save(path, results.load(published))
        assert path.read_text() == published.read_text()
        path.unlink()


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("file/r.json", None, "file to write"),
        ("folder", None, "got a folder"),
        ("file", None, "as written by dl101"),
        ("new/r.json", None, None),
        ("r.json", '{"records": []}', None),
    ],
)
def test_where_nothing_can_be_recorded_is_found_before(tmp_path, name, content, complaint):
    (tmp_path / "file").write_text("not results")
    (tmp_path / "folder").mkdir()
    if content:
        (tmp_path / name).write_text(content)
    if complaint:
        with pytest.raises(Dl101Error, match=complaint):
            results.check(tmp_path / name)
    else:
        results.check(tmp_path / name)
        results.save(tmp_path / name, [record()])
    assert not list(tmp_path.rglob("*.part"))


@pytest.mark.parametrize(
    ("device", "words"), [("cpu", "CPU"), ("mps:0", "MPS"), ("mps", "MPS"), ("xpu:1", "XPU")]
)
def test_devices_are_named(device, words):
    assert results.describe_device(device).startswith(f"{words} (")
