"""Few examples: sizes of networks, draws, prototypes by hand, nothing leaks, verdicts."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from dl101.chapters.few_shot import experiment, inputs, learning, networks, verdicts
from dl101.evaluation.results import Measured, Record

GOLDEN = json.loads(
    (Path(__file__).parents[1] / "golden" / "parameter_counts.json").read_text("utf-8")
)


def count(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize("n_classes", [10, 15])
def test_at_the_size_of_the_thesis_the_networks_have_its_counts(n_classes) -> None:
    built = {
        f"VGG ({n_classes} classes)": networks.vgg(n_classes),
        f"TIMBRE ({n_classes})": networks.Timbre(n_classes),
        f"SB-CNN ({n_classes})": networks.sb_cnn(n_classes),
    }
    for name, network in built.items():
        assert count(network) == GOLDEN[f"thesis/6.3 {name}"]["count"]
        assert network(torch.randn(2, 1, 128, 128)).shape == (2, n_classes)
    embedding = networks.vgg(experiment.DIMENSIONS, n_filters=128, dropout=0.0)
    assert count(embedding) == GOLDEN["thesis/6.3 proto VGG-128 (D=10)"]["count"]


@pytest.mark.parametrize("name", experiment.SCRATCH)
def test_networks_of_the_lab_fit_a_cut_and_learn_with_every_weight(name) -> None:
    method = experiment.scratch(name, 2)
    torch.manual_seed(0)
    network = experiment.build(method, 12, 0).train()
    y = network(torch.randn(6, 1, inputs.N_BANDS, inputs.N_FRAMES))
    assert y.shape == (6, experiment.DIMENSIONS if method.kind == "prototypes" else 12)
    y.square().sum().backward()
    assert all(p.grad is not None and bool(p.grad.abs().sum() > 0) for p in network.parameters())


def test_draws_are_balanced_nested_and_differ() -> None:
    labels = np.arange(60) % 4
    ten = learning.draw_examples(labels, 10, seed=1)
    assert (labels[ten] == np.repeat(np.arange(4), 10)).all() and len(set(ten)) == 40
    two = learning.draw_examples(labels, 2, seed=1)
    assert set(two) <= set(ten)
    assert set(ten) != set(learning.draw_examples(labels, 10, seed=1, draw=1))
    assert set(ten) != set(learning.draw_examples(labels, 10, seed=2))


def a_learner(n: int, distance: str = "Euclidean", **options) -> learning.Prototypes:
    torch.manual_seed(0)
    x = torch.randn(3, n, 5) + 3 * torch.randn(3, 1, 5)
    labels = torch.arange(3).repeat_interleave(n)
    return learning.Prototypes(nn.Identity(), x.flatten(0, 1), labels, distance=distance, **options)


@pytest.mark.parametrize("distance", learning.DISTANCES)
def test_prototypes_are_means_and_the_nearest_is_the_likeliest(distance) -> None:
    learner = a_learner(4, distance)
    x = learner.examples.numpy()
    means = x.reshape(3, 4, 5).mean(axis=1)
    np.testing.assert_allclose(learner.prototypes().numpy(), means, rtol=1e-5)
    if distance == "Euclidean":
        apart = ((x[:, None] - means) ** 2).sum(axis=-1)
    else:
        units = [a / np.linalg.norm(a, axis=1, keepdims=True) for a in (x, means)]
        apart = 1 - units[0] @ units[1].T
    said = learner.probabilities(learner.examples).numpy()
    np.testing.assert_allclose(said, np.exp(-apart) / np.exp(-apart).sum(1, keepdims=True), 1e-4)


def test_no_example_is_on_both_sides_of_an_episode_if_there_are_enough() -> None:
    learner = a_learner(learning.N_SUPPORT + learning.N_QUERY)
    for _ in range(5):
        support, query = learner.episode()
        for k in range(3):
            assert not set(support[k].tolist()) & set(query[k].tolist())
            assert (learner.labels[support[k]] == k).all() and (learner.labels[query[k]] == k).all()
    support, query = a_learner(1).episode()  # with one example it cannot be otherwise
    assert set(support[1].tolist()) == set(query[1].tolist()) == {1}


def test_an_episode_pulls_queries_to_their_prototypes() -> None:
    learner = a_learner(5)
    learner.network = nn.Linear(5, 2)
    first = np.mean([float(learner.loss().detach()) for _ in range(20)])
    learning.learn(learner, 40)
    assert np.mean([float(learner.loss().detach()) for _ in range(20)]) < 0.5 * first


def test_cuts_cover_an_item_and_begin_anywhere() -> None:
    x = torch.arange(10.0).expand(2, 1, 3, 10)
    learner = learning.Softmax(nn.Identity(), x, torch.tensor([0, 1]), cut_frames=6)
    cuts = learner.cuts(x)
    assert cuts.shape == (2, 2, 1, 3, 6)
    assert cuts[0, 0, 0, 0, 0] == 0 and cuts[1, 0, 0, 0, -1] == 9
    starts = {int(learner.random_cuts(torch.tensor([0]))[0, 0, 0, 0]) for _ in range(60)}
    assert starts == set(range(5))


def test_looking_on_the_way_changes_nothing() -> None:
    found = []
    for looks in ((), (2, 5)):
        learner = a_learner(5, seed=3)
        torch.manual_seed(1)
        learner.network = nn.Linear(5, 2)
        moments = learning.learn(learner, 8, looks=looks, look=lambda: {"train": 0.0})
        assert [moment.step for moment in moments] == [*looks, 8]
        found.append(learner.network.weight.detach().clone())
    torch.testing.assert_close(*found)


def toy_data() -> inputs.Data:
    """Return vectors of three classes that are far apart."""
    rng = np.random.default_rng(0)
    labels = {side: np.arange(n) % 3 for side, n in (("train", 60), ("familiar", 30), ("new", 30))}
    centres = 4 * rng.standard_normal((3, 6))
    vectors = {
        side: (centres[y] + rng.standard_normal((len(y), 6))).astype(np.float32)
        for side, y in labels.items()
    }
    return inputs.Data({"mfcc": vectors}, labels, ("a", "b", "c"))


@pytest.mark.parametrize("name", [*experiment.QUICK])
def test_what_is_asked_of_vectors_tells_easy_classes_apart(name) -> None:
    method = experiment.Method(5, given="mfcc", n_draws=2, **experiment.QUICK[name])
    data = toy_data()
    drawn = experiment.train(method, data, seed=0)
    scores = experiment.score(drawn, method, data)
    assert scores["new"] > 0.9 and scores["train"] > 0.9
    assert scores["new"] == pytest.approx((scores["new_0"] + scores["new_1"]) / 2)


def test_nothing_of_the_test_side_leaks_into_the_scale() -> None:
    data, rows = toy_data(), np.arange(9)
    found = experiment.standardised(data, "mfcc", rows)
    assert np.abs(found["train"].mean(axis=0)).max() < 1e-5
    np.testing.assert_allclose(found["train"].std(axis=0), 1, rtol=1e-4)
    louder = {**data.inputs["mfcc"], "new": 100 * data.inputs["mfcc"]["new"]}
    again = experiment.standardised(replace(data, inputs={"mfcc": louder}), "mfcc", rows)
    np.testing.assert_array_equal(found["familiar"], again["familiar"])


def test_embeddings_are_what_comes_before_the_last_layer() -> None:
    embed = inputs.Embedders()
    rng = np.random.default_rng(0)
    audio = (0.1 * rng.standard_normal(66150)).astype(np.float32)
    found = embed(audio, 22050)
    lengths = {name: len(values) for name, values in found.items() if name != "spectra"}
    assert lengths == {"mfcc": 120, "tagger": 192, "encoder": 256, "chords": 64}
    assert found["spectra"].shape == (1, inputs.N_BANDS, 65)
    tagger = embed.systems["tagger"]
    last = [m for m in tagger.network.modules() if isinstance(m, nn.Linear)][-1]
    feature = tagger.settings.feature
    patch = inputs.auto_tagging_data.cut(
        inputs.auto_tagging_data.log_mel(audio, feature).values,
        0,
        tagger.settings.data.patch_frames,
    )
    with torch.no_grad():
        logits = tagger(torch.from_numpy(patch)[None])[0]
        again = last(torch.from_numpy(found["tagger"]))
    torch.testing.assert_close(again, logits, rtol=1e-3, atol=1e-3)
    assert set(embed(audio, 22050, only=("tagger",))) == {"spectra", "mfcc", "tagger"}


def test_spectra_are_means_of_pairs() -> None:
    log_mel = np.arange(64 * 5, dtype=np.float32).reshape(1, 64, 5)
    found = inputs.spectrum(log_mel)
    assert found.shape == (1, 32, 2)
    assert found[0, 3, 1] == log_mel[0, 6:8, 2:4].mean()


def test_a_small_corpus_is_learned_from() -> None:
    data = inputs.load(144, only=("tagger",), progress=False)
    assert len(data.classes) == 12
    assert {side: len(y) for side, y in data.labels.items()} == {
        "train": 96,
        "familiar": 24,
        "new": 24,
    }
    method = experiment.Method(2, "prototypes", "spectra", "VGG", n_steps=2)
    fitted = experiment.fit(method, data, 0, seed=0, look=True)
    assert fitted.said["new"].shape == (24, 12)
    np.testing.assert_allclose(fitted.said["new"].sum(axis=1), 1, rtol=1e-4)
    assert [moment.step for moment in fitted.moments] == [2]
    again = experiment.fit(method, data, 0, seed=0)
    np.testing.assert_array_equal(fitted.said["new"], again.said["new"])


# ---- verdicts ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("differences", "word"),
    [
        ([0.10, 0.11, 0.12], "confirmed"),
        ([-0.10, -0.11, -0.12], "denied"),
        ([0.30, 0.00, 0.10], "undecided"),
    ],
)
def test_verdicts_follow_the_interval(differences, word) -> None:
    found = verdicts.judge(differences, verdicts.ABOVE)
    assert found.word == word and found.n_seeds == 3
    assert verdicts.judge([0.01, 0.0, -0.01], verdicts.EQUAL).word == "confirmed"


def _record(variant: str, seed: int, **metrics: float) -> Record:
    return Record("few_shot", variant, seed, {}, "test", 1, metrics, {}, "", 0.0)


def test_differences_are_paired_by_seed_and_take_the_best() -> None:
    measured = Measured(
        [_record("a: 5", seed, new_0=0.5 + 0.1 * seed) for seed in range(3)]
        + [_record("b: 5", seed, new_0=0.4 + 0.1 * seed) for seed in range(3)]
        + [_record("c: 5", seed, new_0=0.1) for seed in range(3)]
    )
    found = verdicts.between(("a",), ("b", "c", "not run"), (5,))(measured, "new")
    np.testing.assert_allclose(found, 0.1)


def test_what_the_last_step_loses_is_counted_from_the_best_look() -> None:
    curves = {"new_at_5": 0.2, "new_at_10": 0.4, "new_at_40": 0.3}
    curves |= {f"loss_at_{step}": 1.0 for step in (5, 10, 40)}
    measured = Measured([_record("p: 2", 0, **curves)])
    assert verdicts.looks(measured, "p: 2", "new")[0] == [5, 10, 40]
    np.testing.assert_allclose(verdicts.lost_without_validation("p", (2,))(measured, "new"), 0.1)


def test_the_records_answer_every_claim() -> None:
    measured = Measured.of("few_shot")
    assert len(measured.seeds) >= 3
    assert set(measured.variants) == set(experiment.variants())
    for side in ("familiar", "new"):
        for claim, verdict in verdicts.verdicts(measured, side):
            assert np.isfinite([verdict.mean, verdict.low, verdict.high]).all(), claim.text
            assert verdict.low <= verdict.mean <= verdict.high
