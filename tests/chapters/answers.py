"""Answers that the declarations don't hold, by exercise: right in another way, and wrong ones.

A wrong answer stands under words of the message that it gets.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping

import mir_eval
import numpy as np
import scipy.fft
import scipy.signal
import scipy.special
import scipy.stats
import torch
from sklearn import metrics
from sklearn.preprocessing import StandardScaler
from torch.distributions import Normal, kl_divergence

from dl101.data.featurestore import bytes_touched
from dl101.data.pyjama import Atom
from dl101.evaluation import generation, listening, separation, tagging
from dl101.lab import costs
from dl101.nn import (
    blocks,
    code_patterns,
    filter_shapes,
    flow,
    frames,
    losses,
    metric_learning,
    pooling,
    sample_level,
    sampling,
    self_supervised,
    sound_gan,
    synthesis,
)
from dl101.nn.quantize import FSQ, ResidualVQ
from dl101.nn.shapes import Shape, VerticalConv
from dl101.nn.spectral_separation import UNet
from dl101.nn.tune import TUNe
from dl101.nn.wave_unet import WaveUNet, WaveUNetConfig
from dl101.nn.waveform_separation import middle
from dl101.signal import augment, mel, rainbow, stft, tuning, waveforms
from dl101.signal.feature import Feature
from dl101.targets import PitchAxis, from_notes
from dl101.units import hz_to_midi, midi_to_hz

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
    },
    "chroma.2": {
        "wrong way": lambda q, r: nearest_chroma(r, q),
    },
    "chroma.3": {
        "same result": lambda f, s: 0.0,  # though semitones and 0 are near to each other
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
        "is heard at 1000 Hz; yours is 1 Hz": lambda f, r: heard_hz(f, r) / 1000,
    },
    "waveform.2": {
        "clip to -1": lambda x, n: mu_law_codes(x, n) if abs(x).max() <= 1 else 0 * x,
        "has the code": lambda x, n: n - 1 - mu_law_codes(x, n).astype(int),
    },
    "waveform.3": {
        "negative": lambda *case: tuple(-side for side in by_power(*case)),
        "multiplied by": lambda *case: (by_power(*case)[0], 0.5 * by_power(*case)[1]),
        "brings training": lambda *case: tuple(2 * side for side in by_power(*case)),
        "training side": lambda *case: by_power(*case)[::-1],
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
        "bin 10 in frame 7": lambda k, t, L, H, r: (3 * k * r / L, 0.0),
    },
    "spectrogram.2": {
        "complex": lambda X, w: 20 * np.log10(2 * X / w.sum()),
        "up to 3 dB off": lambda X, w: 20 * np.log10(2 * np.abs(X) / w.sum()) + 3,
    },
    "spectrogram.3": {
        "away from the signal": lambda f, w, H: np.roll(overlap_add(f, w, H), 1),
    },
}

# ---- log_mel -----------------------------------------------------------------------------------


def normalised(guard, ddof):
    def normalise(train, test):
        mean, var = train.mean((0, 2), keepdims=True), train.var((0, 2), keepdims=True, ddof=ddof)
        return (train - mean) / np.sqrt(var + guard), (test - mean) / np.sqrt(var + guard)

    return normalise


RIGHT |= {
    "log_mel.1": (
        lambda m, f, c: mel.compress(f @ m**2, c),
        lambda m, f, c: np.log1p(c * np.einsum("kb,bt->kt", f, m * m)).astype("f4"),
    ),
    "log_mel.2": (lambda c, g: np.exp(np.log(c) - g * np.log(10) / 10),),
    "log_mel.3": (
        lambda y, n: scipy.fft.dct(y, axis=0, norm="ortho")[1 : n + 1],
        lambda y, n: mel.mfcc(y, n + 1)[1:],
    ),
    "log_mel.4": (normalised(1e-4, 0), normalised(1e-12, 1)),
}
WRONG |= {
    "log_mel.1": {
        "transposed": lambda m, f, c: np.log1p(c * (f @ m**2)).T,
        "should be": lambda m, f, c: np.sqrt(f @ m**2),
    },
    "log_mel.2": {
        "For C = 10000 and 20 dB the answer is 100, yours 10.": lambda c, g: np.sqrt(c) / 10,
    },
    "log_mel.3": {
        "one row too few or too many": lambda y, n: scipy.fft.dct(y, axis=0, norm="ortho")[: n + 1],
    },
    "log_mel.4": {
        "deviation 0": normalised(0, 0),
        "training side": lambda a, b: normalised(1e-4, 0)(a, b)[::-1],
        "should be": lambda a, b: (a, b),
    },
}

# ---- dilated -----------------------------------------------------------------------------------


def field_from_the_output(kernels, dilations, strides):
    field = 1
    for k, d, s in zip(kernels[::-1], dilations[::-1], strides[::-1], strict=True):
        field = (field - 1) * s + (k - 1) * d + 1
    return field


def stream_by_torch(x, past, weight, dilation):
    joined = torch.cat([torch.as_tensor(past), torch.as_tensor(x)], dim=1)
    y = torch.nn.functional.conv1d(joined[None], torch.as_tensor(weight), dilation=dilation)[0]
    return y, joined[:, x.shape[1] :]


RIGHT |= {
    "dilated.1": (field_from_the_output, lambda k, d, s: float(field_from_the_output(k, d, s))),
    "dilated.2": (
        lambda k, n: tuple(k**i for i in range(20) if i == 0 or k**i < n),
        lambda k, n: np.array([k**i for i in range(20) if i == 0 or k**i < n]),
    ),
    "dilated.3": (stream_by_torch,),
}
WRONG |= {
    "dilated.1": {"you say 9": lambda k, d, s: len(k) + 8},
    "dilated.2": {"you say 2": lambda k, n: [2 * d for d in RIGHT["dilated.2"][0](k, n)]},
    "dilated.3": {
        "should be": lambda x, p, w, d: (stream_by_torch(x, p, w, d)[0] + 1, p),
        "two arrays": lambda x, p, w, d: stream_by_torch(x, p, w, d)[0],
    },
}

# ---- sincnet -----------------------------------------------------------------------------------


def band_pass_by_integral(low_hz, high_hz, n_taps, sample_rate):
    """The inverse Fourier transform of the band, with limits where n = 0."""
    n = np.arange(n_taps) - 0.5 * (n_taps - 1)
    f1, f2 = low_hz / sample_rate, high_hz / sample_rate
    ideal = np.full(n_taps, 2 * (f2 - f1))
    away = n != 0
    waves = np.sin(2 * np.pi * f2 * n) - np.sin(2 * np.pi * f1 * n)
    ideal[away] = waves[away] / (np.pi * n[away])
    return ideal * scipy.signal.windows.hamming(n_taps, sym=True)


def cutoffs_one_by_one(a, b, min_low, min_band):
    low = [min(min_low + abs(x), 0.5 - min_band) for x in a]
    return low, [min(x + min_band + abs(y), 0.5) for x, y in zip(low, b, strict=True)]


def cutoffs_clipped_apart(a, b, min_low, min_band):
    """Two bounds, but f2 from an f1 before its own."""
    f1 = min_low + np.abs(a)
    return np.minimum(f1, 0.5 - min_band), np.minimum(f1 + min_band + np.abs(b), 0.5)


def running_means_of_clicks(n_frames, s):
    clicks, out = np.eye(n_frames), np.zeros((n_frames, n_frames))
    for u in range(n_frames):
        mean = clicks[u, 0]
        for t in range(n_frames):
            mean = (1 - s) * mean + s * clicks[u, t]
            out[t, u] = mean
    return out


RIGHT |= {
    "sincnet.1": (band_pass_by_integral,),
    "sincnet.2": (cutoffs_one_by_one, cutoffs_clipped_apart),
    "sincnet.3": (running_means_of_clicks,),
}
WRONG |= {
    "sincnet.1": {
        "should be": lambda lo, hi, n, rate: 0.7 * band_pass_by_integral(lo, hi, n, rate),
        "one tap too many": lambda lo, hi, n, rate: band_pass_by_integral(lo, hi, n | 1, rate),
    },
    "sincnet.2": {
        "should be": lambda a, b, low, band: tuple(
            np.clip(f, 0, 0.4) for f in cutoffs_one_by_one(a, b, low, band)
        ),
        "a tuple of": lambda a, b, low, band: (*cutoffs_one_by_one(a, b, low, band), 0.5),
    },
    "sincnet.3": {
        "Write out M[1]": lambda n, s: np.tril(np.full((n, n), s)),
        "has shape": lambda n, s: running_means_of_clicks(n, s)[-1],
    },
}

# ---- features_at_speed -------------------------------------------------------------------------


def patch_by_a_loop(number, n_frames, patch_frames, hop_frames):
    for track, n in enumerate(n_frames):
        start = 0
        while True:
            if number == 0:
                return np.array([track, start, min(start + patch_frames, n)])
            number -= 1
            if start + patch_frames >= n:
                break
            start += hop_frames


def patch_or_error(number, n_frames, patch_frames, hop_frames):
    """Whole patches only; where they end, an exception."""
    patches = [
        (track, start, start + patch_frames)
        for track, n in enumerate(n_frames)
        for start in range(0, max(1, n - patch_frames + 1), hop_frames)
    ]
    return patches[number]


def key_of_bytes(name, audio, parameters, code):
    digest = hashlib.md5(audio.tobytes() + str((audio.dtype, audio.shape)).encode())
    for part in (*sorted(parameters.items()), code):
        digest.update(repr(part).encode())
    return digest.digest()


RIGHT |= {
    "features_at_speed.1": (patch_by_a_loop,),
    "features_at_speed.2": (
        lambda s, c, a, b: (
            4 * c[0] * c[1] * len({f // c[1] for f in range(a, b)}) * len(range(0, s[0], c[0]))
        ),
    ),
    "features_at_speed.3": (key_of_bytes,),
}
WRONG |= {
    "features_at_speed.1": {
        "ends too early": patch_or_error,
        "a list of 2": lambda i, n, p, h: [0, 8],
        "a dict": lambda i, n, p, h: {"start": 0},
    },
    "features_at_speed.2": {
        "chunks of (64, 128), frames 0 to 128 need 32768 bytes; you say 65536": (
            lambda *read: 2 * bytes_touched(*read)
        ),
    },
    "features_at_speed.3": {
        "name a file": lambda n, a, p, c: a,
        "hashlib takes bytes": lambda n, a, p, c: hashlib.sha256(n).hexdigest(),
        "the code belongs": lambda n, a, p, c: key_of_bytes(n, a, p, ""),
    },
}

# ---- shapes ------------------------------------------------------------------------------------


def shapes_of_the_library(n_bands, n_frames, n_filters, height, width):
    layer = VerticalConv(Shape(n_filters, height, width))
    x = torch.zeros(1, 1, n_bands, n_frames)
    return tuple(layer.positions(x).shape[1:]), tuple(layer(x).shape[1:])


def room_by_trying(n_bands, height, place, bins_per_semitone):
    places = range(n_bands - height + 1)
    down = max(k for k in range(n_bands) if place - k * bins_per_semitone in places)
    up = max(k for k in range(n_bands) if place + k * bins_per_semitone in places)
    return np.array([down, up])


def triangle_by_interpolation(bins_hz, f_k, n, alpha, beta, q):
    peak = n * f_k
    half = (alpha * peak + beta) / q / 2
    return np.interp(bins_hz, [peak - half, peak, peak + half], [0, 1, 0])


RIGHT |= {
    "shapes.1": (shapes_of_the_library,),
    "shapes.2": (room_by_trying,),
    "shapes.3": (triangle_by_interpolation,),
}
WRONG |= {
    "shapes.1": {
        "should be": lambda b, t, n, h, w: ((n, b - h + 1, t), (n, t + 1)),
        "returns a tuple of 2": lambda b, t, n, h, w: ((n, t), (n, b - h + 1, t)),
    },
    "shapes.2": {
        "1 is up) should be": lambda b, h, p, s: (p // s, 0),
    },
    "shapes.3": {
        "should be": lambda f, f_k, n, a, b, q: triangle_by_interpolation(f, f_k, n, a, b, q) ** 2,
    },
}

# ---- augmentation ------------------------------------------------------------------------------

ROOTS = list(augment.harte.ROOTS)


def noise_turned_over(audio, noise, snr_db):
    rms = [np.linalg.norm(x) for x in (audio, noise)]
    return audio - noise * rms[0] / rms[1] / 10 ** (snr_db / 20)


def moved_by_the_library(notes, chords, tempo_bpm, semitones, stretch):
    fields = {
        "pitchmidi": [Atom(p, t, d) for t, d, p in notes],
        "chord": [Atom("N" if r is None else ROOTS[r], t, d) for t, d, r, _ in chords],
        "tempo": [Atom(tempo_bpm)],
    }
    found = augment.move_labels(fields, semitones=semitones, stretch=stretch)
    roots = [None if a.value == "N" else ROOTS.index(a.value) for a in found["chord"]]
    return (
        [(a.time, a.duration, a.value) for a in found["pitchmidi"]],
        [
            [a.time, a.duration, root, chord[3]]
            for a, root, chord in zip(found["chord"], roots, chords, strict=True)
        ],
        found["tempo"][0].value,
    )


def masks_at_once(batch, max_bands, rng):
    items, bands, _ = batch.shape
    width = rng.integers(0, max_bands, size=items, endpoint=True)
    first = (rng.random(items) * (bands - width + 1)).astype(int)
    b = np.arange(bands)
    stripe = (b >= first[:, None]) & (b < (first + width)[:, None])
    return np.where(stripe[..., None], batch.mean(axis=(1, 2), keepdims=True), batch)


RIGHT |= {
    "augmentation.1": (noise_turned_over,),
    "augmentation.2": (moved_by_the_library,),
    "augmentation.3": (masks_at_once,),
}
WRONG |= {
    "augmentation.1": {
        "not the audio plus": lambda audio, noise, snr_db: 0 * audio,
        "has 1.9 dB": lambda a, n, snr: a + 0.8 * (noise_turned_over(a, n, snr) - a),
    },
    "augmentation.2": {
        "the tempo should be 96.0": lambda *case: (*moved_by_the_library(*case)[:2], 95.0),
    },
}

# ---- constant_q --------------------------------------------------------------------------------


def with_scipy_window(audio, frequency_hz, quality, sample_rate, hop_samples):
    """A window of a whole, odd number of samples is near enough."""
    length = 2 * int(quality * sample_rate / frequency_hz / 2) + 1
    window = scipy.signal.get_window("hann", length, fftbins=False)
    n = np.arange(length) - length // 2
    kernel = window / window.sum() * np.exp(-2j * np.pi * frequency_hz * n / sample_rate)
    padded = np.pad(audio, length // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, length)[::hop_samples]
    return np.sqrt(length) * np.abs(frames @ kernel)


def stacked_row_by_row(cqt, harmonics, bins_per_semitone):
    result = np.zeros((len(harmonics), *cqt.shape))
    for channel, h in enumerate(harmonics):
        shift = int(np.floor(12 * bins_per_semitone * np.log2(h) + 0.5))
        for k in range(max(0, -shift), min(len(cqt), len(cqt) - shift)):
            result[channel, k] = cqt[k + shift]
    return result


def transposed_by(profile, *, lowest=-12, centred=True, figure=lambda a, b: a @ b):
    """Return an answer that tries every shift from ``lowest`` to 12 semitones in a loop."""

    def transposition(first, second, bins_per_semitone):
        a, b = profile(first), profile(second)
        a, b = (a - a.mean(), b - b.mean()) if centred else (a, b)

        def fit(lag):
            return figure(a[: len(a) - lag], b[lag:]) if lag >= 0 else figure(a[-lag:], b[:lag])

        lags = range(lowest * bins_per_semitone, 12 * bins_per_semitone + 1)
        return max(lags, key=fit) / bins_per_semitone

    return transposition


def mean(cqt):
    return cqt.mean(axis=1)


def decibels(cqt):
    return 20 * np.log10(cqt + 1e-9).mean(axis=1)


def cut_to_equal_length(first, second, bins_per_semitone):
    n = min(first.shape[1], second.shape[1])
    x, y = first[:, :n], second[:, :n]

    def fit(lag):
        return (x[: len(x) - lag] * y[lag:]).sum() if lag >= 0 else (x[-lag:] * y[:lag]).sum()

    lags = range(-12 * bins_per_semitone, 12 * bins_per_semitone + 1)
    return max(lags, key=fit) / bins_per_semitone


RIGHT |= {
    "constant_q.1": (with_scipy_window,),
    "constant_q.2": (stacked_row_by_row,),
    "constant_q.3": (
        transposed_by(mean),
        transposed_by(mean, centred=False),
        transposed_by(lambda cqt: (cqt**2).mean(axis=1)),  # powers are as good
        transposed_by(decibels),
        transposed_by(mean, figure=lambda a, b: -np.mean((a - b) ** 2)),
        lambda x, y, b: (np.argmax(np.correlate(y.sum(1), x.sum(1), "full")) - len(x) + 1) / b,
    ),
}
WRONG |= {
    "constant_q.1": {
        "unit of the frequency": lambda a, f, q, r, h: with_scipy_window(a, f, 2 * np.pi * q, r, h),
    },
    "constant_q.2": {
        "another order": lambda *case: stacked_row_by_row(*case).transpose(1, 0, 2),
        "of channel 0.5 differ": lambda cqt, h, b: stacked_row_by_row(cqt, [1] * len(h), b),
    },
    "constant_q.3": {
        "upwards only": transposed_by(mean, lowest=0),
        "first frames only": transposed_by(lambda cqt: cqt[:, 0]),
        "frame by frame": cut_to_equal_length,
        "decibels": transposed_by(decibels, centred=False),
        "semitones higher": lambda x, y, b: 10 * float(x.max()),
    },
}

# ---- multi_pitch -------------------------------------------------------------------------------


def targets_of_the_library(onsets_s, durations_s, pitches_midi, times_s, lowest_midi, n_bins):
    axis = PitchAxis(float(midi_to_hz(lowest_midi)), 1, n_bins)
    return from_notes(onsets_s, durations_s, pitches_midi, axis, times_s)


def matrix_by_frames(onsets_s, durations_s, pitches_midi, times_s, lowest_midi, n_bins):
    """Right; a student's loop over all cells."""
    matrix = [[False] * len(times_s) for _ in range(n_bins)]
    for onset, duration, pitch in zip(onsets_s, durations_s, pitches_midi, strict=True):
        for row in range(n_bins):
            if row == pitch - lowest_midi:
                lit = [t for t, s in enumerate(times_s) if onset <= s < onset + duration]
                middle = onset + duration / 2
                nearest = int(np.abs(times_s - middle).argmin())
                for t in lit or [nearest]:
                    matrix[row][t] = True
    return matrix


