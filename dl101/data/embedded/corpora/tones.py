"""``tones``: harmonic notes made at random, with every parameter of the synthesis as truth.

This is Algorithm 1 of Engel, Swavely, Roberts, Hantrakul and Hawthorne, "Self-supervised pitch
detection by inverse audio synthesis" (2020; *DDSP-inv*), from which a network learns to read pitch
and timbre off a sound. The algorithm says what is random; how it is distributed the authors left to
the code that they published (``generate_notes_v2`` in magenta/ddsp); its numbers, used here, stand
beside each draw below. As in the paper, sound is at 16 kHz and parameters change every 32 ms (512
samples): a tone of 4 s has 125 frames, 100 harmonics and 65 bands of noise.

Conventions: frame t stands at sample ``512 t``. Between frames, frequencies are interpolated
linearly and amplitudes by overlapping Hann windows (section 3.1 of the paper); the phase is the
running sum of the frequency (equation 2). f0 is in MIDI, NaN in silence; amplitudes are linear.

Where this differs from the authors' code: a silent note is silent, as Algorithm 1 has it (their
noise goes on); in silence the unheard oscillator holds its pitch (theirs glides down to 8 Hz); the
delay of the noise filter is taken out exactly; and the corpus halves all amplitudes, harmonics and
noise alike (and more for the rare tone that would still pass full scale), so that the sound fits a
16-bit file and the truth agrees with the sound. :func:`generate` itself follows the algorithm.

The annotation holds f0, amplitude and notes. Harmonic distribution and noise magnitudes (20 625
numbers in 4 s) are not written out: :func:`restore` makes them anew, exactly, from the field
``generator``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from dl101.data.embedded.annotations import DEFINITIONS, labels, segment_atoms
from dl101.data.embedded.recipe import Item, Recipe, track_split
from dl101.data.pyjama import Atom, Definition
from dl101.data.splits import SIDES
from dl101.errors import DataError
from dl101.units import midi_to_hz

SAMPLE_RATE = 16000
HOP_SAMPLES = 512
N_HARMONICS, N_BANDS = 100, 65
NOTE_FRAMES = (5, 25)  # shortest and longest note
P_SILENT, P_VIBRATO = 0.1, 0.5
F0_MIDI = (24.0, 84.0)
GAIN = 0.5  # from the algorithm's amplitudes to those of the corpus
PEAK = 0.85  # no sample is larger, as in all corpora
SILENCE = -10.0  # of an amplitude before the non-linearity: 1e-7 after it


@dataclass(frozen=True)
class ToneNote:
    """One note: its frames, its pitch before vibrato and noise (None: silent), its vibrato.

    ``vibrato`` is None or its depth at the start and at the end (semitones, from the middle to the
    top) and its number of periods.
    """

    first_frame: int
    stop_frame: int
    f0_midi: float | None
    vibrato: tuple[float, float, float] | None = None


@dataclass(frozen=True, eq=False)
class Tone:
    """The parameters of a tone: all that the synthesizer is told, frame by frame.

    ``amplitude (frames,)`` is A of equation 4, ``harmonic_distribution (100, frames)`` c, with sum
    1 and 0 above half the sample rate, ``f0_midi (frames,)`` is NaN in silence, and
    ``noise_magnitudes (65, frames)`` are the gains of bands from 0 Hz to half the sample rate.
    """

    amplitude: NDArray[np.float64]
    harmonic_distribution: NDArray[np.float64]
    f0_midi: NDArray[np.float64]
    noise_magnitudes: NDArray[np.float64]
    notes: tuple[ToneNote, ...]


def generate(rng: np.random.Generator, n_frames: int = 125) -> Tone:
    """Draw the parameters of a tone (Algorithm 1): notes one after the other until it is full."""
    amplitude = np.full(n_frames, SILENCE)
    distribution = np.zeros((n_frames, N_HARMONICS))
    f0_midi = np.full(n_frames, np.nan)
    noise = np.full((n_frames, N_BANDS), SILENCE)
    notes = []
    first = 0
    while first < n_frames:
        # t <- random note length
        stop = min(first + int(rng.integers(NOTE_FRAMES[0], NOTE_FRAMES[1] + 1)), n_frames)
        n, frames = stop - first, slice(first, stop)
        if rng.random() <= P_SILENT:
            notes.append(ToneNote(first, stop, None))
        else:
            amplitude[frames] = _amplitude(n, rng)
            distribution[frames] = _spectra(n, N_HARMONICS, 0.5, rng)
            f0_midi[frames], written_midi, vibrato = _f0(n, rng)
            # n: interpolate(n_start, n_end, t) + noise of U(0, 0.2), lowered by U(1, 10)
            noise[frames] = _spectra(n, N_BANDS, 0.2, rng) - rng.uniform(1.0, 10.0)
            notes.append(ToneNote(first, stop, written_midi, vibrato))
        first = stop
    # The whole tone is divided by U(1, 2), one in five by U(1, M) with M from U(2, 10).
    most = rng.uniform(2.0, 10.0) if rng.random() <= 0.2 else 2.0
    heard = np.arange(1, N_HARMONICS + 1) * midi_to_hz(f0_midi)[:, None] < SAMPLE_RATE / 2
    weights = np.exp(distribution) * (heard | np.isnan(f0_midi)[:, None])
    return Tone(
        amplitude=exp_sigmoid(amplitude) / rng.uniform(1.0, most),
        harmonic_distribution=(weights / weights.sum(axis=1, keepdims=True)).T,
        f0_midi=f0_midi,
        noise_magnitudes=exp_sigmoid(noise).T,
        notes=tuple(notes),
    )


def exp_sigmoid(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return ``2 sigmoid(x) ** log(10) + 1e-7``, the non-linearity of section 3.1."""
    return 2.0 * np.exp(-np.log(10.0) * np.logaddexp(0.0, -np.asarray(x))) + 1e-7


