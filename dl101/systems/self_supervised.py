"""Learning without labels: two views of a recording should be told from the views of all others.

An encoder maps a waveform, a crop of a few seconds, to a representation; a projector maps that to
what the loss compares. Two crops of one recording are augmented in different ways; the loss
(:mod:`dl101.nn.self_supervised`) asks that they are alike without all being alike. What has been
learned is read by probes (:mod:`dl101.training.probing`), which get labels, and never the test side
of pretraining. With ``objective="supervised"`` the same encoder and views learn from the labels.

The functions of this file are the chapter in order; those that every system has are listed in
:class:`dl101.training.protocol.SystemModule`. One file because all objectives share all of it but
a few lines of the loss.

Sources: Spijkervet and Burgoyne, "Contrastive learning of musical representations", ISMIR 2021
(CLMR); Vélez Vásquez and Burgoyne, "Tailed U-Net", ISMIR 2022 (the encoder ``tune``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import lightning as L
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from dl101 import config
from dl101.config import Count, OneOf, Positive, Probability, SampleRate, Seed, Settings
from dl101.data.source import DataConfig
from dl101.errors import ConfigError
from dl101.nn import self_supervised as losses
from dl101.nn.encoders import EncoderConfig, make_encoder
from dl101.nn.views import KINDS, Views
from dl101.systems import self_supervised_data
from dl101.systems.self_supervised_data import (
    CropData,
    Recording,
    crops_of,
    side_by_side,
    targets,
    with_labels,
)
from dl101.training import embedding, fit, probing, protocol
from dl101.training.batches import by_side
from dl101.training.fit import TrainingConfig
from dl101.training.probing import ProbeConfig
from dl101.training.protocol import Evaluation

SIDES = ("train", "validation", "test")
TOLD = ("dry", "high", "bass", "fast", "minor")  # tags that one augmentation or another may hide
SHARES = (0.01, 0.03, 0.1, 0.3)  # of the labels; all of them besides
Recordings = Mapping[str, Sequence[Recording]]


@dataclass(frozen=True)
class SelfSupervisedConfig(Settings):
    """Everything a run depends on, except its seed.

    Attributes
    ----------
    model
        The encoder.
    objective
        ``"ntxent"`` (CLMR), ``"vicreg"``, ``"barlow"``, ``"simsiam"``; or ``"supervised"``, from
        the labels.
    temperature
        Of ``ntxent``.
    stop_gradient
        Of ``simsiam``: whether the targets are held still.
    hidden, projection
        Widths of the projector's hidden layer and of what the loss compares.
    data
        Recordings with labels: those that are probed. Labels are for probes and ``supervised``.
    also
        More recordings for pretraining, whose labels nobody reads.
    heard
        Whether pretraining hears ``data``, too: False to pretrain out of domain, on ``also`` alone.
    labels
        Share of the labels of the training side that ``supervised`` knows.
    sample_rate, crop_samples
        Of what the encoder hears.
    crops
        Pairs of crops that are taken of each recording in an epoch.
    without
        Augmentations that are left out.
    probe
        How probes learn; the one with a hidden layer has as many units as the representation.
    """

    model: EncoderConfig = field(default_factory=EncoderConfig)
    scale: Literal["lab", "full"] = "lab"
    objective: Literal["ntxent", "vicreg", "barlow", "simsiam", "supervised"] = "ntxent"
    temperature: Positive = 0.5
    stop_gradient: bool = True
    hidden: Count = 512
    projection: Count = 64
    data: DataConfig = field(default_factory=lambda: DataConfig("tags"))
    also: DataConfig | None = None
    heard: bool = True
    labels: Probability = 1.0
    sample_rate: SampleRate = 22050
    crop_samples: Count = 59_049
    crops: Count = 1
    without: tuple[Annotated[str, OneOf(tuple(KINDS))], ...] = ()
    probe: ProbeConfig = field(default_factory=ProbeConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)

    def __post_init__(self) -> None:
        """Check the fields against each other."""
        super().__post_init__()
        fits = 3 ** len(self.model.widths)
        if self.model.kind == "samplecnn" and self.crop_samples != fits:
            raise ConfigError(
                "SelfSupervisedConfig.crop_samples",
                got=f"{self.crop_samples}, with {len(self.model.widths)} widths",
                expected=f"{fits} = 3 ** {len(self.model.widths)}",
                hint="change one of the two",
            )
        if not self.heard and self.also is None:
            raise ConfigError(
                "SelfSupervisedConfig.heard",
                got="False, and no other recordings",
                expected="something to learn from",
                hint="name a corpus, such as also.dataset=genres",
            )

    @property
    def variant(self) -> str:
        """Return the name of the run in tables, such as ``samplecnn-ntxent``."""
        parts = [self.model.kind, self.objective]
        parts += [] if self.stop_gradient else ["no-stop"]
        parts += [f"no-{name}" for name in self.without]
        parts += [] if self.heard else [f"on-{self.also.dataset}"]
        parts += [] if self.labels == 1 else [f"{100 * self.labels:g}%"]
        return "-".join(parts)


Config = SelfSupervisedConfig


def load_config(
    file: str | Path = "self_supervised", *, scale: str = "lab", settings: Sequence[str] = ()
) -> SelfSupervisedConfig:
    """Read a configuration; see :func:`dl101.training.protocol.load_config`."""
    return protocol.load_config(SelfSupervisedConfig, file, scale=scale, settings=settings)


def load_tracks(
    settings: SelfSupervisedConfig, *, accept_restricted: bool = False, progress: bool = True
) -> dict[str, list[Recording]]:
    """Return the recordings of each side: with labels, and those for pretraining alone."""
    options = {"accept_restricted": accept_restricted, "progress": progress}
    load = self_supervised_data.load_recordings
    found = load(
        settings.data, settings.sample_rate, labelled=True, heard=settings.heard, **options
    )
    if settings.also is not None:
        found += load(settings.also, settings.sample_rate, labelled=False, **options)
    return by_side(found)


class SelfSupervisedSystem(fit.System):
    """The encoder, its projector and the loss. Input (batch, samples)."""

    shipped_dtype = torch.float16

    def __init__(self, settings: SelfSupervisedConfig, n_classes: int) -> None:
        super().__init__(settings.training)
        self.settings = settings
        n, of = settings.model.representation, settings.objective
        self.encoder = make_encoder(settings.model)
        self.predictor = losses.predictor(settings.projection) if of == "simsiam" else None
        if of == "supervised":
            self.projector = nn.Linear(n, n_classes)
        else:
            make = losses.projector if of == "ntxent" else losses.normalised_projector
            self.projector = make(n, settings.hidden, settings.projection)
        self.views = Views(settings.sample_rate, without=settings.without)

    def forward(self, crops: Tensor) -> Tensor:
        """Return the representation of each crop, (batch, numbers)."""
        return self.encoder(crops[:, None])

    def loss(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Return the loss of two views ``first`` and ``second``, (batch, samples) each."""
        settings, n = self.settings, len(batch["first"])
        # one pass for both, so that batch normalisation treats them alike
        z = self.projector(self(torch.cat([batch["first"], batch["second"]])))
        if settings.objective == "supervised":
            target = batch["target"].repeat(2, 1)
            return functional.binary_cross_entropy_with_logits(z.float(), target)
        p = z if self.predictor is None else self.predictor(z)
        (first, second), predictions = z.float().split(n), p.float().split(n)
        with torch.autocast(z.device.type, enabled=False):
            if settings.objective == "ntxent":
                return losses.nt_xent(first, second, temperature=settings.temperature)
            if settings.objective == "simsiam":
                return losses.simsiam(predictions, (first, second), stop=settings.stop_gradient)
            compare = losses.vicreg if settings.objective == "vicreg" else losses.barlow_twins
            return compare(first, second)

    def augmented(self, batch: Mapping[str, Tensor], rng: np.random.Generator) -> dict[str, Tensor]:
        """Return a batch with both crops augmented: one generator, which goes on between them."""
        views = {name: self.views(batch[name], rng) for name in ("first", "second")}
        return {**batch, **views}

    def training_step(self, batch: Mapping[str, Tensor], batch_idx: int) -> Tensor:
        """Return the loss to minimise, of new views."""
        rng = np.random.default_rng(int(torch.randint(2**31, ())))
        return super().training_step(self.augmented(batch, rng), batch_idx)

    def validation_step(self, batch: Mapping[str, Tensor], batch_idx: int) -> None:
        """Log the loss of views that are the same in every epoch."""
        super().validation_step(self.augmented(batch, np.random.default_rng(batch_idx)), batch_idx)


