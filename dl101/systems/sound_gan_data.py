"""Half a second of notes, and pictures of them that a network can draw: after GANSynth [1]_.

Conventions: a sound is (2048,) samples at 4,000 Hz, a note from C3 to B4; a picture is
(channel, 128 bins, 32 frames): the logarithm of the magnitude, from -1 (80 dB below the loudest) to
1, and the instantaneous frequency in half turns a frame.

References
----------
.. [1] J. Engel and others, "GANSynth: adversarial neural audio synthesis", ICLR 2019.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dl101.data.audiofile import resample
from dl101.data.sounds import at_level
from dl101.signal.rainbow import instantaneous_frequency, phase_of
from dl101.signal.stft import griffin_lim, istft, stft
from dl101.training.comparison import load_sides
from dl101.units import hz_to_midi, midi_to_hz

RATE, N_SAMPLES = 4_000, 2_048
LOWEST, N_PITCHES = 48, 24  # C3 to B4
CLEAR = 0.85  # correlation of a sound with itself, one period later
WINDOW, HOP = 256, 64
SHAPE = (WINDOW // 2, N_SAMPLES // HOP)  # of a picture: bins, frames
RANGE_DB, LOUDEST = 80.0, 40.0  # magnitudes of a picture, the loudest as |X|


@dataclass(frozen=True, eq=False)
class Notes:
    """Notes of one side: ``audio`` (note, samples), ``pitches_midi`` and ``families`` (note,)."""

    audio: NDArray[np.float32]
    pitches_midi: NDArray[np.int64]
    families: NDArray[np.str_]

    def __len__(self) -> int:
        return len(self.audio)

    def __getitem__(self, rows: slice) -> Notes:
        return Notes(self.audio[rows], self.pitches_midi[rows], self.families[rows])


def load(
    corpus: str = "notes", *, seed: int = 0, n_tracks: int = 2160, progress: bool = True
) -> dict[str, Notes]:
    """Return the notes of each side of an embedded corpus that are in the range of pitches."""

    def items(entry, read):  # noqa: ANN001, ANN202
        pitch = int(np.ravel(entry.first("pitchmidi"))[0])
        if not LOWEST <= pitch < LOWEST + N_PITCHES:
            return []
        samples, rate = read(duration_s=0.6)
        sound = at_level(resample(samples, rate, RATE)[:N_SAMPLES])
        return [(sound, pitch, entry.first("family"))]

    sides = load_sides(corpus, items, n_tracks=n_tracks, seed=seed, progress=progress)
    return {
        side: Notes(np.stack(audio), np.array(pitch), np.array(family))
        for side, rows in sides.items()
        for audio, pitch, family in [zip(*rows, strict=True)]
    }


def clear_pitch(sound: ArrayLike) -> float:
    """Return the pitch of a sound as a MIDI number, or NaN where it has none or out of range.

    Of a quarter of a second after the attack: the first lag at which the sound, at four times the
    rate, is nearly as much like itself as at any lag.
    """
    fine = resample(np.asarray(sound, dtype=np.float32)[256:1280], RATE, 4 * RATE).astype(float)
    low, high = (4 * RATE / midi_to_hz(LOWEST + p) for p in (N_PITCHES - 0.5, -0.5))
    lags = np.arange(int(low) - 2, int(high) + 3)
    alike = []
    for lag in lags:
        a, b = fine[:-lag], fine[lag:]
        alike.append(a @ b / np.sqrt(max((a @ a) * (b @ b), 1e-12)))
    alike = np.array(alike)
    peaks = np.flatnonzero((alike[1:-1] > alike[:-2]) & (alike[1:-1] >= alike[2:])) + 1
    peaks = [p for p in peaks if alike[p] > max(CLEAR, 0.97 * alike.max())]
    if not peaks:
        return float("nan")
    left, top, right = alike[peaks[0] - 1 : peaks[0] + 2]
    lag = lags[peaks[0]] + 0.5 * (left - right) / (left - 2 * top + right)
    return float(hz_to_midi(4 * RATE / lag))


# ---- pictures ------------------------------------------------------------------------------------


def picture(sound: ArrayLike) -> NDArray[np.float32]:
    """Return the picture of a sound, (2, bin, frame): log magnitude, instantaneous frequency."""
    spectrum = stft(np.asarray(sound), window_samples=WINDOW, hop_samples=HOP)
    spectrum = spectrum[: SHAPE[0], : SHAPE[1]]
    db = 20 * np.log10(np.maximum(np.abs(spectrum), 1e-9) / LOUDEST)
    loud = np.clip(1 + 2 * db / RANGE_DB, -1, 1)
    return np.stack([loud, instantaneous_frequency(np.angle(spectrum))]).astype(np.float32)


def magnitude_of(loud: ArrayLike) -> NDArray[np.float64]:
    """Return magnitudes (129 bins, 33 frames) of the first channel; the floor is silence."""
    loud = np.asarray(loud, dtype=np.float64)
    magnitude = LOUDEST * 10 ** ((loud - 1) * RANGE_DB / 40) * (loud > -0.999)
    return np.pad(magnitude, ((0, 1), (0, 1)))  # the bin at half the rate, the frame at the end


def from_picture(made: ArrayLike) -> NDArray[np.float32]:
    """Return the sound of a picture, (2, bin, frame), whose second channel has the phases."""
    phase = np.pad(phase_of(made[1]), ((0, 1), (0, 1)))
    spectrum = magnitude_of(made[0]) * np.exp(1j * phase)
    return istft(spectrum, hop_samples=HOP, n_samples=N_SAMPLES).astype(np.float32)


def by_griffin_lim(
    made: ArrayLike, *, n_iterations: int = 60, seed: int = 0
) -> NDArray[np.float32]:
    """Return a sound with the magnitudes of a picture, (channel, bin, frame), phases guessed."""
    found = griffin_lim(
        magnitude_of(made[0]), hop_samples=HOP, n_samples=N_SAMPLES, n_iterations=n_iterations,
        seed=seed,
    )  # fmt: skip
    return found.audio.astype(np.float32)


def pictures_of(notes: Notes) -> NDArray[np.float32]:
    """Return the pictures of notes, (note, 2, bin, frame)."""
    return np.stack([picture(sound) for sound in notes.audio])


def numbers_of(notes: Notes) -> NDArray[np.int64]:
    """Return the numbers of the pitches of notes, from 0."""
    return notes.pitches_midi - LOWEST


def sounds_of(pictures: ArrayLike) -> NDArray[np.float32]:
    """Return the sounds of pictures, (note, 2, bin, frame), with the phases that they have."""
    return np.stack([from_picture(each) for each in np.asarray(pictures)])
