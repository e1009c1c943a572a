"""Objectives compared on a small encoder, which is trained in seconds on spectrograms of views.

What a SampleCNN learns in hours from waveforms, a small convolutional network learns from log-mel
spectrograms in seconds, so that objectives, augmentations and shares of labels can be compared over
seeds. Views are rendered before training: of each recording of the training side :data:`N_VIEWS`,
of which every step draws two. Test crops are never augmented, but for the geometry.

Conventions: spectrograms are (items, band, frame), standardised; sides hold (tracks, crops, ...).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from dl101.nn import self_supervised as losses
from dl101.nn.views import KINDS, Views
from dl101.signal import mel
from dl101.systems import self_supervised
from dl101.systems.self_supervised_data import Recording, crops_of, with_labels
from dl101.training import probing
from dl101.training.loop import minimise

SIDES = self_supervised.SIDES
N_BANDS, WINDOW, HOP = 64, 512, 256
N_VIEWS, STEPS, BATCH, LEARNING_RATE = 6, 300, 64, 2e-3
WIDTH, PROJECTION, PATIENCE = 128, 64, 12


@dataclass(frozen=True)
class Way:
    """How a small encoder is trained.

    ``objective`` is one of the system's, or ``"untrained"``; ``without`` are augmentations that are
    left out, ``labels`` the share of the labels that ``supervised`` knows, ``stop`` whether the
    gradient of ``simsiam`` is stopped.
    """

    objective: str
    without: tuple[str, ...] = ()
    labels: float = 1.0
    stop: bool = True


WAYS: Mapping[str, Way] = {
    "untrained": Way("untrained"),
    "ntxent": Way("ntxent"),
    "vicreg": Way("vicreg"),
    "barlow": Way("barlow"),
    "simsiam": Way("simsiam"),
    "simsiam, not stopped": Way("simsiam", stop=False),
    "supervised": Way("supervised"),
    "supervised, 10 %": Way("supervised", labels=0.1),
    "supervised, 1 %": Way("supervised", labels=0.01),
    "ntxent, no room": Way("ntxent", ("room",)),
    "ntxent, crops alone": Way("ntxent", tuple(KINDS)),
}


def log_mel(audio: Tensor, sample_rate: int) -> Tensor:
    """Return log-mel spectrograms (items, band, frame) of (items, samples), about -1 to 1."""
    filters = torch.from_numpy(
        mel.mel_filters(sample_rate, n_bands=N_BANDS, window_samples=WINDOW).astype(np.float32)
    )
    form = torch.hann_window(WINDOW)
    spectrum = torch.stft(audio, WINDOW, HOP, window=form, return_complex=True)
    return (torch.log1p(1e4 * (filters @ spectrum.abs().square())) - 8.0) / 4.0


class Data:
    """Spectrograms of recordings: consecutive crops as they are, and views, rendered at need."""

    def __init__(
        self, recordings: Mapping[str, Sequence[Recording]], rate: int, n_samples: int, seed: int
    ) -> None:
        self.recordings = {side: with_labels(recordings[side]) for side in SIDES}
        self.rate, self.n_samples, self.seed = rate, n_samples, seed
        self.labels = self_supervised.labels_of(recordings)
        self._views: dict[tuple, Tensor] = {}

    @cached_property
    def crops(self) -> dict[str, Tensor]:
        """Return consecutive crops, (tracks, crops, band, frame) of each side."""
        found = {}
        for side, members in self.recordings.items():
            crops = np.stack([crops_of(each.audio, self.n_samples) for each in members])
            pictures = [log_mel(each, self.rate) for each in torch.from_numpy(crops)]
            found[side] = torch.stack(pictures)
        return found

    @torch.no_grad()
    def views(self, side: str, n_views: int, without: tuple[str, ...] = ()) -> Tensor:
        """Return views of random crops, (tracks, views, band, frame)."""
        key = (side, n_views, without)
        if key not in self._views:
            rng = np.random.default_rng([self.seed, n_views, len(without)])
            chain, found = Views(self.rate, without=without), []
            for each in self.recordings[side]:
                last = max(1, each.audio.size - self.n_samples)
                starts = rng.integers(last, size=n_views)
                cut = np.stack([each.audio[s : s + self.n_samples] for s in starts])
                found.append(torch.from_numpy(cut))
            made = [chain(torch.cat(found[i : i + 16]), rng) for i in range(0, len(found), 16)]
            pictures = torch.cat([log_mel(part, self.rate) for part in made])
            self._views[key] = pictures.unflatten(0, (len(found), n_views))
        return self._views[key]


class SmallEncoder(nn.Module):
    """From (items, band, frame) to (items, 128): two convolutions over time, and a mean."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv1d(N_BANDS, 96, 3, padding=1),
            nn.BatchNorm1d(96),
            nn.ReLU(),
            nn.MaxPool1d(2),
            nn.Conv1d(96, WIDTH, 3, padding=1),
            nn.BatchNorm1d(WIDTH),
            nn.ReLU(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return (items, 128)."""
        return self.layers(x).mean(dim=-1)


class Pretrained(nn.Module):
    """A small encoder with what its loss needs."""

    def __init__(self, way: Way, n_classes: int) -> None:
        super().__init__()
        self.way, of = way, way.objective
        self.encoder = SmallEncoder()
        self.predictor = losses.predictor(PROJECTION) if of == "simsiam" else None
        if of == "supervised":
            self.projector = nn.Linear(WIDTH, n_classes)
        else:
            plain = of in ("ntxent", "untrained")
            make = losses.projector if plain else losses.normalised_projector
            self.projector = make(WIDTH, WIDTH, PROJECTION)

    def loss(self, first: Tensor, second: Tensor, target: Tensor) -> Tensor:
        """Return the loss of two views of each item, (items, band, frame)."""
        z = self.projector(self.encoder(torch.cat([first, second])))
        if self.way.objective == "supervised":
            return functional.binary_cross_entropy_with_logits(z, target.repeat(2, 1))
        a, b = z.chunk(2)
        if self.way.objective == "simsiam":
            p = self.predictor(z).chunk(2)
            return losses.simsiam((p[0], p[1]), (a, b), stop=self.way.stop)
        compare = {
            "ntxent": losses.nt_xent,
            "vicreg": losses.vicreg,
            "barlow": losses.barlow_twins,
        }
        return compare[self.way.objective](a, b)


def train(way: Way, data: Data, *, seed: int = 0, steps: int = STEPS) -> Pretrained:
    """Return an encoder trained on views of the training side; with labels only if supervised.

    A supervised one keeps the weights that are best on validation, and stops early.
    """
    torch.manual_seed(seed)
    target = torch.from_numpy(data.labels["train"])
    network = Pretrained(way, target.shape[1])
    if way.objective == "untrained":
        with torch.no_grad():
            network.encoder.train()(data.crops["train"].flatten(0, 1))
        return network.eval()
    views = data.views("train", N_VIEWS, way.without)
    supervised = way.objective == "supervised"
    known = torch.arange(len(views))
    if supervised:
        known = torch.from_numpy(probing.some_labels(data.labels["train"], way.labels, seed=seed))
    n_batches = max(1, len(known) // BATCH)
    epochs = max(1, steps // n_batches)
    optimiser = torch.optim.AdamW(network.parameters(), lr=LEARNING_RATE, weight_decay=1e-4)

    def loss(rows: Tensor) -> Tensor:
        pair = torch.rand(len(rows), N_VIEWS).argsort(dim=1)[:, :2]  # two that differ
        return network.loss(views[rows, pair[:, 0]], views[rows, pair[:, 1]], target[rows])

    def on_validation() -> Tensor:
        crops = data.crops["validation"]
        said = network.projector(network.encoder(crops.flatten(0, 1)))
        labels = torch.from_numpy(data.labels["validation"]).repeat_interleave(crops.shape[1], 0)
        return functional.binary_cross_entropy_with_logits(said, labels)

    minimise(
        network,
        loss,
        lambda: known[torch.randperm(len(known))].chunk(n_batches),
        optimiser,
        epochs=epochs,
        schedule=torch.optim.lr_scheduler.OneCycleLR(
            optimiser, max_lr=LEARNING_RATE, total_steps=epochs * n_batches
        ),
        validation_loss=on_validation if supervised else None,
        patience=PATIENCE if supervised else None,
        name=way.objective,
    )
    return network


@torch.no_grad()
def embeddings(
    network: Pretrained, data: Data, *, projected: bool = False
) -> dict[str, NDArray[np.float32]]:
    """Return what probes see, (tracks, crops, numbers) of each side."""
    found = {}
    for side, crops in data.crops.items():
        h = network.encoder(crops.flatten(0, 1))
        h = network.projector(h) if projected else h
        found[side] = h.unflatten(0, crops.shape[:2]).numpy()
    return found


def score(network: Pretrained, way: Way, data: Data) -> dict[str, float]:
    """Return the scores that :func:`dl101.systems.self_supervised.evaluate` gives, but fewer."""
    labels, probe = data.labels, probing.ProbeConfig()
    seen, after = (embeddings(network, data, projected=p) for p in (False, True))
    found = probing.both(seen, labels, probe)
    found |= probing.by_class(
        seen, labels, probe, data.recordings["test"][0].classes, only=self_supervised.TOLD
    )
    if way.objective in ("ntxent", "untrained") and not way.without:
        found |= probing.by_share(seen, labels, probe, self_supervised.SHARES)
    if way.objective == "supervised":
        said = (1 / (1 + np.exp(-after["test"].astype(float)))).mean(axis=1)
        found |= probing.areas(labels["test"], said, prefix="head_")
    elif way.objective != "untrained":
        found |= probing.scores(after, labels, probe, prefix="projector_linear_")
    with torch.no_grad():
        pair = data.views("test", 2)
        h = [network.encoder(pair[:, number]) for number in (0, 1)]
        z = h if way.objective == "supervised" else [network.projector(each) for each in h]
    return found | losses.geometry(*z, torch.cat(h))
