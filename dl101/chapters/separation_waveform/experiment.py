"""What networks, losses, parts and augmentations give on waveforms, beside spectra and no learning.

All variants take the same number of steps, of 16 s of audio each, on the songs of one seed of the
corpus ``stems``, and are scored in stereo on the same test side. Each differs in what its name says
from the network of the same model, which has the settings of the lab. ``spectrum`` is the U-Net of
:mod:`dl101.systems.source_separation`; it hears the mean of both channels while it learns, and each
by itself when it is scored. Answers without learning and bounds are those of that chapter.

On one H100 a variant takes about a minute; on a CPU core three minutes (Demucs) to an hour
(WaveNet). Wave-U-Nets and Conv-TasNet compute in bfloat16 with 32-bit sums, which a core that has
it does in a third to two thirds of the time; the other networks compute in 32 bits.
"""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from dl101 import config
from dl101.data.songs import SongTrack
from dl101.evaluation import separation, stems
from dl101.evaluation.results import mean_over_tracks
from dl101.nn.waveform_separation import hum
from dl101.signal import vocoder
from dl101.systems import separation_waveform as system
from dl101.systems import source_separation as spectral
from dl101.training import protocol
from dl101.training.comparison import Comparison, Measurement
from dl101.training.fit import System
from dl101.units import amplitude_to_db

CORPUS, N_TRACKS = "stems", 96
PREFIX = "steps: "
SPECTRUM = "spectrum"
MOVED = "demucs, pitch and tempo"
EPOCHS = 30  # of 40 steps; songs that are there twice need half as many
SEMITONES, STRETCH = 2.0, (0.88, 1.12)

Sides = Mapping[str, Sequence[SongTrack]]


HALF = "training.precision=bf16-mixed"


def _varied(**chosen: float) -> str:
    """Return the setting for pieces from anywhere, varied in this way alone."""
    ways = {"gain_db": 0.0, "swap": 0.0, "flip": 0.0, "remix": 0.0} | chosen
    return "augmentation={" + ", ".join(f"{k}: {v}" for k, v in ways.items()) + "}"


VARIANTS: dict[str, tuple[str, ...]] = {
    "wavenet": ("model=wavenet",),
    "multi_resolution": ("model=multi_resolution",),
    "wave_unet": ("model=wave_unet", HALF),
    "demucs": ("model=demucs",),
    "conv_tasnet": ("model=conv_tasnet", HALF),
    SPECTRUM: (),
    "wave_unet, transposed": ("model=wave_unet", HALF, "network.upsampling=transposed"),
    "wave_unet, no difference": ("model=wave_unet", HALF, "network.difference=false"),
    "wave_unet, padded": ("model=wave_unet", HALF, "network.context=false"),
    "demucs, no LSTM": ("network.lstm_layers=0",),
    "demucs, not rescaled": ("network.rescale=0",),
    "demucs, l1": ("loss=l1",),
    "demucs, sdr": ("loss=sdr",),
    "demucs, stft": ("loss=stft",),
    "demucs, as it is": ("augmentation=null",),
    "demucs, moved": (_varied(),),
    "demucs, swap": (_varied(swap=0.5),),
    "demucs, gain": (_varied(gain_db=6.0),),
    "demucs, remix": (_varied(remix=1.0),),
    MOVED: (),
}


def settings_of(name: str) -> system.SeparationWaveformConfig | spectral.SeparationConfig:
    """Return the settings of a variant."""
    epochs = EPOCHS // 2 if name == MOVED else EPOCHS
    length = (f"training.max_epochs={epochs}", f"training.patience={epochs}")
    if name == SPECTRUM:  # pieces of 2 s, 8 a step
        return spectral.load_config(settings=length)
    return system.load_config(settings=[*length, *VARIANTS[name]])


def load(*, seed: int, n_tracks: int, progress: bool = True) -> dict[str, list[SongTrack]]:
    """Return the songs of each side, in stereo."""
    size = (f"data.n_tracks={n_tracks}", f"data.seed={seed}")
    return system.load_tracks(system.load_config(settings=size), progress=progress)


