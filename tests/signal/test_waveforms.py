"""Sampling, quantisation, mu-law and level against closed forms, torchaudio and BS.1770."""

from __future__ import annotations

import numpy as np
import pytest

from dl101.errors import DataError
from dl101.signal import waveforms

# BS.1770-5, tables 1 and 2: b0 b1 b2 a1 a2 at 48 kHz
SHELF = (1.53512485958697, -2.69169618940638, 1.19839281085285, -1.69065929318241, 0.73248077421585)
HIGH_PASS = (1.0, -2.0, 1.0, -1.99004745483398, 0.99007225036621)


def sine(frequency_hz: float, duration_s: float, rate: int = 48000, peak_db: float = 0.0):
    """Return a sine of a peak level."""
    t = np.arange(round(duration_s * rate)) / rate
    return 10 ** (peak_db / 20) * np.sin(2 * np.pi * frequency_hz * t)


def noise(n: int = 200_000, seed: int = 3):
    """Return uniform noise of full scale."""
    return np.random.default_rng([seed]).uniform(-1, 1, n)


# ---- sampling ----------------------------------------------------------------------------------


@pytest.mark.parametrize("frequency_hz", [100.0, 1999.0, 2001.0, 3000.0, 4100.0, 6500.0, 9999.0])
def test_alias_is_the_peak_of_the_spectrum_of_the_samples(frequency_hz: float) -> None:
    rate = 4000
    samples = np.cos(2 * np.pi * frequency_hz * np.arange(rate) / rate)
    peak = np.argmax(np.abs(np.fft.rfft(samples)))  # one bin is one hertz
    assert waveforms.alias_hz(frequency_hz, rate) == peak


def test_aliases_stay_below_half_the_rate() -> None:
    folded = waveforms.alias_hz(np.linspace(0, 50_000, 9_999), 8000)
    assert folded.min() >= 0 and folded.max() <= 4000


# ---- quantisation ------------------------------------------------------------------------------


@pytest.mark.parametrize("n_bits", [4, 8, 12, 16])
def test_a_full_sine_has_the_snr_of_the_textbook(n_bits: int) -> None:
    step = 2.0 ** (1 - n_bits)
    x = (1 - step) * sine(997.0, 2.0)
    measured = waveforms.snr_db(x, waveforms.quantise(x, n_bits))
    assert measured == pytest.approx(6.02 * n_bits + 1.76, abs=1.2 if n_bits == 4 else 0.15)


@pytest.mark.parametrize("n_bits", [1, 3, 8])
def test_quantised_values_are_the_grid_and_the_nearest(n_bits: int) -> None:
    x = noise(5000) * 1.2
    step = 2.0 ** (1 - n_bits)
    y = waveforms.quantise(x, n_bits)
    assert np.array_equal(y / step, np.round(y / step))
    assert len(np.unique(y)) == 2**n_bits
    assert y.min() == -1 and y.max() == 1 - step
    inside = (x > -1) & (x < 1 - step)
    assert np.max(np.abs(y - x)[inside]) <= step / 2


def test_16_bits_keep_a_wav_file_exactly() -> None:
    codes = np.arange(-(2**15), 2**15)
    assert np.array_equal(waveforms.quantise(codes / 2**15, 16) * 2**15, codes)


def test_dither_makes_the_error_independent_of_the_signal() -> None:
    """Triangular dither: mean 0 and power 3 step**2 / 12 at every place between two codes."""
    n_bits, n = 8, 200_000
    step = 2.0 ** (1 - n_bits)
    for place in (0.0, 0.25, 0.4, 0.5):
        x = np.full(n, place * step)
        y = waveforms.quantise(x, n_bits, dither="triangular", rng=np.random.default_rng([1]))
        assert np.mean(y - x) == pytest.approx(0, abs=0.01 * step)
        assert np.mean((y - x) ** 2) == pytest.approx(3 * step**2 / 12, rel=0.02)


def test_dither_keeps_what_is_softer_than_a_step() -> None:
    x = 0.3 * 2.0**-7 * sine(440.0, 1.0, 22050)
    dithered = waveforms.quantise(x, 8, dither="triangular", rng=np.random.default_rng([2]))
    assert not waveforms.quantise(x, 8).any()
    assert np.dot(dithered, x) / np.dot(x, x) == pytest.approx(1, abs=0.1)


def test_quantise_says_what_is_wrong() -> None:
    with pytest.raises(DataError, match="1 to 24"):
        waveforms.quantise([0.0], 0)
    with pytest.raises(DataError, match="generator"):
        waveforms.quantise([0.0], 8, dither="triangular")
    with pytest.raises(DataError, match="triangular"):
        waveforms.quantise([0.0], 8, dither="square")


# ---- mu-law ------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_codes", [16, 256])
def test_mu_law_is_torchaudios(n_codes: int) -> None:
    import torch

    from dl101.nn.torchaudio_compat import torchaudio

    functional = torchaudio.functional
    x = torch.from_numpy(np.concatenate([noise(20_000), 0.01 * noise(20_000), [-1.0, 0.0, 1.0]]))
    codes = functional.mu_law_encoding(x, n_codes)
    assert np.array_equal(waveforms.mu_law_encode(x.numpy(), n_codes), codes.numpy())
    every = np.arange(n_codes)
    theirs = functional.mu_law_decoding(torch.from_numpy(every), n_codes).numpy()
    assert np.allclose(waveforms.mu_law_decode(every, n_codes), theirs, atol=1e-6)


