"""The shipped sound bank: recorded single notes, ready to be read at any speed.

Conventions: notes are mono. On disk they are OGG Vorbis at 22 050 Hz; in memory they are
oversampled by two (44 100 Hz), so that cubic interpolation between samples stays clean. A note is
recorded at its nominal MIDI pitch, without vibrato and without its natural decay, which
:attr:`BankNote.decay_db_per_s` puts back; behind ``loop_stop`` it goes on at ``loop_start``, for
as long as wanted. Positions are counted in oversampled samples. A sound that dies away soon
(a xylophone, a drum) is kept as recorded until it is silent; it goes on as silence.

A drum kit is an instrument of kind ``"drums"`` whose pitches are General MIDI drum numbers (36 bass
drum, 38 snare drum, 42 closed hi-hat, ...): each is one piece of the kit, with its own pitch.

Instruments are either ``heard="training"`` (training and validation) or ``heard="test"`` (test
only); both sides have instruments of most classes, from other recordings.
``tools/build_soundbank.py`` makes the files; licence and origin stand in ``soundbank.json``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache

import numpy as np
import scipy.signal
import soundfile
from numpy.typing import NDArray

from dl101.data.embedded.scores import ASSETS
from dl101.errors import DataError

OVERSAMPLING = 2
PADDING = 4  # samples behind the loop's end, for interpolation


@dataclass(frozen=True, eq=False)
class BankNote:
    """One recorded note: as it is on disk (``recorded``) and ready to be read (``samples``)."""

    midi: int
    layer: int
    recorded: NDArray[np.float32]
    loop_start: int
    loop_stop: int
    decay_db_per_s: float

    @cached_property
    def samples(self) -> NDArray[np.float32]:
        """The attack, the loop, and ``PADDING`` samples that repeat the loop's beginning.

        Float32; the loop's end is cross-faded with what precedes its beginning. Made when the note
        is first played, since most tracks play few of the bank's notes.
        """
        samples = scipy.signal.resample_poly(self.recorded, OVERSAMPLING, 1).astype(np.float32)
        start, stop = self.loop_start, self.loop_stop
        if start == samples.size:  # it rang out: silence is looped
            return np.concatenate([samples, np.zeros(stop - start + PADDING, dtype=np.float32)])
        width = _crossfade_samples()
        ending, before = samples[stop - width : stop], samples[start - width : start]
        # The gain keeps the power even where the two sides are not alike (ensembles).
        rising = np.linspace(0.0, 1.0, width, dtype=np.float32)
        alike = float(ending @ before / np.sqrt((ending @ ending) * (before @ before) + 1e-20))
        power = rising**2 + (1 - rising) ** 2 + 2 * rising * (1 - rising) * max(alike, 0.0)
        samples[stop - width : stop] = ((1 - rising) * ending + rising * before) / np.sqrt(power)
        return np.concatenate([samples[:stop], samples[start : start + PADDING]])


@dataclass(frozen=True, eq=False)
class Instrument:
    """The notes of one instrument; with two layers, layer 0 was played softly."""

    name: str
    family: str
    kind: str  # "solo", "ensemble" (several players: no vibrato of ours), "struck" or "drums"
    heard: str
    notes: tuple[BankNote, ...]

    @cached_property
    def _layers(self) -> list[list[BankNote]]:
        """The notes of each layer."""
        layers = range(1 + max(note.layer for note in self.notes))
        return [[note for note in self.notes if note.layer == layer] for layer in layers]

    def nearest(self, pitch_midi: float, velocity: float) -> BankNote:
        """Return the recorded note to play a pitch from; ``velocity`` is in [0, 1].

        Raises
        ------
        DataError
            For a drum that the kit does not have: no other drum could stand for it.
        """
        candidates = self._layers[int(velocity >= 0.5) if len(self._layers) > 1 else 0]
        nearest = min(candidates, key=lambda note: (abs(note.midi - pitch_midi), note.midi))
        if self.kind == "drums" and nearest.midi != pitch_midi:
            raise DataError(
                f"piece of the drum kit {self.name!r}",
                got=f"{pitch_midi:g}",
                expected=f"one of {', '.join(str(note.midi) for note in candidates)}",
                hint="a drum's pitch is its General MIDI number, exactly",
            )
        return nearest


@lru_cache(maxsize=1)
def describe_bank() -> Mapping:
    """Return ``soundbank.json``: rate, licence, and for each instrument its file and notes."""
    return json.loads((ASSETS / "soundbank.json").read_text(encoding="utf-8"))


def instrument_names(
    heard: str | None = None, *, instrument_class: str | None = None, family: str | None = None
) -> tuple[str, ...]:
    """Return the instruments, by name, of which all that is given is true.

    Parameters
    ----------
    heard
        ``"training"`` (training and validation) or ``"test"``; by default both.
    instrument_class, family
        As in :func:`instrument_class` and :func:`instrument_family`; by default all.
    """
    asked = {"heard": heard, "class": instrument_class, "family": family}
    asked = {field: value for field, value in asked.items() if value is not None}
    return tuple(
        name
        for name, entry in sorted(describe_bank()["instruments"].items())
        if all(entry[field] == value for field, value in asked.items())
    )


def instrument_class(name: str) -> str:
    """Return what an instrument is labelled as: ``"acoustic-guitar"``, ``"drums"``, ..."""
    return _entry(name)["class"]


def instrument_range(name: str) -> tuple[int, int]:
    """Return the lowest and the highest MIDI pitch that an instrument plays."""
    entry = _entry(name)
    if "range" in entry:
        return tuple(entry["range"])
    midi = [note["midi"] for note in entry["notes"]]  # a drum kit
    return min(midi), max(midi)


def instrument_kind(name: str) -> str:
    """Return ``"solo"``, ``"ensemble"``, ``"struck"`` or ``"drums"``."""
    return _entry(name)["kind"]


def instrument_family(name: str) -> str:
    """Return an instrument's family: ``"bowed"``, ``"brass"``, ``"keyboard"``, ..."""
    return _entry(name)["family"]


