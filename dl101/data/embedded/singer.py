"""A singer made of numbers: a glottal pulse with exact pitch, filtered by a moving vocal tract.

Conventions: audio is mono float32 at 22 050 Hz; the f0 curve has one value every 10 ms, MIDI, NaN
where the voice is not voiced (silence, breath, s, t, ...). All contours are made on a grid of 2 ms,
of which every fifth point is the f0 curve; the oscillator runs on the same contour, so the truth is
exact, jitter included. A syllable's *vowel* begins with its note, as singers do it: consonants come
before the beat, out of the note before.

Model (source and filter: Fant, "Acoustic Theory of Speech Production", 1960): the source is the LF
pulse (Fant, Liljencrants and Lin, "A four-parameter model of glottal flow", 1985) with the single
parameter Rd (Fant, "The LF-model revisited", 1995); breath noise follows the glottis as it opens;
the tract is a cascade of resonators whose frequencies glide from sound to sound
(:mod:`dl101.data.embedded.phonemes`); hissing sounds are noise with a resonance of their own. High
voices raise their first formant to the pitch (Joliveau, Smith and Wolfe, Nature 427, 2004). The
filter changes by cross-fading frames, as in vocoders that filter a saw-tooth (SawSing, 2022).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from dl101.data.embedded.phonemes import (
    BREATH,
    CONSONANTS,
    N_FORMANTS,
    VOICE_TYPES,
    VOWEL_RESONANCES,
    VOWELS,
    WOMENS_TRACT_SCALE,
    Consonant,
)
from dl101.data.embedded.renderer import F0_HOP_S, SAMPLE_RATE, Notes, f0_times
from dl101.data.embedded.vocal_tract import (
    FILTER_FFT,
    HOP_SAMPLES,
    LEVEL,
    filter_moving,
    glottis,
    loudness_gain,
    smooth,
    tract_response,
)
from dl101.errors import DataError
from dl101.units import db_to_amplitude, midi_to_hz

CONTROL_S = 0.002
STEPS_PER_F0 = 5  # control points per value of the f0 curve
VOICED_FROM = 0.1  # amplitude of the voice, 1 in a vowel, from which a frame counts as voiced
MIN_VOWEL_S = 0.03
LONGEST_TIE_S = 0.1  # a vowel is held over a shorter gap between its notes
LEAST_RATIOS = (1.25, 1.15, 1.05, 1.05)  # from formant to formant, or two would ring as one
VARIATION = 0.02  # standard deviation of a formant from one time to the next, relative
BREATH_GAP_S = 0.35  # a rest of this length or more is used to breathe
RANGES_MIDI = {"soprano": (60, 81), "alto": (55, 74), "tenor": (48, 67), "bass": (40, 62)}


@dataclass(frozen=True)
class Singer:
    """A person who sings.

    ``tract_scale`` multiplies all formants: above 1 a shorter vocal tract. Vibrato has a rate, a
    depth (cents, from the middle to the top) and sets in between ``vibrato_delay_s`` and twice that
    after a note's onset. ``breathiness`` is the amplitude of breath noise relative to the pulse,
    ``jitter_cents`` and ``shimmer`` (relative amplitude) are irregularities from 10 ms to 10 ms.
    ``glottal_rd`` goes from 0.5 (pressed, bright) to 2.5 (soft, dark). Pitch glides from note to
    note in ``portamento_s`` and begins a phrase up to ``scoop_cents`` too low.
    """

    name: str
    voice_type: str
    tract_scale: float = 1.0
    vibrato_rate_hz: float = 5.5
    vibrato_cents: float = 50.0
    vibrato_delay_s: float = 0.2
    breathiness: float = 0.03
    jitter_cents: float = 4.0
    shimmer: float = 0.04
    glottal_rd: float = 1.0
    portamento_s: float = 0.08
    scoop_cents: float = 60.0

    @property
    def range_midi(self) -> tuple[int, int]:
        """The lowest and the highest pitch that the voice sings with ease."""
        return RANGES_MIDI[self.voice_type]


@dataclass(frozen=True)
class Syllable:
    """What is sung on a note: consonants, a vowel, consonants; labels as in ``phonemes``."""

    onset: tuple[str, ...] = ()
    vowel: str = "a"
    coda: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Sung:
    """What was sung and everything that is known about it.

    ``audio (samples,)`` is dry; ``f0_midi (frames,)`` has a value every 10 ms, NaN where not
    ``voiced (frames,)``; ``phonemes`` are (onset_s, duration_s, label) in order, also ``breath``;
    ``notes`` are those given, with durations as the vowels were really held.
    """

    audio: NDArray[np.float32]
    f0_midi: NDArray[np.float64]
    voiced: NDArray[np.bool_]
    phonemes: tuple[tuple[float, float, str], ...]
    notes: Notes


@dataclass(frozen=True)
class _Phone:
    """A stretch of one sound; a vowel has no ``consonant``, and the vowel colours consonants."""

    begin_s: float
    end_s: float
    label: str
    vowel: str
    consonant: Consonant | None
    note: int


def draw_singer(
    rng: np.random.Generator, heard: str = "training", voice_type: str | None = None
) -> Singer:
    """Draw a singer; those of ``"test"`` have other tract lengths, vibrato and voice quality."""
    if heard not in ("training", "test"):
        raise DataError(
            "pool of singers",
            got=repr(heard),
            expected="'training' or 'test'",
            hint="singers of validation are drawn like those of training",
        )
    kind = voice_type or VOICE_TYPES[int(rng.integers(len(VOICE_TYPES)))]
    _check_known("voice type", kind, VOICE_TYPES)
    test = heard == "test"
    straight = rng.random() < (0.3 if test else 0.15)  # sings without vibrato
    outside = ((0.87, 0.92), (1.08, 1.13))[int(rng.integers(2))]
    slow_or_fast = ((4.2, 4.9), (6.3, 7.0))[int(rng.integers(2))]
    return Singer(
        name=f"{kind}-{int(rng.integers(16**6)):06x}",
        voice_type=kind,
        tract_scale=float(rng.uniform(*(outside if test else (0.94, 1.06)))),
        vibrato_rate_hz=float(rng.uniform(*(slow_or_fast if test else (4.9, 6.3)))),
        vibrato_cents=0.0 if straight else float(rng.uniform(*((15, 100) if test else (25, 75)))),
        vibrato_delay_s=float(rng.uniform(0.1, 0.35)),
        breathiness=float(10 ** rng.uniform(*((-1.8, -1.1) if test else (-2.1, -1.3)))),
        jitter_cents=float(rng.uniform(2.0, 7.0 if test else 5.0)),
        shimmer=float(rng.uniform(0.02, 0.06)),
        glottal_rd=float(rng.uniform(0.7, 2.2 if test else 1.7)),
        portamento_s=float(rng.uniform(0.04, 0.12)),
        scoop_cents=float(rng.uniform(10.0, 120.0)),
    )


def draw_lyrics(
    n_notes: int, rng: np.random.Generator, *, tied: float = 0.15
) -> tuple[Syllable | None, ...]:
    """Draw syllables for so many notes; None (a share ``tied``) goes on with the vowel before."""
    single = tuple(CONSONANTS)
    clusters = (("s", "t"), ("p", "l"), ("t", "r"), ("k", "l"), ("f", "l"), ("b", "r"))
    endings = ("m", "n", "l", "s", "t", "k", "r", "z")
    lyrics: list[Syllable | None] = []
    for number in range(n_notes):
        if number and rng.random() < tied:
            lyrics.append(None)
            continue
        how = rng.random()
        onset: tuple[str, ...] = ()
        if how < 0.72:
            onset = (single[int(rng.integers(len(single)))],)
        elif how < 0.84:
            onset = clusters[int(rng.integers(len(clusters)))]
        vowel = VOWELS[int(rng.integers(len(VOWELS)))]
        coda = (endings[int(rng.integers(len(endings)))],) if rng.random() < 0.3 else ()
        lyrics.append(Syllable(onset, vowel, coda))
    return tuple(lyrics)


def sing(
    notes: Notes,
    syllables: Sequence[Syllable | None],
    singer: Singer,
    n_samples: int,
    rng: np.random.Generator,
) -> Sung:
    """Sing notes to syllables: the same arguments always give the same samples.

    Parameters
    ----------
    notes
        One voice: in order and not overlapping. ``levels_db`` is the gain of each note,
        ``velocities`` its effort (brighter from 0 to 1), ``cents`` its deviation in pitch.
    syllables
        One per note; None goes on with the vowel of the note before (anew after a rest).
    singer
        Who sings. Pitches outside of ``singer.range_midi`` are sung all the same.
    n_samples
        Length of the result at 22 050 Hz.

    Raises
    ------
    DataError
        If the numbers of notes and syllables differ, notes overlap, or a label is not known.
    """
    _check(notes, syllables, singer)
    duration_s = n_samples / SAMPLE_RATE
    n_frames = f0_times(duration_s).size
    time_s = np.arange((n_frames + 1) * STEPS_PER_F0 + 1) * CONTROL_S
    phones = _timeline(notes, syllables, rng)
    pitch = _pitch(notes, phones, singer, time_s, rng)
    voicing, aspiration, friction = _amplitudes(notes, phones, singer, time_s, rng)
    at_frames = slice(0, n_frames * STEPS_PER_F0, STEPS_PER_F0)
    voiced = voicing[at_frames] > VOICED_FROM
    f0_midi = np.where(voiced, pitch[at_frames], np.nan)

    level = _levels(notes, time_s)
    sample_s = np.arange(n_samples) / SAMPLE_RATE
    f0_hz = np.interp(sample_s, time_s, midi_to_hz(pitch))
    pulse, opening = glottis(f0_hz, singer.glottal_rd)
    noise = rng.standard_normal(n_samples, dtype=np.float32)
    source = pulse * np.interp(sample_s, time_s, voicing * level).astype(np.float32)
    leak = np.interp(sample_s, time_s, (voicing * singer.breathiness) * level).astype(np.float32)
    breath = np.interp(sample_s, time_s, aspiration * level).astype(np.float32)
    source += noise * (leak * opening + breath)

    frame_s = np.arange(1 + -(-n_samples // HOP_SAMPLES)) * (HOP_SAMPLES / SAMPLE_RATE)
    formants, widths, nasal = _tract(phones, singer, frame_s, rng)
    effort = _held(frame_s, notes.onsets_s, np.asarray(notes.velocities, dtype=float), 0.7)
    f0_frames = np.interp(frame_s, time_s, midi_to_hz(pitch))
    formants[:, 0] = np.maximum(formants[:, 0], f0_frames)
    for i, ratio in enumerate(LEAST_RATIOS, start=1):
        formants[:, i] = np.maximum(formants[:, i], ratio * formants[:, i - 1])
    widths[:, 0] = np.maximum(widths[:, 0], 0.2 * f0_frames)  # or vibrato would beat like a drum
    response = tract_response(formants, widths, nasal, effort)
    gain = loudness_gain(response, f0_frames, singer.glottal_rd)
    response *= gain[:, None].astype(np.float32)
    audio = filter_moving(source, response, n_samples)
    hiss = noise * np.interp(sample_s, time_s, friction * level).astype(np.float32)
    audio += _hiss(hiss, phones, frame_s, n_samples)

    ends = notes.onsets_s + notes.durations_s
    for phone in phones:
        if phone.consonant is None:
            ends[phone.note] = phone.end_s
    sung = replace(notes, durations_s=ends - notes.onsets_s)
    heard = [phone for phone in phones if phone.begin_s < duration_s]
    labels = [(p.begin_s, float(min(p.end_s, duration_s) - p.begin_s), p.label) for p in heard]
    return Sung(audio, f0_midi, voiced, _join(labels), sung)


def _check_known(what: str, name: str, known: Sequence[str]) -> None:
    if name not in known:
        raise DataError(
            what, got=repr(name), expected=f"one of {', '.join(known)}", hint="pick one of these"
        )


def _check(notes: Notes, syllables: Sequence[Syllable | None], singer: Singer) -> None:
    _check_known("voice type", singer.voice_type, VOICE_TYPES)
    if len(syllables) != notes.onsets_s.size:
        raise DataError(
            "syllables",
            got=f"{len(syllables)} for {notes.onsets_s.size} notes",
            expected="one per note",
            hint="give None for a note that goes on with the vowel before",
        )
    ends = notes.onsets_s + notes.durations_s
    if np.any(notes.durations_s <= 0) or np.any(ends[:-1] > notes.onsets_s[1:] + 1e-6):
        raise DataError(
            "notes of a singer",
            got="notes that overlap, or last no time",
            expected="one note at a time, in order",
            hint="sing one line; cut each note at the next onset",
        )
    for syllable in syllables:
        if syllable is not None:
            _check_known("vowel", syllable.vowel, VOWELS)
            for label in syllable.onset + syllable.coda:
                _check_known("consonant", label, tuple(CONSONANTS))


def _timeline(
    notes: Notes, syllables: Sequence[Syllable | None], rng: np.random.Generator
) -> list[_Phone]:
    """Lay out all sounds in time: vowels begin with their notes, consonants take from before."""
    n = len(syllables)
    begins = notes.onsets_s
    ends = begins + notes.durations_s
    rate = rng.uniform(0.8, 1.3, n)  # how slowly each syllable's consonants are spoken
    syllables = _without_ties_over_rests(syllables, begins, ends)
    phones: list[_Phone] = []
    last_end_s, vowel, coda = 0.0, "a", ()
    for i in range(n):
        syllable = syllables[i]
        if syllable is not None:
            onset, vowel, coda = syllable.onset, syllable.vowel, syllable.coda
            wanted_s = rate[i] * sum(CONSONANTS[label].duration_s for label in onset)
            begin_s = float(max(begins[i] - wanted_s, last_end_s, 0.0))
            rest_s = begin_s - last_end_s
            if rest_s >= BREATH_GAP_S:
                length_s = min(0.7 * rest_s, 0.45)
                until_s = begin_s - 0.04
                phones.append(_Phone(until_s - length_s, until_s, "breath", vowel, BREATH, i))
            phones += _consonants(onset, begin_s, begins[i], vowel, i)
        # The vowel lasts until its coda, which lasts until the next syllable's consonants.
        following = syllables[i + 1] if i + 1 < n else None
        goes_on = i + 1 < n and following is None
        stop_s = float(ends[i])
        if following is not None and following.onset:
            wanted_s = rate[i + 1] * sum(CONSONANTS[label].duration_s for label in following.onset)
            latest_s = begins[i + 1] - wanted_s
            stop_s = min(stop_s, max(latest_s, begins[i] + 0.6 * (begins[i + 1] - begins[i])))
        if goes_on:
            stop_s = float(begins[i + 1])
        ending = () if goes_on else coda
        wanted_s = rate[i] * sum(CONSONANTS[label].duration_s for label in ending)
        vowel_end_s = stop_s - min(wanted_s, 0.3 * (stop_s - begins[i]))
        vowel_end_s = float(max(vowel_end_s, min(begins[i] + MIN_VOWEL_S, stop_s)))
        phones.append(_Phone(float(begins[i]), vowel_end_s, vowel, vowel, None, i))
        phones += _consonants(ending, vowel_end_s, stop_s, vowel, i)
        last_end_s = stop_s
    return [phone for phone in phones if phone.end_s > phone.begin_s]


def _without_ties_over_rests(
    syllables: Sequence[Syllable | None], begins: NDArray[np.float64], ends: NDArray[np.float64]
) -> list[Syllable | None]:
    """Let a vowel begin anew at the start and after a rest, where it cannot just go on."""
    resolved: list[Syllable | None] = []
    vowel = "a"
    for i, syllable in enumerate(syllables):
        if syllable is None and (i == 0 or begins[i] - ends[i - 1] >= LONGEST_TIE_S):
            syllable = Syllable((), vowel)
        vowel = vowel if syllable is None else syllable.vowel
        resolved.append(syllable)
    return resolved


def _consonants(
    labels: tuple[str, ...], begin_s: float, end_s: float, vowel: str, note: int
) -> list[_Phone]:
    """Share the time from ``begin_s`` to ``end_s`` among consonants."""
    lengths = np.array([CONSONANTS[label].duration_s for label in labels])
    edges = begin_s + (end_s - begin_s) * np.concatenate([[0.0], np.cumsum(lengths)]) / max(
        lengths.sum(), 1e-9
    )
    return [
        _Phone(float(edges[i]), float(edges[i + 1]), label, vowel, CONSONANTS[label], note)
        for i, label in enumerate(labels)
    ]


def _join(phonemes: list[tuple[float, float, str]]) -> tuple[tuple[float, float, str], ...]:
    """Join a vowel that goes on over several notes into one phoneme."""
    joined: list[tuple[float, float, str]] = []
    for onset_s, duration_s, label in phonemes:
        if joined and label in VOWELS and joined[-1][2] == label:
            before_s, length_s, _ = joined[-1]
            if onset_s - (before_s + length_s) < 1e-6:
                joined[-1] = (before_s, onset_s + duration_s - before_s, label)
                continue
        joined.append((onset_s, duration_s, label))
    return tuple(joined)


def _held(
    time_s: NDArray[np.float64], onsets_s: NDArray[np.float64], values: NDArray, empty: float
) -> NDArray[np.float64]:
    """Return the value of the note at each time, or of the note before; the first one's before."""
    if not onsets_s.size:
        return np.full(time_s.shape, empty)
    which = np.maximum(np.searchsorted(onsets_s, time_s, side="right") - 1, 0)
    return np.asarray(values, dtype=np.float64)[which]


