"""The tables of the page *How good is it?*, from ``results/peers.json``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dl101.evaluation.results import Record

OUTPUT = Path(__file__).resolve().parents[2] / "book/data/generated/peers.md"
NOTICE = "<!-- Made by make peers: run it again, don't change this file. -->\n"
LEVEL = 2.0  # standard errors of the mean difference within which two are called level

TITLES = {
    "pitches": (
        "Many pitches at once, and their notes",
        {"accuracy": "accuracy", "note_f1": "note F1"},
    ),
    "voice": (
        "The pitch of one voice",
        {
            "raw_pitch_accuracy": "pitch",
            "error_cents": "error (cents)",
            "voicing_accuracy": "voicing",
        },
    ),
    "chords": ("Chords", {"majmin": "majmin", "sevenths": "sevenths", "seg": "borders"}),
}
NAMES = {
    "transcription": "`transcription` (ours; `dl101 transcribe`)",
    "multi_pitch": "`multi_pitch` (ours; the chapter's, a minute of training)",
    "salience": "harmonic sum (no learning)",
    "inverse_synthesis": "`inverse_synthesis` (ours; `dl101 pitch`)",
    "YIN": "YIN (no learning)",
    "pYIN": "pYIN (no learning)",
    "chords": "`chords` (ours; `dl101 chords`)",
    "templates": "templates (no learning)",
}


def verdict(record: Record) -> str:
    """Return whether ours is ahead, behind or level, from the differences clip by clip."""
    if "ours_ahead" not in record.metrics:
        return "–"
    gap, error = record.metrics["ours_ahead"], record.metrics["ours_ahead_error"]
    if abs(gap) <= LEVEL * error:
        return "level"
    return "ahead" if gap > 0 else "behind"


def tables(records: Sequence[Record]) -> str:
    """Return a table for each task, the best first."""
    parts = []
    for task, (title, columns) in TITLES.items():
        found = [record for record in records if record.config["task"] == task]
        if not found:
            continue
        main = next(iter(columns))
        found.sort(key=lambda record: -record.metrics[main])
        first = next(r for r in found if "ours_ahead" not in r.metrics)
        header = ["network", *columns.values(), "CPU s / min", f"`{_name(first)}` is"]
        lines = [header, ["---", *["---:"] * (len(columns) + 1), "---"]]
        for record in found:
            cells = [
                _cell(record.metrics.get(name), 0 if name == "error_cents" else 2)
                for name in columns
            ]
            spent_s = record.metrics["cpu_s_per_minute"]
            cost = "< 0.1" if spent_s < 0.1 else _cell(spent_s, 1)
            lines.append([_label(record), *cells, cost, verdict(record)])
        rows = "\n".join("| " + " | ".join(line) + " |" for line in lines)
        about = (
            f"{first.n_items} clips of the test side of `{first.data['dataset']}`. "
            f"The last column compares by {columns[main]}, clip by clip."
        )
        parts.append(f"### {title}\n\n{rows}\n\n{about}\n")
    return "\n".join(parts)


def _name(record: Record) -> str:
    return record.variant.partition(": ")[2]


def _label(record: Record) -> str:
    versions = ", ".join(f"{name} {number}" for name, number in record.config["packages"].items())
    name = NAMES.get(_name(record), _name(record))
    return name if record.config["whose"] != "public" else f"**{name}** ({versions})"


def _cell(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"