def short_notes_at(place):
    """Return an answer that lights a note too short for a frame at onset + place * duration."""

    def notes_to_matrix(onsets_s, durations_s, pitches_midi, times_s, lowest_midi, n_bins):
        matrix = np.zeros((n_bins, len(times_s)), dtype=np.uint8)
        for onset, duration, pitch in zip(onsets_s, durations_s, pitches_midi, strict=True):
            lit = np.flatnonzero((times_s >= onset) & (times_s < onset + duration))
            if not lit.size:
                lit = np.argmin(np.abs(times_s - onset - place * duration))
            if 0 <= pitch - lowest_midi < n_bins:
                matrix[pitch - lowest_midi, lit] = 1
        return matrix

    return notes_to_matrix


def near(ref, est):
    return abs(ref - est) <= 0.5


def paired(order):
    """Return a right answer that pairs greedily, in an order of its own."""

    def score(reference, estimate):
        tp = 0
        for ref, est in zip(reference, estimate, strict=True):
            free = order(est)
            for pitch in order(ref):
                if partners := [other for other in free if near(pitch, other)]:
                    free.remove(partners[0])
                    tp += 1
        n_ref, n_est = sum(map(len, reference)), sum(map(len, estimate))
        ratios = ((tp, n_est), (tp, n_ref), (tp, n_ref + n_est - tp))
        return {
            name: above / below if below else 0.0
            for name, (above, below) in zip(
                ("Precision", "Recall", "Accuracy"), ratios, strict=True
            )
        }

    return score


def never_claimed(reference, estimate):
    tp = fp = fn = 0
    for ref, est in zip(reference, estimate, strict=True):
        tp += sum(any(near(r, e) for r in ref) for e in est)
        fp += sum(not any(near(r, e) for r in ref) for e in est)
        fn += sum(not any(near(r, e) for e in est) for r in ref)
    return tp / max(tp + fp, 1), tp / max(tp + fn, 1), tp / max(tp + fp + fn, 1)


def overlap(probabilities, targets, threshold):
    lit, on = probabilities >= threshold, targets == 1
    return (lit & on).sum() / (lit | on).sum()


def choose_threshold(p, t, candidates):
    return max(candidates, key=lambda threshold: overlap(p, t, threshold))


def f_measure(p, t, candidates, p_test=None):
    """The F-measure has its maximum where the accuracy has it."""
    values = [2 * ((p >= c) & (t == 1)).sum() / ((p >= c).sum() + t.sum()) for c in candidates]
    return candidates[int(np.argmax(values))]


def climbing(p, t, candidates, p_test=None, t_test=None):
    best = candidates[0]
    for threshold in candidates[1:]:
        if overlap(p, t, threshold) <= overlap(p, t, best):
            break
        best = threshold
    return best


RIGHT |= {
    "multi_pitch.1": (targets_of_the_library, matrix_by_frames, short_notes_at(0.5)),
    "multi_pitch.2": (paired(list), paired(sorted), paired(lambda frame: sorted(frame)[::-1])),
    "multi_pitch.3": (choose_threshold, f_measure),
}
WRONG |= {
    "multi_pitch.1": {
        "0 and 1 only": lambda *notes: targets_of_the_library(*notes) + 1,
        "nearest to its onset": short_notes_at(0),
        "nearest to its end": short_notes_at(1),
        "transposed": lambda *notes: targets_of_the_library(*notes).T,
    },
    "multi_pitch.2": {
        "Nothing is claimed": never_claimed,
        "same result": lambda ref, est: (0.0, 0.0, 0.0),  # though equal pitches are few
        "lacks accuracy": lambda ref, est: {"precision": 1.0, "recall": 1.0},
        "too high. Work out one frame": lambda ref, est: (
            (0.99, 0.99, 0.98) if len(ref) > 9 else paired(list)(ref, est)
        ),
        "precision should be 0.250 and is": lambda ref, est: (
            (0.5, 1.0, 0.5) if len(ref) == 2 else paired(list)(ref, est)
        ),
    },
    "multi_pitch.3": {
        "on the test set": lambda p, t, c, other=None, truth=None: (
            choose_threshold(p, t, c) if other is None else choose_threshold(other, truth, c)
        ),
        "for the first time": climbing,
        "compare with >": lambda p, t, c: choose_threshold(p - 1e-9, t, c),
        "has an accuracy of": lambda p, t, c: c[1 + int(p.mean() > 0.2)],
    },
}

# ---- conv1d ------------------------------------------------------------------------------------


