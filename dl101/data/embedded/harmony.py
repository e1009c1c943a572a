"""Chords: their names, progressions by style, and finding them in written music.

Conventions: score time is counted in quarter notes; pitch classes in semitones above C (0 to 11).
A chord's quality is a shorthand of Harte's syntax (Harte, "Towards Automatic Extraction of Harmony
Information from Music Signals", 2010) and its bass is counted in semitones above the root, so that
``Chord(0, "maj7", 4)`` is ``C:maj7/3``. Roots are spelled with at most one accidental, whatever the
key. ``N`` means that no chord sounds.

Progressions are written in roman numerals *relative to the major scale* of the tonic, also in minor
keys (the submediant of a minor key is ``bVI``): capitals are major, small letters minor. A suffix
gives sevenths and more (``7``, ``maj7``, ``o`` diminished, ``ø`` half-diminished, ``+`` augmented,
``sus4``, ...); ``/3``, ``/b7`` name the bass as a degree of the chord, ``V7/ii`` a chord of another
degree's key. ``|`` parts bars; chords within a bar share its beats.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from dl101.data.embedded.scores import Chorale, ScoreVoice
from dl101.data.embedded.styles import Style
from dl101.data.harte import ROOTS, SHORTHANDS
from dl101.errors import ConfigError, DataError, did_you_mean

ROOT_NAMES = ROOTS
QUALITIES = {
    name: tuple(interval % 12 for interval in SHORTHANDS[name])
    for name in (
        "maj", "min", "dim", "aug", "sus4", "sus2", "5", "maj7", "min7", "7", "dim7", "hdim7",
        "minmaj7", "maj6", "min6", "9", "maj9", "min9",
    )
}  # fmt: skip
DEGREES = ("1", "b2", "2", "b3", "3", "4", "b5", "5", "b6", "6", "b7", "7")
SCALES = {
    "major": (0, 2, 4, 5, 7, 9, 11),
    "minor": (0, 2, 3, 5, 7, 8, 10),
    "dorian": (0, 2, 3, 5, 7, 9, 10),
    "mixolydian": (0, 2, 4, 5, 7, 9, 10),
}


@dataclass(frozen=True)
class Chord:
    """A chord; ``root`` None means that there is none (``N``)."""

    root: int | None
    quality: str = "maj"
    bass: int = 0

    @property
    def label(self) -> str:
        """The chord in Harte's syntax, for example ``A:min7/b3`` or ``N``."""
        if self.root is None:
            return "N"
        degree = DEGREES[self.bass]
        if self.quality == "aug" and self.bass == 8:
            degree = "#5"
        if self.quality == "dim7" and self.bass == 9:
            degree = "bb7"
        return f"{ROOT_NAMES[self.root]}:{self.quality}" + (f"/{degree}" if self.bass else "")

    @property
    def pitch_classes(self) -> tuple[int, ...]:
        """The pitch classes from the root up (empty for ``N``), with the bass if it is foreign."""
        if self.root is None:
            return ()
        intervals = QUALITIES[self.quality]
        intervals += () if self.bass in intervals else (self.bass,)
        return tuple((self.root + interval) % 12 for interval in intervals)

    @property
    def bass_pitch_class(self) -> int | None:
        """The pitch class of the lowest note (None for ``N``)."""
        return None if self.root is None else (self.root + self.bass) % 12


NO_CHORD = Chord(None)


@dataclass(frozen=True)
class ChordSpan:
    """A chord and when it holds, in quarter notes."""

    onset_quarters: float
    duration_quarters: float
    chord: Chord

    @property
    def end_quarters(self) -> float:
        """When the chord ends."""
        return self.onset_quarters + self.duration_quarters


def merge(spans: Sequence[ChordSpan]) -> tuple[ChordSpan, ...]:
    """Return adjoining spans with neighbours of the same chord joined."""
    merged: list[ChordSpan] = []
    for span in spans:
        if merged and merged[-1].chord == span.chord:
            last = merged.pop()
            span = ChordSpan(
                last.onset_quarters, span.end_quarters - last.onset_quarters, span.chord
            )
        merged.append(span)
    return tuple(merged)


