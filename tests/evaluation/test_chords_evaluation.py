"""Viterbi against brute force and librosa; scores against mir_eval, and where it has none."""

from __future__ import annotations

import itertools
import math

import librosa
import mir_eval
import numpy as np
import pytest

from dl101.data import harte
from dl101.data.chord_segments import ChordSegments, from_atoms
from dl101.data.harte import MAJMIN
from dl101.errors import DataError
from dl101.evaluation import chords

LABELS = (
    *harte.CLASSES, "C:maj7", "D:min7/b7", "G:7", "A:sus4", "E:dim", "F:maj/3", "X", "Bb:9", "C:5",
    "Ab:hdim7", "Db:min(*5)",
)  # fmt: skip

# ---- without learning ----


def test_templates_find_the_triads_they_are_made_of():
    triads = np.zeros((12, 25))
    for number, label in enumerate(harte.CLASSES[:24]):
        triads[list(harte.parse(label).pitch_classes), number] = 1.0
    assert chords.match_chords(triads).tolist() == list(range(25))
    scores = chords.template_scores(triads, sharpness=2.0, no_chord=0.4)
    assert scores.argmax(axis=0).tolist() == list(range(25))
    assert np.allclose(scores.max(axis=0), [2.0] * 24 + [0.8])


def test_template_scores_are_correlations():
    chroma = np.random.default_rng(0).random((12, 40))
    scores = chords.template_scores(chroma, sharpness=1.0)
    for number, label in enumerate(harte.CLASSES[:24]):
        template = np.isin(np.arange(12), harte.parse(label).pitch_classes)
        wanted = [np.corrcoef(template, frame)[0, 1] for frame in chroma.T]
        assert np.allclose(scores[number], wanted, atol=1e-9)
    assert np.array_equal(scores[:24].argmax(axis=0), chords.match_chords(chroma))


def random_model(seed: int, n_states: int, n_frames: int):
    rng = np.random.default_rng(seed)
    emissions = rng.random((n_states, n_frames)) + 1e-3
    transitions = rng.dirichlet(np.ones(n_states), n_states)
    return emissions, transitions, rng.dirichlet(np.ones(n_states))


@pytest.mark.parametrize("seed", range(8))
def test_viterbi_is_the_best_of_all_sequences(seed):
    emissions, transitions, initial = random_model(seed, 3, 1 + seed % 6)

    def probability(path: tuple[int, ...]) -> float:
        steps = [transitions[a, b] for a, b in itertools.pairwise(path)]
        return math.prod([initial[path[0]], *steps, *emissions[path, range(len(path))]])

    best = max(itertools.product(range(3), repeat=emissions.shape[1]), key=probability)
    assert tuple(chords.viterbi(np.log(emissions), transitions, initial)) == best


@pytest.mark.parametrize("seed", range(5))
def test_viterbi_is_that_of_librosa(seed):
    emissions, transitions, initial = random_model(seed, 25, 300)
    emissions /= emissions.max()
    wanted = librosa.sequence.viterbi(emissions, transitions, p_init=initial)
    assert np.array_equal(chords.viterbi(np.log(emissions), transitions, initial), wanted)
    alike = librosa.sequence.viterbi(emissions, transitions)
    assert np.array_equal(chords.viterbi(np.log(emissions), transitions), alike)


def test_viterbi_of_impossible_steps_and_of_nothing():
    scores = np.log(np.array([[0.9, 0.2, 0.9], [0.1, 0.8, 0.1]]))
    assert chords.viterbi(scores, np.eye(2)).tolist() == [0, 0, 0]
    assert chords.viterbi(scores, np.full((2, 2), 0.5)).tolist() == [0, 1, 0]
    assert chords.viterbi(np.empty((3, 0)), np.eye(3)).size == 0


def test_counted_transitions():
    sequence = np.array([0, 0, 7, -1, 7, 24, 21])
    plain = chords.count_transitions([sequence], every_key=False, smoothing=0.0)
    assert plain[0, 0] == plain[0, 7] == 0.5 and plain[7, 24] == 1.0 and plain[24, 21] == 1.0
    counted = chords.count_transitions([sequence], smoothing=0.0)
    assert np.allclose(counted.sum(axis=1), 1.0)
    for semitones in range(12):  # no key is another
        moved = MAJMIN.transposed(np.arange(25), semitones)
        assert np.allclose(counted, counted[np.ix_(moved, moved)])
    smoothed = chords.count_transitions([], smoothing=1.0)
    assert np.allclose(smoothed, 1 / 25)
    stay = chords.self_transitions(25, 0.9)
    assert np.allclose(stay.sum(axis=1), 1) and stay[3, 3] == 0.9


# ---- scores ----


def random_pair(seed: int) -> tuple[ChordSegments, ChordSegments]:
    """Return two well-formed annotations, the second over a slightly other span."""
    rng = np.random.default_rng(seed)
    found = []
    for begin, end in ((0.0, 20.0), (rng.choice([0.0, 0.4]), rng.choice([19.0, 20.0, 21.0]))):
        n = int(rng.integers(1, 30))
        edges = np.sort(np.concatenate([[begin, end], rng.uniform(begin, end, n - 1)]))
        pool = LABELS if rng.random() < 0.5 else LABELS[:4]
        labels = [pool[i] for i in rng.integers(0, len(pool), n)]
        found.append(from_atoms(edges[:-1], np.diff(edges), labels))
    return found[0], found[1]


