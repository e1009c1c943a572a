"""From several corpora to notes in files, on a very small scale."""

from __future__ import annotations

import hashlib
import math

import numpy as np
import pytest
import soundfile
import torch

from dl101 import cli
from dl101.evaluation import transcription as metrics
from dl101.systems import transcription as system
from dl101.systems import transcription_data
from dl101.training import pitch_tracks, protocol, shipped

pytestmark = pytest.mark.slow

TINY = [
    "data.n_tracks=6",
    "data.patch_frames=32",
    "also={voice: 3, notes: 6, stems: 6}",
    "feature.harmonics=[1, 2]",
    "feature.bins_per_semitone=1",
    "feature.n_octaves=4",
    "feature.f_min_hz=110.0",
    "feature.hop_samples=1024",
    "training.max_epochs=1",
]


@pytest.fixture(scope="module")
def settings():
    return system.load_config(settings=TINY)


@pytest.fixture(scope="module")
def tracks(settings):
    return system.load_tracks(settings, progress=False)


@pytest.mark.parametrize("scale", ["lab", "full"])
def test_both_scales_build(scale):
    with torch.device("meta"):
        built = system.TranscriptionSystem(system.load_config(scale=scale))
        n_frames = 32
        said = built(torch.zeros(1, 6, built.axis.n_bins, n_frames))
    assert said.shape == (1, 2, built.axis.n_bins, n_frames)


def test_other_corpora_train_but_are_not_tested_on(settings, tracks):
    assert {track.corpus for track in tracks["train"]} == {"chorales", "voice", "notes", "stems"}
    assert {track.corpus for track in tracks["test"]} == {"chorales"}


def test_drums_have_no_pitch(tracks):
    drums = [track for track in tracks["train"] if track.corpus == "stems"]
    assert drums
    assert all(track.target.sum() == 0 and track.input.max() > 0 for track in drums)


def test_onsets_lie_in_the_lower_half_of_the_target(settings, tracks):
    track = next(track for track in tracks["train"] if track.corpus == "notes")
    n_bins = settings.feature.n_bins
    onsets_s, _, _ = track.notes
    frames = np.flatnonzero(track.target[n_bins:].any(axis=0))
    assert abs(track.times_s[frames[0]] - onsets_s[0]) < track.times_s[1]
    assert (track.target[n_bins:].sum(axis=0) <= 3).all()


def batch_of(inputs, targets):
    n_frames = inputs.shape[-1]
    return {"input": inputs, "target": targets, "mask": torch.ones(len(inputs), n_frames)}


def test_mixing_adds_sound_and_pitches():
    magnitude = torch.zeros(2, 1, 4, 8)
    magnitude[0, 0, 1], magnitude[1, 0, 3] = 0.1, 0.1
    inputs = torch.as_tensor(pitch_tracks.compress(magnitude.numpy()))
    targets = (magnitude > 0).float()
    batch = batch_of(inputs, targets)
    rng = np.random.default_rng(3)
    while True:  # a permutation of two that changes places
        mixed = transcription_data.mix(batch, 1.0, rng)
        if mixed["target"].sum() > targets.sum():
            break
    assert torch.equal(mixed["target"], targets.amax(0, keepdim=True).expand(2, -1, -1, -1))
    assert (mixed["input"][:, 0, [1, 3]] > 0).all() and (mixed["input"][:, 0, [0, 2]] == 0).all()
    same = transcription_data.mix(batch, 0.0, rng)
    torch.testing.assert_close(same["input"], inputs)
    assert torch.equal(same["target"], targets)


def test_the_colour_follows_the_frequency_and_not_the_channel():
    """A tilt weights a partial alike wherever it stands: at harmonic 2 or an octave higher."""
    config = pitch_tracks.AugmentationConfig(
        level_db=(0, 0), noise_share=0, expansion_share=0, tilt_db=3, bumps_db=4
    )
    frequencies = np.array([1.0, 2.0])[:, None] * 110 * 2 ** np.arange(4)
    inputs = torch.full((5, 2, 4, 3), 0.5)
    made = pitch_tracks.augment(inputs, config, np.random.default_rng(0), frequencies)
    torch.testing.assert_close(made[:, 0, 1:], made[:, 1, :-1])
    assert (made[:, 0, 1:] - made[:, 0, :-1]).abs().max() > 0.01


def test_what_rings_on_falls_as_it_is_told():
    """A sound of one frame, 6 dB softer from then on, loses 2 dB a frame; before it is silence."""
    config = pitch_tracks.AugmentationConfig(
        level_db=(0, 0), noise_share=0, expansion_share=0, tail_share=1, tail_db=(6, 6),
        tail_fall_db=(2, 2),
    )  # fmt: skip
    magnitude = np.zeros((1, 1, 2, 6), dtype=np.float32)
    magnitude[0, 0, 0, 2] = 0.5
    made = pitch_tracks.augment(
        torch.as_tensor(pitch_tracks.compress(magnitude)), config, np.random.default_rng(0)
    )
    found = np.expm1(made[0, 0].numpy() * np.log1p(10_000)) / 10_000
    quiet_db = 6 + 2 * np.arange(1, 4)
    np.testing.assert_allclose(found[0, 3:], 0.5 * 10 ** (-quiet_db / 20), rtol=1e-3)
    np.testing.assert_allclose(found[0, :2], 0, atol=1e-6)
    np.testing.assert_allclose(found[1], 0, atol=1e-6)


