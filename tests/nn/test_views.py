"""Views of a batch against the augmentations of single sounds."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dl101.nn.views import KINDS, Views, butterworth, shift_pitch
from dl101.signal import augment
from dl101.units import db_to_amplitude

RATE, N = 11_025, 6_561


def batch(n: int = 12, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 0.1 * torch.randn(n, N, generator=generator)


def only(kind: str) -> Views:
    return Views(RATE, without=tuple(set(KINDS) - {kind}), always=(kind,))


def drawn_and_applied(kind: str) -> tuple[torch.Tensor, dict, torch.Tensor]:
    views, audio = only(kind), batch()
    drawn = views.draw(len(audio), np.random.default_rng(3))
    return audio, drawn, views.apply(audio, drawn, torch.Generator().manual_seed(4))


def test_they_are_the_chain_of_clmr() -> None:
    views = Views(RATE)
    expected = {"flip": 0.8, "noise": 0.01, "gain": 0.3, "filter": 0.8, "delay": 0.3}
    assert views.probability == {**expected, "pitch": 0.6, "room": 0.6}
    assert list(KINDS.values()) == [type(s.augmentation) for s in augment.clmr_chain().steps[1:]]
    drawn = views.draw(20_000, np.random.default_rng(0))
    for name, probability in views.probability.items():
        assert drawn[name].mean() == pytest.approx(probability, abs=0.015)
    low = drawn["low_pass"]
    limits = {
        "gain_db": (-20, -1),
        "semitones": (-7, 7),
        "delay_samples": (0.2 * RATE, 0.45 * RATE),
    }
    values = {name: drawn[name] for name in limits}
    values |= {"low": drawn["cutoff_hz"][low], "high": drawn["cutoff_hz"][~low]}
    limits |= {"low": (2200, 4000), "high": (200, 1200)}
    for name, (least, most) in limits.items():
        assert least - 1 <= values[name].min() <= least + 0.02 * (most - least)
        assert most + 1 >= values[name].max() >= most - 0.02 * (most - least)
    assert set(drawn["semitones"]) == set(range(-7, 8))


def test_flip_and_gain() -> None:
    audio, _, found = drawn_and_applied("flip")
    assert torch.equal(found, -audio)
    audio, drawn, found = drawn_and_applied("gain")
    for i in range(len(audio)):
        expected = augment.gain(audio[i].numpy(), drawn["gain_db"][i])
        np.testing.assert_allclose(found[i], expected, atol=1e-6)


def test_filters_are_those_of_single_sounds() -> None:
    audio, drawn, found = drawn_and_applied("filter")
    assert 0 < drawn["low_pass"].sum() < len(audio)
    for i in range(len(audio)):
        change = augment.low_pass if drawn["low_pass"][i] else augment.high_pass
        expected = change(audio[i].numpy(), RATE, drawn["cutoff_hz"][i])
        np.testing.assert_allclose(found[i], expected, atol=1e-4)


def test_response_is_3_db_down_at_the_cutoff() -> None:
    cutoff = torch.tensor([[0.1], [0.1]])
    response = butterworth(torch.tensor([0.2 * np.pi]), cutoff, torch.tensor([[True], [False]]))
    np.testing.assert_allclose(response.abs(), 0.5**0.5, atol=1e-5)


def test_echoes_are_those_of_single_sounds() -> None:
    audio, drawn, found = drawn_and_applied("delay")
    for i in range(len(audio)):
        late = drawn["delay_samples"][i] / RATE
        expected = augment.delay(audio[i].numpy(), RATE, late, gain_db=drawn["echo_db"][i])
        np.testing.assert_allclose(found[i], expected, atol=1e-4)


def test_noise_has_its_level() -> None:
    audio, drawn, found = drawn_and_applied("noise")
    power = [x.square().mean(dim=1).numpy() for x in (audio, found - audio)]
    np.testing.assert_allclose(10 * np.log10(power[0] / power[1]), drawn["snr_db"], atol=0.3)


def test_rooms_keep_the_level_and_fade() -> None:
    views, click = only("room"), torch.zeros(8, N)
    click[:, 0] = 1.0
    drawn = views.draw(8, np.random.default_rng(0))
    drawn["rt60_s"][:], drawn["direct_db"][:] = 0.4, 0.0
    found = views.apply(click, drawn, torch.Generator().manual_seed(0)).numpy()
    np.testing.assert_allclose((found**2).sum(axis=1), 1, atol=1e-3)
    rest = found[:, 1:] ** 2
    np.testing.assert_allclose(rest.sum(axis=1), found[:, 0] ** 2, rtol=1e-3)
    early, late = (rest[:, begin : begin + 400].mean() for begin in (100, 100 + RATE // 5))
    assert 10 * np.log10(early / late) == pytest.approx(30, abs=1.5)  # in 0.2 s of 0.4 s for 60
    assert np.abs(found[:, 1:50]).max() < 1e-5


@pytest.mark.parametrize("semitones", [-7, -2, 3, 7])
def test_pitch_moves_by_semitones(semitones: int) -> None:
    tone = 0.3 * torch.sin(2 * torch.pi * 440 * torch.arange(19_683) / RATE)[None]
    shifted = shift_pitch(tone, semitones, 1024)
    assert shifted.shape == tone.shape
    middle = shifted[0, 4000:12_192].numpy() * np.hanning(8192)
    peak = np.abs(np.fft.rfft(middle, 2**17)).argmax() * RATE / 2**17
    assert 1200 * np.log2(peak / 440) == pytest.approx(100 * semitones, abs=6)
    level = shifted[0, 4000:-4000].square().mean().sqrt() / tone.square().mean().sqrt()
    assert float(level) == pytest.approx(1, abs=0.1)


def test_views_keep_length_type_and_level_and_follow_the_generator() -> None:
    views, audio = Views(RATE), batch(32)
    found = views(audio, np.random.default_rng(5))
    assert found.shape == audio.shape and found.dtype == audio.dtype
    assert torch.equal(found, views(audio, np.random.default_rng(5)))
    rng = np.random.default_rng(5)
    first, second = views(audio, rng), views(audio, rng)
    assert torch.equal(first, found)
    assert ((first - second).abs().amax(dim=1) > 1e-3).all()
    level_db = 10 * torch.log10(found.square().mean(dim=1) / audio.square().mean(dim=1))
    # an echo adds at most 3 dB of pressure to itself; a gain and a filter take away
    most_db = 20 * np.log10(1 + db_to_amplitude(-3))
    assert -45 < level_db.min() and level_db.max() < most_db
    assert torch.isfinite(found).all()
    assert torch.isfinite(views(torch.zeros(4, N), np.random.default_rng(0))).all()


def test_left_out_is_left_out() -> None:
    nothing = Views(RATE, without=tuple(KINDS))
    audio = batch(4)
    assert torch.equal(nothing(audio, np.random.default_rng(0)), audio)
