"""Segments to frames and back, and the files that hold them."""

from __future__ import annotations

import json

import mir_eval
import numpy as np
import pytest

from dl101.data import chord_segments, harte
from dl101.data.chord_segments import from_atoms, from_frames, read_lab, to_frames, write_lab
from dl101.errors import DataError

HOP_S = 0.1


def random_segments(seed: int, *, gaps: bool = False):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 20))
    edges = np.sort(rng.choice(200, n + 1, replace=False)) * HOP_S + 0.5 * HOP_S
    labels = [harte.CLASSES[i] for i in rng.integers(0, 25, n)]
    kept = rng.random(n) < (0.7 if gaps else 2)
    kept[0] = True
    return from_atoms(
        edges[:-1][kept], np.diff(edges)[kept], [x for x, k in zip(labels, kept, strict=True) if k]
    )


@pytest.mark.parametrize("seed", range(10))
def test_frames_agree_with_mir_eval_sampling(seed):
    segments = random_segments(seed, gaps=True)
    times = np.arange(230) * HOP_S
    wanted = mir_eval.util.interpolate_intervals(
        segments.intervals_s, list(segments.labels), times, fill_value=None
    )
    found = to_frames(segments, times, harte.to_class)
    assert [None if i < 0 else harte.CLASSES[i] for i in found] == wanted


@pytest.mark.parametrize("seed", range(10))
def test_there_and_back(seed):
    segments = random_segments(seed)
    duration_s = float(segments.intervals_s[-1, 1])
    times = np.arange(int(duration_s / HOP_S) + 1) * HOP_S
    frames = to_frames(segments, times, harte.to_class, outside=harte.NO_CHORD_CLASS)
    back = from_frames(frames, harte.CLASSES, hop_s=HOP_S, duration_s=duration_s)
    assert back.intervals_s[0, 0] == 0 and back.intervals_s[-1, 1] == duration_s
    assert np.array_equal(to_frames(back, times[:-1], harte.to_class), frames[:-1])
    assert all(a != b for a, b in zip(back.labels[:-1], back.labels[1:], strict=True))
    # borders lie midway between frames, so those of these segments come back exactly
    merged = mir_eval.chord.merge_chord_intervals(segments.intervals_s, list(segments.labels))
    inner = set(np.round(merged[1:, 0], 9)) - {0.0}
    assert inner <= set(np.round(back.intervals_s[:, 0], 9))


def test_time_without_annotation_is_no_class_at_all():
    segments = from_atoms([1.0, 3.0], [1.0, 1.0], ["C", "N:-"])
    found = to_frames(segments, np.array([0.0, 0.999, 1.0, 1.999, 2.0, 3.0, 4.0]), harte.to_class)
    assert found.tolist() == [-1, -1, 0, 0, -1, 24, -1]
    nothing = from_atoms([], [], [])
    assert to_frames(nothing, np.arange(3.0), harte.to_class).tolist() == [-1, -1, -1]


def test_overlaps_order_and_rounding():
    segments = from_atoms(
        [2.0, 0.0, 1.0, 3.0, 5.0],
        [1.0 + 1e-9, 1.5, 1.0 - 1e-9, 0.0, 1.0],
        ["G", "C", "F", "D", "A:min"],
    )
    assert segments.labels == ("C", "F", "G", "A:min")
    assert np.allclose(segments.intervals_s, [[0, 1], [1, 2], [2, 3], [5, 6]], atol=1e-6)
    assert (segments.durations_s > 0.9).all()
    same = from_atoms([0.0, 0.0], [1.0, 2.0], ["C", "D"])  # the later one in the file has the time
    assert same.labels == ("D",) and same.intervals_s.tolist() == [[0.0, 2.0]]


@pytest.mark.parametrize(
    ("onset", "duration", "label"),
    [(-1.0, 1.0, "C"), (np.nan, 1.0, "C"), (0.0, np.inf, "C"), (0.0, 1.0, "H")],
)
def test_what_is_no_annotation_is_refused(onset, duration, label):
    with pytest.raises(DataError):
        from_atoms([onset], [duration], [label])


def test_frames_end_with_the_recording():
    found = from_frames(np.array([0, 0, 1, 2]), harte.CLASSES, hop_s=1.0, duration_s=2.2)
    assert found.labels == ("C:maj", "Db:maj")
    assert found.intervals_s.tolist() == [[0.0, 1.5], [1.5, 2.2]]
    assert len(from_frames(np.array([], dtype=int), harte.CLASSES, hop_s=1.0, duration_s=1.0)) == 0


def test_lab_files_are_those_of_mir_eval(tmp_path):
    segments = random_segments(3)
    path = tmp_path / "deep" / "track.lab"
    write_lab(path, segments)
    intervals, labels = mir_eval.io.load_labeled_intervals(str(path))
    assert np.allclose(intervals, segments.intervals_s, atol=5e-4)
    assert tuple(labels) == segments.labels
    again = read_lab(path)
    assert again.labels == segments.labels
    path.write_text("# comment\n\n0 1 C:maj\n1.0\t2.5\tN:-\n")
    assert read_lab(path).labels == ("C:maj", "N")


@pytest.mark.parametrize("line", ["0 1", "zero 1 C", "0 1 C:huge", "0 1 C maj", "-1 1 C"])
def test_a_line_of_another_form_is_named(tmp_path, line):
    (tmp_path / "a.lab").write_text(f"0 1 N\n{line}\n")
    with pytest.raises(DataError, match=r"a\.lab, line 2"):
        read_lab(tmp_path / "a.lab")


def test_a_missing_lab_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"none\.lab"):
        read_lab(tmp_path / "none.lab")


def test_jams_has_the_form_of_its_schema(tmp_path):
    """The fields that version 0.3 requires; validated once with the package ``jams``."""
    segments = from_atoms([0.0, 1.25], [1.25, 2.0], ["C:maj7/3", "N"])
    chord_segments.write_jams(tmp_path / "a.jams", segments, title="A", duration_s=3.25)
    found = json.loads((tmp_path / "a.jams").read_text())
    assert set(found) == {"annotations", "file_metadata", "sandbox"}
    assert found["file_metadata"]["duration"] == 3.25
    (annotation,) = found["annotations"]
    assert annotation["namespace"] == "chord" and annotation["duration"] == 3.25
    assert annotation["data"][0] == {
        "time": 0.0, "duration": 1.25, "value": "C:maj7/3", "confidence": None
    }  # fmt: skip