def transposed(song: SongTrack, rng: np.random.Generator) -> SongTrack:
    """Return a song at another pitch and tempo, all of its stems alike."""
    semitones = rng.uniform(-SEMITONES, SEMITONES)
    stretch = float(np.exp(rng.uniform(*np.log(STRETCH))))
    rows = song.stems.reshape(-1, song.stems.shape[-1])
    moved = [vocoder.pitch_shift(vocoder.time_stretch(row, stretch), semitones) for row in rows]
    return replace(song, stems=np.stack(moved).reshape(*song.stems.shape[:2], -1))


def tracks_of(name: str, tracks: Sides, *, seed: int) -> dict[str, list[SongTrack]]:
    """Return the songs that a variant learns from."""
    found = {side: list(members) for side, members in tracks.items()}
    if name == SPECTRUM:
        return {
            side: [replace(t, stems=t.stems.mean(axis=1, keepdims=True)) for t in members]
            for side, members in found.items()
        }
    if name == MOVED:
        rng = np.random.default_rng(seed)
        found["train"] += [transposed(song, rng) for song in found["train"]]
    return found


def train(name: str, tracks: Sides, *, seed: int = 0) -> System:
    """Train a variant; validation chooses the epoch."""
    settings = settings_of(name)
    module = spectral if name == SPECTRUM else system
    built = module.build(settings, seed=seed)
    songs = tracks_of(name, tracks, seed=seed)
    with tempfile.TemporaryDirectory(prefix="dl101-") as folder:
        protocol.train(module, built, settings, songs, folder, seed=seed, progress=False)
    return built


def _scored(found: stems.SongScores) -> dict[str, float]:
    return mean_over_tracks(list(found.by_song.values())) | dict(found.overall)


def score(trained: System, name: str, tracks: Sides) -> dict[str, float]:
    """Return the scores of the test side: means over songs and stems, and by stem.

    ``residual_db`` is what the stems lack of the mixture beside the mixture; ``hum_db`` what a
    network on waveforms makes of silence, beside full scale.
    """
    residuals = []

    def estimate(track: SongTrack) -> np.ndarray:
        found = system.predict(trained, track.mixture)
        rest = track.mixture - found.sum(axis=0)
        residuals.append(np.std(rest) / np.std(track.mixture))
        return found

    found = _scored(stems.score(tracks["test"], estimate, trained.sample_rate))
    found["residual_db"] = float(np.mean(amplitude_to_db(np.maximum(residuals, 1e-6))))
    if name != SPECTRUM:
        level = hum(trained.network, trained.sample_rate).square().mean().sqrt().item()
        found["hum_db"] = float(amplitude_to_db(max(level, 1e-6)))
    return found


def _answer(make: Any, tracks: Sides) -> dict[str, float]:
    rate = system.load_config().sample_rate
    return _scored(stems.score(tracks["test"], lambda song: make(song, rate), rate))


def _bound(make: Any, tracks: Sides) -> dict[str, float]:
    window = spectral.load_config().window_samples
    return _answer(lambda song, rate: make(song.stems, frame_samples=window), tracks)


def describe(name: str) -> dict[str, Any]:
    """Return the settings of a variant but for its data, which the record names."""
    return {key: value for key, value in config.to_dict(settings_of(name)).items() if key != "data"}


COMPARISON = Comparison(
    corpus=CORPUS,
    n_tracks=N_TRACKS,
    load=load,
    n_items=lambda tracks: len(tracks["test"]),
    variants={name: name for name in VARIANTS},
    train=train,
    score=score,
    baselines={
        **{name: partial(_answer, make) for name, make in stems.ANSWERS.items()},
        **{name: partial(_bound, make) for name, make in separation.BOUNDS.items()},
    },
    describe=describe,
    prefix=PREFIX,
)


def run(
    seed: int, n_tracks: int | None = None, *, done: Collection[str] = ()
) -> Iterator[Measurement]:
    """Measure answers without learning, bounds and every variant on one seed."""
    yield from COMPARISON.run(seed, n_tracks, done=done)
