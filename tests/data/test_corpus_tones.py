"""The corpus of tones: the algorithm's distributions, the paper's equations, truth and sound."""

from __future__ import annotations

from dataclasses import replace

import librosa
import numpy as np
import pytest
import scipy.stats

from dl101.data import pyjama
from dl101.data.audiostore import AudioStore
from dl101.data.embedded.corpora import tones
from dl101.data.embedded.corpora.tones import HOP_SAMPLES, SAMPLE_RATE, Tone
from dl101.data.embedded.export import export_corpus
from dl101.errors import DataError
from dl101.units import hz_to_midi, midi_to_hz

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def many() -> list[Tone]:
    return [tones.generate(np.random.default_rng([9, k])) for k in range(150)]


def tone_of(amplitude, distribution, f0_midi, noise=None) -> Tone:
    n_frames = len(amplitude)
    full = np.zeros((100, n_frames))
    full[: len(distribution)] = distribution
    silent = np.zeros((65, n_frames)) if noise is None else noise
    return Tone(
        np.asarray(amplitude, dtype=float), full, np.asarray(f0_midi, dtype=float), silent, ()
    )


def test_the_nonlinearity_is_that_of_the_paper() -> None:
    x = np.array([-3.0, 0.0, 2.5])
    expected = 2.0 * (1.0 / (1.0 + np.exp(-x))) ** np.log(10.0) + 1e-7
    np.testing.assert_allclose(tones.exp_sigmoid(x), expected, rtol=1e-12)


def test_notes_follow_each_other_with_the_lengths_and_shares_of_the_algorithm(many) -> None:
    for tone in many:
        assert tone.amplitude.shape == (125,) and tone.noise_magnitudes.shape == (65, 125)
        edges = [note.first_frame for note in tone.notes] + [tone.notes[-1].stop_frame]
        assert edges[0] == 0 and edges[-1] == 125
        assert [note.stop_frame for note in tone.notes] == edges[1:]
    whole = [note for tone in many for note in tone.notes[:-1]]
    lengths = np.array([note.stop_frame - note.first_frame for note in whole])
    assert lengths.min() == 5 and lengths.max() == 25
    notes = [note for tone in many for note in tone.notes]
    silent = np.mean([note.f0_midi is None for note in notes])
    sounding = [note for note in notes if note.f0_midi is not None]
    assert silent == pytest.approx(0.1, abs=0.03)
    assert np.mean([note.vibrato is not None for note in sounding]) == pytest.approx(0.5, abs=0.05)
    pitches = np.array([note.f0_midi for note in sounding])
    assert scipy.stats.kstest(pitches, "uniform", args=(24, 60)).pvalue > 0.01


def test_vibrato_is_what_the_note_says() -> None:
    tone = tones.generate(np.random.default_rng([9, 1]), 3000)
    noise = []
    for note in tone.notes:
        if note.f0_midi is None or note.stop_frame - note.first_frame < 10:
            continue
        deviation = tone.f0_midi[note.first_frame : note.stop_frame] - note.f0_midi
        if note.vibrato is None:
            noise.append(deviation.std())
            continue
        start, end, periods = note.vibrato
        assert 0 <= min(start, end) and max(start, end) <= 1
        assert 0 <= periods <= 2 * deviation.size / 5
        wave = np.sin(np.linspace(0, 2 * np.pi * periods, deviation.size))
        assert np.all(np.abs(deviation) <= max(start, end) * np.abs(wave) + 0.4)
    assert 0.03 < np.mean(noise) < 0.07  # deviations from U(0, 0.1)


def test_distributions_are_normalised_and_empty_above_half_the_rate(many) -> None:
    number = np.arange(1, 101)[:, None]
    for tone in many[:30]:
        np.testing.assert_allclose(tone.harmonic_distribution.sum(axis=0), 1.0, rtol=1e-9)
        above = number * midi_to_hz(tone.f0_midi) >= SAMPLE_RATE / 2
        assert np.all(tone.harmonic_distribution[above] == 0.0)
        assert np.all(tone.harmonic_distribution[~above] > 0.0)
        silent = np.isnan(tone.f0_midi)
        assert np.all(tone.amplitude[silent] < 1e-6)
        assert np.all(tone.noise_magnitudes[:, silent] < 1e-6)
        assert np.all(tone.amplitude[~silent] > 1e-4) and tone.amplitude.max() < 2.0
        assert 1e-8 < tone.noise_magnitudes.min() and tone.noise_magnitudes.max() < 2.0 + 1e-6


