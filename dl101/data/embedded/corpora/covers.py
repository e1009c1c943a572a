"""``covers``: which recordings are of the same work? Versions, as pitch-class profiles over time.

Conventions: a *work* is a tune, a *performance* one arrangement of it; all performances of a work
are its *clique*. Works are the melodies of Bach's chorales (of which he harmonised many more than
once: real versions) and traditional dance tunes (often printed in two settings). Performances
differ in key, tempo (which drifts and may change midway), metre and ornaments, sections left out,
repeated or in another order, voices left out, accompaniment and chords.

Items hold features, shape (12, frames): row 0 is C. The main item (role
``degraded``) is what a network that estimates pitch classes from audio might give, probabilities in
[0, 1] with the errors of such estimates: overtones heard as fifths and thirds, mistuning, smearing,
attacks, confusions. It stands for the ``crema`` features with which cover song datasets are
published (McFee and Bello, "Structured training for large-vocabulary chord recognition", 2017).
With extras, role ``clean`` is the truth: the energy of each pitch class, straight from the notes.
:func:`render_audio` plays a performance.

The work of each performance is drawn independently: a few works are frequent, most are rare. So
the cliques have a long tail of sizes (about two in five performances have no other version),
they grow with the corpus, and neither the number of a track nor its neighbours say anything about
its work. Splits go by work and are those of ``chorales`` and ``dances``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from dl101.data.embedded import performer, profiles, versions
from dl101.data.embedded.annotations import DEFINITIONS, labels
from dl101.data.embedded.arranger import Line, accompany
from dl101.data.embedded.corpora import chorales, dances
from dl101.data.embedded.harmony import ChordSpan, analyse_chorale, harmonise
from dl101.data.embedded.performer import CONDITIONS, Part, choose, draw
from dl101.data.embedded.profiles import FRAME_RATE_HZ
from dl101.data.embedded.recipe import Item, Recipe, generator, track_split
from dl101.data.embedded.renderer import SAMPLE_RATE, Notes
from dl101.data.embedded.scores import Chorale, Dance, ScoreVoice, load_chorales, load_dances
from dl101.data.embedded.styles import STYLES, Style
from dl101.data.splits import SIDES

DURATION_S = 60.0  # the longest performance; the shortest is half as long
CHORALES = 0.35  # of new works
RAREST = 0.015  # smaller: larger cliques; the chance of a work is 1 / (its rank's share + this)
CHORALE_BPM = (56.0, 112.0)
TEMPO_FACTOR = (0.7, 1.45)
SIMPLE_METERS = ("4/4", "3/4", "2/4", "6/8", "9/8")


@dataclass(frozen=True, eq=False)
class Performance:
    """One performance: ``notes`` holds its parts in seconds, ``melody`` first where it sounds.

    ``tempo_bpm`` is that of the beginning, in quarter notes (dotted ones in 6/8 and 9/8).
    """

    work_id: str
    title: str
    split: str
    tempo_bpm: float
    tuning_cents: float
    duration_s: float
    notes: Mapping[str, Notes]

    @property
    def n_frames(self) -> int:
        """Number of frames of its features."""
        return int(self.duration_s * FRAME_RATE_HZ)


@lru_cache(maxsize=16)
def works(split: str, seed: int) -> tuple[tuple[str, tuple], ...]:
    """Return the works of a split, the most frequent ones first: name and versions."""
    rng = np.random.default_rng([seed, SIDES.index(split), 2])
    queues: list[list[tuple[str, tuple]]] = []
    for prefix, pieces, name_of, splits in (
        ("chorale", load_chorales(), lambda piece: piece.tune, chorales.tune_splits()),
        ("dance", load_dances(), lambda piece: piece.work, dances.work_splits()),
    ):
        groups: dict[str, list] = {}
        for piece in pieces:
            if splits[name_of(piece)] == split:
                groups.setdefault(f"{prefix}-{name_of(piece)}", []).append(piece)
        named = [
            (name, tuple(group[i] for i in rng.permutation(len(group))))
            for name, group in groups.items()
        ]
        queues.append([named[i] for i in rng.permutation(len(named))])
    order = []
    while queues[0] or queues[1]:
        turn = 0 if queues[0] and (rng.random() < CHORALES or not queues[1]) else 1
        order.append(queues[turn].pop())
    return tuple(order)


def work_of(index: int, seed: int) -> tuple[str, tuple]:
    """Return the work of a track: its name and its versions."""
    found = works(track_split(index)[0], seed)
    chance = 1.0 / ((np.arange(len(found)) + 0.5) / len(found) + RAREST)
    draws = generator(seed, index, 3).random() * chance.sum()
    return found[int(np.searchsorted(np.cumsum(chance), draws))]


@dataclass(frozen=True, eq=False)
class _Score:
    """A version of a work, ready to be arranged."""

    title: str
    lines: Mapping[str, Line]  # ``melody`` first
    sections: NDArray[np.float64]  # (sections, 2), quarters
    quarter_bpm: tuple[float, float]
    bar_quarters: float
    begin_quarters: float
    n_quarters: float
    tonic: int
    mode: str
    chords: tuple[ChordSpan, ...] | None  # None: to be found for the melody
    compound: bool  # beats of three eighths


def _line(voice: ScoreVoice, velocity: float) -> Line:
    n = voice.onsets_quarters.size
    return Line(
        voice.onsets_quarters, voice.durations_quarters, voice.pitches_midi, np.full(n, velocity)
    )


@lru_cache(maxsize=512)
def _chorale_chords(bwv: str) -> tuple[ChordSpan, ...]:
    return analyse_chorale(next(piece for piece in load_chorales() if piece.bwv == bwv))


def _meter(text: str) -> tuple[float, bool]:
    """Return the length of a bar in quarters, and whether its beats have three eighths."""
    text = text if text in SIMPLE_METERS else "4/4"
    beats, unit = map(int, text.split("/"))
    return 4.0 * beats / unit, unit == 8


def _chorale_score(chorale: Chorale, rng: np.random.Generator) -> _Score:
    names = {"soprano": "melody"}
    lines = {names.get(name, name): _line(voice, 0.8) for name, voice in chorale.voices.items()}
    cuts = np.unique([0.0, *chorale.fermatas_quarters[:, 1], chorale.duration_quarters])
    bar, compound = _meter(chorale.meter)
    tonic = int(chorale.voices["bass"].pitches_midi[-1] % 12)
    pitches = np.concatenate([voice.pitches_midi for voice in chorale.voices.values()])
    major = np.sum((pitches - tonic) % 12 == 4) >= np.sum((pitches - tonic) % 12 == 3)
    return _Score(
        title=chorale.title,
        lines=lines,
        sections=np.stack([cuts[:-1], cuts[1:]], axis=1),
        quarter_bpm=CHORALE_BPM,
        bar_quarters=bar,
        begin_quarters=0.0,
        n_quarters=chorale.duration_quarters,
        tonic=tonic,
        mode="major" if major else "minor",
        chords=_chorale_chords(chorale.bwv) if rng.random() < 0.75 else None,
        compound=compound,
    )


def _dance_score(dance: Dance) -> _Score:
    going = dances.feel(dance)
    low, high = going.tempo_bpm
    bar, compound = _meter(dance.meter)
    return _Score(
        title=dance.title,
        lines={"melody": _line(dance.melody, 0.8)},
        sections=dance.sections_quarters,
        quarter_bpm=(low * going.beat_quarters, high * going.beat_quarters),
        bar_quarters=bar,
        begin_quarters=dance.pickup_quarters,
        n_quarters=dance.duration_quarters,
        tonic=dance.tonic,
        mode=dance.mode,
        chords=None,
        compound=compound,
    )


def _styles_for(score: _Score) -> list[Style]:
    """Return the styles of accompaniment whose bars fit the metre."""
    fitting = [
        style
        for style in STYLES.values()
        if (style.beat_quarters == 1.5) == score.compound
        and score.bar_quarters % style.bar_quarters == 0.0
    ]
    return fitting or [STYLES["march"]]


def _accompanied(score: _Score, rng: np.random.Generator) -> dict[str, Line]:
    """Return the melody with a new accompaniment."""
    melody = score.lines["melody"]
    chords = score.chords or harmonise(
        melody, score.tonic, score.mode,
        grid_quarters=score.bar_quarters / int(rng.integers(1, 3)),
        bar_quarters=score.bar_quarters, n_quarters=score.n_quarters, rng=rng,
        begin_quarters=score.begin_quarters,
        section_ends_quarters=score.sections[:-1, 1] + score.begin_quarters,
        freedom=draw(rng, (0.05, 0.4)),
    )  # fmt: skip
    styles = _styles_for(score)
    style = styles[int(rng.integers(len(styles)))]
    chances = {"comping": 0.85, "bass": 0.6, "pad": 0.3}
    roles = [role for role, chance in chances.items() if rng.random() < chance]
    behind = accompany(
        chords, style, score.n_quarters, rng, roles, begin_quarters=score.begin_quarters
    )
    return {"melody": melody} | {role: line for role, line in behind.items()}


def _voices(score: _Score, rng: np.random.Generator) -> dict[str, Line]:
    """Return the written voices, some left out; rarely the melody itself."""
    kept = {name: line for name, line in score.lines.items() if rng.random() > 0.2}
    if len(kept) < 2:
        return dict(score.lines)
    if "melody" not in kept and rng.random() < 0.7:
        kept = {"melody": score.lines["melody"]} | kept
    return kept


def perform(index: int, *, seed: int = 0, duration_s: float = DURATION_S) -> Performance:
    """Arrange and time performance number ``index``: the same arguments give the same notes."""
    split = track_split(index)[0]
    work_id, pieces = work_of(index, seed)
    rng = generator(seed, index)
    piece = pieces[int(rng.integers(len(pieces)))]
    score = _chorale_score(piece, rng) if isinstance(piece, Chorale) else _dance_score(piece)

    weight = np.bincount(score.lines["melody"].pitches_midi % 12, minlength=12)
    rate = draw(rng, (0.0, 0.45))
    ornamented = versions.ornament(
        score.lines["melody"], np.flatnonzero(weight > 0.02 * weight.sum()), rate, rng
    )
    score = replace(score, lines={**score.lines, "melody": ornamented})
    as_written = len(score.lines) > 1 and rng.random() < 0.5
    lines = _voices(score, rng) if as_written else _accompanied(score, rng)

    length_s = draw(rng, (0.5, 1.0)) * duration_s
    low, high = np.log(TEMPO_FACTOR)
    quarter_bpm = draw(rng, score.quarter_bpm) * float(np.exp(rng.uniform(low, high)))
    stretches = versions.rearrange(
        score.sections, score.bar_quarters, 1.5 * length_s * quarter_bpm / 60.0, rng
    )
    n_quarters = sum(end - begin for begin, end in stretches)
    tempo = versions.restless_tempo(n_quarters, quarter_bpm, rng)
    transposition = int(rng.integers(-6, 6))
    notes = {}
    for name, line in lines.items():
        octave = 12 * int(rng.choice([-1, 0, 0, 1])) if name == "melody" else 0
        loudness = draw(rng, (0.75, 1.0) if name == "melody" else (0.45, 0.9))
        moved = versions.cut(line, stretches)
        moved = replace(
            moved,
            pitches_midi=moved.pitches_midi + transposition + octave,
            velocities=moved.velocities * loudness,
        )
        notes[name] = performer.skeleton(moved, tempo, length_s)
    return Performance(
        work_id=work_id,
        title=score.title,
        split=split,
        tempo_bpm=quarter_bpm / (1.5 if score.compound else 1.0),
        tuning_cents=draw(rng, CONDITIONS[split].tuning_cents),
        duration_s=length_s,
        notes={name: part for name, part in notes.items() if part.onsets_s.size},
    )


def render(index: int, *, seed: int, duration_s: float, extras: bool) -> list[Item]:
    """Return a performance's features: degraded and, with ``extras``, clean."""
    performance = perform(index, seed=seed, duration_s=duration_s)
    clean = profiles.clean_profile(performance.notes.values(), performance.n_frames)
    degraded = profiles.degrade(clean, performance.tuning_cents, generator(seed, index, 1))
    found = {"degraded": (f"{index:05d}.pcp", degraded)}
    if extras:
        exact = np.round(clean, 5).astype(np.float32)
        found["clean"] = (f"{index:05d}-clean.pcp", exact)
    return [
        Item(
            key,
            values,
            FRAME_RATE_HZ,
            labels(
                title=performance.title,
                work_id=performance.work_id,
                performance_id=key,
                split=performance.split,
                role=role,
                tempo=performance.tempo_bpm,
                tuning_cents=performance.tuning_cents,
            ),
        )
        for role, (key, values) in found.items()
    ]


