"""Cover song identification: to find the recordings of one work among many.

A network maps the pitch-class profile of a performance, (12, frames), to an embedding, a point in a
space where versions of a work lie near each other (MOVE: Yesiler, Serrà and Gómez, "Accurate and
scalable version identification using musically-motivated embeddings", ICASSP 2020). It is trained
on batches of cliques, with triplets that are chosen in the batch, and judged by ranking: each
performance of the test side is a query, all others of that side are the list.

A distance is the mean squared difference of two embeddings, see :mod:`dl101.nn.metric_learning`.
The functions that every system has are listed in :class:`dl101.training.protocol.SystemModule`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import lightning as L
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from dl101 import config
from dl101.config import Count, Positive, Range, Seed, Settings, YamlFile
from dl101.data import source
from dl101.data.cache import fingerprint
from dl101.data.source import DataConfig
from dl101.errors import DataError
from dl101.evaluation import retrieval
from dl101.nn import factory, metric_learning
from dl101.nn.metric_learning import Mining
from dl101.systems import cover_songs_data
from dl101.systems.cover_songs_data import CoverTrack, CoverVariationConfig, Index
from dl101.training import fit, protocol
from dl101.training.batches import by_side
from dl101.training.cliques import CliqueData
from dl101.training.fit import FitResult, TrainingConfig
from dl101.training.protocol import CONFIGS, Evaluation
from dl101.training.shipped import Shipped

MOST_ALIGNED = 700  # performances: aligning each pair of more takes minutes
SAME = 1e-6  # a distance that no other performance has
FOURIER_FRAMES = (16, 24, 32)  # width of the patches, chosen on validation
FOURIER_DIMENSIONS = (25, 50, 100)


@dataclass(frozen=True)
class CoverSongsConfig(Settings):
    """Everything a run depends on, except its seed.

    Attributes
    ----------
    loss, mining, margin, temperature
        See :mod:`dl101.nn.metric_learning`; NT-Xent compares all pairs of a batch, unmined.
    versions
        Most performances of a work in a batch.
    pool_frames
        Frames of the features that are averaged to one of the input.
    """

    model: Annotated[str, YamlFile(CONFIGS / "cover_songs")]
    scale: Literal["lab", "full"] = "lab"
    loss: Literal["triplet", "contrastive", "nt-xent"] = "triplet"
    mining: Mining = "hard"
    margin: Positive = 1.0
    temperature: Positive = 0.1
    versions: Annotated[int, Range(at_least=2, at_most=1000)] = 4
    pool_frames: Count = 5
    data: DataConfig = field(default_factory=lambda: DataConfig(dataset="covers"))
    training: TrainingConfig = field(default_factory=TrainingConfig)
    augmentation: CoverVariationConfig | None = None

    @property
    def variant(self) -> str:
        """Return the name of the run in tables: ``triplet-hard``, ``move_late-nt-xent``."""
        name = self.loss if self.loss == "nt-xent" else f"{self.loss}-{self.mining}"
        return name if self.model == "move" else f"{self.model}-{name}"


Config = CoverSongsConfig
Sides = Mapping[str, Sequence[CoverTrack]]


def load_config(
    file: str | Path = "cover_songs", *, scale: str = "lab", settings: Sequence[str] = ()
) -> CoverSongsConfig:
    """Read a configuration; see :func:`dl101.training.protocol.load_config`."""
    return protocol.load_config(CoverSongsConfig, file, scale=scale, settings=settings)


def load_tracks(
    settings: CoverSongsConfig, *, accept_restricted: bool = False, progress: bool = True
) -> dict[str, list[CoverTrack]]:
    """Return the performances of each side of the split."""
    files = source.locate(
        settings.data,
        fields=("work-id",),
        accept_restricted=accept_restricted,
        progress=progress,
    )
    tracks = cover_songs_data.load_cover_tracks(
        files.audio,
        files.annotations,
        pool_frames=settings.pool_frames,
        dataset=settings.data.dataset,
        seed=settings.data.seed,
        n_tracks=settings.data.n_tracks,
        progress=progress,
    )
    return by_side(tracks)


def evened(profiles: Tensor) -> Tensor:
    """Return profiles (batch, 12, frame) without what says little: their level and their contrast.

    Of each frame the mean over the pitch classes is taken away; the whole has deviation 1.
    """
    centred = profiles - profiles.mean(dim=1, keepdim=True)
    return centred / centred.square().mean(dim=(1, 2), keepdim=True).sqrt().clamp_min(1e-6)


def wrapped(profiles: Tensor) -> Tensor:
    """Return (batch, 1, 23, frame) of (batch, 12, frame): the rows, and the first 11 again.

    A kernel of 12 rows fits at 12 places and sees, at the k-th, the profile rotated by k.
    """
    return torch.cat([profiles, profiles[:, :11]], dim=1)[:, None]


class CoverSongsSystem(fit.System):
    """The network and its loss. Input (batch, 12, frame), output (batch, numbers)."""

    def __init__(self, settings: CoverSongsConfig) -> None:
        super().__init__(settings.training)
        self.settings = settings
        self.network = factory.read_model(
            CONFIGS / "cover_songs" / f"{settings.model}.yaml",
            (1, 23, settings.data.patch_frames),
            size=settings.scale,
            output_shape=None,
        )
        _start_evenly(self.network)
        self.shortest_frames = _reach(self.network)
        self._validated: list[tuple[Tensor, Tensor]] = []

    def forward(self, profiles: Tensor) -> Tensor:
        """Return one embedding for each profile, the same in every key.

        A profile shorter than the network's reach is played again from its beginning.
        """
        n = profiles.shape[-1]
        if n < self.shortest_frames:
            profiles = profiles.repeat(1, 1, -(-self.shortest_frames // n))
        embeddings = self.network(wrapped(evened(profiles)))
        if self.settings.loss == "nt-xent":  # it learns directions: all at one length
            embeddings = F.normalize(embeddings, dim=1) * embeddings.shape[1] ** 0.5
        return embeddings

    def loss(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Return the loss of a batch of cliques."""
        settings, works = self.settings, batch["work"]
        embeddings = self(batch["input"]).float()
        if settings.loss == "nt-xent":
            return metric_learning.nt_xent_loss(embeddings, works, temperature=settings.temperature)
        # of the seed and the step alone, so that a resumed run draws what it would have drawn
        generator = torch.Generator().manual_seed(torch.initial_seed() % 2**32 + self.global_step)
        distances = metric_learning.squared_distances(embeddings)
        triplets = metric_learning.mine(
            distances, works, settings.mining, margin=settings.margin, generator=generator
        )
        losses = {
            "triplet": metric_learning.triplet_loss,
            "contrastive": metric_learning.contrastive_loss,
        }
        return losses[settings.loss](distances, triplets, margin=settings.margin)

    def validation_step(self, batch: Mapping[str, Tensor], batch_idx: int) -> None:
        """Keep the embedding of a performance until all are there."""
        self._validated.append((self(batch["input"]).float().cpu(), batch["work"].cpu()))

    def on_validation_epoch_end(self) -> None:
        """Log 1 - mAP as ``val_loss``: comparable whatever is mined, and what is wanted."""
        embeddings, works = (torch.cat(part).numpy() for part in zip(*self._validated, strict=True))
        self._validated.clear()
        found = retrieval.ranking_scores(retrieval.distance_blocks(embeddings, embeddings), works)
        precisions = [scores["average_precision"] for scores in found.values()]
        worst = 1.0 - float(np.mean(precisions)) if precisions else 1.0
        self.log("val_loss", worst, prog_bar=True, sync_dist=True)


