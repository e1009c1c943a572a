"""Pitch from transposition: what moves along, what it costs to leave, and that it learns."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dl101.chapters.self_supervised import objectives, pitch
from dl101.signal import mel
from dl101.systems.self_supervised_data import Recording

pytestmark = pytest.mark.slow


def notes(low: int, high: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return spectra of harmonic tones of random timbre, and their pitches."""
    rng = np.random.default_rng(seed)
    midi = rng.integers(low, high, 90).astype(float)
    spectra = []
    for each in midi:
        row = np.zeros(pitch.N_BINS, np.float32)
        for h in range(1, 9):
            place = 3 * (each - 21) + 36 * np.log2(h)
            row += rng.uniform(0.1, 1) * np.exp(-0.5 * (np.arange(row.size) - place) ** 2)
        spectra.append(row / row.max())
    return np.stack(spectra), midi


def test_moved_moves_and_loses_what_leaves():
    x = torch.eye(4)[[1, 3]]
    found = pitch.moved(x, torch.tensor([2, 1]))
    assert found.tolist() == [[0, 0, 0, 1], [0, 0, 0, 0]]
    assert pitch.moved(x, torch.tensor([-1, 0])).tolist() == [[1, 0, 0, 0], [0, 0, 0, 1]]


def test_the_network_moves_along_with_its_input():
    torch.manual_seed(0)
    network, spectra = pitch.PitchNet().eval(), torch.from_numpy(notes(50, 70)[0][:3])
    with torch.no_grad():
        said, later = network(spectra), network(pitch.moved(spectra, torch.full((3,), 9)))
    middle = slice(80, -80)  # biases at the edges of the axis aside
    torch.testing.assert_close(later[:, middle], said.roll(9, 1)[:, middle], atol=1e-3, rtol=0)


def test_what_leaves_the_axis_costs():
    class Edge(torch.nn.Module):
        def __init__(self, place: int) -> None:
            super().__init__()
            self.place = place

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            logits = torch.full_like(x, -20.0)
            logits[:, self.place] = 20.0
            return logits

    spectra = torch.from_numpy(notes(50, 70)[0])
    generator = torch.Generator().manual_seed(0)
    assert pitch.loss_of(Edge(pitch.N_BINS - 1), spectra, generator) > 4


def test_it_learns_pitch_without_a_name():
    data = {"train": notes(40, 90), "test": notes(45, 85, seed=1)}
    found = pitch.score(pitch.train("from transposition", data, seed=0, epochs=60), "", data)
    assert found["accuracy"] > 0.9
    assert pitch.score(None, "loudest bin", data)["accuracy"] < 0.6


# ---- objectives on a small encoder ----


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    sides = {"train": 40, "validation": 8, "test": 8}
    recordings = {}
    for side, n in sides.items():
        recordings[side] = [
            Recording(
                f"made/{side}-{i}",
                side,
                (0.1 * rng.standard_normal(9000)).astype(np.float32) * (1 + i % 2),
                np.array([i % 2, (i // 2) % 2], np.float32),
                side != "test",
                ("a", "b"),
            )
            for i in range(n)
        ]
    return objectives.Data(recordings, 11_025, 2187, 0)


@pytest.mark.parametrize("name", objectives.WAYS)
def test_every_way_trains_and_is_scored(data, name):
    way = objectives.WAYS[name]
    network = objectives.train(way, data, steps=2)
    found = objectives.score(network, way, data)
    assert {"linear_auc", "hidden_ap", "spread", "collapsed"} <= set(found)
    assert ("head_auc" in found) == (way.objective == "supervised")
    again = objectives.train(way, data, steps=2).state_dict()
    assert all(torch.equal(again[k], v) for k, v in network.state_dict().items())


def test_pretraining_asks_for_views_of_the_training_side_alone(data, monkeypatch):
    asked, views = [], data.views
    monkeypatch.setattr(data, "views", lambda side, *rest: asked.append(side) or views(side, *rest))
    objectives.train(objectives.WAYS["ntxent"], data, steps=1)
    assert set(asked) == {"train"}


def test_views_are_rendered_once_and_differ(data):
    first = data.views("train", 3)
    assert first is data.views("train", 3)
    assert first.shape[:3] == (40, 3, objectives.N_BANDS)
    assert (first[:, 0] - first[:, 1]).abs().amax(dim=(1, 2)).min() > 0.01


def test_log_mel_is_that_of_the_library():
    audio = (0.1 * np.random.default_rng(0).standard_normal(11_025)).astype(np.float32)
    expected = mel.log_mel(audio, 11_025, n_bands=64, window_samples=512, hop_samples=256).values[0]
    found = objectives.log_mel(torch.from_numpy(audio)[None], 11_025)[0].numpy()
    inside = slice(2, expected.shape[1] - 2)  # the ends are padded in other ways
    np.testing.assert_allclose(4 * found[:, inside] + 8, expected[:, inside], atol=1e-3)
