"""The singer: its truth against its sound, its formants against the tables."""

from __future__ import annotations

from dataclasses import replace

import librosa
import numpy as np
import pytest
import scipy.signal

from dl101.data.embedded import phonemes, singer, vocal_tract
from dl101.data.embedded.renderer import SAMPLE_RATE, Notes
from dl101.data.embedded.singer import Singer, Syllable, draw_lyrics, draw_singer, sing
from dl101.errors import DataError
from dl101.units import hz_to_midi

STEADY = Singer(
    "steady", "tenor", vibrato_cents=0.0, breathiness=0.0, jitter_cents=0.0, shimmer=0.0
)


def notes_of(onsets_s, durations_s, pitches_midi) -> Notes:
    n = len(onsets_s)
    return Notes(
        np.array(onsets_s, dtype=float),
        np.array(durations_s, dtype=float),
        np.array(pitches_midi),
        np.full(n, 0.7),
        np.zeros(n),
        np.zeros(n),
    )


def sing_one(syllable: Syllable, person: Singer, pitch_midi: int, seconds: float = 1.5):
    notes = notes_of([0.5], [seconds - 0.7], [pitch_midi])
    return sing(notes, [syllable], person, round(seconds * SAMPLE_RATE), np.random.default_rng(0))


def rms(audio, begin_s, end_s) -> float:
    part = audio[round(begin_s * SAMPLE_RATE) : round(end_s * SAMPLE_RATE)].astype(float)
    return float(np.sqrt(np.mean(part**2)))


def high_share(audio, begin_s, end_s) -> float:
    part = audio[round(begin_s * SAMPLE_RATE) : round(end_s * SAMPLE_RATE)].astype(float)
    power = np.abs(np.fft.rfft(part * np.hanning(part.size))) ** 2
    return float(power[np.fft.rfftfreq(part.size, 1 / SAMPLE_RATE) > 4000].sum() / power.sum())


def test_same_seed_same_samples_and_another_seed_differs() -> None:
    notes = notes_of([0.3, 0.8], [0.4, 0.5], [60, 62])
    person = draw_singer(np.random.default_rng(5))
    lyrics = draw_lyrics(2, np.random.default_rng(6))
    first, again, other = (
        sing(notes, lyrics, person, 33075, np.random.default_rng(seed)) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first.audio, again.audio)
    np.testing.assert_array_equal(first.f0_midi, again.f0_midi)
    assert first.audio.dtype == np.float32 and first.audio.shape == (33075,)
    assert first.f0_midi.shape == (151,)
    assert np.abs(first.audio - other.audio).max() > 0.01


@pytest.mark.parametrize("voice_type", phonemes.VOICE_TYPES)
def test_yin_hears_the_annotated_pitch(voice_type: str) -> None:
    person = draw_singer(np.random.default_rng([3, 4]), "training", voice_type)
    person = replace(person, jitter_cents=0.0)
    middle = sum(person.range_midi) // 2
    notes = notes_of([0.4, 1.0, 1.6, 2.6], [0.55, 0.55, 0.6, 1.2], middle + np.array([0, 4, -3, 2]))
    lyrics = [Syllable(("m",), "a"), Syllable(("s",), "e"), None, Syllable((), "o", ("n",))]
    sung = sing(notes, lyrics, person, 4 * SAMPLE_RATE, np.random.default_rng(7))
    assert person.vibrato_cents > 20.0  # or this would be too easy
    heard_hz = librosa.yin(
        sung.audio, fmin=60, fmax=1400, sr=SAMPLE_RATE, frame_length=1024, hop_length=441
    )
    truth = sung.f0_midi[::2][: heard_hz.size]
    error = 100.0 * (hz_to_midi(heard_hz[: truth.size]) - truth)[~np.isnan(truth)]
    assert np.median(np.abs(error)) < 5.0
    assert np.mean(np.abs(error) < 50.0) > 0.95


