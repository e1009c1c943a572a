"""What the renderer plays is what its annotation says: measured on the sound itself."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.fft

from dl101.data.embedded import renderer, soundbank
from dl101.data.embedded.renderer import SAMPLE_RATE, Notes, Player, Room
from dl101.units import hz_to_midi, midi_to_hz

SOLO = ("violin", "oboe", "trumpet", "flute", "reed-organ", "tenor-saxophone")
STRUCK = ("harpsichord", "nylon-guitar", "harp", "electric-piano")


def melody(pitches, *, cents=0.0, duration_s=0.6, step_s=0.75, level_db=0.0) -> Notes:
    n = len(pitches)
    return Notes(
        onsets_s=0.2 + step_s * np.arange(n),
        durations_s=np.full(n, duration_s),
        pitches_midi=np.array(pitches),
        velocities=np.full(n, 0.8),
        levels_db=np.full(n, level_db),
        cents=np.full(n, cents),
    )


def measure_f0(audio: np.ndarray, time_s: float, expected_hz: float) -> float:
    """Return the fundamental near an expected one: the best fit of equally spaced harmonics."""
    width = 4096 if expected_hz < 500 else 2048
    middle = int(time_s * SAMPLE_RATE)
    window = np.hanning(width)
    frame = audio[middle - width // 2 : middle + width // 2] * window
    # Zero-padding to 65536 samples makes the spectrum smooth enough to read between its bins.
    spectrum = np.abs(scipy.fft.rfft(frame, 65536))
    bins_hz = np.arange(spectrum.size) * SAMPLE_RATE / 65536
    candidates = expected_hz * 2.0 ** (np.arange(-100, 101, 2) / 1200.0)
    salience = sum(np.interp(h * candidates, bins_hz, spectrum) for h in range(1, 5))
    return float(candidates[np.argmax(salience)])


def cents_errors(notes: Notes, player: Player) -> np.ndarray:
    """Return measured minus annotated pitch in cents, every 40 ms inside the notes."""
    duration_s = float(notes.onsets_s[-1] + notes.durations_s[-1] + 0.3)
    audio = renderer.render_voice(notes, player, int(duration_s * SAMPLE_RATE)).astype(float)
    times, curve = renderer.f0_times(duration_s), renderer.f0_curve(notes, player, duration_s)
    errors = []
    for onset, length in zip(notes.onsets_s, notes.durations_s, strict=True):
        for time_s in np.arange(onset + 0.12, onset + length - 0.08, 0.04):
            truth = curve[np.argmin(np.abs(times - time_s))]
            found = measure_f0(audio, time_s, float(midi_to_hz(truth)))
            errors.append(100.0 * (float(hz_to_midi(found)) - truth))
    return np.array(errors)


@pytest.mark.parametrize("name", SOLO + STRUCK)
def test_dry_sound_has_the_annotated_pitch(name):
    low, high = soundbank.instrument_range(name)
    errors = cents_errors(
        melody(np.linspace(max(low, 48), min(high, 80), 5).astype(int), cents=17.0), Player(name)
    )
    assert np.median(np.abs(errors)) < 10.0
    assert np.mean(np.abs(errors) < 50.0) > 0.9
    assert abs(np.median(errors)) < 8.0  # the 17 cents are heard, not only written


@pytest.mark.parametrize("name", SOLO)
def test_vibrato_is_heard_as_annotated(name):
    notes = melody([64, 67, 71, 74], cents=-12.0)
    player = Player(name, vibrato_cents=40.0, vibrato_rate_hz=5.0, vibrato_delay_s=0.05)
    errors = cents_errors(notes, player)
    assert np.median(np.abs(errors)) < 10.0
    assert np.mean(np.abs(errors) < 50.0) > 0.9


def test_vibrato_has_its_rate_and_depth_and_sets_in_late():
    time_s = np.arange(0.0, 4.0, 0.001)
    player = Player("violin", vibrato_cents=30.0, vibrato_rate_hz=6.0, vibrato_delay_s=0.5)
    deviation = renderer.pitch_deviation(time_s, 0.0, 10.0, player)
    np.testing.assert_allclose(deviation[time_s < 0.5], 10.0)
    steady = deviation[time_s >= 1.0] - 10.0  # 3 s: 18 periods
    assert np.abs(steady).max() == pytest.approx(30.0, rel=1e-3)
    assert np.sum(np.diff(np.sign(steady)) > 0) in (17, 18)


@pytest.mark.parametrize("name", SOLO + STRUCK)
def test_onsets_are_where_the_annotation_says(name):
    notes = melody([65, 69, 72], duration_s=0.45, step_s=1.0)
    audio = renderer.render_voice(notes, Player(name, release_s=0.15), 4 * SAMPLE_RATE)
    hop = SAMPLE_RATE // 200
    power = np.add.reduceat(audio.astype(float) ** 2, np.arange(0, audio.size, hop))
    for onset_s in notes.onsets_s:
        around = slice(int((onset_s - 0.2) * 200), int((onset_s + 0.4) * 200))
        loud = power[around] > 0.02 * power[around].max()
        measured_s = (around.start + np.argmax(loud)) / 200
        assert abs(measured_s - onset_s) < 0.03


def test_f0_is_voiced_exactly_while_notes_sound():
    notes = melody([60, 62], duration_s=0.5, step_s=1.0)
    curve = renderer.f0_curve(notes, Player("violin"), 2.0)
    times = renderer.f0_times(2.0)
    assert curve.shape == times.shape == (201,)
    inside = ((times >= 0.2) & (times < 0.7)) | ((times >= 1.2) & (times < 1.7))
    np.testing.assert_array_equal(~np.isnan(curve), inside)
    np.testing.assert_allclose(np.unique(curve[inside]), [60.0, 62.0])


def test_a_note_of_six_seconds_has_no_click():
    notes = melody([64], duration_s=6.0)
    for name in ("violin", "string-section", "reed-organ"):
        audio = renderer.render_voice(notes, Player(name), 7 * SAMPLE_RATE).astype(float)
        # A click is a burst in the second difference; loops repeat about every second.
        jerk = np.abs(np.diff(audio, 2))[int(0.5 * SAMPLE_RATE) : 6 * SAMPLE_RATE]
        bursts = np.maximum.reduceat(jerk, np.arange(0, jerk.size, 441))
        assert bursts.max() < 6.0 * np.median(bursts), name


def test_a_loop_goes_on_in_phase():
    # 441 Hz has a period of 100 oversampled samples; the loop holds exactly 100 of them.
    tone = np.sin(2 * np.pi * np.arange(12004) / 100.0).astype(np.float32)
    note = SimpleNamespace(samples=tone, loop_start=2000, loop_stop=12000, decay_db_per_s=0.0)
    position = 1.0 + 1.7 * np.arange(20000)
    expected = np.sin(2 * np.pi * position / 100.0)
    np.testing.assert_allclose(renderer._read(note, position.copy()), expected, atol=1e-3)


def test_reading_between_samples_does_not_hiss():
    # A pure tone as a bank note, read 30 cents sharp: what is not the tone is interpolation noise.
    rate = SAMPLE_RATE * soundbank.OVERSAMPLING
    tone = np.sin(2 * np.pi * 3000.0 * np.arange(2 * rate) / rate).astype(np.float32)
    loop = {"loop_start": rate // 2, "loop_stop": tone.size - soundbank.PADDING}
    note = SimpleNamespace(samples=tone, decay_db_per_s=0.0, **loop)
    n = 16384
    position = 1000.0 + np.arange(n) * 2.0 * 2.0 ** (30.0 / 1200.0)
    sound = renderer._read(note, position) * np.hanning(n)
    spectrum = np.abs(np.fft.rfft(sound)) ** 2
    peak = int(np.argmax(spectrum))
    assert peak * SAMPLE_RATE / n == pytest.approx(3000.0 * 2.0 ** (30.0 / 1200.0), abs=2.0)
    tone_power = spectrum[peak - 8 : peak + 9].sum()
    assert 10 * np.log10((spectrum.sum() - tone_power) / tone_power) < -50.0


def test_struck_notes_decay_and_released_notes_stop():
    notes = melody([60], duration_s=2.0)
    audio = renderer.render_voice(notes, Player("piano", release_s=0.1), 4 * SAMPLE_RATE)

    def level_db(begin_s, end_s):
        part = audio[int(begin_s * SAMPLE_RATE) : int(end_s * SAMPLE_RATE)]
        return 10 * np.log10(np.mean(part.astype(float) ** 2) + 1e-12)

    assert level_db(0.3, 0.5) - level_db(1.9, 2.1) > 10.0
    assert level_db(2.4, 4.0) < -110.0


@pytest.mark.parametrize("name", ["piano", "kit-standard", "oboe"])
@pytest.mark.parametrize("vibrato_cents", [0.0, 20.0])
def test_a_repeated_note_sounds_as_if_it_were_alone(name, vibrato_cents):
    # Its sound is kept: neither its length, its level nor its release may pass to the next note.
    player = Player(name, vibrato_cents=vibrato_cents)
    durations_s, levels_db = np.array([0.3, 1.5, 0.2, 0.9]), np.array([0.0, -6.0, 3.0, 0.0])
    cents = np.array([0.0, 0.0, 0.0, 7.0])
    notes = replace(
        melody([42] * 4, step_s=0.4), durations_s=durations_s, levels_db=levels_db, cents=cents
    )
    alone = np.zeros(3 * SAMPLE_RATE, dtype=np.float32)
    for i in range(4):
        one = Notes(**{field: values[[i]] for field, values in vars(notes).items()})
        alone += renderer.render_voice(one, player, alone.size)
    np.testing.assert_array_equal(renderer.render_voice(notes, player, alone.size), alone)


def test_levels_scale_a_note():
    loud = renderer.render_voice(melody([64]), Player("oboe"), SAMPLE_RATE)
    soft = renderer.render_voice(melody([64], level_db=-20.0), Player("oboe"), SAMPLE_RATE)
    np.testing.assert_allclose(soft, 0.1 * loud, atol=1e-6)


def test_room_decays_by_60_db_in_its_rt60_and_keeps_the_direct_sound_first():
    room = Room(rt60_s=0.5, direct_to_reverb_db=3.0)
    response = renderer.impulse_response(room, np.random.default_rng(0)).astype(float)
    assert np.argmax(np.abs(response)) == 0
    direct, late = 1.0, np.sum(response[1:] ** 2)
    assert 10 * np.log10(direct / late) == pytest.approx(3.0, abs=1.0)
    energy = np.cumsum(response[::-1] ** 2)[::-1]  # Schroeder's backward integration
    decay_db = 10 * np.log10(energy / energy[0] + 1e-30)
    begin, end = int(0.1 * SAMPLE_RATE), int(0.35 * SAMPLE_RATE)
    slope = (decay_db[end] - decay_db[begin]) / 0.25
    assert -60.0 / slope == pytest.approx(0.5, rel=0.15)


def test_placing_in_a_room_is_a_convolution():
    rng = np.random.default_rng(1)
    voices = rng.standard_normal((2, 3000)).astype(np.float32)
    response = renderer.impulse_response(Room(0.2, 6.0), rng)
    wet = renderer.place_in_room(voices, response, [0.0, 0.0])
    expected = [np.convolve(voice, response)[:3000] for voice in voices]
    np.testing.assert_allclose(wet, expected, atol=1e-4)


def test_tilt_is_in_db_per_octave_around_1_khz():
    impulse = np.zeros((1, 8192), dtype=np.float32)
    impulse[0, 4096] = 1.0
    wet = renderer.place_in_room(impulse, np.ones(1, dtype=np.float32), [3.0])
    gain_db = 20 * np.log10(np.abs(np.fft.rfft(wet[0])))
    at = [round(f * 8192 / SAMPLE_RATE) for f in (500, 1000, 2000, 4000)]
    np.testing.assert_allclose(gain_db[at], [-3.0, 0.0, 3.0, 6.0], atol=0.1)


def test_noise_has_unit_power_and_its_slope():
    noise = renderer.background_noise(65536, 6.0, np.random.default_rng(0)).astype(float)
    assert np.mean(noise**2) == pytest.approx(1.0, rel=1e-3)
    power = np.abs(np.fft.rfft(noise)) ** 2
    octave = [power[(f := 65536 * hz // SAMPLE_RATE) : 2 * f].mean() for hz in (500, 1000, 2000)]
    np.testing.assert_allclose(10 * np.diff(np.log10(octave)), [-6.0, -6.0], atol=0.7)
