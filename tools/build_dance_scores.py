"""Build ``dances.json.gz``: traditional dance tunes as compact note lists.

Run by maintainers only (``pip install music21`` in an environment of its own); what it writes is
shipped. The tunes come from two printed collections whose authors died long ago: *Ryan's Mammoth
Collection* (Boston, 1883) and *O'Neill's Music of Ireland* (Chicago, 1903). The encodings, in ABC
notation, were made by volunteers and come with music21, which distributes them with permission;
each tune keeps the name of its file, its number and its transcriber. Left out: tunes by a
transcriber who restricts the use of other files of his, everything that names a right of its own,
titles that insult people, and every tune whose bars do not add up. Only the notes are kept.

Conventions: time is counted in ticks of 1/24 quarter note. A tune is stored once, as written:
``ticks`` (durations, back to back from tick 0) and ``pitches`` (MIDI numbers, 0 = rest), with the
places where its sections begin. Ties are merged, grace notes dropped, of two endings the last one
kept; an accidental holds for its octave to the end of its bar. Every section is a whole number of
bars long and begins with an upbeat of the same length, so that sections can be repeated and
reordered as they are. Tunes printed in 2/4 with running sixteenths are doubled to the running
eighths of 4/4, for the dances that are usually written so.

Tunes share a *work* when their titles agree or when their melodies share much
(:func:`shared_melody`), in any key; the relation is closed transitively.

Usage: ``python tools/build_dance_scores.py [OUTPUT]``; with ``--check N`` it compares N tunes with
music21's own reading of them instead.
"""

from __future__ import annotations

import collections
import gzip
import json
import re
import sys
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import numpy as np

DEFAULT_OUTPUT = Path(__file__).parents[1] / "dl101/data/embedded/assets/dances.json.gz"
TICKS_PER_QUARTER = 24
FEWEST_BARS = 8
SAME_MELODY = 0.3
COLLECTIONS = ("ryansMammoth", "oneills1850")

# A dance's name in the file, and the meters in which it is a dance of this kind.
KINDS = {
    "reel": ("4/4", ("4/4", "2/4")),
    "hornpipe": ("4/4", ("4/4", "2/4")),
    "strathspey": ("4/4", ("4/4", "2/4")),
    "jig": ("6/8", ("6/8",)),
    "slip-jig": ("9/8", ("9/8",)),
    "march": (None, ("4/4", "2/4", "6/8")),
    "air": ("3/4", ("3/4",)),
}
# How the collections name them; a clog is danced to hornpipes, a Highland fling to strathspeys.
NAMES = (
    ("slip-jig", r"slip ?jig"),
    ("strathspey", r"strathspey|fling"),
    ("hornpipe", r"hornpipe|clog"),
    ("reel", r"reel"),
    ("jig", r"jig"),
)
# O'Neill's book is in order of kinds (its numbers: first, last).
ONEILL = (
    ("air", 1, 700),
    ("jig", 701, 1115),
    ("slip-jig", 1116, 1175),
    ("reel", 1176, 1555),
    ("hornpipe", 1556, 1780),
    ("march", 1801, 1849),
)
RESTRICTED = r"norbeck|copyright|\(c\)|©|all rights|commercial"
OFFENSIVE = (
    r"nigg|dark(y|ie|ey)|\bcoon|sambo|possum|massa\b|injun|squaw|pickan|gyps|\bjew|chin[ae]m"
)
MODES = {"": "major", "maj": "major", "ion": "major", "m": "minor", "min": "minor"}
MODES |= {"aeo": "minor", "dor": "dorian", "mix": "mixolydian"}
# How many fifths the tonic lies above that of the major scale with the same signature.
MODE_STEP = {"major": 0, "dorian": 2, "mixolydian": 1, "minor": 3}
NATURAL = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
FIFTHS = {"F": -1, "C": 0, "G": 1, "D": 2, "A": 3, "E": 4, "B": 5}
TUPLET = {2: 3, 3: 2, 4: 3, 6: 2, 8: 3}

NOTE = re.compile(r"(\^\^|__|\^|_|=)?([A-Ga-gzx])([',]*)(\d*)((?:/\d*)*)")
BAR = re.compile(r"(:*\|[\|\]\[:]*|:+|\[\|\]?)\s*(\[?\d)?|\[(\d)")


class Trouble(Exception):
    """Why a tune is left out."""


@dataclass
class Section:
    """A stretch between repeat signs or double bars: notes in bars, ``None`` closing each bar."""

    events: list = field(default_factory=list)
    ending: int | None = None  # where the first ending begins


