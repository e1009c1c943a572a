"""Targets against slow loops that spell the rules out, and against the known faults."""

from __future__ import annotations

import numpy as np
import pytest

from dl101.errors import ConfigError, DataError
from dl101.signal.cqt import HcqtConfig
from dl101.targets import PitchAxis, from_f0, from_notes

AXIS = PitchAxis(f_min_hz=32.7, bins_per_semitone=5, n_bins=360)
TIMES = np.arange(200) * 512 / 22050
EPSILON = 1e-6


def nearest_bin(pitch: float, axis: PitchAxis) -> int | None:
    if not pitch > 0:
        return None
    distance = np.abs(axis.midi - pitch)
    best = int(distance.argmin())
    return best if distance[best] <= 0.5 / axis.bins_per_semitone else None


def f0_by_loops(f0_midi, f0_times_s, axis, times_s) -> np.ndarray:
    target = np.zeros((axis.n_bins, len(times_s)), dtype=np.uint8)
    step = np.median(np.diff(f0_times_s if len(f0_times_s) > 1 else times_s))
    for t, time_s in enumerate(times_s):
        best = None
        for i, annotated in enumerate(f0_times_s):
            if best is None or abs(annotated - time_s) < abs(f0_times_s[best] - time_s) - EPSILON:
                best = i
        if best is None or abs(f0_times_s[best] - time_s) > step / 2 + EPSILON:
            continue
        for voice in f0_midi:
            k = nearest_bin(voice[best], axis)
            if k is not None:
                target[k, t] = 1
    return target


def notes_by_loops(onsets_s, durations_s, pitches_midi, axis, times_s) -> np.ndarray:
    target = np.zeros((axis.n_bins, len(times_s)), dtype=np.uint8)
    half_step = np.median(np.diff(times_s)) / 2
    for onset, duration, pitch in zip(onsets_s, durations_s, pitches_midi, strict=True):
        k = nearest_bin(pitch, axis)
        if k is None:
            continue
        lit = False
        for t, time_s in enumerate(times_s):
            if onset - EPSILON <= time_s < onset + duration - EPSILON:
                target[k, t] = 1
                lit = True
        if not lit:
            middle = onset + duration / 2
            t = int(np.argmin([abs(time_s - middle) for time_s in times_s]))
            if abs(times_s[t] - middle) <= half_step + EPSILON:
                target[k, t] = 1
    return target


