"""Scores of sung sounds, on sounds whose pitch and phase are known."""

from __future__ import annotations

import numpy as np
import pytest

from dl101.evaluation import singing

RATE, HOP = 24_000, 240


def voice(f0_hz: np.ndarray, cents: float = 0.0, jumps: bool = False) -> np.ndarray:
    """Return four harmonics that follow a fundamental of each frame, with or without glitches."""
    known = np.interp(
        np.arange(len(f0_hz)), np.flatnonzero(np.isfinite(f0_hz)), f0_hz[np.isfinite(f0_hz)]
    )
    per_sample = np.interp(np.arange((len(f0_hz) - 1) * HOP) / HOP, np.arange(len(f0_hz)), known)
    per_sample = per_sample * 2 ** (cents / 1200)
    turns = (np.cumsum(per_sample) - per_sample) / RATE
    if jumps:
        turns = turns + np.random.default_rng(0).random(len(f0_hz))[np.arange(len(turns)) // HOP]
    return sum(0.1 / k * np.sin(2 * np.pi * k * turns) for k in (1, 2, 3, 4)).astype(np.float32)


@pytest.fixture
def f0_hz() -> np.ndarray:
    times = np.arange(201) * HOP / RATE
    found = 220.0 * 2 ** (0.5 / 12 * np.sin(2 * np.pi * 5 * times))
    found[90:110] = np.nan
    return found


def test_frames_count_inside_what_is_voiced():
    f0 = np.array([1, 1, 1, 1, np.nan, 1, 1, 1, 1, 1.0])
    assert singing.inside(f0, 1).tolist() == [False, True, True] + 3 * [False] + 3 * [True] + [
        False
    ]
    assert singing.inside(f0, 0).tolist() == np.isfinite(f0).tolist()
    assert not singing.inside(np.full(5, np.nan)).any()


@pytest.mark.parametrize("cents", [0.0, 30.0, -80.0, 1200.0])
def test_an_error_of_pitch_is_found_in_cents(f0_hz, cents):
    found = singing.f0_error(voice(f0_hz, cents), f0_hz, RATE, HOP)
    assert found["f0_cents"] == pytest.approx(abs(cents), abs=6)
    assert found["f0_wrong"] == pytest.approx(float(abs(cents) > 50), abs=0.01)
    wanted = np.mean(f0_hz[singing.inside(f0_hz)]) * abs(2 ** (cents / 1200) - 1)
    assert found["f0_hz"] == pytest.approx(wanted, abs=1)


def test_nothing_voiced_gives_no_number(f0_hz):
    silent = np.full_like(f0_hz, np.nan)
    assert np.isnan(singing.f0_error(voice(f0_hz), silent, RATE, HOP)["f0_cents"])


def test_the_phase_of_a_partial_stands_still_where_it_follows(f0_hz):
    for partial in (1, 3):
        phase = singing.partial_phase(voice(f0_hz), f0_hz, RATE, HOP, partial=partial)
        kept = singing.inside(f0_hz)
        assert len(phase) == len(f0_hz)
        # a sine against exp(i 0): minus a quarter turn
        assert np.abs(np.angle(np.exp(1j * (phase[kept] + np.pi / 2)))).max() < 0.02


def test_glitches_are_phases_that_jump(f0_hz):
    jitter = singing.phase_jitter
    assert jitter(voice(f0_hz), f0_hz, RATE, HOP) < 0.01
    assert jitter(voice(f0_hz, cents=10), f0_hz, RATE, HOP) < 0.02, "off pitch is no glitch"
    assert jitter(voice(f0_hz, jumps=True), f0_hz, RATE, HOP) > 0.4
    noise = np.random.default_rng(0).standard_normal(200 * HOP)
    assert 0.5 < jitter(noise, f0_hz, RATE, HOP) < np.pi / 2 + 0.1


def test_timbre_is_of_pieces_and_tells_breath_from_voice(f0_hz):
    sung = voice(f0_hz)
    found = singing.timbre([sung, sung[: RATE // 2]], RATE)
    assert found.shape == (3 + 1, 26)
    assert np.isfinite(found).all()
    noisy = singing.timbre(
        [sung + 0.05 * np.random.default_rng(0).standard_normal(len(sung))], RATE
    )
    assert np.abs(noisy[:, :13].mean(0) - found[:3, :13].mean(0)).max() > 1
