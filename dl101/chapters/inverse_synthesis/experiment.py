"""What the chapter on pitch by inverse synthesis compares over seeds, on voices, players and notes.

Trackers that learn nothing; the network after its tones, and trained on with recordings in three
ways (as in the paper, with the gradient let through, without the loss of sines); from nothing
but recordings, which ends where it should not; and a network like CREPE that is told the pitches of
the same recordings. The seed draws tones, performances, initial weights and the order of training.
"""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dl101.config import to_dict
from dl101.nn.inverse_synthesis import PitchClassifier
from dl101.systems import inverse_synthesis as system
from dl101.systems.inverse_synthesis_data import HOP_SAMPLES, SAMPLE_RATE, PitchTrack
from dl101.training import protocol
from dl101.training.comparison import Comparison, Measurement
from dl101.training.loop import minimise
from dl101.units import midi_to_hz

CORPUS, N_TRACKS = "voice", 120
TONES = "tones"
ON = (  # how the network is trained on, after its tones
    "curriculum=mixed",
    "tones_alone=0.0",
    "training.max_epochs=4",
    "training.patience=4",
    "training.learning_rate=5.0e-4",
)
VARIANTS: dict[str, tuple[str, ...]] = {
    TONES: ("curriculum=tones",),
    "recordings": ON,
    "gradient let through": (*ON, "stop_gradient=false"),
    "no consistency": (*ON, "weights.sinusoids=0.0"),  # neither on tones nor on recordings
    "recordings alone": (
        "curriculum=recordings",
        "training.max_epochs=4",
        "training.patience=4",
    ),
}
TOLD = "told (like CREPE)"
TOLD_STEPS, TOLD_FRAMES = 800, 128
TOLD_HOP = 160  # 10 ms, as the truth

Sides = Mapping[str, Sequence[PitchTrack]]


@dataclass(frozen=True, eq=False)
class Data:
    """The tracks of a seed, and the network that has learned from its tones, once there is one."""

    sides: Sides
    size: tuple[str, ...]
    pretrained: dict[int, dict[str, Tensor]] = field(default_factory=dict)


def settings_of(variant: Sequence[str], size: Sequence[str] = ()) -> system.InverseConfig:
    """Return the settings of a variant, given as changes to those of the shipped network."""
    return system.load_config(settings=[*size, *variant])


def load(*, n_tracks: int, seed: int, progress: bool = True) -> Data:
    """Return tones and recordings of each side; ``n_tracks`` counts the voices."""
    share = n_tracks / N_TRACKS
    usual = settings_of(())
    also = ", ".join(
        f"{{dataset: {data.dataset}, n_tracks: {max(6, round(share * data.n_tracks))}, "
        f"seed: {seed}}}"
        for data in usual.also
    )
    size = (
        f"data.n_tracks={n_tracks}",
        f"data.seed={seed}",
        f"also=[{also}]",
        f"tones.n_tracks={max(24, round(share * usual.tones.n_tracks))}",
        f"tones.seed={seed}",
    )
    return Data(system.load_tracks(settings_of((), size), progress=progress), size)


def train(variant: Sequence[str], data: Data, *, seed: int) -> system.InverseSystem:
    """Return the network of a variant; those that are trained on begin from that of the tones."""
    settings = settings_of(variant, data.size)
    network = system.build(settings, seed=seed)
    if settings.curriculum == "mixed":
        if seed not in data.pretrained:
            train(VARIANTS[TONES], data, seed=seed)
        network.load_state_dict(data.pretrained[seed])
    with tempfile.TemporaryDirectory(prefix="dl101-") as folder:
        protocol.train(system, network, settings, data.sides, folder, seed=seed, progress=False)
    if settings.curriculum == "tones":
        kept = {name: x.detach().cpu().clone() for name, x in network.state_dict().items()}
        data.pretrained[seed] = kept
    return network.eval()


def score(network: system.InverseSystem, variant: Sequence[str], data: Data) -> dict[str, float]:
    """Return the scores of the test side, and how well the sounds are made again."""
    found = system.evaluate(network, data.sides)
    return {**found.mean, **found.chosen, **remade(network, data.sides["test"])}


@torch.no_grad()
def remade(
    network: system.InverseSystem, tracks: Sequence[PitchTrack], *, n_tracks: int = 10
) -> dict[str, float]:
    """Return the spectral distance of voices and their two resyntheses, by the training's loss."""
    found: dict[str, list[float]] = {"sines_distance": [], "harmonics_distance": []}
    own = [track for track in tracks if track.corpus == CORPUS][:n_tracks]
    for track in own:
        n = len(track.audio) // HOP_SAMPLES * HOP_SAMPLES
        audio = torch.from_numpy(track.audio[:n])[None].to(network.device)
        heard = network(audio)
        noise = network.play_noise(heard.sines)
        for name, sound in (
            ("sines_distance", network.play_sines(heard.sines)),
            ("harmonics_distance", network.play_harmonics(heard.harmonics)),
        ):
            found[name].append(float(network.distance(sound + noise, audio)))
    return {name: float(np.mean(values)) for name, values in found.items()}


