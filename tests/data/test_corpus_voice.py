"""The corpus of sung phrases: sides that share nothing, and truth that agrees with the sound."""

from __future__ import annotations

import librosa
import numpy as np
import pytest

from dl101.data import pyjama
from dl101.data.audiostore import AudioStore
from dl101.data.embedded.corpora import chorales, dances, voice
from dl101.data.embedded.export import export_corpus
from dl101.data.embedded.phonemes import VOWELS
from dl101.data.embedded.recipe import Item, track_split
from dl101.data.embedded.renderer import SAMPLE_RATE
from dl101.errors import ConfigError
from dl101.units import hz_to_midi

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def tracks() -> list[Item]:
    return [voice.render(index, seed=1, duration_s=8.0)[0] for index in range(36)]


def value(item: Item, field: str):
    return item.fields[field][0].value


def segments(item: Item, field: str):
    return [(atom.time, atom.time + atom.duration, atom.value) for atom in item.fields[field]]


def power_above(audio, begin_s: float, end_s: float, frequency_hz: float) -> float:
    part = audio[round(begin_s * SAMPLE_RATE) : round(end_s * SAMPLE_RATE)].astype(float)
    power = np.abs(np.fft.rfft(part * np.hanning(part.size))) ** 2
    return power[np.fft.rfftfreq(part.size, 1 / SAMPLE_RATE) > frequency_hz].sum() / power.sum()


def test_the_same_track_again_and_another_seed(tracks) -> None:
    again = voice.render(4, seed=1, duration_s=8.0, extras=True)
    assert len(again) == 1 and again[0].key == tracks[4].key
    np.testing.assert_array_equal(again[0].values, tracks[4].values)
    assert again[0].fields == tracks[4].fields
    other = voice.render(4, seed=2, duration_s=8.0)[0]
    assert not np.array_equal(other.values, tracks[4].values)
    assert tracks[4].values.shape == (8 * SAMPLE_RATE,) and tracks[4].values.dtype == np.float32


def test_no_work_and_no_singer_is_on_two_sides(tracks) -> None:
    for field in ("work", "artist"):
        sides: dict[str, str] = {}
        for item in tracks:
            assert sides.setdefault(value(item, field), value(item, "split")) == value(
                item, "split"
            )
    names = [
        {person.name for person in voice.singers(split, 0)} | set(voice.SAMPLED[split])
        for split in ("train", "validation", "test")
    ]
    assert len(set.union(*names)) == sum(map(len, names))
    # tunes are on the side that they have in the other corpora
    sides = {**chorales.tune_splits(), **dances.work_splits()}
    known = [item for item in tracks if value(item, "work") in sides]
    assert len(known) > 15
    for index, item in enumerate(tracks):
        assert value(item, "split") == track_split(index)[0]
        assert sides.get(value(item, "work"), value(item, "split")) == value(item, "split")


def test_test_singers_have_other_vocal_tracts() -> None:
    heard = [p.tract_scale for side in ("train", "validation") for p in voice.singers(side, 0)]
    for person in voice.singers("test", 0):
        assert not min(heard) <= person.tract_scale <= max(heard)


def test_a_fifth_is_sampled_and_all_kinds_of_voice_sing(tracks) -> None:
    styles = [value(item, "style") for item in tracks]
    assert 4 <= styles.count("sampled") <= 9
    kinds = {value(item, "voice-type") for item in tracks}
    assert {"soprano", "alto", "tenor", "bass"} <= kinds
    works = [value(item, "work") for item in tracks]
    assert len(set(works)) > 30 and any(work.startswith("composed-") for work in works)


def test_singers_breathe_between_phrases(tracks) -> None:
    breaths = [
        [begin for begin, _, label in segments(item, "phoneme") if label == "breath"]
        for item in tracks
        if value(item, "style") == "source-filter"
    ]
    assert np.mean([len(times) >= 2 for times in breaths]) > 0.85
    assert all(times and times[0] < 1.0 for times in breaths)


