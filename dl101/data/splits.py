"""Train, validation and test sides that never share a work.

A *group* is what must stay together: the piece that was recorded several times, the artist, the
tune. Groups are put in an order that depends on their names and the seed alone (through SHA-256,
because Python's own ``hash`` changes from run to run), and the order is cut at exact fractions.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache

from dl101.data.pyjama import Entry
from dl101.errors import DataError

SIDES = ("train", "validation", "test")

# How to read from a file name what must stay together, for datasets whose annotation does not
# state it. MAPS plays the same pieces on several pianos: MAPS_MUS-alb_se3_AkPnBcht.wav is piece
# alb_se3. MagnaTagATune's clips begin with the artist, after the folder.
_MTT = re.compile(r"(?:^|\+\+\+|/)[0-9a-f](?:\+\+\+|/)(?P<group>[^-/+]+)-")
_GROUP_IN_NAME = {
    "maps": re.compile(r"MAPS_MUS-(?P<group>.+)_[^_]+\.wav$"),
    "bach10": re.compile(r"(?P<group>\d+-[^-.]+)"),
    "mtt": _MTT,
    "mtt-ssl": _MTT,
    "magnatagatune": _MTT,
    "nsynth-guitar": re.compile(r"(?P<group>[a-z_]+_\d+)-\d+-\d+\.\w+$"),
}
# The field that states it, for the others; the first that an entry has.
_GROUP_FIELDS = ("work", "work-id", "artist")

# The fault-filtered split of GTZAN (C. Kereliuk, B. L. Sturm and J. Larsen, Deep learning and music
# adversaries, IEEE Transactions on Multimedia 17(11), 2015), as numbers of excerpts: copies, spoilt
# excerpts and artists on two sides are left out. The lists are those of torchaudio 2.11
# (datasets/gtzan.py, BSD 2-Clause licence), which agree with the authors' own.
_GTZAN = {
    "train": "blues 29-49 73-97, classical 30-33 43-48 50-67 80-99, country 19-26 28-29 65-99, "
    "disco 5 15-20 22-37 39-45 47 49 53-54 56-57 59 61 70 73-74 89, hiphop 2-25 28-29 31-38 41-42 "
    "55-61 77-80, jazz 0-1 11-24 41 47-72, metal 2-3 5 21 24 35 46-57 59-66 69 71-72 79-80 84 86 "
    "89-99, pop 2-9 11-12 16-20 23-29 31-36 38-42 44 46 49-50 80 97-99, reggae 0-2 4 6 9 11-12 "
    "14-32 42-45 49-51 54-60 63 69, rock 0-9 16-26 57-70 91-99",
    "validation": "blues 0-11 50-60, classical 0-10 68-76, country 0-7 9-18 27 41-42 45 49, disco "
    "0 2-4 6-14 46 48 52 67-68 72 75 90 95, hiphop 81-98, jazz 2-10 25-32, metal 0-1 6-11 16-20 "
    "36-37 68 76-77 81-82, pop 10 53 55 58-62 81 83-86, reggae 61-62 70 72 74 76-78 85 92-99, rock "
    "38 49-56 71-85",
    "test": "blues 12-28 61-72 98-99, classical 11-29 34-41 49 77-79, country 30-40 43-44 46-48 "
    "50-51 53-64, disco 1 21 58 62-66 69 76-88 91-94 96-97 99, hiphop 0 26-27 30 40 43-45 51-54 "
    "62-75 99, jazz 73-99, metal 12-15 22-23 25-33 38-39 67 70 73-75 78 83 85 87-88, pop 0-1 13-14 "
    "43 63-66 69-79 82 88-96, reggae 34-40 46-48 52-53 64-68 71 79 82-84 87-90, rock 10-15 27-37 "
    "39-48 86-90",
}
_GTZAN_NAME = re.compile(r"(?P<genre>[a-z]+)\.(?P<number>\d{5})(?:\.\w+)?$")

_ADVICE = {
    "gtzan": "safe_split: the fault-filtered one; 70 excerpts are left out.",
    "mtt": "usual_split: by folder, 12 to 1 to 3, as most studies; safe_split: by artist.",
    "maps": "safe_split: by piece, so that none is heard on two pianos.",
    "nsynth-guitar": "safe_split: the published folder for testing, the others by instrument.",
    "musdb18": "safe_split: the published one, with the 14 songs that musdb keeps for validation.",
    "bach10": "safe_split: by piece.",
    "cover1000": "safe_split: by work.",
}
_SAME = {"gtzan-genre": "gtzan", "mtt-ssl": "mtt", "magnatagatune": "mtt"}
_SAME["datacos-benchmark"] = "cover1000"


def advice(dataset: str) -> str:
    """Return which split :func:`safe_split` makes of a dataset; empty for those without advice."""
    return _ADVICE.get(_SAME.get(dataset, dataset), "")


def safe_split(dataset: str, entries: Iterable[Entry], *, seed: int = 0) -> dict[str, str]:
    """Return the side of each entry by its ``filepath``, so that no side gives another away.

    A dataset with a published split that is safe keeps it: MUSDB18, and GTZAN in its fault-filtered
    form, where excerpts that are copies, spoilt, or by an artist of another side have no side and
    are not in the result. NSynth's folder for validation becomes the test, because its instruments
    are in no other folder, and the rest is divided by instrument. Every other dataset is divided
    by what must stay together: the piece (MAPS, Bach10), the work (covers), the artist
    (MagnaTagATune, FMA), which the annotation or the name of the file states; else by entry.

    Parameters
    ----------
    dataset
        Name of the dataset in the catalogue.
    entries
        Its entries.
    seed
        Another seed divides the groups otherwise.

    Raises
    ------
    DataError
        If there are too few groups for three sides.
    """
    entries = list(entries)
    family = _SAME.get(dataset, dataset)
    if family == "gtzan":
        sides = {entry.filepath: _gtzan_side(entry.filepath) for entry in entries}
        return {path: side for path, side in sides.items() if side is not None}
    if family == "musdb18":
        return {entry.filepath: entry.first("split") for entry in entries}
    groups = {entry.filepath: _group(dataset, entry) for entry in entries}
    if family == "nsynth-guitar":
        held_out = {groups[e.filepath] for e in entries if e.first("split") != "train"}
        others = [group for group in groups.values() if group not in held_out]
        side = split_by_group(others, fractions=(0.9, 0.1, 0.0), seed=seed)
        return {path: side.get(group, "test") for path, group in groups.items()}
    side = split_by_group(list(groups.values()), seed=seed)
    return {path: side[group] for path, group in groups.items()}


def sides_of(
    dataset: str, entries: Iterable[Entry], *, stated: bool, seed: int = 0
) -> dict[str, str]:
    """Return the side of each entry by its ``filepath``: as it states, or by :func:`safe_split`.

    Parameters
    ----------
    dataset, entries, seed
        As :func:`safe_split` takes them.
    stated
        Entries state their sides, as those of the embedded corpora do.
    """
    if stated:
        return {entry.filepath: entry.first("split") for entry in entries}
    return safe_split(dataset, entries, seed=seed)


def usual_split(entries: Iterable[Entry]) -> dict[str, str]:
    """Return the split of MagnaTagATune that most studies use, by the folder of a clip.

    Folders are named by hexadecimal digits: 0 to b are for training, c for validation, d to f for
    testing (12 to 1 to 3). It does not keep artists apart: use it to compare with published scores,
    and :func:`safe_split` to learn how well a system generalises.

    Raises
    ------
    DataError
        If the name of an entry does not begin with its folder.
    """
    sides = {}
    for entry in entries:
        match = _MTT_FOLDER.match(entry.filepath)
        if match is None:
            raise DataError(
                f"entry {entry.index}",
                got=entry.filepath,
                expected="a clip of MagnaTagATune with its folder, such as 0+++artist-album.mp3",
                hint="use safe_split for other datasets",
            )
        folder = int(match["folder"], 16)
        sides[entry.filepath] = SIDES[(folder >= 0xC) + (folder >= 0xD)]
    return sides


_MTT_FOLDER = re.compile(r"(?P<folder>[0-9a-f])(?:\+\+\+|/)")


def _gtzan_side(filepath: str) -> str | None:
    match = _GTZAN_NAME.search(filepath)
    return match and _gtzan_sides().get((match["genre"], int(match["number"])))


@lru_cache(maxsize=1)
def _gtzan_sides() -> dict[tuple[str, int], str]:
    """Return the side of each excerpt (genre, number) of the fault-filtered split."""
    sides = {}
    for side, genres in _GTZAN.items():
        for genre, *spans in (words.split() for words in genres.split(",")):
            for first, _, last in (span.partition("-") for span in spans):
                for number in range(int(first), int(last or first) + 1):
                    sides[genre, number] = side
    return sides


def work_of(dataset: str, filepath: str) -> str:
    """Return what a file must stay together with, read from its name; else the name itself.

    That is the work that it plays (MAPS, Bach10), the artist (MagnaTagATune) or the instrument
    (NSynth).
    """
    pattern = _GROUP_IN_NAME.get(dataset)
    match = pattern.search(filepath) if pattern else None
    return match["group"] if match else filepath


def _group(dataset: str, entry: Entry) -> str:
    if dataset not in _GROUP_IN_NAME:
        for name in _GROUP_FIELDS:
            value = entry.first(name)
            if value is not None:
                return str(value)
    return work_of(dataset, entry.filepath)


def split_by_group(
    groups: Sequence[str],
    *,
    fractions: tuple[float, float, float] = (0.7, 0.15, 0.15),
    seed: int = 0,
) -> dict[str, str]:
    """Return the side of each group: exact fractions of the groups, in an order made by hashing.

    Parameters
    ----------
    groups
        Names of groups, repeats allowed.
    fractions
        Shares of train, validation and test; they must sum to one.
    seed
        Another seed gives another split.

    Raises
    ------
    DataError
        If a side with a positive share would be empty.
    """
    names = sorted(set(groups), key=lambda name: _digest(name, seed))
    if len(fractions) != 3 or not abs(sum(fractions) - 1) <= 1e-9 or min(fractions) < 0:
        raise DataError(
            "split fractions",
            got=fractions,
            expected="three shares that sum to 1",
            hint="use for example (0.7, 0.15, 0.15)",
        )
    wanted = [share > 0 for share in fractions]
    if len(names) < sum(wanted):
        raise DataError(
            "split",
            got=f"{len(names)} group(s)",
            expected=f"at least {sum(wanted)}, one for each side",
            hint="load more tracks",
        )
    # every side that is wanted gets at least one group
    n_validation = max(round(fractions[1] * len(names)), int(wanted[1]))
    n_test = max(round(fractions[2] * len(names)), int(wanted[2]))
    sizes = [len(names) - n_validation - n_test, n_validation, n_test]
    # rounding may leave too little for training, or something though none is wanted
    while sizes[0] < wanted[0] or (sizes[0] > 0 and not wanted[0]):
        step = 1 if sizes[0] < wanted[0] else -1
        can_give = [side for side in (1, 2) if sizes[side] - step >= wanted[side] > 0]
        other = max(can_give, key=lambda side: step * (sizes[side] - fractions[side] * len(names)))
        sizes[0] += step
        sizes[other] -= step
    sides = [side for side, size in zip(SIDES, sizes, strict=True) for _ in range(size)]
    return dict(zip(names, sides, strict=True))


def _digest(name: str, seed: int) -> bytes:
    return hashlib.sha256(f"{seed}/{name}".encode()).digest()
