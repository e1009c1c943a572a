"""What the hidden cases of some exercises promise, and the library's agreement with them."""

import numpy as np

from dl101.chapters.chroma.exercises import _angle, _peaks
from dl101.chapters.constant_q.exercises import ONE_BIN, STACK
from dl101.chapters.multi_pitch.exercises import THRESHOLD
from dl101.features import HcqtConfig, cqt, hcqt


def test_hidden_tunings_are_what_the_peaks_say():
    for index, cents in enumerate((32.0, -24.0, 46.0, -47.0)):
        assert abs((100 * _angle(*_peaks(index, cents)) - cents + 50) % 100 - 50) < 3


def test_hidden_thresholds_differ_from_each_other_and_from_a_half():
    chosen = [THRESHOLD.right(*case) for case in THRESHOLD.cases()]
    assert len(set(chosen)) == len(chosen)
    assert max(chosen) - min(chosen) > 0.3
    assert not np.isclose(chosen, 0.5).all()


def test_the_exercise_and_the_library_mean_the_same_by_a_bin():
    """The definition is what the fast transform approximates: within 3 %, even of noise."""
    rng = np.random.default_rng(7)
    config = HcqtConfig((1,), bins_per_semitone=2, n_octaves=4, f_min_hz=65.4)
    audio = rng.standard_normal(2 * config.sample_rate).astype(np.float32)
    fast = cqt(audio, config).values[0]
    for k in (0, 30, 70, 95):
        exact = ONE_BIN.right(
            audio, config.frequencies_hz[k], config.quality, config.sample_rate, config.hop_samples
        )
        assert np.linalg.norm(fast[k] - exact) < 0.03 * np.linalg.norm(exact)


def test_the_exercise_and_the_library_mean_the_same_by_a_harmonic():
    """A shifted CQT is the harmonic one where h is a power of two, and near it elsewhere."""
    rng = np.random.default_rng(8)
    audio = rng.standard_normal(22050).astype(np.float32)
    settings = dict(bins_per_semitone=5, n_octaves=4, f_min_hz=130.8)
    whole = cqt(audio, HcqtConfig((1,), **settings)).values[0]
    stacked = STACK.right(whole, (1, 2, 3), 5)
    exact = hcqt(audio, HcqtConfig((1, 2, 3), **settings)).values
    assert np.allclose(stacked[1, :180], exact[1, :180], atol=1e-4)
    near = slice(0, 240 - 95)
    error = np.linalg.norm(stacked[2, near] - exact[2, near]) / np.linalg.norm(exact[2, near])
    assert 0 < error < 0.2
