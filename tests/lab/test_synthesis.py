import numpy as np
import pytest

from dl101.errors import DataError
from dl101.lab.synthesis import matrix_to_f0s, resynthesise, resynthesise_matrix
from dl101.targets import PitchAxis
from dl101.units import hz_to_midi, midi_to_hz

RATE = 22050
TIMES = np.arange(87) * 512 / RATE  # 2 s


def partials(audio, *, floor=0.05):
    """Return frequencies of the peaks of the spectrum above ``floor`` of the highest, in Hz."""
    spectrum = np.abs(np.fft.rfft(audio * np.hanning(audio.size)))
    is_peak = (spectrum[1:-1] > spectrum[:-2]) & (spectrum[1:-1] >= spectrum[2:])
    bins = 1 + np.flatnonzero(is_peak & (spectrum[1:-1] > floor * spectrum.max()))
    return bins * RATE / audio.size


def test_a_pitch_becomes_a_harmonic_tone():
    audio = resynthesise(TIMES, [[440.0]] * 87, n_harmonics=3)
    assert audio.dtype == np.float32
    assert partials(audio) == pytest.approx([440, 880, 1320], abs=1)
    spectrum = np.abs(np.fft.rfft(audio * np.hanning(audio.size)))
    near = np.arange(-4, 5)
    energy = [np.sum(spectrum[round(f * audio.size / RATE) + near] ** 2) for f in (440, 880)]
    assert np.sqrt(energy[1] / energy[0]) == pytest.approx(0.5, abs=0.01)


def test_silence_zero_and_nan_do_not_sound():
    assert not resynthesise(TIMES, [[]] * 87).any()
    assert not resynthesise(TIMES, [[0.0, np.nan]] * 87).any()


def test_frames_sound_in_their_own_time():
    f0s = [[330.0] if 30 <= t < 60 else [] for t in range(87)]
    audio = resynthesise(TIMES, f0s)
    sounding = np.flatnonzero(np.abs(audio) > 1e-4) / RATE
    assert sounding[0] == pytest.approx(TIMES[30] - 256 / RATE, abs=0.005)
    assert sounding[-1] == pytest.approx(TIMES[59] + 256 / RATE, abs=0.005)


def test_vibrato_has_no_jump_of_phase():
    """The waveform bends no faster than its frequencies allow: a jump would stand out."""
    f0s = [[440 * 2 ** (0.3 / 12 * np.sin(t / 3))] for t in range(87)]
    audio = resynthesise(TIMES, f0s, n_harmonics=1).astype(np.float64)
    bend = np.abs(np.diff(audio, 2))
    highest = 0.1 * (2 * np.pi * 440 * 2 ** (0.3 / 12) / RATE) ** 2
    assert bend.max() < 1.1 * highest


def test_crossing_order_does_not_matter():
    up = resynthesise(TIMES, [[330.0, 440.0]] * 87)
    mixed = resynthesise(TIMES, [[330.0, 440.0], [440.0, 330.0]] * 43 + [[440.0, 330.0]])
    np.testing.assert_allclose(up, mixed, atol=1e-6)


def test_two_tones_that_meet_in_one_pitch_go_on_as_one():
    f0s = [[438.0, 442.0]] * 40 + [[440.0]] * 47
    audio = resynthesise(TIMES, f0s, n_harmonics=1)
    assert np.abs(audio[-RATE // 2 :]).max() == pytest.approx(0.1, rel=0.01)


def test_nothing_aliases():
    audio = resynthesise(TIMES, [[4000.0]] * 87, n_harmonics=5)
    assert partials(audio) == pytest.approx([4000, 8000], abs=1)


def test_duration_is_as_asked():
    assert resynthesise(TIMES, [[440.0]] * 87, duration_s=1.5).size == round(1.5 * RATE)


def test_blurred_bins_are_one_pitch_and_keys_are_two():
    fine = PitchAxis(f_min_hz=float(midi_to_hz(60)), bins_per_semitone=5, n_bins=20)
    matrix = np.zeros((20, 2))
    matrix[[4, 5, 6, 15], 0] = 1
    first, second = matrix_to_f0s(matrix, fine)
    assert hz_to_midi(first) == pytest.approx([61, 63])
    assert second.size == 0
    keys = PitchAxis(f_min_hz=float(midi_to_hz(60)), bins_per_semitone=1, n_bins=4)
    (pair,) = matrix_to_f0s(np.array([[0], [1], [1], [0]]), keys)
    assert hz_to_midi(pair) == pytest.approx([61, 62])


def test_matrix_sounds_at_its_pitches():
    axis = PitchAxis(f_min_hz=220.0, bins_per_semitone=1, n_bins=13)
    matrix = np.zeros((13, 87), np.uint8)
    matrix[[0, 12]] = 1
    audio = resynthesise_matrix(matrix, axis, TIMES, n_harmonics=1)
    assert partials(audio) == pytest.approx([220, 440], abs=1)
    with pytest.raises(DataError, match="transpose"):
        resynthesise_matrix(matrix.T, axis, TIMES)


@pytest.mark.parametrize("times", [TIMES[:-1], TIMES[::-1], np.zeros((87, 1))])
def test_wrong_times_are_refused(times):
    with pytest.raises(DataError, match="resynthesise"):
        resynthesise(times, [[440.0]] * 87)
