"""Build ``chorales.json.gz``: Bach's four-part chorales as compact note lists.

Run by maintainers only (``pip install music21`` in an environment of its own); what it writes is
shipped. The notes of these works (J. S. Bach, 1685-1750) are in the public domain; the encodings
come with music21, most of them made by Margaret Greentree and given to music21 for distribution.
Only what the notes are is kept (onsets, durations, pitches, fermatas): no layout, no text. Scores
whose file restricts their use are left out, and so is every score without exactly four
single-note voices that start and end together.

Conventions: time is counted in ticks of an eighth of a quarter note; a voice is two lists of equal
length, ``ticks`` (durations, back to back from tick 0) and ``pitches`` (MIDI numbers, 0 = rest);
ties are merged, grace notes dropped, repeats left as written.

Chorales share a *tune* when their titles agree or when their sopranos begin alike
(:func:`melody_distance` at most 0.2, over the first 20 notes, in any key). The relation is closed
transitively, so a tune is rather too large than too small: it is the unit that the splits keep
together.

Usage: ``python tools/build_chorale_scores.py [OUTPUT]``
"""

from __future__ import annotations

import collections
import gzip
import hashlib
import json
import re
import sys
import unicodedata
from fractions import Fraction
from pathlib import Path

import music21
from music21 import chord, corpus, expressions
from music21.corpus import chorales

TICKS_PER_QUARTER = 8
VOICES = ("soprano", "alto", "tenor", "bass")
N_INCIPIT_NOTES = 20
SAME_TUNE_DISTANCE = 0.2
DEFAULT_OUTPUT = Path(__file__).parents[1] / "dl101/data/embedded/assets/chorales.json.gz"

# Titles that music21's two lists lack, and one that they misspell.
TITLES = {
    "2.6": "Ach Gott, vom Himmel sieh’ darein",
    "7.7": "Christ, unser Herr, zum Jordan kam",
    "18.5-lz": "Durch Adams Fall ist ganz verderbt",
    "66.6": "Christ ist erstanden",
    "67.4": "Erschienen ist der herrlich’ Tag",
    "70.7": "Freu’ dich sehr, o meine Seele",
    "72.6": "Was mein Gott will, das g’scheh’ allzeit",
    "92.9": "Was mein Gott will, das g’scheh’ allzeit",
    "93.7": "Wer nur den lieben Gott läßt walten",
    "99.6": "Was Gott tut, das ist wohlgetan",
    "111.6": "Was mein Gott will, das g’scheh’ allzeit",
    "116.6": "Du Friedefürst, Herr Jesu Christ",
    "119.9": "Herr Gott, dich loben wir",
    "120.6": "Herr Gott, dich loben wir",
    "125.6": "Mit Fried’ und Freud’ ich fahr’ dahin",
    "135.6": "Ach Herr, mich armen Sünder",
    "139.6": "Wohl dem, der sich auf seinen Gott",
    "146.8": "Werde munter, mein Gemüte",
    "157.5": "Meinen Jesum laß’ ich nicht",
    "162.6-lpz": "Alle Menschen müssen sterben",
    "165.6": "Nun laßt uns Gott, dem Herren",
    "178.7": "Wo Gott, der Herr, nicht bei uns hält",
    "188.6": "Auf meinen lieben Gott",
    "197.7-a": "O Gott, du frommer Gott",
    "229.2": "Komm, Jesu, komm",
    "244.17": "Herzlich tut mich verlangen",
    "244.29-a": "Meinen Jesum laß’ ich nicht",
    "245.5": "Vater unser im Himmelreich",
    "248.23-s": "Vom Himmel hoch, da komm’ ich her",
    "248.28": "Gelobet seist du, Jesu Christ",
    "248.42-s": "Jesus, richte mein Beginnen",
    "248.64-s": "Herzlich tut mich verlangen",
}


def slug(title: str) -> str:
    """Return a title in lower-case ASCII words joined by hyphens."""
    plain = unicodedata.normalize("NFKD", title.replace("ß", "ss").replace("’", ""))
    words = re.findall(r"[a-z0-9]+", plain.encode("ascii", "ignore").decode().lower())
    return "-".join(words)


def title_of(bwv: str) -> str | None:
    """Return the chorale's title, from our table or from music21's two lists."""
    if bwv in TITLES:
        return TITLES[bwv]
    listed = chorales.ChoraleListRKBWV().byBWV.get(bwv)
    if listed is None and bwv.isdigit():
        listed = chorales.ChoraleList().byBWV.get(int(bwv))
    return listed["title"].replace("'", "’") if listed else None


def read_voice(part) -> tuple[list[tuple[Fraction, Fraction, int, bool]], str | None]:
    """Return a part's events (onset, duration, pitch or 0, fermata), and what is wrong with it."""
    events = []
    for event in part.flatten().stripTies().notesAndRests:
        if event.duration.isGrace or event.quarterLength == 0:
            continue
        if isinstance(event, chord.Chord):
            return [], "a voice that divides"
        fermata = any(isinstance(mark, expressions.Fermata) for mark in event.expressions)
        pitch = 0 if event.isRest else event.pitch.midi
        events.append((Fraction(event.offset), Fraction(event.quarterLength), pitch, fermata))
    events.sort(key=lambda event: event[0])
    end = Fraction(0)
    for onset, duration, _, _ in events:
        if onset != end:
            return [], "a gap or an overlap"
        if (duration * TICKS_PER_QUARTER).denominator != 1:
            return [], f"a duration of {duration} quarter notes"
        end = onset + duration
    return events, None


