"""Build the sampled sound bank: one OGG Vorbis file per instrument and ``soundbank.json``.

Run by maintainers only, in an environment of its own (``pip install pyfluidsynth soundfile scipy``
and the Debian packages ``libfluidsynth3``, ``fluid-soundfont-gm``,
``musescore-general-soundfont-lossless`` and ``sonic-pi-samples``); what it writes is shipped.

Each note is played alone by FluidSynth at 44.1 kHz, without its reverb and chorus, and then

1. trimmed to its onset, where it first comes within 20 dB of its level;
2. flattened in pitch: the fundamental is followed by heterodyning the lowest harmonics, and the
   recording is resampled along that curve, so that it sounds its nominal pitch throughout and the
   renderer alone decides on tuning and vibrato (ensembles, struck strings: one constant shift);
3. freed from its decay: multiplied by a growing exponential (``decay_db_per_s`` keeps the rate), so
   that a struck or plucked note can be looped as well; the renderer puts the decay back;
4. given a loop ``[loop_start, loop_stop)`` whose ends look most alike over the crossfade;
5. brought to one level and down to 22 050 Hz.

Notes that die away within a second or so (``rings``) skip 3 and 4: they are kept as recorded until
they are silent, and have no loop. So do the pieces of drum kits, which skip 2 as well: a piece
keeps its pitch, and is as loud as such a piece is against the others.

What is heard in training and what only in the test must come from other recordings. MuseScore's
sound font was made from FluidR3 and shares most of its samples, so its instruments are used only
where they were recorded anew; elsewhere the test has another instrument of the same class, or,
for the steel guitar, the recordings of keys that training does not use (``keys``).

Usage: ``python tools/build_soundbank.py [NAME ...]`` builds the instruments named, or all whose
file is missing; the others keep their files and notes, byte for byte.
"""

from __future__ import annotations

import hashlib
import json
import sys
from dataclasses import dataclass
from pathlib import Path

import fluidsynth
import numpy as np
import scipy.ndimage
import scipy.signal
import soundfile

SAMPLE_RATE = 22050
OVERSAMPLING = 2  # FluidSynth plays at 44.1 kHz
LEVEL_RMS = 0.08
GAP_S = 0.06  # silence between notes in a file
CROSSFADE_S = 0.05
OUTPUT = Path(__file__).parents[1] / "dl101/data/embedded/assets"

TRAIN, TEST = "training", "test"
FLUID, MUSESCORE, SONIC_PI, OURS = "fluid", "musescore", "sonic-pi", "synthesised"
SOURCES = {
    FLUID: {
        "name": "FluidR3_GM.sf2",
        "path": "/usr/share/sounds/sf2/FluidR3_GM.sf2",
        "licence": "MIT (Fluid R3 GM, copyright 2000-2002, 2008 Frank Wen; 2008 Toby Smithe)",
    },
    MUSESCORE: {
        "name": "MuseScore_General_Full.sf2",
        "path": "/usr/share/sounds/sf2/MuseScore_General_Full.sf2",
        "licence": "MIT, parts CC0 and public domain (MuseScore General, copyright 2018-2021 "
        "S. Christian Collins and others)",
    },
    SONIC_PI: {
        "name": "sonic-pi-samples",
        "path": "/usr/share/sonic-pi/samples",
        "licence": "CC0 (samples of Sonic Pi, from freesound.org)",
    },
    OURS: {"name": "tools/build_soundbank.py", "licence": "MIT (synthesised by this project)"},
}


@dataclass(frozen=True)
class Spec:
    """One instrument: where it comes from and how its notes are kept.

    ``kind``: "solo" has one measurable fundamental, "ensemble" has several, "struck" decays.
    ``keys`` are the MIDI notes recorded, ``keep_s`` the longest time kept, ``span`` the range
    played (by default a semitone beyond the keys). ``rings``: kept until silent, without a loop.
    ``ranks`` are the sounds added up for a note: each its cents and its gain.
    ``partials``: how many harmonics tell the pitch (bars have but one; 0: it is right as it is).
    """

    source: str
    bank: int
    programme: int
    label: str
    family: str
    kind: str
    keys: tuple[int, ...]
    keep_s: float
    heard: str
    velocities: tuple[int, ...] = (100,)
    rings: bool = False
    span: tuple[int, int] | None = None
    ranks: tuple[tuple[float, float], ...] = ((0.0, 1.0),)
    partials: int | None = None


def _keys(low: int, high: int, step: int = 4) -> tuple[int, ...]:
    return tuple(range(low, high + 1, step))


def _first(programme, label, family, kind, low, high, keep_s, velocities, heard):
    """Describe an instrument of the first edition of the bank: FluidR3, every three semitones."""
    keys = _keys(low, high, 3)
    return Spec(FLUID, 0, programme, label, family, kind, keys, keep_s, heard, velocities)


