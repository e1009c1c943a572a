"""The experiment on waveforms: what is heard, what is prepared, and which variants there are."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dl101.chapters.waveform import experiment
from dl101.chapters.waveform.experiment import Recogniser, Tasks, Variant
from dl101.data.splits import SIDES
from dl101.signal import waveforms
from dl101.training.examples import Examples
from dl101.training.fit import TrainingConfig

pytestmark = pytest.mark.slow

RATE = 22050


@pytest.fixture(scope="module")
def notes() -> Tasks:
    """A few notes."""
    return experiment.load(n_tracks=90, progress=False)


def test_notes_are_100_ms_with_two_labels(notes: Tasks) -> None:
    assert sum(len(notes["register"][side]) for side in SIDES) == 90
    for side in SIDES:
        for each in (notes["register"][side], notes["velocity"][side]):
            assert each.inputs.shape == (len(each), 2205)
            assert all(sound.any() for sound in each.inputs)
            assert each.labels.min() >= 0 and each.labels.max() < 5


def test_registers_are_octaves(notes: Tasks) -> None:
    """The higher the register, the higher the spectrum's centre of gravity, in the median."""
    train = notes["register"]["train"]
    register, power = train.labels, np.abs(np.fft.rfft(train.inputs)) ** 2
    peak = power.argmax(axis=1)
    assert np.median(peak[register <= 1]) < np.median(peak[register == 2])
    assert np.median(peak[register == 2]) < np.median(peak[register >= 3])


def test_levels(notes: Tasks) -> None:
    train, test = (notes["register"][side].inputs for side in ("train", "test"))
    each = experiment.one_by_one(test)
    assert np.allclose(np.sqrt(np.mean(each**2, axis=1)), 0.1)
    assert np.allclose(experiment.one_by_one(30 * test), each)
    one = experiment.by_training(train)
    assert waveforms.level_dbfs(one(train)) == pytest.approx(experiment.LEVEL_DB)
    assert np.allclose(one(3 * test), 3 * one(test))


def test_recorders_do_what_their_names_say() -> None:
    t = np.arange(2205) / RATE
    low, high = np.sin(2 * np.pi * 200 * t)[None], np.sin(2 * np.pi * 5000 * t)[None]
    for name, (record, factor) in experiment.RECORDERS.items():
        assert record(low).shape == (1, -(-2205 // factor))
        if "filtered" in name:
            assert (waveforms.rms(record(high)) < 0.1) == ("unfiltered" not in name), name
        else:
            n_bits = int(name.split()[1])
            assert len(np.unique(record(low))) <= 2**n_bits
    (linear, _), (mu_law, _) = (experiment.RECORDERS[f"{n} 4 bit"] for n in ("linear", "mu-law"))
    assert not linear(0.05 * low).any() and mu_law(0.05 * low).any()


def test_the_network_takes_every_rate_and_a_gain_shifts_its_logarithms() -> None:
    for rate in (RATE, RATE / 4, RATE / 16):
        network = experiment.FilterBank(rate, 5)
        assert network(torch.randn(2, 1, round(rate / 10))).shape == (2, 5)
    network = experiment.FilterBank(RATE, 5).eval()
    network.filters.bias.data.zero_()
    seen = []
    network.norm.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    audio = torch.randn(1, 1, 2205)
    network(audio)
    network(10**1.5 * audio)  # 30 dB
    torch.testing.assert_close(seen[1] - seen[0], torch.full((1, 64), 6.908), atol=1e-2, rtol=0)


def test_recall_counts_each_class_by_itself() -> None:
    """Three of four low notes and one of two high ones are named rightly by their peak."""
    labels = np.array([0, 0, 0, 0, 1, 1])
    peaks = np.array([0.1, 0.1, 0.1, 0.9, 0.9, 0.1])

    class ByPeak(torch.nn.Linear):  # its weights only say on which device it is
        def forward(self, audio: torch.Tensor) -> torch.Tensor:
            loud = audio.amax(dim=(1, 2)) > 0.5
            return torch.stack([~loud, loud], dim=1).float()

    trained, notes = Recogniser(ByPeak(1, 1), experiment.as_it_is), Examples(peaks[:, None], labels)
    assert trained.recalls(notes).tolist() == [0.75, 0.5]
    assert trained.accuracy(notes) == pytest.approx(4 / 6)
    assert trained.accuracy(notes, gain_db=20.0) == pytest.approx(2 / 6)  # all are loud now


def test_each_variant_trains_on_what_its_name_says(
    notes: Tasks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What reaches the network, by side; the test side is no part of the training."""
    seen = {}

    def no_training(build, sides, **options):
        seen.update(sides)
        return build(), None

    monkeypatch.setattr(experiment, "train_network", no_training)
    plain = notes["velocity"]["train"].inputs
    for level, prepare in (
        ("as it is", experiment.as_it_is),
        ("one gain", experiment.by_training(plain)),
        ("each by itself", experiment.one_by_one),
    ):
        trained = experiment.train(Variant("velocity", level), notes)
        assert seen.keys() == {"train", "validation"}
        np.testing.assert_allclose(seen["train"].inputs[:, 0], prepare(plain), rtol=1e-6)
        np.testing.assert_array_equal(seen["train"].labels, notes["velocity"]["train"].labels)
        np.testing.assert_array_equal(trained.prepare(plain), prepare(plain))
    trained = experiment.train(Variant(level="random gain"), notes)
    gains_db = 20 * np.log10(waveforms.rms(seen["train"].inputs[:, 0]) / waveforms.rms(plain))
    assert -30 < gains_db < 30 and trained.prepare is experiment.as_it_is
    trained = experiment.train(Variant(recorder="rate/4 filtered"), notes)
    assert seen["train"].inputs.shape[-1] == 552 == trained.prepare(plain).shape[-1]
    np.testing.assert_allclose(np.sqrt(np.mean(seen["train"].inputs ** 2, axis=-1)), 0.1, rtol=1e-5)


def test_every_variant_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(experiment, "TRAINING", TrainingConfig(max_epochs=1))
    outcomes = {o.variant: o for o in experiment.run(0, n_tracks=90)}
    expected = {f"register: {name}" for name in experiment.RECORDERS} | {"register: random gain"}
    for task in ("register", "velocity"):
        names = ("most frequent", "as it is", "one gain", "each by itself")
        expected |= {f"{task}: {name}" for name in names}
    assert outcomes.keys() == expected
    flat = outcomes["register: each by itself"].metrics
    by_gain = [value for name, value in flat.items() if name.startswith("accuracy")]
    assert len(by_gain) == len(experiment.GAINS_DB) and len(set(by_gain)) == 1
    assert all(o.n_items == 15 and o.n_tracks == 90 for o in outcomes.values())
    assert all(0 <= value <= 1 for o in outcomes.values() for value in o.metrics.values())