def build(settings: SelfSupervisedConfig, *, seed: int = 0) -> SelfSupervisedSystem:
    """Return an untrained system whose initial weights depend on ``seed`` alone."""
    L.seed_everything(config.checked(Seed, seed, "seed"), workers=True, verbose=False)
    return SelfSupervisedSystem(settings, self_supervised_data.n_classes_of(settings.data))


def batches(settings: SelfSupervisedConfig, tracks: Recordings, *, seed: int = 0) -> CropData:
    """Return pairs of crops of what is heard; of what has labels, if these are learned from."""
    heard = {side: [each for each in tracks[side] if each.heard] for side in SIDES[:2]}
    if settings.objective == "supervised":
        heard = {side: with_labels(tracks[side]) for side in SIDES[:2]}
        known = probing.some_labels(targets(heard["train"]), settings.labels, seed=seed)
        heard["train"] = [heard["train"][number] for number in known]
    # as many steps however few recordings there are: with fewer, each is heard more often
    n_heard = sum(each.heard for each in tracks["train"]) or len(tracks["train"])
    return CropData(
        heard,
        settings.crop_samples,
        per_recording=max(1, round(settings.crops * n_heard / max(1, len(heard["train"])))),
        batch_size=settings.training.batch_size,
        seed=seed,
        num_workers=settings.training.num_workers,
    )


