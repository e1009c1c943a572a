"""Files of notes are read back by our own reader, and by mido."""

import json

import mido
import numpy as np
import pytest

from dl101.data import note_files, notelist
from dl101.evaluation.transcription import Notes

NOTES = Notes(
    np.array([0.5, 1.0, 1.0]),
    np.array([0.5, 0.25, 1.0]),
    np.array([60.0, 60.0, 67.4]),
    np.array([0.9, 0.5, 0.01]),
)


def test_the_table_is_a_note_list(tmp_path):
    note_files.write_csv(tmp_path / "deep" / "a.csv", NOTES)
    onsets, durations, pitches = notelist.read(tmp_path / "deep" / "a.csv")
    np.testing.assert_allclose(onsets, NOTES.onsets_s)
    np.testing.assert_allclose(durations, NOTES.durations_s)
    np.testing.assert_allclose(pitches, NOTES.pitches_midi)


def test_midi_has_every_note_at_its_time(tmp_path):
    note_files.write_midi(tmp_path / "a.mid", NOTES)
    now, sounding, found = 0.0, {}, []
    for message in mido.MidiFile(tmp_path / "a.mid"):
        now += message.time
        if message.type == "note_on":
            assert message.note not in sounding, "a note begins while it still sounds"
            sounding[message.note] = (now, message.velocity)
        elif message.type == "note_off":
            begin, velocity = sounding.pop(message.note)
            found.append((round(begin, 3), round(now - begin, 3), message.note, velocity))
    assert not sounding
    assert sorted(found) == [(0.5, 0.5, 60, 114), (1.0, 0.25, 60, 64), (1.0, 1.0, 67, 1)]


def test_jams_names_what_it_holds(tmp_path):
    note_files.write_jams(tmp_path / "a.jams", NOTES, title="A", duration_s=2.5)
    (annotation,) = json.loads((tmp_path / "a.jams").read_text())["annotations"]
    assert annotation["namespace"] == "note_midi"
    assert annotation["data"][2] == {
        "time": 1.0, "duration": 1.0, "value": 67.4, "confidence": 0.01
    }  # fmt: skip
    assert annotation["duration"] == pytest.approx(2.5)


def test_no_notes_make_complete_files(tmp_path):
    nothing = Notes(*(np.zeros(0) for _ in range(4)))
    note_files.write_midi(tmp_path / "a.mid", nothing)
    note_files.write_csv(tmp_path / "a.csv", nothing)
    assert not [m for m in mido.MidiFile(tmp_path / "a.mid") if m.type == "note_on"]
