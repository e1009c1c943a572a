"""Stems sum to their mixture exactly, hold what their name says, and share no artist."""

from __future__ import annotations

import numpy as np
import pytest

from dl101.data.embedded import balance, renderer, soundbank
from dl101.data.embedded.corpora import stems
from dl101.data.embedded.performer import Part
from dl101.data.embedded.recipe import track_split
from dl101.data.embedded.renderer import Notes, Player

pytestmark = pytest.mark.slow

RATE = renderer.SAMPLE_RATE
N_TRACKS = 7


@pytest.fixture(scope="module")
def tracks():
    return [stems.render(index, seed=0) for index in range(N_TRACKS)]


def by_name(track) -> dict[str, np.ndarray]:
    return {item.fields["stem"][0].value: item.values for item in track[1:]}


def value(item, field: str):
    return item.fields[field][0].value


def level_db(audio: np.ndarray) -> float:
    return 10 * np.log10(np.mean(audio.astype(float) ** 2) + 1e-12)


def spectrum(audio: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the frequencies and the power of a stereo sound's middle."""
    middle = audio.mean(axis=0)
    return np.fft.rfftfreq(middle.size, 1 / RATE), np.abs(np.fft.rfft(middle)) ** 2


def test_each_song_is_a_mixture_and_its_four_stems(tracks):
    for index, track in enumerate(tracks):
        roles = [value(item, "role") for item in track]
        assert roles == ["mixture", "stem", "stem", "stem", "stem"]
        assert set(by_name(track)) == {"drums", "bass", "other", "vocals"}
        assert track[0].key == f"{index:05d}-{track_split(index)[0]}.wav"
        assert [item.key.rsplit("-", 1)[1] for item in track[1:]] == [
            f"{value(item, 'stem')}.wav" for item in track[1:]
        ]
        for item in track:
            assert item.values.dtype == np.float32
            assert item.values.shape == (2, round(stems.DURATION_S * RATE))
            assert set(item.fields) <= set(stems.RECIPE.definitions)
        assert "stem" not in track[0].fields


def test_stems_sum_to_the_mixture_exactly(tracks):
    for track in tracks:
        values = list(by_name(track).values())
        assert np.array_equal(np.sum(values, axis=0), track[0].values)
        assert np.array_equal(np.sum(values[::-1], axis=0), track[0].values)  # in any order
        in_double = np.sum([v.astype(np.float64) for v in values], axis=0)
        assert np.array_equal(in_double, track[0].values.astype(np.float64))
        assert np.abs(track[0].values).max() <= 0.851


def test_every_stem_is_heard_and_none_drowns_the_others(tracks):
    for track in tracks:
        mixture_db = level_db(track[0].values)
        assert -30 < mixture_db < -12
        for name, audio in by_name(track).items():
            assert -20 < level_db(audio) - mixture_db < 1, name


def test_stems_hold_what_their_names_say(tracks):
    low: dict[str, list[float]] = {"bass": [], "vocals": [], "other": []}
    repeats: dict[str, list[float]] = {"drums": [], "vocals": []}
    for track in tracks:
        found = by_name(track)
        for name, shares in low.items():
            frequency, power = spectrum(found[name])
            shares.append(power[frequency < 300].sum() / power.sum())
        for name, shares in repeats.items():
            shares.append(periodicity(found[name].mean(axis=0)))
    assert np.median(low["bass"]) > 0.6
    assert np.median(low["vocals"]) < 0.3 and np.median(low["other"]) < 0.3
    # A voice is alike from one period to the next, drums (above the kick) are not.
    assert min(repeats["vocals"]) > 0.75 and max(repeats["drums"]) < 0.6


def periodicity(audio: np.ndarray) -> float:
    """Return how alike (0 to 1) a sound is to itself one period later, in its loud frames.

    What lies below 300 Hz does not count.
    """
    bins = np.fft.rfft(audio)
    bins[np.fft.rfftfreq(audio.size, 1 / RATE) < 300] = 0
    size = 2048
    frames = np.fft.irfft(bins, audio.size)[: audio.size // size * size].reshape(-1, size)
    frames = frames[np.mean(frames**2, axis=1) > 0.1 * np.mean(frames**2)]
    power = np.abs(np.fft.rfft(frames * np.hanning(size), 2 * size, axis=1)) ** 2
    alike = np.fft.irfft(power, axis=1)
    window = np.fft.irfft(np.abs(np.fft.rfft(np.hanning(size), 2 * size)) ** 2)
    lags = slice(RATE // 1000, RATE // 70)
    share = (alike[:, lags] / window[lags]).max(axis=1) / (alike[:, 0] / window[0])
    return float(np.median(share))


def test_nothing_bleeds_from_one_stem_into_another():
    # A part that is silent leaves its stem silent, whatever the others play.
    who = stems.profile("train", 0, 0)
    n = round(2 * RATE)
    notes = Notes(np.zeros(1), np.array([0.5]), np.array([38]), np.ones(1), *np.zeros((2, 1)))
    parts = [
        Part("drums", notes, Player("kit-standard")),
        Part("bass", audio=np.zeros(n, np.float32)),
    ]
    mix = stems.performer.mix(
        balance.balanced(parts, {"drums": -3.0, "bass": 0.0}, 2.0),
        who.artist.room, np.random.default_rng(0), duration_s=2.0, stereo=True,
    )  # fmt: skip
    assert not mix.stems["bass"].any()
    assert np.array_equal(mix.stems["drums"], mix.mixture) and mix.mixture.any()


def test_parts_stand_left_and_right(tracks):
    differences = []
    for track in tracks:
        for name, audio in by_name(track).items():
            left, right = (level_db(side) for side in audio)
            if name in ("vocals", "bass"):
                assert abs(left - right) < 3, name
            differences.append(abs(left - right))
            assert not np.array_equal(audio[0], audio[1])
    assert max(differences) > 2


def test_levels_are_set_while_a_part_sounds():
    n = 2 * RATE
    sine = np.sin(2 * np.pi * 440 * np.arange(n) / RATE).astype(np.float32)
    half = np.where(np.arange(n) < n // 2, sine, 0).astype(np.float32)
    parts = [Part("whole", audio=sine * 0.01), Part("half", audio=half)]
    whole, half = balance.balanced(parts, {"whole": -6.0, "half": -6.0}, 2.0)
    assert np.abs(whole.audio).max() == pytest.approx(2**0.5 * 10**-0.3, rel=1e-2)
    assert np.abs(half.audio).max() == pytest.approx(2**0.5 * 10**-0.3, rel=0.05)
    silent = balance.balanced([Part("x", audio=np.zeros(n, np.float32))], {"x": 0.0}, 2.0)[0]
    assert not silent.audio.any()


def test_a_tilt_does_not_change_the_level():
    notes = Notes(
        np.array([0.0]), np.array([1.5]), np.array([33]), np.ones(1), np.zeros(1), np.zeros(1)
    )
    for tilt_db in (-4.0, 4.0):
        player = Player("finger-bass", tilt_db_per_octave=tilt_db)
        part = balance.balanced([Part("bass", notes, player)], {"bass": -10.0}, 2.0)[0]
        assert 20 * np.log10(balance.sounding_rms(part.audio)) == pytest.approx(-10.0, abs=0.1)
        assert part.player is None  # the tilt is in the sound: the mix must not apply it again


def test_artists_stay_on_one_side_with_their_voices_and_players(tracks):
    sides: dict[str, set[str]] = {}
    for index in range(60):
        split, number = track_split(index)
        who = stems.profile(split, number // stems.SONGS_PER_ARTIST, 0)
        singer = who.artist.singer
        for name in (who.artist.name, *([singer.name] if singer else [])):
            sides.setdefault(name, set()).add(split)
        heard = soundbank.instrument_names("test" if split == "test" else "training")
        assert {*who.artist.players.values(), who.second} <= set(heard)
        # Choirs count as vocals, so the rest has none.
        others = [who.artist.players["comping"], who.artist.players["pad"], who.second]
        assert all(soundbank.instrument_class(name) != "voice" for name in others)
    assert all(len(found) == 1 for found in sides.values())
    works = [(value(track[0], "work"), value(track[0], "artist")) for track in tracks]
    assert len({work for work, _ in works}) == N_TRACKS
    assert works[0][1] == works[3][1] != works[4][1]  # train tracks 0 and 3 are of one artist


def test_the_same_song_has_the_same_bytes_with_and_without_extras(tracks):
    again = stems.render(4, seed=0, extras=True)
    for one, two in zip(again, tracks[4], strict=True):
        assert one.key == two.key and one.fields == two.fields
        assert np.array_equal(one.values, two.values)
    other = stems.render(4, seed=1, duration_s=4.0)
    assert not np.array_equal(other[0].values, tracks[4][0].values[:, : 4 * RATE])
