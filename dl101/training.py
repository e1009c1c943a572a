"""Training: one configuration, one function, on any device, safe to kill.

A *system* (a LightningModule) says what a step is; this module does the rest: seeds, device and
precision, early stopping and the best checkpoint on ``val_loss``, a stop with a message when the
loss is no longer a number, resuming. Checkpoints are safetensors files (tensors plus a JSON
header), so loading one can never run code.
"""

from __future__ import annotations

import inspect
import json
import logging
import math
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint, TQDMProgressBar
from lightning.pytorch.plugins.io import CheckpointIO
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from dl101.config import Count, KeysOf, NotNegative, Positive, Range, Settings
from dl101.data.cache import replacing
from dl101.errors import ConfigError, DataError, TrainingError
from dl101.progress import progress_enabled

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
    """

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
        self.log("train_loss", loss, on_step=False, on_epoch=True, prog_bar=True, batch_size=n)
        return loss

    def validation_step(self, batch: Mapping[str, Tensor], batch_idx: int) -> None:
        """Log the loss that early stopping and the choice of checkpoint watch."""
        n = len(next(iter(batch.values())))
        self.log("val_loss", self.loss(batch), prog_bar=True, batch_size=n, sync_dist=True)

    def configure_optimizers(self) -> Any:
        """Return AdamW and, unless constant, a warm-up and cosine schedule stepped every batch."""
        config = self.training_config
        optimizer = torch.optim.AdamW(
            self.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
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


def _pack(value: Any, tensors: dict[str, Tensor]) -> Any:
    """Turn a tree of plain data and tensors into JSON, moving tensors aside under a name."""
    if isinstance(value, Tensor):
        name = f"t{len(tensors)}"
        tensors[name] = value.detach().cpu().contiguous().clone()
        return {"tensor": name}
    if isinstance(value, Mapping):
        return {"map": [[_pack(k, tensors), _pack(v, tensors)] for k, v in value.items()]}
    if isinstance(value, tuple):
        return {"tuple": [_pack(item, tensors) for item in value]}
    if isinstance(value, list):
        return [_pack(item, tensors) for item in value]
    if isinstance(value, Path):
        return str(value)
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return {"float": repr(value)}  # JSON has no infinity, and best scores start there
    raise TypeError(f"a checkpoint cannot hold a {type(value).__name__}")


def _unpack(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    if isinstance(value, list):
        return [_unpack(item, tensors) for item in value]
    if isinstance(value, dict):
        ((kind, content),) = value.items()
        if kind == "tensor":
            return tensors[content]
        if kind == "map":
            return {_unpack(k, tensors): _unpack(v, tensors) for k, v in content}
        if kind == "tuple":
            return tuple(_unpack(item, tensors) for item in content)
        return float(content)
    return value


class SafetensorsCheckpointIO(CheckpointIO):
    """Lightning's checkpoints (weights, optimiser, loops, callbacks) as safetensors files."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None
    ) -> None:
        """Write atomically: a run that is killed never leaves half a checkpoint."""
        tensors: dict[str, Tensor] = {}
        # saved by name, so that the weights can be read without Lightning
        weights = {f"weights.{k}": v for k, v in checkpoint["state_dict"].items()}
        rest = {k: v for k, v in checkpoint.items() if k != "state_dict"}
        header = {"checkpoint": json.dumps(_pack(rest, tensors))}
        for name, value in weights.items():
            tensors[name] = value.detach().cpu().contiguous().clone()
        with replacing(path) as temporary:
            save_file(tensors, temporary, metadata=header)

    def load_checkpoint(
        self, path: Any, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Return the dictionary that was saved, or raise a DataError."""
        tensors, header = _read_safetensors(Path(path))
        if "checkpoint" not in header:
            raise DataError(
                f"checkpoint {path}",
                got="weights without a training state",
                expected="a checkpoint written during training",
                hint="load it with load_weights, or start a fresh run",
            )
        checkpoint = _unpack(json.loads(header["checkpoint"]), tensors)
        checkpoint["state_dict"] = {
            name.removeprefix("weights."): tensor
            for name, tensor in tensors.items()
            if name.startswith("weights.")
        }
        return checkpoint

    def remove_checkpoint(self, path: Any) -> None:
        """Delete a checkpoint that a better one replaces."""
        Path(path).unlink(missing_ok=True)


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}
    except Exception as error:  # safetensors raises its own, undocumented, type
        raise DataError(
            f"checkpoint {path}",
            got=f"{type(error).__name__}: {error}",
            expected="a complete safetensors file",
            hint="delete the file and train or download it again",
        ) from error


def save_weights(module: nn.Module, path: Path | str, metadata: Mapping[str, str]) -> None:
    """Write the weights of a module to a safetensors file, with text metadata."""
    tensors = {k: v.detach().cpu().contiguous().clone() for k, v in module.state_dict().items()}
    with replacing(path) as temporary:
        save_file(tensors, temporary, metadata=dict(metadata))


def load_weights(module: nn.Module, path: Path | str) -> dict[str, str]:
    """Load weights (of :func:`save_weights` or a checkpoint) into a module; return the metadata.

    Raises
    ------
    DataError
        If the file is damaged, or its weights are not those of this module.
    """
    tensors, metadata = _read_safetensors(Path(path))
    marked = [name for name in tensors if name.startswith("weights.")]
    weights = {n.removeprefix("weights."): tensors[n] for n in marked} if marked else tensors
    try:
        module.load_state_dict(weights)
    except RuntimeError as error:
        raise DataError(
            f"checkpoint {path}",
            got=" ".join(str(error).split()),
            expected=f"the weights of a {type(module).__name__} of this configuration",
            hint="build the module with the configuration that the checkpoint was trained with",
        ) from error
    return metadata


# ------------------------------------------------------------------------------------ callbacks


class History(Callback):
    """Keep the logged values of every epoch, across resumes too."""

    def __init__(self) -> None:
        self.rows: list[dict[str, float]] = []

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Append this epoch's means (validation has already run)."""
        row = {name: float(value) for name, value in trainer.callback_metrics.items()}
        self.rows.append({"epoch": trainer.current_epoch + 1, **row})

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint must hold."""
        return {"rows": self.rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the curve where the killed run left it."""
        self.rows = list(state_dict["rows"])


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
        if not torch.isfinite(loss):
            rate = trainer.optimizers[0].param_groups[0]["lr"]
            raise TrainingError(
                f"training, epoch {trainer.current_epoch + 1}, step {trainer.global_step}",
                got=f"a loss of {float(loss)} at learning rate {rate:.2g}",
                expected="a finite number",
                hint="lower training.learning_rate, set training.gradient_clip, or look for NaN "
                "in the input",
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
        Whatever else the run depends on (configuration, version of the data). A resumed run must
        have the same.
    seed
        Of every random number from here on. Build the system after ``seed_everything`` too, or
        its initial weights are not reproducible.
    resume
        Go on from ``last.safetensors`` if it exists. Otherwise the run's files are replaced.

    Raises
    ------
    ConfigError
        If the run to resume was begun with another description or seed.
    TrainingError
        If the loss of training or validation stops being a finite number.
    """
    config, run_dir = system.training_config, Path(run_dir)
    run_dir.mkdir(parents=True, exist_ok=True)
    last = run_dir / "last.safetensors"
    _begin_or_check(run_dir, {"seed": seed, **(description or {})}, resume and last.exists())
    history = History()
    best = ModelCheckpoint(run_dir, "best", monitor="val_loss", save_last=True)
    best.FILE_EXTENSION = ".safetensors"
    best.CHECKPOINT_NAME_LAST = "last"
    callbacks: list[Callback] = [
        history,
        StopOnNonFinite(),
        EarlyStopping("val_loss", patience=config.patience),
        best,
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
            "plugins": [SafetensorsCheckpointIO()],
        }
        trainer = L.Trainer(**{**options, **config.trainer})
        start = time.perf_counter()
        try:
            trainer.fit(system, datamodule, ckpt_path=last if resume and last.exists() else None)
        except SystemExit as error:
            # Lightning turns Ctrl-C into an exit; a notebook or a caller wants the interrupt
            if isinstance(error.__context__, KeyboardInterrupt):
                raise KeyboardInterrupt from None
            raise
        wall_time_s = time.perf_counter() - start
    checkpoint = Path(best.best_model_path)
    load_weights(system, checkpoint)
    system.to(trainer.strategy.root_device)  # Lightning leaves it on the CPU
    system.eval()
    return FitResult(checkpoint, history.rows, wall_time_s)


def _begin_or_check(run_dir: Path, description: Mapping[str, Any], resume: bool) -> None:
    """Describe a fresh run and clear what an earlier one left, or check that it is the same run."""
    path = run_dir / "run.json"
    text = json.dumps(description, indent=1, sort_keys=True)
    if not resume:
        for stale in (*run_dir.glob("best*.safetensors"), *run_dir.glob("last*.safetensors")):
            stale.unlink(missing_ok=True)
        with replacing(path) as temporary:
            temporary.write_text(text + "\n", encoding="utf-8")
        return
    begun = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    now = json.loads(text)
    if begun != now:
        differing = sorted(k for k in begun.keys() | now.keys() if begun.get(k) != now.get(k))
        raise ConfigError(
            f"run to resume in {run_dir}",
            got=f"a run begun with another {', '.join(differing)}",
            expected="the seed, configuration and data of this run",
            hint="give the same settings, or start afresh without resume",
        )


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