def read_score(path: Path) -> tuple[dict | None, str | None]:
    """Return one chorale as a record, or the reason why it is left out."""
    score = corpus.parse(path)
    if len(score.parts) != len(VOICES):
        return None, f"{len(score.parts)} parts"
    if score.metadata.copyright:
        return None, f"its notice: {score.metadata.copyright}"
    bwv = re.sub(r"^bwv|\.(mxl|xml|krn)$", "", path.name)
    title = title_of(bwv)
    if title is None:
        return None, "no title"
    record = {"bwv": bwv, "title": title}
    voices, ends, fermatas = {}, set(), []
    for name, part in zip(VOICES, score.parts, strict=True):
        events, problem = read_voice(part)
        if problem:
            return None, problem
        voices[name] = {
            "ticks": [int(event[1] * TICKS_PER_QUARTER) for event in events],
            "pitches": [event[2] for event in events],
        }
        ends.add(sum(voices[name]["ticks"]))
        if name == "soprano":
            fermatas = [
                [int(e[0] * TICKS_PER_QUARTER), int((e[0] + e[1]) * TICKS_PER_QUARTER)]
                for e in events
                if e[3]
            ]
    if len(ends) != 1:
        return None, "voices of unequal length"
    signature = score.parts[0].flatten().getElementsByClass("TimeSignature")
    record["meter"] = signature[0].ratioString if signature else ""
    record["fermatas"] = fermatas
    record["voices"] = voices
    record["source"] = f"bach/{path.name}"
    record["source_sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    return record, None


def incipit(record: dict) -> list[int]:
    """Return the soprano's first pitches, without the quick notes that ornament them."""
    voice = record["voices"]["soprano"]
    pitches, tick = [], 0
    for duration, pitch in zip(voice["ticks"], voice["pitches"], strict=True):
        is_structural = duration >= TICKS_PER_QUARTER or tick % (TICKS_PER_QUARTER // 2) == 0
        if pitch and is_structural:
            pitches.append(pitch)
        tick += duration
    return pitches[:N_INCIPIT_NOTES]


def melody_distance(first: list[int], second: list[int]) -> float:
    """Return an edit distance per note between two incipits, at the best transposition.

    The end of the longer may be ignored; a repeated note, or a semitone (minor against major),
    costs half.
    """
    shifts = {a - b for a in first[:3] for b in second[:3]}
    best = float("inf")
    for shift in shifts:
        row = [float(j) for j in range(len(second) + 1)]
        last_column = [row[-1]]
        for i, a in enumerate(first, start=1):
            skip_a = 0.5 if i > 1 and a == first[i - 2] else 1.0
            previous, row = row, [float(i)]
            for j, b in enumerate(second, start=1):
                skip_b = 0.5 if j > 1 and b == second[j - 2] else 1.0
                difference = abs(a - b - shift)
                change = 0.0 if difference == 0 else 0.5 if difference == 1 else 1.0
                row.append(min(previous[j] + skip_a, row[j - 1] + skip_b, previous[j - 1] + change))
            last_column.append(row[-1])
        best = min(best, min(row), min(last_column))
    return best / min(len(first), len(second))


def assign_tunes(records: list[dict]) -> None:
    """Set ``tune`` of every record: one name for all chorales that may share a melody."""
    leader = list(range(len(records)))

    def find(i: int) -> int:
        while leader[i] != i:
            i = leader[i]
        return i

    incipits = [incipit(record) for record in records]
    slugs = [slug(record["title"]) for record in records]
    for i in range(len(records)):
        for j in range(i):
            if find(i) == find(j):
                continue
            same_title = slugs[i] == slugs[j]
            if same_title or melody_distance(incipits[i], incipits[j]) <= SAME_TUNE_DISTANCE:
                leader[max(find(i), find(j))] = min(find(i), find(j))
    members = collections.defaultdict(list)
    for i in range(len(records)):
        members[find(i)].append(i)
    for group in members.values():
        counts = collections.Counter(slugs[i] for i in group)
        name = min(counts, key=lambda title: (-counts[title], title))
        for i in group:
            records[i]["tune"] = name


def main() -> None:
    """Parse, filter, group and write; print what was left out and why."""
    output = Path(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT_OUTPUT
    records, seen = [], {}
    for path in sorted(corpus.getComposer("bach"), key=lambda path: path.name):
        record, reason = read_score(path)
        if record is not None:
            notes = json.dumps(record["voices"])
            reason = f"same notes as {seen[notes]}" if notes in seen else None
            seen.setdefault(notes, path.name)
        if reason:
            print(f"left out {path.name}: {reason}")
        else:
            records.append(record)
    assign_tunes(records)
    document = {
        "work": "Four-part chorales by Johann Sebastian Bach (public domain)",
        "encoding": f"notes read from the corpus of music21 {music21.__version__}, most of it "
        "encoded by Margaret Greentree and distributed by music21 with permission",
        "ticks_per_quarter": TICKS_PER_QUARTER,
        "chorales": records,
    }
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
    output.write_bytes(gzip.compress(text.encode(), compresslevel=9, mtime=0))
    tunes = collections.Counter(record["tune"] for record in records)
    print(f"{len(records)} chorales, {len(tunes)} tunes, {output.stat().st_size} bytes")
    print("largest tunes:", tunes.most_common(8))


if __name__ == "__main__":
    main()