# --- roman numerals and progressions ---

_NUMERALS = {"i": 0, "ii": 2, "iii": 4, "iv": 5, "v": 7, "vi": 9, "vii": 11}
_SYMBOL = re.compile(r"^(#|b)?(III|II|IV|I|VII|VI|V|iii|ii|iv|i|vii|vi|v)([^/]*)(?:/(.+))?$")
_SUFFIXES = {"": "", "o": "dim", "o7": "dim7", "ø": "hdim7", "ø7": "hdim7", "+": "aug", "6": "6"}


@cache
def roman(symbol: str, tonic: int) -> Chord:
    """Return the chord that a roman numeral names in the key of ``tonic`` (a pitch class).

    Raises
    ------
    DataError
        For a numeral that does not read as described at the top of the module.
    """
    match = _SYMBOL.match(symbol)
    if symbol == "N":
        return NO_CHORD
    if not match:
        raise _bad_numeral(symbol)
    accidental, numeral, suffix, below = match.groups()
    if below and below.lstrip("#b").lower() in _NUMERALS:  # a chord of another degree's key
        tonic, below = roman(below, tonic).root, None
    root = (tonic + _NUMERALS[numeral.lower()] + {"#": 1, "b": -1, None: 0}[accidental]) % 12
    minor = numeral.islower()
    quality = _SUFFIXES.get(suffix, suffix)
    if quality in ("", "6", "7", "9"):
        # Minor goes without saying for small letters; a capital with a seventh is a dominant.
        prefix = "min" if minor else "maj" if quality in ("", "6") else ""
        quality = prefix + quality
    if quality not in QUALITIES or (below and below not in DEGREES):
        raise _bad_numeral(symbol)
    return Chord(root, quality, DEGREES.index(below) if below else 0)


def _bad_numeral(symbol: str) -> DataError:
    return DataError(
        "roman numeral of a progression",
        got=repr(symbol),
        expected="an accidental, a numeral, a suffix and perhaps /degree or /numeral, as in V7/ii",
        hint="see the top of dl101/data/embedded/harmony.py",
    )


