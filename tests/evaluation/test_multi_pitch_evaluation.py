"""Our counter against mir_eval, and the rules that make a score honest."""

from __future__ import annotations

import tracemalloc
import warnings

import mir_eval
import numpy as np
import pytest

from dl101 import targets, units
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


def by_mir_eval(reference, estimate):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # different time bases and empty frames, on purpose
        theirs = mir_eval.multipitch.evaluate(
            reference.times_s, reference.ragged_hz(), estimate.times_s, estimate.ragged_hz()
        )
    names = ("precision", "recall", "accuracy")
    ours = {name: name.title() for name in names}
    ours |= {f"chroma_{name}": f"Chroma {name.title()}" for name in names}
    return {name: theirs[their_name] for name, their_name in ours.items()}


@pytest.mark.parametrize("seed", range(8))
def test_counter_is_identical_to_mir_eval(seed):
    rng = np.random.default_rng(seed)
    reference = random_series(rng, 300, 0.010, 4)
    estimate = random_series(rng, 140, 512 / 22050, 6)
    ours = mpe.count(reference, estimate).scores()
    assert ours == by_mir_eval(reference, estimate) and min(ours.values()) > 0


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


# ---- The door: one set of rules for targets, for counting and for mir_eval ----

WIDE = PitchAxis(f_min_hz=float(units.midi_to_hz(1)), bins_per_semitone=1, n_bins=150)
FRAMES = np.arange(4) * 0.01


def both_scores(reference, estimate):
    counted = mpe.count(reference, estimate)
    assert counted.scores() == mpe.score_track(reference, estimate)
    return counted


def wild_series(rng, lowest_midi, highest_midi):
    """Return a series of any density, time base and unvoiced convention, with ties and unisons."""
    n_frames, n_slots = int(rng.integers(0, 12)), int(rng.integers(0, 6))
    step_s = float(rng.choice([0.010, 0.0101, 512 / 22050]))
    steps = 2 * (lowest_midi + rng.integers(0, 30, (n_frames, n_slots)) / 2)
    pitches = np.minimum(steps / 2 + rng.choice([0, 0.25, 1e-9], steps.shape), highest_midi)
    if rng.random() < 0.5 and pitches.size:
        pitches[:, -1] = rng.uniform(lowest_midi, highest_midi, n_frames)
    unvoiced = rng.choice([np.nan, 0.0, -60.0, -np.inf], pitches.shape)
    pitches = np.where(rng.random(pitches.shape) < 0.3, unvoiced, pitches)
    return mpe.PitchSeries(rng.choice([0, 0.003]) + np.arange(n_frames) * step_s, pitches)


@pytest.mark.parametrize("seed", range(40))
def test_both_counters_agree_on_every_input_and_with_mir_eval_where_it_accepts(seed):
    rng = np.random.default_rng(seed)
    in_its_range = seed % 2 == 0
    limits = (15.5, 111.0) if in_its_range else (1e-3, 150.0)
    for _ in range(10):
        reference, estimate = wild_series(rng, *limits), wild_series(rng, *limits)
        scores = both_scores(reference, estimate).scores()
        if in_its_range:
            assert scores == by_mir_eval(reference, estimate)


@pytest.mark.parametrize("pitch", [1, 15, 21, 69.3, 111, 112, 120, 127, 150])
def test_every_midi_number_is_a_pitch_for_targets_and_for_both_counters(pitch):
    """20 Hz and 5000 Hz, where mir_eval draws its line, are MIDI 15.5 and 111.1."""
    curve = np.full((1, 4), float(pitch))
    counts = both_scores(mpe.from_f0(curve, FRAMES), mpe.from_f0(curve, FRAMES))
    assert counts.n_matched.sum() == counts.n_reference.sum() == 4
    assert targets.from_f0(curve, FRAMES, WIDE, FRAMES).sum() == 4
    assert targets.from_notes([0], [1], [pitch], WIDE, FRAMES).sum() == 4
    assert np.all(mpe.from_notes([0], [1], [pitch], FRAMES).pitches_midi == pitch)


@pytest.mark.parametrize("unvoiced", [0, -0.0, -60.0, np.nan, None, -np.inf])
def test_every_unvoiced_convention_is_silence_for_targets_and_for_both_counters(unvoiced):
    curve = [[unvoiced, 60.0, unvoiced, 60.0]]
    for series in (mpe.from_f0(curve, FRAMES), mpe.PitchSeries(FRAMES, [[p] for p in curve[0]])):
        counts = both_scores(series, series)
        assert counts.n_reference.tolist() == [0, 1, 0, 1]
    assert targets.from_f0(curve, FRAMES, WIDE, FRAMES).sum() == 2
    notes = [0.0, 0.0], [0.02, 0.04], [60, unvoiced]
    assert np.isnan(mpe.from_notes(*notes, FRAMES).pitches_midi[2:]).all()
    assert targets.from_notes(*notes, WIDE, FRAMES).sum() == 2


@pytest.mark.parametrize("pitch", [150.5, 440.0, np.inf, "A4", True, 1 + 1j, [60.0]])
def test_what_is_no_pitch_is_refused_everywhere_in_the_same_words(pitch):
    curve = [60.0, 60.0, 60.0, pitch] if pitch is not True else [True] * 4
    doors = [
        lambda: targets.from_f0(curve, FRAMES, WIDE, FRAMES),
        lambda: targets.from_notes([0] * 4, [1] * 4, curve, WIDE, FRAMES),
        lambda: mpe.from_f0(curve, FRAMES),
        lambda: mpe.from_notes([0] * 4, [1] * 4, curve, FRAMES),
        lambda: mpe.PitchSeries(FRAMES, [[p] for p in curve]),
    ]
    reasons = set()
    for door in doors:
        with pytest.raises(DataError) as caught:
            door()
        reasons.add((caught.value.expected, caught.value.hint))
    assert len(reasons) == 1