def test_every_mu_law_code_comes_back() -> None:
    every = np.arange(256)
    assert np.array_equal(waveforms.mu_law_encode(waveforms.mu_law_decode(every)), every)
    assert waveforms.mu_law_encode([-7.0, -1.0, 0.0, 1.0, 7.0]).tolist() == [0, 0, 128, 255, 255]


def test_mu_law_serves_soft_sounds_and_linear_loud_ones() -> None:
    def gain_db(peak_db: float) -> float:
        x = sine(997.0, 1.0, peak_db=peak_db)
        mu_law = waveforms.mu_law_decode(waveforms.mu_law_encode(x))
        return waveforms.snr_db(x, mu_law) - waveforms.snr_db(x, waveforms.quantise(x, 8))

    assert gain_db(-40) > 15
    assert gain_db(-0.1) < -8


def test_mu_law_refuses_codes_that_do_not_exist() -> None:
    with pytest.raises(DataError, match="0 to 255"):
        waveforms.mu_law_decode([256])


# ---- level -------------------------------------------------------------------------------------


def test_levels_of_a_sine_and_of_a_square_wave() -> None:
    x = sine(1000.0, 1.0)
    assert waveforms.level_dbfs(x) == pytest.approx(-3.0103, abs=1e-3)
    assert waveforms.crest_factor_db(x) == pytest.approx(3.0103, abs=1e-3)
    assert waveforms.level_dbfs(np.sign(x + 1e-9)) == pytest.approx(0, abs=1e-9)
    assert waveforms.level_dbfs(np.zeros(10)) == -120


def test_to_level_reaches_it_and_leaves_silence() -> None:
    assert waveforms.level_dbfs(waveforms.to_level(noise(1000), -23.0)) == pytest.approx(-23)
    assert not waveforms.to_level(np.zeros(10), -23.0).any()


def test_snr() -> None:
    assert waveforms.snr_db([1.0, -1.0], [1.1, -1.1]) == pytest.approx(20)
    assert waveforms.snr_db([1.0], [1.0]) == np.inf


def test_k_weighting_has_the_coefficients_of_the_recommendation() -> None:
    shelf, high_pass = waveforms.k_weighting(48000)
    assert np.allclose(np.delete(shelf, 3), SHELF, atol=1e-10)
    assert np.allclose(np.delete(high_pass, 3), HIGH_PASS, atol=1e-10)


@pytest.mark.parametrize("rate", [16000, 22050, 44100, 48000])
def test_the_reference_sine_reads_minus_3_01(rate: int) -> None:
    x = sine(997.0, 5.0, rate)
    tolerance = 0.005 if rate == 48000 else 0.05  # the filters are warped at low rates
    for signal, expected in ((x, -3.01), (np.stack([x, 0 * x]), -3.01), (np.stack([x, x]), 0.0)):
        measured = waveforms.loudness_lufs(signal, rate)
        assert measured == pytest.approx(expected, abs=tolerance)


# EBU Tech 3341: stereo sines of 1 kHz, (peak level in dBFS, seconds); the answer is -23.0 +- 0.1
EBU = {
    "1": [(-23, 20)],
    "3": [(-36, 10), (-23, 60), (-36, 10)],
    "4": [(-72, 10), (-36, 10), (-23, 60), (-36, 10), (-72, 10)],
    "5": [(-26, 20), (-20, 20.1), (-26, 20)],
}


@pytest.mark.parametrize("case", EBU)
def test_ebu_cases(case: str) -> None:
    parts = [sine(1000.0, seconds, 22050, level) for level, seconds in EBU[case]]
    x = np.concatenate(parts)
    assert waveforms.loudness_lufs(np.stack([x, x]), 22050) == pytest.approx(-23.0, abs=0.1)


def test_loudness_follows_the_gain() -> None:
    x = 0.1 * noise(44_100)
    louder = waveforms.loudness_lufs(2 * x, 22050) - waveforms.loudness_lufs(x, 22050)
    assert louder == pytest.approx(20 * np.log10(2))


def test_near_silence_does_not_count_nor_move_the_relative_gate() -> None:
    loud, soft = sine(1000.0, 2.0, 8000, -20), sine(1000.0, 2.0, 8000, -36)
    alone = waveforms.loudness_lufs(loud, 8000)
    with_rests = np.concatenate([loud, soft, sine(1000.0, 60.0, 8000, -90)])
    assert waveforms.loudness_lufs(with_rests, 8000) == pytest.approx(alone, abs=0.5)


def test_loudness_of_silence_and_of_wrong_shapes() -> None:
    assert waveforms.loudness_lufs(np.zeros(22050), 22050) == -np.inf
    with pytest.raises(DataError, match=r"0\.4 s"):
        waveforms.loudness_lufs(np.ones(100), 22050)
    with pytest.raises(DataError, match="channels first"):
        waveforms.loudness_lufs(np.ones((22050, 2)), 22050)
