"""The experiment on waveforms: what is heard, what is prepared, and which variants there are."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dl101.chapters.waveform import experiment
from dl101.data.splits import SIDES
from dl101.signal import waveforms
from dl101.training.fit import TrainingConfig

RATE = 22050


@pytest.fixture(scope="module")
def notes() -> experiment.Notes:
    """A few notes."""
    return experiment.read_notes(0, 90)


def test_notes_are_100_ms_with_two_labels(notes: experiment.Notes) -> None:
    assert sum(len(notes.register[side]) for side in SIDES) == 90
    for side in SIDES:
        sounds = notes.waveforms[side]
        assert sounds.shape == (len(notes.register[side]), 2205)
        assert all(sound.any() for sound in sounds)
        for labels in (notes.register[side], notes.velocity[side]):
            assert labels.min() >= 0 and labels.max() < 5


def test_registers_are_octaves(notes: experiment.Notes) -> None:
    """The higher the register, the higher the spectrum's centre of gravity, in the median."""
    sounds, register = notes.waveforms["train"], notes.register["train"]
    power = np.abs(np.fft.rfft(sounds)) ** 2
    peak = power.argmax(axis=1)
    assert np.median(peak[register <= 1]) < np.median(peak[register == 2])
    assert np.median(peak[register == 2]) < np.median(peak[register >= 3])


def test_levels(notes: experiment.Notes) -> None:
    train, test = notes.waveforms["train"], notes.waveforms["test"]
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

    heard = experiment.Heard(ByPeak(1, 1), experiment.as_it_is, labels, peaks[:, None], 0.0)
    assert heard.recalls().tolist() == [0.75, 0.5]
    assert heard.accuracy() == pytest.approx(4 / 6)


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