STEEL = (40, 50, 60, 69, 78), (45, 56, 65, 73)  # two keys never share a recording
# fmt: off
INSTRUMENTS = {
    "piano": _first(0, "piano", "keyboard", "struck", 33, 87, 2.2, (100,), TRAIN),
    "harpsichord": _first(6, "harpsichord", "keyboard", "struck", 33, 87, 1.9, (100,), TRAIN),
    "church-organ": _first(19, "organ", "organ", "ensemble", 33, 87, 2.0, (100,), TRAIN),
    "reed-organ": _first(20, "organ", "organ", "solo", 33, 87, 1.7, (100,), TRAIN),
    "nylon-guitar": _first(24, "acoustic-guitar", "plucked", "struck", 39, 81, 1.9, (100,), TRAIN),
    "violin": _first(40, "violin", "bowed", "solo", 54, 87, 1.9, (100,), TRAIN),
    "cello": _first(42, "cello", "bowed", "solo", 33, 72, 1.9, (100,), TRAIN),
    "string-section": _first(48, "strings", "bowed", "ensemble", 33, 87, 2.4, (100,), TRAIN),
    "choir-aah": _first(52, "voice", "voice", "ensemble", 39, 81, 2.4, (100,), TEST),
    "trumpet": _first(56, "trumpet", "brass", "solo", 51, 84, 1.7, (40, 115), TRAIN),
    "trombone": _first(57, "trombone", "brass", "solo", 33, 72, 1.7, (40, 115), TRAIN),
    "french-horn": _first(60, "horn", "brass", "solo", 36, 78, 1.7, (40, 115), TRAIN),
    "oboe": _first(68, "oboe", "reed", "solo", 57, 87, 1.7, (100,), TRAIN),
    "bassoon": _first(70, "bassoon", "reed", "solo", 33, 72, 1.7, (100,), TRAIN),
    "clarinet": _first(71, "clarinet", "reed", "solo", 48, 87, 1.7, (100,), TRAIN),
    "flute": _first(73, "flute", "flute", "solo", 57, 87, 1.7, (100,), TRAIN),
    "electric-piano": _first(4, "electric-piano", "keyboard", "struck", 33, 87, 1.9, (100,), TEST),
    "accordion": _first(21, "accordion", "organ", "ensemble", 39, 87, 2.2, (100,), TEST),
    "harp": _first(46, "harp", "plucked", "struck", 33, 87, 1.9, (100,), TEST),
    "viola": _first(41, "viola", "bowed", "solo", 48, 81, 1.9, (100,), TEST),
    "choir-ooh": _first(53, "voice", "voice", "ensemble", 42, 81, 2.4, (100,), TRAIN),
    "muted-trumpet": _first(59, "trumpet", "brass", "solo", 51, 84, 1.7, (100,), TEST),
    "tuba": _first(58, "tuba", "brass", "solo", 33, 63, 1.7, (100,), TEST),
    "tenor-saxophone": _first(66, "saxophone", "reed", "solo", 42, 78, 1.7, (100,), TEST),
    "recorder": _first(74, "flute", "flute", "solo", 57, 87, 1.7, (100,), TEST),
    # basses
    "acoustic-bass": Spec(FLUID, 0, 32, "bass", "bass", "struck", _keys(26, 58), 1.8, TRAIN),
    "finger-bass": Spec(FLUID, 0, 33, "bass", "bass", "struck", _keys(26, 58), 1.8, TRAIN),
    "slap-bass": Spec(FLUID, 0, 36, "bass", "bass", "struck", _keys(26, 58), 1.6, TRAIN),
    "synth-bass": Spec(FLUID, 0, 38, "bass", "bass", "struck", _keys(26, 58), 1.4, TRAIN,
        partials=0),
    "picked-bass": Spec(FLUID, 0, 34, "bass", "bass", "struck", _keys(26, 58), 1.8, TRAIN),
    "fretless-bass": Spec(FLUID, 0, 35, "bass", "bass", "struck", _keys(26, 58), 1.8, TEST),
    "plucked-basses": Spec(MUSESCORE, 50, 45, "bass", "bass", "struck", _keys(28, 56), 1.6, TEST,
        rings=True, span=(26, 59)),
    "analogue-bass": Spec(MUSESCORE, 0, 38, "bass", "bass", "struck", _keys(26, 58), 1.4, TEST),
    # guitars
    "steel-guitar": Spec(FLUID, 0, 25, "acoustic-guitar", "plucked", "struck", STEEL[0], 1.9,
        TRAIN, span=(39, 83)),
    "clean-guitar": Spec(FLUID, 0, 27, "electric-guitar", "plucked", "struck", _keys(40, 84),
        1.9, TRAIN),
    "muted-guitar": Spec(FLUID, 0, 28, "electric-guitar", "plucked", "struck", _keys(40, 76),
        0.9, TRAIN, rings=True),
    "overdriven-guitar": Spec(FLUID, 0, 29, "distorted-guitar", "plucked", "struck", _keys(40,
        84), 1.8, TRAIN),
    "banjo": Spec(FLUID, 0, 105, "banjo", "plucked", "struck", _keys(48, 80), 1.2, TRAIN,
        rings=True),
    "dulcimer": Spec(FLUID, 0, 15, "dulcimer", "plucked", "struck", _keys(48, 84), 1.8, TRAIN),
    "twelve-string-guitar": Spec(FLUID, 0, 25, "acoustic-guitar", "plucked", "struck", STEEL[1],
        1.9, TEST, span=(40, 77), ranks=((0.0, 1.0), (1204.0, 0.5))),
    "jazz-guitar": Spec(FLUID, 0, 26, "electric-guitar", "plucked", "struck", _keys(40, 84), 1.9,
        TEST, (50, 115)),
    "distorted-guitar": Spec(FLUID, 0, 30, "distorted-guitar", "plucked", "struck", _keys(40,
        84), 1.8, TEST),
    # keyboards and organs
    "stage-piano": Spec(FLUID, 0, 5, "electric-piano", "keyboard", "struck", _keys(34, 86), 1.9,
        TRAIN),
    "honky-tonk": Spec(FLUID, 0, 3, "piano", "keyboard", "struck", _keys(36, 84), 1.9, TRAIN),
    "fm-piano": Spec(MUSESCORE, 0, 5, "electric-piano", "keyboard", "struck", _keys(36, 84), 1.9,
        TEST),
    "clavinet": Spec(FLUID, 0, 7, "clavinet", "keyboard", "struck", _keys(36, 80), 1.4, TRAIN),
    "drawbar-organ": Spec(FLUID, 0, 17, "organ", "organ", "ensemble", _keys(36, 84), 1.6, TRAIN,
        partials=0),
    "musette": Spec(FLUID, 0, 22, "accordion", "organ", "ensemble", _keys(48, 84), 2.0, TRAIN,
        ranks=((-7.0, 1.0), (8.0, 1.0))),
    "harmonica": Spec(FLUID, 0, 22, "harmonica", "reed", "solo", _keys(58, 86), 1.6, TRAIN),
    "grand-piano": Spec(MUSESCORE, 0, 0, "piano", "keyboard", "struck", _keys(33, 87, 3), 2.2,
        TEST),
    "rock-organ": Spec(FLUID, 0, 18, "organ", "organ", "ensemble", _keys(36, 84), 1.6, TEST,
        partials=0),
    # winds
    "alto-saxophone": Spec(FLUID, 0, 65, "saxophone", "reed", "solo", _keys(49, 81), 1.7, TRAIN),
    "soprano-saxophone": Spec(FLUID, 0, 64, "saxophone", "reed", "solo", _keys(56, 84), 1.7, TRAIN),
    "bagpipe": Spec(FLUID, 0, 109, "bagpipe", "reed", "solo", _keys(56, 84), 1.5, TRAIN),
    "pan-flute": Spec(FLUID, 0, 75, "flute", "flute", "solo", _keys(60, 88), 1.5, TRAIN),
    "brass-section": Spec(FLUID, 0, 61, "brass", "brass", "ensemble", _keys(40, 80), 1.7, TRAIN),
    "baritone-saxophone": Spec(FLUID, 0, 67, "saxophone", "reed", "solo", _keys(37, 69), 1.7, TEST),
    "english-horn": Spec(FLUID, 0, 69, "oboe", "reed", "solo", _keys(53, 77), 1.7, TEST),
    "piccolo": Spec(FLUID, 0, 72, "flute", "flute", "solo", _keys(72, 92), 1.4, TEST),
    # strings and voices
    "violins": Spec(MUSESCORE, 20, 48, "violin", "bowed", "ensemble", _keys(55, 87), 2.4, TEST),
    "other-cello": Spec(MUSESCORE, 0, 42, "cello", "bowed", "solo", _keys(36, 72), 1.9, TEST),
    "orchestra-strings": Spec(MUSESCORE, 0, 48, "strings", "bowed", "ensemble", _keys(36, 84),
        2.4, TEST),
    "pizzicato": Spec(FLUID, 0, 45, "pizzicato", "bowed", "struck", _keys(36, 84), 1.0, TRAIN,
        rings=True),
    "orchestra-pizzicato": Spec(MUSESCORE, 0, 45, "pizzicato", "bowed", "struck", _keys(36, 84),
        1.2, TEST, rings=True),
    "solo-voice": Spec(FLUID, 0, 85, "voice", "voice", "solo", _keys(44, 80), 1.7, TRAIN),
    "synth-voice": Spec(FLUID, 0, 54, "voice", "voice", "ensemble", _keys(44, 80), 2.2, TEST),
    # mallets
    "vibraphone": Spec(FLUID, 0, 11, "mallets", "mallets", "struck", _keys(53, 89), 1.8, TRAIN,
        partials=1),
    "xylophone": Spec(FLUID, 0, 13, "mallets", "mallets", "struck", _keys(65, 93), 1.0, TRAIN,
        rings=True, partials=1),
    "marimba": Spec(FLUID, 0, 12, "mallets", "mallets", "struck", _keys(45, 85), 1.2, TEST,
        rings=True, partials=1),
    "glockenspiel": Spec(FLUID, 0, 9, "mallets", "mallets", "struck", _keys(77, 97), 1.8, TEST,
        partials=1),
    # synthesisers
    "square-lead": Spec(FLUID, 0, 80, "synth", "synth", "solo", _keys(48, 84), 1.2, TRAIN),
    "saw-lead": Spec(FLUID, 0, 81, "synth", "synth", "solo", _keys(48, 84), 1.2, TRAIN),
    "warm-pad": Spec(FLUID, 0, 89, "pad", "synth", "ensemble", _keys(40, 80), 2.4, TRAIN),
    "poly-pad": Spec(FLUID, 0, 90, "pad", "synth", "ensemble", _keys(40, 80), 2.2, TRAIN),
    "analogue-square": Spec(MUSESCORE, 0, 80, "synth", "synth", "solo", _keys(48, 84), 1.2, TEST),
    "analogue-saw": Spec(MUSESCORE, 20, 81, "synth", "synth", "ensemble", _keys(48, 84), 1.8, TEST),
    "analogue-strings": Spec(MUSESCORE, 0, 50, "pad", "synth", "ensemble", _keys(40, 80), 2.2,
        TEST),
    "analogue-poly": Spec(MUSESCORE, 0, 90, "pad", "synth", "ensemble", _keys(40, 80), 2.2, TEST),
}
# fmt: on