@pytest.mark.parametrize("vowel", ["a", "e", "i", "o", "u", "ae"])
@pytest.mark.parametrize("voice_type", ["alto", "bass"])
def test_formants_are_where_the_table_has_them(voice_type: str, vowel: str) -> None:
    person = replace(STEADY, voice_type=voice_type, tract_scale=1.05)
    sung = sing_one(Syllable((), vowel), person, 33)  # 55 Hz: harmonics close together
    n = 8192
    part = sung.audio[SAMPLE_RATE * 6 // 10 :][:n] * np.hanning(n)
    power = scipy.signal.fftconvolve(np.abs(np.fft.rfft(part)) ** 2, np.hanning(45), mode="same")
    power = np.maximum(power, 1e-12 * power.max())
    frequency_hz = np.fft.rfftfreq(n, 1 / SAMPLE_RATE)
    # The pulse falls by about 6 dB an octave: without it, peaks are those of the tract.
    envelope_db = 10 * np.log10(power) + 20 * np.log10(np.maximum(frequency_hz, 1.0))
    peaks_hz = frequency_hz[scipy.signal.argrelmax(envelope_db, order=8)[0]]
    formants = 1.05 * np.array(phonemes.VOWEL_RESONANCES[voice_type][vowel][0][:3])
    for formant_hz in formants:
        assert np.abs(peaks_hz - formant_hz).min() < 0.05 * formant_hz + 25.0


def test_a_shorter_tract_moves_the_spectrum_up() -> None:
    centroids = []
    for scale in (0.9, 1.1):
        audio = sing_one(Syllable((), "a"), replace(STEADY, tract_scale=scale), 45).audio
        power = np.abs(np.fft.rfft(audio)) ** 2
        frequency = np.fft.rfftfreq(audio.size, 1 / SAMPLE_RATE)
        near = (frequency > 500) & (frequency < 1500)
        centroids.append(np.sum((frequency * power)[near]) / np.sum(power[near]))
    assert centroids[1] > 1.08 * centroids[0]


def test_the_pulse_does_not_alias() -> None:
    """Nothing lies between the harmonics, even of a high note, and they fall as a voice's do."""
    f0_hz = 1234.5
    pulse, opening = vocal_tract.glottis(np.full(16384, f0_hz), 1.0)
    power = np.abs(np.fft.rfft(pulse * np.blackman(pulse.size))) ** 2
    harmonic = np.fft.rfftfreq(pulse.size, 1 / SAMPLE_RATE) / f0_hz
    distance = np.abs(harmonic - np.round(harmonic))
    assert power[distance > 0.1].sum() < 1e-9 * power.sum()
    at = np.array([power[np.abs(harmonic - k) < 0.05].max() for k in (2, 4, 8)])
    falls_db = 10 * np.log10(at[:-1] / at[1:])
    assert np.all((falls_db > 5.0) & (falls_db < 15.0))  # an octave each
    assert opening.min() >= 0.0 and opening.max() == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize("rd", [0.7, 1.0, 1.5, 2.0])
def test_the_pulse_has_the_first_harmonics_of_the_model(rd: float) -> None:
    """Fant (1997) fits the level of the first harmonic over the second by -7.6 + 11.1 Rd dB."""
    pulse, _ = vocal_tract.glottis(np.full(22050, 100.0), rd)
    spectrum = np.abs(np.fft.rfft(pulse))
    got_db = 20 * np.log10(spectrum[100] / spectrum[200])
    assert got_db == pytest.approx(-7.6 + 11.1 * rd, abs=1.5)
    assert abs(pulse.mean()) < 1e-3  # what flows out of the glottis does not stay there


def test_breath_noise_follows_breathiness() -> None:
    noise = []
    for breathiness in (0.02, 0.1):
        audio = sing_one(Syllable((), "a"), replace(STEADY, breathiness=breathiness), 57).audio
        noise.append(high_share(audio, 0.6, 1.2))
    assert noise[1] > 4 * noise[0]


def test_vibrato_has_the_rate_and_depth_of_the_singer() -> None:
    person = replace(STEADY, vibrato_cents=60.0, vibrato_rate_hz=6.0)
    curve = sing_one(Syllable(), person, 60, seconds=4.0).f0_midi[120:360]
    curve = 100 * (curve - np.mean(curve))
    spectrum = np.abs(np.fft.rfft(curve * np.hanning(curve.size), 8192))
    assert np.fft.rfftfreq(8192, 0.01)[spectrum.argmax()] == pytest.approx(6.0, abs=0.4)
    assert 0.6 * 60 < 0.5 * (np.percentile(curve, 99) - np.percentile(curve, 1)) < 1.4 * 60


def test_vowels_begin_with_their_notes_and_consonants_before() -> None:
    notes = notes_of([0.5, 1.0], [0.5, 0.5], [57, 59])
    lyrics = [Syllable(("s",), "a"), Syllable(("t",), "i", ("s",))]
    sung = sing(notes, lyrics, STEADY, 2 * SAMPLE_RATE, np.random.default_rng(0))
    labels = [label for _, _, label in sung.phonemes]
    assert labels == ["breath", "s", "a", "t", "i", "s"]
    begins = {label: begin for begin, _, label in sung.phonemes[1:5]}
    assert begins["a"] == 0.5 and begins["i"] == 1.0 and begins["s"] < 0.5
    for (begin, duration, _), (following, _, _) in zip(
        sung.phonemes, sung.phonemes[1:], strict=False
    ):
        assert begin + duration <= following + 1e-9
    # sound agrees: the hiss is unvoiced and high, the vowel voiced and low
    hiss = sung.phonemes[1]
    assert high_share(sung.audio, hiss[0] + 0.01, 0.49) > 0.8
    assert high_share(sung.audio, 0.55, 0.85) < 0.05
    frame = round((hiss[0] + 0.03) * 100)
    assert np.isnan(sung.f0_midi[frame]) and not sung.voiced[frame]
    assert sung.voiced[54:80].all()
    # the t closes before it bursts
    t = sung.phonemes[3]
    assert rms(sung.audio, t[0] + 0.025, t[0] + 0.045) < 0.1 * rms(sung.audio, 0.6, 0.8)
    assert sung.notes.durations_s[0] == pytest.approx(t[0] - 0.5)


def test_silence_where_nothing_is_sung_and_breath_in_long_rests() -> None:
    notes = notes_of([0.2, 1.6], [0.4, 0.3], [57, 57])
    sung = sing(notes, [Syllable(), Syllable()], STEADY, 3 * SAMPLE_RATE, np.random.default_rng(0))
    breath = [
        (begin, begin + length) for begin, length, label in sung.phonemes if label == "breath"
    ]
    assert len(breath) == 1 and 0.6 < breath[0][0] < breath[0][1] < 1.6
    loud = rms(sung.audio, 0.3, 0.5)
    assert 1e-3 * loud < rms(sung.audio, breath[0][0] + 0.05, breath[0][1] - 0.05) < 0.1 * loud
    assert rms(sung.audio, 0.7, breath[0][0] - 0.05) < 1e-3 * loud
    assert rms(sung.audio, 2.1, 3.0) < 1e-4 * loud
    assert not sung.voiced[64:158].any()


@pytest.mark.parametrize("voice_type", ["soprano", "bass"])
def test_vowels_are_about_equally_loud(voice_type: str) -> None:
    person = replace(STEADY, voice_type=voice_type)
    middle = sum(person.range_midi) // 2
    levels_db = [
        20 * np.log10(rms(sing_one(Syllable((), vowel), person, middle).audio, 0.7, 1.1))
        for vowel in phonemes.VOWELS
    ]
    assert max(levels_db) - min(levels_db) < 3.0
    assert -20.0 < np.mean(levels_db) < -13.0


def test_a_note_without_syllable_goes_on_with_the_vowel() -> None:
    notes = notes_of([0.2, 0.7], [0.45, 0.5], [57, 60])
    sung = sing(notes, [Syllable((), "o"), None], STEADY, 33075, np.random.default_rng(0))
    assert [label for _, _, label in sung.phonemes] == ["o"]
    assert sung.voiced[24:115].all()
    assert np.nanmedian(sung.f0_midi[40:60]) == pytest.approx(57, abs=0.3)
    assert np.nanmedian(sung.f0_midi[80:110]) == pytest.approx(60, abs=0.3)


def test_a_vowel_begins_anew_after_a_rest() -> None:
    notes = notes_of([0.2, 1.3], [0.4, 0.5], [57, 60])
    lyrics = [Syllable((), "o", ("n",)), None]
    sung = sing(notes, lyrics, STEADY, 2 * SAMPLE_RATE, np.random.default_rng(0))
    assert [label for _, _, label in sung.phonemes] == ["o", "n", "breath", "o"]
    assert sung.phonemes[-1][0] == 1.3 and not sung.voiced[64:126].any()


def test_singers_of_the_test_pool_are_other_people() -> None:
    rng = np.random.default_rng(1)
    training = [draw_singer(rng) for _ in range(200)]
    test = [draw_singer(rng, "test") for _ in range(200)]
    assert len({person.name for person in training + test}) == 400
    scales = np.array([person.tract_scale for person in training])
    for person in test:
        assert not scales.min() <= person.tract_scale <= scales.max()
        assert person.vibrato_rate_hz < 4.9 or person.vibrato_rate_hz >= 6.3
    assert {person.voice_type for person in training} == set(phonemes.VOICE_TYPES)
    assert draw_singer(rng, voice_type="bass").voice_type == "bass"


def test_lyrics_use_known_sounds_and_begin_with_a_syllable() -> None:
    lyrics = draw_lyrics(500, np.random.default_rng(2))
    assert lyrics[0] is not None
    sung = [syllable for syllable in lyrics if syllable is not None]
    assert {syllable.vowel for syllable in sung} == set(phonemes.VOWELS)
    used = {label for syllable in sung for label in syllable.onset + syllable.coda}
    assert used == set(phonemes.CONSONANTS)
    assert 0.08 < 1 - len(sung) / 500 < 0.22


@pytest.mark.parametrize(
    ("syllables", "voice_type", "onsets", "text"),
    [
        ([Syllable()], "tenor", [0.1, 0.6], "one per note"),
        ([Syllable(), Syllable((), "x")], "tenor", [0.1, 0.6], "vowel"),
        ([Syllable(("q",)), None], "tenor", [0.1, 0.6], "consonant"),
        ([Syllable(), None], "cat", [0.1, 0.6], "voice type"),
        ([Syllable(), None], "tenor", [0.1, 0.3], "overlap"),
    ],
)
def test_what_cannot_be_sung_is_refused(syllables, voice_type, onsets, text) -> None:
    notes = notes_of(onsets, [0.4, 0.4], [57, 59])
    person = replace(STEADY, voice_type=voice_type)
    with pytest.raises(DataError, match=text):
        sing(notes, syllables, person, SAMPLE_RATE, np.random.default_rng(0))
    with pytest.raises(DataError, match="pool of singers"):
        draw_singer(np.random.default_rng(0), "validation")


def test_no_notes_give_silence() -> None:
    sung = sing(notes_of([], [], []), [], STEADY, 4410, np.random.default_rng(0))
    assert not sung.audio.any() and np.isnan(sung.f0_midi).all() and sung.phonemes == ()
    assert singer.F0_HOP_S * (sung.f0_midi.size - 1) == pytest.approx(0.2)


def test_a_phrase_begins_too_low_and_slides_up() -> None:
    flat = []
    for scoop_cents in (0.0, 200.0):
        person = replace(STEADY, scoop_cents=scoop_cents)
        curve = sing_one(Syllable(), person, 60).f0_midi
        flat.append(100 * (np.nanmedian(curve[90:120]) - curve[52:55].mean()))
    assert abs(flat[0]) < 12.0 < 30.0 < flat[1]


def test_effort_makes_the_voice_brighter() -> None:
    shares = []
    for velocity in (0.0, 1.0):
        notes = replace(notes_of([0.5], [0.8], [50]), velocities=np.array([velocity]))
        sung = sing(notes, [Syllable()], STEADY, 33075, np.random.default_rng(0))
        power = np.abs(np.fft.rfft(sung.audio)) ** 2
        high = np.fft.rfftfreq(sung.audio.size, 1 / SAMPLE_RATE) > 2000
        shares.append(power[high].sum() / power.sum())
    assert shares[1] > 2 * shares[0]


def test_a_nasal_adds_a_zero_to_the_tract() -> None:
    formants = np.array([[480.0, 1270.0, 2130.0, 3000.0, 3500.0]] * 2)
    response = vocal_tract.tract_response(
        formants, np.full((2, 5), 100.0), np.array([0.0, 1.0]), np.full(2, 0.7)
    )
    gain_db = 20 * np.log10(np.abs(response[1] / response[0]))
    frequency = np.arange(gain_db.size) * SAMPLE_RATE / vocal_tract.FILTER_FFT
    assert frequency[gain_db.argmin()] == pytest.approx(phonemes.NASAL_ZERO_HZ, abs=20)
    assert gain_db.min() < -8.0 and gain_db.max() > 6.0  # and a resonance at 270 Hz
