"""Probes against scikit-learn and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dl101.errors import DataError
from dl101.training import probing
from dl101.training.probing import ProbeConfig


def sides(n: int = 90, crops: int = 3, d: int = 6, seed: int = 0) -> tuple[dict, dict]:
    rng = np.random.default_rng(seed)
    direction = rng.standard_normal((d, 2))
    x = {side: rng.standard_normal((n, crops, d)) * 10 for side in ("train", "validation", "test")}
    y = {side: (v.mean(axis=1) @ direction > 0).astype(np.float32) for side, v in x.items()}
    return x, y


@pytest.mark.parametrize("hidden", [None, 8])
def test_a_probe_finds_what_is_there_and_is_reproducible(hidden: int | None) -> None:
    x, y = sides()
    config = ProbeConfig(hidden=hidden, learning_rate=1e-2)
    state = torch.random.get_rng_state()
    found = probing.scores(x, y, config)
    assert torch.equal(state, torch.random.get_rng_state())
    assert found["auc"] > 0.93 and found == probing.scores(x, y, config)
    assert found != probing.scores(x, y, config, seed=1)


def test_linear_probe_is_logistic_regression() -> None:
    linear_model = pytest.importorskip("sklearn.linear_model")
    x, _ = sides(n=200, crops=1)
    rng = np.random.default_rng(1)
    noisy = {side: v[:, 0, :1] + 8 * rng.standard_normal((200, 1)) for side, v in x.items()}
    y = {side: (v > 0).astype(np.float32) for side, v in noisy.items()}
    x["validation"], y["validation"] = x["train"], y["train"]  # so that it stops at the optimum
    config = ProbeConfig(
        learning_rate=3e-2, weight_decay=0.0, max_epochs=600, patience=600, batch_size=200
    )
    said = probing.probabilities(probing.fit_probe(x, y, config), x["test"])[:, 0]
    model = linear_model.LogisticRegression(C=1e6).fit(x["train"][:, 0], y["train"][:, 0])
    np.testing.assert_allclose(said, model.predict_proba(x["test"][:, 0])[:, 1], atol=5e-3)


def test_probabilities_are_means_of_sigmoids() -> None:
    x, y = sides()
    probe = probing.fit_probe(x, y)
    crops = torch.as_tensor(x["test"], dtype=torch.float32)
    expected = torch.sigmoid(probe(crops)).mean(dim=1).detach().numpy()
    np.testing.assert_allclose(probing.probabilities(probe, x["test"]), expected, atol=1e-6)


def test_a_number_that_never_changes_is_ignored() -> None:
    x, y = sides()
    x["train"][..., 0] = 3.0
    x["test"][..., 0] = 1e9
    assert np.isfinite(probing.probabilities(probing.fit_probe(x, y), x["test"])).all()


def test_known_labels_are_nested_and_differ_between_seeds() -> None:
    labels = np.zeros((200, 3))
    few, more, all_of_them = (probing.some_labels(labels, s) for s in (0.01, 0.1, 1.0))
    assert len(few) == 2 and len(more) == 20 and set(few) < set(more)
    np.testing.assert_array_equal(all_of_them, np.arange(200))
    assert set(more) != set(probing.some_labels(labels, 0.1, seed=1))


def test_embeddings_need_crops() -> None:
    x, y = sides()
    with pytest.raises(DataError, match=r"embeddings\[:, None\]"):
        probing.fit_probe({side: v[:, 0] for side, v in x.items()}, y)
