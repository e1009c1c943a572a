"""The links of the chains, and their experiment from end to end."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dl101.chapters.chains import experiment, parts
from dl101.evaluation.transcription import Notes
from dl101.training import tunes


def test_frames_become_sound_and_frames_again() -> None:
    tokens = parts.reels("test", 2)
    frames = parts.frames_of(tokens, "trumpet")
    assert frames.shape == (2, parts.N_BINS, parts.N_FRAMES)
    assert 0 <= float(frames.min()) and float(frames.max()) <= 1
    again = parts.levels(parts.sound(frames[0]), parts.SAMPLE_RATE)
    n = again.shape[1]
    loud = frames[0, :, :n].numpy() > 0.7
    assert np.abs(again - frames[0, :, :n].numpy())[loud].mean() * parts.RANGE_DB < 2.5
    heard = parts.transcribe(parts.played(tokens, "trumpet"), parts.BANK_RATE)
    assert parts.note_f1(tokens, heard) > 0.95
    assert np.mean(parts.on_grid(heard, 2) == tokens) > 0.95


def test_phrases_of_one_draw_do_not_meet() -> None:
    first, second = parts.reels("train", 40), parts.reels("train", 40, skip=40)
    assert not {tuple(each) for each in first} & {tuple(each) for each in second}
    assert np.array_equal(first, parts.reels("train", 40))


def test_notes_go_to_the_nearest_place_and_the_surer_one_stays() -> None:
    step = tunes.STEP_S
    notes = Notes(
        np.array([0.02, 0.98 * step, 1.1 * step, 33.6 * step, 70 * step]),
        np.full(5, 0.1),
        np.array([61.6, 70.0, 72.0, 60.2, 60.0]),
        np.array([0.9, 0.8, 0.7, 0.9, 0.9]),
    )
    tokens = parts.on_grid(notes, 2)
    assert tokens[0, 0] == 62 - tunes.LOWEST_MIDI
    assert tokens[0, 1] == 70 - tunes.LOWEST_MIDI
    assert tokens[1, 2] == 60 - tunes.LOWEST_MIDI
    assert np.sum(tokens != tunes.HELD) == 3


def test_bits_and_scale_are_counted_over_notes() -> None:
    tokens = np.full((1, 32), tunes.HELD)
    tokens[0, :4] = np.array([62, 64, 65, 67]) - tunes.LOWEST_MIDI  # D, E, F, G
    assert parts.in_scale(tokens) == pytest.approx(3 / 4)
    assert parts.per_note(np.ones((1, 32)), tokens) == pytest.approx(8.0)


def test_answers_without_learning() -> None:
    torch.manual_seed(0)
    a, b = torch.rand(2, 6, 8), 0.5 * torch.rand(2, 6, 8)
    moved = a + parts.tone_filter(a, b)
    torch.testing.assert_close(moved.mean((0, 2)), b.mean((0, 2)))
    assert torch.equal(parts.nearest_frames(b, b), b)
    assert parts.distance_db(a, a) == 0
    assert parts.distance_db(a, a.clone().fill_(0)) == pytest.approx(
        70 * float(a.square().mean().sqrt())
    )


def test_a_filter_is_smooth_keeps_silence_and_is_drawn_for_each_phrase() -> None:
    frames = torch.full((400, parts.N_BINS, 2), 0.5)
    frames[:, :, 1] = 0.0
    moved = parts.varied(frames, 8.0, torch.Generator().manual_seed(0)) - frames
    assert torch.equal(moved[:, :, 1], torch.zeros_like(moved[:, :, 1]))
    assert moved[:, :, 0].diff(dim=1).abs().max() * parts.RANGE_DB < 15
    # six independent cosines of 8 dB, whose squares are 1 at the lowest bin
    assert float(moved[:, 0, 0].std()) * parts.RANGE_DB == pytest.approx(8 * 6**0.5, rel=0.1)
    assert torch.equal(parts.varied(frames, 0.0, torch.Generator()), frames)


def test_a_probe_hears_a_difference_and_only_then() -> None:
    rng = np.random.default_rng(0)
    same = [rng.standard_normal((400, 3)) for _ in range(4)]
    assert abs(parts.probe(same[:2], same[2:]) - 0.5) < 0.1
    apart = [same[0] - 2, same[1] + 2]
    assert parts.probe(apart, [same[2] - 2, same[3] + 2]) > 0.95


def test_the_experiment_runs_from_end_to_end(monkeypatch: pytest.MonkeyPatch) -> None:
    small = {"N_TEST": 8, "N_HEARD": 1, "N_MADE": 2, "N_STEPS": 20}
    for name, value in small.items():
        monkeypatch.setattr(experiment, name, value)
    monkeypatch.setattr(experiment, "PLAYERS", {"written": None, "heard, flute": "flute"})
    found = {each.variant: each for each in experiment.run(0, 24)}
    assert found["codes, two clocks"].metrics["bits_s_coarse"] == pytest.approx(37.68, abs=0.01)
    assert found["codes, two clocks"].metrics["bits_s_fine"] == pytest.approx(150.73, abs=0.01)
    assert found["translation, played"].metrics["db"] == 0
    assert found["translation, copy"].metrics["taken"] < 0.5
    for each in found.values():
        assert all(np.isfinite(value) for value in each.metrics.values())
    done = list(found)
    assert not list(experiment.run(0, 24, done=done))
