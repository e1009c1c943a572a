"""The experiment on windows: inputs of one size, fair scores, and a difference to measure."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dl101.chapters.spectrogram import experiment
from dl101.chapters.spectrogram.experiment import Bands, PianoTrack
from dl101.data.splits import SIDES
from dl101.units import midi_to_hz

pytestmark = pytest.mark.slow

RATE = 22050


def test_bands_agree_on_a_steady_tone_and_differ_in_blur() -> None:
    band = 2 * 36  # the band of A4, three octaves above the lowest
    tone = (0.5 * np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE)).astype(np.float32)
    lit = {}
    for length in (512, 2048, 8192):
        values = Bands(length, RATE)(tone)
        assert values.shape == (experiment.N_BANDS, 1 + RATE // experiment.HOP_SAMPLES)
        middle = np.expm1(values[:, 20]) / 1e4
        assert abs(int(middle.argmax()) - band) <= (2 if length == 512 else 0)
        # a band averages over its triangle, which is wider than the peak of a long window
        assert 0.15 < middle.max() < 0.51
        lit[length] = int((middle > 0.02 * middle.max()).sum())
    assert lit[512] > 2 * lit[2048] > 2 * lit[8192]
    assert midi_to_hz(experiment.LOWEST_MIDI + band / experiment.BANDS_PER_SEMITONE) == 440


def _track(seed: int) -> PianoTrack:
    """Onsets in one band, a pitch in another, both plain to see."""
    rng = np.random.default_rng([seed])
    times = np.arange(120) * experiment.HOP_SAMPLES / RATE
    onsets = times[np.sort(rng.choice(np.arange(5, 115, 6), 8, replace=False))]
    sounding = np.zeros((experiment.PITCHES.n_bins, times.size), dtype=bool)
    sounding[10] = rng.random(times.size) > 0.5
    track = PianoTrack({}, onsets, sounding, times)
    values = rng.normal(0, 0.1, (experiment.N_BANDS, times.size)).astype(np.float32)
    values[3] += track.near_onset()
    values[7] += sounding[10]
    return PianoTrack({512: values}, onsets, sounding, times)


def test_it_learns_what_is_plain_and_thresholds_come_from_validation() -> None:
    sides = {
        side: [_track(seed) for seed in seeds]
        for side, seeds in (("train", range(12)), ("validation", (20, 21)), ("test", (30, 31)))
    }
    made = experiment.examples(sides, (512,))
    assert made["train"].labels.shape == (12, 1 + experiment.PITCHES.n_bins, 120)
    np.testing.assert_allclose(made["train"].inputs.mean(axis=(0, 2)), 0.0, atol=1e-4)
    scores, again = (
        experiment.score(experiment.train((512,), sides), (512,), sides) for _ in range(2)
    )
    plain = experiment.baseline(sides)
    # onsets are three equal frames here, so that a peak may be one frame off
    assert scores["onset_f"] > plain["onset_f"] + 0.1
    assert scores["pitch_accuracy"] > plain["pitch_accuracy"] + 0.1
    assert scores["low_pitch_accuracy"] == scores["pitch_accuracy"]
    assert again == scores


def test_the_baseline_says_the_same_in_every_frame() -> None:
    sides = {side: [_track(seed)] for seed, side in enumerate(("train", "validation", "test"))}
    share = sides["test"][0].sounding[10].mean()
    assert experiment.baseline(sides)["pitch_accuracy"] == pytest.approx(share)


def test_run_scores_every_window_and_the_baseline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(experiment, "MAX_EPOCHS", 1)
    sides = {side: [_track(k), _track(k + 1)] for k, side in enumerate(SIDES)}
    windows = {"23 ms": (512,), "twice": (512, 512)}
    small = replace(experiment.COMPARISON, load=lambda **_: sides, variants=windows)
    plain, one, two = small.run(0, n_tracks=6)
    assert [each.variant for each in (plain, one, two)] == [experiment.BASELINE, *windows]
    assert plain.n_parameters == 0 and one.n_items == 2 and one.n_tracks == 6
    n_more = experiment.N_BANDS * experiment.CONTEXT_FRAMES * experiment.N_HIDDEN
    assert two.n_parameters == one.n_parameters + n_more
    assert one.config == {"window_samples": [512], "hop_samples": 512}
