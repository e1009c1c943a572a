"""The experiment on bottlenecks: pictures and their sounds, coders, and how they are scored."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from dl101.chapters.bottlenecks import experiment
from dl101.chapters.bottlenecks.experiment import Coder, NoteCoder, Notes
from dl101.nn.quantize import ResidualVQ
from dl101.signal import cqt
from dl101.units import db_to_amplitude


def test_pictures_are_levels_below_the_loudest_cell() -> None:
    magnitudes = 3.0 * db_to_amplitude(np.array([[0.0, -20.0], [-60.0, -90.0]]))
    np.testing.assert_allclose(experiment.picture(magnitudes), [[6, 4], [0, 0]], atol=1e-6)
    np.testing.assert_allclose(experiment.to_db([[6.0, 4.0], [0.0, -3.0]]), [[0, -20], [-60, -60]])
    assert np.isfinite(experiment.picture(np.zeros((3, 2)))).all()


@pytest.mark.parametrize("midi", [45.0, 60.3, 71.75])
def test_a_sound_has_the_pitch_and_the_picture_it_was_made_from(midi: float) -> None:
    """A tone between two keys comes back within a few cents, its overtone at its level."""
    f0_hz = 440.0 * 2 ** ((midi - 69) / 12)
    time_s = np.arange(27 * 1024) / 22_050
    tone = np.sin(2 * np.pi * f0_hz * time_s) + 0.1 * np.sin(4 * np.pi * f0_hz * time_s)
    values = cqt.cqt(tone.astype(np.float32), experiment.INPUT, sample_rate=22_050).values[0]
    picture = experiment.picture(values)[:, 4:-4]
    audio = experiment.sound(picture, gate_db=30.0)
    assert audio.size == (picture.shape[1] - 1) * 1024 + 1
    spectrum = np.abs(np.fft.rfft(audio * np.hanning(audio.size), 2**19))
    found_hz = spectrum.argmax() * 22_050 / 2**19
    assert abs(1200 * np.log2(found_hz / f0_hz)) < 10
    at = np.rint(np.array([1, 2]) * found_hz * 2**19 / 22_050).astype(int)
    levels = [spectrum[i - 200 : i + 200].max() for i in at]
    assert 20 * np.log10(levels[1] / levels[0]) == pytest.approx(-20, abs=2)
    assert not experiment.sound(np.zeros((96, 5))).any(), "silence is silent"


def made_up(n: int = 24) -> Notes:
    """Notes of one ridge each, at one of four pitches, that fade."""
    rng = np.random.default_rng(0)
    sides, pitches = {}, {}
    for side in ("train", "validation", "test"):
        pitches[side] = rng.choice([30.0, 40.0, 50.0, 60.0], n)
        values = np.zeros((n, experiment.N_BINS, experiment.N_FRAMES), np.float32)
        for item, pitch in zip(values, pitches[side], strict=True):
            item[int(pitch)] = np.linspace(6, 0, experiment.N_FRAMES)
        sides[side] = torch.from_numpy(values)
    return Notes(sides, pitches, {side: ("bass",) * n for side in sides})


@pytest.mark.parametrize("name", experiment.CODERS)
def test_every_coder_trains_and_counts_its_bits(name: str) -> None:
    notes, coder = made_up(), experiment.CODERS[name]
    network = experiment.train_coder(coder, notes, n_steps=3)
    assert not network.training
    scores = experiment.score_coder(network, coder, notes)
    assert all(np.isfinite(score) for score in scores.values())
    expected = {
        "no quantiser": None,
        "VQ 1024": 10.0,
        "VQ 256, gradient": 8.0,
        "RVQ 8 × 64": 48.0,
        "FSQ 8·5·5·5": np.log2(1000),
    }
    if name in expected:
        assert scores.get("bits") == (expected[name] and pytest.approx(expected[name]))
    if "bits" in scores:
        assert 0 <= scores["entropy_bits"] <= scores["bits"] + 1e-9
        assert 0 < scores["used"] <= 1
    if isinstance(network.bottleneck, ResidualVQ):
        assert scores["distortion_db_8"] == pytest.approx(scores["distortion_db"], rel=1e-5)


def test_training_learns_and_the_mean_frame_is_the_best_of_none() -> None:
    notes = made_up()
    none = experiment.mean_frame(notes)["distortion_db"]
    test = notes.pictures["test"]
    mean = notes.pictures["train"].permute(1, 0, 2).flatten(1).mean(dim=1)
    assert none == pytest.approx(10 * float((test - mean[:, None]).square().mean()) ** 0.5)
    coder = Coder(32)
    network = experiment.train_coder(coder, notes, n_steps=150)
    assert experiment.score_coder(network, coder, notes)["distortion_db"] < 0.6 * none


def test_principal_components_are_those_of_scikit_learn() -> None:
    notes = made_up()
    train, test = (experiment.frames_of(notes.pictures[s])[..., 0] for s in ("train", "test"))
    found = PCA(3).fit(train.double().numpy())
    made = found.inverse_transform(found.transform(test.double().numpy()))
    expected = experiment.distortion_db(torch.from_numpy(made), test.double())
    assert experiment.principal_components(notes, 3)["distortion_db"] == pytest.approx(expected)


def test_k_means_without_a_network() -> None:
    notes = made_up()
    few, many = experiment.kmeans(notes, 4), experiment.kmeans(notes, 64)
    assert many["distortion_db"] < few["distortion_db"]
    assert few["bits"] == 2 and few["entropy_bits"] <= 2
    stages = experiment.kmeans(notes, 4, 3)
    lost = [stages[f"distortion_db_{k}"] for k in (1, 2, 3)]
    assert lost[0] == pytest.approx(few["distortion_db"]) and lost == sorted(lost, reverse=True)
    assert stages["bits"] == 6 and stages["distortion_db"] == lost[-1]


def test_distortion_is_in_decibels() -> None:
    x = torch.zeros(2, 3, 4)
    assert experiment.distortion_db(x + 0.5, x) == pytest.approx(5.0)


@pytest.mark.parametrize("name", experiment.NOTE_CODERS)
def test_every_note_coder_trains(name: str) -> None:
    notes, coder = made_up(), experiment.NOTE_CODERS[name]
    history: list[float] = []
    network = experiment.train_note_coder(coder, notes, n_steps=4, history=history)
    assert len(history) == 4 and all(np.isfinite(history))
    scores = experiment.score_note_coder(network, coder, notes)
    assert 0 <= scores["active"] <= 8 and scores["kl_nats"] >= 0
    for parameter in network.parameters():
        assert torch.isfinite(parameter).all()


def test_a_decoder_that_sees_the_past_sees_the_frame_before_and_no_other() -> None:
    torch.manual_seed(0)
    decoder = experiment.NoteDecoder(2, sees_past=True)
    pictures = torch.randn(1, 96, 27).requires_grad_()
    decoder(torch.zeros(1, 2), pictures)[0, :, 10].sum().backward()
    assert torch.nonzero(pictures.grad.abs().sum(dim=(0, 1))).flatten().tolist() == [9]
    blind = experiment.NoteDecoder(2)
    with torch.no_grad():
        assert torch.equal(blind(torch.ones(1, 2), pictures), blind(torch.ones(1, 2)))


def test_swapped_latents_matter_where_latents_are_used() -> None:
    notes = made_up()
    coder = NoteCoder(beta=0.1)
    network = experiment.train_note_coder(coder, notes, n_steps=60)
    scores = experiment.score_note_coder(network, coder, notes)
    assert scores["swapped_db"] > 1.5 * scores["distortion_db"] and scores["active"] >= 1
    collapsed = NoteCoder(beta=1e5)
    network = experiment.train_note_coder(collapsed, notes, n_steps=60)
    scores = experiment.score_note_coder(network, collapsed, notes)
    assert scores["active"] == 0 and scores["kl_nats"] < 0.01
    assert scores["swapped_db"] == pytest.approx(scores["distortion_db"], rel=0.01)


def test_a_run_measures_every_variant_and_leaves_out_what_is_done(monkeypatch) -> None:
    monkeypatch.setattr(experiment, "load", lambda **_: made_up(80))
    for name in ("FRAMES", "WHOLE"):
        comparison = getattr(experiment, name)
        short = replace(comparison, train=partial(comparison.train, n_steps=1))
        monkeypatch.setattr(experiment, name, short)
    every = {*experiment.FRAMES.baselines, *experiment.CODERS}
    done = every | {f"VAE, {name}" for name in experiment.NOTE_CODERS}
    wanted = ["mean frame", "VQ 16", "VAE, sees past"]
    found = list(experiment.run(0, 240, done=done - set(wanted)))
    assert [m.variant for m in found] == wanted
    assert all(m.n_items == 80 and m.n_tracks == 240 for m in found)
    assert found[1].config["codes"] == 16 and found[2].config["sees_past"]
    assert found[2].n_parameters > found[1].n_parameters > 0
