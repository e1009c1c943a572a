"""The sound of a voice: the pulse of the glottis, and a vocal tract that moves.

Conventions: audio is mono float32 at 22 050 Hz. The tract is given frame by frame, at multiples of
``HOP_SAMPLES``: formants and bandwidths in Hz, (frames, 5). Sources stand in
:mod:`dl101.data.embedded.singer`, which tells these functions what to do.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import scipy.fft
import scipy.optimize
from numpy.typing import NDArray

from dl101.data.embedded.phonemes import NASAL_ZERO_HZ
from dl101.data.embedded.renderer import SAMPLE_RATE
from dl101.units import db_to_amplitude

HOP_SAMPLES = 256  # the tract is renewed every 11.6 ms; in between, outputs are cross-faded
FILTER_FFT = 1536  # window of 512 and 46 ms for the tract to ring
TABLE_SIZE = 4096
TABLE_LOWEST_HZ, TABLES_PER_OCTAVE, N_TABLES = 50.0, 3, 15
LEVEL = 0.1  # RMS of a vowel at 0 dB, about
USUAL_LEVEL = 0.3  # RMS of a vowel before its loudness is evened out


@lru_cache(maxsize=64)
def _pulse_tables(rd: float) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return one cycle of the LF pulse, band-limited for each third of an octave, and its opening.

    The pulse is the derivative of the glottal flow, (tables, TABLE_SIZE + 1), so that the radiation
    at the lips is in it; its steepest fall is -1. The opening is the flow, 0 to 1.
    """
    ra, rk = (-1.0 + 4.8 * rd) / 100.0, (22.4 + 11.8 * rd) / 100.0
    rg = rk / 4.0 * (0.5 + 1.2 * rk) / (0.11 * rd - ra * (0.5 + 1.2 * rk))
    ra = max(ra, 0.005)
    peak = 0.5 / rg
    closing = min(peak * (1.0 + rk), 0.98)
    phase = np.arange(TABLE_SIZE) / TABLE_SIZE
    decay = scipy.optimize.brentq(
        lambda x: x * ra - 1.0 + np.exp(-x * (1.0 - closing)), 0.1, 2.0 / ra
    )
    after = phase >= closing
    returning = np.exp(-decay * (phase - closing)) - np.exp(-decay * (1.0 - closing))
    returning = -returning / (decay * ra)

    def opened(growth: float) -> NDArray[np.float64]:
        swing = np.exp(growth * (phase - closing)) * np.sin(np.pi * phase / peak)
        return -swing / np.sin(np.pi * closing / peak)

    growth = scipy.optimize.brentq(
        lambda x: np.where(after, returning, opened(x)).sum(), -60.0, 120.0
    )
    pulse = np.where(after, returning, opened(growth))
    flow = np.cumsum(pulse)
    opening = np.append(flow, flow[0]) / flow.max()
    spectrum = scipy.fft.rfft(pulse)
    tables = np.empty((N_TABLES, TABLE_SIZE + 1), dtype=np.float32)
    for i in range(N_TABLES):
        highest_hz = TABLE_LOWEST_HZ * 2.0 ** ((i + 1) / TABLES_PER_OCTAVE)
        limited = spectrum.copy()
        limited[int(0.48 * SAMPLE_RATE / highest_hz) + 1 :] = 0.0
        tables[i, :-1] = scipy.fft.irfft(limited, TABLE_SIZE)
    tables[:, -1] = tables[:, 0]
    return tables, np.maximum(opening, 0.0).astype(np.float32)


