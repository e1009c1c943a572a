"""Scores of separation against closed forms, brute force, museval and mir_eval."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from dl101.errors import ConfigError, DataError
from dl101.evaluation import separation
from dl101.evaluation.separation import Parts, decompose, si_sdr

N = 4000
TIME = 2 * np.pi * np.arange(N) / N


def waves(*cycles: int) -> np.ndarray:
    """Sines of whole cycles: at right angles to each other, of energy N / 2."""
    return np.stack([np.sin(n * TIME) for n in cycles])


def noises(*shape: int, seed: int = 0) -> np.ndarray:
    return 0.1 * np.random.default_rng(seed).standard_normal(shape)


# ---- ratios of two signals ---------------------------------------------------------------------


def test_si_sdr_knows_no_level():
    a, b = waves(3, 8)
    for level in (1e-9, 3.0, -1.0, 1e6):
        assert si_sdr(level * (a + 0.1 * b), a) == pytest.approx(20.0, abs=1e-9)
        assert si_sdr(a + 0.1 * b, level * a) == pytest.approx(20.0, abs=1e-9)


def test_si_sdr_by_projection():
    estimate, reference = noises(2, 500)
    scale = np.linalg.lstsq(reference[:, None], estimate, rcond=None)[0][0]
    rest = estimate - scale * reference
    expected = 20 * np.log10(np.linalg.norm(scale * reference) / np.linalg.norm(rest))
    assert si_sdr(estimate, reference) == pytest.approx(expected, abs=1e-9)
    stereo = si_sdr(np.stack([estimate, estimate]), np.stack([reference, reference]))
    assert stereo == pytest.approx(expected, abs=1e-9)


def test_equal_signals_have_the_largest_ratio_and_silence_none():
    a, b = waves(3, 8)
    assert si_sdr(a, a) == si_sdr(7.0 * a, a) == separation.LIMIT_DB
    assert separation.sdr(a, a) == separation.LIMIT_DB
    assert si_sdr(0 * a, a) == -separation.LIMIT_DB
    assert si_sdr(b, a) == -separation.LIMIT_DB  # at right angles
    assert separation.sdr(0 * a, a) == 0.0
    for score in (si_sdr, separation.sdr):
        assert np.isnan(score(a, 0 * a)) and np.isnan(score(0 * a, 0 * a))


def test_sdr_counts_the_level():
    a, _ = waves(3, 8)
    assert separation.sdr(0.9 * a, a) == pytest.approx(20.0, abs=1e-9)
    assert separation.sdr(-a, a) == pytest.approx(-20 * np.log10(2), abs=1e-9)


@pytest.mark.parametrize(
    "score",
    [
        si_sdr,
        separation.sdr,
        lambda e, r: separation.frame_sdr(e, r, 10),
        lambda e, r: separation.bss_eval(e[None], r[None], 100),
    ],
)
def test_clipped_lengths_are_refused_with_the_lengths(score):
    with pytest.raises(DataError, match=r"3990.*4000"):
        score(noises(3990), noises(4000))
    with pytest.raises(DataError, match="at least one sample"):
        score(noises(0), noises(0))


def test_frames_leave_out_silence():
    reference = noises(4500)
    reference[1000:2000] = 0.0
    reference[2000:3000] *= 1e-5  # -120 dB
    estimate = reference + 0.1 * np.concatenate([reference[1:], [0.0]])
    found = separation.frame_sdr(estimate, reference, 1000)
    assert np.isnan(found).tolist() == [False, True, True, False]
    for i in (0, 3):
        part = slice(1000 * i, 1000 * (i + 1))
        assert found[i] == separation.sdr(estimate[part], reference[part])
    assert separation.median_over_frames(found) == pytest.approx(found[[0, 3]].mean())
    assert np.isnan(separation.median_over_frames(np.full((2, 3), np.nan))).all()
    assert separation.frame_sdr(estimate, reference, 9999).shape == (1,)
    with pytest.raises(ConfigError, match="at least 1 sample"):
        separation.frame_sdr(estimate, reference, 0)


# ---- decomposition -----------------------------------------------------------------------------


def whole(parts: Parts) -> np.ndarray:
    return parts.target + parts.interference + parts.noise + parts.artefacts


def test_one_tap_takes_apart_what_was_put_together():
    a, b, noise, other = waves(3, 8, 21, 55)
    estimate = 0.8 * a + 0.3 * b - 0.2 * noise + 0.1 * other
    parts = decompose(estimate, np.stack([a, b]), 0, noise=noise[None])
    np.testing.assert_allclose(parts.target, 0.8 * a, atol=1e-12)
    np.testing.assert_allclose(parts.interference, 0.3 * b, atol=1e-12)
    np.testing.assert_allclose(parts.noise, -0.2 * noise, atol=1e-12)
    np.testing.assert_allclose(parts.artefacts, 0.1 * other, atol=1e-12)
    energies = {"target": 0.64, "i": 0.09, "n": 0.04, "a": 0.01}
    expected = {
        "sdr": energies["target"] / 0.14,
        "sir": energies["target"] / 0.09,
        "snr": 0.73 / 0.04,
        "sar": 0.77 / 0.01,
    }
    for name, ratio in expected.items():
        assert parts.ratios_db[name] == pytest.approx(10 * np.log10(ratio), abs=1e-9)


def test_sources_that_are_not_at_right_angles_are_projected_on_together():
    references, estimate = noises(3, 300), noises(300, seed=1)
    references[1] += 0.7 * references[0]
    parts = decompose(estimate, references, 1)
    own = references[1] * (estimate @ references[1]) / (references[1] @ references[1])
    np.testing.assert_allclose(parts.target, own, atol=1e-12)
    all_of_them = references.T @ np.linalg.lstsq(references.T, estimate, rcond=None)[0]
    np.testing.assert_allclose(parts.target + parts.interference, all_of_them, atol=1e-12)
    assert not parts.noise.any()
    np.testing.assert_allclose(whole(parts), estimate, atol=1e-12)


@pytest.mark.parametrize("channels", [None, 1, 2])
@pytest.mark.parametrize("taps", [1, 2, 7])
def test_filters_against_a_matrix_of_delayed_copies(channels, taps):
    shape = (60,) if channels is None else (channels, 60)
    references, noise, estimate = noises(2, *shape), noises(1, *shape, seed=1), noises(*shape)
    parts = decompose(estimate, references, 1, noise=noise, filter_samples=taps)

    def delayed(sources: np.ndarray) -> np.ndarray:
        rows = sources.reshape(-1, 60)
        return np.stack([np.pad(r, (d, taps - 1 - d)) for r in rows for d in range(taps)], axis=1)

    padded = np.pad(estimate.reshape(-1, 60), ((0, 0), (0, taps - 1))).T
    steps = [np.zeros_like(padded)]
    for sources in (references[1:], references, np.concatenate([references, noise])):
        copies = delayed(sources)
        steps.append(copies @ np.linalg.lstsq(copies, padded, rcond=None)[0])
    steps.append(padded)
    for name, before, after in zip(
        ("target", "interference", "noise", "artefacts"), steps[:-1], steps[1:], strict=True
    ):
        got = getattr(parts, name).reshape(-1, 60 + taps - 1).T
        np.testing.assert_allclose(got, after - before, atol=1e-9, err_msg=name)


def test_sources_that_are_silent_or_alike_give_a_finite_answer():
    a, b = waves(3, 8)
    parts = decompose(a + 0.1 * b, np.stack([a, a, 0 * a]), 0, filter_samples=4)
    assert np.isfinite(whole(parts)).all() and np.abs(parts.interference).max() < 1e-6
    silent = decompose(a, np.stack([0 * a, b]), 0)
    assert not silent.target.any()
    assert silent.ratios_db["sdr"] == -separation.LIMIT_DB


def test_a_wrong_source_or_length_is_named():
    with pytest.raises(DataError, match=r"\(300,\) of source 0 of references \(2, 299\)"):
        decompose(noises(300), noises(2, 299), 0)
    for target in (2, -1):
        with pytest.raises(DataError, match=f"source {target}"):
            decompose(noises(300), noises(2, 300), target)


# ---- BSSEval -----------------------------------------------------------------------------------


@pytest.fixture
def museval():
    try:
        return separation._museval()
    except ConfigError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("channels", [None, 2])
def test_bss_eval_agrees_with_the_decomposition(museval, channels):
    shape = (2, 3000) if channels is None else (2, channels, 3000)
    references = noises(*shape)
    estimates = references + 0.2 * references[::-1] + 0.3 * noises(*shape, seed=1)
    scores = separation.bss_eval(estimates, references, 3000, filter_samples=8)
    assert scores.sdr.shape == (2, 1)
    for source in range(2):
        parts = decompose(estimates[source], references, source, filter_samples=8)
        filtered = parts.target.copy()
        filtered[..., : shape[-1]] -= references[source]
        isr = 10 * np.log10(np.sum(references[source] ** 2) / np.sum(filtered**2))
        assert scores.sir[source, 0] == pytest.approx(parts.ratios_db["sir"], abs=1e-6)
        assert scores.sar[source, 0] == pytest.approx(parts.ratios_db["sar"], abs=1e-6)
        assert scores.isr[source, 0] == pytest.approx(isr, abs=1e-6)
        expected = separation.sdr(estimates[source], references[source])
        assert scores.sdr[source, 0] == pytest.approx(expected, abs=1e-6)


def test_bss_eval_of_one_tap_in_closed_form(museval):
    a, b, other = waves(3, 8, 55)
    estimates = np.stack([0.9 * a + 0.3 * b + 0.1 * other, b + 0.1 * other])
    scores = separation.bss_eval(estimates, np.stack([a, b]), N, filter_samples=1)
    expected = {"sdr": 1 / 0.11, "isr": 1 / 0.01, "sir": 0.81 / 0.09, "sar": 0.9 / 0.01}
    for name, ratio in expected.items():
        assert getattr(scores, name)[0, 0] == pytest.approx(10 * np.log10(ratio), abs=1e-6)


def test_bss_eval_agrees_with_mir_eval(museval):
    """The whole signal at once: version 3 and version 4 are the same."""
    from mir_eval.separation import bss_eval_images, bss_eval_sources

    references = noises(2, 2, 3000)
    estimates = references + 0.2 * references[::-1] + 0.3 * noises(2, 2, 3000, seed=1)
    scores = separation.bss_eval(estimates, references, 3000)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it is on its way out there
        theirs = bss_eval_images(
            references.swapaxes(1, 2), estimates.swapaxes(1, 2), compute_permutation=False
        )
        mono = bss_eval_sources(references[:, 0], estimates[:, 0], compute_permutation=False)
    for name, expected in zip(separation.RATIOS, theirs, strict=False):
        np.testing.assert_allclose(getattr(scores, name)[:, 0], expected, atol=1e-6, err_msg=name)
    parts = decompose(estimates[0, 0], references[:, 0], 0, filter_samples=512)
    for name, expected in zip(("sdr", "sir", "sar"), mono, strict=False):
        assert parts.ratios_db[name] == pytest.approx(expected[0], abs=1e-6)


def test_the_frames_are_those_of_frame_sdr(museval):
    references = noises(2, 5500)
    references[0, 2000:3000] = 0.0  # exactly: left out for both
    references[1, 3000:4000] *= 1e-5  # nearly: left out for itself
    estimates = references + 0.2 * noises(2, 5500, seed=1)
    scores = separation.bss_eval(estimates, references, 1000, filter_samples=4)
    assert scores.n_left_out.tolist() == [1, 2] and scores.sdr.shape == (2, 5)
    for source in range(2):
        expected = separation.frame_sdr(estimates[source], references[source], 1000)
        expected[2] = np.nan
        np.testing.assert_allclose(scores.sdr[source], expected, atol=1e-9)
    summary = separation.median_over_tracks([scores, scores, scores])
    np.testing.assert_allclose(summary["sdr"], np.nanmedian(scores.sdr, axis=1))
    assert summary["n_left_out"].tolist() == [3, 6] and summary["n_frames"].tolist() == [15, 15]


def test_swapped_sources_have_the_ratios_upside_down(museval):
    references = noises(2, 3000)
    mixed = references + 0.1 * references[::-1]
    right = separation.bss_eval(mixed, references, 3000, filter_samples=4)
    swapped = separation.bss_eval(mixed[::-1], references, 3000, filter_samples=4)
    assert (right.sir > 19).all() and (swapped.sir < -17).all()
    assert si_sdr(mixed[1], references[0]) < -17


def test_a_silent_source_is_left_out_and_a_silent_estimate_refused(museval):
    references = noises(3, 2000)
    references[1] = 0.0
    estimates = references + 0.1 * noises(3, 2000, seed=1)
    scores = separation.bss_eval(estimates, references, 1000, filter_samples=4)
    assert np.isnan(scores.sdr[1]).all() and scores.n_left_out.tolist() == [0, 2, 0]
    alone = separation.bss_eval(estimates[::2], references[::2], 1000, filter_samples=4)
    np.testing.assert_array_equal(scores.sir[::2], alone.sir)
    estimates[2] = 0.0
    with pytest.raises(DataError, match="silence for source 2"):
        separation.bss_eval(estimates, references, 1000, filter_samples=4)
    nobody = separation.bss_eval(estimates, 0 * references, 1000)
    assert np.isnan(nobody.sar).all()
    with pytest.raises(DataError, match=r"shape \(2000,\)"):
        separation.bss_eval(references[0], references[0], 1000)


def test_equal_signals_are_scored_far_above_others(museval):
    references = noises(2, 2000)
    scores = separation.bss_eval(references, references, 2000, filter_samples=4)
    assert min(getattr(scores, name).min() for name in separation.RATIOS) > 200


def test_without_museval_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr(separation.importlib.util, "find_spec", lambda name: None)
    separation._museval.cache_clear()
    with pytest.raises(ConfigError, match=r"dl101\[separation\]"):
        separation.bss_eval(noises(1, 100), noises(1, 100), 100)
    separation._museval.cache_clear()


# ---- bounds ------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [None, 2])
@pytest.mark.parametrize("name", separation.BOUNDS)
def test_bounds_keep_the_shape_and_are_near_the_truth(name, channels):
    shape = (3, 9001) if channels is None else (3, channels, 9001)
    low_to_high = np.fft.rfft(noises(*shape), axis=-1)
    bins = np.arange(low_to_high.shape[-1])
    for i in range(3):
        low_to_high[i] *= (bins > 1400 * i) & (bins < 1400 * i + 1700)
    stems = np.fft.irfft(low_to_high, 9001, axis=-1)
    found = separation.BOUNDS[name](stems, frame_samples=512)
    assert found.shape == shape
    assert min(map(si_sdr, found, stems)) > 6
    assert min(map(si_sdr, found, stems)) > max(si_sdr(stems.sum(axis=0), s) for s in stems) + 3
    if name != "mixture-phase":
        np.testing.assert_allclose(found.sum(axis=0), stems.sum(axis=0), atol=1e-9)


def test_the_bounds_of_one_bin_are_those_of_its_definition():
    a, b = waves(250, 250)  # in the middle of bin 16 of 256 samples
    stems = np.stack([a, -0.5 * b])
    inside = slice(1000, 3000)
    ratio, binary, phase = (
        separation.BOUNDS[n](stems, frame_samples=256)[:, inside]
        for n in ("ratio-mask", "binary-mask", "mixture-phase")
    )
    mixture = 0.5 * a[inside]
    np.testing.assert_allclose(ratio, [mixture * 2 / 3, mixture / 3], atol=1e-6)
    np.testing.assert_allclose(binary, [mixture, 0 * mixture], atol=1e-9)
    # a mask of 2 for the one, and for the other the sign of the mixture
    np.testing.assert_allclose(phase, [a[inside], 0.5 * a[inside]], atol=1e-6)
