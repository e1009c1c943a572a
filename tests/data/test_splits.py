from __future__ import annotations

import subprocess
import sys

import pytest

from dl101.data import splits
from dl101.errors import DataError

NAMES = [f"work-{i}" for i in range(40)]


def test_fractions_are_exact_and_sides_are_disjoint():
    sides = splits.split_by_group([*NAMES, *NAMES], fractions=(0.5, 0.25, 0.25))
    assert set(sides) == set(NAMES)
    counts = [list(sides.values()).count(side) for side in splits.SIDES]
    assert counts == [20, 10, 10]


def test_order_and_repeats_do_not_matter_but_the_seed_does():
    first = splits.split_by_group(NAMES)
    assert splits.split_by_group(NAMES[::-1] * 2) == first
    assert splits.split_by_group(NAMES, seed=1) != first


def test_split_does_not_depend_on_the_hash_seed_of_the_process():
    """The old tutorial's split moved with PYTHONHASHSEED."""
    code = (
        "from dl101.data.splits import split_by_group as s;"
        "print(sorted(s([f'w{i}' for i in range(9)]).items()))"
    )
    answers = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(answers) == 1


def test_too_few_groups_is_an_error():
    with pytest.raises(DataError, match=r"2 group\(s\)"):
        splits.split_by_group(["a", "b"])
    assert set(splits.split_by_group(["a", "b"], fractions=(0.5, 0, 0.5)).values()) == {
        "train",
        "test",
    }


def test_fractions_must_sum_to_one():
    with pytest.raises(DataError, match="sum to 1"):
        splits.split_by_group(NAMES, fractions=(0.5, 0.5, 0.5))


def test_maps_pieces_stay_together_across_pianos():
    works = {
        splits.work_of("maps", name)
        for name in ("MAPS_MUS-alb_se3_AkPnBcht.wav", "MAPS_MUS-alb_se3_ENSTDkCl.wav")
    }
    assert works == {"alb_se3"}
    assert splits.work_of("bach10", "01-AchGottundHerr-violin.wav") == "01-AchGottundHerr"
    assert splits.work_of("bach10", "01-AchGottundHerr.wav") == "01-AchGottundHerr"
    assert splits.work_of("unknown", "x.wav") == "x.wav"
