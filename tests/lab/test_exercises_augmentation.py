"""Each check of the augmentation chapter accepts the solution and tells wrong answers apart."""

import numpy as np

from dl101 import augment
from dl101.data.pyjama import Atom
from dl101.lab.checks import grade
from dl101.lab.exercises import augmentation as exercise
from tests.lab.exercise_proof import ExerciseProof


def rms(x):
    return np.sqrt(np.mean(x**2))


def add_noise(audio, noise, snr_db):
    return audio + rms(audio) / rms(noise) * 10 ** (-snr_db / 20) * noise


def scaled(factor):
    return lambda audio, noise, snr: audio + factor(rms(audio), rms(noise), snr) * noise


WRONG_NOISES = {
    "power for amplitude": scaled(lambda x, n, snr: x / n * 10 ** (-snr / 10)),
    "no root": scaled(lambda x, n, snr: x**2 / n**2 / 10 ** (snr / 10)),
    "mean squares": scaled(lambda x, n, snr: x**2 / n**2 / 10 ** (snr / 20)),
    "upside down": scaled(lambda x, n, snr: x / n * 10 ** (snr / 20)),
    "levels upside down": scaled(lambda x, n, snr: n / x * 10 ** (-snr / 20)),
    "noise of power 1": scaled(lambda x, n, snr: x * 10 ** (-snr / 20)),
    "audio of power 1": scaled(lambda x, n, snr: 10 ** (-snr / 20) / n),
    "snr alone": scaled(lambda x, n, snr: 10 ** (-snr / 20)),
    "as it is": scaled(lambda x, n, snr: 1),
    "no noise": scaled(lambda x, n, snr: 0),
    "noise alone": lambda audio, noise, snr: add_noise(audio, noise, snr) - audio,
    "audio scaled": lambda audio, noise, snr: audio * 2 + noise,
    "peaks": scaled(lambda x, n, snr: x / n * 10 ** (-snr / 20) * 0.8),
    "cut": lambda audio, noise, snr: add_noise(audio, noise, snr)[:-1],
}


def move(
    notes, chords, tempo_bpm, semitones, stretch, *, when=1, long=1, slower=-1, up=1, roots=1,
    wrap=True, none=True, fold=False,
):  # fmt: skip
    def root(r):
        if r is None and none:
            return None
        r = (r or 0) + roots * semitones
        return r % 12 if wrap else r

    new_notes = []
    for onset, duration, pitch in notes:
        pitch = pitch + up * semitones
        pitch = pitch % 12 if fold else pitch
        new_notes.append((onset * stretch**when, duration * stretch**long, pitch))
    new_chords = [
        (onset * stretch**when, duration * stretch**long, root(r), q)
        for onset, duration, r, q in chords
    ]
    return new_notes, new_chords, tempo_bpm * stretch**slower


def moved(**options):
    return lambda *labels: move(*labels, **options)


def only_upwards(notes, chords, tempo_bpm, semitones, stretch):
    return move(notes, chords, tempo_bpm, abs(semitones), stretch)


def asks_if_root(notes, chords, tempo_bpm, semitones, stretch):
    """Takes C, whose number is 0, for no chord."""
    new_notes, new_chords, tempo_bpm = move(notes, chords, tempo_bpm, semitones, stretch)
    pairs = zip(chords, new_chords, strict=True)
    return new_notes, [(t, d, r if old[2] else None, q) for old, (t, d, r, q) in pairs], tempo_bpm


def leaves_c(notes, chords, tempo_bpm, semitones, stretch):
    new_notes, new_chords, tempo_bpm = move(notes, chords, tempo_bpm, semitones, stretch)
    pairs = zip(chords, new_chords, strict=True)
    return new_notes, [(t, d, old[2] and r, q) for old, (t, d, r, q) in pairs], tempo_bpm


def crashes_on_none(notes, chords, tempo_bpm, semitones, stretch):
    return notes, [(t, d, (r + semitones) % 12, q) for t, d, r, q in chords], tempo_bpm


WRONG_MOVES = {
    "divided": moved(when=-1, long=-1),
    "as speed": moved(when=-1, long=-1, slower=1),
    "durations stay": moved(long=0),
    "tempo multiplied": moved(slower=1),
    "tempo stays": moved(slower=0),
    "no chord moves": moved(none=False),
    "C for no chord": asks_if_root,
    "no wrap": moved(wrap=False),
    "notes folded": moved(fold=True),
    "roots stay": moved(roots=0),
    "notes stay": moved(up=0),
    "downwards": moved(up=-1, roots=-1),
    "no time": moved(when=0, long=0),
    "as they were": lambda n, c, tempo, s, r: (n, c, tempo),
    "only upwards": only_upwards,
    "crashes on None": crashes_on_none,
    "two things": lambda n, c, tempo, s, r: (n, c),
    "fewer chords": lambda n, c, tempo, s, r: (n, c[1:], tempo),
    "an octave off": lambda *x: (
        [(t, d, p + 12) for t, d, p in move(*x)[0]],
        *move(*x)[1:],
    ),
}


