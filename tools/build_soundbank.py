"""Build the sampled sound bank: one OGG Vorbis file per instrument and ``soundbank.json``.

Run by maintainers only, in an environment of its own (``pip install pyfluidsynth soundfile scipy``
and the Debian packages ``libfluidsynth3`` and ``fluid-soundfont-gm``); what it writes is shipped.

Each note is played alone by FluidSynth from FluidR3_GM (MIT licence) at 44.1 kHz, without its
reverb and chorus, and then

1. trimmed to its onset, where it first comes within 20 dB of its level;
2. flattened in pitch: the fundamental is followed by heterodyning the lowest harmonics, and the
   recording is resampled along that curve, so that it sounds its nominal pitch throughout and the
   renderer alone decides on tuning and vibrato (ensembles, struck strings: one constant shift);
3. freed from its decay: multiplied by a growing exponential (``decay_db_per_s`` keeps the rate), so
   that a struck or plucked note can be looped as well; the renderer puts the decay back;
4. given a loop ``[loop_start, loop_stop)`` whose ends look most alike over the crossfade;
5. brought to one level and down to 22 050 Hz.

Usage: ``python tools/build_soundbank.py [SOUNDFONT] [OUTPUT_FOLDER]``
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

import fluidsynth
import numpy as np
import scipy.ndimage
import scipy.signal
import soundfile

SAMPLE_RATE = 22050
OVERSAMPLING = 2  # FluidSynth plays at 44.1 kHz
LEVEL_RMS = 0.08
STEP_SEMITONES = 3
GAP_S = 0.06  # silence between notes in a file
CROSSFADE_S = 0.05
SOUNDFONT = Path("/usr/share/sounds/sf2/FluidR3_GM.sf2")
OUTPUT = Path(__file__).parents[1] / "dl101/data/embedded/assets"
LICENCE = "MIT (Fluid R3 GM, copyright 2000-2002, 2008 Frank Wen; 2008 Toby Smithe)"

# name: programme, family, kind, lowest and highest MIDI note, seconds kept, velocities, heard.
# kind: "solo" has one measurable fundamental, "ensemble" has several, "struck" decays.
INSTRUMENTS = {
    "piano": (0, "keyboard", "struck", 33, 87, 2.2, (100,), "training"),
    "harpsichord": (6, "keyboard", "struck", 33, 87, 1.9, (100,), "training"),
    "church-organ": (19, "organ", "ensemble", 33, 87, 2.0, (100,), "training"),
    "reed-organ": (20, "organ", "solo", 33, 87, 1.7, (100,), "training"),
    "nylon-guitar": (24, "plucked", "struck", 39, 81, 1.9, (100,), "training"),
    "violin": (40, "bowed", "solo", 54, 87, 1.9, (100,), "training"),
    "cello": (42, "bowed", "solo", 33, 72, 1.9, (100,), "training"),
    "string-section": (48, "bowed", "ensemble", 33, 87, 2.4, (100,), "training"),
    "choir-aah": (52, "voice", "ensemble", 39, 81, 2.4, (100,), "test"),
    "trumpet": (56, "brass", "solo", 51, 84, 1.7, (40, 115), "training"),
    "trombone": (57, "brass", "solo", 33, 72, 1.7, (40, 115), "training"),
    "french-horn": (60, "brass", "solo", 36, 78, 1.7, (40, 115), "training"),
    "oboe": (68, "reed", "solo", 57, 87, 1.7, (100,), "training"),
    "bassoon": (70, "reed", "solo", 33, 72, 1.7, (100,), "training"),
    "clarinet": (71, "reed", "solo", 48, 87, 1.7, (100,), "training"),
    "flute": (73, "flute", "solo", 57, 87, 1.7, (100,), "training"),
    "electric-piano": (4, "keyboard", "struck", 33, 87, 1.9, (100,), "test"),
    "accordion": (21, "organ", "ensemble", 39, 87, 2.2, (100,), "test"),
    "harp": (46, "plucked", "struck", 33, 87, 1.9, (100,), "test"),
    "viola": (41, "bowed", "solo", 48, 81, 1.9, (100,), "test"),
    "choir-ooh": (53, "voice", "ensemble", 42, 81, 2.4, (100,), "training"),
    "muted-trumpet": (59, "brass", "solo", 51, 84, 1.7, (100,), "test"),
    "tuba": (58, "brass", "solo", 33, 63, 1.7, (100,), "test"),
    "tenor-saxophone": (66, "reed", "solo", 42, 78, 1.7, (100,), "test"),
    "recorder": (74, "flute", "solo", 57, 87, 1.7, (100,), "test"),
}


def midi_to_hz(midi: float) -> float:
    """Return the frequency of a MIDI note (the tools do not import the package)."""
    return 440.0 * 2.0 ** ((midi - 69.0) / 12.0)


def play(synth: fluidsynth.Synth, font: int, program: int, midi: int, velocity: int) -> np.ndarray:
    """Return 5 s of one held note, mono, at 44.1 kHz."""
    rate = SAMPLE_RATE * OVERSAMPLING
    synth.system_reset()
    synth.program_select(0, font, 0, program)
    synth.get_samples(rate // 4)  # let the reset settle
    synth.noteon(0, midi, velocity)
    stereo = synth.get_samples(rate * 5).reshape(-1, 2).astype(np.float64) / 32768.0
    synth.noteoff(0, midi)
    synth.get_samples(rate)
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


def follow_pitch(audio: np.ndarray, rate: int, nominal_hz: float, kind: str) -> np.ndarray:
    """Return the deviation from the nominal pitch in cents, sample by sample.

    Each of the lowest harmonics is shifted to 0 Hz and low-passed; the speed at which its phase
    turns, weighted by its power, is the deviation.
    """
    time_s = np.arange(audio.size) / rate
    cutoff_hz = min(16.0 if kind == "solo" else 2.0, 0.2 * nominal_hz)  # vibrato is slower
    # Wide enough for a vibrato seen at the sixth harmonic.
    lowpass = scipy.signal.butter(2, min(0.35 * nominal_hz, 300.0), fs=rate, output="sos")
    smooth = scipy.signal.butter(2, cutoff_hz, fs=rate, output="sos")
    turning, weights = np.zeros(audio.size - 1), np.zeros(audio.size - 1)
    highest = 4 if kind == "struck" else 6  # stiff strings: upper partials are sharp
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


def prepare(
    audio: np.ndarray, midi: int, kind: str, keep_s: float
) -> tuple[np.ndarray, dict[str, float]]:
    """Turn a played note into a bank note at 22 050 Hz and its description."""
    rate = SAMPLE_RATE * OVERSAMPLING
    audio = trim_onset(audio, rate)
    cents = follow_pitch(audio, rate, midi_to_hz(midi), kind)
    steady_cents = float(np.median(cents[int(0.15 * rate) : int(2.0 * rate)]))
    audio = flatten_pitch(audio, cents)
    audio = scipy.signal.resample_poly(audio, 1, OVERSAMPLING, window=("kaiser", 9.0))
    decay_db_per_s = 0.0
    if kind == "struck":
        # Low strings ring longer than high ones: keep what is above the noise.
        loudness = 20.0 * np.log10(envelope(audio, SAMPLE_RATE, 0.05))
        faded = np.flatnonzero(loudness > loudness.max() - 40.0)[-1] / SAMPLE_RATE
        keep_s = float(np.clip(faded, 0.9, keep_s))
        audio, decay_db_per_s = remove_decay(audio, SAMPLE_RATE, keep_s)
    audio = audio[: int(keep_s * SAMPLE_RATE)]
    # Level is measured with the decay in place, over the first second.
    heard = audio * 10.0 ** (-decay_db_per_s * np.arange(audio.size) / SAMPLE_RATE / 20.0)
    window = slice(int(0.02 * SAMPLE_RATE), int(0.6 * SAMPLE_RATE))
    audio = audio * (LEVEL_RMS / np.sqrt(np.mean(heard[window] ** 2)))
    audio *= min(1.0, 0.95 / np.abs(audio).max())
    start, stop, similarity = find_loop(audio, SAMPLE_RATE, kind)
    return audio, {
        "tuning_removed_cents": round(steady_cents, 2),
        "vibrato_removed_cents": round(float(np.std(cents[4410:88200])), 2),
        "decay_db_per_s": round(decay_db_per_s, 3),
        "loop_start": start,
        "loop_stop": stop,
        "loop_similarity": round(similarity, 4),
    }


def build_instrument(
    synth: fluidsynth.Synth, font: int, name: str, folder: Path
) -> dict[str, object]:
    """Write one instrument's file and return its entry in the bank's description."""
    program, family, kind, low, high, keep_s, velocities, heard = INSTRUMENTS[name]
    pieces, notes, position = [], [], 0
    gap = np.zeros(int(GAP_S * SAMPLE_RATE))
    for layer, velocity in enumerate(velocities):
        for midi in range(low, high + 1, STEP_SEMITONES):
            audio, note = prepare(play(synth, font, program, midi, velocity), midi, kind, keep_s)
            notes.append(
                {"midi": midi, "layer": layer, "start": position, "length": audio.size, **note}
            )
            pieces += [audio, gap]
            position += audio.size + gap.size
    path = folder / f"{name}.ogg"
    whole = np.concatenate(pieces).astype(np.float32)
    with soundfile.SoundFile(
        path, "w", SAMPLE_RATE, 1, format="OGG", subtype="VORBIS", compression_level=0.6
    ) as file:
        for begin in range(0, whole.size, 65536):  # libsndfile overflows on one long write
            file.write(whole[begin : begin + 65536])
    return {
        "file": path.name,
        "programme": program,
        "programme_name": synth.sfpreset_name(font, 0, program),
        "family": family,
        "kind": kind,
        "heard": heard,
        "velocities": list(velocities),
        "licence": LICENCE,
        "provenance": f"FluidR3_GM.sf2 bank 0 programme {program} through FluidSynth, "
        "tools/build_soundbank.py",
        "notes": notes,
    }


def main() -> None:
    """Build every instrument and the description; print sizes and what was corrected."""
    soundfont = Path(sys.argv[1]) if len(sys.argv) > 1 else SOUNDFONT
    folder = Path(sys.argv[2]) if len(sys.argv) > 2 else OUTPUT
    folder.mkdir(parents=True, exist_ok=True)
    synth = fluidsynth.Synth(gain=0.5, samplerate=SAMPLE_RATE * OVERSAMPLING)
    synth.setting("synth.reverb.active", 0)
    synth.setting("synth.chorus.active", 0)
    font = synth.sfload(str(soundfont))
    bank = {
        "sample_rate": SAMPLE_RATE,
        "crossfade_s": CROSSFADE_S,
        "soundfont": {
            "name": soundfont.name,
            "sha256": hashlib.sha256(soundfont.read_bytes()).hexdigest(),
            "licence": LICENCE,
        },
        "instruments": {},
    }
    total = 0
    for name in INSTRUMENTS:
        entry = build_instrument(synth, font, name, folder)
        bank["instruments"][name] = entry
        size = (folder / entry["file"]).stat().st_size
        total += size
        tuning = [note["tuning_removed_cents"] for note in entry["notes"]]
        wobble = [note["vibrato_removed_cents"] for note in entry["notes"]]
        similar = [note["loop_similarity"] for note in entry["notes"]]
        decay = [note["decay_db_per_s"] for note in entry["notes"]]
        print(
            f"{name:16s} {len(tuning):3d} notes {size:8d} bytes  tuning {min(tuning):6.1f} to "
            f"{max(tuning):6.1f}  wobble {max(wobble):5.1f}  loop {min(similar):.3f}"
            f"  decay {min(decay):.1f} to {max(decay):.1f}",
            flush=True,
        )
    text = json.dumps(bank, indent=None, separators=(",", ":"), sort_keys=True)
    (folder / "soundbank.json").write_text(text + "\n")
    print(f"{total} bytes of sound, {len(text)} of description")


if __name__ == "__main__":
    main()
