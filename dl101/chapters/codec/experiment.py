"""What the codec chapter compares over seeds: the codec that ships, trained on in three ways.

For ninety steps more on some notes: as before, without the dropout of stages, and with a
discriminator. The seed draws the notes, their order and the weights of the discriminator. Scores
are those of :func:`dl101.systems.codec.evaluate` on the test side of ``notes``, and levels in
bands of 1 kHz.
"""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from dl101.config import to_dict
from dl101.data.sounds import SoundTrack
from dl101.signal.stft import stft
from dl101.systems import codec
from dl101.training import protocol, shipped
from dl101.training.checkpoints import load_weights
from dl101.training.comparison import Comparison, Measurement

CORPUS, N_TRACKS = "notes", 360
ON = (
    "also=null",
    "quantise_after=0",
    "training.max_epochs=6",
    "training.patience=6",
    "training.learning_rate=1.0e-3",
)
VARIANTS: dict[str, tuple[str, ...]] = {
    "trained on": (),
    "trained on, no stage dropout": ("stage_dropout=0.0",),
    "trained on, adversarial": ("adversarial={windows: [512], weight: 0.3, feature_weight: 1.0}",),
}
N_BANDS = 8  # of 1 kHz each
SILENCE = 1e-4  # no bin of a silent frame is louder: 80 dB below full scale

Sides = Mapping[str, Sequence[SoundTrack]]


def settings_of(variant: Sequence[str]) -> codec.CodecConfig:
    """Return the settings of a variant, given as changes to those of the training that goes on."""
    return codec.load_config(settings=[*ON, *variant])


def load(*, n_tracks: int, seed: int, progress: bool = True) -> Sides:
    """Return the sounds of each side."""
    size = (f"data.n_tracks={n_tracks}", f"data.seed={seed}")
    return codec.load_tracks(settings_of(size), progress=progress)


def train(variant: Sequence[str], data: Sides, *, seed: int) -> codec.CodecSystem:
    """Return the codec that ships after some more training.

    The last weights count: the least loss of validation knows of no discriminator.
    """
    settings = settings_of(variant)
    system = codec.build(settings, seed=seed)
    system.load_state_dict(shipped.load("codec").system.state_dict(), strict=False)
    with tempfile.TemporaryDirectory(prefix="dl101-") as folder:
        protocol.train(codec, system, settings, data, folder, seed=seed, progress=False)
        load_weights(system, Path(folder) / "last.safetensors")
    return system.eval()


def band_levels(system: codec.CodecSystem, tracks: Sequence[SoundTrack]) -> dict[str, float]:
    """Return what is heard of all decoded sounds in each band, in dB.

    ``level_db_0`` and so on: where there is sound, beside the recorded ones; ``noise_db_0`` and so
    on: where the recorded ones are silent, the mean magnitude of a bin beside full scale.
    """
    recorded, decoded = [], []
    for track in tracks:
        for found, sound in (
            (recorded, track.audio),
            (decoded, codec.predict(system, track.audio)),
        ):
            magnitude = np.abs(stft(sound, window_samples=512, hop_samples=256)[:-1]) / 128
            found.append(magnitude.reshape(N_BANDS, -1, magnitude.shape[-1]))
    wanted, got = (np.concatenate(found, axis=-1) for found in (recorded, decoded))
    silent = wanted.max(axis=(0, 1)) < SILENCE
    energy, target = ((x[..., ~silent] ** 2).sum(axis=(1, 2)) for x in (got, wanted))
    levels = {f"level_db_{k}": x for k, x in enumerate(10 * np.log10(energy / target))}
    noise = 20 * np.log10(got[..., silent].mean(axis=(1, 2)) + 1e-6)
    return levels | {f"noise_db_{k}": x for k, x in enumerate(noise)}


def score(system: codec.CodecSystem, variant: Sequence[str], data: Sides) -> Mapping[str, float]:
    """Return the distances of the test side, means over notes, and levels in bands."""
    return codec.evaluate(system, data).mean | band_levels(system, data["test"])


COMPARISON = Comparison(
    corpus=CORPUS,
    n_tracks=N_TRACKS,
    load=load,
    n_items=lambda data: len(data["test"]),
    variants=VARIANTS,
    train=train,
    score=score,
    baselines={"as it ships": lambda data: score(shipped.load("codec").system, (), data)},
    describe=lambda variant: to_dict(settings_of(variant)),
)


def run(
    seed: int, n_tracks: int | None = None, *, done: Collection[str] = ()
) -> Iterator[Measurement]:
    """Train and score every variant."""
    yield from COMPARISON.run(seed, n_tracks, done=done)
