"""Who plays in front: the label is loudest, alone with its class, and told by timbre only."""

from __future__ import annotations

from collections import Counter

import librosa
import numpy as np
import pytest

from dl101.data.embedded import soundbank
from dl101.data.embedded.corpora import instruments
from dl101.data.embedded.renderer import SAMPLE_RATE
from dl101.data.splits import SIDES
from dl101.units import hz_to_midi, midi_to_hz

pytestmark = pytest.mark.slow

N_PLANS = instruments.RECIPE.default_tracks
N_TRACKS = 36


@pytest.fixture(scope="module")
def plans() -> list[instruments.Plan]:
    return [instruments.plan(index) for index in range(N_PLANS)]


@pytest.fixture(scope="module")
def tracks() -> list[list]:
    return [instruments.render(index, extras=True) for index in range(N_TRACKS)]


def value(item, field):
    return item.fields[field][0].value


def level_db(audio: np.ndarray) -> float:
    return 10.0 * float(np.log10(np.mean(audio.astype(float) ** 2)))


def test_every_side_has_every_label_equally_often(plans):
    assert len(instruments.CLASSES) >= 10
    for side in SIDES:
        counts = Counter(planned.label for planned in plans if planned.split == side)
        assert set(counts) == set(instruments.CLASSES)
        assert len(set(counts.values())) == 1
    train = [planned.label for planned in plans if planned.split == "train"]
    assert train[:12] != train[12:24]  # the order says nothing


@pytest.mark.parametrize("seed", [0, 1])
def test_each_side_has_its_own_recordings_and_the_label_never_accompanies_itself(seed):
    heard = {side: set() for side in SIDES}
    for planned in (instruments.plan(index, seed) for index in range(N_PLANS)):
        heard[planned.split] |= set(planned.players.values())
        classes = {r: soundbank.instrument_class(name) for r, name in planned.players.items()}
        assert classes.pop("melody") == planned.label
        assert classes
        assert planned.label not in classes.values()
    assert heard["test"] <= set(soundbank.instrument_names("test"))
    assert heard["train"] | heard["validation"] <= set(soundbank.instrument_names("training"))


def test_a_work_is_heard_with_three_leaders_in_one_style(plans):
    for side in SIDES:
        works = {}
        for planned in plans:
            if planned.split == side:
                works.setdefault(planned.work, []).append(planned)
        for leaders in works.values():
            assert len({planned.label for planned in leaders}) == 3
            assert len({planned.style for planned in leaders}) == 1


def test_what_accompanies_is_independent_of_the_label():
    """Plans are cheap: 3600 of them show a dependence of a few per cent."""
    plans = [instruments.plan(index, seed=5) for index in range(3600)]
    properties = {
        "drums": [float("drums" in planned.players) for planned in plans],
        "bass": [float("bass" in planned.players) for planned in plans],
        "tempo": [planned.tempo_bpm for planned in plans],
        "margin": [planned.margin_db for planned in plans],
        "harp": [float(planned.players["comping"].startswith("harp")) for planned in plans],
        "jig": [float(planned.style == "jig") for planned in plans],
    }
    labels = np.array([planned.label for planned in plans])
    for name, values in properties.items():
        values = np.array(values)
        for label in instruments.CLASSES:
            of_label = values[labels == label]
            deviation = (of_label.mean() - values.mean()) / (values.std() / np.sqrt(of_label.size))
            assert abs(deviation) < 4.5, (name, label)


def test_test_tracks_have_other_registers_and_rooms(plans, tracks):
    places = {side: [] for side in SIDES}
    for planned in plans:
        low, high = soundbank.instrument_range(planned.players["melody"])
        assert low <= planned.melody_range[0] < planned.melody_range[1] <= high
        assert instruments.COMPASS[0] <= planned.melody_range[0]
        low, high = max(low, instruments.COMPASS[0]), min(high, instruments.COMPASS[1])
        if high - low >= 36:  # room enough for registers
            place = (np.mean(planned.melody_range) - low) / (high - low)
            places[planned.split].append(abs(place - 0.5))
    assert min(map(len, places.values())) > 5
    assert max(places["train"] + places["validation"]) < min(places["test"])
    rt60_s = {side: [] for side in SIDES}
    for items in tracks:
        rt60_s[value(items[0], "split")].append(float(value(items[0], "room").split()[1]))
    assert max(rt60_s["train"] + rt60_s["validation"]) < min(rt60_s["test"])


