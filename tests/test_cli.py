"""The command line: lists, and answers to impossible wishes in one line instead of a traceback."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile

from dl101 import cli
from dl101.data.embedded import export
from dl101.evaluation.generation import heard_midi


def test_corpora_are_listed_with_what_one_must_know(capsys):
    assert cli.main(["corpora"]) == 0
    said = capsys.readouterr().out
    for name in export.CORPORA:
        found = export.recipe(name)
        assert f"{name}: {found.title}" in said
        assert found.stands_for in said
    assert "1000 tracks of 30 to 60 s (750 min" in said
    assert "MB with stems" in said and "train" in said and "Licence of all" in said


def test_minutes_and_tracks_exclude_each_other(tmp_path, capsys):
    with pytest.raises(SystemExit):
        cli.main(["export", "notes", str(tmp_path), "--tracks", "3", "--minutes", "1"])
    assert "not allowed with" in capsys.readouterr().err


def test_minutes_are_rendered(tmp_path):
    assert cli.main(["export", "notes", str(tmp_path), "--minutes", "0.05", "--no-stems"]) == 0
    assert (tmp_path / "notes.pyjama").read_text(encoding="utf-8").count('"filepath"') == 4  # + 1


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (["export", "danses", "OUT"], "did you mean 'dances'?\n"),
        (["export", "notes", "OUT", "--minutes", "-1"], "a number above 0"),
        (
            ["export", "notes", "OUT", "--tracks", "0"],
            "--tracks: got int 0; expected a whole",
        ),
        (["export", "notes", "OUT", "--minutes", "nan"], "--minutes: got float nan"),
        (["export", "notes", "OUT", "--minutes", "1e300"], "--minutes: got float 1e+300"),
        (["export", "notes", "OUT", "--jobs", "0"], "--jobs: got int 0"),
        (["export", "notes", "OUT", "--seed", "-1"], "--seed: got int -1"),
        (["export", "notes", "FILE"], "Try: another folder"),
        (["experiment", "waveform", "--seed", "0", "-1"], "--seed: got int -1"),
        (["experiment", "waveform", "--tracks", "-5"], "--tracks: got int -5"),
        (["experiment", "chords", "--only", "crn"], "variants of the experiment chords"),
        (["experiment", "chords", "--only", "crnn", "--resume", "--results", "r.json"], "one of"),
        (["probe", "notes", "--seed", "-1"], "--seed: got int -1"),
        (["train", "multi_pitch", "--seed", "4294967296"], "--seed: got int 4294967296"),
        (["train", "multi_pich"], "did you mean 'multi_pitch'?"),
        (["train", "multi_pitch", "--set", "model=conv2"], "did you mean 'conv2d'?"),
        (["train", "multi_pitch", "--set", "data.dataset=choral"], "did you mean 'chorales'?"),
        (["train", "multi_pitch", "--set", "data.dataset=tags"], "no f0multi or pitchmidi"),
        (["lab-pack", "waveform", "--output", "OUT", "--n-students", "-1"], "--n-students: got"),
        (["train", "multi_pitch", "--results", "FILE/r.json"], "file to write"),
        (["train", "multi_pitch", "--results", "FILE"], "as written by dl101"),
        (["train", "multi_pitch", "--weights", "FILE/w.safetensors"], "file to write"),
        (["train", "multi_pitch", "--weights", "."], "got a folder"),
        (["train", "multi_pitch", "--from", "FILE"], "a complete safetensors file"),
        (["train", "multi_pitch", "--run-dir", "FILE"], "file to write"),
        (["experiment", "chroma", "--results", "FILE/r.json"], "file to write"),
        (["probe", "notes", "--results", "FILE/r.json"], "file to write"),
    ],
)
def test_impossible_wishes_are_answered(words, answer, tmp_path, capsys, monkeypatch):
    def work(*args, **kwargs):
        raise AssertionError("the work had begun")

    monkeypatch.setattr(export, "cached_corpus", work)
    (tmp_path / "FILE").write_text("in the way")
    words = [str(tmp_path / word) if word[:3].isupper() else word for word in words]
    assert cli.main(words) == 1
    said = capsys.readouterr().err
    assert said.startswith("dl101: ") and answer in said


@pytest.mark.parametrize("system", ["autoregressive", "flow"])
def test_a_note_is_generated_as_asked_and_the_same_each_time(system, tmp_path, capsys):
    words = ["generate", "--system", system, "--pitch", "A3", "--instrument", "guitar"]
    for name in ("one.wav", "two.wav"):
        assert cli.main([*words, "--seconds", "2", "-o", str(tmp_path / name)]) == 0
    assert "2.00 s" in capsys.readouterr().out
    (one, rate), (two, _) = (soundfile.read(tmp_path / name) for name in ("one.wav", "two.wav"))
    assert one.shape == (2 * rate,) and np.array_equal(one, two)
    assert 0.01 < np.abs(one).max() <= 1.0
    assert heard_midi(one, rate) == pytest.approx(57, abs=1 / 3)


@pytest.mark.parametrize("system", ["autoregressive", "flow"])
@pytest.mark.parametrize(
    ("wish", "said"),
    [
        (["--pitch", "H3"], "write A3, C#4 or Bb2"),
        (["--pitch", "A33"], "did you mean 'A3'?"),
        (["--pitch", "C9"], "(C9)"),
        (["--instrument", "gitar"], "did you mean 'guitar'?"),
        (["--seconds", "0"], "a number above 0"),
        (["--seconds", "nan"], "a number above 0"),
        (["--network", "nowhere"], "expected one of"),
    ],
)
def test_a_note_that_cannot_be_is_refused_in_words(system, wish, said, tmp_path, capsys):
    out = tmp_path / "out.wav"
    assert cli.main(["generate", "--system", system, *wish, "-o", str(out)]) == 1
    assert said in capsys.readouterr().err
    assert not out.exists()
