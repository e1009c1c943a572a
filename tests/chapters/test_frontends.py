"""The comparison of front-ends: all hear the same excerpts, under the same budget."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch

from dl101.chapters.frontends import experiment
from dl101.chapters.frontends.experiment import FRONT_ENDS, INPUTS, TASKS, Budget, Task, Variant
from dl101.data.embedded import export
from dl101.training.loop import minimise

pytestmark = pytest.mark.slow

SHORT = Budget(n_steps=2, batch_size=4)


@pytest.fixture(scope="module")
def instruments() -> experiment.Data:
    return experiment.load(TASKS["instruments"], n_tracks=72, progress=False)


@pytest.mark.parametrize("name", FRONT_ENDS)
def test_every_front_end_has_the_same_rate_and_about_as_many_channels(name: str) -> None:
    n_samples = round(1.5 * experiment.SAMPLE_RATE)
    given = INPUTS[FRONT_ENDS[name].input]()(torch.randn(2, n_samples))
    network = experiment.build(FRONT_ENDS[name], 12)
    _, n_channels, n_frames = network[0](given).shape
    assert abs(n_frames / (n_samples / experiment.HOP) - 1) < 0.1
    assert n_channels == 84 if name == "CQT" else 36 <= n_channels <= 50
    assert network(given).shape == (2, 12)


@pytest.mark.parametrize("name", FRONT_ENDS)
def test_gradients_reach_every_parameter(name: str) -> None:
    torch.manual_seed(0)
    given = INPUTS[FRONT_ENDS[name].input]()(0.1 * torch.randn(8, 16_000))
    network = experiment.build(FRONT_ENDS[name], 3)
    network(given).square().sum().backward()
    for parameter, values in network.named_parameters():
        assert values.grad is not None and values.grad.abs().sum() > 0, parameter


def test_pictures_and_waveforms_of_an_excerpt_are_of_the_same_moment(instruments) -> None:
    rows, first = torch.tensor([3, 5]), torch.tensor([20, 0])
    heard = instruments.excerpts("waveform", "train", rows, first)
    assert heard.shape == (2, 1, instruments.excerpt_frames * experiment.HOP)
    track = torch.from_numpy(instruments.sides["train"].waveforms[3])
    start = 20 * experiment.HOP
    torch.testing.assert_close(heard[0, 0], track[start : start + heard.shape[-1]])
    seen = instruments.excerpts("log-mel", "train", rows, first)
    anew = experiment.to_log_mel()(heard[:, 0])
    inside = slice(2, instruments.excerpt_frames - 2)  # away from the borders
    torch.testing.assert_close(seen[..., inside], anew[..., inside], atol=1e-3, rtol=1e-3)
    last = torch.full((2,), instruments.last_start)
    for kind in INPUTS:
        assert instruments.excerpts(kind, "test", rows, last).shape[0] == 2


def test_shares_are_nested_and_balanced(instruments) -> None:
    side = instruments.sides["train"]
    ninth, third, everything = (experiment.subset(side, n) for n in (9, 3, 1))
    assert len(everything) == len(side) and set(ninth) <= set(third) <= set(everything)
    counts = Counter(side.truth[third].argmax(axis=1))
    assert len(counts) == 12 and len(set(counts.values())) == 1


def test_a_network_is_trained_and_scored_on_tracks_it_has_not_heard(instruments) -> None:
    variant = Variant("log-mel", "1/3", Budget(n_steps=60))
    trained = experiment.train(variant, instruments)
    scores = experiment.score(trained, variant, instruments)
    assert len(trained.learned_from) == len(experiment.subset(instruments.sides["train"], 3))
    assert scores["train_accuracy"] > 0.6 and 0 <= scores["accuracy"] <= 1
    again = experiment.score(experiment.train(variant, instruments), variant, instruments)
    assert again["accuracy"] == scores["accuracy"]
    answers = experiment.answers(trained, variant, instruments)
    assert answers.shape == instruments.sides["test"].truth.shape


def test_the_budget_is_the_number_of_steps_whatever_the_share(
    instruments, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = []

    def counted(network, loss, batches, optimiser, **options) -> None:
        def noted():
            for batch in batches():
                sizes.append(len(batch))
                yield batch

        minimise(network, loss, noted, optimiser, **options)

    monkeypatch.setattr(experiment, "minimise", counted)
    for share in experiment.SHARES:
        sizes.clear()
        experiment.train(Variant("log-mel", share, SHORT), instruments)
        assert sizes == [4, 4]


def test_baselines_are_those_of_the_corpus(instruments) -> None:
    assert experiment.most_frequent(instruments)["accuracy"] == pytest.approx(1 / 12, abs=0.05)
    assert experiment.linear(instruments, known="mfcc", share="1/1")["accuracy"] > 1 / 12


def test_the_real_datasets_run_the_same_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """MagnaTagATune's task, on a pair of its form: several tags, artists kept on one side."""
    files = export.cached_corpus("tags", n_tracks=30, progress=False)
    monkeypatch.setattr(experiment.source, "locate", lambda data, **_: files)
    task = replace(experiment.FULL_TASKS["tags"], duration_s=6.0, excerpt_s=2.0)
    found = experiment.comparison("tags", task, SHORT)
    data = found.load(seed=0, n_tracks=found.n_tracks, progress=False)
    assert sum(map(len, data.sides.values())) == 30
    assert (data.sides["train"].truth.sum(axis=1) > 1).any()
    few = replace(found, variants={"1/3: log-mel": found.variants["1/3: log-mel"]})
    measured = {m.variant: m.metrics for m in few.run(0, data=data)}
    assert {"tags most frequent", "tags 1/3: log-mel", "tags 1/9: MFCC, linear"} <= set(measured)
    assert 0 <= measured["tags 1/3: log-mel"]["macro_auc"] <= 1
    assert np.isfinite(measured["tags 1/1: MFCC, linear"]["macro_auc"])


def test_a_task_is_data() -> None:
    assert isinstance(TASKS["dances"], Task)
    assert {task.dataset for task in experiment.FULL_TASKS.values()} == {"gtzan-genre", "mtt"}