# The pieces of every kit by General MIDI number, and how loud their loudest 50 ms are against the
# snare drum's (dB): bass drum, side stick, snare, clap, closed and pedal hi-hat, low tom, open
# hi-hat, middle and high tom, crash, ride, tambourine, cowbell, high and low conga, maracas.
PIECES_DB = {
    36: 0.0, 37: -7.0, 38: 0.0, 39: -3.0, 42: -11.0, 44: -14.0, 45: -3.0, 46: -10.0, 47: -3.0,
    48: -3.0, 49: -6.0, 51: -11.0, 54: -9.0, 56: -8.0, 63: -5.0, 64: -5.0, 70: -12.0,
}  # fmt: skip
PIECES = tuple(PIECES_DB)
PIECE_KEEP_S = 2.6
OPEN_HAT, OPEN_HAT_KEEP_S = 46, 0.9  # closed again before it would be silent
# What a kit plays, by piece: (source, programme, key), a sample's name, or a synthesised sound.
_STUDIO = {
    36: "drum_bass_hard", 37: "elec_wood", 38: "drum_snare_hard", 39: "perc_snap",
    42: "drum_cymbal_closed", 44: "drum_cymbal_pedal", 45: "drum_tom_lo_hard",
    46: "drum_cymbal_open", 47: "drum_tom_mid_hard", 48: "drum_tom_hi_hard",
    49: "drum_splash_hard", 51: "drum_cymbal_soft", 54: "tambourine", 56: "drum_cowbell",
    63: "tabla_na_o", 64: "tabla_tun1", 70: (FLUID, 0, 69),
}  # fmt: skip
_MACHINE = {
    **{piece: (FLUID, 25, piece) for piece in (36, 38, 42, 45, 46, 47, 48)},
    37: "rim", 39: "clap", 44: (FLUID, 25, 42), 49: (FLUID, 0, 57), 51: (FLUID, 0, 59),
    54: "tambourine", 56: "cowbell", 63: (FLUID, 0, 60), 64: (FLUID, 0, 61), 70: "maracas",
}  # fmt: skip
KITS = {  # heard, and what each piece is played from
    "kit-standard": (TRAIN, {piece: (FLUID, 0, piece) for piece in PIECES}),
    "kit-pop": (TRAIN, {piece: (FLUID, 2, piece) for piece in PIECES}),
    "kit-room": (TRAIN, {piece: (FLUID, 11, piece) for piece in PIECES}),
    "kit-power": (TRAIN, {piece: (FLUID, 16, piece) for piece in PIECES}),
    "kit-electronic": (TRAIN, {piece: (FLUID, 24, piece) for piece in PIECES}),
    "kit-jazz": (TRAIN, {piece: (FLUID, 40, piece) for piece in PIECES}),
    "kit-studio": (TEST, _STUDIO),
    "kit-machine": (TEST, _MACHINE),
}


