"""The sound bank: small, licensed, in tune, even, and heard on one side of the split only."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest
import scipy.signal

from dl101.data.embedded import soundbank
from dl101.data.embedded.renderer import SAMPLE_RATE, Notes, Player, render_voice
from dl101.data.embedded.scores import ASSETS
from dl101.errors import DataError
from dl101.units import midi_to_hz

NAMES = soundbank.instrument_names()
KITS = soundbank.instrument_names(instrument_class="drums")
FIRST_EDITION = (
    "accordion bassoon cello choir-aah choir-ooh church-organ clarinet electric-piano flute "
    "french-horn harp harpsichord muted-trumpet nylon-guitar oboe piano recorder reed-organ "
    "string-section tenor-saxophone trombone trumpet tuba viola violin"
).split()
PIECES = (36, 37, 38, 39, 42, 44, 45, 46, 47, 48, 49, 51, 54, 56, 63, 64, 70)
PAIRED = (
    "accordion acoustic-guitar bass cello distorted-guitar drums electric-guitar electric-piano "
    "flute mallets oboe organ pad piano pizzicato saxophone strings synth trumpet violin voice"
).split()


def play(name, midi, duration_s, *, n_s=None, velocity=0.8):
    values = [np.array([value]) for value in (0.0, duration_s, int(midi), velocity, 0.0, 0.0)]
    return render_voice(Notes(*values), Player(name), int((n_s or duration_s) * SAMPLE_RATE))


def cents_of_repetition(sound, nominal_hz):
    """How far the lag (near 20 ms) after which a sound repeats best is from the nominal one."""
    n_periods = max(1, round(0.02 * nominal_hz))
    period = SAMPLE_RATE / nominal_hz
    spectrum = np.abs(np.fft.rfft(sound, 2 * sound.size)) ** 2
    alike = np.fft.irfft(spectrum)[: sound.size] / (sound.size - np.arange(sound.size))
    first = int((n_periods - 0.25) * period)
    near = alike[first : int((n_periods + 0.25) * period) + 2]
    best = int(np.clip(np.argmax(near), 1, near.size - 2))
    left, top, right = near[best - 1 : best + 2]
    lag = first + best + 0.5 * (left - right) / (left - 2 * top + right)
    return 1200 * np.log2(n_periods * period / lag)


def cents_of_peak(sound, nominal_hz):
    """How far the strongest partial near the nominal pitch is from it."""
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(sound.size), 1 << 20))
    first, last = (int(ratio * nominal_hz * (1 << 20) / SAMPLE_RATE) for ratio in (0.95, 1.05))
    peak_hz = (first + np.argmax(spectrum[first:last])) * SAMPLE_RATE / (1 << 20)
    return 1200 * np.log2(peak_hz / nominal_hz)


def level_db(sound):
    return 10 * np.log10(np.mean(np.square(sound, dtype=np.float64)) + 1e-12)


# ------------------------------------------------------------------------- what is in the bank


def test_scores_and_bank_stay_within_12_and_a_half_megabytes():
    assert sum(path.stat().st_size for path in ASSETS.iterdir()) < 12_500_000


def test_the_first_25_instruments_are_byte_for_byte_what_they_were():
    """Published results were made with them."""
    digest = hashlib.sha256()
    entries = soundbank.describe_bank()["instruments"]
    for name in FIRST_EDITION:
        digest.update((ASSETS / f"{name}.ogg").read_bytes())
        kept = [entries[name][field] for field in ("heard", "kind", "family", "notes")]
        digest.update(json.dumps(kept, sort_keys=True).encode())
    assert digest.hexdigest() == "e882deb253b3afca0d940fe753758b38fb4a4f0d188755443f289742f8acba52"


@pytest.mark.parametrize("name", [name for name in NAMES if name not in KITS])
def test_no_note_stands_on_a_constant_offset(name):
    """An offset is not heard, but it thumps at onsets and counts in every level."""
    for note in soundbank.load_instrument(name).notes:
        level = np.sqrt(np.mean(np.square(note.recorded, dtype=np.float64)))
        assert abs(note.recorded.mean(dtype=np.float64)) < 0.2 * level


def test_most_classes_are_heard_on_both_sides_from_different_sources():
    training, test = soundbank.instrument_names("training"), soundbank.instrument_names("test")
    assert not set(training) & set(test)
    assert set(training) | set(test) == set(NAMES)
    for label in PAIRED:
        for side in ("training", "test"):
            assert soundbank.instrument_names(side, instrument_class=label), (label, side)
    entries = soundbank.describe_bank()["instruments"]
    keys: dict[tuple, dict[str, set]] = {}
    for name in set(NAMES) - set(KITS):
        entry = entries[name]
        origin = (entry["provenance"], entry["programme"])
        sides = keys.setdefault(origin, {"training": set(), "test": set()})
        sides[entry["heard"]] |= {note["midi"] for note in entry["notes"]}
    shared = {programme for (_, programme), sides in keys.items() if all(sides.values())}
    assert shared == {25}  # the steel guitar: other keys, whose strings were recorded separately
    assert all(not sides["training"] & sides["test"] for sides in keys.values())


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("acoustic-bass", "fretless-bass"),
        ("cello", "other-cello"),
        ("clean-guitar", "jazz-guitar"),
        ("muted-guitar", "jazz-guitar"),
        ("overdriven-guitar", "distorted-guitar"),
        ("piano", "grand-piano"),
        ("string-section", "orchestra-strings"),
        ("kit-power", "kit-studio"),
        ("kit-electronic", "kit-machine"),
        ("kit-standard", "kit-studio"),
    ],
)
def test_training_and_test_instruments_are_different_recordings(one, other):
    """A recording that was copied, shifted or made louder would correlate with itself."""
    first, second = (
        {note.midi: note.samples[: int(0.5 * 44100)] for note in soundbank.load_instrument(n).notes}
        for n in (one, other)
    )
    common = [midi for midi in first.keys() & second.keys() if midi <= 72]
    assert common
    for midi in common:
        # Low notes above their lowest partials: two sines always correlate.
        highpass = scipy.signal.butter(4, 500.0, "highpass", fs=44100, output="sos")
        sounds = [scipy.signal.sosfilt(highpass, notes[midi]) for notes in (first, second)]
        match = np.abs(scipy.signal.correlate(*sounds, method="fft")).max()
        power = np.sqrt(np.prod([sound @ sound for sound in sounds]))
        assert match < 0.8 * power, midi


def test_instruments_are_found_by_side_class_and_family():
    assert len(NAMES) == len(set(NAMES)) == 86
    assert tuple(sorted(NAMES)) == NAMES
    assert soundbank.instrument_names("test", instrument_class="piano") == ("grand-piano",)
    assert soundbank.instrument_names("training", instrument_class="bass") == (
        "acoustic-bass",
        "finger-bass",
        "picked-bass",
        "slap-bass",
        "synth-bass",
    )
    assert "clarinet" in soundbank.instrument_names(family="reed")
    assert soundbank.instrument_names(instrument_class="kazoo") == ()
    assert soundbank.instrument_class("muted-trumpet") == "trumpet"
    assert soundbank.instrument_kind("kit-jazz") == soundbank.instrument_family("kit-jazz")
    assert soundbank.instrument_range("steel-guitar") == (39, 83)
    for name in set(NAMES) - set(KITS):
        low, high = soundbank.instrument_range(name)
        midi = [note["midi"] for note in soundbank.describe_bank()["instruments"][name]["notes"]]
        assert max(abs(pitch - np.array(midi)).min() for pitch in range(low, high + 1)) <= 5, name


def test_licence_and_origin_are_stated_for_every_file():
    bank = soundbank.describe_bank()
    entries, sources = bank["instruments"], bank["sources"].values()
    assert {entry["file"] for entry in entries.values()} == {p.name for p in ASSETS.glob("*.ogg")}
    for entry in entries.values():
        used = [source for source in sources if source["name"] in entry["provenance"]]
        assert used
        for source in used:
            if source["name"] != "tools/build_soundbank.py":
                assert source["licence"] in entry["licence"]
        assert entry["licence"].startswith(("MIT", "CC0"))
    for name, author in [
        ("FluidR3", "Frank Wen"),
        ("MuseScore-General", "S. Christian Collins"),
        ("sonic-pi-samples", "menegass"),
    ]:
        assert author in (ASSETS / f"LICENSE-{name}.txt").read_text()


# --------------------------------------------------------------------------- how it sounds


@pytest.mark.parametrize("name", NAMES)
def test_notes_close_without_a_step_or_end_in_silence(name):
    entries = soundbank.describe_bank()["instruments"][name]["notes"]
    for note, entry in zip(soundbank.load_instrument(name).notes, entries, strict=True):
        assert np.isfinite(note.samples).all()
        if "loop_start" not in entry:
            assert not note.samples[note.loop_start :].any()
            ending = note.samples[note.loop_start - 441 : note.loop_start]
            assert np.abs(ending).max() < 0.02 * np.abs(note.samples).max(), note.midi
            continue
        assert note.loop_stop - note.loop_start > 0.3 * 44100
        # What follows the loop's last sample is the loop's first: the jump there is an ordinary
        # difference between neighbouring samples.
        before, after = note.samples[note.loop_stop - 1], note.samples[note.loop_start]
        ordinary = np.abs(np.diff(note.samples[note.loop_start : note.loop_stop])).max()
        assert abs(after - before) <= 1.05 * ordinary, note.midi


@pytest.mark.parametrize("name", [name for name in NAMES if name not in KITS])
def test_notes_are_at_one_level_and_start_at_once(name):
    for note in soundbank.load_instrument(name).notes:
        power = np.mean(note.samples[int(0.02 * 44100) : int(0.6 * 44100)] ** 2)
        assert -40 < 10 * np.log10(power) < -10, note.midi
        early = np.abs(note.samples[: int(0.03 * 44100)]).max()
        assert early > 0.05 * np.abs(note.samples[: int(0.3 * 44100)]).max(), note.midi


@pytest.mark.parametrize(
    "name", ["alto-saxophone", "harmonica", "other-cello", "square-lead", "piccolo", "solo-voice"]
)
def test_sustained_instruments_are_in_tune_throughout(name):
    low, high = soundbank.instrument_range(name)
    for midi in (low, (low + high) // 2, high):
        sound = play(name, midi, 3.0)
        for begin in (0.15, 1.2, 2.2):  # the last two are looped
            part = sound[int(begin * SAMPLE_RATE) :][: int(0.7 * SAMPLE_RATE)]
            assert abs(cents_of_repetition(part, midi_to_hz(midi))) < 3, (midi, begin)


@pytest.mark.parametrize(
    ("name", "begin_s", "end_s", "measure"),
    [
        ("finger-bass", 0.12, 0.8, cents_of_peak),
        ("fretless-bass", 0.12, 0.8, cents_of_peak),
        ("synth-bass", 0.12, 0.8, cents_of_peak),
        ("steel-guitar", 0.12, 0.8, cents_of_repetition),
        ("twelve-string-guitar", 0.12, 0.8, cents_of_repetition),
        ("muted-guitar", 0.03, 0.28, cents_of_repetition),
        ("orchestra-pizzicato", 0.03, 0.28, cents_of_repetition),
        ("drawbar-organ", 0.12, 0.8, cents_of_repetition),
        ("vibraphone", 0.12, 0.8, cents_of_peak),
        ("xylophone", 0.03, 0.28, cents_of_peak),
        ("glockenspiel", 0.12, 0.8, cents_of_peak),
    ],
)
def test_plucked_and_struck_instruments_are_in_tune(name, begin_s, end_s, measure):
    low, high = soundbank.instrument_range(name)
    for midi in (low + 1, (low + high) // 2, high):
        sound = play(name, midi, 1.0)[int(begin_s * SAMPLE_RATE) : int(end_s * SAMPLE_RATE)]
        assert abs(measure(sound, midi_to_hz(midi))) < 8, midi


@pytest.mark.parametrize("name", ["warm-pad", "violins", "rock-organ", "brass-section", "saw-lead"])
def test_a_loop_keeps_its_loudness(name):
    for note in soundbank.load_instrument(name).notes[::3]:
        once = note.samples[: note.loop_stop]
        again = np.concatenate([once, once[note.loop_start :]])
        around = again[note.loop_stop - 8820 : note.loop_stop + 8820]
        frames = [level_db(part) for part in np.split(around, 8)]
        levels = [level_db(part) for part in np.array_split(once[note.loop_start :], 10)]
        assert min(levels) - 3 < min(frames), note.midi
        assert max(frames) < max(levels) + 3, note.midi


def test_the_nearest_note_is_taken_from_the_layer_of_the_velocity():
    trumpet = soundbank.load_instrument("trumpet")
    assert trumpet.nearest(64, 0.9).midi == 63
    assert trumpet.nearest(65, 0.9).midi == 66
    assert (trumpet.nearest(64, 0.2).layer, trumpet.nearest(64, 0.9).layer) == (0, 1)


def test_a_harder_stroke_is_brighter():
    """The jazz guitar has two layers."""
    centroid_hz = []
    for velocity in (0.2, 0.9):
        power = np.abs(np.fft.rfft(play("jazz-guitar", 64, 0.5, velocity=velocity))) ** 2
        centroid_hz.append(np.sum(power * np.arange(power.size)) / power.sum() * 2.0)
    assert centroid_hz[1] > 1.3 * centroid_hz[0]


def test_an_unknown_instrument_is_named_in_the_error():
    with pytest.raises(DataError, match=r"kazoo.*expected one of accordion"):
        soundbank.load_instrument("kazoo")


# ------------------------------------------------------------------------------------- drums


@pytest.mark.parametrize("name", KITS)
def test_every_kit_has_every_piece_and_says_when_it_has_not(name):
    kit = soundbank.load_instrument(name)
    assert tuple(note.midi for note in kit.notes) == PIECES
    assert all(kit.nearest(piece, 0.5).midi == piece for piece in PIECES)
    with pytest.raises(DataError, match=r"'" + name + r"'.*got 50.*one of 36, 37"):
        kit.nearest(50, 0.5)


@pytest.mark.parametrize("name", KITS)
def test_a_drum_rings_out_and_then_is_silent(name):
    for piece in (36, 38, 42, 49, 70):
        length_s = soundbank.load_instrument(name).nearest(piece, 0.8).loop_start / 44100
        short = play(name, piece, 0.02, n_s=3.0)
        assert np.array_equal(short, play(name, piece, 1.0, n_s=3.0))
        assert level_db(short[: int(0.1 * SAMPLE_RATE)]) > -40, piece
        assert not short[int(length_s * SAMPLE_RATE) + 2 :].any(), piece
        thirds = [level_db(part) for part in np.array_split(short[: int(length_s * 22050)], 3)]
        assert thirds[0] > thirds[2] + 6, piece


@pytest.mark.parametrize("name", KITS)
def test_the_pieces_of_a_kit_are_balanced_and_differ_in_register(name):
    def sounding(piece):
        return play(name, piece, 0.4)

    def centroid_hz(piece):
        power = np.abs(np.fft.rfft(sounding(piece))) ** 2
        return np.sum(power * np.arange(power.size)) / power.sum() / 0.4

    assert centroid_hz(36) < 500 < 3000 < centroid_hz(42)
    assert centroid_hz(36) < centroid_hz(38) < centroid_hz(42)
    loudest = {piece: np.abs(sounding(piece)).max() for piece in PIECES}
    assert all(0.05 < peak < 1.0 for peak in loudest.values()), loudest
