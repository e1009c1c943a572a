"""The corpus ``chorales``: Bach's four-part chorales, performed anew for every track.

Conventions: a track is one performance of an excerpt of one chorale. Tracks are numbered from 0; in
each group of six, one is for validation, one for test and four are for training, so the first N
tracks of a longer corpus are the corpus of N tracks. Track k depends on (k, seed) alone.

Splits go by *tune* (the melody that a chorale harmonises): which tune belongs to which split is
fixed by its name, for every seed and number of tracks. The test split is played by instruments and
in rooms that training and validation never hear, further out of tune, and in more noise.
A corpus with more tracks than a split has chorales performs them again, differently.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from dl101.data.embedded import renderer, soundbank
from dl101.data.embedded.renderer import SAMPLE_RATE, Notes, Player, Room
from dl101.data.embedded.scores import VOICES, Chorale, load_chorales
from dl101.data.splits import split_by_group
from dl101.errors import ConfigError
from dl101.units import db_to_amplitude

NAME = "chorales"
DEFAULT_TRACKS = 60
DURATION_S = 15.0
SPLITS = ("train", "validation", "test")
# Which split each of six consecutive tracks belongs to: 4 to 1 to 1, all three from the start.
PATTERN = ("train", "validation", "test", "train", "train", "train")

LOWEST_MIDI, HIGHEST_MIDI = 35, 86  # what some instrument of the bank plays
MIN_NOTE_S = 0.06
LEVEL_DB = (-30.0, -20.0)  # RMS of the mixture below full scale
PEAK = 0.85  # no sample of a mixture or stem is larger
VIBRATO_FAMILIES = ("bowed", "brass", "flute", "reed", "voice")
TEMPERED_FAMILIES = ("keyboard", "organ", "plucked")  # the player cannot bend single notes


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
    doubled: float = 0.15  # chances, for each voice and for each track
    absent: float = 0.1
    same_instrument_every: int = 6  # tracks of a split, so that a small corpus has its share


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
class Track:
    """One performance and everything that is known about it.

    ``mixture`` has shape (samples,), float32 at 22 050 Hz; ``stems`` holds the voices that sound,
    as they are in the mixture (which is their sum plus noise). ``f0_midi`` has one curve per
    sounding voice, every 10 ms, NaN where it is silent.
    """

    name: str
    split: str
    chorale: Chorale
    instruments: Mapping[str, str]
    tempo_bpm: float
    tuning_cents: float
    transposition_semitones: int
    room: Room
    noise_snr_db: float
    mixture: NDArray[np.float32]
    stems: Mapping[str, NDArray[np.float32]]
    notes: Mapping[str, Notes]
    f0_midi: Mapping[str, NDArray[np.float64]]


@lru_cache(maxsize=1)
def tune_splits() -> Mapping[str, str]:
    """Return the split of every tune; it depends on the tunes' names alone."""
    return split_by_group(
        [chorale.tune for chorale in load_chorales()], fractions=(2 / 3, 1 / 6, 1 / 6)
    )


def track_split(index: int) -> tuple[str, int]:
    """Return the split of a track, and its number within that split."""
    block, place = divmod(index, len(PATTERN))
    split = PATTERN[place]
    return split, block * PATTERN.count(split) + PATTERN[:place].count(split)


@lru_cache(maxsize=16)
def playlist(split: str, seed: int) -> tuple[Chorale, ...]:
    """Return the chorales of a split in the order in which tracks take them.

    Each tune is heard once before any tune is heard in a second harmonisation.
    """
    rng = np.random.default_rng([seed, SPLITS.index(split)])
    by_tune: dict[str, list[Chorale]] = {}
    for chorale in load_chorales():
        if tune_splits()[chorale.tune] == split:
            by_tune.setdefault(chorale.tune, []).append(chorale)
    groups = [
        [by_tune[tune][i] for i in rng.permutation(len(by_tune[tune]))] for tune in sorted(by_tune)
    ]
    groups = [groups[i] for i in rng.permutation(len(groups))]
    rounds = range(max(len(group) for group in groups))
    return tuple(group[turn] for turn in rounds for group in groups if turn < len(group))


