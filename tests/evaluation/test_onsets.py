"""Onsets by hand: merging, peaks, the mean over tracks, and an answer that does not listen."""

from __future__ import annotations

import numpy as np
import pytest

from dl101.evaluation import onsets


def test_chords_have_one_onset():
    found = onsets.merged(np.array([1.0, 0.5, 1.02, 1.04, 1.06, 0.52]))
    np.testing.assert_array_equal(found, [0.5, 1.0, 1.06])


def test_peaks_are_found_once_and_above_the_threshold():
    times = np.arange(7) * 0.1
    probability = np.array([0.9, 0.2, 0.6, 0.6, 0.1, 0.3, 0.2], dtype=np.float32)
    np.testing.assert_allclose(onsets.peaks_s(probability, times, 0.5), [0.0, 0.3])
    np.testing.assert_allclose(onsets.peaks_s(probability, times, 0.25), [0.0, 0.3, 0.5])


def test_the_measure_counts_tracks_alike():
    """Two of three found without a false alarm, F = 2 * 2 / (3 + 2); and nothing found, F = 0."""
    true = [np.array([1.0, 2.0, 3.0]), np.arange(1.0, 40.0)]
    found = [np.array([1.04, 2.96]), np.array([])]
    assert onsets.mean_f_measure(true, found) == pytest.approx(0.8 / 2)
    assert onsets.mean_f_measure(true, found, tolerance_s=0.03) == 0.0


def test_evenly_spaced_onsets_come_as_often_as_in_training():
    train = [np.arange(0, 5, 0.5), np.array([0.0, 0.5, 2.0])]  # 0.5 s in the median
    test = [np.arange(0.2, 4.0, 0.5)]
    assert onsets.evenly_spaced(train, test, [4.0]) == 1.0
    assert onsets.evenly_spaced(train, test, [8.0]) == pytest.approx(2 * 8 / (8 + 16))
