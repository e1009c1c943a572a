"""Training on a toy system: what is promised about seeds, checkpoints, resuming and stopping."""

from __future__ import annotations

import lightning as L
import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from dl101.batches import EpochShuffle
from dl101.errors import ConfigError, DataError, TrainingError
from dl101.training import (
    SafetensorsCheckpointIO,
    System,
    TrainingConfig,
    fit,
    load_weights,
    save_weights,
)


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


class Numbers(L.LightningDataModule):
    """Fixed linear data, shuffled anew each epoch."""

    def __init__(self, validation_offset=0.0):
        super().__init__()
        rng = np.random.default_rng(0)
        x = torch.tensor(rng.normal(size=(64, 4)), dtype=torch.float32)
        y = x @ torch.tensor([[1.0], [-2.0], [0.5], [3.0]])
        self.items = [{"input": a, "target": b} for a, b in zip(x, y, strict=True)]
        self.offset = validation_offset

    def train_dataloader(self):
        return DataLoader(self.items, batch_size=8, sampler=EpochShuffle(64, seed=3))

    def val_dataloader(self):
        return DataLoader(self.items, batch_size=64)


def make(max_epochs, **changes):
    L.seed_everything(7, verbose=False)
    return Toy(TrainingConfig(max_epochs=max_epochs, learning_rate=0.05, **changes))


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


def test_resumed_run_equals_uninterrupted_run(tmp_path):
    whole = make(4)
    result = fit(whole, Numbers(), tmp_path / "whole", progress=False)

    class Killed(L.Callback):
        def on_train_epoch_start(self, trainer, module):
            if trainer.current_epoch == 2:
                raise SystemExit("killed")

    first = make(4, trainer={})
    first.configure_callbacks = lambda: [Killed()]
    with pytest.raises(SystemExit):
        fit(first, Numbers(), tmp_path / "cut", progress=False)
    second = make(4)
    with torch.no_grad():
        second.layer.weight.zero_()  # whatever it starts from, the checkpoint decides
    resumed = fit(second, Numbers(), tmp_path / "cut", resume=True, progress=False)
    assert torch.equal(weights(whole), weights(second))
    assert resumed.history == result.history


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
