"""What every system offers, and what is done alike with all of them: train, score, record.

A system is one file of ``dl101.systems``; its functions are the chapter in order, under the names
that :class:`SystemModule` lists. The command line, the notebooks and the results use these and no
others, so a system that has them can be trained by ``dl101 train NAME``, recorded and compared.
"""

from __future__ import annotations

import hashlib
import importlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from dl101 import config, systems
from dl101.data import source
from dl101.errors import ConfigError, did_you_mean
from dl101.evaluation import results
from dl101.training.checkpoints import load_weights
from dl101.training.fit import FitResult, System, fit

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
Sides = Mapping[str, Sequence[Any]]  # "train", "validation" and "test" to tracks


@dataclass(frozen=True)
class Evaluation:
    """Scores of the test side, and what was chosen on the validation side to get them.

    ``scores`` are by track; ``overall`` are those that only the side as a whole has, such as the
    area under a curve.
    """

    scores: Mapping[str, Mapping[str, float]]
    chosen: Mapping[str, float] = field(default_factory=dict)
    overall: Mapping[str, float] = field(default_factory=dict)

    @property
    def mean(self) -> dict[str, float]:
        """Return the mean of each score over the tracks, so that a long track weighs no more."""
        return results.mean_over_tracks(list(self.scores.values())) | dict(self.overall)


@dataclass(frozen=True)
class Run:
    """What a run gives: the trained system, what training cost, and its scores."""

    system: System
    fit: FitResult
    evaluation: Evaluation


class SystemModule(Protocol):
    """What a file of ``dl101.systems`` defines.

    ``Config`` is a dataclass of settings with the fields ``scale``, ``data`` and ``training`` and
    a property ``variant``, the name of the run in tables.
    """

    Config: type

    def load_tracks(
        self, settings: Any, *, accept_restricted: bool = False, progress: bool = True
    ) -> Sides:
        """Return the tracks of each side of the split."""

    def build(self, settings: Any, *, seed: int = 0) -> System:
        """Return an untrained system whose initial weights depend on ``seed`` alone."""

    def batches(self, settings: Any, tracks: Sides, *, seed: int = 0) -> Any:
        """Return the LightningDataModule that training draws from."""

    def predict(self, system: Any, inputs: Any) -> Any:
        """Return what the network says of a whole track."""

    def evaluate(self, system: Any, tracks: Sides) -> Evaluation:
        """Return the scores of the test side; what has to be chosen is chosen on validation."""

    def baselines(self, settings: Any, tracks: Sides) -> Mapping[str, Evaluation]:
        """Return the scores of answers that need no learning, on the same tracks."""


def names() -> tuple[str, ...]:
    """Return the systems that there are."""
    files = (file for folder in systems.__path__ for file in Path(folder).glob("*.py"))
    return tuple(sorted(f.stem for f in files if not f.stem.endswith(("_data", "__init__"))))


def find(name: str) -> SystemModule:
    """Return a system by its name.

    Raises
    ------
    ConfigError
        If there is no such system.
    """
    if name not in names():
        raise ConfigError(
            "system",
            got=repr(name),
            expected=f"one of {', '.join(names())}",
            hint=did_you_mean(name, names()),
        )
    return importlib.import_module(f"dl101.systems.{name}")


def load_config(
    cls: type, file: str | Path, *, scale: str = "lab", settings: Sequence[str] = ()
) -> Any:
    """Return the configuration of a system.

    Parameters
    ----------
    cls
        Its dataclass.
    file
        The name of a configuration that ships with dl101, or the path of a YAML file like it.
    scale
        Which of the file's sections: ``"lab"`` or ``"full"``.
    settings
        Changes such as ``"model=unet"`` or ``"feature.harmonics=[1]"``.

    Raises
    ------
    ConfigError
        For a missing section, an unknown key or a value of the wrong type.
    """
    path = config.find(file, CONFIGS)
    section = config.section(config.read_yaml(path), scale, f"configuration {path}")
    mapping = config.override({"scale": scale, **section}, settings)
    return config.build(cls, mapping, where=f"{path.name}:{scale}")


def train(
    module: SystemModule,
    system: System,
    settings: Any,
    tracks: Sides,
    run_dir: Path | str,
    *,
    seed: int = 0,
    start: Path | None = None,
    resume: bool = False,
    progress: bool = True,
) -> FitResult:
    """Train on the training side, watch the validation side, keep the best weights.

    ``start`` is the file that the system's weights came from, if they are not random: the run
    depends on it.
    """
    return fit(
        system,
        module.batches(settings, tracks, seed=seed),
        run_dir,
        seed=seed,
        description={
            "config": config.to_dict(settings),
            "data": source.version(settings.data),
            **_started_from(start),
        },
        resume=resume,
        progress=progress,
    )


def _started_from(start: Path | None) -> dict[str, str]:
    return {} if start is None else {"from": hashlib.sha256(start.read_bytes()).hexdigest()}


def run(
    module: SystemModule,
    settings: Any,
    run_dir: Path | str,
    *,
    seed: int = 0,
    resume: bool = False,
    tracks: Sides | None = None,
    start: Path | None = None,
    accept_restricted: bool = False,
    progress: bool = True,
) -> Run:
    """Load, build, train, and score the test side.

    Training begins with the weights of the file ``start``, or else with random ones.
    """
    system = module.build(settings, seed=seed)  # what cannot be built is found before the data
    if start is not None:
        load_weights(system, start)
    if tracks is None:
        tracks = module.load_tracks(
            settings, accept_restricted=accept_restricted, progress=progress
        )
    fitted = train(
        module,
        system,
        settings,
        tracks,
        run_dir,
        seed=seed,
        start=start,
        resume=resume,
        progress=progress,
    )
    return Run(system, fitted, module.evaluate(system, tracks))


def records(
    name: str,
    settings: Any,
    trained: Run,
    baselines: Mapping[str, Evaluation],
    *,
    seed: int,
    command: str,
    start: Path | None = None,
) -> list[results.Record]:
    """Return the record of a run and those of the baselines on the same data.

    A run that began with the weights of a file, ``start``, names its SHA-256 beside its settings.
    A baseline depends on the scale, the data and the input alone, not on the seed.
    """
    whole = config.to_dict(settings)

    def record(variant: str, evaluation: Evaluation, **rest: Any) -> results.Record:
        chosen = {key: value for key, value in evaluation.chosen.items() if math.isfinite(value)}
        return results.Record(
            experiment=name,
            variant=variant,
            data=config.to_dict(settings.data)
            | {"scale": settings.scale, "version": source.version(settings.data)},
            split="test",
            n_items=len(evaluation.scores),
            metrics=evaluation.mean | chosen,
            command=command,
            **rest,
        )

    trained_parameters = sum(p.numel() for p in trained.system.parameters() if p.requires_grad)
    of_baselines = {key: whole[key] for key in ("scale", "data", "feature") if key in whole}
    return [
        record(
            settings.variant,
            trained.evaluation,
            config=whole | _started_from(start),
            seed=seed,
            wall_time_s=round(trained.fit.wall_time_s, 1),
            n_parameters=trained_parameters,
            device=results.describe_device(str(trained.system.device)),
        ),
        *(
            record(variant, evaluation, config=of_baselines, seed=0, wall_time_s=0.0)
            for variant, evaluation in baselines.items()
        ),
    ]
