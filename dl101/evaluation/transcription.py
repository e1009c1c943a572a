"""Notes from probabilities, and their scores.

Conventions: a list of notes is three arrays, onsets and durations in seconds and MIDI pitches.
Probabilities are (bins, frames) on the :class:`~dl101.targets.PitchAxis` of the input. A note of
the estimate is right if its onset lies within 50 ms of the reference's and its pitch within half a
semitone (``mir_eval.transcription``; Bay, Ehmann and Downie, ISMIR 2009); each note of either side
is used once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dl101.errors import DataError
from dl101.targets import PitchAxis, checked_notes
from dl101.units import midi_to_hz

ONSET_TOLERANCE_S = 0.05
HEARD, LEAST_SURE = 0.2, 0.5


@dataclass(frozen=True, eq=False)
class Notes:
    """Notes in the order of their onsets: (n,) seconds, seconds, MIDI pitches, and confidence."""

    onsets_s: NDArray[np.float64]
    durations_s: NDArray[np.float64]
    pitches_midi: NDArray[np.float64]
    confidence: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.onsets_s)


def relative(pitch: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return probabilities of pitches relative to how sure the network is of the recording.

    A network is less sure of a recording that is unlike those it learned from, in all its notes
    alike: one threshold, chosen on what it knows, would leave most of them out. Its sureness is the
    median of each frame's highest probability, over the frames in which something is heard (0.2 or
    more), and 0.5 at least, so that silence stays silent.

    Parameters
    ----------
    pitch
        (bins, frames) probabilities of a whole recording.
    """
    highest = pitch.max(axis=0)
    heard = highest[highest >= HEARD]
    sureness = max(float(np.median(heard)), LEAST_SURE) if heard.size else 1.0
    return np.minimum(pitch / np.float32(sureness), 1)


def decode(
    pitch: NDArray[np.float32],
    onset: NDArray[np.float32],
    axis: PitchAxis,
    *,
    frame_s: float,
    threshold: float = 0.5,
    onset_threshold: float = 0.5,
    shortest_s: float = 0.06,
) -> Notes:
    """Return the notes in the probabilities of pitches and of onsets.

    A note begins where the onsets of its semitone have a local maximum that reaches
    ``onset_threshold``, or where a pitch begins without one and lasts three times as long as the
    shortest note; it ends before the pitch falls below half of ``threshold`` for two frames, or
    where the next note of its semitone begins. Somewhere on the way its pitch has to reach
    ``threshold``.

    Parameters
    ----------
    pitch, onset
        (bins, frames) probabilities.
    axis
        What the bins are.
    frame_s
        Distance between frames in seconds; frame ``t`` stands for ``t * frame_s``.
    threshold, onset_threshold
        Lowest probabilities that count.
    shortest_s
        Notes that are shorter are left out.

    Raises
    ------
    DataError
        If the arrays are not both (bins of the axis, frames).
    """
    if pitch.shape != onset.shape or pitch.ndim != 2 or len(pitch) != axis.n_bins:
        raise DataError(
            "probabilities of pitches and onsets",
            got=f"shapes {pitch.shape} and {onset.shape}",
            expected=f"({axis.n_bins}, frames) both",
            hint="use the axis of the network's input",
        )
    semitones = np.round(axis.midi).astype(int)
    found: list[tuple[float, float, float, float]] = []
    n_shortest = max(1, round(shortest_s / frame_s))
    for semitone in np.unique(semitones):
        rows = np.flatnonzero(semitones == semitone)
        sounding = pitch[rows].max(axis=0)
        starts = _starts(onset[rows].max(axis=0), sounding, onset_threshold, threshold, n_shortest)
        for start, limit in zip(starts, [*starts, len(sounding)][1:], strict=True):
            stop = _end(sounding, start, limit, threshold / 2)
            note = sounding[start:stop]
            if stop - start < n_shortest or note.max() < threshold:
                continue
            weights = pitch[rows, start:stop].mean(axis=1)
            midi = float(weights @ axis.midi[rows] / weights.sum())
            found.append((start * frame_s, (stop - start) * frame_s, midi, float(note.mean())))
    table = np.array(sorted(found)).reshape(-1, 4)
    return Notes(*_without_neighbours(table, frame_s).T)


def _starts(
    onset: NDArray, sounding: NDArray, onset_threshold: float, threshold: float, n_shortest: int
) -> list[int]:
    """Return the frames in which a semitone begins anew."""
    padded = np.pad(onset, 1)
    highest = (onset >= padded[:-2]) & (onset > padded[2:]) & (onset >= onset_threshold)
    starts = set(np.flatnonzero(highest).tolist())
    lit = np.pad((sounding >= threshold).astype(np.int8), 1)
    edges = np.diff(lit)
    for begin, end in zip(np.flatnonzero(edges == 1), np.flatnonzero(edges == -1), strict=True):
        told = any(begin - 3 <= start < end for start in starts)
        if not told and end - begin >= 3 * n_shortest:
            starts.add(int(begin))
    return sorted(starts)


def _end(sounding: NDArray, start: int, limit: int, threshold: float) -> int:
    """Return the frame before which a note ends: two quiet frames in a row, or the limit."""
    quiet = sounding[start:limit] < threshold
    quiet[:2] = False  # the network may tell an onset a frame before it hears the pitch
    both = np.flatnonzero(quiet[:-1] & quiet[1:])
    return start + int(both[0]) if both.size else limit


def _without_neighbours(notes: NDArray, frame_s: float) -> NDArray:
    """Leave out notes a semitone from a stronger one that begins with it: one pitch between two."""
    kept = np.ones(len(notes), dtype=bool)
    for i, (onset_s, _, midi, strength) in enumerate(notes):
        near = (np.abs(notes[:, 0] - onset_s) <= 2.5 * frame_s) & (np.abs(notes[:, 2] - midi) < 1.3)
        kept[i] = not (near & (notes[:, 3] > strength)).any()
    return notes[kept]


def score(
    reference: tuple[NDArray, NDArray, NDArray], estimate: tuple[NDArray, NDArray, NDArray]
) -> dict[str, float]:
    """Return precision, recall and F1 of the notes by onset and pitch.

    Parameters
    ----------
    reference, estimate
        Onsets, durations and pitches, as :func:`dl101.targets.checked_notes` takes them. Without
        notes on either side all scores are 1; on one side only, 0.
    """
    from mir_eval import transcription

    sides = [checked_notes(*side) for side in (reference, estimate)]
    sizes = [len(side[0]) for side in sides]
    if not all(sizes):
        value = float(not any(sizes))
        return dict.fromkeys(("note_precision", "note_recall", "note_f1"), value)
    arguments: list[NDArray] = []
    for onsets, durations, pitches in sides:
        lengths = np.maximum(durations, 1e-3)
        arguments += [np.stack([onsets, onsets + lengths], axis=1), midi_to_hz(pitches)]
    precision, recall, f1, _ = transcription.precision_recall_f1_overlap(
        *arguments, onset_tolerance=ONSET_TOLERANCE_S, offset_ratio=None
    )
    return {"note_precision": precision, "note_recall": recall, "note_f1": f1}
