"""Filter shapes for tasks: pieces, orders, planted sounds, verdicts, and what was recorded."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pytest
import torch
from scipy import stats

from dl101.chapters.filter_shapes import experiment, planted, verdicts
from dl101.evaluation import results
from dl101.training.comparison import AllBut, Measurement
from dl101.training.examples import Examples

RNG = np.random.default_rng(0)


def test_pieces_are_spaced_evenly_from_end_to_end() -> None:
    tracks = np.arange(2 * 40 * 517, dtype=np.float32).reshape(2, 40, 517)
    cut = experiment.pieces(tracks, experiment.SHORT, 6)
    assert cut.shape == (2, 6, 1, 40, 80)
    np.testing.assert_array_equal(cut[1, 0, 0], tracks[1, :, :80])
    np.testing.assert_array_equal(cut[1, -1, 0], tracks[1, :, -80:])
    coarse = experiment.pieces(tracks, experiment.COARSE, 2)
    assert coarse.shape == (2, 2, 1, 20, 125)
    np.testing.assert_allclose(coarse[0, 0, 0, 3, 7], tracks[0, 6:8, 14].mean())


def test_pieces_keep_the_label_of_their_track() -> None:
    tracks = Examples(RNG.normal(size=(3, 40, 129)).astype("f4"), np.array([2, 0, 1]))
    examples = experiment.cut(tracks, experiment.THREE_SECONDS, 2)
    np.testing.assert_array_equal(examples.labels, [2, 2, 0, 0, 1, 1])
    np.testing.assert_array_equal(examples.inputs[3, 0], tracks.inputs[1, :, -80:])


@pytest.mark.parametrize("axis", [1, 2])
def test_a_random_order_moves_whole_bands_or_frames(axis: int) -> None:
    tracks = RNG.normal(size=(3, 12, 30)).astype("f4")
    changed = experiment.in_random_order(tracks, axis)
    assert not np.array_equal(changed, tracks)
    for before, after in zip(tracks, changed, strict=True):
        rows = (before, after) if axis == 1 else (before.T, after.T)
        assert {row.tobytes() for row in rows[0]} == {row.tobytes() for row in rows[1]}
    again = experiment.in_random_order(tracks, axis)
    np.testing.assert_array_equal(again, changed)


def test_an_answer_for_a_track_is_the_mean_over_its_pieces() -> None:
    class Loudest(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = torch.nn.Parameter(torch.tensor(1.0))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.scale * torch.stack([x.mean(dim=(1, 2, 3)), -x.mean(dim=(1, 2, 3))], dim=1)

    seen = np.zeros((1, 3, 1, 4, 5), dtype="f4")
    seen[0, 0] = 5.0  # one sure piece for the first class, two that lean to the second
    seen[0, 1:] = -0.2
    expected = np.mean([1 / (1 + np.exp(-10.0)), *[1 / (1 + np.exp(0.4))] * 2])
    found = experiment.probabilities(Loudest(), seen)
    np.testing.assert_allclose(found, [[expected, 1 - expected]], rtol=1e-5)


def test_what_is_compared_differs_in_shapes_alone() -> None:
    def weights(shapes) -> tuple[int, int]:
        return sum(s.n_filters for s in shapes), sum(
            s.n_filters * s.n_bands * s.n_frames for s in shapes
        )

    both = weights(experiment.ONSETS() + experiment.PATTERNS())
    one = experiment.VARIANTS["dances"]["one length"].build(7).branches[0].convs
    assert both[0] == sum(conv.out_channels for conv in one) == 75
    assert sum(conv.weight.numel() for conv in one) == pytest.approx(both[1], rel=0.01)
    assert weights(experiment.ONE_HEIGHT) == weights(experiment.MANY_HEIGHTS) == (49, 980)
    many, one = (
        experiment.VARIANTS["instruments"][n].build(12) for n in ("many heights", "one height")
    )
    assert many.n_features == one.n_features


@pytest.mark.parametrize("task", experiment.TASKS)
def test_every_network_takes_what_it_sees(task: str) -> None:
    frames = {"dances": 517, "instruments": 130}[task]
    tracks = RNG.normal(size=(2, 40, frames)).astype("f4")
    for name, variant in experiment.VARIANTS[task].items():
        seen = experiment.pieces(tracks, variant.view, variant.view.n_test)
        found = experiment.probabilities(variant.build(7), seen)
        assert found.shape == (2, 7) and found.sum() == pytest.approx(2), name


def _noise(n_frames: int = 80) -> experiment.Data:
    def side(n: int) -> Examples:
        return Examples(RNG.normal(size=(n, 40, n_frames)).astype("f4"), np.arange(n) % 3)

    return {s: side(n) for s, n in (("train", 12), ("validation", 6), ("test", 6))}, ("a", "b", "c")


def test_filters_begin_as_those_of_other_networks() -> None:
    view = experiment.View(80, n_train=1, n_test=1)
    still = experiment.TrainingConfig(max_epochs=1, learning_rate=1e-12, batch_size=6)
    others = [experiment.nets.time_net(3), experiment.nets.frequency_net(3)]
    variant = experiment.Variant(experiment.nets.time_frequency, view, still)
    network = experiment.train(experiment.beginning_as(variant, others), _noise())
    for branch, other in zip(network.branches, others, strict=True):
        torch.testing.assert_close(branch.conv.weight, other.branches[0].conv.weight)
    alone = experiment.train(variant, _noise())
    assert not torch.allclose(alone.branches[0].conv.weight, others[0].branches[0].conv.weight)


def test_what_is_done_is_not_measured_again_and_pairs_find_their_networks(monkeypatch) -> None:
    quick = experiment.TrainingConfig(max_epochs=1, batch_size=6)
    view = experiment.View(80, n_train=1, n_test=1)
    some = {
        name: experiment.Variant(experiment.TABLE_3_1[name.split(",")[0]], view, quick)
        for name in ("time", "frequency", "time-frequency")
    }
    some["begun"] = experiment.replace(some["time-frequency"], begins_as=("time", "frequency"))
    monkeypatch.setattr(experiment, "VARIANTS", {"dances": some})
    monkeypatch.setattr(experiment, "TASKS", {"dances": experiment.TASKS["dances"]})
    monkeypatch.setattr(experiment, "PAIRS", {"dances": (("time", "frequency"),)})
    data, trained, train = _noise(), [], experiment.train
    monkeypatch.setattr(experiment, "load", lambda task, **_: data)
    monkeypatch.setattr(
        experiment, "train", lambda v, *a, **k: trained.append(v) or train(v, *a, **k)
    )

    def run(done: Collection[str]) -> dict[str, Measurement]:
        trained.clear()
        return {m.variant: m for m in experiment.run(3, done=done)}

    every = run(())
    assert len(trained) == len(some)  # none of them twice
    assert every["dances: begun"].config["begins_as"] == ["time", "frequency"]
    pair = run(AllBut(["dances: time or frequency"]))
    assert len(trained) == 2 and list(pair) == ["dances: time or frequency"]
    assert pair["dances: time or frequency"].metrics == every["dances: time or frequency"].metrics
    begun = run(AllBut(["dances: begun"]))
    assert len(trained) == 3
    assert begun["dances: begun"].metrics == every["dances: begun"].metrics
    assert run(every) == {} and not trained


# ---- planted sounds ------------------------------------------------------------------------------


def test_planted_sounds_differ_in_rhythm_and_instrument_alone() -> None:
    examples, sounds = planted.sides(8, seed=3)
    assert examples["train"].inputs.shape == (8, 1, 40, 80)
    assert len(sounds) == 8 and len(examples["validation"]) == 4
    labels = examples["train"].labels
    assert np.corrcoef(labels.T)[0, 1] == pytest.approx(0)
    assert labels.mean() == 0.5


def test_the_second_note_comes_where_the_rhythm_says(monkeypatch) -> None:
    played = []
    monkeypatch.setattr(
        planted, "render_voice", lambda notes, player, n: played.append(notes) or np.ones(n, "f4")
    )
    for rhythm, place in planted.RHYTHMS.items():
        sound = planted.sound(rhythm, "flute", np.random.default_rng(1))
        assert sound.size == planted.N_SAMPLES
        gaps = np.diff(played[-1].onsets_s)
        assert gaps.max() / (gaps[0] + gaps[1]) == pytest.approx(place)


# ---- verdicts ------------------------------------------------------------------------------------


def test_the_interval_over_tracks_is_that_of_a_bootstrap() -> None:
    first = RNG.random(300) < 0.5
    second = np.where(RNG.random(300) < 0.7, first, RNG.random(300) < 0.4)
    gained = first.astype(float) - second
    found = experiment.compared(first, second)
    assert found["difference"] == pytest.approx(gained.mean())
    low, high = verdicts.over_tracks(found["first_only"], found["second_only"], 300)
    drawn = stats.bootstrap((gained,), np.mean, method="percentile", rng=0).confidence_interval
    np.testing.assert_allclose([low, high], drawn, atol=0.01)
    error = gained.std() / np.sqrt(300)
    assert high - low == pytest.approx(2 * stats.norm.ppf(0.975) * error)


@pytest.mark.parametrize(
    ("differences", "tracks", "seeds", "verdict"),
    [
        ([0.1, 0.2, 0.1], (0.05, 0.2), (-0.01, 0.3), "confirmed"),
        ([0.1, 0.1, 0.1], (0.05, 0.2), (0.09, 0.11), "confirmed (surely)"),
        ([0.1, -0.01, 0.2], (0.05, 0.2), (-0.1, 0.3), "undecided"),
        ([0.1, 0.2, 0.1], (-0.01, 0.2), (0.01, 0.3), "undecided"),
        ([-0.1, -0.2, -0.1], (-0.2, -0.05), (-0.3, 0.02), "denied"),
        ([-0.1, -0.1, -0.1], (-0.2, -0.05), (-0.11, -0.09), "denied (surely)"),
    ],
)
def test_verdicts(differences, tracks, seeds, verdict) -> None:
    assert verdicts.decide(np.array(differences), tracks, seeds) == verdict


def test_every_claim_compares_what_is_compared() -> None:
    for claim in verdicts.CLAIMS:
        assert (claim.first, claim.second) in experiment.PAIRS[claim.task]


# ---- what was recorded ---------------------------------------------------------------------------


def test_recorded_pairs_agree_with_the_networks() -> None:
    measured = results.Measured.of("filter_shapes")
    assert len(measured.seeds) >= 3
    for task, pairs in experiment.PAIRS.items():
        for first, second in pairs:
            accuracies = (measured.each(f"{task}: {n}", "accuracy") for n in (first, second))
            pair = f"{task}: {first} or {second}"
            difference = measured.each(pair, "difference")
            np.testing.assert_allclose(difference, np.subtract(*accuracies), atol=3e-5)
            only = [measured.each(pair, name) for name in ("first_only", "second_only")]
            np.testing.assert_allclose(np.subtract(*only), difference, atol=3e-5)


def test_what_a_shape_is_deaf_to_costs_it_nothing() -> None:
    measured = results.Measured.of("filter_shapes")
    for task in experiment.TASKS:
        for name, metric in (("time", "without_bands"), ("frequency", "without_order")):
            changed = measured.each(f"{task}: {name}", metric)
            plain = measured.each(f"{task}: {name}", "accuracy")
            if name == "time":
                np.testing.assert_array_equal(changed, plain)
            else:  # frames of a whole track were exchanged: between its pieces, too
                np.testing.assert_allclose(changed, plain, atol=0.06)


def test_longer_training_undoes_two_denials() -> None:
    measured = results.Measured.of("filter_shapes")
    said = {claim.variant: verdicts.judge(measured, claim).verdict for claim in verdicts.CLAIMS}
    for name, denied in (("time-frequency", "denied"), ("black-box", "denied (surely)")):
        assert said[f"dances: {name} or time"] == denied
        assert said[f"dances: {name}, longer or time, longer"] == "undecided"
    assert said["dances: time-frequency, longer or black-box, longer"] == "undecided"
    for pair in ("time or frequency", "time, longer or frequency, longer"):
        assert said[f"dances: {pair}"] == "confirmed"


@pytest.mark.slow
def test_a_small_grid_is_measured(monkeypatch) -> None:
    some = {
        "dances": {k: experiment.VARIANTS["dances"][k] for k in ("time", "frequency")},
        "instruments": {k: experiment.VARIANTS["instruments"][k] for k in ("one height",)},
    }
    monkeypatch.setattr(experiment, "VARIANTS", some)
    monkeypatch.setattr(
        experiment, "PAIRS", {"dances": (("time", "frequency"),), "instruments": ()}
    )
    found = {m.variant: m for m in experiment.run(0, 28)}
    assert list(found) == [
        "dances: most frequent class",
        "dances: time",
        "dances: frequency",
        "dances: time or frequency",
        "instruments: most frequent class",
        "instruments: one height",
    ]
    assert found["dances: time"].n_parameters == 6663  # 7336 of the thesis, with a class less
    metrics = [found[f"dances: {n}"].metrics["accuracy"] for n in ("time", "frequency")]
    pair = found["dances: time or frequency"]
    assert pair.metrics["difference"] == pytest.approx(metrics[0] - metrics[1])
    assert pair.n_items == found["dances: time"].n_items == 5
