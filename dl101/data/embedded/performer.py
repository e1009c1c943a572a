"""From score to sound: who plays, how freely, in which room, how loud.

Conventions: score time is in quarter notes, sound in seconds; pitches are MIDI numbers. A *line*
holds the notes of one part as written, a *skeleton* the same notes in seconds, and interpreting a
skeleton gives the notes as a player plays them. A *part* is a line made ready to sound; a *mix* is
all parts in one room. Everything random is drawn from the generator that the caller passes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dl101.data.embedded import renderer, soundbank
from dl101.data.embedded.lines import Line
from dl101.data.embedded.renderer import SAMPLE_RATE, Notes, Player, Room
from dl101.units import db_to_amplitude

MIN_NOTE_S = 0.06
PEAK = 0.85  # no sample of a mixture or stem is larger
VIBRATO_FAMILIES = ("bowed", "brass", "flute", "reed", "voice")
TEMPERED_FAMILIES = ("keyboard", "organ", "plucked", "mallets", "synth", "bass", "drums")
ACCENT_DB = 14.0  # between the softest and the loudest written velocity


@dataclass(frozen=True)
class Conditions:
    """What performances of a split are drawn from; pairs are (lowest, highest), uniform."""

    heard: str  # which instruments of the bank
    tuning_cents: tuple[float, float]
    rt60_s: tuple[float, float]
    direct_to_reverb_db: tuple[float, float]
    noise_snr_db: tuple[float, float]
    voice_level_db: tuple[float, float]
    vibrato_cents: tuple[float, float] = (5.0, 40.0)
    vibrato_rate_hz: tuple[float, float] = (4.5, 6.5)
    detune_cents: float = 8.0
    note_cents: float = 5.0
    tilt_db_per_octave: tuple[float, float] = (-3.0, 3.0)
    tempo_bpm: tuple[float, float] = (60.0, 100.0)


TRAINING = Conditions(
    heard="training",
    tuning_cents=(-20.0, 20.0),
    rt60_s=(0.2, 0.7),
    direct_to_reverb_db=(2.0, 12.0),
    noise_snr_db=(15.0, 40.0),
    voice_level_db=(-9.0, 0.0),
)
TEST = Conditions(
    heard="test",
    tuning_cents=(-40.0, 40.0),
    rt60_s=(0.8, 1.6),
    direct_to_reverb_db=(0.0, 6.0),
    noise_snr_db=(15.0, 32.0),
    voice_level_db=(-10.0, 0.0),
)
CONDITIONS: Mapping[str, Conditions] = {"train": TRAINING, "validation": TRAINING, "test": TEST}


@dataclass(frozen=True, eq=False)
class TimeMap:
    """Matching positions in quarter notes and in seconds."""

    quarters: NDArray[np.float64]
    seconds: NDArray[np.float64]

    def to_seconds(self, quarters: NDArray[np.float64] | float) -> NDArray[np.float64]:
        """Return when positions of the score are played; beyond the ends, at the last tempo."""
        quarters = np.asarray(quarters, dtype=float)
        inside = np.interp(quarters, self.quarters, self.seconds)
        speed = (self.seconds[-1] - self.seconds[-2]) / (self.quarters[-1] - self.quarters[-2])
        return inside + np.maximum(quarters - self.quarters[-1], 0.0) * speed


@dataclass(frozen=True, eq=False)
class Part:
    """One part, ready to sound.

    Either ``notes`` and ``player``, or ``audio`` (dry, shape (samples,)) for what the sound bank
    does not play. ``pan`` goes from -1 (left) to 1 (right) and matters in stereo only.
    """

    name: str
    notes: Notes | None = None
    player: Player | None = None
    level_db: float = 0.0
    pan: float = 0.0
    audio: NDArray[np.float32] | None = None


@dataclass(frozen=True, eq=False)
class Mix:
    """What is heard: (samples,) mono or (2, samples) stereo, in steps of 16 bits.

    ``stems`` holds each part as it is in the mixture.
    """

    mixture: NDArray[np.float32]
    stems: Mapping[str, NDArray[np.float32]]


def draw(rng: np.random.Generator, limits: tuple[float, float]) -> float:
    """Return a number between two limits, uniformly."""
    return float(rng.uniform(*limits))


def choose(rng: np.random.Generator, names: Sequence[str]) -> str:
    """Return one of several names."""
    return str(names[int(rng.integers(len(names)))])


def draw_room(conditions: Conditions, rng: np.random.Generator) -> Room:
    """Return a room such as the conditions allow."""
    return Room(
        rt60_s=draw(rng, conditions.rt60_s),
        direct_to_reverb_db=draw(rng, conditions.direct_to_reverb_db),
        damping=draw(rng, (1.5, 3.0)),
        n_early=int(rng.integers(6, 14)),
    )


def describe_room(room: Room, noise_snr_db: float | None = None) -> str:
    """Return a room, and the noise in it, in words for the annotation."""
    words = f"RT60 {room.rt60_s:.2f} s, direct to reverberant {room.direct_to_reverb_db:.1f} dB"
    return words if noise_snr_db is None else f"{words}, noise {noise_snr_db:.1f} dB below"


def able_players(names: Sequence[str], lowest_midi: int, highest_midi: int) -> list[str]:
    """Return the instruments whose range holds both pitches."""
    ranges = {name: soundbank.instrument_range(name) for name in names}
    return [n for n in names if ranges[n][0] <= lowest_midi and highest_midi <= ranges[n][1]]


def octave_into_range(pitches_midi: NDArray[np.int64], instrument: str) -> int:
    """Return the octaves (in semitones) that bring pitches closest to the middle of a range."""
    low, high = soundbank.instrument_range(instrument)
    middle = 0.5 * (int(pitches_midi.min()) + int(pitches_midi.max()))
    return 12 * round((0.5 * (low + high) - middle) / 12)


def time_map(
    n_quarters: float, tempo_bpm: float, rng: np.random.Generator, *, drift: float = 0.03
) -> TimeMap:
    """Return a tempo that breathes: a slow sine of up to ``drift`` (relative) around the tempo."""
    step = 0.125
    quarters = np.arange(0.0, n_quarters + 1.5 * step, step)
    period = rng.uniform(12.0, 32.0)
    swing = rng.uniform(0.0, drift) * np.sin(
        2 * np.pi * (quarters[:-1] / period + rng.uniform(0.0, 1.0))
    )
    seconds = np.cumsum(60.0 / tempo_bpm * (1.0 + swing) * step)
    return TimeMap(quarters, np.concatenate([[0.0], seconds]))


def skeleton(line: Line, tempo: TimeMap, duration_s: float, *, shift_s: float = 0.0) -> Notes:
    """Return a line in seconds, without what begins before 0 or too late to be heard.

    Notes that would sound beyond ``duration_s`` are cut there.
    """
    onsets_s = tempo.to_seconds(line.onsets_quarters) + shift_s
    ends_s = tempo.to_seconds(line.onsets_quarters + line.durations_quarters) + shift_s
    heard = (onsets_s >= 0.0) & (onsets_s < duration_s - MIN_NOTE_S - 0.05)
    velocities = np.asarray(line.velocities, dtype=float)[heard]
    return Notes(
        onsets_s=onsets_s[heard],
        durations_s=np.minimum(ends_s[heard], duration_s) - onsets_s[heard],
        pitches_midi=np.asarray(line.pitches_midi)[heard],
        velocities=velocities,
        levels_db=ACCENT_DB * (velocities - 1.0),
        cents=np.zeros(int(heard.sum())),
    )


def interpret(
    written: Notes,
    instrument: str,
    tuning_cents: float,
    conditions: Conditions,
    rng: np.random.Generator,
    *,
    polyphonic: bool = False,
) -> tuple[Notes, Player]:
    """Turn a skeleton into what a player plays: timing, articulation, dynamics, intonation.

    With ``polyphonic``, notes may overlap; otherwise each one stops at the next onset.
    """
    n = written.onsets_s.size
    kind, family = soundbank.instrument_kind(instrument), soundbank.instrument_family(instrument)
    if kind == "drums":
        return _interpret_drums(written, instrument, conditions, rng)
    tempered = family in TEMPERED_FAMILIES
    sings = kind == "solo" and family in VIBRATO_FAMILIES and rng.random() < 0.75
    player = Player(
        instrument=instrument,
        vibrato_rate_hz=draw(rng, conditions.vibrato_rate_hz),
        vibrato_cents=draw(rng, conditions.vibrato_cents) if sings else 0.0,
        vibrato_phase=draw(rng, (0.0, 2 * np.pi)),
        vibrato_delay_s=draw(rng, (0.05, 0.3)),
        drift_cents=0.0 if tempered else draw(rng, (0.0, 4.0)),
        drift_rate_hz=draw(rng, (0.1, 0.5)),
        release_s=draw(rng, (0.15, 0.35)),
        tilt_db_per_octave=draw(rng, conditions.tilt_db_per_octave),
    )
    onsets_s = written.onsets_s + rng.uniform(-0.008, 0.008)
    onsets_s = np.maximum(onsets_s + np.clip(rng.normal(0.0, 0.006, n), -0.015, 0.015), 0.0)
    legato = rng.uniform(0.8, 1.0)
    share = np.clip(legato + rng.normal(0.0, 0.04, n), 0.5, 1.0)
    durations_s = np.maximum(written.durations_s * share, MIN_NOTE_S)
    if not polyphonic:
        # A note stops at the next onset at the latest; repeated notes need a gap between them.
        repeated = np.append(np.diff(written.pitches_midi) == 0, False)
        room_s = np.append(np.diff(onsets_s), np.inf) - np.where(repeated, 0.05, 0.0)
        durations_s = np.minimum(durations_s, np.maximum(room_s, MIN_NOTE_S / 2))

    detune = rng.uniform(-1.0, 1.0) * conditions.detune_cents * (0.3 if tempered else 1.0)
    bent = 0.0 if tempered else conditions.note_cents
    strength = rng.uniform(0.2, 1.0)
    swell_db = 2.0 * np.sin(2 * np.pi * (onsets_s / rng.uniform(4.0, 10.0) + rng.uniform(0, 1)))
    notes = Notes(
        onsets_s=onsets_s,
        durations_s=durations_s,
        pitches_midi=written.pitches_midi,
        velocities=np.clip(strength * written.velocities + rng.normal(0.0, 0.1, n), 0.0, 1.0),
        levels_db=swell_db + rng.normal(0.0, 1.5, n) + written.levels_db,
        cents=tuning_cents + detune + np.clip(rng.normal(0.0, 1.0, n), -2.5, 2.5) * bent,
    )
    return notes, player


def _interpret_drums(
    written: Notes, instrument: str, conditions: Conditions, rng: np.random.Generator
) -> tuple[Notes, Player]:
    """Drums are neither tuned nor held: only timing and dynamics vary."""
    n = written.onsets_s.size
    onsets_s = written.onsets_s + rng.uniform(-0.005, 0.005)
    player = Player(instrument, tilt_db_per_octave=draw(rng, conditions.tilt_db_per_octave))
    notes = Notes(
        onsets_s=np.maximum(onsets_s + np.clip(rng.normal(0.0, 0.004, n), -0.01, 0.01), 0.0),
        durations_s=written.durations_s,
        pitches_midi=written.pitches_midi,
        velocities=written.velocities,
        levels_db=written.levels_db + rng.normal(0.0, 1.0, n),
        cents=np.zeros(n),
    )
    return notes, player


def mix(
    parts: Sequence[Part],
    room: Room,
    rng: np.random.Generator,
    *,
    duration_s: float,
    noise_snr_db: float | None = None,
    noise_slope_db: float = 3.0,
    level_db: float = -24.0,
    stereo: bool = False,
) -> Mix:
    """Play all parts in a room.

    Parameters
    ----------
    parts
        What is played; names must differ.
    room
        The room: parts share its impulse response (in stereo, one for each side).
    rng
        Draws the room's details and the noise.
    duration_s
        Length of the result in seconds.
    noise_snr_db
        Level of the parts over that of a background noise whose spectrum falls by
        ``noise_slope_db`` in an octave. None: no noise, and the stems sum to the mixture exactly.
    level_db
        RMS of the mixture below full scale; less where the peak would pass ``PEAK``.
    stereo
        Whether to place the parts between left and right by their ``pan``.
    """
    n_samples = round(duration_s * SAMPLE_RATE)
    dry = np.zeros((len(parts), n_samples), dtype=np.float32)
    for row, part in zip(dry, parts, strict=True):
        if part.audio is not None:
            row[:] = part.audio
        else:
            row[:] = renderer.render_voice(part.notes, part.player, n_samples)
        row *= np.float32(db_to_amplitude(part.level_db))
    tilts_db = [part.player.tilt_db_per_octave if part.player else 0.0 for part in parts]
    if stereo:
        angles = (np.array([part.pan for part in parts]) + 1.0) * np.pi / 4
        sides = np.stack([np.cos(angles), np.sin(angles)], axis=1)
        responses = np.stack([renderer.impulse_response(room, rng) for _ in range(2)])
        wet = renderer.place_on_stage(dry, responses, tilts_db, sides)  # (parts, 2, samples)
    else:
        wet = renderer.place_in_room(dry, renderer.impulse_response(room, rng), tilts_db)
    clean = wet.sum(axis=0)
    mixture = clean
    if noise_snr_db is not None:
        noise = renderer.background_noise(n_samples, noise_slope_db, rng)
        noise *= np.float32(np.sqrt(np.mean(clean**2)) * db_to_amplitude(-noise_snr_db))
        mixture = clean + noise
    loudness = db_to_amplitude(level_db) / max(np.sqrt(np.mean(mixture**2)), 1e-9)
    peak = max(mixture.max(), -mixture.min(), wet.max(), -wet.min(), 1e-9)
    gain = np.float32(min(loudness, PEAK / peak))
    stems = {part.name: finish(sound, gain) for part, sound in zip(parts, wet, strict=True)}
    if noise_snr_db is not None:
        return Mix(finish(mixture, gain), stems)
    # Multiples of 2**-15 below 1 add without rounding, in any order.
    return Mix(np.sum(list(stems.values()), axis=0), stems)


def finish(audio: NDArray[np.float32], gain: np.float32) -> NDArray[np.float32]:
    """Scale, fade the cut end out, and round to 16 bits so that files compress well."""
    audio = audio * gain
    fade = SAMPLE_RATE // 200
    audio[..., -fade:] *= np.linspace(1.0, 0.0, fade, dtype=np.float32)
    return np.round(audio * np.float32(32768.0)) / np.float32(32768.0)
