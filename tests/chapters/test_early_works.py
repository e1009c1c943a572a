"""The chapter on early works: networks learn and write, and sounds are made as told."""

import numpy as np
import pytest
import torch

from dl101.chapters.early_works import experiment, without_learning
from dl101.signal import predictors
from dl101.signal.waveforms import mu_law_decode, mu_law_encode
from dl101.systems import wavenet


def tone(midi=57, n=4000, partials=6):
    f0 = 440 * 2 ** ((midi - 69) / 12)
    t = np.arange(n) / wavenet.RATE
    return 0.1 * sum(np.sin(2 * np.pi * k * f0 * t) / k for k in range(1, partials))


def pitch_of(sound):
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(sound.size), 4 * sound.size))
    autocorrelation = np.fft.irfft(spectrum**2)[: sound.size // 2]
    low, high = wavenet.RATE // 300, wavenet.RATE // 150
    return wavenet.RATE / (low + np.argmax(autocorrelation[low:high]))


def test_sounds_without_learning_are_near_what_was_asked():
    sound = tone(57)
    made = {
        "mel": without_learning.from_mel(without_learning.mel_of(sound), sound.size),
        "source and filter": without_learning.source_filter(sound, 57),
        "grains": without_learning.grains(tone(54), 3.0),
    }
    for name, found in made.items():
        assert found.shape == sound.shape and np.isfinite(found).all(), name
        assert pitch_of(found[500:3500]) == pytest.approx(220, rel=0.02), name
        assert 0.5 < found.std() / sound.std() < 2, name
    np.testing.assert_allclose(
        without_learning.grains(sound, 0.0)[480:3000], sound[480:3000], atol=0.02
    )


def test_a_network_learns_and_writes(monkeypatch):
    codes = np.stack([mu_law_encode(tone(midi, wavenet.N_SAMPLES)) for midi in (50, 57)])
    notes = wavenet.Notes(codes, np.array([50, 57]), np.array([0, 1]), np.array(["a", "b"]))
    data = {"train": notes, "validation": notes, "test": notes}
    for variant in (
        experiment.Variant((1, 2, 4), n_steps=12, chunk=256),
        experiment.Variant((), n_steps=12, chunk=256),
    ):
        curve: list[float] = []
        network = experiment.train(variant, data, curve=curve)
        assert len(curve) == 12 and curve[-1] < curve[0] - 0.5
        bits = wavenet.bits_of(network, notes)
        assert bits.shape == codes.shape and bits.mean() < 8
        sounds = wavenet.write(network, notes.told, n_samples=128)
        assert sounds.shape == (2, 128) and np.abs(sounds).max() <= 1
        again = experiment.train(variant, data)
        for a, b in zip(network.parameters(), again.parameters(), strict=True):
            torch.testing.assert_close(a, b)


def test_decoded_codes_are_encoded_to_themselves():
    codes = np.arange(256)
    assert (mu_law_encode(mu_law_decode(codes)) == codes).all()


def test_the_network_that_ships_is_loaded_and_foresees_held_out_notes():
    (variant,) = experiment.LOADED.values()
    network = experiment.ready(variant, {})
    assert not network.training
    notes = experiment.load(n_tracks=45, progress=False)
    train, test = notes["train"].codes, notes["test"]
    simple = predictors.linear(train, test.codes, adapts=True).mean()
    assert wavenet.bits_of(network, test).mean() < simple - 0.5


def test_a_network_that_ships_is_scored_as_it_writes(monkeypatch):
    """Temperature and beginning are those of the variant; the pitch is that of the rest."""
    asked = {}
    codes = mu_law_encode(np.stack([tone(57, 500)] * 2))
    notes = wavenet.Notes(codes, np.array([57, 57]), np.array([0, 1]), np.array(["a", "b"]))

    def written(network, told, *, temperature, start):
        asked.update(temperature=temperature, start=start.shape)
        return mu_law_decode(codes)

    monkeypatch.setattr(experiment, "write", written)
    monkeypatch.setattr(experiment, "judged", lambda sounds, notes, given: {"given": given})
    variant = experiment.WRITES_OTHERWISE["WaveNet, shipped, begun"]
    network = experiment.ready(variant, {})
    found = experiment.score(network, variant, {"test": notes}, writes=True)
    assert asked == {"temperature": 0.9, "start": (2, 400)} and found["given"] == 400
    brief = experiment.Variant()
    assert experiment.score(network, brief, {"test": notes}, writes=True)["given"] == 0
    assert asked == {"temperature": 1.0, "start": (2, 0)}
