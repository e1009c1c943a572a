"""What the chapter models: points of a plane, and notes of one second, 24 numbers each.

Conventions. A *point* is (pitch, brightness): to the right higher, upwards brighter. Points are
drawn from a recipe whose density is known: five notes of a pentatonic scale, each a small bent
cloud. Rows are points; densities are natural logarithms.

A *note* is what twelve harmonics and twelve moments say of a recording: the levels of the harmonics
(dB) over the whole second, and the level of the sound at each moment, relative to its mean (dB).
Left out are noise, vibrato, and how the timbre changes within the note; the pitch is no part of the
numbers. Levels below :data:`FLOOR_DB` are raised to it, and each number gets noise of 1 dB, drawn
anew at every use: without it, all that lies on the floor would have an infinite density.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from dl101.data import pyjama
from dl101.training.comparison import Read, load_sides
from dl101.units import midi_to_hz

RATE = 22_050

# ---- the plane -----------------------------------------------------------------------------------

SCALE = (0, 2, 4, 7, 9)  # semitones above C4
NAMES = ("C", "D", "E", "G", "A")
SHARES = torch.tensor([0.30, 0.20, 0.25, 0.15, 0.10])  # how often each note is played
MIDDLE, SEMITONES = 4.4, 3.3  # of a unit to the right
CENTRES = torch.tensor(
    [[(s - MIDDLE) / SEMITONES, 0.7 * (-1) ** (i + 1)] for i, s in enumerate(SCALE)]
)
OUT_OF_TUNE, BREADTH, BEND = 0.10, 0.35, 0.4  # deviation to the sides and upwards; curvature


def points(n: int, *, seed: int | torch.Generator = 0) -> tuple[Tensor, Tensor]:
    """Return points (n, 2) and the number of the note that each belongs to, (n,)."""
    generator = torch.Generator().manual_seed(seed) if isinstance(seed, int) else seed
    note = torch.multinomial(SHARES, n, replacement=True, generator=generator)
    along, across = torch.randn(2, n, generator=generator)
    up = BREADTH * along
    x = torch.stack([OUT_OF_TUNE * across + BEND * up**2, up], dim=1)
    return CENTRES[note] + x, note


def log_densities(x: Tensor) -> Tensor:
    """Return the logarithm of the density of each note, its share included, (point, 5)."""
    away = x[:, None, :] - CENTRES
    across = (away[..., 0] - BEND * away[..., 1] ** 2) / OUT_OF_TUNE
    along = away[..., 1] / BREADTH
    size = np.log(2 * np.pi * OUT_OF_TUNE * BREADTH)  # the bend moves areas, and keeps them
    return SHARES.log() - 0.5 * (across**2 + along**2) - size


def log_density(x: Tensor) -> Tensor:
    """Return the logarithm of the density that points are drawn from, (point,)."""
    return log_densities(x).logsumexp(dim=1)


def typical(*, share: float = 0.99, n: int = 20_000) -> float:
    """Return the log-density that this share of all points exceeds."""
    return float(log_density(points(n, seed=9)[0]).quantile(1 - share))


def inside(x: Tensor) -> Tensor:
    """Return whether points lie where 99 % of the real ones do, (point,)."""
    return log_density(x) > typical()


def shares_of(x: Tensor) -> Tensor:
    """Return how often each of the five notes is played, (5,): the likeliest note of each point."""
    return torch.bincount(log_densities(x).argmax(dim=1), minlength=len(SCALE)) / len(x)


# ---- the notes -----------------------------------------------------------------------------------

N_HARMONICS = 12
MOMENTS_S = (0.0, 0.03, 0.06, 0.1, 0.15, 0.22, 0.3, 0.4, 0.52, 0.66, 0.82, 1.0)
N_NUMBERS = N_HARMONICS + len(MOMENTS_S)
LOWEST, HIGHEST = 48, 81  # MIDI; twelve harmonics of the highest stay below half the rate
FLOOR_DB, DITHER_DB = -60.0, 1.0


@dataclass(frozen=True, eq=False)
class Note:
    """A recorded note: its sound (samples,), its 24 numbers in dB, its family and pitch."""

    audio: NDArray[np.float32]
    numbers: NDArray[np.float64]
    family: str
    pitch_midi: float


def numbers_of(audio: ArrayLike, pitch_midi: float) -> NDArray[np.float64]:
    """Return the 24 numbers of a sound of at least a second, in dB."""
    audio = np.asarray(audio, dtype=np.float64)[:RATE]
    power = np.abs(np.fft.rfft(audio)) ** 2
    bins = np.arange(len(power)) * RATE / len(audio)
    hz = float(midi_to_hz(pitch_midi))
    near = [np.abs(bins - k * hz) < 0.4 * hz for k in range(1, N_HARMONICS + 1)]
    found = np.array([power[which].sum() for which in near])
    harmonics = np.maximum(10 * np.log10(found / found.sum() + 1e-12), FLOOR_DB)
    places = np.round(np.array(MOMENTS_S) * (RATE - 1)).astype(int)
    total = np.mean(audio**2)
    half = RATE // 100  # 10 ms to each side
    level = [np.mean(audio[max(0, p - half) : p + half] ** 2) / total for p in places]
    envelope = np.maximum(10 * np.log10(np.array(level) + 1e-12), FLOOR_DB)
    return np.concatenate([harmonics, envelope])


def sound_of(
    numbers: ArrayLike, pitch_midi: float, *, duration_s: float = 1.0
) -> NDArray[np.float32]:
    """Return the sound that 24 numbers (dB) stand for, at a pitch, (samples,)."""
    numbers = np.clip(np.asarray(numbers, dtype=np.float64), FLOOR_DB - 20, 20.0)
    t = np.arange(round(duration_s * RATE)) / RATE
    k = np.arange(1, N_HARMONICS + 1)
    phases = 2 * np.pi * float(midi_to_hz(pitch_midi)) * k[:, None] * t + k[:, None] ** 2
    wave = 10 ** (numbers[:N_HARMONICS] / 20) @ np.sin(phases)
    moments = np.array(MOMENTS_S) * duration_s
    wave *= 10 ** (np.interp(t, moments, numbers[N_HARMONICS:]) / 20)
    fade = np.minimum(1, np.minimum(t / 0.003, (t[-1] - t) / 0.02))
    wave *= fade / max(np.sqrt(np.mean((wave * fade) ** 2)), 1e-9) * 0.1
    return wave.astype(np.float32)


def tone(point: ArrayLike, *, duration_s: float = 0.35) -> NDArray[np.float32]:
    """Return the sound of a point of the plane, (samples,)."""
    pitch, brightness = np.clip(np.asarray(point, dtype=np.float64), -3, 3)
    slope = 9.0 - 4.5 * brightness  # dB from harmonic to harmonic, on a scale of octaves
    harmonics = -slope * np.log2(np.arange(1, N_HARMONICS + 1)) * 1.3
    envelope = np.interp(MOMENTS_S, [0, 0.03, 1], [-30, 0, -25])
    midi = 60 + MIDDLE + SEMITONES * pitch
    return sound_of(np.concatenate([harmonics, envelope]), midi, duration_s=duration_s)


def phrase(x: ArrayLike, **options: float) -> NDArray[np.float32]:
    """Return the sounds of some points (point, 2), one after the other."""
    return np.concatenate([tone(point, **options) for point in np.asarray(x)])


@dataclass(frozen=True, eq=False)
class Notes:
    """Notes as rows of numbers, standardised by the training side.

    Attributes
    ----------
    sides
        The notes of ``"train"`` and ``"test"`` (other notes of the same instruments).
    mean, deviation
        Of the training side, noise included, (24,), in dB.
    families
        Names of the families, in order.
    """

    sides: Mapping[str, list[Note]]
    mean: Tensor
    deviation: Tensor
    families: tuple[str, ...]

    def standard(self, side: str, *, seed: int = 0) -> Tensor:
        """Return the numbers of a side (note, 24), standardised, with noise of this seed."""
        generator = torch.Generator().manual_seed(seed)
        return self.with_noise(self.plain(side), generator)

    def plain(self, side: str) -> Tensor:
        """Return the numbers of a side (note, 24), standardised, without noise."""
        rows = torch.from_numpy(np.stack([note.numbers for note in self.sides[side]])).float()
        return (rows - self.mean) / self.deviation

    def with_noise(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Return numbers with noise of 1 dB."""
        return x + DITHER_DB / self.deviation * torch.randn(x.shape, generator=generator)

    def decibels(self, x: Tensor) -> NDArray[np.float64]:
        """Return standardised numbers in dB."""
        return (x * self.deviation + self.mean).double().numpy()

    def told(self, side: str) -> Tensor:
        """Return what can be asked for: family (one of them is 1), pitch, 12 moments."""
        notes = self.sides[side]
        family = torch.tensor([self.families.index(note.family) for note in notes])
        pitch = torch.tensor([(note.pitch_midi - 64) / 9 for note in notes]).float()
        one_hot = torch.nn.functional.one_hot(family, len(self.families)).float()
        return torch.cat([one_hot, pitch[:, None], self.plain(side)[:, N_HARMONICS:]], dim=1)


def load_notes(*, n_tracks: int = 720, seed: int = 0, progress: bool = False) -> Notes:
    """Return the notes of the corpus ``notes`` from C3 to A5; to test with, its validation side."""

    def to_items(entry: pyjama.Entry, read: Read) -> Iterable[Note]:
        pitch = float(np.ravel(entry.first("pitchmidi"))[0])
        if not LOWEST <= pitch <= HIGHEST:
            return []
        audio = read()[0]
        return [Note(audio[:RATE], numbers_of(audio, pitch), entry.first("family"), pitch)]

    found = load_sides("notes", to_items, n_tracks=n_tracks, seed=seed, progress=progress)
    sides = {"train": found["train"], "test": found["validation"]}
    rows = np.stack([note.numbers for note in sides["train"]])
    deviation = np.sqrt(rows.var(axis=0) + DITHER_DB**2)
    families = tuple(sorted({note.family for note in sides["train"]}))
    sides["test"] = [note for note in sides["test"] if note.family in families]
    return Notes(
        sides,
        torch.from_numpy(rows.mean(axis=0)).float(),
        torch.from_numpy(deviation).float(),
        families,
    )