# --- what the encoder says ---


def predict(system: SelfSupervisedSystem, audio: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the representation of each consecutive crop of a recording, (crops, numbers)."""
    return embed(system, [audio])[0]


@torch.no_grad()
def embed(
    system: SelfSupervisedSystem,
    recordings: Sequence[NDArray[np.float32]],
    *,
    projected: bool = False,
    batch_size: int = 64,
) -> list[NDArray[np.float32]]:
    """Return the representations of the consecutive crops of recordings, (crops, numbers) each.

    Parameters
    ----------
    recordings
        (samples,) each.
    projected
        Whether to return what the projector makes of them.
    batch_size
        Crops per forward pass.
    """
    system.eval()
    crops = [crops_of(audio, system.settings.crop_samples) for audio in recordings]
    found = []
    for some in torch.from_numpy(np.concatenate(crops)).split(batch_size):
        h = system(some.to(system.device))
        found.append((system.projector(h) if projected else h).float().cpu().numpy())
    ends = np.cumsum([len(each) for each in crops])
    return np.split(np.concatenate(found), ends[:-1])


def embeddings(
    system: SelfSupervisedSystem, tracks: Recordings, *, projected: bool = False
) -> dict[str, NDArray[np.float32]]:
    """Return what probes see: (tracks, crops, numbers) of each side that has labels."""
    return {
        side: side_by_side(
            embed(system, [r.audio for r in with_labels(tracks[side])], projected=projected)
        )
        for side in SIDES
    }


def labels_of(tracks: Recordings) -> dict[str, NDArray[np.float32]]:
    """Return the labels that probes see, (tracks, classes) of each side."""
    return {side: targets(with_labels(tracks[side])) for side in SIDES}


# --- scores ---


@torch.no_grad()
def geometry(system: SelfSupervisedSystem, recordings: Sequence[Recording]) -> dict[str, float]:
    """Return alignment, uniformity, spread and effective rank of two views of each recording.

    Of what the loss compares: behind the projector, but for ``supervised``, whose representation is
    looked at. ``rank`` is always that of the representation.
    """
    system.eval()
    data = self_supervised_data.CropPairs(recordings, system.settings.crop_samples, anywhere=False)
    rng, pairs = np.random.default_rng(0), [data[i] for i in range(len(data))]
    found: dict[str, list[Tensor]] = {"first": [], "second": []}
    for start in range(0, len(pairs), 64):
        some = pairs[start : start + 64]
        for name in found:
            view = torch.stack([pair[name] for pair in some]).to(system.device)
            found[name].append(system(system.views(view, rng)).float())
    h = [torch.cat(parts) for parts in found.values()]
    supervised = system.settings.objective == "supervised"
    z = h if supervised else [system.projector(view).float() for view in h]
    return losses.geometry(*z, torch.cat(h))


def evaluate(system: SelfSupervisedSystem, tracks: Recordings) -> Evaluation:
    """Score probes of the representation and of what the projector makes of it (``projector_``).

    ``linear_auc_10`` is the linear probe that knows 10 % of the labels, ``tag: NAME`` its area of
    one class, ``head_auc`` that of the encoder's own head if it was supervised.
    Everything is told to probes by the training side, chosen on validation and scored on test.
    """
    labels, probe = labels_of(tracks), system.settings.probe
    seen = embeddings(system, tracks)
    overall = probing.both(seen, labels, probe) | probing.by_share(seen, labels, probe, SHARES)
    classes = with_labels(tracks["test"])[0].classes
    overall |= probing.by_class(seen, labels, probe, classes, only=TOLD)
    after = embeddings(system, tracks, projected=True)
    overall |= probing.both(after, labels, probe, prefix="projector_")
    if system.settings.objective == "supervised":
        said = (1 / (1 + np.exp(-after["test"].astype(float)))).mean(axis=1)
        overall |= probing.areas(labels["test"], said, prefix="head_")
    overall |= geometry(system, with_labels(tracks["test"]))
    keys = [each.key for each in with_labels(tracks["test"])]
    return Evaluation({key: {} for key in keys}, overall=overall)


def baselines(settings: SelfSupervisedConfig, tracks: Recordings) -> dict[str, Evaluation]:
    """Return the scores of the same probes on statistics of MFCC, crop by crop."""
    lengths = (settings.crop_samples, settings.sample_rate)
    seen = {
        side: side_by_side(
            [self_supervised_data.timbre_of(r.audio, *lengths) for r in with_labels(tracks[side])]
        )
        for side in SIDES
    }
    overall = probing.both(seen, labels_of(tracks), settings.probe)
    return {"mfcc": Evaluation({r.key: {} for r in with_labels(tracks["test"])}, overall=overall)}


@torch.no_grad()
def untrained(
    settings: SelfSupervisedConfig, tracks: Recordings, *, seed: int = 0
) -> SelfSupervisedSystem:
    """Return a system with fresh weights, whose batch normalisation has seen the training side."""
    system = build(settings, seed=seed)
    system.train()
    crops = [crops_of(each.audio, settings.crop_samples) for each in with_labels(tracks["train"])]
    for some in torch.from_numpy(np.concatenate(crops)).split(64):
        if len(some) > 1:
            system(some)
    return system.eval()


def embed_file(
    system: SelfSupervisedSystem, path: Path | str, *, hop_s: float | None = None
) -> embedding.Embedded:
    """Embed an audio file of any length; see :func:`dl101.training.embedding.embed_file`."""
    if not isinstance(system, SelfSupervisedSystem):
        raise ConfigError(
            "network",
            got=type(system).__name__,
            expected="an encoder that was pretrained",
            hint="leave the option out, or train one with dl101 train self_supervised",
        )
    rate = system.settings.sample_rate
    return embedding.embed_file(
        lambda crops: embed(system, list(crops))[0],
        path,
        sample_rate=rate,
        crop_samples=system.settings.crop_samples,
        hop_samples=None if hop_s is None else max(1, round(hop_s * rate)),
    )
