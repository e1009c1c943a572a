"""Without training: the networks have the published sizes, nothing leaks, intervals are honest."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from sklearn.linear_model import Ridge

from dl101.chapters.untrained import classifiers, experiment, networks, sounds, training, verdicts
from dl101.chapters.untrained.classifiers import ELM

GOLDEN = json.loads((Path(__file__).parents[1] / "golden/parameter_counts.json").read_text())
LENGTHS = GOLDEN["thesis/Ch4 repo vector lengths"]["count"]
NAMES_THERE = {  # short and published
    "sample-level": ("sample-level 23", "sample-level 512"),
    "frame-level": ("frame 40", "frame 896"),
    "frame-level, many": ("frame-many 20", "frame-many 448"),
    "7x96": ("single 160", "single 3585"),
    "7x86": ("single 160", "single 3585"),
    "timbral": ("timbral n=8", "timbral n=256"),
    "temporal": ("temporal n=8", "temporal n=256"),
    "timbral+temporal": ("timbral+temporal n=4", "timbral+temporal n=128"),
    "VGG": ("VGG 32 filters", "VGG 717"),
}


def an_input(name: str) -> torch.Tensor:
    shape = (2, 1, 6000) if networks.ARCHITECTURES[name].input == "waveform" else (2, 1, 96, 30)
    return torch.rand(shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", networks.ARCHITECTURES)
def test_vectors_are_as_long_as_published(name: str) -> None:
    assert set(NAMES_THERE) == set(networks.ARCHITECTURES)
    for size, there in zip(("short", "published"), NAMES_THERE[name], strict=True):
        network = networks.build(name, size)
        with torch.inference_mode():
            assert network(an_input(name)[:1]).shape == (1, LENGTHS[there])


@pytest.mark.parametrize("name", networks.ARCHITECTURES)
def test_features_are_means_of_maps_and_the_seed_decides(name: str) -> None:
    x = an_input(name)
    network = networks.build(name, seed=1)
    found = networks.features(network, x)
    with torch.inference_mode():
        maps = network.maps(x)
    by_hand = np.concatenate([m.numpy().reshape(2, m.shape[1], -1).mean(-1) for m in maps], axis=1)
    np.testing.assert_allclose(found, by_hand, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(networks.features(networks.build(name, seed=1), x), found)
    assert not torch.allclose(networks.features(networks.build(name, seed=2), x), found)
    assert not any(p.any() for key, p in network.named_parameters() if key.endswith("bias"))


@pytest.mark.parametrize("name", networks.ARCHITECTURES)
def test_gradients_reach_every_filter(name: str) -> None:
    network = networks.build(name)
    network(an_input(name)).square().sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in network.parameters())


def test_shapes_are_those_of_the_thesis() -> None:
    convs = networks.build("timbral+temporal").convs
    tall = {(c.conv.kernel_size[1], c.conv.kernel_size[0]) for c in convs.vertical}
    assert tall == {(7, 86), (3, 86), (1, 86), (7, 38), (3, 38), (1, 38)}
    assert [c.conv.kernel_size[0] for c in convs.horizontal] == [165, 128, 64, 32]
    sample = networks.build("sample-level")
    assert sample.first.stride == (3,) and len(sample.others) == 6
    many = networks.build("frame-level, many")
    assert [c.kernel_size[0] for c in many.first] == [512, 256, 128, 64, 32]
    assert len({m.shape[-1] for m in [c(torch.rand(1, 1, 6000)) for c in many.first]}) > 1
    assert many.maps(torch.rand(1, 1, 6400))[0].shape == (1, 100, 200)  # a frame every 32 samples


def test_the_vector_of_mfccs_has_120_numbers() -> None:
    rng = np.random.default_rng(0)
    vector = sounds.mfcc_vector(rng.random((1, 96, 50)))
    assert vector.shape == (GOLDEN["thesis/Ch4 MFCC vector"]["count"],)
    still = sounds.mfcc_vector(np.repeat(rng.random((1, 96, 1)), 50, axis=2))
    assert np.abs(still[:20]).max() > 0.01 and np.abs(still[20:]).max() < 1e-9


# ---- classifiers -------------------------------------------------------------------------------


def a_problem() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    classes = np.arange(60) % 3
    return rng.standard_normal((60, 5)) + 2.0 * np.eye(3, 5)[classes], classes


@pytest.mark.parametrize("n_hidden", [20, 200])
def test_an_elm_is_the_ridge_regression_of_its_hidden_layer(n_hidden: int) -> None:
    x, classes = a_problem()
    machine = ELM(n_hidden, 3.0, seed=4).fit(x, classes)
    ridge = Ridge(alpha=3.0, fit_intercept=False).fit(machine.hidden(x), np.eye(3)[classes])
    np.testing.assert_allclose(machine.w2, ridge.coef_.T, atol=1e-6)
    assert np.mean(machine.predict(x) == classes) > 0.8


def test_without_a_ridge_it_is_the_pseudo_inverse_and_fits_everything() -> None:
    x, classes = a_problem()
    machine = ELM(200, seed=4).fit(x, classes)
    np.testing.assert_allclose(machine.w2, np.linalg.pinv(machine.hidden(x)) @ np.eye(3)[classes])
    np.testing.assert_allclose(machine.scores(x), np.eye(3)[classes], atol=1e-8)


def test_one_decomposition_serves_all_strengths() -> None:
    x, classes = a_problem()
    for (n_hidden, strength), machine in classifiers.machines(x, classes, seed=2):
        if n_hidden == 100:
            alone = ELM(n_hidden, strength, seed=2).fit(x, classes)
            np.testing.assert_allclose(machine.w2, alone.w2)


def test_settings_are_chosen_on_validation_alone() -> None:
    y = {"validation": np.array([0, 1, 1]), "test": np.array([0, 0, 0])}
    x = {side: np.zeros((3, 1)) for side in y}

    def saying(*said: int) -> SimpleNamespace:
        return SimpleNamespace(predict=lambda x: np.array(said))

    fitted = [("zeros", saying(0, 0, 0)), ("best", saying(0, 1, 1)), ("as good", saying(0, 1, 1))]
    assert classifiers.chosen(fitted, x, y)[0] == "best"


def test_scaling_by_the_training_side_does_not_know_the_others() -> None:
    rng = np.random.default_rng(5)
    x = {side: rng.standard_normal((n, 3)) * 4 + 2 for side, n in (("train", 9), ("test", 4))}
    scaled = classifiers.standardised(x)
    np.testing.assert_allclose(scaled["train"].mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(scaled["train"].std(axis=0), 1)
    alone = classifiers.standardised({"train": x["train"], "test": x["test"][:1]})
    np.testing.assert_allclose(alone["test"], scaled["test"][:1])
    for by in ("all", "each"):
        leaking = classifiers.standardised(x, by=by)["test"][:1]
        one = classifiers.standardised({"train": x["train"], "test": x["test"][:1]}, by=by)
        assert not np.allclose(one["test"], leaking)


# ---- leaks -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def data() -> experiment.Data:
    def level(classes: np.ndarray) -> torch.Tensor:
        return torch.tensor(0.3 * classes, dtype=torch.float32).view(-1, 1, 1, 1)

    generator = torch.Generator().manual_seed(6)
    y = {"train": np.arange(12) % 3, "validation": np.arange(6) % 3, "test": np.arange(6) % 3}
    pictures = {
        side: torch.rand(len(c), 1, 96, 25, generator=generator) + 0.3 * level(c)
        for side, c in y.items()
    }
    waves = {side: 0.1 * torch.randn(len(c), 1, 5000, generator=generator) for side, c in y.items()}
    mfcc = {side: np.stack([sounds.mfcc_vector(p) for p in x]) for side, x in pictures.items()}
    task = sounds.Task("none", 24, 5000 / sounds.RATE, 0.3, networks.SHORT_SOUNDS)
    made = sounds.Sounds("notes", task, waves, pictures, mfcc, y, ("a", "b", "c"))
    return experiment.Data(made, 0)


@pytest.mark.parametrize("norm", experiment.NORMS)
def test_who_is_in_the_batch_matters_only_where_it_should(norm: str, data) -> None:
    before = experiment.normed_features(experiment.NORMS[norm], data)
    assert {side: len(x) for side, x in before.items()} == {"train": 12, "validation": 6, "test": 6}
    others = {side: x.clone() for side, x in data.sounds.spectrogram.items()}
    others["test"][1:] = others["test"][1:].flip(0) * 3.0  # the first item stays as it is
    changed = sounds.Sounds(**{**vars(data.sounds), "spectrogram": others})
    after = experiment.normed_features(experiment.NORMS[norm], experiment.Data(changed, 0))
    depends = not np.allclose(before["test"][0], after["test"][0], rtol=1e-4, atol=1e-5)
    assert depends == (norm not in ("none", "training side", "batches of 1"))
    touched = not np.allclose(before["train"], after["train"], rtol=1e-4, atol=1e-5)
    assert touched == (norm == "batches of one class, all sides")


def test_trained_networks_learn_and_their_filters_move(data) -> None:
    before = data.vectors("7x96", "short")
    whole = replace(data.sounds.task, crop_s=data.sounds.task.duration_s)
    known = sounds.Sounds(**{**vars(data.sounds), "task": whole})
    network = training.train("7x96", known, before, epochs=30)
    said = training.said(network, data.sounds.spectrogram["train"]).numpy()
    assert np.mean(said == data.sounds.y["train"]) > 0.6
    untrained = networks.build("7x96", lengths=data.sounds.task.lengths)
    drawn, learned = untrained.convs.vertical[0].conv, network.extractor.convs.vertical[0].conv
    assert not torch.equal(drawn.weight, learned.weight)


def test_differences_are_taken_item_by_item(data) -> None:
    claim = experiment.CLAIMS["7x86 over 7x96"]
    assert len(claim.pairs) == 4
    by_hand = np.mean(
        [data.right("7x86", cell) - data.right("7x96", cell) for cell in experiment.CELLS], axis=0
    )
    np.testing.assert_allclose(claim.differences(data), by_hand)
    mean, error = experiment.mean_and_error(np.array([1.0, 0.0, 0.0, 1.0]))
    assert mean == 0.5 and error == pytest.approx(np.std([1, 0, 0, 1], ddof=1) / 2)


def test_guitars_count_once_by_class() -> None:
    y = np.array([0, 0, 0, 0, 1, 2])
    assert experiment.by_class((y == 0).astype(float), y) == pytest.approx(1 / 3)


# ---- verdicts ----------------------------------------------------------------------------------


class Table:
    """Stands for the records: a value for each of three seeds."""

    def __init__(self, **values: list[float]) -> None:
        self.values = values

    def each(self, variant: str, metric: str) -> np.ndarray:
        return np.array(self.values["error" if metric.endswith("(error)") else "value"])


def test_the_larger_of_two_errors_makes_the_interval() -> None:
    alike = verdicts.difference(Table(value=[0.1, 0.1, 0.1], error=[0.03, 0.03, 0.03]), "v", "m")
    assert alike.high - alike.value == pytest.approx(1.96 * 0.03 / np.sqrt(3), rel=1e-3)
    apart = verdicts.difference(Table(value=[0.0, 0.1, 0.2], error=[0.01, 0.01, 0.01]), "v", "m")
    assert apart.high - apart.value == pytest.approx(1.96 * 0.1 / np.sqrt(3), rel=1e-3)


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [(0.01, 0.1, "confirmed"), (-0.1, -0.01, "denied"), (-0.1, 0.1, "undecided")],
)
def test_a_verdict_needs_the_whole_interval(low: float, high: float, said: str) -> None:
    assert verdicts.Estimate((low + high) / 2, low, high).verdict == said


def test_intervals_of_rank_correlations_hold_what_they_should() -> None:
    rng, n, held = np.random.default_rng(0), 9, []
    truth = 6 / np.pi * np.arcsin(0.6 / 2)  # Spearman's, of normal pairs with correlation 0.6
    for _ in range(400):
        x = rng.standard_normal(n)
        y = 0.6 * x + 0.8 * rng.standard_normal(n)
        found = verdicts.rank_interval(spearmanr(x, y).statistic, n)
        held.append(found.low <= truth <= found.high)
    assert 0.9 < np.mean(held) < 0.99
    wide, narrow = (verdicts.rank_interval(0.5, 9, n_sets=k) for k in (1, 3))
    assert narrow.high - narrow.low < wide.high - wide.low
