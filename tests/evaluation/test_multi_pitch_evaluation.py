"""Our counter against mir_eval, and the rules that make a score honest."""

from __future__ import annotations

import warnings

import mir_eval
import numpy as np
import pytest

from dl101 import units
from dl101.errors import DataError
from dl101.evaluation import multi_pitch as mpe
from dl101.targets import PitchAxis

AXIS = PitchAxis(f_min_hz=float(units.midi_to_hz(24)), bins_per_semitone=3, n_bins=216)


def random_series(rng, n_frames, hop_s, max_voices, around=None):
    """Pitches on a coarse grid plus jitter, with unisons, silence and near misses."""
    pitches = np.full((n_frames, max_voices), np.nan)
    for frame in range(n_frames):
        n = rng.integers(0, max_voices + 1)
        pitches[frame, :n] = rng.choice([60, 60, 60.4, 61, 64.5, 67, 72, 72.3, 83.9], n)
        pitches[frame, :n] += rng.choice([0, 0, 0.5, -0.5, 0.3, 12], n)
    return mpe.PitchSeries(np.arange(n_frames) * hop_s, pitches)


@pytest.mark.parametrize("seed", range(8))
def test_counter_is_identical_to_mir_eval(seed):
    rng = np.random.default_rng(seed)
    reference = random_series(rng, 300, 0.010, 4)
    estimate = random_series(rng, 140, 512 / 22050, 6)
    ours = mpe.count(reference, estimate).scores()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # different time bases and empty frames, on purpose
        theirs = mir_eval.multipitch.evaluate(
            reference.times_s,
            reference.ragged_hz(),
            estimate.times_s,
            estimate.ragged_hz(),
        )
    for name, mir_name in mpe._MIR_EVAL_NAMES.items():
        assert ours[name] == theirs[mir_name], name
        assert ours[name] > 0


def test_published_example():
    """The old book printed these numbers; they belong to {70, 72} as the third estimate."""
    times = np.array([0.1, 0.2, 0.3])
    reference = mpe.PitchSeries(times, np.array([[70.0, 72.0]] * 3))
    estimate = mpe.PitchSeries(
        times, np.array([[82.4, np.nan, np.nan], [70, 72, 74], [70, 72, np.nan]])
    )
    scores = mpe.score_track(reference, estimate)
    assert scores["precision"] == pytest.approx(4 / 6)
    assert scores["recall"] == pytest.approx(4 / 6)
    assert scores["accuracy"] == pytest.approx(0.5)
    assert scores["chroma_accuracy"] == pytest.approx(5 / 7)
    assert scores == pytest.approx(mpe.count(reference, estimate).scores())


def test_a_unison_needs_two_estimates():
    times = np.array([0.0])
    reference = mpe.PitchSeries(times, np.array([[60.0, 60.0]]))
    one = mpe.count(reference, mpe.PitchSeries(times, np.array([[60.0]])))
    assert (one.n_matched.sum(), one.n_reference.sum()) == (1, 2)


def test_one_estimate_is_not_matched_twice():
    times = np.array([0.0])
    reference = mpe.PitchSeries(times, np.array([[60.0, 60.8]]))
    estimate = mpe.PitchSeries(times, np.array([[60.4]]))
    assert mpe.count(reference, estimate).n_matched[0] == 1


def test_octave_error_is_wrong_but_right_in_chroma():
    times = np.array([0.0])
    counts = mpe.count(
        mpe.PitchSeries(times, np.array([[60.0]])), mpe.PitchSeries(times, np.array([[72.2]]))
    )
    assert (counts.n_matched[0], counts.n_matched_chroma[0]) == (0, 1)


def test_silence_earns_nothing_and_invents_nothing():
    times = np.arange(5) * 0.01
    silent = mpe.PitchSeries(times, np.full((5, 0), np.nan))
    sounding = mpe.PitchSeries(times, np.full((5, 1), 60.0))
    assert mpe.count(sounding, silent).scores()["recall"] == 0
    assert mpe.count(silent, sounding).scores()["precision"] == 0