def _start_evenly(network: factory.Network) -> None:
    """Draw weights that keep the variance from layer to layer (He et al. 2015).

    PyTorch's own shrink it, until the last normalisation divides by next to nothing.
    """
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight)
            torch.nn.init.zeros_(module.bias)


def _reach(network: factory.Network) -> int:
    """Return how many frames one column of the network sees."""
    kernels = [m for m in network.modules() if isinstance(m, torch.nn.Conv2d)]
    return 1 + sum((m.kernel_size[1] - 1) * m.dilation[1] for m in kernels)


def build(settings: CoverSongsConfig, *, seed: int = 0) -> CoverSongsSystem:
    """Return an untrained system whose initial weights depend on ``seed`` alone."""
    L.seed_everything(config.checked(Seed, seed, "seed"), workers=True, verbose=False)
    return CoverSongsSystem(settings)


def batches(settings: CoverSongsConfig, tracks: Sides, *, seed: int = 0) -> CliqueData:
    """Return batches of cliques of the training side; the validation side track by track."""
    vary = partial(
        cover_songs_data.vary, n_frames=settings.data.patch_frames, config=settings.augmentation
    )
    return CliqueData(
        tracks,
        vary,
        batch_size=settings.training.batch_size,
        versions=settings.versions,
        seed=seed,
        num_workers=settings.training.num_workers,
    )


def train(
    system: CoverSongsSystem,
    tracks: Sides,
    run_dir: Path | str,
    *,
    seed: int = 0,
    resume: bool = False,
    progress: bool = True,
) -> FitResult:
    """Train on the training side, watch the validation side, keep the best weights."""
    return protocol.train(
        sys.modules[__name__],
        system,
        system.settings,
        tracks,
        run_dir,
        seed=seed,
        resume=resume,
        progress=progress,
    )


