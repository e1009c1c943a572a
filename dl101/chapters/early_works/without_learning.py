"""Three ways to a note without a network: phases searched, source and filter, grains.

Conventions: sounds are (time,), mono, at 8 kHz. The first two take a note apart and put it together
again, so they are told much: a mel spectrogram, or a filter for each 8 ms. The third is told what
the networks are told, a pitch and a family, and has the training notes at hand.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import scipy.signal
from numpy.typing import NDArray

from dl101.signal import prediction
from dl101.signal.mel import mel_filters, power_from_mel
from dl101.signal.stft import griffin_lim, stft
from dl101.systems.wavenet import RATE
from dl101.units import cents_to_ratio, midi_to_hz

WINDOW, HOP, BANDS = 512, 128, 64  # of the mel spectrogram
FRAME, STEP, ORDER = 256, 64, 20  # of the filters
NOISE = 0.15  # share of the source's amplitude that is noise
GRAIN = 480  # 60 ms

Sound = NDArray[np.float64]


@cache
def _filters() -> NDArray[np.float64]:
    return mel_filters(RATE, n_bands=BANDS, window_samples=WINDOW)


def mel_of(sound: Sound) -> NDArray[np.float64]:
    """Return a mel spectrogram, (band, frame): powers, without phases."""
    return _filters() @ np.abs(stft(sound, window_samples=WINDOW, hop_samples=HOP)) ** 2


def from_mel(mel: NDArray, n_samples: int, *, n_iterations: int = 32, seed: int = 0) -> Sound:
    """Return a sound that has nearly this mel spectrogram; the phases are searched."""
    magnitude = np.sqrt(np.maximum(power_from_mel(mel, _filters()), 0.0))
    found = griffin_lim(
        magnitude, hop_samples=HOP, n_samples=n_samples, n_iterations=n_iterations, seed=seed
    )
    return np.asarray(found.audio, dtype=np.float64)


def pulses(pitch_midi: float, n_samples: int, rng: np.random.Generator) -> Sound:
    """Return a source with power 1: a pulse for each period, and some noise."""
    period = RATE / float(midi_to_hz(pitch_midi))
    turns = np.arange(n_samples + 1) / period
    train = np.diff(np.floor(turns)) * np.sqrt(period)
    return (1 - NOISE) * train + NOISE * rng.standard_normal(n_samples)


def source_filter(sound: Sound, pitch_midi: float, *, seed: int = 0) -> Sound:
    """Return the note anew: for each frame the filter and the level of the sound, a new source."""
    source = pulses(pitch_midi, sound.size + FRAME, np.random.default_rng([seed]))
    padded = np.pad(sound, FRAME // 2)
    window = scipy.signal.windows.hann(FRAME, sym=False)
    made = np.zeros(padded.size + 4 * FRAME)
    for begin in range(0, sound.size, STEP):
        frame = padded[begin : begin + FRAME] * window
        r = prediction.autocorrelation(frame, ORDER)
        if r[0] < 1e-6:
            continue
        a = prediction.coefficients(r, floor=1e-4)
        level = np.sqrt(max(r[0] - a @ r[1:], 0.0) / np.sum(window**2))  # of the residual
        piece = np.pad(level * window * source[begin : begin + FRAME], (0, 4 * FRAME))
        made[begin : begin + piece.size] += prediction.through_filter(piece, a)[: made.size - begin]
    made = made[FRAME // 2 :][: sound.size]
    return made * np.linalg.norm(sound) / np.linalg.norm(made)


def grains(recorded: Sound, semitones: float, *, seed: int = 0) -> Sound:
    """Return a recorded note at another pitch, put together from grains of 60 ms.

    Each grain is read faster or slower from where it stood. It is moved by up to a period so that
    it fits what is there already, then faded in.
    """
    ratio = float(cents_to_ratio(100 * semitones))
    hop, reach = GRAIN // 2, RATE // 80
    window = scipy.signal.windows.hann(GRAIN, sym=False)
    place = np.arange(GRAIN) * ratio
    made = np.zeros(recorded.size + GRAIN)
    source = np.pad(recorded, (reach, 2 * GRAIN + reach))
    known = np.arange(source.size)
    for begin in range(0, recorded.size, hop):
        offsets = np.arange(0, 2 * reach, 2) if begin else np.array([reach])
        read = np.interp(begin + offsets[:, None] + place, known, source)
        fit = read[:, :hop] @ made[begin : begin + hop]
        fit /= np.linalg.norm(read[:, :hop], axis=1) + 1e-3
        made[begin : begin + GRAIN] += window * read[np.argmax(fit)]
    return made[: recorded.size]