@cache
def load_instrument(name: str) -> Instrument:
    """Decode an instrument (about 30 ms); kept for the next call."""
    bank, entry = describe_bank(), _entry(name)
    whole, sample_rate = soundfile.read(ASSETS / entry["file"], dtype="float32")
    if sample_rate != bank["sample_rate"]:
        raise DataError(
            f"sound bank file {entry['file']}",
            got=f"{sample_rate} Hz",
            expected=f"{bank['sample_rate']} Hz",
            hint="rebuild the bank with tools/build_soundbank.py",
        )
    notes = tuple(_note(whole, note) for note in entry["notes"])
    return Instrument(name, entry["family"], entry["kind"], entry["heard"], notes)


def _note(whole: NDArray[np.float32], note: Mapping) -> BankNote:
    """Cut a note out of its file."""
    recorded = whole[note["start"] : note["start"] + note["length"]]
    if "loop_start" in note:
        loop = (note["loop_start"] * OVERSAMPLING, note["loop_stop"] * OVERSAMPLING)
        return BankNote(note["midi"], note["layer"], recorded, *loop, note["decay_db_per_s"])
    end = recorded.size * OVERSAMPLING
    return BankNote(note["midi"], note["layer"], recorded, end, end + _crossfade_samples(), 0.0)


@cache
def _crossfade_samples() -> int:
    bank = describe_bank()
    return int(bank["crossfade_s"] * bank["sample_rate"]) * OVERSAMPLING


def _entry(name: str) -> Mapping:
    entries = describe_bank()["instruments"]
    if name not in entries:
        raise DataError(
            "instrument of the sound bank",
            got=repr(name),
            expected=f"one of {', '.join(sorted(entries))}",
            hint="pick one of these names",
        )
    return entries[name]