def glottis(
    f0_hz: NDArray[np.float64], rd: float
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the pulse train of a pitch given per sample, and how open the glottis is."""
    tables, opening = _pulse_tables(round(rd, 3))
    cycles = np.cumsum(f0_hz / SAMPLE_RATE)
    position = (cycles - np.floor(cycles)) * TABLE_SIZE
    base = position.astype(np.int32)
    x = (position - base).astype(np.float32)
    octaves = np.log2(np.maximum(f0_hz, TABLE_LOWEST_HZ) / TABLE_LOWEST_HZ)
    table = np.minimum((octaves * TABLES_PER_OCTAVE).astype(np.int32), N_TABLES - 1)
    flat = tables.reshape(-1)
    at = table * (TABLE_SIZE + 1) + base
    return flat[at] * (1 - x) + flat[at + 1] * x, opening[base]


def tract_response(
    formants: NDArray[np.float64],
    bandwidths: NDArray[np.float64],
    nasal: NDArray[np.float64],
    effort: NDArray[np.float64],
) -> NDArray[np.complex64]:
    """Return the tract's transfer function, (frames, FILTER_FFT // 2 + 1), 1 at 0 Hz.

    Five formants, five fixed resonances above them (a digital cascade needs poles up to half the
    sample rate to keep its slope), a pole at low effort that darkens, and the zero of nasals.
    """
    n = formants.shape[0]
    top = formants[:, -1:]
    upper = top + (0.49 * SAMPLE_RATE - top) * (np.arange(1, 6) / 5.5)
    frequency = np.concatenate([formants, upper], axis=1)
    width = np.concatenate([bandwidths, np.broadcast_to([300.0, 400, 500, 600, 800], (n, 5))], 1)
    radius = np.exp(-np.pi * width / SAMPLE_RATE)
    middle = -2.0 * radius * np.cos(2 * np.pi * frequency / SAMPLE_RATE)
    # Multiply the second-order polynomials of all resonators: one transform then serves them all.
    polynomial = np.zeros((n, 2 * frequency.shape[1] + 2))
    polynomial[:, 0] = 1.0
    polynomial[:, 1] = -0.5 * np.clip(1.0 - effort, 0.0, 1.0)
    for i in range(frequency.shape[1]):
        last = polynomial.copy()
        polynomial[:, 1:] += middle[:, i, None] * last[:, :-1]
        polynomial[:, 2:] += (radius[:, i, None] ** 2) * last[:, :-2]
    response = polynomial.sum(axis=1)[:, None] / scipy.fft.rfft(polynomial, FILTER_FFT, axis=1)
    response = response.astype(np.complex64)
    closed = np.flatnonzero(nasal > 1e-3)
    if closed.size:
        zero_radius = np.exp(-np.pi * 80.0 / SAMPLE_RATE)
        back = -2.0 * zero_radius * np.cos(2 * np.pi * NASAL_ZERO_HZ / SAMPLE_RATE)
        zero = scipy.fft.rfft(np.array([1.0, back, zero_radius**2]), FILTER_FFT)
        # A zero at low frequency lifts all higher ones: a pole nearby (270 Hz) takes that back.
        pole_radius = np.exp(-np.pi * 100.0 / SAMPLE_RATE)
        back = -2.0 * pole_radius * np.cos(2 * np.pi * 270.0 / SAMPLE_RATE)
        pole = scipy.fft.rfft(np.array([1.0, back, pole_radius**2]), FILTER_FFT)
        branch = (zero / pole).astype(np.complex64)
        share = nasal[closed, None].astype(np.float32)
        response[closed] *= (1 - share) + share * branch
    return response


def loudness_gain(
    response: NDArray[np.complex64], f0_hz: NDArray[np.float64], rd: float
) -> NDArray[np.float64]:
    """Return the gain of each frame, (frames,), that brings a steady tone most of the way to LEVEL.

    Singers even out their vowels. What a harmonic gains while vibrato sweeps it across a formant
    stays, because the gain is smoothed over 0.2 s.
    """
    table, _ = _pulse_tables(round(rd, 3))
    harmonic = np.arange(1, 41)
    source = np.abs(scipy.fft.rfft(table[0, :-1]))[harmonic] / (TABLE_SIZE / 2)
    bins = (f0_hz[:, None] * harmonic * (FILTER_FFT / SAMPLE_RATE) + 0.5).astype(np.int64)
    audible = bins < response.shape[1]
    bins = np.minimum(bins, response.shape[1] - 1)
    heard = np.abs(np.take_along_axis(response, bins, axis=1)) * source * audible
    level = np.sqrt(0.5 * np.sum(heard**2, axis=1))
    gain_db = -20.0 * (0.8 * np.log10(level) + 0.2 * np.log10(USUAL_LEVEL))
    # Where the tract changes at once, a smooth gain must not overshoot.
    return LEVEL * db_to_amplitude(np.minimum(smooth(gain_db, 17), gain_db + 6.0))


def _frames(source: NDArray[np.float32], n_frames: int) -> NDArray[np.float32]:
    """Cut a signal into windowed frames centred on multiples of the hop."""
    padded = np.zeros((n_frames + 1) * HOP_SAMPLES, dtype=np.float32)
    padded[HOP_SAMPLES : HOP_SAMPLES + source.size] = source
    blocks = padded.reshape(-1, HOP_SAMPLES)
    window = np.hanning(2 * HOP_SAMPLES + 1)[:-1].astype(np.float32)
    return np.concatenate([blocks[:-1], blocks[1:]], axis=1) * window


def filter_moving(
    source: NDArray[np.float32], response: NDArray[np.complex64], n_samples: int
) -> NDArray[np.float32]:
    """Filter each frame by its own response and add them up: a smoothly moving filter."""
    spectrum = scipy.fft.rfft(_frames(source, response.shape[0]), FILTER_FFT, axis=1)
    spectrum *= response
    return _overlap_add(scipy.fft.irfft(spectrum, FILTER_FFT, axis=1), n_samples)


def _overlap_add(frames: NDArray[np.float32], n_samples: int) -> NDArray[np.float32]:
    n_frames, n_parts = frames.shape[0], frames.shape[1] // HOP_SAMPLES
    parts = frames.reshape(n_frames, n_parts, HOP_SAMPLES)
    out = np.zeros((n_frames + n_parts, HOP_SAMPLES), dtype=np.float32)
    for i in range(n_parts):
        out[i : i + n_frames] += parts[:, i]
    return out.reshape(-1)[HOP_SAMPLES : HOP_SAMPLES + n_samples]


def smooth(values: NDArray[np.float64], n: int) -> NDArray[np.float64]:
    """Smooth along axis 0 by a Hann window over about n points, holding the ends."""
    if n < 2:
        return values
    window = np.hanning(n + 2 + n % 2 - 1)[1:-1]  # an odd number of points: no delay
    window /= window.sum()
    half = window.size // 2
    padded = np.concatenate([values[:1].repeat(half, 0), values, values[-1:].repeat(half, 0)])
    if values.ndim == 1:
        return np.convolve(padded, window, mode="valid")
    columns = [np.convolve(column, window, mode="valid") for column in padded.T]
    return np.stack(columns, axis=1)
