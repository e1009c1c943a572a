"""The tracks of multi-pitch estimation: from an .hdf5/.pyjama pair to what the network meets.

A :class:`PitchTrack` is input (harmonic, bin, time), target (bin, time), and the reference against
which its estimate is scored. :func:`load_pitch_tracks` makes them, from an embedded corpus or a
downloaded dataset alike; :func:`augment` varies the inputs of training.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dl101 import targets
from dl101.config import Ascending, Probability, Range, Settings
from dl101.data import feature_cache, pair, pyjama, splits
from dl101.data.audiofile import resample
from dl101.errors import DataError
from dl101.evaluation import multi_pitch
from dl101.progress import progress as show_progress
from dl101.signal import cqt, feature
from dl101.units import db_to_amplitude

Decibels = Annotated[float, Range(at_least=-200, at_most=200)]
COMPRESSION = 10_000  # what is 80 dB below full scale becomes visible


@dataclass(frozen=True)
class PitchTrack:
    """One track, ready for training and evaluation.

    Attributes
    ----------
    key
        Its ``filepath``, the key of its audio.
    side
        ``"train"``, ``"validation"`` or ``"test"``.
    input
        (harmonics, bins, frames) float32, compressed magnitudes; a memory map of the cache.
    target
        (bins, frames) uint8, 1 where a pitch sounds.
    times_s
        (frames,) times of the frames' centres in seconds.
    reference
        The annotation on its own time base, for scoring.
    """

    key: str
    side: str
    input: NDArray[np.float32]
    target: NDArray[np.uint8]
    times_s: NDArray[np.float64]
    reference: multi_pitch.PitchSeries


def compress(magnitude: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return log(1 + 10000 x) / log(1 + 10000): soft partials become visible beside loud ones."""
    return (np.log1p(COMPRESSION * magnitude) / np.log1p(COMPRESSION)).astype(np.float32)


def network_input(
    audio: NDArray[np.float32], config: cqt.HcqtConfig, *, sample_rate: int
) -> feature.Feature:
    """Return the compressed HCQT of a track, as the networks of multi-pitch estimation read it."""
    feature = cqt.hcqt(audio, config, sample_rate=sample_rate)
    return replace(feature, values=compress(feature.values))


@dataclass(frozen=True)
class AugmentationConfig(Settings):
    """How the inputs of training are varied: level, colour and noise floor, anew for each patch.

    Attributes
    ----------
    level_db
        Lowest and highest change of level.
    noise_db, noise_share
        Level of the noise that is added, in dB below a magnitude of 1, and the share of patches
        that get some.
    expansion, expansion_share
        Largest power to which magnitudes, relative to the loudest of the patch, are raised (it
        lowers the noise floor and keeps the peaks), and the share of patches that are so changed.
    tilt_db, bumps_db
        Standard deviations of what is drawn to change the colour, as microphones and rooms do: a
        slope in dB an octave, and the heights in dB of three bumps, an octave or so wide.
    tail_share, tail_db, tail_fall_db
        Share of patches whose sounds ring on after their end, as under a piano's pedal or in a
        hall; how much softer the ringing is than the sound was, and by how many dB a frame it
        falls.
    """

    level_db: Annotated[tuple[Decibels, Decibels], Ascending()] = (-38.0, 6.0)
    noise_db: Annotated[tuple[Decibels, Decibels], Ascending()] = (-90.0, -45.0)
    noise_share: Probability = 0.5
    expansion: Annotated[float, Range(at_least=1, at_most=10)] = 1.6
    expansion_share: Probability = 0.35
    tilt_db: Annotated[float, Range(at_least=0, at_most=20)] = 0.0
    bumps_db: Annotated[float, Range(at_least=0, at_most=40)] = 0.0
    tail_share: Probability = 0.0
    tail_db: Annotated[tuple[Decibels, Decibels], Ascending()] = (3.0, 25.0)
    tail_fall_db: Annotated[tuple[Decibels, Decibels], Ascending()] = (0.1, 1.2)