def render_track(index: int, *, seed: int = 0, duration_s: float = DURATION_S) -> Track:
    """Perform track number ``index``: the same arguments always give the same samples.

    Parameters
    ----------
    index
        Number of the track in the corpus, from 0.
    seed
        Another seed gives other pieces, instruments, rooms, ... in the same splits.
    duration_s
        Length of the excerpt; a chorale that ends sooner is followed by noise alone.

    Raises
    ------
    ConfigError
        For a negative index or seed, or an excerpt under one second.
    """
    if index < 0 or seed < 0 or duration_s < 1.0:
        raise ConfigError(
            f"track of the corpus {NAME!r}",
            got=f"index {index}, seed {seed}, duration_s {duration_s}",
            expected="index and seed of 0 or more, duration_s of 1.0 or more",
            hint="correct the argument",
        )
    split, number = track_split(index)
    pieces = playlist(split, seed)
    chorale = pieces[number % len(pieces)]
    conditions = CONDITIONS[split]
    rng = np.random.default_rng([seed, SPLITS.index(split), number])

    tempo_bpm = _draw(rng, conditions.tempo_bpm)
    tuning_cents = _draw(rng, conditions.tuning_cents)
    transposition = _transposition(chorale, rng)
    room = Room(
        rt60_s=_draw(rng, conditions.rt60_s),
        direct_to_reverb_db=_draw(rng, conditions.direct_to_reverb_db),
        damping=_draw(rng, (1.5, 3.0)),
        n_early=int(rng.integers(6, 14)),
    )
    noise_snr_db = _draw(rng, conditions.noise_snr_db)
    noise_slope_db = _draw(rng, (0.0, 6.0))
    level_db = _draw(rng, LEVEL_DB)
    absent = rng.choice(VOICES) if rng.random() < conditions.absent else None
    excerpt = _excerpt(chorale, tempo_bpm, transposition, duration_s, rng)
    excerpt = {voice: notes for voice, notes in excerpt.items() if voice != absent}
    together = number % conditions.same_instrument_every == 3
    casting = _casting(excerpt, conditions, together, rng)

    n_samples = round(duration_s * SAMPLE_RATE)
    dry = np.zeros((len(excerpt), n_samples), dtype=np.float32)
    tilts_db, played, f0_midi = [], {}, {}
    for row, (voice, skeleton) in enumerate(excerpt.items()):
        # The first player is the one annotated; a second one doubles it almost in tune.
        for name in reversed(casting[voice]):
            notes, player = _interpret(skeleton, name, tuning_cents, conditions, rng)
            dry[row] += renderer.render_voice(notes, player, n_samples)
        dry[row] *= np.float32(db_to_amplitude(_draw(rng, conditions.voice_level_db)))
        tilts_db.append(player.tilt_db_per_octave)
        played[voice] = notes
        f0_midi[voice] = renderer.f0_curve(notes, player, duration_s)

    wet = renderer.place_in_room(dry, renderer.impulse_response(room, rng), tilts_db)
    clean = wet.sum(axis=0)
    noise = renderer.background_noise(n_samples, noise_slope_db, rng)
    noise *= np.float32(np.sqrt(np.mean(clean**2)) * db_to_amplitude(-noise_snr_db))
    mixture = clean + noise
    loudness = db_to_amplitude(level_db) / np.sqrt(np.mean(mixture**2))
    gain = np.float32(min(loudness, PEAK / max(np.abs(mixture).max(), np.abs(wet).max())))
    return Track(
        name=f"{index:04d}-bwv{_padded(chorale.bwv)}",
        split=split,
        chorale=chorale,
        instruments={voice: "+".join(names) for voice, names in casting.items()},
        tempo_bpm=tempo_bpm,
        tuning_cents=tuning_cents,
        transposition_semitones=transposition,
        room=room,
        noise_snr_db=noise_snr_db,
        mixture=_finish(mixture, gain),
        stems={voice: _finish(wet[row], gain) for row, voice in enumerate(excerpt)},
        notes=played,
        f0_midi=f0_midi,
    )