def random_f0(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    times = np.sort(rng.choice(500, size=rng.integers(2, 400), replace=False)) * 0.01
    pitch = rng.uniform(15, 105, (4, times.size))
    pitch[rng.random(pitch.shape) < 0.2] = 0
    pitch[rng.random(pitch.shape) < 0.1] = np.nan
    return pitch, times


@pytest.mark.parametrize("seed", range(8))
def test_f0_equals_the_loops(seed: int) -> None:
    pitch, times = random_f0(np.random.default_rng(seed))
    got = from_f0(pitch, times, AXIS, TIMES)
    assert got.dtype == np.uint8 and got.shape == (360, 200)
    np.testing.assert_array_equal(got, f0_by_loops(pitch, times, AXIS, TIMES))
    assert got.any()


@pytest.mark.parametrize("seed", range(8))
def test_notes_equal_the_loops(seed: int) -> None:
    rng = np.random.default_rng(seed)
    onsets = rng.uniform(-0.5, 5.5, 60)
    durations = rng.choice([0.0, 0.002, 0.005, 0.03, 0.4, 2.0], 60)
    pitches = rng.uniform(15, 105, 60)
    got = from_notes(onsets, durations, pitches, AXIS, TIMES)
    expected = notes_by_loops(onsets, durations, pitches, AXIS, TIMES)
    assert got.dtype == np.uint8 and got.any()
    np.testing.assert_array_equal(got, expected)


def test_a_bin_is_the_nearest_in_log_frequency() -> None:
    axis = PitchAxis(f_min_hz=440.0, bins_per_semitone=2, n_bins=4)
    np.testing.assert_allclose(axis.midi, [69, 69.5, 70, 70.5])
    np.testing.assert_allclose(axis.frequencies_hz[2], 466.1637615)
    pitches = [68.7, 68.76, 69.24, 69.26, 70.74, 70.76]
    assert axis.bins(pitches).tolist() == [-1, 0, 0, 1, 3, -1]


def test_the_axis_of_an_hcqt_is_its_harmonic_one() -> None:
    config = HcqtConfig(bins_per_semitone=3, n_octaves=4, f_min_hz=65.4)
    axis = PitchAxis.of(config)
    np.testing.assert_allclose(axis.frequencies_hz, config.frequencies_hz)
    with pytest.raises(ConfigError, match="n_bins"):
        PitchAxis(32.7, 5, 0)


@pytest.mark.parametrize("silent", [0.0, np.nan, -60.0])
def test_unvoiced_frames_light_nothing(silent: float) -> None:
    f0 = np.full((2, 100), silent)
    assert not from_f0(f0, np.arange(100) * 0.01, AXIS, TIMES).any()
    assert not from_notes([0.1], [1.0], [silent], AXIS, TIMES).any()


@pytest.mark.parametrize("pitch", [23.0, 96.1, 120.0])
def test_pitches_off_the_axis_light_nothing(pitch: float) -> None:
    assert not from_f0(np.full((1, 100), pitch), np.arange(100) * 0.01, AXIS, TIMES).any()
    assert not from_notes([0.1], [1.0], [pitch], AXIS, TIMES).any()


def test_a_very_short_note_lights_the_nearest_frame() -> None:
    target = from_notes([TIMES[7] + 0.004], [0.005], [60], AXIS, TIMES)
    assert np.argwhere(target).tolist() == [[180, 7]]


def test_a_note_outside_the_grid_lights_nothing() -> None:
    for onset in (-1.0, TIMES[-1] + 0.02, 100.0):
        assert not from_notes([onset], [0.005], [60], AXIS, TIMES).any()


def test_a_note_covers_its_half_open_interval() -> None:
    target = from_notes([TIMES[3]], [TIMES[10] - TIMES[3]], [60], AXIS, TIMES)
    assert np.flatnonzero(target[180]).tolist() == list(range(3, 10))


def test_overlapping_notes_add_nothing_twice() -> None:
    target = from_notes([0.0, 0.1, 0.2], [0.5, 0.5, 0.1], [60, 60, 64], AXIS, TIMES)
    assert target.max() == 1
    assert target[180].sum() == np.sum(TIMES < 0.6) and target[200].sum() in (4, 5)


def test_frames_far_from_any_annotation_stay_dark() -> None:
    f0_times = np.concatenate([np.arange(50), np.arange(200, 250)]) * 0.01
    target = from_f0(np.full((1, 100), 60.0), f0_times, AXIS, TIMES)
    lit = TIMES[target[180] == 1]
    expected = TIMES[(TIMES <= 0.495) | ((TIMES >= 1.995) & (TIMES <= 2.495))]
    np.testing.assert_array_equal(lit, expected)


def test_one_voice_may_come_without_an_axis() -> None:
    f0_times = np.arange(100) * 0.01
    curve = np.linspace(50, 60, 100)
    np.testing.assert_array_equal(
        from_f0(curve, f0_times, AXIS, TIMES), from_f0(curve[None], f0_times, AXIS, TIMES)
    )


def test_nothing_annotated_is_a_dark_target() -> None:
    assert not from_f0(np.zeros((4, 0)), [], AXIS, TIMES).any()
    assert not from_notes([], [], [], AXIS, TIMES).any()
    assert from_notes([0.0], [1.0], [60], AXIS, []).shape == (360, 0)


def test_faults_are_found_at_the_door() -> None:
    f0_times = np.arange(4) * 0.01
    with pytest.raises(DataError, match="one time a frame"):
        from_f0(np.zeros((4, 3)), f0_times, AXIS, TIMES)
    with pytest.raises(DataError, match="increasing"):
        from_f0(np.zeros((1, 4)), f0_times[::-1], AXIS, TIMES)
    with pytest.raises(DataError, match="hz_to_midi"):
        from_f0(np.full((1, 4), 440.0), f0_times, AXIS, TIMES)
    with pytest.raises(DataError, match="hz_to_midi"):
        from_notes([0.0], [1.0], [440.0], AXIS, TIMES)
    with pytest.raises(DataError, match="duration"):
        from_notes([0.0], [-1.0], [60.0], AXIS, TIMES)
    with pytest.raises(DataError, match="duration"):
        from_notes([np.nan], [1.0], [60.0], AXIS, TIMES)
    with pytest.raises(DataError, match="2,"):
        from_notes([0.0, 1.0], [1.0], [60.0], AXIS, TIMES)