def test_amplitudes_go_from_start_to_end_with_little_noise(many) -> None:
    """Monotonous up to the noise: the blend is a power of a line."""
    turns = []
    for tone in many:
        for note in tone.notes:
            part = tone.amplitude[note.first_frame : note.stop_frame]
            if note.f0_midi is not None and part.size > 15:
                turns.append(abs(part[-1] - part[0]) / np.abs(np.diff(part)).sum())
    assert np.median(turns) > 0.35  # 1 without noise, near 0 for noise alone


def test_four_spectra_in_five_are_low_pass(monkeypatch) -> None:
    drawn = []
    made = tones._spectrum

    def recorded(n_bins, low_pass, phases, rng):
        spectrum = made(n_bins, low_pass, phases, rng)
        drawn.append((low_pass, phases, np.abs(spectrum[-n_bins // 4 :]).mean() / 20))
        return spectrum

    monkeypatch.setattr(tones, "_spectrum", recorded)
    for k in range(40):
        tones.generate(np.random.default_rng([7, k]))
    low_pass, phases, at_the_end = np.array(drawn, dtype=float).T
    assert low_pass.mean() == pytest.approx(0.8, abs=0.04)
    assert 0.0 < phases.min() and phases.max() < 0.4
    assert at_the_end[low_pass == 1].mean() < 0.5 * at_the_end[low_pass == 0].mean()


def test_harmonics_are_the_sum_of_the_equations() -> None:
    """Equations 1 to 4, sample by sample: frequencies linear, amplitudes Hann in between."""
    rng = np.random.default_rng(0)
    amplitude = rng.uniform(0.1, 1.0, 4)
    distribution = rng.dirichlet(np.ones(7), 4).T
    tone = tone_of(amplitude, distribution, [60.0, 61.0, 95.0, 40.0])
    got, noise = tones.synthesise(tone, rng)
    f0_hz = midi_to_hz(tone.f0_midi)
    phase, expected = 0.0, np.zeros(4 * HOP_SAMPLES)
    for n in range(expected.size):
        i, x = n // HOP_SAMPLES, (n % HOP_SAMPLES) / HOP_SAMPLES
        j = min(i + 1, 3)
        f0 = f0_hz[i] * (1 - x) + f0_hz[j] * x
        phase += 2 * np.pi * f0 / SAMPLE_RATE
        weight = np.cos(0.5 * np.pi * x) ** 2
        for k in range(1, 8):
            if k * f0 < SAMPLE_RATE / 2:
                a_i = amplitude[i] * distribution[k - 1, i]
                a_j = amplitude[j] * distribution[k - 1, j]
                expected[n] += (a_i * weight + a_j * (1 - weight)) * np.sin(k * phase)
    np.testing.assert_allclose(got, expected, atol=2e-5)
    assert not noise.any()


def test_noise_passes_unchanged_at_unit_gain_and_is_cut_to_its_band() -> None:
    flat = tone_of(np.zeros(6), np.zeros((1, 6)), np.full(6, 60.0), np.ones((65, 6)))
    _, noise = tones.synthesise(flat, np.random.default_rng(3))
    drawn = np.random.default_rng(3).uniform(-1, 1, 6 * HOP_SAMPLES)
    np.testing.assert_allclose(noise, drawn, atol=1e-6)  # and not a sample late
    band = np.zeros((65, 60))
    band[32] = 1.0  # 4 kHz
    _, noise = tones.synthesise(
        replace(
            flat,
            amplitude=np.zeros(60),
            f0_midi=np.full(60, 60.0),
            harmonic_distribution=np.zeros((100, 60)),
            noise_magnitudes=band,
        ),
        np.random.default_rng(3),
    )
    power = np.abs(np.fft.rfft(noise)) ** 2
    frequency = np.fft.rfftfreq(noise.size, 1 / SAMPLE_RATE)
    assert np.sum(frequency * power) / power.sum() == pytest.approx(4000, abs=20)
    assert power[np.abs(frequency - 4000) < 300].sum() > 0.98 * power.sum()


def test_tracks_are_deterministic_split_and_sum_to_their_stems() -> None:
    seen = {}
    for index in range(12):
        items = tones.render(index, seed=4, duration_s=4.0, extras=True)
        mixture, *stems = items
        np.testing.assert_array_equal(mixture.values, stems[0].values + stems[1].values)
        assert mixture.values.dtype == np.float32 and mixture.values.shape == (64000,)
        assert mixture.rate == 16000 and 0.01 < np.abs(mixture.values).max() <= tones.PEAK + 1e-4
        split, title = (mixture.fields[name][0].value for name in ("split", "title"))
        assert seen.setdefault(title, split) == split
    assert len(seen) == 12 and set(seen.values()) == {"train", "validation", "test"}
    again = tones.render(11, seed=4, duration_s=4.0, extras=False)
    assert len(again) == 1
    np.testing.assert_array_equal(again[0].values, mixture.values)
    other = tones.render(11, seed=5, duration_s=4.0, extras=False)[0].values
    assert not np.array_equal(other, mixture.values)


def test_what_the_file_says_gives_back_the_sound(tmp_path) -> None:
    files = export_corpus("tones", tmp_path, n_tracks=4, seed=2, n_jobs=1, progress=False)
    collection = pyjama.read(files.annotations)
    entries = {entry.filepath: entry for entry in collection.entries}
    assert len(entries) == 12
    with AudioStore(files.audio) as store:
        for index in range(4):
            entry = entries[f"{index:05d}-tone.wav"]
            audio, rate = store.read(entry.filepath)
            tone, harmonics, noise = tones.restore(entry.fields["generator"][0].value)
            np.testing.assert_array_equal(audio, harmonics + noise)
            assert rate == SAMPLE_RATE
            f0, amplitude = entry.fields["f0"][0], entry.fields["amplitude"][0]
            np.testing.assert_allclose(f0.value[0], tone.f0_midi, atol=6e-4)
            np.testing.assert_allclose(amplitude.value[0], tone.amplitude, atol=6e-7)
            np.testing.assert_allclose(np.diff(f0.time), 0.032, atol=1e-9)
            # the truth as parameters, synthesised anew, is the sound
            again, _ = tones.synthesise(tone, np.random.default_rng(0))
            np.testing.assert_allclose(again, harmonics, atol=3e-5)
            sounding = [note for note in tone.notes if note.f0_midi is not None]
            assert len(entry.fields["pitchmidi"]) == len(sounding)


def test_yin_hears_the_annotated_pitch() -> None:
    """On tones whose fundamental leads, away from the changes of note."""
    errors = []
    for index in range(30):
        mixture, harmonics, _ = tones.render(index, seed=0, duration_s=4.0, extras=True)
        tone, *_ = tones.restore(mixture.fields["generator"][0].value)
        heard_hz = librosa.yin(harmonics.values, fmin=30, fmax=1200, sr=SAMPLE_RATE,
            frame_length=2048, hop_length=HOP_SAMPLES)[:125]  # fmt: skip
        for note in tone.notes:
            inner = slice(note.first_frame + 3, note.stop_frame - 3)
            leads = tone.harmonic_distribution[0, inner] > 0.5
            if note.f0_midi is not None and note.vibrato is None and leads.any():
                errors.extend((hz_to_midi(heard_hz[inner]) - tone.f0_midi[inner])[leads])
    errors = 100 * np.abs(errors)
    assert errors.size > 50
    assert np.median(errors) < 15 and np.mean(errors < 50) > 0.9


@pytest.mark.parametrize("text", ["", "125", "125 x", "125 -1 0"])
def test_a_generator_of_another_form_is_refused(text: str) -> None:
    with pytest.raises(DataError, match="whole numbers"):
        tones.restore(text)
