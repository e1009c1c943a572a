"""Notes from probabilities, against notes that are known."""

import numpy as np
import pytest

from dl101 import targets
from dl101.errors import DataError
from dl101.evaluation import transcription
from dl101.signal.cqt import HcqtConfig
from dl101.systems.transcription_data import onset_target

FEATURE = HcqtConfig(bins_per_semitone=3, n_octaves=5)
AXIS = targets.PitchAxis.of(FEATURE)
FRAME_S = FEATURE.hop_samples / FEATURE.sample_rate
TIMES_S = np.arange(300) * FRAME_S


def drawn(onsets, lengths, pitches):
    """Return what a network without fault would say, and the notes."""
    notes = tuple(map(np.asarray, (onsets, lengths, pitches)))
    pitch = targets.from_notes(*notes, AXIS, TIMES_S)
    onset = onset_target(notes, AXIS, TIMES_S)
    return pitch.astype(np.float32), onset.astype(np.float32), notes


def scores(notes, pitch, onset, **options):
    found = transcription.decode(pitch, onset, AXIS, frame_s=FRAME_S, **options)
    return transcription.score(notes, (found.onsets_s, found.durations_s, found.pitches_midi))


def test_a_perfect_network_gives_the_notes_back():
    rng = np.random.default_rng(0)
    pitches = rng.permutation(np.arange(40, 80))[:24].astype(float)
    onsets = np.sort(rng.uniform(0, 5, 24))
    pitch, onset, notes = drawn(onsets, rng.uniform(0.15, 0.8, 24), pitches)
    found = scores(notes, pitch, onset)
    assert found["note_f1"] > 0.97


def test_a_network_that_is_unsure_of_a_whole_recording_is_heard_all_the_same():
    pitch, onset, notes = drawn([0.2, 1.0, 2.0], [0.5, 0.5, 0.7], [60.0, 64.0, 67.0])
    unsure = 0.45 * pitch + 0.01
    assert scores(notes, unsure, onset)["note_recall"] == 0
    assert scores(notes, transcription.relative(unsure), onset)["note_f1"] == 1
    sure = 0.9 * pitch
    np.testing.assert_allclose(transcription.relative(sure), pitch, atol=1e-6)
    noise = np.full((2, 9), 0.19, dtype=np.float32)  # nothing is heard, nothing is raised
    np.testing.assert_array_equal(transcription.relative(noise), noise)
    assert transcription.relative(np.full((2, 9), 0.21)).max() == pytest.approx(0.42)


def test_a_repeated_note_is_told_by_its_onset_alone():
    pitch, onset, notes = drawn([0.5, 1.0, 1.5], [0.5, 0.5, 0.5], [60.0, 60.0, 60.0])
    assert scores(notes, pitch, onset)["note_f1"] == 1
    # without onsets it is one long note, which is found once
    found = transcription.decode(pitch, 0 * onset, AXIS, frame_s=FRAME_S)
    assert len(found) == 1
    assert found.durations_s[0] == pytest.approx(1.5, abs=2 * FRAME_S)


def test_pitches_between_semitones_are_kept():
    pitch, onset, _ = drawn([1.0], [1.0], [60.33])
    found = transcription.decode(pitch, onset, AXIS, frame_s=FRAME_S)
    assert found.pitches_midi[0] == pytest.approx(60.33, abs=0.02)


def test_a_pitch_across_the_border_of_two_semitones_is_one_note():
    pitch, onset, _ = drawn([1.0], [1.0], [60.4])
    row = int(AXIS.bins(60.4))
    pitch[row + 1] = np.maximum(pitch[row + 1], 0.9 * pitch[row])  # leaks into the next semitone
    found = transcription.decode(pitch, onset, AXIS, frame_s=FRAME_S)
    assert len(found) == 1


def test_silence_gives_no_note_and_counts_as_right_beside_silence():
    nothing = np.zeros((AXIS.n_bins, 300), dtype=np.float32)
    found = transcription.decode(nothing, nothing, AXIS, frame_s=FRAME_S)
    assert len(found) == 0
    empty = (np.zeros(0), np.zeros(0), np.zeros(0))
    note = (np.array([1.0]), np.array([1.0]), np.array([60.0]))
    assert transcription.score(empty, empty)["note_f1"] == 1
    assert transcription.score(note, empty)["note_f1"] == 0
    assert transcription.score(empty, note)["note_f1"] == 0


def test_short_blips_are_left_out():
    pitch, onset, _ = drawn([1.0], [0.02], [60.0])
    assert len(transcription.decode(pitch, onset, AXIS, frame_s=FRAME_S)) == 0


def test_scores_by_hand():
    """Three notes; one is right, one 80 ms late, one a semitone high, one is invented."""
    reference = ([0.0, 1.0, 2.0], [0.5, 0.5, 0.5], [60.0, 62.0, 64.0])
    estimate = ([0.04, 1.08, 2.0, 3.0], [0.1, 0.5, 0.5, 0.5], [60.2, 62.0, 65.0, 70.0])
    found = transcription.score(reference, estimate)
    assert found["note_precision"] == pytest.approx(1 / 4)
    assert found["note_recall"] == pytest.approx(1 / 3)
    assert found["note_f1"] == pytest.approx(2 / 7)


def test_arrays_of_another_axis_are_refused():
    with pytest.raises(DataError, match="probabilities of pitches and onsets"):
        transcription.decode(np.zeros((7, 3)), np.zeros((7, 3)), AXIS, frame_s=FRAME_S)