@dataclass(frozen=True)
class Key:
    """A key signature: alterations by letter, and what the header calls it."""

    tonic: int
    mode: str
    alterations: dict


def read_key(text: str) -> Key:
    """Read an ABC key field such as ``G``, ``Ador`` or ``E Minor``."""
    match = re.match(r"\s*([A-G])([b#]?)\s*([A-Za-z]*)", text.split("%")[0])
    if not match:
        raise Trouble(f"key {text!r}")
    letter, sign, word = match.groups()
    word = "" if word == "M" else word.lower()[:3]
    if MODES.get(word) not in MODE_STEP:
        raise Trouble(f"key {text!r}")
    mode = MODES[word]
    sharps = FIFTHS[letter] + {"": 0, "#": 7, "b": -7}[sign] - MODE_STEP[mode]
    order = "FCGDAEB"
    alterations = {name: 1 for name in order[: max(sharps, 0)]}
    alterations |= {name: -1 for name in order[::-1][: max(-sharps, 0)]}
    tonic = (NATURAL[letter] + {"": 0, "#": 1, "b": -1}[sign]) % 12
    return Key(tonic, mode, alterations)


def length(digits: str, slashes: str) -> Fraction:
    """Return a note's length in units: ``3``, ``/``, ``//``, ``3/2``."""
    value = Fraction(int(digits) if digits else 1)
    for slash in re.findall(r"/(\d*)", slashes):
        value /= int(slash) if slash else 2
    return value


def read_meter(text: str) -> str:
    """Return an ABC meter field as ``4/4``."""
    text = text.split("%")[0].strip()
    return {"C": "4/4", "C|": "4/4", "2/2": "4/4"}.get(text, text)


def read_body(lines: list[str], meter: str, unit: Fraction, key: Key) -> list[Section]:
    """Return the sections of a tune: (ticks as a Fraction of a quarter, pitch or 0, tied)."""
    text = ""
    for line in lines:
        line = re.sub(r"(?<!\\)%.*", "", line).strip()
        if re.match(r"[A-Za-z]:", line):
            name, value = line[0], line[2:]
            if name == "M" and read_meter(value) != meter:
                raise Trouble("the meter changes")
            if name in "KL":
                changed = read_key(value) != key if name == "K" else Fraction(value.strip()) != unit
                if changed:
                    raise Trouble(f"{name}: changes")
            continue
        text += line.rstrip("\\") + " "
    text = re.sub(r'"[^"]*"|\{[^}]*\}|![^!\s]*!|\+[a-z]+\+|`', "", text)
    if re.search(r"\[[A-Z]:", text) or "&" in text:
        raise Trouble("inline fields or voices")
    sections, accidentals = [Section()], {}
    tuplet, n_tuplet, broken, whole, place = Fraction(1), 0, None, Fraction(0), 0
    while place < len(text):
        events = sections[-1].events
        match = BAR.match(text, place)
        if match:
            sign = match.group(1) or ""
            digit = (match.group(2) or match.group(3) or "").lstrip("[")
            accidentals.clear()
            if sign:
                events.append(None)
            if digit == "1":
                sections[-1].ending = len(events)
            elif digit:
                if sections[-1].ending is None:
                    raise Trouble("a second ending without a first")
                del events[sections[-1].ending :]
            elif ":" in sign or "||" in sign or "]" in sign or "[" in sign:
                sections.append(Section())
            place = match.end()
            continue
        match = re.compile(r"\((\d)(?::(\d*))?(?::(\d*))?").match(text, place)
        if match:
            n = int(match[1])
            in_time = int(match[2]) if match[2] else TUPLET.get(n)
            if in_time is None:
                raise Trouble(f"tuplet of {n}")
            tuplet, n_tuplet = Fraction(in_time, n), int(match[3]) if match[3] else n
            place = match.end()
            continue
        chord = None
        if text[place] == "[":
            close = text.find("]", place)
            if close < 0:
                raise Trouble("an open bracket")
            chord = NOTE.findall(text[place + 1 : close])
            match = re.compile(r"(\d*)((?:/\d*)*)").match(text, close + 1)
            outer, place = length(*match.groups()), match.end()
        else:
            match = NOTE.match(text, place)
        if chord or (match and chord is None):
            found = chord if chord else [match.groups()]
            pitches = [pitch_of(part, key, accidentals) for part in found]
            value = length(*found[0][3:]) * (outer if chord else 1) * unit * 4
            if n_tuplet:
                value, n_tuplet = value * tuplet, n_tuplet - 1
            if broken:
                # In G>c/B/ both short notes share the shortened second half.
                halves = value * 2 == whole
                whole = value if halves else whole
                value, broken = value * broken, broken if halves else None
            place = place if chord else match.end()
            follow = re.compile(r"[\s)]*([<>]{1,3})").match(text, place)
            if follow:
                short = Fraction(1, 2 ** len(follow[1]))
                first, broken = (2 - short, short) if ">" in follow[1] else (short, 2 - short)
                whole, value, place = value, value * first, follow.end()
            tied = re.compile(r"\)*\s*-").match(text, place)
            place = tied.end() if tied else place
            events.append((value, max(pitches), bool(tied)))
            continue
        if text[place] not in " ()~.uvUVTHLMPSOJRkKwWy*\\]-<>;,+":
            raise Trouble(f"{text[place]!r}")
        place += 1
    return sections


