"""Systems keep their protocol; two processes train as one run, and go on after a kill."""

from __future__ import annotations

import contextlib
import inspect
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from dl101.errors import ConfigError
from dl101.training import protocol
from dl101.training.protocol import Evaluation, SystemModule

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
PROMISED = [name for name in vars(SystemModule) if not name.startswith("_")]


@pytest.mark.parametrize("name", protocol.names())
def test_a_system_has_what_all_systems_have(name):
    module = protocol.find(name)
    assert {"scale", "data", "training"} <= set(module.Config.__dataclass_fields__)
    assert isinstance(module.Config.variant, property)
    for promised in PROMISED:
        given = inspect.signature(getattr(module, promised)).parameters
        asked = list(inspect.signature(getattr(SystemModule, promised)).parameters.values())[1:]
        by_name = [p.name for p in asked if p.kind is p.KEYWORD_ONLY]
        assert set(by_name) <= set(given), promised
        assert len([p for p in asked if p.name not in by_name]) <= len(given), promised


def test_an_unknown_system_gets_the_near_name():
    with pytest.raises(ConfigError, match="did you mean 'multi_pitch'"):
        protocol.find("multipitch")


def test_the_mean_is_over_tracks():
    found = Evaluation({"a": {"accuracy": 0.0, "recall": 1.0}, "b": {"accuracy": 0.5, "recall": 0}})
    assert found.mean == {"accuracy": 0.25, "recall": 0.5}


# ---- two processes -----------------------------------------------------------------------------

OPTIONS = (
    "data.n_tracks=6 training.max_epochs=4 training.patience=4 training.batch_size=2 "
    "feature.bins_per_semitone=1 feature.n_octaves=4 feature.f_min_hz=65.4 data.patch_frames=32"
).split()
TWO = "training.trainer={accelerator: cpu, devices: 2, strategy: ddp}"


def command(folder: Path, *more: str) -> list[str]:
    words = ["train", "multi_pitch", "--run-dir", str(folder / "run"), "--results"]
    words += [str(folder / "results.json"), *more, "--set", *OPTIONS, TWO]
    return [sys.executable, "-m", "dl101.cli", *words]


def environment(**more: str) -> dict[str, str]:
    shared = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "DL101_PROGRESS": "0"}
    return {**os.environ, **shared, **more}


def test_two_processes_train_as_one_run(tmp_path):
    """Killed after an epoch and resumed: the scores of an undisturbed run, recorded once."""
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    for folder in (whole, killed):
        folder.mkdir()
    done = subprocess.run(
        command(whole), env=environment(), cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    process = subprocess.Popen(
        command(killed),
        env=environment(),
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    last = killed / "run" / "last.safetensors"
    while process.poll() is None and not last.exists():  # it is there after the first epoch
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert last.exists() and not (killed / "results.json").exists()
    done = subprocess.run(
        command(killed, "--resume"),
        env=environment(),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    first, second = (
        json.loads((folder / "results.json").read_text())["records"] for folder in (whole, killed)
    )
    assert [r["variant"] for r in first] == ["conv2d-hcqt", "salience", "silence"]
    assert [r["metrics"] for r in first] == [r["metrics"] for r in second]
    assert "sync_dist" not in done.stderr
