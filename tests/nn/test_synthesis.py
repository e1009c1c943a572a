from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.signal
import torch

from dl101.errors import ConfigError, ShapeError
from dl101.nn import synthesis
from dl101.nn.synthesis import (
    exp_sigmoid,
    filtered_noise,
    frequencies_from_logits,
    harmonics,
    ltv_filter,
    oscillator_bank,
    phases,
    reverb,
    sawtooth,
    upsample_hann,
    upsample_linear,
    wavetables,
)

RATE, HOP = 16_000, 160


def full(value, n_frames, *channels):
    return torch.full((1, n_frames, *channels), float(value))


def frames(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def db(ratio):
    return 20 * math.log10(ratio)


# ---- controls ----------------------------------------------------------------------------------


def test_exp_sigmoid_is_the_papers():
    x = torch.linspace(-20, 20, 41)
    expected = 2.0 * (1 / (1 + np.exp(-x.double().numpy()))) ** math.log(10) + 1e-7
    np.testing.assert_allclose(exp_sigmoid(x).numpy(), expected, rtol=1e-5)
    assert exp_sigmoid(torch.tensor(50.0), maximum=3.0) == pytest.approx(3.0)


def test_one_sure_bin_is_its_frequency_and_doubt_is_the_mean_in_hertz():
    bins = np.geomspace(20, 1200, 64)
    sure = torch.full((64, 64), -1e4).fill_diagonal_(0.0)
    np.testing.assert_allclose(frequencies_from_logits(sure, 20, 1200), bins, rtol=1e-5)
    doubt = frequencies_from_logits(torch.zeros(2, 3, 64), 20, 1200)
    assert doubt.shape == (2, 3)
    np.testing.assert_allclose(doubt, bins.mean(), rtol=1e-5)
    for low, high, n in ((0, 100, 8), (200, 100, 8), (20, 100, 1)):
        with pytest.raises(ConfigError, match="low_hz < high_hz"):
            frequencies_from_logits(torch.zeros(n), low, high)


# ---- from frames to samples ----------------------------------------------------------------------


@pytest.mark.parametrize("hop", [1, 3, 64])
def test_lines_pass_through_frames_and_hold_the_last(hop):
    x = frames(2, 7, 3)
    got = upsample_linear(x, hop)
    at = np.minimum(np.arange(7 * hop) / hop, 6)
    expected = np.stack(
        [[np.interp(at, np.arange(7), x[b, :, c]) for c in range(3)] for b in range(2)]
    )
    np.testing.assert_allclose(got.numpy(), expected.transpose(0, 2, 1), atol=1e-6)


@pytest.mark.parametrize("hop", [1, 3, 64])
def test_hann_windows_are_added_and_their_sum_is_constant(hop):
    x = frames(2, 7, 3).double()
    window = scipy.signal.get_window("hann", 2 * hop)
    expected = np.zeros((2, 9 * hop, 3))
    held = np.concatenate([x.numpy(), x[:, -1:].numpy()], axis=1)
    for i in range(8):  # window i begins a hop before frame i
        expected[:, i * hop : (i + 2) * hop] += held[:, i, None] * window[:, None]
    np.testing.assert_allclose(upsample_hann(x, hop), expected[:, hop : 8 * hop], atol=1e-12)
    ones = upsample_hann(torch.ones(1, 5, 1, dtype=torch.float64), hop)
    np.testing.assert_allclose(ones, 1.0, atol=1e-15)


# ---- oscillators ---------------------------------------------------------------------------------


def test_phases_add_up_frequencies_from_the_initial_one():
    frequency = 4000 * frames(2, 500, 3)
    initial = 6 * frames(2, 3, seed=1)
    got = phases(frequency, RATE, initial)
    before = np.cumsum(frequency.double().numpy(), 1) - frequency.double().numpy()
    expected = 2 * np.pi * before / RATE + initial.double().numpy()[:, None]
    assert got.dtype == torch.float32
    assert float(got.min()) >= 0 and float(got.max()) <= 2 * math.pi
    np.testing.assert_allclose(np.exp(1j * got.numpy()), np.exp(1j * expected), atol=2e-6)


@pytest.mark.parametrize("f0", [27.5, 440.1, 3999.7])
@pytest.mark.parametrize(
    "maker", ["bank", "bank of two", "harmonics", "sawtooth", "wavetable", "phases"]
)
def test_constant_frequency_is_a_sine_over_ten_seconds(maker, f0):
    n = 10 * RATE // HOP
    one = full(1, n, 1)
    made = {
        "bank": lambda: oscillator_bank(full(f0, n, 1), one, HOP, RATE),
        "bank of two": lambda: oscillator_bank(full(f0, n, 2), full(0.5, n, 2), HOP, RATE),
        "harmonics": lambda: harmonics(full(f0, n), full(1, n), one, HOP, RATE),
        "sawtooth": lambda: sawtooth(full(f0, n), HOP, RATE, n_partials=1),
        "wavetable": lambda: wavetables(
            full(f0, n),
            full(1, n),
            torch.sin(2 * math.pi * torch.arange(4096) / 4096)[None],
            one,
            HOP,
            RATE,
        ),
        "phases": lambda: phases(full(f0, 10 * RATE, 1), RATE)[..., 0].sin(),
    }[maker]()
    exact = float(torch.tensor(f0))  # as float32 knows it
    expected = np.sin(2 * np.pi * exact * np.arange(10 * RATE) / RATE)
    assert made.shape == (1, 10 * RATE) and made.dtype == torch.float32
    np.testing.assert_allclose(made[0].numpy(), expected, atol=1e-5)


def test_bank_is_the_sum_sample_by_sample():
    frequency, amplitude = 50 + 3000 * frames(2, 9, 4), frames(2, 9, 4, seed=1)
    by_sample = phases(upsample_linear(frequency, HOP), RATE).sin()
    expected = (by_sample * upsample_hann(amplitude, HOP)).sum(-1)
    torch.testing.assert_close(
        oscillator_bank(frequency, amplitude, HOP, RATE), expected, atol=2e-5, rtol=0
    )


def test_harmonics_are_a_bank_at_multiples_with_shares():
    f0, amplitude, shares = 100 + 50 * frames(2, 9), frames(2, 9, seed=1), frames(2, 9, 5, seed=2)
    multiples = f0[..., None] * torch.arange(1, 6)
    weights = amplitude[..., None] * shares / shares.sum(-1, keepdim=True)
    torch.testing.assert_close(
        harmonics(f0, amplitude, shares, HOP, RATE),
        oscillator_bank(multiples, weights, HOP, RATE),
        atol=2e-5,
        rtol=0,
    )


def test_what_is_at_or_above_half_the_rate_is_silent_and_the_rest_keeps_the_amplitude():
    loud = oscillator_bank(full(RATE / 2, 20, 1), full(1, 20, 1), HOP, RATE)
    assert not loud.any()
    n = 100
    got = harmonics(full(3000, n), full(0.6, n), full(1, n, 40), HOP, RATE)  # 3 and 6 kHz are left
    t = np.arange(n * HOP) / RATE
    expected = 0.3 * np.sin(2 * np.pi * 3000 * t) + 0.3 * np.sin(2 * np.pi * 6000 * t)
    np.testing.assert_allclose(got[0].numpy(), expected, atol=1e-5)
    assert not harmonics(full(9000, n), full(1, n), full(1, n, 4), HOP, RATE).any()


def test_a_rising_partial_is_gone_before_it_folds():
    n = 200
    rising = torch.linspace(6000, 12_000, n)[None, :, None]
    sound = oscillator_bank(rising, full(1, n, 1), HOP, RATE)[0]
    over = int((rising[0, :, 0] >= RATE / 2).nonzero()[0]) - 1
    assert not sound[over * HOP :].any()
    assert float(sound[: over * HOP].abs().max()) > 0.99
    # no click: it fades out within a hop, so the last samples are soft
    assert float(sound[over * HOP - 4 : over * HOP].abs().max()) < 0.01


def test_sawtooth_has_partials_falling_as_1_over_k_and_becomes_a_line():
    n = 100
    got = sawtooth(full(110, n), HOP, RATE, n_partials=1000)[0].double().numpy()
    t = np.arange(n * HOP) / RATE
    below = [k for k in range(1, 1000) if 110 * k < RATE / 2]
    np.testing.assert_allclose(
        got, sum(np.sin(2 * np.pi * 110 * k * t) / k for k in below), atol=2e-5
    )
    slow = sawtooth(full(5, n), HOP, RATE, n_partials=1500)[0].numpy()
    turns = (5 * t) % 1
    inside = (turns > 0.05) & (turns < 0.95)
    np.testing.assert_allclose(slow[inside], np.pi * (0.5 - turns)[inside], atol=0.01)


def test_wavetable_reads_each_table_by_its_weight():
    n, k = 50, torch.arange(2048) / 2048
    tables = torch.stack([(2 * math.pi * k).sin(), (2 * math.pi * 3 * k).sin()])
    weights = torch.stack([torch.linspace(0, 1, n), torch.linspace(1, 0, n)], -1)[None]
    got = wavetables(full(200, n), full(0.5, n), tables, weights, HOP, RATE)
    expected = oscillator_bank(torch.tensor([200.0, 600]).expand(1, n, 2), weights / 2, HOP, RATE)
    torch.testing.assert_close(got, expected, atol=2e-5, rtol=0)
    with pytest.raises(ShapeError, match="one table for each weight"):
        wavetables(full(200, n), full(1, n), tables, weights[..., :1], HOP, RATE)


# ---- filters -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("bands", "hop"), [(256, 240), (80, 240), (65, 64), (2, 7), (65, 500)])
def test_the_delay_of_a_filter_is_taken_out_to_the_sample(bands, hop):
    sound = torch.randn(2, 12 * hop, generator=torch.Generator().manual_seed(0))
    flat = torch.ones(2, 12, bands)
    torch.testing.assert_close(ltv_filter(sound, flat, hop), sound, atol=1e-5, rtol=0)
    late = ltv_filter(sound, flat, hop, compensate=False)
    delay = bands - 1  # 255 and 79 for SawSing's two
    torch.testing.assert_close(late[:, delay:], sound[:, :-delay], atol=1e-5, rtol=0)
    torch.testing.assert_close(late[:, :delay], torch.zeros(2, delay), atol=1e-5, rtol=0)


def test_a_filter_is_convolution_piece_by_piece():
    bands, hop, n = 17, 20, 6
    sound = torch.randn(1, n * hop, generator=torch.Generator().manual_seed(0)).double()
    gains = frames(1, n, bands).double()
    expected = np.zeros((n + 4) * hop)
    for i in range(n + 1):
        gain = gains[0, min(i, n - 1)].numpy()
        response = np.roll(np.fft.irfft(gain), bands - 1) * scipy.signal.get_window("hann", 32)
        piece = np.zeros((n + 2) * hop)
        piece[hop : (n + 1) * hop] = sound[0]
        window = scipy.signal.get_window("hann", 2 * hop)
        made = np.convolve(piece[i * hop : (i + 2) * hop] * window, response)
        expected[i * hop : i * hop + len(made)] += made
    start = hop + bands - 1
    np.testing.assert_allclose(
        ltv_filter(sound, gains, hop)[0], expected[start : start + n * hop], atol=1e-12
    )
    with pytest.raises(ShapeError, match="whole number of frames"):
        ltv_filter(sound[:, :-1], gains, hop)


@pytest.mark.parametrize("gain_db", [0, -20, -40])
def test_noise_bands_have_their_level(gain_db):
    gains = torch.full((1, 2000, 65), 10 ** (gain_db / 20))
    gains[..., 33:] = 0
    noise = filtered_noise(gains, HOP, torch.Generator().manual_seed(0))[0].numpy()
    hz, density = scipy.signal.welch(noise, RATE, nperseg=1024)
    level = np.sqrt(density * RATE / 2)  # 1 for white noise of RMS 1
    for low, high in ((200, 1000), (1000, 2000), (2000, 3600)):
        inside = (hz > low) & (hz < high)
        assert db(np.sqrt(np.mean(level[inside] ** 2))) == pytest.approx(gain_db, abs=0.5)
    assert db(np.sqrt(np.mean(level[(hz > 4500) & (hz < 7900)] ** 2))) < gain_db - 45
    again = filtered_noise(gains, HOP, torch.Generator().manual_seed(0))[0].numpy()
    np.testing.assert_array_equal(noise, again)


def test_reverb_is_convolution_cut_at_the_end():
    sound, room = frames(2, 300), frames(2, 70, seed=1)
    got = reverb(sound, room)
    for row in range(2):
        expected = np.convolve(sound[row], room[row])[:300]
        np.testing.assert_allclose(got[row], expected, atol=1e-4)
        one = reverb(sound, room[0])[row]
        np.testing.assert_allclose(one, np.convolve(sound[row], room[0])[:300], atol=1e-4)


# ---- gradients -----------------------------------------------------------------------------------


def control(*shape, seed=0, low=0.1, high=1.0):
    x = low + (high - low) * frames(*shape, seed=seed)
    return x.double().requires_grad_()


@pytest.fixture
def in_doubles(monkeypatch):
    """Sounds in float64, so that differences quotients are exact enough."""
    monkeypatch.setattr(torch, "float32", torch.float64)


def test_gradients_are_those_of_difference_quotients(in_doubles):
    n, hop, rate = 3, 5, 100.0
    f0 = control(2, n, low=3.0, high=9.0)
    many = control(2, n, 3, low=3.0, high=20.0)
    level, shares = control(2, n, seed=1), control(2, n, 3, seed=2)
    tables, gains = control(3, 16, seed=3), control(2, n, 4, seed=4)
    signal, room, logits = control(2, n * hop, seed=5), control(6, seed=6), control(2, 8, seed=7)
    for function, parameters in (
        (lambda f, start: phases(f, rate, start), (many, room[:6].reshape(2, 3))),
        (lambda f, a: oscillator_bank(f, a, hop, rate), (many, shares)),
        (lambda f, a, s: harmonics(f, a, s, hop, rate), (f0, level, shares)),
        (lambda f: sawtooth(f, hop, rate, n_partials=4), (f0,)),
        (lambda f, a, t, w: wavetables(f, a, t, w, hop, rate), (f0, level, tables, shares)),
        (lambda s, m: ltv_filter(s, m, hop), (signal, gains)),
        (lambda m: filtered_noise(m, hop, torch.Generator().manual_seed(0)), (gains,)),
        (reverb, (signal, room)),
        (lambda x: frequencies_from_logits(x, 20, 100), (logits,)),
        (exp_sigmoid, (logits,)),
        (lambda x: upsample_hann(x, hop), (shares,)),
        (lambda x: upsample_linear(x, hop), (shares,)),
    ):
        assert torch.autograd.gradcheck(function, parameters, eps=1e-6, atol=1e-5)
        made = function(*parameters)
        weights = torch.randn(made.shape, generator=torch.Generator().manual_seed(1)).double()
        for gradient in torch.autograd.grad((made * weights).sum(), parameters):
            assert gradient.isfinite().all() and (gradient != 0).any()


def test_shapes_are_refused_in_words():
    with pytest.raises(ShapeError, match="batch, frame, channel"):
        upsample_hann(torch.zeros(3, 4), HOP)
    with pytest.raises(ShapeError, match="same frames"):
        harmonics(full(100, 5), full(1, 4), full(1, 5, 3), HOP, RATE)
    with pytest.raises(ShapeError, match="same frames"):
        oscillator_bank(full(100, 5, 2), full(1, 5, 3), HOP, RATE)


def test_lengths_of_transforms_have_small_factors_only():
    for n in (1, 2, 7, 97, 1021, 4801):
        length = synthesis._fast_length(n)
        assert length >= n and length % 2 == 0
        for prime in (2, 3, 5):
            while length % prime == 0:
                length //= prime
        assert length == 1