def midi_to_hz(midi: float) -> float:
    """Return the frequency of a MIDI note (the tools do not import the package)."""
    return 440.0 * 2.0 ** ((midi - 69.0) / 12.0)


class Players:
    """FluidSynth with both sound fonts, without reverberation and chorus."""

    def __init__(self) -> None:
        self.synth = fluidsynth.Synth(gain=0.5, samplerate=SAMPLE_RATE * OVERSAMPLING)
        self.synth.setting("synth.reverb.active", 0)
        self.synth.setting("synth.chorus.active", 0)
        self._fonts: dict[str, int] = {}

    def font(self, source: str) -> int:
        """Return the number of a sound font, loaded when first asked for."""
        if source not in self._fonts:
            self._fonts[source] = self.synth.sfload(SOURCES[source]["path"])
        return self._fonts[source]

    def play(self, source: str, bank: int, programme: int, midi: int, velocity: int) -> np.ndarray:
        """Return 5 s of one held note, mono, at 44.1 kHz."""
        rate, font = SAMPLE_RATE * OVERSAMPLING, self.font(source)
        channel = 9 if bank == 128 else 0
        self.synth.system_reset()
        self.synth.program_select(channel, font, bank, programme)
        self.synth.get_samples(rate // 4)  # let the reset settle
        self.synth.noteon(channel, midi, velocity)
        stereo = self.synth.get_samples(rate * 5).reshape(-1, 2).astype(np.float64) / 32768.0
        self.synth.noteoff(channel, midi)
        self.synth.get_samples(rate)
        left, right = stereo.T
        # A wide stereo recording may cancel when added: then one side is heard alone.
        return left + right if np.vdot(left, right) > 0 else left * 2.0


def envelope(audio: np.ndarray, rate: int, window_s: float) -> np.ndarray:
    """Return the moving RMS, sample by sample."""
    width = max(1, int(window_s * rate))
    power = scipy.ndimage.uniform_filter1d(audio**2, width, mode="nearest")
    return np.sqrt(np.maximum(power, 1e-20))


def trim_onset(audio: np.ndarray, rate: int) -> np.ndarray:
    """Cut what precedes the onset; a 3 ms fade-in hides the cut."""
    loudness = envelope(audio, rate, 0.01)
    level = loudness[: int(0.6 * rate)].max()
    first = int(np.argmax(loudness > 0.1 * level))
    start = max(0, first - int(0.004 * rate))
    audio = audio[start:].copy()
    fade = int(0.003 * rate)
    audio[:fade] *= np.linspace(0.0, 1.0, fade)
    return audio


def follow_pitch(
    audio: np.ndarray, rate: int, nominal_hz: float, kind: str, partials: int | None = None
) -> np.ndarray:
    """Return the deviation from the nominal pitch in cents, sample by sample.

    Each of the lowest harmonics is shifted to 0 Hz and low-passed; the speed at which its phase
    turns, weighted by its power, is the deviation.
    """
    if partials == 0:
        return np.zeros(audio.size)
    if kind == "short":
        measure = peak_pitch if partials == 1 else correlate_pitch
        return np.full(audio.size, measure(audio, rate, nominal_hz))
    time_s = np.arange(audio.size) / rate
    cutoff_hz = min(16.0 if kind == "solo" else 2.0, 0.2 * nominal_hz)  # vibrato is slower
    # Wide enough for a vibrato seen at the sixth harmonic.
    lowpass = scipy.signal.butter(2, min(0.35 * nominal_hz, 300.0), fs=rate, output="sos")
    smooth = scipy.signal.butter(2, cutoff_hz, fs=rate, output="sos")
    turning, weights = np.zeros(audio.size - 1), np.zeros(audio.size - 1)
    highest = partials or (4 if kind == "struck" else 6)  # stiff strings: upper partials are sharp
    for harmonic in range(1, highest + 1):
        if harmonic * nominal_hz > 0.4 * rate:
            break
        shifted = audio * np.exp(-2j * np.pi * harmonic * nominal_hz * time_s)
        partial = scipy.signal.sosfiltfilt(lowpass, shifted.real) + 1j * scipy.signal.sosfiltfilt(
            lowpass, shifted.imag
        )
        product = partial[1:] * np.conj(partial[:-1])
        turning += np.angle(product) / harmonic * np.abs(product)
        weights += np.abs(product)
    turning = scipy.signal.sosfiltfilt(smooth, turning)
    weights = np.maximum(scipy.signal.sosfiltfilt(smooth, weights), 1e-20)
    deviation_hz = turning / weights * rate / (2 * np.pi)
    cents = 1200.0 * np.log2(np.maximum(1.0 + deviation_hz / nominal_hz, 0.5))
    cents = np.append(cents, cents[-1])
    steady = slice(int(0.15 * rate), int(2.0 * rate))
    middle = float(np.median(cents[steady]))
    if kind != "solo":  # players, or the strings of one key, beat: that is not a vibrato
        return np.full(audio.size, middle)
    return np.clip(cents, middle - 60.0, middle + 60.0)


def correlate_pitch(audio: np.ndarray, rate: int, nominal_hz: float) -> float:
    """Return a short sound's deviation from its nominal pitch in cents, by autocorrelation.

    A sound that never comes to rest has no curve to follow; the lag after which it repeats best,
    near 25 ms and within a third of a period, is its pitch.
    """
    sound = audio[int(0.03 * rate) : int(0.4 * rate)]
    n_periods = max(1, round(0.025 * nominal_hz))
    period = rate / nominal_hz
    lags = np.arange(
        int((n_periods - 0.33) * period), min(int((n_periods + 0.33) * period) + 2, sound.size // 2)
    )
    alike = [
        sound[lag:]
        @ sound[:-lag]
        / np.sqrt((sound[lag:] @ sound[lag:]) * (sound[:-lag] @ sound[:-lag]))
        for lag in lags
    ]
    best = int(np.clip(np.argmax(alike), 1, len(alike) - 2))
    left, top, right = alike[best - 1 : best + 2]
    lag = lags[best] + 0.5 * (left - right) / (left - 2 * top + right)
    return float(1200.0 * np.log2(n_periods * period / lag))


def peak_pitch(audio: np.ndarray, rate: int, nominal_hz: float) -> float:
    """Return the deviation from its nominal pitch, in cents, of a struck bar's lowest partial."""
    sound = audio[int(0.02 * rate) : int(0.5 * rate)]
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(sound.size), 1 << 20))
    first, last = (int(ratio * nominal_hz * (1 << 20) / rate) for ratio in (0.96, 1.04))
    peak_hz = (first + int(np.argmax(spectrum[first:last]))) * rate / (1 << 20)
    return float(1200.0 * np.log2(peak_hz / nominal_hz))


