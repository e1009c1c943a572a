"""Single notes: families on every side, instruments on one, and the pitch that is written."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import librosa
import numpy as np
import pytest
import scipy.fft

from dl101.data.embedded import renderer, soundbank
from dl101.data.embedded.corpora import notes
from dl101.data.embedded.renderer import SAMPLE_RATE
from dl101.data.splits import SIDES
from dl101.units import hz_to_midi, midi_to_hz

pytestmark = pytest.mark.slow

N_PLANS = notes.RECIPE.default_tracks
N_TRACKS = 60


@pytest.fixture(scope="module")
def plans() -> list[notes.Plan]:
    return [notes.plan(index) for index in range(N_PLANS)]


@pytest.fixture(scope="module")
def items() -> list:
    return [notes.render(index)[0] for index in range(N_TRACKS)]


def value(item, field):
    return item.fields[field][0].value


def played(planned: notes.Plan, seed: int = 0) -> np.ndarray:
    return notes.perform(planned, notes.DURATION_S, np.random.default_rng(seed))[0].astype(float)


def centroid_hz(audio: np.ndarray) -> float:
    power = np.abs(np.fft.rfft(audio)) ** 2
    return float(np.average(np.fft.rfftfreq(audio.size, 1 / SAMPLE_RATE), weights=power))


def test_a_third_are_guitars_and_every_family_is_on_every_side(plans):
    for side in SIDES:
        families = Counter(planned.family for planned in plans if planned.split == side)
        n = sum(families.values())
        assert families["guitar"] / n == pytest.approx(1 / 3, abs=0.02)
        assert set(families) == set(notes.FAMILIES)
        others = [count for family, count in families.items() if family != "guitar"]
        assert max(others) - min(others) <= 1
    # The order of the families says nothing: one shuffled deck differs from the next.
    train = [planned.family for planned in plans if planned.split == "train"]
    assert train[:15] != train[15:30]
    assert sorted(train[:15]) == sorted(train[15:30])


@pytest.mark.parametrize("seed", [0, 1])
def test_no_instrument_is_on_two_sides_and_the_test_side_has_its_own_recordings(seed):
    instruments, sources = ({side: set() for side in SIDES} for _ in range(2))
    for planned in (notes.plan(index, seed) for index in range(N_PLANS)):
        instruments[planned.split].add(planned.instrument)
        sources[planned.split].add(planned.source)
        assert planned.instrument.startswith(planned.source)
    for one, other in (("train", "validation"), ("train", "test"), ("validation", "test")):
        assert not instruments[one] & instruments[other]
    assert not (sources["train"] | sources["validation"]) & sources["test"]
    assert sources["test"] <= set(soundbank.instrument_names("test"))


def test_guitars_are_rich_enough_to_learn_from(plans):
    guitars = [p for p in plans if p.family == "guitar" and p.split == "train"]
    assert len(guitars) > 200
    assert len({p.source for p in guitars}) >= 4
    assert len({p.instrument for p in guitars}) >= 20
    assert len({p.pitch_midi for p in guitars}) >= 40
    assert {p.velocity for p in guitars} == set(notes.VELOCITIES)
    assert {p.style for p in guitars} == set(notes.PLUCKED)


def test_pitches_are_in_the_range_of_the_source(plans):
    for planned in plans:
        low, high = soundbank.instrument_range(planned.source)
        assert low <= planned.pitch_midi <= high


def test_a_note_is_the_same_whatever_was_rendered_before(items):
    soundbank.load_instrument.cache_clear()
    for index in (31, 7):
        (again,) = notes.render(index)
        assert again.values.tobytes() == items[index].values.tobytes()
        assert repr(again.fields) == repr(items[index].fields)
    assert not np.array_equal(notes.render(7, seed=1)[0].values, items[7].values)


def test_fields_say_what_was_planned(items, plans):
    for item, planned in zip(items, plans, strict=False):
        assert set(item.fields) == set(notes.RECIPE.definitions)
        for field in ("family", "instrument", "velocity", "style", "split"):
            assert value(item, field) == getattr(planned, field)
        assert value(item, "pitchmidi") == planned.pitch_midi
        assert item.values.shape == (round(notes.DURATION_S * SAMPLE_RATE),)
        assert item.values.dtype == np.float32
        assert str(planned.family) not in item.key
    assert len({item.key for item in items}) == len(items)


def test_the_level_depends_on_the_velocity_alone(items):
    levels_db = {velocity: [] for velocity in notes.VELOCITIES}
    for item in items:
        assert np.abs(item.values).max() < 0.86
        rms = np.sqrt(np.mean(item.values.astype(float) ** 2))
        levels_db[value(item, "velocity")].append(20 * np.log10(rms))
    # A few notes with sharp attacks would pass full scale and are softer.
    medians = [np.median(levels_db[velocity]) for velocity in notes.VELOCITIES]
    for velocity, median in zip(notes.VELOCITIES, medians, strict=True):
        near = np.abs(np.array(levels_db[velocity]) - median) < 0.1
        assert near.mean() > 0.9, velocity
    assert medians[-1] == pytest.approx(-28.0, abs=0.1)
    assert medians[0] == pytest.approx(-40.0, abs=0.1)
    assert np.all(np.diff(medians) > 2.0)


def test_harder_is_brighter_and_styles_sound_as_they_are_called():
    note = notes.Plan("train", "guitar", "steel-guitar", "steel-guitar-01", 57, 75, "normal")
    softly, hard = (played(replace(note, velocity=velocity)) for velocity in (75, 127))
    assert centroid_hz(hard) > 1.1 * centroid_hz(softly)
    bridge, neck = (centroid_hz(played(replace(note, style=s))) for s in ("bridge", "neck"))
    assert bridge > 1.2 * neck

    def late_share(style: str) -> float:
        energy = np.cumsum(played(replace(note, style=style)) ** 2)
        return float(1.0 - energy[int(0.4 * SAMPLE_RATE)] / energy[-1])

    assert late_share("normal") > 0.1
    assert late_share("muted") < 0.02
    assert late_share("short") < 0.1


def test_a_body_belongs_to_its_instrument_and_answers_after_the_note():
    n = 1 << 15
    frequency_hz = np.maximum(np.arange(n // 2 + 1) * SAMPLE_RATE / n, 1.0)
    responses = []
    for instrument in ("steel-guitar-00", "steel-guitar-01", "steel-guitar-00"):
        tilt_db, response = notes.body(instrument, frequency_hz)
        assert abs(tilt_db) <= 1.0
        responses.append(response)
        impulse = scipy.fft.irfft(response, n)
        # Nothing sounds before time 0, which is what the second half of the cycle stands for,
        # but for 1 ms in which the limit of the band rings.
        assert np.sum(impulse[n // 2 : -22] ** 2) < 1e-4 * np.sum(impulse**2)
    np.testing.assert_array_equal(responses[0], responses[2])
    assert np.abs(20 * np.log10(np.abs(responses[0] / responses[1]))).max() > 2.0


def pitch_errors_cents(item) -> np.ndarray:
    """Return measured (YIN) minus annotated pitch while the note is held and heard."""
    truth_midi = np.ravel(value(item, "f0"))
    expected_hz = float(midi_to_hz(value(item, "pitchmidi")))
    hop, width = SAMPLE_RATE // 50, 2048 if expected_hz > 70 else 4096
    found_hz = librosa.yin(
        item.values,
        fmin=expected_hz / 1.4,
        fmax=expected_hz * 1.4,
        sr=SAMPLE_RATE,
        frame_length=width,
        hop_length=hop,
    )
    loudness = librosa.feature.rms(y=item.values, frame_length=width, hop_length=hop)[0]
    # YIN compares the first half of a frame with itself a period later.
    middle_s = (0.5 / expected_hz) - width / 4 / SAMPLE_RATE
    time_s = np.arange(found_hz.size) * hop / SAMPLE_RATE + middle_s
    truth = np.interp(time_s, renderer.f0_times(notes.DURATION_S), truth_midi)
    held_s = np.flatnonzero(~np.isnan(truth_midi))[[0, -1]] * renderer.F0_HOP_S
    inside = (time_s > held_s[0] + 0.1) & (time_s < held_s[1] - 0.05)
    inside &= ~np.isnan(truth) & (loudness > 0.05 * loudness.max())
    return 100.0 * (hz_to_midi(found_hz) - truth)[inside]


def test_the_sound_has_the_annotated_pitch(items):
    medians = []
    for item in items:
        if value(item, "family") == "organ":  # stops an octave below: YIN hears those
            continue
        errors = pitch_errors_cents(item)
        if errors.size >= 4:
            medians.append(abs(np.median(errors)))
    assert len(medians) > 30
    assert np.mean(np.array(medians) < 25.0) > 0.95
    assert np.median(medians) < 6.0


@pytest.mark.parametrize("style", ["bent", "vibrato"])
def test_bends_and_vibrato_are_heard_as_annotated(style, plans):
    indices = [i for i, p in enumerate(plans) if p.style == style and p.family == "guitar"][:6]
    for index in indices:
        (item,) = notes.render(index)
        curve = np.ravel(value(item, "f0"))
        moved_cents = 100.0 * np.ptp(curve[~np.isnan(curve)])
        assert moved_cents > (50.0 if style == "bent" else 35.0)
        errors = pitch_errors_cents(item)
        if errors.size:
            assert np.median(np.abs(errors)) < 22.0, index


def test_the_note_begins_and_ends_where_the_annotation_says(items):
    for item in items:
        atom = item.fields["pitchmidi"][0]
        power = item.values.astype(float) ** 2
        assert atom.time == pytest.approx(notes.ONSET_S)
        assert power[: int(0.015 * SAMPLE_RATE)].sum() < 3e-4 * power.sum()
        first_half = power[: int((atom.time + 0.15) * SAMPLE_RATE)].sum()
        assert first_half > 0.005 * power.sum()
        end = int((atom.time + atom.duration + 0.32) * SAMPLE_RATE)
        assert power[end:].sum() < 1e-3 * power.sum()
