"""A WaveNet that writes notes: 0.8 s from the onset, sample by sample.

It is told a pitch and a family, nothing else (van den Oord et al., 2016, with global conditioning).

Conventions: sounds are at 8 kHz, as mu-law codes (note, time), whole numbers from 0 to 255. What a
network is told of a note is a row of zeros with two ones: one of 25 pitches from A2 to A4, one of
eleven families in the order of :data:`FAMILIES`. Scores are bits per sample on the test side, whose
instruments nobody has heard in training.
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

from dl101 import config
from dl101.config import Count, Range, Seed, Settings
from dl101.data.embedded.corpora import notes as corpus
from dl101.data.sounds import load_sounds
from dl101.data.source import DataConfig
from dl101.nn.sampling import SamplingConfig
from dl101.nn.waveform_models import SampleRNN, WaveNet, bits_per_sample
from dl101.signal import predictors
from dl101.signal.waveforms import mu_law_decode, mu_law_encode
from dl101.training import fit, protocol
from dl101.training.batches import by_side
from dl101.training.examples import Examples, ExamplesData
from dl101.training.fit import TrainingConfig
from dl101.training.protocol import Evaluation

RATE, N_SAMPLES, ONSET = 8000, 6400, 160
LOWEST, HIGHEST = 45, 69  # MIDI
FAMILIES = tuple(corpus.FAMILIES)
CONDITION = HIGHEST - LOWEST + 1 + len(FAMILIES)


@dataclass(frozen=True)
class StackConfig(Settings):
    """Of the stack: ``stacks`` times ``layers``, whose dilations double from 1 on."""

    channels: Count = 32
    skip_channels: Count = 64
    layers: Annotated[int, Range(at_least=1, at_most=16)] = 8
    stacks: Annotated[int, Range(at_least=1, at_most=16)] = 2


@dataclass(frozen=True)
class WaveNetSystemConfig(Settings):
    """Everything a run depends on, except its seed.

    Attributes
    ----------
    heard
        Samples of each note, from its onset, that training hears. All of a note are scored.
    """

    scale: Literal["lab", "full"] = "lab"
    data: DataConfig = field(default_factory=lambda: DataConfig(dataset="notes"))
    network: StackConfig = field(default_factory=StackConfig)
    heard: Annotated[int, Range(at_least=1, at_most=N_SAMPLES)] = N_SAMPLES
    training: TrainingConfig = field(default_factory=TrainingConfig)

    @property
    def variant(self) -> str:
        """Return the name of the run in tables."""
        return "wavenet"


Config = WaveNetSystemConfig


def load_config(
    file: str | Path = "wavenet", *, scale: str = "lab", settings: Sequence[str] = ()
) -> WaveNetSystemConfig:
    """Read a configuration; see :func:`dl101.training.protocol.load_config`."""
    return protocol.load_config(WaveNetSystemConfig, file, scale=scale, settings=settings)


# ---- input ----


@dataclass(frozen=True)
class Note:
    """A note: its codes, (time,), its pitch (MIDI) and the number of its family."""

    key: str
    side: str
    codes: NDArray[np.int64]
    pitch: int
    family: int


@dataclass(frozen=True, eq=False)
class Notes:
    """Notes of one side: ``codes`` (note, time), their pitches, families (numbers) and keys."""

    codes: NDArray[np.int64]
    pitches: NDArray[np.int64]
    families: NDArray[np.int64]
    keys: NDArray[np.str_]

    def __len__(self) -> int:
        return len(self.codes)

    def __getitem__(self, chosen: slice | NDArray | Sequence[int]) -> Notes:
        return Notes(*(x[chosen] for x in (self.codes, self.pitches, self.families, self.keys)))

    @property
    def told(self) -> Tensor:
        """Return what a network is told, (note, condition)."""
        return told_of(self.pitches, self.families)

    @property
    def audio(self) -> NDArray[np.float64]:
        """Return the sounds that the codes stand for."""
        return mu_law_decode(self.codes)


def told_of(pitches: Sequence[int] | NDArray, families: Sequence[int] | NDArray) -> Tensor:
    """Return the two ones among zeros, (note, condition)."""
    told = torch.zeros(len(pitches), CONDITION)
    rows = torch.arange(len(pitches))
    told[rows, torch.as_tensor(np.asarray(pitches)) - LOWEST] = 1.0
    told[rows, HIGHEST - LOWEST + 1 + torch.as_tensor(np.asarray(families))] = 1.0
    return told


def load_notes(
    data: DataConfig, *, accept_restricted: bool = False, progress: bool = True
) -> dict[str, Notes]:
    """Return the notes of each side whose pitch is in the range."""
    found = []
    for sound in load_sounds(data, RATE, accept_restricted=accept_restricted, progress=progress):
        pitch = round(float(sound.labels["pitchmidi"]))
        if LOWEST <= pitch <= HIGHEST:
            codes = mu_law_encode(sound.audio[ONSET : ONSET + N_SAMPLES])
            family = FAMILIES.index(sound.labels["family"])
            found.append(Note(sound.key, sound.side, codes, pitch, family))
    return {
        side: Notes(
            np.stack([note.codes for note in notes]),
            np.array([note.pitch for note in notes]),
            np.array([note.family for note in notes]),
            np.array([note.key for note in notes]),
        )
        for side, notes in by_side(found).items()
    }


def load_tracks(
    settings: WaveNetSystemConfig, *, accept_restricted: bool = False, progress: bool = True
) -> dict[str, Notes]:
    """Return the notes of each side of the split."""
    return load_notes(settings.data, accept_restricted=accept_restricted, progress=progress)


def batches(
    settings: WaveNetSystemConfig, tracks: Mapping[str, Notes], *, seed: int = 0
) -> ExamplesData:
    """Return shuffled batches of notes from their onsets on, so that no sample lacks its past."""
    sides = {
        side: Examples(tracks[side].codes[:, : settings.heard], tracks[side].told.numpy())
        for side in ("train", "validation")
    }
    return ExamplesData(sides, settings.training.batch_size, seed)


# ---- network ----


class WaveNetSystem(fit.System):
    """The network and its loss. Codes (batch, time) and what is told, to logits."""

    shipped_dtype = torch.float16

    def __init__(self, settings: WaveNetSystemConfig) -> None:
        super().__init__(settings.training)
        self.settings, sizes = settings, settings.network
        self.network = WaveNet(
            condition=CONDITION,
            channels=sizes.channels,
            skip_channels=sizes.skip_channels,
            dilations=[2**i for i in range(sizes.layers)] * sizes.stacks,
        )

    def forward(self, codes: Tensor, told: Tensor) -> Tensor:
        """Return the logits."""
        return self.network(codes, told)

    def loss(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Return the mean surprise, in bits."""
        return bits_per_sample(self(batch["input"], batch["label"]), batch["input"]).mean()


