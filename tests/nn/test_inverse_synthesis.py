"""Encoders against their counts, losses against brute force, the heuristic against known series."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from dl101.errors import ConfigError
from dl101.nn import inverse_synthesis as parts
from dl101.nn.inverse_synthesis import HarmonicConfig, SinusoidalConfig
from dl101.units import hz_to_midi, midi_to_hz

COUNTS = json.loads(
    (Path(__file__).parents[1] / "golden" / "parameter_counts.json").read_text("utf-8")
)
FULL = SinusoidalConfig(
    n_bands=229,
    stem=64,
    pool=True,
    widths=(32, 64, 128, 256),
    blocks=(2, 3, 4, 3),
    strides=(1, 2, 2, 2),
    norm="clip",
    head="dense",
    n_sines=100,
    n_bins=64,
)
SMALL = SinusoidalConfig(n_bands=32, stem=4, widths=(2, 3), blocks=(1, 1), n_noise=5, n_bins=4)


def n_parameters(module):
    return sum(p.numel() for p in module.parameters())


def draws(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# ---- encoders ----------------------------------------------------------------------------------


def test_the_published_sizes_are_those_of_the_paper():
    with torch.device("meta"):
        body = parts.ResNet(FULL)
        encoder = parts.SinusoidalEncoder(FULL)
        ends = torch.ones(()), torch.ones(())
        config = HarmonicConfig(hidden=512, n_harmonics=100, n_bins=64, mean="hertz", series=0)
    # the lists of pitches are plain numbers, which a device without memory does not hold
    harmonic = parts.HarmonicEncoder(config, 100, *(torch.ones_like(x, device="cpu") for x in ends))
    assert n_parameters(body) == 5_256_320
    assert n_parameters(encoder) == COUNTS["ddspinv/sinusoidal encoder"]["count"]
    assert n_parameters(harmonic) == COUNTS["ddspinv/harmonic encoder"]["count"]
    assert body.n_places == 8
    convolutions = [m for m in body.modules() if isinstance(m, torch.nn.Conv2d)]
    assert len(convolutions) - 4 == 37  # without the ways around


@pytest.mark.parametrize("head", ["dense", "zones"])
@pytest.mark.parametrize("norm", ["clip", "none"])
@pytest.mark.parametrize("mean", ["hertz", "semitones"])
@pytest.mark.parametrize("pool", [True, False])
def test_every_frame_is_heard_and_every_weight_learns(head, norm, mean, pool):
    torch.manual_seed(0)
    config = SinusoidalConfig(**{**SMALL.__dict__, "head": head, "norm": norm, "pool": pool})
    encoder = parts.SinusoidalEncoder(config)
    harmonic = parts.HarmonicEncoder(
        HarmonicConfig(width=8, hidden=6, n_harmonics=7, n_bins=9, mean=mean, series=3),
        encoder.n_sines,
        encoder.lowest_hz,
        encoder.highest_hz,
    )
    sines = encoder(torch.randn(2, 1, 32, 11))
    said, state = harmonic(sines.frequencies_hz, sines.amplitudes)
    assert sines.frequencies_hz.shape == sines.amplitudes.shape == (2, 11, encoder.n_sines)
    assert sines.noise.shape == (2, 11, 5) and state.shape == (1, 2, 6)
    assert said.f0_hz.shape == said.amplitude.shape == (2, 11)
    assert said.distribution.shape == (2, 11, 7) and said.pitch_logits.shape == (2, 11, 9)
    assert (sines.frequencies_hz >= encoder.lowest_hz).all()
    assert (sines.frequencies_hz <= encoder.highest_hz).all()
    torch.testing.assert_close(said.distribution.sum(-1), torch.ones(2, 11))
    assert (said.f0_hz >= 20).all() and (said.f0_hz <= 1200.01).all()
    given = [*sines, *said[:3]]
    sum((x * torch.randn_like(x)).sum() for x in given).backward()
    for module in (encoder, harmonic):
        for name, p in module.named_parameters():
            if name == "series.layers.4.bias":  # added to all logits alike
                continue
            assert p.grad is not None and p.grad.abs().max() > 0, name


def test_zones_lie_side_by_side_and_reach_from_end_to_end():
    encoder = parts.SinusoidalEncoder(SinusoidalConfig())
    low, high = encoder.lowest_hz[::2], encoder.highest_hz[::2]
    assert len(low) == 48 and encoder.n_sines == 96
    assert low[0] == 20 and high[-1] == pytest.approx(8000)
    assert (low[1:] < high[:-1]).all() and (low[1:] > low[:-1]).all()  # no gap


def test_without_a_maximum_sines_begin_where_it_is_loud():
    """A band that stands out moves the sines of its zone to it, before anything is learned."""
    torch.manual_seed(0)
    encoder = parts.SinusoidalEncoder(SinusoidalConfig(pool=False))
    spectrum = torch.full((1, 1, 192, 3), -0.8)
    spectrum[:, :, 4 * 20 + 1] = 0.4
    said = encoder(spectrum)
    loudest = int(said.amplitudes[0, 1].argmax())
    assert loudest // 2 == 20
    low, high = (x[loudest].log() for x in (encoder.lowest_hz, encoder.highest_hz))
    place = (said.frequencies_hz[0, 1, loudest].log() - low) / (high - low)
    assert 0.25 < place < 0.5  # the second of the zone's four bands, between its neighbours'


def test_a_frame_depends_on_its_neighbours_alone_where_nothing_is_normalised():
    encoder = parts.SinusoidalEncoder(SMALL)
    x = torch.randn(1, 1, 32, 40)
    moved = x.clone()
    moved[..., 30:] += 5.0
    reach = encoder.body.context_frames
    assert reach == 5
    one, other = encoder(x).amplitudes, encoder(moved).amplitudes
    assert torch.equal(one[:, : 30 - reach], other[:, : 30 - reach])
    assert not torch.equal(one[:, 30 - reach], other[:, 30 - reach])


def test_the_recurrent_layer_goes_on_where_it_stopped():
    harmonic = parts.HarmonicEncoder(
        HarmonicConfig(width=8, hidden=6, n_harmonics=5), 4, torch.tensor(20.0), torch.tensor(8e3)
    )
    f, a = 20 + 7000 * torch.rand(1, 12, 4), torch.rand(1, 12, 4)
    whole, _ = harmonic(f, a)
    first, state = harmonic(f[:, :5], a[:, :5])
    second, _ = harmonic(f[:, 5:], a[:, 5:], state)
    torch.testing.assert_close(torch.cat([first.f0_hz, second.f0_hz], 1), whole.f0_hz)


def test_the_series_moves_with_the_sines():
    """A tone a whole number of bins higher has the same logits, as much higher."""
    torch.manual_seed(0)
    pitches = torch.arange(30.0, 80.0, 0.5)
    series = parts.HarmonicSeries(pitches, 4, 6)
    low = parts.hz_of(torch.tensor([50.0, 62, 69.02, 74, 90.3]))
    weights = torch.rand(1, 1, 5)
    one = series(low[None, None], weights)
    other = series(low[None, None] * 2 ** (3 / 12), weights)
    assert one.shape == (1, 1, 100)
    torch.testing.assert_close(other[..., 16:-10], one[..., 10:-16], atol=1e-4, rtol=0)
    torch.testing.assert_close(series(low[None, None], 0.01 * weights), one)  # a level is none


def test_stages_that_do_not_agree_are_refused():
    with pytest.raises(ConfigError, match="as many of each"):
        SinusoidalConfig(widths=(4, 8), blocks=(1,))


# ---- sets of sines -------------------------------------------------------------------------------


def density_by_hand(pitches, centres, weights, deviation):
    """Equation 8, term by term."""
    total = sum(weights)
    return [
        math.log(
            sum(
                w
                / total
                / (deviation * math.sqrt(2 * math.pi))
                * math.exp(-((f - c) ** 2) / (2 * deviation**2))
                for c, w in zip(centres, weights, strict=True)
            )
        )
        for f in pitches
    ]


@pytest.mark.parametrize("deviation", [0.1, 0.7])
def test_the_density_is_that_of_the_formula(deviation):
    centres, weights = 60 + draws(6), draws(6, seed=1)
    pitches = 60 + draws(4, seed=2)
    got = parts.log_density(pitches, centres, weights, deviation)
    wanted = density_by_hand(pitches.tolist(), centres.tolist(), weights.tolist(), deviation)
    np.testing.assert_allclose(got, wanted, rtol=1e-9)


@pytest.mark.parametrize("tail", [0.0, 0.3])
def test_a_density_has_an_area_of_one(tail):
    grid = torch.linspace(40, 90, 50001, dtype=torch.float64)
    density = parts.log_density(grid, 60 + 9 * draws(5), draws(5, seed=1), 0.2, tail).exp()
    assert torch.trapezoid(density, grid) == pytest.approx(1, abs=1e-6)


def test_the_loss_is_two_ways_and_a_difference_of_levels():
    fa, aa = 200 + 900 * draws(5), draws(5, seed=1)
    fb, ab = 200 + 900 * draws(7, seed=2), draws(7, seed=3)
    got = parts.consistency_loss(fa, aa, fb, ab, deviation=1.5)
    ma, mb = hz_to_midi(fa.numpy()), hz_to_midi(fb.numpy())
    one = density_by_hand(ma, mb, ab.tolist(), 1.5) @ (aa / aa.sum()).numpy()
    other = density_by_hand(mb, ma, aa.tolist(), 1.5) @ (ab / ab.sum()).numpy()
    level = abs(float(aa.sum() - ab.sum())) / 7
    assert got == pytest.approx(level - one - other, rel=1e-9)


def test_order_does_not_count_and_neither_does_which_set_comes_first():
    fa, aa = 100 + 3000 * draws(3, 6), draws(3, 6, seed=1)
    fb, ab = 100 + 3000 * draws(3, 4, seed=2), draws(3, 4, seed=3)
    loss = parts.consistency_loss(fa, aa, fb, ab)
    order = torch.tensor([3, 1, 5, 0, 2, 4])
    torch.testing.assert_close(parts.consistency_loss(fa[:, order], aa[:, order], fb, ab), loss)
    torch.testing.assert_close(parts.consistency_loss(fb, ab, fa, aa), loss)


def test_both_directions_are_needed():
    """One way, sines everywhere are no fault; the other way, all on one peak are none."""
    truth = torch.tensor([200.0, 400, 600, 800], dtype=torch.float64)
    level = torch.ones(4, dtype=torch.float64) / 4
    everywhere = torch.linspace(150, 900, 4, dtype=torch.float64) * torch.ones(25, 1)
    everywhere = torch.cat([truth, *everywhere * torch.linspace(0.9, 1.1, 25)[:, None]])
    gathered = torch.full_like(truth, 200.0)

    def loss(frequencies):
        weights = torch.full_like(frequencies, 1 / len(frequencies))
        return float(parts.consistency_loss(truth, level, frequencies, weights))

    assert loss(truth) < loss(everywhere) and loss(truth) < loss(gathered)
    to_truth = parts.log_density(parts.midi_of(gathered), parts.midi_of(truth), level)
    own = parts.log_density(parts.midi_of(truth), parts.midi_of(truth), level)
    assert to_truth.mean() == pytest.approx(float(own.mean()))  # this way, nothing is wrong


def test_the_loss_pulls_from_far_away_and_is_lowest_at_the_truth():
    truth, level = torch.tensor([300.0, 600.0]), torch.tensor([0.5, 0.5])
    for start in (250.0, 340.0, 420.0):
        guess = torch.tensor([start, 610.0], requires_grad=True)
        loss = parts.consistency_loss(truth, level, guess, level)
        loss.backward()
        assert torch.isfinite(loss)
        assert np.sign(float(guess.grad[0])) == np.sign(start - 300)
    # silence on one side is no number's end
    silent = parts.consistency_loss(truth, torch.zeros(2), truth, level)
    assert torch.isfinite(silent)


# ---- the heuristic -------------------------------------------------------------------------------


@pytest.mark.parametrize("f0_hz", [55.0, 131.0, 440.0])
def test_the_two_way_mismatch_finds_the_fundamental_of_a_series(f0_hz):
    numbers = torch.arange(1, 11, dtype=torch.float64)
    frequencies, amplitudes = f0_hz * numbers, 1 / numbers
    order = torch.randperm(10, generator=torch.Generator().manual_seed(1))
    found, loss = parts.two_way_mismatch(frequencies[None, order], amplitudes[None, order])
    assert found[0] == pytest.approx(f0_hz)
    assert torch.isfinite(loss).all()


def test_the_two_way_mismatch_is_the_best_of_all_candidates():
    f, a = 60 + 1500 * draws(3, 12), draws(3, 12, seed=1)
    found, loss = parts.two_way_mismatch(f, a, n_candidates=12, n_harmonics=6, deviation=0.5)
    for row in range(3):
        inside = [x for x in f[row].tolist() if x <= 1200]
        tried = {
            x: float(
                parts.consistency_loss(
                    x * torch.arange(1.0, 7.0, dtype=torch.float64),
                    torch.ones(6, dtype=torch.float64),
                    f[row],
                    a[row],
                    deviation=0.5,
                )
            )
            for x in inside
        }
        best = min(tried, key=tried.get)
        assert float(found[row]) == pytest.approx(best)
        assert float(loss[row]) == pytest.approx(tried[best])


def test_conversions_are_those_of_the_library():
    hz = torch.tensor([27.5, 440.0, 1000.0], dtype=torch.float64)
    np.testing.assert_allclose(parts.midi_of(hz), hz_to_midi(hz.numpy()))
    np.testing.assert_allclose(parts.hz_of(parts.midi_of(hz)), hz)
    np.testing.assert_allclose(midi_to_hz(parts.midi_of(hz).numpy()), hz)


def test_the_spread_of_a_softmax_counts_where_its_mean_does_not():
    pitches = torch.arange(40.0, 80.0)
    truth = torch.tensor([60.0])
    narrow = -0.5 * (pitches - 60)[None] ** 2
    wide = -0.01 * (pitches - 60)[None] ** 2
    aside = -0.5 * (pitches - 64)[None] ** 2
    cost = [float(parts.pitch_cross_entropy(x, truth, pitches)) for x in (narrow, wide, aside)]
    assert cost[0] < cost[1] < cost[2]


def test_where_two_pitches_are_likely_the_likelier_is_said_not_their_mean():
    pitches = torch.arange(40.0, 80.0, 0.5)

    def bell(at):
        return torch.exp(-2 * (pitches - at) ** 2)

    logits = torch.log(0.6 * bell(50.2) + 0.4 * bell(62.2) + 1e-9)[None]
    mean = float((logits.softmax(-1) * pitches).sum())
    assert 54 < mean < 56
    assert float(parts.likeliest_pitch(logits, pitches)) == pytest.approx(50.2, abs=0.1)
    coarse = pitches[::4]  # bins further apart than the reach: the next ones count
    found = parts.likeliest_pitch(-0.1 * (coarse[None] - 50.9) ** 2, coarse)
    assert 50.1 < float(found) < 51.9


# ---- the rival -----------------------------------------------------------------------------------


def test_the_classifier_reads_the_pitch_between_its_classes():
    pitches = torch.linspace(24, 84, 301)
    network = parts.PitchClassifier(pitches, (4, 4, 4, 4, 4, 4))
    truth = torch.tensor([24.0, 51.07, 60.33, 83.9])
    bell = torch.exp(-0.5 * ((pitches - truth[:, None]) / 0.25) ** 2).clamp(1e-6, 1 - 1e-6)
    found = network.pitch(torch.logit(bell))
    torch.testing.assert_close(found[1:3], truth[1:3], atol=0.02, rtol=0)
    torch.testing.assert_close(found, truth, atol=0.3, rtol=0)  # at the ends a part is missing
    frames = torch.randn(4, 1024)
    torch.testing.assert_close(network.eval()(frames), network(5 * frames + 1), atol=1e-4, rtol=0)
    network.loss(frames, truth).sum().backward()
    assert all(p.grad.abs().max() > 0 for p in network.parameters())