def _slow_noise(
    time_s: NDArray[np.float64], step_s: float, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Return normal noise with a new value every ``step_s``, linear in between."""
    knots = np.arange(int(time_s[-1] / step_s) + 2) * step_s
    return np.interp(time_s, knots, rng.standard_normal(knots.size))


def _pitch(
    notes: Notes,
    phones: Sequence[_Phone],
    singer: Singer,
    time_s: NDArray[np.float64],
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """Return the pitch (MIDI) on the control grid; also where nothing sounds."""
    flutter = singer.jitter_cents * _slow_noise(time_s, F0_HOP_S, rng)
    wander = 5.0 * _slow_noise(time_s, 0.4, rng)
    rate_hz = singer.vibrato_rate_hz * (1.0 + 0.04 * _slow_noise(time_s, 0.3, rng))
    phase = 2 * np.pi * (np.cumsum(rate_hz) * CONTROL_S + rng.random())
    n = notes.onsets_s.size
    depth = singer.vibrato_cents * rng.uniform(0.7, 1.2, n)
    scoops = singer.scoop_cents * rng.random(n)
    if not n:
        return np.full(time_s.shape, 60.0)
    shortest_s = float(np.diff(notes.onsets_s).min()) if n > 1 else 1.0
    glide_s = min(singer.portamento_s, 0.5 * shortest_s)
    target = notes.pitches_midi + notes.cents / 100.0
    # Centred a quarter of its length before the onset, a glide is nearly over when the vowel comes.
    pitch = _held(time_s, notes.onsets_s - 0.25 * glide_s, target, 60.0)
    pitch = smooth(pitch, round(glide_s / CONTROL_S))
    since_s = time_s - _held(time_s, notes.onsets_s, notes.onsets_s, 0.0)
    ramp = np.clip(since_s / max(singer.vibrato_delay_s, 1e-3) - 1.0, 0.0, 1.0)
    vibrato = smooth(_held(time_s, notes.onsets_s, depth, 0.0) * ramp, 25) * np.sin(phase)
    last_end_s = -1.0
    for phone in phones:
        if phone.label == "breath":
            continue
        if phone.begin_s - last_end_s > 0.15:  # a phrase begins: slide up to the note
            first = int(np.searchsorted(time_s, phone.begin_s))
            stop = min(first + round(0.4 / CONTROL_S), time_s.size)
            fading = np.exp(-(time_s[first:stop] - phone.begin_s) / 0.06)
            pitch[first:stop] -= scoops[phone.note] / 100.0 * fading
        last_end_s = phone.end_s
    return pitch + (vibrato + flutter + wander) / 100.0


def _amplitudes(
    notes: Notes,
    phones: Sequence[_Phone],
    singer: Singer,
    time_s: NDArray[np.float64],
    rng: np.random.Generator,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return the amplitudes of voice, breath through the tract, and hiss, on the control grid."""
    voicing, aspiration, friction = np.zeros((3, time_s.size))
    for phone in phones:
        first, stop = np.searchsorted(time_s, [phone.begin_s, phone.end_s])
        consonant = phone.consonant
        if consonant is None:
            voicing[first:stop] = 1.0
            continue
        voicing[first:stop] = consonant.voicing
        if consonant.burst_s:
            burst_s = min(consonant.burst_s, 0.6 * (phone.end_s - phone.begin_s))
            first = int(np.searchsorted(time_s, phone.end_s - burst_s))
        aspiration[first:stop] = consonant.aspiration
        friction[first:stop] = consonant.friction
    shimmer = 1.0 + singer.shimmer * _slow_noise(time_s, F0_HOP_S, rng)
    return smooth(voicing, 15) * shimmer, smooth(aspiration, 7), smooth(friction, 7)


def _levels(notes: Notes, time_s: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the amplitude of the notes on the control grid, with a slight swell in each."""
    if not notes.onsets_s.size:
        return np.ones(time_s.shape)
    since_s = time_s - _held(time_s, notes.onsets_s, notes.onsets_s, 0.0)
    share = np.clip(since_s / _held(time_s, notes.onsets_s, notes.durations_s, 1.0), 0.0, 1.0)
    level_db = _held(time_s, notes.onsets_s, notes.levels_db, 0.0)
    return db_to_amplitude(smooth(level_db + 1.5 * np.sin(np.pi * share), 21))


def _resonances(phone: _Phone, singer: Singer) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the formants and bandwidths (Hz) of a sound in the mouth of a singer."""
    frequencies, widths = VOWEL_RESONANCES[singer.voice_type][phone.vowel]
    formants = np.array(frequencies, dtype=np.float64)
    bandwidths = np.array(widths, dtype=np.float64)
    consonant = phone.consonant
    if consonant is not None and consonant.formants_hz is not None:
        scale = WOMENS_TRACT_SCALE if singer.voice_type in ("soprano", "alto") else 1.0
        formants[:3] = np.array(consonant.formants_hz) * scale
        formants[3:] = np.maximum(formants[3:], formants[2] + np.array([400.0, 800.0]))
        bandwidths = np.maximum(bandwidths, [60.0, 100.0, 150.0, 200.0, 250.0])
    return formants * singer.tract_scale, bandwidths


def _tract(
    phones: Sequence[_Phone],
    singer: Singer,
    frame_s: NDArray[np.float64],
    rng: np.random.Generator,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return formants and bandwidths (frames, 5) and nasality (frames,) over time."""
    if not phones:
        phones = [_Phone(0.0, 1.0, "a", "a", None, 0)]
    rows = []
    for phone in phones:
        formants, bandwidths = _resonances(phone, singer)
        nasal = float(phone.consonant is not None and phone.consonant.nasal)
        formants *= 1.0 + VARIATION * rng.standard_normal(N_FORMANTS)
        rows.append(np.concatenate([formants, bandwidths, [nasal]]))
    # In a rest the mouth already takes the shape of what comes.
    which = np.searchsorted([phone.end_s for phone in phones], frame_s, side="right")
    track = smooth(np.array(rows)[np.minimum(which, len(phones) - 1)], 7)
    return track[:, :N_FORMANTS], track[:, N_FORMANTS : 2 * N_FORMANTS], track[:, -1]


def _hiss(
    hiss: NDArray[np.float32],
    phones: Sequence[_Phone],
    frame_s: NDArray[np.float64],
    n_samples: int,
) -> NDArray[np.float32]:
    """Give noise of unit level the colour of each hissing sound; its level becomes LEVEL."""
    frequency = np.arange(FILTER_FFT // 2 + 1) * (SAMPLE_RATE / FILTER_FFT)
    response = np.zeros((frame_s.size, frequency.size), dtype=np.float32)
    for phone in phones:
        if phone.consonant is None or not phone.consonant.friction:
            continue
        offset = (frequency - phone.consonant.friction_hz) / (
            0.5 * phone.consonant.friction_width_hz
        )
        colour = (1.0 / (1.0 + offset**2)) * np.minimum(frequency / 500.0, 1.0)
        colour *= LEVEL / np.sqrt(np.mean(colour**2))
        first, stop = np.searchsorted(frame_s, [phone.begin_s - 0.012, phone.end_s + 0.012])
        response[first:stop] = colour
    return filter_moving(hiss, response, n_samples)