def _draw(rng: np.random.Generator, limits: tuple[float, float]) -> float:
    return float(rng.uniform(*limits))


def _padded(bwv: str) -> str:
    """Return a catalogue number whose first part has four digits: 153.1 becomes 0153.1."""
    head, dot, rest = bwv.partition(".")
    return f"{int(head):04d}{dot}{rest}"


def _transposition(chorale: Chorale, rng: np.random.Generator) -> int:
    """Draw a transposition by up to three semitones that stays in the bank's range."""
    lowest = min(int(voice.pitches_midi.min()) for voice in chorale.voices.values())
    highest = max(int(voice.pitches_midi.max()) for voice in chorale.voices.values())
    low, high = max(-3, LOWEST_MIDI - lowest), min(3, HIGHEST_MIDI - highest)
    return int(rng.integers(low, high + 1))


def _time_map(
    chorale: Chorale, tempo_bpm: float, rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return matching positions in quarter notes and in seconds: a drifting tempo that rests.

    Every fermata is held longer, in all voices at once.
    """
    step = 0.125
    quarters = np.arange(0.0, chorale.duration_quarters + step / 2, step)
    period = rng.uniform(12.0, 32.0)
    drift = rng.uniform(0.0, 0.08) * np.sin(
        2 * np.pi * (quarters[:-1] / period + rng.uniform(0.0, 1.0))
    )
    seconds_per_quarter = 60.0 / tempo_bpm * (1.0 + drift)
    for begin, end in chorale.fermatas_quarters:
        held = (quarters[:-1] >= begin) & (quarters[:-1] < end)
        seconds_per_quarter[held] *= rng.uniform(1.1, 1.8)
    return quarters, np.concatenate([[0.0], np.cumsum(seconds_per_quarter * step)])


def _excerpt(
    chorale: Chorale,
    tempo_bpm: float,
    transposition: int,
    duration_s: float,
    rng: np.random.Generator,
) -> dict[str, Notes]:
    """Return the notes of each voice in an excerpt that begins with a phrase."""
    quarters, seconds = _time_map(chorale, tempo_bpm, rng)
    begins = np.concatenate([[0.0], chorale.fermatas_quarters[:, 1]])
    begins_s = np.interp(begins, quarters, seconds)
    possible = np.flatnonzero(seconds[-1] - begins_s >= duration_s - 2.0)
    chosen = int(rng.choice(possible)) if possible.size else 0
    shift_s = rng.uniform(0.1, 0.6) - begins_s[chosen]

    excerpt = {}
    for voice in VOICES:
        score = chorale.voices[voice]
        onsets_s = np.interp(score.onsets_quarters, quarters, seconds) + shift_s
        ends_s = np.interp(score.onsets_quarters + score.durations_quarters, quarters, seconds)
        ends_s += shift_s
        heard = score.onsets_quarters >= begins[chosen] - 1e-9
        heard &= onsets_s < duration_s - MIN_NOTE_S - 0.05
        n = int(heard.sum())
        excerpt[voice] = Notes(
            onsets_s=onsets_s[heard],
            durations_s=np.minimum(ends_s[heard], duration_s) - onsets_s[heard],
            pitches_midi=score.pitches_midi[heard] + transposition,
            velocities=np.ones(n),
            levels_db=np.zeros(n),
            cents=np.zeros(n),
        )
    return {voice: notes for voice, notes in excerpt.items() if notes.onsets_s.size}


def _casting(
    excerpt: Mapping[str, Notes], conditions: Conditions, together: bool, rng: np.random.Generator
) -> dict[str, tuple[str, ...]]:
    """Choose who plays each voice: one instrument for all, or each its own; some are doubled."""
    able = {}
    for voice, notes in excerpt.items():
        low, high = int(notes.pitches_midi.min()), int(notes.pitches_midi.max())
        able[voice] = [
            name
            for name in soundbank.instrument_names(conditions.heard)
            if soundbank.instrument_range(name)[0] <= low
            and high <= soundbank.instrument_range(name)[1]
        ]
    common = sorted(set.intersection(*(set(names) for names in able.values())))
    everyone = str(rng.choice(common)) if together and common else None
    casting = {}
    for voice, names in able.items():
        first = everyone or str(rng.choice(names))
        others = [name for name in names if name != first]
        doubled = everyone is None and rng.random() < conditions.doubled and others
        casting[voice] = (first, str(rng.choice(others))) if doubled else (first,)
    return casting


def _interpret(
    skeleton: Notes,
    instrument: str,
    tuning_cents: float,
    conditions: Conditions,
    rng: np.random.Generator,
) -> tuple[Notes, Player]:
    """Turn written notes into played ones: timing, articulation, dynamics, intonation."""
    n = skeleton.onsets_s.size
    kind, family = soundbank.instrument_kind(instrument), soundbank.instrument_family(instrument)
    tempered = family in TEMPERED_FAMILIES
    sings = kind == "solo" and family in VIBRATO_FAMILIES and rng.random() < 0.75
    player = Player(
        instrument=instrument,
        vibrato_rate_hz=_draw(rng, conditions.vibrato_rate_hz),
        vibrato_cents=_draw(rng, conditions.vibrato_cents) if sings else 0.0,
        vibrato_phase=_draw(rng, (0.0, 2 * np.pi)),
        vibrato_delay_s=_draw(rng, (0.05, 0.3)),
        drift_cents=0.0 if tempered else _draw(rng, (0.0, 4.0)),
        drift_rate_hz=_draw(rng, (0.1, 0.5)),
        release_s=_draw(rng, (0.15, 0.35)),
        tilt_db_per_octave=_draw(rng, conditions.tilt_db_per_octave),
    )
    onsets_s = skeleton.onsets_s + rng.uniform(-0.008, 0.008)
    onsets_s = np.maximum(onsets_s + np.clip(rng.normal(0.0, 0.006, n), -0.015, 0.015), 0.0)
    legato = rng.uniform(0.8, 1.0)
    share = np.clip(legato + rng.normal(0.0, 0.04, n), 0.5, 1.0)
    durations_s = np.maximum(skeleton.durations_s * share, MIN_NOTE_S)
    # A note stops at the next onset at the latest; repeated notes need a gap to be heard as two.
    repeated = np.append(np.diff(skeleton.pitches_midi) == 0, False)
    room_s = np.append(np.diff(onsets_s), np.inf) - np.where(repeated, 0.05, 0.0)
    durations_s = np.minimum(durations_s, np.maximum(room_s, MIN_NOTE_S / 2))

    detune = rng.uniform(-1.0, 1.0) * conditions.detune_cents * (0.3 if tempered else 1.0)
    bent = 0.0 if tempered else conditions.note_cents
    strength = rng.uniform(0.2, 1.0)
    swell_db = 2.0 * np.sin(2 * np.pi * (onsets_s / rng.uniform(4.0, 10.0) + rng.uniform(0, 1)))
    notes = Notes(
        onsets_s=onsets_s,
        durations_s=durations_s,
        pitches_midi=skeleton.pitches_midi,
        velocities=np.clip(strength + rng.normal(0.0, 0.1, n), 0.0, 1.0),
        levels_db=swell_db + rng.normal(0.0, 1.5, n),
        cents=tuning_cents + detune + np.clip(rng.normal(0.0, 1.0, n), -2.5, 2.5) * bent,
    )
    return notes, player


def _finish(audio: NDArray[np.float32], gain: np.float32) -> NDArray[np.float32]:
    """Scale, fade the cut end out, and round to 16 bits so that the file compresses well."""
    audio = audio * gain
    fade = SAMPLE_RATE // 200
    audio[-fade:] *= np.linspace(1.0, 0.0, fade, dtype=np.float32)
    return np.round(audio * np.float32(32768.0)) / np.float32(32768.0)
