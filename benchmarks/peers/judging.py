"""Three tasks on which networks are judged alike: which clips, what is heard, how it is scored.

Conventions: a *hearer* is called with a clip's samples (n,) and their rate, and does everything
from there on, so that the processor time counted is that of the whole way from sound to answer.
What there is to choose (a threshold) is chosen on clips of the validation side, for everybody
alike.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dl101.data import chord_segments
from dl101.data.chord_segments import ChordSegments
from dl101.data.embedded import export
from dl101.data.embedded.recipe import track_split
from dl101.data.pyjama import Entry
from dl101.evaluation import chords, multi_pitch, pitch, transcription
from dl101.systems.inverse_synthesis_data import curve_of
from dl101.targets import PitchAxis
from dl101.units import hz_to_midi

SHIFTS_S = np.round(np.arange(-0.08, 0.081, 0.01), 2)
THRESHOLDS = np.round(np.arange(0.05, 0.96, 0.05), 2)
RANGE_MIDI = (24.0, 84.0)  # of a voice, as its network was built for

NoteList = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]
Scores = Mapping[str, float]
Chosen = Mapping[str, float]  # on the validation side


@dataclass(frozen=True, eq=False)
class Clip:
    """A track of an embedded corpus: samples (n,), their rate, and what is annotated."""

    samples: NDArray[np.float32]
    sample_rate: int
    entry: Entry

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return len(self.samples) / self.sample_rate


def clips(corpus: str, side: str, n_clips: int, *, seed: int) -> list[Clip]:
    """Return the first tracks of one side of a corpus; no others are rendered."""
    recipe, found, index = export.recipe(corpus), [], 0
    while len(found) < n_clips:
        if track_split(index)[0] == side:
            items = recipe.render(index, seed=seed, duration_s=recipe.duration_s, extras=False)
            entry = Entry(items[0].key, index, items[0].fields)
            found.append(Clip(np.asarray(items[0].values), int(items[0].rate), entry))
        index += 1
    return found


# ---- what is heard, and how it is scored ---------------------------------------------------------


class Pitches(NamedTuple):
    """Of many pitches at once: how likely each is, (bins, frames), and the notes in that.

    ``notes`` is called with the threshold of the frames.
    """

    values: NDArray
    axis: PitchAxis
    times_s: NDArray[np.float64]
    notes: Callable[[float], NoteList]


class Curve(NamedTuple):
    """Of one pitch at a time: Hz in each frame, and how sure it is that something sounds."""

    times_s: NDArray[np.float64]
    f0_hz: NDArray[np.float64]
    confidence: NDArray[np.float64] | None = None


def choose_nothing(heard: Sequence[Any], of: Sequence[Clip]) -> Chosen:
    """Choose nothing."""
    return {}


def choose_pitches(heard: Sequence[Pitches], of: Sequence[Clip]) -> Chosen:
    """Choose the threshold of the frames, and by how much all notes are moved.

    Where a note begins is a matter of convention: when a player starts, or when it is heard, which
    in a room and with a bow is later. Nobody shall win or lose by that.
    """
    tracks = [(_pitches_of(clip), each.values) for each, clip in zip(heard, of, strict=True)]
    times = [each.times_s for each in heard]
    curve = multi_pitch.threshold_curve(tracks, heard[0].axis, times, THRESHOLDS)
    threshold = multi_pitch.best_threshold(curve)
    said = [each.notes(threshold) for each in heard]

    def right(shift_s: float) -> float:
        pairs = zip(said, of, strict=True)
        return float(
            np.mean([_score_notes(notes, shift_s, clip)["note_f1"] for notes, clip in pairs])
        )

    return {"threshold": threshold, "shift_s": float(max(SHIFTS_S, key=right))}


def score_pitches(heard: Pitches, chosen: Chosen, clip: Clip) -> Scores:
    """Return the scores of the frames and of the notes, by ``mir_eval``."""
    threshold = chosen["threshold"]
    found = multi_pitch.from_probabilities(heard.values, heard.axis, heard.times_s, threshold)
    frames = multi_pitch.score_track(_pitches_of(clip), found)
    kept = ("precision", "recall", "accuracy", "chroma_accuracy")
    notes = heard.notes(threshold)
    as_said = _score_notes(notes, 0.0, clip)["note_f1"]
    return {
        **{name: frames[name] for name in kept},
        **_score_notes(notes, chosen["shift_s"], clip),
        "note_f1_not_moved": as_said,
    }


def _score_notes(notes: NoteList, shift_s: float, clip: Clip) -> Scores:
    onsets_s, durations_s, pitches = notes
    moved = (np.maximum(onsets_s + shift_s, 0.0), durations_s, pitches)
    return transcription.score(clip.entry.segments("pitchmidi"), moved)


def _pitches_of(clip: Clip) -> multi_pitch.PitchSeries:
    atom = clip.entry.fields["f0multi"][0]
    return multi_pitch.from_f0(atom.value, atom.time)


def choose_voicing(heard: Sequence[Curve], of: Sequence[Clip]) -> Chosen:
    """Choose the confidence that tells sound from silence most often."""
    if heard[0].confidence is None:
        return {}

    def right(threshold: float) -> float:
        scores = [_voicing(*pair, threshold) for pair in zip(heard, of, strict=True)]
        return float(np.mean([score["voicing_accuracy"] for score in scores]))

    return {"threshold": float(max(THRESHOLDS, key=right))}


def score_curve(heard: Curve, chosen: Chosen, clip: Clip) -> Scores:
    """Return the scores of a pitch curve on the frames of the truth, and of its voicing."""
    times_s, truth = _curve_of(clip)
    found = pitch.at_times(heard.times_s, hz_to_midi(heard.f0_hz), times_s)
    scores = pitch.pitch_scores(truth, found)
    if heard.confidence is not None:
        scores |= _voicing(heard, clip, chosen["threshold"])
    return scores


def _curve_of(clip: Clip) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    times_s, f0_midi = curve_of(clip.entry)
    inside = (f0_midi >= RANGE_MIDI[0]) & (f0_midi <= RANGE_MIDI[1])
    return times_s, np.where(inside, f0_midi, np.nan)


def _voicing(heard: Curve, clip: Clip, threshold: float) -> Scores:
    times_s, truth = _curve_of(clip)
    confidence = np.interp(times_s, heard.times_s, heard.confidence)
    return pitch.voicing_accuracy(truth, confidence, threshold)


def score_chords(heard: ChordSegments, chosen: Chosen, clip: Clip) -> Scores:
    """Return the scores of chords, by ``mir_eval``; NaN where a track has nothing to compare."""
    truth = chord_segments.from_atoms(*clip.entry.segments("chord"))
    return chords.score_track(truth, heard).scores


# ---- the tasks -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Task:
    """What is judged.

    Attributes
    ----------
    name
        In the records.
    corpus, seed
        Whose sides; the seed is that of the network that ships.
    n_test, n_validation
        Numbers of clips.
    main
        The score by which a network is ahead or behind.
    choose, score
        What is chosen on the validation side, and the scores of a clip.
    """

    name: str
    corpus: str
    seed: int
    n_test: int
    n_validation: int
    main: str
    score: Callable[[Any, Chosen, Clip], Scores]
    choose: Callable[[Sequence[Any], Sequence[Clip]], Chosen] = choose_nothing


TASKS = {
    task.name: task
    for task in (
        Task("pitches", "chorales", 1, 20, 8, "accuracy", score_pitches, choose_pitches),
        Task("voice", "voice", 0, 20, 8, "raw_pitch_accuracy", score_curve, choose_voicing),
        Task("chords", "chords", 1, 20, 0, "majmin", score_chords),
    )
}


@dataclass(frozen=True)
class Competitor:
    """Somebody who answers.

    Attributes
    ----------
    name
        In the records, and on the page.
    whose
        ``"ours"``, ``"public"`` or ``"no learning"``.
    make
        Returns the hearer; loading what is loaded once is not counted.
    packages
        Names of the packages on PyPI that it comes in; their versions are recorded.
    note
        What else the record shall say.
    """

    name: str
    whose: str
    make: Callable[[], Callable[[NDArray[np.float32], int], Any]]
    packages: Sequence[str] = ()
    note: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Outcome:
    """Scores by clip, what was chosen, and processor seconds a minute of music."""

    scores: Sequence[Scores]
    chosen: Chosen
    cpu_s_per_minute: float
    n_parameters: int = 0

    @property
    def mean(self) -> dict[str, float]:
        """The mean of each score over the clips that have it."""
        means = {}
        for name in self.scores[0]:
            values = np.array([each[name] for each in self.scores])
            known = values[np.isfinite(values)]
            means[name] = float(known.mean()) if known.size else math.nan
        return means


def judge(task: Task, hear: Callable, test: Sequence[Clip], validation: Sequence[Clip]) -> Outcome:
    """Return how a hearer does on the test side, after choosing on the validation side.

    The first clip is heard once before the clock runs: libraries load, kernels are compiled.
    """
    hear(test[0].samples, test[0].sample_rate)
    said = [hear(clip.samples, clip.sample_rate) for clip in validation]
    chosen = task.choose(said, validation) if said else {}
    scores, spent_s = [], 0.0
    for clip in test:
        start_s = time.process_time()
        heard = hear(clip.samples, clip.sample_rate)
        spent_s += time.process_time() - start_s
        scores.append(task.score(heard, chosen, clip))
    minutes = sum(clip.duration_s for clip in test) / 60
    return Outcome(scores, chosen, spent_s / minutes, getattr(hear, "n_parameters", 0))


def lead(ours: Outcome, other: Outcome, score: str) -> tuple[float, float]:
    """Return by how much ours is ahead on the same clips: mean difference and standard error."""
    pairs = zip(ours.scores, other.scores, strict=True)
    gaps = np.array([mine[score] - theirs[score] for mine, theirs in pairs])
    gaps = gaps[np.isfinite(gaps)]
    return float(gaps.mean()), float(gaps.std(ddof=1) / np.sqrt(len(gaps)))