def flatten_pitch(audio: np.ndarray, cents: np.ndarray) -> np.ndarray:
    """Resample the recording so that the followed deviation becomes zero (windowed sinc)."""
    # Output sample n is read at a position that advances slower where the pitch is too high.
    inverse_speed = 2.0 ** (cents / 1200.0)
    output_time = np.concatenate([[0.0], np.cumsum(inverse_speed[:-1])])
    n_output = int(output_time[-1])
    position = np.interp(np.arange(n_output), output_time, np.arange(audio.size))
    half = 16
    padded = np.pad(audio, half)
    base = np.floor(position).astype(int)
    fraction = position - base
    result = np.zeros(n_output)
    for tap in range(-half + 1, half + 1):
        distance = tap - fraction
        window = 0.5 + 0.5 * np.cos(np.pi * np.clip(distance / half, -1, 1))
        result += padded[base + tap + half] * np.sinc(distance) * window
    return result


def find_loop(audio: np.ndarray, rate: int, kind: str) -> tuple[int, int, float]:
    """Return loop start and stop (samples) and how alike the sound is before both (0 to 1)."""
    width = int(CROSSFADE_S * rate)
    stop = audio.size - 8
    shortest, longest = (0.9, 1.5) if kind == "ensemble" else (0.35, 0.9)
    tail = audio[stop - width : stop]
    first, last = stop - int(longest * rate) - width, stop - int(shortest * rate) - width
    first = max(first, int(0.25 * rate))
    region = audio[first : last + width]
    match = scipy.signal.correlate(region, tail, mode="valid", method="fft")
    power = np.convolve(region**2, np.ones(width), mode="valid")
    similarity = match / np.sqrt(np.maximum(power * np.sum(tail**2), 1e-20))
    best = int(np.argmax(similarity))
    return first + best + width, stop, float(similarity[best])


