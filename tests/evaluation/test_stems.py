"""Scores of songs by stem: which are counted, which average, which floor."""

from __future__ import annotations

import numpy as np
import pytest

from dl101.data.songs import STEMS, SongTrack
from dl101.evaluation import stems
from dl101.evaluation.separation import frame_sdr, sdr, si_sdr

RATE = 1000


@pytest.fixture
def songs() -> list[SongTrack]:
    rng = np.random.default_rng(0)
    found = []
    for i in range(3):
        sounds = 0.1 * rng.standard_normal((4, 2, 3500)).astype(np.float32)
        if i == 1:
            sounds[2] = 0.0  # no bass
        if i == 2:
            sounds[0, :, :1000] = 0.0  # vocals come late
        found.append(SongTrack(f"{i}.wav", "test", sounds))
    return found


def blurred(track: SongTrack) -> np.ndarray:
    level = 0.1 * (1 + int(track.key[0]))
    return track.stems + level * np.roll(track.mixture, 7, axis=-1)


def test_means_are_over_what_is_heard(songs):
    found = stems.score(songs, blurred, RATE)
    ratios = np.array([[si_sdr(e, s) if s.any() else np.nan for e, s in
                        zip(blurred(t), t.stems, strict=True)] for t in songs])  # fmt: skip
    for place, stem in enumerate(STEMS):
        expected = np.nanmean(ratios[:, place])
        assert found.overall[f"si_sdr_db_{stem}"] == pytest.approx(expected)
    for row, track in enumerate(songs):
        expected = np.nanmean(ratios[row])
        assert found.by_song[track.key]["si_sdr_db"] == pytest.approx(expected)
    before = si_sdr(songs[0].mixture, songs[0].stems[1])
    one = stems.score(songs[:1], blurred, RATE).overall
    assert one["gain_db_drums"] == pytest.approx(ratios[0, 1] - before)
    # 3 seconds of 4 stems of 3 songs; the bass of one and a second of vocals are silent
    assert found.overall["silent_frames"] == pytest.approx(4 / 36)


def test_the_sdr_is_the_median_of_seconds_and_then_of_songs(songs):
    found = stems.score(songs, blurred, RATE).overall
    by_song = [np.nanmedian(frame_sdr(blurred(t)[1], t.stems[1], RATE)) for t in songs]
    assert found["sdr_db_drums"] == pytest.approx(np.median(by_song))
    late = songs[2]
    seconds = [sdr(blurred(late)[0, :, s : s + 1000], late.stems[0, :, s : s + 1000])
               for s in (1000, 2000)]  # fmt: skip
    assert stems.score([late], blurred, RATE).overall["sdr_db_vocals"] == pytest.approx(
        np.mean(seconds)
    )


def test_some_stems_in_another_order(songs):
    full = stems.score(songs, blurred, RATE).overall
    some = stems.score(songs, lambda t: blurred(t)[[3, 1]], RATE, ("other", "drums")).overall
    for name in ("si_sdr_db_other", "si_sdr_db_drums", "sdr_db_other", "gain_db_drums"):
        assert some[name] == full[name]
    assert "si_sdr_db_vocals" not in some
    with pytest.raises(ValueError, match="shorter"):
        stems.score(songs, lambda t: blurred(t)[:3], RATE)


def test_silence_as_an_answer_has_a_floor(songs):
    found = stems.score(songs, lambda t: 0 * t.stems, RATE).overall
    assert found["si_sdr_db_drums"] == stems.LOWEST_DB and found["sdr_db_drums"] == 0.0
    nobody = stems.score([SongTrack("0.wav", "test", 0 * songs[0].stems)], blurred, RATE)
    assert nobody.by_song == {} and nobody.overall == {"silent_frames": 1.0}


def test_the_mixture_gains_nothing(songs):
    found = stems.score(songs, lambda t: stems.unchanged(t, RATE), RATE).overall
    assert {found[f"gain_db_{stem}"] for stem in STEMS} == {0.0}