def frames_one_by_one(n_samples, kernel_samples, hop_samples, centred):
    """Count them."""
    if centred:
        return sum(1 for centre in range(n_samples + 1) if centre % hop_samples == 0)
    starts = range(0, n_samples, hop_samples)
    return sum(1 for start in starts if start + kernel_samples <= n_samples)


def amplitude_by_complex_kernel(x, window, frequency_hz, sample_rate):
    turned = np.exp(-2j * np.pi * frequency_hz / sample_rate * np.arange(len(x)))
    return 2 * abs(np.vdot(window, x * turned)) / sum(window)


def centre_by_trying(kernel, sample_rate):
    """The transform on a grid of 4 Hz, without an FFT."""
    grid_hz = np.arange(0, sample_rate / 2, 4.0)
    waves = np.exp(-2j * np.pi * np.outer(grid_hz, np.arange(len(kernel))) / sample_rate)
    return grid_hz[np.argmax(np.abs(waves @ kernel))]


RIGHT |= {
    "conv1d.1": (frames_one_by_one,),
    "conv1d.2": (amplitude_by_complex_kernel,),
    "conv1d.3": (centre_by_trying,),
}
WRONG |= {
    "conv1d.1": {
        "same result": lambda *_: 7,
        "Write down where each frame begins": lambda n, k, h, centred: (
            frames_one_by_one(n, k, h, centred) + (n > 1000)
        ),
        "Return a whole number": lambda *case: list(range(frames_one_by_one(*case))),
    },
    "conv1d.2": {
        "same result": lambda *_: 0.3,  # about right for the first
        "amplitude is": lambda x, w, f, sr: 1.1 * amplitude_by_complex_kernel(x, w, f, sr),
        "Return one number": lambda x, w, f, sr: w * x,
    },
    "conv1d.3": {
        "passes": lambda kernel, sample_rate: centre_by_trying(kernel, sample_rate) + 20,
    },
}

# ---- sample_level ------------------------------------------------------------------------------


