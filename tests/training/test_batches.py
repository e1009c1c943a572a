"""From a pair of files to patches: both styles of annotation, splits, padding."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from dl101.data import pyjama
from dl101.data.audiostore import AudioStoreWriter
from dl101.errors import DataError
from dl101.signal.cqt import HcqtConfig
from dl101.targets import PitchAxis
from dl101.training import batches, pitch_tracks
from dl101.units import midi_to_hz

RATE = 22050
CONFIG = HcqtConfig(harmonics=(1.0, 2.0), bins_per_semitone=1, n_octaves=5)


@pytest.fixture
def pair(tmp_path, monkeypatch):
    """Write tones of known pitch: one entry in the style of Bach10, one of MAPS, and a stem."""
    monkeypatch.setenv("DL101_CACHE", str(tmp_path / "cache"))

    def make(names_and_fields):
        entries = []
        with AudioStoreWriter(tmp_path / "a.hdf5") as store:
            for index, (name, midi, fields) in enumerate(names_and_fields):
                time = np.arange(RATE) / RATE
                tone = 0.3 * np.sin(2 * np.pi * midi_to_hz(midi) * time)
                store.append(name, tone.astype(np.float32), RATE)
                entries.append(pyjama.Entry(name, index, fields))
        collection = pyjama.Collection(tuple(entries), {}, 1.31)
        pyjama.write(tmp_path / "a.pyjama", collection)
        return tmp_path / "a.hdf5", tmp_path / "a.pyjama"

    return make


def text(value):
    return (pyjama.Atom(value),)


def curve(midi):
    times = np.arange(100) * 0.01
    values = np.full((2, 100), float(midi))
    values[1] = np.nan
    return (pyjama.Atom(values, times),)


def notes(midi):
    return (pyjama.Atom(float(midi), 0.25, 0.5),)


def test_audio_and_annotations_of_two_exports_are_refused(pair):
    audio, annotations = pair([("a.wav", 57, {"split": text("train"), "f0multi": curve(57)})])
    collection = pyjama.read(annotations)
    pyjama.write(annotations, replace(collection, audio_identity="that of another seed"))
    with pytest.raises(DataError, match="written together"):
        pitch_tracks.load_pitch_tracks(audio, annotations, CONFIG, dataset="bach10", progress=False)


def test_both_styles_give_input_and_target_in_the_same_bin(pair):
    files = pair(
        [
            ("curve.wav", 57, {"split": text("train"), "f0multi": curve(57)}),
            ("notes.wav", 64, {"split": text("test"), "pitchmidi": notes(64)}),
            ("stem.wav", 57, {"role": text("stem"), "f0multi": curve(57)}),
        ]
    )
    tracks = pitch_tracks.load_pitch_tracks(*files, CONFIG, dataset="x", progress=False)
    assert [(t.key, t.side) for t in tracks] == [("curve.wav", "train"), ("notes.wav", "test")]
    axis = PitchAxis.of(CONFIG)
    for track, midi in zip(tracks, (57, 64), strict=True):
        assert track.input.dtype == np.float32
        assert track.input.shape[1:] == track.target.shape == (60, len(track.times_s))
        middle = len(track.times_s) // 2
        bin_of_pitch = np.argmin(np.abs(axis.midi - midi))
        assert track.input[0, :, middle].argmax() == bin_of_pitch
        assert track.target[:, middle].nonzero()[0].tolist() == [bin_of_pitch]
    lit = tracks[1].times_s[tracks[1].target.any(axis=0)]
    assert lit.min() >= 0.25
    assert lit.max() < 0.75
    sounding = ~np.isnan(tracks[1].reference.pitches_midi).all(axis=1)
    assert sounding.sum() == 50  # half a second, every 10 ms


def test_without_a_stated_split_works_stay_together(pair):
    names = [f"MAPS_MUS-piece{i}_{piano}.wav" for i in range(6) for piano in ("A", "B")]
    files = pair([(name, 60, {"pitchmidi": notes(60)}) for name in names])
    tracks = pitch_tracks.load_pitch_tracks(*files, CONFIG, dataset="maps", progress=False)
    sides = {}
    for track in tracks:
        sides.setdefault(track.key.rsplit("_", 1)[0], set()).add(track.side)
    assert all(len(side) == 1 for side in sides.values())
    assert {side for group in sides.values() for side in group} == {"train", "validation", "test"}


def test_audio_at_another_rate_is_converted(pair, tmp_path):
    files = pair([("a.wav", 57, {"f0multi": curve(57), "split": text("test")})])
    double = tmp_path / "double.hdf5"
    with AudioStoreWriter(double) as store:
        time = np.arange(2 * RATE) / (2 * RATE)
        tone = 0.3 * np.sin(2 * np.pi * midi_to_hz(57) * time)
        store.append("a.wav", tone.astype(np.float32), 2 * RATE)
    (ours,) = pitch_tracks.load_pitch_tracks(*files, CONFIG, dataset="x", progress=False)
    (other,) = pitch_tracks.load_pitch_tracks(double, files[1], CONFIG, dataset="x", progress=False)
    middle = len(ours.times_s) // 2
    np.testing.assert_allclose(ours.times_s, other.times_s)
    assert other.input[0, :, middle].argmax() == ours.input[0, :, middle].argmax()


def test_half_stated_splits_and_foreign_annotations_are_refused(pair):
    files = pair(
        [
            ("a.wav", 57, {"f0multi": curve(57), "split": text("test")}),
            ("b.wav", 57, {"f0multi": curve(57)}),
        ]
    )
    with pytest.raises(DataError, match=r"entry b\.wav, field 'split'.*of every entry"):
        pitch_tracks.load_pitch_tracks(*files, CONFIG, dataset="x", progress=False)
    late = (pyjama.Atom(57.0, 9.0, 0.5),)
    files = pair([("a.wav", 57, {"pitchmidi": late, "split": text("test")})])
    with pytest.raises(DataError, match=r"an annotation at 9\.00 s"):
        pitch_tracks.load_pitch_tracks(*files, CONFIG, dataset="x", progress=False)


def test_an_empty_side_is_an_error(pair):
    files = pair([("a.wav", 57, {"f0multi": curve(57), "split": text("test")})])
    tracks = pitch_tracks.load_pitch_tracks(*files, CONFIG, dataset="x", progress=False)
    with pytest.raises(DataError, match="side 'train'"):
        batches.by_side(tracks)


def test_no_annotation_is_an_error(pair):
    files = pair([("a.wav", 60, {"title": text("a")})])
    with pytest.raises(DataError, match="no entry with f0multi or pitchmidi"):
        pitch_tracks.load_pitch_tracks(*files, CONFIG, dataset="x", progress=False)


def make_track(n_frames):
    rng = np.random.default_rng(n_frames)
    return pitch_tracks.PitchTrack(
        "a",
        "train",
        rng.random((2, 5, n_frames), dtype=np.float32),
        rng.integers(0, 2, (5, n_frames), dtype=np.uint8),
        np.arange(n_frames) * 0.02,
        None,
    )


def test_patches_cover_every_frame_once_and_mark_padding():
    track = make_track(21)
    dataset = batches.PatchDataset([track], patch_frames=8, hop_frames=8)
    items = [dataset[i] for i in range(len(dataset))]
    assert [int(item["mask"].sum()) for item in items] == [8, 8, 5]
    real = np.concatenate([i["input"].numpy()[:, :, i["mask"].numpy() > 0] for i in items], axis=2)
    np.testing.assert_array_equal(real, track.input)
    assert items[-1]["input"][:, :, 5:].abs().sum() == 0
    assert items[0]["target"].shape == (1, 5, 8)


def test_batches_are_the_same_for_the_same_seed_and_epoch():
    tracks = {"train": [make_track(64)], "validation": [make_track(16)]}
    orders = []
    for _ in range(2):
        data = batches.PatchData(tracks, patch_frames=8, batch_size=4, seed=5)
        orders.append([batch["input"][0, 0, 0, 0].item() for batch in data.train_dataloader()])
    assert orders[0] == orders[1]
    data = batches.PatchData(tracks, patch_frames=8, batch_size=4, seed=6)
    other = [batch["input"][0, 0, 0, 0].item() for batch in data.train_dataloader()]
    assert other != orders[0]
    assert sorted(other) != other


def test_compression_keeps_zero_and_one():
    np.testing.assert_allclose(pitch_tracks.compress(np.array([0.0, 1.0], np.float32)), [0, 1])


STEADY = pitch_tracks.AugmentationConfig((0.0, 0.0), (-60.0, -60.0), 0.0, 1.0, 0.0)
PEAKS_AND_FLOOR = np.where(np.arange(64) % 8 == 0, 0.1, 0.001).astype(np.float32)


def augmented(magnitude, seed=0, **changes):
    """Return magnitudes (batch, 2, 64, 32) after augmentation."""
    values = np.broadcast_to(magnitude[:, None], (4, 2, 64, 32))
    config = replace(STEADY, **changes)
    compressed = torch.from_numpy(pitch_tracks.compress(values))
    result = pitch_tracks.augment(compressed, config, np.random.default_rng(seed)).numpy()
    return np.expm1(result * np.log1p(pitch_tracks.COMPRESSION)) / pitch_tracks.COMPRESSION


def test_augmentation_that_draws_nothing_changes_nothing():
    unchanged = augmented(PEAKS_AND_FLOOR)
    np.testing.assert_allclose(unchanged[0, 0, :, 0], PEAKS_AND_FLOOR, rtol=1e-4)


def test_augmentation_draws_a_level_for_each_patch():
    levels = 20 * np.log10(augmented(PEAKS_AND_FLOOR, level_db=(-38.0, 6.0))[:, 0, 0, 0] / 0.1)
    assert np.all((levels >= -38) & (levels <= 6))
    assert len(set(levels.round(3))) == 4


def test_added_noise_has_the_distribution_of_rayleigh():
    noise = augmented(np.zeros(64), noise_share=1.0)
    assert np.sqrt(np.mean(noise**2)) == pytest.approx(1e-3, rel=0.03)  # -60 dB
    assert np.mean(noise) == pytest.approx(1e-3 * np.sqrt(np.pi) / 2, rel=0.03)
    assert not augmented(np.zeros(64), noise_share=0.0).any()


def test_expansion_lowers_the_floor_and_keeps_the_peaks():
    after = augmented(PEAKS_AND_FLOOR, expansion=1.6, expansion_share=1.0)[:, 0, :, 0]
    np.testing.assert_allclose(after[:, 0], 0.1, rtol=1e-4)
    power = np.log(after[:, 1] / 0.1) / np.log(0.01)
    assert np.all((power > 1) & (power < 1.6))


def test_augmentation_depends_on_its_generator_alone():
    one, same, other = (augmented(PEAKS_AND_FLOOR, seed, noise_share=0.5) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert np.abs(one - other).max() > 0
