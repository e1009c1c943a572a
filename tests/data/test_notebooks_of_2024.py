"""What the notebooks of the 2024 tutorial make of an exported corpus.

Their readers, written anew from what they do: JSON and HDF5 as they come, fields looked up in every
entry, and no question asked. Of each it is said where it goes wrong by itself.
"""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest

from dl101 import targets, units
from dl101.data import harte
from dl101.data.embedded import export
from dl101.data.embedded.corpora import chorales, genres, tags
from dl101.signal.cqt import HcqtConfig

pytestmark = pytest.mark.slow

HCQT = HcqtConfig()
AXIS = targets.PitchAxis.of(HCQT)
PATCH_FRAMES, PATCH_HOP = 64, 32


def exported(name: str, folder: Path, n_tracks: int, **options) -> tuple[list[dict], h5py.File]:
    """Return the entries of a corpus as JSON has them, and the open HDF5 file."""
    files = export.export_corpus(name, folder, n_tracks=n_tracks, progress=False, **options)
    document = json.loads(files.annotations.read_text(encoding="utf-8"))
    return document["collection"]["entry"], h5py.File(files.audio, "r")


def sound(file: h5py.File, entry: dict, hop_samples: int) -> np.ndarray:
    """Return the times of the frames of a track, as librosa centres them."""
    array = file[entry["filepath"][0]["value"]]
    assert array.ndim == 1
    n_frames = 1 + len(array) // hop_samples
    return np.arange(n_frames) * hop_samples / int(array.attrs["sr_hz"])


def n_patches(n_frames: int) -> int:
    """Return how many patches are cut: none at all from a track shorter than one."""
    return max(int(np.floor((n_frames - PATCH_FRAMES) / PATCH_HOP + 1)), 0)


def nearest(values: np.ndarray, wanted: float) -> int:
    return int(np.argmin(np.abs(values - wanted)))


def hertz(midi: float) -> float:
    return 440 * 2 ** ((midi - 69) / 12)


def target_of_curves(times_s: np.ndarray, atoms: list[dict]) -> np.ndarray:
    """Light, for each voice and frame, the bin nearest in hertz: silence, at 8 Hz, lights bin 0."""
    lit = np.zeros((AXIS.n_bins, len(times_s)))
    annotated, curves = np.asarray(atoms[0]["time"]), np.asarray(atoms[0]["value"])
    for curve in curves:
        for frame, time_s in enumerate(times_s):
            pitch_hz = hertz(curve[nearest(annotated, time_s)])
            lit[nearest(AXIS.frequencies_hz, pitch_hz), frame] = 1
    return lit


def target_of_notes(times_s: np.ndarray, atoms: list[dict]) -> np.ndarray:
    """Light a note from the frame nearest to its onset up to the one nearest to its end."""
    lit = np.zeros((AXIS.n_bins, len(times_s)))
    for note in atoms:
        first = nearest(times_s, note["time"])
        last = nearest(times_s, note["time"] + note["duration"])
        lit[nearest(AXIS.frequencies_hz, hertz(note["value"])), first:last] = 1
    return lit


def test_the_chorales_are_read_voice_by_voice(tmp_path: Path) -> None:
    entries, file = exported("chorales", tmp_path, 3)
    with file:
        mixtures = [entry for entry in entries if len(entry["f0multi"])]
        assert [entry["role"][0]["value"] for entry in mixtures] == ["mixture"] * 3
        assert all(len(entry["f0"]) for entry in entries if entry not in mixtures)
        silent = 0
        for entry in mixtures:
            times_s = sound(file, entry, HCQT.hop_samples)[:300]
            (atom,) = entry["f0multi"]
            found = target_of_curves(times_s, entry["f0multi"])
            ours = targets.from_f0(atom["value"], atom["time"], AXIS, times_s)
            assert n_patches(len(times_s)) > 0
            # No instrument plays as low as the bin that silence lights.
            assert units.hz_to_midi(AXIS.f_min_hz) + 1 < chorales.LOWEST_MIDI and not ours[0].any()
            for frame in range(len(times_s)):
                lit, expected = np.flatnonzero(found[1:, frame]), np.flatnonzero(ours[1:, frame])
                # Nearest in hertz and nearest in pitch differ by a bin in the middle of two.
                assert len(lit) == len(expected) and np.abs(lit - expected).max(initial=0) <= 1
            silent += found[0].sum()
        assert silent > 0


@pytest.mark.parametrize("name", ["chorales", "piano"])
def test_notes_are_read_as_segments(tmp_path: Path, name: str) -> None:
    entries, file = exported(name, tmp_path, 3, stems=False)
    with file:
        for entry in entries:
            times_s = sound(file, entry, HCQT.hop_samples)
            found = target_of_notes(times_s, entry["pitchmidi"])
            notes = [[note[key] for note in entry["pitchmidi"]] for key in ("time", "duration")]
            pitches = [note["value"] for note in entry["pitchmidi"]]
            ours = targets.from_notes(*notes, pitches, AXIS, times_s)
            assert set(np.flatnonzero(found.any(axis=1))) <= set(np.flatnonzero(ours.any(axis=1)))
            assert not found[0].any() and np.mean(found != ours) < 0.001


@pytest.mark.parametrize(("name", "field"), [("genres", "genre"), ("tags", "tag")])
def test_labels_of_whole_tracks_are_read(tmp_path: Path, name: str, field: str) -> None:
    entries, file = exported(name, tmp_path, 10)
    with file:
        known = sorted({atom["value"] for entry in entries for atom in entry[field]})
        assert set(known) <= set(genres.GENRES if name == "genres" else tags.TAGS)
        for entry in entries:
            first = known.index(entry[field][0]["value"])  # the class, if there is to be one
            several = np.zeros(len(known))
            several[[known.index(atom["value"]) for atom in entry[field]]] = 1
            assert several[first] and several.sum() == len(entry[field])
            assert n_patches(len(sound(file, entry, 1024))) > 0


def test_chords_are_read_frame_by_frame_but_for_the_first(tmp_path: Path) -> None:
    entries, file = exported("chords", tmp_path, 4)
    with file:
        for entry in entries:
            known = sorted({harte.to_class(atom["value"]) for atom in entry["chord"]})
            times_s = sound(file, entry, 1024)
            classes = np.full(len(times_s), -1)
            for atom in entry["chord"]:
                inside = (atom["time"] < times_s) & (times_s <= atom["time"] + atom["duration"])
                classes[inside] = known.index(harte.to_class(atom["value"]))
            # They begin after their onset, so that time 0 has none, and end with the track.
            assert classes[0] == -1 and (classes[1:-1] >= 0).all()
            assert n_patches(len(times_s)) > 0


def test_covers_are_found_by_the_name_of_the_performance(tmp_path: Path) -> None:
    """They expect (frames, 12) and turn it; here it is (12, frames), which needs no turning."""
    entries, file = exported("covers", tmp_path, 40)
    with file:
        names = [entry["performance-id"][0]["value"] for entry in entries]
        assert len(set(names)) == len(names) == 80
        works: dict[str, list[str]] = {}
        for entry, name in zip(entries, names, strict=True):
            works.setdefault(entry["work-id"][0]["value"], []).append(name)
            values = file["/" + str(name) + "/"][:]
            assert values.shape[0] == 12 and values.shape[1] < 1800  # they fill up to 1800 frames
        assert max(map(len, works.values())) >= 4