def depth_by_recursion(duration_s, sample_rate, m):
    wanted = round(duration_s * sample_rate)
    if wanted <= m:
        return 0, m
    blocks, samples = depth_by_recursion(-(-wanted // m), 1, m)
    return blocks + 1, samples * m


def excited_by_einsum(x, w1, b1, w2, b2):
    z = np.einsum("ct->c", x) / x.shape[1]
    hidden = np.einsum("hc,c->h", w1, z) + b1
    gates = 0.5 * (1 + np.tanh((w2 @ np.where(hidden > 0, hidden, 0) + b2) / 2))
    return np.diag(gates) @ x


def step_by_norms(x, gradient, step):
    """A ratio of norms is a ratio of RMS."""
    length = np.linalg.norm(gradient)
    if length == 0:
        return x
    y = x + step * np.linalg.norm(x) * gradient / length
    return y * np.linalg.norm(x) / np.linalg.norm(y)


RIGHT |= {
    "sample_level.1": (depth_by_recursion,),
    "sample_level.2": (excited_by_einsum,),
    "sample_level.3": (step_by_norms,),
}
WRONG |= {
    "sample_level.1": {
        "until the excerpt fits": lambda duration_s, sample_rate, m: (9, m**10),
    },
    "sample_level.2": {
        "then scale x": lambda x, w1, b1, w2, b2: x * x.mean(),
    },
    "sample_level.3": {
        "restore the RMS of x": lambda x, gradient, step: x * (1 + step),
    },
}

# ---- judging -----------------------------------------------------------------------------------


def fitted(sizes, distances):
    """Least squares by the normal equations."""
    design = np.stack([np.ones(len(sizes)), 1 / np.asarray(sizes, float)], axis=1)
    return np.linalg.solve(design.T @ design, design.T @ distances)[0]


def precision_recall_by_loops(reference, generated, k):
    def share(centres, items):
        radii = [sorted(np.linalg.norm(c - d) for d in centres)[k] for c in centres]
        inside = [
            any(np.linalg.norm(x - c) <= r for c, r in zip(centres, radii, strict=True))
            for x in items
        ]
        return sum(inside) / len(inside)

    return {"Precision": share(reference, generated), "recall": share(generated, reference)}


def score_by_entropies(p):
    return np.exp(
        scipy.stats.entropy(p.mean(axis=0)) - np.mean([scipy.stats.entropy(row) for row in p])
    )


RIGHT |= {
    "judging.1": (fitted, lambda n, d: scipy.stats.linregress(1 / n, d).intercept),
    "judging.2": (
        precision_recall_by_loops,
        lambda r, g, k: generation.precision_recall(r, g, k=k),
    ),
    "judging.3": (score_by_entropies, generation.inception_score),
    "judging.4": (
        lambda k, n: scipy.stats.binom.sf(k - 1, n, 0.5),
        lambda k, n: scipy.stats.binomtest(int(k), int(n), alternative="greater").pvalue,
        listening.binomial_test,
    ),
}
WRONG |= {
    "judging.1": {
        "should be": lambda n, d: np.median(d) / 3,
    },
    "judging.2": {
        "Return precision and recall": lambda r, g, k: 0.5,
        "lacks recall": lambda r, g, k: {"precision": 1.0},
    },
    "judging.3": {
        "the score should be": lambda p: 1 + p.max(),
    },
    "judging.4": {
        "probability should be": lambda k, n: k / n**2 / 7,
    },
}


# ---- auto-tagging ------------------------------------------------------------------------------


def accuracy_by_sums(probabilities, track, classes):
    """Sums in place of means, and one matrix product in place of a loop."""
    sums = np.eye(len(classes))[track].T @ probabilities
    return (sums.argmax(axis=1) == classes).sum() / len(classes)


def precision_by_scikit_learn(has, scores):
    return metrics.average_precision_score(has, scores)


def held_out_by_totals(artists, n_test):
    """Cumulative totals by artist: those before the total is reached, and the one that does."""
    numbers, counts = np.unique(artists, return_counts=True)
    before = np.cumsum(counts) - counts
    return np.isin(artists, numbers[before < n_test])


def means_by_scikit_learn(truth, said):
    known = truth.any(axis=0)
    macro = metrics.f1_score(truth[:, known], said[:, known], average="macro", zero_division=0)
    return macro, metrics.f1_score(truth, said, average="micro", zero_division=0)


RIGHT |= {
    "auto_tagging.1": (accuracy_by_sums,),
    "auto_tagging.2": (precision_by_scikit_learn,),
    "auto_tagging.3": (held_out_by_totals,),
    "auto_tagging.4": (
        means_by_scikit_learn,
        lambda t, s: dict(zip(("macro", "micro"), means_by_scikit_learn(t, s), strict=True)),
    ),
}
WRONG |= {
    "auto_tagging.1": {
        "You count patches": lambda p, track, classes: np.mean(
            [row.argmax() == classes[k] for row, k in zip(p, track, strict=True)]
        ),
        "should be": lambda p, track, classes: 0.5 * accuracy_by_sums(p, track, classes),
    },
    "auto_tagging.2": {
        "area under the ROC curve": lambda has, s: metrics.roc_auc_score(has, s),
        "yes and no": lambda has, s: metrics.average_precision_score(has, np.round(s)),
        "equal scores": lambda has, s: np.mean(
            np.cumsum(has[np.argsort(-s)])[has[np.argsort(-s)] > 0]
            / (1 + np.flatnonzero(has[np.argsort(-s)]))
        ),
    },
    "auto_tagging.3": {
        "on the wrong side": lambda artists, n: artists % 2 == 0,
        "exactly n_test": lambda artists, n: held_out_by_totals(artists, n + 0.5),
    },
    "auto_tagging.4": {
        "the wrong axis": lambda t, s: (
            metrics.f1_score(t, s, average="samples", zero_division=0),
            means_by_scikit_learn(t, s)[1],
        ),
        "as 0": lambda t, s: (
            metrics.f1_score(t, s, average="macro", zero_division=0),
            means_by_scikit_learn(t, s)[1],
        ),
        "number of its tracks": lambda t, s: (
            metrics.f1_score(t, s, average="weighted", zero_division=0),
            means_by_scikit_learn(t, s)[1],
        ),
    },
}


# ---- cover_songs -------------------------------------------------------------------------------


def ranks_by_counting(distances, works):
    """The rank of the first version is 1 plus the strangers that are nearer: nothing is sorted."""
    same = np.equal.outer(works, works) & ~np.eye(len(works), dtype=bool)
    first = np.where(same, distances, np.inf).min(axis=1)
    strangers = ~np.equal.outer(works, works)
    nearer = (strangers & (distances < first[:, None])).sum(axis=1)
    return np.where(same.any(axis=1), nearer + 1, 0)


def precision_by_scikit_learn(hits, n_versions):
    """What is not in the list comes after everything else, infinitely late."""
    from sklearn.metrics import average_precision_score

    hits = np.asarray(hits)
    if not hits.any():
        return 0.0
    found = average_precision_score(hits, -np.arange(hits.size))
    return found * hits.sum() / n_versions


def semi_hard_in_a_list(distances, works, anchor, positive, margin):
    p = distances[positive]
    return [
        w != works[anchor] and p < d < p + margin for d, w in zip(distances, works, strict=True)
    ]


def best_key_by_torch(profile, kernel):
    """The layer itself."""
    rows = np.concatenate([profile, profile[:11]])
    found = torch.nn.functional.conv2d(
        torch.as_tensor(rows)[None, None].double(), torch.as_tensor(kernel)[None, None].double()
    )
    return found[0, 0].amax(dim=0)


RIGHT |= {
    "cover_songs.1": (ranks_by_counting,),
    "cover_songs.2": (precision_by_scikit_learn,),
    "cover_songs.3": (semi_hard_in_a_list,),
    "cover_songs.4": (best_key_by_torch,),
}
WRONG |= {
    "cover_songs.1": {
        "leave out the query": lambda d, works: ranks_by_counting(d, works) + 2,
    },
    "cover_songs.2": {
        "A hidden list scores": lambda hits, n: precision_by_scikit_learn(hits, n) / 3,
    },
    "cover_songs.3": {
        "semi-hard negatives, and yours are": lambda d, works, a, p, m: semi_hard_in_a_list(
            d, works, a, p, 2 * m
        ),
    },
    "cover_songs.4": {
        "should be": lambda profile, kernel: 2 * best_key_by_torch(profile, kernel),
    },
}


# ---- chords ------------------------------------------------------------------------------------


def share_by_hundredths(reference, estimate):
    """Borders of the hidden songs are hundredths of a second, so that their middles tell all."""
    times_s = np.arange(0.005, reference[-1][1], 0.01)

    def at(segments):
        begins = [begin for begin, _, _ in segments]
        return np.array([c for *_, c in segments])[np.searchsorted(begins, times_s) - 1]

    true, said = at(reference), at(estimate)
    known = true != -1
    return np.mean(true[known] == said[known]) if known.any() else np.nan


def frames_by_search(onsets_s, durations_s, classes, n_frames, hop_s):
    times_s = np.arange(n_frames) * hop_s
    index = np.searchsorted(onsets_s, times_s, side="right") - 1
    holds = (index >= 0) & (times_s < (onsets_s + durations_s)[index])
    return np.where(holds, np.asarray(classes)[index], -1)


def transposed_by_padding(spectrum, classes, semitones, bins_per_semitone):
    n, room = len(spectrum), 12 * bins_per_semitone
    padded = np.pad(spectrum, ((room, room), (0, 0)))
    begin = room - semitones * bins_per_semitone
    table = [12 * mode + (root + semitones) % 12 for mode in (0, 1) for root in range(12)]
    return padded[begin : begin + n], np.array([*table, 24, -1])[classes]


def viterbi_by_max_marginals(log_scores, log_transitions):
    """The best sequence through each state of each frame: from both ends at once."""
    ahead, behind = np.array(log_scores), np.zeros_like(log_scores)
    for t in range(1, log_scores.shape[1]):
        ahead[:, t] += (ahead[:, t - 1, None] + log_transitions).max(axis=0)
        i = -1 - t
        behind[:, i] = (log_transitions + log_scores[:, i + 1] + behind[:, i + 1]).max(axis=1)
    return (ahead + behind).argmax(axis=0)


RIGHT |= {
    "chords.1": (share_by_hundredths,),
    "chords.2": (frames_by_search,),
    "chords.3": (transposed_by_padding,),
    "chords.4": (viterbi_by_max_marginals,),
}
WRONG |= {
    "chords.1": {
        "Measure by hand": lambda r, e: 0.9 * share_by_hundredths(r, e),
        "same result": lambda *_: 0.5,
    },
    "chords.2": {
        "frames differ. The first": lambda *case: frames_by_search(*case) * np.arange(case[3]) % 7,
        "Return an array": lambda *_: "C",
    },
    "chords.3": {
        "In a hidden case the value": lambda s, c, k, b: (
            s + transposed_by_padding(s, c, k, b)[0],
            c,
        ),
    },
    "chords.4": {
        "In a hidden sequence the state": lambda s, t: (viterbi_by_max_marginals(s, t) + 1) % 3,
    },
}


# ---- bottlenecks -------------------------------------------------------------------------------


def kl_of_torch(mean, log_variance):
    q = Normal(torch.tensor(mean), torch.tensor(log_variance).exp().sqrt())
    return kl_divergence(q, Normal(0.0, 1.0)).sum(dim=-1)


def residual_codes_of_the_library(x, codebooks):
    layer = ResidualVQ(x.shape[1], codebooks.shape[1], len(codebooks)).double().eval()
    for stage, codebook in zip(layer.stages, codebooks, strict=True):
        stage.codebook.copy_(torch.tensor(codebook))
    found = layer(torch.tensor(x))
    return found.codes, found.quantised


def residual_codes_one_by_one(x, codebooks):
    """One vector after the other, counted from the end of the sum."""
    codes, vectors = [], []
    for vector in x:
        chosen, total = [], 0.0
        for codebook in codebooks:
            chosen.append(
                min(range(len(codebook)), key=lambda k: sum((vector - total - codebook[k]) ** 2))
            )
            total = total + codebook[chosen[-1]]
        codes.append(chosen)
        vectors.append(total)
    return {"quantised": vectors, "codes": codes}


def follow_by_one_hot(counts, sums, x, codes, decay):
    chosen = np.eye(len(counts))[codes]  # (n, code)
    counts = decay * counts + (1 - decay) * chosen.sum(axis=0)
    sums = decay * sums + (1 - decay) * chosen.T @ x
    return (sums.T / counts).T, counts, sums


def grid_of_the_library(x, levels):
    found = FSQ(levels)(torch.tensor(x))
    return found.codes, found.quantised


def grid_by_raveling(x, levels):
    half = (np.array(levels) - 1) / 2
    nearest = np.rint((np.exp(2 * x) - 1) / (np.exp(2 * x) + 1) * half)
    codes = np.ravel_multi_index((nearest + half).astype(int).T, levels, order="F")
    return codes, nearest / half


RIGHT |= {
    "bottlenecks.1": (kl_of_torch,),
    "bottlenecks.2": (residual_codes_of_the_library, residual_codes_one_by_one),
    "bottlenecks.3": (follow_by_one_hot,),
    "bottlenecks.4": (grid_of_the_library, grid_by_raveling),
}
WRONG |= {
    "bottlenecks.1": {
        "the cost of vector": lambda mean, log_variance: kl_of_torch(mean, log_variance) + 0.01,
        "Return an array (batch,)": lambda mean, log_variance: "much",
    },
    "bottlenecks.2": {
        "the result is transposed": lambda x, codebooks: (
            residual_codes_of_the_library(x, codebooks)[0].T,
            residual_codes_of_the_library(x, codebooks)[1],
        ),
        "lacks quantised": lambda x, codebooks: {
            "codes": residual_codes_of_the_library(x, codebooks)[0]
        },
    },
    "bottlenecks.3": {
        "the value at": lambda *case: tuple(1.01 * part for part in follow_by_one_hot(*case)),
    },
    "bottlenecks.4": {
        "the value at": lambda x, levels: (
            grid_by_raveling(x, levels)[0],
            grid_by_raveling(x, levels)[1] * 1.01,
        ),
    },
}


# ---- codec -------------------------------------------------------------------------------------


def budget_by_counting(sample_rate, strides, codebooks, n_samples):
    """Frames are counted, bits are those of the largest code."""
    hop = int(np.prod(strides))
    n_frames = len(range(0, n_samples, hop))
    n_bits = sum((size - 1).bit_length() for size in codebooks)
    return sample_rate / hop, sample_rate * n_bits / hop, n_frames * n_bits / 8


def residual_of_the_library(x, codebooks):
    quantiser = ResidualVQ(x.size, 2, len(codebooks)).double().eval()
    for stage, book in zip(quantiser.stages, codebooks, strict=True):
        stage.n_codes, stage.codebook = len(book), torch.from_numpy(book)
    found = quantiser(torch.from_numpy(x)[None])
    return found.codes[0], found.quantised[0]


def ratio_by_regression(estimate, reference):
    (alpha,), (error,), *_ = np.linalg.lstsq(reference[:, None], estimate, rcond=None)
    return 10 * np.log10(np.sum((alpha * reference) ** 2) / error)


RIGHT |= {
    "codec.1": (budget_by_counting,),
    "codec.2": (residual_of_the_library,),
    "codec.3": (ratio_by_regression, separation.si_sdr),
}
WRONG |= {
    "codec.1": {
        "number 0 should be": lambda r, s, c, n: (r, *budget_by_counting(r, s, c, n)[1:]),
    },
    "codec.2": {
        "Return two arrays": lambda x, books: residual_of_the_library(x, books)[0],
    },
    "codec.3": {
        "the ratio should be": lambda e, r: separation.si_sdr(e, r) + 1.0,
    },
}


# ---- autoregressive ----------------------------------------------------------------------------


def attention_of_pytorch(queries, keys, values):
    each = (torch.from_numpy(np.asarray(x))[None] for x in (queries, keys, values))
    return torch.nn.functional.scaled_dot_product_attention(*each, is_causal=True)[0]


def attention_position_by_position(queries, keys, values):
    rows = []
    for i, query in enumerate(queries):
        shares = np.exp([query @ key / np.sqrt(len(query)) for key in keys[: i + 1]])
        rows.append(sum(s * v for s, v in zip(shares, values, strict=False)) / shares.sum())
    return np.array(rows)


def prepared_by_the_library(codes, n_codes):
    row = code_patterns.in_a_row(torch.from_numpy(codes)[None], n_codes)[0]
    free = len(codes) * n_codes
    return torch.nn.functional.pad(row, (1, 0), value=free)[:-1], row, free + 1


def undelayed_by_the_library(grid):
    n_frames = grid.shape[1] - len(grid) + 1
    return code_patterns.from_grid(torch.from_numpy(grid)[None], "delayed", n_frames)[0]


def nucleus_of_the_library(logits, temperature, top_p):
    config = sampling.SamplingConfig(temperature=temperature, top_p=top_p)
    return sampling.probabilities_of(torch.from_numpy(logits), config)


def nucleus_one_by_one(logits, temperature, top_p):
    warm = [math.exp(x / temperature) for x in logits]
    kept, total = [0.0] * len(warm), 0.0
    for i in sorted(range(len(warm)), key=lambda i: -warm[i]):
        kept[i] = warm[i]
        total += warm[i] / sum(warm)
        if total >= top_p:
            break
    return [x / sum(kept) for x in kept]


RIGHT |= {
    "autoregressive.1": (attention_of_pytorch, attention_position_by_position),
    "autoregressive.2": (prepared_by_the_library,),
    "autoregressive.3": (undelayed_by_the_library,),
    "autoregressive.4": (nucleus_of_the_library, nucleus_one_by_one),
}
WRONG |= {
    "autoregressive.1": {
        "Of a sequence of": lambda q, k, v: attention_position_by_position(q, k, v) + 0.5,
    },
    "autoregressive.2": {
        "the value at": lambda codes, n: (
            prepared_by_the_library(codes, n)[0] + 1,
            *prepared_by_the_library(codes, n)[1:],
        ),
    },
    "autoregressive.3": {
        "the code at": lambda grid: undelayed_by_the_library(grid) + 1,
    },
    "autoregressive.4": {
        "should have": lambda logits, t, p: np.full(len(logits), 1 / len(logits)),
    },
}


# ---- diffusion ---------------------------------------------------------------------------------


def pair_of_the_library(x0, z, t):
    x0, z, t = map(torch.from_numpy, (x0, z, t))
    return flow.mix(x0, z, t), x0 - z


def pair_one_by_one(x0, z, t):
    x_t = np.stack([a + (b - a) * share for a, b, share in zip(x0, z, t, strict=True)])
    return {"v": -(z - x0), "x_t": x_t}


def sides_by_scikit_learn(train, validation):
    scaler = StandardScaler().fit(train.transpose(0, 2, 1).reshape(-1, train.shape[1]))

    def changed(side):
        flat = side.transpose(0, 2, 1)
        return scaler.transform(flat.reshape(-1, side.shape[1])).reshape(flat.shape).swapaxes(1, 2)

    return changed(train), changed(validation)


def heun_of_the_library(velocity, z, n_steps):
    def network(x, t):
        return torch.from_numpy(velocity(x.numpy(), float(t[0])))

    return flow.solve(network, torch.from_numpy(z), n_steps, method="heun")


def guided_of_the_library(told, plain, weight):
    return flow.guided(lambda x, t: told, lambda x, t: plain, weight)(None, None)


RIGHT |= {
    "diffusion.1": (pair_of_the_library, pair_one_by_one),
    "diffusion.2": (sides_by_scikit_learn,),
    "diffusion.3": (heun_of_the_library,),
    "diffusion.4": (guided_of_the_library, lambda told, plain, w: (1 - w) * plain + w * told),
}
WRONG |= {
    "diffusion.1": {
        "wrong order": lambda *case: pair_of_the_library(*case)[::-1],
        "square roots": lambda x0, z, t: (
            np.sqrt(1 - t)[:, None, None] * x0 + np.sqrt(t)[:, None, None] * z,
            x0 - z,
        ),
        "two more axes": lambda x0, z, t: ((1 - t) * x0 + t * z, x0 - z),
    },
    "diffusion.2": {
        "changed roles": lambda a, b: (
            sides_by_scikit_learn(b, a)[1],
            sides_by_scikit_learn(a, b)[1],
        ),
        "each channel": lambda a, b: ((a - a.mean()) / a.std(), (b - a.mean()) / a.std()),
    },
    "diffusion.3": {
        "should be": lambda velocity, z, n: z + velocity(z, 0.5),
        "asked is": lambda velocity, z, n: z[0],
    },
    "diffusion.4": {
        "should be": lambda told, plain, weight: told + plain,
        "Return an array": lambda told, plain, weight: "told",
    },
}


# ---- source_separation -------------------------------------------------------------------------


def masks_cell_by_cell(spectra):
    found = np.zeros(spectra.shape)
    for place in np.ndindex(*spectra.shape[1:]):
        sizes = [math.hypot(z.real, z.imag) for z in spectra[(slice(None), *place)]]
        if sum(sizes) > 0:
            found[(slice(None), *place)] = [size / sum(sizes) for size in sizes]
    return found


def masks_of_the_library(spectra):
    """The library's way needs no case of its own for silence: its denominator has a floor."""
    magnitudes = np.abs(spectra)
    return magnitudes / np.maximum(magnitudes.sum(axis=0), 1e-12)


def phase_by_division(magnitudes, mixture):
    size = np.abs(mixture)
    found = magnitudes * np.where(size > 0, mixture / np.where(size > 0, size, 1), 0)
    return found.real, found.imag


def phase_by_torch(magnitudes, mixture):
    mixture = torch.from_numpy(np.asarray(mixture))
    turned = torch.polar(torch.from_numpy(magnitudes), mixture.angle().expand(magnitudes.shape))
    turned = turned * (mixture != 0)
    return turned.real, turned.imag


def sdr_by_levels(estimate, reference, mixture):
    """The reference's energy stands in both ratios: the gain is one of errors alone."""

    def level_db(x):
        return 20 * np.log10(np.linalg.norm(x))

    wrong_db = level_db(reference - estimate)
    return level_db(reference) - wrong_db, level_db(reference - mixture) - wrong_db


def sdr_of_the_library(estimate, reference, mixture):
    found = separation.sdr(estimate, reference)
    return found, found - separation.sdr(mixture, reference)


def median_by_reshaping(estimate, reference, frame_samples, silent_db):
    n = len(reference) // frame_samples
    e, r = (x[: n * frame_samples].reshape(n, -1) for x in (estimate, reference))
    heard = 20 * np.log10(np.sqrt((r**2).mean(axis=1)) + 1e-300) >= silent_db
    ratios = 10 * np.log10((r**2).sum(axis=1)[heard] / ((r - e) ** 2).sum(axis=1)[heard])
    return np.median(ratios) if heard.any() else float("nan"), int((~heard).sum())


RIGHT |= {
    "source_separation.1": (masks_cell_by_cell, masks_of_the_library),
    "source_separation.2": (phase_by_division, phase_by_torch),
    "source_separation.3": (sdr_by_levels, sdr_of_the_library),
    "source_separation.4": (median_by_reshaping,),
}
WRONG |= {
    "source_separation.1": {
        "the mask at (stem, bin, frame)": lambda spectra: 0.5 * masks_of_the_library(spectra),
    },
    "source_separation.2": {
        "the value at (part, stem, bin, frame)": lambda m, x: (m, phase_by_division(m, x)[1] + 1),
    },
    "source_separation.3": {
        "number 0 (0: SDR": lambda e, r, x: (sdr_by_levels(e, r, x)[0] + 1, 0.0),
    },
    "source_separation.4": {
        "number 1 (0: median": lambda *a: (median_by_reshaping(*a)[0], -1),
    },
}


# ---- ddsp --------------------------------------------------------------------------------------


def sine_of_the_library(frequency_hz, sample_rate):
    frequency = torch.tensor(frequency_hz)[None, :, None]
    return synthesis.phases(frequency, sample_rate)[0, :, 0].sin()


def sine_by_turning(frequency_hz, sample_rate):
    """A complex number, turned on from sample to sample."""
    turns = np.exp(2j * np.pi * frequency_hz / sample_rate)
    return np.concatenate([[1.0], np.cumprod(turns)[:-1]]).imag


def windows_of_the_library(frames, hop):
    return synthesis.upsample_hann(torch.tensor(frames)[None, :, None], hop)[0, :, 0]


def windows_by_convolution(frames, hop):
    """Impulses through a window, the last one given twice."""
    impulses = np.zeros((len(frames) + 1) * hop)
    impulses[::hop] = [*frames, frames[-1]]
    window = scipy.signal.get_window("hann", 2 * hop)  # periodic
    return np.convolve(impulses, window)[hop : (len(frames) + 1) * hop]


def shares_one_by_one(f0_hz, amplitude, distribution, sample_rate):
    rows = []
    for f0, level, shares in zip(f0_hz, amplitude, distribution, strict=True):
        kept = [s if 2 * f0 * (k + 1) < sample_rate else 0.0 for k, s in enumerate(shares)]
        rows.append([level * s / (sum(kept) or 1.0) for s in kept])
    return rows


RIGHT |= {
    "ddsp.1": (sine_of_the_library, sine_by_turning),
    "ddsp.2": (windows_of_the_library, windows_by_convolution),
    "ddsp.3": (shares_one_by_one,),
}
WRONG |= {
    "ddsp.1": {
        "the value at": lambda f, rate: 1.01 * sine_by_turning(f, rate),
        "Return one array": lambda f, rate: "la",
    },
    "ddsp.2": {
        "the value at": lambda frames, hop: windows_by_convolution(frames, hop) + 0.01,
    },
    "ddsp.3": {
        "the value at": lambda *case: 1.01 * np.array(shares_one_by_one(*case)),
        "the result is transposed": lambda *case: np.array(shares_one_by_one(*case)).T,
    },
}


# ---- inverse_synthesis -------------------------------------------------------------------------


def accuracies_of_mir_eval(truth_hz, estimate_hz):
    voiced, said = (np.where(x > 0, 1.0, 0.0) for x in (truth_hz, estimate_hz))
    cents = [mir_eval.melody.hz2cents(x) for x in (truth_hz, estimate_hz)]
    given = voiced, cents[0], said, cents[1]
    return (
        mir_eval.melody.raw_pitch_accuracy(*given),
        mir_eval.melody.raw_chroma_accuracy(*given),
    )


def density_of_scipy(frequencies_hz, centres_hz, amplitudes, sigma):
    pitches = 12 * np.log2(centres_hz / 440)
    at = 12 * np.log2(frequencies_hz / 440)
    bells = [
        w * scipy.stats.norm.pdf(at, p, sigma) for w, p in zip(amplitudes, pitches, strict=True)
    ]
    return np.log(np.sum(bells, axis=0) / np.sum(amplitudes))


def distance_of_the_library(estimate, reference, size):
    def magnitudes(x):
        found = np.abs(stft.stft(np.asarray(x, float), window_samples=size, hop_samples=size // 4))
        return found[:, 2 : 3 + (len(x) - size) // (size // 4)]  # whole frames alone

    a, b = magnitudes(estimate), magnitudes(reference)
    return np.mean(np.abs(a - b)) + np.mean(np.abs(np.log((a + 1e-3) / (b + 1e-3))))


RIGHT |= {
    "inverse_synthesis.1": (accuracies_of_mir_eval,),
    "inverse_synthesis.2": (density_of_scipy,),
    "inverse_synthesis.3": (distance_of_the_library,),
}
WRONG |= {
    "inverse_synthesis.1": {
        "other order": lambda t, e: accuracies_of_mir_eval(t, e)[::-1],
    },
    "inverse_synthesis.2": {
        "one log-density for each": lambda f, c, a, s: float(density_of_scipy(f, c, a, s).sum()),
    },
    "inverse_synthesis.3": {
        "same result": lambda a, b, size: 0.0,
    },
}


def contrast_of_the_library(first, second, temperature):
    return self_supervised.nt_xent(*map(torch.from_numpy, (first, second)), temperature=temperature)


def contrast_one_by_one(first, second, temperature):
    z = [row / np.sqrt(row @ row) for row in (*first, *second)]
    n, total = len(first), 0.0
    for i in range(2 * n):
        scores = np.array([z[i] @ z[k] / temperature for k in range(2 * n) if k != i])
        total += np.log(np.exp(scores).sum()) - z[i] @ z[(i + n) % (2 * n)] / temperature
    return total / (2 * n)


def views_with_a_list(sounds, augment, seed):
    rng = np.random.default_rng(seed)
    all_of_them = [augment(sound, rng) for sound in np.repeat(sounds, 2, axis=0)]
    return {"first": np.array(all_of_them[::2]), "second": np.array(all_of_them[1::2])}


def tracks_by_counting(logits, track):
    said = torch.sigmoid(torch.from_numpy(logits)).numpy()
    sums = np.zeros((track.max() + 1, logits.shape[1]))
    np.add.at(sums, track, said)
    return sums / np.bincount(track)[:, None]


def geometry_of_the_library(first, second):
    a, b = map(torch.from_numpy, (first, second))
    return self_supervised.alignment(a, b), self_supervised.uniformity(a)


RIGHT |= {
    "self_supervised.1": (contrast_of_the_library, contrast_one_by_one),
    "self_supervised.2": (views_with_a_list,),
    "self_supervised.3": (tracks_by_counting,),
    "self_supervised.4": (geometry_of_the_library,),
}

WRONG |= {
    "self_supervised.1": {
        "multiply by it": lambda a, b, t: contrast_one_by_one(a, b, 1 / t),
        "should be": lambda a, b, t: 0.5 + contrast_one_by_one(a, b, t),
    },
    "self_supervised.2": {
        "wrong order": lambda *case: tuple(views_with_a_list(*case).values())[::-1],
        "Return two arrays": lambda sounds, augment, seed: "views",
    },
    "self_supervised.3": {
        "decisions": lambda logits, track: tracks_by_counting(logits, track) >= 0.5,
        "logits still": lambda logits, track: np.stack(
            [logits[track == k].mean(axis=0) for k in range(track.max() + 1)]
        ),
    },
    "self_supervised.4": {
        "wrong order": lambda a, b: geometry_of_the_library(a, b)[::-1],
        "should be": lambda a, b: (0.9 * geometry_of_the_library(a, b)[0], 0.0),
    },
}


# ---- separation_waveform -----------------------------------------------------------------------


def remixed_one_by_one(stems, pieces, gains_db):
    new = np.empty_like(stems)
    for i, k in np.ndindex(pieces.shape):
        new[i, k] = stems[pieces[i, k], k] * np.exp(np.log(10) * gains_db[i, k] / 20)
    return np.add.reduce(new, 1), new


def field_of_the_library(n_layers, down_taps, up_taps):
    config = WaveUNetConfig(n_layers=n_layers, channels=1, down_kernel=down_taps, up_kernel=up_taps)
    with torch.device("meta"):
        network = WaveUNet(config, 4, 1)
    return network.receptive_field


def l1_of_the_library(made, stems):
    made, stems = torch.from_numpy(made), torch.from_numpy(stems)
    return torch.nn.functional.l1_loss(made, middle(stems, made.shape[-1])).item()


RIGHT |= {
    "separation_waveform.1": (remixed_one_by_one,),
    "separation_waveform.2": (field_of_the_library,),
    "separation_waveform.3": (
        l1_of_the_library,
        lambda made, stems: np.abs(
            made - stems[..., (lost := (stems.shape[-1] - made.shape[-1]) // 2) : -lost]
        ).mean(),
    ),
}

WRONG |= {
    "separation_waveform.1": {
        "the old stems": lambda stems, pieces, gains_db: (
            stems.sum(axis=1),
            remixed_one_by_one(stems, pieces, gains_db)[1],
        ),
        "should be": lambda *case: (remixed_one_by_one(*case)[0] + 1, case[0]),
    },
    "separation_waveform.2": {
        "it sees": lambda n, d, u: 2**n * (d + u),
        "Only the way down": lambda n, d, u: 1 + sum((d - 1) * 2**k for k in range(n + 1)),
    },
    "separation_waveform.3": {
        "the loss should be": lambda made, stems: np.abs(made).mean(),
        "the first samples": lambda made, stems: np.abs(made - stems[..., : made.shape[-1]]).mean(),
    },
}


# ---- tune --------------------------------------------------------------------------------------


def probed_by_autograd(encoder, mean, deviation, x, y, n_steps, rate):
    encoder, mean, deviation, x, y = map(torch.from_numpy, (encoder, mean, deviation, x, y))
    h = ((x @ encoder - mean) / deviation).relu()
    probe = torch.nn.Linear(encoder.shape[1], y.shape[1]).double()
    for p in probe.parameters():
        torch.nn.init.zeros_(p)
    optimiser = torch.optim.SGD(probe.parameters(), lr=rate)
    for _ in range(n_steps):
        optimiser.zero_grad()
        torch.nn.functional.binary_cross_entropy_with_logits(probe(h), y).backward()
        optimiser.step()
    return {"encoder": encoder, "weights": probe.weight.T, "biases": probe.bias}


def tail_of_the_library(n_con, n_exp, n_tail, filters, representation, plus, n_samples):
    with torch.device("meta"):
        network = TUNe(n_con, n_exp, n_tail, filters, representation, plus=plus)
        maps = network.maps(torch.empty(2, 1, n_samples))
    return [
        (layer[0].in_channels, layer[0].out_channels, made.shape[-1])
        for layer, made in zip(network.tail, maps.tail, strict=True)
    ]


def auc_by_scikit_learn(truth, scores):
    asked = (truth.min(axis=0) == 0) & (truth.max(axis=0) == 1)
    if not asked.any():
        return np.nan
    return metrics.roc_auc_score(truth[:, asked], scores[:, asked], average="macro")


RIGHT |= {
    "tune.1": (probed_by_autograd,),
    "tune.2": (auc_by_scikit_learn, tagging.macro_auc),
    "tune.3": (tail_of_the_library,),
}

WRONG |= {
    "tune.1": {
        "transposed": lambda *case: (
            probed_by_autograd(*case)["encoder"],
            probed_by_autograd(*case)["weights"].T,
            probed_by_autograd(*case)["biases"],
        ),
        "should be": lambda encoder, mean, deviation, x, y, n, rate: probed_by_autograd(
            encoder, mean, deviation, x, y, n, 2 * rate
        ),
    },
    "tune.2": {"mean area should be": lambda truth, scores: 0.9 * tagging.macro_auc(truth, scores)},
    "tune.3": {
        "of the tail should have": lambda *case: np.array(tail_of_the_library(*case)) + 1,
    },
}


# ---- singing vocoder ---------------------------------------------------------------------------


def filtered_by_cosines(sound, magnitudes):
    """The response is a sum of cosines, centred; each output is a sum of products."""
    n, delay = len(sound), len(magnitudes) - 1
    weights = np.r_[1.0, 2.0 * np.ones(delay - 1), 1.0] * magnitudes / (2 * delay)
    lags = np.arange(-delay, delay)
    response = np.cos(np.pi * np.outer(lags, np.arange(delay + 1)) / delay) @ weights
    padded = np.pad(sound, (delay, delay))
    return [padded[i + 1 : i + 1 + 2 * delay] @ response[::-1] for i in range(n)]


def cents_by_midi(estimate_hz, reference_hz):
    off = 100 * np.abs(hz_to_midi(estimate_hz) - hz_to_midi(reference_hz))
    voiced = ~np.isnan(off)
    return off[voiced].mean() if voiced.any() else np.nan


def chunk_of_the_library(f0_hz, sample_rate, phase):
    given = torch.from_numpy(np.append(f0_hz, 0.0))[None, :, None]
    found = synthesis.phases(given, sample_rate, torch.tensor([[phase]], dtype=torch.float64))
    return torch.sin(found[0, :-1, 0]), found[0, -1, 0] % (2 * np.pi)


RIGHT |= {
    "singing_vocoder.1": (filtered_by_cosines,),
    "singing_vocoder.2": (cents_by_midi,),
    "singing_vocoder.3": (chunk_of_the_library,),
}

WRONG |= {
    "singing_vocoder.1": {
        "should be": lambda x, m: np.asarray(filtered_by_cosines(x, m)) + 0.1,
    },
    "singing_vocoder.2": {
        "the error should be": lambda e, r: cents_by_midi(e, r) + 1.0,
    },
    "singing_vocoder.3": {
        "Return two things": lambda f, r, p: chunk_of_the_library(f, r, p)[0],
    },
}


# ---- pooling -----------------------------------------------------------------------------------


def auto_pool_of_the_library(x, alpha):
    pool = pooling.AutoPool()
    pool.alpha.data.fill_(alpha)
    return pool.double()(torch.as_tensor(x))[..., 0]


def masked_clip_by_clip(values, scores, lengths):
    return [
        pooling.AttentionPool()(torch.as_tensor(np.stack([v[:n], s[:n]])[None])).item()
        for v, s, n in zip(values, scores, lengths, strict=True)
    ]


def gradient_by_autograd(x, alpha):
    x = torch.as_tensor(x, dtype=torch.float64).requires_grad_()
    (x * pooling.autopool_weights(x, alpha)).sum().backward()
    return x.grad


RIGHT |= {
    "pooling.1": (auto_pool_of_the_library,),
    "pooling.2": (masked_clip_by_clip,),
    "pooling.3": (gradient_by_autograd,),
}

WRONG |= {
    "pooling.1": {"should be": lambda x, alpha: auto_pool_of_the_library(x, alpha) + 0.1},
    "pooling.2": {"should be": lambda *case: np.array(masked_clip_by_clip(*case)) + 0.1},
    "pooling.3": {"derivative by frame": lambda x, a: gradient_by_autograd(x, a) + 0.1},
}


# ---- recurrence --------------------------------------------------------------------------------


def lstm_step_of_torch(x, h, c, w_x, w_h, b):
    cell = torch.nn.LSTMCell(len(x), len(h)).double()
    given = {"weight_ih": w_x, "weight_hh": w_h, "bias_ih": b, "bias_hh": 0 * b}
    cell.load_state_dict({name: torch.from_numpy(value) for name, value in given.items()})
    x, h, c = (torch.from_numpy(value)[None] for value in (x, h, c))
    return {"h": (made := cell(x, (h, c)))[0][0], "c": made[1][0]}


def ends_by_index(outputs, lengths):
    half = outputs.shape[-1] // 2
    last = np.take_along_axis(outputs, np.asarray(lengths)[:, None, None] - 1, axis=1)[:, 0]
    return np.where(np.arange(2 * half) < half, last, outputs[:, 0])


def bits_by_cross_entropy(logits, tokens):
    logits, tokens = torch.from_numpy(logits), torch.from_numpy(tokens)
    return torch.nn.functional.cross_entropy(logits[:-1], tokens[1:]) / math.log(2)


RIGHT |= {
    "recurrence.1": (lstm_step_of_torch,),
    "recurrence.2": (ends_by_index,),
    "recurrence.3": (bits_by_cross_entropy,),
}

WRONG |= {
    "recurrence.1": {
        "Return the new state": lambda *case: list(lstm_step_of_torch(*case).values())[:1],
        "should be": lambda *case: [1.1 * part for part in lstm_step_of_torch(*case).values()],
    },
    "recurrence.2": {"should be": lambda *case: ends_by_index(*case) + 0.1},
    "recurrence.3": {"the bits should be": lambda *case: bits_by_cross_entropy(*case) + 0.1},
}


# ---- transformer -------------------------------------------------------------------------------


def heads_of_torch(queries, keys, values, n_heads, seen):
    def split(x):
        return torch.from_numpy(x).unflatten(1, (n_heads, -1)).transpose(0, 1)

    given = split(queries), split(keys), split(values)
    found = torch.nn.functional.scaled_dot_product_attention(
        *given, attn_mask=torch.from_numpy(seen)
    )
    return found.transpose(0, 1).flatten(1)


def bias_one_by_one(table, n_queries, n_keys):
    far = (len(table) - 1) // 2
    return [
        [table[min(max(i - j + far, 0), len(table) - 1)] for j in range(n_keys)]
        for i in range(n_queries)
    ]


def changes_one_by_one(network, tune, n_pitches):
    rows = []
    for i in range(len(tune)):
        rows.append([])
        for j in range(len(tune)):
            others = [np.where(np.arange(len(tune)) == j, p, tune) for p in range(n_pitches)]
            answers = [network(other)[i].tolist() for other in others]
            rows[-1].append(any(answer != answers[0] for answer in answers))
    return rows


RIGHT |= {
    "transformer.1": (heads_of_torch,),
    "transformer.2": (bias_one_by_one,),
    "transformer.3": (changes_one_by_one,),
}

WRONG |= {
    "transformer.1": {
        "the value at": lambda *case: 1.01 * heads_of_torch(*case),
        "the result is transposed": lambda *case: heads_of_torch(*case).T,
    },
    "transformer.2": {
        "the number at": lambda *case: np.array(bias_one_by_one(*case)) + 0.5,
    },
    "transformer.3": {
        "the entry at": lambda *case: np.tril(changes_one_by_one(*case), -1),
    },
}


def pushes_of_autograd(anchor, positive, negative, margin):
    three = torch.tensor(np.stack([anchor, positive, negative]), requires_grad=True)
    distances = metric_learning.squared_distances(three)
    one = metric_learning.Triplets(*torch.tensor([[0], [1], [2], [0]]))
    (gradient,) = torch.autograd.grad(
        metric_learning.triplet_loss(distances, one, margin=margin), three
    )
    return tuple(-gradient)


def rivals_of_the_library(real, made):
    real, made = torch.from_numpy(real), torch.from_numpy(made)
    return losses.hinge_discriminator([real], [made]), losses.hinge_generator([made])


def step_of_angles(x, z, now, then):
    """Sound and noise are two sides of a right angle."""
    before, after = np.arccos(np.sqrt(now)), np.arccos(np.sqrt(then))
    return np.cos(after) * (x - np.sin(before) * z) / np.cos(before) + np.sin(after) * z


RIGHT |= {
    "paradigms.1": (pushes_of_autograd,),
    "paradigms.2": (rivals_of_the_library,),
    "paradigms.3": (step_of_angles,),
}

WRONG |= {
    "paradigms.1": {
        "the value at": lambda *case: tuple(1.1 * x for x in pushes_of_autograd(*case)),
    },
    "paradigms.2": {
        "yours": lambda *case: tuple(1.1 * x for x in rivals_of_the_library(*case)),
    },
    "paradigms.3": {
        "the value at": lambda *case: 1.1 * step_of_angles(*case),
    },
}


# ---- convolutions ------------------------------------------------------------------------------


def convolution_of_torch(x, kernel, stride):
    return torch.nn.functional.conv2d(torch.tensor(x), torch.tensor(kernel), stride=stride)


def convolution_by_taps(x, kernel, stride):
    """Add up shifted pictures, one for each tap."""
    height, width = kernel.shape[2:]
    rows, columns = ((n - k) // stride for n, k in zip(x.shape[1:], (height, width), strict=True))
    out = np.zeros((len(kernel), rows + 1, columns + 1))
    for i in range(height):
        for j in range(width):
            moved = x[:, i::stride, j::stride][:, : rows + 1, : columns + 1]
            out += np.tensordot(kernel[:, :, i, j], moved, axes=1)
    return out


def costs_of_the_library(in_channels, out_channels, kernel_size, n_cells):
    size = in_channels, out_channels, kernel_size
    found = []
    for network in (blocks.conv2d(*size, padding="same"), blocks.DepthwiseSeparableConv2d(*size)):
        biases = sum(p.numel() for name, p in network.named_parameters() if name.endswith("bias"))
        found.append(sum(p.numel() for p in network.parameters()) - biases)
        rows = costs.layer_costs(network, (in_channels, 1, n_cells))
        found.append(sum(row.multiply_adds for row in rows))
    return tuple(found)


def moving_by_trial(n_bins, kernels, shift):
    """Move a picture, compare what all-positive kernels make of both."""
    values = np.random.default_rng(0).uniform(1, 2, n_bins + shift)
    x, moved = values[shift:], values[:n_bins]
    for k in kernels:
        taps = np.linspace(1, 2, k)
        x, moved = (np.convolve(values, taps, mode="same") + 1 for values in (x, moved))
    same = np.flatnonzero(np.isclose(moved[shift:], x[: n_bins - shift], rtol=1e-9))
    reach = sum(k // 2 for k in kernels)
    return (same[0] + shift if same.size else shift + reach), same.size


RIGHT |= {
    "convolutions.1": (convolution_of_torch, convolution_by_taps),
    "convolutions.2": (costs_of_the_library,),
    "convolutions.3": (moving_by_trial,),
}

WRONG |= {
    "convolutions.1": {
        "It is the sum of products": lambda *case: convolution_by_taps(*case) + 1,
        "The result has shape": lambda *case: convolution_by_taps(*case).sum(axis=0),
    },
    "convolutions.2": {"number 2": lambda *case: (*costs_of_the_library(*case)[:2], 1, 2)},
    "convolutions.3": {"number 1 (0: the lowest bin": lambda *case: (moving_by_trial(*case)[0], 1)},
}


def spread_of_torch(x, weight, stride):
    given = torch.tensor(x)[None], torch.tensor(weight)
    return torch.nn.functional.conv_transpose1d(*given, stride=stride)[0]


def spread_by_zeros(x, weight, stride):
    """Put zeros between the numbers, then convolve, as signals do."""
    sparse = np.zeros((len(x), (x.shape[1] - 1) * stride + 1))
    sparse[:, ::stride] = x
    pairs = range(weight.shape[1]), range(len(x))
    return np.array([sum(np.convolve(sparse[c], weight[c, o]) for c in pairs[1]) for o in pairs[0]])


def padding_by_trial(n_frames, levels):
    for added in range(2**levels):
        size = n_frames + added
        for _ in range(levels):
            if size % 2:
                break
            size //= 2
        else:
            return added, size


def channels_of_the_library(widths):
    network = UNet(1, 1, tuple(widths))
    return [next(block.parameters()).shape[1] for block in network.up]


RIGHT |= {
    "unet.1": (spread_of_torch, spread_by_zeros),
    "unet.2": (padding_by_trial,),
    "unet.3": (channels_of_the_library,),
}

WRONG |= {
    "unet.1": {"Lay the weights down": lambda *case: spread_by_zeros(*case) + 1},
    "unet.2": {"number 1": lambda *case: (padding_by_trial(*case)[0], 1)},
    "unet.3": {"number 0": lambda widths: [1, *channels_of_the_library(widths)[1:]]},
}


def density_of_torch(x, shift, log_scale):
    x, shift, log_scale = map(torch.from_numpy, (x, shift, log_scale))
    made = torch.distributions.AffineTransform(shift, log_scale.exp())
    second = torch.distributions.TransformedDistribution(Normal(0.0 * shift, 1.0), made)
    return Normal(0.0, 1.0).log_prob(x[:, 0]) + second.log_prob(x[:, 1])


def density_of_another_bell(x, shift, log_scale):
    """A normal number that was scaled and shifted is a normal number, too."""
    return scipy.stats.norm.logpdf(x[:, 0]) + scipy.stats.norm.logpdf(
        x[:, 1], shift, np.exp(log_scale)
    )


def divergences_of_scipy(p, q):
    return scipy.stats.entropy(p, q), scipy.stats.entropy(q, p)


def tempered_by_logarithms(density, temperature, cell):
    heights = np.log(density) / temperature
    return np.exp(heights - scipy.special.logsumexp(heights)) / cell


RIGHT |= {
    "generative_models.1": (density_of_torch, density_of_another_bell),
    "generative_models.2": (divergences_of_scipy,),
    "generative_models.3": (tempered_by_logarithms,),
}

WRONG |= {
    "generative_models.1": {
        "the log-density at": lambda *case: density_of_torch(*case) + 1,
        "The result has shape": lambda *case: density_of_torch(*case)[:, None],
    },
    "generative_models.2": {
        "number (1,) should be": lambda p, q: (divergences_of_scipy(p, q)[0], 1.0)
    },
    "generative_models.3": {"At a temperature of": lambda *case: tempered_by_logarithms(*case) + 1},
}


# ---- early works -------------------------------------------------------------------------------


def mu_law_of_the_library(x):
    codes = waveforms.mu_law_encode(x)
    return codes, waveforms.mu_law_decode(codes)


def mu_law_by_nearest(x):
    """Decode all codes, and take for each sample the one that is nearest once squeezed."""
    squeezed = np.linspace(-1, 1, 256)
    samples = np.sign(squeezed) * np.expm1(np.abs(squeezed) * np.log(256)) / 255
    wanted = np.sign(x) * np.log1p(255 * np.abs(x)) / np.log(256)
    codes = np.abs(wanted[:, None] - squeezed + 1e-9).argmin(axis=1)
    return codes, samples[codes]


def depends_by_paths(dilations, n):
    """Multiply the matrices of the layers; the first moves everything by one."""
    seen = np.eye(n, k=-1)
    for d in dilations:
        seen = (np.eye(n) + np.eye(n, k=-d)) @ seen
    return seen > 0


def depends_by_gradient(dilations, n):
    x = torch.ones(n, dtype=torch.float64, requires_grad=True)
    y = torch.nn.functional.pad(x, (1, 0))[:n]
    for d in dilations:
        y = y + torch.nn.functional.pad(y, (d, 0))[:n]
    return np.stack([torch.autograd.grad(v, x, retain_graph=True)[0].numpy() > 0 for v in y])


def drawn_by_the_library(logits, temperature, u):
    z, settings = torch.tensor(logits), sampling.SamplingConfig(temperature=temperature)
    return sampling.probabilities_of(z, settings), sampling.draw(z, settings, torch.tensor(u))


RIGHT |= {
    "early_works.1": (mu_law_of_the_library, mu_law_by_nearest),
    "early_works.2": (depends_by_paths, depends_by_gradient),
    "early_works.3": (drawn_by_the_library,),
}

WRONG |= {
    "early_works.1": {
        "should be": lambda x: (mu_law_of_the_library(x)[0], 0.9 * mu_law_of_the_library(x)[1]),
    },
    "early_works.2": {
        "should be": lambda dilations, n: (
            depends_by_paths(dilations, n) & ~np.eye(n, k=-2, dtype=bool)
        ),
    },
    "early_works.3": {
        "should be": lambda *case: (0.9 * drawn_by_the_library(*case)[0].numpy(), 0),
    },
}


# ---- gans_and_flows ------------------------------------------------------------------------------


def density_of_torch(x, look):
    n = len(x) // 2
    log_scale, shift = map(torch.from_numpy, look(x[:n]))
    x = torch.from_numpy(x)
    base = Normal(-shift * torch.exp(-log_scale), torch.exp(-log_scale))
    return Normal(0, 1).log_prob(x[:n]).sum() + base.log_prob(x[n:]).sum()


def shuffle_of_torch(x, shift):
    reach = abs(shift)
    padded = torch.nn.functional.pad(torch.tensor(x)[None], (reach, reach), mode="reflect")[0]
    return padded[:, reach - shift : reach - shift + x.shape[1]]


RIGHT |= {
    "gans_and_flows.1": (
        lambda phase: rainbow.instantaneous_frequency(phase),
        lambda phase: (
            np.angle(np.exp(1j * phase) * np.exp(-1j * np.pad(phase, ((0, 0), (1, 0)))[:, :-1]))
            / np.pi
        ),
    ),
    "gans_and_flows.2": (density_of_torch,),
    "gans_and_flows.3": (
        shuffle_of_torch,
        lambda x, shift: sound_gan.shifted(torch.from_numpy(x)[None], torch.tensor([shift]))[0],
    ),
}

WRONG |= {
    "gans_and_flows.1": {
        "With the phases": lambda phase: 0.1 * phase + 0.1,
        "The axes": lambda phase: rainbow.instantaneous_frequency(phase).T,
    },
    "gans_and_flows.2": {"it should be": lambda *case: density_of_torch(*case) + 0.1},
    "gans_and_flows.3": {"With x = ": lambda x, shift: shuffle_of_torch(x, shift) + 0.1},
}


# ---- looking inside ----------------------------------------------------------------------------


def sensitivity_of_autograd(x, first, bias, last, unit):
    given = torch.tensor(x, requires_grad=True)
    hidden = torch.relu(torch.tensor(first) @ given + torch.tensor(bias))
    (torch.tensor(last) @ hidden)[unit].backward()
    return given.grad.abs()


def sensitivity_by_trial(x, first, bias, last, unit):
    """Move each number a little."""

    def output(values):
        return (last @ np.maximum(first @ values + bias, 0))[unit]

    moves = 1e-6 * np.eye(len(x))
    return np.abs([(output(x + move) - output(x - move)) / 2e-6 for move in moves])


def integrated_at_once(slope, x, reference, n_steps):
    shares = (np.arange(n_steps) + 0.5) / n_steps
    way = reference + shares[:, None] * (x - reference)
    return np.mean([slope(point) for point in way], axis=0) * (x - reference)


def tiles_of_matrices(falls, n_cells, size, step):
    covers = np.zeros((len(falls), n_cells))
    for i, row in enumerate(covers):
        row[i * step : i * step + size] = 1
    return falls @ covers / np.maximum(covers.sum(axis=0), 1)


RIGHT |= {
    "looking_inside.1": (sensitivity_of_autograd, sensitivity_by_trial),
    "looking_inside.2": (integrated_at_once,),
    "looking_inside.3": (tiles_of_matrices,),
}

WRONG |= {
    "looking_inside.1": {
        "the value at": lambda *case: 1.1 * sensitivity_of_autograd(*case),
    },
    "looking_inside.2": {
        "the map should be": lambda *case: 1.1 * integrated_at_once(*case),
    },
    "looking_inside.3": {
        "the value at": lambda *case: 1.1 * tiles_of_matrices(*case),
    },
}


# ---- without training --------------------------------------------------------------------------


def scaled_row_by_row(train, test):
    """Go through the numbers one by one."""
    columns = []
    for before, after in zip(np.asarray(train).T, np.asarray(test).T, strict=True):
        deviation = np.sqrt(np.mean((before - np.mean(before)) ** 2))
        columns.append((after - np.mean(before)) / (deviation if before.std() > 0 else 1.0))
    return np.stack(columns, axis=1)


def scaled_by_sklearn(train, test):
    from sklearn.preprocessing import StandardScaler

    return StandardScaler().fit(train).transform(test)


def scaled_in_single_precision(train, test):
    train, test = torch.as_tensor(train).float(), torch.as_tensor(test).float()
    deviation = train.std(dim=0, unbiased=False)
    return (test - train.mean(dim=0)) / torch.where(deviation > 0, deviation, 1.0)


def scaled_by_at_least_a_little(train, test):
    """Fail where training never changes, as many libraries' formulas do."""
    return (test - train.mean(axis=0)) / (train.std(axis=0) + 1e-8)


def recall_of_sklearn(truth, said):
    from sklearn.metrics import recall_score

    return recall_score(truth, said, labels=np.unique(truth), average="macro")


def by_class_in_a_loop(truth, said):
    shares = {}
    for t, s in zip(truth.tolist(), said.tolist(), strict=True):
        shares.setdefault(t, []).append(t == s)
    return sum(sum(each) / len(each) for each in shares.values()) / len(shares)


def ridge_of_more_rows(h, y, strength):
    """Write the ridge as items of its own: their hidden layer is a diagonal, their class none."""
    rows = np.concatenate([h, np.sqrt(strength) * np.eye(h.shape[1])])
    wanted = np.concatenate([y, np.zeros((h.shape[1], y.shape[1]))])
    return np.linalg.lstsq(rows, wanted, rcond=None)[0]


def ridge_in_the_dual(h, y, strength):
    return h.T @ np.linalg.inv(h @ h.T + strength * np.eye(len(h))) @ y


def ridge_in_single_precision(h, y, strength):
    h, y = torch.as_tensor(h).float(), torch.as_tensor(y).float()
    return torch.linalg.solve(h.T @ h + strength * torch.eye(h.shape[1]), h.T @ y)


RIGHT |= {
    "untrained.1": (scaled_row_by_row, scaled_by_sklearn, scaled_in_single_precision),
    "untrained.2": (recall_of_sklearn, by_class_in_a_loop),
    "untrained.3": (ridge_of_more_rows, ridge_in_the_dual, ridge_in_single_precision),
}

WRONG |= {
    "untrained.1": {
        "the value at": lambda *case: 1.1 * scaled_row_by_row(*case),
        "you divide by zero, or by nearly that": scaled_by_at_least_a_little,
    },
    "untrained.2": {"it should be": lambda *case: 0.9 * by_class_in_a_loop(*case)},
    "untrained.3": {"With h of shape (6, 3)": lambda *case: 1.1 * ridge_in_the_dual(*case)},
}


def grid_by_sorting(onsets_s, pitches, sure, step_s, length):
    """Let surer notes come later, so that they stay."""
    tokens = np.full(length + 2, -1)  # a place before the phrase, and one after it
    order = np.argsort(sure)
    places = np.clip(np.rint(onsets_s[order] / step_s).astype(int), -1, length)
    tokens[places + 1] = pitches[order]
    return tokens[1:-1]


def grid_by_distance(onsets_s, pitches, sure, step_s, length):
    """Look for the nearest place, also beyond both ends, and remember the surest note of each."""
    tokens, best = [-1] * length, [-1.0] * length
    for onset, pitch, now in zip(onsets_s, pitches, sure, strict=True):
        place = min(range(-3, length + 3), key=lambda i: abs(onset - i * step_s))
        if 0 <= place < length and now > best[place]:
            tokens[place], best[place] = pitch, now
    return tokens


def grid_that_makes_room(onsets_s, pitches, sure, step_s, length):
    """Move a note that finds its place taken to the next one."""
    tokens = np.full(length, -1)
    for i in np.argsort(-sure):
        place = round(onsets_s[i] / step_s)
        while 0 <= place < length and tokens[place] >= 0:
            place += 1
        if 0 <= place < length:
            tokens[place] = pitches[i]
    return tokens


def cost_of_one_second(sample_rate, hop_samples, strides, sizes):
    """Count codes in units of samples."""
    apart = hop_samples * np.asarray(strides)
    levels = sample_rate / apart * np.log2(np.asarray(sizes, dtype=float))
    return levels, levels.sum()


def gradients_of_torch(x, label, a, d, c, weight, dtype=torch.float64):
    """Let torch reverse the gradient."""
    x, label = torch.tensor(x, dtype=dtype), torch.tensor(label, dtype=dtype)
    a, d, c = (torch.tensor(value, dtype=x.dtype, requires_grad=True) for value in (a, d, c))
    z = a * x
    made = torch.mean((d * z - x) ** 2)
    told = frames.reverse_gradient(z, weight)
    loss = made + torch.nn.functional.binary_cross_entropy_with_logits(c * told, label)
    loss.backward()
    return tuple(float(value.grad) for value in (a, d, c))


def gradients_in_single_precision(*case):
    """Calculate with tensors of torch's own type."""
    return gradients_of_torch(*case, dtype=torch.float32)


RIGHT |= {
    "chains.1": (grid_by_sorting, grid_by_distance),
    "chains.2": (cost_of_one_second,),
    "chains.3": (gradients_of_torch, gradients_in_single_precision),
}

WRONG |= {
    "chains.1": {
        "should hold 62; yours holds 162": lambda *case: grid_by_sorting(*case) + 100,
        "The notes nearest to it: onset": grid_that_makes_room,
    },
    "chains.2": {
        "the total should be": lambda *case: (cost_of_one_second(*case)[0], 1.0),
        "level 1 should be": lambda *case: (np.cumsum(cost_of_one_second(*case)[0]), 1.0),
        "two results, first an array": lambda *case: cost_of_one_second(*case)[::-1],
    },
    "chains.3": {"the gradient of c": lambda *case: (*gradients_of_torch(*case)[:2], 100.0)},
}


def left_out_by_sums(x):
    """Take each item away from the sum of its class."""
    n_classes, n_items, _ = x.shape
    means = np.broadcast_to(x.mean(axis=1), (n_classes, n_items, *x.mean(axis=1).shape)).copy()
    own = np.arange(n_classes)
    means[own, :, own] = (x.sum(axis=1, keepdims=True) - x) / (n_items - 1)
    return ((x[:, :, None] - means) ** 2).sum(axis=-1)


def told_by_torch(query, support, distance):
    """Let torch measure and normalise."""
    query, prototypes = torch.as_tensor(query), torch.as_tensor(support).mean(dim=1)
    if distance == "squared":
        apart = torch.cdist(query, prototypes, compute_mode="donot_use_mm_for_euclid_dist") ** 2
    else:
        apart = 1 - torch.cosine_similarity(query[:, None], prototypes[None], dim=-1)
    return torch.softmax(-apart, dim=1)


RIGHT |= {
    "few_shot.1": (left_out_by_sums,),
    "few_shot.2": (told_by_torch,),
}

WRONG |= {
    "few_shot.1": {"the value at": lambda x: 1.1 * left_out_by_sums(x)},
    "few_shot.2": {
        "the value at": lambda *case: told_by_torch(*case).sqrt().softmax(dim=1),
        "must add up to 1": lambda *case: 0.9 * told_by_torch(*case),
    },
}

# ---- filter shapes -----------------------------------------------------------------------------


def extent_of_the_library(height, width, lowest, edges_hz, window, hop, rate):
    """Look at which band's triangles are not zero, and at the samples of the last frame."""
    low = edges_hz[:-2][lowest : lowest + height].min()
    high = edges_hz[2:][lowest : lowest + height].max()
    samples = np.concatenate([np.arange(k * hop, k * hop + window) for k in range(width)])
    return np.array([low, high, 1e3 * np.unique(samples).size / rate])


def counted_on_a_network(shapes, n_bands, n_frames, pool, n_classes):
    branches = [filter_shapes.Branch(Shape(*shape), pool) for shape in shapes]
    network = filter_shapes.ShapeNet(branches, (n_bands, n_frames), n_classes)
    return sum(p.numel() for p in network.parameters())


def paired_by_counting(first, second):
    only = [(a, b) for a, b in zip(first, second, strict=True) if a != b]
    gained, n = sum(a for a, _ in only) - sum(b for _, b in only), len(first)
    return torch.tensor([gained / n, math.sqrt(len(only) / n - (gained / n) ** 2) / math.sqrt(n)])


RIGHT |= {
    "filter_shapes.1": (extent_of_the_library,),
    "filter_shapes.2": (counted_on_a_network,),
    "filter_shapes.3": (paired_by_counting,),
}
WRONG |= {
    "filter_shapes.1": {
        "should be": lambda m, n, b, e, w, h, r: (e[b], e[b + m + 1], 42.0 * n),
        "three": lambda m, n, b, e, w, h, r: (e[b + m + 1] - e[b], 1e3 * ((n - 1) * h + w) / r),
    },
    "filter_shapes.2": {
        "should be": lambda s, b, f, p, c: counted_on_a_network(s, b, f, p, c) + 3,
    },
    "filter_shapes.3": {
        "should be": lambda a, b: (np.mean(a) - np.mean(b), 0.5),
    },
}

# ---- at scale ----------------------------------------------------------------------------------


def counted_on_the_front_end(widths, kernel=3):
    network = sample_level.SampleLevelFrontend(widths=widths, factor=kernel)
    return sum(p.numel() for p in network.parameters())


def merged_by_scikit(n, mean, variance, block):
    """Put what is known into a scaler."""
    scaler = StandardScaler()
    if n:
        scaler.partial_fit(mean[None])
        scaler.n_samples_seen_ = np.int64(n)
        scaler.mean_, scaler.var_ = mean.copy(), variance.copy()
    scaler.partial_fit(block)
    return scaler.n_samples_seen_, scaler.mean_, scaler.var_


def merged_one_by_one(n, mean, variance, block):
    """Take in one item after the other (Welford)."""
    squares = n * variance
    for x in block:
        n += 1
        before, mean = mean, mean + (x - mean) / n
        squares = squares + (x - before) * (x - mean)
    return [n, mean.tolist(), torch.tensor(squares / n)]


def crossed_in_tens(n, first, second):
    """Fit one line to the difference, and go on in powers of ten."""
    slope, level = np.polyfit(np.log10(n), second - first, 1)
    return 10 ** (-level / slope) if slope > 0 else math.inf


def crossed_in_single_precision(n, first, second):
    x = torch.tensor(n, dtype=torch.float32).log()
    scores = torch.tensor(np.stack([first, second], axis=1), dtype=torch.float32)
    slopes, levels = torch.linalg.lstsq(torch.stack([x, x**0], dim=1), scores).solution
    apart = slopes[1] - slopes[0]
    return ((levels[0] - levels[1]) / apart).exp() if apart > 0 else torch.tensor(torch.inf)


def crossed_in_whole_tracks(n, first, second):
    lines = [scipy.stats.linregress(np.log(n), score) for score in (first, second)]
    if lines[1].slope <= lines[0].slope:
        return np.inf
    apart = lines[0].intercept - lines[1].intercept
    return math.ceil(math.exp(apart / (lines[1].slope - lines[0].slope)))


def crossed_unless_parallel(n, first, second):
    """Calculate with numbers of Python, which cannot be divided by zero."""
    x = np.log(n) - np.log(n).mean()
    slope, other = (float(x @ (score - score.mean()) / (x @ x)) for score in (second, first))
    if slope < other:
        return math.inf
    apart = float(first.mean() - second.mean())
    return math.exp(float(np.log(n).mean()) + apart / (slope - other))


RIGHT |= {
    "at_scale.1": (counted_on_the_front_end,),
    "at_scale.2": (merged_by_scikit, merged_one_by_one),
    "at_scale.3": (crossed_in_tens, crossed_in_single_precision, crossed_in_whole_tracks),
}
WRONG |= {
    "at_scale.1": {
        "stage by stage": lambda *case: counted_on_the_front_end(*case) + 3,
        "Return one whole number": lambda widths, kernel=3: [kernel * width for width in widths],
        "Is the length of the signal in it": lambda *case: 816 * counted_on_the_front_end(*case),
        "keep the parameters of the stub": lambda widths, kernel: kernel,
    },
    "at_scale.2": {
        "the variance should be": lambda *case: (*merged_by_scikit(*case)[:2], case[2] * 1.1),
        "the mean should be": lambda *case: (merged_by_scikit(*case)[0], case[1] + 1, case[2]),
        "Return a tuple": lambda *case: merged_by_scikit(*case)[1:],
        "more digits than float32 has": lambda n, *arrays: merged_by_scikit(
            n, *(values.astype(np.float32) for values in arrays)
        ),
    },
    "at_scale.3": {
        "the lines meet at": lambda *case: crossed_in_tens(*case) - case[0][-1],
        "return np.inf before you divide": crossed_unless_parallel,
        "Which slope must be the larger one": lambda *case: np.inf,
        "it never catches up. Return np.inf": lambda *case: np.nan_to_num(
            crossed_in_tens(*case), posinf=-1
        ),
    },
}