@pytest.mark.parametrize(
    "times",
    [
        [0.0, 0.01, np.nan, 0.03],
        [0.0, 0.02, 0.01, 0.03],
        [0.0, 0.01, 0.01, 0.02],
        [0.0, 0.01, 0.02, np.inf],
        [0.0, 10_000.0, 20_000.0, 40_000.0],  # milliseconds
        [[0.0, 0.01, 0.02, 0.03]],
        [0.0, 0.01, 0.02],
        "0123",
    ],
)
def test_times_that_cannot_be_are_refused_everywhere(times):
    curve, good = np.full((1, 4), 60.0), mpe.from_f0(np.full((1, 4), 60.0), FRAMES)
    doors = [
        lambda: targets.from_f0(curve, times, WIDE, FRAMES),
        lambda: mpe.from_f0(curve, times),
        lambda: mpe.PitchSeries(times, curve.T),
        lambda: mpe.from_matrix(np.zeros((150, 4)), WIDE, times),
    ]
    if np.shape(times) != (3,):  # for a grid of its own, that is no fault
        doors += [
            lambda: targets.from_f0(curve, FRAMES, WIDE, times),
            lambda: targets.from_notes([0], [1], [60], WIDE, times),
            lambda: mpe.from_notes([0], [1], [60], times),
            lambda: mpe.resample(good, times),
        ]
    for door in doors:
        with pytest.raises(DataError):
            door()


@pytest.mark.parametrize(
    ("onsets", "durations", "pitches"),
    [
        ([0.0, 1.0], [1.0], [60.0]),  # broadcast, once
        ([0.0], [1.0, 2.0], [60.0]),
        ([0.0, 1.0], [1.0, 1.0], [60.0]),
        (0.0, [1.0, 2.0], [60.0, 62.0]),
        ([[0.0]], [[1.0]], [[60.0]]),
        ([0.0], [-1.0], [60.0]),
        ([np.nan], [1.0], [60.0]),
        ([0.0], [np.inf], [60.0]),
        ([None], [1.0], [60.0]),
        ([40_000.0], [500.0], [60.0]),  # milliseconds
        ([0.0], [1.0], [440.0]),
    ],
)
def test_notes_that_cannot_be_are_refused_in_the_same_words(onsets, durations, pitches):
    reasons = set()
    for door in (
        lambda: targets.from_notes(onsets, durations, pitches, WIDE, FRAMES),
        lambda: mpe.from_notes(onsets, durations, pitches, FRAMES),
    ):
        with pytest.raises(DataError) as caught:
            door()
        reasons.add(str(caught.value))
    assert len(reasons) == 1


def test_a_series_owns_its_pitches():
    pitches = np.array([[60.0, 0.0]])
    series = mpe.PitchSeries(np.zeros(1), pitches)
    assert pitches[0, 1] == 0 and np.isnan(series.pitches_midi[0, 1])


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (np.zeros((149, 4)), "one row per bin"),
        (np.zeros((4, 150)), "one row per bin"),
        (np.zeros(150), "(bins, frames)"),
        (np.full((150, 4), np.nan), "diverged"),
    ],
)
def test_probabilities_of_another_axis_or_of_a_diverged_network_are_refused(values, words):
    with pytest.raises(DataError) as caught:
        mpe.from_probabilities(values, WIDE, FRAMES, threshold=0.5)
    assert words in str(caught.value)


def notes_by_loops(onsets, durations, pitches, times):
    """Gather the pitches of each frame in the order of the notes, by the rule of the targets."""
    frames = [[] for _ in times]
    for note in zip(onsets, durations, pitches, strict=True):
        lit = targets.from_notes(*note, PitchAxis(1.0, 1, 200), times)
        for frame in np.flatnonzero(lit.any(axis=0)):
            frames[frame].append(note[2])
    return frames


@pytest.mark.parametrize("seed", range(6))
def test_notes_equal_a_plain_loop(seed):
    rng = np.random.default_rng(seed)
    n = 0 if seed == 0 else 80
    times = np.arange(0, 3, 0.010)
    onsets = rng.uniform(-0.5, 3.5, n).round(int(rng.integers(1, 7)))
    durations = rng.choice([0.0, 0.002, 0.03, 0.4, 2.0], n)
    pitches = rng.integers(21, 109, n).astype(float)
    series = mpe.from_notes(onsets, durations, pitches, times)
    expected = notes_by_loops(onsets, durations, pitches, times)
    assert [row[~np.isnan(row)].tolist() for row in series.pitches_midi] == expected
    assert series.pitches_midi.shape[1] == max(map(len, expected))


def test_notes_of_a_long_recording_take_little_memory():
    """A (frames, notes) mask of these took 1.4 GB, and three of them were made."""
    rng = np.random.default_rng(0)
    onsets = rng.uniform(0, 1199, 12_000)
    times = np.arange(0, 1200, 0.010)
    tracemalloc.start()
    try:
        series = mpe.from_notes(onsets, rng.uniform(0.05, 0.5, 12_000), [60.0] * 12_000, times)
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak_bytes < 6 * series.pitches_midi.nbytes < 100e6
