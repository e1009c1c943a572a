"""Covers: cliques with a long tail, features that follow the notes, and sound that follows both."""

from __future__ import annotations

from collections import Counter, defaultdict
from functools import lru_cache

import numpy as np
import pytest

from dl101.data.embedded import profiles, versions
from dl101.data.embedded.arranger import Line
from dl101.data.embedded.corpora import covers
from dl101.data.embedded.performer import TimeMap, skeleton
from dl101.data.embedded.recipe import SIDES, track_split

pytestmark = pytest.mark.slow

N_TRACKS = covers.RECIPE.default_tracks


@lru_cache(maxsize=1)
def works_of() -> dict[str, list[str]]:
    found = defaultdict(list)
    for index in range(N_TRACKS):
        found[track_split(index)[0]].append(covers.work_of(index, 0)[0])
    return found


@lru_cache(maxsize=1)
def test_side() -> tuple[list[str], np.ndarray, np.ndarray]:
    """The test split: works, and the mean of each performance's profile, degraded and clean."""
    works, degraded, clean = [], [], []
    for index in range(N_TRACKS):
        if track_split(index)[0] == "test":
            items = covers.render(index, seed=0, duration_s=60.0, extras=True)
            works.append(items[0].fields["work-id"][0].value)
            degraded.append(items[0].values.mean(axis=1))
            clean.append(items[1].values.mean(axis=1))
    return works, np.array(degraded), np.array(clean)


test_side.__test__ = False


def hit_rate(profiles: np.ndarray, works: list[str]) -> float:
    """Return how often the nearest neighbour, over twelve rotations, is of the same work."""
    unit = profiles / np.linalg.norm(profiles, axis=1, keepdims=True)
    likeness = np.max([unit @ np.roll(unit, shift, axis=1).T for shift in range(12)], axis=0)
    np.fill_diagonal(likeness, -1.0)
    nearest = likeness.argmax(axis=1)
    cliques = Counter(works)
    queries = [i for i, work in enumerate(works) if cliques[work] > 1]
    return float(np.mean([works[nearest[i]] == works[i] for i in queries]))


def test_there_are_enough_works_and_most_have_few_performances():
    sizes = Counter(work for side in SIDES for work in works_of()[side])
    assert N_TRACKS >= 900
    assert len(sizes) >= 200
    tail = Counter(sizes.values())
    assert tail[1] > tail[2] > tail[5] > 0
    assert tail[1] > 0.25 * len(sizes)
    assert 8 <= max(sizes.values()) <= 20


@pytest.mark.parametrize("side", SIDES)
def test_each_side_has_cliques_and_singles_and_works_of_its_own(side):
    works = Counter(works_of()[side])
    others = {work for other in SIDES if other != side for work in works_of()[other]}
    assert not set(works) & others
    assert sum(size > 1 for size in works.values()) >= 20
    assert sum(size == 1 for size in works.values()) >= 15
    assert any(work.startswith("chorale") for work in works)
    assert any(work.startswith("dance") for work in works)


def test_the_number_of_a_track_says_nothing_about_its_work():
    _, works = np.unique(works_of()["train"], return_inverse=True)
    same = works[:, None] == works[None, :]
    apart = np.abs(np.subtract.outer(np.arange(works.size), np.arange(works.size)))
    near, far = same[(apart > 0) & (apart < 20)].mean(), same[apart > 200].mean()
    assert 0.6 * far < near < 1.6 * far


def test_a_track_is_the_same_whatever_was_rendered_before():
    first = covers.render(10, seed=0, duration_s=40.0, extras=True)
    covers.render(11, seed=0, duration_s=40.0, extras=False)
    again = covers.render(10, seed=0, duration_s=40.0, extras=True)
    alone = covers.render(10, seed=0, duration_s=40.0, extras=False)
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one.values, other.values)
        assert one.fields == other.fields and one.key == other.key
    assert len(alone) == 1
    np.testing.assert_array_equal(alone[0].values, first[0].values)
    moved = covers.render(10, seed=1, duration_s=40.0, extras=False)[0]
    assert moved.values.shape != first[0].values.shape or np.any(moved.values != first[0].values)


def test_features_are_probabilities_of_twelve_pitch_classes():
    for index in range(6):
        degraded, clean = covers.render(index, seed=0, duration_s=60.0, extras=True)
        assert degraded.values.dtype == clean.values.dtype == np.float32
        assert degraded.values.shape == clean.values.shape
        n_bins, n_frames = degraded.values.shape
        assert n_bins == 12
        assert 30.0 * degraded.rate - 1 <= n_frames <= 60.0 * degraded.rate
        assert 0.0 <= degraded.values.min() and degraded.values.max() <= 1.0
        assert degraded.values.max() > 0.7 and degraded.values.min() < 0.2
        assert [item.fields["role"][0].value for item in (degraded, clean)] == ["degraded", "clean"]


def one_note_performance(onset_s: float, duration_s: float) -> covers.Performance:
    line = Line(np.array([onset_s]), np.array([duration_s]), np.array([69]), np.array([0.5]))
    seconds = TimeMap(np.array([0.0, 100.0]), np.array([0.0, 100.0]))
    notes = {"melody": skeleton(line, seconds, 10.0)}
    return covers.Performance("w", "A", "train", 60.0, 0.0, 10.0, notes)