def pitch_of(part: tuple, key: Key, accidentals: dict) -> int:
    """Return the MIDI number of a note; an accidental is remembered for the bar."""
    sign, letter, octaves = part[:3]
    if letter in "zx":
        return 0
    octave = 5 if letter.isupper() else 6
    octave += octaves.count("'") - octaves.count(",")
    if sign:
        accidentals[letter.upper(), octave] = {"^": 1, "^^": 2, "_": -1, "__": -2, "=": 0}[sign]
    alteration = accidentals.get((letter.upper(), octave), key.alterations.get(letter.upper(), 0))
    return 12 * octave + NATURAL[letter.upper()] + alteration


def bars_of(section: Section) -> list[list]:
    """Return the section's bars that hold something."""
    bars = [[]]
    for event in section.events:
        if event is None:
            bars.append([])
        else:
            bars[-1].append(event)
    return [bar for bar in bars if bar]


def arrange(sections: list[Section], bar: Fraction) -> tuple[list, list[int], Fraction]:
    """Return the tune's notes, its sections' first bars, and its upbeat; all sections alike.

    A section begins with an upbeat (maybe empty) and has only whole bars after it but the last,
    which the upbeat completes. Upbeats that differ are filled with rests; a last note too long or
    too short by the difference is cut or held.
    """
    parts, lead = [], []
    for section in sections:
        bars = bars_of(section)
        if not bars:
            continue
        if lead:  # an upbeat that stands before the repeat sign
            bars = [lead, *bars] if sum(value for value, _, _ in bars[0]) == bar else bars
            lead = []
        sizes = [sum(value for value, _, _ in events) for events in bars]
        upbeat = sizes[0] if sizes[0] < bar else Fraction(0)
        body = bars[1:] if upbeat else bars
        if not body:
            lead = bars[0]
            continue
        if any(size != bar for size in sizes[len(bars) - len(body) : -1]) or sizes[-1] > bar:
            raise Trouble("bars do not add up")
        parts.append((upbeat, bars, len(body)))
    if not parts:
        raise Trouble("no notes")
    upbeat = max(part[0] for part in parts)
    if upbeat > bar / 2:
        raise Trouble("a long upbeat")
    notes, n_bars = [], [0]
    for own, bars, n in parts:
        events = [event for events in bars for event in events]
        tail = events_at_end(events, upbeat) if len(bars) == n and own == 0 else []
        if tail and sum(value for value, _, _ in events) == n * bar:
            # The last bar is full and leads back to the beginning: its end is the upbeat.
            events = tail + events[: len(events) - len(tail)]
        elif own < upbeat:
            events.insert(0, (upbeat - own, 0, False))
        excess = sum(value for value, _, _ in events) - n * bar
        if -excess >= bar / 2 + upbeat:
            raise Trouble("a last bar that is too short")
        while events[-1][0] <= excess:
            excess -= events.pop()[0]
        value, pitch, tied = events[-1]
        events[-1] = (value - excess, pitch, tied)
        notes.extend(events)
        n_bars.append(n_bars[-1] + n)
    return notes, n_bars, upbeat


def events_at_end(events: list, duration: Fraction) -> list:
    """Return the last events that together last ``duration`` (none if no events do)."""
    for n in range(1, len(events)):
        if sum(value for value, _, _ in events[-n:]) == duration:
            return events[-n:]
    return []


