"""The classifier learns what can be learnt, no more, and the same way each time."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from dl101.training import classifier, comparison
from dl101.training.classifier import Examples, standardise, train_classifier
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


def test_it_learns_what_is_there_and_nothing_else():
    known = train_classifier(build, sides(True), training=QUICK, progress=False)
    assert known.accuracy > 0.9
    assert known.accuracy == np.mean(known.predictions == sides(True)["test"].labels)
    nothing = train_classifier(build, sides(False), training=QUICK, progress=False)
    assert 0.35 < nothing.accuracy < 0.65


def test_the_seed_fixes_weights_and_order():
    first, again, other = (
        train_classifier(build, sides(True), seed=seed, training=QUICK, progress=False)
        for seed in (3, 3, 4)
    )
    assert torch.equal(first.network.weight, again.network.weight)
    assert not torch.equal(first.network.weight, other.network.weight)


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

    found, classes = classifier.load_examples(
        "instruments", "instrument", level, n_tracks=24, progress=False
    )
    assert {side: examples.inputs.shape for side, examples in found.items()} == {
        "train": (16, 1),
        "validation": (4, 1),
        "test": (4, 1),
    }
    assert len(classes) >= 10
    assert all(examples.inputs.dtype == np.float32 for examples in found.values())
    assert max(examples.labels.max() for examples in found.values()) < len(classes)
    assert found["train"].inputs.min() > 0


def test_unknown_experiments_are_named():
    from dl101.errors import ConfigError

    with pytest.raises(ConfigError, match="no_such"):
        next(comparison.run("no_such"))
    assert not set(comparison.names()) & {"outcome", "classifier"}


def test_a_record_names_the_device_where_the_network_was_trained() -> None:
    common = {"metrics": {"accuracy": 0.5}, "n_items": 2}
    found = {
        "CPU": comparison.Outcome("cpu", network=torch.nn.Linear(2, 3), **common),
        "META": comparison.Outcome("other", network=torch.nn.Linear(2, 3, device="meta"), **common),
    }
    for device, made in found.items():
        record = comparison.as_record("test", made, seed=0, command="")
        assert record.device.startswith(f"{device} (")
        assert record.n_parameters == 9
    plain = comparison.as_record("test", comparison.Outcome("plain", **common), seed=0, command="")
    assert plain.device.startswith("CPU (") and plain.n_parameters == 0