@pytest.mark.filterwarnings("ignore:No reference chords were comparable")
@pytest.mark.filterwarnings("ignore:total weight is zero")
@pytest.mark.parametrize("seed", range(40))
def test_scores_are_those_of_mir_eval(seed):
    reference, estimate = random_pair(seed)
    wanted = mir_eval.chord.evaluate(
        reference.intervals_s, list(reference.labels), estimate.intervals_s, list(estimate.labels)
    )
    found = chords.score_track(reference, estimate)
    assert set(found.scores) == set(chords.METRICS) == set(found.seconds)
    for name, value in found.scores.items():
        if found.seconds[name] > 0:
            assert value == pytest.approx(wanted[name], abs=1e-9)
        else:
            assert math.isnan(value) and wanted[name] == 0


def sampled(reference: ChordSegments, estimate: ChordSegments, name: str) -> float:
    """Score at every millisecond, by mir_eval's comparison of single labels."""
    times = np.arange(0.005, 40, 0.01)
    labels = [
        mir_eval.util.interpolate_intervals(s.intervals_s, list(s.labels), times, fill_value=fill)
        for s, fill in ((reference, "X"), (estimate, "N"))
    ]
    right = getattr(mir_eval.chord, name)(*labels)
    return float(right[right >= 0].mean())


GAPS = {
    "one segment": (([0], [20], ["C"]), ([0], [20], ["C:min"])),
    "only no chord": (([0], [20], ["N"]), ([3], [5], ["C"])),
    "a gap": (([0, 12], [8, 8], ["C", "A:min"]), ([0], [20], ["C"])),
    "gaps in both": (
        ([2, 12], [6, 8], ["C", "A:min"]),
        ([0, 9, 15], [7, 3, 9], ["C", "F", "A:min"]),
    ),
    "overlapping borders": (([0, 5], [6, 15], ["C", "G:7"]), ([0, 4], [5, 9], ["C", "G"])),
    "unknown in between": (([0, 5, 10], [5, 5, 5], ["C", "X", "D"]), ([0], [15], ["D"])),
    "nothing said": (([0, 5], [5, 5], ["C", "N"]), ([], [], [])),
}  # fmt: skip


@pytest.mark.parametrize("case", GAPS)
def test_gaps_overlaps_and_unknown_time_are_left_out(case):
    reference, estimate = (from_atoms(*atoms) for atoms in GAPS[case])
    found = chords.score_track(reference, estimate)
    for name in ("root", "thirds", "majmin", "mirex"):
        wanted = sampled(reference, estimate, name)
        assert found.scores[name] == pytest.approx(wanted, abs=1e-9), name
    assert 0 <= found.scores["seg"] <= 1
    assert found.seconds["seg"] == pytest.approx(reference.durations_s.sum())


def test_a_gap_is_not_part_of_the_segmentation():
    """Cut out of both, it moves no border; mir_eval alone would score it as the chord before."""
    with_gap = from_atoms([0, 30], [4, 6], ["C", "G"])
    without = from_atoms([0, 4], [4, 6], ["C", "G"])
    said = from_atoms([0, 3, 32], [3, 29, 4], ["C", "D", "G"])
    same = from_atoms([0, 3, 6], [3, 3, 4], ["C", "D", "G"])
    one, other = chords.score_track(with_gap, said), chords.score_track(without, same)
    assert one.scores == pytest.approx(other.scores, abs=1e-9, nan_ok=True)


def test_nothing_to_compare_is_no_score():
    found = chords.score_track(from_atoms([0], [5], ["A:sus4"]), from_atoms([0], [5], ["A"]))
    assert math.isnan(found.scores["majmin"]) and found.seconds["majmin"] == 0
    assert found.scores["root"] == 1
    other = chords.score_track(from_atoms([0], [1], ["C"]), from_atoms([0], [1], ["C"]))
    half = chords.score_track(from_atoms([0], [3], ["C"]), from_atoms([0], [3], ["G"]))
    means = chords.mean_scores([found, other, half])
    assert means["majmin"] == 0.5 and means["majmin_total"] == pytest.approx(0.25)
    assert means["root"] == pytest.approx(2 / 3) and means["root_total"] == pytest.approx(6 / 9)
    alone = chords.mean_scores([found])
    assert math.isnan(alone["majmin"]) and math.isnan(alone["majmin_total"])
    with pytest.raises(DataError, match="no segment"):
        chords.score_track(from_atoms([], [], []), from_atoms([0], [1], ["C"]))


def test_accuracy_of_frames_is_by_track():
    truth = [np.array([0, 0, -1, 1]), np.array([5]), np.array([-1])]
    said = [np.array([0, 1, 1, 1]), np.array([4]), np.array([3])]
    assert chords.frame_accuracy(said, truth) == pytest.approx(1 / 3)
    assert math.isnan(chords.frame_accuracy(said[2:], truth[2:]))


@pytest.mark.parametrize(
    ("reference", "estimate", "wanted"),
    [
        ("C:maj", "C:maj", "right"),
        ("C:maj", "A:min", "relative"),
        ("A:min", "C:maj", "relative"),
        ("C:maj", "C:min", "parallel"),
        ("C:maj", "G:maj", "fifth"),
        ("C:maj", "F:maj", "fifth"),
        ("B:min", "E:min", "fifth"),
        ("C:maj", "N", "chord or none"),
        ("N", "E:min", "chord or none"),
        ("C:maj", "E:min", "other"),
        ("C:maj", "D:maj", "other"),
    ],
)
def test_relations(reference, estimate, wanted):
    found = chords.relation(harte.to_class(reference), harte.to_class(estimate))
    assert found == wanted and found in chords.RELATIONS
