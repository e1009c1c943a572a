"""The sound bank: small, licensed, and every instrument covers its range with loops that close."""

from __future__ import annotations

import numpy as np
import pytest

from dl101.data.embedded import soundbank
from dl101.data.embedded.scores import ASSETS
from dl101.errors import DataError

NAMES = soundbank.instrument_names("training") + soundbank.instrument_names("test")


def test_scores_and_bank_stay_within_8_megabytes():
    assert sum(path.stat().st_size for path in ASSETS.iterdir()) < 8_000_000


def test_instruments_of_the_test_split_are_never_heard_in_training():
    training = set(soundbank.instrument_names("training"))
    test = set(soundbank.instrument_names("test"))
    assert len(training) == 16
    assert len(test) == 9
    assert not training & test
    programmes = [entry["programme"] for entry in soundbank.describe_bank()["instruments"].values()]
    assert len(set(programmes)) == 25
    assert len({soundbank.instrument_family(name) for name in test}) >= 5


def test_licence_and_origin_are_stated_for_every_file():
    entries = soundbank.describe_bank()["instruments"]
    assert {entry["file"] for entry in entries.values()} == {p.name for p in ASSETS.glob("*.ogg")}
    for entry in entries.values():
        assert entry["licence"].startswith("MIT")
        assert "FluidR3_GM" in entry["provenance"]
    assert "Frank Wen" in (ASSETS / "LICENSE-FluidR3.txt").read_text()


@pytest.mark.parametrize("name", NAMES)
def test_loops_close_without_a_step(name):
    for note in soundbank.load_instrument(name).notes:
        assert np.isfinite(note.samples).all()
        assert note.loop_stop - note.loop_start > 0.3 * 44100
        # What follows the loop's last sample is the loop's first: the jump there is an ordinary
        # difference between neighbouring samples.
        before, after = note.samples[note.loop_stop - 1], note.samples[note.loop_start]
        ordinary = np.abs(np.diff(note.samples[note.loop_start : note.loop_stop])).max()
        assert abs(after - before) <= ordinary, note.midi


@pytest.mark.parametrize("name", NAMES)
def test_notes_are_at_one_level_and_start_at_once(name):
    for note in soundbank.load_instrument(name).notes:
        power = np.mean(note.samples[int(0.02 * 44100) : int(0.6 * 44100)] ** 2)
        assert -40 < 10 * np.log10(power) < -10, note.midi
        early = np.abs(note.samples[: int(0.03 * 44100)]).max()
        assert early > 0.05 * np.abs(note.samples[: int(0.3 * 44100)]).max(), note.midi


def test_the_nearest_note_is_taken_from_the_layer_of_the_velocity():
    trumpet = soundbank.load_instrument("trumpet")
    assert trumpet.nearest(64, 0.9).midi == 63
    assert trumpet.nearest(65, 0.9).midi == 66
    assert (trumpet.nearest(64, 0.2).layer, trumpet.nearest(64, 0.9).layer) == (0, 1)


def test_an_unknown_instrument_is_named_in_the_error():
    with pytest.raises(DataError, match=r"kazoo.*expected one of accordion"):
        soundbank.load_instrument("kazoo")
