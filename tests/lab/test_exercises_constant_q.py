"""Each check accepts the solution, rejects the stub, and tells wrong answers apart."""

import math

import numpy as np

from dl101.features import HcqtConfig, cqt, hcqt
from dl101.lab.exercises import constant_q as exercise
from tests.lab.exercise_proof import ExerciseProof

# ---- 1 ----


def one_bin(audio, frequency_hz, quality, sample_rate, hop_samples):
    """A student's loop over frames, written apart from the check's own code."""
    length = quality * sample_rate / frequency_hz
    reach = int(length / 2)
    n = np.arange(-reach, reach + 1)
    window = 0.5 * (1 + np.cos(2 * np.pi * n / length))
    window /= window.sum()
    wave = np.exp(-2j * np.pi * frequency_hz / sample_rate * n)
    padded = np.concatenate([np.zeros(reach), audio, np.zeros(reach)])
    n_frames = 1 + len(audio) // hop_samples
    result = np.zeros(n_frames)
    for t in range(n_frames):
        piece = padded[t * hop_samples : t * hop_samples + len(n)]
        piece = np.pad(piece, (0, len(n) - len(piece)))
        result[t] = math.sqrt(length) * abs(np.sum(window * wave * piece))
    return result


def bin_variant(**options):
    def student(audio, frequency_hz, quality, sample_rate, hop_samples):
        case = dict(
            audio=audio,
            frequency_hz=frequency_hz,
            quality=quality,
            sample_rate=sample_rate,
            hop_samples=hop_samples,
        )
        return exercise._one_bin(case, **options)

    return student


