"""Training on a toy system: what is promised about seeds, checkpoints, resuming and stopping."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import lightning as L
import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from dl101.errors import ConfigError, DataError, TrainingError
from dl101.training.batches import EpochShuffle
from dl101.training.checkpoints import SafetensorsCheckpointIO, load_weights, save_weights
from dl101.training.fit import History, System, TrainingConfig, fit
from tests.killing import count_calls, killed_at

pytestmark = pytest.mark.slow


class Toy(System):
    def __init__(self, config, explode_at=None):
        super().__init__(config)
        self.layer = nn.Linear(4, 1)
        self.explode_at = explode_at

    def loss(self, batch):
        loss = nn.functional.mse_loss(self.layer(batch["input"]), batch["target"])
        if self.training and self.explode_at == self.trainer.global_step:
            loss = loss * float("nan")
        return loss


class Forgetful(Toy):
    """Draws random numbers in every step."""

    def loss(self, batch):
        dropped = nn.functional.dropout(batch["input"], 0.5, self.training)
        return super().loss({**batch, "input": dropped})


class Worsening(Toy):
    """The first epoch is the best."""

    def loss(self, batch):
        return super().loss(batch) + (0 if self.training else 100 * self.trainer.current_epoch)


class Numbers(L.LightningDataModule):
    """Fixed linear data, shuffled anew each epoch."""

    def __init__(self, num_workers=0):
        super().__init__()
        rng = np.random.default_rng(0)
        x = torch.tensor(rng.normal(size=(64, 4)), dtype=torch.float32)
        y = x @ torch.tensor([[1.0], [-2.0], [0.5], [3.0]])
        self.items = [{"input": a, "target": b} for a, b in zip(x, y, strict=True)]
        self.workers = {"num_workers": num_workers, "persistent_workers": num_workers > 0}

    def train_dataloader(self):
        order = EpochShuffle(64, seed=3)
        return DataLoader(self.items, batch_size=8, sampler=order, **self.workers)

    def val_dataloader(self):
        return DataLoader(self.items, batch_size=64)


def make(max_epochs, kind=Toy, **changes):
    L.seed_everything(7, verbose=False)
    return kind(TrainingConfig(max_epochs=max_epochs, learning_rate=0.05, **changes))


class KillBefore(L.Callback):
    """End the process before an epoch, as far as the run can tell."""

    def __init__(self, epoch):
        self.epoch = epoch

    def on_train_epoch_start(self, trainer, module):
        if trainer.current_epoch == self.epoch:
            raise SystemExit("killed")


def kill_before(epoch, system, data, folder, **options):
    system.configure_callbacks = lambda: [KillBefore(epoch)]
    with pytest.raises(SystemExit):
        fit(system, data, folder, progress=False, **options)


def read_checkpoint(path):
    return SafetensorsCheckpointIO().load_checkpoint(path)


def weights_in(path):
    system = make(1)
    load_weights(system, path)
    return weights(system)


def weights(system):
    return torch.cat([p.detach().ravel() for p in system.parameters()])


def test_training_lowers_the_loss_and_loads_the_best_weights(tmp_path):
    system = make(5)
    result = fit(system, Numbers(), tmp_path, progress=False)
    losses = [row["val_loss"] for row in result.history]
    assert len(losses) == 5
    assert losses[-1] < 0.5 * losses[0]
    with torch.no_grad():
        batch = next(iter(Numbers().val_dataloader()))
        assert float(system.loss(batch)) == pytest.approx(min(losses), rel=1e-5)
    assert not system.training


def test_same_seed_same_weights(tmp_path):
    runs = []
    for name in "ab":
        system = make(2)
        fit(system, Numbers(), tmp_path / name, seed=1, progress=False)
        runs.append(weights(system))
    assert torch.equal(*runs)


@pytest.mark.parametrize(
    ("kind", "num_workers"), [(Toy, 0), (Forgetful, 0), (Toy, 1)], ids=["", "dropout", "workers"]
)
def test_resumed_run_equals_uninterrupted_run(tmp_path, kind, num_workers):
    def data():
        return Numbers(num_workers)

    whole = make(4, kind, num_workers=num_workers)
    result = fit(whole, data(), tmp_path / "whole", progress=False)
    kill_before(2, make(4, kind, num_workers=num_workers), data(), tmp_path / "cut")
    second = make(4, kind, num_workers=num_workers)
    with torch.no_grad():
        second.layer.weight.zero_()  # whatever it starts from, the checkpoint decides
    torch.rand(5)
    resumed = fit(second, data(), tmp_path / "cut", resume=True, progress=False)
    assert torch.equal(weights(whole), weights(second))
    assert resumed.history == result.history


def test_last_is_the_last_epoch_though_the_first_was_the_best(tmp_path):
    system = make(4, Worsening)
    result = fit(system, Numbers(), tmp_path, progress=False)
    first, last = (read_checkpoint(tmp_path / f"{name}.safetensors") for name in ("best", "last"))
    assert (first["epoch"], last["epoch"]) == (0, 3)
    assert result.checkpoint == tmp_path / "best.safetensors"
    assert torch.equal(weights(system), weights_in(result.checkpoint))


def test_a_run_that_is_killed_after_every_epoch_ends(tmp_path):
    for epoch in range(1, 4):
        kill_before(epoch, make(4, Worsening), Numbers(), tmp_path, resume=True)
        assert read_checkpoint(tmp_path / "last.safetensors")["epoch"] == epoch - 1
    whole = make(4, Worsening)
    expected = fit(whole, Numbers(), tmp_path / "whole", progress=False)
    result = fit(make(4, Worsening), Numbers(), tmp_path, resume=True, progress=False)
    assert result.history == expected.history


@pytest.mark.parametrize("max_epochs", [3, 50], ids=["by epochs", "early"])
def test_a_run_that_has_ended_trains_no_further(tmp_path, max_epochs):
    ended = make(max_epochs, Worsening, patience=2)
    result = fit(ended, Numbers(), tmp_path, progress=False)
    assert len(result.history) == 3
    again = make(max_epochs, Worsening, patience=2)
    assert fit(again, Numbers(), tmp_path, resume=True, progress=False).history == result.history
    assert torch.equal(weights(again), weights(ended))


@pytest.mark.parametrize("transfer", [shutil.move, shutil.copytree])
@pytest.mark.parametrize("kind", [Toy, Worsening], ids=["best is new", "best is old"])
def test_a_run_goes_on_in_another_folder(tmp_path, transfer, kind):
    whole = make(4, kind)
    expected = fit(whole, Numbers(), tmp_path / "whole", progress=False)
    old, new = tmp_path / "old", tmp_path / "new"
    kill_before(2, make(4, kind), Numbers(), old)
    transfer(old, new)
    if old.exists():  # what is there is not the run's any more
        for path in old.glob("*.safetensors"):
            path.write_bytes(b"of somebody else")
    system = make(4, kind)
    result = fit(system, Numbers(), new, resume=True, progress=False)
    assert torch.equal(weights(system), weights(whole))
    assert result.history == expected.history
    assert result.checkpoint == new / "best.safetensors"
    assert sorted(path.name for path in new.glob("*.*")) == [
        ".lock",
        "best.safetensors",
        "last.safetensors",
        "run.json",
    ]
    assert str(tmp_path).encode() not in (new / "last.safetensors").read_bytes()


def test_one_process_at_a_time_trains_in_a_folder(tmp_path):
    class Second(L.Callback):
        def on_train_epoch_start(self, trainer, module):
            with pytest.raises(ConfigError, match="another process is training"):
                fit(make(4), Numbers(), tmp_path, seed=trainer.current_epoch, progress=False)

    whole, first = make(2), make(2)
    fit(whole, Numbers(), tmp_path / "whole", progress=False)
    first.configure_callbacks = lambda: [Second()]
    fit(first, Numbers(), tmp_path, progress=False)
    assert torch.equal(weights(whole), weights(first))


@pytest.mark.parametrize("mixed_in", ["run.json", "best.safetensors", "last.safetensors"])
def test_files_of_two_runs_are_not_mixed(tmp_path, mixed_in):
    for seed, name in enumerate("ab"):
        kill_before(2, make(4), Numbers(), tmp_path / name, seed=seed)
    shutil.copy(tmp_path / "b" / mixed_in, tmp_path / "a")
    with pytest.raises(ConfigError, match=rf"{mixed_in}.*another seed \(1, now 0\)"):
        fit(make(4), Numbers(), tmp_path / "a", resume=True, progress=False)
    with pytest.raises(ConfigError, match="another seed"):
        fit(make(4), Numbers(), tmp_path / "a", seed=1, resume=True, progress=False)


@pytest.mark.parametrize("text", ["", '{"seed": 0, "con', "[]", "null", "[" * 100_000])
def test_a_damaged_description_is_named(tmp_path, text):
    kill_before(1, make(2), Numbers(), tmp_path)
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(DataError, match=r"run\.json"):
        fit(make(2), Numbers(), tmp_path, resume=True, progress=False)
    (tmp_path / "run.json").unlink()  # as the message says
    fit(make(2), Numbers(), tmp_path, resume=True, progress=False)
    assert json.loads((tmp_path / "run.json").read_text()) == {"seed": 0}


def test_half_a_folder_is_not_resumed(tmp_path):
    kill_before(1, make(2), Numbers(), tmp_path)
    (tmp_path / "best.safetensors").unlink()
    with pytest.raises(DataError, match=r"last\.safetensors without best\.safetensors"):
        fit(make(2), Numbers(), tmp_path, resume=True, progress=False)


def test_the_time_of_a_resumed_run_is_that_of_all_its_parts(monkeypatch):
    now = iter([0.0, 100.0, 1000.0, 1000.0, 1007.0])
    monkeypatch.setattr("dl101.training.fit.time.perf_counter", lambda: next(now))
    state = History().state_dict()
    history = History()
    history.load_state_dict(state)
    assert history.wall_time_s == 107.0


def work_in(folder):
    fit(make(6, Forgetful), Numbers(), folder, resume=True, progress=False)


def kill_again_and_again(folder):
    """Train in forks of this process, each killed at a random call, the last left alone."""
    work_in(folder / "warm")  # so that calls are those of training, not of imports
    n_calls = count_calls(lambda: work_in(folder / "counted"))
    rng = np.random.default_rng(0)
    for run in range(3):
        for _ in range(12):  # each gets a third of the way at most
            killed_at(
                int(rng.integers(1, n_calls // 3)), lambda run=run: work_in(folder / f"{run}")
            )
        assert not killed_at(2 * n_calls, lambda run=run: work_in(folder / f"{run}"))


def test_a_run_killed_at_random_moments_ends_as_if_nothing_had_happened(tmp_path):
    code = (
        "import pathlib, sys\nfrom tests.training.test_fit import kill_again_and_again\n"
        "kill_again_and_again(pathlib.Path(sys.argv[1]))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    for folder in "012":
        for name in ("best.safetensors", "last.safetensors"):
            killed, whole = tmp_path / folder / name, tmp_path / "counted" / name
            assert torch.equal(weights_in(killed), weights_in(whole))
            rows = [
                read_checkpoint(path)["callbacks"]["History"]["rows"] for path in (killed, whole)
            ]
            assert rows[0] == rows[1]
        files = {path.name for path in (tmp_path / folder).iterdir()}
        assert files == {".lock", "run.json", "best.safetensors", "last.safetensors"}


def test_without_resume_old_checkpoints_are_not_trusted(tmp_path):
    fit(make(1), Numbers(), tmp_path, progress=False)
    system = make(2)
    result = fit(system, Numbers(), tmp_path, progress=False)
    assert [row["epoch"] for row in result.history] == [1, 2]


def test_nan_stops_with_a_message(tmp_path):
    system = make(3)
    system.explode_at = 5
    with pytest.raises(TrainingError, match=r"epoch 1.*loss of nan.*learning_rate"):
        fit(system, Numbers(), tmp_path, progress=False)


def test_nan_in_validation_stops_with_a_message(tmp_path):
    data = Numbers()
    data.val_dataloader = lambda: DataLoader(
        [{"input": torch.ones(4), "target": torch.full((1,), torch.inf)}]
    )
    with pytest.raises(TrainingError, match=r"epoch 1.*loss of inf"):
        fit(make(3), data, tmp_path, progress=False)


def test_only_a_runs_own_files_are_replaced(tmp_path):
    (tmp_path / "precious.safetensors").write_bytes(b"somebody else's")
    fit(make(1), Numbers(), tmp_path, progress=False)
    fit(make(1), Numbers(), tmp_path, progress=False)
    assert (tmp_path / "precious.safetensors").read_bytes() == b"somebody else's"


def test_another_run_is_not_resumed(tmp_path):
    fit(make(1), Numbers(), tmp_path, description={"data": "a"}, progress=False)
    with pytest.raises(ConfigError, match="begun with another data"):
        fit(make(2), Numbers(), tmp_path, description={"data": "b"}, resume=True, progress=False)
    with pytest.raises(ConfigError, match="begun with another seed"):
        fit(
            make(2),
            Numbers(),
            tmp_path,
            description={"data": "a"},
            seed=1,
            resume=True,
            progress=False,
        )


def test_interrupt_reaches_the_caller(tmp_path):
    system = make(2)

    class Interrupt(L.Callback):
        def on_train_epoch_end(self, trainer, module):
            raise KeyboardInterrupt

    system.configure_callbacks = lambda: [Interrupt()]
    with pytest.raises(KeyboardInterrupt):
        fit(system, Numbers(), tmp_path, progress=False)


def test_early_stopping(tmp_path):
    system = make(50, patience=2)
    system.training_config = TrainingConfig(
        max_epochs=50, patience=2, learning_rate=1e-12, schedule="constant"
    )
    result = fit(system, Numbers(), tmp_path, progress=False)
    assert len(result.history) < 50


def test_checkpoint_round_trip_keeps_every_type(tmp_path):
    io = SafetensorsCheckpointIO()
    state = {
        "state_dict": {"a": torch.arange(3.0)},
        "nested": {0: [1, 2.5, None, True, "x"], "t": (torch.ones(2), float("inf"))},
    }
    io.save_checkpoint(state, tmp_path / "c.safetensors")
    loaded = io.load_checkpoint(tmp_path / "c.safetensors")
    assert loaded["nested"][0] == [1, 2.5, None, True, "x"]
    assert isinstance(loaded["nested"]["t"], tuple)
    assert loaded["nested"]["t"][1] == float("inf")
    assert torch.equal(loaded["state_dict"]["a"], torch.arange(3.0))


def test_objects_cannot_enter_a_checkpoint(tmp_path):
    with pytest.raises(TypeError, match="cannot hold"):
        SafetensorsCheckpointIO().save_checkpoint(
            {"state_dict": {}, "x": object()}, tmp_path / "c.safetensors"
        )
    assert not list(tmp_path.iterdir())


def test_damaged_or_foreign_checkpoints_are_refused(tmp_path):
    module = nn.Linear(2, 2)
    path = tmp_path / "w.safetensors"
    save_weights(module, path, {"made_by": "test"})
    assert load_weights(nn.Linear(2, 2), path) == {"made_by": "test"}
    with pytest.raises(DataError, match="of this configuration"):
        load_weights(nn.Linear(3, 2), path)
    with pytest.raises(DataError, match="without a training state"):
        SafetensorsCheckpointIO().load_checkpoint(path)
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(DataError, match="complete safetensors"):
        load_weights(module, path)
    torch.save({"weight": torch.ones(1)}, path)  # a pickle is not opened, whatever its name
    with pytest.raises(DataError, match="complete safetensors"):
        load_weights(module, path)


def test_lightning_options_pass_through(tmp_path):
    system = make(5, trainer={"limit_train_batches": 3, "max_epochs": 1})
    fit(system, Numbers(), tmp_path, progress=False)
    header = SafetensorsCheckpointIO().load_checkpoint(tmp_path / "last.safetensors")
    assert header["global_step"] == 3


def test_shuffle_depends_on_seed_and_epoch_only():
    sampler = EpochShuffle(20, seed=1)
    first = list(sampler)
    sampler.set_epoch(1)
    assert list(sampler) != first
    assert sorted(sampler) == list(range(20))
    sampler.set_epoch(0)
    assert list(sampler) == first
