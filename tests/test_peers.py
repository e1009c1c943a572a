"""Our networks beside public ones: the scoring, with our networks alone, and the page's tables."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.peers import judging, ours, page, public
from benchmarks.peers.__main__ import record
from dl101.data import chord_segments
from dl101.data.chord_segments import ChordSegments
from dl101.evaluation import results
from dl101.targets import PitchAxis
from dl101.units import midi_to_hz


@pytest.fixture(scope="module", params=judging.TASKS)
def heard(request):
    """A task, and two clips of its test side."""
    task = judging.TASKS[request.param]
    return task, judging.clips(task.corpus, "test", 2, seed=task.seed)


def truth(task, clip, *, semitones=0):
    """What somebody would answer who knows, or is some semitones off."""
    if task.name == "chords":
        said = chord_segments.from_atoms(*clip.entry.segments("chord"))
        return said if not semitones else ChordSegments(said.intervals_s, ("N",) * len(said))
    if task.name == "voice":
        times_s, midi = judging._curve_of(clip)
        sounds = np.isfinite(midi)
        f0_hz = midi_to_hz(np.where(sounds, midi, 60) + semitones)
        return judging.Curve(times_s, f0_hz, sounds.astype(float))
    axis = PitchAxis(midi_to_hz(21.0), 10, 880)
    series = judging._pitches_of(clip)
    values = np.zeros((axis.n_bins, len(series.times_s)))
    for voice in series.pitches_midi.T:
        bins = axis.bins(voice + semitones)
        values[bins[bins >= 0], np.flatnonzero(bins >= 0)] = 1.0
    onsets, durations, pitches = clip.entry.segments("pitchmidi")
    notes = (onsets, durations, pitches + semitones)
    return judging.Pitches(values, axis, series.times_s, lambda threshold: notes)


def test_clips_are_those_of_the_corpus(heard):
    _, clips = heard
    assert all(clip.entry.first("split") == "test" for clip in clips)
    assert [clip.entry.index for clip in clips] == [2, 8]
    assert all(8 <= clip.duration_s <= 30 for clip in clips)


def test_who_knows_is_right_and_who_is_off_is_wrong(heard):
    task, clips = heard
    for clip in clips:
        chosen = {"threshold": 0.5, "shift_s": 0.0}
        right = task.score(truth(task, clip), chosen, clip)
        wrong = task.score(truth(task, clip, semitones=2), chosen, clip)
        # two voices on one bin count as one in a matrix of probabilities
        assert right[task.main] > (0.9 if task.name == "pitches" else 0.999)
        assert wrong[task.main] < 0.25
        if task.name == "pitches":
            assert right["note_f1"] == 1 and wrong["note_f1"] < 0.3
        if task.name == "voice":
            assert right["error_cents"] < 1 and right["voicing_accuracy"] > 0.99


def test_ours_are_judged_without_the_extra(heard, monkeypatch):
    monkeypatch.setattr(public.importlib.util, "find_spec", lambda name: None)
    assert not any(public.competitors().values())
    assert {"basic-pitch", "torchcrepe"} <= set(public.missing())
    task, clips = heard
    listed = [
        who for who in ours.competitors()[task.name] if who.name not in ("multi_pitch", "pYIN")
    ]
    first, made = None, []
    for who in listed:
        outcome = judging.judge(task, who.make(), clips, clips[:1] if task.n_validation else ())
        first = first or outcome
        made.append(record(task, who, outcome, first, len(clips), 0.0))
        assert 0.2 < outcome.mean[task.main] <= 1
        assert outcome.cpu_s_per_minute > 0
        assert (outcome.n_parameters > 0) == (who.whose == "ours")
    table = page.tables(made)
    assert all(page.NAMES[who.name] in table for who in listed)


def test_a_late_convention_costs_nobody(heard):
    task, clips = heard
    if task.name != "pitches":
        return
    late = []
    for clip in clips:
        said = truth(task, clip)
        onsets, durations, pitches = said.notes(0.5)
        late.append(said._replace(notes=lambda t, n=(onsets + 0.06, durations, pitches): n))
    chosen = task.choose(late, clips)
    assert -0.08 <= chosen["shift_s"] <= -0.02
    scores = task.score(late[0], chosen, clips[0])
    assert scores["note_f1"] == 1 and scores["note_f1_not_moved"] < 0.6


@pytest.mark.slow
def test_the_network_of_the_chapter_is_trained_and_judged():
    task = judging.TASKS["pitches"]
    clips = judging.clips(task.corpus, "test", 2, seed=task.seed)
    outcome = judging.judge(task, ours.chapter_network(n_tracks=6, max_epochs=1), clips, clips)
    assert outcome.n_parameters > 10_000
    assert set(outcome.mean) >= {"accuracy", "note_f1"}


def test_ahead_behind_and_level():
    def outcome(*values):
        return judging.Outcome([{"x": value} for value in values], {}, 1.0)

    mine = outcome(0.5, 0.6, 0.7, np.nan)
    gap, error = judging.lead(mine, outcome(0.4, 0.4, 0.4, 0.4), "x")
    assert gap == pytest.approx(0.2) and error == pytest.approx(0.1 / np.sqrt(3))
    assert mine.mean == {"x": pytest.approx(0.6)}
    some = results.load(results.find("peers"))[0]
    for ahead, said in ((0.2, "ahead"), (-0.2, "behind"), (0.15, "level")):
        metrics = {**some.metrics, "ours_ahead": ahead, "ours_ahead_error": 0.08}
        assert page.verdict(replace(some, metrics=metrics)) == said


def test_the_page_shows_what_was_recorded():
    stored = page.OUTPUT.read_text(encoding="utf-8")
    assert stored == page.NOTICE + page.tables(results.load(results.find("peers")))
