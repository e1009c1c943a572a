"""Looking inside: what is planted is where it is said to be; probes find what is there."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dl101.chapters.looking_inside import experiment, planted, probing
from dl101.training import shipped
from dl101.units import amplitude_to_db


@pytest.fixture(scope="module")
def song() -> planted.Planted:
    return next(planted.songs(shipped.load("auto_tagging").system, 1))


@pytest.fixture(scope="module")
def chord() -> planted.Planted:
    return next(planted.chords(shipped.load("multi_pitch").system, 1))


def test_an_instrument_enters_in_the_middle_of_a_song(song) -> None:
    np.testing.assert_allclose(song.audio, song.without + song.alone, atol=1e-6)
    middle = song.audio.size // 2
    early, late = np.abs(song.alone[: middle - 2048]), np.abs(song.alone[middle:])
    assert late.max() > 100 * early.max()
    n_frames = song.x.shape[-1]
    assert not song.truth[..., : n_frames // 2 - 2].any() and song.truth.any()
    torch.testing.assert_close(
        song.x[..., : n_frames // 2 - 2], song.x_without[..., : n_frames // 2 - 2]
    )
    assert song.effect >= planted.LEAST_EFFECT


def test_what_is_kept_of_a_song_is_heard(song) -> None:
    feature = shipped.load("auto_tagging").settings.feature
    everything = np.ones(song.x.shape[-2:], dtype=bool)
    whole = planted.heard_through(song.audio, everything, feature)
    inner = slice(2048, -2048)
    error = amplitude_to_db(np.std(whole[inner] - song.audio[inner]) / np.std(song.audio))
    assert error < -20  # all but the edges of the lowest and the highest band
    only = planted.heard_through(song.audio, song.truth[0, 0].numpy(), feature)
    assert np.std(only[: only.size // 2 - 4096]) < 1e-3 * np.std(only[only.size // 2 :])


def test_a_note_enters_a_chord_at_the_place_that_is_asked_about(chord) -> None:
    assert chord.x.shape[-2:] == (2 * planted.ROWS + 1, 2 * planted.FRAMES + 1)
    assert chord.truth[0, 1, planted.ROWS, -1]  # its fundamental, once it sounds
    assert chord.effect >= planted.LEAST_EFFECT
    levels = [np.sqrt(np.mean(x[-30_000:-4_000] ** 2)) for x in (chord.alone, chord.without)]
    assert 0.3 < levels[0] * np.sqrt(3) / levels[1] < 3  # as loud as each of the three


def test_the_input_of_chords_is_as_far_as_the_network_sees(chord) -> None:
    wider = torch.rand(1, 6, 75, 31)
    wider.requires_grad_()
    chord.network(wider)[0, 0, 37, 15].backward()
    rows, frames = (wider.grad[0].abs().amax(dim=(0, axis)).nonzero() for axis in (2, 1))
    assert rows.min() >= 37 - planted.ROWS and rows.max() <= 37 + planted.ROWS
    assert frames.min() >= 15 - planted.FRAMES and frames.max() <= 15 + planted.FRAMES


def test_the_truth_finds_itself_and_chance_is_chance(chord) -> None:
    scores = experiment.found(chord, chord.truth.float())
    assert scores["inside"] == scores["top"] == scores["area"] == 1
    by_chance = experiment.found(chord, experiment.METHODS["saliency"](chord) * 0 + 1)
    assert by_chance["inside"] == pytest.approx(by_chance["chance"])
    assert by_chance["area"] == pytest.approx(0.5)


def test_what_ignores_the_weights_fails_the_sanity_check(chord) -> None:
    ranks = experiment.sane([chord], experiment.IGNORANT["energy"], seed=0)
    assert ranks == pytest.approx({name: 1.0 for name in ranks}) and len(ranks) == 12
    ranks = experiment.sane([chord], experiment.METHODS["integrated gradients"], seed=0)
    assert abs(ranks["rank_6"]) < 0.2


def test_probes_find_what_is_there_and_nothing_else() -> None:
    rng = np.random.default_rng(0)
    x, sides = rng.standard_normal((600, 8)), np.repeat([0, 1, 2], 200)
    classes = {"there": (x[:, 0] > 0).astype(int), "not": rng.integers(0, 2, 600)}
    quantities = {"there too": x[:, 1] + 2 * x[:, 2], "nor this": rng.standard_normal(600)}
    probed = probing.Probed(torch.from_numpy(x), sides, classes, quantities)
    found = probing.scores(x, probed)
    assert found["there"] > 0.9 and found["there too"] > 0.99
    assert abs(found["not"] - 0.5) < 0.1 and found["nor this"] < 0.1
    labels = probing.control_labels(np.array([60.0, 61.0, 60.0]), 12, 0)
    assert labels[0] == labels[2]


def test_layers_have_the_names_that_the_page_asks_for() -> None:
    network = shipped.load("notes_tagger").system.network
    x = torch.rand(2, 168, 27)
    layers = probing.note_layers(network, x)
    assert list(layers)[1:] == [*(f"convolution {n}" for n in (1, 2, 3)), "embedding", "output"]
    np.testing.assert_allclose(layers["output"], network(x).detach(), rtol=1e-5, atol=1e-5)
    probed = probing.places(0, 5)
    deep = shipped.load("multi_pitch").system.network
    with torch.no_grad():
        found = probing.place_layers(deep, probed.x)
    assert {name: each.shape[1] for name, each in found.items()} == {
        "input": 6,
        **{f"convolution {n}": 16 for n in range(1, 5)},
        "convolution 5": 4,
        "output": 1,
    }
    assert set(probed.classes["sounds"]) == {0, 1}


def test_hiding_nothing_changes_nothing_and_attention_is_what_it_was() -> None:
    writer = shipped.load("autoregressive").system
    codes, said = torch.zeros(2, 4, 8, dtype=torch.long), torch.tensor([[40, 3], [45, 1]])
    with torch.no_grad():
        x, grid = experiment.read(writer.network, codes, said)
        logits = writer.network(codes, said)
        hidden = writer.network.decoder(x)
    found = experiment.log_probability(writer.network, hidden, grid)
    expected = logits.log_softmax(-1).gather(-1, codes[..., None])[..., 0]
    total = sum(expected[:, k, t] for k in range(4) for t in range(8))
    torch.testing.assert_close(found.sum(dim=1), total, rtol=1e-4, atol=1e-3)
    effects = experiment.effects(writer.network, x, grid, 5)
    assert effects.shape == (2, 5) and bool((effects > 0).any())
