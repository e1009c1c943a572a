"""The tracks of chord estimation: from an .hdf5/.pyjama pair to what the network meets.

A :class:`ChordTrack` is input (1, bin, time), target (row, time), and the segments against which
its estimate is scored. :func:`load_chord_tracks` makes them, from an embedded corpus or a
downloaded dataset alike; :func:`transposed` moves input and target together.

Conventions: the rows of a target are ``CLASS`` (of the vocabulary), ``ROOT`` and ``BASS`` (0 to 11,
12 is none) and the twelve pitch classes from ``PITCHES`` on. -1 stands wherever nothing is known:
time without annotation, ``X``, and in ``CLASS`` chords without a class. Nothing is learned there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dl101.data import chord_segments, feature_cache, harte, pair, pyjama, splits
from dl101.data.audiofile import resample
from dl101.data.chord_segments import ChordSegments
from dl101.data.harte import IGNORED, Vocabulary
from dl101.errors import DataError
from dl101.progress import progress as show_progress
from dl101.signal import cqt, tuning
from dl101.signal.cqt import HcqtConfig
from dl101.signal.feature import Feature

COMPRESSION = 1000.0  # what is 60 dB below the loudest is still seen
LOUD = 0.999  # share of the cells that are softer than what counts as the loudest
CLASS, ROOT, BASS, PITCHES = 0, 1, 2, 3
N_ROWS = PITCHES + 12
NONE = 12  # root and bass of no chord


@dataclass(frozen=True, eq=False)
class ChordTrack:
    """One track, ready for training and evaluation.

    Attributes
    ----------
    key
        Its ``filepath``, the key of its audio.
    side
        ``"train"``, ``"validation"`` or ``"test"``.
    input
        (1, bins, frames) float32, compressed magnitudes; a memory map of the cache.
    target
        (rows, frames) int16; see the module.
    times_s
        (frames,) centres of the frames in seconds.
    duration_s
        Length of the recording.
    reference
        The annotation, for scoring.
    """

    key: str
    side: str
    input: NDArray[np.float32]
    target: NDArray[np.int16]
    times_s: NDArray[np.float64]
    duration_s: float
    reference: ChordSegments


def network_input(audio: NDArray[np.float32], config: HcqtConfig, *, sample_rate: int) -> Feature:
    """Return the CQT that the networks of chord estimation read.

    Its bins are moved to the tuning of the recording, its magnitudes divided by a loud one and
    compressed: a recording that is detuned or soft gives the same input as one that is not.
    """
    # three bins a semitone at least: a coarser spectrum does not show the tuning
    fine = replace(config, bins_per_semitone=max(3, config.bins_per_semitone))
    cents = tuning.estimate_tuning(cqt.cqt(audio, fine, sample_rate=sample_rate))
    spectrum = cqt.cqt(audio, tuning.retuned(config, cents), sample_rate=sample_rate)
    loud = max(float(np.quantile(spectrum.values, LOUD)), 1e-9)
    values = np.log1p(COMPRESSION / loud * spectrum.values) / np.log1p(COMPRESSION)
    return replace(spectrum, values=values.astype(np.float32))


def chroma_of(
    values: NDArray[np.float32], bins_per_semitone: int, *, compression: float = 100.0
) -> NDArray[np.float64]:
    """Return the chroma of an input, (12, frames): what the templates read.

    Magnitudes are compressed by log(1 + C x) and the octaves added, but for the lowest: there is no
    chord so low. Of the bins, those that stand on a semitone count. The input must begin with a C.

    Parameters
    ----------
    values
        (1, bins, frames), as :func:`network_input` gives them.
    bins_per_semitone
        Of the input.
    compression
        C.
    """
    magnitude = np.expm1(values[0, ::bins_per_semitone] * np.log1p(COMPRESSION)) / COMPRESSION
    octaves = np.log1p(compression * magnitude[12:].astype(np.float64))
    return octaves.reshape(-1, 12, octaves.shape[1]).sum(axis=0)


def target_rows(
    segments: ChordSegments, times_s: NDArray[np.float64], vocabulary: Vocabulary
) -> NDArray[np.int16]:
    """Return what a network should say at each frame, (rows, frames); see the module."""

    def part(row: int, label: str) -> int:
        chord = harte.parse(label)
        if chord is None:
            return IGNORED
        if row >= PITCHES:
            return int(row - PITCHES in chord.pitch_classes)
        if chord.root is None:
            return NONE
        return chord.root if row == ROOT else (chord.root + chord.bass) % 12

    numbers = [vocabulary.to_class, *(partial(part, row) for row in range(ROOT, N_ROWS))]
    rows = [chord_segments.to_frames(segments, times_s, number) for number in numbers]
    return np.stack(rows).astype(np.int16)


def transposed(
    inputs: Tensor,
    targets: Tensor,
    semitones: Sequence[int],
    *,
    bins_per_semitone: int,
    vocabulary: Vocabulary,
) -> tuple[Tensor, Tensor]:
    """Return each item of a batch moved up by its number of semitones, input and target together.

    Bins that come in from beyond the axis are silent.

    Parameters
    ----------
    inputs
        (batch, 1, bins, frames).
    targets
        (batch, 1, rows, frames).
    semitones
        (batch,) negative to move down.
    """
    inputs, targets = inputs.clone(), targets.clone()
    for item, steps in enumerate(semitones):
        shift = steps * bins_per_semitone
        inputs[item] = torch.roll(inputs[item], shift, dims=1)
        if shift > 0:
            inputs[item, :, :shift] = 0.0
        elif shift < 0:
            inputs[item, :, shift:] = 0.0
        rows = targets[item, 0]
        limits = {CLASS: vocabulary.no_chord, ROOT: NONE, BASS: NONE}
        for row, limit in limits.items():
            has_root = (rows[row] >= 0) & (rows[row] < limit)
            moved = (rows[row] + steps) % 12 + 12 * torch.div(rows[row], 12, rounding_mode="floor")
            rows[row] = torch.where(has_root, moved, rows[row])
        rows[PITCHES:] = torch.roll(rows[PITCHES:], steps, dims=0)
    return inputs, targets


def load_chord_tracks(
    audio: Path,
    annotations: Path,
    feature: HcqtConfig,
    vocabulary: Vocabulary,
    *,
    dataset: str,
    seed: int = 0,
    n_tracks: int | None = None,
    progress: bool = True,
) -> list[ChordTrack]:
    """Load the tracks of a pair that carry chords.

    Where the entries state their ``split`` they keep it; otherwise the split is that of
    :func:`dl101.data.splits.safe_split`. Audio at another rate is converted. Inputs come from the
    feature cache and are computed once.

    Raises
    ------
    DataError
        If no entry has chords, the two files do not belong together, or a label is not in Harte's
        syntax.
    """
    tracks = []
    with pair.opened(audio, annotations) as (collection, store):
        entries = [entry for entry in collection if "chord" in entry.fields][:n_tracks]
        if not entries:
            raise DataError(
                f"annotations {annotations}",
                got="no entry with chord",
                expected="chords with their times",
                hint="use a dataset made for chord estimation, such as chords or rwc-pop_chord",
            )
        if all(entry.first("split") for entry in entries):
            sides = {entry.filepath: entry.first("split") for entry in entries}
        else:
            sides = splits.safe_split(dataset, entries, seed=seed)
        entries = [entry for entry in entries if entry.filepath in sides]
        for entry in show_progress(entries, "features", enabled=progress):
            samples, sample_rate = store.read(entry.filepath)
            tracks.append(
                make_track(entry, sides[entry.filepath], samples, sample_rate, feature, vocabulary)
            )
    return tracks


def make_track(
    entry: pyjama.Entry,
    side: str,
    samples: NDArray[np.float32],
    sample_rate: int,
    config: HcqtConfig,
    vocabulary: Vocabulary,
) -> ChordTrack:
    """Return one track of a dataset."""
    duration_s = len(samples) / sample_rate
    samples = resample(samples, sample_rate, config.sample_rate)
    spectrum = feature_cache.cached(network_input, samples, config, sample_rate=config.sample_rate)
    reference = chord_segments.from_atoms(*entry.segments("chord"))
    target = target_rows(reference, spectrum.times, vocabulary)
    return ChordTrack(
        entry.filepath, side, spectrum.values, target, spectrum.times, duration_s, reference
    )
