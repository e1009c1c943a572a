"""Chords in time: segments with labels, the frames of a network, and files to exchange.

Conventions: a segment holds from its begin up to its end, which is not its own; frame ``t`` stands
for the instant at its centre, ``t * hop_s``. Labels are in Harte's syntax, as mir_eval reads it
(:func:`dl101.data.harte.canonical`). Time that no segment covers is *not annotated*: it has no
class, which is something else than "no chord".

A ``.lab`` file has one line ``begin end label`` for each segment, times in seconds (C. Harte et
al., ISMIR 2005).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dl101.data.cache import write_text
from dl101.data.harte import IGNORED, canonical
from dl101.data.jams import document, write
from dl101.errors import DataError

# Times are decimal numbers of seconds: shorter gaps and segments are rounding.
SHORTEST_S = 1e-6


@dataclass(frozen=True, eq=False)
class ChordSegments:
    """The chords of a recording, in order, none overlapping another.

    Attributes
    ----------
    intervals_s
        (segments, 2) begins and ends in seconds.
    labels
        One for each segment.
    """

    intervals_s: NDArray[np.float64]
    labels: tuple[str, ...]

    @property
    def durations_s(self) -> NDArray[np.float64]:
        """How long each lasts, (segments,), in seconds."""
        return self.intervals_s[:, 1] - self.intervals_s[:, 0]

    def __len__(self) -> int:
        return len(self.labels)


def from_atoms(onsets_s: ArrayLike, durations_s: ArrayLike, labels: Sequence[str]) -> ChordSegments:
    """Return annotated segments in order; where two overlap, the later one has the time.

    Gaps and segments shorter than a microsecond come from the rounding of times, and are closed.

    Raises
    ------
    DataError
        If a time is negative or not finite, or a label is not in Harte's syntax.
    """
    begins = np.asarray(onsets_s, dtype=np.float64)
    ends = begins + np.asarray(durations_s, dtype=np.float64)
    if not (np.isfinite(begins).all() and np.isfinite(ends).all() and (begins >= 0).all()):
        raise DataError(
            "times of chords",
            got="a time that is negative or not finite",
            expected="onsets and durations in seconds",
            hint="correct the annotation, or leave the track out",
        )
    intervals: list[list[float]] = []
    names: list[str] = []
    for index in np.argsort(begins, kind="stable"):
        begin, end = float(begins[index]), float(ends[index])
        if end - begin < SHORTEST_S:
            continue
        if intervals and begin - intervals[-1][1] < SHORTEST_S:
            intervals[-1][1] = begin  # overlaps, or leaves a gap that is rounding
            if begin - intervals[-1][0] < SHORTEST_S:
                intervals.pop(), names.pop()
        intervals.append([begin, end])
        names.append(canonical(str(labels[index])))
    return ChordSegments(np.array(intervals, dtype=np.float64).reshape(-1, 2), tuple(names))


def to_frames(
    segments: ChordSegments,
    times_s: NDArray[np.float64],
    number: Callable[[str], int],
    *,
    outside: int = IGNORED,
) -> NDArray[np.int64]:
    """Return a number for each frame: that of the label that holds at its centre, (frames,).

    Parameters
    ----------
    segments
        The chords.
    times_s
        (frames,) centres of the frames.
    number
        From a label to a number, such as :meth:`dl101.data.harte.Vocabulary.to_class`.
    outside
        The number of time without annotation.
    """
    # the last begin that is not after the time, unless that segment has ended
    index = np.searchsorted(segments.intervals_s[:, 0], times_s, side="right") - 1
    numbers = np.array([*map(number, segments.labels), outside], dtype=np.int64)
    ends = np.append(segments.intervals_s[:, 1], -np.inf)
    return np.where(np.asarray(times_s) < ends[index], numbers[index], outside)


def from_frames(
    numbers: NDArray[np.int64], names: Sequence[str], *, hop_s: float, duration_s: float
) -> ChordSegments:
    """Return the segments of a sequence of frames; equal neighbours are one segment.

    A frame holds for half a hop before and after its centre, so a border lies midway between two
    centres; the first segment begins at 0, the last ends with the recording.

    Parameters
    ----------
    numbers
        (frames,) index of each frame's chord in ``names``.
    names
        Labels.
    hop_s
        Distance of frames in seconds.
    duration_s
        Length of the recording.
    """
    numbers = np.asarray(numbers)
    if numbers.size == 0 or duration_s <= 0:
        return ChordSegments(np.empty((0, 2)), ())
    first = np.flatnonzero(np.concatenate([[True], numbers[1:] != numbers[:-1]]))
    begins = np.concatenate([[0.0], (first[1:] - 0.5) * hop_s])
    kept = begins < duration_s
    begins, first = begins[kept], first[kept]
    intervals = np.stack([begins, np.append(begins[1:], duration_s)], axis=1)
    return ChordSegments(intervals, tuple(names[numbers[frame]] for frame in first))


def read_lab(path: Path | str) -> ChordSegments:
    """Read a ``.lab`` file: lines of begin, end and label.

    Raises
    ------
    DataError
        If there is no such file, or a line is of another form.
    """
    rows = []
    try:
        lines = Path(path).expanduser().read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"chords {path}", got=str(error), expected="a text file", hint="check the path"
        ) from error
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        try:
            begin, end, label = line.split()
            rows.append((float(begin), float(end) - float(begin), label))
            from_atoms([rows[-1][0]], [rows[-1][1]], [label])
        except (ValueError, DataError) as error:
            raise DataError(
                f"chords {path}, line {number}",
                got=repr(line),
                expected="begin and end in seconds and a label, as in 0.5 2.25 A:min",
                hint=getattr(error, "hint", "put spaces or tabs between the three"),
            ) from error
    return from_atoms(*zip(*rows, strict=True)) if rows else from_atoms([], [], [])


def write_lab(path: Path | str, segments: ChordSegments) -> None:
    """Write a ``.lab`` file, times to a millisecond."""
    rows = zip(segments.intervals_s, segments.labels, strict=True)
    text = "".join(f"{begin:.3f}\t{end:.3f}\t{label}\n" for (begin, end), label in rows)
    write_text(path, text)


def write_jams(path: Path | str, segments: ChordSegments, *, title: str, duration_s: float) -> None:
    """Write a JAMS file with one annotation of the namespace ``chord``."""
    write(path, jams(segments, title=title, duration_s=duration_s))


def jams(segments: ChordSegments, *, title: str, duration_s: float) -> dict[str, Any]:
    """Return the content of a JAMS file; see :func:`dl101.data.jams.document`."""
    observations = (
        (begin, end - begin, label, None)
        for (begin, end), label in zip(segments.intervals_s, segments.labels, strict=True)
    )
    return document("chord", observations, title=title, duration_s=duration_s)