def merge(notes: list, bounds: set) -> list[tuple[Fraction, int]]:
    """Merge ties within sections, and rests that follow each other."""
    merged, time = [], Fraction(0)
    for i, (value, pitch, _) in enumerate(notes):
        tied = i and notes[i - 1][2] and notes[i - 1][1] == pitch
        rest = i and pitch == 0 and merged[-1][1] == 0
        if (tied or rest) and time not in bounds:
            merged[-1] = (merged[-1][0] + value, pitch)
        else:
            merged.append((value, pitch))
        time += value
    return merged


def tonality(key: Key, notes: list, last: list[int]) -> tuple[int, str]:
    """Return tonic and mode: the header's, or what the tune ends on where the header is vague.

    Many headers state the signature only, as a major key. If every section ends on another degree
    that could be the tonic of the signature, and it sounds longer than the header's, take it.
    """
    if key.mode != "major":
        return key.tonic, key.mode
    share = collections.Counter()
    for value, pitch in notes:
        if pitch:
            share[pitch % 12] += value
    for degree, mode in ((2, "dorian"), (7, "mixolydian"), (9, "minor")):
        candidate = (key.tonic + degree) % 12
        if all(pitch % 12 == candidate for pitch in last) and share[candidate] > share[key.tonic]:
            return candidate, mode
    return key.tonic, "major"


def kind_of(collection: str, number: int, headers: dict) -> str | None:
    """Return which dance a tune is, from O'Neill's order or from what the header says."""
    if collection == "oneills1850":
        return next((kind for kind, first, last in ONEILL if first <= number <= last), None)
    stated = " ".join(headers.get("R", [])).lower() or " ".join(headers.get("T", [])).lower()
    return next((kind for kind, pattern in NAMES if re.search(pattern, stated)), None)


def tidy_title(title: str) -> str:
    """Return ``The Blackbird`` for ``BLACKBIRD -- REEL``, ``Blackbird., The`` and the like."""
    title = re.split(r"\s--|\s-\s", title)[0]
    title = re.sub(
        r"\b(1st|2nd|3rd|first|second|third) (setting|version)\b.*", "", title, flags=re.I
    )
    title = re.sub(r"\(.*|(?<=\w):|\"", "", title).replace("'", "’").strip(" .,;")
    article = re.match(r"(.*?)[.,]*,\s*(The|An?)\b\.?$", title, flags=re.I)
    if article:
        title = f"{article[2].capitalize()} {article[1]}"
    if title.isupper():
        title = re.sub(r"[A-ZÀ-Ý’]+", lambda word: word[0].capitalize(), title)
    return re.sub(r"\s+", " ", title).strip(" .,;")


def title_key(title: str) -> str:
    """Return what two spellings of one title have in common."""
    words = re.findall(r"[a-z0-9]+", title.lower().replace("’", ""))
    small = {"the", "a", "an", "of", "to", "in", "on", "and", "reel", "jig", "hornpipe", "clog"}
    small |= {"strathspey", "march", "favorite", "favourite", "slip", "fling", "highland", "s"}
    kept = [word.rstrip("s") for word in words if word not in small]
    return " ".join(sorted(kept)) if len(kept) > 1 or (kept and len(kept[0]) > 3) else ""


def transcriber_of(notes: list[str]) -> str:
    """Return who wrote the tune down in ABC, from what the header says in many ways."""
    name = r"\s+([A-Z][A-Za-z.'-]*(?:\s+[A-Z][A-Za-z'-]*\.?){1,2})"
    text = " " + " / ".join(re.sub(r'"', " ", note) for note in notes)
    for pattern in (r"(?i:transcri\w+|contributed)[\s\d]*(?i:by|be)" + name, r"\d{4}\s+by" + name):
        match = re.search(pattern, text) or re.search(r"(?:^|/)[\s\d]*" + name, text)
        if match and not re.search(r"Neill|ABCMUS|Cronin|Collected", match[1]):
            return re.sub(r"\s+", " ", match[1])
    match = re.search(r"(?i:transcribed by)\s+(\w+)", text)
    return match[1] if match else "unnamed"


