"""Scores of single pitches against mir_eval."""

from __future__ import annotations

import mir_eval
import numpy as np
import pytest

from dl101.evaluation import pitch
from dl101.units import midi_to_hz


def curves(seed, n=300):
    rng = np.random.default_rng(seed)
    truth = 50 + 10 * np.sin(np.arange(n) / 20) + rng.normal(0, 0.2, n)
    truth[rng.random(n) < 0.2] = np.nan
    wrong = rng.choice([0, 0, 0, 12, -12, 24, 7, 0.4, 0.6], n)
    return truth, np.nan_to_num(truth, nan=55.0) + wrong + rng.normal(0, 0.1, n)


def by_mir_eval(truth, estimate):
    """Both accuracies of mir_eval, of frames that stand at the same times."""
    hz = [np.nan_to_num(midi_to_hz(x), nan=0.0) for x in (truth, estimate)]
    ref_voicing, est_voicing = (mir_eval.melody.freq_to_voicing(x)[1] for x in hz)
    cents = [mir_eval.melody.hz2cents(x) for x in hz]
    arguments = ref_voicing, cents[0], est_voicing, cents[1]
    return (
        mir_eval.melody.raw_pitch_accuracy(*arguments),
        mir_eval.melody.raw_chroma_accuracy(*arguments),
    )


@pytest.mark.parametrize("seed", range(5))
def test_accuracies_are_those_of_mir_eval(seed):
    truth, estimate = curves(seed)
    found = pitch.pitch_scores(truth, estimate)
    rpa, rca = by_mir_eval(truth, estimate)
    assert found["raw_pitch_accuracy"] == pytest.approx(rpa, abs=1e-9)
    assert found["raw_chroma_accuracy"] == pytest.approx(rca, abs=1e-9)
    assert found["octave_error"] == pytest.approx(rca - rpa, abs=1e-9)
    assert 0 < rpa < rca < 1


def test_an_octave_counts_in_one_of_the_two():
    truth = np.array([60.0, 62.0, np.nan, 64.0])
    found = pitch.pitch_scores(truth, truth + 12)
    assert found["raw_pitch_accuracy"] == 0 and found["raw_chroma_accuracy"] == 1
    assert found["octave_error"] == 1 and np.isnan(found["error_cents"])
    assert pitch.pitch_scores(truth, truth + 0.2)["error_cents"] == pytest.approx(20)


def test_curves_are_read_between_their_frames():
    times = np.array([0.0, 0.1, 0.2, 0.3])
    found = pitch.at_times(times, np.array([60.0, 62.0, np.nan, 70.0]), [0.05, 0.12, 0.26, 9, -1])
    np.testing.assert_allclose(found, [61, 62, 70, 70, 60])
    assert pitch.at_times([0.0], [60.0], [0.0, 1.0]).tolist() == [60, 60]
    assert np.isnan(pitch.at_times([], [], [0.0, 1.0])).all()
    # as mir_eval does where everything sounds: straight lines in cents
    rng = np.random.default_rng(0)
    curve, base = 60 + rng.normal(0, 3, 20), np.arange(20) * 0.032
    wanted = np.arange(55) * 0.01
    hz, _ = mir_eval.melody.freq_to_voicing(midi_to_hz(curve))
    cents = mir_eval.melody.hz2cents(hz)
    theirs, _ = mir_eval.melody.resample_melody_series(base, cents, np.ones(20), wanted)
    mine = mir_eval.melody.hz2cents(midi_to_hz(pitch.at_times(base, curve, wanted)))
    np.testing.assert_allclose(mine, theirs, atol=1e-6)


def test_sound_and_silence_are_told_apart():
    truth = np.array([60.0, 61.0, np.nan, np.nan, np.nan])
    found = pitch.voicing_accuracy(truth, np.array([0.9, 0.2, 0.7, 0.1, 0.1]))
    assert found == {
        "voicing_recall": 0.5,
        "false_alarm": pytest.approx(1 / 3),
        "voicing_accuracy": pytest.approx(0.6),
    }
    assert np.isnan(pitch.voicing_accuracy(truth[:2], np.ones(2))["false_alarm"])