# ---- a network that is told ----------------------------------------------------------------------


def frames_at(audio: NDArray[np.float32], places: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return windows of 1024 samples around places, (places, 1024)."""
    size = PitchClassifier.window_samples
    padded = np.pad(audio, size // 2)
    return np.lib.stride_tricks.sliding_window_view(padded, size)[places]


def train_told(variant: int, data: Data, *, seed: int) -> PitchClassifier:
    """Return the classifier after ``variant`` steps on frames of recordings, with their pitch."""
    torch.manual_seed(seed)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    settings = settings_of((), data.size)
    low, high = settings.range_midi
    pitches = torch.linspace(low, high, round((high - low) * 5) + 1)
    network = PitchClassifier(pitches).to(device)
    tracks = [track for track in data.sides["train"] if not track.parameters]
    voiced = [
        (number, at)
        for number, track in enumerate(tracks)
        for at in np.flatnonzero(np.isfinite(track.f0_midi))
        if track.times_s[at] * SAMPLE_RATE < len(track.audio)
    ]
    rng = np.random.default_rng(seed)

    def draws() -> Iterator[tuple[Tensor, Tensor]]:
        for _ in range(variant):
            chosen = [voiced[k] for k in rng.integers(0, len(voiced), TOLD_FRAMES)]
            frames = np.empty((TOLD_FRAMES, network.window_samples), np.float32)
            truth = np.empty(TOLD_FRAMES, np.float32)
            for row, (number, at) in enumerate(chosen):
                track = tracks[number]
                middle = int(track.times_s[at] * SAMPLE_RATE)
                half = network.window_samples // 2
                piece = track.audio[max(middle - half, 0) : middle + half]
                frames[row] = 0
                begin = max(half - middle, 0)
                frames[row, begin : begin + len(piece)] = piece
                truth[row] = track.f0_midi[at]
            yield torch.from_numpy(frames).to(device), torch.from_numpy(truth).to(device)

    optimiser = torch.optim.Adam(network.parameters(), lr=1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, variant)
    minimise(
        network,
        lambda batch: network.loss(*batch).mean(),
        draws,
        optimiser,
        epochs=1,
        schedule=schedule,
        name=TOLD,
    )
    return network


@torch.no_grad()
def hear_told(network: nn.Module, audio: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the pitch that the classifier says, Hz, every 10 ms."""
    device = network.head.weight.device
    frames = frames_at(audio, np.arange(0, len(audio), TOLD_HOP))
    said = [
        network.pitch(network(torch.from_numpy(part.copy()).to(device))).double().cpu().numpy()
        for part in np.array_split(frames, max(1, len(frames) // 256))
    ]
    return midi_to_hz(np.concatenate(said))


def score_told(network: PitchClassifier, variant: int, data: Data) -> dict[str, float]:
    """Return the scores of the test side."""
    guess = partial(hear_told, network)
    settings = settings_of((), data.size)
    return system.score(settings, data.sides["test"], guess, hop_samples=TOLD_HOP).mean


def _baseline(name: str, data: Data) -> dict[str, float]:
    found = system.baseline(name, settings_of((), data.size), data.sides)
    return {**found.mean, **found.chosen}


def _n_items(data: Data) -> int:
    return sum(track.corpus == CORPUS for track in data.sides["test"])


COMMON: dict[str, Any] = {"corpus": CORPUS, "n_tracks": N_TRACKS, "load": load, "n_items": _n_items}
LEARNED = Comparison(
    **COMMON,
    variants=VARIANTS,
    train=train,
    score=score,
    describe=lambda variant: to_dict(settings_of(variant)),
)
RIVAL = Comparison(
    **COMMON,
    variants={TOLD: TOLD_STEPS},
    train=train_told,
    score=score_told,
    describe=lambda steps: {"steps": steps, "frames": TOLD_FRAMES},
)
TRACKERS = Comparison(
    **COMMON,
    variants={name: name for name in system.BASELINES},
    train=lambda name, data, *, seed: name,
    score=lambda trained, name, data: _baseline(name, data),
    describe=lambda name: {},
)


def run(
    seed: int, n_tracks: int | None = None, *, done: Collection[str] = ()
) -> Iterator[Measurement]:
    """Train and score every variant, then the trackers that learn nothing."""
    names = {*system.BASELINES, *VARIANTS, TOLD}
    if names <= set(done):
        return
    data = load(n_tracks=n_tracks or N_TRACKS, seed=seed)
    for comparison in (LEARNED, RIVAL, TRACKERS):
        yield from comparison.run(seed, n_tracks, data=data, done=done)
