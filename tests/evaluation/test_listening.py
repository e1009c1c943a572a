"""Analysis of listening tests against scipy.stats, and tables of answers."""

import math

import numpy as np
import pytest
import scipy.stats

from dl101.errors import DataError
from dl101.evaluation import listening as li

HEADER = "test,listener,trial,item,condition,place,answer,right,seconds"


@pytest.mark.parametrize(
    ("k", "n"), [(0, 1), (1, 1), (5, 10), (9, 10), (10, 10), (12, 16), (70, 128)]
)
@pytest.mark.parametrize("chance", [0.5, 1 / 3])
def test_binomial_test_and_interval_are_those_of_scipy(k, n, chance):
    reference = scipy.stats.binomtest(k, n, chance, alternative="greater")
    assert li.binomial_test(k, n, chance=chance) == pytest.approx(reference.pvalue, rel=1e-9)
    for level in (0.9, 0.95):
        exact = scipy.stats.binomtest(k, n).proportion_ci(level, method="exact")
        assert li.proportion_interval(k, n, level=level) == pytest.approx(tuple(exact), abs=1e-9)


def test_how_many_must_be_right():
    assert [li.needed_right(n) for n in (1, 4, 5, 8, 10, 16, 25)] == [None, None, 5, 7, 9, 12, 18]
    for n in (10, 16):
        needed = li.needed_right(n, level=0.01)
        assert li.binomial_test(needed, n) <= 0.01 < li.binomial_test(needed - 1, n)
    assert li.detection_power(10, 0.5) == pytest.approx(li.binomial_test(9, 10))
    assert li.detection_power(16, 0.8) == pytest.approx(scipy.stats.binom.sf(11, 16, 0.8))
    assert li.detection_power(3, 0.9) == 0
    assert li.detection_power(20, 1.0) == 1


@pytest.mark.parametrize("n", [2, 5, 30])
@pytest.mark.parametrize("level", [0.95, 0.8])
def test_mean_interval_is_that_of_scipy(n, level):
    values = np.random.default_rng(n).normal(3, 1, n)
    found = li.mean_interval(values, level=level)
    expected = scipy.stats.t.interval(level, n - 1, values.mean(), scipy.stats.sem(values))
    assert (found.low, found.high) == pytest.approx(expected, rel=1e-9)
    assert (found.mean, found.n) == (pytest.approx(values.mean()), n)


def test_one_rating_and_equal_ratings():
    assert li.mean_interval([4]) == li.MeanInterval(4, -math.inf, math.inf, 1)
    assert li.mean_interval([3, 3, 3]) == li.MeanInterval(3, 3, 3, 3)


def table(*rows):
    return "\n".join([HEADER, *rows])


def test_tables_of_several_listeners_are_read():
    first = table("t,L1,1,a,x,A,4,,2.5", '"my, test",L1,2,"b ""q""",reference,B,5,,0')
    second = table("t,L2,1,a,x,B,1,0,1", "t,L2,2,a,y,B,0,1,1")
    found = li.read_answers("\ufeff" + first + "\r\n\r\n" + second + "\n")
    assert [each.listener for each in found] == ["L1", "L1", "L2", "L2"]
    assert found[1] == li.Answer("my, test", "L1", 2, 'b "q"', "reference", "B", 5, None, 0)
    assert [each.right for each in found] == [None, None, False, True]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "first line"),
        ("a,b", "first line .a,b"),
        (table("t,L1,1,a,x,A,4,"), "line 2.*got t,L1"),
        (table("t,L1,one,a,x,A,4,,1"), "line 2"),
        (table("t,L1,1,a,x,A,nan,,1"), "line 2"),
        (table("t,L1,1,a,x,A,4,,-1"), "line 2"),
        (table("t,L1,1,a,x,A,4,maybe,1"), "line 2.*right is 0, 1 or empty"),
        (table("t,L1,1,a,x,A,4,,1", "t,L1,1,a,x,B,3,,1"), "line 3.*there already"),
    ],
)
def test_tables_that_are_none_are_refused(text, words):
    with pytest.raises(DataError, match=words):
        li.read_answers(text)


def test_an_abx_test_is_counted():
    rows = [f"abx,L{i % 2},{i},p,x,X,{i % 2},{int(i != 3)},1" for i in range(10)]
    found = li.abx_result(li.read_answers(table(*rows)))
    assert (found.n_right, found.n_trials) == (9, 10)
    assert found.p_value == pytest.approx(11 / 1024)
    assert (found.low, found.high) == li.proportion_interval(9, 10)


def ratings(**by_condition):
    """Return answers: by condition a list (listeners) of lists (items)."""
    return [
        li.Answer("m", f"L{who}", i, f"item{i}", condition, "A", value, None, 1)
        for condition, listeners in by_condition.items()
        for who, values in enumerate(listeners)
        for i, value in enumerate(values)
    ]


def test_listeners_are_averaged_first():
    answers = ratings(good=[[80, 90], [60, 70]], bad=[[40, 50, 60], [20, 30, 40]])
    assert li.by_listener(answers)["bad"] == {"L0": 50, "L1": 30}
    found = li.rating_intervals(answers)
    assert found["good"] == li.mean_interval([85, 65]) and found["good"].n == 2
    alone = [each for each in answers if each.listener == "L0"]
    assert li.rating_intervals(alone)["bad"] == li.mean_interval([40, 50, 60])


def test_differences_are_within_listeners():
    answers = ratings(good=[[90], [60], [75]], bad=[[80], [49], [66]])
    found = li.difference(answers, "good", "bad")
    paired = scipy.stats.ttest_rel([90, 60, 75], [80, 49, 66]).confidence_interval()
    assert (found.low, found.high) == pytest.approx(tuple(paired))
    assert found.low > 0  # although the ranges of the two overlap
    both = li.rating_intervals(answers)
    assert both["good"].low < both["bad"].high
    only_first = answers + ratings(extra=[[1]])
    assert li.difference(only_first, "good", "extra").n == 1
    with pytest.raises(DataError, match="name of the condition"):
        li.difference(answers, "good", "best")


def test_who_misses_the_hidden_reference_is_out():
    sharp, rare = [100] * 10, [100] * 9 + [50]
    answers = ratings(reference=[sharp, rare, [100] * 8 + [89, 89]], other=[[10], [20], [30]])
    kept, out = li.post_screened(answers)
    assert out == ["L2"]
    assert {each.listener for each in kept} == {"L0", "L1"}


@pytest.mark.parametrize(
    "call",
    [
        lambda: li.binomial_test(3, 2),
        lambda: li.binomial_test(0, 0),
        lambda: li.proportion_interval(-1, 5),
        lambda: li.mean_interval([]),
        lambda: li.mean_interval([1, np.nan]),
        lambda: li.abx_result([]),
    ],
)
def test_what_cannot_be_counted_is_refused(call):
    with pytest.raises(DataError):
        call()
