"""The experiment on windows: inputs of one size, fair scores, and a difference to measure."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dl101.chapters.spectrogram import experiment
from dl101.chapters.spectrogram.experiment import Bands, Track
from dl101.errors import TrainingError
from dl101.units import midi_to_hz

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


def test_chords_have_one_onset() -> None:
    found = experiment.merge(np.array([1.0, 0.5, 1.02, 1.04, 1.06, 0.52]))
    np.testing.assert_array_equal(found, [0.5, 1.0, 1.06])


def test_peaks_are_found_once_and_above_the_threshold() -> None:
    times = np.arange(7) * 0.1
    probability = np.array([0.9, 0.2, 0.6, 0.6, 0.1, 0.3, 0.2], dtype=np.float32)
    np.testing.assert_allclose(experiment.peaks_s(probability, times, 0.5), [0.0, 0.3])
    np.testing.assert_allclose(experiment.peaks_s(probability, times, 0.25), [0.0, 0.3, 0.5])


def _track(seed: int) -> Track:
    """Onsets in one band, a pitch in another, both plain to see."""
    rng = np.random.default_rng([seed])
    times = np.arange(120) * experiment.HOP_SAMPLES / RATE
    onsets = times[np.sort(rng.choice(np.arange(5, 115, 6), 8, replace=False))]
    sounding = np.zeros((experiment.PITCHES.n_bins, times.size), dtype=bool)
    sounding[10] = rng.random(times.size) > 0.5
    track = Track({}, onsets, sounding, times)
    values = rng.normal(0, 0.1, (experiment.N_BANDS, times.size)).astype(np.float32)
    values[3] += track.near_onset()
    values[7] += sounding[10]
    return Track({512: values}, onsets, sounding, times)


def test_it_learns_what_is_plain_and_thresholds_come_from_validation() -> None:
    sides = {
        side: [_track(seed) for seed in seeds]
        for side, seeds in (("train", range(12)), ("validation", (20, 21)), ("test", (30, 31)))
    }
    made = experiment.batch(sides, (512,))
    train = made["train"].inputs
    assert made["train"].targets.shape == (12, 1 + experiment.PITCHES.n_bins, 120)
    torch.testing.assert_close(train.mean(dim=(0, 2)), torch.zeros(168), atol=1e-4, rtol=0)
    scores = experiment.score(experiment.train(made, 0), made, sides)
    plain = experiment.baseline(sides)
    # onsets are three equal frames here, so that a peak may be one frame off
    assert scores["onset_f"] > plain["onset_f"] + 0.1
    assert scores["pitch_accuracy"] > plain["pitch_accuracy"] + 0.1
    assert scores["low_pitch_accuracy"] == scores["pitch_accuracy"]
    again = experiment.score(experiment.train(made, 0), made, sides)
    assert again == scores


def test_the_baseline_says_the_same_in_every_frame() -> None:
    sides = {side: [_track(seed)] for seed, side in enumerate(("train", "validation", "test"))}
    share = sides["test"][0].sounding[10].mean()
    assert experiment.baseline(sides)["pitch_accuracy"] == pytest.approx(share)


@pytest.mark.parametrize("side", ["train", "validation"])
def test_a_training_that_diverges_stops_with_a_message(side: str) -> None:
    made = experiment.batch({s: [_track(0), _track(1)] for s in ("train", "validation")}, (512,))
    made[side].inputs[0, 0, 0] = torch.inf
    with pytest.raises(TrainingError, match=r"epoch 1.*learning rate"):
        experiment.train(made, 0)
