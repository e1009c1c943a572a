"""Curves as files."""

from __future__ import annotations

import json

import numpy as np

from dl101.data import pitch_curve
from dl101.data.pitch_curve import PitchCurve

CURVE = PitchCurve(np.arange(3) * 0.032, np.array([220.0, 221.5, 100.0]), np.array([0.9, 0.5, 0.1]))


def test_a_table_can_be_read_again(tmp_path):
    pitch_curve.write_csv(tmp_path / "new" / "a.csv", CURVE)
    lines = (tmp_path / "new" / "a.csv").read_text().splitlines()
    assert lines[0] == "time_s,f0_hz,confidence" and len(lines) == 4
    read = np.loadtxt(lines[1:], delimiter=",")
    np.testing.assert_allclose(read.T, [CURVE.times_s, CURVE.f0_hz, CURVE.confidence], atol=1e-3)


def test_a_jams_file_has_the_form_of_a_pitch_contour(tmp_path):
    pitch_curve.write_jams(tmp_path / "a.jams", CURVE, title="a", duration_s=0.1)
    found = json.loads((tmp_path / "a.jams").read_text())
    assert found["file_metadata"]["title"] == "a" and found["file_metadata"]["duration"] == 0.1
    (annotation,) = found["annotations"]
    assert annotation["namespace"] == "pitch_contour"
    values = [each["value"] for each in annotation["data"]]
    assert [v["voiced"] for v in values] == [True, True, False]
    assert values[1] == {"index": 0, "frequency": 221.5, "voiced": True}
    assert all(each["duration"] == 0 for each in annotation["data"])