def test_estimate_outside_its_span_is_silent():
    estimate = mpe.PitchSeries(np.array([0.1, 0.2]), np.array([[60.0], [62.0]]))
    moved = mpe.resample(estimate, np.array([0.0, 0.1, 0.15, 0.1501, 0.2, 0.3]))
    np.testing.assert_array_equal(moved.pitches_midi[:, 0], [np.nan, 60, 60, 62, 62, np.nan])


def test_notes_and_f0_agree():
    times = np.arange(30) * 0.01
    notes = mpe.from_notes([0.05, 0.10], [0.10, 0.05], [60, 64], times)
    f0 = np.zeros((2, 30))
    f0[0, 5:15], f0[1, 10:15] = 60, 64
    f0[1, 20] = np.nan  # unvoiced, like 0
    counts = mpe.count(notes, mpe.from_f0(f0, times))
    assert counts.n_matched.sum() == counts.n_reference.sum() == counts.n_estimate.sum() == 15


def test_peaks_keep_one_bin_per_hump_and_respect_the_threshold():
    values = np.zeros((216, 2))
    values[99:102, 0] = [0.6, 0.9, 0.7]
    values[50:52, 0] = 0.8  # a plateau is one pitch
    values[215, 1] = 0.4  # the last bin can be a peak, but is below the threshold
    series = mpe.from_probabilities(values, AXIS, [0.0, 1.0], threshold=0.5)
    np.testing.assert_allclose(series.pitches_midi[0], AXIS.midi[[50, 100]])
    assert np.isnan(series.pitches_midi[1]).all()


def test_mean_is_over_tracks_not_frames():
    times_long, times_short = np.arange(90) * 0.01, np.arange(10) * 0.01
    right = mpe.PitchSeries(times_long, np.full((90, 1), 60.0))
    wrong = mpe.PitchSeries(times_short, np.full((10, 1), 60.0))
    off = mpe.PitchSeries(times_short, np.full((10, 1), 65.0))
    scores = [mpe.score_track(right, right), mpe.score_track(wrong, off)]
    assert mpe.mean_over_tracks(scores)["accuracy"] == 0.5


def test_threshold_comes_from_the_curve():
    reference = mpe.PitchSeries(np.arange(4) * 0.1, np.full((4, 1), 60.0))
    values = np.zeros((216, 4))
    values[np.argmin(np.abs(AXIS.midi - 60))] = 0.6
    values[np.argmin(np.abs(AXIS.midi - 50))] = 0.3
    curve = mpe.threshold_curve(
        [(reference, values)], AXIS, [reference.times_s], [0.2, 0.4, 0.5, 0.7]
    )
    assert [round(point["accuracy"], 3) for point in curve] == [0.5, 1, 1, 0]
    assert mpe.best_threshold(curve) == 0.4


def test_harmonic_sum_prefers_the_fundamental():
    harmonics = (0.5, 1, 2, 3)
    values = np.zeros((4, 10, 1))
    values[1, 4], values[2, 4], values[3, 4] = 1, 0.5, 0.3
    values[0, 7] = 1  # energy an octave below bin 7 is no evidence for bin 7
    salience = mpe.harmonic_sum(values, harmonics)
    assert salience[:, 0].argmax() == 4
    assert salience[7, 0] == 0
    assert mpe.harmonic_sum(np.zeros((4, 3, 2)), harmonics).max() == 0


def test_series_are_checked_at_the_door():
    with pytest.raises(DataError, match="one row of pitches per time"):
        mpe.PitchSeries(np.arange(3.0), np.zeros((2, 3)))
    with pytest.raises(DataError, match="strictly increasing"):
        mpe.PitchSeries(np.array([0.0, 0.0]), np.zeros((2, 1)))