def augment(
    compressed: Tensor,
    config: AugmentationConfig,
    rng: np.random.Generator,
    frequencies_hz: NDArray[np.float64] | None = None,
) -> Tensor:
    """Return inputs at other levels, colours and noise floors; the targets stay true.

    Noise is added to a magnitude as to a transform: a complex normal number, so that noise alone
    follows Rayleigh's distribution.

    Parameters
    ----------
    compressed
        (batch, harmonics, bins, frames), as :func:`compress` gives them.
    config
        What is drawn for each item of the batch.
    rng
        Where the random numbers come from.
    frequencies_hz
        (harmonics, bins) of the input; needed where the colour is varied.

    Returns
    -------
    Tensor
        Compressed magnitudes of the same shape.
    """
    n = len(compressed)

    def column(values: NDArray[np.float64]) -> Tensor:
        return torch.as_tensor(values, dtype=x.dtype, device=x.device).view(-1, 1, 1, 1)

    x = torch.expm1(compressed * math.log1p(COMPRESSION)) / COMPRESSION
    expanded = rng.random(n) < config.expansion_share
    power = column(1 + expanded * rng.uniform(0, config.expansion - 1, n))
    gain = column(db_to_amplitude(rng.uniform(*config.level_db, n)))
    if config.tail_share:
        softer_db = np.where(
            rng.random(n) < config.tail_share, rng.uniform(*config.tail_db, n), np.inf
        )
        softer = column(db_to_amplitude(-softer_db))
        x = torch.hypot(x, softer * _held(x, column(rng.uniform(*config.tail_fall_db, n))))
    noisy = rng.random(n) < config.noise_share
    noise = column(noisy * db_to_amplitude(rng.uniform(*config.noise_db, n)) / math.sqrt(2))
    peak = x.amax(dim=(1, 2, 3), keepdim=True).clamp_min(1e-9)
    x = gain * peak * (x / peak) ** power
    if config.tilt_db or config.bumps_db:
        colour = _colours(n, np.log2(frequencies_hz), config, rng)
        x = x * torch.as_tensor(colour, dtype=x.dtype, device=x.device)
    source = torch.Generator(x.device).manual_seed(int(rng.integers(2**62)))
    real, imaginary = torch.randn((2, *x.shape), generator=source, device=x.device, dtype=x.dtype)
    x = torch.hypot(x + noise * real, noise * imaginary)
    return torch.log1p(COMPRESSION * x) / math.log1p(COMPRESSION)


def _held(magnitude: Tensor, fall_db: Tensor) -> Tensor:
    """Return what each bin's loudest frame so far has fallen to, at so many dB a frame."""
    fallen_db = fall_db * torch.arange(magnitude.shape[-1], device=magnitude.device)
    level_db = 20 * torch.log10(magnitude.clamp_min(1e-10))
    return 10 ** ((torch.cummax(level_db + fallen_db, dim=-1).values - fallen_db) / 20)