def read_tune(collection: str, path: Path, text: str) -> dict:
    """Return one tune as a record.

    Raises
    ------
    Trouble
        With the reason why it is left out.
    """
    text = re.sub(r"=20$|=\n", "", text.replace("\r", ""), flags=re.M)  # e-mail's line ends
    lines = text.split("\n")
    at = next((i for i, line in enumerate(lines) if line.startswith("K:")), None)
    if at is None:
        raise Trouble("no key")
    headers = collections.defaultdict(list)
    for line in lines[:at]:
        if re.match(r"[A-Z]:", line):
            headers[line[0]].append(line[2:].strip())
    if re.search(RESTRICTED, text, flags=re.I):
        raise Trouble("restricted")
    if not headers["T"] or not headers["X"]:
        raise Trouble("no title")
    title = tidy_title(headers["T"][0])
    if re.search(OFFENSIVE, " ".join(headers["T"]), flags=re.I):
        raise Trouble("title")
    number = int(re.match(r"\d+", headers["X"][0])[0])
    kind = kind_of(collection, number, headers)
    if kind is None:
        raise Trouble("another kind")
    meter = read_meter(headers["M"][0]) if headers["M"] else ""
    if kind == "jig" and meter == "9/8":
        kind = "slip-jig"
    target, accepted = KINDS[kind]
    if meter not in accepted:
        raise Trouble(f"a {kind} in {meter}")
    beats, beat = map(int, meter.split("/"))
    stated = headers["L"][0].split("%")[0].strip() if headers["L"] else ""
    unit = Fraction(stated) if stated else Fraction(1, 8 if beats / beat >= 0.75 else 16)
    key = read_key(lines[at][2:])
    bar = Fraction(4 * beats, beat)
    notes, n_bars, upbeat = arrange(read_body(lines[at + 1 :], meter, unit, key), bar)
    bounds = {n * bar for n in n_bars}
    last, time = [], Fraction(0)
    for value, pitch, _ in notes:
        if time + value in bounds and pitch:
            last.append(pitch)
        time += value
    merged = merge(notes, bounds)
    if n_bars[-1] < FEWEST_BARS:
        raise Trouble("short")
    scale = 2 if target and target != meter else 1
    ticks = [value * scale * TICKS_PER_QUARTER for value, _ in merged]
    if any(value.denominator != 1 for value in ticks):
        raise Trouble("a duration off the grid")
    pitches = [pitch for _, pitch in merged]
    sounding = [pitch for pitch in pitches if pitch]
    if len(sounding) < 4 * FEWEST_BARS // 2 or min(sounding) < 52 or max(sounding) > 91:
        raise Trouble("few notes or an odd range")
    tonic, mode = tonality(key, merged, last)
    return {
        "identifier": f"{'ryan' if collection[0] == 'r' else 'oneill'}-{number:04d}",
        "title": title,
        "kind": kind,
        "meter": target or meter,
        "tonic": tonic,
        "mode": mode,
        "sections": [int(n * bar * scale * TICKS_PER_QUARTER) for n in n_bars],
        "pickup": int(upbeat * scale * TICKS_PER_QUARTER),
        "ticks": [int(value) for value in ticks],
        "pitches": pitches,
        "source": f"{collection}/{path.name}#{number}",
        "transcriber": transcriber_of(headers["Z"] + headers["N"]),
    }


def read_all(folder: Path) -> tuple[list[dict], collections.Counter]:
    """Return the records of all tunes, and how often each reason left one out."""
    records, reasons = [], collections.Counter()
    for collection in COLLECTIONS:
        seen = set()
        for path in sorted((folder / collection).glob("*.abc")):
            text = path.read_text(encoding="utf-8", errors="replace")
            for tune in re.split(r"(?m)^(?=X:)", text)[1:]:
                try:
                    record = read_tune(collection, path, tune)
                except Trouble as trouble:
                    reasons[str(trouble)] += 1
                    continue
                if collection == "ryansMammoth":  # each file holds a tune and calls it number 1
                    slug = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", path.stem).lower()
                    record["identifier"] = f"ryan-{slug.replace('_', '-')}"
                    record["source"] = f"{collection}/{path.name}"
                if record["identifier"] in seen:  # O'Neill's numbers that two people transcribed
                    reasons["transcribed twice"] += 1
                    continue
                seen.add(record["identifier"])
                records.append(record)
    return records, reasons


