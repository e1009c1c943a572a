"""Training: one configuration, one function, on any device, safe to kill.

A *system* (a LightningModule) says what a step is; this module does the rest: seeds, device and
precision, early stopping and the best checkpoint on ``val_loss``, a stop with a message when the
loss is no longer a number, resuming. Checkpoints are safetensors files (tensors plus a JSON
header), so loading one can never run code.

A run is a folder: ``run.json`` (what it depends on), ``best.safetensors`` and ``last.safetensors``
(after every epoch). Each checkpoint repeats what the run depends on and names no path, so a folder
can be moved or copied, and files of two runs are never mixed. One process at a time trains in it.
"""

from __future__ import annotations

import inspect
import json
import logging
import math
import random
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import lightning as L
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint, TQDMProgressBar
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor

from dl101.config import Count, KeysOf, NotNegative, Positive, Range, Settings
from dl101.data.cache import replacing
from dl101.errors import ConfigError, DataError, TrainingError
from dl101.progress import progress_enabled
from dl101.training.checkpoints import SafetensorsCheckpointIO, load_weights, read_safetensors

Precision = Literal[
    "auto", "32-true", "16-mixed", "bf16-mixed", "16-true", "bf16-true", "64-true"
]  # fmt: skip


def _trainer_options() -> list[str]:
    ours = ("callbacks", "plugins")  # without which nothing is saved
    return [name for name in inspect.signature(L.Trainer).parameters if name not in ours]


@dataclass(frozen=True)
class TrainingConfig(Settings):
    """How to train.

    Attributes
    ----------
    max_epochs
        Upper bound on passes over the training data.
    patience
        Epochs without a better ``val_loss`` before training stops.
    batch_size
        Patches per step.
    learning_rate, weight_decay
        Of AdamW. The rate rises over the first tenth of the steps and falls to zero along half a
        cosine (``schedule="cosine"``) or stays (``"constant"``).
    gradient_clip
        Largest allowed norm of the gradient, or None.
    precision
        Lightning's name, or ``"auto"``: bfloat16 mixed precision on CUDA, 32 bits elsewhere.
    num_workers
        Data-loader processes; 0 loads in the training process, best for small data in memory.
    trainer
        Passed on to ``lightning.Trainer`` as is (``devices``, ``strategy``, ``num_nodes``, ...).
    """

    max_epochs: Count = 10
    patience: Annotated[int, Range(at_least=0, at_most=1_000_000_000)] = 10
    batch_size: Count = 16
    learning_rate: Positive = 1e-3
    weight_decay: NotNegative = 0.0
    schedule: Literal["cosine", "constant"] = "cosine"
    gradient_clip: Positive | None = 1.0
    precision: Precision = "auto"
    num_workers: Annotated[int, Range(at_least=0, at_most=256)] = 0
    trainer: Annotated[Mapping[str, Any], KeysOf(_trainer_options)] = field(default_factory=dict)


@dataclass(frozen=True)
class FitResult:
    """What training left: the best weights (already loaded), the curve, and the cost."""

    checkpoint: Path
    history: list[dict[str, float]]
    wall_time_s: float


