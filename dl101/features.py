"""Audio to arrays: waveform, log-mel spectrogram, CQT, HCQT and chroma; and patches of them.

Conventions: audio is mono, one-dimensional, floating point. Values come as ``(1, time)`` for the
waveform, ``(1, band, time)`` for log-mel and chroma, ``(harmonic, bin, time)`` for CQT and HCQT,
always float32. Frame ``t`` is centred on sample ``t * hop_samples``, and ``N`` samples give
``T = 1 + N // hop_samples`` frames; outside its ends the signal counts as zero. This is librosa's
grid, and magnitudes follow librosa's scale.

The constant-Q transform [1]_ (CQT) is a bank of band-pass filters whose centre frequencies are
spaced like pitches and whose bandwidths grow with frequency. The harmonic CQT [2]_ (HCQT) stacks
CQTs whose lowest frequency is ``h * f_min_hz``, so that a note and its harmonics stand in one
column. Both are computed here in the frequency domain: one FFT of the whole signal; for each bin a
short product with the transform of its window; the product folded (aliased, which is what
sampling every ``hop_samples`` does) to the frame rate; one small inverse FFT. What does not depend
on the signal is an :class:`HcqtPlan`, which :class:`dl101.dsp.HCQT` shares.

References
----------
.. [1] J. C. Brown, "Calculation of a constant Q spectral transform", JASA 89(1), 1991.
.. [2] R. Bittner, B. McFee, J. Salamon, P. Li, J. P. Bello, "Deep salience representations for
   F0 estimation in polyphonic music", ISMIR 2017.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Annotated

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dl101.config import (
    Count,
    HopSamples,
    NotEmpty,
    PatchFrames,
    Range,
    SampleRate,
    Settings,
    checked,
)
from dl101.errors import ConfigError, DataError
from dl101.units import hz_to_midi

# The transform of the Hann window is kept to this many lobe widths on each side of a bin's centre:
# two is the main lobe, which holds all but 0.05 % of the energy.
_LOBES = 2.0
# Low bins are so narrow that many side lobes are free; the more are kept, the more exactly a bin's
# response in time ends where its window does, so that blocks do not see each other.
_MIN_HALF_WIDTH_HZ = 20.0
# The kept part falls smoothly to zero over its outer quarter.
_EDGE = 0.75
# Signals longer than this are analysed in overlapping blocks: memory stays bounded, and the plan
# stays the same.
_MAX_BLOCK_SAMPLES = 2**20
# Block lengths are rounded up to this many frames: fast FFTs, and few distinct plans.
_BLOCK_FRAMES_STEP = 128
# Longer than any note, and short enough for its window to fit in memory.
_MAX_WINDOW_S = 200
# Bins computed at once: few calls, and little memory beside the result.
_ROWS_PER_GROUP = 64


@dataclass(frozen=True, eq=False)
class Feature:
    """An array computed from audio, with its axes.

    Parameters
    ----------
    values
        Array whose last axis is time; see the module's conventions.
    times
        Centre of each frame in seconds, shape ``(T,)``.
    frequencies
        Centre of each band in Hz, shape ``(F,)``; for an HCQT those of harmonic 1. None where
        there is no frequency axis (waveform) or it is cyclic (chroma).
    sample_rate
        Rate of the audio in Hz.
    hop_samples
        Distance between frames in samples.
    """

    values: NDArray[np.float32]
    times: NDArray[np.float64]
    frequencies: NDArray[np.float64] | None
    sample_rate: int
    hop_samples: int


_Harmonic = Annotated[float, Range(at_least=0.1, at_most=100)]


@dataclass(frozen=True)
class HcqtConfig(Settings):
    """What an HCQT is computed with.

    Parameters
    ----------
    harmonics
        Multiples of ``f_min_hz`` at which each CQT starts; ``(1,)`` gives a plain CQT.
    bins_per_semitone
        Frequency resolution.
    n_octaves
        Range of each CQT.
    f_min_hz
        Centre frequency of the lowest bin of harmonic 1 (default: C1).
    hop_samples
        Distance between frames in samples.
    sample_rate
        Rate of the audio in Hz.
    """

    harmonics: Annotated[tuple[_Harmonic, ...], NotEmpty()] = (0.5, 1, 2, 3, 4, 5)
    bins_per_semitone: Annotated[int, Range(at_least=1, at_most=100)] = 5
    n_octaves: Annotated[int, Range(at_least=1, at_most=12)] = 6
    f_min_hz: Annotated[float, Range(at_least=1, at_most=100_000)] = 32.7
    hop_samples: HopSamples = 512
    sample_rate: SampleRate = 22050

    def __post_init__(self) -> None:
        """Check each field, and that the lowest bin can be computed."""
        super().__post_init__()
        lowest_hz = self.f_min_hz * min(self.harmonics)
        if lowest_hz >= self.sample_rate / 2:
            raise ConfigError(
                "HcqtConfig.f_min_hz",
                got=f"{self.f_min_hz:g}, a lowest bin at {lowest_hz:g} Hz",
                expected=f"below half the sample rate, {self.sample_rate / 2:g} Hz",
                hint="lower it: no bin would see a sound",
            )
        window_s = self.quality / lowest_hz
        if window_s > _MAX_WINDOW_S:
            raise ConfigError(
                "HcqtConfig.f_min_hz",
                got=f"{self.f_min_hz:g}, a lowest bin whose window lasts {window_s:.0f} s",
                expected=f"up to {_MAX_WINDOW_S} s",
                hint="raise it, or lower bins_per_semitone",
            )

    @property
    def bins_per_octave(self) -> int:
        """Number of bins per octave."""
        return 12 * self.bins_per_semitone

    @property
    def n_bins(self) -> int:
        """Number of bins of each harmonic."""
        return self.bins_per_octave * self.n_octaves

    @property
    def frequencies_hz(self) -> NDArray[np.float64]:
        """Centre frequencies of the bins of harmonic 1 in Hz, shape ``(n_bins,)``."""
        return self.f_min_hz * 2.0 ** (np.arange(self.n_bins) / self.bins_per_octave)

    @property
    def quality(self) -> float:
        """Ratio Q of centre frequency to bandwidth; a bin's window lasts ``Q / f`` seconds.

        The bandwidth is the distance from the bin below to the bin above over the sum of the
        two (librosa's relative bandwidth).
        """
        ratio = 2.0 ** (2.0 / self.bins_per_octave)
        return (ratio + 1.0) / (ratio - 1.0)


# --- checks -----------------------------------------------------------------------------------


def _check_audio(audio: ArrayLike, sample_rate: float) -> NDArray[np.float32]:
    """Return audio as contiguous float32, or raise a :class:`DataError` that says what is wrong."""
    array = np.asarray(audio)
    if not (np.isscalar(sample_rate) and np.isfinite(sample_rate) and sample_rate > 0):
        raise DataError(
            "sample rate",
            got=sample_rate,
            expected="a positive number of samples per second",
            hint="pass the rate that the audio was read with",
        )
    if array.ndim != 1:
        raise DataError(
            "audio",
            got=f"an array of shape {array.shape}",
            expected="one dimension (mono)",
            hint="average the channels, or pass audio[0]",
        )
    if array.size == 0:
        raise DataError(
            "audio", got="no samples", expected="at least one", hint="check the time span read"
        )
    if array.dtype.kind != "f":
        raise DataError(
            "audio",
            got=f"values of type {array.dtype}",
            expected="floating-point values, usually within [-1, 1]",
            hint="divide 16-bit integers by 32768",
        )
    array = np.ascontiguousarray(array, dtype=np.float32)
    # A finite sum of squares proves that all are finite, without a temporary array.
    with np.errstate(over="ignore", invalid="ignore"):
        proved = np.isfinite(np.dot(array, array))
    if not proved and not np.isfinite(array).all():
        bad = int(np.argmin(np.isfinite(array)))
        raise DataError(
            "audio",
            got=f"{array[bad]} at sample {bad}",
            expected="finite values",
            hint="drop the track or repair the file",
        )
    return array


def _check_rate(sample_rate: float | None, config: HcqtConfig) -> None:
    if sample_rate is not None and sample_rate != config.sample_rate:
        raise DataError(
            "sample rate",
            got=f"{sample_rate} Hz",
            expected=f"the configuration's {config.sample_rate} Hz",
            hint="resample the audio, or set sample_rate in the HcqtConfig",
        )


def _frame_times(n_frames: int, hop_samples: int, sample_rate: float) -> NDArray[np.float64]:
    return np.arange(n_frames) * (hop_samples / sample_rate)


# --- waveform and log-mel -----------------------------------------------------------------------


def waveform(audio: ArrayLike, sample_rate: int) -> Feature:
    """Return the samples themselves, ``(1, time)``, with the time of each sample in seconds."""
    array = _check_audio(audio, sample_rate)
    times = np.arange(array.size) / sample_rate
    return Feature(array[np.newaxis], times, None, sample_rate, 1)


def log_mel(
    audio: ArrayLike,
    sample_rate: int,
    *,
    n_bands: int = 128,
    window_samples: int = 2048,
    hop_samples: int = 512,
) -> Feature:
    """Return the log-mel spectrogram ``log(1 + 10000 x)``, ``(1, n_bands, T)``.

    ``x`` is the power spectrogram (Hann window) summed in bands that are evenly spaced on the mel
    scale, as ``librosa.feature.melspectrogram`` gives it. The logarithm compresses loudness, and
    its constants keep silence at zero.

    Parameters
    ----------
    audio
        Samples, shape ``(n_samples,)``.
    sample_rate
        Rate in Hz.
    n_bands
        Number of mel bands between 0 Hz and half the sample rate.
    window_samples
        Length of the analysis window, and of its FFT.
    hop_samples
        Distance between frames.

    Raises
    ------
    DataError
        If the audio or its rate cannot be used.
    ConfigError
        If a number of bands or samples is none.
    """
    import librosa

    array = _check_audio(audio, sample_rate)
    n_bands = checked(Count, n_bands, "log_mel: n_bands")
    window_samples = checked(Count, window_samples, "log_mel: window_samples")
    hop_samples = checked(HopSamples, hop_samples, "log_mel: hop_samples")
    # librosa warns when a window is longer than the signal; zeros change nothing but that.
    padded = np.pad(array, (0, max(0, window_samples - array.size)))
    power = librosa.feature.melspectrogram(
        y=padded, sr=sample_rate, n_fft=window_samples, hop_length=hop_samples, n_mels=n_bands
    )[:, : 1 + array.size // hop_samples]
    values = np.log1p(10000.0 * power).astype(np.float32)[np.newaxis]
    frequencies = librosa.mel_frequencies(n_bands + 2, fmin=0.0, fmax=sample_rate / 2)[1:-1]
    times = _frame_times(values.shape[-1], hop_samples, sample_rate)
    return Feature(values, times, frequencies, sample_rate, hop_samples)


# --- CQT and HCQT: the plan ---------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class BinGroup:
    """Bins of an :class:`HcqtPlan` that are computed together.

    Parameters
    ----------
    bins
        Index of each bin in the plan's ``frequencies_hz``, shape ``(n,)``.
    starts
        First coefficient of the block's real FFT that each bin reads, shape ``(n,)``.
    weights
        What the coefficients from there on are multiplied with, shape ``(n, width)``. A width
        beyond the plan's ``block_frames`` is a multiple of it, and is folded to it.
    """

    bins: NDArray[np.int64]
    starts: NDArray[np.int64]
    weights: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class HcqtPlan:
    """All that an HCQT needs to know beside the signal.

    Parameters
    ----------
    config
        The configuration that the plan belongs to.
    block_frames
        Length ``M`` of one block in frames; its FFT has ``M * hop_samples`` samples.
    margin_frames
        Frames at either end of a block whose windows see beyond it.
    frequencies_hz
        Distinct frequencies of all harmonics' bins, shape ``(n_distinct,)``. Harmonics whose
        ratio is a whole number of bins (0.5, 1, 2, 4) share theirs.
    offsets
        Row ``f`` of harmonic ``i`` is the distinct frequency ``offsets[i] + f``, shape ``(H,)``.
    groups
        The distinct frequencies that are computed; those beyond half the sample rate are in none.
    """

    config: HcqtConfig
    block_frames: int
    margin_frames: int
    frequencies_hz: NDArray[np.float64]
    offsets: tuple[int, ...]
    groups: tuple[BinGroup, ...]

    @property
    def block_samples(self) -> int:
        """Length of one block in samples."""
        return self.block_frames * self.config.hop_samples

    def n_frames(self, n_samples: int) -> int:
        """Return the number of frames of a signal of ``n_samples``."""
        return 1 + n_samples // self.config.hop_samples

    def blocks(self, n_samples: int) -> Iterator[tuple[int, int, int, int]]:
        """Yield the blocks that cover a signal, in order.

        Each is ``(first_sample, skip_frames, start, stop)``: the block begins at that sample
        (before the signal if negative), and its frames from ``skip_frames`` on are the frames
        ``[start, stop)`` of the result.
        """
        n_frames = self.n_frames(n_samples)
        if n_frames + self.margin_frames <= self.block_frames:
            yield 0, 0, 0, n_frames
            return
        valid = self.block_frames - 2 * self.margin_frames
        for start in range(0, n_frames, valid):
            first_sample = (start - self.margin_frames) * self.config.hop_samples
            yield first_sample, self.margin_frames, start, min(start + valid, n_frames)


def hcqt_plan(config: HcqtConfig, n_samples: int | None = None) -> HcqtPlan:
    """Return the plan for signals of ``n_samples`` (default: of any length).

    A plan works for signals of any length; one made for the length at hand wastes less. Plans
    are kept, so asking twice costs nothing.
    """
    frequencies_hz, _ = _distinct_frequencies(config)
    half_width_hz = _half_width_hz(frequencies_hz, config)
    reach_s = config.quality / frequencies_hz / 2
    # Where few lobes are kept, the response goes on beyond the window for as long as the edge of
    # what is kept rings.
    few = half_width_hz * 2 * reach_s < 10
    reach_s = reach_s + np.where(few, 2 / ((1 - _EDGE) * half_width_hz), 0.0)
    margin = math.ceil(reach_s.max() * config.sample_rate / config.hop_samples)
    most = max(_MAX_BLOCK_SAMPLES // config.hop_samples, 4 * margin)
    frames = most if n_samples is None else 1 + n_samples // config.hop_samples + margin
    frames = max(frames, 2 * margin + 1)  # a longer signal than announced goes block by block
    blocks = math.ceil(min(frames, most) / _BLOCK_FRAMES_STEP)
    return _build_plan(config, blocks * _BLOCK_FRAMES_STEP, margin)


@lru_cache(maxsize=8)
def _build_plan(config: HcqtConfig, block_frames: int, margin_frames: int) -> HcqtPlan:
    frequencies_hz, offsets = _distinct_frequencies(config)
    hop, rate, quality = config.hop_samples, config.sample_rate, config.quality
    resolution_hz = rate / (block_frames * hop)
    n_coefficients = block_frames * hop // 2 + 1

    half_width_hz = _half_width_hz(frequencies_hz, config)
    first = np.ceil((frequencies_hz - half_width_hz) / resolution_hz).astype(np.int64)
    last = np.floor((frequencies_hz + half_width_hz) / resolution_hz).astype(np.int64)
    first, last = np.maximum(first, 0), np.minimum(last, n_coefficients - 1)
    widths = last - first + 1
    # Up to one block the width is rounded to a quarter of it, beyond to whole folds.
    step = np.where(widths <= block_frames, block_frames // 4, block_frames)
    widths = -(-widths // step) * step
    first = np.minimum(first, np.maximum(n_coefficients - widths, 0))

    # The main lobe (3 dB) must lie below half the rate, as librosa demands it of the whole CQT.
    audible = frequencies_hz * (1 + 0.75 / quality) < rate / 2
    groups = []
    for width in np.unique(widths[audible]):
        members = np.flatnonzero(audible & (widths == width))
        for bins in np.split(members, range(_ROWS_PER_GROUP, members.size, _ROWS_PER_GROUP)):
            centre_hz = frequencies_hz[bins, np.newaxis]
            coefficients = first[bins, np.newaxis] + np.arange(width)
            distance_hz = coefficients * resolution_hz - centre_hz
            duration_s = quality / centre_hz
            weights = _hann_transform(distance_hz * duration_s)
            # The spectrum ends at 0 Hz and at half the rate, and so does what is kept.
            room_hz = np.where(distance_hz < 0, centre_hz, rate / 2 - centre_hz)
            kept_hz = np.minimum(room_hz, half_width_hz[bins, np.newaxis])
            weights *= _edge(np.abs(distance_hz) / kept_hz)
            # librosa's scale: the window sums to one, times the root of its length in samples.
            # The FFT's own scales (1 / samples, over 1 / frames of the inverse) leave 1 / hop.
            weights *= np.sqrt(duration_s * rate) / hop
            groups.append(BinGroup(bins, first[bins], weights.astype(np.float32)))
    return HcqtPlan(
        config, block_frames, margin_frames, frequencies_hz, tuple(offsets), tuple(groups)
    )


def _half_width_hz(frequencies_hz: NDArray[np.float64], config: HcqtConfig) -> NDArray[np.float64]:
    """Return how far from its centre each bin's window is kept, in Hz."""
    return np.maximum(_LOBES * frequencies_hz / config.quality, _MIN_HALF_WIDTH_HZ)


def _distinct_frequencies(config: HcqtConfig) -> tuple[NDArray[np.float64], list[int]]:
    """Return the distinct frequencies and the row at which each harmonic starts.

    Harmonics a whole number of bins apart are slices of one chain of bins; others, such as
    3 and 5, have chains of their own at their exact frequencies.
    """
    positions = [config.bins_per_octave * math.log2(h) for h in config.harmonics]
    chains: dict[float, list[float]] = {}
    for position in sorted(positions):
        fraction = round(position % 1.0, 6) % 1.0
        chains.setdefault(fraction, []).append(position)
    rows, begins = [], {}
    n_rows = 0
    for fraction, members in chains.items():
        begins[fraction] = (n_rows, members[0])
        length = round(members[-1] - members[0]) + config.n_bins
        rows.append(members[0] + np.arange(length))
        n_rows += length
    offsets = []
    for position in positions:
        begin, lowest = begins[round(position % 1.0, 6) % 1.0]
        offsets.append(begin + round(position - lowest))
    frequencies_hz = config.f_min_hz * 2.0 ** (np.concatenate(rows) / config.bins_per_octave)
    return frequencies_hz, offsets


def _hann_transform(lobes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the Fourier transform of a Hann window of unit area, at frequencies in lobes.

    The window is centred on time zero and lasts ``d`` seconds; one lobe is ``1 / d`` Hz. The
    transform is ``sinc(u) / (1 - u^2)``; it is 1 at 0, 1/2 at ±1 and 0 at ±2, ±3, ….
    """
    denominator = 1.0 - lobes**2
    near_one = np.abs(denominator) < 1e-9
    values = np.sinc(lobes) / np.where(near_one, 1.0, denominator)
    return np.where(near_one, 0.5, values)


def _edge(position: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return 1 up to ``_EDGE`` of the kept half width, then a smooth fall to 0 at its end.

    A sharp cut would ring in time, far beyond the window and thus across the ends of blocks.
    """
    fall = np.clip((position - _EDGE) / (1.0 - _EDGE), 0.0, 1.0)
    return np.cos(np.pi / 2 * fall) ** 2


# --- CQT and HCQT: the transform ----------------------------------------------------------------


def hcqt(
    audio: ArrayLike, config: HcqtConfig | None = None, *, sample_rate: float | None = None
) -> Feature:
    """Return the magnitudes of the harmonic CQT, ``(H, F, T)``.

    Equal to stacking ``abs(librosa.cqt(fmin=h * f_min_hz, …))`` over the harmonics, within 5 % of
    each harmonic's norm on music (librosa's own resampling and truncation of filters included),
    at about a thirtieth of the time. Bins whose band reaches above half the sample rate, where
    librosa would refuse the whole CQT, are zero.

    Parameters
    ----------
    audio
        Samples at ``config.sample_rate``, shape ``(n_samples,)``.
    config
        Default: ``HcqtConfig()``.
    sample_rate
        Rate of the audio in Hz; if given, it is checked against the configuration's.

    Raises
    ------
    DataError
        If the audio is empty, not one-dimensional, not finite or at another rate.
    """
    config = HcqtConfig() if config is None else config
    _check_rate(sample_rate, config)
    array = _check_audio(audio, config.sample_rate)
    plan = hcqt_plan(config, array.size)
    n_frames = plan.n_frames(array.size)
    values = np.empty((len(config.harmonics), config.n_bins, n_frames), dtype=np.float32)
    for first_sample, skip, start, stop in plan.blocks(array.size):
        block = array[max(0, first_sample) : first_sample + plan.block_samples]
        if first_sample < 0:
            block = np.pad(block, (-first_sample, 0))
        magnitudes = _block_magnitudes(block, plan, slice(skip, skip + stop - start))
        for harmonic, offset in enumerate(plan.offsets):
            values[harmonic, :, start:stop] = magnitudes[offset : offset + config.n_bins]
    times = _frame_times(n_frames, config.hop_samples, config.sample_rate)
    return Feature(values, times, config.frequencies_hz, config.sample_rate, config.hop_samples)


def _block_magnitudes(
    block: NDArray[np.float32], plan: HcqtPlan, frames: slice
) -> NDArray[np.float32]:
    """Return magnitudes ``(n_distinct, frames)`` of one block, zero-padded to the plan's length."""
    from scipy import fft

    spectrum = fft.rfft(block, n=plan.block_samples)
    n_kept = frames.stop - frames.start
    magnitudes = np.zeros((plan.frequencies_hz.size, n_kept), dtype=np.float32)
    for group in plan.groups:
        n, width = group.weights.shape
        windows = np.lib.stride_tricks.sliding_window_view(spectrum, width)
        segments = windows[group.starts]
        segments *= group.weights
        if width > plan.block_frames:
            segments = segments.reshape(n, -1, plan.block_frames).sum(axis=1)
        # Where a segment starts only turns the phase, which magnitudes do not see.
        rows = fft.ifft(segments, n=plan.block_frames, axis=1, overwrite_x=True)
        magnitudes[group.bins] = np.abs(rows[:, frames])
    return magnitudes


def cqt(
    audio: ArrayLike, config: HcqtConfig | None = None, *, sample_rate: float | None = None
) -> Feature:
    """Return the magnitudes of the CQT, ``(1, F, T)``: the HCQT with harmonic 1 alone."""
    config = HcqtConfig() if config is None else config
    return hcqt(audio, replace(config, harmonics=(1.0,)), sample_rate=sample_rate)


def chroma(
    audio: ArrayLike, config: HcqtConfig | None = None, *, sample_rate: float | None = None
) -> Feature:
    """Return the chroma, ``(1, 12, T)``: how much of each pitch class sounds.

    The CQT's bins are summed by the nearest semitone regardless of octave (row 0 is C, row 9 is
    A), then each frame is divided by its largest value; silent frames stay zero.
    """
    spectrum = cqt(audio, config, sample_rate=sample_rate)
    pitch_class = np.floor(hz_to_midi(spectrum.frequencies) + 0.5).astype(np.int64) % 12
    fold = (np.arange(12)[:, np.newaxis] == pitch_class).astype(np.float32)
    values = fold @ spectrum.values[0]
    peak = values.max(axis=0, keepdims=True)
    values = np.divide(values, peak, out=np.zeros_like(values), where=peak > 0)
    return replace(spectrum, values=values[np.newaxis], frequencies=None)


# --- patches ------------------------------------------------------------------------------------


def patches(n_frames: int, *, patch_frames: int, hop_frames: int) -> NDArray[np.int64]:
    """Return the patches ``[start, stop)`` that cover all frames, shape ``(n, 2)``.

    Patches start every ``hop_frames`` and last ``patch_frames``, except that the last one may be
    shorter: it stops at ``n_frames``, and whoever needs equal lengths pads it. No frame is dropped.

    Raises
    ------
    ConfigError
        If a length is not positive, or the hop exceeds the patch (frames would be skipped).
    """
    patch_frames = checked(PatchFrames, patch_frames, "patches: patch_frames")
    hop_frames = checked(PatchFrames, hop_frames, "patches: hop_frames")
    if hop_frames > patch_frames:
        raise ConfigError(
            "patches",
            got=f"patch_frames={patch_frames}, hop_frames={hop_frames}",
            expected="1 <= hop_frames <= patch_frames",
            hint="use a hop equal to the patch for patches that do not overlap",
        )
    if n_frames <= 0:
        return np.empty((0, 2), dtype=np.int64)
    n = 1 + max(0, -(-(n_frames - patch_frames) // hop_frames))
    starts = np.arange(n, dtype=np.int64) * hop_frames
    return np.stack([starts, np.minimum(starts + patch_frames, n_frames)], axis=1)