def melody_grams(record: dict) -> set[tuple]:
    """Return the runs of nine pitches on the grid of half beats, as intervals, of the tune."""
    ticks, pitches = np.asarray(record["ticks"]), np.asarray(record["pitches"])
    onsets = np.concatenate([[0], np.cumsum(ticks)[:-1]])
    grid = np.arange(record["pickup"], ticks.sum(), TICKS_PER_QUARTER // 2)
    line = pitches[np.searchsorted(onsets, grid, side="right") - 1]
    line = line[line > 0]
    # Octaves are folded and neighbours compared: key and register do not matter.
    steps = np.diff(line) % 12
    return {tuple(steps[i : i + 8]) for i in range(len(steps) - 7)}


def shared_melody(first: set, second: set) -> float:
    """Return which part of the smaller set of runs the other tune has too."""
    return len(first & second) / max(min(len(first), len(second)), 1)


def assign_works(records: list[dict]) -> None:
    """Set ``work`` of every record: one name for all tunes that may be the same."""
    leader = list(range(len(records)))

    def find(i: int) -> int:
        while leader[i] != i:
            i = leader[i]
        return i

    def join(i: int, j: int) -> None:
        leader[max(find(i), find(j))] = min(find(i), find(j))

    titles, having = {}, collections.defaultdict(list)
    grams = [melody_grams(record) for record in records]
    for i, record in enumerate(records):
        name = title_key(record["title"])
        if name:
            join(i, titles.setdefault(name, i))
        for gram in grams[i]:
            having[gram].append(i)
    pairs = collections.Counter()
    for members in having.values():
        if len(members) <= 12:  # a run that everyone plays says nothing
            pairs.update((a, b) for k, a in enumerate(members) for b in members[k + 1 :])
    for (i, j), n in pairs.items():
        if n >= 4 and shared_melody(grams[i], grams[j]) >= SAME_MELODY:
            join(i, j)
    for i, record in enumerate(records):
        record["work"] = records[find(i)]["identifier"]


def check_against_music21(folder: Path, n: int) -> None:
    """Print how many of n tunes have the same notes, in order, when music21 reads them.

    Those that differ do so where music21 plays both endings, forgets an accidental within its bar
    or loses a dot behind a bracket; about three quarters agree.
    """
    from music21 import converter

    records, _ = read_all(folder)
    order = np.random.default_rng(0).permutation(len(records))[:n]
    agree = 0
    for i in order:
        record = records[i]
        name, _, number = record["source"].partition("#")
        text = (folder / name).read_text(encoding="utf-8", errors="replace")
        score = converter.parse(text, format="abc", number=int(number) if number else None)
        if hasattr(score, "scores") and len(score.scores):
            score = score.scores[0]
        part = score.parts[0].flatten().stripTies()
        theirs = [
            (max(p.midi for p in note.pitches), Fraction(note.quarterLength).limit_denominator(96))
            for note in part.notes
            if not note.duration.isGrace
        ]
        scale = Fraction(1)
        if record["meter"] == "4/4" and part.getElementsByClass("TimeSignature"):
            scale = 2 if part.getElementsByClass("TimeSignature")[0].ratioString == "2/4" else 1
        ours = [
            (pitch, Fraction(ticks, TICKS_PER_QUARTER) / scale)
            for pitch, ticks in zip(record["pitches"], record["ticks"], strict=True)
            if pitch
        ]
        same = sum(a == b for a, b in zip(ours, theirs, strict=False))
        # Each section's last note may have been cut or held to fit the upbeat.
        if len(ours) == len(theirs) and same >= len(ours) - len(record["sections"]):
            agree += 1
        else:
            print("differs:", record["identifier"], len(ours), len(theirs), same)
    print(f"{agree} of {n} tunes agree")


def main() -> None:
    """Parse, filter, group and write; print what was left out and why."""
    import music21

    folder = Path(music21.__file__).parent / "corpus"
    if "--check" in sys.argv:
        check_against_music21(folder, int(sys.argv[sys.argv.index("--check") + 1]))
        return
    output = Path(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT_OUTPUT
    records, reasons = read_all(folder)
    for reason, n in reasons.most_common():
        print(f"left out {n:4d}: {reason}")
    print("read:", collections.Counter(record["kind"] for record in records))
    assign_works(records)
    records.sort(key=lambda record: (record["kind"], record["identifier"]))
    document = {
        "work": "Traditional tunes from Ryan's Mammoth Collection (1883) and O'Neill's Music of "
        "Ireland (1903), both in the public domain",
        "encoding": f"notes read from the corpus of music21 {music21.__version__}, encoded in ABC "
        "by the volunteers named with each tune, distributed by music21 with permission",
        "ticks_per_quarter": TICKS_PER_QUARTER,
        "dances": records,
    }
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
    output.write_bytes(gzip.compress(text.encode(), compresslevel=9, mtime=0))
    works = collections.Counter(record["work"] for record in records)
    kinds = collections.defaultdict(set)
    for record in records:
        kinds[record["kind"]].add(record["work"])
    print(f"{len(records)} tunes, {len(works)} works, {output.stat().st_size} bytes")
    print({kind: len(group) for kind, group in kinds.items()}, works.most_common(8))


if __name__ == "__main__":
    main()