def remove_decay(audio: np.ndarray, rate: int, keep_s: float) -> tuple[np.ndarray, float]:
    """Return the recording times a growing exponential, and the rate removed (dB per second)."""
    loudness = 20.0 * np.log10(envelope(audio, rate, 0.08))
    begin, end = int(0.1 * rate), int((keep_s - 0.05) * rate)
    time_s = np.arange(begin, end) / rate
    slope = float(np.polyfit(time_s, loudness[begin:end], 1)[0])
    decay_db_per_s = float(np.clip(-slope, 0.0, 80.0))
    gain = 10.0 ** (decay_db_per_s * np.arange(audio.size) / rate / 20.0)
    return audio * gain, decay_db_per_s


def add_ranks(audio: np.ndarray, ranks: tuple[tuple[float, float], ...]) -> np.ndarray:
    """Return the sum of the note read at several speeds, as the reeds or strings of one key."""
    read = [flatten_pitch(audio, np.full(audio.size, -cents)) * gain for cents, gain in ranks]
    shortest = min(rank.size for rank in read)
    return sum(rank[:shortest] for rank in read)


def ring_out(audio: np.ndarray, keep_s: float) -> np.ndarray:
    """Return a recording until it is silent (60 dB below its loudest) or ``keep_s``, faded out."""
    loudness = 20.0 * np.log10(envelope(audio, SAMPLE_RATE, 0.02))
    last = int(np.flatnonzero(loudness > loudness.max() - 60.0)[-1])
    audio = audio[: min(last + int(0.02 * SAMPLE_RATE), int(keep_s * SAMPLE_RATE))].copy()
    fade = min(audio.size // 3, int(0.6 * SAMPLE_RATE)) if last > keep_s * SAMPLE_RATE else 400
    audio[-fade:] *= 0.5 + 0.5 * np.cos(np.pi * np.linspace(0.0, 1.0, fade))
    return audio


def synthesise(name: str) -> np.ndarray:
    """Return a percussion sound of our own at 44.1 kHz: shaped noise and inharmonic partials.

    The clap is four bursts of noise, the cowbell two square waves a little over a fifth apart, as
    in the rhythm machines of 1980; the tambourine's jingles are high inharmonic partials.
    """
    rate = SAMPLE_RATE * OVERSAMPLING
    time_s = np.arange(rate) / rate
    noise = np.random.default_rng(len(name)).standard_normal(rate)

    def band(low_hz: float, high_hz: float) -> np.ndarray:
        return scipy.signal.sosfilt(
            scipy.signal.butter(2, (low_hz, high_hz), "bandpass", fs=rate, output="sos"), noise
        )

    if name == "clap":
        bursts = sum(np.exp(-(time_s - t) / 0.004) * (time_s >= t) for t in (0.0, 0.011, 0.021))
        return band(700.0, 2400.0) * (bursts + np.exp(-(time_s - 0.03) / 0.05) * (time_s >= 0.03))
    if name == "cowbell":
        squares = sum(scipy.signal.square(2 * np.pi * hz * time_s) for hz in (540.0, 800.0))
        lowpass = scipy.signal.butter(2, (400.0, 3000.0), "bandpass", fs=rate, output="sos")
        decay = 0.6 * np.exp(-time_s / 0.015) + 0.4 * np.exp(-time_s / 0.12)
        return scipy.signal.sosfilt(lowpass, squares) * decay
    if name == "rim":
        tone = sum(np.sin(2 * np.pi * hz * time_s) for hz in (490.0, 1710.0))
        return (tone + 0.3 * band(1500.0, 6000.0)) * np.exp(-time_s / 0.009)
    if name == "maracas":
        return band(4500.0, 9500.0) * np.minimum(time_s / 0.006, 1.0) * np.exp(-time_s / 0.025)
    if name == "tambourine":
        partials = (4310.0, 5230.0, 6170.0, 7390.0, 8240.0, 9610.0)
        jingles = sum(np.sin(2 * np.pi * hz * time_s + hz) for hz in partials)
        return jingles * (0.4 + 0.6 * np.abs(band(20.0, 90.0)) * 8.0) * np.exp(
            -time_s / 0.09
        ) + band(3500.0, 9800.0) * np.exp(-time_s / 0.03)
    raise ValueError(name)


def record_piece(players: Players, piece: int, played: tuple | str) -> tuple[np.ndarray, str]:
    """Return the recording of one drum at 22 050 Hz, until it is silent, and its source."""
    rate = SAMPLE_RATE * OVERSAMPLING
    keep_s = OPEN_HAT_KEEP_S if piece == OPEN_HAT else PIECE_KEEP_S
    if isinstance(played, tuple):
        source, programme, key = played
        audio = players.play(source, 128, programme, key, 110)
    else:
        path = Path(SOURCES[SONIC_PI]["path"]) / f"{played}.flac"
        source = SONIC_PI if path.is_file() else OURS
        if path.is_file():
            audio, file_rate = soundfile.read(path, always_2d=True)
            assert file_rate == rate
            audio = np.concatenate([np.zeros(200), audio.sum(axis=1), np.zeros(rate // 10)])
        else:
            audio = synthesise(played)
    audio = trim_onset(audio, rate)
    audio = scipy.signal.resample_poly(audio, 1, OVERSAMPLING, window=("kaiser", 9.0))
    return ring_out(audio, keep_s), source


def loudest(audio: np.ndarray) -> float:
    """Return the RMS of a sound's loudest 50 ms."""
    return float(envelope(np.pad(audio, 1200), SAMPLE_RATE, 0.05).max())


def prepare(audio: np.ndarray, midi: int, spec: Spec) -> tuple[np.ndarray, dict[str, float]]:
    """Turn a played note into a bank note at 22 050 Hz and its description."""
    rate, keep_s = SAMPLE_RATE * OVERSAMPLING, spec.keep_s
    if spec.family == "synth":  # some oscillators have an offset, which would thump at each onset
        audio = scipy.signal.sosfiltfilt(
            scipy.signal.butter(2, 0.5 * midi_to_hz(midi), "highpass", fs=rate, output="sos"), audio
        )
    audio = trim_onset(audio, rate)
    cents = follow_pitch(
        audio, rate, midi_to_hz(midi), "short" if spec.rings else spec.kind, spec.partials
    )
    steady_cents = float(np.median(cents[int(0.15 * rate) : int(2.0 * rate)]))
    audio = flatten_pitch(audio, cents)
    if spec.ranks != ((0.0, 1.0),):
        audio = add_ranks(audio, spec.ranks)
    audio = scipy.signal.resample_poly(audio, 1, OVERSAMPLING, window=("kaiser", 9.0))
    decay_db_per_s = 0.0
    if spec.rings:
        audio = ring_out(audio, keep_s)
    elif spec.kind == "struck":
        # Low strings ring longer than high ones: keep what is above the noise.
        loudness = 20.0 * np.log10(envelope(audio, SAMPLE_RATE, 0.05))
        faded = np.flatnonzero(loudness > loudness.max() - 40.0)[-1] / SAMPLE_RATE
        keep_s = float(np.clip(faded, 0.9, keep_s))
        audio, decay_db_per_s = remove_decay(audio, SAMPLE_RATE, keep_s)
    audio = audio[: int(keep_s * SAMPLE_RATE)]
    # Level is measured with the decay in place, over the first second.
    heard = audio * 10.0 ** (-decay_db_per_s * np.arange(audio.size) / SAMPLE_RATE / 20.0)
    window = slice(int(0.02 * SAMPLE_RATE), int((0.25 if spec.rings else 0.6) * SAMPLE_RATE))
    audio = audio * (LEVEL_RMS / np.sqrt(np.mean(heard[window] ** 2)))
    audio *= min(1.0, 0.95 / np.abs(audio).max())
    note = {
        "tuning_removed_cents": round(steady_cents, 2),
        "vibrato_removed_cents": round(float(np.std(cents[4410:88200])), 2),
        "decay_db_per_s": round(decay_db_per_s, 3),
    }
    if not spec.rings:
        start, stop, similarity = find_loop(audio, SAMPLE_RATE, spec.kind)
        note |= {"loop_start": start, "loop_stop": stop, "loop_similarity": round(similarity, 4)}
    return audio, note


def write_notes(path: Path, notes: list[tuple[np.ndarray, dict]]) -> list[dict]:
    """Write the notes of an instrument one after the other; return them with their places."""
    pieces, placed, position = [], [], 0
    gap = np.zeros(int(GAP_S * SAMPLE_RATE))
    for audio, note in notes:
        placed.append({**note, "start": position, "length": audio.size})
        pieces += [audio, gap]
        position += audio.size + gap.size
    whole = np.concatenate(pieces).astype(np.float32)
    with soundfile.SoundFile(
        path, "w", SAMPLE_RATE, 1, format="OGG", subtype="VORBIS", compression_level=0.6
    ) as file:
        for begin in range(0, whole.size, 65536):  # libsndfile overflows on one long write
            file.write(whole[begin : begin + 65536])
    return placed


def build_instrument(players: Players, name: str, folder: Path) -> dict[str, object]:
    """Write one instrument's file and return its entry in the bank's description."""
    spec = INSTRUMENTS[name]
    source = SOURCES[spec.source]
    notes = []
    for layer, velocity in enumerate(spec.velocities):
        for midi in spec.keys:
            played = players.play(spec.source, spec.bank, spec.programme, midi, velocity)
            audio, note = prepare(played, midi, spec)
            notes.append((audio, {"midi": midi, "layer": layer, **note}))
    return {
        "file": f"{name}.ogg",
        "bank": spec.bank,
        "programme": spec.programme,
        "programme_name": players.synth.sfpreset_name(
            players.font(spec.source), spec.bank, spec.programme
        ),
        "velocities": list(spec.velocities),
        "licence": source["licence"],
        "provenance": f"{source['name']} bank {spec.bank} programme {spec.programme} through "
        "FluidSynth, tools/build_soundbank.py",
        "notes": write_notes(folder / f"{name}.ogg", notes),
    }


def build_kit(players: Players, name: str, folder: Path) -> dict[str, object]:
    """Write one drum kit's file and return its entry in the bank's description."""
    _, pieces = KITS[name]
    notes, sources = [], []
    for piece in sorted(pieces):
        audio, source = record_piece(players, piece, pieces[piece])
        level = 2.0 * LEVEL_RMS * 10.0 ** (PIECES_DB[piece] / 20.0)
        audio *= min(level / loudest(audio), 0.95 / np.abs(audio).max())
        notes.append((audio, {"midi": piece, "layer": 0, "decay_db_per_s": 0.0}))
        sources.append(source)
    used = [source for source in SOURCES if source in sources]
    return {
        "file": f"{name}.ogg",
        "bank": 128,
        "velocities": [110],
        "licence": "; ".join(SOURCES[source]["licence"] for source in used),
        "provenance": "drums of "
        + " and ".join(SOURCES[source]["name"] for source in used)
        + ", tools/build_soundbank.py",
        "pieces": {
            str(piece): played if isinstance(played, str) else f"programme {played[1]}, {played[2]}"
            for piece, played in sorted(pieces.items())
        },
        "notes": write_notes(folder / f"{name}.ogg", notes),
    }


def label_of(name: str) -> dict[str, object]:
    """Return what the tables above say of an instrument, apart from its sound."""
    if name in KITS:
        return {"class": "drums", "family": "drums", "kind": "drums", "heard": KITS[name][0]}
    spec = INSTRUMENTS[name]
    low, high = spec.span or (min(spec.keys) - 1, max(spec.keys) + 1)
    return {
        "class": spec.label,
        "family": spec.family,
        "kind": spec.kind,
        "heard": spec.heard,
        "range": [low, high],
    }


def describe_sources() -> dict[str, dict[str, str]]:
    """Return name, licence and, for sound fonts, checksum of everything the bank is made from."""
    described = {}
    for source, entry in SOURCES.items():
        described[source] = {key: entry[key] for key in ("name", "licence")}
        path = Path(entry.get("path", ""))
        if path.is_file():
            described[source]["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    return described


def report(name: str, entry: dict, size: int) -> None:
    """Print what was corrected in an instrument."""
    notes = entry["notes"]

    def extremes(key: str) -> str:
        values = [note[key] for note in notes if key in note] or [0.0]
        return f"{min(values):.2f} to {max(values):.2f}"

    print(
        f"{name:20s} {len(notes):3d} notes {size:7d} bytes  tuning "
        f"{extremes('tuning_removed_cents')}  wobble {extremes('vibrato_removed_cents')}  "
        f"loop {extremes('loop_similarity')}  decay {extremes('decay_db_per_s')}",
        flush=True,
    )


def main() -> None:
    """Build the instruments named, or those missing, and the description of all."""
    folder, names = OUTPUT, [*INSTRUMENTS, *KITS]
    path = folder / "soundbank.json"
    known = json.loads(path.read_text())["instruments"] if path.is_file() else {}
    asked = sys.argv[1:]
    wanted = asked or [n for n in names if n not in known or not (folder / f"{n}.ogg").is_file()]
    players = Players()
    entries = {name: known[name] for name in names if name in known}
    sources = describe_sources()
    for name in wanted or names[:1]:
        if wanted:
            build = build_kit if name in KITS else build_instrument
            entries[name] = build(players, name, folder)
            report(name, entries[name], (folder / f"{name}.ogg").stat().st_size)
        bank = {
            "sample_rate": SAMPLE_RATE,
            "crossfade_s": CROSSFADE_S,
            "sources": sources,
            "instruments": {name: {**entry, **label_of(name)} for name, entry in entries.items()},
        }
        text = json.dumps(bank, indent=None, separators=(",", ":"), sort_keys=True)
        path.write_text(text + "\n")
    total = sum((folder / entry["file"]).stat().st_size for entry in entries.values())
    print(f"{len(entries)} instruments, {total} bytes of sound, {len(text)} of description")


if __name__ == "__main__":
    main()
