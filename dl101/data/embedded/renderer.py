"""Play note lists with the sound bank, and know exactly what was played.

Conventions: audio is mono float32 at 22 050 Hz; pitches are continuous MIDI numbers; f0 curves have
one value every 10 ms, at times ``k * F0_HOP_S`` from 0, NaN where the voice is silent. A note
sounds from its onset for its duration; its release (a fraction of a second) is not counted.

The pitch of a voice at time t in a note is the written pitch plus a constant per note (tuning,
detuning, intonation), a slow drift and a vibrato that sets in after the attack. The same function
drives the oscillating read position of the sample and the f0 curve, so the annotation is exact by
construction. Everything random is drawn from generators that the caller passes: the same arguments
give the same samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from dl101.data.embedded import soundbank
from dl101.units import cents_to_ratio, db_to_amplitude

SAMPLE_RATE = 22050
F0_HOP_S = 0.01
CONTROL_HOP_SAMPLES = 64  # pitch is computed at 345 Hz and interpolated
MIN_FADE_SAMPLES = 64


@dataclass(frozen=True, eq=False)
class Notes:
    """The notes of one voice, by onset. All arrays have shape (notes,).

    ``pitches_midi`` are integers as written; ``velocities`` in [0, 1] choose the layer of the bank;
    ``levels_db`` is each note's gain; ``cents`` its deviation from the written pitch.
    """

    onsets_s: NDArray[np.float64]
    durations_s: NDArray[np.float64]
    pitches_midi: NDArray[np.int64]
    velocities: NDArray[np.float64]
    levels_db: NDArray[np.float64]
    cents: NDArray[np.float64]


@dataclass(frozen=True)
class Player:
    """How a voice is played.

    The vibrato has a rate (Hz), a depth (cents, from the middle to the top), a phase (radians, at
    time 0) and sets in between ``vibrato_delay_s`` and twice that after each onset. The drift is a
    slow sine of ``drift_cents`` at ``drift_rate_hz``. ``release_s`` is the time in which a note
    falls by 60 dB after its end. ``tilt_db_per_octave`` makes the timbre brighter or darker, around
    1 kHz.
    """

    instrument: str
    vibrato_rate_hz: float = 5.0
    vibrato_cents: float = 0.0
    vibrato_phase: float = 0.0
    vibrato_delay_s: float = 0.2
    drift_cents: float = 0.0
    drift_rate_hz: float = 0.2
    release_s: float = 0.2
    tilt_db_per_octave: float = 0.0


@dataclass(frozen=True)
class Room:
    """A synthetic room.

    ``rt60_s`` is the time in which the reverberation falls by 60 dB (at 500 Hz; high frequencies
    fall faster by the factor ``damping``), ``direct_to_reverb_db`` the energy of the direct sound
    over that of all reflections.
    """

    rt60_s: float
    direct_to_reverb_db: float
    damping: float = 2.0
    n_early: int = 8


def pitch_deviation(
    time_s: NDArray[np.float64], onset_s: float, cents: float, player: Player
) -> NDArray[np.float64]:
    """Return the deviation in cents, at given times, of a note that began at ``onset_s``."""
    deviation = np.full(time_s.shape, cents)
    if player.drift_cents:
        deviation += player.drift_cents * np.sin(2 * np.pi * player.drift_rate_hz * time_s)
    if player.vibrato_cents:
        ramp = np.clip((time_s - onset_s) / max(player.vibrato_delay_s, 1e-3) - 1.0, 0.0, 1.0)
        phase = 2 * np.pi * player.vibrato_rate_hz * time_s + player.vibrato_phase
        deviation += player.vibrato_cents * ramp * np.sin(phase)
    return deviation


def render_voice(notes: Notes, player: Player, n_samples: int) -> NDArray[np.float32]:
    """Return the dry sound of one voice, shape (n_samples,)."""
    audio = np.zeros(n_samples, dtype=np.float32)
    instrument = soundbank.load_instrument(player.instrument)
    steady = not (player.vibrato_cents or player.drift_cents)
    release = _release(int(player.release_s * SAMPLE_RATE))
    read: dict[tuple[soundbank.BankNote, float], NDArray[np.float32]] = {}
    for i in range(len(notes.onsets_s)):
        pitch = float(notes.pitches_midi[i])
        recorded = instrument.nearest(pitch, float(notes.velocities[i]))
        start = round(float(notes.onsets_s[i]) * SAMPLE_RATE)
        n_held = round(float(notes.durations_s[i]) * SAMPLE_RATE)
        if instrument.kind == "drums":  # a drum rings out, however short its note
            n_held = recorded.loop_start // soundbank.OVERSAMPLING
        n_note = min(n_held + release.size, n_samples - start)
        if n_note <= 0:
            continue
        cents = float(notes.cents[i]) + 100.0 * (pitch - recorded.midi)
        # Of a steady pitch, a shorter note is the beginning of a longer one.
        sound = read.get((recorded, cents)) if steady else None
        if sound is None or sound.size < n_note:
            position = _read_positions(start, n_note, float(notes.onsets_s[i]), cents, player)
            sound = _read(recorded, position)
            if steady:
                read[recorded, cents] = sound
        sound = sound[:n_note] * np.float32(db_to_amplitude(notes.levels_db[i]))
        if n_held < n_note:
            sound[n_held:] *= release[: n_note - n_held]
        audio[start : start + n_note] += sound
    return audio


def f0_curve(notes: Notes, player: Player, duration_s: float) -> NDArray[np.float64]:
    """Return the pitch that :func:`render_voice` plays, MIDI every 10 ms; NaN where silent.

    Returns
    -------
    ndarray, shape (frames,)
        At times ``F0_HOP_S * arange(frames)``, with frames = 1 + floor(duration_s / F0_HOP_S).
    """
    time_s = f0_times(duration_s)
    curve = np.full(time_s.shape, np.nan)
    for i in range(len(notes.onsets_s)):
        onset_s = float(notes.onsets_s[i])
        offset_s = onset_s + float(notes.durations_s[i])
        first, last = np.searchsorted(time_s, [onset_s, offset_s])
        deviation = pitch_deviation(time_s[first:last], onset_s, float(notes.cents[i]), player)
        curve[first:last] = notes.pitches_midi[i] + deviation / 100.0
    return curve


def f0_times(duration_s: float) -> NDArray[np.float64]:
    """Return the times of an f0 curve in seconds, shape (frames,)."""
    return np.round(np.arange(1 + int(duration_s / F0_HOP_S + 1e-6)) * F0_HOP_S, 6)


def impulse_response(room: Room, rng: np.random.Generator) -> NDArray[np.float32]:
    """Return a room's impulse response: direct sound at sample 0, early reflections, a tail.

    The tail is Gaussian noise that decays exponentially, in two bands that cross at 2 kHz so that
    high frequencies die away sooner (a common simplification of measured rooms: Moorer, "About this
    reverberation business", 1979).
    """
    n = scipy.fft.next_fast_len(int(1.1 * room.rt60_s * SAMPLE_RATE), real=True)
    time_s = np.arange(n) / SAMPLE_RATE
    spectrum = scipy.fft.rfft(rng.standard_normal(n, dtype=np.float32))
    frequency = np.arange(spectrum.size) * SAMPLE_RATE / n
    low = 1.0 / (1.0 + (frequency / 2000.0) ** 4)
    decay = -3.0 * np.log(10.0) * time_s / room.rt60_s
    tail = scipy.fft.irfft(spectrum * low, n) * np.exp(decay)
    tail += scipy.fft.irfft(spectrum * (1.0 - low), n) * np.exp(decay * room.damping)
    tail *= np.clip(time_s / 0.03, 0.0, 1.0)  # the tail builds up during the early reflections
    tail *= np.sqrt(0.7 / np.sum(tail**2))
    arrival_s = np.sort(rng.uniform(0.004, 0.06, room.n_early))
    gains = rng.choice([-1.0, 1.0], room.n_early) * np.exp(-arrival_s / 0.03)
    gains *= np.sqrt(0.3 / np.sum(gains**2))
    reflections = tail
    np.add.at(reflections, (arrival_s * SAMPLE_RATE).astype(int), gains)
    response = reflections * db_to_amplitude(-room.direct_to_reverb_db)
    response[0] += 1.0
    return response.astype(np.float32)


def place_in_room(
    voices: NDArray[np.float32], response: NDArray[np.float32], tilts_db: Sequence[float]
) -> NDArray[np.float32]:
    """Return each voice, with its timbre tilted, as heard in the room; both (voices, samples)."""
    return place_on_stage(voices, response[None], tilts_db, np.ones((len(voices), 1)))[:, 0]


def place_on_stage(
    voices: NDArray[np.float32],
    responses: NDArray[np.float32],
    tilts_db: Sequence[float],
    gains: NDArray[np.float64],
) -> NDArray[np.float32]:
    """Return each voice, with its timbre tilted, as heard by several microphones.

    Parameters
    ----------
    voices
        Dry sounds, (voices, samples).
    responses
        The room's impulse response to each microphone, (microphones, response samples).
    tilts_db
        Change of timbre of each voice, dB in an octave around 1 kHz.
    gains
        How loud each voice is at each microphone, (voices, microphones).

    Returns
    -------
    ndarray, shape (voices, microphones, samples)
    """
    n = voices.shape[1]
    n_fft = scipy.fft.next_fast_len(n + responses.shape[1], real=True)
    if responses.shape[1] == 1:  # the spectrum of an impulse is flat
        transfers = responses.astype(np.complex64)
    else:
        transfers = scipy.fft.rfft(responses, n_fft)
    octaves = _octaves_from_1_khz(n_fft)
    wet = np.empty((len(voices), len(responses), n), dtype=np.float32)
    for voice, tilt_db, gain, out in zip(voices, tilts_db, gains, wet, strict=True):
        filters = transfers
        if tilt_db:
            tilt = np.exp((tilt_db * np.log(10.0) / 20.0 * octaves).astype(np.float32))
            filters = transfers * tilt
        spectrum = scipy.fft.rfft(voice, n_fft)
        # not `*`, which may swap its operands to save memory, and with them the last bit
        out[:] = scipy.fft.irfft(np.multiply(spectrum, filters), n_fft)[:, :n]
        if np.any(gain != 1.0):
            out *= gain.astype(np.float32)[:, None]
    return wet


@lru_cache(maxsize=4)
def _octaves_from_1_khz(n_fft: int) -> NDArray[np.float64]:
    """Return how far above 1 kHz each bin of a real FFT is; what is below 60 Hz counts as 60 Hz."""
    frequency = np.arange(n_fft // 2 + 1) * SAMPLE_RATE / n_fft
    return np.log2(np.maximum(frequency, 60.0) / 1000.0)


def background_noise(
    n_samples: int, slope_db_per_octave: float, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Return noise of unit power whose spectrum falls by a slope above 50 Hz (0 white, 3 pink)."""
    n_fft = scipy.fft.next_fast_len(n_samples, real=True)
    n_bins = n_fft // 2 + 1
    pairs = rng.standard_normal((n_bins, 2), dtype=np.float32).view(np.complex64)[:, 0]
    frequency = np.maximum(np.arange(n_bins) * SAMPLE_RATE / n_fft, 50.0) / 50.0
    pairs *= (frequency ** (-slope_db_per_octave / (20.0 * np.log10(2.0)))).astype(np.float32)
    pairs[0] = 0.0
    noise = scipy.fft.irfft(pairs, n_fft)[:n_samples]
    return noise / np.sqrt(np.mean(noise**2))


def _read_positions(
    start: int, n: int, onset_s: float, cents: float, player: Player
) -> NDArray[np.float64]:
    """Return where in the oversampled recording each output sample is read."""
    if not (player.vibrato_cents or player.drift_cents):
        return np.arange(n) * (soundbank.OVERSAMPLING * float(cents_to_ratio(cents)))
    control = np.arange(0, n + CONTROL_HOP_SAMPLES, CONTROL_HOP_SAMPLES)
    deviation = pitch_deviation((start + control) / SAMPLE_RATE, onset_s, cents, player)
    speed = soundbank.OVERSAMPLING * cents_to_ratio(deviation)
    # The position is the integral of a piecewise linear speed: exact, and cheap to evaluate.
    slope = np.diff(speed) / CONTROL_HOP_SAMPLES
    anchor = np.concatenate(
        [[0.0], np.cumsum(0.5 * (speed[1:] + speed[:-1]) * CONTROL_HOP_SAMPLES)]
    )
    step = np.arange(CONTROL_HOP_SAMPLES)
    position = anchor[:-1, None] + speed[:-1, None] * step + (0.5 * slope[:, None]) * (step * step)
    return position.reshape(-1)[:n]


def _read(recorded: soundbank.BankNote, position: NDArray[np.float64]) -> NDArray[np.float32]:
    """Read a recording at fractional positions (cubic Lagrange), looping, with its decay."""
    decay = None
    if recorded.decay_db_per_s:
        rate = recorded.decay_db_per_s / (soundbank.OVERSAMPLING * SAMPLE_RATE)
        decay = np.exp((-rate * np.log(10.0) / 20.0 * position).astype(np.float32))
    first = int(np.searchsorted(position, recorded.loop_stop))
    if first < position.size:
        length = recorded.loop_stop - recorded.loop_start
        beyond = position[first:] - recorded.loop_start
        beyond -= length * np.floor(beyond / length)  # a remainder, three times faster than `%`
        position[first:] = recorded.loop_start + beyond
    base = position.astype(np.intp)
    x = (position - base).astype(np.float32)
    # Lagrange's polynomial through the samples at -1, 0, 1, 2, in Horner's form.
    samples = recorded.samples
    before = samples.take(base - 1)  # base 0 wraps to the padding: the first sample is silent
    here, after, then = (samples[ahead:].take(base) for ahead in range(3))
    third = (then - before) / np.float32(6) + (here - after) * np.float32(0.5)
    second = (before + after) * np.float32(0.5) - here
    slope = after - before / np.float32(3) - here * np.float32(0.5) - then / np.float32(6)
    sound = ((third * x + second) * x + slope) * x + here
    if decay is not None:
        sound *= decay
    return sound


def _release(n: int) -> NDArray[np.float32]:
    """Return a fall by 60 dB over n samples, brought to zero at the end."""
    ramp = np.arange(n, dtype=np.float32) / max(n, 1)
    return np.exp(-6.9 * ramp) * (1.0 - ramp)