def build(settings: WaveNetSystemConfig, *, seed: int = 0) -> WaveNetSystem:
    """Return an untrained system whose initial weights depend on ``seed`` alone."""
    L.seed_everything(config.checked(Seed, seed, "seed"), workers=True, verbose=False)
    return WaveNetSystem(settings)


# ---- answers and scores ----


@torch.inference_mode()
def bits_of(network: nn.Module, notes: Notes) -> NDArray[np.float32]:
    """Return the bits of each sample of whole notes, (note, time)."""
    device = next(network.parameters()).device
    codes, told = torch.from_numpy(notes.codes).to(device), notes.told.to(device)
    parts = zip(codes.split(4), told.split(4), strict=True)
    return torch.cat([bits_per_sample(network(c, t), c) for c, t in parts]).cpu().numpy()


def write(
    network: WaveNet | SampleRNN,
    told: Tensor,
    *,
    n_samples: int = N_SAMPLES,
    temperature: float = 1.0,
    start: NDArray[np.int64] | None = None,
    seed: int = 0,
) -> NDArray[np.float64]:
    """Return sounds that the network has drawn, (note, time); they begin with ``start``, codes."""
    generator = torch.Generator().manual_seed(seed)
    uniform = torch.rand(len(told), n_samples, generator=generator)
    given = None if start is None else torch.from_numpy(start)
    codes = network.generate(uniform, told, SamplingConfig(temperature=temperature), start=given)
    return mu_law_decode(codes.numpy())


def predict(system: WaveNetSystem, notes: Notes) -> NDArray[np.float32]:
    """Return how surprised the network is by each sample of some notes, (note, time), in bits."""
    return bits_of(system.network, notes)


def _evaluation(notes: Notes, bits: NDArray) -> Evaluation:
    means = zip(notes.keys.tolist(), bits.mean(axis=1, dtype=np.float64).tolist(), strict=True)
    return Evaluation({key: {"bits": mean} for key, mean in means})


def evaluate(system: WaveNetSystem, tracks: Mapping[str, Notes]) -> Evaluation:
    """Return the bits per sample of each note of the test side."""
    return _evaluation(tracks["test"], predict(system, tracks["test"]))


def baselines(settings: WaveNetSystemConfig, tracks: Mapping[str, Notes]) -> dict[str, Evaluation]:
    """Return the bits per sample of the simple predictors."""
    train, test = tracks["train"].codes, tracks["test"]
    return {
        name: _evaluation(test, predictor(train, test.codes))
        for name, predictor in predictors.PREDICTORS.items()
    }