def read_progression(
    text: str,
    tonic: int,
    bar_quarters: float,
    onset_quarters: float = 0.0,
    *,
    beats_per_bar: int = 4,
) -> tuple[ChordSpan, ...]:
    """Return the chords of a progression such as ``"I | vi IV | V7"``, one bar after another.

    Chords change on beats, the first ones being longer where they cannot be equally long.
    """
    spans = []
    for number, bar in enumerate(text.split("|")):
        symbols = bar.split()
        n = len(symbols)
        parts = beats_per_bar if beats_per_bar >= n else n
        changes = [-(-place * parts // n) / parts for place in range(n + 1)]  # rounded up
        for symbol, begin, end in zip(symbols, changes[:-1], changes[1:], strict=True):
            onset = onset_quarters + (number + begin) * bar_quarters
            spans.append(ChordSpan(onset, (end - begin) * bar_quarters, roman(symbol, tonic)))
    return merge(spans)


def progression(
    style: Style, n_bars: int, tonic: int, mode: str, rng: np.random.Generator
) -> tuple[ChordSpan, ...]:
    """Draw the chords of a piece: two of the style's progressions, verse and refrain, then home.

    The bars follow the plan AABA (A twice when the piece is short); the last bar holds the tonic.

    Raises
    ------
    ConfigError
        For a mode in which the style has no progressions.
    """
    if mode not in style.progressions:
        raise ConfigError(
            f"mode of style {style.name!r}",
            got=repr(mode),
            expected=f"one of {', '.join(style.progressions)}",
            hint=did_you_mean(mode, style.progressions),
        )
    table = style.progressions[mode]
    verse, refrain = str(rng.choice(table)), str(rng.choice(table))
    plan = (verse, verse, refrain, verse)
    bars: list[str] = []
    for turn in range(n_bars):  # a section has a bar at least
        bars += _vary([bar.strip() for bar in plan[turn % 4].split("|")], style, rng)
        if len(bars) >= n_bars:
            break
    bars = bars[:n_bars]
    home = verse.split("|")[0].split()[0]
    bars[-1] = style.final.get(mode, home)
    return read_progression(
        "|".join(bars), tonic, style.bar_quarters, beats_per_bar=style.beats_per_bar
    )


def _vary(bars: list[str], style: Style, rng: np.random.Generator) -> list[str]:
    """Vary a progression: an applied dominant, an inversion or a suspension here and there."""
    bars = list(bars)
    for number, bar in enumerate(bars):
        following = bars[(number + 1) % len(bars)].split()[0]
        chance = rng.random()
        if " " in bar or "/" in bar:
            continue
        if chance < style.applied and following in ("ii", "iii", "IV", "V", "vi", "ii7", "vi7"):
            target = following.rstrip("7")
            bars[number] = f"{bar} V7/{target}" if bar != following else bar
        elif chance < style.applied + style.inverted and bar in ("I", "IV", "V", "i", "iv", "vi"):
            degree = str(rng.choice(["3", "5"]))
            degree = "b3" if degree == "3" and bar.islower() else degree
            bars[number] = f"{bar} {bar}/{degree}"
        elif chance < style.applied + style.inverted + style.suspended and bar in ("V", "I", "IV"):
            bars[number] = f"{bar}sus4 {bar}"
    return bars


def scale_pitch_classes(tonic: int, mode: str) -> tuple[int, ...]:
    """Return the seven pitch classes of a scale, from the tonic up."""
    return tuple((tonic + step) % 12 for step in SCALES[mode])


# --- finding chords in written music ---

# How much a quality is expected before a note is heard; rarer ones must be earned.
_PRIORS = {
    "maj": 0.0,
    "min": 0.0,
    "7": -0.10,
    "min7": -0.14,
    "maj7": -0.18,
    "dim": -0.10,
    "dim7": -0.16,
    "hdim7": -0.14,
    "aug": -0.30,
    "sus4": -0.25,
}
_CANDIDATES = tuple((root, quality) for root in range(12) for quality in _PRIORS)


@cache
def _templates() -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return, for each candidate, membership (n, 12), what each note is missed, and the priors."""
    member = np.zeros((len(_CANDIDATES), 12))
    missed = np.zeros((len(_CANDIDATES), 12))
    for row, (root, quality) in enumerate(_CANDIDATES):
        intervals = QUALITIES[quality]
        member[row, [(root + i) % 12 for i in intervals]] = 1.0
        # Root and third make the chord; a fifth may be left out; a seventh that is not there is
        # no seventh chord.
        costs = (0.35, 0.3, 0.08 if intervals[2] == 7 else 0.35, 0.5)
        for interval, cost in zip(intervals, costs, strict=False):
            missed[row, (root + interval) % 12] = cost
    return member, missed, np.array([_PRIORS[quality] for _, quality in _CANDIDATES])


def _weights(voices: Sequence[ScoreVoice], begin: float, end: float) -> NDArray[np.float64]:
    """Return how much of each pitch class sounds within an interval, in weighted quarters."""
    weights = np.zeros(12)
    for voice in voices:
        onsets = voice.onsets_quarters
        ends = onsets + voice.durations_quarters
        overlap = np.minimum(ends, end) - np.maximum(onsets, begin)
        accent = np.where(onsets <= begin + 1e-9, 1.0, 0.6)  # what comes late may be passing
        heard = overlap > 1e-9
        # A note held over that moves within the interval is suspended: its resolution counts.
        suspended = heard & (onsets < begin - 1e-9) & (ends < end - 1e-9)
        accent[suspended] = 0.4
        accent[1:][suspended[:-1]] = 1.0
        np.add.at(weights, voice.pitches_midi[heard] % 12, (accent * overlap)[heard])
    return weights


def analyse_chorale(chorale: Chorale, *, step_quarters: float = 1.0) -> tuple[ChordSpan, ...]:
    """Find the chords of a chorale from its notes, beat by beat.

    Each beat's notes, weighted by how long they sound (those that enter after the beat by less),
    are matched with chord templates; a change of chord costs a little, so the cheapest path through
    the beats (dynamic programming) passes over passing notes. The bass voice gives the inversion.

    Returns
    -------
    tuple of ChordSpan
        They cover the piece from 0 to its end without gaps; silent beats have no chord.
    """
    voices = list(chorale.voices.values())
    edges = np.arange(0.0, chorale.duration_quarters - 1e-9, step_quarters)
    weights = [_weights(voices, t, t + step_quarters) for t in edges]
    basses = [_bass_notes(chorale.voices["bass"], t, t + step_quarters) for t in edges]
    path = _best_path(np.array(weights), [b[0] if b else None for b in basses])
    spans = []
    for t, found, bass in zip(edges, path, basses, strict=True):
        end = min(t + step_quarters, chorale.duration_quarters)
        chord = NO_CHORD if found is None else _with_bass(found, bass)
        spans.append(ChordSpan(float(t), float(end - t), chord))
    return merge(spans)


def _bass_notes(voice: ScoreVoice, begin: float, end: float) -> list[int]:
    """Return the pitch classes of the bass within a beat, the one at its beginning first."""
    ends = voice.onsets_quarters + voice.durations_quarters
    heard = (voice.onsets_quarters < end - 1e-9) & (ends > begin + 1e-9)
    return [int(pitch) % 12 for pitch in voice.pitches_midi[heard]]


def _with_bass(found: tuple[int, str], bass: Sequence[int]) -> Chord:
    """Return a chord over the first bass note that belongs to it (else in root position)."""
    root, quality = found
    for pitch_class in bass:
        if (pitch_class - root) % 12 in QUALITIES[quality]:
            return Chord(root, quality, (pitch_class - root) % 12)
    return Chord(root, quality)


def _best_path(
    weights: NDArray[np.float64], basses: Sequence[int | None]
) -> list[tuple[int, str] | None]:
    """Return the best chord of each beat, or None where nothing sounds."""
    member, missed, priors = _templates()
    total = weights.sum(axis=1, keepdims=True)
    share = weights / np.maximum(total, 1e-9)
    present = share > 0.08
    score = share @ member.T - (~present) @ missed.T + priors
    roots = np.array([root for root, _ in _CANDIDATES])
    suspended = np.array([quality == "sus4" for _, quality in _CANDIDATES])
    for t, bass in enumerate(basses):
        if bass is not None:
            score[t] += 0.12 * (roots == bass) + 0.06 * member[:, bass]
            # A suspension stands on its root; other fourths above a bass resolve to a third.
            score[t] -= 0.3 * (suspended & (roots != bass))
    score[total[:, 0] == 0.0] = 0.0
    best = _viterbi(score, np.full(len(basses), 0.12))
    return [_CANDIDATES[c] if total[t, 0] > 0 else None for t, c in enumerate(best)]


def _viterbi(score: NDArray[np.float64], change_costs: NDArray[np.float64]) -> list[int]:
    """Return the path of highest score (steps, states); a change of state costs (steps,)."""
    back = np.zeros(score.shape, dtype=int)
    value = score[0].copy()
    for t in range(1, score.shape[0]):
        best = int(value.argmax())
        jump = value[best] - change_costs[t] > value
        back[t] = np.where(jump, best, np.arange(value.size))
        value = np.where(jump, value[best] - change_costs[t], value) + score[t]
    path = [int(value.argmax())]
    for t in range(score.shape[0] - 1, 0, -1):
        path.append(int(back[t, path[-1]]))
    return path[::-1]


# --- chords for a given melody ---

_DANCE_CHORDS = {
    # Symbols and how readily each is taken, from the accompaniment of traditional dance tunes.
    "major": {"I": 0.2, "IV": 0.15, "V": 0.15, "vi": 0.05, "ii": 0.0},
    "minor": {"i": 0.2, "bVII": 0.15, "iv": 0.05, "V": 0.0, "bVI": 0.0, "bIII": 0.0},
    "dorian": {"i": 0.2, "bVII": 0.2, "IV": 0.05, "bIII": 0.0, "v": 0.0},
    "mixolydian": {"I": 0.2, "bVII": 0.2, "IV": 0.1, "v": 0.0, "ii": 0.0},
}
_CADENCES = {"major": "V", "minor": "V", "dorian": "bVII", "mixolydian": "bVII"}


def harmonise(
    melody: ScoreVoice,
    tonic: int,
    mode: str,
    *,
    grid_quarters: float,
    bar_quarters: float,
    n_quarters: float,
    rng: np.random.Generator,
    begin_quarters: float = 0.0,
    section_ends_quarters: Sequence[float] = (),
    freedom: float = 0.1,
) -> tuple[ChordSpan, ...]:
    """Find chords for a melody: those that hold its notes, with a cadence where sections end.

    Parameters
    ----------
    melody
        Notes with onsets, durations (quarters) and MIDI pitches; they do not overlap.
    tonic, mode
        Pitch class, and ``"major"``, ``"minor"``, ``"dorian"`` or ``"mixolydian"``.
    grid_quarters, bar_quarters
        Chords change on this grid (half a bar is usual), which starts with the first bar at
        ``begin_quarters``; what precedes it (an upbeat) has no chord.
    section_ends_quarters
        Where the tonic should have been reached, by way of a dominant.
    freedom
        How much chance there is in the choice: 0 always gives the best-fitting chords.

    Returns
    -------
    tuple of ChordSpan
        From 0 to ``n_quarters``, without gaps.
    """
    if mode not in _DANCE_CHORDS:
        raise ConfigError(
            "mode of a melody to harmonise",
            got=repr(mode),
            expected=f"one of {', '.join(_DANCE_CHORDS)}",
            hint=did_you_mean(mode, _DANCE_CHORDS),
        )
    symbols = list(_DANCE_CHORDS[mode])
    chords = [roman(symbol, tonic) for symbol in symbols]
    member = np.zeros((len(chords), 12))
    for row, chord in enumerate(chords):
        member[row, list(chord.pitch_classes)] = 1.0
    edges = np.arange(begin_quarters, n_quarters - 1e-6, grid_quarters)
    score = np.tile(list(_DANCE_CHORDS[mode].values()), (edges.size, 1))
    for t, edge in enumerate(edges):
        weights = _weights([melody], float(edge), float(edge) + grid_quarters)
        fit = member @ weights - 1.2 * ((1.0 - member) @ weights)
        score[t] += fit / max(weights.sum(), 0.5 * grid_quarters)
    home, dominant = 0, symbols.index(_CADENCES[mode])
    for end in (*section_ends_quarters, n_quarters):
        last = int(np.searchsorted(edges, end - 1e-6)) - 1
        if last >= 1:
            score[last, home] += 0.8
            score[last - 1, dominant] += 0.5
    score += freedom * rng.standard_normal(score.shape)
    # Chords change readily with the bar and with effort within it.
    on_bar = (np.arange(edges.size) * grid_quarters) % bar_quarters < 1e-6
    path = _viterbi(score, np.where(on_bar, 0.1, 0.35))
    spans = [ChordSpan(0.0, begin_quarters, NO_CHORD)] if begin_quarters > 1e-9 else []
    for edge, choice in zip(edges, path, strict=True):
        width = min(grid_quarters, n_quarters - edge)
        spans.append(ChordSpan(float(edge), float(width), chords[choice]))
    return merge(spans)