def test_the_clean_profile_of_one_note_is_its_energy_over_its_frames():
    hop_s = 1.0 / profiles.FRAME_RATE_HZ
    one = one_note_performance(10.25 * hop_s, 2.5 * hop_s)
    profile = profiles.clean_profile(one.notes.values(), one.n_frames)
    expected = np.zeros(profile.shape)
    expected[9, 10:13] = 0.25 * np.array([0.75, 1.0, 0.75])
    np.testing.assert_allclose(profile, expected, atol=1e-9)
    one = one_note_performance(20.25 * hop_s, 0.5 * hop_s)
    within = profiles.clean_profile(one.notes.values(), one.n_frames)
    np.testing.assert_allclose(within[9, 20], 0.125, atol=1e-9)
    np.testing.assert_allclose(within.sum(), 0.125, atol=1e-9)


def test_the_clean_profile_holds_all_energy_of_the_notes():
    for index in range(8):
        performance = covers.perform(index)
        total = np.zeros(12)
        end_s = performance.n_frames / profiles.FRAME_RATE_HZ
        for part in performance.notes.values():
            lengths = np.clip(part.onsets_s + part.durations_s, 0, end_s) - np.clip(
                part.onsets_s, 0, end_s
            )
            np.add.at(total, part.pitches_midi % 12, part.velocities**2 * lengths)
        profile = profiles.clean_profile(performance.notes.values(), performance.n_frames)
        np.testing.assert_allclose(profile.sum(axis=1) / profiles.FRAME_RATE_HZ, total, rtol=1e-6)


def test_overtones_and_mistuning_leak_where_physics_says():
    held = np.zeros((12, 200))
    held[0] = 0.5  # a long C
    heard = {
        cents: np.mean(
            [profiles.degrade(held, cents, np.random.default_rng(seed)) for seed in range(12)],
            axis=(0, 2),
        )
        for cents in (-40.0, 0.0, 40.0)
    }
    order = np.argsort(-heard[0.0])
    assert order[0] == 0 and order[1] == 7  # the third partial of C is a G
    assert heard[0.0][4] > heard[0.0][8]  # its fifth an E; a mirrored comb would give Ab
    assert heard[0.0][7] > heard[0.0][5]
    assert heard[40.0][1] > heard[40.0][11]
    assert heard[-40.0][11] > heard[-40.0][1]


def test_performances_of_one_work_differ_in_key_tempo_and_length():
    by_work = defaultdict(list)
    for index in range(N_TRACKS):
        by_work[covers.work_of(index, 0)[0]].append(index)
    largest = [covers.perform(index) for index in max(by_work.values(), key=len)]
    assert len(largest) >= 8
    assert len({p.work_id for p in largest}) == 1
    assert len({round(p.tempo_bpm, 3) for p in largest}) == len(largest)
    assert len({p.n_frames for p in largest}) == len(largest)
    assert len({tuple(p.notes) for p in largest}) >= 2  # other voices or accompaniment
    firsts = [next(iter(p.notes.values())).pitches_midi[:3] for p in largest]
    assert len({tuple(first) for first in firsts}) >= len(largest) - 1


def test_ornaments_keep_the_time_and_leave_a_plain_melody_plain():
    n = 40
    rng = np.random.default_rng(0)
    line = Line(np.arange(n) * 1.0, np.ones(n), 60 + np.arange(n) % 5 * 2, np.full(n, 0.8))
    plain = versions.ornament(line, np.arange(12), 0.0, rng)
    np.testing.assert_array_equal(plain.pitches_midi, line.pitches_midi)
    ornamented = versions.ornament(line, np.arange(12), 0.8, rng)
    assert ornamented.onsets_quarters.size > n + 10
    ends = ornamented.onsets_quarters + ornamented.durations_quarters
    np.testing.assert_allclose(ends[:-1], ornamented.onsets_quarters[1:])
    assert ends[-1] == n
    assert ornamented.durations_quarters.min() > 0


def test_a_simple_baseline_is_above_chance_and_far_from_perfect():
    works, degraded, clean = test_side()
    sizes = Counter(works)
    chance = np.mean([(sizes[w] - 1) / (len(works) - 1) for w in works if sizes[w] > 1])
    assert 2.0 * chance < hit_rate(degraded, works) < 0.5
    assert hit_rate(degraded, works) < hit_rate(clean, works) < 0.8


def test_the_sound_has_the_pitch_classes_of_the_clean_profile():
    librosa = pytest.importorskip("librosa")
    for index in (0, 1, 2):
        performance = covers.perform(index, duration_s=24.0)
        samples, rate = covers.render_audio(index, duration_s=24.0)
        assert abs(samples.size / rate - performance.duration_s) < 0.001
        again, _ = covers.render_audio(index, duration_s=24.0)
        np.testing.assert_array_equal(samples, again)
        hop = round(rate / profiles.FRAME_RATE_HZ)
        chroma = librosa.feature.chroma_stft(
            y=samples, sr=rate, n_fft=8192, hop_length=hop, center=True,
            tuning=performance.tuning_cents / 100.0, norm=None,
        )  # fmt: skip
        clean = profiles.clean_profile(performance.notes.values(), performance.n_frames)
        n = min(clean.shape[1], chroma.shape[1])
        chroma, clean = np.sqrt(chroma[:, :n]), np.sqrt(clean[:, :n])
        shifted = [np.corrcoef(np.roll(chroma, s, axis=0).ravel(), clean.ravel())[0, 1]
                   for s in range(12)]  # fmt: skip
        assert int(np.argmax(shifted)) == 0
        assert shifted[0] > 0.35
        late = np.corrcoef(np.roll(chroma, 40, axis=1).ravel(), clean.ravel())[0, 1]
        assert shifted[0] > late + 0.1  # in time, too
