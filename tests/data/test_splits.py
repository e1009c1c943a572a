from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from dl101.data import splits
from dl101.data.pyjama import Atom, Entry
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


@pytest.mark.parametrize(
    "fractions",
    [
        *[(0.2, 0.4, 0.4), (0, 0.5, 0.5), (0, 0.3, 0.7), (0.01, 0.01, 0.98), (0.98, 0.01, 0.01)],
        *[(0.7, 0.15, 0.15), (0.5, 0.0, 0.5), (0.1, 0.9, 0.0), (0.0, 1.0, 0.0), (1 / 3,) * 3],
    ],
)
def test_a_side_is_empty_exactly_where_its_share_is_zero(fractions):
    wanted = [share > 0 for share in fractions]
    for n in range(sum(wanted), 30):
        sides = list(splits.split_by_group(NAMES[:n], fractions=fractions).values())
        counts = [sides.count(side) for side in splits.SIDES]
        assert sum(counts) == n
        assert [count > 0 for count in counts] == wanted
        most = 1 if n * min(share for share in fractions if share) >= 0.5 else 2
        assert max(abs(c - share * n) for c, share in zip(counts, fractions, strict=True)) <= most


@pytest.mark.parametrize(
    "fractions", [(0.5, 0.5, 0.5), (1.2, -0.1, -0.1), (0.5, 0.5), (float("nan"), 0.5, 0.5)]
)
def test_fractions_must_sum_to_one(fractions):
    with pytest.raises(DataError, match="sum to 1"):
        splits.split_by_group(NAMES, fractions=fractions)


def test_maps_pieces_stay_together_across_pianos():
    works = {
        splits.work_of("maps", name)
        for name in ("MAPS_MUS-alb_se3_AkPnBcht.wav", "MAPS_MUS-alb_se3_ENSTDkCl.wav")
    }
    assert works == {"alb_se3"}
    assert splits.work_of("bach10", "01-AchGottundHerr-violin.wav") == "01-AchGottundHerr"
    assert splits.work_of("bach10", "01-AchGottundHerr.wav") == "01-AchGottundHerr"
    assert splits.work_of("unknown", "x.wav") == "x.wav"


# ---- Datasets with known faults ----

GENRES = "blues classical country disco hiphop jazz metal pop reggae rock".split()


def entries(paths, **fields):
    """Return entries; a field is given as one text, or as a function of the path."""
    made = []
    for index, path in enumerate(paths):
        values = {k: v(path) if callable(v) else v for k, v in fields.items()}
        atoms = {name.replace("_", "-"): (Atom(value),) for name, value in values.items()}
        made.append(Entry(path, index, atoms))
    return made


def sizes(sides):
    return [list(sides.values()).count(side) for side in splits.SIDES]


@pytest.mark.parametrize(
    ("dataset", "pattern"),
    [
        ("gtzan", "{0}.{1:05d}.wav"),
        ("gtzan-genre", "{0}+++{0}.{1:05d}.wav"),
        ("gtzan", "{0}.{1:05d}"),
    ],
)
def test_gtzan_keeps_the_fault_filtered_split(dataset, pattern):
    """Sizes: Kereliuk, Sturm and Larsen (2015)."""
    paths = [pattern.format(genre, number) for genre in GENRES for number in range(100)]
    sides = splits.safe_split(dataset, entries(paths))
    assert sizes(sides) == [443, 197, 290]
    assert sides[pattern.format("blues", 0)] == "validation"
    assert sides[pattern.format("blues", 12)] == "test"
    assert sides[pattern.format("blues", 29)] == "train"
    assert sides[pattern.format("jazz", 99)] == "test"
    assert pattern.format("hiphop", 39) not in sides


def test_gtzan_lists_agree_with_those_of_torchaudio():
    import ast
    import importlib.util

    torchaudio = importlib.util.find_spec("torchaudio")
    if torchaudio is None:
        pytest.skip("torchaudio is not installed")
    source = Path(torchaudio.origin).with_name("datasets") / "gtzan.py"
    named = {"filtered_train": "train", "filtered_valid": "validation", "filtered_test": "test"}
    published = {}
    for node in ast.parse(source.read_text()).body:
        if isinstance(node, ast.Assign) and node.targets[0].id in named:
            side = named[node.targets[0].id]
            published |= {name: side for name in ast.literal_eval(node.value)}
    assert len(published) == 930
    assert splits.safe_split("gtzan", entries(published)) == published


MTT_PATHS = [
    f"{folder}+++artist_{number % 20}-album-01-song_{number}-0-29.mp3"
    for folder in "0123456789abcdef"
    for number in range(10)
]


def test_magnatagatune_by_folder_and_by_artist():
    made = entries(MTT_PATHS)
    usual = splits.usual_split(made)
    assert sizes(usual) == [120, 10, 30]  # 12 to 1 to 3
    assert {usual[p] for p in MTT_PATHS if p[0] == "c"} == {"validation"}
    assert {usual[p] for p in MTT_PATHS if p[0] in "def"} == {"test"}
    for dataset in ("mtt", "mtt-ssl", "magnatagatune"):
        safe = splits.safe_split(dataset, made)
        assert set(safe) == set(MTT_PATHS)
        by_artist = {}
        for path, side in safe.items():
            by_artist.setdefault(path[4:].split("-")[0], set()).add(side)
        assert len(by_artist) == 10 and all(len(sides) == 1 for sides in by_artist.values())
    with pytest.raises(DataError, match="with its folder"):
        splits.usual_split(entries(["song.mp3"]))


def test_maps_covers_and_artists_stay_together():
    pianos = [f"MAPS_MUS-piece{k}_{piano}.wav" for k in range(10) for piano in ("AkPn", "ENST")]
    sides = splits.safe_split("maps", entries(pianos))
    assert all(sides[a] == sides[b] for a, b in zip(pianos[::2], pianos[1::2], strict=True))
    covers = [str(number) for number in range(30)]
    made = entries(covers, work_id=lambda path: float(int(path) // 3))
    sides = splits.safe_split("cover1000", made)
    assert all(len({sides[str(3 * work + k)] for k in range(3)}) == 1 for work in range(10))
    sides = splits.safe_split("fma", entries(covers, artist=lambda path: f"a{int(path) // 3}"))
    assert all(len({sides[str(3 * work + k)] for k in range(3)}) == 1 for work in range(10))
    assert set(sides.values()) == set(splits.SIDES)


def test_published_split_of_musdb18_is_kept():
    made = entries(["a.wav", "b.wav"], split=lambda path: {"a": "test"}.get(path[0], "train"))
    assert splits.safe_split("musdb18", made) == {"a.wav": "test", "b.wav": "train"}