def test_yin_hears_the_annotated_pitch(tracks) -> None:
    for style, most_cents in (("source-filter", 12.0), ("sampled", 25.0)):
        errors = []
        for item in tracks:
            if value(item, "style") != style or not value(item, "room").startswith("dry"):
                continue
            heard_hz = librosa.yin(
                item.values, fmin=60, fmax=1400, sr=SAMPLE_RATE, frame_length=1024, hop_length=441
            )
            truth = value(item, "f0")[0][::2][: heard_hz.size]
            sounding = ~np.isnan(truth)
            errors.append(100 * np.abs(hz_to_midi(heard_hz[: truth.size]) - truth)[sounding])
        assert len(errors) >= 2
        assert np.median(np.concatenate(errors)) < most_cents
        assert np.mean(np.concatenate(errors) < 50) > 0.9


def test_f0_notes_and_phonemes_tell_the_same(tracks) -> None:
    for item in tracks:
        curve, times_s = value(item, "f0")[0], item.fields["f0"][0].time
        assert curve.size == times_s.size == 801
        vowels = [span for span in segments(item, "phoneme") if span[2] in VOWELS]
        consonants = [span for span in segments(item, "phoneme") if span[2] not in VOWELS]
        for begin_s, end_s, label in consonants:
            inner = (times_s > begin_s + 0.03) & (times_s < end_s - 0.03)
            if label in ("s", "sh", "f", "h", "breath"):
                assert np.isnan(curve[inner]).all()
        for begin_s, end_s, _ in vowels:
            inner = (times_s > begin_s + 0.03) & (times_s < end_s - 0.03)
            assert not np.isnan(curve[inner]).any()
        inside = np.zeros(curve.size, dtype=bool)
        for begin_s, end_s, pitch in segments(item, "pitchmidi"):
            assert any(b - 1e-6 <= begin_s <= e for b, e, _ in vowels)
            middle = (times_s > begin_s + 0.12) & (times_s < end_s - 0.12)
            if middle.any():
                assert abs(np.median(curve[middle]) - pitch) < 0.9
            inside |= (times_s >= begin_s - 0.25) & (times_s < end_s + 0.25)
        assert np.isnan(curve[~inside]).all()


def test_rests_are_quiet_and_hissing_sounds_hiss(tracks) -> None:
    shares: dict[str, list[float]] = {"hiss": [], "vowel": [], "rest": []}
    for item in tracks:
        if value(item, "style") == "sampled" or not value(item, "room").startswith("dry"):
            continue
        level = np.sqrt(np.mean(item.values.astype(float) ** 2))
        last_s = 0.0
        for begin_s, end_s, label in segments(item, "phoneme"):
            if begin_s - last_s > 0.12:
                rest = item.values[
                    round((last_s + 0.06) * SAMPLE_RATE) : round((begin_s - 0.03) * SAMPLE_RATE)
                ]
                shares["rest"].append(np.sqrt(np.mean(rest.astype(float) ** 2)) / level)
            last_s = max(last_s, end_s)
            if end_s - begin_s > 0.05 and label in ("s", "sh"):
                shares["hiss"].append(power_above(item.values, begin_s, end_s, 2200))
            if end_s - begin_s > 0.1 and label in ("a", "o", "u"):
                shares["vowel"].append(power_above(item.values, begin_s, end_s, 2200))
    assert len(shares["hiss"]) > 5 and np.median(shares["hiss"]) > 0.8
    assert np.median(shares["vowel"]) < 0.1
    assert len(shares["rest"]) > 10 and np.median(shares["rest"]) < 0.03


def test_export_writes_what_is_declared(tmp_path) -> None:
    files = export_corpus("voice", tmp_path, n_tracks=6, seed=3, n_jobs=1, progress=False)
    collection = pyjama.read(files.annotations)
    assert len(collection.entries) == 6
    assert set(collection.definitions) == set(voice.RECIPE.definitions)
    for entry in collection.entries:
        assert set(entry.fields) == set(voice.RECIPE.definitions)
        with AudioStore(files.audio) as store:
            audio, rate = store.read(entry.filepath)
        assert rate == SAMPLE_RATE and 0.01 < np.abs(audio).max() <= 0.86


def test_a_track_too_short_for_a_phrase_is_refused() -> None:
    with pytest.raises(ConfigError, match="2 seconds"):
        voice.render(0, seed=0, duration_s=1.0)
    assert voice.render(0, seed=0, duration_s=2.0)[0].values.shape == (2 * SAMPLE_RATE,)
