"""What is learnt from examples in memory: what there is, no more, and the same each time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from dl101.training import examples
from dl101.training.examples import (
    Examples,
    ExamplesData,
    majority,
    majority_accuracy,
    predict,
    standardise,
    train_network,
)
from dl101.training.fit import TrainingConfig

QUICK = TrainingConfig(max_epochs=8, patience=8, batch_size=16, learning_rate=0.05)


def sides(informative: bool) -> dict[str, Examples]:
    """Two classes that differ in the mean of the third column, or in nothing."""
    rng = np.random.default_rng(0)
    made = {}
    for side, n in (("train", 96), ("validation", 48), ("test", 200)):
        labels = rng.integers(0, 2, n)
        inputs = rng.normal(size=(n, 5)).astype(np.float32)
        if informative:
            inputs[:, 2] += 6.0 * labels
        made[side] = Examples(inputs, labels)
    return made


def build() -> nn.Module:
    return nn.Linear(5, 2)


def accuracy(network: nn.Module, test: Examples) -> float:
    return float(np.mean(predict(network, test.inputs) == test.labels))


def test_it_learns_what_is_there_and_nothing_else():
    for informative, low, high in ((True, 0.9, 1.0), (False, 0.35, 0.65)):
        given = sides(informative)
        network, result = train_network(build, given, training=QUICK, progress=False)
        assert low < accuracy(network, given["test"]) <= high
        assert len(result.history) <= QUICK.max_epochs


def test_the_seed_fixes_weights_and_order():
    first, again, other = (
        train_network(build, sides(True), seed=seed, training=QUICK, progress=False)[0]
        for seed in (3, 3, 4)
    )
    assert torch.equal(first.weight, again.weight)
    assert not torch.equal(first.weight, other.weight)


def test_any_loss_and_a_change_of_every_training_batch():
    """Labels are numbers here; the sign of inputs and labels is turned at random."""
    given = sides(True)
    given = {s: Examples(e.inputs, 2 * e.inputs[:, :1]) for s, e in given.items()}
    rng, seen = np.random.default_rng(0), []

    def change(x, y):
        sign = np.float32(rng.choice([-1, 1]))
        seen.append(len(x))
        return sign * x, sign * y

    network, _ = train_network(
        lambda: nn.Linear(5, 1),
        given,
        training=replace(QUICK, learning_rate=0.2),
        loss=nn.functional.mse_loss,
        change=change,
        progress=False,
    )
    wanted = torch.tensor([[2.0, 0, 0, 0, 0]])
    torch.testing.assert_close(network.weight.detach(), wanted, atol=0.2, rtol=0)
    assert set(seen) == {16}


def test_every_batch_holds_inputs_with_their_labels():
    numbers = np.arange(10)
    each = Examples(10.0 * numbers[:, None].astype(np.float32), numbers)
    data = ExamplesData({"train": each, "validation": each}, batch_size=4, seed=1)
    loader = data.train_dataloader()
    epochs = [[batch["label"].tolist() for batch in loader] for _ in range(2)]
    assert [len(batch) for batch in epochs[0]] == [4, 4, 2]
    assert epochs[0] != epochs[1] and sorted(np.concatenate(epochs[0])) == list(range(10))
    for batch in loader:
        assert torch.equal(batch["input"][:, 0], 10.0 * batch["label"])
    in_order = [batch["label"].tolist() for batch in data.val_dataloader()]
    assert in_order == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    changed = ExamplesData({"train": each, "validation": each}, 4, 1, change=lambda x, y: (-x, y))
    for batch in changed.train_dataloader():
        assert len(batch["label"]) == 4, "a smaller last batch is left out"
        assert torch.equal(batch["input"][:, 0], -10.0 * batch["label"])
    assert sum(len(batch["label"]) for batch in changed.val_dataloader()) == 10


def test_the_majority_is_right_most_often():
    assert majority(np.array([3, 1, 1, 3, 2])) == 1, "the first of equals"
    near = majority(np.array([1.0, 1.9, 2.1, 9.0]), [1, 2, 9], lambda a, y: np.abs(a - y) < 0.5)
    assert near == 2
    labels = {"train": [1, 1, 0], "validation": [0, 0, 1], "test": [1, 1, 1, 0]}
    given = {s: Examples(np.zeros((len(y), 1)), np.array(y)) for s, y in labels.items()}
    assert majority_accuracy(given) == 0.75
    assert majority_accuracy(given, "validation") == pytest.approx(1 / 3)


def test_standardising_uses_the_training_side_alone():
    given = sides(True)
    made = standardise(given, axis=(0,))
    np.testing.assert_allclose(made["train"].inputs.mean(axis=0), 0.0, atol=1e-6)
    np.testing.assert_allclose(made["train"].inputs.std(axis=0), 1.0, atol=1e-4)
    mean, deviation = given["train"].inputs.mean(axis=0), given["train"].inputs.std(axis=0)
    expected = (given["test"].inputs - mean) / (deviation + 1e-6)
    np.testing.assert_allclose(made["test"].inputs, expected, rtol=1e-5)


def test_examples_come_from_a_corpus_by_side(tmp_path, monkeypatch):
    monkeypatch.setenv("DL101_CACHE", str(tmp_path))

    def level(audio, sample_rate):
        assert sample_rate == 22050
        return [np.sqrt(np.mean(audio**2))]

    found, classes = examples.load_examples(
        "instruments", "instrument", level, n_tracks=24, progress=False
    )
    assert {side: each.inputs.shape for side, each in found.items()} == {
        "train": (16, 1),
        "validation": (4, 1),
        "test": (4, 1),
    }
    assert len(classes) >= 10
    assert all(each.inputs.dtype == np.float32 for each in found.values())
    assert max(each.labels.max() for each in found.values()) < len(classes)
    assert found["train"].inputs.min() > 0
