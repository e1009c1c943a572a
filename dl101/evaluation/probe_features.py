"""What the probes know of a track: a few short vectors, each nearly blind to something.

Conventions: each function returns one float vector per track, so that a track of any length can be
compared with any other. *Timbre* sees which frequencies sound, not when; *rhythm* sees when
something begins, not what (beyond low, middle or high).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dl101.signal import mel
from dl101.units import amplitude_to_db

N_MFCC = 20
LAGS_S = (0.1, 2.5)  # the range of beats and bars
N_LAGS = 64
N_SCALES = 16  # of the transform that forgets the tempo


def describe(audio: NDArray[np.float32], sample_rate: int) -> dict[str, NDArray[np.float64]]:
    """Return the vectors of a track.

    Returns
    -------
    dict
        ``log-mel``: mean and deviation of each of 128 log-mel bands; ``mfcc``: the same of 20
        cepstral coefficients; ``rhythm``: see :func:`rhythm`; ``level``: RMS in dB and length in
        seconds (not the peak, which tells struck strings from bowed ones).
    """
    import scipy.fft

    feature = mel.log_mel(audio, sample_rate)
    log_mel = feature.values[0].astype(float)
    cepstrum = scipy.fft.dct(log_mel, axis=0, norm="ortho")[:N_MFCC]
    rms = float(np.sqrt(np.mean(np.square(audio, dtype=float))))
    return {
        "log-mel": np.concatenate([log_mel.mean(axis=1), log_mel.std(axis=1)]),
        "mfcc": np.concatenate([cepstrum.mean(axis=1), cepstrum.std(axis=1)]),
        "rhythm": rhythm(log_mel, feature.hop_samples / sample_rate),
        "level": np.array([float(amplitude_to_db(rms)), audio.size / sample_rate]),
    }


def rhythm(log_mel: NDArray, hop_s: float) -> NDArray[np.float64]:
    """Return how much the onsets of three frequency ranges repeat after each of 64 lags.

    The lags are spaced like pitches, so that another tempo shifts the curve; the magnitudes of its
    Fourier transform, which a shift does not change, are appended (the scale transform of
    Holzapfel and Stylianou, "Scale transform in rhythmic similarity of music", 2011).
    """
    rising = np.maximum(np.diff(log_mel, axis=1, prepend=log_mel[:, :1]), 0.0)
    ranges = np.array_split(rising, 3)
    longest = int(np.ceil(LAGS_S[1] / hop_s)) + 1
    lags = np.geomspace(*LAGS_S, N_LAGS) / hop_s
    curves, spectra = [], []
    for part in ranges:
        onset = part.mean(axis=0)
        onset = np.pad(onset - onset.mean(), (0, longest))
        power = np.abs(np.fft.rfft(onset, 2 * onset.size)) ** 2
        repeats = np.fft.irfft(power)[: longest + 1]
        repeats /= max(repeats[0], 1e-12)
        curve = np.interp(lags, np.arange(longest + 1), repeats)
        curves.append(curve)
        spectra.append(np.abs(np.fft.rfft(curve * np.hanning(N_LAGS)))[:N_SCALES])
    return np.concatenate([*curves, *spectra])
