"""Answers that the declarations don't hold, by exercise: right in another way, and wrong ones.

A wrong answer stands under words of the message that it gets.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from dl101 import stft, tuning
from dl101.features import Feature
from dl101.units import midi_to_hz

RIGHT: dict[str, tuple[Callable, ...]] = {}
WRONG: dict[str, Mapping[str, Callable]] = {}

# ---- chroma ------------------------------------------------------------------------------------


def chroma_of_the_library(magnitudes, pitches_midi, compression):
    frames = np.arange(magnitudes.shape[1])
    frequencies = midi_to_hz(pitches_midi)
    spectrum = Feature(magnitudes[None].astype(np.float32), frames, frequencies, 22050, 512)
    return tuning.fold(spectrum, compression=compression).values[0]


def nearest_chroma(query, reference):
    """The smallest distance of unit vectors, instead of the largest product."""
    a, b = (x.mean(axis=1) / np.linalg.norm(x.mean(axis=1)) for x in (query, reference))
    return np.argmin([np.linalg.norm(np.roll(a, steps) - b) for steps in range(12)])


def a4_by_complex_power(frequencies_hz, strengths):
    arrows = strengths * np.exp(2j * np.pi * 12 * np.log2(frequencies_hz / 440))
    return 440 * 2 ** (np.angle(arrows.sum()) / (2 * np.pi) / 12)


RIGHT |= {
    "chroma.1": (chroma_of_the_library,),
    "chroma.2": (nearest_chroma,),
    "chroma.3": (a4_by_complex_power,),
}
WRONG |= {
    "chroma.1": {
        "transposed": lambda *case: chroma_of_the_library(*case).T,
        "same result": lambda m, p, c: np.eye(12, m.shape[1]),
    },
    "chroma.2": {
        "wrong way": lambda q, r: nearest_chroma(r, q),
        "same result": lambda q, r: 4,
        "Return one number": lambda q, r: [0, 1],
    },
    "chroma.3": {
        "same result": lambda f, s: 442.0,
        "should be": lambda f, s: f[s.argmax()],
    },
}

# ---- waveform ----------------------------------------------------------------------------------


def heard_hz(frequency_hz, sample_rate):
    rest = frequency_hz % sample_rate
    return rest if rest <= sample_rate / 2 else sample_rate - rest


def mu_law_codes(audio, n_codes):
    mu = n_codes - 1
    x = np.minimum(np.abs(audio), 1)
    squeezed = np.copysign(np.log(1 + mu * x) / np.log(1 + mu), audio)
    return np.rint((squeezed + 1) / 2 * mu).astype(np.uint8)


def by_power(train, test, level_db):
    gain = np.sqrt(10 ** (level_db / 10) / np.mean(train**2))
    return [gain * train, gain * test]


RIGHT |= {
    "waveform.1": (heard_hz, lambda f, r: np.abs(f - r * np.round(f / r))),
    "waveform.2": (mu_law_codes,),
    "waveform.3": (by_power,),
}
WRONG |= {
    "waveform.1": {
        "every multiple": lambda f, r: f if f < r / 2 else abs(r - f),
        "same result": lambda f, r: 1000,
        "is heard at 1000 Hz; yours is 1 Hz": lambda f, r: heard_hz(f, r) / 1000,
        "Return one frequency": lambda f, r: [f, r],
    },
    "waveform.2": {
        "clip to -1": lambda x, n: mu_law_codes(x, n) if abs(x).max() <= 1 else 0 * x,
        "has the code": lambda x, n: n - 1 - mu_law_codes(x, n).astype(int),
        "shape ()": lambda x, n: 3,
    },
    "waveform.3": {
        "multiplied by": lambda *case: (by_power(*case)[0], 0.5 * by_power(*case)[1]),
        "brings training": lambda *case: tuple(2 * side for side in by_power(*case)),
        "training side": lambda *case: by_power(*case)[::-1],
        "Return two arrays": lambda *case: 3.0,
    },
}

# ---- spectrogram -------------------------------------------------------------------------------


def located(k, t, length, hop, rate):
    return [np.fft.rfftfreq(length, 1 / rate)[k], (t * hop + length // 2) / rate]


def overlap_add(frames, window, hop):
    """The library's own, as the chapter uses it."""
    weight = stft._overlap_add(np.broadcast_to(window, frames.shape), hop)
    return np.where(weight > 1e-10, stft._overlap_add(frames, hop) / np.maximum(weight, 1e-10), 0)


def least_squares(frames, window, hop):
    weight = stft._overlap_add(np.broadcast_to(window**2, frames.shape), hop)
    total = stft._overlap_add(frames * window, hop)
    return np.where(weight > 1e-10, total / np.maximum(weight, 1e-10), 0)


def guarded(frames, window, hop):
    weight = stft._overlap_add(np.broadcast_to(window, frames.shape), hop)
    return stft._overlap_add(frames, hop) / (weight + 1e-6)


RIGHT |= {
    "spectrogram.1": (located,),
    "spectrogram.2": (lambda X, w: 10 * np.log10(4 * np.abs(X) ** 2 / w.sum() ** 2),),
    "spectrogram.3": (overlap_add, least_squares, guarded),
}
WRONG |= {
    "spectrogram.1": {
        "fence": lambda k, t, L, H, r: (np.linspace(0, r / 2, L // 2 + 2)[k], t),
        "half a window early": lambda k, t, L, H, r: (k * r / L, t * H / r),
        "same result": lambda *case: (215.3, 0.104),
        "Return two numbers": lambda *case: located(*case)[0],
        "bin 10 in frame 7": lambda k, t, L, H, r: (3 * k * r / L, 0.0),
    },
    "spectrogram.2": {
        "complex": lambda X, w: 20 * np.log10(2 * X / w.sum()),
        "has shape": lambda X, w: (20 * np.log10(2 * np.abs(X) / w.sum()))[:, 0],
        "same result": lambda X, w: np.zeros(X.shape),
        "up to 3 dB off": lambda X, w: 20 * np.log10(2 * np.abs(X) / w.sum()) + 3,
    },
    "spectrogram.3": {
        "same result": lambda f, w, H: np.zeros((len(f) - 1) * H + len(w)),
        "Return a signal": lambda f, w, H: "signal",
        "away from the signal": lambda f, w, H: np.roll(overlap_add(f, w, H), 1),
    },
}