def test_a_track_is_the_same_whatever_was_rendered_before(tracks):
    soundbank.load_instrument.cache_clear()
    for again, item in zip(instruments.render(11, extras=True), tracks[11], strict=True):
        assert again.key == item.key
        assert again.values.tobytes() == item.values.tobytes()
        assert repr(again.fields) == repr(item.fields)
    (alone,) = instruments.render(11)
    assert alone.values.tobytes() == tracks[11][0].values.tobytes()
    assert not np.array_equal(instruments.render(11, seed=1)[0].values, alone.values)


def test_fields_say_what_was_planned(tracks, plans):
    works = {}
    for items, planned in zip(tracks, plans, strict=False):
        mixture, melody, accompaniment = items
        assert [value(item, "role") for item in items] == ["mixture", "stem", "stem"]
        assert value(mixture, "instrument") == value(melody, "instrument") == planned.label
        assert "instrument" not in accompaniment.fields
        classes = [atom.value for atom in mixture.fields["accompaniment"]]
        players = [name for role, name in planned.players.items() if role != "melody"]
        assert set(classes) <= {soundbank.instrument_class(name) for name in players}
        assert planned.label not in mixture.key
        works.setdefault(value(mixture, "work"), set()).add(planned.split)
        for item in items:
            assert set(item.fields) <= set(instruments.RECIPE.definitions)
            assert item.values.shape == (round(instruments.DURATION_S * SAMPLE_RATE),)
            assert item.values.dtype == np.float32
    assert all(len(sides) == 1 for sides in works.values())


def test_the_label_is_in_front_and_the_mixture_is_the_stems_and_noise(tracks, plans):
    changes_db = []
    for (mixture, melody, accompaniment), planned in zip(tracks, plans, strict=False):
        margin_db = level_db(melody.values) - level_db(accompaniment.values)
        assert margin_db > 0.5
        changes_db.append(margin_db - planned.margin_db)
        clean = melody.values.astype(float) + accompaniment.values
        wanted_db = float(value(mixture, "room").split("noise ")[1].split()[0])
        snr_db = level_db(clean) - level_db(mixture.values - clean)
        assert snr_db == pytest.approx(wanted_db, abs=0.7)
        assert np.abs(mixture.values).max() < 0.86
        assert -31.0 < level_db(mixture.values) < -19.5
    # The room colours each part differently and changes the dry balance a little.
    assert np.abs(changes_db).max() < 5.0
    assert np.median(np.abs(changes_db)) < 1.5


def test_the_melody_is_heard_for_most_of_the_track(tracks):
    for mixture, *_ in tracks:
        atoms = mixture.fields["pitchmidi"]
        assert len(atoms) >= 2
        assert sum(atom.duration for atom in atoms) > 0.4 * instruments.DURATION_S


def test_the_melody_has_the_annotated_pitches(tracks, plans):
    """By YIN on the stem, in the middle of notes longer than 0.2 s, around the written pitch."""
    errors = []
    for (mixture, melody, _), planned in zip(tracks, plans, strict=False):
        kind = soundbank.instrument_kind(planned.players["melody"])
        if kind == "ensemble" or planned.label == "mallets":
            continue
        low, high = soundbank.instrument_range(planned.players["melody"])
        for atom in mixture.fields["pitchmidi"]:
            assert low <= atom.value <= high
            if atom.duration < 0.2:
                continue
            middle = int((atom.time + 0.6 * atom.duration) * SAMPLE_RATE)
            hz = float(midi_to_hz(atom.value))
            frame = melody.values[max(middle - 1024, 0) : middle + 1024]
            found = librosa.yin(
                frame, fmin=hz / 1.4, fmax=hz * 1.4, sr=SAMPLE_RATE, frame_length=2048, center=False
            )
            errors.append(100.0 * (float(hz_to_midi(found[0])) - atom.value))
            errors[-1] -= value(mixture, "tuning-cents")
    assert len(errors) > 50
    assert np.mean(np.abs(errors) < 60.0) > 0.85
    assert abs(np.median(errors)) < 10.0
