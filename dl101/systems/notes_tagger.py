"""The judge of generated notes: a small network that names the family and pitch class of a note.

Its answers matter little; its *embedding*, the 32 numbers before the last layer, is the space in
which :mod:`dl101.evaluation.generation` compares generated notes with real ones, as the Fréchet
Inception distance uses a network that names objects (Heusel et al., 2017) and the Fréchet audio
distance one that names sounds (Kilgour et al., 2019).

Conventions: a sound is (samples,), mono, of any length and level; spectra are (items, 168, frames),
the logarithm of a constant-Q spectrum with two bins a semitone from C1; logits are (items, 23),
eleven families in the order of :data:`FAMILIES` and twelve pitch classes from C.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import lightning as L
import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn
from torch.nn import functional

from dl101 import config
from dl101.config import Seed, Settings
from dl101.data.audiofile import resample
from dl101.data.embedded.corpora import notes as corpus
from dl101.data.sounds import at_level, load_sounds
from dl101.data.source import DataConfig
from dl101.progress import progress as show_progress
from dl101.signal.cqt import HcqtConfig, cqt
from dl101.training import fit, protocol
from dl101.training.batches import by_side
from dl101.training.examples import Examples, ExamplesData, logits_of, majority
from dl101.training.fit import TrainingConfig
from dl101.training.protocol import Evaluation

FAMILIES = tuple(corpus.FAMILIES)
RATE = 22050
INPUT = HcqtConfig(
    harmonics=(1,), bins_per_semitone=2, n_octaves=7, f_min_hz=32.703, hop_samples=1024
)
COMPRESSION = 1000.0
DIMENSIONS, CHANNELS = 32, 16


@dataclass(frozen=True)
class NotesTaggerConfig(Settings):
    """Everything a run depends on, except its seed."""

    scale: Literal["lab", "full"] = "lab"
    data: DataConfig = field(default_factory=lambda: DataConfig(dataset="notes"))
    training: TrainingConfig = field(default_factory=TrainingConfig)

    @property
    def variant(self) -> str:
        """Return the name of the run in tables."""
        return "notes-tagger"


Config = NotesTaggerConfig


def load_config(
    file: str | Path = "notes_tagger", *, scale: str = "lab", settings: Sequence[str] = ()
) -> NotesTaggerConfig:
    """Read a configuration; see :func:`dl101.training.protocol.load_config`."""
    return protocol.load_config(NotesTaggerConfig, file, scale=scale, settings=settings)


# ---- input ----


@dataclass(frozen=True, eq=False)
class NoteTrack:
    """The spectrum of a note, (168, frames), its family and its pitch class by their numbers."""

    key: str
    side: str
    spectrum: NDArray[np.float32]
    family: int
    pitch_class: int


def spectra_of(sounds: Iterable[ArrayLike], sample_rate: int = RATE) -> NDArray[np.float32]:
    """Return what the network reads, (items, 168, frames): log of a constant-Q spectrum."""
    at_rate = (resample(np.asarray(sound), sample_rate, INPUT.sample_rate) for sound in sounds)
    values = np.stack([cqt(sound, INPUT).values[0] for sound in at_rate])
    return np.log1p(COMPRESSION * values).astype(np.float32)


def load_tracks(
    settings: NotesTaggerConfig, *, accept_restricted: bool = False, progress: bool = True
) -> dict[str, list[NoteTrack]]:
    """Return the notes of each side of the split, each at one level."""
    sounds = load_sounds(
        settings.data, RATE, accept_restricted=accept_restricted, progress=progress
    )
    tracks = []
    for sound in show_progress(sounds, "spectra", enabled=progress):
        family = FAMILIES.index(sound.labels["family"])
        pitch_class = round(float(sound.labels["pitchmidi"])) % 12
        (spectrum,) = spectra_of([sound.audio])
        tracks.append(NoteTrack(sound.key, sound.side, spectrum, family, pitch_class))
    return by_side(tracks)


def transposed(spectra: NDArray, labels: NDArray, semitones: int) -> tuple[NDArray, NDArray]:
    """Return spectra moved along their pitch axis, and labels that say so.

    ``labels`` are (items, 2): family and pitch class.
    """
    shift = semitones * INPUT.bins_per_semitone
    moved, said = np.roll(spectra, shift, axis=1), labels.copy()
    moved[:, : max(shift, 0)] = 0.0
    moved[:, moved.shape[1] + min(shift, 0) :] = 0.0
    said[:, 1] = (said[:, 1] + semitones) % 12
    return moved, said


def examples(tracks: Sequence[NoteTrack]) -> Examples:
    """Return spectra, and labels (items, 2): family and pitch class."""
    labels = np.array([[track.family, track.pitch_class] for track in tracks])
    return Examples(np.stack([track.spectrum for track in tracks]), labels)


def batches(
    settings: NotesTaggerConfig, tracks: Mapping[str, Sequence[NoteTrack]], *, seed: int = 0
) -> ExamplesData:
    """Return shuffled batches, each transposed by -5 to 6 semitones; validation as it is."""
    rng = np.random.default_rng([seed, 1])
    return ExamplesData(
        {side: examples(tracks[side]) for side in ("train", "validation")},
        settings.training.batch_size,
        seed,
        change=lambda x, y: transposed(x, y, int(rng.integers(-5, 7))),
    )


# ---- network ----


class NoteNetwork(nn.Module):
    """Log spectra (batch, bins, frames) to logits: 11 families, then 12 pitch classes."""

    def __init__(self, mean: float = 0.0, deviation: float = 1.0) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean))
        self.register_buffer("deviation", torch.tensor(deviation))
        self.register_buffer("centre", torch.zeros(DIMENSIONS))
        self.register_buffer("scale", torch.ones(DIMENSIONS))

        def block(n_in: int, n_out: int, time_step: int, *after: nn.Module) -> list[nn.Module]:
            step, half = (2, time_step), (2, 1)
            convolution = nn.Conv2d(n_in, n_out, (5, 3), stride=step, padding=half)
            return [convolution, nn.BatchNorm2d(n_out), nn.ReLU(), *after]

        self.body = nn.Sequential(
            nn.Unflatten(1, (1, -1)),
            *block(1, CHANNELS, 2),
            *block(CHANNELS, CHANNELS, 1, nn.MaxPool2d((1, 2))),
            *block(CHANNELS, 2 * CHANNELS, 1, nn.AdaptiveAvgPool2d((None, 1))),
            nn.Flatten(),
            nn.Dropout(0.1),
            nn.Linear(2 * CHANNELS * (INPUT.n_bins // 8), DIMENSIONS),
        )
        self.head = nn.Linear(DIMENSIONS, len(FAMILIES) + 12)

    def forward(self, spectra: Tensor) -> Tensor:
        """Return the logits."""
        return self.head(functional.relu(self.body((spectra - self.mean) / self.deviation)))

    def embed(self, spectra: Tensor) -> Tensor:
        """Return the layer before the last, (batch, 32), standardised."""
        return (self.body((spectra - self.mean) / self.deviation) - self.centre) / self.scale

    @torch.no_grad()
    def standardise(self, spectra: Tensor) -> None:
        """Make the embedding of some spectra have mean 0 and deviation 1 from now on."""
        self.centre.zero_()
        self.scale.fill_(1.0)
        raw = torch.cat([self.embed(part) for part in spectra.split(64)])
        self.centre.copy_(raw.mean(dim=0))
        self.scale.copy_(raw.std(dim=0) + 1e-6)


def family_and_pitch_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the cross-entropy of families, plus half that of the (easier) pitch classes."""
    n = len(FAMILIES)
    family = functional.cross_entropy(logits[:, :n], labels[:, 0])
    return family + 0.5 * functional.cross_entropy(logits[:, n:], labels[:, 1])


