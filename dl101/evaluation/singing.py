"""What a vocoder makes of a voice: the pitch of what comes out, its phases, its timbre.

Conventions: sounds are (samples,) at one rate; the reference fundamental ``f0_hz`` is (frames,),
one value every ``hop_samples`` from the first sample on, NaN where nothing is voiced. Distances of
spectra are :class:`dl101.nn.losses.MultiResolutionSTFT`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from dl101.signal.mel import log_mel, mfcc
from dl101.units import hz_to_midi

TRACKED_HZ = (65.0, 1100.0)  # where a fundamental is looked for
MARGIN_FRAMES = 3  # on each side of a voiced frame that must be voiced, too
WRONG_CENTS = 50.0
N_MFCC = 13
PIECE_S = 1.0


def inside(f0_hz: NDArray, margin_frames: int = MARGIN_FRAMES) -> NDArray[np.bool_]:
    """Return which frames are voiced with their neighbours on both sides, (frames,)."""
    voiced = np.isfinite(f0_hz)
    kept = voiced.copy()
    for shift in range(1, margin_frames + 1):
        kept[shift:] &= voiced[:-shift]
        kept[:-shift] &= voiced[shift:]
        kept[:shift] = kept[len(kept) - shift :] = False
    return kept


def track_f0(audio: NDArray, sample_rate: int, hop_samples: int) -> NDArray[np.float64]:
    """Return the fundamental of each frame in Hz by YIN (de Cheveigné and Kawahara, 2002).

    Windows of about 43 ms around the frame; there is always an answer, also where nothing is
    voiced.
    """
    import librosa

    frame = 2 ** round(np.log2(0.043 * sample_rate))
    return librosa.yin(
        np.asarray(audio, np.float32),
        fmin=TRACKED_HZ[0],
        fmax=TRACKED_HZ[1],
        sr=sample_rate,
        frame_length=frame,
        hop_length=hop_samples,
    )


def f0_error(
    audio: NDArray, f0_hz: NDArray, sample_rate: int, hop_samples: int
) -> dict[str, float]:
    """Return how far the pitch that YIN hears is from the one that was sung.

    ``f0_cents`` is the mean absolute difference over the frames :func:`inside` voiced stretches,
    octave errors included; ``f0_hz`` the same in Hz; ``f0_wrong`` the share of frames that are more
    than 50 cents off. All are NaN where no frame counts.
    """
    found = track_f0(audio, sample_rate, hop_samples)
    n = min(len(found), len(f0_hz))
    kept = inside(np.asarray(f0_hz)[:n])
    if not kept.any():
        return {"f0_cents": np.nan, "f0_hz": np.nan, "f0_wrong": np.nan}
    found, wanted = found[:n][kept], np.asarray(f0_hz)[:n][kept]
    cents = 100.0 * np.abs(hz_to_midi(found) - hz_to_midi(wanted))
    return {
        "f0_cents": float(cents.mean()),
        "f0_hz": float(np.abs(found - wanted).mean()),
        "f0_wrong": float((cents > WRONG_CENTS).mean()),
    }


def partial_phase(
    audio: NDArray, f0_hz: NDArray, sample_rate: int, hop_samples: int, *, partial: int = 1
) -> NDArray[np.float64]:
    """Return the phase of a partial against an oscillator that follows it, (frames,), in radians.

    The sound is multiplied by ``exp(-i k phi)``, where ``phi`` is the running sum of the reference
    fundamental, and averaged in Hann windows of about 30 ms. A partial that does what the
    fundamental says has one phase; a glitch is a jump. Unvoiced stretches are bridged by straight
    lines, and what is returned there means nothing.
    """
    f0_hz = np.asarray(f0_hz, np.float64)
    n_frames = min(len(f0_hz), 1 + len(audio) // hop_samples)
    known = np.flatnonzero(np.isfinite(f0_hz))
    places = np.arange(len(audio)) / hop_samples
    per_sample = np.interp(places, known, f0_hz[known]) / sample_rate
    turns = partial * (np.cumsum(per_sample) - per_sample)
    turned = np.asarray(audio, np.float64) * np.exp(-2j * np.pi * turns)
    half = round(0.015 * sample_rate)
    window = np.hanning(2 * half + 1)
    padded = np.pad(turned, (half, half + hop_samples))
    frames = np.lib.stride_tricks.sliding_window_view(padded, window.size)
    return np.angle(frames[: n_frames * hop_samples : hop_samples] @ window)


def phase_jitter(audio: NDArray, f0_hz: NDArray, sample_rate: int, hop_samples: int) -> float:
    """Return by how much the fundamental's phase bends from frame to frame, in radians.

    The mean absolute second difference of :func:`partial_phase`, wrapped, over the frames
    :func:`inside` voiced stretches; a constant error of pitch doesn't count. NaN where no frame
    counts. Phases drawn at random have pi / 2.
    """
    phase = partial_phase(audio, f0_hz, sample_rate, hop_samples)
    kept = inside(np.asarray(f0_hz)[: len(phase)])[1:-1]
    bend = (np.diff(phase, n=2) + np.pi) % (2 * np.pi) - np.pi
    return float(np.abs(bend[kept]).mean()) if kept.any() else float("nan")


def timbre(sounds: Sequence[NDArray], sample_rate: int) -> NDArray[np.float64]:
    """Return an embedding of voices for Fréchet distances: (pieces, 26).

    Sounds are cut into pieces of a second, half a second apart; of each the means and standard
    deviations over time of 13 mel-frequency cepstral coefficients of 40 bands: the envelope of the
    spectrum, vowels and breath included, not the pitch. No learned embedding of voices ships here.
    """
    rows = []
    n = round(PIECE_S * sample_rate)
    for sound in sounds:
        for start in range(0, max(len(sound) - n, 0) + 1, n // 2):
            piece = np.asarray(sound[start : start + n], np.float32)
            feature = log_mel(
                piece, sample_rate, n_bands=40, window_samples=1024, hop_samples=sample_rate // 100
            )
            coefficients = mfcc(feature.values[0], N_MFCC)
            rows.append(np.concatenate([coefficients.mean(axis=-1), coefficients.std(axis=-1)]))
    return np.array(rows, dtype=np.float64)


def real_time_factor(make: Callable[[NDArray], NDArray], audio: NDArray, sample_rate: int) -> float:
    """Return seconds of work for a second of sound: the median of three; below 1 is fast enough.

    What is timed begins with a sound, so it includes the mel spectrogram.
    """
    make(audio[:sample_rate])
    spent_s = []
    for _ in range(3):
        start = time.perf_counter()
        make(audio)
        spent_s.append(time.perf_counter() - start)
    return float(np.median(spent_s)) * sample_rate / len(audio)