def _colours(
    n: int, octaves: NDArray[np.float64], config: AugmentationConfig, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Return gains (n, harmonics, bins, 1): a slope around 500 Hz and three bumps."""
    low, high = octaves.min(), octaves.max()
    level_db = rng.normal(0, config.tilt_db, n)[:, None, None] * (octaves - np.log2(500.0))
    for _ in range(3):
        height_db, centre = rng.normal(0, config.bumps_db, n), rng.uniform(low, high, n)
        width = rng.uniform(0.3, 1.5, n)
        away = (octaves - centre[:, None, None]) / width[:, None, None]
        level_db += height_db[:, None, None] * np.exp(-(away**2) / 2)
    return db_to_amplitude(level_db)[..., None]


def load_pitch_tracks(
    audio: Path,
    annotations: Path,
    feature: cqt.HcqtConfig,
    *,
    dataset: str,
    seed: int = 0,
    n_tracks: int | None = None,
    progress: bool = True,
) -> list[PitchTrack]:
    """Load the tracks of a pair that carry a multi-pitch annotation (``f0multi``, ``pitchmidi``).

    Where the entries state their ``split`` they keep it; otherwise works are split by name, so that
    two recordings of a work are always on the same side. Stems are left out. Audio at another rate
    is converted. Inputs come from the feature cache and are computed once.

    Raises
    ------
    DataError
        If the two files do not belong together, no entry has such an annotation, an annotated file
        has no audio, an annotation goes on after its audio has ended, or only some entries state a
        split.
    """
    axis = targets.PitchAxis.of(feature)
    tracks = []
    with pair.opened(audio, annotations) as (collection, store):
        entries = [entry for entry in collection if _is_annotated_mixture(entry)]
        if not entries:
            raise DataError(
                f"annotations {annotations}",
                got="no entry with f0multi or pitchmidi",
                expected="multi-pitch annotations",
                hint="use a dataset made for multi-pitch estimation, such as chorales or bach10",
            )
        entries = entries[:n_tracks]
        sides = _sides(entries, dataset, seed, annotations)
        entries = [entry for entry in entries if entry.filepath in sides]  # a safe split omits some
        for entry in show_progress(entries, "features", enabled=progress):
            samples, sample_rate = store.read(entry.filepath)
            tracks.append(
                _make_track(entry, sides[entry.filepath], samples, sample_rate, feature, axis)
            )
    return tracks


def _sides(
    entries: Sequence[pyjama.Entry], dataset: str, seed: int, annotations: Path
) -> dict[str, str]:
    """Return the side of each entry: the one it states, or else what is safe for the dataset."""
    stated = {entry.filepath: entry.first("split") for entry in entries}
    if not any(stated.values()):
        return splits.safe_split(dataset, entries, seed=seed)
    for path, side in stated.items():
        if side not in splits.SIDES:
            raise DataError(
                f"annotations {annotations}, entry {path}, field 'split'",
                got=repr(side),
                expected=f"one of {', '.join(splits.SIDES)}, as other entries state theirs",
                hint="state the split of every entry, or of none",
            )
    return stated


def _is_annotated_mixture(entry: pyjama.Entry) -> bool:
    return entry.first("role") != "stem" and (
        "f0multi" in entry.fields or "pitchmidi" in entry.fields
    )


def _make_track(
    entry: pyjama.Entry,
    side: str,
    samples: NDArray[np.float32],
    sample_rate: int,
    config: cqt.HcqtConfig,
    axis: targets.PitchAxis,
) -> PitchTrack:
    duration_s = len(samples) / sample_rate
    _check_end(entry, duration_s)
    samples = resample(samples, sample_rate, config.sample_rate)
    feature = feature_cache.cached(network_input, samples, config, sample_rate=config.sample_rate)
    times = feature.times
    if "f0multi" in entry.fields:
        curve = entry.fields["f0multi"][0]
        target = targets.from_f0(curve.value, curve.time, axis, times)
        reference = multi_pitch.from_f0(curve.value, curve.time)
    else:
        onsets, durations, pitches = entry.segments("pitchmidi")
        target = targets.from_notes(onsets, durations, pitches, axis, times)
        # notes have no time base of their own: 10 ms, as in Bach10's curves
        reference = multi_pitch.from_notes(
            onsets, durations, pitches, np.arange(0, duration_s, 0.010)
        )
    return PitchTrack(entry.filepath, side, feature.values, target, times, reference)


def _check_end(entry: pyjama.Entry, duration_s: float) -> None:
    """Refuse an annotation that belongs to a longer recording than the one beside it."""
    for name in ("f0multi", "pitchmidi"):
        atoms = entry.fields.get(name, ())
        last_s = max((float(np.max(atom.time, initial=0.0)) for atom in atoms), default=0.0)
        if last_s > duration_s + 1.0:  # published annotations run over by a frame or two
            raise DataError(
                f"entry {entry.index} ({entry.filepath}), field {name!r}",
                got=f"an annotation at {last_s:.2f} s",
                expected=f"times within the recording of {duration_s:.2f} s",
                hint="check that the audio and the annotation are of the same version",
            )