def _blend(n: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return the share of the start over n frames: from 1 to 0, as a power 2 ** U(-2, 2)."""
    return np.linspace(1.0, 0.0, n) ** (2.0 ** rng.uniform(-2.0, 2.0))


def _amplitude(n: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """A_start, A_end from U(-1, 3) before the non-linearity; noise of deviation U(0, 0.1)."""
    start, end = rng.uniform(-1.0, 3.0, 2)
    share = _blend(n, rng)
    return start * share + end * (1.0 - share) + rng.uniform(0.0, 0.1) * rng.standard_normal(n)


def _f0(
    n: int, rng: np.random.Generator
) -> tuple[NDArray[np.float64], float, tuple[float, float, float] | None]:
    """f0 from U(24, 84), vibrato for every second note, noise of deviation U(0, 0.1) semitones.

    The vibrato's depth goes from U(0, 1) to U(0, 1) semitones over U(0, 2 n / 5) periods.
    """
    written_midi = rng.uniform(*F0_MIDI)
    curve = np.full(n, written_midi)
    vibrato = None
    if rng.random() <= P_VIBRATO:
        start, end = rng.uniform(0.0, 1.0, 2)
        periods = rng.uniform(0.0, 2.0 * n / NOTE_FRAMES[0])
        share = _blend(n, rng)
        depth = start * share + end * (1.0 - share)
        curve += depth * np.sin(np.linspace(0.0, 2.0 * np.pi * periods, n))
        vibrato = (float(start), float(end), float(periods))
    curve += rng.uniform(0.0, 0.1) * rng.standard_normal(n)
    return curve, float(written_midi), vibrato


def _spectra(
    n: int, n_bins: int, most_noise: float, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Return (frames, bins): from one random spectrum to another, with noise of U(0, most_noise).

    Both are low-pass with probability 0.8, and share the range of phases U(0, 0.4) half turns.
    """
    low_pass = rng.random() <= 0.8
    phases = rng.uniform(0.0, 0.4)
    start, end = (_spectrum(n_bins, low_pass, phases, rng) for _ in range(2))
    share = _blend(n, rng)[:, None]
    noise = rng.uniform(0.0, most_noise) * rng.standard_normal((n, n_bins))
    return start * share + end * (1.0 - share) + noise


def _spectrum(
    n_bins: int, low_pass: bool, phases: float, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Return a sum of 1 to 20 cosines over the bins, before the non-linearity.

    Each has an amplitude from U(0, 1), a frequency of U(0, 1) times the bins over a smoothness from
    U(1, 10) that all share, and a phase from U(0, 2 pi ``phases``). A low-pass spectrum weights
    each by a line from 1 to U(0, 0.5), to the power U(0.5, 2).
    """
    n = int(rng.integers(1, 21))
    smoothness = rng.uniform(1.0, 10.0)
    weights = rng.random(n)[:, None]
    turns = rng.random(n)[:, None] * n_bins / smoothness
    position = np.linspace(0.0, 1.0, n_bins)
    shifts = rng.uniform(0.0, 2.0 * np.pi * phases, (n, 1))
    waves = weights * np.cos(2.0 * np.pi * turns * position + shifts)
    if low_pass:
        floor = rng.uniform(0.0, 0.5, (n, 1))
        waves *= (1.0 + (floor - 1.0) * position) ** rng.uniform(0.5, 2.0, (n, 1))
    return waves.sum(axis=0)


def synthesise(
    tone: Tone, rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the sound of the harmonics and of the noise, (512 frames,) each, at 16 kHz.

    ``rng`` draws the noise, from a uniform distribution between -1 and 1.
    """
    return _harmonics(tone), _noise(tone, rng)


def _harmonics(tone: Tone) -> NDArray[np.float32]:
    """Sum the harmonics k f0 below half the sample rate (equations 1 to 4)."""
    n_frames = tone.amplitude.size
    f0_hz = midi_to_hz(_held(tone.f0_midi))
    frame = np.arange(n_frames * HOP_SAMPLES) / HOP_SAMPLES
    f0_samples = np.interp(frame, np.arange(n_frames), f0_hz)
    cycles = np.cumsum(f0_samples / SAMPLE_RATE)
    cycles = (cycles - np.floor(cycles)).astype(np.float32).reshape(n_frames, HOP_SAMPLES)
    f0_samples = f0_samples.reshape(n_frames, HOP_SAMPLES)
    amplitudes = (tone.amplitude * tone.harmonic_distribution).astype(np.float32).T
    amplitudes = np.concatenate([amplitudes, amplitudes[-1:]])  # the last frame is held
    rising = (0.5 - 0.5 * np.cos(np.pi * np.arange(HOP_SAMPLES) / HOP_SAMPLES)).astype(np.float32)
    windows = np.stack([1.0 - rising, rising])
    number = np.arange(1, N_HARMONICS + 1, dtype=np.float32)
    audio = np.zeros((n_frames, HOP_SAMPLES), dtype=np.float32)
    for i in range(n_frames):
        # A harmonic that leaves the audible range between two frames stops where it does.
        k = min(int(SAMPLE_RATE / 2 / f0_samples[i].min()), N_HARMONICS)
        waves = cycles[i] * number[:k, None]
        waves = np.sin((2.0 * np.pi) * (waves - np.floor(waves)))
        if k * f0_samples[i].max() >= SAMPLE_RATE / 2:
            waves *= number[:k, None] * f0_samples[i] < SAMPLE_RATE / 2
        audio[i] = ((amplitudes[i : i + 2, :k] @ waves) * windows).sum(axis=0)
    return audio.reshape(-1)


def _held(f0_midi: NDArray[np.float64]) -> NDArray[np.float64]:
    """Fill silences with the pitch before them (at the beginning, after them)."""
    voiced = np.flatnonzero(~np.isnan(f0_midi))
    if not voiced.size:
        return np.full(f0_midi.shape, F0_MIDI[0])
    last = np.searchsorted(voiced, np.arange(f0_midi.size), side="right") - 1
    return f0_midi[voiced[np.maximum(last, 0)]]


def _noise(tone: Tone, rng: np.random.Generator) -> NDArray[np.float32]:
    """Filter each frame of noise by its magnitudes (Engel et al., DDSP, ICLR 2020).

    The impulse response is that of zero phase, under a Hann window of 128 samples.
    """
    magnitudes = tone.noise_magnitudes.T
    n_frames, length = magnitudes.shape[0], 2 * (N_BANDS - 1)
    noise = rng.uniform(-1.0, 1.0, (n_frames, HOP_SAMPLES))
    response = np.roll(scipy.fft.irfft(magnitudes, length, axis=1), length // 2, axis=1)
    response *= np.hanning(length + 1)[:-1]
    n_fft = scipy.fft.next_fast_len(HOP_SAMPLES + length, real=True)
    spectrum = scipy.fft.rfft(noise, n_fft, axis=1) * scipy.fft.rfft(response, n_fft, axis=1)
    filtered = scipy.fft.irfft(spectrum, n_fft, axis=1)
    audio = np.zeros((n_frames + 2) * HOP_SAMPLES)
    for i in range(n_frames):
        start = i * HOP_SAMPLES
        audio[start : start + HOP_SAMPLES + length] += filtered[i, : HOP_SAMPLES + length]
    return audio[length // 2 :][: n_frames * HOP_SAMPLES].astype(np.float32)


def restore(generator: str) -> tuple[Tone, NDArray[np.float32], NDArray[np.float32]]:
    """Return a tone and the sound of its harmonics and its noise, from the field ``generator``.

    The field holds the number of frames and the numbers that seed the generator: what is returned
    is exactly what the corpus holds; the sounds sum to its audio.

    Raises
    ------
    DataError
        If the text is not of that form.
    """
    words = generator.split()
    if len(words) < 2 or not all(word.isdigit() for word in words):
        raise DataError(
            "field 'generator'",
            got=repr(generator),
            expected="whole numbers: frames, then the seed",
            hint="pass the value as the corpus has it",
        )
    n_frames, *numbers = map(int, words)
    rng = np.random.default_rng(numbers)
    tone = generate(rng, n_frames)
    harmonics, noise = synthesise(tone, rng)
    largest = max(np.abs(sound).max() for sound in (harmonics + noise, harmonics, noise))
    gain = min(GAIN, PEAK / float(largest))
    tone = replace(
        tone, amplitude=tone.amplitude * gain, noise_magnitudes=tone.noise_magnitudes * gain
    )
    return tone, _rounded(harmonics, gain), _rounded(noise, gain)


def _rounded(audio: NDArray[np.float32], gain: float) -> NDArray[np.float32]:
    """Scale and round to 16 bits: files compress, and sums are exact."""
    return np.round(audio * np.float32(gain * 32768.0)) / np.float32(32768.0)


def render(index: int, *, seed: int, duration_s: float, extras: bool) -> list[Item]:
    """Return a tone and, with ``extras``, its harmonics and its noise by themselves."""
    split, number = track_split(index)
    n_frames = round(duration_s * SAMPLE_RATE / HOP_SAMPLES)
    generator = f"{n_frames} {seed} {SIDES.index(split)} {number}"
    tone, harmonics, noise = restore(generator)
    hop_s = HOP_SAMPLES / SAMPLE_RATE
    sounding = [note for note in tone.notes if note.f0_midi is not None]
    trembling = [note for note in sounding if note.vibrato is not None]
    title = f"{split}-{number:05d}"
    fields = labels(title=title, split=split, role="mixture", generator=generator)
    times_s = np.arange(n_frames) * hop_s
    fields["f0"] = (Atom(np.round(tone.f0_midi[None], 3), times_s),)
    fields["amplitude"] = (Atom(np.round(tone.amplitude[None], 6), times_s),)
    fields["pitchmidi"] = _segments(sounding, [round(note.f0_midi, 3) for note in sounding])
    rates_hz = [
        round(note.vibrato[2] / max((note.stop_frame - note.first_frame - 1) * hop_s, hop_s), 3)
        for note in trembling
    ]
    fields["vibrato-rate-hz"] = _segments(trembling, rates_hz)
    depths = [round(50.0 * (note.vibrato[0] + note.vibrato[1]), 2) for note in trembling]
    fields["vibrato-cents"] = _segments(trembling, depths)
    fields = {field: atoms for field, atoms in fields.items() if atoms}
    name = f"{index:05d}-tone"
    items = [Item(f"{name}.wav", harmonics + noise, SAMPLE_RATE, fields)]
    if extras:
        for part, sound in (("harmonics", harmonics), ("noise", noise)):
            stem = labels(title=title, split=split, role=part, generator=generator)
            items.append(Item(f"{name}-{part}.wav", sound, SAMPLE_RATE, stem))
    return items


def _segments(notes: list[ToneNote], values: list[float]) -> tuple[Atom, ...]:
    hop_s = HOP_SAMPLES / SAMPLE_RATE
    begins = np.array([note.first_frame for note in notes]) * hop_s
    return segment_atoms(begins, [(n.stop_frame - n.first_frame) * hop_s for n in notes], values)


RECIPE = Recipe(
    name="tones",
    title="Random harmonic notes with all parameters of their synthesis",
    stands_for="the synthetic data of DDSP-inv (Algorithm 1)",
    default_tracks=240,
    duration_s=4.0,
    unit="title",
    extras="harmonics and noise by themselves (roles harmonics and noise)",
    n_extras=2.0,
    definitions={
        **{name: DEFINITIONS[name] for name in ("title", "split", "f0", "pitchmidi")},
        "role": replace(DEFINITIONS["role"], dictionary=("mixture", "harmonics", "noise")),
        "amplitude": Definition("amplitude", "breakpoint", "numeric"),
        "vibrato-rate-hz": Definition("vibrato-rate-hz", "segment", "numeric"),
        "vibrato-cents": Definition("vibrato-cents", "segment", "numeric"),
        "generator": Definition("generator", "global", "text"),
    },
    render=render,
    bytes_per_s=4.0 * SAMPLE_RATE,
    provenance="random numbers alone: neither scores nor recordings",
)