def mask_bands(
    batch, max_bands, rng, *, low=0, high=1, last=1, fill="own", one=False, seeded=False,
    upright=False, scattered=False, frames=None, place=None,
):  # fmt: skip
    rng = np.random.default_rng(0) if seeded else rng
    masked = batch.copy()
    bands = batch.shape[1]
    for index, item in enumerate(masked):
        if not one or index == 0:
            width = rng.integers(low, max_bands + high)
            most = {None: width, "anywhere": 1, "widest": max_bands}[place]
            first = rng.integers(bands - most + last)
        value = {
            "own": batch[index].mean(),
            "zero": 0.0,
            "batch": batch.mean(),
            "first": batch[0].mean(),
            "frame": item.mean(axis=0),
            "max": batch[index].max() + 1,
        }[fill]
        if upright:
            item[:, rng.integers(7)] = value
        elif scattered:
            item[rng.permutation(bands)[:width]] = value
        else:
            item[first : first + width, :frames] = value
    return masked


def masks(**options):
    return lambda batch, max_bands, rng: mask_bands(batch, max_bands, rng, **options)


WRONG_MASKS = {
    "nothing": lambda batch, n, rng: batch,
    "seeded": masks(seeded=True),
    "one for all": masks(one=True, low=1),
    "upright": masks(upright=True),
    "some frames": masks(frames=4),
    "scattered": masks(scattered=True),
    "too wide": masks(high=4),
    "never 0": masks(low=1),
    "never the widest": masks(high=0),
    "last band never": masks(last=0),
    "cut at the edge": masks(place="anywhere"),
    "place for the widest": masks(place="widest"),
    "zero": masks(fill="zero"),
    "batch": masks(fill="batch"),
    "first item": masks(fill="first"),
    "each frame its own": masks(fill="frame"),
    "the maximum": masks(fill="max"),
    "transposed": lambda batch, n, rng: batch.transpose(0, 2, 1),
}

SOLUTIONS = {"augmentation.1": add_noise, "augmentation.2": move, "augmentation.3": mask_bands}
WRONG = {
    "augmentation.1": WRONG_NOISES,
    "augmentation.2": WRONG_MOVES,
    "augmentation.3": WRONG_MASKS,
}


def by_the_library(notes, chords, tempo_bpm, semitones, stretch):
    fields = {
        "pitchmidi": [Atom(p, t, d) for t, d, p in notes],
        "chord": [Atom("N" if r is None else ROOTS[r], t, d) for t, d, r, _ in chords],
        "tempo": [Atom(tempo_bpm)],
    }
    found = augment.move_labels(fields, semitones=semitones, stretch=stretch)
    roots = [None if a.value == "N" else ROOTS.index(a.value) for a in found["chord"]]
    return (
        [(a.time, a.duration, a.value) for a in found["pitchmidi"]],
        [
            [a.time, a.duration, root, chord[3]]
            for a, root, chord in zip(found["chord"], roots, chords, strict=True)
        ],
        found["tempo"][0].value,
    )


ROOTS = list(augment.harte.ROOTS)


def masks_at_once(batch, max_bands, rng):
    items, bands, _ = batch.shape
    width = rng.integers(0, max_bands, size=items, endpoint=True)
    first = (rng.random(items) * (bands - width + 1)).astype(int)
    b = np.arange(bands)
    stripe = (b >= first[:, None]) & (b < (first + width)[:, None])
    return np.where(stripe[..., None], batch.mean(axis=(1, 2), keepdims=True), batch)


RIGHT = [
    *SOLUTIONS.items(),
    ("augmentation.1", lambda a, n, snr: a - (add_noise(a, n, snr) - a)),
    ("augmentation.2", by_the_library),
    ("augmentation.3", masks_at_once),
]
HINTS = [
    ("augmentation.1", "power for amplitude", "ratio of *powers*"),
    ("augmentation.1", "no root", "take the root"),
    ("augmentation.1", "mean squares", "RMS) first"),
    ("augmentation.1", "upside down", "gets louder"),
    ("augmentation.1", "levels upside down", "levels is upside down"),
    ("augmentation.1", "noise of power 1", "the noise has power 1"),
    ("augmentation.1", "audio of power 1", "the audio has power 1"),
    ("augmentation.1", "noise alone", "noise alone"),
    ("augmentation.2", "divided", "divided by stretch"),
    ("augmentation.2", "as speed", "not the speed"),
    ("augmentation.2", "durations stay", "durations stay"),
    ("augmentation.2", "tempo multiplied", "tempo is multiplied"),
    ("augmentation.2", "no chord moves", "keep None"),
    ("augmentation.2", "C for no chord", "`root is None`"),
    ("augmentation.2", "no wrap", "modulo 12"),
    ("augmentation.2", "notes folded", "knows its octave"),
    ("augmentation.2", "downwards", "wrong way"),
    ("augmentation.2", "only upwards", "for another"),
    ("augmentation.2", "crashes on None", "look before you add"),
    ("augmentation.3", "seeded", "Another generator"),
    ("augmentation.3", "one for all", "same stripe"),
    ("augmentation.3", "upright", "upright"),
    ("augmentation.3", "scattered", "side by side"),
    ("augmentation.3", "never 0", "width 0"),
    ("augmentation.3", "never the widest", "Add 1"),
    ("augmentation.3", "last band never", "never masked"),
    ("augmentation.3", "cut at the edge", "cut off"),
    ("augmentation.3", "place for the widest", "*this* width"),
    ("augmentation.3", "zero", "far below"),
    ("augmentation.3", "batch", "leak"),
    ("augmentation.3", "each frame its own", "within a stripe"),
]


class TestProof(ExerciseProof):
    exercises = exercise.EXERCISES
    right = RIGHT
    wrong = WRONG
    hints = HINTS


def test_c_that_stays_c_gets_the_same_hint():
    assert "`root is None`" in grade("augmentation.2", leaves_c).message
