"""Sounds whose cause is known: an instrument that enters a song, and a note that enters a chord.

Conventions. What is planted enters in the middle of what a network is shown, and is also rendered
alone, so that two things are known which no recording tells: by how much its presence changes a
score (the *effect*: the score with it minus the score without it), and in which cells of the input
it is louder than everything else (the *truth*, bool, of the input's shape). Inputs are
(1, channel, row, frame).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dl101.data.embedded import band, renderer, soundbank
from dl101.data.embedded.corpora import chorales
from dl101.data.embedded.corpora import tags as corpus
from dl101.data.embedded.recipe import track_split
from dl101.data.embedded.renderer import Notes, Player
from dl101.signal import mel, stft, waveforms
from dl101.signal.cqt import HcqtConfig
from dl101.systems import auto_tagging, auto_tagging_data, multi_pitch
from dl101.training import pitch_tracks
from dl101.units import db_to_amplitude, midi_to_hz, note_name

ENTRY_S = 3.0  # when the instrument enters a song
LEAST_EFFECT = 1.0  # in the logit: what a network does not hear has no true place
SHARES = (0.03, 0.6)  # of the cells that the truth may have
FIRST_SEED = 100  # of songs that no network of the book was trained on


@dataclass(frozen=True, eq=False)
class Planted:
    """One sound and what was planted in it.

    Attributes
    ----------
    name
        What was planted: a tag, or a pitch.
    audio, without, alone
        (time,) what is heard, the same without what was planted, and that alone.
    x, x_without
        Inputs, (1, channel, row, frame).
    truth
        Where it dominates, (1, channel, row, frame) bool.
    network, unit
        Who is asked, and which of its outputs: ``unit`` maps what it puts out to (item,).
    reference
        What stands for "nothing", an input that broadcasts to ``x``.
    tile
        Rows and frames that are covered at once.
    """

    name: str
    audio: NDArray[np.float32]
    without: NDArray[np.float32]
    alone: NDArray[np.float32]
    x: Tensor
    x_without: Tensor
    truth: Tensor
    network: nn.Module
    unit: Callable[[Tensor], Tensor]
    reference: Tensor
    tile: tuple[int, int]

    def score(self, x: Tensor) -> Tensor:
        """Return the number that is asked for, (item,), of inputs like ``x``."""
        return self.unit(self.network(x))

    @cached_property
    def effect(self) -> float:
        """By how much the score is higher than without what was planted."""
        with torch.no_grad():
            return float((self.score(self.x) - self.score(self.x_without)).sum())

    def judged_by(self, network: nn.Module) -> Planted:
        """Return the same sound with another network to ask."""
        return replace(self, network=network)


# ---- an instrument that enters a song ------------------------------------------------------------


def tag_of(planned: corpus.Plan, role: str) -> str | None:
    """Return the tag that a song has because of one of its parts alone, if there is one."""

    def tags_by(roles: Mapping[str, Notes]) -> set[str]:
        return set(corpus.tags_of(replace(planned, written=roles)))

    written = planned.written
    instruments = {name for names in corpus.INSTRUMENT_TAGS.values() for name in names} | {"vocals"}
    rest = {name: notes for name, notes in written.items() if name != role}
    owned = (tags_by(written) - (tags_by(rest) if rest else set())) & instruments - {"guitar"}
    return sorted(owned)[0] if owned and rest else None


def songs(
    system: auto_tagging.AutoTaggingSystem, n: int, *, seed: int = 0, heard_only: bool = True
) -> Iterator[Planted]:
    """Yield songs of the test side's instruments, each with one that enters at :data:`ENTRY_S`.

    Parameters
    ----------
    system
        Whose input they are made for, and whose logit of the instrument's tag is the score.
    n
        How many.
    seed
        Another one gives other songs.
    heard_only
        Leave out what moves the logit by less than :data:`LEAST_EFFECT`.
    """
    index, found = 0, 0
    while found < n:
        index += 1
        if track_split(index)[0] == "test" and (song := song_at(system, index, seed=seed)):
            if not heard_only or song.effect >= LEAST_EFFECT:
                yield song
                found += 1


def song_at(system: auto_tagging.AutoTaggingSystem, index: int, *, seed: int = 0) -> Planted | None:
    """Return a song by its number, if one of its instruments can enter late; see :func:`songs`."""
    planned = corpus.plan(index, FIRST_SEED + seed)
    roles = sorted(planned.written)
    for role in roles[index % len(roles) :] + roles[: index % len(roles)]:  # not always the bass
        if (tag := tag_of(planned, role)) and (song := _song(system, planned, role, tag)):
            return song
    return None


def _song(
    system: auto_tagging.AutoTaggingSystem, planned: corpus.Plan, role: str, tag: str
) -> Planted | None:
    notes = planned.written[role]
    late = (notes.onsets_s >= ENTRY_S) & (notes.onsets_s < ENTRY_S + 1.2)
    if late.sum() < 2:
        return None
    later = {name: values[notes.onsets_s >= ENTRY_S] for name, values in vars(notes).items()}
    written = {**planned.written, role: Notes(**later)}
    parts = band.play(written, planned.artist, planned.duration_s, planned.rng)
    mix = band.record(
        parts, planned.artist, planned.rng, duration_s=planned.duration_s, level_db=-24.0
    )
    feature = system.settings.feature
    gain = db_to_amplitude(feature.level_db - waveforms.level_dbfs(mix.mixture))
    whole = gain * mix.mixture
    alone = gain * mix.stems[role]
    n_frames = system.settings.data.patch_frames
    first = round(ENTRY_S * feature.sample_rate / feature.hop_samples) - n_frames // 2
    sounds = [np.float32(sound) for sound in (whole, whole - alone, alone)]
    inputs = [_log_mel(sound, feature)[:, :, first : first + n_frames] for sound in sounds]
    x, x_without, x_alone = (torch.from_numpy(each)[None] for each in inputs)
    truth = x_alone > x_without
    if not SHARES[0] < float(truth.float().mean()) < SHARES[1]:
        return None
    place = system.settings.task.classes.index(tag)
    cut = slice(first * feature.hop_samples, (first + n_frames) * feature.hop_samples)
    return Planted(
        tag,
        *(sound[cut] for sound in sounds),
        x,
        x_without,
        truth,
        network=system.network.eval(),
        unit=lambda logits: logits[:, place],
        reference=x.mean(dim=-1, keepdim=True),  # the same sound, but nothing happens
        tile=(8, 8),
    )


def _log_mel(
    audio: NDArray[np.float32], feature: auto_tagging_data.FeatureConfig
) -> NDArray[np.float32]:
    return auto_tagging_data.log_mel(audio, replace(feature, level_db=None)).values


def heard_through(
    audio: NDArray[np.float32], kept: NDArray[np.bool_], feature: auto_tagging_data.FeatureConfig
) -> NDArray[np.float32]:
    """Return a sound, (time,), of which only some cells (band, frame) of its log-mel are left.

    Each bin of a finer STFT is as strong as the cells that it went into.
    """
    hop = feature.hop_samples // 4
    spectrum = stft.stft(audio, window_samples=feature.window_samples, hop_samples=hop)
    filters = mel.mel_filters(
        feature.sample_rate,
        n_bands=feature.n_bands,
        window_samples=feature.window_samples,
        equal_area=False,
    )
    cells = np.minimum(np.arange(spectrum.shape[1]) // 4, kept.shape[1] - 1)
    gains = filters.T @ kept[:, cells] / np.maximum(filters.sum(axis=0), 1e-9)[:, None]
    return stft.istft(gains * spectrum, hop_samples=hop, n_samples=audio.size).astype(np.float32)


def typical(network: nn.Module) -> Tensor:
    """Return the mean of all cells that a tagger was trained on, which its first layer subtracts.

    An input that has this value everywhere is, to the network, zero.
    """
    return next(m for m in network.modules() if isinstance(m, nn.BatchNorm2d)).running_mean[0]


# ---- a note that enters a chord ------------------------------------------------------------------

CHORD_S, NOTE_S = 2.0, 1.0  # how long a chord lasts, and when the note enters
LOOKED_AT_S = 0.08  # after it has entered, its pitch is looked at
PITCHES = (52, 77)  # of the chord and the note: from, and below
FRAMES, ROWS = 7, 27  # of the input on either side of what is looked at: as far as it sees
NOTE_RMS = 0.03


def play_note(
    instrument: str, pitch_midi: int, begin_s: float, level_db: float, cents: float
) -> NDArray[np.float32]:
    """Return a note, (time,), that is held until shortly before the end of a chord."""
    rate = renderer.SAMPLE_RATE
    note = Notes(
        onsets_s=np.array([begin_s]),
        durations_s=np.array([CHORD_S - 0.1 - begin_s]),
        pitches_midi=np.array([pitch_midi]),
        velocities=np.array([0.7]),
        levels_db=np.zeros(1),
        cents=np.array([cents]),
    )
    sound = renderer.render_voice(note, Player(instrument), round(CHORD_S * rate))
    rms = waveforms.rms(sound[round(begin_s * rate) :])
    return np.float32(NOTE_RMS * db_to_amplitude(level_db) / max(rms, 1e-6) * sound)


def able(pitches: NDArray, rng: np.random.Generator) -> list[str]:
    """Return an instrument of the test side for each pitch, all different, that can play it."""
    names: list[str] = []
    for pitch in pitches:
        fitting = [
            name
            for name in chorales.PLAYERS["test"]
            if name not in names and _plays(name, float(pitch))
        ]
        names.append(str(rng.choice(fitting)))
    return names


def _plays(name: str, pitch_midi: float) -> bool:
    low, high = soundbank.instrument_range(name)
    return low <= pitch_midi <= high


def row_of(pitch_midi: float, feature: HcqtConfig) -> int:
    """Return the row of a pitch in an HCQT."""
    octaves = np.log2(midi_to_hz(pitch_midi) / feature.f_min_hz)
    return round(12 * feature.bins_per_semitone * float(octaves))


def around(values: NDArray, row: int, frame: int) -> NDArray[np.float32]:
    """Return the piece of an HCQT that a network sees from a place."""
    rows, frames = slice(row - ROWS, row + ROWS + 1), slice(frame - FRAMES, frame + FRAMES + 1)
    return np.array(values[:, rows, frames])


def chords(
    system: multi_pitch.MultiPitchSystem, n: int, *, seed: int = 0, heard_only: bool = True
) -> Iterator[Planted]:
    """Yield chords of three instruments that a fourth note joins; its pitch's logit is the score.

    All notes are equally loud. Instruments are those of the test side.
    """
    rng = np.random.default_rng([FIRST_SEED + seed, 20])
    found = 0
    while found < n:
        chord = _chord(system, rng)
        if SHARES[0] < float(chord.truth.float().mean()) < SHARES[1] and (
            not heard_only or chord.effect >= LEAST_EFFECT
        ):
            yield chord
            found += 1


def _chord(system: multi_pitch.MultiPitchSystem, rng: np.random.Generator) -> Planted:
    rate, feature = renderer.SAMPLE_RATE, system.settings.feature
    pitches = rng.choice(np.arange(*PITCHES), size=4, replace=False)
    begins_s = (0.05, 0.05, 0.05, NOTE_S)
    notes = [
        play_note(name, int(pitch), begin_s, 0.0, rng.uniform(-8.0, 8.0))
        for name, pitch, begin_s in zip(able(pitches, rng), pitches, begins_s, strict=True)
    ]
    noise = NOTE_RMS * db_to_amplitude(-50.0) * renderer.background_noise(notes[0].size, 3.0, rng)
    alone, without = notes[3], np.float32(sum(notes[:3]) + noise)
    frame = round((NOTE_S + LOOKED_AT_S) * rate / feature.hop_samples)
    x, x_without, x_alone = (
        torch.from_numpy(
            around(
                pitch_tracks.network_input(sound, feature, sample_rate=rate).values,
                row_of(pitches[3], feature),
                frame,
            )
        )[None]
        for sound in (alone + without, without, alone)
    )
    return Planted(
        note_name(float(pitches[3])),
        alone + without,
        without,
        alone,
        x,
        x_without,
        (x_alone > x_without) & (x_alone > 0.05),
        network=system.network.eval(),
        unit=lambda logits: logits[:, 0, ROWS, FRAMES],
        reference=torch.zeros(()),
        tile=(6, 4),
    )