class NotesTaggerSystem(fit.System):
    """The network and its loss. Input (batch, 168, frames), output logits (batch, 23)."""

    def __init__(self, settings: NotesTaggerConfig) -> None:
        super().__init__(settings.training)
        self.settings = settings
        self.network = NoteNetwork()

    def forward(self, spectra: Tensor) -> Tensor:
        """Return the logits."""
        return self.network(spectra)

    def loss(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Return the loss of families and pitch classes."""
        return family_and_pitch_loss(self(batch["input"]), batch["label"])

    def _training_side(self) -> Tensor:
        return torch.from_numpy(self.trainer.datamodule.train.examples.inputs).to(self.device)

    def on_fit_start(self) -> None:
        """Take mean and deviation of the input from the training side."""
        spectra = self._training_side()
        self.network.mean.copy_(spectra.mean())
        self.network.deviation.copy_(spectra.std())

    def on_validation_epoch_start(self) -> None:
        """Standardise the embedding on the training side, so that each checkpoint holds it."""
        self.network.standardise(self._training_side())

    def embed_sounds(self, sounds: Sequence[ArrayLike], sample_rate: int) -> NDArray[np.float64]:
        """Return the embeddings of sounds of equal length, (items, 32), each at one level first."""
        spectra = self._spectra(sounds, sample_rate)
        with torch.inference_mode():
            parts = [self.network.embed(x) for x in torch.from_numpy(spectra).split(64)]
        return torch.cat(parts).double().numpy()

    def families_of(self, sounds: Sequence[ArrayLike], sample_rate: int) -> NDArray[np.float64]:
        """Return the probabilities of the families, (items, 11), of sounds of equal length."""
        logits = logits_of(self.network, self._spectra(sounds, sample_rate))
        families = torch.from_numpy(logits)[:, : len(FAMILIES)].double()
        return torch.softmax(families, dim=-1).numpy()

    @staticmethod
    def _spectra(sounds: Sequence[ArrayLike], sample_rate: int) -> NDArray[np.float32]:
        return spectra_of([at_level(np.asarray(sound)) for sound in sounds], sample_rate)


def build(settings: NotesTaggerConfig, *, seed: int = 0) -> NotesTaggerSystem:
    """Return an untrained system whose initial weights depend on ``seed`` alone."""
    L.seed_everything(config.checked(Seed, seed, "seed"), workers=True, verbose=False)
    return NotesTaggerSystem(settings)


# ---- answers and scores ----


def predict(system: NotesTaggerSystem, spectrum: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the logits, (23,), of the spectrum of a note, (168, frames)."""
    return logits_of(system.network, spectrum[None])[0]


def _evaluation(
    tracks: Sequence[NoteTrack], families: ArrayLike, pitch_classes: ArrayLike
) -> Evaluation:
    found = zip(
        tracks,
        np.broadcast_to(families, len(tracks)),
        np.broadcast_to(pitch_classes, len(tracks)),
        strict=True,
    )
    return Evaluation(
        {
            track.key: {
                "family": float(family == track.family),
                "pitch_class": float(pitch_class == track.pitch_class),
            }
            for track, family, pitch_class in found
        }
    )


def evaluate(system: NotesTaggerSystem, tracks: Mapping[str, Sequence[NoteTrack]]) -> Evaluation:
    """Return for each note of the test side whether family and pitch class are named rightly."""
    n = len(FAMILIES)
    logits = logits_of(system.network, examples(tracks["test"]).inputs)
    return _evaluation(tracks["test"], logits[:, :n].argmax(axis=1), logits[:, n:].argmax(axis=1))


def baselines(
    settings: NotesTaggerConfig, tracks: Mapping[str, Sequence[NoteTrack]]
) -> dict[str, Evaluation]:
    """Return the scores of the most frequent family and pitch class of the training side."""
    labels = np.array([[track.family, track.pitch_class] for track in tracks["train"]])
    common = [majority(column) for column in labels.T]
    return {"majority": _evaluation(tracks["test"], *common)}