def test_inputs_and_targets_are_transposed_alike():
    place = torch.arange(1.0, 7).view(1, 1, 6, 1)
    pitches, onsets = place.expand(8, 1, 6, 3), 10 * place.expand(8, 1, 6, 3)
    batch = batch_of(place.expand(8, 2, 6, 3), torch.cat([pitches, onsets], dim=2))
    moved = transcription_data.transpose(batch, 2, np.random.default_rng(0))
    for item in moved["input"]:
        torch.testing.assert_close(item[0], item[1])
    torch.testing.assert_close(moved["target"][:, :, :6], moved["input"][:, :1])
    torch.testing.assert_close(moved["target"][:, :, 6:], 10 * moved["input"][:, :1])
    rows = {tuple(item[0, :, 0].tolist()) for item in moved["input"]}
    shifts = {tuple(place[0, 0, :, 0].tolist())}
    shifts |= {(0.0,) * k + tuple(float(i) for i in range(1, 7 - k)) for k in (1, 2)}
    shifts |= {tuple(float(i) for i in range(1 + k, 7)) + (0.0,) * k for k in (1, 2)}
    assert rows <= shifts and len(rows) >= 3


def test_gradients_reach_every_parameter(settings, tracks):
    built = system.build(settings)
    batch = next(iter(system.batches(settings, tracks).train_dataloader()))
    built.loss(batch).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in built.parameters())


def test_a_stream_says_what_the_whole_says(settings):
    built = system.build(settings)
    rate = settings.feature.sample_rate
    audio = np.random.default_rng(0).standard_normal(70 * rate + 123).astype(np.float32) / 10
    whole = system.predict(
        built, pitch_tracks.network_input(audio, settings.feature, sample_rate=rate).values
    )
    blocks, said = zip(*system.stream(built, np.array_split(audio, 29)), strict=True)
    np.testing.assert_array_equal(np.concatenate(blocks), audio)
    together = np.concatenate(said, axis=2)
    assert together.shape == whole.shape
    np.testing.assert_allclose(together, whole, atol=1e-5)


def test_trained_scored_and_used(settings, tmp_path, capsys):
    run = protocol.run(system, settings, tmp_path / "run", progress=False)
    assert {"accuracy", "note_f1"} <= set(run.evaluation.mean)
    assert {"threshold", "onset_threshold"} == set(run.evaluation.chosen)
    weights = tmp_path / "mine.safetensors"
    words = ["train", "transcription", "--weights", str(weights), "--set", *TINY]
    assert cli.main(words) == 0
    tuned = tmp_path / "tuned.safetensors"
    slower = ["training.learning_rate=1.0e-9", "mix_share=0"]
    words = ["train", "transcription", "--from", str(weights), "--weights", str(tuned)]
    assert cli.main([*words, "--set", *TINY, *slower]) == 0
    before, after = (shipped.load(path) for path in (weights, tuned))
    pairs = zip(before.system.parameters(), after.system.parameters(), strict=True)
    assert all(torch.allclose(a, b, atol=1e-3) for a, b in pairs)  # float16 in the files
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    assert after.record["config"]["from"] == digest and "from" not in before.record["config"]
    assert f"--from {weights}" in after.record["command"]
    rate = 16000
    sound = 0.3 * np.sin(2 * np.pi * 440 * np.arange(3 * rate) / rate)
    soundfile.write(tmp_path / "a.wav", np.stack([sound, sound], axis=1), rate)
    words = ["transcribe", str(tmp_path / "a.wav"), "--network", str(weights)]
    assert cli.main([*words, "--output", str(tmp_path / "out")]) == 0
    assert {path.suffix for path in (tmp_path / "out").iterdir()} == {".mid", ".csv", ".jams"}


@pytest.mark.parametrize(
    "content", [None, b"no sound at all" * 50, b""], ids=["missing", "text", "empty"]
)
def test_what_cannot_be_read_is_refused(content, tmp_path, capsys):
    path = tmp_path / "a.wav"
    if content is not None:
        path.write_bytes(content)
    assert cli.main(["transcribe", str(path), "--network", "mine.safetensors"]) != 0
    assert "a.wav" in capsys.readouterr().err  # found before a network is looked for


def test_silence_is_refused(settings, tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(22050), 22050)
    with pytest.raises(system.DataError, match="silence"):
        system.listen(
            system.build(settings), tmp_path / "a.wav", threshold=0.5, onset_threshold=0.5
        )


def test_salience_is_scored_beside_it(settings, tracks):
    found = system.baselines(settings, tracks)
    assert found["silence"].mean["accuracy"] == 0
    assert math.isfinite(found["salience"].mean["accuracy"])
    assert metrics.ONSET_TOLERANCE_S == 0.05