class System(L.LightningModule):
    """Base of all systems: optimiser and schedule from a :class:`TrainingConfig`.

    A subclass defines ``loss(batch) -> Tensor``; batches are dictionaries of tensors.

    Attributes
    ----------
    shipped_dtype
        Type of the weights in a file that ships; None keeps theirs.
    """

    shipped_dtype: torch.dtype | None = None

    def __init__(self, training: TrainingConfig) -> None:
        super().__init__()
        self.training_config = training

    def loss(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Return the scalar loss of a batch."""
        raise NotImplementedError

    def training_step(self, batch: Mapping[str, Tensor], batch_idx: int) -> Tensor:
        """Return the loss to minimise, and log it."""
        loss = self.loss(batch)
        n = len(next(iter(batch.values())))
        options = {"on_step": False, "on_epoch": True, "prog_bar": True, "sync_dist": True}
        self.log("train_loss", loss, batch_size=n, **options)
        return loss

    def validation_step(self, batch: Mapping[str, Tensor], batch_idx: int) -> None:
        """Log the loss that early stopping and the choice of checkpoint watch."""
        n = len(next(iter(batch.values())))
        self.log("val_loss", self.loss(batch), prog_bar=True, batch_size=n, sync_dist=True)

    def parameter_groups(self) -> Any:
        """Return what is trained; groups may have rates of their own."""
        return self.parameters()

    def configure_optimizers(self) -> Any:
        """Return AdamW and, unless constant, a warm-up and cosine schedule stepped every batch."""
        config = self.training_config
        optimizer = torch.optim.AdamW(
            self.parameter_groups(), lr=config.learning_rate, weight_decay=config.weight_decay
        )
        if config.schedule == "constant":
            return optimizer
        n_steps = max(int(self.trainer.estimated_stepping_batches), 1)
        n_warm = max(n_steps // 10, 1)

        def factor(step: int) -> float:
            if step < n_warm:
                return (step + 1) / n_warm
            share = min((step - n_warm) / max(n_steps - n_warm, 1), 1.0)
            return 0.5 * (1 + math.cos(math.pi * share))

        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": "step"},
        }


# ---------------------------------------------------------------------------------- checkpoints


# ------------------------------------------------------------------------------------ callbacks


class History(Callback):
    """Keep the logged values of every epoch and the time they took, across resumes too."""

    def __init__(self) -> None:
        self.rows: list[dict[str, float]] = []
        self.begun_s = time.perf_counter()

    @property
    def wall_time_s(self) -> float:
        """How long the run has taken until now, without epochs that a kill undid."""
        return time.perf_counter() - self.begun_s

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Append this epoch's means (validation has already run)."""
        row = {name: float(value) for name, value in trainer.callback_metrics.items()}
        self.rows.append({"epoch": trainer.current_epoch + 1, **row})

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint must hold."""
        return {"rows": self.rows, "wall_time_s": self.wall_time_s}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the curve where the killed run left it."""
        self.rows = list(state_dict["rows"])
        self.begun_s = time.perf_counter() - state_dict["wall_time_s"]


class RunCheckpoint(ModelCheckpoint):
    """A checkpoint with one name in the run's folder, wherever that folder is.

    Lightning writes paths into its checkpoints and goes back to them when it resumes: here they are
    names, read as files of the present folder.
    """

    FILE_EXTENSION = ".safetensors"

    def state_dict(self) -> dict[str, Any]:
        """Return Lightning's state without the folder."""
        return _with_paths(super().state_dict(), lambda path: Path(path).name)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up Lightning's state in this folder."""
        here = Path(self.dirpath)
        super().load_state_dict(
            {**_with_paths(state_dict, lambda path: str(here / path)), "dirpath": self.dirpath}
        )


def _with_paths(state: Mapping[str, Any], change: Callable[[str], str]) -> dict[str, Any]:
    """Return the state of a ``ModelCheckpoint`` with each path in it changed."""
    changed = {**state, "dirpath": None}
    for name in ("best_model_path", "kth_best_model_path", "last_model_path"):
        changed[name] = change(state[name]) if state[name] else ""
    changed["best_k_models"] = {change(k): score for k, score in state["best_k_models"].items()}
    return changed


class StopWhereItStopped(EarlyStopping):
    """Early stopping that a resumed run remembers: a run that had stopped trains no further."""

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Stop at once if the checkpoint was the last of its run."""
        if 0 < self.wait_count >= self.patience:
            trainer.should_stop = True


class Randomness(Callback):
    """Let a resumed run draw the numbers that it would have drawn without the interruption."""

    def __init__(self) -> None:
        self.state: dict[str, Any] | None = None

    def state_dict(self) -> dict[str, Any]:
        """Return the state of every generator that a training may draw from."""
        name, key, *rest = np.random.get_state()
        return {
            "torch": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
            "numpy": (name, key.tolist(), *rest),
            "python": random.getstate(),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keep the state until training goes on: what Lightning draws before is not the run's."""
        self.state = state_dict

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Set the generators, and begin the epoch's batches anew.

        Lightning has begun them before it told the sampler which epoch this is, and workers may
        have read ahead.
        """
        if self.state is None:
            return
        state, self.state = self.state, None
        torch.set_rng_state(state["torch"])
        if len(state["cuda"]) == torch.cuda.device_count():
            torch.cuda.set_rng_state_all(state["cuda"])
        np.random.set_state(state["numpy"])
        random.setstate(state["python"])
        iter(trainer.fit_loop._data_fetcher)


class StopOnNonFinite(Callback):
    """Stop with an explanation as soon as a loss is infinite or not a number."""

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, *args: Any
    ) -> None:
        """Check the loss of the step that has just been taken."""
        self._check(trainer, outputs["loss"] if isinstance(outputs, Mapping) else outputs)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Check the mean loss of the validation that has just ended."""
        self._check(trainer, trainer.callback_metrics["val_loss"])

    @staticmethod
    def _check(trainer: L.Trainer, loss: Tensor) -> None:
        where = f"training, epoch {trainer.current_epoch + 1}, step {trainer.global_step}"
        check_loss(loss, where, trainer.optimizers[0])


def check_loss(loss: Tensor | float, where: str, optimizer: torch.optim.Optimizer) -> None:
    """Stop a training that has diverged; :func:`fit` calls it, a loop written by hand must.

    Parameters
    ----------
    loss
        Of a step or of the validation.
    where
        What is trained, and how far it is.
    optimizer
        What trains it.

    Raises
    ------
    TrainingError
        If the loss is infinite or not a number.
    """
    loss = float(loss.detach() if isinstance(loss, Tensor) else loss)
    if not math.isfinite(loss):
        rate = optimizer.param_groups[0]["lr"]
        raise TrainingError(
            where,
            got=f"a loss of {loss} at learning rate {rate:.2g}",
            expected="a finite number",
            hint="lower the learning rate (training.learning_rate), clip the gradient "
            "(training.gradient_clip), or look for NaN in the input",
        )


# ------------------------------------------------------------------------------------------ fit


def fit(
    system: System,
    datamodule: L.LightningDataModule,
    run_dir: Path | str,
    *,
    seed: int = 0,
    description: Mapping[str, Any] | None = None,
    resume: bool = False,
    progress: bool = True,
) -> FitResult:
    """Train a system and load its best weights into it, on the device it was trained on.

    Parameters
    ----------
    system
        What to train; its ``training_config`` says how.
    datamodule
        Gives the training and validation batches.
    run_dir
        Folder of this run's checkpoints (``best.safetensors``, ``last.safetensors``) and of its
        description (``run.json``).
    description
        Whatever else the run depends on (configuration, version of the data). It is written into
        the checkpoints, and a resumed run must have the same.
    seed
        Of every random number from here on. Build the system after ``seed_everything`` too, or
        its initial weights are not reproducible.
    resume
        Go on from ``last.safetensors`` if it exists. Otherwise the run's files are replaced.

    Raises
    ------
    ConfigError
        If another process trains in the folder, or if the run to resume was begun with another
        description or seed.
    DataError
        If a file of the run to resume is damaged or missing.
    TrainingError
        If the loss of training or validation stops being a finite number.
    """
    run_dir = Path(run_dir)
    if rank_zero_only.rank > 0:  # of several processes, the first answers for the folder
        return _fit(system, datamodule, run_dir, seed, {}, resume, progress)
    identity = json.loads(json.dumps({"seed": seed, **(description or {})}))
    with _alone_in(run_dir, system.training_config.num_workers):
        _begin_or_check(run_dir, identity, resume)
        return _fit(system, datamodule, run_dir, seed, identity, resume, progress)


def _fit(
    system: System,
    datamodule: L.LightningDataModule,
    run_dir: Path,
    seed: int,
    identity: Mapping[str, Any],
    resume: bool,
    progress: bool,
) -> FitResult:
    config, last = system.training_config, run_dir / "last.safetensors"
    history = History()
    always = {"save_last": False, "save_top_k": 1, "enable_version_counter": False}
    best = RunCheckpoint(run_dir, "best", monitor="val_loss", **always)
    callbacks: list[Callback] = [
        history,
        Randomness(),
        StopOnNonFinite(),
        StopWhereItStopped("val_loss", patience=config.patience),
        best,
        # after the best, so that the last never knows of a best that is not there
        RunCheckpoint(run_dir, "last", every_n_epochs=1, save_on_train_epoch_end=True, **always),
    ]
    show = progress and progress_enabled()
    if show:
        callbacks.append(TQDMProgressBar(leave=False))
    L.seed_everything(seed, workers=True, verbose=False)
    with _quiet_lightning():
        options = {
            "max_epochs": config.max_epochs,
            "callbacks": callbacks,
            "precision": _precision(config),
            "gradient_clip_val": config.gradient_clip,
            "logger": False,
            "enable_progress_bar": show,
            "enable_model_summary": False,
            "num_sanity_val_steps": 0,
            "plugins": [SafetensorsCheckpointIO({"run": json.dumps(identity, sort_keys=True)})],
        }
        trainer = L.Trainer(**{**options, **config.trainer})
        try:
            trainer.fit(system, datamodule, ckpt_path=last if resume and last.exists() else None)
        except SystemExit as error:
            # Lightning turns Ctrl-C into an exit; a notebook or a caller wants the interrupt
            if isinstance(error.__context__, KeyboardInterrupt):
                raise KeyboardInterrupt from None
            raise
        wall_time_s = history.wall_time_s
    checkpoint = Path(best.dirpath) / "best.safetensors"  # in the folder of the first process
    load_weights(system, checkpoint)
    system.to(trainer.strategy.root_device)  # Lightning leaves it on the CPU
    system.eval()
    return FitResult(checkpoint, history.rows, wall_time_s)


@contextmanager
def _alone_in(run_dir: Path, num_workers: int) -> Iterator[None]:
    """Hold a run's folder, made if it is missing; a process that is killed lets go of it."""
    from filelock import FileLock, Timeout

    run_dir.mkdir(parents=True, exist_ok=True)
    # data-loader processes share the lock, and need some seconds to notice that their parent died
    lock = FileLock(run_dir / ".lock", timeout=10 if num_workers else 0)
    try:
        lock.acquire()
    except Timeout:
        raise ConfigError(
            f"run folder {run_dir}",
            got="a folder in which another process is training",
            expected="one process at a time",
            hint="wait until it has ended, or choose another folder (--run-dir)",
        ) from None
    try:
        yield
    finally:
        lock.release()


def _begin_or_check(run_dir: Path, identity: Mapping[str, Any], resume: bool) -> None:
    """Describe a fresh run and clear what an earlier one left, or check that it is the same run."""
    described = run_dir / "run.json"
    best, last = (run_dir / f"{name}.safetensors" for name in ("best", "last"))
    for name in ("run.json", best.name, last.name):  # what a killed process was writing
        for part in run_dir.glob(f".{name}.*.part"):
            part.unlink(missing_ok=True)
    if resume:
        if described.exists():
            _check_same(_read_description(described), identity, described)
        for path in (best, last):
            if path.exists():
                header = read_safetensors(path, header_only=True)[1]
                _check_same(json.loads(header.get("run", "{}")), identity, path)
    if not (resume and last.exists()):
        for path in (best, last):
            path.unlink(missing_ok=True)
    elif not best.exists():
        raise DataError(
            f"run to resume in {run_dir}",
            got=f"{last.name} without {best.name}",
            expected="both checkpoints of the run",
            hint="copy the whole folder, or start afresh without resume",
        )
    with replacing(described) as temporary:
        temporary.write_text(json.dumps(identity, indent=1, sort_keys=True) + "\n", "utf-8")


def _read_description(path: Path) -> dict[str, Any]:
    try:
        description = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(description, dict):
            return description
        found = f"a {type(description).__name__}"
    except (ValueError, RecursionError) as error:
        found = f"{type(error).__name__}: {error}"
    raise DataError(
        f"description of a run, {path}",
        got=found,
        expected="the JSON object that training wrote",
        hint="delete it (the checkpoints repeat what it says), or start afresh without resume",
    )


def _check_same(begun: Mapping[str, Any], now: Mapping[str, Any], path: Path) -> None:
    """Refuse a file of another run, naming what is different."""
    before, after = _flat(begun), _flat(now)
    differing = [
        f"{name} ({before.get(name, 'none')}, now {after.get(name, 'none')})"
        for name in sorted(before.keys() | after.keys())
        if before.get(name) != after.get(name)
    ]
    if differing:
        raise ConfigError(
            f"run to resume, {path}",
            got=f"a run begun with another {', '.join(differing[:5])}",
            expected="the seed, configuration and data of this run",
            hint="give the same settings, or start afresh without resume",
        )


def _flat(tree: Mapping[str, Any], above: str = "") -> dict[str, str]:
    """Return the leaves of nested mappings as JSON, each under its dotted name."""
    leaves: dict[str, str] = {}
    for name, value in tree.items():
        if isinstance(value, Mapping) and value:
            leaves |= _flat(value, f"{above}{name}.")
        else:
            leaves[f"{above}{name}"] = json.dumps(value, sort_keys=True)
    return leaves


def _precision(config: TrainingConfig) -> str:
    """Return bfloat16 where the device computes in it, not merely emulates it."""
    if config.precision != "auto":
        return config.precision
    on_cuda = torch.cuda.is_available() and config.trainer.get("accelerator", "auto") != "cpu"
    fast = on_cuda and torch.cuda.is_bf16_supported(including_emulation=False)
    return "bf16-mixed" if fast else "32-true"


@contextmanager
def _quiet_lightning() -> Iterator[None]:
    """Hold back Lightning's advertisements and hints that do not apply to small data in memory."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        warnings.filterwarnings("ignore", message=".*Checkpoint directory .* exists.*")
        warnings.filterwarnings("ignore", category=FutureWarning, module="lightning")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