def whole_frames_only(audio, frequency_hz, quality, sample_rate, hop_samples):
    length = round(quality * sample_rate / frequency_hz)
    return one_bin(audio, frequency_hz, quality, sample_rate, hop_samples)[length // hop_samples :]


def with_scipy_window(audio, frequency_hz, quality, sample_rate, hop_samples):
    """A window of a whole, odd number of samples is near enough."""
    from scipy.signal import get_window

    length = 2 * int(quality * sample_rate / frequency_hz / 2) + 1
    window = get_window("hann", length, fftbins=False)
    n = np.arange(length) - length // 2
    kernel = window / window.sum() * np.exp(-2j * np.pi * frequency_hz * n / sample_rate)
    padded = np.pad(audio, length // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, length)[::hop_samples]
    return np.sqrt(length) * np.abs(frames @ kernel)


def in_radians(audio, frequency_hz, quality, sample_rate, hop_samples):
    return one_bin(audio, frequency_hz / (2 * np.pi), quality, sample_rate, hop_samples)


WRONG_BINS = {
    "not centred": bin_variant(centred=False),
    "not normalised": bin_variant(normalised=False),
    "no root": bin_variant(rooted=False),
    "rectangular": bin_variant(window="rectangular"),
    "real part": bin_variant(part=np.real),
    "power": bin_variant(part=lambda z: np.abs(z) ** 2),
    "complex": bin_variant(part=lambda z: z),
    "one length for all": bin_variant(length=lambda case: 1024),
    "half": bin_variant(length=lambda c: c["quality"] * c["sample_rate"] / c["frequency_hz"] / 2),
    "double": bin_variant(length=lambda c: 2 * c["quality"] * c["sample_rate"] / c["frequency_hz"]),
    "ends missing": whole_frames_only,
    "radians": in_radians,
    "constant": lambda a, f, q, r, h: np.ones(1 + len(a) // h),
}

# ---- 2 ----


def stack_harmonics(cqt, harmonics, bins_per_semitone, *, shift=None, wrap=False):
    n_bins, n_frames = cqt.shape
    result = np.zeros((len(harmonics), n_bins, n_frames))
    for channel, h in enumerate(harmonics):
        exact = 12 * bins_per_semitone * math.log2(h)
        rows = round(exact) if shift is None else shift(h, bins_per_semitone)
        for k in range(n_bins):
            if wrap:
                result[channel, k] = cqt[(k + rows) % n_bins]
            elif 0 <= k + rows < n_bins:
                result[channel, k] = cqt[k + rows]
    return result


def stack_variant(**options):
    return lambda cqt, harmonics, b: stack_harmonics(cqt, harmonics, b, **options)


def by_slices(cqt, harmonics, b):
    """Right, unless a channel lies wholly beyond the axis."""
    result = np.zeros((len(harmonics), *cqt.shape))
    for channel, h in enumerate(harmonics):
        s = round(12 * b * math.log2(h))
        if s >= 0:
            result[channel, : len(cqt) - s] = cqt[s:] if s < len(cqt) else 7.0
        else:
            result[channel, -s:] = cqt[:s]
    return result


def reaching_out(cqt, harmonics, b):
    rows = np.arange(len(cqt))[None] + np.round(12 * b * np.log2(harmonics))[:, None].astype(int)
    return cqt[rows]


def multiplying(cqt, harmonics, b):
    """Take the axis for a linear one: the row of h f_k is h k."""
    result = np.zeros((len(harmonics), *cqt.shape))
    for channel, h in enumerate(harmonics):
        for k in range(len(cqt)):
            if round(h * k) < len(cqt):
                result[channel, k] = cqt[round(h * k)]
    return result


WRONG_STACKS = {
    "wrong way": stack_variant(shift=lambda h, b: -round(12 * b * math.log2(h))),
    "wraps": stack_variant(wrap=True),
    "semitones": stack_variant(shift=lambda h, b: round(12 * math.log2(h))),
    "natural logarithm": stack_variant(shift=lambda h, b: round(12 * b * math.log(h))),
    "floor": stack_variant(shift=lambda h, b: math.floor(12 * b * math.log2(h))),
    "half ignored": stack_variant(shift=lambda h, b: max(0, round(12 * b * math.log2(h)))),
    "octave each": stack_variant(shift=lambda h, b: round(12 * b * (h - 1))),
    "beyond the axis": by_slices,
    "out of bounds": reaching_out,
    "axes": lambda cqt, harmonics, b: stack_harmonics(cqt, harmonics, b).transpose(1, 0, 2),
    "copies": stack_variant(shift=lambda h, b: 0),
    "multiplied": multiplying,
}

# ---- 3 ----


def transposition(first, second, bins_per_semitone):
    a, b = first.mean(axis=1), second.mean(axis=1)
    a, b = a - a.mean(), b - b.mean()
    lags = range(-12 * bins_per_semitone, 12 * bins_per_semitone + 1)

    def product(lag):
        return a[: len(a) - lag] @ b[lag:] if lag >= 0 else a[-lag:] @ b[:lag]

    return max(lags, key=product) / bins_per_semitone


def with_numpy(first, second, bins_per_semitone):
    a, b = first.sum(axis=1), second.sum(axis=1)
    lag = np.argmax(np.correlate(b, a, mode="full")) - (len(a) - 1)
    return np.array(lag / bins_per_semitone)


def place(offset):
    def student(first, second, b):
        products = np.correlate(second.mean(1), first.mean(1), mode="full")
        return (np.argmax(products) - offset(len(first))) / b

    return student


def counting_round(first, second, b):
    spectra = [np.fft.fft(x.mean(axis=1)) for x in (second, first)]
    return np.argmax(np.fft.ifft(spectra[0] * spectra[1].conj()).real) / b


WRONG_TRANSPOSITIONS = {
    "sign": lambda x, y, b: transposition(y, x, b),
    "bins": lambda x, y, b: b * transposition(x, y, b),
    "place": place(lambda n: 0),
    "off by one": place(lambda n: n),
    "round the axis": counting_round,
    "folded": lambda x, y, b: transposition(x, y, b) % 12,
    "whole semitones": lambda x, y, b: round(transposition(x, y, b)),
    "strongest bins": lambda x, y, b: (y.mean(1).argmax() - x.mean(1).argmax()) / b,
    "frames do not fit": lambda x, y, b: float((x * y).sum()),
    "constant": lambda x, y, b: 2.0,
    "a list": lambda x, y, b: [1.0, 2.0],
    "no idea": lambda x, y, b: float(x.mean()),
}

SOLUTIONS = {
    "constant_q.1": one_bin,
    "constant_q.2": stack_harmonics,
    "constant_q.3": transposition,
}
WRONG = {
    "constant_q.1": WRONG_BINS,
    "constant_q.2": WRONG_STACKS,
    "constant_q.3": WRONG_TRANSPOSITIONS,
}


RIGHT = [
    *SOLUTIONS.items(),
    ("constant_q.1", bin_variant()),
    ("constant_q.1", with_scipy_window),
    ("constant_q.2", exercise._stack),
    ("constant_q.3", with_numpy),
]
HINTS = [
    ("constant_q.1", "not centred", "centred there"),
    ("constant_q.1", "not normalised", "divided by its sum"),
    ("constant_q.1", "no root", "sqrt(N) is missing"),
    ("constant_q.1", "rectangular", "rectangular"),
    ("constant_q.1", "real part", "real part"),
    ("constant_q.1", "power", "power"),
    ("constant_q.1", "complex", "are complex"),
    ("constant_q.1", "one length for all", "that is an STFT"),
    ("constant_q.1", "half", "half as long"),
    ("constant_q.1", "double", "twice as long"),
    ("constant_q.1", "ends missing", "Pad it"),
    ("constant_q.1", "constant", "same result"),
    ("constant_q.2", "wrong way", "wrong way"),
    ("constant_q.2", "wraps", "np.roll"),
    ("constant_q.2", "semitones", "12 * bins_per_semitone"),
    ("constant_q.2", "natural logarithm", "log2"),
    ("constant_q.2", "floor", "nearest row"),
    ("constant_q.2", "half ignored", "octave below"),
    ("constant_q.2", "octave each", "equally spaced in hertz"),
    ("constant_q.2", "beyond the axis", "all zeros"),
    ("constant_q.2", "out of bounds", "IndexError"),
    ("constant_q.2", "axes", "another order"),
    ("constant_q.2", "multiplied", "linear axis"),
    ("constant_q.3", "sign", "sign is turned"),
    ("constant_q.3", "bins", "Divide by"),
    ("constant_q.3", "place", "place len - 1"),
    ("constant_q.3", "off by one", "one bin low"),
    ("constant_q.3", "round the axis", "round the axis"),
    ("constant_q.3", "folded", "one octave"),
    ("constant_q.3", "whole semitones", "whole semitones"),
    ("constant_q.3", "strongest bins", "another timbre"),
    ("constant_q.3", "frames do not fit", "average each over time"),
    ("constant_q.3", "constant", "same result"),
]


class TestProof(ExerciseProof):
    exercises = exercise.EXERCISES
    right = RIGHT
    wrong = WRONG
    hints = HINTS


def test_the_exercise_and_the_library_mean_the_same_by_a_bin():
    """The definition is what the fast transform approximates: within 3 %, even of noise."""
    rng = np.random.default_rng(7)
    config = HcqtConfig((1,), bins_per_semitone=2, n_octaves=4, f_min_hz=65.4)
    audio = rng.standard_normal(2 * config.sample_rate).astype(np.float32)
    fast = cqt(audio, config).values[0]
    for k in (0, 30, 70, 95):
        exact = one_bin(
            audio, config.frequencies_hz[k], config.quality, config.sample_rate, config.hop_samples
        )
        assert np.linalg.norm(fast[k] - exact) < 0.03 * np.linalg.norm(exact)


def test_the_exercise_and_the_library_mean_the_same_by_a_harmonic():
    """A shifted CQT is the harmonic one where h is a power of two, and near it elsewhere."""
    rng = np.random.default_rng(8)
    audio = rng.standard_normal(22050).astype(np.float32)
    settings = dict(bins_per_semitone=5, n_octaves=4, f_min_hz=130.8)
    whole = cqt(audio, HcqtConfig((1,), **settings)).values[0]
    stacked = stack_harmonics(whole, (1, 2, 3), 5)
    exact = hcqt(audio, HcqtConfig((1, 2, 3), **settings)).values
    assert np.allclose(stacked[1, :180], exact[1, :180], atol=1e-4)
    near = slice(0, 240 - 95)
    error = np.linalg.norm(stacked[2, near] - exact[2, near]) / np.linalg.norm(exact[2, near])
    assert 0 < error < 0.2
