"""``genres``: balanced sides, artists on one of them, and styles that overlap."""

from __future__ import annotations

import itertools
from collections import Counter
from functools import cache

import numpy as np
import pytest

from dl101.data.embedded import performer
from dl101.data.embedded.arranger import STYLES
from dl101.data.embedded.corpora import genres
from dl101.data.embedded.recipe import track_split
from dl101.data.embedded.renderer import SAMPLE_RATE
from dl101.data.splits import SIDES
from dl101.evaluation.probe_features import describe

pytestmark = pytest.mark.slow

N_TRACKS = genres.RECIPE.default_tracks
DURATION_S = genres.RECIPE.duration_s


@cache
def plan(index: int) -> genres.Plan:
    return genres.plan(index, 0)


def render(index: int, seed: int = 0):
    return genres.render(index, seed=seed, duration_s=DURATION_S, extras=False)[0]


def test_the_same_track_has_the_same_bytes_and_another_seed_has_not() -> None:
    for index in (1, 8):
        first, again, other = render(index), render(index), render(index, seed=1)
        assert first.key == again.key
        assert first.fields == again.fields
        np.testing.assert_array_equal(first.values, again.values)
        assert not np.array_equal(first.values, other.values)


def test_labels_of_the_entry_are_those_of_the_plan() -> None:
    item = render(4)
    assert item.fields["genre"][0].value == plan(4).genre
    assert item.fields["tempo"][0].value == round(plan(4).tempo_bpm, 2)
    assert item.values.shape == (DURATION_S * SAMPLE_RATE,)
    assert set(item.fields) == set(genres.RECIPE.definitions)


def test_each_side_has_as_many_tracks_of_each_genre() -> None:
    for side in SIDES:
        counts = Counter(plan(i).genre for i in range(N_TRACKS) if track_split(i)[0] == side)
        assert set(counts) == set(genres.GENRES)
        assert len(set(counts.values())) == 1


def test_artists_have_one_genre_and_one_side() -> None:
    genre_of, tracks_of = {}, Counter()
    sides = {side: set() for side in SIDES}
    instruments = {side: set() for side in SIDES}
    for index in range(N_TRACKS):
        artist = plan(index).artist
        assert genre_of.setdefault(artist.name, plan(index).genre) == plan(index).genre
        tracks_of[artist.name] += 1
        sides[track_split(index)[0]].add(artist.name)
        instruments[track_split(index)[0]] |= set(artist.players.values())
    assert not sides["train"] & sides["test"]
    assert not sides["train"] & sides["validation"]
    assert not sides["validation"] & sides["test"]
    assert not instruments["train"] & instruments["test"]
    assert max(tracks_of.values()) == genres.TRACKS_PER_ARTIST
    per_genre = Counter(genre_of[name] for name in sides["test"])
    assert min(per_genre.values()) >= 2


def test_order_in_the_file_tells_nothing() -> None:
    labels = [plan(i).genre for i in range(N_TRACKS)]
    same = np.mean([a == b for a, b in itertools.pairwise(labels)])
    assert same < 0.2
    rounds = [labels[start :: len(genres.GENRES)] for start in range(len(genres.GENRES))]
    assert min(len(set(labels)) for labels in rounds) > 4


def test_styles_overlap() -> None:
    """Tempi and instruments are shared between genres, and some tracks borrow a style."""
    crossover = np.mean([plan(i).crossover != "" for i in range(N_TRACKS)])
    assert 0.1 < crossover < 0.3
    for index in range(N_TRACKS):
        style = STYLES[genres.GENRES[plan(index).genre].style]
        assert plan(index).crossover != style.name
    tempi = {g: [plan(i).tempo_bpm for i in range(N_TRACKS) if plan(i).genre == g]
             for g in genres.GENRES}  # fmt: skip
    low, high = (np.array([f(t) for t in tempi.values()]) for f in (np.min, np.max))
    overlap = (low[:, None] < high[None, :]) & (low[None, :] < high[:, None])
    assert overlap.sum(axis=1).min() > 3  # each shares tempi with at least three others
    users: dict[str, set] = {}
    for index in range(N_TRACKS):
        found = plan(index)
        for role, name in found.artist.players.items():
            if role in found.song.lines:
                users.setdefault(name, set()).add(found.genre)
    shared = [name for name, found in users.items() if len(found) >= 2]
    assert len(shared) > 0.6 * len(users)


def test_borrowed_drums_replace_the_style_s_own() -> None:
    """A classical piece has drums only where it borrows them."""
    seen = {True: 0, False: 0}
    for index in range(N_TRACKS):
        found = plan(index)
        if found.genre == "classical":
            line = found.song.lines.get("drums")
            drums = line is not None and line.onsets_quarters.size > 0
            assert not drums or found.crossover
            seen[drums] += 1
    assert min(seen.values()) > 0


def test_level_and_loudest_sample() -> None:
    for index in range(6):
        audio = render(index).values
        level_db = 10 * np.log10(np.mean(np.square(audio, dtype=float)))
        assert genres.LEVEL_DB[0] - 6.0 < level_db < genres.LEVEL_DB[1] + 0.1
        assert np.abs(audio).max() <= performer.PEAK + 1e-4


def test_what_is_distorted_sounds_so() -> None:
    """Metal fills the spectrum more evenly than classical music does."""

    def spread(index: int) -> float:
        mean = describe(render(index).values, SAMPLE_RATE)["log-mel"][:128]
        return float(mean[64:].sum() / mean.sum())

    found = {g: [i for i in range(150) if plan(i).genre == g][:6] for g in ("metal", "classical")}
    bright = {genre: np.median([spread(i) for i in tracks]) for genre, tracks in found.items()}
    assert bright["metal"] > bright["classical"]
