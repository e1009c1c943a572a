"""Tables and figures of recorded results say what the records say."""

from __future__ import annotations

import math

import matplotlib.pyplot as plt
import pytest

from dl101.errors import DataError
from dl101.evaluation.results import Measured, Record
from dl101.lab import tables

NAMES = {"b": "the better", "a": "the other"}


@pytest.fixture
def measured():
    rows = [("a", 1, 0.50, 10), ("a", 0, 0.30, 10), ("b", 0, 0.40, 20), ("b", 1, 0.60, 20)]
    return Measured(
        [
            Record("made", variant, seed, {}, "test", 4, {"score": score, "level": -score}, {},
                   "command", 0.0, n_parameters=n)
            for variant, seed, score, n in rows
        ]
    )  # fmt: skip


def test_scores_come_in_the_order_of_seeds(measured):
    assert measured.each("a", "score").tolist() == [0.30, 0.50]
    assert measured.mean("b", "score") == pytest.approx(0.5)
    assert measured.seeds == [0, 1]


def test_text_has_mean_and_sample_deviation(measured):
    assert measured.text("a", "score") == "0.40 ± 0.14"
    assert measured.text("a", "score", digits=0, scale=100) == "40 ± 14"
    assert Measured(measured.records[:1]).text("a", "score") == "0.30"


def test_the_spread_of_one_seed_is_not_a_number(measured):
    assert measured.spread("b", "score") == pytest.approx(0.1 * 2**0.5)
    assert math.isnan(Measured(measured.records[:1]).spread("a", "score"))


def test_beating_means_with_every_seed(measured):
    assert measured.beats("b", "a", "score") and not measured.beats("b", "a", "level")


def test_an_unknown_variant_gets_the_near_name(measured):
    with pytest.raises(DataError, match="variant: got 'c'"):
        measured.each("c", "score")


def test_the_table_has_a_row_for_each_variant(measured, capsys):
    tables.results_table(
        measured,
        NAMES,
        {"score": "accuracy"},
        first="input",
        caption="Over the seeds {seeds}.",
        parameters=True,
    )
    said = capsys.readouterr().out
    assert "the better" in said and "20" in said and "0.50 ± 0.14" in said
    assert said.index("the better") < said.index("the other") and "Over the seeds 0, 1." in said


def test_names_alone_are_rows_and_columns(measured, capsys):
    tables.results_table(measured, ["b", "a"], ["score"], first="input", caption="Made.")
    said = capsys.readouterr().out.split()
    assert said.index("b") < said.index("a") and "score" in said


def test_the_figure_has_a_dot_for_each_seed_and_the_first_variant_on_top(measured):
    fig = tables.dots_by_seed(
        measured, NAMES, {"score": "test", "level": "level"}, label="accuracy", chance=0.1
    )
    top, _ = fig.axes
    dots = [line for line in top.lines if line.get_marker() == "o"]
    assert [line.get_xdata().tolist() for line in dots] == [[0.40, 0.60], [0.30, 0.50]]
    heights = [top.transData.transform((0, line.get_ydata()[0]))[1] for line in dots]
    assert heights[0] > heights[1]
    assert [text.get_text() for text in top.get_yticklabels()] == list(NAMES.values())
    plt.close(fig)
