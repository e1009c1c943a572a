"""``notes``: single notes of eleven families, a third of them guitars.

Conventions: a track is one dry note, mono. Velocity is MIDI's, one of 25, 50, 75, 100 and 127: the
harder, the louder and brighter. The level of a note (RMS of the whole track) depends on its
velocity alone.

A *source* is a recording of the sound bank, an *instrument* a source with a body of its own: a few
resonances and a tilt of the timbre that all of its notes share. No instrument is on two sides. The
sources of the test side are heard nowhere else; training and validation have the same sources in
different bodies. Guitars are plucked at different places of the string, which cancels the harmonics
that have a node there (a comb filter: Jaffe and Smith, "Extensions of the Karplus-Strong
plucked-string algorithm", 1983).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from dl101.data.embedded import performer, renderer, soundbank
from dl101.data.embedded.annotations import DEFINITIONS, f0_atom, labels, note_atoms
from dl101.data.embedded.band import deal
from dl101.data.embedded.performer import choose, draw
from dl101.data.embedded.recipe import Item, Recipe, generator, track_split
from dl101.data.embedded.renderer import SAMPLE_RATE, Notes, Player
from dl101.data.splits import SIDES
from dl101.units import db_to_amplitude, midi_to_hz

DURATION_S = 1.25
HELD = 0.68  # share of the track for which a note is held
ONSET_S = 0.02
VELOCITIES = (25, 50, 75, 100, 127)
LEVEL_DB = -28.0  # RMS at the highest velocity
SOFTEST_DB = -12.0  # at the lowest, relative to the highest

# NSynth's families: the bank's family and, where not all of it belongs, the classes that do.
FAMILIES: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "bass": ("bass", ()),
    "brass": ("brass", ()),
    "flute": ("flute", ()),
    "guitar": ("plucked", ("acoustic-guitar", "electric-guitar", "distorted-guitar")),
    "keyboard": ("keyboard", ()),
    "mallet": ("mallets", ()),
    "organ": ("organ", ()),
    "reed": ("reed", ()),
    "string": ("bowed", ()),
    "synth_lead": ("synth", ("synth",)),
    "vocal": ("voice", ()),
}
GUITAR = "guitar"
# Of fifteen tracks of a split five are guitars, and one is of each other family.
BLOCK = (*(GUITAR,) * 4, *FAMILIES)
# Bodies that a source has on each side; validation shares the sources of training.
BODIES: Mapping[str, range] = {"train": range(6), "validation": range(6, 8), "test": range(4)}

PLUCKED = ("normal", "normal", "bridge", "neck", "muted", "short", "bent", "vibrato")
STRUCK = ("normal", "normal", "short", "bright", "dark")
SUNG = ("normal", "normal", "vibrato", "bent", "short", "bright", "dark")  # by one player
HELD_DOWN = ("normal", "normal", "short", "bright", "dark")
STYLES = tuple(sorted({*PLUCKED, *STRUCK, *SUNG, *HELD_DOWN}))

# What random numbers are for, so that no two uses share them.
_FAMILY, _PLAN, _SOUND = range(1, 4)


@dataclass(frozen=True)
class Plan:
    """What a track will be: ``instrument`` is the name of ``source`` with a number for its body."""

    split: str
    family: str
    source: str
    instrument: str
    pitch_midi: int
    velocity: int
    style: str


def sources(family: str, heard: str) -> list[str]:
    """Return the instruments of the bank in a family of NSynth; ``heard`` as in the bank."""
    bank_family, classes = FAMILIES[family]
    names = soundbank.instrument_names(heard, family=bank_family)
    return [name for name in names if not classes or soundbank.instrument_class(name) in classes]


def plan(index: int, seed: int = 0) -> Plan:
    """Return what track ``index`` is, without rendering it."""
    split, number = track_split(index)
    family = deal(BLOCK, number, seed, SIDES.index(split), _FAMILY, 0)
    rng = generator(seed, index, _PLAN)
    source = choose(rng, sources(family, performer.CONDITIONS[split].heard))
    low, high = soundbank.instrument_range(source)
    return Plan(
        split=split,
        family=family,
        source=source,
        instrument=f"{source}-{rng.choice(BODIES[split]):02d}",
        pitch_midi=int(rng.integers(low, high + 1)),
        velocity=int(rng.choice(VELOCITIES)),
        style=choose(rng, _styles(family, source)),
    )


def _styles(family: str, source: str) -> tuple[str, ...]:
    if family == GUITAR:
        return PLUCKED
    if soundbank.instrument_kind(source) == "struck":
        return STRUCK
    bank_family = soundbank.instrument_family(source)
    alone = soundbank.instrument_kind(source) == "solo"
    return SUNG if alone and bank_family != "organ" else HELD_DOWN


def perform(
    planned: Plan, duration_s: float, rng: np.random.Generator
) -> tuple[NDArray[np.float32], Notes, Player]:
    """Return the sound of a note, shape (samples,), and the note as it is played."""
    notes, player = _play(planned, duration_s, rng)
    audio = renderer.render_voice(notes, player, round(duration_s * SAMPLE_RATE))
    if planned.style == "muted":  # the hand on the strings takes the sound away
        time_s = np.maximum(np.arange(audio.size) / SAMPLE_RATE - ONSET_S, 0.0)
        audio *= db_to_amplitude(-draw(rng, (40.0, 100.0)) * time_s).astype(np.float32)
    audio = _shape(audio, planned, rng)
    rms = float(np.sqrt(np.mean(audio**2)))
    loudness_db = LEVEL_DB + SOFTEST_DB * (1.0 - _strength(planned.velocity))
    # A note with so sharp an attack that it would not fit is softer.
    gain = min(float(db_to_amplitude(loudness_db)) / rms, performer.PEAK / np.abs(audio).max())
    return performer.finish(audio, np.float32(gain)), notes, player


def render(
    index: int, *, seed: int = 0, duration_s: float = DURATION_S, extras: bool = False
) -> list[Item]:
    """Return a note; there are no extras."""
    planned = plan(index, seed)
    audio, notes, player = perform(planned, duration_s, generator(seed, index, _SOUND))
    fields = labels(
        family=planned.family,
        instrument=planned.instrument,
        velocity=planned.velocity,
        style=planned.style,
        tuning_cents=notes.cents[0],
        split=planned.split,
        role="mixture",
    )
    fields["pitchmidi"] = note_atoms([notes])
    fields["f0"] = (f0_atom([renderer.f0_curve(notes, player, duration_s)]),)
    return [Item(f"{index:05d}-{planned.split}.wav", audio, SAMPLE_RATE, fields)]


def _strength(velocity: int) -> float:
    """Return 0 for the lowest velocity, 1 for the highest."""
    return (velocity - VELOCITIES[0]) / (VELOCITIES[-1] - VELOCITIES[0])


def _play(planned: Plan, duration_s: float, rng: np.random.Generator) -> tuple[Notes, Player]:
    """Return the note and how it is played."""
    held_s = HELD * duration_s
    vibrato_cents = draw(rng, (20.0, 50.0)) if planned.style == "vibrato" else 0.0
    bend_cents = draw(rng, (60.0, 200.0)) if planned.style == "bent" else 0.0
    if planned.style in ("short", "muted"):
        held_s *= draw(rng, (0.15, 0.3))
    notes = Notes(
        onsets_s=np.array([ONSET_S]),
        durations_s=np.array([held_s]),
        pitches_midi=np.array([planned.pitch_midi]),
        velocities=np.array([planned.velocity / 127.0]),
        levels_db=np.zeros(1),
        cents=np.array([draw(rng, (-8.0, 8.0))]),
    )
    player = Player(
        instrument=planned.source,
        vibrato_rate_hz=draw(rng, (4.5, 6.5)),
        vibrato_cents=vibrato_cents,
        vibrato_phase=draw(rng, (0.0, 2 * np.pi)),
        vibrato_delay_s=0.08,
        # A bend is a quarter of a slow sine: it leaves the pitch at the onset.
        drift_cents=bend_cents,
        drift_rate_hz=0.25 / draw(rng, (0.6 * held_s, held_s)),
        release_s=draw(rng, (0.15, 0.3)),
    )
    return notes, player


def _shape(
    audio: NDArray[np.float32], planned: Plan, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Return the sound of a string, through its body, struck as hard as planned."""
    n_fft = scipy.fft.next_fast_len(audio.size + SAMPLE_RATE // 5, real=True)
    frequency_hz = np.maximum(np.arange(n_fft // 2 + 1) * (SAMPLE_RATE / n_fft), 1.0)
    f0_hz = float(midi_to_hz(planned.pitch_midi))
    tilt_db, response = body(planned.instrument, frequency_hz)
    tilt_db += 3.0 * (_strength(planned.velocity) - 1.0)
    tilt_db += {"bright": 2.0, "dark": -3.0, "muted": -3.0}.get(planned.style, 0.0)
    response *= db_to_amplitude(tilt_db * np.log2(np.maximum(frequency_hz, f0_hz) / 1000.0))
    if planned.family == GUITAR:
        places = {"bridge": (0.05, 0.1), "neck": (0.35, 0.5)}  # shares of the string's length
        delay_s = draw(rng, places.get(planned.style, (0.15, 0.25))) / f0_hz
        response *= 1.0 - 0.85 * np.exp(-2j * np.pi * frequency_hz * delay_s)
    # No part of a note lies below its fundamental: what a recording has there is rumble.
    below = 0.5j * f0_hz / frequency_hz
    response /= 1.0 - np.sqrt(2.0) * below + below**2  # Butterworth high-pass, an octave below
    transfer = response.astype(np.complex64)  # keeps the sound in single precision
    return scipy.fft.irfft(scipy.fft.rfft(audio, n_fft) * transfer, n_fft)[: audio.size]


def body(
    instrument: str, frequency_hz: NDArray[np.float64]
) -> tuple[float, NDArray[np.complex128]]:
    """Return an instrument's tilt (dB per octave) and the frequency response of its resonances.

    Resonances are second-order band-passes beside the direct sound; what they are depends on the
    instrument's name alone.
    """
    rng = np.random.default_rng([*instrument.encode()])
    tilt_db = draw(rng, (-1.0, 1.0))
    response = np.ones(frequency_hz.shape, dtype=complex)
    for _ in range(5):
        centre_hz = 100.0 * 40.0 ** rng.uniform()
        sharpness, gain = draw(rng, (2.0, 6.0)), draw(rng, (-0.4, 0.8))
        detuning = frequency_hz / centre_hz - centre_hz / frequency_hz
        response += gain / (1.0 + 1j * sharpness * detuning)
    return tilt_db, response


_FIELDS = ("family", "instrument", "velocity", "style", "tuning-cents", "split", "role")
RECIPE = Recipe(
    name="notes",
    title="Single notes of eleven families of instruments, a third of them guitars",
    stands_for="NSynth",
    default_tracks=960,
    duration_s=DURATION_S,
    unit="instrument",
    definitions={name: DEFINITIONS[name] for name in (*_FIELDS, "pitchmidi", "f0")},
    render=render,
    provenance="the sound bank",
)