@torch.no_grad()
def predict(system: CoverSongsSystem, profile: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the embedding of a whole performance, (numbers,), of its profile (12, frames)."""
    system.eval()
    batch = torch.from_numpy(np.array(profile, dtype=np.float32)[None]).to(system.device)
    return system(batch)[0].float().cpu().numpy()


def embed(system: CoverSongsSystem, tracks: Sequence[CoverTrack]) -> NDArray[np.float32]:
    """Return the embeddings of performances, (tracks, numbers)."""
    return np.stack([predict(system, track.input) for track in tracks])


def distances(queries: NDArray, items: NDArray) -> Iterator[NDArray[np.float64]]:
    """Yield the distances of embeddings, (rows, items) at a time: mean squared differences."""
    for block in retrieval.distance_blocks(queries, items):
        yield np.square(block) / np.shape(items)[1]


def score(blocks: Iterator[NDArray], tracks: Sequence[CoverTrack]) -> dict[str, dict[str, float]]:
    """Return the ranking scores of each performance that has a partner, by its key."""
    found = retrieval.ranking_scores(blocks, [track.work for track in tracks])
    return {tracks[query].key: scores for query, scores in found.items()}


def evaluate(system: CoverSongsSystem, tracks: Sides) -> Evaluation:
    """Rank the test side; the threshold of a yes or no is chosen on the validation side."""
    said = {side: embed(system, tracks[side]) for side in ("validation", "test")}
    threshold = choose_threshold(said["validation"], tracks["validation"])
    scores = score(distances(said["test"], said["test"]), tracks["test"])
    return Evaluation(scores, {"threshold": threshold})


def choose_threshold(embeddings: NDArray, tracks: Sequence[CoverTrack]) -> float:
    """Return the distance below which two performances are best called versions.

    The one with the largest F-measure over all pairs of these (validation) tracks; as a number
    that means little where nothing is alike, it is at most the mean distance.
    """
    works = np.array([track.work for track in tracks])
    above = np.triu_indices(len(works), k=1)
    apart = np.concatenate(list(distances(embeddings, embeddings)))[above]
    order = np.argsort(apart)
    hits = np.cumsum((works[:, None] == works)[above][order])
    f_measure = 2 * hits / (np.arange(1, hits.size + 1) + hits[-1])
    return float(apart[order][int(f_measure.argmax())])


def baselines(
    settings: CoverSongsConfig, tracks: Sides, *, names: Sequence[str] = ()
) -> dict[str, Evaluation]:
    """Return what is found without training a network, on the same queries.

    Of :data:`BASELINES` those that are named, or all; unless named, alignment is left out for more
    than :data:`MOST_ALIGNED` performances, as it compares every pair frame by frame.
    """
    del settings
    test = tracks["test"]
    if not names:
        names = [n for n in BASELINES if n != "alignment" or len(test) <= MOST_ALIGNED]
    return {name: Evaluation(score(iter(BASELINES[name](tracks)), test)) for name in names}


def _profiles(tracks: Sides) -> list[NDArray[np.float64]]:
    return [track.input.astype(float) for track in tracks["test"]]


BASELINES: Mapping[str, Callable[[Sides], Iterable[NDArray]]] = {
    "random": lambda tracks: [np.random.default_rng(0).random([len(tracks["test"])] * 2)],
    "mean profile": lambda tracks: [
        -retrieval.transposed_similarity(np.stack([p.mean(axis=1) for p in _profiles(tracks)]))
    ],
    "cross-correlation": lambda tracks: [-retrieval.correlation_similarity(_profiles(tracks))],
    "Fourier + PCA": lambda tracks: _fourier_distances(tracks),
    "alignment": lambda tracks: [-retrieval.alignment_similarity(_profiles(tracks))],
}


def _fourier_distances(tracks: Sides) -> Iterator[NDArray]:
    """Return distances of 2-D Fourier magnitudes after PCA; sizes are chosen on validation."""
    from sklearn.decomposition import PCA

    best, chosen = -1.0, None
    for width in FOURIER_FRAMES:
        vectors = {
            side: retrieval.fourier_magnitudes([t.input for t in members], width=width)
            for side, members in tracks.items()
        }
        most = min(vectors["train"].shape)
        for n in FOURIER_DIMENSIONS:
            pca = PCA(min(n, most), random_state=0).fit(vectors["train"])
            seen = {side: pca.transform(vectors[side]) for side in ("validation", "test")}
            scores = score(distances(seen["validation"], seen["validation"]), tracks["validation"])
            found = np.mean([each["average_precision"] for each in scores.values()])
            if found > best:
                best, chosen = found, seen["test"]
    return distances(chosen, chosen)


def identity(network: Shipped) -> str:
    """Return what identifies a trained network, for the indices that it makes."""
    return fingerprint(dict(network.record))


def make_index(network: Shipped, folder: Path | str) -> tuple[Index, list[DataError]]:
    """Return the index of a folder; see :func:`dl101.systems.cover_songs_data.make_index`."""
    return cover_songs_data.make_index(
        Path(folder),
        partial(predict, network.system),
        pool_frames=network.settings.pool_frames,
        network=identity(network),
    )


def search(network: Shipped, index: Index, path: Path | str) -> list[tuple[str, float]]:
    """Return the items of an index and their distances to a recording, the nearest first.

    Raises
    ------
    DataError
        If the index was made with another network, or the file is no recording, shorter than 5 s
        or silent.
    """
    if index.network != identity(network):
        raise DataError(
            "index",
            got="embeddings of another network",
            expected="those of the network that the query is given to",
            hint="make the index again: dl101 covers index FOLDER",
        )
    profile = cover_songs_data.profile_of_audio(path, network.settings.pool_frames)
    (apart,) = next(distances(predict(network.system, profile)[None], index.embeddings))
    return [(index.names[i], float(apart[i])) for i in np.argsort(apart, kind="stable")]