def render_audio(
    index: int, *, seed: int = 0, duration_s: float = DURATION_S
) -> tuple[NDArray[np.float32], int]:
    """Play the performance whose features are track ``index``, with instruments of its split.

    Returns
    -------
    samples
        Shape (samples,), as long as the performance.
    sample_rate
        In Hz.
    """
    performance = perform(index, seed=seed, duration_s=duration_s)
    conditions = CONDITIONS[performance.split]
    rng = generator(seed, index, 2)
    parts = []
    for name, written in performance.notes.items():
        pitches = written.pitches_midi
        instrument = choose(rng, _players(name, conditions.heard, pitches))
        notes, player = performer.interpret(
            written, instrument, performance.tuning_cents, conditions, rng,
            polyphonic=name in ("comping", "pad"),
        )  # fmt: skip
        parts.append(Part(name, notes, player))
    mix = performer.mix(
        parts,
        performer.draw_room(conditions, rng),
        rng,
        duration_s=performance.duration_s,
        noise_snr_db=draw(rng, conditions.noise_snr_db),
    )
    return mix.mixture, SAMPLE_RATE


def _players(role: str, heard: str, pitches_midi: NDArray[np.int64]) -> list[str]:
    """Return the instruments that can play a part."""
    low, high = int(pitches_midi.min()), int(pitches_midi.max())
    pool = dances.instruments_for(
        {"bass": "bass", "comping": "comping", "pad": "pad"}.get(role), heard
    )
    return (
        performer.able_players(pool, low, high)
        or performer.able_players(dances.instruments_for("comping", heard), low, high)
        or pool
    )


_FIELDS = ("title", "work-id", "performance-id", "split", "role", "tempo", "tuning-cents")
RECIPE = Recipe(
    name="covers",
    title="Versions of tunes, as pitch-class profiles",
    stands_for="Cover1000, Da-TACOS",
    default_tracks=1000,
    duration_s=DURATION_S,
    unit="work-id",
    definitions={name: DEFINITIONS[name] for name in _FIELDS}
    | {"role": replace(DEFINITIONS["role"], dictionary=("degraded", "clean"))},
    render=render,
    extras="the pitch classes of the notes themselves (role clean)",
    holds="features",
    n_extras=1.0,
    bytes_per_s=4.0 * 12 * FRAME_RATE_HZ,
    mean_share=0.75,
    provenance="Bach's chorales and tunes from Ryan's Mammoth Collection (1883) and O'Neill's "
    "Music of Ireland (1903), all in the public domain",
)
